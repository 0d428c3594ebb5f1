/* call.h - one request on its way through a handler, and how it is answered.
 *
 * A handler is a row in dispatch.c: code, where it runs, function. ON_LOOP handlers run on the
 * connection's loop and must not block; ON_READER handlers run on one of the store's reader threads
 * with a copy of the frame and may block; those ON_READER_FIRST, an operator's, before all others.
 * All answer through the same calls; a request that must not be answered (oneway) has its reply
 * thrown away by the dispatcher, so handlers need not care.
 */
#ifndef TERN_BROKER_CALL_H
#define TERN_BROKER_CALL_H

#include "broker/broker.h"
#include "common/codes.h"
#include "common/remoting.h"

/* Where a reply goes, as plain values: the connection may be gone when it is sent. */
struct reply_to {
    conn_id conn;
    int32_t opaque;
    uint8_t serialize; /* mirrors the request */
    bool oneway;
};

struct call {
    struct broker *broker;
    struct broker_loop *on; /* NULL on a reader thread */
    struct conn *conn;      /* NULL on a reader thread */
    const struct remoting_frame *frame;
    struct reply_to to;
    struct buf *out; /* the reply's frame is written at its end */
    struct sockaddr_storage peer;
    bool main_port; /* false on the VIP port */
    /* Of a request that has waited (forward.h): how long it may, 0: it has not; and whether another
     * member passed it on. */
    int64_t held_until_ms;
    bool held_final;
};

/* DONE: the reply is in `out` (or there is none to give). LATER: somebody else answers. */
enum call_result { CALL_DONE, CALL_LATER };

enum call_where { ON_LOOP, ON_READER, ON_READER_FIRST };
/* What becomes of a request that the broker cannot look at (it ends, its memory is full). SAID: an
 * error answer. SILENT: none. OWN: the handler refuses it in its own way. */
enum call_refusal { REFUSAL_SAID, REFUSAL_SILENT, REFUSAL_OWN };
/* Where a member of a group that does not lead has a request carried out. PASSED_ON: at the master.
 * COPIED: here, and at the master as well. */
enum call_place { HERE, PASSED_ON, COPIED };
struct handler {
    int32_t code;
    enum call_where where;
    enum call_result (*handle)(struct call *call);
    const char *name;
    enum call_refusal refusal; /* OWN: only ON_LOOP, where just the end of the broker refuses */
    enum call_place place;
};
/* The row of a request code, NULL: not supported. */
const struct handler *handler_find(int32_t code);

/* Starts a reply; add fields with remoting_put*, then remoting_body and the body, then
 * remoting_end. `with_fields`: the response type defines header fields. */
void call_begin(struct call *call, struct remoting_writer *w, int32_t code, bool with_fields);
/* Whole replies. All return CALL_DONE, for `return call_...`. */
enum call_result call_ok(struct call *call);
enum call_result call_body(struct call *call, struct bytes body);
enum call_result call_error(struct call *call, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Likewise for requests whose response type defines header fields: extFields is there, empty. */
enum call_result call_refuse(struct call *call, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Header fields with the error that a missing or bad one deserves: false after the reply (code 1,
 * naming field and value) has been written. */
bool call_need_str(struct call *call, const char *key, struct bytes *out);
bool call_need_i32(struct call *call, const char *key, int32_t *out);
bool call_need_i64(struct call *call, const char *key, int64_t *out);
/* Absent: fallback. Present but not a number: false after the reply. */
bool call_opt_i64(struct call *call, const char *key, int64_t *out, int64_t fallback);

/* The answer with one number. */
enum call_result call_answer_i64(struct call *call, const char *name, int64_t value);

/* Writes a reply frame outside of a call (gate, hold, timers). */
void reply_begin(struct remoting_writer *w, struct buf *out, const struct reply_to *to,
                 int32_t code, struct bytes remark, bool with_fields);
/* Sends a frame to a connection from any thread; a peer that is gone is nobody's fault. */
void broker_send(struct broker *b, conn_id conn, struct bytes frame);

/* "ip:port" of the caller, and its address as a record host. */
void call_peer_host(const struct call *call, struct record_host *host);

/* The one answer for a caller who waits until a metadata change is durable: encodes an empty
 * success and sends it once replication_metadata_kept() >= sequence (and, when `registered`, the
 * name servers have the topics); at once when that is already so. Copies are waited for as long as
 * slaveTimeout says: then, once it is durable here, it succeeds with replicaAck=rocketmq and is
 * answered with SERVICE_NOT_AVAILABLE otherwise. Reader or loop thread. Returns
 * CALL_LATER. */
enum call_result call_ok_when_durable(struct call *call, uint64_t sequence, bool registered);
/* The same with an answer of the caller's, which is taken when CALL_LATER is returned. */
enum call_result call_reply_when_durable(struct call *call, uint64_t sequence, struct buf *reply);

/* Printable, bounded text of hostile bytes for remarks and logs: use as "%s" with a SAFE()
 * temporary. */
struct safe_text {
    char text[160];
};
struct safe_text safe_text_of(struct bytes b);
#define SAFE(b) (safe_text_of(b).text)

#endif
