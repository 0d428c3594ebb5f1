/* test_store_recovery.c - what is there again after a crash, after damage, and from RocketMQ. */
#include "store_fixture.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "broker/store/store_mark.h"

static struct file_ops ops;

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
}

/* A crash seen from the next start: abort is there. The log's end is above what the mark covers or
 * not, as the test made it. */
static void close_as_crashed(void)
{
    ck_assert_int_eq(close_store(), 0);
    ck_assert_int_eq(abort_create(in_dir("abort")), 0);
}

static struct store_stats stats_now(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats;
}

/* Names in tern/ that begin with `prefix`; the first is put into `first`. */
static int count_in_tern(const char *prefix, char first[256])
{
    struct file_list list;
    int count = 0;

    ck_assert_int_eq(file_list(in_dir("tern"), &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.names[i], prefix, strlen(prefix)) != 0)
            continue;
        if (count++ == 0 && first)
            snprintf(first, 256, "%s", list.names[i]);
    }
    file_list_free(&list);
    return count;
}

/* Puts bytes into the log's file, behind the store's back. */
static void put_in_log(uint64_t offset, const void *bytes, size_t n)
{
    int fd = file_open(segment_path(offset), O_RDWR, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        file_write_all(fd, bytes, n, (off_t)(offset % (uint64_t)options.segment_bytes)), 0);
    file_close(fd);
}

/* A whole record as it would stand at `offset`: message `number`, the next of its queue. */
static size_t make_record(uint8_t *to, uint64_t offset, int64_t number, int64_t store_ms)
{
    char body[100];
    struct record r = {
        .queue_id = (int32_t)(number % 4),
        .topic = BYTES_LIT("Orders"),
        .store_host = options.store_host,
        .born_host = options.store_host,
        .body = bytes_of(body, sizeof(body)),
    };

    fill_body(body, sizeof(body), "message", number);
    record_encode(to, &r, true);
    record_seal(to, load_be32(to), number / 4, (int64_t)offset, store_ms, true);
    return load_be32(to);
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
        else if (!wait_until(all_durable)) /* no need to hurry */
            _exit(3);
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

/* --- damage --- */

static struct store_position places[1000];

static void append_known(int64_t count)
{
    open_store();
    for (int64_t i = 0; i < count; i++)
        places[i] = append((int32_t)(i % 4), i);
    store_write(store);
    ck_assert_int_eq(close_store(), 0);
}

static void mark_seen(const struct record *r, void *ctx)
{
    bool *seen = ctx;
    int64_t number = number_in(r);

    ck_assert_int_lt(number, 1000);
    ck_assert(!seen[number]);
    ck_assert_int_eq(r->queue_id, number % 4);
    ck_assert_int_eq(r->queue_offset, number / 4);
    seen[number] = true;
}

/* All of the first `count` messages but those in the list (ended by -1) are there. */
static void expect_all_but(int64_t count, const int64_t *lost)
{
    bool seen[1000] = {false};

    for (int32_t q = 0; q < 4; q++)
        read_queue(topic, q, mark_seen, seen);
    for (; *lost >= 0; lost++) {
        ck_assert(!seen[*lost]);
        seen[*lost] = true;
    }
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(seen[i], "message %" PRId64 " is lost", i);
}

/* With their queue files gone the whole log is read at the next start. */
static void open_scanning(void)
{
    remove_tree(in_dir("consumequeue"));
    open_store();
}

START_TEST(damage_below_the_mark_is_stepped_over_and_never_cut)
{
    static const struct {
        int64_t number;
        int at;
    } rows[] = {
        {100, 120}, /* body */
        {101, 1},   /* size: far too large */
        {102, 3},   /* size: a little off */
        {103, 4},   /* magic */
        {104, 30},  /* its own offset */
        {105, 16},  /* a field that only the whole checksum covers */
        {106, 200}, /* properties or their checksum */
    };
    struct buf out = {0};
    struct record r;
    uint64_t end;

    append_known(1000);
    end = places[999].log_end;
    spoil_log(places[rows[_i].number].log_offset + (uint64_t)rows[_i].at, 0x11);
    open_scanning();
    ck_assert_uint_eq(store_end(store), end);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_uint_eq(stats_now().records_recovered, 999);
    expect_all_but(1000, (int64_t[]){rows[_i].number, -1});
    ck_assert_int_eq(store_read_record(store, places[rows[_i].number].log_offset, &out, &r),
                     -ENOENT);
    buf_destroy(&out);
    ck_assert_int_eq(count_in_tern("cut-", NULL), 0);
    struct store_position p = append(0, 1000);
    ck_assert_uint_eq(p.log_offset, end);
    ck_assert_int_eq(p.queue_offset, 250);
    store_write(store);
    close_as_crashed();
    open_scanning(); /* damaged as before, and as long */
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_uint_eq(store_end(store), p.log_end);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(damage_at_the_edges_of_segments_is_stepped_over)
{
    int64_t first = 0, last = 0;

    append_known(1000);
    while (places[first].log_offset < 65536)
        first++;
    last = first - 1;
    spoil_log(places[last].log_offset + 4, 0xFF);
    spoil_log(places[first].log_offset + 4, 0xFF);
    spoil_log(places[last].log_end + 4, 0xFF); /* the blank record */
    open_scanning();
    expect_all_but(1000, (int64_t[]){last, first, -1});
    ck_assert_uint_eq(stats_now().damaged_records, 2); /* the blank belongs to the first of them */
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_segment_of_zeroes_is_stepped_over)
{
    static const uint8_t zeroes[65536];
    int64_t first = 0, behind = 0;
    int64_t lost[1001];

    append_known(1000);
    while (places[first].log_offset < 65536)
        first++;
    while (places[behind].log_offset < 2 * 65536)
        behind++;
    put_in_log(65536, zeroes, sizeof(zeroes));
    open_scanning();
    for (int64_t i = first; i < behind; i++)
        lost[i - first] = i;
    lost[behind - first] = -1;
    expect_all_but(1000, lost);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(damage_found_while_reading_is_not_served)
{
    struct store_get get = {.max_messages = 32, .may_block = true};
    struct store_found *found = malloc(sizeof(*found));
    struct buf out = {0};
    int64_t bad = -1;

    ck_assert_ptr_nonnull(found);
    options.scrub_bytes_s = 0; /* it may not find it first */
    append_known(200);
    spoil_log(places[40].log_offset + 100, 1); /* body of queue 0's message 10 */
    open_store();                              /* a clean start: nothing was scanned */
    ck_assert_uint_eq(stats_now().records_recovered, 0);
    get.queue = store_queue(store, topic, 0);
    store_find(store, &get, found);
    ck_assert_int_eq(found->got.status, STORE_GET_FOUND);
    buf_add_str(&out, "before");
    ck_assert_int_eq(store_fill(store, found, &out, true, &bad), -EBADMSG);
    ck_assert_int_eq(bad, 10);
    ck_assert_uint_eq(out.len, 6);
    get.offset = 11;
    store_find(store, &get, found);
    ck_assert_int_eq(store_fill(store, found, &out, true, &bad), 0);
    buf_destroy(&out);
    free(found);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* Zeroes the last bytes of a record but one, which makes its checksum something else. */
static void lose_checksum(uint64_t log_end)
{
    uint8_t zeroes[18] = {0};

    put_in_log(log_end - 19, zeroes, sizeof(zeroes));
}

/* In a log that also has records without checksums of their own, a record that has lost it can be
 * told from these: the mark knows from where on all have one. */
START_TEST(a_record_that_lost_its_checksum_is_damage_where_all_have_one)
{
    struct store_position p[3];
    struct buf out = {0};
    struct record r;

    options.scrub_bytes_s = 0;
    options.record_crc = false;
    open_store();
    p[0] = append(0, 0);
    ck_assert_int_eq(close_store(), 0);
    options.record_crc = true;
    open_store();
    p[1] = append(0, 4);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    p[2] = append(0, 8);
    ck_assert_int_eq(close_store(), 0);
    for (int crash = 0; crash < 2; crash++) {
        if (crash)
            ck_assert_int_eq(abort_create(in_dir("abort")), 0);
        open_store();
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(store_read_record(store, p[i].log_offset, &out, &r), 0);
        ck_assert_int_eq(close_store(), 0);
    }
    lose_checksum(p[1].log_end);
    open_store();
    ck_assert_int_eq(store_read_record(store, p[1].log_offset, &out, &r), -ENOENT);
    ck_assert_int_eq(read_queue(topic, 0, NULL, NULL), 2);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
    remove_tree(in_dir("consumequeue")); /* so that the log is read */
    ck_assert_int_eq(file_mkdir(in_dir("consumequeue")), 0);
    open_store();
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
    buf_destroy(&out);
}
END_TEST

static void spoil_something(unsigned *random)
{
    char path[1024], child[1024];
    struct file_list list;
    struct stat st;

    snprintf(path, sizeof(path), "%s", dir);
    while (file_list(path, &list) == 0) {
        if (list.count == 0)
            return;
        int n = snprintf(child, sizeof(child), "%s/%s", path,
                         list.names[(unsigned)rand_r(random) % list.count]);
        file_list_free(&list);
        if (n >= (int)sizeof(child) || strstr(child, "/config") || strstr(child, "/tern/meta"))
            return; /* metadata has tests of its own */
        memcpy(path, child, sizeof(path));
    }
    if (stat(path, &st) != 0 || st.st_size == 0)
        return;
    /* Half of the flips hit the front, where headers are. */
    off_t size = rand_r(random) % 2 && st.st_size > 256 ? 256 : st.st_size;
    spoil(path, rand_r(random) % size, (uint8_t)(1 << rand_r(random) % 8));
}

static bool no_repair_waits(void)
{
    return stats_now().repairs_waiting == 0;
}

/* Reads like a client that takes what it can get. */
static void read_tolerantly(int32_t queue_id)
{
    struct store_found *found = malloc(sizeof(*found));
    struct buf out = {0};
    struct store_get get = {
        .queue = store_queue(store, topic, queue_id), .max_messages = 32, .may_block = true};
    struct queue_range range = store_range(store, get.queue);
    int64_t bad;

    ck_assert_ptr_nonnull(found);
    for (get.offset = range.min; get.offset < range.max;) {
        buf_reset(&out);
        store_find(store, &get, found);
        int64_t next = found->got.next_offset;
        int r =
            found->got.status == STORE_GET_FOUND ? store_fill(store, found, &out, true, &bad) : 0;
        if (found->got.status == STORE_GET_REPAIRING || r == STORE_REPAIRING) {
            ck_assert(wait_until(no_repair_waits));
            continue;
        }
        if (r == -EBADMSG)
            next = bad + 1;
        ck_assert_int_gt(next, get.offset);
        get.offset = next;
    }
    for (int64_t ms = 0; ms < INT64_MAX / 4; ms = ms * 3 + 1)
        store_offset_by_time(store, get.queue, ms, (enum store_boundary)(ms % 3));
    store_earliest_ms(store);
    buf_destroy(&out);
    free(found);
}

START_TEST(no_flipped_bit_crashes_a_start)
{
    unsigned random = (unsigned)_i + 1;
    struct err err;
    int opened = 0;

    append_known(600);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i <= round % 4; i++)
            spoil_something(&random);
        if (round % 2 == 0)
            ck_assert_int_ge(abort_create(in_dir("abort")), 0);
        if (round % 3 == 0)
            remove_tree(in_dir("consumequeue"));
        err = (struct err){0};
        if (try_open(&err) < 0) { /* refused with a sentence is fine */
            ck_assert_uint_gt(strlen(err.text), 0);
            break;
        }
        opened++;
        for (int32_t q = 0; q < 4; q++)
            read_tolerantly(q);
        struct store_position p;
        ck_assert_int_eq(append_sized(round % 4, round, 100, &p), 0);
        store_write(store);
        ck_assert(wait_confirmed(p.log_end));
        close_store();
    }
    ck_assert_int_gt(opened, 0);
}
END_TEST

/* --- queues and topics --- */

START_TEST(deleted_queue_files_are_made_again)
{
    /* After a clean stop and after a crash; all of them, or those of one queue. */
    bool crashed = _i & 1, one = _i & 2;

    open_store();
    append_many(0, 700);
    if (crashed || one)
        close_as_crashed();
    else
        ck_assert_int_eq(close_store(), 0);
    if (one) {
        uint8_t record[1024];
        uint64_t end;
        /* A record above the mark shows that its queue lacks what was before. */
        open_store();
        end = store_end(store);
        close_as_crashed();
        for (int64_t number = 700; number < 704; number++) {
            size_t size = make_record(record, end, number, clock_wall_ms());
            put_in_log(end, record, size);
            end += size;
        }
        remove_tree(in_dir("consumequeue/Orders/2"));
    } else {
        remove_tree(in_dir("consumequeue"));
    }
    open_store();
    ck_assert_uint_ge(stats_now().records_recovered, 700);
    expect_numbers(one ? 704 : 700);
    append_many(one ? 704 : 700, 40);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    expect_numbers(one ? 744 : 740);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(lost_topics_come_back_from_their_messages)
{
    struct topic_config config;
    char body[64];
    struct store_position p;
    struct topic *retry;
    uint64_t sequence;

    open_store();
    append_many(0, 100);
    config = (struct topic_config){.read_queues = 1, .write_queues = 1, .perm = 6};
    ck_assert_int_eq(
        metadata_topic_put(metadata, BYTES_LIT("%RETRY%G"), &config, 0, &sequence, NULL, &retry),
        0);
    fill_body(body, sizeof(body), "message", 5);
    struct store_message m = message(0, body, sizeof(body));
    m.topic = retry;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    m = message(9, body, sizeof(body)); /* more queues than a topic has by default */
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    store_write(store);
    if (_i & 1)
        close_as_crashed();
    else
        ck_assert_int_eq(close_store(), 0);
    remove_tree(in_dir("config"));
    remove_tree(in_dir("tern/meta"));
    if (_i & 2)
        remove_tree(in_dir("consumequeue"));

    open_store();
    ck_assert_ptr_nonnull(metadata_topic(metadata, BYTES_LIT("Orders"), &config));
    ck_assert_int_eq(config.read_queues, 10);
    ck_assert_int_eq(config.write_queues, 10);
    ck_assert_int_eq(config.perm, 6);
    retry = metadata_topic(metadata, BYTES_LIT("%RETRY%G"), &config);
    ck_assert_ptr_nonnull(retry);
    ck_assert_int_eq(config.read_queues, 1);
    expect_numbers(100);
    ck_assert_int_eq(read_queue(retry, 0, NULL, NULL), 1);
    ck_assert_int_eq(read_queue(topic, 9, NULL, NULL), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static uint64_t awaited;

static bool metadata_is_durable(void)
{
    return metadata_durable(metadata) >= awaited;
}

START_TEST(deleted_topics_stay_deleted)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};

    open_store();
    append_many(0, 100);
    ck_assert_int_eq(
        metadata_topic_delete(metadata, BYTES_LIT("Orders"), store_end(store), true, &awaited), 0);
    ck_assert(wait_until(metadata_is_durable));
    if (_i & 1) /* else the crash came before the files went */
        ck_assert_int_eq(store_drop_topic(store, topic), 0);
    if (_i & 2) { /* made again, with messages of its own */
        if (!(_i & 1))
            ck_assert_int_eq(store_drop_topic(store, topic), 0);
        ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config,
                                            store_end(store), &awaited, NULL, &topic),
                         0);
        append_many(0, 8);
        ck_assert(wait_until(metadata_is_durable));
    }
    if (close_store() == 0)
        ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    else
        ck_assert(exists(in_dir("abort"))); /* a stop is not clean with the queues still there */
    if (_i & 4)
        remove_tree(in_dir("consumequeue"));

    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct err err = {0};
    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    ck_assert_int_eq(store_open(&store, &options, &err), 0);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    if (_i & 2) {
        ck_assert_ptr_nonnull(topic);
        expect_numbers(8);
    } else {
        ck_assert_ptr_null(topic);
        ck_assert(!exists(in_dir("consumequeue/Orders")));
    }
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static void copy_folder(const char *from, const char *to)
{
    struct file_list list;
    char a[800], b[800];

    ck_assert_int_eq(file_mkdirs(to), 0);
    ck_assert_int_eq(file_list(from, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct buf content = {0};
        snprintf(a, sizeof(a), "%s/%s", from, list.names[i]);
        snprintf(b, sizeof(b), "%s/%s", to, list.names[i]);
        int fd = file_open(b, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_load(a, 1 << 20, &content), 0);
        ck_assert_int_eq(file_write_all(fd, buf_at(&content), content.len, 0), 0);
        file_close(fd);
        buf_destroy(&content);
    }
    file_list_free(&list);
}

static void open_without_topic(void)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct err err = {0};

    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    ck_assert_int_eq(store_open(&store, &options, &err), 0);
}

/* A send makes a topic anew, and is answered when its message is flushed: the journal may be
 * behind, and when it cannot be written even far behind, with the queues on the disk. */
START_TEST(messages_of_a_topic_made_anew_do_not_need_the_journal)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};

    open_store();
    append_many(0, 100);
    ck_assert_int_eq(
        metadata_topic_delete(metadata, BYTES_LIT("Orders"), store_end(store), true, &awaited), 0);
    ck_assert(wait_until(metadata_is_durable));
    ck_assert_int_eq(store_drop_topic(store, topic), 0);
    ck_assert_int_eq(close_store(), 0);
    copy_folder(in_dir("tern/meta"), in_dir("meta-then"));
    copy_folder(in_dir("config"), in_dir("config-then"));

    open_without_topic();
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, store_end(store),
                                        &awaited, NULL, &topic),
                     0);
    append_many(0, 40);
    close_as_crashed();
    if (_i & 1)
        remove_tree(in_dir("consumequeue"));
    remove_tree(in_dir("tern/meta"));
    remove_tree(in_dir("config"));
    copy_folder(in_dir("meta-then"), in_dir("tern/meta"));
    copy_folder(in_dir("config-then"), in_dir("config"));

    open_without_topic();
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_ptr_nonnull(topic);
    expect_numbers(40);
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

/* --- from RocketMQ --- */

static void unpack(const char *archive)
{
    char command[1024];

    snprintf(command, sizeof(command),
             "tar -xJf '%s/../../../data/rocketmq-store/%s.tar.xz' -C '%s'", TERN_TEST_VECTORS,
             archive, dir);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void expect_sent_row(char *row)
{
    char *field[8] = {NULL}, *save = NULL;
    struct buf out = {0};
    struct queue_entry e;
    struct record r;
    int n = 0;

    for (char *at = strtok_r(row, "\t\n", &save); at && n < 8; at = strtok_r(NULL, "\t\n", &save))
        field[n++] = at;
    if (n < 5 || strcmp(field[0], "delay") == 0 || strcmp(field[0], "sql") == 0 ||
        strcmp(field[0], "tx") == 0)
        return;
    struct topic *of = metadata_topic(metadata, bytes_str(field[1]), NULL);
    ck_assert_ptr_nonnull(of);
    uint32_t queue = store_queue(store, of, atoi(field[2]));
    ck_assert_int_eq(store_entry(store, queue, atoll(field[3]), &e), 0);
    ck_assert_int_eq(store_read_record(store, (uint64_t)e.log_offset, &out, &r), 0);
    ck_assert_int_eq(r.queue_id, atoi(field[2]));
    ck_assert_int_eq(r.queue_offset, atoll(field[3]));
    ck_assert_uint_eq(r.total_size, (uint32_t)e.size);
    if (strcmp(field[0], "sent") == 0) {
        struct record_host host;
        int64_t offset;
        ck_assert_int_eq(record_id_parse(bytes_str(field[5]), &host, &offset), 0);
        ck_assert_int_eq(offset, e.log_offset);
        ck_assert(bytes_is(r.body, n > 6 ? field[6] : ""));
        ck_assert_int_eq(host.port, r.store_host.port);
    }
    buf_destroy(&out);
}

static void expect_sent(int expected)
{
    FILE *f = fopen(in_dir("sent.tsv"), "re");
    char *line = NULL;
    size_t cap = 0;
    int rows = 0;

    ck_assert_ptr_nonnull(f);
    while (getline(&line, &cap, f) > 0) {
        rows += strncmp(line, "sent\t", 5) == 0;
        expect_sent_row(line);
    }
    free(line);
    fclose(f);
    ck_assert_int_eq(rows, expected);
}

START_TEST(a_directory_from_rocketmq_opens_with_every_message)
{
    static const struct {
        const char *archive;
        int rows;
    } from[] = {{"clean49", 1600}, {"killed49", 1200}};
    static char root[300];
    struct topic *retry;
    uint64_t end;

    unpack(from[_i].archive);
    snprintf(root, sizeof(root), "%s/store", dir);
    options.segment_bytes = 131072;
    struct metadata_options m = {.root_dir = root, .export_interval_ms = 1000};
    options.root_dir = root;
    for (int round = 0; round < 3; round++) {
        struct err err = {0};
        ck_assert_msg(metadata_open(&metadata, &m, &err) == 0, "%s", err.text);
        options.metadata = metadata;
        ck_assert_msg(store_open(&store, &options, &err) == 0, "%s", err.text);
        ck_assert_int_eq(metadata_start(metadata, &err), 0);
        ck_assert_uint_eq(stats_now().damaged_records, 0);
        if (round == 0)
            ck_assert_uint_gt(stats_now().records_recovered, (uint64_t)from[_i].rows);
        if (round == 1)
            ck_assert_uint_eq(stats_now().records_recovered, 0);
        expect_sent(from[_i].rows);
        retry = metadata_topic(metadata, BYTES_LIT("%RETRY%Fix_G"), NULL);
        ck_assert_ptr_nonnull(retry);
        ck_assert_int_gt(read_queue(retry, 0, NULL, NULL), 0);
        topic = metadata_topic(metadata, BYTES_LIT("FixOrders"), NULL);
        ck_assert_ptr_nonnull(topic);
        end = store_end(store);
        int64_t next = store_range(store, store_queue(store, topic, 2)).max;
        struct store_position p = append(2, 7);
        ck_assert_int_eq(p.queue_offset, next);
        ck_assert_uint_ge(p.log_offset, end);
        store_write(store);
        if (round ==
            1) { /* and once more without what we keep: as if it came from RocketMQ again */
            char path[400];
            ck_assert_int_eq(close_store(), 0);
            snprintf(path, sizeof(path), "%s/tern", root);
            remove_tree(path);
            snprintf(path, sizeof(path), "%s/consumequeue", root);
            remove_tree(path);
        } else {
            ck_assert_int_eq(close_store(), 0);
        }
    }
}
END_TEST

static Suite *recovery_suite(void)
{
    Suite *suite = suite_create("store recovery");
    TCase *crash = tcase_create("crash"), *end = tcase_create("end of the log");
    TCase *damage = tcase_create("damage"), *followers = tcase_create("queues and topics");
    TCase *mark = tcase_create("mark"), *rocketmq = tcase_create("RocketMQ");
    TCase *cases[] = {crash, end, damage, followers, mark, rocketmq};

    for (int i = 0; i < 6; i++) {
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
    tcase_add_loop_test(damage, damage_below_the_mark_is_stepped_over_and_never_cut, 0, 7);
    tcase_add_test(damage, damage_at_the_edges_of_segments_is_stepped_over);
    tcase_add_test(damage, a_segment_of_zeroes_is_stepped_over);
    tcase_add_test(damage, damage_found_while_reading_is_not_served);
    tcase_add_test(damage, a_record_that_lost_its_checksum_is_damage_where_all_have_one);
    tcase_add_loop_test(damage, no_flipped_bit_crashes_a_start, 0, 8);
    tcase_add_loop_test(followers, deleted_queue_files_are_made_again, 0, 4);
    tcase_add_loop_test(followers, lost_topics_come_back_from_their_messages, 0, 4);
    tcase_add_loop_test(followers, deleted_topics_stay_deleted, 0, 8);
    tcase_add_loop_test(followers, messages_of_a_topic_made_anew_do_not_need_the_journal, 0, 2);
    tcase_add_test(mark, the_name_of_a_mark_is_synced_by_who_finds_it);
    tcase_add_test(mark, the_newest_whole_slot_of_the_mark_counts);
    tcase_add_test(mark, a_mark_that_contradicts_itself_is_none);
    tcase_add_test(mark, without_a_mark_nothing_is_lost);
    tcase_add_loop_test(mark, without_a_mark_age_tells_damage_from_what_was_cut, 0, 2);
    tcase_add_loop_test(rocketmq, a_directory_from_rocketmq_opens_with_every_message, 0, 2);
    return suite;
}

UNIT_MAIN(recovery_suite)
