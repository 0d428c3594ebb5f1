/* send_reply.c - see send_reply.h. */
#include "broker/send_reply.h"

#include <errno.h>
#include <stdio.h>

#include "common/json_text.h"
#include "common/remoting.h"

#define ID_KEY "\",\"msgId\":\""
#define OFFSET_KEY "\",\"queueOffset\":\""
#define TAIL_FRONT "\"},\"flag\":1,\"language\":\"JAVA\",\"opaque\":"

static const char tail_back[] = ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}";
_Static_assert(REMOTING_VERSION == 409, "the version stands in the ready text");

enum { DIGITS_MAX = 20 };

int send_reply_init(struct send_reply *s, struct bytes region, bool trace_on,
                    const struct record_host *host)
{
    struct buf head = {0};
    char id[RECORD_ID_MAX];
    int r = 0;

    buf_addf(&head, "{\"code\":0,\"extFields\":{\"TRACE_ON\":\"%s\",\"MSG_REGION\":",
             trace_on ? "true" : "false");
    json_text_add(&head, region);
    buf_add_str(&head, ",\"queueId\":\"");
    if (head.failed)
        r = -ENOMEM;
    else if (head.len > sizeof(s->head))
        r = -ENAMETOOLONG;
    if (r == 0) {
        memcpy(s->head, buf_at(&head), head.len);
        s->head_len = head.len;
        s->host_len = record_id_format(id, host, 0) - 16;
        memcpy(s->host, id, s->host_len);
    }
    buf_destroy(&head);
    return r;
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
