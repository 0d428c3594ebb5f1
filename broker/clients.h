/* clients.h - who is connected: producers and consumers by group, their subscriptions.
 *
 * Filled by heartbeats, emptied by unregistration, closed connections and 120 s of silence. One
 * lock inside; any thread. NOTIFY_CONSUMER_IDS_CHANGED (40) goes out through broker_send(), never
 * under the lock. Bounds: CLIENT_GROUPS_MAX groups a connection, SUBSCRIPTIONS_MAX topics a group,
 * and those of struct clients_bounds over all. The requests that fill and show it are in
 * client_requests.c.
 */
#ifndef TERN_BROKER_CLIENTS_H
#define TERN_BROKER_CLIENTS_H

#include "broker/call.h"
#include "broker/filter.h"
#include "broker/heartbeat.h"

enum {
    SUBSCRIPTION_COUNTERS = 256, /* of changes; a group has one by its hash */
    CLIENTS_MAX = 200000,
    MEMBERSHIPS_MAX = 1000000,
    CLIENT_GROUPS_MAX = 4096,
    SUBSCRIPTION_BYTES_MAX = 256 << 20,
    CLIENT_SILENCE_MS = 120000,
};

struct clients_bounds {
    unsigned connections;
    unsigned memberships;      /* each connection in each of its groups; so many groups at most */
    size_t subscription_bytes; /* of all subscriptions of all groups */
};
/* `bounds` NULL: the constants above. */
struct clients *clients_new(struct broker *b, const struct clients_bounds *bounds);
struct clients *clients_free(struct clients *c);

/* --- from one broker to the next of this process (kept.h) --- */
/* The loops of the broker are gone. */
void clients_part(struct clients *c);
/* Belongs to this broker now, whose loops exist and do not run. Each connection has another id:
 * those that are not named are gone, and who stays in their groups is told. */
void clients_join(struct clients *c, struct broker *b);
void clients_move(struct clients *c, const struct conn_move *moves, size_t count);

/* --- coming and going --- */
struct client_identity {
    conn_id conn;
    struct bytes client_id;
    uint8_t language;
    int32_t version;
    const char *peer; /* "ip:port" */
};
/* 0; -ENOSPC at a bound; -ENOMEM. */
int clients_add_producer(struct clients *c, const struct client_identity *who, struct bytes group);
/* Likewise; a newcomer whose subscriptions find no room has not come. The filters of the
 * subscriptions are taken (zeroed). *changed, also on failure: somebody came, or the set of topics
 * is another: notify the group. */
int clients_add_consumer(struct clients *c, const struct client_identity *who,
                         struct client_consumer *consumer, bool *changed);
/* True when it was there. */
bool clients_remove_producer(struct clients *c, conn_id conn, struct bytes group);
bool clients_remove_consumer(struct clients *c, conn_id conn, struct bytes group);
/* Tells all members of the group to balance anew, unless the group's configuration says not to. */
void clients_notify(struct clients *c, struct bytes group);
/* From the loops' closed callbacks: leaves all groups and notifies those who stay. */
void clients_closed(struct clients *c, conn_id conn);

/* --- looking --- */
enum client_subscription { CLIENT_SUBSCRIBED, CLIENT_NO_GROUP, CLIENT_NO_TOPIC, CLIENT_OLDER };
struct client_group_facts {
    bool broadcasting; /* known unless NO_GROUP */
    /* Known when SUBSCRIBED or OLDER. */
    int64_t subscription_version;
    struct subscription_mark mark;
    bool sql; /* expressionType is SQL92, or anything else but TAG */
};
/* A subscription as a pull needs it; with SUBSCRIBED the filter is a copy, to be destroyed. OLDER
 * when the stored version is below `version`. */
enum client_subscription clients_subscription(struct clients *c, struct bytes group,
                                              struct bytes topic, int64_t version,
                                              struct tag_filter *filter,
                                              struct client_group_facts *facts);
/* True when a subscription of the group has become another, or went, since a filter was taken. (Or
 * one of a group that shares its counter; then too the client does well to ask again.) */
bool clients_changed(const struct clients *c, const struct subscription_mark *since);
/* Groups with live consumers that subscribe to the topic. Under the lock. */
void clients_each_group_of_topic(struct clients *c, struct bytes topic,
                                 void (*each)(void *ctx, struct bytes group), void *ctx);
bool clients_group_online(struct clients *c, struct bytes group);
bool clients_group_subscribes(struct clients *c, struct bytes group, struct bytes topic);
uint64_t clients_count(struct clients *c);

struct client_member {
    struct bytes client_id;
    const char *peer;
    uint8_t language;
    int32_t version;
    int64_t last_ms; /* wall time of the last heartbeat */
};
/* Members of a group, under the lock. False: nobody. */
bool clients_each_consumer(struct clients *c, struct bytes group,
                           void (*each)(void *ctx, const struct client_member *m), void *ctx);
bool clients_each_producer(struct clients *c, struct bytes group,
                           void (*each)(void *ctx, const struct client_member *m), void *ctx);
struct client_group_view {
    enum consume_type type;
    enum message_model model;
    int from_where;
};
/* Facts and subscriptions of a consumer group, under the lock. False: offline. */
bool clients_group_view(struct clients *c, struct bytes group, struct client_group_view *view,
                        void (*each)(void *ctx, const struct client_subscription_data *s),
                        void *ctx);
/* A subscription as JSON. */
struct json_out;
void clients_put_subscription(struct json_out *j, const struct client_subscription_data *s);

/* --- requests --- */
enum call_result serve_heart_beat(struct call *call);           /* 34, loop */
enum call_result serve_unregister_client(struct call *call);    /* 35, loop */
enum call_result serve_check_client_config(struct call *call);  /* 46, loop */
enum call_result serve_consumer_list(struct call *call);        /* 38, loop */
enum call_result serve_consumer_connections(struct call *call); /* 203, reader */
enum call_result serve_producer_connections(struct call *call); /* 204, reader */

#endif
