/* buf.h - a growing byte buffer, the place where replies and files are put together.
 *
 * Owned by whoever declared it, used by one thread at a time. An allocation that
 * fails sets `failed` and makes every later add a no-op, so a writer checks once.
 * Bytes live at data[head .. head+len); buf_consume() drops from the front.
 */
#ifndef TERN_COMMON_BUF_H
#define TERN_COMMON_BUF_H

#include "common/bytes.h"

struct buf {
    uint8_t *data;
    size_t head;
    size_t len;
    size_t cap;
    bool failed;
};

void buf_destroy(struct buf *b); /* frees; safe on zeroes and twice */
/* Room for n more bytes; returns where they go, or NULL (failed is set). Does not change len. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *at, size_t n);
void buf_add_str(struct buf *b, const char *text);
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_be16(struct buf *b, uint16_t v);
void buf_add_be32(struct buf *b, uint32_t v);
void buf_add_be64(struct buf *b, uint64_t v);
void buf_add_i64_text(struct buf *b, int64_t v); /* decimal, no allocation beyond growth */
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n);

static inline uint8_t *buf_at(const struct buf *b)
{
    return b->data ? b->data + b->head : NULL;
}
static inline struct bytes buf_bytes(const struct buf *b)
{
    return bytes_of(buf_at(b), b->len);
}
static inline void buf_reset(struct buf *b) /* keeps the memory */
{
    b->head = b->len = 0;
    b->failed = false;
}

#endif
