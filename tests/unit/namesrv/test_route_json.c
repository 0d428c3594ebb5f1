/* test_route_json.c - the bodies that clients and tools read, byte for byte. */
#include "namesrv/route_json.h"

#include "route_fixture.h"

static struct route_table *t;
static struct buf out;

static void setup(void)
{
    t = new_table();
    out = (struct buf){0};
}

static void teardown(void)
{
    t = route_table_free(t);
    buf_destroy(&out);
}

static void expect(const char *text)
{
    ck_assert(!out.failed);
    buf_add_u8(&out, '\0');
    ck_assert_str_eq((const char *)buf_at(&out), text);
    buf_reset(&out);
}

static void route(const char *topic, struct route_view view)
{
    route_json_route(route_table_topic(t, bytes_str(topic)), &view, &out);
}

/* The cluster of the recorded conversations. */
static void default_cluster(void)
{
    struct route_registration in = member(0, "127.0.0.1:10911");

    in.cluster = BYTES_LIT("DefaultCluster");
    in.group = BYTES_LIT("broker-a");
    join_with(t, in, topic_config("TopicA", 4));
}

START_TEST(a_route_in_the_standard_dialect)
{
    default_cluster();
    route("TopicA", (struct route_view){.standard = true});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"127.0.0.1:10911\"},\"brokerName\":"
           "\"broker-a\",\"cluster\":\"DefaultCluster\"}],\"filterServerTable\":{},\"queueDatas\":"
           "[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,"
           "\"writeQueueNums\":4}]}");
}
END_TEST

START_TEST(a_route_in_the_dialect_of_old_clients)
{
    default_cluster();
    route("TopicA", (struct route_view){0});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{0:\"127.0.0.1:10911\"},\"brokerName\":"
           "\"broker-a\",\"cluster\":\"DefaultCluster\"}],\"filterServerTable\":{},\"queueDatas\":"
           "[{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,"
           "\"writeQueueNums\":4}]}");
}
END_TEST

START_TEST(slaves_filters_order_and_a_second_group)
{
    struct bytes filters[] = {BYTES_LIT("f:1"), BYTES_LIT("f:2")};
    struct route_registration slave = member(1, "h:2"), b = member(0, "h:3");

    join_with(t, member(0, "h:1"), topic_config("T", 4));
    slave.keep_filters = false;
    slave.filters = filters;
    slave.filter_count = 2;
    registered(t, &slave, T0_MS);
    b.group = BYTES_LIT("b");
    join_with(t, b, topic_config("T", 8));

    route("T", (struct route_view){.order_known = true, .order = BYTES_LIT("a:4;b:8")});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:1\",1:\"h:2\"},\"brokerName\":\"a\","
           "\"cluster\":\"C\"},{\"brokerAddrs\":{0:\"h:3\"},\"brokerName\":\"b\",\"cluster\":"
           "\"C\"}],\"filterServerTable\":{\"h:2\":[\"f:1\",\"f:2\"]},\"orderTopicConf\":"
           "\"a:4;b:8\",\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6,\"readQueueNums\":4,"
           "\"topicSysFlag\":0,\"writeQueueNums\":4},{\"brokerName\":\"b\",\"perm\":6,"
           "\"readQueueNums\":8,\"topicSysFlag\":0,\"writeQueueNums\":8}]}");
}
END_TEST

START_TEST(the_standard_dialect_is_ascii)
{
    struct route_registration in = member(0, "h:1");

    in.group = bytes_str("caf\xc3\xa9");
    in.cluster = bytes_str("a/\xf0\x9f\x90\xa6");
    join_with(t, in, topic_config("T", 1));

    route("T", (struct route_view){.standard = true});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"h:1\"},\"brokerName\":\"caf\\u00E9\","
           "\"cluster\":\"a\\/\\uD83D\\uDC26\"}],\"filterServerTable\":{},\"queueDatas\":["
           "{\"brokerName\":\"caf\\u00E9\",\"perm\":6,\"readQueueNums\":1,\"topicSysFlag\":0,"
           "\"writeQueueNums\":1}]}");
    buf_add_str(&out, "a/b"); /* what stands before it is left alone */
    route("T", (struct route_view){.standard = true});
    ck_assert(bytes_starts(buf_bytes(&out), BYTES_LIT("a/b{\"brokerDatas\"")));
}
END_TEST

static struct route_registration acting(int64_t id, const char *address)
{
    struct route_registration in = member(id, address);

    in.speaks_acting_master = in.acting_master = true;
    return in;
}

START_TEST(the_lowest_slave_acts_as_master_where_that_is_supported)
{
    join_with(t, acting(2, "h:2"), topic_config("T", 4));
    join_with(t, acting(3, "h:3"), topic_config("T", 4));
    join_with(t, acting(2, "h:2"), topic_config("rmq_sys_SYNC_BROKER_MEMBER_a", 1));

    route("T", (struct route_view){.acting_master = true});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:2\",3:\"h:3\"},\"brokerName\":\"a\","
           "\"cluster\":\"C\",\"enableActingMaster\":true}],\"filterServerTable\":{},"
           "\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":4,\"readQueueNums\":4,"
           "\"topicSysFlag\":0,\"writeQueueNums\":4}]}");
    route("T", (struct route_view){0});
    ck_assert(bytes_starts(buf_bytes(&out), BYTES_LIT("{\"brokerDatas\":[{\"brokerAddrs\":{2:")));
    buf_reset(&out);
    route("rmq_sys_SYNC_BROKER_MEMBER_a", (struct route_view){.acting_master = true});
    ck_assert(bytes_starts(buf_bytes(&out), BYTES_LIT("{\"brokerDatas\":[{\"brokerAddrs\":{2:")));
}
END_TEST

START_TEST(a_zone_sees_its_own_groups_and_those_without_master)
{
    struct route_registration in = member(0, "h:1");

    in.zone = BYTES_LIT("East");
    join_with(t, in, topic_config("T", 1));
    in = member(0, "h:2");
    in.group = BYTES_LIT("b");
    in.zone = BYTES_LIT("west");
    join_with(t, in, topic_config("T", 2));
    in = acting(1, "h:3");
    in.group = BYTES_LIT("c");
    in.zone = BYTES_LIT("west");
    join_with(t, in, topic_config("T", 3));

    route("T", (struct route_view){.zone = BYTES_LIT("EAST")});
    expect("{\"brokerDatas\":[{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"a\",\"cluster\":\"C\","
           "\"zoneName\":\"East\"},{\"brokerAddrs\":{1:\"h:3\"},\"brokerName\":\"c\",\"cluster\":"
           "\"C\",\"enableActingMaster\":true,\"zoneName\":\"west\"}],\"filterServerTable\":{},"
           "\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6,\"readQueueNums\":1,"
           "\"topicSysFlag\":0,\"writeQueueNums\":1},{\"brokerName\":\"c\",\"perm\":4,"
           "\"readQueueNums\":3,\"topicSysFlag\":0,\"writeQueueNums\":3}]}");
}
END_TEST

START_TEST(cluster_info_lists_brokers_and_clusters)
{
    struct route_registration in;

    route_json_cluster_info(t, &out);
    expect("{\"brokerAddrTable\":{},\"clusterAddrTable\":{}}");

    default_cluster();
    route_json_cluster_info(t, &out);
    expect("{\"brokerAddrTable\":{\"broker-a\":{\"brokerAddrs\":{0:\"127.0.0.1:10911\"},"
           "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\"}},\"clusterAddrTable\":"
           "{\"DefaultCluster\":[\"broker-a\"]}}");

    in = member(0, "h:1");
    registered(t, &in, T0_MS);
    in.group = BYTES_LIT("z");
    in.cluster = BYTES_LIT("DefaultCluster");
    registered(t, &in, T0_MS);
    route_json_cluster_info(t, &out);
    expect("{\"brokerAddrTable\":{\"a\":{\"brokerAddrs\":{0:\"h:1\"},\"brokerName\":\"a\","
           "\"cluster\":\"C\"},\"broker-a\":{\"brokerAddrs\":{0:\"127.0.0.1:10911\"},"
           "\"brokerName\":\"broker-a\",\"cluster\":\"DefaultCluster\"},\"z\":{\"brokerAddrs\":"
           "{0:\"h:1\"},\"brokerName\":\"z\",\"cluster\":\"DefaultCluster\"}},"
           "\"clusterAddrTable\":{\"C\":[\"a\"],\"DefaultCluster\":[\"broker-a\",\"z\"]}}");
}
END_TEST

START_TEST(a_member_group_may_be_empty)
{
    struct route_registration in = member(0, "h:1");

    registered(t, &in, T0_MS);
    in = member(1, "h:2");
    registered(t, &in, T0_MS);
    route_json_member_group(route_table_group(t, in.group), in.group, in.cluster, &out);
    expect("{\"brokerMemberGroup\":{\"brokerAddrs\":{0:\"h:1\",1:\"h:2\"},\"brokerName\":\"a\","
           "\"cluster\":\"C\"}}");
    route_json_member_group(NULL, BYTES_LIT("x"), BYTES_LIT("C"), &out);
    expect("{\"brokerMemberGroup\":{\"brokerAddrs\":{},\"brokerName\":\"x\",\"cluster\":\"C\"}}");
}
END_TEST

START_TEST(a_version_names_its_state_only_where_there_is_one)
{
    struct route_version version = {.counter = 31, .timestamp = 1795363852265};

    route_json_version(&version, &out);
    expect("{\"counter\":31,\"timestamp\":1795363852265}");
    version.state = 7;
    route_json_version(&version, &out);
    expect("{\"counter\":31,\"stateVersion\":7,\"timestamp\":1795363852265}");
}
END_TEST

START_TEST(topics_are_listed_in_order_and_by_cluster)
{
    struct route_registration other = member(0, "h:2");

    route_json_topics(t, ROUTE_TOPICS_ALL, (struct bytes){0}, &out);
    expect("{\"topicList\":[]}");
    join_with(t, member(0, "h:1"), topic_config("b", 1));
    join_with(t, member(0, "h:1"), topic_config("ab", 1));
    join_with(t, member(0, "h:1"), topic_config("a", 1));
    other.group = BYTES_LIT("z");
    other.cluster = BYTES_LIT("Z");
    join_with(t, other, topic_config("b", 1));
    join_with(t, other, topic_config("c", 1));

    route_json_topics(t, ROUTE_TOPICS_ALL, (struct bytes){0}, &out);
    expect("{\"topicList\":[\"a\",\"ab\",\"b\",\"c\"]}");
    route_json_topics(t, ROUTE_TOPICS_OF_CLUSTER, BYTES_LIT("Z"), &out);
    expect("{\"topicList\":[\"b\",\"c\"]}");
    route_json_topics(t, ROUTE_TOPICS_OF_CLUSTER, BYTES_LIT("nowhere"), &out);
    expect("{\"topicList\":[]}");
    route_json_system_topics(t, &out);
    expect("{\"brokerAddr\":\"h:1\",\"topicList\":[\"C\",\"a\",\"Z\",\"z\"]}");
}
END_TEST

START_TEST(units_are_told_by_their_flags)
{
    static const char *const names[] = {"none", "unit", "sub", "both"};

    for (int32_t flags = 0; flags < 4; flags++) {
        struct route_topic_config topic = topic_config(names[flags], 1);

        topic.sys_flag = flags;
        join_with(t, member(0, "h:1"), topic);
    }
    route_json_topics(t, ROUTE_TOPICS_UNIT, (struct bytes){0}, &out);
    expect("{\"topicList\":[\"both\",\"unit\"]}");
    route_json_topics(t, ROUTE_TOPICS_UNIT_SUB, (struct bytes){0}, &out);
    expect("{\"topicList\":[\"both\",\"sub\"]}");
    route_json_topics(t, ROUTE_TOPICS_UNIT_SUB_NO_UNIT, (struct bytes){0}, &out);
    expect("{\"topicList\":[\"sub\"]}");
}
END_TEST

START_TEST(an_empty_table_has_no_system_broker)
{
    route_json_system_topics(t, &out);
    expect("{\"topicList\":[]}");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("route_json");
    TCase *c = tcase_create("bodies");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_route_in_the_standard_dialect);
    tcase_add_test(c, a_route_in_the_dialect_of_old_clients);
    tcase_add_test(c, slaves_filters_order_and_a_second_group);
    tcase_add_test(c, the_standard_dialect_is_ascii);
    tcase_add_test(c, the_lowest_slave_acts_as_master_where_that_is_supported);
    tcase_add_test(c, a_zone_sees_its_own_groups_and_those_without_master);
    tcase_add_test(c, cluster_info_lists_brokers_and_clusters);
    tcase_add_test(c, a_member_group_may_be_empty);
    tcase_add_test(c, a_version_names_its_state_only_where_there_is_one);
    tcase_add_test(c, topics_are_listed_in_order_and_by_cluster);
    tcase_add_test(c, units_are_told_by_their_flags);
    tcase_add_test(c, an_empty_table_has_no_system_broker);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
