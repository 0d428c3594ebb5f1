/* test_retention.c - which segments go, and why: the decision alone. */
#include <errno.h>

#include "broker/store/retention.h"
#include "unit.h"

#define HOUR_MS INT64_C(3600000)
#define NOW_MS INT64_C(1700000000000)

static struct retention_rules rules;
static struct retention_facts facts;

static void set_up(void)
{
    rules = (struct retention_rules){
        .reserved_ms = 72 * HOUR_MS,
        .hours = 1 << 4,
        .expired_percent = 75,
        .forced_percent = 85,
        .refuse_percent = 90,
        .forced = true,
    };
    facts = (struct retention_facts){
        .now_ms = NOW_MS,
        .modified_ms = NOW_MS - 73 * HOUR_MS,
        .hour = 5,
        .used_percent = 50,
        .free_bytes = 1 << 30,
        .log_bytes = 1 << 30,
    };
}

static void is(enum retention_reason reason)
{
    ck_assert_int_eq(retention_judge(&rules, &facts), reason);
}

START_TEST(expired_segments_go_in_their_hours_only)
{
    is(RETENTION_KEEP);
    facts.hour = 4;
    is(RETENTION_EXPIRED);
    facts.modified_ms = NOW_MS - 72 * HOUR_MS;
    is(RETENTION_EXPIRED);
    facts.modified_ms++;
    is(RETENTION_KEEP);
    facts.modified_ms = NOW_MS + 1000 * HOUR_MS; /* a clock that was set back */
    is(RETENTION_KEEP);
}
END_TEST

START_TEST(expired_segments_go_at_any_hour_on_request_and_from_a_fuller_disk)
{
    facts.asked = true;
    is(RETENTION_EXPIRED);
    facts.asked = false;
    facts.used_percent = 75;
    is(RETENTION_KEEP);
    facts.used_percent = 76;
    is(RETENTION_EXPIRED);
    facts.modified_ms = NOW_MS;
    facts.asked = true;
    is(RETENTION_KEEP);
}
END_TEST

START_TEST(any_segment_goes_from_a_disk_that_is_too_full)
{
    facts.modified_ms = NOW_MS;
    facts.used_percent = 85;
    is(RETENTION_KEEP);
    facts.used_percent = 86;
    is(RETENTION_DISK_RATIO);
    rules.forced = false;
    is(RETENTION_KEEP);
    facts.used_percent = -1; /* unknown */
    rules.forced = true;
    is(RETENTION_KEEP);
}
END_TEST

START_TEST(bounds_in_bytes_hold_at_any_age)
{
    facts.modified_ms = NOW_MS;
    rules.log_bytes_max = facts.log_bytes;
    is(RETENTION_KEEP);
    facts.log_bytes++;
    is(RETENTION_LOG_BYTES);
    rules.log_bytes_max = 0;
    rules.free_bytes_min = facts.free_bytes;
    is(RETENTION_KEEP);
    facts.free_bytes--;
    is(RETENTION_FREE_BYTES);
    rules.forced = false; /* a switch of RocketMQ's rule, not of ours */
    is(RETENTION_FREE_BYTES);
    facts.free_bytes = UINT64_MAX; /* unknown */
    is(RETENTION_KEEP);
}
END_TEST

START_TEST(percent_is_rounded_up)
{
    struct file_space space = {.total = 1000 << 20, .used = 0, .usable = 1000 << 20};

    ck_assert_int_eq(retention_percent(&space), 0);
    space.used = 1 << 20;
    ck_assert_int_eq(retention_percent(&space), 1);
    space.used = 90 << 20;
    space.usable = 10 << 20; /* the rest is kept for root */
    ck_assert_int_eq(retention_percent(&space), 90);
    space.used++;
    ck_assert_int_eq(retention_percent(&space), 90); /* counted in KiB */
    space.used += 1 << 10;
    ck_assert_int_eq(retention_percent(&space), 91);
    space.usable = 0;
    ck_assert_int_eq(retention_percent(&space), 100);
    space.used = UINT64_MAX;
    ck_assert_int_eq(retention_percent(&space), 100);
    space = (struct file_space){0};
    ck_assert_int_eq(retention_percent(&space), 0);
}
END_TEST

START_TEST(hours_are_listed)
{
    static const char *const bad[] = {"",    ";",    "4;",  ";4",  "24", "-1",
                                      "004", "4;;5", " 04", "4 5", "4a"};
    uint32_t hours;

    ck_assert_int_eq(retention_hours("04", &hours), 0);
    ck_assert_uint_eq(hours, 1 << 4);
    ck_assert_int_eq(retention_hours("0;4;23", &hours), 0);
    ck_assert_uint_eq(hours, 1 | 1 << 4 | 1 << 23);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(retention_hours(bad[i], &hours) == -EINVAL, "\"%s\" is taken", bad[i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("retention");
    TCase *c = tcase_create("retention");

    tcase_add_checked_fixture(c, set_up, NULL);
    tcase_add_test(c, expired_segments_go_in_their_hours_only);
    tcase_add_test(c, expired_segments_go_at_any_hour_on_request_and_from_a_fuller_disk);
    tcase_add_test(c, any_segment_goes_from_a_disk_that_is_too_full);
    tcase_add_test(c, bounds_in_bytes_hold_at_any_age);
    tcase_add_test(c, percent_is_rounded_up);
    tcase_add_test(c, hours_are_listed);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
