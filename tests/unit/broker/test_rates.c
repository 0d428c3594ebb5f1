/* Totals and rates, with a clock of our own. */
#include "broker/rates.h"
#include "unit.h"

#define T0 INT64_C(1700000000000)

START_TEST(rates_cover_their_spans_and_fade)
{
    struct rates *r = rates_new();
    struct rates_turn turn = {.put_messages = 600, .got_messages = 1200, .missed_pulls = 60};
    struct rates_view view;

    ck_assert_ptr_nonnull(r);
    rates_add(r, &turn, T0);
    rates_view(r, T0, &view);
    ck_assert_double_eq(view.put_tps[0], 60);
    ck_assert_double_eq(view.put_tps[1], 10);
    ck_assert_double_eq(view.put_tps[2], 1);
    ck_assert_double_eq(view.got_tps[1], 20);
    ck_assert_double_eq(view.missed_tps[1], 1);
    rates_view(r, T0 + 10000, &view);
    ck_assert_double_eq(view.put_tps[0], 0);
    ck_assert_double_eq(view.put_tps[1], 10);
    rates_view(r, T0 + 600000, &view);
    ck_assert_double_eq(view.put_tps[2], 0);
    ck_assert_uint_eq(view.total.put_messages, 600);
    rates_free(r);
}
END_TEST

START_TEST(a_clock_that_steps_back_loses_nothing)
{
    struct rates *r = rates_new();
    struct rates_turn turn = {.put_messages = 10};
    struct rates_view view;

    rates_add(r, &turn, T0);
    rates_add(r, &turn, T0 - 100000);
    rates_view(r, T0 - 50000, &view);
    ck_assert_uint_eq(view.total.put_messages, 20);
    ck_assert_double_eq(view.put_tps[0], 2);
    rates_free(r);
}
END_TEST

START_TEST(a_new_day_moves_the_morning_marks)
{
    struct rates *r = rates_new();
    struct rates_turn turn = {.put_messages = 10};
    struct rates_view view;

    rates_add(r, &turn, T0);
    rates_add(r, &turn, T0 + INT64_C(86400000));
    rates_view(r, T0 + INT64_C(86400000), &view);
    ck_assert_uint_eq(view.put_yesterday_morning, 0);
    ck_assert_uint_eq(view.put_today_morning, 10);
    rates_view(r, T0 + 2 * INT64_C(86400000), &view);
    ck_assert_uint_eq(view.put_yesterday_morning, 10);
    ck_assert_uint_eq(view.put_today_morning, 20);
    rates_free(r);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/rates");
    TCase *t = tcase_create("rates");

    tcase_add_test(t, rates_cover_their_spans_and_fade);
    tcase_add_test(t, a_clock_that_steps_back_loses_nothing);
    tcase_add_test(t, a_new_day_moves_the_morning_marks);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
