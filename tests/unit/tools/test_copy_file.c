/* Copies of files: content, holes, size and time stay; a link only where it is allowed. */
#include "tools/copy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "unit.h"

enum { SIZE = 8 << 20, DATA_AT = 4 << 20, DATA = 100000 };
static char dir[] = "/tmp/tern-copy-XXXXXX", from[64], to[64];
static struct copy_result result;

/* A hole, some data, a hole. */
static void set_up(void)
{
    const struct timespec times[2] = {{1000000000, 0}, {1234567890, 5000000}};
    static uint8_t data[DATA];
    int fd;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(from, sizeof(from), "%s/from", dir);
    snprintf(to, sizeof(to), "%s/to", dir);
    memset(data, 7, sizeof(data));
    fd = open(from, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, SIZE), 0);
    ck_assert_int_eq(pwrite(fd, data, DATA, DATA_AT), DATA);
    ck_assert_int_eq(futimens(fd, times), 0);
    close(fd);
}

static void tear_down(void)
{
    unlink(from);
    unlink(to);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int copy(bool may_link, bool only_bytes, int64_t upto)
{
    struct copy_request request = {from, to, may_link, only_bytes, upto};

    return copy_file(&request, &result);
}

static uint8_t byte_at(off_t at)
{
    uint8_t byte = 0xff;
    int fd = open(to, O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    close(fd);
    return byte;
}

START_TEST(bytes_are_copied_without_the_holes_and_with_the_time)
{
    struct stat st;

    ck_assert_int_eq(copy(true, true, -1), 0);
    ck_assert_int_eq(result.way, COPY_BYTES);
    ck_assert_int_eq(stat(to, &st), 0);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_int_eq(st.st_nlink, 1);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(st.st_mtim.tv_sec, 1234567890);
    ck_assert_int_lt(st.st_blocks * 512, SIZE / 2);
    ck_assert_int_lt(result.data, SIZE / 2);
    ck_assert_uint_eq(byte_at(DATA_AT - 1), 0);
    ck_assert_uint_eq(byte_at(DATA_AT), 7);
    ck_assert_uint_eq(byte_at(DATA_AT + DATA - 1), 7);
    ck_assert_uint_eq(byte_at(SIZE - 1), 0);
}
END_TEST

START_TEST(what_lies_behind_the_bound_reads_as_zeroes)
{
    struct stat st;

    ck_assert_int_eq(copy(false, false, DATA_AT + 10), 0);
    ck_assert_int_eq(result.way, COPY_BYTES);
    ck_assert_int_eq(stat(to, &st), 0);
    ck_assert_int_eq(st.st_size, SIZE);
    ck_assert_uint_eq(byte_at(DATA_AT + 9), 7);
    ck_assert_uint_eq(byte_at(DATA_AT + 10), 0);
}
END_TEST

START_TEST(a_link_is_made_only_where_it_is_allowed)
{
    struct stat st;

    ck_assert_int_eq(copy(false, false, -1), 0);
    ck_assert_int_ne(result.way, COPY_LINK);
    unlink(to);
    ck_assert_int_eq(copy(true, false, -1), 0);
    ck_assert_int_ne(result.way, COPY_BYTES); /* shared blocks where the file system has them */
    ck_assert_int_eq(result.data, 0);
    ck_assert_int_eq(stat(to, &st), 0);
    ck_assert_int_eq(st.st_nlink, result.way == COPY_LINK ? 2 : 1);
}
END_TEST

START_TEST(failures_leave_nothing_behind)
{
    char missing[80];
    struct copy_request request = {missing, to, true, false, -1};

    snprintf(missing, sizeof(missing), "%s-not", from);
    ck_assert_int_eq(copy_file(&request, &result), -ENOENT);
    request.from = dir;
    ck_assert_int_eq(copy_file(&request, &result), -EINVAL);
    ck_assert_int_eq(access(to, F_OK), -1);
    ck_assert_int_eq(copy(false, true, -1), 0);
    ck_assert_int_eq(copy(false, true, -1), -EEXIST);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("copy_file");
    TCase *c = tcase_create("copy_file");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, bytes_are_copied_without_the_holes_and_with_the_time);
    tcase_add_test(c, what_lies_behind_the_bound_reads_as_zeroes);
    tcase_add_test(c, a_link_is_made_only_where_it_is_allowed);
    tcase_add_test(c, failures_leave_nothing_behind);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
