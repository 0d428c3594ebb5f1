/* core_term.c - who is to write: looking for a master, asking for promises and giving them, and the
 * epoch that the best of those who gave them begins.
 */
#include "broker/replication/core_internal.h"

#include <stddef.h>

void core_enter(struct core *c, enum core_role role)
{
    bool wrote = c->role == CORE_MASTER;

    if (wrote && role != CORE_MASTER)
        core_add_order(c, CORE_CLOSE_WRITES);
    c->handing = false;
    c->disputed_ms = 0;
    c->role = role;
    c->since_ms = c->now_ms;
}

/* --- looking for a master --- */

void core_look(struct core *c)
{
    core_enter(c, CORE_LOOKING);
    c->master = 0;
    c->started = 0;
    c->reported_ms = 0;
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].looks = false;
}

bool core_claims(const struct core *c)
{
    return c->state.epoch_count == 0 && c->state.written_term != 0;
}

/* Its promise counts: whatever this member ever counted as a copy of is in its log. One that claims
 * the first epoch may have a new disk, until all others were heard. */
bool core_is_certain(const struct core *c)
{
    return !c->doubtful && !core_claims(c);
}

/* The group is not new, this member is. */
void core_drop_claim(struct core *c)
{
    if (!core_claims(c))
        return;
    core_alarm(c, "the other members have a log, this one is new among them: it follows");
    c->state.written_term = 0;
    c->doubtful = true;
    core_save(c);
}

/* Why a new group does not begin: an operator who waits for it has made a mistake in a file, or
 * has not started all. */
static void say_new(struct core *c)
{
    bool all = true, rival = false;

    if (c->state.epoch_count > 0 || c->written > c->first ||
        (c->state.promised != 0 && !core_claims(c)) ||
        c->now_ms - c->since_ms < c->options.start_wait_ms)
        return;
    for (unsigned i = 0; i < c->peer_count; i++) {
        const struct core_peer *p = &c->peers[i];

        if (p->has_log && !p->claims)
            return;
        all = all && p->looks;
        rival = rival || (p->claims && core_claims(c));
    }
    c->said_new = true;
    if (rival)
        core_alarm(c, "a new group: two files say that theirs is the master, brokerRole is SLAVE "
                      "in all but one");
    else if (all && !core_claims(c))
        core_alarm(c, "a new group: the file of one member has to say brokerRole=SYNC_MASTER or "
                      "ASYNC_MASTER");
    else
        core_alarm(c, "a new group: it begins when all members have been heard; the log says "
                      "who cannot be greeted");
}

/* There is a master now. */
void core_unsay_new(struct core *c)
{
    if (c->said_new)
        core_alarm(c, "");
    c->said_new = false;
}

void core_ask_to_follow(struct core *c)
{
    say_new(c);
    for (unsigned i = 0; i < c->peer_count; i++)
        core_put_table(c, core_send_to(c, c->peers[i].member, CORE_FOLLOW));
    c->reported_ms = c->now_ms;
}

/* The last master has lost nothing, and nobody else has its term: it may go on in it. */
bool core_may_go_on(const struct core *c)
{
    bool all = true, empty = true, may;

    for (unsigned i = 0; i < c->peer_count; i++) {
        all = all && c->peers[i].looks;
        empty = empty && !c->peers[i].has_log;
    }
    may = !c->doubtful && !c->truncating && c->state.written_term != 0 &&
          c->state.written_term == c->state.promised && c->highest <= c->state.promised;
    if (core_claims(c))
        return may && all && empty;
    /* All others look for a master themselves, and none has promised more. */
    return may && (all || c->now_ms - c->since_ms >= c->options.start_wait_ms);
}

/* --- a term --- */

void core_begin_epoch(struct core *c)
{
    uint64_t epoch = c->state.promised << CORE_INCARNATION_BITS;

    if (c->state.epoch_count == 0 && c->written > c->first)
        core_epochs_add(&c->state, epoch, c->first); /* what was there before there were epochs */
    if (core_term(core_epochs_newest(&c->state)) == c->state.promised)
        epoch = core_epochs_newest(&c->state) + 1;
    if (core_term(epoch) != c->state.promised ||
        epoch <=
            core_epochs_newest(&c->state)) { /* incarnations used up, or a log from a later term */
        core_alarm(c, "no epoch is left in this term");
        core_look(c);
        return;
    }
    core_unsay_new(c);
    c->epoch = epoch;
    c->epoch_first_end = 0;
    c->doubtful = false;
    c->state.written_term = c->state.promised;
    c->master = c->state.member;
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].following = false;
    core_enter(c, CORE_STARTING);
    core_epochs_add(&c->state, epoch, c->written);
    core_save(c);
    c->waits_for = c->state.version;
}

void core_ask_for_promises(struct core *c)
{
    uint64_t counter;

    core_hear_of(c, c->state.promised);
    counter = (c->highest >> CORE_MEMBER_BITS) + 1;
    if (c->state.epoch_count == 0) {
        counter += c->options.new_counter;
        c->options.new_counter = 0;
    }
    if (counter > CORE_TERM_MAX >> CORE_MEMBER_BITS) {
        core_alarm(c, "all terms are used up: this group can have no other master");
        return;
    }
    c->asked = counter << CORE_MEMBER_BITS | c->state.member;
    core_hear_of(c, c->asked);
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].promised = false;
    core_enter(c, CORE_ASKING);
    c->state.promised = c->asked;
    core_save(c);
    c->waits_for = c->state.version;
}

void core_send_ask(struct core *c, const struct core_peer *p)
{
    struct core_message *m = core_send_to(c, p->member, CORE_PROMISE_ASK);

    m->term = c->asked;
    m->unclean = c->unclean;
}

/* Whose promise is not here yet: again with each beat, since a link that breaks loses what was on
 * its way. */
void core_send_asks(struct core *c)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        if (!c->peers[i].promised)
            core_send_ask(c, &c->peers[i]);
    }
    c->asked_ms = c->now_ms;
}

unsigned core_promises_needed(const struct core *c)
{
    return (unsigned)c->state.member_count - c->state.copies + 1u;
}

static bool higher_log(uint64_t epoch_a, uint64_t end_a, uint64_t epoch_b, uint64_t end_b)
{
    return epoch_a != epoch_b ? epoch_a > epoch_b : end_a > end_b;
}

static void send_start(struct core *c, uint16_t to)
{
    struct core_message *m = core_send_to(c, to, CORE_START);

    m->term = c->asked;
    m->unclean = c->unclean;
    c->asked_ms = c->now_ms;
}

/* Until its WELCOME is here, or nobody waits for it any more: a link that breaks loses this too.
 * Who has begun the term already does nothing. */
void core_start_again(struct core *c)
{
    if (c->started != 0 && c->state.promised == c->asked &&
        c->now_ms - c->since_ms < c->options.silent_ms &&
        c->now_ms - c->asked_ms >= c->options.beat_ms)
        send_start(c, c->started);
}

/* Enough promises: the best of those who gave them writes. */
void core_decide(struct core *c)
{
    uint64_t best_epoch = core_last_epoch(c), best_end = c->written;
    unsigned promises = core_is_certain(c) || c->unclean, all = 1;
    struct core_peer *best = NULL;

    if (!core_is_saved(c) || c->truncating)
        return;
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_peer *p = &c->peers[i];

        /* Who cannot be asked is not waited for, unless nothing else is certain. */
        all += p->promised || (p->away && !c->unclean);
        if (!p->promised)
            continue;
        promises++;
        if (higher_log(p->last_epoch, p->end, best_epoch, best_end)) {
            best = p;
            best_epoch = p->last_epoch;
            best_end = p->end;
        }
    }
    if (promises < (c->unclean ? 1 : core_promises_needed(c)))
        return;
    /* Who was handed the lead has all of the master's log: nobody who is waited for has more. */
    if (all < c->state.member_count && !c->handed &&
        c->now_ms - c->since_ms < c->options.ask_wait_ms)
        return;
    if (best) {
        core_look(c);
        c->started = best->member;
        send_start(c, c->started);
    } else {
        core_begin_epoch(c);
    }
}

void core_promote(struct core *c, bool unclean)
{
    if (c->role == CORE_MASTER || c->role == CORE_STARTING)
        return;
    c->unclean = unclean;
    c->handed = false;
    core_ask_for_promises(c);
}

/* --- promises --- */

/* Promises leave when they are durable, and there is a link for them. */
void core_send_promises(struct core *c)
{
    for (unsigned i = 0; i < c->peer_count && core_is_saved(c); i++) {
        struct core_peer *p = &c->peers[i];
        struct core_message *m;

        if (p->owed == 0 || p->away)
            continue;
        m = core_send_to(c, p->member, CORE_PROMISE);
        m->asked = p->owed;
        m->granted = p->owed == c->state.promised && (core_is_certain(c) || p->owed_unclean);
        m->end = c->written;
        m->last_epoch = core_last_epoch(c);
        p->owed = 0;
    }
}

void core_take_promise_ask(struct core *c, struct core_peer *p, const struct core_message *m)
{
    core_hear_of(c, m->term);
    if (m->term > c->state.promised) {
        /* Whoever promises stops: neither writes nor acknowledgements in a lower term. */
        c->state.promised = m->term;
        core_look(c);
        core_save(c);
    }
    p->owed = m->term;
    p->owed_unclean = m->unclean;
    core_send_promises(c);
}

void core_take_promise(struct core *c, struct core_peer *p, const struct core_message *m)
{
    core_hear_of(c, m->term);
    if (c->role != CORE_ASKING || m->asked != c->asked)
        return;
    if (!m->granted) {
        if (m->term > c->asked) {
            c->state.promised = m->term;
            core_save(c);
            core_look(c);
        }
        return;
    }
    p->promised = true;
    p->last_epoch = m->last_epoch;
    p->end = m->end;
    core_decide(c);
}

void core_take_start(struct core *c, const struct core_message *m)
{
    core_hear_of(c, m->term);
    if (m->term != c->state.promised || c->state.written_term == m->term || c->truncating ||
        (!core_is_certain(c) && !m->unclean))
        return;
    core_begin_epoch(c);
}
