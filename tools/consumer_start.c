/* consumer_start.c - what a consumer says and asks before its first pull. */
#include "tools/consumer_internal.h"

#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "tools/tags.h"
#include "tools/unique_id.h"

/* Part of every client id of ternctl, so that two of them know one another. */
#define ID_MARK "#ternctl#"

void consumer_make_id(struct consumer *c)
{
    uint8_t ip[4];

    unique_id_address(ip);
    snprintf(c->client_id, sizeof(c->client_id), "%u.%u.%u.%u@%ld" ID_MARK "%lld", ip[0], ip[1],
             ip[2], ip[3], (long)getpid(), (long long)clock_mono_ns());
}

static void subscription(const struct consumer *c, struct json_out *j)
{
    bool all = tags_take_all(c->tags);
    struct bytes tag;
    size_t at;

    jout_object(j);
    jout_kv_bool(j, "classFilterMode", false);
    jout_key(j, "codeSet");
    jout_array(j);
    for (at = 0; !all && tags_next(c->tags, &at, &tag);)
        jout_i64(j, bytes_java_hash(tag));
    jout_array_end(j);
    jout_kv_str(j, "expressionType", "TAG");
    jout_kv_str(j, "subString", c->tags);
    jout_kv_i64(j, "subVersion", c->version_ms);
    jout_key(j, "tagsSet");
    jout_array(j);
    for (at = 0; !all && tags_next(c->tags, &at, &tag);)
        jout_bytes(j, tag);
    jout_array_end(j);
    jout_kv_str(j, "topic", c->topic);
    jout_object_end(j);
}

void consumer_heartbeat_body(const struct consumer *c, struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_kv_str(&j, "clientID", c->client_id);
    jout_key(&j, "consumerDataSet");
    jout_array(&j);
    jout_object(&j);
    jout_kv_str(&j, "consumeFromWhere", "CONSUME_FROM_FIRST_OFFSET");
    jout_kv_str(&j, "consumeType", "CONSUME_ACTIVELY");
    jout_kv_str(&j, "groupName", c->group);
    jout_kv_str(&j, "messageModel", "CLUSTERING");
    jout_key(&j, "subscriptionDataSet");
    jout_array(&j);
    subscription(c, &j);
    jout_array_end(&j);
    jout_kv_bool(&j, "unitMode", false);
    jout_object_end(&j);
    jout_array_end(&j);
    jout_key(&j, "producerDataSet");
    jout_array(&j);
    jout_array_end(&j);
    jout_object_end(&j);
}

/* A heartbeat replaces the subscription of the whole group, and clients that share their queues
 * would leave some to us: both are a surprise for a group at work. */
int consumer_check_group(struct consumer *c, const struct consumer_broker *b, struct err *err)
{
    const struct rpc_field fields[] = {{"consumerGroup", c->group}};
    struct rpc_request request = {
        .code = REQUEST_GET_CONSUMER_LIST_BY_GROUP, .fields = fields, .field_count = 1};
    struct remoting_frame reply;
    struct err why = {0};
    char whom[192];
    json_t *root;
    const json_t *ids;
    const char *other = NULL;
    int r;

    snprintf(whom, sizeof(whom), "broker %.120s", b->name);
    r = client_call(c->client, b->address, whom, &request, &reply, err);
    if (r != TOOL_DONE || c->join || reply.code != RESPONSE_SUCCESS)
        return r; /* code 1: nobody is there */
    root = json_dialect_load(reply.body, &why);
    ids = json_object_get(root, "consumerIdList");
    for (size_t i = 0; i < json_array_size(ids) && !other; i++) {
        const char *id = json_string_value(json_array_get(ids, i));

        if (id && !strstr(id, ID_MARK))
            other = id;
    }
    if (other)
        r = err_say(err, TOOL_REFUSED,
                    "group %s is at work: client %.80s consumes in it, and would lose messages to "
                    "us; take another --group, or --join it all the same",
                    c->group, other);
    json_decref(root);
    return r;
}

static int ask_offset(struct consumer *c, const struct consumer_broker *b, int32_t queue,
                      int32_t code, const char *doing, int64_t *offset, struct err *err)
{
    char id[16], whom[192];
    const struct rpc_field fields[] = {
        {"consumerGroup", code == REQUEST_QUERY_CONSUMER_OFFSET ? c->group : NULL},
        {"topic", c->topic},
        {"queueId", id},
    };
    struct rpc_request request = {.code = code, .fields = fields, .field_count = 3};
    struct remoting_frame reply;
    int r;

    snprintf(id, sizeof(id), "%d", queue);
    snprintf(whom, sizeof(whom), "broker %.120s", b->name);
    r = client_need(c->client, b->address, whom, doing, &request, &reply, err);
    if (r == TOOL_DONE && remoting_get_i64(&reply, "offset", offset) != 0)
        return err_say(err, TOOL_REFUSED, "%s: the answer of %s at %s has no offset", doing, whom,
                       b->address);
    return r;
}

int consumer_start_offset(struct consumer *c, const struct consumer_broker *b, int32_t queue,
                          enum consumer_from from, int64_t *offset, struct err *err)
{
    int r;

    if (from == CONSUMER_FROM_LAST)
        return ask_offset(c, b, queue, REQUEST_GET_MAX_OFFSET, "find the end of a queue", offset,
                          err);
    if (from == CONSUMER_FROM_STORED) {
        r = ask_offset(c, b, queue, REQUEST_QUERY_CONSUMER_OFFSET, "find where the group stopped",
                       offset, err);
        if (r != TOOL_NOT_FOUND)
            return r;
    }
    return ask_offset(c, b, queue, REQUEST_GET_MIN_OFFSET, "find the start of a queue", offset,
                      err);
}
