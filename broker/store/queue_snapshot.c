/* queue_snapshot.c - tern/queues: all ends of all queues in one file, so that a clean start need
 * not open a file per queue. Its layout is in queue_snapshot.h. And the digest of them, which tells
 * a start after a crash whether the files still have what they had at the last checkpoint.
 *
 * Written once everything was written back, good for exactly the log end it names, and removed as
 * soon as it was read.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/crc.h"
#include "common/file.h"
#include "common/log.h"

enum {
    SNAPSHOT_MAGIC = 0x544E5153, /* "TNQS" */
    SNAPSHOT_VERSION = 1,
    SNAPSHOT_HEAD = 28,
    SNAPSHOT_CRC = 4,
    SNAPSHOT_QUEUE = 24,
    SNAPSHOT_MAX = 512 << 20,
};

/* One run; *left shrinks. False when the bytes are not one. */
static bool run_take(struct reader *in, struct queue_snapshot_run *run)
{
    struct bytes ends;

    run->topic = reader_take(in, reader_u8(in));
    run->first = (int32_t)reader_u32(in);
    run->count = (int32_t)reader_u32(in);
    if (in->bad || run->first < 0 || run->first >= TOPIC_QUEUES_MAX || run->count <= 0 ||
        run->count > TOPIC_QUEUES_MAX - run->first)
        return false;
    ends = reader_take(in, (size_t)run->count * SNAPSHOT_QUEUE);
    run->ends = ends.at;
    return !in->bad;
}

struct queue_ends queue_snapshot_ends(const struct queue_snapshot_run *run, int32_t i)
{
    const uint8_t *at = run->ends + (size_t)i * SNAPSHOT_QUEUE;

    return (struct queue_ends){(int64_t)load_be64(at), (int64_t)load_be64(at + 8),
                               load_be64(at + 16)};
}

static bool run_good(const struct queue_snapshot_run *run, uint64_t log_end)
{
    if (!topic_name_ok(run->topic))
        return false;
    for (int32_t i = 0; i < run->count; i++) {
        struct queue_ends e = queue_snapshot_ends(run, i);
        if (e.min < 0 || e.min > e.next || e.next >= QUEUE_OFFSET_FILE_MAX || e.last_end > log_end)
            return false;
    }
    return true;
}

int queue_snapshot_parse(struct bytes in, struct queue_snapshot *out)
{
    struct queue_snapshot s;
    struct queue_snapshot_run run;
    struct reader r = reader_of(in), body;

    if (in.len < SNAPSHOT_HEAD + SNAPSHOT_CRC ||
        crc32_of(0, bytes_of(in.at, in.len - SNAPSHOT_CRC)) !=
            load_be32(in.at + in.len - SNAPSHOT_CRC))
        return 1;
    if (reader_u32(&r) != SNAPSHOT_MAGIC || reader_u32(&r) != SNAPSHOT_VERSION)
        return 1;
    s.log_end = reader_u64(&r);
    s.file_bytes = (int64_t)reader_u64(&r);
    s.runs = reader_u32(&r);
    s.body = reader_take(&r, in.len - SNAPSHOT_HEAD - SNAPSHOT_CRC);
    body = reader_of(s.body);
    for (uint32_t i = 0; i < s.runs; i++) {
        if (!run_take(&body, &run) || !run_good(&run, s.log_end))
            return 1;
    }
    if (reader_left(&body) != 0)
        return 1;
    *out = s;
    return 0;
}

bool queue_snapshot_next(const struct queue_snapshot *s, size_t *at, struct queue_snapshot_run *run)
{
    struct reader in = reader_of(s->body);

    (void)reader_take(&in, *at);
    if (in.bad || reader_left(&in) == 0 || !run_take(&in, run))
        return false;
    *at = s->body.len - reader_left(&in);
    return true;
}

static bool state_is_zero(const struct queue_state *s)
{
    return s->min == 0 && s->next == 0;
}

/* States from `first` on that are one run: same topic, ids in a row. */
static uint32_t run_length(const struct queue_table *t, uint32_t first)
{
    const struct queue_state *s = queue_state(t, first);
    uint32_t n = 1;

    while (first + n < t->count && queue_state(t, first + n)->topic == s->topic &&
           queue_state(t, first + n)->queue_id == s->queue_id + (int32_t)n)
        n++;
    return n;
}

/* Append lock held. */
static int snapshot_encode(const struct queue_table *t, uint64_t log_end, struct buf *out)
{
    uint32_t runs = 0, n;

    if (t->pending > 0)
        return -EBUSY; /* the files do not hold what the ends would promise */
    buf_add_be32(out, SNAPSHOT_MAGIC);
    buf_add_be32(out, SNAPSHOT_VERSION);
    buf_add_be64(out, log_end);
    buf_add_be64(out, (uint64_t)t->file_bytes);
    buf_add_be32(out, 0); /* runs, below */
    for (uint32_t i = 0; i < t->count; i += n) {
        const struct topic *topic = queue_state(t, i)->topic;

        n = run_length(t, i);
        if (topic->deleted) {
            /* Not there for the next start; unless it could not be dropped, then load has to look.
             */
            for (uint32_t k = 0; k < n; k++) {
                if (!state_is_zero(queue_state(t, i + k)))
                    return -EBUSY;
            }
            continue;
        }
        buf_add_u8(out, topic->name_len);
        buf_add(out, topic->name, topic->name_len);
        buf_add_be32(out, (uint32_t)queue_state(t, i)->queue_id);
        buf_add_be32(out, n);
        for (uint32_t k = 0; k < n; k++) {
            const struct queue_state *s = queue_state(t, i + k);
            buf_add_be64(out, (uint64_t)s->min);
            buf_add_be64(out, (uint64_t)s->next);
            buf_add_be64(out, s->last_end);
        }
        runs++;
    }
    if (out->failed)
        return -ENOMEM;
    store_be32(buf_at(out) + SNAPSHOT_HEAD - 4, runs);
    return 0;
}

int queue_table_snapshot_save(struct queue_table *t, const char *path, uint64_t log_end)
{
    struct buf out = {0};
    struct err err;
    int r;

    pthread_mutex_lock(t->append_lock);
    r = snapshot_encode(t, log_end, &out);
    pthread_mutex_unlock(t->append_lock);
    if (r == 0) {
        buf_add_be32(&out, crc32_of(0, buf_bytes(&out)));
        r = out.failed ? -ENOMEM : 0;
    }
    if (r < 0)
        err_set(&err, r, "make the snapshot of queues %s", path);
    else
        r = file_replace(path, buf_bytes(&out), &err);
    if (r < 0)
        log_warn("%s; the next start reads the queues' folders instead", err.text);
    buf_destroy(&out);
    return r;
}

static void states_wipe(struct queue_table *t)
{
    pthread_mutex_lock(t->append_lock);
    for (uint32_t i = 0; i < t->count; i++)
        queue_restart(t, i, 0);
    pthread_mutex_unlock(t->append_lock);
}

/* 0; 1 when the run does not go on where the topic's queues end. */
static int run_apply(struct queue_table *t, struct topic *topic,
                     const struct queue_snapshot_run *run)
{
    uint32_t have = 0;

    if (topic->extent_count > 0) {
        const struct queue_extent *last = &topic->extents[topic->extent_count - 1];
        have = last->first + last->count;
    }
    if (have != (uint32_t)run->first)
        return 1;
    for (int32_t i = 0; i < run->count; i++) {
        struct queue_ends ends = queue_snapshot_ends(run, i);
        int r = queue_state_set(t, topic, run->first + run->count - 1, run->first + i, &ends);
        if (r < 0)
            return r;
    }
    return 0;
}

int queue_snapshot_apply(struct queue_table *t, struct bytes in, uint64_t log_end,
                         struct topic *(*find)(void *ctx, struct bytes name), void *ctx)
{
    struct queue_snapshot s;
    struct queue_snapshot_run run;
    int r = queue_snapshot_parse(in, &s);

    if (r != 0 || s.log_end != log_end || s.file_bytes != t->file_bytes)
        return 1;
    for (size_t at = 0; queue_snapshot_next(&s, &at, &run);) {
        if (!find(ctx, run.topic))
            return 1;
    }
    for (size_t at = 0; r == 0 && queue_snapshot_next(&s, &at, &run);)
        r = run_apply(t, find(ctx, run.topic), &run);
    if (r != 0)
        states_wipe(t);
    return r;
}

/* --- the digest --- */

enum { DIGEST_PART = 256 }; /* queues looked at under one hold of the lock */

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    return h ^ h >> 31;
}

/* Adds one queue; false when its end cannot be told without its files. Append lock held. */
static bool digest_add(const struct queue_table *t, const struct queue_state *s, uint64_t log_end,
                       struct queue_digest *sum)
{
    int64_t end = s->next, min;
    uint64_t last_end = s->last_end, name;
    struct queue_entry e;

    if (last_end > log_end) {
        if (s->file_last_end > log_end)
            return false;
        end = queue_memory_end(t, s, log_end);
        last_end = s->file_last_end;
        if (end > s->file_end) {
            queue_unit_decode(queue_memory_at(t, s, end - 1), &e);
            last_end = queue_entry_end(&e);
        }
    }
    if (end == 0)
        return true;
    min = s->min < end ? s->min : end;
    name = mix((uint64_t)crc32_of(0, bytes_of(s->topic->name, s->topic->name_len)) << 32 |
               (uint32_t)s->queue_id);
    sum->ends += mix(mix(name ^ (uint64_t)end) ^ last_end);
    sum->mins += mix(mix(~name ^ (uint64_t)min));
    return true;
}

struct queue_digest queue_table_digest(struct queue_table *t, uint64_t log_end)
{
    struct queue_digest sum = {1, 1};
    uint32_t count = 1;

    for (uint32_t from = 0; from < count; from += DIGEST_PART) {
        pthread_mutex_lock(t->append_lock);
        count = t->count;
        for (uint32_t i = from; i < count && i - from < DIGEST_PART; i++) {
            if (!digest_add(t, queue_state(t, i), log_end, &sum)) {
                pthread_mutex_unlock(t->append_lock);
                return (struct queue_digest){0, 0};
            }
        }
        pthread_mutex_unlock(t->append_lock);
    }
    if (sum.ends == 0)
        sum.ends = 1;
    return sum;
}

static struct topic *find_in_metadata(void *ctx, struct bytes name)
{
    return ctx ? metadata_topic(ctx, name, NULL) : NULL;
}

int queue_table_snapshot_load(struct queue_table *t, struct metadata *m, const char *path,
                              uint64_t log_end, struct err *err)
{
    struct buf in = {0};
    int r = file_load(path, SNAPSHOT_MAX, &in), removed;

    if (r == -ENOENT) {
        buf_destroy(&in);
        return 1;
    }
    if (r < 0) {
        err_set(err, r, "read %s", path);
        log_warn("%s; the queues' folders are read instead", err ? err->text : path);
        r = 1;
    } else {
        r = queue_snapshot_apply(t, buf_bytes(&in), log_end, find_in_metadata, m);
        if (r < 0)
            err_set(err, r, "make the queues of %s", path);
    }
    buf_destroy(&in);
    /* It says nothing about what happens from now on, so it must not be found again, not even after
     * a power cut. */
    removed = file_unlink(path);
    if (removed == 0)
        removed = file_sync_parent(path);
    if (removed < 0 && r >= 0)
        r = err_set(err, removed, "remove %s", path);
    return r;
}
