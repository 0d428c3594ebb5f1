/* store.h - the store of one broker: one log, its queues, its watermarks. What request handlers
 * call.
 *
 * Knows nothing of the network. Threads: any number of appenders and readers; one flusher and a
 * small pool of reader threads of its own. The append lock (inside) is held for offsets, queue
 * entry and a memcpy, never for a system call.
 *
 * The gate: a reply may leave when store_confirmed() has passed the end of its message (replies
 * that do not wait for the disk: store_written()). The veil: everything that reads sees no further
 * than store_confirmed(). Both watermarks move in store_write() and on the flusher, then
 * on_progress is called.
 */
#ifndef TERN_BROKER_STORE_STORE_H
#define TERN_BROKER_STORE_STORE_H

#include <sys/types.h>

#include "broker/store/index.h"
#include "broker/store/metadata.h"
#include "broker/store/queue_table.h"
#include "broker/store/record.h"
#include "broker/store/retention.h"

struct store;

/* What is deleted when. Everything is zero, round_ms above all: nothing is ever deleted, and no
 * write refused for want of space that there still is. */
struct store_retention {
    struct retention_rules rules;
    int64_t round_ms;         /* cleanResourceInterval: between two looks */
    int64_t segment_pause_ms; /* deleteCommitLogFilesInterval: after each segment */
    int64_t
        queue_pause_ms; /* deleteConsumeQueueFilesInterval: after each queue with files removed */
    int segments_max;   /* deleteFileBatchMax: of one round */
};

enum { STORE_NEAR_NOTHING = -1 /* near_percent: whatever is behind is far behind */ };
struct store_options {
    const char *root_dir;       /* storePathRootDir */
    const char *commit_log_dir; /* storePathCommitLog; NULL: root_dir/commitlog */
    int64_t segment_bytes;      /* mappedFileSizeCommitLog */
    int64_t queue_file_bytes;   /* mappedFileSizeConsumeQueue */
    bool sync_flush;            /* flushDiskType=SYNC_FLUSH: confirmed = flushed, else written */
    int64_t flush_interval_ms;  /* flushIntervalCommitLog, async mode */
    bool record_crc;            /* our records carry __CRC32# */
    size_t message_max;         /* maxMessageSize: body bytes */
    size_t tail_bytes;          /* memory tail */
    size_t queue_memory;        /* budget for entries not yet in files */
    unsigned queue_descriptors;
    unsigned reader_threads;
    uint64_t scrub_bytes_s; /* of an earlier process's log verified each second; 0: none is */
    bool follower; /* a slave: store_follow() instead of store_append(), see store_lead() */
    /* Confirmed is at most this until store_limit_confirmed(): a member of a group does not know,
     * when it opens, how much of its log the others have. */
    bool limit_confirmed;
    uint64_t confirmed_at_most;
    /* The log is opened as one that ends at `to`, where a record begins or the log ends; what is
     * there of it above goes, with all that follows from it, and is kept in tern/cut-*. Nothing is
     * above: nothing happens. `anew`: all of it goes, and the empty log begins at `to`, a multiple
     * of segment_bytes. May be repeated, after a crash too. See store_cut.c. */
    struct {
        bool on, anew;
        uint64_t to;
    } cut;
    bool locked; /* the caller holds store_lock() and keeps it beyond store_close() */
    struct record_host store_host; /* brokerIP1:listenPort, goes into records and message ids */
    struct metadata *metadata;     /* opened before, closed after */
    bool index;                    /* messageIndexEnable: keep a key index */
    struct index_shape index_shape;
    int64_t delay_ms[64]; /* messageDelayLevel; [0] is level 1 */
    int delay_levels;
    /* accessMessageInMemoryMaxRatio: what is further behind the end than so many percent of the
     * machine's memory is far_behind. 0: the usual 40. */
    int near_percent;
    struct store_retention retention;
    /* How full the disk of a path is; NULL: ask the system (file_space()). For tests. */
    int (*space)(const char *path, struct file_space *out);
    /* Any thread of the store or an appender's; must only raise signals. */
    void (*on_progress)(void *ctx);
    void *ctx;
};

/* Takes the lock file of a store folder, both made when they are not there: the fd to give to
 * store_unlock(), or a failure whose err names the process that holds it. Whoever opens the
 * metadata journal of the folder takes the lock first and gives it up after metadata_close(). */
int store_lock(const char *root_dir, struct err *err);
void store_unlock(int lock);
/* Who holds it, for tools that only look: 1 with *holder (0: unknown), 0 nobody, -errno. */
int store_lock_holder(const char *root_dir, int *holder);

/* Takes the lock unless options->locked, recovers, leaves the store ready for reading and appending
 * with its threads running. Logs one line of result: where the log ended, why there, what was
 * rebuilt. */
int store_open(struct store **out, const struct store_options *options, struct err *err);
/* Clean stop: no appends any more, everything written, flushed, queues written back, snapshot and
 * checkpoint written, abort removed, lock released. Frees. 0 or the first failure. */
int store_close(struct store *s);

/* --- appending --- */
struct store_message {
    struct topic *topic;
    int32_t queue_id;
    int32_t flag;
    int32_t sys_flag;
    int64_t born_ms;
    struct record_host born_host;
    int32_t reconsume_times;
    int64_t prepared_offset;
    struct bytes body;
    struct bytes properties; /* final text, without the CRC property */
    int64_t tags_code;
    int delay_level; /* above 0: the entry's tags code becomes the delivery time */
};
struct store_position {
    uint64_t log_offset;
    uint64_t log_end; /* one past its last byte: what the gate compares */
    int64_t queue_offset;
    int64_t store_ms;
};
enum store_outcome {
    STORE_NO_SPACE = 1, /* the disk is too full (store_disk_full() says how): try later */
    STORE_STOPPED,      /* a write or flush has failed: no more writes (store_stopped() says why) */
    STORE_ILLEGAL,      /* body, properties or topic too long */
    STORE_BUSY,         /* a bounded buffer is full; *full names it */
    STORE_CLOSED,       /* a follower's store: see store_close_writes() */
    STORE_DELETED,      /* the topic has been deleted since it was looked up */
};
/* Appends `count` messages (1 to 4096, all to the same topic and queue) with consecutive queue
 * offsets into one segment. positions[] gets each one's place. Nothing is visible or answered for
 * before store_write() and the gate. `full` may be NULL. */
int store_append(struct store *s, const struct store_message *messages, size_t count,
                 struct store_position *positions, const char **full);
/* End of a turn: writes all that was appended, by anybody; cheap when there is nothing. */
void store_write(struct store *s);

/* --- following the log of another broker (a slave); one thread --- */
/* Bytes of that log from store_follow_end() on. Whole records are checked (size, place, checksums),
 * appended with their queue entries and written; *taken says how many bytes, the rest is to come
 * again with what follows it. An unknown topic is made. 0; -EBADMSG: what follows `taken` cannot be
 * a part of this log, err says why; -EAGAIN: a bounded buffer is full, -ENOSPC: no room for a
 * segment, both later again; -EIO: no more writes. */
int store_follow(struct store *s, uint64_t offset, struct bytes log, size_t *taken,
                 struct err *err);
/* Where the next bytes belong. */
uint64_t store_follow_end(const struct store *s);
/* An empty log begins here, a multiple of the segment size. -ENOTEMPTY, -EINVAL. */
int store_begin_at(struct store *s, uint64_t offset, struct err *err);
/* Where the last record begins that is good and ends at or below `limit`. -ENOENT: there is none;
 * -errno. Reads files, usually just the bytes before `limit`. Any thread. */
int store_record_before(struct store *s, uint64_t limit, uint64_t *offset, struct err *err);
size_t store_record_max(const struct store *s); /* bytes of the largest record that is taken */
/* A topic that the master has deleted up to log_offset, and perhaps made anew: whether messages
 * behind it are in its queues already; and forgetting the queues that end there. false: there was
 * none. The thread that follows. */
bool store_topic_beyond(struct store *s, struct topic *topic, uint64_t log_offset);
bool store_drop_topic_below(struct store *s, struct topic *topic, uint64_t log_offset);
/* After such a deletion: whoever follows looks its topic up again, and makes it known again. */
void store_topics_went(struct store *s);
bool store_is_follower(const struct store *s);
/* From now on this is a master's store: store_append() instead of store_follow(). It appends right
 * behind what was followed. Not while somebody is in store_follow(). */
void store_lead(struct store *s);
/* The reverse: from now on store_append() answers STORE_CLOSED, whoever calls it, and when this
 * returns 0 all that was appended before is written, so that store_written() is the end. -EIO: the
 * log has stopped and the rest is lost. Any thread; blocks for a write. */
int store_close_writes(struct store *s);
/* Confirmed stays below `limit` until it is raised; UINT64_MAX: no limit. Never lower it
 * below what was confirmed. Any thread; whoever raises it sees to it that on_progress is heard. */
void store_limit_confirmed(struct store *s, uint64_t limit);
/* Confirmed stays below what is written now, and that is returned: where a limit may begin without
 * taking back what was seen. */
uint64_t store_hold_confirmed(struct store *s);

/* Everything below is as safe here as the flush mode promises; confirmed is this or less. */
uint64_t store_kept(const struct store *s);

/* --- handing the log on (a master); any thread --- */
/* Sends a part of [offset, to), at most to the end of a segment, `to` at most store_written(): how
 * many bytes the socket took, or -errno (-EAGAIN; -ENODATA: not in the log). No copy is made. */
ssize_t store_send(struct store *s, int socket, uint64_t offset, uint64_t to);
int64_t store_segment_bytes(const struct store *s);
/* Where the segment begins that holds the end of what is written. */
uint64_t store_last_segment(const struct store *s);

uint64_t store_end(const struct store *s); /* appended; may be ahead of written */
uint64_t store_written(const struct store *s);
uint64_t store_flushed(const struct store *s);
uint64_t store_confirmed(const struct store *s);
uint64_t store_min(const struct store *s);
bool store_stopped(const struct store *s, char reason[160]);
/* True while the disk has no room for another segment, or is fuller than writes are accepted at.
 * `why` (may be NULL) gets a clause that names the folder. */
enum { STORE_FULL_TEXT = 320 };
bool store_disk_full(struct store *s, char why[STORE_FULL_TEXT]);

/* --- retention: a thread of its own (store_retention.c) --- */
void store_set_retention(struct store *s, const struct store_retention *retention);
/* Segments that hold `offset` or what follows are kept, whatever the rules say: for who reads the
 * log in order and is not yet further. UINT64_MAX, the start: nobody is. A segment that is going
 * already goes. Any thread. */
enum store_reader {
    STORE_READER_SLAVES,  /* of RocketMQ's protocol */
    STORE_READER_MEMBERS, /* of the group */
    STORE_READERS,
};
void store_keep_from(struct store *s, enum store_reader reader, uint64_t offset);
/* Requests of tools, carried out soon: expired segments go at any hour, for the next rounds; all
 * queues are looked at again for files that hold nothing any more. */
void store_clean_log(struct store *s);
void store_clean_queues(struct store *s);

/* --- reading --- */
/* QUEUE_NONE when topic or queue has no entries yet. */
uint32_t store_queue(struct store *s, struct topic *topic, int32_t queue_id);
/* Makes it when needed (a pull waits on a queue before its first message). */
uint32_t store_queue_make(struct store *s, struct topic *topic, int32_t queue_id);
struct queue_range store_range(struct store *s, uint32_t queue); /* {0,0} for QUEUE_NONE */
/* The same, but just after a deletion, when queues are still being told, min is right already.
 * Blocks. */
struct queue_range store_range_settled(struct store *s, uint32_t queue);

struct store_filter {
    bool (*match)(void *ctx, int64_t tags_code); /* NULL: everything */
    void *ctx;
};
struct store_get {
    uint32_t queue;
    int64_t offset;
    int max_messages;
    size_t
        max_bytes; /* 0: the usual bounds (262144 and 32 near the head, 65536 and 8 far behind) */
    struct store_filter filter;
    bool may_block; /* false on an event loop */
};
enum store_get_status {
    STORE_GET_FOUND,
    STORE_GET_NO_MATCH, /* all examined were filtered out */
    STORE_GET_REMOVED,  /* entries there, their messages deleted; next_offset is the first that is
                           not,  as far as is known */
    STORE_GET_NO_QUEUE,
    STORE_GET_EMPTY, /* max is 0 */
    STORE_GET_TOO_SMALL,
    STORE_GET_AT_END, /* offset == max */
    STORE_GET_BEYOND_END,
    STORE_GET_UNREADABLE,  /* messages are lost or damaged; next_offset is where to go on */
    STORE_GET_REPAIRING,   /* the entry at `offset` is wrong and will be repaired: as if the queue
                              ended there; whoever waits on it is called when it is done */
    STORE_GET_WOULD_BLOCK, /* may_block was false: hand it to store_run() */
};
struct store_got {
    enum store_get_status status;
    int64_t next_offset, min, max;
    int messages;
    size_t bytes;
    bool far_behind; /* beyond accessMessageInMemoryMaxRatio of physical memory */
};
/* Two steps, so that a header can be written between them: _find decides what will be sent (it
 * reads queue entries only), _fill then adds exactly the `bytes` of those records to `out`, each
 * checked against its entry (size, log offset, queue, queue offset, topic). _fill returns 0;
 * WOULD_BLOCK: nothing was added; -ESTALE: messages were deleted since _find: find again; -EBADMSG:
 * the record at queue offset *bad is damaged or gone (the caller finds again, with that one left
 * out); REPAIRING: the entry at *bad is wrong and will be repaired (the caller ends before it, or
 * waits there); -errno. */
enum { STORE_FIND_MAX = 512 };
struct store_found {
    struct store_got got;
    uint32_t queue;
    int count;
    int64_t first_offset[STORE_FIND_MAX]; /* queue offsets of the chosen entries */
    struct queue_entry entries[STORE_FIND_MAX];
};
void store_find(struct store *s, const struct store_get *get, struct store_found *found);
enum { STORE_WOULD_BLOCK = 1, STORE_REPAIRING };
int store_fill(struct store *s, const struct store_found *found, struct buf *out, bool may_block,
               int64_t *bad);

/* One stored message by its log offset, whole, added to out: 0 with *record decoded from there;
 * -ENOENT: no record begins there, or it is above confirmed. Blocks. */
int store_read_record(struct store *s, uint64_t log_offset, struct buf *out, struct record *record);
/* The record of found->entries[i], whole, added to out: 0 with *record decoded from there; -EBADMSG
 * or STORE_REPAIRING as in store_fill(). Blocks. */
int store_read_found(struct store *s, const struct store_found *found, int i, struct buf *out,
                     struct record *record);
/* One queue entry; -ENOENT outside of the visible range. Blocks. */
int store_entry(struct store *s, uint32_t queue, int64_t offset, struct queue_entry *entry);
/* Store time of the message at that queue offset, -1 when there is none. Blocks. */
int64_t store_time_at(struct store *s, uint32_t queue, int64_t offset);
/* Queue offset by store time; blocks. NEAREST: exact, else the nearer neighbour (tie: the earlier),
 * after the last: the last. LOWER: first at or after, past the end: max. UPPER: last at or before.
 */
enum store_boundary { STORE_NEAREST, STORE_LOWER, STORE_UPPER };
int64_t store_offset_by_time(struct store *s, uint32_t queue, int64_t ms, enum store_boundary how);
/* Store time of the first message in the log, -1 when empty. Blocks. */
int64_t store_earliest_ms(struct store *s);

/* Messages of a topic with a key: their UNIQ_KEY, or one word of their KEYS. */
struct store_query {
    struct bytes topic, key; /* borrowed */
    int max;
    int64_t begin_ms, end_ms; /* store times, both inclusive */
};
struct store_answer {
    int messages;
    bool cut;          /* there are older ones, beyond max or STORE_QUERY_BYTES */
    uint64_t behind;   /* bytes of confirmed log that were not in the index */
    int64_t newest_ms; /* store time and log offset of the newest entry of the index */
    int64_t newest_offset;
};
enum { STORE_QUERY_BYTES = 8 << 20, STORE_QUERY_WAIT_MS = 1000 };
/* Adds the newest `max` of them to out, the oldest first, each compared with the key itself. Waits
 * up to STORE_QUERY_WAIT_MS for the index to have all that was confirmed before. 0; -ENOTSUP: no
 * index is kept; -ENOMEM: out is as it was. Blocks. */
int store_query(struct store *s, const struct store_query *query, struct buf *out,
                struct store_answer *answer);

/* Runs job(ctx) on one of the reader threads, which may block. -EAGAIN when too many wait. */
int store_run(struct store *s, void (*job)(void *ctx), void *ctx);
/* The same before all that store_run() was given; for the few jobs that a flood of others must not
 * hold up. */
int store_run_first(struct store *s, void (*job)(void *ctx), void *ctx);

/* A bit per loop that has pulls waiting on the queue; see hold.h in broker/. */
void store_set_waiting(struct store *s, uint32_t queue, unsigned loop, bool waiting);
/* Called under the append lock for each append to a queue that somebody waits on: must only note
 * (loops_mask, queue, log_end) somewhere lock-free or under a leaf lock. Set once after open. */
void store_on_waited(struct store *s,
                     void (*on_waited)(void *ctx, uint32_t loops_mask, uint32_t queue,
                                       uint64_t log_end),
                     void *ctx);
/* Deletes a topic, with its consumer offsets: from sight at once, its queues once the deletion is
 * durable, so that a crash leaves either the topic with its queues or nothing. The name can be
 * taken again when this has returned 0, and queue offsets begin at 0 then. *sequence is the one to
 * answer for. Blocks, for the journal at most STORE_DELETE_MS. -ENOENT; -EAGAIN as in metadata.h;
 * -EBUSY: somebody is deleting it; -ETIMEDOUT: the journal is behind, the name stays taken, try
 * again or start again. */
enum { STORE_DELETE_MS = 5000 };
int store_delete_topic(struct store *s, struct bytes name, uint64_t *sequence);
/* A topic was deleted, and that is durable: drops its queues. Blocks. */
int store_drop_topic(struct store *s, struct topic *topic);

struct store_stats {
    uint64_t appended_messages, appended_bytes, written_calls, flushes, flush_failures;
    uint64_t records_recovered, damaged_records;
    uint64_t log_space; /* bytes of all segments */
    uint64_t deleted_segments, deleted_queue_files;
    int64_t boot_recovery_ms;
    unsigned jobs_waiting; /* for a reader thread */
    unsigned jobs_waiting_max;
    int64_t first_job_waits_ms;
    /* What an earlier process wrote is verified up to scrubbed_to, of scrub_end. */
    uint64_t scrubbed_to, scrub_end, scrub_problems;
    uint64_t entries_mended, entries_given_up, repairs_waiting;
    struct queue_table_stats queues;
    bool has_index;
    struct index_stats index; /* zeroes without */
};
void store_stats(struct store *s, struct store_stats *out);

#endif
