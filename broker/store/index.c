/* index.c - the thread that follows the log: see index.h.
 *
 * One turn looks at each duty; the thread then sleeps until the earliest time that one of them
 * named, or until the log has grown past a mark. While there is traffic it looks every STEP_MS or
 * STEP_BYTES, so that nobody signals it for a single message; with nothing left to do it sleeps
 * until something is appended, and has given its memory back.
 */
#include "broker/store/index.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "broker/store/index_internal.h"
#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum {
    STEP_MS = 50,
    STEP_BYTES = 1 << 20,
    TURN_PIECES = 64,      /* of the log, before timers are looked at again */
    BATCH_MS = 1000,       /* an entry waits at most this long */
    CHECKPOINT_MS = 60000, /* between two syncs of the files */
    OWED_BYTES = 1 << 20,
    REBUILD_RATE = 128 << 20, /* bytes of log a second that an earlier process wrote */
};
#define NEVER INT64_MAX

static bool stopping(struct index *x)
{
    bool stop;

    pthread_mutex_lock(&x->lock);
    stop = x->stop;
    pthread_mutex_unlock(&x->lock);
    return stop;
}

static struct timespec timespec_of(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* What an earlier process wrote is read no faster than REBUILD_RATE. */
static void pace(struct index *x, uint64_t from, uint64_t to)
{
    struct timespec until;

    if (to > x->options.boot_end)
        to = x->options.boot_end;
    if (to <= from)
        return;
    x->owed_bytes += to - from;
    if (x->owed_bytes < OWED_BYTES)
        return;
    until = timespec_of(clock_mono_ms() + (int64_t)(x->owed_bytes * 1000 / REBUILD_RATE));
    x->owed_bytes = 0;
    pthread_mutex_lock(&x->lock);
    while (!x->stop && pthread_cond_timedwait(&x->wake, &x->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&x->lock);
}

static int restore_newest(struct index *x)
{
    const char *why = NULL;
    int r = x->writer.fd < 0 ? index_open_newest(x) : 0;

    if (r == -ENOENT) {
        index_drop_newest(x, "it is gone");
        return 0;
    }
    if (r < 0)
        return r;
    r = index_writer_restore(&x->writer, x->restore_next, x->restore_limit, &why);
    if (r == -EBADMSG || r == -ENODATA) {
        index_drop_newest(x, why ? why : "it is shorter than it was");
        return 0;
    }
    if (r < 0)
        return r;
    if (x->writer.header.next == 1) {
        index_drop_newest(x, "it has no entry that counts");
        return 0;
    }
    log_info("index file %s is restored: %u entries", x->writer.path, x->writer.header.next - 1);
    pthread_rwlock_wrlock(&x->files_lock);
    x->files[x->count - 1].header = x->writer.header;
    x->newest_hidden = false;
    pthread_rwlock_unlock(&x->files_lock);
    if (x->writer.header.next >= x->shape.entries_max)
        index_writer_close(&x->writer);
    x->restore = false;
    return 0;
}

static bool is_asked(struct index *x)
{
    bool asked;

    pthread_mutex_lock(&x->lock);
    asked = x->asked > 0 && x->reach >= x->asked;
    pthread_mutex_unlock(&x->lock);
    return asked;
}

/* Some pieces of the log. 0, or a failure that was said. */
static int follow(struct index *x, uint64_t confirmed)
{
    x->busy = false;
    x->reach = x->feed.position;
    for (int i = 0; i < TURN_PIECES && x->feed.position < confirmed && !stopping(x); i++) {
        uint64_t before = x->feed.position;
        int r = index_feed_read(&x->feed, confirmed, index_on_record, x);

        x->reach = r == INDEX_FEED_WAIT ? confirmed : x->feed.position;
        atomic_store(&x->position, x->feed.position);
        x->busy |= x->feed.position > before;
        if (r == INDEX_FEED_STOPPED && x->error < 0)
            r = x->error;
        if (r < 0) {
            (void)index_failed(x, "making it from the log", r);
            return r;
        }
        if (r == INDEX_FEED_WAIT)
            break;
        pace(x, before, x->feed.position);
    }
    return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What follows when everything is read. Returns when to come back. */
static int64_t keep_files(struct index *x, int64_t now)
{
    int64_t next = NEVER;
    int r = 0;

    if (is_asked(x) || (x->writer.count > 0 && now - x->batch_ms >= BATCH_MS))
        r = index_put(x);
    if (r == 0 && x->checkpoint_ms != 0 && now - x->checkpoint_ms >= CHECKPOINT_MS)
        r = index_checkpoint(x, false);
    if (r < 0)
        return index_failed(x, "writing its files", r);
    if (x->writer.count > 0)
        next = x->batch_ms + BATCH_MS;
    else if (atomic_load(&x->put_to) != x->reach)
        index_put_reached(x, x->reach); /* records without keys */
    if (x->checkpoint_ms != 0)
        next = earlier(next, x->checkpoint_ms + CHECKPOINT_MS);
    return next;
}

/* Slots and chains can be put right from the entries of the file itself; otherwise, as for older
 * files, the log has it all. */
static void check_suspect(struct index *x, int64_t name)
{
    char path[PATH_MAX];

    for (uint32_t i = 0; i < x->count; i++) {
        if (x->files[i].name != name || x->files[i].lost)
            continue;
        if (i + 1 == x->count) {
            pthread_rwlock_wrlock(&x->files_lock);
            x->newest_hidden = true;
            pthread_rwlock_unlock(&x->files_lock);
            x->restore = true;
            x->restore_next = x->files[i].header.next;
            x->restore_limit = UINT64_MAX;
            return;
        }
        if (index_file_path(x, path, name) == 0)
            (void)file_unlink(path);
        pthread_rwlock_wrlock(&x->files_lock);
        x->files[i].lost = true;
        pthread_rwlock_unlock(&x->files_lock);
    }
}

static void delete_files(struct index *x, uint64_t min_offset)
{
    char path[PATH_MAX];

    while (x->count > 1 && (uint64_t)x->files[0].header.end_offset < min_offset) {
        if (!x->files[0].lost && index_file_path(x, path, x->files[0].name) == 0) {
            int r = file_unlink(path);
            if (r < 0 && r != -ENOENT)
                log_warn_limited(path, "index file %s, which nobody needs, cannot be removed: %s",
                                 path, strerror(-r));
        }
        pthread_rwlock_wrlock(&x->files_lock);
        index_files_remove(x, 0);
        pthread_rwlock_unlock(&x->files_lock);
    }
}

/* What others have asked for. */
static void answer_calls(struct index *x)
{
    int64_t suspect;
    uint64_t before;

    pthread_mutex_lock(&x->lock);
    suspect = x->suspect;
    before = x->delete_before;
    x->suspect = 0;
    x->delete_before = 0;
    pthread_mutex_unlock(&x->lock);
    if (suspect != 0 && !x->restore && index_put(x) == 0)
        check_suspect(x, suspect);
    if (before > 0)
        delete_files(x, before);
}

static int64_t repair(struct index *x, int64_t now, int64_t next)
{
    uint64_t before;
    int r;

    if (!index_repair_wanted(x))
        return next;
    before = x->repair.feed.position;
    r = index_repair_step(x);
    if (r == 1)
        r = index_checkpoint(x, false);
    if (r < 0)
        return index_failed(x, "making a lost file again", r);
    pace(x, before, x->repair.feed.position);
    return now;
}

/* Returns when to come back, and in *wake_at the `confirmed` to wake up for. */
static int64_t index_turn(struct index *x, uint64_t *wake_at)
{
    int64_t now = clock_mono_ms(), next;
    uint64_t confirmed = index_confirmed(x);
    int r = 0;

    *wake_at = UINT64_MAX;
    if (x->retry_ms > now)
        return x->retry_ms;
    x->retry_ms = 0;
    answer_calls(x);
    if (x->restore)
        r = restore_newest(x);
    if (r < 0)
        return index_failed(x, "restoring its newest file", r);
    if (follow(x, confirmed) < 0)
        return x->retry_ms;
    next = keep_files(x, now);
    if (x->retry_ms > 0)
        return x->retry_ms;
    if (x->writer.count == 0)
        x->pause_ms = 0;
    if (x->reach < confirmed)
        return now;
    *wake_at = x->reach + (x->busy ? STEP_BYTES : 1);
    if (x->busy)
        return earlier(next, now + STEP_MS);
    if (x->writer.count == 0) {
        index_feed_rest(&x->feed);
        index_writer_rest(&x->writer);
    }
    return repair(x, now, next);
}

/* Lock held. */
static bool is_called(const struct index *x)
{
    return x->asked > 0 || x->suspect != 0 || x->delete_before > 0;
}

/* False when it is to end. */
static bool index_sleep(struct index *x, int64_t until_ms, uint64_t wake_at)
{
    struct timespec until = timespec_of(until_ms);
    bool stop;

    pthread_mutex_lock(&x->lock);
    /* A read-modify-write, like the look at it by whoever moves `confirmed`: one of the two sees
     * the other. */
    atomic_exchange(&x->wake_at, wake_at);
    while (!x->stop && (x->retry_ms > 0 || !is_called(x)) && index_confirmed(x) < wake_at) {
        if (until_ms == NEVER)
            pthread_cond_wait(&x->wake, &x->lock);
        else if (pthread_cond_timedwait(&x->wake, &x->lock, &until) == ETIMEDOUT)
            break;
    }
    atomic_exchange(&x->wake_at, UINT64_MAX);
    stop = x->stop;
    pthread_mutex_unlock(&x->lock);
    return !stop;
}

/* The stop: what is left of the log, if that is soon done, then a state that the next start can
 * believe. */
static void leave(struct index *x)
{
    int64_t deadline = clock_mono_ms() + INDEX_STOP_MS;
    uint64_t confirmed = index_confirmed(x);
    char room[128];
    int r = 0;

    index_repair_stop(x);
    if (x->restore)
        return; /* the next start has to do it as well */
    while (x->feed.position < confirmed && r >= 0 && clock_mono_ms() < deadline) {
        r = index_feed_read(&x->feed, confirmed, index_on_record, x);
        if (r == INDEX_FEED_STOPPED)
            r = x->error < 0 ? x->error : 0;
        if (r == INDEX_FEED_WAIT)
            confirmed = x->feed.position;
    }
    if (r >= 0)
        r = index_checkpoint(x, true);
    if (r < 0)
        log_warn("key index of %s: the stop was not clean (%s): the next start goes back to the "
                 "last checkpoint",
                 x->root_dir, strerror_r(-r, room, sizeof(room)));
    else if (x->feed.position < confirmed)
        log_info("key index of %s stopped %" PRIu64 " bytes behind the log; the next start goes on "
                 "there",
                 x->root_dir, confirmed - x->feed.position);
}

static void *index_main(void *arg)
{
    struct index *x = arg;
    uint64_t wake_at;
    int64_t until_ms;

    do {
        until_ms = index_turn(x, &wake_at);
    } while (index_sleep(x, until_ms, wake_at));
    leave(x);
    return NULL;
}

/* --- for others --- */

static void init_locks(struct index *x)
{
    pthread_rwlockattr_t fair;

    pthread_rwlockattr_init(&fair);
    /* Many who search must not keep the one waiting who writes. */
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&x->files_lock, &fair);
    pthread_rwlockattr_destroy(&fair);
    pthread_mutex_init(&x->lock, NULL);
    clock_cond_init(&x->wake);
    clock_cond_init(&x->moved);
}

int index_open(struct index **out, const struct index_options *options, struct err *err)
{
    struct index *x = aligned_alloc(alignof(struct index), sizeof(*x));
    int r;

    assert(index_shape_ok(&options->shape));
    if (!x)
        return err_set(err, -ENOMEM, "open the index of %s", options->root_dir);
    memset(x, 0, sizeof(*x));
    init_locks(x);
    atomic_store(&x->wake_at, UINT64_MAX);
    x->options = *options;
    x->shape = options->shape;
    index_writer_init(&x->writer, &x->shape);
    index_writer_init(&x->repair.writer, &x->shape);
    x->root_dir = strdup(options->root_dir);
    x->commit_log_dir = strdup(options->commit_log_dir);
    if (!x->root_dir || !x->commit_log_dir) {
        r = err_set(err, -ENOMEM, "open the index of %s", options->root_dir);
        goto fail;
    }
    x->options.root_dir = x->root_dir;
    x->options.commit_log_dir = x->commit_log_dir;
    r = index_load(x, err);
    if (r < 0)
        goto fail;
    x->newest_hidden = x->restore;
    x->feed = (struct index_feed){.log = options->log,
                                  .commit_log_dir = x->commit_log_dir,
                                  .boot_end = options->boot_end,
                                  .position = x->synced_position};
    x->repair.feed = x->feed;
    atomic_store(&x->position, x->synced_position);
    atomic_store(&x->put_to, x->restore ? 0 : x->synced_position);
    if (x->count > 0 && x->files[x->count - 1].header.next >= x->shape.entries_max && !x->restore)
        atomic_store(&x->flushed_ms, x->files[x->count - 1].header.end_ms);
    else if (x->count > 1)
        atomic_store(&x->flushed_ms, x->files[x->count - 2].header.end_ms);
    *out = x;
    return 0;

fail:
    index_close(x);
    return r;
}

int index_start(struct index *x, struct err *err)
{
    int r = store_thread(&x->thread, "tern-index", index_main, x);

    if (r < 0)
        return err_set(err, r, "start the index thread");
    x->started = true;
    return 0;
}

void index_stop(struct index *x)
{
    if (!x->started)
        return;
    pthread_mutex_lock(&x->lock);
    x->stop = true;
    pthread_cond_broadcast(&x->wake);
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
    pthread_join(x->thread, NULL);
    x->started = false;
}

struct index *index_close(struct index *x)
{
    if (!x)
        return NULL;
    index_stop(x);
    index_repair_stop(x);
    index_writer_close(&x->writer);
    index_feed_rest(&x->feed);
    pthread_cond_destroy(&x->moved);
    pthread_cond_destroy(&x->wake);
    pthread_mutex_destroy(&x->lock);
    pthread_rwlock_destroy(&x->files_lock);
    free(x->files);
    free(x->root_dir);
    free(x->commit_log_dir);
    free(x);
    return NULL;
}

void index_progress(struct index *x, uint64_t confirmed)
{
    if (confirmed < atomic_fetch_or(&x->wake_at, 0))
        return;
    pthread_mutex_lock(&x->lock);
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

uint64_t index_catch_up(struct index *x, uint64_t to, int64_t wait_ms)
{
    struct timespec until = timespec_of(clock_mono_ms() + wait_ms);
    uint64_t position = atomic_load(&x->position);

    if (atomic_load(&x->put_to) >= to || (position < to && to - position > INDEX_NEAR_BYTES))
        return atomic_load(&x->put_to);
    pthread_mutex_lock(&x->lock);
    if (x->asked < to)
        x->asked = to;
    pthread_cond_signal(&x->wake);
    while (!x->stop && atomic_load(&x->put_to) < to) {
        if (pthread_cond_timedwait(&x->moved, &x->lock, &until) == ETIMEDOUT)
            break;
    }
    pthread_mutex_unlock(&x->lock);
    return atomic_load(&x->put_to);
}

void index_suspect(struct index *x, int64_t name)
{
    pthread_mutex_lock(&x->lock);
    x->suspect = name;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

void index_delete_before(struct index *x, uint64_t min_offset)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    if (x->delete_before < min_offset)
        x->delete_before = min_offset;
    pthread_cond_signal(&x->wake);
    pthread_mutex_unlock(&x->lock);
}

int64_t index_flushed_ms(struct index *x)
{
    return atomic_load(&x->flushed_ms);
}

void index_stats(struct index *x, struct index_stats *out)
{
    uint64_t confirmed = index_confirmed(x);

    *out = (struct index_stats){
        .position = atomic_load(&x->position),
        .entries = atomic_load_explicit(&x->entries, memory_order_relaxed),
        .pending = atomic_load_explicit(&x->pending, memory_order_relaxed),
        .failures = atomic_load_explicit(&x->failures, memory_order_relaxed),
    };
    out->lag_bytes = confirmed > out->position ? confirmed - out->position : 0;
    pthread_rwlock_rdlock(&x->files_lock);
    out->hidden = x->newest_hidden;
    for (uint32_t i = 0; i < x->count; i++) {
        const struct index_header *h = &x->files[i].header;
        if (x->files[i].lost)
            out->repairing_bytes += (uint64_t)(h->end_offset - h->begin_offset) + 1;
        else
            out->files++;
        out->end_ms = h->end_ms;
        out->end_offset = h->end_offset;
    }
    pthread_rwlock_unlock(&x->files_lock);
}
