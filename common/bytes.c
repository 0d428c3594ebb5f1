/* bytes.c - see bytes.h: text to numbers, checked copies, UTF-8. */
#include "common/bytes.h"

#include "common/word.h"

/* Consumes a sign; true when it was a minus. */
static bool take_sign(struct bytes *text)
{
    if (text->len == 0 || (text->at[0] != '-' && text->at[0] != '+'))
        return false;
    bool minus = text->at[0] == '-';
    text->at++;
    text->len--;
    return minus;
}

bool bytes_to_i64(struct bytes text, int64_t *out)
{
    bool minus = take_sign(&text);
    uint64_t v = 0;

    if (text.len == 0)
        return false;
    /* 18 digits cannot overflow; only longer text (leading zeros, bounds) needs the check. */
    size_t plain = text.len < 18 ? text.len : 18;
    for (size_t i = 0; i < plain; i++) {
        unsigned digit = text.at[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        v = v * 10 + digit;
    }
    for (size_t i = plain; i < text.len; i++) {
        unsigned digit = text.at[i] - (unsigned)'0';
        if (digit > 9 || v > ((uint64_t)INT64_MAX + 1 - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > (uint64_t)INT64_MAX + minus)
        return false;
    /* Conversion of a value above INT64_MAX wraps to INT64_MIN, as gcc and clang define it. */
    *out = (int64_t)(minus ? 0 - v : v);
    return true;
}

bool bytes_to_i32(struct bytes text, int32_t *out)
{
    int64_t v;

    if (!bytes_to_i64(text, &v) || v < INT32_MIN || v > INT32_MAX)
        return false;
    *out = (int32_t)v;
    return true;
}

size_t bytes_from_i64(int64_t v, uint8_t to[BYTES_I64_TEXT_MAX])
{
    uint8_t text[BYTES_I64_TEXT_MAX];
    uint8_t *end = text + sizeof(text);
    uint8_t *at = end;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        *--at = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        *--at = '-';
    memcpy(to, at, (size_t)(end - at));
    return (size_t)(end - at);
}

bool bytes_to_bool(struct bytes text)
{
    /* A letter and its capital differ in bit 0x20 only. */
    return text.len == 4 && (text.at[0] | 0x20) == 't' && (text.at[1] | 0x20) == 'r' &&
           (text.at[2] | 0x20) == 'u' && (text.at[3] | 0x20) == 'e';
}

bool bytes_to_cstr(struct bytes text, char *to, size_t to_size)
{
    if (to_size == 0)
        return false;
    to[0] = 0;
    if (text.len >= to_size || (text.len && memchr(text.at, 0, text.len)))
        return false;
    if (text.len)
        memcpy(to, text.at, text.len);
    to[text.len] = 0;
    return true;
}

/* Unicode, table 3-7: well-formed byte sequences. */
unsigned bytes_utf8_at(struct bytes text, uint32_t *point)
{
    const uint8_t *at = text.at;
    uint8_t first = at[0];

    if (first < 0x80) {
        *point = first;
        return 1;
    }
    if (first < 0xC2 || text.len < 2 || (at[1] & 0xC0) != 0x80)
        return 0;
    if (first < 0xE0) {
        *point = (first & 0x1Fu) << 6 | (at[1] & 0x3Fu);
        return 2;
    }
    if (text.len < 3 || (at[2] & 0xC0) != 0x80)
        return 0;
    if (first < 0xF0) {
        *point = (first & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
        return *point < 0x800 || (*point >= 0xD800 && *point < 0xE000) ? 0 : 3;
    }
    if (first > 0xF4 || text.len < 4 || (at[3] & 0xC0) != 0x80)
        return 0;
    *point = (first & 0x07u) << 18 | (at[1] & 0x3Fu) << 12 | (at[2] & 0x3Fu) << 6 | (at[3] & 0x3Fu);
    return *point < 0x10000 || *point > 0x10FFFF ? 0 : 4;
}

unsigned bytes_utf8_put(uint8_t to[4], uint32_t point)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xC0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xE0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        to[2] = (uint8_t)(0x80 | (point & 0x3F));
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    to[3] = (uint8_t)(0x80 | (point & 0x3F));
    return 4;
}

int32_t bytes_java_hash(struct bytes text)
{
    return bytes_java_hash_on(0, text);
}

/* Of eight bytes below 0x80: pairs of neighbours become one number, then pairs of these. */
static uint32_t java_hash_of_8(uint64_t word)
{
    const uint64_t odd_8 = UINT64_C(0x00FF00FF00FF00FF), odd_16 = UINT64_C(0x0000FFFF0000FFFF);
    uint64_t twos = (word & odd_8) * 31 + (word >> 8 & odd_8);
    uint64_t fours = (twos & odd_16) * (31 * 31) + (twos >> 16 & odd_16);

    return (uint32_t)fours * (31u * 31 * 31 * 31) + (uint32_t)(fours >> 32);
}

int32_t bytes_java_hash_on(int32_t before, struct bytes text)
{
    const uint32_t shift_8 = 31u * 31 * 31 * 31 * (31u * 31 * 31 * 31);
    uint32_t hash = (uint32_t)before;

    while (text.len) {
        uint32_t point;
        unsigned size;

        if (text.len >= 8 && !word_find_high(word_load(text.at))) {
            hash = hash * shift_8 + java_hash_of_8(word_load(text.at));
            text.at += 8;
            text.len -= 8;
            continue;
        }
        if (text.at[0] < 0x80) {
            hash = hash * 31 + text.at[0];
            text.at++;
            text.len--;
            continue;
        }
        size = bytes_utf8_at(text, &point);
        if (size == 0) {
            point = 0xFFFD;
            size = 1;
        }
        if (point >= 0x10000) {
            hash = hash * 31 + (0xD800 + ((point - 0x10000) >> 10));
            hash = hash * 31 + (0xDC00 + (point & 0x3FF));
        } else {
            hash = hash * 31 + point;
        }
        text.at += size;
        text.len -= size;
    }
    return (int32_t)hash;
}

bool bytes_is_utf8(struct bytes text)
{
    while (text.len) {
        uint32_t point;
        unsigned size;

        if (text.len >= 8 && !word_find_high(word_load(text.at))) {
            text.at += 8;
            text.len -= 8;
            continue;
        }
        size = bytes_utf8_at(text, &point);
        if (size == 0)
            return false;
        text.at += size;
        text.len -= size;
    }
    return true;
}
