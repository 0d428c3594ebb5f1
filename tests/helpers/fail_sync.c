/* fail_sync.c - put before a program (LD_PRELOAD): fdatasync of a commit log segment fails with EIO
 * once the file named by FAIL_SYNC is there, and does not end while the file named by SLOW_SYNC is.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool of_the_log(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    return strstr(path, "/commitlog/") != NULL;
}

static bool asked_for(const char *variable)
{
    const char *path = getenv(variable);

    return path && access(path, F_OK) == 0;
}

int fdatasync(int fd)
{
    static int (*next)(int fd);

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
    if (!of_the_log(fd))
        return next(fd);
    while (asked_for("SLOW_SYNC")) {
        struct timespec pause = {.tv_nsec = 5000000};

        nanosleep(&pause, NULL);
    }
    if (asked_for("FAIL_SYNC")) {
        errno = EIO;
        return -1;
    }
    return next(fd);
}
