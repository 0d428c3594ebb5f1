/* route_table.c - groups and their members: one sorted array, since groups are few and lists of
 * them are wanted in order; and how members leave. See route_table.h.
 */
#include "namesrv/route_table_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

char *route_copy_text(struct bytes text)
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

struct route_group *route_group_of(const struct route_table *t, struct bytes name)
{
    bool found;
    size_t at = group_place(t, name, &found);

    return found ? t->groups[at] : NULL;
}

void route_filters_free(char **filters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(filters[i]);
    free(filters);
}

void route_member_destroy(struct route_member *m)
{
    free(m->address);
    free(m->ha_address);
    route_filters_free(m->filters, m->filter_count);
}

void route_group_free(struct route_group *g)
{
    for (size_t i = 0; i < g->member_count; i++)
        route_member_destroy(&g->members[i]);
    free(g->members);
    free(g->name);
    free(g->cluster);
    free(g->zone);
    free(g);
}

int route_group_insert(struct route_table *t, struct route_group *g)
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

struct route_member *route_member_by_id(struct route_group *g, int64_t id)
{
    for (size_t i = 0; i < g->member_count; i++) {
        if (g->members[i].id == id)
            return &g->members[i];
    }
    return NULL;
}

struct route_member *route_member_by_address(struct route_group *g, struct bytes address)
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

/* ---- leaving ---- */

static void group_drop(struct route_table *t, struct route_group *g)
{
    bool found;
    size_t at = group_place(t, bytes_str(g->name), &found);

    assert(found);
    route_queues_drop(t, g);
    t->group_count--;
    memmove(&t->groups[at], &t->groups[at + 1],
            (t->group_count - at) * sizeof(struct route_group *));
    route_group_free(g);
}

void route_member_take_out(struct route_group *g, struct route_member *m)
{
    size_t at = (size_t)(m - g->members);

    route_member_destroy(m);
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
    route_member_take_out(g, m);
    if (g->member_count == 0)
        group_drop(t, g);
    else if (was_master && g->acting_master)
        route_queues_wipe(t, g);
}

bool route_table_unregister(struct route_table *t, struct bytes group, struct bytes address,
                            struct route_gone *gone)
{
    struct route_group *g = route_group_of(t, group);
    struct route_member *m = g ? route_member_by_address(g, address) : NULL;

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
    struct route_group *g = route_group_of(t, group);
    struct route_member *m = g ? route_member_by_address(g, address) : NULL;

    if (m) {
        m->seen_ms = now_ms;
        m->channel = channel;
    }
    return m;
}

/* ---- life and reading ---- */

const struct route_group *route_table_group(const struct route_table *t, struct bytes name)
{
    return route_group_of(t, name);
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

int route_table_new(struct route_table **out, uint64_t seed)
{
    struct route_table *t = calloc(1, sizeof(*t));

    if (!t)
        return -ENOMEM;
    t->seed = seed;
    if (route_topics_init(t) < 0) {
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
    route_topics_destroy(t);
    for (size_t i = 0; i < t->group_count; i++)
        route_group_free(t->groups[i]);
    free(t->groups);
    free(t);
    return NULL;
}
