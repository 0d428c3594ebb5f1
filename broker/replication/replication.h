/* replication.h - a broker's part in its group: what the services ask of the copies of the log.
 *
 * Made before the store (whose threads call replication_progress()), started when the store is
 * open, stopped when no reply is owed any more. Every question may be asked from any thread.
 */
#ifndef TERN_BROKER_REPLICATION_REPLICATION_H
#define TERN_BROKER_REPLICATION_REPLICATION_H

#include "broker/broker.h"
#include "broker/replication/ha_master.h"
#include "broker/replication/ha_slave.h"

struct replication *replication_new(struct broker *b);
bool replication_is_slave(const struct replication *r);
/* `listen_fd`: bound to the HA port, taken over; a slave listens on it to nobody. */
int replication_start(struct replication *r, int listen_fd, struct err *err);
void replication_stop(struct replication *r);
struct replication *replication_free(struct replication *r); /* returns NULL */

/* A name server has said where the master of the group is (main port, HA port); empty: it does not
 * know. Any thread. */
void replication_master_told(struct replication *r, struct bytes main, struct bytes ha);

/* The store's watermarks have moved. */
void replication_progress(struct replication *r);

/* What a reply for a confirmed message with this end says: success; SLAVE_NOT_AVAILABLE when there
 * were not enough members; FLUSH_SLAVE_TIMEOUT when they took too long. */
int32_t replication_verdict(const struct replication *r, uint64_t log_end);
/* False with replicaAck=strict when too few members are near for a send to get its copies. */
bool replication_takes_sends(const struct replication *r);
/* Copies that a message answered with success has, this one included. */
unsigned replication_copies(const struct replication *r);
/* All zero but `acked` and `slowest` when there is no HA port. */
void replication_status(const struct replication *r, struct ha_status *out);
/* Of a slave: false when it is none, or not started. */
bool replication_slave_status(const struct replication *r, struct ha_slave_status *out,
                              int64_t *metadata_age_ms);

#endif
