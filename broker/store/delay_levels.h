/* delay_levels.h - messageDelayLevel: what a level means in time. Pure. */
#ifndef TERN_BROKER_STORE_DELAY_LEVELS_H
#define TERN_BROKER_STORE_DELAY_LEVELS_H

#include "broker/store/record.h"

#define SCHEDULE_TOPIC "SCHEDULE_TOPIC_XXXX" /* queue n has the messages of level n + 1 */
#define DELAY_LEVELS_DEFAULT "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

/* "1s 5m 2h 1d" into ms, [0] is level 1: how many, or -EINVAL. */
int delay_levels_parse(const char *text, int64_t *ms, int max);
/* Delivery time of a message of that level (1 and above) stored at store_ms; levels beyond the last
 * are the last. */
int64_t delay_levels_due(const int64_t *ms, int levels, int64_t store_ms, int32_t level);
/* The tags code that belongs into the queue entry of a record: of its tag, or the delivery time in
 * the schedule topic. */
int64_t delay_levels_tags_code(const int64_t *ms, int levels, const struct record *r);

#endif
