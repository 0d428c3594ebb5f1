/* test_cut_off.c - a broker ends, or begins again, while those whom it calls are cut off: they take
 * connections and never answer, or take none. Here every call waits an hour longer than it would
 * (--wrap, see meson.build): who waits for its end is not done within the time of a test. */
#include "broker_fixture.h"

#include <stdatomic.h>

#include "common/dial.h"

enum { HOUR_MS = 3600000 };
enum cut { NEVER_ANSWER, TAKE_NO_CONNECTION };

static _Atomic int waiting; /* calls under way */

int __real_dial(const struct dial_address *to, const struct dial_options *options, struct err *err);
int __wrap_dial(const struct dial_address *to, const struct dial_options *options, struct err *err);
int __real_dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd);
int __wrap_dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd);

int __wrap_dial(const struct dial_address *to, const struct dial_options *options, struct err *err)
{
    struct dial_options longer = *options;
    int fd;

    longer.deadline_ms += HOUR_MS;
    atomic_fetch_add(&waiting, 1);
    fd = __real_dial(to, &longer, err);
    atomic_fetch_sub(&waiting, 1);
    return fd;
}

int __wrap_dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd)
{
    int r;

    atomic_fetch_add(&waiting, 1);
    r = __real_dial_wait(fd, events, deadline_ms + HOUR_MS, cancel_fd);
    atomic_fetch_sub(&waiting, 1);
    return r;
}

static bool so_many_wait(void *arg)
{
    return atomic_load(&waiting) == *(const int *)arg;
}

static void wait_for_calls(int count)
{
    wait_until(so_many_wait, &count);
}

/* --- who is cut off --- */

/* Listens there (0: at any port) without ever accepting; the port, 0: it is taken. */
static uint16_t cut_off(uint16_t port, enum cut cut)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(at);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        close(fd);
        return 0;
    }
    ck_assert_int_eq(listen(fd, cut == NEVER_ANSWER ? 16 : 0), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    /* One more than there is room for; the system answers nobody then. */
    for (int i = 0; cut == TAKE_NO_CONNECTION && i < 2; i++) {
        int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        ck_assert_int_ge(one, 0);
        ck_assert(connect(one, (struct sockaddr *)&at, sizeof(at)) == 0 || errno == EINPROGRESS);
    }
    return ntohs(at.sin_port);
}

/* A master's main port and the replication port above it; returns that one. */
static uint16_t cut_off_master(enum cut cut)
{
    uint16_t port, above = 0;

    while (above == 0) {
        port = cut_off(0, cut);
        above = port < 65535 ? cut_off((uint16_t)(port + 1), cut) : 0;
    }
    return above;
}

/* --- the broker --- */

static void begin_slave(enum cut cut)
{
    char master[64];

    begin();
    snprintf(master, sizeof(master), "haMasterAddress=127.0.0.1:%d", cut_off_master(cut));
    start_broker("brokerRole=SLAVE", "brokerId=1", master, NULL);
    wait_for_calls(2); /* one for the log, one for the tables */
}

/* It has an address to itself, since members name their ports. */
static void begin_member(enum cut cut)
{
    char address[32], bind_to[64], ip[64], members[256];
    int pid = getpid();

    begin();
    snprintf(address, sizeof(address), "127.%d.%d.%d", 64 + (pid >> 16), pid >> 8 & 255, pid & 255);
    snprintf(bind_to, sizeof(bind_to), "bindAddress=%s", address);
    snprintf(ip, sizeof(ip), "brokerIP1=%s", address);
    snprintf(members, sizeof(members), "groupMembers=1@127.0.0.1:%d;2@%s:10911;3@127.0.0.1:%d",
             cut_off(0, cut), address, cut_off(0, cut));
    start_broker(members, bind_to, ip, "listenPort=10911", "memberId=2", "brokerRole=SLAVE",
                 "brokerId=2", "inSyncReplicas=2", NULL);
    wait_for_calls(2); /* one for each other member */
}

START_TEST(a_slave_ends_at_once)
{
    begin_slave(_i);
    end();
}
END_TEST

START_TEST(a_member_of_a_group_ends_at_once)
{
    begin_member(_i);
    end();
}
END_TEST

/* As it does when it is given another role. */
START_TEST(a_member_of_a_group_begins_again_at_once)
{
    begin_member(_i);
    broker_restart(broker);
    ck_assert_int_eq(pthread_join(broker_thread, NULL), 0);
    broker_runs = false;
    ck_assert(broker_wants_restart(broker));
    end();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cut off");
    TCase *t = tcase_create("cut off");

    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_slave_ends_at_once, NEVER_ANSWER, TAKE_NO_CONNECTION + 1);
    tcase_add_loop_test(t, a_member_of_a_group_ends_at_once, NEVER_ANSWER, TAKE_NO_CONNECTION + 1);
    tcase_add_loop_test(t, a_member_of_a_group_begins_again_at_once, NEVER_ANSWER,
                        TAKE_NO_CONNECTION + 1);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
