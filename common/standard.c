/* standard.c - see standard.h. */
#include "common/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

int standard_hold(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number is this one. Opened the wrong way round, it fails when used. */
        int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);

        if (opened < 0)
            return -errno;
        if (opened != fd) { /* another thread opens files already */
            close(opened);
            return -EBUSY;
        }
    }
    return 0;
}

static int write_some(struct buf *out)
{
    ssize_t n = write(STDOUT_FILENO, buf_at(out), out->len);

    if (n >= 0) {
        buf_consume(out, (size_t)n);
        return 0;
    }
    if (errno == EAGAIN) { /* somebody else made it non-blocking */
        poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
        return 0;
    }
    return errno == EINTR ? 0 : -errno;
}

int standard_write(struct buf *out)
{
    int r = out->failed ? -ENOMEM : 0;

    while (r == 0 && out->len)
        r = write_some(out);
    buf_reset(out);
    return r;
}
