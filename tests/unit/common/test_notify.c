/* test_notify.c - what a service manager gets to read. The manager is a datagram socket here. */
#include "common/notify.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

static int manager = -1;
static char path[64];

static void listen_as_manager(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(name);

    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(manager, 0);
    memcpy(at.sun_path, name, len);
    if (name[0] == '@')
        at.sun_path[0] = '\0';
    ck_assert_int_eq(bind(manager, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static void set_up(void)
{
    snprintf(path, sizeof(path), "/tmp/test-notify-%d", (int)getpid());
    unlink(path);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    manager = -1;
}

static void tear_down(void)
{
    notify_close();
    if (manager >= 0)
        close(manager);
    unlink(path);
}

static const char *told(void)
{
    static char text[4096];
    ssize_t n = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);

    ck_assert_msg(n > 0, "the manager was told nothing");
    text[n] = '\0';
    return text;
}

static void expect_nothing(void)
{
    char byte;

    ck_assert_int_lt(recv(manager, &byte, 1, MSG_DONTWAIT), 0);
}

static void tell_a_life(void)
{
    notify_status("recovering %s", "store");
    ck_assert_str_eq(told(), "STATUS=recovering store");
    notify_ready("serves on port %d", 10911);
    ck_assert_str_eq(told(), "READY=1\nSTATUS=serves on port 10911");
    ck_assert(notify_alive());
    ck_assert_str_eq(told(), "WATCHDOG=1");
    notify_stopping();
    ck_assert_str_eq(told(), "STOPPING=1\nSTATUS=stopping");
    expect_nothing();
}

START_TEST(a_manager_at_a_path_hears_of_a_whole_life)
{
    listen_as_manager(path);
    notify_open();
    tell_a_life();
}
END_TEST

START_TEST(a_manager_at_an_abstract_name_too)
{
    char name[64];

    snprintf(name, sizeof(name), "@test-notify-%d", (int)getpid());
    listen_as_manager(name);
    notify_open();
    tell_a_life();
}
END_TEST

START_TEST(without_a_manager_nothing_is_opened)
{
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

    setenv("WATCHDOG_USEC", "4000000", 1);
    notify_open();
    after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(after, before + 1);
    notify_ready("ready");
    notify_status("status");
    notify_stopping();
    ck_assert(notify_alive());
    ck_assert_int_eq(notify_watchdog_ms(), 0);
    close(before);
    close(after);
}
END_TEST

START_TEST(an_address_that_is_none_is_a_warning_only)
{
    char name[256];

    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    const char *addresses[] = {"", "@", "/", "relative", "vsock:2:1234", "/no/such/socket", name};

    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        setenv("NOTIFY_SOCKET", addresses[i], 1);
        notify_open();
        notify_ready("ready");
        ck_assert(notify_alive());
        notify_close();
    }
}
END_TEST

START_TEST(the_watchdog_time_is_taken_when_it_is_meant_for_this_process)
{
    static const struct {
        const char *usec;
        bool own_pid;
        const char *pid;
        int64_t ms;
    } rows[] = {
        {"60000000", false, NULL, 60000},
        {"60000000", true, NULL, 60000},
        {"60000000", false, "1", 0}, /* of somebody else */
        {"2000", false, NULL, 2},
        {"1999", false, NULL, 0},
        {"", false, NULL, 0},
        {"0", false, NULL, 0},
        {"-5000", false, NULL, 0},
        {"5s", false, NULL, 0},
        {"99999999999999999999999", false, NULL, 0},
    };
    char pid[16];

    listen_as_manager(path);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setenv("WATCHDOG_USEC", rows[i].usec, 1);
        if (rows[i].own_pid || rows[i].pid)
            setenv("WATCHDOG_PID", rows[i].own_pid ? pid : rows[i].pid, 1);
        else
            unsetenv("WATCHDOG_PID");
        notify_open();
        ck_assert_msg(notify_watchdog_ms() == rows[i].ms, "%s: %lld", rows[i].usec,
                      (long long)notify_watchdog_ms());
        notify_close();
    }
}
END_TEST

START_TEST(a_status_is_one_line_however_it_is_made_and_bounded)
{
    char name[2048];
    const char *text;

    listen_as_manager(path);
    notify_open();
    notify_status("topic %s", "a\nREADY=1\x1b[31m");
    ck_assert_str_eq(told(), "STATUS=topic a READY=1 [31m");
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    notify_status("%s", name);
    text = told();
    ck_assert_uint_lt(strlen(text), 600);
    ck_assert(strncmp(text, "STATUS=nnn", 10) == 0);
}
END_TEST

/* Whoever calls it is an event loop. */
START_TEST(a_sign_of_life_does_not_wait_for_a_manager_that_does_not_listen)
{
    int sent = 0;

    listen_as_manager(path);
    notify_open();
    while (notify_alive())
        sent++;
    ck_assert_int_gt(sent, 0);
    ck_assert_str_eq(told(), "WATCHDOG=1");
    ck_assert(notify_alive());
}
END_TEST

static Suite *notify_suite(void)
{
    Suite *suite = suite_create("notify");
    TCase *tcase = tcase_create("notify");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_manager_at_a_path_hears_of_a_whole_life);
    tcase_add_test(tcase, a_manager_at_an_abstract_name_too);
    tcase_add_test(tcase, without_a_manager_nothing_is_opened);
    tcase_add_test(tcase, an_address_that_is_none_is_a_warning_only);
    tcase_add_test(tcase, the_watchdog_time_is_taken_when_it_is_meant_for_this_process);
    tcase_add_test(tcase, a_status_is_one_line_however_it_is_made_and_bounded);
    tcase_add_test(tcase, a_sign_of_life_does_not_wait_for_a_manager_that_does_not_listen);
    suite_add_tcase(suite, tcase);
    return suite;
}

UNIT_MAIN(notify_suite)
