/* pull.c - PULL_MESSAGE: see pull.h and docs/protocol/remoting.md, "Pull". */
#include "broker/pull.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/clients.h"
#include "broker/hold.h"
#include "broker/offsets.h"
#include "broker/replication/replication.h"
#include "broker/topics.h"
#include "common/clock.h"
#include "common/log.h"

enum { PULL_COMMIT = 1, PULL_SUSPEND = 2, PULL_SUBSCRIPTION = 4 };

struct pull_header {
    struct bytes group, topic, subscription, expression_type;
    int32_t queue_id, max_messages, sys_flag;
    int64_t offset, commit_offset, suspend_ms, sub_version;
    unsigned seen;
    bool has_commit_offset;
};
enum {
    SEEN_GROUP = 1,
    SEEN_TOPIC = 2,
    SEEN_QUEUE = 4,
    SEEN_OFFSET = 8,
    SEEN_MAX = 16,
    SEEN_FLAG = 32,
};

#define KEY(literal) (key.len == sizeof(literal) - 1 && memcmp(key.at, literal, key.len) == 0)

/* One walk over the header. NULL, or the key whose value is no number. */
static const char *parse_header(const struct remoting_frame *frame, struct pull_header *h)
{
    *h = (struct pull_header){.seen = 0};
    for (unsigned i = 0; i < frame->field_count; i++) {
        struct bytes key = frame->fields[i].key;
        struct bytes value = frame->fields[i].value;

        if (value.len == 0)
            continue;
        if (KEY("consumerGroup")) {
            h->group = value;
            h->seen |= SEEN_GROUP;
        } else if (KEY("topic")) {
            h->topic = value;
            h->seen |= SEEN_TOPIC;
        } else if (KEY("queueId")) {
            if (!bytes_to_i32(value, &h->queue_id))
                return "queueId";
            h->seen |= SEEN_QUEUE;
        } else if (KEY("queueOffset")) {
            if (!bytes_to_i64(value, &h->offset))
                return "queueOffset";
            h->seen |= SEEN_OFFSET;
        } else if (KEY("maxMsgNums")) {
            if (!bytes_to_i32(value, &h->max_messages))
                return "maxMsgNums";
            h->seen |= SEEN_MAX;
        } else if (KEY("sysFlag")) {
            if (!bytes_to_i32(value, &h->sys_flag))
                return "sysFlag";
            h->seen |= SEEN_FLAG;
        } else if (KEY("commitOffset")) {
            if (!bytes_to_i64(value, &h->commit_offset))
                return "commitOffset";
            h->has_commit_offset = true;
        } else if (KEY("suspendTimeoutMillis")) {
            if (!bytes_to_i64(value, &h->suspend_ms))
                return "suspendTimeoutMillis";
        } else if (KEY("subVersion")) {
            if (!bytes_to_i64(value, &h->sub_version))
                return "subVersion";
        } else if (KEY("subscription")) {
            h->subscription = value;
        } else if (KEY("expressionType")) {
            h->expression_type = value;
        }
    }
    return NULL;
}

/* NULL: nothing is. */
static const char *missing_field(const struct pull_header *h)
{
    static const char *const names[] = {"consumerGroup", "topic",      "queueId",
                                        "queueOffset",   "maxMsgNums", "sysFlag"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!(h->seen & (1u << i)))
            return names[i];
    }
    /* Without one the group would begin anew at 0. */
    return (h->sys_flag & PULL_COMMIT) && !h->has_commit_offset ? "commitOffset" : NULL;
}

/* What may be served; 0, or the code of the reply that was written. */
static int32_t find_subscription(struct call *call, const struct pull_header *h,
                                 const struct group_config *group, struct pull_request *request)
{
    struct tag_filter *filter = &request->filter;
    struct client_group_facts facts;
    enum client_subscription found;
    int r;

    if (h->sys_flag & PULL_SUBSCRIPTION) {
        if (h->expression_type.len > 0 && !bytes_is(h->expression_type, "TAG")) {
            call_refuse(call, RESPONSE_SYSTEM_ERROR,
                        "the broker does not support consumer to filter message by %s",
                        SAFE(h->expression_type));
            return RESPONSE_SYSTEM_ERROR;
        }
        r = tag_filter_parse(filter, h->subscription);
        if (r < 0) {
            call_refuse(call, RESPONSE_SUBSCRIPTION_PARSE_FAILED,
                        "subscription \"%s\" cannot be used: %s", SAFE(h->subscription),
                        r == -EINVAL ? "too many tags" : "out of memory");
            return RESPONSE_SUBSCRIPTION_PARSE_FAILED;
        }
        return 0;
    }
    found = clients_subscription(call->broker->clients, h->group, h->topic, h->sub_version, filter,
                                 &facts);
    if (found != CLIENT_NO_GROUP && facts.broadcasting && !group->consume_broadcast_enable) {
        tag_filter_destroy(filter);
        call_refuse(call, RESPONSE_NO_PERMISSION, "group \"%s\" may not consume by broadcast",
                    SAFE(h->group));
        return RESPONSE_NO_PERMISSION;
    }
    switch (found) {
    case CLIENT_NO_GROUP:
        call_refuse(call, RESPONSE_SUBSCRIPTION_NOT_EXIST,
                    "group \"%s\" has no live consumer: no heartbeat has named it yet",
                    SAFE(h->group));
        return RESPONSE_SUBSCRIPTION_NOT_EXIST;
    case CLIENT_NO_TOPIC:
        call_refuse(call, RESPONSE_SUBSCRIPTION_NOT_EXIST,
                    "group \"%s\" does not subscribe to topic \"%s\"", SAFE(h->group),
                    SAFE(h->topic));
        return RESPONSE_SUBSCRIPTION_NOT_EXIST;
    case CLIENT_OLDER:
        call_refuse(
            call, RESPONSE_SUBSCRIPTION_NOT_LATEST,
            "the subscription of group \"%s\" known here has version %lld, older than the pull's "
            "%lld",
            SAFE(h->group), (long long)facts.subscription_version, (long long)h->sub_version);
        return RESPONSE_SUBSCRIPTION_NOT_LATEST;
    case CLIENT_SUBSCRIBED:
        request->mark = facts.mark;
        break;
    }
    if (facts.sql) {
        tag_filter_destroy(filter);
        call_refuse(call, RESPONSE_SYSTEM_ERROR,
                    "the broker does not support consumer to filter message by SQL92");
        return RESPONSE_SYSTEM_ERROR;
    }
    return 0;
}

static enum call_result refuse_read(struct call *call, const struct pull_header *h)
{
    return call_refuse(call, RESPONSE_NO_PERMISSION, "topic \"%s\" may not be read",
                       SAFE(h->topic));
}

static void suggest(struct broker *b, const struct group_config *group,
                    struct pull_request *request)
{
    const struct broker_config *c = &b->settings->config;

    if (settings_bool(b->settings, &c->slave_read_enable)) {
        request->suggest = group->broker_id;
        request->suggest_far = group->which_broker_when_slow;
    }
    request->as_it_is = replication_is_slave(b->replication) &&
                        !settings_bool(b->settings, &c->offset_check_in_slave);
    request->suggest_elsewhere = group->broker_id;
}

enum call_result serve_pull(struct call *call)
{
    struct broker *b = call->broker;
    struct pull_request request = {.to = call->to};
    struct topic_config topic;
    struct group_config group;
    struct pull_header h;
    const char *bad = parse_header(call->frame, &h);

    if (!call->main_port)
        return call_refuse(call, RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
                           "pulls are served on port %d, not here",
                           (int)b->settings->config.listen_port);
    if (bad)
        return call_refuse(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is not a number", bad);
    bad = missing_field(&h);
    if (bad)
        return call_refuse(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is missing", bad);
    if (!(settings_int(b->settings, &b->settings->config.broker_permission) & PERM_READ))
        return call_refuse(call, RESPONSE_NO_PERMISSION, "broker \"%s\" may not be read from",
                           b->settings->config.broker_name);
    if (!groups_find_or_make(b, h.group, &group))
        return call_refuse(call, RESPONSE_SUBSCRIPTION_GROUP_NOT_EXIST,
                           "subscription group \"%s\" does not exist", SAFE(h.group));
    if (!group.consume_enable)
        return call_refuse(call, RESPONSE_NO_PERMISSION,
                           "subscription group \"%s\" may not consume", SAFE(h.group));
    request.topic = metadata_topic(b->metadata, h.topic, &topic);
    if (!request.topic)
        return call_refuse(call, RESPONSE_TOPIC_NOT_EXIST, "topic \"%s\" does not exist",
                           SAFE(h.topic));
    if (!(topic.perm & PERM_READ))
        return refuse_read(call, &h);
    if (h.queue_id < 0 || h.queue_id >= topic.read_queues)
        return call_refuse(call, RESPONSE_SYSTEM_ERROR,
                           "queueId %d is out of range: topic \"%s\" has %d read queues",
                           h.queue_id, SAFE(h.topic), topic.read_queues);
    if (h.max_messages < 1)
        return call_refuse(call, RESPONSE_SYSTEM_ERROR, "maxMsgNums is %d, expected at least 1",
                           h.max_messages);
    if (find_subscription(call, &h, &group, &request) != 0)
        return CALL_DONE;

    request.queue_id = h.queue_id;
    request.counter = consume_rates_find(b->consume_rates, request.topic->index, h.group,
                                         loop_now_ms(call->on->loop));
    request.queue = store_queue(b->store, request.topic, h.queue_id);
    request.offset = h.offset;
    /* More than an answer can hold would only make the search through a filter longer. */
    request.max_messages = h.max_messages < STORE_FIND_MAX ? h.max_messages : STORE_FIND_MAX;
    if ((h.sys_flag & PULL_SUSPEND) && !call->to.oneway) {
        if (settings_bool(b->settings, &b->settings->config.long_polling_enable))
            request.suspend_ms = h.suspend_ms;
        else
            request.suspend_ms =
                settings_int(b->settings, &b->settings->config.short_polling_time_mills);
    }
    suggest(b, &group, &request);
    if ((h.sys_flag & PULL_COMMIT) && !replication_is_slave(b->replication))
        offsets_commit(b, request.topic, h.topic, h.group, h.queue_id, h.commit_offset);

    enum call_result result = CALL_DONE;
    enum pull_outcome outcome = pull_evaluate(b, &request, request.suspend_ms > 0, false,
                                              &call->on->found, call->out, &call->on->turn);
    if (outcome == PULL_NOTHING && hold_park(call->on->hold, call->conn, &request) < 0) {
        request.suspend_ms = 0;
        outcome =
            pull_evaluate(b, &request, false, false, &call->on->found, call->out, &call->on->turn);
    }
    if (outcome == PULL_NOTHING)
        result = CALL_LATER;
    if (outcome == PULL_WOULD_BLOCK) {
        result = CALL_LATER;
        if (pull_offload(b, &request, request.suspend_ms > 0) < 0) {
            result = CALL_DONE;
            call_refuse(call, RESPONSE_SYSTEM_BUSY, "too many reads wait for the disk");
        }
    }
    tag_filter_destroy(&request.filter);
    return result;
}

struct answer {
    int32_t code;
    int64_t next;
    const char *remark;
    bool elsewhere; /* the queue is not known here at that offset */
};

static struct answer master_answer_for(const struct pull_request *request,
                                       const struct store_got *got)
{
    int32_t moved = request->offset == 0 ? RESPONSE_PULL_NOT_FOUND : RESPONSE_PULL_OFFSET_MOVED;

    switch (got->status) {
    case STORE_GET_FOUND:
        return (struct answer){RESPONSE_SUCCESS, got->next_offset, "FOUND"};
    case STORE_GET_NO_MATCH:
        return (struct answer){RESPONSE_PULL_RETRY_IMMEDIATELY, got->next_offset,
                               "NO_MATCHED_MESSAGE"};
    case STORE_GET_REMOVED:
        return (struct answer){RESPONSE_PULL_RETRY_IMMEDIATELY, got->next_offset,
                               "MESSAGE_WAS_REMOVING"};
    case STORE_GET_NO_QUEUE:
        return (struct answer){moved, 0, "NO_MATCHED_LOGIC_QUEUE"};
    case STORE_GET_EMPTY:
        return (struct answer){moved, 0, "NO_MESSAGE_IN_QUEUE"};
    case STORE_GET_TOO_SMALL:
        return (struct answer){RESPONSE_PULL_OFFSET_MOVED, got->min, "OFFSET_TOO_SMALL"};
    case STORE_GET_AT_END:
        return (struct answer){RESPONSE_PULL_NOT_FOUND, request->offset, "OFFSET_OVERFLOW_ONE"};
    case STORE_GET_BEYOND_END:
        return (struct answer){RESPONSE_PULL_OFFSET_MOVED, got->max, "OFFSET_OVERFLOW_BADLY"};
    case STORE_GET_REPAIRING:
        return (struct answer){RESPONSE_PULL_NOT_FOUND, request->offset, "OFFSET_FOUND_NULL"};
    case STORE_GET_UNREADABLE:
    case STORE_GET_WOULD_BLOCK:
        break;
    }
    return (struct answer){RESPONSE_PULL_NOT_FOUND, got->next_offset, "OFFSET_FOUND_NULL"};
}

static struct answer answer_for(const struct pull_request *request, const struct store_got *got)
{
    struct answer answer = master_answer_for(request, got);

    if (request->as_it_is && answer.code == RESPONSE_PULL_OFFSET_MOVED) {
        answer.code = RESPONSE_PULL_RETRY_IMMEDIATELY;
        answer.next = request->offset;
        answer.elsewhere = true;
    }
    return answer;
}

static void begin_answer(struct remoting_writer *w, struct buf *out,
                         const struct pull_request *request, const struct answer *answer,
                         const struct store_got *got)
{
    reply_begin(w, out, &request->to, answer->code, bytes_str(answer->remark), true);
    remoting_put_i64(w, "suggestWhichBrokerId",
                     answer->elsewhere ? request->suggest_elsewhere
                     : got->far_behind ? request->suggest_far
                                       : request->suggest);
    remoting_put_i64(w, "nextBeginOffset", answer->next);
    remoting_put_i64(w, "minOffset", got->min);
    remoting_put_i64(w, "maxOffset", got->max);
    remoting_body(w);
}

/* Leaves out the record at queue offset `bad` and what follows it; false when nothing is left. */
static bool keep_before(struct store_found *found, int64_t bad)
{
    size_t bytes = 0;
    int count = 0;

    while (count < found->count && found->first_offset[count] < bad)
        bytes += (size_t)found->entries[count++].size;
    found->count = count;
    found->got.messages = count;
    found->got.bytes = bytes;
    found->got.next_offset = bad;
    return count > 0;
}

/* The record at queue offset `bad` cannot be served (r: as store_fill() has it). What stands before
 * it is; else a damaged one is stepped over, and a wrong entry waited for, as for a message that is
 * still to come. */
static struct answer answer_before(struct store_found *found, int64_t bad, int r)
{
    if (keep_before(found, bad))
        return (struct answer){RESPONSE_SUCCESS, bad, "FOUND"};
    if (r == STORE_REPAIRING)
        return (struct answer){RESPONSE_PULL_NOT_FOUND, bad, "OFFSET_FOUND_NULL"};
    return (struct answer){RESPONSE_PULL_RETRY_IMMEDIATELY, bad + 1, "NO_MATCHED_MESSAGE"};
}

enum pull_outcome pull_evaluate(struct broker *b, const struct pull_request *request, bool suspend,
                                bool may_block, struct store_found *found, struct buf *out,
                                struct rates_turn *done)
{
    struct store_get get = {
        .queue = request->queue,
        .offset = request->offset,
        .max_messages = request->max_messages,
        .filter = {.match = request->filter.all ? NULL : tag_filter_match,
                   .ctx = (void *)(uintptr_t)&request->filter},
        .may_block = may_block,
    };
    struct remoting_writer w;
    struct answer answer;
    int64_t bad = -1;
    int r;

    do {
        store_find(b->store, &get, found);
        if (found->got.status == STORE_GET_WOULD_BLOCK)
            return PULL_WOULD_BLOCK;
        answer = answer_for(request, &found->got);
        if (suspend && (answer.elsewhere ||
                        (answer.code == RESPONSE_PULL_NOT_FOUND && answer.next == request->offset)))
            return PULL_NOTHING; /* elsewhere: asked again at once it would be the same */
        begin_answer(&w, out, request, &answer, &found->got);
        r = answer.code == RESPONSE_SUCCESS ? store_fill(b->store, found, out, may_block, &bad) : 0;
        if (r == -ESTALE)
            remoting_abort(&w);
    } while (r == -ESTALE); /* each time another segment of the log has gone */
    if (r == -EBADMSG || r == STORE_REPAIRING) {
        remoting_abort(&w);
        answer = answer_before(found, bad, r);
        if (answer.code == RESPONSE_PULL_NOT_FOUND && suspend)
            return PULL_NOTHING;
        begin_answer(&w, out, request, &answer, &found->got);
        r = answer.code == RESPONSE_SUCCESS ? store_fill(b->store, found, out, may_block, &bad) : 0;
    }
    if (r == STORE_WOULD_BLOCK) {
        remoting_abort(&w);
        return PULL_WOULD_BLOCK;
    }
    if (r != 0) {
        remoting_abort(&w);
        reply_begin(&w, out, &request->to, RESPONSE_SYSTEM_ERROR,
                    bytes_str("the messages could not be read from the disk"), true);
    }
    remoting_end(&w);
    if (answer.code == RESPONSE_SUCCESS && r == 0) {
        done->got_messages += (uint64_t)found->got.messages;
        done->got_bytes += found->got.bytes;
        done->found_pulls++;
        consume_rates_add(b->consume_rates, request->counter, (uint32_t)found->got.messages,
                          clock_mono_ms());
    } else {
        done->missed_pulls++;
    }
    return PULL_ANSWERED;
}

bool pull_has_match(struct broker *b, const struct pull_request *request, int64_t *from,
                    struct store_found *found)
{
    struct store_get get = {
        .queue = request->queue,
        .offset = *from,
        .max_messages = 1,
        .filter = {.match = request->filter.all ? NULL : tag_filter_match,
                   .ctx = (void *)(uintptr_t)&request->filter},
        .may_block = false,
    };

    if (clients_changed(b->clients, &request->mark))
        return true;
    for (;;) {
        store_find(b->store, &get, found);
        switch (found->got.status) {
        case STORE_GET_AT_END:
        case STORE_GET_EMPTY:
        case STORE_GET_NO_QUEUE:
        case STORE_GET_REPAIRING:
            return false;
        case STORE_GET_TOO_SMALL:
        case STORE_GET_BEYOND_END:
            return !request->as_it_is; /* nothing that came has changed that */
        case STORE_GET_NO_MATCH:
            if (found->got.next_offset <= get.offset)
                return true;
            get.offset = *from = found->got.next_offset;
            break;
        default:
            return true; /* something to say */
        }
    }
}

static void ask_to_come_again(struct broker *b, const struct pull_request *request, struct buf *out,
                              const char *remark, struct rates_turn *done)
{
    struct queue_range range = store_range(b->store, request->queue);
    struct answer answer = {RESPONSE_PULL_NOT_FOUND, request->offset, remark};
    struct remoting_writer w;

    begin_answer(&w, out, request, &answer,
                 &(struct store_got){.min = range.min, .max = range.max});
    remoting_end(&w);
    done->missed_pulls++;
}

void pull_answer(struct broker_loop *on, struct conn *c, const struct pull_request *request)
{
    struct buf *out = conn_out(c);
    struct remoting_writer w;

    if (conn_is_full(c)) {
        ask_to_come_again(on->broker, request, out, "OUTPUT_FULL", &on->turn);
    } else if (clients_changed(on->broker->clients, &request->mark)) {
        ask_to_come_again(on->broker, request, out, "SUBSCRIPTION_CHANGED", &on->turn);
    } else if (pull_evaluate(on->broker, request, false, false, &on->found, out, &on->turn) ==
               PULL_WOULD_BLOCK) {
        if (pull_offload(on->broker, request, false) == 0)
            return;
        reply_begin(&w, out, &request->to, RESPONSE_SYSTEM_BUSY,
                    bytes_str("too many reads wait for the disk"), true);
        remoting_end(&w);
    }
    conn_written(c);
}

struct pull_job {
    struct broker *broker;
    struct pull_request request;
    bool suspend;
};

static void job_free(struct pull_job *job)
{
    tag_filter_destroy(&job->request.filter);
    free(job);
}

/* Back on the loop: the end of the queue was reached after all, so the pull waits there. */
static void park_again(struct loop_message *message)
{
    struct pull_job *job = message->p;
    struct broker_loop *on = message->ctx;
    struct conn *c = loop_conn(on->loop, job->request.to.conn);

    if (c && hold_park(on->hold, c, &job->request) < 0)
        pull_answer(on, c, &job->request);
    job_free(job);
}

static void run_job(void *ctx)
{
    struct pull_job *job = ctx;
    struct broker *b = job->broker;
    conn_id conn = job->request.to.conn;
    struct rates_turn done = {0};
    struct store_found found;
    struct buf out = {0};
    enum pull_outcome outcome = PULL_ANSWERED;

    /* Thousands may wait for the disk; their clients' connections do not, and go on with the next
     * broker. */
    if ((broker_is_draining(b) && broker_wants_restart(b)) || broker_has_given_up(b))
        ask_to_come_again(b, &job->request, &out, "BROKER_ENDS", &done);
    else
        outcome = pull_evaluate(b, &job->request, job->suspend, true, &found, &out, &done);
    if (outcome == PULL_NOTHING) {
        unsigned index = conn_loop_index(conn);

        if (loop_post(b->loops[index], &(struct loop_message){
                                           .run = park_again, .ctx = &b->on[index], .p = job}) == 0)
            job = NULL;
        else
            outcome = pull_evaluate(b, &job->request, false, true, &found, &out, &done);
    }
    if (out.failed) {
        struct remoting_writer w;

        buf_destroy(&out);
        reply_begin(&w, &out, &job->request.to, RESPONSE_SYSTEM_ERROR,
                    bytes_str("no memory for the messages"), true);
        remoting_end(&w);
    }
    if (outcome == PULL_ANSWERED && !out.failed && !job->request.to.oneway)
        broker_send(b, conn, buf_bytes(&out));
    rates_add(b->rates, &done, clock_wall_ms());
    buf_destroy(&out);
    if (job)
        job_free(job);
    broker_owes_no_more(b, conn);
}

int pull_offload(struct broker *b, const struct pull_request *request, bool suspend)
{
    struct pull_job *job = malloc(sizeof(*job));
    int r;

    if (!job)
        return -ENOMEM;
    *job = (struct pull_job){.broker = b, .request = *request, .suspend = suspend};
    r = tag_filter_copy(&job->request.filter, &request->filter);
    if (r == 0) {
        r = broker_offload(b, request->to.conn, false, run_job, job);
        if (r == 0)
            return 0;
        tag_filter_destroy(&job->request.filter);
    }
    free(job);
    return r;
}
