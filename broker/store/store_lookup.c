/* store_lookup.c - messages by their keys.
 *
 * The index gives log offsets of records that may have the key: a hash is all that it keeps. Each
 * record is read and compared before it counts.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/properties.h"
#include "broker/store/store_internal.h"

enum { QUERY_STEP = 64 /* candidates asked of the index at once */ };

struct lookup {
    struct store *s;
    const struct store_query *query;
    struct buf found; /* records, the newest first */
    size_t *sizes;    /* of these */
    int count;
    bool full;
};

static bool matches(const struct store_query *q, const struct record *r)
{
    return r->store_ms >= q->begin_ms && r->store_ms <= q->end_ms &&
           bytes_equal(r->topic, q->topic) &&
           (bytes_equal(properties_find(r->properties, BYTES_LIT("UNIQ_KEY")), q->key) ||
            properties_has_key(properties_find(r->properties, BYTES_LIT("KEYS")), q->key));
}

/* 0, -ENOMEM. Candidates that are gone, damaged or strangers are left out. */
static int consider(struct lookup *l, uint64_t log_offset)
{
    size_t before = l->found.len;
    struct record record;
    int r = store_read_record(l->s, log_offset, &l->found, &record);

    if (r < 0) {
        l->found.len = before;
        return r == -ENOMEM ? r : 0;
    }
    if (!matches(l->query, &record)) {
        l->found.len = before;
        return 0;
    }
    l->full = l->count == l->query->max || (l->count > 0 && l->found.len > STORE_QUERY_BYTES);
    if (l->full)
        l->found.len = before;
    else
        l->sizes[l->count++] = record.total_size;
    return 0;
}

static int look(struct lookup *l)
{
    const struct store_query *q = l->query;
    const struct index_key key = {
        .topic = q->topic, .key = q->key, .begin_ms = q->begin_ms, .end_ms = q->end_ms};
    struct index_cursor at = INDEX_CURSOR_BEGIN;
    uint64_t log_offsets[QUERY_STEP];
    int n, r = 0;

    while (!l->full && r == 0 &&
           (n = index_find(l->s->index, &key, &at, log_offsets, QUERY_STEP)) > 0) {
        for (int i = 0; i < n && !l->full && r == 0; i++)
            r = consider(l, log_offsets[i]);
    }
    return r;
}

/* The oldest first, as RocketMQ has it. */
static int give(struct lookup *l, struct buf *out)
{
    size_t end = l->found.len;

    if (end > 0 && !buf_reserve(out, end))
        return -ENOMEM;
    for (int i = l->count - 1; i >= 0; i--) {
        end -= l->sizes[i];
        buf_add(out, buf_at(&l->found) + end, l->sizes[i]);
    }
    return 0;
}

int store_query(struct store *s, const struct store_query *query, struct buf *out,
                struct store_answer *answer)
{
    struct lookup l = {.s = s, .query = query};
    struct index_stats stats;
    uint64_t confirmed = store_confirmed(s), reached;
    int r;

    assert(query->max > 0);
    *answer = (struct store_answer){0};
    if (!s->index)
        return -ENOTSUP;
    l.sizes = calloc((size_t)query->max, sizeof(*l.sizes));
    if (!l.sizes)
        return -ENOMEM;
    reached = index_catch_up(s->index, confirmed, STORE_QUERY_WAIT_MS);
    r = look(&l);
    if (r == 0)
        r = give(&l, out);
    if (r == 0) {
        index_stats(s->index, &stats);
        answer->messages = l.count;
        answer->cut = l.full;
        answer->behind = confirmed > reached ? confirmed - reached : 0;
        answer->newest_ms = stats.end_ms;
        answer->newest_offset = stats.end_offset;
    }
    buf_destroy(&l.found);
    free(l.sizes);
    return r;
}
