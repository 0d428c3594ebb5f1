/* Claims about common/json_text.h: what is plain is told right at every length and place, and the
 * rest is escaped as fastjson does it. */
#include "common/json_text.h"
#include "unit.h"

static bool becomes(struct bytes text, const char *json)
{
    struct buf b = {0};

    json_text_add(&b, text);
    bool same = !b.failed && bytes_is(buf_bytes(&b), json);
    buf_destroy(&b);
    return same;
}

START_TEST(one_special_byte_anywhere_is_noticed)
{
    uint8_t text[40];
    uint32_t wrong = 0;

    memset(text, 'x', sizeof(text));
    for (size_t len = 0; len <= sizeof(text); len++) {
        wrong += !json_text_is_plain(bytes_of(text, len));
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                text[at] = (uint8_t)c;
                wrong += json_text_is_plain(bytes_of(text, len)) != plain;
            }
            text[at] = 'x';
        }
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(control_characters_are_escaped)
{
    ck_assert(becomes(BYTES_LIT(""), "\"\""));
    ck_assert(becomes(bytes_of(NULL, 0), "\"\""));
    ck_assert(becomes(bytes_of("\0", 1), "\"\\u0000\""));
    ck_assert(becomes(BYTES_LIT("\x01\x02\x0B\x1F"), "\"\\u0001\\u0002\\u000B\\u001F\""));
    ck_assert(becomes(BYTES_LIT("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\""));
    ck_assert(becomes(BYTES_LIT("a\"b\\c/\x7F"), "\"a\\\"b\\\\c/\x7F\""));
}
END_TEST

START_TEST(only_well_formed_utf8_is_kept)
{
    ck_assert(becomes(BYTES_LIT("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
                      "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""));
    ck_assert(becomes(BYTES_LIT("\xFF"), "\"\xEF\xBF\xBD\""));
    ck_assert(becomes(BYTES_LIT("12345678\xC3"), "\"12345678\xEF\xBF\xBD\""));
    ck_assert(becomes(BYTES_LIT("\xC0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\""));
}
END_TEST

START_TEST(a_special_byte_does_not_disturb_its_neighbours)
{
    char text[33], json[40];

    for (size_t at = 0; at < 32; at++) {
        memcpy(text, "abcdefghijklmnopqrstuvwxyzABCDEF", 33);
        text[at] = '\n';
        memcpy(json, "\"", 1);
        memcpy(json + 1, text, at);
        memcpy(json + 1 + at, "\\n", 2);
        memcpy(json + 3 + at, text + at + 1, 31 - at);
        memcpy(json + 34, "\"", 2);
        ck_assert(becomes(bytes_of(text, 32), json));
    }
}
END_TEST

static Suite *json_text_suite(void)
{
    Suite *s = suite_create("json_text");
    TCase *t = tcase_create("json_text");

    tcase_add_test(t, one_special_byte_anywhere_is_noticed);
    tcase_add_test(t, control_characters_are_escaped);
    tcase_add_test(t, only_well_formed_utf8_is_kept);
    tcase_add_test(t, a_special_byte_does_not_disturb_its_neighbours);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(json_text_suite)
