/* core_internal.h - what the files of the replication core share. Nobody else includes it. Each
 * stands on those below it only:
 *
 *   core.c           the events
 *   core_master.c    the member that writes      core_follower.c   one that follows it
 *   core_term.c      who is to write: looking for a master, promises, the epoch that is begun
 *   core_orders.c    orders, and messages with what they say of this log
 *   core_epochs.c    which epoch wrote what (core_epochs.h)
 */
#ifndef TERN_BROKER_REPLICATION_CORE_INTERNAL_H
#define TERN_BROKER_REPLICATION_CORE_INTERNAL_H

#include "broker/replication/core.h"
#include "broker/replication/core_epochs.h"

static inline bool core_is_saved(const struct core *c)
{
    return c->saved_version == c->state.version;
}

static inline void core_hear_of(struct core *c, uint64_t term)
{
    if (term > c->highest)
        c->highest = term;
}

/* --- core_orders.c --- */
struct core_order *core_add_order(struct core *c, enum core_order_type type);
/* Orders the state saved, with a version of its own. */
void core_save(struct core *c);
void core_alarm(struct core *c, const char *why);
void core_confirm(struct core *c, uint64_t to);
/* To be filled in: from this member, in the term that it has promised. */
struct core_message *core_send_to(struct core *c, uint16_t to, enum core_message_type type);
/* What this member's log is. */
void core_put_table(const struct core *c, struct core_message *m);

/* --- core_term.c --- */
/* Into another role; a master that leaves its own closes writes. */
void core_enter(struct core *c, enum core_role role);
void core_look(struct core *c);
/* The claim to the first epoch of a new group. */
bool core_claims(const struct core *c);
void core_drop_claim(struct core *c);
void core_unsay_new(struct core *c);
void core_ask_to_follow(struct core *c);
bool core_may_go_on(const struct core *c);
/* Of this member, in the term that it has promised; the state is saved first. */
void core_begin_epoch(struct core *c);
void core_ask_for_promises(struct core *c);
void core_send_ask(struct core *c, const struct core_peer *p);
void core_send_asks(struct core *c);
void core_decide(struct core *c);
void core_start_again(struct core *c);
void core_send_promises(struct core *c);
void core_take_promise_ask(struct core *c, struct core_peer *p, const struct core_message *m);
void core_take_promise(struct core *c, struct core_peer *p, const struct core_message *m);
void core_take_start(struct core *c, const struct core_message *m);

/* --- core_master.c --- */
void core_keep_confirmed(struct core *c);
void core_welcome(struct core *c, struct core_peer *p);
/* `alive`: also when there is nothing to send. */
void core_send_data(struct core *c, struct core_peer *p, bool alive);
void core_take_follow(struct core *c, struct core_peer *p, const struct core_message *m);
void core_keep_handing(struct core *c);
void core_take_report(struct core *c, struct core_peer *p, const struct core_message *m);
void core_tick_master(struct core *c);

/* --- core_follower.c --- */
void core_settle(struct core *c);
/* `again`: send from what is here on again. */
void core_report(struct core *c, bool again);
/* To where the logs part, then follow. */
void core_cut(struct core *c);
void core_take_welcome(struct core *c, const struct core_message *m);
void core_take_data(struct core *c, const struct core_message *m);
void core_take_over(struct core *c, const struct core_message *m);

#endif
