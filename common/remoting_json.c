/* remoting_json.c - the JSON header of a frame, read in one pass and written in fastjson's order.
 *
 * This is the hottest code of the product: no allocation, no tokens, the position kept in a
 * register. A string without escapes is borrowed as it lies; escapes are decoded in place, which
 * only ever makes a string shorter.
 *
 * A header ends with the brace that closes it, white space cut off. That brace is a sentinel: space
 * and digits end at it at the latest, and no token but a brace can hold the last byte. So only
 * strings, words and what follows a taken brace need to look at where the header ends.
 *
 * Tolerated, because clients send it: members in any order, unknown members of any type, absent
 * members, numbers as strings, field values that are numbers, booleans or null, languages by
 * number, white space around everything. Whatever else is not JSON is refused.
 */
#include "common/remoting_internal.h"

#include "common/json_stops.h"
#include "common/json_text.h"
#include "common/word.h"

enum { SKIP_DEPTH_MAX = 16 };

/* Calls in the common path cost a third of the time, and compilers differ in what they inline. */
#define HOT static inline __attribute__((always_inline))

struct parser {
    uint8_t *end;         /* behind the closing brace */
    const uint8_t *limit; /* of what may be read: the end of the frame */
    const char *why;      /* set when a function has returned NULL */
};

/* Every take function gets the position of what it takes and returns the position behind it, or
 * NULL when it is not there. */
static uint8_t *wrong(struct parser *p, const char *why)
{
    p->why = why;
    return NULL;
}

HOT bool is_space(uint8_t c)
{
    return c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t');
}

HOT uint8_t *skip_space(uint8_t *at)
{
    while (is_space(*at))
        at++;
    return at;
}

/* The next quote or backslash, at p->end or behind when there is none. */
HOT uint8_t *find_stop(const struct parser *p, uint8_t *at)
{
    while (p->limit - at >= 16) {
        uint64_t stops = json_stops_16(at);
        if (stops)
            return at + __builtin_ctzll(stops);
        at += 16;
    }
    while (at < p->end && *at != '"' && *at != '\\')
        at++;
    return at;
}

static const uint8_t hex_plus_one[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

/* Four hexadecimal digits, or -1. */
static int32_t hex4(const uint8_t *at)
{
    int32_t v = 0;

    for (int i = 0; i < 4; i++) {
        int32_t digit = hex_plus_one[at[i]] - 1;
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* The \u escape at `at`, written at *to. A surrogate that is not half of a pair becomes U+FFFD; no
 * escape is shorter than what it stands for. */
static uint8_t *take_unicode(struct parser *p, uint8_t *at, uint8_t **to)
{
    size_t left = (size_t)(p->end - at);
    int32_t point = left < 6 ? -1 : hex4(at + 2);

    if (point < 0)
        return wrong(p, "the JSON header has a \\u escape without four digits");
    at += 6;
    if (point >= 0xD800 && point < 0xE000) {
        int32_t low = -1;
        if (point < 0xDC00 && left >= 12 && at[0] == '\\' && at[1] == 'u')
            low = hex4(at + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
        } else {
            point = 0xFFFD;
        }
    }
    *to += bytes_utf8_put(*to, (uint32_t)point);
    return at;
}

/* The escape at `at`, a backslash, written at *to. */
static inline uint8_t *take_escape(struct parser *p, uint8_t *at, uint8_t **to)
{
    uint8_t c = at[1];

    /* \u0001 and \u0002 stand between the properties of every message that is sent. */
    if (p->end - at >= 8 && memcmp(at, "\\u000", 5) == 0 && hex_plus_one[at[5]]) {
        *(*to)++ = hex_plus_one[at[5]] - 1;
        return at + 6;
    }
    switch (c) {
    case 'u':
        return take_unicode(p, at, to);
    case '"':
    case '\\':
    case '/':
        break;
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    case 'n':
        c = '\n';
        break;
    case 'r':
        c = '\r';
        break;
    case 't':
        c = '\t';
        break;
    default:
        return wrong(p, "the JSON header has an unknown escape");
    }
    *(*to)++ = c;
    return at + 2;
}

/* Eight bytes, which may overlap. */
HOT void move_word(uint8_t *to, const uint8_t *at)
{
    uint64_t word = word_load(at);

    memcpy(to, &word, 8);
}

/* Moves the run [at, stop) down to `to`. The last word is stored whole where that ends before what
 * is still to be read. */
HOT void move_run(const struct parser *p, uint8_t *to, const uint8_t *at, const uint8_t *stop)
{
    for (; stop - at >= 8; at += 8, to += 8)
        move_word(to, at);
    if (stop - to >= 8 && p->end - at >= 8)
        move_word(to, at);
    else
        while (at < stop)
            *to++ = *at++;
}

/* The rest of a string that began at `start`, from its first escape at `at`. Kept out of
 * take_string(), which is small enough to be inlined without it. */
static __attribute__((noinline)) uint8_t *take_escaped_string(struct parser *p, uint8_t *start,
                                                              uint8_t *at, struct bytes *out)
{
    uint8_t *to = at;

    do {
        at = take_escape(p, at, &to);
        if (!at)
            return NULL;
        uint8_t *stop = find_stop(p, at);
        if (stop >= p->end)
            return wrong(p, "a string of the JSON header has no end");
        move_run(p, to, at, stop);
        to += stop - at;
        at = stop;
    } while (*at == '\\');
    *out = bytes_of(start, (size_t)(to - start));
    return at + 1;
}

/* A string, from its opening quote. */
HOT uint8_t *take_string(struct parser *p, uint8_t *at, struct bytes *out)
{
    uint8_t *start = at + 1;
    uint8_t *stop = find_stop(p, start);

    if (stop >= p->end)
        return wrong(p, "a string of the JSON header has no end");
    if (*stop != '"')
        return take_escaped_string(p, start, stop, out);
    out->at = start;
    out->len = (size_t)(stop - start);
    return stop + 1;
}

HOT bool is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') <= 9;
}

static uint8_t *skip_digits(uint8_t *at)
{
    while (is_digit(*at))
        at++;
    return at;
}

/* A number stays the text it is. */
static uint8_t *take_number(struct parser *p, uint8_t *at, struct bytes *out)
{
    uint8_t *from = at, *digits;

    at += *at == '-';
    digits = at;
    at = *at == '0' ? at + 1 : skip_digits(at);
    if (at > digits && *at == '.') {
        digits = at + 1;
        at = skip_digits(digits);
    }
    if (at > digits && (*at == 'e' || *at == 'E')) {
        digits = at + 1;
        digits += *digits == '-' || *digits == '+';
        at = skip_digits(digits);
    }
    if (at == digits)
        return wrong(p, "the JSON header has a malformed number");
    *out = bytes_of(from, (size_t)(at - from));
    return at;
}

static uint8_t *take_word(struct parser *p, uint8_t *at, struct bytes word)
{
    if (!bytes_starts(bytes_of(at, (size_t)(p->end - at)), word))
        return wrong(p, "the JSON header has a value of no known type");
    return at + word.len;
}

static uint8_t *take_other_scalar(struct parser *p, uint8_t *at, struct bytes *out)
{
    switch (*at) {
    case 't':
        *out = bytes_of(at, 4);
        return take_word(p, at, BYTES_LIT("true"));
    case 'f':
        *out = bytes_of(at, 5);
        return take_word(p, at, BYTES_LIT("false"));
    case 'n':
        *out = (struct bytes){NULL, 0};
        return take_word(p, at, BYTES_LIT("null"));
    default:
        return wrong(p, "the JSON header lacks a text, number, boolean or null");
    }
}

/* A string, or the text of a number or boolean. null gives out->at = NULL, "" does not. */
static inline uint8_t *take_scalar(struct parser *p, uint8_t *at, struct bytes *out)
{
    at = skip_space(at);
    if (*at == '"')
        return take_string(p, at, out);
    if (*at == '-' || is_digit(*at))
        return take_number(p, at, out);
    return take_other_scalar(p, at, out);
}

/* Takes a member's name and colon, so that its value comes next, or the closing brace of the
 * object, for which key->at is NULL. Only after a brace may the position be p->end. */
HOT uint8_t *next_member(struct parser *p, uint8_t *at, bool first, struct bytes *key)
{
    at = skip_space(at);
    if (*at == '}') {
        key->at = NULL;
        return at + 1;
    }
    if (!first) {
        if (*at != ',')
            return wrong(p, "the JSON header lacks a comma or brace after a member");
        at = skip_space(at + 1);
    }
    if (*at != '"')
        return wrong(p, "the JSON header lacks a member's name");
    at = take_string(p, at, key);
    if (!at)
        return NULL;
    at = skip_space(at);
    if (*at != ':')
        return wrong(p, "the JSON header lacks a colon after a member's name");
    return at + 1;
}

/* `at` is behind the closing brace of an object within the header. */
static uint8_t *inner_end(struct parser *p, uint8_t *at)
{
    return at < p->end ? at : wrong(p, "the JSON header lacks a closing brace");
}

static uint8_t *skip_value(struct parser *p, uint8_t *at, int depth)
{
    struct bytes ignored;
    uint8_t open;

    at = skip_space(at);
    open = *at;
    if (open != '{' && open != '[')
        return take_scalar(p, at, &ignored);
    if (depth == SKIP_DEPTH_MAX)
        return wrong(p, "the JSON header is nested too deep");
    at++;
    if (open == '{') {
        for (bool first = true;; first = false) {
            at = next_member(p, at, first, &ignored);
            if (!at || !ignored.at)
                return at ? inner_end(p, at) : NULL;
            at = skip_value(p, at, depth + 1);
            if (!at)
                return NULL;
        }
    }
    at = skip_space(at);
    if (*at == ']')
        return at + 1;
    while (true) {
        at = skip_value(p, at, depth + 1);
        if (!at)
            return NULL;
        at = skip_space(at);
        if (*at == ']')
            return at + 1;
        if (*at != ',')
            return wrong(p, "the JSON header lacks a comma or bracket after an element");
        at++;
    }
}

HOT uint8_t *take_i32(struct parser *p, uint8_t *at, int32_t *out)
{
    struct bytes text;
    uint8_t *digits, *stop;
    int32_t v = 0;

    /* The common form; nine digits cannot overflow. */
    at = skip_space(at);
    digits = at + (*at == '-');
    for (stop = digits; is_digit(*stop) && stop - digits < 9; stop++)
        v = v * 10 + (*stop - '0');
    if (stop > digits && (*digits != '0' || stop - digits == 1) && (*stop == ',' || *stop == '}')) {
        *out = *at == '-' ? -v : v;
        return stop;
    }

    at = take_scalar(p, at, &text);
    if (!at || text.len == 0) /* null or "": as if it were absent */
        return at;
    return bytes_to_i32(text, out)
               ? at
               : wrong(p, "code, version, opaque or flag is not a 32-bit integer");
}

HOT uint8_t *take_language(struct parser *p, uint8_t *at, uint8_t *out)
{
    struct bytes text;
    int64_t ordinal;

    at = take_scalar(p, at, &text);
    if (!at || text.len == 0)
        return at;
    if (text.len == 4 && memcmp(text.at, "JAVA", 4) == 0)
        *out = REMOTING_JAVA;
    else if (bytes_to_i64(text, &ordinal))
        *out = ordinal >= 0 && ordinal < REMOTING_LANGUAGES ? (uint8_t)ordinal : REMOTING_OTHER;
    else
        *out = remoting_language_of(text);
    return at;
}

/* Takes as many fields "key":"value" as follow without white space, escapes and other types, and
 * returns where the first one begins that is not so; anything may be there. Nearly all fields are
 * so: their quotes are found 64 bytes at a time. */
static uint8_t *take_plain_fields(const struct parser *p, uint8_t *at, bool first,
                                  struct remoting_field *fields, size_t *count)
{
    uint8_t *const last = p->end - 3; /* the last place where three bytes can be read */
    uint8_t *text = first ? at : at + 1;
    uint8_t *block = text + 1;
    uint64_t stops;

    if (text > last || (!first && *at != ',') || *text != '"' || p->limit - block < 64)
        return at;
    text++;
    stops = json_stops_64(block);

/* Takes the next stop. Without one in a whole block the field is not common enough. */
#define NEXT_STOP(stop)                                                                            \
    do {                                                                                           \
        if (!stops) {                                                                              \
            block += 64;                                                                           \
            if (p->limit - block < 64 || !(stops = json_stops_64(block)))                          \
                return at;                                                                         \
        }                                                                                          \
        (stop) = block + __builtin_ctzll(stops);                                                   \
        stops &= stops - 1;                                                                        \
    } while (0)

    for (size_t n = *count; n < REMOTING_FIELDS_MAX; n++) {
        uint8_t *key_end, *value, *value_end;

        NEXT_STOP(key_end);
        if (key_end > last)
            return at;
        if (memcmp(key_end, "\":\"", 3) != 0)
            return at;
        NEXT_STOP(value);
        NEXT_STOP(value_end);
        if (value_end > last || *value_end != '"')
            return at;
        value++;
        fields[n].key.at = text;
        fields[n].key.len = (size_t)(key_end - text);
        fields[n].value.at = value;
        fields[n].value.len = (size_t)(value_end - value);
        *count = n + 1;
        at = value_end + 1;
        if (memcmp(value_end, "\",\"", 3) != 0)
            return at;
        NEXT_STOP(text);
        text++;
    }
#undef NEXT_STOP
    return at;
}

static uint8_t *take_fields(struct parser *p, uint8_t *at, struct remoting_frame *out)
{
    struct bytes key;
    size_t count = 0, taken;

    out->field_count = 0; /* of two such members the last one counts */
    at = skip_space(at);
    if (*at == 'n')
        return take_word(p, at, BYTES_LIT("null"));
    if (*at != '{')
        return wrong(p, "extFields is not an object");
    at++;
    for (bool first = true;; first = false) {
        taken = count;
        at = take_plain_fields(p, at, first, out->fields, &count);
        at = next_member(p, at, first && count == taken, &key);
        if (!at || !key.at)
            break;
        if (count == REMOTING_FIELDS_MAX)
            return wrong(p, "the header has too many fields");
        /* Member by member: a copy of a struct just written would wait for its stores. */
        struct remoting_field *field = &out->fields[count];
        field->key.at = key.at;
        field->key.len = key.len;
        at = take_scalar(p, at, &field->value);
        if (!at)
            break;
        count += field->value.at != NULL; /* null is no field */
    }
    out->field_count = (uint16_t)count;
    return at ? inner_end(p, at) : NULL;
}

HOT bool is(struct bytes key, const char *name)
{
    return memcmp(key.at, name, key.len) == 0; /* the caller has compared the lengths */
}

HOT uint8_t *take_member(struct parser *p, uint8_t *at, struct bytes key,
                         struct remoting_frame *out)
{
    switch (key.len) {
    case 4:
        if (is(key, "code"))
            return take_i32(p, at, &out->code);
        if (is(key, "flag"))
            return take_i32(p, at, &out->flag);
        break;
    case 6:
        if (is(key, "opaque"))
            return take_i32(p, at, &out->opaque);
        if (is(key, "remark"))
            return take_scalar(p, at, &out->remark);
        break;
    case 7:
        if (is(key, "version"))
            return take_i32(p, at, &out->version);
        break;
    case 8:
        if (is(key, "language"))
            return take_language(p, at, &out->language);
        break;
    case 9:
        if (is(key, "extFields"))
            return take_fields(p, at, out);
        break;
    }
    return skip_value(p, at, 0);
}

const char *remoting_json_decode(uint8_t *at, size_t len, const uint8_t *limit,
                                 struct remoting_frame *out)
{
    struct parser p = {.end = at + len, .limit = limit};
    struct bytes key;

    while (p.end > at && is_space(p.end[-1]))
        p.end--;
    if (at == p.end || p.end[-1] != '}')
        return "the JSON header does not end with a brace";
    at = skip_space(at);
    if (*at != '{')
        return "the JSON header is not an object";
    at++;
    for (bool first = true;; first = false) {
        at = next_member(&p, at, first, &key);
        if (!at)
            return p.why;
        if (!key.at)
            return at == p.end ? NULL : "bytes follow the JSON header";
        at = take_member(&p, at, key, out);
        if (!at)
            return p.why;
    }
}

static uint8_t *put_text(uint8_t *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}
#define PUT_LIT(to, literal) put_text(to, literal, sizeof(literal) - 1)

/* Room for what remoting_json_begin() and remoting_json_close() put without the remark. */
enum { FIXED_MAX = 256 };

void remoting_json_begin(struct remoting_writer *w)
{
    uint8_t *to = buf_reserve(w->out, FIXED_MAX);

    if (!to)
        return;
    to = PUT_LIT(to, "{\"code\":");
    to += bytes_from_i64(w->meta.code, to);
    w->out->len = (size_t)(to - buf_at(w->out));
}

void remoting_json_put(struct remoting_writer *w, struct bytes key, struct bytes value)
{
    struct buf *out = w->out;
    uint8_t *to = buf_reserve(out, FIXED_MAX + key.len + value.len);

    if (!to)
        return;
    to = w->ext_open ? PUT_LIT(to, ",") : PUT_LIT(to, ",\"extFields\":{");
    w->ext_open = true;

    if (json_text_is_plain(key) && json_text_is_plain(value)) {
        to = PUT_LIT(to, "\"");
        memcpy(to, key.at, key.len);
        to = PUT_LIT(to + key.len, "\":\"");
        if (value.len)
            memcpy(to, value.at, value.len);
        to = PUT_LIT(to + value.len, "\"");
        out->len = (size_t)(to - buf_at(out));
        return;
    }
    out->len = (size_t)(to - buf_at(out));
    json_text_add(out, key);
    buf_add_u8(out, ':');
    json_text_add(out, value);
}

void remoting_json_close(struct remoting_writer *w)
{
    const struct remoting_meta *m = &w->meta;
    const char *language = remoting_language_name(m->language);
    struct buf *out = w->out;
    uint8_t *to = buf_reserve(out, FIXED_MAX);

    if (!to)
        return;
    if (w->ext_open)
        to = PUT_LIT(to, "}");
    else if (m->has_fields)
        to = PUT_LIT(to, ",\"extFields\":{}");
    to = PUT_LIT(to, ",\"flag\":");
    to += bytes_from_i64(m->flag, to);
    to = PUT_LIT(to, ",\"language\":\"");
    to = put_text(to, language, strlen(language));
    to = PUT_LIT(to, "\",\"opaque\":");
    to += bytes_from_i64(m->opaque, to);
    if (m->remark.len) {
        to = PUT_LIT(to, ",\"remark\":");
        out->len = (size_t)(to - buf_at(out));
        json_text_add(out, m->remark);
        to = buf_reserve(out, FIXED_MAX);
        if (!to)
            return;
    }
    to = PUT_LIT(to, ",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    to += bytes_from_i64(m->version, to);
    to = PUT_LIT(to, "}");
    out->len = (size_t)(to - buf_at(out));
}
