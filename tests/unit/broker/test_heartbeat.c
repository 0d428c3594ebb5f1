/* Heartbeat bodies as the clients of several languages send them. */
#include <stdio.h>
#include <string.h>

#include "broker/heartbeat.h"
#include "broker/store/metadata.h"
#include "unit.h"

static int parse(const char *text, struct heartbeat *h, struct err *err)
{
    memset(err, 0, sizeof(*err));
    return heartbeat_parse(bytes_str(text), h, err);
}

START_TEST(a_java_heartbeat_gives_groups_and_filters)
{
    struct heartbeat h;
    struct err err;

    ck_assert_int_eq(
        parse(
            "{\"clientID\":\"192.0.2.2@628\",\"consumerDataSet\":[{\"consumeFromWhere\":"
            "\"CONSUME_FROM_FIRST_OFFSET\",\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":"
            "\"CG\","
            "\"messageModel\":\"BROADCASTING\",\"subscriptionDataSet\":[{\"codeSet\":[2598919],"
            "\"expressionType\":\"TAG\",\"subString\":\"TagA\",\"subVersion\":5,\"topic\":\"T\"}],"
            "\"unitMode\":true}],\"producerDataSet\":[{\"groupName\":\"PG\"}]}",
            &h, &err),
        0);
    ck_assert(bytes_is(h.client_id, "192.0.2.2@628"));
    ck_assert_uint_eq(h.consumer_count, 1);
    ck_assert_int_eq(h.consumers[0].from_where, 4);
    ck_assert_int_eq(h.consumers[0].model, MODEL_BROADCASTING);
    ck_assert(h.consumers[0].unit_mode);
    ck_assert_int_eq(h.consumers[0].subscriptions[0].version, 5);
    ck_assert(tag_filter_match(&h.consumers[0].subscriptions[0].filter, 2598919));
    ck_assert(!tag_filter_match(&h.consumers[0].subscriptions[0].filter, 1));
    ck_assert(bytes_is(h.producers[0], "PG"));
    heartbeat_destroy(&h);
}
END_TEST

/* C++ sends ordinals and versions as text, and leaves empty sets out. */
START_TEST(a_cpp_heartbeat_with_ordinals_and_texts_is_read)
{
    struct heartbeat h;
    struct err err;

    ck_assert_int_eq(
        parse("{\"clientID\":\"a\",\"consumerDataSet\":[{\"consumeFromWhere\":5,\"consumeType\":1,"
              "\"groupName\":\"G\",\"messageModel\":1,\"subscriptionDataSet\":[{\"subString\":\"A||"
              "B\","
              "\"subVersion\":\"17\",\"topic\":\"T\"}]}]}\n",
              &h, &err),
        0);
    ck_assert_int_eq(h.consumers[0].from_where, 5);
    ck_assert_int_eq(h.consumers[0].model, MODEL_CLUSTERING);
    ck_assert_int_eq(h.consumers[0].subscriptions[0].version, 17);
    ck_assert_uint_eq(h.consumers[0].subscriptions[0].filter.count, 2);
    ck_assert_uint_eq(h.producer_count, 0);
    heartbeat_destroy(&h);
}
END_TEST

/* Go sends the codes as text. */
START_TEST(codes_given_as_text_are_numbers)
{
    struct heartbeat h;
    struct err err;

    ck_assert_int_eq(parse("{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\","
                           "\"subscriptionDataSet\":[{"
                           "\"codeSet\":[\"2598919\"],\"subString\":\"TagA\",\"topic\":\"T\"}]}]}",
                           &h, &err),
                     0);
    ck_assert(tag_filter_match(&h.consumers[0].subscriptions[0].filter, 2598919));
    heartbeat_destroy(&h);
}
END_TEST

START_TEST(codes_count_without_their_text)
{
    struct heartbeat h;
    struct err err;

    ck_assert_int_eq(parse("{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\","
                           "\"subscriptionDataSet\":[{"
                           "\"codeSet\":[2598919],\"subString\":\"\",\"topic\":\"T\"}]}]}",
                           &h, &err),
                     0);
    ck_assert(tag_filter_match(&h.consumers[0].subscriptions[0].filter, 2598919));
    ck_assert(!tag_filter_match(&h.consumers[0].subscriptions[0].filter, 1));
    heartbeat_destroy(&h);
}
END_TEST

/* Groups may have 255 letters, topics 127. */
START_TEST(a_group_with_a_long_name_subscribes_to_its_retry_topic)
{
    char group[GROUP_NAME_MAX + 2] = "", body[1200];
    struct heartbeat h;
    struct err err;

    for (int extra = 0; extra < 2; extra++) {
        memset(group, 'g', GROUP_NAME_MAX + (size_t)extra);
        snprintf(body, sizeof(body),
                 "{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\","
                 "\"subscriptionDataSet\":[{\"subString\":\"*\",\"topic\":\"%%RETRY%%%s\"}]}]}",
                 group);
        ck_assert_int_eq(parse(body, &h, &err) == 0, extra == 0);
        if (extra == 0)
            heartbeat_destroy(&h);
    }
}
END_TEST

struct refusal {
    const char *body, *says;
};
static const struct refusal refusals[] = {
    {"[]", "no JSON object"},
    {"{", ""},
    {"{\"clientID\":\"\"}", "clientID"},
    {"{\"clientID\":\"a\",\"producerDataSet\":[{\"groupName\":\"../x\"}]}", "../x"},
    {"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"a/b\"}]}", "a/b"},
    {"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\",\"consumeType\":9}]}",
     "consumeType"},
    {"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\",\"messageModel\":\"X\"}]}",
     "messageModel"},
    {"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\",\"subscriptionDataSet\":[{"
     "\"topic\":"
     "\"../../etc\"}]}]}",
     "../../etc"},
    {"{\"clientID\":\"a\",\"consumerDataSet\":[{\"groupName\":\"G\",\"subscriptionDataSet\":[{"
     "\"topic\":"
     "\"T\",\"subString\":\"A\",\"codeSet\":[{}]}]}]}",
     "\"T\""},
};

START_TEST(what_is_wrong_is_refused_by_name)
{
    struct heartbeat h;
    struct err err;

    ck_assert_int_lt(parse(refusals[_i].body, &h, &err), 0);
    ck_assert_msg(err.text[0] != '\0' && strstr(err.text, refusals[_i].says), "\"%s\" lacks \"%s\"",
                  err.text, refusals[_i].says);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/heartbeat");
    TCase *t = tcase_create("heartbeat");

    tcase_add_test(t, a_java_heartbeat_gives_groups_and_filters);
    tcase_add_test(t, a_cpp_heartbeat_with_ordinals_and_texts_is_read);
    tcase_add_test(t, codes_given_as_text_are_numbers);
    tcase_add_test(t, codes_count_without_their_text);
    tcase_add_test(t, a_group_with_a_long_name_subscribes_to_its_retry_topic);
    tcase_add_loop_test(t, what_is_wrong_is_refused_by_name, 0,
                        (int)(sizeof(refusals) / sizeof(refusals[0])));
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
