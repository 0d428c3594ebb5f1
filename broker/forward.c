/* forward.c - see forward.h.
 *
 * Each loop has its own table of requests and its own connection. An entry is either waiting, with
 * its whole frame as it will be sent, or sent, and then only knows whom to answer. While there are
 * entries a timer looks at all of them every LOOK_MS: that is where waits end, lost connections
 * are noticed and new ones are made.
 */
#include "broker/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "broker/dispatch.h"
#include "broker/group_config.h"
#include "broker/service.h"
#include "common/clock.h"
#include "common/dial.h"
#include "common/log.h"

enum {
    LOOK_MS = 20,
    ANSWER_MS = 60000, /* what was sent and is not answered for so long is given up */
    DRAIN_MS = 300,    /* a broker that ends still passes on for so long what comes */
    HOST_TEXT = 64,
    HOPS_MAX = 3, /* the master may change while a request is on its way */
};

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
        bool final;       /* is_final() */
        conn_id sent_on;  /* 0: it waits */
        struct buf frame; /* of one that waits */
    } request;
};
TAILQ_HEAD(entries, entry);

struct forward_loop {
    struct forward *forward;
    struct broker_loop *on;
    struct entry *table; /* FORWARD_REQUESTS_MAX, made when first needed */
    struct entries free, waiting, sent;
    unsigned used;
    int32_t round;
    size_t bytes; /* of the frames that wait */
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

/* --- addresses --- */

static bool look_up(const char *address, bool numeric, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0)};
    struct addrinfo *found = NULL;
    struct dial_address a;

    if (dial_parse(&a, address, NULL) < 0 || getaddrinfo(a.host, a.port, &hints, &found) != 0)
        return false;
    memset(out, 0, sizeof(*out));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static void changed(struct forward *f)
{
    atomic_fetch_add(&f->version, 1);
    atomic_store(&f->broker->passes_on, f->enabled && !f->leads);
    for (unsigned i = 0; i < f->broker->loop_count; i++)
        loop_signal(f->broker->loops[i], BROKER_SIGNAL_FORWARD);
}

/* On a reader: host names. An answer that is not wanted any more is left alone. */
static void look_up_names(void *ctx)
{
    struct forward *f = ctx;
    struct sockaddr_storage at;
    char address[GROUP_ADDRESS_MAX];

    for (unsigned i = 0; i < f->member_count; i++) {
        struct member *m = &f->members[i];

        if (look_up(m->address, true, &at) || !look_up(m->address, false, &at))
            continue;
        pthread_mutex_lock(&f->lock);
        m->at = at;
        pthread_mutex_unlock(&f->lock);
    }
    pthread_mutex_lock(&f->lock);
    memcpy(address, f->address, sizeof(address));
    pthread_mutex_unlock(&f->lock);
    if (address[0] == '\0' || look_up(address, true, &at))
        return;
    if (!look_up(address, false, &at)) {
        log_warn_limited("master",
                         "the host of the master, \"%s\", cannot be looked up: requests "
                         "are not passed on to it",
                         address);
        return;
    }
    pthread_mutex_lock(&f->lock);
    if (strcmp(address, f->address) == 0) {
        f->master = at;
        changed(f);
    }
    pthread_mutex_unlock(&f->lock);
}

static void ask_for_names(struct forward *f)
{
    struct sockaddr_storage at;
    bool named = f->address[0] != '\0' && f->master.ss_family == 0;

    for (unsigned i = 0; i < f->member_count; i++)
        named |= !look_up(f->members[i].address, true, &at);
    if (named && f->broker->store && store_run(f->broker->store, look_up_names, f) < 0)
        log_warn_limited("master", "no reader thread to look up the hosts of the group");
}

void forward_leads(struct forward *f, bool leads)
{
    if (!f->enabled)
        return;
    pthread_mutex_lock(&f->lock);
    f->leads = leads;
    changed(f);
    ask_for_names(f);
    pthread_mutex_unlock(&f->lock);
}

void forward_master(struct forward *f, const char *address)
{
    if (!f->enabled)
        return;
    /* While this member hands over it is still the one that is known. */
    if (strcmp(address, f->own) == 0)
        address = "";
    pthread_mutex_lock(&f->lock);
    snprintf(f->address, sizeof(f->address), "%s", address);
    f->master.ss_family = 0;
    if (f->address[0] != '\0' && !look_up(f->address, true, &f->master))
        ask_for_names(f);
    changed(f);
    pthread_mutex_unlock(&f->lock);
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->ss_family == AF_INET6 && memcmp(&a6->sin6_addr, &b6->sin6_addr, 16) == 0;
}

static bool comes_from_member(const struct call *call)
{
    struct forward *f = call->broker->forward;
    bool member = false;

    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; i < f->member_count && !member; i++)
        member = same_host(&f->members[i].at, &call->peer);
    pthread_mutex_unlock(&f->lock);
    return member;
}

/* "hops ip:port" */
static bool read_mark(struct bytes value, int32_t *hops, struct record_host *host)
{
    struct dial_address a;
    char text[HOST_TEXT];
    char *address;

    *host = (struct record_host){.v6 = false};
    if (!bytes_to_cstr(value, text, sizeof(text)) || (address = strchr(text, ' ')) == NULL ||
        !bytes_to_i32(bytes_of(text, (size_t)(address - text)), hops) || *hops < 1 ||
        *hops > HOPS_MAX || dial_parse(&a, address + 1, NULL) < 0)
        return false;
    host->port = atoi(a.port);
    host->v6 = inet_pton(AF_INET, a.host, host->ip) != 1;
    return !host->v6 || inet_pton(AF_INET6, a.host, host->ip) == 1;
}

static void write_mark(char text[HOST_TEXT], int32_t hops, const struct record_host *host)
{
    char ip[INET6_ADDRSTRLEN] = "";

    inet_ntop(host->v6 ? AF_INET6 : AF_INET, host->ip, ip, sizeof(ip));
    snprintf(text, HOST_TEXT, host->v6 ? "%d [%s]:%d" : "%d %s:%d", (int)hops, ip, (int)host->port);
}

bool forward_born_host(const struct call *call, struct bytes value, struct record_host *host)
{
    struct record_host said;
    int32_t hops;

    if (!call->broker->forward->enabled || !comes_from_member(call) ||
        !read_mark(value, &hops, &said))
        return false;
    *host = said;
    return true;
}

/* --- frames --- */

static void copy_frame(struct buf *out, const struct remoting_frame *frame, int32_t opaque,
                       int32_t flag, const char *mark)
{
    struct remoting_meta meta = {
        .code = frame->code,
        .opaque = opaque,
        .flag = flag,
        .version = frame->version,
        .language = frame->language,
        .serialize = frame->serialize,
        .has_fields = frame->field_count > 0,
        .remark = frame->remark,
    };
    struct remoting_writer w;

    remoting_begin(&w, out, &meta);
    for (unsigned i = 0; i < frame->field_count; i++) {
        if (frame->fields[i].key.len > 0 &&
            !(mark && bytes_is(frame->fields[i].key, FORWARD_BORN_HOST)))
            remoting_put_named(&w, frame->fields[i].key, frame->fields[i].value);
    }
    remoting_put_str(&w, FORWARD_BORN_HOST, mark);
    remoting_body(&w);
    buf_add(out, frame->body.at, frame->body.len);
    remoting_end(&w);
}

/* Not to be passed on: it has been around too long, or somebody says so who is no member. */
static bool is_final(const struct call *call)
{
    const struct bytes *mark = remoting_field(call->frame, FORWARD_BORN_HOST);
    struct record_host host;
    int32_t hops;

    return mark &&
           (!read_mark(*mark, &hops, &host) || hops >= HOPS_MAX || !comes_from_member(call));
}

static void request_frame(struct buf *out, const struct call *call, int32_t opaque, int32_t flag)
{
    const struct bytes *mark = remoting_field(call->frame, FORWARD_BORN_HOST);
    struct record_host host;
    char text[HOST_TEXT];
    int32_t hops = 0;

    /* What has waited has our mark already; what is not passed on keeps the one that it came with.
     */
    if (mark && (call->held_until_ms || is_final(call) || !read_mark(*mark, &hops, &host))) {
        copy_frame(out, call->frame, opaque, flag, NULL);
        return;
    }
    if (!mark)
        call_peer_host(call, &host);
    write_mark(text, hops + 1, &host);
    copy_frame(out, call->frame, opaque, flag, text);
}

/* --- the table --- */

static void count(struct forward_loop *l, int change)
{
    l->used += (unsigned)change;
    atomic_fetch_add(&l->forward->waiting, (uint64_t)(int64_t)change);
}

static bool make_table(struct forward_loop *l)
{
    if (l->table)
        return true;
    l->table = calloc(FORWARD_REQUESTS_MAX, sizeof(*l->table));
    if (!l->table)
        return false;
    for (unsigned i = 0; i < FORWARD_REQUESTS_MAX; i++)
        TAILQ_INSERT_TAIL(&l->free, &l->table[i], next);
    return true;
}

/* NULL: too many. */
static struct entry *entry_new(struct forward_loop *l, const struct forward_request *request)
{
    struct entry *e = make_table(l) ? TAILQ_FIRST(&l->free) : NULL;

    if (!e || l->bytes + request->frame.len > FORWARD_BYTES_MAX)
        return NULL;
    TAILQ_REMOVE(&l->free, e, next);
    l->round = l->round % (INT32_MAX / FORWARD_REQUESTS_MAX - 1) + 1;
    e->opaque = l->round * FORWARD_REQUESTS_MAX + (int32_t)(e - l->table);
    e->request = *request;
    l->bytes += request->frame.len;
    count(l, 1);
    if (!l->look.heap_at)
        loop_timer_set(&l->look, loop_now_ms(l->on->loop) + LOOK_MS);
    return e;
}

static void drop_frame(struct forward_loop *l, struct entry *e)
{
    l->bytes -= e->request.frame.len;
    buf_destroy(&e->request.frame);
    e->request.frame = (struct buf){0};
}

static void entry_free(struct forward_loop *l, struct entries *from, struct entry *e)
{
    drop_frame(l, e);
    TAILQ_REMOVE(from, e, next);
    e->opaque = 0;
    TAILQ_INSERT_HEAD(&l->free, e, next);
    count(l, -1);
}

static void refuse(struct forward_loop *l, const struct reply_to *to, int32_t code,
                   const char *remark)
{
    struct conn *c = to->oneway ? NULL : loop_conn(l->on->loop, to->conn);
    struct remoting_writer w;

    if (!c)
        return;
    reply_begin(&w, conn_out(c), to, code, bytes_str(remark), true);
    remoting_end(&w);
    conn_written(c);
}

#define QUEUE_FULL "the broker is busy: the queue of requests for the master is full"

/* --- the connection --- */

static void take_place(struct forward_loop *l)
{
    struct forward *f = l->forward;

    if (l->version == atomic_load(&f->version))
        return;
    pthread_mutex_lock(&f->lock);
    l->version = atomic_load(&f->version);
    l->leads = f->leads;
    l->master = f->master;
    l->known = !f->leads && f->master.ss_family != 0;
    pthread_mutex_unlock(&f->lock);
}

/* The connection to the master; NULL: it is not known, cannot be reached, or takes no more. One to
 * an earlier master is left to its answers, and ends when it is idle. */
static struct conn *link_to_master(struct forward_loop *l)
{
    int64_t now = loop_now_ms(l->on->loop);
    struct conn *c;
    int r;

    if (!l->known)
        return NULL;
    if (l->link_version != l->version)
        l->link = 0;
    c = l->link ? loop_conn(l->on->loop, l->link) : NULL;
    if (!c && now - l->dialled_ms >= LOOK_MS) {
        unsigned lost_ms = (unsigned)l->on->broker->settings->config.forward_wait_millis;

        l->dialled_ms = now;
        l->link_version = l->version;
        l->link_up = false;
        r = conn_dial(l->forward->dialler, l->on->loop, &l->master, l->forward->source, lost_ms,
                      &l->link);
        if (r < 0) {
            l->link = 0;
            log_warn_limited("to the master", "connect to the master, to pass requests on: %s",
                             strerror(-r));
        }
        c = r == 0 ? loop_conn(l->on->loop, l->link) : NULL;
    }
    /* What is given to a connection counts as sent: not before it stands. */
    if (c && !l->link_up)
        l->link_up = conn_is_connected(c);
    return c && l->link_up && !conn_is_full(c) ? c : NULL;
}

static void now_sent(struct forward_loop *l, struct entry *e, struct conn *c)
{
    atomic_fetch_add_explicit(&l->forward->forwarded, 1, memory_order_relaxed);
    conn_written(c);
    if (e->request.to.oneway) {
        entry_free(l, &l->sent, e);
        return;
    }
    drop_frame(l, e);
    e->request.sent_on = conn_id_of(c);
    e->request.until_ms = loop_now_ms(l->on->loop) + ANSWER_MS;
}

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

    l->bytes -= request.frame.len;
    e->request.frame = (struct buf){0};
    entry_free(l, &l->waiting, e);
    if (!request.copy && (call.conn || request.to.oneway) &&
        remoting_decode(buf_at(&request.frame), request.frame.len, &frame, &why) == 0)
        dispatch_run(&call, request.handler);
    buf_destroy(&request.frame);
}

static void send_waiting(struct forward_loop *l)
{
    struct entry *e, *next;
    struct conn *c;

    for (e = TAILQ_FIRST(&l->waiting); e; e = next) {
        next = TAILQ_NEXT(e, next);
        if (e->request.final)
            continue;
        c = link_to_master(l);
        if (!c)
            return;
        /* Made for another opaque: it is decoded and written anew, as the answers are. */
        struct remoting_frame frame;
        const char *why;
        struct buf *out = conn_out(c);

        if (remoting_decode(buf_at(&e->request.frame), e->request.frame.len, &frame, &why) != 0) {
            entry_free(l, &l->waiting, e);
            continue;
        }
        copy_frame(out, &frame, e->opaque, frame.flag, NULL);
        if (out->failed) {
            conn_close(c, "no memory for what is passed on");
            entry_free(l, &l->waiting, e);
            return;
        }
        TAILQ_REMOVE(&l->waiting, e, next);
        TAILQ_INSERT_TAIL(&l->sent, e, next);
        now_sent(l, e, c);
    }
}

static void run_all_here(struct forward_loop *l)
{
    /* What has to wait again comes to the end of the list. */
    for (unsigned n = l->used; n > 0 && !TAILQ_EMPTY(&l->waiting); n--)
        run_here(l, TAILQ_FIRST(&l->waiting));
}

static void expire(struct forward_loop *l)
{
    int64_t now = loop_now_ms(l->on->loop);
    struct entry *e, *next;

    for (e = TAILQ_FIRST(&l->sent); e; e = next) {
        next = TAILQ_NEXT(e, next);
        if (!loop_conn(l->on->loop, e->request.sent_on))
            refuse(l, &e->request.to, RESPONSE_SERVICE_NOT_AVAILABLE,
                   "the connection to the master was lost before it answered; it may have done "
                   "what was asked");
        else if (now >= e->request.until_ms)
            refuse(l, &e->request.to, RESPONSE_SERVICE_NOT_AVAILABLE,
                   "the master did not answer; it may have done what was asked");
        else
            continue;
        entry_free(l, &l->sent, e);
    }
    /* Without a master nobody waits for one while the broker ends for good. */
    bool ends =
        broker_is_draining(l->on->broker) && !broker_wants_restart(l->on->broker) && !l->known;
    for (unsigned n = l->used; n > 0; n--) {
        for (e = TAILQ_FIRST(&l->waiting);
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

    take_place(l);
    if (l->leads)
        run_all_here(l);
    else
        send_waiting(l);
    expire(l);
    if (l->used > 0)
        loop_timer_set(&l->look, loop_now_ms(l->on->loop) + LOOK_MS);
}

static void on_answer(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct forward *f = ctx;
    struct forward_loop *l = &f->loops[loop_index(conn_loop(c))];
    struct entry *e = l->table ? &l->table[(uint32_t)frame->opaque % FORWARD_REQUESTS_MAX] : NULL;
    struct conn *client;
    conn_id id;

    if (!e || e->opaque == 0 || e->opaque != frame->opaque || e->request.sent_on != conn_id_of(c))
        return; /* given up, or a copy that nobody waits for */
    id = e->request.to.conn;
    client = loop_conn(l->on->loop, id);
    if (client) {
        copy_frame(conn_out(client), frame, e->request.to.opaque, frame->flag, NULL);
        if (conn_out(client)->failed)
            conn_close(client, "no memory for its replies");
        else
            conn_written(client);
    }
    entry_free(l, &l->sent, e);
    if (!client || !broker_is_draining(l->on->broker))
        return;
    /* Between two requests is when a client loses nothing with its connection. */
    TAILQ_FOREACH(e, &l->sent, next)
    {
        if (e->request.to.conn == id)
            return;
    }
    TAILQ_FOREACH(e, &l->waiting, next)
    {
        if (e->request.to.conn == id)
            return;
    }
    conn_close(client, NULL);
}

/* Our own port, or somebody who takes us for a server. */
static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    (void)ctx;
    (void)frame;
    conn_close(c, "the master sends requests where answers belong");
}

static const struct remoting_handler from_master = {
    .request = on_request,
    .response = on_answer,
};

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

    /* One that begins again ends with its connections: those who asked try the next one. */
    if (!broker_is_draining(l->on->broker) || broker_wants_restart(l->on->broker))
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

    take_place(l);
    if (l->leads || !fits(call->frame) || (request.final && l->known) || !takes_more(l))
        return false;
    if (!request.final && TAILQ_EMPTY(&l->waiting))
        c = link_to_master(l);
    if (!c)
        request_frame(&request.frame, call, 0, call->frame->flag);
    if (request.frame.failed) {
        buf_destroy(&request.frame);
        return false;
    }
    e = entry_new(l, &request);
    if (!e) {
        buf_destroy(&request.frame);
        call_refuse(call, RESPONSE_SYSTEM_BUSY, "%s", QUEUE_FULL);
        return true;
    }
    if (!c) {
        TAILQ_INSERT_TAIL(&l->waiting, e, next);
        return true;
    }
    TAILQ_INSERT_TAIL(&l->sent, e, next);
    request_frame(conn_out(c), call, e->opaque, call->frame->flag);
    if (conn_out(c)->failed) {
        conn_close(c, "no memory for what is passed on");
        entry_free(l, &l->sent, e);
        return false;
    }
    now_sent(l, e, c);
    return true;
}

void forward_copy(const struct call *call)
{
    struct forward_loop *l = &call->broker->forward->loops[loop_index(call->on->loop)];
    struct forward_request request;
    struct entry *e;

    take_place(l);
    if (!fits(call->frame) || is_final(call) || broker_is_draining(call->broker))
        return;
    request = request_of(call);
    request.copy = request.to.oneway = true;
    request_frame(&request.frame, call, 0, call->frame->flag | REMOTING_FLAG_ONEWAY);
    e = l->known && !request.frame.failed ? entry_new(l, &request) : NULL;
    if (!e) {
        buf_destroy(&request.frame);
        return;
    }
    TAILQ_INSERT_TAIL(&l->waiting, e, next);
    send_waiting(l);
}

/* A request on its way from a reader to its loop. */
static void insert(struct forward_loop *l, struct forward_request *request)
{
    struct entry *e = entry_new(l, request);

    if (e) {
        TAILQ_INSERT_TAIL(&l->waiting, e, next);
        return;
    }
    buf_destroy(&request->frame);
    refuse(l, &request->to, RESPONSE_SYSTEM_BUSY, QUEUE_FULL);
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

    if (!f->enabled || !fits(call->frame) ||
        (broker_is_draining(call->broker) && !broker_wants_restart(call->broker)))
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

unsigned forward_waiting(const struct broker_loop *on)
{
    return on->broker->forward->loops[loop_index(on->loop)].used;
}

/* --- life --- */

struct forward *forward_new(struct broker *b)
{
    const struct broker_config *c = &b->settings->config;
    struct forward *f = calloc(1, sizeof(*f));
    struct group_list list = {.count = 0};

    if (!f || conn_dialler_new(&f->dialler, &from_master, f) < 0) {
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
        look_up(list.members[i].address, true, &f->members[i].at);
        if (list.members[i].id == c->member_id)
            f->own = f->members[i].address;
    }
    for (unsigned i = 0; i < b->loop_count; i++) {
        struct forward_loop *l = &f->loops[i];

        l->forward = f;
        l->on = &b->on[i];
        l->dialled_ms = INT64_MIN / 2;
        TAILQ_INIT(&l->free);
        TAILQ_INIT(&l->waiting);
        TAILQ_INIT(&l->sent);
        loop_timer_init(&l->look, b->loops[i], look, l);
        loop_on_signal(b->loops[i], BROKER_SIGNAL_FORWARD, look, l);
    }
    atomic_store(&b->passes_on, f->enabled);
    return f;
}

void forward_start(struct forward *f)
{
    pthread_mutex_lock(&f->lock);
    ask_for_names(f);
    pthread_mutex_unlock(&f->lock);
}

struct forward *forward_free(struct forward *f)
{
    if (!f)
        return NULL;
    for (unsigned i = 0; i < LOOP_MAX; i++) {
        for (unsigned n = 0; f->loops[i].table && n < FORWARD_REQUESTS_MAX; n++)
            buf_destroy(&f->loops[i].table[n].request.frame);
        free(f->loops[i].table);
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
