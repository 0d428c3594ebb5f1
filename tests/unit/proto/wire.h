/* wire.h - protobuf's wire format by hand: tags, varints and lengths, nothing of the generated
 * code.
 *
 * What the tests of the gRPC API compare protobuf-c with.
 */
#ifndef TERN_TESTS_UNIT_PROTO_WIRE_H
#define TERN_TESTS_UNIT_PROTO_WIRE_H

#include <check.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <string.h>

enum { WIRE_MAX = 2048, VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct wire {
    uint8_t at[WIRE_MAX];
    size_t len;
};

static inline void put_byte(struct wire *w, uint8_t byte)
{
    ck_assert_uint_lt(w->len, WIRE_MAX);
    w->at[w->len++] = byte;
}

static inline void put_varint(struct wire *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(w, (uint8_t)(value | 0x80));
    put_byte(w, (uint8_t)value);
}

static inline void put_tag(struct wire *w, unsigned number, unsigned type)
{
    put_varint(w, (uint64_t)number << 3 | type);
}

static inline void put_int(struct wire *w, unsigned number, int64_t value)
{
    put_tag(w, number, VARINT);
    put_varint(w, (uint64_t)value);
}

static inline void put_data(struct wire *w, unsigned number, const void *data, size_t len)
{
    const uint8_t *from = data;

    put_tag(w, number, LENGTH);
    put_varint(w, len);
    for (size_t i = 0; i < len; i++)
        put_byte(w, from[i]);
}

static inline void put_text(struct wire *w, unsigned number, const char *text)
{
    put_data(w, number, text, strlen(text));
}

static inline void put_message(struct wire *w, unsigned number, const struct wire *inner)
{
    put_data(w, number, inner->at, inner->len);
}

static inline void put_float(struct wire *w, unsigned number, uint32_t ieee754)
{
    put_tag(w, number, FIXED32);
    for (int i = 0; i < 4; i++)
        put_byte(w, (uint8_t)(ieee754 >> 8 * i));
}

/* Two fields that many messages have: a pair of texts 1 and 2, a pair of integers 1 and 2. */
static inline struct wire texts(const char *first, const char *second)
{
    struct wire w = {.len = 0};

    put_text(&w, 1, first);
    put_text(&w, 2, second);
    return w;
}

static inline struct wire ints(int64_t first, int64_t second)
{
    struct wire w = {.len = 0};

    put_int(&w, 1, first);
    put_int(&w, 2, second);
    return w;
}

static inline void *unpack(const ProtobufCMessageDescriptor *type, const struct wire *w)
{
    return protobuf_c_message_unpack(type, NULL, w->len, w->at);
}

static inline void assert_packs_to(const ProtobufCMessage *msg, const struct wire *w)
{
    uint8_t packed[WIRE_MAX];

    ck_assert_uint_eq(protobuf_c_message_get_packed_size(msg), w->len);
    ck_assert_uint_eq(protobuf_c_message_pack(msg, packed), w->len);
    ck_assert_mem_eq(packed, w->at, w->len);
}

/* Unpacks, packs, compares; the message is the caller's to free. */
static inline void *round_trip(const ProtobufCMessageDescriptor *type, const struct wire *w)
{
    ProtobufCMessage *msg = unpack(type, w);

    ck_assert_msg(msg != NULL, "%s does not unpack", type->short_name);
    assert_packs_to(msg, w);
    return msg;
}

#endif
