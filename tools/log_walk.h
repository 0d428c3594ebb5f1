/* log_walk.h - the records of a log folder in order, across damage, up to where a start of the
 * broker would end it.
 *
 * The first place that is no record is judged as store_recovery.c does: below the durable mark it
 * is damage, above it the end; without a mark the end unless records that are no older follow.
 * Reads only. One thread.
 */
#ifndef TERN_TOOLS_LOG_WALK_H
#define TERN_TOOLS_LOG_WALK_H

#include "broker/store/log_scan.h"
#include "broker/store/store_mark.h"
#include "tools/store_layout.h"

struct log_walk {
    const struct store_layout *layout;
    const struct mark *mark; /* NULL: there is none */
    struct log_scan scan;
    uint64_t limit; /* where to stop at the latest; a record ends there, or a segment */
    uint64_t at;    /* where the next step begins */
    int64_t newest_ms;
    /* of the last step */
    uint64_t from, to;
    const char *why; /* a static sentence: DAMAGE, END */
    struct err err;  /* UNREADABLE */
};

/* From `from` on, which is where a record begins, or a segment. */
void log_walk_init(struct log_walk *w, const struct store_layout *layout, const struct mark *mark,
                   uint64_t from, uint64_t limit);
void log_walk_destroy(struct log_walk *w);

/* RECORD: *record, borrowed until the next call, stands at [from, to). DAMAGE: these bytes are no
 * record, and the log goes on behind. MISSING: there is no such segment. UNREADABLE: it cannot be
 * opened or read, err says why; the walk goes on with the next. END: the log ends at `at`. -ENOMEM.
 */
enum { LOG_WALK_RECORD, LOG_WALK_DAMAGE, LOG_WALK_MISSING, LOG_WALK_UNREADABLE, LOG_WALK_END };
int log_walk_next(struct log_walk *w, struct record *record);

#endif
