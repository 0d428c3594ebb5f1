/* bench_send.c - tern-bench send: the load generator against the masters of a topic. */
#include "tools/bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/topic_admin.h"

/* The sum of the ends of all queues that are written to. */
static int ends(struct bench *bench, struct client *client, const struct load_plan *plan,
                int64_t *sum)
{
    *sum = 0;
    for (unsigned i = 0; i < plan->target_count; i++) {
        for (int32_t q = 0; q < plan->targets[i].queues; q++) {
            char queue[16];
            const struct rpc_field fields[] = {{"topic", plan->topic}, {"queueId", queue}};
            struct rpc_request request = {
                .code = REQUEST_GET_MAX_OFFSET, .fields = fields, .field_count = 2};
            struct remoting_frame reply;
            int64_t offset = 0;
            int r;

            snprintf(queue, sizeof(queue), "%d", q);
            r = client_need(client, plan->targets[i].address, "broker", "find the end of a queue",
                            &request, &reply, &bench->err);
            if (r != TOOL_DONE)
                return r;
            remoting_get_i64(&reply, "offset", &offset);
            *sum += offset;
        }
    }
    return TOOL_DONE;
}

static void report(struct bench *bench, const struct load_plan *plan,
                   const struct load_result *result, int64_t stored)
{
    struct bench_case what = {"send", plan->targets[0].address, plan->topic, plan};
    struct json_out j;

    if (!bench->json) {
        bench_report_text(&bench->out, &what, result);
        if (stored >= 0)
            buf_addf(&bench->out, "  stored        %lld (warm-up included)\n", (long long)stored);
        return;
    }
    jout_begin(&j, &bench->out);
    jout_object(&j);
    jout_kv_str(&j, "what", "send");
    jout_kv_str(&j, "topic", plan->topic);
    jout_key(&j, "addresses");
    jout_array(&j);
    for (unsigned i = 0; i < plan->target_count; i++)
        jout_str(&j, plan->targets[i].address);
    jout_array_end(&j);
    bench_plan_json(&j, plan);
    bench_report_json(&j, result);
    if (stored >= 0)
        jout_kv_i64(&j, "stored", stored);
    jout_object_end(&j);
    buf_add_str(&bench->out, "\n");
}

/* One-way sends may be lost without a word, so the queues themselves are looked at. */
static int measure(struct bench *bench, struct client *client, const struct load_plan *plan)
{
    static struct load_result result; /* too large for the stack */
    int64_t before = 0, after = -1;
    int r = plan->oneway ? ends(bench, client, plan, &before) : TOOL_DONE;

    if (r == TOOL_DONE)
        r = load_run(plan, &result, &bench->err);
    if (r == TOOL_DONE && plan->oneway)
        r = ends(bench, client, plan, &after);
    if (r != TOOL_DONE)
        return r;
    report(bench, plan, &result, after < 0 ? -1 : after - before);
    return bench_judge(&result, &bench->err);
}

static int check_topics(const char *topic, unsigned topics, bool oneway, struct err *err)
{
    char last[256];

    if (topics == 1)
        return client_check_topic(topic, err);
    if (oneway)
        return err_say(err, TOOL_USAGE, "--topics does not go with --oneway");
    if (!frame_topic_name(last, sizeof(last), topic, topics - 1))
        return err_say(err, TOOL_USAGE, "the topic's name is too long");
    return client_check_topic(last, err);
}

/* The targets are those of the first topic. The others are made like it on the same brokers, unless
 * the last one is there already. */
static int find_many(struct bench *bench, struct client *client, struct load_plan *plan,
                     int64_t queues, struct route *route, struct load_target **targets)
{
    struct route last = {0};
    char name[256];
    int r;

    frame_topic_name(name, sizeof(name), plan->topic, plan->topics - 1);
    r = client_route(client, name, &last, &bench->err);
    route_destroy(&last);
    if (r != TOOL_DONE && r != TOOL_NOT_FOUND)
        return r;
    bool made = r == TOOL_DONE;
    frame_topic_name(name, sizeof(name), plan->topic, 0);
    r = bench_find_targets(bench, client, name, queues, route, targets, &plan->target_count);
    if (r != TOOL_DONE || made)
        return r;
    bench_note("making %u topics", plan->topics);
    for (unsigned i = 1; i < plan->topics && r == TOOL_DONE; i++) {
        frame_topic_name(name, sizeof(name), plan->topic, i);
        for (size_t b = 0; b < route->count && r == TOOL_DONE; b++) {
            const struct route_broker *broker = &route->brokers[b];
            struct topic_settings settings = {.read_queues = broker->read_queues,
                                              .write_queues = broker->write_queues,
                                              .perm = ROUTE_READ | ROUTE_WRITE};

            if (route_master(broker))
                r = topic_admin_put(client, broker, name, &settings, &bench->err);
        }
    }
    return r;
}

int bench_send(struct bench *bench, const struct bench_command *command, int argc, char **argv)
{
    const char *topic = BENCH_TOPIC;
    int64_t topics = 1;
    struct bench_load load;
    const struct option_spec specs[] = {
        BENCH_SERVER_OPTIONS(bench),
        {"topic", 't', OPTION_TEXT, &topic, "NAME", "default " BENCH_TOPIC, 0, 0},
        {"queues", 'q', OPTION_NUMBER, &load.queues, "N",
         "queues to write to, and to make a new topic with; default all, 8", 1, BENCH_QUEUES_MAX},
        {"topics", 0, OPTION_NUMBER, &topics, "N",
         "write to N topics NAME_000000, NAME_000001, ... in turn; default 1: NAME", 1,
         FRAME_TOPICS_MAX},
        BENCH_LOAD_OPTIONS(&load),
        {"pid", 0, OPTION_NUMBER, &load.pid, "PID", "also measure this process (the broker)", 1,
         INT32_MAX},
        BENCH_COMMON_OPTIONS(bench),
    };
    struct client *client = NULL;
    struct route route = {0};
    struct load_target *targets = NULL;
    struct load_plan plan;
    int r;

    bench_load_defaults(&load);
    r = bench_parse(bench, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv);
    if (r != BENCH_GO_ON)
        return r;
    bench_load_plan(bench, &load, &plan);
    plan.topic = topic;
    plan.topics = (unsigned)topics;
    r = check_topics(topic, plan.topics, plan.oneway, &bench->err);
    if (r == TOOL_DONE)
        r = client_new(&client, bench->names, !bench->allow_remote, &bench->err);
    if (r == TOOL_DONE)
        r = plan.topics > 1 ? find_many(bench, client, &plan, load.queues, &route, &targets)
                            : bench_find_targets(bench, client, topic, load.queues, &route,
                                                 &targets, &plan.target_count);
    plan.targets = targets;
    if (r == TOOL_DONE)
        r = measure(bench, client, &plan);
    free(targets);
    route_destroy(&route);
    client_free(client);
    return r;
}
