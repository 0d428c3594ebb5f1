/* topics.c - system names, and topics and groups made on demand: see topics.h. */
#include "broker/topics.h"

#include <errno.h>
#include <stdio.h>

#include "broker/delay.h"
#include "broker/group_config.h"
#include "broker/registrar.h"
#include "broker/replication/replication.h"
#include "common/log.h"

/* Clients may not send to these. */
static const char *const forbidden[] = {
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    DELAY_TOPIC,
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    TOPIC_OF_EPOCHS,
};
static const char *const system_names[] = {
    "TBW102",
    "BenchmarkTest",
    "RMQ_SYS_TRACE_TOPIC",
};
static const char *const builtin_groups[] = {
    "TOOLS_CONSUMER",  "FILTERSRV_CONSUMER",    "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION", "CID_ONSAPI_OWNER",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_one_of(struct bytes name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_is(name, names[i]))
            return true;
    }
    return false;
}

bool topic_send_forbidden(struct bytes name)
{
    return is_one_of(name, forbidden, COUNT(forbidden));
}

bool group_is_builtin(struct bytes name)
{
    return is_one_of(name, builtin_groups, COUNT(builtin_groups));
}

/* "<cluster>_REPLY_TOPIC" */
static struct bytes reply_topic(struct broker *b, char to[PREFIXED_MAX])
{
    int len = snprintf(to, PREFIXED_MAX, "%s_REPLY_TOPIC", b->settings->config.broker_cluster_name);

    return bytes_of(to, (size_t)len);
}

bool topic_is_system(struct broker *b, struct bytes name)
{
    const struct broker_config *c = &b->settings->config;
    char reply[PREFIXED_MAX];

    return topic_send_forbidden(name) || is_one_of(name, system_names, COUNT(system_names)) ||
           bytes_starts(name, BYTES_LIT("rmq_sys_")) || bytes_is(name, c->broker_cluster_name) ||
           bytes_is(name, c->broker_name) || bytes_equal(name, reply_topic(b, reply));
}

struct bytes topic_of_group(char to[PREFIXED_MAX], const char *prefix, struct bytes group)
{
    size_t prefix_len = strlen(prefix);

    if (prefix_len + group.len > TOPIC_NAME_MAX)
        return bytes_of(to, 0);
    memcpy(to, prefix, prefix_len);
    if (group.len > 0)
        memcpy(to + prefix_len, group.at, group.len);
    return bytes_of(to, prefix_len + group.len);
}

struct builtin {
    const char *name;
    int32_t queues, perm;
    bool wanted;
};

/* Loaded settings of a built-in topic stay as they are; only what is missing is made. */
static int make_builtin(struct broker *b, const struct builtin *t, struct err *err)
{
    struct topic_config config;
    struct bytes name = bytes_str(t->name);
    int r;

    if (!t->wanted || metadata_topic(b->metadata, name, &config))
        return 0;
    config =
        (struct topic_config){.read_queues = t->queues, .write_queues = t->queues, .perm = t->perm};
    /* What a slave's log has of it already came from the master. */
    r = metadata_topic_put(b->metadata, name, &config,
                           replication_is_slave(b->replication) ? 0 : store_end(b->store), NULL,
                           NULL, NULL);
    return r < 0 ? err_set(err, r, "make the built-in topic %s", t->name) : 0;
}

int topics_make_builtin(struct broker *b, struct err *err)
{
    const struct broker_config *c = &b->settings->config;
    enum { RW = PERM_READ | PERM_WRITE, RWI = PERM_READ | PERM_WRITE | PERM_INHERIT };
    bool template_wanted = settings_bool(b->settings, &c->auto_create_topic_enable);
    char reply[PREFIXED_MAX];
    const struct builtin topics[] = {
        {"TBW102", (int32_t)c->default_topic_queue_nums, RWI, template_wanted},
        {"SELF_TEST_TOPIC", 1, RW, true},
        {"BenchmarkTest", 1024, RW, true},
        {c->broker_cluster_name, 16, c->cluster_topic_enable ? RWI : RW, true},
        {c->broker_name, 1, c->broker_topic_enable ? RWI : RW, true},
        {"OFFSET_MOVED_EVENT", 1, RW, true},
        {DELAY_TOPIC, b->delay_levels, RW, true},
        {"RMQ_SYS_TRACE_TOPIC", 1, RW, c->trace_topic_enable},
        {reply, 1, RW, true},
        {TOPIC_OF_EPOCHS, 1, RW, group_is_set(c)},
    };

    reply_topic(b, reply);
    for (size_t i = 0; i < COUNT(topics); i++) {
        int r = make_builtin(b, &topics[i], err);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < COUNT(builtin_groups); i++) {
        struct bytes name = bytes_str(builtin_groups[i]);
        struct group_config config = group_config_default();
        int r;

        if (metadata_group(b->metadata, name, NULL))
            continue;
        r = metadata_group_put(b->metadata, name, &config, NULL, NULL);
        if (r < 0)
            return err_set(err, r, "make the built-in group %s", builtin_groups[i]);
    }
    return 0;
}

static int put_topic(struct broker *b, struct bytes name, const struct topic_config *config,
                     struct topic **topic, struct err *err)
{
    bool changed = false;
    int r =
        metadata_topic_put(b->metadata, name, config, store_end(b->store), NULL, &changed, topic);

    if (r == -ENOSPC)
        return err_say(err, r, "topic \"%s\" cannot be made: there are %d topics already",
                       SAFE(name), TOPICS_MAX);
    if (r == -EAGAIN)
        return err_say(
            err, r,
            "topic \"%s\" cannot be made: the metadata journal cannot be written; see the "
            "broker's log",
            SAFE(name));
    if (r == -EBUSY)
        return err_say(err, r, "topic \"%s\" is being deleted; try again in a moment", SAFE(name));
    if (r < 0)
        return err_set(err, r, "topic \"%s\" cannot be made", SAFE(name));
    if (changed)
        registrar_changed(b->registrar);
    return 0;
}

struct topic *topics_make(struct broker *b, struct bytes name, int32_t queues, int32_t perm,
                          int32_t sys_flag, struct topic_config *config, struct err *err)
{
    struct topic_config wanted = {
        .read_queues = queues, .write_queues = queues, .perm = perm, .sys_flag = sys_flag};
    struct topic *topic = metadata_topic(b->metadata, name, config);

    if (topic)
        return topic;
    if (name.len == 0) {
        err_say(err, -EINVAL, "the group's name is too long for a retry or dead-letter topic");
        return NULL;
    }
    if (replication_is_slave(b->replication)) {
        err_say(err, -EROFS, "a slave makes no topics");
        return NULL;
    }
    if (put_topic(b, name, &wanted, &topic, err) < 0)
        return NULL;
    if (config)
        *config = wanted;
    return topic;
}

bool groups_find_or_make(struct broker *b, struct bytes name, struct group_config *config)
{
    bool allowed;

    if (metadata_group(b->metadata, name, config))
        return true;
    allowed = settings_bool(b->settings, &b->settings->config.auto_create_subscription_group) ||
              bytes_starts(name, BYTES_LIT("CID_RMQ_SYS_"));
    if (!allowed || !group_name_ok(name))
        return false;
    *config = group_config_default();
    /* A slave serves it as the master would, and leaves it to the master to make it. */
    if (replication_is_slave(b->replication))
        return true;
    return metadata_group_put(b->metadata, name, config, NULL, NULL) == 0;
}

/* 0, or the response code. */
static int32_t check_name(struct bytes name, struct err *err)
{
    if (!topic_name_ok(name)) {
        err_say(err, -EINVAL,
                "topic \"%s\" is not allowed: 1 to %d of the letters a-z A-Z 0-9 _ - | %%",
                SAFE(name), TOPIC_NAME_MAX);
        return RESPONSE_SYSTEM_ERROR;
    }
    if (topic_send_forbidden(name)) {
        err_say(err, -EPERM, "clients may not send to the system topic \"%s\"", SAFE(name));
        return RESPONSE_NO_PERMISSION;
    }
    return 0;
}

/* By the rules of auto-creation; 0, or the response code. */
static int32_t make_from_template(struct broker *b, struct bytes name, struct bytes default_topic,
                                  int32_t default_queues, bool unit_mode, struct topic **topic,
                                  struct topic_config *config, struct err *err)
{
    struct topic_config template;
    int32_t queues;

    /* The switch decides at the time of the send: it may be changed while the broker runs. */
    if (!metadata_topic(b->metadata, default_topic, &template) ||
        (bytes_is(default_topic, "TBW102") &&
         !settings_bool(b->settings, &b->settings->config.auto_create_topic_enable))) {
        err_say(
            err, -ENOENT,
            "topic \"%s\" does not exist and is not made on demand; create it first (for example: "
            "ternctl topic create %s)",
            SAFE(name), SAFE(name));
        return RESPONSE_TOPIC_NOT_EXIST;
    }
    if (!(template.perm & PERM_INHERIT)) {
        err_say(err, -ENOENT,
                "topic \"%s\" does not exist, and its template \"%s\" may not be inherited from",
                SAFE(name), SAFE(default_topic));
        return RESPONSE_TOPIC_NOT_EXIST;
    }
    if (default_queues == TOPIC_QUEUES_UNSAID) {
        err_say(err, -EINVAL,
                "topic \"%s\" does not exist, and to make it the header field "
                "\"defaultTopicQueueNums\" is missing",
                SAFE(name));
        return RESPONSE_SYSTEM_ERROR;
    }
    queues = default_queues < template.write_queues ? default_queues : template.write_queues;
    if (queues < 0)
        queues = 0;
    *config = (struct topic_config){
        .read_queues = queues,
        .write_queues = queues,
        .perm = template.perm & ~PERM_INHERIT,
        .sys_flag = unit_mode ? TOPIC_FLAG_UNIT : 0,
        .multi_tag = template.multi_tag,
    };
    return put_topic(b, name, config, topic, err) < 0 ? RESPONSE_SYSTEM_ERROR : 0;
}

uint32_t topics_queue(struct broker *b, struct bytes name, int32_t queue_id)
{
    struct topic *topic = metadata_topic(b->metadata, name, NULL);

    return topic ? store_queue(b->store, topic, queue_id) : QUEUE_NONE;
}

int topics_for_send(struct broker *b, struct bytes name, struct bytes default_topic,
                    int32_t default_queues, bool unit_mode, struct topic **topic,
                    struct topic_config *config, struct err *err)
{
    int32_t code;

    *topic = metadata_topic(b->metadata, name, config);
    if (*topic && name.at[0] != 'S' && name.at[0] != 'O' && name.at[0] != 'R' && name.at[0] != 'T')
        return 0; /* no forbidden name begins like this */
    code = check_name(name, err);
    if (code != 0 || *topic)
        return code;
    code =
        make_from_template(b, name, default_topic, default_queues, unit_mode, topic, config, err);
    if (code == RESPONSE_TOPIC_NOT_EXIST && bytes_starts(name, BYTES_LIT("%RETRY%"))) {
        *topic = topics_make(b, name, 1, PERM_READ | PERM_WRITE,
                             unit_mode ? TOPIC_FLAG_UNIT_SUB : 0, config, err);
        code = *topic ? 0 : RESPONSE_SYSTEM_ERROR;
    }
    return code;
}
