/* test_histogram.c - percentiles. */
#include "tools/histogram.h"

#include <string.h>

#include "unit.h"

static struct histogram h;

static void setup(void)
{
    memset(&h, 0, sizeof(h));
}

START_TEST(an_empty_histogram_has_zero_everywhere)
{
    ck_assert_uint_eq(histogram_percentile(&h, 50), 0);
    ck_assert_uint_eq(h.max, 0);
    ck_assert(histogram_mean(&h) == 0);
}
END_TEST

START_TEST(small_values_are_exact)
{
    for (uint64_t v = 1; v <= 100; v++)
        histogram_add(&h, v);
    ck_assert_uint_eq(histogram_percentile(&h, 0), 1);
    ck_assert_uint_eq(histogram_percentile(&h, 50), 50);
    ck_assert_uint_eq(histogram_percentile(&h, 99), 99);
    ck_assert_uint_eq(histogram_percentile(&h, 99.9), 100);
    ck_assert_uint_eq(histogram_percentile(&h, 100), 100);
    ck_assert(histogram_mean(&h) == 50.5);
}
END_TEST

/* A second, larger value keeps the maximum from hiding the width of the bucket. */
START_TEST(every_value_is_within_one_64th)
{
    uint64_t v = 1;

    for (int i = 0; i < 2000; i++) {
        uint64_t p;

        setup();
        histogram_add(&h, v);
        histogram_add(&h, UINT64_MAX);
        p = histogram_percentile(&h, 50);
        ck_assert_uint_ge(p, v);
        ck_assert_uint_le(p - v, v / 64);
        v += v / 50 + 1;
        if (v > UINT64_MAX / 2)
            break;
    }
    ck_assert_uint_gt(v, UINT64_C(1) << 40);
}
END_TEST

START_TEST(a_percentile_never_exceeds_the_largest_value)
{
    histogram_add(&h, 1000001);
    ck_assert_uint_eq(histogram_percentile(&h, 50), 1000001);
    ck_assert_uint_eq(h.max, 1000001);
}
END_TEST

START_TEST(the_largest_values_have_a_bucket)
{
    histogram_add(&h, UINT64_MAX);
    histogram_add(&h, UINT64_MAX - 1);
    ck_assert_uint_eq(histogram_percentile(&h, 100), UINT64_MAX);
}
END_TEST

START_TEST(merging_is_adding_all_values)
{
    static struct histogram other;

    memset(&other, 0, sizeof(other));
    for (uint64_t v = 0; v < 1000; v++)
        histogram_add(v % 2 ? &h : &other, v * 1000);
    histogram_merge(&h, &other);
    ck_assert_uint_eq(h.total, 1000);
    ck_assert_uint_eq(h.max, 999000);
    ck_assert(histogram_mean(&h) == 499500);
    ck_assert_uint_ge(histogram_percentile(&h, 50), 499000);
    ck_assert_uint_le(histogram_percentile(&h, 50), 499000 + 499000 / 64);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("histogram");
    TCase *c = tcase_create("histogram");

    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, an_empty_histogram_has_zero_everywhere);
    tcase_add_test(c, small_values_are_exact);
    tcase_add_test(c, every_value_is_within_one_64th);
    tcase_add_test(c, a_percentile_never_exceeds_the_largest_value);
    tcase_add_test(c, the_largest_values_have_a_bucket);
    tcase_add_test(c, merging_is_adding_all_values);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
