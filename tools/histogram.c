/* histogram.c - see histogram.h. */
#include "tools/histogram.h"

#include <math.h>

enum { HALF = 64 }; /* buckets for each power of two */

static unsigned bucket_of(uint64_t value)
{
    unsigned shift;

    if (value < 2 * HALF)
        return (unsigned)value;
    shift = 57 - (unsigned)__builtin_clzll(value); /* leaves 64 to 127 */
    return shift * HALF + (unsigned)(value >> shift);
}

static uint64_t upper_end(unsigned bucket)
{
    unsigned shift;

    if (bucket < 2 * HALF)
        return bucket;
    shift = bucket / HALF - 1;
    return ((uint64_t)(bucket - shift * HALF) + 1) * (UINT64_C(1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->total++;
    h->sum += (double)value;
    if (value > h->max)
        h->max = value;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->counts[i] += from->counts[i];
    to->total += from->total;
    to->sum += from->sum;
    if (from->max > to->max)
        to->max = from->max;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)ceil((double)h->total * percent / 100), seen = 0;

    if (h->total == 0)
        return 0;
    if (wanted < 1)
        wanted = 1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= wanted)
            return upper_end(i) < h->max ? upper_end(i) : h->max;
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->total ? h->sum / (double)h->total : 0;
}
