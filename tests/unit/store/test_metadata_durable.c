/* test_metadata_durable.c - when a change is durable: on a disk that fails, across generations, and
 * with the thread that writes. */
#include "metadata_fixture.h"

enum { DEADLINE_S = 60 }; /* for what must happen, however slow the machine is */

/* --- durable --- */

START_TEST(a_change_is_durable_once_it_is_synced)
{
    uint64_t topic, group;

    open_meta();
    topic = put_topic("T", 1);
    group = put_group("G", 1);
    ck_assert_uint_lt(metadata_durable(m), topic);
    turns();
    ck_assert_uint_ge(metadata_durable(m), group);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    put_topic("Lost", 1);
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    ck_assert_int_eq(retries_of(m, "G"), 1);
    ck_assert_int_eq(queues_of(m, "Lost"), -1);
    close_meta();
}
END_TEST

START_TEST(sequences_go_on_after_a_start)
{
    uint64_t before;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    before = metadata_last(m);
    kill_and_reopen();
    ck_assert_uint_eq(metadata_last(m), before);
    ck_assert_uint_eq(metadata_durable(m), before);
    ck_assert_uint_gt(put_topic("U", 1), before);
    close_meta();
}
END_TEST

START_TEST(offsets_are_collected_within_a_second_the_last_value_once)
{
    uint64_t syncs;
    int64_t bytes;

    open_meta();
    turns();
    syncs = atomic_load(&m->syncs);
    bytes = m->journal.bytes;
    for (int i = 0; i < 10000; i++) {
        commit("T", "G", i % 4, i);
        ck_assert_int_eq(metadata_delay_set(m, 1, i), 0);
    }
    ck_assert_int_le(metadata_turn(m, now), now + 1000);
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs);
    now += METADATA_OFFSETS_MS;
    turns();
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs + 1);
    ck_assert_int_lt(m->journal.bytes - bytes, 150);
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 3), 9999);
    ck_assert_int_eq(metadata_delay(m, 1), 9999);
    close_meta();
}
END_TEST

START_TEST(nothing_is_due_when_nothing_changed)
{
    uint64_t syncs;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle_and_export();
    ck_assert_int_eq(metadata_turn(m, now), INT64_MAX);
    syncs = atomic_load(&m->syncs);
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    now += 100000;
    ck_assert_int_eq(metadata_turn(m, now), INT64_MAX);
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs);
    close_meta();
}
END_TEST

/* --- a disk that fails --- */

static int failing_errno; /* of every write or sync below tern/meta, 0: none */
static int failed_calls;
static off_t last_write_at;

static ssize_t failing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    last_write_at = at;
    if (failing_errno) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

/* A disk that fills up in the middle of a write. */
static ssize_t short_then_failing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (failing_errno && n > 10)
        return pwrite(fd, from, n / 2, at);
    return failing_pwrite(fd, from, n, at);
}

static int failing_sync(int fd)
{
    (void)fd;
    if (failing_errno) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return 0;
}

static void full_disk(ssize_t (*write)(int, const void *, size_t, off_t))
{
    uint64_t sequence, durable;
    int64_t due;

    ops.pwrite = write;
    open_meta();
    put_topic("Before", 1);
    turns();
    durable = metadata_durable(m);
    log_begin();
    failing_errno = ENOSPC;
    sequence = put_topic("T", 2);
    commit("T", "G", 0, 5);
    due = metadata_turn(m, now);
    ck_assert_int_eq(due, now + METADATA_RETRY_MS);
    /* Meanwhile everything else goes on. */
    for (int i = 0; i < 20; i++) {
        now = due;
        due = metadata_turn(m, now);
        ck_assert_int_eq(due, now + METADATA_RETRY_MS);
        commit("T", "G", 0, 100 + i);
        ck_assert_int_eq(queues_of(m, "T"), 2);
        ck_assert_uint_eq(metadata_durable(m), durable);
    }
    ck_assert_int_eq(log_lines("No space left on device"), 1);
    ck_assert(log_has(in_dir(JOURNAL_1)));
    failing_errno = 0;
    now = due;
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    ck_assert(log_has("is written again"));
    settle();
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "Before"), 1);
    ck_assert_int_eq(queues_of(m, "T"), 2);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 119);
    ck_assert(!m->journal.damaged);
    close_meta();
}

START_TEST(a_full_disk_delays_what_is_durable_and_nothing_else)
{
    full_disk(failing_pwrite);
}
END_TEST

START_TEST(a_write_that_stops_halfway_is_written_again)
{
    full_disk(short_then_failing_pwrite);
}
END_TEST

/* After a failed sync the kernel may call the pages clean: only writing them again helps. */
START_TEST(a_failed_sync_writes_the_same_bytes_again)
{
    off_t at;

    ops.fdatasync = failing_sync;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    turns();
    put_topic("U", 1);
    failing_errno = EIO;
    ck_assert_int_eq(metadata_turn(m, now), now + METADATA_RETRY_MS);
    ck_assert_int_eq(failed_calls, 1);
    at = m->journal.end;
    ck_assert_uint_lt(metadata_durable(m), metadata_last(m));
    failing_errno = 0;
    ops.pwrite = failing_pwrite;
    last_write_at = -1;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_int_eq(last_write_at, at);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    close_meta();
}
END_TEST

START_TEST(a_crash_while_the_disk_is_full_loses_nothing_durable)
{
    ops.pwrite = short_then_failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    turns();
    failing_errno = ENOSPC;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "Lost%d", i);
        put_topic(name, 1);
    }
    turns();
    failing_errno = 0;
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    close_meta();
}
END_TEST

START_TEST(close_says_what_kept_something_from_the_disk)
{
    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    failing_errno = ENOSPC;
    ck_assert_int_eq(metadata_close(m), -ENOSPC);
    failing_errno = 0;
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), -1);
    close_meta();
}
END_TEST

START_TEST(too_many_waiting_changes_are_refused_but_offsets_never)
{
    struct topic_config config = config_of(1);
    struct group_config group = group_config_default();
    char name[32];
    int taken = 0, r = 0;

    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    atomic_store(&m->started, true);
    failing_errno = ENOSPC;
    put_topic("First", 1);
    turns(); /* one batch is on its way and fails */
    while (r == 0 && taken <= METADATA_PENDING_MAX) {
        snprintf(name, sizeof(name), "N%d", taken);
        r = metadata_topic_put(m, bytes_str(name), &config, 0, NULL, NULL, NULL);
        taken += r == 0;
    }
    ck_assert_int_eq(r, -EAGAIN);
    ck_assert_int_eq(taken, METADATA_PENDING_MAX);
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &group, NULL, NULL), -EAGAIN);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("First"), 0, true, NULL), -EAGAIN);
    ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), -EAGAIN);
    ck_assert_int_eq(queues_of(m, name), -1);
    put_topic("N0", 7);    /* waits already */
    put_topic("First", 1); /* changes nothing */
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "G%d", i);
        commit("T", name, 0, 1);
    }
    failing_errno = 0;
    now += METADATA_RETRY_MS;
    settle();
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &group, NULL, NULL), 0);
    atomic_store(&m->started, false);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "N0"), 7);
    ck_assert_int_eq(queues_of(m, "N16383"), 1);
    ck_assert_int_eq(retries_of(m, "G"), 16);
    ck_assert_int_eq(offset_of(m, "T", "G999", 0), 1);
    close_meta();
}
END_TEST

START_TEST(drops_that_wait_behind_a_full_batch_are_not_forgotten)
{
    char name[64];
    uint64_t sequence;

    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    failing_errno = ENOSPC;
    for (int i = 0; i < 4000; i++) { /* more than one batch */
        snprintf(name, sizeof(name), "%060d", i);
        put_topic(name, 1);
    }
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, &sequence), 0);
    ck_assert_int_eq(metadata_turn(m, now), now + METADATA_RETRY_MS);
    failing_errno = 0;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, name), 1);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    close_meta();
}
END_TEST

/* --- generations --- */

START_TEST(a_journal_that_grew_gives_way_to_a_snapshot)
{
    struct metadata_stats stats;
    char name[32];

    open_meta();
    put_topic("Gone", 1);
    turns();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Gone"), 4242, false, NULL), 0);
    put_group("Gone", 1);
    turns();
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("Gone"), false, NULL), 0);
    ck_assert_int_eq(metadata_delay_set(m, 7, 70), 0);
    for (int i = 0; m->journal.generation == 1; i++) {
        ck_assert_int_lt(i, 100000);
        snprintf(name, sizeof(name), "N%d", i % 10);
        put_topic(name, i % 1000);
        put_group(name, i);
        commit("T", name, i % 8, i);
        settle();
    }
    metadata_stats(m, &stats);
    ck_assert_uint_eq(stats.generation, 2);
    ck_assert_uint_lt(stats.snapshot_bytes, 10000);
    ck_assert_uint_lt(stats.journal_bytes, 10000);
    ck_assert(!exists(in_dir(JOURNAL_1)));
    ck_assert(exists(in_dir("tern/meta/snapshot-00000000000000000002")));
    ck_assert(exists(in_dir("tern/meta/journal-00000000000000000002")));
    put_topic("After", 3);
    turns();
    struct metadata *before = m;
    m = open_copy();
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "N%d", i);
        ck_assert_int_eq(queues_of(m, name), queues_of(before, name));
        ck_assert_int_eq(retries_of(m, name), retries_of(before, name));
        for (int q = 0; q < 8; q++)
            ck_assert_int_eq(offset_of(m, "T", name, q), offset_of(before, "T", name, q));
    }
    ck_assert_int_eq(queues_of(m, "After"), 3);
    ck_assert_int_eq(queues_of(m, "Gone"), -1);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Gone")), 4242);
    ck_assert_int_eq(retries_of(m, "Gone"), -1);
    ck_assert_int_eq(metadata_delay(m, 7), 70);
    ck_assert_int_eq(metadata_topics_version(m).counter, metadata_topics_version(before).counter);
    ck_assert_int_eq(metadata_groups_version(m).counter, metadata_groups_version(before).counter);
    for (uint32_t i = 0; i < metadata_topic_count(m); i++) /* the same order of topics */
        ck_assert_str_eq(metadata_topic_at(m, i)->name, metadata_topic_at(before, i)->name);
    metadata_tables_free(before);
    close_meta();
}
END_TEST

/* The snapshot is written in pieces; whatever changes between them is in the new journal. */
START_TEST(changes_while_a_snapshot_is_written_are_kept)
{
    enum { MANY = 6000 };
    char name[64];
    int pieces = 0;

    open_meta();
    m->journal.min_bytes = INT64_MAX;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%040d", i);
        put_topic(name, 1);
        put_group(name, 1);
        commit(name, name, 0, 1);
    }
    settle();
    m->journal.min_bytes = 0;
    put_topic("Trigger", 1);
    while (metadata_turn(m, now) <= now) {
        ck_assert_uint_eq(m->journal.generation, 2);
        pieces++;
        m->journal.min_bytes = INT64_MAX;
        /* One of each kind before and behind where the snapshot is. */
        for (int i = pieces; i < MANY; i += MANY / 7) {
            snprintf(name, sizeof(name), "%040d", i);
            put_topic(name, 100 + pieces);
            ck_assert_int_eq(metadata_group_delete(m, bytes_str(name), false, NULL), 0);
            commit(name, name, 0, 100 + pieces);
        }
        snprintf(name, sizeof(name), "New%d", pieces);
        put_group(name, pieces); /* takes a place that became free */
        now += METADATA_OFFSETS_MS;
    }
    ck_assert_int_gt(pieces, 3);
    ck_assert_uint_eq(m->journal.snapshot_generation, 2);
    settle();
    kill_and_reopen();
    for (int p = 1; p <= pieces; p++) {
        for (int i = p; i < MANY; i += MANY / 7) {
            snprintf(name, sizeof(name), "%040d", i);
            ck_assert_int_eq(queues_of(m, name), 100 + p);
            ck_assert_int_eq(retries_of(m, name), -1);
            ck_assert_int_eq(offset_of(m, name, name, 0), 100 + p);
        }
        snprintf(name, sizeof(name), "New%d", p);
        ck_assert_int_eq(retries_of(m, name), p);
    }
    for (int i = pieces + 1; i < MANY / 7; i++) {
        snprintf(name, sizeof(name), "%040d", i);
        ck_assert_int_eq(queues_of(m, name), 1);
        ck_assert_int_eq(retries_of(m, name), 1);
        ck_assert_int_eq(offset_of(m, name, name, 0), 1);
    }
    close_meta();
}
END_TEST

static int refuse_snapshots(const char *path, int flags, mode_t mode)
{
    if (failing_errno && strstr(path, "snapshot-")) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return open(path, flags, mode);
}

START_TEST(a_snapshot_that_fails_is_tried_again_and_costs_nothing)
{
    ops.open = refuse_snapshots;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    failing_errno = ENOSPC;
    m->journal.min_bytes = 0;
    put_topic("T", 1);
    turns();
    ck_assert_int_eq(failed_calls, 1);
    ck_assert_uint_eq(m->journal.generation, 2); /* the cut was made, once */
    put_topic("U", 2);
    turns();
    ck_assert_int_eq(failed_calls, 1);
    now += METADATA_SNAPSHOT_RETRY_MS;
    turns();
    ck_assert_int_eq(failed_calls, 2);
    ck_assert_uint_eq(m->journal.generation, 2);
    ck_assert(exists(in_dir(JOURNAL_1)));
    failing_errno = 0;
    struct metadata *copy = open_copy(); /* as a crash would find it */
    failing_errno = ENOSPC;
    ck_assert_int_eq(queues_of(copy, "T"), 1);
    ck_assert_int_eq(queues_of(copy, "U"), 2);
    metadata_tables_free(copy);
    failing_errno = 0;
    now += METADATA_SNAPSHOT_RETRY_MS;
    turns();
    ck_assert_uint_eq(m->journal.snapshot_generation, m->journal.generation);
    ck_assert(!exists(in_dir(JOURNAL_1)));
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    ck_assert_int_eq(queues_of(m, "U"), 2);
    close_meta();
}
END_TEST

/* --- the thread --- */

static pthread_mutex_t durable_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t durable_moved = PTHREAD_COND_INITIALIZER;

static void on_durable(void *ctx)
{
    ck_assert_ptr_eq(ctx, &durable_lock);
    pthread_mutex_lock(&durable_lock);
    pthread_cond_broadcast(&durable_moved);
    pthread_mutex_unlock(&durable_lock);
}

static void wait_until_durable(uint64_t sequence)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&durable_lock);
    while (metadata_durable(m) < sequence)
        ck_assert_int_eq(pthread_cond_timedwait(&durable_moved, &durable_lock, &deadline), 0);
    pthread_mutex_unlock(&durable_lock);
}

static void open_with_thread(int64_t export_interval_ms, int64_t generation_bytes)
{
    struct metadata_options options = {.root_dir = dir,
                                       .on_durable = on_durable,
                                       .ctx = &durable_lock,
                                       .export_interval_ms = export_interval_ms};
    struct err err = {0};

    ck_assert_msg(metadata_open(&m, &options, &err) == 0, "%s", err.text);
    m->journal.min_bytes = generation_bytes;
    ck_assert_msg(metadata_start(m, &err) == 0, "%s", err.text);
}

START_TEST(the_thread_makes_changes_durable_and_says_so)
{
    uint64_t before;

    open_with_thread(EXPORT_MS, METADATA_GENERATION_MIN_BYTES);
    for (int i = 1; i < 50; i++)
        wait_until_durable(put_topic("T", i));
    wait_until_durable(put_group("G", 4));
    before = metadata_last(m);
    commit("T", "G", 0, 77);
    wait_until_durable(before + 1); /* offsets get a sequence when they are collected */
    struct metadata *copy = open_copy();
    ck_assert_int_eq(queues_of(copy, "T"), 49);
    ck_assert_int_eq(retries_of(copy, "G"), 4);
    ck_assert_int_eq(offset_of(copy, "T", "G", 0), 77);
    metadata_tables_free(copy);
    commit("T", "G", 0, 78);
    reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 78);
    close_meta();
}
END_TEST

START_TEST(closing_at_once_after_starting_is_fine)
{
    for (int i = 0; i < 20; i++) {
        open_with_thread(0, METADATA_GENERATION_MIN_BYTES);
        put_topic("T", i);
        close_meta();
    }
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 19);
    close_meta();
    ck_assert_int_eq(metadata_close(NULL), 0);
}
END_TEST

enum { WORKERS = 4, ROUNDS = 400 };

static void *work(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    char own[32];

    snprintf(own, sizeof(own), "W%d", me);
    for (int i = 0; i < ROUNDS; i++) {
        struct seen_offsets seen = {{0}};
        struct buf body = {0};
        struct topic_config config = config_of(i);
        struct data_version version;
        uint64_t sequence;
        int sum = 0;

        put_topic("Shared", i);
        put_topic(own, i);
        put_group(own, i);
        commit("Shared", own, i % 8, i);
        commit(own, "Shared", i % 300, i);
        ck_assert_int_eq(metadata_delay_set(m, me + 1, i), 0);
        ck_assert_int_eq(queues_of(m, own), i);
        ck_assert_int_eq(retries_of(m, own), i);
        ck_assert_int_eq(offset_of(m, "Shared", own, i % 8), i);
        ck_assert_ptr_nonnull(metadata_topic_at(m, 0));
        switch (i % 10) {
        case 3:
            ck_assert_int_eq(metadata_topic_delete(m, bytes_str(own), (uint64_t)i, true, NULL), 0);
            break;
        case 5:
            ck_assert_int_eq(metadata_group_delete(m, bytes_str(own), true, &sequence), 0);
            wait_until_durable(sequence);
            break;
        case 7:
            metadata_each_topic(m, count_topics, &sum, &version);
            metadata_each_group(m, count_groups, &sum, &version);
            metadata_each_offset(m, bytes_str(own), (struct bytes){0}, see_offsets, &seen);
            break;
        case 9:
            metadata_topics_json(m, &body);
            metadata_groups_json(m, &body);
            metadata_offsets_json(m, &body);
            metadata_delays_json(m, &body);
            ck_assert(!body.failed && body.len > 0);
            buf_destroy(&body);
            ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), 0);
            break;
        default:
            ck_assert_int_eq(
                metadata_topic_put(m, bytes_str(own), &config, 0, &sequence, NULL, NULL), 0);
            break;
        }
    }
    return NULL;
}

START_TEST(several_threads_at_once_lose_nothing)
{
    pthread_t threads[WORKERS];
    char own[32];

    open_with_thread(0, 20000);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    close_meta();
    open_meta();
    ck_assert_uint_gt(m->journal.generation, 1);
    ck_assert_int_eq(queues_of(m, "Shared"), ROUNDS - 1);
    for (int i = 0; i < WORKERS; i++) {
        snprintf(own, sizeof(own), "W%d", i);
        ck_assert_int_eq(queues_of(m, own), ROUNDS - 1);
        ck_assert_int_eq(retries_of(m, own), ROUNDS - 1);
        ck_assert_int_eq(offset_of(m, "Shared", own, (ROUNDS - 1) % 8), ROUNDS - 1);
        ck_assert_int_eq(metadata_delay(m, i + 1), ROUNDS - 1);
    }
    close_meta();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata_durable");
    TCase *c = tcase_create("durable");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, a_change_is_durable_once_it_is_synced);
    tcase_add_test(c, sequences_go_on_after_a_start);
    tcase_add_test(c, offsets_are_collected_within_a_second_the_last_value_once);
    tcase_add_test(c, nothing_is_due_when_nothing_changed);
    tcase_add_test(c, a_full_disk_delays_what_is_durable_and_nothing_else);
    tcase_add_test(c, a_write_that_stops_halfway_is_written_again);
    tcase_add_test(c, a_failed_sync_writes_the_same_bytes_again);
    tcase_add_test(c, a_crash_while_the_disk_is_full_loses_nothing_durable);
    tcase_add_test(c, close_says_what_kept_something_from_the_disk);
    tcase_add_test(c, too_many_waiting_changes_are_refused_but_offsets_never);
    tcase_add_test(c, drops_that_wait_behind_a_full_batch_are_not_forgotten);
    tcase_add_test(c, a_journal_that_grew_gives_way_to_a_snapshot);
    tcase_add_test(c, changes_while_a_snapshot_is_written_are_kept);
    tcase_add_test(c, a_snapshot_that_fails_is_tried_again_and_costs_nothing);
    suite_add_tcase(s, c);
    c = tcase_create("thread");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, the_thread_makes_changes_durable_and_says_so);
    tcase_add_test(c, closing_at_once_after_starting_is_fine);
    tcase_add_test(c, several_threads_at_once_lose_nothing);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
