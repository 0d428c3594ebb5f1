/* Findings: all counted, so many written, nothing in a name steers a terminal. */
#include "tools/findings.h"
#include "unit.h"

static struct buf out;
static struct findings f;

static const char *text(void)
{
    static char room[4096];

    ck_assert(bytes_to_cstr(buf_bytes(&out), room, sizeof(room)));
    buf_destroy(&out);
    return room;
}

START_TEST(a_line_names_the_file_the_byte_and_what_is_wrong)
{
    findings_begin(&f, &out, false, 10);
    findings_add(&f, FINDING_PROBLEM, "checkpoint", 8, "the time is %d", 5);
    findings_add(&f, FINDING_NOTE, "abort", -1, "is there");
    findings_end(&f);
    ck_assert_str_eq(text(), "problem: checkpoint at byte 8: the time is 5\n"
                             "note: abort: is there\n");
    ck_assert_uint_eq(f.problems, 1);
    ck_assert_uint_eq(f.notes, 1);
}
END_TEST

START_TEST(only_so_many_of_each_kind_are_written_and_all_are_counted)
{
    findings_begin(&f, &out, false, 1);
    for (int i = 0; i < 3; i++)
        findings_add(&f, FINDING_PROBLEM, "a", i, "x");
    findings_add(&f, FINDING_NOTE, "b", -1, "y");
    findings_end(&f);
    ck_assert_str_eq(text(),
                     "problem: a at byte 0: x\nnote: b: y\n(2 problems and 0 notes more)\n");
    ck_assert_uint_eq(f.problems, 3);
}
END_TEST

START_TEST(names_with_control_characters_are_shown_escaped)
{
    findings_begin(&f, &out, false, 1);
    findings_add(&f, FINDING_PROBLEM, "a\x1b[2J", -1, "b\nc");
    ck_assert_str_eq(text(), "problem: a\\x1B[2J: b\\nc\n");
}
END_TEST

START_TEST(json_stays_open_for_a_summary)
{
    findings_begin(&f, &out, true, 1);
    findings_add(&f, FINDING_PROBLEM, "a", 7, "x");
    findings_add(&f, FINDING_PROBLEM, "a", 8, "left out");
    findings_add(&f, FINDING_NOTE, "b", -1, "\"y\"");
    findings_end(&f);
    jout_kv_bool(&f.j, "done", true);
    jout_object_end(&f.j);
    ck_assert_str_eq(
        text(), "{\"findings\":[{\"severity\":\"problem\",\"file\":\"a\",\"offset\":7,\"what\":"
                "\"x\"},{\"severity\":\"note\",\"file\":\"b\",\"offset\":null,\"what\":"
                "\"\\\"y\\\"\"}],\"leftOut\":1,\"done\":true}");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("findings");
    TCase *c = tcase_create("findings");

    tcase_add_test(c, a_line_names_the_file_the_byte_and_what_is_wrong);
    tcase_add_test(c, only_so_many_of_each_kind_are_written_and_all_are_counted);
    tcase_add_test(c, names_with_control_characters_are_shown_escaped);
    tcase_add_test(c, json_stays_open_for_a_summary);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
