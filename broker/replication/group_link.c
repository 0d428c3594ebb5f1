/* group_link.c - see group_link.h. */
#include "broker/replication/group_link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- what is sent --- */

void link_out_init(struct link_out *o)
{
    *o = (struct link_out){.fd = -1};
}

static void forget(struct link_out *o)
{
    buf_destroy(&o->head);
    buf_destroy(&o->tail);
    o->body_at = o->body_to = 0;
    o->blocked = false;
}

void link_out_open(struct link_out *o, int fd)
{
    link_out_close(o);
    o->fd = fd;
}

void link_out_close(struct link_out *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    forget(o);
}

struct buf *link_out_buf(struct link_out *o)
{
    return o->body_at < o->body_to ? &o->tail : &o->head;
}

void link_out_body(struct link_out *o, uint64_t at, uint64_t to)
{
    assert(o->body_at == o->body_to && o->tail.len == 0);
    o->body_at = at;
    o->body_to = to;
}

bool link_out_is_ready(const struct link_out *o)
{
    return o->fd >= 0 && o->body_at == o->body_to && o->head.len < LINK_READY_BYTES;
}

/* 1: all of it; 0: the socket is full. */
static int send_buf(struct link_out *o, struct buf *b, bool more)
{
    while (b->len > 0) {
        ssize_t n = send(o->fd, buf_at(b), b->len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        buf_consume(b, (size_t)n);
    }
    buf_reset(b);
    return 1;
}

static int send_body(struct link_out *o, struct store *store)
{
    while (o->body_at < o->body_to) {
        ssize_t n = store_send(store, o->fd, o->body_at, o->body_to);

        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        o->body_at += (uint64_t)n;
    }
    return 1;
}

int link_out_send(struct link_out *o, struct store *store)
{
    struct buf spare;
    int r;

    if (o->head.failed || o->tail.failed)
        return -ENOMEM;
    if (o->head.len + o->tail.len > LINK_OUT_MAX)
        return -ENOBUFS;
    o->blocked = false;
    do {
        r = send_buf(o, &o->head, o->body_at < o->body_to);
        if (r == 1)
            r = send_body(o, store);
        if (r <= 0) {
            o->blocked = r == 0;
            return r;
        }
        o->body_at = o->body_to = 0;
        spare = o->head;
        o->head = o->tail;
        o->tail = spare;
    } while (o->head.len > 0);
    return 0;
}

/* --- what is read --- */

void link_in_init(struct link_in *i)
{
    *i = (struct link_in){.fd = -1};
}

int link_in_open(struct link_in *i, int fd)
{
    link_in_close(i);
    i->data = malloc(LINK_IN_BYTES);
    if (!i->data) {
        close(fd);
        return -ENOMEM;
    }
    i->fd = fd;
    return 0;
}

void link_in_close(struct link_in *i)
{
    if (i->fd >= 0)
        close(i->fd);
    free(i->data);
    link_in_init(i);
}

ssize_t link_in_read(struct link_in *i)
{
    ssize_t n;

    if (i->at == i->len) {
        i->at = i->len = 0;
    } else if (i->at > 0 && i->len == LINK_IN_BYTES) {
        memmove(i->data, i->data + i->at, i->len - i->at);
        i->len -= i->at;
        i->at = 0;
    }
    if (i->len == LINK_IN_BYTES)
        return 0;
    n = recv(i->fd, i->data + i->len, LINK_IN_BYTES - i->len, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    i->len += (size_t)n;
    return n;
}

int link_in_take(struct link_in *i, struct group_frame *out, const char **why)
{
    size_t used = 0;
    int r = group_wire_take(bytes_of(i->data + i->at, i->len - i->at), out, &used, why);

    if (r < 0)
        return r;
    if (r == GROUP_WIRE_MORE)
        return 0;
    i->at += used;
    return 1;
}
