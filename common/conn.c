/* conn.c - a connection's life and its output. Input is in conn_input.c.
 *
 * Whatever happens to a connection during a turn (output added, close asked for, bound crossed)
 * only marks it; conns_flush() at the end of the turn looks at each marked one once: it writes,
 * pauses or resumes reading, and closes. A closed connection's memory is held on loop->dead until
 * the loop is outside of all callbacks, so a callback may close the connection it was called for,
 * or any other.
 *
 * Timeouts need no timer per connection. One timer of the loop is set to the earliest deadline of
 * all; activity moves deadlines back without touching it, so when it fires it mostly finds nothing
 * due and is set anew, but never sooner than an eighth of the shortest timeout.
 */
#include "common/loop_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

enum {
    LINGER_MS = 30000,  /* for output after a close, when the protocol has no stall_ms */
    OUTPUT_OVERRUN = 4, /* times output_max */
    SWEEP_DIVISOR = 8,
    SHOWN_BYTES = 16, /* of input that was refused */
};

/* ---- who it is ---- */

char *conn_address_text(const struct sockaddr_storage *address, char text[64])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(text, 64, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(text, 64, "%s:%u", host, ntohs(in->sin_port));
    } else {
        snprintf(text, 64, "unknown");
    }
    return text;
}

/* The subject of a limited log line: the address without the port. */
static const char *peer_host(const struct conn *c, char text[64])
{
    char *colon = strrchr(conn_address_text(&c->peer, text), ':');

    if (colon)
        *colon = 0;
    return text;
}

/* What a socket for both families shows of an IPv4 peer (::ffff:1.2.3.4) becomes plain IPv4. */
static void unmap_ipv4(struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

    if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = in6->sin6_port};
    memcpy(&in.sin_addr, &in6->sin6_addr.s6_addr[12], 4);
    memset(address, 0, sizeof(*address));
    memcpy(address, &in, sizeof(in));
}

char *conn_peer_text(const struct conn *c, char text[64])
{
    return conn_address_text(&c->peer, text);
}

char *conn_local_text(const struct conn *c, char text[64])
{
    struct sockaddr_storage local = {0};
    socklen_t len = sizeof(local);

    if (getsockname(c->fd, (struct sockaddr *)&local, &len) < 0)
        local.ss_family = AF_UNSPEC;
    unmap_ipv4(&local);
    return conn_address_text(&local, text);
}

const struct sockaddr_storage *conn_peer_address(const struct conn *c)
{
    return &c->peer;
}

conn_id conn_id_of(const struct conn *c)
{
    return c->id;
}

struct loop *conn_loop(const struct conn *c)
{
    return c->loop;
}

void *conn_ctx(const struct conn *c)
{
    return c->ctx;
}

void *conn_user(const struct conn *c)
{
    return c->user;
}

void conn_set_user(struct conn *c, void *user)
{
    c->user = user;
}

struct conn *loop_conn(struct loop *loop, conn_id id)
{
    struct conn *c = conn_table_find(loop, id);

    return c && c->state == CONN_OPEN ? c : NULL;
}

static void each_in_state(struct loop *loop, enum conn_state state, void *ctx,
                          void (*fn)(struct conn *c, void *arg), void *arg)
{
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&loop->conns); c; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->state == state && c->ctx == ctx)
            fn(c, arg);
    }
}

void loop_each_conn(struct loop *loop, void *ctx, void (*fn)(struct conn *c, void *arg), void *arg)
{
    each_in_state(loop, CONN_OPEN, ctx, fn, arg);
}

void loop_each_closed_conn(struct loop *loop, void *ctx, void (*fn)(struct conn *c, void *arg),
                           void *arg)
{
    each_in_state(loop, CONN_LINGERING, ctx, fn, arg);
}

/* ---- timeouts ---- */

/* When something has to be done about c if nothing happens until then. */
static int64_t deadline_ms(const struct conn *c)
{
    if (c->write_event) {
        if (c->protocol->stall_ms)
            return c->taken_ms + c->protocol->stall_ms;
        return c->state == CONN_LINGERING ? c->taken_ms + LINGER_MS : INT64_MAX;
    }
    if (c->state == CONN_OPEN && c->protocol->idle_ms)
        return c->active_ms + c->protocol->idle_ms;
    return INT64_MAX;
}

/* Fails only when the timer is not armed yet, which conn_new() sees to. */
static int arm_sweep(struct loop *loop, int64_t due_ms)
{
    if (loop->sweep.heap_at && loop->sweep.due_ms <= due_ms)
        return 0;
    return loop_timer_set(&loop->sweep, due_ms);
}

static void bury(struct conn *c);

static void give_up(struct conn *c, const char *what)
{
    char host[64], peer[64];

    log_warn_limited(peer_host(c, host), "connection from %s dropped: %s, %zu bytes waiting",
                     conn_peer_text(c, peer), what, c->out.len);
    if (c->state == CONN_LINGERING)
        bury(c);
    else
        conn_fail(c);
}

static void expire(struct conn *c)
{
    char what[64];

    if (!c->write_event) {
        conn_close(c, NULL);
    } else if (c->state != CONN_CLOSING) {
        snprintf(what, sizeof(what), "it took nothing for %lld ms",
                 (long long)(c->loop->now_ms - c->taken_ms));
        give_up(c, what);
    }
}

static unsigned shorter(unsigned a, unsigned b)
{
    return b && (b < a || !a) ? b : a;
}

static void sweep(void *ctx)
{
    struct loop *loop = ctx;
    int64_t next_ms = INT64_MAX;
    unsigned shortest = 0;
    struct conn *c, *next;

    for (c = TAILQ_FIRST(&loop->conns); c; c = next) {
        next = TAILQ_NEXT(c, all);
        int64_t due_ms = deadline_ms(c);
        if (due_ms <= loop->now_ms)
            expire(c);
        else if (due_ms < next_ms)
            next_ms = due_ms;
        shortest = shorter(shorter(shortest, c->protocol->idle_ms), c->protocol->stall_ms);
    }

    /* Armed while there are connections, even if none has a deadline now: then it cannot fail. */
    if (TAILQ_EMPTY(&loop->conns))
        return;
    int64_t soonest_ms = loop->now_ms + 1 + shortest / SWEEP_DIVISOR;
    arm_sweep(loop, next_ms > soonest_ms ? next_ms : soonest_ms);
}

/* ---- output ---- */

void conn_mark(struct conn *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    STAILQ_INSERT_TAIL(&c->loop->dirty, c, next_dirty);
}

bool conn_is_full(const struct conn *c)
{
    return c->out.len > c->protocol->output_max;
}

struct buf *conn_out(struct conn *c)
{
    struct chunk memory;

    if (!c->out.data && chunk_take(c->loop, LOOP_CHUNK_MIN, &memory) == 0) {
        c->out.data = memory.data;
        c->out.cap = memory.cap;
        conn_mark(c); /* so that the memory goes back, whatever the caller does */
    }
    return &c->out;
}

void conn_written(struct conn *c)
{
    conn_mark(c);
    /* Reading was stopped long ago, but replies to what came before, and frames that nobody asked
     * for, still pile up. */
    if (c->write_event && c->out.len / OUTPUT_OVERRUN > c->protocol->output_max &&
        c->state == CONN_OPEN)
        give_up(c, "it reads too slowly");
}

/* What waits for a peer counts from the first EAGAIN on. */
static void count_waiting(struct conn *c)
{
    struct loop *loop = c->loop;
    size_t now = c->write_event ? c->out.cap : 0;

    if (now == c->out_counted)
        return;
    if (!c->out_counted)
        loop->waiting_conns++;
    else if (!now)
        loop->waiting_conns--;
    loop_count(&loop->waiting_out, (uint64_t)now - c->out_counted);
    c->out_counted = now;
}

/* True when there is too much in all and this one has more than its share. */
static bool holds_too_much(const struct conn *c)
{
    const struct loop *loop = c->loop;

    return c->out_counted && loop_counted(&loop->waiting_out) > loop->waiting_bytes_max &&
           c->out_counted >= loop_counted(&loop->waiting_out) / loop->waiting_conns;
}

static void drop_output(struct conn *c)
{
    struct chunk memory = {c->out.data, c->out.cap};

    c->out = (struct buf){0};
    chunk_give(c->loop, &memory);
}

static void on_writable(evutil_socket_t fd, short what, void *arg);

/* One write of what waits. False when nothing more can be done for this peer. */
static bool write_out(struct conn *c)
{
    struct loop *loop = c->loop;

    if (c->out.len) {
        ssize_t n = send(c->fd, buf_at(&c->out), c->out.len, MSG_NOSIGNAL);
        if (n > 0) {
            buf_consume(&c->out, (size_t)n);
            loop_count(&loop->bytes_out, (uint64_t)n);
            c->active_ms = c->taken_ms = loop->now_ms;
        } else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR &&
                   errno != ENOBUFS && errno != ENOMEM) {
            return false;
        }
    }

    if (c->out.len == 0) {
        if (c->write_event) {
            event_free(c->write_event);
            c->write_event = NULL;
        }
        drop_output(c);
    } else if (!c->write_event) {
        c->write_event = event_new(loop->base, c->fd, EV_WRITE | EV_PERSIST, on_writable, c);
        if (!c->write_event || event_add(c->write_event, NULL) < 0)
            return false;
        c->taken_ms = loop->now_ms;
        arm_sweep(loop, deadline_ms(c));
    }
    count_waiting(c);
    return true;
}

/* Reads from the peer or does not, as its output demands. */
static void regulate(struct conn *c)
{
    bool low = c->out.len <= c->protocol->output_max / 2;

    if (c->resting)
        return;
    if (!c->paused && (conn_is_full(c) || (c->held && !low))) {
        event_del(&c->read_event);
        c->paused = true;
    }
    if (c->paused && low) {
        if (event_add(&c->read_event, NULL) < 0) {
            conn_fail(c);
            return;
        }
        c->paused = false;
    }
    if (c->held && low && !c->resumed) {
        c->resumed = true;
        TAILQ_INSERT_TAIL(&c->loop->resumed, c, resume);
        loop_again(c->loop);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;

    (void)fd;
    (void)what;
    loop_touch(c->loop);
    if (c->state == CONN_OPEN) {
        if (write_out(c))
            regulate(c);
        else
            conn_fail(c);
    } else if (c->state == CONN_LINGERING) {
        if (!write_out(c) || c->out.len == 0)
            bury(c);
    }
}

/* ---- birth and death ---- */

void conn_origin_release(struct conn_origin *origin)
{
    if (atomic_fetch_sub(&origin->refs, 1) == 1)
        free(origin);
}

void conn_origin_enter(struct conn_origin *origin)
{
    atomic_fetch_add(&origin->refs, 1);
    atomic_fetch_add(origin->connections, 1);
}

void conn_origin_leave(struct conn_origin *origin)
{
    atomic_fetch_sub(origin->connections, 1);
    conn_origin_release(origin);
}

int conn_new(struct loop *loop, int fd, struct conn_origin *origin,
             const struct sockaddr_storage *peer, conn_id *id)
{
    int r = -ENOMEM;
    struct conn *c = calloc(1, sizeof(*c));
    if (!c)
        goto fail;
    c->loop = loop;
    c->protocol = origin->protocol;
    c->ctx = origin->ctx;
    c->origin = origin;
    c->fd = fd;
    c->active_ms = loop->now_ms;

    socklen_t len = sizeof(c->peer);
    if (peer) {
        c->peer = *peer;
    } else if (getpeername(fd, (struct sockaddr *)&c->peer, &len) < 0) {
        r = -errno;
        goto fail;
    }
    unmap_ipv4(&c->peer);
    if (event_assign(&c->read_event, loop->base, fd, EV_READ | EV_PERSIST, conn_on_readable, c) < 0)
        goto fail;
    /* Without a timeout of its own, it still keeps the timer armed. */
    int64_t due_ms = deadline_ms(c);
    if (due_ms == INT64_MAX)
        due_ms = loop->now_ms + LINGER_MS;
    if (arm_sweep(loop, due_ms) < 0)
        goto fail;
    c->id = conn_table_add(loop, c);
    if (c->id == 0)
        goto fail;
    if (event_add(&c->read_event, NULL) < 0) {
        conn_table_remove(loop, c->id);
        goto fail;
    }

    if (id)
        *id = c->id;
    TAILQ_INSERT_TAIL(&loop->conns, c, all);
    loop_count(&loop->connections, 1);
    if (c->protocol->opened)
        c->protocol->opened(c);
    return 0;

fail:
    free(c);
    close(fd);
    conn_origin_leave(origin);
    return r;
}

/* The last that is done: only the memory is left, for callbacks that still hold it. */
static void bury(struct conn *c)
{
    struct loop *loop = c->loop;

    assert(c->state == CONN_CLOSING || c->state == CONN_LINGERING);
    if (c->write_event) {
        event_free(c->write_event);
        c->write_event = NULL;
    }
    count_waiting(c);
    if (c->give && !c->drop && c->out.len == 0) {
        c->give(c->give_ctx, c->fd);
    } else {
        close(c->fd);
        if (c->give)
            c->give(c->give_ctx, -1);
    }
    c->give = NULL;
    drop_output(c);
    conn_origin_leave(c->origin);
    c->state = CONN_DEAD;
    TAILQ_REMOVE(&loop->conns, c, all);
    TAILQ_INSERT_TAIL(&loop->dead, c, all);
    loop_count(&loop->connections, (uint64_t)-1);
}

static void close_now(struct conn *c)
{
    struct loop *loop = c->loop;

    assert(c->state == CONN_CLOSING);
    if (!c->drop && !c->write_event && !write_out(c))
        c->drop = true;
    event_del(&c->read_event);
    conn_drop_input(c);
    conn_table_remove(loop, c->id);
    if (c->protocol->closed)
        c->protocol->closed(c);
    if (c->drop || !c->write_event)
        bury(c);
    else
        c->state = CONN_LINGERING;
}

void conn_let_go(struct conn *c)
{
    if (c->write_event) {
        event_free(c->write_event);
        c->write_event = NULL;
    }
    count_waiting(c);
    if (c->state == CONN_LINGERING) {
        bury(c);
        return;
    }
    c->state = CONN_CLOSING;
    close_now(c);
}

void conn_fail(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    c->drop = true;
    c->state = CONN_CLOSING;
    conn_mark(c);
}

void conn_close(struct conn *c, const char *why)
{
    char host[64], peer[64];

    if (c->state != CONN_OPEN)
        return;
    if (why) {
        log_warn_limited(peer_host(c, host), "connection from %s closed: %s",
                         conn_peer_text(c, peer), why);
        conn_fail(c);
        return;
    }
    c->state = CONN_CLOSING;
    conn_mark(c);
}

void conn_hand_over(struct conn *c, void (*give)(void *ctx, int fd), void *ctx)
{
    if (c->state != CONN_OPEN) {
        give(ctx, -1);
        return;
    }
    c->give = give;
    c->give_ctx = ctx;
    conn_close(c, NULL);
}

void conn_refuse(struct conn *c, const uint8_t *at, size_t len, const char *why)
{
    char host[64], peer[64], shown[4 * SHOWN_BYTES + 1];
    size_t n = 0;

    if (c->state != CONN_OPEN)
        return;
    shown[0] = 0;
    for (size_t i = 0; i < len && i < SHOWN_BYTES; i++) {
        bool plain = at[i] >= 0x20 && at[i] < 0x7f && at[i] != '"' && at[i] != '\\';
        n += (size_t)snprintf(shown + n, sizeof(shown) - n, plain ? "%c" : "\\x%02x", at[i]);
    }
    log_warn_limited(peer_host(c, host), "connection from %s closed: %s; it sent \"%s\"%s",
                     conn_peer_text(c, peer), why, shown, len > SHOWN_BYTES ? "..." : "");
    conn_fail(c);
}

/* ---- the end of a turn ---- */

static const char too_much[] =
    "the output that all peers together have not taken is over its bound";

static void settle(struct conn *c)
{
    if (c->out.failed)
        conn_close(c, "no memory for its output");
    else if (!c->write_event && !write_out(c))
        conn_fail(c);
    count_waiting(c);
    if (c->state != CONN_OPEN)
        return;
    regulate(c);
    if (holds_too_much(c))
        give_up(c, too_much);
}

static void settle_dirty(struct loop *loop)
{
    struct conn *c;

    while ((c = STAILQ_FIRST(&loop->dirty)) != NULL) {
        STAILQ_REMOVE_HEAD(&loop->dirty, next_dirty);
        c->dirty = false;
        if (c->state == CONN_OPEN)
            settle(c);
        if (c->state == CONN_CLOSING)
            close_now(c);
    }
}

/* Too much may be left with peers that do nothing any more, so that no turn looks at them: one look
 * at all of them takes it from who holds the most. */
static void drop_largest(struct loop *loop)
{
    struct conn *c, *largest = NULL;

    TAILQ_FOREACH(c, &loop->conns, all)
    {
        if (c->out_counted && (!largest || c->out_counted > largest->out_counted))
            largest = c;
    }
    if (largest)
        give_up(largest, too_much);
}

void conns_flush(struct loop *loop)
{
    settle_dirty(loop);
    if (loop_counted(&loop->waiting_out) <= loop->waiting_bytes_max)
        return;
    drop_largest(loop);
    settle_dirty(loop);
    if (loop_counted(&loop->waiting_out) > loop->waiting_bytes_max)
        loop_again(loop);
}

void conns_resume(struct loop *loop)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&loop->resumed)) != NULL)
        conn_offer_held(c);
}

void conns_reap(struct loop *loop)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&loop->dead)) != NULL) {
        TAILQ_REMOVE(&loop->dead, c, all);
        free(c);
    }
}

void conns_init(struct loop *loop)
{
    TAILQ_INIT(&loop->conns);
    STAILQ_INIT(&loop->dirty);
    TAILQ_INIT(&loop->resumed);
    TAILQ_INIT(&loop->dead);
    loop_timer_init(&loop->sweep, loop, sweep, loop);
}

void conns_destroy(struct loop *loop)
{
    struct conn *c;

    while ((c = TAILQ_FIRST(&loop->conns)) != NULL) {
        conn_fail(c);
        c->drop = true;
        if (c->state == CONN_LINGERING)
            bury(c);
        else
            close_now(c);
    }
    STAILQ_INIT(&loop->dirty);
    conns_reap(loop);
    conn_table_destroy(loop);
}

/* ---- from other threads ---- */

static int send_here(struct loop *loop, conn_id id, struct bytes frame)
{
    struct conn *c = loop_conn(loop, id);

    if (!c)
        return -ENOENT;
    buf_add(conn_out(c), frame.at, frame.len);
    conn_written(c);
    return c->out.failed ? -ENOMEM : 0;
}

static void send_arrived(struct loop_message *message)
{
    send_here(message->ctx, message->a, bytes_of(message->p, message->b));
    free(message->p);
}

void conn_message_discard(struct loop_message *message)
{
    if (message->run == send_arrived)
        free(message->p);
}

int conn_send(struct loop **loops, unsigned loop_count, conn_id id, struct bytes frame)
{
    unsigned index = conn_loop_index(id);
    struct loop *loop = index < loop_count ? loops[index] : NULL;

    if (id == 0 || !loop)
        return -ENOENT;
    assert(loop->index == index);
    if (loop_is_current(loop))
        return send_here(loop, id, frame);

    uint8_t *copy = malloc(frame.len ? frame.len : 1);
    if (!copy)
        return -ENOMEM;
    if (frame.len)
        memcpy(copy, frame.at, frame.len);
    struct loop_message message = {
        .run = send_arrived, .ctx = loop, .p = copy, .a = id, .b = frame.len};
    int r = loop_post(loop, &message);
    if (r < 0)
        free(copy);
    return r;
}
