/* bench_pull.c - tern-bench pull: reads all queues of a topic as fast as they can be had.
 *
 * Every queue has one pull under way, which names the next offset as soon as its answer is there; a
 * queue is done when it has reached the end that it had at the start. Messages are counted by their
 * lengths, and otherwise not looked at. A latency runs from the write of a pull to the read of its
 * whole answer.
 */
#include "tools/bench.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/record.h"
#include "common/clock.h"
#include "tools/link.h"
#include "tools/show.h"

enum { GROUP_READ = 4 /* subscription in the header, no hold */, FILL_BYTES = 512 * 1024 };
#define GROUP "tern-bench"

struct pull_queue {
    unsigned conn;
    int32_t id;
    int64_t next, end;
    int64_t written_ns;
    bool pulling;
};

struct pull_conn {
    const char *address;
    struct link link;
};

struct pull_run {
    struct bench *bench;
    const char *topic;
    int64_t batch;
    struct pull_conn *conns;
    unsigned conn_count;
    struct pull_queue *queues;
    unsigned queue_count, busy;
    struct pollfd *polls;
    struct remoting_frame frame;
    uint64_t messages, bytes, answers;
    struct histogram latency;
    int64_t from_ns, until_ns, last_ns;
};

/* ---- where from ---- */

static int ask_offset(struct pull_run *run, struct client *client, const char *address, int32_t id,
                      int32_t code, int64_t *out)
{
    char queue[16];
    const struct rpc_field fields[] = {{"topic", run->topic}, {"queueId", queue}};
    struct rpc_request request = {.code = code, .fields = fields, .field_count = 2};
    struct remoting_frame reply;
    int r;

    snprintf(queue, sizeof(queue), "%d", id);
    r = client_need(client, address, "broker", "find the ends of a queue", &request, &reply,
                    &run->bench->err);
    if (r == TOOL_DONE)
        remoting_get_i64(&reply, "offset", out);
    return r;
}

static int add_broker(struct pull_run *run, struct client *client, const struct route_broker *b,
                      unsigned connections)
{
    unsigned first = run->conn_count;
    int r = TOOL_DONE;

    for (unsigned i = 0; i < connections; i++) {
        struct pull_conn *c = &run->conns[run->conn_count];

        c->address = route_reader(b);
        link_init(&c->link);
        run->conn_count++;
        if (link_open(&c->link, c->address, client_only_loopback(client), CLIENT_TIMEOUT_MS,
                      &run->bench->err) < 0)
            return TOOL_UNREACHABLE;
    }
    for (int32_t id = 0; id < b->read_queues && r == TOOL_DONE; id++) {
        struct pull_queue *q = &run->queues[run->queue_count];

        *q = (struct pull_queue){.conn = first + (unsigned)id % connections, .id = id};
        r = ask_offset(run, client, route_reader(b), id, REQUEST_GET_MIN_OFFSET, &q->next);
        if (r == TOOL_DONE)
            r = ask_offset(run, client, route_reader(b), id, REQUEST_GET_MAX_OFFSET, &q->end);
        if (q->next < q->end)
            run->queue_count++;
    }
    return r;
}

static bool readable(const struct route_broker *b)
{
    return b->serves && (b->perm & ROUTE_READ) && route_reader(b);
}

static int prepare(struct pull_run *run, struct client *client, const struct route *route,
                   unsigned connections)
{
    size_t queues = 0;
    int r = TOOL_DONE;

    for (size_t i = 0; i < route->count; i++)
        queues += readable(&route->brokers[i]) ? (size_t)route->brokers[i].read_queues : 0;
    run->conns = calloc(route->count * connections + 1, sizeof(*run->conns));
    run->polls = calloc(route->count * connections + 1, sizeof(*run->polls));
    run->queues = calloc(queues + 1, sizeof(*run->queues));
    if (!run->conns || !run->polls || !run->queues)
        return err_say(&run->bench->err, TOOL_REFUSED, "out of memory");
    for (size_t i = 0; i < route->count && r == TOOL_DONE; i++) {
        if (readable(&route->brokers[i]))
            r = add_broker(run, client, &route->brokers[i], connections);
    }
    if (r == TOOL_DONE && run->queue_count == 0)
        r = err_say(&run->bench->err, TOOL_NOT_FOUND,
                    "topic %s has no messages; tern-bench send "
                    "makes some",
                    run->topic);
    return r;
}

/* ---- pulling ---- */

static void add_pull(struct pull_run *run, unsigned index)
{
    struct pull_queue *q = &run->queues[index];
    struct remoting_writer w;
    struct remoting_meta meta = {.code = REQUEST_PULL_MESSAGE,
                                 .opaque = (int32_t)index + 1,
                                 .version = REMOTING_VERSION,
                                 .language = REMOTING_JAVA,
                                 .has_fields = true};

    remoting_begin(&w, &run->conns[q->conn].link.out, &meta);
    remoting_put_str(&w, "consumerGroup", GROUP);
    remoting_put_str(&w, "topic", run->topic);
    remoting_put_i64(&w, "queueId", q->id);
    remoting_put_i64(&w, "queueOffset", q->next);
    remoting_put_i64(&w, "maxMsgNums", run->batch);
    remoting_put_i64(&w, "sysFlag", GROUP_READ);
    remoting_put_i64(&w, "commitOffset", 0);
    remoting_put_i64(&w, "suspendTimeoutMillis", 0);
    remoting_put_str(&w, "subscription", "*");
    remoting_put_i64(&w, "subVersion", 0);
    remoting_put_str(&w, "expressionType", "TAG");
    remoting_end(&w);
    q->pulling = true;
    q->written_ns = 0;
}

static int lost(struct pull_run *run, const struct pull_conn *c, int reason)
{
    return err_say(&run->bench->err, TOOL_UNREACHABLE,
                   "the connection to %s broke after %llu messages: %s", c->address,
                   (unsigned long long)run->messages, strerror(-reason));
}

static int write_all(struct pull_run *run)
{
    int64_t now_ns = clock_mono_ns();

    for (unsigned i = 0; i < run->queue_count; i++) {
        if (run->queues[i].pulling && run->queues[i].written_ns == 0)
            run->queues[i].written_ns = now_ns;
    }
    for (unsigned i = 0; i < run->conn_count; i++) {
        int r = run->conns[i].link.out.len ? link_flush(&run->conns[i].link) : 0;

        if (r < 0)
            return lost(run, &run->conns[i], r);
    }
    return TOOL_DONE;
}

static int count_messages(struct pull_run *run, struct bytes body)
{
    while (body.len >= 4) {
        uint32_t size = load_be32(body.at);

        if (size < 4 || size > body.len)
            break;
        run->messages++;
        run->bytes += size;
        body = bytes_of(body.at + size, body.len - size);
    }
    if (body.len == 0)
        return TOOL_DONE;
    return err_say(&run->bench->err, TOOL_REFUSED,
                   "a broker sent messages whose lengths do not "
                   "add up");
}

static int on_answer(struct pull_run *run, struct pull_conn *c, int64_t now_ns)
{
    const struct remoting_frame *reply = &run->frame;
    struct pull_queue *q;
    int64_t next;
    int r = TOOL_DONE;

    if (!remoting_is_response(reply))
        return TOOL_DONE;
    if (reply->opaque < 1 || (unsigned)reply->opaque > run->queue_count ||
        !run->queues[reply->opaque - 1].pulling)
        return lost(run, c, -EPROTO);
    q = &run->queues[reply->opaque - 1];
    q->pulling = false;
    run->answers++;
    run->last_ns = now_ns;
    histogram_add(&run->latency, (uint64_t)(now_ns - q->written_ns));
    if (reply->code == RESPONSE_SUCCESS)
        r = count_messages(run, reply->body);
    else if (reply->code != RESPONSE_PULL_RETRY_IMMEDIATELY &&
             reply->code != RESPONSE_PULL_OFFSET_MOVED)
        return client_refused(c->address, "broker", "read the topic", reply, &run->bench->err);
    next = q->next;
    if (remoting_get_i64(reply, "nextBeginOffset", &next) != 0 || next == q->next)
        return err_say(&run->bench->err, TOOL_REFUSED, "queue %d does not go on at offset %lld",
                       q->id, (long long)q->next);
    q->next = next;
    if (r == TOOL_DONE && q->next < q->end && now_ns < run->until_ns)
        add_pull(run, (unsigned)reply->opaque - 1);
    else
        run->busy--;
    return r;
}

static int read_conn(struct pull_run *run, struct pull_conn *c)
{
    ssize_t n = link_fill(&c->link, FILL_BYTES);
    int64_t now_ns = clock_mono_ns();
    int r = TOOL_DONE;

    while (n > 0 && r == TOOL_DONE) {
        int got = link_next(&c->link, &run->frame);

        if (got == LINK_PARTIAL)
            return TOOL_DONE;
        r = got < 0 ? lost(run, c, got) : on_answer(run, c, now_ns);
    }
    return n < 0 ? lost(run, c, (int)n) : r;
}

static int pull(struct pull_run *run)
{
    int r;

    for (unsigned i = 0; i < run->queue_count; i++)
        add_pull(run, i);
    run->busy = run->queue_count;
    r = write_all(run);
    while (r == TOOL_DONE && run->busy > 0) {
        int n;

        for (unsigned i = 0; i < run->conn_count; i++) {
            const struct link *l = &run->conns[i].link;

            run->polls[i] = (struct pollfd){.fd = l->fd,
                                            .events = (short)(POLLIN | (l->out.len ? POLLOUT : 0))};
        }
        n = poll(run->polls, run->conn_count, LOAD_STALL_MS);
        if (n == 0)
            return err_say(&run->bench->err, TOOL_UNREACHABLE, "no answer from %s for %d s",
                           run->conns[0].address, LOAD_STALL_MS / 1000);
        if (n < 0 && errno != EINTR)
            return err_say(&run->bench->err, TOOL_REFUSED, "poll: %s", strerror(errno));
        for (unsigned i = 0; n > 0 && i < run->conn_count && r == TOOL_DONE; i++) {
            if (run->polls[i].revents & (POLLIN | POLLERR | POLLHUP))
                r = read_conn(run, &run->conns[i]);
        }
        if (r == TOOL_DONE)
            r = write_all(run);
    }
    return r;
}

/* ---- the command ---- */

/* As the result of a load, so that it reads alike. */
static void report(struct pull_run *run, struct load_result *result)
{
    struct buf *out = &run->bench->out;
    double mib = (double)run->bytes / 1048576 / result->elapsed_s;
    char count[BENCH_TIME_MAX], time[BENCH_TIME_MAX];
    struct json_out j;

    if (run->bench->json) {
        jout_begin(&j, out);
        jout_object(&j);
        jout_kv_str(&j, "what", "pull");
        jout_kv_str(&j, "topic", run->topic);
        jout_kv_i64(&j, "connections", run->conn_count);
        jout_kv_i64(&j, "queues", run->queue_count);
        jout_kv_i64(&j, "pulls", (int64_t)run->answers);
        jout_key(&j, "mebibytesPerSecond");
        jout_double(&j, mib);
        bench_report_json(&j, result);
        jout_object_end(&j);
        buf_add_str(out, "\n");
        return;
    }
    buf_addf(out, "pull from %s, topic %s: %u %s, %u queues\n", run->conns[0].address, run->topic,
             run->conn_count, run->conn_count == 1 ? "connection" : "connections",
             run->queue_count);
    buf_addf(out, "  messages      %s in %.2f s\n", bench_count(count, (double)run->messages),
             result->elapsed_s);
    buf_addf(out, "  rate          %s a second, %.1f MiB/s of stored messages\n",
             bench_count(count, bench_rate(result)), mib);
    buf_addf(out, "  pulls         %.1f messages each",
             (double)run->messages / (double)run->answers);
    buf_addf(out, "   p50 %s", bench_time(time, (double)histogram_percentile(&run->latency, 50)));
    buf_addf(out, "   p99 %s", bench_time(time, (double)histogram_percentile(&run->latency, 99)));
    buf_addf(out, "   max %s\n", bench_time(time, (double)run->latency.max));
    if (result->has_use)
        buf_addf(out, "  server CPU    %.2f us per message, %.0f %% of a core\n",
                 bench_cpu_us(result), 100 * result->use.cpu_s / result->elapsed_s);
}

static int measure(struct pull_run *run, pid_t pid, int64_t duration_ms)
{
    static struct load_result result; /* too large for the stack */
    struct process_use before = {0}, after = {0};

    if (pid && process_use(pid, &before, &run->bench->err) < 0)
        return TOOL_NOT_FOUND;
    run->from_ns = run->last_ns = clock_mono_ns();
    run->until_ns = run->from_ns + duration_ms * 1000000;
    int r = pull(run);
    if (r != TOOL_DONE)
        return r;
    if (pid && process_use(pid, &after, &run->bench->err) < 0)
        return TOOL_NOT_FOUND;
    result.elapsed_s = result.use_elapsed_s = (double)(run->last_ns - run->from_ns) / 1e9;
    result.messages = run->messages;
    result.replies = run->answers;
    result.latency = run->latency;
    result.has_use = pid != 0;
    result.use = (struct process_use){.cpu_s = after.cpu_s - before.cpu_s,
                                      .voluntary = after.voluntary - before.voluntary,
                                      .involuntary = after.involuntary - before.involuntary};
    report(run, &result);
    return TOOL_DONE;
}

int bench_pull(struct bench *bench, const struct bench_command *command, int argc, char **argv)
{
    struct pull_run *run = calloc(1, sizeof(*run));
    int64_t connections = 1, batch = 32, duration_ms = 60000, pid = 0;
    const char *topic = BENCH_TOPIC;
    const struct option_spec specs[] = {
        BENCH_SERVER_OPTIONS(bench),
        {"topic", 't', OPTION_TEXT, &topic, "NAME", "default " BENCH_TOPIC, 0, 0},
        {"connections", 'c', OPTION_NUMBER, &connections, "N",
         "connections to each broker, its queues are dealt out to them; default 1", 1, 1024},
        {"batch", 'b', OPTION_NUMBER, &batch, "N", "messages asked for in a pull; default 32", 1,
         1024},
        {"duration", 'd', OPTION_MILLIS, &duration_ms, "SECONDS", "stop after; default 60", 1,
         LOAD_TIME_MAX_MS},
        {"pid", 0, OPTION_NUMBER, &pid, "PID", "also measure this process (the broker)", 1,
         INT32_MAX},
        BENCH_COMMON_OPTIONS(bench),
    };
    struct client *client = NULL;
    struct route route = {0};
    int r;

    if (!run)
        return err_say(&bench->err, TOOL_REFUSED, "out of memory");
    run->bench = bench;
    r = bench_parse(bench, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv);
    if (r == BENCH_GO_ON) {
        run->topic = topic;
        run->batch = batch;
        r = client_check_topic(topic, &bench->err);
        if (r == TOOL_DONE)
            r = client_new(&client, bench->names, !bench->allow_remote, &bench->err);
        if (r == TOOL_DONE)
            r = client_route(client, topic, &route, &bench->err);
        if (r == TOOL_DONE)
            r = prepare(run, client, &route, (unsigned)connections);
        if (r == TOOL_DONE)
            r = measure(run, (pid_t)pid, duration_ms);
    }
    for (unsigned i = 0; i < run->conn_count; i++)
        link_close(&run->conns[i].link);
    free(run->conns);
    free(run->queues);
    free(run->polls);
    free(run);
    route_destroy(&route);
    client_free(client);
    return r;
}
