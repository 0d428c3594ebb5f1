/* listener.c - accepts connections on one loop and spreads them over all. See conn.h.
 *
 * A new socket reaches its loop through that loop's mailbox, as a number. When the process is out
 * of descriptors the waiting peer keeps the listening socket readable, so it is not looked at for
 * a moment instead of at every turn.
 */
#include "common/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

enum {
    BACKLOG = 1024,
    ACCEPT_BATCH = 64, /* new connections in one go; the rest waits for the next turn */
    PAUSE_MS = 100,    /* when descriptors or memory have run out */
};

struct listener {
    struct loop **loops; /* borrowed */
    unsigned loop_count;
    unsigned next;
    int fd;
    uint16_t port;
    unsigned connections_max;
    struct event *event;
    struct loop_timer pause;
    struct conn_origin *origin; /* references: ours and one for each connection */
    char where[64];             /* "127.0.0.1:9876" */
};

/* On the loop that the connection is for. */
static void socket_arrived(struct loop_message *message)
{
    conn_new(message->p, (int)message->a, message->ctx, NULL, NULL);
}

void listener_message_discard(struct loop_message *message)
{
    if (message->run == socket_arrived) {
        close((int)message->a);
        conn_origin_leave(message->ctx);
    }
}

static void hand_over(struct listener *l, int fd)
{
    struct loop *loop = l->loops[l->next];
    int on = 1;

    l->next = (l->next + 1) % l->loop_count;
    /* Fails only for a peer that is gone already, which the first read will tell. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn_origin_enter(l->origin);
    struct loop_message message = {
        .run = socket_arrived, .ctx = l->origin, .p = loop, .a = (uint64_t)fd};
    if (loop == l->loops[0]) {
        socket_arrived(&message);
    } else if (loop_post(loop, &message) < 0) {
        log_warn_limited(l->where, "listener %s: loop %u is too busy for a new connection",
                         l->where, loop_index(loop));
        listener_message_discard(&message);
    }
}

static void pause_accepting(struct listener *l, int error)
{
    struct loop *loop = l->loops[0];

    log_warn_limited(l->where, "listener %s: new connections have to wait: %s", l->where,
                     strerrordesc_np(error));
    if (loop_timer_set(&l->pause, loop_now_ms(loop) + PAUSE_MS) == 0)
        event_del(l->event);
}

static void on_pause_over(void *ctx)
{
    struct listener *l = ctx;

    /* No memory for that: try again later. */
    if (event_add(l->event, NULL) < 0)
        loop_timer_set(&l->pause, loop_now_ms(l->loops[0]) + PAUSE_MS);
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
    struct listener *l = arg;
    struct loop *loop = l->loops[0];

    (void)what;
    loop_touch(loop);
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            int error = errno;
            if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
                pause_accepting(l, error);
            if (error != EINTR && error != ECONNABORTED)
                break;
        } else if (atomic_load(l->origin->connections) >= l->connections_max) {
            log_warn_limited(l->where, "listener %s: refused: %u connections are open already",
                             l->where, l->connections_max);
            close(fd);
        } else {
            hand_over(l, fd);
        }
    }
    loop_took_input(loop, 0);
}

/* A bound, listening socket; negative errno. */
static int open_socket(const struct listener_options *options, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    int on = 1;

    snprintf(port, sizeof(port), "%u", options->port);
    if (getaddrinfo(options->address, port, &hints, &found) != 0)
        return err_say(err, -EINVAL, "listen on \"%s\": expected a numeric IPv4 or IPv6 address",
                       options->address);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int r = err_set(err, -errno, "listen on %s, port %u", options->address, options->port);
        if (fd >= 0)
            close(fd);
        fd = r;
    }
    freeaddrinfo(found);
    return fd;
}

int listener_new(struct listener **out, const struct listener_options *options, struct err *err)
{
    assert(options->loop_count >= 1 && !options->protocol != !options->remoting);
    int r = -ENOMEM;
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return err_set(err, r, "listen on %s, port %u", options->address, options->port);
    l->loops = options->loops;
    l->loop_count = options->loop_count;
    l->connections_max = options->connections_max;
    loop_timer_init(&l->pause, l->loops[0], on_pause_over, l);
    if (options->socket && *options->socket >= 0) {
        l->fd = *options->socket;
        *options->socket = -1;
    } else {
        l->fd = open_socket(options, err);
    }
    if (l->fd < 0) {
        r = l->fd;
        free(l);
        return r;
    }

    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof(bound);
    if (getsockname(l->fd, (struct sockaddr *)&bound, &len) < 0) {
        r = -errno;
        goto fail;
    }
    /* sin_port and sin6_port lie at the same place. */
    l->port = ntohs(((const struct sockaddr_in *)&bound)->sin_port);
    conn_address_text(&bound, l->where);

    l->origin = calloc(1, sizeof(*l->origin));
    if (!l->origin)
        goto fail;
    atomic_init(&l->origin->refs, 1);
    atomic_init(&l->origin->own_connections, 0);
    l->origin->connections =
        options->connections ? options->connections : &l->origin->own_connections;
    l->origin->remoting = options->remoting;
    l->origin->protocol = options->remoting ? &conn_remoting_protocol : options->protocol;
    l->origin->ctx = options->ctx;
    l->event = event_new(l->loops[0]->base, l->fd, EV_READ | EV_PERSIST, on_acceptable, l);
    if (!l->event || event_add(l->event, NULL) < 0)
        goto fail;
    *out = l;
    return 0;

fail:
    listener_free(l);
    return err_set(err, r, "listen on %s, port %u", options->address, options->port);
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

int listener_dup(const struct listener *l)
{
    int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

int listener_adopt(struct listener *l, struct loop *loop, struct conn_kept *kept, conn_id *id)
{
    conn_origin_enter(l->origin);
    return conn_adopt(loop, l->origin, kept, id);
}

struct listener *listener_free(struct listener *l)
{
    if (!l)
        return NULL;
    loop_timer_cancel(&l->pause);
    if (l->event)
        event_free(l->event);
    if (l->origin)
        conn_origin_release(l->origin);
    close(l->fd);
    free(l);
    return NULL;
}
