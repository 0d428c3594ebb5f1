/* log_scan.h - reading a log without trusting it: what stands at an offset, and where the next
 * record begins behind a place that is none.
 *
 * Reads the segment files in large pieces, without the commit log's own state: recovery uses it
 * before the end of the log is known. One thread. Only whole records with their own position in
 * them count; nothing is believed because of its size alone.
 */
#ifndef TERN_BROKER_STORE_LOG_SCAN_H
#define TERN_BROKER_STORE_LOG_SCAN_H

#include "broker/store/record.h"
#include "common/err.h"

enum { LOG_SCAN_RECORD_MAX = 64 << 20 }; /* larger ones are taken for damage */

struct log_scan {
    const char *dir;
    uint64_t segment_bytes;
    /* the window: bytes [at, at + len) of the log */
    uint8_t *bytes;
    size_t cap, len;
    uint64_t at;
    int fd;
    uint64_t segment; /* where the open segment begins */
    /* Records in [crc_from, crc_to) have to have the whole-record CRC: 0 and 0 after init. */
    uint64_t crc_from, crc_to;
    struct err *err;
};

void log_scan_init(struct log_scan *scan, const char *dir, uint64_t segment_bytes, struct err *err);
void log_scan_destroy(struct log_scan *scan);

static inline uint64_t log_scan_segment_end(const struct log_scan *scan, uint64_t offset)
{
    return (offset / scan->segment_bytes + 1) * scan->segment_bytes;
}

/* What stands at `offset`. RECORD: *record, borrowed from the window until the next call. BLANK:
 * the rest of the segment is unused. NOTHING: zeroes. BAD: none of these. *why is a static sentence
 * for the last two. -errno when it cannot be read. */
enum { LOG_SCAN_RECORD, LOG_SCAN_BLANK, LOG_SCAN_NOTHING, LOG_SCAN_BAD };
int log_scan_judge(struct log_scan *scan, uint64_t offset, struct record *record, const char **why);

/* What the window has from `offset` on, in one segment: a record, should one begin there. 0 or
 * -errno.
 */
int log_scan_look(struct log_scan *scan, uint64_t offset, struct bytes *out);

/* Where to go on behind the bad place `at`, before `bound`, which is in the same segment: the end
 * of the bad record when its size leads to something good, else the next record. Records stored
 * before oldest_ms are passed over. 1: *next; 0: there is none; -errno. */
int log_scan_resume(struct log_scan *scan, uint64_t at, uint64_t bound, int64_t oldest_ms,
                    uint64_t *next);

/* An open segment file. */
int log_scan_open_segment(const char *dir, uint64_t begin);

#endif
