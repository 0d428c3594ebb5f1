/* handle_routes.c - what clients and tools ask: 105, 106, 901, and the lists of topics. */
#include "namesrv/namesrv_internal.h"

#include "namesrv/registration.h"
#include "namesrv/route_json.h"

enum { VERSION_STANDARD_JSON = 401 }; /* V4_9_4: from there on clients read strict JSON */

static struct route_view view_for(const struct request *rq, struct bytes topic)
{
    const struct namesrv *ns = rq->ns;
    struct route_view view = {.standard = rq->frame->version >= VERSION_STANDARD_JSON,
                              .acting_master = ns->options.support_acting_master};
    bool wanted = false;

    if (!view.standard)
        remoting_get_bool(rq->frame, "acceptStandardJsonOnly", &view.standard);
    if (ns->options.order_message_enable)
        view.order_known = kv_config_get(ns->kv, bytes_str(KV_ORDER_TOPICS), topic, &view.order);
    if (remoting_get_bool(rq->frame, "__ZONE_MODE", &wanted) == 0 && wanted)
        view.zone = ns_take_text(rq, "__ZONE_NAME");
    return view;
}

/* The request that every client repeats twice a minute for each of its topics. */
void ns_route_info(const struct request *rq)
{
    const struct route_topic *topic;
    struct remoting_writer w;
    struct route_view view;
    struct bytes name;

    if (!ns_need_text(rq, "topic", &name))
        return;
    topic = route_table_topic(rq->ns->table, name);
    if (!topic) {
        ns_answer(rq, RESPONSE_TOPIC_NOT_EXIST, "no broker serves topic %.*s",
                  (int)(name.len < ROUTE_TOPIC_MAX ? name.len : ROUTE_TOPIC_MAX),
                  (const char *)name.at);
        return;
    }
    view = view_for(rq, name);
    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    route_json_route(topic, &view, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

void ns_cluster_info(const struct request *rq)
{
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    route_json_cluster_info(rq->ns->table, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

void ns_member_group(const struct request *rq)
{
    struct bytes cluster, group;
    struct remoting_writer w;

    if (!ns_need_text(rq, "clusterName", &cluster) || !ns_need_text(rq, "brokerName", &group) ||
        !ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    route_json_member_group(route_table_group(rq->ns->table, group), group, cluster,
                            ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

static void answer_topics(const struct request *rq, enum route_topics which, struct bytes cluster)
{
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    route_json_topics(rq->ns->table, which, cluster, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

static bool is_enabled(const struct request *rq, bool enabled, const char *key)
{
    if (!enabled)
        ns_answer(rq, RESPONSE_SYSTEM_ERROR, "this list is disabled: %s=false", key);
    return enabled;
}

void ns_all_topics(const struct request *rq)
{
    if (is_enabled(rq, rq->ns->options.enable_all_topic_list, "enableAllTopicList"))
        answer_topics(rq, ROUTE_TOPICS_ALL, (struct bytes){0});
}

void ns_topics_by_cluster(const struct request *rq)
{
    struct bytes cluster;

    if (is_enabled(rq, rq->ns->options.enable_topic_list, "enableTopicList") &&
        ns_need_text(rq, "cluster", &cluster))
        answer_topics(rq, ROUTE_TOPICS_OF_CLUSTER, cluster);
}

void ns_system_topics(const struct request *rq)
{
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    route_json_system_topics(rq->ns->table, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}

static void answer_units(const struct request *rq, enum route_topics which)
{
    if (is_enabled(rq, rq->ns->options.enable_topic_list, "enableTopicList"))
        answer_topics(rq, which, (struct bytes){0});
}

void ns_unit_topics(const struct request *rq)
{
    answer_units(rq, ROUTE_TOPICS_UNIT);
}

void ns_unit_sub_topics(const struct request *rq)
{
    answer_units(rq, ROUTE_TOPICS_UNIT_SUB);
}

void ns_unit_sub_ununit_topics(const struct request *rq)
{
    answer_units(rq, ROUTE_TOPICS_UNIT_SUB_NO_UNIT);
}
