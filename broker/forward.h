/* forward.h - requests for the master that reach another member of its group are passed on.
 *
 * Clients refresh their routes every half minute and not when they are refused, so after a
 * hand-over they go on sending to a member that leads no more. It sends what they ask on to the
 * main port of the master, over one connection per loop, and gives the answer back. While the
 * master is not known or not reached (the moment of a hand-over), requests wait, each at most
 * forwardWaitMillis; then they are carried out here after all, which refuses them by name, or
 * stores them when this member leads by then. When the broker begins again the next one goes on
 * with all of them, those that were sent on too: they outlive it as connections do (kept.h).
 *
 * What was sent on once is never sent again: when the connection is lost before the answer, the
 * client is told, and decides. The header field ternBornHost says who asked, and how often a
 * request was passed on: three times at most, and only when a member did it.
 *
 * Bounded per loop: FORWARD_REQUESTS_MAX, FORWARD_BYTES_MAX of requests that wait.
 */
#ifndef TERN_BROKER_FORWARD_H
#define TERN_BROKER_FORWARD_H

#include "broker/call.h"

enum { FORWARD_REQUESTS_MAX = 4096, FORWARD_BYTES_MAX = 16 << 20 };

/* How often the request was passed on, and whose address the message is to bear: "1 ip:port".
 * Believed only from an address that a member of the group has. */
#define FORWARD_BORN_HOST "ternBornHost"

/* After the loops are made and before they run. Without groupMembers, or with forwardWaitMillis=0,
 * it never passes anything on. */
struct forward *forward_new(struct broker *b);
/* After the store is open: host names of members are looked up by its readers. */
void forward_start(struct forward *f);
struct forward *forward_free(struct forward *f); /* after the loops are freed; returns NULL */

/* --- any thread; never blocks --- */
/* This broker is the master, or is not. At first it is not. */
void forward_leads(struct forward *f, bool leads);
/* The main port of the master, "host:port"; "": nobody knows one. */
void forward_master(struct forward *f, const char *address);

struct forward_stats {
    uint64_t forwarded; /* requests that were sent on */
    uint64_t waiting;   /* those without an answer, sent on or not */
};
void forward_stats(const struct forward *f, struct forward_stats *out);

/* --- the loop's thread --- */
/* Asked for each request whose row says so; one load. */
static inline bool forward_is_on(const struct broker *b)
{
    return atomic_load_explicit(&b->passes_on, memory_order_relaxed);
}
/* True: the request waits or is on its way, or was refused (the answer is in call->out). False: it
 * is to be carried out here. */
bool forward_take(struct call *call);
/* Sends a copy on when a master is known; nobody waits for an answer. */
void forward_copy(const struct call *call);
/* Requests of this loop are owed an answer. */
bool forward_owes(const struct broker_loop *on);

/* --- from one broker to the next of this process (kept.h) --- */
/* What a loop has: its requests, and the connections on which some have been sent on. NULL: none.
 * Thread of the loop. */
struct forward_kept *forward_part(struct broker_loop *on);
/* Goes on with it, before the loop runs. `moves`: the ids that the clients' connections had and
 * have, in ascending order of what they had; who is not named is gone. Takes `k`. */
void forward_join(struct broker_loop *on, struct forward_kept *k, const struct conn_move *moves,
                  size_t count);
struct forward_kept *forward_kept_free(struct forward_kept *k); /* returns NULL; NULL is fine */

/* The store takes no writes just now: the request is to wait until it does, or another master is
 * known. True: it waits, answer CALL_LATER. False: refuse it. Any thread that runs a handler. */
bool forward_hold(const struct call *call);

/* Whose request it is, as the member says that passed it on. False: it is the caller's own. */
bool forward_born_host(const struct call *call, struct bytes value, struct record_host *host);

#endif
