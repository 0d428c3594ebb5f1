/* test_json.c - fastjson's dialect, read and written. vectors/json_*.json are bodies and files that
 * RocketMQ 4.9.8 wrote.
 */
#include "common/json.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "unit.h"

/* Loads `text` and gives it back as strict JSON without white space, keys in their order. */
static void expect_strict(const char *text, const char *strict)
{
    struct err err = {0};
    json_t *tree = json_dialect_load(bytes_str(text), &err);

    ck_assert_msg(tree != NULL, "%s: %s", text, err.text);
    char *dump = json_dumps(tree, JSON_COMPACT);
    ck_assert_ptr_nonnull(dump);
    ck_assert_str_eq(dump, strict);
    free(dump);
    json_decref(tree);
}

static void expect_refused(struct bytes text, const char *why)
{
    struct err err = {0};
    json_t *tree = json_dialect_load(text, &err);

    ck_assert_msg(tree == NULL, "%.*s was accepted", (int)text.len, (const char *)text.at);
    ck_assert_str_eq(err.text, why);
    ck_assert_int_lt(err.code, 0);
    ck_assert_ptr_null(json_dialect_load(text, NULL));
}

static json_t *load(const char *text)
{
    json_t *tree = json_dialect_load(bytes_str(text), NULL);

    ck_assert_ptr_nonnull(tree);
    return tree;
}

static json_t *load_vector(const char *name, struct buf *text)
{
    struct err err = {0};
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", TERN_TEST_VECTORS, name);
    ck_assert_int_eq(file_load(path, 1 << 20, text), 0);
    json_t *tree = json_dialect_load(buf_bytes(text), &err);
    ck_assert_msg(tree != NULL, "%s: %s", name, err.text);
    return tree;
}

static bool mq_is(const struct json_mq *mq, const char *broker, int queue_id, const char *topic)
{
    return bytes_is(mq->broker_name, broker) && mq->queue_id == queue_id &&
           bytes_is(mq->topic, topic);
}

/* --- reading --- */

START_TEST(strict_json_stays_what_it_is)
{
    expect_strict("{}", "{}");
    expect_strict("[]", "[]");
    expect_strict(" {\"a\" : [ 1 , -2.5,true,\tfalse, null ],\r\n\"b\":{\"c\":\"\\u00e9\\/\"}}\n",
                  "{\"a\":[1,-2.5,true,false,null],\"b\":{\"c\":\"\xc3\xa9/\"}}");
    expect_strict("[[[]],{},{\"a\":{}},\"\"]", "[[[]],{},{\"a\":{}},\"\"]");
}
END_TEST

START_TEST(bare_integer_keys_become_string_keys)
{
    expect_strict("{0:\"a\",1:\"b\"}", "{\"0\":\"a\",\"1\":\"b\"}");
    expect_strict("{-1:0, 9223372036854775807 :1}", "{\"-1\":0,\"9223372036854775807\":1}");
    expect_strict("{\"offsetTable\":{\"T@G\":{0:5,1:9}}}",
                  "{\"offsetTable\":{\"T@G\":{\"0\":5,\"1\":9}}}");
}
END_TEST

START_TEST(an_object_key_becomes_its_text_without_white_space)
{
    expect_strict(
        "{{\"brokerName\":\"b\",\"queueId\":0,\"topic\":\"T\"}:5}",
        "{\"{\\\"brokerName\\\":\\\"b\\\",\\\"queueId\\\":0,\\\"topic\\\":\\\"T\\\"}\":5}");
    expect_strict("{ { \"a\" : [ 1 , {2:true} ] } : { {}:[] } , \"z\":0}",
                  "{\"{\\\"a\\\":[1,{\\\"2\\\":true}]}\":{\"{}\":[]},\"z\":0}");
    /* escapes within such a key stay the escapes of its text */
    expect_strict("{{\"a\":\"q\\\"\\\\\\u0001\"}:1}",
                  "{\"{\\\"a\\\":\\\"q\\\\\\\"\\\\\\\\\\\\u0001\\\"}\":1}");
}
END_TEST

START_TEST(single_quotes_and_raw_control_characters_are_read_as_fastjson_reads_them)
{
    expect_strict("{'a':'say \"hi\", it\\'s'}", "{\"a\":\"say \\\"hi\\\", it's\"}");
    expect_strict("{\"it\\'s\":\"x'y\"}", "{\"it's\":\"x'y\"}");
    expect_strict("[\"a\tb\x01\"]", "[\"a\\tb\\u0001\"]");
    expect_strict("{{'t':'\"'}:0}", "{\"{\\\"t\\\":\\\"\\\\\\\"\\\"}\":0}");
}
END_TEST

START_TEST(integers_keep_all_their_digits)
{
    json_t *tree = load("{\"max\":9223372036854775807,\"min\":-9223372036854775808,"
                        "\"text\":\"9007199254740993\"}");

    ck_assert_int_eq(json_get_i64(tree, "max", 0), INT64_MAX);
    ck_assert_int_eq(json_get_i64(tree, "min", 0), INT64_MIN);
    ck_assert_int_eq(json_get_i64(tree, "text", 0), 9007199254740993);
    json_decref(tree);
}
END_TEST

START_TEST(of_equal_keys_the_last_counts)
{
    expect_strict("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}");
    expect_strict("{0:1,\"0\":2}", "{\"0\":2}");
}
END_TEST

START_TEST(malformed_text_is_refused_with_its_byte)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "malformed JSON at byte 0: expected more, found the end"},
        {" \n", "malformed JSON at byte 2: expected more, found the end"},
        {"1", "malformed JSON at byte 0: expected an object or an array, found '1'"},
        {"\"a\"", "malformed JSON at byte 0: expected an object or an array, found '\"'"},
        {"}", "malformed JSON at byte 0: expected an object or an array, found '}'"},
        {"{", "malformed JSON at byte 1: expected more, found the end"},
        {"{]", "malformed JSON at byte 1: expected a key, found ']'"},
        {"[}", "malformed JSON at byte 1: expected a value, found '}'"},
        {"{a:1}", "malformed JSON at byte 1: expected a key, found 'a'"},
        {"{-:1}", "malformed JSON at byte 1: expected a key, found '-'"},
        {"{1.5:1}", "malformed JSON at byte 2: expected ':', found '.'"},
        {"{[1]:1}", "malformed JSON at byte 1: expected a key, found '['"},
        {"{\"a\" 1}", "malformed JSON at byte 5: expected ':', found '1'"},
        {"{\"a\":}", "malformed JSON at byte 5: expected a value, found '}'"},
        {"{\"a\":1,}", "malformed JSON at byte 7: expected a key, found '}'"},
        {"{\"a\":1 \"b\":2}", "malformed JSON at byte 7: expected ',' or '}', found '\"'"},
        {"[1,]", "malformed JSON at byte 3: expected a value, found ']'"},
        {"[1 2]", "malformed JSON at byte 3: expected ',' or ']', found '2'"},
        {"[1}", "malformed JSON at byte 2: expected ',' or ']', found '}'"},
        {"[1]]", "malformed JSON at byte 3: expected the end, found ']'"},
        {"{} x", "malformed JSON at byte 3: expected the end, found 'x'"},
        {"[\"abc", "malformed JSON at byte 5: expected the closing '\"', found the end"},
        {"['abc\"", "malformed JSON at byte 6: expected the closing \"'\", found the end"},
        {"[\"abc\\", "malformed JSON at byte 6: expected an escaped character, found the end"},
        {"[\xff]", "malformed JSON at byte 1: expected a value, found 0xff"},
        {"{{{}:1}:2}",
         "malformed JSON at byte 2: expected no object as a key within a key, found '{'"},
        {"{{\"a\":1}}", "malformed JSON at byte 8: expected ':', found '}'"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_refused(bytes_str(cases[i].text), cases[i].why);
    expect_refused(BYTES_LIT("[\"a\0b\"]"),
                   "malformed JSON at byte 3: expected text without NUL, found 0x00");
    expect_refused(BYTES_LIT("{{\"a\\u0000\":0}:0}"),
                   "malformed JSON at byte 4: expected text without NUL, found '\\'");
    expect_refused(BYTES_LIT("[1,\0]"), "malformed JSON at byte 3: expected a value, found 0x00");
}
END_TEST

/* What the strict parser refuses is in the rewritten text; the byte that is named is the sender's.
 */
START_TEST(a_bad_token_is_named_by_its_byte_in_what_was_sent)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{0:{1:truth}}", "malformed JSON at byte 6: invalid token"},
        {"{1:2, 3:[0, 01]}", "malformed JSON at byte 12: invalid token"},
        {"[  9223372036854775808]", "malformed JSON at byte 3: too big integer"},
        {"{{\"a\":1}:1e999}", "malformed JSON at byte 9: real number overflow"},
        {"[0,\"\\q\"]", "malformed JSON at byte 3: invalid escape"},
        {"{7:0, \"\xc3\x28\":1}", "malformed JSON at byte 6: unable to decode byte 0xc3"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        ck_assert_ptr_null(json_dialect_load(bytes_str(cases[i].text), &err));
        ck_assert_msg(strncmp(err.text, cases[i].why, strlen(cases[i].why)) == 0,
                      "%s: \"%s\" does not begin with \"%s\"", cases[i].text, err.text,
                      cases[i].why);
        ck_assert_int_eq(err.code, -EINVAL);
    }
}
END_TEST

START_TEST(nesting_is_bounded)
{
    char text[2 * JSON_DEPTH_MAX + 8];
    struct err err;
    json_t *tree;

    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    tree = json_dialect_load(bytes_of(text, (size_t)2 * JSON_DEPTH_MAX), &err);
    ck_assert_ptr_nonnull(tree);
    json_decref(tree);

    memset(text, '[', JSON_DEPTH_MAX + 1);
    ck_assert_ptr_null(json_dialect_load(bytes_of(text, JSON_DEPTH_MAX + 1), &err));
    ck_assert_int_eq(err.code, -E2BIG);
    ck_assert_str_eq(err.text, "JSON at byte 32: nested deeper than 32");
}
END_TEST

START_TEST(the_number_of_values_is_bounded)
{
    size_t size = 2 * (size_t)JSON_VALUES_MAX + 3;
    char *text = malloc(size);
    struct err err;

    ck_assert_ptr_nonnull(text);
    text[0] = '[';
    for (size_t i = 1; i < size; i += 2) {
        text[i] = '0';
        text[i + 1 < size ? i + 1 : i] = ',';
    }
    ck_assert_ptr_null(json_dialect_load(bytes_of(text, size), &err));
    ck_assert_int_eq(err.code, -E2BIG);
    ck_assert_ptr_nonnull(strstr(err.text, "more than 4194304 values"));
    free(text);
}
END_TEST

START_TEST(bodies_and_files_of_rocketmq_are_read)
{
    struct buf text = {0};
    struct json_mq mq;
    const char *key;
    json_t *value;

    json_t *tree = load_vector("json_cluster_info.json", &text);
    json_t *broker = json_object_get(json_object_get(tree, "brokerAddrTable"), "broker-a");
    json_t *addrs = json_object_get(broker, "brokerAddrs");
    ck_assert(bytes_is(json_get_str(addrs, "0"), "127.0.0.1:10911"));
    ck_assert(bytes_is(json_get_str(addrs, "1"), "127.0.0.1:10921"));
    json_decref(tree);

    buf_reset(&text);
    tree = load_vector("json_reset_offsets.json", &text);
    static const int ids[] = {0, 3, 1, 2};
    size_t count = 0;
    json_object_foreach(json_object_get(tree, "offsetTable"), key, value)
    {
        ck_assert(json_mq_of_text(bytes_str(key), &mq));
        ck_assert_uint_lt(count, 4);
        ck_assert(mq_is(&mq, "broker-a", ids[count++], "TopicC"));
        ck_assert_int_eq(json_integer_value(value), 0);
    }
    ck_assert_uint_eq(count, 4);
    json_decref(tree);

    buf_reset(&text);
    tree = load_vector("json_consumer_offset.json", &text);
    value = json_object_get(json_object_get(tree, "offsetTable"), "FixOrders@Fix_G");
    ck_assert_uint_eq(json_object_size(value), 4);
    ck_assert_int_eq(json_get_i64(value, "3", -1), 135);
    json_decref(tree);

    buf_reset(&text);
    tree = load_vector("json_delay_offset.json", &text);
    ck_assert_int_eq(json_get_i64(json_object_get(tree, "offsetTable"), "1", -1), 24);
    json_decref(tree);
    buf_destroy(&text);
}
END_TEST

START_TEST(getters_accept_text_for_numbers_and_the_reverse)
{
    json_t *tree = load("{\"i\":5,\"s\":\"-7\",\"r\":2.9,\"t\":true,\"f\":false,\"T\":\"TRUE\","
                        "\"one\":1,\"zero\":0,\"no\":\"no\",\"e\":\"\",\"n\":null,\"o\":{},"
                        "\"big\":1e300}");

    ck_assert_int_eq(json_get_i64(tree, "i", 1), 5);
    ck_assert_int_eq(json_get_i64(tree, "s", 1), -7);
    ck_assert_int_eq(json_get_i64(tree, "r", 1), 2);
    ck_assert_int_eq(json_get_i64(tree, "t", 7), 1);
    ck_assert_int_eq(json_get_i64(tree, "f", 7), 0);
    static const char *const none[] = {"no", "e", "n", "o", "big", "absent"};
    for (size_t i = 0; i < 6; i++)
        ck_assert_int_eq(json_get_i64(tree, none[i], 42), 42);

    ck_assert(json_get_bool(tree, "t", false));
    ck_assert(!json_get_bool(tree, "f", true));
    ck_assert(json_get_bool(tree, "T", false));
    ck_assert(json_get_bool(tree, "one", false));
    ck_assert(!json_get_bool(tree, "zero", true));
    ck_assert(!json_get_bool(tree, "no", true));
    ck_assert(json_get_bool(tree, "e", true) && !json_get_bool(tree, "e", false));
    ck_assert(json_get_bool(tree, "n", true) && !json_get_bool(tree, "n", false));
    ck_assert(json_get_bool(tree, "absent", true) && !json_get_bool(tree, "absent", false));

    ck_assert(bytes_is(json_get_str(tree, "s"), "-7"));
    ck_assert_uint_eq(json_get_str(tree, "i").len, 0);
    ck_assert_uint_eq(json_get_str(tree, "absent").len, 0);
    json_t *text = json_object_get(tree, "s");
    ck_assert_int_eq(json_get_i64(NULL, "i", 42), 42);
    ck_assert_int_eq(json_get_i64(text, "i", 42), 42);
    ck_assert(json_get_bool(text, "i", true));
    ck_assert_uint_eq(json_get_str(NULL, "i").len, 0);
    json_decref(tree);
}
END_TEST

START_TEST(a_queue_is_read_from_an_object_or_from_its_text)
{
    json_t *tree =
        load("[{\"brokerName\":\"b\",\"queueId\":3,\"topic\":\"T\"},"
             "{\"topic\":\"T\",\"queueId\":\"3\",\"other\":[]},"
             "\"{\\\"brokerName\\\":\\\"b\\\",\\\"queueId\\\":3,\\\"topic\\\":\\\"T\\\"}\","
             "{\"topic\":\"T\"},"
             "{\"queueId\":3},{\"topic\":\"T\",\"queueId\":2147483648},"
             "{\"topic\":\"T\",\"queueId\":\"x\"},{\"topic\":\"\"},[],3,null]");
    struct json_mq mq;

    ck_assert(json_mq_of(json_array_get(tree, 0), &mq) && mq_is(&mq, "b", 3, "T"));
    ck_assert(json_mq_of(json_array_get(tree, 1), &mq) && mq_is(&mq, "", 3, "T"));
    ck_assert(json_mq_of(json_array_get(tree, 2), &mq) && mq_is(&mq, "b", 3, "T"));
    ck_assert(json_mq_of(json_array_get(tree, 3), &mq) && mq_is(&mq, "", 0, "T"));
    for (size_t i = 4; i < json_array_size(tree); i++)
        ck_assert_msg(!json_mq_of(json_array_get(tree, i), &mq), "element %zu is no queue", i);
    ck_assert(!json_mq_of(NULL, &mq));
    json_decref(tree);
}
END_TEST

START_TEST(the_text_of_a_queue_may_have_any_order_and_strange_members)
{
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "{\"topic\"}",
        "{\"topic\":\"T\"",
        "{\"topic\":\"T\"}x",
        "{\"topic\":\"T\",}",
        "{\"topic\":T}",
        "{topic:\"T\"}",
        "{\"topic\":\"T}",
        "{\"topic\":\"T\\u0041\"}",
        "{\"topic\":{\"a\":1}}",
        "{\"topic\":\"T\",\"queueId\":1.5}",
        "{\"topic\":\"T\",\"queueId\":}",
        "[\"topic\"]",
    };
    struct json_mq mq;

    ck_assert(json_mq_of_text(
        BYTES_LIT(
            " { \"topic\" : \"%RETRY%G\" , \"x\":1,\"queueId\":\"2\", \"brokerName\":\"b\"}\n"),
        &mq));
    ck_assert(mq_is(&mq, "b", 2, "%RETRY%G"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!json_mq_of_text(bytes_str(bad[i]), &mq), "%s is no queue", bad[i]);
    ck_assert(!json_mq_of_text(bytes_of(NULL, 0), &mq));
}
END_TEST

/* --- writing --- */

static struct buf out;
static struct json_out j;

static void writer_begin(void)
{
    jout_begin(&j, &out);
}

static void writer_end(void)
{
    buf_destroy(&out);
}

static void expect_out(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(bytes_is(buf_bytes(&out), text), "wrote %.*s, not %s", (int)out.len,
                  (const char *)buf_at(&out), text);
    buf_reset(&out);
    jout_begin(&j, &out);
}

START_TEST(commas_and_colons_are_the_writers_work)
{
    jout_object(&j);
    jout_kv_str(&j, "a", "x");
    jout_kv_i64(&j, "b", INT64_MIN);
    jout_key(&j, "c");
    jout_array(&j);
    jout_i64(&j, 1);
    jout_boolean(&j, true);
    jout_null(&j);
    jout_array(&j);
    jout_array_end(&j);
    jout_object(&j);
    jout_object_end(&j);
    jout_raw(&j, BYTES_LIT("{\"raw\":0}"));
    jout_array_end(&j);
    jout_kv_bool(&j, "d", false);
    jout_kv_bytes(&j, "e", bytes_of(NULL, 0));
    jout_object_end(&j);
    expect_out("{\"a\":\"x\",\"b\":-9223372036854775808,\"c\":[1,true,null,[],{},{\"raw\":0}],"
               "\"d\":false,\"e\":\"\"}");
    jout_array(&j);
    jout_array_end(&j);
    expect_out("[]");
}
END_TEST

START_TEST(keys_have_three_forms)
{
    jout_object(&j);
    jout_key_int(&j, 0);
    jout_i64(&j, 5);
    jout_key_int(&j, -1);
    jout_i64(&j, 6);
    jout_key_int_quoted(&j, 0);
    jout_str(&j, "127.0.0.1:10911");
    jout_key_mq(&j, BYTES_LIT("b"), 0, BYTES_LIT("T"));
    jout_mq(&j, BYTES_LIT("b"), 1, BYTES_LIT("T"));
    jout_key_bytes(&j, BYTES_LIT("T@G"));
    jout_null(&j);
    jout_object_end(&j);
    expect_out("{0:5,-1:6,\"0\":\"127.0.0.1:10911\",{\"brokerName\":\"b\",\"queueId\":0,\"topic\":"
               "\"T\"}:{\"brokerName\":\"b\",\"queueId\":1,\"topic\":\"T\"},\"T@G\":null}");
}
END_TEST

START_TEST(strings_are_escaped_as_fastjson_escapes_them)
{
    jout_array(&j);
    jout_str(&j, "\"\\\n\r\t\b\f/");
    jout_str(&j, "KEYS\x01k\x02\x1f");
    jout_str(&j, "h\xc3\xa9 \xf0\x9f\x90\x9f");
    jout_bytes(&j, BYTES_LIT("a\xff\0z"));
    jout_array_end(&j);
    expect_out("[\"\\\"\\\\\\n\\r\\t\\b\\f/\",\"KEYS\\u0001k\\u0002\\u001F\","
               "\"h\xc3\xa9 \xf0\x9f\x90\x9f\",\"a\xef\xbf\xbd\\u0000z\"]");
}
END_TEST

START_TEST(doubles_look_as_java_prints_them)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {1.5, "1.5"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {0.25, "0.25"},
        {0.012, "0.012"},
        {0.001, "0.001"},
        {0.00123, "0.00123"},
        {0.0001, "1.0E-4"},
        {0.000123, "1.23E-4"},
        {100, "100.0"},
        {123456, "123456.0"},
        {9999999, "9999999.0"},
        {1234567.125, "1234567.125"},
        {10000000, "1.0E7"},
        {12345678, "1.2345678E7"},
        {1e21, "1.0E21"},
        {1.0 / 3, "0.3333333333333333"},
        {DBL_MAX, "1.7976931348623157E308"},
        {NAN, "null"},
        {INFINITY, "null"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jout_double(&j, cases[i].v);
        expect_out(cases[i].text);
    }
}
END_TEST

static const char *addr_of(json_t *addrs, const char *id)
{
    return json_string_value(json_object_get(addrs, id));
}

START_TEST(bodies_of_rocketmq_are_written_byte_for_byte)
{
    struct buf text = {0};
    json_t *tree = load_vector("json_cluster_info.json", &text);
    json_t *broker = json_object_get(json_object_get(tree, "brokerAddrTable"), "broker-a");
    json_t *addrs = json_object_get(broker, "brokerAddrs");

    jout_object(&j);
    jout_key(&j, "brokerAddrTable");
    jout_object(&j);
    jout_key(&j, "broker-a");
    jout_object(&j);
    jout_key(&j, "brokerAddrs");
    jout_object(&j);
    jout_key_int(&j, 0);
    jout_str(&j, addr_of(addrs, "0"));
    jout_key_int(&j, 1);
    jout_str(&j, addr_of(addrs, "1"));
    jout_object_end(&j);
    jout_kv_bytes(&j, "brokerName", json_get_str(broker, "brokerName"));
    jout_kv_bytes(&j, "cluster", json_get_str(broker, "cluster"));
    jout_object_end(&j);
    jout_object_end(&j);
    jout_key(&j, "clusterAddrTable");
    jout_object(&j);
    jout_key(&j, "DefaultCluster");
    jout_array(&j);
    jout_str(&j, "broker-a");
    jout_array_end(&j);
    jout_object_end(&j);
    jout_object_end(&j);
    ck_assert(bytes_equal(buf_bytes(&out), buf_bytes(&text)));
    json_decref(tree);

    buf_reset(&out);
    buf_reset(&text);
    jout_begin(&j, &out);
    tree = load_vector("json_consume_stats.json", &text);
    jout_object(&j);
    jout_key(&j, "consumeTps");
    jout_double(&j, json_real_value(json_object_get(tree, "consumeTps")));
    jout_key(&j, "offsetTable");
    jout_object(&j);
    const char *key;
    json_t *row;
    json_object_foreach(json_object_get(tree, "offsetTable"), key, row)
    {
        struct json_mq mq;
        ck_assert(json_mq_of_text(bytes_str(key), &mq));
        jout_key_mq(&j, mq.broker_name, mq.queue_id, mq.topic);
        jout_object(&j);
        jout_kv_i64(&j, "brokerOffset", json_get_i64(row, "brokerOffset", -1));
        jout_kv_i64(&j, "consumerOffset", json_get_i64(row, "consumerOffset", -1));
        jout_kv_i64(&j, "lastTimestamp", json_get_i64(row, "lastTimestamp", -1));
        jout_object_end(&j);
    }
    jout_object_end(&j);
    jout_object_end(&j);
    ck_assert(bytes_equal(buf_bytes(&out), buf_bytes(&text)));
    json_decref(tree);
    buf_destroy(&text);
}
END_TEST

START_TEST(what_is_written_reads_back)
{
    struct json_mq mq;
    struct err err;

    jout_object(&j);
    jout_key_mq(&j, BYTES_LIT("b"), 7, BYTES_LIT("%RETRY%G"));
    jout_bytes(&j, BYTES_LIT("\x01\x1f\"\\/\n\xe8\xae\xa2"));
    jout_object_end(&j);
    json_t *tree = json_dialect_load(buf_bytes(&out), &err);
    ck_assert_ptr_nonnull(tree);
    const char *key = json_object_iter_key(json_object_iter(tree));
    ck_assert(json_mq_of_text(bytes_str(key), &mq) && mq_is(&mq, "b", 7, "%RETRY%G"));
    ck_assert(bytes_is(json_get_str(tree, key), "\x01\x1f\"\\/\n\xe8\xae\xa2"));
    json_decref(tree);
}
END_TEST

START_TEST(a_key_in_an_array_is_a_mistake_of_ours)
{
    jout_array(&j);
    jout_key(&j, "k");
}
END_TEST

START_TEST(a_value_without_a_key_is_a_mistake_of_ours)
{
    jout_object(&j);
    jout_i64(&j, 1);
}
END_TEST

START_TEST(an_object_closed_after_a_key_is_a_mistake_of_ours)
{
    jout_object(&j);
    jout_key(&j, "k");
    jout_object_end(&j);
}
END_TEST

static Suite *json_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *reading = tcase_create("reading");
    TCase *writing = tcase_create("writing");

    tcase_add_test(reading, strict_json_stays_what_it_is);
    tcase_add_test(reading, bare_integer_keys_become_string_keys);
    tcase_add_test(reading, an_object_key_becomes_its_text_without_white_space);
    tcase_add_test(reading,
                   single_quotes_and_raw_control_characters_are_read_as_fastjson_reads_them);
    tcase_add_test(reading, integers_keep_all_their_digits);
    tcase_add_test(reading, of_equal_keys_the_last_counts);
    tcase_add_test(reading, malformed_text_is_refused_with_its_byte);
    tcase_add_test(reading, a_bad_token_is_named_by_its_byte_in_what_was_sent);
    tcase_add_test(reading, nesting_is_bounded);
    tcase_add_test(reading, the_number_of_values_is_bounded);
    tcase_add_test(reading, bodies_and_files_of_rocketmq_are_read);
    tcase_add_test(reading, getters_accept_text_for_numbers_and_the_reverse);
    tcase_add_test(reading, a_queue_is_read_from_an_object_or_from_its_text);
    tcase_add_test(reading, the_text_of_a_queue_may_have_any_order_and_strange_members);
    suite_add_tcase(suite, reading);

    tcase_add_checked_fixture(writing, writer_begin, writer_end);
    tcase_add_test(writing, commas_and_colons_are_the_writers_work);
    tcase_add_test(writing, keys_have_three_forms);
    tcase_add_test(writing, strings_are_escaped_as_fastjson_escapes_them);
    tcase_add_test(writing, doubles_look_as_java_prints_them);
    tcase_add_test(writing, bodies_of_rocketmq_are_written_byte_for_byte);
    tcase_add_test(writing, what_is_written_reads_back);
    suite_add_tcase(suite, writing);

    const char *fork = getenv("CK_FORK");
    if (!fork || strcmp(fork, "no") != 0) { /* these end the process that they run in */
        TCase *misuse = tcase_create("misuse");
        tcase_add_checked_fixture(misuse, writer_begin, writer_end);
        tcase_add_test_raise_signal(misuse, a_key_in_an_array_is_a_mistake_of_ours, SIGABRT);
        tcase_add_test_raise_signal(misuse, a_value_without_a_key_is_a_mistake_of_ours, SIGABRT);
        tcase_add_test_raise_signal(misuse, an_object_closed_after_a_key_is_a_mistake_of_ours,
                                    SIGABRT);
        suite_add_tcase(suite, misuse);
    }
    return suite;
}

UNIT_MAIN(json_suite)
