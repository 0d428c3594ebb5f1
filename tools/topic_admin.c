/* topic_admin.c - see topic_admin.h. */
#include "tools/topic_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"

enum { POLL_MS = 20 };

/* The request for one topic's settings is not among those of 4.9, so all of them are asked for. */
int topic_admin_get(struct client *c, const struct route_broker *broker, const char *topic,
                    struct topic_settings *out, struct err *err)
{
    struct rpc_request request = {.code = REQUEST_GET_ALL_TOPIC_CONFIG};
    struct remoting_frame reply;
    struct err why = {0};
    char whom[192];
    const json_t *config;
    json_t *root;
    int r;

    snprintf(whom, sizeof(whom), "broker %.120s", broker->name);
    r = client_need(c, route_master(broker), whom, "read the settings of topics", &request, &reply,
                    err);
    if (r != TOOL_DONE)
        return r;
    root = json_dialect_load(reply.body, &why);
    if (!root)
        return err_say(err, TOOL_REFUSED, "the answer of %s cannot be read: %s", whom, why.text);
    config = json_object_get(json_object_get(root, "topicConfigTable"), topic);
    if (json_is_object(config)) {
        out->read_queues = (int32_t)json_get_i64(config, "readQueueNums", 0);
        out->write_queues = (int32_t)json_get_i64(config, "writeQueueNums", 0);
        out->perm = (int32_t)json_get_i64(config, "perm", 0);
        out->order = json_get_bool(config, "order", false);
    } else {
        r = err_say(err, TOOL_NOT_FOUND, "no topic %s on %s", topic, whom);
    }
    json_decref(root);
    return r;
}

int topic_admin_put(struct client *c, const struct route_broker *broker, const char *topic,
                    const struct topic_settings *settings, struct err *err)
{
    char read_queues[16], write_queues[16], perm[16], doing[192], whom[192];
    const struct rpc_field fields[] = {
        {"topic", topic},
        {"defaultTopic", "TBW102"},
        {"readQueueNums", read_queues},
        {"writeQueueNums", write_queues},
        {"perm", perm},
        {"topicFilterType", "SINGLE_TAG"},
        {"topicSysFlag", "0"},
        {"order", settings->order ? "true" : "false"},
    };
    struct rpc_request request = {.code = REQUEST_UPDATE_AND_CREATE_TOPIC,
                                  .fields = fields,
                                  .field_count = sizeof(fields) / sizeof(fields[0])};
    struct remoting_frame reply;

    snprintf(read_queues, sizeof(read_queues), "%d", settings->read_queues);
    snprintf(write_queues, sizeof(write_queues), "%d", settings->write_queues);
    snprintf(perm, sizeof(perm), "%d", settings->perm);
    snprintf(doing, sizeof(doing), "create topic %s", topic);
    snprintf(whom, sizeof(whom), "broker %s", broker->name);
    return client_need(c, route_master(broker), whom, doing, &request, &reply, err);
}

static bool shows(const struct route *route, const struct route_broker *broker,
                  const struct topic_settings *settings)
{
    const struct route_broker *b = route_broker_named(route, broker->name);

    return b && b->serves && b->read_queues == settings->read_queues &&
           b->write_queues == settings->write_queues && b->perm == settings->perm;
}

/* Waits at one name server. */
static int wait_at(struct client *c, const char *name_server, const char *topic,
                   const struct route_broker *const *brokers, const struct topic_settings *settings,
                   size_t count, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        struct route route = {0};
        size_t seen = 0;
        int r = client_route_at(c, name_server, topic, &route, err);

        if (r != TOOL_DONE && r != TOOL_NOT_FOUND)
            return r;
        while (seen < count && shows(&route, brokers[seen], &settings[seen]))
            seen++;
        route_destroy(&route);
        if (seen == count)
            return TOOL_DONE;
        if (clock_mono_ms() >= deadline_ms)
            return err_say(err, TOOL_REFUSED,
                           "broker %s has topic %s, but name server %s does not show it so after "
                           "%d s; does the broker register there?",
                           brokers[seen]->name, topic, name_server, TOPIC_ADMIN_WAIT_MS / 1000);
        usleep(POLL_MS * 1000);
    }
}

int topic_admin_wait(struct client *c, const char *topic, const struct route_broker *const *brokers,
                     const struct topic_settings *settings, size_t count, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + TOPIC_ADMIN_WAIT_MS;
    unsigned answered = 0;
    int unreachable = TOOL_DONE;

    for (unsigned i = 0; i < client_name_server_count(c); i++) {
        int r =
            wait_at(c, client_name_server(c, i), topic, brokers, settings, count, deadline_ms, err);
        if (r == TOOL_UNREACHABLE)
            unreachable = r;
        else if (r != TOOL_DONE)
            return r;
        else
            answered++;
    }
    return answered ? TOOL_DONE : unreachable;
}

static int make_everywhere(struct client *c, const char *topic, int32_t queues, struct err *err)
{
    struct topic_settings wanted = {
        .read_queues = queues, .write_queues = queues, .perm = ROUTE_READ | ROUTE_WRITE};
    struct route cluster = {0};
    int r = client_cluster(c, &cluster, err);
    size_t made = 0;

    if (r != TOOL_DONE)
        return r;
    for (size_t i = 0; i < cluster.count && r == TOOL_DONE; i++) {
        const struct route_broker *broker = &cluster.brokers[i];

        if (!route_master(broker))
            continue;
        r = topic_admin_put(c, broker, topic, &wanted, err);
        if (r == TOOL_DONE)
            r = topic_admin_wait(c, topic, &broker, &wanted, 1, err);
        made++;
    }
    if (made == 0)
        r = err_say(err, TOOL_NOT_FOUND, "no broker is registered at the name server; start one");
    route_destroy(&cluster);
    return r;
}

int topic_admin_ensure(struct client *c, const char *topic, int32_t queues, struct route *out,
                       struct err *err)
{
    int r = client_route(c, topic, out, err);

    if (r != TOOL_NOT_FOUND)
        return r;
    r = make_everywhere(c, topic, queues, err);
    return r == TOOL_DONE ? client_route(c, topic, out, err) : r;
}
