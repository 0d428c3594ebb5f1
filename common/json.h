/* json.h - fastjson's dialect in and out (docs/protocol/remoting.md, "JSON bodies").
 *
 * In: bare integer keys, {object} keys and strict JSON are read into a jansson tree; an object
 * used as a key becomes a string key holding that object's text without white space.
 * Out: json_out.h. No I/O, no globals.
 */
#ifndef TERN_COMMON_JSON_H
#define TERN_COMMON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/json_out.h"

/* Most values that one text may hold: the tree takes up to some 100 times the text. Where the text
 * comes from a peer, the caller bounds its size too, by what the request can need. */
enum { JSON_VALUES_MAX = 1 << 22 };

/* An object or an array: a new reference, or NULL with err naming what was wrong and at which byte
 * (-EINVAL malformed, -E2BIG nested deeper than JSON_DEPTH_MAX or too many values, -ENOMEM). Of
 * equal keys the last one counts. Beyond strict JSON, single quotes and raw control characters in
 * strings are accepted, as fastjson does. */
json_t *json_dialect_load(struct bytes text, struct err *err);

/* Lenient getters over an object (NULL: nothing there): numbers and booleans may be given as
 * strings and as one another. Absent, null, or without a meaning as that type: `fallback`. */
int64_t json_get_i64(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);
/* Borrowed from the tree; empty bytes when absent or not text. */
struct bytes json_get_str(const json_t *object, const char *key);

/* {"brokerName":"b","queueId":0,"topic":"T"}. Absent members are what Java makes of them: no broker
 * name, queue 0; without a topic it is no queue. */
struct json_mq {
    struct bytes broker_name; /* borrowed from what it was read from */
    struct bytes topic;
    int32_t queue_id;
};
/* An object, or a string that holds the text of one. */
bool json_mq_of(const json_t *value, struct json_mq *out);
/* The text itself: the key that json_dialect_load made of an object key. Names with escapes in
 * them are refused, since they could not be borrowed. */
bool json_mq_of_text(struct bytes text, struct json_mq *out);

#endif
