/* hold.h - pulls that wait for a message (long polling).
 *
 * One hold per loop, used by that loop only. A pull is kept in a list of its queue (hash by queue
 * index) and in a heap by deadline; the store has a bit per queue and loop that says somebody
 * waits. A message that comes wakes each queue once per turn, after `confirmed` has passed it.
 * Bounded: HOLD_MAX pulls a loop; above it a pull is answered at once as if it had timed out.
 */
#ifndef TERN_BROKER_HOLD_H
#define TERN_BROKER_HOLD_H

#include "broker/filter.h"
#include "broker/pull.h"

enum {
    HOLD_MAX = 1000000,
    HOLD_LONGEST_MS = 600000, /* asked for more, a pull is answered after this */
};

struct hold *hold_new(struct broker_loop *on, uint32_t most); /* HOLD_MAX */
struct hold *hold_free(struct hold *h);
/* Takes a copy of the request (and of its filter), which is not oneway. 0; -ENOSPC, -ENOMEM or
 * -ESHUTDOWN: answer now. */
int hold_park(struct hold *h, struct conn *conn, const struct pull_request *request);
/* Notes that a message was appended to a queue on which this loop waits. Any thread. */
void hold_note(struct hold *h, uint32_t queue, uint64_t log_end);
/* End of turn and on progress: looks at the queues noted whose message is confirmed. */
void hold_wake(struct hold *h);
/* The broker stops: answers every pull as if it had timed out, and takes no more. */
void hold_dismiss(struct hold *h);
/* A connection closed: its pulls are gone. */
void hold_drop(struct hold *h, struct conn *conn);
uint32_t hold_waiting(const struct hold *h);

#endif
