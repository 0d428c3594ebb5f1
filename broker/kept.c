/* kept.c - see kept.h. */
#include "broker/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/clients.h"
#include "broker/forward.h"
#include "broker/owed.h"
#include "common/log.h"

void kept_init(struct kept *k)
{
    *k = (struct kept){.sockets = {-1, -1, -1}};
}

void kept_drop(struct kept *k)
{
    for (unsigned i = 0; i < KEPT_SOCKETS; i++) {
        if (k->sockets[i] >= 0)
            close(k->sockets[i]);
        k->sockets[i] = -1;
    }
    for (unsigned i = 0; i < LOOP_MAX; i++) {
        for (size_t n = 0; n < k->loops[i].count; n++)
            conn_kept_drop(&k->loops[i].at[n].conn);
        free(k->loops[i].at);
        forward_kept_free(k->loops[i].requests);
        k->loops[i] = (struct kept_loop){.at = NULL};
    }
    k->clients = clients_free(k->clients);
}

/* --- the broker that ends --- */

void kept_take_listeners(struct kept *k, struct broker *b)
{
    const struct listener *of[KEPT_LISTENERS] = {b->listener, b->vip_listener};

    k->sockets[KEPT_HA] = b->held_ha_fd;
    b->held_ha_fd = -1;
    for (unsigned i = 0; i < KEPT_LISTENERS; i++) {
        int fd = of[i] ? listener_dup(of[i]) : -EBADF;

        if (fd < 0)
            log_warn("clients are refused while this broker begins again: %s", strerror(-fd));
        k->sockets[i] = fd < 0 ? -1 : fd;
    }
}

static void rest(struct conn *c, void *arg)
{
    (void)arg;
    conn_rest(c);
}

void kept_rest(const struct broker_loop *on)
{
    loop_each_conn(on->loop, &on->broker->port, rest, NULL);
    loop_each_conn(on->loop, &on->broker->vip_port, rest, NULL);
}

struct taking {
    struct kept_loop *list;
    struct broker_loop *on;
};

static struct kept_connection *new_kept(struct kept_loop *list)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        struct kept_connection *at = realloc(list->at, cap * sizeof(*at));

        if (!at)
            return NULL;
        list->at = at;
        list->cap = cap;
    }
    return &list->at[list->count];
}

/* Without memory it stays where it is, and is closed with its loop. */
static void take_any(struct conn *c, void *arg)
{
    struct taking *t = arg;
    const struct broker_port *port = conn_ctx(c);
    struct kept_connection *kept = new_kept(t->list);

    if (!kept)
        return;
    kept->main_port = port->main_port;
    kept->id = conn_id_of(c);
    conn_keep(c, &kept->conn);
    if (kept->conn.fd >= 0)
        t->list->count++;
}

/* So it does when it is owed an answer. */
static void take(struct conn *c, void *arg)
{
    const struct taking *t = arg;

    if (owed_nothing(t->on->owed, conn_id_of(c)))
        take_any(c, arg);
}

void kept_take_connections(struct kept *k, struct broker_loop *on)
{
    struct taking t = {&k->loops[loop_index(on->loop)], on};
    struct broker_port *ports[KEPT_LISTENERS] = {&on->broker->port, &on->broker->vip_port};

    for (unsigned i = 0; i < KEPT_LISTENERS; i++) {
        loop_each_conn(on->loop, ports[i], take, &t);
        loop_each_closed_conn(on->loop, ports[i], take_any, &t);
    }
    if (!t.list->requests)
        t.list->requests = forward_part(on);
}

void kept_take_clients(struct kept *k, struct broker *b)
{
    clients_part(b->clients);
    k->clients = b->clients;
    b->clients = NULL;
}

/* --- the broker that begins --- */

struct clients *kept_give_clients(struct kept *k, struct broker *b)
{
    struct clients *c = k->clients;

    if (!c)
        return NULL;
    k->clients = NULL;
    clients_join(c, b);
    return c;
}

static int by_from(const void *a, const void *b)
{
    const struct conn_move *left = a, *right = b;

    return (left->from > right->from) - (left->from < right->from);
}

/* Without memory all are closed, and nobody is known any more. */
void kept_give_connections(struct kept *k, struct broker *b)
{
    struct conn_move *moves = NULL;
    size_t count = 0, moved = 0;

    for (unsigned i = 0; i < LOOP_MAX; i++)
        count += k->loops[i].count;
    if (count > 0)
        moves = calloc(count, sizeof(*moves));
    for (unsigned i = 0; i < b->loop_count && moves; i++) {
        struct kept_loop *list = &k->loops[i];

        for (size_t n = 0; n < list->count; n++) {
            struct kept_connection *kept = &list->at[n];
            struct listener *l = kept->main_port ? b->listener : b->vip_listener;
            conn_id id;

            if (listener_adopt(l, b->loops[i], &kept->conn, &id) == 0)
                moves[moved++] = (struct conn_move){kept->id, id};
        }
    }
    if (moved > 0)
        qsort(moves, moved, sizeof(*moves), by_from);
    clients_move(b->clients, moves, moved);
    for (unsigned i = 0; i < b->loop_count; i++) {
        if (k->loops[i].requests)
            forward_join(&b->on[i], k->loops[i].requests, moves, moved);
        k->loops[i].requests = NULL;
    }
    free(moves);
    kept_drop(k);
}
