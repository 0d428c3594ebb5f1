/* bench.h - what the commands of tern-bench share. */
#ifndef TERN_TOOLS_BENCH_H
#define TERN_TOOLS_BENCH_H

#include "common/json_out.h"
#include "tools/load.h"
#include "tools/options.h"

struct bench {
    const char *names; /* -n */
    bool json, help, allow_remote;
    struct buf out;
    struct err err;
};

struct bench_command {
    const char *name;
    const char *summary;
    const char *notes; /* NULL: none */
    int (*run)(struct bench *bench, const struct bench_command *command, int argc, char **argv);
};

enum { BENCH_GO_ON = -1, BENCH_QUEUES_DEFAULT = 8, BENCH_QUEUES_MAX = 1024 };
#define BENCH_TOPIC "TernBench"

/* Reads options; no operands. BENCH_GO_ON or the status to return. */
int bench_parse(struct bench *bench, const struct bench_command *command,
                const struct option_spec *specs, size_t count, int argc, char **argv);
void bench_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define BENCH_COMMON_OPTIONS(bench)                                                                \
    {"json", 0, OPTION_FLAG, &(bench)->json, NULL, "print JSON", 0, 0},                            \
    {                                                                                              \
        "help", 'h', OPTION_FLAG, &(bench)->help, NULL, "print this", 0, 0                         \
    }
#define BENCH_SERVER_OPTIONS(bench)                                                                \
    {"namesrv",                                                                                    \
     'n',                                                                                          \
     OPTION_TEXT,                                                                                  \
     &(bench)->names,                                                                              \
     "ADDR[;ADDR]",                                                                                \
     "name servers; default $" CLIENT_NAMES_VARIABLE ", else " CLIENT_NAMES_DEFAULT,               \
     0,                                                                                            \
     0},                                                                                           \
    {                                                                                              \
        "allow-remote", 0, OPTION_FLAG, &(bench)->allow_remote, NULL,                              \
            "also put load on addresses that are not loopback", 0, 0                               \
    }

/* What the options of a load say, as the table wants them. */
struct bench_load {
    int64_t connections, window, size, batch, threads, spin_us, queues;
    int64_t warmup_ms, duration_ms, count, pid;
    bool oneway, binary;
};
void bench_load_defaults(struct bench_load *load);
/* The rows that send and echo have in common. */
#define BENCH_LOAD_OPTIONS(load)                                                                    \
    {"connections",                                                                                 \
     'c',                                                                                           \
     OPTION_NUMBER,                                                                                 \
     &(load)->connections,                                                                          \
     "N",                                                                                           \
     "connections; default 1",                                                                      \
     1,                                                                                             \
     LOAD_CONNECTIONS_MAX},                                                                         \
        {"window",                                                                                  \
         'w',                                                                                       \
         OPTION_NUMBER,                                                                             \
         &(load)->window,                                                                           \
         "N",                                                                                       \
         "requests in flight on each connection; default 1",                                        \
         1,                                                                                         \
         LOAD_WINDOW_MAX},                                                                          \
        {"size", 's',     OPTION_NUMBER, &(load)->size, "BYTES", "body of a message; default 128",  \
         0,      12 << 20},                                                                         \
        {"batch",                                                                                   \
         'b',                                                                                       \
         OPTION_NUMBER,                                                                             \
         &(load)->batch,                                                                            \
         "N",                                                                                       \
         "messages in a request; default 1",                                                        \
         1,                                                                                         \
         FRAME_BATCH_MAX},                                                                          \
        {"oneway", 0, OPTION_FLAG, &(load)->oneway, NULL, "requests without replies", 0, 0},        \
        {"binary", 0, OPTION_FLAG, &(load)->binary, NULL, "binary headers instead of JSON", 0, 0},  \
        {"duration",                                                                                \
         'd',                                                                                       \
         OPTION_MILLIS,                                                                             \
         &(load)->duration_ms,                                                                      \
         "SECONDS",                                                                                 \
         "time to measure; default 5",                                                              \
         1,                                                                                         \
         LOAD_TIME_MAX_MS},                                                                         \
        {"count",       0, OPTION_NUMBER, &(load)->count, "N", "stop earlier, after N messages", 1, \
         LOAD_COUNT_MAX},                                                                           \
        {"warmup",                                                                                  \
         0,                                                                                         \
         OPTION_MILLIS,                                                                             \
         &(load)->warmup_ms,                                                                        \
         "SECONDS",                                                                                 \
         "load before measuring; default 1",                                                        \
         0,                                                                                         \
         600 * 1000},                                                                               \
        {"threads",                                                                                 \
         0,                                                                                         \
         OPTION_NUMBER,                                                                             \
         &(load)->threads,                                                                          \
         "N",                                                                                       \
         "threads that make the load; default 1",                                                   \
         1,                                                                                         \
         LOAD_THREADS_MAX},                                                                         \
    {                                                                                               \
        "spin", 0, OPTION_NUMBER, &(load)->spin_us, "MICROS",                                       \
            "poll for so long before sleeping; default 0", 0, 10000                                 \
    }
void bench_load_plan(const struct bench *bench, const struct bench_load *load,
                     struct load_plan *plan);

/* The masters of the topic, which is made if it is missing; targets borrow from *route, both are
 * the caller's to free. Two values of `queues`: 0 leaves all queues of the topic. */
int bench_find_targets(struct bench *bench, struct client *client, const char *topic,
                       int64_t queues, struct route *route, struct load_target **targets,
                       unsigned *count);

/* An echo server in a child process: it ends with this one. */
struct bench_echo {
    pid_t pid; /* 0: none */
    char address[32];
};
struct bench_echo_options {
    int64_t port, io_threads, busy_poll_us;
};
int bench_echo_start(struct bench_echo *echo, const struct bench_echo_options *options,
                     struct err *err);
void bench_echo_stop(struct bench_echo *echo);
/* Serves until SIGTERM or SIGINT. `ready_fd`: the port is written there; -1: it is printed. */
int bench_echo_serve(const struct bench_echo_options *options, int ready_fd, struct err *err);

/* bench_report.c */

struct bench_case {
    const char *title; /* "broker", "echo" */
    const char *address;
    const char *topic;
    const struct load_plan *plan;
};
void bench_report_text(struct buf *out, const struct bench_case *what,
                       const struct load_result *result);
/* The members of an object that the caller opens and closes. */
void bench_report_json(struct json_out *j, const struct load_result *result);
void bench_plan_json(struct json_out *j, const struct load_plan *plan);
/* The status of a run: failed when nothing was accepted, or replies never came. */
int bench_judge(const struct load_result *result, struct err *err);
/* "12.3 us", "4.56 ms" */
enum { BENCH_TIME_MAX = 32 };
char *bench_time(char to[BENCH_TIME_MAX], double ns);
/* "1,234,567" */
char *bench_count(char to[BENCH_TIME_MAX], double n);
double bench_rate(const struct load_result *result);
double bench_cpu_us(const struct load_result *result); /* of the server, per message; 0: unknown */

int bench_send(struct bench *bench, const struct bench_command *command, int argc, char **argv);
int bench_echo_command(struct bench *bench, const struct bench_command *command, int argc,
                       char **argv);
int bench_echo_server(struct bench *bench, const struct bench_command *command, int argc,
                      char **argv);
int bench_pull(struct bench *bench, const struct bench_command *command, int argc, char **argv);
int bench_compare(struct bench *bench, const struct bench_command *command, int argc, char **argv);

#endif
