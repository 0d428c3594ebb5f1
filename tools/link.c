/* link.c - see link.h. */
#include "tools/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
    }
    return false;
}

/* ---- connecting ---- */

static int wait_connected(int fd, int timeout_ms)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    int error = 0;
    socklen_t len = sizeof(error);

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int64_t left_ms = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);

        if (n > 0)
            break;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

/* A connection to a port in the ephemeral range that nobody listens on can meet itself. */
static bool is_own_peer(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);

    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

static int dial_one(const struct addrinfo *to, int timeout_ms)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = 0, on = 1;

    if (fd < 0)
        return -errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
        r = errno == EINPROGRESS || errno == EINTR ? wait_connected(fd, timeout_ms) : -errno;
    if (r == 0 && is_own_peer(fd))
        r = -ECONNREFUSED;
    if (r == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

/* "host:port", "[v6]:port" */
static bool split(const char *address, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *colon = strrchr(address, ':');
    struct bytes name;
    int32_t number;

    if (!colon)
        return false;
    name = bytes_of(address, (size_t)(colon - address));
    if (name.len > 2 && name.at[0] == '[' && name.at[name.len - 1] == ']')
        name = bytes_of(name.at + 1, name.len - 2);
    else if (name.len == 0 || memchr(name.at, ':', name.len))
        return false;
    return bytes_to_cstr(name, host, host_size) &&
           bytes_to_cstr(bytes_str(colon + 1), port, port_size) &&
           bytes_to_i32(bytes_str(port), &number) && number > 0 && number <= 65535;
}

int link_dial(const char *address, bool only_loopback, int timeout_ms, struct err *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[256], port[8];
    int fd = -EHOSTUNREACH;

    if (!split(address, host, sizeof(host), port, sizeof(port)))
        return err_say(err, -EINVAL, "address \"%s\": expected host:port or [IPv6 address]:port",
                       address);
    int gai = getaddrinfo(host, port, &hints, &found);
    if (gai != 0)
        return err_say(err, fd, "connect to %s: %s", address, gai_strerror(gai));
    for (const struct addrinfo *to = found; to && fd < 0; to = to->ai_next) {
        if (only_loopback && !is_loopback(to->ai_addr))
            fd = -EPERM;
        else
            fd = dial_one(to, timeout_ms);
    }
    freeaddrinfo(found);
    if (fd == -EPERM && only_loopback)
        return err_say(err, fd, "%s is not a loopback address", address);
    if (fd < 0)
        err_set(err, fd, "connect to %s", address);
    if (fd == -EMFILE)
        err_add(err, "; take fewer connections, or raise the limit (ulimit -n)");
    return fd;
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
