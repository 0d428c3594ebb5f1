/* route_json.h - the routing table as the JSON bodies that clients and tools read.
 *
 * Adds to `out`; who calls checks out->failed. Members are in alphabetical order without white
 * space (some clients split the text by hand); lists are sorted, so that equal tables give equal
 * bytes. Pure.
 */
#ifndef TERN_NAMESRV_ROUTE_JSON_H
#define TERN_NAMESRV_ROUTE_JSON_H

#include "common/buf.h"
#include "namesrv/route_table.h"

/* How one asker is to see a route. */
struct route_view {
    bool standard;      /* strict JSON: quoted broker ids, ASCII only */
    bool acting_master; /* the lowest member of a group without master may stand in for reading */
    bool order_known;   /* put orderTopicConf */
    struct bytes order;
    struct bytes zone; /* only groups of this zone, or without a master; empty: all */
};
/* GET_ROUTEINFO_BY_TOPIC. */
void route_json_route(const struct route_topic *topic, const struct route_view *view,
                      struct buf *out);

void route_json_cluster_info(const struct route_table *t, struct buf *out);
/* `g` may be NULL: nobody. */
void route_json_member_group(const struct route_group *g, struct bytes group, struct bytes cluster,
                             struct buf *out);
void route_json_version(const struct route_version *version, struct buf *out);

/* {"topicList":[...]} */
enum route_topics {
    ROUTE_TOPICS_ALL,
    ROUTE_TOPICS_OF_CLUSTER,
    ROUTE_TOPICS_UNIT,             /* unit topics */
    ROUTE_TOPICS_UNIT_SUB,         /* topics with a unit subscription */
    ROUTE_TOPICS_UNIT_SUB_NO_UNIT, /* those that are not unit topics themselves */
};
void route_json_topics(const struct route_table *t, enum route_topics which, struct bytes cluster,
                       struct buf *out);
/* Cluster and broker names, and the address of some broker. */
void route_json_system_topics(const struct route_table *t, struct buf *out);

#endif
