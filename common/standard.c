/* standard.c - see standard.h. */
#include "common/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
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

int64_t standard_raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024; /* it is not told; what everybody has */
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit most = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            limit = most;
    }
    return limit.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_cur;
}
