/* life_check.c - what a start has found, held against what was promised. */
#include "life.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/metadata_internal.h"
#include "broker/store/properties.h"
#include "broker/store/store_internal.h"
#include "turns.h"

enum { PULL_MESSAGES = 32, REPAIR_TRIES = 100, REPAIR_MS = 200, INDEX_LOOKS = 4 };

struct life_mark life_mark_at(const struct life *l, size_t events)
{
    struct life_mark mark = {0};

    for (size_t i = 0; i < l->mark_count && l->marks[i].at <= events; i++)
        mark = l->marks[i];
    return mark;
}

/* --- topics, groups, offsets, cursors --- */

static bool is_durable(const struct life *l, const struct life_value *v, uint64_t durable)
{
    if (v->settled_at != SIZE_MAX)
        return true;
    if (v->sequence > 0)
        return v->sequence <= durable;
    return !l->timeless && v->ms + LIFE_SECOND_MS <= turns_now_ms() && v->at < life_now(l);
}

/* The oldest value that can still be there. */
static int oldest_value(const struct life *l, const struct life_thing *t, uint64_t durable)
{
    int oldest = 0;

    for (int i = 0; i < t->count; i++) {
        if (t->values[i].undone_at == SIZE_MAX && is_durable(l, &t->values[i], durable))
            oldest = i;
    }
    return oldest;
}

/* `found` is one of the values that can be there: the newest such one. -1: it is none. */
static int match_value(const struct life *l, const struct life_thing *t, int64_t found,
                       uint64_t durable)
{
    int oldest = oldest_value(l, t, durable);

    for (int i = t->count - 1; i >= oldest; i--) {
        if (t->values[i].undone_at == SIZE_MAX && t->values[i].value == found)
            return i;
    }
    return -1;
}

/* What was found counts from now on; later values are lost. */
static void settle_value(struct life *l, struct life_thing *t, int at)
{
    for (int i = at + 1; i < t->count; i++) {
        if (t->values[i].undone_at == SIZE_MAX)
            t->values[i].undone_at = life_now(l);
    }
    if (t->values[at].settled_at == SIZE_MAX)
        t->values[at].settled_at = life_now(l);
}

static void list_values(const struct life *l, const struct life_thing *t, uint64_t durable,
                        char *to, size_t size)
{
    int oldest = oldest_value(l, t, durable), len = 0;

    to[0] = '\0';
    for (int i = 0 * oldest; i < t->count && len + 80 < (int)size; i++) {
        const struct life_value *v = &t->values[i];
        if (v->value == LIFE_NONE)
            len += snprintf(to + len, size - (size_t)len, " none");
        else
            len += snprintf(to + len, size - (size_t)len, " %" PRId64, v->value);
        len += snprintf(to + len, size - (size_t)len, " (event %zu, sequence %" PRIu64 "%s%s)",
                        v->at, v->sequence, v->settled_at != SIZE_MAX ? ", settled" : "",
                        v->undone_at != SIZE_MAX ? ", lost" : "");
    }
}

static void expect_value(struct life *l, struct life_thing *t, int64_t found, uint64_t durable,
                         const char *what, const char *name)
{
    int at = match_value(l, t, found, durable);
    char values[800], value[24] = "none";

    if (at >= 0) {
        settle_value(l, t, at);
        return;
    }
    list_values(l, t, durable, values, sizeof(values));
    if (found != LIFE_NONE)
        snprintf(value, sizeof(value), "%" PRId64, found);
    life_fail("%s %s: found %s, expected one of%s; durable to %" PRIu64, what, name, value, values,
              durable);
}

/* A cut leaves nobody behind the end of a queue: found there, where it was not, he was moved. */
static bool moved_by_cut(struct life *l, struct life_thing *t, int64_t found, int topic,
                         int32_t queue_id, uint64_t durable)
{
    struct life_value *v;
    int64_t max;

    if (!l->cutting || !l->topics[topic])
        return false;
    max = store_range(l->store, store_queue(l->store, l->topics[topic], queue_id)).max;
    if (found > max)
        life_fail("a reader of %s/%d is at %" PRId64 ", the queue was cut to %" PRId64,
                  life_topic_name(topic), queue_id, found, max);
    if (found != max || match_value(l, t, found, durable) >= 0)
        return false;
    settle_value(l, t, oldest_value(l, t, durable));
    v = life_note_value(l, t, found, 0);
    v->at = l->opening_at;
    v->settled_at = life_now(l);
    return true;
}

static void settle_small_things(struct life *l, uint64_t durable)
{
    for (int i = 0; i < LIFE_GROUPS; i++) {
        struct group_config config;
        bool there = metadata_group(l->metadata, bytes_str(life_group_name(i)), &config);
        expect_value(l, life_group(l, i), there ? config.retry_max_times : LIFE_NONE, durable,
                     "group", life_group_name(i));
    }
    for (int i = 0; i < LIFE_OFFSETS; i++) {
        int topic, group;
        int32_t queue_id;
        int64_t found;

        life_offset_place(i, &topic, &group, &queue_id);
        found = metadata_offset(l->metadata, bytes_str(life_topic_name(topic)),
                                bytes_str(life_group_name(group)), queue_id);
        if (moved_by_cut(l, life_offset(l, i), found, topic, queue_id, durable))
            continue;
        expect_value(l, life_offset(l, i), found < 0 ? LIFE_NONE : found, durable,
                     "an offset of topic", life_topic_name(topic));
    }
    for (int i = 0; i < LIFE_DELAYS; i++) {
        int64_t found = metadata_delay(l->metadata, i + 1);
        if (found > 0 && moved_by_cut(l, life_delay(l, i), found, LIFE_TOPICS - 1, i, durable))
            continue;
        if (found == 0 && l->cutting) /* of an empty queue: as good as none */
            life_note_value(l, life_delay(l, i), LIFE_NONE, 0)->at = l->opening_at;
        expect_value(l, life_delay(l, i), found == 0 ? LIFE_NONE : found, durable, "a delay cursor",
                     "");
    }
}

/* --- topics and what was sent to them --- */

/* It was not lost; it may be deleted with its segment since. */
static bool not_lost(const struct life_message *m)
{
    return m->gone_at == SIZE_MAX;
}

static bool in_log(const struct life *l, const struct life_message *m)
{
    return not_lost(m) && m->log_offset >= l->min;
}

/* A topic may have come back from its records alone, or from the queues they have left. */
static bool has_records(const struct life *l, int topic, uint64_t floor)
{
    for (size_t i = 0; i < l->message_count; i++) {
        const struct life_message *m = &l->messages[i];
        if (m->topic == topic && m->queued && not_lost(m) && m->log_offset >= floor)
            return true;
    }
    return false;
}

/* Has the topic been deleted after the message was sent to it, as far as anybody can know? */
static bool may_be_deleted(const struct life *l, const struct life_message *m)
{
    const struct life_thing *t = &l->things[m->topic];

    for (int i = m->made + 1; i < t->count; i++) {
        if (t->values[i].value == LIFE_NONE &&
            (t->values[i].undone_at == SIZE_MAX || t->values[i].settled_at != SIZE_MAX))
            return true;
    }
    return false;
}

static void settle_topic(struct life *l, int i, uint64_t durable)
{
    struct life_thing *t = life_topic(l, i);
    struct topic_config config;
    struct topic *topic = metadata_topic(l->metadata, bytes_str(life_topic_name(i)), &config);
    uint64_t floor = metadata_topic_floor(l->metadata, bytes_str(life_topic_name(i)));
    int64_t found = topic ? config.sys_flag : LIFE_NONE;

    l->topics[i] = topic;
    if (floor > store_end(l->store))
        life_fail("topic %s hides records below %" PRIu64 ", the log ends at %" PRIu64,
                  life_topic_name(i), floor, store_end(l->store));
    /* Deletions that may have happened are judged before they are forgotten. */
    for (size_t k = 0; k < l->message_count; k++) {
        const struct life_message *m = &l->messages[k];

        if (m->topic != i || !in_log(l, m) || !m->queued || (topic && m->log_offset >= floor) ||
            may_be_deleted(l, m))
            continue;
        life_fail("message %" PRIu64 " at log offset %" PRIu64 " belongs to topic %s, which is %s",
                  m->id, m->log_offset, life_topic_name(i),
                  topic ? "another one now" : "not there");
    }
    if (topic && found == LIFE_RECOVERED && match_value(l, t, found, durable) < 0 &&
        has_records(l, i, floor)) {
        /* Not durable before the metadata thread writes it. */
        settle_value(l, t, oldest_value(l, t, durable));
        life_note_value(l, t, LIFE_RECOVERED, metadata_last(l->metadata))->at = l->opening_at;
        return;
    }
    /* Known by its records alone, which were cut before the journal had it. */
    if (l->cutting && !topic && t->values[t->count - 1].value == LIFE_RECOVERED &&
        !has_records(l, i, 0))
        life_note_value(l, t, LIFE_NONE, 0)->at = l->opening_at;
    expect_value(l, t, found, durable, "topic", life_topic_name(i));
}

/* --- the log --- */

static void settle_log(struct life *l, const struct life_mark *mark)
{
    uint64_t end = store_end(l->store), last = 0;
    uint64_t promised = l->options.sync_flush ? mark->confirmed : mark->flushed;

    if (l->cutting && promised > l->cuts[l->cut_count - 1].to)
        promised = l->cuts[l->cut_count - 1].to;
    l->min = store_min(l->store);
    if (l->min > 0 &&
        (l->options.keep_bytes == 0 || end < l->min ||
         (!l->after_cut && !l->shortened &&
          end - l->min + 3 * (uint64_t)l->options.segment_bytes < l->options.keep_bytes)))
        life_fail("the log begins at %" PRIu64 " and ends at %" PRIu64 ", more is to be kept",
                  l->min, end);

    for (size_t i = 0; i < l->message_count; i++) {
        struct life_message *m = &l->messages[i];

        if (!not_lost(m))
            continue;
        if (m->log_end <= end) {
            last = m->log_end > last ? m->log_end : last;
            continue;
        }
        if (m->log_end <= promised)
            life_fail("message %" PRIu64 " at log offset %" PRIu64
                      " was acknowledged (below %" PRIu64 "), the log ends at %" PRIu64,
                      m->id, m->log_offset, promised, end);
        if (m->log_offset < end)
            life_fail("the log ends at %" PRIu64 ", within message %" PRIu64 " (%" PRIu64
                      " to %" PRIu64 ")",
                      end, m->id, m->log_offset, m->log_end);
        m->gone_at = life_now(l);
    }
    if (end != last && end % (uint64_t)l->options.segment_bytes != 0)
        life_fail("the log ends at %" PRIu64 ", behind the last message, which ends at %" PRIu64,
                  end, last);
    if (l->written_at_end > end && !l->forgot)
        life_fail("%" PRIu64
                  " bytes were written before the process died, the log ends at %" PRIu64,
                  l->written_at_end, end);
    l->written_at_end = 0;
    if (l->cutting && end > l->cuts[l->cut_count - 1].to)
        life_fail("the log ends at %" PRIu64 ", it was cut at %" PRIu64, end,
                  l->cuts[l->cut_count - 1].to);
}

void life_settle(struct life *l)
{
    struct life_mark mark = life_mark_at(l, life_now(l));
    struct store_stats stats;

    store_stats(l->store, &stats);
    if (stats.damaged_records > 0)
        life_fail("%" PRIu64 " records are said to be damaged", stats.damaged_records);
    /* A power cut that takes the middle of an unsynced write looks like damage. */
    if (l->metadata->journal.damaged && !l->after_cut)
        life_fail("the metadata journal is said to be damaged");
    if (l->metadata->files_taken > 0)
        life_fail("files of config/ that are ours were taken for somebody else's");
    settle_log(l, &mark);
    for (int i = 0; i < LIFE_TOPICS; i++)
        settle_topic(l, i, mark.durable);
    settle_small_things(l, mark.durable);
}

/* --- queues --- */

/* Not hidden by a floor, in the queue of the topic as it is now. */
static bool is_visible(const struct life *l, const struct life_message *m)
{
    const struct topic *t = l->topics[m->topic];

    return not_lost(m) && m->queued && t && m->log_offset >= t->log_floor;
}

static void expect_message(const struct life_message *m, const struct record *r,
                           const struct queue_entry *e)
{
    static uint8_t body[LIFE_BODY_MAX];
    static char properties[LIFE_PROPERTIES_SIZE];
    int level = m->topic == LIFE_TOPICS - 1 ? m->queue_id + 1 : 0;
    size_t len = life_properties(m->id, properties, sizeof(properties), level);

    life_body(m->id, body, m->body_len);
    if (r->queue_offset != m->queue_offset || (uint64_t)r->log_offset != m->log_offset)
        life_fail("queue %s/%d: message %" PRIu64 " has queue offset %" PRId64
                  " and log offset %" PRId64 ", expected %" PRId64 " and %" PRIu64,
                  life_topic_name(m->topic), m->queue_id, m->id, r->queue_offset, r->log_offset,
                  m->queue_offset, m->log_offset);
    if (!bytes_equal(r->body, bytes_of(body, m->body_len)))
        life_fail("message %" PRIu64 " at log offset %" PRIu64 " has another body", m->id,
                  m->log_offset);
    if (r->properties.len < len || memcmp(r->properties.at, properties, len) != 0)
        life_fail("message %" PRIu64 " at log offset %" PRIu64
                  " has other properties: \"%.*s\", expected \"%.*s\"",
                  m->id, m->log_offset, (int)r->properties.len, (const char *)r->properties.at,
                  (int)len, properties);
    if (e->tags_code != m->tags_code)
        life_fail("queue %s/%d: entry %" PRId64 " has tags code %" PRId64 ", expected %" PRId64,
                  life_topic_name(m->topic), m->queue_id, m->queue_offset, e->tags_code,
                  m->tags_code);
}

/* One pull from `offset` on: holds what came against expected[0..count). How many came. */
static int verify_pull(struct life *l, uint32_t queue, int64_t offset,
                       const struct life_message *const *expected, int count)
{
    static struct store_found found;
    struct store_get get = {
        .queue = queue, .offset = offset, .max_messages = PULL_MESSAGES, .may_block = true};
    struct buf out = {0};
    struct bytes left;
    int64_t bad = -1;
    int r;

    for (int tries = 0;; tries++) {
        store_find(l->store, &get, &found);
        r = 0;
        if (found.got.status == STORE_GET_FOUND)
            r = store_fill(l->store, &found, &out, true, &bad);
        /* A read that failed once: the reader waits, and the entry is looked at again. */
        if ((found.got.status != STORE_GET_REPAIRING && r == 0) || !recorder_failed()[0] ||
            tries == REPAIR_TRIES)
            break;
        turns_sleep_ms(REPAIR_MS);
    }
    if (found.got.status != STORE_GET_FOUND)
        life_fail("queue %s/%d: a pull at %" PRId64 " finds nothing (status %d, %" PRId64
                  " to %" PRId64 "), expected message %" PRIu64 " at log offset %" PRIu64,
                  life_topic_name(expected[0]->topic), expected[0]->queue_id, offset,
                  (int)found.got.status, found.got.min, found.got.max, expected[0]->id,
                  expected[0]->log_offset);
    if (r != 0 || found.count > count)
        life_fail("queue %s/%d: messages from %" PRId64 " on cannot be read: %d (entry %" PRId64
                  ", %d of %d)",
                  life_topic_name(expected[0]->topic), expected[0]->queue_id, offset, r, bad,
                  found.count, count);
    left = buf_bytes(&out);
    for (int i = 0; i < found.count; i++) {
        struct record record;
        if (record_decode(left, &record) != 0)
            life_fail("queue %s/%d: a record cannot be read", life_topic_name(expected[0]->topic),
                      expected[0]->queue_id);
        expect_message(expected[i], &record, &found.entries[i]);
        left = bytes_of(left.at + record.total_size, left.len - record.total_size);
    }
    buf_destroy(&out);
    return found.count;
}

static void verify_queue(struct life *l, int topic, int32_t queue_id,
                         const struct life_message **expected)
{
    uint32_t queue =
        l->topics[topic] ? store_queue(l->store, l->topics[topic], queue_id) : QUEUE_NONE;
    struct queue_range range = store_range_settled(l->store, queue);
    int64_t count = 0, min = 0, next = 0;

    for (size_t i = 0; i < l->message_count; i++) {
        const struct life_message *m = &l->messages[i];
        if (m->topic != topic || m->queue_id != queue_id || !is_visible(l, m))
            continue;
        next = m->queue_offset + 1;
        if (m->log_offset < l->min)
            min = next; /* deleted with its segment: its offset is not used again */
        else
            expected[count++] = m;
    }
    /* Leading files that retention has removed without a sync may be there again, with others of
     * them missing: what is in front of the first message then is not there to be read. */
    if (range.max != next || range.min > min || (range.min < min && !(l->after_cut && l->min > 0)))
        life_fail("queue %s/%d reaches from %" PRId64 " to %" PRId64 ", expected %" PRId64
                  " to %" PRId64,
                  life_topic_name(topic), queue_id, range.min, range.max, min, next);
    for (int64_t at = 0; at < count;)
        at += verify_pull(l, queue, min + at, expected + at, (int)(count - at));
}

void life_verify(struct life *l)
{
    const struct life_message **expected = calloc(l->message_count + 1, sizeof(*expected));

    if (!expected)
        life_fail("no memory");
    for (int i = 0; i < LIFE_TOPICS; i++) {
        for (int32_t q = 0; q < LIFE_QUEUES; q++)
            verify_queue(l, i, q, expected);
    }
    free(expected);
}

void life_verify_index(struct life *l)
{
    struct buf out = {0};

    for (int i = 0; i < INDEX_LOOKS && l->options.index && l->message_count > 0; i++) {
        const struct life_message *m = &l->messages[random_below(&l->random, l->message_count)];
        struct store_query query = {
            .topic = bytes_str(life_topic_name(m->topic)), .max = 32, .end_ms = INT64_MAX};
        struct store_answer answer;
        char key[24];
        int r;

        if (!is_visible(l, m) || m->log_offset < l->min)
            continue;
        snprintf(key, sizeof(key), "%016llX", (unsigned long long)m->id);
        query.key = bytes_str(key);
        buf_reset(&out);
        for (int tries = 0;; tries++) {
            r = store_query(l->store, &query, &out, &answer);
            if (r < 0 || answer.messages > 0 || tries == REPAIR_TRIES)
                break;
            turns_sleep_ms(REPAIR_MS); /* it is made again from the log meanwhile */
        }
        if (r < 0 || answer.messages != 1)
            life_fail("message %" PRIu64 " at log offset %" PRIu64
                      " is not found by its key (%d, %d messages, %" PRIu64 " bytes behind)",
                      m->id, m->log_offset, r, answer.messages, answer.behind);
    }
    buf_destroy(&out);
}
