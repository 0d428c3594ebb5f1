/* test_queue_retention.c - where queues begin once the front of the log is gone, and which of their
 * files go with it. */
#include "broker/store/queue_internal.h"
#include "queue_fixture.h"

static void settle(uint32_t queue, uint64_t log_min)
{
    ck_assert_int_eq(queue_table_settle(table, queue, log_min), 0);
}

static void trim(uint32_t queue, int files)
{
    ck_assert_int_eq(queue_table_trim(table, queue), files);
}

static int files_of(int queue_id)
{
    char path[64];
    struct file_list list;
    int count;

    snprintf(path, sizeof(path), "consumequeue/Topic0/%d", queue_id);
    ck_assert_int_eq(file_list(in_root(path), &list), 0);
    count = (int)list.count;
    file_list_free(&list);
    return count;
}

/* For every place in the queue, from its first entry to its last. */
START_TEST(queue_begins_with_its_first_entry_in_the_log)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 450);
    write_all();
    append_to(queue, 30); /* the last ones are in memory */
    for (int64_t first = 0; first <= 480; first++) {
        settle(queue, (uint64_t)first * RECORD);
        expect_range(queue, log_end, first, 480);
        if (first < 480)
            expect_entries(queue, first, 480, (uint64_t)first * RECORD);
    }
    settle(queue, 100 * RECORD); /* never back */
    expect_range(queue, log_end, 480, 480);
}
END_TEST

START_TEST(leading_files_go_the_last_one_never)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 450);
    write_all();
    trim(queue, 0);
    settle(queue, 199 * RECORD);
    trim(queue, 1);
    ck_assert(!exists(queue_file("Topic0", 0, 0)));
    ck_assert(exists(queue_file("Topic0", 0, FILE_BYTES)));
    settle(queue, 200 * RECORD);
    trim(queue, 1);
    settle(queue, 450 * RECORD);
    trim(queue, 2);
    ck_assert_int_eq(files_of(0), 1);
    ck_assert(exists(queue_file("Topic0", 0, 4 * FILE_BYTES)));
    trim(queue, 0);
    /* The queue goes on where it was. */
    append_to(queue, 10);
    write_all();
    expect_range(queue, log_end, 450, 460);
    expect_entries(queue, 450, 460, 450 * RECORD);
}
END_TEST

START_TEST(queue_that_ends_with_a_file_keeps_that_file)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 300);
    write_all();
    settle(queue, log_end);
    trim(queue, 2);
    ck_assert(exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
    reopen_table();
    load(300 * RECORD, log_end);
    expect_range(queue_of(0, 0), log_end, 300, 300);
    append_to(queue_of(0, 0), 1);
    expect_range(queue_of(0, 0), log_end, 300, 301);
}
END_TEST

/* After a restart: the same answer from the files, before and after they were removed. */
START_TEST(restart_finds_the_same_begin)
{
    for (int64_t first = 0; first <= 250; first += 5) {
        uint32_t queue = queue_of(0, 0);

        if (first == 0) {
            append_to(queue, 250);
            write_all();
        }
        settle(queue, (uint64_t)first * RECORD);
        ck_assert_int_ge(queue_table_trim(table, queue), 0);
        reopen_table();
        load((uint64_t)first * RECORD, log_end);
        expect_range(queue_of(0, 0), log_end, first, 250);
    }
}
END_TEST

START_TEST(files_that_a_crash_has_left_go_later)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 450);
    write_all();
    reopen_table();
    load(410 * RECORD, log_end); /* the log's front is gone, no file of the queue is */
    queue = queue_of(0, 0);
    expect_range(queue, log_end, 410, 450);
    trim(queue, 4);
    ck_assert_int_eq(files_of(0), 1);
}
END_TEST

/* Entries lost from the middle are fillers, which are older than nothing. */
START_TEST(fillers_in_the_middle_hide_no_entry)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e;

    append_to(queue, 40);
    e = entry_at(log_end, 110);
    ck_assert_int_eq(queue_table_recover(table, queue, 110, &e), 0);
    log_end += RECORD;
    append_to(queue, 9);
    write_all();
    expect_range(queue, log_end, 0, 120);
    for (int restart = 0; restart < 2; restart++) {
        for (int64_t first = 1; first < 40; first++) {
            if (restart == 1) {
                reopen_table();
                load((uint64_t)first * RECORD, log_end);
                queue = queue_of(0, 0);
            } else {
                settle(queue, (uint64_t)first * RECORD);
            }
            expect_range(queue, log_end, first, 120);
        }
    }
    /* What is behind them belongs to records from 40 on. */
    settle(queue, 41 * RECORD);
    expect_range(queue, log_end, 111, 120);
}
END_TEST

START_TEST(removed_files_are_not_held_open)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e;

    append_to(queue, 250);
    write_all();
    for (int64_t at = 0; at < 250; at += 100)
        ck_assert_int_eq(queue_table_read(table, queue, at, &e, 1, log_end, true), 1);
    ck_assert_uint_eq(stats_now().open_files, 3);
    settle(queue, 230 * RECORD);
    trim(queue, 2);
    ck_assert_uint_eq(stats_now().open_files, 0);
}
END_TEST

/* Whoever asked where the queue begins just before it moved on is told nothing, and not an error.
 */
START_TEST(reader_behind_a_removal_gets_nothing)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e;

    append_to(queue, 250);
    write_all();
    reopen_table();
    load(0, log_end);
    queue = queue_of(0, 0);
    settle(queue, 230 * RECORD);
    trim(queue, 2);
    ck_assert_int_eq(queue_table_read(table, queue, 10, &e, 1, log_end, true), 0);
}
END_TEST

START_TEST(topic_made_anew_keeps_its_files)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 350);
    write_all();
    settle(queue, 350 * RECORD);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    append_to(queue, 250);
    write_all();
    settle(queue, 350 * RECORD);
    trim(queue, 0);
    expect_range(queue, log_end, 0, 250);
    ck_assert_int_eq(files_of(0), 3);
}
END_TEST

static int unlink_fails(const char *path)
{
    (void)path;
    errno = EIO;
    return -1;
}

START_TEST(file_that_cannot_be_removed_is_tried_again)
{
    struct file_ops ops = file_ops_system;
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 250);
    write_all();
    settle(queue, 230 * RECORD);
    ops.unlink = unlink_fails;
    file_ops_set(&ops);
    ck_assert_int_eq(queue_table_trim(table, queue), -EIO);
    expect_range(queue, log_end, 230, 250);
    file_ops_set(NULL);
    trim(queue, 2);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_retention");
    TCase *c = tcase_create("queue_retention");

    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, queue_begins_with_its_first_entry_in_the_log);
    tcase_add_test(c, leading_files_go_the_last_one_never);
    tcase_add_test(c, queue_that_ends_with_a_file_keeps_that_file);
    tcase_add_test(c, restart_finds_the_same_begin);
    tcase_add_test(c, files_that_a_crash_has_left_go_later);
    tcase_add_test(c, fillers_in_the_middle_hide_no_entry);
    tcase_add_test(c, removed_files_are_not_held_open);
    tcase_add_test(c, reader_behind_a_removal_gets_nothing);
    tcase_add_test(c, topic_made_anew_keeps_its_files);
    tcase_add_test(c, file_that_cannot_be_removed_is_tried_again);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
