/* load_conn.c - one connection of the load generator: output with its times, input in place. */
#include "tools/load_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "tools/link.h"
#include "tools/show.h"

int load_conn_open(struct load_worker *w, struct load_conn *c)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};

    c->slots = calloc(c->window, sizeof(*c->slots));
    c->unwritten = calloc(c->window, sizeof(*c->unwritten));
    if (!c->slots || !c->unwritten)
        return err_say(&w->err, TOOL_REFUSED, "out of memory");
    c->fd = link_dial(c->address, w->plan->only_loopback, CLIENT_TIMEOUT_MS, &w->err);
    if (c->fd < 0)
        return TOOL_UNREACHABLE;
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
        return err_say(&w->err, TOOL_REFUSED, "epoll: %s", strerror(errno));
    return TOOL_DONE;
}

void load_conn_close(struct load_conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_destroy(&c->partial);
    buf_destroy(&c->out);
    free(c->unwritten);
    free(c->slots);
    c->unwritten = NULL;
    c->slots = NULL;
}

int load_conn_lost(struct load_worker *w, const struct load_conn *c, int reason)
{
    return err_say(&w->err, TOOL_UNREACHABLE, "the connection to %s broke after %llu replies: %s",
                   c->address, (unsigned long long)(w->result.replies + w->result.refused),
                   strerror(-reason));
}

int load_conn_add(struct load_worker *w, struct load_conn *c, uint32_t slot)
{
    const struct frame_template *t = &c->templates[c->next_template];
    uint32_t at = (c->unwritten_head + c->unwritten_count) % c->window;

    assert(c->unwritten_count < c->window);
    if (!frame_add(&c->out, t, slot, &w->next_id, w->born))
        return -ENOMEM;
    if (w->plan->topics > 1)
        frame_set_topic(&c->out, t, c->next_topic);
    if (++c->next_template == c->template_count) {
        c->next_template = 0;
        c->next_topic = c->next_topic + 1 < w->plan->topics ? c->next_topic + 1 : 0;
    }
    c->slots[slot].size = (uint32_t)t->bytes.len;
    c->unwritten[at] = slot;
    c->unwritten_count++;
    c->in_flight++;
    return 0;
}

/* Frames whose first byte is among the `written` ones keep the time of this write. */
static void take_written(struct load_conn *c, size_t written)
{
    buf_consume(&c->out, written);
    while (written > c->out_begun && c->unwritten_count > 0) {
        uint32_t slot = c->unwritten[c->unwritten_head];

        written -= c->out_begun;
        c->out_begun = c->slots[slot].size;
        if (++c->unwritten_head == c->window)
            c->unwritten_head = 0;
        c->unwritten_count--;
    }
    c->out_begun -= written < c->out_begun ? written : c->out_begun;
}

static int want_write(struct load_worker *w, struct load_conn *c, bool want)
{
    struct epoll_event event = {.events = EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};

    if (want == c->wants_write)
        return 0;
    c->wants_write = want;
    return epoll_ctl(w->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0 ? -errno : 0;
}

int load_conn_flush(struct load_worker *w, struct load_conn *c)
{
    while (c->out.len) {
        int64_t now_ns = clock_mono_ns();
        ssize_t n;

        for (uint32_t i = 0, at = c->unwritten_head; i < c->unwritten_count; i++) {
            c->slots[c->unwritten[at]].written_ns = now_ns;
            if (++at == c->window)
                at = 0;
        }
        n = send(c->fd, buf_at(&c->out), c->out.len, MSG_NOSIGNAL);
        if (n >= 0)
            take_written(c, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            return -errno;
    }
    return want_write(w, c, c->out.len > 0);
}

void load_count_code(struct load_result *result, const struct remoting_frame *reply)
{
    result->refused++;
    if (result->remark[0] == '\0' && reply->remark.len) {
        struct buf text = {0};

        show_text(&text, reply->remark, false);
        snprintf(result->remark, sizeof(result->remark), "%.*s", (int)text.len,
                 (const char *)buf_at(&text));
        buf_destroy(&text);
    }
    for (unsigned i = 0; i < result->code_count; i++) {
        if (result->codes[i].code == reply->code) {
            result->codes[i].replies++;
            return;
        }
    }
    if (result->code_count < LOAD_CODES_MAX)
        result->codes[result->code_count++] = (struct load_code){reply->code, 1};
}

int load_conn_read(struct load_worker *w, struct load_conn *c, load_reply_fn *on_reply)
{
    size_t have = c->partial.len, at = 0;
    int64_t now_ns;
    ssize_t n;

    if (have)
        memcpy(w->read_buf, buf_at(&c->partial), have);
    n = read(c->fd, w->read_buf + have, LOAD_READ_BYTES - have);
    if (n == 0)
        return -ECONNRESET;
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
    now_ns = clock_mono_ns();
    have += (size_t)n;
    buf_reset(&c->partial);
    while (at < have) {
        const char *why;
        size_t size;
        int r = remoting_frame_size(bytes_of(w->read_buf + at, have - at), &size);

        if (r == REMOTING_PARTIAL || (r == 0 && size > have - at))
            break;
        if (r != 0 || remoting_decode(w->read_buf + at, size, &w->frame, &why) != 0)
            return -EPROTO;
        at += size;
        r = on_reply(w, c, now_ns);
        if (r < 0)
            return r;
    }
    if (have - at == LOAD_READ_BYTES)
        return -EMSGSIZE;
    buf_add(&c->partial, w->read_buf + at, have - at);
    return c->partial.failed ? -ENOMEM : 0;
}
