/* forward_kept.c - requests outlive the broker that they came to: see forward.h.
 *
 * The table moves as it is. A request that waits has its frame; of one that was sent on, the
 * connection moves with it, and the answer is met by the next broker. Nothing of this needs memory
 * when the time has come.
 */
#include "broker/forward_internal.h"

#include <stdlib.h>

#include "common/clock.h"

/* --- the broker that ends --- */

static void take_link(struct conn *c, void *arg)
{
    struct forward_kept *k = arg;
    struct kept_link *link = &k->links[k->link_count];
    const struct entry *e = TAILQ_FIRST(&k->requests.sent);

    while (e && e->request.sent_on != conn_id_of(c))
        e = TAILQ_NEXT(e, next);
    if (!e || k->link_count == KEPT_LINKS)
        return;
    link->id = conn_id_of(c);
    conn_keep(c, &link->conn);
    if (link->conn.fd >= 0)
        k->link_count++;
}

struct forward_kept *forward_part(struct broker_loop *on)
{
    struct forward_loop *l = &on->broker->forward->loops[loop_index(on->loop)];
    struct forward_kept *k = l->kept;

    if (l->requests.used == 0)
        return NULL;
    atomic_fetch_sub(&l->forward->waiting, l->requests.used);
    forward_requests_move(&k->requests, &l->requests);
    k->link_count = 0;
    l->kept = NULL;
    loop_timer_cancel(&l->look);
    loop_each_conn(on->loop, l->forward, take_link, k);
    return k;
}

struct forward_kept *forward_kept_free(struct forward_kept *k)
{
    if (!k)
        return NULL;
    for (unsigned i = 0; i < k->link_count; i++)
        conn_kept_drop(&k->links[i].conn);
    forward_requests_destroy(&k->requests);
    free(k);
    return NULL;
}

/* --- the broker that begins --- */

static int by_from(const void *key, const void *move)
{
    conn_id a = *(const conn_id *)key, b = ((const struct conn_move *)move)->from;

    return (a > b) - (a < b);
}

/* 0: it has gone. */
static conn_id id_now(conn_id from, const struct conn_move *moves, size_t count)
{
    const struct conn_move *m =
        count > 0 ? bsearch(&from, moves, count, sizeof(*moves), by_from) : NULL;

    return m ? m->to : 0;
}

void forward_join(struct broker_loop *on, struct forward_kept *k, const struct conn_move *moves,
                  size_t count)
{
    struct forward_loop *l = &on->broker->forward->loops[loop_index(on->loop)];
    int64_t until = clock_mono_ms() + on->broker->settings->config.forward_wait_millis;
    struct conn_move links[KEPT_LINKS];
    struct entry *e;

    for (unsigned i = 0; i < k->link_count; i++) {
        links[i] = (struct conn_move){k->links[i].id, 0};
        if (conn_dialler_adopt(l->forward->dialler, on->loop, &k->links[i].conn, &links[i].to) < 0)
            links[i].to = 0; /* who waits for its answers is told that it is lost */
    }
    TAILQ_FOREACH(e, &k->requests.waiting, next)
    {
        e->request.to.conn = id_now(e->request.to.conn, moves, count);
        /* The time that the broker took to begin again does not count. */
        e->request.until_ms = until;
    }
    TAILQ_FOREACH(e, &k->requests.sent, next)
    {
        unsigned i = 0;

        e->request.to.conn = id_now(e->request.to.conn, moves, count);
        while (i < k->link_count && links[i].from != e->request.sent_on)
            i++;
        e->request.sent_on = i < k->link_count ? links[i].to : 0;
    }
    forward_requests_move(&l->requests, &k->requests);
    l->kept = k;
    atomic_fetch_add(&l->forward->waiting, l->requests.used);
    loop_timer_set(&l->look, loop_now_ms(on->loop) + LOOK_MS);
}
