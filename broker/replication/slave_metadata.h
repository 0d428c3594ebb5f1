/* slave_metadata.h - what a slave knows of its master besides the log: topics, groups, consumer
 * offsets, delay offsets, by the requests that RocketMQ's slaves send (21 to the port two below the
 * main one, 43, 45, 201).
 *
 * One thread with a connection to each of the two ports. It looks when it is called (a connection
 * was made, a topic came with its messages) and every so often. One request that fails does not
 * keep the others from being sent; the first failure is a line in the log, the return another.
 */
#ifndef TERN_BROKER_REPLICATION_SLAVE_METADATA_H
#define TERN_BROKER_REPLICATION_SLAVE_METADATA_H

#include "broker/replication/ha_probe.h"
#include "broker/store/store.h"

struct slave_metadata;

struct slave_metadata_options {
    struct metadata *metadata;
    int64_t interval_ms; /* slaveMetadataInterval */
    /* All called on the thread. */
    bool (*find_master)(void *ctx, char *main, size_t size); /* its main port; false: not known */
    void (*on_log)(void *ctx,
                   const struct ha_master_log *log); /* what the master says of its log */
    void (*on_topics)(void *ctx);                    /* topics have changed */
    void *ctx;
};
int slave_metadata_new(struct slave_metadata **out, const struct slave_metadata_options *options,
                       struct err *err);
/* Ends the thread, also one that waits for the master (rpc_cancel_by()). Safe twice; NULL is fine.
 */
void slave_metadata_stop(struct slave_metadata *s);
struct slave_metadata *
slave_metadata_free(struct slave_metadata *s); /* stops first; returns NULL */
/* Look now. Any thread, cheap. */
void slave_metadata_call(struct slave_metadata *s);
/* Since everything was last taken in, ms; -1: not yet. Any thread. */
int64_t slave_metadata_age_ms(struct slave_metadata *s);

#endif
