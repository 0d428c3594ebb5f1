/* moved_clock.h - the monotonic clock, put forward by a test: what is due in minutes is due now. Or
 * stopped: nothing becomes due, however long a thread does not run.
 *
 * The linker leads all calls of the clock here (--wrap, see meson.build). Nobody is woken by it: a
 * loop looks at its timers in its next turn, so a test moves the clock and asks something. */
#ifndef TERN_TESTS_MOVED_CLOCK_H
#define TERN_TESTS_MOVED_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

static struct {
    pthread_mutex_t lock; /* it never goes back */
    int64_t ahead_ns;
    bool stands;
    int64_t stands_at_ns;
} moved_clock = {.lock = PTHREAD_MUTEX_INITIALIZER};

int64_t __real_clock_mono_ns(void);
int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ns(void);

int64_t __wrap_clock_mono_ns(void)
{
    int64_t now;

    pthread_mutex_lock(&moved_clock.lock);
    now = moved_clock.stands ? moved_clock.stands_at_ns
                             : __real_clock_mono_ns() + moved_clock.ahead_ns;
    pthread_mutex_unlock(&moved_clock.lock);
    return now;
}

int64_t __wrap_clock_mono_ms(void)
{
    return __wrap_clock_mono_ns() / 1000000;
}

/* Not while it stands. */
static inline void move_clock(int64_t ms)
{
    pthread_mutex_lock(&moved_clock.lock);
    moved_clock.ahead_ns += ms * 1000000;
    pthread_mutex_unlock(&moved_clock.lock);
}

static inline void stop_clock(void)
{
    pthread_mutex_lock(&moved_clock.lock);
    moved_clock.stands_at_ns = __real_clock_mono_ns() + moved_clock.ahead_ns;
    moved_clock.stands = true;
    pthread_mutex_unlock(&moved_clock.lock);
}

/* It goes on from where it stood. */
static inline void start_clock(void)
{
    pthread_mutex_lock(&moved_clock.lock);
    moved_clock.ahead_ns = moved_clock.stands_at_ns - __real_clock_mono_ns();
    moved_clock.stands = false;
    pthread_mutex_unlock(&moved_clock.lock);
}

#endif
