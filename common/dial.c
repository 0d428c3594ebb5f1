/* dial.c - see dial.h. */
#include "common/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"

int dial_parse(struct dial_address *out, const char *address, struct err *err)
{
    const char *colon = strrchr(address, ':');
    struct bytes host = {0};
    int32_t port = 0;

    if (colon) {
        host = bytes_of(address, (size_t)(colon - address));
        if (host.len >= 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
            host = bytes_of(host.at + 1, host.len - 2);
        else if (host.len && memchr(host.at, ':', host.len))
            host.len = 0; /* an IPv6 address without brackets: where does the port begin? */
        if (host.len && (memchr(host.at, '[', host.len) || memchr(host.at, ']', host.len)))
            host.len = 0;
    }
    if (host.len == 0 || !bytes_to_cstr(host, out->host, sizeof(out->host)) ||
        !bytes_to_i32(bytes_str(colon + 1), &port) || port < 1 || port > 65535)
        return err_say(err, -EINVAL, "address \"%s\": expected host:port or [IPv6 address]:port",
                       address);
    snprintf(out->port, sizeof(out->port), "%d", port);
    return 0;
}

bool dial_below(const char *address, int below, char *out, size_t size)
{
    struct dial_address parsed;
    bool v6;
    int port;

    if (dial_parse(&parsed, address, NULL) < 0)
        return false;
    v6 = strchr(parsed.host, ':') != NULL;
    port = atoi(parsed.port) - below;
    return port >= 1 && snprintf(out, size, "%s%s%s:%d", v6 ? "[" : "", parsed.host, v6 ? "]" : "",
                                 port) < (int)size;
}

int dial_cancel_new(struct err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? err_set(err, -errno, "make an eventfd") : fd;
}

void dial_cancel(int cancel_fd)
{
    if (eventfd_write(cancel_fd, 1) < 0)
        log_warn("eventfd: %s", strerror(errno));
}

int dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd)
{
    for (;;) {
        struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
        int64_t left_ms = deadline_ms - clock_mono_ms();
        int n = poll(p, cancel_fd > 0 ? 2 : 1, left_ms > 0 ? (int)left_ms : 0);
        if (n > 0)
            return p[0].revents ? 0 : -ECANCELED;
        if (n == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* On loopback, connecting to a port that nobody listens on can connect a socket to itself. */
static bool talks_to_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);

    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

static bool is_loopback(const struct sockaddr *a)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a;

    if (a->sa_family == AF_INET)
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
            (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) && in6->sin6_addr.s6_addr[12] == 127));
}

void dial_come_from(int fd, const char *source, const struct sockaddr *to)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const struct sockaddr *from = NULL;
    socklen_t len = 0;

    if (to->sa_family == AF_INET && inet_pton(AF_INET, source, &in.sin_addr) == 1) {
        from = (const struct sockaddr *)&in;
        len = sizeof(in);
    } else if (to->sa_family == AF_INET6 && inet_pton(AF_INET6, source, &in6.sin6_addr) == 1) {
        from = (const struct sockaddr *)&in6;
        len = sizeof(in6);
    }
    if (from && is_loopback(from) == is_loopback(to))
        (void)bind(fd, from, len); /* without, the system chooses */
}

static int dial_one(const struct addrinfo *to, const struct dial_options *options,
                    int64_t deadline_ms)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int r = 0, on = 1;

    if (fd < 0)
        return -errno;
    if (options->source)
        dial_come_from(fd, options->source, to->ai_addr);
    if (connect(fd, to->ai_addr, to->ai_addrlen) < 0)
        r = errno == EINPROGRESS || errno == EINTR
                ? dial_wait(fd, POLLOUT, deadline_ms, options->cancel_fd)
                : -errno;
    if (r == 0) {
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
            error = errno;
        r = -error;
    }
    if (r == 0 && talks_to_itself(fd))
        r = -ECONNREFUSED;
    if (r == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

int dial(const struct dial_address *to, const struct dial_options *options, struct err *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int fd = -EHOSTUNREACH;

    int gai = getaddrinfo(to->host, to->port, &hints, &found);
    if (gai != 0)
        return err_say(err, fd, "connect to %s:%s: %s", to->host, to->port, gai_strerror(gai));
    for (const struct addrinfo *a = found; a && fd < 0 && fd != -ECANCELED; a = a->ai_next) {
        /* An address that does not answer leaves time for the next one. */
        int64_t now_ms = clock_mono_ms(), left_ms = options->deadline_ms - now_ms;

        if (options->only_loopback && !is_loopback(a->ai_addr))
            fd = -EPERM;
        else
            fd = dial_one(a, options, now_ms + (a->ai_next ? left_ms / 2 : left_ms));
    }
    freeaddrinfo(found);
    if (fd == -EPERM && options->only_loopback)
        return err_say(err, fd, "%s:%s is not a loopback address", to->host, to->port);
    return fd >= 0 ? fd : err_set(err, fd, "connect to %s:%s", to->host, to->port);
}
