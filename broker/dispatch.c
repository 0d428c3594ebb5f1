/* dispatch.c - the table of requests, and the way to their handlers: see dispatch.h.
 *
 * A handler runs either on the connection's loop, straight on the frame in the loop's buffer, or on
 * a reader thread of the store with a copy of the frame.
 */
#include "broker/dispatch.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/clients.h"
#include "broker/deletion.h"
#include "broker/forward.h"
#include "broker/group_requests.h"
#include "broker/hold.h"
#include "broker/locks.h"
#include "broker/lookup.h"
#include "broker/offsets.h"
#include "broker/pull.h"
#include "broker/send.h"
#include "broker/status.h"
#include "broker/topics.h"
#include "common/log.h"

static const struct handler handlers[] = {
    {REQUEST_SEND_MESSAGE, ON_LOOP, serve_send, "SEND_MESSAGE", REFUSAL_OWN, PASSED_ON},
    {REQUEST_PULL_MESSAGE, ON_LOOP, serve_pull, "PULL_MESSAGE"},
    {REQUEST_QUERY_MESSAGE, ON_READER, serve_query_message, "QUERY_MESSAGE"},
    /* Clients take any answer but an offset for "there is none" and skip to the end of the queue or
     * back to its start; without an answer they ask again. */
    {REQUEST_QUERY_CONSUMER_OFFSET, ON_READER, serve_query_consumer_offset, "QUERY_CONSUMER_OFFSET",
     REFUSAL_SILENT},
    {REQUEST_UPDATE_CONSUMER_OFFSET, ON_LOOP, serve_update_consumer_offset,
     "UPDATE_CONSUMER_OFFSET", REFUSAL_SAID, COPIED},
    {REQUEST_UPDATE_AND_CREATE_TOPIC, ON_READER, serve_update_topic, "UPDATE_AND_CREATE_TOPIC"},
    {REQUEST_GET_ALL_TOPIC_CONFIG, ON_READER, serve_all_topics, "GET_ALL_TOPIC_CONFIG"},
    {REQUEST_UPDATE_BROKER_CONFIG, ON_READER_FIRST, serve_update_config, "UPDATE_BROKER_CONFIG"},
    {REQUEST_GET_BROKER_CONFIG, ON_READER_FIRST, serve_get_config, "GET_BROKER_CONFIG"},
    {REQUEST_GET_BROKER_RUNTIME_INFO, ON_READER_FIRST, serve_runtime_info,
     "GET_BROKER_RUNTIME_INFO"},
    {REQUEST_SEARCH_OFFSET_BY_TIMESTAMP, ON_READER, serve_search_offset,
     "SEARCH_OFFSET_BY_TIMESTAMP"},
    {REQUEST_GET_MAX_OFFSET, ON_LOOP, serve_max_offset, "GET_MAX_OFFSET"},
    {REQUEST_GET_MIN_OFFSET, ON_READER, serve_min_offset, "GET_MIN_OFFSET"},
    {REQUEST_GET_EARLIEST_MSG_STORETIME, ON_READER, serve_earliest_store_time,
     "GET_EARLIEST_MSG_STORETIME"},
    {REQUEST_VIEW_MESSAGE_BY_ID, ON_READER, serve_view_message, "VIEW_MESSAGE_BY_ID"},
    {REQUEST_HEART_BEAT, ON_LOOP, serve_heart_beat, "HEART_BEAT"},
    {REQUEST_UNREGISTER_CLIENT, ON_LOOP, serve_unregister_client, "UNREGISTER_CLIENT"},
    {REQUEST_CONSUMER_SEND_MSG_BACK, ON_READER, serve_send_back, "CONSUMER_SEND_MSG_BACK",
     REFUSAL_SAID, PASSED_ON},
    {REQUEST_GET_CONSUMER_LIST_BY_GROUP, ON_LOOP, serve_consumer_list,
     "GET_CONSUMER_LIST_BY_GROUP"},
    {REQUEST_LOCK_BATCH_MQ, ON_LOOP, serve_lock_batch, "LOCK_BATCH_MQ", REFUSAL_SAID, PASSED_ON},
    {REQUEST_UNLOCK_BATCH_MQ, ON_LOOP, serve_unlock_batch, "UNLOCK_BATCH_MQ", REFUSAL_SAID,
     PASSED_ON},
    {REQUEST_GET_ALL_CONSUMER_OFFSET, ON_READER, serve_all_consumer_offsets,
     "GET_ALL_CONSUMER_OFFSET"},
    {REQUEST_GET_ALL_DELAY_OFFSET, ON_READER, serve_all_delay_offsets, "GET_ALL_DELAY_OFFSET"},
    {REQUEST_CHECK_CLIENT_CONFIG, ON_LOOP, serve_check_client_config, "CHECK_CLIENT_CONFIG"},
    {REQUEST_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, ON_READER, serve_update_group,
     "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP"},
    {REQUEST_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, ON_READER, serve_all_groups,
     "GET_ALL_SUBSCRIPTIONGROUP_CONFIG"},
    {REQUEST_GET_TOPIC_STATS_INFO, ON_READER, serve_topic_stats, "GET_TOPIC_STATS_INFO"},
    {REQUEST_GET_CONSUMER_CONNECTION_LIST, ON_READER, serve_consumer_connections,
     "GET_CONSUMER_CONNECTION_LIST"},
    {REQUEST_GET_PRODUCER_CONNECTION_LIST, ON_READER, serve_producer_connections,
     "GET_PRODUCER_CONNECTION_LIST"},
    {REQUEST_DELETE_SUBSCRIPTIONGROUP, ON_READER, serve_delete_group, "DELETE_SUBSCRIPTIONGROUP"},
    {REQUEST_GET_CONSUME_STATS, ON_READER, serve_consume_stats, "GET_CONSUME_STATS"},
    {REQUEST_DELETE_TOPIC_IN_BROKER, ON_READER, serve_delete_topic, "DELETE_TOPIC_IN_BROKER"},
    {REQUEST_QUERY_TOPIC_CONSUME_BY_WHO, ON_READER, serve_topic_consume_by_who,
     "QUERY_TOPIC_CONSUME_BY_WHO"},
    {REQUEST_GET_SYSTEM_TOPIC_LIST_FROM_BROKER, ON_READER, serve_system_topics,
     "GET_SYSTEM_TOPIC_LIST_FROM_BROKER"},
    {REQUEST_CLEAN_EXPIRED_CONSUMEQUEUE, ON_LOOP, serve_clean_queues, "CLEAN_EXPIRED_CONSUMEQUEUE"},
    {REQUEST_SEND_MESSAGE_V2, ON_LOOP, serve_send, "SEND_MESSAGE_V2", REFUSAL_OWN, PASSED_ON},
    {REQUEST_SEND_BATCH_MESSAGE, ON_LOOP, serve_send, "SEND_BATCH_MESSAGE", REFUSAL_OWN, PASSED_ON},
    {REQUEST_QUERY_CONSUME_QUEUE, ON_READER, serve_query_consume_queue, "QUERY_CONSUME_QUEUE"},
    {REQUEST_DELETE_EXPIRED_COMMITLOG, ON_LOOP, serve_clean_log, "DELETE_EXPIRED_COMMITLOG"},
    {REQUEST_TERN_GROUP_GREET, ON_LOOP, serve_group_greet, "TERN_GROUP_GREET"},
    {REQUEST_TERN_GROUP_STATUS, ON_READER_FIRST, serve_group_status, "TERN_GROUP_STATUS"},
    {REQUEST_TERN_GROUP_PROMOTE, ON_READER_FIRST, serve_group_promote, "TERN_GROUP_PROMOTE"},
    {REQUEST_TERN_GROUP_HAND_OVER, ON_READER_FIRST, serve_group_hand_over, "TERN_GROUP_HAND_OVER"},
    {REQUEST_TERN_GROUP_STEP_DOWN, ON_READER_FIRST, serve_group_step_down, "TERN_GROUP_STEP_DOWN"},
};

/* The rows are in ascending order of their codes. */
const struct handler *handler_find(int32_t code)
{
    size_t low = 0, high = sizeof(handlers) / sizeof(handlers[0]);

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (handlers[mid].code == code)
            return &handlers[mid];
        if (handlers[mid].code < code)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* A request that is not even looked at. */
static void refuse(struct call *call, const struct handler *handler, int32_t code,
                   const char *remark)
{
    if (handler->refusal != REFUSAL_SILENT)
        call_error(call, code, "%s", remark);
}

static void run(struct call *call, const struct handler *handler)
{
    if (!handler)
        call_error(call, RESPONSE_REQUEST_CODE_NOT_SUPPORTED, "request code %d is not supported",
                   call->frame->code);
    else if (broker_is_ending(call->broker) && handler->refusal != REFUSAL_OWN)
        refuse(call, handler, RESPONSE_SERVICE_NOT_AVAILABLE, "the broker is shutting down");
    else
        handler->handle(call);
}

/* --- on a reader thread --- */

struct offloaded {
    struct call call;
    const struct handler *handler;
    size_t size;
    struct remoting_frame frame;
    uint8_t bytes[]; /* everything that the frame borrows */
};

static struct bytes move(struct bytes b, uint8_t **to)
{
    struct bytes moved = bytes_of(*to, b.len);

    if (b.len > 0)
        memcpy(*to, b.at, b.len);
    *to += b.len;
    return moved;
}

/* What operators ask has room of its own. */
enum { OFFLOADED_FIRST_BYTES = 1 << 20 };

static atomic_size_t *offloaded_bytes(struct broker *b, const struct handler *handler)
{
    return handler->where == ON_READER_FIRST ? &b->offloaded_first_bytes : &b->offloaded_bytes;
}

static size_t offloaded_max(const struct broker *b, const struct handler *handler)
{
    return handler->where == ON_READER_FIRST ? OFFLOADED_FIRST_BYTES
                                             : (size_t)b->settings->config.offloaded_bytes;
}

/* 0; -EAGAIN: too much waits already; -ENOMEM. */
static int offloaded_new(struct offloaded **out, const struct call *call,
                         const struct handler *handler)
{
    const struct remoting_frame *frame = call->frame;
    atomic_size_t *total = offloaded_bytes(call->broker, handler);
    size_t size = sizeof(struct offloaded) + frame->remark.len + frame->body.len;
    struct offloaded *o;
    uint8_t *to;

    for (unsigned i = 0; i < frame->field_count; i++)
        size += frame->fields[i].key.len + frame->fields[i].value.len;
    if (atomic_fetch_add(total, size) + size > offloaded_max(call->broker, handler)) {
        atomic_fetch_sub(total, size);
        return -EAGAIN;
    }
    o = malloc(size);
    if (!o) {
        atomic_fetch_sub(total, size);
        return -ENOMEM;
    }
    o->size = size;
    o->call = *call;
    o->call.on = NULL;
    o->call.conn = NULL;
    o->call.frame = &o->frame;
    o->handler = handler;
    memcpy(&o->frame, frame, offsetof(struct remoting_frame, fields));
    to = o->bytes;
    o->frame.remark = move(frame->remark, &to);
    o->frame.body = move(frame->body, &to);
    for (unsigned i = 0; i < frame->field_count; i++) {
        o->frame.fields[i].key = move(frame->fields[i].key, &to);
        o->frame.fields[i].value = move(frame->fields[i].value, &to);
    }
    *out = o;
    return 0;
}

static void offloaded_free(struct offloaded *o)
{
    atomic_size_t *total = offloaded_bytes(o->call.broker, o->handler);
    size_t size = o->size;

    free(o);
    atomic_fetch_sub(total, size);
}

static void run_offloaded(void *ctx)
{
    struct offloaded *o = ctx;
    struct broker *b = o->call.broker;
    conn_id conn = o->call.to.conn;
    struct buf out = {0};
    bool done = true;

    o->call.out = &out;
    if (broker_has_given_up(b))
        refuse(&o->call, o->handler, RESPONSE_SERVICE_NOT_AVAILABLE,
               "the broker ends, and this has waited for too long");
    else
        done = o->handler->handle(&o->call) == CALL_DONE;
    if (done && o->call.to.oneway)
        buf_reset(&out);
    if (out.failed) {
        buf_destroy(&out);
        out = (struct buf){0};
        log_warn_limited(o->handler->name,
                         "the answer to %s is larger than a frame, or there is no memory for it",
                         o->handler->name);
        call_error(
            &o->call, RESPONSE_SYSTEM_ERROR,
            "the answer is larger than a frame may be (%d bytes), or there is no memory for it",
            REMOTING_FRAME_MAX);
    }
    if (out.len > 0 && !out.failed)
        broker_send(b, conn, buf_bytes(&out));
    buf_destroy(&out);
    offloaded_free(o);
    broker_owes_no_more(b, conn);
}

static void offload(struct call *call, const struct handler *handler)
{
    struct offloaded *o = NULL;
    int r = offloaded_new(&o, call, handler);

    if (r == 0) {
        r = broker_offload(call->broker, call->to.conn, handler->where == ON_READER_FIRST,
                           run_offloaded, o);
        if (r == 0)
            return;
        offloaded_free(o);
    }
    if (r == -ENOMEM)
        refuse(call, handler, RESPONSE_SYSTEM_ERROR, "out of memory");
    else
        refuse(call, handler, RESPONSE_SYSTEM_BUSY, "too many requests wait for a reader thread");
}

/* --- on the loop --- */

/* Carries the request out, or has it passed on; writes what is answered at once. */
static void serve(struct call *call, const struct handler *handler, bool may_pass_on)
{
    struct conn *c = call->conn;
    size_t before;

    /* What answers a oneway request goes nowhere. */
    buf_reset(&call->on->discard);
    call->out = call->to.oneway ? &call->on->discard : conn_out(c);
    before = call->out->len;
    if (may_pass_on && handler->place == PASSED_ON && forward_take(call))
        ;
    else if (handler && handler->where != ON_LOOP && !broker_is_ending(call->broker))
        offload(call, handler);
    else
        run(call, handler);
    if (call->to.oneway)
        return;
    if (call->out->failed)
        conn_close(c, "no memory for its replies");
    else if (call->out->len > before)
        conn_written(c);
}

void dispatch_run(struct call *call, const struct handler *handler)
{
    serve(call, handler, false);
}

static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct broker_port *port = ctx;
    struct broker *b = port->broker;
    const struct handler *handler = handler_find(frame->code);
    struct call call = {
        .broker = b,
        .on = &b->on[loop_index(conn_loop(c))],
        .conn = c,
        .frame = frame,
        .to = {.conn = conn_id_of(c),
               .opaque = frame->opaque,
               .serialize = frame->serialize,
               .oneway = remoting_is_oneway(frame)},
        .peer = *conn_peer_address(c),
        .main_port = port->main_port,
    };
    bool elsewhere = handler && handler->place != HERE && forward_is_on(b);

    if (elsewhere && handler->place == COPIED)
        forward_copy(&call);
    serve(&call, handler, elsewhere);
}

static void on_closed(void *ctx, struct conn *c)
{
    struct broker_port *port = ctx;
    struct broker *b = port->broker;

    hold_drop(b->on[loop_index(conn_loop(c))].hold, c);
    /* While the broker ends all connections close: nobody has to balance anew, and what a
     * notification needs may be gone. */
    if (!broker_is_draining(b))
        clients_closed(b->clients, conn_id_of(c));
}

const struct remoting_handler broker_remoting = {
    .request = on_request,
    .response = NULL,
    .closed = on_closed,
};
