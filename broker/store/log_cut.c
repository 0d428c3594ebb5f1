/* log_cut.c - recovery's work on the files of the log: giving up a tail, and writing again what a
 * failed sync may have left only in memory. One thread, before anybody appends.
 *
 * A tail is given up in an order that a crash may interrupt anywhere: first the copy is made and
 * synced, then later segments go, the last one first, then the rest of the segment is zeroed.
 *
 * Segments are mostly holes, or allocated and never written, which file systems report as holes:
 * SEEK_DATA keeps a look at a 1 GiB segment from reading 1 GiB. Pages of never written space count
 * as data, though, while they are in memory; clean ones are given back first and nothing is read
 * ahead, else each read would make more to read.
 */
#include "broker/store/log_segments.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"

enum {
    CHUNK = 256 << 10,
    ASIDES_MAX = 100, /* copies by the same name */
};

static bool all_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

/* --- walking over what is not zero --- */

struct walk {
    uint8_t *chunk; /* CHUNK bytes */
    /* Gets bytes that are not all zero (but see `zeroes`), and their log offset. Negative ends the
     * walk. */
    int (*each)(struct walk *w, int fd, off_t at, uint64_t offset, uint8_t *bytes, size_t n);
    bool zeroes; /* each() gets chunks of zeroes too, where the file has data */
    struct log_segments *segments;
    uint64_t found_to; /* one past the last byte that is not zero */
    /* saving */
    int aside_fd;
    uint64_t aside_base;
    const char *aside;
    char aside_path[PATH_MAX];
    struct err *err;
};

/* Where data begins at or behind `at`, and where it ends; `end` and `end` when there is none.
 * Without SEEK_DATA all of it is data. */
static void next_data(int fd, off_t at, off_t end, off_t *from, off_t *to)
{
    off_t data = lseek(fd, at, SEEK_DATA), hole;

    if (data < 0) {
        *from = errno == ENXIO ? end : at;
        *to = end;
        return;
    }
    hole = lseek(fd, data, SEEK_HOLE);
    *from = data < end ? data : end;
    *to = hole >= 0 && hole < end ? hole : end;
}

static int walk_piece(struct walk *w, const struct log_piece *piece, uint64_t offset)
{
    off_t at = piece->at, end = piece->at + (off_t)piece->bytes;

    (void)posix_fadvise(piece->fd, 0, 0, POSIX_FADV_RANDOM);
    while (at < end) {
        off_t data_end;
        (void)posix_fadvise(piece->fd, at, end - at, POSIX_FADV_DONTNEED);
        next_data(piece->fd, at, end, &at, &data_end);
        while (at < data_end) {
            size_t n = data_end - at < CHUNK ? (size_t)(data_end - at) : CHUNK;
            uint64_t here = offset + (uint64_t)(at - piece->at);
            int r = file_read_all(piece->fd, w->chunk, n, at);

            if (r < 0)
                return err_set(w->err, r, "read the log at offset %" PRIu64, here);
            if (w->zeroes || !all_zero(w->chunk, n)) {
                r = w->each(w, piece->fd, at, here, w->chunk, n);
                if (r < 0)
                    return r;
            }
            at += (off_t)n;
        }
    }
    (void)posix_fadvise(piece->fd, 0, 0, POSIX_FADV_NORMAL);
    return 0;
}

static int walk(struct walk *w, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct log_piece piece;
        int r = log_segments_hold(w->segments, from, to, &piece);

        if (r < 0)
            return err_set(w->err, r, "read the log at offset %" PRIu64, from);
        r = walk_piece(w, &piece, from);
        log_segments_let_go(w->segments, &piece);
        if (r < 0)
            return r;
        from += piece.bytes;
    }
    return 0;
}

/* --- the copy --- */

static int make_aside(struct walk *w)
{
    for (int i = 0; i < ASIDES_MAX; i++) {
        int n = i == 0 ? snprintf(w->aside_path, PATH_MAX, "%s", w->aside)
                       : snprintf(w->aside_path, PATH_MAX, "%s.%d", w->aside, i);
        if (n >= PATH_MAX)
            return err_set(w->err, -ENAMETOOLONG, "create %s", w->aside);
        w->aside_fd = file_open(w->aside_path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (w->aside_fd >= 0)
            return 0;
        if (w->aside_fd != -EEXIST)
            return err_set(w->err, w->aside_fd, "create %s", w->aside_path);
    }
    return err_say(w->err, -EEXIST, "%s and %d more of that name are there already: move them away",
                   w->aside, ASIDES_MAX - 1);
}

static int note_or_save(struct walk *w, int fd, off_t at, uint64_t offset, uint8_t *bytes, size_t n)
{
    int r;

    (void)fd;
    (void)at;
    while (bytes[n - 1] == 0)
        n--;
    w->found_to = offset + n;
    if (!w->aside)
        return 0;
    if (w->aside_fd < 0) {
        r = make_aside(w);
        if (r < 0)
            return r;
    }
    r = file_write_all(w->aside_fd, bytes, n, (off_t)(offset - w->aside_base));
    if (r < 0)
        return err_set(w->err, r, "copy the cut end of the log to %s", w->aside_path);
    return 0;
}

/* Copies what is not zero from `from` on; w->found_to stays 0 when there is nothing. */
static int save(struct walk *w, uint64_t from, uint64_t to)
{
    int r, closed;

    w->each = note_or_save;
    w->aside_fd = -1;
    w->aside_base = from;
    r = walk(w, from, to);
    if (w->aside_fd < 0)
        return r;
    if (r == 0) {
        r = file_fsync(w->aside_fd);
        if (r == 0)
            r = file_sync_parent(w->aside_path);
        if (r < 0)
            err_set(w->err, r, "sync %s", w->aside_path);
    }
    closed = file_close(w->aside_fd);
    if (r == 0 && closed < 0)
        r = err_set(w->err, closed, "close %s", w->aside_path);
    if (r < 0)
        (void)file_unlink(w->aside_path);
    else
        log_warn("the log %s ends at offset %" PRIu64 ": what stood behind, up to %" PRIu64
                 ", is kept in %s",
                 w->segments->dir, from, w->found_to, w->aside_path);
    return r;
}

/* --- the cut --- */

static int zero_chunk(struct walk *w, int fd, off_t at, uint64_t offset, uint8_t *bytes, size_t n)
{
    int r;

    memset(bytes, 0, n);
    r = file_write_all(fd, bytes, n, at);
    if (r < 0)
        return err_set(w->err, r, "zero the log behind its end at offset %" PRIu64, offset);
    w->found_to = offset + n;
    return 0;
}

/* --- a file that a backup shares --- */

static int copy_data(struct walk *w, int from, int to, off_t size)
{
    off_t at = 0, data_end;
    int r = file_truncate(to, size);

    while (r == 0 && at < size) {
        next_data(from, at, size, &at, &data_end);
        while (r == 0 && at < data_end) {
            size_t n = data_end - at < CHUNK ? (size_t)(data_end - at) : CHUNK;

            r = file_read_all(from, w->chunk, n, at);
            if (r == 0 && !all_zero(w->chunk, n))
                r = file_write_all(to, w->chunk, n, at);
            at += (off_t)n;
        }
    }
    return r == 0 ? file_fsync(to) : r;
}

/* A hard link to a segment is a backup (ternctl backup): what is to be changed gets a file of its
 * own first. The copy is durable before it takes the name. */
static int part_from_links(struct walk *w, struct log_segment *segment)
{
    struct log_segments *s = w->segments;
    char path[PATH_MAX];
    struct stat st;
    int fd, r;

    if (fstat(segment->fd, &st) < 0)
        return -errno;
    if (st.st_nlink <= 1)
        return 0;
    r = log_segments_path(s, segment->base, path);
    fd = r < 0 ? r : file_open(s->spare, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return fd;
    r = copy_data(w, segment->fd, fd, (off_t)s->bytes);
    if (r == 0)
        r = file_rename(s->spare, path);
    if (r == 0)
        r = file_sync_dir(s->dir);
    if (r < 0) {
        (void)file_close(fd);
        (void)file_unlink(s->spare);
        return r;
    }
    log_info("%s has other links, it was copied before its end is made zero", path);
    (void)file_close(segment->fd);
    segment->fd = fd;
    return 0;
}

/* Zeroes what is not, up to the end of `from`'s segment, and syncs it. `again`: also what reads as
 * zeroes, for they may be those of an earlier try, whose sync has failed. */
static int zero_rest(struct walk *w, uint64_t from, uint64_t to, bool again)
{
    struct log_piece piece;
    int r;

    w->each = zero_chunk;
    w->found_to = 0;
    w->zeroes = again;
    r = walk(w, from, to);
    if (r < 0 || w->found_to == 0)
        return r;
    r = log_segments_hold(w->segments, from, to, &piece);
    if (r == 0) {
        r = file_fdatasync(piece.fd);
        log_segments_let_go(w->segments, &piece);
    }
    if (r < 0)
        return err_set(w->err, r, "sync the zeroed end of the log at offset %" PRIu64, from);
    return 0;
}

static int cut(struct walk *w, uint64_t offset, bool again)
{
    struct log_segments *s = w->segments;
    uint64_t next = s->first + s->count * s->bytes;
    uint64_t segment_end;
    int r;

    r = save(w, offset, next);
    if (r < 0)
        return r;
    if (offset == next)
        return 0; /* the last segment is full: nothing behind it */
    r = log_segments_drop(s, (size_t)((offset - s->first) / s->bytes) + 1, w->err);
    if (r < 0)
        return r;
    segment_end = s->first + s->count * s->bytes;
    if (w->found_to > 0 || again) {
        r = part_from_links(w, s->at[s->count - 1]);
        if (r < 0)
            return err_set(w->err, r, "copy the last segment of %s, which has other links", s->dir);
        r = zero_rest(w, offset, segment_end, again);
        if (r < 0)
            return r;
    }
    /* RocketMQ's files may be sparse. Where the disk is full, appends wait for space. */
    r = log_segments_allocate(s, offset);
    if (r == -ENOSPC || r == -EDQUOT)
        return 0;
    if (r < 0)
        return err_set(w->err, r, "allocate the rest of the last segment of %s", s->dir);
    return 0;
}

int log_segments_cut(struct log_segments *s, uint64_t offset, const char *aside, bool again,
                     struct err *err)
{
    uint64_t next = s->first + s->count * s->bytes;
    struct walk w = {.segments = s, .aside = aside, .aside_fd = -1, .err = err};
    int r;

    if (s->count == 0 && offset % s->bytes == 0 && offset <= INT64_MAX - s->bytes) {
        s->first = offset;
        atomic_store(&s->min, offset);
        atomic_store(&s->limit, offset);
        return 0;
    }
    if (s->count == 0 || offset < s->first || offset > next)
        return err_say(err, -EINVAL,
                       "the log %s cannot end at offset %" PRIu64
                       ": its segments reach from %" PRIu64 " to %" PRIu64,
                       s->dir, offset, s->first, next);
    w.chunk = malloc(CHUNK);
    if (!w.chunk)
        return err_set(err, -ENOMEM, "end the log %s at offset %" PRIu64, s->dir, offset);
    r = cut(&w, offset, again);
    free(w.chunk);
    return r;
}

/* --- writing again --- */

static int rewrite_piece(const struct log_piece *piece, uint8_t *chunk)
{
    for (uint64_t done = 0; done < piece->bytes;) {
        size_t n = piece->bytes - done < CHUNK ? (size_t)(piece->bytes - done) : CHUNK;
        off_t at = piece->at + (off_t)done;
        int r = file_read_all(piece->fd, chunk, n, at);

        if (r == 0)
            r = file_write_all(piece->fd, chunk, n, at);
        if (r < 0)
            return r;
        done += n;
    }
    return file_fdatasync(piece->fd);
}

int log_segments_rewrite(struct log_segments *s, uint64_t from, uint64_t to, struct err *err)
{
    uint8_t *chunk = malloc(CHUNK);
    int r = chunk ? 0 : -ENOMEM;

    while (r == 0 && from < to) {
        struct log_piece piece;
        r = log_segments_hold(s, from, to, &piece);
        if (r < 0)
            break;
        r = rewrite_piece(&piece, chunk);
        log_segments_let_go(s, &piece);
        if (r == 0)
            from += piece.bytes;
    }
    free(chunk);
    if (r < 0)
        return err_set(err, r, "write the log %s again from offset %" PRIu64 " to %" PRIu64, s->dir,
                       from, to);
    return 0;
}
