/* send_reply.h - the reply to a stored message, JSON header, written from ready pieces.
 *
 * It is by far the most frequent frame a broker writes; all but five values are the same each time.
 * The general writer (remoting.h) would give the same fields; a test compares the two.
 */
#ifndef TERN_BROKER_SEND_REPLY_H
#define TERN_BROKER_SEND_REPLY_H

#include "broker/store/record.h"
#include "common/buf.h"

struct send_reply {
    char head[1024]; /* up to the value of queueId */
    size_t head_len;
    char host[41]; /* the front of every message id: the store host in hex */
    size_t host_len;
};

/* `region` has at most 127 bytes (escaped at most six times as many). */
void send_reply_init(struct send_reply *s, struct bytes region, bool trace_on,
                     const struct record_host *host);
/* Adds the whole frame to `out` (out->failed when memory is short). */
void send_reply_write(const struct send_reply *s, struct buf *out, int32_t opaque, int32_t queue_id,
                      uint64_t log_offset, int64_t queue_offset);

/* Adds message ids separated by ','; offsets are ring[(first + i) & mask]. */
void send_reply_ids(const struct send_reply *s, struct buf *out, const uint64_t *ring,
                    uint64_t first, uint64_t mask, uint32_t count);

#endif
