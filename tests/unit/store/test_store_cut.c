/* test_store_cut.c - a log that is opened as one that ends, or begins, somewhere else; and nothing
 * of what stood behind comes back. */
#include "store_fixture.h"

#include <inttypes.h>

#include "broker/store/store_mark.h"

enum { MESSAGES = 400, SEGMENT = 16384, OTHER = 100000 };

static struct err err;
static struct topic *delayed;
static struct store_position at[MESSAGES];
static uint8_t old_log[64 * SEGMENT];
static uint64_t old_end;
static struct file_ops ops;

static int32_t queue_of(int64_t number)
{
    return (int32_t)(number % 5);
}

/* Queues 0 to 3 of Orders; every fifth message is a delayed one. */
static struct store_position put(int64_t number)
{
    struct store_position p;
    char body[300], properties[100];
    struct store_message m;
    size_t size = 100 + (size_t)(number * 37 % 200);

    fill_body(body, size, "message", number);
    m = message(queue_of(number), body, size);
    snprintf(properties, sizeof(properties), "UNIQ_KEY\1U%lld\2TAGS\1TagA\2KEYS\1k%lld",
             (long long)number, (long long)number);
    m.properties = bytes_str(properties);
    if (m.queue_id == 4) {
        m.topic = delayed;
        m.queue_id = 0;
        m.delay_level = 1;
    }
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    return p;
}

static struct topic *topic_named(const char *name)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    struct topic *t = metadata_topic(metadata, bytes_str(name), NULL);

    if (!t)
        ck_assert_int_eq(metadata_topic_put(metadata, bytes_str(name), &config, 0, NULL, NULL, &t),
                         0);
    return t;
}

static void open_here(void)
{
    open_store();
    delayed = topic_named("SCHEDULE_TOPIC_XXXX");
}

static void open_cut(uint64_t to)
{
    options.cut.on = true;
    options.cut.to = to;
    open_here();
    options.cut.on = options.cut.anew = false;
}

static int close_as(bool crashed)
{
    int r = close_store();

    if (crashed)
        ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    return r;
}

static void take_log(void)
{
    for (uint64_t offset = 0; offset < old_end; offset += SEGMENT) {
        int fd = file_open(segment_path(offset), O_RDONLY, 0);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_read_all(fd, old_log + offset, SEGMENT, 0), 0);
        file_close(fd);
    }
}

/* Everybody has read everything. */
static void make_log(void)
{
    open_here();
    for (int64_t i = 0; i < MESSAGES; i++)
        at[i] = put(i);
    store_write(store);
    old_end = store_end(store);
    ck_assert_uint_lt(old_end, sizeof(old_log));
    ck_assert(wait_confirmed(old_end));
    for (int32_t q = 0; q < 4; q++) {
        metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("fast"), q, MESSAGES / 5);
        metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("slow"), q, 3);
    }
    metadata_offset_commit(metadata, BYTES_LIT("Unknown"), BYTES_LIT("fast"), 0, 77);
    ck_assert_int_eq(metadata_delay_set(metadata, 1, MESSAGES / 5), 0);
}

static void begin(void)
{
    fixture_begin();
    options.segment_bytes = SEGMENT;
    options.index = true;
    options.index_shape = (struct index_shape){.slots = 64, .entries_max = 150};
    ops = file_ops_system;
    make_log();
}

/* --- what is there --- */

static int64_t found_by_key(int64_t number)
{
    char key[32];
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    struct store_answer answer;
    struct buf out = {0};
    struct store_query q = {.topic = queue_of(number) == 4 ? BYTES_LIT("SCHEDULE_TOPIC_XXXX")
                                                           : BYTES_LIT("Orders"),
                            .max = 8,
                            .end_ms = INT64_MAX};

    snprintf(key, sizeof(key), "k%lld", (long long)number);
    q.key = bytes_str(key);
    do { /* a query waits a second for the index; a slow machine may need more */
        ck_assert_int_lt(clock_mono_ms(), deadline);
        buf_reset(&out);
        ck_assert_int_eq(store_query(store, &q, &out, &answer), 0);
    } while (answer.behind > 0);
    buf_destroy(&out);
    return answer.messages;
}

struct expected {
    int32_t queue;
    int64_t old, seen; /* numbers below `old` of before, then those above OTHER */
};

static void check_next(const struct record *r, void *ctx)
{
    struct expected *e = ctx;
    int64_t number = e->seen < (e->old + 4 - e->queue) / 5
                         ? e->seen * 5 + e->queue
                         : OTHER + (e->seen - (e->old + 4 - e->queue) / 5) * 5 + e->queue;

    ck_assert_int_eq(number_in(r), number);
    ck_assert_int_eq(r->queue_offset, e->seen);
    e->seen++;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The first `old` messages, then `others`. */
static void expect(int64_t old, int64_t others)
{
    ck_assert(wait_confirmed(store_end(store)));
    for (int32_t q = 0; q < 5; q++) {
        struct expected e = {.queue = q, .old = old};
        int64_t count = (old + 4 - q) / 5;
        struct topic *t = q == 4 ? delayed : topic;
        struct queue_range range;

        read_queue(t, q % 4, check_next, &e);
        ck_assert_int_eq(e.seen, count + (others + 4 - q) / 5);
        range = store_range(store, store_queue(store, t, q % 4));
        ck_assert_int_eq(range.min, 0);
        ck_assert_int_eq(range.max, e.seen);
        if (q < 4) {
            ck_assert_int_eq(metadata_offset(metadata, BYTES_LIT("Orders"), BYTES_LIT("fast"), q),
                             count);
            ck_assert_int_eq(metadata_offset(metadata, BYTES_LIT("Orders"), BYTES_LIT("slow"), q),
                             lesser(count, 3));
        } else {
            ck_assert_int_eq(metadata_delay(metadata, 1), count);
        }
    }
    ck_assert_int_eq(metadata_offset(metadata, BYTES_LIT("Unknown"), BYTES_LIT("fast"), 0), 77);
    for (int64_t i = 0; i < MESSAGES && options.index; i++)
        ck_assert_int_eq(found_by_key(i), i < old);
    for (int64_t i = 0; i < others && options.index; i++)
        ck_assert_int_eq(found_by_key(OTHER + i), 1);
    struct store_stats stats;
    store_stats(store, &stats);
    ck_assert_uint_eq(stats.damaged_records, 0);
}

static void put_others(int64_t others)
{
    for (int64_t i = 0; i < others; i++)
        put(OTHER + i);
    store_write(store);
    ck_assert(wait_confirmed(store_end(store)));
}

/* How many whole copies there are; a crash may leave the beginning of one. */
static int copies(uint64_t from)
{
    struct file_list list;
    char prefix[64];
    int count = 0;

    snprintf(prefix, sizeof(prefix), "cut-%" PRIu64 "-", from);
    ck_assert_int_eq(file_list(in_dir("tern"), &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct buf content = {0};
        char name[300];

        if (strncmp(list.names[i], prefix, strlen(prefix)) != 0)
            continue;
        snprintf(name, sizeof(name), "tern/%s", list.names[i]);
        ck_assert_int_eq(file_load(in_dir(name), sizeof(old_log), &content), 0);
        ck_assert_uint_le(content.len, old_end - from);
        if (content.len > 0)
            ck_assert_int_eq(memcmp(buf_at(&content), old_log + from, content.len), 0);
        count += content.len > old_end - from - 8; /* without zeroes at its end */
        buf_destroy(&content);
    }
    file_list_free(&list);
    return count;
}

/* The messages that a log has which ends at `to`. */
static int64_t below(uint64_t to)
{
    int64_t n = 0;

    while (n < MESSAGES && at[n].log_end <= to)
        n++;
    return n;
}

static uint64_t first_of_segment(uint64_t segment)
{
    for (int64_t i = 0;; i++) {
        if (at[i].log_offset >= segment * SEGMENT)
            return at[i].log_offset;
    }
}

/* --- cutting --- */

static void cut_and_go_on(uint64_t to, bool crashed)
{
    int64_t old = below(to);

    open_cut(to);
    ck_assert_uint_eq(store_end(store), to);
    expect(old, 0);
    ck_assert_int_eq(copies(to), to < old_end);
    ck_assert_int_eq(close_as(crashed), 0);
    open_cut(to); /* once more */
    ck_assert_uint_eq(store_end(store), to);
    expect(old, 0);
    ck_assert_int_eq(copies(to), to < old_end);
    put_others(50);
    ck_assert_int_eq(close_as(crashed), 0);
    open_here();
    expect(old, 50);
    ck_assert_int_eq(close_as(true), 0);
    /* Everything is read again, by what stands in the log alone. */
    ck_assert_int_eq(unlink(in_dir("tern/flushed")), 0);
    remove_tree(in_dir("consumequeue"));
    open_here();
    expect(old, 50);
    ck_assert_int_eq(close_store(), 0);
}

static const int64_t cut_before[] = {0, 1, 137, 200, MESSAGES - 1};
enum { CUTS = sizeof(cut_before) / sizeof(cut_before[0]) };

START_TEST(a_cut_log_ends_there_with_all_that_follows_from_it)
{
    bool crashed = _i >= CUTS;

    ck_assert_int_eq(close_as(crashed), 0);
    take_log();
    cut_and_go_on(at[cut_before[_i % CUTS]].log_offset, crashed);
}
END_TEST

START_TEST(a_log_is_cut_where_a_segment_begins)
{
    ck_assert_int_eq(close_as(_i), 0);
    take_log();
    ck_assert_uint_eq(first_of_segment(3), 3 * SEGMENT);
    cut_and_go_on(3 * SEGMENT, _i);
}
END_TEST

/* Before the blank rest of a segment, which is what goes. */
START_TEST(a_log_is_cut_where_a_segments_last_record_ends)
{
    int64_t n = below(3 * SEGMENT);

    ck_assert_int_eq(close_as(_i), 0);
    take_log();
    cut_and_go_on(at[n - 1].log_end, _i);
}
END_TEST

START_TEST(a_cut_at_or_above_the_end_changes_nothing)
{
    ck_assert_int_eq(close_as(_i), 0);
    for (int i = 0; i < 3; i++) {
        open_cut(old_end + (uint64_t)i * 2 * SEGMENT);
        ck_assert_uint_eq(store_end(store), old_end);
        expect(MESSAGES, 0);
        ck_assert_int_eq(close_as(_i), 0);
    }
    ck_assert_int_eq(copies(old_end), 0);
}
END_TEST

START_TEST(a_cut_within_a_record_takes_the_whole_of_it)
{
    ck_assert_int_eq(close_as(_i), 0);
    take_log();
    open_cut(at[200].log_offset + 50);
    ck_assert_uint_eq(store_end(store), at[200].log_offset);
    expect(200, 0);
    ck_assert_int_eq(copies(at[200].log_offset), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_cut_below_the_beginning_is_refused)
{
    ck_assert_int_eq(close_store(), 0);
    ck_assert_int_eq(unlink(segment_path(0)), 0);
    options.cut.on = true;
    options.cut.to = 8000;
    ck_assert_int_eq(try_open(&err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "begins at 16384"));
}
END_TEST

/* An index that is not kept now speaks of the tail when it is kept again. */
START_TEST(an_index_that_is_not_kept_forgets_the_tail_too)
{
    ck_assert_int_eq(close_store(), 0);
    options.index = false;
    open_cut(at[200].log_offset);
    put_others(300);
    ck_assert_int_eq(close_store(), 0);
    options.index = true;
    open_here();
    expect(200, 300);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- crashes --- */

static _Atomic int calls;
static int dead_after;

static _Atomic bool armed;

static bool is_dead(void)
{
    if (!atomic_load(&armed))
        return false;
    errno = EIO;
    return atomic_fetch_add(&calls, 1) >= dead_after;
}

static ssize_t dying_pwrite(int fd, const void *from, size_t n, off_t offset)
{
    return is_dead() ? -1 : file_ops_system.pwrite(fd, from, n, offset);
}

static ssize_t dying_pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
    return is_dead() ? -1 : file_ops_system.pwritev(fd, iov, n, offset);
}

static int dying_unlink(const char *path)
{
    return is_dead() ? -1 : file_ops_system.unlink(path);
}

static int dying_rmdir(const char *path)
{
    return is_dead() ? -1 : file_ops_system.rmdir(path);
}

static int dying_rename(const char *from, const char *to)
{
    return is_dead() ? -1 : file_ops_system.rename(from, to);
}

static int dying_truncate(int fd, off_t n)
{
    return is_dead() ? -1 : file_ops_system.ftruncate(fd, n);
}

static int dying_fsync(int fd)
{
    (void)fd;
    return is_dead() ? -1 : 0; /* a process dies here, no machine: that many syncs take minutes */
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void copy(const char *from, const char *to)
{
    char command[1024];

    remove_tree(to);
    snprintf(command, sizeof(command), "cp -a --sparse=always '%s' '%s'", from, to);
    ck_assert_int_eq(system(command), 0);
}

/* A start that dies after so many calls that change something. Whether it came to its end. */
static bool start_and_die(void)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    bool done;

    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    atomic_store(&calls, 0);
    atomic_store(&armed, true);
    done = store_open(&store, &options, &err) == 0;
    if (!done)
        (void)metadata_close(metadata);
    atomic_store(&armed, false);
    if (done)
        ck_assert_int_eq(close_store(), 0);
    return done;
}

/* The same cut after a start that died after any number of calls that change something. */
static void die_anywhere(uint64_t to, bool anew, void (*check)(uint64_t to))
{
    char kept[300];
    bool done = false;

    snprintf(kept, sizeof(kept), "%s.kept", dir);
    copy(dir, kept);
    ops.pwrite = dying_pwrite;
    ops.pwritev = dying_pwritev;
    ops.unlink = dying_unlink;
    ops.rmdir = dying_rmdir;
    ops.rename = dying_rename;
    ops.ftruncate = dying_truncate;
    ops.fsync = dying_fsync;
    ops.fdatasync = ops.syncfs = no_sync;
    file_ops_set(&ops); /* before there are threads */
    for (dead_after = 0; !done; dead_after++) {
        copy(kept, dir);
        options.cut.on = true;
        options.cut.anew = anew;
        options.cut.to = to;
        done = start_and_die();
        open_cut(to);
        check(to);
        ck_assert_int_eq(close_store(), 0);
    }
    ck_assert_int_gt(dead_after, 10);
    file_ops_set(NULL);
    remove_tree(kept);
}

static void check_cut(uint64_t to)
{
    ck_assert_uint_eq(store_end(store), to);
    expect(below(to), 0);
    ck_assert_int_ge(copies(to), 1);
    put_others(20);
    ck_assert_int_eq(close_as(true), 0);
    open_here();
    expect(below(to), 20);
}

START_TEST(a_cut_that_dies_anywhere_is_made_again)
{
    ck_assert_int_eq(close_as(_i), 0);
    take_log();
    die_anywhere(at[137].log_offset, false, check_cut);
}
END_TEST

static _Atomic int syncs_to_fail, zeroes_written;

static int failing_fdatasync(int fd)
{
    if (syncs_to_fail == 0 || zeroes_written == 0)
        return file_ops_system.fdatasync(fd);
    syncs_to_fail--;
    errno = EIO;
    return -1;
}

static ssize_t noting_pwrite(int fd, const void *from, size_t n, off_t offset)
{
    const uint8_t *bytes = from;

    zeroes_written += n > 1000 && bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
    return file_ops_system.pwrite(fd, from, n, offset);
}

/* The kernel calls the zeroes clean then, and they read as zeroes, but the disk may have the tail.
 */
START_TEST(zeroes_whose_sync_failed_are_written_again)
{
    ck_assert_int_eq(close_store(), 0);
    ops.fdatasync = failing_fdatasync;
    ops.pwrite = noting_pwrite;
    file_ops_set(&ops);
    options.cut.on = true;
    options.cut.to = at[200].log_offset;
    syncs_to_fail = 1;
    ck_assert_int_eq(try_open(&err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "sync the zeroed end of the log"));
    ck_assert_int_gt(zeroes_written, 0);
    zeroes_written = 0;
    ck_assert_int_eq(try_open(&err), 0);
    ck_assert_int_gt(zeroes_written, 0);
    ck_assert_int_eq(close_store(), 0);
    file_ops_set(NULL);
}
END_TEST

/* --- beginning anew --- */

static void expect_nothing_old(uint64_t to, int64_t others)
{
    ck_assert_uint_eq(store_min(store), to);
    expect(0, others);
}

/* All segments of the old log, in one folder or several. */
static void expect_kept(uint64_t to)
{
    struct file_list list, in;
    char prefix[64], name[300];
    uint64_t bytes = 0;

    snprintf(prefix, sizeof(prefix), "cut-%" PRIu64 "-", to);
    ck_assert_int_eq(file_list(in_dir("tern"), &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.names[i], prefix, strlen(prefix)) != 0)
            continue;
        snprintf(name, sizeof(name), "tern/%s", list.names[i]);
        ck_assert_int_eq(file_list(in_dir(name), &in), 0);
        for (size_t k = 0; k < in.count; k++) {
            struct buf content = {0};
            uint64_t base = strtoull(in.names[k], NULL, 10);

            snprintf(name, sizeof(name), "tern/%s/%s", list.names[i], in.names[k]);
            ck_assert_int_eq(file_load(in_dir(name), SEGMENT, &content), 0);
            ck_assert_int_eq(memcmp(buf_at(&content), old_log + base, SEGMENT), 0);
            buf_destroy(&content);
            bytes += base < old_end ? SEGMENT : 0;
        }
        file_list_free(&in);
    }
    file_list_free(&list);
    ck_assert_uint_eq(bytes, (old_end + SEGMENT - 1) / SEGMENT * SEGMENT);
}

static const uint64_t begins[] = {0, 2 * SEGMENT, 1000 * SEGMENT};
enum { BEGINS = sizeof(begins) / sizeof(begins[0]) };

START_TEST(a_log_that_begins_anew_has_nothing_of_the_old_one)
{
    bool crashed = _i >= BEGINS;
    uint64_t to = begins[_i % BEGINS];

    ck_assert_int_eq(close_as(crashed), 0);
    take_log();
    for (int i = 0; i < 3; i++) { /* the second and third time there is nothing to do */
        options.cut.anew = true;
        open_cut(to);
        ck_assert_uint_eq(store_end(store), to);
        expect_nothing_old(to, 0);
        if (i < 2)
            ck_assert_int_eq(close_as(i == 0), 0);
    }
    expect_kept(to);
    put_others(100);
    ck_assert_int_eq(close_as(crashed), 0);
    open_here();
    expect_nothing_old(to, 100);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_log_cannot_begin_anew_within_a_segment)
{
    ck_assert_int_eq(close_store(), 0);
    options.cut.on = options.cut.anew = true;
    options.cut.to = SEGMENT + 1;
    ck_assert_int_eq(try_open(&err), -EINVAL);
    options.cut.on = options.cut.anew = false;
    open_here();
    expect(MESSAGES, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static void check_anew(uint64_t to)
{
    expect_nothing_old(to, 0);
    expect_kept(to);
    put_others(20);
    ck_assert_int_eq(close_as(true), 0);
    open_here();
    expect_nothing_old(to, 20);
}

START_TEST(a_new_beginning_that_dies_anywhere_is_made_again)
{
    ck_assert_int_eq(close_as(_i), 0);
    take_log();
    options.cut.anew = true;
    die_anywhere(2 * SEGMENT, true, check_anew);
}
END_TEST

static Suite *cut_suite(void)
{
    Suite *s = suite_create("store cut");
    TCase *c = tcase_create("store cut");

    tcase_add_checked_fixture(c, begin, fixture_end);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_cut_log_ends_there_with_all_that_follows_from_it, 0, 2 * CUTS);
    tcase_add_loop_test(c, a_log_is_cut_where_a_segment_begins, 0, 2);
    tcase_add_loop_test(c, a_log_is_cut_where_a_segments_last_record_ends, 0, 2);
    tcase_add_loop_test(c, a_cut_at_or_above_the_end_changes_nothing, 0, 2);
    tcase_add_loop_test(c, a_cut_within_a_record_takes_the_whole_of_it, 0, 2);
    tcase_add_test(c, a_cut_below_the_beginning_is_refused);
    tcase_add_test(c, an_index_that_is_not_kept_forgets_the_tail_too);
    tcase_add_loop_test(c, a_cut_that_dies_anywhere_is_made_again, 0, 2);
    tcase_add_test(c, zeroes_whose_sync_failed_are_written_again);
    tcase_add_loop_test(c, a_log_that_begins_anew_has_nothing_of_the_old_one, 0, 2 * BEGINS);
    tcase_add_test(c, a_log_cannot_begin_anew_within_a_segment);
    tcase_add_loop_test(c, a_new_beginning_that_dies_anywhere_is_made_again, 0, 2);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(cut_suite)
