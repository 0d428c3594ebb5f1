/* test_registration.c - bodies of registrations: good, old, compressed, and hostile.
 * vectors/register_* were sent by a RocketMQ 4.9.8 broker. */
#include "namesrv/registration.h"

#include <errno.h>
#include <stdio.h>
#include <zlib.h>

#include "common/file.h"
#include "unit.h"

static struct registration r;
static struct err err;

static void setup(void)
{
    r = (struct registration){0};
    err = (struct err){0};
}

static void teardown(void)
{
    registration_destroy(&r);
}

static void load_vector(const char *name, struct buf *out)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", TERN_TEST_VECTORS, name);
    ck_assert_int_eq(file_load(path, 1 << 20, out), 0);
}

static int decode(const char *text)
{
    registration_destroy(&r);
    return registration_decode(bytes_str(text), false, &r, &err);
}

static const struct route_topic_config *topic(const char *name)
{
    for (size_t i = 0; i < r.topic_count; i++) {
        if (bytes_is(r.topics[i].name, name))
            return &r.topics[i];
    }
    ck_abort_msg("no topic %s", name);
    return NULL;
}

static void compress_into(struct bytes plain, struct buf *out)
{
    uLongf size = compressBound(plain.len);

    ck_assert_ptr_nonnull(buf_reserve(out, size));
    ck_assert_int_eq(compress2(buf_at(out), &size, plain.at, plain.len, 9), Z_OK);
    out->len = size;
}

static int decode_compressed(const struct buf *plain, bool said)
{
    struct buf packed = {0};
    int result;

    compress_into(buf_bytes(plain), &packed);
    registration_destroy(&r);
    result = registration_decode(buf_bytes(&packed), said, &r, &err);
    buf_destroy(&packed);
    return result;
}

static void add_block(struct buf *b, const char *text)
{
    buf_add_be32(b, (uint32_t)strlen(text));
    buf_add_str(b, text);
}

/* ---- JSON ---- */

START_TEST(a_recorded_body_is_read_whole)
{
    struct buf body = {0};

    load_vector("register_plain.json", &body);
    ck_assert_int_eq(registration_decode(buf_bytes(&body), false, &r, &err), 0);

    ck_assert_uint_eq(r.topic_count, 8);
    ck_assert_int_eq(r.version.counter, 0);
    ck_assert_int_eq(r.version.timestamp, 1795363487448);
    ck_assert_int_eq(r.version.state, 0);
    ck_assert(r.has_filters);
    ck_assert_uint_eq(r.filter_count, 0);
    ck_assert_int_eq(topic("BenchmarkTest")->read_queues, 1024);
    ck_assert_int_eq(topic("TBW102")->perm, 7);
    buf_destroy(&body);
}
END_TEST

START_TEST(an_empty_body_is_an_empty_registration)
{
    ck_assert_int_eq(decode(""), 0);
    ck_assert_uint_eq(r.topic_count, 0);
    ck_assert(!r.has_filters);
    ck_assert_int_eq(decode("{}"), 0);
    ck_assert_int_eq(decode("null"), 0);
    ck_assert_int_eq(decode("{\"topicConfigSerializeWrapper\":null,\"filterServerList\":null}"), 0);
    ck_assert(!r.has_filters);
}
END_TEST

START_TEST(an_old_sender_sends_the_bare_wrapper)
{
    ck_assert_int_eq(decode("{\"dataVersion\":{\"counter\":3,\"timestamp\":9},\"topicConfigTable\":"
                            "{\"T\":{\"perm\":6,\"readQueueNums\":2,\"writeQueueNums\":3}}}"),
                     0);
    ck_assert_int_eq(r.version.counter, 3);
    ck_assert_int_eq(topic("T")->write_queues, 3);
}
END_TEST

START_TEST(members_of_5x_are_read_or_skipped)
{
    ck_assert_int_eq(
        decode("{\"filterServerList\":[\"10.0.0.1:1\",\"10.0.0.1:2\"],"
               "\"topicConfigSerializeWrapper\":{\"dataVersion\":"
               "{\"counter\":3,\"stateVersion\":7,\"timestamp\":9},"
               "\"mappingDataVersion\":{\"counter\":0},\"topicConfigTable\":{\"T\":"
               "{\"attributes\":{\"+message.type\":\"FIFO\"},\"order\":false,\"perm\":6,"
               "\"readQueueNums\":2,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"T\","
               "\"topicSysFlag\":3,\"writeQueueNums\":2}},"
               "\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}}"),
        0);
    ck_assert_int_eq(r.version.state, 7);
    ck_assert_int_eq(topic("T")->sys_flag, 3);
    ck_assert_uint_eq(r.filter_count, 2);
    ck_assert(bytes_is(r.filters[1], "10.0.0.1:2"));
}
END_TEST

START_TEST(names_with_escapes_are_read)
{
    ck_assert_int_eq(decode("{\"topicConfigTable\":{\"\\u4e2d\\u6587\":{\"perm\":6},"
                            "\"caf\xc3\xa9\":{\"perm\":4},\"\\u0041b\":{\"perm\":2}}}"),
                     0);
    ck_assert_int_eq(topic("\xe4\xb8\xad\xe6\x96\x87")->perm, 6);
    ck_assert_int_eq(topic("caf\xc3\xa9")->perm, 4);
    ck_assert_int_eq(topic("Ab")->perm, 2);
}
END_TEST

START_TEST(names_of_removed_topics_are_read)
{
    ck_assert_int_eq(decode("{\"ternRemovedTopics\":{\"T\":true,\"\\u0041b\":true},"
                            "\"topicConfigSerializeWrapper\":{\"topicConfigTable\":{}}}"),
                     0);
    ck_assert_uint_eq(r.topic_count, 0);
    ck_assert_uint_eq(r.removed_count, 2);
    ck_assert(bytes_is(r.removed[0], "T") && bytes_is(r.removed[1], "Ab"));
    ck_assert_int_eq(decode("{\"ternRemovedTopics\":null}"), 0);
    ck_assert_uint_eq(r.removed_count, 0);
    ck_assert_int_eq(decode("{\"ternRemovedTopics\":{\"\":true}}"), -EINVAL);
    ck_assert_int_eq(decode("{\"ternRemovedTopics\":{\"T\":true}"), -EINVAL);
}
END_TEST

START_TEST(numbers_may_be_strings_and_a_null_topic_is_none)
{
    ck_assert_int_eq(decode("{\"topicConfigTable\":{\"T\":{\"perm\":\"6\",\"readQueueNums\":\"8\"},"
                            "\"U\":null}}"),
                     0);
    ck_assert_uint_eq(r.topic_count, 1);
    ck_assert_int_eq(topic("T")->read_queues, 8);
    ck_assert_int_eq(topic("T")->write_queues, 0);
}
END_TEST

static const struct {
    const char *body;
    const char *why;
} bad_bodies[] = {
    {"x", "the body: expected an object"},
    {"[]", "the body: expected an object"},
    {"{\"topicConfigTable\":[]}", "topicConfigTable: expected an object"},
    {"{\"topicConfigSerializeWrapper\":3}", "topicConfigSerializeWrapper: expected an object"},
    {"{\"topicConfigTable\":{\"T\":3}}", NULL},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":}}}", NULL},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":6,\"readQueueNums\":-1}}}",
     "topic T: readQueueNums is -1, expected 0 to 1048576"},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":6,\"writeQueueNums\":99999999999}}}",
     "topic T: writeQueueNums is 99999999999, expected a whole number"},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":6x}}}",
     "topic T: perm is 6x, expected a whole number"},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":\"\"}}}",
     "topic T: perm is \"\", expected a whole number"},
    {"{\"topicConfigTable\":{\"T\":{\"perm\":64}}}", "topic T: perm is 64, expected 0 to 15"},
    {"{\"topicConfigTable\":{\"\":{\"perm\":6}}}", NULL},
    {"{\"topicConfigTable\":{\"a\\nb\":{\"perm\":6}}}", NULL},
    {"{\"topicConfigTable\":{\"a\xff\":{\"perm\":6}}}", NULL},
    {"{\"topicConfigTable\":{\"a\\u0000\":{\"perm\":6}}}", NULL},
    {"{\"dataVersion\":7}", NULL},
    {"{\"dataVersion\":[7]}", "dataVersion is not an object"},
    {"{\"filterServerList\":{}}", "filterServerList is not an array"},
    {"{\"filterServerList\":[7]}", "filterServerList: entry 0 is not an address"},
    {"{\"filterServerList\":[\"\"]}", "filterServerList: entry 0 is not an address"},
};

START_TEST(a_bad_body_is_refused_with_a_sentence)
{
    ck_assert_int_eq(decode(bad_bodies[_i].body), -EINVAL);
    ck_assert_str_ne(err.text, "");
    if (bad_bodies[_i].why)
        ck_assert_str_eq(err.text, bad_bodies[_i].why);
}
END_TEST

START_TEST(long_names_and_lists_are_refused)
{
    struct buf body = {0};

    buf_add_str(&body, "{\"topicConfigTable\":{\"");
    for (int i = 0; i <= ROUTE_TOPIC_MAX; i++)
        buf_add_u8(&body, 'x');
    buf_add_str(&body, "\":{\"perm\":6}}}");
    ck_assert_int_eq(registration_decode(buf_bytes(&body), false, &r, &err), -EINVAL);
    registration_destroy(&r);

    buf_reset(&body);
    buf_add_str(&body, "{\"filterServerList\":[\"a\"");
    for (int i = 0; i < ROUTE_FILTERS_MAX; i++)
        buf_add_str(&body, ",\"a\"");
    buf_add_str(&body, "]}");
    ck_assert_int_eq(registration_decode(buf_bytes(&body), false, &r, &err), -EINVAL);
    buf_destroy(&body);
}
END_TEST

/* ---- compressed ---- */

START_TEST(a_recorded_compressed_body_is_read_whole)
{
    struct buf body = {0};

    load_vector("register_zlib.bin", &body);
    ck_assert_int_eq(registration_decode(buf_bytes(&body), true, &r, &err), 0);

    ck_assert_uint_eq(r.topic_count, 33);
    ck_assert_int_eq(r.version.counter, 31);
    ck_assert(r.has_filters);
    ck_assert_int_eq(topic("SCHEDULE_TOPIC_XXXX")->write_queues, 18);
    ck_assert_int_eq(topic("TBW102")->perm, 7);
    ck_assert_int_eq(topic("%RETRY%G_two")->read_queues, 1);
    buf_destroy(&body);
}
END_TEST

static void small_body(struct buf *b)
{
    add_block(b, "{\"counter\":3,\"stateVersion\":7,\"timestamp\":9}");
    buf_add_be32(b, 2);
    add_block(b, "T 4 5 6 SINGLE_TAG");
    add_block(b, "U 8 8 7 SINGLE_TAG {\"+message.type\":\"A B\"}"); /* as 5.x sends it */
    add_block(b, "[\"10.0.0.1:1\"]");
}

START_TEST(a_zlib_header_counts_more_than_the_field)
{
    struct buf plain = {0};

    small_body(&plain);
    for (int said = 0; said < 2; said++) {
        ck_assert_int_eq(decode_compressed(&plain, said), 0);
        ck_assert_uint_eq(r.topic_count, 2);
        ck_assert_int_eq(r.version.state, 7);
        ck_assert_int_eq(topic("T")->read_queues, 4);
        ck_assert_int_eq(topic("T")->write_queues, 5);
        ck_assert_int_eq(topic("U")->perm, 7);
        ck_assert_uint_eq(r.filter_count, 1);
    }
    buf_destroy(&plain);
}
END_TEST

START_TEST(mappings_of_static_topics_may_follow)
{
    struct buf plain = {0};

    small_body(&plain);
    buf_add_be32(&plain, 1);
    add_block(&plain, "{\"topic\":\"T\"}");
    ck_assert_int_eq(decode_compressed(&plain, false), 0);
    buf_destroy(&plain);
}
END_TEST

START_TEST(a_compressed_body_that_ends_early_is_refused)
{
    struct buf plain = {0};

    small_body(&plain);
    for (size_t len = 0; len < plain.len; len++) {
        struct buf cut = {0};

        buf_add(&cut, buf_at(&plain), len);
        ck_assert_int_eq(decode_compressed(&cut, true), -EINVAL);
        buf_destroy(&cut);
    }
    buf_destroy(&plain);
}
END_TEST

START_TEST(counts_that_lie_are_refused)
{
    struct buf plain = {0};

    add_block(&plain, "{}");
    buf_add_be32(&plain, UINT32_MAX);
    ck_assert_int_eq(decode_compressed(&plain, true), -EINVAL);
    buf_reset(&plain);
    buf_add_be32(&plain, UINT32_MAX);
    ck_assert_int_eq(decode_compressed(&plain, true), -EINVAL);
    ck_assert_str_eq(err.text, "the compressed body ends too early");
    buf_destroy(&plain);
}
END_TEST

static const char *const bad_topics[] = {
    "",           "T",          "T 4",      "T 4 4",      "T 4 x 6",         "T  4 4 6 S",
    " T 4 4 6 S", "T 4 4 99 S", "T -1 4 6", "T 4 4 6x S", "T 4 99999999 6 S"};

START_TEST(a_bad_topic_text_is_refused)
{
    struct buf plain = {0};

    add_block(&plain, "{}");
    buf_add_be32(&plain, 1);
    add_block(&plain, bad_topics[_i]);
    add_block(&plain, "[]");
    ck_assert_int_eq(decode_compressed(&plain, true), -EINVAL);
    buf_destroy(&plain);
}
END_TEST

START_TEST(a_stream_that_is_not_whole_is_refused)
{
    struct buf plain = {0}, packed = {0};

    small_body(&plain);
    compress_into(buf_bytes(&plain), &packed);
    packed.len -= 3;
    ck_assert_int_eq(registration_decode(buf_bytes(&packed), true, &r, &err), -EINVAL);
    ck_assert_str_eq(err.text, "the compressed body is not a whole zlib stream");
    registration_destroy(&r);
    ck_assert_int_eq(registration_decode(BYTES_LIT("{}"), true, &r, &err), -EINVAL);
    registration_destroy(&r);
    ck_assert_int_eq(registration_decode(BYTES_LIT("\x78\xda"), true, &r, &err), -EINVAL);
    buf_destroy(&plain);
    buf_destroy(&packed);
}
END_TEST

/* `size` zeroes, a thousandfold smaller outside. */
static void make_bomb(size_t size, struct buf *out)
{
    static uint8_t zeroes[65536];
    z_stream z = {0};

    ck_assert_int_eq(deflateInit(&z, 9), Z_OK);
    for (size_t done = 0; done < size; done += sizeof(zeroes)) {
        z.next_in = zeroes;
        z.avail_in = sizeof(zeroes);
        z.next_out = buf_reserve(out, 65536);
        ck_assert_ptr_nonnull(z.next_out);
        z.avail_out = 65536;
        ck_assert_int_eq(deflate(&z, done + sizeof(zeroes) < size ? Z_NO_FLUSH : Z_FINISH),
                         done + sizeof(zeroes) < size ? Z_OK : Z_STREAM_END);
        out->len += 65536 - z.avail_out;
    }
    deflateEnd(&z);
}

START_TEST(a_bomb_is_stopped_at_the_bound)
{
    struct buf packed = {0};

    make_bomb(8 * (size_t)REGISTRATION_INFLATED_MAX, &packed);
    ck_assert_uint_lt(packed.len, 1000000);

    ck_assert_int_eq(registration_decode(buf_bytes(&packed), true, &r, &err), -EINVAL);
    ck_assert_str_eq(err.text, "the compressed body is larger than 33554432 bytes inside");
    ck_assert_uint_le(r.inflated.cap, 2 * (size_t)REGISTRATION_INFLATED_MAX);
    buf_destroy(&packed);
}
END_TEST

/* ---- other bodies, names ---- */

static int collect(void *ctx, const struct route_topic_config *config, struct bytes group)
{
    struct buf *seen = ctx;

    buf_addf(seen, "%.*s/%.*s/%d ", (int)config->name.len, (const char *)config->name.at,
             (int)group.len, (const char *)group.at, config->write_queues);
    return bytes_is(group, "stop") ? 3 : 0;
}

START_TEST(queue_data_is_given_in_order_until_told_to_stop)
{
    struct buf seen = {0};

    ck_assert_int_eq(registration_queues_decode(
                         BYTES_LIT("{\"queueDatas\":[{\"brokerName\":\"a\",\"writeQueueNums\":4},"
                                   "{\"brokerName\":\"stop\"},{\"brokerName\":\"never\"}]}"),
                         BYTES_LIT("T"), collect, &seen, &err),
                     3);
    ck_assert(bytes_is(buf_bytes(&seen), "T/a/4 T/stop/0 "));
    ck_assert_int_eq(
        registration_queues_decode(BYTES_LIT("{}"), BYTES_LIT("T"), collect, &seen, &err), 0);
    ck_assert_int_eq(
        registration_queues_decode(BYTES_LIT("[]"), BYTES_LIT("T"), collect, &seen, &err), -EINVAL);
    ck_assert_int_eq(
        registration_queues_decode(BYTES_LIT(""), BYTES_LIT("T"), collect, &seen, &err), -EINVAL);
    buf_destroy(&seen);
}
END_TEST

START_TEST(addresses_are_host_and_port)
{
    static const char *const good[] = {"127.0.0.1:10911", "broker-a.example:1", "[::1]:65535"};
    static const char *const bad[] = {
        "",      "127.0.0.1", ":10911", "h:",    "h:0",   "h:65536", "h:-1",  "h:+1",      "h:1x",
        "a b:1", "a,b:1",     "a\"b:1", "a{b:1", "a;b:1", "a/b:1",   "h\n:1", "\xc3\xa9:1"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(registration_address_ok(bytes_str(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!registration_address_ok(bytes_str(bad[i])), "%s", bad[i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("registration");
    TCase *c = tcase_create("bodies");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_recorded_body_is_read_whole);
    tcase_add_test(c, an_empty_body_is_an_empty_registration);
    tcase_add_test(c, an_old_sender_sends_the_bare_wrapper);
    tcase_add_test(c, members_of_5x_are_read_or_skipped);
    tcase_add_test(c, names_with_escapes_are_read);
    tcase_add_test(c, names_of_removed_topics_are_read);
    tcase_add_test(c, numbers_may_be_strings_and_a_null_topic_is_none);
    tcase_add_loop_test(c, a_bad_body_is_refused_with_a_sentence, 0,
                        sizeof(bad_bodies) / sizeof(bad_bodies[0]));
    tcase_add_test(c, long_names_and_lists_are_refused);
    tcase_add_test(c, a_recorded_compressed_body_is_read_whole);
    tcase_add_test(c, a_zlib_header_counts_more_than_the_field);
    tcase_add_test(c, mappings_of_static_topics_may_follow);
    tcase_add_test(c, a_compressed_body_that_ends_early_is_refused);
    tcase_add_test(c, counts_that_lie_are_refused);
    tcase_add_loop_test(c, a_bad_topic_text_is_refused, 0,
                        sizeof(bad_topics) / sizeof(bad_topics[0]));
    tcase_add_test(c, a_stream_that_is_not_whole_is_refused);
    tcase_add_test(c, a_bomb_is_stopped_at_the_bound);
    tcase_add_test(c, queue_data_is_given_in_order_until_told_to_stop);
    tcase_add_test(c, addresses_are_host_and_port);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
