/* random.h - numbers that a seed decides, and nothing else (splitmix64). */
#ifndef TERN_TESTS_FAULTS_RANDOM_H
#define TERN_TESTS_FAULTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t random_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* The same number for the same three. */
static inline uint64_t random_of(uint64_t a, uint64_t b, uint64_t c)
{
    return random_mix(random_mix(random_mix(a) ^ b) ^ c);
}

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    r->state += UINT64_C(0x9E3779B97F4A7C15);
    return random_mix(r->state);
}

static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return random_next(r) % n;
}

/* In [low, high]. */
static inline int64_t random_in(struct random *r, int64_t low, int64_t high)
{
    return low + (int64_t)random_below(r, (uint64_t)(high - low) + 1);
}

static inline bool random_chance(struct random *r, unsigned percent)
{
    return random_below(r, 100) < percent;
}

#endif
