/* remoting.c - the frame, the binary header, access to fields, the writer. The JSON header is in
 * remoting_json.c.
 *
 * Binary header (S = 1):
 *
 *   at  size  field
 *    0     2  code
 *    2     1  language
 *    3     2  version
 *    5     4  opaque
 *    9     4  flag
 *   13   4+n  remark, behind its length
 *         4   E  bytes of fields
 *         E   each: 2 key length, key, 4 value length, value
 *
 * Lengths are signed there, and an empty string means null.
 */
#include "common/remoting.h"

#include <assert.h>

#include "common/remoting_internal.h"

enum { FRAME_HEAD = 8, FRAME_MIN = 8, BINARY_FIXED = 13 };

static const char *const language_names[REMOTING_LANGUAGES] = {
    "JAVA",  "CPP",  "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY",
    "OTHER", "HTTP", "GO",     "PHP",    "OMS",    "RUST",   "NODE_JS",
};

const char *remoting_language_name(unsigned language)
{
    return language_names[language < REMOTING_LANGUAGES ? language : REMOTING_OTHER];
}

uint8_t remoting_language_of(struct bytes name)
{
    for (uint8_t i = 0; i < REMOTING_LANGUAGES; i++)
        if (bytes_is(name, language_names[i]))
            return i;
    return REMOTING_OTHER;
}

int remoting_frame_size(struct bytes in, size_t *total)
{
    if (in.len < 4)
        return REMOTING_PARTIAL;
    uint32_t length = load_be32(in.at);
    if (length < FRAME_MIN - 4 || length > REMOTING_FRAME_MAX - 4)
        return REMOTING_BAD;
    if (in.len >= FRAME_HEAD) {
        uint32_t head = load_be32(in.at + 4);
        if (head >> 24 > REMOTING_BINARY || (head & 0xFFFFFF) > length - 4)
            return REMOTING_BAD;
    }
    *total = 4 + (size_t)length;
    return 0;
}

static const char *binary_fields(struct bytes ext, struct remoting_frame *out)
{
    struct reader r = reader_of(ext);

    while (reader_left(&r)) {
        uint16_t key_len = reader_u16(&r);
        struct bytes key = reader_take(&r, key_len);
        uint32_t value_len = reader_u32(&r);
        struct bytes value = reader_take(&r, value_len);

        if (r.bad || key_len > INT16_MAX)
            return "a field is longer than the binary header";
        if (key.len == 0 || value.len == 0)
            continue;
        if (out->field_count == REMOTING_FIELDS_MAX)
            return "the header has too many fields";
        out->fields[out->field_count++] = (struct remoting_field){key, value};
    }
    return NULL;
}

static const char *binary_decode(struct bytes header, struct remoting_frame *out)
{
    struct reader r = reader_of(header);
    uint8_t language;
    struct bytes ext;

    out->code = (int16_t)reader_u16(&r);
    language = reader_u8(&r);
    out->language = language < REMOTING_LANGUAGES ? language : REMOTING_OTHER;
    out->version = (int16_t)reader_u16(&r);
    out->opaque = (int32_t)reader_u32(&r);
    out->flag = (int32_t)reader_u32(&r);
    out->remark = reader_take(&r, reader_u32(&r));
    ext = reader_take(&r, reader_u32(&r));
    if (r.bad)
        return "the binary header is shorter than its lengths say";
    if (reader_left(&r))
        return "bytes follow the fields of the binary header";
    return binary_fields(ext, out);
}

int remoting_decode(uint8_t *frame, size_t len, struct remoting_frame *out, const char **why)
{
    size_t total, header_len;

    *why = NULL;
    out->code = out->version = out->opaque = out->flag = 0;
    out->language = REMOTING_JAVA;
    out->serialize = REMOTING_JSON;
    out->field_count = 0;
    out->remark = out->body = (struct bytes){NULL, 0};

    if (len < FRAME_HEAD) {
        *why = "the frame is shorter than its head";
        return REMOTING_BAD;
    }
    if (remoting_frame_size(bytes_of(frame, len), &total) != 0 || total != len) {
        *why = "the frame's lengths or its serialization are impossible";
        return REMOTING_BAD;
    }
    out->serialize = frame[4];
    header_len = load_be32(frame + 4) & 0xFFFFFF;
    out->body = bytes_of(frame + FRAME_HEAD + header_len, len - FRAME_HEAD - header_len);
    if (out->serialize == REMOTING_JSON)
        *why = remoting_json_decode(frame + FRAME_HEAD, header_len, frame + len, out);
    else
        *why = binary_decode(bytes_of(frame + FRAME_HEAD, header_len), out);
    return *why ? REMOTING_BAD : 0;
}

const struct bytes *remoting_field_named(const struct remoting_frame *f, struct bytes key)
{
    for (size_t i = f->field_count; i-- > 0;) {
        const struct remoting_field *field = &f->fields[i];
        /* Names of the hot requests are one letter, for which a call of memcmp is dear. */
        if (field->key.len == key.len && key.len && field->key.at[0] == key.at[0] &&
            (key.len == 1 || memcmp(field->key.at, key.at, key.len) == 0))
            return &field->value;
    }
    return NULL;
}

int remoting_get_i32(const struct remoting_frame *f, const char *key, int32_t *out)
{
    const struct bytes *value = remoting_field(f, key);

    if (!value || value->len == 0)
        return REMOTING_ABSENT;
    return bytes_to_i32(*value, out) ? 0 : REMOTING_INVALID;
}

int remoting_get_i64(const struct remoting_frame *f, const char *key, int64_t *out)
{
    const struct bytes *value = remoting_field(f, key);

    if (!value || value->len == 0)
        return REMOTING_ABSENT;
    return bytes_to_i64(*value, out) ? 0 : REMOTING_INVALID;
}

int remoting_get_bool(const struct remoting_frame *f, const char *key, bool *out)
{
    const struct bytes *value = remoting_field(f, key);

    if (!value || value->len == 0)
        return REMOTING_ABSENT;
    *out = bytes_to_bool(*value);
    return 0;
}

static void binary_begin(struct remoting_writer *w)
{
    const struct remoting_meta *m = &w->meta;
    uint8_t *to = buf_reserve(w->out, BINARY_FIXED + 4 + m->remark.len + 4);

    if (!to)
        return;
    store_be16(to, (uint16_t)m->code);
    to[2] = m->language;
    store_be16(to + 3, (uint16_t)m->version);
    store_be32(to + 5, (uint32_t)m->opaque);
    store_be32(to + 9, (uint32_t)m->flag);
    store_be32(to + 13, (uint32_t)m->remark.len);
    w->out->len += BINARY_FIXED + 4;
    buf_add(w->out, m->remark.at, m->remark.len);
    w->ext_length_at = w->out->len - w->start;
    buf_add_be32(w->out, 0);
}

static void binary_put(struct remoting_writer *w, struct bytes key, struct bytes value)
{
    uint8_t *to;

    assert(key.len > 0 && key.len <= INT16_MAX);
    if (value.len == 0) /* would read as null: the same as no field */
        return;
    to = buf_reserve(w->out, 2 + key.len + 4 + value.len);
    if (!to)
        return;
    store_be16(to, (uint16_t)key.len);
    memcpy(to + 2, key.at, key.len);
    store_be32(to + 2 + key.len, (uint32_t)value.len);
    memcpy(to + 2 + key.len + 4, value.at, value.len);
    w->out->len += 2 + key.len + 4 + value.len;
}

static void binary_close(struct remoting_writer *w)
{
    if (w->out->failed)
        return;
    size_t ext_len = w->out->len - w->start - w->ext_length_at - 4;
    store_be32(buf_at(w->out) + w->start + w->ext_length_at, (uint32_t)ext_len);
}

static void put(struct remoting_writer *w, struct bytes key, struct bytes value)
{
    assert(w->header_len == 0);
    if (w->binary)
        binary_put(w, key, value);
    else
        remoting_json_put(w, key, value);
}

void remoting_begin(struct remoting_writer *w, struct buf *out, const struct remoting_meta *meta)
{
    *w = (struct remoting_writer){.out = out, .start = out->len, .meta = *meta};
    w->binary = meta->serialize == REMOTING_BINARY && meta->code == (int16_t)meta->code &&
                meta->version == (int16_t)meta->version;
    buf_add_be64(out, 0); /* lengths: filled in at the end */
    if (w->binary)
        binary_begin(w);
    else
        remoting_json_begin(w);
}

void remoting_put(struct remoting_writer *w, const char *key, struct bytes value)
{
    put(w, bytes_str(key), value);
}

void remoting_put_named(struct remoting_writer *w, struct bytes key, struct bytes value)
{
    put(w, key, value);
}

void remoting_put_str(struct remoting_writer *w, const char *key, const char *value)
{
    if (value)
        put(w, bytes_str(key), bytes_str(value));
}

void remoting_put_i64(struct remoting_writer *w, const char *key, int64_t value)
{
    uint8_t text[BYTES_I64_TEXT_MAX];

    put(w, bytes_str(key), bytes_of(text, bytes_from_i64(value, text)));
}

void remoting_put_bool(struct remoting_writer *w, const char *key, bool value)
{
    put(w, bytes_str(key), value ? BYTES_LIT("true") : BYTES_LIT("false"));
}

void remoting_body(struct remoting_writer *w)
{
    assert(w->header_len == 0);
    if (w->binary)
        binary_close(w);
    else
        remoting_json_close(w);
    w->header_len = w->out->len - w->start - FRAME_HEAD;
}

void remoting_end(struct remoting_writer *w)
{
    if (w->header_len == 0)
        remoting_body(w);
    size_t total = w->out->len - w->start;
    if (w->out->failed || total > REMOTING_FRAME_MAX) {
        remoting_abort(w);
        w->out->failed = true;
        return;
    }
    uint8_t *head = buf_at(w->out) + w->start;
    store_be32(head, (uint32_t)(total - 4));
    store_be32(head + 4, (uint32_t)(w->binary ? REMOTING_BINARY : REMOTING_JSON) << 24 |
                             (uint32_t)w->header_len);
}

void remoting_abort(struct remoting_writer *w)
{
    assert(w->out->len >= w->start);
    w->out->len = w->start;
}
