/* properties.h - message properties: name 0x01 value, items separated by 0x02. Pure.
 *
 * A final 0x02 is optional. Items without 0x01, with an empty name or an empty value are not
 * there; of equal names the last counts. Source: docs/protocol/store.md, "Properties".
 */
#ifndef TERN_BROKER_STORE_PROPERTIES_H
#define TERN_BROKER_STORE_PROPERTIES_H

#include "common/buf.h"
#include "common/bytes.h"

/* Walks the items in order, invalid ones left out. Start with *at = 0; false at the end. */
bool properties_next(struct bytes properties, size_t *at, struct bytes *name, struct bytes *value);
/* Value of the last item of that name; empty when absent. */
struct bytes properties_find(struct bytes properties, struct bytes name);

/* Walks the words of a KEYS value, which spaces separate. Start with *at = 0; false at the end. */
bool properties_next_key(struct bytes keys, size_t *at, struct bytes *key);
bool properties_has_key(struct bytes keys, struct bytes key);

enum { PROPERTIES_SCAN_NAMES = 32 };

/* What the send path needs, found in one walk. Borrows from the text. */
struct properties_known {
    struct bytes tags, keys, unique_key, wait, delay, transaction, producer_group, retry_topic;
    struct bytes origin_message_id, real_topic, real_queue_id, max_reconsume_times, cluster;
    bool timer;       /* one of TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS */
    bool has_invalid; /* properties_copy() would leave something out: an invalid item, a
                         repeated name, "__CRC32#"; assumed above PROPERTIES_SCAN_NAMES items */
    bool ends_with_separator;
};
void properties_scan(struct bytes properties, struct properties_known *out);

/* Appends the valid items of `properties` to `out`, byte for byte, in order, separated by 0x02 and
 * without one at the end; without any of the names in `without` (NULL-terminated, may be NULL) and
 * without "__CRC32#", which only record.c writes; of repeated names only the last. */
void properties_copy(struct buf *out, struct bytes properties, const char *const *without);
/* Appends one item; puts a 0x02 before it unless out has grown by nothing since `start` or ends in
 * one. */
void properties_add(struct buf *out, size_t start, struct bytes name, struct bytes value);

/* Tags code of a TAGS value: sign-extended Java hash; 0 for none. */
static inline int64_t properties_tags_code(struct bytes tags)
{
    return tags.len == 0 ? 0 : (int64_t)bytes_java_hash(tags);
}

#endif
