/* json_stops.h - where the strings of JSON text stop: the quotes and backslashes of 16 or 64 bytes
 * as bits, the first byte lowest. Internal to the header parser (common/remoting_json.c). */
#ifndef TERN_COMMON_JSON_STOPS_H
#define TERN_COMMON_JSON_STOPS_H

#include "common/word.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline uint64_t json_stops_8_by_word(const uint8_t *at)
{
    uint64_t word = word_load(at);

    return word_bits(word_find_all(word, '"') | word_find_all(word, '\\'));
}

static inline uint64_t json_stops_16_by_word(const uint8_t *at)
{
    return json_stops_8_by_word(at) | json_stops_8_by_word(at + 8) << 8;
}

static inline uint64_t json_stops_16(const uint8_t *at)
{
#ifdef __SSE2__
    __m128i piece = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i quotes = _mm_cmpeq_epi8(piece, _mm_set1_epi8('"'));
    __m128i backslashes = _mm_cmpeq_epi8(piece, _mm_set1_epi8('\\'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(quotes, backslashes));
#else
    return json_stops_16_by_word(at);
#endif
}

static inline uint64_t json_stops_64(const uint8_t *at)
{
    return json_stops_16(at) | json_stops_16(at + 16) << 16 | json_stops_16(at + 32) << 32 |
           json_stops_16(at + 48) << 48;
}

#endif
