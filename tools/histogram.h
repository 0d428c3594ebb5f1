/* histogram.h - a log-linear histogram of durations: fixed size, no allocation, 1.6 % exact. Pure.
 *
 * Values below 128 have a bucket each; above, every power of two is cut into 64 buckets of the same
 * width. A percentile is the upper end of its bucket, and never above the largest value, which is
 * kept exactly. Not shared: each thread fills its own, and they are merged.
 */
#ifndef TERN_TOOLS_HISTOGRAM_H
#define TERN_TOOLS_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 58 * 64 + 64 };

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
    double sum;
};

void histogram_add(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *to, const struct histogram *from);
/* The value that `percent` of all values do not exceed; 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);

#endif
