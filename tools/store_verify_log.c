/* store_verify_log.c - the one pass over the log, in order: each record, blanks, what lies behind
 * the end.
 *
 * The first place that is no record is judged as a start of the broker judges it
 * (store_recovery.c): below the mark it is damage, above it the end; without a mark the end unless
 * records that are no older follow.
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

/* Without a mark: whether a later segment begins with a record. 1, 0 or -errno. */
static int later_segment(struct store_verify *v, struct log_scan *scan, uint64_t at, uint64_t *next)
{
    struct record record;
    const char *why;

    for (uint64_t begin = log_scan_segment_end(scan, at); begin < v->limit;
         begin = log_scan_segment_end(scan, begin)) {
        int r = store_layout_has(&v->layout, begin) ? log_scan_judge(scan, begin, &record, &why)
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
static int bad_place(struct store_verify *v, struct log_scan *scan, uint64_t at, uint64_t *next)
{
    uint64_t bound = log_scan_segment_end(scan, at);
    int r;

    if (v->marked && at >= v->mark.flushed)
        return 0;
    if (v->marked && bound > v->mark.flushed)
        bound = v->mark.flushed;
    if (bound > v->limit)
        bound = v->limit;
    r = log_scan_resume(scan, at, bound, v->marked ? INT64_MIN : v->newest_ms, next);
    if (r == 0 && v->marked) {
        *next = bound;
        r = 1;
    }
    if (r == 0)
        r = later_segment(v, scan, at, next);
    return r;
}

/* A segment that cannot be opened or read; the rest of it is passed over. */
static int unreadable(struct store_verify *v, uint64_t at, uint64_t next, const struct err *why)
{
    char name[PATH_MAX];

    if (why->code == -ENOENT && v->options.live) {
        store_verify_note(v, store_layout_segment_name(&v->layout, at, name), -1,
                          "was deleted while it was to be read, as the broker does with old ones");
        return 0;
    }
    if (why->code == -ENOMEM)
        return err_say(v->err, why->code, "%s", why->text);
    v->damaged_bytes += next - at;
    store_verify_problem(v, store_layout_segment_name(&v->layout, at, name), in_file(v, at), "%s",
                         why->text);
    return 0;
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
    if (r->store_ms > v->newest_ms)
        v->newest_ms = r->store_ms;
    if (left < (uint64_t)r->total_size + RECORD_BLANK_BYTES)
        store_verify_problem(v, store_layout_segment_name(&v->layout, at, name), in_file(v, at),
                             "the record at log offset %" PRIu64
                             " leaves no room for the blank record that must end a segment",
                             at);
    return store_verify_record(v, r, at);
}

static int step(struct store_verify *v, struct log_scan *scan, uint64_t *at, bool *ended)
{
    struct err why = {0};
    struct record record;
    uint64_t next = log_scan_segment_end(scan, *at);
    int r;

    if (!store_layout_has(&v->layout, *at)) {
        v->damaged_bytes += next - *at; /* said by the layout */
        *at = next;
        return 0;
    }
    scan->err = &why;
    r = log_scan_judge(scan, *at, &record, &v->end_why);
    if (r == LOG_SCAN_RECORD) {
        next = *at + record.total_size;
        note_crossed(v, *at, next);
        r = take_record(v, &record, *at);
        *at = next;
        return r;
    }
    if (r == LOG_SCAN_BLANK) {
        v->end_why = "the last segment is full";
        *at = next;
        return 0;
    }
    if (r > 0) {
        r = bad_place(v, scan, *at, &next);
        if (r == 0) {
            *ended = true;
            return 0;
        }
        if (r > 0) {
            say_damage(v, *at, next, v->end_why);
            *at = next;
            return 0;
        }
    }
    next = log_scan_segment_end(scan, *at);
    r = unreadable(v, *at, next, &why);
    *at = next;
    return r;
}

int store_verify_log(struct store_verify *v)
{
    struct log_scan scan;
    uint64_t at = store_layout_min(&v->layout), from = at;
    bool ended = false;
    int r = 0;

    v->end_why = at < v->limit ? "" : "empty";
    log_scan_init(&scan, v->layout.log_dir, v->layout.segment_bytes, NULL);
    for (uint64_t steps = 1; r == 0 && at < v->limit && !ended; steps++) {
        r = step(v, &scan, &at, &ended);
        if (steps % PROGRESS_RECORDS == 0)
            store_verify_progress(v, "the log", at - from, v->limit - from);
    }
    log_scan_destroy(&scan);
    v->end = at < v->limit ? at : v->limit;
    if (r == 0 && !v->options.live)
        r = check_behind(v);
    return r;
}
