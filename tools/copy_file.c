/* copy_file.c - see copy_file.h. */
#include "tools/copy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/file.h"

enum { CHUNK = 1 << 20 };

/* [at, end) of the two files, in the kernel where that is possible. */
static int copy_range(int from, int to, off_t at, off_t end)
{
    uint8_t *chunk;
    int r = 0;

    while (at < end) {
        off_t in = at, out = at;
        ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

        if (n == 0)
            return -ESTALE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        at += n;
    }
    if (at == end)
        return 0;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -errno;
    chunk = malloc(CHUNK);
    if (!chunk)
        return -ENOMEM;
    while (r == 0 && at < end) {
        size_t n = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        r = file_read_all(from, chunk, n, at);
        if (r == 0)
            r = file_write_all(to, chunk, n, at);
        at += (off_t)n;
    }
    free(chunk);
    return r == -ENODATA ? -ESTALE : r;
}

static int copy_bytes(int from, int to, off_t upto, int64_t *data_bytes)
{
    off_t at = 0;

    while (at < upto) {
        off_t data = lseek(from, at, SEEK_DATA), end;
        int r;

        if (data < 0 && errno == ENXIO)
            return 0;
        if (data >= 0)
            at = data;
        end = data < 0 ? upto : lseek(from, at, SEEK_HOLE);
        if (end < 0 || end > upto)
            end = upto;
        if (at >= end)
            return 0;
        r = copy_range(from, to, at, end);
        if (r < 0)
            return r;
        *data_bytes += end - at;
        at = end;
    }
    return 0;
}

static int fill(const struct copy_request *q, int from, int to, const struct stat *st,
                struct copy_result *result)
{
    off_t upto = q->upto >= 0 && q->upto < st->st_size ? (off_t)q->upto : st->st_size;
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    struct stat now;
    int r;

    result->way = COPY_REFLINK;
    if (q->only_bytes || upto < st->st_size || ioctl(to, FICLONE, from) < 0) {
        result->way = COPY_BYTES;
        r = copy_bytes(from, to, upto, &result->data);
        if (r == 0)
            r = file_truncate(to, st->st_size);
        if (r < 0)
            return r;
    }
    /* A deletion shortens a file, so what is whole now was whole before. */
    if (fstat(from, &now) < 0)
        return -errno;
    if (now.st_size < st->st_size)
        return -ESTALE;
    return futimens(to, times) < 0 ? -errno : 0;
}

static int copy_content(const struct copy_request *q, int from, const struct stat *st,
                        struct copy_result *result)
{
    int to = file_open(q->to, O_WRONLY | O_CREAT | O_EXCL, st->st_mode & 0777), r, closed;

    if (to < 0)
        return to;
    r = fill(q, from, to, st, result);
    closed = file_close(to);
    if (r == 0)
        r = closed;
    if (r < 0)
        (void)file_unlink(q->to);
    return r;
}

/* Whether the two file systems can share blocks is asked with an empty file, so that a link need
 * not wait for a copy. */
static bool can_reflink(const char *to, int from)
{
    int fd = file_open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    bool can;

    if (fd < 0)
        return false;
    can = ioctl(fd, FICLONE, from) == 0;
    (void)file_close(fd);
    (void)file_unlink(to);
    return can;
}

int copy_file(const struct copy_request *q, struct copy_result *result)
{
    int from = file_open(q->from, O_RDONLY, 0), r = 0;
    struct stat st;

    *result = (struct copy_result){.way = COPY_BYTES};
    if (from < 0)
        return from;
    if (fstat(from, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    result->size = r == 0 ? st.st_size : 0;
    if (r == 0 && q->may_link && !q->only_bytes && q->upto < 0 && !can_reflink(q->to, from)) {
        if (link(q->from, q->to) == 0) {
            result->way = COPY_LINK;
            (void)file_close(from);
            return 0;
        }
        r = errno == ENOENT || errno == EEXIST ? -errno : 0; /* else: another disk, no links */
    }
    if (r == 0)
        r = copy_content(q, from, &st, result);
    (void)file_close(from);
    return r;
}
