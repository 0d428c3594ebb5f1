/* replication.c - see replication.h. */
#include "broker/replication/replication.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/durable.h"
#include "broker/forward.h"
#include "broker/group_config.h"
#include "broker/locks.h"
#include "broker/registrar.h"
#include "broker/replication/group_start.h"
#include "broker/replication/slave_metadata.h"
#include "broker/topics.h"
#include "common/clock.h"
#include "common/codes.h"
#include "common/dial.h"
#include "common/log.h"

enum { LISTEN_BACKLOG = 16 };

struct replication {
    uint64_t
        topics_told; /* the metadata thread: the last change of topics that name servers hear of */
    struct broker *broker;
    struct quorum_options quorum;
    struct ha_master *_Atomic master; /* NULL: not started, or a slave */
    /* Of a slave; NULL: not started, or a master. */
    struct ha_slave *_Atomic slave;
    struct slave_metadata *_Atomic metadata;
    bool member;                 /* of a group */
    _Atomic bool leads;          /* without a group: as brokerRole says */
    int reserved_fd;             /* the HA port, held for when it is a master; -1 */
    struct group_start begin;    /* of a member of a group */
    struct group *_Atomic group; /* NULL: none, or not started */
    pthread_mutex_t place_lock;
    char group_master[GROUP_ADDRESS_MAX]; /* place_lock */
    struct ha_master_place told;          /* place_lock; by a name server; empty: not yet */
};

struct replication *replication_new(struct broker *b)
{
    const struct broker_config *c = &b->settings->config;
    struct replication *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->broker = b;
    r->reserved_fd = -1;
    r->member = group_is_set(c);
    atomic_init(&r->leads, c->broker_role != ROLE_SLAVE && !group_is_set(c));
    pthread_mutex_init(&r->place_lock, NULL);
    r->quorum = (struct quorum_options){
        .copies = group_config_copies(c),
        .policy = c->replica_ack == REPLICA_ACK_STRICT ? QUORUM_STRICT : QUORUM_GO_ON,
        .timeout_ms = c->slave_timeout,
        .behind_max = (uint64_t)c->ha_slave_fallbehind_max,
    };
    return r;
}

static void on_confirmed(void *ctx)
{
    struct replication *r = ctx;

    broker_confirmed(r->broker);
}

/* In a group those who follow over this port are not counted: its members are. */
static int start_master(struct replication *r, int listen_fd, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;
    struct quorum_options nobody = {.copies = 1, .behind_max = r->quorum.behind_max};
    struct ha_master_options options = {
        .store = r->broker->store,
        .listen_fd = listen_fd,
        .quorum = replication_is_member(r) ? nobody : r->quorum,
        .batch_bytes = (uint32_t)c->ha_transfer_batch_size,
        .heartbeat_ms = c->ha_send_heartbeat_interval,
        .housekeeping_ms = c->ha_housekeeping_interval,
        .fresh_from_last_file = c->ha_fresh_slave_from == FRESH_FROM_LAST,
        .on_confirmed = on_confirmed,
        .ctx = r,
    };
    struct ha_master *master;
    int e;

    if (listen(listen_fd, LISTEN_BACKLOG) < 0) {
        e = err_set(err, -errno, "listen on the HA port %lld", (long long)c->ha_listen_port);
        close(listen_fd);
        return e;
    }
    e = ha_master_new(&master, &options, err);
    if (e == 0)
        atomic_store(&r->master, master);
    return e;
}

/* --- a slave --- */

bool replication_is_slave(const struct replication *r)
{
    return !atomic_load_explicit(&r->leads, memory_order_relaxed);
}

bool replication_is_member(const struct replication *r)
{
    return r->member;
}

int64_t replication_broker_id(const struct replication *r)
{
    return replication_is_slave(r) ? group_config_follower_id(&r->broker->settings->config) : 0;
}

/* Where the main port is when no name server has said it: RocketMQ's brokers have the replication
 * port one above it. */
static void guess_main(struct ha_master_place *place)
{
    struct dial_address ha;
    int port;

    if (dial_parse(&ha, place->ha, NULL) < 0)
        return;
    port = atoi(ha.port) - 1;
    if (port < 1)
        return;
    if (strchr(ha.host, ':'))
        snprintf(place->main, sizeof(place->main), "[%.250s]:%d", ha.host, port);
    else
        snprintf(place->main, sizeof(place->main), "%.250s:%d", ha.host, port);
}

static bool find_master(void *ctx, struct ha_master_place *out)
{
    struct replication *r = ctx;
    const char *fixed = r->broker->settings->config.ha_master_address;

    pthread_mutex_lock(&r->place_lock);
    *out = r->told;
    pthread_mutex_unlock(&r->place_lock);
    if (fixed[0] != '\0')
        snprintf(out->ha, sizeof(out->ha), "%s", fixed);
    if (out->ha[0] != '\0' && out->main[0] == '\0')
        guess_main(out);
    return out->ha[0] != '\0';
}

static bool find_main_port(void *ctx, char *main, size_t size)
{
    struct ha_master_place place;

    if (!find_master(ctx, &place) || place.main[0] == '\0')
        return false;
    snprintf(main, size, "%s", place.main);
    return true;
}

static void ask_where(void *ctx)
{
    struct replication *r = ctx;

    registrar_ask(r->broker->registrar);
}

static void on_news(void *ctx)
{
    struct replication *r = ctx;
    struct slave_metadata *metadata = atomic_load(&r->metadata);

    if (metadata)
        slave_metadata_call(metadata);
}

static bool keeps_topic(void *ctx, struct bytes name)
{
    struct replication *r = ctx;

    return topic_is_system(r->broker, name);
}

static bool keeps_group(void *ctx, struct bytes name)
{
    (void)ctx;
    return group_is_builtin(name);
}

static void on_master_end(void *ctx, uint64_t master_end)
{
    struct replication *r = ctx;
    struct ha_slave *slave = atomic_load(&r->slave);

    if (slave)
        ha_slave_heard_end(slave, master_end);
}

static void on_topics(void *ctx)
{
    struct replication *r = ctx;

    registrar_changed(r->broker->registrar);
}

static int start_slave(struct replication *r, struct err *err)
{
    struct broker *b = r->broker;
    const struct broker_config *c = &b->settings->config;
    struct slave_metadata_options metadata_options = {
        .store = b->store,
        .metadata = b->metadata,
        .interval_ms = c->slave_metadata_interval,
        .find_master = find_main_port,
        .keeps_topic = keeps_topic,
        .keeps_group = keeps_group,
        .on_end = on_master_end,
        .on_topics = on_topics,
        .ctx = r,
    };
    struct ha_slave_options options = {
        .store = b->store,
        .metadata = b->metadata,
        .store_dir = c->store_path_root_dir,
        .source = c->bind_address,
        .heartbeat_ms = c->ha_send_heartbeat_interval,
        .housekeeping_ms = c->ha_housekeeping_interval,
        .whole = c->ha_fresh_slave_from == FRESH_FROM_MIN,
        .find_master = find_master,
        .ask = ask_where,
        .on_news = on_news,
        .ctx = r,
    };
    struct slave_metadata *metadata;
    struct ha_slave *slave;
    int e = slave_metadata_new(&metadata, &metadata_options, err);

    if (e < 0)
        return e;
    atomic_store(&r->metadata, metadata);
    e = ha_slave_new(&slave, &options, err);
    if (e == 0)
        atomic_store(&r->slave, slave);
    return e;
}

void replication_master_told(struct replication *r, struct bytes main, struct bytes ha)
{
    struct ha_slave *slave = atomic_load(&r->slave);
    struct ha_master_place place = {.main = ""};
    struct dial_address parsed;
    bool changed;

    if (!replication_is_slave(r) || replication_is_member(r) || main.len == 0 || ha.len == 0)
        return;
    if (!bytes_to_cstr(main, place.main, sizeof(place.main)) ||
        !bytes_to_cstr(ha, place.ha, sizeof(place.ha)) ||
        dial_parse(&parsed, place.main, NULL) < 0 || dial_parse(&parsed, place.ha, NULL) < 0) {
        log_warn_limited("where the master is",
                         "a name server says that the master is at \"%s\" and \"%s\", which are no "
                         "addresses",
                         SAFE(main), SAFE(ha));
        return;
    }
    pthread_mutex_lock(&r->place_lock);
    changed = strcmp(r->told.main, place.main) != 0 || strcmp(r->told.ha, place.ha) != 0;
    r->told = place;
    pthread_mutex_unlock(&r->place_lock);
    if (!changed)
        return;
    log_info("the master is at %s, its replication port at %s", place.main, place.ha);
    if (slave)
        ha_slave_call(slave);
    on_news(r);
}

/* --- a member of a group --- */

enum { BEAT_MAX_MS = 1000, ASK_WAIT_MS = 1000 };

int replication_prepare(struct replication *r, struct store_options *options, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;

    return group_is_set(c) ? group_start_prepare(&r->begin, c, options, err) : 0;
}

int replication_opened(struct replication *r, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;

    return group_is_set(c) ? group_start_opened(&r->begin, c, err) : 0;
}

static void on_lead(void *ctx, uint64_t epoch)
{
    struct replication *r = ctx;
    struct err err = {0};

    if (r->reserved_fd >= 0) {
        int fd = r->reserved_fd;

        r->reserved_fd = -1;
        if (start_master(r, fd, &err) < 0)
            log_error("no slaves of RocketMQ's protocol are served until a restart: %s", err.text);
    }
    if (metadata_limit_floors(r->broker->metadata, store_end(r->broker->store)) < 0)
        log_warn("the metadata journal does not take where topics that were deleted end: messages "
                 "that come now may be hidden after a crash");
    if (locks_begin_reign(r->broker->locks, r->broker->metadata, clock_mono_ms()) < 0)
        log_warn("no memory for all recorded queue locks: some may be granted to others too early");
    atomic_store(&r->leads, true);
    broker_leads(r->broker, epoch);
    forward_leads(r->broker->forward, true);
}

static void on_halt(void *ctx)
{
    struct replication *r = ctx;

    /* First, so that what comes now waits and is not refused. */
    forward_leads(r->broker->forward, false);
    atomic_store(&r->leads, false);
    broker_halts(r->broker);
}

static void on_restart(void *ctx)
{
    struct replication *r = ctx;

    log_info("this broker begins again in the same process, as a follower: it was the master, or "
             "what its log ends with is to be cut");
    broker_restart(r->broker);
}

static void on_master(void *ctx, const char *address)
{
    struct replication *r = ctx;

    pthread_mutex_lock(&r->place_lock);
    snprintf(r->group_master, sizeof(r->group_master), "%s", address);
    pthread_mutex_unlock(&r->place_lock);
    forward_master(r->broker->forward, address);
}

static void on_meta_copied(void *ctx)
{
    struct replication *r = ctx;

    durable_moved(r->broker->durable);
}

/* Also said when members have become too few to wait for. */
static void on_group_confirmed(void *ctx)
{
    struct replication *r = ctx;

    broker_confirmed(r->broker);
    if (r->quorum.copies > 1)
        durable_moved(r->broker->durable);
}

/* A member that listens for another master has to hear it several times. */
static struct core_options times_of(const struct broker_config *c)
{
    int64_t beat = c->ha_send_heartbeat_interval;

    if (beat > BEAT_MAX_MS)
        beat = BEAT_MAX_MS;
    if (beat > c->master_start_wait / 4)
        beat = c->master_start_wait / 4;
    if (beat < 4)
        beat = 4;
    return (struct core_options){
        .count_flushed = c->flush_disk_type == FLUSH_SYNC,
        .start_wait_ms = c->master_start_wait,
        .ask_wait_ms = ASK_WAIT_MS,
        .beat_ms = beat,
        .silent_ms =
            c->ha_housekeeping_interval > 4 * beat ? c->ha_housekeeping_interval : 4 * beat,
    };
}

static int start_member(struct replication *r, struct err *err)
{
    struct broker *b = r->broker;
    const struct broker_config *c = &b->settings->config;
    struct group_options options = {
        .cluster = c->broker_cluster_name,
        .broker_name = c->broker_name,
        .root_dir = c->store_path_root_dir,
        .source = c->bind_address,
        .member_count = r->begin.list.count,
        .times = times_of(c),
        .quorum = r->quorum,
        .state = r->begin.state,
        .store = b->store,
        .metadata = b->metadata,
        .on_lead = on_lead,
        .on_halt = on_halt,
        .on_restart = on_restart,
        .on_confirmed = on_group_confirmed,
        .on_master = on_master,
        .on_meta_copied = on_meta_copied,
        .ctx = r,
    };
    struct group *group;
    int e;

    memcpy(options.members, r->begin.list.members, sizeof(options.members));
    e = group_new(&group, &options, err);
    if (e == 0)
        atomic_store(&r->group, group);
    return e;
}

bool replication_outdated(struct replication *r)
{
    struct group *group = replication_group(r);

    if (!group || replication_is_slave(r))
        return false;
    group_outdated(group);
    return true;
}

struct group *replication_group(const struct replication *r)
{
    return atomic_load_explicit(&r->group, memory_order_acquire);
}

void replication_master_of_group(struct replication *r, char *address, size_t size)
{
    pthread_mutex_lock(&r->place_lock);
    snprintf(address, size, "%s", r->group_master);
    pthread_mutex_unlock(&r->place_lock);
}

uint64_t replication_metadata_kept(const struct replication *r)
{
    uint64_t kept = metadata_durable(r->broker->metadata), copied;
    const struct group *group = replication_group(r);

    if (r->quorum.copies <= 1 || !replication_is_member(r))
        return kept;
    if (!group || replication_is_slave(r)) /* what a change was made as the master for is lost */
        return 0;
    if (r->quorum.policy == QUORUM_GO_ON && !group_enough(group))
        return kept;
    copied = group_meta_copied(group);
    return copied < kept ? copied : kept;
}

void replication_metadata_moved(struct replication *r)
{
    struct topics_mark mark;

    if (!replication_is_member(r) || !replication_is_slave(r) || !r->broker->metadata)
        return;
    metadata_topics_mark(r->broker->metadata, &mark);
    if (mark.change != r->topics_told)
        registrar_changed(r->broker->registrar);
    r->topics_told = mark.change;
}

bool replication_may_lock(const struct replication *r)
{
    const struct group *group = replication_group(r);

    if (r->quorum.copies <= 1 || !replication_is_member(r))
        return true;
    return group && group_leads(group) && group_enough(group);
}

/* --- life --- */

int replication_start(struct replication *r, int listen_fd, struct err *err)
{
    if (replication_is_member(r)) {
        r->reserved_fd = listen_fd;
        return start_member(r, err);
    }
    if (!replication_is_slave(r))
        return start_master(r, listen_fd, err);
    r->reserved_fd = listen_fd;
    return start_slave(r, err);
}

void replication_leave(struct replication *r)
{
    group_stop(atomic_load(&r->group));
}

void replication_stop(struct replication *r)
{
    replication_leave(r);
    /* The store's threads may still look for them. */
    ha_master_stop(atomic_load(&r->master));
    ha_slave_stop(atomic_load(&r->slave));
    slave_metadata_stop(atomic_load(&r->metadata));
    if (r->reserved_fd >= 0)
        close(r->reserved_fd);
    r->reserved_fd = -1;
}

struct replication *replication_free(struct replication *r)
{
    if (!r)
        return NULL;
    replication_stop(r);
    ha_master_free(atomic_load(&r->master));
    ha_slave_free(atomic_load(&r->slave));
    slave_metadata_free(atomic_load(&r->metadata));
    group_free(atomic_load(&r->group));
    pthread_mutex_destroy(&r->place_lock);
    free(r);
    return NULL;
}

void replication_progress(struct replication *r)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);
    struct ha_slave *slave = atomic_load_explicit(&r->slave, memory_order_acquire);

    struct group *group = replication_group(r);

    if (group)
        group_progress(group);
    if (master)
        ha_master_progress(master);
    if (slave)
        ha_slave_progress(slave);
}

int32_t replication_verdict(const struct replication *r, uint64_t log_end)
{
    struct ha_master *master;

    if (r->quorum.copies <= 1)
        return RESPONSE_SUCCESS;
    if (replication_is_member(r)) {
        const struct group *group = replication_group(r);

        if (group && log_end <= group_acked(group))
            return RESPONSE_SUCCESS;
        return group && group_enough(group) ? RESPONSE_FLUSH_SLAVE_TIMEOUT
                                            : RESPONSE_SLAVE_NOT_AVAILABLE;
    }
    master = atomic_load_explicit(&r->master, memory_order_acquire);
    if (!master)
        return RESPONSE_SLAVE_NOT_AVAILABLE;
    if (log_end <= ha_master_acked(master))
        return RESPONSE_SUCCESS;
    return ha_master_enough(master) ? RESPONSE_FLUSH_SLAVE_TIMEOUT : RESPONSE_SLAVE_NOT_AVAILABLE;
}

bool replication_takes_sends(const struct replication *r)
{
    struct ha_master *master;

    if (r->quorum.copies <= 1 || r->quorum.policy != QUORUM_STRICT)
        return true;
    if (replication_is_member(r)) {
        const struct group *group = replication_group(r);

        return group && group_enough(group);
    }
    master = atomic_load_explicit(&r->master, memory_order_acquire);
    return master && ha_master_enough(master);
}

unsigned replication_copies(const struct replication *r)
{
    return r->quorum.copies;
}

/* Those who follow as members of the group, besides those on the HA port. */
static void add_members(const struct replication *r, struct ha_status *out)
{
    struct group *group = replication_group(r);
    struct group_status status;

    if (!group)
        return;
    group_status(group, &status);
    for (unsigned i = 0; i < status.member_count; i++) {
        const struct group_member_status *m = &status.members[i];

        if (m->self || !m->following)
            continue;
        out->connections++;
        out->near += m->near;
        if (m->received < out->slowest)
            out->slowest = m->received;
    }
    if (status.copies > 1)
        out->acked = status.acked;
}

void replication_status(const struct replication *r, struct ha_status *out)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);

    *out = (struct ha_status){.acked = UINT64_MAX, .slowest = UINT64_MAX};
    if (master)
        ha_master_status(master, out);
    if (!replication_is_slave(r))
        add_members(r, out);
}

bool replication_slave_status(const struct replication *r, struct ha_slave_status *out,
                              int64_t *metadata_age_ms)
{
    struct ha_slave *slave = atomic_load_explicit(&r->slave, memory_order_acquire);
    struct slave_metadata *metadata = atomic_load_explicit(&r->metadata, memory_order_acquire);

    if (!slave || !metadata)
        return false;
    ha_slave_status(slave, out);
    *metadata_age_ms = slave_metadata_age_ms(metadata);
    return true;
}
