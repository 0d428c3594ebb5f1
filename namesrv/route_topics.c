/* route_topics.c - topics and their queue entries: a chained hash table that doubles. A queue entry
 * points at its group, so that a route is one look-up and a walk.
 */
#include "namesrv/route_table_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_FIRST = 256 };

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t name_hash(uint64_t seed, struct bytes name)
{
    uint64_t h = seed ^ (name.len * 0x9E3779B97F4A7C15u);

    while (name.len > 0) {
        uint64_t word = 0;
        size_t n = name.len < 8 ? name.len : 8;

        memcpy(&word, name.at, n);
        h = mix(h ^ word ^ 0xA0761D6478BD642Fu, seed ^ 0xE7037ED1A0B428DBu);
        name.at += n;
        name.len -= n;
    }
    return mix(h, 0x8EBC6AF09C88C6E3u);
}

static struct route_topic **topic_slot(const struct route_table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->bucket_count - 1)];
}

static struct route_topic *topic_of(const struct route_table *t, struct bytes name)
{
    uint64_t hash = name_hash(t->seed, name);

    for (struct route_topic *topic = *topic_slot(t, hash); topic; topic = topic->next) {
        if (topic->hash == hash && bytes_equal(name, route_topic_name(topic)))
            return topic;
    }
    return NULL;
}

/* More buckets when there are more topics than buckets. When memory is short the chains get longer
 * instead. */
static void buckets_grow(struct route_table *t)
{
    size_t count = t->bucket_count * 2;
    struct route_topic **old = t->buckets;
    size_t old_count = t->bucket_count;
    struct route_topic **grown = calloc(count, sizeof(struct route_topic *));

    if (!grown)
        return;
    t->buckets = grown;
    t->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct route_topic *topic = old[i];
            struct route_topic **slot = topic_slot(t, topic->hash);

            old[i] = topic->next;
            topic->next = *slot;
            *slot = topic;
        }
    }
    free(old);
}

static struct route_topic *topic_add(struct route_table *t, struct bytes name)
{
    struct route_topic *topic = malloc(sizeof(*topic) + name.len);
    struct route_topic **slot;

    if (!topic)
        return NULL;
    if (t->topic_count >= t->bucket_count)
        buckets_grow(t);
    *topic = (struct route_topic){.hash = name_hash(t->seed, name), .name_len = (uint32_t)name.len};
    memcpy(topic->name, name.at, name.len);
    slot = topic_slot(t, topic->hash);
    topic->next = *slot;
    *slot = topic;
    t->topic_count++;
    return topic;
}

static void topic_free(struct route_topic *topic)
{
    free(topic->queues);
    free(topic);
}

/* Takes the topic at *slot out of the table; *slot is the next one then. */
static void topic_drop_at(struct route_table *t, struct route_topic **slot)
{
    struct route_topic *topic = *slot;

    *slot = topic->next;
    for (uint32_t i = 0; i < topic->queue_count; i++)
        topic->queues[i].group->queue_count--;
    t->queue_count -= topic->queue_count;
    t->topic_count--;
    topic_free(topic);
}

static void topic_drop(struct route_table *t, struct route_topic *topic)
{
    struct route_topic **slot = topic_slot(t, topic->hash);

    while (*slot != topic)
        slot = &(*slot)->next;
    topic_drop_at(t, slot);
}

static struct route_queue *queue_of(struct route_topic *topic, const struct route_group *g)
{
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        if (topic->queues[i].group == g)
            return &topic->queues[i];
    }
    return NULL;
}

static struct route_queue *queue_add(struct route_table *t, struct route_topic *topic,
                                     struct route_group *g)
{
    uint32_t at = topic->queue_count;
    struct route_queue *grown =
        realloc(topic->queues, (topic->queue_count + 1) * sizeof(struct route_queue));

    if (!grown)
        return NULL;
    topic->queues = grown;
    while (at > 0 && strcmp(grown[at - 1].group->name, g->name) > 0) {
        grown[at] = grown[at - 1];
        at--;
    }
    grown[at] = (struct route_queue){.group = g};
    topic->queue_count++;
    g->queue_count++;
    t->queue_count++;
    return &grown[at];
}

static void queue_drop(struct route_table *t, struct route_topic *topic, struct route_queue *q)
{
    uint32_t at = (uint32_t)(q - topic->queues);

    q->group->queue_count--;
    t->queue_count--;
    topic->queue_count--;
    memmove(q, q + 1, (topic->queue_count - at) * sizeof(struct route_queue));
}

struct route_queue *route_queue_put(struct route_table *t, struct bytes name, struct route_group *g,
                                    bool *made, enum route_full *full)
{
    struct route_topic *topic = topic_of(t, name);
    struct route_queue *q = topic ? queue_of(topic, g) : NULL;

    assert(name.len > 0 && name.len <= ROUTE_TOPIC_MAX);
    *made = q == NULL;
    if (q)
        return q;
    if (t->queue_count >= ROUTE_QUEUES_MAX) {
        *full = ROUTE_FULL_QUEUES;
        return NULL;
    }
    if (!topic) {
        if (t->topic_count >= ROUTE_TOPICS_MAX) {
            *full = ROUTE_FULL_TOPICS;
            return NULL;
        }
        topic = topic_add(t, name);
    }
    q = topic ? queue_add(t, topic, g) : NULL;
    if (!q) {
        *full = ROUTE_FULL_MEMORY;
        if (topic && topic->queue_count == 0)
            topic_drop(t, topic);
    }
    return q;
}

void route_queue_take_out(struct route_table *t, struct bytes name, const struct route_group *g)
{
    struct route_topic *topic = topic_of(t, name);
    struct route_queue *q = topic ? queue_of(topic, g) : NULL;

    if (!q)
        return;
    queue_drop(t, topic, q);
    if (topic->queue_count == 0)
        topic_drop(t, topic);
}

/* ---- all entries of a group ---- */

/* Calls for every queue entry of the group; an entry is dropped where `visit` says true. */
static size_t each_queue(struct route_table *t, const struct route_group *g,
                         bool (*visit)(struct route_queue *q))
{
    size_t seen = 0;
    size_t all = g->queue_count;

    for (size_t i = 0; i < t->bucket_count && seen < all; i++) {
        struct route_topic **slot = &t->buckets[i];

        while (*slot) {
            struct route_queue *q = queue_of(*slot, g);

            if (q) {
                seen++;
                if (visit(q))
                    queue_drop(t, *slot, q);
            }
            if ((*slot)->queue_count == 0)
                topic_drop_at(t, slot);
            else
                slot = &(*slot)->next;
        }
    }
    return seen;
}

static bool visit_drop(struct route_queue *q)
{
    (void)q;
    return true;
}

static bool visit_wipe(struct route_queue *q)
{
    q->perm &= ~ROUTE_PERM_WRITE;
    return false;
}

static bool visit_allow(struct route_queue *q)
{
    q->perm = ROUTE_PERM_READ | ROUTE_PERM_WRITE;
    return false;
}

void route_queues_drop(struct route_table *t, const struct route_group *g)
{
    each_queue(t, g, visit_drop);
    assert(g->queue_count == 0);
}

void route_queues_wipe(struct route_table *t, const struct route_group *g)
{
    each_queue(t, g, visit_wipe);
}

/* ---- what operators change ---- */

size_t route_table_wipe_write_perm(struct route_table *t, struct bytes group)
{
    struct route_group *g = route_group_of(t, group);

    return g ? each_queue(t, g, visit_wipe) : 0;
}

size_t route_table_add_write_perm(struct route_table *t, struct bytes group)
{
    struct route_group *g = route_group_of(t, group);

    return g ? each_queue(t, g, visit_allow) : 0;
}

void route_table_delete_topic(struct route_table *t, struct bytes topic, struct bytes cluster)
{
    struct route_topic *found = topic_of(t, topic);

    if (!found)
        return;
    for (uint32_t i = found->queue_count; i > 0; i--) {
        struct route_queue *q = &found->queues[i - 1];

        if (cluster.len == 0 || bytes_is(cluster, q->group->cluster))
            queue_drop(t, found, q);
    }
    if (found->queue_count == 0)
        topic_drop(t, found);
}

/* ---- life and reading ---- */

int route_topics_init(struct route_table *t)
{
    t->bucket_count = BUCKETS_FIRST;
    t->buckets = calloc(t->bucket_count, sizeof(struct route_topic *));
    return t->buckets ? 0 : -ENOMEM;
}

void route_topics_destroy(struct route_table *t)
{
    for (size_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i]) {
            struct route_topic *topic = t->buckets[i];

            t->buckets[i] = topic->next;
            topic_free(topic);
        }
    }
    free(t->buckets);
}

const struct route_topic *route_table_topic(const struct route_table *t, struct bytes name)
{
    return topic_of(t, name);
}

size_t route_table_topic_count(const struct route_table *t)
{
    return t->topic_count;
}

size_t route_table_queue_count(const struct route_table *t)
{
    return t->queue_count;
}

const struct route_topic *route_table_next_topic(const struct route_table *t,
                                                 const struct route_topic *after)
{
    size_t i = 0;

    if (after) {
        if (after->next)
            return after->next;
        i = (after->hash & (t->bucket_count - 1)) + 1;
    }
    for (; i < t->bucket_count; i++) {
        if (t->buckets[i])
            return t->buckets[i];
    }
    return NULL;
}
