/* metadata.c - opening and closing, sequences, and the metadata thread: what it does in one turn.
 *
 * metadata_turn() is all of the work; the thread only waits for it to become due. So a test can
 * take the turns itself, with a clock of its own.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "broker/store/metadata_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum { METADATA_LIMIT_MS = 2000 };
enum { ROUNDS_MAX = 8 }; /* group commits in one turn, before the rest of the turn has its chance */

/* --- what the tables call --- */

int metadata_admit(struct metadata *m)
{
    return atomic_load(&m->started) && atomic_load(&m->pending) >= METADATA_PENDING_MAX ? -EAGAIN
                                                                                        : 0;
}

void metadata_wake(struct metadata *m, _Atomic bool *work)
{
    if (atomic_exchange(work, true))
        return;
    pthread_mutex_lock(&m->wake_lock);
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->wake_lock);
}

void metadata_version_move(struct data_version *version)
{
    version->counter = (int64_t)((uint64_t)version->counter + 1); /* a file may hold any number */
    version->timestamp = clock_wall_ms();
}

void metadata_version_take(struct data_version *version, const struct data_version *theirs)
{
    if (theirs->counter > version->counter)
        version->counter = theirs->counter;
    if (theirs->state_version > version->state_version)
        version->state_version = theirs->state_version;
}

bool metadata_version_follow(struct data_version *version, const struct data_version *theirs)
{
    bool newer = theirs->counter > version->counter ||
                 (theirs->counter == version->counter && theirs->timestamp != version->timestamp);

    if (newer) {
        version->counter = theirs->counter;
        version->timestamp = theirs->timestamp;
    }
    if (theirs->state_version > version->state_version) {
        version->state_version = theirs->state_version;
        newer = true;
    }
    return newer;
}

void metadata_set_epoch(struct metadata *m, uint64_t epoch)
{
    uint64_t before = atomic_load(&m->epoch);

    while (epoch > before && !atomic_compare_exchange_weak(&m->epoch, &before, epoch))
        continue;
}

void metadata_lead(struct metadata *m, uint64_t epoch)
{
    metadata_set_epoch(m, epoch);
    topic_table_lead(m, epoch);
    group_table_lead(m, epoch);
    metadata_wake(m, &m->work_changes);
}

uint64_t metadata_durable(const struct metadata *m)
{
    return atomic_load(&m->durable);
}

uint64_t metadata_last(const struct metadata *m)
{
    return atomic_load(&m->last);
}

bool metadata_wait(struct metadata *m, uint64_t sequence, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int r = 0;

    pthread_mutex_lock(&m->wake_lock);
    m->waiters++;
    while (r == 0 && atomic_load(&m->durable) < sequence)
        r = pthread_cond_timedwait(&m->durable_moved, &m->wake_lock, &until);
    m->waiters--;
    pthread_mutex_unlock(&m->wake_lock);
    return atomic_load(&m->durable) >= sequence;
}

void metadata_stats(struct metadata *m, struct metadata_stats *out)
{
    pthread_rwlock_rdlock(&m->groups.lock);
    out->groups = m->groups.count;
    pthread_rwlock_unlock(&m->groups.lock);
    out->topics = metadata_topic_count(m);
    out->offset_pairs = atomic_load(&m->offsets.pairs);
    out->offset_slots = atomic_load(&m->offsets.slots);
    out->pending = atomic_load(&m->pending);
    out->last = atomic_load(&m->last);
    out->durable = atomic_load(&m->durable);
    out->journal_bytes = atomic_load(&m->journal_bytes);
    out->snapshot_bytes = atomic_load(&m->snapshot_bytes);
    out->generation = atomic_load(&m->generation);
    out->syncs = atomic_load(&m->syncs);
    out->failures = atomic_load(&m->failures);
}

static void publish_journal(struct metadata *m)
{
    atomic_store(&m->journal_bytes, (uint64_t)m->journal.bytes);
    atomic_store(&m->snapshot_bytes, (uint64_t)m->journal.snapshot_bytes);
    atomic_store(&m->generation, m->journal.generation);
}

/* --- writing --- */

int metadata_write_batch(struct metadata *m)
{
    char path[PATH_MAX];
    int r;

    assert(!m->batch.failed);
    r = metadata_journal_append(&m->journal, buf_bytes(&m->batch));
    if (r < 0) {
        metadata_journal_path(&m->journal, path, sizeof(path));
        log_warn_limited(path,
                         "write %s: %s; changes of topics, groups and offsets are kept in memory "
                         "and tried again every second",
                         path, strerror(-r));
        atomic_fetch_add(&m->failures, 1);
        m->failing = true;
        return r;
    }
    if (m->failing) {
        metadata_journal_path(&m->journal, path, sizeof(path));
        log_info("%s is written again", path);
    }
    m->failing = false;
    metadata_tap_give(m, buf_bytes(&m->batch), 0);
    buf_reset(&m->batch);
    atomic_fetch_add(&m->syncs, 1);
    publish_journal(m);
    return 0;
}

static void raise_durable(struct metadata *m, uint64_t to)
{
    if (atomic_load(&m->durable) >= to)
        return;
    metadata_tap_give(m, (struct bytes){0}, to);
    atomic_store(&m->durable, to);
    pthread_mutex_lock(&m->wake_lock);
    if (m->waiters > 0)
        pthread_cond_broadcast(&m->durable_moved);
    pthread_mutex_unlock(&m->wake_lock);
    if (m->options.on_durable && atomic_load(&m->started))
        m->options.on_durable(m->options.ctx);
}

/* true: the batch is full, there is more. */
static bool collect(struct metadata *m, bool offsets, uint32_t *offsets_at)
{
    size_t before = m->batch.len;
    bool more;

    more = topic_table_collect(m);
    m->exports[METADATA_EXPORT_TOPICS].dirty |= m->batch.len > before;
    if (more)
        return true;
    before = m->batch.len;
    more = group_table_collect(m);
    m->exports[METADATA_EXPORT_GROUPS].dirty |= m->batch.len > before;
    more = more || lock_table_collect(m);
    if (more || !offsets)
        return more;
    before = m->batch.len;
    more = offset_table_collect(m, offsets_at);
    m->exports[METADATA_EXPORT_OFFSETS].dirty |= m->batch.len > before;
    if (more)
        return true;
    before = m->batch.len;
    more = delay_table_collect(m);
    m->exports[METADATA_EXPORT_DELAYS].dirty |= m->batch.len > before;
    return more;
}

/* Everything that is dirty; consumer offsets and delay cursors only when `offsets`. */
static int flush(struct metadata *m, bool offsets)
{
    bool dropping = false;

    for (int round = 0;; round++) {
        uint64_t target;
        uint32_t offsets_at = 0;
        bool more = true;
        int r;

        if (m->failing) {
            r = metadata_write_batch(m);
            if (r < 0)
                return r;
        }
        /* Before the lists: whatever has a sequence up to this one is on a list, or was. Offsets
         * that were dropped before it are among them. */
        target = atomic_load(&m->last);
        dropping = atomic_exchange(&m->work_drops, false);
        offsets = offsets || dropping;
        while (more) {
            more = collect(m, offsets, &offsets_at);
            if (m->batch.len == 0)
                break;
            r = metadata_write_batch(m);
            if (r < 0) {
                if (dropping)
                    atomic_store(&m->work_drops, true);
                return r;
            }
        }
        raise_durable(m, target);
        if (atomic_load(&m->last) == target)
            return 0;
        offsets = false; /* those that came meanwhile have their second */
        if (round == ROUNDS_MAX) {
            metadata_wake(m, &m->work_changes);
            return 0;
        }
    }
}

/* --- a new generation --- */

static int snapshot_piece(struct metadata *m)
{
    struct buf *out = &m->piece;
    uint64_t count = 0;
    bool more;
    int r;

    buf_reset(out);
    while (m->stage != SNAPSHOT_DONE && out->len < METADATA_BATCH_BYTES && !out->failed) {
        switch (m->stage) {
        case SNAPSHOT_TOPICS:
            more = topic_table_snapshot(m, &m->stage_at, out, &count);
            break;
        case SNAPSHOT_GROUPS:
            more = group_table_snapshot(m, &m->stage_at, out, &count);
            break;
        case SNAPSHOT_OFFSETS:
            more = offset_table_snapshot(m, &m->stage_at, true, out, &count);
            break;
        case SNAPSHOT_LOCKS:
            more = lock_table_snapshot(m, &m->stage_at, out, &count);
            break;
        default:
            delay_table_snapshot(m, true, out, &count);
            metadata_export_snapshot(m, out, &count);
            more = false;
            break;
        }
        if (!more) {
            m->stage++;
            m->stage_at = 0;
        }
    }
    if (out->failed)
        return -ENOMEM;
    r = metadata_snapshot_add(&m->journal, buf_bytes(out), count);
    if (r < 0 || m->stage != SNAPSHOT_DONE)
        return r;
    return metadata_snapshot_commit(&m->journal);
}

static void snapshot_end(struct metadata *m)
{
    metadata_snapshot_abort(&m->journal);
    m->stage = SNAPSHOT_IDLE;
    m->stage_at = 0;
    buf_destroy(&m->piece);
    publish_journal(m);
}

/* Begins, or writes one piece. A failure is tried again later: until then all that is needed stands
 * in the older files. */
static void snapshot_step(struct metadata *m, int64_t now_ms)
{
    int r = 0;

    if (m->stage == SNAPSHOT_IDLE) {
        if (now_ms < m->snapshot_retry_at || !metadata_journal_due(&m->journal))
            return;
        r = metadata_journal_cut(&m->journal);
        if (r == 0)
            r = metadata_snapshot_begin(&m->journal);
        m->stage = SNAPSHOT_TOPICS;
    }
    if (r == 0)
        r = snapshot_piece(m);
    if (r < 0) {
        log_warn_limited(m->journal.dir, "write a snapshot in %s: %s; tried again in %d s",
                         m->journal.dir, strerror(-r), METADATA_SNAPSHOT_RETRY_MS / 1000);
        m->snapshot_retry_at = now_ms + METADATA_SNAPSHOT_RETRY_MS;
    }
    if (r < 0 || m->stage == SNAPSHOT_DONE)
        snapshot_end(m);
}

/* --- turns --- */

static bool exports_dirty(const struct metadata *m)
{
    for (int i = 0; i < METADATA_EXPORTS; i++) {
        if (m->exports[i].dirty)
            return true;
    }
    return false;
}

static void export_step(struct metadata *m, int64_t now_ms)
{
    if (!exports_dirty(m))
        return;
    if (m->export_due == 0)
        m->export_due = m->exported_at + m->options.export_interval_ms;
    if (now_ms < m->export_due)
        return;
    m->export_due = 0;
    m->exported_at = now_ms;
    if (metadata_export_files(m) < 0)
        m->export_due = now_ms + METADATA_RETRY_MS;
}

static int64_t failed_turn(struct metadata *m, int64_t now_ms, bool offsets)
{
    /* Not metadata_wake(): the turn that is due at retry_at looks at the flags by itself. */
    atomic_store(&m->work_changes, true);
    if (offsets) {
        atomic_store(&m->work_offsets, true);
        m->offsets_due = now_ms;
    }
    m->retry_at = now_ms + METADATA_RETRY_MS;
    return m->retry_at;
}

static int64_t next_due(const struct metadata *m, int64_t now_ms)
{
    int64_t due = INT64_MAX;

    if (m->stage != SNAPSHOT_IDLE)
        return now_ms;
    if (m->offsets_due != 0)
        due = m->offsets_due;
    if (m->export_due != 0 && m->export_due < due)
        due = m->export_due;
    if (m->snapshot_retry_at > now_ms && m->snapshot_retry_at < due)
        due = m->snapshot_retry_at;
    return due;
}

int64_t metadata_turn(struct metadata *m, int64_t now_ms)
{
    bool changes, offsets;
    uint64_t syncs;

    if (now_ms < m->retry_at)
        return m->retry_at;
    m->retry_at = 0;
    if (m->exported_at < 0)
        m->exported_at = now_ms;
    if (m->offsets_due == 0 && atomic_load(&m->work_offsets))
        m->offsets_due = now_ms + METADATA_OFFSETS_MS;
    changes = atomic_exchange(&m->work_changes, false);
    offsets = atomic_load(&m->work_drops) || (m->offsets_due != 0 && now_ms >= m->offsets_due);
    if (offsets)
        atomic_store(&m->work_offsets, false);
    if (changes || offsets || m->failing) {
        if (flush(m, offsets) < 0)
            return failed_turn(m, now_ms, offsets);
        if (offsets)
            m->offsets_due = 0;
    }
    snapshot_step(m, now_ms);
    syncs = atomic_load(&m->syncs);
    export_step(m, now_ms);
    if (m->failing)
        return failed_turn(m, now_ms, false);
    if (atomic_load(&m->syncs) != syncs &&
        flush(m, false) < 0) /* durable: the exports' records, too */
        return failed_turn(m, now_ms, false);
    return next_due(m, now_ms);
}

int metadata_finish(struct metadata *m)
{
    int r, exported;

    atomic_store(&m->work_offsets, false);
    snapshot_end(m);
    r = flush(m, true);
    if (r < 0)
        return r;
    exported = metadata_export_files(m);
    r = flush(m, false);
    return exported < 0 ? exported : r;
}

/* --- the thread --- */

static bool work_waits(const struct metadata *m)
{
    if (m->stop)
        return true;
    if (m->retry_at != 0)
        return false;
    return atomic_load(&m->work_changes) || atomic_load(&m->work_drops) ||
           (m->offsets_due == 0 && atomic_load(&m->work_offsets));
}

/* Until there is work or `due_ms`; true: to stop. */
static bool wait_for_work(struct metadata *m, int64_t due_ms)
{
    struct timespec until = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};
    bool stop;
    int r = 0;

    pthread_mutex_lock(&m->wake_lock);
    while (r == 0 && !work_waits(m)) {
        if (due_ms == INT64_MAX)
            r = pthread_cond_wait(&m->wake, &m->wake_lock);
        else
            r = pthread_cond_timedwait(&m->wake, &m->wake_lock, &until);
    }
    stop = m->stop;
    pthread_mutex_unlock(&m->wake_lock);
    return stop;
}

static void *run(void *ctx)
{
    struct metadata *m = ctx;
    int64_t due = 0;

    while (!wait_for_work(m, due))
        due = metadata_turn(m, clock_mono_ms());
    m->stopped_with = metadata_finish(m);
    return NULL;
}

int metadata_start(struct metadata *m, struct err *err)
{
    sigset_t all, before;
    int r;

    assert(!m->running);
    atomic_store(&m->started, true);
    sigfillset(&all); /* signals are for the threads that wait for them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&m->thread, NULL, run, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        atomic_store(&m->started, false);
        return err_set(err, -r, "start the metadata thread");
    }
    (void)pthread_setname_np(m->thread, "metadata");
    m->running = true;
    return 0;
}

/* --- opening and closing --- */

struct metadata *metadata_tables_new(void)
{
    size_t size = (sizeof(struct metadata) + 63) / 64 * 64;
    struct metadata *m = aligned_alloc(64, size);
    int r;

    if (!m)
        return NULL;
    memset(m, 0, size);
    m->journal.fd = m->journal.snapshot_fd = -1;
    m->exported_at = -1;
    /* Peers choose names: without the seed they cannot choose which ones collide. */
    if (getrandom(&m->hash_seed, sizeof(m->hash_seed), GRND_NONBLOCK) != sizeof(m->hash_seed))
        m->hash_seed = (uint64_t)clock_mono_ns() ^ (uintptr_t)m;
    r = topic_table_init(&m->topics);
    if (r == 0)
        r = group_table_init(&m->groups);
    if (r == 0)
        r = offset_table_init(&m->offsets);
    if (r == 0)
        r = lock_table_init(&m->locks);
    if (r == 0)
        r = -pthread_mutex_init(&m->wake_lock, NULL);
    if (r == 0)
        r = -pthread_mutex_init(&m->tap_lock, NULL);
    clock_cond_init(&m->wake);
    clock_cond_init(&m->durable_moved);
    /* On Linux none of these can fail for the attributes given: nothing else to undo. */
    if (r < 0) {
        free(m);
        return NULL;
    }
    return m;
}

void metadata_tables_free(struct metadata *m)
{
    metadata_journal_close(&m->journal);
    topic_table_destroy(&m->topics);
    group_table_destroy(&m->groups);
    offset_table_destroy(&m->offsets);
    lock_table_destroy(&m->locks);
    (void)pthread_cond_destroy(&m->durable_moved);
    (void)pthread_cond_destroy(&m->wake);
    (void)pthread_mutex_destroy(&m->wake_lock);
    (void)pthread_mutex_destroy(&m->tap_lock);
    buf_destroy(&m->batch);
    buf_destroy(&m->piece);
    free(m->config_dir);
    free(m);
}

int metadata_apply(struct metadata *m, const struct metadata_record *r)
{
    if (r->at.sequence > atomic_load(&m->last))
        atomic_store(&m->last, r->at.sequence);
    metadata_set_epoch(m, r->at.epoch);
    switch (r->kind) {
    case METADATA_TOPIC_PUT:
    case METADATA_TOPIC_DELETE:
    case METADATA_TOPICS_VERSION:
        return topic_table_apply(m, r);
    case METADATA_GROUP_PUT:
    case METADATA_GROUP_DELETE:
    case METADATA_GROUPS_VERSION:
        return group_table_apply(m, r);
    case METADATA_OFFSETS_PUT:
        return offset_table_apply(m, r);
    case METADATA_LOCK_PUT:
        return lock_table_apply(m, r);
    case METADATA_DELAY_PUT:
        return delay_table_apply(m, r);
    case METADATA_EXPORT_HASH:
        return metadata_export_apply(m, r);
    case METADATA_BEGIN:
    case METADATA_END:
        break;
    }
    return 0;
}

static int apply(void *ctx, const struct metadata_record *r)
{
    return metadata_apply(ctx, r);
}

static int open_files(struct metadata *m, const struct metadata_options *options, struct err *err)
{
    char dir[PATH_MAX];
    int r;

    if (snprintf(dir, sizeof(dir), "%s/tern/meta", options->root_dir) >= (int)sizeof(dir))
        return err_set(err, -ENAMETOOLONG, "open %s", options->root_dir);
    m->options = *options;
    m->options.root_dir = NULL;
    if (asprintf(&m->config_dir, "%s/config", options->root_dir) < 0) {
        m->config_dir = NULL;
        return err_set(err, -ENOMEM, "open %s", options->root_dir);
    }
    if (!buf_reserve(&m->batch, METADATA_BATCH_BYTES))
        return err_set(err, -ENOMEM, "open %s", options->root_dir);
    r = file_mkdirs(m->config_dir);
    if (r < 0)
        return err_set(err, r, "make %s", m->config_dir);
    r = metadata_journal_open(&m->journal, dir, apply, m, err);
    if (r < 0)
        return r;
    atomic_store(&m->durable, atomic_load(&m->last));
    publish_journal(m);
    /* A kill may have come between the journal and the files; a file that is right already is left
     * as it is. */
    for (int i = 0; i < METADATA_EXPORTS; i++)
        m->exports[i].dirty = atomic_load(&m->last) > 0;
    return metadata_import_files(m, err);
}

int metadata_open(struct metadata **out, const struct metadata_options *options, struct err *err)
{
    struct metadata *m = metadata_tables_new();
    int r;

    if (!m)
        return err_set(err, -ENOMEM, "open the metadata of %s", options->root_dir);
    r = open_files(m, options, err);
    if (r < 0) {
        metadata_tables_free(m);
        return r;
    }
    /* What was taken in, before anybody can build on it. A disk without room has been logged; what
     * could not be written is dirty still, and the files count as foreign until it is. */
    atomic_store(&m->work_offsets, false);
    if (flush(m, true) < 0 || metadata_import_done(m) < 0)
        (void)failed_turn(m, clock_mono_ms(), true);
    else
        (void)flush(m, false);
    *out = m;
    return 0;
}

int metadata_settle(struct metadata *m)
{
    int64_t now, due;

    assert(!m->running);
    do {
        now = clock_mono_ms();
        due = metadata_turn(m, now);
    } while (due <= now);
    return m->failing ? -EIO : 0;
}

int metadata_limit_floors(struct metadata *m, uint64_t log_end)
{
    int r;

    if (!topic_table_limit_floors(m, log_end))
        return 0;
    if (m->running) {
        metadata_wake(m, &m->work_changes);
        return metadata_wait(m, metadata_last(m), METADATA_LIMIT_MS) ? 0 : -ETIMEDOUT;
    }
    r = flush(m, false);
    if (r < 0)
        (void)failed_turn(m, clock_mono_ms(), false);
    return r;
}

int metadata_limit_offsets(struct metadata *m,
                           int64_t (*end)(void *ctx, struct bytes topic, int32_t queue_id),
                           void *ctx)
{
    int r;

    assert(!m->running);
    if (!offset_table_limit(m, end, ctx))
        return 0;
    r = flush(m, true);
    if (r < 0)
        (void)failed_turn(m, clock_mono_ms(), false);
    return r;
}

int metadata_close(struct metadata *m)
{
    int r;

    if (!m)
        return 0;
    if (m->running) {
        pthread_mutex_lock(&m->wake_lock);
        m->stop = true;
        pthread_cond_signal(&m->wake);
        pthread_mutex_unlock(&m->wake_lock);
        r = -pthread_join(m->thread, NULL);
        if (r == 0)
            r = m->stopped_with;
    } else {
        r = metadata_finish(m);
    }
    metadata_tables_free(m);
    return r;
}
