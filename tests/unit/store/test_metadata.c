/* test_metadata.c - topics and groups: their names, their versions, and what is told of them. */
#include "metadata_fixture.h"

static const char *const bad_names[] = {
    "", "../x", "a/b", "a.b", "a b", "a\n", "\xc3\xa9", "a@b", ".", "..", "a\\b", "~", "a$b",
};
enum { BAD_NAMES = sizeof(bad_names) / sizeof(bad_names[0]) };

static struct bytes letters(size_t n)
{
    static char text[512];

    memset(text, 'x', sizeof(text));
    return bytes_of(text, n);
}

/* --- names --- */

START_TEST(names_are_letters_digits_and_four_signs)
{
    ck_assert(topic_name_ok(BYTES_LIT("%RETRY%a_b-c|D9")));
    ck_assert(group_name_ok(BYTES_LIT("CID_ONS-HTTP-PROXY")));
    for (int i = 0; i < BAD_NAMES; i++) {
        ck_assert_msg(!topic_name_ok(bytes_str(bad_names[i])), "%s", bad_names[i]);
        ck_assert_msg(!group_name_ok(bytes_str(bad_names[i])), "%s", bad_names[i]);
    }
    ck_assert(!topic_name_ok(bytes_of("a\0b", 3)));
    ck_assert(topic_name_ok(letters(TOPIC_NAME_MAX)));
    ck_assert(!topic_name_ok(letters(TOPIC_NAME_MAX + 1)));
    ck_assert(group_name_ok(letters(GROUP_NAME_MAX)));
    ck_assert(!group_name_ok(letters(GROUP_NAME_MAX + 1)));
}
END_TEST

START_TEST(bad_names_enter_no_table)
{
    struct topic_config topic = config_of(1);
    struct group_config group = group_config_default();

    open_meta();
    for (int i = 0; i < BAD_NAMES; i++) {
        struct bytes bad = bytes_str(bad_names[i]);
        ck_assert_int_eq(metadata_topic_put(m, bad, &topic, 0, NULL, NULL, NULL), -EINVAL);
        ck_assert_int_eq(metadata_group_put(m, bad, &group, NULL, NULL), -EINVAL);
        ck_assert_int_eq(metadata_offset_commit(m, bad, BYTES_LIT("G"), 0, 1), -EINVAL);
        ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), bad, 0, 1), -EINVAL);
        ck_assert_ptr_null(metadata_topic(m, bad, NULL));
        ck_assert(!metadata_group(m, bad, NULL));
        ck_assert_int_eq(metadata_offset(m, bad, bad, 0), -1);
        ck_assert_int_eq(metadata_topic_delete(m, bad, 0, true, NULL), -ENOENT);
        ck_assert_int_eq(metadata_group_delete(m, bad, true, NULL), -ENOENT);
    }
    ck_assert_int_eq(metadata_offset_commit(m, letters(128), BYTES_LIT("G"), 0, 1), -EINVAL);
    ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), letters(256), 0, 1), -EINVAL);
    ck_assert_uint_eq(metadata_topic_count(m), 0);
    ck_assert_uint_eq(metadata_last(m), 0);
    close_meta();
}
END_TEST

/* --- topics --- */

START_TEST(a_topic_is_there_until_it_is_deleted)
{
    struct topic_config config = config_of(4), read;
    struct topic *put, *found;
    bool changed = false;

    open_meta();
    config.order = true;
    config.multi_tag = true;
    config.sys_flag = TOPIC_FLAG_UNIT_SUB;
    config.write_queues = 3;
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 99, NULL, &changed, &put), 0);
    ck_assert(changed);
    found = metadata_topic(m, BYTES_LIT("T"), &read);
    ck_assert_ptr_eq(found, put);
    ck_assert_str_eq(found->name, "T");
    ck_assert_uint_eq(found->name_len, 1);
    ck_assert_uint_eq(found->log_floor, 99);
    ck_assert_int_eq(read.read_queues, 4);
    ck_assert_int_eq(read.write_queues, 3);
    ck_assert_int_eq(read.sys_flag, TOPIC_FLAG_UNIT_SUB);
    ck_assert(read.order && read.multi_tag);
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("t"), NULL));
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("TT"), NULL));
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 120, false, NULL), 0);
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("T"), NULL));
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 130, false, NULL), -ENOENT);
    close_meta();
}
END_TEST

START_TEST(queue_counts_and_perm_have_bounds)
{
    static const struct topic_config bad[] = {
        {.read_queues = -1, .write_queues = 1, .perm = 6},
        {.read_queues = 1, .write_queues = TOPIC_QUEUES_MAX + 1, .perm = 6},
        {.read_queues = INT32_MAX, .write_queues = 1, .perm = 6},
        {.read_queues = 1, .write_queues = 1, .perm = 16},
        {.read_queues = 1, .write_queues = 1, .perm = -1},
    };

    open_meta();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &bad[i], 0, NULL, NULL, NULL),
                         -EINVAL);
    put_topic("T", TOPIC_QUEUES_MAX);
    close_meta();
}
END_TEST

START_TEST(who_leads_moves_both_versions_to_its_epoch)
{
    struct data_version topics, groups;
    struct topics_mark mark;

    open_meta();
    put_topic("T", 4);
    topics = metadata_topics_version(m);
    groups = metadata_groups_version(m);
    metadata_topics_mark(m, &mark);
    metadata_lead(m, UINT64_C(9) << 36);
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_topics_version(m).counter, topics.counter + 1);
    ck_assert_int_eq(metadata_groups_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_groups_version(m).counter, groups.counter + 1);
    /* Name servers are to be told all again. */
    ck_assert_int_eq(metadata_topics_since(m, mark.change, NULL, NULL, &mark), METADATA_TOO_MUCH);
    metadata_lead(m, 1);
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_groups_version(m).state_version, INT64_C(9) << 36);
    close_meta();
}
END_TEST

START_TEST(only_a_change_moves_the_version)
{
    struct topic_config config = config_of(4);
    struct data_version v0, v1;
    uint64_t first, second;
    bool changed;

    open_meta();
    v0 = metadata_topics_version(m);
    first = put_topic("T", 4);
    v1 = metadata_topics_version(m);
    ck_assert_int_eq(v1.counter, v0.counter + 1);
    ck_assert_int_gt(v1.timestamp, 1600000000000);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, &second, &changed, NULL), 0);
    ck_assert(!changed);
    ck_assert_uint_eq(second, first); /* what is there may not be durable yet */
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter);
    put_topic("T", 5);
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, false, NULL), 0);
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 2);
    ck_assert_int_eq(metadata_groups_version(m).counter, 0);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 2);
    close_meta();
}
END_TEST

START_TEST(a_deleted_topic_leaves_its_floor_and_its_place)
{
    struct topic_config config = config_of(2);
    struct topic *first, *again;

    open_meta();
    put_topic("Other", 1);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, NULL, NULL, &first), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Unknown")), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 5000, false, NULL), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 5000);
    ck_assert_uint_eq(metadata_topic_count(m), 2);
    ck_assert(metadata_topic_at(m, first->index)->deleted);
    turns();
    kill_and_reopen();
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("T"), NULL));
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 5000);
    first = metadata_topic_at(m, 1);
    ck_assert_str_eq(first->name, "T");
    /* A lower floor would show records of the deleted one again. */
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 70, NULL, NULL, &again), 0);
    ck_assert_ptr_eq(again, first);
    ck_assert_uint_eq(again->log_floor, 5000);
    ck_assert_uint_eq(metadata_topic_count(m), 2);
    ck_assert_ptr_null(metadata_topic_at(m, 2));
    /* The floor of a live topic stays as it is. */
    config.perm = PERM_READ;
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 9000, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(again->log_floor, 5000);
    close_meta();
}
END_TEST

/* The deletion was synced, the log was not: it ends before the floor, and new records come there.
 */
START_TEST(a_floor_above_the_end_of_the_log_comes_down_to_it)
{
    struct topic_config config = config_of(2);
    struct data_version version;
    struct topic *topic;

    open_meta();
    put_topic("Deleted", 1);
    put_topic("Again", 1);
    put_topic("Below", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Deleted"), 5000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Again"), 5000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Below"), 3000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("Again"), &config, 5200, NULL, NULL, &topic),
                     0);
    turns();
    kill_and_reopen();
    version = metadata_topics_version(m);
    ck_assert_int_eq(metadata_limit_floors(m, 5200), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Again")), 5200);
    ck_assert_int_eq(metadata_limit_floors(m, 4000), 0);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m)); /* before anything is appended */
    kill_and_reopen();
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Deleted")), 4000);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Again")), 4000);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Below")), 3000);
    ck_assert_int_eq(queues_of(m, "Again"), 2);
    ck_assert_int_eq(queues_of(m, "Deleted"), -1);
    ck_assert_int_eq(metadata_topics_version(m).counter, version.counter);
    close_meta();
}
END_TEST

START_TEST(each_topic_gives_the_live_ones_and_their_version)
{
    struct data_version version;
    int sum = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 10);
    put_topic("C", 100);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("B"), 0, false, NULL), 0);
    metadata_each_topic(m, count_topics, &sum, &version);
    ck_assert_int_eq(sum, 101);
    ck_assert_int_eq(version.counter, 4);
    close_meta();
}
END_TEST

/* Names in order of the visit, a deleted one with a minus. */
struct visited {
    char names[256];
    size_t stop_after; /* 0: never */
};

static bool visit(void *ctx, const struct topic *t, const struct topic_config *c)
{
    struct visited *v = ctx;

    ck_assert_ptr_nonnull(c);
    ck_assert_uint_lt(strlen(v->names) + t->name_len + 3, sizeof(v->names));
    if (t->deleted)
        strcat(v->names, "-");
    strcat(v->names, t->name);
    strcat(v->names, " ");
    return v->stop_after == 0 || --v->stop_after > 0;
}

static const char *changed_since(uint64_t since, struct topics_mark *mark)
{
    static struct visited v;

    v = (struct visited){0};
    return metadata_topics_since(m, since, visit, &v, mark) == 0 ? v.names : "too much";
}

START_TEST(what_changed_since_a_mark_is_told_once_and_with_the_version)
{
    const struct bytes ordered[] = {BYTES_LIT("B")};
    struct visited one = {.stop_after = 1};
    struct topics_mark mark, later;
    uint64_t sequence = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    turns();
    kill_and_reopen();
    metadata_topics_mark(m, &mark);
    ck_assert_str_eq(changed_since(mark.change, &later), ""); /* what was there at the start */
    ck_assert_uint_eq(later.change, mark.change);

    put_topic("C", 1);
    put_topic("A", 2);
    put_topic("C", 2);
    put_topic("C", 2); /* no change */
    ck_assert_str_eq(changed_since(mark.change, &later), "C A ");
    ck_assert_int_eq(later.version.counter, metadata_topics_version(m).counter);
    ck_assert_int_eq(later.version.counter, mark.version.counter + 3);
    ck_assert_str_eq(changed_since(later.change, &mark), "");

    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("A"), 0, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_touch(m, BYTES_LIT("B"), &sequence), 0);
    ck_assert_uint_gt(sequence, 0);
    ck_assert_int_eq(metadata_topic_touch(m, BYTES_LIT("A"), &sequence), -ENOENT);
    ck_assert_str_eq(changed_since(mark.change, &later), "B -A ");
    ck_assert_int_eq(later.version.counter, mark.version.counter + 2);
    ck_assert_int_eq(metadata_topics_since(m, mark.change, visit, &one, &later), METADATA_TOO_MUCH);

    metadata_topics_mark(m, &mark);
    ck_assert_int_eq(metadata_topics_set_order(m, ordered, 1, NULL), 0);
    ck_assert_str_eq(changed_since(mark.change, &later), "B ");
    ck_assert_int_eq(metadata_topics_touch(m), 0);
    ck_assert_str_eq(changed_since(mark.change, &later), "too much");
    ck_assert_str_eq(changed_since(later.change, &later), "");
    close_meta();
}
END_TEST

START_TEST(all_topics_are_told_in_pages)
{
    struct visited v = {.stop_after = 2};
    struct topics_mark mark;
    uint32_t index = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("A"), 0, false, NULL), 0);
    metadata_topics_mark(m, &mark);
    put_topic("C", 1);
    put_topic("D", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("C"), 0, false, NULL), 0);

    ck_assert(metadata_topics_page(m, &index, mark.change, visit, &v));
    ck_assert_str_eq(v.names, "B -C ");
    put_topic("E", 1);
    ck_assert(!metadata_topics_page(m, &index, mark.change, visit, &v));
    ck_assert_str_eq(v.names, "B -C D E ");
    v = (struct visited){0};
    index = 0;
    ck_assert(!metadata_topics_page(m, &index, UINT64_MAX, visit, &v));
    ck_assert_str_eq(v.names, "B D E ");
    close_meta();
}
END_TEST

static bool order_of(const char *name)
{
    struct topic_config config;

    ck_assert_ptr_nonnull(metadata_topic(m, bytes_str(name), &config));
    return config.order;
}

START_TEST(an_order_table_says_it_for_all_topics)
{
    const struct bytes a_b[] = {BYTES_LIT("A"), BYTES_LIT("B"), BYTES_LIT("Unknown"),
                                BYTES_LIT("../x")};
    const struct bytes b[] = {BYTES_LIT("B")};
    int64_t version;
    bool changed;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    put_topic("C", 1);
    version = metadata_topics_version(m).counter;
    ck_assert_int_eq(metadata_topics_set_order(m, a_b, 4, &changed), 0);
    ck_assert(changed && order_of("A") && order_of("B") && !order_of("C"));
    ck_assert_int_eq(metadata_topics_version(m).counter, version + 1);
    ck_assert_int_eq(metadata_topics_set_order(m, a_b, 4, &changed), 0);
    ck_assert(!changed);
    ck_assert_int_eq(metadata_topics_set_order(m, b, 1, &changed), 0);
    ck_assert(changed && !order_of("A") && order_of("B"));
    turns();
    kill_and_reopen();
    ck_assert(!order_of("A") && order_of("B") && !order_of("C"));
    ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), 0);
    ck_assert(!order_of("B"));
    close_meta();
}
END_TEST

/* Enough of them for the tables to grow several times. */
START_TEST(thousands_of_topics_and_groups_are_found)
{
    enum { MANY = 5000 };
    char name[32];

    open_meta();
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "N%d", i);
        put_topic(name, i % 100);
        put_group(name, i);
    }
    for (int i = 0; i < MANY; i += 2) {
        snprintf(name, sizeof(name), "N%d", i);
        ck_assert_int_eq(metadata_group_delete(m, bytes_str(name), false, NULL), 0);
    }
    turns();
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof(name), "N%d", i);
            ck_assert_int_eq(queues_of(m, name), i % 100);
            ck_assert_int_eq(retries_of(m, name), i % 2 ? i : -1);
        }
        if (pass == 0)
            kill_and_reopen();
    }
    close_meta();
}
END_TEST

/* --- groups --- */

START_TEST(a_group_is_there_until_it_is_deleted)
{
    struct group_config config = group_config_default(), read;
    uint64_t first, second;
    struct data_version version;
    bool changed;
    int sum = 0;

    open_meta();
    config.consume_enable = false;
    config.which_broker_when_slow = 7;
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &config, &first, &changed), 0);
    ck_assert(changed);
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &config, &second, &changed), 0);
    ck_assert(!changed);
    ck_assert_uint_eq(first, second);
    put_group("H", 3);
    turns();
    kill_and_reopen();
    ck_assert(metadata_group(m, BYTES_LIT("G"), &read));
    ck_assert(!read.consume_enable && read.consume_from_min_enable && read.notify_ids_changed);
    ck_assert_int_eq(read.which_broker_when_slow, 7);
    metadata_each_group(m, count_groups, &sum, &version);
    ck_assert_int_eq(sum, 19);
    ck_assert_int_eq(version.counter, 2);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    ck_assert(!metadata_group(m, BYTES_LIT("G"), NULL));
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), -ENOENT);
    turns();
    kill_and_reopen();
    ck_assert(!metadata_group(m, BYTES_LIT("G"), NULL));
    ck_assert_int_eq(retries_of(m, "H"), 3);
    ck_assert_int_eq(metadata_groups_version(m).counter, 3);
    close_meta();
}
END_TEST

START_TEST(a_group_that_comes_back_before_its_deletion_is_written_stays)
{
    open_meta();
    put_group("G", 1);
    turns();
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    put_group("G", 2);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    put_group("G", 3);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(retries_of(m, "G"), 3);
    /* Killed with a deletion that nobody wrote: freed all the same. */
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    kill_and_reopen();
    ck_assert_int_eq(retries_of(m, "G"), 3);
    close_meta();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata");
    TCase *c = tcase_create("topics and groups");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, names_are_letters_digits_and_four_signs);
    tcase_add_test(c, bad_names_enter_no_table);
    tcase_add_test(c, a_topic_is_there_until_it_is_deleted);
    tcase_add_test(c, queue_counts_and_perm_have_bounds);
    tcase_add_test(c, who_leads_moves_both_versions_to_its_epoch);
    tcase_add_test(c, only_a_change_moves_the_version);
    tcase_add_test(c, a_deleted_topic_leaves_its_floor_and_its_place);
    tcase_add_test(c, a_floor_above_the_end_of_the_log_comes_down_to_it);
    tcase_add_test(c, each_topic_gives_the_live_ones_and_their_version);
    tcase_add_test(c, what_changed_since_a_mark_is_told_once_and_with_the_version);
    tcase_add_test(c, all_topics_are_told_in_pages);
    tcase_add_test(c, an_order_table_says_it_for_all_topics);
    tcase_add_test(c, thousands_of_topics_and_groups_are_found);
    tcase_add_test(c, a_group_is_there_until_it_is_deleted);
    tcase_add_test(c, a_group_that_comes_back_before_its_deletion_is_written_stays);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
