/* ctl_describe.c - ternctl topic describe: settings, queues, and how far consumer groups are.
 *
 * Everything is asked of each broker's master and gathered first, then printed as tables or JSON.
 */
#include "tools/ternctl.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "tools/show.h"
#include "tools/topic_admin.h"

struct queue_info {
    const char *broker; /* borrowed from the route */
    int64_t id, min, max, updated_ms;
};

struct group_info {
    char *name;
    int64_t lag;
    size_t clients; /* largest number that one broker sees */
    bool has_offsets;
};

struct described {
    struct route route;
    struct topic_settings *settings; /* one for each broker of the route */
    struct queue_info *queues;
    size_t queue_count;
    struct group_info *groups;
    size_t group_count;
};

static void described_destroy(struct described *d)
{
    for (size_t i = 0; i < d->group_count; i++)
        free(d->groups[i].name);
    free(d->groups);
    free(d->queues);
    free(d->settings);
    route_destroy(&d->route);
}

static int no_memory(struct ctl *ctl)
{
    return err_say(&ctl->err, TOOL_REFUSED, "out of memory");
}

/* ---- queues ---- */

static int by_queue(const void *a, const void *b)
{
    const struct queue_info *x = a, *y = b;
    int c = strcmp(x->broker, y->broker);

    return c ? c : (x->id > y->id) - (x->id < y->id);
}

static int ask_queues(struct ctl *ctl, const char *topic, const struct route_broker *b,
                      struct described *d)
{
    const struct rpc_field fields[] = {{"topic", topic}};
    const char *key;
    json_t *root, *table, *value;
    struct queue_info *grown;
    int r = ctl_ask_json(ctl, b->name, route_master(b), "read the queues",
                         REQUEST_GET_TOPIC_STATS_INFO, fields, 1, RESPONSE_TOPIC_NOT_EXIST, &root);

    if (r != TOOL_DONE || !root)
        return r;
    table = json_object_get(root, "offsetTable");
    grown = realloc(d->queues, (d->queue_count + json_object_size(table) + 1) * sizeof(*d->queues));
    if (!grown) {
        json_decref(root);
        return no_memory(ctl);
    }
    d->queues = grown;
    json_object_foreach(table, key, value)
    {
        struct json_mq mq;

        if (!json_mq_of_text(bytes_str(key), &mq))
            continue;
        d->queues[d->queue_count++] =
            (struct queue_info){.broker = b->name,
                                .id = mq.queue_id,
                                .min = json_get_i64(value, "minOffset", 0),
                                .max = json_get_i64(value, "maxOffset", 0),
                                .updated_ms = json_get_i64(value, "lastUpdateTimestamp", 0)};
    }
    json_decref(root);
    return TOOL_DONE;
}

/* ---- groups ---- */

static struct group_info *group_named(struct described *d, const char *name)
{
    struct group_info *grown;

    for (size_t i = 0; i < d->group_count; i++) {
        if (strcmp(d->groups[i].name, name) == 0)
            return &d->groups[i];
    }
    grown = realloc(d->groups, (d->group_count + 1) * sizeof(*d->groups));
    if (!grown)
        return NULL;
    d->groups = grown;
    grown[d->group_count] = (struct group_info){.name = strdup(name)};
    if (!grown[d->group_count].name)
        return NULL;
    return &grown[d->group_count++];
}

static int by_group(const void *a, const void *b)
{
    const struct group_info *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static int ask_lag(struct ctl *ctl, const char *topic, const struct route_broker *b,
                   struct group_info *g)
{
    const struct rpc_field fields[] = {{"consumerGroup", g->name}, {"topic", topic}};
    const char *key;
    json_t *root, *value;
    int r = ctl_ask_json(ctl, b->name, route_master(b), "read how far a group is",
                         REQUEST_GET_CONSUME_STATS, fields, 2, RESPONSE_SYSTEM_ERROR, &root);

    if (r != TOOL_DONE || !root)
        return r;
    json_object_foreach(json_object_get(root, "offsetTable"), key, value)
    {
        struct json_mq mq;

        /* the retry topic of the group is counted by nobody's topic */
        if (!json_mq_of_text(bytes_str(key), &mq) || !bytes_is(mq.topic, topic))
            continue;
        g->lag += json_get_i64(value, "brokerOffset", 0) - json_get_i64(value, "consumerOffset", 0);
        g->has_offsets = true;
    }
    json_decref(root);
    return TOOL_DONE;
}

static int ask_clients(struct ctl *ctl, const struct route_broker *b, struct group_info *g)
{
    const struct rpc_field fields[] = {{"consumerGroup", g->name}};
    json_t *root;
    size_t clients;
    int r = ctl_ask_json(ctl, b->name, route_master(b), "list the clients of a group",
                         REQUEST_GET_CONSUMER_CONNECTION_LIST, fields, 1,
                         RESPONSE_CONSUMER_NOT_ONLINE, &root);

    if (r != TOOL_DONE || !root)
        return r;
    clients = json_array_size(json_object_get(root, "connectionSet"));
    if (clients > g->clients)
        g->clients = clients;
    json_decref(root);
    return TOOL_DONE;
}

static int ask_groups(struct ctl *ctl, const char *topic, const struct route_broker *b,
                      struct described *d)
{
    const struct rpc_field fields[] = {{"topic", topic}};
    json_t *root, *list;
    int r = ctl_ask_json(ctl, b->name, route_master(b), "list the groups",
                         REQUEST_QUERY_TOPIC_CONSUME_BY_WHO, fields, 1, RESPONSE_TOPIC_NOT_EXIST,
                         &root);

    if (r != TOOL_DONE || !root)
        return r;
    list = json_object_get(root, "groupList");
    for (size_t i = 0; i < json_array_size(list) && r == TOOL_DONE; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        struct group_info *g = name ? group_named(d, name) : NULL;

        if (name && !g)
            r = no_memory(ctl);
        if (g && r == TOOL_DONE)
            r = ask_lag(ctl, topic, b, g);
        if (g && r == TOOL_DONE)
            r = ask_clients(ctl, b, g);
    }
    json_decref(root);
    return r;
}

/* ---- printing ---- */

static void print_tables(struct ctl *ctl, const char *topic, struct described *d)
{
    static const char *const brokers[] = {"BROKER", "CLUSTER", "MASTER", ">READ",
                                          ">WRITE", "PERM",    "ORDER",  NULL};
    static const char *const queues[] = {"BROKER",    ">QUEUE",       ">MIN", ">MAX",
                                         ">MESSAGES", "LAST MESSAGE", NULL};
    static const char *const groups[] = {"GROUP", ">CLIENTS", ">LAG", NULL};
    struct table t;
    char time[SHOW_TIME_MAX];

    buf_addf(&ctl->out, "topic %s\n\n", topic);
    table_init(&t, brokers);
    for (size_t i = 0; i < d->route.count; i++) {
        const struct route_broker *b = &d->route.brokers[i];

        if (!b->serves)
            continue;
        table_add(&t, b->name);
        table_add(&t, b->cluster);
        table_add(&t, route_master(b));
        table_add_i64(&t, b->read_queues);
        table_add_i64(&t, b->write_queues);
        table_add(&t, show_perm(b->perm));
        table_add(&t, d->settings[i].order ? "yes" : "no");
    }
    ctl_table(ctl, &t);

    buf_add_str(&ctl->out, "\n");
    table_init(&t, queues);
    for (size_t i = 0; i < d->queue_count; i++) {
        table_add(&t, d->queues[i].broker);
        table_add_i64(&t, d->queues[i].id);
        table_add_i64(&t, d->queues[i].min);
        table_add_i64(&t, d->queues[i].max);
        table_add_i64(&t, d->queues[i].max - d->queues[i].min);
        table_add(&t, show_time(time, d->queues[i].updated_ms));
    }
    ctl_table(ctl, &t);

    if (d->group_count == 0) {
        buf_add_str(&ctl->out, "\nno consumer group has read it\n");
        return;
    }
    buf_add_str(&ctl->out, "\n");
    table_init(&t, groups);
    for (size_t i = 0; i < d->group_count; i++) {
        table_add(&t, d->groups[i].name);
        table_add_i64(&t, (int64_t)d->groups[i].clients);
        if (d->groups[i].has_offsets)
            table_add_i64(&t, d->groups[i].lag);
        else
            table_add(&t, NULL);
    }
    ctl_table(ctl, &t);
}

static void print_json(struct ctl *ctl, const char *topic, struct described *d)
{
    struct json_out j;

    jout_begin(&j, &ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "topic", topic);
    jout_key(&j, "brokers");
    jout_array(&j);
    for (size_t i = 0; i < d->route.count; i++) {
        const struct route_broker *b = &d->route.brokers[i];
        const char *master = route_master(b);

        if (!b->serves)
            continue;
        jout_object(&j);
        jout_kv_str(&j, "broker", b->name);
        jout_kv_str(&j, "cluster", b->cluster);
        jout_key(&j, "master");
        if (master)
            jout_str(&j, master);
        else
            jout_null(&j);
        jout_kv_i64(&j, "readQueues", b->read_queues);
        jout_kv_i64(&j, "writeQueues", b->write_queues);
        jout_kv_i64(&j, "perm", b->perm);
        jout_kv_bool(&j, "order", d->settings[i].order);
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_key(&j, "queues");
    jout_array(&j);
    for (size_t i = 0; i < d->queue_count; i++) {
        jout_object(&j);
        jout_kv_str(&j, "broker", d->queues[i].broker);
        jout_kv_i64(&j, "queue", d->queues[i].id);
        jout_kv_i64(&j, "minOffset", d->queues[i].min);
        jout_kv_i64(&j, "maxOffset", d->queues[i].max);
        jout_kv_i64(&j, "lastUpdateTimestamp", d->queues[i].updated_ms);
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_key(&j, "groups");
    jout_array(&j);
    for (size_t i = 0; i < d->group_count; i++) {
        jout_object(&j);
        jout_kv_str(&j, "group", d->groups[i].name);
        jout_kv_i64(&j, "clients", (int64_t)d->groups[i].clients);
        jout_key(&j, "lag");
        if (d->groups[i].has_offsets)
            jout_i64(&j, d->groups[i].lag);
        else
            jout_null(&j);
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&ctl->out, "\n");
}

/* ---- the command ---- */

static int gather(struct ctl *ctl, const char *topic, struct described *d)
{
    int r = client_route(ctl->client, topic, &d->route, &ctl->err);

    if (r != TOOL_DONE)
        return r;
    d->settings = calloc(d->route.count + 1, sizeof(*d->settings));
    if (!d->settings)
        return no_memory(ctl);
    for (size_t i = 0; i < d->route.count && r == TOOL_DONE; i++) {
        const struct route_broker *b = &d->route.brokers[i];

        if (!b->serves)
            continue;
        if (!route_master(b)) {
            ctl_note("broker %s has no master at the moment; its queues are not shown", b->name);
            continue;
        }
        r = topic_admin_get(ctl->client, b, topic, &d->settings[i], &ctl->err);
        if (r == TOOL_DONE)
            r = ask_queues(ctl, topic, b, d);
        if (r == TOOL_DONE)
            r = ask_groups(ctl, topic, b, d);
    }
    if (d->queue_count)
        qsort(d->queues, d->queue_count, sizeof(*d->queues), by_queue);
    if (d->group_count)
        qsort(d->groups, d->group_count, sizeof(*d->groups), by_group);
    return r;
}

int ctl_topic_describe(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    const struct option_spec specs[] = {CTL_COMMON_OPTIONS(ctl)};
    struct described d = {.queue_count = 0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    r = client_check_topic(argv[0], &ctl->err);
    if (r == TOOL_DONE)
        r = gather(ctl, argv[0], &d);
    if (r == TOOL_DONE && ctl->json)
        print_json(ctl, argv[0], &d);
    else if (r == TOOL_DONE)
        print_tables(ctl, argv[0], &d);
    described_destroy(&d);
    return r;
}
