/* store_unconsumed.c - which groups had not yet consumed what goes with a segment of the log.
 *
 * Offsets are copied a part of their table at a time, since looking at queues may read files and
 * the table's lock must not wait for that. The list and the reads are bounded.
 */
#include <stdarg.h>
#include <stdio.h>

#include "broker/store/store_internal.h"

enum {
    NAMED_MAX = 8,      /* groups and topics named */
    LOOKS_MAX = 200000, /* offsets compared with their queue */
};

struct listing {
    struct store *s;
    uint64_t log_min;
    char *text;
    size_t size, len;
    unsigned named, more;
    int looks;
};

static void say(struct listing *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct listing *l, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(l->text + l->len, l->size - l->len, format, args);
    va_end(args);
    if (n > 0)
        l->len += (size_t)n < l->size - l->len ? (size_t)n : l->size - l->len - 1;
}

/* Whether a reader at that offset of the queue has not had all that goes. */
static bool unread(struct listing *l, struct topic *topic, int32_t queue_id, int64_t offset)
{
    uint32_t queue;

    if (offset < 0 || l->looks >= LOOKS_MAX)
        return false;
    queue = store_queue(l->s, topic, queue_id);
    if (queue == QUEUE_NONE)
        return false;
    l->looks++;
    return queue_table_unread(l->s->queues, queue, offset, l->log_min) > 0;
}

/* A copy of (topic, group, offsets): lengths, names, and the offsets as they stand in memory. */
static void copy_pair(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                      int32_t count)
{
    struct buf *to = ctx;

    buf_add_u8(to, (uint8_t)topic.len);
    buf_add_u8(to, (uint8_t)group.len);
    buf_add_be32(to, (uint32_t)count);
    buf_add(to, topic.at, topic.len);
    buf_add(to, group.at, group.len);
    buf_add(to, offsets, (size_t)count * sizeof(*offsets));
}

static void list_pair(struct listing *l, struct bytes topic_name, struct bytes group,
                      const uint8_t *offsets, int32_t count)
{
    struct topic *topic = metadata_topic(l->s->metadata, topic_name, NULL);
    int32_t queues = 0, first_id = 0;
    int64_t first = 0;

    for (int32_t id = 0; topic && id < count; id++) {
        int64_t offset;

        memcpy(&offset, offsets + (size_t)id * sizeof(offset), sizeof(offset));
        if (!unread(l, topic, id, offset))
            continue;
        if (queues++ == 0) {
            first_id = id;
            first = offset;
        }
    }
    if (queues == 0)
        return;
    if (l->named == NAMED_MAX) {
        l->more++;
        return;
    }
    say(l, "%sgroup %.*s of topic %s (queue %d from offset %lld on", l->named++ ? ", " : "",
        (int)group.len, (const char *)group.at, topic->name, first_id, (long long)first);
    if (queues > 1)
        say(l, ", and %d more queues", queues - 1);
    say(l, ")");
}

static void list_part(struct listing *l, int part, struct buf *copy)
{
    struct reader in;

    buf_reset(copy);
    metadata_each_offset_of(l->s->metadata, part, copy_pair, copy);
    in = reader_of(buf_bytes(copy));
    while (!copy->failed && reader_left(&in) > 0) {
        size_t topic_len = reader_u8(&in), group_len = reader_u8(&in);
        uint32_t count = reader_u32(&in);
        struct bytes topic = reader_take(&in, topic_len), group = reader_take(&in, group_len);
        struct bytes offsets = reader_take(&in, (size_t)count * sizeof(int64_t));

        list_pair(l, topic, group, offsets.at, (int32_t)count);
    }
}

static void list_delays(struct listing *l)
{
    struct topic *topic = metadata_topic(l->s->metadata, BYTES_LIT("SCHEDULE_TOPIC_XXXX"), NULL);

    for (int level = 1; topic && level <= l->s->options.delay_levels; level++) {
        if (unread(l, topic, level - 1, metadata_delay(l->s->metadata, level)))
            say(l, "%sdelay level %d", l->len > 0 ? ", " : "", level);
    }
}

void store_unconsumed(struct store *s, uint64_t log_min, char *text, size_t size)
{
    struct listing l = {.s = s, .log_min = log_min, .text = text, .size = size};
    struct buf copy = {0};

    text[0] = '\0';
    for (int part = 0; part < METADATA_OFFSET_PARTS; part++)
        list_part(&l, part, &copy);
    if (l.more > 0)
        say(&l, ", and %u more groups and topics", l.more);
    list_delays(&l);
    if (l.looks >= LOOKS_MAX)
        say(&l, "; not all offsets were looked at");
    buf_destroy(&copy);
}
