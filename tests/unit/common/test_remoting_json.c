/* Claims about the JSON header of common/remoting.h: what clients send is understood, what is no
 * JSON is refused, and nothing reads or writes beyond the frame. */
#include <stdio.h>

#include "common/json_stops.h"
#include "remoting_fixture.h"

static struct decoded decoded;

static void setup(void)
{
    memset(&decoded, 0, sizeof(decoded));
}

static void teardown(void)
{
    decoded_destroy(&decoded);
}

static const struct remoting_frame *read_header(struct bytes header)
{
    decoded_destroy(&decoded);
    decode_header(&decoded, REMOTING_JSON, header, BYTES_LIT("body"));
    return &decoded.frame;
}

static const struct remoting_frame *good(const char *header)
{
    const struct remoting_frame *f = read_header(bytes_str(header));

    ck_assert_msg(decoded.result == 0, "%s: %s", header, decoded.why);
    ck_assert_msg(is_within(&decoded), "%s", header);
    ck_assert(bytes_is(f->body, "body"));
    return f;
}

static void bad(const char *header)
{
    read_header(bytes_str(header));
    ck_assert_msg(decoded.result == REMOTING_BAD, "taken: %s", header);
}

static void field_is(const struct remoting_frame *f, const char *key, struct bytes value)
{
    const struct bytes *v = remoting_field(f, key);

    ck_assert_msg(v != NULL, "no field %s", key);
    ck_assert_msg(bytes_equal(*v, value), "%s is \"%.*s\"", key, (int)v->len, (const char *)v->at);
}

START_TEST(members_come_in_any_order)
{
    const struct remoting_frame *f =
        good("{\"version\":409,\"remark\":\"r\",\"opaque\":-7,\"language\":\"GO\",\"flag\":3,"
             "\"extFields\":{\"k\":\"v\",\"l\":\"w\"},\"code\":310}");

    ck_assert_int_eq(f->code, 310);
    ck_assert_int_eq(f->version, 409);
    ck_assert_int_eq(f->opaque, -7);
    ck_assert_int_eq(f->flag, 3);
    ck_assert_int_eq(f->language, REMOTING_GO);
    ck_assert(bytes_is(f->remark, "r"));
    ck_assert_uint_eq(f->field_count, 2);
    field_is(f, "k", BYTES_LIT("v"));
    field_is(f, "l", BYTES_LIT("w"));
    ck_assert(remoting_is_response(f) && remoting_is_oneway(f));
}
END_TEST

START_TEST(absent_members_are_zero_and_java)
{
    const struct remoting_frame *f = good("{}");

    ck_assert_int_eq(f->code, 0);
    ck_assert_int_eq(f->version, 0);
    ck_assert_int_eq(f->opaque, 0);
    ck_assert_int_eq(f->flag, 0);
    ck_assert_int_eq(f->language, REMOTING_JAVA);
    ck_assert_uint_eq(f->remark.len, 0);
    ck_assert_uint_eq(f->field_count, 0);
}
END_TEST

START_TEST(white_space_may_be_anywhere)
{
    const struct remoting_frame *f =
        good(" \t\r\n{ \"code\" : 34 ,\n\"extFields\" : { \"a\" : \"1\" , \"b\"\t:\r2 } , \"flag\" "
             ": \"1\" } \n");

    ck_assert_int_eq(f->code, 34);
    ck_assert_int_eq(f->flag, 1);
    ck_assert_uint_eq(f->field_count, 2);
    field_is(f, "a", BYTES_LIT("1"));
    field_is(f, "b", BYTES_LIT("2"));
    good("{ \"extFields\":{ } } ");
}
END_TEST

START_TEST(unknown_members_of_any_type_are_skipped)
{
    const struct remoting_frame *f =
        good("{\"serializeTypeCurrentRPC\":\"JSON\",\"s\":\"a\\\"b\\\\\",\"n\":-1.5e+3,\"t\":true,"
             "\"f\":false,\"z\":null,\"o\":{\"code\":1,\"x\":[{}]},\"e\":{},\"l\":[1,\"]\",[],"
             "{\"}\":\"{\"}],\"empty\":[ ],\"code\":5}");

    ck_assert_int_eq(f->code, 5);
    ck_assert_uint_eq(f->field_count, 0);
}
END_TEST

START_TEST(names_with_escapes_are_the_same_names)
{
    const struct remoting_frame *f =
        good("{\"c\\u006fde\":7,\"extFields\":{\"\\u0061\":\"1\",\"b\\/\":\"2\"}}");

    ck_assert_int_eq(f->code, 7);
    field_is(f, "a", BYTES_LIT("1"));
    field_is(f, "b/", BYTES_LIT("2"));
}
END_TEST

START_TEST(skipped_values_are_nested_to_a_bound)
{
    char text[512];

    for (int depth = 1; depth < 60; depth++) {
        size_t n = (size_t)snprintf(text, sizeof(text), "{\"x\":");
        memset(text + n, '[', (size_t)depth);
        memset(text + n + depth, ']', (size_t)depth);
        memcpy(text + n + 2 * (size_t)depth, "}", 2);
        if (depth <= 16)
            good(text);
        else
            bad(text);

        n = 0;
        for (int i = 0; i <= depth; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"\":");
        n += (size_t)snprintf(text + n, sizeof(text) - n, "0");
        memset(text + n, '}', (size_t)depth + 1);
        text[n + (size_t)depth + 1] = 0;
        if (depth <= 16)
            good(text);
        else
            bad(text);
    }
}
END_TEST

START_TEST(field_values_of_other_types_become_text)
{
    const struct remoting_frame *f =
        good("{\"extFields\":{\"i\":7,\"n\":-12,\"d\":1.50,\"e\":1E5,\"t\":true,\"f\":false,"
             "\"z\":null,\"s\":\"\",\"last\":0}}");

    ck_assert_uint_eq(f->field_count, 8);
    field_is(f, "i", BYTES_LIT("7"));
    field_is(f, "n", BYTES_LIT("-12"));
    field_is(f, "d", BYTES_LIT("1.50"));
    field_is(f, "e", BYTES_LIT("1E5"));
    field_is(f, "t", BYTES_LIT("true"));
    field_is(f, "f", BYTES_LIT("false"));
    ck_assert_ptr_null(remoting_field(f, "z"));
    field_is(f, "s", BYTES_LIT(""));
    field_is(f, "last", BYTES_LIT("0"));
}
END_TEST

START_TEST(field_values_that_are_no_scalars_are_refused)
{
    bad("{\"extFields\":{\"o\":{}}}");
    bad("{\"extFields\":{\"l\":[]}}");
    bad("{\"extFields\":[]}");
    bad("{\"extFields\":\"\"}");
    bad("{\"extFields\":1}");
    bad("{\"remark\":{}}");
    bad("{\"code\":[1]}");
}
END_TEST

START_TEST(numeric_members_may_be_text_or_nothing)
{
    const struct remoting_frame *f =
        good("{\"code\":\"310\",\"opaque\":\"-2147483648\",\"version\":\"\",\"flag\":null}");

    ck_assert_int_eq(f->code, 310);
    ck_assert_int_eq(f->opaque, INT32_MIN);
    ck_assert_int_eq(f->version, 0);
    ck_assert_int_eq(f->flag, 0);
    ck_assert_int_eq(good("{\"opaque\":-2147483648}")->opaque, INT32_MIN);
    ck_assert_int_eq(good("{\"opaque\":2147483647}")->opaque, INT32_MAX);
    ck_assert_int_eq(good("{\"opaque\":999999999}")->opaque, 999999999);
    ck_assert_int_eq(good("{\"opaque\":1000000000}")->opaque, 1000000000);
    ck_assert_int_eq(good("{\"opaque\":-0}")->opaque, 0);
    ck_assert_int_eq(good("{\"opaque\":0 }")->opaque, 0);
}
END_TEST

START_TEST(numeric_members_that_are_no_32_bit_integers_are_refused)
{
    static const char *const values[] = {
        "2147483648", "-2147483649", "99999999999999999999",
        "1.5",        "1e3",         "01",
        "-01",        "00",          "true",
        "\"x\"",      "\"1 \"",      "\"1.0\"",
        "-",          "+1",          ".5",
        "1.",         "1e",          "1e+",
        "--1",        "0x1",         "NaN",
    };
    char text[64];

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(text, sizeof(text), "{\"code\":%s}", values[i]);
        bad(text);
    }
}
END_TEST

START_TEST(languages_are_known_by_name_and_by_number)
{
    char text[64];

    for (unsigned i = 0; i < REMOTING_LANGUAGES; i++) {
        snprintf(text, sizeof(text), "{\"language\":\"%s\"}", remoting_language_name(i));
        ck_assert_uint_eq(good(text)->language, i);
        snprintf(text, sizeof(text), "{\"language\":%u}", i);
        ck_assert_uint_eq(good(text)->language, i);
        snprintf(text, sizeof(text), "{\"language\":\"%u\"}", i);
        ck_assert_uint_eq(good(text)->language, i);
    }
    ck_assert_uint_eq(good("{\"language\":\"ZIG\"}")->language, REMOTING_OTHER);
    ck_assert_uint_eq(good("{\"language\":\"java\"}")->language, REMOTING_OTHER);
    ck_assert_uint_eq(good("{\"language\":14}")->language, REMOTING_OTHER);
    ck_assert_uint_eq(good("{\"language\":-1}")->language, REMOTING_OTHER);
    ck_assert_uint_eq(good("{\"language\":99999999999999999999}")->language, REMOTING_OTHER);
    ck_assert_uint_eq(good("{\"language\":null}")->language, REMOTING_JAVA);
}
END_TEST

START_TEST(remark_is_text_or_nothing)
{
    ck_assert(bytes_is(good("{\"remark\":\"a\\nb\"}")->remark, "a\nb"));
    ck_assert(bytes_is(good("{\"remark\":12}")->remark, "12"));
    ck_assert_uint_eq(good("{\"remark\":null}")->remark.len, 0);
    ck_assert_uint_eq(good("{\"remark\":\"\"}")->remark.len, 0);
}
END_TEST

START_TEST(escapes_are_decoded)
{
    static const struct {
        const char *json;
        struct bytes text;
    } cases[] = {
        {"\\\"", {(const uint8_t *)"\"", 1}},
        {"\\\\", {(const uint8_t *)"\\", 1}},
        {"\\/", {(const uint8_t *)"/", 1}},
        {"\\b\\f\\n\\r\\t", {(const uint8_t *)"\b\f\n\r\t", 5}},
        {"\\u0000", {(const uint8_t *)"\0", 1}},
        {"\\u0001", {(const uint8_t *)"\x01", 1}},
        {"\\u000A\\u000f", {(const uint8_t *)"\x0A\x0F", 2}},
        {"\\u0022\\u005c", {(const uint8_t *)"\"\\", 2}},
        {"\\u007F", {(const uint8_t *)"\x7F", 1}},
        {"\\u0080", {(const uint8_t *)"\xC2\x80", 2}},
        {"\\u00e9", {(const uint8_t *)"\xC3\xA9", 2}},
        {"\\u07FF", {(const uint8_t *)"\xDF\xBF", 2}},
        {"\\u0800", {(const uint8_t *)"\xE0\xA0\x80", 3}},
        {"\\u20AC", {(const uint8_t *)"\xE2\x82\xAC", 3}},
        {"\\uFFFF", {(const uint8_t *)"\xEF\xBF\xBF", 3}},
        {"\\ud83d\\ude00", {(const uint8_t *)"\xF0\x9F\x98\x80", 4}},
        {"\\uD800\\uDC00", {(const uint8_t *)"\xF0\x90\x80\x80", 4}},
        {"\\uDBFF\\uDFFF", {(const uint8_t *)"\xF4\x8F\xBF\xBF", 4}},
        {"KEYS\\u0001k\\u0002TAGS\\u0001TagA", {(const uint8_t *)"KEYS\x01k\x02TAGS\x01TagA", 16}},
        {"\\\\\\\\\\\"\\\"", {(const uint8_t *)"\\\\\"\"", 4}},
    };
    char text[512];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text),
                 "{\"extFields\":{\"a\":\"%s\",\"b\":\"<%s\",\"c\":\"%s>\",\"d\":\"d\"}}",
                 cases[i].json, cases[i].json, cases[i].json);
        const struct remoting_frame *f = good(text);
        const struct bytes *b = remoting_field(f, "b"), *c = remoting_field(f, "c");

        field_is(f, "a", cases[i].text);
        ck_assert(b && b->len == cases[i].text.len + 1 && b->at[0] == '<');
        ck_assert(bytes_equal(bytes_of(b->at + 1, b->len - 1), cases[i].text));
        ck_assert(c && c->len == cases[i].text.len + 1 && c->at[c->len - 1] == '>');
        ck_assert(bytes_equal(bytes_of(c->at, c->len - 1), cases[i].text));
        field_is(f, "d", BYTES_LIT("d"));
    }
}
END_TEST

START_TEST(halves_of_surrogate_pairs_become_replacement_characters)
{
    ck_assert(bytes_is(good("{\"remark\":\"\\uD83D\"}")->remark, "\xEF\xBF\xBD"));
    ck_assert(bytes_is(good("{\"remark\":\"\\uDE00\"}")->remark, "\xEF\xBF\xBD"));
    ck_assert(bytes_is(good("{\"remark\":\"\\uDFFFx\"}")->remark, "\xEF\xBF\xBDx"));
    ck_assert(bytes_is(good("{\"remark\":\"\\uD83D\\n\"}")->remark, "\xEF\xBF\xBD\n"));
    ck_assert(bytes_is(good("{\"remark\":\"\\uD83D\\u0041\"}")->remark, "\xEF\xBF\xBD"
                                                                        "A"));
    ck_assert(bytes_is(good("{\"remark\":\"\\uD83D\\uD83D\\uDE00\"}")->remark,
                       "\xEF\xBF\xBD\xF0\x9F\x98\x80"));
    bad("{\"remark\":\"\\uD83D\\u00\"}");
    bad("{\"remark\":\"\\uD83D\\u\"}");
}
END_TEST

START_TEST(bytes_that_json_would_escape_or_forbid_pass_through_strings)
{
    const struct remoting_frame *f =
        good("{\"extFields\":{\"i\":\"K\x01v\x02\",\"u\":\"h\xC3\xA9\",\"x\":\"\xFF\n\t{},:[]\"}}");

    field_is(f, "i", BYTES_LIT("K\x01v\x02"));
    field_is(f, "u", BYTES_LIT("h\xC3\xA9"));
    field_is(f, "x", BYTES_LIT("\xFF\n\t{},:[]"));
}
END_TEST

START_TEST(of_members_with_one_name_the_last_counts)
{
    const struct remoting_frame *f =
        good("{\"code\":1,\"extFields\":{\"old\":\"x\"},\"code\":2,\"extFields\":{\"a\":\"1\","
             "\"a\":\"2\"}}");

    ck_assert_int_eq(f->code, 2);
    ck_assert_ptr_null(remoting_field(f, "old"));
    field_is(f, "a", BYTES_LIT("2"));
    ck_assert_uint_eq(good("{\"extFields\":{\"a\":\"1\"},\"extFields\":null}")->field_count, 0);
}
END_TEST

START_TEST(fields_are_taken_up_to_the_bound)
{
    struct buf b = {0};

    for (int n = 60; n <= 70; n++) {
        buf_reset(&b);
        buf_add_str(&b, "{\"extFields\":{");
        for (int i = 0; i < n; i++)
            buf_addf(&b, "%s\"k%d\":\"%d\"", i ? "," : "", i, i);
        buf_add_str(&b, "},\"code\":9}");
        const struct remoting_frame *f = read_header(buf_bytes(&b));
        ck_assert_int_eq(decoded.result, n <= REMOTING_FIELDS_MAX ? 0 : REMOTING_BAD);
        if (decoded.result)
            continue;
        ck_assert_uint_eq(f->field_count, n);
        ck_assert_int_eq(f->code, 9);
        field_is(f, "k0", BYTES_LIT("0"));
        field_is(f, "k59", BYTES_LIT("59"));
    }
    buf_destroy(&b);
}
END_TEST

START_TEST(what_is_no_json_object_is_refused)
{
    static const char *const headers[] = {
        "",
        " ",
        "{",
        "}",
        "}{",
        "[]",
        "\"{}\"",
        "{}}",
        "{}{}",
        "{}x",
        "x{}",
        "{,}",
        "{\"code\"}",
        "{\"code\":}",
        "{\"code\":1,}",
        "{\"code\":1 \"flag\":0}",
        "{\"code\":1;\"flag\":0}",
        "{\"code\" 1}",
        "{code:1}",
        "{'code':1}",
        "{\"code\":1}}",
        "{\"code\":1]",
        "{\"code\":nul}",
        "{\"code\":nil}",
        "{\"x\":truE}",
        "{\"x\":fals}",
        "{\"x\":t}",
        "{\"x\":n}",
        "{\"x\":[1 2]}",
        "{\"x\":[1,]}",
        "{\"x\":[}",
        "{\"x\":[1}",
        "{\"x\":{\"y\":1}",
        "{\"x\":{]}",
        "{\"x\":\"}",
        "{\"x\":\"\\}",
        "{\"x\":\"\\\"}",
        "{\"x\":\"\\x\"}",
        "{\"x\":\"\\u\"}",
        "{\"x\":\"\\u12\"}",
        "{\"x\":\"\\u12G4\"}",
        "{\"x\":\"\\u000\"}",
        "{\"x\":\"\\U0001\"}",
        "{\"x\":\"\\u0001}",
        "{\"extFields\":{\"a\":\"b\"}",
        "{\"extFields\":{\"a\":\"b\",}}",
        "{\"extFields\":{\"a\":\"b\" \"c\":\"d\"}}",
        "{\"extFields\":{\"a\":\"b\",,\"c\":\"d\"}}",
        "{\"extFields\":{,\"a\":\"b\"}}",
        "{\"extFields\":{\"a\",\"b\"}}",
        "{\"extFields\":{\"a\":\"b\":\"c\"}}",
        "{\"extFields\":{\"a\":\"b\",\"c\"}}",
        "{\"extFields\":{\"a\":\"b\",\"c\":}}",
        "{\"extFields\":{\"a\":\"b\"c\":\"d\"}}",
        "{\"extFields\":{\"a\":b}}",
        "{\"extFields\":nul}",
        "\xEF\xBB\xBF{}",
    };

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        bad(headers[i]);
    read_header(bytes_of("{}\0", 3));
    ck_assert_int_eq(decoded.result, REMOTING_BAD);
    read_header(bytes_of("{\0}", 3));
    ck_assert_int_eq(decoded.result, REMOTING_BAD);
}
END_TEST

static const char *const samples[] = {
    "{\"code\":310,\"language\":\"JAVA\",\"version\":409,\"opaque\":7,\"flag\":0,\"extFields\":{"
    "\"a\":\"PG\",\"b\":\"T1\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"0\",\"f\":\"0\","
    "\"g\":\"1700000000000\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u00017F0000010001A1B2C3D4000000010000"
    "\\u0002WAIT\\u0001true\\u0002TAGS\\u0001TagA\",\"j\":\"0\",\"k\":\"false\",\"m\":\"false\","
    "\"n\":\"broker-a\"}}",
    "{ \"code\": 11, \"extFields\": { \"queueId\": 0, \"commit\": true, \"none\": null, "
    "\"e\": \"\\ud83d\\ude00\\\"\\\\\" }, \"flag\": 0, \"language\": \"CPP\", \"opaque\": -5, "
    "\"remark\": \"\\u00e9t\\u00e9\", \"x\": [1, {\"y\": [\"z\"]}], \"version\": \"333\" }",
};

/* A prefix of an object is never an object. The last byte seen may be anything. */
START_TEST(headers_that_end_early_are_refused)
{
    for (size_t s = 0; s < sizeof(samples) / sizeof(samples[0]); s++) {
        struct bytes all = bytes_str(samples[s]);
        good(samples[s]);
        for (size_t cut = 0; cut < all.len; cut++) {
            read_header(bytes_of(all.at, cut));
            ck_assert_msg(decoded.result == REMOTING_BAD, "cut at %zu", cut);

            /* closed by force: good or bad, but within bounds */
            struct buf b = {0};
            buf_add(&b, all.at, cut);
            buf_add_str(&b, "}");
            read_header(buf_bytes(&b));
            ck_assert(decoded.result != 0 || is_within(&decoded));
            buf_destroy(&b);
        }
    }
}
END_TEST

START_TEST(changed_bytes_do_no_harm)
{
    uint32_t random = 20240501, taken = 0;

    for (size_t s = 0; s < sizeof(samples) / sizeof(samples[0]); s++) {
        struct bytes header = bytes_str(samples[s]);
        struct buf b = {0};
        buf_add_be32(&b, (uint32_t)(4 + header.len + (s ? 100 : 0)));
        buf_add_be32(&b, (uint32_t)header.len);
        buf_add(&b, header.at, header.len);
        for (int i = 0; s && i < 100; i++)
            buf_add_u8(&b, '"');
        for (int round = 0; round < 20000; round++) {
            decoded_destroy(&decoded);
            decode_mutated(&decoded, buf_bytes(&b), &random);
            taken += decoded.result == 0;
            if (decoded.result == 0 && !is_within(&decoded))
                ck_abort_msg("round %d: a field lies outside the frame", round);
        }
        buf_destroy(&b);
    }
    ck_assert_uint_gt(taken, 1000); /* the changes are small enough to get deep */
}
END_TEST

/* Strings of every length, with special characters at random, as the last and as a middle field,
 * so that each way of scanning and moving meets each alignment. */
START_TEST(what_the_writer_escapes_is_read_back)
{
    static const char *const pieces[] = {"a",
                                         "bc",
                                         "\x01",
                                         "\x02",
                                         "\"",
                                         "\\",
                                         "\n",
                                         "\xC3\xA9",
                                         "\xE2\x82\xAC",
                                         "\xF0\x9F\x98\x80",
                                         "0123456789abcdef"};
    struct remoting_meta meta = {.code = 310, .version = 409, .has_fields = true};
    uint32_t random = 7;
    struct buf out = {0}, text = {0};

    for (int round = 0; round < 3000; round++) {
        struct remoting_writer w;
        uint32_t special = next_random(&random) % 4;
        size_t len = next_random(&random) % 200;

        buf_reset(&text);
        while (text.len < len) {
            uint32_t pick = next_random(&random);
            buf_add_str(&text, pieces[special && pick % 16 < special * 4 ? pick / 16 % 11 : 0]);
        }
        buf_reset(&out);
        remoting_begin(&w, &out, &meta);
        remoting_put(&w, "first", buf_bytes(&text));
        remoting_put_str(&w, "second", "2");
        remoting_put(&w, "third", buf_bytes(&text));
        if (round % 2)
            remoting_put_i64(&w, "fourth", round);
        remoting_end(&w);
        ck_assert(!out.failed && !text.failed);

        decoded_destroy(&decoded);
        decode_frame(&decoded, buf_bytes(&out));
        ck_assert_msg(decoded.result == 0, "%s", decoded.why);
        const struct bytes *first = remoting_field(&decoded.frame, "first");
        const struct bytes *third = remoting_field(&decoded.frame, "third");
        ck_assert(first && bytes_equal(*first, buf_bytes(&text)));
        ck_assert(third && bytes_equal(*third, buf_bytes(&text)));
        field_is(&decoded.frame, "second", BYTES_LIT("2"));
        ck_assert_uint_eq(decoded.frame.field_count, 3 + round % 2);
    }
    buf_destroy(&out);
    buf_destroy(&text);
}
END_TEST

START_TEST(stops_are_found_alike_by_words_and_by_vectors)
{
    uint32_t random = 3, wrong = 0;
    uint8_t block[64];

    for (int round = 0; round < 20000; round++) {
        uint64_t expected = 0;
        for (unsigned i = 0; i < sizeof(block); i++) {
            static const uint8_t near[] = {'"', '\\', '"' ^ 0x80, '\\' ^ 1, '"' - 1, 0, 0xFF, 'a'};
            block[i] = near[next_random(&random) % 8];
            if (block[i] == '"' || block[i] == '\\')
                expected |= UINT64_C(1) << i;
        }
        wrong += json_stops_64(block) != expected;
        for (unsigned i = 0; i < 64; i += 16)
            wrong += json_stops_16_by_word(block + i) != (expected >> i & 0xFFFF);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

static Suite *remoting_json_suite(void)
{
    Suite *s = suite_create("remoting_json");
    TCase *t = tcase_create("remoting_json");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, members_come_in_any_order);
    tcase_add_test(t, absent_members_are_zero_and_java);
    tcase_add_test(t, white_space_may_be_anywhere);
    tcase_add_test(t, unknown_members_of_any_type_are_skipped);
    tcase_add_test(t, names_with_escapes_are_the_same_names);
    tcase_add_test(t, skipped_values_are_nested_to_a_bound);
    tcase_add_test(t, field_values_of_other_types_become_text);
    tcase_add_test(t, field_values_that_are_no_scalars_are_refused);
    tcase_add_test(t, numeric_members_may_be_text_or_nothing);
    tcase_add_test(t, numeric_members_that_are_no_32_bit_integers_are_refused);
    tcase_add_test(t, languages_are_known_by_name_and_by_number);
    tcase_add_test(t, remark_is_text_or_nothing);
    tcase_add_test(t, escapes_are_decoded);
    tcase_add_test(t, halves_of_surrogate_pairs_become_replacement_characters);
    tcase_add_test(t, bytes_that_json_would_escape_or_forbid_pass_through_strings);
    tcase_add_test(t, of_members_with_one_name_the_last_counts);
    tcase_add_test(t, fields_are_taken_up_to_the_bound);
    tcase_add_test(t, what_is_no_json_object_is_refused);
    tcase_add_test(t, headers_that_end_early_are_refused);
    tcase_add_test(t, changed_bytes_do_no_harm);
    tcase_add_test(t, what_the_writer_escapes_is_read_back);
    tcase_add_test(t, stops_are_found_alike_by_words_and_by_vectors);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(remoting_json_suite)
