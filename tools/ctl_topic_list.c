/* ctl_topic_list.c - ternctl topic list. */
#include "tools/ternctl.h"

#include <stdlib.h>

#include "common/json.h"
#include "tools/show.h"

static bool is_system(const char *name, const json_t *names)
{
    static const char *const known[] = {"TBW102",
                                        "SELF_TEST_TOPIC",
                                        "BenchmarkTest",
                                        "OFFSET_MOVED_EVENT",
                                        "SCHEDULE_TOPIC_XXXX",
                                        "RMQ_SYS_TRACE_TOPIC",
                                        "RMQ_SYS_TRANS_HALF_TOPIC",
                                        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
                                        "TRANS_CHECK_MAX_TIME_TOPIC"};
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < json_array_size(names); i++) { /* clusters and brokers */
        const char *text = json_string_value(json_array_get(names, i));

        if (text && strcmp(text, name) == 0)
            return true;
        if (text && len == strlen(text) + strlen("_REPLY_TOPIC") &&
            strncmp(name, text, strlen(text)) == 0 &&
            strcmp(name + strlen(text), "_REPLY_TOPIC") == 0)
            return true;
    }
    return strncmp(name, "%RETRY%", 7) == 0 || strncmp(name, "%DLQ%", 5) == 0 ||
           strncmp(name, "rmq_sys_", 8) == 0;
}

static int ask_list(struct ctl *ctl, int32_t code, json_t **out)
{
    struct rpc_request request = {.code = code};
    struct remoting_frame reply;
    struct err why = {0};
    int r = client_ask_names(ctl->client, &request, &reply, &ctl->err);

    if (r != TOOL_DONE)
        return r;
    if (reply.code != RESPONSE_SUCCESS)
        return client_refused(client_answering_name_server(ctl->client), "name server",
                              "list topics", &reply, &ctl->err);
    *out = json_dialect_load(reply.body, &why);
    if (!*out)
        return err_say(&ctl->err, TOOL_REFUSED, "the name server's answer cannot be read: %s",
                       why.text);
    return TOOL_DONE;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct listed {
    size_t brokers;
    int64_t read_queues, write_queues;
    int32_t perm;
};

static struct listed sum(const struct route *route)
{
    struct listed l = {.perm = 0};

    for (size_t i = 0; i < route->count; i++) {
        const struct route_broker *b = &route->brokers[i];

        if (!b->serves)
            continue;
        l.brokers++;
        l.read_queues += b->read_queues;
        l.write_queues += b->write_queues;
        l.perm |= b->perm;
    }
    return l;
}

static int list_one(struct ctl *ctl, const char *name, bool system, struct json_out *j,
                    struct table *t)
{
    struct route route = {0};
    int r = client_route(ctl->client, name, &route, &ctl->err);
    struct listed l = sum(&route);

    route_destroy(&route);
    if (r == TOOL_NOT_FOUND)
        return TOOL_DONE; /* gone meanwhile */
    if (r != TOOL_DONE)
        return r;
    if (ctl->json) {
        jout_object(j);
        jout_kv_str(j, "topic", name);
        jout_kv_bool(j, "system", system);
        jout_kv_i64(j, "brokers", (int64_t)l.brokers);
        jout_kv_i64(j, "readQueues", l.read_queues);
        jout_kv_i64(j, "writeQueues", l.write_queues);
        jout_kv_i64(j, "perm", l.perm);
        jout_object_end(j);
        return TOOL_DONE;
    }
    table_add(t, name);
    table_add_i64(t, (int64_t)l.brokers);
    table_add_i64(t, l.read_queues);
    table_add_i64(t, l.write_queues);
    table_add(t, show_perm(l.perm));
    return TOOL_DONE;
}

static int list(struct ctl *ctl, bool all, const json_t *topics, const json_t *system_names)
{
    static const char *const headings[] = {"TOPIC", ">BROKERS", ">READ", ">WRITE", "PERM", NULL};
    size_t count = json_array_size(topics), kept = 0;
    const char **names = calloc(count + 1, sizeof(*names));
    struct json_out j;
    struct table t;
    int r = TOOL_DONE;

    if (!names)
        return err_say(&ctl->err, TOOL_REFUSED, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(topics, i));

        if (name && (all || !is_system(name, system_names)))
            names[kept++] = name;
    }
    qsort(names, kept, sizeof(*names), by_text);
    table_init(&t, headings);
    jout_begin(&j, &ctl->out);
    if (ctl->json) {
        jout_object(&j);
        jout_key(&j, "topics");
        jout_array(&j);
    }
    for (size_t i = 0; i < kept && r == TOOL_DONE; i++)
        r = list_one(ctl, names[i], is_system(names[i], system_names), &j, &t);
    free(names);
    if (ctl->json) {
        jout_array_end(&j);
        jout_object_end(&j);
        buf_add_str(&ctl->out, "\n");
    } else {
        ctl_table(ctl, &t);
    }
    table_destroy(&t);
    return r;
}

int ctl_topic_list(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    bool all = false;
    const struct option_spec specs[] = {
        {"all", 'a', OPTION_FLAG, &all, NULL,
         "also the topics of the system, retries, dead letters", 0, 0},
        CTL_COMMON_OPTIONS(ctl),
    };
    json_t *topics = NULL, *system_topics = NULL;
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 0, 0, &n);

    if (r != CTL_GO_ON)
        return r;
    r = ask_list(ctl, REQUEST_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &topics);
    if (r == TOOL_DONE)
        r = ask_list(ctl, REQUEST_GET_SYSTEM_TOPIC_LIST_FROM_NS, &system_topics);
    if (r == TOOL_DONE)
        r = list(ctl, all, json_object_get(topics, "topicList"),
                 json_object_get(system_topics, "topicList"));
    json_decref(topics);
    json_decref(system_topics);
    return r;
}
