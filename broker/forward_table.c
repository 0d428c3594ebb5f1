/* forward_table.c - a loop's table of requests, bounded in number and bytes; which list an entry is
 * on is the caller's to say.
 */
#include "broker/forward_internal.h"

#include <stdlib.h>

static void count(struct forward_loop *l, int change)
{
    l->used += (unsigned)change;
    atomic_fetch_add(&l->forward->waiting, (uint64_t)(int64_t)change);
}

static bool make_table(struct forward_loop *l)
{
    if (l->table)
        return true;
    l->table = calloc(FORWARD_REQUESTS_MAX, sizeof(*l->table));
    l->kept = malloc(sizeof(*l->kept));
    if (!l->table || !l->kept) {
        forward_table_free(l);
        return false;
    }
    for (unsigned i = 0; i < FORWARD_REQUESTS_MAX; i++)
        TAILQ_INSERT_TAIL(&l->free, &l->table[i], next);
    return true;
}

void forward_entries_destroy(struct entry *table)
{
    for (unsigned i = 0; table && i < FORWARD_REQUESTS_MAX; i++)
        buf_destroy(&table[i].request.frame);
    free(table);
}

void forward_table_free(struct forward_loop *l)
{
    forward_entries_destroy(l->table);
    l->table = NULL;
    free(l->kept);
    l->kept = NULL;
}

/* NULL: too many. */
struct entry *forward_entry_new(struct forward_loop *l, const struct forward_request *request)
{
    struct entry *e = make_table(l) ? TAILQ_FIRST(&l->free) : NULL;

    if (!e || l->bytes + request->frame.len > FORWARD_BYTES_MAX)
        return NULL;
    TAILQ_REMOVE(&l->free, e, next);
    l->round = l->round % (INT32_MAX / FORWARD_REQUESTS_MAX - 1) + 1;
    e->opaque = l->round * FORWARD_REQUESTS_MAX + (int32_t)(e - l->table);
    e->request = *request;
    l->bytes += request->frame.len;
    count(l, 1);
    if (!l->look.heap_at)
        loop_timer_set(&l->look, loop_now_ms(l->on->loop) + LOOK_MS);
    return e;
}

void forward_entry_drop_frame(struct forward_loop *l, struct entry *e)
{
    l->bytes -= e->request.frame.len;
    buf_destroy(&e->request.frame);
    e->request.frame = (struct buf){0};
}

void forward_entry_free(struct forward_loop *l, struct entries *from, struct entry *e)
{
    forward_entry_drop_frame(l, e);
    TAILQ_REMOVE(from, e, next);
    e->opaque = 0;
    TAILQ_INSERT_HEAD(&l->free, e, next);
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
