/* log_segments.h - the files of the commit log: which there are, making and deleting them. Internal
 * to the commit log.
 *
 * Files of exactly `bytes`, named by the log offset of their first byte in 20 digits, without gaps.
 * A new one is allocated in the spare folder, synced, renamed in, and the folder synced, before
 * anybody sees it.
 *
 * Locking: `lock` (leaf, held for a few instructions) guards the table and the counts of users, so
 * a descriptor that somebody reads from is not closed under him; `making` (held during file work)
 * lets one thread at a time change which files there are. Recovery (log_cut.c) has no company.
 */
#ifndef TERN_BROKER_STORE_LOG_SEGMENTS_H
#define TERN_BROKER_STORE_LOG_SEGMENTS_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct log_segment {
    uint64_t base;
    int fd;
    unsigned users; /* under lock; one is the table */
};

struct log_segments {
    char *dir, *spare; /* the folder; the file that is a segment in the making */
    uint64_t bytes;
    pthread_mutex_t lock;
    struct log_segment **at; /* lock, as the next three */
    size_t count, cap;
    uint64_t first;              /* base of at[0]; without segments: of the next one made */
    _Atomic uint64_t min;        /* `first` for those without the lock */
    _Atomic uint64_t limit;      /* end of the allocated space */
    struct log_segment *retired; /* lock; out of the table, its file on the way out */
    pthread_cond_t unused;       /* with lock: nobody reads from the retired one any more */
    enum { ERASE_NAME, ERASE_SYNC, ERASE_SPACE } erase; /* of whoever erases, as the next */
    uint64_t erase_left;                                /* bytes of its file */
    pthread_mutex_t making;
    int failed;        /* making: result of the last try, */
    int64_t failed_ms; /* and when (monotonic) */
    bool told_sparse;  /* making */
};

int log_segments_open(struct log_segments **out, const char *dir, const char *spare_dir,
                      int64_t bytes, struct err *err);
struct log_segments *log_segments_free(struct log_segments *s); /* closes the files; NULL is fine */

/* A run of log bytes within one file. */
struct log_piece {
    struct log_segment *segment;
    int fd;
    off_t at;
    uint64_t bytes;
};
/* The first piece of [from, to), held until log_segments_let_go(). -ENODATA: no such segment. */
int log_segments_hold(struct log_segments *s, uint64_t from, uint64_t to, struct log_piece *out);
void log_segments_let_go(struct log_segments *s, struct log_piece *piece);

/* Room above `end`: allocates the rest of the last segment when that was not possible before, or
 * makes the next one when none begins at or above `end`. A failure is the answer for a second. */
int log_segments_extend(struct log_segments *s, uint64_t end);
/* Deletes the segments at `keep` and behind, the last one first. */
int log_segments_drop(struct log_segments *s, size_t keep, struct err *err);
/* Deletes unused segments above `end`, but never the only one. */
int log_segments_trim(struct log_segments *s, uint64_t end);
/* Retention, one thread at a time. A segment goes in steps, so that nobody waits for it and a crash
 * after any of them leaves a row of whole files: first it leaves the table and `min` moves, whoever
 * holds it reads on; then its name goes and the folder is synced; then, once nobody holds it, its
 * space, a piece at a time, since giving back a large file at once keeps a file system busy. */
/* The first segment, which is never the one that holds `below`, leaves the table when it ends at or
 * below `below`. 0: *base is its first offset. -ENODATA: it stays. -EBUSY: another is not erased
 * yet.
 */
int log_segments_retire(struct log_segments *s, uint64_t below, uint64_t *base);
/* The next step with the retired one: 1 when more are needed, 0 when it is gone (or there is none),
 * -errno: call again later. `piece` bytes of space at most. */
int log_segments_erase(struct log_segments *s, uint64_t piece);
/* When the first segment was last written to, ms since 1970. -ENODATA: there is none. */
int log_segments_modified(struct log_segments *s, int64_t *ms);
/* Bytes of all segments, the one made ahead too; not of the retired one. */
uint64_t log_segments_space(struct log_segments *s);

/* Allocates [from, end of its segment): 0, or -errno with the limit at `from`. */
int log_segments_allocate(struct log_segments *s, uint64_t from);

/* Path of the segment at `base`. */
int log_segments_path(const struct log_segments *s, uint64_t base, char to[PATH_MAX]);

/* --- log_cut.c: recovery --- */
/* Ends the log at `offset`: see commit_log_set_end(), and with `again` commit_log_cut(). */
int log_segments_cut(struct log_segments *s, uint64_t offset, const char *aside, bool again,
                     struct err *err);
/* See commit_log_rewrite(). */
int log_segments_rewrite(struct log_segments *s, uint64_t from, uint64_t to, struct err *err);

#endif
