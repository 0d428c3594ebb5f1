/* store_read.c - everything that reads, none of it beyond the confirmed end.
 *
 * An entry is a claim about a record; before a record is served, the record itself has to say the
 * same: size, log offset, queue, queue offset, topic. Records that an earlier process wrote are
 * checked down to their checksums on every read, ours by their header (the bytes come from the tail
 * or the page cache that this process filled).
 *
 * Two things can be wrong. The record is damaged: it is stepped over. The entry is wrong: its
 * message is somewhere else in the log, so nobody may step over it; reads of the queue wait there
 * until the scrub thread has repaired it.
 */
#include <errno.h>
#include <limits.h>

#include "broker/store/delay_levels.h"
#include "broker/store/properties.h"
#include "broker/store/store_internal.h"

enum {
    FIND_CHUNK = 128,        /* entries read at once */
    FIND_SCAN_BYTES = 16000, /* entries looked at for one pull, at least */
    NEAR_BYTES = 262144,     /* what one pull may get near the head */
    NEAR_COUNT = 32,
    FAR_BYTES = 65536, /* and far behind, where it comes from the disk */
    FAR_COUNT = 8,
    TIME_BYTES = 48 + 20 + 8, /* of a record, up to the end of its store time */
    TIME_PROBES = 64,         /* unreadable entries that a search by time steps over */
    RECORD_MIN_BYTES = 91,
};

uint32_t store_queue(struct store *s, struct topic *topic, int32_t queue_id)
{
    uint32_t queue;

    pthread_mutex_lock(&s->append_lock);
    queue = queue_table_find(s->queues, topic, queue_id, false);
    pthread_mutex_unlock(&s->append_lock);
    return queue;
}

uint32_t store_queue_make(struct store *s, struct topic *topic, int32_t queue_id)
{
    uint32_t queue;

    if (queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX)
        return QUEUE_NONE;
    pthread_mutex_lock(&s->append_lock);
    queue = queue_table_find(s->queues, topic, queue_id, true);
    pthread_mutex_unlock(&s->append_lock);
    return queue;
}

struct queue_range store_range(struct store *s, uint32_t queue)
{
    if (queue == QUEUE_NONE)
        return (struct queue_range){0, 0};
    return queue_table_range(s->queues, queue, store_confirmed(s));
}

int store_settle_queue(struct store *s, uint32_t queue)
{
    uint64_t min = commit_log_min(s->log);

    /* Nothing has gone, so nothing moves: an entry that says otherwise is wrong. */
    if (min == atomic_load_explicit(&s->settled_min, memory_order_acquire))
        return 0;
    return queue_table_settle(s->queues, queue, min);
}

struct queue_range store_range_settled(struct store *s, uint32_t queue)
{
    uint64_t min = commit_log_min(s->log);

    if (queue != QUEUE_NONE &&
        atomic_load_explicit(&s->retention.swept_to, memory_order_acquire) < min)
        (void)store_settle_queue(s, queue); /* else as far as is known */
    return store_range(s, queue);
}

/* --- pulls: which messages --- */

struct find {
    struct store *s;
    const struct store_get *get;
    struct store_found *found;
    uint64_t confirmed, min;
    int64_t first;        /* of the queue */
    int64_t next;         /* first queue offset not examined */
    uint64_t examined_to; /* log offset of the last one examined */
    bool alive;           /* the last one examined is not deleted, nor is any behind it */
    bool removed, unreadable;
};

bool store_entry_plausible(const struct store *s, const struct queue_entry *e, uint64_t end)
{
    uint64_t at = (uint64_t)e->log_offset, size = (uint64_t)(int64_t)e->size;
    uint64_t segment = (uint64_t)s->options.segment_bytes;

    return e->log_offset >= 0 && e->size >= RECORD_MIN_BYTES && e->size <= STORE_RECORD_READ_MAX &&
           at >= commit_log_min(s->log) && at < end && size <= end - at &&
           size <= segment - at % segment;
}

/* An entry below the log's min: its message is deleted, unless one before it is not. */
static bool is_deleted(struct find *f)
{
    struct queue_entry before;

    if (f->alive)
        return false;
    if (f->next == f->first) /* the queue begins with what the log has, until segments go */
        return f->min != atomic_load_explicit(&f->s->settled_min, memory_order_relaxed);
    if (f->removed)
        return true; /* like one before it */
    return queue_table_read(f->s->queues, f->get->queue, f->next - 1, &before, 1, f->confirmed,
                            f->get->may_block) != 1 ||
           before.size <= 0 || (uint64_t)before.log_offset < f->min;
}

/* Whether what is chosen already is enough; the first message is always taken. */
static bool full_before(const struct find *f, const struct queue_entry *e)
{
    const struct store_got *got = &f->found->got;
    size_t bytes = got->bytes + (size_t)e->size;
    bool far;

    if (f->found->count == 0)
        return false;
    if (f->get->max_bytes > 0)
        return bytes > f->get->max_bytes;
    far = f->confirmed - (uint64_t)e->log_offset > f->s->far_bytes;
    return far ? bytes > FAR_BYTES || got->messages >= FAR_COUNT
               : bytes > NEAR_BYTES || got->messages >= NEAR_COUNT;
}

/* The entry cannot be right: the pull ends before it, or waits. */
static void ask_repair(struct find *f)
{
    (void)store_ask_repair(f->s, f->get->queue, f->next);
    if (f->next == f->get->offset)
        f->found->got.status = STORE_GET_REPAIRING;
}

/* False when the pull ends before this entry. */
static bool examine(struct find *f, const struct queue_entry *e)
{
    const struct store_filter *filter = &f->get->filter;
    struct store_found *found = f->found;

    if (found->count == STORE_FIND_MAX ||
        (found->count > 0 && found->count >= f->get->max_messages))
        return false;
    if (e->size == 0) {
        f->unreadable = true; /* given up, or a filler that RocketMQ puts before the first entry */
    } else if (e->size > 0 && e->log_offset >= 0 && (uint64_t)e->log_offset < f->min &&
               is_deleted(f)) {
        f->removed = true;
    } else if (!store_entry_plausible(f->s, e, f->confirmed)) {
        ask_repair(f);
        return false;
    } else if (store_is_damaged(f->s, (uint64_t)e->log_offset,
                                (uint64_t)e->log_offset + (uint64_t)e->size)) {
        f->unreadable = f->alive = true;
    } else if (!filter->match || filter->match(filter->ctx, e->tags_code)) {
        if (full_before(f, e))
            return false;
        found->first_offset[found->count] = f->next;
        found->entries[found->count++] = *e;
        found->got.messages++;
        found->got.bytes += (size_t)e->size;
        f->examined_to = (uint64_t)e->log_offset;
        f->alive = true;
    } else {
        f->examined_to = (uint64_t)e->log_offset;
        f->alive = true;
    }
    f->next++;
    return true;
}

static void scan_entries(struct find *f, int64_t max)
{
    struct queue_entry chunk[FIND_CHUNK];
    struct store_got *got = &f->found->got;
    int64_t limit = FIND_SCAN_BYTES / QUEUE_ENTRY_BYTES;

    if (limit < f->get->max_messages)
        limit = f->get->max_messages;
    if (limit > max - f->get->offset)
        limit = max - f->get->offset;
    for (int64_t end = f->get->offset + limit; f->next < end;) {
        int want = end - f->next < FIND_CHUNK ? (int)(end - f->next) : FIND_CHUNK;
        if (f->found->count == 0 && f->next == f->get->offset && want > NEAR_COUNT &&
            !f->get->filter.match)
            want = NEAR_COUNT; /* usually enough */
        int n = queue_table_read(f->s->queues, f->get->queue, f->next, chunk, want, f->confirmed,
                                 f->get->may_block);
        if (n == QUEUE_WOULD_BLOCK && f->found->count == 0)
            got->status = STORE_GET_WOULD_BLOCK;
        if (n == QUEUE_WOULD_BLOCK)
            return;
        if (n <= 0 && store_range(f->s, f->get->queue).min > f->next)
            f->removed = true; /* the queue file has just been deleted */
        else if (n < 0)
            ask_repair(f); /* it is missing, short or not to be read */
        if (n <= 0)
            return;
        for (int i = 0; i < n; i++) {
            if (!examine(f, &chunk[i]))
                return;
        }
    }
}

/* Nothing but entries of messages that are deleted, or a queue file that has just been: the sweep
 * has yet to come to this queue, or came while we looked. Where it begins has to be looked for,
 * which takes reads; then the reader is sent there at once. */
static void find_begin(struct find *f)
{
    struct store_got *got = &f->found->got;

    if (!f->get->may_block) {
        got->status = STORE_GET_WOULD_BLOCK;
        return;
    }
    got->min = store_range_settled(f->s, f->get->queue).min;
    if (f->next < got->min)
        f->next = got->min;
}

void store_find(struct store *s, const struct store_get *get, struct store_found *found)
{
    struct find f = {
        .s = s, .get = get, .found = found, .confirmed = store_confirmed(s), .next = get->offset};
    struct store_got *got = &found->got;
    struct queue_range range;

    f.examined_to = f.confirmed;
    *got = (struct store_got){.status = STORE_GET_NO_MATCH};
    found->queue = get->queue;
    found->count = 0;
    if (get->queue == QUEUE_NONE) {
        got->status = STORE_GET_NO_QUEUE;
        return;
    }
    range = queue_table_range(s->queues, get->queue, f.confirmed);
    got->min = range.min;
    got->max = range.max;
    got->next_offset = get->offset;
    if (range.max == 0) {
        got->status = STORE_GET_EMPTY;
        got->next_offset = 0;
    } else if (get->offset < range.min) {
        got->status = STORE_GET_TOO_SMALL;
        got->next_offset = range.min;
    } else if (get->offset == range.max) {
        got->status = STORE_GET_AT_END;
    } else if (get->offset > range.max) {
        got->status = STORE_GET_BEYOND_END;
        got->next_offset = range.max;
    } else {
        int64_t wait_at = store_repair_at(s, get->queue);

        f.min = commit_log_min(s->log);
        f.first = range.min;
        if (wait_at <= get->offset)
            got->status = STORE_GET_REPAIRING;
        else
            scan_entries(&f, wait_at < range.max ? wait_at : range.max);
        if (f.removed && found->count == 0 && got->status == STORE_GET_NO_MATCH)
            find_begin(&f);
        if (got->status == STORE_GET_WOULD_BLOCK || got->status == STORE_GET_REPAIRING)
            return;
        got->next_offset = f.next;
        got->far_behind = f.confirmed - f.examined_to > s->far_bytes;
        if (found->count > 0)
            got->status = STORE_GET_FOUND;
        else if (f.removed)
            got->status = STORE_GET_REMOVED;
        else if (f.unreadable)
            got->status = STORE_GET_UNREADABLE;
    }
}

/* --- pulls: their bytes --- */

bool store_tags_fit(const struct record *r, int64_t tags_code)
{
    return tags_code < INT32_MIN || bytes_is(r->topic, SCHEDULE_TOPIC) ||
           tags_code == properties_tags_code(properties_find(r->properties, BYTES_LIT("TAGS")));
}

bool store_entry_of(const struct store *s, const struct record *r, uint64_t log_offset,
                    struct queue_entry *entry)
{
    int32_t type = r->sys_flag & RECORD_TRANSACTION_MASK;

    if (type == RECORD_TRANSACTION_PREPARED || type == RECORD_TRANSACTION_ROLLBACK)
        return false;
    *entry = (struct queue_entry){
        .log_offset = (int64_t)log_offset,
        .size = (int32_t)r->total_size,
        .tags_code = delay_levels_tags_code(s->options.delay_ms, s->options.delay_levels, r),
    };
    return true;
}

enum store_verdict store_judge(struct store *s, uint32_t queue, int64_t offset,
                               const struct queue_entry *e, struct bytes whole, const char **why)
{
    const struct topic *topic;
    struct record r;
    int32_t queue_id;

    if (record_decode(whole, &r) != 0 || r.total_size != whole.len ||
        r.log_offset != e->log_offset || r.queue_offset != offset)
        return VERDICT_OTHER;
    topic = queue_table_topic(s->queues, queue, &queue_id);
    if (r.queue_id != queue_id || !bytes_equal(r.topic, bytes_of(topic->name, topic->name_len)))
        return VERDICT_OTHER;
    if ((uint64_t)e->log_offset >= s->boot_end)
        return VERDICT_RIGHT;
    if (record_check(&r, whole, e->log_offset, why) != 0)
        return VERDICT_DAMAGED;
    if ((uint64_t)e->log_offset >= s->boot_crc_from && !record_has_crc(&r)) {
        *why = "it has lost its checksum";
        return VERDICT_DAMAGED;
    }
    return store_tags_fit(&r, e->tags_code) ? VERDICT_RIGHT : VERDICT_OTHER;
}

bool store_is_light(struct store *s, uint32_t queue)
{
    int32_t queue_id;
    const struct topic *topic = queue_table_topic(s->queues, queue, &queue_id);

    return bytes_starts(bytes_of(topic->name, topic->name_len), BYTES_LIT("%LMQ%"));
}

/* 0: it may be served; else what _fill returns. */
static int check_found(struct store *s, const struct store_found *found, int i, struct bytes whole)
{
    const struct queue_entry *e = &found->entries[i];
    uint64_t at = (uint64_t)e->log_offset;
    const char *why;

    switch (store_judge(s, found->queue, found->first_offset[i], e, whole, &why)) {
    case VERDICT_RIGHT:
        return 0;
    case VERDICT_DAMAGED:
        store_note_damage(s, at, at + (uint64_t)e->size, why);
        return -EBADMSG;
    case VERDICT_OTHER:
        break;
    }
    if (store_is_light(s, found->queue))
        return -EBADMSG;
    (void)store_ask_repair(s, found->queue, found->first_offset[i]);
    return STORE_REPAIRING;
}

int store_fill(struct store *s, const struct store_found *found, struct buf *out, bool may_block,
               int64_t *bad)
{
    size_t total = 0, at = 0;
    uint8_t *to;

    for (int i = 0; i < found->count; i++)
        total += (size_t)found->entries[i].size;
    if (total == 0)
        return 0;
    to = buf_reserve(out, total);
    if (!to)
        return -ENOMEM;
    for (int i = 0; i < found->count;) {
        uint64_t from = (uint64_t)found->entries[i].log_offset;
        size_t size = 0;
        int n = i;
        /* Neighbours in the log are read at once. */
        while (n < found->count && (uint64_t)found->entries[n].log_offset == from + size)
            size += (size_t)found->entries[n++].size;
        int r = commit_log_read(s->log, from, to + at, size, may_block);
        if (r == COMMIT_LOG_WOULD_BLOCK)
            return STORE_WOULD_BLOCK;
        if (r == -ENODATA && from < commit_log_min(s->log))
            return -ESTALE;
        if (r == -ENODATA) { /* the log never reached so far */
            *bad = found->first_offset[i];
            return -EBADMSG;
        }
        if (r < 0)
            return r;
        for (; i < n; i++) {
            size = (size_t)found->entries[i].size;
            r = check_found(s, found, i, bytes_of(to + at, size));
            if (r != 0) {
                *bad = found->first_offset[i];
                return r;
            }
            at += size;
        }
    }
    out->len += total;
    return 0;
}

/* --- single records and entries --- */

int store_read_record(struct store *s, uint64_t log_offset, struct buf *out, struct record *record)
{
    uint64_t confirmed = store_confirmed(s), segment = (uint64_t)s->options.segment_bytes;
    uint8_t head[RECORD_MIN_BYTES], *to;
    const char *why;
    uint64_t room;
    uint32_t size;
    int r;

    if (log_offset < commit_log_min(s->log) || log_offset >= confirmed)
        return -ENOENT;
    room = confirmed - log_offset;
    if (room > segment - log_offset % segment)
        room = segment - log_offset % segment;
    if (room < sizeof(head))
        return -ENOENT;
    r = commit_log_read(s->log, log_offset, head, sizeof(head), true);
    if (r < 0)
        return r == -ENODATA ? -ENOENT : r;
    /* Any offset may be asked for: believe the size only when the rest of the front fits too. */
    size = load_be32(head);
    if ((load_be32(head + 4) != RECORD_MAGIC_V1 && load_be32(head + 4) != RECORD_MAGIC_V2) ||
        load_be64(head + 28) != log_offset || size < RECORD_MIN_BYTES || size > room ||
        size > STORE_RECORD_READ_MAX)
        return -ENOENT;
    to = buf_reserve(out, size);
    if (!to)
        return -ENOMEM;
    r = commit_log_read(s->log, log_offset, to, size, true);
    if (r < 0)
        return r == -ENODATA ? -ENOENT : r;
    if (record_decode(bytes_of(to, size), record) != 0 ||
        record_check(record, bytes_of(to, size), (int64_t)log_offset, &why) != 0 ||
        (log_offset < s->boot_end && log_offset >= s->boot_crc_from && !record_has_crc(record)))
        return -ENOENT;
    out->len += size;
    return 0;
}

int store_read_found(struct store *s, const struct store_found *found, int i, struct buf *out,
                     struct record *record)
{
    const struct queue_entry *e = &found->entries[i];
    size_t size = (size_t)e->size;
    uint8_t *to = buf_reserve(out, size);
    int r;

    if (!to)
        return -ENOMEM;
    r = commit_log_read(s->log, (uint64_t)e->log_offset, to, size, true);
    if (r < 0)
        return r == -ENODATA ? -EBADMSG : r;
    r = check_found(s, found, i, bytes_of(to, size));
    if (r != 0)
        return r;
    record_decode(bytes_of(to, size), record);
    out->len += size;
    return 0;
}

int store_entry(struct store *s, uint32_t queue, int64_t offset, struct queue_entry *entry)
{
    uint64_t confirmed = store_confirmed(s);
    struct queue_range range;
    int n;

    if (queue == QUEUE_NONE)
        return -ENOENT;
    range = queue_table_range(s->queues, queue, confirmed);
    if (offset < range.min || offset >= range.max)
        return -ENOENT;
    n = queue_table_read(s->queues, queue, offset, entry, 1, confirmed, true);
    if (n == 1)
        return entry->size > 0 ? 0 : -ENOENT;
    return n < 0 ? n : -ENOENT;
}

/* --- by time --- */

/* Store time of the record at log_offset, -1 when it is none, or not that of the entry (NULL: any):
 * of its size and queue offset. */
static int64_t record_time(struct store *s, uint64_t log_offset, const struct queue_entry *entry,
                           int64_t queue_offset)
{
    uint64_t confirmed = store_confirmed(s);
    uint8_t head[TIME_BYTES];
    size_t at;

    if (log_offset < commit_log_min(s->log) || log_offset >= confirmed ||
        confirmed - log_offset < RECORD_MIN_BYTES)
        return -1;
    if (commit_log_read(s->log, log_offset, head, sizeof(head), true) < 0)
        return -1;
    if ((load_be32(head + 4) != RECORD_MAGIC_V1 && load_be32(head + 4) != RECORD_MAGIC_V2) ||
        load_be64(head + 28) != log_offset)
        return -1;
    if (entry &&
        (load_be32(head) != (uint32_t)entry->size || (int64_t)load_be64(head + 20) != queue_offset))
        return -1;
    at = load_be32(head + 36) & RECORD_BORN_V6 ? 48 + 20 : 48 + 8;
    return (int64_t)load_be64(head + at);
}

int64_t store_time_at(struct store *s, uint32_t queue, int64_t offset)
{
    struct queue_entry e;

    if (store_entry(s, queue, offset, &e) != 0 || e.log_offset < 0 || e.size < RECORD_MIN_BYTES)
        return -1;
    return record_time(s, (uint64_t)e.log_offset, &e, offset);
}

int64_t store_earliest_ms(struct store *s)
{
    return record_time(s, commit_log_min(s->log), NULL, 0);
}

/* First queue offset in [low, high) whose message was stored at or after `ms`, high when there is
 * none. Entries without a readable record are stepped over; those whose record is deleted are
 * earlier than everything. */
static int64_t first_since(struct store *s, uint32_t queue, int64_t low, int64_t high, int64_t ms)
{
    while (low < high) {
        int64_t mid = low + (high - low) / 2, probe = mid, time = -1;
        struct queue_entry e;
        bool deleted = false;

        for (int i = 0; i < TIME_PROBES && probe < high && time < 0 && !deleted; i++) {
            time = store_time_at(s, queue, probe);
            deleted = time < 0 && store_entry(s, queue, probe, &e) == 0 && e.log_offset >= 0 &&
                      (uint64_t)e.log_offset < commit_log_min(s->log);
            if (time < 0 && !deleted)
                probe++;
        }
        if (deleted || (time >= 0 && time < ms))
            low = probe + 1;
        else
            high = mid;
    }
    return low;
}

int64_t store_offset_by_time(struct store *s, uint32_t queue, int64_t ms, enum store_boundary how)
{
    struct queue_range range = store_range_settled(s, queue);
    int64_t at, before, after;

    if (range.min >= range.max)
        return range.min;
    if (how == STORE_UPPER) {
        at = ms == INT64_MAX ? range.max : first_since(s, queue, range.min, range.max, ms + 1);
        return at > range.min ? at - 1 : range.min;
    }
    at = first_since(s, queue, range.min, range.max, ms);
    if (how == STORE_LOWER || at == range.min)
        return at;
    if (at == range.max)
        return range.max - 1;
    after = store_time_at(s, queue, at);
    before = store_time_at(s, queue, at - 1);
    if (after == ms || before < 0)
        return at;
    return ms - before <= after - ms ? at - 1 : at;
}
