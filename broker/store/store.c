/* store.c - opening and closing, and the small questions. See store.h.
 *
 * What stands where: store_internal.h.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/store/delay_levels.h"
#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum { THREAD_STACK_BYTES = 512 << 10, FAR_PERCENT = 40 };

int store_path(const struct store *s, char to[PATH_MAX], const char *name)
{
    int n = snprintf(to, PATH_MAX, "%s/%s", s->root_dir, name);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int store_thread(pthread_t *id, const char *name, void *(*main)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int r;

    r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    r = pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    if (r == 0) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(id, &attributes, main, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    if (r == 0)
        pthread_setname_np(*id, name);
    return -r;
}

int64_t store_delivery_ms(const struct store_options *options, int64_t store_ms, int32_t level)
{
    return delay_levels_due(options->delay_ms, options->delay_levels, store_ms, level);
}

int store_lock(const char *root_dir, struct err *err)
{
    int r = file_mkdirs(root_dir);

    if (r < 0)
        return err_set(err, r, "make the store folder %s", root_dir);
    return lock_take(root_dir, err);
}

void store_unlock(int lock)
{
    if (lock >= 0)
        file_close(
            lock); /* the lock goes with the descriptor; the file stays, as RocketMQ has it */
}

int store_lock_holder(const char *root_dir, int *holder)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/lock", root_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    return file_lock_holder(path, holder);
}

/* --- opening --- */

static uint64_t far_bytes(int percent)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    if (pages <= 0 || size <= 0)
        return UINT64_MAX;
    if (percent == STORE_NEAR_NOTHING)
        return 0;
    return (uint64_t)pages * (uint64_t)size / 100 * (uint64_t)(percent ? percent : FAR_PERCENT);
}

static size_t tail_bytes_for(size_t wanted, size_t record_max)
{
    size_t bytes = 4096;

    while (bytes < wanted || bytes / 4 < record_max)
        bytes *= 2;
    return bytes;
}

static int copy_options(struct store *s, const struct store_options *o, struct err *err)
{
    s->options = *o;
    s->metadata = o->metadata;
    if (o->segment_bytes < 4096 || o->segment_bytes > INT32_MAX)
        return err_say(err, -EINVAL, "commit log segments of %lld bytes: must be 4096 to %d",
                       (long long)o->segment_bytes, INT32_MAX);
    if (o->message_max == 0 || o->message_max > STORE_RECORD_READ_MAX - STORE_RECORD_EXTRA)
        return err_say(err, -EINVAL, "messages of at most %zu bytes: the limit must be 1 to %d",
                       o->message_max, STORE_RECORD_READ_MAX - STORE_RECORD_EXTRA);
    assert(o->reader_threads >= 1);
    assert(o->flush_interval_ms > 0);
    assert(o->delay_levels >= 0 && o->delay_levels <= 64);
    s->record_max = o->message_max + STORE_RECORD_EXTRA;
    if (s->record_max > (size_t)o->segment_bytes - RECORD_BLANK_BYTES)
        s->record_max = (size_t)o->segment_bytes - RECORD_BLANK_BYTES;
    s->far_bytes = far_bytes(o->near_percent);
    s->root_dir = strdup(o->root_dir);
    if (!s->root_dir)
        return err_set(err, -ENOMEM, "open the store %s", o->root_dir);
    if (o->commit_log_dir)
        s->commit_log_dir = strdup(o->commit_log_dir);
    else if (asprintf(&s->commit_log_dir, "%s/commitlog", o->root_dir) < 0)
        s->commit_log_dir = NULL;
    if (!s->commit_log_dir)
        return err_set(err, -ENOMEM, "open the store %s", o->root_dir);
    if (strchr(s->commit_log_dir, ','))
        return err_say(err, -EINVAL,
                       "storePathCommitLog=%s: several folders are not supported, name one",
                       s->commit_log_dir);
    s->options.root_dir = s->root_dir;
    s->options.commit_log_dir = s->commit_log_dir;
    return 0;
}

static int same_disk(const char *a, const char *b)
{
    struct stat at, bt;
    int r = file_stat(a, &at);

    if (r == 0)
        r = file_stat(b, &bt);
    return r < 0 ? r : at.st_dev == bt.st_dev;
}

/* Segments are made elsewhere and moved in, which only works within one file system: tern/, or a
 * neighbour of the commit log when that is on a disk of its own. */
static int choose_spare_dir(struct store *s, struct err *err)
{
    char tern[PATH_MAX];
    size_t len = strlen(s->commit_log_dir);
    int r = store_path(s, tern, "tern");

    if (r == 0)
        r = same_disk(tern, s->commit_log_dir);
    if (r < 0)
        return err_set(err, r, "look at %s and %s/tern", s->commit_log_dir, s->root_dir);
    if (r == 1) {
        s->spare_dir = strdup(tern);
        return s->spare_dir ? 0 : err_set(err, -ENOMEM, "open the store %s", s->root_dir);
    }
    while (len > 1 && s->commit_log_dir[len - 1] == '/')
        len--;
    if (asprintf(&s->spare_dir, "%.*s.tern", (int)len, s->commit_log_dir) < 0) {
        s->spare_dir = NULL;
        return err_set(err, -ENOMEM, "open the store %s", s->root_dir);
    }
    r = file_mkdirs(s->spare_dir);
    if (r == 0)
        r = same_disk(s->spare_dir, s->commit_log_dir);
    if (r < 0)
        return err_set(err, r, "make %s", s->spare_dir);
    if (r == 0)
        return err_say(err, -EXDEV,
                       "the commit log folder %s is a mount point: name a folder below it as "
                       "storePathCommitLog",
                       s->commit_log_dir);
    return 0;
}

static int make_folders(struct store *s, bool own_log_dir, struct err *err)
{
    static const char *const names[] = {"tern", "consumequeue"};
    char path[PATH_MAX];
    int r;

    /* In the root, not synced: `abort` will be there, and its sync makes these durable with it. */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        r = store_path(s, path, names[i]);
        if (r == 0)
            r = file_mkdir(path);
        if (r < 0)
            return err_set(err, r, "make %s/%s", s->root_dir, names[i]);
    }
    r = own_log_dir ? file_mkdirs(s->commit_log_dir) : file_mkdir(s->commit_log_dir);
    if (r < 0)
        return err_set(err, r, "make %s", s->commit_log_dir);
    return choose_spare_dir(s, err);
}

static int open_log(struct store *s, struct err *err)
{
    struct commit_log_options log = {
        .dir = s->commit_log_dir,
        .spare_dir = s->spare_dir,
        .segment_bytes = s->options.segment_bytes,
        .tail_bytes = tail_bytes_for(s->options.tail_bytes, s->record_max),
        .record_max = s->record_max,
        .append_lock = &s->append_lock,
    };

    return commit_log_open(&s->log, &log, err);
}

int store_open_queues(struct store *s, struct err *err)
{
    char path[PATH_MAX];
    struct queue_table_options queues = {
        .dir = path,
        .file_bytes = (s->options.queue_file_bytes + QUEUE_ENTRY_BYTES - 1) / QUEUE_ENTRY_BYTES *
                      QUEUE_ENTRY_BYTES,
        .memory_budget = s->options.queue_memory,
        .descriptors = s->options.queue_descriptors,
        .append_lock = &s->append_lock,
    };
    int r = store_path(s, path, "consumequeue");

    if (r < 0)
        return err_set(err, r, "open %s/consumequeue", s->root_dir);
    return queue_table_new(&s->queues, &queues, err);
}

static void init_locks(struct store *s)
{
    pthread_mutexattr_t adaptive;

    /* Held for well under a microsecond: spinning a little is cheaper than sleeping. */
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&s->append_lock, &adaptive);
    pthread_mutexattr_destroy(&adaptive);
    pthread_mutex_init(&s->tail_lock, NULL);
    pthread_mutex_init(&s->scratch_lock, NULL);
    clock_cond_init(&s->tail_moved);
    flusher_init(&s->flusher);
    retention_init(&s->retention);
    damage_init(&s->damage);
    scrub_init(&s->scrub);
}

void store_free(struct store *s)
{
    retention_stop(s);
    flusher_stop(s);
    scrub_stop(s);
    reader_pool_free(s->readers);
    index_close(s->index);
    queue_table_free(s->queues);
    commit_log_close(s->log);
    flusher_destroy(&s->flusher);
    retention_destroy(&s->retention);
    scrub_destroy(&s->scrub);
    damage_destroy(&s->damage);
    store_scratch_free(s);
    pthread_cond_destroy(&s->tail_moved);
    pthread_mutex_destroy(&s->scratch_lock);
    pthread_mutex_destroy(&s->tail_lock);
    pthread_mutex_destroy(&s->append_lock);
    store_unlock(s->lock_fd);
    free(s->spare_dir);
    free(s->commit_log_dir);
    free(s->root_dir);
    free(s);
}

/* From here on the store is not cleanly stopped, and the snapshot of queue ends gets old. The mark
 * may stay as a clean stop has left it: with `abort` there, or the snapshot gone, it claims no more
 * than any mark. What a scan has found replaces it. */
static int leave_clean_state(struct store *s, bool scanned, struct err *err)
{
    struct flusher *f = &s->flusher;
    char path[PATH_MAX];
    int r = store_path(s, path, "abort");

    if (r == 0)
        r = abort_create(path);
    if (r < 0)
        return err_set(err, r, "create %s/abort", s->root_dir);
    r = store_path(s, path, "tern/queues");
    if (r == 0)
        r = file_unlink(path);
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "remove %s/tern/queues", s->root_dir);
    f->mark.clean = false;
    f->mark.tail_crc = 0;
    if (!scanned)
        return 0;
    r = mark_write(&f->mark_file, &f->mark);
    if ((r == -ENOSPC || r == -EDQUOT) && !s->options.cut.on) {
        /* Reading must go on with a full disk, and an old mark is a safe one, unless it knows of a
         * tail that was cut. */
        log_warn("store %s: no room to write tern/flushed", s->root_dir);
        return 0;
    }
    if (r < 0)
        return err_set(err, r, "write %s/tern/flushed", s->root_dir);
    return 0;
}

/* A deletion is synced before its reply, the log that it speaks of need not be: after a power cut a
 * topic's floor can lie above the end, and would hide what comes to stand below it. */
static void limit_floors(struct store *s)
{
    char room[128];
    int r = metadata_limit_floors(s->metadata, commit_log_end(s->log));

    if (r < 0)
        log_error(
            "store %s: the metadata journal cannot be written: %s; it is tried again, but a "
            "power cut before that may hide messages of topics that were deleted and made anew",
            s->root_dir, strerror_r(-r, room, sizeof(room)));
}

static uint64_t confirmed_of(const void *ctx)
{
    return store_confirmed(ctx);
}

static int open_index(struct store *s, bool unclean, struct err *err)
{
    struct index_options index = {
        .root_dir = s->root_dir,
        .commit_log_dir = s->commit_log_dir,
        .log = s->log,
        .confirmed = confirmed_of,
        .ctx = s,
        .unclean = unclean,
        .boot_end = s->boot_end,
        .shape = s->options.index_shape,
    };
    char path[PATH_MAX];
    int r = store_path(s, path, "checkpoint");

    if (r == 0)
        r = checkpoint_index_ms(path, &s->checkpoint_index);
    if (r < 0)
        return err_set(err, r, "read %s/checkpoint", s->root_dir);
    index.rocketmq_ms = s->checkpoint_index;
    if (s->options.index)
        return index_open(&s->index, &index, err);
    if (!s->options.cut.on || index.shape.slots == 0)
        return 0;
    /* None is kept now, but there may be one, and it must not speak of what is cut. */
    r = index_open(&s->index, &index, err);
    s->index = index_close(s->index);
    return r;
}

int store_make(struct store **out, const struct store_options *options, struct err *err)
{
    struct store *s = aligned_alloc(alignof(struct store), sizeof(*s));
    int r;

    if (!s)
        return err_set(err, -ENOMEM, "open the store %s", options->root_dir);
    memset(s, 0, sizeof(*s));
    s->lock_fd = -1;
    init_locks(s);
    atomic_store(&s->confirm_limit,
                 options->limit_confirmed ? options->confirmed_at_most : UINT64_MAX);
    atomic_store(&s->follower, options->follower);
    r = copy_options(s, options, err);
    if (r < 0) {
        store_free(s);
        return r;
    }
    *out = s;
    return 0;
}

int store_open(struct store **out, const struct store_options *options, struct err *err)
{
    bool scanned = false, unclean = false;
    struct store *s;
    int r = store_make(&s, options, err);

    if (r < 0)
        return r;
    if (!options->locked) {
        r = store_lock(s->root_dir, err);
        if (r < 0)
            goto fail;
        s->lock_fd = r;
    }
    r = make_folders(s, options->commit_log_dir != NULL, err);
    if (r == 0 && options->cut.on && options->cut.anew)
        r = store_cut_anew(s, err);
    if (r < 0)
        goto fail;
    r = open_log(s, err);
    if (r == 0 && options->cut.on && options->cut.anew)
        r = commit_log_set_end(s->log, options->cut.to, NULL, err);
    if (r == 0)
        r = store_open_queues(s, err);
    if (r < 0)
        goto fail;
    r = store_recover(s, &scanned, &unclean, err);
    if (r == 0)
        r = open_index(s, unclean, err);
    if (r < 0)
        goto fail;
    limit_floors(s);
    if (options->cut.on)
        r = store_cut_offsets(s, err);
    if (r < 0)
        goto fail;
    r = leave_clean_state(s, scanned, err);
    if (r < 0)
        goto fail;
    r = reader_pool_new(&s->readers, options->reader_threads, err);
    if (r < 0)
        goto fail;
    if (s->index)
        r = index_start(s->index, err);
    if (r == 0)
        r = flusher_start(s, err);
    if (r == 0)
        r = scrub_start(s, err);
    if (r < 0)
        goto fail;
    r = retention_start(s, err);
    if (r < 0)
        goto fail;
    *out = s;
    return 0;

fail:
    store_free(s);
    return r;
}

/* --- closing --- */

/* The statements that the next start may skip its scan: each only after what it speaks of is on the
 * disk, `abort` last. */
static int state_clean(struct store *s)
{
    struct flusher *f = &s->flusher;
    struct mark mark = f->mark;
    char path[PATH_MAX];
    bool ends_there;
    int r;

    f->step = "removing segments of the log that nothing was written to";
    r = commit_log_trim(s->log);
    if (r < 0)
        return r;
    f->step = "writing tern/queues";
    r = store_path(s, path, "tern/queues");
    if (r == 0)
        r = queue_table_snapshot_save(s->queues, path, mark.flushed);
    if (r < 0)
        return r;
    f->step = "reading the end of the log";
    r = store_tail_look(s, commit_log_limit(s->log), mark.flushed, &mark.tail_crc, &ends_there);
    if (r < 0)
        return r;
    f->step = "writing tern/flushed";
    mark.clean = true;
    r = mark_write(&f->mark_file, &mark);
    if (r < 0)
        return r;
    f->step = "removing the file abort";
    r = store_path(s, path, "abort");
    return r < 0 ? r : abort_remove(path);
}

int store_close(struct store *s)
{
    char room[128];
    uint64_t end;
    int r;

    if (!s)
        return 0;
    pthread_mutex_lock(&s->append_lock);
    atomic_store(&s->closing, true);
    pthread_mutex_unlock(&s->append_lock);
    retention_stop(s);
    store_limit_confirmed(s, UINT64_MAX); /* nobody looks any more */
    scrub_stop(s);                        /* what it has repaired is synced with the rest */
    flusher_stop(s);
    s->readers = reader_pool_free(s->readers);
    r = flusher_finish(s);
    s->index = index_close(s->index);
    if (r == 0)
        r = state_clean(s);
    end = commit_log_end(s->log);
    if (r == 0)
        log_info("store %s stopped cleanly at %" PRIu64, s->root_dir, end);
    else
        log_error(
            "store %s: the stop was not clean (%s: %s): the next start looks at the whole state",
            s->root_dir, s->flusher.step, strerror_r(-r, room, sizeof(room)));
    store_free(s);
    return r;
}

/* --- questions --- */

uint64_t store_end(const struct store *s)
{
    return commit_log_end(s->log);
}

uint64_t store_written(const struct store *s)
{
    return commit_log_written(s->log);
}

uint64_t store_flushed(const struct store *s)
{
    return commit_log_flushed(s->log);
}

uint64_t store_kept(const struct store *s)
{
    return s->options.sync_flush ? commit_log_flushed(s->log) : commit_log_written(s->log);
}

int64_t store_segment_bytes(const struct store *s)
{
    return s->options.segment_bytes;
}

uint64_t store_last_segment(const struct store *s)
{
    uint64_t written = commit_log_written(s->log);

    return written - written % (uint64_t)s->options.segment_bytes;
}

/* The one place that says what is safe enough to be seen. */
uint64_t store_confirmed(const struct store *s)
{
    uint64_t own = store_kept(s);
    uint64_t limit = atomic_load_explicit(&s->confirm_limit, memory_order_acquire);

    return own < limit ? own : limit;
}

void store_limit_confirmed(struct store *s, uint64_t limit)
{
    atomic_store_explicit(&s->confirm_limit, limit, memory_order_release);
    if (s->index)
        index_progress(s->index, store_confirmed(s));
}

uint64_t store_hold_confirmed(struct store *s)
{
    return commit_log_hold(s->log, &s->confirm_limit);
}

ssize_t store_send(struct store *s, int socket, uint64_t offset, uint64_t to)
{
    return commit_log_send(s->log, socket, offset, to);
}

uint64_t store_min(const struct store *s)
{
    return commit_log_min(s->log);
}

bool store_stopped(const struct store *s, char reason[160])
{
    return commit_log_stopped(s->log, reason);
}

bool store_disk_full(struct store *s, char why[STORE_FULL_TEXT])
{
    struct retention *r = &s->retention;
    bool refusing = atomic_load_explicit(&r->refusing, memory_order_relaxed);

    if (refusing && why) {
        pthread_mutex_lock(&r->lock);
        memcpy(why, r->refusal, STORE_FULL_TEXT);
        pthread_mutex_unlock(&r->lock);
    }
    if (refusing)
        return true;
    if (!atomic_load_explicit(&s->disk_full, memory_order_relaxed))
        return false;
    if (why)
        snprintf(why, STORE_FULL_TEXT, "the disk of %.200s has no room for another log segment",
                 s->commit_log_dir);
    return true;
}

int store_run(struct store *s, void (*job)(void *ctx), void *ctx)
{
    return reader_pool_run(s->readers, READER_POOL_USUAL, job, ctx);
}

int store_run_first(struct store *s, void (*job)(void *ctx), void *ctx)
{
    return reader_pool_run(s->readers, READER_POOL_FIRST, job, ctx);
}

void store_set_waiting(struct store *s, uint32_t queue, unsigned loop, bool waiting)
{
    queue_table_set_waiting(s->queues, queue, loop, waiting);
}

void store_on_waited(struct store *s,
                     void (*on_waited)(void *ctx, uint32_t loops_mask, uint32_t queue,
                                       uint64_t log_end),
                     void *ctx)
{
    pthread_mutex_lock(&s->append_lock);
    s->on_waited = on_waited;
    s->on_waited_ctx = ctx;
    pthread_mutex_unlock(&s->append_lock);
}

int store_delete_topic(struct store *s, struct bytes name, uint64_t *sequence)
{
    struct topic *topic;
    uint64_t end;
    bool durable;
    int r = metadata_topic_hold(s->metadata, name, store_end(s), true, sequence, &topic);

    if (r < 0)
        return r;
    /* Whoever had looked the topic up before has appended by now, or is refused. */
    pthread_mutex_lock(&s->append_lock);
    end = store_end(s);
    pthread_mutex_unlock(&s->append_lock);
    metadata_topic_raise_floor(s->metadata, topic, end, sequence);
    durable = metadata_wait(s->metadata, *sequence, STORE_DELETE_MS);
    if (durable)
        (void)store_drop_topic(s, topic); /* what could not be removed is not read */
    metadata_topic_let_go(s->metadata, topic, durable);
    return durable ? 0 : -ETIMEDOUT;
}

int store_drop_topic(struct store *s, struct topic *topic)
{
    int r = queue_table_drop_topic(s->queues, topic);

    atomic_store(&s->queues_dropped, true);
    return r;
}

void store_stats(struct store *s, struct store_stats *out)
{
    *out = (struct store_stats){
        .appended_messages = atomic_load_explicit(&s->appended_messages, memory_order_relaxed),
        .appended_bytes = atomic_load_explicit(&s->appended_bytes, memory_order_relaxed),
        .written_calls = atomic_load_explicit(&s->written_calls, memory_order_relaxed),
        .flushes = atomic_load_explicit(&s->flushes, memory_order_relaxed),
        .flush_failures = atomic_load_explicit(&s->flush_failures, memory_order_relaxed),
        .records_recovered = s->records_recovered,
        .log_space = commit_log_space(s->log),
        .deleted_segments = atomic_load_explicit(&s->retention.segments, memory_order_relaxed),
        .deleted_queue_files =
            atomic_load_explicit(&s->retention.queue_files, memory_order_relaxed),
        .jobs_waiting_max = READER_POOL_WAITING_MAX,
        .damaged_records = atomic_load_explicit(&s->damage.places, memory_order_relaxed),
        .boot_recovery_ms = s->boot_recovery_ms,
        .scrubbed_to = atomic_load_explicit(&s->scrub.scrubbed_to, memory_order_relaxed),
        .scrub_end = s->boot_end,
        .scrub_problems = atomic_load_explicit(&s->scrub.problems, memory_order_relaxed),
        .entries_mended = atomic_load_explicit(&s->scrub.mended, memory_order_relaxed),
        .entries_given_up = atomic_load_explicit(&s->scrub.given_up, memory_order_relaxed),
        .repairs_waiting = atomic_load_explicit(&s->scrub.waiting, memory_order_relaxed),
    };
    reader_pool_stats(s->readers, &out->jobs_waiting, &out->first_job_waits_ms);
    queue_table_stats(s->queues, &out->queues);
    out->has_index = s->index != NULL;
    if (s->index)
        index_stats(s->index, &out->index);
}
