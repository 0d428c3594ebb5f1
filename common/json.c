/* json.c - reads fastjson's dialect in two steps: the text is rewritten to strict JSON, which
 * jansson then turns into a tree.
 *
 * The rewriter is a state machine with a stack of fixed depth. It knows where a key and where a
 * value must stand, and copies numbers, words and strings without judging them: jansson does that.
 * Two things change on the way: a bare integer key gets quotes, and an object that stands as a key
 * becomes a string. Inside such a key every quote and backslash is escaped once; a second key of
 * that kind within would escape the escapes, so it is refused and the output stays below eight
 * times the input.
 */
#include "common/json.h"

#include <errno.h>
#include <stdio.h>

enum expect { EXPECT_VALUE, EXPECT_KEY, EXPECT_COLON, EXPECT_MORE, EXPECT_END };

struct rewrite {
    struct bytes text;
    size_t at;
    struct buf *out;
    char open[JSON_DEPTH_MAX]; /* '{' or '[' */
    size_t depth;
    size_t key_depth; /* depth of the object that is being written as a key; 0: none */
    size_t values;
    enum expect expect;
    bool just_opened; /* the container may close at once */
    /* Maps a position in the output to the token that made it: set `sought` and rewrite again. */
    size_t sought;
    size_t found;
    struct err *err; /* may be NULL */
};

static int fail_at(const struct rewrite *r, size_t at, const char *what)
{
    char found[16];

    if (at >= r->text.len)
        snprintf(found, sizeof(found), "the end");
    else if (r->text.at[at] > 0x20 && r->text.at[at] < 0x7f)
        snprintf(found, sizeof(found), "'%c'", r->text.at[at]);
    else
        snprintf(found, sizeof(found), "0x%02x", r->text.at[at]);
    return err_say(r->err, -EINVAL, "malformed JSON at byte %zu: %s, found %s", at, what, found);
}

static void emit(struct rewrite *r, const void *from, size_t n)
{
    const uint8_t *at = from;

    if (r->key_depth == 0) {
        buf_add(r->out, at, n);
        return;
    }
    for (size_t i = 0, start = 0; i <= n; i++) {
        if (i < n && at[i] != '"' && at[i] != '\\')
            continue;
        buf_add(r->out, at + start, i - start);
        if (i < n)
            buf_add_u8(r->out, '\\');
        start = i;
    }
}

static void emit_char(struct rewrite *r, char c)
{
    emit(r, &c, 1);
}

/* The character at r->at that cannot be copied as it is: no control character goes into strict
 * JSON, and \' is no escape there. NUL would end the text for everybody who reads it as a C string.
 */
static int rewrite_special(struct rewrite *r)
{
    struct bytes rest = bytes_of(r->text.at + r->at, r->text.len - r->at);
    uint8_t c = rest.at[0];
    char escape[8];

    if (c == 0 || bytes_starts(rest, BYTES_LIT("\\u0000")))
        return fail_at(r, r->at, "expected text without NUL");
    if (c == '\\' && rest.len < 2)
        return fail_at(r, r->at + 1, "expected an escaped character");
    if (c == '\\') {
        bool single = rest.at[1] == '\'';
        emit(r, rest.at + single, (size_t)2 - single);
        r->at += 2;
        return 0;
    }
    if (c == '"')
        emit(r, "\\\"", 2);
    else
        emit(r, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", c));
    r->at++;
    return 0;
}

/* The string whose opening quote, single or double, is at r->at. */
static int rewrite_string(struct rewrite *r)
{
    const uint8_t *text = r->text.at;
    uint8_t quote = text[r->at++];
    int ret = 0;

    emit_char(r, '"');
    while (ret == 0) {
        size_t run = r->at;
        while (r->at < r->text.len && text[r->at] >= 0x20 && text[r->at] != quote &&
               text[r->at] != '"' && text[r->at] != '\\')
            r->at++;
        emit(r, text + run, r->at - run);
        if (r->at == r->text.len)
            return fail_at(r, r->at,
                           quote == '"' ? "expected the closing '\"'"
                                        : "expected the closing \"'\"");
        if (text[r->at] == quote) {
            r->at++;
            emit_char(r, '"');
            return 0;
        }
        ret = rewrite_special(r);
    }
    return ret;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* What numbers and words are made of. */
static bool is_word(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '+' || c == '.' || c == '_';
}

static int rewrite_open(struct rewrite *r, char kind)
{
    if (r->depth == JSON_DEPTH_MAX)
        return err_say(r->err, -E2BIG, "JSON at byte %zu: nested deeper than %d", r->at,
                       JSON_DEPTH_MAX);
    emit_char(r, kind);
    r->open[r->depth++] = kind;
    r->expect = kind == '{' ? EXPECT_KEY : EXPECT_VALUE;
    r->just_opened = true;
    r->at++;
    return 0;
}

static void rewrite_close(struct rewrite *r)
{
    emit(r, r->text.at + r->at, 1);
    r->at++;
    if (r->depth == r->key_depth) {
        r->key_depth = 0;
        emit_char(r, '"');
        r->expect = EXPECT_COLON;
    } else {
        r->expect = r->depth == 1 ? EXPECT_END : EXPECT_MORE;
    }
    r->depth--;
}

/* Whether the character closes the innermost container. */
static bool closes(const struct rewrite *r, uint8_t c)
{
    return r->depth > 0 && c == (r->open[r->depth - 1] == '{' ? '}' : ']');
}

static int rewrite_value(struct rewrite *r, uint8_t c, bool may_close)
{
    size_t start = r->at;

    if (may_close && closes(r, c)) {
        rewrite_close(r);
        return 0;
    }
    if (++r->values > JSON_VALUES_MAX)
        return err_say(r->err, -E2BIG, "JSON at byte %zu: more than %d values", r->at,
                       JSON_VALUES_MAX);
    if (c == '{' || c == '[')
        return rewrite_open(r, (char)c);
    if (r->depth == 0)
        return fail_at(r, r->at, "expected an object or an array");
    r->expect = EXPECT_MORE;
    if (c == '"' || c == '\'')
        return rewrite_string(r);
    while (r->at < r->text.len && is_word(r->text.at[r->at]))
        r->at++;
    if (r->at == start)
        return fail_at(r, start, "expected a value");
    emit(r, r->text.at + start, r->at - start);
    return 0;
}

static int rewrite_key(struct rewrite *r, uint8_t c, bool may_close)
{
    size_t start = r->at;

    if (may_close && closes(r, c)) {
        rewrite_close(r);
        return 0;
    }
    if (c == '{') {
        if (r->key_depth > 0)
            return fail_at(r, r->at, "expected no object as a key within a key");
        buf_add_u8(r->out, '"');
        r->key_depth = r->depth + 1;
        return rewrite_open(r, '{');
    }
    r->expect = EXPECT_COLON;
    if (c == '"' || c == '\'')
        return rewrite_string(r);
    if (c == '-')
        r->at++;
    if (r->at == r->text.len || !is_digit(r->text.at[r->at]))
        return fail_at(r, start, "expected a key");
    while (r->at < r->text.len && is_digit(r->text.at[r->at]))
        r->at++;
    emit_char(r, '"');
    emit(r, r->text.at + start, r->at - start);
    emit_char(r, '"');
    return 0;
}

/* The token at r->at, where a character that is no white space stands. */
static int rewrite_token(struct rewrite *r)
{
    uint8_t c = r->text.at[r->at];
    bool may_close = r->just_opened;

    if (r->out->len < r->sought)
        r->found = r->at;
    r->just_opened = false;
    switch (r->expect) {
    case EXPECT_VALUE:
        return rewrite_value(r, c, may_close);
    case EXPECT_KEY:
        return rewrite_key(r, c, may_close);
    case EXPECT_COLON:
        if (c != ':')
            return fail_at(r, r->at, "expected ':'");
        r->expect = EXPECT_VALUE;
        break;
    case EXPECT_MORE:
        if (closes(r, c)) {
            rewrite_close(r);
            return 0;
        }
        if (c != ',')
            return fail_at(r, r->at,
                           r->open[r->depth - 1] == '{' ? "expected ',' or '}'"
                                                        : "expected ',' or ']'");
        r->expect = r->open[r->depth - 1] == '{' ? EXPECT_KEY : EXPECT_VALUE;
        break;
    case EXPECT_END:
        return fail_at(r, r->at, "expected the end");
    }
    emit(r, &c, 1);
    r->at++;
    return 0;
}

static int rewrite_all(struct rewrite *r)
{
    for (;;) {
        while (r->at < r->text.len && (r->text.at[r->at] == ' ' || r->text.at[r->at] == '\n' ||
                                       r->text.at[r->at] == '\t' || r->text.at[r->at] == '\r'))
            r->at++;
        if (r->at == r->text.len)
            break;
        int ret = rewrite_token(r);
        if (ret < 0)
            return ret;
        if (r->out->failed)
            return err_say(r->err, -ENOMEM, "no memory to read %zu bytes of JSON", r->text.len);
    }
    if (r->expect != EXPECT_END)
        return fail_at(r, r->at, "expected more");
    return 0;
}

/* Where in the input the token began that made the output before `out_at`. */
static size_t input_position(struct bytes text, size_t out_at)
{
    struct buf again = {0};
    struct rewrite r = {.text = text, .out = &again, .sought = out_at};

    (void)rewrite_all(&r);
    buf_destroy(&again);
    return r.found;
}

json_t *json_dialect_load(struct bytes text, struct err *err)
{
    struct buf strict = {0};
    struct rewrite r = {.text = text, .out = &strict, .err = err};
    json_t *tree = NULL;
    json_error_t why;

    if (rewrite_all(&r) == 0) {
        tree = json_loadb((const char *)buf_at(&strict), strict.len, 0, &why);
        if (!tree && json_error_code(&why) == json_error_out_of_memory)
            err_say(err, -ENOMEM, "no memory to read %zu bytes of JSON", text.len);
        else if (!tree)
            err_say(err, -EINVAL, "malformed JSON at byte %zu: %s",
                    input_position(text, why.position > 0 ? (size_t)why.position : 0), why.text);
    }
    buf_destroy(&strict);
    return tree;
}

int64_t json_get_i64(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    int64_t v;

    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_INTEGER:
        return json_integer_value(value);
    case JSON_REAL: {
        double real = json_real_value(value);
        return real >= -0x1p63 && real < 0x1p63 ? (int64_t)real : fallback;
    }
    case JSON_STRING:
        return bytes_to_i64(bytes_of(json_string_value(value), json_string_length(value)), &v)
                   ? v
                   : fallback;
    case JSON_TRUE:
        return 1;
    case JSON_FALSE:
        return 0;
    default:
        return fallback;
    }
}

bool json_get_bool(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);

    switch (value ? json_typeof(value) : JSON_NULL) {
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
        return false;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_STRING:
        if (json_string_length(value) == 0)
            return fallback;
        return bytes_to_bool(bytes_of(json_string_value(value), json_string_length(value)));
    default:
        return fallback;
    }
}

struct bytes json_get_str(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_string(value))
        return bytes_of(NULL, 0);
    return bytes_of(json_string_value(value), json_string_length(value));
}

bool json_mq_of(const json_t *value, struct json_mq *out)
{
    struct json_mq mq;

    if (json_is_string(value))
        return json_mq_of_text(bytes_of(json_string_value(value), json_string_length(value)), out);
    int64_t queue_id =
        json_get_i64(value, "queueId", json_object_get(value, "queueId") ? INT64_MAX : 0);
    if (queue_id < INT32_MIN || queue_id > INT32_MAX)
        return false;
    mq.queue_id = (int32_t)queue_id;
    mq.broker_name = json_get_str(value, "brokerName");
    mq.topic = json_get_str(value, "topic");
    if (mq.topic.len == 0)
        return false;
    *out = mq;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

/* True, and passed over, when the next character is `c`; white space before it does not count. */
static bool next_is(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != (uint8_t)c)
        return false;
    r->at++;
    return true;
}

/* A string without escapes (its text), a number or a word. */
static bool next_scalar(struct reader *r, struct bytes *out, bool *quoted)
{
    *quoted = next_is(r, '"');
    const uint8_t *start = r->at;

    while (r->at < r->end && (*quoted ? *r->at != '"' && *r->at != '\\' : is_word(*r->at)))
        r->at++;
    *out = bytes_of(start, (size_t)(r->at - start));
    return *quoted ? next_is(r, '"') : out->len > 0;
}

static bool next_mq_member(struct reader *r, struct json_mq *mq)
{
    struct bytes name, value;
    bool name_quoted, quoted;

    if (!next_scalar(r, &name, &name_quoted) || !name_quoted || !next_is(r, ':') ||
        !next_scalar(r, &value, &quoted))
        return false;
    if (bytes_is(name, "queueId"))
        return bytes_to_i32(value, &mq->queue_id);
    if (bytes_is(name, "brokerName"))
        mq->broker_name = value;
    else if (bytes_is(name, "topic"))
        mq->topic = value;
    else
        return true;
    return quoted;
}

bool json_mq_of_text(struct bytes text, struct json_mq *out)
{
    struct reader r = reader_of(text);
    struct json_mq mq = {0};

    if (!next_is(&r, '{'))
        return false;
    do {
        if (!next_mq_member(&r, &mq))
            return false;
    } while (next_is(&r, ','));
    if (!next_is(&r, '}'))
        return false;
    skip_space(&r);
    if (r.at != r.end || mq.topic.len == 0)
        return false;
    *out = mq;
    return true;
}
