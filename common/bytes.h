/* bytes.h - a view of bytes, big-endian loads and stores, a bounded reader.
 *
 * All integers on the wire and in the store are big-endian two's complement.
 * A `struct bytes` borrows: whoever hands one out says until when it holds.
 * A reader never reads past its end; after the first short read `bad` stays set
 * and every further read yields zero, so a parser checks once at the end.
 */
#ifndef TERN_COMMON_BYTES_H
#define TERN_COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *at;
    size_t len;
};

static inline struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = (const uint8_t *)at, .len = len};
}

static inline struct bytes bytes_str(const char *text)
{
    return bytes_of(text, text ? strlen(text) : 0);
}

#define BYTES_LIT(literal) bytes_of("" literal, sizeof(literal) - 1)

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool bytes_is(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_str(text));
}

static inline bool bytes_starts(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.at, prefix.at, prefix.len) == 0);
}

/* Decimal with an optional sign, nothing else; false leaves *out untouched. */
bool bytes_to_i64(struct bytes text, int64_t *out);
bool bytes_to_i32(struct bytes text, int32_t *out);
/* Decimal text of v, without a NUL; returns its length. */
enum { BYTES_I64_TEXT_MAX = 20 };
size_t bytes_from_i64(int64_t v, uint8_t to[BYTES_I64_TEXT_MAX]);
/* "true" in any case is true, all else is false (remoting protocol, Booleans). */
bool bytes_to_bool(struct bytes text);
/* Copies into `to` with a closing NUL; false (to[0] = 0) when it does not fit or holds a NUL. */
bool bytes_to_cstr(struct bytes text, char *to, size_t to_size);
/* Java's String.hashCode over UTF-16 units of valid UTF-8; stray bytes count as U+FFFD. */
int32_t bytes_java_hash(struct bytes text);
/* The same, going on from the hash of the text before. */
int32_t bytes_java_hash_on(int32_t before, struct bytes text);
/* Well-formed UTF-8 (no overlongs, no surrogates). */
bool bytes_is_utf8(struct bytes text);
/* The code point that text, which is not empty, begins with, and its size of 1 to 4 bytes; 0 where
 * it does not begin with well-formed UTF-8 (*point is then unspecified). */
unsigned bytes_utf8_at(struct bytes text, uint32_t *point);
/* Puts a code point up to 0x10FFFF as UTF-8; returns its size. */
unsigned bytes_utf8_put(uint8_t to[4], uint32_t point);

static inline uint16_t load_be16(const uint8_t *p)
{
    return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}
static inline uint32_t load_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t load_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void store_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void store_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline struct reader reader_of(struct bytes in)
{
    if (!in.at) /* C gives NULL no arithmetic, not even + 0 */
        in = BYTES_LIT("");
    return (struct reader){.at = in.at, .end = in.at + in.len, .bad = false};
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}
/* The next n bytes, borrowed from the input; empty and `bad` when fewer are left. */
static inline struct bytes reader_take(struct reader *r, size_t n)
{
    struct bytes out = {r->at, n};
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return (struct bytes){NULL, 0};
    }
    r->at += n;
    return out;
}
static inline uint8_t reader_u8(struct reader *r)
{
    struct bytes b = reader_take(r, 1);
    return b.len ? b.at[0] : 0;
}
static inline uint16_t reader_u16(struct reader *r)
{
    struct bytes b = reader_take(r, 2);
    return b.len ? load_be16(b.at) : 0;
}
static inline uint32_t reader_u32(struct reader *r)
{
    struct bytes b = reader_take(r, 4);
    return b.len ? load_be32(b.at) : 0;
}
static inline uint64_t reader_u64(struct reader *r)
{
    struct bytes b = reader_take(r, 8);
    return b.len ? load_be64(b.at) : 0;
}

#endif
