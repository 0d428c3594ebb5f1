/* echo_reply.h - the reply to a send, as a broker gives it, without storing anything. Pure. */
#ifndef TERN_TOOLS_ECHO_REPLY_H
#define TERN_TOOLS_ECHO_REPLY_H

#include "common/buf.h"
#include "common/remoting.h"

/* Offsets grow as they would. */
struct echo_state {
    int64_t queue_offset;
    int64_t log_offset;
};

/* Adds one reply frame: to a send with all its fields, to GET_MAX_OFFSET the offset, to anything
 * else code 3. */
void echo_reply(struct echo_state *s, const struct remoting_frame *request, struct buf *out);

#endif
