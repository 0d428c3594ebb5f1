/* registration_body.c - see registration_body.h. */
#include "broker/registration_body.h"

void registration_body_begin(struct registration_body *w, int32_t permission)
{
    *w = (struct registration_body){.permission = permission};
    jout_begin(&w->table_json, &w->table);
    jout_object(&w->table_json);
    jout_begin(&w->removed_json, &w->removed);
    jout_object(&w->removed_json);
}

static void add_topic(struct registration_body *w, const struct topic *topic,
                      const struct topic_config *config)
{
    enum { READ_WRITE = PERM_READ | PERM_WRITE };
    struct json_out *j = &w->table_json;
    int32_t perm = (w->permission & READ_WRITE) == READ_WRITE ? config->perm : w->permission;

    jout_key(j, topic->name);
    jout_object(j);
    jout_kv_bool(j, "order", config->order);
    jout_kv_i64(j, "perm", perm);
    jout_kv_i64(j, "readQueueNums", config->read_queues);
    jout_kv_str(j, "topicFilterType", config->multi_tag ? "MULTI_TAG" : "SINGLE_TAG");
    jout_kv_str(j, "topicName", topic->name);
    jout_kv_i64(j, "topicSysFlag", config->sys_flag);
    jout_kv_i64(j, "writeQueueNums", config->write_queues);
    jout_object_end(j);
}

bool registration_body_visit(void *ctx, const struct topic *topic,
                             const struct topic_config *config)
{
    struct registration_body *w = ctx;

    if (topic->deleted) {
        jout_kv_bool(&w->removed_json, topic->name, true);
        w->any_removed = true;
    } else {
        add_topic(w, topic, config);
    }
    return w->table.len + w->removed.len < REGISTRATION_BODY_FULL;
}

static void add_version(struct json_out *j, const struct data_version *version)
{
    jout_object(j);
    jout_kv_i64(j, "counter", version->counter);
    if (version->state_version != 0) /* the epoch; name servers go by it when two claim an id */
        jout_kv_i64(j, "stateVersion", version->state_version);
    jout_kv_i64(j, "timestamp", version->timestamp);
    jout_object_end(j);
}

void registration_body_end(struct registration_body *w, const struct data_version *version,
                           struct buf *out)
{
    struct json_out j;

    jout_object_end(&w->table_json);
    jout_object_end(&w->removed_json);
    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "filterServerList");
    jout_array(&j);
    jout_array_end(&j);
    if (w->any_removed) {
        jout_key(&j, "ternRemovedTopics");
        jout_raw(&j, buf_bytes(&w->removed));
    }
    jout_key(&j, "topicConfigSerializeWrapper");
    jout_object(&j);
    jout_key(&j, "dataVersion");
    add_version(&j, version);
    jout_key(&j, "topicConfigTable");
    jout_raw(&j, buf_bytes(&w->table));
    jout_object_end(&j);
    jout_object_end(&j);
    if (w->table.failed || w->removed.failed)
        out->failed = true;
    buf_destroy(&w->table);
    buf_destroy(&w->removed);
}

void registration_version(const struct data_version *version, struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    add_version(&j, version);
}
