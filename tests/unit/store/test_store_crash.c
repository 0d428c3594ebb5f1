/* test_store_crash.c - what is there again after a crash or a power cut: where the log ends, what a
 * stop that failed leaves behind, and the mark that tells what was flushed. */
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "store_recovery_fixture.h"

static struct file_ops ops;

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
}

/* --- killed --- */

struct ack {
    int64_t number, queue_offset;
    uint64_t log_offset, log_end;
    uint64_t durable; /* at that moment: what survives losing power too */
};

enum { ACKS_MAX = 200000, TURN = 8 };
static struct ack acks[ACKS_MAX];
static size_t ack_count;

static bool all_durable(void)
{
    return store_flushed(store) == store_end(store);
}

static uint64_t mark_sequence(void)
{
    struct mark_file file;
    struct mark mark = {0};

    ck_assert_int_ge(mark_open(&file, in_dir("tern/flushed"), &mark), 0);
    mark_close(&file);
    return mark.sequence;
}

/* Appends until `marks` more marks were written and then `enough` messages are confirmed; tells of
 * every confirmed one. */
static void append_and_tell(int to, int64_t number, unsigned marks, int64_t enough,
                            void (*then)(void))
{
    struct store_position p[TURN];
    uint64_t sequence;

    open_store();
    sequence = mark_sequence() + marks;
    for (int64_t done = 0; done < enough;) {
        for (int i = 0; i < TURN; i++)
            p[i] = append((int32_t)((number + i) % 4), number + i);
        store_write(store);
        if (!wait_confirmed(p[TURN - 1].log_end))
            _exit(2);
        for (int i = 0; i < TURN; i++) {
            struct ack ack = {number + i, p[i].queue_offset, p[i].log_offset, p[i].log_end,
                              store_flushed(store)};
            if (write(to, &ack, sizeof(ack)) != (ssize_t)sizeof(ack))
                _exit(1);
        }
        number += TURN;
        if (mark_sequence() >= sequence)
            done += TURN;
        else if (!wait_until(all_durable))
            _exit(3);
        else /* until the marks come: no need to hurry */
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    then();
    _exit(4);
}

static bool take_ack(int from)
{
    struct ack ack;

    if (read(from, &ack, sizeof(ack)) != (ssize_t)sizeof(ack))
        return false;
    ck_assert_uint_lt(ack_count, ACKS_MAX);
    acks[ack_count++] = ack;
    return true;
}

static void expect_acked(uint64_t below)
{
    struct buf out = {0};
    struct record r;
    struct queue_entry e;

    for (size_t i = 0; i < ack_count; i++) {
        if (acks[i].log_end > below)
            continue;
        uint32_t queue = store_queue(store, topic, (int32_t)(acks[i].number % 4));
        buf_reset(&out);
        ck_assert_msg(store_read_record(store, acks[i].log_offset, &out, &r) == 0,
                      "message %" PRId64 " at %" PRIu64 " is lost", acks[i].number,
                      acks[i].log_offset);
        ck_assert_int_eq(number_in(&r), acks[i].number);
        ck_assert_int_eq(r.queue_offset, acks[i].queue_offset);
        ck_assert_msg(store_entry(store, queue, acks[i].queue_offset, &e) == 0,
                      "message %" PRId64 " has no entry", acks[i].number);
        ck_assert_int_eq(e.log_offset, (int64_t)acks[i].log_offset);
    }
    buf_destroy(&out);
}

/* Forks a process that appends; takes what it tells until `enough`, or until it ends by itself. */
static void run_appender(size_t enough, void (*prepare)(void), unsigned marks, int64_t limit,
                         void (*then)(void))
{
    int64_t number = 0;
    int ends[2], status;

    for (size_t i = 0; i < ack_count; i++) {
        if (acks[i].number >= number)
            number = acks[i].number + 1;
    }
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(ends[0]);
        if (prepare)
            prepare();
        append_and_tell(ends[1], number, marks, limit, then);
    }
    close(ends[1]);
    while (ack_count < enough && take_ack(ends[0]))
        ;
    bool killed = ack_count >= enough;
    if (killed)
        ck_assert_int_eq(kill(child, SIGKILL), 0);
    while (take_ack(ends[0]))
        ;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(killed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

START_TEST(acknowledged_messages_survive_sigkill)
{
    options.sync_flush = _i == 1;
    for (int round = 0; round < 4; round++) {
        size_t enough = ack_count + (size_t)(200 + 400 * round);

        run_appender(enough, NULL, 0, INT64_MAX, NULL);
        ck_assert_uint_ge(ack_count, enough);
        open_store();
        expect_acked(UINT64_MAX);
        ck_assert_uint_eq(stats_now().damaged_records, 0);
        ck_assert_int_eq(close_store(), 0);
    }
}
END_TEST

/* --- without power: what no sync has covered may be lost, in any part --- */

struct unsynced {
    dev_t dev;
    ino_t ino;
    int fd;
    off_t at;
    size_t n;
    uint8_t *before;
    uint64_t order;
};
enum { UNSYNCED_MAX = 65536, SECTOR = 512 };
static struct unsynced unsynced[UNSYNCED_MAX];
static size_t unsynced_count;
static uint64_t write_order;
static unsigned seed;
static pthread_mutex_t power_lock = PTHREAD_MUTEX_INITIALIZER;

/* Under power_lock. */
static void note_write(int fd, size_t n, off_t at)
{
    struct unsynced *u = &unsynced[unsynced_count];
    struct stat st;

    char path[64];

    if (unsynced_count == UNSYNCED_MAX || fstat(fd, &st) != 0)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* for reading, whatever fd is for */
    *u = (struct unsynced){st.st_dev,    st.st_ino,    open(path, O_RDWR | O_CLOEXEC), at, n,
                           calloc(1, n), write_order++};
    if (u->fd < 0 || !u->before || pread(u->fd, u->before, n, at) < 0)
        abort();
    unsynced_count++;
}

static uint64_t writes_so_far(void)
{
    uint64_t order;

    pthread_mutex_lock(&power_lock);
    order = write_order;
    pthread_mutex_unlock(&power_lock);
    return order;
}

static void forget_synced(int fd, uint64_t below, bool all)
{
    struct stat st;
    size_t kept = 0;

    if (fstat(fd, &st) != 0)
        abort();
    pthread_mutex_lock(&power_lock);
    for (size_t i = 0; i < unsynced_count; i++) {
        struct unsynced *u = &unsynced[i];
        if (u->order < below && (all || (u->dev == st.st_dev && u->ino == st.st_ino))) {
            close(u->fd);
            free(u->before);
        } else {
            unsynced[kept++] = *u;
        }
    }
    unsynced_count = kept;
    pthread_mutex_unlock(&power_lock);
}

static ssize_t noted_pwrite(int fd, const void *from, size_t n, off_t at)
{
    ssize_t put;

    pthread_mutex_lock(&power_lock);
    note_write(fd, n, at);
    put = pwrite(fd, from, n, at);
    pthread_mutex_unlock(&power_lock);
    return put;
}

static ssize_t noted_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    size_t total = 0;
    ssize_t put;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    pthread_mutex_lock(&power_lock);
    note_write(fd, total, at);
    put = pwritev(fd, iov, n, at);
    pthread_mutex_unlock(&power_lock);
    return put;
}

static int noted_fsync(int fd)
{
    uint64_t below = writes_so_far();
    int r = fsync(fd);

    forget_synced(fd, below, false);
    return r;
}

static int noted_fdatasync(int fd)
{
    uint64_t below = writes_so_far();
    int r = fdatasync(fd);

    forget_synced(fd, below, false);
    return r;
}

static int noted_syncfs(int fd)
{
    uint64_t below = writes_so_far();
    int r = syncfs(fd);

    forget_synced(fd, below, true);
    return r;
}

/* With threads that live a process would wait a second for what these do at its exit. Without power
 * they do nothing. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "atexit_sleep_ms=0";
}

/* The power goes: each sector of each unsynced write has reached the disk or not. */
static void cut_power(void)
{
    pthread_mutex_lock(&power_lock); /* for good: nobody writes any more */
    for (size_t i = unsynced_count; i-- > 0;) {
        struct unsynced *u = &unsynced[i];
        for (size_t done = 0; done < u->n;) {
            size_t part = SECTOR - (size_t)((u->at + (off_t)done) % SECTOR);
            if (part > u->n - done)
                part = u->n - done;
            if (rand_r(&seed) % 2 && pwrite(u->fd, u->before + done, part, u->at + (off_t)done) < 0)
                abort();
            done += part;
        }
    }
    _exit(0);
}

static void note_writes(void)
{
    ops.pwrite = noted_pwrite;
    ops.pwritev = noted_pwritev;
    ops.fsync = noted_fsync;
    ops.fdatasync = noted_fdatasync;
    ops.syncfs = noted_syncfs;
    file_ops_set(&ops);
}

START_TEST(what_was_durable_survives_a_power_cut)
{
    uint64_t durable = 0;

    options.sync_flush = _i == 1;
    options.flush_interval_ms = 5;
    for (int round = 0; round < 12; round++) {
        seed = (unsigned)(100 * _i + round + 1);
        /* In some rounds the power goes only after marks and a checkpoint were written. */
        run_appender(SIZE_MAX, note_writes, round % 6 == 5 ? 2 : 0,
                     8 * (1 + (int)(seed * 2654435761u >> 26)), cut_power);
        for (size_t i = 0; i < ack_count; i++) {
            if (options.sync_flush)
                ck_assert_uint_ge(acks[i].durable, acks[i].log_end);
            if (acks[i].durable > durable)
                durable = acks[i].durable;
        }
        open_store();
        ck_assert_uint_ge(store_end(store), durable);
        ck_assert_uint_eq(stats_now().damaged_records, 0);
        expect_acked(durable);
        ck_assert_int_eq(close_store(), 0);
        /* What was not durable, and did not survive, is no promise for the next rounds. */
        size_t kept = 0;
        for (size_t i = 0; i < ack_count; i++) {
            if (acks[i].log_end <= durable)
                acks[kept++] = acks[i];
        }
        ack_count = kept;
    }
}
END_TEST

/* --- the end of the log --- */

START_TEST(a_torn_tail_is_kept_aside_and_zeroed)
{
    uint8_t torn[1024];
    char name[256];
    struct buf kept = {0};
    uint64_t end;

    open_store();
    append_many(0, 100);
    end = store_end(store);
    close_as_crashed();
    size_t size = make_record(torn, end, 100, clock_wall_ms());
    put_in_log(end, torn, size - 30); /* its end never came */

    open_store();
    ck_assert_uint_eq(store_end(store), end);
    ck_assert_int_eq(count_in_tern("cut-", name), 1);
    char path[300];
    snprintf(path, sizeof(path), "tern/%s", name);
    ck_assert_int_eq(file_load(in_dir(path), 65536, &kept), 0);
    ck_assert_uint_ge(kept.len, size - 32);
    ck_assert_int_eq(memcmp(buf_at(&kept), torn, size - 32), 0);
    buf_destroy(&kept);
    int fd = file_open(segment_path(end), O_RDONLY, 0);
    ck_assert_int_eq(file_read_all(fd, torn, sizeof(torn), (off_t)(end % 65536)), 0);
    file_close(fd);
    for (size_t i = 0; i < sizeof(torn); i++)
        ck_assert_int_eq(torn[i], 0);
    append_many(100, 100);
    expect_numbers(200);
    close_as_crashed();
    open_store();
    expect_numbers(200);
    ck_assert_int_eq(count_in_tern("cut-", NULL), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(whole_records_above_the_mark_are_part_of_the_log)
{
    uint8_t record[1024];
    uint64_t end;

    /* With abort: after a crash. Without: RocketMQ ran here since our clean stop. */
    open_store();
    append_many(0, 100);
    end = store_end(store);
    if (_i == 0)
        close_as_crashed();
    else
        ck_assert_int_eq(close_store(), 0);
    for (int64_t number = 100; number < 110; number++) {
        size_t size = make_record(record, end, number, clock_wall_ms());
        put_in_log(end, record, size);
        end += size;
    }
    open_store();
    ck_assert_uint_eq(store_end(store), end);
    ck_assert_uint_eq(stats_now().records_recovered, 10);
    expect_numbers(110);
    append_many(110, 10);
    expect_numbers(120);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(an_unclean_log_is_written_again_before_it_counts_as_flushed)
{
    uint8_t record[1024];
    struct mark_file file;
    struct mark mark;
    uint64_t end;

    open_store();
    append_many(0, 100);
    end = store_end(store);
    close_as_crashed();
    size_t size = make_record(record, end, 100, clock_wall_ms());
    put_in_log(end, record, size);

    /* The notes of writes show what is not synced: nothing of the log may be left when the mark
     * covers it. That it was written at all shows in the failure of a disk that takes no writes. */
    note_writes();
    open_store();
    ck_assert_uint_eq(store_flushed(store), end + size);
    ck_assert_int_eq(mark_open(&file, in_dir("tern/flushed"), &mark), 0);
    ck_assert_uint_eq(mark.flushed, end + size);
    mark_close(&file);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static ino_t refused_ino;

static ssize_t refusing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && st.st_ino == refused_ino) {
        errno = EIO;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

START_TEST(a_log_that_cannot_be_written_again_is_not_opened)
{
    uint8_t record[1024];
    struct stat st;
    struct err err = {0};
    uint64_t end;

    open_store();
    append_many(0, 100);
    end = store_end(store);
    close_as_crashed();
    size_t size = make_record(record, end, 100, clock_wall_ms());
    put_in_log(end, record, size);
    ck_assert_int_eq(file_stat(segment_path(end), &st), 0);
    refused_ino = st.st_ino;
    ops.pwrite = refusing_pwrite;
    file_ops_set(&ops);
    ck_assert_int_eq(try_open(&err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "again"));
    file_ops_set(NULL);
    open_store();
    expect_numbers(101);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(missing_newest_segments_do_not_stop_the_start)
{
    uint64_t end;

    open_store();
    append_many(0, 1000);
    end = store_end(store);
    ck_assert_int_eq(close_store(), 0);
    ck_assert_uint_gt(end, 3 * 65536);
    ck_assert_int_eq(unlink(segment_path(end)), 0);
    open_store();
    ck_assert_uint_eq(store_end(store), end / 65536 * 65536);
    int64_t there = read_queue(topic, 0, NULL, NULL);
    ck_assert_int_gt(there, 150);
    struct store_position p = append(0, 0);
    ck_assert_int_eq(p.queue_offset, there);
    store_write(store);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- closing --- */

static _Atomic bool sync_fails;

static int failing_syncfs(int fd)
{
    if (sync_fails) {
        errno = EIO;
        return -1;
    }
    return syncfs(fd);
}

START_TEST(a_stop_that_fails_leaves_the_next_start_to_look_at_everything)
{
    ops.syncfs = failing_syncfs;
    file_ops_set(&ops);
    open_store();
    append_many(0, 100);
    sync_fails = true;
    ck_assert_int_eq(close_store(), -EIO);
    ck_assert(exists(in_dir("abort")));
    ck_assert(!exists(in_dir("tern/queues")));
    sync_fails = false;
    open_store();
    expect_numbers(100);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static _Atomic int failed_syncs;

static int syncfs_that_fails_once(int fd)
{
    if (atomic_fetch_add(&failed_syncs, 1) == 0) {
        errno = EIO;
        return -1;
    }
    return syncfs(fd);
}

static bool a_sync_has_failed(void)
{
    return failed_syncs > 0;
}

/* Their pages may be clean by now, and on the disk the old ones: the next sync says nothing. */
START_TEST(queues_that_could_not_be_synced_are_made_anew)
{
    struct mark_file file;
    struct mark mark;

    open_store();
    append_many(0, 100);
    close_as_crashed();
    ck_assert_int_eq(unlink(in_dir("tern/flushed")), 0); /* no checkpoint is known */
    ops.syncfs = syncfs_that_fails_once;
    file_ops_set(&ops);
    open_store();
    append_many(100, 100);
    ck_assert(wait_until(a_sync_has_failed)); /* the first checkpoint after a recovery */
    ck_assert_int_eq(close_store(), -EIO);
    ck_assert(exists(in_dir("abort")));
    ck_assert_int_eq(mark_open(&file, in_dir("tern/flushed"), &mark), 0);
    ck_assert_uint_lt(mark.queues_complete_to, mark.flushed);
    mark_close(&file);
    open_store();
    ck_assert_uint_ge(stats_now().records_recovered, 100);
    expect_numbers(200);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- the mark --- */

static int folder_syncs;

static int counting_fsync(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    folder_syncs += S_ISDIR(st.st_mode);
    return fsync(fd);
}

/* A process may have been killed between making the file and syncing the folder. */
START_TEST(the_name_of_a_mark_is_synced_by_who_finds_it)
{
    struct mark_file file;
    struct mark mark = {.flushed = 1000}, got;

    ck_assert_int_eq(mark_open(&file, in_dir("flushed"), &got), MARK_NONE);
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    mark_close(&file);
    ops.fsync = counting_fsync;
    file_ops_set(&ops);
    ck_assert_int_eq(mark_open(&file, in_dir("flushed"), &got), 0);
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    ck_assert_int_eq(folder_syncs, 1);
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    ck_assert_int_eq(folder_syncs, 1);
    mark_close(&file);
}
END_TEST

START_TEST(the_newest_whole_slot_of_the_mark_counts)
{
    struct mark_file file;
    struct mark mark = {.flushed = 1000, .queues_complete_to = 900, .store_ms = 77}, got;
    const char *path = in_dir("flushed");

    ck_assert_int_eq(mark_open(&file, path, &got), MARK_NONE);
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    mark.flushed = 2000;
    mark.clean = true;
    mark.tail_crc = 0xCAFE;
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    mark_close(&file);
    ck_assert_int_eq(mark_open(&file, path, &got), 0);
    ck_assert_uint_eq(got.flushed, 2000);
    ck_assert_uint_eq(got.queues_complete_to, 900);
    ck_assert_int_eq(got.store_ms, 77);
    ck_assert(got.clean);
    ck_assert_uint_eq(got.tail_crc, 0xCAFE);
    mark_close(&file);

    spoil(path, (off_t)(got.sequence & 1) * MARK_SLOT_APART + 20, 0x80); /* the newer one tore */
    ck_assert_int_eq(mark_open(&file, path, &got), 0);
    ck_assert_uint_eq(got.flushed, 1000);
    ck_assert(!got.clean);
    mark.flushed = 3000; /* goes where the torn one is */
    ck_assert_int_eq(mark_write(&file, &mark), 0);
    mark_close(&file);
    ck_assert_int_eq(mark_open(&file, path, &got), 0);
    ck_assert_uint_eq(got.flushed, 3000);
    mark_close(&file);

    spoil(path, 3, 1);
    spoil(path, MARK_SLOT_APART + 3, 1);
    ck_assert_int_eq(mark_open(&file, path, &got), MARK_NONE);
    mark_close(&file);
}
END_TEST

START_TEST(a_mark_that_contradicts_itself_is_none)
{
    uint8_t slot[MARK_SLOT_BYTES];
    struct mark mark = {.sequence = 5, .flushed = 100, .queues_complete_to = 100}, got;

    mark_encode(slot, &mark);
    ck_assert(mark_decode(slot, &got));
    for (int bit = 0; bit < MARK_SLOT_BYTES * 8; bit++) {
        slot[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!mark_decode(slot, &got));
        slot[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    mark.queues_complete_to = 101;
    mark_encode(slot, &mark);
    ck_assert(!mark_decode(slot, &got));
    mark.flushed = UINT64_MAX;
    mark_encode(slot, &mark);
    ck_assert(!mark_decode(slot, &got));
}
END_TEST

START_TEST(without_a_mark_nothing_is_lost)
{
    open_store();
    append_many(0, 500);
    close_as_crashed();
    ck_assert_int_eq(unlink(in_dir("tern/flushed")), 0);
    open_store();
    expect_numbers(500);
    ck_assert_uint_eq(stats_now().records_recovered, 500);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(without_a_mark_age_tells_damage_from_what_was_cut)
{
    uint8_t record[1024];
    uint64_t end;
    size_t size;

    open_store();
    append_many(0, 500);
    end = store_end(store);
    close_as_crashed();
    ck_assert_int_eq(unlink(in_dir("tern/flushed")), 0);
    put_in_log(end, "the end of something", 20);
    size = make_record(record, end + 20, 500, clock_wall_ms() + (_i == 0 ? -86400000 : 1000));
    put_in_log(end + 20, record, size);
    open_store();
    if (_i == 0) { /* an older record behind: left there by RocketMQ when it cut its log */
        ck_assert_uint_eq(store_end(store), end);
        ck_assert_uint_eq(stats_now().damaged_records, 0);
        expect_numbers(500);
    } else {
        ck_assert_uint_eq(store_end(store), end + 20 + size);
        ck_assert_uint_eq(stats_now().damaged_records, 1);
        expect_numbers(501);
    }
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static Suite *crash_suite(void)
{
    Suite *suite = suite_create("store crash");
    TCase *crash = tcase_create("crash"), *end = tcase_create("end of the log");
    TCase *mark = tcase_create("mark");
    TCase *cases[] = {crash, end, mark};

    for (int i = 0; i < 3; i++) {
        tcase_add_checked_fixture(cases[i], begin, fixture_end);
        tcase_set_timeout(cases[i], 240);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(crash, acknowledged_messages_survive_sigkill, 0, 2);
    tcase_add_loop_test(crash, what_was_durable_survives_a_power_cut, 0, 2);
    tcase_add_test(crash, a_stop_that_fails_leaves_the_next_start_to_look_at_everything);
    tcase_add_test(crash, queues_that_could_not_be_synced_are_made_anew);
    tcase_add_test(end, a_torn_tail_is_kept_aside_and_zeroed);
    tcase_add_loop_test(end, whole_records_above_the_mark_are_part_of_the_log, 0, 2);
    tcase_add_test(end, an_unclean_log_is_written_again_before_it_counts_as_flushed);
    tcase_add_test(end, a_log_that_cannot_be_written_again_is_not_opened);
    tcase_add_test(end, missing_newest_segments_do_not_stop_the_start);
    tcase_add_test(mark, the_name_of_a_mark_is_synced_by_who_finds_it);
    tcase_add_test(mark, the_newest_whole_slot_of_the_mark_counts);
    tcase_add_test(mark, a_mark_that_contradicts_itself_is_none);
    tcase_add_test(mark, without_a_mark_nothing_is_lost);
    tcase_add_loop_test(mark, without_a_mark_age_tells_damage_from_what_was_cut, 0, 2);
    return suite;
}

UNIT_MAIN(crash_suite)
