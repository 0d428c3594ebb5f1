/* durable.c - answers that wait for the metadata journal: see durable.h. */
#include "broker/durable.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/registrar.h"
#include "broker/replication/replication.h"
#include "common/clock.h"
#include "common/log.h"

struct durable_wait {
    struct durable_wait *next;
    struct broker *broker;
    struct reply_to to;
    struct buf reply; /* the whole answer; empty: a plain success */
    uint64_t sequence;
    uint64_t registration; /* registrar_changed() number to wait for afterwards; 0: none */
    int64_t due_ms;        /* monotonic: copies are waited for until then; 0: there are none */
    bool late;             /* it was due, and there were not enough */
};

struct durable {
    struct broker *broker;
    struct loop_timer timer; /* of the first loop */
    pthread_mutex_t lock;
    struct durable_wait *first; /* in no order: there are few */
    unsigned count;
    bool refusing; /* under the lock: nobody is waited for until this broker leads again */
};

struct durable *durable_new(struct broker *b)
{
    struct durable *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->broker = b;
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void free_wait(struct durable_wait *wait)
{
    buf_destroy(&wait->reply);
    free(wait);
}

struct durable *durable_free(struct durable *d)
{
    if (!d)
        return NULL;
    while (d->first) {
        struct durable_wait *wait = d->first;

        d->first = wait->next;
        free_wait(wait);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
    return NULL;
}

static void answer_code(struct durable_wait *wait, int32_t code, const char *remark)
{
    struct buf out = {0};
    struct remoting_writer w;

    if (!wait->to.oneway) {
        reply_begin(&w, &out, &wait->to, code, bytes_str(remark), false);
        remoting_end(&w);
        if (!out.failed)
            broker_send(wait->broker, wait->to.conn, buf_bytes(&out));
        buf_destroy(&out);
    }
    broker_owes_no_more(wait->broker, wait->to.conn);
    free_wait(wait);
}

/* The last step, on whatever thread got there. */
static void answer(void *ctx)
{
    struct durable_wait *wait = ctx;

    if (wait->reply.len > 0) {
        broker_send(wait->broker, wait->to.conn, buf_bytes(&wait->reply));
        wait->to.oneway = true; /* nothing more */
    }
    answer_code(wait, RESPONSE_SUCCESS, NULL);
}

static void stored(struct durable_wait *wait)
{
    if (wait->registration == 0 ||
        registrar_when(wait->broker->registrar, wait->registration, answer, wait) < 0)
        answer(wait);
}

/* Stored here, and its time to get on other members is up. */
static void answer_late(struct durable_wait *wait)
{
    const struct broker_config *c = &wait->broker->settings->config;
    unsigned copies = replication_copies(wait->broker->replication);
    char remark[160];

    if (c->replica_ack == REPLICA_ACK_STRICT) {
        snprintf(remark, sizeof(remark),
                 "the change is stored here, but not on %u members after %lld ms (slaveTimeout): a "
                 "promotion may undo it",
                 copies, (long long)c->slave_timeout);
        answer_code(wait, RESPONSE_SERVICE_NOT_AVAILABLE, remark);
        return;
    }
    log_warn_limited("copies of the metadata",
                     "changes of topics, groups or locks are answered though they are not on %u "
                     "members after %lld ms (slaveTimeout, replicaAck=rocketmq): a promotion may "
                     "undo them",
                     copies, (long long)c->slave_timeout);
    stored(wait);
}

/* Answers what is ready; when the next wait is due, INT64_MAX: none. */
static int64_t examine(struct durable *d)
{
    uint64_t durable = metadata_durable(d->broker->metadata);
    uint64_t kept = replication_metadata_kept(d->broker->replication);
    struct durable_wait *ready = NULL;
    struct durable_wait **at;
    int64_t now = clock_mono_ms(), next = INT64_MAX;

    pthread_mutex_lock(&d->lock);
    at = &d->first;
    while (*at) {
        struct durable_wait *wait = *at;
        bool due = wait->due_ms != 0 && wait->due_ms <= now;

        wait->late = wait->sequence > kept;
        if (wait->late && !(due && wait->sequence <= durable)) {
            /* One that is due waits for the disk here: its move is told. */
            if (wait->due_ms != 0 && !due && wait->due_ms < next)
                next = wait->due_ms;
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        wait->next = ready;
        ready = wait;
        d->count--;
    }
    pthread_mutex_unlock(&d->lock);
    while (ready) {
        struct durable_wait *wait = ready;

        ready = wait->next;
        if (wait->late)
            answer_late(wait);
        else
            stored(wait);
    }
    return next;
}

void durable_moved(void *durable)
{
    struct durable *d = durable;

    if (d->broker->metadata) /* else still opening */
        (void)examine(d);
}

/* On the first loop: the timer, or somebody began to wait for copies. */
static void on_time(void *ctx)
{
    struct durable *d = ctx;
    int64_t next = examine(d);

    if (next != INT64_MAX && loop_timer_set(&d->timer, next) < 0)
        log_warn_limited("copies of the metadata",
                         "no memory for a timer: answers to changes wait for their copies");
}

void durable_start(struct durable *d, struct loop *loop)
{
    loop_timer_init(&d->timer, loop, on_time, d);
    loop_on_signal(loop, BROKER_SIGNAL_DURABLE, on_time, d);
}

static const char refused[] = "this broker is not the master any more; the change may be undone";

void durable_lead(struct durable *d)
{
    pthread_mutex_lock(&d->lock);
    d->refusing = false;
    pthread_mutex_unlock(&d->lock);
}

void durable_refuse(struct durable *d)
{
    struct durable_wait *wait, *next;

    pthread_mutex_lock(&d->lock);
    d->refusing = true; /* also who has made his change and is about to wait */
    wait = d->first;
    d->first = NULL;
    d->count = 0;
    pthread_mutex_unlock(&d->lock);
    for (; wait; wait = next) {
        next = wait->next;
        answer_code(wait, RESPONSE_SERVICE_NOT_AVAILABLE, refused);
    }
}

/* `reply` is taken over when it returns CALL_LATER. */
static enum call_result wait_for(struct call *call, uint64_t sequence, uint64_t registration,
                                 struct buf *reply)
{
    struct broker *b = call->broker;
    struct durable *d = b->durable;
    struct durable_wait *wait = malloc(sizeof(*wait));
    bool copies = replication_is_member(b->replication) && replication_copies(b->replication) > 1;
    bool full;

    if (!wait)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    *wait = (struct durable_wait){
        .broker = b,
        .to = call->to,
        .sequence = sequence,
        .registration = registration,
        .due_ms = copies ? clock_mono_ms() + b->settings->config.slave_timeout : 0,
    };
    if (!broker_owes(b, call->to.conn)) {
        free(wait);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    }
    pthread_mutex_lock(&d->lock);
    full = d->count == DURABLE_WAITS_MAX;
    if (full || d->refusing) {
        pthread_mutex_unlock(&d->lock);
        broker_owes_no_more(b, call->to.conn);
        free(wait);
        return full ? call_error(call, RESPONSE_SYSTEM_BUSY,
                                 "the change is made, but too many requests wait for the metadata "
                                 "journal")
                    : call_error(call, RESPONSE_SERVICE_NOT_AVAILABLE, refused);
    }
    if (reply) {
        wait->reply = *reply;
        *reply = (struct buf){0};
    }
    wait->next = d->first;
    d->first = wait;
    d->count++;
    pthread_mutex_unlock(&d->lock);
    /* The journal may have moved before we were on the list. */
    if (replication_metadata_kept(b->replication) >= sequence)
        durable_moved(d);
    else if (copies)
        loop_signal(b->loops[0], BROKER_SIGNAL_DURABLE);
    return CALL_LATER;
}

enum call_result call_ok_when_durable(struct call *call, uint64_t sequence, bool registered)
{
    return wait_for(call, sequence, registered ? registrar_changed(call->broker->registrar) : 0,
                    NULL);
}

enum call_result call_reply_when_durable(struct call *call, uint64_t sequence, struct buf *reply)
{
    return wait_for(call, sequence, 0, reply);
}
