/* clock.h - the two clocks: wall time for what people and files see, monotonic for waiting. */
#ifndef TERN_COMMON_CLOCK_H
#define TERN_COMMON_CLOCK_H

#include <pthread.h>
#include <stdint.h>

int64_t clock_wall_ms(void); /* ms since 1970, may step */
int64_t clock_mono_ms(void); /* ms since some start, never steps back */
int64_t clock_mono_ns(void);
/* A condition whose timed waits count on the monotonic clock. Cannot fail on Linux. */
void clock_cond_init(pthread_cond_t *cond);

#endif
