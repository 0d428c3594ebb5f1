/* test_process.c - what /proc says of a process. */
#include "tools/process.h"

#include <errno.h>
#include <unistd.h>

#include "unit.h"

START_TEST(ticks_are_user_plus_system)
{
    int64_t ticks = 0;

    ck_assert_int_eq(
        process_parse_stat(BYTES_LIT("42 (x) S 1 42 42 0 -1 4194560 5 6 7 8 900 34 3 4 20 0 1 0"),
                           &ticks),
        0);
    ck_assert_int_eq(ticks, 934);
}
END_TEST

START_TEST(a_name_may_hold_spaces_and_parentheses)
{
    int64_t ticks = 0;

    ck_assert_int_eq(
        process_parse_stat(BYTES_LIT("42 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 11 22 13 14"), &ticks),
        0);
    ck_assert_int_eq(ticks, 33);
}
END_TEST

START_TEST(text_that_ends_early_is_refused)
{
    int64_t ticks = -1;

    ck_assert_int_eq(process_parse_stat(BYTES_LIT("42 (x) S 1 2 3 4 5 6 7 8 9 10 11"), &ticks),
                     -EINVAL);
    ck_assert_int_eq(process_parse_stat(BYTES_LIT("42 (x"), &ticks), -EINVAL);
    ck_assert_int_eq(process_parse_stat(BYTES_LIT(""), &ticks), -EINVAL);
    ck_assert_int_eq(process_parse_stat(BYTES_LIT("42 (x) S 1 2 3 4 5 6 7 8 9 10 x 22 13"), &ticks),
                     -EINVAL);
    ck_assert_int_eq(ticks, -1);
}
END_TEST

START_TEST(a_status_line_is_found_by_its_whole_name)
{
    struct bytes text = BYTES_LIT("Name:\tx\nnonvoluntary_ctxt_switches:\t7\n"
                                  "voluntary_ctxt_switches:\t123\n");

    ck_assert_uint_eq(process_parse_status(text, "voluntary_ctxt_switches"), 123);
    ck_assert_uint_eq(process_parse_status(text, "nonvoluntary_ctxt_switches"), 7);
    ck_assert_uint_eq(process_parse_status(text, "switches"), 0);
}
END_TEST

START_TEST(a_process_knows_its_own_use)
{
    struct process_use use;
    struct err err = {0};

    ck_assert_int_eq(process_use(getpid(), &use, &err), 0);
    ck_assert(use.cpu_s >= 0);
}
END_TEST

START_TEST(a_process_that_is_not_there_is_an_error)
{
    struct process_use use;
    struct err err = {0};

    ck_assert_int_eq(process_use(0x7fffffff, &use, &err), -ENOENT);
    ck_assert_ptr_nonnull(strstr(err.text, "2147483647"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("process");
    TCase *c = tcase_create("process");

    tcase_add_test(c, ticks_are_user_plus_system);
    tcase_add_test(c, a_name_may_hold_spaces_and_parentheses);
    tcase_add_test(c, text_that_ends_early_is_refused);
    tcase_add_test(c, a_status_line_is_found_by_its_whole_name);
    tcase_add_test(c, a_process_knows_its_own_use);
    tcase_add_test(c, a_process_that_is_not_there_is_an_error);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
