/* route_fixture.h - registrations in a few words. */
#ifndef TERN_TESTS_ROUTE_FIXTURE_H
#define TERN_TESTS_ROUTE_FIXTURE_H

#include "namesrv/route_table.h"

#include "unit.h"

enum { T0_MS = 1000000 };

static inline struct route_table *new_table(void)
{
    struct route_table *t;

    ck_assert_int_eq(route_table_new(&t, 42), 0);
    return t;
}

static inline struct route_topic_config topic_config(const char *name, int32_t queues)
{
    return (struct route_topic_config){
        .name = bytes_str(name), .read_queues = queues, .write_queues = queues, .perm = 6};
}

/* A member of group "a" of cluster "C"; topics are added by the caller. The connection has the
 * number of the port. */
static inline struct route_registration member(int64_t id, const char *address)
{
    int32_t port = 0;
    const char *colon = strchr(address, ':');

    ck_assert(bytes_to_i32(bytes_str(colon + 1), &port));
    return (struct route_registration){.cluster = BYTES_LIT("C"),
                                       .group = BYTES_LIT("a"),
                                       .address = bytes_str(address),
                                       .ha_address = BYTES_LIT("h:10912"),
                                       .id = id,
                                       .version = {.counter = 1, .timestamp = 100},
                                       .keep_filters = true,
                                       .channel = (uint64_t)port};
}

static inline struct route_registered
registered(struct route_table *t, const struct route_registration *in, int64_t now_ms)
{
    struct route_registered out;

    ck_assert_int_eq(route_table_register(t, in, now_ms, &out), 0);
    return out;
}

/* A member that tells one topic. */
static inline void join_with(struct route_table *t, struct route_registration in,
                             struct route_topic_config topic)
{
    in.topics = &topic;
    in.topic_count = 1;
    registered(t, &in, T0_MS);
}

/* The entry of a group in a topic, NULL when there is none. */
static inline const struct route_queue *queue_in(const struct route_table *t, const char *topic,
                                                 const char *group)
{
    const struct route_topic *found = route_table_topic(t, bytes_str(topic));

    for (uint32_t i = 0; found && i < found->queue_count; i++) {
        if (strcmp(found->queues[i].group->name, group) == 0)
            return &found->queues[i];
    }
    return NULL;
}

#endif
