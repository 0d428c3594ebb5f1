/* rates.h - how many messages came and went: totals and rates of the last 10 s, 60 s, 600 s.
 *
 * Loops add what a turn did; readers add under the lock. No timer: buckets of a second are moved
 * when somebody adds or looks.
 */
#ifndef TERN_BROKER_RATES_H
#define TERN_BROKER_RATES_H

#include "broker/broker.h"

struct rates *rates_new(void);
struct rates *rates_free(struct rates *r);
void rates_add(struct rates *r, const struct rates_turn *turn, int64_t now_ms);

struct rates_view {
    struct rates_turn total;                                    /* since start */
    double put_tps[3], found_tps[3], missed_tps[3], got_tps[3]; /* 10 s, 60 s, 600 s */
    uint64_t put_today_morning, put_yesterday_morning, got_today_morning, got_yesterday_morning;
};
void rates_view(struct rates *r, int64_t now_ms, struct rates_view *out);

#endif
