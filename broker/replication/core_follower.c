/* core_follower.c - the member that follows a master: where its log parts from the master's, the
 * cut to there, and the bytes from there on.
 */
#include "broker/replication/core_internal.h"

/* Everything that a master had when it was met is here again: what this member ever counted as a
 * copy is in it. */
void core_settle(struct core *c)
{
    if (c->doubtful && c->role == CORE_FOLLOWING &&
        (c->options.count_flushed ? c->flushed : c->written) >= c->sure_at)
        c->doubtful = false;
}

void core_report(struct core *c, bool again)
{
    struct core_message *m = core_send_to(c, c->master, CORE_REPORT);

    m->epoch = c->epoch;
    m->granted = core_is_certain(c);
    m->received = c->written;
    m->flushed = c->flushed;
    m->again = again;
    c->reported_ms = c->now_ms;
}

static void follow(struct core *c)
{
    core_unsay_new(c);
    core_enter(c, CORE_FOLLOWING);
    core_settle(c);
    core_report(c, true);
}

void core_cut(struct core *c)
{
    struct core_order *o;

    /* Also an epoch that was announced here and never came: the log goes on in another. */
    core_epochs_cut(&c->state, c->cut_anew ? 0 : c->cut_to);
    if (c->cut_to < c->written || c->cut_anew) {
        o = core_add_order(c, CORE_TRUNCATE);
        o->offset = c->cut_to;
        o->anew = c->cut_anew;
        /* For all that is said from here on it is cut: once the order is durable it will be. */
        c->truncating = true;
        c->written = c->cut_to;
        if (c->flushed > c->cut_to || c->cut_anew)
            c->flushed = c->cut_to;
        if (c->cut_anew)
            c->first = c->cut_to;
        if (c->confirmed > c->cut_to)
            c->confirmed = c->cut_to; /* only of a log that begins anew */
        c->waits_for = UINT64_MAX;
        return; /* core_truncated() goes on */
    }
    follow(c);
}

void core_take_welcome(struct core *c, const struct core_message *m)
{
    uint64_t their_end = m->end;
    uint64_t common = 0;
    bool anew;

    core_hear_of(c, core_term(m->epoch));
    if (core_term(m->epoch) < c->state.promised || c->role == CORE_CUTTING || c->truncating)
        return;
    if (c->role == CORE_STARTING || c->role == CORE_MASTER) {
        /* Two masters meet: the lower term stops, at once. */
        if (core_term(m->epoch) == c->state.promised)
            return;
        core_look(c);
    }
    if (c->role == CORE_FOLLOWING && m->epoch <= c->epoch && m->first <= c->written)
        return;
    if (m->epoch < core_last_epoch(c))
        return; /* late: its writer has begun another since */
    core_drop_claim(c);
    /* A writer does not lose what it has written in its epoch: what is here of that, it has,
     * however long this word of its end was on its way. */
    if (m->epoch_count > 0 && m->epochs[m->epoch_count - 1].epoch == m->epoch)
        their_end = UINT64_MAX;
    /* Nothing in common, or not enough for the master to go on from there. */
    anew =
        !core_epochs_common(&c->state, c->written, m->epochs, m->epoch_count, their_end, &common) ||
        common < m->first || common < c->first;
    if (anew) {
        common = m->first;
        if (c->written == common && c->first == common) { /* empty, and where it has to begin */
            c->state.epoch_count = 0;
            anew = false;
        } else {
            c->doubtful = true; /* what it had may have counted: until it is here again */
        }
    } else if (common < c->confirmed) {
        /* An unclean promotion has left it behind: the operator has decided that. */
        core_alarm(c, "a master lacks what was confirmed here: that is cut, and kept aside");
    }
    c->master = m->from;
    c->epoch = m->epoch;
    c->heard_ms = c->now_ms;
    c->sure_at = m->end;
    c->cut_to = common;
    c->cut_anew = anew;
    core_enter(c, CORE_CUTTING);
    c->state.promised = core_term(m->epoch);
    core_save(c);
    c->waits_for = c->state.version;
}

static bool is_from_master(const struct core *c, const struct core_message *m)
{
    return core_term(m->epoch) >= c->state.promised && c->role == CORE_FOLLOWING &&
           m->from == c->master && m->epoch == c->epoch;
}

enum core_taking core_takes(const struct core *c, const struct core_message *m)
{
    if (!is_from_master(c, m) || m->size == 0 || m->offset != c->written)
        return CORE_TAKES_NOT;
    return m->data_epoch == core_epochs_newest(&c->state) && core_is_saved(c) ? CORE_TAKES
                                                                              : CORE_TAKES_LATER;
}

void core_announce(struct core *c, const struct core_message *m)
{
    bool begins =
        m->data_start == m->offset ||
        (c->state.epoch_count == 0 && m->data_start < m->offset && c->written == c->first);

    if (core_takes(c, m) != CORE_TAKES_LATER || m->data_epoch == core_epochs_newest(&c->state))
        return;
    if (!begins || m->data_epoch <= core_last_epoch(c)) {
        core_alarm(c, "the log of the master does not go on where this one ends");
        core_look(c);
        return;
    }
    /* The table knows the epoch before a byte of it is there. */
    core_epochs_add(&c->state, m->data_epoch, m->data_start);
    core_save(c);
}

void core_take_data(struct core *c, const struct core_message *m)
{
    uint64_t confirmed;

    core_hear_of(c, core_term(m->epoch));
    if (!is_from_master(c, m))
        return;
    c->heard_ms = c->now_ms;
    if (m->size > 0 && m->offset != c->written) {
        if (m->offset > c->written)
            core_report(c, true);
        return;
    }
    if (m->size > 0) {
        if (core_takes(c, m) != CORE_TAKES) {
            core_announce(c, m);
            c->dropped = true; /* the bytes come again */
            return;
        }
        core_add_order(c, CORE_APPEND);
        c->written += m->size;
    }
    confirmed = m->confirmed < c->written ? m->confirmed : c->written;
    core_confirm(c, confirmed);
    core_settle(c);
}

/* The master has everything confirmed that it wants us to take over. */
void core_take_over(struct core *c, const struct core_message *m)
{
    if (c->role != CORE_FOLLOWING || m->from != c->master || m->term != core_term(c->epoch))
        return;
    core_promote(c, false);
    c->handed = true;
}
