/* word.h - eight bytes looked at at once, for loops that search text.
 *
 * A search gives a word with bit 7 of every found byte set. Only the first found byte, in order of
 * address, is certain: a borrow may mark bytes above it wrongly. Little-endian, as bytes.h is.
 */
#ifndef TERN_COMMON_WORD_H
#define TERN_COMMON_WORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t word_load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}
static inline uint64_t word_each(uint8_t byte)
{
    return 0x0101010101010101u * byte;
}
/* Bytes below `limit`, which is at most 0x80. */
static inline uint64_t word_find_below(uint64_t word, uint8_t limit)
{
    return (word - word_each(limit)) & ~word & word_each(0x80);
}
static inline uint64_t word_find(uint64_t word, uint8_t byte)
{
    return word_find_below(word ^ word_each(byte), 1);
}
/* Bytes 0x80 and above; all of them certain. */
static inline uint64_t word_find_high(uint64_t word)
{
    return word & word_each(0x80);
}
/* Like word_find, and all found bytes are certain. */
static inline uint64_t word_find_all(uint64_t word, uint8_t byte)
{
    uint64_t low = word_each(0x7F);
    uint64_t zero_if = word ^ word_each(byte);
    return ~(((zero_if & low) + low) | zero_if | low);
}
/* The found bytes, which must all be certain, as 8 bits. */
static inline uint64_t word_bits(uint64_t found)
{
    return (found >> 7) * 0x0102040810204080u >> 56;
}
/* The position of the first found byte; `found` is not 0. */
static inline size_t word_first(uint64_t found)
{
    return (size_t)__builtin_ctzll(found) / 8;
}

#endif
