/* queue_ledger.h - what a pass over the log knows of each queue: which offset comes next, which of
 * its entries are not as they should be. Pure.
 *
 * Well under 200 bytes for a queue, so that a check of 50,000 queues takes 10 MB; at most
 * LEDGER_QUEUES_MAX of them. Deviations that follow one another are one run, so that a lost file is
 * one line and not a million. One thread.
 */
#ifndef TERN_TOOLS_QUEUE_LEDGER_H
#define TERN_TOOLS_QUEUE_LEDGER_H

#include "broker/store/name_table.h"
#include "broker/store/queue_unit.h"

enum { LEDGER_QUEUES_MAX = QUEUES_MAX, LEDGER_TOPICS_MAX = TOPICS_MAX };
#define LEDGER_NO_WINDOW UINT32_MAX

struct ledger_topic {
    uint64_t hash;
    uint64_t floor;            /* records below are of an earlier topic of that name */
    uint64_t records, earlier; /* of this topic; of earlier ones */
    bool known;                /* topics.json or the journal has it */
    bool deleted;              /* the journal says so */
    bool folder;               /* consumequeue/<name> is there */
    uint8_t name_len;
    char name[TOPIC_NAME_MAX + 1];
};

/* Entries of a queue that deviate: [first, last], of one kind. */
enum run_kind {
    RUN_NONE,
    RUN_MISSING, /* no entry where the log has a record */
    RUN_WRONG,   /* another entry */
    RUN_LATER,   /* that of a later record: wrong, or of a topic that was made again */
};
struct entry_run {
    enum run_kind kind;
    int64_t first, last;
    uint64_t log_offset;      /* of the record of `first` */
    struct queue_entry found; /* at `first`; WRONG, LATER */
    struct queue_entry wanted;
};

struct ledger_queue {
    uint64_t hash;
    struct ledger_topic *topic;
    int32_t id;
    bool files_bad; /* names or sizes are not what they should be, which has been said */
    int64_t first_byte, last_byte; /* of its files, by name; last < first: there is none */
    int64_t begin;                 /* queue offset of the first record in the log */
    int64_t next;                  /* of the next one; -1: none seen yet */
    uint64_t last_end;             /* of the record of entry next - 1 */
    uint64_t records;
    struct entry_run run;
    uint32_t window; /* of the entry reader */
};

struct queue_ledger {
    uint64_t seed;
    struct name_table topic_names, queue_names;
    struct ledger_topic **topics;
    struct ledger_queue **queues;
    uint32_t topic_count, topic_room, queue_count, queue_room;
    struct ledger_topic *last_topic; /* found last */
    struct ledger_queue *last_queue;
};

void queue_ledger_init(struct queue_ledger *l, uint64_t seed);
void queue_ledger_destroy(struct queue_ledger *l);

/* The name must be topic_name_ok(). 0; -ENOENT when it is not there and not to be made; -ENOSPC at
 * the bound; -ENOMEM. */
int queue_ledger_topic(struct queue_ledger *l, struct bytes name, bool make,
                       struct ledger_topic **out);
int queue_ledger_queue(struct queue_ledger *l, struct ledger_topic *topic, int32_t id, bool make,
                       struct ledger_queue **out);

/* One more deviation, at `offset`. False when it does not continue the run that is there: deal with
 * that one, clear it, and note again. */
bool entry_run_note(struct entry_run *run, enum run_kind kind, int64_t offset, uint64_t log_offset,
                    const struct queue_entry *found, const struct queue_entry *wanted);
static inline void entry_run_clear(struct entry_run *run)
{
    run->kind = RUN_NONE;
}

#endif
