/* link.c - see link.h. */
#include "tools/link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/dial.h"

int link_dial(const char *address, bool only_loopback, int timeout_ms, struct err *err)
{
    struct dial_options options = {.only_loopback = only_loopback,
                                   .deadline_ms = clock_mono_ms() + timeout_ms};
    struct dial_address to;
    int fd = dial_parse(&to, address, err);

    if (fd == 0)
        fd = dial(&to, &options, err);
    if (fd == -EMFILE)
        err_add(err, "; take fewer connections, or raise the limit (ulimit -n)");
    return fd;
}

void link_init(struct link *l)
{
    *l = (struct link){.fd = -1};
}

int link_open(struct link *l, const char *address, bool only_loopback, int timeout_ms,
              struct err *err)
{
    int fd = link_dial(address, only_loopback, timeout_ms, err);

    if (fd < 0)
        return fd;
    link_close(l);
    l->fd = fd;
    return 0;
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    buf_destroy(&l->in);
    buf_destroy(&l->out);
    link_init(l);
}

/* ---- frames ---- */

int link_flush(struct link *l)
{
    if (l->out.failed)
        return -ENOMEM;
    while (l->out.len) {
        ssize_t n = send(l->fd, buf_at(&l->out), l->out.len, MSG_NOSIGNAL);
        if (n >= 0)
            buf_consume(&l->out, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static void release(struct link *l)
{
    buf_consume(&l->in, l->spent);
    l->spent = 0;
}

ssize_t link_fill(struct link *l, size_t chunk)
{
    uint8_t *to;
    ssize_t n;

    release(l);
    to = buf_reserve(&l->in, chunk);
    if (!to)
        return -ENOMEM;
    n = read(l->fd, to, chunk);
    if (n > 0)
        l->in.len += (size_t)n;
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
    return n;
}

int link_next(struct link *l, struct remoting_frame *frame)
{
    const char *why;
    size_t size;
    int r;

    release(l);
    r = remoting_frame_size(buf_bytes(&l->in), &size);
    if (r == REMOTING_PARTIAL || (r == 0 && size > l->in.len))
        return LINK_PARTIAL;
    if (r != 0 || remoting_decode(buf_at(&l->in), size, frame, &why) != 0)
        return -EPROTO;
    l->spent = size;
    return 0;
}
