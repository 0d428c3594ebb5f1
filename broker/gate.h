/* gate.h - replies that wait until their message is as safe as was promised.
 *
 * One gate per loop, used by that loop only. Replies wait as plain values in two rings ordered by
 * log offset: one for those that wait for `confirmed`, one for those that need only `written`
 * (property WAIT=false). One fsync or one write releases all that it covers. Bounded: GATE_MAX
 * replies per ring.
 */
#ifndef TERN_BROKER_GATE_H
#define TERN_BROKER_GATE_H

#include "broker/call.h"

enum { GATE_MAX = 65536 };

enum gate_kind {
    GATE_SEND, /* message ids, queue, offset */
    GATE_BACK, /* empty success (send-back) */
};

struct gate_reply {
    struct reply_to to;
    enum gate_kind kind;
    uint32_t count;       /* messages; above 1 their log offsets are kept by the gate */
    int32_t queue_id;     /* as the client asked */
    int64_t queue_offset; /* of the first */
    uint64_t log_offset;  /* of the first */
    uint64_t log_end;     /* of the last */
};

struct gate *gate_new(struct broker_loop *on);
struct gate *gate_free(struct gate *g);
/* True when another reply (with that many batch offsets) can be parked. Ask before appending: what
 * was appended must be answered for. */
bool gate_has_room(struct gate *g, bool wait, uint32_t batch_count);
/* Parks. `positions` holds `count` places when count > 1. `wait`: for confirmed, else written. */
void gate_park(struct gate *g, const struct gate_reply *reply, bool wait,
               const struct store_position *positions);
/* From a reader thread or another loop: posts to the connection's loop, which parks. 0 or -EAGAIN.
 */
int gate_post(struct broker *b, const struct gate_reply *reply, bool wait);
/* End of turn and on progress: answers everything the watermarks cover (0; 11 and 12 when that was
 * without the copies), and what is written and has waited longer than syncFlushTimeout (10), or
 * under replicaAck=strict for copies (14). When the store has stopped, or this broker is not the
 * master any more, what was not covered is refused. */
void gate_release(struct gate *g);
uint32_t gate_waiting(const struct gate *g);

#endif
