/* route_json.c - see route_json.h. */
#include "namesrv/route_json.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

#include "common/json_out.h"

enum { SYS_FLAG_UNIT = 1, SYS_FLAG_UNIT_SUB = 2 };

/* ---- one route ---- */

static void put_id(struct json_out *j, int64_t id, bool standard)
{
    if (standard)
        jout_key_int_quoted(j, id);
    else
        jout_key_int(j, id);
}

/* Members from 5.x brokers (enableActingMaster, zoneName) appear only where a broker sent them, so
 * that everything else reads as it always has. */
static void put_group(struct json_out *j, const struct route_group *g, bool standard, bool acting)
{
    jout_object(j);
    jout_key(j, "brokerAddrs");
    jout_object(j);
    for (size_t i = 0; i < g->member_count; i++) {
        put_id(j, acting && i == 0 ? ROUTE_MASTER_ID : g->members[i].id, standard);
        jout_str(j, g->members[i].address);
    }
    jout_object_end(j);
    jout_kv_str(j, "brokerName", g->name);
    jout_kv_str(j, "cluster", g->cluster);
    if (g->acting_master)
        jout_kv_bool(j, "enableActingMaster", true);
    if (g->zone)
        jout_kv_str(j, "zoneName", g->zone);
    jout_object_end(j);
}

/* Where there is a master it is the lowest member, and stays what it is. */
static bool acts_as_master(const struct route_topic *topic, const struct route_queue *q,
                           const struct route_view *view)
{
    return view->acting_master && q->group->acting_master && !(q->perm & ROUTE_PERM_WRITE) &&
           !bytes_starts(route_topic_name(topic), BYTES_LIT("rmq_sys_SYNC_BROKER_MEMBER_"));
}

static bool same_ignoring_case(struct bytes a, const char *b)
{
    if (a.len != strlen(b))
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (tolower(a.at[i]) != tolower((unsigned char)b[i]))
            return false;
    }
    return true;
}

static bool is_shown(const struct route_queue *q, const struct route_view *view)
{
    return view->zone.len == 0 || !route_group_master(q->group) ||
           (q->group->zone && same_ignoring_case(view->zone, q->group->zone));
}

static void put_filters(struct json_out *j, const struct route_group *g)
{
    for (size_t i = 0; i < g->member_count; i++) {
        const struct route_member *m = &g->members[i];

        if (m->filter_count == 0)
            continue;
        jout_key(j, m->address);
        jout_array(j);
        for (size_t k = 0; k < m->filter_count; k++)
            jout_str(j, m->filters[k]);
        jout_array_end(j);
    }
}

static void put_queue(struct json_out *j, const struct route_queue *q)
{
    jout_object(j);
    jout_kv_str(j, "brokerName", q->group->name);
    jout_kv_i64(j, "perm", q->perm);
    jout_kv_i64(j, "readQueueNums", q->read_queues);
    jout_kv_i64(j, "topicSysFlag", q->sys_flag);
    jout_kv_i64(j, "writeQueueNums", q->write_queues);
    jout_object_end(j);
}

static void put_route(struct json_out *j, const struct route_topic *topic,
                      const struct route_view *view)
{
    jout_object(j);
    jout_key(j, "brokerDatas");
    jout_array(j);
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        const struct route_queue *q = &topic->queues[i];

        if (is_shown(q, view))
            put_group(j, q->group, view->standard, acts_as_master(topic, q, view));
    }
    jout_array_end(j);
    jout_key(j, "filterServerTable");
    jout_object(j);
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        if (is_shown(&topic->queues[i], view))
            put_filters(j, topic->queues[i].group);
    }
    jout_object_end(j);
    if (view->order_known)
        jout_kv_bytes(j, "orderTopicConf", view->order);
    jout_key(j, "queueDatas");
    jout_array(j);
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        if (is_shown(&topic->queues[i], view))
            put_queue(j, &topic->queues[i]);
    }
    jout_array_end(j);
    jout_object_end(j);
}

static void add_escaped(struct buf *out, struct bytes text)
{
    while (text.len > 0) {
        uint32_t c;
        unsigned size = bytes_utf8_at(text, &c);

        assert(size > 0); /* the writer puts nothing but well-formed UTF-8 */
        if (c == '/')
            buf_add_str(out, "\\/");
        else if (c < 0x80)
            buf_add_u8(out, (uint8_t)c);
        else if (c < 0x10000)
            buf_addf(out, "\\u%04X", (unsigned)c);
        else
            buf_addf(out, "\\u%04X\\u%04X", (unsigned)(0xD800 + ((c - 0x10000) >> 10)),
                     (unsigned)(0xDC00 + ((c - 0x10000) & 0x3FF)));
        text.at += size;
        text.len -= size;
    }
}

/* The strict form writes what is beyond ASCII, and the slash, as escapes. Both stand in strings
 * only, so the finished text can be rewritten; nearly always there is nothing to do. */
static void escape_from(struct buf *out, size_t start)
{
    struct buf escaped = {0};
    bool needed = false;

    if (out->failed)
        return;
    for (size_t i = start; i < out->len && !needed; i++)
        needed = buf_at(out)[i] >= 0x80 || buf_at(out)[i] == '/';
    if (!needed)
        return;
    add_escaped(&escaped, bytes_of(buf_at(out) + start, out->len - start));
    out->len = start;
    buf_add(out, escaped.data, escaped.len);
    out->failed |= escaped.failed;
    buf_destroy(&escaped);
}

void route_json_route(const struct route_topic *topic, const struct route_view *view,
                      struct buf *out)
{
    struct json_out j;
    size_t start = out->len;

    jout_begin(&j, out);
    put_route(&j, topic, view);
    if (view->standard)
        escape_from(out, start);
}

/* ---- brokers ---- */

static int by_cluster(const void *a, const void *b)
{
    const struct route_group *const *left = a;
    const struct route_group *const *right = b;
    int order = strcmp((*left)->cluster, (*right)->cluster);

    return order != 0 ? order : strcmp((*left)->name, (*right)->name);
}

/* All groups, those of a cluster side by side; yours to free. NULL when there is none, or no
 * memory (out->failed). */
static const struct route_group **groups_by_cluster(const struct route_table *t, struct buf *out)
{
    size_t count = route_table_group_count(t);
    const struct route_group **groups;

    if (count == 0)
        return NULL;
    groups = malloc(count * sizeof(*groups));
    if (!groups) {
        out->failed = true;
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        groups[i] = route_table_group_at(t, i);
    qsort(groups, count, sizeof(*groups), by_cluster);
    return groups;
}

static bool begins_cluster(const struct route_group *const *groups, size_t at)
{
    return at == 0 || strcmp(groups[at - 1]->cluster, groups[at]->cluster) != 0;
}

void route_json_cluster_info(const struct route_table *t, struct buf *out)
{
    const struct route_group **groups = groups_by_cluster(t, out);
    size_t count = groups ? route_table_group_count(t) : 0;
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "brokerAddrTable");
    jout_object(&j);
    for (size_t i = 0; i < count; i++) {
        jout_key(&j, route_table_group_at(t, i)->name);
        put_group(&j, route_table_group_at(t, i), false, false);
    }
    jout_object_end(&j);
    jout_key(&j, "clusterAddrTable");
    jout_object(&j);
    for (size_t i = 0; i < count; i++) {
        if (begins_cluster(groups, i)) {
            if (i > 0)
                jout_array_end(&j);
            jout_key(&j, groups[i]->cluster);
            jout_array(&j);
        }
        jout_str(&j, groups[i]->name);
    }
    if (count > 0)
        jout_array_end(&j);
    jout_object_end(&j);
    jout_object_end(&j);
    free(groups);
}

void route_json_member_group(const struct route_group *g, struct bytes group, struct bytes cluster,
                             struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "brokerMemberGroup");
    jout_object(&j);
    jout_key(&j, "brokerAddrs");
    jout_object(&j);
    for (size_t i = 0; g && i < g->member_count; i++) {
        jout_key_int(&j, g->members[i].id);
        jout_str(&j, g->members[i].address);
    }
    jout_object_end(&j);
    jout_kv_bytes(&j, "brokerName", group);
    jout_kv_bytes(&j, "cluster", cluster);
    jout_object_end(&j);
    jout_object_end(&j);
}

void route_json_version(const struct route_version *version, struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_kv_i64(&j, "counter", version->counter);
    if (version->state != 0)
        jout_kv_i64(&j, "stateVersion", version->state);
    jout_kv_i64(&j, "timestamp", version->timestamp);
    jout_object_end(&j);
}

/* ---- lists of topics ---- */

static bool in_cluster(const struct route_topic *topic, struct bytes cluster)
{
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        if (bytes_is(cluster, topic->queues[i].group->cluster))
            return true;
    }
    return false;
}

static bool is_listed(const struct route_topic *topic, enum route_topics which,
                      struct bytes cluster)
{
    /* units are judged by one of the brokers; they should all say the same */
    int32_t flags = topic->queues[0].sys_flag;

    switch (which) {
    case ROUTE_TOPICS_ALL:
        return true;
    case ROUTE_TOPICS_OF_CLUSTER:
        return in_cluster(topic, cluster);
    case ROUTE_TOPICS_UNIT:
        return flags & SYS_FLAG_UNIT;
    case ROUTE_TOPICS_UNIT_SUB:
        return flags & SYS_FLAG_UNIT_SUB;
    case ROUTE_TOPICS_UNIT_SUB_NO_UNIT:
        return (flags & SYS_FLAG_UNIT_SUB) && !(flags & SYS_FLAG_UNIT);
    }
    return false;
}

static int by_name(const void *a, const void *b)
{
    const struct route_topic *left = *(const struct route_topic *const *)a;
    const struct route_topic *right = *(const struct route_topic *const *)b;
    size_t common = left->name_len < right->name_len ? left->name_len : right->name_len;
    int order = memcmp(left->name, right->name, common);

    if (order != 0)
        return order;
    return left->name_len < right->name_len ? -1 : left->name_len > right->name_len;
}

void route_json_topics(const struct route_table *t, enum route_topics which, struct bytes cluster,
                       struct buf *out)
{
    size_t room = route_table_topic_count(t);
    const struct route_topic **topics = malloc((room + 1) * sizeof(*topics));
    const struct route_topic *topic = NULL;
    struct json_out j;
    size_t count = 0;

    if (!topics) {
        out->failed = true;
        return;
    }
    while ((topic = route_table_next_topic(t, topic)) != NULL) {
        if (is_listed(topic, which, cluster))
            topics[count++] = topic;
    }
    qsort(topics, count, sizeof(*topics), by_name);
    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "topicList");
    jout_array(&j);
    for (size_t i = 0; i < count; i++)
        jout_bytes(&j, route_topic_name(topics[i]));
    jout_array_end(&j);
    jout_object_end(&j);
    free(topics);
}

void route_json_system_topics(const struct route_table *t, struct buf *out)
{
    const struct route_group **groups = groups_by_cluster(t, out);
    size_t count = groups ? route_table_group_count(t) : 0;
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    if (count > 0)
        jout_kv_str(&j, "brokerAddr", groups[0]->members[0].address);
    jout_key(&j, "topicList");
    jout_array(&j);
    for (size_t i = 0; i < count; i++) {
        if (begins_cluster(groups, i))
            jout_str(&j, groups[i]->cluster);
        jout_str(&j, groups[i]->name);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    free(groups);
}
