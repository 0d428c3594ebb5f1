/* rpc.c - see rpc.h. Plain sockets and poll(); one deadline covers a whole call.
 *
 * Bytes that came stay in `in` until the frame they belong to is whole. Frames with somebody else's
 * opaque are the answers to calls that timed out, and are passed over; so a connection outlives a
 * timeout, unless a part of a request is stuck in it.
 */
#include "common/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/dial.h"

enum { READ_BYTES = 64 * 1024 };

struct rpc {
    char *address;
    struct dial_address to;
    int fd;        /* -1: not connected */
    int cancel_fd; /* 0: none */
    uint32_t opaque;
    struct buf in;
    struct buf out;
    size_t spent; /* bytes at the front of `in` that the last reply points to */
    struct remoting_frame unasked;
};

int rpc_new(struct rpc **out, const char *address, struct err *err)
{
    struct rpc *r = calloc(1, sizeof(*r));
    int result = -ENOMEM;

    if (!r)
        return err_set(err, result, "request client for %s", address);
    r->fd = -1;
    r->address = strdup(address);
    result = r->address ? dial_parse(&r->to, r->address, err)
                        : err_set(err, -ENOMEM, "request client for %s", address);
    if (result < 0) {
        rpc_free(r);
        return result;
    }
    *out = r;
    return 0;
}

static void disconnect(struct rpc *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    buf_destroy(&r->in);
    r->spent = 0;
}

struct rpc *rpc_free(struct rpc *r)
{
    if (!r)
        return NULL;
    disconnect(r);
    buf_destroy(&r->out);
    free(r->address);
    free(r);
    return NULL;
}

void rpc_cancel_by(struct rpc *r, int cancel_fd)
{
    r->cancel_fd = cancel_fd;
}

const char *rpc_address(const struct rpc *r)
{
    return r->address;
}

int rpc_fd(const struct rpc *r)
{
    return r->fd;
}

int rpc_take_fd(struct rpc *r)
{
    int fd = r->in.len == r->spent ? r->fd : -1;

    if (fd >= 0) {
        r->fd = -1;
        disconnect(r);
    }
    return fd;
}

/* ---- the socket, with a deadline ---- */

/* Sends r->out. *sent says how far it came. */
static int send_request(struct rpc *r, int64_t deadline_ms, size_t *sent)
{
    while (r->out.len) {
        ssize_t n = send(r->fd, buf_at(&r->out), r->out.len, MSG_NOSIGNAL);
        if (n >= 0) {
            buf_consume(&r->out, (size_t)n);
            *sent += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int w = dial_wait(r->fd, POLLOUT, deadline_ms, r->cancel_fd);
            if (w < 0)
                return w;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Reads what is there into `in`. 0: something came; AGAIN: nothing yet. */
enum { AGAIN = 1 };
static int read_more(struct rpc *r)
{
    uint8_t *to = buf_reserve(&r->in, READ_BYTES);
    if (!to)
        return -ENOMEM;
    ssize_t n = read(r->fd, to, READ_BYTES);
    if (n > 0) {
        r->in.len += (size_t)n;
        return 0;
    }
    if (n == 0)
        return -ECONNRESET;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? AGAIN : -errno;
}

/* Decodes the frame at the front of `in`. 0: *size is its length; AGAIN: not whole yet. */
static int take_frame(struct rpc *r, struct remoting_frame *frame, size_t *size)
{
    const char *why;

    switch (remoting_frame_size(buf_bytes(&r->in), size)) {
    case 0:
        break;
    case REMOTING_PARTIAL:
        return AGAIN;
    default:
        return -EPROTO;
    }
    if (*size > r->in.len)
        return AGAIN;
    return remoting_decode(buf_at(&r->in), *size, frame, &why) == 0 ? 0 : -EPROTO;
}

static void release_reply(struct rpc *r)
{
    buf_consume(&r->in, r->spent);
    r->spent = 0;
    if (r->in.len == 0)
        buf_destroy(&r->in); /* a reply can be 16 MiB */
}

int rpc_drain(struct rpc *r)
{
    size_t size;
    int got;

    if (r->fd < 0)
        return -ENOTCONN;
    release_reply(r);
    do {
        while ((got = take_frame(r, &r->unasked, &size)) == 0)
            buf_consume(&r->in, size);
        if (got == AGAIN)
            got = read_more(r);
    } while (got == 0);
    if (got < 0) {
        disconnect(r);
        return got;
    }
    return 0;
}

/* ---- a call ---- */

static int encode(struct rpc *r, const struct rpc_request *request, struct err *err)
{
    struct remoting_writer w;
    struct remoting_meta meta = {
        .code = request->code,
        .opaque = (int32_t)++r->opaque,
        .flag = request->oneway ? REMOTING_FLAG_ONEWAY : 0,
        .version = REMOTING_VERSION,
        .language = REMOTING_OTHER,
        .serialize = request->serialize,
        .has_fields = request->field_count > 0,
    };

    buf_reset(&r->out);
    remoting_begin(&w, &r->out, &meta);
    for (size_t i = 0; i < request->field_count; i++) {
        if (request->fields[i].value)
            remoting_put_str(&w, request->fields[i].key, request->fields[i].value);
    }
    remoting_body(&w);
    buf_add(&r->out, request->body.at, request->body.len);
    remoting_end(&w);
    if (r->out.failed)
        return err_say(err, -EMSGSIZE, "request %d for %s: no memory, or over %d bytes",
                       request->code, r->address, REMOTING_FRAME_MAX);
    return 0;
}

static int await_reply(struct rpc *r, const struct rpc_request *request, int64_t deadline_ms,
                       struct remoting_frame *reply)
{
    for (;;) {
        size_t size = 0;
        int got = take_frame(r, reply, &size);
        if (got < 0)
            return got;
        if (got == 0 && remoting_is_response(reply) && reply->opaque == (int32_t)r->opaque) {
            r->spent = size;
            return 0;
        }
        if (got == 0) {
            if (!remoting_is_response(reply) && request->on_request)
                request->on_request(request->ctx, reply);
            buf_consume(&r->in, size);
            continue;
        }
        got = dial_wait(r->fd, POLLIN, deadline_ms, r->cancel_fd);
        if (got == 0)
            got = read_more(r);
        if (got < 0)
            return got;
    }
}

int rpc_call(struct rpc *r, const struct rpc_request *request, int timeout_ms,
             struct remoting_frame *reply, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    size_t sent = 0;

    /* Notices a connection that the peer has closed meanwhile, before a request is lost in it. */
    if (r->fd >= 0)
        rpc_drain(r);
    int result = encode(r, request, err);
    if (result < 0)
        return result;
    if (r->fd < 0 && request->same_connection)
        return err_say(err, -ENOTCONN, "the connection to %s is gone", r->address);
    if (r->fd < 0) {
        result = dial(&r->to,
                      &(struct dial_options){.deadline_ms = deadline_ms, .cancel_fd = r->cancel_fd},
                      err);
        if (result < 0)
            return result;
        r->fd = result;
    }

    result = send_request(r, deadline_ms, &sent);
    if (result < 0) {
        /* A part of a frame would be the beginning of the next one. */
        if (sent || result != -ETIMEDOUT)
            disconnect(r);
        return err_set(err, result, "send request %d to %s", request->code, r->address);
    }
    if (request->oneway) {
        memset(reply, 0, sizeof(*reply));
        return 0;
    }
    result = await_reply(r, request, deadline_ms, reply);
    if (result == -ETIMEDOUT)
        return err_say(err, result, "no answer from %s to request %d within %d ms", r->address,
                       request->code, timeout_ms);
    if (result < 0) {
        disconnect(r);
        return err_set(err, result, "answer from %s to request %d", r->address, request->code);
    }
    return 0;
}
