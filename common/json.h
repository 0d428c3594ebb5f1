/* json.h - fastjson's dialect in and out (docs/protocol/remoting.md, "JSON bodies").
 *
 * In: bare integer keys, {object} keys and strict JSON are read into a jansson tree; an object
 * used as a key becomes a string key holding that object's text without white space.
 * Out: json_out.h. No I/O, no globals.
 */
#ifndef TERN_COMMON_JSON_H
#define TERN_COMMON_JSON_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/json_out.h"

/* A new reference, or NULL with err naming what was wrong and at which byte. */
json_t *json_dialect_load(struct bytes text, struct err *err);

/* Lenient getters over an object: numbers may be strings and the reverse, absent gives `fallback`. */
int64_t json_get_i64(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);
/* Borrowed from the tree; empty bytes when absent or not text. */
struct bytes json_get_str(const json_t *object, const char *key);

/* {"brokerName":"b","queueId":0,"topic":"T"}, as a value or from the text of an object key. */
struct json_mq {
    struct bytes broker_name; /* borrowed from the tree that gave it */
    struct bytes topic;
    int32_t queue_id;
};
bool json_mq_of(const json_t *value, struct json_mq *out);

#endif
