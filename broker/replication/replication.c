/* replication.c - see replication.h. */
#include "broker/replication/replication.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/group_config.h"
#include "broker/registrar.h"
#include "broker/replication/slave_metadata.h"
#include "broker/topics.h"
#include "common/codes.h"
#include "common/dial.h"
#include "common/log.h"

enum { LISTEN_BACKLOG = 16 };

struct replication {
    struct broker *broker;
    struct quorum_options quorum;
    struct ha_master *_Atomic master; /* NULL: not started, or a slave */
    /* Of a slave; NULL: not started, or a master. */
    struct ha_slave *_Atomic slave;
    struct slave_metadata *_Atomic metadata;
    int reserved_fd; /* the HA port, held for when it is a master; -1 */
    pthread_mutex_t place_lock;
    struct ha_master_place told; /* place_lock; by a name server; empty: not yet */
};

struct replication *replication_new(struct broker *b)
{
    const struct broker_config *c = &b->settings->config;
    struct replication *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->broker = b;
    r->reserved_fd = -1;
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

static int start_master(struct replication *r, int listen_fd, struct err *err)
{
    const struct broker_config *c = &r->broker->settings->config;
    struct ha_master_options options = {
        .store = r->broker->store,
        .listen_fd = listen_fd,
        .quorum = r->quorum,
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
    return r->broker->settings->config.broker_role == ROLE_SLAVE;
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

    if (!replication_is_slave(r) || main.len == 0 || ha.len == 0)
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

/* --- life --- */

int replication_start(struct replication *r, int listen_fd, struct err *err)
{
    if (!replication_is_slave(r))
        return start_master(r, listen_fd, err);
    r->reserved_fd = listen_fd;
    return start_slave(r, err);
}

void replication_stop(struct replication *r)
{
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
    pthread_mutex_destroy(&r->place_lock);
    free(r);
    return NULL;
}

void replication_progress(struct replication *r)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);
    struct ha_slave *slave = atomic_load_explicit(&r->slave, memory_order_acquire);

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
    master = atomic_load_explicit(&r->master, memory_order_acquire);
    return master && ha_master_enough(master);
}

unsigned replication_copies(const struct replication *r)
{
    return r->quorum.copies;
}

void replication_status(const struct replication *r, struct ha_status *out)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);

    *out = (struct ha_status){.acked = UINT64_MAX, .slowest = UINT64_MAX};
    if (master)
        ha_master_status(master, out);
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
