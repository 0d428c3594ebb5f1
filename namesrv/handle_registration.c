/* handle_registration.c - what brokers say of themselves: 103, 104, 322, 904, 217. */
#include "namesrv/namesrv_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/crc.h"
#include "common/log.h"
#include "namesrv/registration.h"
#include "namesrv/route_json.h"

enum { HEARTBEAT_TIMEOUT_MAX_MS = 86400000 };

static const char *full_text(enum route_full full)
{
    switch (full) {
    case ROUTE_FULL_GROUPS:
        return "the broker table is full (4096 names)";
    case ROUTE_FULL_MEMBERS:
        return "the group is full (64 members)";
    case ROUTE_FULL_TOPICS:
        return "the topic table is full (262144 topics)";
    case ROUTE_FULL_QUEUES:
        return "the table of queue entries is full (1048576)";
    default:
        return "out of memory";
    }
}
_Static_assert(ROUTE_GROUPS_MAX == 4096 && ROUTE_MEMBERS_MAX == 64 && ROUTE_TOPICS_MAX == 262144 &&
                   ROUTE_QUEUES_MAX == 1048576,
               "full_text() names the bounds");

/* ---- REGISTER_BROKER ---- */

static bool read_header(const struct request *rq, struct route_registration *in)
{
    if (!ns_need_name(rq, "brokerName", ROUTE_NAME_MAX, &in->group) ||
        !ns_need_address(rq, "brokerAddr", &in->address) ||
        !ns_need_name(rq, "clusterName", ROUTE_NAME_MAX, &in->cluster) ||
        !ns_need_name(rq, "haServerAddr", ROUTE_ADDRESS_MAX, &in->ha_address) ||
        !ns_need_i64(rq, "brokerId", &in->id) ||
        !ns_take_i64(rq, "heartbeatTimeoutMillis", 1, HEARTBEAT_TIMEOUT_MAX_MS, &in->timeout_ms))
        return false;
    if (in->id < 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "brokerId is %" PRId64 ", expected 0 or more", in->id);
        return false;
    }
    in->speaks_acting_master =
        remoting_get_bool(rq->frame, "enableActingMaster", &in->acting_master) == 0;
    in->zone = ns_take_text(rq, "__ZONE_NAME");
    if (in->zone.len > 0 && !registration_name_ok(in->zone, ROUTE_NAME_MAX)) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "__ZONE_NAME is not a name");
        return false;
    }
    in->channel = conn_id_of(rq->conn);
    return true;
}

static bool read_body(const struct request *rq, struct registration *body)
{
    bool compressed = false;
    int64_t crc = 0;
    struct err err = {0};

    remoting_get_bool(rq->frame, "compressed", &compressed);
    if (!ns_take_i64(rq, "bodyCrc32", INT32_MIN, INT32_MAX, &crc))
        return false;
    if (crc != 0 && (uint32_t)crc != crc31_of(rq->frame->body)) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR,
                  "bodyCrc32 does not match the body: %" PRId64 " in the header, %" PRIu32
                  " of the %zu bytes that came",
                  crc, crc31_of(rq->frame->body), rq->frame->body.len);
        return false;
    }
    if (registration_decode(rq->frame->body, compressed, body, &err) < 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "body of the registration: %s", err.text);
        return false;
    }
    return true;
}

static void answer_registered(const struct request *rq, const struct route_registered *done)
{
    static const struct bytes order = {(const uint8_t *)KV_ORDER_TOPICS,
                                       sizeof(KV_ORDER_TOPICS) - 1};
    const struct namesrv *ns = rq->ns;
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, true, NULL))
        return;
    if (done->master) {
        remoting_put_str(&w, "haServerAddr", done->master->ha_address);
        remoting_put_str(&w, "masterAddr", done->master->address);
    }
    remoting_body(&w);
    if (ns->options.return_order_topics && kv_config_has_namespace(ns->kv, order))
        kv_config_namespace_json(ns->kv, order, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

/* A code of 0 with a remark and none of the fields: 5.x brokers take it as success as well, and a
 * broker that looks for masterAddr sees that it is missing. */
static void answer_outdated(const struct request *rq, const struct route_registration *in)
{
    struct remoting_writer w;

    log_warn_limited("outdated registration",
                     "broker %.*s (id %" PRId64 ", %.*s) is not taken: another address holds that "
                     "id with a higher state version",
                     (int)in->group.len, (const char *)in->group.at, in->id, (int)in->address.len,
                     (const char *)in->address.at);
    if (ns_answer_begin(rq, &w, RESPONSE_SUCCESS, true,
                        "not taken: another address holds this id with a higher stateVersion"))
        ns_answer_end(rq, &w);
}

static void register_broker(const struct request *rq, struct route_registration *in)
{
    struct namesrv *ns = rq->ns;
    struct route_registered done;
    int r = route_table_register(ns->table, in, loop_now_ms(ns->loop), &done);

    if (r == ROUTE_OUTDATED) {
        answer_outdated(rq, in);
        return;
    }
    if (r != 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "not registered: %s",
                  full_text(r == ROUTE_FULL ? done.full : ROUTE_FULL_MEMORY));
        return;
    }
    namesrv_broker_spoke(rq, done.member);
    if (done.joined)
        log_info("broker %.*s (id %" PRId64 ", %s) of cluster %.*s is registered",
                 (int)in->group.len, (const char *)in->group.at, in->id, done.member->address,
                 (int)in->cluster.len, (const char *)in->cluster.at);
    if (done.left_out > 0) {
        log_warn_limited(full_text(done.full), "%s: %zu topics of broker %.*s have no route",
                         full_text(done.full), done.left_out, (int)in->group.len,
                         (const char *)in->group.at);
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "registered without %zu topics: %s", done.left_out,
                  full_text(done.full));
        return;
    }
    answer_registered(rq, &done);
}

void ns_register_broker(const struct request *rq)
{
    struct route_registration in = {0};
    struct registration body = {0};

    if (read_header(rq, &in) && read_body(rq, &body)) {
        in.version = body.version;
        in.topics = body.topics;
        in.topic_count = body.topic_count;
        in.removed = body.removed;
        in.removed_count = body.removed_count;
        in.keep_filters = !body.has_filters;
        in.filters = body.filters;
        in.filter_count = body.filter_count;
        register_broker(rq, &in);
    }
    registration_destroy(&body);
}

/* ---- the others ---- */

static bool read_identity(const struct request *rq, struct bytes *group, struct bytes *address)
{
    struct bytes cluster;

    return ns_need_text(rq, "brokerName", group) && ns_need_text(rq, "brokerAddr", address) &&
           ns_need_text(rq, "clusterName", &cluster);
}

void ns_unregister_broker(const struct request *rq)
{
    struct bytes group, address;
    struct route_gone gone;
    int64_t id;

    if (!read_identity(rq, &group, &address) || !ns_need_i64(rq, "brokerId", &id))
        return;
    /* by its address: a late request of a process that was replaced must not remove the new one */
    if (route_table_unregister(rq->ns->table, group, address, &gone))
        log_info("broker %s (id %" PRId64 ", %s) is gone: it unregistered", gone.group, gone.id,
                 gone.address);
    ns_answer(rq, RESPONSE_SUCCESS, NULL);
}

static const struct route_member *touch(const struct request *rq, struct bytes group,
                                        struct bytes address)
{
    const struct route_member *member = route_table_touch(
        rq->ns->table, group, address, conn_id_of(rq->conn), loop_now_ms(rq->ns->loop));

    if (member)
        namesrv_broker_spoke(rq, member);
    return member;
}

void ns_query_data_version(const struct request *rq)
{
    const struct route_member *member;
    struct route_version version;
    struct bytes group, address;
    struct remoting_writer w;
    struct err err = {0};
    int64_t id;

    if (!read_identity(rq, &group, &address) || !ns_need_i64(rq, "brokerId", &id))
        return;
    if (registration_version_decode(rq->frame->body, &version, &err) < 0) {
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "body of the query: %s", err.text);
        return;
    }
    member = touch(rq, group, address);
    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, true, NULL))
        return;
    remoting_put_bool(&w, "changed",
                      !member || member->id != id || !member->complete ||
                          !route_version_equal(&member->version, &version));
    remoting_body(&w);
    if (member)
        route_json_version(&member->version, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

void ns_broker_heartbeat(const struct request *rq)
{
    struct bytes group, address;

    if (!read_identity(rq, &group, &address))
        return;
    touch(rq, group, address);
    ns_answer(rq, RESPONSE_SUCCESS, NULL);
}

struct putting {
    struct route_table *table;
    enum route_full full;
};

static int put_queue(void *ctx, const struct route_topic_config *config, struct bytes group)
{
    struct putting *p = ctx;

    return route_table_put_queue(p->table, config, group, &p->full);
}

void ns_register_topic(const struct request *rq)
{
    struct putting putting = {.table = rq->ns->table};
    struct err err = {0};
    struct bytes topic;
    int r;

    if (!ns_need_name(rq, "topic", ROUTE_TOPIC_MAX, &topic))
        return;
    r = registration_queues_decode(rq->frame->body, topic, put_queue, &putting, &err);
    if (r < 0)
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "body of the topic: %s", err.text);
    else if (r == ROUTE_FULL)
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "not registered: %s", full_text(putting.full));
    else /* a broker that is not known ends the list, and is no failure */
        ns_answer(rq, RESPONSE_SUCCESS, NULL);
}
