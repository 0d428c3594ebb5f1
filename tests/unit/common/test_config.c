/* test_config.c - configuration as operators write it, rightly and wrongly. */
#include "common/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

enum flush { ASYNC_FLUSH, SYNC_FLUSH };
static const char *const flush_names[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};
static const char *const role_names[] = {"ASYNC_MASTER", "SYNC_MASTER", "SLAVE", NULL};

struct settings {
    char before[8]; /* fields beside must stay as they are */
    char name[16];
    int64_t port;
    bool auto_create;
    int flush;
    int role;
    char dir[256];
    int64_t any;
    char after[8];
};

static bool no_slash(const char *value, char *expected, size_t size)
{
    if (!strchr(value, '/'))
        return true;
    snprintf(expected, size, "a name without '/'");
    return false;
}

#define FIELD(field) offsetof(struct settings, field)
static const struct config_key keys[] = {
    {"brokerName", CONFIG_STRING, FIELD(name), .string_max = 16, .initial = "broker-a",
     .help = "name of the group", .check = no_slash},
    {"listenPort", CONFIG_INT, FIELD(port), .min = 0, .max = 65535, .initial = "10911",
     .help = "TCP port; 0 picks one"},
    {"autoCreateTopicEnable", CONFIG_BOOL, FIELD(auto_create), .initial = "true",
     .help = "make unknown topics", .flags = CONFIG_LIVE},
    {"flushDiskType", CONFIG_CHOICE, FIELD(flush), .choices = flush_names, .initial = "ASYNC_FLUSH",
     .help = "when a message is durable"},
    {"brokerRole", CONFIG_CHOICE, FIELD(role), .choices = role_names, .initial = "ASYNC_MASTER",
     .help = "what it is"},
    {"storePathRootDir", CONFIG_STRING, FIELD(dir), .string_max = 256, .initial = "store",
     .help = "the folder"},
    {"any", CONFIG_INT, FIELD(any), .min = INT64_MIN, .max = INT64_MAX, .initial = "0",
     .help = "anything"},
};
static const char *const ignored[] = {"useEpollNativeSelector", "transientStorePoolEnable", NULL};
static const struct config_spec spec = {
    .program = "tern-test", .keys = keys, .key_count = 7, .ignored = ignored};

static struct settings s;
static struct config_origin origin;
static struct err err;
static char dir[256], path[300];
static int log_reader, real_stderr;

static void set_up(void)
{
    const char *base = getenv("TMPDIR");
    int pair[2];

    snprintf(dir, sizeof(dir), "%s/tern-config-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/broker.conf", dir);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    real_stderr = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
    log_reader = pair[0];
    unsetenv("JOURNAL_STREAM");

    memset(&s, 0, sizeof(s));
    memset(&origin, 0, sizeof(origin));
    memset(&err, 0, sizeof(err));
    memcpy(s.before, "before.", 8);
    memcpy(s.after, "after..", 8);
    config_defaults(&spec, &s, &origin);
}

static void tear_down(void)
{
    ck_assert_str_eq(s.before, "before.");
    ck_assert_str_eq(s.after, "after..");
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(log_reader);
    unlink(path);
    rmdir(dir);
}

static int load_bytes(struct bytes text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text.at, 1, text.len, f), text.len);
    ck_assert_int_eq(fclose(f), 0);
    return config_load(&spec, &s, &origin, path, &err);
}

static int load(const char *text)
{
    return load_bytes(bytes_str(text));
}

/* Loads `text`, which must be refused with "PATH" and then `why`. */
static void expect_refused(const char *text, const char *why)
{
    char want[600];

    ck_assert_int_eq(load(text), -EINVAL);
    snprintf(want, sizeof(want), "%s%s", path, why);
    ck_assert_str_eq(err.text, want);
    ck_assert_int_eq(err.code, -EINVAL);
}

static const char *from(const char *name)
{
    return origin.text[config_find(&spec, name) - keys];
}

/* The text of the next log line, "" when there is none. */
static const char *logged(void)
{
    static char line[4096];
    ssize_t n = recv(log_reader, line, sizeof(line) - 1, MSG_DONTWAIT);

    if (n <= 31)
        return "";
    line[n - 1] = '\0';
    return line + 31; /* past time and level */
}

/* --- what a key means --- */

START_TEST(defaults_are_there_before_any_file)
{
    ck_assert_str_eq(s.name, "broker-a");
    ck_assert_int_eq(s.port, 10911);
    ck_assert(s.auto_create);
    ck_assert_int_eq(s.flush, ASYNC_FLUSH);
    ck_assert_str_eq(from("listenPort"), "default");
}
END_TEST

START_TEST(a_broker_conf_of_rocketmq_is_read)
{
    char want[400];

    ck_assert_int_eq(load("# a broker\n"
                          "\n"
                          "brokerName=broker-b\n"
                          "  listenPort = 0  \n"
                          "autoCreateTopicEnable: FALSE\r\n"
                          "flushDiskType SYNC_FLUSH\n"
                          "brokerRole\t=\tSLAVE\n"
                          "! the folder\n"
                          "storePathRootDir = /data/a=b:c\n"
                          "any=-9223372036854775808"),
                     0);
    ck_assert_str_eq(s.name, "broker-b");
    ck_assert_int_eq(s.port, 0);
    ck_assert(!s.auto_create);
    ck_assert_int_eq(s.flush, SYNC_FLUSH);
    ck_assert_int_eq(s.role, 2);
    ck_assert_str_eq(s.dir, "/data/a=b:c");
    ck_assert_int_eq(s.any, INT64_MIN);
    snprintf(want, sizeof(want), "%s:9", path);
    ck_assert_str_eq(from("storePathRootDir"), want);
    ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(later_sources_win)
{
    ck_assert_int_eq(load("listenPort=1\nlistenPort=2\n"), 0);
    ck_assert_int_eq(s.port, 2);
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=3", "-o", &err), 0);
    ck_assert_int_eq(config_set(&spec, &s, &origin, " listenPort = 4 ", "-o", &err), 0);
    ck_assert_int_eq(s.port, 4);
    ck_assert_str_eq(from("listenPort"), "-o");
    ck_assert_str_eq(from("brokerName"), "default");
    ck_assert_int_eq(config_set(&spec, &s, NULL, "storePathRootDir=a=b", "-o", &err), 0);
    ck_assert_str_eq(s.dir, "a=b");
    ck_assert_int_eq(config_set(&spec, &s, NULL, "storePathRootDir=", "-o", &err), 0);
    ck_assert_str_eq(s.dir, "");
}
END_TEST

START_TEST(a_misspelt_key_is_refused_with_the_nearest_name)
{
    expect_refused("# one\n\nflushDiskTyp = SYNC_FLUSH\n",
                   ":3: unknown key \"flushDiskTyp\", did you mean \"flushDiskType\"?");
    ck_assert_int_eq(s.flush, ASYNC_FLUSH);
    expect_refused("LISTENPORT=1", ":1: unknown key \"LISTENPORT\", did you mean \"listenPort\"?");
    expect_refused("listenProt=1", ":1: unknown key \"listenProt\", did you mean \"listenPort\"?");
    expect_refused("useEpolNativeSelector=true",
                   ":1: unknown key \"useEpolNativeSelector\", did you mean "
                   "\"useEpollNativeSelector\"?");
}
END_TEST

START_TEST(a_strange_key_gets_no_hint)
{
    expect_refused("nothingLikeIt=1", ":1: unknown key \"nothingLikeIt\"");
    expect_refused("=1", ":1: unknown key \"\"");
    expect_refused("x\\u0007y=1", ":1: unknown key \"x\\x07y\"");
    expect_refused("listenPortlistenPortlistenPortlistenPortlistenPortlistenPortlistenPort="
                   "1",
                   ":1: unknown key "
                   "\"listenPortlistenPortlistenPortlistenPortlistenPortlistenPortlistenPort\"");
}
END_TEST

START_TEST(a_bad_value_is_refused_with_what_was_expected)
{
    expect_refused("#\n#\nlistenPort=70000",
                   ":3: listenPort = \"70000\": expected an integer from 0 to 65535");
    expect_refused("listenPort=", ":1: listenPort = \"\": expected an integer from 0 to 65535");
    expect_refused("listenPort=-1", ":1: listenPort = \"-1\": expected an integer from 0 to 65535");
    expect_refused("listenPort=99999999999999999999",
                   ":1: listenPort = \"99999999999999999999\": expected an integer from 0 to "
                   "65535");
    expect_refused("listenPort=10911 # the port",
                   ":1: listenPort = \"10911 # the port\": expected an integer from 0 to 65535");
    expect_refused("autoCreateTopicEnable=yes",
                   ":1: autoCreateTopicEnable = \"yes\": expected true or false");
    expect_refused("flushDiskType=sync_flush",
                   ":1: flushDiskType = \"sync_flush\": expected ASYNC_FLUSH or SYNC_FLUSH");
    expect_refused("brokerRole=MASTER",
                   ":1: brokerRole = \"MASTER\": expected ASYNC_MASTER, SYNC_MASTER or SLAVE");
    expect_refused("brokerName=0123456789abcdef",
                   ":1: brokerName = \"0123456789abcdef\": expected at most 15 bytes");
    expect_refused("brokerName=a/b", ":1: brokerName = \"a/b\": expected a name without '/'");
    ck_assert_int_eq(s.port, 10911);
    ck_assert_str_eq(s.name, "broker-a");
    ck_assert_int_eq(load("brokerName=0123456789abcde"), 0);
}
END_TEST

START_TEST(a_long_value_is_cut_in_the_sentence_between_characters)
{
    char text[600] = "listenPort=";

    for (int i = 0; i < 150; i++)
        strcat(text, "\xc3\xa9");
    ck_assert_int_eq(load(text), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "\xc3\xa9...\": expected an integer"));
    ck_assert(bytes_is_utf8(bytes_str(err.text)));
}
END_TEST

START_TEST(an_option_is_refused_like_a_line)
{
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=x", "-o", &err), -EINVAL);
    ck_assert_str_eq(err.text, "-o: listenPort = \"x\": expected an integer from 0 to 65535");
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPor=1", "-o", &err), -EINVAL);
    ck_assert_str_eq(err.text, "-o: unknown key \"listenPor\", did you mean \"listenPort\"?");
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort", "-o", &err), -EINVAL);
    ck_assert_str_eq(err.text, "-o: \"listenPort\": expected key=value");
    ck_assert_int_eq(config_set(&spec, &s, &origin, "storePathRootDir=\xff", "-o", &err), -EINVAL);
    ck_assert_str_eq(err.text, "-o: storePathRootDir: expected UTF-8");
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=x", "-o", NULL), -EINVAL);
}
END_TEST

START_TEST(a_key_without_meaning_here_gets_one_log_line)
{
    char want[400];

    ck_assert_int_eq(load("\nuseEpollNativeSelector=true\nlistenPort=5\n"), 0);
    snprintf(want, sizeof(want), "useEpollNativeSelector has no meaning here (%s:2)", path);
    ck_assert_str_eq(logged(), want);
    ck_assert_str_eq(logged(), "");
    ck_assert_int_eq(s.port, 5);
    ck_assert_int_eq(config_set(&spec, &s, &origin, "transientStorePoolEnable=1", "-o", &err), 0);
    ck_assert_str_eq(logged(), "transientStorePoolEnable has no meaning here (-o)");
}
END_TEST

START_TEST(a_key_set_twice_in_a_file_is_warned_of_and_the_last_one_counts)
{
    char want[400];

    ck_assert_int_eq(load("listenPort=5\n\nbrokerName=b\nlistenPort=6\n"), 0);
    snprintf(want, sizeof(want), "%s:4: listenPort is set at line 1 already; the last one counts",
             path);
    ck_assert_str_eq(logged(), want);
    ck_assert_int_eq(s.port, 6);
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=7", "-o", &err), 0);
    ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(a_tilde_is_the_home_folder)
{
    char text[32] = "~/a/b";

    setenv("HOME", "/home/tern", 1);
    ck_assert_int_eq(config_expand_home("key", text, sizeof(text), &err), 0);
    ck_assert_str_eq(text, "/home/tern/a/b");
    setenv("HOME", "/elsewhere", 1);
    ck_assert_int_eq(config_expand_home("key", text, sizeof(text), &err), 0);
    ck_assert_str_eq(text, "/home/tern/a/b");
    snprintf(text, sizeof(text), "~x");
    ck_assert_int_eq(config_expand_home("key", text, sizeof(text), &err), 0);
    ck_assert_str_eq(text, "~x");

    snprintf(text, sizeof(text), "~/abc");
    ck_assert_int_eq(config_expand_home("key", text, 14, &err), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(err.text, "key=~/abc"));
    ck_assert_int_eq(config_expand_home("key", text, 15, &err), 0);
    ck_assert_str_eq(text, "/elsewhere/abc");

    snprintf(text, sizeof(text), "~/abc");
    unsetenv("HOME");
    ck_assert_int_eq(config_expand_home("key", text, sizeof(text), &err), -ENOENT);
    ck_assert_str_eq(err.text, "key=~/abc: there is no $HOME; name the whole path");
}
END_TEST

START_TEST(checking_a_value_stores_nothing)
{
    ck_assert_int_eq(config_check(&spec, "listenPort", "1", &err), 0);
    ck_assert_int_eq(config_check(&spec, "listenPort", "-1", &err), -EINVAL);
    ck_assert_str_eq(err.text, "listenPort = \"-1\": expected an integer from 0 to 65535");
    ck_assert_int_eq(config_check(&spec, "listenPor", "1", &err), -ENOENT);
    ck_assert_int_eq(err.code, -ENOENT);
    ck_assert_str_eq(err.text, "unknown key \"listenPor\", did you mean \"listenPort\"?");
    ck_assert_int_eq(config_check(&spec, "listenPor", "1", NULL), -ENOENT);
    ck_assert_int_eq(config_check(&spec, "useEpollNativeSelector", "1", &err), CONFIG_IGNORED);
    ck_assert_int_eq(s.port, 10911);
    ck_assert_str_eq(logged(), "");
}
END_TEST

START_TEST(a_file_that_cannot_be_read_is_named)
{
    char want[400];

    ck_assert_int_eq(config_load(&spec, &s, &origin, path, &err), -ENOENT);
    snprintf(want, sizeof(want), "read %s: No such file or directory", path);
    ck_assert_str_eq(err.text, want);
    ck_assert_int_eq(config_load(&spec, &s, &origin, dir, &err), -EISDIR);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_eq(config_load(&spec, &s, &origin, path, &err), -ESPIPE);
    ck_assert_ptr_nonnull(strstr(err.text, "expected a file, found a pipe"));
}
END_TEST

START_TEST(of_a_long_origin_the_end_is_kept)
{
    char text[301];

    memset(text, 'x', 300);
    memcpy(text + 300 - 14, "broker.conf:12", 15);
    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=1", text, &err), 0);
    const char *kept = from("listenPort");
    ck_assert_uint_eq(strlen(kept), 127);
    ck_assert_int_eq(strncmp(kept, "...x", 4), 0);
    ck_assert_str_eq(kept + 127 - 14, "broker.conf:12");
}
END_TEST

/* --- the text --- */

static char seen[1024];

static int see(void *ctx, int line, const char *key, const char *value)
{
    size_t at = strlen(seen);

    (void)ctx;
    snprintf(seen + at, sizeof(seen) - at, "%d<%s><%s>", line, key, value);
    return 0;
}

/* What config_each makes of the text: LINE<KEY><VALUE> for each pair. */
static void expect_pairs(struct bytes text, const char *want)
{
    seen[0] = '\0';
    ck_assert_int_eq(config_each(text, see, NULL, &err), 0);
    ck_assert_str_eq(seen, want);
}

START_TEST(lines_are_split_as_java_splits_them)
{
    expect_pairs(BYTES_LIT(""), "");
    expect_pairs(BYTES_LIT(" \t\f\n\r\n\r # c\n!c\\\n"), "");
    expect_pairs(BYTES_LIT("a=1\nb=2\r\nc=3\rd=4"), "1<a><1>2<b><2>3<c><3>4<d><4>");
    expect_pairs(BYTES_LIT("a=b=c\na:b\na b\na  =  b\na = = b\na\nb=\n:v"),
                 "1<a><b=c>2<a><b>3<a><b>4<a><b>5<a><= b>6<a><>7<b><>8<><v>");
    expect_pairs(BYTES_LIT("a=x y \t\n b\t:\tz#no comment\n"), "1<a><x y>2<b><z#no comment>");
    expect_pairs(BYTES_LIT("\xEF\xBB\xBF"
                           "a=1"),
                 "1<a><1>");
}
END_TEST

START_TEST(a_continued_line_counts_where_it_began)
{
    expect_pairs(BYTES_LIT("a=1,\\\n   2,\\\r\n\t3\nb=4"), "1<a><1,2,3>4<b><4>");
    expect_pairs(BYTES_LIT("a\\\n=1\nb=\\\n\nc=2"), "1<a><1>3<b><>5<c><2>");
    expect_pairs(BYTES_LIT("a=1\\\\\nb=2\\"), "1<a><1\\>2<b><2>");
    expect_pairs(BYTES_LIT("a=1\\\n# 2\nb=3"), "1<a><1# 2>3<b><3>");
    expect_pairs(BYTES_LIT("# comment \\\nb=3"), "2<b><3>");
}
END_TEST

START_TEST(escapes_are_those_of_java)
{
    expect_pairs(BYTES_LIT("a=\\t\\n\\r\\f\\\\\\x\\:"), "1<a><\t\n\r\f\\x:>");
    expect_pairs(BYTES_LIT("a\\ b\\=\\:c=1"), "1<a b=:c><1>");
    expect_pairs(BYTES_LIT("a=\\u0041\\u00e9\\u8Ba2\\uD83D\\uDC1F"),
                 "1<a><A\xc3\xa9\xe8\xae\xa2\xf0\x9f\x90\x9f>");
    expect_pairs(BYTES_LIT("a=\\ x\\ \\ "), "1<a>< x  >");
    expect_pairs(BYTES_LIT("a=\xc3\xa9"), "1<a><\xc3\xa9>");
}
END_TEST

START_TEST(malformed_text_is_refused_with_its_line)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"a=\\u12g4", "line 1: expected four hexadecimal digits after \\u"},
        {"\n\na=1\\\n\\u123", "line 3: expected four hexadecimal digits after \\u"},
        {"a=\\uD83Dx", "line 1: expected the second half of a surrogate pair after \\uD8.."},
        {"a=\\uD83D\\u0041", "line 1: expected the second half of a surrogate pair after \\uD8.."},
        {"a=\\uDC1F", "line 1: expected the first half of a surrogate pair before \\uDC.."},
        {"a=x\\u0000", "line 1: expected text without NUL"},
        {"a=\xff", "line 1: expected UTF-8"},
        {"# \xff in a comment is fine\n\xff=1", "line 2: expected UTF-8"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(config_each(bytes_str(cases[i].text), see, NULL, &err), -EINVAL);
        ck_assert_str_eq(err.text, cases[i].why);
        ck_assert_int_eq(config_each(bytes_str(cases[i].text), see, NULL, NULL), -EINVAL);
    }
    ck_assert_int_eq(config_each(BYTES_LIT("a=\0b"), see, NULL, &err), -EINVAL);
    ck_assert_str_eq(err.text, "line 1: expected text without NUL");
    expect_refused("a=\\u", ":1: expected four hexadecimal digits after \\u");
}
END_TEST

static int stop_at_two(void *ctx, int line, const char *key, const char *value)
{
    (void)key, (void)value;
    *(int *)ctx += 1;
    return line == 2 ? 7 : 0;
}

START_TEST(a_walk_stops_when_it_is_told)
{
    int calls = 0;

    ck_assert_int_eq(config_each(BYTES_LIT("a=1\nb=2\nc=3"), stop_at_two, &calls, &err), 7);
    ck_assert_int_eq(calls, 2);
}
END_TEST

/* --- values as text --- */

START_TEST(what_is_printed_is_sorted_aligned_and_says_whence)
{
    struct buf out = {0};

    ck_assert_int_eq(config_set(&spec, &s, &origin, "listenPort=0", "-o", &err), 0);
    config_print(&spec, &s, &origin, &out);
    ck_assert(!out.failed);
    buf_add_u8(&out, 0);
    ck_assert_str_eq((const char *)buf_at(&out),
                     "# tern-test: where each value comes from, and what it means\n"
                     "\n# default: anything\n"
                     "any                   = 0\n"
                     "\n# default: make unknown topics\n"
                     "autoCreateTopicEnable = true\n"
                     "\n# default: name of the group\n"
                     "brokerName            = broker-a\n"
                     "\n# default: what it is\n"
                     "brokerRole            = ASYNC_MASTER\n"
                     "\n# default: when a message is durable\n"
                     "flushDiskType         = ASYNC_FLUSH\n"
                     "\n# -o: TCP port; 0 picks one\n"
                     "listenPort            = 0\n"
                     "\n# default: the folder\n"
                     "storePathRootDir      = store\n");
    buf_destroy(&out);
}
END_TEST

START_TEST(what_is_printed_can_be_read_back)
{
    static const char strange[] = "  a\\b\tc\n#d=e:f\r\f\x01\xc3\xa9\xf0\x9f\x90\x9f  ";
    struct buf out = {0};

    strcpy(s.dir, strange);
    s.flush = SYNC_FLUSH;
    s.port = 1;
    config_print(&spec, &s, &origin, &out);
    strcpy(s.dir, "other");
    s.flush = ASYNC_FLUSH;
    ck_assert_int_eq(load_bytes(buf_bytes(&out)), 0);
    ck_assert_str_eq(s.dir, strange);
    ck_assert_int_eq(s.flush, SYNC_FLUSH);
    ck_assert_int_eq(s.port, 1);

    buf_reset(&out);
    config_properties(&spec, &s, &out);
    for (size_t i = 0; i < out.len; i++)
        ck_assert_uint_lt(buf_at(&out)[i], 0x80);
    strcpy(s.dir, "other");
    ck_assert_int_eq(load_bytes(buf_bytes(&out)), 0);
    ck_assert_str_eq(s.dir, strange);

    strcpy(s.dir, " ");
    buf_reset(&out);
    config_properties(&spec, &s, &out);
    ck_assert_int_eq(load_bytes(buf_bytes(&out)), 0);
    ck_assert_str_eq(s.dir, " ");
    buf_destroy(&out);
}
END_TEST

START_TEST(properties_are_one_plain_line_for_each_key)
{
    struct buf out = {0};

    config_properties(&spec, &s, &out);
    ck_assert(bytes_is(buf_bytes(&out), "any=0\n"
                                        "autoCreateTopicEnable=true\n"
                                        "brokerName=broker-a\n"
                                        "brokerRole=ASYNC_MASTER\n"
                                        "flushDiskType=ASYNC_FLUSH\n"
                                        "listenPort=10911\n"
                                        "storePathRootDir=store\n"));
    buf_reset(&out);
    config_value(config_find(&spec, "autoCreateTopicEnable"), &s, &out);
    config_value(config_find(&spec, "brokerRole"), &s, &out);
    config_value(config_find(&spec, "listenPort"), &s, &out);
    config_value(config_find(&spec, "brokerName"), &s, &out);
    ck_assert(bytes_is(buf_bytes(&out), "trueASYNC_MASTER10911broker-a"));
    buf_destroy(&out);
    ck_assert_ptr_null(config_find(&spec, "useEpollNativeSelector"));
}
END_TEST

static Suite *config_suite(void)
{
    Suite *suite = suite_create("config");
    TCase *meaning = tcase_create("keys");
    TCase *text = tcase_create("text");
    TCase *printing = tcase_create("printing");

    tcase_add_checked_fixture(meaning, set_up, tear_down);
    tcase_add_test(meaning, defaults_are_there_before_any_file);
    tcase_add_test(meaning, a_broker_conf_of_rocketmq_is_read);
    tcase_add_test(meaning, later_sources_win);
    tcase_add_test(meaning, a_misspelt_key_is_refused_with_the_nearest_name);
    tcase_add_test(meaning, a_strange_key_gets_no_hint);
    tcase_add_test(meaning, a_bad_value_is_refused_with_what_was_expected);
    tcase_add_test(meaning, a_long_value_is_cut_in_the_sentence_between_characters);
    tcase_add_test(meaning, an_option_is_refused_like_a_line);
    tcase_add_test(meaning, a_key_without_meaning_here_gets_one_log_line);
    tcase_add_test(meaning, a_key_set_twice_in_a_file_is_warned_of_and_the_last_one_counts);
    tcase_add_test(meaning, a_tilde_is_the_home_folder);
    tcase_add_test(meaning, checking_a_value_stores_nothing);
    tcase_add_test(meaning, a_file_that_cannot_be_read_is_named);
    tcase_add_test(meaning, of_a_long_origin_the_end_is_kept);
    suite_add_tcase(suite, meaning);

    tcase_add_checked_fixture(text, set_up, tear_down);
    tcase_add_test(text, lines_are_split_as_java_splits_them);
    tcase_add_test(text, a_continued_line_counts_where_it_began);
    tcase_add_test(text, escapes_are_those_of_java);
    tcase_add_test(text, malformed_text_is_refused_with_its_line);
    tcase_add_test(text, a_walk_stops_when_it_is_told);
    suite_add_tcase(suite, text);

    tcase_add_checked_fixture(printing, set_up, tear_down);
    tcase_add_test(printing, what_is_printed_is_sorted_aligned_and_says_whence);
    tcase_add_test(printing, what_is_printed_can_be_read_back);
    tcase_add_test(printing, properties_are_one_plain_line_for_each_key);
    suite_add_tcase(suite, printing);
    return suite;
}

UNIT_MAIN(config_suite)
