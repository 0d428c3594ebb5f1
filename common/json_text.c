/* json_text.c - see json_text.h. Nearly all text is plain ASCII: that is found eight bytes at a
 * time and copied at once. */
#include "common/json_text.h"

#include "common/word.h"

static inline uint64_t find_special(uint64_t word)
{
    return word_find_high(word) | word_find_below(word, 0x20) | word_find(word, '"') |
           word_find(word, '\\');
}

static inline bool is_special(uint8_t c)
{
    return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

bool json_text_is_plain(struct bytes text)
{
    const uint8_t *at = text.at;
    uint64_t found = 0;

    /* The last word may overlap the one before it. */
    if (text.len >= 8) {
        for (size_t i = 0; text.len - i > 8; i += 8)
            found |= find_special(word_load(at + i));
        return !(found | find_special(word_load(at + text.len - 8)));
    }
    if (text.len >= 4)
        return !find_special((uint64_t)load_be32(at) << 32 | load_be32(at + text.len - 4));
    for (size_t i = 0; i < text.len; i++)
        found |= is_special(at[i]);
    return !found;
}

/* How many bytes at the front of `text` are plain. */
static size_t plain_run(struct bytes text)
{
    size_t i = 0;

    for (; text.len - i >= 8; i += 8) {
        uint64_t found = find_special(word_load(text.at + i));
        if (found)
            return i + word_first(found);
    }
    while (i < text.len && !is_special(text.at[i]))
        i++;
    return i;
}

static void add_control(struct buf *out, uint8_t c)
{
    static const char hex[] = "0123456789ABCDEF";

    switch (c) {
    case '\b':
        buf_add(out, "\\b", 2);
        break;
    case '\t':
        buf_add(out, "\\t", 2);
        break;
    case '\n':
        buf_add(out, "\\n", 2);
        break;
    case '\f':
        buf_add(out, "\\f", 2);
        break;
    case '\r':
        buf_add(out, "\\r", 2);
        break;
    default: {
        uint8_t escape[6] = {'\\', 'u', '0', '0', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15]};
        buf_add(out, escape, sizeof(escape));
    }
    }
}

/* The first character of `text`, which is not plain. Returns the bytes it takes there. */
static size_t add_special(struct buf *out, struct bytes text)
{
    uint8_t c = text.at[0];
    uint32_t point;
    unsigned size;

    if (c == '"' || c == '\\') {
        buf_add_u8(out, '\\');
        buf_add_u8(out, c);
        return 1;
    }
    if (c < 0x20) {
        add_control(out, c);
        return 1;
    }
    size = bytes_utf8_at(text, &point);
    if (size == 0) {
        buf_add(out, "\xEF\xBF\xBD", 3); /* U+FFFD */
        return 1;
    }
    buf_add(out, text.at, size);
    return size;
}

void json_text_add(struct buf *out, struct bytes text)
{
    if (!buf_reserve(out, text.len + 2))
        return;
    buf_add_u8(out, '"');
    while (text.len) {
        size_t n = plain_run(text);
        buf_add(out, text.at, n);
        if (n < text.len)
            n += add_special(out, bytes_of(text.at + n, text.len - n));
        text.at += n;
        text.len -= n;
    }
    buf_add_u8(out, '"');
}
