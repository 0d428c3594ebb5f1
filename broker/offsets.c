/* offsets.c - requests about offsets: see offsets.h. */
#include "broker/offsets.h"

#include <errno.h>
#include <unistd.h>

#include "broker/topics.h"

int offsets_commit(struct broker *b, struct topic *topic, struct bytes topic_name,
                   struct bytes group, int32_t queue_id, int64_t offset)
{
    if (topic) {
        uint32_t queue = store_queue(b->store, topic, queue_id);

        if (queue != QUEUE_NONE) {
            int64_t max = store_range(b->store, queue).max;

            if (offset > max)
                offset = max;
        }
    }
    return metadata_offset_commit(b->metadata, topic_name, group, queue_id, offset);
}

struct queue_header {
    struct bytes topic, group;
    int32_t queue_id;
};

static bool read_queue(struct call *call, struct queue_header *h, bool with_group)
{
    return (!with_group || call_need_str(call, "consumerGroup", &h->group)) &&
           call_need_str(call, "topic", &h->topic) && call_need_i32(call, "queueId", &h->queue_id);
}

/* A group without an offset begins at 0 when the queue still has its first message and that lies
 * within the memory of the machine: a young topic is read from its beginning. */
static bool begins_at_zero(struct broker *b, const struct queue_header *h)
{
    uint32_t queue = topics_queue(b, h->topic, h->queue_id);
    int64_t near = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 100 *
                   b->settings->config.access_message_in_memory_max_ratio;
    struct queue_range range = store_range_settled(b->store, queue);
    struct queue_entry first;

    if (queue == QUEUE_NONE || range.max == 0)
        return true;
    if (range.min > 0)
        return false;
    /* The whole log is that small, so is the distance to its end. */
    if (store_confirmed(b->store) - store_min(b->store) <= (uint64_t)near)
        return true;
    return store_entry(b->store, queue, 0, &first) == 0 &&
           (int64_t)store_confirmed(b->store) - first.log_offset <= near;
}

enum call_result serve_query_consumer_offset(struct call *call)
{
    struct broker *b = call->broker;
    struct queue_header h;
    bool zero_if_none = true;
    int64_t offset;

    if (!read_queue(call, &h, true))
        return CALL_DONE;
    remoting_get_bool(call->frame, "setZeroIfNotFound", &zero_if_none);
    offset = metadata_offset(b->metadata, h.topic, h.group, h.queue_id);
    if (offset < 0 && zero_if_none && begins_at_zero(b, &h))
        offset = 0;
    if (offset >= 0)
        return call_answer_i64(call, "offset", offset);
    {
        struct remoting_writer w;

        reply_begin(&w, call->out, &call->to, RESPONSE_QUERY_NOT_FOUND,
                    bytes_str("no offset is stored: a new group, or offsets that were reset"),
                    true);
        remoting_end(&w);
    }
    return CALL_DONE;
}

enum call_result serve_update_consumer_offset(struct call *call)
{
    struct broker *b = call->broker;
    struct queue_header h;
    struct remoting_writer w;
    int64_t offset;
    int r;

    if (!read_queue(call, &h, true) || !call_need_i64(call, "commitOffset", &offset))
        return CALL_DONE;
    r = offsets_commit(b, metadata_topic(b->metadata, h.topic, NULL), h.topic, h.group, h.queue_id,
                       offset);
    if (r < 0)
        return call_error(
            call, RESPONSE_SYSTEM_ERROR,
            "offset %lld of group \"%s\" for topic \"%s\" queue %d cannot be stored: %s",
            (long long)offset, SAFE(h.group), SAFE(h.topic), h.queue_id,
            r == -EINVAL   ? "a name or the queue id is not allowed"
            : r == -ENOSPC ? "the table of offsets is full"
                           : "out of memory");
    call_begin(call, &w, RESPONSE_SUCCESS, true);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_max_offset(struct call *call)
{
    struct queue_header h;

    if (!read_queue(call, &h, false))
        return CALL_DONE;
    return call_answer_i64(
        call, "offset",
        store_range(call->broker->store, topics_queue(call->broker, h.topic, h.queue_id)).max);
}

enum call_result serve_min_offset(struct call *call)
{
    struct queue_header h;

    if (!read_queue(call, &h, false))
        return CALL_DONE;
    return call_answer_i64(
        call, "offset",
        store_range_settled(call->broker->store, topics_queue(call->broker, h.topic, h.queue_id))
            .min);
}

static enum call_result answer_json(struct call *call,
                                    void (*write)(struct metadata *m, struct buf *out))
{
    struct remoting_writer w;

    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    write(call->broker->metadata, call->out);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_all_consumer_offsets(struct call *call)
{
    return answer_json(call, metadata_offsets_json);
}

enum call_result serve_all_delay_offsets(struct call *call)
{
    return answer_json(call, metadata_delays_json);
}
