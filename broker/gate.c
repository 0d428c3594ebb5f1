/* gate.c - replies that wait for a watermark: see gate.h. */
#include "broker/gate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/replication/replication.h"
#include "broker/send_reply.h"
#include "common/log.h"

/* As little as an answer needs. */
struct parked {
    struct gate_reply reply;
    int64_t since_ms;    /* monotonic */
    uint64_t offsets_at; /* running number of the first of its log offsets in `offsets` */
};

struct ring {
    struct parked *slots; /* grows in powers of two up to GATE_MAX, stays */
    uint32_t capacity, first, count;
    uint64_t *offsets;
    uint64_t offsets_capacity, offsets_first, offsets_next; /* running numbers */
};

struct gate {
    struct broker_loop *on;
    struct ring written, confirmed;
    struct loop_timer timer; /* for the oldest reply that waits for the disk */
    struct buf ids;          /* scratch for message ids */
    struct send_reply ready; /* the usual reply; made for the first one, when the host is known */
    bool has_ready;
};

#define SLAVE_TOO_SLOW "stored, but no slave has copied it within slaveTimeout"

enum { RING_FIRST = 1024, OFFSETS_FIRST = 4096, BATCH_OFFSETS_MAX = 1u << 20 };

static void on_timer(void *ctx)
{
    gate_release(ctx);
}

struct gate *gate_new(struct broker_loop *on)
{
    struct gate *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->on = on;
    loop_timer_init(&g->timer, on->loop, on_timer, g);
    return g;
}

static void ring_destroy(struct ring *r)
{
    free(r->slots);
    free(r->offsets);
}

struct gate *gate_free(struct gate *g)
{
    if (!g)
        return NULL;
    loop_timer_cancel(&g->timer);
    ring_destroy(&g->written);
    ring_destroy(&g->confirmed);
    buf_destroy(&g->ids);
    free(g);
    return NULL;
}

uint32_t gate_waiting(const struct gate *g)
{
    return g->written.count + g->confirmed.count;
}

static bool grow_slots(struct ring *r)
{
    uint32_t capacity = r->capacity ? r->capacity * 2 : RING_FIRST;
    struct parked *slots;

    if (capacity > GATE_MAX)
        return false;
    slots = malloc(capacity * sizeof(*slots));
    if (!slots)
        return false;
    for (uint32_t i = 0; i < r->count; i++)
        slots[i] = r->slots[(r->first + i) & (r->capacity - 1)];
    free(r->slots);
    r->slots = slots;
    r->capacity = capacity;
    r->first = 0;
    return true;
}

static bool grow_offsets(struct ring *r, uint32_t count)
{
    uint64_t used = r->offsets_next - r->offsets_first;
    uint64_t capacity = r->offsets_capacity ? r->offsets_capacity : OFFSETS_FIRST;
    uint64_t *offsets;

    while (capacity < used + count)
        capacity *= 2;
    if (capacity > BATCH_OFFSETS_MAX)
        return false;
    offsets = malloc(capacity * sizeof(*offsets));
    if (!offsets)
        return false;
    for (uint64_t n = r->offsets_first; n < r->offsets_next; n++)
        offsets[n & (capacity - 1)] = r->offsets[n & (r->offsets_capacity - 1)];
    free(r->offsets);
    r->offsets = offsets;
    r->offsets_capacity = capacity;
    return true;
}

/* Growing is part of asking, so that parking cannot fail. */
static bool ring_has_room(struct ring *r, uint32_t batch_count)
{
    if (r->count == r->capacity && !grow_slots(r))
        return false;
    if (batch_count > 1 && r->offsets_next - r->offsets_first + batch_count > r->offsets_capacity &&
        !grow_offsets(r, batch_count))
        return false;
    return true;
}

static struct ring *ring_for(struct gate *g, bool wait)
{
    return wait ? &g->confirmed : &g->written;
}

bool gate_has_room(struct gate *g, bool wait, uint32_t batch_count)
{
    return ring_has_room(ring_for(g, wait), batch_count);
}

void gate_park(struct gate *g, const struct gate_reply *reply, bool wait,
               const struct store_position *positions)
{
    struct ring *r = ring_for(g, wait);
    struct parked *p;

    assert(r->count < r->capacity);
    p = &r->slots[(r->first + r->count) & (r->capacity - 1)];
    p->reply = *reply;
    p->offsets_at = r->offsets_next;
    p->since_ms = loop_now_ms(g->on->loop);
    if (reply->count > 1) {
        for (uint32_t i = 0; i < reply->count; i++)
            r->offsets[r->offsets_next++ & (r->offsets_capacity - 1)] = positions[i].log_offset;
    }
    r->count++;
}

struct posted {
    struct gate_reply reply;
    bool wait;
};

static void refuse(struct broker *b, const struct gate_reply *reply, struct buf *out, int32_t code,
                   const char *remark)
{
    struct remoting_writer w;

    reply_begin(&w, out, &reply->to, code, bytes_str(remark), reply->kind == GATE_SEND);
    if (reply->kind == GATE_SEND) {
        remoting_put_str(&w, "MSG_REGION", b->settings->config.region_id);
        remoting_put_bool(&w, "TRACE_ON", b->settings->config.trace_on);
    }
    remoting_end(&w);
}

static void take_posted(struct loop_message *message)
{
    struct posted *posted = message->p;
    struct gate *g = message->ctx;

    if (gate_has_room(g, posted->wait, 1)) {
        gate_park(g, &posted->reply, posted->wait, NULL);
    } else {
        struct conn *c = loop_conn(g->on->loop, posted->reply.to.conn);

        if (c && !posted->reply.to.oneway) {
            refuse(g->on->broker, &posted->reply, conn_out(c), RESPONSE_SYSTEM_BUSY,
                   "too many replies wait for the disk; the message is stored");
            conn_written(c);
        }
    }
    free(posted);
}

int gate_post(struct broker *b, const struct gate_reply *reply, bool wait)
{
    unsigned index = conn_loop_index(reply->to.conn);
    struct posted *posted;
    int r;

    if (index >= b->loop_count)
        return -ENOENT;
    posted = malloc(sizeof(*posted));
    if (!posted)
        return -ENOMEM;
    posted->reply = *reply;
    posted->wait = wait;
    r = loop_post(b->loops[index], &(struct loop_message){
                                       .run = take_posted, .ctx = b->on[index].gate, .p = posted});
    if (r < 0)
        free(posted);
    return r;
}

static void make_ready(struct gate *g)
{
    const struct broker_config *c = &g->on->broker->settings->config;

    if (g->has_ready)
        return;
    send_reply_init(&g->ready, bytes_str(c->region_id), c->trace_on, &g->on->broker->host);
    g->has_ready = true;
}

static void answer(struct gate *g, struct ring *r, const struct parked *p, int32_t code,
                   const char *remark)
{
    struct broker *b = g->on->broker;
    const struct gate_reply *reply = &p->reply;
    struct conn *c;
    struct remoting_writer w;
    struct buf *out;

    if (reply->to.oneway)
        return;
    c = loop_conn(g->on->loop, reply->to.conn);
    if (!c)
        return;
    /* Whoever gives a message back knows no success but the full one. */
    if (reply->kind == GATE_BACK && code != RESPONSE_SUCCESS)
        code = RESPONSE_SYSTEM_ERROR;
    out = conn_out(c);
    make_ready(g);
    if (code == RESPONSE_SUCCESS && reply->kind == GATE_SEND && reply->count == 1 &&
        reply->to.serialize == REMOTING_JSON) {
        send_reply_write(&g->ready, out, reply->to.opaque, reply->queue_id, reply->log_offset,
                         reply->queue_offset);
        conn_written(c);
        return;
    }
    reply_begin(&w, out, &reply->to, code, bytes_str(remark), reply->kind == GATE_SEND);
    if (reply->kind == GATE_SEND) {
        char id[RECORD_ID_MAX];
        size_t len;

        remoting_put_i64(&w, "queueId", reply->queue_id);
        remoting_put_bool(&w, "TRACE_ON", b->settings->config.trace_on);
        remoting_put_str(&w, "MSG_REGION", b->settings->config.region_id);
        if (reply->count <= 1) {
            len = record_id_format(id, &b->host, (int64_t)reply->log_offset);
            remoting_put(&w, "msgId", bytes_of(id, len));
        } else {
            buf_reset(&g->ids);
            send_reply_ids(&g->ready, &g->ids, r->offsets, p->offsets_at, r->offsets_capacity - 1,
                           reply->count);
            remoting_put(&w, "msgId", buf_bytes(&g->ids));
        }
        remoting_put_i64(&w, "queueOffset", reply->queue_offset);
    }
    remoting_end(&w);
    conn_written(c);
}

static void ring_pop(struct ring *r)
{
    struct parked *p = &r->slots[r->first];

    if (p->reply.count > 1)
        r->offsets_first += p->reply.count;
    r->first = (r->first + 1) & (r->capacity - 1);
    r->count--;
}

static void release_written(struct gate *g, uint64_t watermark)
{
    struct ring *r = &g->written;

    while (r->count > 0 && r->slots[r->first].reply.log_end <= watermark) {
        answer(g, r, &r->slots[r->first], RESPONSE_SUCCESS, NULL);
        ring_pop(r);
    }
}

static void release_confirmed(struct gate *g, uint64_t watermark)
{
    const struct replication *replication = g->on->broker->replication;
    const struct broker_config *c = &g->on->broker->settings->config;
    struct ring *r = &g->confirmed;

    while (r->count > 0 && r->slots[r->first].reply.log_end <= watermark) {
        const struct parked *p = &r->slots[r->first];
        int32_t code = replication_verdict(replication, p->reply.log_end);
        const char *remark = NULL;

        /* It was waited for, though nobody waits for it any more. */
        if (code == RESPONSE_SLAVE_NOT_AVAILABLE &&
            loop_now_ms(g->on->loop) - p->since_ms >= c->slave_timeout)
            code = RESPONSE_FLUSH_SLAVE_TIMEOUT;
        if (code == RESPONSE_SLAVE_NOT_AVAILABLE)
            remark =
                "stored, but there are too few slaves that are near, and take what they are sent";
        else if (code != RESPONSE_SUCCESS)
            remark = SLAVE_TOO_SLOW;
        answer(g, r, p, code, remark);
        ring_pop(r);
    }
}

static void refuse_ring(struct gate *g, struct ring *r, const char *remark)
{
    while (r->count > 0) {
        const struct gate_reply *reply = &r->slots[r->first].reply;
        struct conn *c = reply->to.oneway ? NULL : loop_conn(g->on->loop, reply->to.conn);

        if (c) {
            refuse(g->on->broker, reply, conn_out(c), RESPONSE_SERVICE_NOT_AVAILABLE, remark);
            conn_written(c);
        }
        ring_pop(r);
    }
}

/* When a written reply is answered without what it waits for: the flush, or when it is flushed the
 * copies. */
static int64_t due_ms(const struct gate *g, const struct parked *p, uint64_t kept)
{
    const struct broker_config *c = &g->on->broker->settings->config;

    return p->since_ms + (p->reply.log_end > kept ? c->sync_flush_timeout : c->slave_timeout);
}

static void answer_late(struct gate *g, struct ring *r, const struct parked *p, uint64_t kept)
{
    bool strict = g->on->broker->settings->config.replica_ack == REPLICA_ACK_STRICT;

    if (p->reply.log_end > kept)
        answer(g, r, p, RESPONSE_FLUSH_DISK_TIMEOUT,
               "stored, but the flush took longer than syncFlushTimeout");
    else if (strict)
        answer(g, r, p, RESPONSE_SERVICE_NOT_AVAILABLE,
               "not enough slaves have copied the message in time; it may be delivered all the "
               "same");
    else
        answer(g, r, p, RESPONSE_FLUSH_SLAVE_TIMEOUT, SLAVE_TOO_SLOW);
}

static void expire(struct gate *g)
{
    struct ring *r = &g->confirmed;
    int64_t now = loop_now_ms(g->on->loop), due = INT64_MAX;
    const struct store *store = g->on->broker->store;
    uint64_t written = store_written(store), kept = store_kept(store);

    /* What is not even written is not stored: that watermark calls, however late it is. */
    while (r->count > 0 && r->slots[r->first].reply.log_end <= written) {
        const struct parked *p = &r->slots[r->first];

        due = due_ms(g, p, kept);
        if (due > now)
            break;
        answer_late(g, r, p, kept);
        ring_pop(r);
        due = INT64_MAX;
    }
    if (due == INT64_MAX)
        loop_timer_cancel(&g->timer);
    else if (loop_timer_set(&g->timer, due) < 0)
        log_warn_limited("gate", "no memory for the timer of replies that wait for the disk");
}

static void release(struct gate *g)
{
    struct store *store = g->on->broker->store;

    if (g->written.count > 0)
        release_written(g, store_written(store));
    if (g->confirmed.count > 0)
        release_confirmed(g, store_confirmed(store));
}

/* What waits will not become what was promised. */
static void refuse_all(struct gate *g, const char *remark)
{
    release(g); /* the watermarks may have moved before it stopped; now they stand still */
    refuse_ring(g, &g->written, remark);
    refuse_ring(g, &g->confirmed, remark);
}

void gate_release(struct gate *g)
{
    struct broker *b = g->on->broker;
    char reason[160], remark[256];

    release(g);
    if (gate_waiting(g) > 0 && replication_is_slave(b->replication))
        refuse_all(g, "this broker is not the master any more; the message may be lost, or be "
                      "delivered all the same");
    if (gate_waiting(g) > 0 && store_stopped(b->store, reason)) {
        snprintf(remark, sizeof(remark), "the store takes no more writes: %s", reason);
        refuse_all(g, remark);
    }
    if (g->confirmed.count > 0 || g->timer.heap_at != 0)
        expire(g);
}
