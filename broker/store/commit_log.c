/* commit_log.c - see commit_log.h. Here are the watermarks and who may move them: `end` the
 * appender under the append lock, `written` whoever has the ticket, `flushed` the flusher. The
 * memory tail is log_tail.c, the files are log_segments.c, what recovery does to them is log_cut.c.
 *
 * Locks, none held while another is asked for but where it says so: the append lock (the caller's),
 * stop_lock (leaf), those in log_segments.h.
 */
#include "broker/store/commit_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "broker/store/log_segments.h"
#include "broker/store/log_tail.h"
#include "broker/store/record.h"
#include "common/file.h"

enum {
    TAIL_COPY = 64 << 10, /* bytes copied to a reader under the append lock at a time */
    WRITEBACK_PAGE = 4096,
};

struct commit_log {
    struct log_segments *segments;
    pthread_mutex_t *append_lock;
    uint64_t segment_bytes;
    size_t record_max;

    /* Append lock, as the tail's `low` and `high`. */
    alignas(64) _Atomic uint64_t end;
    uint64_t segment_end; /* of the segment that holds `end`: always above it */
    uint64_t reserved_at;
    size_t reserved; /* 0: nothing is reserved */
    bool ready;      /* the end is known */
    struct log_tail tail;

    alignas(64) _Atomic uint64_t written;
    _Atomic bool writing; /* the ticket */

    alignas(64) _Atomic uint64_t flushed;
    uint64_t writeback_to; /* flusher's own: writeback has begun up to here */

    /* Both marks move under stop_lock, so that none moves once the log has stopped. */
    pthread_mutex_t stop_lock;
    _Atomic bool stopped;
    char reason[160]; /* written once, before `stopped` is set */
};

/* --- opening and recovery --- */

static int check_options(const struct commit_log_options *o, struct err *err)
{
    if (o->segment_bytes <= RECORD_BLANK_BYTES)
        return err_say(err, -EINVAL,
                       "a segment of the commit log cannot have %" PRId64
                       " bytes (mappedFileSizeCommitLog)",
                       o->segment_bytes);
    if (o->record_max == 0 || o->tail_bytes / 4 < o->record_max)
        return err_say(err, -EINVAL,
                       "the memory tail of the log has %zu bytes, less than 4 records of %zu",
                       o->tail_bytes, o->record_max);
    return 0;
}

/* The log ends at `offset` and all of it is on the disk. */
static void set_marks(struct commit_log *log, uint64_t offset)
{
    atomic_store(&log->end, offset);
    atomic_store(&log->written, offset);
    atomic_store(&log->flushed, offset);
    log->segment_end = offset - offset % log->segment_bytes + log->segment_bytes;
    log->writeback_to = offset;
    log->reserved = 0;
    log_tail_restart(&log->tail, offset);
}

int commit_log_open(struct commit_log **out, const struct commit_log_options *options,
                    struct err *err)
{
    struct commit_log *log;
    int r = check_options(options, err);

    if (r < 0)
        return r;
    log = aligned_alloc(alignof(struct commit_log), sizeof(*log));
    if (!log)
        return err_set(err, -ENOMEM, "open the commit log %s", options->dir);
    memset(log, 0, sizeof(*log));
    pthread_mutex_init(&log->stop_lock, NULL);
    log->append_lock = options->append_lock;
    log->segment_bytes = (uint64_t)options->segment_bytes;
    log->record_max = options->record_max;
    r = log_tail_init(&log->tail, options->tail_bytes, err);
    if (r == 0)
        r = log_segments_open(&log->segments, options->dir, options->spare_dir,
                              options->segment_bytes, err);
    if (r < 0) {
        commit_log_close(log);
        return r;
    }
    set_marks(log, commit_log_limit(log));
    log->ready = commit_log_limit(log) == 0;
    *out = log;
    return 0;
}

struct commit_log *commit_log_close(struct commit_log *log)
{
    if (!log)
        return NULL;
    log_segments_free(log->segments);
    log_tail_destroy(&log->tail);
    pthread_mutex_destroy(&log->stop_lock);
    free(log);
    return NULL;
}

static int end_at(struct commit_log *log, uint64_t offset, const char *aside, bool again,
                  struct err *err)
{
    int r = log_segments_cut(log->segments, offset, aside, again, err);

    if (r < 0)
        return r;
    set_marks(log, offset);
    log->ready = true;
    return 0;
}

int commit_log_set_end(struct commit_log *log, uint64_t offset, const char *aside, struct err *err)
{
    return end_at(log, offset, aside, false, err);
}

int commit_log_cut(struct commit_log *log, uint64_t offset, const char *aside, struct err *err)
{
    return end_at(log, offset, aside, true, err);
}

int commit_log_rewrite(struct commit_log *log, uint64_t from, uint64_t to, struct err *err)
{
    return log_segments_rewrite(log->segments, from, to, err);
}

int commit_log_trim(struct commit_log *log)
{
    return log_segments_trim(log->segments, commit_log_end(log));
}

/* --- marks --- */

uint64_t commit_log_min(const struct commit_log *log)
{
    return atomic_load_explicit(&log->segments->min, memory_order_acquire);
}

uint64_t commit_log_end(const struct commit_log *log)
{
    return atomic_load_explicit(&log->end, memory_order_relaxed);
}

uint64_t commit_log_written(const struct commit_log *log)
{
    return atomic_load_explicit(&log->written, memory_order_acquire);
}

uint64_t commit_log_flushed(const struct commit_log *log)
{
    return atomic_load_explicit(&log->flushed, memory_order_acquire);
}

uint64_t commit_log_limit(const struct commit_log *log)
{
    return atomic_load_explicit(&log->segments->limit, memory_order_acquire);
}

int64_t commit_log_segment_bytes(const struct commit_log *log)
{
    return (int64_t)log->segment_bytes;
}

bool commit_log_stopped(const struct commit_log *log, char reason[160])
{
    if (!atomic_load_explicit(&log->stopped, memory_order_acquire))
        return false;
    if (reason)
        memcpy(reason, log->reason, sizeof(log->reason));
    return true;
}

void commit_log_stop(struct commit_log *log, const char *reason)
{
    pthread_mutex_lock(&log->stop_lock);
    if (!atomic_load(&log->stopped)) {
        snprintf(log->reason, sizeof(log->reason), "%s", reason);
        atomic_store_explicit(&log->stopped, true, memory_order_release);
    }
    pthread_mutex_unlock(&log->stop_lock);
}

/* It was the file that holds `at`. */
static int stop_after(struct commit_log *log, int r, const char *what, uint64_t from, uint64_t to,
                      uint64_t at)
{
    char reason[160], room[128];

    snprintf(reason, sizeof(reason),
             "%s of log offsets %" PRIu64 " to %" PRIu64 " failed at segment %020" PRIu64 ": %s",
             what, from, to, at - at % log->segment_bytes, strerror_r(-r, room, sizeof(room)));
    commit_log_stop(log, reason);
    return r;
}

/* Moves one of the two marks, unless the log has stopped. */
static int publish(struct commit_log *log, _Atomic uint64_t *mark, uint64_t to)
{
    bool stopped;

    pthread_mutex_lock(&log->stop_lock);
    stopped = atomic_load_explicit(&log->stopped, memory_order_relaxed);
    if (!stopped)
        atomic_store_explicit(mark, to, memory_order_release);
    pthread_mutex_unlock(&log->stop_lock);
    return stopped ? -EIO : 0;
}

uint64_t commit_log_hold(struct commit_log *log, _Atomic uint64_t *limit)
{
    uint64_t written;

    pthread_mutex_lock(&log->stop_lock);
    written = atomic_load_explicit(&log->written, memory_order_relaxed);
    atomic_store_explicit(limit, written, memory_order_release);
    pthread_mutex_unlock(&log->stop_lock);
    return written;
}

/* --- appending --- */

/* Nothing of what the ring held before may reach the disk behind the blank: a whole record there
 * would look like one of the log's. */
static void fill_segment(struct commit_log *log, uint64_t from, uint64_t to)
{
    uint8_t *at = log_tail_at(&log->tail, from);
    size_t n = to - from;

    memset(at, 0, n);
    if (n >= RECORD_BLANK_BYTES)
        record_blank(at, (uint32_t)n);
}

int commit_log_reserve(struct commit_log *log, size_t size, uint8_t **at, uint64_t *offset)
{
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    uint64_t begin = end, segment_end = log->segment_end;

    assert(log->ready && size > 0 && size <= log->record_max);
    log->reserved = 0;
    if (atomic_load_explicit(&log->stopped, memory_order_relaxed))
        return COMMIT_LOG_STOPPED;
    if (size + RECORD_BLANK_BYTES > log->segment_bytes)
        return -EMSGSIZE;
    if (size + RECORD_BLANK_BYTES > segment_end - begin) {
        begin = segment_end;
        segment_end += log->segment_bytes;
    }
    if (segment_end > commit_log_limit(log))
        return COMMIT_LOG_NEED_SEGMENT;
    /* Acquire: the writer has read what we are about to write over. */
    if (begin + size - commit_log_written(log) > log->tail.bytes)
        return COMMIT_LOG_TAIL_FULL;
    log_tail_give(&log->tail, begin + size);
    if (begin != end)
        fill_segment(log, end, begin);
    log->reserved_at = begin;
    log->reserved = size;
    *at = log_tail_at(&log->tail, begin);
    *offset = begin;
    return 0;
}

void commit_log_commit(struct commit_log *log, size_t size)
{
    assert(size > 0 && size <= log->reserved);
    if (log->reserved_at == log->segment_end)
        log->segment_end += log->segment_bytes;
    log->reserved = 0;
    atomic_store_explicit(&log->end, log->reserved_at + size, memory_order_release);
}

int commit_log_blank(struct commit_log *log)
{
    uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
    uint64_t segment_end = log->segment_end;

    assert(log->ready);
    log->reserved = 0;
    if (atomic_load_explicit(&log->stopped, memory_order_relaxed))
        return COMMIT_LOG_STOPPED;
    if (segment_end - end >= log->record_max + RECORD_BLANK_BYTES)
        return -EMSGSIZE;
    if (segment_end > commit_log_limit(log))
        return COMMIT_LOG_NEED_SEGMENT;
    if (segment_end - commit_log_written(log) > log->tail.bytes)
        return COMMIT_LOG_TAIL_FULL;
    log_tail_give(&log->tail, segment_end);
    fill_segment(log, end, segment_end);
    log->segment_end += log->segment_bytes;
    atomic_store_explicit(&log->end, segment_end, memory_order_release);
    return 0;
}

int commit_log_prepare(struct commit_log *log)
{
    if (commit_log_stopped(log, NULL))
        return -EIO;
    return log_segments_extend(log->segments, commit_log_end(log));
}

/* --- writing --- */

/* Writes [from, to) from the tail, one call for each file, and publishes file by file. With the
 * ticket. */
static int write_range(struct commit_log *log, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct log_piece piece;
        int r = log_segments_hold(log->segments, from, to, &piece);

        if (r == 0) {
            struct iovec iov = {log_tail_at(&log->tail, from), piece.bytes};
            r = file_writev_all(piece.fd, &iov, 1, piece.at, NULL);
            log_segments_let_go(log->segments, &piece);
        }
        if (r < 0)
            return stop_after(log, r, "write", from, to, from);
        from += piece.bytes;
        r = publish(log, &log->written, from);
        if (r < 0)
            return r;
    }
    return 0;
}

int commit_log_write(struct commit_log *log)
{
    int result = 0;

    for (;;) {
        uint64_t from, end;
        int r = 0;

        if (commit_log_stopped(log, NULL))
            return -EIO;
        if (atomic_load_explicit(&log->end, memory_order_acquire) == commit_log_written(log))
            return result;
        /* Taking and giving back the ticket are both read-modify-writes: whoever finds it taken has
         * appended before, in the order of the ticket, the holder gives it back, so the holder's
         * next look at `end` sees those bytes. */
        if (atomic_exchange_explicit(&log->writing, true, memory_order_acq_rel))
            return result;
        from = atomic_load_explicit(&log->written, memory_order_relaxed);
        end = atomic_load_explicit(&log->end, memory_order_acquire);
        if (from < end) {
            r = write_range(log, from, end);
            result = 1;
        }
        atomic_exchange_explicit(&log->writing, false, memory_order_acq_rel);
        if (r < 0)
            return r;
    }
}

/* --- reading --- */

/* Copies the front of [offset, offset + size) from the tail: how many bytes, 0 when they are not
 * there. */
static size_t copy_from_tail(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size)
{
    uint64_t end = commit_log_end(log);
    size_t n = size < TAIL_COPY ? size : TAIL_COPY;

    if (end - offset > log->tail.bytes)
        return 0; /* long gone: no need to ask under the lock */
    pthread_mutex_lock(log->append_lock);
    if (offset >= log->tail.low)
        memcpy(to, log_tail_at(&log->tail, offset), n);
    else
        n = 0;
    pthread_mutex_unlock(log->append_lock);
    return n;
}

static int read_piece(const struct log_piece *piece, uint8_t *to, bool may_block)
{
    size_t n = piece->bytes;
    int r;

    if (!may_block) {
        struct iovec iov = {to, n};
        ssize_t got = file_preadv2(piece->fd, &iov, 1, piece->at, RWF_NOWAIT);

        if (got == (ssize_t)n)
            return 0;
        if (got >= 0 || got == -EAGAIN)
            return COMMIT_LOG_WOULD_BLOCK;
        if (got != -EOPNOTSUPP)
            return (int)got;
    }
    r = file_read_all(piece->fd, to, n, piece->at);
    return r == -ENODATA ? -EIO : r; /* somebody has shortened the file */
}

static bool is_readable(const struct commit_log *log, uint64_t offset, size_t size)
{
    uint64_t written = commit_log_written(log);

    return offset >= commit_log_min(log) && offset <= written && size <= written - offset;
}

static int read_files(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size,
                      bool may_block)
{
    while (size > 0) {
        struct log_piece piece;
        int r = log_segments_hold(log->segments, offset, offset + size, &piece);

        if (r < 0)
            return r;
        r = read_piece(&piece, to, may_block);
        log_segments_let_go(log->segments, &piece);
        if (r != 0)
            return r;
        offset += piece.bytes;
        to += piece.bytes;
        size -= piece.bytes;
    }
    return 0;
}

int commit_log_read(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size,
                    bool may_block)
{
    if (!is_readable(log, offset, size))
        return -ENODATA;
    while (size > 0) {
        size_t n = copy_from_tail(log, offset, to, size);
        if (n == 0)
            break;
        offset += n;
        to += n;
        size -= n;
    }
    return read_files(log, offset, to, size, may_block);
}

int commit_log_read_files(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size)
{
    return is_readable(log, offset, size) ? read_files(log, offset, to, size, true) : -ENODATA;
}

ssize_t commit_log_send(struct commit_log *log, int socket, uint64_t offset, uint64_t to)
{
    struct log_piece piece;
    ssize_t n;
    int r;

    if (offset < commit_log_min(log) || offset >= to || to > commit_log_written(log))
        return -ENODATA;
    r = log_segments_hold(log->segments, offset, to, &piece);
    if (r < 0)
        return r;
    n = file_send(socket, piece.fd, piece.at, piece.bytes);
    log_segments_let_go(log->segments, &piece);
    return n == 0 ? -EIO : n; /* somebody has shortened the file */
}

/* --- flushing --- */

void commit_log_writeback(struct commit_log *log)
{
    uint64_t from = log->writeback_to;
    uint64_t to = commit_log_written(log) & ~(uint64_t)(WRITEBACK_PAGE - 1);

    /* The last page is still being filled: a write to it would have to wait for its writeback. */
    while (from < to) {
        struct log_piece piece;

        if (log_segments_hold(log->segments, from, to, &piece) < 0)
            return;
        /* A failure shows again, and counts, in fdatasync. */
        (void)file_sync_range(piece.fd, piece.at, (off_t)piece.bytes, SYNC_FILE_RANGE_WRITE);
        log_segments_let_go(log->segments, &piece);
        from += piece.bytes;
        log->writeback_to = from;
    }
}

int commit_log_flush(struct commit_log *log)
{
    uint64_t from = atomic_load_explicit(&log->flushed, memory_order_relaxed);
    uint64_t to = commit_log_written(log), at = from;
    int r;

    if (commit_log_stopped(log, NULL))
        return -EIO;
    if (from == to)
        return 0;
    while (at < to) {
        struct log_piece piece;

        r = log_segments_hold(log->segments, at, to, &piece);
        if (r == 0) {
            r = file_fdatasync(piece.fd);
            log_segments_let_go(log->segments, &piece);
        }
        if (r < 0)
            return stop_after(log, r, "flush", from, to, at);
        at += piece.bytes;
    }
    if (log->writeback_to < to)
        log->writeback_to = to;
    r = publish(log, &log->flushed, to);
    return r < 0 ? r : 1;
}

/* --- retention --- */

int commit_log_retire(struct commit_log *log, uint64_t below, uint64_t *base)
{
    uint64_t end = commit_log_end(log);

    /* A full last segment stays, as in RocketMQ: the log never looks empty. */
    if (end == 0)
        return -ENODATA;
    return log_segments_retire(log->segments, below < end ? below : end - 1, base);
}

int commit_log_erase(struct commit_log *log, uint64_t piece)
{
    return log_segments_erase(log->segments, piece);
}

int commit_log_modified(struct commit_log *log, int64_t *ms)
{
    return log_segments_modified(log->segments, ms);
}

uint64_t commit_log_space(struct commit_log *log)
{
    return log_segments_space(log->segments);
}
