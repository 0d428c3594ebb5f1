/* route_table_internal.h - what the files of the routing table share: its two indexes, and the
 * steps by which entries come and go. Nobody else includes it. */
#ifndef TERN_NAMESRV_ROUTE_TABLE_INTERNAL_H
#define TERN_NAMESRV_ROUTE_TABLE_INTERNAL_H

#include "namesrv/route_table.h"

struct route_table {
    uint64_t seed;
    struct route_topic **buckets;
    size_t bucket_count; /* a power of two */
    size_t topic_count;
    size_t queue_count;
    struct route_group **groups; /* in order of name */
    size_t group_count;
    size_t group_room;
};

/* ---- topics and queue entries (route_topics.c) ---- */

int route_topics_init(struct route_table *t); /* 0 or -ENOMEM */
void route_topics_destroy(struct route_table *t);
/* The entry of that group in that topic, made when it is missing (*made). NULL: *full says why. */
struct route_queue *route_queue_put(struct route_table *t, struct bytes name, struct route_group *g,
                                    bool *made, enum route_full *full);
/* The group's entry of that topic goes, if there is one. */
void route_queue_take_out(struct route_table *t, struct bytes name, const struct route_group *g);
/* Drops every entry of the group, or clears their write right. */
void route_queues_drop(struct route_table *t, const struct route_group *g);
void route_queues_wipe(struct route_table *t, const struct route_group *g);

/* ---- groups and members (route_table.c) ---- */

char *route_copy_text(struct bytes text); /* with a NUL; free() it */
struct route_group *route_group_of(const struct route_table *t, struct bytes name);
int route_group_insert(struct route_table *t, struct route_group *g);
void route_group_free(struct route_group *g);
struct route_member *route_member_by_id(struct route_group *g, int64_t id);
struct route_member *route_member_by_address(struct route_group *g, struct bytes address);
void route_member_destroy(struct route_member *m);
void route_filters_free(char **filters, size_t count);
/* The group stays, even without members. */
void route_member_take_out(struct route_group *g, struct route_member *m);

#endif
