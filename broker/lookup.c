/* lookup.c - requests that look for messages: see lookup.h. */
#include "broker/lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/clients.h"
#include "broker/topics.h"
#include "common/json.h"

/* --- by key --- */

static bool read_query(struct call *call, struct store_query *q)
{
    struct broker_config *c = &call->broker->settings->config;
    int64_t most = settings_int(call->broker->settings, &c->max_msgs_num_batch);
    bool unique = false;
    int32_t max;

    if (!call_need_str(call, "topic", &q->topic) || !call_need_str(call, "key", &q->key) ||
        !call_need_i32(call, "maxNum", &max) ||
        !call_need_i64(call, "beginTimestamp", &q->begin_ms) ||
        !call_need_i64(call, "endTimestamp", &q->end_ms))
        return false;
    remoting_get_bool(call->frame, "_UNIQUE_KEY_QUERY", &unique);
    if (unique) /* the client means one message and does not say how many */
        max = (int32_t)settings_int(call->broker->settings, &c->default_query_max_num);
    else if (max > most)
        max = (int32_t)most;
    q->max = max > LOOKUP_MAX ? LOOKUP_MAX : max;
    return true;
}

/* Both outcomes have the fields. */
static enum call_result answer_query(struct call *call, const struct store_answer *answer,
                                     struct bytes body, const char *remark)
{
    struct remoting_writer w;

    reply_begin(&w, call->out, &call->to,
                answer->messages > 0 ? RESPONSE_SUCCESS : RESPONSE_QUERY_NOT_FOUND,
                bytes_str(remark), true);
    remoting_put_i64(&w, "indexLastUpdatePhyoffset", answer->newest_offset);
    remoting_put_i64(&w, "indexLastUpdateTimestamp", answer->newest_ms);
    remoting_body(&w);
    buf_add(call->out, body.at, body.len);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_query_message(struct call *call)
{
    struct store_query query;
    struct store_answer answer = {0};
    struct buf found = {0};
    char remark[480] = "";
    enum call_result result;
    int r = 0;

    if (!read_query(call, &query))
        return CALL_DONE;
    if (query.max > 0)
        r = store_query(call->broker->store, &query, &found, &answer);
    if (r == -ENOTSUP) {
        snprintf(remark, sizeof(remark),
                 "this broker keeps no index of keys: messageIndexEnable=false");
    } else if (r < 0) {
        buf_destroy(&found);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    } else if (answer.messages == 0) {
        int n = snprintf(remark, sizeof(remark),
                         "no message of topic \"%s\" has the key \"%s\" in that time",
                         SAFE(query.topic), SAFE(query.key));
        if (answer.behind > 0)
            snprintf(remark + n, sizeof(remark) - (size_t)n,
                     "; the index is still %" PRIu64 " bytes of log behind", answer.behind);
    }
    result = answer_query(call, &answer, buf_bytes(&found), remark);
    buf_destroy(&found);
    return result;
}

/* --- by id, by time --- */

enum call_result serve_view_message(struct call *call)
{
    struct remoting_writer w;
    struct record record;
    int64_t offset;
    int r;

    if (!call_need_i64(call, "offset", &offset))
        return CALL_DONE;
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    r = offset < 0 ? -ENOENT
                   : store_read_record(call->broker->store, (uint64_t)offset, call->out, &record);
    if (r < 0) {
        remoting_abort(&w);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "no message at log offset %lld",
                          (long long)offset);
    }
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_search_offset(struct call *call)
{
    enum store_boundary how = STORE_NEAREST;
    const struct bytes *boundary = remoting_field(call->frame, "boundaryType");
    struct bytes topic;
    int32_t queue_id;
    uint32_t queue;
    int64_t ms;

    if (!call_need_str(call, "topic", &topic) || !call_need_i32(call, "queueId", &queue_id) ||
        !call_need_i64(call, "timestamp", &ms))
        return CALL_DONE;
    if (boundary && boundary->len > 0) {
        if (bytes_is(*boundary, "LOWER") || bytes_is(*boundary, "lower"))
            how = STORE_LOWER;
        else if (bytes_is(*boundary, "UPPER") || bytes_is(*boundary, "upper"))
            how = STORE_UPPER;
        else
            return call_error(call, RESPONSE_SYSTEM_ERROR,
                              "boundaryType is \"%s\", expected LOWER or UPPER", SAFE(*boundary));
    }
    queue = topics_queue(call->broker, topic, queue_id);
    return call_answer_i64(
        call, "offset",
        queue == QUEUE_NONE ? 0 : store_offset_by_time(call->broker->store, queue, ms, how));
}

enum call_result serve_earliest_store_time(struct call *call)
{
    struct broker *b = call->broker;
    struct bytes topic;
    int32_t queue_id;
    uint32_t queue;

    if (!call_need_str(call, "topic", &topic) || !call_need_i32(call, "queueId", &queue_id))
        return CALL_DONE;
    queue = topics_queue(b, topic, queue_id);
    return call_answer_i64(
        call, "timestamp",
        queue == QUEUE_NONE
            ? -1
            : store_time_at(b->store, queue, store_range_settled(b->store, queue).min));
}

/* --- into a queue --- */

static void put_entries(struct call *call, struct json_out *j, uint32_t queue, int64_t index,
                        int64_t count)
{
    struct queue_entry entry;

    if (count > LOOKUP_ENTRIES_MAX)
        count = LOOKUP_ENTRIES_MAX;
    jout_key(j, "queueData");
    jout_array(j);
    for (int64_t i = 0; i < count; i++) {
        if (store_entry(call->broker->store, queue, index + i, &entry) != 0)
            break;
        jout_object(j);
        jout_kv_bool(j, "eval", false);
        jout_kv_i64(j, "physicOffset", entry.log_offset);
        jout_kv_i64(j, "physicSize", entry.size);
        jout_kv_i64(j, "tagsCode", entry.tags_code);
        jout_object_end(j);
    }
    jout_array_end(j);
}

struct subscription_of {
    struct bytes topic;
    struct json_out *j;
};

static void put_subscription(void *ctx, const struct client_subscription_data *s)
{
    const struct subscription_of *of = ctx;

    if (!bytes_equal(s->topic, of->topic))
        return;
    jout_key(of->j, "subscriptionData");
    clients_put_subscription(of->j, s);
}

enum call_result serve_query_consume_queue(struct call *call)
{
    struct broker *b = call->broker;
    const struct bytes *group = remoting_field(call->frame, "consumerGroup");
    struct client_group_view view;
    struct subscription_of of;
    struct queue_range range;
    struct remoting_writer w;
    struct json_out j;
    int32_t queue_id, count;
    uint32_t queue;
    int64_t index;

    if (!call_need_str(call, "topic", &of.topic) || !call_need_i32(call, "queueId", &queue_id) ||
        !call_need_i64(call, "index", &index) || !call_need_i32(call, "count", &count))
        return CALL_DONE;
    queue = topics_queue(b, of.topic, queue_id);
    if (queue == QUEUE_NONE)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "topic \"%s\" has no queue %d here",
                          SAFE(of.topic), queue_id);
    range = store_range_settled(b->store, queue);
    if (index < range.min || index >= range.max)
        return call_error(call, RESPONSE_SUCCESS,
                          "queue %d of topic \"%s\" has entries %lld to %lld, none at %lld",
                          queue_id, SAFE(of.topic), (long long)range.min, (long long)range.max - 1,
                          (long long)index);
    if (group && group->len == 0)
        group = NULL;
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    if (group && clients_group_subscribes(b->clients, *group, of.topic))
        jout_kv_str(&j, "filterData", "null"); /* of SQL92 filters, which there are none of */
    else if (group)
        jout_kv_str(&j, "filterData", "the group is offline or does not subscribe to the topic");
    jout_kv_i64(&j, "maxQueueIndex", range.max);
    jout_kv_i64(&j, "minQueueIndex", range.min);
    put_entries(call, &j, queue, index, count);
    of.j = &j;
    if (group)
        clients_group_view(b->clients, *group, &view, put_subscription, &of);
    jout_object_end(&j);
    remoting_end(&w);
    return CALL_DONE;
}
