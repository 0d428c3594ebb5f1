/* deletion.c - see deletion.h. Both requests are answered at once; the store's thread does the
 * work. */
#include "broker/deletion.h"

enum { HOUR_MS = 3600000 };

void deletion_settings(struct broker_settings *s, struct store_retention *out)
{
    const struct broker_config *c = &s->config;

    pthread_rwlock_rdlock(&s->lock);
    *out = (struct store_retention){
        .rules =
            {
                .reserved_ms = c->file_reserved_time * HOUR_MS,
                .expired_percent = settings_ratio(c->disk_max_used_space_ratio, 10, 95),
                .forced_percent = settings_ratio(c->disk_space_clean_forcibly_ratio, 30, 100),
                .refuse_percent = settings_ratio(c->disk_space_warning_level_ratio, 35, 100),
                .forced = c->clean_file_forcibly_enable,
                .log_bytes_max = (uint64_t)c->commit_log_bytes_max,
                .free_bytes_min = (uint64_t)c->disk_free_bytes_min,
            },
        .round_ms = c->clean_resource_interval,
        .segment_pause_ms = c->delete_commit_log_files_interval,
        .queue_pause_ms = c->delete_consume_queue_files_interval,
        .segments_max = (int)c->delete_file_batch_max,
    };
    (void)retention_hours(c->delete_when, &out->rules.hours); /* checked when it was set */
    pthread_rwlock_unlock(&s->lock);
}

void deletion_changed(struct broker *b)
{
    struct store_retention retention;

    deletion_settings(b->settings, &retention);
    store_set_retention(b->store, &retention);
}

enum call_result serve_clean_queues(struct call *call)
{
    store_clean_queues(call->broker->store);
    return call_ok(call);
}

enum call_result serve_clean_log(struct call *call)
{
    store_clean_log(call->broker->store);
    return call_ok(call);
}
