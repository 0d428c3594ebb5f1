/* store_fixture.h - a store in a temporary folder, with small segments so that rolls show, and the
 * few moves that its tests share. One store at a time; each test runs in a process of its own. */
#ifndef TERN_TESTS_STORE_FIXTURE_H
#define TERN_TESTS_STORE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/store/store.h"
#include "common/clock.h"
#include "common/file.h"
#include "files.h"
#include "unit.h"

enum { DEADLINE_MS = 60000 }; /* for what must happen, however slow the machine is */

static char dir[256];
static struct metadata *metadata;
static struct store *store;
static struct store_options options;
static struct topic *topic; /* "Orders", 4 queues */

static pthread_mutex_t progress_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progressed = PTHREAD_COND_INITIALIZER;

static void on_progress(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&progress_lock);
    pthread_cond_broadcast(&progressed);
    pthread_mutex_unlock(&progress_lock);
}

static inline const char *in_dir(const char *name)
{
    static char paths[4][640];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static inline void fixture_begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/tern-store-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    options = (struct store_options){
        .root_dir = dir,
        .segment_bytes = 65536,
        .queue_file_bytes = 2000,
        .flush_interval_ms = 20,
        .record_crc = true,
        .message_max = 16384,
        .tail_bytes = 262144,
        .queue_memory = 4 << 20,
        .queue_descriptors = 16,
        .reader_threads = 2,
        .scrub_bytes_s = 1 << 30,
        .store_host = {.ip = {127, 0, 0, 1}, .port = 10911},
        .delay_ms = {1000, 5000, 10000},
        .delay_levels = 3,
        .on_progress = on_progress,
    };
}

static inline void fixture_end(void)
{
    file_ops_set(NULL);
    remove_tree(dir);
}

static inline int try_open(struct err *err)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    uint64_t sequence;
    int r;

    ck_assert_msg(metadata_open(&metadata, &m, err) == 0, "%s", err->text);
    options.metadata = metadata;
    r = store_open(&store, &options, err);
    if (r < 0) {
        metadata_close(metadata);
        return r;
    }
    ck_assert_msg(metadata_start(metadata, err) == 0, "%s", err->text);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    if (!topic)
        ck_assert_int_eq(
            metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, 0, &sequence, NULL, &topic),
            0);
    return 0;
}

static inline void open_store(void)
{
    struct err err = {0};

    ck_assert_msg(try_open(&err) == 0, "%s", err.text);
}

static inline int close_store(void)
{
    int r = store_close(store);

    store = NULL;
    ck_assert_int_eq(metadata_close(metadata), 0);
    return r;
}

/* A body that says which message it is, `size` bytes long. */
static inline void fill_body(char *body, size_t size, const char *what, int64_t number)
{
    int n = snprintf(body, size, "%s %lld.", what, (long long)number);

    for (size_t i = (size_t)n; i < size; i++)
        body[i] = (char)('a' + (i + (size_t)number) % 26);
}

static inline struct store_message message(int32_t queue_id, const char *body, size_t size)
{
    return (struct store_message){
        .topic = topic,
        .queue_id = queue_id,
        .born_ms = 1700000000000,
        .born_host = {.ip = {127, 0, 0, 1}, .port = 40000},
        .body = bytes_of(body, size),
        .properties = BYTES_LIT("UNIQ_KEY\1"
                                "7F000001\2"
                                "TAGS\1"
                                "TagA"),
        .tags_code = 2598919,
    };
}

/* Appends message `number` of `size` body bytes; nothing is written yet. */
static inline int append_sized(int32_t queue_id, int64_t number, size_t size,
                               struct store_position *position)
{
    char *body = malloc(size);
    int r;

    ck_assert_ptr_nonnull(body);
    fill_body(body, size, "message", number);
    struct store_message m = message(queue_id, body, size);
    r = store_append(store, &m, 1, position, NULL);
    free(body);
    return r;
}

static inline struct store_position append(int32_t queue_id, int64_t number)
{
    struct store_position position;
    int r;

    do
        r = append_sized(queue_id, number, 100, &position);
    while (r == STORE_BUSY); /* a disk that takes long keeps the memory for what is on its way */
    ck_assert_int_eq(r, 0);
    return position;
}

/* Waits until the gate is open for `log_end`; false when the store has stopped instead. */
static inline bool wait_confirmed(uint64_t log_end)
{
    struct timespec until;
    char reason[160];

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&progress_lock);
    while (store_confirmed(store) < log_end && !store_stopped(store, reason)) {
        int r = pthread_cond_timedwait(&progressed, &progress_lock, &until);
        ck_assert_int_eq(r, 0);
    }
    pthread_mutex_unlock(&progress_lock);
    return store_confirmed(store) >= log_end;
}

/* `count` messages with numbers from `first` on to queue 0..3 in turn, written and confirmed. */
static inline void append_many(int64_t first, int64_t count)
{
    struct store_position position = {0};

    for (int64_t i = 0; i < count; i++) {
        position = append((int32_t)((first + i) % 4), first + i);
        if (i % 16 == 15)
            store_write(store);
    }
    store_write(store);
    ck_assert(wait_confirmed(position.log_end));
}

/* Waits for a state that nobody announces. */
static inline bool wait_until(bool (*is)(void))
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    struct timespec pause = {.tv_nsec = 1000000};

    while (!is()) {
        if (clock_mono_ms() > deadline)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* --- reading --- */

/* One pull as a client's loop makes it: the records from `offset` on, added to out. */
static inline struct store_got pull(struct topic *of, int32_t queue_id, int64_t offset,
                                    struct buf *out)
{
    struct store_found *found = malloc(sizeof(*found));
    struct store_get get = {.queue = store_queue(store, of, queue_id),
                            .offset = offset,
                            .max_messages = 32,
                            .may_block = true};
    struct store_got got;
    int64_t bad = -1;

    ck_assert_ptr_nonnull(found);
    store_find(store, &get, found);
    if (found->got.status == STORE_GET_FOUND) {
        size_t before = out->len;
        int r = store_fill(store, found, out, true, &bad);
        if (r == STORE_REPAIRING && bad == offset) {
            found->got.status = STORE_GET_REPAIRING;
            found->got.next_offset = offset;
            found->got.bytes = 0;
        } else if (r == -EBADMSG && bad == offset) { /* a damaged record: stepped over */
            found->got.next_offset = bad + 1;
            found->got.bytes = 0;
        } else if (r == -EBADMSG || r == STORE_REPAIRING) { /* what is before it */
            get.max_messages = (int)(bad - offset);
            store_find(store, &get, found);
            r = store_fill(store, found, out, true, &bad);
        }
        ck_assert(r == 0 || found->got.bytes == 0);
        ck_assert_uint_eq(out->len - before, found->got.bytes);
    }
    got = found->got;
    free(found);
    return got;
}

/* All records of a queue: calls each() for every one; returns how many. Gaps are stepped over. */
static inline int64_t read_queue(struct topic *of, int32_t queue_id,
                                 void (*each)(const struct record *r, void *ctx), void *ctx)
{
    struct queue_range range = store_range(store, store_queue(store, of, queue_id));
    int64_t offset = range.min, count = 0;
    struct buf out = {0};

    while (offset < range.max) {
        struct store_got got = pull(of, queue_id, offset, &out);
        struct bytes left = buf_bytes(&out);
        ck_assert_int_gt(got.next_offset, offset);
        while (left.len > 0) {
            struct record r;
            ck_assert_int_eq(record_decode(left, &r), 0);
            left = bytes_of(left.at + r.total_size, left.len - r.total_size);
            count++;
            if (each)
                each(&r, ctx);
        }
        buf_reset(&out);
        offset = got.next_offset;
    }
    buf_destroy(&out);
    return count;
}

/* The number in a body made by fill_body(), whose every byte is checked. */
static inline int64_t number_in(const struct record *r)
{
    char expected[32768];
    int64_t number;

    ck_assert_uint_gt(r->body.len, 8);
    ck_assert_uint_le(r->body.len, sizeof(expected));
    ck_assert_int_eq(memcmp(r->body.at, "message ", 8), 0);
    number = strtoll((const char *)r->body.at + 8, NULL, 10);
    fill_body(expected, r->body.len, "message", number);
    ck_assert(bytes_equal(r->body, bytes_of(expected, r->body.len)));
    return number;
}

static inline void check_number(const struct record *r, void *ctx)
{
    int64_t *next = ctx;

    ck_assert_int_eq(number_in(r), *next);
    *next += 4;
}

/* Numbers below `end` that append_many() gave out are all there, in order, nothing else. */
static inline void expect_numbers(int64_t end)
{
    for (int32_t q = 0; q < 4; q++) {
        int64_t next = q;
        read_queue(topic, q, check_number, &next);
        ck_assert_int_ge(next, end);
        ck_assert_int_lt(next, end + 4);
    }
}

/* Flips bits of one byte of a file. */
static inline void spoil(const char *path, off_t at, uint8_t bits)
{
    int fd = file_open(path, O_RDWR, 0);
    uint8_t byte;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(file_read_all(fd, &byte, 1, at), 0);
    byte ^= bits;
    ck_assert_int_eq(file_write_all(fd, &byte, 1, at), 0);
    file_close(fd);
}

static inline const char *segment_path(uint64_t offset)
{
    char name[64];

    snprintf(name, sizeof(name), "commitlog/%020llu",
             (unsigned long long)(offset / (uint64_t)options.segment_bytes *
                                  (uint64_t)options.segment_bytes));
    return in_dir(name);
}

/* The same for a byte of the log. */
static inline void spoil_log(uint64_t offset, uint8_t bits)
{
    spoil(segment_path(offset), (off_t)(offset % (uint64_t)options.segment_bytes), bits);
}

#endif
