/* heartbeat.h - the body of a heartbeat, read into plain values. Pure but for the memory it takes.
 *
 * Tolerant as clients need it: enums by name or ordinal, codes and versions as text, absent sets.
 * Source: docs/protocol/remoting.md, "Heartbeat".
 */
#ifndef TERN_BROKER_HEARTBEAT_H
#define TERN_BROKER_HEARTBEAT_H

#include "broker/filter.h"
#include "common/err.h"
#include "common/json.h"

/* As the heartbeat has them; out of range is refused. */
enum consume_type { CONSUME_ACTIVELY, CONSUME_PASSIVELY, CONSUME_POP };
enum message_model { MODEL_BROADCASTING, MODEL_CLUSTERING };
/* Names by ordinal, NULL-terminated. */
extern const char *const consume_type_names[];
extern const char *const message_model_names[];
extern const char *const consume_from_names[];

enum {
    HEARTBEAT_BYTES_MAX = 2 << 20,
    CLIENT_ID_MAX = 512,
    HEARTBEAT_GROUPS_MAX = 4096,
    SUBSCRIPTIONS_MAX = 8192, /* of one group */
};

/* `topic` is the name of a topic, or "%RETRY%" and a group's name: that may be longer than a
 * topic's name can be, and then no topic has it. */
struct client_subscription_data {
    struct bytes topic, sub_string, expression_type;
    int64_t version;
    bool class_filter_mode;
    struct tag_filter filter; /* owned */
};
struct client_consumer {
    struct bytes group;
    enum consume_type type;
    enum message_model model;
    int from_where; /* index into consume_from_names */
    bool unit_mode;
    struct client_subscription_data *subscriptions;
    size_t subscription_count;
};
/* All bytes are borrowed from `root`. */
struct heartbeat {
    json_t *root;
    struct bytes client_id;
    struct client_consumer *consumers;
    size_t consumer_count;
    struct bytes *producers; /* group names */
    size_t producer_count;
};

/* 0, or negative with err saying which value was wrong; then nothing is to be freed. */
int heartbeat_parse(struct bytes body, struct heartbeat *out, struct err *err);
void heartbeat_destroy(struct heartbeat *h);

#endif
