/* client_requests.c - heartbeats and what is asked about clients: see clients.h. */
#include <errno.h>
#include <stdlib.h>

#include "broker/clients.h"
#include "broker/topics.h"
#include "common/json.h"

static const char *const type_names[] = {"CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP",
                                         NULL};
static const char *const model_names[] = {"BROADCASTING", "CLUSTERING", NULL};
static const char *const from_names[] = {
    "CONSUME_FROM_LAST_OFFSET",
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",
    "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET",
    "CONSUME_FROM_TIMESTAMP",
    NULL,
};

/* An enum by name or by ordinal; `fallback` when absent; -1 when it is neither. */
static int enum_of(const json_t *object, const char *key, const char *const *names, int fallback)
{
    const json_t *value = json_object_get(object, key);
    struct bytes text;
    int64_t ordinal;

    if (!value || json_is_null(value))
        return fallback;
    text = json_get_str(object, key);
    for (int i = 0; names[i]; i++) {
        if (bytes_is(text, names[i]))
            return i;
    }
    ordinal = json_get_i64(object, key, -1);
    for (int i = 0; names[i]; i++) {
        if (ordinal == i)
            return i;
    }
    return -1;
}

/* codeSet as numbers or as text (Go). Negative: too many or not numbers. */
static int filter_from_codes(struct tag_filter *filter, const json_t *codes)
{
    int32_t list[FILTER_CODES_MAX];
    size_t count = json_array_size(codes);

    if (count > FILTER_CODES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(codes, i);

        if (json_is_integer(item))
            list[i] = (int32_t)json_integer_value(item);
        else if (!json_is_string(item) ||
                 !bytes_to_i32(bytes_str(json_string_value(item)), &list[i]))
            return -EINVAL;
    }
    return tag_filter_codes(filter, list, count);
}

static int read_subscription(const json_t *object, struct client_subscription_data *out)
{
    const json_t *codes = json_object_get(object, "codeSet");

    *out = (struct client_subscription_data){
        .topic = json_get_str(object, "topic"),
        .sub_string = json_get_str(object, "subString"),
        .expression_type = json_get_str(object, "expressionType"),
        .version = json_get_i64(object, "subVersion", 0),
        .class_filter_mode = json_get_bool(object, "classFilterMode", false),
    };
    if (out->expression_type.len == 0)
        out->expression_type = BYTES_LIT("TAG");
    if (!topic_name_ok(out->topic))
        return -EINVAL;
    if (out->class_filter_mode || !bytes_is(out->expression_type, "TAG")) {
        tag_filter_all(&out->filter);
        return 0;
    }
    if (json_array_size(codes) == 0 || out->sub_string.len == 0 ||
        bytes_is(out->sub_string, "*"))
        return tag_filter_parse(&out->filter, out->sub_string);
    return filter_from_codes(&out->filter, codes);
}

/* A remark for what clients_add_* returned. */
static enum call_result refuse(struct call *call, int r, struct bytes group)
{
    return call_error(call, r == -ENOSPC ? RESPONSE_SYSTEM_BUSY : RESPONSE_SYSTEM_ERROR,
                      "group \"%s\" cannot be registered: %s", SAFE(group),
                      r == -ENOSPC ? "too many clients, groups or subscriptions" : "out of memory");
}

/* True when the consumer was taken in; else the reply has been written. */
static bool take_consumer(struct call *call, const struct client_identity *who,
                          const json_t *object)
{
    struct broker *b = call->broker;
    const json_t *subscriptions = json_object_get(object, "subscriptionDataSet");
    struct client_consumer consumer = {.group = json_get_str(object, "groupName")};
    int type = enum_of(object, "consumeType", type_names, CONSUME_PASSIVELY);
    int model = enum_of(object, "messageModel", model_names, MODEL_CLUSTERING);
    int from = enum_of(object, "consumeFromWhere", from_names, 0);
    struct group_config config;
    char retry[PREFIXED_MAX];
    struct err err = {0};
    bool changed = false;
    int r = 0;

    if (!group_name_ok(consumer.group)) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "groupName \"%s\" is not allowed",
                   SAFE(consumer.group));
        return false;
    }
    if (type < 0 || model < 0 || from < 0) {
        call_error(call, RESPONSE_SYSTEM_ERROR,
                   "group \"%s\": %s has an unknown value", SAFE(consumer.group),
                   type < 0    ? "consumeType"
                   : model < 0 ? "messageModel"
                               : "consumeFromWhere");
        return false;
    }
    consumer.type = (enum consume_type)type;
    consumer.model = (enum message_model)model;
    consumer.from_where = from;
    consumer.subscription_count = json_array_size(subscriptions);
    if (consumer.subscription_count > SUBSCRIPTIONS_MAX) {
        refuse(call, -ENOSPC, consumer.group);
        return false;
    }
    consumer.subscriptions =
        calloc(consumer.subscription_count + 1, sizeof(*consumer.subscriptions));
    if (!consumer.subscriptions)
        r = -ENOMEM;
    for (size_t i = 0; i < consumer.subscription_count && r == 0; i++) {
        const json_t *item = json_array_get(subscriptions, i);

        r = read_subscription(item, &consumer.subscriptions[i]);
        if (r == -EINVAL)
            call_error(call, RESPONSE_SYSTEM_ERROR,
                       "group \"%s\": the subscription of topic \"%s\" is malformed",
                       SAFE(consumer.group), SAFE(json_get_str(item, "topic")));
    }
    if (r == 0 && groups_find_or_make(b, consumer.group, &config) && config.retry_queues > 0) {
        struct bytes name = topic_of_group(retry, "%RETRY%", consumer.group);

        if (name.len > 0 &&
            !topics_make(b, name, config.retry_queues, PERM_READ | PERM_WRITE,
                         json_get_bool(object, "unitMode", false) ? TOPIC_FLAG_UNIT_SUB : 0, NULL,
                         &err)) {
            call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
            r = -EINVAL;
        }
    }
    if (r == 0)
        r = clients_add_consumer(b->clients, who, &consumer, &changed);
    for (size_t i = 0; consumer.subscriptions && i < consumer.subscription_count; i++)
        tag_filter_destroy(&consumer.subscriptions[i].filter);
    free(consumer.subscriptions);
    if (changed)
        clients_notify(b->clients, consumer.group);
    if (r < 0 && r != -EINVAL)
        refuse(call, r, consumer.group);
    return r == 0;
}

static enum call_result heart_beat(struct call *call, const json_t *body)
{
    const json_t *producers = json_object_get(body, "producerDataSet");
    const json_t *consumers = json_object_get(body, "consumerDataSet");
    char peer[64];
    struct client_identity who = {
        .conn = call->to.conn,
        .client_id = json_get_str(body, "clientID"),
        .language = call->frame->language,
        .version = call->frame->version,
        .peer = conn_peer_text(call->conn, peer),
    };
    struct remoting_writer w;
    size_t i;

    if (who.client_id.len == 0 || who.client_id.len > CLIENT_ID_MAX)
        return call_error(call, RESPONSE_SYSTEM_ERROR,
                          "clientID \"%s\" is missing or longer than %d bytes", SAFE(who.client_id),
                          CLIENT_ID_MAX);
    for (i = 0; i < json_array_size(consumers); i++) {
        if (!take_consumer(call, &who, json_array_get(consumers, i)))
            return CALL_DONE;
    }
    for (i = 0; i < json_array_size(producers); i++) {
        struct bytes group = json_get_str(json_array_get(producers, i), "groupName");
        int r;

        if (!group_name_ok(group))
            return call_error(call, RESPONSE_SYSTEM_ERROR, "groupName \"%s\" is not allowed",
                              SAFE(group));
        r = clients_add_producer(call->broker->clients, &who, group);
        if (r < 0)
            return refuse(call, r, group);
    }
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_end(&w);
    return CALL_DONE;
}

/* The body as a JSON object, to be given back; NULL after an error reply. */
static json_t *load_body(struct call *call)
{
    struct err err = {0};
    json_t *body = json_dialect_load(call->frame->body, &err);

    if (json_is_object(body))
        return body;
    call_error(call, RESPONSE_SYSTEM_ERROR, "the body is no JSON object%s%s", body ? "" : ": ",
               body ? "" : err.text);
    json_decref(body);
    return NULL;
}

enum call_result serve_heart_beat(struct call *call)
{
    json_t *body = load_body(call);
    enum call_result result;

    if (!body)
        return CALL_DONE;
    result = heart_beat(call, body);
    json_decref(body);
    return result;
}

enum call_result serve_unregister_client(struct call *call)
{
    struct clients *clients = call->broker->clients;
    const struct bytes *producer = remoting_field(call->frame, "producerGroup");
    const struct bytes *consumer = remoting_field(call->frame, "consumerGroup");
    struct remoting_writer w;
    struct bytes client_id;

    if (!call_need_str(call, "clientID", &client_id))
        return CALL_DONE;
    if (producer && producer->len > 0)
        clients_remove_producer(clients, call->to.conn, *producer);
    if (consumer && consumer->len > 0 &&
        clients_remove_consumer(clients, call->to.conn, *consumer))
        clients_notify(clients, *consumer);
    call_begin(call, &w, RESPONSE_SUCCESS, true);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_check_client_config(struct call *call)
{
    json_t *body = load_body(call);
    const json_t *data;
    struct bytes type;
    bool ok;

    if (!body)
        return CALL_DONE;
    data = json_object_get(body, "subscriptionData");
    type = json_get_str(data, "expressionType");
    ok = type.len == 0 || bytes_is(type, "TAG");
    if (ok)
        call_ok(call);
    else
        call_error(call, RESPONSE_SYSTEM_ERROR,
                   "the broker does not support consumer to filter message by %s", SAFE(type));
    json_decref(body);
    return CALL_DONE;
}

static void add_id(void *ctx, const struct client_member *m)
{
    jout_bytes(ctx, m->client_id);
}

enum call_result serve_consumer_list(struct call *call)
{
    struct remoting_writer w;
    struct json_out j;
    struct bytes group;
    bool found;

    if (!call_need_str(call, "consumerGroup", &group))
        return CALL_DONE;
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "consumerIdList");
    jout_array(&j);
    found = clients_each_consumer(call->broker->clients, group, add_id, &j);
    jout_array_end(&j);
    jout_object_end(&j);
    if (!found) {
        remoting_abort(&w);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "no consumer for this group, %s",
                          SAFE(group));
    }
    remoting_end(&w);
    return CALL_DONE;
}

static void add_connection(void *ctx, const struct client_member *m)
{
    struct json_out *j = ctx;

    jout_object(j);
    jout_kv_str(j, "clientAddr", m->peer);
    jout_kv_bytes(j, "clientId", m->client_id);
    jout_kv_str(j, "language", remoting_language_name(m->language));
    jout_kv_i64(j, "version", m->version);
    jout_object_end(j);
}

static void add_tag(void *ctx, struct bytes tag)
{
    jout_bytes(ctx, tag);
}

static void add_subscription(void *ctx, const struct client_subscription_data *s)
{
    struct json_out *j = ctx;
    const int32_t *codes = s->filter.many ? s->filter.many : s->filter.few;

    jout_key_bytes(j, s->topic);
    jout_object(j);
    jout_kv_bool(j, "classFilterMode", s->class_filter_mode);
    jout_key(j, "codeSet");
    jout_array(j);
    for (unsigned i = 0; i < s->filter.count; i++)
        jout_i64(j, codes[i]);
    jout_array_end(j);
    jout_kv_bytes(j, "expressionType", s->expression_type);
    jout_kv_bytes(j, "subString", s->sub_string);
    jout_kv_i64(j, "subVersion", s->version);
    jout_key(j, "tagsSet");
    jout_array(j);
    if (!s->filter.all)
        tag_filter_each_tag(s->sub_string, add_tag, j);
    jout_array_end(j);
    jout_kv_bytes(j, "topic", s->topic);
    jout_object_end(j);
}

enum call_result serve_consumer_connections(struct call *call)
{
    struct clients *clients = call->broker->clients;
    struct client_group_view view;
    struct remoting_writer w;
    struct json_out j;
    struct bytes group;

    if (!call_need_str(call, "consumerGroup", &group))
        return CALL_DONE;
    if (!clients_group_view(clients, group, &view, NULL, NULL))
        return call_error(call, RESPONSE_CONSUMER_NOT_ONLINE,
                          "the consumer group[%s] not online", SAFE(group));
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "connectionSet");
    jout_array(&j);
    clients_each_consumer(clients, group, add_connection, &j);
    jout_array_end(&j);
    jout_kv_str(&j, "consumeFromWhere", from_names[view.from_where]);
    jout_kv_str(&j, "consumeType", type_names[view.type]);
    jout_kv_str(&j, "messageModel", model_names[view.model]);
    jout_key(&j, "subscriptionTable");
    jout_object(&j);
    clients_group_view(clients, group, &view, add_subscription, &j);
    jout_object_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_producer_connections(struct call *call)
{
    struct remoting_writer w;
    struct json_out j;
    struct bytes group;
    bool found;

    if (!call_need_str(call, "producerGroup", &group))
        return CALL_DONE;
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "connectionSet");
    jout_array(&j);
    found = clients_each_producer(call->broker->clients, group, add_connection, &j);
    jout_array_end(&j);
    jout_object_end(&j);
    if (!found) {
        remoting_abort(&w);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "the producer group[%s] not exist",
                          SAFE(group));
    }
    remoting_end(&w);
    return CALL_DONE;
}
