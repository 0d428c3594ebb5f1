/* test_route.c - what name servers say, in both of their dialects. */
#include "tools/route.h"

#include <errno.h>

#include "unit.h"

static struct route route;
static struct err err;

static void setup(void)
{
    route = (struct route){0};
    err = (struct err){0};
}

static void teardown(void)
{
    route_destroy(&route);
    route_destroy(&route); /* twice is fine */
}

static int parse(const char *text, bool cluster)
{
    return route_parse(&route, bytes_str(text), cluster, &err);
}

START_TEST(a_topic_has_brokers_with_their_members_and_queues)
{
    ck_assert_int_eq(
        parse(
            "{\"brokerDatas\":[{\"brokerAddrs\":{\"2\":\"h:3\",\"0\":\"h:1\"},\"brokerName\":\"b\","
            "\"cluster\":\"C\"},{\"brokerAddrs\":{\"0\":\"h:4\"},\"brokerName\":\"a\",\"cluster\":"
            "\"C\"}],\"filterServerTable\":{},\"orderTopicConf\":\"b:4\",\"queueDatas\":[{"
            "\"brokerName\":\"b\",\"perm\":6,\"readQueueNums\":8,\"topicSysFlag\":1,"
            "\"writeQueueNums\":4}]}",
            false),
        0);
    ck_assert_uint_eq(route.count, 2);
    ck_assert_str_eq(route.brokers[0].name, "a");
    ck_assert(!route.brokers[0].serves);
    const struct route_broker *b = route_broker_named(&route, "b");
    ck_assert_ptr_nonnull(b);
    ck_assert(b->serves);
    ck_assert_int_eq(b->read_queues, 8);
    ck_assert_int_eq(b->write_queues, 4);
    ck_assert_int_eq(b->perm, ROUTE_READ | ROUTE_WRITE);
    ck_assert_uint_eq(b->member_count, 2);
    ck_assert_int_eq(b->members[1].id, 2);
    ck_assert_str_eq(route_master(b), "h:1");
    ck_assert_str_eq(route.order, "b:4");
}
END_TEST

START_TEST(bare_broker_ids_are_understood)
{
    ck_assert_int_eq(parse("{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"b\","
                           "\"cluster\":\"C\"}],\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":4,"
                           "\"readQueueNums\":1,\"writeQueueNums\":1}]}",
                           false),
                     0);
    ck_assert_str_eq(route_master(&route.brokers[0]), "h:1");
    ck_assert_ptr_null(route.order);
}
END_TEST

START_TEST(a_cluster_has_its_brokers_sorted)
{
    ck_assert_int_eq(
        parse("{\"brokerAddrTable\":{\"z\":{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":"
              "\"z\",\"cluster\":\"A\"},\"b\":{\"brokerAddrs\":{0:\"h:2\"},"
              "\"brokerName\":\"b\",\"cluster\":\"B\"}},\"clusterAddrTable\":{\"A\":["
              "\"z\"],\"B\":[\"b\"]}}",
              true),
        0);
    ck_assert_uint_eq(route.count, 2);
    ck_assert_str_eq(route.brokers[0].name, "z");
    ck_assert_str_eq(route.brokers[1].name, "b");
}
END_TEST

START_TEST(without_a_master_reading_goes_to_the_lowest_id)
{
    ck_assert_int_eq(parse("{\"brokerDatas\":[{\"brokerAddrs\":{\"3\":\"h:3\",\"1\":\"h:1\"},"
                           "\"brokerName\":\"b\",\"cluster\":\"C\"}],\"queueDatas\":[]}",
                           false),
                     0);
    ck_assert_ptr_null(route_master(&route.brokers[0]));
    ck_assert_str_eq(route_reader(&route.brokers[0]), "h:1");
}
END_TEST

START_TEST(queues_of_a_broker_without_address_are_left_out)
{
    ck_assert_int_eq(
        parse("{\"brokerDatas\":[],\"queueDatas\":[{\"brokerName\":\"gone\",\"perm\":6,"
              "\"readQueueNums\":1,\"writeQueueNums\":1}]}",
              false),
        0);
    ck_assert_uint_eq(route.count, 0);
}
END_TEST

START_TEST(numbers_out_of_range_are_bounded)
{
    ck_assert_int_eq(
        parse("{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"b\"}],"
              "\"queueDatas\":[{\"brokerName\":\"b\",\"perm\":-1,\"readQueueNums\":-5,"
              "\"writeQueueNums\":99999999999}]}",
              false),
        0);
    ck_assert_int_eq(route.brokers[0].read_queues, 0);
    ck_assert_int_le(route.brokers[0].write_queues, 1 << 20);
    ck_assert_str_eq(route.brokers[0].cluster, "");
}
END_TEST

START_TEST(nonsense_is_refused_with_a_sentence)
{
    static const char *const bad[] = {
        "",
        "[",
        "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"}}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\"}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"x\":\"h:1\"}}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"0\":5}}]}",
        "{\"brokerDatas\":[{\"brokerName\":\"b\",\"brokerAddrs\":{\"-1\":\"h:1\"}}]}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.text[0] = '\0';
        ck_assert_msg(parse(bad[i], false) < 0, "accepted %s", bad[i]);
        ck_assert_msg(err.text[0] != '\0', "no sentence for %s", bad[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("route");
    TCase *c = tcase_create("route");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_topic_has_brokers_with_their_members_and_queues);
    tcase_add_test(c, bare_broker_ids_are_understood);
    tcase_add_test(c, a_cluster_has_its_brokers_sorted);
    tcase_add_test(c, without_a_master_reading_goes_to_the_lowest_id);
    tcase_add_test(c, queues_of_a_broker_without_address_are_left_out);
    tcase_add_test(c, numbers_out_of_range_are_bounded);
    tcase_add_test(c, nonsense_is_refused_with_a_sentence);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
