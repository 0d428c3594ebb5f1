/* consumer.h - reads all queues of a topic for one consumer group, with long polling.
 *
 * One connection to each broker; heartbeats and offsets travel on it beside one pull for each
 * queue. Unlike a client library it shares nothing with other members of the group: it takes every
 * queue. Offsets are stored on the brokers every COMMIT_MS and when it stops, and only for messages
 * that have left (consumer_sink.flush). One thread.
 */
#ifndef TERN_TOOLS_CONSUMER_H
#define TERN_TOOLS_CONSUMER_H

#include "broker/store/record.h"
#include "tools/client.h"

struct consumer;

enum consumer_from {
    CONSUMER_FROM_STORED, /* where the group stopped; a new group: the first message */
    CONSUMER_FROM_FIRST,
    CONSUMER_FROM_LAST, /* only what comes from now on */
};

/* Who takes the messages. */
struct consumer_sink {
    void *ctx;
    /* One message; the record holds until the call returns. CONSUMER_ENOUGH: this one was taken,
     * no more. */
    int (*message)(void *ctx, const struct record *record, const char *broker);
    /* Whether all that was taken has left; false: none of it since the last flush counts as read,
     * and the consumer ends. */
    bool (*flush)(void *ctx);
    /* A sentence for the person who watches. */
    void (*note)(void *ctx, const char *text);
};
enum { CONSUMER_GO_ON = 0, CONSUMER_ENOUGH = 1 };

struct consumer_options {
    const char *topic, *group;
    const char *tags; /* expression, NULL: all */
    enum consumer_from from;
    bool join; /* also a group that other programs consume in */
    struct consumer_sink sink;
};

/* Finds brokers and offsets, connects, says who it is. An enum tool_status. */
int consumer_new(struct consumer **out, struct client *client,
                 const struct consumer_options *options, struct err *err);
/* Waits for at most wait_ms, or until wake_fd is readable, and handles what came. TOOL_DONE: call
 * again, unless consumer_ended(). */
int consumer_turn(struct consumer *c, int wait_ms, int wake_fd, struct err *err);
/* The sink has had enough, or could not take what came. */
bool consumer_ended(const struct consumer *c);
/* Stores the offsets, takes leave of the brokers and frees. TOOL_UNREACHABLE, with err, when some
 * offsets could not be stored. */
int consumer_leave(struct consumer *c, struct err *err);

#endif
