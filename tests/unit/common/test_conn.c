/* test_conn.c - connections and listeners over real sockets on loopback. */
#include "unit.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/loop_internal.h"
#include "loop_fixture.h"

/* ---- a protocol for tests: [u32 length of the rest][u8 order][bytes] ---- */

enum order {
    ECHO = 'e',       /* the frame comes back */
    MANY = 'm',       /* 64 KiB of 'x' come back */
    ECHO_CLOSE = 'c', /* the frame comes back, then the end */
    DENY = 'd',       /* closed for a reason, what was written is dropped */
    CLOSE_ALL = 'a',  /* every other connection is closed */
    FORWARD = 'f',    /* [u64 id] the frame goes to that connection, wherever it is */
    TELL_ID = 'i',    /* [length][i][u64 id] */
    BAD = 'b',        /* input fails */
    GIVE = 'g',       /* the frame comes back, then the socket is the test's */
};
enum { MANY_BYTES = 64 * 1024, TEST_INPUT_MAX = 32 * 1024 * 1024 };

/* What a test wants to know of its server; one for each test, on the test's stack. */
struct server {
    struct fixture f;
    sem_t opened;
    sem_t closed;
    size_t output_high; /* most that waited for one connection */
    unsigned in_turn, in_turn_high;
    size_t in_turn_bytes, in_turn_bytes_high;
    sem_t given;
    int given_fd;
};

static void take_socket(void *ctx, int fd)
{
    struct server *s = ctx;

    s->given_fd = fd;
    sem_post(&s->given);
}

static void close_other(struct conn *c, void *except)
{
    if (c != except)
        conn_close(c, NULL);
}

static void answer_many(struct conn *c)
{
    uint8_t *to = buf_reserve(conn_out(c), MANY_BYTES);

    ck_assert_ptr_nonnull(to);
    memset(to, 'x', MANY_BYTES);
    conn_out(c)->len += MANY_BYTES;
    conn_written(c);
}

static void answer(struct conn *c, const uint8_t *frame, size_t len)
{
    buf_add(conn_out(c), frame, len);
    conn_written(c);
}

static void obey(struct conn *c, const uint8_t *frame, size_t len)
{
    struct server *s = conn_ctx(c);
    uint8_t told[13] = {0, 0, 0, 9, TELL_ID};

    switch (frame[4]) {
    case ECHO:
        answer(c, frame, len);
        break;
    case MANY:
        answer_many(c);
        break;
    case ECHO_CLOSE:
        answer(c, frame, len);
        conn_close(c, NULL);
        break;
    case DENY:
        answer(c, frame, len);
        conn_close(c, "the test asked for it");
        break;
    case GIVE:
        answer(c, frame, len);
        conn_hand_over(c, take_socket, s);
        break;
    case CLOSE_ALL:
        loop_each_conn(conn_loop(c), s, close_other, c);
        answer(c, frame, len);
        break;
    case FORWARD:
        ck_assert_int_eq(
            conn_send(s->f.loops, s->f.count, load_be64(frame + 5), bytes_of(frame, len)), 0);
        break;
    case TELL_ID:
        store_be64(told + 5, conn_id_of(c));
        answer(c, told, sizeof(told));
        break;
    default:
        ck_abort_msg("unknown order %d", frame[4]);
    }
}

static ssize_t test_input(struct conn *c, uint8_t *data, size_t len, size_t *want, const char **why)
{
    struct server *s = conn_ctx(c);
    size_t at = 0;

    s->in_turn++;
    s->in_turn_bytes += len;
    while (len - at >= 5 && !conn_is_full(c) && c->state == CONN_OPEN) {
        size_t total = 4 + (size_t)load_be32(data + at);
        if (data[at + 4] == BAD) {
            *why = "bad on purpose";
            return -1;
        }
        if (len - at < total) {
            *want = total;
            break;
        }
        obey(c, data + at, total);
        at += total;
    }
    /* Sometimes a hint that is too small, sometimes none. */
    if (len - at == 3 || len - at == 4)
        *want = 5;
    if (c->out.len > s->output_high)
        s->output_high = c->out.len;
    return (ssize_t)at;
}

static void test_opened(struct conn *c)
{
    struct server *s = conn_ctx(c);
    sem_post(&s->opened);
}

static void test_closed(struct conn *c)
{
    struct server *s = conn_ctx(c);
    ck_assert_ptr_null(loop_conn(conn_loop(c), conn_id_of(c)));
    sem_post(&s->closed);
}

static void turn_ended(void *ctx)
{
    struct server *s = ctx;

    if (s->in_turn > s->in_turn_high)
        s->in_turn_high = s->in_turn;
    if (s->in_turn_bytes > s->in_turn_bytes_high)
        s->in_turn_bytes_high = s->in_turn_bytes;
    s->in_turn = 0;
    s->in_turn_bytes = 0;
}

static const struct conn_protocol test_protocol = {
    .input = test_input,
    .opened = test_opened,
    .closed = test_closed,
    .input_max = TEST_INPUT_MAX,
    .output_max = 1024 * 1024,
};

static void start_limited(struct server *s, unsigned loops, const struct conn_protocol *protocol,
                          unsigned connections_max)
{
    memset(s, 0, sizeof(*s));
    sem_init(&s->opened, 0, 0);
    sem_init(&s->closed, 0, 0);
    sem_init(&s->given, 0, 0);
    fixture_loops(&s->f, loops);
    if (loops == 1)
        ck_assert_int_eq(loop_on_turn_end(s->f.loops[0], turn_ended, s), 0);
    fixture_listen(&s->f, protocol, NULL, s, connections_max);
    fixture_run(&s->f);
}

static void start(struct server *s, unsigned loops, const struct conn_protocol *protocol)
{
    start_limited(s, loops, protocol, 10000);
}

static int start_client(struct server *s)
{
    int fd = client_open(s->f.port);
    fixture_wait(&s->opened);
    return fd;
}

static void stop(struct server *s)
{
    fixture_stop(&s->f);
    sem_destroy(&s->opened);
    sem_destroy(&s->closed);
    sem_destroy(&s->given);
}

/* A frame whose bytes depend on `seed`; free() it. */
static uint8_t *make_frame(enum order order, size_t size, unsigned seed)
{
    uint8_t *frame = malloc(size);

    ck_assert_ptr_nonnull(frame);
    store_be32(frame, (uint32_t)(size - 4));
    frame[4] = (uint8_t)order;
    for (size_t i = 5; i < size; i++)
        frame[i] = (uint8_t)((i * 2654435761U + seed) >> 7);
    return frame;
}

static void send_order(int fd, enum order order)
{
    uint8_t frame[8] = {0, 0, 0, 4, (uint8_t)order, 1, 2, 3};
    client_send(fd, frame, sizeof(frame));
}

static void expect_echo(int fd, const uint8_t *frame, size_t size)
{
    uint8_t *back = malloc(size);

    ck_assert_ptr_nonnull(back);
    client_receive(fd, back, size);
    ck_assert(memcmp(back, frame, size) == 0);
    free(back);
}

/* A request and its answer: whatever the loop had to do before, it has done. */
static void round_trip(int fd)
{
    uint8_t frame[8] = {0, 0, 0, 4, ECHO, 7, 8, 9};

    client_send(fd, frame, sizeof(frame));
    expect_echo(fd, frame, sizeof(frame));
}

static conn_id ask_id(int fd)
{
    uint8_t told[13];

    send_order(fd, TELL_ID);
    client_receive(fd, told, sizeof(told));
    return load_be64(told + 5);
}

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
    struct server s;
    struct buf all = {0};
    struct {
        int fd;
        struct buf *all;
    } job = {.all = &all};
    pthread_t sender;

    start(&s, 1, &test_protocol);
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

struct look {
    struct loop *loop;
    size_t in_cap;       /* most input memory of one connection */
    unsigned with_input; /* connections that own input memory, */
    unsigned with_output;
    unsigned count;
    size_t pool_bytes;
    unsigned pool_count;
    uint64_t waiting_in;
};

static void look_at_conns(void *arg)
{
    struct look *look = arg;
    struct conn *c;

    look->in_cap = 0;
    look->with_input = look->with_output = look->count = 0;
    look->pool_bytes = look->loop->pool_bytes;
    look->pool_count = look->loop->pool_count;
    look->waiting_in = look->loop->waiting_in;
    TAILQ_FOREACH(c, &look->loop->conns, all)
    {
        look->count++;
        look->with_input += c->in.data != NULL;
        look->with_output += c->out.data != NULL;
        if (c->in.cap > look->in_cap)
            look->in_cap = c->in.cap;
    }
}

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
    ck_assert_uint_le(stats.waiting_out, BOUND + 2 * 1024 * 1024);
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

/* ---- ids, and the way across loops ---- */

START_TEST(ids_are_never_used_twice)
{
    struct server s;
    enum { OPENED = 300 };
    conn_id ids[OPENED];

    start(&s, 1, &test_protocol);
    for (int i = 0; i < OPENED; i++) {
        int fd = start_client(&s);
        ids[i] = ask_id(fd);
        ck_assert_uint_ne(ids[i], 0);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
        close(fd);
        fixture_wait(&s.closed); /* its slot is free again */
    }
    stop(&s);
}
END_TEST

struct lookup {
    struct loop *loop;
    conn_id id;
    struct conn *found;
};

static void look_up(void *arg)
{
    struct lookup *lookup = arg;
    lookup->found = loop_conn(lookup->loop, lookup->id);
}

START_TEST(id_of_a_closed_connection_finds_nothing)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    struct lookup lookup = {s.f.loops[0], ask_id(fd), NULL};
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_nonnull(lookup.found);
    close(fd);
    fixture_wait(&s.closed);
    int next = start_client(&s); /* has the same slot */
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    lookup.id = 0;
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    lookup.id = UINT64_MAX >> 8;
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    close(next);
    stop(&s);
}
END_TEST

START_TEST(connections_are_spread_and_frames_cross_loops)
{
    struct server s;
    int fds[4];
    conn_id ids[4];
    unsigned on[2] = {0, 0};

    start(&s, 2, &test_protocol);
    for (int i = 0; i < 4; i++) {
        fds[i] = start_client(&s);
        ids[i] = ask_id(fds[i]);
        ck_assert_uint_lt(conn_loop_index(ids[i]), 2);
        on[conn_loop_index(ids[i])]++;
    }
    ck_assert_uint_eq(on[0], 2);
    ck_assert_uint_eq(on[1], 2);
    uint8_t *frame = make_frame(FORWARD, 70000, 4);
    for (int round = 0; round < 200; round++) {
        int from = round % 4, to = (round / 4) % 4;
        size_t size = round % 10 ? 60 : 70000;
        store_be32(frame, (uint32_t)size - 4);
        store_be64(frame + 5, ids[to]);
        client_send(fds[from], frame, size);
        expect_echo(fds[to], frame, size);
    }
    /* From a thread that is no loop; and to those that are not there. */
    store_be32(frame, 56);
    ck_assert_int_eq(conn_send(s.f.loops, 2, ids[3], bytes_of(frame, 60)), 0);
    expect_echo(fds[3], frame, 60);
    ck_assert_int_eq(conn_send(s.f.loops, 2, (conn_id)2 << 56 | 1, bytes_of(frame, 60)), -ENOENT);
    ck_assert_int_eq(conn_send(s.f.loops, 2, 0, bytes_of(frame, 60)), -ENOENT);
    close(fds[3]);
    fixture_wait(&s.closed);
    ck_assert_int_eq(conn_send(s.f.loops, 2, ids[3], bytes_of(frame, 60)), 0); /* not known here */
    for (int i = 0; i < 3; i++) {
        round_trip(fds[i]);
        close(fds[i]);
    }
    free(frame);
    stop(&s);
}
END_TEST

START_TEST(frame_for_a_loop_that_has_ended_is_not_taken)
{
    struct fixture f;
    conn_id id = (conn_id)1 << 56 | 1 << 24;

    fixture_loops(&f, 2);
    fixture_run(&f);
    loop_stop(f.loops[1]);
    pthread_join(f.threads[1], NULL);
    /* That thread is gone, this one is not the loop's. */
    ck_assert_int_eq(conn_send(f.loops, 2, id, BYTES_LIT("x")), -ESHUTDOWN);
    f.loops[1] = loop_free(f.loops[1]);
    ck_assert_int_eq(conn_send(f.loops, 2, id, BYTES_LIT("x")), -ENOENT);
    f.count = 1;
    fixture_stop(&f);
}
END_TEST

static void *send_before_it_runs(void *loops)
{
    ck_assert_int_eq(conn_send(loops, 1, 1 << 24, BYTES_LIT("x")), 0);
    return NULL;
}

START_TEST(frame_for_a_loop_that_never_runs_is_freed_with_it)
{
    struct fixture f;
    pthread_t thread;

    fixture_loops(&f, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_before_it_runs, f.loops), 0);
    pthread_join(thread, NULL);
    loop_free(f.loops[0]);
}
END_TEST

/* ---- listeners ---- */

START_TEST(surplus_connections_are_closed_and_room_is_used_again)
{
    struct server s;

    start_limited(&s, 1, &test_protocol, /* connections_max */ 2);
    int one = start_client(&s), two = start_client(&s);
    int three = client_open(s.f.port);
    client_expect_end(three);
    close(three);
    close(one);
    fixture_wait(&s.closed);
    int four = start_client(&s);
    round_trip(two);
    round_trip(four);
    close(two);
    close(four);
    stop(&s);
}
END_TEST

START_TEST(connections_outlive_their_listener)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    loop_stop(s.f.loops[0]);
    pthread_join(s.f.threads[0], NULL);
    s.f.listener = listener_free(s.f.listener);
    fixture_run(&s.f);
    round_trip(fd);
    close(fd);
    fixture_wait(&s.closed);
    stop(&s);
}
END_TEST

START_TEST(address_in_use_is_reported_with_address_and_port)
{
    struct fixture f;
    struct err err;
    struct listener *second = NULL;

    fixture_loops(&f, 1);
    fixture_listen(&f, &test_protocol, NULL, NULL, 1);
    struct listener_options options = {.address = "127.0.0.1",
                                       .port = f.port,
                                       .loops = f.loops,
                                       .loop_count = 1,
                                       .protocol = &test_protocol,
                                       .connections_max = 1};
    char port[8];
    snprintf(port, sizeof(port), "%u", f.port);
    ck_assert_int_eq(listener_new(&second, &options, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, "127.0.0.1"));
    ck_assert_ptr_nonnull(strstr(err.text, port));
    options.address = "localhost";
    ck_assert_int_eq(listener_new(&second, &options, &err), -EINVAL);
    listener_free(f.listener);
    loop_free(f.loops[0]);
}
END_TEST

START_TEST(listener_recovers_when_descriptors_are_free_again)
{
    struct server s;
    struct rlimit files;
    int spare[64], spares = 0;

    start(&s, 1, &test_protocol);
    int first = start_client(&s);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    int waiting = -1;
    while ((spare[spares] = dup(first)) >= 0)
        spares++;
    /* One descriptor for the client, none for the server. */
    close(spare[--spares]);
    waiting = client_open(s.f.port);
    round_trip(first);

    /* The listening socket, readable all the while, makes no turns of its own. */
    struct loop_stats before, after;
    struct pollfd nothing = {.fd = first, .events = POLLIN};
    int64_t from_ms = clock_mono_ms();
    loop_stats(s.f.loops[0], &before);
    ck_assert_int_eq(poll(&nothing, 1, 50), 0);
    loop_stats(s.f.loops[0], &after);
    ck_assert_uint_le(after.turns - before.turns, 5 + (clock_mono_ms() - from_ms) / 50);
    while (spares)
        close(spare[--spares]);
    fixture_wait(&s.opened);
    round_trip(waiting);
    close(first);
    close(waiting);
    stop(&s);
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

    tc = tcase_create("output");
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

    tc = tcase_create("ids and loops");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, ids_are_never_used_twice);
    tcase_add_test(tc, id_of_a_closed_connection_finds_nothing);
    tcase_add_test(tc, connections_are_spread_and_frames_cross_loops);
    tcase_add_test(tc, frame_for_a_loop_that_has_ended_is_not_taken);
    tcase_add_test(tc, frame_for_a_loop_that_never_runs_is_freed_with_it);
    suite_add_tcase(suite, tc);

    tc = tcase_create("listeners");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_socket_is_handed_over_once_the_answer_is_written);
    tcase_add_test(tc, a_socket_with_input_that_nobody_handled_is_not_handed_over);
    tcase_add_test(tc, a_socket_of_a_peer_that_is_lost_is_not_handed_over);
    tcase_add_test(tc, surplus_connections_are_closed_and_room_is_used_again);
    tcase_add_test(tc, connections_outlive_their_listener);
    tcase_add_test(tc, address_in_use_is_reported_with_address_and_port);
    tcase_add_test(tc, listener_recovers_when_descriptors_are_free_again);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_suite)
