/* consumer.c - see consumer.h: the connections, and what is done when.
 *
 * A pull carries its queue's index as its opaque, so an answer finds its queue without a table; all
 * other requests count upward from OTHER_OPAQUE. A connection that breaks is made anew every
 * second, and its queues then go on where they were.
 */
#include "tools/consumer_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tools/show.h"
#include "tools/tags.h"

enum {
    HEARTBEAT_MS = 30000,
    ROUTE_MS = 30000,
    COMMIT_MS = 5000,
    RECONNECT_MS = 1000,
    HOLD_MS = 15000,    /* how long a broker may keep a pull that finds nothing */
    SILENCE_MS = 40000, /* a pull unanswered for longer: the connection is dead */
    BUSY_MS = 100,      /* pause after a broker that is busy */
    FAILED_MS = 1000,   /* pause after a pull that failed */
    FAILURES_MAX = 10,  /* in a row */
    LEAVE_MS = 3000,
    BATCH = 32,
    OTHER_OPAQUE = 1 << 30,
    FILL_BYTES = 256 * 1024,
    BROKERS_MAX = 1024,
};
enum { PULL_SUSPEND = 2, PULL_SUBSCRIPTION = 4, FLOW_CONTROL = 215 };

static void note(struct consumer *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct consumer *c, const char *format, ...)
{
    char text[600];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->sink.note(c->sink.ctx, text);
}

/* ---- requests ---- */

static void begin(struct consumer *c, struct consumer_broker *b, struct remoting_writer *w,
                  int32_t code, int32_t opaque, bool fields)
{
    struct remoting_meta meta = {
        .code = code,
        .opaque = opaque ? opaque : OTHER_OPAQUE + (int32_t)(c->requests++ & 0xffffff),
        .version = REMOTING_VERSION,
        .language = REMOTING_OTHER,
        .has_fields = fields,
    };

    remoting_begin(w, &b->link.out, &meta);
}

static void add_heartbeat(struct consumer *c, struct consumer_broker *b, int64_t now_ms)
{
    struct remoting_writer w;

    begin(c, b, &w, REQUEST_HEART_BEAT, 0, false);
    remoting_body(&w);
    consumer_heartbeat_body(c, &b->link.out);
    remoting_end(&w);
    b->heartbeat_ms = now_ms + HEARTBEAT_MS;
}

static void add_unregister(struct consumer *c, struct consumer_broker *b)
{
    struct remoting_writer w;

    begin(c, b, &w, REQUEST_UNREGISTER_CLIENT, 0, true);
    remoting_put_str(&w, "clientID", c->client_id);
    remoting_put_str(&w, "consumerGroup", c->group);
    remoting_end(&w);
    b->answers_due++;
}

static void add_pull(struct consumer *c, struct consumer_broker *b, size_t index, int64_t now_ms)
{
    struct consumer_queue *q = &c->queues[index];
    struct remoting_writer w;

    begin(c, b, &w, REQUEST_PULL_MESSAGE, (int32_t)index + 1, true);
    remoting_put_str(&w, "consumerGroup", c->group);
    remoting_put_str(&w, "topic", c->topic);
    remoting_put_i64(&w, "queueId", q->id);
    remoting_put_i64(&w, "queueOffset", q->next);
    remoting_put_i64(&w, "maxMsgNums", BATCH);
    remoting_put_i64(&w, "sysFlag", PULL_SUSPEND | PULL_SUBSCRIPTION);
    remoting_put_i64(&w, "commitOffset", 0);
    remoting_put_i64(&w, "suspendTimeoutMillis", HOLD_MS);
    remoting_put_str(&w, "subscription", c->tags);
    remoting_put_i64(&w, "subVersion", c->version_ms);
    remoting_put_str(&w, "expressionType", "TAG");
    remoting_end(&w);
    q->pulling = true;
    q->since_ms = now_ms;
}

static void add_commits(struct consumer *c, struct consumer_broker *b)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        struct consumer_queue *q = &c->queues[i];
        struct remoting_writer w;

        if (&c->brokers[q->broker] != b || q->done == q->committed)
            continue;
        begin(c, b, &w, REQUEST_UPDATE_CONSUMER_OFFSET, 0, true);
        remoting_put_str(&w, "consumerGroup", c->group);
        remoting_put_str(&w, "topic", c->topic);
        remoting_put_i64(&w, "queueId", q->id);
        remoting_put_i64(&w, "commitOffset", q->done);
        remoting_end(&w);
        q->committed = q->done;
        b->answers_due++;
    }
}

/* ---- connections ---- */

static void lose(struct consumer *c, struct consumer_broker *b, int reason, int64_t now_ms)
{
    char why[SHOW_ERRNO_MAX];

    link_close(&b->link);
    b->retry_ms = now_ms + RECONNECT_MS;
    b->answers_due = 0;
    if (!b->complained)
        note(c, "lost broker %s at %s (%s); trying again every second", b->name, b->address,
             show_errno(why, reason));
    b->complained = true;
    for (size_t i = 0; i < c->queue_count; i++) {
        struct consumer_queue *q = &c->queues[i];

        if (&c->brokers[q->broker] != b)
            continue;
        q->pulling = false;
        q->committed = CONSUMER_UNKNOWN; /* whether the last one arrived is not known */
    }
}

static int connect_broker(struct consumer *c, struct consumer_broker *b, int64_t now_ms,
                          struct err *err)
{
    int r =
        link_open(&b->link, b->address, client_only_loopback(c->client), CLIENT_TIMEOUT_MS, err);

    if (r < 0)
        return r;
    if (b->complained)
        note(c, "broker %s at %s is back", b->name, b->address);
    b->complained = false;
    add_heartbeat(c, b, now_ms);
    return 0;
}

static void reconnect(struct consumer *c, struct consumer_broker *b, int64_t now_ms)
{
    struct err why = {0};
    int r = connect_broker(c, b, now_ms, &why);

    if (r < 0)
        lose(c, b, r, clock_mono_ms());
}

/* ---- routes ---- */

static struct consumer_broker *broker_for(struct consumer *c, const struct route_broker *from,
                                          bool *added)
{
    struct consumer_broker *grown, *b;

    *added = false;
    for (size_t i = 0; i < c->broker_count; i++) {
        if (strcmp(c->brokers[i].name, from->name) == 0)
            return &c->brokers[i];
    }
    grown = c->broker_count < BROKERS_MAX
                ? realloc(c->brokers, (c->broker_count + 1) * sizeof(*c->brokers))
                : NULL;
    if (!grown)
        return NULL;
    c->brokers = grown;
    b = &grown[c->broker_count];
    *b =
        (struct consumer_broker){.name = strdup(from->name), .address = strdup(route_reader(from))};
    link_init(&b->link);
    c->broker_count++;
    *added = true;
    return b->name && b->address ? b : NULL;
}

static bool has_queue(const struct consumer *c, size_t broker, int32_t id)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        if (c->queues[i].broker == broker && c->queues[i].id == id)
            return true;
    }
    return false;
}

static int add_queues(struct consumer *c, struct consumer_broker *b, int32_t count,
                      enum consumer_from from, struct err *err)
{
    size_t broker = (size_t)(b - c->brokers);

    for (int32_t id = 0; id < count; id++) {
        struct consumer_queue *grown;
        int64_t start = 0;
        int r;

        if (has_queue(c, broker, id))
            continue;
        r = consumer_start_offset(c, b, id, from, &start, err);
        if (r != TOOL_DONE)
            return r;
        grown = realloc(c->queues, (c->queue_count + 1) * sizeof(*c->queues));
        if (!grown)
            return err_say(err, TOOL_REFUSED, "out of memory");
        c->queues = grown;
        grown[c->queue_count++] = (struct consumer_queue){
            .broker = broker,
            .id = id,
            .next = start,
            .done = start,
            /* a place that was asked for is stored, one that was stored already is not again */
            .committed = from == CONSUMER_FROM_STORED ? start : CONSUMER_UNKNOWN};
    }
    return TOOL_DONE;
}

static int move_broker(struct consumer_broker *b, const char *address)
{
    char *copy;

    if (strcmp(b->address, address) == 0)
        return 0;
    copy = strdup(address);
    if (!copy)
        return -ENOMEM;
    free(b->address);
    b->address = copy;
    return 1;
}

/* Takes brokers and queues that are new. Queues that appear later are read from their start. */
static int take_route(struct consumer *c, const struct route *route, enum consumer_from from,
                      struct err *err)
{
    int r = TOOL_DONE;

    for (size_t i = 0; i < route->count && r == TOOL_DONE; i++) {
        const struct route_broker *rb = &route->brokers[i];
        struct consumer_broker *b;
        bool added;

        if (!rb->serves || !(rb->perm & ROUTE_READ) || !route_reader(rb))
            continue;
        b = broker_for(c, rb, &added);
        if (!b)
            return err_say(err, TOOL_REFUSED, "out of memory");
        if (added)
            r = consumer_check_group(c, b, err);
        else if (move_broker(b, route_reader(rb)) > 0 && b->link.fd >= 0)
            lose(c, b, -ESTALE, clock_mono_ms());
        if (r == TOOL_DONE)
            r = add_queues(c, b, rb->read_queues, from, err);
    }
    return r;
}

static void refresh_route(struct consumer *c)
{
    struct route route = {0};
    struct err why = {0};

    /* Name servers may be away for a while; what is known goes on. */
    if (client_route(c->client, c->topic, &route, &why) == TOOL_DONE &&
        take_route(c, &route, CONSUMER_FROM_STORED, &why) != TOOL_DONE)
        note(c, "%s", why.text);
    route_destroy(&route);
}

/* ---- answers ---- */

static int take_messages(struct consumer *c, struct consumer_queue *q, struct bytes body,
                         struct err *err)
{
    const struct consumer_broker *b = &c->brokers[q->broker];
    int64_t done = q->done;

    while (body.len && !c->ended) {
        struct record record;

        if (record_decode(body, &record) != 0)
            return err_say(err, TOOL_REFUSED,
                           "broker %s at %s sent a message that cannot be read, queue %d near "
                           "offset %lld",
                           b->name, b->address, q->id, (long long)done);
        if (c->sink.message(c->sink.ctx, &record, b->name) == CONSUMER_ENOUGH)
            c->ended = true;
        done = record.queue_offset + 1;
        body = bytes_of(body.at + record.total_size, body.len - record.total_size);
    }
    if (c->sink.flush(c->sink.ctx))
        q->done = done;
    else
        c->ended = true;
    return TOOL_DONE;
}

static int pull_failed(struct consumer *c, struct consumer_queue *q,
                       const struct remoting_frame *reply, int64_t now_ms, struct err *err)
{
    const struct consumer_broker *b = &c->brokers[q->broker];
    char whom[192], doing[192];

    if (reply->code == RESPONSE_SYSTEM_BUSY || reply->code == FLOW_CONTROL) {
        q->not_before_ms = now_ms + BUSY_MS;
        return TOOL_DONE;
    }
    if (reply->code == RESPONSE_SYSTEM_ERROR && ++q->failures < FAILURES_MAX) {
        q->not_before_ms = now_ms + FAILED_MS;
        return TOOL_DONE;
    }
    snprintf(whom, sizeof(whom), "broker %.120s", b->name);
    snprintf(doing, sizeof(doing), "read topic %s, queue %d", c->topic, q->id);
    return client_refused(b->address, whom, doing, reply, err);
}

static int on_pull(struct consumer *c, struct consumer_queue *q, const struct remoting_frame *reply,
                   int64_t now_ms, struct err *err)
{
    int64_t next = q->next;
    int r = TOOL_DONE;

    q->pulling = false;
    remoting_get_i64(reply, "nextBeginOffset", &next);
    switch (reply->code) {
    case RESPONSE_SUCCESS:
        r = take_messages(c, q, reply->body, err);
        break;
    case RESPONSE_PULL_NOT_FOUND:
    case RESPONSE_PULL_RETRY_IMMEDIATELY:
        break;
    case RESPONSE_PULL_OFFSET_MOVED:
        note(c, "broker %s, queue %d: offset %lld is not there any more; going on at %lld",
             c->brokers[q->broker].name, q->id, (long long)q->next, (long long)next);
        break;
    default:
        return pull_failed(c, q, reply, now_ms, err);
    }
    q->failures = 0;
    if (r != TOOL_DONE || c->ended)
        return r;
    q->next = q->done = next; /* beyond what the broker has filtered out, too */
    return TOOL_DONE;
}

static int on_frame(struct consumer *c, struct consumer_broker *b,
                    const struct remoting_frame *frame, int64_t now_ms, struct err *err)
{
    if (!remoting_is_response(frame))
        return TOOL_DONE; /* a new member of the group, a reset: nothing to do with us */
    if (frame->opaque > 0 && (size_t)frame->opaque <= c->queue_count) {
        struct consumer_queue *q = &c->queues[frame->opaque - 1];

        if (q->pulling && &c->brokers[q->broker] == b)
            return on_pull(c, q, frame, now_ms, err);
        return TOOL_DONE;
    }
    if (b->answers_due > 0)
        b->answers_due--;
    return TOOL_DONE;
}

/* ---- the turn ---- */

static int read_broker(struct consumer *c, struct consumer_broker *b, int64_t now_ms,
                       struct err *err)
{
    struct remoting_frame *frame = &c->frame;
    ssize_t n = link_fill(&b->link, FILL_BYTES);
    int r = TOOL_DONE;

    while (n > 0 && r == TOOL_DONE && !c->ended) {
        int got = link_next(&b->link, frame);

        if (got == LINK_PARTIAL)
            return TOOL_DONE;
        if (got < 0)
            n = got;
        else
            r = on_frame(c, b, frame, now_ms, err);
    }
    if (n < 0)
        lose(c, b, (int)n, now_ms);
    return r;
}

static void drive_queues(struct consumer *c, int64_t now_ms)
{
    for (size_t i = 0; i < c->queue_count; i++) {
        struct consumer_queue *q = &c->queues[i];
        struct consumer_broker *b = &c->brokers[q->broker];

        if (b->link.fd < 0)
            continue;
        if (q->pulling && now_ms - q->since_ms > SILENCE_MS)
            lose(c, b, -ETIMEDOUT, now_ms);
        else if (!q->pulling && now_ms >= q->not_before_ms)
            add_pull(c, b, i, now_ms);
    }
}

static void drive(struct consumer *c, int64_t now_ms)
{
    bool commit = now_ms >= c->commit_ms;

    if (now_ms >= c->route_ms) {
        refresh_route(c);
        c->route_ms = now_ms + ROUTE_MS;
    }
    if (commit)
        c->commit_ms = now_ms + COMMIT_MS;
    for (size_t i = 0; i < c->broker_count; i++) {
        struct consumer_broker *b = &c->brokers[i];

        if (b->link.fd < 0 && now_ms >= b->retry_ms)
            reconnect(c, b, now_ms);
        if (b->link.fd < 0)
            continue;
        if (commit)
            add_commits(c, b);
        if (now_ms >= b->heartbeat_ms)
            add_heartbeat(c, b, now_ms);
    }
    drive_queues(c, now_ms);
    for (size_t i = 0; i < c->broker_count; i++) {
        int r = c->brokers[i].link.fd >= 0 ? link_flush(&c->brokers[i].link) : 0;

        if (r < 0)
            lose(c, &c->brokers[i], r, now_ms);
    }
}

/* Something is due now and then even if nothing comes. */
static int wait_time(const struct consumer *c, int wait_ms)
{
    int limit = 1000;

    for (size_t i = 0; i < c->queue_count; i++) {
        if (!c->queues[i].pulling && c->brokers[c->queues[i].broker].link.fd >= 0)
            limit = BUSY_MS;
    }
    return wait_ms < limit ? wait_ms : limit;
}

int consumer_turn(struct consumer *c, int wait_ms, int wake_fd, struct err *err)
{
    struct pollfd *polls;
    int n, r = TOOL_DONE;

    drive(c, clock_mono_ms());
    polls = realloc(c->polls, (c->broker_count + 1) * sizeof(*polls));
    if (!polls)
        return err_say(err, TOOL_REFUSED, "out of memory");
    c->polls = polls;
    for (size_t i = 0; i < c->broker_count; i++) {
        const struct link *l = &c->brokers[i].link;

        polls[i] =
            (struct pollfd){.fd = l->fd, .events = (short)(POLLIN | (l->out.len ? POLLOUT : 0))};
    }
    polls[c->broker_count] = (struct pollfd){.fd = wake_fd, .events = POLLIN};
    n = poll(polls, c->broker_count + 1, wait_time(c, wait_ms));
    if (n < 0 && errno != EINTR)
        return err_say(err, TOOL_REFUSED, "poll: %s", strerror(errno));
    for (size_t i = 0; n > 0 && i < c->broker_count && r == TOOL_DONE && !c->ended; i++) {
        if (polls[i].revents & (POLLIN | POLLERR | POLLHUP))
            r = read_broker(c, &c->brokers[i], clock_mono_ms(), err);
    }
    return r;
}

bool consumer_ended(const struct consumer *c)
{
    return c->ended;
}

/* ---- coming and going ---- */

static void consumer_free(struct consumer *c)
{
    for (size_t i = 0; i < c->broker_count; i++) {
        link_close(&c->brokers[i].link);
        free(c->brokers[i].name);
        free(c->brokers[i].address);
    }
    free(c->brokers);
    free(c->queues);
    free(c->polls);
    free(c);
}

int consumer_new(struct consumer **out, struct client *client,
                 const struct consumer_options *options, struct err *err)
{
    struct consumer *c = calloc(1, sizeof(*c));
    struct route route = {0};
    int64_t now_ms = clock_mono_ms();
    int r;

    if (!c)
        return err_say(err, TOOL_REFUSED, "out of memory");
    c->client = client;
    c->topic = options->topic;
    c->group = options->group;
    c->tags = tags_take_all(options->tags) ? "*" : options->tags;
    c->join = options->join;
    c->sink = options->sink;
    c->version_ms = clock_wall_ms();
    c->route_ms = now_ms + ROUTE_MS;
    c->commit_ms = now_ms + COMMIT_MS;
    consumer_make_id(c);
    r = client_route(client, c->topic, &route, err);
    if (r == TOOL_DONE)
        r = take_route(c, &route, options->from, err);
    route_destroy(&route);
    if (r == TOOL_DONE && c->queue_count == 0)
        r = err_say(err, TOOL_REFUSED, "topic %s has no queue that may be read at the moment",
                    c->topic);
    for (size_t i = 0; i < c->broker_count && r == TOOL_DONE; i++) {
        if (connect_broker(c, &c->brokers[i], now_ms, err) < 0)
            r = TOOL_UNREACHABLE;
    }
    if (r != TOOL_DONE) {
        consumer_free(c);
        return r;
    }
    *out = c;
    return TOOL_DONE;
}

static unsigned answers_due(const struct consumer *c)
{
    unsigned due = 0;

    for (size_t i = 0; i < c->broker_count; i++)
        due += c->brokers[i].answers_due;
    return due;
}

int consumer_leave(struct consumer *c, struct err *err)
{
    int64_t deadline_ms = clock_mono_ms() + LEAVE_MS;
    unsigned due;
    bool lost = false;

    for (size_t i = 0; i < c->broker_count; i++) {
        if (c->brokers[i].link.fd < 0)
            continue;
        add_commits(c, &c->brokers[i]);
        add_unregister(c, &c->brokers[i]);
        /* late answers to pulls are not wanted any more */
    }
    for (size_t i = 0; i < c->queue_count; i++)
        c->queues[i].pulling = false;
    c->ended = false;
    while ((due = answers_due(c)) > 0 && clock_mono_ms() < deadline_ms) {
        for (size_t i = 0; i < c->broker_count; i++) {
            struct consumer_broker *b = &c->brokers[i];
            struct pollfd p = {.fd = b->link.fd,
                               .events = (short)(POLLIN | (b->link.out.len ? POLLOUT : 0))};

            if (b->link.fd < 0 || b->answers_due == 0)
                continue;
            int r = link_flush(&b->link);
            if (r < 0)
                lose(c, b, r, clock_mono_ms());
            else if (poll(&p, 1, 100) > 0)
                read_broker(c, b, clock_mono_ms(), err);
        }
    }
    for (size_t i = 0; i < c->queue_count; i++)
        lost = lost || c->queues[i].committed != c->queues[i].done;
    consumer_free(c);
    if (due > 0 || lost)
        return err_say(err, TOOL_UNREACHABLE,
                       "not all offsets could be stored: some messages will come again");
    return TOOL_DONE;
}
