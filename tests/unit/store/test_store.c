/* test_store.c - appending, the gate and the veil, and a disk that is slow, full or broken. */
#include "store_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* --- counting allocations: the linker puts these before the library's --- */

static __thread bool counting;
static __thread long allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t n);

void *__wrap_malloc(size_t n)
{
    allocations += counting;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations += counting;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *at, size_t n)
{
    allocations += counting;
    return __real_realloc(at, n);
}

/* --- a disk that waits or fails when told to --- */

static struct file_ops ops;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_closed;
static int at_gate;
static _Atomic int fail_with; /* errno, 0: work */

static void pass_gate(void)
{
    pthread_mutex_lock(&gate_lock);
    at_gate++;
    pthread_cond_broadcast(&gate_moved);
    while (gate_closed)
        pthread_cond_wait(&gate_moved, &gate_lock);
    at_gate--;
    pthread_mutex_unlock(&gate_lock);
}

static void set_gate(bool closed)
{
    pthread_mutex_lock(&gate_lock);
    gate_closed = closed;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate_lock);
    while (at_gate == 0)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static int gated_fdatasync(int fd)
{
    pass_gate();
    return fdatasync(fd);
}

static ssize_t gated_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    pass_gate();
    return pwritev(fd, iov, n, at);
}

static int failing_fdatasync(int fd)
{
    if (fail_with) {
        errno = fail_with;
        return -1;
    }
    return fdatasync(fd);
}

static ssize_t failing_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    if (fail_with) {
        errno = fail_with;
        return -1;
    }
    return pwritev(fd, iov, n, at);
}

static int failing_fallocate(int fd, int mode, off_t at, off_t n)
{
    if (fail_with) {
        errno = fail_with;
        return -1;
    }
    return fallocate(fd, mode, at, n);
}

static void use_ops(void)
{
    file_ops_set(&ops);
}

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
}

/* --- appending --- */

START_TEST(appended_messages_are_read_back_from_their_offsets)
{
    int64_t next[4] = {0}, store_ms = 0;
    uint64_t log_end = 0;

    open_store();
    for (int i = 0; i < 100; i++) {
        struct store_position p = append(i % 4, i);
        ck_assert_uint_eq(p.log_offset, log_end);
        ck_assert_int_eq(p.queue_offset, next[i % 4]++);
        ck_assert_int_ge(p.store_ms, store_ms);
        log_end = p.log_end;
        store_ms = p.store_ms;
    }
    store_write(store);
    ck_assert_uint_eq(store_end(store), log_end);
    ck_assert_uint_eq(store_written(store), log_end);
    expect_numbers(100);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(nothing_is_visible_before_it_is_written)
{
    struct buf out = {0};
    struct record r;

    open_store();
    struct store_position p = append(2, 2);
    ck_assert_uint_eq(store_confirmed(store), 0);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 2)).max, 0);
    ck_assert_int_eq(store_read_record(store, p.log_offset, &out, &r), -ENOENT);
    store_write(store);
    ck_assert_uint_eq(store_confirmed(store), p.log_end);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 2)).max, 1);
    ck_assert_int_eq(store_read_record(store, p.log_offset, &out, &r), 0);
    ck_assert_int_eq(number_in(&r), 2);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_batch_has_consecutive_offsets_in_one_segment)
{
    enum { COUNT = 200 };
    struct store_message messages[COUNT];
    struct store_position p[COUNT];
    char body[COUNT][100];

    open_store();
    for (int round = 0; round < 5; round++) { /* 5 of them need two segments at least */
        for (int i = 0; i < COUNT; i++) {
            fill_body(body[i], sizeof(body[i]), "message", (round * COUNT + i) * 4);
            messages[i] = message(0, body[i], sizeof(body[i]));
        }
        ck_assert_int_eq(store_append(store, messages, COUNT, p, NULL), 0);
        store_write(store);
        ck_assert_uint_eq(p[0].log_offset / 65536, p[COUNT - 1].log_offset / 65536);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_int_eq(p[i].queue_offset, round * COUNT + i);
            if (i > 0)
                ck_assert_uint_eq(p[i].log_offset, p[i - 1].log_end);
        }
    }
    int64_t next = 0;
    ck_assert_int_eq(read_queue(topic, 0, check_number, &next), 5 * COUNT);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(what_is_too_long_is_illegal_and_leaves_no_trace)
{
    static char big[65536];
    struct store_position p, many[5];
    struct store_message m, batch[5];

    memset(big, 'x', sizeof(big));
    open_store();
    m = message(0, big, options.message_max + 1);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), STORE_ILLEGAL);
    m = message(0, big, 10);
    m.properties = bytes_of(big, 32768);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), STORE_ILLEGAL);
    m.properties = bytes_of(big, 32767); /* no room for the checksum */
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), STORE_ILLEGAL);
    m = message(-1, big, 10);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), STORE_ILLEGAL);
    m = message(TOPIC_QUEUES_MAX, big, 10);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), STORE_ILLEGAL);
    for (int i = 0; i < 5; i++)
        batch[i] = message(0, big, options.message_max); /* more than a segment together */
    ck_assert_int_eq(store_append(store, batch, 5, many, NULL), STORE_ILLEGAL);
    ck_assert_uint_eq(store_end(store), 0);

    m = message(0, big, options.message_max);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    ck_assert_int_eq(p.queue_offset, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(large_records_are_stored_like_small_ones)
{
    static const size_t sizes[] = {1, 2000, 8000, 16000, 16384};
    struct store_position p;
    int64_t next = 0;

    open_store();
    for (int64_t i = 0; i < 50; i++) {
        ck_assert_int_eq(append_sized(0, i * 4, sizes[i % 5] < 16 ? 16 : sizes[i % 5], &p), 0);
        store_write(store);
    }
    ck_assert_int_eq(read_queue(topic, 0, check_number, &next), 50);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(prepared_and_rolled_back_messages_enter_no_queue)
{
    struct store_message m;
    struct store_position p;
    struct record r;
    struct buf out = {0};
    char body[64];

    open_store();
    append(0, 0);
    fill_body(body, sizeof(body), "message", 7);
    m = message(0, body, sizeof(body));
    m.sys_flag = RECORD_TRANSACTION_PREPARED;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    ck_assert_int_eq(p.queue_offset, 0);
    store_write(store);
    ck_assert_int_eq(store_read_record(store, p.log_offset, &out, &r), 0);
    ck_assert_int_eq(r.queue_offset, 0);
    m.sys_flag = RECORD_TRANSACTION_ROLLBACK;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    m.sys_flag = RECORD_TRANSACTION_COMMIT;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    ck_assert_int_eq(p.queue_offset, 1);
    store_write(store);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 0)).max, 2);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_delayed_message_has_its_delivery_time_in_its_entry)
{
    static const struct {
        int level;
        int64_t delay;
    } rows[] = {{1, 1000}, {3, 10000}, {99, 10000}};
    struct queue_entry e;

    open_store();
    for (int i = 0; i < 3; i++) {
        struct store_position p;
        struct store_message m = message(1, "late", 4);
        m.delay_level = rows[i].level;
        ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
        store_write(store);
        ck_assert_int_eq(store_entry(store, store_queue(store, topic, 1), i, &e), 0);
        ck_assert_int_eq(e.tags_code, p.store_ms + rows[i].delay);
    }
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(every_full_segment_ends_in_a_blank_record)
{
    static uint8_t segment[65536];
    uint64_t end;

    open_store();
    append_many(0, 2000);
    end = store_end(store);
    ck_assert_uint_gt(end, 5 * sizeof(segment));
    expect_numbers(2000);
    ck_assert_int_eq(close_store(), 0);
    for (uint64_t base = 0; base + sizeof(segment) <= end; base += sizeof(segment)) {
        int fd = file_open(segment_path(base), O_RDONLY, 0);
        size_t at = 0;
        int kind = 0;
        struct record r;
        const char *why;

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_read_all(fd, segment, sizeof(segment), 0), 0);
        file_close(fd);
        for (; kind == 0; at += r.total_size) {
            struct bytes rest = bytes_of(segment + at, sizeof(segment) - at);
            kind = record_decode(rest, &r);
            if (kind == 0)
                ck_assert_int_eq(
                    record_check(&r, bytes_of(rest.at, r.total_size), (int64_t)(base + at), &why),
                    0);
        }
        ck_assert_int_eq(kind, RECORD_BLANK);
        ck_assert_uint_eq(at, sizeof(segment));
    }
}
END_TEST

struct heard {
    int calls;
    uint32_t loops, queue;
    uint64_t log_end;
};

static void hear(void *ctx, uint32_t loops_mask, uint32_t queue, uint64_t log_end)
{
    struct heard *h = ctx;

    h->calls++;
    h->loops = loops_mask;
    h->queue = queue;
    h->log_end = log_end;
}

START_TEST(whoever_waits_on_a_queue_hears_of_its_messages)
{
    struct heard heard = {0};

    open_store();
    store_on_waited(store, hear, &heard);
    uint32_t queue = store_queue_make(store, topic, 3);
    append(3, 0);
    ck_assert_int_eq(heard.calls, 0);
    store_set_waiting(store, queue, 0, true);
    store_set_waiting(store, queue, 5, true);
    append(2, 0);
    ck_assert_int_eq(heard.calls, 0);
    struct store_position p = append(3, 0);
    ck_assert_int_eq(heard.calls, 1);
    ck_assert_uint_eq(heard.loops, 0x21);
    ck_assert_uint_eq(heard.queue, queue);
    ck_assert_uint_eq(heard.log_end, p.log_end);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- gate and veil --- */

START_TEST(sync_mode_shows_nothing_before_it_is_on_the_disk)
{
    struct store_get get = {.max_messages = 32, .may_block = true};
    struct store_found *found = malloc(sizeof(*found));
    struct buf out = {0};
    struct record r;

    ck_assert_ptr_nonnull(found);
    options.sync_flush = true;
    ops.fdatasync = gated_fdatasync;
    use_ops();
    open_store();
    set_gate(true);
    struct store_position p = append(0, 0);
    store_write(store);
    wait_at_gate();
    ck_assert_uint_eq(store_written(store), p.log_end);
    ck_assert_uint_lt(store_confirmed(store), p.log_end);
    get.queue = store_queue(store, topic, 0);
    ck_assert_int_eq(store_range(store, get.queue).max, 0);
    store_find(store, &get, found);
    ck_assert_int_eq(found->got.status, STORE_GET_EMPTY);
    ck_assert_int_eq(store_read_record(store, p.log_offset, &out, &r), -ENOENT);
    ck_assert_int_eq(store_offset_by_time(store, get.queue, p.store_ms, STORE_LOWER), 0);

    set_gate(false);
    ck_assert(wait_confirmed(p.log_end));
    ck_assert_uint_ge(store_flushed(store), p.log_end);
    store_find(store, &get, found);
    ck_assert_int_eq(found->got.status, STORE_GET_FOUND);
    ck_assert_int_eq(store_read_record(store, p.log_offset, &out, &r), 0);
    buf_destroy(&out);
    free(found);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static bool all_flushed(void)
{
    return store_flushed(store) == store_end(store);
}

START_TEST(async_mode_confirms_at_the_write_and_flushes_by_itself)
{
    open_store();
    struct store_position p = append(0, 0);
    store_write(store);
    ck_assert_uint_eq(store_confirmed(store), p.log_end);
    ck_assert(wait_until(all_flushed));
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static bool has_stopped(void)
{
    char reason[160];

    return store_stopped(store, reason) && strlen(reason) > 0;
}

START_TEST(a_failed_flush_is_final_and_reads_go_on)
{
    struct store_position p;
    struct store_stats stats;

    options.sync_flush = _i == 1;
    ops.fdatasync = failing_fdatasync;
    use_ops();
    open_store();
    append_many(0, 40);
    fail_with = EIO;
    p = append(0, 40);
    store_write(store);
    if (options.sync_flush)
        ck_assert(!wait_confirmed(p.log_end));
    ck_assert(wait_until(has_stopped));
    fail_with = 0; /* a disk that works again is not believed */
    ck_assert_int_eq(append_sized(0, 44, 100, &p), STORE_STOPPED);
    store_write(store);
    expect_numbers(options.sync_flush ? 40 : 41);
    store_stats(store, &stats);
    ck_assert_uint_eq(stats.flush_failures, 1);
    ck_assert_int_lt(close_store(), 0);
    ck_assert(exists(in_dir("abort")));

    file_ops_set(NULL);
    open_store();
    expect_numbers(41); /* never acknowledged in sync mode, but nothing was lost after all */
    ck_assert_int_eq(close_store(), 0);
    ck_assert(!exists(in_dir("abort")));
}
END_TEST

START_TEST(a_failed_write_is_final_and_reads_go_on)
{
    struct store_position p;
    char reason[160];

    ops.pwritev = failing_pwritev;
    use_ops();
    open_store();
    append_many(0, 40);
    fail_with = EIO;
    append(0, 40);
    store_write(store);
    ck_assert(store_stopped(store, reason));
    ck_assert_int_eq(append_sized(0, 44, 100, &p), STORE_STOPPED);
    expect_numbers(40);
    ck_assert_int_lt(close_store(), 0);
    fail_with = 0;
    open_store();
    expect_numbers(40);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- a disk without room --- */

static bool has_room(void)
{
    return !store_disk_full(store, NULL);
}

START_TEST(a_full_disk_refuses_writes_and_nothing_else)
{
    struct store_position p;
    int64_t count = 0;
    int r;

    ops.fallocate = failing_fallocate;
    use_ops();
    open_store();
    append_many(0, 4);
    count = 4;
    fail_with = ENOSPC;
    while ((r = append_sized((int32_t)(count % 4), count, 100, &p)) == 0) {
        count++;
        store_write(store);
        ck_assert_int_lt(count, 5000);
    }
    ck_assert_int_eq(r, STORE_NO_SPACE);
    ck_assert(store_disk_full(store, NULL));
    ck_assert_int_eq(append_sized(0, count, 100, &p), STORE_NO_SPACE);
    expect_numbers(count);
    ck_assert_int_eq(metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("G"), 0, 17),
                     0);
    ck_assert_int_eq(metadata_offset(metadata, BYTES_LIT("Orders"), BYTES_LIT("G"), 0), 17);

    fail_with = 0;
    ck_assert(wait_until(has_room)); /* without anybody's append */
    append_many(count, 400);
    expect_numbers(count + 400);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_store_opens_for_reading_on_a_full_disk)
{
    struct store_position p;

    open_store();
    append_many(0, 100);
    ck_assert_int_eq(close_store(), 0);
    ops.fallocate = failing_fallocate;
    fail_with = ENOSPC;
    use_ops();
    open_store();
    expect_numbers(100);
    for (int64_t i = 100; append_sized((int32_t)(i % 4), i, 100, &p) == 0; i++)
        ck_assert_int_lt(i, 5000);
    ck_assert(store_disk_full(store, NULL));
    close_store();
}
END_TEST

/* --- bounds --- */

static int64_t refused_number;

static bool accepted_again(void)
{
    struct store_position p;

    if (append_sized((int32_t)(refused_number % 4), refused_number, 100, &p) != 0)
        return false;
    store_write(store);
    return true;
}

START_TEST(full_memory_for_queue_entries_is_named_and_passes)
{
    struct store_position p;
    const char *full = NULL;
    struct store_message m;
    char body[100];
    int r;

    options.queue_memory = 65536;
    ops.fdatasync = gated_fdatasync;
    use_ops();
    open_store();
    set_gate(true);
    for (refused_number = 0;; refused_number++) {
        fill_body(body, sizeof(body), "message", refused_number);
        m = message((int32_t)(refused_number % 4), body, sizeof(body));
        r = store_append(store, &m, 1, &p, &full);
        if (r != 0)
            break;
        store_write(store);
        ck_assert_int_lt(refused_number, 100000);
    }
    ck_assert_int_eq(r, STORE_BUSY);
    ck_assert_ptr_nonnull(strstr(full, "queue"));
    set_gate(false);
    ck_assert(wait_until(accepted_again));
    expect_numbers(refused_number + 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static void *write_once(void *arg)
{
    (void)arg;
    store_write(store);
    return NULL;
}

START_TEST(a_full_memory_tail_is_named_and_passes)
{
    struct store_position p;
    const char *full = NULL;
    struct store_message m;
    pthread_t writer;
    char body[4000];
    int r = 0;

    ops.pwritev = gated_pwritev;
    use_ops();
    open_store();
    append_many(0, 4);
    set_gate(true);
    append(0, 4);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_once, NULL), 0);
    wait_at_gate();
    for (refused_number = 5; r == 0; refused_number++) {
        fill_body(body, sizeof(body), "message", refused_number);
        m = message((int32_t)(refused_number % 4), body, sizeof(body));
        r = store_append(store, &m, 1, &p, &full);
        ck_assert_int_lt(refused_number, 1000);
    }
    refused_number--;
    ck_assert_int_eq(r, STORE_BUSY);
    ck_assert_str_eq(full, "memory tail");
    set_gate(false);
    pthread_join(writer, NULL);
    ck_assert(wait_until(accepted_again));
    expect_numbers(refused_number + 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(ten_thousand_warm_appends_allocate_nothing)
{
    static char body[128], large[8000];
    struct store_position p[8];
    struct store_message m[8];
    int failed = 0;

    options.segment_bytes = 64 << 20;
    open_store();
    memset(body, 'b', sizeof(body));
    memset(large, 'l', sizeof(large));
    for (int i = 0; i < 20000; i++) {
        counting = i >= 10000;
        for (int k = 0; k < 8; k++)
            m[k] = message(i % 4, body, sizeof(body));
        if (i % 100 == 0) {
            for (int k = 0; k < 4; k++)
                m[k] = message(i % 4, large, sizeof(large)); /* more than fits on the stack */
            failed += store_append(store, m, 4, p, NULL) != 0;
        }
        failed += store_append(store, m, i % 10 == 0 ? 8 : 1, p, NULL) != 0;
        if (i % 8 == 0)
            store_write(store);
    }
    counting = false;
    ck_assert_int_eq(failed, 0);
    ck_assert_int_eq(allocations, 0);
    counting = true;
    ck_assert_int_eq(append_sized(0, 0, 100, p), 0);
    counting = false;
    ck_assert_int_ge(allocations, 1); /* the counter counts: append_sized() makes a body */
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- threads --- */

enum { WRITERS = 4, READERS = 2, EACH = 3000 };

static void *append_all(void *arg)
{
    int32_t queue = (int32_t)(intptr_t)arg;

    for (int i = 0; i < EACH; i++) {
        append(queue, (int64_t)i * 4 + queue);
        if (i % 8 == 7)
            store_write(store);
    }
    store_write(store);
    return NULL;
}

static void *read_all(void *arg)
{
    int64_t offset[WRITERS] = {0};
    struct buf out = {0};
    int done = 0;

    (void)arg;
    while (done < WRITERS) {
        done = 0;
        for (int32_t q = 0; q < WRITERS; q++) {
            if (offset[q] == EACH) {
                done++;
                continue;
            }
            struct store_got got = pull(topic, q, offset[q], &out);
            struct bytes left = buf_bytes(&out);
            while (left.len > 0) {
                struct record r;
                ck_assert_int_eq(record_decode(left, &r), 0);
                ck_assert_int_eq(r.queue_offset, offset[q]);
                ck_assert_int_eq(number_in(&r), offset[q] * 4 + q);
                offset[q]++;
                left = bytes_of(left.at + r.total_size, left.len - r.total_size);
            }
            if (got.status == STORE_GET_FOUND)
                ck_assert_int_eq(got.next_offset, offset[q]);
            buf_reset(&out);
        }
    }
    buf_destroy(&out);
    return NULL;
}

START_TEST(appenders_and_readers_share_the_store)
{
    pthread_t ids[WRITERS + READERS];
    int64_t last;

    options.sync_flush = _i == 1;
    open_store();
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&ids[WRITERS + i], NULL, read_all, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&ids[i], NULL, append_all, (void *)(intptr_t)i), 0);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(ids[i], NULL);
    last = 0;
    ck_assert_int_eq(read_queue(topic, 0, check_number, &last), EACH);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static pthread_mutex_t job_lock = PTHREAD_MUTEX_INITIALIZER;
static int jobs_done;

static void count_job(void *ctx)
{
    (void)ctx;
    pass_gate();
    pthread_mutex_lock(&job_lock);
    jobs_done++;
    pthread_mutex_unlock(&job_lock);
}

START_TEST(reader_threads_take_a_bounded_number_of_jobs_and_run_all_they_took)
{
    int accepted = 0, r;

    open_store();
    set_gate(true);
    while ((r = store_run(store, count_job, NULL)) == 0) {
        accepted++;
        ck_assert_int_lt(accepted, 100000);
    }
    ck_assert_int_eq(r, -EAGAIN);
    set_gate(false);
    ck_assert_int_eq(close_store(), 0);
    ck_assert_int_eq(jobs_done, accepted);
}
END_TEST

/* --- opening and closing --- */

START_TEST(a_clean_stop_spares_the_next_start_its_scan)
{
    struct store_stats stats;

    open_store();
    ck_assert(exists(in_dir("abort")));
    append_many(0, 1000);
    ck_assert_int_eq(close_store(), 0);
    ck_assert(!exists(in_dir("abort")));
    ck_assert(exists(in_dir("tern/queues")));
    open_store();
    ck_assert(!exists(in_dir("tern/queues")));
    store_stats(store, &stats);
    ck_assert_uint_eq(stats.records_recovered, 0);
    ck_assert_uint_eq(stats.queues.queues, 4);
    expect_numbers(1000);
    append_many(1000, 100);
    expect_numbers(1100);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static atomic_bool watching, queues_stood; /* at the first sync of the journal from then on */

static int fdatasync_of_journal(int fd)
{
    char queue[640];

    snprintf(queue, sizeof(queue), "%s/consumequeue/Orders/0", dir);
    if (file_is_in(fd, "/tern/meta/journal-") && atomic_exchange(&watching, false))
        atomic_store(&queues_stood, exists(queue));
    return fdatasync(fd);
}

/* A power cut before the journal has the deletion must find the topic whole. */
START_TEST(queues_of_a_topic_go_once_its_deletion_is_durable)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    struct file_ops noting = file_ops_system;
    uint64_t sequence;

    open_store();
    append_many(0, 1000);
    ck_assert_int_eq(close_store(), 0);
    noting.fdatasync = fdatasync_of_journal;
    file_ops_set(&noting);
    open_store();
    ck_assert(exists(in_dir("consumequeue/Orders/0")));
    atomic_store(&watching, true);
    ck_assert_int_eq(store_delete_topic(store, BYTES_LIT("Orders"), &sequence), 0);
    ck_assert(atomic_load(&queues_stood));
    ck_assert(!exists(in_dir("consumequeue/Orders")));
    ck_assert_int_eq(store_delete_topic(store, BYTES_LIT("Orders"), &sequence), -ENOENT);
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, store_end(store),
                                        &sequence, NULL, &topic),
                     0);
    append_many(0, 100);
    expect_numbers(100);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* Goes on with a topic that was looked up before it went. */
struct stubborn {
    atomic_bool deleted;
    atomic_uint appended;
    uint64_t last_end;
    int r;
};

static void *append_stubbornly(void *arg)
{
    struct stubborn *a = arg;
    struct store_position position;
    bool deleted;

    do {
        deleted = atomic_load(&a->deleted);
        a->r = append_sized(0, 0, 100, &position);
        if (a->r == 0) {
            a->last_end = position.log_end;
            atomic_fetch_add(&a->appended, 1);
        } else {
            store_write(store);
        }
    } while (a->r == STORE_BUSY || (a->r == 0 && !deleted));
    return NULL;
}

START_TEST(a_topic_that_is_deleted_takes_nothing_more_and_all_goes_that_it_took)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    const struct timespec pause = {.tv_nsec = 100000};
    uint64_t sequence;

    open_store();
    for (int i = 0; i < 30; i++) {
        struct stubborn a = {.deleted = false};
        pthread_t id;

        ck_assert_int_eq(pthread_create(&id, NULL, append_stubbornly, &a), 0);
        while (atomic_load(&a.appended) < 10)
            nanosleep(&pause, NULL);
        ck_assert_int_eq(store_delete_topic(store, BYTES_LIT("Orders"), &sequence), 0);
        atomic_store(&a.deleted, true);
        pthread_join(id, NULL);
        ck_assert_int_eq(a.r, STORE_DELETED);
        ck_assert_uint_le(a.last_end, metadata_topic_floor(metadata, BYTES_LIT("Orders")));
        if (i + 1 < 30)
            ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config,
                                                store_end(store), &sequence, NULL, &topic),
                             0);
    }
    ck_assert_int_eq(close_store(), 0);
    open_store();
    ck_assert_uint_eq(store_queue(store, topic, 0), QUEUE_NONE);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(an_empty_store_opens_and_closes)
{
    for (int i = 0; i < 3; i++) {
        open_store();
        ck_assert_uint_eq(store_end(store), 0);
        ck_assert_int_eq(store_earliest_ms(store), -1);
        ck_assert_uint_eq(store_queue(store, topic, 0), QUEUE_NONE);
        ck_assert_int_eq(store_range(store, QUEUE_NONE).max, 0);
        ck_assert_int_eq(close_store(), 0);
    }
}
END_TEST

START_TEST(a_store_in_use_is_refused_by_naming_the_process)
{
    struct err err = {0};
    char expected[400], byte;
    int ready[2], status;
    struct store *other = NULL;

    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        open_store();
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(store_open(&other, &options, &err), -EAGAIN);
    snprintf(expected, sizeof(expected), "store %s is in use by process %d", dir, (int)child);
    ck_assert_str_eq(err.text, expected);
    ck_assert_int_eq(store_lock(dir, &err), -EAGAIN);
    ck_assert_str_eq(err.text, expected);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    close(ready[0]);
    close(ready[1]);
    open_store();
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(several_commit_log_folders_are_refused)
{
    struct err err = {0};

    options.commit_log_dir = "/a,/b";
    ck_assert_int_lt(try_open(&err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "/a,/b"));
}
END_TEST

static Suite *store_suite(void)
{
    Suite *suite = suite_create("store");
    TCase *appending = tcase_create("appending"), *trouble = tcase_create("trouble");
    TCase *threads = tcase_create("threads"), *life = tcase_create("life");
    TCase *cases[] = {appending, trouble, threads, life};

    for (int i = 0; i < 4; i++) {
        tcase_add_checked_fixture(cases[i], begin, fixture_end);
        tcase_set_timeout(cases[i], 120);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_test(appending, appended_messages_are_read_back_from_their_offsets);
    tcase_add_test(appending, nothing_is_visible_before_it_is_written);
    tcase_add_test(appending, a_batch_has_consecutive_offsets_in_one_segment);
    tcase_add_test(appending, what_is_too_long_is_illegal_and_leaves_no_trace);
    tcase_add_test(appending, large_records_are_stored_like_small_ones);
    tcase_add_test(appending, prepared_and_rolled_back_messages_enter_no_queue);
    tcase_add_test(appending, a_delayed_message_has_its_delivery_time_in_its_entry);
    tcase_add_test(appending, every_full_segment_ends_in_a_blank_record);
    tcase_add_test(appending, whoever_waits_on_a_queue_hears_of_its_messages);
    tcase_add_test(appending, sync_mode_shows_nothing_before_it_is_on_the_disk);
    tcase_add_test(appending, async_mode_confirms_at_the_write_and_flushes_by_itself);
    tcase_add_test(appending, ten_thousand_warm_appends_allocate_nothing);
    tcase_add_loop_test(trouble, a_failed_flush_is_final_and_reads_go_on, 0, 2);
    tcase_add_test(trouble, a_failed_write_is_final_and_reads_go_on);
    tcase_add_test(trouble, a_full_disk_refuses_writes_and_nothing_else);
    tcase_add_test(trouble, a_store_opens_for_reading_on_a_full_disk);
    tcase_add_test(trouble, full_memory_for_queue_entries_is_named_and_passes);
    tcase_add_test(trouble, a_full_memory_tail_is_named_and_passes);
    tcase_add_loop_test(threads, appenders_and_readers_share_the_store, 0, 2);
    tcase_add_test(threads, reader_threads_take_a_bounded_number_of_jobs_and_run_all_they_took);
    tcase_add_test(life, a_clean_stop_spares_the_next_start_its_scan);
    tcase_add_test(life, queues_of_a_topic_go_once_its_deletion_is_durable);
    tcase_add_test(life, a_topic_that_is_deleted_takes_nothing_more_and_all_goes_that_it_took);
    tcase_add_test(life, an_empty_store_opens_and_closes);
    tcase_add_test(life, a_store_in_use_is_refused_by_naming_the_process);
    tcase_add_test(life, several_commit_log_folders_are_refused);
    return suite;
}

UNIT_MAIN(store_suite)
