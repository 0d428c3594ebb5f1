/* moved_clock.h - the monotonic clock, put forward by a test: what is due in minutes is due now.
 *
 * The linker leads all calls of the clock here (--wrap, see meson.build). Nobody is woken by it: a
 * loop looks at its timers in its next turn, so a test moves the clock and asks something. */
#ifndef TERN_TESTS_MOVED_CLOCK_H
#define TERN_TESTS_MOVED_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

static atomic_llong clock_ahead_ms;

int64_t __real_clock_mono_ms(void);
int64_t __real_clock_mono_ns(void);
int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_ns(void);

int64_t __wrap_clock_mono_ms(void)
{
    return __real_clock_mono_ms() + atomic_load(&clock_ahead_ms);
}

int64_t __wrap_clock_mono_ns(void)
{
    return __real_clock_mono_ns() + atomic_load(&clock_ahead_ms) * 1000000;
}

static inline void move_clock(int64_t ms)
{
    atomic_fetch_add(&clock_ahead_ms, ms);
}

#endif
