/* queue_internal.h - what the queue_*.c files share; nobody else includes it (tests and the fuzzer
 * of the snapshot apart).
 *
 * A queue, from left to right:
 *
 *      min ........ in files ........ file_end ...... in chunks ...... next
 *
 * Entries are in order of their records, so "visible at a watermark" is always a prefix. Chunks
 * hold them as they stand in the files, so write-back hands their memory to pwritev.
 *
 * Locks, in the order in which they are taken:
 *   trim_lock    one at a time removes files of queues that live on, or a topic's
 *   io_lock      one at a time writes, cuts or removes the files of queues
 *   append lock  states, chunks, lists; never held over a system call but the mmap of a new block
 *   (a leaf)     the lock of the descriptor cache
 */
#ifndef TERN_BROKER_STORE_QUEUE_INTERNAL_H
#define TERN_BROKER_STORE_QUEUE_INTERNAL_H

#include <assert.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "broker/store/queue_snapshot.h"
#include "broker/store/queue_unit.h"

#define CHUNK_NONE UINT32_MAX

enum {
    CHUNK_ENTRIES = 12,
    BLOCK_CHUNKS = 1024, /* chunks are mapped 256 KiB at a time */
    KEEP_BLOCKS = 4,
    PAGE_STATES = 1024,
    TABLE_PAGES = (QUEUES_MAX + PAGE_STATES - 1) / PAGE_STATES,
    /* So many pending entries always hold all that a 4 KiB page was still lacking, wherever in a
     * page they begin: 206 * 20 >= 4095 + 20. */
    QUEUE_BATCH = 206,
    READ_UNITS = 205, /* units read at a time: all that a first page touches */
    WRITE_PIECES = 1024,
    AGE_MARKS = 16,
    AGE_MARK_MS = 5000,
    AGE_LIMIT_MS = 60000,
};

/* Twelve entries of one queue: those with offset / 12 == ordinal, which is not stored. Whoever
 * walks from the tail knows it from the state. `jump` goes back jump_by chunks (a skew-binary
 * list: from any chunk to any earlier one in O(log n) steps, O(1) to add one); it may point before
 * the head, to a chunk that is no longer ours, so compare jump_by with the distance to the head
 * first.
 */
struct queue_chunk {
    uint32_t next, prev;
    uint32_t jump, jump_by;
    uint8_t entries[CHUNK_ENTRIES * QUEUE_ENTRY_BYTES];
};
static_assert(sizeof(struct queue_chunk) == 256, "a chunk is four cache lines");

enum { STATE_DIRTY = 1, STATE_READY = 2, STATE_GAP_LOGGED = 4 };

/* Topic and queue id are constant; everything else is under the append lock. Links are indexes. */
struct queue_state {
    struct topic *topic;
    int64_t min, file_end, next;
    uint64_t last_end;      /* end of the record of entry next - 1 */
    uint64_t file_last_end; /* end of the record of entry file_end - 1 */
    int32_t queue_id;
    uint32_t generation; /* moves when files go away; part of the key of cached descriptors */
    uint32_t head, tail; /* chunks; CHUNK_NONE exactly when file_end == next */
    uint32_t dirty_prev, dirty_next;
    uint32_t dirty_seq; /* when it became dirty, in steps of queue_table.dirty_seq */
    uint32_t ready_next;
    uint32_t waiting;
    uint8_t flags;
};
static_assert(sizeof(struct queue_state) < 100, "a million queues are a plan");

struct queue_files;

struct queue_table {
    pthread_mutex_t *append_lock;
    char *dir;
    int64_t file_units, file_bytes;

    /* append lock; the page pointers are set once and read by anybody */
    _Atomic(struct queue_state *) pages[TABLE_PAGES];
    uint32_t count;

    struct queue_chunk **blocks;
    uint32_t chunks_max, chunks_mapped, chunks_carved;
    uint32_t free_head, free_count;
    _Atomic uint32_t chunks_used; /* written under the append lock */
    uint64_t pending;

    /* Queues with pending entries, in the order in which they became dirty, and those of them that
     * have QUEUE_BATCH or more. */
    uint32_t dirty_head, dirty_tail, dirty_seq;
    uint32_t ready_head, ready_tail, ready_count;

    /* flusher only: dirty_seq at some moments of the last minute */
    struct age_mark {
        int64_t ms;
        uint32_t seq;
    } marks[AGE_MARKS];
    unsigned mark_count, mark_newest;

    pthread_mutex_t trim_lock, io_lock;
    struct iovec pieces[WRITE_PIECES]; /* io_lock */
    struct queue_files *files;
};

/* A queue as code without the append lock may use it. */
struct queue_place {
    const struct topic *topic;
    int32_t queue_id;
    uint32_t queue, generation;
    int64_t
        min; /* of that moment: a new file gets fillers below, nothing between it and an entry */
};

/* --- queue_table.c (append lock held) --- */

static inline struct queue_state *queue_state(const struct queue_table *t, uint32_t queue)
{
    struct queue_state *page =
        atomic_load_explicit(&t->pages[queue / PAGE_STATES], memory_order_acquire);

    return &page[queue % PAGE_STATES];
}

static inline struct queue_chunk *queue_chunk(const struct queue_table *t, uint32_t chunk)
{
    return &t->blocks[chunk / BLOCK_CHUNKS][chunk % BLOCK_CHUNKS];
}

struct queue_place queue_place(const struct queue_table *t, uint32_t queue);
/* Where entry `offset` (file_end <= offset < next) is. */
uint8_t *queue_memory_at(const struct queue_table *t, const struct queue_state *s, int64_t offset);
/* One past the last entry whose record ends at or below `limit`, looking at chunks only: at least
 * file_end. */
int64_t queue_memory_end(const struct queue_table *t, const struct queue_state *s, uint64_t limit);
/* Entries below `end`, which is above file_end, are in files now. */
void queue_memory_written(struct queue_table *t, uint32_t queue, int64_t end, uint64_t last_end);
/* Forgets entries from `end` (file_end <= end <= next) on; last_end follows. */
void queue_memory_cut(struct queue_table *t, uint32_t queue, int64_t end);
/* Sets a state, after making those of ids up to last_id (at once, so that none too many is made);
 * takes the append lock. -ENOSPC when the table is full. */
int queue_state_set(struct queue_table *t, struct topic *topic, int32_t last_id, int32_t queue_id,
                    const struct queue_ends *ends);
/* Forgets the entries; the queue goes on, or begins, at `offset`. */
void queue_restart(struct queue_table *t, uint32_t queue, int64_t offset);
void queue_dirty_add(struct queue_table *t, uint32_t queue);
void queue_dirty_remove(struct queue_table *t, uint32_t queue);
void queue_ready_add(struct queue_table *t, uint32_t queue);
uint32_t queue_ready_pop(struct queue_table *t); /* QUEUE_NONE when there is none */

/* Gives blocks back to the system when no chunk is in use: after a burst, not between messages. No
 * lock held; only for the thread that writes back. */
void queue_memory_trim(struct queue_table *t);

/* --- queue_files.c (no lock held; those marked * are for the holder of io_lock or for recovery)
 * --- */

int queue_files_new(struct queue_files **out, unsigned descriptors);
struct queue_files *queue_files_free(struct queue_files *f);
uint64_t queue_files_count(struct queue_files *f);
/* Closes the cached descriptors of queues [first, first + count), those in use as soon as they are
 * not.
 */
void queue_files_forget(struct queue_files *f, uint32_t first, uint32_t count);

/* Raw units from `offset` on, at most to the end of the file: how many (at least 1),
 * QUEUE_WOULD_BLOCK or -errno. */
int queue_units_read(struct queue_table *t, const struct queue_place *place, int64_t offset,
                     uint8_t *to, int count, bool may_block);
/* * Whole units from `offset` on, all in one file, which is made when it is not there; uses up the
 * pieces. */
int queue_units_write(struct queue_table *t, const struct queue_place *place, int64_t offset,
                      struct iovec *pieces, int count);
/* * Fillers for [from, to). */
int queue_units_fill(struct queue_table *t, const struct queue_place *place, int64_t from,
                     int64_t to);
/* * One unit of a file, which is made, or brought back to its size, when that is needed: for
 * entries that were lost. */
int queue_unit_mend(struct queue_table *t, const struct queue_place *place, int64_t offset,
                    const uint8_t unit[QUEUE_ENTRY_BYTES]);
/* Searches files: *end = the largest offset in [low, high] below which every entry's record ends at
 * or below `limit`. 0, QUEUE_WOULD_BLOCK or -errno. */
int queue_files_end(struct queue_table *t, const struct queue_place *place, int64_t low,
                    int64_t high, uint64_t limit, bool may_block, int64_t *end);
/* * Removes a queue's folder and what has a file's name in it; fine when it is not there. */
int queue_folder_remove(const char *folder);
/* * Makes [at, end) of an open file read as zeroes; its size stays. */
int queue_file_zero(int fd, int64_t at, int64_t end);

/* --- queue_recovery.c --- */

/* Syncs the file system of the queues: what was cut must not come back after a power cut. */
int queue_files_sync(struct queue_table *t, struct err *err);

/* --- queue_write_back.c (for recovery, flushed or not) --- */

int queue_write_all(struct queue_table *t, uint32_t queue);
int queue_write_everything(struct queue_table *t);

/* --- queue_snapshot.c --- */

/* The two halves of queue_table_snapshot_load() behind the file: `find` gives the topic of a name.
 */
int queue_snapshot_apply(struct queue_table *t, struct bytes in, uint64_t log_end,
                         struct topic *(*find)(void *ctx, struct bytes name), void *ctx);

#endif
