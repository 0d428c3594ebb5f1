/* retention.h - which segments of the log go, and when writes are refused: the decision alone. No
 * clock, no disk, no log.
 *
 * RocketMQ's rules, then ours in bytes. A segment's age is that of its last write. What is expired
 * goes in certain hours, or at any hour once the disk is fuller than it should be, or on request;
 * what is not goes when room has to be made.
 */
#ifndef TERN_BROKER_STORE_RETENTION_H
#define TERN_BROKER_STORE_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/file.h"

struct retention_rules {
    int64_t reserved_ms;     /* fileReservedTime: older segments are expired */
    uint32_t hours;          /* deleteWhen: bit h for the local hour h */
    int expired_percent;     /* diskMaxUsedSpaceRatio: above, expired ones go at any hour */
    int forced_percent;      /* diskSpaceCleanForciblyRatio: above, any go, if `forced` */
    int refuse_percent;      /* diskSpaceWarningLevelRatio: above, writes are refused */
    bool forced;             /* cleanFileForciblyEnable */
    uint64_t log_bytes_max;  /* commitLogBytesMax: segments beyond go at any age; 0: no bound */
    uint64_t free_bytes_min; /* diskFreeBytesMin: with less free, any go; 0: no bound */
};

struct retention_facts {
    int64_t now_ms, modified_ms; /* wall clock; the oldest segment's last write */
    int hour;                    /* local, 0 to 23 */
    int used_percent;            /* of the fullest disk; -1: unknown */
    uint64_t free_bytes;         /* of that with the least; UINT64_MAX: unknown */
    uint64_t log_bytes;          /* of all segments */
    bool asked;                  /* expired ones are to go now */
};

enum retention_reason {
    RETENTION_KEEP,
    RETENTION_EXPIRED,
    RETENTION_LOG_BYTES, /* the rest go before their time */
    RETENTION_FREE_BYTES,
    RETENTION_DISK_RATIO,
};
/* Whether the oldest segment goes, and why. */
enum retention_reason retention_judge(const struct retention_rules *rules,
                                      const struct retention_facts *facts);
/* Used part of what may be used, in whole percent, rounded up as RocketMQ does; 0 to 100. */
int retention_percent(const struct file_space *space);
/* Hours like "04" or "4;16", into bits. -EINVAL. */
int retention_hours(const char *text, uint32_t *hours);

#endif
