/* ha_slave.c - see ha_slave.h. */
#include "broker/replication/ha_slave.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/replication/ha_frames.h"
#include "common/clock.h"
#include "common/dial.h"
#include "common/log.h"

enum {
    READ_BYTES = 256 * 1024,
    CONNECT_MS = 3000,
    ASK_MS = 3000,        /* an answer of the master's main port */
    RETRY_FIRST_MS = 100, /* then doubling up to haSendHeartbeatInterval */
    TROUBLE_FIRST_MS = 1000,
    TROUBLE_MAX_MS = 60000, /* between tries that an operator has to make succeed */
    LASTED_MS = 1000,       /* a connection that did is made again at once when it is lost */
    ROOM_MS = 200,          /* a store without room is tried again; */
    MEMORY_MS = 10,         /* one whose flusher has to make some, sooner */
    KEEP_MS = 10000,        /* what is here already has to be kept by then */
    REPORT_BYTES = 8,
    SAID_MS = 60000, /* complaints of one kind: so many lines in so much time, none twice */
    SAID_MAX = 3,
};

enum complaint { SAID_UNREACHABLE, SAID_LOST, SAID_APART, SAID_BAD, SAID_FOLLOWS, SAID_KINDS };

const char *const ha_slave_state_names[] = {
    "no master known", "connecting", "following",      "waiting for room",
    "logs apart",      "bad bytes",  "writes stopped",
};

struct ha_slave {
    struct ha_slave_options options;
    pthread_t thread;
    int wake_fd;
    int cancel_fd; /* readable: to stop */
    _Atomic bool stop;
    _Atomic bool called;
    _Atomic uint64_t want_kept; /* wake when so much is kept; UINT64_MAX: do not */
    /* The thread's own. */
    int fd;          /* -1: not connected */
    struct rpc *rpc; /* the master's main port */
    struct ha_frames frames;
    uint8_t *in;  /* READ_BYTES */
    uint8_t *log; /* bytes of the log that arrived and are not taken */
    size_t log_len, log_cap;
    bool empty;      /* nothing has come to stand in the store yet */
    bool flows;      /* a frame has come over this connection */
    bool no_room;    /* the store has refused what is in `log` */
    int64_t room_ms; /* when it is tried again */
    uint8_t out[REPORT_BYTES];
    unsigned out_left;
    uint64_t reported;
    int64_t since_ms, read_ms, report_ms;
    int64_t retry_ms, wait_ms; /* when to connect again; how long that was waited for */
    struct said {
        char text[512];
        int64_t ms; /* of the first line that counts */
        unsigned lines;
    } said[SAID_KINDS];
    /* For others. */
    pthread_mutex_t lock; /* leaf: for `status` */
    struct ha_slave_status status;
    _Atomic uint64_t master_end;
    _Atomic bool master_is_member;
};

/* --- what others see --- */

static void set_state(struct ha_slave *h, enum ha_slave_state state)
{
    pthread_mutex_lock(&h->lock);
    h->status.state = state;
    pthread_mutex_unlock(&h->lock);
}

void ha_slave_status(struct ha_slave *h, struct ha_slave_status *out)
{
    pthread_mutex_lock(&h->lock);
    *out = h->status;
    pthread_mutex_unlock(&h->lock);
    out->master_end = atomic_load(&h->master_end);
    out->master_is_member = atomic_load(&h->master_is_member);
    if (out->silent_ms >= 0)
        out->silent_ms = clock_mono_ms() - out->silent_ms;
}

/* What it has said last counts, also when that is less than before: it may be another master. */
void ha_slave_heard(struct ha_slave *h, const struct ha_master_log *log)
{
    atomic_store(&h->master_end, log->written);
    atomic_store(&h->master_is_member, log->member);
}

static void note_frame(struct ha_slave *h, uint64_t end)
{
    uint64_t known = atomic_load(&h->master_end);

    while (end > known && !atomic_compare_exchange_weak(&h->master_end, &known, end))
        ;
    pthread_mutex_lock(&h->lock);
    h->status.frames++;
    pthread_mutex_unlock(&h->lock);
}

static void note_bytes(struct ha_slave *h, size_t bytes)
{
    pthread_mutex_lock(&h->lock);
    h->status.bytes += bytes;
    h->status.silent_ms = h->read_ms;
    pthread_mutex_unlock(&h->lock);
}

/* --- waking --- */

static void wake(struct ha_slave *h)
{
    uint64_t one = 1;

    if (write(h->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn_limited("slave", "eventfd: %s", strerror(errno));
}

void ha_slave_progress(struct ha_slave *h)
{
    uint64_t want = atomic_load(&h->want_kept);

    if (want != UINT64_MAX && store_kept(h->options.store) >= want &&
        atomic_exchange(&h->want_kept, UINT64_MAX) != UINT64_MAX)
        wake(h);
}

void ha_slave_call(struct ha_slave *h)
{
    atomic_store(&h->called, true);
    wake(h);
}

/* Waits for the socket (when there is one and `events` are wanted), a call, or the time. True: the
 * socket is ready. */
static bool wait_for(struct ha_slave *h, short events, int64_t until_ms)
{
    struct pollfd fds[2] = {{.fd = h->wake_fd, .events = POLLIN},
                            {.fd = events ? h->fd : -1, .events = events}};
    int64_t left = until_ms - clock_mono_ms();
    uint64_t drained;
    int n;

    if (left < 0)
        left = 0;
    n = poll(fds, 2, left > 3600000 ? 3600000 : (int)left);
    if (n < 0 && errno != EINTR)
        log_warn_limited("slave", "poll: %s", strerror(errno));
    if (n > 0 && (fds[0].revents & POLLIN) && read(h->wake_fd, &drained, sizeof(drained)) < 0 &&
        errno != EAGAIN)
        log_warn_limited("slave", "eventfd: %s", strerror(errno));
    return n > 0 && fds[1].revents != 0;
}

/* --- the connection --- */

static void say(struct ha_slave *h, enum complaint kind, const char *text)
{
    struct said *said = &h->said[kind];
    int64_t now = clock_mono_ms();
    bool again = strcmp(said->text, text) == 0;

    if (said->lines == 0 || now - said->ms >= SAID_MS) {
        said->ms = now;
        said->lines = 0;
        again = false;
    }
    if (again || said->lines >= SAID_MAX)
        return;
    said->lines++;
    snprintf(said->text, sizeof(said->text), "%s", text);
    if (kind == SAID_FOLLOWS)
        log_info("%s", text);
    else
        log_warn("%s", text);
}

static void disconnect(struct ha_slave *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    h->log_len = 0;
    h->out_left = 0;
    h->no_room = false;
    atomic_store(&h->want_kept, UINT64_MAX);
    pthread_mutex_lock(&h->lock);
    h->status.silent_ms = -1;
    h->status.reported = 0;
    pthread_mutex_unlock(&h->lock);
}

/* The next try: after `first` ms, then twice as long each time up to `most`. */
static void wait_longer(struct ha_slave *h, int64_t first, int64_t most)
{
    h->wait_ms = h->wait_ms * 2 < first ? first : h->wait_ms * 2;
    if (h->wait_ms > most)
        h->wait_ms = most;
    h->retry_ms = clock_mono_ms() + h->wait_ms;
}

/* The connection is lost, or given up for a reason that may pass. One over which frames came for a
 * while is made again at once. */
static void lose(struct ha_slave *h, const char *why)
{
    char text[512];

    snprintf(text, sizeof(text), "replication from master %.160s: %.300s", h->status.master.ha,
             why);
    say(h, SAID_LOST, text);
    set_state(h, HA_SLAVE_CONNECTING);
    disconnect(h);
    if (h->flows && clock_mono_ms() - h->since_ms >= LASTED_MS)
        h->retry_ms = 0;
    else
        wait_longer(h, RETRY_FIRST_MS, h->options.heartbeat_ms);
    h->flows = false;
}

/* Nothing that comes by itself: an operator has to look at it. */
static void give_up(struct ha_slave *h, enum ha_slave_state state, const char *text)
{
    int64_t first = h->options.heartbeat_ms;

    say(h, state == HA_SLAVE_APART ? SAID_APART : SAID_BAD, text);
    set_state(h, state);
    pthread_mutex_lock(&h->lock);
    h->status.trouble = state;
    h->status.trouble_with = h->status.master;
    pthread_mutex_unlock(&h->lock);
    disconnect(h);
    h->flows = false;
    wait_longer(h, first < TROUBLE_FIRST_MS ? first : TROUBLE_FIRST_MS, TROUBLE_MAX_MS);
}

/* --- reports --- */

/* So much is here and kept. The unused rest of a segment is as safe as what stands before it. */
static uint64_t reportable(const struct ha_slave *h)
{
    struct store *store = h->options.store;
    uint64_t kept = store_kept(store);

    return kept >= store_end(store) ? store_follow_end(store) : kept;
}

static void send_out(struct ha_slave *h)
{
    while (h->out_left > 0) {
        ssize_t n = send(h->fd, h->out + REPORT_BYTES - h->out_left, h->out_left, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            lose(h, strerror(errno));
            return;
        }
        h->out_left -= (unsigned)n;
    }
}

static void report(struct ha_slave *h, uint64_t offset, int64_t now)
{
    if (h->out_left == REPORT_BYTES || h->out_left == 0) { /* else the last one goes out first */
        store_be64(h->out, offset);
        h->out_left = REPORT_BYTES;
        h->reported = offset;
        h->report_ms = now;
        pthread_mutex_lock(&h->lock);
        h->status.reported = offset;
        pthread_mutex_unlock(&h->lock);
    }
    send_out(h);
}

/* What is new, or that nothing is when it is time. */
static void keep_reporting(struct ha_slave *h, int64_t now)
{
    struct store *store = h->options.store;
    uint64_t offset = reportable(h);

    if (offset > h->reported || now - h->report_ms >= h->options.heartbeat_ms)
        report(h, offset > h->reported ? offset : h->reported, now);
    if (h->fd < 0)
        return;
    /* By what was looked at above: what has been kept since is still to be reported. */
    if (offset >= store_follow_end(store)) {
        atomic_store(&h->want_kept, UINT64_MAX);
        return;
    }
    atomic_store(&h->want_kept, offset + 1);
    ha_slave_progress(h); /* it may have been reached before anybody was asked to say so */
}

/* --- what the master sends --- */

static void stop_following(struct ha_slave *h, const char *why)
{
    char text[512];

    snprintf(text, sizeof(text), "replication from master %.160s ends: %.300s", h->status.master.ha,
             why);
    say(h, SAID_BAD, text);
    set_state(h, HA_SLAVE_STOPPED);
    disconnect(h);
    h->retry_ms = INT64_MAX;
}

/* What has arrived cannot be taken. */
static void refuse(struct ha_slave *h, int r, const struct err *err)
{
    char text[512];

    h->flows = false; /* not at once again */
    if (r != -EBADMSG) {
        lose(h, err->text);
        return;
    }
    snprintf(text, sizeof(text),
             "replication from master %.120s: %.240s; nothing from there on is taken. Should that "
             "not pass, look whether the master's store is damaged (ternctl store verify)",
             h->status.master.ha, err->text);
    give_up(h, HA_SLAVE_BAD, text);
}

/* Gives what has arrived to the store. */
static void append(struct ha_slave *h, int64_t now)
{
    struct store *store = h->options.store;
    struct topics_mark before, after;
    struct err err = {0};
    size_t taken = 0;
    int r;

    metadata_topics_mark(h->options.metadata, &before);
    r = store_follow(store, store_follow_end(store), bytes_of(h->log, h->log_len), &taken, &err);
    metadata_topics_mark(h->options.metadata, &after);
    if (after.change !=
        before.change) /* a topic that came with its messages is not configured yet */
        h->options.on_news(h->options.ctx);
    if (taken > 0) {
        h->log_len -= taken;
        memmove(h->log, h->log + taken, h->log_len);
    }
    if (r == -EAGAIN || r == -ENOSPC) {
        if (!h->no_room)
            set_state(h, HA_SLAVE_WAITING);
        if (r == -ENOSPC)
            log_warn_limited("slave without room",
                             "replication from master %s waits: %s; it goes on by itself when "
                             "there is",
                             h->status.master.ha, err.text);
        h->no_room = true;
        h->room_ms = now + (r == -EAGAIN ? MEMORY_MS : ROOM_MS);
        return;
    }
    if (h->no_room) {
        h->no_room = false;
        h->read_ms = now; /* it was not listened to */
        set_state(h, HA_SLAVE_FOLLOWING);
    }
    if (r == 0 && h->log_len + READ_BYTES > h->log_cap) {
        r = -EBADMSG;
        err_say(&err, r,
                "a record larger than this broker takes begins at %" PRIu64
                "; raise maxMessageSize to that of the master",
                store_follow_end(store));
    }
    if (r == -EIO || store_stopped(store, NULL)) {
        stop_following(h, r == -EIO ? err.text : "the store takes no more writes");
    } else if (r < 0) {
        if (taken > 0)
            keep_reporting(h, now);
        refuse(h, r, &err);
    }
}

/* An empty store begins where the master does. Negative with err. */
static int begin(struct ha_slave *h, const struct ha_piece *frame, struct err *err)
{
    struct store *store = h->options.store;
    int r;

    if (!h->empty || store_follow_end(store) == frame->offset)
        return 0;
    if (store_follow_end(store) != 0)
        return err_say(err, -ENOTEMPTY,
                       "a frame at log offset %" PRIu64 ", the log begins at %" PRIu64,
                       frame->offset, store_follow_end(store));
    r = store_begin_at(store, frame->offset, err);
    if (r == 0) {
        h->frames.next = frame->offset;
        log_info("replication from master %s: the log begins at %" PRIu64, h->status.master.ha,
                 frame->offset);
    }
    return r;
}

/* A frame's header has come. */
static bool take_frame(struct ha_slave *h, const struct ha_piece *frame)
{
    struct err err = {0};
    char text[512];

    if (begin(h, frame, &err) < 0) {
        snprintf(text, sizeof(text), "replication from master %.120s: %.340s", h->status.master.ha,
                 err.text);
        give_up(h, HA_SLAVE_BAD, text);
        return false;
    }
    if (!h->flows) {
        h->flows = true;
        h->options.on_news(h->options.ctx);
    }
    note_frame(h, frame->offset + (uint64_t)frame->size);
    return true;
}

/* Takes frames apart; false when the connection is gone. */
static bool take_bytes(struct ha_slave *h, struct bytes in)
{
    struct ha_piece piece;
    char why[160];

    for (;;) {
        switch (ha_frames_next(&h->frames, &in, &piece)) {
        case HA_MORE:
            return true;
        case HA_FRAME:
            if (!take_frame(h, &piece))
                return false;
            break;
        case HA_BODY:
            memcpy(h->log + h->log_len, piece.bytes.at, piece.bytes.len);
            h->log_len += piece.bytes.len;
            h->empty = false;
            break;
        case HA_WRONG_OFFSET:
            snprintf(why, sizeof(why),
                     "a frame at log offset %" PRIu64 " came, %" PRIu64 " is next", piece.offset,
                     h->frames.next);
            h->flows = false; /* not at once again */
            lose(h, why);
            return false;
        case HA_WRONG_SIZE:
            snprintf(why, sizeof(why), "a frame of %d bytes came at log offset %" PRIu64,
                     piece.size, piece.offset);
            h->flows = false;
            lose(h, why);
            return false;
        }
    }
}

static void read_some(struct ha_slave *h, int64_t now)
{
    ssize_t n = recv(h->fd, h->in, READ_BYTES, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        lose(h, n < 0 ? strerror(errno) : "it has closed the connection");
        return;
    }
    h->read_ms = now;
    note_bytes(h, (size_t)n);
    assert(h->log_len + (size_t)n <= h->log_cap);
    if (!take_bytes(h, bytes_of(h->in, (size_t)n)))
        return;
    if (h->log_len > 0)
        append(h, now);
}

/* One wait and what it brings, while connected. */
static void follow(struct ha_slave *h)
{
    int64_t now = clock_mono_ms(), silent = h->read_ms + h->options.housekeeping_ms;
    int64_t due = h->report_ms + h->options.heartbeat_ms;
    short events = (short)((h->no_room ? 0 : POLLIN) | (h->out_left > 0 ? POLLOUT : 0));
    bool ready;

    if (h->no_room) {
        due = h->room_ms < due ? h->room_ms : due;
        /* A closed connection is noticed when it is read from again. */
    } else if (silent < due) {
        due = silent;
    }
    ready = wait_for(h, events, due);
    now = clock_mono_ms();
    if (store_stopped(h->options.store, NULL)) { /* nothing is acknowledged any more */
        stop_following(h, "the store takes no more writes");
        return;
    }
    if (h->flows && now - h->since_ms >= LASTED_MS)
        h->wait_ms = 0; /* whatever trouble there was is over */
    if (ready && h->out_left > 0)
        send_out(h);
    if (ready && h->fd >= 0 && !h->no_room)
        read_some(h, now);
    if (h->fd >= 0 && h->no_room && now >= h->room_ms)
        append(h, now);
    if (h->fd >= 0)
        keep_reporting(h, now);
    if (h->fd >= 0 && !h->no_room && now >= h->read_ms + h->options.housekeeping_ms)
        lose(h, "nothing came from it for haHousekeepingInterval");
}

/* --- beginning --- */

/* Before the first report: what is reported is what is streamed from, so all of it has to be kept.
 */
static int keep_all(struct ha_slave *h, struct err *err)
{
    struct store *store = h->options.store;
    int64_t until = clock_mono_ms() + KEEP_MS;

    while (store_kept(store) < store_end(store) && !atomic_load(&h->stop)) {
        if (store_stopped(store, NULL) || clock_mono_ms() > until)
            return err_say(err, -ETIMEDOUT, "what is here is not flushed yet");
        atomic_store(&h->want_kept, store_end(store));
        ha_slave_progress(h);
        (void)wait_for(h, 0, until);
    }
    atomic_store(&h->want_kept, UINT64_MAX);
    return 0;
}

static int probe(struct ha_slave *h, struct ha_start *start, struct err *err)
{
    struct ha_master_log log;
    int r = keep_all(h, err);

    if (r < 0)
        return r;
    r = ha_probe(h->options.store, h->options.store_dir, h->rpc, h->options.whole, ASK_MS, &log,
                 start, err);
    if (r < 0)
        return r;
    ha_slave_heard(h, &log);
    /* The first message may have been fetched. */
    return r == 0 ? keep_all(h, err) : r;
}

static void start_frames(struct ha_slave *h, const struct ha_start *start)
{
    size_t max = store_record_max(h->options.store);
    int64_t now = clock_mono_ms();
    char text[512];

    ha_frames_init(&h->frames, start->next, max > HA_FRAME_MAX ? (uint32_t)max : HA_FRAME_MAX);
    h->empty = store_end(h->options.store) == store_min(h->options.store);
    h->read_ms = h->since_ms = now;
    h->flows = false;
    set_state(h, HA_SLAVE_FOLLOWING);
    pthread_mutex_lock(&h->lock);
    h->status.connections++;
    h->status.silent_ms = now;
    h->status.trouble = HA_SLAVE_NO_MASTER;
    pthread_mutex_unlock(&h->lock);
    snprintf(text, sizeof(text), "following master %.300s from log offset %" PRIu64 " on",
             h->status.master.ha, start->report);
    say(h, SAID_FOLLOWS, text);
    report(h, start->report, now);
}

static int dial_master(struct ha_slave *h, struct err *err)
{
    const struct ha_master_place *place = &h->status.master;
    struct dial_address address;
    int r = dial_parse(&address, place->ha, err);

    if (r < 0)
        return r;
    if (place->main[0] == '\0')
        return err_say(err, -EAGAIN, "the main port of master %s is not known yet", place->ha);
    if (h->rpc && strcmp(rpc_address(h->rpc), place->main) != 0)
        h->rpc = rpc_free(h->rpc);
    if (!h->rpc) {
        r = rpc_new(&h->rpc, place->main, err);
        if (r < 0)
            return r;
        rpc_cancel_by(h->rpc, h->cancel_fd);
    }
    r = dial(&address,
             &(struct dial_options){.source = h->options.source,
                                    .deadline_ms = clock_mono_ms() + CONNECT_MS,
                                    .cancel_fd = h->cancel_fd},
             err);
    if (r < 0)
        return r;
    h->fd = r;
    return 0;
}

static void try_to_follow(struct ha_slave *h)
{
    struct ha_master_place place = {0};
    struct ha_start start;
    struct err err = {0};
    char text[512];
    int r;

    if (!h->options.find_master(h->options.ctx, &place)) {
        set_state(h, HA_SLAVE_NO_MASTER);
        h->options.ask(h->options.ctx);
        wait_longer(h, RETRY_FIRST_MS, h->options.heartbeat_ms);
        return;
    }
    pthread_mutex_lock(&h->lock);
    h->status.master = place; /* read by this thread without the lock */
    pthread_mutex_unlock(&h->lock);
    r = dial_master(h, &err);
    if (r == 0)
        r = probe(h, &start, &err);
    if (atomic_load(&h->stop))
        return;
    if (r == 0) {
        start_frames(h, &start);
        return;
    }
    if (r == HA_APART) {
        give_up(h, HA_SLAVE_APART, err.text);
        return;
    }
    snprintf(text, sizeof(text), "cannot follow master %.120s: %.340s; trying again", place.ha,
             err.text);
    say(h, SAID_UNREACHABLE, text);
    disconnect(h);
    set_state(h, HA_SLAVE_CONNECTING);
    h->options.ask(h->options.ctx);
    wait_longer(h, RETRY_FIRST_MS, h->options.heartbeat_ms);
}

static void *slave_main(void *arg)
{
    struct ha_slave *h = arg;

    while (!atomic_load(&h->stop)) {
        if (h->fd >= 0) {
            follow(h);
            continue;
        }
        if (store_stopped(h->options.store, NULL) && h->retry_ms != INT64_MAX)
            stop_following(h, "the store takes no more writes");
        /* Only who does not know where the master is profits from being called. */
        if (clock_mono_ms() < h->retry_ms &&
            !(atomic_exchange(&h->called, false) && h->status.state <= HA_SLAVE_CONNECTING)) {
            (void)wait_for(h, 0, h->retry_ms);
            continue;
        }
        try_to_follow(h);
    }
    disconnect(h);
    return NULL;
}

/* --- life --- */

int ha_slave_new(struct ha_slave **out, const struct ha_slave_options *options, struct err *err)
{
    struct ha_slave *h = calloc(1, sizeof(*h));
    size_t record = store_record_max(options->store);
    int r;

    if (!h)
        return err_set(err, -ENOMEM, "replication");
    h->options = *options;
    h->fd = h->wake_fd = h->cancel_fd = -1;
    h->retry_ms = INT64_MIN;
    h->status.silent_ms = -1;
    atomic_store(&h->want_kept, UINT64_MAX);
    pthread_mutex_init(&h->lock, NULL);
    /* A record that is not whole yet stays, until the largest one would be. */
    h->log_cap = (record > HA_FRAME_MAX ? record : HA_FRAME_MAX) + HA_HEADER_BYTES + 2 * READ_BYTES;
    h->in = malloc(READ_BYTES);
    h->log = malloc(h->log_cap);
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = h->wake_fd < 0 ? -errno : 0;
    if (r == 0) {
        h->cancel_fd = dial_cancel_new(NULL);
        r = h->cancel_fd < 0 ? h->cancel_fd : 0;
    }
    if (!h->in || !h->log)
        r = -ENOMEM;
    if (r == 0)
        r = -pthread_create(&h->thread, NULL, slave_main, h);
    if (r < 0) {
        err_set(err, r, "start the thread that follows the master");
        free(h->in);
        free(h->log);
        if (h->wake_fd >= 0)
            close(h->wake_fd);
        if (h->cancel_fd >= 0)
            close(h->cancel_fd);
        pthread_mutex_destroy(&h->lock);
        free(h);
        return r;
    }
    *out = h;
    return 0;
}

void ha_slave_stop(struct ha_slave *h)
{
    if (!h || atomic_exchange(&h->stop, true))
        return;
    dial_cancel(h->cancel_fd);
    wake(h);
    pthread_join(h->thread, NULL);
}

struct ha_slave *ha_slave_free(struct ha_slave *h)
{
    if (!h)
        return NULL;
    ha_slave_stop(h);
    rpc_free(h->rpc);
    free(h->in);
    free(h->log);
    close(h->wake_fd);
    close(h->cancel_fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}
