/* broker_config.h - the broker's settings: RocketMQ's keys and ours
 * (docs/operations/configuration.md).
 *
 * A value that may change while running (CONFIG_LIVE) is read with settings_*() or under the read
 * lock; all others are constant after start.
 */
#ifndef TERN_BROKER_BROKER_CONFIG_H
#define TERN_BROKER_BROKER_CONFIG_H

#include <limits.h>
#include <pthread.h>

#include "broker/kept.h"
#include "common/config.h"

enum { FLUSH_ASYNC, FLUSH_SYNC };
enum { REPLICA_ACK_ROCKETMQ, REPLICA_ACK_STRICT };
enum { FRESH_FROM_MIN, FRESH_FROM_LAST };
enum { ROLE_ASYNC_MASTER, ROLE_SYNC_MASTER, ROLE_SLAVE };

struct broker_config {
    /* who and where */
    char broker_cluster_name[128], broker_name[128], broker_ip1[64], bind_address[64];
    char namesrv_addr[1024], store_path_root_dir[1024], store_path_commit_log[1024];
    char port_file[1024], region_id[128], log_level[8];
    int64_t broker_id, listen_port, ha_listen_port;
    int broker_role, flush_disk_type;
    /* copies */
    int64_t in_sync_replicas, slave_timeout, ha_slave_fallbehind_max, ha_send_heartbeat_interval,
        ha_housekeeping_interval, ha_transfer_batch_size;
    int replica_ack, ha_fresh_slave_from;
    /* a group whose members change roles: broker/group_config.h */
    char group_members[2600];
    int64_t member_id, master_start_wait, forward_wait_millis;
    /* being a slave, and having one */
    char ha_master_address[300];
    int64_t slave_metadata_interval, access_message_in_memory_max_ratio;
    bool slave_read_enable, offset_check_in_slave;
    /* store */
    int64_t mapped_file_size_commit_log, mapped_file_size_consume_queue, flush_interval_commit_log;
    int64_t max_hash_slot_num, max_index_num; /* key index */
    int64_t max_msgs_num_batch, default_query_max_num;
    bool message_index_enable, message_index_safe;
    int64_t max_message_size, sync_flush_timeout, memory_tail_bytes, queue_memory_bytes;
    int64_t queue_descriptors, reader_threads, scrub_bytes_per_second;
    /* memoryBudgetBytes, and what of it is for input, output and requests that wait: derived */
    int64_t memory_budget_bytes, waiting_bytes_per_loop, offloaded_bytes;
    bool record_crc;
    /* retention: broker/deletion.h */
    int64_t file_reserved_time, disk_max_used_space_ratio, disk_space_clean_forcibly_ratio;
    int64_t disk_space_warning_level_ratio, clean_resource_interval, delete_file_batch_max;
    int64_t delete_commit_log_files_interval, delete_consume_queue_files_interval;
    int64_t commit_log_bytes_max, disk_free_bytes_min;
    bool clean_file_forcibly_enable;
    char delete_when[80];
    bool off; /* the keys that may only be false */
    /* service */
    int64_t namesrv_listen_port; /* --standalone */
    char namesrv_port_file[1024];
    int64_t io_threads, busy_poll_micros, connections_max, broker_permission;
    int64_t default_topic_queue_nums, register_name_server_period, register_broker_timeout_mills;
    int64_t flush_consumer_offset_interval;
    bool auto_create_topic_enable, auto_create_subscription_group, cluster_topic_enable,
        broker_topic_enable, long_polling_enable, trace_on, trace_topic_enable, force_register;
    int64_t short_polling_time_mills, start_accept_send_request_time_stamp;
    char message_delay_level[512];
};

struct broker_settings {
    pthread_rwlock_t lock; /* for the CONFIG_LIVE members of config */
    struct broker_config config;
    struct config_origin origin;
    struct kept kept;                           /* from one broker to the next of this process */
    char config_file[PATH_MAX];                 /* -c, empty: none */
    int64_t version_counter, version_timestamp; /* DataVersion of GET_BROKER_CONFIG */
};

extern const struct config_spec broker_config_spec;

/* Defaults, then the rules that need more than one key (brokerIP1 against bindAddress, role against
 * id, haListenPort, messageDelayLevel). -EINVAL with the line to add or change. */
void settings_init(struct broker_settings *s);
int settings_finish(struct broker_settings *s, bool standalone, struct err *err);
/* Shares out the files that the process may have open: queueDescriptors and connectionsMax become
 * smaller, with a log line, where they would leave the log without any. -EMFILE: too few of all. */
enum { SETTINGS_FILES_MIN = 128 };
int settings_fit_files(struct broker_settings *s, int64_t files, struct err *err);

/* A percentage as it is used: RocketMQ's ranges for its ratios, where a value outside means the
 * nearest one inside. */
int settings_ratio(int64_t value, int low, int high);

/* Live values. */
int64_t settings_int(struct broker_settings *s, const int64_t *member);
bool settings_bool(struct broker_settings *s, const bool *member);
/* UPDATE_BROKER_CONFIG: checks every line of properties text, then applies all CONFIG_LIVE ones and
 * saves the file (if there is one, only the changed keys are edited). Keys that are known but not
 * live, or unknown: -EPERM or -EINVAL with err, nothing is changed. */
int settings_update(struct broker_settings *s, struct bytes properties, bool *permission_changed,
                    struct err *err);

#endif
