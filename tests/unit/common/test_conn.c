/* test_conn.c - connections over real sockets on loopback: input, the end, a socket given away. */
#include <poll.h>

#include "conn_fixture.h"

/* ---- input ---- */

START_TEST(pipelined_frames_are_answered_in_order)
{
    struct server s;
    struct buf all = {0};

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    for (unsigned i = 0; i < 2000; i++) {
        size_t size = 5 + i * 7 % 300;
        uint8_t *frame = make_frame(ECHO, size, i);
        buf_add(&all, frame, size);
        free(frame);
    }
    client_send(fd, buf_at(&all), all.len);
    expect_echo(fd, buf_at(&all), all.len);
    close(fd);
    buf_destroy(&all);
    stop(&s);
}
END_TEST

START_TEST(frames_may_be_split_anywhere)
{
    struct server s;
    enum { SIZE = 61 };
    uint8_t *frame = make_frame(ECHO, SIZE, 1);
    uint8_t two[2 * SIZE];

    memcpy(two, frame, SIZE);
    memcpy(two + SIZE, frame, SIZE);
    start(&s, 1, &test_protocol);
    int fd = start_client(&s), other = start_client(&s);
    for (size_t cut = 1; cut < sizeof(two); cut++) {
        client_send(fd, two, cut);
        round_trip(other); /* the server has looked at the first part by now */
        client_send(fd, two + cut, sizeof(two) - cut);
        expect_echo(fd, two, sizeof(two));
    }
    for (size_t i = 0; i < sizeof(two); i++) {
        client_send(fd, two + i, 1);
        round_trip(other);
    }
    expect_echo(fd, two, sizeof(two));
    close(fd);
    close(other);
    free(frame);
    stop(&s);
}
END_TEST

static void *send_in_pieces(void *arg)
{
    struct {
        int fd;
        struct buf *all;
    } *job = arg;
    size_t at = 0;
    unsigned random = 99;

    while (at < job->all->len) {
        random = random * 1103515245 + 12345;
        size_t n = 1 + (random >> 8) % 200000;
        if (n > job->all->len - at)
            n = job->all->len - at;
        client_send(job->fd, buf_at(job->all) + at, n);
        at += n;
    }
    return NULL;
}

/* All sizes around the steps of the input memory: 4 KiB, 64 KiB, 512 KiB and doubles. */
START_TEST(frames_of_all_sizes_come_back_whole)
{
    static const size_t sizes[] = {5,      4095,   4096,    4097,    65535,   65536,
                                   65537,  131072, 131073,  524287,  524288,  524289,
                                   900000, 6,      1048577, 3000000, 4194400, 7};
    /* All may wait for us, however late we read it. */
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 4 * 1024 * 1024};
    struct server s;
    struct buf all = {0};
    struct {
        int fd;
        struct buf *all;
    } job = {.all = &all};
    pthread_t sender;

    start(&s, 1, &protocol);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *frame = make_frame(ECHO, sizes[i], i);
        buf_add(&all, frame, sizes[i]);
        free(frame);
    }
    job.fd = start_client(&s);
    ck_assert_int_eq(pthread_create(&sender, NULL, send_in_pieces, &job), 0);
    expect_echo(job.fd, buf_at(&all), all.len);
    pthread_join(sender, NULL);
    close(job.fd);
    buf_destroy(&all);
    stop(&s);
}
END_TEST

START_TEST(length_field_does_not_size_memory)
{
    struct server s;
    uint8_t *frame = make_frame(ECHO, TEST_INPUT_MAX, 3);

    start(&s, 1, &test_protocol);
    int fd = start_client(&s), other = start_client(&s);
    struct look look = {.loop = s.f.loops[0]};
    client_send(fd, frame, 10);
    round_trip(other);
    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_eq(look.with_input, 1);
    ck_assert_uint_le(look.in_cap, 64 * 1024);

    client_send(fd, frame + 10, 300000);
    round_trip(other);
    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_le(look.in_cap, 2 * 300010);
    close(fd);
    close(other);
    free(frame);
    stop(&s);
}
END_TEST

START_TEST(frame_over_the_limit_is_refused_by_its_length)
{
    struct server s;
    uint8_t start_of_frame[5];

    store_be32(start_of_frame, TEST_INPUT_MAX);
    start_of_frame[4] = ECHO;
    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    client_send(fd, start_of_frame, sizeof(start_of_frame));
    client_expect_end(fd);
    fixture_wait(&s.closed);
    close(fd);
    stop(&s);
}
END_TEST

/* ---- closing ---- */

START_TEST(answer_before_a_quiet_close_arrives)
{
    struct server s;
    /* The answer is larger than what a socket takes at once. */
    size_t size = 20 * 1024 * 1024;
    uint8_t *frame = make_frame(ECHO_CLOSE, size, 5);

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    client_send(fd, frame, size);
    fixture_wait(&s.closed); /* is told at once, though output is still on its way */
    expect_echo(fd, frame, size);
    client_expect_end(fd);
    close(fd);
    free(frame);
    stop(&s);
}
END_TEST

START_TEST(close_with_a_reason_drops_output)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    send_order(fd, DENY);
    client_expect_end(fd);
    fixture_wait(&s.closed);
    close(fd);
    stop(&s);
}
END_TEST

START_TEST(connections_closed_by_another_ones_request_end)
{
    struct server s;
    int fds[20];

    start(&s, 1, &test_protocol);
    for (int i = 0; i < 20; i++)
        fds[i] = start_client(&s);
    /* All are readable when the order comes, so some are closed before their own turn. */
    for (int i = 0; i < 20; i++)
        send_order(fds[i], i == 10 ? CLOSE_ALL : MANY);
    for (int i = 0; i < 19; i++)
        fixture_wait(&s.closed);
    for (int i = 0; i < 20; i++) {
        char drain[4096];
        if (i == 10) {
            uint8_t frame[8] = {0, 0, 0, 4, CLOSE_ALL, 1, 2, 3};
            expect_echo(fds[i], frame, sizeof(frame));
            round_trip(fds[i]);
        } else {
            ssize_t n;
            while ((n = recv(fds[i], drain, sizeof(drain), 0)) > 0)
                ;
            ck_assert(n == 0 || errno == ECONNRESET);
        }
        close(fds[i]);
    }
    stop(&s);
}
END_TEST

START_TEST(peer_that_only_stopped_sending_gets_its_answers)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    for (int i = 0; i < 100; i++)
        send_order(fd, MANY);
    shutdown(fd, SHUT_WR);
    char *back = malloc(MANY_BYTES);
    ck_assert_ptr_nonnull(back);
    for (int i = 0; i < 100; i++)
        client_receive(fd, back, MANY_BYTES);
    client_expect_end(fd);
    fixture_wait(&s.closed);
    free(back);
    close(fd);
    stop(&s);
}
END_TEST

static ssize_t no_input(struct conn *c, uint8_t *data, size_t len, size_t *want, const char **why)
{
    (void)c;
    (void)data;
    (void)want;
    (void)why;
    return (ssize_t)len;
}

static void close_at_once(struct conn *c)
{
    conn_close(c, NULL);
}

START_TEST(connection_may_be_closed_as_it_opens)
{
    static const struct conn_protocol protocol = {.input = no_input,
                                                  .opened = close_at_once,
                                                  .closed = test_closed,
                                                  .input_max = 100,
                                                  .output_max = 100};
    struct server s;

    start(&s, 1, &protocol);
    int fd = client_open(s.f.port);
    client_expect_end(fd);
    fixture_wait(&s.closed);
    close(fd);
    stop(&s);
}
END_TEST

START_TEST(loop_that_is_freed_closes_its_connections)
{
    struct server s;

    start(&s, 2, &test_protocol);
    int fds[6];
    for (int i = 0; i < 6; i++)
        fds[i] = start_client(&s);
    fixture_stop(&s.f);
    for (int i = 0; i < 6; i++) {
        fixture_wait(&s.closed);
        client_expect_end(fds[i]);
        close(fds[i]);
    }
}
END_TEST

START_TEST(idle_connection_is_closed)
{
    static const struct conn_protocol protocol = {.input = no_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = 100,
                                                  .output_max = 100,
                                                  .idle_ms = 20};
    struct server s;

    start(&s, 1, &protocol);
    int fd = start_client(&s), another = start_client(&s);
    client_expect_end(fd);
    client_expect_end(another);
    close(fd);
    close(another);
    stop(&s);
}
END_TEST

/* ---- sockets that change hands ---- */

START_TEST(a_socket_is_handed_over_once_the_answer_is_written)
{
    static const uint8_t later[] = {1, 2, 3};
    struct server s;
    uint8_t *frame = make_frame(GIVE, 8 * 1024 * 1024, 1), byte[3];

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    client_send(fd, frame, 8 * 1024 * 1024);
    fixture_wait(&s.closed); /* while most of the answer still waits for us */
    ck_assert_int_eq(sem_trywait(&s.given), -1);
    expect_echo(fd, frame, 8 * 1024 * 1024);
    fixture_wait(&s.given);
    ck_assert_int_ge(s.given_fd, 0);
    stop(&s); /* the loop knows nothing of it any more */
    client_send(fd, later, sizeof(later));
    struct pollfd readable = {.fd = s.given_fd, .events = POLLIN};
    ck_assert_int_eq(poll(&readable, 1, FIXTURE_WAIT_SECONDS * 1000), 1);
    client_receive(s.given_fd, byte, sizeof(byte));
    ck_assert(memcmp(byte, later, sizeof(byte)) == 0);
    close(s.given_fd);
    client_expect_end(fd);
    close(fd);
    free(frame);
}
END_TEST

START_TEST(a_socket_with_input_that_nobody_handled_is_not_handed_over)
{
    struct server s;
    uint8_t frames[9] = {0, 0, 0, 4, GIVE, 1, 2, 3, 9};

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    client_send(fd, frames, sizeof(frames));
    fixture_wait(&s.given);
    ck_assert_int_eq(s.given_fd, -1);
    client_expect_end(fd);
    close(fd);
    stop(&s);
}
END_TEST

START_TEST(a_socket_of_a_peer_that_is_lost_is_not_handed_over)
{
    struct server s;
    uint8_t *frame = make_frame(GIVE, 8 * 1024 * 1024, 1);

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    client_send(fd, frame, 8 * 1024 * 1024);
    fixture_wait(&s.closed);
    close(fd); /* with the answer unread: a reset */
    fixture_wait(&s.given);
    ck_assert_int_eq(s.given_fd, -1);
    stop(&s);
    free(frame);
}
END_TEST

static Suite *conn_suite(void)
{
    Suite *suite = suite_create("conn");
    TCase *tc = tcase_create("input");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, pipelined_frames_are_answered_in_order);
    tcase_add_test(tc, frames_may_be_split_anywhere);
    tcase_add_test(tc, frames_of_all_sizes_come_back_whole);
    tcase_add_test(tc, length_field_does_not_size_memory);
    tcase_add_test(tc, frame_over_the_limit_is_refused_by_its_length);
    suite_add_tcase(suite, tc);

    tc = tcase_create("closing");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, answer_before_a_quiet_close_arrives);
    tcase_add_test(tc, close_with_a_reason_drops_output);
    tcase_add_test(tc, connections_closed_by_another_ones_request_end);
    tcase_add_test(tc, peer_that_only_stopped_sending_gets_its_answers);
    tcase_add_test(tc, connection_may_be_closed_as_it_opens);
    tcase_add_test(tc, loop_that_is_freed_closes_its_connections);
    tcase_add_test(tc, idle_connection_is_closed);
    suite_add_tcase(suite, tc);

    tc = tcase_create("sockets that change hands");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_socket_is_handed_over_once_the_answer_is_written);
    tcase_add_test(tc, a_socket_with_input_that_nobody_handled_is_not_handed_over);
    tcase_add_test(tc, a_socket_of_a_peer_that_is_lost_is_not_handed_over);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_suite)
