/* life.h - a store that lives through what a seed says, and what it has promised meanwhile.
 *
 * The driver does what the broker does: appends to topics that it makes when they are not there,
 * writes, lets replies go when store_confirmed() has passed a message and when metadata_durable()
 * has passed a change; deletes topics, commits offsets, stops, is killed, starts again. What it was
 * promised is remembered together with the number of disk events before it, so that it is known for
 * every power cut what must be there and what may be.
 *
 * A life can be continued from what a cut has left (life_resume): the promises go with it. Whatever
 * is wrong ends in life_fail().
 */
#ifndef TERN_TESTS_FAULTS_LIFE_H
#define TERN_TESTS_FAULTS_LIFE_H

#include "broker/store/store.h"
#include "disk.h"
#include "random.h"
#include "recorder.h"

struct life_options {
    bool sync_flush;
    int64_t segment_bytes, queue_file_bytes, flush_interval_ms;
    size_t queue_memory, body_max;
    int64_t journal_bytes; /* a new generation of the metadata journal begins above it */
    int steps;
    unsigned restart_percent, topic_percent; /* of steps */
    unsigned cut_percent;                    /* of starts */
    unsigned batch_percent, dense_percent;   /* of appends: in a batch, to one queue of all */
    bool index;
    uint64_t keep_bytes; /* of log; 0: all of it */
};
struct life_options life_options_drawn(struct random *r);

enum {
    LIFE_TOPICS = 5, /* the last one is the schedule topic */
    LIFE_GROUPS = 3,
    LIFE_OFFSETS = 4,
    LIFE_DELAYS = 2,
    LIFE_THINGS = LIFE_TOPICS + LIFE_GROUPS + LIFE_OFFSETS + LIFE_DELAYS,
    LIFE_QUEUES = 3,
    LIFE_CUTS = 32,
};

/* One value that a topic, a group, an offset or a cursor has had. */
struct life_value {
    int64_t value; /* LIFE_NONE: not there */
    uint64_t sequence;
    int64_t ms;
    size_t at;         /* disk events before it may have been set, */
    size_t noted_at;   /* and before its sequence was known */
    size_t undone_at;  /* and before a start found that it is lost; SIZE_MAX: never */
    size_t settled_at; /* and before one found it, so that it cannot be lost any more */
};
#define LIFE_NONE INT64_MIN
#define LIFE_RECOVERED INT64_C(0) /* a topic that a start has made from its records */

struct life_thing {
    struct life_value *values;
    int count, room;
};

struct life_message {
    uint64_t id;
    int topic, made; /* the value of the topic that it was sent to */
    int32_t queue_id;
    bool queued;
    uint64_t log_offset, log_end;
    int64_t queue_offset, tags_code;
    size_t body_len;
    size_t at, gone_at; /* as in values */
};

/* A start that was told to end the log at `to`; it is told so again until it has. */
struct life_cut {
    uint64_t to;
    size_t at, done_at; /* disk events before it was told, and before it was done */
};

/* What was promised from then on. */
struct life_mark {
    size_t at;
    uint64_t confirmed, flushed, durable;
};

struct life {
    struct life_options options;
    struct random random;
    char root[256];
    struct disk *disk; /* NULL: nothing is written down */
    enum plant plant;

    struct metadata *metadata; /* NULL: stopped */
    struct store *store;
    int lock;
    struct topic *topics[LIFE_TOPICS];
    uint64_t min; /* where the log begins */
    uint64_t
        deleting[LIFE_TOPICS]; /* the sequence of a deletion whose queues still stand; 0: none */

    struct life_thing things[LIFE_THINGS];
    struct life_message *messages;
    size_t message_count, message_room;
    struct life_mark *marks;
    size_t mark_count, mark_room;
    uint64_t next_id;
    uint64_t written_at_end; /* what a kill leaves */
    size_t opening_at;       /* disk events before the last start, with its tries */
    bool opening;            /* one has failed */
    struct life_cut cuts[LIFE_CUTS];
    int cut_count;
    bool cutting;        /* the last of them is to be done */
    bool shortened;      /* the log has less than it may keep */
    uint64_t next_fault; /* of syncs; 0: none */
    bool timeless;       /* nothing is promised by time: a disk may fail, or nobody writes */
    bool quiet;          /* the metadata thread is not started */
    bool after_cut;      /* it goes on from what a power cut has left */
    bool forgot;         /* written bytes may be gone without a power cut */
    int starts;
};

/* Says what is wrong, and where. Given by the program; does not return. */
void life_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

void life_init(struct life *l, const struct life_options *options, const char *root,
               struct disk *disk, uint64_t seed);
/* `l` as it was known when the first `events` events had happened. */
void life_resume(struct life *l, const struct life *from, size_t events, const char *root,
                 struct disk *disk, uint64_t seed);
void life_destroy(struct life *l);

/* Starts, then looks at everything. The first fails instead of life_fail(). */
int life_try_open(struct life *l, struct err *err);
void life_open(struct life *l);
/* What the process has not handed to the system is gone. */
void life_kill(struct life *l);
int life_stop(struct life *l); /* what store_close() and metadata_close() return */
/* Stopped: the next start ends the log at `to`. From now on nothing above is promised. */
void life_tell_cut(struct life *l, uint64_t to);

/* All the steps; ends stopped or killed. */
void life_run(struct life *l);
/* Appends `count` times to queues of all topics. False: the store takes none. */
bool life_append(struct life *l, int count);
void life_change_topic(struct life *l); /* any: made, changed or deleted */
void life_change_group(struct life *l);
void life_commit_offset(struct life *l);
void life_move_delay(struct life *l);
/* Writes, and waits until all is confirmed, or has stopped. */
bool life_confirm(struct life *l);

/* One value more; good until the next one. */
struct life_value *life_note_value(struct life *l, struct life_thing *t, int64_t value,
                                   uint64_t sequence);

/* --- life_check.c --- */

enum {
    /* Offsets and cursors are in the journal a second after they were set; a little more here for
     * turns of other threads. */
    LIFE_SECOND_MS = 1500,
    LIFE_BODY_MAX = 60000,
    LIFE_PROPERTIES_SIZE = 2048,
};

/* Just opened: what was found, held against what was promised; what is lost is forgotten. */
void life_settle(struct life *l);
/* Every message that is in the log can be pulled from its queue, and nothing else. */
void life_verify(struct life *l);
/* Some are found by their key. */
void life_verify_index(struct life *l);
/* What was promised when the first `events` events had happened. */
struct life_mark life_mark_at(const struct life *l, size_t events);

/* --- what stands in a message --- */

void life_body(uint64_t id, uint8_t *to, size_t len);
size_t life_properties(uint64_t id, char *to, size_t size, int delay_level);

static inline struct life_thing *life_topic(struct life *l, int i)
{
    return &l->things[i];
}
static inline struct life_thing *life_group(struct life *l, int i)
{
    return &l->things[LIFE_TOPICS + i];
}
static inline struct life_thing *life_offset(struct life *l, int i)
{
    return &l->things[LIFE_TOPICS + LIFE_GROUPS + i];
}
static inline struct life_thing *life_delay(struct life *l, int i)
{
    return &l->things[LIFE_TOPICS + LIFE_GROUPS + LIFE_OFFSETS + i];
}
const char *life_topic_name(int i);
const char *life_group_name(int i);
/* Where offset `i` belongs. */
void life_offset_place(int i, int *topic, int *group, int32_t *queue_id);
size_t life_now(const struct life *l);

#endif
