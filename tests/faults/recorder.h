/* recorder.h - a table of file operations that does what it is told, writes down what happens below
 * one folder, and fails or forgets what a test wants it to.
 *
 * Each call below the folder is a place where another thread may go on (turns.h). Syncs reach no
 * disk: what they would have done is the model's business (disk.h).
 */
#ifndef TERN_TESTS_FAULTS_RECORDER_H
#define TERN_TESTS_FAULTS_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_EIO,      /* of any call; writes have written nothing, syncs are as in disk.h */
    FAULT_NO_SPACE, /* where a disk that is full can say so */
    FAULT_SHORT,    /* a write takes half of it */
    FAULT_EMFILE,   /* open */
    FAULT_SLOW,     /* a sync takes 5 seconds */
    FAULT_SYNC,     /* EIO of syncs only */
    FAULT_SYNC_FS,  /* EIO of syncs of the file system only */
    FAULT_KINDS,
};
const char *fault_name(enum fault_kind kind);

/* Mistakes that the store does not make: what the tests have to find. */
enum plant {
    PLANT_NOTHING,
    PLANT_EARLY_ANSWER, /* confirmed is what was written, also under SYNC_FLUSH */
    PLANT_LOG_FOLDER,   /* commitlog/ is not synced when a segment was renamed in */
    PLANT_TORN_TAIL,    /* the tail behind the end of the log is not zeroed */
    PLANT_NEW_SEGMENT,  /* a new segment is renamed in before it is synced */
    PLANT_QUEUES,       /* a checkpoint does not sync the queues */
    PLANT_JOURNAL,      /* the metadata journal is not synced */
    PLANT_META_FOLDER,  /* tern/meta is not synced */
    PLANT_SNAPSHOT,     /* a metadata snapshot is renamed before it is synced */
    PLANT_ABORT,        /* the store folder is not synced when `abort` was made */
    PLANT_LOG,          /* the log is not synced */
    PLANT_MARK,         /* tern/flushed is not synced */
    PLANT_TERN_FOLDER,  /* tern/ is not synced */
    PLANT_REWRITE,      /* a start does not sync what it writes to the log again */
    PLANT_CONFIG,       /* config/ and what is in it are not synced */
    PLANTS,
};
const char *plant_name(enum plant plant);
enum plant plant_parse(const char *name); /* PLANTS: none of them */

/* From now on; `disk` may be NULL: nothing is written down. */
void recorder_begin(const char *root, struct disk *disk, enum plant plant);
void recorder_end(void);
/* The process is dead: nothing that it still does happens. */
void recorder_dead(bool dead);
/* A start is under way: for the plants that mean one. */
void recorder_opening(bool opening);
/* Calls that the fault concerns are counted from 1; `count` of them fail from `first` on. */
void recorder_fault(enum fault_kind kind, uint64_t first, uint64_t count);
void recorder_fault_over(void); /* no more of them; what has failed is still known */
uint64_t recorder_fault_calls(void);
/* "fsync commitlog/000...", the first call ("reopen": of something that must be there) that failed;
 * "" when none did. */
const char *recorder_failed(void);
/* The path of it, below the root, and whether that was during a start. */
const char *recorder_failed_path(void);
bool recorder_failed_opening(void);

#endif
