/* fuzz_registration.h - what follows a decoded registration: its bounds hold, the table takes it,
 * and the route of each topic can be written.
 */
#ifndef TERN_TESTS_FUZZ_REGISTRATION_H
#define TERN_TESTS_FUZZ_REGISTRATION_H

#include <assert.h>

#include "namesrv/registration.h"
#include "namesrv/route_json.h"

static inline void use_registration(const struct registration *r)
{
    struct route_registration in = {.cluster = BYTES_LIT("C"),
                                    .group = BYTES_LIT("a"),
                                    .address = BYTES_LIT("127.0.0.1:10911"),
                                    .ha_address = BYTES_LIT("127.0.0.1:10912"),
                                    .version = r->version,
                                    .keep_filters = !r->has_filters,
                                    .filters = r->filters,
                                    .filter_count = r->filter_count,
                                    .topics = r->topics,
                                    .topic_count = r->topic_count,
                                    .removed = r->removed,
                                    .removed_count = r->removed_count,
                                    .channel = 1};
    struct route_registered out;
    struct route_table *t;
    struct route_gone gone;
    struct buf body = {0};

    assert(r->topic_count <= ROUTE_TOPICS_MAX && r->filter_count <= ROUTE_FILTERS_MAX);
    assert(r->removed_count <= ROUTE_TOPICS_MAX);
    for (size_t i = 0; i < r->topic_count; i++) {
        assert(registration_name_ok(r->topics[i].name, ROUTE_TOPIC_MAX));
        assert(r->topics[i].read_queues >= 0 && r->topics[i].write_queues >= 0);
    }
    if (route_table_new(&t, 1) < 0)
        return;
    for (int twice = 0; twice < 2; twice++) {
        int registered = route_table_register(t, &in, 0, &out);

        assert(registered == 0 && out.left_out == 0);
        assert(route_table_topic_count(t) <= r->topic_count);
    }
    for (size_t i = 0; i < r->topic_count; i++) {
        const struct route_topic *topic = route_table_topic(t, r->topics[i].name);
        struct route_view view = {.standard = true};

        assert(topic && topic->queue_count == 1);
        route_json_route(topic, &view, &body);
        buf_reset(&body);
    }
    route_json_topics(t, ROUTE_TOPICS_ALL, (struct bytes){0}, &body);
    assert(route_table_take_channel(t, 1, &gone));
    assert(route_table_topic_count(t) == 0);
    buf_destroy(&body);
    route_table_free(t);
}

#endif
