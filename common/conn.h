/* conn.h - one TCP connection on one loop, and listeners that make them.
 *
 * A connection stays with its loop for life. Input is read into the loop's one large buffer and
 * given to the protocol in place; only a partial frame is kept in a pooled buffer, so an idle
 * connection owns none. Output is gathered in conn_out() and written once at the end of the turn;
 * EV_WRITE only after EAGAIN. Output has a bound (output_max): above it the peer is not read any
 * more until half of that has drained, and a peer that takes nothing for stall_ms, or lets four
 * times the bound pile up, is dropped with one log line. All connections of a loop together have a
 * bound too (loop_options.waiting_bytes): above it those are dropped that hold the most.
 *
 * Loop thread only, except conn_send().
 */
#ifndef TERN_COMMON_CONN_H
#define TERN_COMMON_CONN_H

#include <stdatomic.h>
#include <netinet/in.h>

#include "common/buf.h"
#include "common/loop.h"
#include "common/remoting.h"

struct conn;
struct listener;

/* The id of a connection: loop index in the top 8 bits, never reused by a loop; the loops of
 * another broker of the process begin anew. 0 is none. */
typedef uint64_t conn_id;

/* What a kind of connection does with its bytes. */
struct conn_protocol {
    /* Consumes whole frames from the front of `data`, which may be changed in place; returns how
     * many bytes were used. For more than that many bytes to come in one piece, set *want to the
     * size needed (a hint, at most input_max). Returning -1 closes with *why (a static sentence) as
     * the reason in the log line. Called again when more has arrived. When conn_is_full(c) it
     * should return without taking the next frame, and is called again when output has drained. */
    ssize_t (*input)(struct conn *c, uint8_t *data, size_t len, size_t *want, const char **why);
    void (*opened)(struct conn *c); /* may be NULL */
    /* May be NULL. The last call: c is invalid when it returns. Called at the end of the turn in
     * which either side closed, even if output is still being written out after that. */
    void (*closed)(struct conn *c);
    size_t input_max;  /* largest frame */
    size_t output_max; /* bytes waiting above which the peer is not read */
    unsigned idle_ms;  /* neither read nor written for this long: closed; 0: never */
    unsigned stall_ms; /* output waiting and nothing taken for this long: dropped */
};

/* The remoting protocol: frames decoded in place and handed on. `ctx` is the listener's. */
struct remoting_handler {
    /* The frame and its bytes hold until the call returns. */
    void (*request)(void *ctx, struct conn *c, struct remoting_frame *frame);
    void (*response)(void *ctx, struct conn *c, struct remoting_frame *frame); /* may be NULL */
    void (*closed)(void *ctx, struct conn *c);                                 /* may be NULL */
};

struct listener_options {
    const char *address; /* numeric IPv4 or IPv6 */
    uint16_t port;       /* 0: any */
    int *socket; /* from listener_dup() of a listener for the same place: taken, *socket is -1 then;
                    -1, or NULL: a new one is made */
    struct loop **loops; /* accepts on loops[0], spreads round robin; must outlive the listener */
    unsigned loop_count;
    /* Either a protocol, or a handler for remoting (idle 120 s, output 16 MiB, stall 30 s). */
    const struct conn_protocol *protocol;
    const struct remoting_handler *remoting;
    void *ctx;
    unsigned connections_max; /* over it new ones are closed at once, with one line a minute */
    atomic_uint *connections; /* their number, for listeners that share the bound; NULL: of this
                               * listener alone. Must outlive the loops */
};
/* Binds and starts to accept when loops[0] runs. err names address and port. */
int listener_new(struct listener **out, const struct listener_options *options, struct err *err);
uint16_t listener_port(const struct listener *l);
/* The listening socket once more, for a listener that takes its place: who connects in between
 * waits for that one. -errno. */
int listener_dup(const struct listener *l);
/* Goes on with a connection that was kept of another loop, as one of this listener's, on `loop`
 * (one of its loops): its input is handled from where the other one stopped. *kept is empty
 * afterwards, also when it fails (-errno): the socket is closed then. Thread of `loop`, or before
 * it runs. */
struct conn_kept;
int listener_adopt(struct listener *l, struct loop *loop, struct conn_kept *kept, conn_id *id);
/* Stops accepting and closes the socket; connections go on. Loop thread of loops[0], or no loop
 * running. Returns NULL. */
struct listener *listener_free(struct listener *l);

/* Makes outgoing connections that speak remoting: requests are written to conn_out(), and what the
 * other side answers comes to remoting->response. */
struct conn_dialler;
/* 0 or -ENOMEM. Both outlive the loops that have connections of it, `remoting` and ctx too. */
int conn_dialler_new(struct conn_dialler **out, const struct remoting_handler *remoting, void *ctx);
struct conn_dialler *conn_dialler_free(struct conn_dialler *d); /* returns NULL; NULL is fine */
/* As listener_adopt(), for a connection that was made by another one. */
int conn_dialler_adopt(struct conn_dialler *d, struct loop *loop, struct conn_kept *kept,
                       conn_id *id);
/* Begins to connect and does not wait: what is written to it meanwhile leaves once it stands. When
 * that fails it closes like any other connection. `from`: numeric address to come from, NULL: any.
 * `lost_ms`: closed when what was sent is not acknowledged for so long. 0 with *id, or -errno.
 * Thread of the loop. */
int conn_dial(struct conn_dialler *d, struct loop *loop, const struct sockaddr_storage *to,
              const char *from, unsigned lost_ms, conn_id *id);
/* Of one that was dialled: it stands. A system call. */
bool conn_is_connected(const struct conn *c);

conn_id conn_id_of(const struct conn *c);
struct loop *conn_loop(const struct conn *c);
void *conn_ctx(const struct conn *c); /* the listener's ctx */
/* A pointer for the owner of the protocol; NULL at first. */
void *conn_user(const struct conn *c);
void conn_set_user(struct conn *c, void *user);
const struct sockaddr_storage *conn_peer_address(const struct conn *c);
/* "1.2.3.4:5678" into text (at least 64 bytes); returns text. */
char *conn_peer_text(const struct conn *c, char text[64]);
char *conn_local_text(const struct conn *c, char text[64]);

/* More output waits than output_max. */
bool conn_is_full(const struct conn *c);
/* Where to add output; after adding, conn_written(c) makes the loop write it at the end of the
 * turn. */
struct buf *conn_out(struct conn *c);
void conn_written(struct conn *c);
/* Closes at the end of the turn. `why` NULL: without a log line, output already there is written
 * first; else one line (limited per peer) and the output is dropped. */
void conn_close(struct conn *c, const char *why);

/* The peer has been answered in another protocol's name: ends the connection here as conn_close(c,
 * NULL) does, but its socket stays open, and when all output is written give(ctx, fd) has it: from
 * then on it is the taker's, non-blocking, with nothing of it read that was not handled. Input that
 * came behind the frame being handled, or a peer that is lost or takes too long: the socket is
 * closed and give(ctx, -1) says so. Called once, on the loop's thread, at the latest by
 * loop_free(). Only from the protocol's input or request handler, for its own connection. */
void conn_hand_over(struct conn *c, void (*give)(void *ctx, int fd), void *ctx);

/* For a connection that is to outlive its loop.
 *
 * conn_rest(): the peer is not read any more; what it sends waits in its socket, and all output
 * goes on. For good. Not from the protocol's input.
 * conn_keep(): takes it out of its loop, with what was read of it and not handled, and what was not
 * written. The protocol's closed() is called as for any other end. One that has been closed is kept
 * for its output only, and closes when the next loop has written that; without effect (fd -1) on
 * one that is just about to. Whoever has a kept one gives it to listener_adopt() or
 * conn_kept_drop(). */
struct conn_kept {
    int fd; /* -1: none */
    bool closed;
    struct buf input, output;
};
/* The id that it had, and the one that it has. */
struct conn_move {
    conn_id from, to;
};
void conn_rest(struct conn *c);
void conn_keep(struct conn *c, struct conn_kept *kept);
void conn_kept_drop(struct conn_kept *kept); /* closes the socket */

/* The connection of that id on this loop; NULL when it is gone or about to close. */
struct conn *loop_conn(struct loop *loop, conn_id id);
/* Calls fn for every connection of the loop whose ctx is `ctx`; fn may end the one that it has. */
void loop_each_conn(struct loop *loop, void *ctx, void (*fn)(struct conn *c, void *arg), void *arg);
/* Likewise for those that have been closed and whose output is still being written. They have no id
 * any more. */
void loop_each_closed_conn(struct loop *loop, void *ctx, void (*fn)(struct conn *c, void *arg),
                           void *arg);
/* Sends a ready frame to a connection of any loop, from any thread; loops[i] has index i, or is
 * NULL once it is freed. Copies when it must cross. 0; -ENOENT when gone (only known on its own
 * loop); -EAGAIN when that loop's mailbox is full, -ESHUTDOWN when it has ended; -ENOMEM. */
int conn_send(struct loop **loops, unsigned loop_count, conn_id id, struct bytes frame);
static inline unsigned conn_loop_index(conn_id id)
{
    return (unsigned)(id >> 56);
}

#endif
