/* log_limit.h - which complaints are due: one a minute for each subject.
 *
 * Pure: the caller brings the time and, where threads share a table, the lock. The table is
 * bounded. When all of its places belong to subjects younger than the period, the newcomers share
 * one place, so a peer that comes from ever new addresses cannot flood the log either: at most
 * LOG_LIMIT_SUBJECTS + 1 lines leave in any period.
 */
#ifndef TERN_COMMON_LOG_LIMIT_H
#define TERN_COMMON_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LIMIT_SUBJECTS = 256, LOG_LIMIT_PERIOD_MS = 60000 };

struct log_limit_entry {
    uint64_t subject; /* hash of the name; two that collide share their minute */
    int64_t said_ms;  /* when its last line left */
    uint64_t left_out;
    bool used;
};

/* Zeroes are an empty table. */
struct log_limit {
    struct log_limit_entry entries[LOG_LIMIT_SUBJECTS];
    struct log_limit_entry others; /* newcomers to a full table */
};

/* True when a line about `subject` may leave at `now_ms` (a monotonic clock); *left_out is then the
 * number of lines held back since the last one. False: the line was counted. */
bool log_limit_pass(struct log_limit *limit, const char *subject, int64_t now_ms,
                    uint64_t *left_out);

#endif
