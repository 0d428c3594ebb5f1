/* test_queue_table.c - queues in memory: ids, entries, the veil, the budget, topics that go,
 * threads. */
#include <stdatomic.h>

#include "broker/store/queue_internal.h"
#include "queue_fixture.h"

/* --- states --- */

START_TEST(state_of_a_queue_takes_less_than_100_bytes)
{
    ck_assert_uint_lt(sizeof(struct queue_state), 100);
}
END_TEST

START_TEST(queue_is_absent_until_it_is_made)
{
    pthread_mutex_lock(&append_lock);
    ck_assert_uint_eq(queue_table_find(table, &topics[0], 0, false), QUEUE_NONE);
    ck_assert_uint_ne(queue_table_find(table, &topics[0], 2, true), QUEUE_NONE);
    ck_assert_uint_ne(queue_table_find(table, &topics[0], 0, false), QUEUE_NONE);
    ck_assert_uint_eq(queue_table_find(table, &topics[0], 3, false), QUEUE_NONE);
    ck_assert_uint_eq(queue_table_find(table, &topics[1], 0, false), QUEUE_NONE);
    pthread_mutex_unlock(&append_lock);
}
END_TEST

START_TEST(queue_id_out_of_range_is_no_queue)
{
    pthread_mutex_lock(&append_lock);
    ck_assert_uint_eq(queue_table_find(table, &topics[0], -1, true), QUEUE_NONE);
    ck_assert_uint_eq(queue_table_find(table, &topics[0], TOPIC_QUEUES_MAX, true), QUEUE_NONE);
    ck_assert_uint_eq(queue_table_find(table, &topics[0], INT32_MAX, true), QUEUE_NONE);
    pthread_mutex_unlock(&append_lock);
    ck_assert_uint_eq(stats_now().queues, 0);
}
END_TEST

/* Growing one id at a time is what needs the most extents. */
START_TEST(topic_grows_to_its_last_id_and_indexes_stay)
{
    uint32_t first[40], other;

    for (int32_t id = 0; id < 40; id++) {
        first[id] = queue_of(0, id);
        other = queue_of(1, id); /* topics grow in turns */
        ck_assert_uint_ne(first[id], other);
    }
    for (int32_t id = 40; id < TOPIC_QUEUES_MAX; id++)
        queue_of(0, id);
    ck_assert_int_le(topics[0].extent_count, TOPIC_EXTENTS_MAX);
    for (int32_t id = 0; id < TOPIC_QUEUES_MAX; id++) {
        int32_t back;
        uint32_t queue = queue_of(0, id);
        if (id < 40)
            ck_assert_uint_eq(queue, first[id]);
        ck_assert_ptr_eq(queue_table_topic(table, queue, &back), &topics[0]);
        ck_assert_int_eq(back, id);
    }
}
END_TEST

START_TEST(waiting_bits_are_kept_for_each_loop)
{
    uint32_t queue = queue_of(0, 1);

    queue_table_set_waiting(table, queue, 0, true);
    queue_table_set_waiting(table, queue, 31, true);
    ck_assert_uint_eq(queue_table_waiting(table, queue), 0x80000001u);
    queue_table_set_waiting(table, queue, 0, false);
    ck_assert_uint_eq(queue_table_waiting(table, queue), 0x80000000u);
    ck_assert_uint_eq(queue_table_waiting(table, queue_of(0, 0)), 0);
}
END_TEST

/* A message in each of 100,000 queues: a state and one chunk for each, nothing else. */
START_TEST(hundred_thousand_queues_cost_a_state_and_a_chunk_each)
{
    enum { TOPIC_COUNT = 4, IDS = 25000 };
    uint64_t before, after;
    unsigned long pages;
    FILE *f;

    options.memory_budget = 64 << 20;
    reopen_table();
    f = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%*u %lu", &pages), 1);
    before = pages;
    for (int topic = 0; topic < TOPIC_COUNT; topic++) {
        queue_of(topic, IDS - 1);
        for (int32_t id = 0; id < IDS; id++)
            append_to(queue_of(topic, id), 1);
    }
    ck_assert_ptr_nonnull(freopen("/proc/self/statm", "r", f));
    ck_assert_int_eq(fscanf(f, "%*u %lu", &pages), 1);
    after = pages;
    fclose(f);
    printf("resident: %llu bytes a queue, of which 256 its chunk\n",
           (unsigned long long)((after - before) * 4096 / (TOPIC_COUNT * IDS)));
    ck_assert_uint_eq(stats_now().queues, TOPIC_COUNT * IDS);
    ck_assert_uint_eq(stats_now().chunk_bytes, TOPIC_COUNT * IDS * 256);
    ck_assert_uint_eq(stats_now().open_files, 0);
}
END_TEST

/* --- entries --- */

START_TEST(entries_read_back_as_they_were_appended)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 10000);
    ck_assert_int_eq(next_of(queue), 10000);
    ck_assert_uint_eq(stats_now().pending_entries, 10000);
    expect_entries(queue, 0, 10000, 0);
    for (int64_t from = 9990; from < 10000; from++)
        expect_entries(queue, from, 10000, (uint64_t)from * RECORD);
}
END_TEST

START_TEST(nothing_is_read_outside_of_the_range)
{
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e;

    ck_assert_int_eq(queue_table_read(table, queue, 0, &e, 1, UINT64_MAX, true), 0);
    append_to(queue, 5);
    ck_assert_int_eq(queue_table_read(table, queue, 5, &e, 1, UINT64_MAX, true), 0);
    ck_assert_int_eq(queue_table_read(table, queue, -1, &e, 1, UINT64_MAX, true), 0);
    ck_assert_int_eq(queue_table_read(table, queue, INT64_MAX, &e, 1, UINT64_MAX, true), 0);
    ck_assert_int_eq(queue_table_read(table, queue, 0, &e, 0, UINT64_MAX, true), 0);
}
END_TEST

/* Chunks are found by jumps that lead back past others, and sometimes past the queue's own
 * beginning. */
START_TEST(any_entry_is_found_while_the_front_of_the_queue_moves_to_files)
{
    uint32_t queue = queue_of(0, 0);
    uint64_t random = 1, flushed = 0, complete = 0;

    for (int round = 0; round < 300; round++) {
        append_to(queue, (int64_t)(random >> 33) % 200);
        random = random * 6364136223846793005u + 1442695040888963407u;
        flushed += random % (log_end - flushed + 1) / RECORD * RECORD;
        if (round % 3 == 0)
            ck_assert_int_eq(queue_table_write_back(table, flushed, 0, true, &complete), 0);
        int64_t from = next_of(queue) > 0 ? (int64_t)(random >> 20) % next_of(queue) : 0;
        expect_entries(queue, from, from + 1 < next_of(queue) ? from + 1 : from,
                       (uint64_t)from * RECORD);
    }
    expect_entries(queue, 0, next_of(queue), 0);
}
END_TEST

/* --- the veil --- */

static void expect_veil(uint32_t queue, int64_t min, int64_t count)
{
    for (int64_t visible = min; visible <= count; visible++) {
        uint64_t border = (uint64_t)visible * RECORD;
        struct queue_entry got[3];

        expect_range(queue, border, min, visible);
        if (visible < count)
            expect_range(queue, border + RECORD - 1, min, visible);
        if (visible - 2 >= min)
            ck_assert_int_eq(queue_table_read(table, queue, visible - 2, got, 3, border, true), 2);
        ck_assert_int_eq(queue_table_read(table, queue, visible, got, 3, border, true), 0);
    }
}

START_TEST(consumer_sees_no_record_that_ends_above_confirmed)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 500);
    expect_veil(queue, 0, 500);
}
END_TEST

START_TEST(veil_holds_for_entries_that_are_in_files_already)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 450);
    write_all();
    expect_veil(queue, 0, 450);
    append_to(queue, 50);
    expect_veil(queue, 0, 500);
}
END_TEST

START_TEST(empty_queue_has_an_empty_range)
{
    uint32_t queue = queue_of(0, 0);

    expect_range(queue, 0, 0, 0);
    expect_range(queue, UINT64_MAX, 0, 0);
    append_to(queue, 1);
    expect_range(queue, 0, 0, 0);
}
END_TEST

/* --- the budget --- */

START_TEST(full_budget_refuses_and_changes_nothing_until_entries_are_in_files)
{
    uint32_t queue;
    int64_t count;

    options.memory_budget = 100 * 256;
    reopen_table();
    queue = queue_of(0, 0);
    append_to(queue, 100 * 12);
    ck_assert_int_eq(try_append(queue), -ENOSPC);
    ck_assert_int_eq(try_append(queue_of(0, 1)), -ENOSPC);
    ck_assert_int_eq(next_of(queue), 1200);
    expect_range(queue, UINT64_MAX, 0, 1200);
    ck_assert_uint_eq(stats_now().pending_entries, 1200);
    ck_assert_uint_eq(stats_now().chunk_bytes, stats_now().chunk_budget);

    write_all();
    ck_assert_uint_eq(stats_now().chunk_bytes, 0);
    ck_assert_uint_eq(stats_now().pending_entries, 0);
    count = 1200;
    append_to(queue, 100 * 12);
    expect_entries(queue, 0, count + 1200, 0);
}
END_TEST

START_TEST(table_is_pressed_above_three_quarters_of_the_budget)
{
    uint32_t queue;

    options.memory_budget = 100 * 256;
    reopen_table();
    queue = queue_of(0, 0);
    append_to(queue, 75 * 12);
    ck_assert(!queue_table_pressed(table));
    append_to(queue, 1);
    ck_assert(queue_table_pressed(table));
}
END_TEST

START_TEST(memory_of_a_burst_goes_back_to_the_system)
{
    uint32_t queue = queue_of(0, 0);

    append_to(queue, 100000);
    ck_assert_uint_gt(table->chunks_mapped, 8000);
    write_all();
    ck_assert_uint_le(table->chunks_mapped, KEEP_BLOCKS * BLOCK_CHUNKS);
    append_to(queue, 100000);
    expect_entries(queue, 0, 200000, 0);
}
END_TEST

/* What was reserved fits, wherever it goes. */
START_TEST(reserved_entries_fit)
{
    options.memory_budget = 10 * 256;
    reopen_table();
    for (int i = 0; i < 10; i++)
        queue_of(0, i);
    pthread_mutex_lock(&append_lock);
    ck_assert_int_eq(queue_table_reserve(table, 11), -ENOSPC);
    ck_assert_int_eq(queue_table_reserve(table, 10), 0);
    pthread_mutex_unlock(&append_lock);
    for (int i = 0; i < 10; i++)
        append_to(queue_of(0, i), 1);
    pthread_mutex_lock(&append_lock);
    ck_assert_int_eq(queue_table_reserve(table, 1), -ENOSPC);
    pthread_mutex_unlock(&append_lock);
}
END_TEST

/* --- topics that go --- */

START_TEST(dropped_topic_begins_again_at_0)
{
    uint32_t queue = queue_of(0, 3), kept = queue_of(1, 0), empty = queue_of(0, 0);
    uint64_t log;

    append_to(queue, 250);
    write_all();
    append_to(queue, 30);
    append_to(kept, 10);
    log = log_end;
    ck_assert(exists(queue_file("Topic0", 3, 0)));

    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    expect_range(queue, UINT64_MAX, 0, 0);
    expect_range(empty, UINT64_MAX, 0, 0);
    expect_range(kept, UINT64_MAX, 0, 10);
    ck_assert_int_eq(next_of(queue), 0);
    ck_assert(!exists(in_root("consumequeue/Topic0")));
    ck_assert_uint_eq(stats_now().open_files, 0);
    ck_assert_uint_eq(stats_now().pending_entries, 10);

    append_to(queue, 120);
    expect_entries(queue, 0, 120, log);
    write_all();
    expect_entries(queue, 0, 120, log);
    ck_assert_int_eq(count_on_disk("Topic0", 3, 0), 120);
    expect_on_disk("Topic0", 3, 119, log + 119 * RECORD);
}
END_TEST

START_TEST(topic_without_a_folder_is_dropped_too)
{
    append_to(queue_of(0, 0), 10);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[5]), 0);
    ck_assert_uint_eq(stats_now().chunk_bytes, 0);
}
END_TEST

static struct file_ops ops;
static bool before_open, after_open, at_read;
static uint64_t new_log;

/* The topic is dropped, made again and written while a reader is on its way. */
static void replace_topic(void)
{
    before_open = after_open = at_read = false;
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    new_log = log_end;
    append_to(queue_of(0, 0), 50);
    write_all();
}

static int replacing_open(const char *path, int flags, mode_t mode)
{
    int fd;

    if (before_open)
        replace_topic();
    fd = file_ops_system.open(path, flags, mode);
    if (after_open)
        replace_topic();
    return fd;
}

static ssize_t replacing_pread(int fd, void *to, size_t n, off_t at)
{
    ssize_t got = file_ops_system.pread(fd, to, n, at);

    if (at_read)
        replace_topic();
    return got;
}

static void expect_nothing_of_either(bool *when)
{
    struct queue_entry got[20];
    uint32_t queue;

    append_to(queue_of(0, 0), 70);
    write_all();
    reopen_table(); /* no file is open */
    load(0, log_end);
    queue = queue_of(0, 0);
    *when = true;
    ck_assert_int_eq(queue_table_read(table, queue, 10, got, 20, UINT64_MAX, true), 0);
    ck_assert(!*when);
    expect_range(queue, UINT64_MAX, 0, 50);
    expect_entries(queue, 0, 50, new_log);
    append_to(queue, 10);
    write_all();
    ck_assert_int_eq(count_on_disk("Topic0", 0, 0), 60);
    ck_assert_int_eq(queue_table_drop_topic(table, &topics[0]), 0);
    ck_assert_uint_eq(stats_now().open_files, 0);
}

START_TEST(reader_that_met_a_drop_gets_entries_of_neither_topic)
{
    options.descriptors = 4;
    ops = file_ops_system;
    ops.open = replacing_open;
    ops.pread = replacing_pread;
    file_ops_set(&ops);
    expect_nothing_of_either(&before_open);
    expect_nothing_of_either(&after_open);
    expect_nothing_of_either(&at_read);
}
END_TEST

/* --- threads --- */

enum { SHARED_QUEUES = 3, ROUNDS = 60, BURST = 211 };

static _Atomic uint64_t confirmed;
static _Atomic bool stop;
static _Atomic int wrong;
static uint32_t shared[SHARED_QUEUES];

/* The last queue belongs to a topic that is dropped again and again. */
static void *appender(void *arg)
{
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        for (int q = 0; q < SHARED_QUEUES; q++) {
            for (int i = 0; i < BURST; i++) {
                if (try_append(shared[q]) != 0)
                    atomic_store(&wrong, 1);
            }
        }
        pthread_mutex_lock(&append_lock);
        atomic_store(&confirmed, log_end);
        pthread_mutex_unlock(&append_lock);
    }
    atomic_store(&stop, true);
    return NULL;
}

static void *writer(void *arg)
{
    uint64_t complete = 0;
    int64_t now = 0;

    (void)arg;
    while (!atomic_load(&stop)) {
        uint64_t flushed = atomic_load(&confirmed);
        if (queue_table_write_back(table, flushed, now, now % 3 == 0, &complete) != 0)
            atomic_store(&wrong, 2);
        now++;
    }
    return NULL;
}

static void *dropper(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        if (queue_table_drop_topic(table, &topics[1]) != 0)
            atomic_store(&wrong, 3);
    }
    return NULL;
}

static void *reader(void *arg)
{
    bool may_block = arg != NULL;
    struct queue_entry got[50];
    uint64_t random = 7;

    while (!atomic_load(&stop)) {
        uint64_t seen = atomic_load(&confirmed);
        for (int q = 0; q < SHARED_QUEUES; q++) {
            struct queue_range range = queue_table_range(table, shared[q], seen);
            int64_t from;
            int n;

            random = random * 6364136223846793005u + 1442695040888963407u;
            from = range.min + (range.max > range.min
                                    ? (int64_t)((random >> 20) % (uint64_t)(range.max - range.min))
                                    : 0);
            n = queue_table_read(table, shared[q], from, got, 50, seen, may_block);
            if (n < 0 && (may_block || n != QUEUE_WOULD_BLOCK))
                atomic_store(&wrong, 4);
            for (int i = 0; i < n; i++) {
                struct queue_entry e = entry_at((uint64_t)got[i].log_offset, from + i);
                if (got[i].size != RECORD || got[i].tags_code != e.tags_code ||
                    (uint64_t)got[i].log_offset + RECORD > seen)
                    atomic_store(&wrong, 5);
            }
        }
    }
    return NULL;
}

START_TEST(readers_writer_and_dropper_do_not_disturb_one_another)
{
    pthread_t threads[6];

    options.descriptors = 3; /* so that they also wait for one another's files */
    reopen_table();
    shared[0] = queue_of(0, 0);
    shared[1] = queue_of(0, 7);
    shared[2] = queue_of(1, 0);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, appender, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, writer, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[2], NULL, dropper, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[3], NULL, reader, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[4], NULL, reader, &stop), 0);
    ck_assert_int_eq(pthread_create(&threads[5], NULL, reader, &stop), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&wrong), 0);
    ck_assert_int_eq(next_of(shared[0]), ROUNDS * BURST);

    write_all();
    reopen_table();
    load(0, log_end);
    ck_assert_int_eq(next_of(queue_of(0, 0)), ROUNDS * BURST);
    ck_assert_int_eq(next_of(queue_of(0, 7)), ROUNDS * BURST);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_table");
    TCase *c = tcase_create("queue_table");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, state_of_a_queue_takes_less_than_100_bytes);
    tcase_add_test(c, queue_is_absent_until_it_is_made);
    tcase_add_test(c, queue_id_out_of_range_is_no_queue);
    tcase_add_test(c, topic_grows_to_its_last_id_and_indexes_stay);
    tcase_add_test(c, waiting_bits_are_kept_for_each_loop);
    tcase_add_test(c, hundred_thousand_queues_cost_a_state_and_a_chunk_each);
    tcase_add_test(c, entries_read_back_as_they_were_appended);
    tcase_add_test(c, nothing_is_read_outside_of_the_range);
    tcase_add_test(c, any_entry_is_found_while_the_front_of_the_queue_moves_to_files);
    tcase_add_test(c, consumer_sees_no_record_that_ends_above_confirmed);
    tcase_add_test(c, veil_holds_for_entries_that_are_in_files_already);
    tcase_add_test(c, empty_queue_has_an_empty_range);
    tcase_add_test(c, full_budget_refuses_and_changes_nothing_until_entries_are_in_files);
    tcase_add_test(c, table_is_pressed_above_three_quarters_of_the_budget);
    tcase_add_test(c, memory_of_a_burst_goes_back_to_the_system);
    tcase_add_test(c, reserved_entries_fit);
    tcase_add_test(c, dropped_topic_begins_again_at_0);
    tcase_add_test(c, topic_without_a_folder_is_dropped_too);
    tcase_add_test(c, reader_that_met_a_drop_gets_entries_of_neither_topic);
    tcase_add_test(c, readers_writer_and_dropper_do_not_disturb_one_another);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
