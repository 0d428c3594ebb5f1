/* recovery.h - a start of a store while it goes on: what store_recovery.c has found, and the
 * reading of the log (recovery_scan.c) that puts back what followed from it. One thread. */
#ifndef TERN_BROKER_STORE_RECOVERY_H
#define TERN_BROKER_STORE_RECOVERY_H

#include "broker/store/log_scan.h"
#include "broker/store/store_internal.h"

struct recovery {
    struct store *s;
    struct mark mark;
    bool marked, whole; /* there is a usable mark; the whole log is scanned */
    bool cut, lowered;  /* the log has to end at cut_to; the mark knew of more */
    uint64_t cut_to;
    uint64_t min, limit;
    uint64_t from, end;
    const char *why; /* why the log ends there */
    int64_t newest_ms;
    int64_t began_ms, progress_ms;
    struct topic *topic; /* of the last record */
    struct topic **made; /* topics made here */
    size_t made_count, made_cap;
    uint64_t bare_end; /* end of the last record above the mark that has no CRC of its own */
    uint64_t scanned_bytes, records, nameless;
    bool gap; /* a queue lacks entries below `from`: start again from the beginning */
    struct log_scan scan;
    struct err *err;
};

/* Moves `from` to the beginning of a record, where it is none. */
int recovery_settle_start(struct recovery *v);
/* Reads from `from` to the end of the log, which it finds: end, why, newest_ms and the counts. It
 * ends early with `gap` set when a queue lacks entries below `from`. */
int recovery_scan(struct recovery *v);
/* The topic of a queue that is there while nothing else of its topic is (ctx: struct recovery).
 * NULL when it cannot be one. */
struct topic *recovery_make_topic(void *ctx, struct bytes name, int32_t queue_id);

#endif
