/* notify.c - see notify.h. One datagram for each message: lines of KEY=VALUE. */
#include "common/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

enum { STATUS_MAX = 512, WAIT_S = 5 };

static int notify_fd = -1; /* connected; set before threads run */
static int64_t watchdog_ms;

/* $WATCHDOG_USEC counts for $WATCHDOG_PID alone: a child that inherits both is not watched. */
static int64_t wanted_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    unsigned long long value;
    char *end;

    if (!usec)
        return 0;
    if (pid) {
        long long watched = strtoll(pid, &end, 10);

        if (*end == '\0' && end != pid && watched != (long long)getpid())
            return 0;
    }
    errno = 0;
    value = strtoull(usec, &end, 10);
    if (errno != 0 || *end != '\0' || end == usec || usec[0] == '-' || value < 2000 ||
        value > INT64_MAX) {
        log_warn("WATCHDOG_USEC=%s is no time of 2000 us or more: no signs of life are sent", usec);
        return 0;
    }
    return (int64_t)(value / 1000);
}

/* 0 or -errno. */
static int connect_to(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = WAIT_S};
    size_t len = strlen(name);
    int r;

    if ((name[0] != '/' && name[0] != '@') || name[1] == '\0')
        return -EINVAL;
    if (len >= sizeof(to.sun_path))
        return -ENAMETOOLONG;
    memcpy(to.sun_path, name, len);
    if (name[0] == '@')
        to.sun_path[0] = '\0';
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify_fd < 0)
        return -errno;
    /* An abstract name ends where the address does, a path where its zero is. */
    if (setsockopt(notify_fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
        connect(notify_fd, (const struct sockaddr *)&to,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'))) < 0) {
        r = -errno;
        notify_close();
        return r;
    }
    return 0;
}

void notify_open(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    int r;

    if (!name || notify_fd >= 0)
        return;
    r = connect_to(name);
    if (r < 0) {
        log_warn("NOTIFY_SOCKET=%s cannot be used: %s; the service manager is told nothing", name,
                 strerror(-r));
        return;
    }
    watchdog_ms = wanted_watchdog_ms();
}

void notify_close(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
    watchdog_ms = 0;
}

static bool tell(const char *text, int flags)
{
    ssize_t n;

    do
        n = send(notify_fd, text, strlen(text), MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        log_warn_limited("NOTIFY_SOCKET", "the service manager cannot be told %.*s: %s",
                         (int)strcspn(text, "\n"), text, strerror(errno));
    return n >= 0;
}

/* The format of the status is checked by the compiler where it is written. */
static bool tell_status(const char *head, const char *status, va_list args, int flags)
{
    char text[64 + STATUS_MAX];
    int n = snprintf(text, sizeof(text), "%sSTATUS=", head);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text + n, STATUS_MAX, status, args);
#pragma GCC diagnostic pop
    /* A name in it must not begin an assignment of its own. */
    for (char *c = text + n; *c; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    }
    return tell(text, flags);
}

void notify_ready(const char *status, ...)
{
    va_list args;

    if (notify_fd < 0)
        return;
    va_start(args, status);
    tell_status("READY=1\n", status, args, 0);
    va_end(args);
}

void notify_status(const char *status, ...)
{
    va_list args;

    if (notify_fd < 0)
        return;
    va_start(args, status);
    tell_status("", status, args, MSG_DONTWAIT);
    va_end(args);
}

void notify_stopping(void)
{
    if (notify_fd >= 0)
        tell("STOPPING=1\nSTATUS=stopping", 0);
}

int64_t notify_watchdog_ms(void)
{
    return watchdog_ms;
}

bool notify_alive(void)
{
    return notify_fd < 0 || tell("WATCHDOG=1", MSG_DONTWAIT);
}
