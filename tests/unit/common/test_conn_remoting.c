/* test_conn_remoting.c - remoting frames over real sockets: to the handler whole, or refused. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/remoting.h"
#include "loop_fixture.h"

enum { CODE_ECHO = 900, CODE_CLOSE = 901 };

struct server {
    struct fixture f;
    sem_t closed;
    atomic_uint requests;
    atomic_uint responses;
    int log_fd; /* what the process wrote to stderr */
};

/* Field "v", body and serialization come back. */
static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct server *s = ctx;
    struct remoting_writer w;
    struct remoting_meta meta = {.opaque = frame->opaque,
                                 .flag = REMOTING_FLAG_RESPONSE,
                                 .version = REMOTING_VERSION,
                                 .serialize = frame->serialize};
    const struct bytes *v = remoting_field(frame, "v");

    atomic_fetch_add(&s->requests, 1);
    ck_assert(!remoting_is_response(frame));
    remoting_begin(&w, conn_out(c), &meta);
    if (v)
        remoting_put(&w, "v", *v);
    remoting_body(&w);
    buf_add(conn_out(c), frame->body.at, frame->body.len);
    remoting_end(&w);
    conn_written(c);
    if (frame->code == CODE_CLOSE)
        conn_close(c, NULL);
}

static void on_response(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct server *s = ctx;
    (void)c;
    ck_assert(remoting_is_response(frame));
    atomic_fetch_add(&s->responses, 1);
}

static void on_closed(void *ctx, struct conn *c)
{
    struct server *s = ctx;
    (void)c;
    sem_post(&s->closed);
}

static const struct remoting_handler handler = {on_request, on_response, on_closed};

static void start(struct server *s)
{
    memset(s, 0, sizeof(*s));
    sem_init(&s->closed, 0, 0);
    /* Each test runs in a process of its own. */
    s->log_fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(s->log_fd, 0);
    ck_assert_int_ge(dup2(s->log_fd, STDERR_FILENO), 0);
    fixture_loops(&s->f, 1);
    fixture_listen(&s->f, NULL, &handler, s, 1000);
    fixture_run(&s->f);
}

static void stop(struct server *s)
{
    fixture_stop(&s->f);
    close(s->log_fd);
    sem_destroy(&s->closed);
}

static void read_log(const struct server *s, char *text, size_t size)
{
    ssize_t n = pread(s->log_fd, text, size - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = 0;
}

/* ---- the client's side ---- */

static void add_frame(struct buf *out, const struct remoting_meta *meta, const char *v,
                      struct bytes body)
{
    struct remoting_writer w;

    remoting_begin(&w, out, meta);
    remoting_put_str(&w, "v", v);
    remoting_body(&w);
    buf_add(out, body.at, body.len);
    remoting_end(&w);
    ck_assert(!out->failed);
}

static void add_request(struct buf *out, int32_t code, int32_t opaque, uint8_t serialize,
                        const char *v, struct bytes body)
{
    struct remoting_meta meta = {
        .code = code, .opaque = opaque, .version = REMOTING_VERSION, .serialize = serialize};
    add_frame(out, &meta, v, body);
}

/* The next frame, as raw bytes; free() it. */
static uint8_t *receive_frame(int fd, struct remoting_frame *frame)
{
    uint8_t length[4];
    const char *why = "";

    client_receive(fd, length, 4);
    size_t size = 4 + (size_t)load_be32(length);
    ck_assert_uint_le(size, REMOTING_FRAME_MAX);
    uint8_t *raw = malloc(size);
    ck_assert_ptr_nonnull(raw);
    memcpy(raw, length, 4);
    client_receive(fd, raw + 4, size - 4);
    ck_assert_msg(remoting_decode(raw, size, frame, &why) == 0, "%s", why);
    return raw;
}

static void expect_answer(int fd, int32_t opaque, uint8_t serialize, const char *v,
                          struct bytes body)
{
    struct remoting_frame frame;
    uint8_t *raw = receive_frame(fd, &frame);

    ck_assert_int_eq(frame.opaque, opaque);
    ck_assert_int_eq(frame.serialize, serialize);
    ck_assert(remoting_is_response(&frame));
    if (v)
        ck_assert(bytes_is(*remoting_field(&frame, "v"), v));
    ck_assert(bytes_equal(frame.body, body));
    free(raw);
}

static void round_trip(int fd)
{
    struct buf out = {0};

    add_request(&out, CODE_ECHO, 4711, REMOTING_JSON, "round", BYTES_LIT("trip"));
    client_send(fd, buf_at(&out), out.len);
    expect_answer(fd, 4711, REMOTING_JSON, "round", BYTES_LIT("trip"));
    buf_destroy(&out);
}

/* ---- frames ---- */

START_TEST(pipelined_requests_of_both_serializations_are_answered_in_order)
{
    struct server s;
    struct buf out = {0};

    start(&s);
    int fd = client_open(s.f.port);
    for (int32_t i = 0; i < 1000; i++)
        add_request(&out, CODE_ECHO, i, i % 3 ? REMOTING_JSON : REMOTING_BINARY, "\"ä\n",
                    bytes_of("0123456789", (size_t)i % 11));
    client_send(fd, buf_at(&out), out.len);
    for (int32_t i = 0; i < 1000; i++)
        expect_answer(fd, i, i % 3 ? REMOTING_JSON : REMOTING_BINARY, "\"ä\n",
                      bytes_of("0123456789", (size_t)i % 11));
    close(fd);
    buf_destroy(&out);
    stop(&s);
}
END_TEST

START_TEST(request_may_be_split_anywhere)
{
    static const uint8_t serializations[] = {REMOTING_JSON, REMOTING_BINARY};
    struct server s;

    start(&s);
    int fd = client_open(s.f.port), other = client_open(s.f.port);
    for (int k = 0; k < 2; k++) {
        struct buf out = {0};
        add_request(&out, CODE_ECHO, 1, serializations[k], "first", BYTES_LIT("one"));
        add_request(&out, CODE_ECHO, 2, serializations[k], "second", BYTES_LIT(""));
        for (size_t cut = 1; cut < out.len; cut++) {
            client_send(fd, buf_at(&out), cut);
            round_trip(other); /* the server has looked at the first part by now */
            client_send(fd, buf_at(&out) + cut, out.len - cut);
            expect_answer(fd, 1, serializations[k], "first", BYTES_LIT("one"));
            expect_answer(fd, 2, serializations[k], "second", BYTES_LIT(""));
        }
        buf_destroy(&out);
    }
    close(fd);
    close(other);
    stop(&s);
}
END_TEST

static void *send_all(void *arg)
{
    struct {
        int fd;
        struct buf *out;
    } *job = arg;
    client_send(job->fd, buf_at(job->out), job->out->len);
    return NULL;
}

START_TEST(largest_frame_comes_back)
{
    struct server s;
    struct buf out = {0};
    struct {
        int fd;
        struct buf *out;
    } job = {.out = &out};
    pthread_t sender;

    /* The largest whose answer, which has the same header fields, is no larger. */
    add_request(&out, CODE_ECHO, 9, REMOTING_BINARY, "big", BYTES_LIT(""));
    size_t size = REMOTING_FRAME_MAX - out.len;
    uint8_t *body = malloc(size);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < size; i++)
        body[i] = (uint8_t)(i * 31 >> 3);
    buf_reset(&out);
    add_request(&out, CODE_ECHO, 9, REMOTING_BINARY, "big", bytes_of(body, size));
    ck_assert_uint_eq(out.len, REMOTING_FRAME_MAX);
    add_request(&out, CODE_ECHO, 10, REMOTING_JSON, "small", BYTES_LIT("x"));

    start(&s);
    job.fd = client_open(s.f.port);
    ck_assert_int_eq(pthread_create(&sender, NULL, send_all, &job), 0);
    expect_answer(job.fd, 9, REMOTING_BINARY, "big", bytes_of(body, size));
    expect_answer(job.fd, 10, REMOTING_JSON, "small", BYTES_LIT("x"));
    pthread_join(sender, NULL);
    close(job.fd);
    free(body);
    buf_destroy(&out);
    stop(&s);
}
END_TEST

START_TEST(responses_go_to_their_own_handler)
{
    struct server s;
    struct buf out = {0};
    struct remoting_meta meta = {.opaque = 3, .flag = REMOTING_FLAG_RESPONSE};

    start(&s);
    int fd = client_open(s.f.port);
    add_frame(&out, &meta, "r", BYTES_LIT(""));
    client_send(fd, buf_at(&out), out.len);
    round_trip(fd);
    ck_assert_uint_eq(atomic_load(&s.responses), 1);
    ck_assert_uint_eq(atomic_load(&s.requests), 1);
    close(fd);
    fixture_wait(&s.closed);
    buf_destroy(&out);
    stop(&s);
}
END_TEST

START_TEST(requests_behind_a_close_are_not_handled)
{
    struct server s;
    struct buf out = {0};

    start(&s);
    int fd = client_open(s.f.port);
    add_request(&out, CODE_ECHO, 1, REMOTING_JSON, "v", BYTES_LIT(""));
    add_request(&out, CODE_CLOSE, 2, REMOTING_JSON, "v", BYTES_LIT(""));
    add_request(&out, CODE_ECHO, 3, REMOTING_JSON, "v", BYTES_LIT(""));
    client_send(fd, buf_at(&out), out.len);
    expect_answer(fd, 1, REMOTING_JSON, "v", BYTES_LIT(""));
    expect_answer(fd, 2, REMOTING_JSON, "v", BYTES_LIT(""));
    client_expect_end(fd);
    fixture_wait(&s.closed);
    ck_assert_uint_eq(atomic_load(&s.requests), 2);
    close(fd);
    buf_destroy(&out);
    stop(&s);
}
END_TEST

/* ---- what is not a frame ---- */

#define ROW(bytes, reason, shown)                                                                  \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, reason, shown                                                    \
    }

static const struct junk {
    const char *bytes;
    size_t len;
    const char *reason; /* both must be in the log line */
    const char *shown;
} junk[] = {
    ROW("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP", "GET / HTTP/1.1\\x0d\\x0a"),
    ROW("POST /", "HTTP", "POST /"),
    ROW("\"\\x", "text", "\\x22\\x5cx"),
    ROW("\x16\x03\x01\x02\x00\x01\x00", "TLS is not enabled here", "\\x16\\x03\\x01"),
    ROW("\x16", "TLS is not enabled here", "\\x16"),
    ROW("\x16\x16\x16\x16", "length is out of range", "\\x16\\x16"),
    ROW("\xff", "not the remoting protocol", "\\xff"),
    ROW("\xff\xfe\xfd\xfc\xfb", "length is out of range", "\\xff\\xfe"),
    ROW("\x00\x00\x00\x03", "length is out of range", "\\x00\\x00\\x00\\x03"),
    ROW("\x00\x00\x00\x00", "length is out of range", "\\x00\\x00\\x00\\x00"),
    ROW("\x00\xff\xff\xfd", "length is out of range", "\\x00\\xff\\xff\\xfd"),   /* one too long */
    ROW("\x40\x00\x00\x00\x00\x00\x00\x00", "length is out of range", "@\\x00"), /* 1 GiB */
    ROW("\x7f\xff\xff\xff", "length is out of range", "\\x7f\\xff\\xff\\xff"),
    ROW("\x00\xff\xff\xfc\x02", "serialization is unknown", "\\x02"),
    ROW("\x00\xff\xff\xfc\x00\xff\xff\xf9", "header is longer than the frame", "\\xf9"),
    ROW("\x00\x00\x00\x10\x01\x00\x00\x0d", "header is longer than the frame", "\\x01\\x00\\x00"),
    ROW("\x00\x00\x00\x06\x00\x00\x00\x02{]", "", "{]"), /* as the decoder says */
    ROW("\x00\x00\x00\x05\x01\x00\x00\x01z", "", "z"),
};

START_TEST(junk_ends_its_connection_and_no_other)
{
    const struct junk *row = &junk[_i];
    struct server s;
    struct sockaddr_in local = {0};
    socklen_t local_len = sizeof(local);
    char log[4096], peer[64];

    start(&s);
    int other = client_open(s.f.port), fd = client_open(s.f.port);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&local, &local_len), 0);
    round_trip(other);
    client_send(fd, row->bytes, row->len);
    client_expect_end(fd);
    fixture_wait(&s.closed);
    round_trip(other);

    read_log(&s, log, sizeof(log));
    snprintf(peer, sizeof(peer), "connection from 127.0.0.1:%u closed", ntohs(local.sin_port));
    ck_assert_msg(strstr(log, peer) != NULL, "%s", log);
    ck_assert_msg(strstr(log, row->reason) != NULL, "%s", log);
    ck_assert_msg(strstr(log, row->shown) != NULL, "%s", log);
    ck_assert_uint_eq(atomic_load(&s.requests), 2);
    close(fd);
    close(other);
    stop(&s);
}
END_TEST

START_TEST(junk_behind_good_frames_is_what_the_log_shows)
{
    struct server s;
    struct buf out = {0};
    char log[4096];

    start(&s);
    int fd = client_open(s.f.port);
    add_request(&out, CODE_ECHO, 1, REMOTING_JSON, "v", BYTES_LIT(""));
    buf_add_str(&out, "HELLO\n");
    client_send(fd, buf_at(&out), out.len);
    fixture_wait(&s.closed);
    read_log(&s, log, sizeof(log));
    ck_assert_msg(strstr(log, "\"HELLO\\x0a\"") != NULL, "%s", log);
    ck_assert_uint_eq(atomic_load(&s.requests), 1);
    close(fd);
    buf_destroy(&out);
    stop(&s);
}
END_TEST

START_TEST(many_bad_connections_of_one_host_make_one_line)
{
    struct server s;
    char log[8192];
    unsigned lines = 0;

    start(&s);
    for (int i = 0; i < 30; i++) {
        int fd = client_open(s.f.port);
        client_send(fd, "junk", 4);
        fixture_wait(&s.closed);
        close(fd);
    }
    read_log(&s, log, sizeof(log));
    for (const char *p = log; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    ck_assert_msg(lines == 1, "%s", log);
    stop(&s);
}
END_TEST

static Suite *conn_remoting_suite(void)
{
    Suite *suite = suite_create("conn_remoting");
    TCase *tc = tcase_create("conn_remoting");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, pipelined_requests_of_both_serializations_are_answered_in_order);
    tcase_add_test(tc, request_may_be_split_anywhere);
    tcase_add_test(tc, largest_frame_comes_back);
    tcase_add_test(tc, responses_go_to_their_own_handler);
    tcase_add_test(tc, requests_behind_a_close_are_not_handled);
    tcase_add_loop_test(tc, junk_ends_its_connection_and_no_other, 0,
                        sizeof(junk) / sizeof(junk[0]));
    tcase_add_test(tc, junk_behind_good_frames_is_what_the_log_shows);
    tcase_add_test(tc, many_bad_connections_of_one_host_make_one_line);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_remoting_suite)
