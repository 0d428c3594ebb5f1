/* loop.c - the turn, the mailbox, and when to sleep. See loop.h.
 *
 * Falling asleep and waking up are the two halves of Dekker's algorithm, with sequentially
 * consistent operations throughout. The loop says "sleeping" and then looks for messages, signals
 * and the stop flag; a poster leaves its message and then looks at "sleeping". Whichever comes
 * second in the one order of all these operations sees the other, so either the loop finds the
 * message or the poster writes the eventfd. The eventfd is edge-triggered and never read.
 *
 * Everything else that happens in a turn hangs on two calls: each libevent callback begins with
 * loop_touch(), and finish_turn() carries out the end of a turn, either after the wait or from
 * within it once enough input was taken.
 */
#include "common/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    MAIL_BYTES = LOOP_MAILBOX_MAX * sizeof(struct loop_message),
    MAIL_KEEP = 16384, /* a batch above this gives its pages back to the system */

    /* Credit for polling, see wait_for_work(). */
    CREDIT_MAX = 8,
    CREDIT_NEEDED = 2,
    CREDIT_WASTED = 4,
};

/* ---- waking up ---- */

static void wake(struct loop *loop)
{
    if (atomic_load(&loop->sleeping) && atomic_exchange(&loop->sleeping, false)) {
        int saved = errno;
        uint64_t one = 1;
        /* Cannot fail: the counter overflows after 2^64 wakeups. */
        ssize_t n = write(loop->wake_fd, &one, sizeof(one));
        (void)n;
        errno = saved;
    }
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    wake(loop);
}

int loop_post(struct loop *loop, const struct loop_message *message)
{
    int r = 0;

    pthread_mutex_lock(&loop->mail_lock);
    unsigned n = atomic_load_explicit(&loop->mail_count, memory_order_relaxed);
    if (loop->mail_closed) {
        r = -ESHUTDOWN;
    } else if (n == LOOP_MAILBOX_MAX) {
        loop_count(&loop->mailbox_full, 1);
        r = -EAGAIN;
    } else {
        loop->mail_in[n] = *message;
        atomic_store(&loop->mail_count, n + 1);
    }
    pthread_mutex_unlock(&loop->mail_lock);
    if (r == 0)
        wake(loop);
    return r;
}

void loop_signal(struct loop *loop, unsigned bit)
{
    assert(bit < LOOP_SIGNALS);
    /* Whoever raised it first wakes the loop. */
    if (!(atomic_fetch_or(&loop->raised, 1U << bit) & (1U << bit)))
        wake(loop);
}

static bool pending(struct loop *loop)
{
    return atomic_load(&loop->mail_count) != 0 || atomic_load(&loop->raised) != 0 ||
           atomic_load(&loop->stop);
}

/* ---- the turn ---- */

static void run_mail(struct loop *loop)
{
    if (atomic_load_explicit(&loop->mail_count, memory_order_relaxed) == 0)
        return;

    pthread_mutex_lock(&loop->mail_lock);
    struct loop_message *batch = loop->mail_in;
    unsigned count = atomic_load_explicit(&loop->mail_count, memory_order_relaxed);
    loop->mail_in = loop->mail_out;
    loop->mail_out = batch;
    atomic_store(&loop->mail_count, 0);
    pthread_mutex_unlock(&loop->mail_lock);

    for (unsigned i = 0; i < count; i++)
        batch[i].run(&batch[i]);
    loop_count(&loop->messages, count);
    if (count > atomic_load_explicit(&loop->mailbox_high, memory_order_relaxed))
        atomic_store_explicit(&loop->mailbox_high, count, memory_order_relaxed);
    if (count > MAIL_KEEP)
        madvise(batch, MAIL_BYTES, MADV_DONTNEED);
}

static void run_signals(struct loop *loop)
{
    if (atomic_load_explicit(&loop->raised, memory_order_relaxed) == 0)
        return;
    unsigned raised = atomic_exchange(&loop->raised, 0);
    while (raised) {
        unsigned bit = (unsigned)__builtin_ctz(raised);
        raised &= raised - 1;
        if (loop->signals[bit].fn)
            loop->signals[bit].fn(loop->signals[bit].ctx);
    }
}

static void finish_turn(struct loop *loop)
{
    assert(!loop->finishing);
    loop->finishing = true;
    loop_touch(loop);
    run_mail(loop);
    run_signals(loop);
    loop_timers_run(loop);
    conns_resume(loop);
    for (unsigned i = 0; i < loop->hook_count; i++)
        loop->hooks[i].fn(loop->hooks[i].ctx);
    conns_flush(loop);
    loop->turn_conns = 0;
    loop->turn_bytes = 0;
    loop_count(&loop->turns, 1);
    loop->finishing = false;
    loop->awake = false; /* what comes next takes a new time */
}

void loop_touch(struct loop *loop)
{
    if (loop->awake)
        return;
    loop->awake = true;

    int64_t now_ns = clock_mono_ns();
    loop->now_ms = now_ns / 1000000;
    if (loop->slept_from_ns) {
        /* Not asleep any more: nobody needs to write the eventfd. */
        atomic_store_explicit(&loop->sleeping, false, memory_order_relaxed);
        /* A sleep is longer than the silence that caused it, by the time it takes to wake up. */
        if (now_ns - loop->slept_from_ns < 4 * loop->busy_poll_ns)
            loop->poll_credit += loop->poll_credit < CREDIT_MAX;
        else
            loop->poll_credit -= loop->poll_credit > 0;
        loop->slept_from_ns = 0;
        loop_count(&loop->wakeups, 1);
    }
}

void loop_took_input(struct loop *loop, size_t bytes)
{
    loop->turn_conns++;
    loop->turn_bytes += bytes;
    if (loop->turn_conns >= LOOP_TURN_CONNS || loop->turn_bytes >= LOOP_TURN_BYTES)
        finish_turn(loop);
}

/* ---- waiting ---- */

static int run_events(struct loop *loop, int flags)
{
    if (event_base_loop(loop->base, EVLOOP_ONCE | flags) < 0) {
        log_error("loop %u: waiting for events failed", loop->index);
        return -EIO;
    }
    return 0;
}

/* Runs the callbacks of what is ready; waits for something to be.
 *
 * Going to sleep and being woken takes tens of microseconds, so a loop that expects more work soon
 * polls for a while instead. Whether it may expect that is kept as a credit: a poll that found
 * something fills it, one that found nothing costs half of it, and every sleep that turned out
 * short (long) gives (takes) a little. An idle process has none and uses no CPU. */
static int wait_for_work(struct loop *loop)
{
    bool at_once = loop->again || pending(loop);

    loop->again = false;
    if (at_once)
        return run_events(loop, EVLOOP_NONBLOCK);

    int64_t now_ns = clock_mono_ns();
    if (loop->busy_poll_ns > 0 && loop->poll_credit >= CREDIT_NEEDED) {
        int64_t until_ns = now_ns + loop->busy_poll_ns;
        do {
            int r = run_events(loop, EVLOOP_NONBLOCK);
            if (r < 0)
                return r;
            if (loop->awake || loop->again || pending(loop)) {
                loop->poll_credit = CREDIT_MAX;
                return 0;
            }
            now_ns = clock_mono_ns();
        } while (now_ns < until_ns);
        loop->poll_credit -= loop->poll_credit < CREDIT_WASTED ? loop->poll_credit : CREDIT_WASTED;
    }

    if (!loop_timers_arm(loop, now_ns / 1000000))
        return run_events(loop, EVLOOP_NONBLOCK);
    loop->slept_from_ns = now_ns;
    atomic_store(&loop->sleeping, true);
    int r = run_events(loop, pending(loop) ? EVLOOP_NONBLOCK : 0);
    loop_touch(loop);
    return r;
}

int loop_run(struct loop *loop)
{
    int r = 0;

    atomic_store(&loop->owner, (unsigned long)pthread_self());
    pthread_mutex_lock(&loop->mail_lock);
    loop->mail_closed = false;
    pthread_mutex_unlock(&loop->mail_lock);

    while (r == 0 && !atomic_load(&loop->stop)) {
        r = wait_for_work(loop);
        finish_turn(loop);
        conns_reap(loop);
    }

    pthread_mutex_lock(&loop->mail_lock);
    loop->mail_closed = true;
    pthread_mutex_unlock(&loop->mail_lock);
    finish_turn(loop);
    conns_reap(loop);
    atomic_store(&loop->stop, false);
    return r;
}

/* ---- callbacks of libevent ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    loop_touch(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    loop->timer_armed_ms = 0;
    loop_touch(loop);
}

/* Readable from the first stop signal on, for as long as the process lives. */
static int stop_fd = -1;

static void on_stop_signal(int signo)
{
    int saved = errno;
    uint64_t one = 1;
    ssize_t n = write(stop_fd, &one, sizeof(one));

    (void)signo;
    (void)n; /* full: it has been written before */
    errno = saved;
}

static void on_stop_asked(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    (void)fd;
    (void)what;
    loop_touch(loop);
    loop->stop_signal.fn(loop->stop_signal.ctx);
}

/* ---- making one ---- */

/* Anonymous memory whose untouched pages cost nothing, also under huge pages. */
static void *map_pages(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    madvise(at, size, MADV_NOHUGEPAGE);
    return at;
}

static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (!config)
        return NULL;
    /* One thread uses it, so libevent need not lock. */
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int loop_new(struct loop **out, const struct loop_options *options, struct err *err)
{
    assert(options->index < LOOP_MAX);
    struct loop *loop = aligned_alloc(_Alignof(struct loop), sizeof(*loop));
    if (!loop)
        return err_set(err, -ENOMEM, "event loop %u", options->index);
    memset(loop, 0, sizeof(*loop));
    loop->index = options->index;
    loop->waiting_bytes_max = options->waiting_bytes ? options->waiting_bytes : LOOP_WAITING_BYTES;
    loop->busy_poll_ns = (int64_t)options->busy_poll_micros * 1000;
    loop->now_ms = clock_mono_ms();
    loop->wake_fd = -1;
    atomic_store(&loop->owner, (unsigned long)pthread_self());
    pthread_mutex_init(&loop->mail_lock, NULL);
    conns_init(loop);

    int r = -ENOMEM;
    loop->read_buf = map_pages(LOOP_READ_BYTES);
    loop->mail_in = map_pages(MAIL_BYTES);
    loop->mail_out = map_pages(MAIL_BYTES);
    if (!loop->read_buf || !loop->mail_in || !loop->mail_out)
        goto fail;
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        r = -errno;
        goto fail;
    }
    loop->base = new_base();
    if (!loop->base)
        goto fail;
    loop->wake_event =
        event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake, loop);
    loop->timer_event = evtimer_new(loop->base, on_timer, loop);
    if (!loop->wake_event || !loop->timer_event || event_add(loop->wake_event, NULL) < 0)
        goto fail;
    *out = loop;
    return 0;

fail:
    loop_free(loop);
    return err_set(err, r, "event loop %u", options->index);
}

struct loop *loop_free(struct loop *loop)
{
    if (!loop)
        return NULL;
    atomic_store(&loop->owner, (unsigned long)pthread_self());
    conns_destroy(loop);
    for (unsigned i = 0; i < atomic_load(&loop->mail_count); i++) {
        conn_message_discard(&loop->mail_in[i]);
        listener_message_discard(&loop->mail_in[i]);
    }
    if (loop->stop_event)
        event_free(loop->stop_event);
    if (loop->wake_event)
        event_free(loop->wake_event);
    if (loop->timer_event)
        event_free(loop->timer_event);
    if (loop->base)
        event_base_free(loop->base);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->read_buf)
        munmap(loop->read_buf, LOOP_READ_BYTES);
    if (loop->mail_in)
        munmap(loop->mail_in, MAIL_BYTES);
    if (loop->mail_out)
        munmap(loop->mail_out, MAIL_BYTES);
    free(loop->timers);
    pthread_mutex_destroy(&loop->mail_lock);
    free(loop);
    return NULL;
}

/* ---- the small ones ---- */

unsigned loop_index(const struct loop *loop)
{
    return loop->index;
}

bool loop_is_current(const struct loop *loop)
{
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) ==
           (unsigned long)pthread_self();
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

void loop_on_signal(struct loop *loop, unsigned bit, void (*on_signal)(void *ctx), void *ctx)
{
    assert(bit < LOOP_SIGNALS);
    loop->signals[bit] = (struct loop_call){on_signal, ctx};
}

int loop_on_turn_end(struct loop *loop, void (*hook)(void *ctx), void *ctx)
{
    if (loop->hook_count == LOOP_HOOKS_MAX)
        return -ENOSPC;
    loop->hooks[loop->hook_count++] = (struct loop_call){hook, ctx};
    return 0;
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}

static int catch_stop_signals(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};

    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0)
        return -errno;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART}, before;

        if (sigaction(signals[i], NULL, &before) < 0)
            return -errno;
        if (signals[i] == SIGHUP && before.sa_handler == SIG_IGN)
            continue;
        if (sigaction(signals[i], &action, NULL) < 0)
            return -errno;
    }
    return 0;
}

int loop_on_stop_signals(struct loop *loop, void (*on_signal)(void *ctx), void *ctx)
{
    int r = stop_fd < 0 ? catch_stop_signals() : 0;

    if (r < 0)
        return r;
    assert(!loop->stop_event);
    loop->stop_signal = (struct loop_call){on_signal, ctx};
    loop->stop_event = event_new(loop->base, stop_fd, EV_READ, on_stop_asked, loop);
    if (!loop->stop_event || event_add(loop->stop_event, NULL) < 0)
        return -ENOMEM;
    return 0;
}

void loop_stats(const struct loop *loop, struct loop_stats *out)
{
#define READ(counter) atomic_load_explicit(&loop->counter, memory_order_relaxed)
    *out = (struct loop_stats){
        .turns = READ(turns),
        .wakeups = READ(wakeups),
        .messages = READ(messages),
        .bytes_in = READ(bytes_in),
        .bytes_out = READ(bytes_out),
        .connections = READ(connections),
        .mailbox_high = READ(mailbox_high),
        .mailbox_full = READ(mailbox_full),
        .waiting_in = READ(waiting_in),
        .waiting_out = READ(waiting_out),
    };
#undef READ
}
