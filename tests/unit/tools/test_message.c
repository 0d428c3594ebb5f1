/* test_message.c - stored messages as they are printed. */
#include "tools/message.h"

#include <time.h>
#include <zlib.h>

#include "common/json.h"
#include "unit.h"

static struct record record;
static struct message_view view;
static struct buf unpacked, out;

static void setup(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    unpacked = out = (struct buf){0};
    record = (struct record){
        .queue_id = 2,
        .queue_offset = 7,
        .log_offset = 258,
        .born_ms = 1700000000000,
        .store_ms = 1700000000007,
        .born_host = {.ip = {192, 0, 2, 9}, .port = 5555},
        .store_host = {.ip = {127, 0, 0, 1}, .port = 10911},
        .topic = BYTES_LIT("T1"),
        .body = BYTES_LIT("hello"),
        .properties = BYTES_LIT("UNIQ_KEY\001ABC\002TAGS\001TagA\002KEYS\001k1 k2\002a\001b"),
    };
}

static void teardown(void)
{
    buf_destroy(&unpacked);
    buf_destroy(&out);
}

static const char *as_text(bool verbose)
{
    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    buf_reset(&out);
    message_text(&view, "broker-a", verbose, &out);
    buf_add_u8(&out, 0);
    ck_assert(!out.failed);
    return (const char *)buf_at(&out);
}

static json_t *as_json(void)
{
    json_t *root;

    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    buf_reset(&out);
    message_json(&view, "broker-a", &out);
    ck_assert_int_eq(buf_at(&out)[out.len - 1], '\n');
    ck_assert_ptr_null(memchr(buf_at(&out), '\n', out.len - 1));
    root = json_loadb((const char *)buf_at(&out), out.len, 0, NULL);
    ck_assert_ptr_nonnull(root);
    return root;
}

static const char *member(const json_t *root, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));

    return text ? text : "(none)";
}

START_TEST(a_body_is_one_line)
{
    ck_assert_str_eq(as_text(false), "hello\n");
    record.body = BYTES_LIT("two\nlines\x01");
    ck_assert_str_eq(as_text(false), "two\\nlines\\x01\n");
    record.body = BYTES_LIT("");
    ck_assert_str_eq(as_text(false), "\n");
}
END_TEST

START_TEST(verbose_puts_place_and_time_before_it)
{
    ck_assert_str_eq(as_text(true), "2023-11-14 22:13:20.007  broker-a 2 @7  tag=TagA keys=k1 k2  "
                                    "hello\n");
}
END_TEST

START_TEST(json_has_all_that_is_known)
{
    json_t *root = as_json();

    ck_assert_str_eq(member(root, "topic"), "T1");
    ck_assert_str_eq(member(root, "broker"), "broker-a");
    ck_assert_int_eq(json_get_i64(root, "queue", -1), 2);
    ck_assert_int_eq(json_get_i64(root, "offset", -1), 7);
    ck_assert_str_eq(member(root, "msgId"), "ABC");
    ck_assert_str_eq(member(root, "offsetMsgId"), "7F00000100002A9F0000000000000102");
    ck_assert_str_eq(member(root, "tag"), "TagA");
    ck_assert_str_eq(member(root, "keys"), "k1 k2");
    ck_assert_str_eq(member(json_object_get(root, "properties"), "a"), "b");
    ck_assert_int_eq(json_get_i64(root, "bornTimestamp", -1), 1700000000000);
    ck_assert_int_eq(json_get_i64(root, "storeTimestamp", -1), 1700000000007);
    ck_assert_str_eq(member(root, "bornHost"), "192.0.2.9:5555");
    ck_assert_str_eq(member(root, "body"), "hello");
    json_decref(root);
}
END_TEST

START_TEST(without_a_client_id_the_place_is_the_id)
{
    json_t *root;

    record.properties = BYTES_LIT("");
    root = as_json();
    ck_assert_str_eq(member(root, "msgId"), member(root, "offsetMsgId"));
    ck_assert(json_is_null(json_object_get(root, "tag")));
    ck_assert(json_is_null(json_object_get(root, "keys")));
    json_decref(root);
}
END_TEST

START_TEST(a_body_that_is_not_text_is_base64)
{
    json_t *root;

    record.body = BYTES_LIT("\xff\x00\x01");
    root = as_json();
    ck_assert_str_eq(member(root, "bodyBase64"), "/wAB");
    ck_assert_ptr_null(json_object_get(root, "body"));
    json_decref(root);
}
END_TEST

START_TEST(the_checksum_of_the_store_is_no_property)
{
    json_t *root;

    record.properties = BYTES_LIT("a\001b\002__CRC32#\0010123456789\002");
    root = as_json();
    ck_assert_uint_eq(json_object_size(json_object_get(root, "properties")), 1);
    json_decref(root);
}
END_TEST

static uint8_t packed[1 << 20];

static void pack(const void *plain, size_t len)
{
    uLongf packed_len = sizeof(packed);

    ck_assert_int_eq(compress2(packed, &packed_len, plain, len, 5), Z_OK);
    record.body = bytes_of(packed, packed_len);
}

START_TEST(zlib_bodies_are_unpacked)
{
    static char plain[300000];

    memset(plain, 'x', sizeof(plain));
    pack(plain, sizeof(plain));
    static const int32_t flags[] = {0x1, 0x301};
    for (size_t i = 0; i < 2; i++) {
        record.sys_flag = flags[i];
        ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
        ck_assert(!view.packed);
        ck_assert_uint_eq(view.body.len, sizeof(plain));
        ck_assert_mem_eq(view.body.at, plain, sizeof(plain));
    }
}
END_TEST

START_TEST(a_body_that_cannot_be_unpacked_says_so)
{
    json_t *root;

    pack("hello hello hello", 17);
    record.sys_flag = 0x1;
    record.body.len -= 3; /* cut off */
    ck_assert_ptr_nonnull(strstr(as_text(false), "that cannot be unpacked)\n"));
    ck_assert(view.packed);

    record.body = BYTES_LIT("no zlib");
    root = as_json();
    ck_assert_str_eq(member(root, "packedBodyBase64"), "bm8gemxpYg==");
    json_decref(root);

    record.sys_flag = 0x101; /* LZ4 */
    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    ck_assert(view.packed);
}
END_TEST

/* 65 MiB of zeroes are 64 KiB on the wire. */
START_TEST(a_body_does_not_grow_without_bound)
{
    static uint8_t zeroes[1 << 16];
    z_stream z = {.next_in = NULL};

    ck_assert_int_eq(deflateInit(&z, 9), Z_OK);
    z.next_out = packed;
    z.avail_out = sizeof(packed);
    for (int i = 0; i < 65 * 16; i++) {
        z.next_in = zeroes;
        z.avail_in = sizeof(zeroes);
        ck_assert_int_eq(deflate(&z, i == 65 * 16 - 1 ? Z_FINISH : Z_NO_FLUSH),
                         i == 65 * 16 - 1 ? Z_STREAM_END : Z_OK);
    }
    record.body = bytes_of(packed, sizeof(packed) - z.avail_out);
    deflateEnd(&z);
    record.sys_flag = 0x1;
    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    ck_assert(view.packed);
    ck_assert_uint_le(unpacked.len, MESSAGE_BODY_MAX + 65536);
}
END_TEST

START_TEST(tags_are_compared_as_text)
{
    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    ck_assert(message_has_tag(&view, NULL));
    ck_assert(message_has_tag(&view, "*"));
    ck_assert(message_has_tag(&view, "TagB || TagA"));
    ck_assert(!message_has_tag(&view, "TagB"));
    ck_assert(!message_has_tag(&view, "Tag"));
    record.properties = BYTES_LIT("");
    ck_assert_int_eq(message_view(&view, &record, &unpacked), 0);
    ck_assert(!message_has_tag(&view, "TagA"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("message");
    TCase *c = tcase_create("message");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_body_is_one_line);
    tcase_add_test(c, verbose_puts_place_and_time_before_it);
    tcase_add_test(c, json_has_all_that_is_known);
    tcase_add_test(c, without_a_client_id_the_place_is_the_id);
    tcase_add_test(c, a_body_that_is_not_text_is_base64);
    tcase_add_test(c, the_checksum_of_the_store_is_no_property);
    tcase_add_test(c, zlib_bodies_are_unpacked);
    tcase_add_test(c, a_body_that_cannot_be_unpacked_says_so);
    tcase_add_test(c, a_body_does_not_grow_without_bound);
    tcase_add_test(c, tags_are_compared_as_text);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
