/* broker.c - a broker put together, run and taken apart: see service.h. */
#include "broker/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clients.h"
#include "broker/consume_rates.h"
#include "broker/delay.h"
#include "broker/deletion.h"
#include "broker/dispatch.h"
#include "broker/durable.h"
#include "broker/forward.h"
#include "broker/gate.h"
#include "broker/hold.h"
#include "broker/locks.h"
#include "broker/owed.h"
#include "broker/rates.h"
#include "broker/registrar.h"
#include "broker/replication/replication.h"
#include "broker/store/delay_levels.h"
#include "broker/topics.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/port_file.h"

enum { PORT_TRIES = 200, DRAIN_MS = 10000, RESTART_DRAIN_MS = 1000, DRAIN_LOOK_MS = 5 };

/* --- watermarks: from the store's threads to the loops --- */

void broker_confirmed(struct broker *b)
{
    /* The loop that writes looks at the watermarks itself, at the end of the same turn. */
    for (unsigned i = 0; i < b->loop_count; i++) {
        if (!loop_is_current(b->loops[i]))
            loop_signal(b->loops[i], BROKER_SIGNAL_PROGRESS);
    }
    delay_progress(b->delay);
}

static void on_progress(void *ctx)
{
    struct broker *b = ctx;

    replication_progress(b->replication);
    broker_confirmed(b);
}

/* --- the role --- */

void broker_leads(struct broker *b, uint64_t epoch, bool handed)
{
    struct err err = {0};

    atomic_store(&b->led_ms, clock_mono_ms());
    atomic_store(&b->handed, handed);
    metadata_lead(b->metadata, epoch);
    if (delay_start(b->delay, &err) < 0)
        log_error("%s: delayed messages are not delivered until a restart", err.text);
    registrar_role_changed(b->registrar);
}

bool broker_leads_newly(const struct broker *b)
{
    int64_t since = atomic_load(&b->led_ms);

    return since != 0 && clock_mono_ms() - since < b->settings->config.forward_wait_millis;
}

void broker_halts(struct broker *b)
{
    /* At the end of their turn the loops refuse what waits for copies. */
    for (unsigned i = 0; i < b->loop_count; i++)
        loop_signal(b->loops[i], BROKER_SIGNAL_PROGRESS);
    durable_refuse(b->durable);
    delay_halt(b->delay);
    registrar_role_changed(b->registrar);
}

static void on_waited(void *ctx, uint32_t loops_mask, uint32_t queue, uint64_t log_end)
{
    struct broker *b = ctx;

    while (loops_mask) {
        unsigned i = (unsigned)__builtin_ctz(loops_mask);

        loops_mask &= loops_mask - 1;
        hold_note(b->on[i].hold, queue, log_end);
    }
}

static void on_durable(void *ctx)
{
    struct broker *b = ctx;

    durable_moved(b->durable);
    replication_metadata_moved(b->replication);
}

/* --- answers that other threads owe --- */

bool broker_owes(struct broker *b, conn_id conn)
{
    if (!owed_begin(b->on[conn_loop_index(conn)].owed, conn))
        return false;
    atomic_fetch_add(&b->owed, 1);
    return true;
}

void broker_owes_no_more(struct broker *b, conn_id conn)
{
    owed_done(b->on[conn_loop_index(conn)].owed, conn);
    atomic_fetch_sub(&b->owed, 1);
}

int broker_offload(struct broker *b, conn_id conn, bool first, void (*job)(void *ctx), void *ctx)
{
    int r;

    if (!broker_owes(b, conn))
        return -ENOMEM;
    r = first ? store_run_first(b->store, job, ctx) : store_run(b->store, job, ctx);
    if (r < 0)
        broker_owes_no_more(b, conn);
    return r;
}

bool broker_has_given_up(const struct broker *b)
{
    return broker_is_draining(b) && clock_mono_ms() >= b->drain_deadline_ms;
}

static void nothing(void *ctx)
{
    (void)ctx; /* the end of the turn does it */
}

/* What was posted before nothing was seen to be owed arrives in the next turn, so two quiet turns
 * are needed (owed.h). When it is late whose connection was owed nothing in two turns is kept. */
static void leave_when_drained(struct broker_loop *on)
{
    struct broker *b = on->broker;
    bool again = broker_wants_restart(b), quiet, left;
    bool late = loop_now_ms(on->loop) >= b->drain_deadline_ms;

    if (!on->dismissed) {
        on->dismissed = true;
        hold_dismiss(on->hold);
    }
    if (again)
        kept_rest(on);
    quiet = gate_waiting(on->gate) == 0 && atomic_load(&b->owed) == 0 &&
            (again || !forward_owes(on)); /* the next one goes on with these */
    left = on->done && (late || (quiet && owed_nothing_at_all(on->owed)));
    on->done = quiet || late;
    /* Whose answer waits for the disk is not known by connection; who has ceased to be the master
     * owes none of these. */
    if (left && again && gate_waiting(on->gate) == 0)
        kept_take_connections(&b->settings->kept, on);
    owed_turn(on->owed);
    if (left)
        loop_stop(on->loop);
    else if (on->done || loop_timer_set(&on->drain, loop_now_ms(on->loop) + DRAIN_LOOK_MS) < 0)
        loop_again(on->loop);
}

/* The end of a turn: what was appended is written, then everybody who waited for that is served. */
static void turn_end(void *ctx)
{
    struct broker_loop *on = ctx;
    struct broker *b = on->broker;

    store_write(b->store);
    gate_release(on->gate);
    hold_wake(on->hold);
    if (on->turn.put_messages | on->turn.got_messages | on->turn.missed_pulls |
        on->turn.failed_puts) {
        rates_add(b->rates, &on->turn, clock_wall_ms());
        on->turn = (struct rates_turn){0};
    }
    if (broker_is_draining(b))
        leave_when_drained(on);
}

/* --- stopping --- */

/* On its own thread: taking leave of the name servers may have to wait for them, and one of them
 * may live on our own loop. */
static void *stopper(void *arg)
{
    struct broker *b = arg;

    if (broker_wants_restart(b))
        notify_status("broker %s begins again", b->settings->config.broker_name);
    else
        notify_stopping();
    registrar_stop(b->registrar);
    for (unsigned i = 0; i < b->loop_count; i++)
        loop_signal(b->loops[i], BROKER_SIGNAL_STOP);
    return NULL;
}

static void start_stopper(void *ctx)
{
    struct broker *b = ctx;

    if (b->stopper_started)
        return;
    log_info(broker_wants_restart(b) ? "beginning again" : "stopping");
    b->stopper_started = pthread_create(&b->stopper, NULL, stopper, b) == 0;
    if (!b->stopper_started)
        stopper(b);
}

static void end_asked(void *ctx)
{
    struct broker *b = ctx;

    atomic_store(&b->end_asked, true);
    start_stopper(b);
}

void broker_stop(struct broker *b)
{
    atomic_store(&b->end_asked, true);
    loop_signal(b->loops[0], BROKER_SIGNAL_STOP_ASKED);
}

void broker_restart(struct broker *b)
{
    atomic_store(&b->restart, true);
    loop_signal(b->loops[0], BROKER_SIGNAL_STOP_ASKED);
}

static void on_stop_signal(void *ctx)
{
    struct broker_loop *on = ctx;
    struct broker *b = on->broker;

    if (on == &b->on[0]) {
        if (broker_wants_restart(b))
            kept_take_listeners(&b->settings->kept, b);
        b->listener = listener_free(b->listener);
        b->vip_listener = listener_free(b->vip_listener);
        /* Who is owed an answer of the old log has been refused already. */
        b->drain_deadline_ms =
            loop_now_ms(on->loop) + (atomic_load(&b->restart) ? RESTART_DRAIN_MS : DRAIN_MS);
        atomic_store(&b->draining, true);
        for (unsigned i = 1; i < b->loop_count; i++)
            loop_signal(b->loops[i], BROKER_SIGNAL_PROGRESS);
    }
}

/* --- starting --- */

static int make_loop(struct broker *b, unsigned index, struct err *err)
{
    struct broker_loop *on = &b->on[index];
    struct loop_options options = {
        .index = index,
        .busy_poll_micros = (unsigned)b->settings->config.busy_poll_micros,
        .waiting_bytes = (size_t)b->settings->config.waiting_bytes_per_loop,
    };
    int r = loop_new(&b->loops[index], &options, err);

    if (r < 0)
        return r;
    b->loop_count = index + 1;
    on->broker = b;
    on->loop = b->loops[index];
    on->gate = gate_new(on);
    on->hold = hold_new(on, HOLD_MAX);
    on->owed = owed_new();
    on->messages = calloc(BROKER_BATCH_MAX, sizeof(*on->messages));
    on->positions = calloc(BROKER_BATCH_MAX, sizeof(*on->positions));
    if (!on->gate || !on->hold || !on->owed || !on->messages || !on->positions)
        return err_say(err, -ENOMEM, "out of memory while making event loop %u", index);
    loop_timer_init(&on->drain, on->loop, nothing, on);
    loop_on_signal(on->loop, BROKER_SIGNAL_PROGRESS, nothing, on);
    if (index == 0) {
        loop_on_signal(on->loop, BROKER_SIGNAL_STOP_ASKED, start_stopper, b);
        durable_start(b->durable, on->loop);
        registrar_watch(b->registrar, on->loop);
    }
    loop_on_signal(on->loop, BROKER_SIGNAL_STOP, on_stop_signal, on);
    r = loop_on_turn_end(on->loop, turn_end, on);
    if (r < 0)
        return err_set(err, r, "set up event loop %u", index);
    return 0;
}

static int open_store(struct broker *b, struct err *err)
{
    const struct broker_config *c = &b->settings->config;
    struct metadata_options metadata = {
        .root_dir = c->store_path_root_dir,
        .on_durable = on_durable,
        .ctx = b,
        .export_interval_ms = c->flush_consumer_offset_interval,
    };
    struct store_options options = {
        .root_dir = c->store_path_root_dir,
        .commit_log_dir = c->store_path_commit_log[0] ? c->store_path_commit_log : NULL,
        .segment_bytes = c->mapped_file_size_commit_log,
        .queue_file_bytes = (c->mapped_file_size_consume_queue + 19) / 20 * 20,
        .sync_flush = c->flush_disk_type == FLUSH_SYNC,
        .flush_interval_ms = c->flush_interval_commit_log,
        .record_crc = c->record_crc,
        .message_max = (size_t)c->max_message_size,
        .index = c->message_index_enable,
        .index_shape = {(uint32_t)c->max_hash_slot_num, (uint32_t)c->max_index_num},
        .tail_bytes = (size_t)c->memory_tail_bytes,
        .queue_memory = (size_t)c->queue_memory_bytes,
        .queue_descriptors = (unsigned)c->queue_descriptors,
        .reader_threads = (unsigned)c->reader_threads,
        .scrub_bytes_s = (uint64_t)c->scrub_bytes_per_second,
        .store_host = b->host,
        .delay_levels = b->delay_levels,
        .follower = replication_is_slave(b->replication),
        .near_percent = c->access_message_in_memory_max_ratio > 0
                            ? (int)c->access_message_in_memory_max_ratio
                            : STORE_NEAR_NOTHING,
        .on_progress = on_progress,
        .ctx = b,
    };
    int r;

    deletion_settings(b->settings, &options.retention);
    memcpy(options.delay_ms, b->delay_ms, sizeof(options.delay_ms));
    b->store_lock = store_lock(c->store_path_root_dir, err);
    if (b->store_lock < 0)
        return b->store_lock;
    options.locked = true;
    r = metadata_open(&b->metadata, &metadata, err);
    if (r < 0)
        return r;
    options.metadata = b->metadata;
    r = replication_prepare(b->replication, &options, err);
    if (r < 0)
        return r;
    r = store_open(&b->store, &options, err);
    if (r == 0)
        r = replication_opened(b->replication, err);
    if (r < 0)
        return r;
    store_on_waited(b->store, on_waited, b);
    r = metadata_start(b->metadata, err);
    /* A member of a group grants from when it leads. */
    if (r == 0 && !replication_is_member(b->replication) &&
        locks_begin_reign(b->locks, b->metadata, clock_mono_ms()) < 0)
        r = err_say(err, -ENOMEM, "no memory for the recorded queue locks");
    if (r < 0)
        return r;
    return topics_make_builtin(b, err);
}

static int listen_on(struct broker *b, struct listener **out, struct broker_port *ctx,
                     uint16_t port, struct err *err)
{
    struct listener_options options = {
        .address = b->settings->config.bind_address,
        .port = port,
        .socket = &b->settings->kept.sockets[ctx->main_port ? KEPT_MAIN : KEPT_VIP],
        .loops = b->loops,
        .loop_count = b->loop_count,
        .remoting = &broker_remoting,
        .ctx = ctx,
        .connections_max = (unsigned)b->settings->config.connections_max,
        .connections = &b->connections,
    };

    return listener_new(out, &options, err);
}

/* Holds a port without listening, so that nobody else is given it. fd or -errno. */
static int reserve_port(const char *address, uint16_t port)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool v6 = inet_pton(AF_INET, address, &in.sin_addr) != 1;
    int fd, r, one = 1;

    if (v6 && inet_pton(AF_INET6, address, &in6.sin6_addr) != 1)
        return -EINVAL;
    fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* A port whose last connections are still in TIME_WAIT is free. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        log_warn("SO_REUSEADDR: %s", strerror(errno));
    if (v6)
        r = bind(fd, (const struct sockaddr *)&in6, sizeof(in6));
    else
        r = bind(fd, (const struct sockaddr *)&in, sizeof(in));
    if (r < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

/* The replication port of the broker before this one; nobody listens on it now. -1: none. */
static int take_kept_port(struct kept *k)
{
    int fd = k->sockets[KEPT_HA], listens = 0;
    socklen_t size = sizeof(listens);

    k->sockets[KEPT_HA] = -1;
    /* One that does not listen would never do so again after a shutdown(). */
    if (fd >= 0 && (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 ||
                    (listens && shutdown(fd, SHUT_RD) < 0))) {
        log_warn("cannot go on with the replication port: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static int listen_on_any(struct broker *b, struct err *err)
{
    const char *address = b->settings->config.bind_address;
    int r = -EADDRINUSE;

    for (int i = 0; i < PORT_TRIES; i++) {
        uint16_t port;

        r = listen_on(b, &b->listener, &b->port, 0, err);
        if (r < 0)
            return r;
        port = listener_port(b->listener);
        if (port > 3 && port < 65535 &&
            listen_on(b, &b->vip_listener, &b->vip_port, (uint16_t)(port - 2), NULL) == 0) {
            b->reserved_ha_fd = reserve_port(address, (uint16_t)(port + 1));
            if (b->reserved_ha_fd >= 0)
                return 0;
            b->vip_listener = listener_free(b->vip_listener);
        }
        b->listener = listener_free(b->listener);
    }
    return err_say(err, -EADDRINUSE,
                   "no port P on %s was found with P-2, P and P+1 free; set listenPort", address);
}

static int open_ports(struct broker *b, struct err *err)
{
    struct broker_config *c = &b->settings->config;
    int r;

    b->port = (struct broker_port){b, true};
    b->vip_port = (struct broker_port){b, false};
    if (c->listen_port == 0) {
        r = listen_on_any(b, err);
    } else {
        r = listen_on(b, &b->listener, &b->port, (uint16_t)c->listen_port, err);
        if (r == 0)
            r = listen_on(b, &b->vip_listener, &b->vip_port, (uint16_t)(c->listen_port - 2), err);
        if (r == -EADDRINUSE)
            err_add(err, "; listenPort=%d needs %d and %d: set another if a broker runs already",
                    (int)c->listen_port, (int)c->listen_port, (int)c->listen_port - 2);
    }
    if (r == -EADDRNOTAVAIL)
        err_add(err, "; bindAddress must be an address of this machine, or 0.0.0.0 for all");
    if (r < 0)
        return r;
    c->listen_port = listener_port(b->listener);
    if (c->ha_listen_port == 0)
        c->ha_listen_port = c->listen_port + 1;
    if (b->reserved_ha_fd >= 0 && c->ha_listen_port != c->listen_port + 1) {
        close(b->reserved_ha_fd);
        b->reserved_ha_fd = -1;
    }
    if (b->reserved_ha_fd < 0)
        b->reserved_ha_fd = take_kept_port(&b->settings->kept);
    if (b->reserved_ha_fd < 0)
        b->reserved_ha_fd = reserve_port(c->bind_address, (uint16_t)c->ha_listen_port);
    if (b->reserved_ha_fd < 0)
        return err_set(err, b->reserved_ha_fd, "bind the replication port %s:%lld (haListenPort)",
                       c->bind_address, (long long)c->ha_listen_port);
    b->held_ha_fd = fcntl(b->reserved_ha_fd, F_DUPFD_CLOEXEC, 0);
    if (b->held_ha_fd < 0)
        return err_set(err, -errno, "hold the replication port");
    return 0;
}

static int set_host(struct broker *b, struct err *err)
{
    const struct broker_config *c = &b->settings->config;
    const char *form = strchr(c->broker_ip1, ':') ? "[%s]:%d" : "%s:%d";

    b->host = (struct record_host){.port = (int32_t)c->listen_port};
    if (inet_pton(AF_INET, c->broker_ip1, b->host.ip) != 1) {
        b->host.v6 = true;
        if (inet_pton(AF_INET6, c->broker_ip1, b->host.ip) != 1)
            return err_say(err, -EINVAL, "brokerIP1=%s is no numeric address", c->broker_ip1);
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(b->address, sizeof(b->address), form, c->broker_ip1, (int)c->listen_port);
    snprintf(b->ha_address, sizeof(b->ha_address), form, c->broker_ip1, (int)c->ha_listen_port);
#pragma GCC diagnostic pop
    return 0;
}

int broker_new(struct broker **out, struct broker_settings *settings,
               const struct broker_extra *extra, struct err *err)
{
    const struct broker_config *c = &settings->config;
    struct broker *b = calloc(1, sizeof(*b));
    int r = 0;

    if (!b)
        return err_say(err, -ENOMEM, "out of memory");
    b->settings = settings;
    b->extra = extra;
    b->boot_ms = clock_wall_ms();
    b->reserved_ha_fd = b->held_ha_fd = -1;
    b->store_lock = -1;
    b->delay_levels = delay_levels_parse(c->message_delay_level, b->delay_ms, 64);
    b->rates = rates_new();
    b->consume_rates = consume_rates_new(CONSUME_RATES_MAX);
    b->clients = kept_give_clients(&settings->kept, b);
    if (!b->clients)
        b->clients = clients_new(b, NULL);
    b->locks = locks_new(LOCKS_MAX);
    b->durable = durable_new(b);
    b->registrar = registrar_new(b);
    b->delay = delay_new(b);
    b->replication = replication_new(b);
    if (!b->delay || !b->replication || !b->rates || !b->consume_rates || !b->clients ||
        !b->locks || !b->durable || !b->registrar)
        r = err_say(err, -ENOMEM, "out of memory");
    for (unsigned i = 0; i < (unsigned)c->io_threads && r == 0; i++)
        r = make_loop(b, i, err);
    if (r == 0) {
        b->forward = forward_new(b);
        r = b->forward ? 0 : err_say(err, -ENOMEM, "out of memory");
    }
    if (r == 0)
        r = open_ports(b, err);
    if (r == 0)
        r = set_host(b, err);
    if (r == 0)
        r = open_store(b, err);
    if (r < 0) {
        broker_free(b);
        return r;
    }
    *out = b;
    return 0;
}

static void *loop_thread(void *arg)
{
    struct broker_loop *on = arg;
    struct broker *b = on->broker;

    if (loop_run(on->loop) < 0) {
        /* Clients would wait for nothing: better no broker than a part of one. */
        log_error("event loop %u has failed: the broker ends", loop_index(on->loop));
        atomic_store(&b->failed, true);
        for (unsigned i = 0; i < b->loop_count; i++)
            loop_stop(b->loops[i]);
    }
    return NULL;
}

int broker_run(struct broker *b, struct err *err)
{
    const struct broker_config *c = &b->settings->config;
    unsigned started = 1;
    int r = 0;

    if (b->extra->before_run)
        r = b->extra->before_run(b, b->extra->ctx, err);
    if (r == 0) {
        r = loop_on_stop_signals(b->loops[0], end_asked, b);
        if (r < 0)
            err_set(err, r, "catch SIGTERM, SIGINT and SIGHUP");
    }
    if (r == 0) {
        kept_give_connections(&b->settings->kept, b);
        r = replication_start(b->replication, b->reserved_ha_fd, err);
        b->reserved_ha_fd = -1;
    }
    if (r == 0)
        forward_start(b->forward);
    if (r == 0 && !replication_is_slave(b->replication)) /* its deliveries come with the log */
        r = delay_start(b->delay, err);
    if (r == 0) {
        r = watchdog_start(&b->watchdog, b->loops, b->loop_count, BROKER_SIGNAL_WATCHDOG);
        if (r < 0)
            err_set(err, r, "arm the watchdog");
    }
    if (r == 0)
        r = registrar_start(b->registrar, err);
    if (r == 0)
        r = port_file_write(c->port_file, (unsigned)c->listen_port, err);
    if (r < 0) {
        if (b->extra->after_run)
            b->extra->after_run(b, b->extra->ctx);
        return r;
    }
    for (; started < b->loop_count; started++) {
        r = -pthread_create(&b->threads[started], NULL, loop_thread, &b->on[started]);
        if (r < 0) {
            err_set(err, r, "start the thread of event loop %u", started);
            start_stopper(b);
            break;
        }
    }
    log_info("broker %s (cluster %s) serves on %s, started in %lld ms", c->broker_name,
             c->broker_cluster_name, b->address, (long long)(clock_wall_ms() - b->boot_ms));
    if (r == 0)
        notify_ready("broker %s (cluster %s) serves on %s", c->broker_name, c->broker_cluster_name,
                     b->address);
    loop_thread(&b->on[0]);
    for (unsigned i = 1; i < started; i++)
        pthread_join(b->threads[i], NULL);
    if (b->stopper_started)
        pthread_join(b->stopper, NULL);
    if (b->extra->after_run)
        b->extra->after_run(b, b->extra->ctx);
    if (r == 0 && atomic_load(&b->failed))
        r = err_say(err, -EIO, "an event loop has failed");
    if (r < 0 || !broker_wants_restart(b))
        kept_drop(&b->settings->kept);
    return r;
}

int broker_free(struct broker *b)
{
    int r = 0, m;

    if (!b)
        return 0;
    atomic_store(&b->draining, true);
    if (b->replication)
        replication_leave(b->replication);
    if (b->registrar)
        registrar_stop(b->registrar);
    if (b->delay)
        delay_stop(b->delay);
    b->listener = listener_free(b->listener);
    b->vip_listener = listener_free(b->vip_listener);
    if (b->replication)
        replication_stop(b->replication);
    if (b->held_ha_fd >= 0) /* nobody shall wait there for an answer */
        close(b->held_ha_fd);
    /* The store's threads may still post to the loops; readers end with the store. */
    if (b->store)
        r = store_close(b->store);
    if (b->store && b->delay && r == 0 && !replication_is_member(b->replication))
        delay_settle(b->delay);
    if (b->metadata) {
        m = metadata_close(b->metadata);
        r = r < 0 ? r : m;
    }
    b->delay = delay_free(b->delay);
    if (b->store_lock >= 0)
        store_unlock(b->store_lock);
    for (unsigned i = 0; i < b->loop_count; i++) {
        b->on[i].gate = gate_free(b->on[i].gate);
        b->loops[i] = loop_free(b->loops[i]); /* closes connections, which leave `hold` */
    }
    if (b->extra && b->extra->after_free)
        b->extra->after_free(b, b->extra->ctx);
    for (unsigned i = 0; i < b->loop_count; i++) {
        b->on[i].hold = hold_free(b->on[i].hold);
        b->on[i].owed = owed_free(b->on[i].owed);
        free(b->on[i].messages);
        free(b->on[i].positions);
        buf_destroy(&b->on[i].properties);
        buf_destroy(&b->on[i].suffix);
        buf_destroy(&b->on[i].discard);
    }
    if (b->reserved_ha_fd >= 0)
        close(b->reserved_ha_fd);
    b->replication = replication_free(b->replication);
    b->forward = forward_free(b->forward);
    b->registrar = registrar_free(b->registrar);
    b->durable = durable_free(b->durable);
    b->locks = locks_free(b->locks);
    if (broker_wants_restart(b))
        kept_take_clients(&b->settings->kept, b);
    b->clients = clients_free(b->clients);
    b->rates = rates_free(b->rates);
    b->consume_rates = consume_rates_free(b->consume_rates);
    free(b);
    return r;
}
