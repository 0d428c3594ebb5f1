/* group_take.c - see group_internal.h. */
#include "broker/replication/group_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

void group_drop_carry(struct peer *p)
{
    p->carry_len = 0;
    p->held = false;
}

/* --- log bytes that come --- */

static bool keep_bytes(struct peer *p, struct bytes b)
{
    if (p->carry_len + b.len > p->carry_cap) {
        size_t cap = p->carry_cap ? p->carry_cap : (size_t)CORE_FRAME_MAX;
        uint8_t *grown;

        while (cap < p->carry_len + b.len)
            cap *= 2;
        grown = realloc(p->carry, cap);
        if (!grown)
            return false;
        p->carry = grown;
        p->carry_cap = cap;
    }
    memcpy(p->carry + p->carry_len, b.at, b.len);
    p->carry_len += b.len;
    return true;
}

static void hold(struct peer *p, int64_t ms)
{
    p->held = true;
    p->held_until = clock_mono_ms() + ms;
}

/* What cannot be taken from this master. */
static void refuse(struct group *g, struct peer *p, const char *why)
{
    snprintf(g->alarm, sizeof(g->alarm), "%.190s", why);
    log_warn_limited(p->member.address, "log bytes from member %u at %s: %s",
                     (unsigned)p->member.id, p->member.address, why);
    group_drop_carry(p);
    hold(p, RETRY_MS);
}

/* Senders wait for it at the master: it goes before more bytes are read. A link that is broken is
 * found so by whatever is sent next. */
static void report_now(struct group *g, struct peer *p)
{
    if (p->out.fd >= 0 && !p->out.blocked)
        (void)link_out_send(&p->out, g->options.store);
}

/* Gives the store what stands in `log`, from the end of the log here on, and the core what of it
 * the store has taken. How many bytes are spent; the rest is to come again. */
static size_t append(struct group *g, struct peer *p, const struct core_message *m,
                     struct bytes log)
{
    struct store *store = g->options.store;
    struct core_message taken = *m;
    struct err err = {0};
    size_t used = 0;
    int r;

    if (store_follow_end(store) != m->offset) {
        refuse(g, p, "they do not go on where the log here ends");
        return log.len;
    }
    r = store_follow(store, m->offset, log, &used, &err);
    if (used > 0) {
        if (g->no_room)
            g->alarm[0] = '\0';
        g->no_room = false;
        taken.size = used;
        core_receive(&g->core, &taken);
        group_run_orders(g);
        g->seen_written = store_follow_end(store);
        g->seen_flushed = store_flushed(store);
        core_log(&g->core, g->seen_written, g->seen_flushed);
        group_run_orders(g);
        report_now(g, p);
    }
    if (r == -EAGAIN) {
        hold(p, MEMORY_MS);
    } else if (r == -ENOSPC) {
        g->no_room = true;
        snprintf(g->alarm, sizeof(g->alarm), "%.190s", err.text);
        log_warn_limited("member without room",
                         "the log of member %u waits: %s; it goes on by itself when there is",
                         (unsigned)p->member.id, err.text);
        hold(p, RETRY_MS);
    } else if (r < 0) {
        refuse(g, p, err.text);
        return log.len;
    }
    return used;
}

/* More of the log has come, or what waits is tried again (an empty `log`). */
static void take_data(struct group *g, struct peer *p, const struct core_message *m,
                      struct bytes log)
{
    struct core_message whole = *m;
    bool carried = p->carry_len > 0;
    size_t used;

    if (g->restarting)
        return;
    if (carried && (m->data_epoch != p->carry_message.data_epoch ||
                    m->offset != g->core.written + p->carry_len)) {
        group_drop_carry(p);
        carried = false;
    }
    if (carried) {
        whole.offset = g->core.written;
        if (!keep_bytes(p, log)) {
            refuse(g, p, "out of memory");
            return;
        }
        log = bytes_of(p->carry, p->carry_len);
    }
    whole.size = log.len;
    switch (core_takes(&g->core, &whole)) {
    case CORE_TAKES:
        break;
    case CORE_TAKES_LATER: /* its epoch is made durable first */
        core_announce(&g->core, &whole);
        group_run_orders(g);
        if (core_takes(&g->core, &whole) == CORE_TAKES)
            break;
        if (!carried && !keep_bytes(p, log)) {
            refuse(g, p, "out of memory");
            return;
        }
        p->carry_message = *m;
        hold(p, MEMORY_MS);
        return;
    default: /* not what comes next: it says so itself */
        group_drop_carry(p);
        core_receive(&g->core, m);
        group_run_orders(g);
        return;
    }
    used = append(g, p, &whole, log);
    if (carried) {
        if (used > p->carry_len)
            used = p->carry_len;
        memmove(p->carry, p->carry + used, p->carry_len - used);
        p->carry_len -= used;
    } else if (used < log.len && !keep_bytes(p, bytes_of(log.at + used, log.len - used))) {
        refuse(g, p, "out of memory");
    }
    p->carry_message = *m;
}

/* What the store had no room for. */
void group_take_held(struct group *g, struct peer *p)
{
    struct core_message m = p->carry_message;

    p->held = false;
    if (p->carry_len == 0)
        return;
    m.offset = g->core.written + p->carry_len;
    m.size = 0;
    take_data(g, p, &m, bytes_of(NULL, 0));
}

/* --- metadata --- */

static bool is_master(const struct group *g, const struct peer *p)
{
    return g->core.role == CORE_FOLLOWING && g->core.master == p->member.id;
}

void group_send_meta_acks(struct group *g)
{
    struct peer *p = group_peer(g, g->core.master);
    uint64_t durable = metadata_durable(g->options.metadata);
    unsigned done = 0;

    while (done < g->ack_count && g->acks[done].sequence <= durable)
        done++;
    if (done == 0)
        return;
    if (p && p->out.fd >= 0 && is_master(g, p))
        group_wire_put_meta_ack(link_out_buf(&p->out), g->acks[done - 1].upto);
    memmove(g->acks, g->acks + done, (g->ack_count - done) * sizeof(g->acks[0]));
    g->ack_count -= done;
}

/* False: come again with the same. */
static bool take_meta(struct group *g, struct peer *p, const struct group_frame *frame)
{
    struct err err = {0};
    uint64_t sequence = 0;
    int r;

    if (!is_master(g, p))
        return true;
    if (frame->begins)
        g->meta_lost = false;
    r = meta_sink_take(g->options.metadata, g->options.store, frame->records, &sequence, &err);
    if (r == -EAGAIN) {
        hold(p, MEMORY_MS);
        return false;
    }
    if (r < 0) {
        log_warn_limited("metadata", "topics, groups or offsets from member %u: %s",
                         (unsigned)p->member.id, err.text);
        if (r != -EBADMSG) {
            hold(p, RETRY_MS);
            return false;
        }
        g->meta_lost = true; /* until a snapshot has it: nothing is acknowledged */
    }
    if (frame->upto == 0 || g->meta_lost)
        return true;
    if (g->ack_count == ACKS_MAX) /* the last one waits for more then */
        g->ack_count--;
    g->acks[g->ack_count++] = (struct meta_ack){sequence, frame->upto};
    return true;
}

void group_publish_meta(struct group *g)
{
    uint64_t copied = UINT64_MAX;

    if (g->options.quorum.copies > 1)
        copied = meta_source_copied(g->source, g->options.quorum.copies - 1);
    if (atomic_exchange(&g->meta_copied, copied) != copied)
        g->options.on_meta_copied(g->options.ctx);
}

/* One frame; false: there is nothing. *upto 0: it is a part of a snapshot. */
static bool put_meta(struct group *g, struct peer *p, uint64_t *upto)
{
    struct buf records = {0};
    bool begins;
    bool any = meta_source_next(g->source, (unsigned)(p - g->peers), &records, &begins, upto);

    if (any)
        group_wire_put_meta(link_out_buf(&p->out), begins, *upto, buf_bytes(&records));
    buf_destroy(&records);
    return any;
}

void group_stream_to(struct group *g, struct peer *p)
{
    uint64_t upto;

    while (p->streams && link_out_is_ready(&p->out) && put_meta(g, p, &upto))
        continue;
}

/* To each that follows: a snapshot, then what changes. */
void group_stream_metadata(struct group *g)
{
    for (unsigned i = 0; i < g->peer_count; i++) {
        struct peer *p = &g->peers[i];
        const struct core_peer *c = group_core_peer(g, p->member.id);
        bool follows = g->core.role == CORE_MASTER && c->following && p->out.fd >= 0;

        if (follows && !p->streams)
            meta_source_begin(g->source, i);
        else if (!follows && p->streams)
            meta_source_end(g->source, i);
        p->streams = follows;
        group_stream_to(g, p);
    }
}

/* A topic's deletion is in the journal before anything can be appended to the next topic of that
 * name, and shall be there first at the follower too; and a busy log must not keep changes back.
 * The tables of who begins may be large: they go beside the log. */
void group_metadata_first(struct group *g, struct peer *p)
{
    uint64_t upto = 1;

    while (p->streams && upto != 0 && put_meta(g, p, &upto))
        continue;
}

/* False: what stands in the link has to wait. */
bool group_take_frame(struct group *g, struct peer *p, const struct group_frame *frame)
{
    struct store *store = g->options.store;

    switch (frame->type) {
    case GROUP_META:
        return take_meta(g, p, frame);
    case GROUP_META_ACK:
        if (g->core.role == CORE_MASTER && p->streams)
            meta_source_acked(g->source, (unsigned)(p - g->peers), frame->upto);
        group_publish_meta(g);
        return true;
    case GROUP_CORE:
        break;
    }
    if (frame->message.from != p->member.id) {
        refuse(g, p, "they name another sender");
        return true;
    }
    if (frame->message.type == CORE_DATA && frame->message.size > 0) {
        take_data(g, p, &frame->message, frame->log);
        return true;
    }
    if (core_deposes(&g->core, &frame->message) && !g->opening) {
        /* Whoever promises says where his log ends: nothing may be added after that. */
        store_close_writes(store);
        core_log(&g->core, store_written(store), store_flushed(store));
        group_run_orders(g);
    }
    core_receive(&g->core, &frame->message);
    group_run_orders(g);
    return true;
}
