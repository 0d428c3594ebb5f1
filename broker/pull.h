/* pull.h - PULL_MESSAGE: checks, one evaluation, and the answers. hold.h keeps those that wait. */
#ifndef TERN_BROKER_PULL_H
#define TERN_BROKER_PULL_H

#include "broker/call.h"
#include "broker/consume_rates.h"
#include "broker/filter.h"
#include "broker/rates.h"

/* A pull after its checks: plain values, so that it can wait or move to a reader thread. */
struct pull_request {
    struct reply_to to;
    struct topic *topic;
    int32_t queue_id;
    uint32_t queue; /* store's index */
    int64_t offset;
    int32_t max_messages;
    int64_t suspend_ms; /* 0: answer at once */
    struct consume_counter counter;
    struct tag_filter filter;      /* owned or borrowed as the holder says */
    struct subscription_mark mark; /* of the filter; none when it came with the request */
    /* Which broker of the group is suggested for the next pull: in general, and when this one has
     * to go to the disk for it. */
    int64_t suggest, suggest_far;
    /* A slave that is to leave offsets as they are (offsetCheckInSlave=false): what it does not
     * have may be on the master, on that broker of the group. */
    bool as_it_is;
    int64_t suggest_elsewhere;
};

enum call_result serve_pull(struct call *call);

/* Evaluates and writes the reply to `out`. With `suspend` an empty result (19) writes nothing.
 * Returns ANSWERED; NOTHING (only with suspend); WOULD_BLOCK: nothing written, give it to a reader
 * thread (only when !may_block). `found` is scratch. */
enum pull_outcome { PULL_ANSWERED, PULL_NOTHING, PULL_WOULD_BLOCK };
enum pull_outcome pull_evaluate(struct broker *b, const struct pull_request *request, bool suspend,
                                bool may_block, struct store_found *found, struct buf *out,
                                struct rates_turn *done);
/* Answers a pull, which is not oneway, on its connection's loop; or has a reader thread do it. On a
 * connection that is full (conn.h) the answer is 19 at the offset asked for, whatever has come: of
 * many pulls that end in one turn each could bring megabytes, and the client asks again. So it is
 * when subscriptions have changed since: what the old filter skips may be what the new one wants.
 */
void pull_answer(struct broker_loop *on, struct conn *c, const struct pull_request *request);
/* Hands a pull to a reader thread, which answers it (or parks it again when `suspend`). Copies the
 * request. 0 or negative. */
int pull_offload(struct broker *b, const struct pull_request *request, bool suspend);
/* True when a message in [*from, visible end) passes the filter, so that waking is worth it; *from
 * moves over what does not pass. A read that would block counts as a match, and so does a filter
 * that may be outdated. */
bool pull_has_match(struct broker *b, const struct pull_request *request, int64_t *from,
                    struct store_found *found);

#endif
