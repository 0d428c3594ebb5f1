/* Claims about common/bytes.h: text to numbers at every bound, UTF-8, the bounded reader. */
#include "common/bytes.h"
#include "unit.h"

START_TEST(integers_are_read_up_to_their_bounds)
{
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"+7", 7},
        {"-1", -1},
        {"007", 7},
        {"1700000000000", 1700000000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9223372036854775807", -INT64_MAX},
        {"0000000000000000000000000000000000042", 42},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t v = 99;
        ck_assert_msg(bytes_to_i64(bytes_str(good[i].text), &v), "%s", good[i].text);
        ck_assert_int_eq(v, good[i].value);
    }
}
END_TEST

START_TEST(what_is_no_integer_is_refused_and_leaves_the_target_alone)
{
    static const char *const bad[] = {
        "",
        "-",
        "+",
        "--1",
        "+-1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x10",
        "1\n",
        "abc",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999999999",
        "123456789012345678:",
        "12345678901234567/",
        "\xD9\xA1",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t v = 99;
        int32_t w = 98;
        ck_assert_msg(!bytes_to_i64(bytes_str(bad[i]), &v), "%s", bad[i]);
        ck_assert_msg(!bytes_to_i32(bytes_str(bad[i]), &w), "%s", bad[i]);
        ck_assert_int_eq(v, 99);
        ck_assert_int_eq(w, 98);
    }
    int64_t v = 99;
    ck_assert(!bytes_to_i64(bytes_of("1\0", 2), &v));
    ck_assert(!bytes_to_i64(bytes_of(NULL, 0), &v));
}
END_TEST

START_TEST(small_integers_have_their_own_bounds)
{
    int32_t v = 99;

    ck_assert(bytes_to_i32(BYTES_LIT("2147483647"), &v));
    ck_assert_int_eq(v, INT32_MAX);
    ck_assert(bytes_to_i32(BYTES_LIT("-2147483648"), &v));
    ck_assert_int_eq(v, INT32_MIN);
    ck_assert(!bytes_to_i32(BYTES_LIT("2147483648"), &v));
    ck_assert(!bytes_to_i32(BYTES_LIT("-2147483649"), &v));
    ck_assert_int_eq(v, INT32_MIN);
}
END_TEST

START_TEST(only_true_in_any_case_is_true)
{
    ck_assert(bytes_to_bool(BYTES_LIT("true")));
    ck_assert(bytes_to_bool(BYTES_LIT("TRUE")));
    ck_assert(bytes_to_bool(BYTES_LIT("tRuE")));
    ck_assert(!bytes_to_bool(BYTES_LIT("")));
    ck_assert(!bytes_to_bool(bytes_of(NULL, 0)));
    ck_assert(!bytes_to_bool(BYTES_LIT("1")));
    ck_assert(!bytes_to_bool(BYTES_LIT("yes")));
    ck_assert(!bytes_to_bool(BYTES_LIT("true ")));
    ck_assert(!bytes_to_bool(BYTES_LIT("T\x12UE")));
}
END_TEST

START_TEST(c_strings_are_copied_whole_or_not_at_all)
{
    char to[4];

    ck_assert(bytes_to_cstr(BYTES_LIT("abc"), to, sizeof(to)));
    ck_assert_str_eq(to, "abc");
    ck_assert(bytes_to_cstr(bytes_of(NULL, 0), to, sizeof(to)));
    ck_assert_str_eq(to, "");
    to[0] = 'x';
    ck_assert(!bytes_to_cstr(BYTES_LIT("abcd"), to, sizeof(to)));
    ck_assert_str_eq(to, "");
    to[0] = 'x';
    ck_assert(!bytes_to_cstr(bytes_of("a\0b", 3), to, sizeof(to)));
    ck_assert_str_eq(to, "");
    ck_assert(!bytes_to_cstr(BYTES_LIT(""), to, 0));
}
END_TEST

/* Values from the definition s[0]*31^(n-1) + ... + s[n-1] over UTF-16 units. */
START_TEST(hash_is_that_of_java_strings)
{
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("")), 0);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("TagA")), 2598919);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("hello")), 99162322);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("polygenelubricants")), INT32_MIN);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("\xC3\xA9")), 0xE9);
    /* Of each length, with a character that is not ASCII in each place, or none. */
    for (size_t len = 0; len <= 40; len++) {
        for (size_t other = 0; other <= len; other++) {
            uint8_t text[64];
            size_t at = 0;
            uint32_t hash = 0;

            for (size_t i = 0; i < len; i++) {
                uint8_t c = (uint8_t)(0x7F - (i * 37 + len) % 0x60);

                if (i == other)
                    text[at++] = 0xC3;
                text[at++] = i == other ? 0xA9 : c;
                hash = hash * 31 + (i == other ? 0xE9 : c);
            }
            ck_assert_int_eq(bytes_java_hash(bytes_of(text, at)), (int32_t)hash);
            ck_assert_int_eq(
                bytes_java_hash_on(bytes_java_hash(bytes_of(text, at)), BYTES_LIT("x")),
                (int32_t)(hash * 31 + 'x'));
        }
    }
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("\xE2\x82\xAC")), 0x20AC);
    /* U+1F600 is the pair D83D DE00 */
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("\xF0\x9F\x98\x80")), 0xD83D * 31 + 0xDE00);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("\xFF")), 0xFFFD);
    ck_assert_int_eq(bytes_java_hash(BYTES_LIT("\xE2\x82")), 0xFFFD * 31 + 0xFFFD);
}
END_TEST

START_TEST(well_formed_utf8_is_told_from_the_rest)
{
    static const char *const good[] = {
        "",
        "plain ascii, longer than a word",
        "\x7F",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF",
        "12345678\xC3\xA9xyzxyzx",
    };
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC2",
        "\xC2\x20",
        "\xC2\xC2",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xE1\x80",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF0\x90\x80",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "1234567\x80",
        "12345678\xFF",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(bytes_is_utf8(bytes_str(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!bytes_is_utf8(bytes_str(bad[i])), "bad %zu", i);
    ck_assert(bytes_is_utf8(bytes_of("a\0b", 3)));
}
END_TEST

START_TEST(big_endian_loads_undo_stores)
{
    uint8_t p[9];

    store_be16(p + 1, 0xFEDC);
    ck_assert_uint_eq(p[1], 0xFE);
    ck_assert_uint_eq(load_be16(p + 1), 0xFEDC);
    store_be32(p + 1, 0xFEDCBA98);
    ck_assert_uint_eq(p[1], 0xFE);
    ck_assert_uint_eq(load_be32(p + 1), 0xFEDCBA98);
    store_be64(p + 1, 0xFEDCBA9876543210);
    ck_assert_uint_eq(p[1], 0xFE);
    ck_assert_uint_eq(load_be64(p + 1), 0xFEDCBA9876543210);
}
END_TEST

START_TEST(reader_yields_fields_in_order)
{
    struct reader r = reader_of(BYTES_LIT("\x01\x02\x03\x04\x05\x06\x07"
                                          "\x08\x09\x0A\x0B\x0C\x0D\x0E\x0Fxyz"));

    ck_assert_uint_eq(reader_u8(&r), 0x01);
    ck_assert_uint_eq(reader_u16(&r), 0x0203);
    ck_assert_uint_eq(reader_u32(&r), 0x04050607);
    ck_assert_uint_eq(reader_u64(&r), 0x08090A0B0C0D0E0F);
    ck_assert(bytes_is(reader_take(&r, 3), "xyz"));
    ck_assert_uint_eq(reader_left(&r), 0);
    ck_assert(!r.bad);
}
END_TEST

START_TEST(reader_stays_bad_after_the_first_short_read)
{
    struct reader r = reader_of(BYTES_LIT("\x01\x02\x03"));

    ck_assert_uint_eq(reader_u32(&r), 0);
    ck_assert(r.bad);
    ck_assert_uint_eq(reader_u8(&r), 0);
    ck_assert_uint_eq(reader_take(&r, SIZE_MAX).len, 0);
    ck_assert(r.bad);

    r = reader_of(bytes_of(NULL, 0));
    ck_assert_uint_eq(reader_take(&r, 0).len, 0);
    ck_assert(!r.bad);
    ck_assert_uint_eq(reader_u8(&r), 0);
    ck_assert(r.bad);
}
END_TEST

START_TEST(numbers_become_text_and_back)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, 1700000000000, INT64_MAX, INT64_MIN};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        uint8_t text[BYTES_I64_TEXT_MAX];
        int64_t back = 99;
        ck_assert(bytes_to_i64(bytes_of(text, bytes_from_i64(values[i], text)), &back));
        ck_assert_int_eq(back, values[i]);
    }
}
END_TEST

START_TEST(every_code_point_survives_utf8)
{
    uint32_t wrong = 0;

    for (uint32_t point = 0; point <= 0x10FFFF; point++) {
        uint8_t text[4];
        uint32_t back = UINT32_MAX;
        unsigned size = bytes_utf8_put(text, point);
        bool surrogate = point >= 0xD800 && point < 0xE000;
        unsigned got = bytes_utf8_at(bytes_of(text, size), &back);
        wrong += surrogate ? got != 0 : got != size || back != point;
        if (size > 1)
            wrong += bytes_utf8_at(bytes_of(text, size - 1), &back) != 0;
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

static Suite *bytes_suite(void)
{
    Suite *s = suite_create("bytes");
    TCase *t = tcase_create("bytes");

    tcase_add_test(t, integers_are_read_up_to_their_bounds);
    tcase_add_test(t, what_is_no_integer_is_refused_and_leaves_the_target_alone);
    tcase_add_test(t, small_integers_have_their_own_bounds);
    tcase_add_test(t, only_true_in_any_case_is_true);
    tcase_add_test(t, c_strings_are_copied_whole_or_not_at_all);
    tcase_add_test(t, hash_is_that_of_java_strings);
    tcase_add_test(t, well_formed_utf8_is_told_from_the_rest);
    tcase_add_test(t, numbers_become_text_and_back);
    tcase_add_test(t, every_code_point_survives_utf8);
    tcase_add_test(t, big_endian_loads_undo_stores);
    tcase_add_test(t, reader_yields_fields_in_order);
    tcase_add_test(t, reader_stays_bad_after_the_first_short_read);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(bytes_suite)
