/* offsets.h - requests about offsets of queues and consumers. */
#ifndef TERN_BROKER_OFFSETS_H
#define TERN_BROKER_OFFSETS_H

#include "broker/call.h"

/* Stores a consumer's offset; above the visible end of a queue that exists it is clamped (the
 * veil). `topic` NULL: not a topic of this broker, stored as given. As metadata_offset_commit(). */
int offsets_commit(struct broker *b, struct topic *topic, struct bytes topic_name,
                   struct bytes group, int32_t queue_id, int64_t offset);

enum call_result serve_query_consumer_offset(struct call *call);  /* 14, reader */
enum call_result serve_update_consumer_offset(struct call *call); /* 15, loop */
enum call_result serve_max_offset(struct call *call);             /* 30, loop */
enum call_result serve_min_offset(struct call *call);             /* 31, loop */
enum call_result serve_all_consumer_offsets(struct call *call);   /* 43, reader */
enum call_result serve_all_delay_offsets(struct call *call);      /* 45, reader */

#endif
