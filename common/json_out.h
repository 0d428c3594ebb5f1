/* json_out.h - writes fastjson's dialect: bare integer keys, {object} keys, no white space.
 *
 * A streaming writer into a buf; an allocation that fails shows in out->failed. No I/O, no globals.
 * Source: docs/protocol/remoting.md, "JSON bodies".
 */
#ifndef TERN_COMMON_JSON_OUT_H
#define TERN_COMMON_JSON_OUT_H

#include "common/buf.h"

enum { JSON_DEPTH_MAX = 32 };

/* Commas and colons are put by the writer; a wrong order of calls is an assertion. */
struct json_out {
    struct buf *out; /* not owned */
    uint32_t depth;
    char open[JSON_DEPTH_MAX + 1]; /* '{' or '[' for each depth above 0 */
    bool need_comma[JSON_DEPTH_MAX + 1];
    bool after_key;
};
void jout_begin(struct json_out *j, struct buf *out);
void jout_object(struct json_out *j);
void jout_object_end(struct json_out *j);
void jout_array(struct json_out *j);
void jout_array_end(struct json_out *j);
void jout_key(struct json_out *j, const char *name);
void jout_key_bytes(struct json_out *j, struct bytes name);
void jout_key_int(struct json_out *j, int64_t number);        /* bare: 0:  */
void jout_key_int_quoted(struct json_out *j, int64_t number); /* "0": */
void jout_key_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id,
                 struct bytes topic);
void jout_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id, struct bytes topic);
void jout_str(struct json_out *j, const char *text);
void jout_bytes(struct json_out *j, struct bytes text); /* invalid UTF-8 becomes U+FFFD */
void jout_i64(struct json_out *j, int64_t v);
void jout_boolean(struct json_out *j, bool v);
/* As Java prints it: the shortest digits, with a point (0.0, 1.5E10). What is no number: null. */
void jout_double(struct json_out *j, double v);
void jout_null(struct json_out *j);
void jout_raw(struct json_out *j, struct bytes text); /* one value that is JSON already */
/* key + value in one call */
void jout_kv_str(struct json_out *j, const char *key, const char *text);
void jout_kv_bytes(struct json_out *j, const char *key, struct bytes text);
void jout_kv_i64(struct json_out *j, const char *key, int64_t v);
void jout_kv_bool(struct json_out *j, const char *key, bool v);

#endif
