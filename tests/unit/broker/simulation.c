/* simulation.c - see simulation.h. */
#include "simulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/replication/group_wire.h"
#include "unit.h"

enum {
    NODES_MAX = 5,
    LOG_MAX = 6000, /* records; one byte each in the core's eyes */
    WIRES = 4096,
    STEP_MS = 5,
    ROUGH_MS = 15000,
    CALM_MS = 60000,
    SAVES = 64,
    EPOCHS = 4096,
};

struct node {
    bool up, writes;
    struct core core;
    struct core_state disk; /* as saved */
    /* Beside the state, as the broker keeps it: doubt, and the intent to cut. */
    struct intent {
        bool doubtful, cut, anew;
        uint64_t cut_to;
    } intent, disk_intent;
    struct pending_save {
        int64_t due_ms;
        struct core_state state;
        struct intent intent;
    } saves[SAVES];
    unsigned save_count;
    int64_t cut_ms; /* the intent is durable: then it is carried out, or the process ends */
    uint32_t log[LOG_MAX];
    uint64_t first, written, flushed;
    uint64_t
        ghost; /* bytes behind the end that were not cut physically: a start finds them again */
    int64_t flush_ms; /* when the flush that is under way ends; 0: none */
    uint64_t flush_to;
    int64_t restart_ms;
    uint64_t confirmed;
};

struct wire {
    int64_t due_ms;
    uint16_t to;
    struct core_message message;
    uint32_t *bytes; /* of DATA */
    bool held;       /* it has arrived, and waits for room */
};

static struct plan plan;
static struct node nodes[NODES_MAX];
static struct wire wires[WIRES];
static unsigned wire_count;
static bool cut[NODES_MAX][NODES_MAX];
static bool unlinked[NODES_MAX][NODES_MAX]; /* the sender knows that there is no link */
static bool quiet;                          /* messages arrive, soon */
static int64_t now;
static uint64_t random_state;
static uint32_t next_record;
static uint32_t visible[LOG_MAX]; /* what has been confirmed by anybody */
static uint64_t visible_count;
static struct {
    uint64_t epoch;
    unsigned node;
} writers[EPOCHS];
static unsigned writer_count;
static char broken[600]; /* what did not hold */
static uint64_t appended, promotions, crashes, replaced, handed, anews;

static bool talks; /* SIMULATION_TALK: what happens is said */
#define SAY(...)                                                                                   \
    (talks                                                                                         \
         ? (printf("%lld: ", (long long)now), printf(__VA_ARGS__), putchar('\n'), fflush(stdout))  \
         : 0)

static uint64_t rnd(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % below;
}

/* Of its own, so that it changes nothing else of a schedule. */
static uint32_t new_counter(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 7;
    state ^= state >> 9;
    return (uint32_t)(state % CORE_NEW_COUNTERS);
}

static bool chance(unsigned in)
{
    return rnd(in) == 0;
}

#define BREAK(...) (broken[0] ? 0 : snprintf(broken, sizeof(broken), __VA_ARGS__))

/* --- disk --- */

static void save(struct node *n)
{
    bool at_once = plan.bug == PROMISE_NOT_DURABLE;

    ck_assert_uint_lt(n->save_count, SAVES);
    n->intent.doubtful = n->core.doubtful;
    n->saves[n->save_count++] =
        (struct pending_save){.due_ms = now + (at_once ? 0 : 1 + (int64_t)rnd(40)),
                              .state = n->core.state,
                              .intent = n->intent};
}

static void run_orders(unsigned i);
static void keep_cut(unsigned i);

static void keep_disk(unsigned i)
{
    struct node *n = &nodes[i];

    while (n->up && n->save_count > 0 && n->saves[0].due_ms <= now) {
        uint64_t version = n->saves[0].state.version;

        if (plan.bug != PROMISE_NOT_DURABLE || chance(2)) {
            n->disk = n->saves[0].state;
            n->disk_intent = n->saves[0].intent;
        }
        if (n->saves[0].intent.cut && n->intent.cut && n->cut_ms == 0)
            n->cut_ms = now + 1 + (int64_t)rnd(chance(3) ? 1000 : 50);
        memmove(n->saves, n->saves + 1, (n->save_count - 1) * sizeof(n->saves[0]));
        n->save_count--;
        core_saved(&n->core, version);
        run_orders(i);
    }
    keep_cut(i);
    if (!n->up)
        return;
    if (n->core.doubtful != n->intent.doubtful)
        save(n);
    if (n->flush_ms && n->flush_ms <= now) {
        if (n->flush_to > n->written)
            n->flush_to = n->written; /* cut meanwhile */
        if (n->flush_to > n->flushed)
            n->flushed = n->flush_to;
        n->flush_ms = 0;
        core_log(&n->core, n->written, n->flushed);
        run_orders(i);
    }
    if (!n->flush_ms && n->flushed < n->written) {
        n->flush_ms = now + 1 + (int64_t)rnd(30);
        n->flush_to = n->written;
    }
}

static void tell_log(unsigned i)
{
    struct node *n = &nodes[i];

    core_log(&n->core, n->written, plan.bug == ACK_BEFORE_FLUSH ? n->written : n->flushed);
    run_orders(i);
}

static void append(unsigned i, uint32_t record)
{
    struct node *n = &nodes[i];

    n->log[n->written++] = record;
    appended++;
}

/* --- network --- */

/* As the other side reads it: nothing that a core says is beyond the bounds of the frames. */
static struct core_message over_the_wire(const struct core_message *m)
{
    static struct buf frame;
    static const uint8_t log[LOG_MAX];
    struct group_frame read;
    const char *why = NULL;
    size_t used;

    buf_reset(&frame);
    group_wire_put_core(&frame, m);
    buf_add(&frame, log, m->size);
    if (group_wire_take(buf_bytes(&frame), &read, &used, &why) != 0)
        BREAK("message %d of member %u is not taken: %s", (int)m->type, (unsigned)m->from,
              why ? why : "more is expected");
    return read.message;
}

static void send_message(unsigned from, const struct core_order *o)
{
    struct node *n = &nodes[from];
    int copies = chance(50) ? 2 : 1;

    if ((chance(40) && !quiet) || unlinked[from][o->to - 1])
        return;
    while (copies-- > 0 && wire_count < WIRES) {
        struct wire *w = &wires[wire_count++];

        *w = (struct wire){.due_ms = now + 1 + (int64_t)rnd(chance(20) && !quiet ? 400 : 15),
                           .to = o->to,
                           .message = over_the_wire(&o->message)};
        if (o->message.type == CORE_PROMISE && plan.bug == PROMOTION_BY_CONFIRMED)
            w->message.end = n->confirmed;
        if (o->message.type == CORE_DATA && o->message.size > 0) {
            ck_assert_uint_le(o->message.offset + o->message.size, n->written);
            w->bytes = malloc(o->message.size * sizeof(*w->bytes));
            ck_assert_ptr_nonnull(w->bytes);
            memcpy(w->bytes, n->log + o->message.offset, o->message.size * sizeof(*w->bytes));
        }
    }
}

static const struct wire *arriving; /* whose bytes CORE_APPEND takes */

static void lose_messages(unsigned from, unsigned to)
{
    for (unsigned k = 0; k < wire_count;) {
        if (wires[k].message.from != from + 1 || wires[k].to != to + 1) {
            k++;
            continue;
        }
        free(wires[k].bytes);
        wires[k] = wires[--wire_count];
    }
}

/* What the store has no room for yet is tried again. */
static void hold(const struct wire *w, uint64_t skip)
{
    struct wire rest = *w;

    if (wire_count == WIRES)
        return;
    rest.held = true;
    rest.due_ms = now + 1 + (int64_t)rnd(20);
    rest.message.offset += skip;
    rest.message.size -= skip;
    rest.bytes = malloc(rest.message.size * sizeof(*rest.bytes));
    ck_assert_ptr_nonnull(rest.bytes);
    memcpy(rest.bytes, w->bytes + skip, rest.message.size * sizeof(*rest.bytes));
    wires[wire_count++] = rest;
}

static void receive(unsigned i, struct wire *w)
{
    struct node *n = &nodes[i];
    struct core_message *m = &w->message;
    uint64_t whole = m->size;

    if (m->type == CORE_DATA && m->size > 0 && chance(2)) {
        switch (core_takes(&n->core, m)) {
        case CORE_TAKES:
            m->size = rnd(whole + 1);
            if (m->size < whole) {
                struct wire all = *w;

                all.message.size = whole;
                hold(&all, m->size);
            }
            if (m->size == 0)
                return;
            break;
        case CORE_TAKES_LATER:
            core_announce(&n->core, m);
            run_orders(i);
            if (n->up)
                hold(w, 0);
            return;
        case CORE_TAKES_NOT:
            break;
        }
    }
    arriving = w;
    core_receive(&n->core, m);
    run_orders(i);
    arriving = NULL;
}

static void deliver(void)
{
    for (unsigned k = 0; k < wire_count;) {
        struct wire w = wires[k];
        struct node *n = &nodes[w.to - 1];

        if (w.due_ms > now) {
            k++;
            continue;
        }
        wires[k] = wires[--wire_count];
        if (n->up && (w.held || !cut[w.message.from - 1][w.to - 1]))
            receive(w.to - 1u, &w);
        free(w.bytes);
    }
}

/* --- orders --- */

static void note_confirmed(unsigned i, uint64_t to)
{
    struct node *n = &nodes[i];

    if (to > n->written) {
        BREAK("member %u confirms %llu, its log ends at %llu", i + 1, (unsigned long long)to,
              (unsigned long long)n->written);
        return;
    }
    if (n->confirmed < n->first)
        n->confirmed = n->first;
    for (uint64_t at = n->confirmed; at < to; at++) {
        if (at == visible_count)
            visible[visible_count++] = n->log[at];
        else if (at > visible_count || visible[at] != n->log[at])
            BREAK("at %llu member %u confirms record %u, confirmed was %u", (unsigned long long)at,
                  i + 1, n->log[at], at < visible_count ? visible[at] : 0);
    }
    n->confirmed = to;
}

static void note_writer(unsigned i, uint64_t epoch)
{
    for (unsigned k = 0; k < writer_count; k++) {
        if (writers[k].epoch == epoch)
            BREAK("members %u and %u, or two starts of one, write in epoch %llx", writers[k].node,
                  i + 1, (unsigned long long)epoch);
    }
    ck_assert_uint_lt(writer_count, EPOCHS);
    writers[writer_count].epoch = epoch;
    writers[writer_count++].node = i + 1;
}

static void run_order(unsigned i, const struct core_order *o)
{
    struct node *n = &nodes[i];

    switch (o->type) {
    case CORE_SAVE:
        save(n);
        break;
    case CORE_SEND:
        send_message(i, o);
        break;
    case CORE_APPEND:
        ck_assert_ptr_nonnull(arriving);
        ck_assert_uint_eq(arriving->message.offset, n->written);
        for (uint64_t k = 0; k < arriving->message.size; k++)
            n->log[n->written++] = arriving->bytes[k];
        break;
    case CORE_TRUNCATE:
        n->intent = (struct intent){.cut = true, .anew = o->anew, .cut_to = o->offset};
        n->cut_ms = 0;
        save(n);
        break;
    case CORE_OPEN_WRITES:
        SAY("member %u writes in epoch %llx from %llu on", i + 1, (unsigned long long)n->core.epoch,
            (unsigned long long)n->written);
        if (!o->again)
            note_writer(i, n->core.epoch);
        n->writes = true;
        break;
    case CORE_CLOSE_WRITES:
        n->writes = false;
        break;
    case CORE_CONFIRM:
        note_confirmed(i, o->offset);
        break;
    case CORE_ALARM:
        SAY("member %u: %s", i + 1, o->why);
        break;
    }
}

static void carry_out_cut(struct node *n, const struct intent *intent)
{
    SAY("member %u cuts at %llu%s, its log is %llu to %llu", (unsigned)n->core.state.member,
        (unsigned long long)intent->cut_to, intent->anew ? ", anew" : "",
        (unsigned long long)n->first, (unsigned long long)n->written);
    anews += intent->anew;
    if (intent->anew) {
        n->first = n->written = n->flushed = intent->cut_to;
        n->ghost = 0;
    }
    if (plan.bug == SKIPPED_TRUNCATION && n->ghost < n->written)
        n->ghost = n->written;
    if (intent->cut_to < n->written)
        n->written = intent->cut_to;
    if (n->flushed > n->written)
        n->flushed = n->written;
    if (n->confirmed > n->written)
        n->confirmed = n->written;
}

/* Links end with the process that reads them: nothing reaches it that was sent to an earlier one.
 */
static void lose_what_comes(unsigned i)
{
    for (unsigned k = 0; k < wire_count;) {
        if (wires[k].to != i + 1) {
            k++;
            continue;
        }
        free(wires[k].bytes);
        wires[k] = wires[--wire_count];
    }
}

/* What a process that is made anew knows is what it has saved; the intent to cut is among it. */
static void restart(unsigned i)
{
    struct node *n = &nodes[i];

    lose_what_comes(i);
    n->flushed = n->written;
    n->core.order_count = 0;
    n->up = false;
    n->restart_ms = now + 1 + (int64_t)rnd(100);
}

/* The intent is durable. The broker is made anew, and cuts on its way, or it cuts as it is. */
static void keep_cut(unsigned i)
{
    struct node *n = &nodes[i];

    if (!n->up || n->cut_ms == 0 || now < n->cut_ms)
        return;
    n->cut_ms = 0;
    if (chance(2)) {
        restart(i);
        return;
    }
    carry_out_cut(n, &n->intent);
    n->intent.cut = n->intent.anew = false;
    core_truncated(&n->core);
    run_orders(i);
}

static void run_orders(unsigned i)
{
    struct node *n = &nodes[i];
    const struct wire *was = arriving;

    while (n->core.order_count > 0 && n->up) {
        struct core_order orders[CORE_ORDERS_MAX];
        unsigned count = n->core.order_count;
        uint64_t before = n->written;
        bool opened = false;

        memcpy(orders, n->core.orders, count * sizeof(orders[0]));
        n->core.order_count = 0;
        for (unsigned k = 0; k < count; k++) {
            run_order(i, &orders[k]);
            opened = opened || (orders[k].type == CORE_OPEN_WRITES && !orders[k].again);
        }
        arriving = NULL;
        if (opened) {
            append(i, ++next_record);
            core_opened(&n->core, n->written);
        }
        if (n->written != before)
            core_log(&n->core, n->written, plan.bug == ACK_BEFORE_FLUSH ? n->written : n->flushed);
    }
    arriving = was;
}

/* --- a life --- */

/* A member that lacks what it had, or never had anything. */
static bool somebody_doubts(void)
{
    for (unsigned i = 0; i < plan.nodes; i++) {
        const struct node *n = &nodes[i];
        const struct core_state *s = n->up ? &n->core.state : &n->disk;

        if ((n->up ? n->core.doubtful : n->disk_intent.doubtful) || s->epoch_count == 0)
            return true;
    }
    return false;
}

static void boot(unsigned i)
{
    static const struct core_options times = {
        .start_wait_ms = 300, .ask_wait_ms = 200, .beat_ms = 50, .silent_ms = 400};
    struct core_options options = times;
    struct node *n = &nodes[i];

    options.count_flushed = plan.flushed;
    options.new_counter = new_counter();
    if (n->disk_intent.cut)
        carry_out_cut(n, &n->disk_intent);
    n->disk_intent.cut = n->disk_intent.anew = false;
    n->intent = n->disk_intent;
    n->cut_ms = 0;
    n->up = true;
    n->writes = false;
    n->save_count = 0;
    n->flush_ms = 0;
    n->confirmed = 0;
    if (n->ghost > n->written)
        n->written = n->ghost;
    n->ghost = 0;
    n->flushed = n->written;
    core_init(&n->core, &options, &n->disk, n->first, n->written, n->disk_intent.doubtful, now);
    for (unsigned k = 0; k < plan.nodes; k++) {
        if (k == i)
            continue;
        unlinked[i][k] = true;
        core_link_lost(&n->core, (uint16_t)(k + 1));
    }
    if (plan.bug == CLAIM_UNHEARD && n->disk.written_term != 0 && n->disk.epoch_count == 0) {
        for (unsigned k = 0; k < n->core.peer_count; k++)
            n->core.peers[k].looks = true;
    }
    SAY("member %u starts, its log is %llu to %llu%s", i + 1, (unsigned long long)n->first,
        (unsigned long long)n->written, n->core.doubtful ? ", which it doubts" : "");
    run_orders(i);
}

static struct core_state new_state(unsigned i)
{
    struct core_state state = {.version = 1,
                               .member = (uint16_t)(i + 1),
                               .member_count = (uint8_t)plan.nodes,
                               .copies = (uint8_t)plan.copies};

    for (unsigned k = 0; k < plan.nodes; k++)
        state.members[k] = (uint16_t)(k + 1);
    if (i == 0) /* the configuration names it as the first master */
        state.promised = state.written_term = core_first_term(1);
    return state;
}

/* All follow the master, so that none has ever promised more than this one, and nobody lacks what
 * it had. */
static bool is_settled(void)
{
    uint64_t epoch = 0;

    for (unsigned i = 0; i < plan.nodes; i++) {
        if (nodes[i].up && nodes[i].core.role == CORE_MASTER)
            epoch = nodes[i].core.epoch;
    }
    for (unsigned i = 0; i < plan.nodes; i++) {
        const struct node *n = &nodes[i];

        if (!n->up || n->core.epoch != epoch ||
            (n->core.role != CORE_FOLLOWING && n->core.role != CORE_MASTER))
            return false;
    }
    return epoch != 0 && !somebody_doubts();
}

/* A member comes back with an empty disk. All but one of the copies may go; with one copy only,
 * those that are nowhere else do not. */
static void replace_disk(unsigned i)
{
    struct node *n = &nodes[i];

    if (!is_settled())
        return;
    for (unsigned k = 0; k < plan.nodes && plan.copies == 1; k++) {
        if (k != i && nodes[k].flushed < visible_count)
            return;
    }
    replaced++;
    SAY("member %u has a new disk", i + 1);
    n->up = false;
    lose_what_comes(i);
    n->restart_ms = now + 50 + (int64_t)rnd(3000);
    n->disk = new_state(i);
    n->disk_intent = (struct intent){.doubtful = i != 0};
    n->first = n->written = n->flushed = n->confirmed = n->ghost = 0;
}

static void crash(unsigned i)
{
    struct node *n = &nodes[i];

    if (!n->up)
        return;
    crashes++;
    SAY("member %u crashes, its log ends at %llu, confirmed %llu", i + 1,
        (unsigned long long)n->written, (unsigned long long)n->confirmed);
    n->up = false;
    lose_what_comes(i);
    n->restart_ms = now + 50 + (int64_t)rnd(3000);
    if (plan.power_cuts && chance(2) && n->written > n->flushed &&
        (plan.flushed || !somebody_doubts())) {
        n->written = n->flushed + rnd(n->written - n->flushed + 1);
        n->disk_intent.doubtful = n->disk_intent.doubtful || !plan.flushed;
    }
}

static void make_group(uint64_t seed)
{
    random_state = seed * 0x9E3779B97F4A7C15u + 1;
    for (int k = 0; k < 8; k++)
        rnd(2);
    now = 1000;
    memset(cut, 0, sizeof(cut));
    for (unsigned k = 0; k < wire_count; k++)
        free(wires[k].bytes);
    wire_count = writer_count = 0;
    visible_count = 0;
    next_record = 0;
    broken[0] = '\0';
    for (unsigned i = 0; i < plan.nodes; i++) {
        struct node *n = &nodes[i];

        memset(n, 0, offsetof(struct node, log));
        n->first = n->written = n->flushed = n->confirmed = 0;
        n->disk = new_state(i);
        n->disk_intent.doubtful = i != 0;
        boot(i);
    }
}

static bool has_master(void)
{
    for (unsigned i = 0; i < plan.nodes; i++) {
        if (nodes[i].up && nodes[i].core.role == CORE_MASTER)
            return true;
    }
    return false;
}

static void promote(unsigned i, bool unclean)
{
    if (!nodes[i].up)
        return;
    promotions++;
    SAY("member %u is to be promoted%s", i + 1, unclean ? ", unclean" : "");
    if (unclean) /* all that are there are waited for, however slow their disks are */
        nodes[i].core.options.ask_wait_ms = 380;
    core_promote(&nodes[i].core, unclean);
    run_orders(i);
}

static void hand_over(unsigned i, unsigned to)
{
    if (!nodes[i].up || nodes[i].core.role != CORE_MASTER)
        return;
    handed++;
    SAY("member %u is to hand over to %u", i + 1, to == i ? 0 : to + 1);
    core_hand_over(&nodes[i].core, to == i ? 0 : (uint16_t)(to + 1), 500);
    run_orders(i);
    if (plan.bug == HAND_OVER_AT_ONCE && to != i && nodes[to].up) {
        struct core_message early = {.type = CORE_TAKE_OVER,
                                     .from = (uint16_t)(i + 1),
                                     .term = core_term(nodes[i].core.epoch)};

        core_receive(&nodes[to].core, &early);
        run_orders(to);
    }
}

/* An operator's, or what a name server says. */
static void depose(unsigned i)
{
    if (!nodes[i].up || nodes[i].core.role != CORE_MASTER)
        return;
    SAY("member %u is to be master no more", i + 1);
    if (chance(2))
        core_step_down(&nodes[i].core);
    else
        core_outdated(&nodes[i].core);
    run_orders(i);
}

static void delete_oldest(struct node *n)
{
    if (n->up && n->confirmed > n->first) {
        n->first += rnd(n->confirmed - n->first);
        core_first(&n->core, n->first);
    }
}

static void make_link(unsigned from, unsigned to)
{
    struct core *c = &nodes[from].core;

    unlinked[from][to] = false;
    core_link_new(c, (uint16_t)(to + 1));
    core_ready(c, (uint16_t)(to + 1), true);
    run_orders(from);
}

/* With what is on its way. Each side learns of it, or is first told of a new one. */
static void lose_link(unsigned from, unsigned to)
{
    lose_messages(from, to);
    if (nodes[from].up && chance(2)) {
        core_link_lost(&nodes[from].core, (uint16_t)(to + 1));
        unlinked[from][to] = true;
    } else if (nodes[from].up) {
        make_link(from, to);
    }
    if (nodes[to].up && chance(2)) {
        core_link_ended(&nodes[to].core, (uint16_t)(from + 1));
        run_orders(to);
    }
}

static void keep_links(unsigned i)
{
    for (unsigned k = 0; k < plan.nodes && nodes[i].up; k++) {
        if (unlinked[i][k] && nodes[k].up && chance(10))
            make_link(i, k);
    }
}

static void disturb(void)
{
    unsigned a = (unsigned)rnd(plan.nodes), b = (unsigned)rnd(plan.nodes);

    if (chance(300))
        crash(a);
    if (chance(150))
        cut[a][b] = true;
    if (chance(60))
        cut[a][b] = false;
    if (chance(400))
        delete_oldest(&nodes[b]);
    if (chance(2000))
        replace_disk(a);
    if (chance(300))
        hand_over(a, b);
    if (chance(1000))
        depose(a);
    if (chance(40) && nodes[a].up) {
        core_ready(&nodes[a].core, (uint16_t)(b + 1), chance(2));
        run_orders(a);
    }
    if (chance(100) && a != b)
        lose_link(a, b);
    if (chance(400))
        memset(cut, 0, sizeof(cut));
    /* Who is promoted before a group has begun ends the claim to its first epoch. */
    if (chance(writer_count == 0 ? 2000 : has_master() ? 600 : 40))
        promote(a, false);
}

static void step(bool rough)
{
    now += STEP_MS;
    deliver();
    for (unsigned i = 0; i < plan.nodes; i++) {
        struct node *n = &nodes[i];

        if (!n->up && now >= n->restart_ms)
            boot(i);
        keep_links(i);
        keep_disk(i);
        if (!n->up)
            continue;
        if (rough && n->writes && n->written + 20 < LOG_MAX && chance(3)) {
            for (uint64_t k = 1 + rnd(4); k > 0; k--)
                append(i, ++next_record);
            tell_log(i);
        }
        core_tick(&n->core, now);
        run_orders(i);
    }
}

static bool all_the_same(void)
{
    const struct node *master = NULL;

    for (unsigned i = 0; i < plan.nodes; i++) {
        if (nodes[i].up && nodes[i].core.role == CORE_MASTER)
            master = &nodes[i];
    }
    if (!master || master->confirmed != master->written)
        return false;
    for (unsigned i = 0; i < plan.nodes; i++) {
        const struct node *n = &nodes[i];

        uint64_t from = n->first > master->first ? n->first : master->first;

        if (!n->up || n->written != master->written || n->confirmed != master->confirmed ||
            memcmp(n->log + from, master->log + from, (n->written - from) * sizeof(n->log[0])) != 0)
            return false;
    }
    return true;
}

static const char *roles(void)
{
    static const char *const names[] = {"looking",   "asking",   "cutting",
                                        "following", "starting", "master"};
    static char text[400];
    size_t len = 0;

    for (unsigned i = 0; i < plan.nodes; i++) {
        const struct node *n = &nodes[i];

        len += (size_t)snprintf(
            text + len, sizeof(text) - len, "%u %s to %llu, confirmed %llu, promised %llx; ", i + 1,
            n->up ? names[n->core.role] : "down", (unsigned long long)n->written,
            (unsigned long long)n->confirmed, (unsigned long long)n->core.state.promised);
    }
    return text;
}

bool simulation_live(uint64_t seed)
{
    int64_t until, patience;
    unsigned tries = 0;

    quiet = false;
    make_group(seed);
    for (until = now + ROUGH_MS; now < until && !broken[0];) {
        disturb();
        step(true);
    }
    memset(cut, 0, sizeof(cut));
    for (unsigned i = 0; i < plan.nodes; i++) {
        for (unsigned k = 0; k < plan.nodes && nodes[i].up; k++) {
            if (unlinked[i][k])
                continue;
            core_ready(&nodes[i].core, (uint16_t)(k + 1), true);
            run_orders(i);
        }
    }
    patience = now + 2000;
    for (until = now + CALM_MS; now < until && !broken[0] && !all_the_same();) {
        if (now > patience && !has_master()) {
            /* An operator who sees that members doubt their logs lets all of them promise. */
            quiet = tries > 3;
            promote((unsigned)rnd(plan.nodes), tries++ > 4);
            patience = now + 2000;
        }
        step(false);
    }
    if (!broken[0] && !all_the_same())
        BREAK("%d s after all was healed the logs are not the same: %s", CALM_MS / 1000, roles());
    if (!broken[0] && nodes[0].written < visible_count)
        BREAK("%llu records were confirmed, %llu are there", (unsigned long long)visible_count,
              (unsigned long long)nodes[0].written);
    return !broken[0];
}

bool simulation_hand_over(uint64_t seed)
{
    uint64_t before = appended;
    unsigned from = 0, to;
    int64_t until;

    quiet = true;
    make_group(seed);
    while (!is_settled() || nodes[0].core.role != CORE_MASTER || nodes[0].written < 50)
        step(true);
    to = 1 + (unsigned)rnd(plan.nodes - 1);
    hand_over(from, to);
    for (until = now + 3000; now < until && nodes[to].core.role != CORE_MASTER;)
        step(true);
    if (nodes[to].core.role != CORE_MASTER)
        BREAK("member %u was to take over: %s", to + 1, roles());
    for (until = now + 3000; now < until && !all_the_same();)
        step(false);
    if (!all_the_same() || nodes[to].written != appended - before)
        BREAK("%llu records were written: %s", (unsigned long long)(appended - before), roles());
    return !broken[0];
}

/* --- what is asked for, and what came of it --- */

void simulation_begin(const struct plan *wanted, bool talking)
{
    plan = *wanted;
    talks = talking;
    appended = promotions = crashes = replaced = handed = anews = 0;
}

struct simulated simulation_seen(void)
{
    return (struct simulated){
        .broken = broken,
        .now_ms = now,
        .confirmed = visible_count,
        .crashes = crashes,
        .promotions = promotions,
        .handed = handed,
        .replaced = replaced,
        .anews = anews,
    };
}
