/* test_queue_snapshot.c - ends of all queues from one file: complete, for one moment only, and not
 * believed when anything is wrong with it. */
#include "broker/store/queue_internal.h"
#include "common/crc.h"
#include "queue_fixture.h"

static struct file_ops ops;
static int opens;

static int counted_open(const char *path, int flags, mode_t mode)
{
    opens++;
    return file_ops_system.open(path, flags, mode);
}

static struct topic *find_topic(void *ctx, struct bytes name)
{
    return make_topic(ctx, name, 0);
}

static struct buf snapshot_of(void)
{
    struct buf bytes = {0};

    ck_assert_int_eq(queue_table_snapshot_save(table, in_root("queues"), log_end), 0);
    ck_assert_int_eq(file_load(in_root("queues"), 1 << 20, &bytes), 0);
    return bytes;
}

static void fill_some_queues(void)
{
    append_to(queue_of(0, 3), 150);
    append_to(queue_of(1, 0), 10);
    append_to(queue_of(0, 6), 1);
    queue_of(1, 2);
    struct queue_entry e = entry_at(log_end, 7777);
    ck_assert_int_eq(queue_table_recover(table, queue_of(2, 0), 7777, &e), 0);
    log_end += RECORD;
    write_all();
}

START_TEST(snapshot_gives_back_all_ends)
{
    struct buf bytes;

    fill_some_queues();
    bytes = snapshot_of();
    reopen_table();
    ops = file_ops_system;
    ops.open = counted_open;
    file_ops_set(&ops);
    ck_assert_int_eq(queue_snapshot_apply(table, buf_bytes(&bytes), log_end, find_topic, NULL), 0);
    ck_assert_int_eq(opens, 0);
    expect_range(queue_of(0, 3), UINT64_MAX, 0, 150);
    expect_range(queue_of(1, 0), UINT64_MAX, 0, 10);
    expect_range(queue_of(0, 6), UINT64_MAX, 0, 1);
    expect_range(queue_of(0, 0), UINT64_MAX, 0, 0);
    expect_range(queue_of(2, 0), UINT64_MAX, 7777, 7778);
    expect_range(queue_of(0, 3), 149 * RECORD, 0, 149);
    ck_assert_uint_eq(queue_table_max_end(table), log_end);
    expect_entries(queue_of(0, 3), 0, 150, 0);
    append_to(queue_of(0, 3), 10);
    ck_assert_int_eq(next_of(queue_of(0, 3)), 160);
    buf_destroy(&bytes);
}
END_TEST

static void expect_no_match(struct bytes in, uint64_t end)
{
    ck_assert_int_eq(queue_snapshot_apply(table, in, end, find_topic, NULL), 1);
    for (uint32_t i = 0; i < stats_now().queues; i++)
        ck_assert_int_eq(next_of(i), 0);
}

START_TEST(snapshot_of_another_moment_does_not_match)
{
    struct buf bytes;

    fill_some_queues();
    bytes = snapshot_of();
    reopen_table();
    expect_no_match(buf_bytes(&bytes), log_end + 1);
    expect_no_match(buf_bytes(&bytes), 0);
    options.file_bytes = 2 * FILE_BYTES;
    reopen_table();
    expect_no_match(buf_bytes(&bytes), log_end);
    options.file_bytes = FILE_BYTES;
    reopen_table();
    name_topic(&topics[1], "Other");
    expect_no_match(buf_bytes(&bytes), log_end);
    buf_destroy(&bytes);
}
END_TEST

START_TEST(damaged_snapshot_does_not_match)
{
    struct buf bytes;

    fill_some_queues();
    bytes = snapshot_of();
    reopen_table();
    for (size_t i = 0; i < bytes.len; i++) {
        buf_at(&bytes)[i] ^= 0x10;
        expect_no_match(buf_bytes(&bytes), log_end);
        buf_at(&bytes)[i] ^= 0x10;
        expect_no_match(bytes_of(buf_at(&bytes), i), log_end);
    }
    buf_destroy(&bytes);
}
END_TEST

/* A snapshot made by hand: right checksum, any content. */
struct crafted {
    const char *topic;
    uint32_t first, count;
    uint64_t min, next, last_end;
};

static void expect_refused(const struct crafted *runs, uint32_t count, uint32_t claimed)
{
    struct buf b = {0};

    buf_add_be32(&b, 0x544E5153);
    buf_add_be32(&b, 1);
    buf_add_be64(&b, 5000);
    buf_add_be64(&b, FILE_BYTES);
    buf_add_be32(&b, claimed);
    for (uint32_t i = 0; i < count; i++) {
        buf_add_u8(&b, (uint8_t)strlen(runs[i].topic));
        buf_add_str(&b, runs[i].topic);
        buf_add_be32(&b, runs[i].first);
        buf_add_be32(&b, runs[i].count);
        for (uint32_t k = 0; k < runs[i].count && k < 10; k++) {
            buf_add_be64(&b, runs[i].min);
            buf_add_be64(&b, runs[i].next);
            buf_add_be64(&b, runs[i].last_end);
        }
    }
    buf_add_be32(&b, crc32_of(0, buf_bytes(&b)));
    expect_no_match(buf_bytes(&b), 5000);
    buf_destroy(&b);
}

START_TEST(snapshot_that_lies_does_not_match)
{
    static const struct crafted lies[] = {
        {"Topic0", 0, 1, 6, 5, 100},                 /* begins behind its end */
        {"Topic0", 0, 1, UINT64_MAX, 5, 100},        /* negative */
        {"Topic0", 0, 1, 0, UINT64_C(1) << 60, 100}, /* no such file could be named */
        {"Topic0", 0, 1, 0, 5, 5001},                /* ends outside of the log */
        {"Topic0", 1, 1, 0, 5, 100},                 /* ids with a gap */
        {"Topic0", 65535, 2, 0, 5, 100},             /* ids too large */
        {"Topic0", UINT32_MAX, 1, 0, 5, 100},        /* negative */
        {"Topic0", 0, 0, 0, 5, 100},                 /* an empty run */
        {"Topic0", 0, UINT32_MAX, 0, 5, 100},        /* longer than the file */
        {"Topic0", 0, 11, 0, 5, 100},                /* by one */
        {"../../etc", 0, 1, 0, 5, 100},              /* no topic */
        {"", 0, 1, 0, 5, 100},
    };
    static const struct crafted twice[] = {{"Topic0", 0, 2, 0, 5, 100},
                                           {"Topic0", 0, 2, 0, 6, 100}};

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        reopen_table();
        expect_refused(&lies[i], 1, 1);
    }
    reopen_table();
    expect_refused(twice, 2, 2);
    reopen_table();
    expect_refused(twice, 1, 2);
    expect_refused(twice, 1, 0);
    expect_refused(twice, 1, UINT32_MAX);
}
END_TEST

START_TEST(snapshot_is_not_made_while_entries_wait_for_their_files)
{
    append_to(queue_of(0, 0), 1);
    ck_assert_int_eq(queue_table_snapshot_save(table, in_root("queues"), log_end), -EBUSY);
    ck_assert(!exists(in_root("queues")));
}
END_TEST

START_TEST(deleted_topic_is_not_in_the_snapshot)
{
    struct buf bytes;

    fill_some_queues();
    topics[1].deleted = true;
    ck_assert_int_eq(queue_table_snapshot_save(table, in_root("queues"), log_end), -EBUSY);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[1]), 0);
    bytes = snapshot_of();
    reopen_table();
    name_topic(&topics[1], "Other");
    ck_assert_int_eq(queue_snapshot_apply(table, buf_bytes(&bytes), log_end, find_topic, NULL), 0);
    expect_range(queue_of(0, 3), UINT64_MAX, 0, 150);
    buf_destroy(&bytes);
}
END_TEST

/* Whatever it said, it does not hold from now on. */
START_TEST(snapshot_is_removed_when_it_was_read)
{
    struct err err = {0};

    ck_assert_int_eq(queue_table_snapshot_load(table, NULL, in_root("queues"), 0, &err), 1);
    ck_assert_int_eq(queue_table_snapshot_save(table, in_root("queues"), log_end), 0);
    ck_assert_int_eq(queue_table_snapshot_load(table, NULL, in_root("queues"), 0, &err), 0);
    ck_assert(!exists(in_root("queues")));
    spill(in_root("queues"), "junk", 4);
    ck_assert_int_eq(queue_table_snapshot_load(table, NULL, in_root("queues"), 0, &err), 1);
    ck_assert(!exists(in_root("queues")));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_snapshot");
    TCase *c = tcase_create("queue_snapshot");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, snapshot_gives_back_all_ends);
    tcase_add_test(c, snapshot_of_another_moment_does_not_match);
    tcase_add_test(c, damaged_snapshot_does_not_match);
    tcase_add_test(c, snapshot_that_lies_does_not_match);
    tcase_add_test(c, snapshot_is_not_made_while_entries_wait_for_their_files);
    tcase_add_test(c, deleted_topic_is_not_in_the_snapshot);
    tcase_add_test(c, snapshot_is_removed_when_it_was_read);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
