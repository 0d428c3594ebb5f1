/* index_state.h - tern/index: which index files there are and how far they reach. Pure.
 *
 *   at  size  field
 *    0    4   magic        "TNIX"
 *    4    4   version      1
 *    8    4   flags        bit 0: clean stop, the newest file is exactly as listed
 *   12    4   slots        maxHashSlotNum of the files
 *   16    4   entries max  maxIndexNum of the files
 *   20    4   files
 *   24    8   from         log offset
 *   32    8   position     log offset; all records in [from, position) are in the files as listed
 *   40   48n  files        i64 name, then the file's header (index_file.h), oldest first
 *         4   CRC-32 of all bytes before
 *
 * Everything that is listed was synced before. Without bit 0 the newest file may have more entries
 * by now, and newer files may have come: they are put right, or made again, from the log.
 */
#ifndef TERN_BROKER_STORE_INDEX_STATE_H
#define TERN_BROKER_STORE_INDEX_STATE_H

#include "broker/store/index_file.h"
#include "common/buf.h"

enum {
    INDEX_FILES_MAX = 4096, /* files of one index; beyond, the oldest go */
    INDEX_STATE_HEAD = 40,
    INDEX_STATE_FILE = 8 + INDEX_HEADER_BYTES,
    INDEX_STATE_MAX = INDEX_STATE_HEAD + INDEX_FILES_MAX * INDEX_STATE_FILE + 4,
};

struct index_known {
    int64_t name; /* its 17 digits as a number */
    struct index_header header;
    bool lost; /* in memory only: listed, but not there; to be made again */
};

struct index_state {
    bool clean;
    struct index_shape shape;
    uint64_t from, position;
    uint32_t count;
    struct bytes files; /* borrowed from the input */
};

/* 0, or -EBADMSG. Names rise, headers are possible, log offsets do not fall from file to file. */
int index_state_parse(struct bytes in, struct index_state *state);
void index_state_file(const struct index_state *state, uint32_t i, struct index_known *file);
/* Adds the whole to `out`; state->files is not looked at. */
void index_state_put(struct buf *out, const struct index_state *state,
                     const struct index_known *files);

#endif
