/* metadata_json.c - the tables as RocketMQ's JSON, in its compact and its tab-indented form, and
 * back.
 *
 * Names need no escapes: their rule allows none of the letters that would. Members of an entry that
 * mean nothing here (5.x has some) are carried along as text, so that a folder can go back to the
 * broker it came from without losing them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/json.h"

const char *const metadata_export_names[METADATA_EXPORTS] = {
    [METADATA_EXPORT_TOPICS] = "topics.json",
    [METADATA_EXPORT_GROUPS] = "subscriptionGroup.json",
    [METADATA_EXPORT_OFFSETS] = "consumerOffset.json",
    [METADATA_EXPORT_DELAYS] = "delayOffset.json",
};

static const char *const table_names[METADATA_EXPORTS] = {
    [METADATA_EXPORT_TOPICS] = "topicConfigTable",
    [METADATA_EXPORT_GROUPS] = "subscriptionGroupTable",
    [METADATA_EXPORT_OFFSETS] = "offsetTable",
    [METADATA_EXPORT_DELAYS] = "offsetTable",
};

/* Members with a meaning here, for each file's entries. */
static const char *const topic_members[] = {
    "order",     "perm",         "readQueueNums",  "topicFilterType",
    "topicName", "topicSysFlag", "writeQueueNums", NULL,
};
static const char *const group_members[] = {
    "brokerId",
    "consumeBroadcastEnable",
    "consumeEnable",
    "consumeFromMinEnable",
    "groupName",
    "notifyConsumerIdsChangedEnable",
    "retryMaxTimes",
    "retryQueueNums",
    "whichBrokerWhenConsumeSlowly",
    NULL,
};

/* --- writing --- */

struct text {
    struct buf *out;
    bool pretty;
    unsigned depth;
    bool empty; /* the object that is open has no member yet */
    /* Of the table that is written: its version is known once its lock is held. */
    enum metadata_export file;
    struct data_version version;
    bool begun;
};

static void new_line(const struct text *t)
{
    static const char tabs[] = "\n\t\t\t\t\t\t\t\t";

    if (t->pretty)
        buf_add(t->out, tabs, 1 + t->depth);
}

static void open_object(struct text *t)
{
    buf_add_u8(t->out, '{');
    t->depth++;
    t->empty = true;
}

static void close_object(struct text *t)
{
    t->depth--;
    if (!t->empty)
        new_line(t);
    buf_add_u8(t->out, '}');
    t->empty = false; /* what it stands in has a member now */
}

static void next_member(struct text *t)
{
    if (!t->empty)
        buf_add_u8(t->out, ',');
    t->empty = false;
}

static void put_key(struct text *t, struct bytes name)
{
    next_member(t);
    new_line(t);
    buf_add_u8(t->out, '"');
    buf_add(t->out, name.at, name.len);
    buf_add(t->out, "\":", 2);
}

/* Bare, and on the line that it finds itself on. */
static void put_int_key(struct text *t, int64_t key)
{
    next_member(t);
    buf_add_i64_text(t->out, key);
    buf_add_u8(t->out, ':');
}

static void put_i64(struct text *t, const char *key, int64_t v)
{
    put_key(t, bytes_str(key));
    buf_add_i64_text(t->out, v);
}

static void put_bool(struct text *t, const char *key, bool v)
{
    put_key(t, bytes_str(key));
    buf_add_str(t->out, v ? "true" : "false");
}

static void put_name(struct text *t, const char *key, struct bytes name)
{
    put_key(t, bytes_str(key));
    buf_add_u8(t->out, '"');
    buf_add(t->out, name.at, name.len);
    buf_add_u8(t->out, '"');
}

static void put_extra(struct text *t, const char *extra, uint32_t len)
{
    if (len == 0)
        return;
    next_member(t);
    new_line(t);
    buf_add(t->out, extra, len);
}

static void put_version(struct text *t, const struct data_version *version)
{
    put_key(t, BYTES_LIT("dataVersion"));
    open_object(t);
    put_i64(t, "counter", version->counter);
    if (version->state_version != 0)
        put_i64(t, "stateVersion", version->state_version);
    put_i64(t, "timestamp", version->timestamp);
    close_object(t);
}

static void begin_table(struct text *t)
{
    if (t->begun)
        return;
    t->begun = true;
    if (t->file == METADATA_EXPORT_TOPICS || t->file == METADATA_EXPORT_GROUPS)
        put_version(t, &t->version);
    put_key(t, bytes_str(table_names[t->file]));
    open_object(t);
}

static void put_topic(void *ctx, const struct topic_entry *e)
{
    const struct topic_config *c = &e->topic.config;
    struct bytes name = bytes_of(e->topic.name, e->topic.name_len);
    struct text *t = ctx;

    begin_table(t);
    put_key(t, name);
    open_object(t);
    put_bool(t, "order", c->order);
    put_i64(t, "perm", c->perm);
    put_i64(t, "readQueueNums", c->read_queues);
    put_name(t, "topicFilterType", bytes_str(c->multi_tag ? "MULTI_TAG" : "SINGLE_TAG"));
    put_name(t, "topicName", name);
    put_i64(t, "topicSysFlag", c->sys_flag);
    put_i64(t, "writeQueueNums", c->write_queues);
    put_extra(t, e->extra, e->extra_len);
    close_object(t);
}

static void put_group(void *ctx, const struct group_entry *e)
{
    const struct group_config *c = &e->config;
    struct bytes name = bytes_of(e->name, e->name_len);
    struct text *t = ctx;

    begin_table(t);
    put_key(t, name);
    open_object(t);
    put_i64(t, "brokerId", c->broker_id);
    put_bool(t, "consumeBroadcastEnable", c->consume_broadcast_enable);
    put_bool(t, "consumeEnable", c->consume_enable);
    put_bool(t, "consumeFromMinEnable", c->consume_from_min_enable);
    put_name(t, "groupName", name);
    put_bool(t, "notifyConsumerIdsChangedEnable", c->notify_ids_changed);
    put_i64(t, "retryMaxTimes", c->retry_max_times);
    put_i64(t, "retryQueueNums", c->retry_queues);
    put_i64(t, "whichBrokerWhenConsumeSlowly", c->which_broker_when_slow);
    put_extra(t, e->extra, e->extra_len);
    close_object(t);
}

static void put_offsets(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                        int32_t count)
{
    char key[TOPIC_NAME_MAX + 1 + GROUP_NAME_MAX];
    struct text *t = ctx;

    memcpy(key, topic.at, topic.len);
    key[topic.len] = '@';
    memcpy(key + topic.len + 1, group.at, group.len);
    put_key(t, bytes_of(key, topic.len + 1 + group.len));
    open_object(t);
    for (int32_t i = 0; i < count; i++) {
        if (offsets[i] < 0)
            continue;
        put_int_key(t, i);
        buf_add_i64_text(t->out, offsets[i]);
    }
    close_object(t);
}

static void put_delays(struct metadata *m, struct text *t)
{
    uint64_t seen = atomic_load(&m->delays.seen);

    for (int i = 0; i < DELAY_LEVELS_MAX; i++) {
        if (!(seen >> i & 1))
            continue;
        put_int_key(t, i + 1);
        buf_add_i64_text(t->out, atomic_load(&m->delays.offsets[i]));
    }
}

void metadata_json_write(struct metadata *m, enum metadata_export file, bool pretty,
                         struct buf *out)
{
    struct text t = {.out = out, .pretty = pretty, .file = file};

    open_object(&t);
    switch (file) {
    case METADATA_EXPORT_TOPICS:
        topic_table_each(m, put_topic, &t, &t.version);
        begin_table(&t);
        break;
    case METADATA_EXPORT_GROUPS:
        group_table_each(m, put_group, &t, &t.version);
        begin_table(&t);
        break;
    case METADATA_EXPORT_OFFSETS:
        begin_table(&t);
        metadata_each_offset(m, (struct bytes){0}, (struct bytes){0}, put_offsets, &t);
        break;
    case METADATA_EXPORT_DELAYS:
        begin_table(&t);
        put_delays(m, &t);
        break;
    case METADATA_EXPORTS:
        break;
    }
    close_object(&t);
    close_object(&t);
}

void metadata_topics_json(struct metadata *m, struct buf *out)
{
    metadata_json_write(m, METADATA_EXPORT_TOPICS, false, out);
}

void metadata_groups_json(struct metadata *m, struct buf *out)
{
    metadata_json_write(m, METADATA_EXPORT_GROUPS, false, out);
}

void metadata_offsets_json(struct metadata *m, struct buf *out)
{
    metadata_json_write(m, METADATA_EXPORT_OFFSETS, false, out);
}

void metadata_delays_json(struct metadata *m, struct buf *out)
{
    metadata_json_write(m, METADATA_EXPORT_DELAYS, false, out);
}

/* --- reading --- */

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(name, *names) == 0)
            return true;
    }
    return false;
}

/* fastjson writes an object that it has met before as a reference to its first place. Carried to
 * another file it would point nowhere. The loader bounds the depth. */
static bool has_reference(json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;

    json_array_foreach(value, i, member)
    {
        if (has_reference(member))
            return true;
    }
    json_object_foreach(value, key, member)
    {
        if (strcmp(key, "$ref") == 0 || has_reference(member))
            return true;
    }
    return false;
}

/* *text = the members that are not `known`, as JSON without the outer braces; the caller frees it.
 * NULL when there are none. More than we can carry counts as refused. */
static int extra_members(json_t *entry, const char *const *known, char **text,
                         struct metadata_taken *taken)
{
    json_t *rest = json_object();
    const char *key;
    json_t *value;
    size_t len;
    int r = rest ? 0 : -ENOMEM;

    *text = NULL;
    json_object_foreach(entry, key, value)
    {
        if (r == 0 && !is_one_of(key, known) && !json_is_null(value) && !has_reference(value) &&
            strcmp(key, "$ref") != 0 && json_object_set(rest, key, value) != 0)
            r = -ENOMEM;
    }
    if (r == 0 && json_object_size(rest) > 0) {
        *text = json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS);
        r = *text ? 0 : -ENOMEM;
    }
    json_decref(rest);
    if (!*text)
        return r;
    len = strlen(*text);
    if (len - 2 > METADATA_EXTRA_MAX) {
        taken->refused++;
        free(*text);
        *text = NULL;
        return 0;
    }
    memmove(*text, *text + 1, len - 2);
    (*text)[len - 2] = '\0';
    return 0;
}

bool metadata_json_extra_ok(struct bytes extra)
{
    struct buf text = {0};
    json_t *root;
    bool ok;

    if (extra.len == 0)
        return true;
    buf_add_u8(&text, '{');
    buf_add(&text, extra.at, extra.len);
    buf_add_u8(&text, '}');
    root = text.failed ? NULL : json_dialect_load(buf_bytes(&text), NULL);
    ok = json_is_object(root) && json_object_size(root) > 0;
    json_decref(root);
    buf_destroy(&text);
    return ok;
}

static void refuse(struct metadata_taken *taken, const char *key, const char *why)
{
    if (taken->first_refused[0] == '\0')
        (void)snprintf(taken->first_refused, sizeof(taken->first_refused), "\"%.60s\" %s", key,
                       why);
    taken->refused++;
}

/* An error of a put: one entry is left out, or the import ends. */
static int judge(struct metadata_taken *taken, const char *key, int r)
{
    if (r == -EINVAL) {
        refuse(taken, key, "has a name or number out of range");
        return 0;
    }
    if (r == 0)
        taken->entries++;
    return r;
}

static int32_t get_i32(const json_t *object, const char *key, int32_t fallback, bool *bad)
{
    int64_t v = json_get_i64(object, key, fallback);

    if (v >= INT32_MIN && v <= INT32_MAX)
        return (int32_t)v;
    *bad = true;
    return fallback;
}

static int import_topic(struct metadata *m, const char *key, json_t *value,
                        struct metadata_taken *taken)
{
    const int32_t perm_bits = PERM_INHERIT | PERM_WRITE | PERM_READ | PERM_PRIORITY;
    bool bad = false;
    /* RocketMQ's defaults for what is absent; the enum by name or by number. */
    struct topic_config config = {
        .read_queues = get_i32(value, "readQueueNums", 16, &bad),
        .write_queues = get_i32(value, "writeQueueNums", 16, &bad),
        .perm = get_i32(value, "perm", PERM_READ | PERM_WRITE, &bad) & perm_bits,
        .sys_flag = get_i32(value, "topicSysFlag", 0, &bad),
        .order = json_get_bool(value, "order", false),
        .multi_tag = bytes_is(json_get_str(value, "topicFilterType"), "MULTI_TAG") ||
                     json_get_i64(value, "topicFilterType", 0) == 1,
    };
    struct bytes extra;
    char *text;
    int r;

    if (bad)
        return judge(taken, key, -EINVAL);
    r = extra_members(value, topic_members, &text, taken);
    if (r < 0)
        return r;
    extra = bytes_str(text);
    r = topic_table_put(m, bytes_str(key), &config, &extra, 0, NULL, NULL, NULL);
    free(text);
    return judge(taken, key, r);
}

static int import_group(struct metadata *m, const char *key, json_t *value,
                        struct metadata_taken *taken)
{
    struct group_config d = group_config_default();
    bool bad = false;
    struct group_config config = {
        .consume_enable = json_get_bool(value, "consumeEnable", d.consume_enable),
        .consume_from_min_enable =
            json_get_bool(value, "consumeFromMinEnable", d.consume_from_min_enable),
        .consume_broadcast_enable =
            json_get_bool(value, "consumeBroadcastEnable", d.consume_broadcast_enable),
        .notify_ids_changed =
            json_get_bool(value, "notifyConsumerIdsChangedEnable", d.notify_ids_changed),
        .retry_queues = get_i32(value, "retryQueueNums", d.retry_queues, &bad),
        .retry_max_times = get_i32(value, "retryMaxTimes", d.retry_max_times, &bad),
        .broker_id = json_get_i64(value, "brokerId", d.broker_id),
        .which_broker_when_slow =
            json_get_i64(value, "whichBrokerWhenConsumeSlowly", d.which_broker_when_slow),
    };
    struct bytes extra;
    char *text;
    int r;

    if (bad)
        return judge(taken, key, -EINVAL);
    r = extra_members(value, group_members, &text, taken);
    if (r < 0)
        return r;
    extra = bytes_str(text);
    r = group_table_put(m, bytes_str(key), &config, &extra, NULL, NULL);
    free(text);
    return judge(taken, key, r);
}

static int import_offsets(struct metadata *m, const char *key, json_t *value,
                          struct metadata_taken *taken)
{
    const char *at = strchr(key, '@');
    struct bytes topic = bytes_of(key, at ? (size_t)(at - key) : 0);
    struct bytes group = bytes_str(at ? at + 1 : NULL);
    const char *queue;
    json_t *unused;

    if (!topic_name_ok(topic) || !group_name_ok(group)) {
        refuse(taken, key, "is no topic@group");
        return 0;
    }
    json_object_foreach(value, queue, unused)
    {
        int64_t offset = json_get_i64(value, queue, INT64_MIN);
        int32_t queue_id;
        int r = -EINVAL;

        if (bytes_to_i32(bytes_str(queue), &queue_id) && offset != INT64_MIN)
            r = taken->following ? metadata_offset_follow(m, topic, group, queue_id, offset)
                                 : metadata_offset_commit(m, topic, group, queue_id, offset);
        r = judge(taken, key, r);
        if (r < 0)
            return r;
    }
    return 0;
}

static int import_delay(struct metadata *m, const char *key, const json_t *table,
                        struct metadata_taken *taken)
{
    int64_t offset = json_get_i64(table, key, -1);
    int32_t level;
    int r = -EINVAL;

    if (bytes_to_i32(bytes_str(key), &level))
        r = metadata_delay_set(m, level, offset);
    return judge(taken, key, r);
}

const char *metadata_json_complaint(enum metadata_export file, const json_t *root)
{
    static const char *const complaints[METADATA_EXPORTS] = {
        [METADATA_EXPORT_TOPICS] = "\"topicConfigTable\" is not an object",
        [METADATA_EXPORT_GROUPS] = "\"subscriptionGroupTable\" is not an object",
        [METADATA_EXPORT_OFFSETS] = "\"offsetTable\" is not an object",
        [METADATA_EXPORT_DELAYS] = "\"offsetTable\" is not an object",
    };
    const json_t *table = json_object_get(root, table_names[file]);

    if (!json_is_object(root))
        return "it is not an object";
    return table && !json_is_null(table) && !json_is_object(table) ? complaints[file] : NULL;
}

static bool behind(const struct data_version *ours, const struct data_version *theirs)
{
    return theirs->counter > ours->counter || theirs->state_version > ours->state_version;
}

/* The version of the union of both is beyond the version of each. */
static void import_version(struct metadata *m, enum metadata_export file, const json_t *root)
{
    const json_t *member = json_object_get(root, "dataVersion");
    struct data_version ours, theirs = {
                                  .counter = json_get_i64(member, "counter", 0),
                                  .timestamp = json_get_i64(member, "timestamp", 0),
                                  .state_version = json_get_i64(member, "stateVersion", 0),
                              };

    if (file == METADATA_EXPORT_TOPICS) {
        ours = metadata_topics_version(m);
        if (behind(&ours, &theirs))
            topic_table_take_version(m, &theirs);
    } else if (file == METADATA_EXPORT_GROUPS) {
        ours = metadata_groups_version(m);
        if (behind(&ours, &theirs))
            group_table_take_version(m, &theirs);
    }
}

int metadata_json_import(struct metadata *m, enum metadata_export file, const json_t *root,
                         struct metadata_taken *taken)
{
    json_t *table = json_object_get(root, table_names[file]);
    const char *key;
    json_t *value;
    int r = 0;

    json_object_foreach(table, key, value)
    {
        if (file != METADATA_EXPORT_DELAYS && !json_is_object(value)) {
            refuse(taken, key, "is not an object");
            continue;
        }
        switch (file) {
        case METADATA_EXPORT_TOPICS:
            r = import_topic(m, key, value, taken);
            break;
        case METADATA_EXPORT_GROUPS:
            r = import_group(m, key, value, taken);
            break;
        case METADATA_EXPORT_OFFSETS:
            r = import_offsets(m, key, value, taken);
            break;
        case METADATA_EXPORT_DELAYS:
            r = import_delay(m, key, table, taken);
            break;
        case METADATA_EXPORTS:
            break;
        }
        if (r < 0)
            return r;
    }
    import_version(m, file, root);
    return 0;
}
