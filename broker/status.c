/* status.c - the broker's configuration and runtime figures: see status.h. */
#include "broker/forward.h"
#include "broker/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/clients.h"
#include "broker/deletion.h"
#include "broker/gate.h"
#include "broker/group_requests.h"
#include "broker/hold.h"
#include "broker/rates.h"
#include "broker/registrar.h"
#include "broker/replication/replication.h"
#include "common/clock.h"
#include "common/json.h"
#include "tern_version.h"

enum call_result serve_update_config(struct call *call)
{
    struct broker *b = call->broker;
    struct err err = {0};
    bool permission_changed = false;
    int r;

    if (call->frame->body.len == 0)
        return call_ok(call);
    r = settings_update(b->settings, call->frame->body, &permission_changed, &err);
    if (r < 0)
        return call_error(call, r == -EPERM ? RESPONSE_NO_PERMISSION : RESPONSE_SYSTEM_ERROR, "%s",
                          err.text);
    deletion_changed(b);
    if (permission_changed) {
        r = metadata_topics_touch(b->metadata);
        if (r < 0)
            return call_error(call, RESPONSE_SYSTEM_ERROR,
                              "the permission is changed, but the name servers cannot be told: %s",
                              strerror(-r));
        registrar_changed(b->registrar);
    }
    return call_ok(call);
}

enum call_result serve_get_config(struct call *call)
{
    struct broker_settings *s = call->broker->settings;
    struct remoting_writer w;
    char version[96];

    pthread_rwlock_rdlock(&s->lock);
    snprintf(version, sizeof(version), "{\"counter\":%lld,\"timestamp\":%lld}",
             (long long)s->version_counter, (long long)s->version_timestamp);
    call_begin(call, &w, RESPONSE_SUCCESS, true);
    remoting_put_str(&w, "version", version);
    remoting_body(&w);
    config_properties(&broker_config_spec, &s->config, call->out);
    remoting_end(&w);
    pthread_rwlock_unlock(&s->lock);
    return CALL_DONE;
}

/* --- runtime figures: every value is text --- */

static void add_text(struct json_out *j, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add_text(struct json_out *j, const char *key, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    jout_kv_str(j, key, text);
}

static void add_number(struct json_out *j, const char *key, uint64_t value)
{
    add_text(j, key, "%llu", (unsigned long long)value);
}

static void add_rates(struct json_out *j, const char *key, const double rate[3])
{
    add_text(j, key, "%g %g %g", rate[0], rate[1], rate[2]);
}

/* As retention counts it, in hundredths; -1: nobody knows. */
static double disk_ratio(const char *path, struct file_space *space)
{
    *space = (struct file_space){0};
    return file_space(path, space) < 0 ? -1 : retention_percent(space) / 100.0;
}

static void add_disk(struct json_out *j, const struct broker_config *c)
{
    const char *log =
        c->store_path_commit_log[0] ? c->store_path_commit_log : c->store_path_root_dir;
    struct file_space space, ignored;
    double ratio = disk_ratio(log, &space);
    char key[1100];

    add_text(j, "commitLogDirCapacity", "Total : %.1f GiB, Free : %.1f GiB.",
             (double)space.total / (1 << 30), (double)space.usable / (1 << 30));
    add_text(j, "commitLogDiskRatio", "%.2f", ratio);
    snprintf(key, sizeof(key), "commitLogDiskRatio_%s", log);
    add_text(j, key, "%.2f", ratio);
    add_text(j, "consumeQueueDiskRatio", "%.2f", disk_ratio(c->store_path_root_dir, &ignored));
}

static void add_pools(struct json_out *j, struct broker *b)
{
    /* Pulls that would wait for the disk and all queries share one queue: the readers'. */
    static const char *const pools[] = {"pull", "query"};
    struct store_stats stats;
    char key[64];

    store_stats(b->store, &stats);
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        snprintf(key, sizeof(key), "%sThreadPoolQueueCapacity", pools[i]);
        add_number(j, key, stats.jobs_waiting_max);
        snprintf(key, sizeof(key), "%sThreadPoolQueueHeadWaitTimeMills", pools[i]);
        add_number(j, key, (uint64_t)stats.first_job_waits_ms);
        snprintf(key, sizeof(key), "%sThreadPoolQueueSize", pools[i]);
        add_number(j, key, stats.jobs_waiting);
    }
    /* Sends wait in no queue before they are carried out. Tools read these. */
    add_number(j, "sendThreadPoolQueueCapacity", 0);
    add_number(j, "sendThreadPoolQueueHeadWaitTimeMills", 0);
    add_number(j, "sendThreadPoolQueueSize", 0);
    /* The append lock is held for the copy of a message, never for a millisecond. */
    add_number(j, "pageCacheLockTimeMills", 0);
}

static void add_messages(struct json_out *j, struct broker *b)
{
    struct rates_view view;

    rates_view(b->rates, clock_wall_ms(), &view);
    add_rates(j, "putTps", view.put_tps);
    add_rates(j, "getFoundTps", view.found_tps);
    add_rates(j, "getMissTps", view.missed_tps);
    {
        double total[3];

        for (int i = 0; i < 3; i++)
            total[i] = view.found_tps[i] + view.missed_tps[i];
        add_rates(j, "getTotalTps", total);
    }
    add_rates(j, "getTransferedTps", view.got_tps);
    add_rates(j, "getTransferredTps", view.got_tps);
    add_number(j, "msgPutTotalYesterdayMorning", view.put_yesterday_morning);
    add_number(j, "msgPutTotalTodayMorning", view.put_today_morning);
    add_number(j, "msgPutTotalTodayNow", view.total.put_messages);
    add_number(j, "msgGetTotalYesterdayMorning", view.got_yesterday_morning);
    add_number(j, "msgGetTotalTodayMorning", view.got_today_morning);
    add_number(j, "msgGetTotalTodayNow", view.total.got_messages);
    add_number(j, "putMessageTimesTotal", view.total.put_messages);
    add_number(j, "putMessageSizeTotal", view.total.put_bytes);
    add_number(j, "putMessageFailedTimes", view.total.failed_puts);
    add_text(j, "putMessageAverageSize", "%.1f",
             view.total.put_messages
                 ? (double)view.total.put_bytes / (double)view.total.put_messages
                 : 0.0);
}

static void add_index(struct json_out *j, const struct store_stats *stats)
{
    const struct index_stats *i = &stats->index;

    if (!stats->has_index)
        return;
    add_number(j, "ternIndexPosition", i->position);
    add_number(j, "ternIndexBehindBytes", i->lag_bytes);
    add_number(j, "ternIndexRepairBytes", i->repairing_bytes);
    add_number(j, "ternIndexFiles", i->files);
    add_number(j, "ternIndexEntries", i->entries);
    add_number(j, "ternIndexEntriesPending", i->pending);
    add_number(j, "ternIndexFailures", i->failures);
}

static void add_store(struct json_out *j, struct broker *b)
{
    struct store_stats stats;
    char reason[160];
    uint64_t confirmed = store_confirmed(b->store), end = store_end(b->store);
    uint64_t written = store_written(b->store), flushed = store_flushed(b->store);

    store_stats(b->store, &stats);
    add_number(j, "commitLogMinOffset", store_min(b->store));
    add_number(j, "commitLogMaxOffset", confirmed);
    /* appended and not yet to be seen by consumers */
    add_number(j, "dispatchBehindBytes", end > confirmed ? end - confirmed : 0);
    add_index(j, &stats);
    add_text(j, "earliestMessageTimeStamp", "%lld", (long long)store_earliest_ms(b->store));
    add_text(j, "remainHowManyDataToFlush", "%llu B",
             (unsigned long long)(written > flushed ? written - flushed : 0));
    /* ours */
    add_number(j, "ternCommitLogWritten", written);
    add_number(j, "ternCommitLogFlushed", flushed);
    add_number(j, "ternFlushes", stats.flushes);
    add_number(j, "ternFlushFailures", stats.flush_failures);
    add_number(j, "ternQueues", stats.queues.queues);
    add_number(j, "ternQueueMemoryBytes", stats.queues.chunk_bytes);
    add_number(j, "ternQueueMemoryBudget", stats.queues.chunk_budget);
    add_number(j, "ternQueueEntriesPending", stats.queues.pending_entries);
    add_number(j, "ternQueueFilesOpen", stats.queues.open_files);
    add_number(j, "ternCommitLogBytes", stats.log_space);
    add_number(j, "ternDeletedSegments", stats.deleted_segments);
    add_number(j, "ternDeletedQueueFiles", stats.deleted_queue_files);
    add_number(j, "ternDamagedRecords", stats.damaged_records);
    add_number(j, "ternScrubbedTo", stats.scrubbed_to);
    add_number(j, "ternScrubEnd", stats.scrub_end);
    add_number(j, "ternScrubProblems", stats.scrub_problems);
    add_number(j, "ternEntriesRepaired", stats.entries_mended);
    add_number(j, "ternEntriesGivenUp", stats.entries_given_up);
    add_number(j, "ternRepairsWaiting", stats.repairs_waiting);
    add_text(j, "ternDiskFull", "%s", store_disk_full(b->store, NULL) ? "true" : "false");
    add_text(j, "ternWritesStopped", "%s", store_stopped(b->store, reason) ? reason : "");
    add_number(j, "ternMetadataDurable", metadata_durable(b->metadata));
    add_number(j, "ternMetadataLast", metadata_last(b->metadata));
}

static void add_delays(struct json_out *j, struct broker *b)
{
    struct topic *topic = metadata_topic(b->metadata, BYTES_LIT("SCHEDULE_TOPIC_XXXX"), NULL);

    for (int level = 1; topic && level <= b->delay_levels; level++) {
        uint32_t queue = store_queue(b->store, topic, level - 1);
        char key[48];

        if (queue == QUEUE_NONE)
            continue;
        snprintf(key, sizeof(key), "scheduleMessageOffset_%d", level);
        add_text(j, key, "%lld,%lld", (long long)metadata_delay(b->metadata, level),
                 (long long)store_range(b->store, queue).max);
    }
}

static void add_replication(struct json_out *j, struct broker *b)
{
    struct ha_status status;
    struct forward_stats forward;

    replication_status(b->replication, &status);
    add_number(j, "ternCopies", replication_copies(b->replication));
    add_number(j, "ternSlaves", status.connections);
    add_number(j, "ternSlavesNear", status.near);
    if (status.acked != UINT64_MAX)
        add_number(j, "ternCopiesAcked", status.acked);
    if (status.slowest != UINT64_MAX)
        add_number(j, "ternSlowestSlave", status.slowest);
    add_number(j, "ternReplicationSentBytes", status.sent_bytes);
    add_number(j, "ternReplicationRefused", status.refused);
    forward_stats(b->forward, &forward);
    add_number(j, "ternForwarded", forward.forwarded);
    add_number(j, "ternForwardWaiting", forward.waiting);
}

static void add_plain(struct json_out *j, struct broker *b)
{
    struct ha_slave_status s;
    uint64_t end = store_end(b->store);
    int64_t age;

    if (replication_is_member(b->replication))
        return;
    add_text(j, "ternRole", "%s", replication_is_slave(b->replication) ? "slave" : "master");
    add_text(j, "ternPromoted", "%s", replication_promoted(b->replication) > 0 ? "true" : "false");
    if (!replication_slave_status(b->replication, &s, &age))
        return;
    add_text(j, "ternMaster", "%s", s.master.main);
    add_text(j, "ternMasterHa", "%s", s.master.ha);
    add_text(j, "ternSlaveState", "%s", ha_slave_state_names[s.state]);
    /* As of the last frame, or of the last time the master was asked. */
    add_number(j, "ternSlaveLag", s.master_end > end ? s.master_end - end : 0);
    add_number(j, "ternMasterLogEnd", s.master_end);
    add_number(j, "ternSlaveReported", s.reported);
    add_number(j, "ternSlaveConnections", s.connections);
    add_number(j, "ternSlaveFrames", s.frames);
    add_number(j, "ternSlaveBytes", s.bytes);
    add_text(j, "ternSlaveSilentMs", "%lld", (long long)s.silent_ms);
    add_text(j, "ternSlaveMetadataAgeMs", "%lld", (long long)age);
}

static void add_group(struct json_out *j, struct broker *b)
{
    struct group *group = replication_group(b->replication);
    struct group_status s;
    unsigned connected = 0;
    char master[GROUP_ADDRESS_MAX];

    if (!group)
        return;
    group_status(group, &s);
    replication_master_of_group(b->replication, master, sizeof(master));
    for (unsigned i = 0; i < s.member_count; i++)
        connected += s.members[i].connected;
    add_number(j, "ternMember", s.self);
    add_text(j, "ternRole", "%s", group_role_name(s.role));
    add_number(j, "ternEpoch", s.epoch);
    add_number(j, "ternMasterMember", s.master);
    add_text(j, "ternMaster", "%s", master);
    add_text(j, "ternMembers", "%u of %u connected", connected, s.member_count);
    add_number(j, "ternConfirmed", s.confirmed);
    add_text(j, "ternDoubtful", "%s", s.doubtful ? "true" : "false");
    add_text(j, "ternAlarm", "%s", s.alarm);
}

static void add_loops(struct json_out *j, struct broker *b)
{
    struct loop_stats sum = {0};
    uint64_t mailbox_high = 0;

    for (unsigned i = 0; i < b->loop_count; i++) {
        struct loop_stats stats;

        loop_stats(b->loops[i], &stats);
        sum.turns += stats.turns;
        sum.bytes_in += stats.bytes_in;
        sum.bytes_out += stats.bytes_out;
        sum.connections += stats.connections;
        sum.mailbox_full += stats.mailbox_full;
        sum.waiting_in += stats.waiting_in;
        sum.waiting_out += stats.waiting_out;
        if (stats.mailbox_high > mailbox_high)
            mailbox_high = stats.mailbox_high;
    }
    add_number(j, "ternLoops", b->loop_count);
    add_number(j, "ternTurns", sum.turns);
    add_number(j, "ternBytesIn", sum.bytes_in);
    add_number(j, "ternBytesOut", sum.bytes_out);
    add_number(j, "ternConnections", sum.connections);
    add_number(j, "ternWaitingInputBytes", sum.waiting_in);
    add_number(j, "ternWaitingOutputBytes", sum.waiting_out);
    add_number(j, "ternWaitingBytesMax",
               2 * b->loop_count * (uint64_t)b->settings->config.waiting_bytes_per_loop);
    add_number(j, "ternMailboxHigh", mailbox_high);
    add_number(j, "ternMailboxFull", sum.mailbox_full);
    add_number(j, "ternClients", clients_count(b->clients));
}

enum call_result serve_runtime_info(struct call *call)
{
    struct broker *b = call->broker;
    const struct broker_config *c = &b->settings->config;
    int64_t now = clock_wall_ms(), up = (now - b->boot_ms) / 1000;
    unsigned current, configured;
    struct remoting_writer w;
    struct json_out j;

    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "table");
    jout_object(&j);
    add_text(&j, "bootTimestamp", "%lld", (long long)b->boot_ms);
    add_number(&j, "brokerVersion", REMOTING_VERSION);
    add_text(&j, "brokerVersionDesc", "V4_9_8");
    add_text(&j, "runtime", "[ %lld days, %lld hours, %lld minutes, %lld seconds ]",
             (long long)(up / 86400), (long long)(up / 3600 % 24), (long long)(up / 60 % 60),
             (long long)(up % 60));
    add_text(&j, "startAcceptSendRequestTimeStamp", "%lld",
             (long long)c->start_accept_send_request_time_stamp);
    add_text(&j, "ternVersion", "%s", TERN_VERSION);
    registrar_status(b->registrar, &current, &configured);
    add_text(&j, "ternNameServers", "%u of %u up to date", current, configured);
    add_messages(&j, b);
    add_pools(&j, b);
    add_store(&j, b);
    add_disk(&j, c);
    add_delays(&j, b);
    add_replication(&j, b);
    add_plain(&j, b);
    add_group(&j, b);
    add_loops(&j, b);
    jout_object_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    return CALL_DONE;
}
