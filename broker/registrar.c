/* registrar.c - one thread per name server: see registrar.h. */
#include "broker/registrar.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/registration_body.h"
#include "broker/replication/replication.h"
#include "common/clock.h"
#include "common/crc.h"
#include "common/dial.h"
#include "common/json.h"
#include "common/log.h"
#include "common/rpc.h"

enum {
    SERVERS_MAX = 32,
    RETRY_FIRST_MS = 100,
    RETRY_MAX_MS = 5000,
    UNREGISTER_MS = 500,
    LEAVE_MS = 500, /* for calls under way when it stops */
    WAITS_MAX = 65536,
};

struct registration {
    struct registrar *registrar;
    struct rpc *rpc;
    pthread_t thread;
    int wake_fd;
    bool started;
    uint64_t told;  /* the change this server knows; under the registrar's lock */
    bool reachable; /* answered the last time; likewise */
    bool asked;     /* likewise; registrar_ask() */
    /* thread only */
    bool said_failure;
    uint64_t role; /* what it knows us as: the registrar's `role` then */
    bool knows;    /* it has the whole table, as of `mark`, told over this connection */
    struct topics_mark mark;
};

struct waiting {
    struct waiting *next;
    uint64_t number;
    int64_t due_ms; /* monotonic */
    void (*done)(void *ctx);
    void *ctx;
};

struct registrar {
    struct broker *broker;
    struct loop_timer timer; /* of the first loop */
    pthread_mutex_t lock;
    uint64_t change; /* counts topic changes; 1 at start */
    uint64_t role;   /* counts registrar_role_changed() */
    bool started, stop;
    struct waiting *waits;
    unsigned wait_count;
    struct registration servers[SERVERS_MAX];
    unsigned count;
    unsigned running;     /* threads; under the lock */
    pthread_cond_t ended; /* one of them has */
    int cancel_fd;        /* readable: calls are given up */
};

struct registrar *registrar_new(struct broker *b)
{
    struct registrar *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->cancel_fd = dial_cancel_new(NULL);
    if (r->cancel_fd < 0) {
        free(r);
        return NULL;
    }
    r->broker = b;
    r->change = 1;
    pthread_mutex_init(&r->lock, NULL);
    clock_cond_init(&r->ended);
    return r;
}

/* --- the registration itself --- */

static void take_order_table(struct broker *b, struct bytes body)
{
    struct bytes *names;
    size_t count = 0;
    struct err err;
    json_t *root, *table, *value;
    const char *name;

    if (body.len == 0)
        return;
    root = json_dialect_load(body, &err);
    table = root ? json_object_get(root, "table") : NULL;
    if (!json_is_object(table)) {
        log_warn_limited("order table",
                         "a name server's answer to the registration is malformed%s%s",
                         root ? "" : ": ", root ? "" : err.text);
        json_decref(root);
        return;
    }
    names = calloc(json_object_size(table) + 1, sizeof(*names));
    if (names) {
        json_object_foreach(table, name, value) names[count++] = bytes_str(name);
        /* Name servers need not hear of it at once: routes do not say whether a topic is ordered.
         * And two of them with different tables would keep each other busy. */
        if (metadata_topics_set_order(b->metadata, names, count, NULL) < 0)
            log_warn_limited("order table", "the order table of a name server cannot be taken");
        free(names);
    }
    json_decref(root);
}

/* A slave is told where the master of its group is, when there is one. */
static void take_master(struct broker *b, const struct remoting_frame *reply)
{
    const struct bytes *main = remoting_field(reply, "masterAddr");
    const struct bytes *ha = remoting_field(reply, "haServerAddr");

    if (main && ha)
        replication_master_told(b->replication, *main, *ha);
}

static bool is_slave(const struct registration *s)
{
    return replication_is_slave(s->registrar->broker->replication);
}

static int call_name_server(struct registration *s, int32_t code, struct bytes body,
                            bool same_connection, int timeout_ms, struct remoting_frame *reply,
                            struct err *err)
{
    struct broker *b = s->registrar->broker;
    const struct broker_config *c = &b->settings->config;
    char id[24], crc[16];
    struct rpc_field fields[] = {
        {"brokerName", c->broker_name},
        {"brokerAddr", b->address},
        {"clusterName", c->broker_cluster_name},
        {"brokerId", id},
        {"haServerAddr", b->ha_address},
        {"compressed", "false"},
        {"bodyCrc32", crc},
    };
    bool full = code == REQUEST_REGISTER_BROKER;
    struct rpc_request request = {
        .code = code,
        .same_connection = same_connection,
        .fields = fields,
        .field_count = full ? 7 : 4,
        .body = body,
    };

    snprintf(id, sizeof(id), "%lld", (long long)replication_broker_id(b->replication));
    snprintf(crc, sizeof(crc), "%u", crc31_of(body));
    return rpc_call(s->rpc, &request, timeout_ms, reply, err);
}

/* A name server says 0 to a registration that it does not take because another address holds our
 * id with a newer stateVersion: then there is a remark, and none of the fields. (Those of 5.x leave
 * the remark out; theirs looks like the success of a master.) */
static bool is_outdated(int32_t code, const struct remoting_frame *reply)
{
    return code == REQUEST_REGISTER_BROKER && reply->remark.len > 0 && reply->field_count == 0;
}

/* One request with a body, to be answered with 0. Frees the body. -ESTALE: see is_outdated(). */
static int send_body(struct registration *s, int32_t code, struct buf *body, bool same_connection,
                     struct remoting_frame *reply, struct err *err)
{
    const struct broker_config *c = &s->registrar->broker->settings->config;
    int r;

    if (body->failed)
        r = err_say(err, -ENOMEM, "no memory for the table of topics");
    else
        r = call_name_server(s, code, buf_bytes(body), same_connection,
                             (int)c->register_broker_timeout_mills, reply, err);
    buf_destroy(body);
    if (r == 0 && reply->code != RESPONSE_SUCCESS)
        r = err_say(err, -EPROTO, "it answered code %d: %s", reply->code, SAFE(reply->remark));
    else if (r == 0 && is_outdated(code, reply))
        r = err_say(err, -ESTALE, "%s", SAFE(reply->remark));
    return r;
}

static int32_t permission(const struct broker *b)
{
    return (int32_t)settings_int(b->settings, &b->settings->config.broker_permission);
}

/* Tells the whole table, in as many bodies as it needs. Only the last one has the version of the
 * table: all are different, since a name server overwrites what it has only when the version
 * differs. */
static int tell_all(struct registration *s, struct err *err)
{
    struct broker *b = s->registrar->broker;
    uint64_t since = s->knows ? s->mark.change : UINT64_MAX;
    struct remoting_frame reply;
    struct topics_mark mark;
    uint32_t index = 0, bodies = 0;
    bool more;

    metadata_topics_mark(b->metadata, &mark);
    do {
        struct data_version version = mark.version;
        struct registration_body w;
        struct buf body = {0};
        int r;

        registration_body_begin(&w, permission(b));
        more = metadata_topics_page(b->metadata, &index, since, registration_body_visit, &w);
        if (more)
            version.timestamp -= bodies + 1;
        registration_body_end(&w, &version, &body);
        r = send_body(s, REQUEST_REGISTER_BROKER, &body, bodies > 0, &reply, err);
        if (r < 0)
            return r;
        bodies++;
    } while (more);
    s->knows = true;
    s->mark = mark;
    if (is_slave(s))
        take_master(b, &reply); /* and its topics from there, which ones are ordered too */
    else
        take_order_table(b, reply.body);
    return 0;
}

/* Tells what has changed since the last registration; nothing when nothing has, unless it is said
 * to `ask`. TELL_ALL: that is not enough here. */
enum { TELL_ALL = 1 };
static int tell_changes(struct registration *s, bool ask, struct err *err)
{
    struct broker *b = s->registrar->broker;
    struct remoting_frame reply;
    struct topics_mark mark;
    struct registration_body w;
    struct buf body = {0};
    int r;

    registration_body_begin(&w, permission(b));
    r = metadata_topics_since(b->metadata, s->mark.change, registration_body_visit, &w, &mark);
    registration_body_end(&w, &mark.version, &body);
    if (r != 0 || (mark.change == s->mark.change && !ask)) {
        buf_destroy(&body);
        return r == 0 ? 0 : TELL_ALL;
    }
    r = send_body(s, REQUEST_REGISTER_BROKER, &body, true, &reply, err);
    if (r == 0) {
        s->mark = mark;
        if (is_slave(s))
            take_master(b, &reply);
    }
    return r == -ENOTCONN ? TELL_ALL : r;
}

/* forceRegister=false: asks whether what the name server knows is still so. */
static int compare_version(struct registration *s, struct err *err)
{
    struct remoting_frame reply;
    struct buf body = {0};
    bool changed = true;
    int r;

    registration_version(&s->mark.version, &body);
    r = send_body(s, REQUEST_QUERY_DATA_VERSION, &body, true, &reply, err);
    if (r == -ENOTCONN || r == -EPROTO)
        return TELL_ALL;
    if (r == 0 && (remoting_get_bool(&reply, "changed", &changed) != 0 || changed))
        return TELL_ALL;
    return r;
}

/* Makes the name server know everything up to *number; its period is over when `due`. */
static int bring_up_to_date(struct registration *s, bool due, uint64_t *number, struct err *err)
{
    bool force = s->registrar->broker->settings->config.force_register, asked;
    int r = TELL_ALL;

    pthread_mutex_lock(&s->registrar->lock);
    *number = s->registrar->change;
    asked = s->asked;
    s->asked = false;
    s->knows = s->knows && s->role == s->registrar->role;
    s->role = s->registrar->role;
    pthread_mutex_unlock(&s->registrar->lock);
    if (s->knows && !(due && force))
        r = tell_changes(s, asked || (due && is_slave(s)), err);
    if (r == 0 && due)
        r = compare_version(s, err);
    return r == TELL_ALL ? tell_all(s, err) : r;
}

static int register_once(struct registration *s, bool due, uint64_t *number)
{
    struct err err = {0};
    int r = bring_up_to_date(s, due, number, &err);

    if (r == 0) {
        if (s->said_failure)
            log_info("registered at name server %s again", rpc_address(s->rpc));
        s->said_failure = false;
        return 0;
    }
    s->knows = false;
    if (r == -ESTALE && replication_outdated(s->registrar->broker->replication)) {
        log_warn("name server %s knows a master of this group in a newer epoch (it says: %s)",
                 rpc_address(s->rpc), err.text);
    } else if (r == -ESTALE) {
        const struct broker_config *c = &s->registrar->broker->settings->config;

        log_warn_limited(
            rpc_address(s->rpc),
            "name server %s sends no clients here: another broker holds brokerName %s, "
            "brokerId %lld with a newer epoch (it says: %s). Stop the one of the two "
            "that should not be, or give this one a brokerName of its own",
            rpc_address(s->rpc), c->broker_name,
            (long long)replication_broker_id(s->registrar->broker->replication), err.text);
    } else if (!s->said_failure) {
        log_warn("cannot register at name server %s: %s; trying again", rpc_address(s->rpc),
                 err.text);
    }
    s->said_failure = true;
    return r;
}

/* --- waiting --- */

/* Takes those out of the list whom nothing keeps; under the lock. */
static struct waiting *take_ready(struct registrar *r, int64_t now_ms)
{
    struct waiting *ready = NULL, **at = &r->waits;

    while (*at) {
        struct waiting *w = *at;
        bool keep = false;

        for (unsigned i = 0; i < r->count && !keep; i++)
            keep = r->servers[i].reachable && r->servers[i].told < w->number;
        if (keep && w->due_ms > now_ms && !r->stop) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = ready;
        ready = w;
        r->wait_count--;
    }
    return ready;
}

static void run_ready(struct waiting *ready)
{
    while (ready) {
        struct waiting *w = ready;

        ready = w->next;
        w->done(w->ctx);
        free(w);
    }
}

int registrar_when(struct registrar *r, uint64_t number, void (*done)(void *ctx), void *ctx)
{
    struct waiting *w = malloc(sizeof(*w));
    struct waiting *ready;
    int64_t now = clock_mono_ms();
    bool left;

    if (!w)
        return -ENOMEM;
    pthread_mutex_lock(&r->lock);
    if (r->wait_count >= WAITS_MAX) {
        pthread_mutex_unlock(&r->lock);
        free(w);
        return -ENOMEM;
    }
    *w = (struct waiting){
        .next = r->waits,
        .number = number,
        .due_ms = now + REGISTRAR_WAIT_MS,
        .done = done,
        .ctx = ctx,
    };
    r->waits = w;
    r->wait_count++;
    ready = take_ready(r, now);
    left = r->waits != NULL;
    pthread_mutex_unlock(&r->lock);
    run_ready(ready);
    if (left)
        loop_signal(r->broker->loops[0], BROKER_SIGNAL_REGISTRATION);
    return 0;
}

/* On the first loop: somebody began to wait, or has waited long enough for a name server that
 * hangs. The threads of the name servers may all be at one that does. */
static void on_time(void *ctx)
{
    struct registrar *r = ctx;
    int64_t next = INT64_MAX;
    struct waiting *ready;

    pthread_mutex_lock(&r->lock);
    ready = take_ready(r, clock_mono_ms());
    for (const struct waiting *w = r->waits; w; w = w->next) {
        if (w->due_ms < next)
            next = w->due_ms;
    }
    pthread_mutex_unlock(&r->lock);
    run_ready(ready);
    if (next != INT64_MAX && loop_timer_set(&r->timer, next) < 0)
        log_warn_limited("registrar", "no memory for a timer: answers to changes of topics wait "
                                      "for name servers that hang");
}

void registrar_watch(struct registrar *r, struct loop *loop)
{
    loop_timer_init(&r->timer, loop, on_time, r);
    loop_on_signal(loop, BROKER_SIGNAL_REGISTRATION, on_time, r);
}

static void wake(struct registration *s)
{
    uint64_t one = 1;

    if (write(s->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn_limited("registrar", "cannot wake the thread of name server %s: %s",
                         rpc_address(s->rpc), strerror(errno));
}

uint64_t registrar_changed(struct registrar *r)
{
    uint64_t number;
    bool started;

    pthread_mutex_lock(&r->lock);
    number = ++r->change;
    started = r->started; /* else the first registration has it */
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; started && i < r->count; i++)
        wake(&r->servers[i]);
    return number;
}

void registrar_role_changed(struct registrar *r)
{
    pthread_mutex_lock(&r->lock);
    r->role++;
    pthread_mutex_unlock(&r->lock);
    registrar_changed(r);
}

void registrar_ask(struct registrar *r)
{
    bool ask;

    pthread_mutex_lock(&r->lock);
    ask = r->started && !r->stop; /* until it has started, `count` moves */
    for (unsigned i = 0; ask && i < r->count; i++)
        r->servers[i].asked = true;
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; ask && i < r->count; i++)
        wake(&r->servers[i]);
}

void registrar_status(struct registrar *r, unsigned *current, unsigned *configured)
{
    *current = 0;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->count; i++)
        *current += r->servers[i].reachable && r->servers[i].told == r->change;
    *configured = r->count;
    pthread_mutex_unlock(&r->lock);
}

/* --- the threads --- */

/* Sleeps until something changed, the connection broke, or `until` (monotonic ms). */
static void wait_for_work(struct registration *s, int64_t until)
{
    struct pollfd fds[2] = {{.fd = s->wake_fd, .events = POLLIN},
                            {.fd = rpc_fd(s->rpc), .events = POLLIN}};
    int64_t left = until - clock_mono_ms();
    uint64_t drained;

    if (left < 0)
        left = 0;
    if (poll(fds, fds[1].fd >= 0 ? 2 : 1, (int)left) <= 0)
        return;
    if ((fds[0].revents & POLLIN) && read(s->wake_fd, &drained, sizeof(drained)) < 0 &&
        errno != EAGAIN)
        log_warn_limited("registrar", "eventfd: %s", strerror(errno));
    if (fds[1].fd >= 0 && fds[1].revents)
        rpc_drain(s->rpc); /* closed by the other side: the next registration connects anew */
}

static void note_result(struct registration *s, bool reachable, uint64_t number)
{
    struct registrar *r = s->registrar;
    struct waiting *ready;

    pthread_mutex_lock(&r->lock);
    s->reachable = reachable;
    if (reachable)
        s->told = number;
    ready = take_ready(r, clock_mono_ms());
    pthread_mutex_unlock(&r->lock);
    run_ready(ready);
}

static bool stopping(struct registrar *r)
{
    bool stop;

    pthread_mutex_lock(&r->lock);
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return stop;
}

static bool has_news(struct registration *s)
{
    bool news;

    pthread_mutex_lock(&s->registrar->lock);
    news = s->told != s->registrar->change || s->asked;
    pthread_mutex_unlock(&s->registrar->lock);
    return news;
}

static bool has_new_role(struct registration *s)
{
    bool differs;

    pthread_mutex_lock(&s->registrar->lock);
    differs = s->role != s->registrar->role;
    pthread_mutex_unlock(&s->registrar->lock);
    return differs;
}

static void *server_thread(void *arg)
{
    struct registration *s = arg;
    struct registrar *r = s->registrar;
    int64_t period = r->broker->settings->config.register_name_server_period;
    int64_t retry = RETRY_FIRST_MS, due = INT64_MIN;
    struct remoting_frame reply;

    while (!stopping(r)) {
        uint64_t number;
        bool is_due;
        int result;

        s->knows = s->knows && rpc_fd(s->rpc) >= 0;
        is_due = !s->knows || clock_mono_ms() >= due;
        result = register_once(s, is_due, &number);
        if (result == 0) {
            note_result(s, true, number);
            retry = RETRY_FIRST_MS;
            if (is_due)
                due = clock_mono_ms() + period;
            while (!stopping(r) && !has_news(s) && rpc_fd(s->rpc) >= 0 && clock_mono_ms() < due)
                wait_for_work(s, due);
        } else {
            /* An outdated claim does not become true by itself. */
            int64_t next = clock_mono_ms() + (result == -ESTALE ? period : retry);

            note_result(s, false, 0);
            while (!stopping(r) && !has_new_role(s) && clock_mono_ms() < next)
                wait_for_work(s, next);
            retry = retry * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry * 2;
        }
    }
    if (s->reachable)
        call_name_server(s, REQUEST_UNREGISTER_BROKER, bytes_of(NULL, 0), false, UNREGISTER_MS,
                         &reply, NULL);
    pthread_mutex_lock(&r->lock);
    r->running--;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int registrar_start(struct registrar *r, struct err *err)
{
    char list[sizeof(r->broker->settings->config.namesrv_addr)];
    char *rest = list, *address;

    snprintf(list, sizeof(list), "%s", r->broker->settings->config.namesrv_addr);
    while ((address = strsep(&rest, ";")) != NULL) {
        struct registration *s = &r->servers[r->count];
        int e;

        if (address[0] == '\0')
            continue;
        if (r->count == SERVERS_MAX)
            return err_say(err, -EINVAL, "namesrvAddr names more than %d name servers",
                           SERVERS_MAX);
        e = rpc_new(&s->rpc, address, err);
        if (e < 0)
            return e;
        rpc_cancel_by(s->rpc, r->cancel_fd);
        s->registrar = r;
        s->reachable = true; /* until the first try has failed: a caller waits for it */
        s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->wake_fd < 0) {
            s->rpc = rpc_free(s->rpc);
            return err_set(err, -errno, "make an eventfd");
        }
        r->count++;
    }
    for (unsigned i = 0; i < r->count; i++) {
        int e;

        pthread_mutex_lock(&r->lock);
        e = -pthread_create(&r->servers[i].thread, NULL, server_thread, &r->servers[i]);
        r->running += e == 0;
        pthread_mutex_unlock(&r->lock);
        if (e < 0)
            return err_set(err, e, "start the thread of name server %s",
                           rpc_address(r->servers[i].rpc));
        r->servers[i].started = true;
    }
    pthread_mutex_lock(&r->lock);
    r->started = true;
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < r->count; i++)
        wake(&r->servers[i]); /* a change before this has woken nobody */
    return 0;
}

/* A name server that hangs is not waited for long: clients of a broker that begins again would. */
static void end_calls(struct registrar *r)
{
    int64_t until = clock_mono_ms() + LEAVE_MS;
    struct timespec end = {until / 1000, until % 1000 * 1000000};
    int e = 0;

    pthread_mutex_lock(&r->lock);
    while (r->running > 0 && e == 0)
        e = pthread_cond_timedwait(&r->ended, &r->lock, &end);
    pthread_mutex_unlock(&r->lock);
    if (e != 0)
        dial_cancel(r->cancel_fd);
}

void registrar_stop(struct registrar *r)
{
    struct waiting *ready;

    pthread_mutex_lock(&r->lock);
    r->stop = true;
    ready = take_ready(r, clock_mono_ms());
    pthread_mutex_unlock(&r->lock);
    run_ready(ready);
    for (unsigned i = 0; i < r->count; i++) {
        if (r->servers[i].started)
            wake(&r->servers[i]);
    }
    end_calls(r);
    for (unsigned i = 0; i < r->count; i++) {
        if (r->servers[i].started)
            pthread_join(r->servers[i].thread, NULL);
        r->servers[i].started = false;
    }
}

struct registrar *registrar_free(struct registrar *r)
{
    if (!r)
        return NULL;
    registrar_stop(r);
    for (unsigned i = 0; i < r->count; i++) {
        r->servers[i].rpc = rpc_free(r->servers[i].rpc);
        close(r->servers[i].wake_fd);
    }
    close(r->cancel_fd);
    pthread_cond_destroy(&r->ended);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}
