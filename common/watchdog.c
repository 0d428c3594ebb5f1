/* watchdog.c - see watchdog.h. */
#include "common/watchdog.h"

#include <string.h>

#include "common/log.h"
#include "common/notify.h"

enum { RETRY_MS = 1000 };

/* A timer that was armed once is armed again without memory. */
static void arm(struct watchdog *w, int64_t ms)
{
    if (loop_timer_set(&w->timer, loop_now_ms(w->loops[0]) + ms) < 0)
        log_error("out of memory: the service manager gets no more signs of life");
}

static void send_sign(struct watchdog *w)
{
    w->unsent = !notify_alive();
    if (w->unsent)
        arm(w, w->interval_ms < RETRY_MS ? w->interval_ms : RETRY_MS);
}

static void on_answer(void *ctx)
{
    struct watchdog *w = ctx;

    if (atomic_fetch_sub(&w->awaited, 1) == 1)
        loop_signal(w->loops[0], w->bit);
}

static void on_all_answered(void *ctx)
{
    send_sign(ctx);
}

static void on_timer(void *ctx)
{
    struct watchdog *w = ctx;

    arm(w, w->interval_ms);
    if (w->unsent || w->count == 1) {
        send_sign(w);
    } else if (atomic_load(&w->awaited) == 0) {
        atomic_store(&w->awaited, w->count - 1);
        for (unsigned i = 1; i < w->count; i++)
            loop_signal(w->loops[i], w->bit);
    } /* else a loop owes its answer to the last round still */
}

int watchdog_start(struct watchdog *w, struct loop *const *loops, unsigned count, unsigned bit)
{
    memset(w, 0, sizeof(*w));
    if (notify_watchdog_ms() == 0)
        return 0;
    w->loops = loops;
    w->count = count;
    w->bit = bit;
    w->interval_ms = notify_watchdog_ms() / 2;
    for (unsigned i = 0; i < count && count > 1; i++)
        loop_on_signal(loops[i], bit, i == 0 ? on_all_answered : on_answer, w);
    loop_timer_init(&w->timer, loops[0], on_timer, w);
    return loop_timer_set(&w->timer, loop_now_ms(loops[0]) + w->interval_ms);
}
