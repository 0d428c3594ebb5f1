/* test_promoted.c - tern/promoted: an order of an operator holds until another one, or a damaged
 * file is named. */
#include "broker/replication/promoted.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/file.h"
#include "common/sealed.h"
#include "files.h"
#include "unit.h"

static char root[256];
static struct buf text;
static struct err err;
static struct file_ops ops;

static void setup(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof(root), "%s/tern-promoted-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    err = (struct err){0};
}

static void teardown(void)
{
    file_ops_set(NULL);
    buf_destroy(&text);
    remove_tree(root);
}

static int parse_lines(const char *lines, uint64_t *epoch)
{
    buf_reset(&text);
    buf_add_str(&text, lines);
    sealed_end(&text);
    return promoted_parse(epoch, buf_bytes(&text), &err);
}

START_TEST(an_epoch_comes_back)
{
    const uint64_t epochs[] = {1, 2, INT64_MAX};
    uint64_t epoch;

    for (int i = 0; i < 3; i++) {
        buf_reset(&text);
        promoted_print(epochs[i], &text);
        ck_assert_int_eq(promoted_parse(&epoch, buf_bytes(&text), &err), 0);
        ck_assert_uint_eq(epoch, epochs[i]);
    }
}
END_TEST

START_TEST(other_text_is_refused_with_its_line)
{
    static const struct {
        const char *lines, *why;
    } cases[] = {
        {"", "nothing stands above the checksum"},
        {"epoch=1\n", "line 1 (epoch) is none that is written there"},
        {"format=2\nepoch=1\n", "line 1 (format) is none that is written there"},
        {"format=0\nepoch=1\n", "line 1 (format) is none that is written there"},
        {"format=1\n", "the epoch is missing"},
        {"format=1\nepoch=0\n", "line 2 (epoch) is none that is written there"},
        {"format=1\nepoch=9223372036854775808\n", "line 2 (epoch) is none that is written there"},
        {"format=1\nepoch=1\nepoch=2\n", "line 3 (epoch) is none that is written there"},
        {"format=1\nepoch=1\nother=2\n", "line 3 (other) is none that is written there"},
        {"format=1\nepoch=1\nformat=1\n", "line 3 (format) is none that is written there"},
    };
    uint64_t epoch;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(parse_lines(cases[i].lines, &epoch), -EBADMSG);
        ck_assert_str_eq(err.text, cases[i].why);
    }
    ck_assert_int_eq(parse_lines("format=1\nepoch=7\n", &epoch), 0);
    ck_assert_uint_eq(epoch, 7);
}
END_TEST

START_TEST(it_holds_until_it_is_removed)
{
    uint64_t epoch;

    ck_assert_int_eq(promoted_load(&epoch, root, &err), -ENOENT);
    ck_assert_int_eq(promoted_remove(root, &err), 0);
    for (uint64_t i = 1; i <= 2; i++) {
        ck_assert_int_eq(promoted_save(i, root, &err), 0);
        ck_assert_int_eq(promoted_load(&epoch, root, &err), 0);
        ck_assert_uint_eq(epoch, i);
        ck_assert_int_eq(promoted_remove(root, &err), 0);
        ck_assert_int_eq(promoted_load(&epoch, root, &err), -ENOENT);
    }
}
END_TEST

static int no_fsync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

START_TEST(what_is_not_on_the_disk_was_not_ordered)
{
    uint64_t epoch;

    ck_assert_int_eq(promoted_save(4, root, &err), 0);
    ck_assert_int_eq(promoted_remove(root, &err), 0);
    ops = file_ops_system;
    ops.fsync = no_fsync;
    file_ops_set(&ops);
    ck_assert_int_eq(promoted_save(5, root, &err), -EIO);
    file_ops_set(NULL);
    ck_assert_int_eq(promoted_load(&epoch, root, &err), -ENOENT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("promoted");
    TCase *c = tcase_create("promoted");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, an_epoch_comes_back);
    tcase_add_test(c, other_text_is_refused_with_its_line);
    tcase_add_test(c, it_holds_until_it_is_removed);
    tcase_add_test(c, what_is_not_on_the_disk_was_not_ordered);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
