/* ha_slave.h - the slave's side of RocketMQ's default replication protocol: docs/protocol/
 * replication.md.
 *
 * One thread, which may block: it connects to the replication port of the master, asks the master
 * on its main port whether the logs belong together (ha_probe.h), says how much is here, and gives
 * what is streamed to the store, which checks every record. What is acknowledged is kept as the
 * flush mode promises. Bad bytes, another offset than the next one, or a log that has parted are
 * never acknowledged; a store that has no room is waited for.
 */
#ifndef TERN_BROKER_REPLICATION_HA_SLAVE_H
#define TERN_BROKER_REPLICATION_HA_SLAVE_H

#include "broker/replication/ha_probe.h"
#include "broker/store/store.h"

struct ha_slave;

enum { HA_ADDRESS_MAX = 300 };
/* Where a master is, "host:port" each; main is empty when nobody has said it. */
struct ha_master_place {
    char main[HA_ADDRESS_MAX], ha[HA_ADDRESS_MAX];
};

struct ha_slave_options {
    struct store *store; /* a follower */
    struct metadata *metadata;
    const char *store_dir; /* for what is said */
    const char *source;    /* address to come from; masters count slaves by it */
    int64_t heartbeat_ms;  /* haSendHeartbeatInterval: between reports, and tries to connect */
    int64_t
        housekeeping_ms; /* haHousekeepingInterval: without a byte, the connection is given up */
    bool whole;          /* haFreshSlaveFrom=min: an empty store asks for all there is */
    /* All called on the thread of the slave. */
    bool (*find_master)(void *ctx, struct ha_master_place *out); /* false: not known yet */
    void (*ask)(void *ctx); /* the master cannot be found or reached: ask where it is */
    /* Frames flow from that master for the first time since the connection was made, or a topic
     * came with them that was unknown here. */
    void (*on_news)(void *ctx);
    void *ctx;
};
/* Starts the thread. */
int ha_slave_new(struct ha_slave **out, const struct ha_slave_options *options, struct err *err);
/* Ends it, also when it waits for the master (rpc_cancel_by()); what else is called then finds
 * nobody. Safe twice; NULL is fine. */
void ha_slave_stop(struct ha_slave *h);
struct ha_slave *ha_slave_free(struct ha_slave *h); /* stops first; returns NULL */

/* The store's watermarks have moved. Any thread; cheap. */
void ha_slave_progress(struct ha_slave *h);
/* The place of the master may have become known. Any thread. */
void ha_slave_call(struct ha_slave *h);

enum ha_slave_state {
    HA_SLAVE_NO_MASTER,  /* nobody has said yet where it is */
    HA_SLAVE_CONNECTING, /* it cannot be reached, or is being asked */
    HA_SLAVE_FOLLOWING,
    HA_SLAVE_WAITING, /* the store has no room for what comes next */
    HA_SLAVE_APART,   /* the logs do not belong together */
    HA_SLAVE_BAD,     /* it sends what cannot be taken */
    HA_SLAVE_STOPPED, /* the store takes no more writes */
};
extern const char *const ha_slave_state_names[];
struct ha_slave_status {
    enum ha_slave_state state;
    struct ha_master_place master; /* of the last try; empty: none yet */
    uint64_t reported;             /* on this connection */
    uint64_t master_end;           /* as far as is known; 0: not at all */
    bool master_is_member;         /* of a group, when it was last heard */
    uint64_t connections, frames, bytes;
    int64_t silent_ms; /* since the last byte, while connected; -1: not connected */
    /* HA_SLAVE_APART or HA_SLAVE_BAD since a master has shown that, until one is followed again,
     * also while none can be reached; else HA_SLAVE_NO_MASTER. And which master. */
    enum ha_slave_state trouble;
    struct ha_master_place trouble_with;
};
void ha_slave_status(struct ha_slave *h, struct ha_slave_status *out);
/* Somebody has asked the master how far its log goes. Any thread. */
void ha_slave_heard(struct ha_slave *h, const struct ha_master_log *log);

#endif
