/* core.c - see core.h. The events, and what each calls for in the member's role; core_internal.h
 * says which file does that.
 */
#include "broker/replication/core_internal.h"

#include <string.h>

static struct core_peer *peer_of(struct core *c, uint16_t member)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        if (c->peers[i].member == member)
            return &c->peers[i];
    }
    return NULL;
}

void core_init(struct core *c, const struct core_options *options, const struct core_state *state,
               uint64_t first, uint64_t end, bool doubtful, int64_t now_ms)
{
    memset(c, 0, sizeof(*c));
    c->options = *options;
    c->state = *state;
    c->saved_version = state->version;
    c->first = first;
    c->written = c->flushed = end;
    c->doubtful = doubtful;
    c->now_ms = now_ms;
    c->highest = state->promised;
    core_epochs_cut(&c->state, end + 1);
    for (unsigned i = 0; i < state->member_count; i++) {
        if (state->members[i] != state->member)
            c->peers[c->peer_count++] = (struct core_peer){.member = state->members[i]};
    }
    core_look(c);
}

void core_tick(struct core *c, int64_t now_ms)
{
    c->now_ms = now_ms;
    switch (c->role) {
    case CORE_LOOKING:
        if (core_may_go_on(c)) {
            core_begin_epoch(c);
            return;
        }
        core_start_again(c);
        if (c->reported_ms == 0 || now_ms - c->reported_ms >= c->options.beat_ms)
            core_ask_to_follow(c);
        break;
    case CORE_ASKING:
        core_decide(c);
        if (c->role == CORE_ASKING && now_ms - c->since_ms >= c->options.silent_ms) {
            core_alarm(c, "too few members have promised: nobody is promoted");
            core_look(c);
        } else if (c->role == CORE_ASKING && core_is_saved(c) &&
                   now_ms - c->asked_ms >= c->options.beat_ms) {
            core_send_asks(c);
        }
        break;
    case CORE_FOLLOWING:
        if (now_ms - c->heard_ms > c->options.silent_ms)
            core_look(c);
        else if (now_ms - c->reported_ms >= c->options.beat_ms)
            core_report(c, true);
        break;
    case CORE_MASTER:
        core_tick_master(c);
        break;
    case CORE_CUTTING:
    case CORE_STARTING:
        break;
    }
}

void core_log(struct core *c, uint64_t written, uint64_t flushed)
{
    if (c->truncating) /* what is behind the cut is no part of the log any more */
        return;
    c->written = written;
    c->flushed = flushed;
    if (c->role == CORE_FOLLOWING) {
        core_settle(c);
        core_report(c, false);
    } else if (c->role == CORE_MASTER) {
        core_keep_confirmed(c);
        core_keep_handing(c);
        for (unsigned i = 0; i < c->peer_count; i++) {
            if (c->peers[i].following)
                core_send_data(c, &c->peers[i], false);
        }
    }
}

void core_saved(struct core *c, uint64_t version)
{
    if (version > c->saved_version)
        c->saved_version = version;
    if (!core_is_saved(c))
        return;
    core_send_promises(c);
    if (c->role == CORE_STARTING && c->saved_version >= c->waits_for) {
        core_enter(c, CORE_MASTER);
        core_add_order(c, CORE_OPEN_WRITES);
    } else if (c->role == CORE_CUTTING && c->saved_version >= c->waits_for) {
        core_cut(c);
    } else if (c->role == CORE_ASKING) {
        core_send_asks(c);
        core_decide(c);
    } else if (c->role == CORE_FOLLOWING && c->dropped) {
        c->dropped = false;
        core_report(c, true);
    }
}

void core_truncated(struct core *c)
{
    if (!c->truncating)
        return;
    c->truncating = c->cut_anew = false;
    if (c->role != CORE_CUTTING) /* a promise came between */
        return;
    core_save(c);
    c->waits_for = c->state.version;
}

void core_opened(struct core *c, uint64_t first_end)
{
    if (c->role != CORE_MASTER)
        return;
    c->epoch_first_end = first_end;
    for (unsigned i = 0; i < c->peer_count; i++) /* nobody has to wait for a beat */
        core_welcome(c, &c->peers[i]);
}

void core_first(struct core *c, uint64_t first)
{
    if (!c->truncating)
        c->first = first;
}

void core_ready(struct core *c, uint16_t member, bool ready)
{
    struct core_peer *p = peer_of(c, member);

    if (!p)
        return;
    p->blocked = !ready;
    if (ready && c->role == CORE_MASTER && p->following)
        core_send_data(c, p, false);
}

void core_link_new(struct core *c, uint16_t member)
{
    struct core_peer *p = peer_of(c, member);

    if (!p)
        return;
    p->away = false;
    core_send_promises(c);
    if (p->following && p->next > p->received)
        p->next = p->received;
    if (c->role == CORE_LOOKING) /* nobody has to wait for a beat */
        core_put_table(c, core_send_to(c, member, CORE_FOLLOW));
    else if (c->role == CORE_MASTER && !p->following)
        core_welcome(c, p);
    else if (c->role == CORE_ASKING && core_is_saved(c) && !p->promised)
        core_send_ask(c, p);
    else if (c->role == CORE_FOLLOWING && c->master == member)
        core_report(c, true);
}

void core_link_lost(struct core *c, uint16_t member)
{
    struct core_peer *p = peer_of(c, member);

    if (!p)
        return;
    p->away = true;
    p->blocked = true;
}

void core_link_ended(struct core *c, uint16_t member)
{
    if (c->role == CORE_FOLLOWING && c->master == member)
        core_look(c);
}

void core_heard(struct core *c, uint16_t member)
{
    struct core_peer *p = peer_of(c, member);

    if (p)
        p->heard_ms = c->now_ms;
    if (c->master == member)
        c->heard_ms = c->now_ms;
}

void core_receive(struct core *c, const struct core_message *m)
{
    struct core_peer *p = peer_of(c, m->from);

    if (!p)
        return;
    p->heard_ms = c->now_ms;
    switch (m->type) {
    case CORE_FOLLOW:
        core_take_follow(c, p, m);
        break;
    case CORE_WELCOME:
        core_take_welcome(c, m);
        break;
    case CORE_PROMISE_ASK:
        core_take_promise_ask(c, p, m);
        break;
    case CORE_PROMISE:
        core_take_promise(c, p, m);
        break;
    case CORE_START:
        core_take_start(c, m);
        break;
    case CORE_DATA:
        core_take_data(c, m);
        break;
    case CORE_REPORT:
        core_take_report(c, p, m);
        break;
    case CORE_TAKE_OVER:
        core_take_over(c, m);
        break;
    }
}
