/* test_queue_recovery.c - ends of queues once the log is known: corrected by its records, cut with
 * it. */
#include "broker/store/queue_internal.h"
#include "queue_recovery_fixture.h"

/* --- records met by the scan of the log --- */

START_TEST(records_that_a_queue_has_are_dropped)
{
    uint32_t queue;

    append_to(queue_of(0, 0), 150);
    write_all();
    load_again(0, log_end);
    queue = queue_of(0, 0);
    for (int64_t i = 0; i < 180; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    expect_range(queue, UINT64_MAX, 0, 180);
    ck_assert_uint_eq(stats_now().pending_entries, 30);
    for (int64_t i = 160; i < 180; i++) /* nor is one that the scan meets twice */
        recover_record(queue, i, (uint64_t)i * RECORD);
    expect_entries(queue, 0, 180, 0);
}
END_TEST

static int pwritev_calls, pwritev_last;

/* The last write reaches only its first `torn` bytes before the power goes. */
enum { TORN_BYTES = 4096 + 10 };

static ssize_t torn_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    struct iovec part[WRITE_PIECES];
    size_t left = TORN_BYTES;
    int parts = 0;

    if (++pwritev_calls < pwritev_last)
        return file_ops_system.pwritev(fd, iov, n, at);
    for (; parts < n && left > 0; parts++) {
        part[parts] = iov[parts];
        if (part[parts].iov_len > left)
            part[parts].iov_len = left;
        left -= part[parts].iov_len;
    }
    (void)file_ops_system.pwritev(fd, part, parts, at);
    errno = EIO;
    return -1;
}

/* Queue 0 is complete, queue 1 has one page and ten bytes of an entry, queue 2 nothing. */
START_TEST(crash_within_a_write_back_is_made_good_by_the_log)
{
    static const int64_t counts[] = {300, 1000, 250};
    uint64_t first[3], log = 0;

    options.file_bytes = 60000;
    reopen_table();
    for (int q = 0; q < 3; q++) {
        first[q] = log_end;
        append_to(queue_of(0, q), counts[q]);
    }
    ops.pwritev = torn_pwritev;
    pwritev_last = 2;
    (void)queue_table_write_back(table, log_end, 0, true, NULL);
    ops.pwritev = file_ops_system.pwritev;
    ck_assert_int_eq(unlink(queue_file("Topic0", 2, 0)), 0);

    load_again(0, log_end);
    ck_assert_int_eq(next_of(queue_of(0, 0)), 300);
    ck_assert_int_eq(next_of(queue_of(0, 1)), TORN_BYTES / 20);
    ck_assert_int_eq(next_of(queue_of(0, 2)), 0);
    ck_assert(all_zero_from(queue_file("Topic0", 1, 0), TORN_BYTES / 20 * 20));
    for (int q = 0; q < 3; q++) {
        for (int64_t i = 0; i < counts[q]; i++, log += RECORD)
            recover_record(queue_of(0, q), i, log);
    }
    for (int q = 0; q < 3; q++) {
        ck_assert_int_eq(next_of(queue_of(0, q)), counts[q]);
        expect_entries(queue_of(0, q), 0, counts[q], first[q]);
    }
    write_all();
    for (int q = 0; q < 3; q++)
        ck_assert_int_eq(count_on_disk("Topic0", q, 0), counts[q]);
}
END_TEST

/* Pages of a file reach the disk in any order; the ones between may be missing after a power cut.
 */
START_TEST(page_that_was_lost_is_made_good_by_the_log)
{
    static const uint8_t zeroes[4096];
    uint32_t queue;

    options.file_bytes = 60000;
    reopen_table();
    append_to(queue_of(0, 0), 3000);
    append_to(queue_of(0, 0), 500);
    write_all();
    scribble(queue_file("Topic0", 0, 0), 8192, zeroes, 4096);
    scribble(queue_file("Topic0", 0, 60000), 0, zeroes, 4096);
    load_again(0, log_end);
    queue = queue_of(0, 0);
    for (int64_t i = 100; i < 3500; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    expect_range(queue, UINT64_MAX, 0, 3500);
    expect_entries(queue, 0, 3500, 0);
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 3500);
    expect_on_disk("Topic0", 0, 3499, 3499 * RECORD);
}
END_TEST

START_TEST(first_page_that_was_lost_is_made_good_by_the_log)
{
    static const uint8_t zeroes[40 * 20];
    uint32_t queue;

    append_to(queue_of(0, 0), UNITS + 50);
    write_all();
    scribble(queue_file("Topic0", 0, 0), 0, zeroes, sizeof(zeroes));
    load_again(0, log_end);
    queue = queue_of(0, 0);
    for (int64_t i = 0; i < UNITS + 50; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    expect_range(queue, UINT64_MAX, 0, UNITS + 50);
    expect_entries(queue, 0, UNITS + 50, 0);
}
END_TEST

/* Entries of a log that was cut since, in a file whose zeroing never reached the disk. */
START_TEST(stale_entries_give_way_to_those_of_the_log)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 50);
    log_end += 100000;
    append_to(queue, 30);
    write_all();
    load_again(0, UINT64_MAX);
    queue = queue_of(0, 0);
    ck_assert_int_eq(next_of(queue), 80);
    for (int64_t i = 0; i < 60; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    expect_range(queue, UINT64_MAX, 0, 60);
    expect_entries(queue, 0, 60, 0);
    log_end = 60 * RECORD;
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 60);
}
END_TEST

START_TEST(of_two_records_with_one_offset_the_first_stays)
{
    struct queue_entry e = entry_at(50 * RECORD, 20);
    uint32_t queue;

    append_to(queue_of(0, 0), 50);
    write_all();
    load_again(0, log_end);
    queue = queue_of(0, 0);
    ck_assert_int_eq(queue_table_recover(table, queue, 20, &e), QUEUE_OTHER_RECORD);
    recover_record(queue, 50, 51 * RECORD);
    recover_record(queue, 50, 52 * RECORD);
    expect_range(queue, UINT64_MAX, 0, 51);
    expect_entries(queue, 0, 50, 0);
    expect_entries(queue, 50, 51, 51 * RECORD);
}
END_TEST

START_TEST(record_out_of_order_is_not_believed)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 50);
    recover_record(queue, 50, 20 * RECORD);
    ck_assert_int_eq(next_of(queue), 50);
}
END_TEST

/* In front of a queue that RocketMQ began in the middle, say. */
START_TEST(newer_record_in_front_of_a_queue_is_not_believed)
{
    uint32_t queue = queue_of(0, 0);

    for (int64_t i = 40; i < 60; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    log_end = 60 * RECORD;
    write_all();
    recover_record(queue, 10, 60 * RECORD);
    expect_range(queue, UINT64_MAX, 40, 60);
    expect_entries(queue, 40, 60, 40 * RECORD);
}
END_TEST

/* The checksum of RocketMQ's records does not cover their queue offset. */
START_TEST(queue_that_claims_the_largest_offset_can_go_on)
{
    uint32_t queue = queue_of(0, 0);
    int64_t largest = (INT64_C(1) << 57) - 1;

    recover_record(queue, largest, 0);
    log_end = RECORD;
    write_all();
    load_again(0, log_end);
    queue = queue_of(0, 0);
    append_to(queue, 250);
    write_all();
    load_again(0, log_end);
    queue = queue_of(0, 0);
    expect_range(queue, UINT64_MAX, largest, largest + 251);
    expect_entries(queue, largest, largest + 251, 0);
}
END_TEST

START_TEST(impossible_record_is_refused)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e = entry_at(0, 0);

    ck_assert_int_eq(queue_table_recover(table, queue, -1, &e), -EINVAL);
    ck_assert_int_eq(queue_table_recover(table, queue, INT64_MAX, &e), -EINVAL);
    ck_assert_int_eq(queue_table_recover(table, queue, INT64_C(1) << 57, &e), -EINVAL);
    e.size = 0;
    ck_assert_int_eq(queue_table_recover(table, queue, 0, &e), -EINVAL);
    e.size = INT32_MAX;
    ck_assert_int_eq(queue_table_recover(table, queue, 0, &e), -EINVAL);
    e = entry_at(0, 0);
    e.log_offset = -1;
    ck_assert_int_eq(queue_table_recover(table, queue, 0, &e), -EINVAL);
    ck_assert_int_eq(next_of(queue), 0);
}
END_TEST

/* Damage in the log takes entries out of the middle; the others keep their offsets. */
START_TEST(gap_keeps_what_is_on_both_sides)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry got[40];

    for (int64_t i = 0; i < 250; i++) {
        if (i < 90 || i >= 120)
            recover_record(queue, i, (uint64_t)i * RECORD);
    }
    log_end = 250 * RECORD;
    for (int again = 0; again < 2; again++) {
        expect_range(queue, UINT64_MAX, 0, 250);
        expect_entries(queue, 0, 90, 0);
        expect_entries(queue, 120, 250, 120 * RECORD);
        for (int64_t at = 90; at < 120;) {
            int n = queue_table_read(table, queue, at, got, (int)(120 - at), UINT64_MAX, true);
            ck_assert_int_gt(n, 0);
            for (int i = 0; i < n; i++) {
                ck_assert_int_eq(got[i].size, 0);
                ck_assert_int_eq(got[i].log_offset, 0);
            }
            at += n;
        }
        /* Fillers are as visible as the entry before them. */
        expect_range(queue, 90 * RECORD - 1, 0, 89);
        expect_range(queue, 90 * RECORD, 0, 120);
        expect_range(queue, 121 * RECORD - 1, 0, 120);
        expect_range(queue, 121 * RECORD, 0, 121);
        write_all();
        /* RocketMQ reads on over the gap. */
        ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 250);
        load_again(0, log_end);
        queue = queue_of(0, 0);
    }
}
END_TEST

START_TEST(gap_wider_than_a_file_begins_the_queue_anew)
{
    uint32_t queue = queue_of(0, 0);

    for (int64_t i = 0; i < 150; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    recover_record(queue, 150 + UNITS + 1, 150 * RECORD);
    log_end = 151 * RECORD;
    expect_range(queue, UINT64_MAX, 150 + UNITS + 1, 150 + UNITS + 2);
    write_all();
    ck_assert(!exists(queue_file("Topic0", 0, 0)));
    ck_assert(!exists(queue_file("Topic0", 0, FILE_BYTES)));
    load_again(0, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 150 + UNITS + 1, 150 + UNITS + 2);
    expect_entries(queue_of(0, 0), 150 + UNITS + 1, 150 + UNITS + 2, 150 * RECORD);
}
END_TEST

/* Queue files were lost, the log begins in the middle. */
START_TEST(queue_without_files_begins_where_the_log_does)
{
    uint32_t queue = queue_of(0, 0);

    for (int64_t i = 0; i < 10; i++)
        recover_record(queue, 5000000 + i, 70000 + (uint64_t)i * RECORD);
    expect_range(queue, UINT64_MAX, 5000000, 5000010);
    expect_range(queue, 70000, 5000000, 5000000);
    log_end = 71000;
    write_all();
    load_again(70000, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 5000000, 5000010);
}
END_TEST

START_TEST(recovery_needs_no_more_memory_than_the_budget)
{
    options.memory_budget = 4 * 256;
    reopen_table();
    for (int64_t i = 0; i < 3000; i++)
        recover_record(queue_of(0, (int32_t)(i % 3)), i / 3, (uint64_t)i * RECORD);
    log_end = 3000 * RECORD;
    for (int q = 0; q < 3; q++)
        expect_range(queue_of(0, q), UINT64_MAX, 0, 1000);
    write_all();
    for (int q = 0; q < 3; q++)
        ck_assert_int_eq(count_on_disk("Topic0", q, 0), 1000);
}
END_TEST

/* --- cutting with the log --- */

static void truncate_to(uint64_t to)
{
    struct err err = {0};

    ck_assert_msg(queue_table_truncate(table, to, &err) == 0, "%s", err.text);
}

START_TEST(cut_reaches_entries_in_memory_and_in_files)
{
    uint32_t in_files = queue_of(0, 0), in_both = queue_of(0, 1), in_memory = queue_of(0, 2);

    append_to(in_files, 250);
    append_to(in_both, 150);
    write_all();
    append_to(in_both, 100);
    append_to(in_memory, 100);
    truncate_to(250 * RECORD + 200 * RECORD); /* within what in_both has in memory */
    expect_range(in_files, UINT64_MAX, 0, 250);
    expect_range(in_both, UINT64_MAX, 0, 200);
    expect_range(in_memory, UINT64_MAX, 0, 0);
    ck_assert_int_eq(syncs, 0);
    ck_assert_uint_eq(stats_now().pending_entries, 50);
    log_end = 450 * RECORD; /* the log goes on there, and so does the queue */
    append_to(in_both, 1);
    expect_range(in_both, UINT64_MAX, 0, 201);
    expect_range(in_both, 450 * RECORD, 0, 200);

    truncate_to(130 * RECORD + 1);
    expect_range(in_files, UINT64_MAX, 0, 130);
    expect_range(in_both, UINT64_MAX, 0, 0);
    expect_entries(in_files, 0, 130, 0);
    ck_assert_int_eq(syncs, 1);
    ck_assert_uint_eq(stats_now().pending_entries, 0);
    ck_assert(all_zero_from(queue_file("Topic0", 0, FILE_BYTES), 30 * 20));
    ck_assert(!exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
    ck_assert(all_zero_from(queue_file("Topic0", 1, 0), 0));

    log_end = 130 * RECORD;
    append_to(in_files, 200);
    write_all();
    expect_entries(in_files, 0, 330, 0);
    load_again(0, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 0, 330);
    expect_range(queue_of(0, 1), UINT64_MAX, 0, 0);
}
END_TEST

START_TEST(cut_at_any_record_agrees_with_what_a_restart_finds)
{
    for (int64_t to = 0; to <= 230; to += 10) {
        append_to(queue_of(1, 0), 230);
        write_all();
        truncate_to((uint64_t)to * RECORD);
        expect_range(queue_of(1, 0), UINT64_MAX, 0, to);
        expect_range(queue_of(1, 0), (uint64_t)to * RECORD, 0, to);
        if (to > 0)
            expect_range(queue_of(1, 0), (uint64_t)to * RECORD - 1, 0, to - 1);
        load_again(0, UINT64_MAX);
        expect_range(queue_of(1, 0), UINT64_MAX, 0, to);
        ck_assert_int_eq(queue_table_drop_topic(table, &topics[1]), 0);
        log_end = 0;
    }
}
END_TEST

/* A file system that cannot punch holes gets zeroes. */
static int no_fallocate(int fd, int mode, off_t at, off_t n)
{
    (void)fd, (void)mode, (void)at, (void)n;
    errno = EOPNOTSUPP;
    return -1;
}

START_TEST(cut_needs_no_holes)
{
    ops.fallocate = no_fallocate;
    append_to(queue_of(0, 0), 90);
    write_all();
    truncate_to(40 * RECORD);
    ck_assert(all_zero_from(queue_file("Topic0", 0, 0), 40 * 20));
    expect_entries(queue_of(0, 0), 0, 40, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_recovery");
    TCase *c = tcase_create("queue_recovery");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin_with_disk, end);
    tcase_add_test(c, records_that_a_queue_has_are_dropped);
    tcase_add_test(c, crash_within_a_write_back_is_made_good_by_the_log);
    tcase_add_test(c, page_that_was_lost_is_made_good_by_the_log);
    tcase_add_test(c, first_page_that_was_lost_is_made_good_by_the_log);
    tcase_add_test(c, stale_entries_give_way_to_those_of_the_log);
    tcase_add_test(c, of_two_records_with_one_offset_the_first_stays);
    tcase_add_test(c, record_out_of_order_is_not_believed);
    tcase_add_test(c, newer_record_in_front_of_a_queue_is_not_believed);
    tcase_add_test(c, queue_that_claims_the_largest_offset_can_go_on);
    tcase_add_test(c, impossible_record_is_refused);
    tcase_add_test(c, gap_keeps_what_is_on_both_sides);
    tcase_add_test(c, gap_wider_than_a_file_begins_the_queue_anew);
    tcase_add_test(c, queue_without_files_begins_where_the_log_does);
    tcase_add_test(c, recovery_needs_no_more_memory_than_the_budget);
    tcase_add_test(c, cut_reaches_entries_in_memory_and_in_files);
    tcase_add_test(c, cut_at_any_record_agrees_with_what_a_restart_finds);
    tcase_add_test(c, cut_needs_no_holes);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
