/* clients.h - who is connected: producers and consumers by group, their subscriptions.
 *
 * Filled by heartbeats, emptied by unregistration, closed connections and 120 s of silence. One lock
 * inside; any thread. NOTIFY_CONSUMER_IDS_CHANGED (40) goes out through broker_send(), never under
 * the lock. Bounds: CLIENTS_MAX connections, CLIENT_GROUPS_MAX groups a connection, SUBSCRIPTIONS_MAX
 * topics a group.
 */
#ifndef TERN_BROKER_CLIENTS_H
#define TERN_BROKER_CLIENTS_H

#include "broker/call.h"
#include "broker/filter.h"

enum { CLIENTS_MAX = 200000, CLIENT_GROUPS_MAX = 4096, SUBSCRIPTIONS_MAX = 8192 };

struct clients *clients_new(struct broker *b);
struct clients *clients_free(struct clients *c);
/* From the loops' closed callbacks. */
void clients_closed(struct clients *c, conn_id conn);

/* A subscription as a pull needs it. The filter is a copy, to be destroyed. */
enum client_subscription { CLIENT_SUBSCRIBED, CLIENT_NO_GROUP, CLIENT_NO_TOPIC, CLIENT_OLDER };
struct client_group_facts {
    bool broadcasting;
    int64_t subscription_version;
    bool sql; /* expressionType SQL92 */
};
/* Looks up group and topic; OLDER when the stored version is below `version`. */
enum client_subscription clients_subscription(struct clients *c, struct bytes group,
                                              struct bytes topic, int64_t version,
                                              struct tag_filter *filter,
                                              struct client_group_facts *facts);
/* Groups with live consumers that subscribe to the topic (300, 208). */
void clients_each_group_of_topic(struct clients *c, struct bytes topic,
                                 void (*each)(void *ctx, struct bytes group), void *ctx);
bool clients_group_online(struct clients *c, struct bytes group);
bool clients_group_subscribes(struct clients *c, struct bytes group, struct bytes topic);
/* The connection's version from its last heartbeat, 0 when unknown. */
uint64_t clients_count(struct clients *c);

enum call_result handle_heart_beat(struct call *call);              /* 34, loop */
enum call_result handle_unregister_client(struct call *call);       /* 35, loop */
enum call_result handle_check_client_config(struct call *call);     /* 46, loop */
enum call_result handle_consumer_list(struct call *call);           /* 38, loop */
enum call_result handle_consumer_connections(struct call *call);    /* 203, reader */
enum call_result handle_producer_connections(struct call *call);    /* 204, reader */

#endif
