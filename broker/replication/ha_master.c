/* ha_master.c - see ha_master.h. */
#include "broker/replication/copies_said.h"
#include "broker/replication/ha_master.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    HEADER_BYTES = 12,
    REPORT_BYTES = 8,
    REPORTS_READ = 128, /* reports taken from a socket at a time */
    FRAMES_A_TURN = 64, /* then the next slave has its turn */
    WATCHED_MAX = QUORUM_MEMBERS_MAX + 2,
};

struct slave {
    int fd; /* -1: free */
    char peer[64];
    int member; /* in the quorum */
    bool reported;
    uint8_t in[REPORT_BYTES * REPORTS_READ];
    size_t in_len;
    uint64_t next; /* log offset behind the last frame that was begun */
    uint8_t header[HEADER_BYTES];
    unsigned header_left;      /* bytes of the header still to be sent */
    uint64_t body_at, body_to; /* bytes of the log still to be sent */
    bool blocked;              /* the socket takes nothing now */
    int64_t read_ms, write_ms;
};

struct ha_master {
    struct ha_master_options options;
    pthread_t thread;
    int listen_fd, wake_fd;
    _Atomic bool sleeping, stop;
    _Atomic bool
        idle; /* nobody is streamed to and nobody waited for: `written` is of no interest */
    /* The thread's own. */
    struct slave slaves[QUORUM_MEMBERS_MAX];
    struct quorum quorum;
    uint64_t told_limit;
    struct copies_said said;
    /* For others; written by the thread. */
    _Atomic uint64_t acked, slowest, sent_bytes, frames, refused;
    _Atomic unsigned connections, near;
};

/* --- the quorum --- */

/* Returns when to look again. */
static int64_t keep_quorum(struct ha_master *m, int64_t now)
{
    struct store *store = m->options.store;
    uint64_t written, limit;
    int64_t next;

    if (m->quorum.options.copies <= 1)
        return INT64_MAX;
    if (quorum_may_close(&m->quorum))
        written = m->told_limit = store_hold_confirmed(store);
    else
        written = store_written(store);
    next = quorum_update(&m->quorum, now, written);
    limit = quorum_limit(&m->quorum);
    /* Before the limit: whoever sees his message confirmed asks at once whether that has copies. */
    atomic_store(&m->acked, m->quorum.acked);
    atomic_store(&m->near, m->quorum.near);
    copies_say(&m->said, &m->quorum, "slaves");
    store_limit_confirmed(store, limit);
    if (limit != m->told_limit) {
        m->told_limit = limit;
        m->options.on_confirmed(m->options.ctx);
    }
    return next;
}

/* What a slave that is near has not been sent is kept from deletion; one that is far behind does
 * not fill the disk. */
static void note_slaves(struct ha_master *m)
{
    uint64_t slowest = UINT64_MAX, keep = UINT64_MAX, written = store_written(m->options.store);
    unsigned connections = 0;

    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        const struct slave *s = &m->slaves[i];

        if (s->fd < 0)
            continue;
        connections++;
        if (s->reported && m->quorum.connections[s->member].acked < slowest)
            slowest = m->quorum.connections[s->member].acked;
        if (s->reported && s->next < keep && written - s->next < m->options.quorum.behind_max)
            keep = s->next;
    }
    store_keep_from(m->options.store, STORE_READER_SLAVES, keep);
    atomic_store(&m->slowest, slowest);
    atomic_store(&m->connections, connections);
    atomic_store(&m->idle, connections == 0 && (m->quorum.options.copies <= 1 || m->quorum.open));
}

/* --- connections --- */

static void drop(struct ha_master *m, struct slave *s, const char *why)
{
    if (why)
        log_warn("slave %s: %s; connection closed", s->peer, why);
    else
        log_info("slave %s is gone", s->peer);
    close(s->fd);
    s->fd = -1;
    quorum_disconnect(&m->quorum, s->member);
}

/* Without an identity of its own a slave is known by its host: whoever is connected twice from
 * there counts once. */
static void name_of(const struct sockaddr_storage *a, char peer[64], char host[QUORUM_IDENTITY_MAX])
{
    uint16_t port = 0;

    snprintf(host, QUORUM_IDENTITY_MAX, "?");
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;

        inet_ntop(AF_INET, &in->sin_addr, host, QUORUM_IDENTITY_MAX);
        port = ntohs(in->sin_port);
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;

        inet_ntop(AF_INET6, &in6->sin6_addr, host, QUORUM_IDENTITY_MAX);
        port = ntohs(in6->sin6_port);
    }
    snprintf(peer, 64, "%.50s:%u", host, port);
}

static void take_connection(struct ha_master *m, int64_t now)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char host[QUORUM_IDENTITY_MAX];
    struct slave *s = NULL;
    int one = 1;
    int fd = accept4(m->listen_fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            log_warn_limited("HA port", "the HA port cannot take a connection: %s",
                             strerror(errno));
        return;
    }
    for (int i = 0; i < QUORUM_MEMBERS_MAX && !s; i++) {
        if (m->slaves[i].fd < 0)
            s = &m->slaves[i];
    }
    if (!s) {
        log_warn_limited("HA port", "more than %d connections to the HA port: refused",
                         QUORUM_MEMBERS_MAX);
        close(fd);
        return;
    }
    *s = (struct slave){.fd = fd, .read_ms = now, .write_ms = now};
    name_of(&address, s->peer, host);
    s->member = quorum_connect(&m->quorum, host, now);
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        log_warn_limited("HA port", "TCP_NODELAY: %s", strerror(errno));
    log_info("slave %s has connected", s->peer);
}

/* --- reports --- */

static bool take_report(struct ha_master *m, struct slave *s, uint64_t report, int64_t now)
{
    struct store *store = m->options.store;
    uint64_t written = store_written(store), min = store_min(store);
    char why[256];

    if (report > written || report > INT64_MAX) {
        snprintf(why, sizeof(why),
                 "it reports log offset %" PRIu64 ", this log ends at %" PRIu64
                 ": it has what this master has not, and is not counted; look which of the two is "
                 "right before one of them is emptied",
                 report, written);
        atomic_fetch_add(&m->refused, 1);
        drop(m, s, why);
        return false;
    }
    if (!s->reported && report == 0) {
        s->next = m->options.fresh_from_last_file ? store_last_segment(store) : min;
    } else if (report < min) {
        snprintf(why, sizeof(why),
                 "it reports log offset %" PRIu64 ", this log begins at %" PRIu64
                 ": what lies between is deleted; empty the slave's store, and it starts anew",
                 report, min);
        atomic_fetch_add(&m->refused, 1);
        drop(m, s, why);
        return false;
    } else if (!s->reported) {
        s->next = report;
    }
    if (!s->reported)
        log_info("slave %s reports %" PRIu64 " and is sent the log from %" PRIu64 " on", s->peer,
                 report, s->next);
    s->reported = true;
    quorum_report(&m->quorum, s->member, report, now);
    return true;
}

/* The last whole report counts; the start of another stays. */
static void take_input(struct ha_master *m, struct slave *s, int64_t now)
{
    ssize_t n = recv(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len, 0);
    size_t whole;

    if (n == 0) {
        drop(m, s, NULL);
        return;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            drop(m, s, strerror(errno));
        return;
    }
    s->read_ms = now;
    s->in_len += (size_t)n;
    whole = s->in_len / REPORT_BYTES * REPORT_BYTES;
    if (whole == 0)
        return;
    uint64_t report = load_be64(s->in + whole - REPORT_BYTES);
    memmove(s->in, s->in + whole, s->in_len - whole);
    s->in_len -= whole;
    (void)take_report(m, s, report, now);
}

/* --- streaming --- */

static void begin_frame(struct slave *s, uint64_t size)
{
    store_be64(s->header, s->next);
    store_be32(s->header + 8, (uint32_t)size);
    s->header_left = HEADER_BYTES;
    s->body_at = s->next;
    s->body_to = s->next + size;
    s->next += size;
}

/* Sends what is left of the frame. 1: all of it; 0: the socket is full; negative: broken. */
static int send_frame(struct ha_master *m, struct slave *s, int64_t now)
{
    while (s->header_left > 0) {
        int more = s->body_to > s->body_at ? MSG_MORE : 0;
        ssize_t n = send(s->fd, s->header + HEADER_BYTES - s->header_left, s->header_left,
                         MSG_NOSIGNAL | more);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        s->header_left -= (unsigned)n;
        s->write_ms = now;
    }
    while (s->body_at < s->body_to) {
        ssize_t n = store_send(m->options.store, s->fd, s->body_at, s->body_to);

        if (n < 0)
            return n == -EAGAIN ? 0 : (int)n;
        s->body_at += (uint64_t)n;
        s->write_ms = now;
        atomic_fetch_add(&m->sent_bytes, (uint64_t)n);
    }
    return 1;
}

/* A frame never crosses the end of a segment. */
static uint64_t next_size(const struct ha_master *m, const struct slave *s, uint64_t written)
{
    uint64_t segment = (uint64_t)store_segment_bytes(m->options.store);
    uint64_t size = written > s->next ? written - s->next : 0;
    uint64_t room = segment - s->next % segment;

    if (size > room)
        size = room;
    return size < m->options.batch_bytes ? size : m->options.batch_bytes;
}

static bool under_way(const struct slave *s)
{
    return s->header_left > 0 || s->body_at < s->body_to;
}

static void stream(struct ha_master *m, struct slave *s, int64_t now)
{
    char why[128];

    s->blocked = false;
    for (int i = 0; i < FRAMES_A_TURN && s->fd >= 0; i++) {
        int r;

        if (!under_way(s)) {
            uint64_t size = next_size(m, s, store_written(m->options.store));

            if (size == 0 && now - s->write_ms < m->options.heartbeat_ms)
                return;
            if (s->next < store_min(m->options.store)) {
                drop(m, s, "it is so far behind that its next bytes are deleted");
                return;
            }
            begin_frame(s, size);
            atomic_fetch_add(&m->frames, 1);
        }
        r = send_frame(m, s, now);
        if (r == 0) {
            s->blocked = true;
            return;
        }
        if (r < 0) {
            snprintf(why, sizeof(why), "sending it the log at %" PRIu64 ": %s", s->body_at,
                     r == -ENODATA ? "no longer there" : strerror(-r));
            drop(m, s, why);
        }
    }
}

/* Has frames to begin or to finish that the socket might take. */
static bool has_work(const struct ha_master *m, const struct slave *s)
{
    return s->fd >= 0 && s->reported && !s->blocked &&
           (under_way(s) || store_written(m->options.store) > s->next);
}

/* --- the thread --- */

static int64_t keep_slave(struct ha_master *m, struct slave *s, int64_t now)
{
    int64_t silent = s->read_ms + m->options.housekeeping_ms, due;

    if (now >= silent) {
        drop(m, s, "nothing came from it for haHousekeepingInterval");
        return INT64_MAX;
    }
    if (!s->reported)
        return silent;
    if (now >= s->write_ms + m->options.heartbeat_ms && !under_way(s))
        stream(m, s, now);
    due = s->write_ms + m->options.heartbeat_ms;
    return due > now && due < silent ? due : silent;
}

static void handle(struct ha_master *m, const struct pollfd *fds, struct slave **who, int count,
                   int64_t now)
{
    uint64_t drained;

    if ((fds[0].revents & POLLIN) && read(m->wake_fd, &drained, sizeof(drained)) < 0 &&
        errno != EAGAIN)
        log_warn_limited("HA port", "eventfd: %s", strerror(errno));
    if (fds[1].revents & POLLIN)
        take_connection(m, now);
    for (int i = 2; i < count; i++) {
        struct slave *s = who[i];

        if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            take_input(m, s, now);
        if (s->fd >= 0 && (fds[i].revents & POLLOUT))
            s->blocked = false;
    }
}

static void *master_main(void *arg)
{
    struct ha_master *m = arg;
    struct pollfd fds[WATCHED_MAX];
    struct slave *who[WATCHED_MAX] = {0};

    while (!atomic_load(&m->stop)) {
        int64_t now = clock_mono_ms(), due = INT64_MAX;
        bool work = false;
        int count = 2, timeout;

        for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
            struct slave *s = &m->slaves[i];

            if (has_work(m, s))
                stream(m, s, now);
            if (s->fd >= 0) {
                int64_t at = keep_slave(m, s, now);
                due = at < due ? at : due;
            }
        }
        int64_t at = keep_quorum(m, now);
        due = at < due ? at : due;
        note_slaves(m);

        fds[0] = (struct pollfd){.fd = m->wake_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = m->listen_fd, .events = POLLIN};
        /* Read-modify-writes on both sides: whoever moves `written` after our look sees that we
         * sleep. */
        atomic_exchange(&m->sleeping, true);
        for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
            struct slave *s = &m->slaves[i];

            if (s->fd < 0)
                continue;
            who[count] = s;
            fds[count++] = (struct pollfd){.fd = s->fd,
                                           .events = (short)(POLLIN | (s->blocked ? POLLOUT : 0))};
            work = work || has_work(m, s);
        }
        if (m->quorum.options.copies > 1 && !m->quorum.open)
            work = work || store_written(m->options.store) != m->quorum.written;
        timeout = -1;
        if (work)
            timeout = 0;
        else if (due != INT64_MAX)
            timeout = due > now ? (due - now > 3600000 ? 3600000 : (int)(due - now)) : 1;
        int n = poll(fds, (nfds_t)count, timeout);
        atomic_exchange(&m->sleeping, false);
        if (n > 0)
            handle(m, fds, who, count, clock_mono_ms());
        else if (n < 0 && errno != EINTR) {
            log_error("the HA port cannot wait for events: %s; slaves get nothing any more",
                      strerror(errno));
            return NULL;
        }
    }
    return NULL;
}

void ha_master_progress(struct ha_master *m)
{
    uint64_t one = 1;

    if (atomic_load_explicit(&m->idle, memory_order_relaxed) ||
        !atomic_exchange(&m->sleeping, false))
        return;
    if (write(m->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn_limited("HA port", "eventfd: %s", strerror(errno));
}

int ha_master_new(struct ha_master **out, const struct ha_master_options *options, struct err *err)
{
    struct ha_master *m = calloc(1, sizeof(*m));
    int r;

    if (!m) {
        close(options->listen_fd);
        return err_set(err, -ENOMEM, "replication");
    }
    m->options = *options;
    m->listen_fd = options->listen_fd;
    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++)
        m->slaves[i].fd = -1;
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m->wake_fd < 0) {
        r = err_set(err, -errno, "make an eventfd");
        close(m->listen_fd);
        free(m);
        return r;
    }
    quorum_init(&m->quorum, &options->quorum,
                options->quorum.copies > 1 ? store_hold_confirmed(options->store) : 0);
    m->told_limit = UINT64_MAX;
    keep_quorum(m, clock_mono_ms());
    note_slaves(m);
    r = -pthread_create(&m->thread, NULL, master_main, m);
    if (r < 0) {
        err_set(err, r, "start the thread of the HA port");
        if (options->quorum.copies > 1)
            store_limit_confirmed(options->store, UINT64_MAX);
        close(m->wake_fd);
        close(m->listen_fd);
        free(m);
        return r;
    }
    *out = m;
    return 0;
}

void ha_master_stop(struct ha_master *m)
{
    uint64_t one = 1;

    if (!m || atomic_exchange(&m->stop, true))
        return;
    if (write(m->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warn("eventfd: %s", strerror(errno));
    pthread_join(m->thread, NULL);
    for (int i = 0; i < QUORUM_MEMBERS_MAX; i++) {
        if (m->slaves[i].fd >= 0)
            close(m->slaves[i].fd);
    }
    close(m->listen_fd);
}

struct ha_master *ha_master_free(struct ha_master *m)
{
    if (!m)
        return NULL;
    ha_master_stop(m);
    close(m->wake_fd);
    free(m);
    return NULL;
}

uint64_t ha_master_acked(const struct ha_master *m)
{
    return atomic_load(&m->acked);
}

bool ha_master_enough(const struct ha_master *m)
{
    return m->quorum.options.copies <= 1 || atomic_load(&m->near) + 1 >= m->quorum.options.copies;
}

void ha_master_status(const struct ha_master *m, struct ha_status *out)
{
    *out = (struct ha_status){
        .connections = atomic_load(&m->connections),
        .near = atomic_load(&m->near),
        .acked = m->quorum.options.copies <= 1 ? UINT64_MAX : atomic_load(&m->acked),
        .slowest = atomic_load(&m->slowest),
        .sent_bytes = atomic_load(&m->sent_bytes),
        .frames = atomic_load(&m->frames),
        .refused = atomic_load(&m->refused),
    };
}
