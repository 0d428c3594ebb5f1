/* test_table.c - aligned columns. */
#include "tools/table.h"

#include "unit.h"

static struct table t;
static struct buf out;

static void setup(void)
{
    static const char *const headings[] = {"NAME", ">COUNT", "NOTE", NULL};

    table_init(&t, headings);
    out = (struct buf){0};
}

static void teardown(void)
{
    table_destroy(&t);
    buf_destroy(&out);
}

static const char *printed(void)
{
    table_print(&t, &out);
    buf_add_u8(&out, 0);
    ck_assert(!out.failed);
    return (const char *)buf_at(&out);
}

START_TEST(columns_are_as_wide_as_their_widest_cell)
{
    table_add(&t, "broker-a");
    table_add_i64(&t, 7);
    table_add(&t, "x");
    table_add(&t, "b");
    table_addf(&t, "%d%s", 12, "34567");
    table_add(&t, "yy");
    ck_assert_str_eq(printed(), "NAME        COUNT  NOTE\n"
                                "broker-a        7  x\n"
                                "b         1234567  yy\n");
}
END_TEST

START_TEST(width_is_in_characters)
{
    table_add(&t, "gr\xc3\xbc\xc3\x9f");
    table_add_i64(&t, 1);
    table_add(&t, "n");
    ck_assert_str_eq(printed(), "NAME  COUNT  NOTE\n"
                                "gr\xc3\xbc\xc3\x9f      1  n\n");
}
END_TEST

START_TEST(nothing_to_say_is_a_dash)
{
    table_add(&t, NULL);
    table_add_i64(&t, 0);
    table_add(&t, "");
    ck_assert_str_eq(printed(), "NAME  COUNT  NOTE\n"
                                "-         0  -\n");
}
END_TEST

START_TEST(a_cell_cannot_break_its_row)
{
    table_add(&t, "a\nb\t");
    table_add_i64(&t, 0);
    table_add(&t, "\x1b[0m");
    ck_assert_str_eq(printed(), "NAME    COUNT  NOTE\n"
                                "a\\nb\\t      0  \\x1B[0m\n");
}
END_TEST

START_TEST(an_empty_table_is_its_headings)
{
    ck_assert_str_eq(printed(), "NAME  COUNT  NOTE\n");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("table");
    TCase *c = tcase_create("table");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, columns_are_as_wide_as_their_widest_cell);
    tcase_add_test(c, width_is_in_characters);
    tcase_add_test(c, nothing_to_say_is_a_dash);
    tcase_add_test(c, a_cell_cannot_break_its_row);
    tcase_add_test(c, an_empty_table_is_its_headings);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
