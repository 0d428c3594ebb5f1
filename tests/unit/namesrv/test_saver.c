/* test_saver.c - changes reach the file, in order, without the loop waiting for the disk. */
#include "namesrv/saver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/file.h"
#include "common/loop_fixture.h"
#include "unit.h"

static struct fixture f;
static struct saver *saver;
static char dir[64], path[96];

/* What on_saved was told, on the loop's thread. */
static struct {
    sem_t told;
    _Atomic uint64_t upto;
    atomic_uint calls;
    int code;
    char why[256];
} seen;

/* A disk that waits, and one that fails. */
static sem_t may_write;
static atomic_bool slow, broken;
static atomic_uint writes;

static ssize_t pwritev_hook(int fd, const struct iovec *iov, int n, off_t at)
{
    if (atomic_load(&slow))
        fixture_wait(&may_write);
    atomic_fetch_add(&writes, 1);
    if (atomic_load(&broken)) {
        errno = ENOSPC;
        return -1;
    }
    return file_ops_system.pwritev(fd, iov, n, at);
}

static ssize_t pwrite_hook(int fd, const void *from, size_t n, off_t at)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)from, .iov_len = n};

    return pwritev_hook(fd, &iov, 1, at);
}

static void on_saved(void *ctx, uint64_t upto, int code, const char *why)
{
    ck_assert_ptr_eq(ctx, &seen);
    ck_assert(loop_is_current(f.loops[0]));
    seen.upto = upto;
    seen.code = code;
    snprintf(seen.why, sizeof(seen.why), "%s", why);
    seen.calls++;
    sem_post(&seen.told);
}

static void setup(void)
{
    static struct file_ops ops;

    ops = file_ops_system;
    ops.pwritev = pwritev_hook;
    ops.pwrite = pwrite_hook;
    file_ops_set(&ops);
    atomic_store(&slow, false);
    atomic_store(&broken, false);
    atomic_store(&writes, 0);
    sem_init(&may_write, 0, 0);
    memset(&seen, 0, sizeof(seen));
    sem_init(&seen.told, 0, 0);

    snprintf(dir, sizeof(dir), "/tmp/tern-saver-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/sub/kv.json", dir);
    fixture_loops(&f, 1);
    ck_assert_int_eq(saver_new(&saver, path, f.loops[0], on_saved, &seen), 0);
    fixture_run(&f);
}

static void stop_on_loop(void *arg)
{
    saver_stop(arg);
}

static void teardown(void)
{
    char command[128];

    fixture_on_loop(f.loops[0], stop_on_loop, saver);
    fixture_stop(&f);
    saver = saver_free(saver);
    file_ops_set(NULL);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

struct saving {
    const char *text;
    uint64_t number;
    int result;
};

static void save_on_loop(void *arg)
{
    struct saving *s = arg;
    struct buf text = {0};

    buf_add_str(&text, s->text);
    s->result = saver_save(saver, &text, &s->number);
    buf_destroy(&text);
}

static uint64_t save(const char *text)
{
    struct saving s = {.text = text};

    fixture_on_loop(f.loops[0], save_on_loop, &s);
    ck_assert_int_eq(s.result, 0);
    return s.number;
}

static void expect_file(const char *text)
{
    struct buf found = {0};

    ck_assert_int_eq(file_load(path, 1000, &found), 0);
    ck_assert_msg(bytes_is(buf_bytes(&found), text), "%.*s", (int)found.len,
                  (const char *)buf_at(&found));
    buf_destroy(&found);
}

START_TEST(a_change_is_in_the_file_when_it_is_told)
{
    uint64_t number = save("one");

    fixture_wait(&seen.told);
    ck_assert_int_eq(seen.code, 0);
    ck_assert_uint_eq(seen.upto, number);
    expect_file("one"); /* in a folder that was not there */
}
END_TEST

START_TEST(changes_during_a_write_share_the_next_one)
{
    uint64_t first, last;

    atomic_store(&slow, true);
    first = save("0");
    for (int i = 0; i < 50; i++)
        save("behind"); /* the writer holds one text, these replace one another */
    last = save("last");
    atomic_store(&slow, false);
    sem_post(&may_write);
    do {
        fixture_wait(&seen.told);
    } while (seen.upto < last);

    ck_assert_uint_lt(first, last);
    ck_assert_uint_le(seen.calls, 3);
    ck_assert_uint_le(atomic_load(&writes), 3);
    expect_file("last");
}
END_TEST

START_TEST(a_failure_is_told_and_the_next_change_tries_again)
{
    atomic_store(&broken, true);
    save("one");
    fixture_wait(&seen.told);
    ck_assert_int_eq(seen.code, -ENOSPC);
    ck_assert_str_ne(seen.why, "");

    atomic_store(&broken, false);
    save("two");
    fixture_wait(&seen.told);
    ck_assert_int_eq(seen.code, 0);
    expect_file("two");
}
END_TEST

START_TEST(a_stop_waits_for_the_write_and_tells_of_it)
{
    struct saving late = {.text = "late"};
    uint64_t number = save("one");

    fixture_on_loop(f.loops[0], stop_on_loop, saver);
    ck_assert_uint_eq(seen.upto, number);
    expect_file("one");
    fixture_on_loop(f.loops[0], save_on_loop, &late);
    ck_assert_int_eq(late.result, -ESHUTDOWN);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("saver");
    TCase *c = tcase_create("saving");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_change_is_in_the_file_when_it_is_told);
    tcase_add_test(c, changes_during_a_write_share_the_next_one);
    tcase_add_test(c, a_failure_is_told_and_the_next_change_tries_again);
    tcase_add_test(c, a_stop_waits_for_the_write_and_tells_of_it);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
