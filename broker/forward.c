/* forward.c - see forward.h. Requests: they come, and wait, and end here or at the master.
 *
 * Each loop has its own table of requests and its own connection. An entry is either waiting, with
 * its whole frame as it will be sent, or sent, and then only knows whom to answer. While there are
 * entries a timer looks at all of them every LOOK_MS: that is where waits end, lost connections
 * are noticed and new ones are made.
 */
#include "broker/forward_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/dispatch.h"
#include "broker/forward_frame.h"
#include "broker/group_config.h"
#include "broker/service.h"
#include "common/clock.h"

enum { DRAIN_MS = 300 }; /* a broker that ends still passes on for so long what comes */

#define NO_ANSWER "the master did not answer; it may have done what was asked"
#define QUEUE_FULL "the broker is busy: the queue of requests for the master is full"

/* --- frames --- */

bool forward_born_host(const struct call *call, struct bytes value, struct record_host *host)
{
    struct record_host said;
    int32_t hops;

    if (!call->broker->forward->enabled || !forward_comes_from_member(call) ||
        !forward_mark_read(value, &hops, &said))
        return false;
    *host = said;
    return true;
}

/* Not to be passed on: it has been around too long, or somebody says so who is no member. */
static bool is_final(const struct call *call)
{
    const struct bytes *mark = remoting_field(call->frame, FORWARD_BORN_HOST);
    struct record_host host;
    int32_t hops;

    return mark && (!forward_mark_read(*mark, &hops, &host) || hops >= FORWARD_HOPS_MAX ||
                    !forward_comes_from_member(call));
}

static void request_frame(struct buf *out, const struct call *call, int32_t opaque, int32_t flag)
{
    const struct bytes *mark = remoting_field(call->frame, FORWARD_BORN_HOST);
    struct record_host host;
    char text[FORWARD_MARK_TEXT];
    int32_t hops = 0;

    /* What has waited has our mark already; what is not passed on keeps the one that it came with.
     */
    if (mark &&
        (call->held_until_ms || is_final(call) || !forward_mark_read(*mark, &hops, &host))) {
        forward_frame_copy(out, call->frame, opaque, flag, NULL);
        return;
    }
    if (!mark)
        call_peer_host(call, &host);
    forward_mark_write(text, hops + 1, &host);
    forward_frame_copy(out, call->frame, opaque, flag, text);
}

/* --- waits --- */

/* Carries a request out here. */
static void run_here(struct forward_loop *l, struct entry *e)
{
    struct broker_loop *on = l->on;
    struct forward_request request = e->request;
    struct remoting_frame frame;
    const char *why;
    struct call call = {
        .broker = on->broker,
        .on = on,
        .conn = loop_conn(on->loop, request.to.conn),
        .frame = &frame,
        .to = request.to,
        .peer = request.peer,
        .main_port = request.main_port,
        .held_until_ms = request.until_ms,
        .held_final = request.final,
    };

    l->requests.bytes -= request.frame.len;
    e->request.frame = (struct buf){0};
    forward_entry_free(l, &l->requests.waiting, e);
    if (!request.copy && (call.conn || request.to.oneway) &&
        remoting_decode(buf_at(&request.frame), request.frame.len, &frame, &why) == 0)
        dispatch_run(&call, request.handler);
    buf_destroy(&request.frame);
}

static void run_all_here(struct forward_loop *l)
{
    /* What has to wait again comes to the end of the list. */
    for (unsigned n = l->requests.used; n > 0 && !TAILQ_EMPTY(&l->requests.waiting); n--)
        run_here(l, TAILQ_FIRST(&l->requests.waiting));
}

static void expire(struct forward_loop *l)
{
    int64_t now = loop_now_ms(l->on->loop);
    struct entry *e, *next;

    for (e = TAILQ_FIRST(&l->requests.sent); e; e = next) {
        next = TAILQ_NEXT(e, next);
        if (!loop_conn(l->on->loop, e->request.sent_on))
            forward_refuse(
                l, &e->request.to, RESPONSE_SERVICE_NOT_AVAILABLE,
                "the connection to the master was lost before it answered; it may have done "
                "what was asked");
        else if (now >= e->request.until_ms)
            forward_refuse(l, &e->request.to, RESPONSE_SERVICE_NOT_AVAILABLE, NO_ANSWER);
        else
            continue;
        forward_entry_free(l, &l->requests.sent, e);
    }
    /* Without a master nobody waits for one while the broker ends for good. */
    bool ends = broker_is_ending(l->on->broker) && !l->known;
    for (unsigned n = l->requests.used; n > 0; n--) {
        for (e = TAILQ_FIRST(&l->requests.waiting);
             e && now < e->request.until_ms && !ends && !(e->request.final && l->known);)
            e = TAILQ_NEXT(e, next);
        if (!e)
            break;
        e->request.until_ms = now;
        run_here(l, e);
    }
}

static void look(void *ctx)
{
    struct forward_loop *l = ctx;

    forward_take_place(l);
    if (l->leads)
        run_all_here(l);
    else
        forward_send_waiting(l);
    expire(l);
    if (l->requests.used > 0)
        loop_timer_set(&l->look, loop_now_ms(l->on->loop) + LOOK_MS);
}

/* --- requests --- */

static struct forward_request request_of(const struct call *call)
{
    int64_t wait_ms = call->broker->settings->config.forward_wait_millis;

    return (struct forward_request){
        .to = call->to,
        .peer = call->peer,
        .handler = handler_find(call->frame->code),
        .until_ms = call->held_until_ms ? call->held_until_ms : clock_mono_ms() + wait_ms,
        .main_port = call->main_port,
        .final = call->held_until_ms ? call->held_final : is_final(call),
    };
}

static bool fits(const struct remoting_frame *frame)
{
    return frame->field_count < REMOTING_FIELDS_MAX; /* one of ours comes to them */
}

/* A broker that ends waits for those that it has. */
static bool takes_more(struct forward_loop *l)
{
    int64_t now = loop_now_ms(l->on->loop);

    /* One that begins again leaves them to the next. */
    if (!broker_is_ending(l->on->broker))
        return true;
    if (l->draining_ms == 0)
        l->draining_ms = now;
    return l->known && now - l->draining_ms < DRAIN_MS;
}

bool forward_take(struct call *call)
{
    struct forward_loop *l = &call->broker->forward->loops[loop_index(call->on->loop)];
    struct forward_request request = request_of(call);
    struct conn *c = NULL;
    struct entry *e;

    forward_take_place(l);
    if (l->leads || !fits(call->frame) || (request.final && l->known) || !takes_more(l))
        return false;
    if (!request.final && TAILQ_EMPTY(&l->requests.waiting))
        c = forward_link_to_master(l);
    if (!c)
        request_frame(&request.frame, call, 0, call->frame->flag);
    if (request.frame.failed) {
        buf_destroy(&request.frame);
        return false;
    }
    e = forward_entry_new(l, &request);
    if (!e) {
        buf_destroy(&request.frame);
        call_refuse(call, RESPONSE_SYSTEM_BUSY, "%s", QUEUE_FULL);
        return true;
    }
    if (!c) {
        TAILQ_INSERT_TAIL(&l->requests.waiting, e, next);
        return true;
    }
    TAILQ_INSERT_TAIL(&l->requests.sent, e, next);
    request_frame(conn_out(c), call, e->opaque, call->frame->flag);
    if (conn_out(c)->failed) {
        conn_close(c, "no memory for what is passed on");
        forward_entry_free(l, &l->requests.sent, e);
        return false;
    }
    forward_now_sent(l, e, c);
    return true;
}

void forward_copy(const struct call *call)
{
    struct forward_loop *l = &call->broker->forward->loops[loop_index(call->on->loop)];
    struct forward_request request;
    struct entry *e;

    forward_take_place(l);
    if (!fits(call->frame) || is_final(call) || broker_is_draining(call->broker))
        return;
    request = request_of(call);
    request.copy = request.to.oneway = true;
    request_frame(&request.frame, call, 0, call->frame->flag | REMOTING_FLAG_ONEWAY);
    e = l->known && !request.frame.failed ? forward_entry_new(l, &request) : NULL;
    if (!e) {
        buf_destroy(&request.frame);
        return;
    }
    TAILQ_INSERT_TAIL(&l->requests.waiting, e, next);
    forward_send_waiting(l);
}

/* A request on its way from a reader to its loop. */
static void insert(struct forward_loop *l, struct forward_request *request)
{
    struct entry *e = forward_entry_new(l, request);

    if (e) {
        TAILQ_INSERT_TAIL(&l->requests.waiting, e, next);
        return;
    }
    buf_destroy(&request->frame);
    forward_refuse(l, &request->to, RESPONSE_SYSTEM_BUSY, QUEUE_FULL);
}

static void arrived(struct loop_message *message)
{
    struct forward_request *request = message->p;

    insert(message->ctx, request);
    free(request);
}

bool forward_hold(const struct call *call)
{
    struct forward *f = call->broker->forward;
    struct forward_loop *l;
    struct forward_request request, *moved;

    if (!f->enabled || !fits(call->frame) || broker_is_ending(call->broker))
        return false;
    l = &f->loops[conn_loop_index(call->to.conn)];
    request = request_of(call);
    if (clock_mono_ms() >= request.until_ms)
        return false;
    request_frame(&request.frame, call, 0, call->frame->flag);
    if (!request.frame.failed && call->on) {
        insert(l, &request);
        return true;
    }
    moved = request.frame.failed ? NULL : malloc(sizeof(*moved));
    if (moved) {
        *moved = request;
        if (loop_post(l->on->loop, &(struct loop_message){.run = arrived, .ctx = l, .p = moved}) ==
            0)
            return true;
        free(moved);
    }
    buf_destroy(&request.frame);
    return false;
}

bool forward_owes(const struct broker_loop *on)
{
    return on->broker->forward->loops[loop_index(on->loop)].requests.used > 0;
}

/* --- life --- */

struct forward *forward_new(struct broker *b)
{
    const struct broker_config *c = &b->settings->config;
    struct forward *f = calloc(1, sizeof(*f));
    struct group_list list = {.count = 0};

    if (!f || conn_dialler_new(&f->dialler, &forward_from_master, f) < 0) {
        free(f);
        return NULL;
    }
    f->broker = b;
    f->enabled = group_is_set(c) && c->forward_wait_millis > 0 &&
                 group_list_parse(&list, c->group_members, NULL) == 0;
    f->source = c->bind_address;
    pthread_mutex_init(&f->lock, NULL);
    atomic_init(&f->version, 1);
    f->member_count = list.count;
    f->own = "";
    for (unsigned i = 0; i < list.count; i++) {
        memcpy(f->members[i].address, list.members[i].address, sizeof(f->members[i].address));
        f->members[i].at = b->settings->kept.members[i];
        forward_look_up(list.members[i].address, true, &f->members[i].at);
        if (list.members[i].id == c->member_id)
            f->own = f->members[i].address;
    }
    for (unsigned i = 0; i < b->loop_count; i++) {
        struct forward_loop *l = &f->loops[i];

        l->forward = f;
        l->on = &b->on[i];
        l->dialled_ms = INT64_MIN / 2;
        forward_requests_init(&l->requests);
        loop_timer_init(&l->look, b->loops[i], look, l);
        loop_on_signal(b->loops[i], BROKER_SIGNAL_FORWARD, look, l);
    }
    atomic_store(&b->passes_on, f->enabled);
    return f;
}

struct forward *forward_free(struct forward *f)
{
    if (!f)
        return NULL;
    for (unsigned i = 0; i < LOOP_MAX; i++) {
        forward_requests_destroy(&f->loops[i].requests);
        free(f->loops[i].kept);
    }
    conn_dialler_free(f->dialler);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

void forward_stats(const struct forward *f, struct forward_stats *out)
{
    out->forwarded = atomic_load(&f->forwarded);
    out->waiting = atomic_load(&f->waiting);
}
