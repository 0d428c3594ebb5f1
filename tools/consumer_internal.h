/* consumer_internal.h - what consumer.c and consumer_start.c share. */
#ifndef TERN_TOOLS_CONSUMER_INTERNAL_H
#define TERN_TOOLS_CONSUMER_INTERNAL_H

#include "tools/consumer.h"
#include "tools/link.h"

#define CONSUMER_UNKNOWN INT64_MIN

struct consumer_broker {
    char *name, *address;
    struct link link;
    int64_t retry_ms, heartbeat_ms; /* when due */
    unsigned answers_due;           /* to requests other than pulls and heartbeats */
    bool complained;
};

struct consumer_queue {
    size_t broker; /* index */
    int32_t id;
    int64_t next;          /* queue offset to pull at */
    int64_t done;          /* all before it have left */
    int64_t committed;     /* what the broker knows; CONSUMER_UNKNOWN: not known */
    int64_t since_ms;      /* the pull under way */
    int64_t not_before_ms; /* of the next pull */
    unsigned failures;     /* in a row */
    bool pulling;
};

struct consumer {
    struct client *client;            /* for route and start; not owned */
    const char *topic, *group, *tags; /* borrowed */
    bool join, ended;
    char client_id[96];
    int64_t version_ms;          /* of the subscription */
    int64_t route_ms, commit_ms; /* when due */
    uint32_t requests;
    struct consumer_sink sink;
    struct consumer_broker *brokers;
    size_t broker_count;
    struct consumer_queue *queues;
    size_t queue_count;
    struct pollfd *polls;
    struct remoting_frame frame;
};

/* consumer_start.c */

void consumer_make_id(struct consumer *c);
/* The body of HEART_BEAT. */
void consumer_heartbeat_body(const struct consumer *c, struct buf *out);
/* Refuses a group that other programs consume in, unless c->join. */
int consumer_check_group(struct consumer *c, const struct consumer_broker *b, struct err *err);
/* Where to begin in a queue. */
int consumer_start_offset(struct consumer *c, const struct consumer_broker *b, int32_t queue,
                          enum consumer_from from, int64_t *offset, struct err *err);

#endif
