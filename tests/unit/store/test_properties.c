/* Claims about the text of message properties. */
#include "broker/store/properties.h"

#include <stdio.h>

#include "unit.h"

#define N "\x01" /* between name and value */
#define I "\x02" /* between items */
#define TEXT(literal) BYTES_LIT(literal)

/* properties_copy() of `in`, compared with `want`. */
static void copies_to(struct bytes in, const char *const *without, struct bytes want)
{
    struct buf out = {0};

    properties_copy(&out, in, without);
    ck_assert(!out.failed);
    ck_assert_msg(bytes_equal(buf_bytes(&out), want), "got '%.*s'", (int)out.len,
                  (const char *)buf_at(&out));
    buf_destroy(&out);
}

START_TEST(items_are_walked_in_order_with_or_without_a_final_separator)
{
    static const struct {
        const char *text;
        size_t len;
    } texts[] = {
        {"a" N "1" I "bb" N "22", 9},
        {"a" N "1" I "bb" N "22" I, 10},
    };

    for (size_t i = 0; i < 2; i++) {
        struct bytes text = bytes_of(texts[i].text, texts[i].len), name, value;
        size_t at = 0;

        ck_assert(properties_next(text, &at, &name, &value));
        ck_assert(bytes_is(name, "a") && bytes_is(value, "1"));
        ck_assert(properties_next(text, &at, &name, &value));
        ck_assert(bytes_is(name, "bb") && bytes_is(value, "22"));
        ck_assert(!properties_next(text, &at, &name, &value));
        ck_assert(!properties_next(text, &at, &name, &value));
    }
}
END_TEST

START_TEST(invalid_items_are_not_there)
{
    struct bytes name, value;
    size_t at = 0;
    struct bytes text =
        TEXT("noseparator" I "" I N "noname" I "novalue" N I N I "ok" N "1" I "x" I "tail" N);

    ck_assert(properties_next(text, &at, &name, &value));
    ck_assert(bytes_is(name, "ok") && bytes_is(value, "1"));
    ck_assert(!properties_next(text, &at, &name, &value));
    at = 0;
    ck_assert(!properties_next((struct bytes){0}, &at, &name, &value));
    ck_assert(!properties_next(TEXT(I I I), &at, &name, &value));
}
END_TEST

START_TEST(first_name_end_of_an_item_counts)
{
    struct bytes name, value;
    size_t at = 0;

    ck_assert(properties_next(TEXT("a" N "b" N "c"), &at, &name, &value));
    ck_assert(bytes_is(name, "a"));
    ck_assert(bytes_equal(value, TEXT("b" N "c")));
}
END_TEST

START_TEST(last_of_equal_names_is_found)
{
    struct bytes text = TEXT("k" N "1" I "kk" N "2" I "k" N "3" I "k" N I "k");

    ck_assert(bytes_is(properties_find(text, TEXT("k")), "3"));
    ck_assert(bytes_is(properties_find(text, TEXT("kk")), "2"));
    ck_assert_uint_eq(properties_find(text, TEXT("kkk")).len, 0);
    ck_assert_uint_eq(properties_find((struct bytes){0}, TEXT("k")).len, 0);
}
END_TEST

START_TEST(scan_finds_what_the_send_path_needs)
{
    struct properties_known k;

    properties_scan(TEXT("TAGS" N "t" I "KEYS" N "k1 k2" I "UNIQ_KEY" N "u" I "WAIT" N "false" I
                         "DELAY" N "3" I "TRAN_MSG" N "true" I "PGROUP" N "pg" I "RETRY_TOPIC" N
                         "rt" I "ORIGIN_MESSAGE_ID" N "om" I "REAL_TOPIC" N "real" I "REAL_QID" N
                         "7" I "MAX_RECONSUME_TIMES" N "16" I "CLUSTER" N "c" I "TAGX" N "no" I
                         "mine" N "m"),
                    &k);
    ck_assert(bytes_is(k.tags, "t"));
    ck_assert(bytes_is(k.keys, "k1 k2"));
    ck_assert(bytes_is(k.unique_key, "u"));
    ck_assert(bytes_is(k.wait, "false"));
    ck_assert(bytes_is(k.delay, "3"));
    ck_assert(bytes_is(k.transaction, "true"));
    ck_assert(bytes_is(k.producer_group, "pg"));
    ck_assert(bytes_is(k.retry_topic, "rt"));
    ck_assert(bytes_is(k.origin_message_id, "om"));
    ck_assert(bytes_is(k.real_topic, "real"));
    ck_assert(bytes_is(k.real_queue_id, "7"));
    ck_assert(bytes_is(k.max_reconsume_times, "16"));
    ck_assert(bytes_is(k.cluster, "c"));
    ck_assert(!k.timer && !k.has_invalid && !k.ends_with_separator);
}
END_TEST

START_TEST(scan_of_nothing_finds_nothing)
{
    struct properties_known k;

    properties_scan((struct bytes){0}, &k);
    ck_assert_uint_eq(k.tags.len, 0);
    ck_assert(!k.timer && !k.has_invalid && !k.ends_with_separator);
}
END_TEST

START_TEST(scan_knows_each_kind_of_timer)
{
    struct properties_known k;

    properties_scan(TEXT("TIMER_DELAY_MS" N "1"), &k);
    ck_assert(k.timer);
    properties_scan(TEXT("TIMER_DELAY_SEC" N "1"), &k);
    ck_assert(k.timer);
    properties_scan(TEXT("a" N "b" I "TIMER_DELIVER_MS" N "1" I), &k);
    ck_assert(k.timer && k.ends_with_separator);
    properties_scan(TEXT("TIMER_OUT_MS" N "1"), &k);
    ck_assert(!k.timer);
}
END_TEST

START_TEST(scan_notices_whatever_a_rewrite_would_leave_out)
{
    static const struct {
        const char *text;
        size_t len;
        bool invalid;
    } texts[] = {
        {"a" N "1" I "b" N "2", 7, false},
        {"a" N "1" I "b" N "2" I, 8, false},
        {"a" N "1" I I "b" N "2", 8, true},
        {I "a" N "1", 4, true},
        {"a" N I "b" N "2", 6, true},
        {N "1", 2, true},
        {"a", 1, true},
        {"a" N "1" I "a" N "2", 7, true},
        {"a" N "1" I "b" N "2" I "a" N "1", 11, true},
        {"__CRC32#" N "0123456789" I, 20, true},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct properties_known k;
        struct bytes text = bytes_of(texts[i].text, texts[i].len);
        struct buf out = {0};

        properties_scan(text, &k);
        ck_assert_msg(k.has_invalid == texts[i].invalid, "text %zu", i);
        /* What has nothing invalid is copied whole, but for a final separator. */
        properties_copy(&out, text, NULL);
        text.len -= k.ends_with_separator ? 1 : 0;
        ck_assert_msg(bytes_equal(buf_bytes(&out), text) == !texts[i].invalid, "text %zu", i);
        buf_destroy(&out);
    }
}
END_TEST

START_TEST(scan_tells_names_apart_that_look_alike)
{
    /* Equal length, first and last letter: they share a place in the mask. */
    struct properties_known k;

    properties_scan(TEXT("abcd" N "1" I "axyd" N "2" I "aqqd" N "3"), &k);
    ck_assert(!k.has_invalid);
    properties_scan(TEXT("abcd" N "1" I "axyd" N "2" I "abcd" N "3"), &k);
    ck_assert(k.has_invalid);
}
END_TEST

/* `count` items with names n0, n1 ... ; every `repeat`-th has the name n0 again. */
static struct bytes many_items(char *to, size_t room, int count, int repeat)
{
    size_t n = 0;

    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(to + n, room - n, "%sn%d" N "%d", i ? I : "",
                              repeat && i % repeat == 0 ? 0 : i, i);
    return bytes_of(to, n);
}

START_TEST(scan_assumes_a_repeated_name_among_very_many)
{
    struct properties_known k;
    char text[4096];

    properties_scan(many_items(text, sizeof(text), PROPERTIES_SCAN_NAMES, 0), &k);
    ck_assert(!k.has_invalid);
    properties_scan(many_items(text, sizeof(text), PROPERTIES_SCAN_NAMES + 1, 0), &k);
    ck_assert(k.has_invalid);
}
END_TEST

START_TEST(copy_keeps_every_valid_item_byte_for_byte)
{
    copies_to(TEXT("z" N "1" I "UNKNOWN" N "\xff\xfe\t " I "a" N "b" N "c" I), NULL,
              TEXT("z" N "1" I "UNKNOWN" N "\xff\xfe\t " I "a" N "b" N "c"));
}
END_TEST

START_TEST(copy_leaves_out_what_is_invalid_repeated_or_unwanted)
{
    static const char *const without[] = {"WAIT", "DELAY", NULL};

    copies_to(TEXT("WAIT" N "true" I "k" N "old" I I "e" N I "DELAY" N "1" I "k" N "new" I "WAITX" N
                   "1" I "WAIT" N "false"),
              without, TEXT("k" N "new" I "WAITX" N "1"));
    copies_to(TEXT("WAIT" N "true"), without, TEXT(""));
    copies_to(TEXT(""), NULL, TEXT(""));
}
END_TEST

START_TEST(copy_never_keeps_a_crc)
{
    copies_to(TEXT("a" N "1" I "__CRC32#" N "0123456789" I), NULL, TEXT("a" N "1"));
}
END_TEST

START_TEST(copy_of_very_many_items_keeps_the_last_of_each_name)
{
    static char text[40000], want[40000];
    struct bytes in = many_items(text, sizeof(text), 3000, 7);
    size_t n = 0;

    for (int i = 0; i < 3000; i++) {
        if (i % 7 != 0 || i == 2996)
            n += (size_t)snprintf(want + n, sizeof(want) - n, "%sn%d" N "%d", n ? I : "",
                                  i == 2996 ? 0 : i, i);
    }
    copies_to(in, NULL, bytes_of(want, n));
}
END_TEST

START_TEST(copy_starts_without_a_separator_behind_other_bytes)
{
    struct buf out = {0};

    buf_add_str(&out, "head");
    properties_copy(&out, TEXT("a" N "1" I "b" N "2"), NULL);
    ck_assert(bytes_equal(buf_bytes(&out), TEXT("heada" N "1" I "b" N "2")));
    buf_destroy(&out);
}
END_TEST

START_TEST(added_item_gets_exactly_one_separator_before_it)
{
    struct buf out = {0};
    size_t start;

    buf_add_str(&out, "head");
    start = out.len;
    properties_add(&out, start, TEXT("a"), TEXT("1"));
    properties_add(&out, start, TEXT("b"), TEXT("2"));
    buf_add_u8(&out, 2);
    properties_add(&out, start, TEXT("c"), TEXT("3"));
    ck_assert(bytes_equal(buf_bytes(&out), TEXT("heada" N "1" I "b" N "2" I "c" N "3")));
    buf_destroy(&out);
}
END_TEST

START_TEST(tags_code_is_the_sign_extended_java_hash)
{
    ck_assert_int_eq(properties_tags_code(TEXT("TagA")), 2598919);
    ck_assert_int_eq(properties_tags_code(TEXT("TagB")), 2598920);
    ck_assert_int_eq(properties_tags_code(TEXT("TagA123456")), -427078358);
    ck_assert_int_eq(properties_tags_code(TEXT("")), 0);
}
END_TEST

START_TEST(words_of_keys_are_separated_by_any_number_of_spaces)
{
    static const char *const words[] = {"k1", "order-2", "x"};
    struct bytes keys = BYTES_LIT("  k1 order-2   x "), key;
    size_t at = 0;

    for (int i = 0; i < 3; i++) {
        ck_assert(properties_next_key(keys, &at, &key));
        ck_assert(bytes_is(key, words[i]));
        ck_assert(properties_has_key(keys, key));
    }
    ck_assert(!properties_next_key(keys, &at, &key));
    ck_assert(!properties_has_key(keys, BYTES_LIT("order")));
    ck_assert(!properties_has_key(keys, BYTES_LIT("")));
    ck_assert(!properties_has_key(BYTES_LIT(""), BYTES_LIT("k1")));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("properties");
    TCase *walk = tcase_create("walk"), *scan = tcase_create("scan");
    TCase *write = tcase_create("write");

    tcase_add_test(walk, items_are_walked_in_order_with_or_without_a_final_separator);
    tcase_add_test(walk, invalid_items_are_not_there);
    tcase_add_test(walk, first_name_end_of_an_item_counts);
    tcase_add_test(walk, last_of_equal_names_is_found);
    tcase_add_test(walk, words_of_keys_are_separated_by_any_number_of_spaces);
    suite_add_tcase(s, walk);
    tcase_add_test(scan, scan_finds_what_the_send_path_needs);
    tcase_add_test(scan, scan_of_nothing_finds_nothing);
    tcase_add_test(scan, scan_knows_each_kind_of_timer);
    tcase_add_test(scan, scan_notices_whatever_a_rewrite_would_leave_out);
    tcase_add_test(scan, scan_tells_names_apart_that_look_alike);
    tcase_add_test(scan, scan_assumes_a_repeated_name_among_very_many);
    tcase_add_test(scan, tags_code_is_the_sign_extended_java_hash);
    suite_add_tcase(s, scan);
    tcase_add_test(write, copy_keeps_every_valid_item_byte_for_byte);
    tcase_add_test(write, copy_leaves_out_what_is_invalid_repeated_or_unwanted);
    tcase_add_test(write, copy_never_keeps_a_crc);
    tcase_add_test(write, copy_of_very_many_items_keeps_the_last_of_each_name);
    tcase_add_test(write, copy_starts_without_a_separator_behind_other_bytes);
    tcase_add_test(write, added_item_gets_exactly_one_separator_before_it);
    suite_add_tcase(s, write);
    return s;
}

UNIT_MAIN(suite)
