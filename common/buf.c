/* buf.c - see buf.h. Growth doubles; bytes that were consumed from the front make room again by
 * moving the rest to the start of the memory. */
#include "common/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST = 256 };

void buf_destroy(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return NULL;
    if (b->data && n <= b->cap - b->head - b->len)
        return b->data + b->head + b->len;

    /* Moving only when that frees at least what it copies keeps the cost per byte constant. */
    if (b->data && b->head >= b->len && n <= b->cap - b->len) {
        memcpy(b->data, b->data + b->head, b->len);
        b->head = 0;
        return b->data + b->len;
    }

    size_t cap = b->cap ? b->cap : BUF_FIRST / 2;
    do {
        if (cap > SIZE_MAX / 2) {
            b->failed = true;
            return NULL;
        }
        cap *= 2;
    } while (cap - b->len < n);
    uint8_t *data;
    if (b->head == 0) {
        data = realloc(b->data, cap);
    } else {
        data = malloc(cap);
        if (data) {
            memcpy(data, b->data + b->head, b->len);
            free(b->data);
        }
    }
    if (!data) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    b->head = 0;
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *at, size_t n)
{
    if (n == 0)
        return;
    uint8_t *to = buf_reserve(b, n);
    if (!to)
        return;
    memcpy(to, at, n);
    b->len += n;
}

void buf_add_str(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_u8(struct buf *b, uint8_t v)
{
    uint8_t *to = buf_reserve(b, 1);
    if (!to)
        return;
    *to = v;
    b->len += 1;
}

void buf_add_be16(struct buf *b, uint16_t v)
{
    uint8_t *to = buf_reserve(b, 2);
    if (!to)
        return;
    store_be16(to, v);
    b->len += 2;
}

void buf_add_be32(struct buf *b, uint32_t v)
{
    uint8_t *to = buf_reserve(b, 4);
    if (!to)
        return;
    store_be32(to, v);
    b->len += 4;
}

void buf_add_be64(struct buf *b, uint64_t v)
{
    uint8_t *to = buf_reserve(b, 8);
    if (!to)
        return;
    store_be64(to, v);
    b->len += 8;
}

void buf_add_i64_text(struct buf *b, int64_t v)
{
    uint8_t text[BYTES_I64_TEXT_MAX];

    buf_add(b, text, bytes_from_i64(v, text));
}

void buf_addf(struct buf *b, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
    } else {
        /* vsnprintf closes with a NUL, which needs room but is not counted. */
        uint8_t *to = buf_reserve(b, (size_t)n + 1);
        if (to) {
            vsnprintf((char *)to, (size_t)n + 1, format, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->len -= n;
    b->head = b->len ? b->head + n : 0;
}
