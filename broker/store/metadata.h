/* metadata.h - topics, groups, offsets, delay cursors, queue locks: tables in memory, kept by the
 * metadata journal, exported as RocketMQ's JSON files.
 *
 * A change is applied to the tables at once and put into the journal's pending batch; the metadata
 * thread writes and syncs batches (group commit) and then raises `durable`. Whoever answers a
 * client about a topic or group waits for metadata_durable() >= the sequence its change returned.
 * Offsets follow within a second; absence never deletes.
 *
 * On disk: tern/meta/ (snapshot and journal, docs/protocol/tern-store.md) and config/ *.json with
 * .bak as RocketMQ has them. A JSON file whose content is not what we exported last wins: its
 * values are taken in and journalled first.
 *
 * Locking: every function may be called from any thread; each table has its own lock inside, none
 * is held when a function returns. A `struct topic *` stays valid until metadata_close().
 */
#ifndef TERN_BROKER_STORE_METADATA_H
#define TERN_BROKER_STORE_METADATA_H

#include <stdatomic.h>

#include "common/buf.h"
#include "common/err.h"

struct metadata;

enum {
    TOPIC_NAME_MAX = 127,
    GROUP_NAME_MAX = 255,
    TOPIC_QUEUES_MAX = 65536, /* queue ids of one topic */
    TOPIC_EXTENTS_MAX = 17,   /* doublings from 1 to TOPIC_QUEUES_MAX */
    TOPICS_MAX = 1000000,
    GROUPS_MAX = 1000000,
    OFFSETS_MAX = 16000000,     /* (topic, group, queue) triples that have room */
    OFFSET_PAIRS_MAX = 2000000, /* (topic, group) pairs */
    DELAY_LEVELS_MAX = 64,
    LOCK_RECORDS_MAX = 1000000,
    LOCK_CLIENT_MAX = 512, /* bytes of a client id */
    /* Changes of topics and groups that wait for the journal: more are refused with -EAGAIN. Only a
     * disk that does not write lets so many come together. Counts from metadata_start() on. */
    METADATA_PENDING_MAX = 16384,
};
enum { PERM_INHERIT = 1, PERM_WRITE = 2, PERM_READ = 4, PERM_PRIORITY = 8 };
enum { TOPIC_FLAG_UNIT = 1, TOPIC_FLAG_UNIT_SUB = 2 };

struct topic_config {
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t sys_flag;
    bool order;
    bool multi_tag; /* topicFilterType MULTI_TAG */
};

/* Queues of one topic in the store's dense array: ids [first, first + count) are states
 * [base, base + count). Owned by queue_table.c; see queue_table.h. */
struct queue_extent {
    uint32_t first, count, base;
};

struct topic {
    struct topic_config config; /* under the topics lock: use metadata_topic() to get a copy */
    uint64_t log_floor;         /* records of this topic below this log offset belong to an earlier,
                                   deleted topic of the same name */
    uint32_t index;             /* dense, 0 .. metadata_topic_count()-1; never reused */
    atomic_bool deleted;        /* under the topics lock; looked at anywhere */
    uint8_t name_len;
    uint8_t extent_count; /* written under the store's append lock */
    char name[TOPIC_NAME_MAX + 1];
    struct queue_extent extents[TOPIC_EXTENTS_MAX];
};

struct group_config {
    bool consume_enable, consume_from_min_enable, consume_broadcast_enable, notify_ids_changed;
    int32_t retry_queues, retry_max_times;
    int64_t broker_id, which_broker_when_slow;
};
struct group_config group_config_default(void);
/* Queue counts 0 to TOPIC_QUEUES_MAX, no unknown perm bits. */
bool topic_config_ok(const struct topic_config *config);

struct data_version {
    int64_t counter, timestamp, state_version;
};

struct metadata_options {
    const char *root_dir; /* store path; tern/meta and config live below */
    /* Called on the metadata thread after `durable` has moved. */
    void (*on_durable)(void *ctx);
    void *ctx;
    int64_t export_interval_ms; /* JSON exports at most this often while something changed */
};
int metadata_open(struct metadata **out, const struct metadata_options *options, struct err *err);
int metadata_start(struct metadata *m, struct err *err); /* starts the metadata thread */
/* Instead of metadata_start(), for tools: everything that is due now, a new generation after damage
 * too. 0, or -EIO when the journal cannot be written. */
int metadata_settle(struct metadata *m);
/* Stops the thread, makes everything durable, exports the JSON files, frees. 0 or the first error
 * that kept something from the disk. m may be NULL. */
int metadata_close(struct metadata *m);

/* Sequences. A failed journal write is retried every second and said in the log (a full disk must
 * not stop consumption); until then durable does not move. */
uint64_t metadata_durable(const struct metadata *m);
uint64_t metadata_last(const struct metadata *m);
/* Waits until metadata_durable() >= sequence, at most so long; false: it is not. Blocks. */
bool metadata_wait(struct metadata *m, uint64_t sequence, int64_t ms);

/* --- topics --- */
/* Name rule of docs/protocol: ^[%|a-zA-Z0-9_-]+$, 1 to 127 bytes. Nothing else becomes a path. */
bool topic_name_ok(struct bytes name);
bool group_name_ok(struct bytes name); /* same letters, 1 to 255 */
/* NULL when there is none (or it is deleted); config copied when not NULL. */
struct topic *metadata_topic(struct metadata *m, struct bytes name, struct topic_config *config);
struct topic *metadata_topic_at(struct metadata *m, uint32_t index); /* deleted ones too */
uint32_t metadata_topic_count(struct metadata *m);
/* Creates or changes. `log_floor` counts only when the topic is new (or was deleted). *changed
 * (may be NULL, as sequence and topic) tells whether anything differs. -ENOSPC at TOPICS_MAX,
 * -EINVAL for a bad name or a configuration that is not topic_config_ok(), -EAGAIN at
 * METADATA_PENDING_MAX, -EBUSY while the queues of a deleted topic of that name stand, -ENOMEM. The
 * data version moves when changed. *sequence is also set when nothing changed: what is there may
 * not be durable yet. */
int metadata_topic_put(struct metadata *m, struct bytes name, const struct topic_config *config,
                       uint64_t log_floor, uint64_t *sequence, bool *changed, struct topic **topic);
/* 0, -ENOENT or -EAGAIN. Also drops the topic's consumer offsets when `with_offsets`. */
int metadata_topic_delete(struct metadata *m, struct bytes name, uint64_t log_floor,
                          bool with_offsets, uint64_t *sequence);
/* The same, and the name stays taken (metadata_topic_put() says -EBUSY) until the caller lets it
 * go: when the queues of the deleted topic are gone, which must not be before the deletion is
 * durable. Also for one that is deleted and was let go with its queues still standing. -EBUSY:
 * somebody else is at it; else as above. */
int metadata_topic_hold(struct metadata *m, struct bytes name, uint64_t log_floor,
                        bool with_offsets, uint64_t *sequence, struct topic **topic);
/* Meanwhile: records up to here are of the deleted topic too. *sequence: what the deletion is
 * durable with, raised where it has to be. */
void metadata_topic_raise_floor(struct metadata *m, struct topic *topic, uint64_t log_floor,
                                uint64_t *sequence);
void metadata_topic_let_go(struct metadata *m, struct topic *topic, bool dropped);
/* Floor of the newest deleted topic of that name, 0 when there is none (recovery asks before it
 * makes a topic for records whose topic is unknown). */
uint64_t metadata_topic_floor(struct metadata *m, struct bytes name);
/* Once the end of the log is known and before the first append, between metadata_open() and
 * metadata_start() or when a follower becomes the master: a floor above the end belongs to records
 * that a crash has taken, or that only the last master had (a deletion is synced, the log behind it
 * need not be), and would hide the ones that come to stand there. It becomes log_end. 0: durable.
 * Negative: tried again later; appending now risks those records at the next recovery. */
int metadata_limit_floors(struct metadata *m, uint64_t log_end);
/* At the same time, after the log was cut: consumer offsets and delay cursors above the end of
 * their queue become it. end(ctx, topic, queue) is one past the last message; it may ask for
 * topics, and for nothing else here. 0: durable. */
int metadata_limit_offsets(struct metadata *m,
                           int64_t (*end)(void *ctx, struct bytes topic, int32_t queue_id),
                           void *ctx);
struct data_version metadata_topics_version(struct metadata *m);
/* Moves the version with no topic changed: name servers take what they are told of the topics (a
 * permission of the whole broker) only with a new one. */
int metadata_topics_touch(struct metadata *m);
/* Likewise, and the topic counts as changed though it is as it was: name servers hear of it again.
 * *sequence as for a change. -ENOENT, -EAGAIN. */
int metadata_topic_touch(struct metadata *m, struct bytes name, uint64_t *sequence);
/* ORDER_TOPIC_CONFIG from a name server: order=true for the named ones, false for all others.
 * -EAGAIN, -ENOMEM. */
int metadata_topics_set_order(struct metadata *m, const struct bytes *names, size_t count,
                              bool *changed);
/* Calls each(ctx, topic, config) for every live topic under the read lock: no metadata calls
 * inside. The version belongs to exactly this set. */
void metadata_each_topic(struct metadata *m,
                         void (*each)(void *ctx, const struct topic *t,
                                      const struct topic_config *c),
                         void *ctx, struct data_version *version);

/* For those who follow the topics: the version, and the number of the last change since the start.
 * What has a higher number is not in what was read up to this mark. */
struct topics_mark {
    struct data_version version;
    uint64_t change;
};
void metadata_topics_mark(struct metadata *m, struct topics_mark *mark);
/* Called under the read lock: no metadata calls inside. false: no more. */
typedef bool topic_visit(void *ctx, const struct topic *t, const struct topic_config *c);
/* Visits each topic that was changed or deleted (t->deleted) after the change `since`, once, the
 * last one first; *mark belongs to exactly this state. Costs what has changed, not what there is.
 * TOO_MUCH: a change since then concerned all topics, or the visitor ended it; read all pages. */
enum { METADATA_TOO_MUCH = 1 };
int metadata_topics_since(struct metadata *m, uint64_t since, topic_visit *visit, void *ctx,
                          struct topics_mark *mark);
/* Visits live topics from *index on, and those deleted after the change `since` (UINT64_MAX: none),
 * until the visitor says false, and moves *index behind the last one visited. False at the end. The
 * pages of a walk together hold at least what a mark taken before it stands for. */
bool metadata_topics_page(struct metadata *m, uint32_t *index, uint64_t since, topic_visit *visit,
                          void *ctx);

/* --- groups --- */
bool metadata_group(struct metadata *m, struct bytes name, struct group_config *config);
/* Both as for topics. */
int metadata_group_put(struct metadata *m, struct bytes name, const struct group_config *config,
                       uint64_t *sequence, bool *changed);
/* A group may have offsets without being known: with_offsets, that is no -ENOENT. */
int metadata_group_delete(struct metadata *m, struct bytes name, bool with_offsets,
                          uint64_t *sequence);
struct data_version metadata_groups_version(struct metadata *m);
void metadata_each_group(struct metadata *m,
                         void (*each)(void *ctx, struct bytes name, const struct group_config *c),
                         void *ctx, struct data_version *version);

/* --- consumer offsets --- */
/* Stored as given, backwards too; a negative value reads back as "none". -ENOSPC at OFFSETS_MAX or
 * OFFSET_PAIRS_MAX, -EINVAL for names or ids out of range, -ENOMEM. Durable at most a second later.
 * No allocation when the entry exists. */
int metadata_offset_commit(struct metadata *m, struct bytes topic, struct bytes group,
                           int32_t queue_id, int64_t offset);
int64_t metadata_offset(struct metadata *m, struct bytes topic, struct bytes group,
                        int32_t queue_id); /* -1: none */
/* For every topic@group (filters may be empty: any): offsets[0..count), -1 = none. Under the lock
 * of a part of the table: no metadata calls inside. */
void metadata_each_offset(struct metadata *m, struct bytes topic, struct bytes group,
                          void (*each)(void *ctx, struct bytes topic, struct bytes group,
                                       const int64_t *offsets, int32_t count),
                          void *ctx);
/* The same for one of METADATA_OFFSET_PARTS parts of the table: for who copies what he is given and
 * cannot copy all at once. */
enum { METADATA_OFFSET_PARTS = 256 };
void metadata_each_offset_of(struct metadata *m, int part,
                             void (*each)(void *ctx, struct bytes topic, struct bytes group,
                                          const int64_t *offsets, int32_t count),
                             void *ctx);

/* The same from a master, whose table this one follows: one that was committed here and is later
 * stays until the master's has come up to it. After a start all count as committed here. A negative
 * one says nothing. */
int metadata_offset_follow(struct metadata *m, struct bytes topic, struct bytes group,
                           int32_t queue_id, int64_t offset);

/* --- delay cursors: level (1 to DELAY_LEVELS_MAX) -> next queue offset --- */
/* -EINVAL out of range. Durable at most a second later. */
int metadata_delay_set(struct metadata *m, int level, int64_t queue_offset);
int64_t metadata_delay(struct metadata *m, int level); /* 0: none */

/* --- queue locks: who holds them, not when they were renewed --- */
/* An empty client: nobody. *sequence: with that it is durable, also when nothing changed; 0: there
 * is nothing to keep. -EINVAL for names or numbers out of range, -ENOSPC at LOCK_RECORDS_MAX,
 * -EAGAIN at METADATA_PENDING_MAX, -ENOMEM. */
int metadata_lock_put(struct metadata *m, struct bytes group, struct bytes topic, int32_t queue_id,
                      struct bytes client, int64_t granted_ms, uint64_t *sequence);
/* Every lock that somebody holds; granted_ms: wall clock. Under the lock of a part of the table: no
 * metadata calls inside. */
void metadata_each_lock(struct metadata *m,
                        void (*each)(void *ctx, struct bytes group, struct bytes topic,
                                     int32_t queue_id, struct bytes client, int64_t granted_ms),
                        void *ctx);

/* --- following another broker's tables (a slave): its answers to requests 21, 201, 43, 45 --- */
struct metadata_followed {
    uint64_t taken;
    uint64_t refused; /* left out: names or numbers that cannot be */
    char first_refused[128];
};
/* 0; -EBADMSG: the body is no such table; -EAGAIN: too much waits for the journal, come again with
 * the same; -ENOSPC, -ENOMEM. What was taken before a failure stays, and what the master does not
 * name too. */
int metadata_follow_topics(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err);
int metadata_follow_groups(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err);
int metadata_follow_offsets(struct metadata *m, struct bytes body, struct metadata_followed *out,
                            struct err *err);
int metadata_follow_delays(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err);

/* --- following another member's journal: records, as metadata_record.h has them --- */
/* Called on the metadata thread for what its journal has made durable: whole records; then, with
 * none, the sequence up to which every change has been given. Must be quick. NULL: no more, and the
 * last call has ended. One at a time. */
typedef void metadata_tapped(void *ctx, struct bytes records, uint64_t durable);
void metadata_tap(struct metadata *m, metadata_tapped *tapped, void *ctx);
/* The tables as such records, piece by piece; a cursor of zeroes is the beginning. What changes
 * meanwhile may be in it or not. false: that was the last piece. A piece is as large as a part of
 * the table is (megabytes, with millions of offsets). */
struct metadata_cursor {
    unsigned stage;
    uint32_t at;
};
bool metadata_snapshot_piece(struct metadata *m, struct metadata_cursor *cursor, struct buf *out);
/* The queues of a topic that was deleted (or deleted and made anew) up to a log offset. NULL: there
 * are none. No lock is held. */
struct metadata_queues {
    /* Whether some queue has entries of records behind it: then the topic is there again, and the
     * log was ahead of the metadata. */
    bool (*beyond)(void *ctx, struct topic *topic, uint64_t log_floor);
    /* Forget the queues that end there. false: there was none. */
    bool (*drop)(void *ctx, struct topic *topic, uint64_t log_floor);
    void *ctx;
};
/* Takes whole records of the master into the live tables, with sequences of our own: what they say
 * holds; only an offset that was committed here and is later stays, as with
 * metadata_offset_follow(). Files' records and export hashes are left out. *sequence: what is
 * durable with it. 0; -EBADMSG: no such records, nothing behind the first bad one is taken;
 * -EAGAIN: too much waits for the journal, come again with the same; -ENOSPC, -ENOMEM. */
int metadata_take(struct metadata *m, struct bytes records, const struct metadata_queues *queues,
                  uint64_t *sequence, struct err *err);
/* What is written from now on belongs to this epoch (above 0; a lower one than there was changes
 * nothing). */
void metadata_set_epoch(struct metadata *m, uint64_t epoch);
/* This broker is the master in that epoch: likewise, and the versions of topics and groups move and
 * say so in their state_version, by which name servers tell an old master from a new one. */
void metadata_lead(struct metadata *m, uint64_t epoch);

struct metadata_stats {
    uint64_t topics; /* deleted ones too */
    uint64_t groups, offset_pairs, offset_slots;
    uint64_t pending; /* changes of topics and groups not yet in a batch */
    uint64_t last, durable;
    uint64_t journal_bytes, snapshot_bytes, generation;
    uint64_t syncs, failures; /* of the journal */
};
void metadata_stats(struct metadata *m, struct metadata_stats *out);

/* --- bodies, in fastjson's dialect (compact; requests 21, 201, 43, 45); out->failed when the
 * memory did not suffice --- */
void metadata_topics_json(struct metadata *m, struct buf *out);
void metadata_groups_json(struct metadata *m, struct buf *out);
void metadata_offsets_json(struct metadata *m, struct buf *out);
void metadata_delays_json(struct metadata *m, struct buf *out);

#endif
