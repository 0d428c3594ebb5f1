/* log_fixture.h - a commit log in a folder of its own, over a table of system calls that can be
 * told to fail. Check runs each test in a process of its own, so plain variables will do.
 */
#ifndef TERN_TESTS_LOG_FIXTURE_H
#define TERN_TESTS_LOG_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/commit_log.h"
#include "common/file.h"
#include "files.h"
#include "unit.h"

enum { SEGMENT = 32768, TAIL = 65536, RECORD_MAX = 16384, DEADLINE_MS = 60000 };

/* --- system calls that fail on demand --- */

static struct {
    int pwritev_calls;
    int pwritev_fails_at; /* which call, from 1; 0: none */
    int pwritev_errno;
    size_t pwritev_most; /* bytes that one call takes; 0: all */
    int pwrite_errno;
    int fdatasync_calls, fdatasync_errno;
    int fallocate_calls, fallocate_errno;
    int fsync_errno, rename_errno, unlink_errno, ftruncate_errno;
    int preadv2_calls;
    ssize_t preadv2_result; /* 0: the system's; else a count or -errno */
    uint64_t range_from, range_to;
    int range_calls;
    char trace[1024]; /* what was called, in order */
    void (*during)(
        void); /* runs once, inside the next pwritev or fdatasync: another thread's doing */
} disk;

static inline void note(const char *what)
{
    size_t n = strlen(disk.trace);

    snprintf(disk.trace + n, sizeof(disk.trace) - n, "%s ", what);
}

static inline void meanwhile(void)
{
    void (*during)(void) = disk.during;

    disk.during = NULL;
    if (during)
        during();
}

static inline int denied(int e)
{
    errno = e;
    return -1;
}

static inline ssize_t disk_pwrite(int fd, const void *from, size_t n, off_t at)
{
    note("pwrite");
    return disk.pwrite_errno ? denied(disk.pwrite_errno) : pwrite(fd, from, n, at);
}

static inline ssize_t disk_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    disk.pwritev_calls++;
    meanwhile();
    if (disk.pwritev_calls == disk.pwritev_fails_at)
        return denied(disk.pwritev_errno);
    if (disk.pwritev_most > 0 && iov[0].iov_len > disk.pwritev_most)
        return pwrite(fd, iov[0].iov_base, disk.pwritev_most, at);
    return pwritev(fd, iov, n, at);
}

static inline ssize_t disk_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    disk.preadv2_calls++;
    ck_assert_int_eq(flags, RWF_NOWAIT);
    if (disk.preadv2_result < 0)
        return denied((int)-disk.preadv2_result);
    if (disk.preadv2_result > 0)
        return disk.preadv2_result;
    return preadv2(fd, iov, n, at, flags);
}

static inline int disk_fsync(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    note(S_ISDIR(st.st_mode) ? "syncdir" : "fsync");
    return disk.fsync_errno ? denied(disk.fsync_errno) : fsync(fd);
}

static inline int disk_fdatasync(int fd)
{
    disk.fdatasync_calls++;
    meanwhile();
    note("fdatasync");
    return disk.fdatasync_errno ? denied(disk.fdatasync_errno) : fdatasync(fd);
}

static inline int disk_sync_range(int fd, off_t at, off_t n, unsigned flags)
{
    (void)fd;
    ck_assert_uint_eq(flags, SYNC_FILE_RANGE_WRITE);
    disk.range_calls++;
    disk.range_from = (uint64_t)at;
    disk.range_to = (uint64_t)(at + n);
    return 0;
}

static inline int disk_fallocate(int fd, int mode, off_t at, off_t n)
{
    disk.fallocate_calls++;
    note("allocate");
    return disk.fallocate_errno ? denied(disk.fallocate_errno) : fallocate(fd, mode, at, n);
}

static inline int disk_ftruncate(int fd, off_t n)
{
    note("truncate");
    return disk.ftruncate_errno ? denied(disk.ftruncate_errno) : ftruncate(fd, n);
}

static inline int disk_rename(const char *from, const char *to)
{
    note("rename");
    return disk.rename_errno ? denied(disk.rename_errno) : rename(from, to);
}

static inline int disk_unlink(const char *path)
{
    int r = disk.unlink_errno ? denied(disk.unlink_errno) : unlink(path);

    if (r == 0)
        note("unlink");
    return r;
}

/* --- a log in a folder --- */

static char root[256], log_dir[300], spare_dir[300];
static pthread_mutex_t append_lock = PTHREAD_MUTEX_INITIALIZER;
static struct commit_log *the_log;
static struct err err;

static inline void set_up(void)
{
    static struct file_ops ops;
    const char *tmp = getenv("TMPDIR");

    memset(&disk, 0, sizeof(disk));
    ops = file_ops_system;
    ops.pwrite = disk_pwrite;
    ops.pwritev = disk_pwritev;
    ops.preadv2 = disk_preadv2;
    ops.fsync = disk_fsync;
    ops.fdatasync = disk_fdatasync;
    ops.sync_file_range = disk_sync_range;
    ops.fallocate = disk_fallocate;
    ops.ftruncate = disk_ftruncate;
    ops.rename = disk_rename;
    ops.unlink = disk_unlink;
    file_ops_set(&ops);
    snprintf(root, sizeof(root), "%s/tern-log-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(log_dir, sizeof(log_dir), "%s/commitlog", root);
    snprintf(spare_dir, sizeof(spare_dir), "%s/tern", root);
    ck_assert_int_eq(mkdir(log_dir, 0755), 0);
    ck_assert_int_eq(mkdir(spare_dir, 0755), 0);
}

static inline void tear_down(void)
{
    the_log = commit_log_close(the_log);
    remove_tree(root);
}

static inline struct commit_log_options options(void)
{
    return (struct commit_log_options){
        .dir = log_dir,
        .spare_dir = spare_dir,
        .segment_bytes = SEGMENT,
        .tail_bytes = TAIL,
        .record_max = RECORD_MAX,
        .append_lock = &append_lock,
    };
}

static inline int try_open(void)
{
    struct commit_log_options o = options();

    ck_assert_ptr_null(the_log);
    return commit_log_open(&the_log, &o, &err);
}

static inline void open_log(void)
{
    ck_assert_msg(try_open() == 0, "%s", err.text);
}

/* An empty log with its first segment; the trace is empty. */
static inline void open_ready(void)
{
    open_log();
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    memset(&disk, 0, sizeof(disk));
}

static inline void set_end(uint64_t offset, const char *aside)
{
    ck_assert_msg(commit_log_set_end(the_log, offset, aside, &err) == 0, "%s", err.text);
}

static const char *segment_path(uint64_t base)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s/%020" PRIu64, log_dir, base);
    return path;
}

/* The byte that a test's record has at a log offset. Never 0. */
static inline uint8_t pattern(uint64_t offset)
{
    return (uint8_t)(offset * 2654435761u >> 11) | 1;
}

static inline int reserve(size_t size, uint8_t **at, uint64_t *offset)
{
    pthread_mutex_lock(&append_lock);
    int r = commit_log_reserve(the_log, size, at, offset);
    pthread_mutex_unlock(&append_lock);
    return r;
}

/* Appends a record of patterned bytes, making segments and room as needed; returns its offset. */
static inline uint64_t append(size_t size)
{
    uint64_t offset;
    uint8_t *at;
    int r;

    for (;;) {
        pthread_mutex_lock(&append_lock);
        r = commit_log_reserve(the_log, size, &at, &offset);
        if (r == 0) {
            for (size_t i = 0; i < size; i++)
                at[i] = pattern(offset + i);
            commit_log_commit(the_log, size);
        }
        pthread_mutex_unlock(&append_lock);
        if (r == 0)
            return offset;
        if (r == COMMIT_LOG_NEED_SEGMENT)
            r = commit_log_prepare(the_log);
        else if (r == COMMIT_LOG_TAIL_FULL)
            r = commit_log_write(the_log);
        ck_assert_int_ge(r, 0);
    }
}

static inline void write_log(void)
{
    ck_assert_int_ge(commit_log_write(the_log), 0);
    ck_assert_uint_eq(commit_log_written(the_log), commit_log_end(the_log));
}

/* Fills the log up to exactly `offset`; the segment before, if there is one, ends in a bare blank.
 */
static inline void append_up_to(uint64_t offset)
{
    while (commit_log_end(the_log) < offset) {
        uint64_t from = commit_log_end(the_log);
        uint64_t left = offset - (from % SEGMENT == SEGMENT - 8 ? from + 8 : from);
        append(left < RECORD_MAX ? left : RECORD_MAX);
    }
    ck_assert_uint_eq(commit_log_end(the_log), offset);
}

static inline void load(const char *path, uint8_t *to, size_t n, off_t at)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    ck_assert_msg(fd >= 0, "no %s", path);
    ck_assert_int_eq(pread(fd, to, n, at), (ssize_t)n);
    close(fd);
}

static inline void is_pattern(const uint8_t *at, uint64_t offset, size_t n)
{
    size_t i = 0;

    while (i < n && at[i] == pattern(offset + i))
        i++;
    ck_assert_msg(i == n, "byte %" PRIu64 " is %02x", offset + i, i < n ? at[i] : 0);
}

static inline void is_zero(const uint8_t *at, size_t n)
{
    size_t i = 0;

    while (i < n && at[i] == 0)
        i++;
    ck_assert_msg(i == n, "byte %zu of %zu is %02x", i, n, i < n ? at[i] : 0);
}

static inline int files_in(const char *dir)
{
    struct file_list list;
    int count;

    ck_assert_int_eq(file_list(dir, &list), 0);
    count = (int)list.count;
    file_list_free(&list);
    return count;
}

static inline void put_file(const char *path, const void *bytes, size_t n, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, size), 0);
    ck_assert_int_eq(pwrite(fd, bytes, n, 0), (ssize_t)n);
    close(fd);
}

#endif
