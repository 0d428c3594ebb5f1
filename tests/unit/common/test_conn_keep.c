/* test_conn_keep.c - a connection outlives its loop: what was read of it, what was not written, and
 * what its peer says meanwhile, is all there on the next one. */
#include "conn_fixture.h"

struct keeping {
    struct server *server;
    struct conn_kept kept;
    const uint8_t *output; /* added before it is kept */
    size_t output_len;
    unsigned rested;
};

static void rest(struct conn *c, void *arg)
{
    struct keeping *k = arg;

    conn_rest(c);
    conn_rest(c); /* as often as one likes */
    k->rested++;
}

static void rest_all(void *arg)
{
    struct keeping *k = arg;

    loop_each_conn(k->server->f.loops[0], k->server, rest, k);
}

static void keep(struct conn *c, void *arg)
{
    struct keeping *k = arg;

    if (k->output_len > 0)
        buf_add(conn_out(c), k->output, k->output_len);
    conn_keep(c, &k->kept);
}

static void keep_all(void *arg)
{
    struct keeping *k = arg;

    loop_each_conn(k->server->f.loops[0], k->server, keep, k);
}

/* The bytes that connections of the loop have read and not handled. */
static void count_input(void *arg)
{
    struct keeping *k = arg;
    struct conn *c;

    k->output_len = 0;
    TAILQ_FOREACH(c, &k->server->f.loops[0]->conns, all)
    k->output_len += c->in_len;
}

enum { IDLE_MS = 600 * 1000 };

/* Another server, whose loops do not run yet, goes on with it. They were made long ago. */
static int adopt(struct server *s, struct keeping *k, unsigned connections_max)
{
    static struct conn_protocol protocol;
    bool closed = k->kept.closed;
    conn_id id = 0;
    int r;

    memset(s, 0, sizeof(*s));
    sem_init(&s->opened, 0, 0);
    sem_init(&s->closed, 0, 0);
    sem_init(&s->given, 0, 0);
    fixture_loops(&s->f, 1);
    protocol = test_protocol;
    protocol.idle_ms = IDLE_MS;
    s->f.loops[0]->now_ms -= IDLE_MS;
    fixture_listen(&s->f, &protocol, NULL, s, connections_max);
    r = listener_adopt(s->f.listener, s->f.loops[0], &k->kept, &id);
    ck_assert(r < 0 || closed == !loop_conn(s->f.loops[0], id));
    ck_assert_int_eq(k->kept.fd, -1);
    ck_assert_ptr_null(k->kept.input.data);
    ck_assert_ptr_null(k->kept.output.data);
    fixture_run(&s->f);
    return r;
}

START_TEST(half_a_frame_and_half_an_answer_move_with_the_socket)
{
    enum { SIZE = 300000, FIRST = 100000 };
    struct server old, new;
    struct keeping k = {.server = &old};
    uint8_t *frame = make_frame(ECHO, SIZE, 1), *waiting = make_frame(ECHO, 5000, 2);
    int fd;

    start(&old, 1, &test_protocol);
    fd = start_client(&old);
    client_send(fd, frame, FIRST);
    while (k.output_len < FIRST)
        fixture_on_loop(old.f.loops[0], count_input, &k);
    fixture_on_loop(old.f.loops[0], rest_all, &k);
    ck_assert_uint_eq(k.rested, 1);
    client_send(fd, frame + FIRST, 50000); /* stays in the socket */
    k.output = waiting;
    k.output_len = 5000;
    fixture_on_loop(old.f.loops[0], keep_all, &k);
    fixture_wait(&old.closed);
    ck_assert_int_ge(k.kept.fd, 0);
    ck_assert_uint_eq(k.kept.input.len, FIRST);
    ck_assert_uint_eq(k.kept.output.len, 5000);
    stop(&old);

    ck_assert_int_eq(adopt(&new, &k, 1), 0);
    fixture_wait(&new.opened);
    expect_echo(fd, waiting, 5000);
    client_send(fd, frame + FIRST + 50000, SIZE - FIRST - 50000);
    expect_echo(fd, frame, SIZE);
    round_trip(fd);
    /* It counts as one of the listener's. */
    int surplus = client_open(new.f.port);
    client_expect_end(surplus);
    close(surplus);
    close(fd);
    fixture_wait(&new.closed);
    stop(&new);
    free(frame);
    free(waiting);
}
END_TEST

START_TEST(whole_frames_that_were_read_need_no_more_bytes)
{
    struct server old, new;
    struct keeping k = {.server = &old};
    uint8_t *frame = make_frame(ECHO, 2000, 3);
    int fd;

    start(&old, 1, &test_protocol);
    fd = start_client(&old);
    round_trip(fd);
    fixture_on_loop(old.f.loops[0], rest_all, &k);
    fixture_on_loop(old.f.loops[0], keep_all, &k);
    stop(&old);
    ck_assert_uint_eq(k.kept.input.len, 0);
    for (int i = 0; i < 3; i++) /* such as were given back to it */
        buf_add(&k.kept.input, frame, 2000);
    ck_assert_int_eq(adopt(&new, &k, 100), 0);
    for (int i = 0; i < 3; i++)
        expect_echo(fd, frame, 2000);
    round_trip(fd);
    close(fd);
    stop(&new);
    free(frame);
}
END_TEST

/* Output of the loop that no socket has taken. */
static void count_output(void *arg)
{
    struct keeping *k = arg;
    struct conn *c;

    k->output_len = 0;
    TAILQ_FOREACH(c, &k->server->f.loops[0]->conns, all)
    k->output_len += c->out.len;
}

START_TEST(a_rested_connection_is_not_read_whatever_becomes_of_its_output)
{
    enum { ORDERS = 400 };
    uint8_t orders[ORDERS][8];
    struct server s;
    struct keeping k = {.server = &s};
    uint8_t *bytes = malloc(MANY_BYTES);
    size_t taken = MANY_BYTES;
    ssize_t n = 0;
    int fd;

    start(&s, 1, &test_protocol);
    fd = start_client(&s);
    /* Output over its bound: handling has stopped, and would go on once it has drained. */
    for (int i = 0; i < ORDERS; i++)
        memcpy(orders[i], (uint8_t[8]){0, 0, 0, 4, MANY}, sizeof(orders[i]));
    client_send(fd, orders, sizeof(orders));
    ck_assert_ptr_nonnull(bytes);
    client_receive(fd, bytes, MANY_BYTES);
    fixture_on_loop(s.f.loops[0], rest_all, &k);
    do {
        while ((n = recv(fd, bytes, MANY_BYTES, MSG_DONTWAIT)) > 0)
            taken += (size_t)n;
        fixture_on_loop(s.f.loops[0], count_output, &k);
    } while (k.output_len > 0 || recv(fd, bytes, 1, MSG_DONTWAIT | MSG_PEEK) > 0);
    ck_assert_uint_lt(taken, (size_t)ORDERS * MANY_BYTES);
    ck_assert_uint_eq(taken % MANY_BYTES, 0);
    fixture_on_loop(s.f.loops[0], keep_all, &k);
    ck_assert_int_ge(k.kept.fd, 0);
    ck_assert_uint_gt(k.kept.input.len, 0);
    conn_kept_drop(&k.kept);
    ck_assert_int_eq(k.kept.fd, -1);
    conn_kept_drop(&k.kept);
    client_expect_end(fd);
    free(bytes);
    close(fd);
    stop(&s);
}
END_TEST

static void keep_closed(void *arg)
{
    struct keeping *k = arg;

    loop_each_closed_conn(k->server->f.loops[0], k->server, keep, k);
}

START_TEST(one_that_asks_no_more_gets_the_rest_of_its_answers)
{
    enum { ORDERS = 200 };
    static struct conn_protocol protocol;
    uint8_t orders[ORDERS][8], *bytes = malloc(MANY_BYTES);
    struct server old, new;
    struct keeping k = {.server = &old};
    int fd;

    ck_assert_ptr_nonnull(bytes);
    protocol = test_protocol;
    protocol.output_max = (size_t)ORDERS * MANY_BYTES; /* it is read to its end */
    start(&old, 1, &protocol);
    fd = start_client(&old);
    for (int i = 0; i < ORDERS; i++)
        memcpy(orders[i], (uint8_t[8]){0, 0, 0, 4, MANY}, sizeof(orders[i]));
    client_send(fd, orders, sizeof(orders));
    shutdown(fd, SHUT_WR);
    fixture_wait(&old.closed);
    fixture_on_loop(old.f.loops[0], keep_all, &k);
    ck_assert_int_eq(k.kept.fd, 0); /* there is none that is open */
    fixture_on_loop(old.f.loops[0], keep_closed, &k);
    ck_assert_int_gt(k.kept.fd, 0);
    ck_assert(k.kept.closed);
    stop(&old);

    ck_assert_int_eq(adopt(&new, &k, 100), 0);
    for (int i = 0; i < ORDERS; i++)
        client_receive(fd, bytes, MANY_BYTES);
    client_expect_end(fd);
    fixture_wait(&new.closed);
    free(bytes);
    close(fd);
    stop(&new);
}
END_TEST

static void close_and_keep(struct conn *c, void *arg)
{
    struct keeping *k = arg;

    conn_close(c, NULL);
    conn_keep(c, &k->kept);
}

static void close_and_keep_all(void *arg)
{
    struct keeping *k = arg;

    loop_each_conn(k->server->f.loops[0], k->server, close_and_keep, k);
}

START_TEST(one_that_closes_is_not_kept_and_one_whose_peer_is_gone_ends)
{
    struct server old, new;
    struct keeping k = {.server = &old};
    int fd;

    start(&old, 1, &test_protocol);
    fd = start_client(&old);
    fixture_on_loop(old.f.loops[0], close_and_keep_all, &k);
    fixture_wait(&old.closed);
    ck_assert_int_eq(k.kept.fd, -1);
    client_expect_end(fd);
    close(fd);

    fd = start_client(&old);
    fixture_on_loop(old.f.loops[0], rest_all, &k);
    close(fd);
    fixture_on_loop(old.f.loops[0], keep_all, &k);
    ck_assert_int_ge(k.kept.fd, 0);
    stop(&old);
    if (adopt(&new, &k, 100) == 0)
        fixture_wait(&new.closed);
    stop(&new);
}
END_TEST

static Suite *conn_suite(void)
{
    Suite *suite = suite_create("conn_keep");
    TCase *tc = tcase_create("kept");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, half_a_frame_and_half_an_answer_move_with_the_socket);
    tcase_add_test(tc, whole_frames_that_were_read_need_no_more_bytes);
    tcase_add_test(tc, a_rested_connection_is_not_read_whatever_becomes_of_its_output);
    tcase_add_test(tc, one_that_asks_no_more_gets_the_rest_of_its_answers);
    tcase_add_test(tc, one_that_closes_is_not_kept_and_one_whose_peer_is_gone_ends);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_suite)
