/* consume_rates.c - see consume_rates.h. Each part is a table of places, chained by hash. */
#include "broker/consume_rates.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/log.h"

enum {
    PARTS = 16,
    HEADS = 1024,
    SPAN_MS = 10000,
    SPANS = 6,
    LOOKED_AT = 64, /* places that a newcomer to a full part asks for */
    NONE = UINT32_MAX,
};

struct place {
    uint32_t next; /* in its chain; NONE at the end */
    uint32_t generation;
    uint32_t topic;
    uint32_t hash;
    char *group;
    size_t group_len;
    int64_t span; /* the running one, now / SPAN_MS */
    uint32_t counts[SPANS];
};

struct part {
    pthread_mutex_t lock;
    struct place *places;
    uint32_t count, room;
    uint32_t hand; /* the next place to be asked whether it is idle */
    uint32_t heads[HEADS];
};

struct consume_rates {
    uint32_t most; /* places of one part */
    struct part parts[PARTS];
};

struct consume_rates *consume_rates_new(unsigned most)
{
    struct consume_rates *r = calloc(1, sizeof(*r));

    if (r)
        r->most = most / PARTS;
    for (unsigned i = 0; r && i < PARTS; i++) {
        pthread_mutex_init(&r->parts[i].lock, NULL);
        memset(r->parts[i].heads, 0xFF, sizeof(r->parts[i].heads));
    }
    return r;
}

struct consume_rates *consume_rates_free(struct consume_rates *r)
{
    for (unsigned i = 0; r && i < PARTS; i++) {
        for (uint32_t at = 0; at < r->parts[i].count; at++)
            free(r->parts[i].places[at].group);
        free(r->parts[i].places);
        pthread_mutex_destroy(&r->parts[i].lock);
    }
    free(r);
    return NULL;
}

static uint32_t hash_of(uint32_t topic, struct bytes group)
{
    uint64_t h = (topic + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15);

    for (size_t i = 0; i < group.len; i++)
        h = (h ^ group.at[i]) * UINT64_C(0x100000001B3);
    return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

static struct part *part_of(struct consume_rates *r, uint32_t hash)
{
    return &r->parts[hash % PARTS];
}

static uint32_t *head_of(struct part *p, uint32_t hash)
{
    return &p->heads[hash / PARTS % HEADS];
}

/* Moves to the span of `now`, emptying those in between. */
static void move_to(struct place *at, int64_t now_ms)
{
    int64_t span = now_ms / SPAN_MS;

    if (span - at->span >= SPANS)
        memset(at->counts, 0, sizeof(at->counts));
    else
        for (int64_t s = at->span + 1; s <= span; s++)
            at->counts[s % SPANS] = 0;
    if (span > at->span)
        at->span = span;
}

/* Under the part's lock, as all below. NULL: not known. */
static struct place *look_up(struct part *p, uint32_t hash, uint32_t topic, struct bytes group)
{
    for (uint32_t i = *head_of(p, hash); i != NONE; i = p->places[i].next) {
        struct place *at = &p->places[i];

        if (at->hash == hash && at->topic == topic &&
            bytes_equal(bytes_of(at->group, at->group_len), group))
            return at;
    }
    return NULL;
}

/* A place at the end of the table; NULL: there is no more room, or no memory. */
static struct place *add_place(struct part *p, uint32_t most)
{
    if (p->count == most)
        return NULL;
    if (p->count == p->room) {
        uint32_t room = p->room ? p->room * 2 : 16;
        struct place *grown = reallocarray(p->places, room, sizeof(*grown));

        if (!grown)
            return NULL;
        p->places = grown;
        p->room = room;
    }
    p->places[p->count] = (struct place){.generation = 0};
    return &p->places[p->count++];
}

/* Takes the place of a pair that got nothing for a minute. */
static struct place *take_idle(struct part *p, int64_t now_ms)
{
    for (unsigned n = 0; n < LOOKED_AT && p->count > 0; n++) {
        struct place *at = &p->places[p->hand % p->count];
        uint32_t *link = head_of(p, at->hash), index = p->hand % p->count;

        p->hand = index + 1;
        if (now_ms / SPAN_MS - at->span < SPANS)
            continue;
        while (*link != index)
            link = &p->places[*link].next;
        *link = at->next;
        return at;
    }
    return NULL;
}

static struct place *make(struct part *p, uint32_t most, uint32_t hash, uint32_t topic,
                          struct bytes group, int64_t now_ms)
{
    char *name = malloc(group.len + 1);
    struct place *at = name ? add_place(p, most) : NULL;

    if (name && !at)
        at = take_idle(p, now_ms);
    if (!at) {
        free(name);
        log_warn_limited("consume rates",
                         "%d pairs of topic and group are counted already: what group %.*s gets is "
                         "missing in its consumeTps",
                         (int)most * PARTS, (int)group.len, (const char *)group.at);
        return NULL;
    }
    if (group.len > 0)
        memcpy(name, group.at, group.len);
    free(at->group);
    *at = (struct place){.next = *head_of(p, hash),
                         .generation = at->generation + 1,
                         .topic = topic,
                         .hash = hash,
                         .group = name,
                         .group_len = group.len,
                         .span = now_ms / SPAN_MS};
    if (at->generation == 0)
        at->generation = 1;
    *head_of(p, hash) = (uint32_t)(at - p->places);
    return at;
}

struct consume_counter consume_rates_find(struct consume_rates *r, uint32_t topic,
                                          struct bytes group, int64_t now_ms)
{
    uint32_t hash = hash_of(topic, group);
    struct consume_counter counter = {0};
    struct part *p = part_of(r, hash);
    struct place *at;

    pthread_mutex_lock(&p->lock);
    at = look_up(p, hash, topic, group);
    if (!at)
        at = make(p, r->most, hash, topic, group, now_ms);
    if (at) {
        counter.place = (uint32_t)(at - p->places) * PARTS + hash % PARTS;
        counter.generation = at->generation;
    }
    pthread_mutex_unlock(&p->lock);
    return counter;
}

void consume_rates_add(struct consume_rates *r, struct consume_counter counter, uint32_t messages,
                       int64_t now_ms)
{
    struct part *p = &r->parts[counter.place % PARTS];
    struct place *at;

    if (counter.generation == 0)
        return;
    pthread_mutex_lock(&p->lock);
    at = &p->places[counter.place / PARTS];
    if (at->generation == counter.generation) {
        move_to(at, now_ms);
        at->counts[at->span % SPANS] += messages;
    }
    pthread_mutex_unlock(&p->lock);
}

double consume_rates_of(struct consume_rates *r, uint32_t topic, struct bytes group, int64_t now_ms)
{
    uint32_t hash = hash_of(topic, group);
    struct part *p = part_of(r, hash);
    uint64_t messages = 0;
    struct place *at;

    pthread_mutex_lock(&p->lock);
    at = look_up(p, hash, topic, group);
    if (at)
        move_to(at, now_ms);
    for (int i = 0; at && i < SPANS; i++)
        messages += at->counts[i];
    pthread_mutex_unlock(&p->lock);
    /* the whole spans and what has passed of the running one */
    return (double)messages * 1000 / (double)((SPANS - 1) * SPAN_MS + now_ms % SPAN_MS);
}
