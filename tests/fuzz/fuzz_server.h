/* fuzz_server.h - requests written as text, sent to a server over loopback, and what must hold
 * then: each that wants an answer gets one, none gets two, and the connection stays.
 *
 *   CODE FLAG          decimal; FLAG may be missing
 *   field=value        any number of lines
 *                      an empty line, and all that follows is the body
 *   ----               a line between two requests
 *
 * An answer that never comes ends the run by libFuzzer's -timeout.
 */
#ifndef TERN_TESTS_FUZZ_SERVER_H
#define TERN_TESTS_FUZZ_SERVER_H

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/codes.h"
#include "common/remoting.h"

enum {
    FUZZ_REQUESTS_MAX = 64,
    FUZZ_LAST = FUZZ_REQUESTS_MAX, /* the opaque of the last request, whose code is nobody's */
};

struct fuzz_talk {
    struct buf out, in;
    int fd;
    int owed; /* answers */
    bool owes[FUZZ_REQUESTS_MAX + 1], answered[FUZZ_REQUESTS_MAX + 1];
};

/* Up to the next `end`, which is taken too; all of it where there is none. */
static inline struct bytes fuzz_until(struct bytes *text, struct bytes end)
{
    uint8_t *at = text->len ? memmem(text->at, text->len, end.at, end.len) : NULL;
    struct bytes part = bytes_of(text->at, at ? (size_t)(at - text->at) : text->len);
    size_t taken = part.len + (at ? end.len : 0);

    *text = bytes_of(text->at + taken, text->len - taken);
    return part;
}

/* Writes one request with the opaque; its code and whether it wants an answer. */
static inline int32_t fuzz_request(struct buf *out, struct bytes text, int32_t opaque, bool *wants)
{
    struct bytes line = fuzz_until(&text, BYTES_LIT("\n"));
    struct bytes code = fuzz_until(&line, BYTES_LIT(" "));
    struct remoting_meta meta = {.opaque = opaque,
                                 .version = REMOTING_VERSION,
                                 .language = REMOTING_JAVA,
                                 .has_fields = true};
    struct remoting_writer w;
    int fields = 0;

    bytes_to_i32(code, &meta.code);
    bytes_to_i32(line, &meta.flag);
    remoting_begin(&w, out, &meta);
    while (text.len > 0) {
        struct bytes key;

        line = fuzz_until(&text, BYTES_LIT("\n"));
        if (line.len == 0)
            break;
        key = fuzz_until(&line, BYTES_LIT("="));
        if (key.len > 0 && key.len <= 255 && fields++ < REMOTING_FIELDS_MAX)
            remoting_put_named(&w, key, line);
    }
    remoting_body(&w);
    buf_add(out, text.at, text.len);
    remoting_end(&w);
    assert(!out->failed);
    *wants = !(meta.flag & (REMOTING_FLAG_RESPONSE | REMOTING_FLAG_ONEWAY));
    return meta.code;
}

static inline void fuzz_take_frame(struct fuzz_talk *talk, size_t size)
{
    static struct remoting_frame frame;
    const char *why;

    assert(remoting_decode(buf_at(&talk->in), size, &frame, &why) == 0);
    if (remoting_is_response(&frame)) {
        assert(frame.opaque >= 0 && frame.opaque <= FUZZ_LAST);
        assert(!talk->answered[frame.opaque]);
        talk->answered[frame.opaque] = true;
        if (talk->owes[frame.opaque])
            talk->owed--;
    }
    buf_consume(&talk->in, size);
}

static inline void fuzz_read(struct fuzz_talk *talk)
{
    uint8_t *to = buf_reserve(&talk->in, 65536);
    size_t size;
    ssize_t n;

    assert(to);
    n = recv(talk->fd, to, 65536, 0);
    assert(n > 0); /* whoever speaks properly stays connected */
    talk->in.len += (size_t)n;
    while (remoting_frame_size(buf_bytes(&talk->in), &size) == 0 &&
           size <= buf_bytes(&talk->in).len)
        fuzz_take_frame(talk, size);
}

static inline void fuzz_exchange(struct fuzz_talk *talk)
{
    while (talk->owed > 0) {
        struct bytes rest = buf_bytes(&talk->out);
        struct pollfd p = {.fd = talk->fd, .events = (short)(POLLIN | (rest.len ? POLLOUT : 0))};

        if (poll(&p, 1, -1) < 0) {
            assert(errno == EINTR);
            continue;
        }
        if (p.revents & POLLOUT) {
            ssize_t n = send(talk->fd, rest.at, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);

            assert(n > 0 || errno == EAGAIN);
            if (n > 0)
                buf_consume(&talk->out, (size_t)n);
        }
        if (p.revents & (POLLIN | POLLHUP | POLLERR))
            fuzz_read(talk);
    }
}

static inline int fuzz_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct linger reset = {.l_onoff = 1}; /* else the ports run out */

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert(fd >= 0);
        assert(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) == 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        if (errno != EINTR) { /* libFuzzer's alarm */
            perror("connect");
            abort();
        }
        close(fd);
    }
}

/* `may_wait`: the answer to that code may be long in coming, or never come. */
static inline void fuzz_talk(uint16_t port, struct bytes text, bool (*may_wait)(int32_t code))
{
    struct fuzz_talk talk = {.fd = fuzz_connect(port)};

    for (int32_t i = 0; i < FUZZ_REQUESTS_MAX && text.len > 0; i++) {
        int32_t code =
            fuzz_request(&talk.out, fuzz_until(&text, BYTES_LIT("\n----\n")), i, &talk.owes[i]);

        if (may_wait(code))
            talk.owes[i] = false;
        talk.owed += talk.owes[i];
    }
    fuzz_request(&talk.out, BYTES_LIT("30000"), FUZZ_LAST, &talk.owes[FUZZ_LAST]);
    talk.owed++;
    fuzz_exchange(&talk);
    close(talk.fd);
    buf_destroy(&talk.out);
    buf_destroy(&talk.in);
}

#endif
