/* store_retention.c - the retention thread: segments and queue files that go, and writes refused on
 * a disk that is too full.
 *
 * A round looks at the disk and deletes what is to go (retention.h decides), one segment after the
 * other. No follower is overtaken: what goes is flushed, and its queue entries stand in files that
 * are on the disk, so that a crash at any step finds each queue's end. min moves first; then the
 * segment goes, its space in pieces with pauses, so that nobody else waits long for the file
 * system.
 *
 * The key index is told; queues follow in a sweep at a bounded rate, a few at a time. Until it has
 * come to a queue, its entries lead to messages that are gone, which readers are told
 * (STORE_GET_REMOVED); who needs to know exactly asks for that queue itself
 * (store_range_settled()).
 *
 * With no more than one segment and nothing written the thread sleeps without a time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    ERASE_PIECE = 16 << 20, /* freed at once: under 10 ms on ext4 */
    ERASE_PAUSE_MS = 5,
    SWEEP_QUEUES = 64, /* looked at before a pause: at most 13,000 queues a second */
    SWEEP_PAUSE_MS = 5,
    URGENT_MS = 1000,  /* between rounds while writes are refused, or a checkpoint is waited for */
    ASKED_ROUNDS = 20, /* that a request is good for, as in RocketMQ */
    LOST_TEXT = 1200,
};
#define NEVER INT64_MAX

void retention_init(struct retention *r)
{

    for (int i = 0; i < STORE_READERS; i++)
        atomic_store(&r->keep_from[i], UINT64_MAX);
    pthread_mutex_init(&r->lock, NULL);
    clock_cond_init(&r->wake);
}

void retention_destroy(struct retention *r)
{
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
}

static struct store_retention options_now(struct retention *r)
{
    struct store_retention options;

    pthread_mutex_lock(&r->lock);
    options = r->options;
    pthread_mutex_unlock(&r->lock);
    return options;
}

/* False when the thread is to end. Without a thread, nobody to wait for. */
static bool pause_for(struct retention *r, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool stop;

    pthread_mutex_lock(&r->lock);
    while (r->started && !r->stop && ms > 0) {
        if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
            break;
    }
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return !stop;
}

/* --- how full the disk is --- */

struct disks {
    int used_percent; /* -1: unknown */
    uint64_t free_bytes;
    const char *fullest;
};

static void add_disk(const struct store *s, const char *path, struct disks *disks)
{
    struct file_space space;
    int r = s->options.space ? s->options.space(path, &space) : file_space(path, &space);
    int percent;

    if (r < 0) {
        char room[128];
        log_warn_limited(path, "how full the disk of %s is cannot be asked: %s", path,
                         strerror_r(-r, room, sizeof(room)));
        return;
    }
    percent = retention_percent(&space);
    if (percent > disks->used_percent) {
        disks->used_percent = percent;
        disks->fullest = path;
    }
    if (space.usable < disks->free_bytes)
        disks->free_bytes = space.usable;
}

/* Log and queues may be on two. */
static struct disks look_at_disks(const struct store *s)
{
    struct disks disks = {.used_percent = -1, .free_bytes = UINT64_MAX, .fullest = s->root_dir};

    add_disk(s, s->commit_log_dir, &disks);
    add_disk(s, s->root_dir, &disks);
    return disks;
}

static void refuse_or_accept(struct store *s, const struct retention_rules *rules,
                             const struct disks *disks)
{
    struct retention *r = &s->retention;
    bool refuse = disks->used_percent > rules->refuse_percent;
    bool before;
    char text[STORE_FULL_TEXT];

    snprintf(text, sizeof(text),
             "the disk of %.200s is %d%% full, more than diskSpaceWarningLevelRatio=%d",
             disks->fullest, disks->used_percent, rules->refuse_percent);
    pthread_mutex_lock(&r->lock);
    if (refuse)
        memcpy(r->refusal, text, sizeof(text));
    pthread_mutex_unlock(&r->lock);
    before = atomic_exchange(&r->refusing, refuse);
    if (refuse && !before)
        log_error("store %s takes no writes: %s; reads and offsets go on, and writes when there is "
                  "room again",
                  s->root_dir, text);
    else if (before && !refuse)
        log_info("store %s takes writes again: the fullest of its disks is %d%% full", s->root_dir,
                 disks->used_percent);
}

/* --- segments --- */

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What everybody else is done with; how long that takes, nobody knows. */
static uint64_t others_followed_to(const struct store *s)
{
    uint64_t to = store_confirmed(s);

    for (int i = 0; i < STORE_READERS; i++)
        to = lower(to, atomic_load(&s->retention.keep_from[i]));
    return to;
}

/* What every follower of the log is done with. */
static uint64_t followed_to(const struct store *s)
{
    uint64_t own = lower(commit_log_flushed(s->log),
                         atomic_load_explicit(&s->flusher.complete_to, memory_order_acquire));

    return lower(own, others_followed_to(s));
}

/* Whether there is a segment in front of the one that holds the end. */
static bool has_full_segment(const struct store *s)
{
    return commit_log_end(s->log) - commit_log_min(s->log) > (uint64_t)s->options.segment_bytes;
}

static const char *reason_text(char to[200], enum retention_reason reason,
                               const struct retention_rules *rules,
                               const struct retention_facts *facts, const struct disks *disks)
{
    size_t size = 200;

    switch (reason) {
    case RETENTION_EXPIRED:
        snprintf(to, size, "expired, last written to %" PRId64 " h ago",
                 (facts->now_ms - facts->modified_ms) / 3600000);
        break;
    case RETENTION_LOG_BYTES:
        snprintf(to, size,
                 "before its time: the log has %" PRIu64
                 " bytes, more than commitLogBytesMax=%" PRIu64,
                 facts->log_bytes, rules->log_bytes_max);
        break;
    case RETENTION_FREE_BYTES:
        snprintf(to, size,
                 "before its time: %" PRIu64 " bytes are free, less than diskFreeBytesMin=%" PRIu64,
                 facts->free_bytes, rules->free_bytes_min);
        break;
    default:
        snprintf(to, size,
                 "before its time: the disk is %d%% full, more than "
                 "diskSpaceCleanForciblyRatio=%d",
                 disks->used_percent, rules->forced_percent);
    }
    return to;
}

/* One line for each segment, before anything happens to its file. */
static void tell(const struct store *s, uint64_t base, enum retention_reason reason,
                 const char *why, const char *lost)
{
    void (*log)(const char *format, ...) =
        reason != RETENTION_EXPIRED || lost[0] != '\0' ? log_warn : log_info;

    log("store %s: deleting %s/%020" PRIu64 ", %s; %s%s", s->root_dir, s->commit_log_dir, base, why,
        lost[0] != '\0' ? "not yet consumed of it: " : "nothing of it is known as not consumed",
        lost);
}

/* The file of the segment that was retired. 0 when it is gone. */
static int erase(struct store *s)
{
    struct retention *r = &s->retention;
    int result;

    while ((result = commit_log_erase(s->log, ERASE_PIECE)) > 0) {
        if (!pause_for(r, ERASE_PAUSE_MS))
            return -ECANCELED; /* what has no name any more goes when it is closed */
    }
    if (result < 0) {
        char room[128];
        log_warn_limited(s->commit_log_dir,
                         "store %s: the segment in front of %020" PRIu64
                         " cannot be deleted: %s; it is tried again",
                         s->root_dir, commit_log_min(s->log),
                         strerror_r(-result, room, sizeof(room)));
    }
    return result;
}

/* 0: the first segment is gone. Negative: enough for this round. */
static int delete_first(struct store *s, enum retention_reason reason,
                        const struct retention_rules *rules, const struct retention_facts *facts,
                        const struct disks *disks)
{
    uint64_t next = commit_log_min(s->log) + (uint64_t)s->options.segment_bytes, base;
    char lost[LOST_TEXT], why[200];
    int r;

    if (others_followed_to(s) < next)
        return -EAGAIN;
    if (followed_to(s) < next) { /* soon: the flusher is called for it */
        s->retention.blocked = true;
        atomic_store(&s->flusher.checkpoint_asked, true);
        flusher_call(s);
        return -EAGAIN;
    }
    store_unconsumed(s, next, lost, sizeof(lost));
    r = commit_log_retire(s->log, followed_to(s), &base);
    if (r < 0)
        return r;
    tell(s, base, reason, reason_text(why, reason, rules, facts, disks), lost);
    r = erase(s);
    if (r == 0)
        atomic_fetch_add_explicit(&s->retention.segments, 1, memory_order_relaxed);
    return r;
}

static bool asked(struct retention *r)
{
    bool answer;

    pthread_mutex_lock(&r->lock);
    answer = r->asked_rounds > 0;
    pthread_mutex_unlock(&r->lock);
    return answer;
}

/* A round that could not do what was asked for does not count. */
static void count_asked(struct retention *r)
{
    pthread_mutex_lock(&r->lock);
    if (r->asked_rounds > 0 && !r->blocked)
        r->asked_rounds--;
    pthread_mutex_unlock(&r->lock);
}

static int local_hour(int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    return localtime_r(&seconds, &tm) ? tm.tm_hour : 0;
}

void retention_round(struct store *s, int64_t now_ms)
{
    struct retention *r = &s->retention;
    struct store_retention o = options_now(r);
    struct retention_facts facts = {
        .now_ms = now_ms, .hour = local_hour(now_ms), .asked = asked(r)};
    struct disks disks = look_at_disks(s);

    r->blocked = false;
    r->written = commit_log_written(s->log);
    refuse_or_accept(s, &o.rules, &disks);
    if (erase(s) < 0) /* left from an earlier round */
        return;
    for (int i = 0; i < o.segments_max && has_full_segment(s); i++) {
        enum retention_reason reason;

        facts.used_percent = disks.used_percent;
        facts.free_bytes = disks.free_bytes;
        facts.log_bytes = commit_log_space(s->log);
        if (commit_log_modified(s->log, &facts.modified_ms) < 0)
            break;
        reason = retention_judge(&o.rules, &facts);
        if (reason == RETENTION_KEEP || delete_first(s, reason, &o.rules, &facts, &disks) < 0 ||
            !pause_for(r, o.segment_pause_ms))
            break;
        disks = look_at_disks(s);
        refuse_or_accept(s, &o.rules, &disks);
    }
    count_asked(r);
}

/* --- queues --- */

static void sweep_begin(struct store *s)
{
    struct retention *r = &s->retention;
    uint64_t min = commit_log_min(s->log);
    bool wanted;

    if (r->sweeping)
        return;
    pthread_mutex_lock(&r->lock);
    wanted = r->sweep_asked;
    r->sweep_asked = false;
    pthread_mutex_unlock(&r->lock);
    if (!wanted && min <= atomic_load(&r->swept_to))
        return;
    index_delete_before(s->index, min);
    r->sweeping = true;
    r->sweep_min = min;
    r->sweep_at = 0;
    r->sweep_files = r->sweep_failures = 0;
}

static void sweep_end(struct store *s)
{
    struct retention *r = &s->retention;

    r->sweeping = false;
    atomic_store_explicit(&r->swept_to, r->sweep_min, memory_order_release);
    if (r->sweep_failures == 0 && commit_log_min(s->log) == r->sweep_min &&
        atomic_exchange(&s->settled_min, r->sweep_min) != r->sweep_min) {
        /* So that the mark says where queues begin now. */
        atomic_store(&s->flusher.checkpoint_asked, true);
        flusher_call(s);
    }
    if (r->sweep_files > 0)
        log_info("store %s: the log begins at %" PRIu64 ", %" PRIu64
                 " queue files in front of that are deleted",
                 s->root_dir, r->sweep_min, r->sweep_files);
    if (r->sweep_failures > 0)
        log_warn("store %s: %" PRIu64 " queues could not be cleaned up to log offset %" PRIu64
                 "; they are tried again after the next segment",
                 s->root_dir, r->sweep_failures, r->sweep_min);
    sweep_begin(s); /* more may have gone meanwhile */
}

static void sweep_some(struct store *s)
{
    struct retention *r = &s->retention;
    uint32_t count = queue_table_count(s->queues);
    int64_t pause_ms = SWEEP_PAUSE_MS;

    for (int n = 0; n < SWEEP_QUEUES && r->sweep_at < count; n++) {
        uint32_t queue = r->sweep_at++;
        int removed = store_settle_queue(s, queue);

        if (removed == 0)
            removed = queue_table_trim(s->queues, queue);
        if (removed < 0)
            r->sweep_failures++;
        if (removed <= 0)
            continue;
        r->sweep_files += (uint64_t)removed;
        atomic_fetch_add_explicit(&r->queue_files, (uint64_t)removed, memory_order_relaxed);
        pause_ms = options_now(r).queue_pause_ms;
        break;
    }
    if (r->sweep_at >= count)
        sweep_end(s);
    pause_for(r, pause_ms);
}

void retention_sweep(struct store *s)
{
    sweep_begin(s);
    while (s->retention.sweeping)
        sweep_some(s);
}

/* --- the thread --- */

/* When the next round is due, monotonic; NEVER: when somebody writes. */
static int64_t next_round(struct store *s)
{
    struct retention *r = &s->retention;
    int64_t now = clock_mono_ms(), round_ms = options_now(r).round_ms;

    if (r->blocked || atomic_load(&r->refusing))
        return now + (round_ms < URGENT_MS ? round_ms : URGENT_MS);
    if (asked(r) || has_full_segment(s) || commit_log_written(s->log) != r->written)
        return now + round_ms;
    atomic_store(&r->idle, true);
    /* Who writes from now on sees that; who wrote just before is seen here. */
    return commit_log_written(s->log) == r->written ? NEVER : now + round_ms;
}

/* Until that time or a call, whatever is first; *called tells. False when the thread is to end. */
static bool sleep_until(struct retention *r, int64_t until_ms, bool *called)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool stop;

    pthread_mutex_lock(&r->lock);
    while (!r->called && !r->stop) {
        if (until_ms == NEVER)
            pthread_cond_wait(&r->wake, &r->lock);
        else if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
            break;
    }
    *called = r->called;
    r->called = false;
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return !stop;
}

static void *retention_main(void *arg)
{
    struct store *s = arg;
    struct retention *r = &s->retention;
    int64_t due = clock_mono_ms() + options_now(r).round_ms;
    bool called;

    sweep_begin(s); /* a stop may have come before its end */
    while (sleep_until(r, r->sweeping ? 0 : due, &called)) {
        if (called || clock_mono_ms() >= due) {
            retention_round(s, clock_wall_ms());
            sweep_begin(s);
            due = next_round(s);
        }
        if (r->sweeping)
            sweep_some(s);
    }
    return NULL;
}

int retention_start(struct store *s, struct err *err)
{
    struct retention *r = &s->retention;
    struct disks disks;
    int result;

    r->options = s->options.retention;
    if (r->options.round_ms <= 0)
        return 0;
    disks = look_at_disks(s);
    refuse_or_accept(s, &r->options.rules, &disks);
    r->started = true;
    result = store_thread(&r->thread, "tern-retention", retention_main, s);
    if (result < 0) {
        r->started = false;
        return err_set(err, result, "start the retention thread");
    }
    return 0;
}

void retention_stop(struct store *s)
{
    struct retention *r = &s->retention;

    if (!r->started)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    r->started = false;
}

/* The lock is held. */
static void call(struct retention *r)
{
    r->called = true;
    pthread_cond_signal(&r->wake);
}

void retention_call(struct store *s)
{
    struct retention *r = &s->retention;

    pthread_mutex_lock(&r->lock);
    call(r);
    pthread_mutex_unlock(&r->lock);
}

void retention_written(struct store *s)
{
    if (atomic_load(&s->retention.idle) && atomic_exchange(&s->retention.idle, false))
        retention_call(s);
}

void store_set_retention(struct store *s, const struct store_retention *retention)
{
    struct retention *r = &s->retention;

    pthread_mutex_lock(&r->lock);
    r->options = *retention;
    call(r);
    pthread_mutex_unlock(&r->lock);
}

void store_keep_from(struct store *s, enum store_reader reader, uint64_t offset)
{
    atomic_store(&s->retention.keep_from[reader], offset);
}

void store_clean_log(struct store *s)
{
    struct retention *r = &s->retention;

    pthread_mutex_lock(&r->lock);
    r->asked_rounds = ASKED_ROUNDS;
    call(r);
    pthread_mutex_unlock(&r->lock);
}

void store_clean_queues(struct store *s)
{
    struct retention *r = &s->retention;

    pthread_mutex_lock(&r->lock);
    r->sweep_asked = true;
    call(r);
    pthread_mutex_unlock(&r->lock);
}
