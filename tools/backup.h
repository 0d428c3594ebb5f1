/* backup.h - a consistent copy of a store folder, also while a broker writes to it.
 *
 * Nothing is asked of the broker. What makes a plain copy of moving files consistent:
 *
 *   metadata first    so that consumer offsets and topics are never ahead of the log
 *   then the mark     queue entries of records below `queues complete to` are in the files now, and
 *                     nobody changes them any more
 *   then the log      valid records behind the mark are followed to the first place without one:
 * the end E. All that was acknowledged before the backup began lies below: the broker answers after
 * the write. Below E nothing changes any more. then the queues   entries above the mark may be torn
 * or missing: a start does not believe them
 *
 * The copy is as after a kill with all bytes below E on the disk: `abort` is there, and
 * tern/flushed says E. A broker that starts on it makes the entries above the mark anew.
 *
 * Segments that end below the mark never change again (a broker that has to cut into a linked file
 * takes a copy first): they may be hard links. One thread.
 */
#ifndef TERN_TOOLS_BACKUP_H
#define TERN_TOOLS_BACKUP_H

#include <limits.h>

#include "tools/copy_file.h"
#include "tools/log_walk.h"
#include "tools/queue_ledger.h"

struct backup_options {
    const char *root;
    const char *log_dir; /* NULL: root/commitlog */
    const char *to;      /* must not exist, or be empty */
    bool only_bytes;     /* no shared blocks, no links */
    void (*progress)(void *ctx, const char *what, uint64_t done, uint64_t of);
    void (*note)(void *ctx, const char *text);
    void *ctx;
};

struct backup_result {
    uint64_t log_min, log_end;
    uint64_t complete_to; /* queue files of the copy are complete for records below */
    uint64_t segments, queue_files, other_files;
    uint64_t ways[COPY_WAYS]; /* files by the way they were copied */
    uint64_t bytes;           /* written */
    bool running;             /* a broker held the store */
};

/* 0, or -errno with err: then nothing is left at `to`. */
int backup_run(const struct backup_options *options, struct backup_result *result, struct err *err);

/* --- between backup.c, backup_meta.c and backup_files.c --- */
struct backup {
    const struct backup_options *options;
    struct backup_result *result;
    struct err *err;
    struct store_layout layout;
    struct mark mark;
    char partial[PATH_MAX];     /* where the copy is made: to.partial */
    int64_t store_ms;           /* of the newest record below the end */
    uint64_t bare_end;          /* end of the last record above the mark without a CRC of its own */
    struct queue_ledger topics; /* of the copied journal, with their floors */
};
/* partial/name and root/name. -ENAMETOOLONG with err. */
int backup_paths(struct backup *b, const char *name, char from[PATH_MAX], char to[PATH_MAX]);
/* Copies root/name to partial/name. 0; -ENOENT, -ESTALE (err untouched); -errno with err. */
int backup_copy(struct backup *b, const char *name, bool may_link, int64_t upto);
int backup_mkdir(struct backup *b, const char *name);

/* tern/meta and config/. */
int backup_metadata(struct backup *b);
/* Whether a topic that the copy knows was deleted meanwhile. 1, 0, -errno. */
int backup_topics_moved(struct backup *b);
int backup_queues(struct backup *b);
int backup_index(struct backup *b);

#endif
