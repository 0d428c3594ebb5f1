/* topic_admin.h - making topics on brokers, and waiting until name servers route them. */
#ifndef TERN_TOOLS_TOPIC_ADMIN_H
#define TERN_TOOLS_TOPIC_ADMIN_H

#include "tools/client.h"

enum { TOPIC_ADMIN_WAIT_MS = 10000 };

struct topic_settings {
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm; /* ROUTE_READ | ROUTE_WRITE */
    bool order;
};

/* What the broker's master has: TOOL_NOT_FOUND when it does not have the topic. */
int topic_admin_get(struct client *c, const struct route_broker *broker, const char *topic,
                    struct topic_settings *out, struct err *err);
/* Creates the topic on one master, or changes it to these settings. */
int topic_admin_put(struct client *c, const struct route_broker *broker, const char *topic,
                    const struct topic_settings *settings, struct err *err);
/* Waits until every name server that answers routes the topic to `brokers[i]` with `settings[i]`.
 * TOOL_UNREACHABLE when none answers, TOOL_REFUSED when it takes longer than TOPIC_ADMIN_WAIT_MS.
 */
int topic_admin_wait(struct client *c, const char *topic, const struct route_broker *const *brokers,
                     const struct topic_settings *settings, size_t count, struct err *err);
/* Makes the topic on every master unless some broker serves it already, and gives its route, yours
 * to destroy. */
int topic_admin_ensure(struct client *c, const char *topic, int32_t queues, struct route *out,
                       struct err *err);

#endif
