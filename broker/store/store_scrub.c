/* store_scrub.c - the scrub thread: queue entries that are wrong are put right from the log, and
 * what an earlier process wrote is verified bit by bit.
 *
 * A repair: a reader found that the entry at some offset of a queue does not lead to its message.
 * Its message, if there is one, lies between those of the nearest entries that are right; that
 * stretch of the log is read, and every record in it gets the entry that it should have. What is
 * wrong even then has no record: it is given up (a filler), unless it leads into a place that is
 * damaged, where it may be right after all. Reads of the queue wait meanwhile, at that offset.
 *
 * The scrub: the same look at all records from the oldest on, slowly, while nothing is to be
 * repaired. When it is through, the thread sleeps for good.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    RETRY_MS = 1000,
    STEP_BYTES = 65536, /* read at a time, at least, and at least an eighth of a second's */
};
#define NEVER INT64_MAX

void scrub_init(struct scrub *scrub)
{

    pthread_mutex_init(&scrub->lock, NULL);
    clock_cond_init(&scrub->wake);
    scrub->last_queue = QUEUE_NONE;
    scrub->scan.fd = -1;
}

void scrub_destroy(struct scrub *scrub)
{
    log_scan_destroy(&scrub->scan);
    buf_destroy(&scrub->record);
    pthread_cond_destroy(&scrub->wake);
    pthread_mutex_destroy(&scrub->lock);
}

/* --- who waits --- */

int store_ask_repair(struct store *s, uint32_t queue, int64_t offset)
{
    struct scrub *scrub = &s->scrub;
    int64_t now = clock_mono_ms();
    bool known = false;
    int r = 0;

    pthread_mutex_lock(&scrub->lock);
    for (unsigned i = 0; i < scrub->count && !known; i++)
        known = scrub->repairs[i].queue == queue && scrub->repairs[i].offset == offset;
    if (!known && scrub->count == STORE_REPAIRS_MAX) {
        r = -EAGAIN;
    } else if (!known) {
        struct repair repair = {.queue = queue, .offset = offset, .due_ms = now};
        /* It was repaired just now, and is wrong: something is wrong with us or the disk. */
        if (queue == scrub->last_queue && offset == scrub->last_offset &&
            now - scrub->last_ms < RETRY_MS)
            repair.due_ms += RETRY_MS;
        scrub->repairs[scrub->count++] = repair;
        atomic_store(&scrub->waiting, scrub->count);
        pthread_cond_signal(&scrub->wake);
    }
    pthread_mutex_unlock(&scrub->lock);
    return r;
}

int64_t store_repair_at(struct store *s, uint32_t queue)
{
    struct scrub *scrub = &s->scrub;
    int64_t at = NEVER;

    if (atomic_load_explicit(&scrub->waiting, memory_order_relaxed) == 0)
        return NEVER;
    pthread_mutex_lock(&scrub->lock);
    for (unsigned i = 0; i < scrub->count; i++) {
        if (scrub->repairs[i].queue == queue && scrub->repairs[i].offset < at)
            at = scrub->repairs[i].offset;
    }
    pthread_mutex_unlock(&scrub->lock);
    return at;
}

/* Calls those who wait on the queue. */
static void call_waiting(struct store *s, uint32_t queue)
{
    uint32_t loops;

    pthread_mutex_lock(&s->append_lock);
    loops = queue_table_waiting(s->queues, queue);
    if (loops && s->on_waited)
        s->on_waited(s->on_waited_ctx, loops, queue, store_confirmed(s));
    pthread_mutex_unlock(&s->append_lock);
    store_progress(s);
}

static bool stopping(struct scrub *scrub)
{
    bool stop;

    pthread_mutex_lock(&scrub->lock);
    stop = scrub->stop;
    pthread_mutex_unlock(&scrub->lock);
    return stop;
}

/* --- one record, one entry --- */

/* Whether the entry at that offset leads to its record, damaged or not; reads the record. False
 * when that cannot be told. */
static bool entry_leads(struct store *s, uint32_t queue, int64_t offset,
                        const struct queue_entry *entry)
{
    struct buf *record = &s->scrub.record;
    const char *why;
    uint8_t *to;

    if (!store_entry_plausible(s, entry, store_written(s)))
        return false;
    buf_reset(record);
    to = buf_reserve(record, (size_t)entry->size);
    return to &&
           commit_log_read(s->log, (uint64_t)entry->log_offset, to, (size_t)entry->size, true) ==
               0 &&
           store_judge(s, queue, offset, entry, bytes_of(to, (size_t)entry->size), &why) !=
               VERDICT_OTHER;
}

/* The queue of a record, QUEUE_NONE when it is in none any more. */
static uint32_t queue_of(struct store *s, const struct record *r, uint64_t log_offset)
{
    struct topic *topic = metadata_topic(s->metadata, r->topic, NULL);
    uint32_t queue;

    if (!topic || log_offset < metadata_topic_floor(s->metadata, r->topic))
        return QUEUE_NONE;
    pthread_mutex_lock(&s->append_lock);
    queue = queue_table_find(s->queues, topic, r->queue_id, false);
    pthread_mutex_unlock(&s->append_lock);
    return queue;
}

/* The entry of a good record: 0 it is right now, -errno it could not be written. */
static int mend_entry(struct store *s, const struct record *r, uint64_t log_offset)
{
    struct queue_entry right, there;
    uint32_t queue;
    int looks, result;

    if (!store_entry_of(s, r, log_offset, &right))
        return 0;
    queue = queue_of(s, r, log_offset);
    if (queue == QUEUE_NONE)
        return 0;
    looks = queue_table_look(s->queues, queue, r->queue_offset, &there);
    if (looks < 0)
        return 0;
    if (looks == 0) {
        bool same = there.log_offset == right.log_offset;
        if (same && there.size == right.size && store_tags_fit(r, there.tags_code))
            return 0;
        /* Of two records with one queue offset the first stays, as at a start. */
        if (!same && entry_leads(s, queue, r->queue_offset, &there))
            return 0;
    }
    atomic_fetch_add(&s->scrub.problems, 1);
    result = queue_table_put(s->queues, queue, r->queue_offset, &right);
    if (result == -ENOENT)
        return 0; /* not in files any more */
    if (result < 0) {
        log_warn_limited("repairs",
                         "topic %.*s queue %d: the entry at queue offset %" PRId64
                         " is wrong and cannot be written (%d)",
                         (int)r->topic.len, (const char *)r->topic.at, r->queue_id, r->queue_offset,
                         -result);
        return result;
    }
    atomic_fetch_add(&s->scrub.mended, 1);
    log_warn_limited("mended entries",
                     "topic %.*s queue %d: the entry at queue offset %" PRId64
                     " was wrong and is repaired: its record is at log offset %" PRIu64,
                     (int)r->topic.len, (const char *)r->topic.at, r->queue_id, r->queue_offset,
                     log_offset);
    return 0;
}

/* --- a stretch of the log --- */

/* Looks at what stands at *at, which is below `to`, and goes behind it. -errno when the log cannot
 * be read; *unwritten gets that of an entry that could not be written. */
static int scan_one(struct store *s, uint64_t *at, uint64_t to, int *unwritten)
{
    struct scrub *scrub = &s->scrub;
    struct record record;
    const char *why;
    uint64_t bound, next;
    int r;

    if (*at < commit_log_min(s->log)) {
        *at = commit_log_min(s->log);
        return 0;
    }
    r = log_scan_judge(&scrub->scan, *at, &record, &why);
    if (r == -ENOENT && *at < commit_log_min(s->log))
        return 0; /* deleted in this moment */
    if (r < 0)
        return r;
    bound = log_scan_segment_end(&scrub->scan, *at);
    if (r == LOG_SCAN_BLANK) {
        *at = bound;
        return 0;
    }
    if (r == LOG_SCAN_RECORD) {
        r = mend_entry(s, &record, *at);
        if (r < 0)
            *unwritten = r;
        *at += record.total_size;
        return 0;
    }
    if (bound > to)
        bound = to;
    r = log_scan_resume(&scrub->scan, *at, bound, INT64_MIN, &next);
    if (r < 0)
        return r;
    if (r == 0)
        next = bound;
    atomic_fetch_add(&scrub->problems, 1);
    store_note_damage(s, *at, next, why);
    *at = next;
    return 0;
}

static int scan_stretch(struct store *s, uint64_t from, uint64_t to)
{
    int unwritten = 0;

    s->scrub.scan.len = 0; /* what was read before may have changed since */
    for (int64_t steps = 0; from < to; steps++) {
        int r = scan_one(s, &from, to, &unwritten);
        if (r < 0)
            return r;
        if (steps % 256 == 0 && stopping(&s->scrub))
            return -ECANCELED;
    }
    return unwritten;
}

/* --- a repair --- */

/* Entries [begin, end) are in doubt; their records lie in [from, to) of the log. */
struct doubt {
    int64_t begin, end;
    uint64_t from, to;
};

static bool is_right(struct store *s, uint32_t queue, int64_t offset, struct queue_entry *entry)
{
    return queue_table_look(s->queues, queue, offset, entry) == 0 &&
           entry_leads(s, queue, offset, entry);
}

/* The nearest right entries on both sides; in growing steps, since a whole file may be gone. */
static struct doubt doubt_around(struct store *s, uint32_t queue, int64_t offset)
{
    struct queue_range range = queue_table_range(s->queues, queue, UINT64_MAX);
    struct doubt d = {.begin = range.min,
                      .end = range.max,
                      .from = commit_log_min(s->log),
                      .to = store_written(s)};
    struct queue_entry entry;

    for (int64_t at = offset - 1, step = 1; at >= range.min; at -= step, step *= 2) {
        if (is_right(s, queue, at, &entry)) {
            d.begin = at + 1;
            d.from = (uint64_t)entry.log_offset + (uint64_t)entry.size;
            break;
        }
    }
    for (int64_t at = offset + 1, step = 1; at < range.max; step *= 2) {
        if (is_right(s, queue, at, &entry)) {
            d.end = at;
            d.to = (uint64_t)entry.log_offset;
            break;
        }
        if (at == range.max - 1)
            break;
        at = range.max - 1 - at > step ? at + step : range.max - 1;
    }
    return d;
}

/* After the log was read: what is still wrong at `offset` has no record. 1 given up, 0 not. */
static int settle_entry(struct store *s, uint32_t queue, int64_t offset, const struct doubt *d)
{
    struct queue_entry e;
    uint64_t begin, end;
    int r = queue_table_look(s->queues, queue, offset, &e);

    if (r < 0 || r == QUEUE_LOOK_NONE)
        return 0;
    if (r == 0) {
        if (entry_leads(s, queue, offset, &e))
            return 0;
        begin = (uint64_t)e.log_offset;
        end = begin + (uint64_t)e.size;
        if (begin >= d->from && end <= d->to && store_is_damaged(s, begin, end))
            return 0;
    }
    r = queue_table_put(s->queues, queue, offset, NULL);
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static int repair(struct store *s, uint32_t queue, int64_t offset)
{
    struct doubt d = doubt_around(s, queue, offset);
    const struct topic *topic;
    int32_t queue_id;
    int64_t given_up = 0, first = -1;
    int r;

    r = d.from < d.to ? scan_stretch(s, d.from, d.to) : 0;
    for (int64_t at = d.begin; at < d.end && r == 0 && !store_is_light(s, queue); at++) {
        int gone = settle_entry(s, queue, at, &d);
        if (gone < 0)
            r = gone;
        if (gone > 0 && given_up++ == 0)
            first = at;
        if (at % 256 == 0 && stopping(&s->scrub))
            r = -ECANCELED;
    }
    if (given_up > 0) {
        topic = queue_table_topic(s->queues, queue, &queue_id);
        atomic_fetch_add(&s->scrub.given_up, (uint64_t)given_up);
        log_warn_limited("entries given up",
                         "topic %s queue %d: %" PRId64 " entries from queue offset %" PRId64
                         " on lead to no message, and none was found for them in the log; they are "
                         "stepped over",
                         topic->name, queue_id, given_up, first);
    }
    return r;
}

/* The repair that is due; false when there is none, *next_ms is when there will be. Lock held. */
static bool due_repair(const struct scrub *scrub, int64_t now, struct repair *out, int64_t *next_ms)
{
    *next_ms = NEVER;
    for (unsigned i = 0; i < scrub->count; i++) {
        if (scrub->repairs[i].due_ms <= now) {
            *out = scrub->repairs[i];
            return true;
        }
        if (scrub->repairs[i].due_ms < *next_ms)
            *next_ms = scrub->repairs[i].due_ms;
    }
    return false;
}

static void run_repair(struct store *s, const struct repair *what)
{
    struct scrub *scrub = &s->scrub;
    char room[128];
    int r = repair(s, what->queue, what->offset);
    int64_t now = clock_mono_ms();

    if (r < 0 && r != -ECANCELED)
        log_warn_limited("repairs of entries",
                         "store %s: entries of a queue cannot be repaired: %s; its consumers wait, "
                         "it is tried again every second",
                         s->root_dir, strerror_r(-r, room, sizeof(room)));
    pthread_mutex_lock(&scrub->lock);
    for (unsigned i = 0; i < scrub->count; i++) {
        struct repair *one = &scrub->repairs[i];
        if (one->queue != what->queue || one->offset != what->offset)
            continue;
        if (r < 0)
            one->due_ms = now + RETRY_MS;
        else
            *one = scrub->repairs[--scrub->count];
        break;
    }
    atomic_store(&scrub->waiting, scrub->count);
    pthread_mutex_unlock(&scrub->lock);
    scrub->last_queue = what->queue;
    scrub->last_offset = what->offset;
    scrub->last_ms = now;
    if (r == 0)
        call_waiting(s, what->queue);
}

/* --- the scrub --- */

/* One step; the time it should have taken. */
static int64_t scrub_step(struct store *s)
{
    struct scrub *scrub = &s->scrub;
    uint64_t begin = scrub->at, bytes = s->options.scrub_bytes_s / 8;

    if (bytes < STEP_BYTES)
        bytes = STEP_BYTES;
    while (scrub->at < scrub->end && scrub->at - begin < bytes) {
        int unwritten, r = scan_one(s, &scrub->at, scrub->end, &unwritten);
        if (r < 0) { /* an unwritten entry was told of; the reader who needs it asks again */
            atomic_fetch_add(&scrub->problems, 1);
            log_warn_limited("scrub", "store %s: the log cannot be verified at %" PRIu64 ": %s",
                             s->root_dir, scrub->at, scrub->err.text);
            scrub->at = log_scan_segment_end(&scrub->scan, scrub->at);
        }
    }
    if (scrub->at >= scrub->end) {
        scrub->at = scrub->end;
        log_info("store %s: the log below %" PRIu64 " is verified, with %" PRIu64
                 " problems, %" PRIu64 " entries repaired",
                 s->root_dir, scrub->end, atomic_load(&scrub->problems),
                 atomic_load(&scrub->mended));
        log_scan_destroy(&scrub->scan);
    }
    atomic_store(&scrub->scrubbed_to, scrub->at == scrub->end ? s->boot_end : scrub->at);
    return (int64_t)((scrub->at - begin) * 1000 / s->options.scrub_bytes_s);
}

static void sleep_until(struct scrub *scrub, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    if (until_ms == NEVER)
        pthread_cond_wait(&scrub->wake, &scrub->lock);
    else
        pthread_cond_timedwait(&scrub->wake, &scrub->lock, &until);
}

static void *scrub_main(void *arg)
{
    struct store *s = arg;
    struct scrub *scrub = &s->scrub;
    int64_t step_ms = clock_mono_ms();

    pthread_mutex_lock(&scrub->lock);
    while (!scrub->stop) {
        int64_t now = clock_mono_ms(), next_ms;
        bool scrubs = scrub->at < scrub->end && s->options.scrub_bytes_s > 0;
        struct repair what;

        if (due_repair(scrub, now, &what, &next_ms)) {
            pthread_mutex_unlock(&scrub->lock);
            run_repair(s, &what);
            pthread_mutex_lock(&scrub->lock);
        } else if (scrubs && step_ms <= now) {
            pthread_mutex_unlock(&scrub->lock);
            step_ms = now + scrub_step(s);
            pthread_mutex_lock(&scrub->lock);
        } else {
            if (scrubs && step_ms < next_ms)
                next_ms = step_ms;
            sleep_until(scrub, next_ms);
        }
    }
    pthread_mutex_unlock(&scrub->lock);
    return NULL;
}

int scrub_start(struct store *s, struct err *err)
{
    struct scrub *scrub = &s->scrub;
    int r;

    log_scan_init(&scrub->scan, s->commit_log_dir, (uint64_t)s->options.segment_bytes, &scrub->err);
    scrub->scan.crc_from = s->boot_crc_from;
    scrub->scan.crc_to = s->boot_end;
    atomic_store(&scrub->scrubbed_to, scrub->at < scrub->end ? scrub->at : s->boot_end);
    r = store_thread(&scrub->thread, "tern-scrub", scrub_main, s);
    if (r < 0)
        return err_set(err, r, "start the scrub thread");
    scrub->started = true;
    return 0;
}

void scrub_stop(struct store *s)
{
    struct scrub *scrub = &s->scrub;

    if (!scrub->started)
        return;
    pthread_mutex_lock(&scrub->lock);
    scrub->stop = true;
    pthread_cond_signal(&scrub->wake);
    pthread_mutex_unlock(&scrub->lock);
    pthread_join(scrub->thread, NULL);
    scrub->started = false;
}
