/* sealed.c - see sealed.h. */
#include "common/sealed.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/crc.h"

void sealed_add(struct buf *out, const char *key, uint64_t value)
{
    buf_addf(out, "%s=%" PRIu64 "\n", key, value);
}

void sealed_end(struct buf *out)
{
    if (!out->failed)
        sealed_add(out, "crc", crc32_of(0, buf_bytes(out)));
}

bool sealed_number(struct bytes text, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 20)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = text.at[i] - (unsigned)'0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return value <= most;
}

int sealed_parse(struct bytes text, bool (*take)(void *ctx, struct bytes key, struct bytes value),
                 void *ctx, struct err *err)
{
    size_t at = 0;
    uint64_t crc = 0;
    unsigned line = 1;

    for (; at < text.len; line++) {
        const uint8_t *from = text.at + at, *to = memchr(from, '\n', text.len - at);
        const uint8_t *is = to ? memchr(from, '=', (size_t)(to - from)) : NULL;
        struct bytes key, value;

        if (!is || to - from > SEALED_LINE_MAX)
            return err_say(err, -EBADMSG, "line %u is not key=value", line);
        key = bytes_of(from, (size_t)(is - from));
        value = bytes_of(is + 1, (size_t)(to - is - 1));
        if (bytes_is(key, "crc")) {
            if (!sealed_number(value, UINT32_MAX, &crc) ||
                crc != crc32_of(0, bytes_of(text.at, at)) ||
                at + (size_t)(to - from) + 1 != text.len)
                return err_say(err, -EBADMSG, "the checksum in line %u is wrong", line);
            return line == 1 ? err_say(err, -EBADMSG, "nothing stands above the checksum") : 0;
        }
        if ((line == 1) != bytes_is(key, "format") || !take(ctx, key, value))
            return err_say(err, -EBADMSG, "line %u (%.*s) is none that is written there", line,
                           (int)(key.len < 32 ? key.len : 32), (const char *)key.at);
        at += (size_t)(to - from) + 1;
    }
    return err_say(err, -EBADMSG, "line %u, the checksum at the end, is missing", line);
}
