/* retention.c - see retention.h. */
#include "broker/store/retention.h"

#include <errno.h>

int retention_percent(const struct file_space *space)
{
    /* In units of 1 KiB, so that the product fits. */
    uint64_t used = space->used >> 10, all = used + (space->usable >> 10);

    return all == 0 ? 0 : (int)((used * 100 + all - 1) / all);
}

int retention_hours(const char *text, uint32_t *hours)
{
    uint32_t bits = 0;

    for (const char *p = text;; p++) {
        unsigned hour = 0, digits = 0;

        for (; *p >= '0' && *p <= '9' && digits < 3; p++, digits++)
            hour = hour * 10 + (unsigned)(*p - '0');
        if (digits == 0 || digits > 2 || hour > 23 || (*p != ';' && *p != '\0'))
            return -EINVAL;
        bits |= UINT32_C(1) << hour;
        if (*p == '\0')
            break;
    }
    *hours = bits;
    return 0;
}

static bool expired_may_go(const struct retention_rules *rules, const struct retention_facts *facts)
{
    return facts->asked || (rules->hours >> facts->hour & 1) ||
           facts->used_percent > rules->expired_percent;
}

enum retention_reason retention_judge(const struct retention_rules *rules,
                                      const struct retention_facts *facts)
{
    /* An expired one is called that whatever else would let it go. */
    if (expired_may_go(rules, facts) && facts->modified_ms <= facts->now_ms - rules->reserved_ms)
        return RETENTION_EXPIRED;
    if (rules->log_bytes_max > 0 && facts->log_bytes > rules->log_bytes_max)
        return RETENTION_LOG_BYTES;
    if (rules->free_bytes_min > 0 && facts->free_bytes < rules->free_bytes_min)
        return RETENTION_FREE_BYTES;
    if (rules->forced && facts->used_percent > rules->forced_percent)
        return RETENTION_DISK_RATIO;
    return RETENTION_KEEP;
}
