/* file.h - the one way to the disk, so that tests can fail, tear, lose and record it.
 *
 * Every function returns 0 or a positive count on success and -errno on failure.
 * Calls go through `file_ops`, which a test replaces before the first file is
 * opened (file_ops_set); in the product it is never changed. Reading names and sizes (file_list,
 * file_stat, file_size) and the lock itself go to the system directly. Any thread.
 */
#ifndef TERN_COMMON_FILE_H
#define TERN_COMMON_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/buf.h"
#include "common/err.h"

struct file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *to, size_t n, off_t at);
    ssize_t (*preadv2)(int fd, const struct iovec *iov, int n, off_t at, int flags);
    ssize_t (*pwrite)(int fd, const void *from, size_t n, off_t at);
    ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, off_t at);
    ssize_t (*sendfile)(int socket, int fd, off_t at, size_t n);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*syncfs)(int fd);
    int (*sync_file_range)(int fd, off_t at, off_t n, unsigned flags);
    int (*fallocate)(int fd, int mode, off_t at, off_t n);
    int (*ftruncate)(int fd, off_t n);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
};
/* The table of system calls, and the way to put another in its place (NULL: back to the system). */
extern const struct file_ops file_ops_system;
void file_ops_set(const struct file_ops *ops);

int file_open(const char *path, int flags, mode_t mode);  /* fd, O_CLOEXEC is added */
int file_close(int fd);                                   /* not retried on EINTR */
ssize_t file_pread(int fd, void *to, size_t n, off_t at); /* one call; may be short */
ssize_t file_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags);
int file_read_all(int fd, void *to, size_t n, off_t at); /* all n bytes or -errno (-ENODATA: end) */
/* All of it: short writes are continued, EINTR repeated; the iovecs are used up. */
int file_write_all(int fd, const void *from, size_t n, off_t at);
int file_writev_all(int fd, struct iovec *iov, int n, off_t at, uint64_t *written);
ssize_t file_send(int socket, int fd, off_t at, size_t n); /* sendfile; one call; may be short */
int file_fsync(int fd);
int file_fdatasync(int fd);
int file_syncfs(int fd);
int file_sync_range(int fd, off_t at, off_t n, unsigned flags);
int file_fallocate(int fd, int mode, off_t at, off_t n); /* -EOPNOTSUPP where the disk cannot */
int file_truncate(int fd, off_t n);
int file_rename(const char *from, const char *to);
int file_unlink(const char *path); /* -ENOENT when it is not there */
int file_rmdir(const char *path);
/* Removes a file, or a folder with what is in it, folders `depth` levels below it at most
 * (-ENOTEMPTY where they go deeper). What a link leads to stays. Fine when it is not there. */
int file_remove_tree(const char *path, int depth);
int file_mkdir(const char *path);  /* fine when it is already a folder */
int file_mkdirs(const char *path); /* with its parents; new parents' folders are synced */
int file_size(int fd, int64_t *out);
int file_stat(const char *path, struct stat *out);
/* The file system that holds `path`, as df counts: bytes in use, and bytes that this process may
 * still use. Straight from the system. */
struct file_space {
    uint64_t total, used, usable;
};
int file_space(const char *path, struct file_space *out);
int file_sync_dir(const char *path);
int file_sync_parent(const char *path); /* the folder that holds `path` */

/* Reads a whole file of at most `limit` bytes; -EFBIG above. */
int file_load(const char *path, size_t limit, struct buf *out);
/* Replaces the file `path` (of a link: what it leads to; nothing that is no file) for good: write
 * path.tmp, fsync, keep the old one as path.bak, rename, fsync the folder. A crash leaves the old
 * or the new content in `path` or, for a moment, only .bak. */
int file_replace(const char *path, struct bytes content, struct err *err);

/* Names in a folder, sorted bytewise, without "." and ".."; free with file_list_free. */
struct file_list {
    char **names;
    size_t count;
};
int file_list(const char *dir, struct file_list *out);
void file_list_free(struct file_list *list);

/* Takes the POSIX record lock on byte 0 of `path`, as a Java broker does. Returns the fd to keep,
 * or -EAGAIN with *holder = the process id that has it (0: unknown), or -errno. Such a lock
 * belongs to the process: closing any other descriptor of the file gives it up. */
int file_lock(const char *path, int *holder);
/* Whether another process holds that lock, without taking it or changing anything: 1 with *holder
 * as above, 0 (nobody, or there is no such file), -errno. */
int file_lock_holder(const char *path, int *holder);

#endif
