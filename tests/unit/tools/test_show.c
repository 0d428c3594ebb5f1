/* test_show.c - values as people read them. */
#include "tools/show.h"

#include <errno.h>
#include <time.h>

#include "unit.h"

static char shown[256];

static const char *show(const char *text, size_t len, bool keep_tabs)
{
    struct buf out = {0};

    show_text(&out, bytes_of(text, len), keep_tabs);
    ck_assert(!out.failed);
    ck_assert_uint_lt(out.len, sizeof(shown));
    memcpy(shown, buf_at(&out) ? (char *)buf_at(&out) : "", out.len);
    shown[out.len] = '\0';
    buf_destroy(&out);
    return shown;
}
#define SHOW(literal, keep_tabs) show("" literal, sizeof(literal) - 1, keep_tabs)

START_TEST(printable_text_stays_as_it_is)
{
    ck_assert_str_eq(SHOW("plain \\ text", true), "plain \\ text");
    ck_assert_str_eq(SHOW("gr\xc3\xbc\xc3\x9f \xe4\xbd\xa0 \xf0\x9f\x98\x80", true),
                     "gr\xc3\xbc\xc3\x9f \xe4\xbd\xa0 \xf0\x9f\x98\x80");
    ck_assert_str_eq(SHOW("", true), "");
}
END_TEST

START_TEST(nothing_in_a_message_can_steer_a_terminal)
{
    ck_assert_str_eq(SHOW("\x1b[2J", true), "\\x1B[2J");
    ck_assert_str_eq(SHOW("a\nb\r", true), "a\\nb\\r");
    ck_assert_str_eq(SHOW("\xc2\x9b", true), "\\xC2\\x9B"); /* CSI of C1 */
    ck_assert_str_eq(SHOW("\x7f\0", true), "\\x7F\\x00");
    ck_assert_str_eq(SHOW("\x9b", true), "\\x9B");
}
END_TEST

START_TEST(bytes_that_are_not_utf8_are_escaped_and_the_rest_is_not)
{
    ck_assert_str_eq(SHOW("a\xff\xc3(b", true), "a\\xFF\\xC3(b");
    ck_assert_str_eq(SHOW("\xe4\xbd", true), "\\xE4\\xBD");
}
END_TEST

START_TEST(tabs_stay_where_they_are_wanted)
{
    ck_assert_str_eq(SHOW("a\tb", true), "a\tb");
    ck_assert_str_eq(SHOW("a\tb", false), "a\\tb");
}
END_TEST

START_TEST(width_counts_characters_not_bytes)
{
    ck_assert_uint_eq(show_width(BYTES_LIT("gr\xc3\xbc\xc3\x9f")), 4);
    ck_assert_uint_eq(show_width(BYTES_LIT("")), 0);
}
END_TEST

START_TEST(base64_pads_to_four)
{
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},          {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd\xfc", "//79/A=="},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct buf out = {0};

        show_base64(&out, bytes_str(pairs[i][0]));
        ck_assert(bytes_is(buf_bytes(&out), pairs[i][1]));
        buf_destroy(&out);
    }
}
END_TEST

START_TEST(time_is_local_with_milliseconds)
{
    char text[SHOW_TIME_MAX];

    setenv("TZ", "UTC", 1);
    tzset();
    ck_assert_str_eq(show_time(text, 1700000000007), "2023-11-14 22:13:20.007");
    ck_assert_str_eq(show_time(text, 0), "-");
    ck_assert_str_eq(show_time(text, -5), "-");
    ck_assert_uint_lt(strlen(show_time(text, INT64_MAX)), SHOW_TIME_MAX);
}
END_TEST

START_TEST(sizes_have_the_unit_that_fits)
{
    char text[SHOW_SIZE_MAX];

    ck_assert_str_eq(show_size(text, 0), "0 B");
    ck_assert_str_eq(show_size(text, 1023), "1023 B");
    ck_assert_str_eq(show_size(text, 1536), "1.5 KiB");
    ck_assert_str_eq(show_size(text, 3.5 * 1024 * 1024 * 1024), "3.5 GiB");
}
END_TEST

START_TEST(permissions_codes_and_errors_have_names)
{
    char text[SHOW_ERRNO_MAX];

    ck_assert_str_eq(show_perm(6), "RW");
    ck_assert_str_eq(show_perm(7), "RW");
    ck_assert_str_eq(show_perm(4), "R");
    ck_assert_str_eq(show_perm(2), "W");
    ck_assert_str_eq(show_perm(0), "-");
    ck_assert_str_eq(show_code(17), "TOPIC_NOT_EXIST");
    ck_assert_str_eq(show_code(9999), "unknown");
    ck_assert_str_eq(show_errno(text, -ECONNREFUSED), "connection refused");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("show");
    TCase *c = tcase_create("show");

    tcase_add_test(c, printable_text_stays_as_it_is);
    tcase_add_test(c, nothing_in_a_message_can_steer_a_terminal);
    tcase_add_test(c, bytes_that_are_not_utf8_are_escaped_and_the_rest_is_not);
    tcase_add_test(c, tabs_stay_where_they_are_wanted);
    tcase_add_test(c, width_counts_characters_not_bytes);
    tcase_add_test(c, base64_pads_to_four);
    tcase_add_test(c, time_is_local_with_milliseconds);
    tcase_add_test(c, sizes_have_the_unit_that_fits);
    tcase_add_test(c, permissions_codes_and_errors_have_names);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
