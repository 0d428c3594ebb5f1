/* Rates of (topic, group) pairs, with a clock of our own. */
#include "broker/consume_rates.h"
#include "common/log.h"
#include "unit.h"

#include <stdio.h>

#define T0 INT64_C(1000000) /* a multiple of ten seconds */

enum { MOST = 1024 };

static struct consume_rates *r;

static void set_up(void)
{
    r = consume_rates_new(MOST);
    ck_assert_ptr_nonnull(r);
    log_set_level(LOG_LEVEL_ERROR);
}

static void tear_down(void)
{
    r = consume_rates_free(r);
}

static struct consume_counter found(uint32_t topic, const char *group, int64_t now_ms)
{
    return consume_rates_find(r, topic, bytes_str(group), now_ms);
}

static void add(uint32_t topic, const char *group, uint32_t messages, int64_t now_ms)
{
    consume_rates_add(r, found(topic, group, now_ms), messages, now_ms);
}

static double rate(uint32_t topic, const char *group, int64_t now_ms)
{
    return consume_rates_of(r, topic, bytes_str(group), now_ms);
}

START_TEST(a_pair_is_counted_by_itself)
{
    add(1, "G", 50, T0);
    add(1, "H", 100, T0);
    add(2, "G", 150, T0);
    ck_assert_double_eq(rate(1, "G", T0), 1);
    ck_assert_double_eq(rate(1, "H", T0), 2);
    ck_assert_double_eq(rate(2, "G", T0), 3);
    ck_assert_double_eq(rate(2, "H", T0), 0);
    ck_assert_double_eq(rate(1, "", T0), 0);
}
END_TEST

START_TEST(a_steady_rate_is_what_it_is_at_any_time)
{
    int64_t now = T0;

    for (; now < T0 + 200000; now += 100)
        add(1, "G", 7, now);
    for (int i = 0; i < 300; i++, now += 100) {
        add(1, "G", 7, now);
        ck_assert_double_eq_tol(rate(1, "G", now + 99), 70, 0.2);
    }
}
END_TEST

START_TEST(what_is_older_than_a_minute_is_forgotten)
{
    add(1, "G", 60, T0);
    ck_assert_double_eq(rate(1, "G", T0 + 10000), 60 / 50.0);
    ck_assert_double_eq(rate(1, "G", T0 + 59999), 60 / 59.999);
    ck_assert_double_eq(rate(1, "G", T0 + 60000), 0);
    add(1, "G", 60, T0 + 3600000);
    ck_assert_double_eq(rate(1, "G", T0 + 3600000), 60 / 50.0);
    add(1, "G", 40, T0); /* a thread that looked at its clock earlier */
    ck_assert_double_eq(rate(1, "G", T0 + 3600000), 100 / 50.0);
}
END_TEST

static const char *group_name(unsigned i)
{
    static char name[32];

    snprintf(name, sizeof(name), "G%u", i);
    return name;
}

START_TEST(a_full_table_takes_newcomers_in_place_of_idle_pairs)
{
    struct consume_counter old = found(1, "old", T0);
    struct consume_counter none;
    unsigned made = 0;

    for (; made < 4 * MOST; made++)
        add(1, group_name(made), 1, T0);
    ck_assert_double_gt(rate(1, "G0", T0), 0);
    none = found(1, group_name(made), T0);
    ck_assert_uint_eq(none.generation, 0);
    consume_rates_add(r, none, 5, T0);
    ck_assert_double_eq(rate(1, group_name(made), T0), 0);

    for (unsigned i = 0; i < 2 * MOST; i++)
        add(2, group_name(i), 50, T0 + 60000);
    ck_assert_double_eq(rate(2, "G0", T0 + 60000), 1);
    ck_assert_double_eq(rate(1, "G0", T0 + 60000), 0);
    /* the counter of a pair that is gone adds to nobody's rate */
    consume_rates_add(r, old, 1000000, T0 + 60000);
    for (unsigned i = 0; i < 2 * MOST; i++)
        ck_assert_double_le(rate(2, group_name(i), T0 + 60000), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/consume_rates");
    TCase *t = tcase_create("consume_rates");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_pair_is_counted_by_itself);
    tcase_add_test(t, a_steady_rate_is_what_it_is_at_any_time);
    tcase_add_test(t, what_is_older_than_a_minute_is_forgotten);
    tcase_add_test(t, a_full_table_takes_newcomers_in_place_of_idle_pairs);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
