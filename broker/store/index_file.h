/* index_file.h - one key index file, as RocketMQ lays it out: reading it, without trusting it.
 *
 *   at            size   field
 *    0              8    begin store time, ms: of the first record in the file
 *    8              8    end store time: of the last
 *   16              8    begin log offset
 *   24              8    end log offset: where the last record begins
 *   32              4    used slots
 *   36              4    next: number of the next entry, so 1 in an empty file
 *   40            4 * S  slots: number of the newest entry whose key hash falls there, 0: none
 *   40 + 4 S     20 * M  entries; number 0 is never used
 *
 *   Entry:  0  4  key hash                   12  4  seconds since begin store time
 *           4  8  log offset                 16  4  number of the slot's entry before, 0: none
 *
 * S and M (maxHashSlotNum, maxIndexNum) are not in the file: they come from the configuration, and
 * the size of the file, which is sparse, must agree. RocketMQ counts the seconds of the first entry
 * from the end of the file before: they are not looked at. Entries stand in the order of the log,
 * so log offsets and numbers rise together, and a chain only goes down; whatever breaks that is
 * damage. There are no checksums. Two keys may have the same hash: whoever finds a record compares
 * its keys. Source: docs/protocol/store.md, "Index files".
 *
 * Nothing here writes or takes a lock. One thread per view.
 */
#ifndef TERN_BROKER_STORE_INDEX_FILE_H
#define TERN_BROKER_STORE_INDEX_FILE_H

#include "common/bytes.h"
#include "common/err.h"

struct index_shape {
    uint32_t slots;       /* maxHashSlotNum */
    uint32_t entries_max; /* maxIndexNum; one less fits, since number 0 is not used */
};
enum {
    INDEX_HEADER_BYTES = 40,
    INDEX_SLOT_BYTES = 4,
    INDEX_ENTRY_BYTES = 20,
    INDEX_SLOTS_MAX = 100000000, /* of a shape; so that numbers and sizes stay far from any edge */
    INDEX_ENTRIES_MAX = 500000000,
};

struct index_header {
    int64_t begin_ms, end_ms;
    int64_t begin_offset, end_offset;
    uint32_t used_slots;
    uint32_t next;
};

struct index_entry {
    uint32_t hash; /* 31 bits */
    int64_t log_offset;
    int32_t seconds;
    uint32_t previous;
};

/* 1 to the limits above, and at least 2 entries. */
bool index_shape_ok(const struct index_shape *shape);
uint64_t index_file_bytes(const struct index_shape *shape);
static inline uint64_t index_slot_at(uint32_t slot)
{
    return INDEX_HEADER_BYTES + (uint64_t)slot * INDEX_SLOT_BYTES;
}
static inline uint64_t index_entry_at(const struct index_shape *shape, uint32_t number)
{
    return index_slot_at(shape->slots) + (uint64_t)number * INDEX_ENTRY_BYTES;
}

/* A next of 0 or less is read as 1, as RocketMQ does. */
void index_header_decode(const uint8_t from[INDEX_HEADER_BYTES], struct index_header *h);
void index_header_encode(uint8_t to[INDEX_HEADER_BYTES], const struct index_header *h);
/* NULL, or what about the header cannot be, a static sentence. */
const char *index_header_check(const struct index_header *h, const struct index_shape *shape);
void index_entry_decode(const uint8_t from[INDEX_ENTRY_BYTES], struct index_entry *e);
void index_entry_encode(uint8_t to[INDEX_ENTRY_BYTES], const struct index_entry *e);

/* Hash of a key of a topic, 31 bits, and the seconds of an entry. */
uint32_t index_key_hash(struct bytes topic, struct bytes key);
int32_t index_seconds(int64_t begin_ms, int64_t store_ms);

/* --- a view of one file --- */

/* Where its bytes come from: exactly `size` at `at`, 0 or -errno. */
typedef int index_read_fn(void *ctx, uint64_t at, void *to, size_t size);

enum { INDEX_WINDOW_ENTRIES = 204 }; /* read at once: a page */

struct index_view {
    struct index_shape shape;
    struct index_header header;
    index_read_fn *read;
    void *ctx;
    uint32_t window_first, window_count; /* entries in `window` */
    uint8_t window[INDEX_WINDOW_ENTRIES * INDEX_ENTRY_BYTES];
};

/* Reads and checks the header. 0; -EBADMSG with *why a static sentence; -errno of a read. */
int index_view_init(struct index_view *v, const struct index_shape *shape, index_read_fn *read,
                    void *ctx, const char **why);
/* Entry `number`, 1 to header.next - 1, as it stands. 0 or -errno. Neighbours cost no read of their
 * own. */
int index_view_entry(struct index_view *v, uint32_t number, struct index_entry *e);
/* What about entry `number` cannot be, NULL: nothing. `before`: the log offset of the entry before
 * it (or header.begin_offset). */
const char *index_entry_check(const struct index_view *v, uint32_t number,
                              const struct index_entry *e, int64_t before);

/* The entries of one hash, newest first. Seconds are cut off, so that an entry stands for a record
 * up to 999 ms later: the walk yields all whose record may lie in [begin_ms, end_ms]. */
struct index_walk {
    struct index_view *view;
    uint32_t hash;
    int64_t begin_ms, end_ms;
    uint32_t at; /* number of the next entry to look at, 0: the end */
};
/* From the slot of `hash` on. 0 or -errno, -EBADMSG: the slot names an entry that is not there. */
int index_walk_begin(struct index_walk *w, struct index_view *v, uint32_t hash, int64_t begin_ms,
                     int64_t end_ms);
/* 1: *e; 0: the end; -errno; -EBADMSG: damage, the walk has ended. */
int index_walk_next(struct index_walk *w, struct index_entry *e);

/* --- a file on the disk, for reading; not to be moved while it is open --- */

struct index_file {
    int fd;
    struct index_view view;
};
/* Opens, compares the size, reads the header. 0, or err names the file and what is wrong with it:
 * -EBADMSG for its content or size, else the error of the system. */
int index_file_open(struct index_file *f, const char *path, const struct index_shape *shape,
                    struct err *err);
void index_file_close(struct index_file *f);

#endif
