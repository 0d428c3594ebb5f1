/* queue_ledger.c - see queue_ledger.h. */
#include "tools/queue_ledger.h"

#include <errno.h>
#include <stdlib.h>

void queue_ledger_init(struct queue_ledger *l, uint64_t seed)
{
    *l = (struct queue_ledger){.seed = seed};
}

void queue_ledger_destroy(struct queue_ledger *l)
{
    for (uint32_t i = 0; i < l->topic_count; i++)
        free(l->topics[i]);
    for (uint32_t i = 0; i < l->queue_count; i++)
        free(l->queues[i]);
    free(l->topics);
    free(l->queues);
    name_table_destroy(&l->topic_names);
    name_table_destroy(&l->queue_names);
    *l = (struct queue_ledger){.seed = l->seed};
}

/* Room for one more pointer. */
static int room_for(void ***items, uint32_t count, uint32_t *room)
{
    uint32_t more = *room ? *room * 2 : 64;
    void **grown;

    if (count < *room)
        return 0;
    grown = reallocarray(*items, more, sizeof(void *));
    if (!grown)
        return -ENOMEM;
    *items = grown;
    *room = more;
    return 0;
}

static bool same_topic(const void *item, const void *key)
{
    const struct ledger_topic *t = item;

    return bytes_equal(bytes_of(t->name, t->name_len), *(const struct bytes *)key);
}

static int add_topic(struct queue_ledger *l, uint64_t hash, struct bytes name,
                     struct ledger_topic **out)
{
    struct ledger_topic *t;
    int r;

    if (l->topic_count >= LEDGER_TOPICS_MAX)
        return -ENOSPC;
    r = room_for((void ***)&l->topics, l->topic_count, &l->topic_room);
    if (r == 0)
        r = name_table_reserve(&l->topic_names);
    t = r == 0 ? calloc(1, sizeof(*t)) : NULL;
    if (!t)
        return -ENOMEM;
    t->hash = hash;
    t->name_len = (uint8_t)name.len;
    memcpy(t->name, name.at, name.len);
    name_table_add(&l->topic_names, hash, t);
    l->topics[l->topic_count++] = t;
    *out = t;
    return 0;
}

int queue_ledger_topic(struct queue_ledger *l, struct bytes name, bool make,
                       struct ledger_topic **out)
{
    struct ledger_topic *t = l->last_topic;
    uint64_t hash;
    int r = 0;

    if (!t || !same_topic(t, &name)) {
        hash = name_hash(l->seed, name);
        t = name_table_find(&l->topic_names, hash, same_topic, &name);
        if (!t)
            r = make ? add_topic(l, hash, name, &t) : -ENOENT;
        if (r < 0)
            return r;
        l->last_topic = t;
    }
    *out = t;
    return 0;
}

struct queue_key {
    const struct ledger_topic *topic;
    int32_t id;
};

static bool same_queue(const void *item, const void *key)
{
    const struct ledger_queue *q = item;
    const struct queue_key *k = key;

    return q->topic == k->topic && q->id == k->id;
}

static int add_queue(struct queue_ledger *l, uint64_t hash, struct ledger_topic *topic, int32_t id,
                     struct ledger_queue **out)
{
    struct ledger_queue *q;
    int r;

    if (l->queue_count >= LEDGER_QUEUES_MAX)
        return -ENOSPC;
    r = room_for((void ***)&l->queues, l->queue_count, &l->queue_room);
    if (r == 0)
        r = name_table_reserve(&l->queue_names);
    q = r == 0 ? calloc(1, sizeof(*q)) : NULL;
    if (!q)
        return -ENOMEM;
    *q = (struct ledger_queue){
        .hash = hash,
        .topic = topic,
        .id = id,
        .first_byte = 0,
        .last_byte = -1,
        .next = -1,
        .window = LEDGER_NO_WINDOW,
    };
    name_table_add(&l->queue_names, hash, q);
    l->queues[l->queue_count++] = q;
    *out = q;
    return 0;
}

int queue_ledger_queue(struct queue_ledger *l, struct ledger_topic *topic, int32_t id, bool make,
                       struct ledger_queue **out)
{
    struct queue_key key = {topic, id};
    struct ledger_queue *q = l->last_queue;
    uint64_t hash;
    int r = 0;

    if (!q || !same_queue(q, &key)) {
        hash = name_mix(topic->hash ^ (uint32_t)id, 0x9E3779B97F4A7C15u);
        q = name_table_find(&l->queue_names, hash, same_queue, &key);
        if (!q)
            r = make ? add_queue(l, hash, topic, id, &q) : -ENOENT;
        if (r < 0)
            return r;
        l->last_queue = q;
    }
    *out = q;
    return 0;
}

bool entry_run_note(struct entry_run *run, enum run_kind kind, int64_t offset, uint64_t log_offset,
                    const struct queue_entry *found, const struct queue_entry *wanted)
{
    if (run->kind == kind && run->last + 1 == offset) {
        run->last = offset;
        return true;
    }
    if (run->kind != RUN_NONE)
        return false;
    *run = (struct entry_run){
        .kind = kind, .first = offset, .last = offset, .log_offset = log_offset, .wanted = *wanted};
    if (found)
        run->found = *found;
    return true;
}
