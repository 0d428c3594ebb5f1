/* test_route_table.c - the rules by which brokers enter, change and leave the routing table. */
#include "route_fixture.h"

#include <stdio.h>

static struct route_table *t;

static void setup(void)
{
    t = new_table();
}

static void teardown(void)
{
    t = route_table_free(t);
}

static const struct route_group *group_a(void)
{
    return route_table_group(t, BYTES_LIT("a"));
}

/* ---- registering ---- */

START_TEST(a_master_brings_its_group_and_topics)
{
    struct route_registration in = member(0, "h:1");
    struct route_topic_config topics[] = {topic_config("T", 4), topic_config("U", 8)};
    struct route_registered out;

    in.topics = topics;
    in.topic_count = 2;
    out = registered(t, &in, T0_MS);

    ck_assert(out.joined);
    ck_assert_ptr_null(out.master);
    ck_assert_uint_eq(route_table_group_count(t), 1);
    ck_assert_uint_eq(route_table_topic_count(t), 2);
    ck_assert_str_eq(group_a()->cluster, "C");
    ck_assert_str_eq(route_group_master(group_a())->address, "h:1");
    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 4);
    ck_assert_int_eq(queue_in(t, "U", "a")->read_queues, 8);
}
END_TEST

START_TEST(a_slave_learns_its_master_and_brings_no_topics)
{
    struct route_registration slave = member(1, "h:2");
    struct route_topic_config topic = topic_config("OfSlave", 4);
    struct route_registered out;

    join_with(t, member(0, "h:1"), topic_config("T", 4));
    slave.topics = &topic;
    slave.topic_count = 1;
    out = registered(t, &slave, T0_MS);

    ck_assert_str_eq(out.master->address, "h:1");
    ck_assert_str_eq(out.master->ha_address, "h:10912");
    ck_assert_ptr_null(queue_in(t, "OfSlave", "a"));
    ck_assert_uint_eq(group_a()->member_count, 2);
}
END_TEST

START_TEST(a_slave_without_master_learns_nothing_and_brings_no_topics)
{
    struct route_registration slave = member(1, "h:2");
    struct route_topic_config topic = topic_config("T", 4);
    struct route_registered out;

    slave.topics = &topic;
    slave.topic_count = 1;
    out = registered(t, &slave, T0_MS);

    ck_assert_ptr_null(out.master);
    ck_assert_uint_eq(route_table_topic_count(t), 0);
}
END_TEST

START_TEST(a_known_topic_is_overwritten_only_when_the_version_changed)
{
    struct route_registration in = member(0, "h:1");

    join_with(t, in, topic_config("T", 4));
    join_with(t, in, topic_config("T", 16));
    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 4);

    in.version.counter++;
    join_with(t, in, topic_config("T", 16));
    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 16);

    in.version.timestamp++;
    join_with(t, in, topic_config("T", 32));
    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 32);

    in.version.state++;
    join_with(t, in, topic_config("T", 64));
    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 64);
}
END_TEST

/* A broker sends one changed topic with its whole version. When such a message is lost, the next
 * full one comes with a version that a later message brought already. */
START_TEST(a_missing_topic_is_taken_whatever_the_version)
{
    struct route_registration in = member(0, "h:1");

    join_with(t, in, topic_config("T", 4));
    join_with(t, in, topic_config("Lost", 4));

    ck_assert_ptr_nonnull(queue_in(t, "Lost", "a"));
}
END_TEST

START_TEST(a_topic_that_is_not_named_stays)
{
    struct route_registration in = member(0, "h:1");

    join_with(t, in, topic_config("T", 4));
    in.version.counter++;
    join_with(t, in, topic_config("U", 4));

    ck_assert_ptr_nonnull(queue_in(t, "T", "a"));
}
END_TEST

START_TEST(topics_that_a_broker_no_longer_has_go_for_its_group_alone)
{
    const struct bytes gone[] = {BYTES_LIT("Both"), BYTES_LIT("Only"), BYTES_LIT("Unknown")};
    struct route_registration in = member(0, "h:1"), other = member(0, "h:2");
    struct route_registration slave = member(1, "h:3");

    other.group = BYTES_LIT("b");
    join_with(t, in, topic_config("Both", 4));
    join_with(t, in, topic_config("Only", 4));
    join_with(t, in, topic_config("Stays", 4));
    join_with(t, other, topic_config("Both", 4));
    slave.removed = gone;
    slave.removed_count = 3;
    registered(t, &slave, T0_MS); /* topics are the master's */
    ck_assert_ptr_nonnull(queue_in(t, "Only", "a"));

    in.version.counter++;
    in.removed = gone;
    in.removed_count = 3;
    registered(t, &in, T0_MS);
    ck_assert_ptr_null(queue_in(t, "Both", "a"));
    ck_assert_ptr_nonnull(queue_in(t, "Both", "b"));
    ck_assert_ptr_null(route_table_topic(t, BYTES_LIT("Only")));
    ck_assert_ptr_nonnull(queue_in(t, "Stays", "a"));
    ck_assert_uint_eq(route_table_queue_count(t), 2);
}
END_TEST

START_TEST(a_broker_that_comes_back_is_believed_with_an_old_version)
{
    struct route_gone gone;
    struct route_registration in = member(0, "h:1");

    join_with(t, member(1, "h:2"), topic_config("T", 4)); /* keeps the group */
    join_with(t, in, topic_config("T", 4));
    ck_assert(route_table_unregister(t, in.group, in.address, &gone));
    join_with(t, in, topic_config("T", 16));

    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 16);
}
END_TEST

START_TEST(an_address_stands_under_one_id)
{
    struct route_registration in = member(1, "h:1");

    registered(t, &in, T0_MS);
    in.id = 0;
    ck_assert(registered(t, &in, T0_MS).joined);

    ck_assert_uint_eq(group_a()->member_count, 1);
    ck_assert_int_eq(group_a()->members[0].id, 0);
}
END_TEST

START_TEST(members_are_sorted_by_id)
{
    struct route_registration in;

    in = member(2, "h:2");
    registered(t, &in, T0_MS);
    in = member(0, "h:1");
    registered(t, &in, T0_MS);
    in = member(1, "h:3");
    registered(t, &in, T0_MS);

    for (int64_t id = 0; id < 3; id++)
        ck_assert_int_eq(group_a()->members[id].id, id);
}
END_TEST

START_TEST(the_last_address_holds_an_id_among_equals)
{
    struct route_registration in = member(0, "h:1");

    registered(t, &in, T0_MS);
    in = member(0, "h:2");
    ck_assert(registered(t, &in, T0_MS).joined);

    ck_assert_uint_eq(group_a()->member_count, 1);
    ck_assert_str_eq(route_group_master(group_a())->address, "h:2");
}
END_TEST

START_TEST(a_new_holder_of_an_id_is_believed_whatever_its_version)
{
    struct route_registration in = member(0, "h:1");

    in.version = (struct route_version){0};
    join_with(t, in, topic_config("T", 4));
    in = member(0, "h:2");
    in.version = (struct route_version){0};
    join_with(t, in, topic_config("T", 16));

    ck_assert_int_eq(queue_in(t, "T", "a")->write_queues, 16);
}
END_TEST

START_TEST(a_lower_state_version_cannot_take_an_id)
{
    struct route_registration holder = member(0, "h:1"), old = member(0, "h:2");
    struct route_topic_config topic = topic_config("T", 4);
    struct route_registered out;

    holder.version.state = 7;
    old.version = (struct route_version){.state = 6, .counter = 900, .timestamp = 900};
    old.topics = &topic;
    old.topic_count = 1;
    registered(t, &holder, T0_MS);

    ck_assert_int_eq(route_table_register(t, &old, T0_MS, &out), ROUTE_OUTDATED);
    ck_assert_str_eq(route_group_master(group_a())->address, "h:1");
    ck_assert_uint_eq(route_table_topic_count(t), 0);
}
END_TEST

START_TEST(a_higher_state_version_takes_an_id)
{
    struct route_registration holder = member(0, "h:1"), next = member(0, "h:2");
    struct route_registered out;

    holder.version.state = 7;
    next.version.state = 8;
    registered(t, &holder, T0_MS);
    registered(t, &next, T0_MS);

    ck_assert_str_eq(route_group_master(group_a())->address, "h:2");
    ck_assert_int_eq(route_table_register(t, &holder, T0_MS, &out), ROUTE_OUTDATED);
}
END_TEST

/* A slave that promotes itself while a newer master is there is in the table no longer. */
START_TEST(an_outdated_claim_loses_the_id_it_had)
{
    struct route_registration master = member(0, "h:1"), slave = member(1, "h:2");
    struct route_registered out;

    master.version.state = 7;
    registered(t, &master, T0_MS);
    registered(t, &slave, T0_MS);
    slave.id = 0;

    ck_assert_int_eq(route_table_register(t, &slave, T0_MS, &out), ROUTE_OUTDATED);
    ck_assert_uint_eq(group_a()->member_count, 1);
}
END_TEST

START_TEST(the_holder_itself_may_go_back_in_state_version)
{
    struct route_registration in = member(0, "h:1");

    in.version.state = 7;
    registered(t, &in, T0_MS);
    in.version.state = 0;
    registered(t, &in, T0_MS);

    ck_assert_int_eq(route_group_master(group_a())->version.state, 0);
}
END_TEST

START_TEST(the_master_names_the_cluster)
{
    struct route_registration in = member(1, "h:2");

    in.cluster = BYTES_LIT("Old");
    registered(t, &in, T0_MS);
    ck_assert_str_eq(group_a()->cluster, "Old");
    in = member(0, "h:1");
    registered(t, &in, T0_MS);
    ck_assert_str_eq(group_a()->cluster, "C");
    in = member(1, "h:2");
    in.cluster = BYTES_LIT("Old");
    registered(t, &in, T0_MS);
    ck_assert_str_eq(group_a()->cluster, "C");
}
END_TEST

START_TEST(no_list_of_filter_servers_keeps_and_an_empty_one_removes)
{
    struct route_registration in = member(0, "h:1");
    struct bytes filters[] = {BYTES_LIT("f:1"), BYTES_LIT("f:2")};

    in.keep_filters = false;
    in.filters = filters;
    in.filter_count = 2;
    registered(t, &in, T0_MS);
    ck_assert_uint_eq(group_a()->members[0].filter_count, 2);

    in.keep_filters = true;
    in.filter_count = 0;
    registered(t, &in, T0_MS);
    ck_assert_uint_eq(group_a()->members[0].filter_count, 2);
    ck_assert_str_eq(group_a()->members[0].filters[1], "f:2");

    in.keep_filters = false;
    registered(t, &in, T0_MS);
    ck_assert_uint_eq(group_a()->members[0].filter_count, 0);
}
END_TEST

/* ---- acting masters, which 5.x brokers know ---- */

static struct route_registration acting(int64_t id, const char *address)
{
    struct route_registration in = member(id, address);

    in.speaks_acting_master = in.acting_master = true;
    return in;
}

START_TEST(the_lowest_slave_of_a_group_without_master_brings_topics_to_read)
{
    join_with(t, acting(2, "h:2"), topic_config("T", 4));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, ROUTE_PERM_READ);

    join_with(t, acting(3, "h:3"), topic_config("U", 4));
    ck_assert_ptr_null(queue_in(t, "U", "a"));
}
END_TEST

START_TEST(a_master_that_leaves_takes_the_write_right_along)
{
    struct route_gone gone;

    join_with(t, acting(0, "h:1"), topic_config("T", 4));
    join_with(t, acting(1, "h:2"), topic_config("T", 4));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);

    ck_assert(route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:1"), &gone));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, ROUTE_PERM_READ);

    join_with(t, acting(0, "h:1"), topic_config("T", 4));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
}
END_TEST

START_TEST(a_slave_that_leaves_takes_no_right_along)
{
    struct route_gone gone;

    join_with(t, acting(0, "h:1"), topic_config("T", 4));
    join_with(t, acting(1, "h:2"), topic_config("T", 4));
    ck_assert(route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:2"), &gone));

    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
}
END_TEST

START_TEST(without_acting_masters_the_right_stays)
{
    struct route_gone gone;

    join_with(t, member(0, "h:1"), topic_config("T", 4));
    join_with(t, member(1, "h:2"), topic_config("T", 4));
    ck_assert(route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:1"), &gone));

    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
}
END_TEST

/* ---- leaving ---- */

START_TEST(unregistering_removes_only_the_address_that_asks)
{
    struct route_gone gone;

    join_with(t, member(0, "h:1"), topic_config("T", 4));

    ck_assert(!route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:9"), &gone));
    ck_assert(!route_table_unregister(t, BYTES_LIT("b"), BYTES_LIT("h:1"), &gone));
    ck_assert_uint_eq(route_table_group_count(t), 1);
    ck_assert(route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:1"), &gone));
    ck_assert_str_eq(gone.group, "a");
    ck_assert_str_eq(gone.address, "h:1");
}
END_TEST

START_TEST(the_last_member_takes_group_and_topics_along)
{
    struct route_registration b = member(0, "h:2");
    struct route_gone gone;

    b.group = BYTES_LIT("b");
    join_with(t, member(0, "h:1"), topic_config("T", 4));
    join_with(t, member(0, "h:1"), topic_config("OnlyA", 4));
    join_with(t, b, topic_config("T", 4));

    ck_assert(route_table_unregister(t, BYTES_LIT("a"), BYTES_LIT("h:1"), &gone));
    ck_assert_ptr_null(group_a());
    ck_assert_ptr_null(route_table_topic(t, BYTES_LIT("OnlyA")));
    ck_assert_ptr_null(queue_in(t, "T", "a"));
    ck_assert_ptr_nonnull(queue_in(t, "T", "b"));
    ck_assert_uint_eq(route_table_queue_count(t), 1);
}
END_TEST

START_TEST(a_slave_that_leaves_changes_no_topic)
{
    struct route_registration slave = member(1, "h:2");
    struct route_gone gone;

    join_with(t, member(0, "h:1"), topic_config("T", 4));
    registered(t, &slave, T0_MS);
    ck_assert(route_table_unregister(t, slave.group, slave.address, &gone));

    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
    ck_assert_uint_eq(group_a()->member_count, 1);
}
END_TEST

START_TEST(a_closed_connection_removes_who_spoke_on_it_last)
{
    struct route_registration in = member(0, "h:1");
    struct route_gone gone;

    in.channel = 11;
    registered(t, &in, T0_MS);
    in.channel = 12; /* it reconnected before the old connection was seen to close */
    registered(t, &in, T0_MS);

    ck_assert(!route_table_take_channel(t, 11, &gone));
    ck_assert(route_table_take_channel(t, 12, &gone));
    ck_assert(!route_table_take_channel(t, 12, &gone));
    ck_assert_uint_eq(route_table_group_count(t), 0);
}
END_TEST

START_TEST(a_closed_connection_removes_all_that_share_it)
{
    struct route_registration a = member(0, "h:1"), b = member(0, "h:2");
    struct route_gone gone;

    a.channel = b.channel = 11;
    b.group = BYTES_LIT("b");
    registered(t, &a, T0_MS);
    registered(t, &b, T0_MS);

    ck_assert(route_table_take_channel(t, 11, &gone));
    ck_assert(route_table_take_channel(t, 11, &gone));
    ck_assert(!route_table_take_channel(t, 11, &gone));
    ck_assert_uint_eq(route_table_group_count(t), 0);
}
END_TEST

START_TEST(silence_of_more_than_two_minutes_removes)
{
    struct route_registration in = member(0, "h:1");
    struct route_gone gone;

    ck_assert_int_eq(route_table_next_silent_ms(t), INT64_MAX);
    registered(t, &in, T0_MS);

    ck_assert_int_eq(route_table_next_silent_ms(t), T0_MS + 120001);
    ck_assert(!route_table_take_silent(t, T0_MS + 120000, &gone));
    ck_assert(route_table_take_silent(t, T0_MS + 120001, &gone));
    ck_assert_uint_eq(gone.channel, 1);
    ck_assert_uint_eq(route_table_group_count(t), 0);
    ck_assert(!route_table_take_silent(t, T0_MS + 120001, &gone));
}
END_TEST

START_TEST(a_broker_may_name_its_own_timeout)
{
    struct route_registration in = member(0, "h:1");
    struct route_gone gone;

    in.timeout_ms = 10000;
    registered(t, &in, T0_MS);

    ck_assert_int_eq(route_table_next_silent_ms(t), T0_MS + 10001);
    ck_assert(!route_table_take_silent(t, T0_MS + 10000, &gone));
    ck_assert(route_table_take_silent(t, T0_MS + 10001, &gone));
}
END_TEST

START_TEST(every_sign_of_life_counts)
{
    struct route_registration in = member(0, "h:1");
    struct route_gone gone;

    registered(t, &in, T0_MS);
    ck_assert_ptr_nonnull(
        route_table_touch(t, BYTES_LIT("a"), BYTES_LIT("h:1"), 5, T0_MS + 100000));
    ck_assert(!route_table_take_silent(t, T0_MS + 220000, &gone));
    registered(t, &in, T0_MS + 200000);
    ck_assert(!route_table_take_silent(t, T0_MS + 320000, &gone));
    ck_assert(route_table_take_silent(t, T0_MS + 320001, &gone));
}
END_TEST

START_TEST(a_touch_needs_the_address_and_moves_the_connection)
{
    struct route_registration in = member(0, "h:1");
    struct route_gone gone;

    registered(t, &in, T0_MS);
    ck_assert_ptr_null(route_table_touch(t, BYTES_LIT("a"), BYTES_LIT("h:2"), 5, T0_MS));
    ck_assert_ptr_null(route_table_touch(t, BYTES_LIT("b"), BYTES_LIT("h:1"), 5, T0_MS));
    ck_assert_ptr_nonnull(route_table_touch(t, BYTES_LIT("a"), BYTES_LIT("h:1"), 5, T0_MS));

    ck_assert(!route_table_take_channel(t, in.channel, &gone));
    ck_assert(route_table_take_channel(t, 5, &gone));
}
END_TEST

/* ---- what operators change ---- */

START_TEST(wiping_clears_write_in_all_topics_of_one_broker)
{
    struct route_registration b = member(0, "h:2");
    struct route_topic_config inherit = topic_config("TBW102", 8);

    inherit.perm = 7;
    b.group = BYTES_LIT("b");
    join_with(t, member(0, "h:1"), topic_config("T", 4));
    join_with(t, member(0, "h:1"), inherit);
    join_with(t, b, topic_config("T", 4));

    ck_assert_uint_eq(route_table_wipe_write_perm(t, BYTES_LIT("a")), 2);
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 4);
    ck_assert_int_eq(queue_in(t, "TBW102", "a")->perm, 5);
    ck_assert_int_eq(queue_in(t, "T", "b")->perm, 6);
    ck_assert_uint_eq(route_table_wipe_write_perm(t, BYTES_LIT("nobody")), 0);
}
END_TEST

START_TEST(adding_the_right_sets_exactly_read_and_write)
{
    struct route_topic_config inherit = topic_config("TBW102", 8);

    inherit.perm = 7;
    join_with(t, member(0, "h:1"), topic_config("T", 4));
    join_with(t, member(0, "h:1"), inherit);

    ck_assert_uint_eq(route_table_add_write_perm(t, BYTES_LIT("a")), 2);
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
    ck_assert_int_eq(queue_in(t, "TBW102", "a")->perm, 6);
}
END_TEST

START_TEST(a_wiped_right_lasts_until_the_version_changes)
{
    struct route_registration in = member(0, "h:1");

    join_with(t, in, topic_config("T", 4));
    route_table_wipe_write_perm(t, BYTES_LIT("a"));
    join_with(t, in, topic_config("T", 4));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 4);
    in.version.counter++;
    join_with(t, in, topic_config("T", 4));
    ck_assert_int_eq(queue_in(t, "T", "a")->perm, 6);
}
END_TEST

START_TEST(a_topic_is_deleted_everywhere_or_in_one_cluster)
{
    struct route_registration b = member(0, "h:2");

    b.group = BYTES_LIT("b");
    b.cluster = BYTES_LIT("Other");
    join_with(t, member(0, "h:1"), topic_config("T", 4));
    join_with(t, b, topic_config("T", 4));

    route_table_delete_topic(t, BYTES_LIT("T"), BYTES_LIT("Nowhere"));
    ck_assert_uint_eq(route_table_topic(t, BYTES_LIT("T"))->queue_count, 2);
    route_table_delete_topic(t, BYTES_LIT("T"), BYTES_LIT("C"));
    ck_assert_ptr_null(queue_in(t, "T", "a"));
    ck_assert_ptr_nonnull(queue_in(t, "T", "b"));
    route_table_delete_topic(t, BYTES_LIT("T"), BYTES_LIT(""));
    ck_assert_ptr_null(route_table_topic(t, BYTES_LIT("T")));
    route_table_delete_topic(t, BYTES_LIT("T"), BYTES_LIT(""));
    ck_assert_uint_eq(route_table_queue_count(t), 0);
}
END_TEST

START_TEST(a_queue_entry_needs_a_registered_broker)
{
    struct route_topic_config topic = topic_config("Static", 4);
    enum route_full full = ROUTE_FULL_NOT;
    struct route_registration in = member(0, "h:1");

    ck_assert_int_eq(route_table_put_queue(t, &topic, BYTES_LIT("a"), &full), ROUTE_UNKNOWN);
    ck_assert_uint_eq(route_table_topic_count(t), 0);
    registered(t, &in, T0_MS);
    ck_assert_int_eq(route_table_put_queue(t, &topic, BYTES_LIT("a"), &full), 0);
    ck_assert_int_eq(queue_in(t, "Static", "a")->write_queues, 4);
}
END_TEST

/* ---- bounds ---- */

static struct bytes numbered(char text[32], const char *prefix, size_t i)
{
    return bytes_of(text, (size_t)snprintf(text, 32, "%s%zu", prefix, i));
}

START_TEST(a_full_topic_table_leaves_the_rest_intact)
{
    struct route_registration in = member(0, "h:1");
    struct route_topic_config known = topic_config("Known", 4), extra = topic_config("Extra", 4);
    struct route_topic_config last[2];
    struct route_registered out;

    join_with(t, in, known);
    for (size_t i = 1; i < ROUTE_TOPICS_MAX; i++) {
        char name[32];
        struct route_topic_config topic = topic_config("", 1);

        topic.name = numbered(name, "t", i);
        in.topics = &topic;
        in.topic_count = 1;
        ck_assert_int_eq(route_table_register(t, &in, T0_MS, &out), 0);
        ck_assert_uint_eq(out.left_out, 0);
    }
    known.write_queues = 9;
    last[0] = extra;
    last[1] = known;
    in.version.counter = 2;
    in.topics = last;
    in.topic_count = 2;
    ck_assert_int_eq(route_table_register(t, &in, T0_MS, &out), 0);

    ck_assert_uint_eq(out.left_out, 1);
    ck_assert_int_eq(out.full, ROUTE_FULL_TOPICS);
    ck_assert_int_eq(queue_in(t, "Known", "a")->write_queues, 9);
    ck_assert(!out.member->complete);

    /* when there is room again the same version brings the rest */
    route_table_delete_topic(t, BYTES_LIT("t1"), BYTES_LIT(""));
    ck_assert_int_eq(route_table_register(t, &in, T0_MS, &out), 0);
    ck_assert_uint_eq(out.left_out, 0);
    ck_assert(out.member->complete);
    ck_assert_ptr_nonnull(queue_in(t, "Extra", "a"));
}
END_TEST

START_TEST(a_full_group_takes_no_new_member_but_keeps_the_old)
{
    struct route_registered out;
    char address[32];
    struct route_registration in;

    for (int64_t id = 0; id < ROUTE_MEMBERS_MAX; id++) {
        snprintf(address, sizeof(address), "h:%d", (int)id + 1);
        in = member(id, address);
        registered(t, &in, T0_MS);
    }
    in = member(ROUTE_MEMBERS_MAX, "h:999");
    ck_assert_int_eq(route_table_register(t, &in, T0_MS, &out), ROUTE_FULL);
    ck_assert_int_eq(out.full, ROUTE_FULL_MEMBERS);
    in = member(3, "h:4");
    registered(t, &in, T0_MS);
    ck_assert_uint_eq(group_a()->member_count, ROUTE_MEMBERS_MAX);
}
END_TEST

START_TEST(a_full_broker_table_takes_no_new_group)
{
    struct route_registered out;
    struct route_registration in = member(0, "h:1");
    char name[32];

    for (size_t i = 0; i < ROUTE_GROUPS_MAX; i++) {
        in.group = numbered(name, "g", i);
        registered(t, &in, T0_MS);
    }
    in.group = BYTES_LIT("one-more");
    ck_assert_int_eq(route_table_register(t, &in, T0_MS, &out), ROUTE_FULL);
    ck_assert_int_eq(out.full, ROUTE_FULL_GROUPS);
    in.group = BYTES_LIT("g17");
    registered(t, &in, T0_MS);
}
END_TEST

/* ---- the table itself ---- */

START_TEST(groups_are_in_order_of_name_and_topics_are_all_visited)
{
    struct route_registration in = member(0, "h:1");
    const struct route_topic *topic = NULL;
    struct route_gone gone;
    char name[32];
    size_t seen = 0;

    for (size_t i = 0; i < 5000; i++) {
        in.group = numbered(name, "g", i % 7);
        join_with(t, in, (struct route_topic_config){.name = numbered(name, "t", i)});
        in.group = (struct bytes){0};
    }
    while ((topic = route_table_next_topic(t, topic)) != NULL)
        seen++;
    ck_assert_uint_eq(seen, route_table_topic_count(t));
    for (size_t i = 1; i < route_table_group_count(t); i++)
        ck_assert_str_lt(route_table_group_at(t, i - 1)->name, route_table_group_at(t, i)->name);

    while (route_table_take_channel(t, 1, &gone))
        ;
    ck_assert_uint_eq(route_table_topic_count(t), 0);
    ck_assert_uint_eq(route_table_queue_count(t), 0);
    ck_assert_ptr_null(route_table_next_topic(t, NULL));
}
END_TEST

START_TEST(queue_entries_are_in_order_of_group)
{
    static const char *const names[] = {"m", "z", "a", "k"};

    for (size_t i = 0; i < 4; i++) {
        struct route_registration in = member(0, "h:1");

        in.group = bytes_str(names[i]);
        join_with(t, in, topic_config("T", 4));
    }
    const struct route_topic *topic = route_table_topic(t, BYTES_LIT("T"));
    ck_assert_uint_eq(topic->queue_count, 4);
    for (uint32_t i = 1; i < 4; i++)
        ck_assert_str_lt(topic->queues[i - 1].group->name, topic->queues[i].group->name);
}
END_TEST

START_TEST(two_tables_know_nothing_of_one_another)
{
    struct route_table *other = new_table();

    join_with(t, member(0, "h:1"), topic_config("T", 4));

    ck_assert_ptr_null(route_table_topic(other, BYTES_LIT("T")));
    ck_assert_uint_eq(route_table_group_count(other), 0);
    route_table_free(other);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("route_table");
    TCase *c = tcase_create("rules");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_master_brings_its_group_and_topics);
    tcase_add_test(c, a_slave_learns_its_master_and_brings_no_topics);
    tcase_add_test(c, a_slave_without_master_learns_nothing_and_brings_no_topics);
    tcase_add_test(c, a_known_topic_is_overwritten_only_when_the_version_changed);
    tcase_add_test(c, a_missing_topic_is_taken_whatever_the_version);
    tcase_add_test(c, a_topic_that_is_not_named_stays);
    tcase_add_test(c, topics_that_a_broker_no_longer_has_go_for_its_group_alone);
    tcase_add_test(c, a_broker_that_comes_back_is_believed_with_an_old_version);
    tcase_add_test(c, an_address_stands_under_one_id);
    tcase_add_test(c, members_are_sorted_by_id);
    tcase_add_test(c, the_last_address_holds_an_id_among_equals);
    tcase_add_test(c, a_new_holder_of_an_id_is_believed_whatever_its_version);
    tcase_add_test(c, a_lower_state_version_cannot_take_an_id);
    tcase_add_test(c, a_higher_state_version_takes_an_id);
    tcase_add_test(c, an_outdated_claim_loses_the_id_it_had);
    tcase_add_test(c, the_holder_itself_may_go_back_in_state_version);
    tcase_add_test(c, the_master_names_the_cluster);
    tcase_add_test(c, no_list_of_filter_servers_keeps_and_an_empty_one_removes);
    tcase_add_test(c, the_lowest_slave_of_a_group_without_master_brings_topics_to_read);
    tcase_add_test(c, a_master_that_leaves_takes_the_write_right_along);
    tcase_add_test(c, a_slave_that_leaves_takes_no_right_along);
    tcase_add_test(c, without_acting_masters_the_right_stays);
    tcase_add_test(c, unregistering_removes_only_the_address_that_asks);
    tcase_add_test(c, the_last_member_takes_group_and_topics_along);
    tcase_add_test(c, a_slave_that_leaves_changes_no_topic);
    tcase_add_test(c, a_closed_connection_removes_who_spoke_on_it_last);
    tcase_add_test(c, a_closed_connection_removes_all_that_share_it);
    tcase_add_test(c, silence_of_more_than_two_minutes_removes);
    tcase_add_test(c, a_broker_may_name_its_own_timeout);
    tcase_add_test(c, every_sign_of_life_counts);
    tcase_add_test(c, a_touch_needs_the_address_and_moves_the_connection);
    tcase_add_test(c, wiping_clears_write_in_all_topics_of_one_broker);
    tcase_add_test(c, adding_the_right_sets_exactly_read_and_write);
    tcase_add_test(c, a_wiped_right_lasts_until_the_version_changes);
    tcase_add_test(c, a_topic_is_deleted_everywhere_or_in_one_cluster);
    tcase_add_test(c, a_queue_entry_needs_a_registered_broker);
    tcase_add_test(c, a_full_topic_table_leaves_the_rest_intact);
    tcase_add_test(c, a_full_group_takes_no_new_member_but_keeps_the_old);
    tcase_add_test(c, a_full_broker_table_takes_no_new_group);
    tcase_add_test(c, groups_are_in_order_of_name_and_topics_are_all_visited);
    tcase_add_test(c, queue_entries_are_in_order_of_group);
    tcase_add_test(c, two_tables_know_nothing_of_one_another);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
