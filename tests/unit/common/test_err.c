/* Claims about common/err.h: the code comes back, the sentence is whole or cut, never lost. */
#include "common/err.h"

#include <errno.h>
#include <string.h>

#include "unit.h"

START_TEST(set_returns_the_code_and_appends_what_it_means)
{
    struct err err;

    ck_assert_int_eq(err_set(&err, -ENOENT, "open %s", "/a/b"), -ENOENT);
    ck_assert_int_eq(err.code, -ENOENT);
    ck_assert_str_eq(err.text, "open /a/b: No such file or directory");
}
END_TEST

START_TEST(say_leaves_the_sentence_alone)
{
    struct err err;

    ck_assert_int_eq(err_say(&err, -EINVAL, "line %d: expected a number", 3), -EINVAL);
    ck_assert_str_eq(err.text, "line 3: expected a number");
}
END_TEST

START_TEST(what_to_do_about_it_is_added)
{
    struct err err;

    err_set(&err, -ENOENT, "open a");
    err_add(&err, "; make it with %s", "b");
    ck_assert_str_eq(err.text, "open a: No such file or directory; make it with b");
    ck_assert_int_eq(err.code, -ENOENT);
    for (int i = 0; i < 100; i++)
        err_add(&err, "0123456789");
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

START_TEST(nobody_need_listen)
{
    err_add(NULL, "x");
    ck_assert_int_eq(err_set(NULL, -EIO, "x"), -EIO);
    ck_assert_int_eq(err_say(NULL, -EIO, "x"), -EIO);
}
END_TEST

START_TEST(a_long_sentence_is_cut)
{
    struct err err;
    char path[2000];

    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = 0;
    err_set(&err, -ENOENT, "open %s", path);
    ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
    ck_assert_int_eq(strncmp(err.text, "open ppp", 8), 0);
}
END_TEST

static Suite *err_suite(void)
{
    Suite *s = suite_create("err");
    TCase *t = tcase_create("err");

    tcase_add_test(t, set_returns_the_code_and_appends_what_it_means);
    tcase_add_test(t, say_leaves_the_sentence_alone);
    tcase_add_test(t, what_to_do_about_it_is_added);
    tcase_add_test(t, nobody_need_listen);
    tcase_add_test(t, a_long_sentence_is_cut);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(err_suite)
