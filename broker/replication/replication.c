/* replication.c - see replication.h. */
#include "broker/replication/replication.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/codes.h"

enum { LISTEN_BACKLOG = 16 };

struct replication {
    struct broker *broker;
    struct quorum_options quorum;
    struct ha_master *_Atomic master; /* NULL: not started */
};

/* SYNC_MASTER means two copies unless inSyncReplicas says otherwise. */
static unsigned copies_of(const struct broker_config *c)
{
    if (c->broker_role != ROLE_SYNC_MASTER)
        return 1;
    return c->in_sync_replicas > 0 ? (unsigned)c->in_sync_replicas : 2;
}

struct replication *replication_new(struct broker *b)
{
    const struct broker_config *c = &b->settings->config;
    struct replication *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->broker = b;
    r->quorum = (struct quorum_options){
        .copies = copies_of(c),
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

int replication_start(struct replication *r, int listen_fd, struct err *err)
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

void replication_stop(struct replication *r)
{
    ha_master_free(atomic_exchange(&r->master, NULL));
}

struct replication *replication_free(struct replication *r)
{
    if (!r)
        return NULL;
    replication_stop(r);
    free(r);
    return NULL;
}

void replication_progress(struct replication *r)
{
    struct ha_master *master = atomic_load_explicit(&r->master, memory_order_acquire);

    if (master)
        ha_master_progress(master);
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
