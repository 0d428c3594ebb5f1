/* topic_requests.c - requests that make, change, delete and list topics and groups. They run on
 * reader threads; a change is answered when it is on the disk, one of a topic when the name servers
 * know it.
 */
#include <errno.h>

#include "broker/registrar.h"
#include "broker/replication/replication.h"
#include "broker/topics.h"
#include "common/json.h"

static bool is_slave(struct call *call)
{
    if (!replication_is_slave(call->broker->replication))
        return false;
    call_error(call, RESPONSE_SYSTEM_ERROR,
               "Can't modify topic or subscription group from slave broker, please execute it from "
               "master broker.");
    return true;
}

static bool user_topic(struct call *call, struct bytes name)
{
    if (!topic_name_ok(name)) {
        call_error(call, RESPONSE_SYSTEM_ERROR,
                   "topic \"%s\" is not allowed: 1 to %d of the letters a-z A-Z 0-9 _ - | %%",
                   SAFE(name), TOPIC_NAME_MAX);
        return false;
    }
    if (topic_is_system(call->broker, name)) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "topic \"%s\" is a system topic", SAFE(name));
        return false;
    }
    return true;
}

static bool in_range(struct call *call, const char *key, int32_t value, int32_t low, int32_t high)
{
    if (value >= low && value <= high)
        return true;
    call_error(call, RESPONSE_SYSTEM_ERROR, "%s is %d, expected %d to %d", key, value, low, high);
    return false;
}

enum call_result serve_update_topic(struct call *call)
{
    struct broker *b = call->broker;
    struct topic_config config = {.sys_flag = 0};
    const struct bytes *filter = remoting_field(call->frame, "topicFilterType");
    struct bytes name;
    uint64_t sequence = 0;
    bool changed = false;
    int64_t sys_flag;
    int r;

    if (is_slave(call) || !call_need_str(call, "topic", &name) || !user_topic(call, name) ||
        !call_need_i32(call, "readQueueNums", &config.read_queues) ||
        !call_need_i32(call, "writeQueueNums", &config.write_queues) ||
        !call_need_i32(call, "perm", &config.perm) ||
        !call_opt_i64(call, "topicSysFlag", &sys_flag, 0) ||
        !in_range(call, "readQueueNums", config.read_queues, 0, TOPIC_QUEUES_MAX) ||
        !in_range(call, "writeQueueNums", config.write_queues, 0, TOPIC_QUEUES_MAX) ||
        !in_range(call, "perm", config.perm, 0, 15))
        return CALL_DONE;
    config.sys_flag = (int32_t)sys_flag;
    if (remoting_get_bool(call->frame, "order", &config.order) != 0)
        config.order = false;
    if (filter && bytes_is(*filter, "MULTI_TAG"))
        config.multi_tag = true;
    else if (filter && filter->len > 0 && !bytes_is(*filter, "SINGLE_TAG"))
        return call_error(call, RESPONSE_SYSTEM_ERROR,
                          "topicFilterType is \"%s\", expected SINGLE_TAG or MULTI_TAG",
                          SAFE(*filter));
    r = metadata_topic_put(b->metadata, name, &config, store_end(b->store), &sequence, &changed,
                           NULL);
    /* The way to mend a route that a name server has lost: it is told again. */
    if (r == 0 && !changed)
        r = metadata_topic_touch(b->metadata, name, &sequence);
    if (r == -ENOSPC)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "there are %d topics already, no more fit",
                          TOPICS_MAX);
    if (r == -EAGAIN)
        return call_error(call, RESPONSE_SYSTEM_BUSY,
                          "the metadata journal cannot be written; see the broker's log");
    if (r == -EBUSY)
        return call_error(call, RESPONSE_SYSTEM_BUSY,
                          "topic \"%s\" is being deleted; try again in a moment", SAFE(name));
    if (r < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "topic \"%s\" cannot be made: %s",
                          SAFE(name), strerror(-r));
    return call_ok_when_durable(call, sequence, true);
}

enum call_result serve_delete_topic(struct call *call)
{
    struct broker *b = call->broker;
    struct bytes name;
    uint64_t sequence = 0;
    int r;

    if (is_slave(call) || !call_need_str(call, "topic", &name) || !user_topic(call, name))
        return CALL_DONE;
    r = store_delete_topic(b->store, name, &sequence);
    if (r == -ENOENT)
        return call_ok(call);
    if (r == -EAGAIN || r == -ETIMEDOUT)
        return call_error(call, RESPONSE_SYSTEM_BUSY,
                          "the metadata journal cannot be written; see the broker's log%s",
                          r == -ETIMEDOUT ? ". The topic is deleted, but may be there again after "
                                            "a crash; try again"
                                          : "");
    if (r == -EBUSY)
        return call_error(call, RESPONSE_SYSTEM_BUSY, "topic \"%s\" is being deleted already",
                          SAFE(name));
    if (r < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "topic \"%s\" cannot be deleted: %s",
                          SAFE(name), strerror(-r));
    return call_ok_when_durable(call, sequence, true);
}

static enum call_result answer_json(struct call *call, bool with_fields,
                                    void (*write)(struct metadata *m, struct buf *out))
{
    struct remoting_writer w;

    call_begin(call, &w, RESPONSE_SUCCESS, with_fields);
    remoting_body(&w);
    write(call->broker->metadata, call->out);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_all_topics(struct call *call)
{
    return answer_json(call, true, metadata_topics_json);
}

enum call_result serve_all_groups(struct call *call)
{
    return answer_json(call, false, metadata_groups_json);
}

struct name_list {
    struct broker *broker;
    struct json_out *json;
};

static void add_if_system(void *ctx, const struct topic *topic, const struct topic_config *config)
{
    struct name_list *list = ctx;

    (void)config;
    if (topic_is_system(list->broker, bytes_of(topic->name, topic->name_len)))
        jout_str(list->json, topic->name);
}

enum call_result serve_system_topics(struct call *call)
{
    struct remoting_writer w;
    struct json_out j;
    struct name_list list = {call->broker, &j};

    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "topicList");
    jout_array(&j);
    metadata_each_topic(call->broker->metadata, add_if_system, &list, NULL);
    jout_array_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    return CALL_DONE;
}

/* --- groups --- */

/* Reads an integer member within bounds; false after an error reply. */
static bool member_in_range(struct call *call, const json_t *body, const char *key, int64_t low,
                            int64_t high, int64_t *value)
{
    *value = json_get_i64(body, key, *value);
    if (*value >= low && *value <= high)
        return true;
    call_error(call, RESPONSE_SYSTEM_ERROR, "%s is %lld, expected %lld to %lld", key,
               (long long)*value, (long long)low, (long long)high);
    return false;
}

static enum call_result update_group(struct call *call, const json_t *body)
{
    struct broker *b = call->broker;
    struct group_config config = group_config_default();
    struct bytes name = json_get_str(body, "groupName");
    int64_t retry_queues = config.retry_queues, retry_max = config.retry_max_times;
    uint64_t sequence = 0;
    int r;

    if (!group_name_ok(name))
        return call_error(
            call, RESPONSE_SYSTEM_ERROR,
            "groupName \"%s\" is not allowed: 1 to %d of the letters a-z A-Z 0-9 _ - | %%",
            SAFE(name), GROUP_NAME_MAX);
    if (!member_in_range(call, body, "retryQueueNums", 0, TOPIC_QUEUES_MAX, &retry_queues) ||
        !member_in_range(call, body, "retryMaxTimes", -1, INT32_MAX, &retry_max))
        return CALL_DONE;
    config.retry_queues = (int32_t)retry_queues;
    config.retry_max_times = (int32_t)retry_max;
    config.consume_enable = json_get_bool(body, "consumeEnable", config.consume_enable);
    config.consume_from_min_enable =
        json_get_bool(body, "consumeFromMinEnable", config.consume_from_min_enable);
    config.consume_broadcast_enable =
        json_get_bool(body, "consumeBroadcastEnable", config.consume_broadcast_enable);
    config.notify_ids_changed =
        json_get_bool(body, "notifyConsumerIdsChangedEnable", config.notify_ids_changed);
    config.broker_id = json_get_i64(body, "brokerId", config.broker_id);
    config.which_broker_when_slow =
        json_get_i64(body, "whichBrokerWhenConsumeSlowly", config.which_broker_when_slow);
    r = metadata_group_put(b->metadata, name, &config, &sequence, NULL);
    if (r < 0)
        return call_error(call, r == -EAGAIN ? RESPONSE_SYSTEM_BUSY : RESPONSE_SYSTEM_ERROR,
                          "group \"%s\" cannot be stored: %s", SAFE(name), strerror(-r));
    return call_ok_when_durable(call, sequence, false);
}

enum call_result serve_update_group(struct call *call)
{
    struct err err = {0};
    enum call_result result;
    json_t *body;

    if (is_slave(call))
        return CALL_DONE;
    body = json_dialect_load(call->frame->body, &err);
    if (!json_is_object(body)) {
        json_decref(body);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "the body is no JSON object%s%s",
                          body ? "" : ": ", body ? "" : err.text);
    }
    result = update_group(call, body);
    json_decref(body);
    return result;
}

enum call_result serve_delete_group(struct call *call)
{
    struct bytes name;
    bool offsets = false;
    uint64_t sequence = 0;
    int r;

    if (is_slave(call) || !call_need_str(call, "groupName", &name))
        return CALL_DONE;
    if (remoting_get_bool(call->frame, "removeOffset", &offsets) == REMOTING_ABSENT)
        remoting_get_bool(call->frame, "cleanOffset", &offsets);
    r = metadata_group_delete(call->broker->metadata, name, offsets, &sequence);
    if (r < 0 && r != -ENOENT)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "group \"%s\" cannot be deleted: %s",
                          SAFE(name), strerror(-r));
    return r == 0 ? call_ok_when_durable(call, sequence, false) : call_ok(call);
}
