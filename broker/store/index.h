/* index.h - the key index: a follower of the log that makes RocketMQ's index files.
 *
 * Reads the log up to `confirmed` on a thread of its own and enters each record under its UNIQ_KEY
 * and under every word of its KEYS. Files are named by their local time of creation, in the order
 * of the log. What a batch holds is put into the newest file when the batch is full, a second after
 * its first entry, or when somebody looks for a key. Every minute while there is traffic, at a roll
 * and at a stop the files are synced and tern/index is replaced (index_state.h); after a crash the
 * index goes on from there, so nothing is lost. All that is missing or damaged is made again from
 * the log, behind the back of a running broker.
 *
 * The index is no reason to stop: when it cannot be written, one line says so, it is tried again,
 * and the log waits for nobody. Locks, both inside: files_lock (readers and the writer of files),
 * lock (the thread's sleep).
 */
#ifndef TERN_BROKER_STORE_INDEX_H
#define TERN_BROKER_STORE_INDEX_H

#include "broker/store/commit_log.h"
#include "broker/store/index_file.h"

struct index;

struct index_options {
    const char *root_dir;       /* files in root_dir/index, state in root_dir/tern/index */
    const char *commit_log_dir; /* for the way over damage */
    struct commit_log *log;
    uint64_t (*confirmed)(const void *ctx);
    const void *ctx;
    bool unclean;        /* `abort` was there */
    uint64_t boot_end;   /* records below were written by an earlier process: they are checked, and
                            read at a bounded rate */
    int64_t rocketmq_ms; /* index time in `checkpoint` as found, 0: none */
    struct index_shape shape;
};

/* Looks at what is there, without reading much of it; no thread yet. Files that cannot be used are
 * removed, with a line each that names them. */
int index_open(struct index **out, const struct index_options *options, struct err *err);
int index_start(struct index *x, struct err *err);
/* Ends the thread: it catches up with the log for at most INDEX_STOP_MS, syncs, leaves a clean
 * state. Searches go on. */
enum { INDEX_STOP_MS = 5000 };
void index_stop(struct index *x);
/* Stops, frees, returns NULL; NULL is fine. */
struct index *index_close(struct index *x);

/* `confirmed` has moved. Any thread; cheap while the index is awake or not far behind. */
void index_progress(struct index *x, uint64_t confirmed);
/* Waits until every record below log offset `to` is in the files, for at most wait_ms, and not at
 * all when the index is more than INDEX_NEAR_BYTES behind. Returns the log offset below which all
 * is there. */
enum { INDEX_NEAR_BYTES = 64 << 20 };
uint64_t index_catch_up(struct index *x, uint64_t to, int64_t wait_ms);

struct index_key {
    struct bytes topic, key; /* borrowed */
    int64_t begin_ms, end_ms;
};
/* Where a search goes on. Begin with INDEX_CURSOR_BEGIN. */
struct index_cursor {
    int64_t file;    /* name of the file looked at */
    uint32_t number; /* entry to go on with, 0: at the slot */
    int64_t last;    /* log offset given out last, not given out again in a row; -1: none */
};
#define INDEX_CURSOR_BEGIN ((struct index_cursor){.file = INT64_MAX, .last = -1})
/* Log offsets of records that may have this key, newest first: how many, 0: no more. Files that
 * cannot be read are passed over, with a line in the log. Blocks. */
int index_find(struct index *x, const struct index_key *key, struct index_cursor *at,
               uint64_t *log_offsets, int cap);

/* Retention: the log begins at min_offset now. Files (never the newest) whose records are all gone
 * are removed soon, by the index thread. Any thread; NULL is fine. */
void index_delete_before(struct index *x, uint64_t min_offset);

/* End time of the newest file that is full and synced: what `checkpoint` says of the index. */
int64_t index_flushed_ms(struct index *x);

struct index_stats {
    uint64_t position;  /* log offset below which everything was read */
    uint64_t lag_bytes; /* confirmed - position */
    uint64_t entries;   /* put since the start */
    uint64_t pending;   /* of these, not yet in a file */
    uint32_t files;
    uint32_t hidden;          /* files that are put right before anybody may look */
    uint64_t repairing_bytes; /* of log that lost files stand for, still to be read again */
    uint64_t failures;        /* writes that are tried again */
    int64_t end_ms;           /* store time and log offset of the newest entry in a file */
    int64_t end_offset;
};
void index_stats(struct index *x, struct index_stats *out);

#endif
