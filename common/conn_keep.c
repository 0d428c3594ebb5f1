/* conn_keep.c - connections that outlive their loop. See conn.h.
 *
 * Nothing is copied: the memory of a half-read frame, and of output that was not written, moves
 * with the socket.
 */
#include "common/loop_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

void conn_rest(struct conn *c)
{
    if (c->resting || c->state != CONN_OPEN)
        return;
    c->resting = true;
    event_del(&c->read_event);
    if (c->resumed) {
        c->resumed = false;
        TAILQ_REMOVE(&c->loop->resumed, c, resume);
    }
}

static void keep_socket(void *ctx, int fd)
{
    struct conn_kept *kept = ctx;

    kept->fd = fd;
}

void conn_keep(struct conn *c, struct conn_kept *kept)
{
    *kept = (struct conn_kept){.fd = -1};
    kept->closed = c->state == CONN_LINGERING;
    if ((c->state != CONN_OPEN && !kept->closed) || c->give || c->out.failed)
        return;
    kept->input = (struct buf){.data = c->in.data, .len = c->in_len, .cap = c->in.cap};
    loop_count(&c->loop->waiting_in, -(uint64_t)c->in.cap);
    c->in = (struct chunk){0};
    kept->output = c->out;
    c->out = (struct buf){0};
    c->give = keep_socket;
    c->give_ctx = kept;
    conn_let_go(c);
}

void conn_kept_drop(struct conn_kept *kept)
{
    if (kept->fd >= 0)
        close(kept->fd);
    buf_destroy(&kept->input);
    buf_destroy(&kept->output);
    *kept = (struct conn_kept){.fd = -1};
}

int conn_adopt(struct loop *loop, struct conn_origin *origin, struct conn_kept *kept, conn_id *id)
{
    struct conn *c;
    int r = conn_new(loop, kept->fd, origin, NULL, id);

    kept->fd = -1; /* whatever has become of it */
    c = r == 0 ? loop_conn(loop, *id) : NULL;
    if (!c) {
        conn_kept_drop(kept);
        return r;
    }
    /* What it sent meanwhile has not been read, and the loop's time may be from before that. */
    c->active_ms = clock_mono_ms();
    if (kept->input.len > 0) {
        /* It may hold whole frames: they are looked at before the next are read. */
        c->in = (struct chunk){kept->input.data, kept->input.cap};
        c->in_len = kept->input.len;
        loop_count(&loop->waiting_in, c->in.cap);
        c->held = c->resumed = true;
        TAILQ_INSERT_TAIL(&loop->resumed, c, resume);
        kept->input = (struct buf){0};
    }
    if (kept->output.len > 0) {
        c->out = kept->output;
        kept->output = (struct buf){0};
        conn_mark(c);
    }
    if (kept->closed)
        conn_close(c, NULL);
    conn_kept_drop(kept);
    loop_again(loop);
    return 0;
}
