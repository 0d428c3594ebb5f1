/* client_requests.c - heartbeats and what is asked about clients: see clients.h. */
#include <errno.h>
#include <stdlib.h>

#include "broker/clients.h"
#include "broker/replication/replication.h"
#include "broker/topics.h"
#include "common/json.h"

/* A remark for what clients_add_* returned. */
static enum call_result refuse(struct call *call, int r, struct bytes group)
{
    return call_error(call, r == -ENOSPC ? RESPONSE_SYSTEM_BUSY : RESPONSE_SYSTEM_ERROR,
                      "group \"%s\" cannot be registered: %s", SAFE(group),
                      r == -ENOSPC ? "too many clients, groups or subscriptions" : "out of memory");
}

/* True when the consumer was taken in; else the reply has been written. */
static bool take_consumer(struct call *call, const struct client_identity *who,
                          struct client_consumer *consumer)
{
    struct broker *b = call->broker;
    struct group_config config;
    char retry[PREFIXED_MAX];
    struct err err = {0};
    bool changed = false;
    int r;

    if (!replication_is_slave(b->replication) && groups_find_or_make(b, consumer->group, &config) &&
        config.retry_queues > 0) {
        struct bytes name = topic_of_group(retry, "%RETRY%", consumer->group);

        if (name.len > 0 &&
            !topics_make(b, name, config.retry_queues, PERM_READ | PERM_WRITE,
                         consumer->unit_mode ? TOPIC_FLAG_UNIT_SUB : 0, NULL, &err)) {
            call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
            return false;
        }
    }
    r = clients_add_consumer(b->clients, who, consumer, &changed);
    if (changed)
        clients_notify(b->clients, consumer->group);
    if (r < 0)
        refuse(call, r, consumer->group);
    return r == 0;
}

static enum call_result take_heartbeat(struct call *call, struct heartbeat *h)
{
    char peer[64];
    struct client_identity who = {
        .conn = call->to.conn,
        .client_id = h->client_id,
        .language = call->frame->language,
        .version = call->frame->version,
        .peer = conn_peer_text(call->conn, peer),
    };

    for (size_t i = 0; i < h->consumer_count; i++) {
        if (!take_consumer(call, &who, &h->consumers[i]))
            return CALL_DONE;
    }
    for (size_t i = 0; i < h->producer_count; i++) {
        int r = clients_add_producer(call->broker->clients, &who, h->producers[i]);

        if (r < 0)
            return refuse(call, r, h->producers[i]);
    }
    return call_ok(call);
}

enum call_result serve_heart_beat(struct call *call)
{
    struct heartbeat h;
    struct err err = {0};
    enum call_result result;

    if (heartbeat_parse(call->frame->body, &h, &err) < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "heartbeat: %s", err.text);
    result = take_heartbeat(call, &h);
    heartbeat_destroy(&h);
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
    if (consumer && consumer->len > 0 && clients_remove_consumer(clients, call->to.conn, *consumer))
        clients_notify(clients, *consumer);
    call_begin(call, &w, RESPONSE_SUCCESS, true);
    remoting_end(&w);
    return CALL_DONE;
}

/* The body as a JSON object, to be given back; NULL after an error reply. */
static json_t *load_body(struct call *call)
{
    struct err err = {0};
    json_t *body;

    if (call->frame->body.len > HEARTBEAT_BYTES_MAX) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "the body has %zu bytes, at most %d are allowed",
                   call->frame->body.len, HEARTBEAT_BYTES_MAX);
        return NULL;
    }
    body = json_dialect_load(call->frame->body, &err);
    if (json_is_object(body))
        return body;
    call_error(call, RESPONSE_SYSTEM_ERROR, "the body is no JSON object%s%s", body ? "" : ": ",
               body ? "" : err.text);
    json_decref(body);
    return NULL;
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
    call_begin(call, &w, RESPONSE_SUCCESS, true);
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
        return call_refuse(call, RESPONSE_SYSTEM_ERROR, "no consumer for this group, %s",
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

void clients_put_subscription(struct json_out *j, const struct client_subscription_data *s)
{
    const int32_t *codes = s->filter.many ? s->filter.many : s->filter.few;

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

static void add_subscription(void *ctx, const struct client_subscription_data *s)
{
    jout_key_bytes(ctx, s->topic);
    clients_put_subscription(ctx, s);
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
        return call_error(call, RESPONSE_CONSUMER_NOT_ONLINE, "the consumer group[%s] not online",
                          SAFE(group));
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "connectionSet");
    jout_array(&j);
    clients_each_consumer(clients, group, add_connection, &j);
    jout_array_end(&j);
    jout_kv_str(&j, "consumeFromWhere", consume_from_names[view.from_where]);
    jout_kv_str(&j, "consumeType", consume_type_names[view.type]);
    jout_kv_str(&j, "messageModel", message_model_names[view.model]);
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
