/* test_echo_reply.c - the echo server answers as a broker would. */
#include "tools/echo_reply.h"

#include "common/codes.h"
#include "tools/frames.h"
#include "unit.h"

static struct echo_state state;
static struct buf request, reply;
static struct remoting_frame frame, answer;

static void setup(void)
{
    state = (struct echo_state){.queue_offset = 41, .log_offset = 1000};
    request = reply = (struct buf){0};
}

static void teardown(void)
{
    buf_destroy(&request);
    buf_destroy(&reply);
}

static void decode(struct buf *from, struct remoting_frame *to)
{
    const char *why = NULL;
    size_t size = 0;

    ck_assert(!from->failed);
    ck_assert_int_eq(remoting_frame_size(buf_bytes(from), &size), 0);
    ck_assert_uint_eq(size, from->len);
    ck_assert_msg(remoting_decode(buf_at(from), size, to, &why) == 0, "%s", why);
}

static void exchange(unsigned batch, uint8_t serialize)
{
    struct frame_spec spec = {
        .topic = "T", .queue = 2, .body_bytes = 10, .batch = batch, .serialize = serialize};
    struct frame_template t;
    uint64_t id = 0;

    ck_assert_int_eq(frame_template_make(&t, &spec), 0);
    ck_assert(frame_add(&request, &t, 9, &id, "1700000000000"));
    frame_template_destroy(&t);
    decode(&request, &frame);
    echo_reply(&state, &frame, &reply);
    decode(&reply, &answer);
    ck_assert(remoting_is_response(&answer));
    ck_assert_int_eq(answer.opaque, FRAME_OPAQUE_BASE + 9);
    ck_assert_uint_eq(answer.serialize, serialize);
}

static const struct bytes *need(const char *key)
{
    const struct bytes *value = remoting_field(&answer, key);

    ck_assert_msg(value != NULL, "no field %s", key);
    return value;
}

START_TEST(a_send_gets_all_fields_of_a_brokers_reply)
{
    exchange(1, REMOTING_JSON);
    ck_assert_int_eq(answer.code, RESPONSE_SUCCESS);
    ck_assert(bytes_is(*need("queueId"), "2"));
    ck_assert(bytes_is(*need("queueOffset"), "41"));
    ck_assert(bytes_is(*need("msgId"), "7F00000100002A9F00000000000003E8"));
    ck_assert(bytes_is(*need("MSG_REGION"), "DefaultRegion"));
    ck_assert(bytes_is(*need("TRACE_ON"), "true"));
    ck_assert_int_eq(state.queue_offset, 42);
}
END_TEST

START_TEST(a_batch_gets_one_id_for_each_message)
{
    exchange(32, REMOTING_BINARY);
    ck_assert_int_eq(answer.code, RESPONSE_SUCCESS);
    ck_assert_uint_eq(need("msgId")->len, 32 * 32 + 31);
    ck_assert(bytes_is(*need("queueOffset"), "41"));
    ck_assert_int_eq(state.queue_offset, 41 + 32);
}
END_TEST

START_TEST(a_batch_of_the_largest_size_fits)
{
    exchange(FRAME_BATCH_MAX, REMOTING_JSON);
    ck_assert_uint_eq(need("msgId")->len, FRAME_BATCH_MAX * 33 - 1);
}
END_TEST

START_TEST(the_end_of_a_queue_is_known_for_barriers)
{
    frame_add_max_offset(&request, "T", 0, 3, REMOTING_JSON);
    decode(&request, &frame);
    echo_reply(&state, &frame, &reply);
    decode(&reply, &answer);
    ck_assert_int_eq(answer.code, RESPONSE_SUCCESS);
    ck_assert(bytes_is(*need("offset"), "41"));
}
END_TEST

START_TEST(anything_else_is_not_supported)
{
    frame = (struct remoting_frame){.code = REQUEST_PULL_MESSAGE, .opaque = 5};
    echo_reply(&state, &frame, &reply);
    decode(&reply, &answer);
    ck_assert_int_eq(answer.code, RESPONSE_REQUEST_CODE_NOT_SUPPORTED);
}
END_TEST

START_TEST(a_batch_whose_lengths_lie_ends_where_they_do)
{
    static const uint8_t body[] = {0, 0, 0, 8, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 1};

    frame = (struct remoting_frame){
        .code = REQUEST_SEND_BATCH_MESSAGE, .field_count = 1, .body = bytes_of(body, sizeof(body))};
    frame.fields[0] = (struct remoting_field){BYTES_LIT("m"), BYTES_LIT("true")};
    echo_reply(&state, &frame, &reply);
    decode(&reply, &answer);
    ck_assert_uint_eq(need("msgId")->len, 32);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("echo_reply");
    TCase *c = tcase_create("echo_reply");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_send_gets_all_fields_of_a_brokers_reply);
    tcase_add_test(c, a_batch_gets_one_id_for_each_message);
    tcase_add_test(c, a_batch_of_the_largest_size_fits);
    tcase_add_test(c, the_end_of_a_queue_is_known_for_barriers);
    tcase_add_test(c, anything_else_is_not_supported);
    tcase_add_test(c, a_batch_whose_lengths_lie_ends_where_they_do);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
