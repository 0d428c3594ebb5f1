/* route_table.c - see route_table.h.
 *
 * Topics sit in a chained hash table that doubles; groups in one sorted array, since there are
 * few of them and lists of them are wanted in order. A queue entry points at its group, so that a
 * route is one lookup and a walk.
 */
#include "namesrv/route_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_FIRST = 256 };

struct route_table {
    uint64_t seed;
    struct route_topic **buckets;
    size_t bucket_count; /* a power of two */
    size_t topic_count;
    size_t queue_count;
    struct route_group **groups;
    size_t group_count;
    size_t group_room;
};

/* ---- names ---- */

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

static char *copy_text(struct bytes text)
{
    char *copy = malloc(text.len + 1);

    if (!copy)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return copy;
}

static int compare_name(struct bytes name, const char *other)
{
    size_t other_len = strlen(other);
    size_t common = name.len < other_len ? name.len : other_len;
    int order = common > 0 ? memcmp(name.at, other, common) : 0;

    if (order != 0)
        return order;
    return name.len == other_len ? 0 : name.len < other_len ? -1 : 1;
}

bool route_version_equal(const struct route_version *a, const struct route_version *b)
{
    return a->state == b->state && a->counter == b->counter && a->timestamp == b->timestamp;
}

/* ---- groups and members ---- */

/* Where a group of that name is, or would go. */
static size_t group_place(const struct route_table *t, struct bytes name, bool *found)
{
    size_t low = 0, high = t->group_count;

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_name(name, t->groups[middle]->name);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct route_group *group_of(const struct route_table *t, struct bytes name)
{
    bool found;
    size_t at = group_place(t, name, &found);

    return found ? t->groups[at] : NULL;
}

static void filters_free(char **filters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(filters[i]);
    free(filters);
}

static void member_destroy(struct route_member *m)
{
    free(m->address);
    free(m->ha_address);
    filters_free(m->filters, m->filter_count);
}

static void group_free(struct route_group *g)
{
    for (size_t i = 0; i < g->member_count; i++)
        member_destroy(&g->members[i]);
    free(g->members);
    free(g->name);
    free(g->cluster);
    free(g->zone);
    free(g);
}

/* A group without members, not yet in the table. */
static struct route_group *group_new(const struct route_registration *in)
{
    struct route_group *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->name = copy_text(in->group);
    g->cluster = copy_text(in->cluster);
    if (g->name && g->cluster)
        return g;
    group_free(g);
    return NULL;
}

static int group_insert(struct route_table *t, struct route_group *g)
{
    bool found;
    size_t at = group_place(t, bytes_str(g->name), &found);

    assert(!found);
    if (t->group_count == t->group_room) {
        size_t room = t->group_room ? t->group_room * 2 : 8;
        struct route_group **grown = realloc(t->groups, room * sizeof(struct route_group *));

        if (!grown)
            return -ENOMEM;
        t->groups = grown;
        t->group_room = room;
    }
    memmove(&t->groups[at + 1], &t->groups[at],
            (t->group_count - at) * sizeof(struct route_group *));
    t->groups[at] = g;
    t->group_count++;
    return 0;
}

static struct route_member *member_by_id(struct route_group *g, int64_t id)
{
    for (size_t i = 0; i < g->member_count; i++) {
        if (g->members[i].id == id)
            return &g->members[i];
    }
    return NULL;
}

static struct route_member *member_by_address(struct route_group *g, struct bytes address)
{
    for (size_t i = 0; i < g->member_count; i++) {
        if (bytes_is(address, g->members[i].address))
            return &g->members[i];
    }
    return NULL;
}

const struct route_member *route_group_master(const struct route_group *g)
{
    for (size_t i = 0; i < g->member_count; i++) {
        if (g->members[i].id == ROUTE_MASTER_ID)
            return &g->members[i];
    }
    return NULL;
}

/* ---- topics ---- */

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

/* The entry of that group in that topic, made when it is missing (*made). NULL: *full says why. */
static struct route_queue *queue_put(struct route_table *t, struct bytes name,
                                     struct route_group *g, bool *made, enum route_full *full)
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

/* ---- leaving ---- */

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

static void group_drop(struct route_table *t, struct route_group *g)
{
    bool found;
    size_t at = group_place(t, bytes_str(g->name), &found);

    assert(found);
    each_queue(t, g, visit_drop);
    assert(g->queue_count == 0);
    t->group_count--;
    memmove(&t->groups[at], &t->groups[at + 1],
            (t->group_count - at) * sizeof(struct route_group *));
    group_free(g);
}

static void member_take_out(struct route_group *g, struct route_member *m)
{
    size_t at = (size_t)(m - g->members);

    member_destroy(m);
    g->member_count--;
    memmove(m, m + 1, (g->member_count - at) * sizeof(struct route_member));
}

/* The member leaves, and the group with it when it was the last one. */
static void member_leave(struct route_table *t, struct route_group *g, struct route_member *m,
                         struct route_gone *gone)
{
    bool was_master = m->id == ROUTE_MASTER_ID;

    if (gone) {
        bytes_to_cstr(bytes_str(g->name), gone->group, sizeof(gone->group));
        bytes_to_cstr(bytes_str(m->address), gone->address, sizeof(gone->address));
        gone->id = m->id;
        gone->channel = m->channel;
    }
    member_take_out(g, m);
    if (g->member_count == 0)
        group_drop(t, g);
    else if (was_master && g->acting_master)
        each_queue(t, g, visit_wipe);
}

bool route_table_unregister(struct route_table *t, struct bytes group, struct bytes address,
                            struct route_gone *gone)
{
    struct route_group *g = group_of(t, group);
    struct route_member *m = g ? member_by_address(g, address) : NULL;

    if (!m)
        return false;
    member_leave(t, g, m, gone);
    return true;
}

bool route_table_take_channel(struct route_table *t, uint64_t channel, struct route_gone *gone)
{
    assert(channel != 0);
    for (size_t i = 0; i < t->group_count; i++) {
        struct route_group *g = t->groups[i];

        for (size_t k = 0; k < g->member_count; k++) {
            if (g->members[k].channel == channel) {
                member_leave(t, g, &g->members[k], gone);
                return true;
            }
        }
    }
    return false;
}

static int64_t silent_after_ms(const struct route_member *m)
{
    return m->seen_ms + m->timeout_ms;
}

bool route_table_take_silent(struct route_table *t, int64_t now_ms, struct route_gone *gone)
{
    for (size_t i = 0; i < t->group_count; i++) {
        struct route_group *g = t->groups[i];

        for (size_t k = 0; k < g->member_count; k++) {
            if (silent_after_ms(&g->members[k]) < now_ms) {
                member_leave(t, g, &g->members[k], gone);
                return true;
            }
        }
    }
    return false;
}

int64_t route_table_next_silent_ms(const struct route_table *t)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < t->group_count; i++) {
        const struct route_group *g = t->groups[i];

        for (size_t k = 0; k < g->member_count; k++) {
            if (silent_after_ms(&g->members[k]) + 1 < next)
                next = silent_after_ms(&g->members[k]) + 1;
        }
    }
    return next;
}

const struct route_member *route_table_touch(struct route_table *t, struct bytes group,
                                             struct bytes address, uint64_t channel, int64_t now_ms)
{
    struct route_group *g = group_of(t, group);
    struct route_member *m = g ? member_by_address(g, address) : NULL;

    if (m) {
        m->seen_ms = now_ms;
        m->channel = channel;
    }
    return m;
}

/* ---- registering ---- */

/* Everything of a registration that needs memory, made before anything is changed. */
struct prepared {
    struct route_group *new_group; /* NULL when the group exists */
    char *cluster;                 /* NULL when it stays */
    char *zone;
    char *address;
    char *ha_address;
    char **filters;
    size_t filter_count;
};

static void prepared_destroy(struct prepared *p)
{
    if (p->new_group)
        group_free(p->new_group);
    free(p->cluster);
    free(p->zone);
    free(p->address);
    free(p->ha_address);
    filters_free(p->filters, p->filter_count);
}

static int prepare_filters(const struct route_registration *in, struct prepared *p)
{
    if (in->keep_filters || in->filter_count == 0)
        return 0;
    p->filters = calloc(in->filter_count, sizeof(char *));
    if (!p->filters)
        return -ENOMEM;
    p->filter_count = in->filter_count;
    for (size_t i = 0; i < in->filter_count; i++) {
        p->filters[i] = copy_text(in->filters[i]);
        if (!p->filters[i])
            return -ENOMEM;
    }
    return 0;
}

/* The master names the cluster; a slave only when it is the first of its group. */
static bool names_cluster(const struct route_registration *in, const struct route_group *g)
{
    return in->id == ROUTE_MASTER_ID && !bytes_is(in->cluster, g->cluster);
}

static int prepare(const struct route_registration *in, struct route_group *g, struct prepared *p)
{
    struct route_member *grown;

    *p = (struct prepared){0};
    if (!g) {
        g = p->new_group = group_new(in);
        if (!g)
            goto fail;
    }
    if (names_cluster(in, g)) {
        p->cluster = copy_text(in->cluster);
        if (!p->cluster)
            goto fail;
    }
    if (in->zone.len > 0) {
        p->zone = copy_text(in->zone);
        if (!p->zone)
            goto fail;
    }
    p->address = copy_text(in->address);
    p->ha_address = copy_text(in->ha_address);
    if (!p->address || !p->ha_address || prepare_filters(in, p) < 0)
        goto fail;
    /* room for one more, so that the member that comes cannot fail to fit */
    grown = realloc(g->members, (g->member_count + 1) * sizeof(struct route_member));
    if (!grown)
        goto fail;
    g->members = grown;
    return 0;
fail:
    prepared_destroy(p);
    return -ENOMEM;
}

/* The member of that id, with what was prepared; a new one has told nothing yet. */
static struct route_member *member_put(struct route_group *g, const struct route_registration *in,
                                       struct prepared *p, bool *joined)
{
    struct route_member *m = member_by_id(g, in->id);

    *joined = !m || !bytes_is(in->address, m->address);
    if (!m) {
        size_t at = g->member_count;

        while (at > 0 && g->members[at - 1].id > in->id) {
            g->members[at] = g->members[at - 1];
            at--;
        }
        m = &g->members[at];
        g->member_count++;
        *m = (struct route_member){.id = in->id};
    } else if (*joined) {
        member_destroy(m);
        *m = (struct route_member){.id = in->id};
    }
    free(m->address);
    free(m->ha_address);
    m->address = p->address;
    m->ha_address = p->ha_address;
    p->address = p->ha_address = NULL;
    if (!in->keep_filters) {
        filters_free(m->filters, m->filter_count);
        m->filters = p->filters;
        m->filter_count = p->filter_count;
        p->filters = NULL;
        p->filter_count = 0;
    }
    return m;
}

/* A topic that we have is overwritten when the sender's version changed; one that we miss is
 * always taken, so that a table that lost an update mends itself. */
static void take_topics(struct route_table *t, struct route_group *g,
                        const struct route_registration *in, bool changed,
                        struct route_registered *out)
{
    for (size_t i = 0; i < in->topic_count; i++) {
        const struct route_topic_config *config = &in->topics[i];
        bool made;
        struct route_queue *q = queue_put(t, config->name, g, &made, &out->full);

        if (!q) {
            out->left_out++;
            continue;
        }
        if (!changed && !made)
            continue;
        q->read_queues = config->read_queues;
        q->write_queues = config->write_queues;
        q->sys_flag = config->sys_flag;
        q->perm = config->perm;
        if (in->id != ROUTE_MASTER_ID)
            q->perm &= ~ROUTE_PERM_WRITE;
    }
}

/* Topics come from the master. A group without one takes them from its lowest member, to be read
 * only, when that member knows of acting masters. */
static bool gives_topics(const struct route_group *g, const struct route_registration *in)
{
    if (in->id == ROUTE_MASTER_ID)
        return true;
    return in->speaks_acting_master && g->members[0].id == in->id;
}

static struct route_group *commit_group(struct route_table *t, struct route_group *g,
                                        const struct route_registration *in, struct prepared *p)
{
    if (p->new_group) {
        if (group_insert(t, p->new_group) < 0)
            return NULL;
        g = p->new_group;
        p->new_group = NULL;
    }
    if (p->cluster) {
        free(g->cluster);
        g->cluster = p->cluster;
        p->cluster = NULL;
    }
    free(g->zone);
    g->zone = p->zone;
    p->zone = NULL;
    g->acting_master = in->speaks_acting_master && in->acting_master;
    return g;
}

/* An address stands under one id: where it stood under another, it goes. The group may be empty
 * for a moment. */
static void address_moves(struct route_group *g, const struct route_registration *in)
{
    struct route_member *other = member_by_address(g, in->address);

    if (other && other->id != in->id)
        member_take_out(g, other);
}

static bool is_outdated(struct route_group *g, const struct route_registration *in)
{
    const struct route_member *holder = member_by_id(g, in->id);

    return holder && !bytes_is(in->address, holder->address) &&
           holder->version.state > in->version.state;
}

static bool group_is_full(struct route_group *g, const struct route_registration *in)
{
    return g->member_count >= ROUTE_MEMBERS_MAX && !member_by_id(g, in->id) &&
           !member_by_address(g, in->address);
}

int route_table_register(struct route_table *t, const struct route_registration *in, int64_t now_ms,
                         struct route_registered *out)
{
    struct route_group *g = group_of(t, in->group);
    struct route_member *m;
    struct prepared p;
    bool changed;
    int r;

    assert(in->group.len > 0 && in->group.len <= ROUTE_NAME_MAX);
    assert(in->address.len > 0 && in->address.len <= ROUTE_ADDRESS_MAX);
    assert(in->filter_count <= ROUTE_FILTERS_MAX);
    *out = (struct route_registered){0};
    if (!g && t->group_count >= ROUTE_GROUPS_MAX)
        out->full = ROUTE_FULL_GROUPS;
    else if (g && group_is_full(g, in))
        out->full = ROUTE_FULL_MEMBERS;
    if (out->full != ROUTE_FULL_NOT)
        return ROUTE_FULL;

    r = prepare(in, g, &p);
    if (r < 0)
        return r;
    if (g) {
        address_moves(g, in);
        if (is_outdated(g, in)) {
            prepared_destroy(&p);
            return ROUTE_OUTDATED;
        }
    }
    g = commit_group(t, g, in, &p);
    if (!g) {
        prepared_destroy(&p);
        return -ENOMEM;
    }
    m = member_put(g, in, &p, &out->joined);
    prepared_destroy(&p);

    changed = !m->complete || !route_version_equal(&m->version, &in->version);
    if (gives_topics(g, in))
        take_topics(t, g, in, changed, out);
    m->version = in->version;
    m->complete = out->left_out == 0;
    m->seen_ms = now_ms;
    m->timeout_ms = in->timeout_ms > 0 ? in->timeout_ms : ROUTE_TIMEOUT_MS;
    m->channel = in->channel;
    out->member = m;
    out->master = m->id == ROUTE_MASTER_ID ? NULL : route_group_master(g);
    return 0;
}

int route_table_put_queue(struct route_table *t, const struct route_topic_config *topic,
                          struct bytes group, enum route_full *full)
{
    struct route_group *g = group_of(t, group);
    struct route_queue *q;
    bool made;

    if (!g)
        return ROUTE_UNKNOWN;
    q = queue_put(t, topic->name, g, &made, full);
    if (!q)
        return ROUTE_FULL;
    q->read_queues = topic->read_queues;
    q->write_queues = topic->write_queues;
    q->perm = topic->perm;
    q->sys_flag = topic->sys_flag;
    return 0;
}

/* ---- what operators change ---- */

size_t route_table_wipe_write_perm(struct route_table *t, struct bytes group)
{
    struct route_group *g = group_of(t, group);

    return g ? each_queue(t, g, visit_wipe) : 0;
}

size_t route_table_add_write_perm(struct route_table *t, struct bytes group)
{
    struct route_group *g = group_of(t, group);

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

/* ---- reading ---- */

const struct route_topic *route_table_topic(const struct route_table *t, struct bytes name)
{
    return topic_of(t, name);
}

const struct route_group *route_table_group(const struct route_table *t, struct bytes name)
{
    return group_of(t, name);
}

size_t route_table_group_count(const struct route_table *t)
{
    return t->group_count;
}

const struct route_group *route_table_group_at(const struct route_table *t, size_t at)
{
    assert(at < t->group_count);
    return t->groups[at];
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

int route_table_new(struct route_table **out, uint64_t seed)
{
    struct route_table *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->seed = seed;
    t->bucket_count = BUCKETS_FIRST;
    t->buckets = calloc(t->bucket_count, sizeof(struct route_topic *));
    if (!t->buckets) {
        free(t);
        return -ENOMEM;
    }
    *out = t;
    return 0;
}

struct route_table *route_table_free(struct route_table *t)
{
    if (!t)
        return NULL;
    for (size_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i]) {
            struct route_topic *topic = t->buckets[i];

            t->buckets[i] = topic->next;
            topic_free(topic);
        }
    }
    for (size_t i = 0; i < t->group_count; i++)
        group_free(t->groups[i]);
    free(t->groups);
    free(t->buckets);
    free(t);
    return NULL;
}
