/* test_frames.c - patched frames are what a client would have encoded. */
#include "tools/frames.h"

#include <errno.h>

#include "common/codes.h"
#include "unit.h"

static struct frame_template template;
static struct buf out;
static struct remoting_frame frame;
static const char born[] = "1795549600592";

static void setup(void)
{
    out = (struct buf){0};
    template = (struct frame_template){0};
}

static void teardown(void)
{
    frame_template_destroy(&template);
    frame_template_destroy(&template); /* twice is fine */
    buf_destroy(&out);
}

static void decode(size_t at)
{
    const char *why = NULL;
    size_t size = 0;

    ck_assert_int_eq(remoting_frame_size(bytes_of(buf_at(&out) + at, out.len - at), &size), 0);
    ck_assert_uint_eq(size, template.bytes.len);
    ck_assert_msg(remoting_decode(buf_at(&out) + at, size, &frame, &why) == 0, "%s", why);
}

static void field_is(const char *key, const char *value)
{
    const struct bytes *found = remoting_field(&frame, key);

    ck_assert_msg(found != NULL, "no field %s", key);
    ck_assert_msg(bytes_is(*found, value), "%s is %.*s", key, (int)found->len,
                  (const char *)found->at);
}

static void plain(uint8_t serialize)
{
    struct frame_spec spec = {
        .topic = "T1", .queue = 3, .body_bytes = 128, .batch = 1, .serialize = serialize};
    uint64_t id = 0x123456789abcu;

    ck_assert_int_eq(frame_template_make(&template, &spec), 0);
    ck_assert(frame_add(&out, &template, 7, &id, born));
    ck_assert(frame_add(&out, &template, FRAME_SLOTS_MAX - 1, &id, born));
    decode(0);
    ck_assert_int_eq(frame.code, REQUEST_SEND_MESSAGE_V2);
    ck_assert_int_eq(frame.opaque, FRAME_OPAQUE_BASE + 7);
    ck_assert_int_eq(frame.flag, 0);
    ck_assert_uint_eq(frame.serialize, serialize);
    ck_assert_uint_eq(frame.body.len, 128);
    field_is("b", "T1");
    field_is("e", "3");
    field_is("g", born);
    field_is("m", "false");
    field_is("i", "UNIQ_KEY\0017F00000100015445524E123456789ABC\002WAIT\001true");
    decode(template.bytes.len);
    ck_assert_int_eq(frame.opaque, FRAME_OPAQUE_BASE + FRAME_SLOTS_MAX - 1);
    field_is("i", "UNIQ_KEY\0017F00000100015445524E123456789ABD\002WAIT\001true");
    ck_assert_uint_eq(id, 0x123456789abeu);
}

START_TEST(numbered_topics_differ_in_their_digits_alone)
{
    const uint8_t kinds[] = {REMOTING_JSON, REMOTING_BINARY};
    char name[16];

    for (unsigned i = 0; i < 2; i++) {
        struct frame_spec spec = {.topic = "T000",
                                  .numbered = true,
                                  .queue = 1,
                                  .body_bytes = 10,
                                  .batch = 1,
                                  .serialize = kinds[i]};
        uint64_t id = 1;

        ck_assert_int_eq(frame_template_make(&template, &spec), 0);
        ck_assert(frame_add(&out, &template, 1, &id, born));
        frame_set_topic(&out, &template, 50);
        ck_assert(frame_add(&out, &template, 2, &id, born));
        frame_set_topic(&out, &template, FRAME_TOPICS_MAX - 1);
        ck_assert(frame_add(&out, &template, 3, &id, born));
        decode(0);
        field_is("b", "T000_000050");
        field_is("g", born);
        decode(template.bytes.len);
        field_is("b", "T000_999999");
        decode(2 * template.bytes.len);
        field_is("b", "T000_000000");
        buf_reset(&out);
        frame_template_destroy(&template);
    }
    ck_assert(frame_topic_name(name, sizeof(name), "T000", 7));
    ck_assert_str_eq(name, "T000_000007");
    ck_assert(!frame_topic_name(name, sizeof(name), "T00000000", 7));
}
END_TEST

START_TEST(a_plain_send_in_json)
{
    plain(REMOTING_JSON);
}
END_TEST

START_TEST(a_plain_send_in_binary)
{
    plain(REMOTING_BINARY);
}
END_TEST

START_TEST(every_message_of_a_batch_has_its_own_id)
{
    struct frame_spec spec = {.topic = "T1", .body_bytes = 10, .batch = 3};
    uint64_t id = 0xf;
    struct reader in;

    ck_assert_int_eq(frame_template_make(&template, &spec), 0);
    ck_assert(frame_add(&out, &template, 0, &id, born));
    decode(0);
    ck_assert_int_eq(frame.code, REQUEST_SEND_BATCH_MESSAGE);
    field_is("m", "true");
    in = reader_of(frame.body);
    for (int i = 0; i < 3; i++) {
        static const char *const ids[] = {"00000000000F", "000000000010", "000000000011"};
        size_t left = reader_left(&in);
        uint32_t total = reader_u32(&in);
        struct bytes properties;

        reader_take(&in, 12);
        ck_assert_uint_eq(reader_u32(&in), 10);
        reader_take(&in, 10);
        properties = reader_take(&in, reader_u16(&in));
        ck_assert(!in.bad);
        ck_assert_uint_eq(left - reader_left(&in), total);
        ck_assert_mem_eq(properties.at + 9 + 20, ids[i], 12);
    }
    ck_assert_uint_eq(reader_left(&in), 0);
    ck_assert_uint_eq(id, 0x12);
}
END_TEST

START_TEST(one_way_sends_say_so)
{
    struct frame_spec spec = {.topic = "T1", .batch = 1, .oneway = true};
    uint64_t id = 0;

    ck_assert_int_eq(frame_template_make(&template, &spec), 0);
    ck_assert(frame_add(&out, &template, 0, &id, born));
    decode(0);
    ck_assert(remoting_is_oneway(&frame));
    ck_assert_uint_eq(frame.body.len, 0);
}
END_TEST

/* Names that look like the places which are patched. */
START_TEST(a_topic_is_never_patched)
{
    static const char *const topics[] = {"1000000000000", "7F00000100015445524E000000000000",
                                         "1000000000", "opaque"};

    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        for (unsigned batch = 1; batch <= 2; batch++) {
            struct frame_spec spec = {
                .topic = topics[i], .body_bytes = 5, .batch = batch, .serialize = (uint8_t)(i % 2)};
            uint64_t id = UINT64_MAX;

            buf_reset(&out);
            frame_template_destroy(&template);
            ck_assert_int_eq(frame_template_make(&template, &spec), 0);
            ck_assert(frame_add(&out, &template, 5, &id, born));
            decode(0);
            field_is("b", topics[i]);
            field_is("g", born);
            ck_assert_int_eq(frame.opaque, FRAME_OPAQUE_BASE + 5);
        }
    }
}
END_TEST

START_TEST(a_frame_beyond_the_limit_is_refused)
{
    struct frame_spec spec = {.topic = "T1", .body_bytes = REMOTING_FRAME_MAX, .batch = 1};

    ck_assert_int_eq(frame_template_make(&template, &spec), -EMSGSIZE);
    spec.body_bytes = SIZE_MAX / 2;
    spec.batch = 4;
    ck_assert_int_eq(frame_template_make(&template, &spec), -EMSGSIZE);
}
END_TEST

START_TEST(born_is_thirteen_digits)
{
    char text[FRAME_BORN_DIGITS + 1] = "";

    frame_born(text, 1700000000007);
    ck_assert_str_eq(text, "1700000000007");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("frames");
    TCase *c = tcase_create("frames");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_plain_send_in_json);
    tcase_add_test(c, numbered_topics_differ_in_their_digits_alone);
    tcase_add_test(c, a_plain_send_in_binary);
    tcase_add_test(c, every_message_of_a_batch_has_its_own_id);
    tcase_add_test(c, one_way_sends_say_so);
    tcase_add_test(c, a_topic_is_never_patched);
    tcase_add_test(c, a_frame_beyond_the_limit_is_refused);
    tcase_add_test(c, born_is_thirteen_digits);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
