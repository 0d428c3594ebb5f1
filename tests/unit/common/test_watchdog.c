/* test_watchdog.c - a sign of life is sent when every loop lives, and not when one does not. */
#include "common/watchdog.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "common/notify.h"
#include "loop_fixture.h"
#include "unit.h"

enum { BIT = 3, HANG_BIT = 4 };

static struct fixture f;
static struct watchdog w;
static int manager = -1;
static sem_t hangs, may_go_on;

static void set_up(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char name[sizeof(at.sun_path)];

    snprintf(name, sizeof(name), "@test-watchdog-%d", (int)getpid());
    memcpy(at.sun_path + 1, name + 1, strlen(name) - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "20000", 1);
    unsetenv("WATCHDOG_PID");
    notify_open();
    sem_init(&hangs, 0, 0);
    sem_init(&may_go_on, 0, 0);
}

static void tear_down(void)
{
    notify_close();
    close(manager);
}

static void start(unsigned loops)
{
    fixture_loops(&f, loops);
    ck_assert_int_eq(watchdog_start(&w, f.loops, f.count, BIT), 0);
}

static bool sign_within(int ms)
{
    struct pollfd p = {.fd = manager, .events = POLLIN};
    char text[64];
    ssize_t n;

    if (poll(&p, 1, ms) != 1)
        return false;
    n = recv(manager, text, sizeof(text), 0);
    ck_assert_int_eq(n, 10);
    ck_assert(memcmp(text, "WATCHDOG=1", 10) == 0);
    return true;
}

static void expect_signs(int count)
{
    for (int i = 0; i < count; i++)
        ck_assert_msg(sign_within(FIXTURE_WAIT_SECONDS * 1000), "no sign of life");
}

static void hang(void *ctx)
{
    (void)ctx;
    sem_post(&hangs);
    while (sem_wait(&may_go_on) != 0)
        ;
}

START_TEST(one_loop_that_lives_says_so_again_and_again)
{
    start(1);
    fixture_run(&f);
    expect_signs(3);
    fixture_stop(&f);
}
END_TEST

START_TEST(so_do_two)
{
    start(2);
    fixture_run(&f);
    expect_signs(3);
    fixture_stop(&f);
}
END_TEST

/* Either of them: the one that has the timer, and the one that only answers. */
START_TEST(while_one_of_two_loops_hangs_no_sign_is_sent)
{
    struct loop *hung;
    int signs = 0;

    start(2);
    hung = f.loops[_i];
    loop_on_signal(hung, HANG_BIT, hang, NULL);
    fixture_run(&f);
    expect_signs(1);
    loop_signal(hung, HANG_BIT);
    while (sem_wait(&hangs) != 0)
        ;
    while (sign_within(0))
        ;
    /* The last round may have had its answers already; after it 20 rounds pass without a sign. */
    while (signs < 2 && sign_within(200))
        signs++;
    ck_assert_int_lt(signs, 2);
    sem_post(&may_go_on);
    expect_signs(2);
    fixture_stop(&f);
}
END_TEST

START_TEST(a_sign_that_could_not_be_sent_is_sent_later)
{
    int filled = 0;

    start(1);
    while (notify_alive())
        filled++;
    fixture_run(&f);
    expect_signs(filled + 2);
    fixture_stop(&f);
}
END_TEST

START_TEST(nobody_wakes_up_when_no_signs_are_wanted)
{
    notify_close();
    unsetenv("WATCHDOG_USEC");
    notify_open();
    start(1);
    ck_assert_uint_eq(w.timer.heap_at, 0);
    fixture_run(&f);
    fixture_stop(&f);
}
END_TEST

static Suite *watchdog_suite(void)
{
    Suite *suite = suite_create("watchdog");
    TCase *tcase = tcase_create("watchdog");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, one_loop_that_lives_says_so_again_and_again);
    tcase_add_test(tcase, so_do_two);
    tcase_add_loop_test(tcase, while_one_of_two_loops_hangs_no_sign_is_sent, 0, 2);
    tcase_add_test(tcase, a_sign_that_could_not_be_sent_is_sent_later);
    tcase_add_test(tcase, nobody_wakes_up_when_no_signs_are_wanted);
    suite_add_tcase(suite, tcase);
    return suite;
}

UNIT_MAIN(watchdog_suite)
