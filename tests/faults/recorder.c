/* recorder.c - see recorder.h. */
#include "recorder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/store.h"
#include "common/file.h"
#include "random.h"
#include "turns.h"

enum { FDS_MAX = 1024, PATH_SIZE = 256, SLOW_MS = 5000 };

static char root[PATH_MAX];
static size_t root_len;
static struct disk *disk;
static enum plant plant;
static bool dead, opening;

static struct {
    enum fault_kind kind;
    uint64_t first, count, calls;
    char call[PATH_SIZE + 32], path[PATH_SIZE];
    bool opening;
} fault;

/* What a descriptor means: the path it was opened by, below the root. */
static struct {
    bool known;
    uint32_t inode;
    char path[PATH_SIZE];
} fds[FDS_MAX];

/* --- names --- */

static const char *const fault_names[FAULT_KINDS] = {
    [FAULT_NONE] = "none",   [FAULT_EIO] = "eio",        [FAULT_NO_SPACE] = "enospc",
    [FAULT_SHORT] = "short", [FAULT_EMFILE] = "emfile",  [FAULT_SLOW] = "slow",
    [FAULT_SYNC] = "sync",   [FAULT_SYNC_FS] = "syncfs",
};

const char *fault_name(enum fault_kind kind)
{
    return fault_names[kind];
}

static const char *const plant_names[PLANTS] = {
    [PLANT_NOTHING] = "nothing",
    [PLANT_EARLY_ANSWER] = "early-answer",
    [PLANT_LOG_FOLDER] = "log-folder",
    [PLANT_TORN_TAIL] = "torn-tail",
    [PLANT_NEW_SEGMENT] = "new-segment",
    [PLANT_QUEUES] = "queues",
    [PLANT_JOURNAL] = "journal",
    [PLANT_META_FOLDER] = "meta-folder",
    [PLANT_SNAPSHOT] = "snapshot",
    [PLANT_ABORT] = "abort",
    [PLANT_LOG] = "log",
    [PLANT_MARK] = "mark",
    [PLANT_TERN_FOLDER] = "tern-folder",
    [PLANT_REWRITE] = "rewrite",
    [PLANT_CONFIG] = "config",
};

const char *plant_name(enum plant p)
{
    return plant_names[p];
}

enum plant plant_parse(const char *name)
{
    int p = 0;

    while (p < PLANTS && strcmp(plant_names[p], name) != 0)
        p++;
    return (enum plant)p;
}

/* The path below the root, NULL when it is elsewhere. */
static const char *below(const char *path)
{
    if (strncmp(path, root, root_len) != 0 || (path[root_len] != '/' && path[root_len] != '\0'))
        return NULL;
    path += root_len;
    while (*path == '/')
        path++;
    return path;
}

static bool known(int fd)
{
    return fd >= 0 && fd < FDS_MAX && fds[fd].known;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What a file is called now, which for a segment is not how it was opened. */
static const char *name_now(int fd)
{
    static char path[PATH_SIZE];

    if (!disk || fds[fd].inode == DISK_NOBODY)
        return fds[fd].path;
    disk_path(disk, fds[fd].inode, path, sizeof(path));
    return path;
}

/* --- faults --- */

static bool is_sync(const char *call)
{
    return strcmp(call, "fsync") == 0 || strcmp(call, "fdatasync") == 0 ||
           strcmp(call, "syncfs") == 0;
}

/* `grows`: the call takes room on the disk. */
static bool concerns(const char *call, bool grows)
{
    switch (fault.kind) {
    case FAULT_EIO:
        return true;
    case FAULT_NO_SPACE:
        return grows;
    case FAULT_SHORT:
        return strcmp(call, "write") == 0;
    case FAULT_EMFILE:
        return strcmp(call, "open") == 0 || strcmp(call, "reopen") == 0;
    case FAULT_SLOW:
    case FAULT_SYNC:
        return is_sync(call);
    case FAULT_SYNC_FS:
        return strcmp(call, "syncfs") == 0;
    default:
        return false;
    }
}

/* True when this call is to fail (to be short, to take long). */
static bool fails(const char *call, const char *path, bool grows)
{
    if (!concerns(call, grows))
        return false;
    fault.calls++;
    if (fault.calls < fault.first || fault.calls - fault.first >= fault.count)
        return false;
    if (!fault.call[0]) {
        snprintf(fault.call, sizeof(fault.call), "%s %s", call, path);
        snprintf(fault.path, sizeof(fault.path), "%s", path);
        fault.opening = opening;
    }
    return true;
}

static int fault_errno(void)
{
    return fault.kind == FAULT_NO_SPACE ? ENOSPC : fault.kind == FAULT_EMFILE ? EMFILE : EIO;
}

static int fail_with(int number)
{
    errno = number;
    return -1;
}

void recorder_fault(enum fault_kind kind, uint64_t first, uint64_t count)
{
    memset(&fault, 0, sizeof(fault));
    fault.kind = kind;
    fault.first = first;
    fault.count = count;
}

void recorder_fault_over(void)
{
    fault.kind = FAULT_NONE;
}

uint64_t recorder_fault_calls(void)
{
    return fault.calls;
}

const char *recorder_failed(void)
{
    return fault.call;
}

const char *recorder_failed_path(void)
{
    return fault.path;
}

bool recorder_failed_opening(void)
{
    return fault.opening;
}

/* --- the calls --- */

/* A call takes its time; others may have their turn, and the process may die meanwhile. */
static bool lives(int64_t us)
{
    if (dead)
        return false;
    turns_spend_us(us);
    turns_point();
    return !dead;
}

static int op_open(const char *path, int flags, mode_t mode)
{
    const char *at = below(path), *name;
    uint32_t folder, inode = DISK_NOBODY;
    int fd;

    if (!at)
        return open(path, flags, mode);
    if (!lives(5) && (flags & (O_CREAT | O_TRUNC)))
        return fail_with(EIO);
    if (disk)
        inode = disk_find(disk, at, &folder, &name);
    if (!dead && fails(flags & O_CREAT ? "open" : "reopen", at,
                       (flags & O_CREAT) && access(path, F_OK) != 0))
        return fail_with(fault_errno());
    fd = open(path, flags, mode);
    if (fd < 0)
        return fd;
    assert(fd < FDS_MAX);
    if (disk && inode == DISK_NOBODY && !dead)
        inode = disk_make(disk, folder, name, false);
    else if (disk && !dead && (flags & O_TRUNC))
        disk_size(disk, inode, 0, false);
    fds[fd].known = true;
    fds[fd].inode = inode;
    snprintf(fds[fd].path, sizeof(fds[fd].path), "%s", at);
    return fd;
}

static int op_close(int fd)
{
    if (known(fd))
        fds[fd].known = false;
    return close(fd);
}

static ssize_t op_pread(int fd, void *to, size_t n, off_t at)
{
    if (known(fd) && !dead && fails("read", name_now(fd), false))
        return fail_with(fault_errno());
    return pread(fd, to, n, at);
}

static ssize_t op_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    if (known(fd) && !dead && fails("read", name_now(fd), false))
        return fail_with(fault_errno());
    return preadv2(fd, iov, n, at, flags);
}

static bool all_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

static ssize_t op_pwrite(int fd, const void *from, size_t n, off_t at)
{
    ssize_t put;

    if (!known(fd))
        return pwrite(fd, from, n, at);
    if (!lives(10))
        return fail_with(EIO);
    if (plant == PLANT_TORN_TAIL && starts(name_now(fd), "commitlog/") && all_zero(from, n))
        return (ssize_t)n;
    if (fails("write", name_now(fd), true)) {
        if (fault.kind != FAULT_SHORT)
            return fail_with(fault_errno());
        n = n > 1 ? n / 2 : n;
    }
    put = pwrite(fd, from, n, at);
    if (put > 0 && disk)
        disk_write(disk, fds[fd].inode, (uint64_t)at, from, (size_t)put);
    return put;
}

/* In pieces: what a crash finds is the same, and the model knows only one. */
static ssize_t op_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    size_t total = 0;
    uint8_t *all;
    ssize_t put;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    all = malloc(total ? total : 1);
    if (!all)
        return fail_with(ENOMEM);
    total = 0;
    for (int i = 0; i < n; i++) {
        memcpy(all + total, iov[i].iov_base, iov[i].iov_len);
        total += iov[i].iov_len;
    }
    put = op_pwrite(fd, all, total, at);
    free(all);
    return put;
}

/* A sync that a planted mistake leaves out. */
static bool left_out(int fd)
{
    const char *name = name_now(fd);

    switch (plant) {
    case PLANT_LOG_FOLDER:
        return strcmp(name, "commitlog") == 0;
    case PLANT_NEW_SEGMENT:
        return strcmp(name, "tern/segment.new") == 0;
    case PLANT_JOURNAL:
        return starts(name, "tern/meta/journal-");
    case PLANT_META_FOLDER:
        return strcmp(name, "tern/meta") == 0;
    case PLANT_SNAPSHOT:
        return starts(name, "tern/meta/snapshot-");
    case PLANT_ABORT:
        return strcmp(name, ".") == 0;
    case PLANT_LOG:
        return starts(name, "commitlog/");
    case PLANT_REWRITE:
        return opening && starts(name, "commitlog/");
    case PLANT_MARK:
        return strcmp(name, "tern/flushed") == 0;
    case PLANT_TERN_FOLDER:
        return strcmp(name, "tern") == 0;
    case PLANT_CONFIG:
        return starts(name, "config");
    default:
        return false;
    }
}

static int sync_one(int fd, const char *call, bool all)
{
    if (!known(fd))
        return 0;
    if (!lives(200))
        return fail_with(EIO);
    if (fails(call, all ? "" : name_now(fd), false)) {
        if (fault.kind == FAULT_SLOW) {
            turns_sleep_ms(SLOW_MS);
        } else {
            if (disk)
                disk_sync_failed(disk, all ? DISK_NOBODY : fds[fd].inode,
                                 random_of(fault.first, fault.kind, disk_events(disk)));
            return fail_with(EIO);
        }
    }
    if (disk && !(all ? plant == PLANT_QUEUES : left_out(fd)))
        disk_sync(disk, all ? DISK_NOBODY : fds[fd].inode);
    return 0;
}

static int op_fsync(int fd)
{
    return sync_one(fd, "fsync", false);
}

static int op_fdatasync(int fd)
{
    return sync_one(fd, "fdatasync", false);
}

static int op_syncfs(int fd)
{
    return sync_one(fd, "syncfs", true);
}

static int op_sync_file_range(int fd, off_t at, off_t n, unsigned flags)
{
    (void)at;
    (void)n;
    (void)flags;
    if (dead)
        return fail_with(EIO);
    if (known(fd) && fails("sync_file_range", name_now(fd), false))
        return fail_with(fault_errno());
    return 0; /* a promise of nothing */
}

static int op_fallocate(int fd, int mode, off_t at, off_t n)
{
    int r;

    if (!known(fd))
        return fallocate(fd, mode, at, n);
    if (!lives(20))
        return fail_with(EIO);
    if (fails("fallocate", name_now(fd), !(mode & FALLOC_FL_PUNCH_HOLE)))
        return fail_with(fault_errno());
    r = fallocate(fd, mode, at, n);
    if (r == 0 && disk && (mode & FALLOC_FL_PUNCH_HOLE))
        disk_zero(disk, fds[fd].inode, (uint64_t)at, (size_t)n);
    else if (r == 0 && disk)
        disk_size(disk, fds[fd].inode, (uint64_t)(at + n), true);
    return r;
}

static int op_ftruncate(int fd, off_t n)
{
    int r;

    if (!known(fd))
        return ftruncate(fd, n);
    if (!lives(10))
        return fail_with(EIO);
    if (fails("ftruncate", name_now(fd), false))
        return fail_with(fault_errno());
    r = ftruncate(fd, n);
    if (r == 0 && disk)
        disk_size(disk, fds[fd].inode, (uint64_t)n, false);
    return r;
}

static int op_rename(const char *from, const char *to)
{
    const char *a = below(from), *b = below(to), *name, *to_name;
    uint32_t folder = DISK_NOBODY, to_folder = DISK_NOBODY;
    int r;

    if (!a || !b)
        return rename(from, to);
    if (!lives(10))
        return fail_with(EIO);
    if (fails("rename", a, true))
        return fail_with(fault_errno());
    r = rename(from, to);
    if (r == 0 && disk) {
        disk_find(disk, a, &folder, &name);
        disk_find(disk, b, &to_folder, &to_name);
        disk_rename(disk, folder, name, to_folder, to_name);
    }
    return r;
}

static int op_unlink(const char *path)
{
    const char *at = below(path), *name;
    uint32_t folder;
    int r;

    if (!at)
        return unlink(path);
    if (!lives(10))
        return fail_with(EIO);
    if (access(path, F_OK) == 0 && fails("unlink", at, false))
        return fail_with(fault_errno());
    r = unlink(path);
    if (r == 0 && disk) {
        disk_find(disk, at, &folder, &name);
        disk_remove(disk, folder, name);
    }
    return r;
}

static int op_mkdir(const char *path, mode_t mode)
{
    const char *at = below(path), *name;
    uint32_t folder;
    int r;

    if (!at)
        return mkdir(path, mode);
    if (!lives(10))
        return fail_with(EIO);
    if (access(path, F_OK) != 0 && fails("mkdir", at, true))
        return fail_with(fault_errno());
    r = mkdir(path, mode);
    if (r == 0 && disk) {
        disk_find(disk, at, &folder, &name);
        disk_make(disk, folder, name, true);
    }
    return r;
}

static int op_rmdir(const char *path)
{
    const char *at = below(path), *name;
    uint32_t folder;
    int r;

    if (!at)
        return rmdir(path);
    if (!lives(10))
        return fail_with(EIO);
    if (fails("rmdir", at, false))
        return fail_with(fault_errno());
    r = rmdir(path);
    if (r == 0 && disk) {
        disk_find(disk, at, &folder, &name);
        disk_remove(disk, folder, name);
    }
    return r;
}

static const struct file_ops recording = {
    .open = op_open,
    .close = op_close,
    .pread = op_pread,
    .preadv2 = op_preadv2,
    .pwrite = op_pwrite,
    .pwritev = op_pwritev,
    .fsync = op_fsync,
    .fdatasync = op_fdatasync,
    .syncfs = op_syncfs,
    .sync_file_range = op_sync_file_range,
    .fallocate = op_fallocate,
    .ftruncate = op_ftruncate,
    .rename = op_rename,
    .unlink = op_unlink,
    .mkdir = op_mkdir,
    .rmdir = op_rmdir,
};

void recorder_begin(const char *folder, struct disk *to, enum plant planted)
{
    snprintf(root, sizeof(root), "%s", folder);
    root_len = strlen(root);
    disk = to;
    plant = planted;
    dead = opening = false;
    memset(fds, 0, sizeof(fds));
    recorder_fault(FAULT_NONE, 0, 0);
    file_ops_set(&recording);
}

void recorder_end(void)
{
    file_ops_set(NULL);
    disk = NULL;
    plant = PLANT_NOTHING;
    dead = false;
}

void recorder_opening(bool is_opening)
{
    opening = is_opening;
}

void recorder_dead(bool is_dead)
{
    dead = is_dead;
}

/* --- the answer that comes too early --- */

uint64_t __real_store_confirmed(const struct store *s);
uint64_t __wrap_store_confirmed(const struct store *s);

uint64_t __wrap_store_confirmed(const struct store *s)
{
    return plant == PLANT_EARLY_ANSWER ? store_written(s) : __real_store_confirmed(s);
}
