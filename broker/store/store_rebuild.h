/* store_rebuild.h - everything that follows the log made anew from it, offline: consume queues,
 * tern/queues, tern/flushed, checkpoint.
 *
 * The log is only read, by the code of a start (store_recovery.c), unless the caller wants it cut.
 * The new queues are made beside the old ones and take their place in one step; before that step
 * the folder is marked so that a start reads the whole log, and a crash at any moment leaves
 * nothing but that to do. Queues of which the log has no record any more are kept: where they end
 * is known to nobody else.
 *
 * The caller holds store_lock() and has the metadata open. Blocks. One thread.
 */
#ifndef TERN_BROKER_STORE_STORE_REBUILD_H
#define TERN_BROKER_STORE_STORE_REBUILD_H

#include "broker/store/store.h"

struct store_rebuild {
    struct store_options store; /* folders, sizes, delay levels, memory, metadata */
    uint64_t min, limit;        /* of the log: whole segments in a row */
    bool cut;                   /* end the log at cut_at, where a record ends */
    uint64_t cut_at;
};

struct store_rebuilt {
    uint64_t end;    /* of the log */
    const char *why; /* it ends there, a static sentence */
    uint64_t records, nameless, damaged;
    uint64_t queues;      /* made from the log */
    uint64_t kept_queues; /* of which the log has no record */
    bool marked;          /* tern/flushed is there: `flushed` */
    uint64_t flushed;
    bool clean; /* the folder is as after a clean stop; else the next start reads the log */
};

int store_rebuild(const struct store_rebuild *what, struct store_rebuilt *out, struct err *err);

#endif
