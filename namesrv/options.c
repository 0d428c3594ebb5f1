/* options.c - see options.h. */
#include "namesrv/options.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "common/file.h"

enum { CHANGED_FILE_MAX = 65536 };

/* In the order of enum log_level. */
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};

static bool check_address(const char *value, char *expected, size_t expected_size)
{
    struct in6_addr address;

    if (inet_pton(AF_INET, value, &address) == 1 || inet_pton(AF_INET6, value, &address) == 1)
        return true;
    snprintf(expected, expected_size, "a numeric IPv4 or IPv6 address");
    return false;
}

#define FIELD(name) .offset = offsetof(struct namesrv_options, name)
#define TEXT_FIELD(name) FIELD(name), .string_max = sizeof(((struct namesrv_options *)NULL)->name)

static const struct config_key keys[] = {
    {.name = "bindAddress",
     .type = CONFIG_STRING,
     TEXT_FIELD(bind_address),
     .initial = "127.0.0.1",
     .check = check_address,
     .help = "numeric address to listen on; 0.0.0.0 for every one of this machine"},
    {.name = "listenPort",
     .type = CONFIG_INT,
     FIELD(listen_port),
     .min = 0,
     .max = 65535,
     .initial = "9876",
     .help = "TCP port; 0 takes any free one"},
    {.name = "portFile",
     .type = CONFIG_STRING,
     TEXT_FIELD(port_file),
     .initial = "",
     .help = "file that gets the port once it is listened on; empty: none"},
    {.name = "kvConfigPath",
     .type = CONFIG_STRING,
     TEXT_FIELD(kv_config_path),
     .initial = "~/namesrv/kvConfig.json",
     .help = "file of the KV table (order topics); empty: kept in memory only"},
    {.name = "configStorePath",
     .type = CONFIG_STRING,
     TEXT_FIELD(config_store_path),
     .initial = "",
     .help = "file that keeps what requests changed in the configuration; empty: until the next "
             "start"},
    {.name = "configBlackList",
     .type = CONFIG_STRING,
     TEXT_FIELD(config_black_list),
     .initial = "configBlackList;configStorePath;kvConfigPath",
     .help = "keys that requests may not change, separated by ';', beyond those they never may"},
    {.name = "orderMessageEnable",
     .type = CONFIG_BOOL,
     FIELD(order_message_enable),
     .initial = "false",
     .flags = CONFIG_LIVE,
     .help = "put orderTopicConf into the routes of topics that have one"},
    {.name = "returnOrderTopicConfigToBroker",
     .type = CONFIG_BOOL,
     FIELD(return_order_topics),
     .initial = "true",
     .flags = CONFIG_LIVE,
     .help = "answer registrations with the table of order topics"},
    {.name = "supportActingMaster",
     .type = CONFIG_BOOL,
     FIELD(support_acting_master),
     .initial = "false",
     .flags = CONFIG_LIVE,
     .help = "show the lowest slave of a group without master as its master, for reading"},
    {.name = "enableAllTopicList",
     .type = CONFIG_BOOL,
     FIELD(enable_all_topic_list),
     .initial = "true",
     .flags = CONFIG_LIVE,
     .help = "answer the request for the list of all topics"},
    {.name = "enableTopicList",
     .type = CONFIG_BOOL,
     FIELD(enable_topic_list),
     .initial = "true",
     .flags = CONFIG_LIVE,
     .help = "answer requests for the topics of a cluster or unit"},
    {.name = "scanNotActiveBrokerInterval",
     .type = CONFIG_INT,
     FIELD(scan_interval_ms),
     .min = 10,
     .max = 60000,
     .initial = "5000",
     .flags = CONFIG_LIVE,
     .help = "ms that a silent broker may stay longer than it should"},
    {.name = "logLevel",
     .type = CONFIG_CHOICE,
     FIELD(log_level),
     .choices = log_levels,
     .initial = "info",
     .flags = CONFIG_LIVE,
     .help = "least important line that is written: error, warn, info or debug"},
};
enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };
_Static_assert(KEY_COUNT <= 32, "one bit of `changed` for each key");

static const char *const ignored[] = {
    "clientAsyncSemaphoreValue",
    "clientCallbackExecutorThreads",
    "clientChannelMaxIdleTimeSeconds",
    "clientCloseSocketIfTimeout",
    "clientOnewaySemaphoreValue",
    "clientPooledByteBufAllocatorEnable",
    "clientRequestThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "clientSocketRcvBufSize",
    "clientSocketSndBufSize",
    "clientWorkerThreads",
    "clusterTest",
    "connectTimeoutMillis",
    "defaultThreadPoolNums",
    "defaultThreadPoolQueueCapacity",
    "deleteTopicWithBrokerRegistration",
    "enableControllerInNamesrv",
    "enableShutdownGracefully",
    "needWaitForService",
    "notifyMinBrokerIdChanged",
    "productEnvName",
    "rocketmqHome",
    "serverAsyncSemaphoreValue",
    "serverCallbackExecutorThreads",
    "serverChannelMaxIdleTimeSeconds",
    "serverNettyWorkerGroupEnable",
    "serverOnewaySemaphoreValue",
    "serverPooledByteBufAllocatorEnable",
    "serverSelectorThreads",
    "serverSocketBacklog",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "shutdownWaitTimeSeconds",
    "unRegisterBrokerQueueCapacity",
    "useEpollNativeSelector",
    "waitSecondsForService",
    "writeBufferHighWaterMark",
    "writeBufferLowWaterMark",
    NULL,
};

const struct config_spec namesrv_config_spec = {
    .program = "tern-namesrv",
    .keys = keys,
    .key_count = KEY_COUNT,
    .ignored = ignored,
};

void namesrv_options_init(struct namesrv_options *o, struct config_origin *origin)
{
    *o = (struct namesrv_options){0};
    config_defaults(&namesrv_config_spec, o, origin);
}

static uint32_t bit_of(const struct config_key *key)
{
    assert(key >= keys && key < keys + KEY_COUNT && (key->flags & CONFIG_LIVE));
    return (uint32_t)1 << (key - keys);
}

/* ---- what requests changed ---- */

struct loading {
    struct namesrv_options *options;
    struct config_origin *origin;
    const char *path;
    struct err *err;
};

/* "key=value" of the file, once more, for config_set(). */
static int load_line(void *ctx, int line, const char *name, const char *value)
{
    struct loading *l = ctx;
    const struct config_key *key = config_find(&namesrv_config_spec, name);
    char where[NAMESRV_PATH_MAX + 16];
    struct buf text = {0};
    int r;

    if (!key || !(key->flags & CONFIG_LIVE))
        return err_say(l->err, -EINVAL,
                       "%s:%d: %s does not belong here: this file keeps what requests changed; "
                       "put other settings into the configuration file",
                       l->path, line, name);
    snprintf(where, sizeof(where), "%s:%d", l->path, line);
    buf_addf(&text, "%s=%s", name, value);
    buf_add_u8(&text, '\0');
    r = text.failed ? err_set(l->err, -ENOMEM, "read %s", l->path)
                    : config_set(&namesrv_config_spec, l->options, l->origin,
                                 (const char *)buf_at(&text), where, l->err);
    buf_destroy(&text);
    if (r < 0)
        return r;
    l->options->changed |= bit_of(key);
    return 0;
}

int namesrv_options_load_changed(struct namesrv_options *o, struct config_origin *origin,
                                 struct err *err)
{
    /* the options are changed on the way, so the path is kept apart */
    char path[NAMESRV_PATH_MAX];
    struct loading loading = {.options = o, .origin = origin, .path = path, .err = err};
    struct buf text = {0};
    int r;

    if (o->config_store_path[0] == '\0')
        return 0;
    bytes_to_cstr(bytes_str(o->config_store_path), path, sizeof(path));
    r = file_load(path, CHANGED_FILE_MAX, &text);
    if (r == -ENOENT)
        r = 0;
    else if (r < 0)
        err_set(err, r, "read %s", path);
    else
        r = config_each(buf_bytes(&text), load_line, &loading, err);
    buf_destroy(&text);
    return r;
}

void namesrv_options_changed_text(const struct namesrv_options *o, struct buf *out)
{
    buf_add_str(out, "# Written by tern-namesrv: settings that requests changed while it ran.\n");
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (!(o->changed & ((uint32_t)1 << i)))
            continue;
        buf_addf(out, "%s=", keys[i].name);
        config_value(&keys[i], o, out);
        buf_add_u8(out, '\n');
    }
}

void namesrv_options_change(struct namesrv_options *o, const struct config_key *key,
                            const char *value)
{
    struct buf text = {0};
    int r;

    buf_addf(&text, "%s=%s", key->name, value);
    buf_add_u8(&text, '\0');
    r = text.failed ? -ENOMEM
                    : config_set(&namesrv_config_spec, o, NULL, (const char *)buf_at(&text),
                                 "a request", NULL);
    buf_destroy(&text);
    if (r == 0)
        o->changed |= bit_of(key);
}
