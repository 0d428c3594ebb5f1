/* index_writer.h - entering keys into one index file, a batch at a time.
 *
 * A slot's number and its chain are changed in place, all over the file: entries are gathered,
 * sorted by the page of their slot, and each page is read and written once. Between two
 * index_writer_put() the file is whole. Owned by the index thread; readers of the same file must be
 * kept out while it puts or restores.
 */
#ifndef TERN_BROKER_STORE_INDEX_WRITER_H
#define TERN_BROKER_STORE_INDEX_WRITER_H

#include <limits.h>

#include "broker/store/index_file.h"

enum { INDEX_BATCH_MAX = 65536 /* entries that wait to be put; 28 bytes each */ };

struct index_writer {
    int fd; /* -1: no file */
    char path[PATH_MAX];
    struct index_shape shape;
    struct index_header header; /* as in the file */
    struct index_header after;  /* with the batch */
    uint32_t count, cap;        /* of the batch */
    uint8_t *entries;           /* encoded, in order; `previous` is set when they are put */
    uint32_t *slots;
    uint32_t *order; /* of the slots' pages */
    uint32_t *pages; /* scratch of the sorting */
    bool torn;       /* a put has failed on its way: the slots are made anew before the next */
};

void index_writer_init(struct index_writer *w, const struct index_shape *shape);
/* A new, empty, sparse file of full size; its name is synced. 0 or -errno: no file then. */
int index_writer_create(struct index_writer *w, const char *path);
/* Goes on with a file whose entries below header->next are good. */
int index_writer_open(struct index_writer *w, const char *path, const struct index_header *header);
/* Lets go of the file, and of the batch. */
void index_writer_close(struct index_writer *w);
/* Frees what an idle writer does not need; nothing when entries wait. */
void index_writer_rest(struct index_writer *w);

/* Adds an entry to the batch. 0; FULL: the file has no room for another; PUT_FIRST: the batch has
 * none; -ENOMEM. Log offsets must not fall. */
enum { INDEX_WRITER_FULL = 1, INDEX_WRITER_PUT_FIRST };
int index_writer_add(struct index_writer *w, uint32_t hash, int64_t log_offset, int64_t store_ms);
/* The batch goes into the file (the page cache). 0; -errno: it waits still, the next call tries
 * again. */
int index_writer_put(struct index_writer *w);
/* Makes the slots and chains anew from the entries below `next` whose records begin below `limit`,
 * and the header with them: what a crash may have left half done is gone. No entries may wait. 0;
 * -EBADMSG, *why: the entries themselves cannot be; -errno. */
int index_writer_restore(struct index_writer *w, uint32_t next, uint64_t limit, const char **why);
int index_writer_sync(struct index_writer *w);

#endif
