/* ctl_topic.c - ternctl topic create and delete. */
#include "tools/ternctl.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/show.h"
#include "tools/topic_admin.h"

enum { QUEUES_DEFAULT = 8, QUEUES_MAX = 65536, UNSET = -1 };
#define ORDER_NAMESPACE "ORDER_TOPIC_CONFIG"

/* ---- which brokers ---- */

struct targets {
    struct route cluster; /* all brokers */
    const struct route_broker **brokers;
    struct topic_settings *settings;
    bool *present; /* has these settings already */
    size_t count;
};

static void targets_destroy(struct targets *t)
{
    free(t->brokers);
    free(t->settings);
    free(t->present);
    route_destroy(&t->cluster);
}

/* The masters of the named cluster or broker; NULL: of all. */
static int find_targets(struct ctl *ctl, const char *cluster, const char *broker, struct targets *t)
{
    int r = client_cluster(ctl->client, &t->cluster, &ctl->err);

    if (r != TOOL_DONE)
        return r;
    t->brokers = calloc(t->cluster.count + 1, sizeof(struct route_broker *));
    t->settings = calloc(t->cluster.count + 1, sizeof(*t->settings));
    t->present = calloc(t->cluster.count + 1, sizeof(*t->present));
    if (!t->brokers || !t->settings || !t->present)
        return err_say(&ctl->err, TOOL_REFUSED, "out of memory");
    for (size_t i = 0; i < t->cluster.count; i++) {
        const struct route_broker *b = &t->cluster.brokers[i];

        if ((cluster && strcmp(b->cluster, cluster) != 0) ||
            (broker && strcmp(b->name, broker) != 0))
            continue;
        if (route_master(b))
            t->brokers[t->count++] = b;
        else
            ctl_note("broker %s has no master at the moment; it is left out", b->name);
    }
    if (t->count == 0)
        return err_say(&ctl->err, TOOL_NOT_FOUND,
                       "no master%s%s%s%s at name server %s; "
                       "ternctl cluster lists what there is",
                       cluster ? " in cluster " : "", cluster ? cluster : "",
                       broker ? " called " : "", broker ? broker : "",
                       client_answering_name_server(ctl->client));
    return TOOL_DONE;
}

/* ---- create ---- */

struct create_options {
    int64_t queues, read_queues, write_queues;
    const char *perm, *cluster, *broker;
    bool order, update;
    int32_t perm_bits;
};

static int parse_perm(struct ctl *ctl, const char *text, int32_t *bits)
{
    *bits = 0;
    for (const char *at = text; *at; at++) {
        int32_t bit = *at == 'r' || *at == 'R'   ? ROUTE_READ
                      : *at == 'w' || *at == 'W' ? ROUTE_WRITE
                                                 : 0;

        if (bit == 0)
            goto bad;
        *bits |= bit;
    }
    if (*bits)
        return TOOL_DONE;
bad:
    /* as RocketMQ's tools have it */
    if (strlen(text) == 1 && strchr("246", text[0])) {
        *bits = text[0] - '0';
        return TOOL_DONE;
    }
    return err_say(&ctl->err, TOOL_USAGE, "--perm %s: expected rw, r or w", text);
}

/* What is asked for on top of what is there (`now`, NULL: nothing). */
static struct topic_settings wanted(const struct create_options *o,
                                    const struct topic_settings *now)
{
    struct topic_settings s = {.read_queues = QUEUES_DEFAULT,
                               .write_queues = QUEUES_DEFAULT,
                               .perm = ROUTE_READ | ROUTE_WRITE};

    if (now)
        s = *now;
    if (o->queues != UNSET)
        s.read_queues = s.write_queues = (int32_t)o->queues;
    if (o->read_queues != UNSET)
        s.read_queues = (int32_t)o->read_queues;
    if (o->write_queues != UNSET)
        s.write_queues = (int32_t)o->write_queues;
    if (o->perm_bits)
        s.perm = o->perm_bits;
    s.order = s.order || o->order;
    return s;
}

/* Refuses a change that --update did not allow; else fills settings and present. */
static int plan(struct ctl *ctl, const char *topic, const struct create_options *o,
                struct targets *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct topic_settings now = {0}, *then = &t->settings[i];
        int r = topic_admin_get(ctl->client, t->brokers[i], topic, &now, &ctl->err);

        if (r != TOOL_DONE && r != TOOL_NOT_FOUND)
            return r;
        *then = wanted(o, r == TOOL_DONE ? &now : NULL);
        if (r == TOOL_NOT_FOUND)
            continue;
        t->present[i] = now.read_queues == then->read_queues &&
                        now.write_queues == then->write_queues && now.perm == then->perm &&
                        now.order == then->order;
        if (!t->present[i] && !o->update)
            return err_say(&ctl->err, TOOL_REFUSED,
                           "topic %s is on broker %s already, with %d read and %d write queues, "
                           "perm %s, %s; --update changes it",
                           topic, t->brokers[i]->name, now.read_queues, now.write_queues,
                           show_perm(now.perm), now.order ? "ordered" : "not ordered");
    }
    return TOOL_DONE;
}

/* One of several name servers may be away; `say` so. */
static int for_each_name_server(struct ctl *ctl, const char *doing,
                                const struct rpc_request *request, bool say)
{
    struct remoting_frame reply;
    unsigned done = 0, count = client_name_server_count(ctl->client);
    int worst = TOOL_DONE;

    for (unsigned i = 0; i < count; i++) {
        struct err why = {0};
        int r = client_need(ctl->client, client_name_server(ctl->client, i), "name server", doing,
                            request, &reply, &why);

        done += r == TOOL_DONE;
        if (r == TOOL_UNREACHABLE && say && count > 1)
            ctl_note("%s: %s", doing, why.text);
        if (r != TOOL_DONE && (worst == TOOL_DONE || worst == TOOL_UNREACHABLE)) {
            worst = r;
            ctl->err = why;
        }
    }
    return done && worst == TOOL_UNREACHABLE ? TOOL_DONE : worst;
}

/* Producers of an ordered topic keep to these queues even while a broker is away. */
static int put_order(struct ctl *ctl, const char *topic, const struct targets *t)
{
    struct buf text = {0};
    char doing[192];
    int r;

    for (size_t i = 0; i < t->count; i++)
        buf_addf(&text, "%s%s:%d", i ? ";" : "", t->brokers[i]->name, t->settings[i].write_queues);
    buf_add_u8(&text, 0);
    if (text.failed) {
        buf_destroy(&text);
        return err_say(&ctl->err, TOOL_REFUSED, "out of memory");
    }
    const struct rpc_field fields[] = {
        {"namespace", ORDER_NAMESPACE}, {"key", topic}, {"value", (const char *)buf_at(&text)}};
    struct rpc_request request = {
        .code = REQUEST_PUT_KV_CONFIG, .fields = fields, .field_count = 3};

    snprintf(doing, sizeof(doing), "fix the queues of ordered topic %s", topic);
    r = for_each_name_server(ctl, doing, &request, true);
    buf_destroy(&text);
    return r;
}

static void created_json(struct ctl *ctl, const char *topic, const struct targets *t)
{
    struct json_out j;

    jout_begin(&j, &ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "topic", topic);
    jout_key(&j, "brokers");
    jout_array(&j);
    for (size_t i = 0; i < t->count; i++) {
        jout_object(&j);
        jout_kv_str(&j, "broker", t->brokers[i]->name);
        jout_kv_str(&j, "cluster", t->brokers[i]->cluster);
        jout_kv_str(&j, "address", route_master(t->brokers[i]));
        jout_kv_i64(&j, "readQueues", t->settings[i].read_queues);
        jout_kv_i64(&j, "writeQueues", t->settings[i].write_queues);
        jout_kv_i64(&j, "perm", t->settings[i].perm);
        jout_kv_bool(&j, "changed", !t->present[i]);
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&ctl->out, "\n");
}

static void created_text(struct ctl *ctl, const char *topic, const struct targets *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct topic_settings *s = &t->settings[i];

        buf_addf(&ctl->out, "topic %s %s broker %s (%s): ", topic,
                 t->present[i] ? "is already on" : "is on", t->brokers[i]->name,
                 route_master(t->brokers[i]));
        if (s->read_queues == s->write_queues)
            buf_addf(&ctl->out, "%d %s", s->read_queues, s->read_queues == 1 ? "queue" : "queues");
        else
            buf_addf(&ctl->out, "%d read and %d write queues", s->read_queues, s->write_queues);
        buf_addf(&ctl->out, ", perm %s\n", show_perm(s->perm));
    }
}

static int create(struct ctl *ctl, const char *topic, const struct create_options *o,
                  struct targets *t)
{
    int r = find_targets(ctl, o->cluster, o->broker, t);

    if (r == TOOL_DONE)
        r = plan(ctl, topic, o, t);
    if (r != TOOL_DONE)
        return r;
    for (size_t i = 0; i < t->count && r == TOOL_DONE; i++) {
        if (!t->present[i])
            r = topic_admin_put(ctl->client, t->brokers[i], topic, &t->settings[i], &ctl->err);
    }
    if (r == TOOL_DONE && o->order)
        r = put_order(ctl, topic, t);
    if (r == TOOL_DONE)
        r = topic_admin_wait(ctl->client, topic, t->brokers, t->settings, t->count, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (ctl->json)
        created_json(ctl, topic, t);
    else
        created_text(ctl, topic, t);
    return TOOL_DONE;
}

int ctl_topic_create(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct create_options o = {.queues = UNSET, .read_queues = UNSET, .write_queues = UNSET};
    const struct option_spec specs[] = {
        {"queues", 'q', OPTION_NUMBER, &o.queues, "N",
         "read and write queues on each broker; default 8", 1, QUEUES_MAX},
        {"read-queues", 0, OPTION_NUMBER, &o.read_queues, "N", "queues that consumers see", 0,
         QUEUES_MAX},
        {"write-queues", 0, OPTION_NUMBER, &o.write_queues, "N", "queues that producers see", 0,
         QUEUES_MAX},
        {"perm", 0, OPTION_TEXT, &o.perm, "rw|r|w", "what clients may do; default rw", 0, 0},
        {"order", 0, OPTION_FLAG, &o.order, NULL,
         "for ordered messages: producers keep to the same queues when a broker is away", 0, 0},
        {"cluster", 0, OPTION_TEXT, &o.cluster, "NAME", "only on the masters of this cluster", 0,
         0},
        {"broker", 0, OPTION_TEXT, &o.broker, "NAME", "only on this broker", 0, 0},
        {"update", 0, OPTION_FLAG, &o.update, NULL, "change a topic that is there", 0, 0},
        CTL_COMMON_OPTIONS(ctl),
    };
    struct targets targets = {.count = 0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    r = client_check_topic(argv[0], &ctl->err);
    if (r == TOOL_DONE && o.perm)
        r = parse_perm(ctl, o.perm, &o.perm_bits);
    if (r == TOOL_DONE)
        r = create(ctl, argv[0], &o, &targets);
    targets_destroy(&targets);
    return r;
}

/* ---- delete ---- */

/* A cluster's name is given only where other clusters keep the topic. */
static int delete_at_name_servers(struct ctl *ctl, const char *topic, const char *cluster)
{
    const struct rpc_field fields[] = {{"topic", topic}, {"clusterName", cluster}};
    const struct rpc_field order_fields[] = {{"namespace", ORDER_NAMESPACE}, {"key", topic}};
    struct rpc_request request = {
        .code = REQUEST_DELETE_TOPIC_IN_NAMESRV, .fields = fields, .field_count = 2};
    struct rpc_request order = {
        .code = REQUEST_DELETE_KV_CONFIG, .fields = order_fields, .field_count = 2};
    char doing[192];
    int r;

    snprintf(doing, sizeof(doing), "delete topic %s", topic);
    r = for_each_name_server(ctl, doing, &request, true);
    return r == TOOL_DONE && !cluster ? for_each_name_server(ctl, doing, &order, false) : r;
}

static int delete_at_broker(struct ctl *ctl, const char *topic, const struct route_broker *broker)
{
    const struct rpc_field fields[] = {{"topic", topic}};
    struct rpc_request request = {
        .code = REQUEST_DELETE_TOPIC_IN_BROKER, .fields = fields, .field_count = 1};
    struct remoting_frame reply;
    char doing[192], whom[192];

    snprintf(doing, sizeof(doing), "delete topic %s", topic);
    snprintf(whom, sizeof(whom), "broker %.120s", broker->name);
    return client_need(ctl->client, route_master(broker), whom, doing, &request, &reply, &ctl->err);
}

int ctl_topic_delete(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    const char *cluster = NULL;
    const struct option_spec specs[] = {
        {"cluster", 0, OPTION_TEXT, &cluster, "NAME", "only on the masters of this cluster", 0, 0},
        CTL_COMMON_OPTIONS(ctl),
    };
    struct targets targets = {.count = 0};
    struct route route = {0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    r = client_check_topic(argv[0], &ctl->err);
    if (r == TOOL_DONE)
        r = client_route(ctl->client, argv[0], &route, &ctl->err);
    route_destroy(&route);
    if (r == TOOL_NOT_FOUND)
        return err_say(&ctl->err, r, "no topic %s at name server %s; ternctl topic list lists them",
                       argv[0], client_answering_name_server(ctl->client));
    if (r == TOOL_DONE)
        r = find_targets(ctl, cluster, NULL, &targets);
    for (size_t i = 0; i < targets.count && r == TOOL_DONE; i++)
        r = delete_at_broker(ctl, argv[0], targets.brokers[i]);
    if (r == TOOL_DONE)
        r = delete_at_name_servers(ctl, argv[0], cluster);
    if (r == TOOL_DONE && ctl->json) {
        struct json_out j;

        jout_begin(&j, &ctl->out);
        jout_object(&j);
        jout_kv_str(&j, "topic", argv[0]);
        jout_kv_bool(&j, "deleted", true);
        jout_object_end(&j);
        buf_add_str(&ctl->out, "\n");
    } else if (r == TOOL_DONE) {
        buf_addf(&ctl->out, "topic %s is deleted\n", argv[0]);
    }
    targets_destroy(&targets);
    return r;
}
