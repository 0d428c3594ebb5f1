/* send.c - messages from producers into the log: see send.h and docs/protocol/remoting.md, "Send".
 */
#include "broker/send.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/batch.h"
#include "broker/delay.h"
#include "broker/forward.h"
#include "broker/gate.h"
#include "broker/replication/replication.h"
#include "broker/topics.h"
#include "common/clock.h"

struct send_header {
    struct bytes group, topic, default_topic, properties, born_host;
    int32_t default_queues, queue_id, sys_flag, flag, reconsume_times, max_reconsume_times;
    int64_t born_ms;
    bool unit_mode, batch, has_max_reconsume;
    unsigned seen;
};
enum {
    SEEN_GROUP = 1,
    SEEN_TOPIC = 2,
    SEEN_QUEUE = 4,
    SEEN_ALL = 7
}; /* those that must be there */

/* V1 names and the single letters of V2, in the order of enum send_field. */
enum send_field {
    FIELD_GROUP,
    FIELD_TOPIC,
    FIELD_DEFAULT_TOPIC,
    FIELD_DEFAULT_QUEUES,
    FIELD_QUEUE,
    FIELD_SYS_FLAG,
    FIELD_BORN,
    FIELD_FLAG,
    FIELD_PROPERTIES,
    FIELD_RECONSUME,
    FIELD_UNIT,
    FIELD_MAX_RECONSUME,
    FIELD_BATCH,
    FIELD_OTHER,
};
static const char *const field_names[] = {
    "producerGroup", "topic",          "defaultTopic",  "defaultTopicQueueNums",
    "queueId",       "sysFlag",        "bornTimestamp", "flag",
    "properties",    "reconsumeTimes", "unitMode",      "maxReconsumeTimes",
    "batch",
};

static enum send_field field_of(struct bytes key)
{
    if (key.len == 1 && key.at[0] >= 'a' && key.at[0] <= 'm')
        return (enum send_field)(key.at[0] - 'a');
    if (key.len < 4)
        return FIELD_OTHER;
    for (int i = 0; i < FIELD_OTHER; i++) {
        if (bytes_is(key, field_names[i]))
            return (enum send_field)i;
    }
    return FIELD_OTHER;
}

/* One walk. NULL, or the name of the field whose value is no number. */
static const char *parse_header(const struct remoting_frame *frame, struct send_header *h)
{
    *h = (struct send_header){.default_queues = TOPIC_QUEUES_UNSAID};
    for (unsigned i = 0; i < frame->field_count; i++) {
        struct bytes value = frame->fields[i].value;
        enum send_field field;
        bool ok = true;

        if (value.len == 0)
            continue;
        field = field_of(frame->fields[i].key);
        switch (field) {
        case FIELD_GROUP:
            h->group = value;
            h->seen |= SEEN_GROUP;
            break;
        case FIELD_TOPIC:
            h->topic = value;
            h->seen |= SEEN_TOPIC;
            break;
        case FIELD_DEFAULT_TOPIC:
            h->default_topic = value;
            break;
        case FIELD_DEFAULT_QUEUES:
            ok = bytes_to_i32(value, &h->default_queues);
            break;
        case FIELD_QUEUE:
            ok = bytes_to_i32(value, &h->queue_id);
            h->seen |= SEEN_QUEUE;
            break;
        case FIELD_SYS_FLAG:
            ok = bytes_to_i32(value, &h->sys_flag);
            break;
        case FIELD_BORN:
            ok = bytes_to_i64(value, &h->born_ms);
            break;
        case FIELD_FLAG:
            ok = bytes_to_i32(value, &h->flag);
            break;
        case FIELD_PROPERTIES:
            h->properties = value;
            break;
        case FIELD_RECONSUME:
            ok = bytes_to_i32(value, &h->reconsume_times);
            break;
        case FIELD_UNIT:
            h->unit_mode = bytes_to_bool(value);
            break;
        case FIELD_MAX_RECONSUME:
            ok = h->has_max_reconsume = bytes_to_i32(value, &h->max_reconsume_times);
            break;
        case FIELD_BATCH:
            h->batch = bytes_to_bool(value);
            break;
        case FIELD_OTHER:
            if (bytes_is(frame->fields[i].key, FORWARD_BORN_HOST))
                h->born_host = value;
            break;
        }
        if (!ok)
            return field_names[field];
    }
    return NULL;
}

/* Every answer to a send says region and trace switch, errors too. */
static enum call_result send_error(struct call *call, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum call_result send_error(struct call *call, int32_t code, const char *format, ...)
{
    const struct broker_config *config = &call->broker->settings->config;
    struct remoting_writer w;
    char remark[640];
    va_list args;

    va_start(args, format);
    vsnprintf(remark, sizeof(remark), format, args);
    va_end(args);
    call->on->turn.failed_puts++;
    reply_begin(&w, call->out, &call->to, code, bytes_str(remark), true);
    remoting_put_str(&w, "MSG_REGION", config->region_id);
    remoting_put_bool(&w, "TRACE_ON", config->trace_on);
    remoting_end(&w);
    return CALL_DONE;
}

int32_t send_store_failure(struct broker *b, int outcome, const char *full, char *remark,
                           size_t remark_size)
{
    char reason[160], full_disk[STORE_FULL_TEXT];

    switch (outcome) {
    case STORE_NO_SPACE:
        if (!store_disk_full(b->store, full_disk))
            snprintf(full_disk, sizeof(full_disk), "the disk was full a moment ago");
        snprintf(remark, remark_size, "%s; free some space, or send to another broker", full_disk);
        return RESPONSE_SERVICE_NOT_AVAILABLE;
    case STORE_STOPPED:
        if (!store_stopped(b->store, reason))
            snprintf(reason, sizeof(reason), "it is shutting down");
        snprintf(remark, remark_size, "the store takes no more writes: %s", reason);
        return RESPONSE_SERVICE_NOT_AVAILABLE;
    case STORE_CLOSED:
        snprintf(remark, remark_size, "this broker is not the master any more");
        return RESPONSE_SERVICE_NOT_AVAILABLE;
    case STORE_DELETED:
        snprintf(remark, remark_size, "the topic is being deleted; try again in a moment");
        return RESPONSE_SYSTEM_BUSY;
    case STORE_ILLEGAL:
        snprintf(
            remark, remark_size,
            "message is too large: body at most maxMessageSize=%lld bytes, properties %d, topic %d",
            (long long)b->settings->config.max_message_size, RECORD_PROPERTIES_MAX,
            RECORD_TOPIC_MAX);
        return RESPONSE_MESSAGE_ILLEGAL;
    case STORE_BUSY:
        snprintf(remark, remark_size, "the broker is busy: %s is full",
                 full ? full : "a buffer of the store");
        return RESPONSE_SYSTEM_BUSY;
    default:
        snprintf(remark, remark_size, "the store failed: %s",
                 strerror(outcome < 0 ? -outcome : EIO));
        return RESPONSE_SYSTEM_ERROR;
    }
}

int send_divert_delayed(struct broker *b, struct store_message *message, int level,
                        struct buf *text)
{
    static const char *const rewritten[] = {"REAL_TOPIC", "REAL_QID", NULL};
    struct topic *schedule = metadata_topic(b->metadata, BYTES_LIT(DELAY_TOPIC), NULL);
    char queue[16];
    int len;

    if (!schedule)
        return -ENOENT;
    if (level > b->delay_levels)
        level = b->delay_levels;
    buf_reset(text);
    properties_copy(text, message->properties, rewritten);
    properties_add(text, 0, BYTES_LIT("REAL_TOPIC"),
                   bytes_of(message->topic->name, message->topic->name_len));
    len = snprintf(queue, sizeof(queue), "%d", message->queue_id);
    properties_add(text, 0, BYTES_LIT("REAL_QID"), bytes_of(queue, (size_t)len));
    if (text->failed)
        return -ENOMEM;
    message->properties = buf_bytes(text);
    message->topic = schedule;
    message->queue_id = level - 1;
    message->delay_level = level;
    return 0;
}

/* Adds `sent` without the item whose value is `value` and whose name has `name_len` bytes; all
 * items are valid and the name is there once. */
static void add_without(struct buf *out, struct bytes sent, struct bytes value, size_t name_len)
{
    const uint8_t *from = value.at - name_len - 1, *to = value.at + value.len;
    const uint8_t *end = sent.at + sent.len;

    /* One of the separators goes with it. */
    if (to < end)
        to++;
    else if (from > sent.at)
        from--;
    buf_add(out, sent.at, (size_t)(from - sent.at));
    buf_add(out, to, (size_t)(end - to));
}

/* Stored text of a single message: what was sent, without WAIT unless it is delayed, without DELAY
 * when it is dead, with CLUSTER at the end. */
static bool final_properties(struct call *call, struct buf *out, struct bytes sent,
                             const struct properties_known *known, bool keep_wait, bool dead)
{
    static const char *const drop[] = {"CLUSTER", "WAIT", "DELAY", NULL};
    static const char *const drop_both[] = {"CLUSTER", "WAIT", NULL};
    static const char *const drop_cluster[] = {"CLUSTER", NULL};
    const char *cluster = call->broker->settings->config.broker_cluster_name;
    size_t start = out->len;

    if (dead) {
        properties_copy(out, sent, drop);
    } else if (known->has_invalid || known->cluster.len > 0) {
        properties_copy(out, sent, keep_wait ? drop_cluster : drop_both);
    } else if (known->wait.len > 0 && !keep_wait) {
        add_without(out, sent, known->wait, 4); /* nearly every client sends one */
    } else if (sent.len > 0) {
        buf_add(out, sent.at, sent.len);
    }
    properties_add(out, start, BYTES_LIT("CLUSTER"), bytes_str(cluster));
    return !out->failed;
}

/* A send to %RETRY%<group> that has been tried often enough goes to the dead letters. */
static int32_t retry_or_dead(struct call *call, const struct send_header *h, struct topic **topic,
                             int32_t *queue_id, bool *dead, struct err *err)
{
    struct bytes group = bytes_of(h->topic.at + 7, h->topic.len - 7);
    struct group_config config;
    struct bytes name;
    char prefixed[PREFIXED_MAX];
    int32_t limit;

    *dead = false;
    if (!groups_find_or_make(call->broker, group, &config)) {
        err_say(err, -ENOENT, "subscription group \"%s\" does not exist", SAFE(group));
        return RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST;
    }
    limit = config.retry_max_times;
    if (h->has_max_reconsume && call->frame->version >= 121)
        limit = h->max_reconsume_times;
    if (h->reconsume_times < limit)
        return 0;
    name = topic_of_group(prefixed, "%DLQ%", group);
    *topic = topics_make(call->broker, name, 1, PERM_READ | PERM_WRITE, 0, NULL, err);
    if (!*topic)
        return RESPONSE_SYSTEM_ERROR;
    *queue_id = 0;
    *dead = true;
    return 0;
}

static bool waits(const struct properties_known *known)
{
    return known->wait.len == 0 || bytes_to_bool(known->wait);
}

/* Who followed the master before this one, and that master if it has handed over, are about to
 * follow this one: until then the request waits, if it can. */
static bool awaits_followers(const struct call *call)
{
    return replication_lacks_members(call->broker->replication) &&
           broker_leads_newly(call->broker) && forward_hold(call);
}

static enum call_result store_and_park(struct call *call, const struct store_message *messages,
                                       uint32_t count, int32_t asked_queue, bool wait)
{
    struct broker_loop *on = call->on;
    struct broker *b = call->broker;
    struct store_position *positions = on->positions;
    const char *full = NULL;
    char remark[480];
    bool takes = replication_takes_sends(b->replication);
    int r;

    if ((!takes || atomic_load_explicit(&b->handed, memory_order_relaxed)) &&
        awaits_followers(call))
        return CALL_LATER;
    if (!takes)
        return send_error(call, RESPONSE_SERVICE_NOT_AVAILABLE,
                          "fewer than %u brokers of the group are there to keep the message "
                          "(replicaAck=strict); it is not stored",
                          replication_copies(b->replication));
    if (!gate_has_room(on->gate, wait, count))
        return send_error(
            call, RESPONSE_SYSTEM_BUSY,
            "the broker is busy: the queue of replies that wait for the disk is full");
    r = store_append(b->store, messages, count, positions, &full);
    if (r == STORE_CLOSED && forward_hold(call))
        return CALL_LATER;
    if (r != 0) {
        int32_t code = send_store_failure(b, r, full, remark, sizeof(remark));

        return send_error(call, code, "%s", remark);
    }
    on->turn.put_messages += count;
    for (uint32_t i = 0; i < count; i++)
        on->turn.put_bytes += positions[i].log_end - positions[i].log_offset;
    if (messages[0].delay_level > 0)
        delay_arrived(b->delay, messages[0].delay_level);
    gate_park(on->gate,
              &(struct gate_reply){
                  .to = call->to,
                  .kind = GATE_SEND,
                  .count = count,
                  .queue_id = asked_queue,
                  .queue_offset = positions[0].queue_offset,
                  .log_offset = positions[0].log_offset,
                  .log_end = positions[count - 1].log_end,
              },
              wait, positions);
    return CALL_LATER;
}

/* What comes with a later version of the broker is refused by name, never stored as something else.
 */
static enum call_result refuse_later(struct call *call, const struct properties_known *known)
{
    if (known->timer)
        return send_error(
            call, RESPONSE_MESSAGE_ILLEGAL,
            "timer messages (TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS) are not "
            "supported; use a delay level");
    return send_error(call, RESPONSE_NO_PERMISSION,
                      "transactional messages are not supported by this broker");
}

static bool belongs_later(const struct properties_known *known, int32_t sys_flag)
{
    return known->timer || (sys_flag & RECORD_TRANSACTION_MASK) ||
           (known->transaction.len > 0 && bytes_to_bool(known->transaction));
}

static enum call_result send_one(struct call *call, const struct send_header *h,
                                 struct store_message *message, bool dead, int32_t asked_queue)
{
    struct buf *text = &call->on->properties;
    struct properties_known known;
    int32_t level = 0;
    int r;

    properties_scan(h->properties, &known);
    if (known.delay.len > 0 && bytes_to_i32(known.delay, &level) && level < 0)
        level = 0;
    /* Old consumers give a transactional message that failed back as it came: that one is to be
     * retried like any other. */
    if (belongs_later(&known, h->sys_flag) &&
        (known.timer || h->reconsume_times <= 0 || level == 0))
        return refuse_later(call, &known);
    if (dead)
        level = 0;
    buf_reset(text);
    if (!final_properties(call, text, h->properties, &known, level > 0, dead))
        return send_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    message->properties = buf_bytes(text);
    message->body = call->frame->body;
    message->tags_code = properties_tags_code(known.tags);
    if (level > 0) {
        r = send_divert_delayed(call->broker, message, level, &call->on->suffix);
        if (r < 0)
            return send_error(call, RESPONSE_SYSTEM_ERROR, "the message cannot be delayed: %s",
                              strerror(-r));
    }
    return store_and_park(call, message, 1, asked_queue, waits(&known));
}

/* Reads all messages of a batch into on->messages, properties as they came. Their number; 0 after
 * the reply. *rewrite: some property texts cannot be kept as they are. */
static uint32_t read_batch(struct call *call, const struct store_message *base, size_t *text_bytes,
                           bool *rewrite)
{
    struct reader in = reader_of(call->frame->body);
    struct batch_message item;
    uint32_t count = 0;
    int r;

    *text_bytes = 0;
    *rewrite = false;
    while ((r = batch_next(&in, &item)) == 0) {
        struct store_message *message = &call->on->messages[count];
        struct properties_known known;

        if (count == BROKER_BATCH_MAX) {
            send_error(call, RESPONSE_MESSAGE_ILLEGAL,
                       "the batch has more than %d messages, which is the most allowed",
                       BROKER_BATCH_MAX);
            return 0;
        }
        properties_scan(item.properties, &known);
        if (belongs_later(&known, 0)) {
            refuse_later(call, &known);
            return 0;
        }
        if (known.delay.len > 0) {
            send_error(call, RESPONSE_MESSAGE_ILLEGAL, "a batch cannot hold delayed messages");
            return 0;
        }
        *message = *base;
        message->flag = item.flag;
        message->body = item.body;
        message->properties = item.properties;
        message->tags_code = properties_tags_code(known.tags);
        *text_bytes += item.properties.len;
        *rewrite |= known.has_invalid || known.cluster.len > 0;
        count++;
    }
    if (r != BATCH_BAD && count > 0)
        return count;
    send_error(call, RESPONSE_MESSAGE_ILLEGAL,
               "the batch body is malformed: the lengths of message %u do not add up", count);
    return 0;
}

/* What every message of a batch gets behind its own properties: those of the header, and CLUSTER.
 */
static void batch_suffix(struct call *call, const struct send_header *h, struct buf *suffix)
{
    static const char *const drop_cluster[] = {"CLUSTER", NULL};
    const char *cluster = call->broker->settings->config.broker_cluster_name;

    buf_reset(suffix);
    properties_copy(suffix, h->properties, drop_cluster);
    properties_add(suffix, 0, BYTES_LIT("CLUSTER"), bytes_str(cluster));
}

/* Puts the final property texts into on->properties, and makes the messages borrow them. */
static bool batch_texts(struct broker_loop *on, uint32_t count, size_t text_bytes, bool rewrite)
{
    static const char *const drop_cluster[] = {"CLUSTER", NULL};
    struct bytes suffix = buf_bytes(&on->suffix);
    struct buf *text = &on->properties;
    size_t at = 0;

    buf_reset(text);
    /* Room for all at once, so that nothing moves meanwhile (a rewritten text is no longer). */
    if (!buf_reserve(text, text_bytes + count * (suffix.len + 1)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes *own = &on->messages[i].properties;

        if (rewrite)
            properties_copy(text, *own, drop_cluster);
        else
            buf_add(text, own->at, own->len);
        if (text->len > at && buf_at(text)[text->len - 1] != 2)
            buf_add_u8(text, 2);
        buf_add(text, suffix.at, suffix.len);
        *own = bytes_of(buf_at(text) + at, text->len - at);
        at = text->len;
    }
    return !text->failed;
}

enum { BATCH_TEXT_EXTRA = 64 << 10 };

static enum call_result send_batch(struct call *call, const struct send_header *h,
                                   const struct store_message *base, int32_t asked_queue)
{
    struct broker_loop *on = call->on;
    size_t most = (size_t)call->broker->settings->config.max_message_size;
    struct properties_known common;
    size_t text_bytes;
    uint32_t count;
    bool rewrite;

    if (bytes_starts(h->topic, BYTES_LIT("%RETRY%")))
        return send_error(call, RESPONSE_MESSAGE_ILLEGAL, "a batch cannot go to a retry topic");
    if (call->frame->body.len > most)
        return send_error(call, RESPONSE_MESSAGE_ILLEGAL,
                          "the batch has %zu bytes, at most maxMessageSize=%zu are allowed",
                          call->frame->body.len, most);
    properties_scan(h->properties, &common);
    if (belongs_later(&common, h->sys_flag))
        return refuse_later(call, &common);
    count = read_batch(call, base, &text_bytes, &rewrite);
    if (count == 0)
        return CALL_DONE;
    batch_suffix(call, h, &on->suffix);
    /* The header's properties go to every message: a small body could ask for much memory. */
    if (text_bytes + count * (on->suffix.len + 1) > most + BATCH_TEXT_EXTRA)
        return send_error(
            call, RESPONSE_MESSAGE_ILLEGAL,
            "the batch has %u messages with %zu bytes of common properties each: more than "
            "maxMessageSize=%zu in all",
            count, on->suffix.len, most);
    if (on->suffix.failed || !batch_texts(on, count, text_bytes, rewrite))
        return send_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    return store_and_park(call, on->messages, count, asked_queue, waits(&common));
}

enum call_result serve_send(struct call *call)
{
    struct broker *b = call->broker;
    struct store_message message = {.prepared_offset = 0};
    struct topic_config config;
    struct send_header h;
    struct err err = {0};
    const char *bad = parse_header(call->frame, &h);
    int32_t code, asked_queue;
    int32_t queues;
    bool dead = false;

    if (broker_is_ending(b))
        return send_error(call, RESPONSE_SERVICE_NOT_AVAILABLE, "the broker is shutting down");
    if (bad)
        return send_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is not a number", bad);
    if (h.seen != SEEN_ALL)
        return send_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is missing",
                          !(h.seen & SEEN_GROUP)   ? "producerGroup"
                          : !(h.seen & SEEN_TOPIC) ? "topic"
                                                   : "queueId");
    if (replication_is_slave(b->replication) && forward_hold(call))
        return CALL_LATER; /* its role has changed under our hands */
    if (replication_is_slave(b->replication))
        return send_error(call, RESPONSE_SERVICE_NOT_AVAILABLE, "a slave takes no messages");
    if (b->settings->config.start_accept_send_request_time_stamp > 0 &&
        clock_wall_ms() < b->settings->config.start_accept_send_request_time_stamp)
        return send_error(call, RESPONSE_SYSTEM_ERROR,
                          "the broker does not accept messages before "
                          "startAcceptSendRequestTimeStamp");
    code = topics_for_send(b, h.topic, h.default_topic, h.default_queues, h.unit_mode,
                           &message.topic, &config, &err);
    if (code != 0)
        return send_error(call, code, "%s", err.text);
    queues = config.read_queues > config.write_queues ? config.read_queues : config.write_queues;
    if (config.order &&
        !(settings_int(b->settings, &b->settings->config.broker_permission) & PERM_WRITE))
        return send_error(call, RESPONSE_NO_PERMISSION, "broker \"%s\" may not be written to",
                          b->settings->config.broker_name);
    if (h.queue_id >= queues)
        return send_error(call, RESPONSE_SYSTEM_ERROR,
                          "queueId %d is out of range: topic \"%s\" has %d queues", h.queue_id,
                          SAFE(h.topic), queues);
    if (h.queue_id < 0)
        h.queue_id = config.write_queues > 0 ? (int32_t)(random() % config.write_queues) : 0;
    asked_queue = h.queue_id;
    message.queue_id = h.queue_id;
    if (bytes_starts(h.topic, BYTES_LIT("%RETRY%"))) {
        code = retry_or_dead(call, &h, &message.topic, &message.queue_id, &dead, &err);
        if (code != 0)
            return send_error(call, code, "%s", err.text);
    }
    message.flag = h.flag;
    message.sys_flag = h.sys_flag & ~(RECORD_BORN_V6 | RECORD_STORE_V6 | RECORD_TRANSACTION_MASK);
    if (config.multi_tag)
        message.sys_flag |= RECORD_MULTI_TAGS;
    message.born_ms = h.born_ms;
    message.reconsume_times = h.reconsume_times;
    if (h.born_host.len == 0 || !forward_born_host(call, h.born_host, &message.born_host))
        call_peer_host(call, &message.born_host);
    if (h.batch)
        return send_batch(call, &h, &message, asked_queue);
    return send_one(call, &h, &message, dead, asked_queue);
}
