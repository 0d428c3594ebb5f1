/* loop_internal.h - what loop.c, conn.c and listener.c know of one another. Nobody else includes
 * it.
 *
 * The parts of a struct loop above the line are touched by the loop's thread only; below it are
 * the few words that other threads write, in cache lines of their own.
 */
#ifndef TERN_COMMON_LOOP_INTERNAL_H
#define TERN_COMMON_LOOP_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/conn.h"
#include "common/loop.h"

enum {
    LOOP_READ_BYTES = 512 * 1024, /* the one buffer that all reads of a loop go into */
    LOOP_TURN_CONNS = 32,         /* a turn ends after input of so many connections, */
    LOOP_TURN_BYTES = 256 * 1024, /* or of so many bytes */
    LOOP_HOOKS_MAX = 8,
    LOOP_POOL_CHUNKS = 64,             /* spare buffers of a loop: so many, */
    LOOP_POOL_BYTES = 2 * 1024 * 1024, /* and so many bytes in all; more are freed */
    LOOP_CHUNK_MAX = 256 * 1024,       /* a larger buffer is freed, not kept */
    LOOP_CHUNK_MIN = 4096,
};

/* Memory from malloc() on its way between the pool and a connection. */
struct chunk {
    uint8_t *data;
    size_t cap;
};

struct conn_slot {
    struct conn *conn; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* slot number + 1; 0 ends the list */
};

/* A hook, a signal or a process signal: whom to call. */
struct loop_call {
    void (*fn)(void *ctx);
    void *ctx;
};

STAILQ_HEAD(conn_queue, conn);
TAILQ_HEAD(conn_list, conn);

struct loop {
    unsigned index;
    struct event_base *base;
    int wake_fd;
    struct event *wake_event;
    struct event *timer_event;
    uint8_t *read_buf; /* LOOP_READ_BYTES, untouched pages cost nothing */

    /* The turn. */
    bool awake;     /* now_ms is of this turn */
    bool finishing; /* inside finish_turn() */
    bool again;
    int64_t now_ms;
    unsigned turn_conns; /* input since the last end of a turn */
    size_t turn_bytes;
    struct loop_call hooks[LOOP_HOOKS_MAX];
    unsigned hook_count;

    /* Polling: see wait_for_work(). */
    int64_t busy_poll_ns;
    int64_t slept_from_ns; /* 0: not asleep */
    int poll_credit;

    /* Timers: a binary heap by due_ms in timers[1 .. timer_count]. */
    struct loop_timer **timers;
    uint32_t timer_count, timer_cap;
    int64_t timer_armed_ms; /* when libevent's timer fires; 0: it does not */
    bool firing;

    struct loop_call signals[LOOP_SIGNALS];
    struct loop_call stop_signal;
    struct event *stop_event;

    /* Connections (conn.c, conn_table.c). */
    struct conn_list conns;   /* all whose memory is held, except the dead */
    struct conn_queue dirty;  /* have output, or are to be closed, at the end of this turn */
    struct conn_list resumed; /* have input that waited for output to drain */
    struct conn_list dead;    /* freed when no callback can hold them any more */
    struct conn_slot *slots;
    uint32_t slot_count, slot_cap, slot_free;
    struct loop_timer sweep;
    struct chunk pool[LOOP_POOL_CHUNKS];
    unsigned pool_count;
    size_t pool_bytes;
    size_t waiting_bytes_max;
    unsigned waiting_conns; /* those that are counted in waiting_out */

    struct loop_message *mail_out; /* the batch being run; swapped with mail_in */

    /* Statistics: written by the loop's thread, read by any. */
    _Atomic uint64_t turns, wakeups, messages, bytes_in, bytes_out, connections, mailbox_high;
    _Atomic uint64_t waiting_in;  /* memory of partial frames */
    _Atomic uint64_t waiting_out; /* memory of output that sockets did not take */

    /* ---- other threads below ---- */

    _Alignas(64) atomic_bool sleeping; /* a wakeup is needed */
    atomic_uint raised;                /* bits of loop_signal() */
    atomic_bool stop;
    atomic_ulong owner; /* pthread_self() of the thread that runs (or sets up, or frees) */

    _Alignas(64) pthread_mutex_t mail_lock;
    struct loop_message *mail_in; /* under mail_lock */
    bool mail_closed;             /* under mail_lock */
    atomic_uint mail_count;       /* written under mail_lock */
    _Atomic uint64_t mailbox_full;
};

/* For counters with one writer: no locked instruction. */
static inline void loop_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* A counter that the loop's own thread reads. */
static inline uint64_t loop_counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* loop.c */

/* Every callback from libevent begins with this: the turn has work, and a time. */
void loop_touch(struct loop *loop);
/* Every callback that took input ends with this: it may end the turn. */
void loop_took_input(struct loop *loop, size_t bytes);

/* loop_timer.c */

void loop_timers_run(struct loop *loop);
/* Sees to it that a sleep ends in time; false when it must not begin. */
bool loop_timers_arm(struct loop *loop, int64_t now_ms);

/* conn_table.c: ids, and spare memory */

/* Gives c an id; 0 when there is no memory (or 16 million connections). */
conn_id conn_table_add(struct loop *loop, struct conn *c);
void conn_table_remove(struct loop *loop, conn_id id);
struct conn *conn_table_find(const struct loop *loop, conn_id id);
/* Memory of at least `min` bytes: a spare one, or a new one. -ENOMEM leaves *out untouched. */
int chunk_take(struct loop *loop, size_t min, struct chunk *out);
/* Takes the memory back, or frees it; *chunk is empty afterwards. */
void chunk_give(struct loop *loop, struct chunk *chunk);
void conn_table_destroy(struct loop *loop);

/* conn.c */

/* What the connections of one listener share. Counted: the listener and each connection, on
 * whatever loop, hold one reference; whoever gives up the last one frees it. */
struct conn_origin {
    atomic_uint refs;
    atomic_uint *connections; /* how many there are: own_connections, or what listeners share */
    atomic_uint own_connections;
    const struct conn_protocol *protocol;
    const struct remoting_handler *remoting;
    void *ctx;
};
void conn_origin_release(struct conn_origin *origin);
/* For a connection, which is then counted, or counted no more. */
void conn_origin_enter(struct conn_origin *origin);
void conn_origin_leave(struct conn_origin *origin);

/* CLOSING is entered by conn_close(); at the end of the turn the protocol is told, the id dies, and
 * the rest of the output LINGERs without an owner, or the connection is DEAD at once. */
enum conn_state { CONN_OPEN, CONN_CLOSING, CONN_LINGERING, CONN_DEAD };

struct conn {
    struct loop *loop;
    const struct conn_protocol *protocol;
    void *ctx;
    void *user;
    struct conn_origin *origin;
    conn_id id;
    int fd;
    uint8_t state; /* enum conn_state */
    bool dirty;    /* on loop->dirty */
    bool resumed;  /* on loop->resumed */
    bool paused;   /* not read until output has drained */
    bool held;     /* `in` holds whole frames: output was over its bound */
    bool resting;  /* not read any more: conn_rest() */
    bool drop;     /* output is not worth writing any more */
    struct event read_event;
    struct event *write_event; /* there since EAGAIN, until all is written */
    struct chunk in;           /* the start of a frame; none when idle */
    size_t in_len;
    size_t want;              /* size of that frame; 0: not known */
    struct buf out;           /* no memory when idle */
    size_t out_counted;       /* of it in loop->waiting_out */
    int64_t active_ms;        /* last byte read or written */
    int64_t taken_ms;         /* last byte taken by the peer, or when output began to wait */
    TAILQ_ENTRY(conn) all;    /* loop->conns, later loop->dead */
    TAILQ_ENTRY(conn) resume; /* loop->resumed */
    STAILQ_ENTRY(conn) next_dirty;
    struct sockaddr_storage peer;
    void (*give)(void *ctx, int fd); /* who gets the socket at the end; NULL: it is closed */
    void *give_ctx;
};

/* Takes over fd and one reference of origin, also when it fails (then both are gone). `peer`: of a
 * socket that is still connecting; NULL: it is asked. `id` may be NULL. */
int conn_new(struct loop *loop, int fd, struct conn_origin *origin,
             const struct sockaddr_storage *peer, conn_id *id);
/* Closes without a line and without writing what waits: the peer is gone, or hopeless. */
void conn_fail(struct conn *c);
/* Ends it at once; c->give has its socket. */
void conn_let_go(struct conn *c);
/* Closes with a line that shows the first bytes of what could not be understood. */
void conn_refuse(struct conn *c, const uint8_t *at, size_t len, const char *why);
/* The connection wants a look at the end of the turn. */
void conn_mark(struct conn *c);
/* "1.2.3.4:5678", "[::1]:5678" */
char *conn_address_text(const struct sockaddr_storage *address, char text[64]);

void conns_init(struct loop *loop);
void conns_resume(struct loop *loop); /* offers held input again */
void conns_flush(struct loop *loop);  /* writes all output, carries out closes */
void conns_reap(struct loop *loop);   /* frees the dead; no callback may be under way */
void conns_destroy(struct loop *loop);
/* A message that will never run: frees what it carries if it is one of conn_send's. */
void conn_message_discard(struct loop_message *message);

/* conn_input.c */
void conn_on_readable(evutil_socket_t fd, short what, void *conn);
void conn_offer_held(struct conn *c);
void conn_drop_input(struct conn *c);

/* listener.c */
void listener_message_discard(struct loop_message *message); /* likewise, for new connections */

/* conn_keep.c: takes over one reference of origin, as conn_new() does */
int conn_adopt(struct loop *loop, struct conn_origin *origin, struct conn_kept *kept, conn_id *id);

/* conn_remoting.c */
extern const struct conn_protocol conn_remoting_protocol;

#endif
