/* clients_internal.h - the table that clients.c fills and clients_look.c reads. Nobody else
 * includes it. */
#ifndef TERN_BROKER_CLIENTS_INTERNAL_H
#define TERN_BROKER_CLIENTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <uthash.h>

#include "broker/clients.h"

struct group;

/* One connection in one group, as producer or as consumer. Each is heard of for itself: a client
 * that goes on without one of its groups has left it. */
struct membership {
    struct channel *channel;
    struct group *group;
    struct membership *group_next, *group_previous;
    struct membership *channel_next, *channel_previous;
    struct membership *older, *newer; /* by heard_ms */
    int64_t heard_ms;                 /* monotonic */
};

/* A connection that has sent a heartbeat. */
struct channel {
    conn_id conn;
    char *client_id;
    char peer[64];
    uint8_t language;
    int32_t version;
    int64_t heard_wall_ms; /* what lists show */
    struct membership *first;
    unsigned groups;
    UT_hash_handle hh;
};

struct subscription {
    char *topic, *sub_string, *expression_type;
    int64_t version;
    bool class_filter_mode, named;
    struct tag_filter filter;
    UT_hash_handle hh;
};

struct group {
    char *name;
    bool consumers;
    enum consume_type type;
    enum message_model model;
    int from_where;
    unsigned counter;                   /* of changes */
    struct subscription *subscriptions; /* uthash by topic */
    struct membership *first;
    unsigned members;
    bool untold;      /* members are told of a change by the next broker */
    uint64_t left_in; /* the round in which it was last put on a list of groups that were left */
    UT_hash_handle hh;
};

struct clients {
    struct broker *broker;
    struct clients_bounds bounds;
    pthread_mutex_t lock;
    unsigned memberships;
    size_t subscription_bytes;
    atomic_uint changes[SUBSCRIPTION_COUNTERS]; /* of subscriptions; written under the lock */
    uint64_t round;           /* counts the calls that take members out of groups */
    struct channel *channels; /* uthash by conn */
    struct membership *oldest, *newest;
    struct group *consumers, *producers; /* uthash by name */
    struct loop_timer timer;             /* loop 0: for the oldest membership */
    bool timer_ready, timer_armed;       /* armed: under the lock */
};

/* Under the lock. */
static inline struct group *clients_find_group(struct group *table, struct bytes name)
{
    struct group *g;

    HASH_FIND(hh, table, name.at, name.len, g);
    return g;
}

#endif
