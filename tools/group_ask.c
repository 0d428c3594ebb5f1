/* group_ask.c - see group_ask.h. */
#include "tools/group_ask.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

enum { SILENT_MS = 1000 };

void view_ask(struct ctl *ctl, struct view *v, struct view_member *m)
{
    json_t *status = NULL;
    bool taken;
    struct err before = ctl->err;
    int64_t from_ms = clock_mono_ms();
    int r = ctl_ask_json(ctl, v->broker, m->address, "tell of its group", REQUEST_TERN_GROUP_STATUS,
                         NULL, 0, -1, &status);

    m->foreign = false;
    snprintf(m->why, sizeof(m->why), "%.299s",
             r == TOOL_DONE ? "its answer cannot be read" : ctl->err.text);
    taken = r == TOOL_DONE && view_take(v, m, status);
    m->plain = m->plain && taken;
    m->answers = taken && !m->plain;
    m->alive = r != TOOL_UNREACHABLE;
    m->silent = !m->alive && clock_mono_ms() - from_ms >= SILENT_MS;
    if (m->plain)
        snprintf(m->why, sizeof(m->why), "it is in no group");
    ctl->err = before;
    json_decref(status);
}

void view_refresh(struct ctl *ctl, struct view *v)
{
    for (unsigned i = 0; i < v->count; i++) { /* grows while members name others */
        if (!v->members[i].silent)
            view_ask(ctl, v, &v->members[i]);
    }
    view_join(v);
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
        for (size_t k = 0; k < b->member_count; k++) {
            struct view_member *m = view_know(v, b->members[k].address);

            if (m)
                m->broker_id = b->members[k].id;
        }
    }
    route_destroy(&route);
    if (r != TOOL_DONE && !hint)
        return r;
    snprintf(hints, sizeof(hints), "%s", hint ? hint : "");
    for (char *at = strtok_r(hints, ";", &save); at; at = strtok_r(NULL, ";", &save))
        view_know(v, at);
    if (v->count == 0)
        return err_say(&ctl->err, TOOL_NOT_FOUND,
                       "no broker called %s in cluster %s at name server %s; name its members with "
                       "--members HOST:PORT;HOST:PORT",
                       broker, cluster, client_answering_name_server(ctl->client));
    view_refresh(ctl, v);
    for (unsigned i = 0; i < v->count; i++)
        answers += v->members[i].answers || v->members[i].plain;
    if (answers == 0)
        return err_say(&ctl->err, TOOL_UNREACHABLE, "no member of %s answers; %s: %s", broker,
                       v->members[0].address, v->members[0].why);
    return TOOL_DONE;
}
