/* load_oneway.c - sends that nobody answers, counted from barrier to barrier.
 *
 * A barrier is an ordinary request on every connection. A broker takes the requests of a connection
 * in order, so its answer says that all sends before it have been taken.
 */
#include "tools/load_internal.h"

#include <errno.h>
#include <sys/epoll.h>

#include "common/clock.h"

enum { EVENTS = 256, FILL_BYTES = 64 * 1024, BARRIER_SLOT = 0 };

static bool enough(const struct load_worker *w, uint64_t frames, uint64_t count)
{
    return count && frames * w->plan->batch >= count;
}

/* Fills the output of a connection that has none left, and writes. */
static int pump(struct load_worker *w, struct load_conn *c, uint64_t count, uint64_t *frames)
{
    while (c->out.len < FILL_BYTES && !enough(w, *frames, count)) {
        const struct frame_template *t = &c->templates[c->next_template];

        if (++c->next_template == c->template_count)
            c->next_template = 0;
        if (!frame_add(&c->out, t, BARRIER_SLOT, &w->next_id, w->born))
            return -ENOMEM;
        (*frames)++;
    }
    return load_conn_flush(w, c);
}

static int on_reply(struct load_worker *w, struct load_conn *c, int64_t now_ns)
{
    if (!remoting_is_response(&w->frame))
        return 0;
    w->last_reply_ns = now_ns;
    if (w->frame.opaque != FRAME_OPAQUE_BASE + BARRIER_SLOT || c->in_flight == 0)
        return -EPROTO; /* one-way requests must not be answered */
    c->in_flight = 0;
    return 0;
}

static int wait_and_serve(struct load_worker *w, int64_t until_ns)
{
    struct epoll_event events[EVENTS];
    int n = load_wait(w, events, EVENTS, until_ns);

    if (n < 0 && errno != EINTR)
        return err_say(&w->err, TOOL_REFUSED, "epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct load_conn *c = events[i].data.ptr;
        int r = 0;

        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            r = load_conn_read(w, c, on_reply);
        if (r == 0)
            r = load_conn_flush(w, c);
        if (r < 0)
            return load_conn_lost(w, c, r);
    }
    return TOOL_DONE;
}

static int barrier(struct load_worker *w)
{
    int64_t deadline_ns = clock_mono_ns() + (int64_t)LOAD_STALL_MS * 1000000;
    unsigned waiting = w->conn_count;

    for (unsigned i = 0; i < w->conn_count; i++) {
        struct load_conn *c = &w->conns[i];
        int r;

        frame_add_max_offset(&c->out, w->plan->topic, 0, BARRIER_SLOT,
                             w->plan->binary ? REMOTING_BINARY : REMOTING_JSON);
        c->in_flight = 1;
        r = c->out.failed ? -ENOMEM : load_conn_flush(w, c);
        if (r < 0)
            return load_conn_lost(w, c, r);
    }
    while (waiting > 0) {
        int r = wait_and_serve(w, deadline_ns);

        if (r != TOOL_DONE)
            return r;
        waiting = 0;
        for (unsigned i = 0; i < w->conn_count; i++)
            waiting += w->conns[i].in_flight;
        if (waiting && clock_mono_ns() >= deadline_ns)
            return err_say(&w->err, TOOL_UNREACHABLE, "%s has not taken what was sent within %d s",
                           w->conns[0].address, LOAD_STALL_MS / 1000);
    }
    return TOOL_DONE;
}

/* Sends until the time is over, or `count` messages (0: no such end) have gone out. */
static int send_until(struct load_worker *w, int64_t until_ns, uint64_t count, uint64_t *frames)
{
    for (;;) {
        int64_t now_ns = clock_mono_ns();
        bool writable = false;
        int r;

        if (now_ns >= until_ns || enough(w, *frames, count))
            return TOOL_DONE;
        frame_born(w->born, clock_wall_ms());
        for (unsigned i = 0; i < w->conn_count; i++) {
            struct load_conn *c = &w->conns[i];

            r = c->out.len == 0 ? pump(w, c, count, frames) : 0;
            if (r < 0)
                return load_conn_lost(w, c, r);
            writable = writable || c->out.len == 0;
        }
        r = wait_and_serve(w, writable ? now_ns : until_ns);
        if (r != TOOL_DONE)
            return r;
    }
}

int load_run_oneway(struct load_worker *w)
{
    int64_t duration_ns = w->plan->duration_ms * 1000000;
    uint64_t frames = 0;
    int r = send_until(w, w->from_ns, 0, &frames);

    if (r == TOOL_DONE)
        r = barrier(w);
    if (r != TOOL_DONE)
        return r;
    frames = 0;
    w->from_ns = clock_mono_ns();
    load_post_started(w);
    r = send_until(w, w->from_ns + duration_ns, w->count, &frames);
    if (r == TOOL_DONE)
        r = barrier(w);
    w->until_ns = clock_mono_ns();
    w->result.messages = frames * w->plan->batch;
    return r;
}
