/* queue_write_back.c - brings entries from memory into the queue files, oldest and fullest first.
 *
 * Order for one queue: bytes into the file, then file_end and the chunks under the append lock. A
 * reader that looked before still finds its entries in chunks, one that looks later in the file.
 * Chunks hold entries as files do, so pwritev takes them where they are. io_lock is held meanwhile:
 * it is what keeps the chunks, and the topic's folder, from going away.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>

#include "common/log.h"

/* Failures after which a pass gives up: a disk that fails them all need not be asked a million
 * times. */
enum { PASS_FAILURES_MAX = 8 };

struct pass {
    uint64_t flushed;
    uint64_t complete; /* every entry whose record begins below is in a file */
    int failures;
    int error; /* the first one */
};

/* Entries [from, to) of one file, as far as the pieces reach. `chunk` holds `from`. Neither the
 * entries nor the links up to them change while we hold io_lock. */
static int write_piece(struct queue_table *t, const struct queue_place *place, uint32_t chunk,
                       int64_t from, int64_t to, int64_t *end, uint64_t *last_end)
{
    int64_t file_left = t->file_units - from % t->file_units, at = from;
    const uint8_t *last = NULL;
    struct queue_entry entry;
    int n = 0, r;

    if (to > from + file_left)
        to = from + file_left;
    while (at < to && n < WRITE_PIECES) {
        struct queue_chunk *c = queue_chunk(t, chunk);
        int64_t slot = at % CHUNK_ENTRIES;
        int64_t some = to - at < CHUNK_ENTRIES - slot ? to - at : CHUNK_ENTRIES - slot;

        t->pieces[n++] =
            (struct iovec){c->entries + slot * QUEUE_ENTRY_BYTES, (size_t)some * QUEUE_ENTRY_BYTES};
        last = c->entries + (slot + some - 1) * QUEUE_ENTRY_BYTES;
        at += some;
        if (at < to)
            chunk = c->next;
    }
    r = queue_units_write(t, place, from, t->pieces, n);
    if (r < 0)
        return r;
    queue_unit_decode(last, &entry);
    *end = at;
    *last_end = queue_entry_end(&entry);
    return 0;
}

/* Where whole pages of [from, to) end: a page is complete with its last whole entry. */
static int64_t page_end(const struct queue_table *t, int64_t from, int64_t to)
{
    int64_t in_file = to % t->file_units;
    int64_t end = to - in_file + (in_file * QUEUE_ENTRY_BYTES & ~INT64_C(4095)) / QUEUE_ENTRY_BYTES;

    return end > from ? end : from;
}

/* Writes one queue's flushed entries, all of them or only whole pages. */
static void write_queue(struct queue_table *t, uint32_t queue, bool whole, struct pass *pass)
{
    struct queue_state *s = queue_state(t, queue);
    struct queue_place place;
    struct queue_entry first;
    uint64_t last_end;
    int64_t from, to;
    uint32_t head;
    bool requeue = whole;
    int r = 0;

    pthread_mutex_lock(&t->io_lock);
    pthread_mutex_lock(t->append_lock);
    place = queue_place(t, queue);
    from = s->file_end;
    to = queue_memory_end(t, s, pass->flushed);
    head = s->head;
    pthread_mutex_unlock(t->append_lock);
    if (!whole)
        to = page_end(t, from, to);

    while (from < to && r == 0) {
        r = write_piece(t, &place, head, from, to, &from, &last_end);
        if (r < 0)
            break;
        pthread_mutex_lock(t->append_lock);
        queue_memory_written(t, queue, from, last_end);
        head = s->head;
        pthread_mutex_unlock(t->append_lock);
        requeue = true;
    }

    pthread_mutex_lock(t->append_lock);
    if (s->file_end < s->next) {
        if (requeue) {
            queue_dirty_remove(t, queue);
            queue_dirty_add(t, queue);
        }
        if (s->next - s->file_end >= QUEUE_BATCH)
            queue_ready_add(t, queue);
        queue_unit_decode(queue_memory_at(t, s, s->file_end), &first);
        if ((uint64_t)first.log_offset < pass->complete)
            pass->complete = (uint64_t)first.log_offset;
    }
    pthread_mutex_unlock(t->append_lock);
    pthread_mutex_unlock(&t->io_lock);

    if (r < 0) {
        struct err err;
        err_set(&err, r, "write entries of queue %s/%d", place.topic->name, place.queue_id);
        log_warn_limited(t->dir, "%s; they stay in memory for the next try", err.text);
        pass->failures++;
        if (pass->error == 0)
            pass->error = r;
    }
}

int queue_write_all(struct queue_table *t, uint32_t queue)
{
    struct pass pass = {.flushed = UINT64_MAX};

    write_queue(t, queue, true, &pass);
    return pass.error;
}

/* Notes how far dirty_seq has come by now and tells how far it had come a minute ago (false:
 * nothing is known to be that old). Append lock held. */
static bool age_mark(struct queue_table *t, int64_t now_ms, uint32_t *old_seq)
{
    const struct age_mark *newest = &t->marks[t->mark_newest];

    if (t->mark_count > 0 && now_ms < newest->ms)
        t->mark_count = 0; /* the clock was set back: count the minute anew */
    if (t->mark_count == 0 || now_ms - newest->ms >= AGE_MARK_MS) {
        t->mark_newest = (t->mark_newest + 1) % AGE_MARKS;
        t->marks[t->mark_newest] = (struct age_mark){now_ms, t->dirty_seq};
        if (t->mark_count < AGE_MARKS)
            t->mark_count++;
    }
    for (unsigned i = 0; i < t->mark_count; i++) {
        const struct age_mark *mark = &t->marks[(t->mark_newest + AGE_MARKS - i) % AGE_MARKS];
        if (now_ms - mark->ms >= AGE_LIMIT_MS) {
            *old_seq = mark->seq;
            return true;
        }
    }
    return false;
}

/* Writes the queues that became dirty at or before `until`, while `wanted` says so. A queue with
 * entries left goes to the end of the list with a later number, so this ends. */
static void write_dirty(struct queue_table *t, uint32_t until,
                        bool (*wanted)(struct queue_table *t), struct pass *pass)
{
    for (;;) {
        uint32_t queue;

        if (pass->failures >= PASS_FAILURES_MAX || (wanted && !wanted(t)))
            return;
        pthread_mutex_lock(t->append_lock);
        queue = t->dirty_head;
        if (queue != QUEUE_NONE && (int32_t)(queue_state(t, queue)->dirty_seq - until) > 0)
            queue = QUEUE_NONE;
        pthread_mutex_unlock(t->append_lock);
        if (queue == QUEUE_NONE)
            return;
        write_queue(t, queue, true, pass);
    }
}

int queue_write_everything(struct queue_table *t)
{
    struct pass pass = {.flushed = UINT64_MAX};

    write_dirty(t, t->dirty_seq, NULL, &pass);
    return pass.error;
}

static void write_ready(struct queue_table *t, uint32_t count, struct pass *pass)
{
    for (; count > 0 && pass->failures < PASS_FAILURES_MAX; count--) {
        uint32_t queue;

        pthread_mutex_lock(t->append_lock);
        queue = queue_ready_pop(t);
        pthread_mutex_unlock(t->append_lock);
        if (queue == QUEUE_NONE)
            return;
        write_queue(t, queue, false, pass);
    }
}

static bool above_half(struct queue_table *t)
{
    return atomic_load_explicit(&t->chunks_used, memory_order_relaxed) > t->chunks_max / 2;
}

int queue_table_write_back(struct queue_table *t, uint64_t flushed, int64_t now_ms, bool all,
                           uint64_t *complete_to)
{
    struct pass pass = {.flushed = flushed, .complete = flushed};
    uint32_t ready, newest, old;
    bool any_old, pressed;

    pthread_mutex_lock(t->append_lock);
    ready = t->ready_count;
    newest = t->dirty_seq;
    any_old = age_mark(t, now_ms, &old);
    pthread_mutex_unlock(t->append_lock);
    pressed = queue_table_pressed(t);

    if (all) {
        write_dirty(t, newest, NULL, &pass);
        if (pass.failures < PASS_FAILURES_MAX && complete_to && *complete_to < pass.complete)
            *complete_to = pass.complete;
        queue_memory_trim(t);
        return pass.error;
    }
    write_ready(t, ready, &pass);
    if (any_old)
        write_dirty(t, old, NULL, &pass);
    if (pressed)
        write_dirty(t, newest, above_half, &pass);
    return pass.error;
}
