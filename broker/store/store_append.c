/* store_append.c - from a message to bytes in the memory tail, and from there to the file.
 *
 * Under the append lock: the store time, the offsets, the queue entries and a copy. What can fail
 * is asked first (room for the entries, room in the tail), then nothing fails any more: no queue
 * offset is ever left without its record.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/notify.h"

enum {
    STORE_BATCH_MAX = 4096,
    SMALL_BYTES = 16384,     /* up to here records are encoded in place, under the lock */
    TAIL_PATIENCE_MS = 1000, /* for another thread's write to make room in the tail */
};

/* --- scratch: where large records are encoded before the lock is taken --- */

static struct scratch *scratch_take(struct store *s, size_t size)
{
    struct scratch *scratch;
    size_t rounded = 4 * SMALL_BYTES;

    pthread_mutex_lock(&s->scratch_lock);
    scratch = s->scratch;
    if (scratch) {
        s->scratch = scratch->next;
        s->scratch_count--;
    }
    pthread_mutex_unlock(&s->scratch_lock);
    if (scratch && scratch->size >= size)
        return scratch;
    free(scratch);
    while (rounded < size)
        rounded *= 2;
    scratch = malloc(sizeof(*scratch) + rounded);
    if (scratch)
        scratch->size = rounded;
    return scratch;
}

static void scratch_give(struct store *s, struct scratch *scratch)
{
    if (!scratch)
        return;
    pthread_mutex_lock(&s->scratch_lock);
    if (s->scratch_count < STORE_SCRATCH_KEPT) {
        scratch->next = s->scratch;
        s->scratch = scratch;
        s->scratch_count++;
        scratch = NULL;
    }
    pthread_mutex_unlock(&s->scratch_lock);
    free(scratch);
}

void store_scratch_free(struct store *s)
{
    while (s->scratch) {
        struct scratch *next = s->scratch->next;
        free(s->scratch);
        s->scratch = next;
    }
    s->scratch_count = 0;
}

/* --- appending --- */

/* Fields that record_encode() does not look at stay as they are. */
static void record_of(struct record *r, const struct store *s, const struct store_message *m)
{
    r->queue_id = m->queue_id;
    r->flag = m->flag;
    r->sys_flag = m->sys_flag;
    r->born_ms = m->born_ms;
    r->born_host = m->born_host;
    r->store_host = s->options.store_host;
    r->reconsume_times = m->reconsume_times;
    r->prepared_offset = m->prepared_offset;
    r->body = m->body;
    r->topic = bytes_of(m->topic->name, m->topic->name_len);
    r->properties = m->properties;
}

struct append {
    const struct store_message *messages;
    size_t count;
    struct store_position *positions;
    struct record
        record; /* of the last message that was looked at: a single one is made only once */
    size_t total;
    const struct scratch *encoded; /* NULL: not yet */
    int64_t now_ms;
    const char *full;
};

/* Sum of the records' sizes; 0 when one of them, or all together, are more than the log takes. */
static size_t sizes_of(const struct store *s, struct append *a)
{
    size_t total = 0;

    for (size_t i = 0; i < a->count; i++) {
        const struct store_message *m = &a->messages[i];
        if (m->body.len > s->options.message_max || m->queue_id < 0 ||
            m->queue_id >= TOPIC_QUEUES_MAX)
            return 0;
        record_of(&a->record, s, m);
        size_t size = record_size(&a->record, s->options.record_crc);
        if (size == 0 || size > s->record_max - total)
            return 0;
        total += size;
    }
    return total;
}

static void encode_all(uint8_t *to, const struct store *s, struct append *a)
{
    for (size_t i = 0; i < a->count; i++) {
        if (a->count > 1)
            record_of(&a->record, s, &a->messages[i]);
        record_encode(to, &a->record, s->options.record_crc);
        to += load_be32(to);
    }
}

/* Prepared and rolled back messages of the old transaction style are in no queue. */
static bool has_entry(const struct store_message *m)
{
    int32_t type = m->sys_flag & RECORD_TRANSACTION_MASK;

    return type == 0 || type == RECORD_TRANSACTION_COMMIT;
}

/* The part under the lock. 0, STORE_BUSY (a->full is set), STORE_STOPPED, or what is to be done
 * before the next try. */
enum { APPEND_WRITE = 100, APPEND_PREPARE };
static int append_locked(struct store *s, struct append *a)
{
    const struct store_message *first = a->messages;
    uint32_t queue = QUEUE_NONE, entries = 0, waiting = 0;
    int64_t queue_offset = 0, store_ms;
    uint64_t log_offset, at_offset;
    uint8_t *at;
    int r;

    if (atomic_load_explicit(&s->closing, memory_order_relaxed))
        return STORE_STOPPED;
    if (atomic_load_explicit(&s->follower, memory_order_relaxed))
        return STORE_CLOSED;
    if (atomic_load_explicit(&first->topic->deleted, memory_order_relaxed))
        return STORE_DELETED;
    for (size_t i = 0; i < a->count; i++)
        entries += has_entry(&a->messages[i]);
    if (entries > 0) {
        queue = queue_table_find(s->queues, first->topic, first->queue_id, true);
        if (queue == QUEUE_NONE) {
            a->full = "number of queues";
            return STORE_BUSY;
        }
        if (queue_table_reserve(s->queues, entries) != 0) {
            a->full = "memory for queue entries";
            return STORE_BUSY;
        }
        queue_offset = queue_table_next(s->queues, queue);
    }
    r = commit_log_reserve(s->log, a->total, &at, &log_offset);
    if (r == COMMIT_LOG_TAIL_FULL)
        return APPEND_WRITE;
    if (r == COMMIT_LOG_NEED_SEGMENT)
        return APPEND_PREPARE;
    if (r != 0)
        return STORE_STOPPED;

    /* The clock was read before the lock; searches by time need the order of the log. */
    store_ms = a->now_ms > s->last_store_ms ? a->now_ms : s->last_store_ms;
    s->last_store_ms = store_ms;
    if (a->encoded)
        memcpy(at, a->encoded->bytes, a->total);
    else
        encode_all(at, s, a);
    at_offset = log_offset;
    for (size_t i = 0; i < a->count; i++) {
        uint32_t size = load_be32(at);
        bool queued = has_entry(&a->messages[i]);
        struct store_position *p = &a->positions[i];

        p->log_offset = at_offset;
        p->log_end = at_offset + size;
        p->queue_offset = queued ? queue_offset++ : 0;
        p->store_ms = store_ms;
        record_seal(at, size, p->queue_offset, (int64_t)at_offset, store_ms, s->options.record_crc);
        at += size;
        at_offset += size;
    }
    assert(at_offset - log_offset == a->total);
    for (size_t i = 0; i < a->count && entries > 0; i++) {
        const struct store_message *m = &a->messages[i];
        const struct store_position *p = &a->positions[i];
        struct queue_entry entry = {
            .log_offset = (int64_t)p->log_offset,
            .size = (int32_t)(p->log_end - p->log_offset),
            .tags_code = m->delay_level > 0
                             ? store_delivery_ms(&s->options, store_ms, m->delay_level)
                             : m->tags_code,
        };
        if (!has_entry(m))
            continue;
        r = queue_table_append(s->queues, queue, &entry);
        assert(r == 0);
    }
    if (entries > 0 && s->on_waited)
        waiting = queue_table_waiting(s->queues, queue);
    if (waiting)
        s->on_waited(s->on_waited_ctx, waiting, queue, at_offset);
    /* Last: whoever sees the new end may write and flush up to it, and finds the entries of these
     * records in their queues and their consumers told. */
    commit_log_commit(s->log, a->total);
    atomic_store_explicit(&s->appended_messages, s->appended_messages + a->count,
                          memory_order_relaxed);
    atomic_store_explicit(&s->appended_bytes, s->appended_bytes + a->total, memory_order_relaxed);
    return 0;
}

bool store_wait_written(struct store *s, uint64_t seen)
{
    struct timespec until;
    bool moved;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TAIL_PATIENCE_MS / 1000;
    pthread_mutex_lock(&s->tail_lock);
    /* Counted in a read-modify-write, like the writer's look at it: one of the two sees the other.
     */
    atomic_fetch_add(&s->tail_waiters, 1);
    while (!(moved = commit_log_written(s->log) != seen) &&
           !atomic_load_explicit(&s->stop_told, memory_order_relaxed)) {
        if (pthread_cond_timedwait(&s->tail_moved, &s->tail_lock, &until) == ETIMEDOUT)
            break;
    }
    atomic_fetch_sub(&s->tail_waiters, 1);
    pthread_mutex_unlock(&s->tail_lock);
    return moved || commit_log_written(s->log) != seen;
}

static int make_room(struct store *s, struct append *a)
{
    uint64_t seen = commit_log_written(s->log);

    if (seen == commit_log_end(s->log))
        return 0; /* all of it has been written since: nobody would write more */
    store_write(s);
    if (commit_log_written(s->log) != seen || store_wait_written(s, seen))
        return 0;
    if (atomic_load_explicit(&s->stop_told, memory_order_relaxed))
        return STORE_STOPPED;
    a->full = "memory tail";
    return STORE_BUSY;
}

int store_make_segment(struct store *s)
{
    int r = commit_log_prepare(s->log);

    store_note_prepare(s, r);
    if (r < 0)
        return commit_log_stopped(s->log, NULL) ? STORE_STOPPED : STORE_NO_SPACE;
    return 0;
}

int store_append(struct store *s, const struct store_message *messages, size_t count,
                 struct store_position *positions, const char **full)
{
    struct append a;
    struct scratch *scratch = NULL;
    int r;

    assert(count >= 1 && count <= STORE_BATCH_MAX);
    a.messages = messages;
    a.count = count;
    a.positions = positions;
    a.encoded = NULL;
    a.full = NULL;
    a.total = sizes_of(s, &a);
    if (a.total == 0)
        return STORE_ILLEGAL;
    if (atomic_load_explicit(&s->retention.refusing, memory_order_relaxed))
        return STORE_NO_SPACE;
    if (a.total > SMALL_BYTES) {
        scratch = scratch_take(s, a.total);
        if (scratch) /* else it takes longer under the lock */
            encode_all(scratch->bytes, s, &a);
        a.encoded = scratch;
    }
    do {
        a.now_ms = clock_wall_ms();
        pthread_mutex_lock(&s->append_lock);
        r = append_locked(s, &a);
        pthread_mutex_unlock(&s->append_lock);
        if (r == APPEND_WRITE)
            r = make_room(s, &a) ?: APPEND_WRITE;
        else if (r == APPEND_PREPARE)
            r = store_make_segment(s) ?: APPEND_PREPARE;
    } while (r == APPEND_WRITE || r == APPEND_PREPARE);
    scratch_give(s, scratch);
    if (r == STORE_BUSY) {
        flusher_call(s);
        if (full)
            *full = a.full;
    }
    return r;
}

void store_note_stop(struct store *s)
{
    char reason[160];

    if (!commit_log_stopped(s->log, reason) || atomic_exchange(&s->stop_told, true))
        return;
    log_error("store %s takes no more writes until it is restarted: %s", s->root_dir, reason);
    notify_status("takes no more writes until it is restarted: %s", reason);
    pthread_mutex_lock(&s->tail_lock);
    pthread_cond_broadcast(&s->tail_moved);
    pthread_mutex_unlock(&s->tail_lock);
    store_progress(s); /* what waits for the disk waits in vain */
}

void store_note_prepare(struct store *s, int r)
{
    char room[128];

    if (r >= 0) {
        if (atomic_load_explicit(&s->disk_full, memory_order_relaxed) &&
            atomic_exchange(&s->disk_full, false))
            log_info("store %s has room for log segments again: writes are accepted", s->root_dir);
        return;
    }
    if (commit_log_stopped(s->log, NULL))
        return; /* another story, told elsewhere */
    if (!atomic_exchange(&s->disk_full, true)) {
        log_error("store %s cannot make another log segment of %lld bytes in %s (by way of %s): "
                  "%s; writes are refused when the last one is full, tried again every second",
                  s->root_dir, (long long)s->options.segment_bytes, s->commit_log_dir, s->spare_dir,
                  strerror_r(-r, room, sizeof(room)));
        flusher_call(s); /* it goes on trying when nobody appends */
        retention_call(s);
    }
}

void store_write(struct store *s)
{
    int r = commit_log_write(s->log);

    if (r == 0)
        return;
    if (r < 0) {
        store_note_stop(s);
        return;
    }
    atomic_fetch_add_explicit(&s->written_calls, 1, memory_order_relaxed);
    if (atomic_fetch_or(&s->tail_waiters, 0) > 0) {
        pthread_mutex_lock(&s->tail_lock);
        pthread_cond_broadcast(&s->tail_moved);
        pthread_mutex_unlock(&s->tail_lock);
    }
    if (queue_table_pressed(s->queues))
        flusher_call(s);
    else
        flusher_written(s, commit_log_written(s->log));
    store_progress(s);
}
