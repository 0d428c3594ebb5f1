/* test_file.c - the file layer under a disk that interrupts, writes short and fails. */
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "unit.h"

static char dir[256];
static struct file_ops ops; /* what a test put in the system's place */
static int calls;
static char steps[64]; /* what file_replace or file_mkdirs did, one letter each */

static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void make_dir(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/tern-file-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ops = file_ops_system;
    calls = 0;
    steps[0] = '\0';
}

static void remove_dir(void)
{
    file_ops_set(NULL);
    remove_tree(dir);
}

static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void expect_file(const char *path, const char *text)
{
    struct buf content = {0};
    int r = file_load(path, 4096, &content);

    ck_assert_msg(r == 0, "load %s: %d", path, r);
    ck_assert_msg(bytes_is(buf_bytes(&content), text), "%s holds \"%.*s\", not \"%s\"", path,
                  (int)content.len, (const char *)buf_at(&content), text);
    buf_destroy(&content);
}

static int open_new(const char *name)
{
    int fd = file_open(in_dir(name), O_RDWR | O_CREAT | O_TRUNC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    return fd;
}

/* --- short and interrupted transfers --- */

static ssize_t pwrite_three_bytes_or_eintr(int fd, const void *from, size_t n, off_t at)
{
    if (calls++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pwrite(fd, from, n < 3 ? n : 3, at);
}

static ssize_t pread_two_bytes_or_eintr(int fd, void *to, size_t n, off_t at)
{
    if (calls++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, to, n < 2 ? n : 2, at);
}

static ssize_t pwritev_five_bytes_or_eintr(int fd, const struct iovec *iov, int n, off_t at)
{
    size_t total = 0;
    uint8_t five[5];

    if (calls++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    for (int i = 0; i < n && total < sizeof(five); i++) {
        size_t part = sizeof(five) - total < iov[i].iov_len ? sizeof(five) - total : iov[i].iov_len;
        memcpy(five + total, iov[i].iov_base, part);
        total += part;
    }
    return pwrite(fd, five, total, at);
}

START_TEST(short_and_interrupted_writes_are_continued)
{
    int fd = open_new("f");

    ops.pwrite = pwrite_three_bytes_or_eintr;
    file_ops_set(&ops);
    ck_assert_int_eq(file_write_all(fd, "commit log", 10, 0), 0);
    ck_assert_int_eq(calls, 8);
    ck_assert_int_eq(file_write_all(fd, "LOG", 3, 7), 0);
    file_close(fd);
    expect_file(in_dir("f"), "commit LOG");
}
END_TEST

START_TEST(short_and_interrupted_reads_are_continued)
{
    char got[11] = "";
    int fd = open_new("f");

    ck_assert_int_eq(file_write_all(fd, "commit log", 10, 0), 0);
    ops.pread = pread_two_bytes_or_eintr;
    file_ops_set(&ops);
    ck_assert_int_eq(file_read_all(fd, got, 10, 0), 0);
    ck_assert_str_eq(got, "commit log");
    ck_assert_int_eq(file_read_all(fd, got, 10, 1), -ENODATA);
    ck_assert_int_eq(file_pread(fd, got, 10, 0), 2);
    ck_assert_int_eq(file_pread(fd, got, 10, 10), 0);
    file_close(fd);
    expect_file(in_dir("f"), "commit log");
}
END_TEST

START_TEST(short_gathered_writes_are_continued_across_pieces)
{
    char a[] = "ab", b[] = "cdefghi", c[] = "", d[] = "jkl";
    struct iovec iov[] = {{a, 2}, {b, 7}, {c, 0}, {d, 3}, {c, 0}};
    uint64_t written = 0;
    int fd = open_new("f");

    ops.pwritev = pwritev_five_bytes_or_eintr;
    file_ops_set(&ops);
    ck_assert_int_eq(file_writev_all(fd, iov, 5, 1, &written), 0);
    ck_assert_uint_eq(written, 12);
    ck_assert_int_eq(file_write_all(fd, "0", 1, 0), 0);
    file_close(fd);
    expect_file(in_dir("f"), "0abcdefghijkl");
}
END_TEST

START_TEST(more_pieces_than_one_call_takes_are_written)
{
    enum { PIECES = IOV_MAX * 2 + 3 };
    static struct iovec iov[PIECES];
    static char digits[] = "0123456789", got[PIECES + 1];
    uint64_t written = 0;
    int64_t size = 0;
    int fd = open_new("f");

    for (int i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){&digits[i % 10], 1};
    ck_assert_int_eq(file_writev_all(fd, iov, PIECES, 0, &written), 0);
    ck_assert_uint_eq(written, PIECES);
    ck_assert_int_eq(file_size(fd, &size), 0);
    ck_assert_int_eq(size, PIECES);
    ck_assert_int_eq(file_read_all(fd, got, PIECES, 0), 0);
    for (int i = 0; i < PIECES; i++)
        ck_assert_int_eq(got[i], digits[i % 10]);
    file_close(fd);
}
END_TEST

static ssize_t pwritev_four_bytes_then_full(int fd, const struct iovec *iov, int n, off_t at)
{
    (void)n;
    if (calls++ > 0) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, iov[0].iov_base, 4, at);
}

START_TEST(a_failed_gathered_write_tells_how_far_it_came)
{
    char a[] = "abcdef", b[] = "ghi";
    struct iovec iov[] = {{a, 6}, {b, 3}};
    uint64_t written = 99;
    int fd = open_new("f");

    ops.pwritev = pwritev_four_bytes_then_full;
    file_ops_set(&ops);
    ck_assert_int_eq(file_writev_all(fd, iov, 2, 0, &written), -ENOSPC);
    ck_assert_uint_eq(written, 4);
    file_close(fd);
    expect_file(in_dir("f"), "abcd");
}
END_TEST

static ssize_t pwrite_nothing(int fd, const void *from, size_t n, off_t at)
{
    (void)fd, (void)from, (void)n, (void)at;
    return 0;
}

static ssize_t pwritev_nothing(int fd, const struct iovec *iov, int n, off_t at)
{
    (void)fd, (void)iov, (void)n, (void)at;
    return 0;
}

START_TEST(a_write_without_progress_fails_and_does_not_spin)
{
    char a[] = "a";
    struct iovec iov = {a, 1};
    int fd = open_new("f");

    ops.pwrite = pwrite_nothing;
    ops.pwritev = pwritev_nothing;
    file_ops_set(&ops);
    ck_assert_int_eq(file_write_all(fd, "a", 1, 0), -EIO);
    ck_assert_int_eq(file_writev_all(fd, &iov, 1, 0, NULL), -EIO);
    file_close(fd);
}
END_TEST

static int closed_with_eintr(int fd)
{
    calls++;
    close(fd);
    errno = EINTR;
    return -1;
}

START_TEST(an_interrupted_close_is_not_repeated)
{
    int fd = open_new("f");

    ops.close = closed_with_eintr;
    file_ops_set(&ops);
    ck_assert_int_eq(file_close(fd), 0);
    ck_assert_int_eq(calls, 1);
}
END_TEST

static int fallocate_nosys(int fd, int mode, off_t at, off_t n)
{
    (void)fd, (void)mode, (void)at, (void)n;
    errno = calls++ == 0 ? EINTR : ENOSYS;
    return -1;
}

START_TEST(a_system_without_fallocate_looks_like_a_disk_without_it)
{
    int fd = open_new("f");

    ops.fallocate = fallocate_nosys;
    file_ops_set(&ops);
    ck_assert_int_eq(file_fallocate(fd, 0, 0, 4096), -EOPNOTSUPP);
    file_close(fd);
}
END_TEST

/* --- replacing a file --- */

static void step(char letter)
{
    size_t len = strlen(steps);

    ck_assert_uint_lt(len, sizeof(steps) - 1);
    steps[len] = letter;
    steps[len + 1] = '\0';
}

static void step_of_replace(char letter)
{
    step(letter);
    /* In no moment may both generations be without a name that readers try. */
    ck_assert(exists(in_dir("state")) || exists(in_dir("state.bak")));
}

static ssize_t seen_pwrite(int fd, const void *from, size_t n, off_t at)
{
    step_of_replace('w');
    return pwrite(fd, from, n, at);
}

static int seen_fsync(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    step_of_replace(S_ISDIR(st.st_mode) ? 'D' : 'F');
    return fsync(fd);
}

static int seen_rename(const char *from, const char *to)
{
    int r = rename(from, to);

    step_of_replace('r');
    return r;
}

static int fsync_fails_for_files(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    if (S_ISDIR(st.st_mode))
        return fsync(fd);
    errno = EIO;
    return -1;
}

static int fsync_fails_for_folders(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    if (!S_ISDIR(st.st_mode))
        return fsync(fd);
    errno = EIO;
    return -1;
}

static int rename_into_place_fails(const char *from, const char *to)
{
    if (strstr(from, ".tmp")) {
        errno = EIO;
        return -1;
    }
    return rename(from, to);
}

START_TEST(a_first_generation_needs_no_old_one)
{
    struct err err;

    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("one"), &err), 0);
    expect_file(in_dir("state"), "one");
    ck_assert(!exists(in_dir("state.bak")));
    ck_assert(!exists(in_dir("state.tmp")));
}
END_TEST

START_TEST(replacing_keeps_the_generation_before)
{
    struct err err;

    put_file(in_dir("state"), "one");
    put_file(in_dir("state.bak"), "zero");
    put_file(in_dir("state.tmp"), "left by a crash, and longer than what comes");
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), &err), 0);
    expect_file(in_dir("state"), "two");
    expect_file(in_dir("state.bak"), "one");
    ck_assert(!exists(in_dir("state.tmp")));
}
END_TEST

START_TEST(what_is_no_file_is_not_moved_out_of_the_way)
{
    struct err err;

    ck_assert_int_eq(mkdir(in_dir("folder"), 0755), 0);
    put_file(in_dir("folder/inside"), "kept");
    ck_assert_int_eq(file_replace(in_dir("folder"), BYTES_LIT("two"), &err), -EISDIR);
    ck_assert_ptr_nonnull(strstr(err.text, "folder"));
    expect_file(in_dir("folder/inside"), "kept");

    ck_assert_int_eq(mkfifo(in_dir("pipe"), 0644), 0);
    ck_assert_int_eq(file_replace(in_dir("pipe"), BYTES_LIT("two"), &err), -EINVAL);
    ck_assert(!exists(in_dir("pipe.bak")));
}
END_TEST

START_TEST(a_link_stays_and_what_it_leads_to_is_replaced)
{
    struct err err;
    char target[1024];

    put_file(in_dir("real"), "one");
    snprintf(target, sizeof(target), "%s", in_dir("real"));
    ck_assert_int_eq(symlink(target, in_dir("link")), 0);
    ck_assert_int_eq(file_replace(in_dir("link"), BYTES_LIT("two"), &err), 0);
    expect_file(in_dir("real"), "two");
    expect_file(in_dir("link"), "two");
    expect_file(in_dir("real.bak"), "one");
    ck_assert(!exists(in_dir("link.bak")));
}
END_TEST

START_TEST(new_content_is_synced_before_it_gets_the_name_and_the_folder_after)
{
    struct err err;

    put_file(in_dir("state"), "one");
    ops.pwrite = seen_pwrite;
    ops.fsync = seen_fsync;
    ops.rename = seen_rename;
    file_ops_set(&ops);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), &err), 0);
    ck_assert_str_eq(steps, "wFrrD");
}
END_TEST

START_TEST(a_failed_sync_leaves_the_old_content)
{
    struct err err;

    put_file(in_dir("state"), "one");
    put_file(in_dir("state.bak"), "zero");
    ops.fsync = fsync_fails_for_files;
    file_ops_set(&ops);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, in_dir("state.tmp")));
    ck_assert_ptr_nonnull(strstr(err.text, "sync"));
    expect_file(in_dir("state"), "one");
    expect_file(in_dir("state.bak"), "zero");
    ck_assert(!exists(in_dir("state.tmp")));
}
END_TEST

START_TEST(a_failed_write_leaves_the_old_content)
{
    put_file(in_dir("state"), "one");
    ops.pwrite = pwrite_nothing;
    file_ops_set(&ops);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), NULL), -EIO);
    expect_file(in_dir("state"), "one");
    ck_assert(!exists(in_dir("state.tmp")));
}
END_TEST

START_TEST(a_failed_rename_puts_the_old_name_back)
{
    struct err err;

    put_file(in_dir("state"), "one");
    ops.rename = rename_into_place_fails;
    file_ops_set(&ops);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), &err), -EIO);
    expect_file(in_dir("state"), "one");
    ck_assert(!exists(in_dir("state.tmp")));
}
END_TEST

START_TEST(a_folder_that_cannot_be_synced_is_a_failure)
{
    struct err err;

    put_file(in_dir("state"), "one");
    ops.fsync = fsync_fails_for_folders;
    file_ops_set(&ops);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "folder"));
    expect_file(in_dir("state.bak"), "one");
}
END_TEST

START_TEST(a_private_file_stays_private)
{
    struct stat st;

    put_file(in_dir("state"), "one");
    ck_assert_int_eq(chmod(in_dir("state"), 0600), 0);
    ck_assert_int_eq(file_replace(in_dir("state"), BYTES_LIT("two"), NULL), 0);
    ck_assert_int_eq(file_stat(in_dir("state"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
}
END_TEST

/* --- whole files, folders --- */

START_TEST(loading_appends_up_to_the_limit)
{
    struct buf content = {0};

    put_file(in_dir("f"), "0123456789");
    buf_add_str(&content, "> ");
    ck_assert_int_eq(file_load(in_dir("f"), 10, &content), 0);
    ck_assert(bytes_is(buf_bytes(&content), "> 0123456789"));
    ck_assert_int_eq(file_load(in_dir("f"), 9, &content), -EFBIG);
    ck_assert_int_eq(file_load(in_dir("none"), 9, &content), -ENOENT);
    ck_assert_int_eq(file_load(dir, 1 << 20, &content), -EISDIR);
    ck_assert(bytes_is(buf_bytes(&content), "> 0123456789"));
    put_file(in_dir("f"), "");
    ck_assert_int_eq(file_load(in_dir("f"), 0, &content), 0);
    ck_assert(bytes_is(buf_bytes(&content), "> 0123456789"));
    buf_destroy(&content);
}
END_TEST

START_TEST(the_limit_holds_where_the_size_is_not_known_before)
{
    struct buf content = {0};

    ck_assert_int_eq(file_load("/proc/self/maps", 1 << 20, &content), 0);
    ck_assert_uint_gt(content.len, 0);
    ck_assert_int_eq(file_load("/proc/self/maps", 16, &content), -EFBIG);
    buf_destroy(&content);
}
END_TEST

static int seen_mkdir(const char *path, mode_t mode)
{
    int r = mkdir(path, mode);

    if (r == 0)
        step('m');
    return r;
}

static int seen_dir_fsync(int fd)
{
    step('D');
    return fsync(fd);
}

START_TEST(missing_parents_are_made_and_what_holds_them_is_synced)
{
    struct stat st;

    ops.mkdir = seen_mkdir;
    ops.fsync = seen_dir_fsync;
    file_ops_set(&ops);
    ck_assert_int_eq(file_mkdirs(in_dir("a//b/c/")), 0);
    ck_assert_str_eq(steps, "mDmDmD");
    ck_assert_int_eq(file_stat(in_dir("a/b/c"), &st), 0);
    ck_assert(S_ISDIR(st.st_mode));
    ck_assert_int_eq(file_mkdirs(in_dir("a/b/c")), 0);
    ck_assert_str_eq(steps, "mDmDmD");
}
END_TEST

/* The next try would find it there, and never sync where it stands. */
START_TEST(a_folder_whose_name_cannot_be_synced_does_not_stay)
{
    ops.fsync = fsync_fails_for_folders;
    file_ops_set(&ops);
    ck_assert_int_eq(file_mkdirs(in_dir("a/b")), -EIO);
    ck_assert(!exists(in_dir("a")));
    file_ops_set(NULL);
    ck_assert_int_eq(file_mkdirs(in_dir("a/b")), 0);
}
END_TEST

START_TEST(a_file_in_the_way_of_a_folder_is_an_error)
{
    put_file(in_dir("f"), "");
    ck_assert_int_eq(file_mkdir(in_dir("f")), -ENOTDIR);
    ck_assert_int_eq(file_mkdirs(in_dir("f/g")), -ENOTDIR);
    ck_assert_int_eq(file_mkdirs(""), -ENOENT);
    ck_assert_int_eq(file_mkdirs("/"), 0);
    ck_assert_int_eq(file_mkdir(in_dir("no/parent")), -ENOENT);
    ck_assert_int_eq(file_mkdir(in_dir("d")), 0);
    ck_assert_int_eq(file_mkdir(in_dir("d")), 0);
    ck_assert_int_eq(file_rmdir(in_dir("d")), 0);
    ck_assert_int_eq(file_unlink(in_dir("d")), -ENOENT);
}
END_TEST

START_TEST(space_of_a_disk_adds_up)
{
    struct file_space space;

    ck_assert_int_eq(file_space(in_dir(""), &space), 0);
    ck_assert_uint_gt(space.total, 0);
    ck_assert_uint_gt(space.used + space.usable, 0);
    ck_assert_uint_le(space.used + space.usable, space.total); /* some may be kept for root */
    ck_assert_int_eq(file_space(in_dir("nothing"), &space), -ENOENT);
}
END_TEST

START_TEST(a_relative_path_has_a_parent_too)
{
    ck_assert_int_eq(chdir(dir), 0);
    put_file("f", "");
    ck_assert_int_eq(file_sync_parent("f"), 0);
    ck_assert_int_eq(file_sync_parent("./f"), 0);
    ck_assert_int_eq(file_sync_parent("/f"), 0);
    ck_assert_int_eq(file_sync_parent("f/g"), -ENOTDIR);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(names_in_a_folder_are_sorted_bytewise)
{
    static const char *const names[] = {"00000000000000001024", "00000000000000000000", "a", "B",
                                        "\xc3\xa9"};
    struct file_list list;

    ck_assert_int_eq(file_list(dir, &list), 0);
    ck_assert_uint_eq(list.count, 0);
    file_list_free(&list);
    for (size_t i = 0; i < 5; i++)
        put_file(in_dir(names[i]), "");
    ck_assert_int_eq(file_list(dir, &list), 0);
    ck_assert_uint_eq(list.count, 5);
    ck_assert_str_eq(list.names[0], "00000000000000000000");
    ck_assert_str_eq(list.names[1], "00000000000000001024");
    ck_assert_str_eq(list.names[2], "B");
    ck_assert_str_eq(list.names[3], "a");
    ck_assert_str_eq(list.names[4], "\xc3\xa9");
    file_list_free(&list);
    file_list_free(&list);
    ck_assert_int_eq(file_list(in_dir("a"), &list), -ENOTDIR);
    ck_assert_int_eq(file_list(in_dir("none"), &list), -ENOENT);
}
END_TEST

/* --- the lock --- */

START_TEST(a_lock_that_another_process_holds_is_refused_with_its_id)
{
    int ready[2], holder = -1;
    char byte;
    pid_t child;

    ck_assert_int_eq(pipe(ready), 0);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int nobody, fd = file_lock(in_dir("lock"), &nobody);
        byte = fd >= 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert_int_eq(file_lock(in_dir("lock"), &holder), -EAGAIN);
    ck_assert_int_eq(holder, child);
    expect_file(in_dir("lock"), "lock");

    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    int fd = file_lock(in_dir("lock"), &holder);
    ck_assert_int_ge(fd, 0);
    file_close(fd);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

START_TEST(locking_does_not_change_a_file_that_has_text)
{
    int holder;

    put_file(in_dir("lock"), "other");
    int fd = file_lock(in_dir("lock"), &holder);
    ck_assert_int_ge(fd, 0);
    file_close(fd);
    expect_file(in_dir("lock"), "other");
    ck_assert_int_eq(file_lock(in_dir("none/lock"), &holder), -ENOENT);
}
END_TEST

START_TEST(a_tree_is_removed_with_all_that_is_in_it_and_nothing_else)
{
    ck_assert_int_eq(file_mkdirs(in_dir("tree/a/b")), 0);
    ck_assert_int_eq(file_mkdir(in_dir("kept")), 0);
    put_file(in_dir("tree/one"), "1");
    put_file(in_dir("tree/a/b/two"), "2");
    put_file(in_dir("kept/three"), "3");
    ck_assert_int_eq(symlink(in_dir("kept"), in_dir("tree/a/link")), 0);
    ck_assert_int_eq(file_remove_tree(in_dir("tree"), 1), -ENOTEMPTY);
    ck_assert_int_eq(access(in_dir("tree/a/b/two"), F_OK), 0);
    ck_assert_int_eq(file_remove_tree(in_dir("tree"), 2), 0);
    ck_assert_int_ne(access(in_dir("tree"), F_OK), 0);
    ck_assert_int_eq(access(in_dir("kept/three"), F_OK), 0);
    ck_assert_int_eq(file_remove_tree(in_dir("tree"), 2), 0);
    ck_assert_int_eq(file_remove_tree(in_dir("kept/three"), 0), 0);
    ck_assert_int_ne(access(in_dir("kept/three"), F_OK), 0);
}
END_TEST

static Suite *file_suite(void)
{
    Suite *suite = suite_create("file");
    TCase *transfers = tcase_create("transfers");
    TCase *replace = tcase_create("replace");
    TCase *folders = tcase_create("folders");
    TCase *lock = tcase_create("lock");

    tcase_add_checked_fixture(transfers, make_dir, remove_dir);
    tcase_add_test(transfers, short_and_interrupted_writes_are_continued);
    tcase_add_test(transfers, short_and_interrupted_reads_are_continued);
    tcase_add_test(transfers, short_gathered_writes_are_continued_across_pieces);
    tcase_add_test(transfers, more_pieces_than_one_call_takes_are_written);
    tcase_add_test(transfers, a_failed_gathered_write_tells_how_far_it_came);
    tcase_add_test(transfers, a_write_without_progress_fails_and_does_not_spin);
    tcase_add_test(transfers, an_interrupted_close_is_not_repeated);
    tcase_add_test(transfers, a_system_without_fallocate_looks_like_a_disk_without_it);
    suite_add_tcase(suite, transfers);

    tcase_add_checked_fixture(replace, make_dir, remove_dir);
    tcase_add_test(replace, a_first_generation_needs_no_old_one);
    tcase_add_test(replace, replacing_keeps_the_generation_before);
    tcase_add_test(replace, what_is_no_file_is_not_moved_out_of_the_way);
    tcase_add_test(replace, a_link_stays_and_what_it_leads_to_is_replaced);
    tcase_add_test(replace, new_content_is_synced_before_it_gets_the_name_and_the_folder_after);
    tcase_add_test(replace, a_failed_sync_leaves_the_old_content);
    tcase_add_test(replace, a_failed_write_leaves_the_old_content);
    tcase_add_test(replace, a_failed_rename_puts_the_old_name_back);
    tcase_add_test(replace, a_folder_that_cannot_be_synced_is_a_failure);
    tcase_add_test(replace, a_private_file_stays_private);
    suite_add_tcase(suite, replace);

    tcase_add_checked_fixture(folders, make_dir, remove_dir);
    tcase_add_test(folders, loading_appends_up_to_the_limit);
    tcase_add_test(folders, the_limit_holds_where_the_size_is_not_known_before);
    tcase_add_test(folders, missing_parents_are_made_and_what_holds_them_is_synced);
    tcase_add_test(folders, a_folder_whose_name_cannot_be_synced_does_not_stay);
    tcase_add_test(folders, a_file_in_the_way_of_a_folder_is_an_error);
    tcase_add_test(folders, space_of_a_disk_adds_up);
    tcase_add_test(folders, a_relative_path_has_a_parent_too);
    tcase_add_test(folders, names_in_a_folder_are_sorted_bytewise);
    tcase_add_test(folders, a_tree_is_removed_with_all_that_is_in_it_and_nothing_else);
    suite_add_tcase(suite, folders);

    tcase_add_checked_fixture(lock, make_dir, remove_dir);
    tcase_add_test(lock, a_lock_that_another_process_holds_is_refused_with_its_id);
    tcase_add_test(lock, locking_does_not_change_a_file_that_has_text);
    suite_add_tcase(suite, lock);
    return suite;
}

UNIT_MAIN(file_suite)
