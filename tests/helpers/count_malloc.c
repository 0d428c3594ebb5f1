/* count_malloc.c - counts the allocations of the event loop's thread (the process's first), for
 * LD_PRELOAD. SIGUSR2 writes the count so far into the file that $TERN_ALLOCATIONS names, and where
 * the last one came from to stderr.
 *
 * The other threads work on their own time (files, journals): what is counted is the path of
 * messages. The file is written aside and moved into place, so that a reader sees all of it.
 */
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_ulong count;
static pid_t first_thread;
static char path[512], aside[520];

enum { FRAMES = 12 };
static void *last[FRAMES]; /* first thread only, where signals are taken too */
static int last_frames;

static void count_one(void)
{
    if (first_thread == 0 || (pid_t)syscall(SYS_gettid) != first_thread)
        return;
    atomic_fetch_add(&count, 1);
    last_frames = backtrace(last, FRAMES);
}

/* glibc's own names behind the public ones. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
    count_one();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count_one();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count_one();
    return __libc_realloc(p, n);
}

/* Only calls that a signal handler may make. */
static void report(int signo)
{
    unsigned long n = atomic_load(&count);
    char text[24];
    size_t at = sizeof(text);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    (void)signo;
    if (fd < 0)
        return;
    do
        text[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    if (write(fd, text + at, sizeof(text) - at) > 0)
        rename(aside, path);
    close(fd);
    if (last_frames > 0)
        backtrace_symbols_fd(last, last_frames, STDERR_FILENO);
}

__attribute__((constructor)) static void begin(void)
{
    const char *to = getenv("TERN_ALLOCATIONS");
    struct sigaction action = {.sa_handler = report, .sa_flags = SA_RESTART};

    if (!to || strlen(to) >= sizeof(path))
        return;
    strcpy(path, to);
    snprintf(aside, sizeof(aside), "%s.new", to);
    last_frames = backtrace(last, FRAMES); /* loads what it needs, which allocates */
    last_frames = 0;
    sigaction(SIGUSR2, &action, NULL);
    first_thread = getpid();
}
