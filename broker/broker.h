/* broker.h - one broker: what its services share. Made by broker.c, used by every handler.
 *
 * Threads: `loops` (I/O, each owns its connections, its gate and its held pulls), the store's
 * flusher and readers, the metadata thread, the delay thread, one thread for each name server.
 * Handlers run on a connection's loop, or on a reader thread (call.h says which). The members below
 * are set up before the loops run and do not change until they have stopped; each module guards
 * itself.
 */
#ifndef TERN_BROKER_BROKER_H
#define TERN_BROKER_BROKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/broker_config.h"
#include "broker/store/store.h"
#include "common/conn.h"
#include "common/watchdog.h"

struct clients;       /* clients.h: who is connected, as producer or consumer of which group */
struct locks;         /* locks.h: queue locks of ordered consumers */
struct registrar;     /* registrar.h: name servers */
struct delay;         /* delay.h: delay levels */
struct gate;          /* gate.h: replies that wait for a watermark, one per loop */
struct hold;          /* hold.h: pulls that wait for a message, one per loop */
struct durable;       /* durable.h: answers that wait for the metadata journal */
struct rates;         /* rates.h: counters and rates for status requests */
struct consume_rates; /* consume_rates.h: what each group gets of each topic */
struct forward;       /* forward.h: requests for the master, on a member that is not */
struct replication;   /* replication/replication.h: the copies of the log */
struct broker_extra;  /* service.h */

/* Messages in and out, added up over a turn (rates.h). */
struct rates_turn {
    uint64_t put_messages, put_bytes, failed_puts, got_messages, got_bytes, found_pulls,
        missed_pulls;
};

struct broker_loop {
    struct broker *broker;
    struct loop *loop;
    struct gate *gate;
    struct hold *hold;
    struct buf discard;               /* answers to oneway requests */
    struct buf properties;            /* scratch: the final property text of one message or batch */
    struct buf suffix;                /* scratch: what all messages of a batch have in common */
    struct store_message *messages;   /* scratch of BROKER_BATCH_MAX, mapped on first use */
    struct store_position *positions; /* likewise */
    struct store_found found;         /* scratch of a pull */
    struct rates_turn turn;           /* what this turn has done */
    struct loop_timer drain;          /* while stopping: the next look at what is still owed */
    bool dismissed;                   /* likewise: held pulls are answered */
    bool done;                        /* likewise: a turn ago it could have left */
    struct owed *owed;                /* of struct broker's, those to connections of this loop */
};

enum { BROKER_BATCH_MAX = 4096 /* messages of one batch */ };

/* What a listener's ctx points to. */
struct broker_port {
    struct broker *broker;
    bool main_port; /* false: the VIP port, P-2 */
};

struct broker {
    struct broker_settings *settings; /* configuration and its lock */
    struct metadata *metadata;
    struct store *store;
    struct clients *clients;
    struct locks *locks;
    struct registrar *registrar;
    struct delay *delay;
    struct replication *replication;
    struct forward *forward;
    atomic_bool passes_on; /* forward_is_on() */
    struct durable *durable;
    struct rates *rates;
    struct consume_rates *consume_rates;
    struct broker_port port, vip_port;
    struct listener *listener, *vip_listener;
    unsigned loop_count;
    struct loop *loops[LOOP_MAX];
    struct broker_loop on[LOOP_MAX];
    atomic_uint connections; /* of both ports */
    struct record_host host; /* brokerIP1:listenPort */
    char address[80];        /* the same as text */
    char ha_address[80];
    int64_t boot_ms;
    atomic_bool draining; /* stopping: owed replies still go out */
    atomic_bool failed;   /* an event loop has failed */
    atomic_uint owed; /* requests and pulls on reader threads, answers that wait for the journal */
    /* Of requests that reader threads have, or will get; of those before all others. */
    atomic_size_t offloaded_bytes, offloaded_first_bytes;
    int64_t drain_deadline_ms;  /* monotonic; then the rest is given up */
    atomic_int_fast64_t led_ms; /* monotonic: when this member began to lead its group, */
    atomic_bool handed;         /* and whether another one handed over to it */
    int store_lock;             /* of the store folder; -1: not taken */
    int reserved_ha_fd;         /* the replication port, until it is listened on; -1: none */
    int held_ha_fd;             /* the same socket, that its port stays ours; -1: none */
    struct watchdog watchdog;
    pthread_t threads[LOOP_MAX], stopper;
    bool stopper_started;
    /* A restart is a stop and another broker in the same process, unless somebody asks for the end.
     */
    atomic_bool restart, end_asked;
    const struct broker_extra *extra;
    int delay_levels;
    int64_t delay_ms[64];
};

/* Confirmed has moved: the loops and the delay thread are told. Any thread. */
void broker_confirmed(struct broker *b);

/* A reader thread, or the journal, is to answer this connection; and has. Any thread. False: no
 * memory, it is not counted. */
bool broker_owes(struct broker *b, conn_id conn);
void broker_owes_no_more(struct broker *b, conn_id conn);

/* Has a reader thread run job(ctx), which owes this connection an answer and says so itself when it
 * has given it; `first`: before what others ask. -EAGAIN: too many wait; -ENOMEM; it does not run
 * then. Any thread. */
int broker_offload(struct broker *b, conn_id conn, bool first, void (*job)(void *ctx), void *ctx);

/* The role of a member of a group has changed; replication_is_slave() says so already. On the
 * thread of the group; do not wait for anything that may wait for it. */
void broker_leads(struct broker *b, uint64_t epoch, bool handed);
void broker_halts(struct broker *b);
/* For forwardWaitMillis: the other members may not have found this master yet. */
bool broker_leads_newly(const struct broker *b);
/* This broker is to be taken down and made anew in the same process: its log has to be opened
 * again. Any thread. */
void broker_restart(struct broker *b);

static inline bool broker_is_draining(const struct broker *b)
{
    return atomic_load_explicit(&b->draining, memory_order_acquire);
}
/* The end that is near, or has come, is not that of the program. */
static inline bool broker_wants_restart(const struct broker *b)
{
    return atomic_load(&b->restart) && !atomic_load(&b->end_asked);
}
/* It stops for good: new requests are refused. One that begins again leaves them to the next. */
static inline bool broker_is_ending(const struct broker *b)
{
    return broker_is_draining(b) && !broker_wants_restart(b);
}

/* It ends, and what is still owed has been given up: it need not be looked up. */
bool broker_has_given_up(const struct broker *b);

/* Bits of loop_signal() that the broker uses on its loops. */
enum {
    BROKER_SIGNAL_PROGRESS,
    BROKER_SIGNAL_STOP_ASKED,
    BROKER_SIGNAL_STOP,
    BROKER_SIGNAL_WATCHDOG,
    BROKER_SIGNAL_DURABLE,
    BROKER_SIGNAL_REGISTRATION,
    BROKER_SIGNAL_FORWARD
};

#endif
