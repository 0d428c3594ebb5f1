/* remoting.h - the remoting frame and its two header encodings. Pure: no I/O, no allocation.
 *
 *   at  size  field
 *    0     4  L   bytes after this field: 4 + H + body
 *    4     1  S   serialization of this header: 0 JSON, 1 binary
 *    5     3  H   header bytes
 *    8     H  header
 *  8+H        body
 *
 * Source: docs/protocol/remoting.md, "Framing and header".
 */
#ifndef TERN_COMMON_REMOTING_H
#define TERN_COMMON_REMOTING_H

#include "common/buf.h"
#include "common/bytes.h"

enum {
    REMOTING_FRAME_MAX = 16777216, /* whole frame, length field included */
    REMOTING_FIELDS_MAX = 64,      /* more header fields than this is a bad frame */
    REMOTING_VERSION = 409,        /* the release whose behaviour we announce: V4_9_8 */
};

enum remoting_serialize { REMOTING_JSON = 0, REMOTING_BINARY = 1 };
enum { REMOTING_FLAG_RESPONSE = 1, REMOTING_FLAG_ONEWAY = 2 };
enum remoting_language {
    REMOTING_JAVA,
    REMOTING_CPP,
    REMOTING_DOTNET,
    REMOTING_PYTHON,
    REMOTING_DELPHI,
    REMOTING_ERLANG,
    REMOTING_RUBY,
    REMOTING_OTHER,
    REMOTING_HTTP,
    REMOTING_GO,
    REMOTING_PHP,
    REMOTING_OMS,
    REMOTING_RUST,
    REMOTING_NODE_JS,
    REMOTING_LANGUAGES,
};
/* "JAVA", ...; out of range is "OTHER". */
const char *remoting_language_name(unsigned language);

struct remoting_field {
    struct bytes key;
    struct bytes value;
};

/* A decoded frame. All bytes are borrowed from the input, which was changed in place where
 * JSON text had escapes, and hold as long as it does. */
struct remoting_frame {
    int32_t code;
    int32_t version; /* 0 when absent */
    int32_t opaque;
    int32_t flag;
    uint8_t language; /* enum remoting_language; unknown names are REMOTING_OTHER */
    uint8_t serialize;
    uint16_t field_count;
    struct bytes remark; /* empty: absent */
    struct bytes body;
    struct remoting_field fields[REMOTING_FIELDS_MAX]; /* in order of arrival; nulls are left out */
};

/* Looks at the first bytes of a stream. 0: *total is the size of the whole frame, length field
 * included. PARTIAL: fewer than 4 bytes. BAD: a length no frame can have, or, when 8 bytes are
 * there, an unknown serialization or a header longer than its frame. */
enum { REMOTING_PARTIAL = 1, REMOTING_BAD };
int remoting_frame_size(struct bytes in, size_t *total);

/* Decodes one whole frame of `len` bytes (as remoting_frame_size said). 0, or REMOTING_BAD with
 * *why = a static sentence. Escapes are decoded in place, so a frame is decoded once. Fields beyond
 * field_count are not touched. JSON may hold raw control characters; text is not checked to be
 * UTF-8; a lone surrogate escape becomes U+FFFD. An empty value stays a field in JSON and is left
 * out in the binary form, where it means null. */
int remoting_decode(uint8_t *frame, size_t len, struct remoting_frame *out, const char **why);

static inline bool remoting_is_response(const struct remoting_frame *f)
{
    return f->flag & REMOTING_FLAG_RESPONSE;
}
static inline bool remoting_is_oneway(const struct remoting_frame *f)
{
    return f->flag & REMOTING_FLAG_ONEWAY;
}

/* The last field of that name, NULL when absent. Each call looks through the fields; where all of
 * many fields are wanted (SEND_MESSAGE_V2), one walk over them is faster. */
const struct bytes *remoting_field_named(const struct remoting_frame *f, struct bytes key);
static inline const struct bytes *remoting_field(const struct remoting_frame *f, const char *key)
{
    return remoting_field_named(f, bytes_str(key)); /* inline: a literal's length is known then */
}
/* 0: *out is set. ABSENT (or empty) and INVALID leave it untouched. */
enum { REMOTING_ABSENT = 1, REMOTING_INVALID };
int remoting_get_i32(const struct remoting_frame *f, const char *key, int32_t *out);
int remoting_get_i64(const struct remoting_frame *f, const char *key, int64_t *out);
int remoting_get_bool(const struct remoting_frame *f, const char *key, bool *out);

/* What a frame that is to be written says of itself. */
struct remoting_meta {
    int32_t code;
    int32_t opaque;
    int32_t flag;
    int32_t version;     /* normally REMOTING_VERSION */
    uint8_t language;    /* normally REMOTING_JAVA: what clients expect of a server */
    uint8_t serialize;   /* JSON all the same when code or version exceeds the 16 bits of binary */
    bool has_fields;     /* JSON: write "extFields" even when no field follows */
    struct bytes remark; /* empty: none; borrowed until remoting_body() */
};

/* Writes one frame at the end of `out`: begin, fields, body (the caller then adds body bytes to
 * `out`), end. In JSON every value is a string, and bytes that are not UTF-8 become U+FFFD. When
 * out->failed is set afterwards (no memory, or a frame beyond REMOTING_FRAME_MAX) the frame is
 * not there; remoting_abort takes a begun frame out again. Nothing may be consumed from `out`
 * between begin and end. */
struct remoting_writer {
    struct buf *out;
    size_t start; /* of the frame, relative to buf_at(out) */
    struct remoting_meta meta;
    size_t ext_length_at; /* binary: where the length of the fields goes, relative to start */
    size_t header_len;    /* 0: the header is still open */
    bool binary;
    bool ext_open; /* JSON: a field was written */
};
void remoting_begin(struct remoting_writer *w, struct buf *out, const struct remoting_meta *meta);
void remoting_put(struct remoting_writer *w, const char *key, struct bytes value);
/* A name that is no literal: 1 to 32767 bytes. */
void remoting_put_named(struct remoting_writer *w, struct bytes key, struct bytes value);
/* NULL: the field is left out. */
void remoting_put_str(struct remoting_writer *w, const char *key, const char *value);
void remoting_put_i64(struct remoting_writer *w, const char *key, int64_t value);
void remoting_put_bool(struct remoting_writer *w, const char *key, bool value);
void remoting_body(struct remoting_writer *w); /* closes the header; body bytes may follow */
void remoting_end(struct remoting_writer *w);  /* fills in the lengths (calls body if needed) */
void remoting_abort(struct remoting_writer *w);

#endif
