/* record.h - the stored message: encode, decode, check. Pure: no I/O, no clock, no allocation.
 *
 * B, S = 8 for an IPv4 host (address, port as i32), 20 for IPv6 (SYSFLAG bits 0x10 / 0x20).
 *
 *   at          size  field                      at            size  field
 *    0           4    TOTALSIZE                  48+B           8    STORETIMESTAMP, ms
 *    4           4    MAGIC                      56+B           S    STOREHOST
 *    8           4    BODYCRC (31 bits)          56+B+S         4    RECONSUMETIMES
 *   12           4    QUEUEID                    60+B+S         8    PREPARED OFFSET
 *   16           4    FLAG                       68+B+S         4    BODYLEN n
 *   20           8    QUEUEOFFSET                72+B+S         n    BODY
 *   28           8    PHYSICALOFFSET             72+B+S+n       1    TOPICLEN t (V2: 2)
 *   36           4    SYSFLAG                    ..             t    TOPIC
 *   40           8    BORNTIMESTAMP, ms          ..             2    PROPLEN p, at most 32767
 *   48           B    BORNHOST                   ..             p    PROPERTIES
 *
 * Our own records end their properties with the whole-record CRC: "__CRC32#" 0x01, ten digits least
 * significant first, 0x02; it covers everything before those 20 bytes.
 * Source: docs/protocol/store.md, "Commit log".
 */
#ifndef TERN_BROKER_STORE_RECORD_H
#define TERN_BROKER_STORE_RECORD_H

#include "common/bytes.h"

enum {
    RECORD_PROPERTIES_MAX = 32767,
    RECORD_TOPIC_MAX = 127,
    RECORD_OVERHEAD_MAX = 91 + 24, /* all but body, topic and properties; IPv6 hosts */
    RECORD_CRC_BYTES = 20,
    RECORD_BLANK_BYTES = 8,
};
#define RECORD_CRC_NAME "__CRC32#"
#define RECORD_MAGIC_V1 0xDAA320A7u
#define RECORD_MAGIC_V2 0xDAA320ABu
#define RECORD_MAGIC_BLANK 0xCBD43194u

/* SYSFLAG */
enum {
    RECORD_COMPRESSED = 0x1,
    RECORD_MULTI_TAGS = 0x2,
    RECORD_TRANSACTION_MASK = 0xC,
    RECORD_TRANSACTION_PREPARED = 0x4,
    RECORD_TRANSACTION_COMMIT = 0x8,
    RECORD_TRANSACTION_ROLLBACK = 0xC,
    RECORD_BORN_V6 = 0x10,
    RECORD_STORE_V6 = 0x20,
};

struct record_host {
    uint8_t ip[16]; /* the first 4 bytes for IPv4 */
    bool v6;
    int32_t port;
};

struct record {
    uint32_t total_size; /* set by decode; by record_size for encode */
    uint32_t magic;
    uint32_t body_crc;
    int32_t queue_id;
    int32_t flag;
    int64_t queue_offset;
    int64_t log_offset;
    int32_t sys_flag; /* encode sets the two IPv6 bits from the hosts */
    int64_t born_ms;
    struct record_host born_host;
    int64_t store_ms;
    struct record_host store_host;
    int32_t reconsume_times;
    int64_t prepared_offset;
    struct bytes body;       /* borrowed */
    struct bytes topic;      /* borrowed */
    struct bytes properties; /* borrowed; with the CRC property when decoded */
};

/* What stands at the front of `in`. 0: a record whose lengths agree, *out filled. BLANK: the end of
 * its segment, out->total_size = bytes to skip. PARTIAL: more bytes than `in` has are needed
 * (out->total_size says how many, when 4 bytes were there). BAD: none of these. */
enum { RECORD_BLANK = 1, RECORD_PARTIAL, RECORD_BAD };
int record_decode(struct bytes in, struct record *out);

/* The checks that recovery, slaves and cold reads make. 0 fine; BAD with *why a static sentence.
 * Compares PHYSICALOFFSET with `log_offset` (-1: do not), BODYCRC, and the whole-record CRC where
 * there is one; without one, properties that end in a NUL are a tail that was never written. */
int record_check(const struct record *r, struct bytes whole, int64_t log_offset, const char **why);
/* Whether the decoded record has the whole-record CRC. */
bool record_has_crc(const struct record *r);

/* Size that encode will need, or 0 when topic, properties or the whole are too long, or when
 * without a CRC the properties end in a NUL. `with_crc` counts the CRC property (and a 0x02 before
 * it when the properties lack one). The properties must not hold an item of that name: without a
 * CRC it could be taken for one. */
size_t record_size(const struct record *r, bool with_crc);
/* Writes a V1 record: all fields except the late ones (queue offset, log offset, store time, CRC
 * digits), so it can run before the append lock is taken. Needs record_size() bytes. Takes the
 * body's CRC itself; r->total_size, magic and body_crc are not looked at. */
void record_encode(uint8_t *to, const struct record *r, bool with_crc);
/* The late ones, under the append lock: one pass over a small record, a fixed cost for a big one
 * (encode left the sum of the rest behind). Once per record_encode(). */
void record_seal(uint8_t *at, size_t size, int64_t queue_offset, int64_t log_offset,
                 int64_t store_ms, bool with_crc);
void record_blank(uint8_t *to, uint32_t bytes_left);

/* Message id: upper-case hex of host and log offset; 32 or 56 characters and a NUL. */
enum { RECORD_ID_MAX = 57 };
/* Returns the number of characters. */
size_t record_id_format(char to[RECORD_ID_MAX], const struct record_host *host, int64_t log_offset);
/* Either case is read; -EINVAL for anything else, a negative offset too. */
int record_id_parse(struct bytes text, struct record_host *host, int64_t *log_offset);

#endif
