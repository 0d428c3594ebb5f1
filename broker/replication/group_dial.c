/* group_dial.c - see group_dial.h. */
#include "broker/replication/group_dial.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/codes.h"
#include "common/dial.h"
#include "common/log.h"
#include "common/rpc.h"

enum {
    GREET_MS = 2000,
    LASTED_MS = 1000,
    SAID_AFTER_MS = 250, /* a member that begins again is back before */
};

struct group_dial {
    struct group_dial_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* monotonic */
    bool linked, stop;   /* lock */
    int64_t linked_ms;   /* lock */
    int cancel_fd;       /* readable: to stop */
    /* The thread's own. */
    struct rpc *rpc;
    int64_t wait_ms;
    int64_t failed_ms; /* the first of the failures since the last success, or 0 */
    bool said;
};

/* Until the link is wanted and the wait is over; true: to stop. */
static bool wait_for_turn(struct group_dial *d)
{
    int64_t due = clock_mono_ms() + d->wait_ms;
    bool stop;

    pthread_mutex_lock(&d->lock);
    if (d->linked) {
        while (!d->stop && d->linked)
            pthread_cond_wait(&d->wake, &d->lock);
        /* Lost. One that had lasted is made again at once. */
        d->wait_ms = clock_mono_ms() - d->linked_ms >= LASTED_MS ? 0 : (int64_t)DIAL_RETRY_FIRST_MS;
        due = clock_mono_ms() + d->wait_ms;
    }
    while (!d->stop) {
        struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};

        if (clock_mono_ms() >= due ||
            pthread_cond_timedwait(&d->wake, &d->lock, &until) == ETIMEDOUT)
            break;
    }
    stop = d->stop;
    pthread_mutex_unlock(&d->lock);
    return stop;
}

static int greet(struct group_dial *d, struct err *err)
{
    const struct group_greeting *g = &d->options.greeting;
    char from[24], copies[24], segment[24], version[24], count[24];
    struct rpc_field fields[] = {
        {"clusterName", g->cluster}, {"brokerName", g->broker_name}, {"memberId", from},
        {"copies", copies},          {"segmentBytes", segment},      {"version", version},
        {"members", count},
    };
    struct rpc_request request = {.code = REQUEST_TERN_GROUP_GREET,
                                  .fields = fields,
                                  .field_count = sizeof(fields) / sizeof(fields[0])};
    struct remoting_frame reply;
    int r;

    snprintf(from, sizeof(from), "%" PRId64, g->from);
    snprintf(copies, sizeof(copies), "%" PRId64, g->copies);
    snprintf(segment, sizeof(segment), "%" PRId64, g->segment_bytes);
    snprintf(version, sizeof(version), "%" PRId64, g->version);
    snprintf(count, sizeof(count), "%" PRId64, g->count);
    if (!d->rpc) {
        r = rpc_new(&d->rpc, d->options.to.address, err);
        if (r < 0)
            return r;
        rpc_cancel_by(d->rpc, d->cancel_fd);
    }
    r = rpc_call(d->rpc, &request, GREET_MS, &reply, err);
    if (r == 0 && reply.code != RESPONSE_SUCCESS)
        r = err_say(err, -EPROTO, "it answers code %d: %.*s", reply.code,
                    (int)(reply.remark.len < 200 ? reply.remark.len : 200),
                    (const char *)reply.remark.at);
    return r;
}

/* Bytes that a peer does not take, or acknowledge, for so long end the connection: after a cut the
 * system alone would try for a quarter of an hour, less and less often. */
static void bound_silence(const struct group_dial *d, int fd)
{
    unsigned ms = (unsigned)(d->options.silent_ms * 2);

    if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)) < 0)
        log_warn_limited("group", "TCP_USER_TIMEOUT: %s", strerror(errno));
}

static void link_up(struct group_dial *d)
{
    struct err err = {0};
    int fd = -1, r = greet(d, &err);

    if (r == 0) {
        fd = rpc_take_fd(d->rpc);
        if (fd < 0)
            r = err_say(&err, -EPROTO, "more than an answer came");
    }
    if (r < 0) {
        if (d->failed_ms == 0)
            d->failed_ms = clock_mono_ms();
        if (!d->said && r != -ECANCELED && clock_mono_ms() - d->failed_ms >= SAID_AFTER_MS) {
            d->said = true;
            log_warn("member %u at %s cannot be greeted: %s; trying again",
                     (unsigned)d->options.to.id, d->options.to.address, err.text);
        }
        d->rpc = rpc_free(d->rpc);
        d->wait_ms =
            d->wait_ms * 2 < DIAL_RETRY_FIRST_MS ? (int64_t)DIAL_RETRY_FIRST_MS : d->wait_ms * 2;
        if (d->wait_ms > DIAL_RETRY_MAX_MS)
            d->wait_ms = DIAL_RETRY_MAX_MS;
        return;
    }
    if (d->said)
        log_info("member %u at %s answers", (unsigned)d->options.to.id, d->options.to.address);
    d->said = false;
    d->failed_ms = 0;
    d->rpc = rpc_free(d->rpc);
    bound_silence(d, fd);
    pthread_mutex_lock(&d->lock);
    d->linked = true;
    d->linked_ms = clock_mono_ms();
    pthread_mutex_unlock(&d->lock);
    if (!d->options.on_link(d->options.ctx, d->options.to.id, fd)) {
        group_dial_lost(d);
        d->wait_ms = DIAL_RETRY_FIRST_MS;
    }
}

static void *dial_main(void *arg)
{
    struct group_dial *d = arg;

    while (!wait_for_turn(d))
        link_up(d);
    d->rpc = rpc_free(d->rpc);
    return NULL;
}

int group_dial_new(struct group_dial **out, const struct group_dial_options *options,
                   struct err *err)
{
    struct group_dial *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return err_set(err, -ENOMEM, "link to member %u", (unsigned)options->to.id);
    d->options = *options;
    d->cancel_fd = r = dial_cancel_new(err);
    if (r < 0) {
        free(d);
        return r;
    }
    pthread_mutex_init(&d->lock, NULL);
    clock_cond_init(&d->wake);
    r = -pthread_create(&d->thread, NULL, dial_main, d);
    if (r < 0) {
        pthread_cond_destroy(&d->wake);
        pthread_mutex_destroy(&d->lock);
        close(d->cancel_fd);
        free(d);
        return err_set(err, r, "start the thread that dials member %u", (unsigned)options->to.id);
    }
    *out = d;
    return 0;
}

void group_dial_lost(struct group_dial *d)
{
    pthread_mutex_lock(&d->lock);
    d->linked = false;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

void group_dial_stop(struct group_dial *d)
{
    bool stopped;

    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    stopped = d->stop;
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (stopped)
        return;
    dial_cancel(d->cancel_fd);
    pthread_join(d->thread, NULL);
}

struct group_dial *group_dial_free(struct group_dial *d)
{
    if (!d)
        return NULL;
    group_dial_stop(d);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    close(d->cancel_fd);
    free(d);
    return NULL;
}
