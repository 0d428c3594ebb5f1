/* queue_fixture.h - a table of queues in a temporary folder, topics made by hand, a log that exists
 * only as numbers, and a second reader of queue files that shares no code with the first.
 *
 * The log of these tests has records of RECORD bytes. `log_end` is where the next begins; the entry
 * of a record is known from its log offset and its queue offset, so whatever is read back can be
 * judged by itself.
 */
#ifndef TERN_TESTS_QUEUE_FIXTURE_H
#define TERN_TESTS_QUEUE_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/queue_table.h"
#include "common/file.h"
#include "files.h"
#include "unit.h"

enum { RECORD = 100, UNITS = 100, FILE_BYTES = UNITS * 20, TOPICS = 8 };

static char root[256], queues_dir[300];
static struct queue_table *table;
static struct queue_table_options options;
static pthread_mutex_t append_lock = PTHREAD_MUTEX_INITIALIZER;
static struct topic topics[TOPICS];
static uint64_t log_end;

static inline const char *in_root(const char *name)
{
    static char paths[4][600];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static inline void open_table(void)
{
    struct err err = {0};

    ck_assert_msg(queue_table_new(&table, &options, &err) == 0, "%s", err.text);
}

/* Forgets all that is in memory, as a crash does; topics lose their queues, not their names. */
static inline void reopen_table(void)
{
    table = queue_table_free(table);
    for (int i = 0; i < TOPICS; i++)
        topics[i].extent_count = 0;
    open_table();
}

static inline void name_topic(struct topic *topic, const char *name)
{
    *topic = (struct topic){.index = (uint32_t)(topic - topics), .name_len = (uint8_t)strlen(name)};
    snprintf(topic->name, sizeof(topic->name), "%s", name);
}

static inline void begin(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof(root), "%s/tern-queues-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(queues_dir, sizeof(queues_dir), "%s/consumequeue", root);
    for (int i = 0; i < TOPICS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "Topic%d", i);
        name_topic(&topics[i], name);
    }
    log_end = 0;
    options = (struct queue_table_options){
        .dir = queues_dir,
        .file_bytes = FILE_BYTES,
        .memory_budget = 4 << 20,
        .descriptors = 16,
        .append_lock = &append_lock,
    };
    open_table();
}

static inline void end(void)
{
    file_ops_set(NULL);
    table = queue_table_free(table);
    remove_tree(root);
}

/* --- queues and the log --- */

static inline uint32_t queue_of(int topic, int32_t queue_id)
{
    uint32_t queue;

    pthread_mutex_lock(&append_lock);
    queue = queue_table_find(table, &topics[topic], queue_id, true);
    pthread_mutex_unlock(&append_lock);
    ck_assert_uint_ne(queue, QUEUE_NONE);
    return queue;
}

static inline struct queue_entry entry_at(uint64_t log_offset, int64_t queue_offset)
{
    return (struct queue_entry){
        .log_offset = (int64_t)log_offset,
        .size = RECORD,
        .tags_code = (int64_t)(log_offset * 31 - (uint64_t)queue_offset * UINT64_C(1000000007)),
    };
}

static inline int64_t next_of(uint32_t queue)
{
    int64_t next;

    pthread_mutex_lock(&append_lock);
    next = queue_table_next(table, queue);
    pthread_mutex_unlock(&append_lock);
    return next;
}

static inline int try_append(uint32_t queue)
{
    int r;

    pthread_mutex_lock(&append_lock);
    struct queue_entry e = entry_at(log_end, queue_table_next(table, queue));
    r = queue_table_append(table, queue, &e);
    if (r == 0)
        log_end += RECORD;
    pthread_mutex_unlock(&append_lock);
    return r;
}

static inline void append_to(uint32_t queue, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        ck_assert_int_eq(try_append(queue), 0);
}

static inline void write_all(void)
{
    uint64_t complete = 0;

    ck_assert_int_eq(queue_table_write_back(table, log_end, 0, true, &complete), 0);
    ck_assert_uint_eq(complete, log_end);
}

static inline struct queue_table_stats stats_now(void)
{
    struct queue_table_stats stats;

    queue_table_stats(table, &stats);
    return stats;
}

/* --- reading through the table --- */

/* Entries [from, to) are those of one record after another of this queue only, the first at `log`.
 */
static inline void expect_entries(uint32_t queue, int64_t from, int64_t to, uint64_t log)
{
    struct queue_entry got[37];

    for (int64_t at = from; at < to;) {
        int want = to - at < 37 ? (int)(to - at) : 37;
        int n = queue_table_read(table, queue, at, got, want, UINT64_MAX, true);
        ck_assert_int_gt(n, 0);
        ck_assert_int_le(n, want);
        for (int i = 0; i < n; i++, at++, log += RECORD) {
            struct queue_entry e = entry_at(log, at);
            ck_assert_int_eq(got[i].log_offset, e.log_offset);
            ck_assert_int_eq(got[i].size, e.size);
            ck_assert_int_eq(got[i].tags_code, e.tags_code);
        }
    }
}

static inline void expect_range(uint32_t queue, uint64_t confirmed, int64_t min, int64_t max)
{
    struct queue_range range = queue_table_range(table, queue, confirmed);

    ck_assert_int_eq(range.min, min);
    ck_assert_int_eq(range.max, max);
}

/* --- the second reader: stdio, and its own idea of where things are --- */

static inline const char *queue_file(const char *topic, int queue_id, int64_t first_byte)
{
    char name[300];

    snprintf(name, sizeof(name), "consumequeue/%s/%d/%020lld", topic, queue_id,
             (long long)first_byte);
    return in_root(name);
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A whole file; its size in *size. NULL when it is not there. */
static inline uint8_t *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes;

    if (!f)
        return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(*size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static inline void spill(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

static inline int64_t big_endian(const uint8_t *at, int size)
{
    uint64_t v = 0;

    for (int i = 0; i < size; i++)
        v = v << 8 | at[i];
    return size == 4 ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v;
}

/* Entry `offset` of a queue as it stands in its file; size 0 when there is no file or it is zero.
 */
static inline struct queue_entry on_disk(const char *topic, int queue_id, int64_t offset)
{
    int64_t in_file = offset * 20 % options.file_bytes;
    FILE *f = fopen(queue_file(topic, queue_id, offset * 20 - in_file), "rb");
    uint8_t unit[20];

    if (!f)
        return (struct queue_entry){0};
    ck_assert_int_eq(fseek(f, (long)in_file, SEEK_SET), 0);
    ck_assert_uint_eq(fread(unit, 1, 20, f), 20);
    fclose(f);
    return (struct queue_entry){big_endian(unit, 8), (int32_t)big_endian(unit + 8, 4),
                                big_endian(unit + 12, 8)};
}

/* How many entries from `from` on have bytes in the files. */
static inline int64_t count_on_disk(const char *topic, int queue_id, int64_t from)
{
    int64_t n = 0;

    while (on_disk(topic, queue_id, from + n).size != 0)
        n++;
    return n;
}

static inline void expect_on_disk(const char *topic, int queue_id, int64_t offset, uint64_t log)
{
    struct queue_entry got = on_disk(topic, queue_id, offset), e = entry_at(log, offset);

    ck_assert_int_eq(got.log_offset, e.log_offset);
    ck_assert_int_eq(got.size, e.size);
    ck_assert_int_eq(got.tags_code, e.tags_code);
}

/* --- loading --- */

static const char *made_names[64];
static int made_count;

/* Topics of the fixture by name; others are unknown. */
static inline struct topic *make_topic(void *ctx, struct bytes name, int32_t queue_id)
{
    (void)ctx;
    (void)queue_id;
    for (int i = 0; i < TOPICS; i++) {
        if (bytes_is(name, topics[i].name)) {
            if (made_count < 64)
                made_names[made_count++] = topics[i].name;
            return &topics[i];
        }
    }
    return NULL;
}

static inline int try_load(uint64_t log_min, uint64_t to, struct err *err)
{
    return queue_table_load(table, NULL, log_min, to, make_topic, NULL, err);
}

static inline void load(uint64_t log_min, uint64_t to)
{
    struct err err = {0};

    ck_assert_msg(try_load(log_min, to, &err) == 0, "%s", err.text);
}

#endif
