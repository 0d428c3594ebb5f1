/* ha_master.h - the master's side of RocketMQ's default replication protocol: docs/protocol/
 * replication.md.
 *
 * One thread for the HA port and all slaves. It streams what is written, straight from the page
 * cache (sendfile), wakes when `written` moves, keeps the quorum (quorum.h) and tells the store
 * what may be confirmed. A slave that reports more than this log has, or less than it still has, is
 * refused and never counted.
 */
#ifndef TERN_BROKER_REPLICATION_HA_MASTER_H
#define TERN_BROKER_REPLICATION_HA_MASTER_H

#include "broker/replication/quorum.h"
#include "broker/store/store.h"

struct ha_master;

struct ha_master_options {
    struct store *store;
    int listen_fd; /* listening, non-blocking; taken over, also on failure */
    struct quorum_options quorum;
    uint32_t batch_bytes;    /* haTransferBatchSize */
    int64_t heartbeat_ms;    /* haSendHeartbeatInterval */
    int64_t housekeeping_ms; /* haHousekeepingInterval */
    bool
        fresh_from_last_file; /* a slave that reports 0 starts with the last file, else the first */
    /* What may be confirmed has moved: only raises signals. Called on the thread of the HA port. */
    void (*on_confirmed)(void *ctx);
    void *ctx;
};
/* Holds `confirmed` back from here on as the options say. Starts the thread. */
int ha_master_new(struct ha_master **out, const struct ha_master_options *options, struct err *err);
/* Ends the thread, closes all connections; the limit stays, and what else is called finds all as it
 * was. Safe twice; NULL is fine. */
void ha_master_stop(struct ha_master *m);
struct ha_master *ha_master_free(struct ha_master *m); /* stops first; returns NULL */

/* `written` has moved. Any thread; cheap. */
void ha_master_progress(struct ha_master *m);
/* Everything below has as many copies as were asked for. Any thread. */
uint64_t ha_master_acked(const struct ha_master *m);
/* Enough members are near for a send to get its copies. Any thread. */
bool ha_master_enough(const struct ha_master *m);

struct ha_status {
    unsigned connections, near;
    uint64_t acked;   /* UINT64_MAX: one copy is enough */
    uint64_t slowest; /* acknowledged by the slave that has least; UINT64_MAX: there is none */
    uint64_t sent_bytes, frames, refused;
};
void ha_master_status(const struct ha_master *m, struct ha_status *out);

#endif
