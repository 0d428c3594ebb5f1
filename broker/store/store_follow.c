/* store_follow.c - the store of a slave: the log of another broker, record by record.
 *
 * Bytes arrive in pieces that need not end where records do; only whole records are taken, each
 * checked as recovery checks it, so that what is acknowledged can be read. They keep their places:
 * the rules by which a record goes into the next segment are the same on both sides, and a record
 * that would not come to stand where it says is refused.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "broker/store/store_internal.h"
#include "common/log.h"

static uint64_t segment_end(const struct store *s, uint64_t offset)
{
    uint64_t segment = (uint64_t)s->options.segment_bytes;

    return (offset / segment + 1) * segment;
}

uint64_t store_follow_end(const struct store *s)
{
    return commit_log_end(s->log);
}

bool store_is_follower(const struct store *s)
{
    return atomic_load_explicit(&s->follower, memory_order_acquire);
}

void store_lead(struct store *s)
{
    pthread_mutex_lock(&s->append_lock);
    atomic_store_explicit(&s->follower, false, memory_order_release);
    pthread_mutex_unlock(&s->append_lock);
    flusher_call(s); /* segments ahead */
}

int store_close_writes(struct store *s)
{
    uint64_t seen;

    /* An append that has the lock is whole when it is ours, and none begins after it. */
    pthread_mutex_lock(&s->append_lock);
    atomic_store_explicit(&s->follower, true, memory_order_release);
    pthread_mutex_unlock(&s->append_lock);
    while ((seen = commit_log_written(s->log)) < commit_log_end(s->log)) {
        store_write(s);
        if (store_stopped(s, NULL))
            return -EIO;
        if (commit_log_written(s->log) == seen)
            (void)store_wait_written(s, seen); /* somebody else is at it */
    }
    return 0;
}

int store_begin_at(struct store *s, uint64_t offset, struct err *err)
{
    int r;

    if (!store_is_follower(s) || commit_log_end(s->log) != 0 || commit_log_limit(s->log) != 0)
        return err_say(err, -ENOTEMPTY, "the log of %s is not empty", s->root_dir);
    if (offset % (uint64_t)s->options.segment_bytes != 0)
        return err_say(err, -EINVAL,
                       "a log cannot begin at %" PRIu64 ", which is no multiple of %" PRId64
                       " (mappedFileSizeCommitLog; it must be the same on both sides)",
                       offset, s->options.segment_bytes);
    /* Nobody else moves marks meanwhile: the flusher is not there, and a follower has no appenders.
     */
    flusher_stop(s);
    r = commit_log_set_end(s->log, offset, NULL, err);
    if (r == 0) {
        s->flusher.mark.flushed = s->flusher.mark.queues_complete_to = offset;
        s->boot_end = offset;
        atomic_store(&s->scrub.scrubbed_to, offset);
        /* There are no queues that could begin before. */
        atomic_store(&s->settled_min, offset);
        atomic_store(&s->retention.swept_to, offset);
    }
    if (r < 0)
        (void)flusher_start(s, NULL);
    else
        r = flusher_start(s, err);
    return r;
}

bool store_topic_beyond(struct store *s, struct topic *topic, uint64_t log_offset)
{
    return queue_table_beyond(s->queues, topic, log_offset);
}

bool store_drop_topic_below(struct store *s, struct topic *topic, uint64_t log_offset)
{
    bool any = queue_table_drop_below(s->queues, topic, log_offset);

    if (any)
        atomic_store(&s->queues_dropped, true);
    return any;
}

void store_topics_went(struct store *s)
{
    atomic_store(&s->follow_look_again, true);
}

size_t store_record_max(const struct store *s)
{
    return s->record_max;
}

/* --- the last record --- */

enum { LOOK_BACK = 65536 };

/* The last record in [from, limit) that ends there. `from` is where one begins, unless `search`. */
static int walk_to(struct log_scan *scan, uint64_t from, bool search, uint64_t limit,
                   uint64_t *offset)
{
    struct record record;
    const char *why;
    bool found = false;
    uint64_t at = from;

    while (at < limit) {
        int r = search ? LOG_SCAN_BAD : log_scan_judge(scan, at, &record, &why);

        search = false;
        if (r == LOG_SCAN_RECORD) {
            if (record.total_size > limit - at)
                break;
            *offset = at;
            found = true;
            at += record.total_size;
            continue;
        }
        if (r == LOG_SCAN_BAD)
            r = log_scan_resume(scan, at, limit, INT64_MIN, &at);
        else if (r > 0)
            break; /* nothing follows in this segment */
        if (r < 0)
            return r;
        if (r == 0)
            break;
    }
    return found ? 0 : -ENOENT;
}

static int last_in_segment(struct log_scan *scan, uint64_t begin, uint64_t limit, uint64_t *offset)
{
    for (uint64_t reach = LOOK_BACK;; reach *= 4) {
        bool part = limit - begin > reach;
        int r = walk_to(scan, part ? limit - reach : begin, part, limit, offset);

        if (r != -ENOENT || !part)
            return r;
    }
}

int store_record_before(struct store *s, uint64_t limit, uint64_t *offset, struct err *err)
{
    uint64_t segment = (uint64_t)s->options.segment_bytes, min = commit_log_min(s->log);
    struct log_scan scan;
    int r = -ENOENT;

    if (limit > commit_log_written(s->log))
        limit = commit_log_written(s->log);
    log_scan_init(&scan, s->commit_log_dir, segment, err);
    while (r == -ENOENT && limit > min) {
        uint64_t begin = (limit - 1) / segment * segment;

        r = last_in_segment(&scan, begin, limit, offset);
        limit = begin;
    }
    log_scan_destroy(&scan);
    return r == -ENOENT ? err_say(err, r, "the log of %s has no record there", s->root_dir) : r;
}

/* --- what a record means for its queue --- */

static struct topic *make_topic(struct store *s, const struct record *r)
{
    struct topic_config config;
    struct topic *topic = NULL;
    uint64_t sequence;

    if (!store_topic_by_records(r->topic, r->queue_id, &config))
        return NULL;
    if (metadata_topic_put(s->metadata, r->topic, &config, 0, &sequence, NULL, &topic) < 0)
        return NULL;
    return topic;
}

/* NULL: the record is in no queue. */
static struct topic *topic_of(struct store *s, const struct record *r, uint64_t offset)
{
    struct topic *topic = s->follow_topic;

    if (!topic || !bytes_equal(r->topic, bytes_of(topic->name, topic->name_len)) ||
        atomic_load_explicit(&s->follow_look_again, memory_order_relaxed)) {
        atomic_store(&s->follow_look_again, false);
        topic = metadata_topic(s->metadata, r->topic, NULL);
        if (!topic && offset >= metadata_topic_floor(s->metadata, r->topic))
            topic = make_topic(s, r);
        if (!topic) {
            log_warn_limited("records without a queue",
                             "store %s: the record at %" PRIu64
                             " names a topic or a queue that cannot be; it is in no queue",
                             s->root_dir, offset);
            return NULL;
        }
        s->follow_topic = topic;
    }
    return offset < topic->log_floor ? NULL : topic;
}

/* A queue that was going on begins with its first message again: the master has deleted the topic
 * and made it anew, and this is how a slave hears of it. What is before goes from sight here too,
 * in all queues of the topic. */
static int begin_anew(struct store *s, const struct record *r, uint64_t offset, struct err *err)
{
    struct topic_config config;
    struct topic *topic = metadata_topic(s->metadata, r->topic, &config);
    int result = topic ? metadata_topic_delete(s->metadata, r->topic, offset, false, NULL) : 0;

    if (result == 0 && topic) {
        log_info("store %s: topic %s was deleted on the master and made anew; its messages before "
                 "log offset %" PRIu64 " are gone from sight",
                 s->root_dir, topic->name, offset);
        (void)store_drop_topic(s, topic); /* what could not be removed is in the log */
    }
    if (result == 0 && topic)
        result = metadata_topic_put(s->metadata, r->topic, &config, offset, NULL, NULL, NULL);
    s->follow_topic = NULL;
    return result < 0 ? err_say(err, -EAGAIN, "the metadata journal takes nothing now") : 0;
}

/* Brings the queue to where the record's entry is the next one. Nothing else appends, but files are
 * written in the background, so that a gap is for quiet times only. 1: there is no place for it. */
static int settle_queue(struct store *s, uint32_t queue, const struct record *r, int64_t next,
                        const struct queue_entry *entry, struct err *err)
{
    int result;

    if (r->queue_offset == 0 && next > 0)
        return begin_anew(s, r, (uint64_t)entry->log_offset, err);
    if (next == 0) { /* nothing of it is in files, or about to be */
        result = queue_table_leap(s->queues, queue, r->queue_offset);
        return result == -EINVAL ? 1 : result;
    }
    if (r->queue_offset < next || (next > 0 && r->queue_offset - next > STORE_LEAP_MAX)) {
        log_warn_limited("records out of order",
                         "store %s: the record at %" PRId64 " has queue offset %" PRId64
                         ", the queue is at %" PRId64 "; it is in no queue",
                         s->root_dir, entry->log_offset, r->queue_offset, next);
        return 1;
    }
    flusher_stop(s);
    result = queue_table_leap(s->queues, queue, r->queue_offset);
    if (result == 0)
        result = flusher_start(s, err);
    else
        (void)flusher_start(s, NULL);
    return result;
}

/* --- one record --- */

enum { FOLLOW_AGAIN = 1 };

/* After an answer of the log that is above 0. */
static int make_room(struct store *s, int answer, struct err *err)
{
    if (answer == COMMIT_LOG_TAIL_FULL) {
        store_write(s); /* nobody else has the ticket for long */
        return store_stopped(s, NULL) ? err_say(err, -EIO, "the log takes no more writes")
                                      : FOLLOW_AGAIN;
    }
    if (answer == COMMIT_LOG_NEED_SEGMENT) {
        answer = store_make_segment(s);
        if (answer == 0)
            return FOLLOW_AGAIN;
        if (answer != STORE_STOPPED)
            return err_say(err, -ENOSPC, "no room for another log segment");
    }
    return err_say(err, -EIO, "the log takes no more writes");
}

static int append_one(struct store *s, const struct record *record, const uint8_t *bytes,
                      struct err *err)
{
    uint64_t offset = (uint64_t)record->log_offset, at_offset;
    struct queue_entry entry;
    struct topic *topic =
        store_entry_of(s, record, offset, &entry) ? topic_of(s, record, offset) : NULL;
    uint32_t queue = QUEUE_NONE, waiting = 0;
    int64_t next;
    uint8_t *at;
    int r;

    pthread_mutex_lock(&s->append_lock);
    if (topic) {
        queue = queue_table_find(s->queues, topic, record->queue_id, true);
        r = queue == QUEUE_NONE ? -ENOSPC : queue_table_reserve(s->queues, 1);
        if (r < 0) {
            pthread_mutex_unlock(&s->append_lock);
            flusher_call(s);
            return err_say(err, -EAGAIN, "the memory for queue entries is used up");
        }
        next = queue_table_next(s->queues, queue);
        if (next != record->queue_offset) {
            pthread_mutex_unlock(&s->append_lock);
            r = settle_queue(s, queue, record, next, &entry, err);
            if (r == 0)
                return FOLLOW_AGAIN;
            if (r < 0)
                return r;
            topic = NULL;
            pthread_mutex_lock(&s->append_lock);
        }
    }
    r = commit_log_reserve(s->log, record->total_size, &at, &at_offset);
    if (r == 0 && at_offset == offset) {
        memcpy(at, bytes, record->total_size);
        if (!record_has_crc(record))
            atomic_store(&s->crc_from, offset + record->total_size);
        if (record->store_ms > s->last_store_ms)
            s->last_store_ms = record->store_ms;
        if (topic) {
            r = queue_table_append(s->queues, queue, &entry);
            assert(r == 0);
            if (s->on_waited)
                waiting = queue_table_waiting(s->queues, queue);
            if (waiting)
                s->on_waited(s->on_waited_ctx, waiting, queue, offset + record->total_size);
        }
        commit_log_commit(s->log, record->total_size); /* last, as in store_append.c */
        atomic_store_explicit(&s->appended_messages, s->appended_messages + 1,
                              memory_order_relaxed);
        atomic_store_explicit(&s->appended_bytes, s->appended_bytes + record->total_size,
                              memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->append_lock);
    if (r > 0)
        return make_room(s, r, err);
    if (r != 0 || at_offset != offset)
        return err_say(err, -EBADMSG,
                       "the record at %" PRIu64 " of %u bytes does not fit its segment; is "
                       "mappedFileSizeCommitLog the same on both sides?",
                       offset, record->total_size);
    return 0;
}

/* The rest of the segment behind `offset` is blank on the master. It is so here at once and not
 * only with the next record: should this become the master, its log goes on where the others' do.
 */
static int append_blank(struct store *s, uint64_t offset, struct err *err)
{
    int r;

    do {
        pthread_mutex_lock(&s->append_lock);
        r = commit_log_blank(s->log);
        pthread_mutex_unlock(&s->append_lock);
        if (r > 0)
            r = make_room(s, r, err);
    } while (r == FOLLOW_AGAIN);
    if (r == -EMSGSIZE)
        return err_say(err, -EBADMSG,
                       "the log of the master has the end of a segment at %" PRIu64 ", %" PRIu64
                       " bytes early; make maxMessageSize the same",
                       offset, segment_end(s, offset) - offset);
    return r;
}

/* How many bytes at the front of `log` are whole, checked and taken: *used; 0 of them when more has
 * to come. */
static int take_one(struct store *s, uint64_t offset, struct bytes log, size_t *used,
                    struct err *err)
{
    struct record record;
    const char *why;
    int r = record_decode(log, &record);

    *used = 0;
    if (r == RECORD_BAD)
        return err_say(err, -EBADMSG, "what arrived for log offset %" PRIu64 " is no record",
                       offset);
    if (r == RECORD_PARTIAL) {
        if (log.len >= RECORD_BLANK_BYTES && record.total_size > s->record_max)
            return err_say(err, -EBADMSG, "a record of %u bytes at %" PRIu64 " is too large",
                           record.total_size, offset);
        return 0;
    }
    if (r == RECORD_BLANK) {
        if (record.total_size != segment_end(s, offset) - offset)
            return err_say(err, -EBADMSG,
                           "the log of the master has the end of a segment at %" PRIu64
                           ", here segments have %" PRId64
                           " bytes; make mappedFileSizeCommitLog the same",
                           offset, s->options.segment_bytes);
        if (log.len < record.total_size)
            return 0;
        r = append_blank(s, offset, err);
        if (r == 0)
            *used = record.total_size;
        return r;
    }
    if (record.total_size > s->record_max)
        return err_say(err, -EBADMSG,
                       "the record at %" PRIu64 " has %u bytes, maxMessageSize here allows %zu",
                       offset, record.total_size, s->record_max);
    if (record_check(&record, bytes_of(log.at, record.total_size), (int64_t)offset, &why) != 0)
        return err_say(err, -EBADMSG, "the record that arrived for log offset %" PRIu64 ": %s",
                       offset, why);
    do {
        r = append_one(s, &record, log.at, err);
    } while (r == FOLLOW_AGAIN);
    if (r == 0)
        *used = record.total_size;
    return r;
}

int store_follow(struct store *s, uint64_t offset, struct bytes log, size_t *taken, struct err *err)
{
    size_t used = 0;
    int r = 0;

    *taken = 0;
    if (!store_is_follower(s))
        return err_say(err, -EPERM, "%s does not follow another log", s->root_dir);
    if (offset != store_follow_end(s))
        return err_say(err, -ERANGE, "bytes for log offset %" PRIu64 ", the log ends at %" PRIu64,
                       offset, store_follow_end(s));
    while (log.len > 0) {
        r = take_one(s, offset, log, &used, err);
        if (r < 0 || used == 0)
            break;
        offset += used;
        *taken += used;
        log = bytes_of(log.at + used, log.len - used);
    }
    if (*taken > 0)
        store_write(s);
    return r;
}
