/* conn_dial.c - connections that begin here: see conn.h.
 *
 * A socket that is still connecting is a connection whose output does not leave yet: writing says
 * EAGAIN, and success and failure both wake it.
 */
#include "common/loop_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/dial.h"

struct conn_dialler {
    struct conn_origin *origin; /* references: ours and one for each connection */
};

int conn_dialler_new(struct conn_dialler **out, const struct remoting_handler *remoting, void *ctx)
{
    struct conn_dialler *d = calloc(1, sizeof(*d));
    struct conn_origin *origin = calloc(1, sizeof(*origin));

    if (!d || !origin) {
        free(d);
        free(origin);
        return -ENOMEM;
    }
    atomic_init(&origin->refs, 1);
    atomic_init(&origin->own_connections, 0);
    origin->connections = &origin->own_connections;
    origin->remoting = remoting;
    origin->protocol = &conn_remoting_protocol;
    origin->ctx = ctx;
    d->origin = origin;
    *out = d;
    return 0;
}

struct conn_dialler *conn_dialler_free(struct conn_dialler *d)
{
    if (!d)
        return NULL;
    conn_origin_release(d->origin);
    free(d);
    return NULL;
}

int conn_dialler_adopt(struct conn_dialler *d, struct loop *loop, struct conn_kept *kept,
                       conn_id *id)
{
    conn_origin_enter(d->origin);
    return conn_adopt(loop, d->origin, kept, id);
}

int conn_dial(struct conn_dialler *d, struct loop *loop, const struct sockaddr_storage *to,
              const char *from, unsigned lost_ms, conn_id *id)
{
    const struct sockaddr *address = (const struct sockaddr *)to;
    socklen_t len =
        to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, r;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost_ms, sizeof(lost_ms)) < 0)
        goto fail;
    if (from)
        dial_come_from(fd, from, address);
    if (connect(fd, address, len) < 0 && errno != EINPROGRESS && errno != EINTR)
        goto fail;
    conn_origin_enter(d->origin);
    return conn_new(loop, fd, d->origin, to, id);

fail:
    r = -errno;
    close(fd);
    return r;
}

bool conn_is_connected(const struct conn *c)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    return getpeername(c->fd, (struct sockaddr *)&peer, &len) == 0;
}
