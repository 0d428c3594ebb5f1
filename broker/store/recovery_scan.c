/* recovery_scan.c - reads the log of a store that starts: each record gets its entry back in its
 * queue, and the first place that is no record is judged (store_recovery.c says how).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "broker/store/recovery.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    PROGRESS_MS = 5000,
    DEFAULT_QUEUES = 4, /* of a topic that is only known by its records */
};

static uint64_t segment_end(const struct recovery *v, uint64_t offset)
{
    return log_scan_segment_end(&v->scan, offset);
}

/* --- what a record means for its queue --- */

bool store_topic_by_records(struct bytes name, int32_t queue_id, struct topic_config *config)
{
    bool narrow =
        bytes_starts(name, BYTES_LIT("%RETRY%")) || bytes_starts(name, BYTES_LIT("%DLQ%"));
    int32_t queues = narrow ? 1 : DEFAULT_QUEUES;

    if (!topic_name_ok(name) || queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX)
        return false;
    if (queues <= queue_id)
        queues = queue_id + 1;
    *config = (struct topic_config){
        .read_queues = queues, .write_queues = queues, .perm = PERM_READ | PERM_WRITE};
    return true;
}

static int made_add(struct recovery *v, struct topic *topic)
{
    if (v->made_count == v->made_cap) {
        size_t cap = v->made_cap ? v->made_cap * 2 : 16;
        struct topic **made = reallocarray(v->made, cap, sizeof(*made));
        if (!made)
            return -ENOMEM;
        v->made = made;
        v->made_cap = cap;
    }
    v->made[v->made_count++] = topic;
    return 0;
}

static bool made_here(const struct recovery *v, const struct topic *topic)
{
    for (size_t i = 0; i < v->made_count; i++) {
        if (v->made[i] == topic)
            return true;
    }
    return false;
}

/* A topic that came back with the ids seen so far grows with those seen later. */
static void widen(struct recovery *v, const struct topic *topic, int32_t queue_id)
{
    struct bytes name = bytes_of(topic->name, topic->name_len);
    struct topic_config config;
    uint64_t sequence;

    if (v->made_count == 0 || !made_here(v, topic) || queue_id >= TOPIC_QUEUES_MAX ||
        !metadata_topic(v->s->metadata, name, &config) || queue_id < config.read_queues)
        return;
    config.read_queues = config.write_queues = queue_id + 1;
    if (metadata_topic_put(v->s->metadata, name, &config, 0, &sequence, NULL, NULL) < 0)
        v->nameless++;
}

/* A topic whose queues or records are there, but nothing else of it. NULL when it cannot be. */
struct topic *recovery_make_topic(void *ctx, struct bytes name, int32_t queue_id)
{
    struct recovery *v = ctx;
    struct topic_config config;
    struct topic *topic = metadata_topic(v->s->metadata, name, NULL);
    uint64_t sequence;

    if (topic) { /* made for another of its queues */
        widen(v, topic, queue_id);
        return topic;
    }
    if (!store_topic_by_records(name, queue_id, &config))
        return NULL;
    if (metadata_topic_put(v->s->metadata, name, &config, 0, &sequence, NULL, &topic) < 0)
        return NULL;
    log_warn("store %s: topic %s was known by its messages only; it is there again", v->s->root_dir,
             topic->name);
    return made_add(v, topic) < 0 ? NULL : topic;
}

/* The topic of a record, made when it is unknown; NULL when the record belongs to none any more. */
static struct topic *topic_of(struct recovery *v, const struct record *r, uint64_t offset)
{
    struct topic *topic = v->topic;

    if (!topic || !bytes_equal(r->topic, bytes_of(topic->name, topic->name_len))) {
        topic = metadata_topic(v->s->metadata, r->topic, NULL);
        if (!topic) {
            if (offset < metadata_topic_floor(v->s->metadata, r->topic))
                return NULL;
            topic = recovery_make_topic(v, r->topic, r->queue_id);
            if (!topic) {
                v->nameless++;
                return NULL;
            }
        }
        v->topic = topic;
    }
    if (offset < topic->log_floor)
        return NULL;
    widen(v, topic, r->queue_id);
    return topic;
}

/* The log up to `offset` is as good as it gets: entries may go to files to make room. */
static int relieve(struct recovery *v, uint64_t offset)
{
    uint64_t complete = 0;
    int r = queue_table_write_back(v->s->queues, offset, clock_mono_ms(), false, &complete);

    if (r == 0 && queue_table_pressed(v->s->queues))
        r = queue_table_write_back(v->s->queues, offset, clock_mono_ms(), true, &complete);
    if (r < 0)
        return err_set(v->err, r, "write the consume queues of %s", v->s->root_dir);
    return 0;
}

/* The queue has an entry for the offset of this record that leads to an earlier one. Of two records
 * with one queue offset the first stays; 0 when there is no such record. */
static int first_stays(struct recovery *v, uint32_t queue, const struct record *r)
{
    struct queue_entry there;
    struct record other;
    struct log_scan look;
    const char *why;
    bool stays = false;
    int result = queue_table_look(v->s->queues, queue, r->queue_offset, &there);

    if (result != 0 || (uint64_t)there.log_offset < v->min)
        return result < 0 ? result : 0;
    log_scan_init(&look, v->s->commit_log_dir, (uint64_t)v->s->options.segment_bytes, v->err);
    result = log_scan_judge(&look, (uint64_t)there.log_offset, &other, &why);
    if (result == LOG_SCAN_RECORD)
        stays = other.total_size == (uint32_t)there.size && other.queue_id == r->queue_id &&
                other.queue_offset == r->queue_offset && bytes_equal(other.topic, r->topic);
    log_scan_destroy(&look);
    return result < 0 ? result : stays;
}

static int dispatch(struct recovery *v, const struct record *r, uint64_t offset)
{
    struct store *s = v->s;
    struct queue_entry entry;
    struct topic *topic;
    uint32_t queue;
    int64_t next = 0;
    int result;

    if (!store_entry_of(s, r, offset, &entry))
        return 0;
    topic = topic_of(v, r, offset);
    if (!topic)
        return 0;
    pthread_mutex_lock(&s->append_lock);
    queue = queue_table_find(s->queues, topic, r->queue_id, true);
    if (queue != QUEUE_NONE)
        next = queue_table_next(s->queues, queue);
    pthread_mutex_unlock(&s->append_lock);
    /* RocketMQ's checksum does not cover the queue offset: one that is absurd moves no queue. */
    if (queue == QUEUE_NONE || r->queue_offset < 0 ||
        (next > 0 && r->queue_offset - next > STORE_LEAP_MAX)) {
        v->nameless++;
        return 0;
    }
    if (v->from > v->min && r->queue_offset > next) {
        v->gap = true;
        return 0;
    }
    result = queue_table_recover(s->queues, queue, r->queue_offset, &entry);
    if (result == QUEUE_OTHER_RECORD) {
        result = first_stays(v, queue, r);
        if (result == 0)
            result = queue_table_put(s->queues, queue, r->queue_offset, &entry);
        if (result > 0 || result == -ENOENT)
            return 0;
    }
    if (result == -EINVAL) {
        v->nameless++;
        return 0;
    }
    if (result < 0)
        return err_set(v->err, result, "give record %" PRIu64 " its entry in %s queue %d", offset,
                       topic->name, r->queue_id);
    return 0;
}

/* --- places that are no record --- */

/* Without a mark: whether a later segment begins with a record of the log. */
static int later_segment(struct recovery *v, uint64_t at, uint64_t *next)
{
    struct record record;
    const char *why;

    for (uint64_t begin = segment_end(v, at); begin < v->limit; begin = segment_end(v, begin)) {
        int r = log_scan_judge(&v->scan, begin, &record, &why);
        if (r < 0)
            return r;
        if (r == LOG_SCAN_RECORD) {
            *next = begin;
            return 1;
        }
    }
    return 0;
}

/* A place that is no record: damage to step over (1, *next), or the end of the log (0). */
static int bad_place(struct recovery *v, uint64_t at, const char *why, uint64_t *next)
{
    uint64_t bound = segment_end(v, at);
    int r;

    if (v->marked && at >= v->mark.flushed)
        return 0;
    if (v->marked && bound > v->mark.flushed)
        bound = v->mark.flushed;
    if (bound > v->limit)
        bound = v->limit; /* what stands behind a cut is no way on */
    r = log_scan_resume(&v->scan, at, bound, v->marked ? INT64_MIN : v->newest_ms, next);
    if (r == 0 && v->marked) {
        *next = bound; /* the mark stands where a record ended, a segment begins with one */
        r = 1;
    }
    if (r == 0)
        r = later_segment(v, at, next);
    if (r == 1)
        store_note_damage(v->s, at, *next, why);
    return r;
}

/* --- the scan --- */

static void progress(struct recovery *v, uint64_t at)
{
    int64_t now = clock_mono_ms();

    if (now - v->progress_ms < PROGRESS_MS)
        return;
    v->progress_ms = now;
    log_info("store %s: reading the log, %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " records",
             v->s->root_dir, (at - v->from) >> 20, (v->limit - v->from) >> 20, v->records);
}

int recovery_scan(struct recovery *v)
{
    struct record record;
    uint64_t at = v->from, next = 0;
    const char *why = at < v->limit ? "" : v->limit > 0 ? "the last segment is full" : "empty";

    while (at < v->limit && !v->gap) {
        int r = log_scan_judge(&v->scan, at, &record, &why);
        if (r < 0)
            return r;
        if (r == LOG_SCAN_RECORD && record.total_size > v->limit - at) {
            why = "it is cut within a record";
            break;
        }
        if (r == LOG_SCAN_RECORD) {
            r = dispatch(v, &record, at);
            if (r < 0)
                return r;
            if (record.store_ms > v->newest_ms)
                v->newest_ms = record.store_ms;
            at += record.total_size;
            if (at > v->scan.crc_to && !record_has_crc(&record))
                v->bare_end = at; /* RocketMQ was here, or we were told to do without */
            if (++v->records % 1024 == 0) {
                progress(v, at);
                r = queue_table_pressed(v->s->queues) ? relieve(v, at) : 0;
                if (r < 0)
                    return r;
            }
            continue;
        }
        if (r == LOG_SCAN_BLANK && segment_end(v, at) > v->limit)
            break;
        if (r == LOG_SCAN_BLANK) {
            at = segment_end(v, at);
            why = "the last segment is full";
            continue;
        }
        r = bad_place(v, at, why, &next);
        if (r < 0)
            return r;
        if (r == 0)
            break;
        at = next;
    }
    v->end = at;
    v->why = why;
    v->scanned_bytes = at - v->from;
    return 0;
}

/* `from` must be the beginning of a record. The mark of our own directory names one; should it not,
 * its segment begins with one for sure. */
int recovery_settle_start(struct recovery *v)
{
    struct record record;
    const char *why;
    int r;

    if (v->from >= v->limit || v->from % (uint64_t)v->s->options.segment_bytes == 0)
        return 0;
    r = log_scan_judge(&v->scan, v->from, &record, &why);
    if (r < 0)
        return r;
    if (r == LOG_SCAN_BAD && v->from != v->mark.flushed)
        v->from = segment_end(v, v->from) - (uint64_t)v->s->options.segment_bytes;
    return 0;
}
