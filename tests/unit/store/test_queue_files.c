/* test_queue_files.c - queue files: their bytes, when they are written, what happens when that
 * fails, and how many of them are open. */
#include <stdatomic.h>

#include "broker/store/queue_internal.h"
#include "queue_fixture.h"

/* --- a disk that fails on demand and counts descriptors --- */

static struct file_ops ops;
static _Atomic int fail_writes, fail_opens, fail_sizes; /* errno, 0: do not */
static _Atomic int opened, opened_most, write_calls;
static char fail_path[64]; /* opens fail only for paths that contain it */

static int counted_open(const char *path, int flags, mode_t mode)
{
    int fd, now;

    if (atomic_load(&fail_opens) && strstr(path, fail_path)) {
        errno = atomic_load(&fail_opens);
        return -1;
    }
    fd = file_ops_system.open(path, flags, mode);
    if (fd >= 0) {
        now = atomic_fetch_add(&opened, 1) + 1;
        if (now > atomic_load(&opened_most))
            atomic_store(&opened_most, now);
    }
    return fd;
}

static int counted_close(int fd)
{
    int r = file_ops_system.close(fd);

    atomic_fetch_sub(&opened, 1);
    return r;
}

static ssize_t failing_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    atomic_fetch_add(&write_calls, 1);
    if (atomic_load(&fail_writes)) {
        errno = atomic_load(&fail_writes);
        return -1;
    }
    return file_ops_system.pwritev(fd, iov, n, at);
}

static int failing_ftruncate(int fd, off_t size)
{
    if (atomic_load(&fail_sizes)) {
        errno = atomic_load(&fail_sizes);
        return -1;
    }
    return file_ops_system.ftruncate(fd, size);
}

static void begin_with_disk(void)
{
    ops = file_ops_system;
    ops.open = counted_open;
    ops.close = counted_close;
    ops.pwritev = failing_pwritev;
    ops.ftruncate = failing_ftruncate;
    file_ops_set(&ops);
    begin();
}

static int write_back(uint64_t flushed, int64_t now_ms)
{
    return queue_table_write_back(table, flushed, now_ms, false, NULL);
}

/* --- layout --- */

static void put(uint8_t *at, uint64_t v, int size)
{
    for (int i = 0; i < size; i++)
        at[i] = (uint8_t)(v >> 8 * (size - 1 - i));
}

START_TEST(files_hold_entries_byte_for_byte)
{
    uint32_t queue = queue_of(2, 11);

    append_to(queue, 2 * UNITS + 37);
    write_all();
    for (int file = 0; file < 3; file++) {
        uint8_t expected[FILE_BYTES] = {0}, *got;
        size_t size = 0;
        for (int i = 0; i < UNITS && file * UNITS + i < 2 * UNITS + 37; i++) {
            int64_t offset = file * UNITS + i;
            struct queue_entry e = entry_at((uint64_t)offset * RECORD, offset);
            put(expected + i * 20, (uint64_t)e.log_offset, 8);
            put(expected + i * 20 + 8, (uint64_t)e.size, 4);
            put(expected + i * 20 + 12, (uint64_t)e.tags_code, 8);
        }
        got = slurp(queue_file("Topic2", 11, file * FILE_BYTES), &size);
        ck_assert_ptr_nonnull(got);
        ck_assert_uint_eq(size, FILE_BYTES);
        ck_assert_int_eq(memcmp(got, expected, FILE_BYTES), 0);
        free(got);
    }
    ck_assert(!exists(queue_file("Topic2", 11, 3 * FILE_BYTES)));
}
END_TEST

/* RocketMQ takes zeroes for the end of a queue, so a queue that begins in the middle of a file gets
 * the units before filled as it fills them. */
START_TEST(file_that_begins_in_the_middle_is_filled_in_front)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e = entry_at(5000, 3 * UNITS + 40);

    ck_assert_int_eq(queue_table_recover(table, queue, 3 * UNITS + 40, &e), 0);
    log_end = 5000 + RECORD;
    write_all();
    ck_assert(!exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
    for (int64_t i = 0; i < 40; i++) {
        struct queue_entry filler = on_disk("Topic0", 0, 3 * UNITS + i);
        ck_assert_int_eq(filler.log_offset, 0);
        ck_assert_int_eq(filler.size, 0x7FFFFFFF);
        ck_assert_int_eq(filler.tags_code, 0);
    }
    expect_on_disk("Topic0", 0, 3 * UNITS + 40, 5000);
    ck_assert_int_eq(on_disk("Topic0", 0, 3 * UNITS + 41).size, 0);
    expect_range(queue, UINT64_MAX, 3 * UNITS + 40, 3 * UNITS + 41);
}
END_TEST

/* A million queues with one message each must not take six terabytes. */
START_TEST(files_are_sparse)
{
    struct stat st;

    options.file_bytes = 6000000;
    reopen_table();
    append_to(queue_of(0, 0), 1);
    write_all();
    ck_assert_int_eq(file_stat(queue_file("Topic0", 0, 0), &st), 0);
    ck_assert_int_eq(st.st_size, 6000000);
    ck_assert_int_le(st.st_blocks * 512, 65536);
}
END_TEST

/* --- when --- */

START_TEST(no_entry_is_written_before_its_record_is_flushed)
{
    uint32_t queue = queue_of(0, 0);
    uint64_t complete = 0;

    append_to(queue, 300);
    ck_assert_int_eq(queue_table_write_back(table, 123 * RECORD, 0, true, &complete), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 123);
    ck_assert_uint_eq(complete, 123 * RECORD);
    /* A record is flushed when all of it is. */
    ck_assert_int_eq(queue_table_write_back(table, 125 * RECORD - 1, 0, true, &complete), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 124);
    ck_assert_uint_eq(complete, 124 * RECORD);
    expect_entries(queue, 0, 300, 0);
}
END_TEST

START_TEST(full_pages_are_written_and_the_rest_stays_in_memory)
{
    uint32_t queue;

    options.file_bytes = 60000;
    reopen_table();
    queue = queue_of(0, 0);
    append_to(queue, 205);
    ck_assert_int_eq(write_back(log_end, 1), 0);
    ck_assert(!exists(queue_file("Topic0", 0, 0)));
    append_to(queue, 1);
    ck_assert_int_eq(write_back(log_end, 2), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 4096 / 20);
    ck_assert_uint_eq(stats_now().pending_entries, 206 - 204);
    append_to(queue, 1000);
    ck_assert_int_eq(write_back(log_end, 3), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 5 * 4096 / 20);
    expect_entries(queue, 0, 1206, 0);
}
END_TEST

START_TEST(entries_older_than_a_minute_are_written)
{
    append_to(queue_of(0, 0), 10);
    ck_assert_int_eq(write_back(log_end, 1000), 0);
    append_to(queue_of(0, 1), 10);
    for (int64_t now = 2000; now < 61000; now += 1000)
        ck_assert_int_eq(write_back(log_end, now), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 0);
    ck_assert_int_eq(write_back(log_end, 61000), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 10);
    ck_assert_int_eq(count_on_disk("Topic0", 1, 0), 0);
    ck_assert_int_eq(write_back(log_end, 67000), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 1, 0), 10);
}
END_TEST

/* A clock that was set back may not write everything at once, nor nothing ever. */
START_TEST(minute_is_counted_anew_when_the_clock_goes_back)
{
    append_to(queue_of(0, 0), 10);
    ck_assert_int_eq(write_back(log_end, 1000000), 0);
    ck_assert_int_eq(write_back(log_end, 5000), 0);
    ck_assert_int_eq(write_back(log_end, 64999), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 0);
    ck_assert_int_eq(write_back(log_end, 65000), 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 10);
}
END_TEST

START_TEST(pressed_table_writes_its_oldest_entries_until_half_is_free)
{
    options.memory_budget = 100 * 256;
    reopen_table();
    for (int32_t id = 0; id < 90; id++)
        append_to(queue_of(0, id), 1);
    ck_assert_int_eq(write_back(log_end, 0), 0);
    ck_assert_uint_eq(stats_now().chunk_bytes, 50 * 256);
    ck_assert_int_eq(count_on_disk("Topic0", 39, 0), 1);
    ck_assert_int_eq(count_on_disk("Topic0", 40, 0), 0);
}
END_TEST

START_TEST(one_call_writes_a_queue_and_another_one_each_further_file)
{
    append_to(queue_of(0, 0), UNITS);
    write_all();
    ck_assert_int_eq(atomic_load(&write_calls), 1);
    append_to(queue_of(0, 0), 2 * UNITS + 1);
    write_all();
    ck_assert_int_eq(atomic_load(&write_calls), 4);
}
END_TEST

START_TEST(completeness_reaches_the_first_entry_that_is_not_in_a_file)
{
    uint64_t complete = 0;

    append_to(queue_of(0, 0), 10);
    append_to(queue_of(0, 1), 10); /* its records are 1000 to 2000 */
    append_to(queue_of(0, 2), 10);
    snprintf(fail_path, sizeof(fail_path), "/Topic0/1/");
    atomic_store(&fail_opens, EIO);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, &complete), -EIO);
    ck_assert_uint_eq(complete, 1000);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 10);
    ck_assert_int_eq(count_on_disk("Topic0", 2, 0), 10);

    atomic_store(&fail_opens, 0);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, &complete), 0);
    ck_assert_uint_eq(complete, log_end);
    ck_assert_int_eq(count_on_disk("Topic0", 1, 0), 10);
    /* It never falls. */
    complete = UINT64_MAX;
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, &complete), 0);
    ck_assert_uint_eq(complete, UINT64_MAX);
}
END_TEST

/* --- failures --- */

START_TEST(failed_write_leaves_entries_in_memory_for_the_next_try)
{
    uint32_t queue = queue_of(0, 0);
    uint64_t complete = 0;

    append_to(queue, 250);
    atomic_store(&fail_writes, ENOSPC);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, &complete), -ENOSPC);
    ck_assert_uint_eq(complete, 0);
    ck_assert_int_eq(write_back(log_end, 1), -ENOSPC);
    ck_assert_uint_eq(stats_now().pending_entries, 250);
    expect_entries(queue, 0, 250, 0);
    append_to(queue, 10);

    atomic_store(&fail_writes, 0);
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 260);
    expect_entries(queue, 0, 260, 0);
}
END_TEST

/* RocketMQ and the next start refuse a file that is too short. */
START_TEST(file_that_cannot_get_its_size_is_not_left_behind)
{
    append_to(queue_of(0, 0), 10);
    atomic_store(&fail_sizes, ENOSPC);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, NULL), -ENOSPC);
    ck_assert(!exists(queue_file("Topic0", 0, 0)));
    atomic_store(&fail_sizes, 0);
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 10);
}
END_TEST

/* The start has seen to the sizes: this one somebody has changed since. */
START_TEST(file_of_another_size_gets_its_size_back)
{
    static const size_t sizes[] = {100, 4000};
    size_t size = 0;

    for (size_t i = 0; i < 2; i++) {
        uint8_t bytes[4000] = {0};
        append_to(queue_of(0, (int32_t)i), 10);
        char folder[64];
        snprintf(folder, sizeof(folder), "consumequeue/Topic0/%zu", i);
        ck_assert_int_eq(file_mkdirs(in_root(folder)), 0);
        spill(queue_file("Topic0", (int)i, 0), bytes, sizes[i]);
        ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, NULL), 0);
        free(slurp(queue_file("Topic0", (int)i, 0), &size));
        ck_assert_uint_eq(size, FILE_BYTES);
        ck_assert_int_eq(count_on_disk("Topic0", (int)i, 0), 10);
    }
}
END_TEST

/* A disk on which nothing works is not asked once for each of a million queues. */
START_TEST(pass_gives_up_after_a_few_failures)
{
    for (int32_t id = 0; id < 500; id++)
        append_to(queue_of(0, id), 1);
    atomic_store(&fail_writes, EIO);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, NULL), -EIO);
    ck_assert_int_lt(atomic_load(&write_calls), 20);
    atomic_store(&fail_writes, 0);
    write_all();
    for (int32_t id = 0; id < 500; id += 100)
        ck_assert_int_eq(count_on_disk("Topic0", id, 0), 1);
}
END_TEST

START_TEST(unreadable_file_is_an_error_and_not_an_end)
{
    struct queue_entry e;

    append_to(queue_of(0, 0), 250);
    write_all();
    for (int32_t id = 1; id <= 16; id++) /* so that the files of queue 0 are closed */
        append_to(queue_of(0, id), 1);
    write_all();
    ck_assert_int_eq(unlink(queue_file("Topic0", 0, FILE_BYTES)), 0);
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 0), 150, &e, 1, UINT64_MAX, true),
                     -ENOENT);
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 0), 50, &e, 1, UINT64_MAX, true), 1);
}
END_TEST

static int held; /* calls made with the lock of the queue files held, -1: one without */

static void look_at_lock(void)
{
    if (pthread_mutex_trylock(&table->io_lock) == 0) {
        pthread_mutex_unlock(&table->io_lock);
        held = -1;
    } else if (held >= 0) {
        held++;
    }
}

static ssize_t watched_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    look_at_lock();
    return file_ops_system.pwritev(fd, iov, n, at);
}

static int watched_unlink(const char *path)
{
    look_at_lock();
    return file_ops_system.unlink(path);
}

/* The chunks that pwritev reads, and the folder it writes to, cannot be dropped meanwhile; nobody
 * who appends waits for either. */
START_TEST(files_are_written_and_removed_under_their_own_lock)
{
    ops.pwritev = watched_pwritev;
    ops.unlink = watched_unlink;
    append_to(queue_of(0, 0), 150);
    write_all();
    ck_assert_int_eq(held, 2);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    ck_assert_int_eq(held, 4);
}
END_TEST

static ssize_t appending_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    if (held++ == 0)
        append_to(queue_of(0, 0), 40);
    return file_ops_system.pwritev(fd, iov, n, at);
}

START_TEST(entries_are_appended_while_others_are_written)
{
    uint32_t queue = queue_of(0, 0);

    ops.pwritev = appending_pwritev;
    append_to(queue, 30);
    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, NULL), 0);
    ck_assert_int_eq(held, 1);
    expect_entries(queue, 0, 70, 0);
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 30);
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 70);
}
END_TEST

/* --- descriptors --- */

/* 200 files through 4 descriptors, in an order that never finds the next one open. */
START_TEST(no_more_files_are_open_than_allowed)
{
    options.descriptors = 4;
    reopen_table();
    atomic_store(&opened_most, 0);
    for (int32_t id = 0; id < 100; id++)
        append_to(queue_of(0, id), UNITS + 50);
    write_all();
    for (int32_t id = 0; id < 100; id++)
        expect_entries(queue_of(0, id), 0, UNITS + 50, (uint64_t)id * (UNITS + 50) * RECORD);
    ck_assert_int_le(atomic_load(&opened_most), 4);
    ck_assert_uint_eq(stats_now().open_files, 4);
    ck_assert_int_eq(atomic_load(&opened), 4);
    table = queue_table_free(table);
    ck_assert_int_eq(atomic_load(&opened), 0);
}
END_TEST

static _Atomic int wrong;

static void *read_around(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    struct queue_entry got[20];

    for (int i = 0; i < 3000; i++) {
        int32_t id;
        int64_t from;
        int n;

        random = random * 6364136223846793005u + 1442695040888963407u;
        id = (int32_t)(random >> 33) % 40;
        from = (int64_t)(random >> 40) % 300;
        n = queue_table_read(table, topics[0].extents[0].base + (uint32_t)id, from, got, 20,
                             UINT64_MAX, true);
        if (n <= 0)
            atomic_store(&wrong, 1);
        for (int k = 0; k < n; k++) {
            if (got[k].log_offset != ((int64_t)id * 300 + from + k) * RECORD)
                atomic_store(&wrong, 2);
        }
    }
    return NULL;
}

START_TEST(bound_on_open_files_holds_with_more_readers_than_files)
{
    pthread_t threads[5];

    options.descriptors = 2;
    reopen_table();
    atomic_store(&opened_most, 0);
    queue_of(0, 39);
    for (int32_t id = 0; id < 40; id++)
        append_to(queue_of(0, id), 300);
    write_all();
    for (uintptr_t i = 0; i < 5; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_around, (void *)(i + 1)), 0);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&wrong), 0);
    ck_assert_int_le(atomic_load(&opened_most), 2);
}
END_TEST

/* An event loop neither opens files nor waits for the disk. */
START_TEST(reader_that_may_not_block_gets_only_what_is_at_hand)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry got[10];

    append_to(queue, UNITS);
    write_all();
    append_to(queue, 10);
    options.descriptors = 1;
    reopen_table();
    load(0, log_end);
    queue = queue_of(0, 0);
    log_end = UNITS * RECORD;
    append_to(queue, 10);
    ck_assert_int_eq(queue_table_read(table, queue, 0, got, 10, UINT64_MAX, false),
                     QUEUE_WOULD_BLOCK);
    ck_assert_int_eq(queue_table_read(table, queue, UNITS, got, 10, UINT64_MAX, false), 10);
    ck_assert_int_eq(got[0].log_offset, UNITS * RECORD);
    /* Another reader has opened the file, and its page is in memory. */
    ck_assert_int_eq(queue_table_read(table, queue, 0, got, 10, UINT64_MAX, true), 10);
    ck_assert_int_eq(queue_table_read(table, queue, 5, got, 10, UINT64_MAX, false), 10);
    ck_assert_int_eq(got[9].log_offset, 14 * RECORD);
    /* It goes on into memory where the file ends. */
    ck_assert_int_eq(queue_table_read(table, queue, UNITS - 4, got, 10, UINT64_MAX, false), 10);
    ck_assert_int_eq(got[9].log_offset, (UNITS + 5) * RECORD);
}
END_TEST

static ssize_t nothing_at_hand(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    (void)fd, (void)iov, (void)n, (void)at, (void)flags;
    errno = EAGAIN;
    return -1;
}

START_TEST(page_that_is_not_in_memory_would_block)
{
    struct queue_entry e;

    append_to(queue_of(0, 0), 10);
    write_all();
    ops.preadv2 = nothing_at_hand;
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 0), 0, &e, 1, UINT64_MAX, false),
                     QUEUE_WOULD_BLOCK);
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 0), 0, &e, 1, UINT64_MAX, true), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_files");
    TCase *c = tcase_create("queue_files");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin_with_disk, end);
    tcase_add_test(c, files_hold_entries_byte_for_byte);
    tcase_add_test(c, file_that_begins_in_the_middle_is_filled_in_front);
    tcase_add_test(c, files_are_sparse);
    tcase_add_test(c, no_entry_is_written_before_its_record_is_flushed);
    tcase_add_test(c, full_pages_are_written_and_the_rest_stays_in_memory);
    tcase_add_test(c, entries_older_than_a_minute_are_written);
    tcase_add_test(c, minute_is_counted_anew_when_the_clock_goes_back);
    tcase_add_test(c, pressed_table_writes_its_oldest_entries_until_half_is_free);
    tcase_add_test(c, one_call_writes_a_queue_and_another_one_each_further_file);
    tcase_add_test(c, completeness_reaches_the_first_entry_that_is_not_in_a_file);
    tcase_add_test(c, failed_write_leaves_entries_in_memory_for_the_next_try);
    tcase_add_test(c, file_that_cannot_get_its_size_is_not_left_behind);
    tcase_add_test(c, file_of_another_size_gets_its_size_back);
    tcase_add_test(c, pass_gives_up_after_a_few_failures);
    tcase_add_test(c, unreadable_file_is_an_error_and_not_an_end);
    tcase_add_test(c, files_are_written_and_removed_under_their_own_lock);
    tcase_add_test(c, entries_are_appended_while_others_are_written);
    tcase_add_test(c, no_more_files_are_open_than_allowed);
    tcase_add_test(c, bound_on_open_files_holds_with_more_readers_than_files);
    tcase_add_test(c, reader_that_may_not_block_gets_only_what_is_at_hand);
    tcase_add_test(c, page_that_is_not_in_memory_would_block);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
