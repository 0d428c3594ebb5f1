/* TAG subscriptions. */
#include <errno.h>
#include <stdio.h>

#include "broker/filter.h"
#include "unit.h"

enum { TAG_A = 2598919, TAG_B = 2598920 };

START_TEST(nothing_and_star_match_everything)
{
    static const char *const all[] = {"", "*"};

    for (int i = 0; i < 2; i++) {
        struct tag_filter f;

        ck_assert_int_eq(tag_filter_parse(&f, bytes_str(all[i])), 0);
        ck_assert(tag_filter_match(&f, 0));
        ck_assert(tag_filter_match(&f, TAG_A));
        tag_filter_destroy(&f);
    }
}
END_TEST

START_TEST(tags_are_split_trimmed_and_matched_by_hash)
{
    struct tag_filter f;

    ck_assert_int_eq(tag_filter_parse(&f, BYTES_LIT(" TagA ||  || TagB")), 0);
    ck_assert_uint_eq(f.count, 2);
    ck_assert(tag_filter_match(&f, TAG_A));
    ck_assert(tag_filter_match(&f, TAG_B));
    ck_assert(!tag_filter_match(&f, TAG_B + 1));
    ck_assert(!tag_filter_match(&f, 0)); /* a message without a tag */
    tag_filter_destroy(&f);
}
END_TEST

START_TEST(a_negative_hash_matches_its_sign_extended_code)
{
    struct tag_filter f;

    ck_assert_int_eq(tag_filter_parse(&f, BYTES_LIT("TagA123456")), 0);
    ck_assert(tag_filter_match(&f, INT64_C(-427078358)));
    tag_filter_destroy(&f);
}
END_TEST

START_TEST(many_codes_are_all_found_and_copied)
{
    int32_t codes[100];
    struct tag_filter f, copy;

    for (int i = 0; i < 100; i++)
        codes[i] = (i * 7919) % 1000 - 500;
    ck_assert_int_eq(tag_filter_codes(&f, codes, 100), 0);
    ck_assert_int_eq(tag_filter_copy(&copy, &f), 0);
    tag_filter_destroy(&f);
    for (int i = 0; i < 100; i++)
        ck_assert(tag_filter_match(&copy, codes[i]));
    ck_assert(!tag_filter_match(&copy, 501));
    tag_filter_destroy(&copy);
}
END_TEST

START_TEST(more_tags_than_the_bound_are_refused)
{
    struct tag_filter f;
    char text[(FILTER_CODES_MAX + 1) * 8];
    size_t len = 0;

    for (int i = 0; i <= FILTER_CODES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%st%d", i ? "||" : "", i);
    ck_assert_int_eq(tag_filter_parse(&f, bytes_of(text, len)), -EINVAL);
}
END_TEST

START_TEST(filters_are_equal_when_they_let_the_same_codes_pass)
{
    static const char *const texts[] = {"*",
                                        "a",
                                        "b",
                                        "a||b",
                                        "||",
                                        "a||b||c||d||e||f||g",
                                        "a||b||c||d||e||f||h",
                                        "a||b||c||d||e||f||g||h"};
    enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };
    struct tag_filter a, b;

    for (int i = 0; i < TEXTS; i++) {
        for (int k = 0; k < TEXTS; k++) {
            ck_assert_int_eq(tag_filter_parse(&a, bytes_str(texts[i])), 0);
            ck_assert_int_eq(tag_filter_parse(&b, bytes_str(texts[k])), 0);
            ck_assert_int_eq(tag_filter_equal(&a, &b), i == k);
            tag_filter_destroy(&a);
            tag_filter_destroy(&b);
        }
    }
    ck_assert_int_eq(tag_filter_parse(&a, BYTES_LIT("g||f||e||d||c||b||a")), 0);
    ck_assert_int_eq(tag_filter_parse(&b, bytes_str(texts[5])), 0);
    ck_assert(tag_filter_equal(&a, &b));
    tag_filter_destroy(&a);
    tag_filter_destroy(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/filter");
    TCase *t = tcase_create("filter");

    tcase_add_test(t, nothing_and_star_match_everything);
    tcase_add_test(t, tags_are_split_trimmed_and_matched_by_hash);
    tcase_add_test(t, a_negative_hash_matches_its_sign_extended_code);
    tcase_add_test(t, many_codes_are_all_found_and_copied);
    tcase_add_test(t, filters_are_equal_when_they_let_the_same_codes_pass);
    tcase_add_test(t, more_tags_than_the_bound_are_refused);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
