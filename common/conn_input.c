/* conn_input.c - from the socket to the protocol.
 *
 * Whole frames never move: one read() into the loop's large buffer, and the protocol parses them
 * there. What is left of a frame at the end of that goes to memory of the connection's own. Where
 * its size is known, the next read goes straight behind it and, in the same system call, what comes
 * after the frame goes to the large buffer; so a frame of 16 MiB is copied once, by the kernel.
 *
 * Memory follows what has arrived, never what a length field says: at most double of it, or 64 KiB.
 */
#include "common/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PARTIAL_MIN = 64 * 1024, /* the most that is set aside for bytes that have not come */
    FRONT_MAX = 64 * 1024,   /* a rest of unknown size is moved to the large buffer up to this */
};

/* One system call. 0 when there was nothing, also when the connection is closing for it. */
static size_t receive(struct conn *c, const struct iovec *iov, int count)
{
    ssize_t n = count == 1 ? read(c->fd, iov->iov_base, iov->iov_len) : readv(c->fd, iov, count);

    if (n > 0) {
        c->active_ms = c->loop->now_ms;
        loop_count(&c->loop->bytes_in, (uint64_t)n);
        return (size_t)n;
    }
    if (n == 0)
        conn_close(c, NULL); /* whatever is ready for it is still written out */
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        conn_fail(c);
    return 0;
}

/* ---- memory for a part of a frame ---- */

void conn_drop_input(struct conn *c)
{
    loop_count(&c->loop->waiting_in, -(uint64_t)c->in.cap);
    chunk_give(c->loop, &c->in);
    c->in_len = 0;
    c->want = 0;
    c->held = false;
    if (c->resumed) {
        c->resumed = false;
        TAILQ_REMOVE(&c->loop->resumed, c, resume);
    }
}

/* Room for `cap` bytes in all; false when the connection is closing for want of it. */
static bool reserve(struct conn *c, size_t cap)
{
    struct loop *loop = c->loop;
    struct chunk to = {0};

    if (c->in.cap >= cap)
        return true;
    if (loop_counted(&loop->waiting_in) - c->in.cap + cap > loop->waiting_bytes_max) {
        conn_close(c, "too many unfinished frames of all peers are held");
        return false;
    }
    if (c->in.data)
        to = (struct chunk){realloc(c->in.data, cap), cap};
    else
        chunk_take(loop, cap, &to);
    if (!to.data) {
        conn_close(c, "no memory for its input");
        return false;
    }
    loop_count(&loop->waiting_in, (uint64_t)to.cap - c->in.cap);
    c->in = to;
    return true;
}

/* How much to reserve for a piece of `size` bytes of which `have` are there. */
static size_t room_for(size_t have, size_t size)
{
    size_t most = have > PARTIAL_MIN / 2 ? 2 * have : PARTIAL_MIN;

    return size < most ? size : most;
}

/* ---- offering ---- */

/* Hands bytes to the protocol. Returns how many are spent: all of them when the connection closes.
 */
static size_t feed(struct conn *c, uint8_t *data, size_t len)
{
    size_t want = 0;
    const char *why = NULL;
    ssize_t used = c->protocol->input(c, data, len, &want, &why);

    c->want = 0;
    c->held = false;
    if (used < 0)
        conn_refuse(c, data, len, why ? why : "bad input");
    if (c->state != CONN_OPEN) {
        /* What is handed over has been read up to here and no further. */
        if (c->give && (size_t)used < len)
            c->drop = true;
        return len;
    }
    assert((size_t)used <= len);

    size_t rest = len - (size_t)used;
    if (rest == 0)
        return len;
    if (conn_is_full(c)) {
        c->held = true;
        conn_mark(c);
    } else if (want > c->protocol->input_max || rest >= c->protocol->input_max) {
        conn_refuse(c, data + used, rest, "frame over the limit");
        return len;
    } else if (want > rest) {
        c->want = want;
    }
    return (size_t)used;
}

/* Offers bytes of the large buffer; the rest becomes the connection's own. */
static void offer(struct conn *c, uint8_t *data, size_t len)
{
    size_t used = feed(c, data, len);
    size_t rest = len - used;

    if (rest == 0) {
        if (c->in.data)
            conn_drop_input(c);
        return;
    }
    c->in_len = 0;
    if (!reserve(c, room_for(rest, c->want > rest ? c->want : rest)))
        return;
    memcpy(c->in.data, data + used, rest);
    c->in_len = rest;
}

/* Offers the connection's own bytes. */
static void offer_own(struct conn *c)
{
    size_t used = feed(c, c->in.data, c->in_len);
    size_t rest = c->in_len - used;

    if (rest == 0) {
        conn_drop_input(c);
        return;
    }
    memmove(c->in.data, c->in.data + used, rest);
    c->in_len = rest;
}

/* Adds bytes of the large buffer to the connection's own and offers them, unless they must wait. */
static void append(struct conn *c, const uint8_t *data, size_t len)
{
    if (!reserve(c, c->in_len + len))
        return;
    memcpy(c->in.data + c->in_len, data, len);
    c->in_len += len;
    if (!c->held)
        offer_own(c);
}

void conn_offer_held(struct conn *c)
{
    if (c->resumed) {
        c->resumed = false;
        TAILQ_REMOVE(&c->loop->resumed, c, resume);
    }
    if (c->state != CONN_OPEN || !c->held)
        return;
    if (conn_is_full(c))
        conn_mark(c);
    else
        offer_own(c);
}

/* ---- reading ---- */

/* Into the large buffer, behind what little there was. */
static size_t read_front(struct conn *c)
{
    uint8_t *buf = c->loop->read_buf;
    size_t have = c->in_len;

    if (have)
        memcpy(buf, c->in.data, have);
    struct iovec iov = {buf + have, LOOP_READ_BYTES - have};
    size_t n = receive(c, &iov, 1);
    if (n)
        offer(c, buf, have + n);
    return n;
}

/* Straight behind the part that is there. */
static size_t read_behind(struct conn *c)
{
    bool known = c->want > c->in_len;
    size_t goal = known ? c->want : 2 * c->in_len;

    if (!reserve(c, room_for(c->in_len, goal)))
        return 0;
    size_t room = (c->in.cap < goal ? c->in.cap : goal) - c->in_len;
    if (room > LOOP_READ_BYTES)
        room = LOOP_READ_BYTES;
    bool completes = known && c->in_len + room == goal && room < LOOP_READ_BYTES;
    struct iovec iov[2] = {{c->in.data + c->in_len, room},
                           {c->loop->read_buf, LOOP_READ_BYTES - room}};
    size_t n = receive(c, iov, completes ? 2 : 1);
    if (n == 0)
        return 0;

    size_t beyond = n > room ? n - room : 0;
    c->in_len += n - beyond;
    if (known && c->in_len < goal)
        return n;
    offer_own(c);
    if (beyond && c->state == CONN_OPEN) {
        if (c->in_len)
            append(c, c->loop->read_buf, beyond);
        else
            offer(c, c->loop->read_buf, beyond);
    }
    return n;
}

void conn_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    struct loop *loop = c->loop;
    size_t n = 0;

    (void)fd;
    (void)what;
    loop_touch(loop);
    if (c->state != CONN_OPEN)
        return;
    if (c->held)
        conn_offer_held(c);
    else if (c->want > c->in_len || c->in_len > FRONT_MAX)
        n = read_behind(c);
    else
        n = read_front(c);
    loop_took_input(loop, n);
}
