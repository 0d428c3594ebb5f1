/* registration_body.h - what a broker tells a name server of its topics: the body of
 * REGISTER_BROKER, all topics or those that changed.
 *
 * RocketMQ's JSON (docs/protocol/namesrv.md), and a member of ours in front of the wrapper, only
 * when there is something to say in it:
 *
 *   {"filterServerList":[],"ternRemovedTopics":{"gone":true},"topicConfigSerializeWrapper":
 *    {"dataVersion":{..},"topicConfigTable":{"T":{..}}}}
 *
 * Begin, visit topics (a topic_visit of metadata.h), end. One thread.
 */
#ifndef TERN_BROKER_REGISTRATION_BODY_H
#define TERN_BROKER_REGISTRATION_BODY_H

#include "broker/store/metadata.h"
#include "common/json_out.h"

/* A body that has grown to this takes no more topics; the rest goes into the next one. Some 25,000
 * topics; a frame has at most 16 MiB. */
enum { REGISTRATION_BODY_FULL = 4 << 20 };

struct registration_body {
    struct buf table, removed;
    struct json_out table_json, removed_json;
    int32_t permission;
    bool any_removed;
};

/* `permission` is brokerPermission: a broker that may not be written to, or read from, says so of
 * every topic. */
void registration_body_begin(struct registration_body *w, int32_t permission);
/* Adds a topic, a deleted one to the removed ones; false: the body is full. `w` is the ctx. */
bool registration_body_visit(void *w, const struct topic *topic, const struct topic_config *config);
/* Appends the body to `out` (out->failed: no memory) and frees what it was made of. */
void registration_body_end(struct registration_body *w, const struct data_version *version,
                           struct buf *out);

/* The body of QUERY_DATA_VERSION. */
void registration_version(const struct data_version *version, struct buf *out);

#endif
