/* store_flush.c - the flusher: makes durable what was written, and everything that follows from it.
 *
 * One pass looks at each of its duties; each says when it wants to be looked at again. In between
 * it sleeps until the earliest of these times or until the log has grown past a mark, whichever is
 * first; with nothing to do, without a time. While it is awake nobody signals it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum {
    WRITEBACK_MS = 20,      /* early writeback, so that no flush meets a mountain of dirty pages */
    PRESSED_MS = 20,        /* between two looks at queues that use too much memory */
    QUEUES_MS = 1000,       /* between two write-backs of full pages */
    QUEUES_BYTES = 4 << 20, /* of log between them */
    MARK_MS = 1000,         /* tern/flushed is at most this old */
    MARK_BYTES = 64 << 20,  /* or this far behind */
    CHECKPOINT_MS = 60000,  /* between two write-backs of all queues, while there is traffic */
    CHECKPOINT_BYTES = 256 << 20,
    CHECKPOINT_FIRST_MS = 1000, /* after a recovery, so that the next one has less to do */
    AHEAD_BYTES = 64 << 20,     /* the next segment is made when less than this is left */
    RETRY_MS = 1000,
};
#define NEVER INT64_MAX

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void flusher_init(struct flusher *f)
{

    atomic_store(&f->wake_at, UINT64_MAX);
    f->mark_file.fd = -1;
    pthread_mutex_init(&f->lock, NULL);
    clock_cond_init(&f->wake);
}

void flusher_destroy(struct flusher *f)
{
    mark_close(&f->mark_file);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
}

/* --- its duties --- */

static void complain(struct store *s, const char *what, int r)
{
    char room[128];

    s->flusher.complaining = true;
    log_warn_limited(what, "store %s: %s failed: %s; it will be tried again", s->root_dir, what,
                     strerror_r(-r, room, sizeof(room)));
}

/* 0, or the failure that has stopped the log. */
static int flush(struct store *s)
{
    int r = commit_log_flush(s->log);

    if (r < 0) {
        atomic_fetch_add_explicit(&s->flush_failures, 1, memory_order_relaxed);
        store_note_stop(s);
        return r;
    }
    if (r > 0) {
        atomic_fetch_add_explicit(&s->flushes, 1, memory_order_relaxed);
        store_progress(s);
    }
    return 0;
}

static int64_t keep_durable(struct store *s, int64_t now, bool at_once)
{
    struct flusher *f = &s->flusher;
    uint64_t written = commit_log_written(s->log);

    if (written == commit_log_flushed(s->log)) {
        f->dirty_since_ms = 0;
        return NEVER;
    }
    if (f->dirty_since_ms == 0) {
        f->dirty_since_ms = now;
        f->writeback_ms = now;
        f->writeback_to = commit_log_flushed(s->log);
    }
    if (at_once || now - f->dirty_since_ms >= s->options.flush_interval_ms) {
        if (flush(s) < 0)
            return NEVER;
        f->dirty_since_ms = 0;
        return commit_log_written(s->log) > commit_log_flushed(s->log) ? now : NEVER;
    }
    if (written - f->writeback_to >= STORE_EARLY_BYTES ||
        (written > f->writeback_to && now - f->writeback_ms >= WRITEBACK_MS)) {
        commit_log_writeback(s->log);
        f->writeback_ms = now;
        f->writeback_to = written;
    }
    /* What comes meanwhile is looked for every WRITEBACK_MS; a time already past would only spin.
     */
    return earlier(f->dirty_since_ms + s->options.flush_interval_ms,
                   written > f->writeback_to ? f->writeback_ms + WRITEBACK_MS : now + WRITEBACK_MS);
}

/* Entries of flushed records go to their files: full pages now and then, more when memory is short.
 * Under ASYNC_FLUSH short memory does not wait for the disk: entries of written records go, like
 * these records, to the page cache. After an unclean stop nothing above the last checkpoint is
 * believed, so that an entry may be on the disk before its record. Under SYNC_FLUSH nothing
 * unconfirmed leaves memory, which the veil needs. */
static int64_t keep_queues(struct store *s, int64_t now, bool pressed)
{
    struct flusher *f = &s->flusher;
    uint64_t flushed =
        pressed && !s->options.sync_flush ? commit_log_written(s->log) : commit_log_flushed(s->log);
    uint64_t confirmed = store_confirmed(s), complete = 0;

    if (flushed > confirmed)
        flushed = confirmed;
    uint64_t news = flushed > f->queues_flushed ? flushed - f->queues_flushed : 0;
    int r;

    if (!pressed && (news == 0 || (now - f->queues_ms < QUEUES_MS && news < QUEUES_BYTES)))
        return news == 0 ? NEVER : f->queues_ms + QUEUES_MS;
    r = queue_table_write_back(s->queues, flushed, now, false, &complete);
    if (r == 0 && pressed && queue_table_pressed(s->queues))
        r = queue_table_write_back(s->queues, flushed, now, true, &complete);
    if (r < 0)
        complain(s, "writing consume queues", r);
    f->queues_ms = now;
    f->queues_flushed = flushed;
    return pressed && queue_table_pressed(s->queues) ? now + PRESSED_MS : NEVER;
}

static int64_t newest_store_ms(struct store *s, uint64_t *end)
{
    int64_t ms;

    pthread_mutex_lock(&s->append_lock);
    ms = s->last_store_ms;
    if (end)
        *end = commit_log_end(s->log);
    pthread_mutex_unlock(&s->append_lock);
    return ms;
}

static int put_mark(struct store *s, int64_t now, struct mark *mark)
{
    struct flusher *f = &s->flusher;
    int r;

    mark->store_ms = newest_store_ms(s, NULL);
    mark->crc_from = atomic_load(&s->crc_from);
    if (atomic_load(&s->queues_dropped)) { /* the digest has queues that are gone */
        mark->queue_ends = 0;
        mark->log_min = MARK_NO_MIN;
    }
    r = mark_write(&f->mark_file, mark);
    f->mark_ms = now;
    if (r == 0) {
        f->mark = *mark;
        atomic_store_explicit(&f->complete_to, mark->queues_complete_to, memory_order_release);
    }
    return r;
}

static int64_t keep_mark(struct store *s, int64_t now)
{
    struct flusher *f = &s->flusher;
    struct mark mark = f->mark;
    uint64_t news;
    int r;

    mark.flushed = commit_log_flushed(s->log);
    news = mark.flushed - f->mark.flushed;
    if (news == 0)
        return NEVER;
    if (now - f->mark_ms < MARK_MS && (news < MARK_BYTES || f->complaining))
        return f->mark_ms + MARK_MS;
    r = put_mark(s, now, &mark);
    if (r < 0) {
        complain(s, "writing tern/flushed", r);
        return now + MARK_MS;
    }
    f->complaining = false;
    return NEVER;
}

static void doubt_queues(struct store *s, int r)
{
    char room[128];

    s->flusher.queues_doubted = true;
    log_error("store %s: the file system of the consume queues cannot be synced: %s; look at the "
              "disk and restart: until then no checkpoint moves on, and the next start reads the "
              "log from %llu on",
              s->root_dir, strerror_r(-r, room, sizeof(room)),
              (unsigned long long)s->flusher.mark.queues_complete_to);
}

/* The queue files are on the disk, up to the entries of records above `flushed`. */
static int sync_queues(struct store *s, int64_t now, struct mark *mark)
{
    char path[PATH_MAX];
    uint64_t complete = s->flusher.mark.queues_complete_to, confirmed = store_confirmed(s);
    int fd, r;

    mark->flushed = commit_log_flushed(s->log);
    mark->queues_complete_to = complete;
    s->flusher.step = "writing consume queues";
    r = queue_table_write_back(s->queues, mark->flushed < confirmed ? mark->flushed : confirmed,
                               now, true, &complete);
    if (r < 0 || s->flusher.queues_doubted)
        return r;
    s->flusher.step = "syncing the file system of consumequeue/";
    r = store_path(s, path, "consumequeue");
    if (r < 0)
        return r;
    fd = file_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    r = file_syncfs(fd);
    file_close(fd);
    if (r < 0)
        doubt_queues(s, r);
    if (r == 0 && complete > mark->queues_complete_to)
        mark->queues_complete_to = complete < mark->flushed ? complete : mark->flushed;
    return r;
}

/* What the files of the queues hold now, for the start after a crash to compare. */
static void digest_queues(struct store *s, struct mark *mark)
{
    struct queue_digest digest;

    atomic_store(&s->queues_dropped, false);
    mark->log_min = atomic_load(&s->settled_min);
    digest = queue_table_digest(s->queues, mark->queues_complete_to);
    mark->queue_ends = digest.ends;
    mark->queue_mins = digest.mins;
    /* Queues begin where the log does; while that moves they follow one by one. */
    if (commit_log_min(s->log) != mark->log_min || atomic_load(&s->settled_min) != mark->log_min)
        mark->log_min = MARK_NO_MIN;
}

/* Queues complete in their files, the mark that says so, and RocketMQ's checkpoint, whose times may
 * only name records that are flushed and in their queues. */
static int checkpoint(struct store *s, int64_t now)
{
    char path[PATH_MAX];
    struct mark mark = {0};
    uint64_t end;
    int64_t store_ms = newest_store_ms(s, &end);
    int r;

    s->flusher.step = "flushing the log";
    store_write(s);
    r = flush(s);
    if (r < 0)
        return r;
    r = sync_queues(s, now, &mark);
    if (r < 0)
        return r;
    s->flusher.queues_flushed = mark.flushed;
    digest_queues(s, &mark);
    s->flusher.step = "writing tern/flushed";
    r = put_mark(s, now, &mark);
    if (r < 0)
        return r;
    s->flusher.step = "writing the file checkpoint";
    if (mark.flushed < end || mark.queues_complete_to < end)
        return 0; /* a flush or write-back that took less: the next checkpoint has it */
    r = store_path(s, path, "checkpoint");
    if (r < 0)
        return r;
    return checkpoint_write(path, store_ms, store_ms,
                            s->index ? index_flushed_ms(s->index) : s->checkpoint_index);
}

static int64_t keep_checkpoint(struct store *s, int64_t now)
{
    struct flusher *f = &s->flusher;
    uint64_t flushed = commit_log_flushed(s->log);
    bool asked = atomic_exchange(&f->checkpoint_asked, false);
    int r;

    if (f->checkpoint_ms == 0) {
        if (flushed == f->checkpoint_to && !asked)
            return NEVER;
        f->checkpoint_ms = now;
    }
    if (!asked && now - f->checkpoint_ms < CHECKPOINT_MS &&
        flushed - f->checkpoint_to < CHECKPOINT_BYTES)
        return f->checkpoint_ms + CHECKPOINT_MS;
    r = checkpoint(s, now);
    f->checkpoint_to = commit_log_flushed(s->log);
    f->checkpoint_ms = 0;
    if (r < 0) {
        complain(s, f->step, r);
        f->checkpoint_ms = now;
        return now + CHECKPOINT_MS;
    }
    return NEVER;
}

static int64_t keep_segment_ahead(struct store *s, int64_t now)
{
    if (store_is_follower(s) && commit_log_limit(s->log) == 0)
        return NEVER; /* where the log begins is not known yet */

    uint64_t segment = (uint64_t)s->options.segment_bytes;
    uint64_t wanted = segment / 2 > AHEAD_BYTES ? segment / 2 : AHEAD_BYTES;
    int r;

    if (wanted > segment)
        wanted = segment;
    if (commit_log_limit(s->log) - commit_log_end(s->log) >= wanted) {
        store_note_prepare(s, 0);
        return NEVER;
    }
    r = commit_log_prepare(s->log);
    store_note_prepare(s, r);
    return r < 0 ? now + RETRY_MS : NEVER;
}

/* --- the thread --- */

/* One pass. Returns the time to come back at, and in *wake_at the value of `written` to wake up
 * for. */
static int64_t flusher_turn(struct store *s, uint64_t *wake_at)
{
    struct flusher *f = &s->flusher;
    int64_t now = clock_mono_ms(), next;
    bool pressed = queue_table_pressed(s->queues) && now - f->queues_ms >= PRESSED_MS;

    *wake_at = UINT64_MAX;
    next = keep_durable(s, now, s->options.sync_flush);
    if (atomic_load_explicit(&s->stop_told, memory_order_relaxed))
        return NEVER; /* the log has stopped for good: nothing of this may go on */
    next = earlier(next, keep_queues(s, now, pressed));
    next = earlier(next, keep_mark(s, now));
    next = earlier(next, keep_checkpoint(s, now));
    next = earlier(next, keep_segment_ahead(s, now));
    retention_written(s);
    *wake_at = s->options.sync_flush || f->dirty_since_ms == 0
                   ? commit_log_flushed(s->log) + 1
                   : f->writeback_to + STORE_EARLY_BYTES;
    return next;
}

/* False when it is to end. */
static bool flusher_sleep(struct store *s, int64_t until_ms, uint64_t wake_at)
{
    struct flusher *f = &s->flusher;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool stop;

    pthread_mutex_lock(&f->lock);
    /* A read-modify-write, like the writer's look at it after it has moved `written`: one of the
     * two sees the other. */
    atomic_exchange(&f->wake_at, wake_at);
    while (!f->called && !f->stop && commit_log_written(s->log) < wake_at) {
        if (until_ms == NEVER)
            pthread_cond_wait(&f->wake, &f->lock);
        else if (pthread_cond_timedwait(&f->wake, &f->lock, &until) == ETIMEDOUT)
            break;
    }
    atomic_exchange(&f->wake_at, UINT64_MAX);
    f->called = false;
    stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return !stop;
}

static void *flusher_main(void *arg)
{
    struct store *s = arg;
    uint64_t wake_at;
    int64_t until_ms;

    do {
        until_ms = flusher_turn(s, &wake_at);
    } while (flusher_sleep(s, until_ms, wake_at));
    return NULL;
}

int flusher_start(struct store *s, struct err *err)
{
    struct flusher *f = &s->flusher;
    int64_t now = clock_mono_ms();
    int r;

    f->stop = false; /* it may have been stopped for a change that wants nobody else in the store */
    f->mark_ms = f->queues_ms = now;
    f->queues_flushed = commit_log_flushed(s->log);
    f->checkpoint_to = f->mark.queues_complete_to;
    atomic_store(&f->complete_to, f->mark.queues_complete_to);
    if (f->checkpoint_to < f->mark.flushed)
        f->checkpoint_ms = now - CHECKPOINT_MS + CHECKPOINT_FIRST_MS;
    r = store_thread(&f->thread, "tern-flusher", flusher_main, s);
    if (r < 0)
        return err_set(err, r, "start the flusher thread");
    f->started = true;
    return 0;
}

void flusher_stop(struct store *s)
{
    struct flusher *f = &s->flusher;

    if (!f->started)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    f->started = false;
}

void flusher_call(struct store *s)
{
    struct flusher *f = &s->flusher;

    pthread_mutex_lock(&f->lock);
    f->called = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void flusher_written(struct store *s, uint64_t written)
{
    if (written >= atomic_fetch_or(&s->flusher.wake_at, 0))
        flusher_call(s);
}

int flusher_finish(struct store *s)
{
    uint64_t end = commit_log_end(s->log);
    int r;

    s->flusher.step = "flushing the log";
    if (s->index) { /* it stops with everything that is confirmed now; the checkpoint knows of it */
        store_write(s);
        r = flush(s);
        index_stop(s->index);
        if (r < 0)
            return r;
    }
    r = checkpoint(s, clock_mono_ms());

    if (r < 0)
        return r;
    if (commit_log_flushed(s->log) < end || s->flusher.mark.queues_complete_to < end)
        return -EIO;
    return 0;
}
