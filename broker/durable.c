/* durable.c - answers that wait for the metadata journal: see durable.h. */
#include "broker/durable.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "broker/registrar.h"
#include "broker/replication/replication.h"

struct durable_wait {
    struct durable_wait *next;
    struct broker *broker;
    struct reply_to to;
    uint64_t sequence;
    uint64_t registration; /* registrar_changed() number to wait for afterwards; 0: none */
};

struct durable {
    struct broker *broker;
    pthread_mutex_t lock;
    struct durable_wait *first; /* in no order: there are few */
    unsigned count;
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

struct durable *durable_free(struct durable *d)
{
    if (!d)
        return NULL;
    while (d->first) {
        struct durable_wait *wait = d->first;

        d->first = wait->next;
        free(wait);
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
    atomic_fetch_sub(&wait->broker->owed, 1);
    free(wait);
}

/* The last step, on whatever thread got there. */
static void answer(void *ctx)
{
    answer_code(ctx, RESPONSE_SUCCESS, NULL);
}

static void stored(struct durable_wait *wait)
{
    if (wait->registration == 0 ||
        registrar_when(wait->broker->registrar, wait->registration, answer, wait) < 0)
        answer(wait);
}

void durable_moved(void *durable)
{
    struct durable *d = durable;
    struct durable_wait *ready = NULL;
    struct durable_wait **at;
    uint64_t mark;

    if (!d->broker->metadata)
        return; /* still opening */
    mark = replication_metadata_kept(d->broker->replication);
    pthread_mutex_lock(&d->lock);
    at = &d->first;
    while (*at) {
        struct durable_wait *wait = *at;

        if (wait->sequence > mark) {
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
        stored(wait);
    }
}

void durable_refuse(struct durable *d)
{
    struct durable_wait *wait, *next;

    pthread_mutex_lock(&d->lock);
    wait = d->first;
    d->first = NULL;
    d->count = 0;
    pthread_mutex_unlock(&d->lock);
    for (; wait; wait = next) {
        next = wait->next;
        answer_code(wait, RESPONSE_SERVICE_NOT_AVAILABLE,
                    "this broker is not the master any more; the change may be undone");
    }
}

enum call_result call_ok_when_durable(struct call *call, uint64_t sequence, bool registered)
{
    struct broker *b = call->broker;
    struct durable *d = b->durable;
    struct durable_wait *wait;

    wait = malloc(sizeof(*wait));
    if (!wait)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    *wait = (struct durable_wait){
        .broker = b,
        .to = call->to,
        .sequence = sequence,
        .registration = registered ? registrar_changed(b->registrar) : 0,
    };
    atomic_fetch_add(&b->owed, 1);
    pthread_mutex_lock(&d->lock);
    if (d->count == DURABLE_WAITS_MAX) {
        pthread_mutex_unlock(&d->lock);
        atomic_fetch_sub(&b->owed, 1);
        free(wait);
        return call_error(
            call, RESPONSE_SYSTEM_BUSY,
            "the change is made, but too many requests wait for the metadata journal");
    }
    wait->next = d->first;
    d->first = wait;
    d->count++;
    pthread_mutex_unlock(&d->lock);
    /* The journal may have moved before we were on the list. */
    if (replication_metadata_kept(b->replication) >= sequence)
        durable_moved(d);
    return CALL_LATER;
}
