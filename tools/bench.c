/* bench.c - tern-bench: finds the command, prints what it measured.
 *
 * Load is bounded in time and number, and goes to loopback addresses only unless told otherwise.
 */
#include "tools/bench.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/standard.h"
#include "tern_version.h"
#include "tools/show.h"
#include "tools/topic_admin.h"

static const struct bench_command commands[] = {
    {"send", "send messages to a topic and measure",
     "Latencies run from the write of a request to the read of its whole reply. Messages stay in\n"
     "the topic, which is made if it is missing.",
     bench_send},
    {"pull", "read a topic from its start and measure",
     "Reads what is there when it begins, or stops when the time is over. Offsets of the group "
     "are\n"
     "not stored.",
     bench_pull},
    {"echo", "measure the same load against an echo server in a child process",
     "The limit of \"the wire\": the broker's event loop and replies of the same size, and "
     "nothing\n"
     "behind them.",
     bench_echo_command},
    {"echo-server", "the echo server alone, until Ctrl-C", NULL, bench_echo_server},
    {"compare", "broker and echo server in turn, in four situations", NULL, bench_compare},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage(struct buf *out)
{
    buf_add_str(out, "usage: tern-bench COMMAND [OPTION]...\n\n");
    for (int i = 0; i < COMMANDS; i++)
        buf_addf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    buf_add_str(out, "\nEvery command takes --json, and explains itself with --help.\n"
                     "Exit status: 0 measured, 1 refused or failed, 2 wrong usage, 3 cannot be "
                     "reached, 4 not found.\n");
}

void bench_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    show_note("tern-bench", format, args);
    va_end(args);
}

int bench_parse(struct bench *bench, const struct bench_command *command,
                const struct option_spec *specs, size_t count, int argc, char **argv)
{
    int operands = 0;

    if (options_parse(specs, count, argc, argv, false, &operands, &bench->err) < 0)
        return TOOL_USAGE;
    if (bench->help) {
        buf_addf(&bench->out, "usage: tern-bench %s [OPTION]...\n%s\n\n", command->name,
                 command->summary);
        options_help(specs, count, &bench->out);
        if (command->notes)
            buf_addf(&bench->out, "\n%s\n", command->notes);
        return TOOL_DONE;
    }
    if (operands > 0)
        return err_say(&bench->err, TOOL_USAGE, "unexpected argument %s", argv[0]);
    return BENCH_GO_ON;
}

void bench_load_defaults(struct bench_load *load)
{
    *load = (struct bench_load){.connections = 1,
                                .window = 1,
                                .size = 128,
                                .batch = 1,
                                .threads = 1,
                                .warmup_ms = 1000,
                                .duration_ms = 5000};
}

void bench_load_plan(const struct bench *bench, const struct bench_load *load,
                     struct load_plan *plan)
{
    *plan = (struct load_plan){
        .topic = BENCH_TOPIC,
        .connections = (unsigned)load->connections,
        .window = (unsigned)load->window,
        .threads =
            (unsigned)(load->threads < load->connections ? load->threads : load->connections),
        .batch = (unsigned)load->batch,
        .body_bytes = (size_t)load->size,
        .oneway = load->oneway,
        .binary = load->binary,
        .only_loopback = !bench->allow_remote,
        .spin_us = (unsigned)load->spin_us,
        .warmup_ms = load->warmup_ms,
        .duration_ms = load->duration_ms,
        .count = load->count,
        .pid = (pid_t)load->pid,
    };
}

int bench_find_targets(struct bench *bench, struct client *client, const char *topic,
                       int64_t queues, struct route *route, struct load_target **targets,
                       unsigned *count)
{
    int r = topic_admin_ensure(client, topic, queues ? (int32_t)queues : BENCH_QUEUES_DEFAULT,
                               route, &bench->err);

    *targets = NULL;
    *count = 0;
    if (r != TOOL_DONE)
        return r;
    *targets = calloc(route->count + 1, sizeof(**targets));
    if (!*targets)
        return err_say(&bench->err, TOOL_REFUSED, "out of memory");
    for (size_t i = 0; i < route->count; i++) {
        const struct route_broker *b = &route->brokers[i];
        int32_t n = b->write_queues;

        if (queues && n > queues)
            n = (int32_t)queues;
        if (n > BENCH_QUEUES_MAX)
            n = BENCH_QUEUES_MAX;
        if (b->serves && (b->perm & ROUTE_WRITE) && route_master(b) && n > 0)
            (*targets)[(*count)++] = (struct load_target){route_master(b), n};
    }
    if (*count == 0)
        return err_say(&bench->err, TOOL_REFUSED, "no queue of topic %s can be written to", topic);
    return TOOL_DONE;
}

static int run(struct bench *bench, int argc, char **argv)
{
    if (argc < 2) {
        usage(&bench->out);
        fwrite(buf_at(&bench->out), 1, bench->out.len, stderr);
        buf_reset(&bench->out);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(&bench->out);
        return TOOL_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        buf_add_str(&bench->out, "tern-bench " TERN_VERSION "\n");
        return TOOL_DONE;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(bench, &commands[i], argc - 2, argv + 2);
    }
    return err_say(&bench->err, TOOL_USAGE, "unknown command %s", argv[1]);
}

int main(int argc, char **argv)
{
    struct bench bench = {.json = false};
    int status, r;

    signal(SIGPIPE, SIG_IGN);
    if (standard_hold() < 0)
        return TOOL_REFUSED;
    standard_raise_files(); /* one for each connection */
    status = run(&bench, argc, argv);
    r = standard_write(&bench.out);
    if (r < 0 && r != -EPIPE && status == TOOL_DONE)
        status = err_say(&bench.err, TOOL_REFUSED, "write to stdout: %s", strerror(-r));
    if (status != TOOL_DONE && bench.err.text[0])
        bench_note("%s", bench.err.text);
    if (status == TOOL_USAGE)
        fputs("Try: tern-bench --help\n", stderr);
    buf_destroy(&bench.out);
    return status;
}
