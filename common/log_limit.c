/* log_limit.c - a flat table; it is searched only when something already went wrong. */
#include "common/log_limit.h"

#include <stddef.h>

static uint64_t subject_hash(const char *subject)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */

    for (const char *p = subject; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
    return hash;
}

static bool entry_pass(struct log_limit_entry *entry, int64_t now_ms, uint64_t *left_out)
{
    if (entry->used && now_ms - entry->said_ms < LOG_LIMIT_PERIOD_MS) {
        entry->left_out++;
        return false;
    }
    *left_out = entry->left_out;
    entry->used = true;
    entry->said_ms = now_ms;
    entry->left_out = 0;
    return true;
}

bool log_limit_pass(struct log_limit *limit, const char *subject, int64_t now_ms,
                    uint64_t *left_out)
{
    uint64_t hash = subject_hash(subject);
    struct log_limit_entry *spare = NULL;

    for (size_t i = 0; i < LOG_LIMIT_SUBJECTS; i++) {
        struct log_limit_entry *entry = &limit->entries[i];

        if (entry->used && entry->subject == hash)
            return entry_pass(entry, now_ms, left_out);
        /* A free place, or the one that has been silent for longest. */
        if (!spare || (spare->used && (!entry->used || entry->said_ms < spare->said_ms)))
            spare = entry;
    }
    if (spare->used && now_ms - spare->said_ms < LOG_LIMIT_PERIOD_MS)
        return entry_pass(&limit->others, now_ms, left_out);
    *spare = (struct log_limit_entry){.subject = hash};
    return entry_pass(spare, now_ms, left_out);
}
