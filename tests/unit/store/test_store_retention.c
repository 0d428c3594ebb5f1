/* test_store_retention.c - a store that loses the front of its log: what goes, what readers see,
 * what a crash at any step leaves. The clock and the disk's space are the test's; ages are set on
 * the files. No thread of its own but where the test says so. */
#include <signal.h>
#include <sys/wait.h>

#include "broker/store/store_internal.h"
#include "store_fixture.h"

#define HOUR_MS INT64_C(3600000)
enum { SEGMENT = 65536, PER_SEGMENT = 260 };
#define NOW_MS INT64_C(1700000000000) /* 22:13 UTC */

static _Atomic int used_percent;
static _Atomic uint64_t usable_bytes;

static int test_space(const char *path, struct file_space *out)
{
    (void)path;
    *out = (struct file_space){.total = 100 << 20,
                               .used = (uint64_t)atomic_load(&used_percent) << 20,
                               .usable = (uint64_t)(100 - atomic_load(&used_percent)) << 20};
    if (atomic_load(&usable_bytes))
        out->usable = atomic_load(&usable_bytes);
    return 0;
}

/* --- a disk that does what the test wants, for the thread that says so --- */

static _Thread_local enum { PLAIN, FREES, KILLS, FAILS } mood;
static int unlinked;   /* segments, FREES */
static int steps_left; /* KILLS: system calls that change something, before the kill */
static int failing;    /* FAILS: which call, from 0 */

static bool denied(void)
{
    if (mood == KILLS && steps_left-- == 0)
        raise(SIGKILL);
    if (mood != FAILS || failing-- != 0)
        return false;
    errno = EIO;
    return true;
}

/* Nothing here loses power, so that syncs may take no time. */
static int test_sync(int fd)
{
    (void)fd;
    return 0;
}

static int test_fsync(int fd)
{
    (void)fd;
    if (mood == KILLS)
        denied();
    return 0;
}

static int test_ftruncate(int fd, off_t n)
{
    return denied() ? -1 : file_ops_system.ftruncate(fd, n);
}

/* FREES: each segment is two percent of the disk. */
static int test_unlink(const char *path)
{
    int r = denied() ? -1 : file_ops_system.unlink(path);

    if (mood == FREES && r == 0 && strstr(path, "/commitlog/")) {
        unlinked++;
        atomic_fetch_sub(&used_percent, 2);
    }
    return r;
}

static void begin(void)
{
    static struct file_ops ops;

    fixture_begin();
    ops = file_ops_system;
    ops.fdatasync = ops.syncfs = test_sync;
    ops.fsync = test_fsync;
    ops.ftruncate = test_ftruncate;
    ops.unlink = test_unlink;
    file_ops_set(&ops);
    ck_assert_int_eq(setenv("TZ", "UTC0", 1), 0);
    used_percent = 50;
    options.space = test_space;
    options.retention = (struct store_retention){
        .rules = {.reserved_ms = 72 * HOUR_MS,
                  .hours = 1 << 22,
                  .expired_percent = 75,
                  .forced_percent = 85,
                  .refuse_percent = 90,
                  .forced = true},
        .segments_max = 10,
    };
}

static void end(void)
{
    if (store)
        close_store();
    fixture_end();
}

static bool complete(void)
{
    if (atomic_load(&store->flusher.complete_to) == store_end(store))
        return true;
    atomic_store(&store->flusher.checkpoint_asked, true);
    flusher_call(store);
    return false;
}

/* A store with more than `segments` segments, all of it in the queue files too. */
static int64_t fill(int segments)
{
    int64_t count = 0;

    open_store();
    while (store_end(store) <= (uint64_t)segments * SEGMENT + 1000) {
        append_many(count, 16);
        count += 16;
    }
    ck_assert(wait_until(complete));
    return count;
}

/* The segment at that offset was last written to so long ago. */
static void age(uint64_t base, int64_t hours)
{
    time_t at = (time_t)((NOW_MS - hours * HOUR_MS) / 1000);
    struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};

    ck_assert_int_eq(utimensat(AT_FDCWD, segment_path(base), times, 0), 0);
}

static void round_at(int64_t now_ms)
{
    retention_round(store, now_ms);
}

static void begins_at(uint64_t min)
{
    ck_assert_uint_eq(store_min(store), min);
    if (min > 0)
        ck_assert(!exists(segment_path(min - SEGMENT)));
    ck_assert(exists(segment_path(min)));
}

/* Each queue begins with its first message in the log, and everything from there on is served. */
static void served_from_min(int64_t count)
{
    for (int32_t q = 0; q < 4; q++) {
        uint32_t queue = store_queue(store, topic, q);
        struct queue_range range = store_range_settled(store, queue);
        struct queue_entry e;
        int64_t next = range.min * 4 + q;

        ck_assert_int_eq(range.max, (count - q + 3) / 4);
        ck_assert_int_eq(store_entry(store, queue, range.min, &e), 0);
        ck_assert_uint_ge((uint64_t)e.log_offset, store_min(store));
        ck_assert_uint_lt((uint64_t)e.log_offset, store_min(store) + 4 * 300);
        read_queue(topic, q, check_number, &next);
        ck_assert_int_eq(next, range.max * 4 + q);
    }
}

/* --- what goes --- */

START_TEST(expired_segments_go_oldest_first_and_the_others_stay)
{
    int64_t count = fill(4);

    age(0, 100);
    age(SEGMENT, 73);
    age(2 * SEGMENT, 71);
    age(3 * SEGMENT, 100); /* behind one that stays */
    round_at(NOW_MS - HOUR_MS);
    begins_at(0); /* not its hour */
    round_at(NOW_MS);
    begins_at(2 * SEGMENT);
    ck_assert(exists(segment_path(3 * SEGMENT)));
    served_from_min(count);
}
END_TEST

START_TEST(a_request_lets_expired_segments_go_at_any_hour)
{
    fill(3);
    age(0, 100);
    store_clean_log(store);
    round_at(NOW_MS - HOUR_MS);
    begins_at(SEGMENT);
    age(SEGMENT, 100); /* for twenty rounds */
    for (int i = 1; i < 20; i++)
        round_at(NOW_MS - 100 * HOUR_MS);
    begins_at(SEGMENT);
    round_at(NOW_MS + HOUR_MS);
    begins_at(SEGMENT);
}
END_TEST

START_TEST(the_segment_with_the_end_stays)
{
    int64_t count = fill(3);

    for (uint64_t base = 0; base < 4 * SEGMENT; base += SEGMENT)
        age(base, 1000);
    used_percent = 100;
    round_at(NOW_MS);
    round_at(NOW_MS);
    begins_at(3 * SEGMENT);
    served_from_min(count);
}
END_TEST

START_TEST(one_round_deletes_no_more_than_its_bound)
{
    options.retention.segments_max = 2;
    fill(4);
    for (uint64_t base = 0; base < 4 * SEGMENT; base += SEGMENT)
        age(base, 1000);
    round_at(NOW_MS);
    begins_at(2 * SEGMENT);
    round_at(NOW_MS);
    begins_at(4 * SEGMENT);
}
END_TEST

START_TEST(forced_deletion_ends_when_there_is_room)
{
    fill(5);
    mood = FREES;
    used_percent = 88;
    round_at(NOW_MS);
    ck_assert_int_eq(unlinked, 2); /* 88, 86, 84 */
    begins_at(2 * SEGMENT);
}
END_TEST

START_TEST(forced_deletion_can_be_turned_off)
{
    options.retention.rules.forced = false;
    fill(3);
    used_percent = 95;
    round_at(NOW_MS);
    begins_at(0);
}
END_TEST

START_TEST(log_keeps_to_its_bound_in_bytes)
{
    int64_t count;

    options.retention.rules.log_bytes_max = 3 * SEGMENT;
    count = fill(6);
    round_at(NOW_MS);
    ck_assert_uint_le(commit_log_space(store->log), 3 * SEGMENT);
    ck_assert_uint_ge(store_min(store), 4 * SEGMENT);
    served_from_min(count);
}
END_TEST

START_TEST(segments_go_while_less_is_free_than_should_be)
{
    options.retention.rules.free_bytes_min = 10 << 20;
    options.retention.segments_max = 1;
    fill(3);
    usable_bytes = 10 << 20;
    round_at(NOW_MS);
    begins_at(0);
    usable_bytes = (10 << 20) - 1;
    round_at(NOW_MS);
    begins_at(SEGMENT);
}
END_TEST

static bool flushed(void)
{
    return store_flushed(store) == store_end(store);
}

static bool first_segment_complete(void)
{
    return atomic_load(&store->flusher.complete_to) >= SEGMENT;
}

/* Queue entries that are only in memory would be lost with a crash, and with them where their queue
 * goes on. */
START_TEST(nothing_goes_before_its_queue_entries_are_on_the_disk)
{
    int64_t count = 0;

    open_store();
    while (store_end(store) <= 3 * SEGMENT) {
        append_many(count, 16);
        count += 16;
    }
    ck_assert(wait_until(flushed)); /* that alone does not do */
    ck_assert_uint_lt(atomic_load(&store->flusher.complete_to), SEGMENT);
    age(0, 100);
    round_at(NOW_MS);
    begins_at(0);
    ck_assert(wait_until(first_segment_complete)); /* the round has asked for it */
    age(0, 100);
    round_at(NOW_MS);
    begins_at(SEGMENT);
    served_from_min(count);
}
END_TEST

START_TEST(nothing_goes_that_a_follower_still_needs)
{
    int64_t count = fill(4);

    for (uint64_t base = 0; base < 4 * SEGMENT; base += SEGMENT)
        age(base, 100);
    store_limit_confirmed(store, SEGMENT - 1);
    round_at(NOW_MS);
    begins_at(0);
    store_limit_confirmed(store, UINT64_MAX);
    store_keep_from(store, STORE_READER_MEMBERS, 2 * SEGMENT);
    store_keep_from(store, STORE_READER_SLAVES, UINT64_MAX); /* one does not speak for the other */
    round_at(NOW_MS);
    begins_at(2 * SEGMENT);
    store_keep_from(store, STORE_READER_MEMBERS, UINT64_MAX);
    round_at(NOW_MS);
    begins_at(4 * SEGMENT);
    served_from_min(count);
}
END_TEST

/* --- refusing writes --- */

START_TEST(writes_are_refused_above_the_warning_ratio_and_reads_go_on)
{
    char why[STORE_FULL_TEXT];
    struct store_position p;
    int64_t count = fill(1);

    used_percent = 90;
    round_at(NOW_MS);
    ck_assert(!store_disk_full(store, why));
    append_many(count++, 1);
    options.retention.rules.forced = false;
    store_set_retention(store, &options.retention);
    used_percent = 91;
    round_at(NOW_MS);
    ck_assert_int_eq(append_sized(0, count, 100, &p), STORE_NO_SPACE);
    ck_assert(store_disk_full(store, why));
    ck_assert_ptr_nonnull(strstr(why, "91%"));
    ck_assert_ptr_nonnull(strstr(why, "diskSpaceWarningLevelRatio=90"));
    ck_assert_ptr_nonnull(strstr(why, dir));
    served_from_min(count);
    used_percent = 90;
    round_at(NOW_MS);
    ck_assert(!store_disk_full(store, NULL));
    append_many(count, 1);
}
END_TEST

START_TEST(writes_are_refused_from_the_start_on_a_full_disk)
{
    struct store_position p;

    options.retention.round_ms = 3600000;
    used_percent = 91;
    open_store();
    ck_assert_int_eq(append_sized(0, 0, 100, &p), STORE_NO_SPACE);
}
END_TEST

/* --- what readers see --- */

static struct store_got pull_at(int32_t queue_id, int64_t offset, bool may_block)
{
    static struct store_found found;
    struct store_get get = {.queue = store_queue(store, topic, queue_id),
                            .offset = offset,
                            .max_messages = 32,
                            .may_block = may_block};

    store_find(store, &get, &found);
    return found.got;
}

START_TEST(pull_of_deleted_messages_is_sent_to_the_first_that_is_there)
{
    struct store_got got;
    struct queue_range range;

    /* More than one look through the queue takes in. */
    open_store();
    for (int64_t i = 0; store_end(store) <= 5 * SEGMENT; i++) {
        append((int32_t)(i % 8 == 0 ? 2 : 1), i);
        store_write(store);
    }
    ck_assert(wait_until(complete));
    for (uint64_t base = 0; base < 4 * SEGMENT; base += SEGMENT)
        age(base, 100);
    round_at(NOW_MS);
    begins_at(4 * SEGMENT);
    /* No sweep yet: an event loop cannot look it up, a reader thread can. */
    ck_assert_int_eq(pull_at(1, 0, false).status, STORE_GET_WOULD_BLOCK);
    got = pull_at(1, 0, true);
    ck_assert_int_eq(got.status, STORE_GET_REMOVED);
    range = store_range(store, store_queue(store, topic, 1));
    ck_assert_int_gt(range.min, 800);
    ck_assert_int_eq(got.next_offset, range.min);
    ck_assert_int_eq(pull_at(1, got.next_offset, true).status, STORE_GET_FOUND);
    ck_assert_int_eq(pull_at(1, 0, false).status, STORE_GET_TOO_SMALL);
    /* The others after the sweep. */
    retention_sweep(store);
    got = pull_at(2, 5, false);
    range = store_range(store, store_queue(store, topic, 2));
    ck_assert_int_gt(range.min, 100);
    ck_assert_int_eq(got.status, STORE_GET_TOO_SMALL);
    ck_assert_int_eq(got.next_offset, range.min);
}
END_TEST

START_TEST(sweep_removes_queue_files_of_deleted_messages)
{
    int64_t count = fill(4);
    struct store_stats stats;

    for (int i = 0; i < 3; i++)
        age((uint64_t)i * SEGMENT, 100);
    round_at(NOW_MS);
    ck_assert(exists(in_dir("consumequeue/Orders/0/00000000000000000000")));
    retention_sweep(store);
    ck_assert(!exists(in_dir("consumequeue/Orders/0/00000000000000000000")));
    store_stats(store, &stats);
    ck_assert_uint_eq(stats.deleted_segments, 3);
    ck_assert_uint_eq(stats.deleted_queue_files,
                      (uint64_t)(store_range(store, store_queue(store, topic, 3)).min / 100 * 4));
    served_from_min(count);
}
END_TEST

START_TEST(queue_without_messages_goes_on_where_it_was)
{
    struct store_position p;

    open_store();
    for (int64_t i = 0; i < 50; i++)
        p = append(3, i);
    store_write(store);
    while (store_end(store) <= 2 * SEGMENT + 1000)
        append(0, 0), store_write(store);
    ck_assert(wait_until(complete));
    age(0, 100);
    age(SEGMENT, 100);
    round_at(NOW_MS);
    retention_sweep(store);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 3)).min, 50);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 3)).max, 50);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(close_store(), 0);
        open_store();
        p = append(3, 50 + i);
        store_write(store);
        ck_assert(wait_confirmed(p.log_end));
        ck_assert_int_eq(p.queue_offset, 50 + i);
        ck_assert_int_eq(store_range(store, store_queue(store, topic, 3)).min, 50);
    }
}
END_TEST

START_TEST(times_are_those_of_what_is_left)
{
    uint32_t queue;
    struct queue_range range;
    int64_t first_ms;

    fill(2);
    age(0, 100);
    round_at(NOW_MS);
    queue = store_queue(store, topic, 0);
    range = store_range_settled(store, queue);
    first_ms = store_time_at(store, queue, range.min);
    ck_assert_int_gt(first_ms, 0);
    ck_assert_int_ge(first_ms, store_earliest_ms(store));
    ck_assert_int_gt(store_earliest_ms(store), 0);
    ck_assert_int_eq(store_offset_by_time(store, queue, 0, STORE_LOWER), range.min);
    ck_assert_int_eq(store_offset_by_time(store, queue, 0, STORE_NEAREST), range.min);
}
END_TEST

START_TEST(messages_deleted_between_finding_and_reading_are_found_anew)
{
    static struct store_found found;
    struct store_get get;
    struct buf out = {0};
    int64_t bad;

    fill(2);
    get = (struct store_get){
        .queue = store_queue(store, topic, 0), .max_messages = 32, .may_block = true};
    store_find(store, &get, &found);
    ck_assert_int_eq(found.got.status, STORE_GET_FOUND);
    age(0, 100);
    round_at(NOW_MS);
    ck_assert_int_eq(store_fill(store, &found, &out, true, &bad), -ESTALE);
    ck_assert_uint_eq(out.len, 0);
    buf_destroy(&out);
}
END_TEST

START_TEST(what_nobody_has_consumed_is_named)
{
    char text[400], long_text[1200];

    fill(2);
    ck_assert_int_eq(metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("Slow"), 1, 7),
                     0);
    ck_assert_int_eq(metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("Slow"), 2, 9),
                     0);
    ck_assert_int_eq(
        metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("Fast"), 1, 120), 0);
    ck_assert_int_eq(metadata_offset_commit(metadata, BYTES_LIT("Gone"), BYTES_LIT("Slow"), 1, 7),
                     0);
    store_unconsumed(store, SEGMENT, text, sizeof(text));
    ck_assert_str_eq(text,
                     "group Slow of topic Orders (queue 1 from offset 7 on, and 1 more queues)");
    store_unconsumed(store, 2 * SEGMENT, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "group Fast of topic Orders (queue 1 from offset 120 on)"));
    for (int i = 0; i < 30; i++) {
        char group[16];
        int n = snprintf(group, sizeof(group), "G%d", i);
        ck_assert_int_eq(
            metadata_offset_commit(metadata, BYTES_LIT("Orders"), bytes_of(group, (size_t)n), 0, 1),
            0);
    }
    store_unconsumed(store, SEGMENT, long_text, sizeof(long_text));
    ck_assert_ptr_nonnull(strstr(long_text, ", and 23 more groups and topics"));
}
END_TEST

/* --- crashes and faults --- */

static void delete_and_sweep(void)
{
    mood = KILLS;
    round_at(NOW_MS);
    retention_sweep(store);
    _exit(0);
}

/* Two segments and a queue file of each queue go; the process is killed before each system call of
 * that in turn, and the store is opened again. */
START_TEST(kill_at_any_step_leaves_a_store_that_opens)
{
    for (int steps = 0, done = 0; !done; steps++) {
        int64_t count;
        pid_t child;
        int status;

        child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            fill(4);
            age(0, 100);
            age(SEGMENT, 100);
            steps_left = steps;
            delete_and_sweep();
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        ck_assert(done || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
        if (done)
            ck_assert_int_gt(steps, 7);

        open_store();
        count = store_range(store, store_queue(store, topic, 0)).max * 4;
        ck_assert_int_ge(count, 4 * PER_SEGMENT);
        ck_assert(store_min(store) == 0 || store_min(store) == SEGMENT ||
                  store_min(store) == 2 * SEGMENT);
        served_from_min(count);
        /* And the deletion goes on where it was. */
        if (store_min(store) < 2 * SEGMENT) {
            age(SEGMENT, 100);
            if (store_min(store) == 0)
                age(0, 100);
        }
        ck_assert(wait_until(complete));
        round_at(NOW_MS);
        retention_sweep(store);
        ck_assert(!exists(in_dir("consumequeue/Orders/0/00000000000000000000")));
        begins_at(2 * SEGMENT);
        served_from_min(count);
        ck_assert_int_eq(close_store(), 0);
        open_store();
        begins_at(2 * SEGMENT);
        served_from_min(count);
        ck_assert_int_eq(close_store(), 0);
        remove_tree(dir);
        ck_assert_int_eq(mkdir(dir, 0755), 0);
    }
}
END_TEST

/* A step that fails is taken again in the next round; the store goes on in between. */
START_TEST(failed_step_is_taken_again)
{
    for (int at = 0; at < 8; at++) {
        int64_t count = fill(4);
        age(0, 100);
        age(SEGMENT, 100);
        mood = FAILS;
        failing = at;
        round_at(NOW_MS);
        retention_sweep(store);
        served_from_min(count);
        append_many(count, 4);
        mood = PLAIN;
        round_at(NOW_MS);
        store_clean_queues(store);
        retention_sweep(store);
        begins_at(2 * SEGMENT);
        ck_assert(!exists(in_dir("consumequeue/Orders/0/00000000000000000000")));
        served_from_min(count + 4);
        ck_assert_int_eq(close_store(), 0);
        remove_tree(dir);
        ck_assert_int_eq(mkdir(dir, 0755), 0);
    }
}
END_TEST

/* --- the thread, with company --- */

static _Atomic bool ending;
static _Atomic int64_t appended;

static void *append_always(void *arg)
{
    (void)arg;
    while (!atomic_load(&ending)) {
        append_many(atomic_load(&appended), 16);
        atomic_fetch_add(&appended, 16);
    }
    return NULL;
}

/* Reads queue 0 in order; a jump is only ever to where the store says. */
static void *read_always(void *arg)
{
    static struct store_found found;
    struct buf out = {0};
    int64_t offset = 0, seen = 0;

    (void)arg;
    while (!atomic_load(&ending) || seen == 0) {
        struct store_get get = {.queue = store_queue(store, topic, 0),
                                .offset = offset,
                                .max_messages = 32,
                                .may_block = true};
        int64_t bad = -1;
        int r = 0;

        if (get.queue == QUEUE_NONE)
            continue;
        store_find(store, &get, &found);
        if (found.got.status == STORE_GET_FOUND)
            r = store_fill(store, &found, &out, true, &bad);
        if (r == -ESTALE)
            continue;
        ck_assert_msg(r == 0, "%d at %lld", r, (long long)bad);
        ck_assert_int_ne(found.got.status, STORE_GET_UNREADABLE);
        for (struct bytes left = buf_bytes(&out); left.len > 0;) {
            struct record record;
            ck_assert_int_eq(record_decode(left, &record), 0);
            ck_assert_int_eq(number_in(&record), record.queue_offset * 4);
            left = bytes_of(left.at + record.total_size, left.len - record.total_size);
            seen++;
        }
        buf_reset(&out);
        ck_assert_int_ge(found.got.next_offset, offset);
        /* A slow reader: falls behind what is deleted. */
        offset = found.got.next_offset > offset + 3 ? offset + 3 : found.got.next_offset;
        if (found.got.status == STORE_GET_REMOVED || found.got.status == STORE_GET_TOO_SMALL)
            offset = found.got.next_offset;
    }
    buf_destroy(&out);
    return NULL;
}

static bool many_gone(void)
{
    if (atomic_load(&store->flusher.complete_to) < store_min(store) + SEGMENT) {
        atomic_store(&store->flusher.checkpoint_asked, true);
        flusher_call(store);
    }
    return store_min(store) >= 12 * SEGMENT && atomic_load(&store->retention.queue_files) > 8;
}

START_TEST(segments_go_while_others_write_and_read)
{
    pthread_t writer, reader;

    options.retention.rules.log_bytes_max = 4 * SEGMENT;
    options.retention.round_ms = 1;
    open_store();
    ck_assert_int_eq(pthread_create(&writer, NULL, append_always, NULL), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_always, NULL), 0);
    ck_assert(wait_until(many_gone));
    atomic_store(&ending, true);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    ck_assert_int_eq(close_store(), 0);
    options.retention.round_ms = 0;
    open_store();
    served_from_min(appended);
}
END_TEST

static bool sleeps(void)
{
    return atomic_load(&store->retention.idle);
}

static bool refuses(void)
{
    return store_disk_full(store, NULL);
}

static bool accepts(void)
{
    return !store_disk_full(store, NULL);
}

START_TEST(thread_sleeps_while_nobody_writes_and_looks_when_somebody_does)
{
    struct store_position p;
    int r;

    options.retention.round_ms = 1;
    open_store();
    append_many(0, 4);
    ck_assert(wait_until(sleeps));
    used_percent = 95;
    r = append_sized(0, 4, 100, &p);
    ck_assert(r == 0 || r == STORE_NO_SPACE); /* it may have looked for the ones before */
    store_write(store);
    ck_assert(wait_until(refuses));
    used_percent = 50;
    ck_assert(wait_until(accepts)); /* by itself */
    append_many(8, 4);
    ck_assert(wait_until(sleeps));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("store_retention");
    TCase *c = tcase_create("store_retention");

    tcase_add_checked_fixture(c, begin, end);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, expired_segments_go_oldest_first_and_the_others_stay);
    tcase_add_test(c, a_request_lets_expired_segments_go_at_any_hour);
    tcase_add_test(c, the_segment_with_the_end_stays);
    tcase_add_test(c, one_round_deletes_no_more_than_its_bound);
    tcase_add_test(c, forced_deletion_ends_when_there_is_room);
    tcase_add_test(c, forced_deletion_can_be_turned_off);
    tcase_add_test(c, log_keeps_to_its_bound_in_bytes);
    tcase_add_test(c, segments_go_while_less_is_free_than_should_be);
    tcase_add_test(c, nothing_goes_before_its_queue_entries_are_on_the_disk);
    tcase_add_test(c, nothing_goes_that_a_follower_still_needs);
    tcase_add_test(c, writes_are_refused_above_the_warning_ratio_and_reads_go_on);
    tcase_add_test(c, writes_are_refused_from_the_start_on_a_full_disk);
    tcase_add_test(c, pull_of_deleted_messages_is_sent_to_the_first_that_is_there);
    tcase_add_test(c, sweep_removes_queue_files_of_deleted_messages);
    tcase_add_test(c, queue_without_messages_goes_on_where_it_was);
    tcase_add_test(c, times_are_those_of_what_is_left);
    tcase_add_test(c, messages_deleted_between_finding_and_reading_are_found_anew);
    tcase_add_test(c, what_nobody_has_consumed_is_named);
    tcase_add_test(c, kill_at_any_step_leaves_a_store_that_opens);
    tcase_add_test(c, failed_step_is_taken_again);
    tcase_add_test(c, segments_go_while_others_write_and_read);
    tcase_add_test(c, thread_sleeps_while_nobody_writes_and_looks_when_somebody_does);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
