/* ctl_route.c - ternctl route, ternctl cluster: what the name servers know, and how brokers do. */
#include "tools/ternctl.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "tools/show.h"

/* ---- route ---- */

static void route_json(struct ctl *ctl, const char *topic, const struct route *route)
{
    struct json_out j;

    jout_begin(&j, &ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "topic", topic);
    jout_key(&j, "order");
    if (route->order)
        jout_str(&j, route->order);
    else
        jout_null(&j);
    jout_key(&j, "brokers");
    jout_array(&j);
    for (size_t i = 0; i < route->count; i++) {
        const struct route_broker *b = &route->brokers[i];

        if (!b->serves)
            continue;
        jout_object(&j);
        jout_kv_str(&j, "broker", b->name);
        jout_kv_str(&j, "cluster", b->cluster);
        jout_kv_i64(&j, "readQueues", b->read_queues);
        jout_kv_i64(&j, "writeQueues", b->write_queues);
        jout_kv_i64(&j, "perm", b->perm);
        jout_key(&j, "members");
        jout_array(&j);
        for (size_t k = 0; k < b->member_count; k++) {
            jout_object(&j);
            jout_kv_i64(&j, "id", b->members[k].id);
            jout_kv_str(&j, "address", b->members[k].address);
            jout_object_end(&j);
        }
        jout_array_end(&j);
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&ctl->out, "\n");
}

static void route_table(struct ctl *ctl, const struct route *route)
{
    static const char *const headings[] = {"BROKER", "CLUSTER", ">ID",  "ADDRESS",
                                           ">READ",  ">WRITE",  "PERM", NULL};
    struct table t;

    table_init(&t, headings);
    for (size_t i = 0; i < route->count; i++) {
        const struct route_broker *b = &route->brokers[i];

        for (size_t k = 0; b->serves && k < b->member_count; k++) {
            table_add(&t, b->name);
            table_add(&t, b->cluster);
            table_add_i64(&t, b->members[k].id);
            table_add(&t, b->members[k].address);
            table_add_i64(&t, b->read_queues);
            table_add_i64(&t, b->write_queues);
            table_add(&t, show_perm(b->perm));
        }
    }
    ctl_table(ctl, &t);
}

int ctl_route(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    const struct option_spec specs[] = {CTL_COMMON_OPTIONS(ctl)};
    struct route route = {0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    r = client_check_topic(argv[0], &ctl->err);
    if (r == TOOL_DONE)
        r = client_route(ctl->client, argv[0], &route, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (ctl->json)
        route_json(ctl, argv[0], &route);
    else
        route_table(ctl, &route);
    route_destroy(&route);
    return TOOL_DONE;
}

/* ---- cluster ---- */

/* What a broker says of itself; empty texts when it does not answer. */
struct status {
    bool reachable;
    char version[64];
    double put_tps, get_tps;
    int64_t log_min, log_max, boot_ms;
    double disk_ratio; /* -1: unknown */
};

static double number_of(const json_t *table, const char *key, double fallback)
{
    const char *text = json_string_value(json_object_get(table, key));
    char *end;
    double v;

    if (!text)
        return fallback;
    v = strtod(text, &end); /* of "10 60 600" the first */
    return end == text ? fallback : v;
}

static void read_status(const json_t *table, struct status *s)
{
    struct bytes version = json_get_str(table, "brokerVersionDesc");

    snprintf(s->version, sizeof(s->version), "%.*s", (int)version.len, (const char *)version.at);
    s->put_tps = number_of(table, "putTps", 0);
    s->get_tps = number_of(table, "getTransferredTps", number_of(table, "getTransferedTps", 0));
    s->log_min = json_get_i64(table, "commitLogMinOffset", -1);
    s->log_max = json_get_i64(table, "commitLogMaxOffset", -1);
    s->boot_ms = json_get_i64(table, "bootTimestamp", 0);
    s->disk_ratio = number_of(table, "commitLogDiskRatio", -1);
}

static int ask_status(struct ctl *ctl, const struct route_broker *b, const struct route_member *m,
                      struct status *s)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_RUNTIME_INFO};
    struct remoting_frame reply;
    struct err why = {0};
    char whom[192], doing[256];
    json_t *root;
    int r;

    *s = (struct status){.disk_ratio = -1, .log_min = -1, .log_max = -1};
    snprintf(whom, sizeof(whom), "broker %.100s (id %lld)", b->name, (long long)m->id);
    snprintf(doing, sizeof(doing), "ask broker %.100s how it does", b->name);
    r = client_need(ctl->client, m->address, whom, doing, &request, &reply, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    root = json_dialect_load(reply.body, &why);
    if (!root)
        return err_say(&ctl->err, TOOL_REFUSED, "the answer of %s cannot be read: %s", whom,
                       why.text);
    read_status(json_object_get(root, "table"), s);
    json_decref(root);
    s->reachable = true;
    return TOOL_DONE;
}

static void member_json(struct json_out *j, const struct route_broker *b,
                        const struct route_member *m, const struct status *s)
{
    jout_object(j);
    jout_kv_str(j, "cluster", b->cluster);
    jout_kv_str(j, "broker", b->name);
    jout_kv_i64(j, "id", m->id);
    jout_kv_str(j, "address", m->address);
    jout_kv_bool(j, "reachable", s->reachable);
    if (s->reachable) {
        jout_kv_str(j, "version", s->version);
        jout_key(j, "putTps");
        jout_double(j, s->put_tps);
        jout_key(j, "getTps");
        jout_double(j, s->get_tps);
        jout_kv_i64(j, "commitLogMinOffset", s->log_min);
        jout_kv_i64(j, "commitLogMaxOffset", s->log_max);
        jout_kv_i64(j, "bootTimestamp", s->boot_ms);
        jout_key(j, "diskRatio");
        jout_double(j, s->disk_ratio);
    }
    jout_object_end(j);
}

static void member_row(struct table *t, const struct route_broker *b, const struct route_member *m,
                       const struct status *s)
{
    char text[SHOW_TIME_MAX];

    table_add(t, b->cluster);
    table_add(t, b->name);
    table_add_i64(t, m->id);
    table_add(t, m->address);
    if (!s->reachable) {
        table_add(t, "no answer");
        for (int i = 0; i < 5; i++)
            table_add(t, NULL);
        return;
    }
    table_add(t, s->version);
    table_addf(t, "%.1f", s->put_tps);
    table_addf(t, "%.1f", s->get_tps);
    table_add(t, show_size(text, s->log_max < 0 ? 0 : (double)(s->log_max - s->log_min)));
    if (s->disk_ratio < 0)
        table_add(t, NULL);
    else
        table_addf(t, "%.0f%%", s->disk_ratio * 100);
    show_time(text, s->boot_ms);
    if (strlen(text) > 4)
        text[strlen(text) - 4] = '\0'; /* seconds will do */
    table_add(t, text);
}

static int each_member(struct ctl *ctl, const struct route *route, struct json_out *j,
                       struct table *t)
{
    int worst = TOOL_DONE;

    for (size_t i = 0; i < route->count; i++) {
        const struct route_broker *b = &route->brokers[i];

        for (size_t k = 0; k < b->member_count; k++) {
            struct status s;
            int r = ask_status(ctl, b, &b->members[k], &s);

            if (r > worst)
                worst = r;
            if (ctl->json)
                member_json(j, b, &b->members[k], &s);
            else
                member_row(t, b, &b->members[k], &s);
        }
    }
    return worst;
}

int ctl_cluster(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    static const char *const headings[] = {"CLUSTER", "BROKER", ">ID",    "ADDRESS",
                                           "VERSION", ">IN/s",  ">OUT/s", ">LOG",
                                           ">DISK",   "SINCE",  NULL};
    const struct option_spec specs[] = {CTL_COMMON_OPTIONS(ctl)};
    struct route route = {0};
    struct json_out j;
    struct table t;
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 0, 0, &n);

    if (r != CTL_GO_ON)
        return r;
    r = client_cluster(ctl->client, &route, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (ctl->json) {
        jout_begin(&j, &ctl->out);
        jout_object(&j);
        jout_key(&j, "brokers");
        jout_array(&j);
        r = each_member(ctl, &route, &j, NULL);
        jout_array_end(&j);
        jout_object_end(&j);
        buf_add_str(&ctl->out, "\n");
    } else if (route.count > 0) {
        table_init(&t, headings);
        r = each_member(ctl, &route, NULL, &t);
        ctl_table(ctl, &t);
    }
    if (route.count == 0)
        r = err_say(&ctl->err, TOOL_NOT_FOUND,
                    "no broker is registered at name server %s; start one with: tern-broker -n %s",
                    client_answering_name_server(ctl->client),
                    client_answering_name_server(ctl->client));
    route_destroy(&route);
    return r;
}
