/* test_reader_pool.c - who is served when, who is refused, and that whatever was taken runs. */
#include "broker/store/reader_pool.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>

#include "unit.h"

static struct reader_pool *pool;
static sem_t started, go_on, done;
static char order[READER_POOL_WAITING_MAX + READER_POOL_FIRST_MAX + 3]; /* of each the name */
static size_t ran; /* by the only thread; read once it has posted, or is gone */

static void hold(void *ctx)
{
    (void)ctx;
    sem_post(&started);
    sem_wait(&go_on);
}

static void note(void *ctx)
{
    order[ran++] = *(const char *)ctx;
    sem_post(&done);
}

static int run(enum reader_pool_lane lane, const char *name)
{
    return reader_pool_run(pool, lane, note, (void *)(uintptr_t)name);
}

/* One thread, and that one is busy until go_on. */
static void setup(void)
{
    struct err err;

    sem_init(&started, 0, 0);
    sem_init(&go_on, 0, 0);
    sem_init(&done, 0, 0);
    memset(order, 0, sizeof(order));
    ran = 0;
    ck_assert_int_eq(reader_pool_new(&pool, 1, &err), 0);
    ck_assert_int_eq(reader_pool_run(pool, READER_POOL_USUAL, hold, NULL), 0);
    sem_wait(&started);
}

static void teardown(void)
{
    pool = reader_pool_free(pool);
    sem_destroy(&started);
    sem_destroy(&go_on);
    sem_destroy(&done);
}

static void wait_done(unsigned count)
{
    while (count-- > 0)
        sem_wait(&done);
}

START_TEST(first_lane_goes_before_the_usual_one_each_in_its_order)
{
    ck_assert_int_eq(run(READER_POOL_USUAL, "a"), 0);
    ck_assert_int_eq(run(READER_POOL_USUAL, "b"), 0);
    ck_assert_int_eq(run(READER_POOL_FIRST, "1"), 0);
    ck_assert_int_eq(run(READER_POOL_USUAL, "c"), 0);
    ck_assert_int_eq(run(READER_POOL_FIRST, "2"), 0);
    sem_post(&go_on);
    wait_done(5);
    ck_assert_str_eq(order, "12abc");
}
END_TEST

START_TEST(full_first_lane_goes_on_in_the_usual_one)
{
    for (int i = 0; i < READER_POOL_FIRST_MAX; i++)
        ck_assert_int_eq(run(READER_POOL_FIRST, "f"), 0);
    ck_assert_int_eq(run(READER_POOL_USUAL, "u"), 0);
    ck_assert_int_eq(run(READER_POOL_FIRST, "g"), 0);
    sem_post(&go_on);
    wait_done(READER_POOL_FIRST_MAX + 2);
    ck_assert_str_eq(order + READER_POOL_FIRST_MAX, "ug");
}
END_TEST

START_TEST(full_usual_lane_refuses_and_the_first_still_takes)
{
    unsigned waiting;
    int64_t waits_ms;

    for (int i = 0; i < READER_POOL_WAITING_MAX; i++)
        ck_assert_int_eq(run(READER_POOL_USUAL, "u"), 0);
    ck_assert_int_eq(run(READER_POOL_USUAL, "u"), -EAGAIN);
    for (int i = 0; i < READER_POOL_FIRST_MAX; i++)
        ck_assert_int_eq(run(READER_POOL_FIRST, "f"), 0);
    ck_assert_int_eq(run(READER_POOL_FIRST, "f"), -EAGAIN);
    reader_pool_stats(pool, &waiting, &waits_ms);
    ck_assert_uint_eq(waiting, READER_POOL_WAITING_MAX);
    ck_assert_int_ge(waits_ms, 0);

    sem_post(&go_on);
    wait_done(READER_POOL_WAITING_MAX + READER_POOL_FIRST_MAX);
    ck_assert_uint_eq(strspn(order, "f"), READER_POOL_FIRST_MAX);
    ck_assert_uint_eq(strspn(order + READER_POOL_FIRST_MAX, "u"), READER_POOL_WAITING_MAX);
    /* Both rings go round. */
    ck_assert_int_eq(run(READER_POOL_FIRST, "g"), 0);
    ck_assert_int_eq(run(READER_POOL_USUAL, "v"), 0);
    wait_done(2);
}
END_TEST

START_TEST(end_of_the_pool_runs_what_it_has_taken)
{
    ck_assert_int_eq(run(READER_POOL_USUAL, "a"), 0);
    ck_assert_int_eq(run(READER_POOL_FIRST, "1"), 0);
    sem_post(&go_on);
    pool = reader_pool_free(pool);
    ck_assert_str_eq(order, "1a");
}
END_TEST

static Suite *reader_pool_suite(void)
{
    Suite *s = suite_create("reader_pool");
    TCase *c = tcase_create("lanes");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, first_lane_goes_before_the_usual_one_each_in_its_order);
    tcase_add_test(c, full_usual_lane_refuses_and_the_first_still_takes);
    tcase_add_test(c, full_first_lane_goes_on_in_the_usual_one);
    tcase_add_test(c, end_of_the_pool_runs_what_it_has_taken);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(reader_pool_suite)
