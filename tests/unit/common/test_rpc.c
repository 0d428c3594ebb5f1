/* test_rpc.c - the blocking request client against a server that answers, asks back, lies or hangs.
 */
#include "unit.h"

#include <stdio.h>
#include <sys/eventfd.h>

#include "common/remoting.h"
#include "common/rpc.h"
#include "loop_fixture.h"

enum { CODE_ECHO = 900, CODE_CLOSE, CODE_SILENT, CODE_ASK_FIRST, CODE_STALE };

static struct fixture f;
static struct rpc *r;
static struct err err;

static void reply(struct conn *c, const struct remoting_frame *frame, int32_t opaque, int32_t flag,
                  int32_t code)
{
    struct remoting_meta meta = {.code = code,
                                 .opaque = opaque,
                                 .flag = flag,
                                 .version = REMOTING_VERSION,
                                 .serialize = frame->serialize};
    const struct bytes *v = remoting_field(frame, "v");
    struct remoting_writer w;

    remoting_begin(&w, conn_out(c), &meta);
    if (v)
        remoting_put(&w, "v", *v);
    remoting_body(&w);
    buf_add(conn_out(c), frame->body.at, frame->body.len);
    remoting_end(&w);
    conn_written(c);
}

static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    (void)ctx;
    switch (frame->code) {
    case CODE_CLOSE:
        conn_close(c, NULL);
        return;
    case CODE_SILENT:
        return;
    case CODE_ASK_FIRST: /* a request of the server comes before the answer */
        reply(c, frame, 77, REMOTING_FLAG_ONEWAY, 40);
        break;
    case CODE_STALE: /* an answer that nobody waits for any more */
        reply(c, frame, frame->opaque - 1, REMOTING_FLAG_RESPONSE, 13);
        break;
    default:
        break;
    }
    if (!remoting_is_oneway(frame))
        reply(c, frame, frame->opaque, REMOTING_FLAG_RESPONSE, 0);
}

static void set_up(void)
{
    static const struct remoting_handler handler = {.request = on_request};
    char address[32];

    memset(&err, 0, sizeof(err));
    fixture_loops(&f, 1);
    fixture_listen(&f, NULL, &handler, NULL, 100);
    fixture_run(&f);
    snprintf(address, sizeof(address), "127.0.0.1:%u", f.port);
    ck_assert_msg(rpc_new(&r, address, &err) == 0, "%s", err.text);
}

static void tear_down(void)
{
    r = rpc_free(r);
    fixture_stop(&f);
}

static struct rpc_request request_of(int32_t code, uint8_t serialize)
{
    static const struct rpc_field fields[] = {{"v", "value"}, {"left", NULL}};

    return (struct rpc_request){.code = code,
                                .serialize = serialize,
                                .fields = fields,
                                .field_count = 2,
                                .body = BYTES_LIT("body")};
}

static void expect_echo(int32_t code, uint8_t serialize)
{
    struct rpc_request request = request_of(code, serialize);
    struct remoting_frame answer;

    ck_assert_msg(rpc_call(r, &request, 30000, &answer, &err) == 0, "%s", err.text);
    ck_assert_int_eq(answer.code, 0);
    ck_assert(bytes_is(*remoting_field(&answer, "v"), "value"));
    ck_assert_ptr_null(remoting_field(&answer, "left"));
    ck_assert(bytes_is(answer.body, "body"));
}

START_TEST(calls_are_answered_in_both_serializations)
{
    for (int i = 0; i < 20; i++)
        expect_echo(CODE_ECHO, i % 2 ? REMOTING_BINARY : REMOTING_JSON);
}
END_TEST

static void count_request(void *ctx, const struct remoting_frame *frame)
{
    ck_assert_int_eq(frame->code, 40);
    ++*(int *)ctx;
}

START_TEST(a_request_of_the_server_goes_to_its_callback)
{
    struct rpc_request request = request_of(CODE_ASK_FIRST, REMOTING_JSON);
    struct remoting_frame answer;
    int asked = 0;

    request.on_request = count_request;
    request.ctx = &asked;
    ck_assert_msg(rpc_call(r, &request, 30000, &answer, &err) == 0, "%s", err.text);
    ck_assert_int_eq(asked, 1);
    ck_assert_int_eq(answer.code, 0);
}
END_TEST

START_TEST(an_answer_to_somebody_else_is_passed_over)
{
    expect_echo(CODE_STALE, REMOTING_JSON);
}
END_TEST

START_TEST(a_broken_connection_is_made_anew)
{
    struct rpc_request request = request_of(CODE_CLOSE, REMOTING_JSON);
    struct remoting_frame answer;

    ck_assert_int_lt(rpc_call(r, &request, 30000, &answer, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, rpc_address(r)));
    request = request_of(CODE_ECHO, REMOTING_JSON);
    request.same_connection = true;
    ck_assert_int_eq(rpc_call(r, &request, 30000, &answer, &err), -ENOTCONN);
    expect_echo(CODE_ECHO, REMOTING_JSON);
    ck_assert_int_eq(rpc_call(r, &request, 30000, &answer, &err), 0);
}
END_TEST

START_TEST(silence_ends_with_the_timeout_and_says_so)
{
    struct rpc_request request = request_of(CODE_SILENT, REMOTING_JSON);
    struct remoting_frame answer;

    ck_assert_int_eq(rpc_call(r, &request, 50, &answer, &err), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(err.text, rpc_address(r)));
    expect_echo(CODE_ECHO, REMOTING_JSON);
}
END_TEST

START_TEST(a_call_that_waits_is_given_up_when_it_is_told)
{
    struct rpc_request request = request_of(CODE_SILENT, REMOTING_JSON);
    struct remoting_frame answer;
    int told = eventfd(0, EFD_CLOEXEC);

    ck_assert_int_gt(told, 0);
    rpc_cancel_by(r, told);
    expect_echo(CODE_ECHO, REMOTING_JSON);
    ck_assert_int_eq(eventfd_write(told, 1), 0);
    ck_assert_int_eq(rpc_call(r, &request, 30000, &answer, &err), -ECANCELED);
    close(told);
}
END_TEST

START_TEST(nobody_there_is_refused_by_name)
{
    struct rpc_request request = request_of(CODE_ECHO, REMOTING_JSON);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    struct remoting_frame answer;
    struct rpc *nobody;
    char address[32];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    /* Bound, so that nobody else gets the port, but not listened on. */
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(in.sin_port));
    ck_assert_int_eq(rpc_new(&nobody, address, &err), 0);
    ck_assert_int_eq(rpc_call(nobody, &request, 30000, &answer, &err), -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, address));
    rpc_free(nobody);
    close(fd);
}
END_TEST

START_TEST(a_oneway_call_waits_for_nothing)
{
    struct rpc_request request = request_of(CODE_ECHO, REMOTING_JSON);
    struct remoting_frame answer;

    request.oneway = true;
    ck_assert_msg(rpc_call(r, &request, 30000, &answer, &err) == 0, "%s", err.text);
    expect_echo(CODE_ECHO, REMOTING_JSON);
}
END_TEST

START_TEST(addresses_without_a_port_are_refused)
{
    static const char *const bad[] = {"",           "host",   "host:", ":1",   "host:0",
                                      "host:70000", "host:x", "[::1",  "[::1]"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rpc *none = NULL;

        ck_assert_msg(rpc_new(&none, bad[i], &err) < 0, "\"%s\" was taken", bad[i]);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("rpc");
    TCase *t = tcase_create("rpc");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, calls_are_answered_in_both_serializations);
    tcase_add_test(t, a_request_of_the_server_goes_to_its_callback);
    tcase_add_test(t, an_answer_to_somebody_else_is_passed_over);
    tcase_add_test(t, a_broken_connection_is_made_anew);
    tcase_add_test(t, silence_ends_with_the_timeout_and_says_so);
    tcase_add_test(t, a_call_that_waits_is_given_up_when_it_is_told);
    tcase_add_test(t, nobody_there_is_refused_by_name);
    tcase_add_test(t, a_oneway_call_waits_for_nothing);
    tcase_add_test(t, addresses_without_a_port_are_refused);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
