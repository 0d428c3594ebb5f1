/* queue_table.c - queue states in memory: who exists, the slab of chunks, append, range, read.
 *
 * States live in pages that are made as topics grow and never move, so an index is all that others
 * keep. A topic's ids map to indexes by its extents; every new extent at least doubles their
 * number, so 17 of them reach 65,536 ids.
 *
 * Chunks are the only memory that grows with traffic; it is bounded by the budget and returns to a
 * free list when its entries are in files. See queue_internal.h for the shape of a queue and the
 * locks.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/file.h"
#include "common/log.h"

static_assert(TOPIC_EXTENTS_MAX == 17 && TOPIC_QUEUES_MAX == 65536, "doubling reaches the last id");

int queue_table_new(struct queue_table **out, const struct queue_table_options *options,
                    struct err *err)
{
    struct queue_table *t;
    size_t chunks = options->memory_budget / sizeof(struct queue_chunk);
    int r;

    if (options->file_bytes < QUEUE_ENTRY_BYTES || options->file_bytes % QUEUE_ENTRY_BYTES != 0 ||
        options->file_bytes > INT64_C(1) << 40)
        return err_say(err, -EINVAL,
                       "a queue file of %lld bytes: expected a multiple of %d, at most 1 TiB",
                       (long long)options->file_bytes, QUEUE_ENTRY_BYTES);
    if (chunks == 0 || options->descriptors == 0)
        return err_say(err, -EINVAL,
                       "queues with %zu bytes of memory and %u descriptors: expected at least %zu "
                       "bytes and 1 descriptor",
                       options->memory_budget, options->descriptors, sizeof(struct queue_chunk));
    if (chunks > UINT32_MAX - BLOCK_CHUNKS)
        chunks = UINT32_MAX - BLOCK_CHUNKS;

    t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(err, -ENOMEM, "make the table of queues");
    r = -pthread_mutex_init(&t->io_lock, NULL);
    if (r < 0) {
        free(t);
        return err_set(err, r, "make the lock of the queue files");
    }
    r = -pthread_mutex_init(&t->trim_lock, NULL);
    if (r < 0) {
        pthread_mutex_destroy(&t->io_lock);
        free(t);
        return err_set(err, r, "make the lock of the queue files");
    }
    t->append_lock = options->append_lock;
    t->file_bytes = options->file_bytes;
    t->file_units = options->file_bytes / QUEUE_ENTRY_BYTES;
    t->chunks_max = (uint32_t)chunks;
    t->free_head = CHUNK_NONE;
    t->dirty_head = t->dirty_tail = t->ready_head = t->ready_tail = QUEUE_NONE;
    t->dir = strdup(options->dir);
    t->blocks = calloc(chunks / BLOCK_CHUNKS + 1, sizeof(struct queue_chunk *));
    if (!t->dir || !t->blocks) {
        r = err_set(err, -ENOMEM, "make the table of queues");
        goto fail;
    }
    r = queue_files_new(&t->files, options->descriptors);
    if (r < 0) {
        err_set(err, r, "make the cache of %u queue descriptors", options->descriptors);
        goto fail;
    }
    r = file_mkdirs(t->dir);
    if (r < 0) {
        err_set(err, r, "make the folder %s", t->dir);
        goto fail;
    }
    *out = t;
    return 0;

fail:
    queue_table_free(t);
    return r;
}

struct queue_table *queue_table_free(struct queue_table *t)
{
    if (!t)
        return NULL;
    queue_files_free(t->files);
    if (t->blocks) {
        for (uint32_t i = 0; i < t->chunks_mapped; i += BLOCK_CHUNKS)
            munmap(t->blocks[i / BLOCK_CHUNKS], BLOCK_CHUNKS * sizeof(struct queue_chunk));
        free(t->blocks);
    }
    for (size_t i = 0; i < TABLE_PAGES; i++)
        free(atomic_load_explicit(&t->pages[i], memory_order_relaxed));
    free(t->dir);
    pthread_mutex_destroy(&t->io_lock);
    pthread_mutex_destroy(&t->trim_lock);
    free(t);
    return NULL;
}

/* --- states --- */

/* Memory for `more` states after those there are; -ENOMEM leaves only pages that the next try will
 * find. */
static int pages_make(struct queue_table *t, uint32_t more)
{
    for (uint32_t i = t->count / PAGE_STATES; i <= (t->count + more - 1) / PAGE_STATES; i++) {
        if (atomic_load_explicit(&t->pages[i], memory_order_relaxed))
            continue;
        struct queue_state *page = calloc(PAGE_STATES, sizeof(*page));
        if (!page)
            return -ENOMEM;
        atomic_store_explicit(&t->pages[i], page, memory_order_release);
    }
    return 0;
}

/* One more extent, so that ids up to queue_id exist. */
static int topic_grow(struct queue_table *t, struct topic *topic, uint32_t queue_id)
{
    uint32_t have = 0, more;
    struct queue_extent *extent;
    int r;

    if (topic->extent_count > 0) {
        extent = &topic->extents[topic->extent_count - 1];
        have = extent->first + extent->count;
    }
    assert(topic->extent_count < TOPIC_EXTENTS_MAX && have <= queue_id);
    more = queue_id + 1 - have;
    if (more < have)
        more = have;
    if (more > TOPIC_QUEUES_MAX - have)
        more = TOPIC_QUEUES_MAX - have;
    if (more > QUEUES_MAX - t->count)
        return -ENOSPC;
    r = pages_make(t, more);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < more; i++) {
        struct queue_state *s = queue_state(t, t->count + i);
        *s = (struct queue_state){
            .topic = topic,
            .queue_id = (int32_t)(have + i),
            .head = CHUNK_NONE,
            .tail = CHUNK_NONE,
        };
    }
    topic->extents[topic->extent_count++] = (struct queue_extent){have, more, t->count};
    t->count += more;
    return 0;
}

uint32_t queue_table_find(struct queue_table *t, struct topic *topic, int32_t queue_id, bool create)
{
    if (queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX)
        return QUEUE_NONE;
    for (int i = topic->extent_count - 1; i >= 0; i--) {
        const struct queue_extent *e = &topic->extents[i];
        if ((uint32_t)queue_id >= e->first) {
            if ((uint32_t)queue_id - e->first < e->count)
                return e->base + ((uint32_t)queue_id - e->first);
            break;
        }
    }
    if (!create || topic_grow(t, topic, (uint32_t)queue_id) < 0)
        return QUEUE_NONE;
    return queue_table_find(t, topic, queue_id, false);
}

struct topic *queue_table_topic(struct queue_table *t, uint32_t queue, int32_t *queue_id)
{
    const struct queue_state *s = queue_state(t, queue);

    *queue_id = s->queue_id;
    return s->topic;
}

struct queue_place queue_place(const struct queue_table *t, uint32_t queue)
{
    const struct queue_state *s = queue_state(t, queue);

    return (struct queue_place){s->topic, s->queue_id, queue, s->generation, s->min};
}

uint32_t queue_table_waiting(const struct queue_table *t, uint32_t queue)
{
    return queue_state(t, queue)->waiting;
}

void queue_table_set_waiting(struct queue_table *t, uint32_t queue, unsigned loop, bool waiting)
{
    assert(loop < 32);
    pthread_mutex_lock(t->append_lock);
    if (waiting)
        queue_state(t, queue)->waiting |= 1u << loop;
    else
        queue_state(t, queue)->waiting &= ~(1u << loop);
    pthread_mutex_unlock(t->append_lock);
}

/* --- lists of queues to write --- */

void queue_dirty_add(struct queue_table *t, uint32_t queue)
{
    struct queue_state *s = queue_state(t, queue);

    if (s->flags & STATE_DIRTY)
        return;
    s->flags |= STATE_DIRTY;
    s->dirty_seq = ++t->dirty_seq;
    s->dirty_next = QUEUE_NONE;
    s->dirty_prev = t->dirty_tail;
    if (t->dirty_tail != QUEUE_NONE)
        queue_state(t, t->dirty_tail)->dirty_next = queue;
    else
        t->dirty_head = queue;
    t->dirty_tail = queue;
}

void queue_dirty_remove(struct queue_table *t, uint32_t queue)
{
    struct queue_state *s = queue_state(t, queue);

    if (!(s->flags & STATE_DIRTY))
        return;
    s->flags &= (uint8_t)~STATE_DIRTY;
    if (s->dirty_prev != QUEUE_NONE)
        queue_state(t, s->dirty_prev)->dirty_next = s->dirty_next;
    else
        t->dirty_head = s->dirty_next;
    if (s->dirty_next != QUEUE_NONE)
        queue_state(t, s->dirty_next)->dirty_prev = s->dirty_prev;
    else
        t->dirty_tail = s->dirty_prev;
}

void queue_ready_add(struct queue_table *t, uint32_t queue)
{
    struct queue_state *s = queue_state(t, queue);

    if (s->flags & STATE_READY)
        return;
    s->flags |= STATE_READY;
    s->ready_next = QUEUE_NONE;
    if (t->ready_tail != QUEUE_NONE)
        queue_state(t, t->ready_tail)->ready_next = queue;
    else
        t->ready_head = queue;
    t->ready_tail = queue;
    t->ready_count++;
}

uint32_t queue_ready_pop(struct queue_table *t)
{
    uint32_t queue = t->ready_head;

    if (queue != QUEUE_NONE) {
        struct queue_state *s = queue_state(t, queue);
        s->flags &= (uint8_t)~STATE_READY;
        t->ready_head = s->ready_next;
        if (t->ready_head == QUEUE_NONE)
            t->ready_tail = QUEUE_NONE;
        t->ready_count--;
    }
    return queue;
}

/* --- chunks --- */

static uint64_t ordinal(int64_t offset)
{
    return (uint64_t)offset / CHUNK_ENTRIES;
}

static uint32_t chunks_used(const struct queue_table *t)
{
    return atomic_load_explicit(&t->chunks_used, memory_order_relaxed);
}

static int block_map(struct queue_table *t)
{
    void *block;

    if (t->chunks_mapped >= t->chunks_max)
        return -ENOSPC;
    block = mmap(NULL, BLOCK_CHUNKS * sizeof(struct queue_chunk), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return -ENOSPC; /* to the caller as good as a budget used up */
    t->blocks[t->chunks_mapped / BLOCK_CHUNKS] = block;
    t->chunks_mapped += BLOCK_CHUNKS;
    return 0;
}

/* Chunks that can be had without another block. */
static uint32_t chunks_at_hand(const struct queue_table *t)
{
    uint32_t end = t->chunks_mapped < t->chunks_max ? t->chunks_mapped : t->chunks_max;

    return t->free_count + (end - t->chunks_carved);
}

static int chunk_take(struct queue_table *t, uint32_t *out)
{
    if (chunks_at_hand(t) == 0) {
        int r = block_map(t);
        if (r < 0)
            return r;
    }
    if (t->free_count > 0) {
        *out = t->free_head;
        t->free_head = queue_chunk(t, *out)->next;
        t->free_count--;
    } else {
        *out = t->chunks_carved++;
    }
    atomic_store_explicit(&t->chunks_used, chunks_used(t) + 1, memory_order_relaxed);
    return 0;
}

/* Gives back a linked row of chunks. */
static void chunks_give(struct queue_table *t, uint32_t first, uint32_t last, uint64_t count)
{
    assert(count <= chunks_used(t));
    queue_chunk(t, last)->next = t->free_head;
    t->free_head = first;
    t->free_count += (uint32_t)count;
    atomic_store_explicit(&t->chunks_used, chunks_used(t) - (uint32_t)count, memory_order_relaxed);
}

void queue_memory_trim(struct queue_table *t)
{
    for (;;) {
        struct queue_chunk *block = NULL;

        pthread_mutex_lock(t->append_lock);
        if (chunks_used(t) == 0 && t->chunks_mapped > KEEP_BLOCKS * BLOCK_CHUNKS) {
            t->free_head = CHUNK_NONE;
            t->free_count = 0;
            t->chunks_carved = 0;
            t->chunks_mapped -= BLOCK_CHUNKS;
            block = t->blocks[t->chunks_mapped / BLOCK_CHUNKS];
        }
        pthread_mutex_unlock(t->append_lock);
        if (!block)
            return;
        munmap(block, BLOCK_CHUNKS * sizeof(*block));
    }
}

/* Puts a fresh chunk behind the tail. */
static void chunk_link(struct queue_table *t, struct queue_state *s, uint32_t fresh)
{
    struct queue_chunk *c = queue_chunk(t, fresh), *before, *jump;

    c->next = CHUNK_NONE;
    c->prev = s->tail;
    if (s->tail == CHUNK_NONE) {
        c->jump = CHUNK_NONE;
        c->jump_by = UINT32_MAX;
        s->head = s->tail = fresh;
        return;
    }
    /* Two equal jumps in a row make one of twice that and one; only chunks that are still ours may
     * be looked at. */
    uint64_t back = ordinal(s->next - 1) - ordinal(s->file_end);
    before = queue_chunk(t, s->tail);
    before->next = fresh;
    c->jump = s->tail;
    c->jump_by = 1;
    if (2 * (uint64_t)before->jump_by <= back) {
        jump = queue_chunk(t, before->jump);
        if (jump->jump_by == before->jump_by) {
            c->jump = jump->jump;
            c->jump_by = 2 * before->jump_by + 1;
        }
    }
    s->tail = fresh;
}

/* The chunk with that ordinal, which the queue has. */
static uint32_t chunk_find(const struct queue_table *t, const struct queue_state *s,
                           uint64_t wanted)
{
    uint32_t at = s->tail;
    uint64_t here = ordinal(s->next - 1);

    assert(s->head != CHUNK_NONE && wanted >= ordinal(s->file_end) && wanted <= here);
    while (here > wanted) {
        const struct queue_chunk *c = queue_chunk(t, at);
        if (c->jump_by <= here - wanted) {
            at = c->jump;
            here -= c->jump_by;
        } else {
            at = c->prev;
            here--;
        }
    }
    return at;
}

static uint8_t *unit_in(const struct queue_table *t, uint32_t chunk, int64_t offset)
{
    return queue_chunk(t, chunk)->entries + offset % CHUNK_ENTRIES * QUEUE_ENTRY_BYTES;
}

uint8_t *queue_memory_at(const struct queue_table *t, const struct queue_state *s, int64_t offset)
{
    return unit_in(t, chunk_find(t, s, ordinal(offset)), offset);
}

static uint64_t end_in(const struct queue_table *t, uint32_t chunk, int64_t offset)
{
    struct queue_entry e;

    queue_unit_decode(unit_in(t, chunk, offset), &e);
    return queue_entry_end(&e);
}

int64_t queue_memory_end(const struct queue_table *t, const struct queue_state *s, uint64_t limit)
{
    uint32_t at = s->tail;
    uint64_t here, first;
    int64_t offset, end;

    if (s->head == CHUNK_NONE || s->last_end <= limit)
        return s->next;
    /* Back to the newest chunk that begins at or below the limit. The head is not asked: its first
     * places may never have been used. */
    here = ordinal(s->next - 1);
    first = ordinal(s->file_end);
    while (here > first && end_in(t, at, 0) > limit) {
        const struct queue_chunk *c = queue_chunk(t, at);
        if (c->jump_by < here - first && end_in(t, c->jump, 0) > limit) {
            at = c->jump;
            here -= c->jump_by;
        } else {
            at = c->prev;
            here--;
        }
    }
    offset = here == first ? s->file_end : (int64_t)(here * CHUNK_ENTRIES);
    end = (int64_t)((here + 1) * CHUNK_ENTRIES);
    if (end > s->next)
        end = s->next;
    while (offset < end && end_in(t, at, offset) <= limit)
        offset++;
    return offset;
}

void queue_memory_written(struct queue_table *t, uint32_t queue, int64_t end, uint64_t last_end)
{
    struct queue_state *s = queue_state(t, queue);
    uint64_t first = ordinal(s->file_end);

    assert(end > s->file_end && end <= s->next);
    if (end == s->next) {
        chunks_give(t, s->head, s->tail, ordinal(s->next - 1) - first + 1);
        s->head = s->tail = CHUNK_NONE;
        queue_dirty_remove(t, queue);
    } else if (ordinal(end) > first) {
        uint32_t head = chunk_find(t, s, ordinal(end));
        chunks_give(t, s->head, queue_chunk(t, head)->prev, ordinal(end) - first);
        s->head = head;
    }
    t->pending -= (uint64_t)(end - s->file_end);
    s->file_end = end;
    s->file_last_end = last_end;
}

void queue_memory_cut(struct queue_table *t, uint32_t queue, int64_t end)
{
    struct queue_state *s = queue_state(t, queue);

    assert(end >= s->file_end && end <= s->next);
    if (end == s->next)
        return;
    uint64_t last = ordinal(s->next - 1);
    if (end == s->file_end) {
        chunks_give(t, s->head, s->tail, last - ordinal(s->file_end) + 1);
        s->head = s->tail = CHUNK_NONE;
        s->last_end = s->file_last_end;
        queue_dirty_remove(t, queue);
    } else {
        uint32_t tail = chunk_find(t, s, ordinal(end - 1));
        if (tail != s->tail)
            chunks_give(t, queue_chunk(t, tail)->next, s->tail, last - ordinal(end - 1));
        s->tail = tail;
        s->last_end = end_in(t, tail, end - 1);
    }
    t->pending -= (uint64_t)(s->next - end);
    s->next = end;
}

void queue_restart(struct queue_table *t, uint32_t queue, int64_t offset)
{
    struct queue_state *s = queue_state(t, queue);

    queue_memory_cut(t, queue, s->file_end);
    s->min = s->file_end = s->next = offset;
    s->last_end = s->file_last_end = 0;
    s->generation++;
}

int queue_state_set(struct queue_table *t, struct topic *topic, int32_t last_id, int32_t queue_id,
                    const struct queue_ends *ends)
{
    uint32_t queue = QUEUE_NONE;

    pthread_mutex_lock(t->append_lock);
    if (queue_table_find(t, topic, last_id, true) != QUEUE_NONE)
        queue = queue_table_find(t, topic, queue_id, true);
    if (queue != QUEUE_NONE) {
        struct queue_state *s = queue_state(t, queue);
        queue_restart(t, queue, ends->next);
        s->min = ends->min;
        s->last_end = s->file_last_end = ends->last_end;
    }
    pthread_mutex_unlock(t->append_lock);
    return queue == QUEUE_NONE ? -ENOSPC : 0;
}

/* --- append --- */

int64_t queue_table_next(const struct queue_table *t, uint32_t queue)
{
    return queue_state(t, queue)->next;
}

int queue_table_append(struct queue_table *t, uint32_t queue, const struct queue_entry *entry)
{
    struct queue_state *s = queue_state(t, queue);

    assert(queue < t->count && entry->log_offset >= 0 && entry->size > 0 &&
           entry->size < QUEUE_FILLER_SIZE && s->next < QUEUE_OFFSET_MAX);
    assert(queue_entry_end(entry) >= s->last_end);
    if (s->tail == CHUNK_NONE || s->next % CHUNK_ENTRIES == 0) {
        uint32_t fresh;
        int r = chunk_take(t, &fresh);
        if (r < 0)
            return r;
        chunk_link(t, s, fresh);
        queue_dirty_add(t, queue);
    }
    queue_unit_encode(unit_in(t, s->tail, s->next), entry);
    s->next++;
    s->last_end = queue_entry_end(entry);
    t->pending++;
    if (s->next - s->file_end >= QUEUE_BATCH)
        queue_ready_add(t, queue);
    return 0;
}

int queue_table_reserve(struct queue_table *t, uint32_t count)
{
    /* Each of them may be the first of a chunk. */
    while (chunks_at_hand(t) < count) {
        int r = block_map(t);
        if (r < 0)
            return r;
    }
    return 0;
}

bool queue_table_pressed(const struct queue_table *t)
{
    return chunks_used(t) > t->chunks_max - t->chunks_max / 4;
}

/* --- what consumers see --- */

/* One moment of a queue. */
struct view {
    struct queue_place place;
    int64_t min, file_end, end;
    bool end_in_files; /* entries in files are above the watermark too: `end` is yet to be found */
};

/* Append lock held. */
static struct view view_of(const struct queue_table *t, uint32_t queue, uint64_t confirmed)
{
    const struct queue_state *s = queue_state(t, queue);
    struct view v = {
        .place = queue_place(t, queue), .min = s->min, .file_end = s->file_end, .end = s->next};

    if (s->last_end > confirmed) {
        v.end_in_files = s->file_last_end > confirmed;
        v.end = v.end_in_files ? s->file_end : queue_memory_end(t, s, confirmed);
    }
    return v;
}

/* No lock held. */
static int view_finish(struct queue_table *t, struct view *v, uint64_t confirmed, bool may_block)
{
    int r = 0;

    if (v->end_in_files && v->end > v->min)
        r = queue_files_end(t, &v->place, v->min, v->end, confirmed, may_block, &v->end);
    if (v->end < v->min)
        v->end = v->min;
    return r;
}

struct queue_range queue_table_range(struct queue_table *t, uint32_t queue, uint64_t confirmed)
{
    struct view v;

    pthread_mutex_lock(t->append_lock);
    v = view_of(t, queue, confirmed);
    pthread_mutex_unlock(t->append_lock);
    if (view_finish(t, &v, confirmed, true) < 0)
        v.end = v.min; /* what cannot be judged is not shown */
    return (struct queue_range){v.min, v.end};
}

/* Copies entries [offset, offset + count) from chunks. Append lock held. */
static void memory_read(const struct queue_table *t, const struct queue_state *s, int64_t offset,
                        struct queue_entry *to, int count)
{
    uint32_t at = chunk_find(t, s, ordinal(offset));

    for (int i = 0; i < count; i++, offset++) {
        if (i > 0 && offset % CHUNK_ENTRIES == 0)
            at = queue_chunk(t, at)->next;
        queue_unit_decode(unit_in(t, at, offset), &to[i]);
    }
}

/* From the file, entries below file_end. How many, or as queue_units_read(). */
static int file_read(struct queue_table *t, const struct queue_place *place, int64_t offset,
                     struct queue_entry *to, int count, bool may_block)
{
    uint8_t units[READ_UNITS * QUEUE_ENTRY_BYTES];
    int n;

    n = queue_units_read(t, place, offset, units, count < READ_UNITS ? count : READ_UNITS,
                         may_block);
    for (int i = 0; i < n; i++) {
        if (queue_unit_decode(units + (size_t)i * QUEUE_ENTRY_BYTES, &to[i]) == UNIT_EMPTY)
            to[i].size = QUEUE_ENTRY_BAD;
    }
    return n;
}

int queue_table_read(struct queue_table *t, uint32_t queue, int64_t offset, struct queue_entry *to,
                     int count, uint64_t confirmed, bool may_block)
{
    struct view v;
    const struct queue_state *s = queue_state(t, queue);
    bool from_files = false, same = true, removed = false;
    int done = 0, r;

    pthread_mutex_lock(t->append_lock);
    v = view_of(t, queue, confirmed);
    pthread_mutex_unlock(t->append_lock);
    r = view_finish(t, &v, confirmed, may_block);
    if (r < 0)
        return r;
    if (offset < v.min || offset >= v.end || count <= 0)
        return 0;
    if (count > v.end - offset)
        count = (int)(v.end - offset);

    while (done < count && same) {
        int64_t at = offset + done;
        int n = count - done;
        int64_t file_end;

        pthread_mutex_lock(t->append_lock);
        /* The queue may have been dropped, and even begun anew, since we looked. */
        same = s->generation == v.place.generation;
        file_end = s->file_end;
        if (same && at >= file_end) {
            n = n < READ_UNITS ? n : READ_UNITS;
            memory_read(t, s, at, to + done, n);
            done += n;
        }
        pthread_mutex_unlock(t->append_lock);
        if (!same || at >= file_end)
            continue;
        if (n > file_end - at)
            n = (int)(file_end - at);
        r = file_read(t, &v.place, at, to + done, n, may_block);
        if (r < 0)
            break;
        from_files = true;
        done += r;
    }
    if (from_files || r < 0) {
        pthread_mutex_lock(t->append_lock);
        same = s->generation == v.place.generation;
        removed = offset < s->min; /* the file may have gone before we had it open */
        pthread_mutex_unlock(t->append_lock);
    }
    if (!same) {
        /* We may have put a descriptor of a file into the cache that is removed by now. */
        queue_files_forget(t->files, queue, 1);
        return 0;
    }
    return done > 0 ? done : removed ? 0 : r;
}

/* --- numbers --- */

void queue_table_stats(struct queue_table *t, struct queue_table_stats *out)
{
    pthread_mutex_lock(t->append_lock);
    *out = (struct queue_table_stats){
        .queues = t->count,
        .chunk_bytes = (uint64_t)chunks_used(t) * sizeof(struct queue_chunk),
        .chunk_budget = (uint64_t)t->chunks_max * sizeof(struct queue_chunk),
        .pending_entries = t->pending,
    };
    pthread_mutex_unlock(t->append_lock);
    out->open_files = queue_files_count(t->files);
}
