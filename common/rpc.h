/* rpc.h - a small blocking request client: one connection, one request at a time.
 *
 * For tools, and for threads that may wait (a broker's registration at a name server). Owned by one
 * thread. A broken connection is made anew by the next call. Not for the send or pull path.
 */
#ifndef TERN_COMMON_RPC_H
#define TERN_COMMON_RPC_H

#include "common/err.h"
#include "common/remoting.h"

struct rpc;

/* `address` is "host:port" (name or number, [v6]:port); -EINVAL. Does not connect yet. */
int rpc_new(struct rpc **out, const char *address, struct err *err);
struct rpc *rpc_free(struct rpc *r); /* returns NULL */
/* Once the descriptor (an eventfd, borrowed) is readable, the call under way and all later ones end
 * with -ECANCELED where they would wait. */
void rpc_cancel_by(struct rpc *r, int cancel_fd);
const char *rpc_address(const struct rpc *r);
/* The connected socket for poll(), -1 when there is none. Readable while no call is under way means
 * closed, or a request from the server: rpc_drain() tells. */
int rpc_fd(const struct rpc *r);
/* Throws away what came unasked; negative when the peer has closed (the next call connects anew).
 */
int rpc_drain(struct rpc *r);
/* The connected socket is the caller's from now on, and nothing that came over it is left here; -1
 * when there is none, or a part of a frame has come. */
int rpc_take_fd(struct rpc *r);

struct rpc_field {
    const char *key;
    const char *value; /* NULL: left out */
};
struct rpc_request {
    int32_t code;
    bool oneway;
    bool same_connection; /* -ENOTCONN where a new one would have to be made */
    uint8_t serialize;    /* enum remoting_serialize */
    const struct rpc_field *fields;
    size_t field_count;
    struct bytes body;
    /* NULL, or called for each request frame the server sends while we wait (40, 220 ...) */
    void (*on_request)(void *ctx, const struct remoting_frame *frame);
    void *ctx;
};
/* Sends and waits for the answer with our opaque. 0 with *reply, whose bytes hold until the next
 * call (zeroed for oneway); negative with err saying what happened at which address (-ETIMEDOUT,
 * -ECONNREFUSED ...). timeout_ms covers connecting, sending and waiting, but not the look-up of a
 * host by name. After -ETIMEDOUT the connection stays, and a late answer is passed over. */
int rpc_call(struct rpc *r, const struct rpc_request *request, int timeout_ms,
             struct remoting_frame *reply, struct err *err);

#endif
