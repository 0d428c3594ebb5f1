/* replication.c - see replication.h. */
#include "broker/replication/replication.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/durable.h"
#include "broker/forward.h"
#include "broker/group_config.h"
#include "broker/locks.h"
#include "broker/registrar.h"
#include "broker/replication/group_start.h"
#include "broker/replication/plain_slave.h"
#include "broker/replication/promoted.h"
#include "common/clock.h"
#include "common/codes.h"
#include "common/log.h"

enum { LISTEN_BACKLOG = 16 };

struct replication {
    uint64_t
        topics_told; /* the metadata thread: the last change of topics that name servers hear of */
    struct broker *broker;
    struct quorum_options quorum;
    struct ha_master *_Atomic master;  /* NULL: not started, or a slave */
    struct plain_slave *_Atomic slave; /* of no group; NULL: not started, or a master */
    bool member;                       /* of a group */
    _Atomic bool leads;                /* without a group: as brokerRole says, or an operator */
    uint64_t promoted;                 /* the epoch, of a slave of no group that was; 0: not */
    pthread_mutex_t orders_lock;
    bool role_changed;           /* orders_lock; it begins again in another role */
    int reserved_fd;             /* the HA port, held for when it is a master; -1 */
    struct group_start begin;    /* of a member of a group */
    struct group *_Atomic group; /* NULL: none, or not started */
    pthread_mutex_t place_lock;
    char group_master[GROUP_ADDRESS_MAX]; /* place_lock */
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
    pthread_mutex_init(&r->orders_lock, NULL);
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

/* --- the role --- */

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

void replication_master_told(struct replication *r, struct bytes main, struct bytes ha)
{
    struct plain_slave *slave = atomic_load(&r->slave);

    if (slave && main.len > 0 && ha.len > 0)
        plain_slave_told(slave, main, ha);
}

/* --- a slave of no group that is promoted --- */

/* Only the file's own word, brokerRole=SLAVE of no group, can be overruled: who changes it has
 * decided anew. */
static int find_promotion(struct replication *r, struct store_options *options, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;
    int e;

    if (c->broker_role != ROLE_SLAVE || replication_is_member(r))
        return promoted_remove(c->store_path_root_dir, err);
    e = promoted_load(&r->promoted, c->store_path_root_dir, err);
    if (e < 0)
        return e == -ENOENT ? 0 : e;
    log_info("this broker is the master: it was promoted (tern/promoted), though its configuration "
             "says brokerRole=SLAVE");
    atomic_store(&r->leads, true);
    if (c->in_sync_replicas > 0)
        r->quorum.copies = (unsigned)c->in_sync_replicas;
    options->follower = false;
    return 0;
}

uint64_t replication_promoted(const struct replication *r)
{
    return r->promoted;
}

/* The answer to the order has to be out before the connections are closed, which a stop waits for.
 */
static int begin_again(struct replication *r, const char *as)
{
    r->role_changed = true;
    log_info("this broker begins again in the same process, as %s", as);
    broker_restart(r->broker);
    return 0;
}

/* Above that of the topics: the time, since of two slaves that were promoted one after the other
 * the later one need not have the topics of the earlier; above the epoch of a group the next term,
 * of no member, since the group's master may come back in the next incarnation. */
static uint64_t next_epoch(uint64_t state_version)
{
    const uint64_t of_groups = 1ull << (CORE_MEMBER_BITS + CORE_INCARNATION_BITS);
    uint64_t now_s = (uint64_t)(clock_wall_ms() / 1000);

    if (state_version >= of_groups)
        return (state_version / of_groups + 1) * of_groups;
    return now_s > state_version && now_s < of_groups ? now_s : state_version + 1;
}

static int promote(struct replication *r, bool unclean, struct err *err)
{
    struct plain_slave *slave = atomic_load(&r->slave);
    struct data_version version = metadata_topics_version(r->broker->metadata);
    uint64_t epoch = next_epoch((uint64_t)version.state_version);
    int e;

    if (r->role_changed)
        return err_say(err, -EAGAIN, "it is changing its role; ask again");
    if (!replication_is_slave(r))
        return err_say(err, -EALREADY, "this broker is the master already");
    if (!slave)
        return err_say(err, -EAGAIN, "this broker has not started yet");
    e = unclean ? 0 : plain_slave_may_lead(slave, err);
    if (e < 0) {
        err_add(err, " (--unclean promotes all the same)");
        return e;
    }
    if (version.state_version < 0 || epoch > INT64_MAX)
        return err_say(err, -ERANGE, "no epoch is above that of its topics");
    e = promoted_save(epoch, r->broker->settings->config.store_path_root_dir, err);
    return e < 0 ? e : begin_again(r, "the master");
}

int replication_promote(struct replication *r, bool unclean, struct err *err)
{
    int e;

    pthread_mutex_lock(&r->orders_lock);
    e = promote(r, unclean, err);
    pthread_mutex_unlock(&r->orders_lock);
    return e;
}

static int step_down(struct replication *r, struct err *err)
{
    int e;

    if (r->role_changed)
        return err_say(err, -EAGAIN, "it is changing its role; ask again");
    if (replication_is_slave(r))
        return err_say(err, -EPERM, "this broker is not the master");
    if (r->promoted == 0)
        return err_say(err, -EPERM,
                       "this broker is the master because its configuration says so: to have a "
                       "slave, set brokerRole=SLAVE and a brokerId there and start it again");
    e = promoted_remove(r->broker->settings->config.store_path_root_dir, err);
    if (e < 0)
        return e;
    /* What is owed is refused, and nothing is taken that the next master would not have. */
    atomic_store(&r->leads, false);
    broker_halts(r->broker);
    return begin_again(r, "a slave");
}

int replication_step_down(struct replication *r, struct err *err)
{
    int e;

    pthread_mutex_lock(&r->orders_lock);
    e = step_down(r, err);
    pthread_mutex_unlock(&r->orders_lock);
    return e;
}

/* --- a member of a group --- */

enum { BEAT_MAX_MS = 1000, ASK_WAIT_MS = 1000 };

int replication_prepare(struct replication *r, struct store_options *options, struct err *err)
{
    int e = find_promotion(r, options, err);
    int64_t told;

    if (e < 0 || !replication_is_member(r))
        return e;
    told = metadata_topics_version(r->broker->metadata).state_version;
    return group_start_prepare(&r->begin, &r->broker->settings->config,
                               told > 0 ? (uint64_t)told : 0, options, err);
}

int replication_opened(struct replication *r, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;

    if (group_is_set(c))
        return group_start_opened(&r->begin, c, err);
    if (r->promoted > 0)
        metadata_lead(r->broker->metadata, r->promoted);
    return 0;
}

static void on_lead(void *ctx, uint64_t epoch, bool handed)
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
    durable_lead(r->broker->durable); /* before anybody makes a change with the master */
    atomic_store(&r->leads, true);
    broker_leads(r->broker, epoch, handed);
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
    uint32_t chance;
    int e;

    if (getrandom(&chance, sizeof(chance), 0) != sizeof(chance))
        return err_set(err, -errno, "get a random number from the system");
    options.times.new_counter = chance % CORE_NEW_COUNTERS;
    memcpy(options.members, r->begin.list.members, sizeof(options.members));
    e = group_new(&group, &options, err);
    if (e == 0) {
        atomic_store(&r->group, group);
        group_progress(group); /* nobody could tell it until now */
    }
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
    struct group *group = replication_group(r);
    struct topics_mark mark;

    if (group)
        group_progress(group);
    if (!replication_is_member(r) || !replication_is_slave(r) || !r->broker->metadata)
        return;
    metadata_topics_mark(r->broker->metadata, &mark);
    if (mark.change != r->topics_told)
        registrar_changed(r->broker->registrar);
    r->topics_told = mark.change;
}

enum lock_leave replication_lock_leave(const struct replication *r, uint64_t *copied)
{
    const struct group *group = replication_group(r);

    *copied = UINT64_MAX;
    if (r->quorum.copies <= 1 || !replication_is_member(r))
        return LOCKS_ANY;
    if (!group || !group_leads(group) || !group_in_touch(group))
        return LOCKS_NONE;
    *copied = group_meta_copied(group);
    return group_enough(group) ? LOCKS_ANY : LOCKS_HELD;
}

/* --- life --- */

int replication_start(struct replication *r, int listen_fd, struct err *err)
{
    struct plain_slave *slave;
    int e;

    if (replication_is_member(r)) {
        r->reserved_fd = listen_fd;
        return start_member(r, err);
    }
    if (!replication_is_slave(r))
        return start_master(r, listen_fd, err);
    r->reserved_fd = listen_fd;
    e = plain_slave_new(&slave, r->broker, err);
    if (e == 0)
        atomic_store(&r->slave, slave);
    return e;
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
    plain_slave_stop(atomic_load(&r->slave));
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
    plain_slave_free(atomic_load(&r->slave));
    group_free(atomic_load(&r->group));
    pthread_mutex_destroy(&r->place_lock);
    pthread_mutex_destroy(&r->orders_lock);
    free(r);
    return NULL;
}

void replication_progress(struct replication *r)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);
    struct plain_slave *slave = atomic_load_explicit(&r->slave, memory_order_acquire);
    struct group *group = replication_group(r);

    if (group)
        group_progress(group);
    if (master)
        ha_master_progress(master);
    if (slave)
        plain_slave_progress(slave);
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

bool replication_lacks_members(const struct replication *r)
{
    const struct group *group = r->quorum.copies > 1 ? replication_group(r) : NULL;

    return group && !group_enough(group);
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
    struct plain_slave *slave = atomic_load_explicit(&r->slave, memory_order_acquire);

    if (!slave)
        return false;
    plain_slave_status(slave, out, metadata_age_ms);
    return true;
}
