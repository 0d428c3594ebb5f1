/* load_internal.h - one thread of the load generator: what load.c, load_conn.c and load_oneway.c
 * share. */
#ifndef TERN_TOOLS_LOAD_INTERNAL_H
#define TERN_TOOLS_LOAD_INTERNAL_H

#include <semaphore.h>
#include <stdatomic.h>

#include "tools/load.h"

enum { LOAD_READ_BYTES = 256 * 1024 };

struct load_slot {
    int64_t written_ns; /* 0: nothing under way */
    uint32_t size;      /* bytes of the frame */
};

struct load_conn {
    int fd;
    const char *address;
    const struct frame_template *templates; /* of its target, one for each queue */
    unsigned template_count, next_template;
    uint32_t next_topic; /* of numbered ones: the next when all queues of this one had their turn */
    struct buf partial;  /* the start of a reply */
    struct buf out;      /* not yet written */
    size_t out_begun;    /* bytes at its front that belong to a frame begun earlier */
    uint32_t *unwritten; /* ring of slots whose frames wait in `out`, behind out_begun */
    uint32_t unwritten_head, unwritten_count;
    struct load_slot
        *slots; /* `window` of them; the last of one-way connections is the barrier's */
    uint32_t window;
    uint32_t in_flight;
    bool wants_write; /* registered for EPOLLOUT */
};

struct load_worker {
    const struct load_plan *plan;
    struct load_conn *conns;
    unsigned conn_count;
    int epoll;
    uint8_t *read_buf; /* LOAD_READ_BYTES */
    uint64_t next_id;
    int64_t born_ms;
    char born[FRAME_BORN_DIGITS];
    int64_t from_ns, until_ns; /* of the measurement; until_ns moves when the count is reached, or
                                  for the first answer */
    uint64_t count;            /* messages to measure; 0: by time */
    bool measuring, stopped;
    bool late;             /* the time was over before any thread had measured anything */
    atomic_bool *measured; /* by any thread: a latency, or a refusal */
    int64_t last_reply_ns;
    sem_t *started, *finished;
    bool posted_started, posted_finished;
    double cpu_from_s;         /* of this thread when the measurement began */
    struct load_result result; /* of this thread: counters, codes, latency */
    struct remoting_frame frame;
    struct err err;
    int status;
};

/* load_conn.c */

int load_conn_open(struct load_worker *w, struct load_conn *c);
void load_conn_close(struct load_conn *c);
/* Puts the next request of `slot` into the output. */
int load_conn_add(struct load_worker *w, struct load_conn *c, uint32_t slot);
/* Writes what the socket takes; negative: broken. */
int load_conn_flush(struct load_worker *w, struct load_conn *c);
/* Reads once and calls on_reply for each whole frame; w->frame is the reply, `now_ns` when the read
 * returned. Negative: broken, or what on_reply said. */
typedef int load_reply_fn(struct load_worker *w, struct load_conn *c, int64_t now_ns);
int load_conn_read(struct load_worker *w, struct load_conn *c, load_reply_fn *on_reply);
/* TOOL_UNREACHABLE with a sentence for a connection that broke. */
int load_conn_lost(struct load_worker *w, const struct load_conn *c, int reason);
void load_count_code(struct load_result *result, const struct remoting_frame *reply);

/* load.c */

void load_post_started(struct load_worker *w);
void load_post_finished(struct load_worker *w);
/* Waits for events until until_ns, spinning first where the plan says so. */
struct epoll_event;
int load_wait(struct load_worker *w, struct epoll_event *events, int max, int64_t until_ns);

/* load_oneway.c: the whole run of one thread */
int load_run_oneway(struct load_worker *w);

#endif
