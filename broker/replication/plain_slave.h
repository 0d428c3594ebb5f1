/* plain_slave.h - a slave of no group: it follows whoever is the master of its brokerName, by
 * RocketMQ's protocol, and knows where that one is from haMasterAddress or the name servers.
 *
 * Any function may be called from any thread, but new, stop and free.
 */
#ifndef TERN_BROKER_REPLICATION_PLAIN_SLAVE_H
#define TERN_BROKER_REPLICATION_PLAIN_SLAVE_H

#include "broker/broker.h"
#include "broker/replication/ha_slave.h"

struct plain_slave;

/* Starts its threads. */
int plain_slave_new(struct plain_slave **out, struct broker *b, struct err *err);
void plain_slave_stop(struct plain_slave *s);                /* safe twice; NULL is fine */
struct plain_slave *plain_slave_free(struct plain_slave *s); /* stops first; returns NULL */

/* A name server has said where the master is (main port, HA port). */
void plain_slave_told(struct plain_slave *s, struct bytes main, struct bytes ha);
/* The store's watermarks have moved. */
void plain_slave_progress(struct plain_slave *s);
void plain_slave_status(struct plain_slave *s, struct ha_slave_status *out,
                        int64_t *metadata_age_ms);
/* Whether it may become the master as far as can be told from here. -EBUSY: its master lives;
 * -EPERM: it is for members of a group to take its place; -ENODATA: it is known that something is
 * missing, or may be. With a clause that says what. */
int plain_slave_may_lead(struct plain_slave *s, struct err *err);

#endif
