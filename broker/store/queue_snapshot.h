/* queue_snapshot.h - the bytes of tern/queues, taken apart without trust. Pure. */
#ifndef TERN_BROKER_STORE_QUEUE_SNAPSHOT_H
#define TERN_BROKER_STORE_QUEUE_SNAPSHOT_H

#include "common/bytes.h"

/*
 *   at  size  field
 *    0     4  magic "TNQS"
 *    4     4  version 1
 *    8     8  log end
 *   16     8  bytes of a queue file
 *   24     4  number of runs
 *   28     -  runs: 1 length of the topic's name, the name, 4 first queue id, 4 count, then for
 * each queue 8 min, 8 next, 8 end of its last record
 *    -     4  CRC-32 of all bytes before
 *
 * A run is a row of queues of one topic; the runs of a topic follow one another without gaps in
 * their ids, from 0.
 */
struct queue_snapshot_run {
    struct bytes topic; /* borrowed */
    int32_t first, count;
    const uint8_t *ends; /* count times 24 bytes */
};
struct queue_snapshot {
    uint64_t log_end;
    int64_t file_bytes;
    uint32_t runs;
    struct bytes body; /* borrowed: the runs, checked */
};
/* 0, or 1 when anything is wrong with the bytes: sizes, names, ids, ends, the checksum. */
int queue_snapshot_parse(struct bytes in, struct queue_snapshot *out);
/* Walks the runs of a parsed snapshot: start with *at = 0; false at the end. */
bool queue_snapshot_next(const struct queue_snapshot *s, size_t *at,
                         struct queue_snapshot_run *run);
/* The i-th queue of a run. */
struct queue_ends {
    int64_t min, next;
    uint64_t last_end; /* of the record of its last entry; 0: no entry at all */
};
struct queue_ends queue_snapshot_ends(const struct queue_snapshot_run *run, int32_t i);

#endif
