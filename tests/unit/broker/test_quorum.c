/* test_quorum.c - what may be confirmed, from what members have acknowledged and how long others
 * have waited. */
#include "broker/replication/quorum.h"

#include "unit.h"

enum { NEAR = 1000, TIMEOUT = 3000 };

static struct quorum q;

static void start(unsigned copies, enum quorum_policy policy, uint64_t written)
{
    struct quorum_options options = {
        .copies = copies, .policy = policy, .timeout_ms = TIMEOUT, .behind_max = NEAR};

    quorum_init(&q, &options, written);
}

static uint64_t limit_at(int64_t now, uint64_t written)
{
    quorum_update(&q, now, written);
    return quorum_limit(&q);
}

static int member(const char *identity, uint64_t acked)
{
    int c = quorum_connect(&q, identity, 0);

    ck_assert_int_ge(c, 0);
    quorum_report(&q, c, acked, 0);
    return c;
}

START_TEST(one_copy_waits_for_nobody)
{
    start(1, QUORUM_STRICT, 0);
    ck_assert_uint_eq(limit_at(0, 100), UINT64_MAX);
    ck_assert_uint_eq(q.acked, UINT64_MAX);
    ck_assert_int_eq(quorum_update(&q, 0, 100), INT64_MAX);
}
END_TEST

START_TEST(the_limit_is_what_enough_members_have)
{
    start(2, QUORUM_STRICT, 100);
    ck_assert_uint_eq(limit_at(0, 200), 100);
    int a = member("a", 150);
    ck_assert_uint_eq(limit_at(0, 200), 150);
    int b = member("b", 180);
    ck_assert_uint_eq(limit_at(0, 200), 180);
    quorum_report(&q, a, 200, 0);
    ck_assert_uint_eq(limit_at(0, 200), 200);
    quorum_disconnect(&q, a);
    quorum_disconnect(&q, b);
    ck_assert_uint_eq(limit_at(0, 300), 200);
}
END_TEST

START_TEST(three_copies_need_two_members)
{
    start(3, QUORUM_STRICT, 0);
    member("a", 500);
    ck_assert_uint_eq(limit_at(0, 500), 0);
    int b = member("b", 300);
    ck_assert_uint_eq(limit_at(0, 500), 300);
    member("c", 400);
    ck_assert_uint_eq(limit_at(0, 500), 400);
    quorum_report(&q, b, 450, 0);
    ck_assert_uint_eq(limit_at(0, 500), 450);
}
END_TEST

START_TEST(a_member_connected_twice_counts_once_and_for_the_least)
{
    start(3, QUORUM_STRICT, 0);
    int first = member("a", 500);
    member("a", 400);
    ck_assert_uint_eq(limit_at(0, 500), 0);
    member("b", 500);
    ck_assert_uint_eq(limit_at(0, 500), 400);
    quorum_report(&q, first, 100, 0);
    ck_assert_uint_eq(limit_at(0, 500), 400); /* it never falls */
    ck_assert_uint_eq(quorum_near(&q), 2);
}
END_TEST

/* A port scanner on the slave's host, or a half-open connection. */
START_TEST(a_connection_that_says_nothing_takes_nothing_from_one_of_its_host_that_reports)
{
    for (int order = 0; order < 2; order++) {
        int silent = -1, slave;

        start(2, QUORUM_STRICT, 0);
        if (order == 0)
            silent = quorum_connect(&q, "a", 0);
        slave = member("a", 500);
        if (order == 1)
            silent = quorum_connect(&q, "a", 0);
        ck_assert_uint_eq(limit_at(0, 600), 500);
        quorum_report(&q, slave, 600, 0);
        ck_assert_uint_eq(limit_at(0, 600), 600);
        limit_at(0, 600 + NEAR);
        ck_assert_uint_eq(quorum_near(&q), 0);
        quorum_report(&q, silent, 700, 0);
        ck_assert_uint_eq(quorum_near(&q), 1);
        ck_assert_uint_eq(limit_at(0, 600 + NEAR), 600); /* the lesser of the two */
    }
}
END_TEST

START_TEST(without_a_member_that_is_near_nobody_waits_unless_strict)
{
    start(2, QUORUM_GO_ON, 100);
    ck_assert_uint_eq(limit_at(0, 100), UINT64_MAX);
    int a = quorum_connect(&q, "a", 0);
    ck_assert_uint_eq(limit_at(0, 200), 200); /* it may be near; all so far was seen */
    quorum_report(&q, a, 200 - 150, 0);
    ck_assert_uint_eq(limit_at(1, 300), 200);
    ck_assert_uint_eq(q.acked, 50);
    ck_assert_uint_eq(limit_at(2, 50 + NEAR), UINT64_MAX); /* too far behind */
    quorum_report(&q, a, 400, 0);
    ck_assert_uint_eq(limit_at(3, 50 + NEAR), 50 + NEAR);
    quorum_disconnect(&q, a);
    ck_assert_uint_eq(limit_at(4, 50 + NEAR), UINT64_MAX);

    start(2, QUORUM_STRICT, 100);
    ck_assert_uint_eq(limit_at(0, 200), 100);
    ck_assert_uint_eq(limit_at(1000000, 5000), 100);
}
END_TEST

START_TEST(what_has_waited_for_the_timeout_goes_on)
{
    start(2, QUORUM_GO_ON, 0);
    int a = member("a", 0);
    ck_assert_uint_eq(limit_at(0, 0), 0);
    ck_assert_int_eq(quorum_update(&q, 1000, 100), 1000 + TIMEOUT + QUORUM_SAMPLE_MS);
    quorum_report(&q, a, 10, 2000); /* it is slow */
    ck_assert_uint_eq(limit_at(2000, 200), 10);
    ck_assert_uint_eq(limit_at(1000 + TIMEOUT + QUORUM_SAMPLE_MS - 1, 200), 10);
    ck_assert_uint_eq(limit_at(1000 + TIMEOUT + QUORUM_SAMPLE_MS, 200), 100);
    ck_assert_uint_eq(q.acked, 10);
    quorum_report(&q, a, 20, 4500);
    ck_assert_int_eq(quorum_update(&q, 4500, 200), 2000 + TIMEOUT + QUORUM_SAMPLE_MS);
    ck_assert_uint_eq(limit_at(2000 + TIMEOUT + QUORUM_SAMPLE_MS, 200), 200);
    ck_assert_int_eq(quorum_update(&q, 9000, 200), INT64_MAX);
}
END_TEST

START_TEST(who_takes_nothing_is_waited_for_once)
{
    start(2, QUORUM_GO_ON, 0);
    int a = member("a", 0);
    limit_at(0, 0);
    limit_at(5000, 100); /* there was nothing to take before */
    ck_assert_uint_eq(limit_at(6000, 200), 0);
    ck_assert_uint_eq(quorum_near(&q), 1);
    quorum_report(&q, a, 0, 7000);
    ck_assert_uint_eq(limit_at(5000 + TIMEOUT + QUORUM_SAMPLE_MS, 300), UINT64_MAX);
    ck_assert_uint_eq(quorum_near(&q), 0);
    quorum_report(&q, a, 0, 8500); /* heard of, but that is all */
    ck_assert_uint_eq(limit_at(8500, 400), UINT64_MAX);
    quorum_report(&q, a, 299, 9000);
    ck_assert_uint_eq(quorum_near(&q), 0);
    quorum_report(&q, a, 300, 9001); /* all that was there when it was given up */
    ck_assert_uint_eq(quorum_near(&q), 1);
    ck_assert_uint_eq(limit_at(9001, 500), 500);
    ck_assert_uint_eq(limit_at(9002, 600), 500);
    quorum_report(&q, a, 600, 9003);
    ck_assert_uint_eq(limit_at(9003, 600), 600);

    /* What took it longer would take a new message as long. */
    ck_assert_uint_eq(limit_at(10000, 700), 600);
    quorum_report(&q, a, 600, 12500);
    ck_assert_uint_eq(limit_at(10000 + TIMEOUT + QUORUM_SAMPLE_MS, 700), UINT64_MAX);
    ck_assert_uint_eq(limit_at(20000, 1500), UINT64_MAX);
    quorum_report(&q, a, 700, 20000);
    ck_assert_uint_eq(quorum_near(&q), 0);
    quorum_report(&q, a, 1499, 21000);
    ck_assert_uint_eq(quorum_near(&q), 0);
    quorum_report(&q, a, 1500, 21000);
    ck_assert_uint_eq(quorum_near(&q), 1);

    /* Of three the other one will do. */
    start(2, QUORUM_GO_ON, 0);
    a = member("a", 0);
    int b = member("b", 0);
    limit_at(0, 0);
    limit_at(0, 100);
    quorum_report(&q, b, 50, 1000);
    quorum_report(&q, a, 0, 2500);
    ck_assert_uint_eq(limit_at(1000, 100), 50);
    ck_assert_uint_eq(limit_at(TIMEOUT + QUORUM_SAMPLE_MS, 200), 100);
    ck_assert_uint_eq(quorum_near(&q), 1);
    quorum_report(&q, b, 200, TIMEOUT + 500);
    ck_assert_uint_eq(limit_at(TIMEOUT + 500, 200), 200);
    quorum_report(&q, a, 200, TIMEOUT + 600);
    ck_assert_uint_eq(quorum_near(&q), 2);

    /* Whoever comes anew is waited for again. */
    start(2, QUORUM_GO_ON, 0);
    a = member("a", 0);
    limit_at(0, 0);
    limit_at(0, 100);
    quorum_report(&q, a, 0, 2500);
    ck_assert_uint_eq(limit_at(TIMEOUT + QUORUM_SAMPLE_MS, 100), UINT64_MAX);
    quorum_disconnect(&q, a);
    a = quorum_connect(&q, "a", TIMEOUT + 500);
    quorum_report(&q, a, 0, TIMEOUT + 500);
    ck_assert_uint_eq(limit_at(TIMEOUT + 500, 100), 100);
    ck_assert_uint_eq(limit_at(TIMEOUT + 600, 200), 100);

    /* Who is not heard of may be cut off, and go on by itself. */
    start(2, QUORUM_GO_ON, 0);
    a = member("a", 0);
    limit_at(0, 0);
    limit_at(5000, 100);
    quorum_report(&q, a, 0, 5000);
    ck_assert_uint_eq(limit_at(7000, 200), 0);
    ck_assert_uint_eq(limit_at(5000 + TIMEOUT + QUORUM_SAMPLE_MS, 200), 100);
    ck_assert_uint_eq(quorum_near(&q), 1);
    ck_assert_uint_eq(limit_at(7000 + TIMEOUT + QUORUM_SAMPLE_MS - 1, 300), 100);

    start(2, QUORUM_STRICT, 0);
    member("a", 0);
    ck_assert_uint_eq(limit_at(0, 100), 0);
    ck_assert_uint_eq(limit_at(1000000, 200), 0);
    ck_assert_uint_eq(quorum_near(&q), 1);
}
END_TEST

/* The connection of a machine that has gone, and the one that it made when it was back. */
START_TEST(who_is_silent_on_one_connection_and_takes_on_another_is_not_waited_for)
{
    int64_t now = TIMEOUT + QUORUM_SAMPLE_MS;
    int back;

    start(2, QUORUM_GO_ON, 0);
    member("a", 0);
    back = member("a", 0);
    ck_assert_uint_eq(limit_at(0, 0), 0);
    ck_assert_uint_eq(limit_at(0, 100), 0);
    quorum_report(&q, back, 100, 1);
    ck_assert_uint_eq(limit_at(1, 100), 0); /* the lesser of the two */
    ck_assert_uint_eq(limit_at(now, 100), 100);
    ck_assert_uint_eq(limit_at(now, 200), 100);
    quorum_report(&q, back, 200, now + 1);
    ck_assert_uint_eq(limit_at(now + 1, 200), 200);
    ck_assert_uint_eq(q.acked, 200);
    ck_assert_uint_eq(quorum_near(&q), 1);
}
END_TEST

START_TEST(what_is_acknowledged_in_time_is_no_longer_timed)
{
    start(2, QUORUM_GO_ON, 0);
    int a = member("a", 0);
    limit_at(0, 0);
    limit_at(1000, 100);
    quorum_report(&q, a, 100, 0);
    ck_assert_int_eq(quorum_update(&q, 1001, 100), INT64_MAX);
    ck_assert_uint_eq(quorum_limit(&q), 100);
}
END_TEST

START_TEST(a_long_wait_with_many_writes_stays_bounded_and_in_order)
{
    uint64_t limit = 0, before = 0;

    start(2, QUORUM_GO_ON, 0);
    q.options.behind_max = UINT64_MAX;
    int a = member("a", 0);
    limit_at(0, 0);
    for (int64_t now = 0; now < 20000; now++) {
        quorum_report(&q, a, (uint64_t)now / 100, now); /* it is slow */
        limit = limit_at(now, (uint64_t)now + 1);
        ck_assert_uint_ge(limit, before);
        ck_assert_uint_le(limit, (uint64_t)now + 1);
        /* Nothing goes on before its time. */
        ck_assert_int_le((int64_t)limit,
                         now - TIMEOUT + 1 > now / 100 ? now - TIMEOUT + 1 : now / 100);
        before = limit;
    }
    ck_assert_uint_gt(limit, 10000);
}
END_TEST

START_TEST(too_many_connections_are_refused)
{
    start(2, QUORUM_STRICT, 0);
    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++)
        ck_assert_int_ge(quorum_connect(&q, "a", 0), 0);
    ck_assert_int_eq(quorum_connect(&q, "b", 0), -1);
    quorum_disconnect(&q, 5);
    ck_assert_int_eq(quorum_connect(&q, "b", 0), 5);
}
END_TEST

static Suite *quorum_suite(void)
{
    Suite *s = suite_create("quorum");
    TCase *t = tcase_create("quorum");

    tcase_add_test(t, one_copy_waits_for_nobody);
    tcase_add_test(t, the_limit_is_what_enough_members_have);
    tcase_add_test(t, three_copies_need_two_members);
    tcase_add_test(t, a_member_connected_twice_counts_once_and_for_the_least);
    tcase_add_test(t,
                   a_connection_that_says_nothing_takes_nothing_from_one_of_its_host_that_reports);
    tcase_add_test(t, without_a_member_that_is_near_nobody_waits_unless_strict);
    tcase_add_test(t, what_has_waited_for_the_timeout_goes_on);
    tcase_add_test(t, who_takes_nothing_is_waited_for_once);
    tcase_add_test(t, who_is_silent_on_one_connection_and_takes_on_another_is_not_waited_for);
    tcase_add_test(t, what_is_acknowledged_in_time_is_no_longer_timed);
    tcase_add_test(t, a_long_wait_with_many_writes_stays_bounded_and_in_order);
    tcase_add_test(t, too_many_connections_are_refused);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(quorum_suite)
