/* index_feed.c - see index_feed.h. */
#include "broker/store/index_feed.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "broker/store/log_scan.h"
#include "common/log.h"

enum {
    PIECE_BYTES = 256 << 10,
    READ_TRIES = 3,
    RECORD_FRONT = 36, /* up to the end of PHYSICALOFFSET */
};

static uint64_t segment_end(const struct index_feed *f, uint64_t offset)
{
    uint64_t segment = (uint64_t)commit_log_segment_bytes(f->log);

    return (offset / segment + 1) * segment;
}

/* `size` bytes of the log at `position`, in f->bytes. */
static int load(struct index_feed *f, size_t size)
{
    if (f->cap < size) {
        size_t cap = size > PIECE_BYTES ? size : PIECE_BYTES;
        uint8_t *bytes = realloc(f->bytes, cap);
        if (!bytes)
            return -ENOMEM;
        f->bytes = bytes;
        f->cap = cap;
    }
    return commit_log_read_files(f->log, f->position, f->bytes, size);
}

/* Behind a place that is no record, before `limit`. */
static int step_over(struct index_feed *f, uint64_t limit)
{
    uint64_t bound = segment_end(f, f->position), next = 0;
    struct log_scan scan;
    int r;

    if (bound > limit)
        bound = limit;
    if (f->position < f->boot_end && bound > f->boot_end)
        bound = f->boot_end;
    log_scan_init(&scan, f->commit_log_dir, (uint64_t)commit_log_segment_bytes(f->log), NULL);
    r = log_scan_resume(&scan, f->position, bound, INT64_MIN, &next);
    log_scan_destroy(&scan);
    if (r < 0)
        return r;
    if (r == 0)
        next = bound;
    log_warn_limited(f->commit_log_dir,
                     "log offsets %" PRIu64 " to %" PRIu64
                     " hold no record: their keys are not in the index",
                     f->position, next);
    f->position = next;
    return 0;
}

/* Whether a record must end at `limit`: not where somebody else's word limits what is confirmed. */
static bool is_end(const struct index_feed *f, uint64_t limit)
{
    return limit == commit_log_written(f->log) || limit == commit_log_flushed(f->log);
}

/* What begins at bytes[at]. 0: a record; BLANK: go to the end of the segment; PARTIAL: *need bytes
 * are needed; BAD. */
static int judge(const struct index_feed *f, size_t at, size_t size, uint64_t offset,
                 struct record *record, size_t *need)
{
    uint64_t left = segment_end(f, offset) - offset;
    struct bytes in = bytes_of(f->bytes + at, size - at);
    const char *why;
    int r;

    *need = RECORD_FRONT < left ? RECORD_FRONT : (size_t)left;
    r = in.len < *need ? RECORD_PARTIAL : record_decode(in, record);
    if (r == RECORD_BLANK)
        return record->total_size == left ? RECORD_BLANK : RECORD_BAD;
    if (r == RECORD_PARTIAL && in.len >= *need) {
        *need = record->total_size;
        if (*need <= in.len || *need > left || *need > LOG_SCAN_RECORD_MAX ||
            load_be64(in.at + 28) != offset)
            return RECORD_BAD;
    }
    if (r != 0)
        return r;
    if (record->log_offset != (int64_t)offset)
        return RECORD_BAD;
    if (offset < f->boot_end &&
        record_check(record, bytes_of(in.at, record->total_size), (int64_t)offset, &why) != 0)
        return RECORD_BAD;
    return 0;
}

/* All records of the piece of `size` bytes at `position`; one that is cut is left for the next. */
static int read_piece(struct index_feed *f, size_t size, uint64_t limit,
                      int (*each)(void *ctx, const struct record *r), void *ctx)
{
    size_t at = 0;

    while (at < size) {
        struct record record;
        size_t need = 0;
        int r = judge(f, at, size, f->position, &record, &need);

        if (r == RECORD_PARTIAL && at > 0)
            return 0;
        if (r == RECORD_PARTIAL && need > limit - f->position)
            return is_end(f, limit) ? step_over(f, limit) : INDEX_FEED_WAIT;
        if (r == RECORD_PARTIAL) {
            r = load(f, need);
            if (r < 0)
                return r;
            size = need;
            continue;
        }
        if (r == RECORD_BLANK) {
            f->position = segment_end(f, f->position);
            return 0;
        }
        if (r != 0)
            return step_over(f, limit);
        if (each(ctx, &record) != 0)
            return INDEX_FEED_STOPPED;
        at += record.total_size;
        f->position += record.total_size;
    }
    return 0;
}

/* The log cannot be read here; after some tries the index does without the rest of the segment. */
static int read_failed(struct index_feed *f, int error, uint64_t limit)
{
    uint64_t next = segment_end(f, f->position);
    char room[128];

    if (error == -ENODATA)
        return 0; /* retention was faster */
    if (error == -ENOMEM || ++f->failures < READ_TRIES)
        return error;
    if (next > limit)
        next = limit;
    log_error("log offsets %" PRIu64 " to %" PRIu64 " in %s cannot be read: %s; their keys are not "
              "in the index",
              f->position, next, f->commit_log_dir, strerror_r(-error, room, sizeof(room)));
    f->failures = 0;
    f->position = next;
    return 0;
}

int index_feed_read(struct index_feed *f, uint64_t limit,
                    int (*each)(void *ctx, const struct record *r), void *ctx)
{
    uint64_t min = commit_log_min(f->log), bound;
    int r;

    if (f->position < min)
        f->position = min;
    if (f->position >= limit)
        return 0;
    bound = segment_end(f, f->position);
    if (bound > limit)
        bound = limit;
    if (bound - f->position > PIECE_BYTES)
        bound = f->position + PIECE_BYTES;
    r = load(f, (size_t)(bound - f->position));
    if (r == 0)
        r = read_piece(f, (size_t)(bound - f->position), limit, each, ctx);
    if (r < 0)
        return read_failed(f, r, limit);
    f->failures = 0;
    return r;
}

void index_feed_rest(struct index_feed *f)
{
    free(f->bytes);
    f->bytes = NULL;
    f->cap = 0;
}
