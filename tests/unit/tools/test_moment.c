/* test_moment.c - times as people write them. */
#include <stdlib.h>
#include <time.h>

#include "tools/moment.h"
#include "unit.h"

static void in_a_zone(void)
{
    setenv("TZ", "XYZ-2", 1); /* two hours before UTC */
    tzset();
}

static int64_t parsed(const char *text)
{
    int64_t ms = -1;

    ck_assert_msg(moment_parse(text, &ms), "%s", text);
    return ms;
}

START_TEST(all_forms_are_read)
{
    const int64_t day = 1769817600000; /* 2026-01-31 00:00 UTC */
    const int64_t evening = day + ((23 * 60 + 59) * 60 + 58) * 1000;

    ck_assert_int_eq(parsed("0"), 0);
    ck_assert_int_eq(parsed("1769817600123"), 1769817600123);
    ck_assert_int_eq(parsed("2026-01-31Z"), day);
    ck_assert_int_eq(parsed("2026-01-31"), day - 7200000);
    ck_assert_int_eq(parsed("2026-01-31 23:59Z"), evening - 58000);
    ck_assert_int_eq(parsed("2026-01-31T23:59:58Z"), evening);
    ck_assert_int_eq(parsed("2026-01-31 23:59:58"), evening - 7200000);
    ck_assert_int_eq(parsed("2026-01-31 23:59:58.5Z"), evening + 500);
    ck_assert_int_eq(parsed("2026-01-31T23:59:58.25Z"), evening + 250);
    ck_assert_int_eq(parsed("2026-01-31 23:59:58.999"), evening + 999 - 7200000);
}
END_TEST

START_TEST(everything_else_is_refused)
{
    static const char *const bad[] = {"",
                                      "-1",
                                      "yesterday",
                                      "2026-13-01",
                                      "2026-01-31 25:00",
                                      "2026-01-31 23:59:58.",
                                      "2026-01-31 23:59:58.1234",
                                      "2026-01-31 23:59:58.5x",
                                      "2026-01-31.5",
                                      "2026-01-31 +1",
                                      "1960-01-01Z",
                                      "99999999999999999999"};
    int64_t ms;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!moment_parse(bad[i], &ms), "%s", bad[i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("moment");
    TCase *t = tcase_create("all");

    tcase_add_checked_fixture(t, in_a_zone, NULL);
    tcase_add_test(t, all_forms_are_read);
    tcase_add_test(t, everything_else_is_refused);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
