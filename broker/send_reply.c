/* send_reply.c - see send_reply.h. */
#include "broker/send_reply.h"

#include <assert.h>

#include "common/json_text.h"
#include "common/remoting.h"

#define ID_KEY "\",\"msgId\":\""
#define OFFSET_KEY "\",\"queueOffset\":\""
#define TAIL_FRONT "\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":"

static const char tail_back[] = ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}";
_Static_assert(REMOTING_VERSION == 409, "the version stands in the ready text");

enum { DIGITS_MAX = 20 };

void send_reply_init(struct send_reply *s, struct bytes region, bool trace_on,
                     const struct record_host *host)
{
    char id[RECORD_ID_MAX];
    uint8_t room[sizeof(s->head)];
    struct buf head = {.data = room, .cap = sizeof(room)}; /* never grows: see the bound */

    assert(region.len < 128);
    buf_addf(&head, "{\"code\":0,\"extFields\":{\"TRACE_ON\":\"%s\",\"MSG_REGION\":",
             trace_on ? "true" : "false");
    json_text_add(&head, region);
    buf_add_str(&head, ",\"queueId\":\"");
    assert(!head.failed && head.data == room);
    memcpy(s->head, room, head.len);
    s->head_len = head.len;
    s->host_len = record_id_format(id, host, 0) - 16;
    memcpy(s->host, id, s->host_len);
}

static char *put(char *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

static char *put_number(char *to, int64_t value)
{
    char digits[DIGITS_MAX];
    char *at = digits + sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        *to++ = '-';
    return put(to, at, (size_t)(digits + sizeof(digits) - at));
}

static char *put_hex(char *to, uint64_t value)
{
    static const char hex[] = "0123456789ABCDEF";

    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = hex[value >> shift & 15];
    return to;
}

void send_reply_write(const struct send_reply *s, struct buf *out, int32_t opaque, int32_t queue_id,
                      uint64_t log_offset, int64_t queue_offset)
{
    size_t most = 8 + s->head_len + s->host_len + 16 + sizeof(ID_KEY) + sizeof(OFFSET_KEY) +
                  sizeof(TAIL_FRONT) + sizeof(tail_back) + 3 * (DIGITS_MAX + 1);
    uint8_t *frame = buf_reserve(out, most);
    char *at;
    uint32_t header;

    if (!frame)
        return;
    at = put((char *)frame + 8, s->head, s->head_len);
    at = put_number(at, queue_id);
    at = put(at, ID_KEY, sizeof(ID_KEY) - 1);
    at = put(at, s->host, s->host_len);
    at = put_hex(at, log_offset);
    at = put(at, OFFSET_KEY, sizeof(OFFSET_KEY) - 1);
    at = put_number(at, queue_offset);
    at = put(at, TAIL_FRONT, sizeof(TAIL_FRONT) - 1);
    at = put_number(at, opaque);
    at = put(at, tail_back, sizeof(tail_back) - 1);
    header = (uint32_t)(at - (char *)frame - 8);
    store_be32(frame, 4 + header);
    store_be32(frame + 4, header); /* serialization 0 in the top byte */
    out->len += 8 + header;
}

void send_reply_ids(const struct send_reply *s, struct buf *out, const uint64_t *ring,
                    uint64_t first, uint64_t mask, uint32_t count)
{
    char *start = (char *)buf_reserve(out, (size_t)count * (s->host_len + 17)), *at = start;

    if (!start)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            *at++ = ',';
        at = put(at, s->host, s->host_len);
        at = put_hex(at, ring[(first + i) & mask]);
    }
    out->len += (size_t)(at - start);
}
