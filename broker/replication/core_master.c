/* core_master.c - the member that writes: its followers, what they have and are sent, what that
 * confirms; and how it stops, by handing over or at once.
 */
#include "broker/replication/core_internal.h"

/* --- what is confirmed --- */

/* What this epoch's followers and this member have: the k-th highest of it, and never more than
 * this member itself has, since it may go on alone after a restart because it has lost nothing. */
static uint64_t held_by_enough(const struct core *c)
{
    uint64_t own = c->options.count_flushed ? c->flushed : c->written;
    uint64_t marks[CORE_MEMBERS_MAX];
    unsigned count = 0;

    marks[count++] = own;
    for (unsigned i = 0; i < c->peer_count; i++) {
        const struct core_peer *p = &c->peers[i];

        if (p->following)
            marks[count++] = c->options.count_flushed ? p->flushed : p->received;
    }
    if (count < c->state.copies)
        return 0;
    for (unsigned i = 0; i < c->state.copies; i++) {
        for (unsigned k = i + 1; k < count; k++) {
            if (marks[k] > marks[i]) {
                uint64_t t = marks[i];

                marks[i] = marks[k];
                marks[k] = t;
            }
        }
    }
    return marks[c->state.copies - 1] < own ? marks[c->state.copies - 1] : own;
}

/* Nothing inherited is confirmed before a record of this epoch is. */
void core_keep_confirmed(struct core *c)
{
    uint64_t held;

    if (c->role != CORE_MASTER || c->epoch_first_end == 0)
        return;
    held = held_by_enough(c);
    if (held >= c->epoch_first_end)
        core_confirm(c, held);
}

/* --- followers --- */

void core_welcome(struct core *c, struct core_peer *p)
{
    struct core_message *w = core_send_to(c, p->member, CORE_WELCOME);

    w->epoch = c->epoch;
    w->confirmed = p->told_confirmed = c->confirmed;
    core_put_table(c, w);
    p->sent_ms = c->now_ms;
}

void core_send_data(struct core *c, struct core_peer *p, bool alive)
{
    uint64_t end = 0, size;
    const struct core_epoch *e = core_epochs_at(&c->state, p->next, c->written, &end);
    struct core_message *m;

    if (p->next < c->first) { /* deleted before it was sent: it has to begin anew */
        p->following = false;
        core_welcome(c, p);
        return;
    }
    size = e && end > p->next && !p->blocked ? end - p->next : 0;
    if (size > CORE_FRAME_MAX)
        size = CORE_FRAME_MAX;
    if (size == 0 && !alive)
        return;
    m = core_send_to(c, p->member, CORE_DATA);
    m->epoch = c->epoch;
    m->confirmed = p->told_confirmed = c->confirmed;
    m->offset = p->next;
    m->size = size;
    if (size > 0) {
        m->data_epoch = e->epoch;
        m->data_start = e->start;
    }
    p->next += size;
    p->sent_ms = c->now_ms;
}

/* Somebody has promised a higher term. Whoever asked for it is given the time to ask us too, else
 * a master would outbid each promotion and its own heir. */
static bool is_disputed(const struct core *c, const struct core_message *m)
{
    return m->term > c->state.promised && !c->handing && c->disputed_ms != 0 &&
           c->now_ms - c->disputed_ms >= c->options.ask_wait_ms;
}

void core_take_follow(struct core *c, struct core_peer *p, const struct core_message *m)
{
    p->looks = true;
    p->claims = m->epoch_count == 0 && m->end == m->first && m->term == core_first_term(p->member);
    if (p->claims && core_claims(c)) { /* nobody has promised that term to it */
        p->has_log = true;
        return;
    }
    core_hear_of(c, m->term);
    p->has_log = m->epoch_count > 0 || m->end > m->first || m->term != 0;
    if (p->has_log)
        core_drop_claim(c);
    if (c->role != CORE_MASTER)
        return;
    if (m->term > c->state.promised) {
        /* Somebody has asked for more without getting it, or we are not master any more. Asking
         * again tells which. */
        p->following = false;
        if (c->disputed_ms == 0)
            c->disputed_ms = c->now_ms;
        if (is_disputed(c, m)) {
            c->unclean = c->handed = false;
            core_ask_for_promises(c);
        }
        return;
    }
    p->following = false;
    core_welcome(c, p);
}

bool core_deposes(const struct core *c, const struct core_message *m)
{
    if (c->role != CORE_MASTER)
        return false;
    return (m->type == CORE_PROMISE_ASK && m->term > c->state.promised) ||
           (m->type == CORE_FOLLOW && is_disputed(c, m)) ||
           (m->type == CORE_WELCOME && core_term(m->epoch) > c->state.promised);
}

bool core_has_more(const struct core *c)
{
    for (unsigned i = 0; c->role == CORE_MASTER && i < c->peer_count; i++) {
        const struct core_peer *p = &c->peers[i];

        if (p->following && !p->blocked && p->next < c->written)
            return true;
    }
    return false;
}

/* --- the end --- */

/* To whom we hand over has everything: from now on it asks for promises. */
void core_keep_handing(struct core *c)
{
    if (!c->handing || c->epoch_first_end == 0 || !core_is_saved(c) ||
        c->now_ms - c->handed_ms < c->options.beat_ms)
        return;
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_peer *p = &c->peers[i];

        if ((c->handing_to != 0 && p->member != c->handing_to) || !p->following || !p->certain ||
            p->received != c->written || (c->options.count_flushed && p->flushed != c->written))
            continue;
        core_send_to(c, p->member, CORE_TAKE_OVER)->term = core_term(c->epoch);
        c->handing_to = p->member;
        c->handed_ms = c->now_ms;
        return;
    }
}

static bool has_heir(const struct core *c)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        const struct core_peer *p = &c->peers[i];

        if ((c->handing_to == 0 || p->member == c->handing_to) && p->following && !p->away)
            return true;
    }
    return false;
}

void core_hand_over(struct core *c, uint16_t to, int64_t wait_ms)
{
    if (c->role != CORE_MASTER)
        return;
    c->heir_ms = c->now_ms;
    c->handing = true;
    c->handing_to = to;
    c->handing_until = c->now_ms + wait_ms;
    c->handed_ms = c->now_ms - c->options.beat_ms;
    core_add_order(c, CORE_CLOSE_WRITES)->handing = true;
}

void core_step_down(struct core *c)
{
    if (c->role != CORE_MASTER && c->role != CORE_STARTING)
        return;
    core_look(c);
    c->state.written_term = 0;
    core_save(c);
}

void core_outdated(struct core *c)
{
    if (c->role != CORE_MASTER && c->role != CORE_STARTING)
        return;
    core_alarm(c, "a name server knows a higher epoch: this member is not the master any more");
    core_hear_of(c, c->state.promised + 1);
    core_look(c);
}

/* --- what it hears --- */

void core_take_report(struct core *c, struct core_peer *p, const struct core_message *m)
{
    if (c->role != CORE_MASTER || m->epoch != c->epoch)
        return;
    if (m->received > c->written) {
        core_alarm(c, "a follower reports more than this log has");
        p->following = false;
        return;
    }
    p->following = true;
    p->certain = m->granted;
    p->received = m->received;
    p->flushed = m->flushed < m->received ? m->flushed : m->received;
    if (m->again || p->next < m->received || p->next > c->written)
        p->next = m->received;
    core_keep_confirmed(c);
    core_keep_handing(c);
    core_send_data(c, p, false);
}

void core_tick_master(struct core *c)
{
    core_keep_handing(c);
    if (has_heir(c))
        c->heir_ms = c->now_ms;
    /* Who is gone is not waited for: there are no sends meanwhile. */
    if (c->handing &&
        (c->now_ms >= c->handing_until || c->now_ms - c->heir_ms >= c->options.ask_wait_ms)) {
        c->handing = false;
        core_add_order(c, CORE_OPEN_WRITES)->again = true;
    }
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_peer *p = &c->peers[i];

        if (c->now_ms - p->heard_ms > c->options.silent_ms)
            p->following = false;
        /* The next bytes would say what is confirmed. There may be none for long, and a follower
         * whose master has gone shows its readers no more than it was told. */
        if (c->now_ms - p->sent_ms < c->options.beat_ms &&
            (!p->following || p->told_confirmed == c->confirmed))
            continue;
        if (p->following)
            core_send_data(c, p, true);
        else
            core_welcome(c, p); /* it may be master of a lower term, and look for nobody */
    }
}
