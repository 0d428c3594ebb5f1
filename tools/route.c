/* route.c - see route.h. */
#include "tools/route.h"

#include <errno.h>
#include <stdlib.h>

#include "common/json.h"

enum { QUEUES_MAX = 1 << 20 };

static int by_id(const void *a, const void *b)
{
    const struct route_member *x = a, *y = b;

    return (x->id > y->id) - (x->id < y->id);
}

static int by_name(const void *a, const void *b)
{
    const struct route_broker *x = a, *y = b;
    int c = strcmp(x->cluster, y->cluster);

    return c ? c : strcmp(x->name, y->name);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int add_broker(struct route *r, const json_t *data, struct err *err)
{
    struct route_broker *b = &r->brokers[r->count];
    json_t *addresses = json_object_get(data, "brokerAddrs");
    const char *key;
    json_t *value;

    *b = (struct route_broker){.name = text_of(data, "brokerName"),
                               .cluster = text_of(data, "cluster")};
    if (!b->name || !json_is_object(addresses))
        return err_say(err, -EINVAL, "a broker without brokerName or brokerAddrs");
    if (!b->cluster)
        b->cluster = "";
    b->members = calloc(json_object_size(addresses) + 1, sizeof(*b->members));
    if (!b->members)
        return err_set(err, -ENOMEM, "route");
    r->count++; /* from here on route_destroy() frees it */
    json_object_foreach(addresses, key, value)
    {
        struct route_member *m = &b->members[b->member_count];

        if (!bytes_to_i64(bytes_str(key), &m->id) || m->id < 0 || !json_is_string(value))
            return err_say(err, -EINVAL, "broker %s: \"%.40s\" is no broker id with an address",
                           b->name, key);
        m->address = json_string_value(value);
        b->member_count++;
    }
    qsort(b->members, b->member_count, sizeof(*b->members), by_id);
    return 0;
}

static int add_brokers(struct route *r, bool cluster, struct err *err)
{
    json_t *list = json_object_get(r->root, cluster ? "brokerAddrTable" : "brokerDatas");
    size_t count = cluster ? json_object_size(list) : json_array_size(list);
    int e = 0;

    r->brokers = calloc(count + 1, sizeof(*r->brokers));
    if (!r->brokers)
        return err_set(err, -ENOMEM, "route");
    if (cluster) {
        const char *key;
        json_t *data;

        json_object_foreach(list, key, data)
        {
            if (e == 0)
                e = add_broker(r, data, err);
        }
    } else {
        for (size_t i = 0; i < count && e == 0; i++)
            e = add_broker(r, json_array_get(list, i), err);
    }
    if (e == 0)
        qsort(r->brokers, r->count, sizeof(*r->brokers), by_name);
    return e;
}

static struct route_broker *find(const struct route *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->brokers[i].name, name) == 0)
            return &r->brokers[i];
    }
    return NULL;
}

static int32_t queues_of(const json_t *data, const char *key)
{
    int64_t n = json_get_i64(data, key, 0);

    return n < 0 ? 0 : n > QUEUES_MAX ? QUEUES_MAX : (int32_t)n;
}

static void add_queues(struct route *r, const json_t *data)
{
    const char *name = text_of(data, "brokerName");
    struct route_broker *b = name ? find(r, name) : NULL;

    if (!b)
        return; /* served by a broker that has gone: no address to use it at */
    b->serves = true;
    b->perm = (int32_t)(json_get_i64(data, "perm", ROUTE_READ | ROUTE_WRITE) & 0xf);
    b->read_queues = queues_of(data, "readQueueNums");
    b->write_queues = queues_of(data, "writeQueueNums");
    b->sys_flag = (int32_t)json_get_i64(data, "topicSysFlag", 0);
}

int route_parse(struct route *out, struct bytes body, bool cluster, struct err *err)
{
    struct route r = {.root = json_dialect_load(body, err)};
    int e;

    if (!r.root)
        return err ? err->code : -EINVAL;
    e = add_brokers(&r, cluster, err);
    if (e < 0) {
        route_destroy(&r);
        return e;
    }
    if (!cluster) {
        const json_t *queues = json_object_get(r.root, "queueDatas");

        for (size_t i = 0; i < json_array_size(queues); i++)
            add_queues(&r, json_array_get(queues, i));
        r.order = text_of(r.root, "orderTopicConf");
    }
    *out = r;
    return 0;
}

void route_destroy(struct route *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->brokers[i].members);
    free(r->brokers);
    json_decref(r->root);
    *r = (struct route){.count = 0};
}

const struct route_broker *route_broker_named(const struct route *r, const char *name)
{
    return find(r, name);
}

const char *route_master(const struct route_broker *b)
{
    return b->member_count && b->members[0].id == 0 ? b->members[0].address : NULL;
}

const char *route_reader(const struct route_broker *b)
{
    return b->member_count ? b->members[0].address : NULL;
}
