/* forward_table.c - a loop's table of requests, bounded in number and bytes; which list an entry is
 * on is the caller's to say.
 */
#include "broker/forward_internal.h"

#include <stdlib.h>

static void count(struct forward_loop *l, int change)
{
    l->requests.used += (unsigned)change;
    atomic_fetch_add(&l->forward->waiting, (uint64_t)(int64_t)change);
}

void forward_requests_init(struct requests *r)
{
    *r = (struct requests){.table = NULL};
    TAILQ_INIT(&r->free);
    TAILQ_INIT(&r->waiting);
    TAILQ_INIT(&r->sent);
}

void forward_requests_move(struct requests *to, struct requests *from)
{
    forward_requests_init(to);
    to->table = from->table;
    to->used = from->used;
    to->round = from->round;
    to->bytes = from->bytes;
    TAILQ_CONCAT(&to->free, &from->free, next);
    TAILQ_CONCAT(&to->waiting, &from->waiting, next);
    TAILQ_CONCAT(&to->sent, &from->sent, next);
    forward_requests_init(from);
}

void forward_requests_destroy(struct requests *r)
{
    for (unsigned i = 0; r->table && i < FORWARD_REQUESTS_MAX; i++)
        buf_destroy(&r->table[i].request.frame);
    free(r->table);
    forward_requests_init(r);
}

static bool make_table(struct forward_loop *l)
{
    struct requests *r = &l->requests;

    if (r->table)
        return true;
    if (!l->kept)
        l->kept = malloc(sizeof(*l->kept));
    if (l->kept)
        r->table = calloc(FORWARD_REQUESTS_MAX, sizeof(*r->table));
    if (!r->table)
        return false;
    for (unsigned i = 0; i < FORWARD_REQUESTS_MAX; i++)
        TAILQ_INSERT_TAIL(&r->free, &r->table[i], next);
    return true;
}

/* NULL: too many. */
struct entry *forward_entry_new(struct forward_loop *l, const struct forward_request *request)
{
    struct entry *e = make_table(l) ? TAILQ_FIRST(&l->requests.free) : NULL;

    if (!e || l->requests.bytes + request->frame.len > FORWARD_BYTES_MAX)
        return NULL;
    TAILQ_REMOVE(&l->requests.free, e, next);
    l->requests.round = l->requests.round % (INT32_MAX / FORWARD_REQUESTS_MAX - 1) + 1;
    e->opaque = l->requests.round * FORWARD_REQUESTS_MAX + (int32_t)(e - l->requests.table);
    e->request = *request;
    l->requests.bytes += request->frame.len;
    count(l, 1);
    if (!l->look.heap_at)
        loop_timer_set(&l->look, loop_now_ms(l->on->loop) + LOOK_MS);
    return e;
}

void forward_entry_drop_frame(struct forward_loop *l, struct entry *e)
{
    l->requests.bytes -= e->request.frame.len;
    buf_destroy(&e->request.frame);
    e->request.frame = (struct buf){0};
}

void forward_entry_free(struct forward_loop *l, struct entries *from, struct entry *e)
{
    forward_entry_drop_frame(l, e);
    TAILQ_REMOVE(from, e, next);
    e->opaque = 0;
    TAILQ_INSERT_HEAD(&l->requests.free, e, next);
    count(l, -1);
}

void forward_refuse(struct forward_loop *l, const struct reply_to *to, int32_t code,
                    const char *remark)
{
    struct conn *c = to->oneway ? NULL : loop_conn(l->on->loop, to->conn);
    struct remoting_writer w;

    if (!c)
        return;
    reply_begin(&w, conn_out(c), to, code, bytes_str(remark), true);
    remoting_end(&w);
    conn_written(c);
}
