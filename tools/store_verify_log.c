/* store_verify_log.c - the one pass over the log, in order: each record, blanks, what lies behind
 * the end.
 */
#include "tools/store_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"

enum { PROGRESS_RECORDS = 4096, CHUNK = 256 << 10 };

static int64_t in_file(const struct store_verify *v, uint64_t offset)
{
    return (int64_t)(offset % v->layout.segment_bytes);
}

static void say_damage(struct store_verify *v, uint64_t at, uint64_t next, const char *why)
{
    char name[PATH_MAX];

    v->damaged_bytes += next - at;
    store_verify_problem(v, store_layout_segment_name(&v->layout, at, name), in_file(v, at),
                         "damage at log offset %" PRIu64 ": %s; %" PRIu64 " bytes are not readable",
                         at, why, next - at);
}

/* --- behind the end --- */

struct leftover {
    uint64_t first, last; /* log offsets of the first and one past the last byte that is not zero */
};

static void note_bytes(struct leftover *left, uint64_t offset, const uint8_t *bytes, size_t n)
{
    size_t i = 0;

    while (i < n && bytes[i] == 0)
        i++;
    if (i == n)
        return;
    while (bytes[n - 1] == 0)
        n--;
    if (left->last == 0)
        left->first = offset + i;
    left->last = offset + n;
}

/* The part of a segment file from `from` on; holes are not read. */
static int look_behind(struct store_verify *v, uint64_t from, uint8_t *chunk, struct leftover *left)
{
    uint64_t base = from - from % v->layout.segment_bytes;
    off_t at = (off_t)(from - base), end = (off_t)v->layout.segment_bytes;
    int fd = log_scan_open_segment(v->layout.log_dir, base), r = 0;

    if (fd < 0)
        return fd;
    while (at < end && r == 0) {
        off_t data = lseek(fd, at, SEEK_DATA), data_end;

        if (data < 0 && errno == ENXIO)
            break;
        at = data < 0 ? at : data;
        data_end = lseek(fd, at, SEEK_HOLE);
        if (data_end < 0 || data_end > end)
            data_end = end;
        while (at < data_end && r == 0) {
            size_t n = data_end - at < CHUNK ? (size_t)(data_end - at) : CHUNK;
            r = file_read_all(fd, chunk, n, at);
            if (r == 0)
                note_bytes(left, base + (uint64_t)at, chunk, n);
            at += (off_t)n;
        }
    }
    (void)file_close(fd);
    return r;
}

/* What stands behind the end of the log, in this segment and the later ones, should be zero. */
static int check_behind(struct store_verify *v)
{
    struct leftover left = {0};
    uint8_t *chunk = malloc(CHUNK);
    uint64_t bytes = v->layout.segment_bytes, at = v->end;
    char name[PATH_MAX];
    int r = chunk ? 0 : -ENOMEM;

    while (r == 0 && at < v->limit) {
        if (store_layout_has(&v->layout, at))
            r = look_behind(v, at, chunk, &left);
        at += bytes - at % bytes;
        store_verify_progress(v, "behind the end of the log", at - v->end, v->limit - v->end);
    }
    free(chunk);
    if (r < 0)
        return err_set(v->err, r, "read the log behind its end at %" PRIu64, v->end);
    if (left.last == 0)
        return 0;
    v->torn_bytes = left.last - v->end;
    store_layout_segment_name(&v->layout, left.first, name);
    if (v->unclean || !v->marked)
        store_verify_note(v, name, in_file(v, left.first),
                          "behind the end of the log (%" PRIu64 ": %s) up to log offset %" PRIu64
                          " stands a torn write or what an earlier cut has left; the next start "
                          "keeps a copy in tern/ and makes it zero",
                          v->end, v->end_why, left.last);
    else
        store_verify_problem(v, name, in_file(v, left.first),
                             "the log ends at %" PRIu64 " (%s) and bytes that are not zero follow, "
                             "up to log offset %" PRIu64,
                             v->end, v->end_why, left.last);
    return 0;
}

/* --- places that are no record --- */

/* A segment that cannot be opened or read; the rest of it is passed over. */
static void unreadable(struct store_verify *v, const struct log_walk *w)
{
    char name[PATH_MAX];

    store_layout_segment_name(&v->layout, w->from, name);
    if (w->err.code == -ENOENT && v->options.live) {
        store_verify_note(v, name, -1,
                          "was deleted while it was to be read, as the broker does with old ones");
        return;
    }
    v->damaged_bytes += w->to - w->from;
    store_verify_problem(v, name, in_file(v, w->from), "%s", w->err.text);
}

/* --- records --- */

/* The places that tern/flushed names are ends of records. */
static void note_crossed(struct store_verify *v, uint64_t at, uint64_t next)
{
    if (!v->marked)
        return;
    if (v->mark.flushed > at && v->mark.flushed < next)
        v->mark_crossed = at + 1;
    if (v->mark.queues_complete_to > at && v->mark.queues_complete_to < next)
        v->complete_crossed = at + 1;
}

static int take_record(struct store_verify *v, const struct record *r, uint64_t at)
{
    uint64_t left = v->layout.segment_bytes - (uint64_t)in_file(v, at);
    char name[PATH_MAX];

    v->records++;
    v->record_bytes += r->total_size;
    if (left < (uint64_t)r->total_size + RECORD_BLANK_BYTES)
        store_verify_problem(v, store_layout_segment_name(&v->layout, at, name), in_file(v, at),
                             "the record at log offset %" PRIu64
                             " leaves no room for the blank record that must end a segment",
                             at);
    if (v->index) {
        int code = store_verify_index_record(v, r, at);
        if (code < 0)
            return code;
    }
    return store_verify_record(v, r, at);
}

/* 0 go on; 1 the log ends; -errno. */
static int step(struct store_verify *v, struct log_walk *w)
{
    struct record record;

    switch (log_walk_next(w, &record)) {
    case LOG_WALK_RECORD:
        note_crossed(v, w->from, w->to);
        return take_record(v, &record, w->from);
    case LOG_WALK_DAMAGE:
        say_damage(v, w->from, w->to, w->why);
        return 0;
    case LOG_WALK_MISSING: /* said by the layout */
        v->damaged_bytes += w->to - w->from;
        return 0;
    case LOG_WALK_UNREADABLE:
        unreadable(v, w);
        return 0;
    case LOG_WALK_END:
        return 1;
    default:
        return err_set(v->err, -ENOMEM, "read the log at %" PRIu64, w->at);
    }
}

int store_verify_log(struct store_verify *v)
{
    struct log_walk walk;
    uint64_t from = store_layout_min(&v->layout);
    int r = 0;

    log_walk_init(&walk, &v->layout, v->marked ? &v->mark : NULL, from, v->limit);
    for (uint64_t steps = 1; r == 0; steps++) {
        r = step(v, &walk);
        if (steps % PROGRESS_RECORDS == 0)
            store_verify_progress(v, "the log", walk.at - from, v->limit - from);
    }
    v->end = walk.at;
    v->end_why = walk.why;
    v->newest_ms = walk.newest_ms;
    log_walk_destroy(&walk);
    if (r < 0)
        return r;
    return v->options.live ? 0 : check_behind(v);
}
