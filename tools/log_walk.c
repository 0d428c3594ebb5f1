/* log_walk.c - see log_walk.h. */
#include "tools/log_walk.h"

#include <errno.h>

void log_walk_init(struct log_walk *w, const struct store_layout *layout, const struct mark *mark,
                   uint64_t from, uint64_t limit)
{
    *w = (struct log_walk){
        .layout = layout,
        .mark = mark,
        .at = from,
        .limit = limit,
        .why = limit > 0 ? "the last segment is full" : "empty",
    };
    log_scan_init(&w->scan, layout->log_dir, layout->segment_bytes, &w->err);
    if (mark) {
        w->scan.crc_from = mark->crc_from;
        w->scan.crc_to = mark->flushed;
    }
}

void log_walk_destroy(struct log_walk *w)
{
    log_scan_destroy(&w->scan);
}

/* Without a mark: whether a later segment begins with a record. 1, 0 or -errno. */
static int later_segment(struct log_walk *w, uint64_t *next)
{
    struct record record;
    const char *why;

    for (uint64_t begin = log_scan_segment_end(&w->scan, w->at); begin < w->limit;
         begin = log_scan_segment_end(&w->scan, begin)) {
        int r = store_layout_has(w->layout, begin) ? log_scan_judge(&w->scan, begin, &record, &why)
                                                   : LOG_SCAN_BAD;
        if (r < 0)
            return r;
        if (r == LOG_SCAN_RECORD) {
            *next = begin;
            return 1;
        }
    }
    return 0;
}

/* 1: damage up to *next; 0: the log ends here; -errno. */
static int bad_place(struct log_walk *w, uint64_t *next)
{
    uint64_t bound = log_scan_segment_end(&w->scan, w->at);
    int r;

    if (w->mark && w->at >= w->mark->flushed)
        return 0;
    if (w->mark && bound > w->mark->flushed)
        bound = w->mark->flushed;
    if (bound > w->limit)
        bound = w->limit;
    r = log_scan_resume(&w->scan, w->at, bound, w->mark ? INT64_MIN : w->newest_ms, next);
    if (r == 0 && w->mark) {
        *next = bound; /* the mark stands where a record ended, a segment begins with one */
        r = 1;
    }
    return r == 0 ? later_segment(w, next) : r;
}

static int went(struct log_walk *w, uint64_t to, int what)
{
    w->from = w->at;
    w->to = w->at = to;
    return what;
}

int log_walk_next(struct log_walk *w, struct record *record)
{
    while (w->at < w->limit) {
        uint64_t next = log_scan_segment_end(&w->scan, w->at);
        int r;

        if (!store_layout_has(w->layout, w->at))
            return went(w, next, LOG_WALK_MISSING);
        r = log_scan_judge(&w->scan, w->at, record, &w->why);
        if (r == LOG_SCAN_RECORD) {
            if (record->store_ms > w->newest_ms)
                w->newest_ms = record->store_ms;
            return went(w, w->at + record->total_size, LOG_WALK_RECORD);
        }
        if (r == LOG_SCAN_BLANK) {
            w->why = "the last segment is full";
            w->at = next;
            continue;
        }
        if (r > 0)
            r = bad_place(w, &next);
        if (r == 0)
            return LOG_WALK_END;
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            return went(w, log_scan_segment_end(&w->scan, w->at), LOG_WALK_UNREADABLE);
        return went(w, next, LOG_WALK_DAMAGE);
    }
    w->at = w->limit;
    return LOG_WALK_END;
}
