/* store_internal.h - what the files of the store share. Nobody else includes it.
 *
 *   store.c           open and close, watermarks, what is asked once in a while
 *   store_append.c    appending, and the write at the end of a turn
 *   store_flush.c     the flusher thread: durability, marks, segments ahead
 *   store_read.c      everything that reads
 *   store_lookup.c    messages by their keys
 *   store_retention.c the retention thread: segments and queue files that go, a disk too full
 *   store_unconsumed.c  who had not yet read what goes
 *   store_damage.c    places of the log that are known to be damaged
 *   store_scrub.c     the scrub thread: verifies what an earlier process wrote, repairs entries
 *   store_cut.c       a log that ends, or begins, where another one says
 *   store_recovery.c  from what is found on the disk to a store that can go on (recovery.h)
 *   recovery_scan.c   likewise: reads the log and gives the records their entries (with log_scan.h)
 *
 * Locks, outermost first: append_lock; then the leaf locks tail_lock, scratch_lock,
 * flusher.lock, retention.lock, damage.lock, scrub.lock, none of which is held together with
 * another.
 */
#ifndef TERN_BROKER_STORE_STORE_INTERNAL_H
#define TERN_BROKER_STORE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "broker/store/commit_log.h"
#include "broker/store/index.h"
#include "broker/store/log_scan.h"
#include "broker/store/reader_pool.h"
#include "broker/store/store.h"
#include "broker/store/store_mark.h"

enum {
    STORE_RECORD_EXTRA = 65536,       /* a record may exceed message_max by this much */
    STORE_RECORD_READ_MAX = 64 << 20, /* larger ones, from a store with larger settings, are taken
                                         for damage */
    STORE_SCRATCH_KEPT = 4,           /* scratch buffers that wait for their next use */
    STORE_EARLY_BYTES = 8 << 20,      /* so much unsynced starts a writeback at once */
    STORE_DAMAGE_MAX = 1024,          /* damaged places that are remembered; more are counted */
    STORE_REPAIRS_MAX = 64,           /* queues that wait for an entry at the same time */
};

/* Damaged places of the log, in order, none touching another. */
struct damage {
    pthread_mutex_t lock;
    struct damaged_range {
        uint64_t from, to;
    } at[STORE_DAMAGE_MAX];
    unsigned count;
    _Atomic unsigned known; /* count, for a look without the lock */
    _Atomic uint64_t places;
};

/* Verifies [at, end), and repairs entries that a reader has found to be wrong. */
struct scrub {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, started; /* under lock, as the next two */
    struct repair {
        uint32_t queue;
        int64_t offset; /* reads of the queue wait at this offset */
        int64_t due_ms; /* not before (monotonic) */
    } repairs[STORE_REPAIRS_MAX];
    unsigned count;
    alignas(64) _Atomic unsigned waiting; /* count, for a look without the lock */
    _Atomic uint64_t scrubbed_to, problems, mended, given_up;
    pthread_t thread;
    /* The thread's own; of store_open() before it runs. */
    uint64_t at, end;
    struct log_scan scan;
    struct err err;
    struct buf record;
    uint32_t last_queue; /* what the last repair was about, and when it ended */
    int64_t last_offset, last_ms;
};

struct scratch {
    struct scratch *next;
    size_t size;
    uint8_t bytes[];
};

/* The flusher sleeps until `written` reaches wake_at, until it is called, or until a time. */
struct flusher {
    alignas(64) _Atomic uint64_t wake_at; /* UINT64_MAX while it is awake and will look by itself */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool called, stop; /* under lock */
    bool started;
    pthread_t thread;
    /* The thread's own; of store_open() and store_close() while it does not run. */
    struct mark_file mark_file;
    struct mark mark;        /* as last written */
    int64_t mark_ms;         /* when (monotonic) */
    int64_t dirty_since_ms;  /* first look that found written > flushed; 0: clean */
    int64_t writeback_ms;    /* last one */
    uint64_t writeback_to;   /* `written` at the last writeback */
    int64_t queues_ms;       /* last write-back of queues */
    uint64_t queues_flushed; /* `flushed` then */
    int64_t checkpoint_ms; /* when the traffic began that the next checkpoint will cover; 0: none */
    uint64_t checkpoint_to; /* `flushed` at the last checkpoint */
    bool complaining;       /* the last queue write-back or mark has failed */
    const char *step;       /* of a checkpoint or a stop: what an operator is told when it fails */
    /* A sync of the queue files has failed: the kernel may call their pages clean, so that no later
     * sync says anything about them. Nothing more is claimed of queues until the next start, which
     * makes their entries anew from `queues complete to` on. */
    bool queues_doubted;
    /* What others may know and ask. */
    _Atomic uint64_t complete_to; /* mark.queues_complete_to, as it is on the disk */
    _Atomic bool checkpoint_asked;
};

struct retention {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_retention options; /* lock, as all up to the thread */
    bool called, stop, sweep_asked;
    int asked_rounds;              /* in which expired segments go at any hour */
    char refusal[STORE_FULL_TEXT]; /* while `refusing` */
    bool started;
    pthread_t thread;
    _Atomic bool refusing;                     /* the disk is fuller than writes are accepted at */
    _Atomic bool idle;                         /* it sleeps until somebody writes */
    _Atomic uint64_t keep_from[STORE_READERS]; /* store_keep_from() */
    _Atomic uint64_t swept_to;                 /* all queues know of this min of the log */
    _Atomic uint64_t segments, queue_files;    /* deleted */
    /* The thread's own. */
    uint64_t written;       /* at the last round */
    uint64_t sweep_min;     /* of the log, when the sweep at hand began */
    uint32_t sweep_at;      /* next queue */
    bool sweeping, blocked; /* `blocked`: a segment waits for the flusher */
    uint64_t sweep_files, sweep_failures;
};

struct store {
    struct store_options options; /* strings point to the copies below */
    char *root_dir, *commit_log_dir, *spare_dir;
    int lock_fd; /* -1 when the caller holds the lock */
    struct commit_log *log;
    struct queue_table *queues;
    struct metadata *metadata;
    struct reader_pool *readers;
    struct index *index;      /* NULL: none is kept */
    int64_t checkpoint_index; /* index time in `checkpoint` as found, for then */
    size_t record_max;
    uint64_t far_bytes; /* further below confirmed than this is "far behind" */
    _Atomic uint64_t
        boot_end; /* records below were written by an earlier process: checked when read */
    /* All queues begin with the first message of a log that begins here; MARK_NO_MIN: it cannot be
     * told. Whoever deletes segments sets it when all queues have followed. */
    _Atomic uint64_t settled_min;
    /* Records from here on, of those that are flushed, have the whole-record CRC. Follows what is
     * appended without one; boot_crc_from is what the start has found, for records below boot_end.
     */
    _Atomic uint64_t crc_from;
    uint64_t boot_crc_from;
    _Atomic bool queues_dropped; /* since the last checkpoint */
    uint64_t records_recovered;
    int64_t boot_recovery_ms;

    alignas(64) pthread_mutex_t append_lock;
    int64_t last_store_ms;          /* append lock, as the next four */
    _Atomic bool follower;          /* changed under the append lock */
    _Atomic bool follow_look_again; /* topics were deleted */
    struct topic *follow_topic;     /* of the last record; the following thread's */
    void (*on_waited)(void *ctx, uint32_t loops_mask, uint32_t queue, uint64_t log_end);
    void *on_waited_ctx;
    _Atomic uint64_t appended_messages, appended_bytes; /* written under the lock only */

    alignas(64) _Atomic uint64_t confirm_limit;
    alignas(64) _Atomic uint64_t written_calls;
    _Atomic uint64_t flushes, flush_failures;
    _Atomic bool disk_full;
    _Atomic bool stop_told; /* the log line about a stopped log was written */
    _Atomic bool closing;
    _Atomic unsigned tail_waiters;
    pthread_mutex_t tail_lock;
    pthread_cond_t tail_moved; /* `written` moved while somebody waited for room in the tail */
    pthread_mutex_t scratch_lock;
    struct scratch *scratch;
    unsigned scratch_count;

    struct flusher flusher;
    struct retention retention;
    struct damage damage;
    struct scrub scrub;
};

/* --- store.c --- */
/* root_dir/name; -ENAMETOOLONG. */
int store_path(const struct store *s, char to[PATH_MAX], const char *name);
/* A thread of the store: signals blocked (they belong to main), a small stack, a name of at most 15
 * characters. 0 or -errno. */
int store_thread(pthread_t *id, const char *name, void *(*main)(void *arg), void *arg);
/* A store with its options and nothing opened; store_free() ends whatever has begun since. */
int store_make(struct store **out, const struct store_options *options, struct err *err);
void store_free(struct store *s);
/* Makes the (empty) table of queues. */
int store_open_queues(struct store *s, struct err *err);
/* Delivery time of a message of that level stored at store_ms. */
int64_t store_delivery_ms(const struct store_options *options, int64_t store_ms, int32_t level);
static inline void store_progress(struct store *s)
{
    if (s->index)
        index_progress(s->index, store_confirmed(s));
    if (s->options.on_progress)
        s->options.on_progress(s->options.ctx);
}

/* --- store_append.c --- */
/* Another thread holds the write ticket: waits, not for ever, until its write has moved `written`
 * past `seen`. Whether it has. */
bool store_wait_written(struct store *s, uint64_t seen);
/* The log has stopped for good: says so once. */
void store_note_stop(struct store *s);
/* What commit_log_prepare() returned: keeps the disk-full flag, says when it changes. */
void store_note_prepare(struct store *s, int r);
/* Another segment: 0, STORE_STOPPED or STORE_NO_SPACE. */
int store_make_segment(struct store *s);
void store_scratch_free(struct store *s);

/* --- store_flush.c --- */
void flusher_init(struct flusher *f);
void flusher_destroy(struct flusher *f);
int flusher_start(struct store *s, struct err *err);
void flusher_stop(struct store *s);
/* `written` has moved: wakes the flusher when it sleeps and this is worth it. */
void flusher_written(struct store *s, uint64_t written);
/* Wakes it for something else (memory pressed, disk full). */
void flusher_call(struct store *s);
/* Everything that was appended is on the disk, in the queue files and in the mark. For
 * store_close(), after flusher_stop(). 0 or the first failure. */
int flusher_finish(struct store *s);

/* --- store_retention.c --- */
void retention_init(struct retention *r);
void retention_destroy(struct retention *r);
/* Looks at the disk, so that writes are refused from the first on when they are to be. */
int retention_start(struct store *s, struct err *err);
void retention_stop(struct store *s);
/* Something was written: it may have to look at the disk again. Cheap. */
void retention_written(struct store *s);
/* Wakes it: the disk has no room. */
void retention_call(struct store *s);
/* What its thread does, for tests that have none: one round at that time, with all of the sweep
 * that it makes necessary. */
void retention_round(struct store *s, int64_t now_ms);
void retention_sweep(struct store *s);

/* --- store_unconsumed.c --- */
/* Groups and delay levels with messages ahead of them below log_min; "" when there are none. */
void store_unconsumed(struct store *s, uint64_t log_min, char *text, size_t size);
/* --- store_read.c --- */
/* The queue begins with the first message that the log still has. 0 or -errno. */
int store_settle_queue(struct store *s, uint32_t queue);
/* What an entry says of a record, and the record of itself. */
enum store_verdict {
    VERDICT_RIGHT,
    VERDICT_DAMAGED, /* it is the record that the entry means, but its checksums differ */
    VERDICT_OTHER,   /* it is not: the entry is wrong, or the front of the record is damaged */
};
/* `whole`: the bytes that the entry leads to. */
enum store_verdict store_judge(struct store *s, uint32_t queue, int64_t offset,
                               const struct queue_entry *entry, struct bytes whole,
                               const char **why);
/* Whether an entry may have that code for the record: RocketMQ's extended addresses and times of
 * delivery, which depend on its settings, pass. */
bool store_tags_fit(const struct record *r, int64_t tags_code);
/* RocketMQ's light queues lead to records of other topics on purpose. We do not serve them, and do
 * not change them either. */
bool store_is_light(struct store *s, uint32_t queue);
/* Whether an entry can lead to a record at all: inside [min, end), in one segment. */
bool store_entry_plausible(const struct store *s, const struct queue_entry *entry, uint64_t end);
/* The entry of a record as dispatch makes it. False: it is in no queue. */
bool store_entry_of(const struct store *s, const struct record *r, uint64_t log_offset,
                    struct queue_entry *entry);

/* What a topic is made with that is known by its records only: queues for all ids up to queue_id.
 * False: the name or the id cannot be. */
bool store_topic_by_records(struct bytes name, int32_t queue_id, struct topic_config *config);
enum { STORE_LEAP_MAX = INT32_MAX /* entries that a queue may lack before a record */ };

/* --- store_damage.c --- */
void damage_init(struct damage *d);
void damage_destroy(struct damage *d);
void damage_forget(struct damage *d);
/* Bytes [from, to) of the log are no good; says so once, the first twenty at once. */
void store_note_damage(struct store *s, uint64_t from, uint64_t to, const char *why);
/* Whether any of [from, to) is known to be damaged. */
bool store_is_damaged(struct store *s, uint64_t from, uint64_t to);

/* --- store_scrub.c --- */
void scrub_init(struct scrub *scrub);
void scrub_destroy(struct scrub *scrub);
int scrub_start(struct store *s, struct err *err);
void scrub_stop(struct store *s);
/* The entry at `offset` is wrong: it will be repaired, and reads of the queue wait there. Any
 * thread. -EAGAIN when too many wait already; the reader comes again. */
int store_ask_repair(struct store *s, uint32_t queue, int64_t offset);
/* Where reads of the queue have to wait; INT64_MAX: nowhere. */
int64_t store_repair_at(struct store *s, uint32_t queue);

/* --- store_cut.c --- */
/* Before the log is opened: what there is of it is moved aside, queues and index go. */
int store_cut_anew(struct store *s, struct err *err);
/* Where the log with segments from min to limit is to end: as the options say, or before, when that
 * is within a record. */
int store_cut_place(struct store *s, uint64_t min, uint64_t limit, uint64_t *to, struct err *err);
/* The mark, as read, claims nothing of the log above `to`; of the queues, still. */
void store_cut_lower(struct mark *mark, uint64_t to);
/* What goes when the log ends at `from`. */
struct store_tail {
    uint64_t records, bytes;
};
int store_cut_count(const struct store *s, uint64_t from, uint64_t limit, struct store_tail *out,
                    struct err *err);
/* Store time of the last record before `end`, where the log ends; 0: there is none. */
int store_cut_newest(struct store *s, uint64_t end, int64_t *ms, struct err *err);
/* RocketMQ's checkpoint names no later time. */
int store_cut_checkpoint(const struct store *s, int64_t newest_ms, struct err *err);
/* Consumer offsets and delay cursors end where the queues do; durable when it returns 0. */
int store_cut_offsets(struct store *s, struct err *err);

/* --- store_recovery.c --- */
/* *scanned: the log was read, the mark on the disk is to be replaced. */
int store_recover(struct store *s, bool *scanned, bool *unclean, struct err *err);
/* CRC-32 of the last bytes of the log before `end`, and whether nothing stands behind them: what a
 * clean stop leaves and the next start looks at. `limit`: where the segments end. */
int store_tail_look(const struct store *s, uint64_t limit, uint64_t end, uint32_t *crc,
                    bool *ends_there);
/* The scan alone, for the offline rebuild: gives every record of the log its entry in s->queues,
 * which are empty; the log is only read. s->log is not looked at. */
struct store_replayed {
    uint64_t end;    /* of the log, by the rules of a start */
    const char *why; /* it ends there */
    uint64_t records, nameless;
    int64_t newest_ms;
};
int store_replay(struct store *s, const struct mark *mark, uint64_t min, uint64_t limit,
                 struct store_replayed *out, struct err *err);
/* No topic has queues in a table yet that is new; topics outlive the store. */
void store_forget_extents(struct store *s);

#endif
