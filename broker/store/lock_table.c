/* lock_table.c - who holds which queue lock, as it is journalled: holders, not renewals. Granting
 * is the broker's (broker/locks.c); here it is only remembered, for whoever begins to grant: after
 * a start, or a promotion. A released lock leaves when the journal has its release.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"

struct key {
    struct bytes group, topic;
    uint32_t queue_id;
};

int lock_table_init(struct lock_table *t)
{
    for (int i = 0; i < LOCK_SHARDS; i++) {
        int r = pthread_mutex_init(&t->shards[i].lock, NULL);

        STAILQ_INIT(&t->shards[i].dirty);
        if (r != 0)
            return -r;
    }
    return 0;
}

static void free_entry(void *item)
{
    struct lock_entry *e = item;

    free(e->client);
    free(e);
}

void lock_table_destroy(struct lock_table *t)
{
    for (int i = 0; i < LOCK_SHARDS; i++) {
        struct lock_shard *s = &t->shards[i];

        name_table_free(&s->names, free_entry);
        (void)pthread_mutex_destroy(&s->lock);
    }
}

static struct bytes group_of(const struct lock_entry *e)
{
    return bytes_of(e->names, e->group_len);
}

static struct bytes topic_of(const struct lock_entry *e)
{
    return bytes_of(e->names + e->group_len, e->topic_len);
}

static struct bytes client_of(const struct lock_entry *e)
{
    return bytes_of(e->client, e->client_len);
}

static bool same_key(const void *item, const void *key)
{
    const struct lock_entry *e = item;
    const struct key *k = key;

    return e->queue_id == k->queue_id && bytes_equal(group_of(e), k->group) &&
           bytes_equal(topic_of(e), k->topic);
}

static uint64_t hash_of(const struct metadata *m, const struct key *k)
{
    return name_mix(name_hash(name_hash(m->hash_seed, k->group), k->topic) ^ k->queue_id,
                    0x9E3779B97F4A7C15u);
}

static struct lock_shard *shard_of(struct metadata *m, uint64_t hash)
{
    return &m->locks.shards[hash >> 58];
}

static struct lock_entry *find(const struct lock_shard *s, uint64_t hash, const struct key *k)
{
    return name_table_find(&s->names, hash, same_key, k);
}

/* --- changes; the shard's lock held --- */

static int add_entry(struct metadata *m, struct lock_shard *s, uint64_t hash, const struct key *k,
                     struct lock_entry **out)
{
    struct lock_entry *e;
    int r;

    if (atomic_load(&m->locks.count) >= LOCK_RECORDS_MAX)
        return -ENOSPC;
    r = name_table_reserve(&s->names);
    if (r < 0)
        return r;
    e = calloc(1, sizeof(*e) + k->group.len + k->topic.len);
    if (!e)
        return -ENOMEM;
    e->hash = hash;
    e->queue_id = k->queue_id;
    e->group_len = (uint8_t)k->group.len;
    e->topic_len = (uint8_t)k->topic.len;
    memcpy(e->names, k->group.at, k->group.len);
    memcpy(e->names + k->group.len, k->topic.at, k->topic.len);
    name_table_add(&s->names, hash, e);
    atomic_fetch_add(&m->locks.count, 1);
    *out = e;
    return 0;
}

static void remove_entry(struct metadata *m, struct lock_shard *s, struct lock_entry *e)
{
    name_table_remove(&s->names, e->hash, e);
    atomic_fetch_sub(&m->locks.count, 1);
    free_entry(e);
}

/* 0 or -ENOMEM, nothing changed then. */
static int set_client(struct lock_entry *e, struct bytes client, int64_t granted_ms)
{
    char *copy = NULL;

    if (client.len > 0) {
        copy = malloc(client.len);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, client.at, client.len);
    }
    free(e->client);
    e->client = copy;
    e->client_len = (uint16_t)client.len;
    e->granted_ms = granted_ms;
    return 0;
}

static void mark_dirty(struct metadata *m, struct lock_shard *s, struct lock_entry *e)
{
    e->at = metadata_next_at(m);
    if (e->dirty)
        return;
    e->dirty = true;
    STAILQ_INSERT_TAIL(&s->dirty, e, next_dirty);
    atomic_fetch_add(&m->pending, 1);
}

static int put_locked(struct metadata *m, struct lock_shard *s, uint64_t hash, const struct key *k,
                      struct bytes client, int64_t granted_ms, uint64_t *sequence)
{
    struct lock_entry *e = find(s, hash, k);
    bool made = !e;
    int r;

    if (e && bytes_equal(client_of(e), client)) {
        *sequence = e->at.sequence;
        return 0;
    }
    if (!e && client.len == 0)
        return 0;
    r = e && e->dirty ? 0 : metadata_admit(m);
    if (r == 0 && !e)
        r = add_entry(m, s, hash, k, &e);
    if (r < 0)
        return r;
    r = set_client(e, client, granted_ms);
    if (r < 0) {
        if (made)
            remove_entry(m, s, e);
        return r;
    }
    mark_dirty(m, s, e);
    *sequence = e->at.sequence;
    return 1;
}

int metadata_lock_put(struct metadata *m, struct bytes group, struct bytes topic, int32_t queue_id,
                      struct bytes client, int64_t granted_ms, uint64_t *sequence)
{
    struct key k = {group, topic, (uint32_t)queue_id};
    struct lock_shard *s;
    uint64_t hash;
    int r;

    *sequence = 0;
    if (queue_id < 0 || queue_id >= TOPIC_QUEUES_MAX || !group_name_ok(group) ||
        !topic_name_ok(topic) || !lock_client_ok(client) || granted_ms < 0)
        return -EINVAL;
    hash = hash_of(m, &k);
    s = shard_of(m, hash);
    pthread_mutex_lock(&s->lock);
    r = put_locked(m, s, hash, &k, client, granted_ms, sequence);
    pthread_mutex_unlock(&s->lock);
    if (r > 0)
        metadata_wake(m, &m->work_changes);
    return r < 0 ? r : 0;
}

bool lock_client_ok(struct bytes client)
{
    return client.len <= LOCK_CLIENT_MAX && (client.len == 0 || !memchr(client.at, 0, client.len));
}

void metadata_each_lock(struct metadata *m,
                        void (*each)(void *ctx, struct bytes group, struct bytes topic,
                                     int32_t queue_id, struct bytes client, int64_t granted_ms),
                        void *ctx)
{
    for (int i = 0; i < LOCK_SHARDS; i++) {
        struct lock_shard *s = &m->locks.shards[i];

        pthread_mutex_lock(&s->lock);
        for (size_t n = 0; n < s->names.size; n++) {
            const struct lock_entry *e = s->names.slots[n].item;
            if (e && e->client_len > 0)
                each(ctx, group_of(e), topic_of(e), (int32_t)e->queue_id, client_of(e),
                     e->granted_ms);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

/* --- the journal's side --- */

int lock_table_apply(struct metadata *m, const struct metadata_record *r)
{
    struct key k = {r->lock.group, r->lock.topic, r->lock.queue_id};
    uint64_t hash = hash_of(m, &k);
    struct lock_shard *s = shard_of(m, hash);
    struct lock_entry *e = find(s, hash, &k);
    int failed;

    if (e && metadata_at_before(r->at, e->at))
        return 0;
    if (r->lock.client.len == 0) {
        if (e)
            remove_entry(m, s, e);
        return 0;
    }
    if (!e) {
        failed = add_entry(m, s, hash, &k, &e);
        if (failed < 0)
            return failed;
    }
    e->at = r->at;
    return set_client(e, r->lock.client, r->lock.granted_ms);
}

static void put_entry(const struct lock_entry *e, struct buf *out)
{
    struct metadata_lock lock = {group_of(e), topic_of(e), e->queue_id, client_of(e),
                                 e->granted_ms};

    metadata_put_lock(out, e->at, &lock);
}

bool lock_table_collect(struct metadata *m)
{
    for (int i = 0; i < LOCK_SHARDS; i++) {
        struct lock_shard *s = &m->locks.shards[i];
        struct lock_entry *e;
        bool full = false;

        pthread_mutex_lock(&s->lock);
        while ((e = STAILQ_FIRST(&s->dirty)) != NULL) {
            full = !metadata_batch_has_room(m);
            if (full)
                break;
            put_entry(e, &m->batch);
            STAILQ_REMOVE_HEAD(&s->dirty, next_dirty);
            e->dirty = false;
            atomic_fetch_sub(&m->pending, 1);
            if (e->client_len == 0)
                remove_entry(m, s, e);
        }
        pthread_mutex_unlock(&s->lock);
        if (full)
            return true;
    }
    return false;
}

bool lock_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count)
{
    struct lock_shard *s = &m->locks.shards[*at];

    pthread_mutex_lock(&s->lock);
    for (size_t n = 0; n < s->names.size; n++) {
        const struct lock_entry *e = s->names.slots[n].item;

        if (!e || e->client_len == 0)
            continue;
        put_entry(e, out);
        ++*count;
    }
    pthread_mutex_unlock(&s->lock);
    ++*at;
    return *at < LOCK_SHARDS;
}
