/* record.c - see record.h.
 *
 * The whole-record CRC has to cover fields that are known only under the append lock. They all lie
 * in the first hundred bytes, so for a big record encode sums up everything behind them beforehand
 * and leaves that sum, and the factor that carries the front's sum over it, in the place of the ten
 * digits; seal then joins the two halves: crc(front rest) = crc(front) * x^(8 * len(rest)) +
 * crc(rest) over GF(2), modulo the CRC's polynomial.
 */
#include "broker/store/record.h"

#include <assert.h>
#include <errno.h>

#include "common/crc.h"

enum {
    HOST_V4_BYTES = 8,
    HOST_V6_BYTES = 20,
    FIXED_BYTES_V1 = 91 - 2 * HOST_V4_BYTES, /* all but hosts, body, topic, properties */
    SYS_FLAG_AT = 36,
    BORN_HOST_AT = 48,
    CRC_NAME_BYTES = sizeof(RECORD_CRC_NAME) - 1,
    CRC_DIGITS = 10,
    CRC_BIG_RECORD = 2048, /* from this size on, encode prepares the sum for seal */
    NAME_END = 1,
    ITEM_END = 2,
};
_Static_assert(CRC_NAME_BYTES + 1 + CRC_DIGITS + 1 == RECORD_CRC_BYTES, "the CRC property's size");

/* --- sums of joined parts --- */

#define CRC_POLYNOMIAL 0xEDB88320u

/* x^(8 * 2^k) modulo the polynomial; bit 31 is x^0. Squares of one another. */
static const uint32_t byte_powers[31] = {
    0x00800000, 0x00008000, 0xEDB88320, 0xB1E6B092, 0xA06A2517, 0xED627DAE, 0x88D14467, 0xD7BBFE6A,
    0xEC447F11, 0x8E7EA170, 0x6427800E, 0x4D47BAE0, 0x09FE548F, 0x83852D0F, 0x30362F1A, 0x7B5A9CC3,
    0x31FEC169, 0x9FEC022A, 0x6C8DEDC4, 0x15D6874D, 0x5FDE7A4E, 0xBAD90E37, 0x2E4E5EEF, 0x4EABA214,
    0xA8A472C0, 0x429A969E, 0x148D302A, 0xC40BA6D0, 0xC4E22C3C, 0x40000000, 0x20000000,
};

static uint32_t crc_multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;

    for (int bit = 31; bit >= 0; bit--) {
        product ^= b & (0u - (a >> bit & 1));
        b = b >> 1 ^ (CRC_POLYNOMIAL & (0u - (b & 1)));
    }
    return product;
}

/* What a sum is multiplied by when `len` more bytes follow. */
static uint32_t crc_shift(size_t len)
{
    uint32_t shift = 0x80000000u;

    for (int k = 0; len > 0; k++, len >>= 1) {
        if (len & 1)
            shift = crc_multiply(shift, byte_powers[k]);
    }
    return shift;
}

/* --- hosts --- */

static size_t host_bytes(bool v6)
{
    return v6 ? HOST_V6_BYTES : HOST_V4_BYTES;
}

static struct record_host read_host(struct reader *r, bool v6)
{
    struct record_host host = {.v6 = v6};
    struct bytes ip = reader_take(r, v6 ? 16 : 4);

    if (ip.len)
        memcpy(host.ip, ip.at, ip.len);
    host.port = (int32_t)reader_u32(r);
    return host;
}

static uint8_t *put_host(uint8_t *to, const struct record_host *host)
{
    size_t n = host->v6 ? 16 : 4;

    memcpy(to, host->ip, n);
    store_be32(to + n, (uint32_t)host->port);
    return to + n + 4;
}

/* --- reading --- */

/* Takes a length that Java has signed, and as many bytes. */
static struct bytes read_counted(struct reader *r, int64_t len)
{
    if (len < 0) {
        r->bad = true;
        return (struct bytes){0};
    }
    return reader_take(r, (size_t)len);
}

static bool read_fields(struct bytes whole, struct record *out)
{
    struct reader r = reader_of(whole);

    out->total_size = reader_u32(&r);
    out->magic = reader_u32(&r);
    out->body_crc = reader_u32(&r);
    out->queue_id = (int32_t)reader_u32(&r);
    out->flag = (int32_t)reader_u32(&r);
    out->queue_offset = (int64_t)reader_u64(&r);
    out->log_offset = (int64_t)reader_u64(&r);
    out->sys_flag = (int32_t)reader_u32(&r);
    out->born_ms = (int64_t)reader_u64(&r);
    out->born_host = read_host(&r, out->sys_flag & RECORD_BORN_V6);
    out->store_ms = (int64_t)reader_u64(&r);
    out->store_host = read_host(&r, out->sys_flag & RECORD_STORE_V6);
    out->reconsume_times = (int32_t)reader_u32(&r);
    out->prepared_offset = (int64_t)reader_u64(&r);
    out->body = read_counted(&r, (int32_t)reader_u32(&r));
    if (out->magic == RECORD_MAGIC_V1)
        out->topic = read_counted(&r, (int8_t)reader_u8(&r));
    else
        out->topic = read_counted(&r, (int16_t)reader_u16(&r));
    out->properties = read_counted(&r, (int16_t)reader_u16(&r));
    return !r.bad && reader_left(&r) == 0;
}

int record_decode(struct bytes in, struct record *out)
{
    struct record r = {0};

    *out = (struct record){0};
    if (in.len < 4)
        return RECORD_PARTIAL;
    r.total_size = load_be32(in.at);
    if (r.total_size < RECORD_BLANK_BYTES || r.total_size > INT32_MAX)
        return RECORD_BAD;
    if (in.len < 8) {
        out->total_size = r.total_size;
        return RECORD_PARTIAL;
    }
    r.magic = load_be32(in.at + 4);
    if (r.magic == RECORD_MAGIC_BLANK) {
        out->total_size = r.total_size;
        out->magic = r.magic;
        return RECORD_BLANK;
    }
    if (r.magic != RECORD_MAGIC_V1 && r.magic != RECORD_MAGIC_V2)
        return RECORD_BAD;
    if (r.total_size < FIXED_BYTES_V1 + 2 * HOST_V4_BYTES)
        return RECORD_BAD;
    if (in.len < r.total_size) {
        out->total_size = r.total_size;
        return RECORD_PARTIAL;
    }
    if (!read_fields(bytes_of(in.at, r.total_size), &r))
        return RECORD_BAD;
    *out = r;
    return 0;
}

static void put_digits(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < CRC_DIGITS; i++, value /= 10)
        to[i] = (uint8_t)('0' + value % 10);
}

/* False when they are not digits. */
static bool read_digits(const uint8_t *at, uint64_t *value)
{
    uint64_t v = 0;

    for (int i = CRC_DIGITS - 1; i >= 0; i--) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(at[i] - '0');
    }
    *value = v;
    return true;
}

/* The last bytes of the properties, looked at as the CRC property: what of it is there. */
struct crc_look {
    const uint8_t *at; /* NULL: the text is too short */
    bool name, ends;   /* its name; 0x01 and 0x02 where they belong */
    bool begins;       /* another item's end is before it, or nothing */
    bool number;       /* ten digits, which are `value` */
    uint64_t value;
};

static struct crc_look look_for_crc(struct bytes properties)
{
    struct crc_look look = {0};

    if (properties.len < RECORD_CRC_BYTES)
        return look;
    look.at = properties.at + properties.len - RECORD_CRC_BYTES;
    look.name = memcmp(look.at, RECORD_CRC_NAME, CRC_NAME_BYTES) == 0;
    look.ends = look.at[CRC_NAME_BYTES] == NAME_END && look.at[RECORD_CRC_BYTES - 1] == ITEM_END;
    look.begins = properties.len == RECORD_CRC_BYTES || look.at[-1] == ITEM_END;
    look.number = read_digits(look.at + CRC_NAME_BYTES + 1, &look.value);
    return look;
}

bool record_has_crc(const struct record *r)
{
    struct crc_look look = look_for_crc(r->properties);

    return look.name && look.ends && look.begins;
}

/* The sum that the record should have, as if the byte before the property were an item's end. */
static uint32_t crc_with_separator(struct bytes covered)
{
    const uint8_t separator = ITEM_END;

    return crc32_of(crc32_of(0, bytes_of(covered.at, covered.len - 1)), bytes_of(&separator, 1)) &
           0x7FFFFFFFu;
}

static int bad(const char **why, const char *text)
{
    *why = text;
    return RECORD_BAD;
}

/* A property that is the CRC but for its name, or for the byte before it, is a damaged one: a text
 * that is none does not have the right number by chance. */
static int check_crc(const struct record *r, struct bytes whole, const char **why)
{
    struct crc_look look = look_for_crc(r->properties);
    struct bytes covered = {0};

    /* What ended with a CRC, and lacks its last sector after a power cut, must not pass for a
     * record without one. No text ends like that: see record_size(). */
    if (r->properties.len > 0 && r->properties.at[r->properties.len - 1] == 0)
        return bad(why, "its end was never written");
    if (!look.at || (!look.name && !look.ends))
        return 0;
    covered = bytes_of(whole.at, whole.len - RECORD_CRC_BYTES);
    if (look.name && look.begins && (!look.ends || !look.number))
        return bad(why, "its checksum is not a number");
    if (look.name && look.begins)
        return look.value == crc31_of(covered) ? 0 : bad(why, "its checksum differs");
    if (!look.ends || !look.number)
        return 0;
    if (!look.name && look.value == crc31_of(covered))
        return bad(why, "its checksum has lost its name");
    if (look.name && look.value == crc_with_separator(covered))
        return bad(why, "its checksum differs");
    return 0;
}

int record_check(const struct record *r, struct bytes whole, int64_t log_offset, const char **why)
{
    if (whole.len != r->total_size)
        return bad(why, "its length is not that of the bytes it stands in");
    if (log_offset >= 0 && r->log_offset != log_offset)
        return bad(why, "it names another log offset than its own");
    if (r->body.len > 0 && r->body_crc != crc31_of(r->body))
        return bad(why, "the checksum of its body differs");
    return check_crc(r, whole, why);
}

/* --- writing --- */

static bool needs_separator(struct bytes properties)
{
    return properties.len > 0 && properties.at[properties.len - 1] != ITEM_END;
}

/* PROPLEN, or SIZE_MAX when the text is too long, or cannot be told from a torn one. */
static size_t stored_properties(const struct record *r, bool with_crc)
{
    size_t n = r->properties.len;

    if (n > RECORD_PROPERTIES_MAX)
        return SIZE_MAX;
    if (!with_crc && n > 0 && r->properties.at[n - 1] == 0)
        return SIZE_MAX; /* record_check() would take it for torn */
    if (with_crc)
        n += (needs_separator(r->properties) ? 1 : 0) + RECORD_CRC_BYTES;
    return n > RECORD_PROPERTIES_MAX ? SIZE_MAX : n;
}

size_t record_size(const struct record *r, bool with_crc)
{
    size_t properties = stored_properties(r, with_crc);
    size_t rest;

    if (r->topic.len > RECORD_TOPIC_MAX || properties == SIZE_MAX)
        return 0;
    rest = FIXED_BYTES_V1 + host_bytes(r->born_host.v6) + host_bytes(r->store_host.v6) +
           r->topic.len + properties;
    if (r->body.len > INT32_MAX - rest)
        return 0;
    return rest + r->body.len;
}

static uint8_t *put_bytes(uint8_t *to, struct bytes b)
{
    if (b.len)
        memcpy(to, b.at, b.len);
    return to + b.len;
}

/* One past the last late field but the digits: the store time ends here. */
static size_t late_end(int32_t sys_flag)
{
    return BORN_HOST_AT + host_bytes(sys_flag & RECORD_BORN_V6) + 8;
}

/* The sum of what lies between the late fields and the digits; the body's own sum is known. */
static void prepare_crc(uint8_t *digits, const uint8_t *record, size_t covered, int32_t sys_flag,
                        size_t body_at, size_t body_len, uint32_t body_crc)
{
    size_t from = late_end(sys_flag);
    uint32_t rest = crc32_of(0, bytes_of(record + from, body_at - from));

    rest = crc_multiply(rest, crc_shift(body_len)) ^ body_crc;
    rest = crc32_of(rest, bytes_of(record + body_at + body_len, covered - body_at - body_len));
    store_be32(digits, rest);
    store_be32(digits + 4, crc_shift(covered - from));
}

void record_encode(uint8_t *to, const struct record *r, bool with_crc)
{
    size_t size = record_size(r, with_crc);
    int32_t sys_flag = r->sys_flag & ~(RECORD_BORN_V6 | RECORD_STORE_V6);
    uint32_t body_crc = crc32_of(0, r->body);
    uint8_t *p = to, *body;

    assert(size > 0);
    if (r->born_host.v6)
        sys_flag |= RECORD_BORN_V6;
    if (r->store_host.v6)
        sys_flag |= RECORD_STORE_V6;

    store_be32(p, (uint32_t)size);
    store_be32(p + 4, RECORD_MAGIC_V1);
    store_be32(p + 8, body_crc & 0x7FFFFFFFu);
    store_be32(p + 12, (uint32_t)r->queue_id);
    store_be32(p + 16, (uint32_t)r->flag);
    memset(p + 20, 0, 16);
    store_be32(p + SYS_FLAG_AT, (uint32_t)sys_flag);
    store_be64(p + 40, (uint64_t)r->born_ms);
    p = put_host(p + BORN_HOST_AT, &r->born_host);
    memset(p, 0, 8);
    p = put_host(p + 8, &r->store_host);
    store_be32(p, (uint32_t)r->reconsume_times);
    store_be64(p + 4, (uint64_t)r->prepared_offset);
    store_be32(p + 12, (uint32_t)r->body.len);
    body = p + 16;
    p = put_bytes(body, r->body);
    *p++ = (uint8_t)r->topic.len;
    p = put_bytes(p, r->topic);
    store_be16(p, (uint16_t)stored_properties(r, with_crc));
    p = put_bytes(p + 2, r->properties);
    if (with_crc) {
        if (needs_separator(r->properties))
            *p++ = ITEM_END;
        memcpy(p, RECORD_CRC_NAME, CRC_NAME_BYTES);
        p[CRC_NAME_BYTES] = NAME_END;
        memset(p + CRC_NAME_BYTES + 1, '0', CRC_DIGITS);
        p[RECORD_CRC_BYTES - 1] = ITEM_END;
        if (size >= CRC_BIG_RECORD)
            prepare_crc(p + CRC_NAME_BYTES + 1, to, size - RECORD_CRC_BYTES, sys_flag,
                        (size_t)(body - to), r->body.len, body_crc);
        p += RECORD_CRC_BYTES;
    }
    assert((size_t)(p - to) == size);
}

void record_seal(uint8_t *at, size_t size, int64_t queue_offset, int64_t log_offset,
                 int64_t store_ms, bool with_crc)
{
    size_t front = late_end((int32_t)load_be32(at + SYS_FLAG_AT));
    uint8_t *digits = at + size - 1 - CRC_DIGITS;
    uint32_t crc;

    store_be64(at + 20, (uint64_t)queue_offset);
    store_be64(at + 28, (uint64_t)log_offset);
    store_be64(at + front - 8, (uint64_t)store_ms);
    if (!with_crc)
        return;
    if (size >= CRC_BIG_RECORD) {
        uint32_t rest = load_be32(digits), shift = load_be32(digits + 4);
        crc = crc_multiply(crc32_of(0, bytes_of(at, front)), shift) ^ rest;
    } else {
        crc = crc32_of(0, bytes_of(at, size - RECORD_CRC_BYTES));
    }
    put_digits(digits, crc & 0x7FFFFFFFu);
}

void record_blank(uint8_t *to, uint32_t bytes_left)
{
    store_be32(to, bytes_left);
    store_be32(to + 4, RECORD_MAGIC_BLANK);
}

/* --- message ids --- */

size_t record_id_format(char to[RECORD_ID_MAX], const struct record_host *host, int64_t log_offset)
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t raw[HOST_V6_BYTES + 8];
    uint8_t *end = put_host(raw, host);
    size_t n;

    store_be64(end, (uint64_t)log_offset);
    n = (size_t)(end + 8 - raw);
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = hex[raw[i] >> 4];
        to[2 * i + 1] = hex[raw[i] & 15];
    }
    to[2 * n] = '\0';
    return 2 * n;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int record_id_parse(struct bytes text, struct record_host *host, int64_t *log_offset)
{
    uint8_t raw[HOST_V6_BYTES + 8];
    struct record_host parsed;
    struct reader r;
    uint64_t offset;

    if (text.len != 2 * (HOST_V4_BYTES + 8) && text.len != 2 * (HOST_V6_BYTES + 8))
        return -EINVAL;
    for (size_t i = 0; i < text.len / 2; i++) {
        int high = hex_value(text.at[2 * i]), low = hex_value(text.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        raw[i] = (uint8_t)(high << 4 | low);
    }
    r = reader_of(bytes_of(raw, text.len / 2));
    parsed = read_host(&r, text.len == 2 * (HOST_V6_BYTES + 8));
    offset = reader_u64(&r);
    if (offset > INT64_MAX)
        return -EINVAL;
    *host = parsed;
    *log_offset = (int64_t)offset;
    return 0;
}
