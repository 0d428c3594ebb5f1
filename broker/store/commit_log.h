/* commit_log.h - the bytes of the log: segments on disk, the memory tail, the write ticket, the
 * flusher's mark. Knows records only as bytes with an end; offsets count bytes since the log was
 * born.
 *
 * Watermarks: min <= flushed <= written <= end. Nothing above `written` leaves the process.
 *
 *   append lock held:  commit_log_reserve() gives a place in the tail, the caller fills it
 *   no lock:           commit_log_write() takes the ticket and pwritev()s from `written` to `end`,
 *                      whoever appended; one thread at a time, the others return at once
 *   flusher thread:    commit_log_writeback(), commit_log_flush()
 *
 * The tail is a ring of the newest bytes (a power of two, mapped twice in a row, so that any
 * record is contiguous). Segments are files of exactly segment_bytes named by 20 digits, allocated
 * outside the folder, synced, renamed in, the folder synced.
 */
#ifndef TERN_BROKER_STORE_COMMIT_LOG_H
#define TERN_BROKER_STORE_COMMIT_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"

struct commit_log;

struct commit_log_options {
    const char *dir;       /* <store>/commitlog (or storePathCommitLog) */
    const char *spare_dir; /* where segments are made: <store>/tern */
    int64_t segment_bytes; /* mappedFileSizeCommitLog */
    size_t tail_bytes;     /* power of two, at least 4 times the largest record */
    size_t record_max;
    pthread_mutex_t *append_lock;
};
/* Opens the segments that are there (none: an empty log at 0), making the folders. A file of
 * another size or with another name is an error that names it; an empty last file, left by a crash,
 * is removed; folders are ignored. The end is not known yet: until recovery calls
 * commit_log_set_end(), everything in the segments can be read and nothing appended. On failure
 * *out is untouched. */
int commit_log_open(struct commit_log **out, const struct commit_log_options *options,
                    struct err *err);
struct commit_log *
commit_log_close(struct commit_log *log); /* files only; no flush; NULL is fine */
/* Clean stop: deletes segments made ahead that no byte was written to, as RocketMQ does (the only
 * segment stays). Nobody else may be using the log. */
int commit_log_trim(struct commit_log *log);

uint64_t commit_log_min(const struct commit_log *log);
uint64_t commit_log_end(const struct commit_log *log);     /* appended; relaxed outside the lock */
uint64_t commit_log_written(const struct commit_log *log); /* acquire */
uint64_t commit_log_flushed(const struct commit_log *log); /* acquire */
/* Appends may go up to here without another commit_log_prepare(): the end of the last segment whose
 * space is allocated. */
uint64_t commit_log_limit(const struct commit_log *log);
int64_t commit_log_segment_bytes(const struct commit_log *log);

/* Recovery, no other thread in the log: end = written = flushed = offset. Later segments are
 * deleted, the rest of the segment after `offset` is zeroed where it is not zero, and synced; what
 * stood there and in the later ones, if it was not all zero, is first copied and synced to a new
 * sparse file `aside` (or aside.1 ... when that exists; NULL: not), where byte 0 is log offset
 * `offset`. Space for the rest of the segment is allocated; when the disk has none,
 * commit_log_prepare() tries again. A log without segments begins at `offset`, a multiple of
 * segment_bytes. -EINVAL: below the first segment or above the last. */
int commit_log_set_end(struct commit_log *log, uint64_t offset, const char *aside, struct err *err);
/* The same for an end that good records stand behind, so that they must not come back: zeroes are
 * written wherever the rest of the segment has data, and synced, whatever reads as zero already. An
 * earlier try may have failed at its sync, and its zeroes be in memory only. */
int commit_log_cut(struct commit_log *log, uint64_t offset, const char *aside, struct err *err);
/* Recovery: writes [from, to), below the end, again in place and syncs (after a failed fsync the
 * kernel may call dirty pages clean). */
int commit_log_rewrite(struct commit_log *log, uint64_t from, uint64_t to, struct err *err);

/* --- append lock held --- */
/* Room for `size` bytes, at most record_max: *at to fill before the lock is released, *offset its
 * log offset. When the segment has no room for it and the 8-byte blank record, the blank is put and
 * the next segment begins. 0; TAIL_FULL: release the lock, commit_log_write(), try again when
 * `written` has moved; NEED_SEGMENT: release the lock, commit_log_prepare(), try again; STOPPED: a
 * write or a flush has failed; -EMSGSIZE: no segment is large enough. Without commit_log_commit()
 * nothing has happened: a second call discards the first. */
enum { COMMIT_LOG_TAIL_FULL = 1, COMMIT_LOG_NEED_SEGMENT, COMMIT_LOG_STOPPED };
int commit_log_reserve(struct commit_log *log, size_t size, uint8_t **at, uint64_t *offset);
/* The reserved bytes (the first `size` of them) are the log's: end moves. */
void commit_log_commit(struct commit_log *log, size_t size);

/* The rest of the segment is unused: the blank record is put, and the next record begins the next
 * segment. 0, TAIL_FULL, NEED_SEGMENT (its space is not allocated yet) or STOPPED as above;
 * -EMSGSIZE: a record of record_max would have had room there. */
int commit_log_blank(struct commit_log *log);

/* --- any thread, no lock --- */
/* Makes the next segment, allocated and durable, if there is none ahead of the one that holds the
 * end. -ENOSPC and the like leave everything as it was; the next call tries again (at most once a
 * second asks the disk, others get the last answer). Not to be called when there is room: an
 * unneeded segment holds space. */
int commit_log_prepare(struct commit_log *log);
/* 1: bytes were written by this call (written has moved); 0: nothing to do or another thread is at
 * it and will write ours too; negative: the log has stopped for good. */
int commit_log_write(struct commit_log *log);
/* Copies [offset, offset+size) to `to`. 0; WOULD_BLOCK when `may_block` is false and pages are
 * not in memory; -ENODATA below min or above written; -errno. Bytes still in the tail are copied
 * from there (takes the append lock for the memcpy). */
enum { COMMIT_LOG_WOULD_BLOCK = 1 };
int commit_log_read(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size,
                    bool may_block);
/* The same without the tail, for those who read in bulk behind the writers: takes no lock that an
 * appender needs. Blocks. */
int commit_log_read_files(struct commit_log *log, uint64_t offset, uint8_t *to, size_t size);
/* Sends bytes from the files of [offset, to) to a socket, without a copy: one call, at most to the
 * end of a segment. How many, or -errno (-EAGAIN: the socket takes nothing now; -ENODATA as above).
 */
ssize_t commit_log_send(struct commit_log *log, int socket, uint64_t offset, uint64_t to);
/* *limit = written, in one step: whoever has read `written` before has read no more than that. */
uint64_t commit_log_hold(struct commit_log *log, _Atomic uint64_t *limit);
/* True once a write or a flush has failed, for good; `reason` (may be NULL) gets the first cause.
 */
bool commit_log_stopped(const struct commit_log *log, char reason[160]);
/* Stops it for a reason of the caller's. When it returns, written and flushed move no more. */
void commit_log_stop(struct commit_log *log, const char *reason);

/* --- flusher thread --- */
/* Starts the writeback (sync_file_range) of whole pages written since the last call. */
void commit_log_writeback(struct commit_log *log);
/* fdatasync of every segment with bytes between flushed and the `written` read before; then flushed
 * moves. A failure stops the log for good. 1: moved; 0: nothing to do. */
int commit_log_flush(struct commit_log *log);

/* --- retention, one thread at a time --- */
/* The first segment leaves the log when it ends at or below `below` and before the end: min moves,
 * who reads from it reads on. 0: *base is where it began. -ENODATA: it stays. -EBUSY: the one
 * before is not erased yet. */
int commit_log_retire(struct commit_log *log, uint64_t below, uint64_t *base);
/* A step of erasing its file, `piece` bytes of space at most: 1: more to do; 0: gone; -errno: call
 * again later. The name goes first, so a crash leaves a whole row of whole segments. */
int commit_log_erase(struct commit_log *log, uint64_t piece);
/* Time of the last write to the first segment's file, ms since 1970; -ENODATA without one. */
int commit_log_modified(struct commit_log *log, int64_t *ms);
uint64_t commit_log_space(struct commit_log *log); /* bytes of all segments */

#endif
