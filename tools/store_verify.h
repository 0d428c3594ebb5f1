/* store_verify.h - the check of a store folder: everything in it against everything else, read
 * only.
 *
 *   store_verify.c          the order of things, locks, the summary
 *   store_verify_files.c    abort, checkpoint, tern/flushed, tern/queues
 *   store_verify_meta.c     tern/meta and config/ *.json
 *   store_verify_log.c      the one pass over the log
 *   store_verify_queues.c   queue folders, each record against its entry, what lies behind
 *   store_verify_index.c    the key index: each record against its entries, chains and slots
 *
 * Memory: the ledger of queues, a window of entries for each of up to 52,428 of them, one window of
 * the log. What depends on the number of messages is time only.
 *
 * Which deviations are problems depends on how the last stop was: after an unclean one a broker's
 * start cuts the torn end of the log and makes the entries above the checkpoint anew, so these are
 * notes. One thread.
 */
#ifndef TERN_TOOLS_STORE_VERIFY_H
#define TERN_TOOLS_STORE_VERIFY_H

#include "broker/store/delay_levels.h"
#include "broker/store/index_state.h"
#include "broker/store/metadata_record.h"
#include "tools/entry_reader.h"
#include "tools/findings.h"
#include "tools/log_walk.h"
#include "tools/store_layout.h"

struct store_verify_options {
    const char *root;
    const char *log_dir; /* NULL: root/commitlog */
    bool live;           /* read a store that a running broker holds, up to its durable mark */
    int64_t delay_ms[DELAY_LEVELS_MAX];
    int delay_levels;
    struct index_shape index_shape; /* zeroes: what tern/index says, else RocketMQ's defaults */
    /* Called now and then; NULL: not. */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t of);
    /* Called after findings were added: the caller may write and empty the buffer. */
    void (*flush)(void *ctx);
    void *ctx;
};

struct store_verify {
    struct store_verify_options options;
    struct findings *findings;
    struct err *err;
    struct store_layout layout;
    struct queue_ledger ledger;
    struct entry_reader entries;
    bool has_entries;          /* there are queue files to read */
    struct index_check *index; /* NULL: there is none to look at */

    /* how the last stop was */
    bool has_abort;
    bool unclean; /* abort is there, or a broker runs */
    bool marked;
    struct mark mark;
    uint64_t limit;    /* the log is looked at up to here: its segments' end; live: the mark */
    uint64_t believed; /* entries of records from here on may be anything */

    /* tern/meta, when `has_meta`; else topics.json */
    bool has_meta, has_topics;
    uint8_t hashes[METADATA_EXPORTS][METADATA_HASHES * METADATA_HASH_BYTES];
    struct metadata_at hashes_at[METADATA_EXPORTS];
    bool has_hashes[METADATA_EXPORTS];
    bool ext_queues; /* consumequeue_ext: tags codes may be addresses */

    /* what the pass has found */
    uint64_t end; /* of the log */
    const char *end_why;
    uint64_t records, record_bytes, damaged_bytes, entry_checks, index_checks;
    uint64_t torn_bytes;
    int64_t newest_ms;
    uint64_t deleted_records, earlier_records; /* of topics deleted since; of earlier namesakes */
    struct entry_tally {
        uint64_t count;
        char file[TOPIC_NAME_MAX + 64]; /* of the first, and where in it */
        int64_t at;
    } to_make, to_cut; /* entries that the next start makes, or removes */
    uint64_t inner_batches, unqueued;
    uint64_t mark_crossed, complete_crossed; /* marks inside a record: its log offset + 1 */
};

struct index_check; /* store_verify_index.c */

/* What a run found, for whoever calls. */
struct store_verify_result {
    uint64_t records, record_bytes, log_min, log_end, entry_checks, index_checks;
    uint32_t queues, topics;
    size_t segments;
    uint64_t torn_bytes, to_make, to_cut, damaged_bytes;
    bool unclean, marked;
    struct mark mark;
    uint64_t segment_bytes;
    int64_t queue_file_bytes;
};

/* 0 when the check could be made, whatever it found; -errno with err. -EBUSY: a broker holds the
 * store and options->live is not set. */
int store_verify_run(const struct store_verify_options *options, struct findings *findings,
                     struct store_verify_result *result, struct err *err);
/* The numbers as a line of text, or as members of the open JSON object of the findings. */
void store_verify_summary(const struct store_verify_result *result, struct findings *findings);

/* --- between the files above --- */
void store_verify_mark(struct store_verify *v);
int store_verify_small_files(struct store_verify *v); /* after the pass */
int store_verify_meta(struct store_verify *v);
int store_verify_folders(struct store_verify *v); /* fills the ledger */
int store_verify_log(struct store_verify *v);
int store_verify_record(struct store_verify *v, const struct record *r, uint64_t offset);
int store_verify_queue_ends(struct store_verify *v);
/* Finds the files; then every record of the log in order; then what is left over. */
int store_verify_index_begin(struct store_verify *v);
int store_verify_index_record(struct store_verify *v, const struct record *r, uint64_t offset);
int store_verify_index_end(struct store_verify *v);
void store_verify_index_free(struct store_verify *v);
void store_verify_progress(struct store_verify *v, const char *what, uint64_t done, uint64_t of);
#define store_verify_problem(v, file, offset, ...)                                                 \
    store_verify_say((v), FINDING_PROBLEM, (file), (offset), __VA_ARGS__)
#define store_verify_note(v, file, offset, ...)                                                    \
    store_verify_say((v), FINDING_NOTE, (file), (offset), __VA_ARGS__)
#define store_verify_say(v, kind, file, offset, ...)                                               \
    do {                                                                                           \
        findings_add((v)->findings, (kind), (file), (offset), __VA_ARGS__);                        \
        if ((v)->options.flush)                                                                    \
            (v)->options.flush((v)->options.ctx);                                                  \
    } while (0)

#endif
