/* group_orders.c - see group_internal.h. */
#include "broker/replication/group_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"

static const char epoch_topic[] = "TERN_EPOCH";

/* --- the state on the disk --- */

void group_save(struct group *g)
{
    struct err err = {0};
    uint64_t version = g->core.state.version;

    g->state.core = g->core.state;
    g->state.doubtful = g->core.doubtful;
    if (group_state_save(&g->state, g->options.root_dir, &err) < 0) {
        log_warn_limited("tern/state",
                         "%s; tried again, and until then this member promises nothing", err.text);
        g->saving = true;
        g->retry_ms = clock_mono_ms() + RETRY_MS;
        return;
    }
    g->saving = false;
    core_saved(&g->core, version);
}

/* --- the master --- */

/* Confirmed is what the core says; with replicaAck=rocketmq also what has waited long enough. */
int64_t group_keep_confirmed(struct group *g, int64_t now)
{
    struct store *store = g->options.store;
    bool go_on = g->options.quorum.policy == QUORUM_GO_ON;
    uint64_t limit = g->core.confirmed;
    int64_t next = INT64_MAX;

    if (g->core.role != CORE_MASTER || g->core.epoch_first_end == 0)
        return INT64_MAX;
    if (g->options.quorum.copies <= 1) {
        limit = UINT64_MAX;
    } else {
        unsigned following = 0;
        uint64_t others, written;

        for (unsigned i = 0; i < g->peer_count; i++) {
            struct peer *p = &g->peers[i];
            const struct core_peer *c = group_core_peer(g, p->member.id);
            bool follows = c->following && group_is_linked(p);
            char name[16];

            /* A process that has ended is not waited for until it counts as silent. */
            if (follows && p->counted < 0) {
                snprintf(name, sizeof(name), "%u", (unsigned)p->member.id);
                p->counted = quorum_connect(&g->quorum, name, now);
            } else if (!follows && p->counted >= 0) {
                quorum_disconnect(&g->quorum, p->counted);
                p->counted = -1;
            }
            following += follows;
            if (p->counted >= 0)
                quorum_report(&g->quorum, p->counted,
                              g->options.times.count_flushed ? c->flushed : c->received,
                              c->heard_ms);
        }
        /* A hold that does not become a limit is taken back. */
        if (quorum_may_close(&g->quorum))
            written = g->told_limit = store_hold_confirmed(store);
        else
            written = store_written(store);
        next = quorum_update(&g->quorum, now, written);
        others = quorum_limit(&g->quorum);
        /* Before the limit: whoever sees his message confirmed asks at once whether it has copies.
         */
        atomic_store(&g->acked, g->core.confirmed);
        atomic_store(&g->enough, g->quorum.near + 1 >= g->options.quorum.copies);
        atomic_store(&g->in_touch, following + 1 >= g->options.quorum.copies);
        copies_say(&g->said, &g->quorum, "other members");
        if (go_on && others > limit)
            limit = others;
    }
    if (limit != g->told_limit) {
        g->told_limit = limit;
        store_limit_confirmed(store, limit);
        g->options.on_confirmed(g->options.ctx);
    }
    return next;
}

/* What a member that is near has not been sent is kept from deletion. */
void group_keep_segments(struct group *g)
{
    uint64_t keep = UINT64_MAX, written = g->core.written;

    for (unsigned i = 0; i < g->core.peer_count; i++) {
        const struct core_peer *p = &g->core.peers[i];

        if (g->core.role == CORE_MASTER && p->following && p->received < keep &&
            written - p->received < g->options.quorum.behind_max)
            keep = p->received;
    }
    store_keep_from(g->options.store, STORE_READER_MEMBERS, keep);
}

/* Another thread's turn may be at it, and writes ours too; it is not long. */
static bool write_to(struct store *store, uint64_t end)
{
    const struct timespec pause = {.tv_nsec = 20000};
    char reason[160];

    store_write(store);
    while (store_written(store) < end && !store_stopped(store, reason))
        nanosleep(&pause, NULL);
    return store_written(store) >= end;
}

/* The log goes on in our epoch: its first record says so. */
static void open_writes(struct group *g)
{
    struct store *store = g->options.store;
    struct topic *topic = metadata_topic(g->options.metadata, bytes_str(epoch_topic), NULL);
    struct store_position position;
    char body[100];
    int n = snprintf(body, sizeof(body), "epoch=%" PRIu64 " member=%u", g->core.epoch,
                     (unsigned)g->core.state.member);
    struct store_message message = {
        .topic = topic,
        .born_ms = clock_wall_ms(),
        .body = bytes_of((const uint8_t *)body, (size_t)n),
    };
    const char *full = NULL;
    int r;

    g->opening = true;
    g->retry_ms = clock_mono_ms() + RETRY_MS;
    if (!topic) {
        log_warn_limited("epoch", "topic %s is not there: no epoch can begin", epoch_topic);
        return;
    }
    store_lead(store);
    r = store_append(store, &message, 1, &position, &full);
    if (r != 0 || !write_to(store, position.log_end)) {
        store_close_writes(store);
        log_warn_limited("epoch", "the first record of epoch %" PRIu64 " cannot be written: %s",
                         g->core.epoch,
                         r == STORE_NO_SPACE ? "no space on the disk"
                         : full              ? full
                                             : "the store takes no writes");
        return;
    }
    g->opening = false;
    g->retry_ms = 0;
    g->led = true;
    g->told_limit = 0;
    for (unsigned i = 0; i < g->peer_count; i++)
        g->peers[i].counted = -1;
    quorum_init(&g->quorum, &g->options.quorum, g->core.confirmed);
    g->said = (struct copies_said){.lack = false};
    g->quorum.open = false;
    log_info("this member, %u, is the master from now on: epoch %" PRIu64
             " begins at log offset %" PRIu64,
             (unsigned)g->core.state.member, g->core.epoch, position.log_offset);
    atomic_store(&g->epoch, g->core.epoch);
    atomic_store(&g->acked, g->options.quorum.copies <= 1 ? UINT64_MAX : g->core.confirmed);
    core_log(&g->core, store_written(store), store_flushed(store));
    core_opened(&g->core, position.log_end);
    g->told_lead = true;
    g->options.on_lead(g->options.ctx, g->core.epoch, g->core.handed);
    atomic_store(&g->leads, true);
}

/* A hand-over was given up: the epoch goes on. */
static void reopen_writes(struct group *g)
{
    store_lead(g->options.store);
    atomic_store(&g->leads, true);
    log_warn("nobody has taken over: this member, %u, takes messages again",
             (unsigned)g->core.state.member);
}

/* `handing`: for a while only, to another member or to us again. What is owed is still given. */
static void close_writes(struct group *g, bool handing)
{
    struct store *store = g->options.store;

    g->opening = false;
    store_close_writes(store);
    if (g->options.quorum.copies <= 1)
        g->told_limit = store_hold_confirmed(store);
    atomic_store(&g->leads, false);
    if (handing || !g->told_lead)
        return;
    g->told_lead = false;
    log_warn("this member, %u, is not the master any more: it takes no messages",
             (unsigned)g->core.state.member);
    g->options.on_halt(g->options.ctx);
}

/* --- orders --- */

static void send_message(struct group *g, const struct core_order *o)
{
    struct peer *p = group_peer(g, o->to);

    if (!p || p->out.fd < 0)
        return;
    /* Who has led begins again before it follows: a master that counted it now would find its
     * messages without that copy in a moment. */
    if (o->message.type == CORE_REPORT && g->led)
        return;
    if (o->message.type == CORE_DATA && o->message.size > 0)
        group_metadata_first(g, p);
    group_wire_put_core(link_out_buf(&p->out), &o->message);
    if (o->message.type == CORE_DATA && o->message.size > 0) {
        link_out_body(&p->out, o->message.offset, o->message.offset + o->message.size);
        core_ready(&g->core, o->to, false);
    }
}

void group_ask_restart(struct group *g)
{
    if (g->restarting)
        return;
    g->restarting = true;
    g->options.on_restart(g->options.ctx);
}

static void cut(struct group *g, const struct core_order *o)
{
    g->state.cut = true;
    g->state.cut_to = o->offset;
    g->state.anew = o->anew;
    log_warn("the log here ends at %" PRIu64
             ", that of the master goes on another way from %" PRIu64
             " on: what lies behind is cut and kept aside",
             g->core.written, o->offset);
    group_save(g);
    if (!g->saving)
        group_ask_restart(g);
}

static void run_order(struct group *g, const struct core_order *o)
{
    switch (o->type) {
    case CORE_SAVE:
        g->saving = true;
        break;
    case CORE_SEND:
        send_message(g, o);
        break;
    case CORE_APPEND:
        break; /* the store has it already: take_data() */
    case CORE_TRUNCATE:
        cut(g, o);
        break;
    case CORE_OPEN_WRITES:
        if (o->again)
            reopen_writes(g);
        else
            open_writes(g);
        break;
    case CORE_CLOSE_WRITES:
        close_writes(g, o->handing);
        break;
    case CORE_CONFIRM:
        if (g->core.role != CORE_MASTER) {
            store_limit_confirmed(g->options.store, o->offset);
            g->told_limit = o->offset;
            g->options.on_confirmed(g->options.ctx);
        }
        break;
    case CORE_ALARM:
        snprintf(g->alarm, sizeof(g->alarm), "%s", o->why);
        if (o->why[0] != '\0')
            log_warn_limited(o->why, "group %s: %s", g->options.broker_name, o->why);
        break;
    }
}

void group_run_orders(struct group *g)
{
    while (g->core.order_count > 0) {
        struct core_order orders[CORE_ORDERS_MAX];
        unsigned count = g->core.order_count;

        memcpy(orders, g->core.orders, count * sizeof(orders[0]));
        g->core.order_count = 0;
        for (unsigned i = 0; i < count; i++)
            run_order(g, &orders[i]);
        if (g->saving && g->retry_ms == 0)
            group_save(g);
    }
}

void group_try_again(struct group *g, int64_t now)
{
    if (g->retry_ms == 0 || now < g->retry_ms)
        return;
    g->retry_ms = 0;
    if (g->saving) {
        group_save(g);
        if (!g->saving && g->state.cut)
            group_ask_restart(g);
    } else if (g->opening) {
        open_writes(g);
    }
    group_run_orders(g);
}
