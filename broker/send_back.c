/* send_back.c - CONSUMER_SEND_MSG_BACK: a message that failed is stored again, to be retried later
 * or to rest among the dead letters. Runs on a reader thread: the message is read by its log
 * offset.
 */
#include "broker/send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/replication/replication.h"
#include "broker/delay.h"
#include "broker/forward.h"
#include "broker/gate.h"
#include "broker/topics.h"

struct back {
    struct bytes group;
    int64_t log_offset;
    int32_t delay_level;
    int64_t max_reconsume;
    bool has_max_reconsume, unit_mode;
};

static bool read_header(struct call *call, struct back *back)
{
    int64_t level;
    const struct bytes *max = remoting_field(call->frame, "maxReconsumeTimes");

    if (!call_need_i64(call, "offset", &back->log_offset) ||
        !call_need_str(call, "group", &back->group) ||
        !call_opt_i64(call, "delayLevel", &level, 0) ||
        !call_opt_i64(call, "maxReconsumeTimes", &back->max_reconsume, 0))
        return false;
    back->has_max_reconsume = max && max->len > 0;
    back->delay_level = level < 0 ? -1 : level > 1000 ? 1000 : (int32_t)level;
    if (remoting_get_bool(call->frame, "unitMode", &back->unit_mode) != 0)
        back->unit_mode = false;
    return true;
}

/* The property text of the copy. */
static void copy_properties(struct buf *out, const struct record *record, int32_t level)
{
    static const char *const without[] = {"__CRC32#", "WAIT", "DELAY", NULL};
    struct properties_known known;
    char text[RECORD_ID_MAX];
    size_t len;

    properties_scan(record->properties, &known);
    properties_copy(out, record->properties, without);
    if (known.retry_topic.len == 0)
        properties_add(out, 0, BYTES_LIT("RETRY_TOPIC"), record->topic);
    if (known.origin_message_id.len == 0) {
        len = record_id_format(text, &record->store_host, record->log_offset);
        properties_add(out, 0, BYTES_LIT("ORIGIN_MESSAGE_ID"), bytes_of(text, len));
    }
    properties_add(out, 0, BYTES_LIT("WAIT"), BYTES_LIT("false"));
    if (level > 0) {
        len = (size_t)snprintf(text, sizeof(text), "%d", level);
        properties_add(out, 0, BYTES_LIT("DELAY"), bytes_of(text, len));
    }
}

static enum call_result store_copy(struct call *call, const struct record *record,
                                   struct topic *topic, int32_t queue_id, int32_t level)
{
    struct broker *b = call->broker;
    struct properties_known known;
    struct store_position position;
    struct store_message message = {
        .topic = topic,
        .queue_id = queue_id,
        .flag = record->flag,
        .sys_flag = record->sys_flag & ~(RECORD_BORN_V6 | RECORD_STORE_V6),
        .born_ms = record->born_ms,
        .born_host = record->born_host,
        .reconsume_times = record->reconsume_times + 1,
        .body = record->body,
    };
    struct buf text = {0}, delayed = {0};
    const char *full = NULL;
    char remark[480];
    int r;

    properties_scan(record->properties, &known);
    message.tags_code = properties_tags_code(known.tags);
    copy_properties(&text, record, level);
    message.properties = buf_bytes(&text);
    r = text.failed ? -ENOMEM : 0;
    if (r == 0 && level > 0)
        r = send_divert_delayed(b, &message, level, &delayed);
    if (r == 0)
        r = store_append(b->store, &message, 1, &position, &full);
    buf_destroy(&text);
    buf_destroy(&delayed);
    if (r == STORE_CLOSED && forward_hold(call))
        return CALL_LATER;
    if (r != 0) {
        int32_t code = send_store_failure(b, r, full, remark, sizeof(remark));

        return call_error(call, code, "%s", remark);
    }
    if (message.delay_level > 0)
        delay_arrived(b->delay, message.delay_level);
    store_write(b->store);
    /* The copy is as safe as any message before the consumer hears of it: it will forget the
     * original. */
    r = gate_post(b,
                  &(struct gate_reply){
                      .to = call->to,
                      .kind = GATE_BACK,
                      .count = 1,
                      .log_offset = position.log_offset,
                      .log_end = position.log_end,
                  },
                  true);
    if (r < 0)
        return call_error(call, RESPONSE_SYSTEM_BUSY, "too many replies wait for the disk");
    return CALL_LATER;
}

enum call_result serve_send_back(struct call *call)
{
    struct broker *b = call->broker;
    struct group_config group;
    struct topic_config config;
    struct topic *topic;
    struct record record;
    struct buf whole = {0};
    struct err err = {0};
    struct back back;
    char name[PREFIXED_MAX];
    int64_t limit;
    int32_t queue_id = 0, queues, level;
    enum call_result result;

    if (!read_header(call, &back))
        return CALL_DONE;
    if (replication_is_slave(b->replication) && forward_hold(call))
        return CALL_LATER;
    if (replication_is_slave(b->replication))
        return call_error(call, RESPONSE_SYSTEM_ERROR, "a slave takes no messages");
    if (!groups_find_or_make(b, back.group, &group))
        return call_error(call, RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST,
                          "subscription group \"%s\" does not exist", SAFE(back.group));
    if (!(settings_int(b->settings, &b->settings->config.broker_permission) & PERM_WRITE))
        return call_error(call, RESPONSE_NO_PERMISSION, "broker \"%s\" may not be written to",
                          b->settings->config.broker_name);
    if (group.retry_queues <= 0)
        return call_ok(call);
    topic = topics_make(b, topic_of_group(name, "%RETRY%", back.group), group.retry_queues,
                        PERM_READ | PERM_WRITE, back.unit_mode ? TOPIC_FLAG_UNIT_SUB : 0, &config,
                        &err);
    if (!topic)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
    if (!(config.perm & PERM_WRITE))
        return call_error(call, RESPONSE_NO_PERMISSION, "topic \"%s\" may not be written to",
                          topic->name);
    if (back.log_offset < 0 ||
        store_read_record(b->store, (uint64_t)back.log_offset, &whole, &record) < 0) {
        buf_destroy(&whole);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "no message at log offset %lld",
                          (long long)back.log_offset);
    }
    limit = group.retry_max_times;
    if (back.has_max_reconsume && call->frame->version >= 121)
        limit = back.max_reconsume;
    level = back.delay_level;
    if (record.reconsume_times >= limit || level < 0) {
        level = 0;
        topic = topics_make(b, topic_of_group(name, "%DLQ%", back.group), 1, PERM_READ | PERM_WRITE,
                            0, NULL, &err);
    } else {
        if (level == 0)
            level = 3 + record.reconsume_times;
        /* The topic may be older than the group's setting: nobody reads a queue that it does not
         * have. */
        queues = config.read_queues < group.retry_queues ? config.read_queues : group.retry_queues;
        queue_id = queues > 1 ? (int32_t)(random() % queues) : 0;
    }
    if (topic)
        result = store_copy(call, &record, topic, queue_id, level);
    else
        result = call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
    buf_destroy(&whole);
    return result;
}
