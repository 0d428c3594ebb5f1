/* saver.c - see saver.h.
 *
 * Shared under `lock`: the text that waits, and how far the writer has come. The loop learns of it
 * by a message that carries nothing: it looks at the state, so a message too many does no harm.
 */
#include "namesrv/saver.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/file.h"

enum { POST_AGAIN_NS = 1000000 };

struct saver {
    char *path;
    struct loop *loop;
    saver_done on_saved;
    void *ctx;
    uint64_t told; /* up to here on_saved has been called */
    bool started;
    bool stopped;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct buf waiting;     /* the newest text, when wanted is above tried */
    uint64_t wanted, tried; /* numbers of changes: asked for; written, or failed */
    struct err result;      /* of the last try */
    bool stop;
};

/* The folder is made when the first file goes into it. */
static int write_file(const char *path, struct bytes text, struct err *err)
{
    const char *slash = strrchr(path, '/');

    if (slash && slash != path) {
        char *dir = strndup(path, (size_t)(slash - path));
        int r = dir ? file_mkdirs(dir) : -ENOMEM;

        free(dir);
        if (r < 0)
            return err_set(err, r, "make the folder of %s", path);
    }
    return file_replace(path, text, err);
}

static bool is_stopping(struct saver *s)
{
    bool stop;

    pthread_mutex_lock(&s->lock);
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static void on_progress(struct loop_message *message);

/* While the mailbox is full the news can wait a moment; a stop brings it in another way. */
static void tell_loop(struct saver *s)
{
    struct loop_message message = {.run = on_progress, .ctx = s};
    struct timespec pause = {.tv_nsec = POST_AGAIN_NS};

    while (!is_stopping(s) && loop_post(s->loop, &message) == -EAGAIN)
        nanosleep(&pause, NULL);
}

static void *writer_run(void *ctx)
{
    struct saver *s = ctx;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct err result = {0};
        struct buf text;
        uint64_t upto;

        while (s->wanted == s->tried && !s->stop)
            pthread_cond_wait(&s->changed, &s->lock);
        if (s->wanted == s->tried)
            break;
        text = s->waiting;
        upto = s->wanted;
        s->waiting = (struct buf){0};
        pthread_mutex_unlock(&s->lock);

        result.code = write_file(s->path, buf_bytes(&text), &result);
        buf_destroy(&text);

        pthread_mutex_lock(&s->lock);
        s->tried = upto;
        s->result = result;
        pthread_mutex_unlock(&s->lock);
        tell_loop(s);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Signals are the business of the thread that runs the loop. */
static int start_writer(struct saver *s)
{
    sigset_t all, before;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&s->thread, NULL, writer_run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return -r;
    s->started = true;
    return 0;
}

int saver_save(struct saver *s, struct buf *text, uint64_t *number)
{
    int r = s->stopped ? -ESHUTDOWN : s->started ? 0 : start_writer(s);

    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    buf_destroy(&s->waiting);
    s->waiting = *text;
    *text = (struct buf){0};
    *number = ++s->wanted;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void report(struct saver *s)
{
    struct err result;
    uint64_t tried;

    pthread_mutex_lock(&s->lock);
    tried = s->tried;
    result = s->result;
    pthread_mutex_unlock(&s->lock);
    if (tried == s->told)
        return;
    s->told = tried;
    s->on_saved(s->ctx, tried, result.code, result.text);
}

static void on_progress(struct loop_message *message)
{
    report(message->ctx);
}

const char *saver_path(const struct saver *s)
{
    return s->path;
}

void saver_stop(struct saver *s)
{
    if (s->stopped)
        return;
    s->stopped = true;
    if (!s->started)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    report(s);
}

int saver_new(struct saver **out, const char *path, struct loop *loop, saver_done on_saved,
              void *ctx)
{
    struct saver *s = calloc(1, sizeof(*s));

    if (!s)
        return -ENOMEM;
    s->path = strdup(path);
    if (!s->path) {
        free(s);
        return -ENOMEM;
    }
    s->loop = loop;
    s->on_saved = on_saved;
    s->ctx = ctx;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    *out = s;
    return 0;
}

struct saver *saver_free(struct saver *s)
{
    if (!s)
        return NULL;
    assert(s->stopped);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    buf_destroy(&s->waiting);
    free(s->path);
    free(s);
    return NULL;
}
