/* file.c - system calls made dependable: interruptions repeated, short counts continued, errors
 * as -errno; and the few compositions (replace, make folders, lock) whose order of steps matters.
 */
#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sendfile.h>
#include <unistd.h>

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static ssize_t system_sendfile(int socket, int fd, off_t at, size_t n)
{
    return sendfile(socket, fd, &at, n);
}

const struct file_ops file_ops_system = {
    .open = system_open,
    .close = close,
    .pread = pread,
    .preadv2 = preadv2,
    .pwrite = pwrite,
    .pwritev = pwritev,
    .sendfile = system_sendfile,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .syncfs = syncfs,
    .sync_file_range = sync_file_range,
    .fallocate = fallocate,
    .ftruncate = ftruncate,
    .rename = rename,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
};

/* Set before the first file is opened, constant from then on: needs no lock. */
static const struct file_ops *ops = &file_ops_system;

void file_ops_set(const struct file_ops *replacement)
{
    ops = replacement ? replacement : &file_ops_system;
}

/* The result of a system call, as this layer's callers see it. */
static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

int file_open(const char *path, int flags, mode_t mode)
{
    return result(TEMP_FAILURE_RETRY(ops->open(path, flags | O_CLOEXEC, mode)));
}

int file_close(int fd)
{
    /* Linux has released the descriptor even when it says EINTR; closing again could hit another
     * thread's file. */
    if (ops->close(fd) != 0 && errno != EINTR)
        return -errno;
    return 0;
}

ssize_t file_pread(int fd, void *to, size_t n, off_t at)
{
    ssize_t got = TEMP_FAILURE_RETRY(ops->pread(fd, to, n, at));

    return got < 0 ? -errno : got;
}

ssize_t file_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    ssize_t got = TEMP_FAILURE_RETRY(ops->preadv2(fd, iov, n, at, flags));

    return got < 0 ? -errno : got;
}

ssize_t file_send(int socket, int fd, off_t at, size_t n)
{
    ssize_t sent = TEMP_FAILURE_RETRY(ops->sendfile(socket, fd, at, n));

    return sent < 0 ? -errno : sent;
}

int file_read_all(int fd, void *to, size_t n, off_t at)
{
    uint8_t *p = to;

    while (n > 0) {
        ssize_t got = file_pread(fd, p, n, at);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return -ENODATA;
        p += got;
        at += got;
        n -= (size_t)got;
    }
    return 0;
}

int file_write_all(int fd, const void *from, size_t n, off_t at)
{
    const uint8_t *p = from;

    while (n > 0) {
        ssize_t put = TEMP_FAILURE_RETRY(ops->pwrite(fd, p, n, at));
        if (put < 0)
            return -errno;
        if (put == 0)
            return -EIO; /* no progress and no reason: do not spin */
        p += put;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

int file_writev_all(int fd, struct iovec *iov, int n, off_t at, uint64_t *written)
{
    uint64_t total = 0;
    int r = 0;

    while (n > 0) {
        if (iov->iov_len == 0) {
            iov++;
            n--;
            continue;
        }
        int batch = n < IOV_MAX ? n : IOV_MAX;
        ssize_t put = TEMP_FAILURE_RETRY(ops->pwritev(fd, iov, batch, at + (off_t)total));
        if (put <= 0) {
            r = put < 0 ? -errno : -EIO;
            break;
        }
        total += (uint64_t)put;
        while (put > 0) {
            size_t used = iov->iov_len < (size_t)put ? iov->iov_len : (size_t)put;
            iov->iov_base = (uint8_t *)iov->iov_base + used;
            iov->iov_len -= used;
            put -= (ssize_t)used;
            if (iov->iov_len == 0) {
                iov++;
                n--;
            }
        }
    }
    if (written)
        *written = total;
    return r;
}

int file_fsync(int fd)
{
    return result(TEMP_FAILURE_RETRY(ops->fsync(fd)));
}

int file_fdatasync(int fd)
{
    return result(TEMP_FAILURE_RETRY(ops->fdatasync(fd)));
}

int file_syncfs(int fd)
{
    return result(TEMP_FAILURE_RETRY(ops->syncfs(fd)));
}

int file_sync_range(int fd, off_t at, off_t n, unsigned flags)
{
    return result(TEMP_FAILURE_RETRY(ops->sync_file_range(fd, at, n, flags)));
}

int file_fallocate(int fd, int mode, off_t at, off_t n)
{
    int r = result(TEMP_FAILURE_RETRY(ops->fallocate(fd, mode, at, n)));

    return r == -ENOSYS ? -EOPNOTSUPP : r;
}

int file_truncate(int fd, off_t n)
{
    return result(TEMP_FAILURE_RETRY(ops->ftruncate(fd, n)));
}

int file_rename(const char *from, const char *to)
{
    return result(ops->rename(from, to));
}

int file_unlink(const char *path)
{
    return result(ops->unlink(path));
}

int file_rmdir(const char *path)
{
    return result(ops->rmdir(path));
}

/* 0: made; 1: a folder was there already. */
static int make_dir(const char *path)
{
    struct stat st;

    if (ops->mkdir(path, 0755) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (stat(path, &st) != 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 1 : -ENOTDIR;
}

int file_mkdir(const char *path)
{
    int r = make_dir(path);

    return r < 0 ? r : 0;
}

int file_mkdirs(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    int r;

    if (len == 0)
        return -ENOENT;
    if (len >= sizeof(part))
        return -ENAMETOOLONG;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        if (path[i - 1] == '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        r = make_dir(part);
        if (r == 0) {
            r = file_sync_parent(part);
            if (r < 0)
                (void)ops->rmdir(part); /* else the next try would take it for there to stay */
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int file_size(int fd, int64_t *out)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -errno;
    *out = st.st_size;
    return 0;
}

int file_stat(const char *path, struct stat *out)
{
    return stat(path, out) == 0 ? 0 : -errno;
}

int file_space(const char *path, struct file_space *out)
{
    struct statvfs s;

    if (statvfs(path, &s) != 0)
        return -errno;
    *out = (struct file_space){
        .total = (uint64_t)s.f_blocks * s.f_frsize,
        .used = (uint64_t)(s.f_blocks - s.f_bfree) * s.f_frsize,
        .usable = (uint64_t)s.f_bavail * s.f_frsize,
    };
    return 0;
}

int file_sync_dir(const char *path)
{
    int fd = file_open(path, O_RDONLY | O_DIRECTORY, 0);
    int r, closed;

    if (fd < 0)
        return fd;
    r = file_fsync(fd);
    if (r == -EINVAL)
        r = 0; /* a file system without an fsync for folders */
    closed = file_close(fd);
    return r < 0 ? r : closed;
}

int file_sync_parent(const char *path)
{
    char dir[PATH_MAX];
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0)
        return file_sync_dir(".");
    if (len >= sizeof(dir))
        return -ENAMETOOLONG;
    memcpy(dir, path, len);
    dir[len] = '\0';
    return file_sync_dir(dir);
}

/* Reads to the end of the file rather than to its size: what stat says may be old or, in /proc,
 * zero. The limit bounds the memory either way. */
static int read_to_end(int fd, size_t limit, struct buf *out)
{
    size_t total = 0, chunk = 4096;
    int64_t size;
    int r = file_size(fd, &size);

    if (r < 0)
        return r;
    if (size > 0 && (uint64_t)size > limit)
        return -EFBIG;
    if (size > 0)
        chunk = (size_t)size + 1;
    for (;;) {
        uint8_t *to = buf_reserve(out, chunk);
        if (!to)
            return -ENOMEM;
        ssize_t got = file_pread(fd, to, chunk, (off_t)total);
        if (got < 0)
            return (int)got;
        if (got == 0)
            return 0;
        if ((size_t)got > limit - total)
            return -EFBIG;
        total += (size_t)got;
        out->len += (size_t)got;
        chunk = 65536;
    }
}

int file_load(const char *path, size_t limit, struct buf *out)
{
    size_t len_before = out->len;
    int fd = file_open(path, O_RDONLY, 0);
    int r;

    if (fd < 0)
        return fd;
    r = read_to_end(fd, limit, out);
    if (r < 0)
        out->len = len_before;
    file_close(fd);
    return r;
}

static int write_synced(const char *path, mode_t mode, struct bytes content, struct err *err)
{
    int fd = file_open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    int r, closed;

    if (fd < 0)
        return err_set(err, fd, "create %s", path);
    r = file_write_all(fd, content.at, content.len, 0);
    if (r < 0) {
        err_set(err, r, "write %zu bytes to %s", content.len, path);
    } else {
        r = file_fsync(fd);
        if (r < 0)
            err_set(err, r, "sync %s", path);
    }
    closed = file_close(fd);
    if (r == 0 && closed < 0)
        r = err_set(err, closed, "close %s", path);
    return r;
}

/* A folder or a device under the name is never moved out of the way; of a link, what it leads to is
 * replaced. *path may come to point to `real`. */
static int find_old(const char **path, char real[PATH_MAX], struct stat *old, bool *had_old,
                    struct err *err)
{
    int r = lstat(*path, old) < 0 ? -errno : 0;

    if (r == 0 && S_ISLNK(old->st_mode)) {
        if (!realpath(*path, real))
            return err_set(err, -errno, "follow the link %s", *path);
        *path = real;
        r = file_stat(real, old);
    }
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "look at %s", *path);
    *had_old = r == 0;
    if (*had_old && !S_ISREG(old->st_mode))
        return err_say(err, S_ISDIR(old->st_mode) ? -EISDIR : -EINVAL,
                       "replace %s: it is %s, not a file", *path,
                       S_ISDIR(old->st_mode) ? "a folder" : "a device, socket or pipe");
    return 0;
}

int file_replace(const char *path, struct bytes content, struct err *err)
{
    char tmp[PATH_MAX], bak[PATH_MAX], real[PATH_MAX];
    struct stat old;
    bool had_old;
    int r = find_old(&path, real, &old, &had_old, err);

    if (r < 0)
        return r;
    if (snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= (int)sizeof(tmp) ||
        snprintf(bak, sizeof(bak), "%s.bak", path) >= (int)sizeof(bak))
        return err_set(err, -ENAMETOOLONG, "replace %s", path);
    r = file_unlink(tmp); /* left by a crash; nobody reads it */
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "remove %s", tmp);
    r = write_synced(tmp, had_old ? old.st_mode & 0777 : 0644, content, err);
    if (r < 0)
        goto fail;
    if (had_old) {
        /* From here to the next rename only .bak is there. Whatever the disk keeps of the two after
         * a power cut, one whole generation has a name that readers try. */
        r = file_rename(path, bak);
        if (r < 0) {
            err_set(err, r, "rename %s to %s", path, bak);
            goto fail;
        }
    }
    r = file_rename(tmp, path);
    if (r < 0) {
        err_set(err, r, "rename %s to %s", tmp, path);
        if (had_old)
            (void)file_rename(bak, path);
        goto fail;
    }
    r = file_sync_parent(path);
    if (r < 0)
        return err_set(err, r, "sync the folder of %s", path);
    return 0;

fail:
    (void)file_unlink(tmp);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int list_add(struct file_list *list, size_t *cap, const char *name)
{
    if (list->count == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        char **names = reallocarray(list->names, more, sizeof(*names));
        if (!names)
            return -ENOMEM;
        list->names = names;
        *cap = more;
    }
    list->names[list->count] = strdup(name);
    if (!list->names[list->count])
        return -ENOMEM;
    list->count++;
    return 0;
}

int file_list(const char *dir, struct file_list *out)
{
    struct file_list list = {0};
    size_t cap = 0;
    int r = 0;
    DIR *d = opendir(dir);

    if (!d)
        return -errno;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry) {
            r = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = list_add(&list, &cap, entry->d_name);
        if (r < 0)
            break;
    }
    closedir(d);
    if (r < 0) {
        file_list_free(&list);
        return r;
    }
    if (list.count > 1)
        qsort(list.names, list.count, sizeof(*list.names), by_name);
    *out = list;
    return 0;
}

void file_list_free(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct file_list){0};
}

int file_remove_tree(const char *path, int depth)
{
    char child[PATH_MAX];
    struct file_list list;
    struct stat st;
    int r;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISDIR(st.st_mode))
        return file_unlink(path);
    if (depth < 0)
        return -ENOTEMPTY;
    r = file_list(path, &list);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.count && r == 0; i++) {
        if (snprintf(child, sizeof(child), "%s/%s", path, list.names[i]) >= (int)sizeof(child))
            r = -ENAMETOOLONG;
        else
            r = file_remove_tree(child, depth - 1);
    }
    file_list_free(&list);
    return r < 0 ? r : file_rmdir(path);
}

/* 0: taken; -EAGAIN with *holder set: another process has it. */
static int lock_first_byte(int fd, int *holder)
{
    /* The holder can vanish between the two calls; then ask again, but not for ever. */
    for (int tries = 0; tries < 3; tries++) {
        struct flock want = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};

        if (TEMP_FAILURE_RETRY(fcntl(fd, F_SETLK, &want)) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
        if (TEMP_FAILURE_RETRY(fcntl(fd, F_GETLK, &want)) != 0)
            return -errno;
        if (want.l_type != F_UNLCK) {
            *holder = want.l_pid > 0 ? want.l_pid : 0; /* -1: not a process we can see */
            return -EAGAIN;
        }
    }
    *holder = 0;
    return -EAGAIN;
}

int file_lock(const char *path, int *holder)
{
    int64_t size;
    int fd = file_open(path, O_RDWR | O_CREAT, 0644);
    int r;

    if (fd < 0)
        return fd;
    r = lock_first_byte(fd, holder);
    if (r == 0)
        r = file_size(fd, &size);
    if (r == 0 && size == 0)
        r = file_write_all(fd, "lock", 4, 0);
    if (r < 0) {
        file_close(fd);
        return r;
    }
    return fd;
}

int file_lock_holder(const char *path, int *holder)
{
    struct flock seen = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1, .l_pid = 0};
    int fd = file_open(path, O_RDONLY, 0);
    int r = 0;

    *holder = 0;
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    if (TEMP_FAILURE_RETRY(fcntl(fd, F_GETLK, &seen)) != 0)
        r = -errno;
    file_close(fd);
    if (r < 0)
        return r;
    if (seen.l_type == F_UNLCK)
        return 0;
    *holder = seen.l_pid > 0 ? seen.l_pid : 0;
    return 1;
}
