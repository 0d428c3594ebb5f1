/* faulty_calls.c - put before a program (LD_PRELOAD): calls that fail or take as long as a test
 * wants them to. A variable names a file; the call minds it while it is there.
 *
 *  FAIL_SYNC    fdatasync of a commit log segment fails with EIO
 *  SLOW_SYNC    fdatasync of a commit log segment waits
 *  SLOW_REPORT  a send of 8 bytes, which is what a slave's report has, waits
 *
 * A call that waits makes a file of that name with ".waiting" behind it, and goes on when one of
 * the two is removed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/files.h"

static bool asked_for(const char *variable)
{
    const char *path = getenv(variable);

    return path && access(path, F_OK) == 0;
}

static void wait_as_asked(const char *variable)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    char waiting[PATH_MAX];
    int fd;

    if (!asked_for(variable))
        return;
    snprintf(waiting, sizeof(waiting), "%s.waiting", getenv(variable));
    fd = open(waiting, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        abort(); /* the test would wait for it in vain */
    close(fd);
    while (asked_for(variable) && access(waiting, F_OK) == 0)
        nanosleep(&pause, NULL);
    unlink(waiting);
}

int fdatasync(int fd)
{
    static int (*next)(int fd);

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
    if (!file_is_in(fd, "/commitlog/"))
        return next(fd);
    wait_as_asked("SLOW_SYNC");
    if (asked_for("FAIL_SYNC")) {
        errno = EIO;
        return -1;
    }
    return next(fd);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    static ssize_t (*next)(int fd, const void *bytes, size_t size, int flags);

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "send");
    if (size == 8)
        wait_as_asked("SLOW_REPORT");
    return next(fd, bytes, size, flags);
}
