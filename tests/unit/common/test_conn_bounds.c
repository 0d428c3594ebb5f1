/* test_conn_bounds.c - what waits for a connection, and what a turn takes, has a bound. */
#include <malloc.h>
#include <sys/resource.h>

#include "conn_fixture.h"

/* ---- output ---- */

static void set_nonblocking(int fd)
{
    struct timeval moment = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof(moment));
}

/* Asks for answers until the server does not take requests any more, or closes. */
static void ask_without_reading(int fd, enum order order)
{
    uint8_t frame[8] = {0, 0, 0, 4, (uint8_t)order, 1, 2, 3};

    set_nonblocking(fd);
    while (send(fd, frame, sizeof(frame), MSG_NOSIGNAL) == sizeof(frame))
        ;
}

START_TEST(peer_that_never_reads_is_bounded_and_dropped)
{
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 256 * 1024,
                                                  .stall_ms = 500};
    struct server s;

    start(&s, 1, &protocol);
    int fd = start_client(&s), other = start_client(&s);
    ask_without_reading(fd, MANY);
    round_trip(other);
    fixture_wait(&s.closed);
    round_trip(other);
    ck_assert_uint_le(s.output_high, 256 * 1024 + MANY_BYTES);
    close(fd);
    close(other);
    stop(&s);
}
END_TEST

static void set_waiting_max(struct loop_message *message)
{
    struct loop *loop = message->ctx;

    loop->waiting_bytes_max = message->a;
}

START_TEST(peers_that_never_read_are_bounded_together)
{
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 1024 * 1024};
    enum { PEERS = 12, BOUND = 4 * 1024 * 1024, DROPPED = 4 };
    struct loop_stats stats;
    struct server s;
    int fds[PEERS];

    start(&s, 1, &protocol);
    struct loop_message message = {.run = set_waiting_max, .ctx = s.f.loops[0], .a = BOUND};
    ck_assert_int_eq(loop_post(s.f.loops[0], &message), 0);
    int other = start_client(&s);
    for (int i = 0; i < PEERS; i++) {
        fds[i] = start_client(&s);
        ask_without_reading(fds[i], MANY);
        round_trip(other);
    }
    for (int i = 0; i < DROPPED; i++)
        fixture_wait(&s.closed);
    round_trip(other);
    loop_stats(s.f.loops[0], &stats);
    ck_assert_uint_gt(stats.waiting_out, 0);
    ck_assert_uint_le(stats.waiting_out, BOUND);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
    for (int i = 0; i < PEERS - DROPPED; i++)
        fixture_wait(&s.closed);
    round_trip(other);
    loop_stats(s.f.loops[0], &stats);
    ck_assert_uint_eq(stats.waiting_out, 0);
    close(other);
    stop(&s);
}
END_TEST

START_TEST(frames_nobody_reads_nor_asked_for_are_bounded)
{
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 256 * 1024};
    struct server s;
    enum { SIZE = 64 * 1024 };
    uint8_t *frame = make_frame(ECHO, SIZE, 4);

    start(&s, 1, &protocol);
    int fd = start_client(&s), other = start_client(&s);
    conn_id id = ask_id(fd);
    unsigned sent = 0;
    while (sem_trywait(&s.closed) < 0) {
        ck_assert_int_eq(conn_send(s.f.loops, 1, id, bytes_of(frame, SIZE)), 0);
        sent++;
        round_trip(other);
    }
    ck_assert_uint_ge(sent, 4 * 256 * 1024 / SIZE);
    /* What two sockets hold, and four times the bound. */
    ck_assert_uint_le(sent, 32 * 1024 * 1024 / SIZE);
    close(fd);
    close(other);
    free(frame);
    stop(&s);
}
END_TEST

static void *ask_many(void *arg)
{
    int *fd = arg;
    uint8_t frames[3][8] = {
        {0, 0, 0, 4, MANY, 0, 0, 0}, {0, 0, 0, 4, ECHO, 0, 0, 0}, {0, 0, 0, 4, MANY, 0, 0, 0}};
    uint8_t *all = malloc(500 * sizeof(frames));

    ck_assert_ptr_nonnull(all);
    for (int i = 0; i < 500; i++)
        memcpy(all + i * sizeof(frames), frames, sizeof(frames));
    client_send(*fd, all, 500 * sizeof(frames));
    free(all);
    return NULL;
}

/* 1,000 answers of 64 KiB, asked for in one go, against a bound of 128 KiB: reading and parsing
 * stop and go on many times, and nothing is lost, doubled or out of order. */
START_TEST(slow_reader_gets_everything_in_order)
{
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 128 * 1024,
                                                  .stall_ms = 60000};
    struct server s;
    pthread_t asker;
    char *many = malloc(MANY_BYTES), *back = malloc(MANY_BYTES);
    const uint8_t echo[8] = {0, 0, 0, 4, ECHO, 0, 0, 0};

    ck_assert_ptr_nonnull(many);
    ck_assert_ptr_nonnull(back);
    memset(many, 'x', MANY_BYTES);
    start(&s, 1, &protocol);
    int fd = start_client(&s);
    ck_assert_int_eq(pthread_create(&asker, NULL, ask_many, &fd), 0);
    for (int i = 0; i < 500; i++) {
        client_receive(fd, back, MANY_BYTES);
        ck_assert(memcmp(back, many, MANY_BYTES) == 0);
        expect_echo(fd, echo, sizeof(echo));
        client_receive(fd, back, MANY_BYTES);
        ck_assert(memcmp(back, many, MANY_BYTES) == 0);
    }
    pthread_join(asker, NULL);
    ck_assert_uint_le(s.output_high, 128 * 1024 + MANY_BYTES);
    round_trip(fd);
    close(fd);
    free(many);
    free(back);
    stop(&s);
}
END_TEST

START_TEST(peer_that_vanishes_with_output_and_input_waiting_is_let_go)
{
    static const struct conn_protocol protocol = {.input = test_input,
                                                  .opened = test_opened,
                                                  .closed = test_closed,
                                                  .input_max = TEST_INPUT_MAX,
                                                  .output_max = 128 * 1024,
                                                  .stall_ms = 60000};
    struct server s;
    struct linger at_once = {.l_onoff = 1};

    start(&s, 1, &protocol);
    for (int i = 0; i < 10; i++) {
        int fd = start_client(&s);
        pthread_t asker;
        ck_assert_int_eq(pthread_create(&asker, NULL, ask_many, &fd), 0);
        pthread_join(asker, NULL); /* 12 kB, which sockets hold */
        uint8_t byte;
        client_receive(fd, &byte, 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(fd);
        fixture_wait(&s.closed);
    }
    stop(&s);
}
END_TEST

/* ---- turns ---- */

static void block_until(struct loop_message *message)
{
    fixture_wait(message->p);
}

/* Makes everything that the clients do in between ready at once. */
static void hold_loop(struct server *s, sem_t *go)
{
    struct loop_message message = {.run = block_until, .p = go};

    sem_init(go, 0, 0);
    ck_assert_int_eq(loop_post(s->f.loops[0], &message), 0);
}

START_TEST(turn_ends_after_32_connections)
{
    struct server s;
    int fds[150];
    sem_t go;

    start(&s, 1, &test_protocol);
    for (int i = 0; i < 150; i++)
        fds[i] = start_client(&s);
    for (int round = 0; round < 3; round++) {
        hold_loop(&s, &go);
        for (int i = 0; i < 150; i++)
            send_order(fds[i], ECHO);
        sem_post(&go);
        uint8_t frame[8] = {0, 0, 0, 4, ECHO, 1, 2, 3};
        for (int i = 0; i < 150; i++)
            expect_echo(fds[i], frame, sizeof(frame));
    }
    for (int i = 0; i < 150; i++)
        close(fds[i]);
    stop(&s);
    ck_assert_uint_le(s.in_turn_high, 32);
    ck_assert_uint_ge(s.in_turn_high, 16); /* and it does gather */
}
END_TEST

START_TEST(turn_ends_after_256_kib)
{
    struct server s;
    int fds[20];
    sem_t go;
    size_t size = 100 * 1000;
    uint8_t *frame = make_frame(ECHO, size, 8);

    start(&s, 1, &test_protocol);
    for (int i = 0; i < 20; i++)
        fds[i] = start_client(&s);
    hold_loop(&s, &go);
    for (int i = 0; i < 20; i++)
        client_send(fds[i], frame, size);
    sem_post(&go);
    for (int i = 0; i < 20; i++) {
        expect_echo(fds[i], frame, size);
        close(fds[i]);
    }
    free(frame);
    stop(&s);
    /* The read that crosses the line is the last. */
    ck_assert_uint_lt(s.in_turn_bytes_high, LOOP_TURN_BYTES + LOOP_READ_BYTES);
    ck_assert_uint_lt(s.in_turn_high, 20);
}
END_TEST

/* ---- memory ---- */

enum { IDLE_CONNS = 2000, IDLE_CONN_BYTES = 1024 };

START_TEST(two_thousand_idle_connections_own_no_buffers)
{
    struct server s;
    int *fds = malloc(IDLE_CONNS * sizeof(int));
    struct rlimit files;

    ck_assert_ptr_nonnull(fds);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    start(&s, 1, &test_protocol);
    int first = start_client(&s);
    round_trip(first);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < IDLE_CONNS; i++) {
        fds[i] = start_client(&s);
        round_trip(fds[i]);
    }
    /* Half a frame, and the other half. */
    uint8_t *frame = make_frame(ECHO, 3000, 6);
    for (int i = 0; i < 100; i++)
        client_send(fds[i], frame, 1500);
    round_trip(first);
    struct look look = {.loop = s.f.loops[0]};
    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_eq(look.with_input, 100);
    for (int i = 0; i < 100; i++) {
        client_send(fds[i], frame + 1500, 1500);
        expect_echo(fds[i], frame, 3000);
    }
    free(frame);

    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_eq(look.count, IDLE_CONNS + 1);
    ck_assert_uint_eq(look.with_input, 0);
    ck_assert_uint_eq(look.with_output, 0);
    /* What the pool holds is the loop's. A sanitizer's allocator reports zeros. */
    size_t grown = mallinfo2().uordblks - before;
    if (grown)
        ck_assert_uint_lt(grown - look.pool_bytes, IDLE_CONNS * IDLE_CONN_BYTES);
    for (int i = 0; i < IDLE_CONNS; i++)
        close(fds[i]);
    close(first);
    free(fds);
    stop(&s);
}
END_TEST

START_TEST(spare_memory_is_bounded)
{
    struct server s;
    enum { CONNS = 100, SIZE = 100 * 1000 };
    int fds[CONNS];
    uint8_t *frame = make_frame(ECHO, SIZE, 2);

    start(&s, 1, &test_protocol);
    struct look look = {.loop = s.f.loops[0]};
    for (int i = 0; i < CONNS; i++) {
        fds[i] = start_client(&s);
        client_send(fds[i], frame, SIZE - 1);
    }
    round_trip(start_client(&s));
    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_eq(look.with_input, CONNS);
    ck_assert_uint_ge(look.waiting_in, CONNS * (SIZE - 1));
    for (int i = 0; i < CONNS; i++) {
        client_send(fds[i], frame + SIZE - 1, 1);
        expect_echo(fds[i], frame, SIZE);
    }
    fixture_on_loop(s.f.loops[0], look_at_conns, &look);
    ck_assert_uint_eq(look.with_input, 0);
    ck_assert_uint_eq(look.waiting_in, 0);
    ck_assert_uint_le(look.pool_bytes, LOOP_POOL_BYTES);
    ck_assert_uint_le(look.pool_count, LOOP_POOL_CHUNKS);
    ck_assert_uint_ge(look.pool_count, 8); /* and it does keep some */
    for (int i = 0; i < CONNS; i++)
        close(fds[i]);
    free(frame);
    stop(&s);
}
END_TEST

static Suite *conn_suite(void)
{
    Suite *suite = suite_create("conn_bounds");
    TCase *tc = tcase_create("output");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, peer_that_never_reads_is_bounded_and_dropped);
    tcase_add_test(tc, peers_that_never_read_are_bounded_together);
    tcase_add_test(tc, frames_nobody_reads_nor_asked_for_are_bounded);
    tcase_add_test(tc, slow_reader_gets_everything_in_order);
    tcase_add_test(tc, peer_that_vanishes_with_output_and_input_waiting_is_let_go);
    suite_add_tcase(suite, tc);

    tc = tcase_create("turns and memory");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, turn_ends_after_32_connections);
    tcase_add_test(tc, turn_ends_after_256_kib);
    tcase_add_test(tc, two_thousand_idle_connections_own_no_buffers);
    tcase_add_test(tc, spare_memory_is_bounded);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_suite)
