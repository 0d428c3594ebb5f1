/* remoting_fixture.h - a decoded frame for tests, in memory of exactly its size, so that
 * AddressSanitizer sees every step beyond it. */
#ifndef TERN_TESTS_REMOTING_FIXTURE_H
#define TERN_TESTS_REMOTING_FIXTURE_H

#include "common/remoting.h"
#include "unit.h"

struct decoded {
    uint8_t *memory;
    size_t len;
    int result;
    const char *why;
    struct remoting_frame frame;
};

static inline void decoded_destroy(struct decoded *d)
{
    free(d->memory);
    d->memory = NULL;
}

/* Decodes a copy of `frame`. */
static inline void decode_frame(struct decoded *d, struct bytes frame)
{
    d->memory = malloc(frame.len ? frame.len : 1);
    ck_assert_ptr_nonnull(d->memory);
    if (frame.len)
        memcpy(d->memory, frame.at, frame.len);
    d->len = frame.len;
    d->result = remoting_decode(d->memory, d->len, &d->frame, &d->why);
    ck_assert_msg((d->result == 0) == (d->why == NULL), "a reason without failure or the reverse");
}

/* Decodes a frame made of a header and a body. */
static inline void decode_header(struct decoded *d, unsigned serialize, struct bytes header,
                                 struct bytes body)
{
    struct buf b = {0};

    buf_add_be32(&b, (uint32_t)(4 + header.len + body.len));
    buf_add_be32(&b, serialize << 24 | (uint32_t)header.len);
    buf_add(&b, header.at, header.len);
    buf_add(&b, body.at, body.len);
    ck_assert(!b.failed);
    decode_frame(d, buf_bytes(&b));
    buf_destroy(&b);
}

/* Whether everything a good frame points to lies within it. */
static inline bool lies_within(const struct decoded *d, struct bytes b)
{
    return b.len == 0 || (b.at >= d->memory && b.len <= (size_t)(d->memory + d->len - b.at));
}
static inline bool is_within(const struct decoded *d)
{
    const struct remoting_frame *f = &d->frame;

    if (f->field_count > REMOTING_FIELDS_MAX || f->language >= REMOTING_LANGUAGES ||
        !lies_within(d, f->remark) || !lies_within(d, f->body))
        return false;
    for (size_t i = 0; i < f->field_count; i++)
        if (!lies_within(d, f->fields[i].key) || !lies_within(d, f->fields[i].value))
            return false;
    return true;
}

static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Changes, removes or doubles a few bytes of a copy of `frame`, then decodes it. The frame's
 * lengths are put right again most of the time, to get past them. */
static inline void decode_mutated(struct decoded *d, struct bytes frame, uint32_t *random)
{
    static const char likely[] = "\"\\{}[]:,0123456789-+.eEu\x01\x80\xFF\n ntf";
    struct buf b = {0};

    buf_add(&b, frame.at, frame.len);
    ck_assert(!b.failed);
    for (uint32_t n = 1 + next_random(random) % 4; n; n--) {
        size_t at = 8 + next_random(random) % (b.len - 8);
        switch (next_random(random) % 4) {
        case 0:
            b.data[at] = (uint8_t)likely[next_random(random) % (sizeof(likely) - 1)];
            break;
        case 1:
            b.data[at] ^= (uint8_t)(1u << next_random(random) % 8);
            break;
        case 2:
            memmove(b.data + at, b.data + at + 1, b.len - at - 1);
            b.len--;
            break;
        case 3:
            buf_add_u8(&b, 0);
            ck_assert(!b.failed);
            memmove(b.data + at + 1, b.data + at, b.len - at - 1);
            break;
        }
    }
    if (next_random(random) % 8) {
        uint32_t head = load_be32(b.data + 4);
        uint32_t header_len = (head & 0xFFFFFF) + (uint32_t)b.len - (uint32_t)frame.len;
        store_be32(b.data, (uint32_t)(b.len - 4));
        store_be32(b.data + 4, (head & 0xFF000000) | (header_len & 0xFFFFFF));
    }
    decode_frame(d, buf_bytes(&b));
    buf_destroy(&b);
}

#endif
