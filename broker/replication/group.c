/* group.c - see group.h and group_internal.h. */
#include "broker/replication/group_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    READS_A_TURN = 8, /* of one link, then the next */
    TICK_PARTS = 4,   /* of a beat */
};

/* --- waking --- */

void group_wake(struct group *g)
{
    uint64_t one = 1;

    if (write(g->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn_limited("group", "eventfd: %s", strerror(errno));
}

void group_progress(struct group *g)
{
    if (atomic_exchange(&g->sleeping, false))
        group_wake(g);
}

/* --- peers --- */

struct peer *group_peer(struct group *g, uint16_t member)
{
    for (unsigned i = 0; i < g->peer_count; i++) {
        if (g->peers[i].member.id == member)
            return &g->peers[i];
    }
    return NULL;
}

const struct core_peer *group_core_peer(const struct group *g, uint16_t member)
{
    for (unsigned i = 0; i < g->core.peer_count; i++) {
        if (g->core.peers[i].member == member)
            return &g->core.peers[i];
    }
    return NULL;
}

static const char *address_of(struct group *g, uint16_t member)
{
    for (unsigned i = 0; i < g->options.member_count; i++) {
        if (g->options.members[i].id == member)
            return g->options.members[i].address;
    }
    return "";
}

/* --- links --- */

static void lose_out(struct group *g, struct peer *p)
{
    if (p->out.fd < 0)
        return;
    link_out_close(&p->out);
    core_link_lost(&g->core, p->member.id);
    group_dial_lost(p->dial);
}

static void lose_in(struct peer *p)
{
    link_in_close(&p->in);
    group_drop_carry(p);
}

static void take_arrival(struct group *g, const struct arrival *a)
{
    struct peer *p = group_peer(g, a->from);

    if (!p) {
        close(a->fd);
        return;
    }
    if (a->in) {
        lose_in(p);
        if (link_in_open(&p->in, a->fd) < 0)
            log_warn_limited("group", "no memory for a link with member %u", (unsigned)a->from);
        return;
    }
    link_out_open(&p->out, a->fd);
    if (p->streams)
        meta_source_end(g->source, (unsigned)(p - g->peers));
    p->streams = false;
    core_link_new(&g->core, a->from);
    core_ready(&g->core, a->from, true);
    group_run_orders(g);
}

static void read_link(struct group *g, struct peer *p)
{
    const char *why = NULL;

    for (int i = 0; i < READS_A_TURN && p->in.fd >= 0 && !p->held; i++) {
        struct group_frame frame;
        size_t before;
        int r = 1;
        ssize_t n = link_in_read(&p->in);

        while (!p->held && r == 1) {
            before = p->in.at;
            r = link_in_take(&p->in, &frame, &why);
            if (r == 1 && !group_take_frame(g, p, &frame))
                p->in.at = before;
        }
        if (r < 0) {
            log_warn_limited(p->member.address,
                             "member %u at %s sends what is no frame: %s; link closed",
                             (unsigned)p->member.id, p->member.address, why);
            lose_in(p);
            return;
        }
        if (n < 0) {
            lose_in(p);
            core_link_ended(&g->core, p->member.id);
            group_run_orders(g);
            return;
        }
        if (n == 0)
            return;
    }
}

/* --- the thread --- */

static void take_posted(struct group *g)
{
    struct arrival arrivals[ARRIVALS_MAX];
    unsigned count;
    bool outdated;

    pthread_mutex_lock(&g->post_lock);
    count = g->arrival_count;
    memcpy(arrivals, g->arrivals, count * sizeof(arrivals[0]));
    g->arrival_count = 0;
    outdated = g->outdated;
    g->outdated = false;
    pthread_mutex_unlock(&g->post_lock);
    for (unsigned i = 0; i < count; i++)
        take_arrival(g, &arrivals[i]);
    if (outdated) {
        core_outdated(&g->core);
        group_run_orders(g);
    }
}

/* The watermarks here; whether the core has not been told of them. */
static bool log_moved(const struct group *g, uint64_t *written, uint64_t *flushed)
{
    struct store *store = g->options.store;

    *written = g->core.role == CORE_MASTER ? store_written(store) : store_follow_end(store);
    *flushed = store_flushed(store);
    return *written != g->seen_written || *flushed != g->seen_flushed;
}

void group_look_at_log(struct group *g)
{
    uint64_t written, flushed;

    core_first(&g->core, store_min(g->options.store));
    if (!log_moved(g, &written, &flushed))
        return;
    g->seen_written = written;
    g->seen_flushed = flushed;
    core_log(&g->core, written, flushed);
    group_run_orders(g);
}

/* Something that no socket will call us for. */
static bool more_to_send(const struct group *g)
{
    for (unsigned i = 0; i < g->peer_count; i++) {
        const struct link_out *out = &g->peers[i].out;

        if (out->fd >= 0 && !out->blocked && link_out_waits(out))
            return true;
    }
    return g->core.role == CORE_MASTER && core_has_more(&g->core);
}

static void send_all(struct group *g)
{
    for (unsigned i = 0; i < g->peer_count; i++) {
        struct peer *p = &g->peers[i];
        int r;

        for (int k = 0; k < READS_A_TURN && p->out.fd >= 0 && !p->out.blocked; k++) {
            if (!link_out_waits(&p->out))
                break;
            r = link_out_send(&p->out, g->options.store);
            if (r < 0) {
                log_info("the link to member %u is lost: %s", (unsigned)p->member.id, strerror(-r));
                lose_out(g, p);
                break;
            }
            if (link_out_is_ready(&p->out)) {
                core_ready(&g->core, p->member.id, true);
                group_run_orders(g);
                group_stream_to(g, p); /* a snapshot has many pieces */
            }
        }
    }
}

static void tell_master(struct group *g)
{
    uint16_t master = g->core.role == CORE_FOLLOWING || g->core.role == CORE_CUTTING ||
                              g->core.role == CORE_MASTER
                          ? g->core.master
                          : 0;

    if (g->core.role == CORE_FOLLOWING)
        atomic_store(&g->epoch, g->core.epoch);
    if (master == g->told_master)
        return;
    g->told_master = master;
    if (g->core.role == CORE_FOLLOWING)
        log_info("following member %u, the master in epoch %" PRIu64 ", from log offset %" PRIu64
                 " on",
                 (unsigned)master, g->core.epoch, g->core.written);
    g->options.on_master(g->options.ctx, master ? address_of(g, master) : "");
}

/* After a turn, which may have set any of them. */
static int64_t next_due(const struct group *g, int64_t confirm_due)
{
    int64_t due = g->tick_ms < confirm_due ? g->tick_ms : confirm_due;

    if (g->retry_ms != 0 && g->retry_ms < due)
        due = g->retry_ms;
    for (unsigned i = 0; i < g->peer_count; i++) {
        const struct peer *p = &g->peers[i];

        if (p->held && p->held_until < due)
            due = p->held_until;
    }
    return due;
}

/* What is due by time, and whatever has moved. Returns when to be called again at the latest. */
static int64_t turn(struct group *g)
{
    int64_t now = clock_mono_ms(), confirm_due;

    take_posted(g);
    if (now >= g->tick_ms) {
        core_tick(&g->core, now);
        group_run_orders(g);
        g->tick_ms = now + g->options.times.beat_ms / TICK_PARTS;
    }
    group_try_again(g, now);
    for (unsigned i = 0; i < g->peer_count; i++) {
        struct peer *p = &g->peers[i];

        if (p->held && now >= p->held_until)
            group_take_held(g, p);
        if (p->held) /* it is not listened to, that is not its fault */
            core_heard(&g->core, p->member.id);
        else if (p->in.fd >= 0)
            read_link(g, p);
    }
    group_look_at_log(g);
    if (g->led && !g->restarting &&
        (g->core.role == CORE_FOLLOWING || g->core.role == CORE_CUTTING))
        group_ask_restart(g);
    confirm_due = group_keep_confirmed(g, now);
    group_keep_segments(g);
    g->seen_durable = metadata_durable(g->options.metadata);
    group_stream_metadata(g);
    group_publish_meta(g);
    group_send_meta_acks(g);
    send_all(g);
    tell_master(g);
    if (g->core.doubtful != g->state.doubtful && !g->saving)
        group_save(g);
    return more_to_send(g) ? 0 : next_due(g, confirm_due);
}

static void *group_main(void *arg)
{
    struct group *g = arg;
    struct pollfd fds[1 + 2 * CORE_MEMBERS_MAX];
    uint64_t written, flushed;

    pthread_mutex_lock(&g->lock);
    while (!atomic_load(&g->stop)) {
        int64_t due = turn(g), left;
        uint64_t drained;
        nfds_t count = 1;
        int n;

        fds[0] = (struct pollfd){.fd = g->wake_fd, .events = POLLIN};
        for (unsigned i = 0; i < g->peer_count; i++) {
            struct peer *p = &g->peers[i];

            if (p->in.fd >= 0 && !p->held)
                fds[count++] = (struct pollfd){.fd = p->in.fd, .events = POLLIN};
            /* Nothing comes over it but its end. Between two followers that would else be seen only
             * with the next word to the other, which is then lost. */
            if (p->out.fd >= 0)
                fds[count++] = (struct pollfd){
                    .fd = p->out.fd, .events = (short)(POLLRDHUP | (p->out.blocked ? POLLOUT : 0))};
        }
        /* Whoever moves a watermark after our look sees that we sleep. */
        atomic_exchange(&g->sleeping, true);
        if (log_moved(g, &written, &flushed) ||
            metadata_durable(g->options.metadata) != g->seen_durable)
            due = 0;
        pthread_mutex_unlock(&g->lock);
        left = due - clock_mono_ms();
        n = poll(fds, count, left < 0 ? 0 : (int)left);
        atomic_exchange(&g->sleeping, false);
        if (n < 0 && errno != EINTR)
            log_warn_limited("group", "poll: %s", strerror(errno));
        if (n > 0 && (fds[0].revents & POLLIN) && read(g->wake_fd, &drained, sizeof(drained)) < 0 &&
            errno != EAGAIN)
            log_warn_limited("group", "eventfd: %s", strerror(errno));
        pthread_mutex_lock(&g->lock);
        for (unsigned i = 0; i < g->peer_count; i++) {
            struct peer *p = &g->peers[i];

            for (nfds_t k = 1; k < count && n > 0; k++) {
                if (fds[k].fd != p->out.fd || p->out.fd < 0 || fds[k].revents == 0)
                    continue;
                if (fds[k].revents & (POLLERR | POLLHUP | POLLRDHUP))
                    lose_out(g, p);
                else
                    p->out.blocked = false;
            }
        }
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* --- life --- */

static bool post(struct group *g, struct arrival arrival)
{
    bool taken = false;

    pthread_mutex_lock(&g->post_lock);
    if (g->arrival_count < ARRIVALS_MAX && !atomic_load(&g->stop)) {
        g->arrivals[g->arrival_count++] = arrival;
        taken = true;
    }
    pthread_mutex_unlock(&g->post_lock);
    if (!taken)
        close(arrival.fd);
    group_wake(g);
    return taken;
}

static bool on_dialled(void *ctx, uint16_t to, int fd)
{
    return post(ctx, (struct arrival){.from = to, .fd = fd});
}

void group_take_link(struct group *g, uint16_t from, int fd)
{
    (void)post(g, (struct arrival){.from = from, .in = true, .fd = fd});
}

static struct group_greeting own_greeting(const struct group *g)
{
    return (struct group_greeting){
        .cluster = g->options.cluster,
        .broker_name = g->options.broker_name,
        .from = g->options.state.core.member,
        .copies = g->options.state.core.copies,
        .segment_bytes = store_segment_bytes(g->options.store),
        .version = GROUP_VERSION,
        .count = g->options.member_count,
    };
}

static int start(struct group *g, struct err *err)
{
    int r = 0;

    for (unsigned i = 0; i < g->peer_count && r == 0; i++) {
        struct group_dial_options dial = {
            .to = g->peers[i].member,
            .greeting = own_greeting(g),
            .silent_ms = g->options.times.silent_ms,
            .on_link = on_dialled,
            .ctx = g,
        };

        r = group_dial_new(&g->peers[i].dial, &dial, err);
    }
    if (r == 0) {
        r = -pthread_create(&g->thread, NULL, group_main, g);
        if (r < 0)
            return err_set(err, r, "start the thread of the group");
        (void)pthread_setname_np(g->thread, "group");
        g->started = true;
    }
    return r;
}

int group_new(struct group **out, const struct group_options *options, struct err *err)
{
    struct group *g = calloc(1, sizeof(*g));
    struct store *store = options->store;
    int r = 0;

    if (!g)
        return err_set(err, -ENOMEM, "a member of group %s", options->broker_name);
    g->options = *options;
    g->state = options->state;
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->post_lock, NULL);
    group_state_boot_id(g->state.boot_id);
    for (unsigned i = 0; i < options->member_count; i++) {
        struct peer *p = &g->peers[g->peer_count];

        if (options->members[i].id == options->state.core.member)
            continue;
        p->member = options->members[i];
        link_out_init(&p->out);
        link_in_init(&p->in);
        p->counted = -1;
        g->peer_count++;
    }
    atomic_store(&g->meta_copied, options->quorum.copies > 1 ? 0 : UINT64_MAX);
    g->source = meta_source_new(options->metadata);
    if (g->wake_fd < 0)
        r = err_set(err, -errno, "make an eventfd");
    else if (!g->source)
        r = err_set(err, -ENOMEM, "a member of group %s", options->broker_name);
    g->seen_written = store_follow_end(store);
    g->seen_flushed = store_flushed(store);
    core_init(&g->core, &options->times, &options->state.core, store_min(store), g->seen_written,
              options->state.doubtful, clock_mono_ms());
    for (unsigned i = 0; i < g->peer_count; i++)
        core_link_lost(&g->core, g->peers[i].member.id);
    if (r == 0)
        r = start(g, err);
    if (r < 0) {
        group_free(g);
        return r;
    }
    *out = g;
    return 0;
}

void group_stop(struct group *g)
{
    if (!g || atomic_exchange(&g->stop, true))
        return;
    if (g->wake_fd >= 0)
        group_wake(g);
    if (g->started)
        pthread_join(g->thread, NULL);
    for (unsigned i = 0; i < g->peer_count; i++)
        group_dial_stop(g->peers[i].dial);
    pthread_mutex_lock(&g->post_lock);
    for (unsigned i = 0; i < g->arrival_count; i++)
        close(g->arrivals[i].fd);
    g->arrival_count = 0;
    pthread_mutex_unlock(&g->post_lock);
    for (unsigned i = 0; i < g->peer_count; i++) {
        link_out_close(&g->peers[i].out);
        link_in_close(&g->peers[i].in);
    }
    /* It listens to the metadata, which may be closed before group_free(). */
    g->source = meta_source_free(g->source);
}

struct group *group_free(struct group *g)
{
    if (!g)
        return NULL;
    group_stop(g);
    for (unsigned i = 0; i < g->peer_count; i++) {
        group_dial_free(g->peers[i].dial);
        free(g->peers[i].carry);
    }
    if (g->wake_fd >= 0)
        close(g->wake_fd);
    pthread_mutex_destroy(&g->lock);
    pthread_mutex_destroy(&g->post_lock);
    free(g);
    return NULL;
}
/* --- what others ask --- */

bool group_leads(const struct group *g)
{
    return atomic_load_explicit(&g->leads, memory_order_acquire);
}

uint64_t group_epoch(const struct group *g)
{
    return atomic_load(&g->epoch);
}

uint64_t group_acked(const struct group *g)
{
    return atomic_load(&g->acked);
}

bool group_enough(const struct group *g)
{
    return g->options.quorum.copies <= 1 || atomic_load(&g->enough);
}

bool group_in_touch(const struct group *g)
{
    return g->options.quorum.copies <= 1 || atomic_load(&g->in_touch);
}

uint64_t group_meta_copied(const struct group *g)
{
    return atomic_load(&g->meta_copied);
}

void group_outdated(struct group *g)
{
    pthread_mutex_lock(&g->post_lock);
    g->outdated = true;
    pthread_mutex_unlock(&g->post_lock);
    group_wake(g);
}

const char *group_greet(const struct group *g, const struct group_greeting *greeting)
{
    struct group_greeting own = own_greeting(g);
    bool known = false;

    for (unsigned i = 0; i < g->peer_count; i++)
        known = known || g->peers[i].member.id == greeting->from;
    if (strcmp(own.cluster, greeting->cluster) != 0 ||
        strcmp(own.broker_name, greeting->broker_name) != 0)
        return "another clusterName or brokerName: this member belongs to another group";
    if (greeting->version != own.version)
        return "another version of the protocol between members";
    if (!known)
        return "groupMembers here does not name this memberId, or it is our own";
    if (greeting->count != own.count)
        return "groupMembers names another number of members";
    if (greeting->copies != own.copies)
        return "another number of copies (inSyncReplicas; SYNC_MASTER means 2, ASYNC_MASTER 1)";
    if (greeting->segment_bytes != own.segment_bytes)
        return "another mappedFileSizeCommitLog";
    return NULL;
}