/* loop_fixture.h - loops on threads of their own, and blocking clients, for tests of connections.
 */
#ifndef TERN_TESTS_UNIT_COMMON_LOOP_FIXTURE_H
#define TERN_TESTS_UNIT_COMMON_LOOP_FIXTURE_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/conn.h"
#include "common/loop.h"

enum { FIXTURE_WAIT_SECONDS = 60 }; /* for what must happen; a test fails after it */

struct fixture {
    struct loop *loops[2];
    unsigned count;
    pthread_t threads[2];
    struct listener *listener;
    uint16_t port;
};

static inline void *fixture_thread(void *loop)
{
    ck_assert_int_eq(loop_run(loop), 0);
    return NULL;
}

static inline void fixture_loops(struct fixture *f, unsigned count)
{
    struct err err;

    memset(f, 0, sizeof(*f));
    f->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct loop_options options = {.index = i, .busy_poll_micros = 50};
        ck_assert_msg(loop_new(&f->loops[i], &options, &err) == 0, "%s", err.text);
    }
}

static inline void fixture_run(struct fixture *f)
{
    for (unsigned i = 0; i < f->count; i++)
        ck_assert_int_eq(pthread_create(&f->threads[i], NULL, fixture_thread, f->loops[i]), 0);
}

/* Listens on a free port of loopback. */
static inline void fixture_listen(struct fixture *f, const struct conn_protocol *protocol,
                                  const struct remoting_handler *remoting, void *ctx,
                                  unsigned connections_max)
{
    struct err err;
    struct listener_options options = {.address = "127.0.0.1",
                                       .loops = f->loops,
                                       .loop_count = f->count,
                                       .protocol = protocol,
                                       .remoting = remoting,
                                       .ctx = ctx,
                                       .connections_max = connections_max};

    ck_assert_msg(listener_new(&f->listener, &options, &err) == 0, "%s", err.text);
    f->port = listener_port(f->listener);
}

static inline void fixture_stop(struct fixture *f)
{
    for (unsigned i = 0; i < f->count; i++)
        loop_stop(f->loops[i]);
    for (unsigned i = 0; i < f->count; i++)
        pthread_join(f->threads[i], NULL);
    f->listener = listener_free(f->listener);
    for (unsigned i = 0; i < f->count; i++)
        f->loops[i] = loop_free(f->loops[i]);
}

static inline void fixture_wait(sem_t *event)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += FIXTURE_WAIT_SECONDS;
    int r;
    while ((r = sem_timedwait(event, &until)) < 0 && errno == EINTR)
        ;
    ck_assert_msg(r == 0, "the event did not come");
}

/* Runs fn(arg) on the loop's thread and waits for it. */
struct fixture_call {
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static inline void fixture_call_run(struct loop_message *message)
{
    struct fixture_call *call = message->p;

    call->fn(call->arg);
    sem_post(&call->done);
}

static inline void fixture_on_loop(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct fixture_call call = {.fn = fn, .arg = arg};
    struct loop_message message = {.run = fixture_call_run, .p = &call};

    sem_init(&call.done, 0, 0);
    ck_assert_int_eq(loop_post(loop, &message), 0);
    fixture_wait(&call.done);
    sem_destroy(&call.done);
}

/* A blocking client; nothing it does takes longer than FIXTURE_WAIT_SECONDS. */
static inline int client_open(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval wait = {.tv_sec = FIXTURE_WAIT_SECONDS};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static inline void client_send(int fd, const void *at, size_t len)
{
    const uint8_t *p = at;

    while (len) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        ck_assert_msg(n > 0, "send: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
}

static inline void client_receive(int fd, void *at, size_t len)
{
    uint8_t *p = at;

    while (len) {
        ssize_t n = recv(fd, p, len, 0);
        ck_assert_msg(n > 0, "recv: %s, %zu bytes missing", n ? strerror(errno) : "closed", len);
        p += n;
        len -= (size_t)n;
    }
}

/* The peer has closed, and sent nothing (more). */
static inline void client_expect_end(int fd)
{
    uint8_t byte;
    ssize_t n = recv(fd, &byte, 1, 0);

    ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "expected the end, got %zd (%s)", n,
                  n < 0 ? strerror(errno) : "a byte");
}

#endif
