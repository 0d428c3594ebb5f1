/* metadata_record.c - bytes to records and back; decides what is legal, does nothing else. */
#include "broker/store/metadata_record.h"

#include <assert.h>

#include "common/crc.h"

enum {
    HEAD = 8,  /* length and crc */
    FIXED = 17 /* epoch, sequence, kind */
};
enum { TOPIC_ORDER = 1, TOPIC_MULTI_TAG = 2 };
enum { GROUP_CONSUME = 1, GROUP_FROM_MIN = 2, GROUP_BROADCAST = 4, GROUP_NOTIFY = 8 };
enum { OFFSETS_REPLACE = 1 };

static struct bytes take_name(struct reader *r)
{
    return reader_take(r, reader_u8(r));
}

static bool decode_topic_put(struct reader *r, struct metadata_record *out)
{
    uint8_t flags;

    out->topic.name = take_name(r);
    out->topic.config.read_queues = (int32_t)reader_u32(r);
    out->topic.config.write_queues = (int32_t)reader_u32(r);
    out->topic.config.perm = (int32_t)reader_u32(r);
    out->topic.config.sys_flag = (int32_t)reader_u32(r);
    flags = reader_u8(r);
    out->topic.config.order = flags & TOPIC_ORDER;
    out->topic.config.multi_tag = flags & TOPIC_MULTI_TAG;
    out->topic.log_floor = reader_u64(r);
    out->topic.extra = reader_take(r, reader_u32(r));
    return topic_name_ok(out->topic.name) && topic_config_ok(&out->topic.config) &&
           flags <= (TOPIC_ORDER | TOPIC_MULTI_TAG) && out->topic.extra.len <= METADATA_EXTRA_MAX;
}

static bool decode_topic_delete(struct reader *r, struct metadata_record *out)
{
    out->topic.name = take_name(r);
    out->topic.log_floor = reader_u64(r);
    return topic_name_ok(out->topic.name);
}

static bool decode_group_put(struct reader *r, struct metadata_record *out)
{
    struct group_config *c = &out->group.config;
    uint8_t flags;

    out->group.name = take_name(r);
    flags = reader_u8(r);
    c->consume_enable = flags & GROUP_CONSUME;
    c->consume_from_min_enable = flags & GROUP_FROM_MIN;
    c->consume_broadcast_enable = flags & GROUP_BROADCAST;
    c->notify_ids_changed = flags & GROUP_NOTIFY;
    c->retry_queues = (int32_t)reader_u32(r);
    c->retry_max_times = (int32_t)reader_u32(r);
    c->broker_id = (int64_t)reader_u64(r);
    c->which_broker_when_slow = (int64_t)reader_u64(r);
    out->group.extra = reader_take(r, reader_u32(r));
    return group_name_ok(out->group.name) && flags < GROUP_NOTIFY * 2 &&
           out->group.extra.len <= METADATA_EXTRA_MAX;
}

static bool decode_offsets(struct reader *r, struct metadata_record *out)
{
    uint32_t count, id;
    uint8_t flags;

    out->offsets.topic = take_name(r);
    out->offsets.group = take_name(r);
    flags = reader_u8(r);
    out->offsets.replace = flags & OFFSETS_REPLACE;
    count = reader_u32(r);
    if (count > METADATA_RECORD_OFFSETS)
        return false;
    out->offsets.pairs = reader_take(r, (size_t)count * 12);
    if (r->bad || flags > OFFSETS_REPLACE || !topic_name_ok(out->offsets.topic) ||
        !group_name_ok(out->offsets.group))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t offset;
        metadata_record_pair(out, i, &id, &offset);
        if (id >= TOPIC_QUEUES_MAX)
            return false;
    }
    return true;
}

static bool decode_lock(struct reader *r, struct metadata_record *out)
{
    out->lock.group = take_name(r);
    out->lock.topic = take_name(r);
    out->lock.queue_id = reader_u32(r);
    out->lock.client = reader_take(r, reader_u16(r));
    out->lock.granted_ms = (int64_t)reader_u64(r);
    return !r->bad && group_name_ok(out->lock.group) && topic_name_ok(out->lock.topic) &&
           out->lock.queue_id < TOPIC_QUEUES_MAX && lock_client_ok(out->lock.client) &&
           out->lock.granted_ms >= 0;
}

static bool decode_payload(struct reader *r, struct metadata_record *out)
{
    uint8_t small;

    switch (out->kind) {
    case METADATA_BEGIN:
        out->begin.format = reader_u32(r);
        small = reader_u8(r);
        out->begin.type = small;
        out->begin.generation = reader_u64(r);
        return small == METADATA_JOURNAL_FILE || small == METADATA_SNAPSHOT_FILE;
    case METADATA_TOPIC_PUT:
        return decode_topic_put(r, out);
    case METADATA_TOPIC_DELETE:
        return decode_topic_delete(r, out);
    case METADATA_GROUP_PUT:
        return decode_group_put(r, out);
    case METADATA_GROUP_DELETE:
        out->group.name = take_name(r);
        return group_name_ok(out->group.name);
    case METADATA_OFFSETS_PUT:
        return decode_offsets(r, out);
    case METADATA_DELAY_PUT:
        out->delay.level = reader_u8(r);
        out->delay.offset = (int64_t)reader_u64(r);
        return out->delay.level >= 1 && out->delay.level <= DELAY_LEVELS_MAX &&
               out->delay.offset >= 0;
    case METADATA_LOCK_PUT:
        return decode_lock(r, out);
    case METADATA_TOPICS_VERSION:
    case METADATA_GROUPS_VERSION:
        out->version.counter = (int64_t)reader_u64(r);
        out->version.timestamp = (int64_t)reader_u64(r);
        out->version.state_version = (int64_t)reader_u64(r);
        return true;
    case METADATA_EXPORT_HASH:
        small = reader_u8(r);
        out->hash.file = small;
        out->hash.hashes = reader_take(r, METADATA_HASHES * METADATA_HASH_BYTES);
        return small < METADATA_EXPORTS;
    case METADATA_END:
        out->end = reader_u64(r);
        return true;
    }
    return false;
}

int metadata_record_decode(struct bytes in, struct metadata_record *out, size_t *used)
{
    struct reader r = reader_of(in);
    uint32_t length = reader_u32(&r), crc = reader_u32(&r);
    struct bytes body;
    uint8_t kind;

    if (r.bad || length < FIXED || length > METADATA_RECORD_MAX - HEAD || length > reader_left(&r))
        return METADATA_RECORD_BAD;
    body = bytes_of(in.at + HEAD, length);
    if (crc32_of(crc32_of(0, bytes_of(in.at, 4)), body) != crc)
        return METADATA_RECORD_BAD;

    r = reader_of(body);
    out->at.epoch = reader_u64(&r);
    out->at.sequence = reader_u64(&r);
    kind = reader_u8(&r);
    out->kind = kind;
    *used = HEAD + length;
    if (kind < METADATA_BEGIN || kind > METADATA_KIND_LAST)
        return METADATA_RECORD_UNKNOWN;
    if (kind == METADATA_BEGIN && reader_left(&r) >= 4 && load_be32(r.at) != METADATA_FORMAT) {
        out->begin.format = load_be32(r.at); /* the rest may look different there */
        return METADATA_RECORD_UNKNOWN;
    }
    if (!decode_payload(&r, out) || r.bad || reader_left(&r) != 0 ||
        out->at.sequence > METADATA_SEQUENCE_MAX || out->at.epoch > METADATA_SEQUENCE_MAX)
        return METADATA_RECORD_ILLEGAL;
    return 0;
}

size_t metadata_record_begin(struct buf *out, struct metadata_at at, enum metadata_kind kind)
{
    size_t begun = out->len;

    buf_add_be32(out, 0);
    buf_add_be32(out, 0);
    buf_add_be64(out, at.epoch);
    buf_add_be64(out, at.sequence);
    buf_add_u8(out, (uint8_t)kind);
    return begun;
}

void metadata_record_end(struct buf *out, size_t begun)
{
    uint8_t *p;
    size_t length;

    if (out->failed)
        return;
    p = buf_at(out) + begun;
    length = out->len - begun - HEAD;
    assert(length >= FIXED && length <= METADATA_RECORD_MAX - HEAD);
    store_be32(p, (uint32_t)length);
    store_be32(p + 4, crc32_of(crc32_of(0, bytes_of(p, 4)), bytes_of(p + HEAD, length)));
}

static void add_name(struct buf *out, struct bytes name)
{
    assert(name.len >= 1 && name.len <= 255);
    buf_add_u8(out, (uint8_t)name.len);
    buf_add(out, name.at, name.len);
}

static void add_extra(struct buf *out, struct bytes extra)
{
    assert(extra.len <= METADATA_EXTRA_MAX);
    buf_add_be32(out, (uint32_t)extra.len);
    buf_add(out, extra.at, extra.len);
}

void metadata_put_begin(struct buf *out, enum metadata_file_type type, uint64_t generation)
{
    size_t begun = metadata_record_begin(out, (struct metadata_at){0}, METADATA_BEGIN);

    buf_add_be32(out, METADATA_FORMAT);
    buf_add_u8(out, (uint8_t)type);
    buf_add_be64(out, generation);
    metadata_record_end(out, begun);
}

void metadata_put_topic(struct buf *out, struct metadata_at at, const struct topic *t,
                        struct bytes extra)
{
    struct bytes name = bytes_of(t->name, t->name_len);
    size_t begun;

    begun = metadata_record_begin(out, at, t->deleted ? METADATA_TOPIC_DELETE : METADATA_TOPIC_PUT);
    add_name(out, name);
    if (!t->deleted) {
        assert(topic_config_ok(&t->config));
        buf_add_be32(out, (uint32_t)t->config.read_queues);
        buf_add_be32(out, (uint32_t)t->config.write_queues);
        buf_add_be32(out, (uint32_t)t->config.perm);
        buf_add_be32(out, (uint32_t)t->config.sys_flag);
        buf_add_u8(out, (uint8_t)((t->config.order ? TOPIC_ORDER : 0) |
                                  (t->config.multi_tag ? TOPIC_MULTI_TAG : 0)));
    }
    buf_add_be64(out, t->log_floor);
    if (!t->deleted)
        add_extra(out, extra);
    metadata_record_end(out, begun);
}

void metadata_put_group(struct buf *out, struct metadata_at at, struct bytes name,
                        const struct group_config *config, struct bytes extra)
{
    size_t begun = metadata_record_begin(out, at, METADATA_GROUP_PUT);

    add_name(out, name);
    buf_add_u8(out, (uint8_t)((config->consume_enable ? GROUP_CONSUME : 0) |
                              (config->consume_from_min_enable ? GROUP_FROM_MIN : 0) |
                              (config->consume_broadcast_enable ? GROUP_BROADCAST : 0) |
                              (config->notify_ids_changed ? GROUP_NOTIFY : 0)));
    buf_add_be32(out, (uint32_t)config->retry_queues);
    buf_add_be32(out, (uint32_t)config->retry_max_times);
    buf_add_be64(out, (uint64_t)config->broker_id);
    buf_add_be64(out, (uint64_t)config->which_broker_when_slow);
    add_extra(out, extra);
    metadata_record_end(out, begun);
}

void metadata_put_group_delete(struct buf *out, struct metadata_at at, struct bytes name)
{
    size_t begun = metadata_record_begin(out, at, METADATA_GROUP_DELETE);

    add_name(out, name);
    metadata_record_end(out, begun);
}

void metadata_put_offsets(struct buf *out, struct metadata_at at, struct bytes topic,
                          struct bytes group, bool replace, uint32_t first, const int64_t *offsets,
                          uint32_t count)
{
    size_t begun = metadata_record_begin(out, at, METADATA_OFFSETS_PUT);
    size_t counted_at;
    uint32_t pairs = 0;

    assert(count <= METADATA_RECORD_OFFSETS);
    add_name(out, topic);
    add_name(out, group);
    buf_add_u8(out, replace ? OFFSETS_REPLACE : 0);
    counted_at = out->len;
    buf_add_be32(out, 0);
    for (uint32_t i = 0; i < count; i++) {
        if (replace && offsets[i] < 0)
            continue;
        buf_add_be32(out, first + i);
        buf_add_be64(out, (uint64_t)offsets[i]);
        pairs++;
    }
    if (!out->failed)
        store_be32(buf_at(out) + counted_at, pairs);
    metadata_record_end(out, begun);
}

void metadata_put_delay(struct buf *out, struct metadata_at at, int level, int64_t offset)
{
    size_t begun = metadata_record_begin(out, at, METADATA_DELAY_PUT);

    buf_add_u8(out, (uint8_t)level);
    buf_add_be64(out, (uint64_t)offset);
    metadata_record_end(out, begun);
}

void metadata_put_lock(struct buf *out, struct metadata_at at, const struct metadata_lock *lock)
{
    size_t begun = metadata_record_begin(out, at, METADATA_LOCK_PUT);

    assert(lock->client.len <= LOCK_CLIENT_MAX);
    add_name(out, lock->group);
    add_name(out, lock->topic);
    buf_add_be32(out, lock->queue_id);
    buf_add_be16(out, (uint16_t)lock->client.len);
    buf_add(out, lock->client.at, lock->client.len);
    buf_add_be64(out, (uint64_t)lock->granted_ms);
    metadata_record_end(out, begun);
}

void metadata_put_version(struct buf *out, struct metadata_at at, enum metadata_kind kind,
                          const struct data_version *version)
{
    size_t begun = metadata_record_begin(out, at, kind);

    buf_add_be64(out, (uint64_t)version->counter);
    buf_add_be64(out, (uint64_t)version->timestamp);
    buf_add_be64(out, (uint64_t)version->state_version);
    metadata_record_end(out, begun);
}

void metadata_put_hash(struct buf *out, struct metadata_at at, enum metadata_export file,
                       const uint8_t hashes[METADATA_HASHES * METADATA_HASH_BYTES])
{
    size_t begun = metadata_record_begin(out, at, METADATA_EXPORT_HASH);

    buf_add_u8(out, (uint8_t)file);
    buf_add(out, hashes, METADATA_HASHES * METADATA_HASH_BYTES);
    metadata_record_end(out, begun);
}

void metadata_put_end(struct buf *out, uint64_t records)
{
    size_t begun = metadata_record_begin(out, (struct metadata_at){0}, METADATA_END);

    buf_add_be64(out, records);
    metadata_record_end(out, begun);
}
