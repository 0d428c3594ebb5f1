/* index_feed.h - the log, record by record, for a follower that comes after the writers.
 *
 * Reads large pieces of the segment files, never the memory tail, so it takes no lock that an
 * appender needs. Records that an earlier process wrote are checked down to their checksums; places
 * that are no record are stepped over. One thread.
 */
#ifndef TERN_BROKER_STORE_INDEX_FEED_H
#define TERN_BROKER_STORE_INDEX_FEED_H

#include "broker/store/commit_log.h"
#include "broker/store/record.h"

struct index_feed {
    struct commit_log *log;
    const char *commit_log_dir;
    uint64_t boot_end; /* records below are checked */
    uint64_t position; /* log offset of the next record */
    uint8_t *bytes;
    size_t cap;
    unsigned failures; /* reads in a row that failed at `position` */
};

/* One piece of the log, nothing at or above `limit`: each(ctx, record) for every record that lies
 * wholly in it, which is borrowed until it returns. `position` moves behind those for which it
 * returned 0; anything else ends the piece. 0; STOPPED: each() wanted it; WAIT: the record at
 * `position` does not end below `limit` (which need not be the end of one); -errno: the log cannot
 * be read there, the next call tries again, the third skips the rest of the segment. */
enum { INDEX_FEED_STOPPED = 1, INDEX_FEED_WAIT };
int index_feed_read(struct index_feed *f, uint64_t limit,
                    int (*each)(void *ctx, const struct record *r), void *ctx);
/* Frees the memory of the last piece. */
void index_feed_rest(struct index_feed *f);

#endif
