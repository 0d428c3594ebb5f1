/* group_view.c - see group_view.h. */
#include "tools/group_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

/* --- what a member says --- */

static void text_of(const json_t *object, const char *key, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));

    snprintf(to, size, "%s", text ? text : "");
}

static bool flag(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

struct view_member *view_know(struct view *v, const char *address)
{
    struct view_member *m;

    for (unsigned i = 0; i < v->count; i++) {
        if (strcmp(v->members[i].address, address) == 0)
            return &v->members[i];
    }
    if (v->count == VIEW_MEMBERS_MAX || strlen(address) >= VIEW_ADDRESS_MAX || !address[0])
        return NULL;
    m = &v->members[v->count++];
    *m = (struct view_member){.id = 0, .broker_id = -1};
    snprintf(m->address, sizeof(m->address), "%s", address);
    return m;
}

static bool take_plain(struct view_member *m, const json_t *status)
{
    const json_t *follows = json_object_get(status, "follows");

    m->plain = true;
    m->broker_id = number(status, "brokerId");
    m->file_id = number(status, "fileId");
    m->epoch = (uint64_t)number(status, "promoted");
    text_of(follows, "master", m->followed.master, sizeof(m->followed.master));
    text_of(follows, "state", m->followed.state, sizeof(m->followed.state));
    m->followed.end = number(follows, "masterEnd");
    m->followed.silent_ms = number(follows, "silentMs");
    return true;
}

/* A wrong address in --members may be that of another group: nothing of it counts here. */
static bool is_foreign(const struct view *v, struct view_member *m, const json_t *status)
{
    const char *cluster = json_string_value(json_object_get(status, "cluster"));
    const char *broker = json_string_value(json_object_get(status, "broker"));

    m->foreign =
        (cluster && strcmp(cluster, v->cluster) != 0) || (broker && strcmp(broker, v->broker) != 0);
    if (m->foreign)
        snprintf(m->why, sizeof(m->why), "it is broker %.120s of cluster %.120s",
                 broker ? broker : "?", cluster ? cluster : "?");
    return m->foreign;
}

bool view_take(struct view *v, struct view_member *m, const json_t *status)
{
    const json_t *others = json_object_get(status, "members"), *other;
    size_t i;

    bool plain = flag(status, "plain");

    m->plain = false;
    if (is_foreign(v, m, status))
        return false;
    if (!json_is_string(json_object_get(status, "role")) || (!plain && !json_is_array(others)))
        return false;
    text_of(status, "role", m->role, sizeof(m->role));
    m->written = number(status, "written");
    m->flushed = number(status, "flushed");
    m->confirmed = number(status, "confirmed");
    if (plain)
        return take_plain(m, status);
    m->id = number(status, "self");
    text_of(status, "alarm", m->alarm, sizeof(m->alarm));
    m->doubtful = flag(status, "doubtful");
    m->draining = flag(status, "draining");
    m->master = number(status, "master");
    m->epoch = (uint64_t)number(status, "epoch");
    m->last_epoch = (uint64_t)number(status, "lastEpoch");
    m->promised = (uint64_t)number(status, "promised");
    m->asked = (uint64_t)number(status, "asked");
    v->copies = number(status, "copies");
    v->promises_needed = number(status, "promisesNeeded");
    m->promise_count = m->follower_count = 0;
    json_array_foreach(others, i, other)
    {
        int64_t id = number(other, "id");
        char address[VIEW_ADDRESS_MAX];
        struct view_member *known;

        text_of(other, "address", address, sizeof(address));
        if (flag(other, "self")) /* name servers may know it by another address */
            continue;
        known = view_member(v, id);
        if (!known)
            known = view_know(v, address);
        if (known)
            known->id = id;
        if (m->promise_count == VIEW_MEMBERS_MAX)
            break;
        m->promises[m->promise_count++] = (struct view_promise){
            id, flag(other, "promised"), (uint64_t)number(other, "promisedEpoch"),
            number(other, "promisedEnd")};
        m->followers[m->follower_count++] =
            (struct view_follower){id, flag(other, "connected"), flag(other, "following"),
                                   flag(other, "near"), number(other, "received")};
    }
    return true;
}

struct view_member *view_member(struct view *v, int64_t id)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (v->members[i].id == id && id != 0)
            return &v->members[i];
    }
    return NULL;
}

struct view_member *view_leader(struct view *v)
{
    struct view_member *leader = NULL;

    for (unsigned i = 0; i < v->count; i++) {
        struct view_member *m = &v->members[i];

        if (m->answers && strcmp(m->role, "master") == 0 && (!leader || m->epoch > leader->epoch))
            leader = m;
    }
    return leader;
}

bool view_has_other(const struct view *v, const struct view_member *than)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (&v->members[i] != than && v->members[i].answers)
            return true;
    }
    return false;
}

int64_t view_lag(struct view *v, const struct view_member *m)
{
    const struct view_member *leader = view_leader(v);

    if (!leader)
        return 0;
    for (unsigned i = 0; i < leader->follower_count; i++) {
        const struct view_follower *f = &leader->followers[i];

        if (f->id == m->id && f->following && m->master == leader->id)
            return leader->written - f->received;
    }
    return leader->written - m->written;
}

void view_join(struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        for (unsigned k = v->count - 1; k > i; k--) {
            if (v->members[i].id == 0 || v->members[k].id != v->members[i].id)
                continue;
            if (!v->members[i].answers)
                v->members[i] = v->members[k];
            v->members[k] = v->members[--v->count];
        }
    }
}

/* --- brokers of no group --- */

bool view_is_plain(const struct view *v)
{
    bool plain = false;

    for (unsigned i = 0; i < v->count; i++) {
        if (v->members[i].answers)
            return false;
        plain = plain || v->members[i].plain;
    }
    return plain;
}

bool view_is_outsider(const struct view_member *m)
{
    return m->alive && !m->answers && m->id == 0; /* members name one another */
}

struct view_member *view_plain_best(struct view *v)
{
    struct view_member *best = NULL;

    for (unsigned i = 0; i < v->count; i++) {
        struct view_member *m = &v->members[i];

        if (m->plain && strcmp(m->role, "slave") == 0 && (!best || m->written > best->written))
            best = m;
    }
    return best;
}

struct view_member *view_plain_master(struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (v->members[i].plain && strcmp(v->members[i].role, "master") == 0)
            return &v->members[i];
    }
    return NULL;
}

struct view_member *view_broker(struct view *v, int64_t broker_id)
{
    for (unsigned i = 0; i < v->count; i++) {
        if (v->members[i].broker_id == broker_id)
            return &v->members[i];
    }
    return NULL;
}

/* --- what it means --- */

static bool can_promise(const struct view_member *m, bool unclean)
{
    return m->answers && (!m->doubtful || unclean);
}

struct view_member *view_best(struct view *v, bool unclean)
{
    struct view_member *best = NULL;

    for (unsigned i = 0; i < v->count; i++) {
        struct view_member *m = &v->members[i];

        if (!can_promise(m, unclean))
            continue;
        if (!best || m->last_epoch > best->last_epoch ||
            (m->last_epoch == best->last_epoch && m->written > best->written))
            best = m;
    }
    return best;
}

unsigned view_promises(const struct view *v, bool unclean)
{
    unsigned promises = 0;

    for (unsigned i = 0; i < v->count; i++)
        promises += can_promise(&v->members[i], unclean);
    return promises;
}

void view_losses(const struct view *v, const struct view_member *to, struct buf *out)
{
    if (to->doubtful)
        buf_addf(out,
                 "  member %" PRId64 " does not know whether its log is whole (a power cut under "
                 "ASYNC_FLUSH, or it is new): messages that it had acknowledged may be missing\n",
                 to->id);
    for (unsigned i = 0; i < v->count; i++) {
        const struct view_member *m = &v->members[i];

        if (m->answers && m->doubtful && m != to)
            buf_addf(out,
                     "  member %" PRId64 " may have lost some or all of its log (a power cut under "
                     "ASYNC_FLUSH, or its disk is new): acknowledged messages that only it had may "
                     "be gone\n",
                     m->id);
        if (m->answers || view_is_outsider(m) || m->id == 0)
            continue;
        buf_addf(out,
                 "  member %" PRId64 " at %s does not answer: what only it and others that do not "
                 "answer have, acknowledged messages too, is lost to the group (when it comes "
                 "back, that is cut from its log and kept aside there)\n",
                 m->id, m->address);
    }
}
