/* meta_stream.c - see meta_stream.h.
 *
 * What the journal has made durable is kept once, in a log in memory, as long as a peer that has
 * begun has not got it; each peer has a place in it. Marks say which sequence is complete where. A
 * peer that falls behind by more than the bound begins again: a snapshot of the tables says in less
 * what it missed.
 */
#include "broker/replication/meta_stream.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "broker/replication/core.h"
#include "broker/replication/group_wire.h"
#include "broker/store/metadata_record.h"

enum {
    MARKS_MAX = 256,         /* above it the newest ones are one */
    TRIM_BYTES = 256 * 1024, /* the log's front is dropped in pieces of this size */
};
static_assert((int)GROUP_META_MAX >= (int)METADATA_RECORD_MAX, "a record fits into a frame");

struct mark {
    uint64_t at; /* everything before it in the log makes this sequence complete */
    uint64_t sequence;
};

enum stage { PEER_AWAY, PEER_SNAPSHOT, PEER_STREAM };

struct peer {
    /* lock */
    enum stage stage;
    bool again; /* too far behind: begin with a snapshot */
    uint64_t at;
    uint64_t told; /* the highest sequence that was sent to it */
    /* the group's thread */
    struct metadata_cursor cursor;
    bool begins, tables_end;
    uint64_t covered; /* by the snapshot, once it is whole */
    struct buf piece; /* of the snapshot, not yet sent */
    _Atomic uint64_t acked;
};

struct meta_source {
    struct metadata *m;
    pthread_mutex_t lock;
    struct buf log;  /* lock, as all below */
    uint64_t log_at; /* of its first byte */
    struct mark marks[MARKS_MAX];
    unsigned mark_count;
    struct peer peers[CORE_MEMBERS_MAX];
};

/* --- the metadata thread --- */

static uint64_t log_end(const struct meta_source *s)
{
    return s->log_at + s->log.len;
}

static bool anybody(const struct meta_source *s)
{
    for (int i = 0; i < CORE_MEMBERS_MAX; i++) {
        if (s->peers[i].stage != PEER_AWAY)
            return true;
    }
    return false;
}

/* Drops what everybody has. */
static void trim(struct meta_source *s)
{
    uint64_t keep = log_end(s);
    unsigned gone = 0;

    for (int i = 0; i < CORE_MEMBERS_MAX; i++) {
        const struct peer *p = &s->peers[i];

        if (p->stage != PEER_AWAY && !p->again && p->at < keep)
            keep = p->at;
    }
    if (keep - s->log_at < TRIM_BYTES && keep != log_end(s))
        return;
    if (keep == log_end(s) && s->log.cap > TRIM_BYTES)
        buf_destroy(&s->log); /* after a burst, or the last peer */
    else
        buf_consume(&s->log, keep - s->log_at);
    s->log_at = keep;
    while (gone < s->mark_count && s->marks[gone].at < keep)
        gone++;
    memmove(s->marks, s->marks + gone, (s->mark_count - gone) * sizeof(s->marks[0]));
    s->mark_count -= gone;
}

static void all_again(struct meta_source *s, uint64_t behind)
{
    for (int i = 0; i < CORE_MEMBERS_MAX; i++) {
        struct peer *p = &s->peers[i];

        if (p->stage != PEER_AWAY && log_end(s) - p->at >= behind)
            p->again = true;
    }
}

/* What is written to files only is nobody else's. */
static void add_records(struct meta_source *s, struct bytes records)
{
    while (records.len > 0) {
        size_t size = 8 + (size_t)load_be32(records.at);

        if (records.at[24] != METADATA_EXPORT_HASH)
            buf_add(&s->log, records.at, size);
        records = bytes_of(records.at + size, records.len - size);
    }
}

static void add_mark(struct meta_source *s, uint64_t sequence)
{
    struct mark *last = s->mark_count > 0 ? &s->marks[s->mark_count - 1] : NULL;

    if (!last || (last->at < log_end(s) && s->mark_count < MARKS_MAX))
        last = &s->marks[s->mark_count++];
    *last = (struct mark){log_end(s), sequence};
}

static void on_durable(void *ctx, struct bytes records, uint64_t durable)
{
    struct meta_source *s = ctx;
    bool any;

    pthread_mutex_lock(&s->lock);
    any = anybody(s); /* who begins later gets the tables */
    if (any && durable == 0) {
        add_records(s, records);
        if (s->log.failed) { /* a part may be missing: nobody can go on with it */
            all_again(s, 0);
            s->log_at = log_end(s);
            s->mark_count = 0;
            buf_destroy(&s->log);
        } else {
            all_again(s, META_WAITING_MAX);
        }
        trim(s);
    } else if (any) {
        add_mark(s, durable);
    }
    pthread_mutex_unlock(&s->lock);
}

/* --- life --- */

struct meta_source *meta_source_new(struct metadata *m)
{
    struct meta_source *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->m = m;
    pthread_mutex_init(&s->lock, NULL);
    metadata_tap(m, on_durable, s);
    return s;
}

struct meta_source *meta_source_free(struct meta_source *s)
{
    if (!s)
        return NULL;
    metadata_tap(s->m, NULL, NULL);
    for (int i = 0; i < CORE_MEMBERS_MAX; i++)
        buf_destroy(&s->peers[i].piece);
    buf_destroy(&s->log);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

/* --- the group's thread --- */

static void begin(struct meta_source *s, struct peer *p)
{
    pthread_mutex_lock(&s->lock);
    p->stage = PEER_SNAPSHOT;
    p->again = false;
    p->at = log_end(s);
    p->told = 0;
    pthread_mutex_unlock(&s->lock);
    /* After the place in the log: what becomes durable from here on is behind it. Before the tables
     * are read: all of this is in them. */
    p->covered = metadata_durable(s->m);
    p->cursor = (struct metadata_cursor){0};
    p->begins = true;
    p->tables_end = false;
    buf_reset(&p->piece);
}

void meta_source_begin(struct meta_source *s, unsigned peer)
{
    assert(peer < CORE_MEMBERS_MAX);
    /* It may be another disk. */
    atomic_store(&s->peers[peer].acked, 0);
    begin(s, &s->peers[peer]);
}

void meta_source_end(struct meta_source *s, unsigned peer)
{
    struct peer *p = &s->peers[peer];

    pthread_mutex_lock(&s->lock);
    p->stage = PEER_AWAY;
    p->again = false;
    trim(s);
    pthread_mutex_unlock(&s->lock);
    buf_destroy(&p->piece);
}

/* How much of it is whole records, at most GROUP_META_MAX bytes. */
static size_t whole_records(struct bytes records)
{
    size_t size = 0;

    while (size < records.len) {
        size_t next = 8 + (size_t)load_be32(records.at + size);

        if (size + next > GROUP_META_MAX)
            break;
        size += next;
    }
    return size;
}

static bool next_of_snapshot(struct meta_source *s, struct peer *p, struct buf *out, bool *begins,
                             uint64_t *upto)
{
    size_t size;

    while (p->piece.len < GROUP_META_MAX && !p->tables_end && !p->piece.failed)
        p->tables_end = !metadata_snapshot_piece(s->m, &p->cursor, &p->piece);
    size = whole_records(buf_bytes(&p->piece));
    buf_add(out, buf_at(&p->piece), size);
    if (p->piece.failed || out->failed) { /* from the start, when there is memory again */
        buf_destroy(&p->piece);
        begin(s, p);
        return false;
    }
    buf_consume(&p->piece, size);
    *begins = p->begins;
    p->begins = false;
    if (!p->tables_end || p->piece.len > 0)
        return true;
    buf_destroy(&p->piece);
    *upto = p->covered;
    pthread_mutex_lock(&s->lock);
    p->stage = PEER_STREAM;
    p->told = p->covered;
    pthread_mutex_unlock(&s->lock);
    return true;
}

/* Lock held. */
static bool next_of_stream(struct meta_source *s, struct peer *p, struct buf *out, uint64_t *upto)
{
    bool any = false;
    struct bytes left;
    size_t size;

    left = bytes_of(buf_at(&s->log) + (p->at - s->log_at), log_end(s) - p->at);
    size = whole_records(left);
    buf_add(out, left.at, size);
    if (!out->failed) {
        p->at += size;
        *upto = p->told;
        for (unsigned i = 0; i < s->mark_count && s->marks[i].at <= p->at; i++) {
            if (s->marks[i].sequence > *upto)
                *upto = s->marks[i].sequence;
        }
        any = size > 0 || *upto != p->told;
        p->told = *upto;
        trim(s);
    }
    return any;
}

bool meta_source_next(struct meta_source *s, unsigned peer, struct buf *out, bool *begins,
                      uint64_t *upto)
{
    struct peer *p = &s->peers[peer];
    bool snapshot, again, any = false;

    assert(peer < CORE_MEMBERS_MAX);
    *begins = false;
    *upto = 0;
    pthread_mutex_lock(&s->lock);
    again = p->again;
    snapshot = p->stage == PEER_SNAPSHOT || again;
    if (p->stage == PEER_STREAM && !again)
        any = next_of_stream(s, p, out, upto);
    pthread_mutex_unlock(&s->lock);
    if (again)
        begin(s, p);
    return snapshot ? next_of_snapshot(s, p, out, begins, upto) : any;
}

void meta_source_acked(struct meta_source *s, unsigned peer, uint64_t upto)
{
    struct peer *p = &s->peers[peer];

    assert(peer < CORE_MEMBERS_MAX);
    /* Never more than it was told; what it had before it began again it still has. */
    if (upto > p->told)
        return;
    if (upto > atomic_load(&p->acked))
        atomic_store(&p->acked, upto);
}

uint64_t meta_source_copied(const struct meta_source *s, unsigned others)
{
    uint64_t best[CORE_MEMBERS_MAX];
    unsigned count = 0;

    if (others == 0)
        return UINT64_MAX;
    for (int i = 0; i < CORE_MEMBERS_MAX; i++) {
        uint64_t acked = atomic_load(&s->peers[i].acked);
        unsigned at = count++;

        for (; at > 0 && best[at - 1] < acked; at--)
            best[at] = best[at - 1];
        best[at] = acked;
    }
    return others <= CORE_MEMBERS_MAX ? best[others - 1] : 0;
}

/* --- a follower --- */

static bool beyond(void *ctx, struct topic *topic, uint64_t log_floor)
{
    return store_topic_beyond(ctx, topic, log_floor);
}

static bool drop(void *ctx, struct topic *topic, uint64_t log_floor)
{
    bool any = store_drop_topic_below(ctx, topic, log_floor);

    store_topics_went(ctx);
    return any;
}

int meta_sink_take(struct metadata *m, struct store *store, struct bytes records,
                   uint64_t *sequence, struct err *err)
{
    const struct metadata_queues queues = {.beyond = beyond, .drop = drop, .ctx = store};

    return metadata_take(m, records, store ? &queues : NULL, sequence, err);
}
