/* metadata_record.h - one record of the metadata journal and its snapshots. Pure.
 *
 *   at  size  field
 *    0     4  length    bytes after the crc field: 17 to METADATA_RECORD_MAX - 8
 *    4     4  crc       CRC-32 of the length field and of those `length` bytes
 *    8     8  epoch     of the writer
 *   16     8  sequence  of the change; (epoch, sequence) orders all changes of one thing
 *   24     1  kind
 *   25     n  payload   docs/protocol/tern-store.md, "tern/meta"
 *
 * Values are absolute, so applying a record twice, or one that a snapshot already knows, changes
 * nothing. What decodes is legal: names have passed the name rule, numbers their bounds.
 */
#ifndef TERN_BROKER_STORE_METADATA_RECORD_H
#define TERN_BROKER_STORE_METADATA_RECORD_H

#include "broker/store/metadata.h"

enum {
    METADATA_RECORD_MAX = 65536,    /* a whole record */
    METADATA_RECORD_MIN = 25,       /* one without payload */
    METADATA_EXTRA_MAX = 32768,     /* JSON members that we only carry along */
    METADATA_RECORD_OFFSETS = 4096, /* queues in one record */
    METADATA_HASH_BYTES = 32,       /* SHA-256 */
    METADATA_HASHES = 3,            /* contents of one exported file that are ours */
    METADATA_FORMAT = 1,            /* version of the files */
};
#define METADATA_SEQUENCE_MAX ((uint64_t)INT64_MAX)

enum metadata_kind {
    METADATA_BEGIN = 1, /* first record of each file */
    METADATA_TOPIC_PUT,
    METADATA_TOPIC_DELETE,
    METADATA_GROUP_PUT,
    METADATA_GROUP_DELETE,
    METADATA_OFFSETS_PUT,
    METADATA_DELAY_PUT,
    METADATA_TOPICS_VERSION,
    METADATA_GROUPS_VERSION,
    METADATA_EXPORT_HASH,
    METADATA_END, /* last record of a snapshot */
    METADATA_LOCK_PUT,
    METADATA_KIND_LAST = METADATA_LOCK_PUT,
};
enum metadata_file_type { METADATA_JOURNAL_FILE = 1, METADATA_SNAPSHOT_FILE };

/* RocketMQ's files that are exported. */
enum metadata_export {
    METADATA_EXPORT_TOPICS,
    METADATA_EXPORT_GROUPS,
    METADATA_EXPORT_OFFSETS,
    METADATA_EXPORT_DELAYS,
    METADATA_EXPORTS,
};

/* The place of a change among all changes. */
struct metadata_at {
    uint64_t epoch, sequence;
};
static inline bool metadata_at_before(struct metadata_at a, struct metadata_at b)
{
    return a.epoch != b.epoch ? a.epoch < b.epoch : a.sequence < b.sequence;
}

struct metadata_lock {
    struct bytes group, topic;
    uint32_t queue_id;
    struct bytes client; /* empty: released */
    int64_t granted_ms;  /* wall clock */
};

struct metadata_record {
    struct metadata_at at;
    enum metadata_kind kind;
    union {
        struct {
            uint32_t format;
            enum metadata_file_type type;
            uint64_t generation;
        } begin;
        struct {               /* put and delete */
            struct bytes name; /* all bytes are borrowed from the input */
            struct topic_config config;
            uint64_t log_floor;
            struct bytes extra;
        } topic;
        struct { /* put and delete */
            struct bytes name;
            struct group_config config;
            struct bytes extra;
        } group;
        struct {
            struct bytes topic, group;
            bool replace; /* what was there before is gone */
            struct bytes pairs;
        } offsets;
        struct {
            int level;
            int64_t offset;
        } delay;
        struct metadata_lock lock;
        struct data_version version;
        struct {
            enum metadata_export file;
            struct bytes hashes; /* METADATA_HASHES of them, the newest first */
        } hash;
        uint64_t end; /* records in the snapshot, without this one */
    };
};

/* What stands at the front of `in`. 0: *out is filled, *used bytes are spent. UNKNOWN: a whole
 * record of a kind that this version does not know; at, kind and *used are set. ILLEGAL: whole, but
 * its content is not what we write; *used is set. BAD: no record. */
enum { METADATA_RECORD_UNKNOWN = 1, METADATA_RECORD_ILLEGAL, METADATA_RECORD_BAD };
int metadata_record_decode(struct bytes in, struct metadata_record *out, size_t *used);

/* The i-th (queue id, offset) of an offsets record. */
static inline size_t metadata_record_pairs(const struct metadata_record *r)
{
    return r->offsets.pairs.len / 12;
}
static inline void metadata_record_pair(const struct metadata_record *r, size_t i,
                                        uint32_t *queue_id, int64_t *offset)
{
    *queue_id = load_be32(r->offsets.pairs.at + i * 12);
    *offset = (int64_t)load_be64(r->offsets.pairs.at + i * 12 + 4);
}

/* Writing: begin, payload, end. The rest is made of these. Callers keep METADATA_RECORD_MAX bytes
 * of room where a failure (out->failed) must not happen. */
size_t metadata_record_begin(struct buf *out, struct metadata_at at, enum metadata_kind kind);
void metadata_record_end(struct buf *out, size_t begun);

void metadata_put_begin(struct buf *out, enum metadata_file_type type, uint64_t generation);
void metadata_put_topic(struct buf *out, struct metadata_at at, const struct topic *t,
                        struct bytes extra); /* a delete when t->deleted */
void metadata_put_group(struct buf *out, struct metadata_at at, struct bytes name,
                        const struct group_config *config, struct bytes extra);
void metadata_put_group_delete(struct buf *out, struct metadata_at at, struct bytes name);
/* offsets[i] belongs to queue first + i; negative ones are left out when `replace`.
 * count <= METADATA_RECORD_OFFSETS. */
void metadata_put_offsets(struct buf *out, struct metadata_at at, struct bytes topic,
                          struct bytes group, bool replace, uint32_t first, const int64_t *offsets,
                          uint32_t count);
bool lock_client_ok(struct bytes client); /* at most LOCK_CLIENT_MAX bytes, none of them 0 */
void metadata_put_lock(struct buf *out, struct metadata_at at, const struct metadata_lock *lock);
void metadata_put_delay(struct buf *out, struct metadata_at at, int level, int64_t offset);
void metadata_put_version(struct buf *out, struct metadata_at at, enum metadata_kind kind,
                          const struct data_version *version);
void metadata_put_hash(struct buf *out, struct metadata_at at, enum metadata_export file,
                       const uint8_t hashes[METADATA_HASHES * METADATA_HASH_BYTES]);
void metadata_put_end(struct buf *out, uint64_t records);

#endif
