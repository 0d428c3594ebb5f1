/* test_proto.c - requests and responses of the gRPC API, as clients write them, to fields and back.
 *
 * Hand-written bytes check that the fields land where a handler will look for them, that zero
 * values with presence travel, and that bytes which are no message are refused.
 */
#include <stdbool.h>

#include "service.pb-c.h"
#include "unit.h"
#include "wire.h"

#define ROUND_TRIP(type, w) round_trip(&apache__rocketmq__v2__##type##__descriptor, w)
#define FREE(msg) protobuf_c_message_free_unpacked(&(msg)->base, NULL)

typedef Apache__Rocketmq__V2__SendMessageRequest send_request;
typedef Apache__Rocketmq__V2__TelemetryCommand telemetry;

/* A Resource without a namespace. */
static struct wire resource(const char *name)
{
    struct wire w = {.len = 0};

    put_text(&w, 2, name);
    return w;
}

static struct wire status(int64_t code, const char *text)
{
    struct wire w = {.len = 0};

    put_int(&w, 1, code);
    put_text(&w, 2, text);
    return w;
}

static struct wire endpoints(void)
{
    struct wire address = {.len = 0}, w = {.len = 0};

    put_text(&address, 1, "10.0.0.7");
    put_int(&address, 2, 8081);
    put_int(&w, 1, 1);
    put_message(&w, 2, &address);
    return w;
}

static struct wire message_queue(void)
{
    struct wire topic = resource("orders"), at = endpoints(), broker = {.len = 0}, w = {.len = 0};
    static const uint8_t accepts[] = {1, 3};

    put_text(&broker, 1, "broker-a");
    put_message(&broker, 3, &at);
    put_message(&w, 1, &topic);
    put_int(&w, 2, 5);
    put_int(&w, 3, 4);
    put_message(&w, 4, &broker);
    put_data(&w, 5, accepts, sizeof(accepts));
    return w;
}

static struct wire message(void)
{
    struct wire topic = resource("orders"), w = {.len = 0}, system = {.len = 0};
    struct wire property = texts("colour", "green"), digest = {.len = 0};
    struct wire born = ints(1700000000, 5000000);

    put_int(&digest, 1, 2);
    put_text(&digest, 2, "ABCD");
    put_text(&system, 1, "red");
    put_text(&system, 2, "k1");
    put_text(&system, 2, "k2");
    put_text(&system, 3, "01AA");
    put_message(&system, 4, &digest);
    put_int(&system, 5, 2);
    put_int(&system, 6, 6);
    put_message(&system, 7, &born);
    put_text(&system, 8, "host-1");
    put_int(&system, 13, 3);
    put_int(&system, 14, 0);
    put_int(&system, 16, 1);
    put_text(&system, 17, "g");
    put_int(&system, 22, 0);
    put_message(&w, 1, &topic);
    put_message(&w, 2, &property);
    put_message(&w, 3, &system);
    put_data(&w, 4, "\0\xff body", 7);
    return w;
}

/* ---- requests and responses, by hand ---- */

START_TEST(send_request_lands_in_the_fields_of_the_message)
{
    struct wire inner = message(), w = {.len = 0};
    const Apache__Rocketmq__V2__SystemProperties *sys;
    const Apache__Rocketmq__V2__Message *m;
    send_request *req;

    put_message(&w, 1, &inner);
    put_message(&w, 1, &inner);
    req = ROUND_TRIP(send_message_request, &w);
    ck_assert_uint_eq(req->n_messages, 2);
    m = req->messages[1];
    ck_assert_str_eq(m->topic->name, "orders");
    ck_assert_str_eq(m->topic->resource_namespace, "");
    ck_assert_uint_eq(m->n_user_properties, 1);
    ck_assert_str_eq(m->user_properties[0]->key, "colour");
    ck_assert_str_eq(m->user_properties[0]->value, "green");
    ck_assert_uint_eq(m->body.len, 7);
    ck_assert_mem_eq(m->body.data, "\0\xff body", 7);

    sys = m->system_properties;
    ck_assert_str_eq(sys->tag, "red");
    ck_assert_uint_eq(sys->n_keys, 2);
    ck_assert_str_eq(sys->keys[1], "k2");
    ck_assert_str_eq(sys->message_id, "01AA");
    ck_assert_int_eq(sys->body_digest->type, APACHE__ROCKETMQ__V2__DIGEST_TYPE__MD5);
    ck_assert_str_eq(sys->body_digest->checksum, "ABCD");
    ck_assert_int_eq(sys->body_encoding, APACHE__ROCKETMQ__V2__ENCODING__GZIP);
    ck_assert_int_eq(sys->message_type, APACHE__ROCKETMQ__V2__MESSAGE_TYPE__PRIORITY);
    ck_assert_int_eq(sys->born_timestamp->seconds, 1700000000);
    ck_assert_int_eq(sys->born_timestamp->nanos, 5000000);
    ck_assert_str_eq(sys->born_host, "host-1");
    ck_assert_int_eq(sys->queue_id, 3);
    ck_assert_int_eq(sys->delivery_attempt, 1);
    ck_assert_str_eq(sys->message_group, "g");
    ck_assert_ptr_null(sys->delivery_timestamp);
    FREE(req);
}
END_TEST

START_TEST(zero_priority_and_offset_are_there_and_absent_ones_are_not)
{
    typedef Apache__Rocketmq__V2__SystemProperties system_properties;
    struct wire with = {.len = 0}, without = {.len = 0};
    system_properties *sys;

    put_text(&with, 1, "");
    put_int(&with, 14, 0);
    put_int(&with, 22, 0);
    sys = ROUND_TRIP(system_properties, &with);
    ck_assert_int_eq(sys->optional_tag_case,
                     APACHE__ROCKETMQ__V2__SYSTEM_PROPERTIES__OPTIONAL_TAG_TAG);
    ck_assert_str_eq(sys->tag, "");
    ck_assert_int_eq(sys->optional_queue_offset_case,
                     APACHE__ROCKETMQ__V2__SYSTEM_PROPERTIES__OPTIONAL_QUEUE_OFFSET_QUEUE_OFFSET);
    ck_assert_int_eq(sys->optional_priority_case,
                     APACHE__ROCKETMQ__V2__SYSTEM_PROPERTIES__OPTIONAL_PRIORITY_PRIORITY);
    ck_assert_int_eq(sys->priority, 0);
    ck_assert_int_eq(sys->optional_delivery_attempt_case, 0);
    FREE(sys);

    put_int(&without, 13, 9);
    sys = ROUND_TRIP(system_properties, &without);
    ck_assert_int_eq(sys->optional_priority_case, 0);
    ck_assert_int_eq(sys->optional_tag_case, 0);
    ck_assert_int_eq(sys->optional_queue_offset_case, 0);
    FREE(sys);
}
END_TEST

START_TEST(send_response_keeps_status_and_offset_of_each_message)
{
    struct wire ok = status(20000, "OK"), bad = status(41301, "too large"), w = {.len = 0};
    struct wire first = {.len = 0}, second = {.len = 0}, all = status(30000, "");
    Apache__Rocketmq__V2__SendMessageResponse *resp;

    put_message(&first, 1, &ok);
    put_text(&first, 2, "01AA");
    put_text(&first, 3, "T1");
    put_int(&first, 4, 1LL << 40);
    put_text(&first, 5, "handle");
    put_message(&second, 1, &bad);
    all.len -= 2; /* an empty message of the status is not written */
    put_message(&w, 1, &all);
    put_message(&w, 2, &first);
    put_message(&w, 2, &second);
    resp = ROUND_TRIP(send_message_response, &w);
    ck_assert_int_eq(resp->status->code, APACHE__ROCKETMQ__V2__CODE__MULTIPLE_RESULTS);
    ck_assert_uint_eq(resp->n_entries, 2);
    ck_assert_int_eq(resp->entries[0]->status->code, APACHE__ROCKETMQ__V2__CODE__OK);
    ck_assert_str_eq(resp->entries[0]->message_id, "01AA");
    ck_assert_str_eq(resp->entries[0]->transaction_id, "T1");
    ck_assert_int_eq(resp->entries[0]->offset, 1LL << 40);
    ck_assert_str_eq(resp->entries[0]->recall_handle, "handle");
    ck_assert_int_eq(resp->entries[1]->status->code,
                     APACHE__ROCKETMQ__V2__CODE__MESSAGE_BODY_TOO_LARGE);
    ck_assert_str_eq(resp->entries[1]->status->message, "too large");
    FREE(resp);
}
END_TEST

START_TEST(route_request_and_response_name_queues_and_endpoints)
{
    struct wire topic = resource("orders"), at = endpoints(), ok = status(20000, "OK");
    struct wire queue = message_queue(), w = {.len = 0};
    Apache__Rocketmq__V2__QueryRouteRequest *req;
    Apache__Rocketmq__V2__QueryRouteResponse *resp;
    const Apache__Rocketmq__V2__MessageQueue *q;

    put_message(&w, 1, &topic);
    put_message(&w, 2, &at);
    req = ROUND_TRIP(query_route_request, &w);
    ck_assert_str_eq(req->topic->name, "orders");
    ck_assert_str_eq(req->endpoints->addresses[0]->host, "10.0.0.7");
    FREE(req);

    w.len = 0;
    put_message(&w, 1, &ok);
    put_message(&w, 2, &queue);
    put_message(&w, 2, &queue);
    resp = ROUND_TRIP(query_route_response, &w);
    ck_assert_uint_eq(resp->n_message_queues, 2);
    q = resp->message_queues[1];
    ck_assert_str_eq(q->topic->name, "orders");
    ck_assert_int_eq(q->id, 5);
    ck_assert_int_eq(q->permission, APACHE__ROCKETMQ__V2__PERMISSION__READ_WRITE);
    ck_assert_str_eq(q->broker->name, "broker-a");
    ck_assert_int_eq(q->broker->id, 0);
    ck_assert_int_eq(q->broker->endpoints->scheme, APACHE__ROCKETMQ__V2__ADDRESS_SCHEME__IPv4);
    ck_assert_int_eq(q->broker->endpoints->addresses[0]->port, 8081);
    ck_assert_uint_eq(q->n_accept_message_types, 2);
    ck_assert_int_eq(q->accept_message_types[1], APACHE__ROCKETMQ__V2__MESSAGE_TYPE__DELAY);
    FREE(resp);
}
END_TEST

START_TEST(assignment_with_queue_minus_one_takes_ten_bytes_of_varint)
{
    struct wire queue = {.len = 0}, assignment = {.len = 0}, w = {.len = 0};
    Apache__Rocketmq__V2__QueryAssignmentResponse *resp;

    put_int(&queue, 2, -1);
    ck_assert_uint_eq(queue.len, 11);
    put_message(&assignment, 1, &queue);
    put_message(&w, 2, &assignment);
    resp = ROUND_TRIP(query_assignment_response, &w);
    ck_assert_int_eq(resp->assignments[0]->message_queue->id, -1);
    FREE(resp);
}
END_TEST

START_TEST(receive_request_and_its_three_kinds_of_response)
{
    typedef Apache__Rocketmq__V2__ReceiveMessageRequest request;
    typedef Apache__Rocketmq__V2__ReceiveMessageResponse response;
    struct wire group = resource("g"), queue = message_queue(), filter = {.len = 0};
    struct wire invisible = ints(30, 1), poll = ints(15, 2), w = {.len = 0};
    struct wire ok = status(20000, "OK"), body = message(), at = ints(7, 8);
    request *req;
    response *resp;

    put_int(&filter, 1, 1);
    put_text(&filter, 2, "red || blue");
    put_message(&w, 1, &group);
    put_message(&w, 2, &queue);
    put_message(&w, 3, &filter);
    put_int(&w, 4, 32);
    put_message(&w, 5, &invisible);
    put_int(&w, 6, 1);
    put_message(&w, 7, &poll);
    put_text(&w, 8, "attempt");
    req = ROUND_TRIP(receive_message_request, &w);
    ck_assert_str_eq(req->group->name, "g");
    ck_assert_int_eq(req->message_queue->id, 5);
    ck_assert_str_eq(req->filter_expression->expression, "red || blue");
    ck_assert_int_eq(req->batch_size, 32);
    ck_assert_int_eq(req->invisible_duration->seconds, 30);
    ck_assert(req->auto_renew);
    ck_assert_int_eq(req->long_polling_timeout->seconds, 15);
    ck_assert_str_eq(req->attempt_id, "attempt");
    FREE(req);

    w.len = 0;
    put_message(&w, 1, &ok);
    resp = ROUND_TRIP(receive_message_response, &w);
    ck_assert_int_eq(resp->content_case,
                     APACHE__ROCKETMQ__V2__RECEIVE_MESSAGE_RESPONSE__CONTENT_STATUS);
    FREE(resp);
    w.len = 0;
    put_message(&w, 2, &body);
    resp = ROUND_TRIP(receive_message_response, &w);
    ck_assert_int_eq(resp->content_case,
                     APACHE__ROCKETMQ__V2__RECEIVE_MESSAGE_RESPONSE__CONTENT_MESSAGE);
    ck_assert_str_eq(resp->message->topic->name, "orders");
    FREE(resp);
    w.len = 0;
    put_message(&w, 3, &at);
    resp = ROUND_TRIP(receive_message_response, &w);
    ck_assert_int_eq(resp->delivery_timestamp->seconds, 7);
    FREE(resp);
}
END_TEST

/* What a client writes when it changes its mind half-way; protobuf's rule is that the last wins. */
START_TEST(last_member_of_a_oneof_wins)
{
    struct wire ok = status(20000, "OK"), w = {.len = 0};
    Apache__Rocketmq__V2__PullMessageResponse *resp;

    put_message(&w, 1, &ok);
    put_int(&w, 3, 44);
    resp = unpack(&apache__rocketmq__v2__pull_message_response__descriptor, &w);
    ck_assert_ptr_nonnull(resp);
    ck_assert_int_eq(resp->content_case,
                     APACHE__ROCKETMQ__V2__PULL_MESSAGE_RESPONSE__CONTENT_NEXT_OFFSET);
    ck_assert_int_eq(resp->next_offset, 44);
    FREE(resp);
}
END_TEST

START_TEST(ack_and_invisible_time_requests_carry_handles)
{
    struct wire group = resource("g"), topic = resource("orders"), entry = texts("01AA", "handle");
    struct wire invisible = ints(0, 5), w = {.len = 0};
    Apache__Rocketmq__V2__AckMessageRequest *ack;
    Apache__Rocketmq__V2__ChangeInvisibleDurationRequest *change;

    put_text(&entry, 3, "");
    put_message(&w, 1, &group);
    put_message(&w, 2, &topic);
    put_message(&w, 3, &entry);
    ack = ROUND_TRIP(ack_message_request, &w);
    ck_assert_str_eq(ack->entries[0]->message_id, "01AA");
    ck_assert_str_eq(ack->entries[0]->receipt_handle, "handle");
    ck_assert_int_eq(ack->entries[0]->optional_lite_topic_case,
                     APACHE__ROCKETMQ__V2__ACK_MESSAGE_ENTRY__OPTIONAL_LITE_TOPIC_LITE_TOPIC);
    FREE(ack);

    invisible.len = 0;
    put_int(&invisible, 2, 5);
    w.len = 0;
    put_message(&w, 1, &group);
    put_message(&w, 2, &topic);
    put_text(&w, 3, "handle");
    put_message(&w, 4, &invisible);
    put_text(&w, 5, "01AA");
    put_int(&w, 7, 0);
    change = ROUND_TRIP(change_invisible_duration_request, &w);
    ck_assert_str_eq(change->receipt_handle, "handle");
    ck_assert_int_eq(change->invisible_duration->nanos, 5);
    ck_assert_int_eq(
        change->optional_suspend_case,
        APACHE__ROCKETMQ__V2__CHANGE_INVISIBLE_DURATION_REQUEST__OPTIONAL_SUSPEND_SUSPEND);
    ck_assert(!change->suspend);
    FREE(change);
}
END_TEST

START_TEST(transaction_dead_letter_and_recall_requests)
{
    struct wire group = resource("g"), topic = resource("orders"), w = {.len = 0};
    Apache__Rocketmq__V2__EndTransactionRequest *end;
    Apache__Rocketmq__V2__ForwardMessageToDeadLetterQueueRequest *forward;
    Apache__Rocketmq__V2__RecallMessageRequest *recall;

    put_message(&w, 1, &topic);
    put_text(&w, 2, "01AA");
    put_text(&w, 3, "T1");
    put_int(&w, 4, 2);
    put_int(&w, 5, 1);
    put_text(&w, 6, "trace");
    end = ROUND_TRIP(end_transaction_request, &w);
    ck_assert_int_eq(end->resolution, APACHE__ROCKETMQ__V2__TRANSACTION_RESOLUTION__ROLLBACK);
    ck_assert_int_eq(end->source, APACHE__ROCKETMQ__V2__TRANSACTION_SOURCE__SOURCE_CLIENT);
    ck_assert_str_eq(end->transaction_id, "T1");
    FREE(end);

    w.len = 0;
    put_message(&w, 1, &group);
    put_message(&w, 2, &topic);
    put_text(&w, 3, "handle");
    put_text(&w, 4, "01AA");
    put_int(&w, 5, 16);
    put_int(&w, 6, 17);
    forward = ROUND_TRIP(forward_message_to_dead_letter_queue_request, &w);
    ck_assert_int_eq(forward->delivery_attempt, 16);
    ck_assert_int_eq(forward->max_delivery_attempts, 17);
    FREE(forward);

    w.len = 0;
    put_message(&w, 1, &topic);
    put_text(&w, 2, "recall");
    recall = ROUND_TRIP(recall_message_request, &w);
    ck_assert_str_eq(recall->recall_handle, "recall");
    FREE(recall);
}
END_TEST

START_TEST(pull_and_offset_requests)
{
    struct wire group = resource("g"), queue = message_queue(), w = {.len = 0}, at = ints(7, 8);
    struct wire poll = ints(15, 2);
    Apache__Rocketmq__V2__PullMessageRequest *pull;
    Apache__Rocketmq__V2__UpdateOffsetRequest *update;
    Apache__Rocketmq__V2__QueryOffsetRequest *query;

    put_message(&w, 1, &group);
    put_message(&w, 2, &queue);
    put_int(&w, 3, INT64_MAX);
    update = ROUND_TRIP(update_offset_request, &w);
    ck_assert_int_eq(update->offset, INT64_MAX);
    FREE(update);
    put_int(&w, 4, 32);
    put_message(&w, 6, &poll);
    pull = ROUND_TRIP(pull_message_request, &w);
    ck_assert_int_eq(pull->offset, INT64_MAX);
    ck_assert_int_eq(pull->batch_size, 32);
    ck_assert_int_eq(pull->long_polling_timeout->seconds, 15);
    FREE(pull);

    w.len = 0;
    put_message(&w, 1, &queue);
    put_int(&w, 2, 2);
    put_message(&w, 3, &at);
    query = ROUND_TRIP(query_offset_request, &w);
    ck_assert_int_eq(query->query_offset_policy,
                     APACHE__ROCKETMQ__V2__QUERY_OFFSET_POLICY__TIMESTAMP);
    ck_assert_int_eq(query->timestamp->seconds, 7);
    FREE(query);
}
END_TEST

START_TEST(heartbeat_of_a_producer_has_no_group)
{
    struct wire group = resource("g"), w = {.len = 0};
    Apache__Rocketmq__V2__HeartbeatRequest *beat;

    put_int(&w, 2, 1);
    beat = ROUND_TRIP(heartbeat_request, &w);
    ck_assert_ptr_null(beat->group);
    ck_assert_int_eq(beat->client_type, APACHE__ROCKETMQ__V2__CLIENT_TYPE__PRODUCER);
    FREE(beat);
    w.len = 0;
    put_message(&w, 1, &group);
    put_int(&w, 2, 2);
    beat = ROUND_TRIP(heartbeat_request, &w);
    ck_assert_str_eq(beat->group->name, "g");
    FREE(beat);
}
END_TEST

START_TEST(telemetry_settings_of_a_consumer_keep_fifo_false)
{
    struct wire group = resource("g"), topic = resource("orders"), filter = {.len = 0};
    struct wire entry = {.len = 0}, sub = {.len = 0}, backoff = {.len = 0}, policy = {.len = 0};
    struct wire initial = ints(1, 2), agent = {.len = 0}, metric = {.len = 0}, at = endpoints();
    struct wire property = texts("zone", "a"), settings = {.len = 0}, w = {.len = 0};
    const Apache__Rocketmq__V2__Settings *s;
    telemetry *cmd;

    put_int(&filter, 1, 1);
    put_text(&filter, 2, "*");
    put_message(&entry, 1, &topic);
    put_message(&entry, 2, &filter);
    put_message(&sub, 1, &group);
    put_message(&sub, 2, &entry);
    put_int(&sub, 3, 0);
    put_int(&sub, 4, 32);
    put_message(&backoff, 1, &initial);
    put_message(&backoff, 2, &initial);
    put_float(&backoff, 3, 0x40000000); /* 2.0 */
    put_int(&policy, 1, 17);
    put_message(&policy, 2, &backoff);
    put_int(&agent, 1, 6);
    put_text(&agent, 2, "5.0.6");
    put_int(&metric, 1, 1);
    put_message(&metric, 2, &at);
    put_int(&settings, 1, 0);
    put_message(&settings, 2, &at);
    put_message(&settings, 3, &policy);
    put_message(&settings, 4, &initial);
    put_message(&settings, 6, &sub);
    put_message(&settings, 7, &agent);
    put_message(&settings, 8, &metric);
    put_message(&settings, 9, &property);
    put_message(&w, 2, &settings);

    cmd = ROUND_TRIP(telemetry_command, &w);
    ck_assert_int_eq(cmd->command_case, APACHE__ROCKETMQ__V2__TELEMETRY_COMMAND__COMMAND_SETTINGS);
    ck_assert_ptr_null(cmd->status);
    s = cmd->settings;
    ck_assert_int_eq(s->optional_client_type_case,
                     APACHE__ROCKETMQ__V2__SETTINGS__OPTIONAL_CLIENT_TYPE_CLIENT_TYPE);
    ck_assert_int_eq(s->pub_sub_case, APACHE__ROCKETMQ__V2__SETTINGS__PUB_SUB_SUBSCRIPTION);
    ck_assert_int_eq(s->subscription->optional_fifo_case,
                     APACHE__ROCKETMQ__V2__SUBSCRIPTION__OPTIONAL_FIFO_FIFO);
    ck_assert(!s->subscription->fifo);
    ck_assert_int_eq(s->subscription->receive_batch_size, 32);
    ck_assert_int_eq(s->subscription->optional_max_lite_topic_size_case, 0);
    ck_assert_str_eq(s->subscription->subscriptions[0]->expression->expression, "*");
    ck_assert_int_eq(s->backoff_policy->max_attempts, 17);
    ck_assert(s->backoff_policy->exponential_backoff->multiplier == 2.0F);
    ck_assert_int_eq(s->user_agent->language, APACHE__ROCKETMQ__V2__LANGUAGE__PYTHON);
    ck_assert(s->metric->on);
    ck_assert_str_eq(s->client_properties[0]->value, "a");
    FREE(cmd);
}
END_TEST

/* A newer client says more than we know: an unknown field of each wire type, an unknown enum. */
START_TEST(unknown_fields_and_values_are_no_error)
{
    struct wire w = {.len = 0}, inner = texts("a", "b");
    Apache__Rocketmq__V2__HeartbeatRequest *beat;

    put_int(&w, 2, 99);
    put_int(&w, 60, 7);
    put_message(&w, 61, &inner);
    put_float(&w, 62, 1);
    put_tag(&w, 5000, FIXED64);
    for (int i = 0; i < 8; i++)
        put_byte(&w, (uint8_t)i);
    beat = ROUND_TRIP(heartbeat_request, &w);
    ck_assert_uint_eq(beat->base.n_unknown_fields, 4);
    ck_assert_int_eq((int)beat->client_type, 99);
    ck_assert_ptr_null(beat->group);
    FREE(beat);
}
END_TEST

/* ---- bytes that are no message ---- */

START_TEST(request_cut_anywhere_is_refused)
{
    struct wire inner = message(), w = {.len = 0};

    put_message(&w, 1, &inner);
    for (w.len--; w.len > 0; w.len--) {
        ck_assert_msg(unpack(&apache__rocketmq__v2__send_message_request__descriptor, &w) == NULL,
                      "%zu bytes of it pass for a request", w.len);
    }
}
END_TEST

START_TEST(garbage_is_refused)
{
    static const struct {
        const char *what;
        const char *at;
        size_t len;
    } garbage[] = {
        {"wire type 7", "\x0f\x01", 2},
        {"wire type 6", "\x0e\x01", 2},
        {"end of a group", "\x0c", 1},
        {"tag without a value", "\x0a", 1},
        {"tag that never ends", "\xff\xff\xff\xff\xff\xff", 6},
        {"varint that never ends", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 13},
        {"length far beyond the end", "\x0a\xff\xff\xff\xff\x07x", 7},
        {"length of 2^64 - 1", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 12},
        {"text where a message belongs", "\x0a\x05hello", 7},
        {"HTTP", "GET / HTTP/1.1\r\n", 16},
    };

    for (size_t i = 0; i < COUNT(garbage); i++) {
        struct wire w = {.len = garbage[i].len};

        memcpy(w.at, garbage[i].at, w.len);
        ck_assert_msg(unpack(&apache__rocketmq__v2__query_route_request__descriptor, &w) == NULL,
                      "%s passes for a request", garbage[i].what);
    }
}
END_TEST

/* Each byte of a request in each of 16 other shapes: refused or read, and freed again. */
START_TEST(request_with_a_wrong_byte_is_refused_or_read)
{
    struct wire inner = message(), w = {.len = 0};

    put_message(&w, 1, &inner);
    for (size_t i = 0; i < w.len; i++) {
        uint8_t good = w.at[i];

        for (unsigned shape = 1; shape <= 16; shape++) {
            ProtobufCMessage *msg;

            w.at[i] = (uint8_t)(good ^ shape * 15);
            msg = unpack(&apache__rocketmq__v2__send_message_request__descriptor, &w);
            if (msg != NULL)
                protobuf_c_message_free_unpacked(msg, NULL);
        }
        w.at[i] = good;
    }
}
END_TEST

static Suite *proto_suite(void)
{
    Suite *suite = suite_create("proto");
    TCase *by_hand = tcase_create("by hand"), *bad = tcase_create("bad input");

    tcase_add_test(by_hand, send_request_lands_in_the_fields_of_the_message);
    tcase_add_test(by_hand, zero_priority_and_offset_are_there_and_absent_ones_are_not);
    tcase_add_test(by_hand, send_response_keeps_status_and_offset_of_each_message);
    tcase_add_test(by_hand, route_request_and_response_name_queues_and_endpoints);
    tcase_add_test(by_hand, assignment_with_queue_minus_one_takes_ten_bytes_of_varint);
    tcase_add_test(by_hand, receive_request_and_its_three_kinds_of_response);
    tcase_add_test(by_hand, last_member_of_a_oneof_wins);
    tcase_add_test(by_hand, ack_and_invisible_time_requests_carry_handles);
    tcase_add_test(by_hand, transaction_dead_letter_and_recall_requests);
    tcase_add_test(by_hand, pull_and_offset_requests);
    tcase_add_test(by_hand, heartbeat_of_a_producer_has_no_group);
    tcase_add_test(by_hand, telemetry_settings_of_a_consumer_keep_fifo_false);
    tcase_add_test(by_hand, unknown_fields_and_values_are_no_error);
    tcase_add_test(bad, request_cut_anywhere_is_refused);
    tcase_add_test(bad, garbage_is_refused);
    tcase_add_test(bad, request_with_a_wrong_byte_is_refused_or_read);
    suite_add_tcase(suite, by_hand);
    suite_add_tcase(suite, bad);
    return suite;
}

UNIT_MAIN(proto_suite)
