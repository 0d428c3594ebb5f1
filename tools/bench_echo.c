/* bench_echo.c - the echo server, and the load against it: "the wire".
 *
 * It runs the broker's event loops and connections (common/loop.h, common/conn.h) with the broker's
 * settings for threads and polling, and answers each send with the reply a broker would give: same
 * fields, same writer, one id for each message of a batch. There is no store behind it.
 */
#include "tools/bench.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/conn.h"
#include "common/log.h"
#include "tools/echo_reply.h"

enum { CONNECTIONS_MAX = 20000, IO_THREADS_MAX = LOOP_MAX };

/* ---- the server ---- */

struct echo_server {
    struct loop *loops[IO_THREADS_MAX];
    struct echo_state states[IO_THREADS_MAX]; /* by loop: nothing is shared */
    unsigned loop_count;
    pthread_t threads[IO_THREADS_MAX];
    unsigned thread_count;
    struct listener *listener;
};

static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct echo_server *server = ctx;

    if (remoting_is_oneway(frame))
        return;
    echo_reply(&server->states[loop_index(conn_loop(c))], frame, conn_out(c));
    conn_written(c);
}

static void on_stop(void *ctx)
{
    struct echo_server *server = ctx;

    for (unsigned i = 0; i < server->loop_count; i++)
        loop_stop(server->loops[i]);
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

/* As the broker: one up to four cores, then a quarter of them. */
static unsigned io_threads(int64_t wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted > 0)
        return (unsigned)wanted;
    if (cores <= 4)
        return 1;
    return cores / 4 > IO_THREADS_MAX ? IO_THREADS_MAX : (unsigned)(cores / 4);
}

static int open_server(struct echo_server *s, const struct bench_echo_options *options,
                       struct err *err)
{
    static const struct remoting_handler handler = {.request = on_request};
    unsigned count = io_threads(options->io_threads);
    int r = 0;

    for (; s->loop_count < count && r == 0; s->loop_count += r == 0) {
        struct loop_options lo = {.index = s->loop_count,
                                  .busy_poll_micros = (unsigned)options->busy_poll_us};
        r = loop_new(&s->loops[s->loop_count], &lo, err);
    }
    if (r < 0)
        return r;
    struct listener_options listen = {.address = "127.0.0.1",
                                      .port = (uint16_t)options->port,
                                      .loops = s->loops,
                                      .loop_count = s->loop_count,
                                      .remoting = &handler,
                                      .ctx = s,
                                      .connections_max = CONNECTIONS_MAX};
    r = listener_new(&s->listener, &listen, err);
    if (r < 0)
        return r;
    r = loop_on_stop_signals(s->loops[0], on_stop, s);
    return r < 0 ? err_set(err, r, "catch SIGTERM, SIGINT and SIGHUP") : 0;
}

static int announce(const struct echo_server *s, int ready_fd, struct err *err)
{
    char text[64];
    int len;

    if (ready_fd < 0) {
        printf("echo server on 127.0.0.1:%u, %u event loops\n", listener_port(s->listener),
               s->loop_count);
        fflush(stdout);
        return 0;
    }
    len = snprintf(text, sizeof(text), "%u\n", listener_port(s->listener));
    return write(ready_fd, text, (size_t)len) == len ? 0 : err_set(err, -EIO, "tell the port");
}

int bench_echo_serve(const struct bench_echo_options *options, int ready_fd, struct err *err)
{
    struct echo_server *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return err_say(err, TOOL_REFUSED, "out of memory");
    r = open_server(s, options, err);
    for (unsigned i = 1; r == 0 && i < s->loop_count; i++) {
        r = -pthread_create(&s->threads[i], NULL, run_loop, s->loops[i]);
        if (r < 0)
            err_set(err, r, "start event loop %u", i);
        else
            s->thread_count = i;
    }
    if (r == 0)
        r = announce(s, ready_fd, err);
    if (r == 0)
        r = loop_run(s->loops[0]);
    on_stop(s);
    for (unsigned i = 1; i <= s->thread_count; i++)
        pthread_join(s->threads[i], NULL);
    listener_free(s->listener);
    for (unsigned i = 0; i < s->loop_count; i++)
        loop_free(s->loops[i]);
    free(s);
    return r == 0 ? TOOL_DONE : TOOL_REFUSED;
}

/* ---- as a child process ---- */

static void child_main(const struct bench_echo_options *options, int ready_fd, pid_t parent)
{
    struct err err = {0};
    int status;

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(TOOL_REFUSED); /* it ended before the line above */
    log_set_level(LOG_LEVEL_WARN);
    signal(SIGPIPE, SIG_IGN);
    status = bench_echo_serve(options, ready_fd, &err);
    if (status != TOOL_DONE)
        bench_note("echo server: %s", err.text);
    _exit(status);
}

int bench_echo_start(struct bench_echo *echo, const struct bench_echo_options *options,
                     struct err *err)
{
    pid_t parent = getpid();
    char text[16] = "";
    int fds[2];
    ssize_t n;

    if (pipe(fds) < 0)
        return err_say(err, TOOL_REFUSED, "pipe: %s", strerror(errno));
    fflush(NULL);
    echo->pid = fork();
    if (echo->pid < 0) {
        echo->pid = 0;
        close(fds[0]);
        close(fds[1]);
        return err_say(err, TOOL_REFUSED, "fork: %s", strerror(errno));
    }
    if (echo->pid == 0) {
        close(fds[0]);
        child_main(options, fds[1], parent);
    }
    close(fds[1]);
    do {
        n = read(fds[0], text, sizeof(text) - 1);
    } while (n < 0 && errno == EINTR);
    close(fds[0]);
    if (n <= 0) {
        bench_echo_stop(echo);
        return err_say(err, TOOL_REFUSED, "the echo server did not start");
    }
    snprintf(echo->address, sizeof(echo->address), "127.0.0.1:%.*s", (int)strcspn(text, "\n"),
             text);
    return TOOL_DONE;
}

void bench_echo_stop(struct bench_echo *echo)
{
    if (echo->pid <= 0)
        return;
    kill(echo->pid, SIGTERM);
    while (waitpid(echo->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    echo->pid = 0;
}

/* ---- commands ---- */

#define SERVER_OPTIONS(o)                                                                          \
    {"io-threads",                                                                                 \
     0,                                                                                            \
     OPTION_NUMBER,                                                                                \
     &(o)->io_threads,                                                                             \
     "N",                                                                                          \
     "event loops of the server; default as the broker",                                           \
     1,                                                                                            \
     IO_THREADS_MAX},                                                                              \
    {                                                                                              \
        "busy-poll", 0, OPTION_NUMBER, &(o)->busy_poll_us, "MICROS",                               \
            "its busyPollMicros; default 50, as the broker", 0, 10000                              \
    }

int bench_echo_server(struct bench *bench, const struct bench_command *command, int argc,
                      char **argv)
{
    struct bench_echo_options o = {.busy_poll_us = 50};
    const struct option_spec specs[] = {
        {"port", 0, OPTION_NUMBER, &o.port, "PORT", "default: any free one", 1, 65535},
        SERVER_OPTIONS(&o),
        BENCH_COMMON_OPTIONS(bench),
    };
    int r = bench_parse(bench, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv);

    return r == BENCH_GO_ON ? bench_echo_serve(&o, -1, &bench->err) : r;
}

static void report(struct bench *bench, const struct load_plan *plan,
                   const struct load_result *result)
{
    struct bench_case what = {"echo", plan->targets[0].address, NULL, plan};
    struct json_out j;

    if (!bench->json) {
        bench_report_text(&bench->out, &what, result);
        return;
    }
    jout_begin(&j, &bench->out);
    jout_object(&j);
    jout_kv_str(&j, "what", "echo");
    bench_plan_json(&j, plan);
    bench_report_json(&j, result);
    jout_object_end(&j);
    buf_add_str(&bench->out, "\n");
}

int bench_echo_command(struct bench *bench, const struct bench_command *command, int argc,
                       char **argv)
{
    static struct load_result result; /* too large for the stack */
    struct bench_echo_options o = {.busy_poll_us = 50};
    struct bench_load load;
    const struct option_spec specs[] = {
        BENCH_LOAD_OPTIONS(&load),
        SERVER_OPTIONS(&o),
        BENCH_COMMON_OPTIONS(bench),
    };
    struct bench_echo echo = {.pid = 0};
    struct load_target target = {.address = echo.address, .queues = BENCH_QUEUES_DEFAULT};
    struct load_plan plan;
    int r;

    bench_load_defaults(&load);
    r = bench_parse(bench, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv);
    if (r != BENCH_GO_ON)
        return r;
    r = bench_echo_start(&echo, &o, &bench->err);
    if (r != TOOL_DONE)
        return r;
    bench_load_plan(bench, &load, &plan);
    plan.targets = &target;
    plan.target_count = 1;
    plan.pid = echo.pid;
    r = load_run(&plan, &result, &bench->err);
    bench_echo_stop(&echo);
    if (r != TOOL_DONE)
        return r;
    report(bench, &plan, &result);
    return bench_judge(&result, &bench->err);
}
