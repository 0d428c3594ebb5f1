/* forward_internal.h - what the files of forward.h share. Nobody else includes it. Each stands on
 * those below it only:
 *
 *   forward.c         requests: they come, wait and end; life
 *   forward_kept.c    they outlive a broker
 *   forward_link.c    the connection to the master
 *   forward_table.c   the table of requests      forward_place.c   where the master is
 *   forward_frame.c   frames (forward_frame.h)
 */
#ifndef TERN_BROKER_FORWARD_INTERNAL_H
#define TERN_BROKER_FORWARD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "broker/forward.h"
#include "broker/group_config.h"

enum { LOOK_MS = 20 };

struct entry {
    TAILQ_ENTRY(entry) next;
    int32_t opaque; /* ours; the low bits are its place in the table. 0: free */
    struct forward_request {
        struct reply_to to;
        struct sockaddr_storage peer;
        const struct handler *handler;
        int64_t until_ms; /* monotonic: end of the wait, or of patience with the answer */
        bool main_port;
        bool copy;        /* the request itself was carried out here */
        bool final;       /* is_final() in forward.c */
        conn_id sent_on;  /* 0: it waits */
        struct buf frame; /* of one that waits */
    } request;
};
TAILQ_HEAD(entries, entry);

struct requests {
    struct entry *table; /* FORWARD_REQUESTS_MAX, made when first needed */
    struct entries free, waiting, sent;
    unsigned used;
    int32_t round;
    size_t bytes; /* of the frames that wait */
};

enum { KEPT_LINKS = 8 }; /* to so many members: a loop has one, and those to earlier masters */

/* Of a loop whose broker has ended. */
struct forward_kept {
    struct requests requests;
    struct kept_link {
        struct conn_kept conn;
        conn_id id; /* that it had */
    } links[KEPT_LINKS];
    unsigned link_count;
};

struct forward_loop {
    struct forward *forward;
    struct broker_loop *on;
    struct requests requests;
    struct forward_kept *kept; /* where they go when the broker begins again; made with the table */
    struct loop_timer look;
    conn_id link; /* 0: none */
    bool link_up; /* it is connected */
    unsigned link_version;
    int64_t dialled_ms, draining_ms;
    /* A copy of the place, taken when its version has changed. */
    unsigned version;
    bool leads, known;
    struct sockaddr_storage master;
};

struct member {
    char address[GROUP_ADDRESS_MAX];
    struct sockaddr_storage at; /* family 0: not looked up yet */
};

struct forward {
    struct broker *broker;
    bool enabled;
    const char *source;
    struct conn_dialler *dialler;
    struct forward_loop loops[LOOP_MAX];
    pthread_mutex_t lock; /* for all below but the atomics */
    atomic_uint version;  /* of leads, address, master */
    bool leads;
    char address[GROUP_ADDRESS_MAX];
    struct sockaddr_storage master; /* family 0: not known, or not looked up yet */
    struct member members[CORE_MEMBERS_MAX];
    const char *own; /* of them; "" when it is none */
    unsigned member_count;
    atomic_uint_fast64_t forwarded, waiting;
};

/* --- forward_place.c --- */
/* `numeric`: only what needs nobody to be asked. */
bool forward_look_up(const char *address, bool numeric, struct sockaddr_storage *out);
bool forward_comes_from_member(const struct call *call);
/* Into the loop's copy, when it has changed. */
void forward_take_place(struct forward_loop *l);

/* --- forward_table.c --- */
/* NULL: too many. The frame is the entry's from then on; the caller puts it on a list. */
struct entry *forward_entry_new(struct forward_loop *l, const struct forward_request *request);
void forward_requests_init(struct requests *r);
/* `to` is empty, and `from` is then. */
void forward_requests_move(struct requests *to, struct requests *from);
void forward_requests_destroy(struct requests *r);
void forward_entry_drop_frame(struct forward_loop *l, struct entry *e);
void forward_entry_free(struct forward_loop *l, struct entries *from, struct entry *e);
/* Answers who asked, if anybody waits for it. */
void forward_refuse(struct forward_loop *l, const struct reply_to *to, int32_t code,
                    const char *remark);

/* --- forward_link.c --- */
/* The connection to the master; NULL: it is not known, cannot be reached, or takes no more. */
struct conn *forward_link_to_master(struct forward_loop *l);
/* The entry stands in the connection's output, and on the list `sent`. */
void forward_now_sent(struct forward_loop *l, struct entry *e, struct conn *c);
/* As many of those that wait as the connection takes. */
void forward_send_waiting(struct forward_loop *l);
extern const struct remoting_handler forward_from_master;

#endif
