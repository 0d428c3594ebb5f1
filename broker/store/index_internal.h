/* index_internal.h - what the files of the key index share. Nobody else includes it.
 *
 *   index.c         the thread: what it does when; open and close
 *   index_put.c     records into entries and files, rolls, checkpoints
 *   index_load.c    what a start makes of the files and the state that it finds
 *   index_repair.c  files that were lost, made again from their part of the log
 *   index_find.c    looking for a key
 */
#ifndef TERN_BROKER_STORE_INDEX_INTERNAL_H
#define TERN_BROKER_STORE_INDEX_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "broker/store/index.h"
#include "broker/store/index_feed.h"
#include "broker/store/index_keys.h"
#include "broker/store/index_state.h"
#include "broker/store/index_writer.h"

struct index_repair {
    bool active;
    bool ended; /* the part of the log has been read */
    int64_t name;
    int64_t begin_offset, end_offset; /* of its first and its last record */
    uint32_t skip;                    /* keys of the first record that the file before has */
    struct index_feed feed;
    struct index_writer writer;
    int error; /* of the writer */
};

struct index {
    struct index_options options; /* strings point to the copies below */
    char *root_dir, *commit_log_dir;
    struct index_shape shape;

    /* Changed by the index thread (or, before it runs, by index_open), under the write lock; files
     * are written under it too. The thread itself reads the list without. */
    pthread_rwlock_t files_lock;
    struct index_known *files; /* oldest first; the newest is never a lost one */
    uint32_t count, cap;
    bool newest_hidden; /* until it is restored nobody reads the newest */

    /* The index thread's own, and index_open()'s. */
    struct index_writer writer; /* of the newest file, once that was needed */
    struct index_feed feed;
    struct index_repair repair;
    uint64_t from;            /* records in [from, feed.position) are in files or in the batch */
    uint64_t synced_position; /* those in [from, this) are in the files as they were last synced */
    bool state_open;          /* tern/index says that the newest file may have more than listed */
    bool restore;             /* the newest file is to be restored before anything else */
    uint32_t restore_next;
    uint64_t restore_limit;
    uint64_t reach;        /* all records that lie wholly below are in files or in the batch */
    int error;             /* of the writer, inside a piece of the log */
    bool busy;             /* the last look at the log found something */
    int64_t batch_ms;      /* when the batch got its first entry */
    int64_t checkpoint_ms; /* when the traffic began that the next checkpoint covers; 0: none */
    int64_t retry_ms;      /* something has failed: nothing before this time; 0: no */
    int64_t pause_ms;      /* that long after the last failure; 0: all is well again */
    uint64_t owed_bytes;   /* read and not yet waited for: bounds the rate of a rebuild */

    _Atomic uint64_t position; /* feed.position, for others */
    _Atomic uint64_t put_to;   /* records below are in files */
    _Atomic uint64_t entries, failures;
    _Atomic uint32_t pending;
    _Atomic int64_t flushed_ms;

    /* The thread sleeps until `confirmed` reaches wake_at, until somebody asks, or until a time. */
    alignas(64) _Atomic uint64_t wake_at; /* UINT64_MAX while it is awake */
    pthread_mutex_t lock;
    pthread_cond_t wake, moved;
    /* under lock: */
    uint64_t asked;         /* somebody waits for put_to to reach this; 0: nobody */
    int64_t suspect;        /* name of a file that was found damaged; 0: none */
    uint64_t delete_before; /* the log begins here now; 0: as it was */
    bool stop;
    bool started;
    pthread_t thread;
};

/* --- index.c --- */
static inline uint64_t index_confirmed(const struct index *x)
{
    return x->options.confirmed(x->options.ctx);
}
/* A search met damage in that file. Any thread. */
void index_suspect(struct index *x, int64_t name);

/* --- index_put.c --- */
/* The places of files. -ENAMETOOLONG. */
int index_file_path(const struct index *x, char to[PATH_MAX], int64_t name);
int index_tern_path(const struct index *x, char to[PATH_MAX], const char *name);
/* The list of files; the write lock is held, or no thread runs yet. -ENOMEM. */
int index_files_insert(struct index *x, uint32_t i, const struct index_known *file);
void index_files_remove(struct index *x, uint32_t i);

/* Says so, once a minute; returns when to try again. */
int64_t index_failed(struct index *x, const char *what, int r);
/* The newest file is not to be trusted: its part of the log is read again. */
void index_drop_newest(struct index *x, const char *why);
/* The writer goes on with the newest file as it is listed. 0 or -errno. */
int index_open_newest(struct index *x);
/* each() of index_feed_read(): enters the record; x->error says why it does not. */
int index_on_record(void *ctx, const struct record *r);
/* Replaces tern/index by what was synced. 0 or -errno. */
int index_write_state(struct index *x, bool clean);
/* The batch goes into the file. 0 or -errno. */
int index_put(struct index *x);
/* Those who wait for records below `to` may go on. */
void index_put_reached(struct index *x, uint64_t to);
/* Puts, syncs, writes tern/index. 0 or -errno. */
int index_checkpoint(struct index *x, bool clean);

/* --- index_load.c --- */
/* Fills files, from, the positions and what is to be restored. */
int index_load(struct index *x, struct err *err);

/* --- index_repair.c --- */
bool index_repair_wanted(const struct index *x);
/* Reads one piece. 1: a file is there again (tern/index is to be written); 0; -errno: tried again.
 */
int index_repair_step(struct index *x);
void index_repair_stop(struct index *x);

#endif
