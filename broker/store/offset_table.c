/* offset_table.c - consumer offsets by (topic, group), an array by queue id each; and the delay
 * cursors. Committing to an entry that exists is a hash, a mutex that few share, and a store.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/delay_levels.h"
#include "broker/store/metadata_internal.h"

enum { ROOM_FIRST = 4 };

struct pair {
    struct bytes topic, group;
};

int offset_table_init(struct offset_table *t)
{
    for (int i = 0; i < OFFSET_SHARDS; i++) {
        int r = pthread_mutex_init(&t->shards[i].lock, NULL);

        STAILQ_INIT(&t->shards[i].dirty);
        if (r != 0)
            return -r;
    }
    return 0;
}

static void free_entry(void *item)
{
    struct offset_entry *e = item;

    free(e->offsets);
    free(e->followed);
    free(e);
}

void offset_table_destroy(struct offset_table *t)
{
    for (int i = 0; i < OFFSET_SHARDS; i++) {
        struct offset_shard *s = &t->shards[i];

        name_table_free(&s->names, free_entry);
        (void)pthread_mutex_destroy(&s->lock);
    }
}

static struct bytes topic_of(const struct offset_entry *e)
{
    return bytes_of(e->names, e->topic_len);
}

static struct bytes group_of(const struct offset_entry *e)
{
    return bytes_of(e->names + e->topic_len, e->group_len);
}

static bool same_pair(const void *item, const void *key)
{
    const struct offset_entry *e = item;
    const struct pair *pair = key;

    return bytes_equal(topic_of(e), pair->topic) && bytes_equal(group_of(e), pair->group);
}

static uint64_t hash_of(const struct metadata *m, const struct pair *pair)
{
    return name_hash(name_hash(m->hash_seed, pair->topic), pair->group);
}

static struct offset_shard *shard_of(struct metadata *m, uint64_t hash)
{
    return &m->offsets.shards[hash >> 56]; /* the slot in the shard's table takes the low bits */
}

static struct offset_entry *find(const struct offset_shard *s, uint64_t hash,
                                 const struct pair *pair)
{
    return name_table_find(&s->names, hash, same_pair, pair);
}

/* --- changes; the shard's lock held --- */

static int add_entry(struct metadata *m, struct offset_shard *s, uint64_t hash,
                     const struct pair *pair, struct offset_entry **out)
{
    struct offset_entry *e;
    int r;

    if (atomic_load(&m->offsets.pairs) >= OFFSET_PAIRS_MAX)
        return -ENOSPC;
    r = name_table_reserve(&s->names);
    if (r < 0)
        return r;
    e = calloc(1, sizeof(*e) + pair->topic.len + pair->group.len);
    if (!e)
        return -ENOMEM;
    e->hash = hash;
    e->topic_len = (uint8_t)pair->topic.len;
    e->group_len = (uint8_t)pair->group.len;
    memcpy(e->names, pair->topic.at, pair->topic.len);
    memcpy(e->names + pair->topic.len, pair->group.at, pair->group.len);
    name_table_add(&s->names, hash, e);
    atomic_fetch_add(&m->offsets.pairs, 1);
    *out = e;
    return 0;
}

static void remove_entry(struct metadata *m, struct offset_shard *s, struct offset_entry *e)
{
    name_table_remove(&s->names, e->hash, e);
    atomic_fetch_sub(&m->offsets.pairs, 1);
    atomic_fetch_sub(&m->offsets.slots, e->room);
    free_entry(e);
}

static void clear(struct metadata *m, struct offset_entry *e)
{
    atomic_fetch_sub(&m->offsets.slots, e->room);
    free(e->offsets);
    free(e->followed);
    e->offsets = NULL;
    e->followed = NULL;
    e->count = e->room = 0;
    e->dirty_from = e->dirty_to = 0;
}

/* Without memory no offset counts as the master's. */
static void grow_followed(struct offset_entry *e, uint32_t room)
{
    uint8_t *grown;

    if (!e->followed)
        return;
    grown = calloc((room + 7) / 8, 1);
    if (grown)
        memcpy(grown, e->followed, (e->room + 7) / 8);
    free(e->followed);
    e->followed = grown;
}

static int make_room(struct metadata *m, struct offset_entry *e, uint32_t count)
{
    uint32_t room = e->room ? e->room : ROOM_FIRST;
    int64_t *grown;

    if (count <= e->room)
        return 0;
    while (room < count)
        room *= 2;
    if (atomic_fetch_add(&m->offsets.slots, room - e->room) + room - e->room > OFFSETS_MAX) {
        atomic_fetch_sub(&m->offsets.slots, room - e->room);
        return -ENOSPC;
    }
    grown = reallocarray(e->offsets, room, sizeof(*grown));
    if (!grown) {
        atomic_fetch_sub(&m->offsets.slots, room - e->room);
        return -ENOMEM;
    }
    for (uint32_t i = e->room; i < room; i++)
        grown[i] = -1;
    e->offsets = grown;
    grow_followed(e, room);
    e->room = room;
    return 0;
}

static int set(struct metadata *m, struct offset_entry *e, uint32_t queue_id, int64_t offset)
{
    int r = make_room(m, e, queue_id + 1);

    if (r < 0)
        return r;
    e->offsets[queue_id] = offset;
    if (queue_id >= e->count)
        e->count = queue_id + 1;
    return 0;
}

static void mark_dirty(struct offset_shard *s, struct offset_entry *e)
{
    if (e->dirty)
        return;
    e->dirty = true;
    STAILQ_INSERT_TAIL(&s->dirty, e, next_dirty);
}

static void mark_queue(struct offset_shard *s, struct offset_entry *e, uint32_t queue_id)
{
    if (e->dirty_from == e->dirty_to) {
        e->dirty_from = queue_id;
        e->dirty_to = queue_id + 1;
    } else if (queue_id < e->dirty_from) {
        e->dirty_from = queue_id;
    } else if (queue_id >= e->dirty_to) {
        e->dirty_to = queue_id + 1;
    }
    mark_dirty(s, e);
}

/* --- whose offset it is --- */

static bool is_followed(const struct offset_entry *e, uint32_t queue_id)
{
    return e->followed && (e->followed[queue_id / 8] >> queue_id % 8 & 1);
}

static void set_followed(struct offset_entry *e, uint32_t queue_id, bool followed)
{
    uint8_t bit = (uint8_t)(1u << queue_id % 8);

    if (queue_id >= e->room)
        return;
    if (!e->followed && followed)
        e->followed = calloc((e->room + 7) / 8, 1);
    if (!e->followed)
        return;
    if (followed)
        e->followed[queue_id / 8] |= bit;
    else
        e->followed[queue_id / 8] &= (uint8_t)~bit;
}

/* 1: changed; 0: was so already. */
static int commit_locked(struct metadata *m, struct offset_shard *s, uint64_t hash,
                         const struct pair *pair, uint32_t queue_id, int64_t offset)
{
    struct offset_entry *e = find(s, hash, pair);
    bool made = false;
    int r;

    if (e && e->followed)
        set_followed(e, queue_id, false);
    if (e && queue_id < e->count && e->offsets[queue_id] == offset)
        return 0;
    if (!e && (!topic_name_ok(pair->topic) || !group_name_ok(pair->group)))
        return -EINVAL;
    if (offset < 0 && (!e || queue_id >= e->count))
        return 0; /* "none" is what it reads as anyway */
    if (!e) {
        r = add_entry(m, s, hash, pair, &e);
        if (r < 0)
            return r;
        made = true;
    }
    r = set(m, e, queue_id, offset);
    if (r < 0) {
        if (made)
            remove_entry(m, s, e);
        return r;
    }
    mark_queue(s, e, queue_id);
    return 1;
}

int metadata_offset_commit(struct metadata *m, struct bytes topic, struct bytes group,
                           int32_t queue_id, int64_t offset)
{
    struct pair pair = {topic, group};
    struct offset_shard *s;
    uint64_t hash;
    int r;

    if (queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX)
        return -EINVAL;
    hash = hash_of(m, &pair);
    s = shard_of(m, hash);
    pthread_mutex_lock(&s->lock);
    r = commit_locked(m, s, hash, &pair, (uint32_t)queue_id, offset < 0 ? -1 : offset);
    pthread_mutex_unlock(&s->lock);
    if (r <= 0)
        return r;
    metadata_wake_offsets(m);
    return 0;
}

int metadata_offset_follow(struct metadata *m, struct bytes topic, struct bytes group,
                           int32_t queue_id, int64_t offset)
{
    struct pair pair = {topic, group};
    uint32_t id = (uint32_t)queue_id;
    struct offset_entry *e;
    struct offset_shard *s;
    uint64_t hash;
    int r = 0;

    if (queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX)
        return -EINVAL;
    if (offset < 0)
        return 0;
    hash = hash_of(m, &pair);
    s = shard_of(m, hash);
    pthread_mutex_lock(&s->lock);
    e = find(s, hash, &pair);
    if (!e || id >= e->count || offset >= e->offsets[id] || is_followed(e, id)) {
        r = commit_locked(m, s, hash, &pair, id, offset);
        e = find(s, hash, &pair);
        if (r >= 0 && e)
            set_followed(e, id, true);
    }
    pthread_mutex_unlock(&s->lock);
    if (r <= 0)
        return r;
    metadata_wake_offsets(m);
    return 0;
}

/* One queue of a master's record: 1 changed, 0 not, or negative. What says "none" takes away only
 * what was the master's. */
static int take_queue(struct metadata *m, struct offset_shard *s, uint64_t hash,
                      const struct pair *pair, uint32_t queue_id, int64_t offset)
{
    struct offset_entry *e = find(s, hash, pair);
    int r;

    if (e && queue_id < e->count && offset < e->offsets[queue_id] && !is_followed(e, queue_id))
        return 0;
    r = commit_locked(m, s, hash, pair, queue_id, offset < 0 ? -1 : offset);
    e = r >= 0 ? find(s, hash, pair) : NULL;
    if (e)
        set_followed(e, queue_id, true);
    return r;
}

static bool drop_entry(struct metadata *m, struct offset_shard *s, struct offset_entry *e);

int offset_table_take(struct metadata *m, const struct metadata_record *r)
{
    struct pair pair = {r->offsets.topic, r->offsets.group};
    uint64_t hash = hash_of(m, &pair);
    struct offset_shard *s = shard_of(m, hash);
    bool dropped = false, changed = false;
    struct offset_entry *e;
    int failed = 0;

    pthread_mutex_lock(&s->lock);
    e = find(s, hash, &pair);
    if (e && r->offsets.replace)
        dropped = drop_entry(m, s, e);
    for (size_t i = 0; i < metadata_record_pairs(r) && failed >= 0; i++) {
        uint32_t queue_id;
        int64_t offset;

        metadata_record_pair(r, i, &queue_id, &offset);
        failed = take_queue(m, s, hash, &pair, queue_id, offset);
        changed = changed || failed > 0;
    }
    pthread_mutex_unlock(&s->lock);
    if (dropped)
        metadata_wake(m, &m->work_drops);
    else if (changed)
        metadata_wake_offsets(m);
    return failed < 0 ? failed : 0;
}

static bool drop_entry(struct metadata *m, struct offset_shard *s, struct offset_entry *e)
{
    if (e->count == 0)
        return false;
    clear(m, e);
    e->replaced = true;
    mark_dirty(s, e);
    return true;
}

void offset_table_drop(struct metadata *m, struct bytes topic, struct bytes group)
{
    bool any = false;

    for (int i = 0; i < OFFSET_SHARDS; i++) {
        struct offset_shard *s = &m->offsets.shards[i];

        pthread_mutex_lock(&s->lock);
        for (size_t n = 0; n < s->names.size; n++) {
            struct offset_entry *e = s->names.slots[n].item;
            if (!e ||
                (topic.len ? !bytes_equal(topic_of(e), topic) : !bytes_equal(group_of(e), group)))
                continue;
            any = drop_entry(m, s, e) || any;
        }
        pthread_mutex_unlock(&s->lock);
    }
    if (any)
        metadata_wake(m, &m->work_drops);
}

/* --- lookups --- */

int64_t metadata_offset(struct metadata *m, struct bytes topic, struct bytes group,
                        int32_t queue_id)
{
    struct pair pair = {topic, group};
    uint64_t hash = hash_of(m, &pair);
    struct offset_shard *s = shard_of(m, hash);
    const struct offset_entry *e;
    int64_t offset = -1;

    pthread_mutex_lock(&s->lock);
    e = find(s, hash, &pair);
    if (e && queue_id >= 0 && (uint32_t)queue_id < e->count)
        offset = e->offsets[queue_id];
    pthread_mutex_unlock(&s->lock);
    return offset;
}

struct each_offset {
    struct bytes topic, group;
    void (*each)(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                 int32_t count);
    void *ctx;
};

static void give(const struct each_offset *to, const struct offset_entry *e)
{
    if (!e || e->count == 0 || (to->topic.len && !bytes_equal(topic_of(e), to->topic)) ||
        (to->group.len && !bytes_equal(group_of(e), to->group)))
        return;
    to->each(to->ctx, topic_of(e), group_of(e), e->offsets, (int32_t)e->count);
}

static void give_shard(const struct each_offset *to, struct offset_shard *s)
{
    pthread_mutex_lock(&s->lock);
    for (size_t n = 0; n < s->names.size; n++)
        give(to, s->names.slots[n].item);
    pthread_mutex_unlock(&s->lock);
}

void metadata_each_offset(struct metadata *m, struct bytes topic, struct bytes group,
                          void (*each)(void *ctx, struct bytes topic, struct bytes group,
                                       const int64_t *offsets, int32_t count),
                          void *ctx)
{
    struct each_offset to = {topic, group, each, ctx};
    struct pair pair = {topic, group};

    if (topic.len > 0 && group.len > 0) {
        uint64_t hash = hash_of(m, &pair);
        struct offset_shard *s = shard_of(m, hash);

        pthread_mutex_lock(&s->lock);
        give(&to, find(s, hash, &pair));
        pthread_mutex_unlock(&s->lock);
        return;
    }
    for (int i = 0; i < OFFSET_SHARDS; i++)
        give_shard(&to, &m->offsets.shards[i]);
}

void metadata_each_offset_of(struct metadata *m, int part,
                             void (*each)(void *ctx, struct bytes topic, struct bytes group,
                                          const int64_t *offsets, int32_t count),
                             void *ctx)
{
    struct each_offset to = {.each = each, .ctx = ctx};

    assert(part >= 0 && part < METADATA_OFFSET_PARTS);
    give_shard(&to, &m->offsets.shards[part]);
}

/* --- the journal's side --- */

int offset_table_apply(struct metadata *m, const struct metadata_record *r)
{
    struct pair pair = {r->offsets.topic, r->offsets.group};
    uint64_t hash = hash_of(m, &pair);
    struct offset_shard *s = shard_of(m, hash);
    struct offset_entry *e = find(s, hash, &pair);
    size_t pairs = metadata_record_pairs(r);
    int failed;

    if (e && metadata_at_before(r->at, e->at))
        return 0;
    if (e && r->offsets.replace)
        clear(m, e);
    if (pairs == 0) {
        if (e && e->count == 0)
            remove_entry(m, s, e);
        return 0;
    }
    if (!e) {
        failed = add_entry(m, s, hash, &pair, &e);
        if (failed < 0)
            return failed;
    }
    e->at = r->at;
    for (size_t i = 0; i < pairs; i++) {
        uint32_t queue_id;
        int64_t offset;

        metadata_record_pair(r, i, &queue_id, &offset);
        failed = set(m, e, queue_id, offset < 0 ? -1 : offset);
        if (failed < 0)
            return failed;
    }
    return 0;
}

/* One record of an entry; true when it has none left to give. */
static bool collect_record(struct metadata *m, struct offset_entry *e)
{
    bool replace = e->replaced;
    uint32_t from, n;

    if (replace) {
        e->dirty_from = 0;
        e->dirty_to = e->count;
        e->replaced = false;
    }
    from = e->dirty_from;
    n = e->dirty_to - from;
    n = n < METADATA_RECORD_OFFSETS ? n : METADATA_RECORD_OFFSETS;
    e->at = metadata_next_at(m);
    metadata_put_offsets(&m->batch, e->at, topic_of(e), group_of(e), replace, from,
                         n > 0 ? e->offsets + from : NULL, n);
    e->dirty_from += n;
    if (e->dirty_from < e->dirty_to)
        return false;
    e->dirty_from = e->dirty_to = 0;
    return true;
}

static void collect_first(struct metadata *m, struct offset_shard *s)
{
    struct offset_entry *e = STAILQ_FIRST(&s->dirty);

    if (!collect_record(m, e))
        return;
    STAILQ_REMOVE_HEAD(&s->dirty, next_dirty);
    e->dirty = false;
    if (e->count == 0)
        remove_entry(m, s, e);
}

bool offset_table_collect(struct metadata *m, uint32_t *at)
{
    for (; *at < OFFSET_SHARDS; ++*at) {
        struct offset_shard *s = &m->offsets.shards[*at];
        bool more = true;

        while (more) {
            if (!metadata_batch_has_room(m))
                return true;
            pthread_mutex_lock(&s->lock);
            for (int n = 0;
                 n < METADATA_PIECE && !STAILQ_EMPTY(&s->dirty) && metadata_batch_has_room(m); n++)
                collect_first(m, s);
            more = !STAILQ_EMPTY(&s->dirty);
            pthread_mutex_unlock(&s->lock);
        }
    }
    return false;
}

static void snapshot_entry(const struct offset_entry *e, bool whole, struct buf *out,
                           uint64_t *count)
{
    for (uint32_t from = 0; from < e->count; from += METADATA_RECORD_OFFSETS) {
        uint32_t n = e->count - from;
        n = n < METADATA_RECORD_OFFSETS ? n : METADATA_RECORD_OFFSETS;
        metadata_put_offsets(out, e->at, topic_of(e), group_of(e), whole && from == 0, from,
                             e->offsets + from, n);
        ++*count;
    }
}

bool offset_table_snapshot(struct metadata *m, uint32_t *at, bool whole, struct buf *out,
                           uint64_t *count)
{
    struct offset_shard *s = &m->offsets.shards[*at];

    pthread_mutex_lock(&s->lock);
    for (size_t n = 0; n < s->names.size; n++) {
        if (s->names.slots[n].item)
            snapshot_entry(s->names.slots[n].item, whole, out, count);
    }
    pthread_mutex_unlock(&s->lock);
    ++*at;
    return *at < OFFSET_SHARDS;
}

/* --- delay cursors --- */

int metadata_delay_set(struct metadata *m, int level, int64_t queue_offset)
{
    uint64_t bit;

    if (level < 1 || level > DELAY_LEVELS_MAX || queue_offset < 0)
        return -EINVAL;
    bit = (uint64_t)1 << (level - 1);
    if (atomic_load(&m->delays.offsets[level - 1]) == queue_offset &&
        (atomic_load(&m->delays.seen) & bit))
        return 0;
    atomic_store(&m->delays.offsets[level - 1], queue_offset);
    atomic_fetch_or(&m->delays.seen, bit);
    atomic_fetch_or(&m->delays.dirty, bit);
    metadata_wake_offsets(m);
    return 0;
}

int64_t metadata_delay(struct metadata *m, int level)
{
    if (level < 1 || level > DELAY_LEVELS_MAX)
        return 0;
    return atomic_load(&m->delays.offsets[level - 1]);
}

int delay_table_apply(struct metadata *m, const struct metadata_record *r)
{
    int i = r->delay.level - 1;

    if (metadata_at_before(r->at, m->delays.at[i]))
        return 0;
    m->delays.at[i] = r->at;
    atomic_store(&m->delays.offsets[i], r->delay.offset);
    atomic_fetch_or(&m->delays.seen, (uint64_t)1 << i);
    return 0;
}

bool delay_table_collect(struct metadata *m)
{
    if (!metadata_batch_has_room(m))
        return true;
    for (int i = 0; i < DELAY_LEVELS_MAX; i++) {
        uint64_t bit = (uint64_t)1 << i;

        /* The bit first: a cursor set after it was cleared sets it again. */
        if (!(atomic_fetch_and(&m->delays.dirty, ~bit) & bit))
            continue;
        m->delays.at[i] = metadata_next_at(m);
        metadata_put_delay(&m->batch, m->delays.at[i], i + 1, atomic_load(&m->delays.offsets[i]));
    }
    return false;
}

void delay_table_snapshot(struct metadata *m, bool placed, struct buf *out, uint64_t *count)
{
    uint64_t seen = atomic_load(&m->delays.seen);

    for (int i = 0; i < DELAY_LEVELS_MAX; i++) {
        if (!(seen >> i & 1))
            continue;
        metadata_put_delay(out, placed ? m->delays.at[i] : (struct metadata_at){0}, i + 1,
                           atomic_load(&m->delays.offsets[i]));
        ++*count;
    }
}

/* --- after a cut of the log --- */

static bool limit_entry(struct offset_shard *s, struct offset_entry *e,
                        int64_t (*end)(void *ctx, struct bytes topic, int32_t queue_id), void *ctx)
{
    bool any = false;

    for (uint32_t i = 0; i < e->count; i++) {
        int64_t last = e->offsets[i] > 0 ? end(ctx, topic_of(e), (int32_t)i) : INT64_MAX;

        if (e->offsets[i] <= last)
            continue;
        e->offsets[i] = last;
        mark_queue(s, e, i);
        any = true;
    }
    return any;
}

bool offset_table_limit(struct metadata *m,
                        int64_t (*end)(void *ctx, struct bytes topic, int32_t queue_id), void *ctx)
{
    bool any = false;

    for (int i = 0; i < OFFSET_SHARDS; i++) {
        struct offset_shard *s = &m->offsets.shards[i];

        pthread_mutex_lock(&s->lock);
        for (size_t n = 0; n < s->names.size; n++) {
            struct offset_entry *e = s->names.slots[n].item;

            if (e)
                any = limit_entry(s, e, end, ctx) || any;
        }
        pthread_mutex_unlock(&s->lock);
    }
    for (int level = 1; level <= DELAY_LEVELS_MAX; level++) {
        int64_t at = metadata_delay(m, level);
        int64_t last = at > 0 ? end(ctx, BYTES_LIT(SCHEDULE_TOPIC), level - 1) : INT64_MAX;

        if (at <= last)
            continue;
        (void)metadata_delay_set(m, level, last);
        any = true;
    }
    if (any)
        metadata_wake_offsets(m);
    return any;
}
