/* ctl_message.c - ternctl message get, query, at: messages by id, by key, by time. */
#include "tools/ctl_message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/store/properties.h"
#include "common/json.h"
#include "tools/moment.h"
#include "tools/show.h"

static const char *whom_of(char to[192], const char *broker)
{
    snprintf(to, 192, "broker %.120s", broker);
    return to;
}

/* --- one message by its place --- */

/* TOOL_NOT_FOUND: no message begins there. */
static int view(struct ctl *ctl, struct found *f, const char *broker, const char *address,
                int64_t log_offset)
{
    char offset[24], whom[192];
    const struct rpc_field fields[] = {{"offset", offset}};
    struct rpc_request request = {
        .code = REQUEST_VIEW_MESSAGE_BY_ID, .fields = fields, .field_count = 1};
    struct remoting_frame reply;
    size_t size;
    int r;

    snprintf(offset, sizeof(offset), "%" PRId64, log_offset);
    r = client_call(ctl->client, address, whom_of(whom, broker), &request, &reply, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (reply.code == RESPONSE_SYSTEM_ERROR)
        return err_say(&ctl->err, TOOL_NOT_FOUND,
                       "no message begins at log offset %" PRId64 " of %s; it may be deleted",
                       log_offset, whom);
    if (reply.code != RESPONSE_SUCCESS)
        return client_refused(address, whom, "read the message", &reply, &ctl->err);
    return found_add(ctl, f, broker, address, reply.body, &size);
}

static const char *member_at(const struct route *cluster, const char *address, const char **broker)
{
    for (size_t i = 0; i < cluster->count; i++) {
        const struct route_broker *b = &cluster->brokers[i];
        for (size_t k = 0; k < b->member_count; k++) {
            if (strcmp(b->members[k].address, address) == 0) {
                *broker = b->name;
                return b->members[k].address;
            }
        }
    }
    return NULL;
}

/* Only brokers of the cluster are asked: whatever else has an id of 32 hex digits would lead to
 * addresses that mean nothing. */
static int get_by_place(struct ctl *ctl, const char *id, const char *named,
                        const struct route *cluster, struct found *f)
{
    char ip[INET6_ADDRSTRLEN] = "", address[INET6_ADDRSTRLEN + 16];
    const char *broker = named, *at = NULL;
    struct record_host host;
    int64_t log_offset;

    if (record_id_parse(bytes_str(id), &host, &log_offset) < 0)
        return err_say(&ctl->err, TOOL_USAGE,
                       "%s is no offset message id (32 or 56 hex digits); a unique key needs its "
                       "--topic",
                       id);
    inet_ntop(host.v6 ? AF_INET6 : AF_INET, host.ip, ip, sizeof(ip));
    snprintf(address, sizeof(address), host.v6 ? "[%s]:%d" : "%s:%d", ip, host.port);
    if (named) {
        const struct route_broker *b = route_broker_named(cluster, named);

        at = b ? route_reader(b) : NULL;
        if (!at)
            return err_say(&ctl->err, TOOL_NOT_FOUND, "there is no broker %s", named);
    } else {
        at = member_at(cluster, address, &broker);
    }
    if (!at)
        return err_say(
            &ctl->err, TOOL_NOT_FOUND,
            "the id names %s, which is no broker of this cluster; a unique key needs its "
            "--topic, a broker that has another address now its --broker NAME",
            address);
    return view(ctl, f, broker, at, log_offset);
}

/* --- by key --- */

struct key_query {
    const char *topic, *key;
    bool unique;
    int64_t begin_ms, end_ms, max;
};

/* RocketMQ's brokers compare hashes only. */
static bool is_wanted(const struct key_query *q, const struct message_view *m)
{
    struct bytes key = bytes_str(q->key);

    return bytes_equal(m->unique_key, key) || (!q->unique && properties_has_key(m->keys, key));
}

static int take_messages(struct ctl *ctl, const struct key_query *q, const struct route_broker *b,
                         const char *address, struct bytes body, struct found *f)
{
    while (body.len > 0) {
        struct message_view m;
        struct buf unpacked = {0};
        size_t size;
        int r = found_add(ctl, f, b->name, address, body, &size);

        if (r == TOOL_DONE)
            r = found_view(ctl, f, f->count - 1, &unpacked, &m);
        if (r == TOOL_DONE && !is_wanted(q, &m))
            f->count--;
        buf_destroy(&unpacked);
        if (r != TOOL_DONE)
            return r;
        body = bytes_of(body.at + size, body.len - size);
    }
    return TOOL_DONE;
}

static int query_broker(struct ctl *ctl, const struct key_query *q, const struct route_broker *b,
                        struct found *f)
{
    char max[24], begin[24], end[24], whom[192];
    const char *address = route_reader(b);
    const struct rpc_field fields[] = {
        {"topic", q->topic},   {"key", q->key},
        {"maxNum", max},       {"beginTimestamp", begin},
        {"endTimestamp", end}, {"_UNIQUE_KEY_QUERY", q->unique ? "true" : NULL},
    };
    struct rpc_request request = {.code = REQUEST_QUERY_MESSAGE,
                                  .fields = fields,
                                  .field_count = sizeof(fields) / sizeof(fields[0])};
    struct remoting_frame reply;
    int r;

    snprintf(max, sizeof(max), "%" PRId64, q->max);
    snprintf(begin, sizeof(begin), "%" PRId64, q->begin_ms);
    snprintf(end, sizeof(end), "%" PRId64, q->end_ms);
    r = client_call(ctl->client, address, whom_of(whom, b->name), &request, &reply, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    if (reply.code == RESPONSE_QUERY_NOT_FOUND) {
        struct buf remark = {0};

        /* "not yet" and "no index" are worth knowing. */
        show_text(&remark, reply.remark, false);
        if (remark.len > 0 && (memmem(buf_at(&remark), remark.len, "behind", 6) ||
                               memmem(buf_at(&remark), remark.len, "messageIndexEnable", 18)))
            ctl_note("%s: %.*s", whom, (int)remark.len, (const char *)buf_at(&remark));
        buf_destroy(&remark);
        return TOOL_DONE;
    }
    if (reply.code != RESPONSE_SUCCESS)
        return client_refused(address, whom, "look for the key", &reply, &ctl->err);
    return take_messages(ctl, q, b, address, reply.body, f);
}

static int query_all(struct ctl *ctl, const struct key_query *q, const struct route *route,
                     struct found *f)
{
    int r = TOOL_DONE;

    for (size_t i = 0; i < route->count && r == TOOL_DONE; i++) {
        if (route->brokers[i].serves && route_reader(&route->brokers[i]))
            r = query_broker(ctl, q, &route->brokers[i], f);
    }
    found_sort(f);
    return r;
}

/* --- get --- */

static int get(struct ctl *ctl, const char *id, const char *topic, const char *broker,
               struct route *route, struct route *cluster, struct found *f)
{
    const struct key_query q = {
        .topic = topic, .key = id, .unique = true, .max = 32, .end_ms = INT64_MAX};
    int r = TOOL_DONE;

    if (topic) {
        r = client_check_topic(topic, &ctl->err);
        if (r == TOOL_DONE)
            r = client_route(ctl->client, topic, route, &ctl->err);
        if (r == TOOL_DONE)
            r = query_all(ctl, &q, route, f);
        if (r == TOOL_DONE && f->count == 0)
            r = err_say(&ctl->err, TOOL_NOT_FOUND, "no message of topic %s has the unique key %s",
                        topic, id);
        return r;
    }
    r = client_cluster(ctl->client, cluster, &ctl->err);
    return r == TOOL_DONE ? get_by_place(ctl, id, broker, cluster, f) : r;
}

int ctl_message_get(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    const char *topic = NULL, *broker = NULL;
    const struct option_spec specs[] = {
        {"topic", 't', OPTION_TEXT, &topic, "TOPIC", "ID is a unique key of this topic", 0, 0},
        {"broker", 0, OPTION_TEXT, &broker, "NAME",
         "ask this broker, whatever address is in the id", 0, 0},
        CTL_COMMON_OPTIONS(ctl)};
    struct route route = {.root = NULL}, cluster = {.root = NULL};
    struct found f = {.count = 0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    if (topic && broker)
        return err_say(&ctl->err, TOOL_USAGE, "--topic and --broker do not go together");
    r = get(ctl, argv[0], topic, broker, &route, &cluster, &f);
    if (r == TOOL_DONE)
        r = found_print(ctl, &f, true);
    found_destroy(&f);
    route_destroy(&route);
    route_destroy(&cluster);
    return r;
}

/* --- query --- */

static int read_time(struct ctl *ctl, const char *option, const char *text, int64_t *ms)
{
    if (!text || moment_parse(text, ms))
        return TOOL_DONE;
    return err_say(&ctl->err, TOOL_USAGE, "%s \"%s\" is no time: expected " MOMENT_FORMS, option,
                   text);
}

/* The newest of what several brokers had. */
static void keep_newest(struct found *f, int64_t max)
{
    size_t over = f->count > (size_t)max ? f->count - (size_t)max : 0;

    if (over == 0)
        return;
    memmove(f->items, f->items + over, (f->count - over) * sizeof(*f->items));
    f->count -= over;
}

int ctl_message_query(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct key_query q = {.max = 32, .end_ms = INT64_MAX};
    const char *begin = NULL, *end = NULL;
    const struct option_spec specs[] = {
        {"topic", 't', OPTION_TEXT, &q.topic, "TOPIC", "topic of the messages", 0, 0},
        {"key", 'k', OPTION_TEXT, &q.key, "KEY", "a unique key, or one word of their keys", 0, 0},
        {"begin", 0, OPTION_TEXT, &begin, "TIME", "stored then or later", 0, 0},
        {"end", 0, OPTION_TEXT, &end, "TIME", "stored then or earlier", 0, 0},
        {"max", 0, OPTION_NUMBER, &q.max, "N", "the newest N; default 32, brokers give 64", 1,
         1024},
        CTL_COMMON_OPTIONS(ctl)};
    struct route route = {.root = NULL};
    struct found f = {.count = 0};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 0, 0, &n);

    if (r != CTL_GO_ON)
        return r;
    if (!q.topic || !q.key || q.key[0] == '\0')
        return err_say(&ctl->err, TOOL_USAGE, "--topic and --key are needed");
    r = client_check_topic(q.topic, &ctl->err);
    if (r == TOOL_DONE)
        r = read_time(ctl, "--begin", begin, &q.begin_ms);
    if (r == TOOL_DONE)
        r = read_time(ctl, "--end", end, &q.end_ms);
    if (r == TOOL_DONE)
        r = client_route(ctl->client, q.topic, &route, &ctl->err);
    if (r == TOOL_DONE)
        r = query_all(ctl, &q, &route, &f);
    if (r == TOOL_DONE && f.count == 0)
        r = err_say(&ctl->err, TOOL_NOT_FOUND, "no message of topic %s has the key %s%s", q.topic,
                    q.key, begin || end ? " in that time" : "");
    keep_newest(&f, q.max);
    if (r == TOOL_DONE)
        r = found_print(ctl, &f, true);
    found_destroy(&f);
    route_destroy(&route);
    return r;
}

/* --- at --- */

struct at {
    const char *topic;
    int64_t ms, queue; /* queue -1: all */
    struct found found;
    struct json_out j;
    bool any;
};

static int ask_offset(struct ctl *ctl, const struct route_broker *b, int32_t code,
                      const struct rpc_field *fields, size_t count, int64_t *offset)
{
    struct rpc_request request = {.code = code, .fields = fields, .field_count = count};
    struct remoting_frame reply;
    char whom[192];
    int r = client_need(ctl->client, route_reader(b), whom_of(whom, b->name), "look for the time",
                        &request, &reply, &ctl->err);

    if (r == TOOL_DONE && remoting_get_i64(&reply, "offset", offset) != 0)
        r = err_say(&ctl->err, TOOL_REFUSED, "the answer of %s has no offset", whom);
    return r;
}

/* The message at a queue offset, added to the found ones; TOOL_NOT_FOUND when there is none. */
static int read_at(struct ctl *ctl, struct at *a, const struct route_broker *b, const char *queue,
                   int64_t offset)
{
    char index[24];
    const struct rpc_field fields[] = {
        {"topic", a->topic}, {"queueId", queue}, {"index", index}, {"count", "1"}};
    json_t *root, *entry;
    int64_t log_offset;
    int r;

    snprintf(index, sizeof(index), "%" PRId64, offset);
    r = ctl_ask_json(ctl, b->name, route_reader(b), "look into the queue",
                     REQUEST_QUERY_CONSUME_QUEUE, fields, 4, RESPONSE_SYSTEM_ERROR, &root);
    if (r != TOOL_DONE)
        return r;
    entry = json_array_get(json_object_get(root, "queueData"), 0);
    log_offset = json_get_i64(entry, "physicOffset", -1);
    json_decref(root);
    if (log_offset < 0)
        return err_say(&ctl->err, TOOL_NOT_FOUND, "queue %s of broker %s has no entry %" PRId64,
                       queue, b->name, offset);
    return view(ctl, &a->found, b->name, route_reader(b), log_offset);
}

/* *offset is the queue's first at or after the time, max when there is none; the message itself is
 * the last of the found ones then. */
static int first_since(struct ctl *ctl, struct at *a, const struct route_broker *b,
                       const char *queue, int64_t *offset, int64_t *max)
{
    char ms[24];
    const struct rpc_field fields[] = {
        {"topic", a->topic}, {"queueId", queue}, {"timestamp", ms}, {"boundaryType", "LOWER"}};
    int r;

    snprintf(ms, sizeof(ms), "%" PRId64, a->ms);
    r = ask_offset(ctl, b, REQUEST_GET_MAX_OFFSET, fields, 2, max);
    if (r == TOOL_DONE)
        r = ask_offset(ctl, b, REQUEST_SEARCH_OFFSET_BY_TIMESTAMP, fields, 4, offset);
    for (int i = 0; i < 2 && r == TOOL_DONE && *offset < *max; i++) {
        struct found *f = &a->found;

        r = read_at(ctl, a, b, queue, *offset);
        if (r != TOOL_DONE || f->items[f->count - 1].store_ms >= a->ms)
            return r;
        f->count--; /* RocketMQ 4.9 gives the nearest, which may be the one before */
        ++*offset;
    }
    return r;
}

static int show_queue(struct ctl *ctl, struct at *a, const struct route_broker *b, int32_t id)
{
    struct message_view m;
    struct buf unpacked = {0};
    size_t before = a->found.count;
    int64_t offset = 0, max = 0;
    char queue[16];
    int r;

    snprintf(queue, sizeof(queue), "%d", id);
    r = first_since(ctl, a, b, queue, &offset, &max);
    if (r != TOOL_DONE)
        return r;
    if (a->found.count > before) {
        r = found_view(ctl, &a->found, before, &unpacked, &m);
        a->any = true;
    }
    if (r == TOOL_DONE && ctl->json) {
        jout_object(&a->j);
        jout_kv_str(&a->j, "broker", b->name);
        jout_kv_i64(&a->j, "queue", id);
        jout_kv_i64(&a->j, "offset", offset);
        jout_kv_i64(&a->j, "maxOffset", max);
        jout_key(&a->j, "message");
        if (a->found.count > before) {
            jout_object(&a->j);
            found_json(&a->j, &a->found.items[before], &m, NULL);
            jout_object_end(&a->j);
        } else {
            jout_null(&a->j);
        }
        jout_object_end(&a->j);
    } else if (r == TOOL_DONE && a->found.count > before) {
        if (before > 0)
            buf_add_str(&ctl->out, "\n");
        found_text(ctl, &a->found.items[before], &m, NULL);
    }
    buf_destroy(&unpacked);
    return r;
}

static int show_broker(struct ctl *ctl, struct at *a, const struct route_broker *b)
{
    int r = TOOL_DONE;

    for (int32_t id = 0; id < b->read_queues && r == TOOL_DONE; id++) {
        if (a->queue < 0 || a->queue == id)
            r = show_queue(ctl, a, b, id);
    }
    return r;
}

static int show_all(struct ctl *ctl, struct at *a, const struct route *route)
{
    int r = TOOL_DONE;

    jout_begin(&a->j, &ctl->out);
    if (ctl->json) {
        jout_object(&a->j);
        jout_kv_str(&a->j, "topic", a->topic);
        jout_kv_i64(&a->j, "timestamp", a->ms);
        jout_key(&a->j, "queues");
        jout_array(&a->j);
    }
    for (size_t i = 0; i < route->count && r == TOOL_DONE; i++) {
        if (route->brokers[i].serves && route_reader(&route->brokers[i]))
            r = show_broker(ctl, a, &route->brokers[i]);
    }
    if (r == TOOL_DONE && ctl->json) {
        jout_array_end(&a->j);
        jout_object_end(&a->j);
        buf_add_str(&ctl->out, "\n");
    } else if (r == TOOL_DONE && !a->any) {
        r = err_say(&ctl->err, TOOL_NOT_FOUND, "no message of topic %s was stored then or later",
                    a->topic);
    }
    if (r != TOOL_DONE)
        buf_reset(&ctl->out);
    return r;
}

int ctl_message_at(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct at a = {.queue = -1};
    const struct option_spec specs[] = {{"queue", 'q', OPTION_NUMBER, &a.queue, "ID",
                                         "only this queue of each broker", 0, INT32_MAX},
                                        CTL_COMMON_OPTIONS(ctl)};
    struct route route = {.root = NULL};
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 2, 2, &n);

    if (r != CTL_GO_ON)
        return r;
    a.topic = argv[0];
    r = client_check_topic(a.topic, &ctl->err);
    if (r == TOOL_DONE)
        r = read_time(ctl, "TIME", argv[1], &a.ms);
    if (r == TOOL_DONE)
        r = client_route(ctl->client, a.topic, &route, &ctl->err);
    if (r == TOOL_DONE)
        r = show_all(ctl, &a, &route);
    found_destroy(&a.found);
    route_destroy(&route);
    return r;
}
