/* store_mark.h - the small files that tell the next start how this one ended.
 *
 *   tern/flushed   how far the log is durable and the queue files are complete
 *   checkpoint     the same for RocketMQ, as store times
 *   abort          there while a store is open: found at a start, the last stop was not clean
 *   lock           held while a store is open
 *
 * The flusher owns the mark while the store runs, whoever opens or closes the store before and
 * after. Layout: docs/protocol/tern-store.md, "tern/flushed".
 */
#ifndef TERN_BROKER_STORE_STORE_MARK_H
#define TERN_BROKER_STORE_STORE_MARK_H

#include <limits.h>

#include "common/bytes.h"
#include "common/err.h"

/* tern/flushed is two pages; the first MARK_SLOT_BYTES of each hold one slot.
 *
 *   at  size  field
 *    0     8  magic               "TERNMARK"
 *    8     4  version             2
 *   12     4  flags               bit 0: clean stop
 *   16     8  sequence            the newer of two valid slots counts
 *   24     8  flushed             log offset; every byte below is on the disk
 *   32     8  queues complete to  log offset, at most `flushed`; all entries below are in files
 *   40     8  store time          ms; no record below `flushed` has a later one
 *   48     4  tail CRC            clean stop: CRC-32 of the last bytes before `flushed`
 *   52     4  0
 *   56     8  queue ends          digest of where all queues end there; 0: it was not taken
 *   64     8  queue mins          digest of where they begin
 *   72     8  log min             of the log then; all ones: that cannot be told
 *   80     8  CRCs from           log offset; records from here on, up to `flushed`, all have the
 *                                 whole-record CRC; all ones: none need have it
 *   88    36  0
 *  124     4  CRC-32 of bytes 0 to 123
 */
#define MARK_NO_MIN UINT64_MAX
#define MARK_NO_CRC UINT64_MAX
enum { MARK_SLOT_BYTES = 128, MARK_SLOT_APART = 4096, MARK_FILE_BYTES = 2 * MARK_SLOT_APART };

struct mark {
    uint64_t sequence;
    uint64_t flushed;
    uint64_t queues_complete_to;
    int64_t store_ms;
    bool clean;
    uint32_t tail_crc;
    uint64_t queue_ends, queue_mins, log_min;
    uint64_t crc_from;
};

void mark_encode(uint8_t to[MARK_SLOT_BYTES], const struct mark *mark);
bool mark_decode(const uint8_t from[MARK_SLOT_BYTES], struct mark *mark);

struct mark_file {
    char path[PATH_MAX];
    int fd;            /* -1 until something was written */
    uint64_t sequence; /* of the newest slot that is known to be whole */
    bool named;        /* its folder was synced since it has the name */
};

/* 0: *mark is the newest valid slot. MARK_NONE: no file, or no valid slot in it. -errno. */
enum { MARK_NONE = 1 };
int mark_open(struct mark_file *file, const char *path, struct mark *mark);
/* Likewise for those who only look. */
int mark_read(const char *path, struct mark *mark);
/* Durable when it returns 0; the sequence is the file's business. After a failure the older slot is
 * still whole, and the next call tries the same place again. */
int mark_write(struct mark_file *file, const struct mark *mark);
void mark_close(struct mark_file *file);

/* RocketMQ's checkpoint. In place, synced. index_ms: end time of the newest index file that is full
 * and on the disk; after a crash RocketMQ makes later ones anew. */
int checkpoint_write(const char *path, int64_t physical_ms, int64_t logic_ms, int64_t index_ms);
/* The last of these times as it stands there; 0 when there is no such file, or not that much of it.
 */
int checkpoint_index_ms(const char *path, int64_t *index_ms);

/* Durable when they return 0. abort_found: 1 it is there, 0 not, -errno. */
int abort_found(const char *path);
int abort_create(const char *path);
int abort_remove(const char *path);

/* The fd that holds the lock, or a failure that names the process in the way. */
int lock_take(const char *root_dir, struct err *err);

#endif
