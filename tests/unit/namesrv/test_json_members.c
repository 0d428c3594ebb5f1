/* test_json_members.c - walking an object without a tree. */
#include "namesrv/json_members.h"

#include <stdio.h>

#include "unit.h"

/* The members as "key=value" lines; what was wrong behind a '!'. */
static const char *walked(const char *text)
{
    static char seen[1024];
    struct json_members members;
    struct json_member m;
    size_t n = 0;

    json_members_begin(&members, bytes_str(text));
    seen[0] = '\0';
    while (json_members_next(&members, &m))
        n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%.*s%s=%.*s\n", (int)m.key.len,
                              (const char *)m.key.at, m.key_escaped ? "(escaped)" : "",
                              (int)m.value.len, (const char *)m.value.at);
    if (members.wrong)
        snprintf(seen + n, sizeof(seen) - n, "!%s", members.wrong);
    return seen;
}

START_TEST(members_come_in_order_with_their_text)
{
    ck_assert_str_eq(walked("{\"a\":1,\"b\":{\"x\":[1,2]},\"c\":\"t\"}"),
                     "a=1\nb={\"x\":[1,2]}\nc=\"t\"\n");
    ck_assert_str_eq(walked("{}"), "");
    ck_assert_str_eq(walked(" {\n \"a\" : null ,\t\"b\" : true } \r\n"), "a=null\nb=true\n");
}
END_TEST

START_TEST(keys_may_be_bare_or_in_single_quotes)
{
    ck_assert_str_eq(walked("{0:'x',name:2,'q':3}"), "0='x'\nname=2\nq=3\n");
}
END_TEST

START_TEST(brackets_and_quotes_inside_strings_do_not_count)
{
    ck_assert_str_eq(walked("{\"a\":{\"x\":\"}]\\\"{\"},\"b\":2}"), "a={\"x\":\"}]\\\"{\"}\nb=2\n");
    ck_assert_str_eq(walked("{\"a\":'\"',\"b\":2}"), "a='\"'\nb=2\n");
}
END_TEST

START_TEST(escapes_in_a_key_are_said)
{
    ck_assert_str_eq(walked("{\"a\\u0041\":1}"), "a\\u0041(escaped)=1\n");
}
END_TEST

START_TEST(what_is_no_object_is_refused)
{
    ck_assert_str_eq(walked(""), "!expected an object");
    ck_assert_str_eq(walked("[1]"), "!expected an object");
    ck_assert_str_eq(walked("{\"a\":1"), "a=1\n!expected a comma or the end of the object");
    ck_assert_str_eq(walked("{\"a\":1 \"b\":2}"),
                     "a=1\n!expected a comma or the end of the object");
    ck_assert_str_eq(walked("{\"a\":1,}"), "a=1\n!expected a key");
    ck_assert_str_eq(walked("{\"a\"}"), "!expected a colon after a key");
    ck_assert_str_eq(walked("{\"a}"), "!a key has no end");
    ck_assert_str_eq(walked("{\"a\":}"),
                     "!a value is missing, has no end, or is nested too deeply");
    ck_assert_str_eq(walked("{\"a\":[}"),
                     "!a value is missing, has no end, or is nested too deeply");
    ck_assert_str_eq(walked("{\"a\":\"\\"),
                     "!a value is missing, has no end, or is nested too deeply");
    ck_assert_str_eq(walked("{} {}"), "!something follows the object");
}
END_TEST

START_TEST(depth_is_bounded)
{
    char text[256] = "{\"a\":";
    size_t n = strlen(text);

    memset(text + n, '[', 33);
    memset(text + n + 33, ']', 33);
    snprintf(text + n + 66, sizeof(text) - n - 66, "}");
    ck_assert_str_eq(walked(text), "!a value is missing, has no end, or is nested too deeply");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("json_members");
    TCase *c = tcase_create("walk");

    tcase_add_test(c, members_come_in_order_with_their_text);
    tcase_add_test(c, keys_may_be_bare_or_in_single_quotes);
    tcase_add_test(c, brackets_and_quotes_inside_strings_do_not_count);
    tcase_add_test(c, escapes_in_a_key_are_said);
    tcase_add_test(c, what_is_no_object_is_refused);
    tcase_add_test(c, depth_is_bounded);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
