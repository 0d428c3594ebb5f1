/* replication.h - a broker's part in its group: what the services ask of the copies of the log.
 *
 * Made before the store (whose threads call replication_progress()), started when the store is
 * open, stopped when no reply is owed any more. Every question may be asked from any thread.
 */
#ifndef TERN_BROKER_REPLICATION_REPLICATION_H
#define TERN_BROKER_REPLICATION_REPLICATION_H

#include "broker/broker.h"
#include "broker/replication/ha_master.h"

struct replication *replication_new(struct broker *b);
/* `listen_fd`: bound to the HA port, taken over. */
int replication_start(struct replication *r, int listen_fd, struct err *err);
void replication_stop(struct replication *r);
struct replication *replication_free(struct replication *r); /* returns NULL */

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

#endif
