/* test_dial.c - addresses, and where a connection may lead. */
#include "common/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "unit.h"

static struct err err;
static struct dial_address to;

static struct dial_options soon(void)
{
    return (struct dial_options){.deadline_ms = clock_mono_ms() + 60000};
}

/* A port of loopback that nobody else has: its socket; `to` is the address. */
static int bind_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char address[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
    ck_assert_int_eq(dial_parse(&to, address, &err), 0);
    return fd;
}

static int listen_here(void)
{
    int fd = bind_here();

    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

START_TEST(an_address_is_a_host_and_a_port)
{
    static const char *const bad[] = {"[[]]:6", "[a:6",      "a]:6",   "",     "host",
                                      "host:",  ":1",        "host:0", "h:-1", "h:65536",
                                      "h:1x",   "::1:10911", "[]:1"};

    ck_assert_int_eq(dial_parse(&to, "localhost:10911", &err), 0);
    ck_assert_str_eq(to.host, "localhost");
    ck_assert_str_eq(to.port, "10911");
    ck_assert_int_eq(dial_parse(&to, "[::1]:1", &err), 0);
    ck_assert_str_eq(to.host, "::1");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(dial_parse(&to, bad[i], &err) == -EINVAL, "\"%s\"", bad[i]);
        ck_assert_ptr_nonnull(strstr(err.text, "expected host:port"));
    }
}
END_TEST

START_TEST(a_port_below_is_at_the_same_host)
{
    char out[32], small[8];

    ck_assert(dial_below("host:10912", 1, out, sizeof(out)));
    ck_assert_str_eq(out, "host:10911");
    ck_assert(dial_below("[::1]:3", 2, out, sizeof(out)));
    ck_assert_str_eq(out, "[::1]:1");
    ck_assert(!dial_below("host:2", 2, out, sizeof(out)));
    ck_assert(!dial_below("host", 1, out, sizeof(out)));
    ck_assert(!dial_below("", 1, out, sizeof(out)));
    ck_assert(!dial_below("host:10912", 1, small, sizeof(small)));
}
END_TEST

START_TEST(a_connection_comes_from_where_it_is_told_to)
{
    int listening = listen_here(), fd, accepted;
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    struct dial_options options = soon();

    options.source = "127.0.0.9";
    options.only_loopback = true;
    fd = dial(&to, &options, &err);
    ck_assert_msg(fd >= 0, "%s", err.text);
    accepted = accept(listening, (struct sockaddr *)&from, &len);
    ck_assert_int_ge(accepted, 0);
    ck_assert_str_eq(inet_ntoa(from.sin_addr), "127.0.0.9");
    ck_assert_int_eq(dial_wait(fd, POLLOUT, options.deadline_ms, 0), 0);
    close(accepted);
    close(fd);
    close(listening);
}
END_TEST

START_TEST(other_than_loopback_is_refused_before_anything_is_sent)
{
    static const char *const others[] = {"192.0.2.1:9876", "[2001:db8::1]:9876",
                                         "[::ffff:192.0.2.1]:9876"};
    struct dial_options options = soon();

    options.only_loopback = true;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_int_eq(dial_parse(&to, others[i], &err), 0);
        ck_assert_int_eq(dial(&to, &options, &err), -EPERM);
        ck_assert_ptr_nonnull(strstr(err.text, "is not a loopback address"));
    }
}
END_TEST

START_TEST(nobody_there_is_said_with_the_address)
{
    struct dial_options options = soon();
    int bound = bind_here();

    ck_assert_int_eq(dial(&to, &options, &err), -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, "connect to 127.0.0.1:"));
    close(bound);
}
END_TEST

static Suite *dial_suite(void)
{
    Suite *s = suite_create("dial");
    TCase *t = tcase_create("dial");

    tcase_add_test(t, an_address_is_a_host_and_a_port);
    tcase_add_test(t, a_port_below_is_at_the_same_host);
    tcase_add_test(t, a_connection_comes_from_where_it_is_told_to);
    tcase_add_test(t, other_than_loopback_is_refused_before_anything_is_sent);
    tcase_add_test(t, nobody_there_is_said_with_the_address);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(dial_suite)
