/* registration.h - reads what a broker says of itself: the body of REGISTER_BROKER.
 *
 * Two forms, JSON and compressed:
 *
 *   {"filterServerList":[...],"topicConfigSerializeWrapper":
 *       {"dataVersion":{...},"topicConfigTable":{name:TopicConfig}}}
 *   or the wrapper alone, as senders before 3.0.11 do. Brokers of ours name topics that they no
 *   longer have in a member beside the wrapper, "ternRemovedTopics":{name:true}
 *
 *   zlib stream of: i32 length, dataVersion as JSON
 *                   i32 number of topics
 *                   for each: i32 length, "name readQueues writeQueues perm filterType[ ...]"
 *                   i32 length, filter servers as a JSON array
 *                   (5.x: mappings of static topics follow, which are not read)
 *
 * Pure: no I/O, no clock, no globals. Hostile input ends in a sentence, never in more memory than
 * the bounds say.
 */
#ifndef TERN_NAMESRV_REGISTRATION_H
#define TERN_NAMESRV_REGISTRATION_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"
#include "namesrv/route_table.h"

enum { REGISTRATION_INFLATED_MAX = 33554432 };

/* What a body says. Names and addresses in it are within the bounds of route_table.h. They are
 * borrowed from the body and from the memory of the decoder, and hold until either goes. */
struct registration {
    struct route_version version;
    bool has_filters; /* a list came, maybe an empty one */
    struct bytes *filters;
    size_t filter_count;
    struct route_topic_config *topics;
    size_t topic_count;
    size_t topic_room;
    struct bytes *removed; /* names of topics that the broker no longer has */
    size_t removed_count;
    size_t removed_room;
    json_t *names; /* those that had escapes in them */
    json_t *filter_tree;
    struct buf inflated; /* what a compressed body held */
};

/* An empty body is an empty registration. A body that begins with a zlib header is inflated even if
 * `compressed` is false. 0; -EINVAL or -ENOMEM with err. Destroy in any case. */
int registration_decode(struct bytes body, bool compressed, struct registration *out,
                        struct err *err);
void registration_destroy(struct registration *r); /* safe on zeroes, and twice */

/* {"counter":..,"stateVersion":..,"timestamp":..}; an empty body is the version of nothing. */
int registration_version_decode(struct bytes body, struct route_version *out, struct err *err);

/* "queueDatas" of a TopicRouteData, for REGISTER_TOPIC_IN_NAMESRV: calls each() for every entry in
 * order until it returns nonzero, which is then returned. */
int registration_queues_decode(struct bytes body, struct bytes topic,
                               int (*each)(void *ctx, const struct route_topic_config *config,
                                           struct bytes group),
                               void *ctx, struct err *err);

/* Text that may become a name in the tables: 1 to max bytes of UTF-8 without control characters. */
bool registration_name_ok(struct bytes name, size_t max);
/* host:port, with a port from 1 to 65535 and nothing that a client would stumble over. */
bool registration_address_ok(struct bytes address);

#endif
