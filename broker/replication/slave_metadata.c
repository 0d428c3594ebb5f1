/* slave_metadata.c - see slave_metadata.h. */
#include "broker/replication/slave_metadata.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/codes.h"
#include "common/dial.h"
#include "common/log.h"

enum {
    ASK_MS = 5000,
    RETRY_MS = 1000, /* at least, after a look that failed */
    JOURNAL_MS = 20, /* between looks whether the journal takes more */
    VIP_BELOW = 2,   /* the other port lies so many below the main one */
    ADDRESS_MAX = 320,
};

struct slave_metadata {
    struct slave_metadata_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;      /* monotonic */
    bool called, stop;        /* lock */
    int cancel_fd;            /* readable: to stop */
    _Atomic int64_t taken_ms; /* monotonic; 0: never */
    /* The thread's own. */
    struct rpc *main, *vip;
    bool failing;
};

static bool stopping(struct slave_metadata *s)
{
    bool stop;

    pthread_mutex_lock(&s->lock);
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

/* Until it is called, or the time; true: called. */
static bool sleep_until(struct slave_metadata *s, int64_t due_ms, bool listen)
{
    struct timespec until = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};
    bool called;

    pthread_mutex_lock(&s->lock);
    while (!s->stop && !(listen && s->called)) {
        if (pthread_cond_timedwait(&s->wake, &s->lock, &until) == ETIMEDOUT)
            break;
    }
    called = s->called;
    if (listen)
        s->called = false;
    pthread_mutex_unlock(&s->lock);
    return called;
}

/* --- the two ports --- */

static int use(struct slave_metadata *s, struct rpc **rpc, const char *address, struct err *err)
{
    int r;

    if (*rpc && strcmp(rpc_address(*rpc), address) == 0)
        return 0;
    *rpc = rpc_free(*rpc);
    r = rpc_new(rpc, address, err);
    if (r == 0)
        rpc_cancel_by(*rpc, s->cancel_fd);
    return r;
}

static int find_ports(struct slave_metadata *s, struct err *err)
{
    char main[ADDRESS_MAX], vip[ADDRESS_MAX];
    int r;

    if (!s->options.find_master(s->options.ctx, main, sizeof(main)))
        return err_say(err, -EAGAIN, "no master is known yet");
    r = use(s, &s->main, main, err);
    if (r == 0)
        r = use(s, &s->vip, dial_below(main, VIP_BELOW, vip, sizeof(vip)) ? vip : main, err);
    return r;
}

static int ask(struct rpc *rpc, int32_t code, struct remoting_frame *reply, struct err *err)
{
    struct rpc_request request = {.code = code};
    int r = rpc_call(rpc, &request, ASK_MS, reply, err);

    if (r == 0 && reply->code != RESPONSE_SUCCESS)
        r = err_say(err, -EPROTO, "master %s answers request %d with code %d", rpc_address(rpc),
                    code, reply->code);
    return r;
}

/* --- taking in --- */

typedef int follow_fn(struct slave_metadata *s, struct bytes body, struct metadata_followed *out,
                      struct err *err);

static int follow_topics(struct slave_metadata *s, struct bytes body, struct metadata_followed *out,
                         struct err *err)
{
    struct topics_mark before, after;
    int r;

    metadata_topics_mark(s->options.metadata, &before);
    r = metadata_follow_topics(s->options.metadata, body, out, err);
    metadata_topics_mark(s->options.metadata, &after);
    if (after.change != before.change)
        s->options.on_topics(s->options.ctx);
    return r;
}

static int follow_groups(struct slave_metadata *s, struct bytes body, struct metadata_followed *out,
                         struct err *err)
{
    return metadata_follow_groups(s->options.metadata, body, out, err);
}

static int follow_offsets(struct slave_metadata *s, struct bytes body,
                          struct metadata_followed *out, struct err *err)
{
    return metadata_follow_offsets(s->options.metadata, body, out, err);
}

static int follow_delays(struct slave_metadata *s, struct bytes body, struct metadata_followed *out,
                         struct err *err)
{
    return metadata_follow_delays(s->options.metadata, body, out, err);
}

/* One table: asked for, taken in; the journal may need time for many changes. */
static int follow(struct slave_metadata *s, struct rpc *rpc, int32_t code, follow_fn *take,
                  struct err *err)
{
    struct metadata_followed followed;
    struct remoting_frame reply;
    int r = ask(rpc, code, &reply, err);

    if (r < 0)
        return r;
    while ((r = take(s, reply.body, &followed, err)) == -EAGAIN && !stopping(s))
        (void)sleep_until(s, clock_mono_ms() + JOURNAL_MS, false);
    if (followed.refused > 0)
        log_warn_limited("what the master has",
                         "master %s: %llu entries of its answer to request %d are left out; the "
                         "first: %s",
                         rpc_address(rpc), (unsigned long long)followed.refused, code,
                         followed.first_refused);
    if (r < 0)
        err_add(err, " (request %d to %s)", code, rpc_address(rpc));
    return r;
}

/* --- a look --- */

static void keep_first(struct err *first, const struct err *err, int r)
{
    if (r < 0 && first->code == 0) {
        *first = *err;
        first->code = r;
    }
}

static int look(struct slave_metadata *s, struct err *first)
{
    struct ha_master_log log;
    struct err err = {0};
    int r;

    r = follow(s, s->vip, REQUEST_GET_ALL_TOPIC_CONFIG, follow_topics, &err);
    if (r < 0 && r != -EBADMSG && s->vip != s->main) /* a firewall may know the main port only */
        r = follow(s, s->main, REQUEST_GET_ALL_TOPIC_CONFIG, follow_topics, &err);
    keep_first(first, &err, r);
    if (!stopping(s)) {
        r = follow(s, s->main, REQUEST_GET_ALL_CONSUMER_OFFSET, follow_offsets, &err);
        keep_first(first, &err, r);
    }
    if (!stopping(s)) {
        r = follow(s, s->main, REQUEST_GET_ALL_DELAY_OFFSET, follow_delays, &err);
        keep_first(first, &err, r);
    }
    if (!stopping(s)) {
        r = follow(s, s->main, REQUEST_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, follow_groups, &err);
        keep_first(first, &err, r);
    }
    if (!stopping(s)) {
        r = ha_ask_log(s->main, ASK_MS, &log, &err);
        if (r == 0)
            s->options.on_log(s->options.ctx, &log);
        keep_first(first, &err, r);
    }
    return first->code;
}

static void *metadata_main(void *arg)
{
    struct slave_metadata *s = arg;

    while (!stopping(s)) {
        int64_t began = clock_mono_ms(), next = began + s->options.interval_ms;
        struct err err = {0};
        int r = find_ports(s, &err);

        if (r == 0)
            r = look(s, &err);
        if (r == 0) {
            atomic_store(&s->taken_ms, clock_mono_ms());
            if (s->failing)
                log_info("master %s: topics, groups and offsets are taken over again",
                         rpc_address(s->main));
            s->failing = false;
        } else if (r != -EAGAIN && !s->failing && !stopping(s)) {
            log_warn("not all topics, groups and offsets of the master can be taken over: %s; "
                     "trying again",
                     err.text);
            s->failing = true;
        }
        /* One look for all calls that came while it was on its way; not one after the other. */
        if (r < 0 && r != -EAGAIN && s->options.interval_ms > RETRY_MS)
            (void)sleep_until(s, clock_mono_ms() + RETRY_MS, false);
        (void)sleep_until(s, next, true);
    }
    return NULL;
}

/* --- life --- */

int slave_metadata_new(struct slave_metadata **out, const struct slave_metadata_options *options,
                       struct err *err)
{
    struct slave_metadata *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return err_set(err, -ENOMEM, "follow the master's topics");
    s->options = *options;
    s->cancel_fd = r = dial_cancel_new(err);
    if (r < 0) {
        free(s);
        return r;
    }
    pthread_mutex_init(&s->lock, NULL);
    clock_cond_init(&s->wake);
    r = -pthread_create(&s->thread, NULL, metadata_main, s);
    if (r < 0) {
        pthread_cond_destroy(&s->wake);
        pthread_mutex_destroy(&s->lock);
        close(s->cancel_fd);
        free(s);
        return err_set(err, r, "start the thread that follows the master's topics");
    }
    *out = s;
    return 0;
}

void slave_metadata_stop(struct slave_metadata *s)
{
    bool stopped;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    stopped = s->stop;
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (stopped)
        return;
    dial_cancel(s->cancel_fd);
    pthread_join(s->thread, NULL);
}

struct slave_metadata *slave_metadata_free(struct slave_metadata *s)
{
    if (!s)
        return NULL;
    slave_metadata_stop(s);
    rpc_free(s->main);
    rpc_free(s->vip);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    close(s->cancel_fd);
    free(s);
    return NULL;
}

void slave_metadata_call(struct slave_metadata *s)
{
    pthread_mutex_lock(&s->lock);
    s->called = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

int64_t slave_metadata_age_ms(struct slave_metadata *s)
{
    int64_t taken = atomic_load(&s->taken_ms);

    return taken == 0 ? -1 : clock_mono_ms() - taken;
}
