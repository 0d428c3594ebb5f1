/* loop.h - one event loop per I/O thread, its mailbox, its turn.
 *
 * A loop belongs to the thread that runs it, and so does every connection on it
 * (common/conn.h). Other threads reach it in two ways: loop_post() puts a small message into a
 * bounded mailbox, loop_signal() raises a bit that is never lost and never queues up (for
 * watermarks). Both wake the loop by one eventfd, written only when the loop may be asleep.
 *
 * A turn: handle what is ready, then messages, signals and due timers, run the end-of-turn hooks in
 * order of registration (the store writes, the gate releases replies), then write each connection's
 * output once. A turn ends at the latest after 32 connections or 256 KiB of input. After work a
 * loop polls for up to busy_poll_micros before it sleeps, only while recent polls found something.
 *
 * Only loop.c, conn.c and listener.c see libevent.
 */
#ifndef TERN_COMMON_LOOP_H
#define TERN_COMMON_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct loop;

enum { LOOP_MAILBOX_MAX = 65536, LOOP_MAX = 16, LOOP_SIGNALS = 32 };
enum { LOOP_WAITING_BYTES = 256 << 20 };

struct loop_options {
    unsigned index;            /* 0 .. LOOP_MAX-1, part of every connection id */
    unsigned busy_poll_micros; /* 0: never */
    /* Memory of all connections together for unfinished input, and as much again for output that
     * peers have not taken; 0: LOOP_WAITING_BYTES. */
    size_t waiting_bytes;
};
int loop_new(struct loop **out, const struct loop_options *options, struct err *err);
/* After loop_run() has returned: closes what is left and frees. Returns NULL. */
struct loop *loop_free(struct loop *loop);

/* Runs on the calling thread until loop_stop(). The last turn still takes all messages and writes
 * all output that sockets take at once; after it the mailbox is closed. 0, or -EIO when the system
 * refuses to wait for events. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread, async-signal-safe */
unsigned loop_index(const struct loop *loop);
bool loop_is_current(const struct loop *loop);
int64_t loop_now_ms(const struct loop *loop); /* monotonic, taken once a turn */

/* A message to the loop: run(message) is called on the loop's thread with a copy.
 * `p` passes ownership as the sender and run agree. */
struct loop_message {
    void (*run)(struct loop_message *message);
    void *ctx;
    void *p;
    uint64_t a, b, c;
};
/* 0, or nothing was taken: -EAGAIN when the mailbox is full, -ESHUTDOWN when loop_run() has
 * returned. Any thread. A message posted by the loop itself runs at the end of the next turn. */
int loop_post(struct loop *loop, const struct loop_message *message);
/* Calls on_signal(ctx) once on the loop's thread in its next turn, however often it is raised.
 * Any thread; cannot fail. Register before loop_run(). */
void loop_on_signal(struct loop *loop, unsigned bit, void (*on_signal)(void *ctx), void *ctx);
void loop_signal(struct loop *loop, unsigned bit);

/* End-of-turn hooks, before output is written. Register before loop_run(). At most 8: -ENOSPC. */
int loop_on_turn_end(struct loop *loop, void (*hook)(void *ctx), void *ctx);
/* A hook that has more to do asks for another turn at once. */
void loop_again(struct loop *loop);

/* A timer, owned by the caller; all of a loop's timers share one libevent timer for the earliest.
 * They fire in order of due_ms, and may be set, moved and cancelled from inside fire(); one that is
 * set there for a time already past fires a millisecond later. Loop thread only (before loop_run:
 * the thread that sets up). */
struct loop_timer {
    struct loop *loop;
    void (*fire)(void *ctx);
    void *ctx;
    int64_t due_ms;   /* monotonic */
    uint32_t heap_at; /* 0: not armed */
};
void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fire)(void *ctx), void *ctx);
int loop_timer_set(struct loop_timer *t, int64_t due_ms); /* arms or moves; -ENOMEM */
void loop_timer_cancel(struct loop_timer *t);

/* Calls on_signal(ctx) on this loop's thread, once, when the process has been asked to stop:
 * SIGTERM, SIGINT or, unless it was ignored (nohup), SIGHUP. From the first call on no such signal
 * is lost: what comes before the loop runs, or when it runs no more, is told to the next one that
 * asks. To be called by one thread of a process. */
int loop_on_stop_signals(struct loop *loop, void (*on_signal)(void *ctx), void *ctx);

struct loop_stats {
    uint64_t turns, wakeups, messages, bytes_in, bytes_out, connections, mailbox_high, mailbox_full;
    uint64_t waiting_in, waiting_out; /* bytes of memory, see loop_options.waiting_bytes */
};
void loop_stats(const struct loop *loop, struct loop_stats *out); /* any thread; relaxed */

#endif
