/* queue_table.h - all consume queues: where each queue begins and ends, and its entries.
 *
 * A queue's state is under 100 bytes in a dense array that never moves; entries not yet in its file
 * sit in 256-byte chunks from one slab under one budget; older ones are in sparse files
 * consumequeue/<topic>/<queueId>/<20 digits>, read and written through a bounded cache of
 * descriptors. No descriptor, mapping, timer or thread per queue.
 *
 *   entry, 20 bytes:  0 i64 log offset | 8 i32 record size | 12 i64 tags code (or delivery time)
 *
 * Locking: functions marked (append lock) are called by store.c with the store's append lock held;
 * the others take what they need. File I/O never happens under the append lock.
 */
#ifndef TERN_BROKER_STORE_QUEUE_TABLE_H
#define TERN_BROKER_STORE_QUEUE_TABLE_H

#include <pthread.h>

#include "broker/store/metadata.h"

struct queue_table;

#define QUEUE_NONE UINT32_MAX
enum { QUEUE_ENTRY_BYTES = 20, QUEUES_MAX = 4000000 };

struct queue_entry {
    int64_t log_offset;
    int32_t size;
    int64_t tags_code;
};

struct queue_table_options {
    const char *dir;      /* <store>/consumequeue */
    int64_t file_bytes;   /* mappedFileSizeConsumeQueue rounded up to a multiple of 20 */
    size_t memory_budget; /* bytes of chunks; full: the flusher writes early, then appends fail */
    unsigned descriptors; /* open queue files at most */
    pthread_mutex_t *append_lock;
};
int queue_table_new(struct queue_table **out, const struct queue_table_options *options,
                    struct err *err);
struct queue_table *queue_table_free(struct queue_table *t);

/* The state index of a queue, making states for ids up to queue_id when `create`; QUEUE_NONE when
 * absent or the table is full. (append lock) */
uint32_t queue_table_find(struct queue_table *t, struct topic *topic, int32_t queue_id,
                          bool create);
/* Back from an index (any thread; an index once given out stays good). */
struct topic *queue_table_topic(struct queue_table *t, uint32_t queue, int32_t *queue_id);

/* Next queue offset. (append lock) */
int64_t queue_table_next(const struct queue_table *t, uint32_t queue);
/* Appends the entry for queue_table_next(). -ENOSPC when the budget is used up: nothing changed.
 * (append lock) */
int queue_table_append(struct queue_table *t, uint32_t queue, const struct queue_entry *entry);
/* Makes sure that `count` more entries will fit. (append lock) */
int queue_table_reserve(struct queue_table *t, uint32_t count);

/* What a consumer may see: entries whose records end at or below `confirmed`. */
struct queue_range {
    int64_t min; /* first offset there is */
    int64_t max; /* one past the last visible one */
};
struct queue_range queue_table_range(struct queue_table *t, uint32_t queue, uint64_t confirmed);
/* Copies up to `count` entries from `offset` on, all below range.max. Returns how many, which may
 * be fewer than there are (0: nothing at that offset); QUEUE_WOULD_BLOCK when `may_block` is false
 * and the file is not open or its page not in memory; negative when the file cannot be read, or is
 * not there. An entry of size 0 stands for one that does not exist (fillers of RocketMQ, entries
 * given up): skip it. QUEUE_ENTRY_BAD as size: the bytes are no entry, where there has to be one.
 */
enum { QUEUE_WOULD_BLOCK = -0x10000, QUEUE_ENTRY_BAD = -1 };
int queue_table_read(struct queue_table *t, uint32_t queue, int64_t offset, struct queue_entry *to,
                     int count, uint64_t confirmed, bool may_block);

/* --- entries that are not what they should be; queue_repair.c --- */

/* What stands at `offset`, read from the file even when that has to be opened: 0 an entry, else one
 * of these with *entry zero; -ENOENT outside of [min, next). A file that is missing, short or not
 * to be read has bad entries. */
enum { QUEUE_LOOK_NONE = 1, QUEUE_LOOK_BAD };
int queue_table_look(struct queue_table *t, uint32_t queue, int64_t offset,
                     struct queue_entry *entry);
/* Puts the entry (NULL: a filler) into its file, whatever stands there, and makes the file when it
 * is gone. -ENOENT: the offset is not in the queue's files. The caller knows that it is right. */
int queue_table_put(struct queue_table *t, uint32_t queue, int64_t offset,
                    const struct queue_entry *entry);

/* A bit per loop that has pulls waiting on this queue (broker/hold.c). (append lock for _waiting;
 * _set takes it) */
uint32_t queue_table_waiting(const struct queue_table *t, uint32_t queue);
void queue_table_set_waiting(struct queue_table *t, uint32_t queue, unsigned loop, bool waiting);

/* Flusher only: writes entries whose records end at or below `flushed` into the files: queues with
 * a full 4 KiB page, all that are older than a minute, everything when `all` (then also
 * *complete_to rises to the log offset below which every entry is in a file; the caller syncs the
 * file system before it believes it). -errno leaves the entries in memory for the next try. The
 * veil is cheapest when `flushed` is never above `confirmed`: range() then need not look into
 * files. `now_ms` is any clock that goes forward; a minute counts from the first call after the
 * append. */
int queue_table_write_back(struct queue_table *t, uint64_t flushed, int64_t now_ms, bool all,
                           uint64_t *complete_to);
bool queue_table_pressed(const struct queue_table *t); /* above 3/4 of the budget: write back now */

/* --- recovery, single-threaded --- */
/* Reads the folders and sets each queue's ends from its files: the last entry that is whole and
 * whose record ends at or below log_end; later bytes are zeroed. Topics unknown to `m` are made by
 * `make_topic` (NULL result: the folder is left alone with a warning); with `m` NULL all are. */
int queue_table_load(struct queue_table *t, struct metadata *m, uint64_t log_min, uint64_t log_end,
                     struct topic *(*make_topic)(void *ctx, struct bytes name, int32_t queue_id),
                     void *ctx, struct err *err);
/* The highest record end of all queues, 0 when they are empty. */
uint64_t queue_table_max_end(struct queue_table *t);
/* A record met by the scan: appends its entry, or drops it when the queue has it already.
 * `queue_offset` above the queue's next offset is taken as the queue's state (a gap is logged once
 * per queue). QUEUE_OTHER_RECORD: the queue has an entry there that leads to an earlier record. It
 * stays, as in RocketMQ, when there is one and it says the same offset; else the caller puts the
 * new one (queue_table_put()). */
enum { QUEUE_OTHER_RECORD = 1 };
int queue_table_recover(struct queue_table *t, uint32_t queue, int64_t queue_offset,
                        const struct queue_entry *entry);
/* The next entry will have that offset, above the present one: what lies between is lost, or the
 * queue begins there. For one appender while nobody writes back. */
int queue_table_leap(struct queue_table *t, uint32_t queue, int64_t queue_offset);
/* Cuts every queue to entries whose records end at or below log_end, physically. */
int queue_table_truncate(struct queue_table *t, uint64_t log_end, struct err *err);
/* Digests of where all queues end, of entries whose records end at or below log_end, and of where
 * they begin: two tables with the same ends have the same. 0: cannot be told. */
struct queue_digest {
    uint64_t ends, mins;
};
struct queue_digest queue_table_digest(struct queue_table *t, uint64_t log_end);
/* tern/queues: a checksummed snapshot of all queue ends, written at a clean stop after everything
 * was written back, used and removed at the next start when it matches log_end. 1 when it is not
 * there or does not match. */
int queue_table_snapshot_save(struct queue_table *t, const char *path, uint64_t log_end);
int queue_table_snapshot_load(struct queue_table *t, struct metadata *m, const char *path,
                              uint64_t log_end, struct err *err);

/* A topic's queues are gone: forgets entries and states' content, removes its folder. Its offsets
 * start at 0 when the topic is made again. Takes the append lock; file removal happens outside. */
int queue_table_drop_topic(struct queue_table *t, struct topic *topic);
/* Whether a queue of the topic has an entry whose record ends above log_offset. */
bool queue_table_beyond(struct queue_table *t, struct topic *topic, uint64_t log_offset);
/* Like _drop_topic, but only queues whose last record ends at or below log_offset. For the only
 * appender. false: there was none. */
bool queue_table_drop_below(struct queue_table *t, struct topic *topic, uint64_t log_offset);

/* --- retention; all block, any thread but an event loop --- */
uint32_t queue_table_count(struct queue_table *t); /* indexes below are given out */
/* The log begins at log_min, a segment's begin: the queue's min moves to its first entry at or
 * above, or to where it goes on when it has none. 0 or -errno: min is as it was. */
int queue_table_settle(struct queue_table *t, uint32_t queue, uint64_t log_min);
/* Whether a reader at `offset` has entries ahead whose records begin below log_min: 1, 0 or -errno.
 */
int queue_table_unread(struct queue_table *t, uint32_t queue, int64_t offset, uint64_t log_min);
/* Removes the files in front of min, but never the last one. How many, or -errno. */
int queue_table_trim(struct queue_table *t, uint32_t queue);

struct queue_table_stats {
    uint64_t queues, chunk_bytes, chunk_budget, pending_entries, open_files;
};
void queue_table_stats(struct queue_table *t, struct queue_table_stats *out);

#endif
