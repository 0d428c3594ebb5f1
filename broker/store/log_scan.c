/* log_scan.c - see log_scan.h. */
#include "broker/store/log_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"

enum {
    READ_BYTES = 1 << 20,
    SEARCH_BYTES = 65536, /* least window of a search for the next record */
    RECORD_FRONT = 36,    /* up to the end of PHYSICALOFFSET */
    RECORD_MIN_BYTES = 91,
};

void log_scan_init(struct log_scan *scan, const char *dir, uint64_t segment_bytes, struct err *err)
{
    *scan = (struct log_scan){.dir = dir, .segment_bytes = segment_bytes, .fd = -1, .err = err};
}

void log_scan_destroy(struct log_scan *scan)
{
    if (scan->fd >= 0)
        file_close(scan->fd);
    scan->fd = -1;
    free(scan->bytes);
    scan->bytes = NULL;
    scan->cap = scan->len = 0;
}

int log_scan_open_segment(const char *dir, uint64_t begin)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof(path), "%s/%020" PRIu64, dir, begin) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    return file_open(path, O_RDONLY, 0);
}

/* Bytes from `offset` on: at least `want`, or all up to the end of the segment. */
static int look(struct log_scan *scan, uint64_t offset, size_t want, struct bytes *out)
{
    uint64_t end = log_scan_segment_end(scan, offset), begin = end - scan->segment_bytes;
    int r;

    if (want > end - offset)
        want = (size_t)(end - offset);
    if (offset < scan->at || offset - scan->at > scan->len ||
        scan->len - (offset - scan->at) < want) {
        size_t size = want > READ_BYTES ? want : READ_BYTES;

        if (scan->cap < size) {
            uint8_t *bytes = realloc(scan->bytes, size);
            if (!bytes)
                return err_set(scan->err, -ENOMEM, "read the log at %" PRIu64, offset);
            scan->bytes = bytes;
            scan->cap = size;
        }
        if (scan->fd < 0 || scan->segment != begin) {
            if (scan->fd >= 0)
                file_close(scan->fd);
            scan->fd = log_scan_open_segment(scan->dir, begin);
            if (scan->fd < 0)
                return err_set(scan->err, scan->fd, "open segment %020" PRIu64 " of %s", begin,
                               scan->dir);
            scan->segment = begin;
        }
        if (size > end - offset)
            size = (size_t)(end - offset);
        scan->len = 0;
        r = file_read_all(scan->fd, scan->bytes, size, (off_t)(offset - begin));
        if (r < 0)
            return err_set(scan->err, r,
                           "read %zu bytes of segment %020" PRIu64 " of %s at %" PRIu64, size,
                           begin, scan->dir, offset - begin);
        scan->at = offset;
        scan->len = size;
    }
    *out = bytes_of(scan->bytes + (offset - scan->at), scan->len - (size_t)(offset - scan->at));
    return 0;
}

int log_scan_look(struct log_scan *scan, uint64_t offset, struct bytes *out)
{
    size_t size;
    int r = look(scan, offset, RECORD_FRONT, out);

    if (r < 0 || out->len < RECORD_FRONT)
        return r;
    size = load_be32(out->at);
    return size > out->len && size <= LOG_SCAN_RECORD_MAX ? look(scan, offset, size, out) : 0;
}

static bool is_zero(struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        if (b.at[i] != 0)
            return false;
    }
    return true;
}

int log_scan_judge(struct log_scan *scan, uint64_t offset, struct record *record, const char **why)
{
    uint64_t left = log_scan_segment_end(scan, offset) - offset;
    struct bytes b;
    int r = look(scan, offset, RECORD_FRONT, &b);

    if (r < 0)
        return r;
    if (b.len < RECORD_BLANK_BYTES) {
        *why = "the segment ends without a blank record";
        return LOG_SCAN_BAD;
    }
    if (is_zero(bytes_of(b.at, RECORD_BLANK_BYTES))) {
        *why = "nothing follows";
        return LOG_SCAN_NOTHING;
    }
    r = record_decode(b, record);
    if (r == RECORD_PARTIAL) {
        uint32_t size = record->total_size;
        *why = "its size cannot be right";
        if (b.len < RECORD_FRONT || size > left || size > LOG_SCAN_RECORD_MAX ||
            load_be64(b.at + 28) != offset)
            return LOG_SCAN_BAD;
        r = look(scan, offset, size, &b);
        if (r < 0)
            return r;
        r = record_decode(b, record);
    }
    if (r == RECORD_BLANK) {
        *why = "a blank record of a wrong size";
        return record->total_size == left ? LOG_SCAN_BLANK : LOG_SCAN_BAD;
    }
    if (r != 0) {
        *why = "no record begins here";
        return LOG_SCAN_BAD;
    }
    if (record_check(record, bytes_of(b.at, record->total_size), (int64_t)offset, why) != 0)
        return LOG_SCAN_BAD;
    if (offset >= scan->crc_from && offset < scan->crc_to && !record_has_crc(record)) {
        *why = "it has lost its checksum";
        return LOG_SCAN_BAD;
    }
    return LOG_SCAN_RECORD;
}

/* First record in [from, bound) that says itself that it stands there. 1 found, 0 not. */
static int search(struct log_scan *scan, uint64_t from, uint64_t bound, int64_t oldest_ms,
                  uint64_t *next)
{
    struct record record;
    const char *why;
    struct bytes b;

    while (from < bound && bound - from >= RECORD_MIN_BYTES) {
        int r = look(scan, from, SEARCH_BYTES, &b);
        if (r < 0)
            return r;
        if (b.len < RECORD_FRONT)
            return 0;
        size_t last = b.len - RECORD_FRONT; /* last place in the window whose front is in it */
        size_t i = 0;
        while (i <= last) {
            const uint8_t *hit = memchr(b.at + i + 4, RECORD_MAGIC_V1 >> 24, last - i + 1);
            if (!hit) {
                i = last + 1;
                break;
            }
            i = (size_t)(hit - b.at) - 4;
            uint32_t magic = load_be32(hit);
            if ((magic == RECORD_MAGIC_V1 || magic == RECORD_MAGIC_V2) &&
                load_be64(b.at + i + 28) == from + i)
                break;
            i++;
        }
        from += i;
        if (i > last)
            continue;
        if (from >= bound)
            return 0;
        r = log_scan_judge(scan, from, &record, &why);
        if (r < 0)
            return r;
        if (r == LOG_SCAN_RECORD && record.store_ms >= oldest_ms) {
            *next = from;
            return 1;
        }
        from++;
    }
    return 0;
}

int log_scan_resume(struct log_scan *scan, uint64_t at, uint64_t bound, int64_t oldest_ms,
                    uint64_t *next)
{
    struct record record;
    const char *why;
    struct bytes b;
    int r = look(scan, at, RECORD_FRONT, &b);

    if (r < 0)
        return r;
    if (b.len >= 4) {
        uint32_t size = load_be32(b.at);
        if (size >= RECORD_MIN_BYTES && size < bound - at) {
            r = log_scan_judge(scan, at + size, &record, &why);
            if (r < 0)
                return r;
            if (r == LOG_SCAN_BLANK || (r == LOG_SCAN_RECORD && record.store_ms >= oldest_ms)) {
                *next = at + size;
                return 1;
            }
        }
    }
    return search(scan, at + 1, bound, oldest_ms, next);
}
