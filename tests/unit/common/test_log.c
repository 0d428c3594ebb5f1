/* test_log.c - lines as an operator gets them.
 *
 * stderr is a sequenced-packet socket here: one packet is one write(), so a line that was written
 * in pieces would arrive in pieces.
 */
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log_limit.h"
#include "unit.h"

static int reader = -1;
static int real_stderr = -1;

static void capture(void)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    real_stderr = dup(STDERR_FILENO);
    ck_assert_int_ge(real_stderr, 0);
    ck_assert_int_ge(dup2(pair[1], STDERR_FILENO), 0);
    close(pair[1]);
    reader = pair[0];
    unsetenv("JOURNAL_STREAM");
}

static void release(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
    log_set_level(LOG_LEVEL_INFO);
}

/* The next packet, without its newline, which it must have at the end and nowhere else. */
static const char *next_line(void)
{
    static char line[8192];
    ssize_t n = recv(reader, line, sizeof(line) - 1, MSG_DONTWAIT);

    ck_assert_msg(n > 0, "no line was written");
    line[n] = '\0';
    ck_assert_ptr_eq(strchr(line, '\n'), line + n - 1);
    line[n - 1] = '\0';
    return line;
}

static void no_line(void)
{
    char byte;

    ck_assert_int_eq(recv(reader, &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

/* Past "2024-01-31T12:00:00.000Z LEVEL ". */
static const char *text_of(const char *line)
{
    ck_assert_uint_gt(strlen(line), 31);
    ck_assert_int_eq(line[24], ' ');
    ck_assert_int_eq(line[30], ' ');
    return line + 31;
}

START_TEST(a_line_has_utc_time_level_and_text)
{
    int year, month, day, hour, minute, second, ms, end = 0;

    log_info("listening on %s:%d", "127.0.0.1", 9876);
    const char *line = next_line();
    ck_assert_int_eq(sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &end),
                     7);
    ck_assert_int_eq(end, 24);
    ck_assert_str_eq(line + end, " INFO  listening on 127.0.0.1:9876");
}
END_TEST

START_TEST(under_systemd_a_line_has_a_syslog_level_and_no_time)
{
    struct stat st;
    char stream[64];

    ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_set_level(LOG_LEVEL_DEBUG);
    log_error("e");
    ck_assert_str_eq(next_line(), "<3>e");
    log_warn("w");
    ck_assert_str_eq(next_line(), "<4>w");
    log_info("i");
    ck_assert_str_eq(next_line(), "<6>i");
    log_debug("d");
    ck_assert_str_eq(next_line(), "<7>d");
}
END_TEST

START_TEST(a_journal_stream_that_is_not_our_stderr_changes_nothing)
{
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_info("i");
    ck_assert_str_eq(text_of(next_line()), "i");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_info("i");
    ck_assert_str_eq(text_of(next_line()), "i");
}
END_TEST

START_TEST(lines_above_the_level_are_not_written)
{
    log_debug("at the default level");
    no_line();
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("w");
    log_warn_limited("subject", "w");
    log_info("i");
    no_line();
    log_error("e");
    ck_assert_str_eq(text_of(next_line()), "e");
}
END_TEST

START_TEST(levels_are_known_by_name)
{
    enum log_level level = LOG_LEVEL_ERROR;

    ck_assert(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
    ck_assert(log_level_parse("info", &level) && level == LOG_LEVEL_INFO);
    ck_assert(log_level_parse("warn", &level) && level == LOG_LEVEL_WARN);
    ck_assert(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
    ck_assert(!log_level_parse("errors", &level));
    ck_assert(!log_level_parse("", &level));
}
END_TEST

START_TEST(a_peers_name_cannot_forge_a_line_or_steer_a_terminal)
{
    log_warn("topic %s refused", "a\n2024-01-01 ERROR all is lost\r\t\x1b[2J\x7f");
    ck_assert_str_eq(text_of(next_line()),
                     "topic a\\x0a2024-01-01 ERROR all is lost\\x0d\\x09\\x1b[2J\\x7f refused");
    no_line();
}
END_TEST

START_TEST(utf8_is_shown_and_stray_bytes_and_hidden_controls_are_escaped)
{
    log_info("%s", "h\xc3\xa9 \xe8\xae\xa2\xe5\x8d\x95 \xf0\x9f\x90\x9f");
    ck_assert_str_eq(text_of(next_line()), "h\xc3\xa9 \xe8\xae\xa2\xe5\x8d\x95 \xf0\x9f\x90\x9f");
    log_info("%s", "\xff \xc3 \xe8\xae");
    ck_assert_str_eq(text_of(next_line()), "\\xff \\xc3 \\xe8\\xae");
    log_info("%s", "\xc2\x9b \xe2\x80\xa8 \xe0\x80\xaf \xed\xa0\x80 \xf4\x90\x80\x80");
    ck_assert_str_eq(text_of(next_line()), "\\xc2\\x9b \\xe2\\x80\\xa8 \\xe0\\x80\\xaf "
                                           "\\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80");
}
END_TEST

START_TEST(a_long_line_is_cut_and_says_so)
{
    char text[5001];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_info("%s", text);
    const char *line = next_line();
    size_t len = strlen(line);
    ck_assert_uint_eq(len, 2047);
    ck_assert_str_eq(line + len - 4, "x...");

    memset(text, '\n', sizeof(text) - 1); /* four times as long when it is escaped */
    log_info("%s", text);
    line = next_line();
    len = strlen(line);
    ck_assert_uint_le(len, 2047);
    ck_assert_str_eq(line + len - 7, "\\x0a...");
}
END_TEST

START_TEST(errno_survives_a_line)
{
    errno = EXDEV;
    log_info("i");
    ck_assert_int_eq(errno, EXDEV);
    close(STDERR_FILENO);
    log_info("i");
    ck_assert_int_eq(errno, EXDEV);
}
END_TEST

enum { WRITERS = 4, LINES_EACH = 200 };

static void *write_lines(void *arg)
{
    const char *mark = arg;

    for (int i = 0; i < LINES_EACH; i++)
        log_info("%s%d%s", mark, i, mark);
    return NULL;
}

START_TEST(threads_write_whole_lines)
{
    pthread_t threads[WRITERS];
    static char marks[WRITERS][64];
    int seen[WRITERS] = {0};

    for (int i = 0; i < WRITERS; i++) {
        memset(marks[i], 'a' + i, sizeof(marks[i]) - 1);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_lines, marks[i]), 0);
    }
    for (int i = 0; i < WRITERS * LINES_EACH; i++) {
        char line[1024], want[256];
        ssize_t n = recv(reader, line, sizeof(line) - 1, 0); /* waits for the writers */
        ck_assert_int_gt(n, 0);
        line[n] = '\0';
        int who = text_of(line)[0] - 'a';
        ck_assert(who >= 0 && who < WRITERS);
        snprintf(want, sizeof(want), "%s%d%s\n", marks[who], seen[who]++, marks[who]);
        ck_assert_str_eq(text_of(line), want);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    no_line();
}
END_TEST

START_TEST(complaints_about_one_subject_leave_once)
{
    for (int i = 0; i < 10; i++)
        log_warn_limited("10.0.0.1", "junk from 10.0.0.1:%d", 40000 + i);
    ck_assert_str_eq(text_of(next_line()), "junk from 10.0.0.1:40000");
    no_line();
    log_warn_limited("10.0.0.2", "junk from 10.0.0.2:%d", 40000);
    ck_assert_str_eq(text_of(next_line()), "junk from 10.0.0.2:40000");
}
END_TEST

enum { T0_MS = 1000000 };

START_TEST(the_next_minute_tells_what_was_left_out)
{
    static struct log_limit limit;
    uint64_t left_out = 99;

    ck_assert(log_limit_pass(&limit, "p", T0_MS, &left_out));
    ck_assert_uint_eq(left_out, 0);
    ck_assert(!log_limit_pass(&limit, "p", T0_MS + 1, &left_out));
    ck_assert(!log_limit_pass(&limit, "p", T0_MS + LOG_LIMIT_PERIOD_MS - 1, &left_out));
    ck_assert(log_limit_pass(&limit, "q", T0_MS + 2, &left_out));
    ck_assert(log_limit_pass(&limit, "p", T0_MS + LOG_LIMIT_PERIOD_MS, &left_out));
    ck_assert_uint_eq(left_out, 2);
    ck_assert(!log_limit_pass(&limit, "p", T0_MS + LOG_LIMIT_PERIOD_MS + 1, &left_out));
    ck_assert(log_limit_pass(&limit, "p", T0_MS + 2 * LOG_LIMIT_PERIOD_MS, &left_out));
    ck_assert_uint_eq(left_out, 1);
}
END_TEST

START_TEST(a_flood_of_subjects_gets_one_line_more_than_the_table_has_places)
{
    static struct log_limit limit;
    uint64_t left_out;
    int passed = 0;
    char name[32];

    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "peer-%d", i);
        passed += log_limit_pass(&limit, name, T0_MS + i, &left_out);
    }
    ck_assert_int_eq(passed, LOG_LIMIT_SUBJECTS + 1);

    /* Places fall free as their minute ends, the oldest first. */
    ck_assert(log_limit_pass(&limit, "late", T0_MS + LOG_LIMIT_PERIOD_MS, &left_out));
    ck_assert_uint_eq(left_out, 0);
    ck_assert(!log_limit_pass(&limit, "peer-1", T0_MS + LOG_LIMIT_PERIOD_MS, &left_out));
}
END_TEST

static Suite *log_suite(void)
{
    Suite *suite = suite_create("log");
    TCase *lines = tcase_create("lines");
    TCase *limits = tcase_create("limits");

    tcase_add_checked_fixture(lines, capture, release);
    tcase_add_test(lines, a_line_has_utc_time_level_and_text);
    tcase_add_test(lines, under_systemd_a_line_has_a_syslog_level_and_no_time);
    tcase_add_test(lines, a_journal_stream_that_is_not_our_stderr_changes_nothing);
    tcase_add_test(lines, lines_above_the_level_are_not_written);
    tcase_add_test(lines, levels_are_known_by_name);
    tcase_add_test(lines, a_peers_name_cannot_forge_a_line_or_steer_a_terminal);
    tcase_add_test(lines, utf8_is_shown_and_stray_bytes_and_hidden_controls_are_escaped);
    tcase_add_test(lines, a_long_line_is_cut_and_says_so);
    tcase_add_test(lines, errno_survives_a_line);
    tcase_add_test(lines, threads_write_whole_lines);
    tcase_add_test(lines, complaints_about_one_subject_leave_once);
    suite_add_tcase(suite, lines);

    tcase_add_test(limits, the_next_minute_tells_what_was_left_out);
    tcase_add_test(limits, a_flood_of_subjects_gets_one_line_more_than_the_table_has_places);
    suite_add_tcase(suite, limits);
    return suite;
}

UNIT_MAIN(log_suite)
