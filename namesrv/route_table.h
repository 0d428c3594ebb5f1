/* route_table.h - which brokers there are, and which topics they serve.
 *
 *   topics   topic -> the groups that serve it, with queue counts and rights
 *   groups   brokerName -> its members: id -> address, version, last sign of life
 *
 * Pure: no I/O and no clock. Time comes in as `now_ms` (monotonic), and a connection is an opaque
 * number (0: none). One owner, one thread. Invariants: a group has at least one member; a queue
 * entry belongs to an existing group; a topic has at least one queue entry; an address stands under
 * one id of its group; members are sorted by id, groups and queue entries by name.
 *
 * The rules are in docs/protocol/namesrv.md. Names and addresses that come in have been checked for
 * length by the caller (registration.h) and are copied; views that go out hold until the next
 * call that changes the table.
 */
#ifndef TERN_NAMESRV_ROUTE_TABLE_H
#define TERN_NAMESRV_ROUTE_TABLE_H

#include "common/bytes.h"

enum {
    ROUTE_TOPICS_MAX = 262144,
    ROUTE_QUEUES_MAX = 1048576, /* queue entries: topics x the groups that serve them */
    ROUTE_GROUPS_MAX = 4096,
    ROUTE_MEMBERS_MAX = 64, /* of one group */
    ROUTE_FILTERS_MAX = 64, /* filter servers of one member */
    ROUTE_NAME_MAX = 255,   /* brokerName, cluster, zone */
    ROUTE_TOPIC_MAX = 511,
    ROUTE_ADDRESS_MAX = 255,
    ROUTE_QUEUE_NUMS_MAX = 1048576, /* readQueueNums, writeQueueNums of one topic */
    ROUTE_TIMEOUT_MS = 120000,      /* silence after which a member is forgotten, unless it says */
};
enum { ROUTE_PERM_WRITE = 2, ROUTE_PERM_READ = 4 };
enum { ROUTE_MASTER_ID = 0 };

struct route_version {
    int64_t state; /* stateVersion: the epoch of the writer; 0 for a broker that has none */
    int64_t counter;
    int64_t timestamp; /* ms since 1970, of the broker's last change; only ever compared */
};

struct route_member {
    int64_t id; /* 0: master */
    char *address;
    char *ha_address;
    struct route_version version; /* of the topics it told us last */
    bool complete;                /* version is known, and all of its topics were taken */
    int64_t seen_ms;
    int64_t timeout_ms;
    uint64_t channel; /* the connection it spoke on last */
    char **filters;
    size_t filter_count;
};

struct route_group {
    char *name;
    char *cluster;
    char *zone; /* NULL: none */
    bool acting_master;
    struct route_member *members;
    size_t member_count;
    size_t queue_count; /* queue entries of all topics that belong to this group */
};

struct route_queue {
    struct route_group *group;
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t sys_flag;
};

struct route_topic {
    struct route_topic *next; /* in its bucket */
    uint64_t hash;
    struct route_queue *queues;
    uint32_t queue_count;
    uint32_t name_len;
    uint8_t name[];
};

static inline struct bytes route_topic_name(const struct route_topic *topic)
{
    return bytes_of(topic->name, topic->name_len);
}

struct route_table;

/* `seed`: a number that peers cannot guess, for the hash of topic names. 0 or -ENOMEM. */
int route_table_new(struct route_table **out, uint64_t seed);
struct route_table *route_table_free(struct route_table *t); /* returns NULL */

/* One topic as a broker tells it. */
struct route_topic_config {
    struct bytes name;
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t sys_flag;
};

/* What a member says of itself and its topics. */
struct route_registration {
    struct bytes cluster;
    struct bytes group; /* brokerName */
    struct bytes address;
    struct bytes ha_address;
    struct bytes zone; /* empty: none */
    int64_t id;
    int64_t timeout_ms; /* 0: ROUTE_TIMEOUT_MS */
    uint64_t channel;
    bool speaks_acting_master; /* sent enableActingMaster, as brokers since 5.0 do */
    bool acting_master;        /* and its value */
    struct route_version version;
    bool keep_filters; /* sent no list of filter servers: the one we know stays */
    const struct bytes *filters;
    size_t filter_count;
    const struct route_topic_config *topics; /* all of its topics, or some: the others stay */
    size_t topic_count;
    const struct bytes *removed; /* topics that it no longer has */
    size_t removed_count;
};

enum route_full {
    ROUTE_FULL_NOT,
    ROUTE_FULL_GROUPS,
    ROUTE_FULL_MEMBERS,
    ROUTE_FULL_TOPICS,
    ROUTE_FULL_QUEUES,
    ROUTE_FULL_MEMORY,
};

struct route_registered {
    bool joined; /* this address did not hold this id before */
    const struct route_member *member;
    const struct route_member *master; /* set for id > 0 when the group has a master */
    size_t left_out;                   /* topics that found no room */
    enum route_full full;              /* what was full */
};

/* OUTDATED: another address holds this id with a higher state version; the sender is in the table
 * no longer. FULL: no room for the group or member, nothing has changed. When only topics find no
 * room the rest is taken and 0 is returned with left_out set. -ENOMEM: nothing has changed. */
enum { ROUTE_OUTDATED = 1, ROUTE_FULL };
int route_table_register(struct route_table *t, const struct route_registration *in, int64_t now_ms,
                         struct route_registered *out);

/* Puts one queue entry for a group that is registered (REGISTER_TOPIC_IN_NAMESRV). UNKNOWN: it is
 * not. FULL with *full. */
enum { ROUTE_UNKNOWN = 3 };
int route_table_put_queue(struct route_table *t, const struct route_topic_config *topic,
                          struct bytes group, enum route_full *full);

/* A member said something: it lives, and `channel` is its connection now. NULL when no member of
 * that group has that address. */
const struct route_member *route_table_touch(struct route_table *t, struct bytes group,
                                             struct bytes address, uint64_t channel,
                                             int64_t now_ms);

/* A member that has left, as text for the log. */
struct route_gone {
    char group[ROUTE_NAME_MAX + 1];
    char address[ROUTE_ADDRESS_MAX + 1];
    int64_t id;
    uint64_t channel;
};
/* The member of that group with that address leaves; false when there is none. */
bool route_table_unregister(struct route_table *t, struct bytes group, struct bytes address,
                            struct route_gone *gone);
/* One member that spoke on `channel` last leaves; false when none is left. */
bool route_table_take_channel(struct route_table *t, uint64_t channel, struct route_gone *gone);
/* One member whose silence is longer than its timeout leaves; false when none is left. */
bool route_table_take_silent(struct route_table *t, int64_t now_ms, struct route_gone *gone);
/* The earliest time at which a member may be taken as silent; INT64_MAX without members. */
int64_t route_table_next_silent_ms(const struct route_table *t);

/* Clears the write right of every topic of the group, or sets each to 6. Returns the topics. */
size_t route_table_wipe_write_perm(struct route_table *t, struct bytes group);
size_t route_table_add_write_perm(struct route_table *t, struct bytes group);

/* Forgets a topic: with an empty `cluster` everywhere, else in the groups of that cluster. */
void route_table_delete_topic(struct route_table *t, struct bytes topic, struct bytes cluster);

const struct route_topic *route_table_topic(const struct route_table *t, struct bytes name);
const struct route_group *route_table_group(const struct route_table *t, struct bytes name);
/* The member with id 0, NULL when there is none. */
const struct route_member *route_group_master(const struct route_group *g);

/* All of them: groups by index, in order of name; topics bucket by bucket. */
size_t route_table_group_count(const struct route_table *t);
const struct route_group *route_table_group_at(const struct route_table *t, size_t at);
size_t route_table_topic_count(const struct route_table *t);
size_t route_table_queue_count(const struct route_table *t);
const struct route_topic *route_table_next_topic(const struct route_table *t,
                                                 const struct route_topic *after);

bool route_version_equal(const struct route_version *a, const struct route_version *b);

#endif
