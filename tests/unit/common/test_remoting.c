/* Claims about common/remoting.h: frames, the binary header, fields, the writer; and that frames
 * recorded from RocketMQ (vectors/remoting_frames.tsv) are read, and written again byte for byte.
 */
#include <stdio.h>

#include "remoting_fixture.h"

static struct decoded decoded;
static struct buf out;

static void setup(void)
{
    memset(&decoded, 0, sizeof(decoded));
    memset(&out, 0, sizeof(out));
}

static void teardown(void)
{
    decoded_destroy(&decoded);
    buf_destroy(&out);
}

static const struct remoting_frame *good(struct bytes frame)
{
    decoded_destroy(&decoded);
    decode_frame(&decoded, frame);
    ck_assert_msg(decoded.result == 0, "%s", decoded.why);
    ck_assert(is_within(&decoded));
    return &decoded.frame;
}

static void bad(struct bytes frame)
{
    decoded_destroy(&decoded);
    decode_frame(&decoded, frame);
    ck_assert_int_eq(decoded.result, REMOTING_BAD);
}

/* Bytes of hexadecimal text, spaces ignored. */
static void add_hex(struct buf *b, const char *text, size_t len)
{
    unsigned digits = 0, v = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == ' ')
            continue;
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        if (++digits % 2 == 0)
            buf_add_u8(b, (uint8_t)v);
    }
    ck_assert(!b->failed);
}

static void check_hex(struct bytes got, const char *expected)
{
    struct buf b = {0};

    add_hex(&b, expected, strlen(expected));
    ck_assert_msg(bytes_equal(got, buf_bytes(&b)), "not %s", expected);
    buf_destroy(&b);
}

static bool field_is(const struct remoting_frame *f, const char *key, const char *value)
{
    const struct bytes *v = remoting_field(f, key);

    return v && bytes_is(*v, value);
}

/* GET_MAX_OFFSET of topic T1, queue 0, and its answer. */
static const char max_offset_request[] = "00000034 01 000030"
                                         "001e 00 0199 00000007 00000000"
                                         "00000000 0000001b"
                                         "0005 746f706963       00000002 5431"
                                         "0007 71756575654964   00000001 30";
static const char max_offset_reply[] =
    "00000026 01000022 0000 00 0199 00000007 00000001 00000000 0000000d 0006 6f6666736574 00000001 "
    "37";

START_TEST(size_is_known_from_four_bytes)
{
    size_t total = 99;

    for (size_t len = 0; len < 4; len++)
        ck_assert_int_eq(remoting_frame_size(bytes_of("\0\0\0\x10", len), &total),
                         REMOTING_PARTIAL);
    ck_assert_uint_eq(total, 99);
    ck_assert_int_eq(remoting_frame_size(bytes_of("\0\0\0\x10", 4), &total), 0);
    ck_assert_uint_eq(total, 20);
    ck_assert_int_eq(remoting_frame_size(bytes_of("\0\0\0\x04", 4), &total), 0);
    ck_assert_uint_eq(total, 8);
    ck_assert_int_eq(remoting_frame_size(bytes_of("\0\xFF\xFF\xFC", 4), &total), 0);
    ck_assert_uint_eq(total, REMOTING_FRAME_MAX);
}
END_TEST

START_TEST(impossible_lengths_are_bad_at_once)
{
    static const struct bytes heads[] = {
        {(const uint8_t *)"\0\0\0\0", 4},
        {(const uint8_t *)"\0\0\0\x03", 4},
        {(const uint8_t *)"\0\xFF\xFF\xFD", 4},
        {(const uint8_t *)"\x01\0\0\0", 4},
        {(const uint8_t *)"\x80\0\0\0", 4},
        {(const uint8_t *)"\xFF\xFF\xFF\xFF", 4},
        {(const uint8_t *)"GET / HTTP/1.1", 14},
        {(const uint8_t *)"\x16\x03\x01\x02\x00\x01\x00\x01", 8},
        {(const uint8_t *)"\0\0\0\x10\x02\0\0\x05", 8}, /* serialization 2 */
        {(const uint8_t *)"\0\0\0\x10\x7B\0\0\x05", 8}, /* serialization '{' */
        {(const uint8_t *)"\0\0\0\x10\x00\0\0\x0D", 8}, /* header beyond the frame */
        {(const uint8_t *)"\0\0\0\x10\x01\xFF\xFF\xFF", 8},
    };

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t total = 99;
        ck_assert_msg(remoting_frame_size(heads[i], &total) == REMOTING_BAD, "head %zu", i);
        ck_assert_uint_eq(total, 99);
        bad(heads[i]);
    }
}
END_TEST

START_TEST(a_frame_of_another_length_than_it_says_is_refused)
{
    struct buf b = {0};

    buf_add(&b, "\0\0\0\x07\0\0\0\x02{}x", 11);
    ck_assert(bytes_is(good(buf_bytes(&b))->body, "x"));
    for (size_t len = 0; len < 11; len++)
        bad(bytes_of(b.data, len));
    buf_add_u8(&b, 'y');
    bad(buf_bytes(&b));
    buf_destroy(&b);
}
END_TEST

START_TEST(binary_header_is_read)
{
    add_hex(&out, max_offset_request, sizeof(max_offset_request) - 1);
    const struct remoting_frame *f = good(buf_bytes(&out));

    ck_assert_int_eq(f->code, 30);
    ck_assert_int_eq(f->language, REMOTING_JAVA);
    ck_assert_int_eq(f->version, 409);
    ck_assert_int_eq(f->opaque, 7);
    ck_assert_int_eq(f->flag, 0);
    ck_assert_int_eq(f->serialize, REMOTING_BINARY);
    ck_assert_uint_eq(f->remark.len, 0);
    ck_assert_uint_eq(f->body.len, 0);
    ck_assert_uint_eq(f->field_count, 2);
    ck_assert(field_is(f, "topic", "T1"));
    ck_assert(field_is(f, "queueId", "0"));
}
END_TEST

START_TEST(binary_numbers_are_signed)
{
    const char text[] = "00000019 01000015 fffe ff 8000 80000000 ffffffff 00000000 00000000";

    add_hex(&out, text, sizeof(text) - 1);
    const struct remoting_frame *f = good(buf_bytes(&out));
    ck_assert_int_eq(f->code, -2);
    ck_assert_int_eq(f->language, REMOTING_OTHER);
    ck_assert_int_eq(f->version, -32768);
    ck_assert_int_eq(f->opaque, INT32_MIN);
    ck_assert_int_eq(f->flag, -1);
}
END_TEST

START_TEST(binary_empty_strings_are_absent)
{
    /* fields: k = "", "" = v, l = w */
    const char text[] = "00000030 0100002c 001e 00 0199 00000007 00000000 00000000 00000017"
                        "0001 6b 00000000  0000 00000001 76  0001 6c 00000002 7777";
    int32_t v = 5;

    add_hex(&out, text, sizeof(text) - 1);
    const struct remoting_frame *f = good(buf_bytes(&out));
    ck_assert_uint_eq(f->field_count, 1);
    ck_assert_ptr_null(remoting_field(f, "k"));
    ck_assert_ptr_null(remoting_field(f, ""));
    ck_assert(field_is(f, "l", "ww"));
    ck_assert_int_eq(remoting_get_i32(f, "k", &v), REMOTING_ABSENT);
    ck_assert_int_eq(v, 5);
}
END_TEST

START_TEST(binary_lengths_that_lie_are_refused)
{
    static const char *const frames[] = {
        /* the remark is longer than the header, negative */
        "00000019 01000015 001e 00 0199 00000007 00000000 00000001 00000000",
        "00000019 01000015 001e 00 0199 00000007 00000000 ffffffff 00000000",
        /* so are the fields */
        "00000019 01000015 001e 00 0199 00000007 00000000 00000000 00000001",
        "00000019 01000015 001e 00 0199 00000007 00000000 00000000 80000000",
        /* bytes follow the fields */
        "0000001a 01000016 001e 00 0199 00000007 00000000 00000000 00000000 00",
        /* key, value, negative key, value longer than what is left */
        "00000021 0100001d 001e 00 0199 00000007 00000000 00000000 00000008 0003 6b 00000000 61",
        "00000021 0100001d 001e 00 0199 00000007 00000000 00000000 00000008 0001 6b 00000002 61",
        "00000021 0100001d 001e 00 0199 00000007 00000000 00000000 00000008 ffff 6b 00000001 61",
        "00000021 0100001d 001e 00 0199 00000007 00000000 00000000 00000008 0001 6b ffffffff 61",
        /* half a length */
        "0000001a 01000016 001e 00 0199 00000007 00000000 00000000 00000001 00",
        "0000001e 0100001a 001e 00 0199 00000007 00000000 00000000 00000005 0001 6b 0000",
    };

    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        buf_reset(&out);
        add_hex(&out, frames[i], strlen(frames[i]));
        bad(buf_bytes(&out));
    }
}
END_TEST

START_TEST(binary_names_have_a_signed_length)
{
    for (uint32_t len = INT16_MAX; len <= INT16_MAX + 1; len++) {
        const char fixed[] = "001e 00 0199 00000007 00000000 00000000";
        buf_reset(&out);
        buf_add_be32(&out, 4 + 21 + 2 + len + 4 + 1);
        buf_add_be32(&out, 1u << 24 | (21 + 2 + len + 4 + 1));
        add_hex(&out, fixed, sizeof(fixed) - 1);
        buf_add_be32(&out, 2 + len + 4 + 1);
        buf_add_be16(&out, (uint16_t)len);
        uint8_t *name = buf_reserve(&out, len);
        ck_assert_ptr_nonnull(name);
        memset(name, 'k', len);
        out.len += len;
        buf_add(&out, "\0\0\0\1v", 5);
        if (len == INT16_MAX)
            ck_assert_uint_eq(good(buf_bytes(&out))->fields[0].key.len, len);
        else
            bad(buf_bytes(&out));
    }
}
END_TEST

START_TEST(binary_fields_are_taken_up_to_the_bound)
{
    for (uint32_t n = REMOTING_FIELDS_MAX; n <= REMOTING_FIELDS_MAX + 1; n++) {
        const char fixed[] = "001e 00 0199 00000007 00000000 00000000";
        buf_reset(&out);
        buf_add_be32(&out, 4 + 21 + 8 * n);
        buf_add_be32(&out, 1u << 24 | (21 + 8 * n));
        add_hex(&out, fixed, sizeof(fixed) - 1);
        buf_add_be32(&out, 8 * n);
        for (uint32_t i = 0; i < n; i++)
            buf_add(&out, "\0\1k\0\0\0\1v", 8);
        if (n == REMOTING_FIELDS_MAX)
            ck_assert_uint_eq(good(buf_bytes(&out))->field_count, n);
        else
            bad(buf_bytes(&out));
    }
}
END_TEST

/* Cut with the lengths left alone, and with the lengths put right. */
START_TEST(binary_headers_that_end_early_are_refused)
{
    struct buf whole = {0};

    add_hex(&whole, max_offset_request, sizeof(max_offset_request) - 1);
    for (size_t cut = 0; cut < whole.len; cut++) {
        bad(bytes_of(whole.data, cut));
        if (cut < 8)
            continue;
        buf_reset(&out);
        buf_add_be32(&out, (uint32_t)cut - 4);
        buf_add_be32(&out, 1u << 24 | (uint32_t)(cut - 8));
        buf_add(&out, whole.data + 8, cut - 8);
        bad(buf_bytes(&out));
    }
    buf_destroy(&whole);
}
END_TEST

START_TEST(changed_binary_bytes_do_no_harm)
{
    uint32_t random = 20240502, taken = 0;

    add_hex(&out, max_offset_request, sizeof(max_offset_request) - 1);
    for (int round = 0; round < 20000; round++) {
        decoded_destroy(&decoded);
        decode_mutated(&decoded, buf_bytes(&out), &random);
        taken += decoded.result == 0;
        if (decoded.result == 0 && !is_within(&decoded))
            ck_abort_msg("round %d: a field lies outside the frame", round);
    }
    ck_assert_uint_gt(taken, 1000);
}
END_TEST

START_TEST(getters_tell_absent_from_invalid)
{
    const char header[] =
        "{\"extFields\":{\"i\":\"7\",\"big\":\"5000000000\",\"empty\":\"\",\"text\":"
        "\"x\",\"yes\":\"TRUE\",\"one\":\"1\",\"twice\":\"1\",\"twice\":\"2\"}}";
    int32_t v = 99;
    int64_t w = 99;
    bool b = true;

    decode_header(&decoded, REMOTING_JSON, bytes_of(header, sizeof(header) - 1), BYTES_LIT(""));
    const struct remoting_frame *f = &decoded.frame;
    ck_assert_int_eq(decoded.result, 0);

    ck_assert_int_eq(remoting_get_i32(f, "none", &v), REMOTING_ABSENT);
    ck_assert_int_eq(remoting_get_i32(f, "empty", &v), REMOTING_ABSENT);
    ck_assert_int_eq(remoting_get_i32(f, "text", &v), REMOTING_INVALID);
    ck_assert_int_eq(remoting_get_i32(f, "big", &v), REMOTING_INVALID);
    ck_assert_int_eq(v, 99);
    ck_assert_int_eq(remoting_get_i32(f, "i", &v), 0);
    ck_assert_int_eq(v, 7);
    ck_assert_int_eq(remoting_get_i32(f, "twice", &v), 0);
    ck_assert_int_eq(v, 2);

    ck_assert_int_eq(remoting_get_i64(f, "none", &w), REMOTING_ABSENT);
    ck_assert_int_eq(remoting_get_i64(f, "empty", &w), REMOTING_ABSENT);
    ck_assert_int_eq(remoting_get_i64(f, "text", &w), REMOTING_INVALID);
    ck_assert_int_eq(w, 99);
    ck_assert_int_eq(remoting_get_i64(f, "big", &w), 0);
    ck_assert_int_eq(w, 5000000000);

    ck_assert_int_eq(remoting_get_bool(f, "none", &b), REMOTING_ABSENT);
    ck_assert_int_eq(remoting_get_bool(f, "empty", &b), REMOTING_ABSENT);
    ck_assert(b);
    ck_assert_int_eq(remoting_get_bool(f, "one", &b), 0);
    ck_assert(!b);
    ck_assert_int_eq(remoting_get_bool(f, "yes", &b), 0);
    ck_assert(b);
}
END_TEST

START_TEST(languages_out_of_range_are_other)
{
    ck_assert_str_eq(remoting_language_name(REMOTING_JAVA), "JAVA");
    ck_assert_str_eq(remoting_language_name(REMOTING_NODE_JS), "NODE_JS");
    ck_assert_str_eq(remoting_language_name(REMOTING_LANGUAGES), "OTHER");
    ck_assert_str_eq(remoting_language_name(UINT32_MAX), "OTHER");
}
END_TEST

START_TEST(binary_frames_are_written_as_the_protocol_says)
{
    struct remoting_meta meta = {
        .code = 30, .opaque = 7, .version = 409, .serialize = REMOTING_BINARY, .has_fields = true};
    struct remoting_writer w;

    remoting_begin(&w, &out, &meta);
    remoting_put_str(&w, "topic", "T1");
    remoting_put_str(&w, "absent", NULL);
    remoting_put_str(&w, "empty", "");
    remoting_put_i64(&w, "queueId", 0);
    remoting_end(&w);
    check_hex(buf_bytes(&out), max_offset_request);

    buf_reset(&out);
    meta.code = 0;
    meta.flag = REMOTING_FLAG_RESPONSE;
    remoting_begin(&w, &out, &meta);
    remoting_put_i64(&w, "offset", 7);
    remoting_end(&w);
    check_hex(buf_bytes(&out), max_offset_reply);

    buf_reset(&out);
    meta.remark = BYTES_LIT("no");
    remoting_begin(&w, &out, &meta);
    remoting_body(&w);
    buf_add_str(&out, "b");
    remoting_end(&w);
    check_hex(buf_bytes(&out), "0000001c 01000017 0000 00 0199 00000007 00000001 00000002 6e6f "
                               "00000000 62");
}
END_TEST

static const char json_reply[] =
    "\0\0\0\x7e\0\0\0\x7a{\"code\":0,\"extFields\":{\"offset\":\"7\"},\"flag\":1,\"language\":"
    "\"JAVA\",\"opaque\":7,\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}";

START_TEST(json_frames_are_written_as_the_protocol_says)
{
    struct remoting_meta meta = {
        .opaque = 7, .flag = 1, .version = 409, .serialize = REMOTING_JSON, .has_fields = true};
    struct remoting_writer w;

    remoting_begin(&w, &out, &meta);
    remoting_put_i64(&w, "offset", 7);
    remoting_end(&w);
    ck_assert(bytes_equal(buf_bytes(&out), bytes_of(json_reply, sizeof(json_reply) - 1)));
}
END_TEST

/* The header's text of what is in `out`, which holds one JSON frame without a body. */
static void header_is(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_uint_eq(load_be32(buf_at(&out)), out.len - 4);
    ck_assert_uint_eq(load_be32(buf_at(&out) + 4), out.len - 8);
    struct bytes got = bytes_of(buf_at(&out) + 8, out.len - 8);
    ck_assert_msg(bytes_is(got, text), "%.*s", (int)got.len, (const char *)got.at);
    buf_reset(&out);
}

START_TEST(json_members_are_in_order_and_values_are_text)
{
    struct remoting_meta meta = {.code = 1,
                                 .opaque = -7,
                                 .flag = 3,
                                 .version = 0,
                                 .language = REMOTING_GO,
                                 .remark = BYTES_LIT("a \"b\"\n\x01\x1F")};
    struct remoting_writer w;

    remoting_begin(&w, &out, &meta);
    remoting_put_bool(&w, "t", true);
    remoting_put_bool(&w, "f", false);
    remoting_put_i64(&w, "n", INT64_MIN);
    remoting_put_str(&w, "none", NULL);
    remoting_put_str(&w, "s", "");
    remoting_put(&w, "q\"", BYTES_LIT("x\\y\tz"));
    remoting_end(&w);
    header_is("{\"code\":1,\"extFields\":{\"t\":\"true\",\"f\":\"false\",\"n\":"
              "\"-9223372036854775808\",\"s\":\"\",\"q\\\"\":\"x\\\\y\\tz\"},\"flag\":3,"
              "\"language\":\"GO\",\"opaque\":-7,\"remark\":\"a \\\"b\\\"\\n\\u0001\\u001F\","
              "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":0}");
}
END_TEST

START_TEST(ext_fields_are_there_when_the_type_has_fields)
{
    struct remoting_meta meta = {.flag = 1, .version = 409};
    struct remoting_writer w;

    remoting_begin(&w, &out, &meta);
    remoting_end(&w);
    header_is("{\"code\":0,\"flag\":1,\"language\":\"JAVA\",\"opaque\":0,"
              "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}");
    meta.has_fields = true;
    remoting_begin(&w, &out, &meta);
    remoting_put_str(&w, "none", NULL);
    remoting_end(&w);
    header_is("{\"code\":0,\"extFields\":{},\"flag\":1,\"language\":\"JAVA\",\"opaque\":0,"
              "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}");
}
END_TEST

START_TEST(text_that_is_no_utf8_is_written_as_replacement_characters)
{
    struct remoting_meta meta = {.version = 409};
    struct remoting_writer w;

    remoting_begin(&w, &out, &meta);
    remoting_put(&w, "k", BYTES_LIT("h\xC3\xA9 \xFF\xC3(\xED\xA0\x80"));
    remoting_end(&w);
    header_is("{\"code\":0,\"extFields\":{\"k\":\"h\xC3\xA9 \xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD"
              "\xEF\xBF\xBD\xEF\xBF\xBD\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":0,"
              "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":409}");
}
END_TEST

START_TEST(numbers_that_a_binary_header_cannot_hold_are_written_as_json)
{
    struct remoting_meta meta = {.code = 200050, .version = 409, .serialize = REMOTING_BINARY};
    struct remoting_writer w;
    const int32_t codes[] = {32767, 32768, -32768, -32769};

    for (size_t i = 0; i < 4; i++) {
        buf_reset(&out);
        meta.code = codes[i];
        remoting_begin(&w, &out, &meta);
        remoting_put_str(&w, "k", "v");
        remoting_end(&w);
        const struct remoting_frame *f = good(buf_bytes(&out));
        ck_assert_int_eq(f->serialize, i % 2 ? REMOTING_JSON : REMOTING_BINARY);
        ck_assert_int_eq(f->code, codes[i]);
        ck_assert(field_is(f, "k", "v"));
    }
}
END_TEST

START_TEST(frames_follow_one_another_in_a_buffer)
{
    struct remoting_meta meta = {.code = 11, .version = 409};
    struct remoting_writer w;

    for (int i = 0; i < 200; i++) {
        meta.opaque = i;
        meta.serialize = i % 3 ? REMOTING_JSON : REMOTING_BINARY;
        remoting_begin(&w, &out, &meta);
        remoting_put_i64(&w, "i", i);
        if (i % 2) {
            remoting_body(&w);
            buf_addf(&out, "body %d", i);
        }
        remoting_end(&w);
        if (i == 50) /* what was sent goes from the front */
            for (size_t total; out.len; buf_consume(&out, total))
                ck_assert_int_eq(remoting_frame_size(buf_bytes(&out), &total), 0);
    }
    for (int i = 51; i < 200; i++) {
        char body[24];
        size_t total;
        int64_t v;
        ck_assert_int_eq(remoting_frame_size(buf_bytes(&out), &total), 0);
        const struct remoting_frame *f = good(bytes_of(buf_at(&out), total));
        ck_assert_int_eq(f->opaque, i);
        ck_assert_int_eq(remoting_get_i64(f, "i", &v), 0);
        ck_assert_int_eq(v, i);
        snprintf(body, sizeof(body), "body %d", i);
        ck_assert(bytes_is(f->body, i % 2 ? body : ""));
        buf_consume(&out, total);
    }
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(abort_takes_the_frame_out_again)
{
    struct remoting_meta meta = {.code = 11, .version = 409, .remark = BYTES_LIT("r")};
    struct remoting_writer w;

    for (uint8_t serialize = REMOTING_JSON; serialize <= REMOTING_BINARY; serialize++) {
        buf_reset(&out);
        buf_add_str(&out, "before");
        meta.serialize = serialize;
        remoting_begin(&w, &out, &meta);
        remoting_put_str(&w, "k", "v");
        remoting_abort(&w);
        ck_assert(bytes_is(buf_bytes(&out), "before"));
        ck_assert(!out.failed);

        remoting_begin(&w, &out, &meta);
        remoting_body(&w);
        buf_add_str(&out, "body");
        remoting_abort(&w);
        ck_assert(bytes_is(buf_bytes(&out), "before"));
    }
}
END_TEST

START_TEST(without_memory_there_is_no_frame)
{
    struct remoting_meta meta = {.code = 11, .version = 409, .remark = BYTES_LIT("r")};
    struct remoting_writer w;

    /* fail before the frame, in its fields, in its body */
    for (int when = 0; when < 3; when++) {
        for (uint8_t serialize = REMOTING_JSON; serialize <= REMOTING_BINARY; serialize++) {
            buf_reset(&out);
            buf_add_str(&out, "before");
            meta.serialize = serialize;
            out.failed = when == 0;
            remoting_begin(&w, &out, &meta);
            remoting_put_str(&w, "k", "v");
            out.failed |= when == 1;
            remoting_put_i64(&w, "n", 7);
            remoting_body(&w);
            out.failed |= when == 2;
            remoting_end(&w);
            ck_assert(out.failed);
            ck_assert(bytes_is(buf_bytes(&out), "before"));
        }
    }
}
END_TEST

START_TEST(frames_are_written_up_to_the_limit)
{
    struct remoting_meta meta = {.code = 11, .version = 409, .serialize = REMOTING_BINARY};
    struct remoting_writer w;
    size_t room = REMOTING_FRAME_MAX - 8 - 21;

    for (size_t over = 0; over <= 1; over++) {
        buf_reset(&out);
        remoting_begin(&w, &out, &meta);
        remoting_body(&w);
        uint8_t *body = buf_reserve(&out, room + over);
        ck_assert_ptr_nonnull(body);
        memset(body, 'b', room + over);
        out.len += room + over;
        remoting_end(&w);
        ck_assert_int_eq(out.failed, over);
        ck_assert_uint_eq(out.len, over ? 0 : REMOTING_FRAME_MAX);
        if (!over)
            ck_assert_uint_eq(good(buf_bytes(&out))->body.len, room);
    }
}
END_TEST

/* One line of vectors/remoting_frames.tsv. */
enum {
    COLUMN_SCENARIO,
    COLUMN_FROM,
    COLUMN_TO,
    COLUMN_CODE,
    COLUMN_LANGUAGE,
    COLUMN_VERSION,
    COLUMN_OPAQUE,
    COLUMN_FLAG,
    COLUMN_BODY_LEN,
    COLUMN_REMARK,
    COLUMN_FIELDS,
    COLUMN_FRAME,
    COLUMNS,
};

/* Decodes \xNN in place. */
static struct bytes unescaped(char *text)
{
    char *to = text, *at = text;

    while (*at) {
        if (at[0] == '\\' && at[1] == 'x') {
            char digits[3] = {at[2], at[3], 0};
            *to++ = (char)strtoul(digits, NULL, 16);
            at += 4;
        } else {
            *to++ = *at++;
        }
    }
    return bytes_of(text, (size_t)(to - text));
}

static void check_fields(const struct remoting_frame *f, char *fields, const char *line)
{
    size_t count = 0;
    char *save = NULL;

    for (char *pair = strtok_r(fields, " ", &save); pair; pair = strtok_r(NULL, " ", &save)) {
        char *value = strchr(pair, '=');
        ck_assert_ptr_nonnull(value);
        *value++ = 0;
        struct bytes key_bytes = unescaped(pair), value_bytes = unescaped(value);
        if (f->serialize == REMOTING_BINARY && value_bytes.len == 0)
            continue;
        ck_assert_msg(count < f->field_count, "%s: too few fields", line);
        ck_assert_msg(bytes_equal(f->fields[count].key, key_bytes), "%s: %s", line, pair);
        ck_assert_msg(bytes_equal(f->fields[count].value, value_bytes), "%s: %s", line, pair);
        count++;
    }
    ck_assert_msg(count == f->field_count, "%s: too many fields", line);
}

static void for_each_vector(void (*check)(char *columns[COLUMNS], struct bytes frame))
{
    FILE *file = fopen(TERN_TEST_VECTORS "/remoting_frames.tsv", "r");
    char *line = NULL;
    size_t size = 0, count = 0;

    ck_assert_ptr_nonnull(file);
    while (getline(&line, &size, file) > 0) {
        if (line[0] == '#')
            continue;
        char *columns[COLUMNS], *rest = line;
        for (int i = 0; i < COLUMNS; i++) {
            columns[i] = strsep(&rest, "\t\n");
            ck_assert_ptr_nonnull(columns[i]);
        }
        struct buf frame = {0};
        add_hex(&frame, columns[COLUMN_FRAME], strlen(columns[COLUMN_FRAME]));
        check(columns, buf_bytes(&frame));
        buf_destroy(&frame);
        count++;
    }
    free(line);
    fclose(file);
    ck_assert_uint_ge(count, 90);
}

static void check_decoded(char *columns[COLUMNS], struct bytes frame)
{
    const char *line = columns[COLUMN_FRAME];
    size_t total;

    ck_assert_int_eq(remoting_frame_size(frame, &total), 0);
    ck_assert_uint_eq(total, frame.len);
    const struct remoting_frame *f = good(frame);
    ck_assert_msg(f->code == atoi(columns[COLUMN_CODE]), "%s", line);
    ck_assert_str_eq(remoting_language_name(f->language), columns[COLUMN_LANGUAGE]);
    ck_assert_msg(f->version == atoi(columns[COLUMN_VERSION]), "%s", line);
    ck_assert_msg(f->opaque == atoi(columns[COLUMN_OPAQUE]), "%s", line);
    ck_assert_msg(f->flag == atoi(columns[COLUMN_FLAG]), "%s", line);
    ck_assert_msg(f->body.len == strtoul(columns[COLUMN_BODY_LEN], NULL, 10), "%s", line);
    ck_assert_msg(bytes_equal(f->remark, unescaped(columns[COLUMN_REMARK])), "%s", line);
    check_fields(f, columns[COLUMN_FIELDS], line);
}

START_TEST(recorded_frames_are_understood)
{
    for_each_vector(check_decoded);
}
END_TEST

static unsigned rewritten[2];

static void check_rewritten(char *columns[COLUMNS], struct bytes frame)
{
    if (memmem(frame.at, frame.len, "{\"code\": ", 9))
        return; /* a test program wrote this one, not RocketMQ */

    const struct remoting_frame *f = good(frame);
    struct remoting_meta meta = {.code = f->code,
                                 .opaque = f->opaque,
                                 .flag = f->flag,
                                 .version = f->version,
                                 .language = f->language,
                                 .serialize = f->serialize,
                                 .remark = f->remark};
    meta.has_fields = memmem(frame.at, frame.len - f->body.len, "\"extFields\"", 11) != NULL;
    struct remoting_writer w;

    buf_reset(&out);
    remoting_begin(&w, &out, &meta);
    for (size_t i = 0; i < f->field_count; i++) {
        char key[64];
        ck_assert(bytes_to_cstr(f->fields[i].key, key, sizeof(key)));
        remoting_put(&w, key, f->fields[i].value);
    }
    remoting_body(&w);
    buf_add(&out, f->body.at, f->body.len);
    remoting_end(&w);
    ck_assert_msg(bytes_equal(buf_bytes(&out), frame), "%s", columns[COLUMN_FRAME]);
    rewritten[f->serialize]++;
}

START_TEST(recorded_frames_are_written_byte_for_byte)
{
    for_each_vector(check_rewritten);
    ck_assert_uint_gt(rewritten[REMOTING_JSON], 60);
    ck_assert_uint_gt(rewritten[REMOTING_BINARY], 8);
}
END_TEST

static Suite *remoting_suite(void)
{
    Suite *s = suite_create("remoting");
    TCase *t = tcase_create("remoting");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, size_is_known_from_four_bytes);
    tcase_add_test(t, impossible_lengths_are_bad_at_once);
    tcase_add_test(t, a_frame_of_another_length_than_it_says_is_refused);
    tcase_add_test(t, binary_header_is_read);
    tcase_add_test(t, binary_numbers_are_signed);
    tcase_add_test(t, binary_empty_strings_are_absent);
    tcase_add_test(t, binary_lengths_that_lie_are_refused);
    tcase_add_test(t, binary_names_have_a_signed_length);
    tcase_add_test(t, binary_fields_are_taken_up_to_the_bound);
    tcase_add_test(t, binary_headers_that_end_early_are_refused);
    tcase_add_test(t, changed_binary_bytes_do_no_harm);
    tcase_add_test(t, getters_tell_absent_from_invalid);
    tcase_add_test(t, languages_out_of_range_are_other);
    tcase_add_test(t, binary_frames_are_written_as_the_protocol_says);
    tcase_add_test(t, json_frames_are_written_as_the_protocol_says);
    tcase_add_test(t, json_members_are_in_order_and_values_are_text);
    tcase_add_test(t, ext_fields_are_there_when_the_type_has_fields);
    tcase_add_test(t, text_that_is_no_utf8_is_written_as_replacement_characters);
    tcase_add_test(t, numbers_that_a_binary_header_cannot_hold_are_written_as_json);
    tcase_add_test(t, frames_follow_one_another_in_a_buffer);
    tcase_add_test(t, abort_takes_the_frame_out_again);
    tcase_add_test(t, without_memory_there_is_no_frame);
    tcase_add_test(t, frames_are_written_up_to_the_limit);
    tcase_add_test(t, recorded_frames_are_understood);
    tcase_add_test(t, recorded_frames_are_written_byte_for_byte);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(remoting_suite)
