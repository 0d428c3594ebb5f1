/* route_register.c - how a registration changes the routing table. Everything that needs memory is
 * made first, so that a registration is carried out as a whole or not at all; only topics may find
 * no room one by one.
 */
#include "namesrv/route_table_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* A group without members, not yet in the table. */
static struct route_group *group_new(const struct route_registration *in)
{
    struct route_group *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->name = route_copy_text(in->group);
    g->cluster = route_copy_text(in->cluster);
    if (g->name && g->cluster)
        return g;
    route_group_free(g);
    return NULL;
}

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
        route_group_free(p->new_group);
    free(p->cluster);
    free(p->zone);
    free(p->address);
    free(p->ha_address);
    route_filters_free(p->filters, p->filter_count);
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
        p->filters[i] = route_copy_text(in->filters[i]);
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
        p->cluster = route_copy_text(in->cluster);
        if (!p->cluster)
            goto fail;
    }
    if (in->zone.len > 0) {
        p->zone = route_copy_text(in->zone);
        if (!p->zone)
            goto fail;
    }
    p->address = route_copy_text(in->address);
    p->ha_address = route_copy_text(in->ha_address);
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
    struct route_member *m = route_member_by_id(g, in->id);

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
        route_member_destroy(m);
        *m = (struct route_member){.id = in->id};
    }
    free(m->address);
    free(m->ha_address);
    m->address = p->address;
    m->ha_address = p->ha_address;
    p->address = p->ha_address = NULL;
    if (!in->keep_filters) {
        route_filters_free(m->filters, m->filter_count);
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
        struct route_queue *q = route_queue_put(t, config->name, g, &made, &out->full);

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
        if (route_group_insert(t, p->new_group) < 0)
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
    struct route_member *other = route_member_by_address(g, in->address);

    if (other && other->id != in->id)
        route_member_take_out(g, other);
}

static bool is_outdated(struct route_group *g, const struct route_registration *in)
{
    const struct route_member *holder = route_member_by_id(g, in->id);

    return holder && !bytes_is(in->address, holder->address) &&
           holder->version.state > in->version.state;
}

static bool group_is_full(struct route_group *g, const struct route_registration *in)
{
    return g->member_count >= ROUTE_MEMBERS_MAX && !route_member_by_id(g, in->id) &&
           !route_member_by_address(g, in->address);
}

int route_table_register(struct route_table *t, const struct route_registration *in, int64_t now_ms,
                         struct route_registered *out)
{
    struct route_group *g = route_group_of(t, in->group);
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
    if (gives_topics(g, in)) {
        for (size_t i = 0; i < in->removed_count; i++)
            route_queue_take_out(t, in->removed[i], g);
        take_topics(t, g, in, changed, out);
    }
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
    struct route_group *g = route_group_of(t, group);
    struct route_queue *q;
    bool made;

    if (!g)
        return ROUTE_UNKNOWN;
    q = route_queue_put(t, topic->name, g, &made, full);
    if (!q)
        return ROUTE_FULL;
    q->read_queues = topic->read_queues;
    q->write_queues = topic->write_queues;
    q->perm = topic->perm;
    q->sys_flag = topic->sys_flag;
    return 0;
}
