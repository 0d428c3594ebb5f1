/* clock.h - the two clocks: wall time for what people and files see, monotonic for waiting. */
#ifndef TERN_COMMON_CLOCK_H
#define TERN_COMMON_CLOCK_H

#include <stdint.h>

int64_t clock_wall_ms(void); /* ms since 1970, may step */
int64_t clock_mono_ms(void); /* ms since some start, never steps back */
int64_t clock_mono_ns(void);

#endif
