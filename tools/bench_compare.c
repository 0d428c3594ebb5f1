/* bench_compare.c - tern-bench compare: the broker beside the wire, in four situations.
 *
 * Machines change their speed from one minute to the next, so both are measured in turn, in short
 * pairs that begin now with the one and now with the other, and the ratio is the median of the
 * pairs. The echo server gets the broker's own settings for threads and polling.
 */
#include "tools/bench.h"

#include <stdlib.h>

#include "tools/table.h"

enum { CASES = 4, ROUNDS_MAX = 99 };

struct situation {
    const char *name;
    unsigned connections, window, batch;
    size_t body_bytes;
};
static const struct situation situations[CASES] = {
    {"1 connection, 1 in flight, 128 bytes", 1, 1, 1, 128},
    {"64 connections, 1 in flight, 128 bytes", 64, 1, 1, 128},
    {"2 connections, 500 in flight, 128 bytes", 2, 500, 1, 128},
    {"16 connections, 4 in flight, batches of 32 x 10 bytes", 16, 4, 32, 10},
};

enum { BROKER, ECHO, SIDES };

struct measured {
    struct load_result sides[SIDES]; /* sums of all rounds */
    double ratios[ROUNDS_MAX];
    double ratio; /* median */
};

struct compare {
    struct bench *bench;
    struct load_target targets[SIDES];
    struct load_plan plan;
    pid_t pids[SIDES];
    int64_t rounds;
    struct measured *cases;
};

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int run_side(struct compare *c, const struct situation *s, int side, struct measured *m,
                    double *rate)
{
    static struct load_result result; /* too large for the stack */
    struct load_plan plan = c->plan;
    int r;

    plan.targets = &c->targets[side];
    plan.target_count = 1;
    plan.connections = s->connections;
    plan.window = s->window;
    plan.batch = s->batch;
    plan.body_bytes = s->body_bytes;
    plan.pid = c->pids[side];
    r = load_run(&plan, &result, &c->bench->err);
    if (r == TOOL_DONE)
        r = bench_judge(&result, &c->bench->err);
    *rate = bench_rate(&result);
    load_merge(&m->sides[side], &result);
    return r;
}

static int run_situation(struct compare *c, const struct situation *s, struct measured *m)
{
    int r = TOOL_DONE;

    for (int64_t round = 0; round < c->rounds && r == TOOL_DONE; round++) {
        int first = round % 2 ? ECHO : BROKER;
        double rates[SIDES] = {0};

        r = run_side(c, s, first, m, &rates[first]);
        if (r == TOOL_DONE)
            r = run_side(c, s, SIDES - 1 - first, m, &rates[SIDES - 1 - first]);
        m->ratios[round] = rates[ECHO] > 0 ? rates[BROKER] / rates[ECHO] : 0;
    }
    if (r == TOOL_DONE)
        m->ratio = median(m->ratios, (size_t)c->rounds);
    return r;
}

/* ---- output ---- */

static void add_row(struct table *t, const char *name, const char *side,
                    const struct load_result *result, double ratio)
{
    char text[BENCH_TIME_MAX];

    table_add(t, name);
    table_add(t, side);
    table_add(t, bench_count(text, bench_rate(result)));
    table_add(t, bench_time(text, (double)histogram_percentile(&result->latency, 50)));
    table_add(t, bench_time(text, (double)histogram_percentile(&result->latency, 99)));
    table_add(t, bench_time(text, (double)result->latency.max));
    if (result->has_use)
        table_addf(t, "%.2f", bench_cpu_us(result));
    else
        table_add(t, NULL);
    if (ratio > 0)
        table_addf(t, "%.2f", ratio);
    else
        table_add(t, NULL);
}

static void print_text(struct compare *c)
{
    static const char *const headings[] = {"LOAD", "SERVER", ">MESSAGES/s",     ">P50",
                                           ">P99", ">MAX",   ">CPU us/message", ">BROKER/ECHO",
                                           NULL};
    struct table t;

    table_init(&t, headings);
    for (int i = 0; i < CASES; i++) {
        add_row(&t, situations[i].name, "broker", &c->cases[i].sides[BROKER], c->cases[i].ratio);
        add_row(&t, " ", "echo", &c->cases[i].sides[ECHO], 0);
    }
    table_print(&t, &c->bench->out);
    table_destroy(&t);
    for (int i = 0; i < CASES; i++) {
        const struct load_result *broker = &c->cases[i].sides[BROKER];

        if (broker->refused)
            buf_addf(&c->bench->out, "refused in %s: %llu%s%s\n", situations[i].name,
                     (unsigned long long)broker->refused, broker->remark[0] ? ", first: " : "",
                     broker->remark);
    }
}

static void print_json(struct compare *c)
{
    static const char *const names[SIDES] = {"broker", "echo"};
    struct json_out j;

    jout_begin(&j, &c->bench->out);
    jout_object(&j);
    jout_kv_str(&j, "what", "compare");
    jout_kv_i64(&j, "rounds", c->rounds);
    jout_key(&j, "cases");
    jout_array(&j);
    for (int i = 0; i < CASES; i++) {
        struct load_plan plan = c->plan;

        plan.connections = situations[i].connections;
        plan.window = situations[i].window;
        plan.batch = situations[i].batch;
        plan.body_bytes = situations[i].body_bytes;
        jout_object(&j);
        bench_plan_json(&j, &plan);
        jout_key(&j, "ratio");
        jout_double(&j, c->cases[i].ratio);
        for (int side = 0; side < SIDES; side++) {
            jout_key(&j, names[side]);
            jout_object(&j);
            bench_report_json(&j, &c->cases[i].sides[side]);
            jout_object_end(&j);
        }
        jout_object_end(&j);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_str(&c->bench->out, "\n");
}

/* ---- the command ---- */

/* The value of a key in properties text; `fallback` when it is not there. */
static int64_t setting(struct bytes text, const char *key, int64_t fallback)
{
    size_t key_len = strlen(key);
    int64_t value = fallback;

    while (text.len) {
        const uint8_t *end = memchr(text.at, '\n', text.len);
        size_t len = end ? (size_t)(end - text.at) : text.len;

        if (len > key_len && memcmp(text.at, key, key_len) == 0 && text.at[key_len] == '=')
            bytes_to_i64(bytes_of(text.at + key_len + 1, len - key_len - 1), &value);
        text = bytes_of(text.at + len + (end ? 1 : 0), text.len - len - (end ? 1 : 0));
    }
    return value;
}

static int echo_like_broker(struct compare *c, struct client *client, struct bench_echo *echo)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_CONFIG};
    struct bench_echo_options options = {.port = 0};
    struct remoting_frame reply;
    int r = client_need(client, c->targets[BROKER].address, "broker", "read its configuration",
                        &request, &reply, &c->bench->err);

    if (r != TOOL_DONE)
        return r;
    options.io_threads = setting(reply.body, "ioThreads", 0);
    options.busy_poll_us = setting(reply.body, "busyPollMicros", 0);
    r = bench_echo_start(echo, &options, &c->bench->err);
    c->targets[ECHO].address = echo->address;
    c->targets[ECHO].queues = c->targets[BROKER].queues;
    c->pids[ECHO] = echo->pid;
    return r;
}

static int compare(struct compare *c, struct client *client, const char *topic)
{
    struct route route = {0};
    struct load_target *targets = NULL;
    struct bench_echo echo = {.pid = 0};
    unsigned count = 0;
    int r = bench_find_targets(c->bench, client, topic, 0, &route, &targets, &count);

    if (r == TOOL_DONE && count > 1)
        bench_note("topic %s is on %u brokers; only the one at %s is measured", topic, count,
                   targets[0].address);
    if (r == TOOL_DONE) {
        c->targets[BROKER] = targets[0];
        r = echo_like_broker(c, client, &echo);
    }
    for (int i = 0; i < CASES && r == TOOL_DONE; i++)
        r = run_situation(c, &situations[i], &c->cases[i]);
    bench_echo_stop(&echo);
    free(targets);
    route_destroy(&route);
    return r;
}

int bench_compare(struct bench *bench, const struct bench_command *command, int argc, char **argv)
{
    const char *topic = BENCH_TOPIC;
    struct bench_load load;
    struct compare c = {.bench = bench, .rounds = 3};
    const struct option_spec specs[] = {
        BENCH_SERVER_OPTIONS(bench),
        {"topic", 't', OPTION_TEXT, &topic, "NAME", "default " BENCH_TOPIC, 0, 0},
        {"pid", 0, OPTION_NUMBER, &load.pid, "PID", "process of the broker, to measure its CPU", 1,
         INT32_MAX},
        {"rounds", 'r', OPTION_NUMBER, &c.rounds, "N", "pairs for each situation; default 3", 1,
         ROUNDS_MAX},
        {"duration", 'd', OPTION_MILLIS, &load.duration_ms, "SECONDS",
         "time of each measurement; default 2", 1, 600 * 1000},
        {"warmup", 0, OPTION_MILLIS, &load.warmup_ms, "SECONDS",
         "load before each measurement; default 0.5", 0, 60 * 1000},
        {"spin", 0, OPTION_NUMBER, &load.spin_us, "MICROS",
         "the generator polls for so long before sleeping; default 0", 0, 10000},
        BENCH_COMMON_OPTIONS(bench),
    };
    struct client *client = NULL;
    int r;

    bench_load_defaults(&load);
    load.duration_ms = 2000;
    load.warmup_ms = 500;
    r = bench_parse(bench, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv);
    if (r != BENCH_GO_ON)
        return r;
    bench_load_plan(bench, &load, &c.plan);
    c.plan.topic = topic;
    c.pids[BROKER] = (pid_t)load.pid;
    c.cases = calloc(CASES, sizeof(*c.cases));
    r = c.cases ? client_check_topic(topic, &bench->err)
                : err_say(&bench->err, TOOL_REFUSED, "out of memory");
    if (r == TOOL_DONE)
        r = client_new(&client, bench->names, !bench->allow_remote, &bench->err);
    if (r == TOOL_DONE)
        r = compare(&c, client, topic);
    if (r == TOOL_DONE && bench->json)
        print_json(&c);
    else if (r == TOOL_DONE)
        print_text(&c);
    free(c.cases);
    client_free(client);
    return r;
}
