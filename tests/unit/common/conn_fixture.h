/* conn_fixture.h - a server with a protocol for tests of connections, and what its clients do. */
#ifndef TERN_TESTS_UNIT_COMMON_CONN_FIXTURE_H
#define TERN_TESTS_UNIT_COMMON_CONN_FIXTURE_H

#include "common/loop_internal.h"
#include "loop_fixture.h"
#include "unit.h"

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

static inline void take_socket(void *ctx, int fd)
{
    struct server *s = ctx;

    s->given_fd = fd;
    sem_post(&s->given);
}

static inline void close_other(struct conn *c, void *except)
{
    if (c != except)
        conn_close(c, NULL);
}

static inline void answer_many(struct conn *c)
{
    uint8_t *to = buf_reserve(conn_out(c), MANY_BYTES);

    ck_assert_ptr_nonnull(to);
    memset(to, 'x', MANY_BYTES);
    conn_out(c)->len += MANY_BYTES;
    conn_written(c);
}

static inline void answer(struct conn *c, const uint8_t *frame, size_t len)
{
    buf_add(conn_out(c), frame, len);
    conn_written(c);
}

static inline void obey(struct conn *c, const uint8_t *frame, size_t len)
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

static inline ssize_t test_input(struct conn *c, uint8_t *data, size_t len, size_t *want,
                                 const char **why)
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

static inline void test_opened(struct conn *c)
{
    struct server *s = conn_ctx(c);
    sem_post(&s->opened);
}

static inline void test_closed(struct conn *c)
{
    struct server *s = conn_ctx(c);
    ck_assert_ptr_null(loop_conn(conn_loop(c), conn_id_of(c)));
    sem_post(&s->closed);
}

static inline void turn_ended(void *ctx)
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

static inline void start_limited(struct server *s, unsigned loops,
                                 const struct conn_protocol *protocol, unsigned connections_max)
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

static inline void start(struct server *s, unsigned loops, const struct conn_protocol *protocol)
{
    start_limited(s, loops, protocol, 10000);
}

static inline int start_client(struct server *s)
{
    int fd = client_open(s->f.port);
    fixture_wait(&s->opened);
    return fd;
}

static inline void stop(struct server *s)
{
    fixture_stop(&s->f);
    sem_destroy(&s->opened);
    sem_destroy(&s->closed);
    sem_destroy(&s->given);
}

/* A frame whose bytes depend on `seed`; free() it. */
static inline uint8_t *make_frame(enum order order, size_t size, unsigned seed)
{
    uint8_t *frame = malloc(size);

    ck_assert_ptr_nonnull(frame);
    store_be32(frame, (uint32_t)(size - 4));
    frame[4] = (uint8_t)order;
    for (size_t i = 5; i < size; i++)
        frame[i] = (uint8_t)((i * 2654435761U + seed) >> 7);
    return frame;
}

static inline void send_order(int fd, enum order order)
{
    uint8_t frame[8] = {0, 0, 0, 4, (uint8_t)order, 1, 2, 3};
    client_send(fd, frame, sizeof(frame));
}

static inline void expect_echo(int fd, const uint8_t *frame, size_t size)
{
    uint8_t *back = malloc(size);

    ck_assert_ptr_nonnull(back);
    client_receive(fd, back, size);
    ck_assert(memcmp(back, frame, size) == 0);
    free(back);
}

/* A request and its answer: whatever the loop had to do before, it has done. */
static inline void round_trip(int fd)
{
    uint8_t frame[8] = {0, 0, 0, 4, ECHO, 7, 8, 9};

    client_send(fd, frame, sizeof(frame));
    expect_echo(fd, frame, sizeof(frame));
}

static inline conn_id ask_id(int fd)
{
    uint8_t told[13];

    send_order(fd, TELL_ID);
    client_receive(fd, told, sizeof(told));
    return load_be64(told + 5);
}

/* What a loop's connections hold in memory; look_at_conns() runs on that loop. */
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

static inline void look_at_conns(void *arg)
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

#endif
