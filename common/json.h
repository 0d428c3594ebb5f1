/* json.h - fastjson's dialect in and out (docs/protocol/remoting.md, "JSON bodies").
 *
 * In: bare integer keys, {object} keys and strict JSON are read into a jansson tree; an object
 * used as a key becomes a string key holding that object's text without white space.
 * Out: a streaming writer with the same three key forms. No I/O, no globals.
 */
#ifndef TERN_COMMON_JSON_H
#define TERN_COMMON_JSON_H

#include <jansson.h>

#include "common/buf.h"
#include "common/err.h"

enum { JSON_DEPTH_MAX = 32 };

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

/* Writer. Commas and colons are put by the writer; a wrong order of calls is an assertion. */
struct json_out {
    struct buf *out; /* not owned */
    uint32_t depth;
    bool need_comma[JSON_DEPTH_MAX + 1];
    bool after_key;
};
void json_begin(struct json_out *j, struct buf *out);
void json_object(struct json_out *j);
void json_object_end(struct json_out *j);
void json_array(struct json_out *j);
void json_array_end(struct json_out *j);
void json_key(struct json_out *j, const char *name);
void json_key_bytes(struct json_out *j, struct bytes name);
void json_key_int(struct json_out *j, int64_t number);        /* bare: 0:  */
void json_key_int_quoted(struct json_out *j, int64_t number); /* "0": */
void json_key_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id,
                 struct bytes topic);
void json_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id, struct bytes topic);
void json_str(struct json_out *j, const char *text);
void json_bytes(struct json_out *j, struct bytes text); /* invalid UTF-8 becomes U+FFFD */
void json_i64(struct json_out *j, int64_t v);
void json_boolean(struct json_out *j, bool v);
void json_double(struct json_out *j, double v); /* shortest form with a point: 0.0 */
void json_null(struct json_out *j);
void json_raw(struct json_out *j, struct bytes text); /* already JSON */
/* key + value in one call */
void json_kv_str(struct json_out *j, const char *key, const char *text);
void json_kv_bytes(struct json_out *j, const char *key, struct bytes text);
void json_kv_i64(struct json_out *j, const char *key, int64_t v);
void json_kv_bool(struct json_out *j, const char *key, bool v);

#endif
