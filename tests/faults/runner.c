/* runner.c - see runner.h. A worker is a process: one that dies, by an assertion or a signal, has
 * found a failure of the item it was at, and another one goes on behind it. */
#include "runner.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk.h"

enum { WORKERS_MAX = 64, LOG_ROOM = 65536, FAILED = 3, ITEM_LIMIT_S = 60 };

struct slot {
    uint64_t item, done;
    bool before_items; /* of its group */
    char text[RUNNER_TEXT];
};
static struct slot *slots; /* shared with the workers */
static struct slot *mine;
static char folder[128];

/* --- the log --- */

ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);

static char log_text[LOG_ROOM + 1];
static size_t log_len;
static bool log_shown;

/* What the log writes to stderr; nothing else here calls write(). */
ssize_t __wrap_write(int fd, const void *from, size_t n)
{
    if (fd != STDERR_FILENO)
        return __real_write(fd, from, n);
    if (log_shown)
        (void)!__real_write(fd, from, n);
    if (n > LOG_ROOM)
        n = LOG_ROOM;
    if (log_len + n > LOG_ROOM) {
        size_t keep = LOG_ROOM / 2 < LOG_ROOM - n ? LOG_ROOM / 2 : LOG_ROOM - n;
        keep = keep < log_len ? keep : log_len;
        memmove(log_text, log_text + log_len - keep, keep);
        log_len = keep;
    }
    memcpy(log_text + log_len, from, n);
    log_len += n;
    log_text[log_len] = '\0';
    return (ssize_t)n;
}

const char *runner_log(void)
{
    return log_text;
}

void runner_log_forget(void)
{
    log_len = 0;
    log_text[0] = '\0';
}

void runner_log_show(bool show)
{
    log_shown = show;
}

/* --- workers --- */

void runner_group(uint64_t first)
{
    alarm(ITEM_LIMIT_S);
    mine->item = first;
    mine->before_items = true;
}

void runner_item(uint64_t item)
{
    alarm(ITEM_LIMIT_S); /* one that never ends has failed */
    mine->item = item;
    mine->before_items = false;
    mine->done++;
}

void runner_failed(const char *text)
{
    snprintf(mine->text, sizeof(mine->text), "%s", text);
    _exit(FAILED);
}

void runner_folder(const char *name)
{
    if (mkdir(name, 0755) != 0 && errno != EEXIST) {
        perror(name);
        _exit(2);
    }
    folder_clear(name);
}

/* Threads take turns: on one processor that costs least. */
static void stay_on_one_processor(unsigned worker)
{
    cpu_set_t all, one;
    unsigned count, at;

    if (sched_getaffinity(0, sizeof(all), &all) != 0 || (count = (unsigned)CPU_COUNT(&all)) == 0)
        return;
    worker %= count;
    for (at = 0; at < CPU_SETSIZE; at++) {
        if (CPU_ISSET(at, &all) && worker-- == 0)
            break;
    }
    CPU_ZERO(&one);
    CPU_SET(at, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

static void work(const struct runner *r, unsigned worker, uint64_t from)
{
    uint64_t group = from / r->group;

    mine = &slots[worker];
    if (chdir(folder) != 0) {
        perror(folder);
        _exit(2);
    }
    stay_on_one_processor(worker);
    for (; group * r->group < r->to; group += r->workers) {
        uint64_t end = (group + 1) * r->group < r->to ? (group + 1) * r->group : r->to;
        if (from < group * r->group)
            from = group * r->group;
        r->run(r->ctx, from, end);
    }
    _exit(0);
}

static const char *base_folder(void)
{
    const char *base = getenv("TMPDIR");

    if (access("/dev/shm", W_OK) == 0)
        return "/dev/shm";
    return base ? base : "/tmp";
}

static void note_failure(const struct runner *r, struct runner_result *out, unsigned worker,
                         int status)
{
    struct slot *s = &slots[worker];
    char command[512] = "";

    if (WIFSIGNALED(status))
        snprintf(s->text, sizeof(s->text), "it died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != FAILED)
        snprintf(s->text, sizeof(s->text), "it ended with status %d", WEXITSTATUS(status));
    out->failed++;
    if (!s->before_items)
        s->done--;
    if (s->item < out->first_failed) {
        out->first_failed = s->item;
        memcpy(out->text, s->text, sizeof(out->text));
    }
    if (r->quiet)
        return;
    if (r->command)
        r->command(r->ctx, s->item, command, sizeof(command));
    printf("%s\n  reproduce: %s\n", s->text, command);
    fflush(stdout);
}

static pid_t start(const struct runner *r, unsigned worker, uint64_t from)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0)
        work(r, worker, from);
    if (pid < 0) {
        perror("fork");
        exit(2);
    }
    return pid;
}

void runner_run(const struct runner *r, struct runner_result *out)
{
    pid_t pids[WORKERS_MAX] = {0};
    char of_worker[160];
    unsigned running = 0;

    *out = (struct runner_result){.first_failed = UINT64_MAX};
    slots = mmap(NULL, WORKERS_MAX * sizeof(*slots), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    for (unsigned w = 0; w < r->workers && w < WORKERS_MAX; w++) {
        uint64_t from = (r->from / r->group + w) * r->group;

        snprintf(folder, sizeof(folder), "%s/tern-faults-%d-%u", base_folder(), (int)getpid(), w);
        if (mkdir(folder, 0755) != 0) {
            perror(folder);
            exit(2);
        }
        pids[w] = start(r, w, from < r->from ? r->from : from);
        running++;
    }
    while (running > 0) {
        unsigned w = 0;
        uint64_t next;
        int status;
        pid_t pid = wait(&status);

        while (w < r->workers && pids[w] != pid)
            w++;
        if (w == r->workers)
            continue;
        snprintf(folder, sizeof(folder), "%s/tern-faults-%d-%u", base_folder(), (int)getpid(), w);
        running--;
        pids[w] = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        note_failure(r, out, w, status);
        next = slots[w].item + 1;
        if (slots[w].before_items)
            next = (slots[w].item / r->group + r->workers) * r->group;
        if (out->failed < r->stop_after && next < r->to) {
            pids[w] = start(r, w, next);
            running++;
        }
    }
    for (unsigned w = 0; w < r->workers && w < WORKERS_MAX; w++) {
        out->passed += slots[w].done;
        snprintf(of_worker, sizeof(of_worker), "%s/tern-faults-%d-%u", base_folder(), (int)getpid(),
                 w);
        folder_clear(of_worker);
        rmdir(of_worker);
    }
    munmap(slots, WORKERS_MAX * sizeof(*slots));
}
