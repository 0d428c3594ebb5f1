/* loop_timer.c - a loop's timers: a binary heap by due_ms, in timers[1 .. timer_count].
 *
 * libevent holds one timer, for the earliest, and only while the loop sleeps. It is left alone when
 * the earliest is cancelled or moved back: one idle wakeup is cheaper than a timer re-armed for
 * every request. libevent's clock is coarse; what is due is decided by ours.
 */
#include "common/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { TIMERS_FIRST = 16, SLEEP_MAX_MS = 3600 * 1000 };

static void put(struct loop *loop, uint32_t at, struct loop_timer *t)
{
    loop->timers[at] = t;
    t->heap_at = at;
}

static void sift_up(struct loop *loop, uint32_t at, struct loop_timer *t)
{
    while (at > 1 && loop->timers[at / 2]->due_ms > t->due_ms) {
        put(loop, at, loop->timers[at / 2]);
        at /= 2;
    }
    put(loop, at, t);
}

static void sift_down(struct loop *loop, uint32_t at, struct loop_timer *t)
{
    for (;;) {
        uint32_t child = at * 2;
        if (child > loop->timer_count)
            break;
        if (child < loop->timer_count &&
            loop->timers[child + 1]->due_ms < loop->timers[child]->due_ms)
            child++;
        if (loop->timers[child]->due_ms >= t->due_ms)
            break;
        put(loop, at, loop->timers[child]);
        at = child;
    }
    put(loop, at, t);
}

/* Puts t, whose due_ms may be anything now, where it belongs from `at` on. */
static void settle(struct loop *loop, uint32_t at, struct loop_timer *t)
{
    if (at > 1 && loop->timers[at / 2]->due_ms > t->due_ms)
        sift_up(loop, at, t);
    else
        sift_down(loop, at, t);
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fire)(void *ctx), void *ctx)
{
    *t = (struct loop_timer){.loop = loop, .fire = fire, .ctx = ctx};
}

int loop_timer_set(struct loop_timer *t, int64_t due_ms)
{
    struct loop *loop = t->loop;

    if (!t->heap_at && loop->timer_count + 1 >= loop->timer_cap) {
        uint32_t cap = loop->timer_cap ? loop->timer_cap * 2 : TIMERS_FIRST;
        struct loop_timer **timers = realloc(loop->timers, cap * sizeof(struct loop_timer *));
        if (!timers)
            return -ENOMEM;
        loop->timers = timers;
        loop->timer_cap = cap;
    }

    /* A timer that re-arms itself for the past must not keep the others, or the turn, waiting. */
    if (loop->firing && due_ms <= loop->now_ms)
        due_ms = loop->now_ms + 1;
    t->due_ms = due_ms;
    settle(loop, t->heap_at ? t->heap_at : ++loop->timer_count, t);
    return 0;
}

void loop_timer_cancel(struct loop_timer *t)
{
    uint32_t at = t->heap_at;

    if (at == 0)
        return;
    struct loop *loop = t->loop;
    assert(at <= loop->timer_count && loop->timers[at] == t);
    t->heap_at = 0;
    struct loop_timer *last = loop->timers[loop->timer_count--];
    if (last != t)
        settle(loop, at, last);
}

void loop_timers_run(struct loop *loop)
{
    loop->firing = true;
    while (loop->timer_count && loop->timers[1]->due_ms <= loop->now_ms) {
        struct loop_timer *t = loop->timers[1];
        loop_timer_cancel(t);
        t->fire(t->ctx);
    }
    loop->firing = false;
}

bool loop_timers_arm(struct loop *loop, int64_t now_ms)
{
    if (loop->timer_count == 0)
        return true;

    int64_t due_ms = loop->timers[1]->due_ms;
    if (due_ms <= now_ms)
        return false;
    if (loop->timer_armed_ms && loop->timer_armed_ms <= due_ms)
        return true;
    int64_t wait_ms = due_ms - now_ms;
    if (wait_ms > SLEEP_MAX_MS)
        wait_ms = SLEEP_MAX_MS;
    struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    if (evtimer_add(loop->timer_event, &wait) < 0)
        return false; /* no memory: poll until there is */
    loop->timer_armed_ms = now_ms + wait_ms;
    return true;
}
