/* route.h - what a name server says of a topic (105) or of the cluster (106). Pure.
 *
 * Names and addresses are borrowed from the JSON tree that the route owns. Source:
 * docs/protocol/remoting.md, "Name server requests".
 */
#ifndef TERN_TOOLS_ROUTE_H
#define TERN_TOOLS_ROUTE_H

#include <jansson.h>

#include "common/bytes.h"
#include "common/err.h"

enum { ROUTE_READ = 4, ROUTE_WRITE = 2 };

struct route_member {
    int64_t id; /* 0: master */
    const char *address;
};

struct route_broker {
    const char *name;
    const char *cluster;
    struct route_member *members; /* by id */
    size_t member_count;
    /* of the topic; nothing in the answer to 106 */
    bool serves;
    int32_t perm, read_queues, write_queues, sys_flag;
};

struct route {
    json_t *root;
    struct route_broker *brokers; /* by cluster, then name */
    size_t count;
    const char *order; /* orderTopicConf; NULL: none */
};

/* The body of the answer to 105 (`cluster` false) or 106. 0; -EINVAL with err, -ENOMEM. */
int route_parse(struct route *out, struct bytes body, bool cluster, struct err *err);
void route_destroy(struct route *r); /* safe on zeroes and twice */
const struct route_broker *route_broker_named(const struct route *r, const char *name);
/* NULL: there is none. */
const char *route_master(const struct route_broker *b);
/* The master, else the member with the lowest id. */
const char *route_reader(const struct route_broker *b);

#endif
