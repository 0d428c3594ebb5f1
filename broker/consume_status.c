/* consume_status.c - how far topics reach and how far groups have come: requests 202, 208, 300.
 * They run on reader threads, since store times are read from the log.
 */
#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

#include "broker/clients.h"
#include "broker/consume_rates.h"
#include "broker/status.h"
#include "common/clock.h"
#include "common/json.h"

/* Store time of the message before `offset`; 0 when there is none. */
static int64_t time_before(struct broker *b, uint32_t queue, int64_t offset)
{
    int64_t ms =
        queue == QUEUE_NONE || offset <= 0 ? 0 : store_time_at(b->store, queue, offset - 1);

    return ms < 0 ? 0 : ms;
}

enum call_result serve_topic_stats(struct call *call)
{
    struct broker *b = call->broker;
    struct topic_config config;
    struct remoting_writer w;
    struct topic *topic;
    struct bytes name;
    struct json_out j;

    if (!call_need_str(call, "topic", &name))
        return CALL_DONE;
    topic = metadata_topic(b->metadata, name, &config);
    if (!topic)
        return call_error(call, RESPONSE_TOPIC_NOT_EXIST, "topic[%s] not exist", SAFE(name));
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "offsetTable");
    jout_object(&j);
    for (int32_t id = 0; id < config.write_queues; id++) {
        uint32_t queue = store_queue(b->store, topic, id);
        struct queue_range range = store_range_settled(b->store, queue);

        jout_key_mq(&j, bytes_str(b->settings->config.broker_name), id, name);
        jout_object(&j);
        jout_kv_i64(&j, "lastUpdateTimestamp", time_before(b, queue, range.max));
        jout_kv_i64(&j, "maxOffset", range.max);
        jout_kv_i64(&j, "minOffset", range.min);
        jout_object_end(&j);
    }
    jout_object_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    return CALL_DONE;
}

/* A set of names, gathered under a lock and worked on without it. */
struct name {
    UT_hash_handle hh;
    size_t len;
    char text[];
};
struct names {
    struct name *set;
    bool failed;
};

static void names_add(struct names *names, struct bytes text)
{
    struct name *n;

    HASH_FIND(hh, names->set, text.at, text.len, n);
    if (n)
        return;
    n = calloc(1, sizeof(*n) + text.len + 1);
    if (!n) {
        names->failed = true;
        return;
    }
    memcpy(n->text, text.at, text.len);
    n->len = text.len;
    HASH_ADD_KEYPTR(hh, names->set, n->text, n->len, n);
}

static void names_free(struct names *names)
{
    struct name *n, *next;

    HASH_ITER(hh, names->set, n, next)
    {
        HASH_DELETE(hh, names->set, n);
        free(n);
    }
}

static void add_topic_name(void *ctx, struct bytes topic, struct bytes group,
                           const int64_t *offsets, int32_t count)
{
    (void)group;
    (void)offsets;
    (void)count;
    names_add(ctx, topic);
}

static void add_group_name(void *ctx, struct bytes topic, struct bytes group,
                           const int64_t *offsets, int32_t count)
{
    (void)topic;
    (void)offsets;
    (void)count;
    names_add(ctx, group);
}

static void add_online_group(void *ctx, struct bytes group)
{
    names_add(ctx, group);
}

static void add_topic_progress(struct call *call, struct json_out *j, struct bytes name,
                               struct bytes group)
{
    struct broker *b = call->broker;
    struct topic_config config;
    struct topic *topic = metadata_topic(b->metadata, name, &config);

    if (!topic)
        return;
    /* What an online group no longer subscribes to is no lag of its. */
    if (clients_group_online(b->clients, group) &&
        !clients_group_subscribes(b->clients, group, name))
        return;
    for (int32_t id = 0; id < config.read_queues; id++) {
        uint32_t queue = store_queue(b->store, topic, id);
        int64_t offset = metadata_offset(b->metadata, name, group, id);

        if (offset < 0)
            offset = 0;
        jout_key_mq(j, bytes_str(b->settings->config.broker_name), id, name);
        jout_object(j);
        jout_kv_i64(j, "brokerOffset", store_range(b->store, queue).max);
        jout_kv_i64(j, "consumerOffset", offset);
        jout_kv_i64(j, "lastTimestamp", time_before(b, queue, offset));
        jout_object_end(j);
    }
}

static double consume_tps(struct broker *b, const struct name *topics, struct bytes group)
{
    int64_t now_ms = clock_mono_ms();
    double sum = 0;

    for (const struct name *n = topics; n; n = n->hh.next) {
        const struct topic *topic = metadata_topic(b->metadata, bytes_of(n->text, n->len), NULL);

        if (topic)
            sum += consume_rates_of(b->consume_rates, topic->index, group, now_ms);
    }
    return sum;
}

enum call_result serve_consume_stats(struct call *call)
{
    struct broker *b = call->broker;
    const struct bytes *topic = remoting_field(call->frame, "topic");
    const struct bytes *list = remoting_field(call->frame, "topicList");
    struct names topics = {0};
    struct name *n, *next;
    struct remoting_writer w;
    struct bytes group;
    struct json_out j;

    if (!call_need_str(call, "consumerGroup", &group))
        return CALL_DONE;
    if (topic && topic->len > 0) {
        names_add(&topics, *topic);
    } else if (list && list->len > 0) {
        struct bytes rest = *list;

        while (rest.len > 0) {
            const uint8_t *end = memchr(rest.at, ';', rest.len);
            size_t len = end ? (size_t)(end - rest.at) : rest.len;

            if (len > 0)
                names_add(&topics, bytes_of(rest.at, len));
            rest.at += len + (end ? 1 : 0);
            rest.len -= len + (end ? 1 : 0);
        }
    } else {
        metadata_each_offset(b->metadata, bytes_of(NULL, 0), group, add_topic_name, &topics);
    }
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "consumeTps");
    jout_double(&j, consume_tps(b, topics.set, group));
    jout_key(&j, "offsetTable");
    jout_object(&j);
    HASH_ITER(hh, topics.set, n, next)
    add_topic_progress(call, &j, bytes_of(n->text, n->len), group);
    jout_object_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    names_free(&topics);
    return CALL_DONE;
}

enum call_result serve_topic_consume_by_who(struct call *call)
{
    struct broker *b = call->broker;
    struct names groups = {0};
    struct name *n, *next;
    struct remoting_writer w;
    struct bytes topic;
    struct json_out j;

    if (!call_need_str(call, "topic", &topic))
        return CALL_DONE;
    clients_each_group_of_topic(b->clients, topic, add_online_group, &groups);
    metadata_each_offset(b->metadata, topic, bytes_of(NULL, 0), add_group_name, &groups);
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "groupList");
    jout_array(&j);
    HASH_ITER(hh, groups.set, n, next)
    jout_bytes(&j, bytes_of(n->text, n->len));
    jout_array_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    names_free(&groups);
    return CALL_DONE;
}
