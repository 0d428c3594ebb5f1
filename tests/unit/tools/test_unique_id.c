/* test_unique_id.c - message ids as clients make them. */
#include "tools/unique_id.h"

#include <string.h>
#include <time.h>

#include "unit.h"

START_TEST(an_id_has_address_process_random_time_and_counter)
{
    struct unique_id u = {
        .origin = {127, 0, 0, 1, 0xab, 0xcd, 1, 2, 3, 4}, .month_ms = 1000, .counter = 0xfffe};
    char id[UNIQUE_ID_DIGITS + 1];

    unique_id_next(&u, 1000 + 0x12345678, id);
    ck_assert_str_eq(id, "7F000001ABCD0102030412345678FFFE");
    unique_id_next(&u, 1000 + 0x12345678, id);
    ck_assert_str_eq(id, "7F000001ABCD0102030412345678FFFF");
    unique_id_next(&u, 1000 + 0x12345679, id);
    ck_assert_str_eq(id, "7F000001ABCD01020304123456790000");
}
END_TEST

START_TEST(time_counts_from_the_first_of_the_month)
{
    setenv("TZ", "UTC", 1);
    tzset();
    ck_assert_int_eq(unique_id_month_start(1700000000007), 1698796800000); /* 2023-11-01 */
    ck_assert_int_eq(unique_id_month_start(1698796800000), 1698796800000);
}
END_TEST

START_TEST(two_makers_differ)
{
    struct unique_id a, b;

    unique_id_init(&a);
    unique_id_init(&b);
    ck_assert_mem_eq(a.origin, b.origin, 6); /* address and process */
    ck_assert_mem_ne(a.origin, b.origin, 10);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("unique_id");
    TCase *c = tcase_create("unique_id");

    tcase_add_test(c, an_id_has_address_process_random_time_and_counter);
    tcase_add_test(c, time_counts_from_the_first_of_the_month);
    tcase_add_test(c, two_makers_differ);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
