/* group_internal.h - what the files of a group's member share. Nobody else includes it.
 *
 *   group.c         the thread: links, time, life; what other threads ask
 *   group_orders.c  carries out what the core orders, keeps what is confirmed
 *   group_take.c    log bytes and metadata, taken from the master and given to followers
 *   group_admin.c   an operator's orders, the status
 *   group_dial.c    makes the links; group_link.c: their bytes; group_wire.c: their frames
 *
 * What happens on the thread happens under `lock`, which is free while it waits: so a status is a
 * look at the core itself, and an operator's order is carried out by who brings it. Orders of the
 * core are carried out one after the other; what an order leads to (a saved state, an opened epoch)
 * is told to the core then.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_INTERNAL_H
#define TERN_BROKER_REPLICATION_GROUP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "broker/replication/copies_said.h"
#include "broker/replication/group.h"
#include "broker/replication/group_dial.h"
#include "broker/replication/group_link.h"
#include "broker/replication/meta_stream.h"

enum {
    ARRIVALS_MAX = 32, /* links that wait for the thread */
    RETRY_MS = 200,    /* what the disk did not take */
    MEMORY_MS = 10,    /* what a flusher has to make room for */
    ACKS_MAX = 64,
};

/* What another member is to us, by its place among the core's peers. */
struct peer {
    struct group_member member;
    struct group_dial *dial;
    struct link_out out;
    struct link_in in;
    bool streams; /* metadata goes to it */
    int counted;  /* in the quorum; -1: not */
    /* Log bytes that came and are no whole record yet, or that the store has no room for: those
     * behind `end` of the log. */
    uint8_t *carry;
    size_t carry_len, carry_cap;
    struct core_message carry_message; /* the last DATA of them, size 0 */
    bool held;                         /* nothing is read before `held_until` */
    int64_t held_until;
};
/* Both ways. */
static inline bool group_is_linked(const struct peer *p)
{
    return p->out.fd >= 0 && p->in.fd >= 0;
}

struct arrival {
    uint16_t from;
    bool in; /* a link that the other side made */
    int fd;
};

struct group {
    struct group_options options;
    pthread_t thread;
    bool started;
    int wake_fd;
    _Atomic bool stop, sleeping, leads, enough, in_touch;
    _Atomic uint64_t epoch, acked, meta_copied;

    pthread_mutex_t post_lock; /* leaf: for `arrivals` and `orders` */
    struct arrival arrivals[ARRIVALS_MAX];
    unsigned arrival_count;
    bool outdated;

    pthread_mutex_t lock; /* of all below; held by the thread but while it waits */
    struct core core;
    struct group_state state; /* as last saved, or to be */
    struct peer peers[CORE_MEMBERS_MAX];
    unsigned peer_count;
    struct meta_source *source;
    struct quorum quorum;
    struct copies_said said;
    uint64_t told_limit;
    uint64_t seen_written, seen_flushed, seen_durable; /* of the log; of the metadata journal */
    bool led;                                          /* this broker was or is the master */
    bool told_lead;  /* on_lead was called, and on_halt was not since */
    bool restarting; /* it is being made anew: nothing is appended any more */
    bool opening;    /* the epoch's first record is to be written */
    bool saving;     /* the state is to be saved */
    uint64_t save_version;
    int64_t retry_ms; /* of those two, when they failed; 0: not */
    uint16_t told_master;
    char alarm[200];
    bool no_room; /* the alarm says so, and the log of the master waits */
    bool unclean;
    int64_t tick_ms;
    /* Metadata frames that are taken and not durable yet, oldest first. */
    struct meta_ack {
        uint64_t sequence, upto;
    } acks[ACKS_MAX];
    bool meta_lost; /* something of the master's metadata could not be taken */
    unsigned ack_count;
};
/* --- group.c --- */
void group_wake(struct group *g);
struct peer *group_peer(struct group *g, uint16_t member);
/* NULL for this member itself. */
const struct core_peer *group_core_peer(const struct group *g, uint16_t member);
/* The watermarks here, told to the core when they have moved. */
void group_look_at_log(struct group *g);

/* --- group_orders.c --- */
void group_run_orders(struct group *g);
/* What was not possible before. */
void group_try_again(struct group *g, int64_t now);
void group_save(struct group *g);
/* This broker is to be made anew. */
void group_ask_restart(struct group *g);
/* Returns when to look again at the latest. */
int64_t group_keep_confirmed(struct group *g, int64_t now);
void group_keep_segments(struct group *g);

/* --- group_take.c --- */
/* A frame from the peer. False: it has to come again (link_in), nothing was taken. */
bool group_take_frame(struct group *g, struct peer *p, const struct group_frame *frame);
/* What was held back is tried again. */
void group_take_held(struct group *g, struct peer *p);
void group_drop_carry(struct peer *p);
void group_stream_metadata(struct group *g);
/* What this one's link has room for. */
void group_stream_to(struct group *g, struct peer *p);
/* What the journal has for that peer now, before a piece of the log. */
void group_metadata_first(struct group *g, struct peer *p);
void group_publish_meta(struct group *g);
void group_send_meta_acks(struct group *g);

#endif
