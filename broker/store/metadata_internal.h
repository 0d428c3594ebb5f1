/* metadata_internal.h - what the files of the metadata share. Nobody else includes it (tests do).
 *
 *   metadata.c          open and close, sequences, the thread and what it does in a turn
 *   topic_table.c       topics           each: its part of metadata.h, applying records,
 *   group_table.c       groups           giving what changed to the journal and everything
 *   offset_table.c      offsets, delays  to a snapshot
 *   lock_table.c        queue locks
 *   metadata_json.c     tables to JSON and back
 *   metadata_follow.c   a master's tables, taken in
 *   metadata_take.c     a master's journal, taken in and given
 *   metadata_export.c   the JSON files: whose they are, taking them in, writing them
 *   metadata_journal.c  tern/meta (knows no tables)
 *
 * A change takes its sequence and enters its table's dirty list under that table's lock. The
 * metadata thread reads `last` first and then empties the dirty lists under the same locks; so what
 * it has then written and synced covers every change up to that `last`: durable.
 *
 * Locks, outermost first: a table's lock or one offset shard's; then wake_lock. Never two tables.
 * tap_lock is held by itself, or around what the tap does.
 */
#ifndef TERN_BROKER_STORE_METADATA_INTERNAL_H
#define TERN_BROKER_STORE_METADATA_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "broker/store/metadata.h"
#include "broker/store/metadata_journal.h"
#include "broker/store/name_table.h"

enum {
    METADATA_BATCH_BYTES = 256 * 1024, /* of records, written and synced at once */
    METADATA_PIECE = 64,               /* entries encoded under one hold of a table's lock */
    METADATA_OFFSETS_MS = 800, /* offsets are collected for so long: a second with the sync */
    METADATA_RETRY_MS = 1000,
    METADATA_SNAPSHOT_RETRY_MS = 10000,
    OFFSET_SHARDS = METADATA_OFFSET_PARTS,
    LOCK_SHARDS = 64,
};

/* --- topics --- */
struct topic_entry {
    struct topic topic; /* first: a struct topic * is one of these */
    uint64_t hash;
    struct metadata_at at; /* of its last change */
    char *extra;           /* JSON members that we only carry along; NULL: none */
    uint32_t extra_len;
    bool dirty;
    /* Deleted, and its queues stand: the name is taken. At work: somebody is removing them. */
    enum { TOPIC_FREE, TOPIC_STANDS, TOPIC_AT_WORK } held;
    STAILQ_ENTRY(topic_entry) next_dirty;
    uint64_t change; /* number of its last change since the start; 0: none, and not in the list */
    struct topic_entry *earlier, *later;
};
struct topic_table {
    pthread_rwlock_t lock; /* all of it; entries live until the end */
    struct name_table names;
    struct topic_entry **entries; /* by index */
    uint32_t count, room;
    STAILQ_HEAD(, topic_entry) dirty;
    struct data_version version;
    struct metadata_at version_at;
    bool version_dirty;
    uint64_t last_sequence;
    uint64_t change;            /* of the last begin_change() */
    uint64_t all_changed;       /* the last one that concerned all topics */
    struct topic_entry *latest; /* changed topics, the last one first; once each */
};

/* --- groups --- */
struct group_entry {
    uint64_t hash;
    struct metadata_at at;
    struct group_config config;
    char *extra;
    uint32_t extra_len;
    uint32_t slot; /* in the table's entries */
    bool dirty;
    bool deleted; /* out of the table; freed once the journal has it */
    STAILQ_ENTRY(group_entry) next_dirty;
    uint8_t name_len;
    char name[];
};
struct group_table {
    pthread_rwlock_t lock;
    struct name_table names;
    struct group_entry **entries; /* NULL: a free slot, so that no entry ever moves */
    uint32_t *free_slots;         /* as many as there is room for */
    uint32_t free_count;
    uint32_t slots, room, count;
    STAILQ_HEAD(, group_entry) dirty;
    struct data_version version;
    struct metadata_at version_at;
    bool version_dirty;
    uint64_t last_sequence;
};

/* --- consumer offsets --- */
struct offset_entry {
    uint64_t hash;
    struct metadata_at at; /* of the last record that the journal got */
    int64_t *offsets;      /* by queue id, -1: none */
    uint32_t count;        /* one past the highest id ever set */
    uint32_t room;
    uint32_t dirty_from, dirty_to; /* ids that changed lie in [from, to) */
    uint8_t *followed; /* bits by queue id, for `room`: last set by the master; NULL: none is */
    bool dirty;        /* on the list */
    bool replaced;     /* was dropped: the next record takes away what was before */
    STAILQ_ENTRY(offset_entry) next_dirty;
    uint8_t topic_len, group_len;
    char names[]; /* topic, group */
};
struct offset_shard {
    alignas(64) pthread_mutex_t lock;
    struct name_table names;
    STAILQ_HEAD(, offset_entry) dirty;
};
struct offset_table {
    struct offset_shard shards[OFFSET_SHARDS];
    _Atomic uint64_t slots, pairs; /* all rooms, all entries */
};

/* --- queue locks --- */
struct lock_entry {
    uint64_t hash;
    struct metadata_at at;
    char *client; /* NULL: released, and the journal does not have it yet */
    int64_t granted_ms;
    uint32_t queue_id;
    uint16_t client_len;
    bool dirty;
    uint8_t group_len, topic_len;
    STAILQ_ENTRY(lock_entry) next_dirty;
    char names[]; /* group, topic */
};
struct lock_shard {
    alignas(64) pthread_mutex_t lock;
    struct name_table names;
    STAILQ_HEAD(, lock_entry) dirty;
};
struct lock_table {
    struct lock_shard shards[LOCK_SHARDS];
    _Atomic uint64_t count;
};

/* --- delay cursors: no lock, one writer for each level at a time --- */
struct delay_table {
    _Atomic int64_t offsets[DELAY_LEVELS_MAX];
    _Atomic uint64_t seen, dirty;            /* a bit for each level */
    struct metadata_at at[DELAY_LEVELS_MAX]; /* metadata thread */
};

/* --- one exported file; metadata thread --- */
struct export_state {
    uint8_t hashes[METADATA_HASHES * METADATA_HASH_BYTES]; /* newest first; zeroes: none */
    struct metadata_at at;
    bool dirty;
    bool taken; /* hashes[0] is a foreign file's, to be recorded once its content is durable */
};

enum metadata_stage {
    SNAPSHOT_IDLE,
    SNAPSHOT_TOPICS,
    SNAPSHOT_GROUPS,
    SNAPSHOT_OFFSETS,
    SNAPSHOT_LOCKS,
    SNAPSHOT_REST,
    SNAPSHOT_DONE,
};

struct metadata {
    struct metadata_options options; /* root_dir is a copy */
    char *config_dir;
    uint64_t hash_seed;
    _Atomic uint64_t epoch; /* of what is written here; 0 while there is one member only */

    alignas(64) _Atomic uint64_t last;
    _Atomic uint64_t durable;
    _Atomic uint32_t pending;  /* topics and groups on dirty lists */
    _Atomic bool work_changes; /* something must be written at once */
    _Atomic bool work_offsets; /* offsets or delays are dirty */
    _Atomic bool work_drops;   /* some of them at once */
    _Atomic bool started;      /* METADATA_PENDING_MAX holds, on_durable is called */
    _Atomic uint64_t journal_bytes, snapshot_bytes, generation, syncs, failures; /* for stats */

    alignas(64) struct topic_table topics;
    alignas(64) struct group_table groups;
    struct offset_table offsets;
    struct delay_table delays;
    struct lock_table locks;

    /* the metadata thread's own; of open and close while it does not run */
    struct metadata_journal journal;
    struct export_state exports[METADATA_EXPORTS];
    unsigned files_taken; /* foreign ones, at open */
    pthread_mutex_t tap_lock;
    metadata_tapped *tap; /* tap_lock */
    void *tap_ctx;
    struct buf batch; /* never grows: collecting stops when it is full */
    bool failing;     /* the batch could not be written, and is to be written again */
    bool failing_snapshot;
    struct buf piece; /* of the snapshot */
    enum metadata_stage stage;
    uint32_t stage_at;
    /* monotonic ms; 0: not set */
    int64_t retry_at;    /* of the journal */
    int64_t offsets_due; /* set while offsets are dirty */
    int64_t export_due;  /* set while an export is dirty */
    int64_t exported_at; /* or the first turn */
    int64_t snapshot_retry_at;

    pthread_t thread;
    bool running;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake; /* monotonic clock */
    bool stop;           /* wake_lock, as the next two */
    unsigned waiters;
    pthread_cond_t durable_moved; /* monotonic clock */
    int stopped_with;             /* result of the thread's last turn */
};

/* Tables alone, nothing on disk. NULL: no memory. metadata_tables_free() frees the rest too. */
struct metadata *metadata_tables_new(void);
void metadata_tables_free(struct metadata *m);
/* A record from the journal, before the thread runs. 0 or -errno. */
int metadata_apply(struct metadata *m, const struct metadata_record *r);

/* Gives the tap, if there is one, what has become durable. */
void metadata_tap_give(struct metadata *m, struct bytes records, uint64_t durable);

/* Sequence of the next change; call with the lock of the changed table held. */
static inline uint64_t metadata_next_sequence(struct metadata *m)
{
    return atomic_fetch_add(&m->last, 1) + 1;
}
static inline struct metadata_at metadata_next_at(struct metadata *m)
{
    return (struct metadata_at){atomic_load(&m->epoch), metadata_next_sequence(m)};
}
/* -EAGAIN when too much waits for the journal already. */
int metadata_admit(struct metadata *m);
/* Something is on a dirty list; call after its lock has been released. */
void metadata_wake(struct metadata *m, _Atomic bool *work);
static inline void metadata_wake_offsets(struct metadata *m)
{
    /* The flag is cleared before the lists are emptied under their locks, so whoever got in behind
     * that sees it cleared: relaxed is enough. */
    if (!atomic_load_explicit(&m->work_offsets, memory_order_relaxed))
        metadata_wake(m, &m->work_offsets);
}
/* counter + 1, timestamp now */
void metadata_version_move(struct data_version *version);
/* What a foreign file says, so that the next version is beyond both. */
void metadata_version_take(struct data_version *version, const struct data_version *theirs);

/* Everything that is due at `now_ms` (monotonic): writes, syncs, a new generation, exports. Returns
 * when the next is due, INT64_MAX: only after the next change. One thread at a time. */
int64_t metadata_turn(struct metadata *m, int64_t now_ms);
/* All that is dirty, the JSON files too. 0 or the first error. */
int metadata_finish(struct metadata *m);

/* Writes and syncs the batch, which stays and must be written first when that fails: a part of it
 * may stand in the file already. */
int metadata_write_batch(struct metadata *m);
static inline bool metadata_batch_has_room(const struct metadata *m)
{
    return m->batch.cap - m->batch.len >= METADATA_RECORD_MAX;
}

/* --- the tables, for the thread --- */
int topic_table_init(struct topic_table *t);
void topic_table_destroy(struct topic_table *t);
int topic_table_apply(struct metadata *m, const struct metadata_record *r);
/* Moves what is dirty into the batch. true: there is more, the batch is full. */
bool topic_table_collect(struct metadata *m);
/* Adds records of entries from *at on, some METADATA_PIECE of them; false at the end. */
bool topic_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count);

int group_table_init(struct group_table *t);
void group_table_destroy(struct group_table *t);
int group_table_apply(struct metadata *m, const struct metadata_record *r);
bool group_table_collect(struct metadata *m);
bool group_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count);

int offset_table_init(struct offset_table *t);
void offset_table_destroy(struct offset_table *t);
int offset_table_apply(struct metadata *m, const struct metadata_record *r);
/* From shard *at on, so that shards which become dirty again do not keep it from the others. */
bool offset_table_collect(struct metadata *m, uint32_t *at);
/* `whole`: for a file, where what was there before is gone. */
bool offset_table_snapshot(struct metadata *m, uint32_t *at, bool whole, struct buf *out,
                           uint64_t *count);
/* Forgets the offsets of a topic, or of a group when `topic` is empty. */
void offset_table_drop(struct metadata *m, struct bytes topic, struct bytes group);

int lock_table_init(struct lock_table *t);
void lock_table_destroy(struct lock_table *t);
int lock_table_apply(struct metadata *m, const struct metadata_record *r);
bool lock_table_collect(struct metadata *m);
bool lock_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count);

int delay_table_apply(struct metadata *m, const struct metadata_record *r);
bool delay_table_collect(struct metadata *m);
/* `placed`: with their places among the changes, which only the metadata thread knows. */
void delay_table_snapshot(struct metadata *m, bool placed, struct buf *out, uint64_t *count);

/* As the public puts, with the members to carry along (NULL: leave them as they are). */
int topic_table_put(struct metadata *m, struct bytes name, const struct topic_config *config,
                    const struct bytes *extra, uint64_t log_floor, uint64_t *sequence,
                    bool *changed, struct topic **topic);
int group_table_put(struct metadata *m, struct bytes name, const struct group_config *config,
                    const struct bytes *extra, uint64_t *sequence, bool *changed);
bool offset_table_limit(struct metadata *m,
                        int64_t (*end)(void *ctx, struct bytes topic, int32_t queue_id), void *ctx);
bool topic_table_limit_floors(struct metadata *m, uint64_t log_end); /* true: some were above */
/* For files: every live entry under the read lock. */
void topic_table_each(struct metadata *m, void (*each)(void *ctx, const struct topic_entry *entry),
                      void *ctx, struct data_version *version);
void group_table_each(struct metadata *m, void (*each)(void *ctx, const struct group_entry *entry),
                      void *ctx, struct data_version *version);
void topic_table_take_version(struct metadata *m, const struct data_version *theirs);
void group_table_take_version(struct metadata *m, const struct data_version *theirs);
/* metadata_lead() of the table. */
void topic_table_lead(struct metadata *m, uint64_t epoch);
void group_table_lead(struct metadata *m, uint64_t epoch);

/* A master's record, taken into the live tables; metadata_take.c. Topic: what there is of it. */
struct topic_known {
    struct topic *topic; /* NULL: the name is new */
    bool live;
    uint64_t log_floor;
};
void topic_table_known(struct metadata *m, struct bytes name, struct topic_known *out);
/* 0, -EAGAIN, -ENOSPC, -ENOMEM. A deletion is not for new names. `stays`: only the floor moves. */
int topic_table_take(struct metadata *m, const struct metadata_record *r, bool stays,
                     bool *changed);
int group_table_take(struct metadata *m, const struct metadata_record *r, bool *changed);
int offset_table_take(struct metadata *m, const struct metadata_record *r);
/* The version becomes the master's unless ours is beyond it. */
void topic_table_follow_version(struct metadata *m, const struct data_version *theirs);
void group_table_follow_version(struct metadata *m, const struct data_version *theirs);
/* true: *version has become theirs. */
bool metadata_version_follow(struct data_version *version, const struct data_version *theirs);

/* --- JSON --- */
extern const char *const metadata_export_names[METADATA_EXPORTS];
void metadata_json_write(struct metadata *m, enum metadata_export file, bool pretty,
                         struct buf *out);
struct metadata_taken {
    uint64_t entries; /* topics, groups, offsets, levels that were taken in */
    uint64_t refused; /* left out: names or numbers that cannot be */
    char first_refused[128];
    bool following; /* from a master, not from a file: see metadata_offset_follow() */
};
/* Upserts what is in a tree without complaints. -ENOMEM, -ENOSPC, -EAGAIN. */
int metadata_json_import(struct metadata *m, enum metadata_export file, const json_t *root,
                         struct metadata_taken *taken);
/* NULL, or what keeps the tree from being that file. */
const char *metadata_json_complaint(enum metadata_export file, const json_t *root);
/* Whether `extra` is members of a JSON object, as metadata_json_import() makes them. */
bool metadata_json_extra_ok(struct bytes extra);

/* --- files --- */
/* Takes in the files that are not ours. */
int metadata_import_files(struct metadata *m, struct err *err);
/* Once what was taken in is durable: the files are ours now. */
int metadata_import_done(struct metadata *m);
int metadata_export_apply(struct metadata *m, const struct metadata_record *r);
void metadata_export_snapshot(struct metadata *m, struct buf *out, uint64_t *count);
/* Writes the dirty ones. 0 or the first error, already logged. */
int metadata_export_files(struct metadata *m);

#endif
