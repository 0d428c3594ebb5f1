/* forward_link.c - a loop's connection to the master: what is sent on, and the answers. */
#include "broker/forward_internal.h"

#include "broker/forward_frame.h"
#include "broker/service.h"
#include "common/log.h"

enum { ANSWER_MS = 60000 }; /* what was sent and is not answered for so long is given up */

/* The connection to the master; NULL: it is not known, cannot be reached, or takes no more. One to
 * an earlier master is left to its answers, and ends when it is idle. */
struct conn *forward_link_to_master(struct forward_loop *l)
{
    int64_t now = loop_now_ms(l->on->loop);
    struct conn *c;
    int r;

    /* A new master has this member's copy only when the next broker is there. */
    if (!l->known || broker_wants_restart(l->on->broker))
        return NULL;
    if (l->link_version != l->version)
        l->link = 0;
    c = l->link ? loop_conn(l->on->loop, l->link) : NULL;
    if (!c && now - l->dialled_ms >= LOOK_MS) {
        unsigned lost_ms = (unsigned)l->on->broker->settings->config.forward_wait_millis;

        l->dialled_ms = now;
        l->link_version = l->version;
        l->link_up = false;
        r = conn_dial(l->forward->dialler, l->on->loop, &l->master, l->forward->source, lost_ms,
                      &l->link);
        if (r < 0) {
            l->link = 0;
            log_warn_limited("to the master", "connect to the master, to pass requests on: %s",
                             strerror(-r));
        }
        c = r == 0 ? loop_conn(l->on->loop, l->link) : NULL;
    }
    /* What is given to a connection counts as sent: not before it stands. */
    if (c && !l->link_up)
        l->link_up = conn_is_connected(c);
    return c && l->link_up && !conn_is_full(c) ? c : NULL;
}

void forward_now_sent(struct forward_loop *l, struct entry *e, struct conn *c)
{
    atomic_fetch_add_explicit(&l->forward->forwarded, 1, memory_order_relaxed);
    conn_written(c);
    if (e->request.to.oneway) {
        forward_entry_free(l, &l->requests.sent, e);
        return;
    }
    forward_entry_drop_frame(l, e);
    e->request.sent_on = conn_id_of(c);
    e->request.until_ms = loop_now_ms(l->on->loop) + ANSWER_MS;
}

void forward_send_waiting(struct forward_loop *l)
{
    struct entry *e, *next;
    struct conn *c;

    for (e = TAILQ_FIRST(&l->requests.waiting); e; e = next) {
        next = TAILQ_NEXT(e, next);
        if (e->request.final)
            continue;
        /* Whose connection has ended asks again over another one. */
        if (!e->request.to.oneway && !loop_conn(l->on->loop, e->request.to.conn)) {
            forward_entry_free(l, &l->requests.waiting, e);
            continue;
        }
        c = forward_link_to_master(l);
        if (!c)
            return;
        /* Made for another opaque: it is decoded and written anew, as the answers are. */
        struct remoting_frame frame;
        const char *why;
        struct buf *out = conn_out(c);

        if (remoting_decode(buf_at(&e->request.frame), e->request.frame.len, &frame, &why) != 0) {
            forward_entry_free(l, &l->requests.waiting, e);
            continue;
        }
        forward_frame_copy(out, &frame, e->opaque, frame.flag, NULL);
        if (out->failed) {
            conn_close(c, "no memory for what is passed on");
            forward_entry_free(l, &l->requests.waiting, e);
            return;
        }
        TAILQ_REMOVE(&l->requests.waiting, e, next);
        TAILQ_INSERT_TAIL(&l->requests.sent, e, next);
        forward_now_sent(l, e, c);
    }
}

static void on_answer(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct forward *f = ctx;
    struct forward_loop *l = &f->loops[loop_index(conn_loop(c))];
    struct entry *e = l->requests.table
                          ? &l->requests.table[(uint32_t)frame->opaque % FORWARD_REQUESTS_MAX]
                          : NULL;
    struct conn *client;
    conn_id id;

    if (!e || e->opaque == 0 || e->opaque != frame->opaque || e->request.sent_on != conn_id_of(c))
        return; /* given up, or a copy that nobody waits for */
    id = e->request.to.conn;
    client = loop_conn(l->on->loop, id);
    if (client) {
        forward_frame_copy(conn_out(client), frame, e->request.to.opaque, frame->flag, NULL);
        if (conn_out(client)->failed)
            conn_close(client, "no memory for its replies");
        else
            conn_written(client);
    }
    forward_entry_free(l, &l->requests.sent, e);
    if (!client || !broker_is_ending(l->on->broker))
        return;
    /* Between two requests is when a client loses nothing with its connection. */
    TAILQ_FOREACH(e, &l->requests.sent, next)
    {
        if (e->request.to.conn == id)
            return;
    }
    TAILQ_FOREACH(e, &l->requests.waiting, next)
    {
        if (e->request.to.conn == id)
            return;
    }
    conn_close(client, NULL);
}

/* Our own port, or somebody who takes us for a server. */
static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    (void)ctx;
    (void)frame;
    conn_close(c, "the master sends requests where answers belong");
}

const struct remoting_handler forward_from_master = {
    .request = on_request,
    .response = on_answer,
};
