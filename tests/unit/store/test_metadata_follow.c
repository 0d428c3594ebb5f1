/* test_metadata_follow.c - a slave takes its master's topics, groups and offsets in: what the
 * master says holds, what it does not name goes when nothing is lost by it, and no consumer goes
 * back behind what it committed here since.
 */
#include "metadata_fixture.h"

static struct metadata_followed followed;
static struct err err;

#define TOPIC(name, queues)                                                                        \
    "\"" name "\":{\"order\":false,\"perm\":6,\"readQueueNums\":" #queues                          \
    ",\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"" name                                    \
    "\",\"topicSysFlag\":0,\"writeQueueNums\":" #queues "}"
#define TOPICS(list)                                                                               \
    "{\"dataVersion\":{\"counter\":3,\"timestamp\":1795364087864},\"topicConfigTable\":{" list "}" \
    "}"

static void begin(void)
{
    fixture_begin();
    open_meta();
}

static void end(void)
{
    close_meta();
    fixture_end();
}

static int follow_topics(const char *text)
{
    return metadata_follow_topics(m, bytes_str(text), &followed, &err);
}

static int follow_offsets(const char *text)
{
    return metadata_follow_offsets(m, bytes_str(text), &followed, &err);
}

static void expect_offset(int32_t queue_id, int64_t offset)
{
    ck_assert_int_eq(metadata_offset(m, BYTES_LIT("T"), BYTES_LIT("G"), queue_id), offset);
}

static void commit_here(int32_t queue_id, int64_t offset)
{
    ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), BYTES_LIT("G"), queue_id, offset),
                     0);
}

START_TEST(the_topics_of_the_master_are_taken_over)
{
    struct topic_config config;

    ck_assert_int_eq(follow_topics(TOPICS(TOPIC("A", 2) "," TOPIC("B", 3))), 0);
    ck_assert_uint_eq(followed.taken, 2);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("B"), &config));
    ck_assert_int_eq(config.read_queues, 3);
    ck_assert_int_eq(follow_topics(TOPICS(TOPIC("A", 2) "," TOPIC("B", 8))), 0);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("B"), &config));
    ck_assert_int_eq(config.read_queues, 8);
}
END_TEST

/* RocketMQ's broker names nothing when its configuration file is lost. */
START_TEST(what_the_master_does_not_name_stays)
{
    ck_assert_int_eq(follow_topics(TOPICS(TOPIC("A", 2) "," TOPIC("B", 3))), 0);
    ck_assert_int_eq(follow_topics(TOPICS(TOPIC("A", 4))), 0);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("A"), NULL));
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("B"), NULL));
    ck_assert_int_eq(follow_topics("{\"topicConfigTable\":{}}"), 0);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("A"), NULL));
}
END_TEST

START_TEST(groups_are_taken_over_and_stay)
{
    const char *two = "{\"dataVersion\":{\"counter\":1},\"subscriptionGroupTable\":{"
                      "\"G1\":{\"groupName\":\"G1\",\"retryMaxTimes\":3},"
                      "\"G2\":{\"groupName\":\"G2\"}}}";
    const char *one = "{\"subscriptionGroupTable\":{\"G1\":{\"groupName\":\"G1\"}}}";
    struct group_config config;

    ck_assert_int_eq(metadata_follow_groups(m, bytes_str(two), &followed, &err), 0);
    ck_assert(metadata_group(m, BYTES_LIT("G1"), &config));
    ck_assert_int_eq(config.retry_max_times, 3);
    ck_assert(metadata_group(m, BYTES_LIT("G2"), NULL));
    ck_assert_int_eq(metadata_follow_groups(m, bytes_str(one), &followed, &err), 0);
    ck_assert(metadata_group(m, BYTES_LIT("G2"), NULL));
}
END_TEST

/* An answer without a table is not the answer that there is nothing. */
START_TEST(nothing_goes_without_a_table)
{
    ck_assert_int_eq(follow_topics(TOPICS(TOPIC("A", 2))), 0);
    ck_assert_int_eq(follow_topics("{}"), 0);
    ck_assert_int_eq(follow_topics("{\"topicConfigTable\":null}"), 0);
    ck_assert_int_eq(follow_topics("{\"topicConfigTable\":[1]}"), -EBADMSG);
    ck_assert_int_eq(follow_topics("<html>"), -EBADMSG);
    ck_assert_int_eq(follow_topics(""), -EBADMSG);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("A"), NULL));
}
END_TEST

START_TEST(offsets_follow_the_master_forward_and_back)
{
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100,1:50}}}"), 0);
    expect_offset(0, 100);
    expect_offset(1, 50);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:20,1:60,7:5}}}"), 0);
    expect_offset(0, 20); /* an operator has set it back there */
    expect_offset(1, 60);
    expect_offset(7, 5);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:10}}}"), 0);
    expect_offset(0, 10);
    expect_offset(1, 60);
}
END_TEST

START_TEST(what_was_committed_here_later_stays_until_the_master_is_there_too)
{
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100,1:100}}}"), 0);
    commit_here(0, 150); /* the master is away */
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100,1:100}}}"), 0);
    expect_offset(0, 150);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:120,1:90}}}"), 0);
    expect_offset(0, 150);
    expect_offset(1, 90);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:160}}}"), 0);
    expect_offset(0, 160);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:30}}}"), 0);
    expect_offset(0, 30); /* the master has the say again */
}
END_TEST

START_TEST(a_commit_of_what_the_master_said_counts_as_ours)
{
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100}}}"), 0);
    commit_here(0, 100);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:90}}}"), 0);
    expect_offset(0, 100);
}
END_TEST

START_TEST(after_a_start_all_count_as_committed_here)
{
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100}}}"), 0);
    reopen();
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:40}}}"), 0);
    expect_offset(0, 100);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100}}}"), 0);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:40}}}"), 0);
    expect_offset(0, 40);
}
END_TEST

START_TEST(absurd_offsets_change_nothing)
{
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:100}}}"), 0);
    ck_assert_int_eq(follow_offsets("{\"offsetTable\":{\"T@G\":{0:-1,-1:5,70000:5,\"x\":1},"
                                    "\"no-at\":{0:1},\"T@\":{0:1},\"../x@G\":{0:1}}}"),
                     0);
    ck_assert_uint_ge(followed.refused, 5);
    expect_offset(0, 100);
}
END_TEST

START_TEST(delay_offsets_are_taken_as_they_are)
{
    ck_assert_int_eq(
        metadata_follow_delays(m, BYTES_LIT("{\"offsetTable\":{1:7,2:9}}"), &followed, &err), 0);
    ck_assert_int_eq(metadata_delay(m, 1), 7);
    ck_assert_int_eq(
        metadata_follow_delays(m, BYTES_LIT("{\"offsetTable\":{1:3}}"), &followed, &err), 0);
    ck_assert_int_eq(metadata_delay(m, 1), 3);
    ck_assert_int_eq(metadata_delay(m, 2), 9);
}
END_TEST

static Suite *metadata_follow_suite(void)
{
    Suite *suite = suite_create("metadata_follow");
    TCase *c = tcase_create("follow");

    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, the_topics_of_the_master_are_taken_over);
    tcase_add_test(c, what_the_master_does_not_name_stays);
    tcase_add_test(c, groups_are_taken_over_and_stay);
    tcase_add_test(c, nothing_goes_without_a_table);
    tcase_add_test(c, offsets_follow_the_master_forward_and_back);
    tcase_add_test(c, what_was_committed_here_later_stays_until_the_master_is_there_too);
    tcase_add_test(c, a_commit_of_what_the_master_said_counts_as_ours);
    tcase_add_test(c, after_a_start_all_count_as_committed_here);
    tcase_add_test(c, absurd_offsets_change_nothing);
    tcase_add_test(c, delay_offsets_are_taken_as_they_are);
    suite_add_tcase(suite, c);
    return suite;
}

UNIT_MAIN(metadata_follow_suite)
