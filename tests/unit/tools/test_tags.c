/* test_tags.c - tag expressions. */
#include "tools/tags.h"

#include "unit.h"

static unsigned walk(const char *expression, struct bytes tags[8])
{
    size_t at = 0;
    unsigned n = 0;

    while (n < 8 && tags_next(expression, &at, &tags[n]))
        n++;
    return n;
}

START_TEST(nothing_and_a_star_mean_all)
{
    ck_assert(tags_take_all(NULL));
    ck_assert(tags_take_all(""));
    ck_assert(tags_take_all(" * "));
    ck_assert(!tags_take_all("TagA"));
    ck_assert(!tags_take_all("*a"));
}
END_TEST

START_TEST(tags_are_split_and_trimmed)
{
    struct bytes tags[8];

    ck_assert_uint_eq(walk("TagA || TagB||TagC", tags), 3);
    ck_assert(bytes_is(tags[0], "TagA"));
    ck_assert(bytes_is(tags[1], "TagB"));
    ck_assert(bytes_is(tags[2], "TagC"));
    ck_assert_uint_eq(walk("one", tags), 1);
    ck_assert(bytes_is(tags[0], "one"));
    ck_assert_uint_eq(walk("a|b", tags), 1);
    ck_assert(bytes_is(tags[0], "a|b"));
}
END_TEST

START_TEST(empty_parts_are_left_out)
{
    struct bytes tags[8];

    ck_assert_uint_eq(walk("|| a ||  || b ||", tags), 2);
    ck_assert(bytes_is(tags[1], "b"));
    ck_assert_uint_eq(walk("||||", tags), 0);
    ck_assert_uint_eq(walk("", tags), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("tags");
    TCase *c = tcase_create("tags");

    tcase_add_test(c, nothing_and_a_star_mean_all);
    tcase_add_test(c, tags_are_split_and_trimmed);
    tcase_add_test(c, empty_parts_are_left_out);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
