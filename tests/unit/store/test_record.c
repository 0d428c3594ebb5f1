/* Claims about the stored message. vectors/records.txt holds records of a real RocketMQ 4.9.8 log.
 */
#include "broker/store/record.h"

#include <errno.h>
#include <stdio.h>

#include "common/crc.h"
#include "unit.h"

/* The stored form of one message, field by field (docs/protocol/store.md). */
static const char EXAMPLE_HEX[] = "000000ac"
                                  "daa320a7"
                                  "3610a686"
                                  "00000000"
                                  "00000000"
                                  "0000000000000000"
                                  "0000000000000000"
                                  "00000000"
                                  "0000018bcfe56800"
                                  "7f0000010000cd90"
                                  "000001a203a4be6d"
                                  "7f000001000051af"
                                  "00000000"
                                  "0000000000000000"
                                  "00000005"
                                  "68656c6c6f"
                                  "02"
                                  "5431"
                                  "004a";
#define EXAMPLE_PROPERTIES                                                                         \
    "UNIQ_KEY\x01"                                                                                 \
    "7F0000010001A1B2C3D4000000010000\x02"                                                         \
    "CLUSTER\x01"                                                                                  \
    "DefaultCluster\x02"                                                                           \
    "TAGS\x01"                                                                                     \
    "TagA"

static int nibble(char c)
{
    ck_assert((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static size_t from_hex(const char *hex, size_t len, uint8_t *to, size_t room)
{
    ck_assert(len % 2 == 0 && len / 2 <= room);
    for (size_t i = 0; i < len / 2; i++)
        to[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return len / 2;
}

static struct record_host host_v4(uint8_t last, int32_t port)
{
    return (struct record_host){.ip = {127, 0, 0, last}, .port = port};
}

static struct record_host host_v6(uint8_t last, int32_t port)
{
    return (struct record_host){.ip = {0x20, 1, 0xd, 0xb8, [15] = last}, .v6 = true, .port = port};
}

static size_t example(uint8_t *to, size_t room)
{
    size_t n = from_hex(EXAMPLE_HEX, sizeof(EXAMPLE_HEX) - 1, to, room);

    ck_assert(n + sizeof(EXAMPLE_PROPERTIES) - 1 <= room);
    memcpy(to + n, EXAMPLE_PROPERTIES, sizeof(EXAMPLE_PROPERTIES) - 1);
    return n + sizeof(EXAMPLE_PROPERTIES) - 1;
}

START_TEST(documented_example_decodes_field_by_field)
{
    uint8_t raw[256];
    size_t n = example(raw, sizeof(raw));
    const char *why = NULL;
    struct record r;

    ck_assert_uint_eq(n, 172);
    ck_assert_int_eq(record_decode(bytes_of(raw, n), &r), 0);
    ck_assert_uint_eq(r.total_size, 172);
    ck_assert_uint_eq(r.magic, RECORD_MAGIC_V1);
    ck_assert_uint_eq(r.body_crc, 0x3610A686);
    ck_assert_int_eq(r.queue_id, 0);
    ck_assert_int_eq(r.queue_offset, 0);
    ck_assert_int_eq(r.log_offset, 0);
    ck_assert_int_eq(r.born_ms, 1700000000000);
    ck_assert_mem_eq(r.born_host.ip, "\x7f\0\0\x01", 4);
    ck_assert_int_eq(r.born_host.port, 52624);
    ck_assert_int_eq(r.store_ms, 0x1a203a4be6d);
    ck_assert_int_eq(r.store_host.port, 20911);
    ck_assert_int_eq(r.reconsume_times, 0);
    ck_assert(bytes_is(r.body, "hello"));
    ck_assert(bytes_is(r.topic, "T1"));
    ck_assert(bytes_equal(r.properties, BYTES_LIT(EXAMPLE_PROPERTIES)));
    ck_assert_int_eq(record_check(&r, bytes_of(raw, n), 0, &why), 0);
}
END_TEST

START_TEST(documented_example_is_encoded_byte_for_byte)
{
    uint8_t want[256], got[256];
    size_t n = example(want, sizeof(want));
    struct record r = {
        .born_ms = 1700000000000,
        .born_host = host_v4(1, 52624),
        .store_host = host_v4(1, 20911),
        .body = BYTES_LIT("hello"),
        .topic = BYTES_LIT("T1"),
        .properties = BYTES_LIT(EXAMPLE_PROPERTIES),
    };

    ck_assert_uint_eq(record_size(&r, false), n);
    record_encode(got, &r, false);
    record_seal(got, n, 0, 0, 0x1a203a4be6d, false);
    ck_assert_mem_eq(got, want, n);
}
END_TEST

/* Reads vectors/records.txt; each(name, log offset, record) for every line. */
static int each_vector(void (*each)(const char *name, int64_t log_offset, struct bytes record))
{
    FILE *f = fopen(TERN_TEST_VECTORS "/records.txt", "re");
    static char line[8192], hex[8192];
    static uint8_t raw[4096];
    char name[64];
    long long offset;
    int count = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#')
            continue;
        ck_assert_int_eq(sscanf(line, "%63s %lld %8191s", name, &offset, hex), 3);
        each(name, offset, bytes_of(raw, from_hex(hex, strlen(hex), raw, sizeof(raw))));
        count++;
    }
    fclose(f);
    return count;
}

static void passes_check(const char *name, int64_t log_offset, struct bytes raw)
{
    const char *why = NULL;
    struct record r;

    ck_assert_msg(record_decode(raw, &r) == 0, "%s does not decode", name);
    ck_assert_msg(record_check(&r, raw, log_offset, &why) == 0, "%s: %s", name, why);
    ck_assert_int_eq(record_check(&r, raw, -1, &why), 0);
    ck_assert_int_eq(record_check(&r, raw, log_offset + 1, &why), RECORD_BAD);
}

static void is_encoded_the_same(const char *name, int64_t log_offset, struct bytes raw)
{
    uint8_t got[4096];
    struct record r;

    (void)log_offset;
    ck_assert_int_eq(record_decode(raw, &r), 0);
    ck_assert_uint_eq(record_size(&r, false), raw.len);
    record_encode(got, &r, false);
    record_seal(got, raw.len, r.queue_offset, r.log_offset, r.store_ms, false);
    ck_assert_msg(memcmp(got, raw.at, raw.len) == 0, "%s comes back changed", name);
}

START_TEST(records_of_a_real_log_pass_every_check)
{
    ck_assert_int_eq(each_vector(passes_check), 13);
}
END_TEST

START_TEST(records_of_a_real_log_are_encoded_byte_for_byte)
{
    ck_assert_int_eq(each_vector(is_encoded_the_same), 13);
}
END_TEST

START_TEST(v2_record_has_a_two_byte_topic_length)
{
    uint8_t raw[512];
    size_t v1 = example(raw, sizeof(raw)), at = 88 + 5;
    struct record r;

    /* 200 bytes of topic in the place of "\x02T1". */
    memmove(raw + at + 2 + 200, raw + at + 3, v1 - at - 3);
    raw[at] = 0;
    raw[at + 1] = 200;
    memset(raw + at + 2, 'x', 200);
    size_t n = v1 - 3 + 2 + 200;
    store_be32(raw, (uint32_t)n);
    store_be32(raw + 4, RECORD_MAGIC_V2);

    ck_assert_int_eq(record_decode(bytes_of(raw, n), &r), 0);
    ck_assert_uint_eq(r.topic.len, 200);
    ck_assert(bytes_equal(r.properties, BYTES_LIT(EXAMPLE_PROPERTIES)));
    store_be32(raw + 4, RECORD_MAGIC_V1);
    ck_assert_int_eq(record_decode(bytes_of(raw, n), &r), RECORD_BAD);
}
END_TEST

START_TEST(ipv6_hosts_set_their_bits_and_come_back)
{
    for (int which = 0; which < 4; which++) {
        struct record r = {
            .sys_flag = RECORD_COMPRESSED | RECORD_BORN_V6 | RECORD_STORE_V6,
            .born_host = which & 1 ? host_v6(7, 4711) : host_v4(7, 4711),
            .store_host = which & 2 ? host_v6(9, 10911) : host_v4(9, 10911),
            .body = BYTES_LIT("b"),
            .topic = BYTES_LIT("T"),
        };
        struct record got;
        uint8_t raw[256];
        const char *why;
        size_t n = record_size(&r, true);

        ck_assert_uint_eq(n, 91 + 2 + 20 + (which & 1 ? 12 : 0) + (which & 2 ? 12 : 0));
        record_encode(raw, &r, true);
        record_seal(raw, n, 5, 1000, 77, true);
        ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
        ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 1000, &why), 0);
        ck_assert_int_eq(got.sys_flag, RECORD_COMPRESSED | (which & 1 ? RECORD_BORN_V6 : 0) |
                                           (which & 2 ? RECORD_STORE_V6 : 0));
        ck_assert_int_eq(got.born_host.v6, which & 1);
        ck_assert_int_eq(got.born_host.port, 4711);
        ck_assert_mem_eq(got.born_host.ip, r.born_host.ip, 16);
        ck_assert_mem_eq(got.store_host.ip, r.store_host.ip, 16);
        ck_assert_int_eq(got.store_ms, 77);
        ck_assert_int_eq(got.queue_offset, 5);
    }
}
END_TEST

START_TEST(crc_property_ends_the_properties_with_reversed_digits)
{
    struct record r = {
        .born_host = host_v4(1, 1),
        .store_host = host_v4(1, 2),
        .body = BYTES_LIT("x"),
        .topic = BYTES_LIT("T"),
        .properties = BYTES_LIT("TAGS\x01"
                                "A"),
    };
    uint8_t raw[256];
    char digits[11];
    size_t n = record_size(&r, true);
    uint32_t crc;

    record_encode(raw, &r, true);
    record_seal(raw, n, 3, 4, 5, true);
    ck_assert_mem_eq(raw + n - 20 - 7,
                     "TAGS\x01"
                     "A\x02"
                     "__CRC32#\x01",
                     16);
    ck_assert_uint_eq(load_be16(raw + n - 20 - 7 - 2), 27);
    ck_assert_int_eq(raw[n - 1], 2);
    crc = crc31_of(bytes_of(raw, n - 20));
    snprintf(digits, sizeof(digits), "%010u", crc);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(raw[n - 11 + (size_t)i], digits[9 - i]);
}
END_TEST

START_TEST(separator_before_the_crc_is_put_only_where_one_is_missing)
{
    struct record r = {.topic = BYTES_LIT("T")};
    size_t bare = 91 + 1;

    ck_assert_uint_eq(record_size(&r, true), bare + 20);
    r.properties = BYTES_LIT("a\x01"
                             "b");
    ck_assert_uint_eq(record_size(&r, true), bare + 3 + 1 + 20);
    r.properties = BYTES_LIT("a\x01"
                             "b\x02");
    ck_assert_uint_eq(record_size(&r, true), bare + 4 + 20);
}
END_TEST

/* Bodies around the size from which encode prepares the sum; both ways must agree with one pass. */
START_TEST(crc_of_big_and_small_records_covers_every_byte)
{
    static uint8_t body[70000], raw[71000];

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i * 31 + i / 251);
    static const size_t sizes[] = {0, 1, 1900, 1901, 1902, 1955, 1956, 1957, 4096, 65535, 70000};
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        struct record got, r = {
                               .born_host = host_v6(1, 1),
                               .store_host = host_v4(1, 2),
                               .body = bytes_of(body, sizes[k]),
                               .topic = BYTES_LIT("BigTopic"),
                               .properties = BYTES_LIT("KEYS\x01k1 k2"),
                           };
        const char *why;
        size_t n = record_size(&r, true);
        uint64_t digits = 0;

        record_encode(raw, &r, true);
        record_seal(raw, n, 12345678901, 98765432101, 1700000000000, true);
        for (int i = 9; i >= 0; i--)
            digits = digits * 10 + (uint64_t)(raw[n - 11 + (size_t)i] - '0');
        ck_assert_uint_eq(digits, crc31_of(bytes_of(raw, n - 20)));
        ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
        ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 98765432101, &why), 0);
    }
}
END_TEST

START_TEST(any_changed_byte_is_noticed)
{
    struct record got, r = {
                           .born_host = host_v4(1, 1),
                           .store_host = host_v4(1, 2),
                           .body = BYTES_LIT("body"),
                           .topic = BYTES_LIT("Topic"),
                           .properties = BYTES_LIT("TAGS\x01"
                                                   "A\x02KEYS\x01"
                                                   "B"),
                       };
    uint8_t raw[256];
    size_t n = record_size(&r, true);
    const char *why;

    record_encode(raw, &r, true);
    record_seal(raw, n, 3, 4, 5, true);
    /* All but the property's name and the separators around it: without them there is no checksum,
     * which is legal, and BODYCRC is all that is left. */
    for (size_t i = 0; i < n - 21; i++) {
        raw[i] ^= 0x10;
        int decoded = record_decode(bytes_of(raw, n), &got);
        ck_assert_msg(decoded != 0 || record_check(&got, bytes_of(raw, n), 4, &why) != 0,
                      "byte %zu", i);
        raw[i] ^= 0x10;
    }
    for (size_t i = n - 11; i < n - 1; i++) {
        raw[i] ^= 1;
        ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
        ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 4, &why), RECORD_BAD);
        raw[i] ^= 1;
    }
    raw[n - 5] = 'x';
    ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
    ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 4, &why), RECORD_BAD);
    ck_assert_str_eq(why, "its checksum is not a number");
}
END_TEST

/* Also those of the checksum itself: a record that has lost it must not pass as one that never had
 * one. */
START_TEST(each_flipped_bit_of_a_record_is_noticed)
{
    struct record got, r = {
                           .body = BYTES_LIT("body"),
                           .topic = BYTES_LIT("T"),
                           .properties = BYTES_LIT("TAGS\1"
                                                   "A"),
                       };
    uint8_t raw[256];
    size_t n = record_size(&r, true);
    const char *why;

    record_encode(raw, &r, true);
    record_seal(raw, n, 3, 4, 5, true);
    for (size_t bit = 0; bit < n * 8; bit++) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(record_decode(bytes_of(raw, n), &got) != 0 ||
                          record_check(&got, bytes_of(raw, n), 4, &why) != 0,
                      "bit %zu", bit);
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
    ck_assert(record_has_crc(&got));
    ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 4, &why), 0);
}
END_TEST

START_TEST(end_of_a_longer_name_is_not_taken_for_the_crc)
{
    struct record got, r = {
                           .topic = BYTES_LIT("T"),
                           .properties = BYTES_LIT("my__CRC32#\x01"
                                                   "0000000000\x02"),
                       };
    uint8_t raw[256];
    size_t n = record_size(&r, false);
    const char *why;

    record_encode(raw, &r, false);
    record_seal(raw, n, 0, 0, 0, false);
    ck_assert_int_eq(record_decode(bytes_of(raw, n), &got), 0);
    ck_assert_int_eq(record_check(&got, bytes_of(raw, n), 0, &why), 0);
}
END_TEST

START_TEST(every_shorter_prefix_is_partial_and_names_the_size)
{
    uint8_t raw[256];
    size_t n = example(raw, sizeof(raw));
    struct record r;

    for (size_t k = 0; k < n; k++) {
        ck_assert_int_eq(record_decode(bytes_of(raw, k), &r), RECORD_PARTIAL);
        ck_assert_uint_eq(r.total_size, k < 4 ? 0 : n);
    }
    ck_assert_int_eq(record_decode(bytes_of(raw, n + 10), &r), 0);
}
END_TEST

START_TEST(lengths_that_lie_are_bad)
{
    static const struct {
        size_t at;
        size_t bytes;
        uint64_t value;
    } lies[] = {
        {0, 4, 0},
        {0, 4, 7},
        {0, 4, 0x80000000},
        {0, 4, 90},
        {0, 4, 171},
        {4, 4, 0xdaa320a8},
        {4, 4, 0},
        {84, 4, 0xffffffff},
        {84, 4, 0x7fffffff},
        {84, 4, 6},
        {84, 4, 4},
        {93, 1, 0x80},
        {93, 1, 0xff},
        {93, 1, 3},
        {96, 2, 0xffff},
        {96, 2, 0x8000},
        {96, 2, 0x4b},
        {96, 2, 0x49},
        {36, 4, RECORD_BORN_V6},
    };
    struct record r;

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t raw[256];
        size_t n = example(raw, sizeof(raw));
        for (size_t k = 0; k < lies[i].bytes; k++)
            raw[lies[i].at + k] = (uint8_t)(lies[i].value >> 8 * (lies[i].bytes - 1 - k));
        ck_assert_msg(record_decode(bytes_of(raw, n), &r) == RECORD_BAD, "lie %zu", i);
    }
}
END_TEST

START_TEST(blank_record_tells_how_much_to_skip)
{
    uint8_t raw[8];
    struct record r;

    record_blank(raw, 533);
    ck_assert_mem_eq(raw, "\x00\x00\x02\x15\xcb\xd4\x31\x94", 8);
    ck_assert_int_eq(record_decode(bytes_of(raw, 8), &r), RECORD_BLANK);
    ck_assert_uint_eq(r.total_size, 533);
    record_blank(raw, 7);
    ck_assert_int_eq(record_decode(bytes_of(raw, 8), &r), RECORD_BAD);
}
END_TEST

START_TEST(zeroes_are_no_record)
{
    uint8_t raw[64] = {0};
    struct record r;

    ck_assert_int_eq(record_decode(bytes_of(raw, sizeof(raw)), &r), RECORD_BAD);
}
END_TEST

/* A power cut may leave all but the last sector of a record: what is left must not look like one
 * that never had a CRC. */
START_TEST(a_record_whose_end_was_never_written_is_bad)
{
    struct record r = {
        .body = BYTES_LIT("x"),
        .topic = BYTES_LIT("T"),
        .properties = BYTES_LIT("UNIQ_KEY\1"
                                "7F00000100002A9F4F4F\2"
                                "TAGS\1"
                                "A"),
    };
    uint8_t raw[256], torn[256];
    struct record found;
    const char *why;
    size_t n = record_size(&r, true);

    record_encode(raw, &r, true);
    record_seal(raw, n, 3, 4, 5, true);
    for (size_t lost = 1; lost <= r.properties.len + RECORD_CRC_BYTES + 1; lost++) {
        memcpy(torn, raw, n);
        memset(torn + n - lost, 0, lost);
        ck_assert_int_eq(record_decode(bytes_of(torn, n), &found), 0);
        ck_assert_int_eq(record_check(&found, bytes_of(torn, n), 4, &why), RECORD_BAD);
    }
    /* So a text that looks like that is not stored without a CRC. */
    r.properties = BYTES_LIT("TAGS\1"
                             "A\0");
    ck_assert_uint_eq(record_size(&r, false), 0);
    ck_assert_uint_ne(record_size(&r, true), 0);
}
END_TEST

START_TEST(too_long_topics_and_properties_have_no_size)
{
    static uint8_t text[40000];
    struct record r = {.topic = bytes_of(text, 127), .properties = bytes_of(text, 32767)};

    memset(text, 'x', sizeof(text));
    ck_assert_uint_eq(record_size(&r, false), 91 + 127 + 32767);
    ck_assert_uint_eq(record_size(&r, true), 0);
    r.properties.len = 32767 - 21;
    ck_assert_uint_eq(record_size(&r, true), 91 + 127 + 32767);
    r.properties.len = 32768;
    ck_assert_uint_eq(record_size(&r, false), 0);
    r.properties.len = 0;
    r.topic.len = 128;
    ck_assert_uint_eq(record_size(&r, false), 0);
    r.topic.len = 1;
    r.body = bytes_of(text, INT32_MAX);
    ck_assert_uint_eq(record_size(&r, false), 0);
}
END_TEST

START_TEST(message_ids_come_back)
{
    struct record_host v4 = host_v4(1, 20911), v6 = host_v6(5, 10911), got;
    char id[RECORD_ID_MAX];
    int64_t offset;

    ck_assert_uint_eq(record_id_format(id, &v4, 0), 32);
    ck_assert_str_eq(id, "7F000001000051AF0000000000000000");
    ck_assert_uint_eq(record_id_format(id, &v4, 0x1234567890abcdef), 32);
    ck_assert_str_eq(id, "7F000001000051AF1234567890ABCDEF");
    ck_assert_int_eq(record_id_parse(bytes_str(id), &got, &offset), 0);
    ck_assert_int_eq(offset, 0x1234567890abcdef);
    ck_assert(!got.v6);
    ck_assert_int_eq(got.port, 20911);
    ck_assert_int_eq(record_id_parse(BYTES_LIT("7f000001000051af1234567890abcdef"), &got, &offset),
                     0);

    ck_assert_uint_eq(record_id_format(id, &v6, 99), 56);
    ck_assert_str_eq(id, "20010DB8000000000000000000000005"
                         "00002A9F"
                         "0000000000000063");
    ck_assert_int_eq(record_id_parse(bytes_str(id), &got, &offset), 0);
    ck_assert(got.v6);
    ck_assert_mem_eq(got.ip, v6.ip, 16);
    ck_assert_int_eq(got.port, 10911);
    ck_assert_int_eq(offset, 99);
}
END_TEST

START_TEST(other_texts_are_no_message_ids)
{
    static const char *const texts[] = {
        "",
        "7F000001000051AF000000000000000",
        "7F000001000051AF00000000000000000",
        "7F000001000051AG0000000000000000",
        "7F000001000051AF8000000000000000",
        " F000001000051AF0000000000000000",
        "20010DB800000000000000000000000500002A9F000000000000006",
    };
    struct record_host host;
    int64_t offset;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_int_eq(record_id_parse(bytes_str(texts[i]), &host, &offset), -EINVAL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("record");
    TCase *decode = tcase_create("decode"), *encode = tcase_create("encode");
    TCase *ids = tcase_create("ids");

    tcase_add_test(decode, documented_example_decodes_field_by_field);
    tcase_add_test(decode, records_of_a_real_log_pass_every_check);
    tcase_add_test(decode, v2_record_has_a_two_byte_topic_length);
    tcase_add_test(decode, every_shorter_prefix_is_partial_and_names_the_size);
    tcase_add_test(decode, lengths_that_lie_are_bad);
    tcase_add_test(decode, blank_record_tells_how_much_to_skip);
    tcase_add_test(decode, zeroes_are_no_record);
    tcase_add_test(decode, any_changed_byte_is_noticed);
    tcase_add_test(decode, each_flipped_bit_of_a_record_is_noticed);
    tcase_add_test(decode, end_of_a_longer_name_is_not_taken_for_the_crc);
    suite_add_tcase(s, decode);
    tcase_add_test(encode, documented_example_is_encoded_byte_for_byte);
    tcase_add_test(encode, records_of_a_real_log_are_encoded_byte_for_byte);
    tcase_add_test(encode, ipv6_hosts_set_their_bits_and_come_back);
    tcase_add_test(encode, crc_property_ends_the_properties_with_reversed_digits);
    tcase_add_test(encode, separator_before_the_crc_is_put_only_where_one_is_missing);
    tcase_add_test(encode, crc_of_big_and_small_records_covers_every_byte);
    tcase_add_test(encode, too_long_topics_and_properties_have_no_size);
    tcase_add_test(encode, a_record_whose_end_was_never_written_is_bad);
    suite_add_tcase(s, encode);
    tcase_add_test(ids, message_ids_come_back);
    tcase_add_test(ids, other_texts_are_no_message_ids);
    suite_add_tcase(s, ids);
    return s;
}

UNIT_MAIN(suite)
