/* group_view.c - see group_view.h. */
#include "tools/group_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"

enum { SILENT_MS = 1000 };

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

/* A member that another one names. */
static struct view_member *know(struct view *v, const char *address)
{
    struct view_member *m;

    for (unsigned i = 0; i < v->count; i++) {
        if (strcmp(v->members[i].address, address) == 0)
            return &v->members[i];
    }
    if (v->count == VIEW_MEMBERS_MAX || strlen(address) >= VIEW_ADDRESS_MAX || !address[0])
        return NULL;
    m = &v->members[v->count++];
    *m = (struct view_member){.id = 0};
    snprintf(m->address, sizeof(m->address), "%s", address);
    return m;
}

bool view_take(struct view *v, struct view_member *m, const json_t *status)
{
    const json_t *others = json_object_get(status, "members"), *other;
    size_t i;

    if (!json_is_string(json_object_get(status, "role")) || !json_is_array(others))
        return false;
    m->id = number(status, "self");
    text_of(status, "role", m->role, sizeof(m->role));
    text_of(status, "alarm", m->alarm, sizeof(m->alarm));
    m->doubtful = flag(status, "doubtful");
    m->draining = flag(status, "draining");
    m->master = number(status, "master");
    m->epoch = (uint64_t)number(status, "epoch");
    m->last_epoch = (uint64_t)number(status, "lastEpoch");
    m->promised = (uint64_t)number(status, "promised");
    m->asked = (uint64_t)number(status, "asked");
    m->written = number(status, "written");
    m->flushed = number(status, "flushed");
    m->confirmed = number(status, "confirmed");
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
            known = know(v, address);
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

/* --- asking --- */

static void ask(struct ctl *ctl, struct view *v, struct view_member *m)
{
    json_t *status = NULL;
    struct err before = ctl->err;
    int64_t from_ms = clock_mono_ms();
    int r = ctl_ask_json(ctl, v->broker, m->address, "tell of its group", REQUEST_TERN_GROUP_STATUS,
                         NULL, 0, -1, &status);

    m->answers = r == TOOL_DONE && view_take(v, m, status);
    m->silent = !m->answers && clock_mono_ms() - from_ms >= SILENT_MS;
    if (!m->answers)
        snprintf(m->why, sizeof(m->why), "%.299s",
                 r == TOOL_DONE ? "its answer cannot be read" : ctl->err.text);
    ctl->err = before;
    json_decref(status);
}

/* Two entries for one member: one that a name server knows by another address. */
static void join_doubles(struct view *v)
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

void view_refresh(struct ctl *ctl, struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) { /* grows while members name others */
        if (!v->members[i].silent)
            ask(ctl, v, &v->members[i]);
    }
    join_doubles(v);
}

int view_find(struct ctl *ctl, const char *cluster, const char *broker, const char *hint,
              struct view *v)
{
    struct route route = {0};
    char hints[2048], *save = NULL;
    unsigned answers = 0;
    int r = client_cluster(ctl->client, &route, &ctl->err);

    *v = (struct view){.cluster = cluster, .broker = broker};
    for (size_t i = 0; r == TOOL_DONE && i < route.count; i++) {
        const struct route_broker *b = &route.brokers[i];

        if (strcmp(b->cluster, cluster) != 0 || strcmp(b->name, broker) != 0)
            continue;
        for (size_t k = 0; k < b->member_count; k++)
            know(v, b->members[k].address);
    }
    route_destroy(&route);
    if (r != TOOL_DONE && !hint)
        return r;
    snprintf(hints, sizeof(hints), "%s", hint ? hint : "");
    for (char *at = strtok_r(hints, ";", &save); at; at = strtok_r(NULL, ";", &save))
        know(v, at);
    if (v->count == 0)
        return err_say(&ctl->err, TOOL_NOT_FOUND,
                       "no broker called %s in cluster %s at name server %s; name its members with "
                       "--members HOST:PORT;HOST:PORT",
                       broker, cluster, client_answering_name_server(ctl->client));
    view_refresh(ctl, v);
    for (unsigned i = 0; i < v->count; i++)
        answers += v->members[i].answers;
    if (answers == 0)
        return err_say(&ctl->err, TOOL_UNREACHABLE, "no member of %s answers; %s: %s", broker,
                       v->members[0].address, v->members[0].why);
    return TOOL_DONE;
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

        if (m->answers)
            continue;
        buf_addf(out,
                 "  member %" PRId64 " at %s does not answer: what only it and others that do not "
                 "answer have, acknowledged messages too, is lost to the group (when it comes "
                 "back, that is cut from its log and kept aside there)\n",
                 m->id, m->address);
    }
}
