/* json_out.c - see json_out.h. */
#include "common/json_out.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json_text.h"

void jout_begin(struct json_out *j, struct buf *out)
{
    *j = (struct json_out){.out = out};
}

/* What comes before a value: a comma in an array, nothing after a key or at the top. */
static void value_begin(struct json_out *j)
{
    if (j->after_key) {
        j->after_key = false;
        return;
    }
    if (j->depth == 0) {
        assert(!j->need_comma[0]); /* one value is the whole text */
    } else {
        assert(j->open[j->depth] == '[');
        if (j->need_comma[j->depth])
            buf_add_u8(j->out, ',');
    }
    j->need_comma[j->depth] = true;
}

static void key_begin(struct json_out *j)
{
    assert(j->depth > 0);
    assert(j->open[j->depth] == '{');
    assert(!j->after_key);
    if (j->need_comma[j->depth])
        buf_add_u8(j->out, ',');
    j->need_comma[j->depth] = true;
}

static void key_end(struct json_out *j)
{
    buf_add_u8(j->out, ':');
    j->after_key = true;
}

static void open_container(struct json_out *j, char kind)
{
    value_begin(j);
    assert(j->depth < JSON_DEPTH_MAX);
    j->depth++;
    j->open[j->depth] = kind;
    j->need_comma[j->depth] = false;
    buf_add_u8(j->out, (uint8_t)kind);
}

static void close_container(struct json_out *j, char kind, char closing)
{
    assert(j->depth > 0);
    assert(j->open[j->depth] == kind);
    assert(!j->after_key);
    j->depth--;
    buf_add_u8(j->out, (uint8_t)closing);
}

void jout_object(struct json_out *j)
{
    open_container(j, '{');
}

void jout_object_end(struct json_out *j)
{
    close_container(j, '{', '}');
}

void jout_array(struct json_out *j)
{
    open_container(j, '[');
}

void jout_array_end(struct json_out *j)
{
    close_container(j, '[', ']');
}

void jout_key(struct json_out *j, const char *name)
{
    jout_key_bytes(j, bytes_str(name));
}

void jout_key_bytes(struct json_out *j, struct bytes name)
{
    key_begin(j);
    json_text_add(j->out, name);
    key_end(j);
}

void jout_key_int(struct json_out *j, int64_t number)
{
    key_begin(j);
    buf_add_i64_text(j->out, number);
    key_end(j);
}

void jout_key_int_quoted(struct json_out *j, int64_t number)
{
    key_begin(j);
    buf_add_u8(j->out, '"');
    buf_add_i64_text(j->out, number);
    buf_add_u8(j->out, '"');
    key_end(j);
}

/* Members in the order of their names, as everywhere in this dialect. */
static void add_mq(struct buf *out, struct bytes broker_name, int32_t queue_id, struct bytes topic)
{
    buf_add_str(out, "{\"brokerName\":");
    json_text_add(out, broker_name);
    buf_add_str(out, ",\"queueId\":");
    buf_add_i64_text(out, queue_id);
    buf_add_str(out, ",\"topic\":");
    json_text_add(out, topic);
    buf_add_u8(out, '}');
}

void jout_key_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id, struct bytes topic)
{
    key_begin(j);
    add_mq(j->out, broker_name, queue_id, topic);
    key_end(j);
}

void jout_mq(struct json_out *j, struct bytes broker_name, int32_t queue_id, struct bytes topic)
{
    value_begin(j);
    add_mq(j->out, broker_name, queue_id, topic);
}

void jout_str(struct json_out *j, const char *text)
{
    jout_bytes(j, bytes_str(text));
}

void jout_bytes(struct json_out *j, struct bytes text)
{
    value_begin(j);
    json_text_add(j->out, text);
}

void jout_i64(struct json_out *j, int64_t v)
{
    value_begin(j);
    buf_add_i64_text(j->out, v);
}

void jout_boolean(struct json_out *j, bool v)
{
    value_begin(j);
    buf_add_str(j->out, v ? "true" : "false");
}

void jout_null(struct json_out *j)
{
    value_begin(j);
    buf_add_str(j->out, "null");
}

void jout_raw(struct json_out *j, struct bytes text)
{
    value_begin(j);
    buf_add(j->out, text.at, text.len);
}

/* From 0.001 to below ten million Java writes the digits out, outside of that d.dddE<exponent>; in
 * both forms at least one digit follows the point. */
void jout_double(struct json_out *j, double v)
{
    char text[32], digits[20];
    int count = 0, exponent;

    if (!isfinite(v)) {
        jout_null(j);
        return;
    }
    value_begin(j);
    for (int precision = 0; precision <= 16; precision++) { /* 17 digits always read back */
        snprintf(text, sizeof(text), "%.*e", precision, fabs(v));
        if (strtod(text, NULL) == fabs(v))
            break;
    }
    const char *p = text;
    for (; *p && *p != 'e'; p++) {
        if (*p != '.')
            digits[count++] = *p;
    }
    exponent = *p == 'e' ? atoi(p + 1) : 0;

    if (signbit(v))
        buf_add_u8(j->out, '-');
    if (v == 0) {
        buf_add_str(j->out, "0.0");
    } else if (exponent >= -3 && exponent < 0) {
        buf_addf(j->out, "0.%.*s%.*s", -exponent - 1, "00", count, digits);
    } else if (exponent >= 0 && exponent < 7) {
        int whole = exponent + 1 < count ? exponent + 1 : count;
        buf_addf(j->out, "%.*s%.*s.%.*s", whole, digits, exponent + 1 - whole, "0000000",
                 count > whole ? count - whole : 1, count > whole ? digits + whole : "0");
    } else {
        buf_addf(j->out, "%c.%.*sE%d", digits[0], count > 1 ? count - 1 : 1,
                 count > 1 ? digits + 1 : "0", exponent);
    }
}

void jout_kv_str(struct json_out *j, const char *key, const char *text)
{
    jout_key(j, key);
    jout_str(j, text);
}

void jout_kv_bytes(struct json_out *j, const char *key, struct bytes text)
{
    jout_key(j, key);
    jout_bytes(j, text);
}

void jout_kv_i64(struct json_out *j, const char *key, int64_t v)
{
    jout_key(j, key);
    jout_i64(j, v);
}

void jout_kv_bool(struct json_out *j, const char *key, bool v)
{
    jout_key(j, key);
    jout_boolean(j, v);
}
