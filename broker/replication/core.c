/* core.c - see core.h. */
#include "broker/replication/core.h"

#include <assert.h>
#include <string.h>

#include "broker/replication/core_epochs.h"

/* --- orders --- */

static struct core_order *order(struct core *c, enum core_order_type type)
{
    struct core_order *o;

    /* An event makes at most a few orders for each member. */
    assert(c->order_count < CORE_ORDERS_MAX);
    o = &c->orders[c->order_count++];
    memset(o, 0, sizeof(*o));
    o->type = type;
    return o;
}

static struct core_message *send_to(struct core *c, uint16_t to, enum core_message_type type)
{
    struct core_order *o = order(c, CORE_SEND);

    o->to = to;
    o->message.type = type;
    o->message.from = c->state.member;
    o->message.term = c->state.promised;
    return &o->message;
}

static void save(struct core *c)
{
    struct core_order *o = order(c, CORE_SAVE);

    o->version = ++c->state.version;
}

static bool is_saved(const struct core *c)
{
    return c->saved_version == c->state.version;
}

static void alarm_(struct core *c, const char *why)
{
    order(c, CORE_ALARM)->why = why;
}

/* --- the log --- */

uint64_t core_last_epoch(const struct core *c)
{
    return core_epochs_last(&c->state, c->written);
}

static bool higher_log(uint64_t epoch_a, uint64_t end_a, uint64_t epoch_b, uint64_t end_b)
{
    return epoch_a != epoch_b ? epoch_a > epoch_b : end_a > end_b;
}

/* --- members --- */

unsigned core_promises_needed(const struct core *c)
{
    return (unsigned)c->state.member_count - c->state.copies + 1u;
}

static struct core_peer *peer_of(struct core *c, uint16_t member)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        if (c->peers[i].member == member)
            return &c->peers[i];
    }
    return NULL;
}

static void enter(struct core *c, enum core_role role)
{
    bool wrote = c->role == CORE_MASTER;

    if (wrote && role != CORE_MASTER)
        order(c, CORE_CLOSE_WRITES);
    c->handing = false;
    c->disputed_ms = 0;
    c->role = role;
    c->since_ms = c->now_ms;
}

static void hear_of(struct core *c, uint64_t term)
{
    if (term > c->highest)
        c->highest = term;
}

static void put_table(const struct core *c, struct core_message *m)
{
    m->epoch_count = c->state.epoch_count;
    memcpy(m->epochs, c->state.epochs, c->state.epoch_count * sizeof(m->epochs[0]));
    m->first = c->first;
    m->end = c->written;
    m->last_epoch = core_last_epoch(c);
}

/* --- looking for a master --- */

static void look(struct core *c)
{
    enter(c, CORE_LOOKING);
    c->master = 0;
    c->reported_ms = 0;
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].looks = false;
}

/* The claim to the first epoch of a new group. */
static bool claims(const struct core *c)
{
    return c->state.epoch_count == 0 && c->state.written_term != 0;
}

/* Its promise counts: whatever this member ever counted as a copy of is in its log. One that claims
 * the first epoch may have a new disk, until all others were heard. */
bool core_is_certain(const struct core *c)
{
    return !c->doubtful && !claims(c);
}

/* The group is not new, this member is. */
static void drop_claim(struct core *c)
{
    if (!claims(c))
        return;
    alarm_(c, "the other members have a log, this one is new among them: it follows");
    c->state.written_term = 0;
    c->doubtful = true;
    save(c);
}

static void ask_to_follow(struct core *c)
{
    for (unsigned i = 0; i < c->peer_count; i++)
        put_table(c, send_to(c, c->peers[i].member, CORE_FOLLOW));
    c->reported_ms = c->now_ms;
}

/* --- a term --- */

static void begin_epoch(struct core *c)
{
    uint64_t epoch = c->state.promised << CORE_INCARNATION_BITS;

    if (c->state.epoch_count == 0 && c->written > c->first)
        core_epochs_add(&c->state, epoch, c->first); /* what was there before there were epochs */
    if (core_term(core_epochs_newest(&c->state)) == c->state.promised)
        epoch = core_epochs_newest(&c->state) + 1;
    if (core_term(epoch) != c->state.promised ||
        epoch <=
            core_epochs_newest(&c->state)) { /* incarnations used up, or a log from a later term */
        alarm_(c, "no epoch is left in this term");
        look(c);
        return;
    }
    c->epoch = epoch;
    c->epoch_first_end = 0;
    c->doubtful = false;
    c->state.written_term = c->state.promised;
    c->master = c->state.member;
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].following = false;
    enter(c, CORE_STARTING);
    core_epochs_add(&c->state, epoch, c->written);
    save(c);
    c->waits_for = c->state.version;
}

static void ask_for_promises(struct core *c)
{
    uint64_t counter;

    hear_of(c, c->state.promised);
    counter = (c->highest >> CORE_MEMBER_BITS) + 1;
    c->asked = counter << CORE_MEMBER_BITS | c->state.member;
    hear_of(c, c->asked);
    for (unsigned i = 0; i < c->peer_count; i++)
        c->peers[i].promised = false;
    enter(c, CORE_ASKING);
    c->state.promised = c->asked;
    save(c);
    c->waits_for = c->state.version;
}

/* Whose promise is not here yet: again with each beat, since a link that breaks loses what was on
 * its way. */
static void send_asks(struct core *c)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_message *m;

        if (c->peers[i].promised)
            continue;
        m = send_to(c, c->peers[i].member, CORE_PROMISE_ASK);
        m->term = c->asked;
        m->unclean = c->unclean;
    }
    c->asked_ms = c->now_ms;
}

/* Enough promises: the best of those who gave them writes. */
static void decide(struct core *c)
{
    uint64_t best_epoch = core_last_epoch(c), best_end = c->written;
    unsigned promises = core_is_certain(c) || c->unclean, all = 1;
    struct core_peer *best = NULL;

    if (!is_saved(c) || c->truncating)
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
    if (promises < (c->unclean ? 1 : core_promises_needed(c)) ||
        (all < c->state.member_count && c->now_ms - c->since_ms < c->options.ask_wait_ms))
        return;
    if (best) {
        struct core_message *m = send_to(c, best->member, CORE_START);

        m->term = c->asked;
        m->unclean = c->unclean;
        look(c);
    } else {
        begin_epoch(c);
    }
}

void core_promote(struct core *c, bool unclean)
{
    if (c->role == CORE_MASTER || c->role == CORE_STARTING)
        return;
    c->unclean = unclean;
    ask_for_promises(c);
}

/* --- the master --- */

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

static void confirm(struct core *c, uint64_t to)
{
    if (to <= c->confirmed)
        return;
    c->confirmed = to;
    order(c, CORE_CONFIRM)->offset = to;
}

/* Nothing inherited is confirmed before a record of this epoch is. */
static void keep_confirmed(struct core *c)
{
    uint64_t held;

    if (c->role != CORE_MASTER || c->epoch_first_end == 0)
        return;
    held = held_by_enough(c);
    if (held >= c->epoch_first_end)
        confirm(c, held);
}

static void welcome(struct core *c, struct core_peer *p)
{
    struct core_message *w = send_to(c, p->member, CORE_WELCOME);

    w->epoch = c->epoch;
    w->confirmed = c->confirmed;
    put_table(c, w);
    p->sent_ms = c->now_ms;
}

static void send_data(struct core *c, struct core_peer *p, bool alive)
{
    uint64_t end = 0, size;
    const struct core_epoch *e = core_epochs_at(&c->state, p->next, c->written, &end);
    struct core_message *m;

    if (p->next < c->first) { /* deleted before it was sent: it has to begin anew */
        p->following = false;
        welcome(c, p);
        return;
    }
    size = e && end > p->next && !p->blocked ? end - p->next : 0;
    if (size > CORE_FRAME_MAX)
        size = CORE_FRAME_MAX;
    if (size == 0 && !alive)
        return;
    m = send_to(c, p->member, CORE_DATA);
    m->epoch = c->epoch;
    m->confirmed = c->confirmed;
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

static void take_follow(struct core *c, struct core_peer *p, const struct core_message *m)
{
    p->looks = true;
    p->has_log = m->epoch_count > 0 || m->end > m->first || m->term != 0;
    if (p->has_log)
        drop_claim(c);
    if (c->role != CORE_MASTER)
        return;
    if (m->term > c->state.promised) {
        /* Somebody has asked for more without getting it, or we are not master any more. Asking
         * again tells which. */
        p->following = false;
        if (c->disputed_ms == 0)
            c->disputed_ms = c->now_ms;
        if (is_disputed(c, m)) {
            c->unclean = false;
            ask_for_promises(c);
        }
        return;
    }
    p->following = false;
    welcome(c, p);
}

/* To whom we hand over has everything: from now on it asks for promises. */
static void keep_handing(struct core *c)
{
    if (!c->handing || c->epoch_first_end == 0 || !is_saved(c) ||
        c->now_ms - c->handed_ms < c->options.beat_ms)
        return;
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_peer *p = &c->peers[i];

        if ((c->handing_to != 0 && p->member != c->handing_to) || !p->following || !p->certain ||
            p->received != c->written || (c->options.count_flushed && p->flushed != c->written))
            continue;
        send_to(c, p->member, CORE_TAKE_OVER)->term = core_term(c->epoch);
        c->handing_to = p->member;
        c->handed_ms = c->now_ms;
        return;
    }
}

void core_hand_over(struct core *c, uint16_t to, int64_t wait_ms)
{
    if (c->role != CORE_MASTER)
        return;
    c->handing = true;
    c->handing_to = to;
    c->handing_until = c->now_ms + wait_ms;
    c->handed_ms = c->now_ms - c->options.beat_ms;
    order(c, CORE_CLOSE_WRITES)->handing = true;
}

void core_step_down(struct core *c)
{
    if (c->role != CORE_MASTER && c->role != CORE_STARTING)
        return;
    look(c);
    c->state.written_term = 0;
    save(c);
}

void core_outdated(struct core *c)
{
    if (c->role != CORE_MASTER && c->role != CORE_STARTING)
        return;
    alarm_(c, "a name server knows a higher epoch: this member is not the master any more");
    hear_of(c, c->state.promised + 1);
    look(c);
}

static void take_report(struct core *c, struct core_peer *p, const struct core_message *m)
{
    if (c->role != CORE_MASTER || m->epoch != c->epoch)
        return;
    if (m->received > c->written) {
        alarm_(c, "a follower reports more than this log has");
        p->following = false;
        return;
    }
    p->following = true;
    p->certain = m->granted;
    p->received = m->received;
    p->flushed = m->flushed < m->received ? m->flushed : m->received;
    if (m->again || p->next < m->received || p->next > c->written)
        p->next = m->received;
    keep_confirmed(c);
    keep_handing(c);
    send_data(c, p, false);
}

/* --- promises --- */

/* Promises leave when they are durable. */
static void send_promises(struct core *c)
{
    for (unsigned i = 0; i < c->peer_count && is_saved(c); i++) {
        struct core_peer *p = &c->peers[i];
        struct core_message *m;

        if (p->owed == 0)
            continue;
        m = send_to(c, p->member, CORE_PROMISE);
        m->asked = p->owed;
        m->granted = p->owed == c->state.promised && (core_is_certain(c) || p->owed_unclean);
        m->end = c->written;
        m->last_epoch = core_last_epoch(c);
        p->owed = 0;
    }
}

static void take_promise_ask(struct core *c, struct core_peer *p, const struct core_message *m)
{
    hear_of(c, m->term);
    if (m->term > c->state.promised) {
        /* Whoever promises stops: neither writes nor acknowledgements in a lower term. */
        c->state.promised = m->term;
        look(c);
        save(c);
    }
    p->owed = m->term;
    p->owed_unclean = m->unclean;
    send_promises(c);
}

static void take_promise(struct core *c, struct core_peer *p, const struct core_message *m)
{
    hear_of(c, m->term);
    if (c->role != CORE_ASKING || m->asked != c->asked)
        return;
    if (!m->granted) {
        if (m->term > c->asked) {
            c->state.promised = m->term;
            save(c);
            look(c);
        }
        return;
    }
    p->promised = true;
    p->last_epoch = m->last_epoch;
    p->end = m->end;
    decide(c);
}

static void take_start(struct core *c, const struct core_message *m)
{
    hear_of(c, m->term);
    if (m->term != c->state.promised || c->state.written_term == m->term || c->truncating ||
        (!core_is_certain(c) && !m->unclean))
        return;
    begin_epoch(c);
}

/* --- the follower --- */

/* Everything that a master had when it was met is here again: what this member ever counted as a
 * copy is in it. */
static void settle(struct core *c)
{
    if (c->doubtful && c->role == CORE_FOLLOWING &&
        (c->options.count_flushed ? c->flushed : c->written) >= c->sure_at)
        c->doubtful = false;
}

static void report(struct core *c, bool again)
{
    struct core_message *m = send_to(c, c->master, CORE_REPORT);

    m->epoch = c->epoch;
    m->granted = core_is_certain(c);
    m->received = c->written;
    m->flushed = c->flushed;
    m->again = again;
    c->reported_ms = c->now_ms;
}

static void follow(struct core *c)
{
    enter(c, CORE_FOLLOWING);
    settle(c);
    report(c, true);
}

static void cut(struct core *c)
{
    struct core_order *o;

    /* Also an epoch that was announced here and never came: the log goes on in another. */
    core_epochs_cut(&c->state, c->cut_anew ? 0 : c->cut_to);
    if (c->cut_to < c->written || c->cut_anew) {
        o = order(c, CORE_TRUNCATE);
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

static void take_welcome(struct core *c, const struct core_message *m)
{
    uint64_t their_end = m->end;
    uint64_t common = 0;
    bool anew;

    hear_of(c, core_term(m->epoch));
    if (core_term(m->epoch) < c->state.promised || c->role == CORE_CUTTING || c->truncating)
        return;
    if (c->role == CORE_STARTING || c->role == CORE_MASTER) {
        /* Two masters meet: the lower term stops, at once. */
        if (core_term(m->epoch) == c->state.promised)
            return;
        look(c);
    }
    if (c->role == CORE_FOLLOWING && m->epoch <= c->epoch && m->first <= c->written)
        return;
    if (m->epoch < core_last_epoch(c))
        return; /* late: its writer has begun another since */
    drop_claim(c);
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
        alarm_(c, "a master lacks what was confirmed here: that is cut, and kept aside");
    }
    c->master = m->from;
    c->epoch = m->epoch;
    c->heard_ms = c->now_ms;
    c->sure_at = m->end;
    c->cut_to = common;
    c->cut_anew = anew;
    enter(c, CORE_CUTTING);
    c->state.promised = core_term(m->epoch);
    save(c);
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
    return m->data_epoch == core_epochs_newest(&c->state) && is_saved(c) ? CORE_TAKES
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
        alarm_(c, "the log of the master does not go on where this one ends");
        look(c);
        return;
    }
    /* The table knows the epoch before a byte of it is there. */
    core_epochs_add(&c->state, m->data_epoch, m->data_start);
    save(c);
}

static void take_data(struct core *c, const struct core_message *m)
{
    uint64_t confirmed;

    hear_of(c, core_term(m->epoch));
    if (!is_from_master(c, m))
        return;
    c->heard_ms = c->now_ms;
    if (m->size > 0 && m->offset != c->written) {
        if (m->offset > c->written)
            report(c, true);
        return;
    }
    if (m->size > 0) {
        if (core_takes(c, m) != CORE_TAKES) {
            core_announce(c, m);
            c->dropped = true; /* the bytes come again */
            return;
        }
        order(c, CORE_APPEND);
        c->written += m->size;
    }
    confirmed = m->confirmed < c->written ? m->confirmed : c->written;
    confirm(c, confirmed);
    settle(c);
}

/* --- events --- */

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
    look(c);
}

/* The last master has lost nothing, and nobody else has its term: it may go on in it. */
static bool may_go_on(const struct core *c)
{
    bool all = true, empty = true, may;

    for (unsigned i = 0; i < c->peer_count; i++) {
        all = all && c->peers[i].looks;
        empty = empty && !c->peers[i].has_log;
    }
    may = !c->doubtful && !c->truncating && c->state.written_term != 0 &&
          c->state.written_term == c->state.promised && c->highest <= c->state.promised;
    if (claims(c))
        return may && all && empty;
    /* All others look for a master themselves, and none has promised more. */
    return may && (all || c->now_ms - c->since_ms >= c->options.start_wait_ms);
}

static void tick_master(struct core *c)
{
    keep_handing(c);
    if (c->handing && c->now_ms >= c->handing_until) {
        c->handing = false;
        order(c, CORE_OPEN_WRITES)->again = true;
    }
    for (unsigned i = 0; i < c->peer_count; i++) {
        struct core_peer *p = &c->peers[i];

        if (c->now_ms - p->heard_ms > c->options.silent_ms)
            p->following = false;
        if (c->now_ms - p->sent_ms < c->options.beat_ms)
            continue;
        if (p->following)
            send_data(c, p, true);
        else
            welcome(c, p); /* it may be master of a lower term, and look for nobody */
    }
}

void core_tick(struct core *c, int64_t now_ms)
{
    c->now_ms = now_ms;
    switch (c->role) {
    case CORE_LOOKING:
        if (may_go_on(c)) {
            begin_epoch(c);
            return;
        }
        if (c->reported_ms == 0 || now_ms - c->reported_ms >= c->options.beat_ms)
            ask_to_follow(c);
        break;
    case CORE_ASKING:
        decide(c);
        if (c->role == CORE_ASKING && now_ms - c->since_ms >= c->options.silent_ms) {
            alarm_(c, "too few members have promised: nobody is promoted");
            look(c);
        } else if (c->role == CORE_ASKING && is_saved(c) &&
                   now_ms - c->asked_ms >= c->options.beat_ms) {
            send_asks(c);
        }
        break;
    case CORE_FOLLOWING:
        if (now_ms - c->heard_ms > c->options.silent_ms)
            look(c);
        else if (now_ms - c->reported_ms >= c->options.beat_ms)
            report(c, true);
        break;
    case CORE_MASTER:
        tick_master(c);
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
        settle(c);
        report(c, false);
    } else if (c->role == CORE_MASTER) {
        keep_confirmed(c);
        keep_handing(c);
        for (unsigned i = 0; i < c->peer_count; i++) {
            if (c->peers[i].following)
                send_data(c, &c->peers[i], false);
        }
    }
}

void core_saved(struct core *c, uint64_t version)
{
    if (version > c->saved_version)
        c->saved_version = version;
    if (!is_saved(c))
        return;
    send_promises(c);
    if (c->role == CORE_STARTING && c->saved_version >= c->waits_for) {
        enter(c, CORE_MASTER);
        order(c, CORE_OPEN_WRITES);
    } else if (c->role == CORE_CUTTING && c->saved_version >= c->waits_for) {
        cut(c);
    } else if (c->role == CORE_ASKING) {
        send_asks(c);
        decide(c);
    } else if (c->role == CORE_FOLLOWING && c->dropped) {
        c->dropped = false;
        report(c, true);
    }
}

void core_truncated(struct core *c)
{
    if (!c->truncating)
        return;
    c->truncating = c->cut_anew = false;
    if (c->role != CORE_CUTTING) /* a promise came between */
        return;
    save(c);
    c->waits_for = c->state.version;
}

void core_opened(struct core *c, uint64_t first_end)
{
    if (c->role == CORE_MASTER)
        c->epoch_first_end = first_end;
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
        send_data(c, p, false);
}

void core_link_new(struct core *c, uint16_t member)
{
    struct core_peer *p = peer_of(c, member);

    if (!p)
        return;
    p->away = false;
    if (p->following && p->next > p->received)
        p->next = p->received;
    if (c->role == CORE_LOOKING) /* nobody has to wait for a beat */
        put_table(c, send_to(c, member, CORE_FOLLOW));
    else if (c->role == CORE_MASTER && !p->following)
        welcome(c, p);
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
        look(c);
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

void core_heard(struct core *c, uint16_t member)
{
    struct core_peer *p = peer_of(c, member);

    if (p)
        p->heard_ms = c->now_ms;
    if (c->master == member)
        c->heard_ms = c->now_ms;
}

bool core_deposes(const struct core *c, const struct core_message *m)
{
    if (c->role != CORE_MASTER)
        return false;
    return (m->type == CORE_PROMISE_ASK && m->term > c->state.promised) ||
           (m->type == CORE_FOLLOW && is_disputed(c, m)) ||
           (m->type == CORE_WELCOME && core_term(m->epoch) > c->state.promised);
}

/* The master has everything confirmed that it wants us to take over. */
static void take_over(struct core *c, const struct core_message *m)
{
    if (c->role == CORE_FOLLOWING && m->from == c->master && m->term == core_term(c->epoch))
        core_promote(c, false);
}

void core_receive(struct core *c, const struct core_message *m)
{
    struct core_peer *p = peer_of(c, m->from);

    if (!p)
        return;
    p->heard_ms = c->now_ms;
    switch (m->type) {
    case CORE_FOLLOW:
        hear_of(c, m->term);
        take_follow(c, p, m);
        break;
    case CORE_WELCOME:
        take_welcome(c, m);
        break;
    case CORE_PROMISE_ASK:
        take_promise_ask(c, p, m);
        break;
    case CORE_PROMISE:
        take_promise(c, p, m);
        break;
    case CORE_START:
        take_start(c, m);
        break;
    case CORE_DATA:
        take_data(c, m);
        break;
    case CORE_REPORT:
        take_report(c, p, m);
        break;
    case CORE_TAKE_OVER:
        take_over(c, m);
        break;
    }
}
