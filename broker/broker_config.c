/* broker_config.c - the table of the broker's keys and the rules between them: see
 * broker_config.h. */
#include "broker/broker_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "broker/group_config.h"
#include "broker/store/delay_levels.h"
#include "broker/store/index_file.h"
#include "broker/store/metadata.h"
#include "broker/store/retention.h"
#include "common/clock.h"
#include "common/dial.h"
#include "common/file.h"
#include "common/log.h"
#include "common/rpc.h"
#include "common/memory_limit.h"

enum {
    MEMORY_BUDGET_MIN = 128 << 20,
    MEMORY_WAITING_MIN = 64 << 20,   /* several of the largest frames each way, and off the loops */
    MEMORY_OFFLOADED_MAX = 64 << 20, /* of requests that wait for a reader thread */
};

static const char *const flush_types[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};
static const char *const replica_acks[] = {"rocketmq", "strict", NULL};
static const char *const fresh_from[] = {"min", "last", NULL};
static const char *const roles[] = {"ASYNC_MASTER", "SYNC_MASTER", "SLAVE", NULL};

static bool check_ip(const char *value, char *expected, size_t expected_size)
{
    unsigned char address[16];

    snprintf(expected, expected_size, "a numeric IPv4 or IPv6 address");
    return value[0] == '\0' || inet_pton(AF_INET, value, address) == 1 ||
           inet_pton(AF_INET6, value, address) == 1;
}

static bool check_listen_ip(const char *value, char *expected, size_t expected_size)
{
    return check_ip(value, expected, expected_size) && value[0] != '\0';
}

static bool check_name_servers(const char *value, char *expected, size_t expected_size)
{
    char item[300];

    while (*value) {
        size_t len = strcspn(value, ";");
        struct rpc *probe = NULL;

        snprintf(expected, expected_size, "host:port or [IPv6 address]:port, separated by ';'");
        if (len && (!bytes_to_cstr(bytes_of(value, len), item, sizeof(item)) ||
                    rpc_new(&probe, item, NULL) < 0))
            return false;
        rpc_free(probe);
        value += len + (value[len] == ';');
    }
    return true;
}

static bool check_address(const char *value, char *expected, size_t expected_size)
{
    struct dial_address address;

    snprintf(expected, expected_size, "host:port or [IPv6 address]:port");
    return value[0] == '\0' || dial_parse(&address, value, NULL) == 0;
}

static bool check_members(const char *value, char *expected, size_t expected_size)
{
    struct group_list list;
    struct err why = {0};

    if (value[0] == '\0' || group_list_parse(&list, value, &why) == 0)
        return true;
    snprintf(expected, expected_size, "members like 1@host:port;2@host:port (%s)", why.text);
    return false;
}

static bool check_name(const char *value, char *expected, size_t expected_size)
{
    snprintf(expected, expected_size, "1 to 100 of the letters a-z A-Z 0-9 _ - | %%");
    return strlen(value) <= 100 && topic_name_ok(bytes_str(value));
}

static bool check_log_level(const char *value, char *expected, size_t expected_size)
{
    enum log_level level;

    snprintf(expected, expected_size, "error, warn, info or debug");
    return log_level_parse(value, &level);
}

static bool check_delay_levels(const char *value, char *expected, size_t expected_size)
{
    int64_t ms[64];

    snprintf(expected, expected_size,
             "up to 64 items like 1s 5m 2h 1d, separated by one space each");
    return delay_levels_parse(value, ms, 64) > 0;
}

static bool check_hours(const char *value, char *expected, size_t expected_size)
{
    uint32_t hours;

    snprintf(expected, expected_size, "hours from 0 to 23 separated by ';', like 04 or 4;16");
    return retention_hours(value, &hours) == 0;
}

/* Switches whose meaning this version cannot give: on, they would promise what nobody keeps. */
static bool check_off(const char *value, char *expected, size_t expected_size)
{
    snprintf(expected, expected_size, "false: this version does not have it");
    return strcasecmp(value, "false") == 0;
}

#define STRING(key, member, first, text, flag_bits, check_fn)                                      \
    {                                                                                              \
        .name = key, .type = CONFIG_STRING, .offset = offsetof(struct broker_config, member),      \
        .string_max = sizeof(((struct broker_config *)0)->member), .initial = first, .help = text, \
        .flags = flag_bits, .check = check_fn                                                      \
    }
#define INT(key, member, low, high, first, text, flag_bits)                                        \
    {                                                                                              \
        .name = key, .type = CONFIG_INT, .offset = offsetof(struct broker_config, member),         \
        .min = low, .max = high, .initial = first, .help = text, .flags = flag_bits                \
    }
#define BOOL(key, member, first, text, flag_bits)                                                  \
    {                                                                                              \
        .name = key, .type = CONFIG_BOOL, .offset = offsetof(struct broker_config, member),        \
        .initial = first, .help = text, .flags = flag_bits                                         \
    }
#define OFF(key, text)                                                                             \
    {                                                                                              \
        .name = key, .type = CONFIG_BOOL, .offset = offsetof(struct broker_config, off),           \
        .initial = "false", .help = text, .check = check_off                                       \
    }
#define CHOICE(key, member, names, first, text)                                                    \
    {                                                                                              \
        .name = key, .type = CONFIG_CHOICE, .offset = offsetof(struct broker_config, member),      \
        .choices = names, .initial = first, .help = text                                           \
    }

static const struct config_key keys[] = {
    STRING("brokerClusterName", broker_cluster_name, "DefaultCluster",
           "cluster this broker belongs to", 0, check_name),
    STRING("brokerName", broker_name, "broker-a", "name of the master/slave group", 0, check_name),
    INT("brokerId", broker_id, 0, INT32_MAX, "0", "0 for a master, above 0 for a slave", 0),
    CHOICE("brokerRole", broker_role, roles, "ASYNC_MASTER",
           "ASYNC_MASTER; SYNC_MASTER: a send is answered when slaves have the message; SLAVE"),
    STRING("haMasterAddress", ha_master_address, "",
           "a slave's master, host:port of its replication port; default: as name servers say", 0,
           check_address),
    STRING("groupMembers", group_members, "",
           "all members of this broker's group, id@host:port separated by ';'; empty: no group", 0,
           check_members),
    INT("memberId", member_id, 0, UINT16_MAX, "0", "which of groupMembers this broker is", 0),
    INT("forwardWaitMillis", forward_wait_millis, 0, 60000, "2500",
        "ms that a member of a group keeps a request for a master it does not reach, and a new "
        "master a send until others follow; 0: off",
        0),
    INT("masterStartWait", master_start_wait, 1, 3600000, "5000",
        "ms that a member of a group which was its master listens for another one at its start", 0),
    INT("slaveMetadataInterval", slave_metadata_interval, 10, 3600000, "10000",
        "ms between a slave's looks at its master's topics, groups and offsets", 0),
    BOOL("slaveReadEnable", slave_read_enable, "false",
         "consumers that are far behind are sent to the slave that their group names", CONFIG_LIVE),
    BOOL("offsetCheckInSlave", offset_check_in_slave, "false",
         "a slave corrects pulls at offsets that it does not have, as a master does", CONFIG_LIVE),
    INT("accessMessageInMemoryMaxRatio", access_message_in_memory_max_ratio, 0, 100, "40",
        "percent of the machine's memory: what is further behind the end counts as far behind", 0),
    INT("inSyncReplicas", in_sync_replicas, 0, 32, "0",
        "SYNC_MASTER: copies of a message answered with success, this one included; 0: two", 0),
    CHOICE("replicaAck", replica_ack, replica_acks, "rocketmq",
           "SYNC_MASTER without enough slaves: answer 11 or 12 and go on, or refuse (14)"),
    INT("slaveTimeout", slave_timeout, 1, 3600000, "3000",
        "SYNC_MASTER: ms that a message waits for its copies; in a group also a change of a topic, "
        "a "
        "group or a queue lock",
        0),
    INT("haSlaveFallbehindMax", ha_slave_fallbehind_max, 1, INT64_MAX, "268435456",
        "a slave that lacks so many bytes is not waited for", 0),
    INT("haSendHeartbeatInterval", ha_send_heartbeat_interval, 1, 3600000, "5000",
        "ms between heartbeats on the replication port", 0),
    INT("haHousekeepingInterval", ha_housekeeping_interval, 1, 3600000, "20000",
        "ms without a byte after which a replication connection is closed", 0),
    INT("haTransferBatchSize", ha_transfer_batch_size, 512, 4194292, "32768",
        "bytes of log in one frame to a slave; RocketMQ's slaves take less than 4 MiB", 0),
    CHOICE("haFreshSlaveFrom", ha_fresh_slave_from, fresh_from, "min",
           "where a slave with an empty log begins: at the first file, or at the last"),
    CHOICE("flushDiskType", flush_disk_type, flush_types, "ASYNC_FLUSH",
           "when a send is answered: after the write, or after the flush to the disk"),
    STRING("bindAddress", bind_address, "127.0.0.1", "address to listen on; 0.0.0.0 or :: for all",
           0, check_listen_ip),
    STRING("brokerIP1", broker_ip1, "", "address that clients are told; default: bindAddress", 0,
           check_ip),
    INT("listenPort", listen_port, 0, 65534, "10911",
        "main port P; P-2 is served too; 0: any free one, see portFile", 0),
    INT("haListenPort", ha_listen_port, 0, 65535, "0", "replication port; 0: listenPort + 1", 0),
    STRING("portFile", port_file, "", "file to write the listening port to; empty: none", 0, NULL),
    STRING("namesrvAddr", namesrv_addr, "", "name servers, host:port separated by ';'", 0,
           check_name_servers),
    STRING("storePathRootDir", store_path_root_dir, "", "store folder; default: $HOME/store", 0,
           NULL),
    STRING("storePathCommitLog", store_path_commit_log, "",
           "commit log folder; default: storePathRootDir/commitlog", 0, NULL),
    INT("mappedFileSizeCommitLog", mapped_file_size_commit_log, 4096, INT32_MAX, "1073741824",
        "bytes of a commit log segment; as in the files that are there", 0),
    INT("mappedFileSizeConsumeQueue", mapped_file_size_consume_queue, 20, 1 << 30, "6000000",
        "bytes of a consume queue file, rounded up to a multiple of 20", 0),
    INT("flushIntervalCommitLog", flush_interval_commit_log, 1, 60000, "500",
        "ms between flushes of the log under ASYNC_FLUSH", 0),
    INT("syncFlushTimeout", sync_flush_timeout, 1, 600000, "5000",
        "ms until a send under SYNC_FLUSH is answered FLUSH_DISK_TIMEOUT", 0),
    INT("maxMessageSize", max_message_size, 1, 12 << 20, "4194304", "largest message body, bytes",
        0),
    BOOL("messageIndexEnable", message_index_enable, "true", "keep an index of message keys", 0),
    BOOL("messageIndexSafe", message_index_safe, "false",
         "for RocketMQ on the same files; here no key is lost by a crash in either case", 0),
    INT("maxHashSlotNum", max_hash_slot_num, 1, INDEX_SLOTS_MAX, "5000000",
        "slots of a key index file; as in the files that are there", 0),
    INT("maxIndexNum", max_index_num, 2, INDEX_ENTRIES_MAX, "20000000",
        "entries of a key index file; as in the files that are there", 0),
    INT("maxMsgsNumBatch", max_msgs_num_batch, 1, 1024, "64",
        "messages that a query by key gives at most", CONFIG_LIVE),
    INT("defaultQueryMaxNum", default_query_max_num, 1, 1024, "32",
        "messages that a query by UNIQ_KEY gives at most", CONFIG_LIVE),
    INT("flushConsumerOffsetInterval", flush_consumer_offset_interval, 100, 3600000, "5000",
        "ms between exports of the JSON files while something changed", 0),
    STRING("messageDelayLevel", message_delay_level, DELAY_LEVELS_DEFAULT,
           "delay of each level from 1 on", 0, check_delay_levels),
    INT("fileReservedTime", file_reserved_time, 0, 1000000, "72",
        "hours after its last write that a log segment is expired", CONFIG_LIVE),
    STRING("deleteWhen", delete_when, "04", "local hours to delete what is expired, like 4;16",
           CONFIG_LIVE, check_hours),
    INT("diskMaxUsedSpaceRatio", disk_max_used_space_ratio, 0, 100, "75",
        "% of the disk in use above which expired segments go at any hour; 10 to 95", CONFIG_LIVE),
    BOOL("cleanFileForciblyEnable", clean_file_forcibly_enable, "true",
         "above diskSpaceCleanForciblyRatio segments go whatever their age", CONFIG_LIVE),
    INT("diskSpaceCleanForciblyRatio", disk_space_clean_forcibly_ratio, 0, 100, "85",
        "% of the disk in use above which segments go whatever their age; 30 or more", CONFIG_LIVE),
    INT("diskSpaceWarningLevelRatio", disk_space_warning_level_ratio, 0, 100, "90",
        "% of the disk in use above which all writes are refused; 35 or more", CONFIG_LIVE),
    INT("cleanResourceInterval", clean_resource_interval, 1, 3600000, "10000",
        "ms between looks at the disk and the oldest segment", CONFIG_LIVE),
    INT("deleteFileBatchMax", delete_file_batch_max, 1, 10000, "10",
        "segments deleted at one look, at most", CONFIG_LIVE),
    INT("deleteCommitLogFilesInterval", delete_commit_log_files_interval, 0, 600000, "100",
        "ms of pause after each segment deleted", CONFIG_LIVE),
    INT("deleteConsumeQueueFilesInterval", delete_consume_queue_files_interval, 0, 600000, "100",
        "ms of pause after each queue that lost files", CONFIG_LIVE),
    INT("brokerPermission", broker_permission, 0, 7, "6", "4 read + 2 write", CONFIG_LIVE),
    BOOL("autoCreateTopicEnable", auto_create_topic_enable, "true",
         "a send to an unknown topic makes it from its template", CONFIG_LIVE),
    BOOL("autoCreateSubscriptionGroup", auto_create_subscription_group, "true",
         "an unknown consumer group is made on first use", CONFIG_LIVE),
    INT("defaultTopicQueueNums", default_topic_queue_nums, 1, 65536, "8",
        "queues of the template topic TBW102", 0),
    BOOL("clusterTopicEnable", cluster_topic_enable, "true", "a topic named like the cluster", 0),
    BOOL("brokerTopicEnable", broker_topic_enable, "true", "a topic named like the broker", 0),
    BOOL("traceTopicEnable", trace_topic_enable, "false", "make RMQ_SYS_TRACE_TOPIC", 0),
    BOOL("longPollingEnable", long_polling_enable, "true", "a pull that finds nothing may wait",
         CONFIG_LIVE),
    INT("shortPollingTimeMills", short_polling_time_mills, 1, 60000, "1000",
        "ms such a pull waits when longPollingEnable is false", CONFIG_LIVE),
    BOOL("traceOn", trace_on, "true", "what send replies say as TRACE_ON", 0),
    STRING("regionId", region_id, "DefaultRegion", "what send replies say as MSG_REGION", 0, NULL),
    INT("startAcceptSendRequestTimeStamp", start_accept_send_request_time_stamp, 0, INT64_MAX, "0",
        "sends are refused before this time, ms since 1970", 0),
    INT("registerNameServerPeriod", register_name_server_period, 10000, 60000, "30000",
        "ms between registrations at the name servers", 0),
    INT("registerBrokerTimeoutMills", register_broker_timeout_mills, 100, 60000, "6000",
        "ms a registration may take", 0),
    BOOL("forceRegister", force_register, "true",
         "tell name servers the whole table each period; false: only where its version differs", 0),
    OFF("aclEnable", "access control by plain_acl.yml: not in this version, only false is taken"),
    OFF("authenticationEnabled", "access control of 5.x: not in this version, only false is taken"),
    OFF("authorizationEnabled", "access control of 5.x: not in this version, only false is taken"),
    OFF("enableDLegerCommitLog", "DLedger: not in this version, only false is taken"),
    OFF("enableControllerMode", "controller mode: not in this version, only false is taken"),
    /* ours */
    INT("commitLogBytesMax", commit_log_bytes_max, 0, INT64_MAX, "0",
        "bytes of log segments kept; the oldest beyond go whatever their age; 0: no bound",
        CONFIG_LIVE),
    INT("diskFreeBytesMin", disk_free_bytes_min, 0, INT64_MAX, "0",
        "bytes to keep free on the disk; with less, segments go whatever their age; 0: no bound",
        CONFIG_LIVE),
    INT("ioThreads", io_threads, 0, 16, "0", "event loops; 0: one up to 4 cores, then a quarter",
        0),
    INT("busyPollMicros", busy_poll_micros, 0, 10000, "50",
        "us a loop polls after work before it sleeps", 0),
    INT("connectionsMax", connections_max, 1, 1000000, "100000", "connections at most", 0),
    INT("memoryBudgetBytes", memory_budget_bytes, 0, INT64_C(1) << 46, "0",
        "memory for log tail, queue entries and whatever waits; 0: half of what the process may "
        "have",
        0),
    INT("memoryTailBytes", memory_tail_bytes, 1 << 20, INT64_C(1) << 32, "16777216",
        "newest bytes of the log kept in memory, rounded up to a power of two", 0),
    INT("queueMemoryBytes", queue_memory_bytes, 1 << 20, INT64_C(1) << 36, "268435456",
        "memory for queue entries that are not yet in their files", 0),
    INT("queueDescriptors", queue_descriptors, 16, 100000, "512", "open queue files at most", 0),
    INT("readerThreads", reader_threads, 1, 64, "2", "threads for reads that may block", 0),
    INT("scrubBytesPerSecond", scrub_bytes_per_second, 0, INT64_C(1) << 40, "4194304",
        "bytes of the log written before this start that are verified in a second; 0: only when "
        "read",
        0),
    BOOL("recordCrcEnable", record_crc, "true", "stored records carry the whole-record CRC", 0),
    INT("namesrvListenPort", namesrv_listen_port, 0, 65535, "9876",
        "port of the name server inside (--standalone); 0: any free one", 0),
    STRING("namesrvPortFile", namesrv_port_file, "",
           "file to write that port to (--standalone); empty: none", 0, NULL),
    STRING("logLevel", log_level, "info", "error, warn, info or debug", 0, check_log_level),
};

/* Keys of RocketMQ 4.9 and 5 that change nothing here. */
static const char *const ignored[] = {
    "adminBrokerThreadPoolNums",
    "allAckInSyncStateSet",
    "asyncSenderThreadPoolQueueCapacity",
    "brokerFastFailureEnable",
    "brokerHeartbeatInterval",
    "brokerIP2",
    "channelNotActiveInterval",
    "checkCRCOnRecover",
    "clientAsyncSemaphoreValue",
    "clientCallbackExecutorThreads",
    "clientChannelMaxIdleTimeSeconds",
    "clientCloseSocketIfTimeout",
    "clientManageThreadPoolNums",
    "clientManagerThreadPoolQueueCapacity",
    "clientOnewaySemaphoreValue",
    "clientPooledByteBufAllocatorEnable",
    "clientSocketRcvBufSize",
    "clientSocketSndBufSize",
    "clientWorkerThreads",
    "commercialBaseCount",
    "commercialBigCount",
    "commercialEnable",
    "commercialTimerCount",
    "commercialTransCount",
    "commitCommitLogLeastPages",
    "commitCommitLogThoroughInterval",
    "commitIntervalCommitLog",
    "compressedRegister",
    "connectTimeoutMillis",
    "consumerFallbehindThreshold",
    "consumerManageThreadPoolNums",
    "consumerManagerThreadPoolQueueCapacity",
    "debugLockEnable",
    "destroyMapedFileIntervalForcibly",
    "diskFallRecorded",
    "disableConsumeIfConsumerReadSlowly",
    "duplicationEnable",
    "enableBatchPush",
    "enableCalcFilterBitMap",
    "enableConsumeQueueExt",
    "enableDetailStat",
    "enableLmq",
    "enableMultiDispatch",
    "enablePropertyFilter",
    "enableScheduleAsyncDeliver",
    "enableScheduleMessageStats",
    "enableSlaveActingMaster",
    "endTransactionPoolQueueCapacity",
    "endTransactionThreadPoolNums",
    "expectConsumerNumUseFilter",
    "fastFailIfNoBufferInStorePool",
    "fetchNamesrvAddrByAddressServer",
    "filterDataCleanTimeSpan",
    "filterServerNums",
    "filterSupportRetry",
    "flushCommitLogLeastPages",
    "flushCommitLogThoroughInterval",
    "flushCommitLogTimed",
    "flushConsumeQueueLeastPages",
    "flushConsumeQueueThoroughInterval",
    "flushConsumerOffsetHistoryInterval",
    "flushDelayOffsetInterval",
    "flushIntervalConsumeQueue",
    "flushLeastPagesWhenWarmMapedFile",
    "forceVerifyPropCRC",
    "heartbeatThreadPoolNums",
    "heartbeatThreadPoolQueueCapacity",
    "highSpeedMode",
    "isEnableBatchPush",
    "litePullMessageEnable",
    "longPollingEnableOld",
    "mapedFileSizeConsumeQueueExt",
    "mappedFileSizeConsumeQueueExt",
    "maxDelayTime",
    "maxErrorRateOfBloomFilter",
    "maxTransferBytesOnMessageInDisk",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInDisk",
    "maxTransferCountOnMessageInMemory",
    "messageStorePlugIn",
    "minInSyncReplicas",
    "msgTraceTopicName",
    "namesrvAddrBak",
    "notifyConsumerIdsChangedEnable",
    "osPageCacheBusyTimeOutMills",
    "processReplyMessageThreadPoolNums",
    "pullMessageThreadPoolNums",
    "pullThreadPoolQueueCapacity",
    "putMsgIndexHightWater",
    "queryMessageThreadPoolNums",
    "queryThreadPoolQueueCapacity",
    "rejectTransactionMessage",
    "replyThreadPoolQueueCapacity",
    "rmqAddressServerDomain",
    "rmqAddressServerSubGroup",
    "rocketmqHome",
    "sendMessageThreadPoolNums",
    "sendThreadPoolQueueCapacity",
    "serverAsyncSemaphoreValue",
    "serverCallbackExecutorThreads",
    "serverChannelMaxIdleTimeSeconds",
    "serverOnewaySemaphoreValue",
    "serverPooledByteBufAllocatorEnable",
    "serverSelectorThreads",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "storePathAbortFile",
    "storePathConsumeQueue",
    "storeCheckpoint",
    "storePathIndex",
    "storeReplyMessageEnable",
    "storeType",
    "syncMasterRole",
    "timerWheelEnable",
    "totalReplicas",
    "traceTopicName",
    "transactionCheckInterval",
    "transactionCheckMax",
    "transactionTimeOut",
    "transferMsgByHeap",
    "transientStorePoolEnable",
    "transientStorePoolSize",
    "useEpollNativeSelector",
    "useReentrantLockWhenPutMessage",
    "waitTimeMillsInHeartbeatQueue",
    "waitTimeMillsInPullQueue",
    "waitTimeMillsInSendQueue",
    "waitTimeMillsInTransactionQueue",
    "warmMapedFileEnable",
    NULL,
};

const struct config_spec broker_config_spec = {
    .program = "tern-broker",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
    .ignored = ignored,
};

void settings_init(struct broker_settings *s)
{
    memset(s, 0, sizeof(*s));
    pthread_rwlock_init(&s->lock, NULL);
    config_defaults(&broker_config_spec, &s->config, &s->origin);
    s->version_counter = 1;
    s->version_timestamp = clock_wall_ms();
    kept_init(&s->kept);
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static bool is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

/* The first address of this machine that is not loopback; false when there is none. */
static bool first_address(char *to, size_t to_size)
{
    struct ifaddrs *list, *i;
    bool found = false;

    if (getifaddrs(&list) < 0)
        return false;
    for (i = list; i && !found; i = i->ifa_next) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;

        if (!in || in->sin_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK) ||
            !(i->ifa_flags & IFF_UP))
            continue;
        found = inet_ntop(AF_INET, &in->sin_addr, to, (socklen_t)to_size) != NULL;
    }
    freeifaddrs(list);
    return found;
}

static int finish_addresses(struct broker_config *c, struct err *err)
{
    if (c->broker_ip1[0] == '\0') {
        if (!is_any(c->bind_address))
            snprintf(c->broker_ip1, sizeof(c->broker_ip1), "%s", c->bind_address);
        else if (!first_address(c->broker_ip1, sizeof(c->broker_ip1)))
            return err_say(
                err, -EINVAL,
                "bindAddress is %s but this machine has no address besides loopback to tell "
                "clients; add a line brokerIP1=ADDRESS",
                c->bind_address);
    }
    if (is_any(c->broker_ip1))
        return err_say(err, -EINVAL,
                       "brokerIP1=%s is no address that clients can connect to; name one of this "
                       "machine's",
                       c->broker_ip1);
    if (is_loopback(c->bind_address) && !is_loopback(c->broker_ip1))
        return err_say(err, -EINVAL,
                       "brokerIP1=%s would send clients to an address nobody listens on, since "
                       "bindAddress=%s; add the line bindAddress=0.0.0.0 (or bindAddress=%s)",
                       c->broker_ip1, c->bind_address, c->broker_ip1);
    /* Another address of another machine may lead here; another family or a loopback address not.
     */
    if (!is_any(c->bind_address) && strcmp(c->bind_address, c->broker_ip1) != 0 &&
        (is_loopback(c->broker_ip1) || is_v6(c->bind_address) != is_v6(c->broker_ip1)))
        return err_say(err, -EINVAL,
                       "brokerIP1=%s would send clients to an address nobody listens on, since "
                       "bindAddress=%s; leave brokerIP1 away, or add the line bindAddress=%s",
                       c->broker_ip1, c->bind_address, c->broker_ip1);
    if (strcmp(c->bind_address, "0.0.0.0") == 0 && is_v6(c->broker_ip1))
        return err_say(err, -EINVAL,
                       "brokerIP1=%s is an IPv6 address, and bindAddress=0.0.0.0 listens on IPv4 "
                       "only; add the line bindAddress=::",
                       c->broker_ip1);
    return 0;
}

static bool is_default(const struct broker_settings *s, const char *name)
{
    const struct config_key *key = config_find(&broker_config_spec, name);

    return strcmp(s->origin.text[key - broker_config_spec.keys], "default") == 0;
}

/* Shares the budget out: the log's tail, entries of queues, and what waits for peers and threads.
 * Values that nobody has set give way when it is small. */
static int finish_memory(struct broker_settings *s, struct err *err)
{
    struct broker_config *c = &s->config;
    int64_t least_tail = 4 * (c->max_message_size + 65536), tail = 1 << 20, rest;
    int64_t budget = c->memory_budget_bytes ? c->memory_budget_bytes : memory_limit("") / 2;

    if (budget < MEMORY_BUDGET_MIN)
        budget = MEMORY_BUDGET_MIN;
    if (c->memory_budget_bytes && c->memory_budget_bytes < MEMORY_BUDGET_MIN)
        return err_say(err, -EINVAL, "memoryBudgetBytes=%lld: expected at least %d, or 0",
                       (long long)c->memory_budget_bytes, MEMORY_BUDGET_MIN);
    c->memory_budget_bytes = budget;
    while (tail < c->memory_tail_bytes || tail < least_tail)
        tail *= 2;
    c->memory_tail_bytes = tail;
    if (is_default(s, "queueMemoryBytes") && c->queue_memory_bytes > budget / 4)
        c->queue_memory_bytes = budget / 4;
    rest = budget - c->memory_tail_bytes - c->queue_memory_bytes;
    if (rest < MEMORY_WAITING_MIN)
        return err_say(
            err, -EINVAL,
            "memoryBudgetBytes=%lld leaves %lld bytes beside memoryTailBytes=%lld (at least "
            "four times maxMessageSize) and queueMemoryBytes=%lld, and what waits for "
            "peers needs %d: give more, or lower one of these",
            (long long)budget, (long long)rest, (long long)c->memory_tail_bytes,
            (long long)c->queue_memory_bytes, MEMORY_WAITING_MIN);
    c->offloaded_bytes = rest / 4 < MEMORY_OFFLOADED_MAX ? rest / 4 : MEMORY_OFFLOADED_MAX;
    c->waiting_bytes_per_loop = (rest - c->offloaded_bytes) / 2 / c->io_threads;
    return 0;
}

/* Ports and their files must differ where both are told. */
static int check_ports(const struct broker_config *c, bool standalone, struct err *err)
{
    int64_t ha = c->ha_listen_port ? c->ha_listen_port : c->listen_port + 1;

    if (standalone && c->port_file[0] != '\0' && strcmp(c->port_file, c->namesrv_port_file) == 0)
        return err_say(err, -EINVAL, "portFile and namesrvPortFile are the same: %s", c->port_file);
    if (c->listen_port == 0)
        return 0;
    if (c->listen_port < 3)
        return err_say(err, -EINVAL, "listenPort=%lld: expected 0 or 3 to 65534",
                       (long long)c->listen_port);
    if (ha == c->listen_port || ha == c->listen_port - 2)
        return err_say(err, -EINVAL,
                       "haListenPort=%lld is taken: listenPort=%lld also needs the port two below "
                       "it",
                       (long long)ha, (long long)c->listen_port);
    if (standalone &&
        (c->namesrv_listen_port == c->listen_port || c->namesrv_listen_port == c->listen_port - 2 ||
         c->namesrv_listen_port == ha))
        return err_say(err, -EINVAL,
                       "namesrvListenPort=%lld is taken: listenPort=%lld also needs the port two "
                       "below it and, for replication, port %lld",
                       (long long)c->namesrv_listen_port, (long long)c->listen_port, (long long)ha);
    return 0;
}

static int expand_paths(struct broker_config *c, struct err *err)
{
    struct {
        const char *key;
        char *path;
        size_t size;
    } paths[] = {
        {"storePathRootDir", c->store_path_root_dir, sizeof(c->store_path_root_dir)},
        {"storePathCommitLog", c->store_path_commit_log, sizeof(c->store_path_commit_log)},
        {"portFile", c->port_file, sizeof(c->port_file)},
        {"namesrvPortFile", c->namesrv_port_file, sizeof(c->namesrv_port_file)},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && r == 0; i++)
        r = config_expand_home(paths[i].key, paths[i].path, paths[i].size, err);
    return r;
}

static void say_ratio(const char *key, int64_t value, int low, int high)
{
    if (settings_ratio(value, low, high) != value)
        log_warn("%s=%lld is taken as %d", key, (long long)value, settings_ratio(value, low, high));
}

/* What is allowed, and may still not be what was meant. */
static void finish_retention(const struct broker_config *c)
{
    say_ratio("diskMaxUsedSpaceRatio", c->disk_max_used_space_ratio, 10, 95);
    say_ratio("diskSpaceCleanForciblyRatio", c->disk_space_clean_forcibly_ratio, 30, 100);
    say_ratio("diskSpaceWarningLevelRatio", c->disk_space_warning_level_ratio, 35, 100);
    if (c->commit_log_bytes_max > 0 && c->commit_log_bytes_max / 3 < c->mapped_file_size_commit_log)
        log_warn(
            "commitLogBytesMax=%lld is less than three segments of mappedFileSizeCommitLog=%lld "
            "bytes: one segment being written and the next are always kept",
            (long long)c->commit_log_bytes_max, (long long)c->mapped_file_size_commit_log);
}

static int check_role(const struct broker_config *c, bool standalone, struct err *err)
{
    if (c->broker_role != ROLE_SLAVE)
        return c->broker_id == 0
                   ? 0
                   : err_say(err, -EINVAL,
                             "brokerId=%lld: a master has brokerId=0; for a slave add the line "
                             "brokerRole=SLAVE",
                             (long long)c->broker_id);
    if (c->broker_id == 0)
        return err_say(
            err, -EINVAL,
            "brokerRole=SLAVE: a slave has a brokerId above 0 that no other broker named "
            "%s has; add the line brokerId=1",
            c->broker_name);
    if (c->namesrv_addr[0] == '\0' && c->ha_master_address[0] == '\0' && !standalone &&
        !group_is_set(c))
        return err_say(err, -EINVAL,
                       "brokerRole=SLAVE: nobody says where the master is; set namesrvAddr, or "
                       "haMasterAddress");
    return 0;
}

int settings_finish(struct broker_settings *s, bool standalone, struct err *err)
{
    struct broker_config *c = &s->config;
    const char *home = getenv("HOME");
    int r;

    r = check_role(c, standalone, err);
    if (r == 0)
        r = group_config_check(c, err);
    if (r == 0)
        r = check_ports(c, standalone, err);
    if (r == 0)
        r = expand_paths(c, err);
    if (r < 0)
        return r;
    if (c->store_path_root_dir[0] == '\0') {
        if (!home || home[0] != '/')
            return err_say(err, -EINVAL,
                           "storePathRootDir is not set and there is no $HOME to put the store in");
        if (snprintf(c->store_path_root_dir, sizeof(c->store_path_root_dir), "%s/%s", home,
                     standalone ? ".ternmq/store" : "store") >= (int)sizeof(c->store_path_root_dir))
            return err_say(err, -ENAMETOOLONG, "$HOME is too long for a store path");
    }
    if (strchr(c->store_path_commit_log, ','))
        return err_say(err, -EINVAL,
                       "storePathCommitLog=%s: several folders are not supported, name one",
                       c->store_path_commit_log);
    if (c->mapped_file_size_commit_log < c->max_message_size + 65536 + 8)
        log_warn("mappedFileSizeCommitLog=%lld is smaller than the largest message that "
                 "maxMessageSize=%lld allows; messages that do not fit a segment are refused",
                 (long long)c->mapped_file_size_commit_log, (long long)c->max_message_size);
    if (c->io_threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);

        c->io_threads = cores <= 4 ? 1 : cores / 4;
        if (c->io_threads > 16)
            c->io_threads = 16;
    }
    finish_retention(c);
    r = finish_memory(s, err);
    return r < 0 ? r : finish_addresses(c, err);
}

/* Of no interest where nobody asked for the number. */
static void say_lowered(const struct broker_settings *s, const char *key, int64_t from, int64_t to,
                        int64_t files)
{
    const char *origin = s->origin.text[config_find(&broker_config_spec, key) - keys];
    bool asked = strcmp(origin, "default") != 0;

    (asked ? log_warn : log_info)("%s=%lld is too much for %lld open files (ulimit -n, "
                                  "LimitNOFILE= of systemd): %lld it is",
                                  key, (long long)from, (long long)files, (long long)to);
}

int settings_fit_files(struct broker_settings *s, int64_t files, struct err *err)
{
    enum { OWN_FILES = 64 };
    struct broker_config *c = &s->config;
    int64_t most;

    if (files < SETTINGS_FILES_MIN)
        return err_say(err, -EMFILE,
                       "this process may have only %lld files open, and needs %d at least; raise "
                       "the limit (ulimit -n, LimitNOFILE= of systemd)",
                       (long long)files, SETTINGS_FILES_MIN);
    if (c->queue_descriptors > files / 8) {
        say_lowered(s, "queueDescriptors", c->queue_descriptors, files / 8, files);
        c->queue_descriptors = files / 8;
    }
    /* A quarter stays for the segments of the log, one each: peers must not keep it from growing.
     */
    most = (files - c->queue_descriptors - OWN_FILES) * 3 / 4;
    if (c->connections_max > most) {
        say_lowered(s, "connectionsMax", c->connections_max, most, files);
        c->connections_max = most;
    }
    return 0;
}

int settings_ratio(int64_t value, int low, int high)
{
    return value < low ? low : value > high ? high : (int)value;
}

int64_t settings_int(struct broker_settings *s, const int64_t *member)
{
    (void)s;
    return __atomic_load_n(member, __ATOMIC_RELAXED);
}

bool settings_bool(struct broker_settings *s, const bool *member)
{
    (void)s;
    return __atomic_load_n(member, __ATOMIC_RELAXED);
}

/* --- UPDATE_BROKER_CONFIG --- */

enum { CHANGES_MAX = 64 };

struct change {
    const struct config_key *key;
    char text[160]; /* key=value */
};

struct changes {
    struct change items[CHANGES_MAX];
    size_t count;
    struct err *err;
};

/* RocketMQ's keys for which tools expect this refusal, without being keys of ours. */
static bool guards_the_settings(const char *name)
{
    return strcmp(name, "brokerConfigPath") == 0 || strcmp(name, "configBlackList") == 0;
}

static int collect(void *ctx, int line, const char *name, const char *value)
{
    struct changes *changes = ctx;
    const struct config_key *key = config_find(&broker_config_spec, name);
    struct change *change;
    int r;

    (void)line;
    if (guards_the_settings(name))
        return err_say(changes->err, -EPERM, "%s cannot be changed by a request", name);
    if (!key) {
        r = config_check(&broker_config_spec, name, value, changes->err);
        if (r == CONFIG_IGNORED)
            return 0;
        return r < 0 ? -EINVAL : r;
    }
    if (!(key->flags & CONFIG_LIVE))
        return err_say(
            changes->err, -EPERM,
            "%s cannot be changed while the broker runs; set it in the configuration file "
            "and restart",
            name);
    r = config_check(&broker_config_spec, name, value, changes->err);
    if (r < 0)
        return r;
    if (changes->count == CHANGES_MAX)
        return err_say(changes->err, -EINVAL, "more than %d keys in one request", CHANGES_MAX);
    change = &changes->items[changes->count++];
    change->key = key;
    if (snprintf(change->text, sizeof(change->text), "%s=%s", name, value) >=
        (int)sizeof(change->text))
        return err_say(changes->err, -EINVAL, "the value of %s is too long", name);
    return 0;
}

/* True when `line` sets `key` (leading white space, then the key, then '=', ':' or white space). */
static bool line_sets(struct bytes line, const char *key)
{
    size_t len = strlen(key);

    while (line.len > 0 && (line.at[0] == ' ' || line.at[0] == '\t')) {
        line.at++;
        line.len--;
    }
    if (line.len <= len || memcmp(line.at, key, len) != 0)
        return false;
    return strchr("=: \t", line.at[len]) != NULL;
}

/* Writes the file again with the changed keys replaced where they stand, or added at the end. */
static int save(struct broker_settings *s, const struct changes *changes, struct err *err)
{
    bool done[CHANGES_MAX] = {false};
    struct buf old = {0}, new = {0};
    struct bytes rest;
    int r = file_load(s->config_file, 1 << 20, &old);

    if (r < 0) {
        buf_destroy(&old);
        return err_set(err, r, "read %s", s->config_file);
    }
    rest = buf_bytes(&old);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.at, '\n', rest.len);
        struct bytes line = bytes_of(rest.at, end ? (size_t)(end - rest.at) : rest.len);
        size_t i;

        for (i = 0; i < changes->count; i++) {
            if (line_sets(line, changes->items[i].key->name))
                break;
        }
        if (i == changes->count) {
            buf_add(&new, line.at, line.len);
            buf_add_u8(&new, '\n');
        } else if (!done[i]) {
            buf_addf(&new, "%s\n", changes->items[i].text);
            done[i] = true;
        }
        rest.at += line.len + (end ? 1 : 0);
        rest.len -= line.len + (end ? 1 : 0);
    }
    for (size_t i = 0; i < changes->count; i++) {
        if (!done[i])
            buf_addf(&new, "%s\n", changes->items[i].text);
    }
    r = new.failed ? err_say(err, -ENOMEM, "out of memory while writing %s", s->config_file)
                   : file_replace(s->config_file, buf_bytes(&new), err);
    buf_destroy(&old);
    buf_destroy(&new);
    return r;
}

/* A string may only be read under the lock. */
static void apply(struct broker_settings *s, const struct broker_config *next,
                  const struct config_key *key)
{
    char *to = (char *)&s->config + key->offset;
    const char *from = (const char *)next + key->offset;

    if (key->type == CONFIG_INT)
        __atomic_store_n((int64_t *)(void *)to, *(const int64_t *)(const void *)from,
                         __ATOMIC_RELAXED);
    else if (key->type == CONFIG_STRING)
        memcpy(to, from, key->string_max);
    else
        __atomic_store_n((bool *)to, *(const bool *)from, __ATOMIC_RELAXED);
}

int settings_update(struct broker_settings *s, struct bytes properties, bool *permission_changed,
                    struct err *err)
{
    struct changes *changes = calloc(1, sizeof(*changes));
    struct broker_config *next = malloc(sizeof(*next));
    int64_t permission;
    int r = -ENOMEM;

    *permission_changed = false;
    if (!changes || !next) {
        err_say(err, r, "out of memory");
        goto out;
    }
    changes->err = err;
    r = config_each(properties, collect, changes, err);
    if (r != 0)
        goto out;

    pthread_rwlock_wrlock(&s->lock);
    *next = s->config;
    permission = next->broker_permission;
    for (size_t i = 0; i < changes->count && r == 0; i++)
        r = config_set(&broker_config_spec, next, &s->origin, changes->items[i].text,
                       "UPDATE_BROKER_CONFIG", err);
    if (r == 0 && s->config_file[0] != '\0' && changes->count > 0)
        r = save(s, changes, err);
    if (r == 0) {
        for (size_t i = 0; i < changes->count; i++)
            apply(s, next, changes->items[i].key);
        *permission_changed = permission != s->config.broker_permission;
        s->version_counter++;
        s->version_timestamp = clock_wall_ms();
    }
    pthread_rwlock_unlock(&s->lock);
out:
    free(changes);
    free(next);
    return r;
}
