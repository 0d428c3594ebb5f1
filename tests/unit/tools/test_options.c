/* test_options.c - command lines. */
#include "tools/options.h"

#include <errno.h>

#include "unit.h"

static bool flag;
static const char *text;
static int64_t number, millis;
static struct option_list list;
static struct err err;
static int operands;

static const struct option_spec specs[] = {
    {"json", 0, OPTION_FLAG, &flag, NULL, "print JSON", 0, 0},
    {"namesrv", 'n', OPTION_TEXT, &text, "ADDR", "name servers", 0, 0},
    {"queues", 'q', OPTION_NUMBER, &number, "N", "queues", 1, 100},
    {"timeout", 0, OPTION_MILLIS, &millis, "SECONDS", "time", 1, 60000},
    {"property", 'p', OPTION_LIST, &list, "NAME=VALUE", "a property", 0, 0},
};

static void setup(void)
{
    flag = false;
    text = NULL;
    number = millis = -1;
    list.count = 0;
    operands = -1;
    err = (struct err){0};
}

#define PARSE(...)                                                                                 \
    do {                                                                                           \
        char *given[] = {__VA_ARGS__};                                                             \
        result = options_parse(specs, 5, sizeof(given) / sizeof(given[0]), given, false,           \
                               &operands, &err);                                                   \
    } while (0)

static int result;

START_TEST(all_ways_to_write_a_value_are_the_same)
{
    PARSE("--namesrv", "a");
    ck_assert_str_eq(text, "a");
    PARSE("--namesrv=b");
    ck_assert_str_eq(text, "b");
    PARSE("-n", "c");
    ck_assert_str_eq(text, "c");
    PARSE("-nd");
    ck_assert_str_eq(text, "d");
    ck_assert_int_eq(result, 0);
    PARSE("--namesrv=");
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(operands_are_gathered_in_order)
{
    char *args[] = {"T1", "--json", "hello", "-q", "3", "-", "--", "--json"};

    ck_assert_int_eq(options_parse(specs, 5, 8, args, false, &operands, &err), 0);
    ck_assert_int_eq(operands, 4);
    ck_assert_str_eq(args[0], "T1");
    ck_assert_str_eq(args[1], "hello");
    ck_assert_str_eq(args[2], "-");
    ck_assert_str_eq(args[3], "--json");
    ck_assert(flag);
    ck_assert_int_eq(number, 3);
}
END_TEST

START_TEST(reading_can_stop_at_the_first_operand)
{
    char *args[] = {"-n", "a", "topic", "list", "--json"};

    ck_assert_int_eq(options_parse(specs, 5, 5, args, true, &operands, &err), 0);
    ck_assert_int_eq(operands, 3);
    ck_assert_str_eq(args[0], "topic");
    ck_assert_str_eq(args[2], "--json");
    ck_assert(!flag);
}
END_TEST

START_TEST(a_misspelt_option_names_the_nearest)
{
    PARSE("--quues", "3");
    ck_assert_int_eq(result, -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "did you mean --queues?"));
    PARSE("--something");
    ck_assert_str_eq(err.text, "unknown option --something");
    PARSE("-x");
    ck_assert_str_eq(err.text, "unknown option -x");
}
END_TEST

START_TEST(numbers_outside_their_bounds_are_refused)
{
    PARSE("--queues", "0");
    ck_assert_int_eq(result, -EINVAL);
    ck_assert_str_eq(err.text, "--queues 0: expected a number, 1 to 100");
    PARSE("-q101");
    ck_assert_int_eq(result, -EINVAL);
    PARSE("-q", "ten");
    ck_assert_int_eq(result, -EINVAL);
    ck_assert_int_eq(number, -1);
}
END_TEST

START_TEST(seconds_may_have_a_fraction)
{
    PARSE("--timeout", "2");
    ck_assert_int_eq(millis, 2000);
    PARSE("--timeout", "0.25");
    ck_assert_int_eq(millis, 250);
    PARSE("--timeout", ".5");
    ck_assert_int_eq(millis, 500);
    PARSE("--timeout", "1.0009");
    ck_assert_int_eq(millis, 1000);
    static const char *const bad[] = {"-1", "1.x", ".",   "",
                                      "61", "0",   "1e3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        PARSE("--timeout", (char *)(uintptr_t)bad[i]);
        ck_assert_msg(result == -EINVAL, "accepted \"%s\"", bad[i]);
    }
}
END_TEST

START_TEST(a_list_keeps_every_item_up_to_its_bound)
{
    char *args[2 * OPTION_LIST_MAX + 2];

    PARSE("-p", "a=1", "--property=b=2");
    ck_assert_uint_eq(list.count, 2);
    ck_assert_str_eq(list.items[1], "b=2");

    list.count = 0;
    for (int i = 0; i <= OPTION_LIST_MAX; i++) {
        args[2 * i] = "-p";
        args[2 * i + 1] = "x=y";
    }
    ck_assert_int_eq(options_parse(specs, 5, 2 * OPTION_LIST_MAX + 2, args, false, &operands, &err),
                     -EINVAL);
    ck_assert_uint_eq(list.count, OPTION_LIST_MAX);
}
END_TEST

START_TEST(a_missing_value_and_one_too_many_are_refused)
{
    PARSE("--json", "--queues");
    ck_assert_int_eq(result, -EINVAL);
    ck_assert_str_eq(err.text, "--queues needs a value (N)");
    PARSE("--json=yes");
    ck_assert_int_eq(result, -EINVAL);
}
END_TEST

START_TEST(help_is_aligned)
{
    struct buf out = {0};

    options_help(specs, 3, &out);
    buf_add_u8(&out, 0);
    ck_assert_str_eq((char *)buf_at(&out), "      --json          print JSON\n"
                                           "  -n, --namesrv ADDR  name servers\n"
                                           "  -q, --queues N      queues\n");
    buf_destroy(&out);
}
END_TEST

START_TEST(distance_counts_insertions_deletions_and_changes)
{
    ck_assert_uint_eq(options_distance("route", "route"), 0);
    ck_assert_uint_eq(options_distance("rout", "route"), 1);
    ck_assert_uint_eq(options_distance("crate", "create"), 1);
    ck_assert_uint_eq(options_distance("lost", "list"), 1);
    ck_assert_uint_eq(options_distance("", "abc"), 3);
    ck_assert_uint_gt(options_distance("a", "01234567890123456789012345678901234567890123456789"),
                      2);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("options");
    TCase *c = tcase_create("options");

    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, all_ways_to_write_a_value_are_the_same);
    tcase_add_test(c, operands_are_gathered_in_order);
    tcase_add_test(c, reading_can_stop_at_the_first_operand);
    tcase_add_test(c, a_misspelt_option_names_the_nearest);
    tcase_add_test(c, numbers_outside_their_bounds_are_refused);
    tcase_add_test(c, seconds_may_have_a_fraction);
    tcase_add_test(c, a_list_keeps_every_item_up_to_its_bound);
    tcase_add_test(c, a_missing_value_and_one_too_many_are_refused);
    tcase_add_test(c, help_is_aligned);
    tcase_add_test(c, distance_counts_insertions_deletions_and_changes);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
