/* ctl_consume.c - ternctl consume: prints messages as they come.
 *
 * SIGINT, SIGTERM and SIGHUP write into a pipe that the consumer waits on, so that the offsets are
 * stored and the group is left before the program ends. A second one ends it at once.
 */
#include "tools/ternctl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "tools/consumer.h"
#include "tools/message.h"

enum {
    SLICE = 4096, /* what a pipe that polls as writable takes without blocking */
    WAIT_FOREVER_MS = 1000 * 1000,
    LAST_WRITE_MS = 1000,
    DEFAULT_HOUR_MS = 24 * 3600 * 1000,
};

/* The only state that a signal handler can reach. */
static int stop_pipe[2] = {-1, -1};
static volatile sig_atomic_t stopping;

struct printer {
    struct ctl *ctl;
    const char *tags;
    bool verbose, no_memory;
    int write_error; /* -errno; 0: none, or only that the reader has gone */
    int64_t max, printed;
    int64_t last_ms; /* of the last message */
    struct buf unpacked;
};

static void on_stop(int signo)
{
    int saved = errno;
    char byte = (char)signo;
    ssize_t n = write(stop_pipe[1], &byte, 1);

    (void)n;
    stopping = 1;
    errno = saved;
}

static int catch_signals(struct err *err)
{
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = (int)SA_RESETHAND};

    struct sigaction hangup;

    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
        sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGHUP, NULL, &hangup) < 0 ||
        (hangup.sa_handler != SIG_IGN && sigaction(SIGHUP, &action, NULL) < 0)) /* nohup */
        return err_say(err, TOOL_REFUSED, "catch signals: %s", strerror(errno));
    return TOOL_DONE;
}

/* ---- the sink ---- */

static int on_message(void *ctx, const struct record *record, const char *broker)
{
    struct printer *p = ctx;
    struct message_view view;

    if (message_view(&view, record, &p->unpacked) < 0) {
        p->no_memory = true;
        return CONSUMER_ENOUGH;
    }
    if (!message_has_tag(&view, p->tags))
        return CONSUMER_GO_ON; /* the broker compares hashes only */
    if (p->ctl->json)
        message_json(&view, broker, &p->ctl->out);
    else
        message_text(&view, broker, p->verbose, &p->ctl->out);
    p->printed++;
    p->last_ms = clock_mono_ms();
    return p->max > 0 && p->printed >= p->max ? CONSUMER_ENOUGH : CONSUMER_GO_ON;
}

/* One write. A reader that has stopped reading must not keep a program alive that was told to end,
 * so after the signal only as much is written as will not block. */
static ssize_t write_some(const struct buf *out)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    size_t size = out->len;

    if (stopping) {
        if (poll(&p, 1, LAST_WRITE_MS) <= 0)
            return -ETIMEDOUT;
        size = size < SLICE ? size : SLICE;
    }
    ssize_t n = write(STDOUT_FILENO, buf_at(out), size);
    return n < 0 ? -errno : n;
}

static bool on_flush(void *ctx)
{
    struct printer *p = ctx;
    struct buf *out = &p->ctl->out;

    p->no_memory |= out->failed;
    while (!out->failed && out->len) {
        ssize_t n = write_some(out);

        if (n >= 0)
            buf_consume(out, (size_t)n);
        else if (n == -EAGAIN)
            poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, LAST_WRITE_MS);
        else if (n != -EINTR) {
            if (n != -EPIPE && !stopping)
                p->write_error = (int)n;
            break;
        }
    }
    if (!p->no_memory && out->len == 0)
        return true;
    buf_reset(out);
    return false;
}

static void on_note(void *ctx, const char *text)
{
    (void)ctx;
    ctl_note("%s", text);
}

/* ---- the command ---- */

static int run(struct ctl *ctl, struct printer *p, struct consumer *c, int64_t timeout_ms)
{
    int r = TOOL_DONE;

    p->last_ms = clock_mono_ms();
    while (r == TOOL_DONE && !stopping && !consumer_ended(c)) {
        int64_t left_ms = WAIT_FOREVER_MS;

        if (timeout_ms > 0)
            left_ms = p->last_ms + timeout_ms - clock_mono_ms();
        if (left_ms <= 0)
            break;
        r = consumer_turn(c, (int)(left_ms < WAIT_FOREVER_MS ? left_ms : WAIT_FOREVER_MS),
                          stop_pipe[0], &ctl->err);
    }
    if (r == TOOL_DONE && p->no_memory)
        r = err_say(&ctl->err, TOOL_REFUSED, "out of memory");
    if (r == TOOL_DONE && p->write_error)
        r = err_say(&ctl->err, TOOL_REFUSED,
                    "write to stdout: %s; what could not be written comes again",
                    strerror(-p->write_error));
    return r;
}

static int consume(struct ctl *ctl, struct printer *p, const struct consumer_options *options,
                   int64_t timeout_ms)
{
    struct consumer *c = NULL;
    struct err leaving = {0};
    int r = catch_signals(&ctl->err);

    if (r == TOOL_DONE)
        r = consumer_new(&c, ctl->client, options, &ctl->err);
    if (r != TOOL_DONE)
        return r;
    r = run(ctl, p, c, timeout_ms);
    int left = consumer_leave(c, &leaving);
    if (r == TOOL_DONE && left != TOOL_DONE) {
        ctl->err = leaving;
        r = left;
    }
    return r;
}

static int parse_from(struct ctl *ctl, const char *text, enum consumer_from *from)
{
    if (!text)
        *from = CONSUMER_FROM_STORED;
    else if (strcmp(text, "first") == 0)
        *from = CONSUMER_FROM_FIRST;
    else if (strcmp(text, "last") == 0)
        *from = CONSUMER_FROM_LAST;
    else
        return err_say(&ctl->err, TOOL_USAGE, "--from %s: expected first or last", text);
    return TOOL_DONE;
}

int ctl_consume(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct printer p = {.ctl = ctl};
    struct consumer_options o = {
        .group = "ternctl",
        .sink = {.ctx = &p, .message = on_message, .flush = on_flush, .note = on_note}};
    const char *from = NULL;
    int64_t timeout_ms = 0;
    const struct option_spec specs[] = {
        {"group", 'g', OPTION_TEXT, &o.group, "NAME", "consumer group; default ternctl", 0, 0},
        {"from", 0, OPTION_TEXT, &from, "first|last",
         "begin at the first message that is there, or only with new ones", 0, 0},
        {"max", 'm', OPTION_NUMBER, &p.max, "N", "stop after N messages", 1, INT64_MAX},
        {"timeout", 0, OPTION_MILLIS, &timeout_ms, "SECONDS",
         "stop when no message came for so long", 1, DEFAULT_HOUR_MS},
        {"tag", 't', OPTION_TEXT, &o.tags, "EXPR", "only these tags: \"TagA || TagB\"", 0, 0},
        {"verbose", 'v', OPTION_FLAG, &p.verbose, NULL,
         "time, broker, queue, offset, tag and keys before each body", 0, 0},
        {"join", 0, OPTION_FLAG, &o.join, NULL, "also a group that other programs consume in", 0,
         0},
        CTL_COMMON_OPTIONS(ctl),
    };
    int n;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1, &n);

    if (r != CTL_GO_ON)
        return r;
    o.topic = argv[0];
    p.tags = o.tags;
    r = client_check_topic(o.topic, &ctl->err);
    if (r == TOOL_DONE)
        r = client_check_group(o.group, &ctl->err);
    if (r == TOOL_DONE)
        r = parse_from(ctl, from, &o.from);
    if (r == TOOL_DONE)
        r = consume(ctl, &p, &o, timeout_ms);
    buf_destroy(&p.unpacked);
    return r;
}
