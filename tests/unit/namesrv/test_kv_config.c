/* test_kv_config.c - the KV table, its bounds, and its file in every state a crash can leave. */
#include "namesrv/kv_config.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "unit.h"

static struct kv_config *kv;
static struct err err;
static char dir[64], path[96], backup[112];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/tern-kv-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/kv.json", dir);
    snprintf(backup, sizeof(backup), "%s.bak", path);
    err = (struct err){0};
    log_set_level(LOG_LEVEL_ERROR);
    ck_assert_int_eq(kv_config_new(&kv), 0);
}

static void teardown(void)
{
    kv = kv_config_free(kv);
    unlink(path);
    unlink(backup);
    rmdir(dir);
}

static int put(const char *ns, const char *key, const char *value)
{
    return kv_config_put(kv, bytes_str(ns), bytes_str(key), bytes_str(value), &err);
}

static void expect_value(const char *ns, const char *key, const char *value)
{
    struct bytes found;

    ck_assert_msg(kv_config_get(kv, bytes_str(ns), bytes_str(key), &found), "%s/%s", ns, key);
    ck_assert_msg(bytes_is(found, value), "%s/%s", ns, key);
}

static void expect_file(const char *text)
{
    struct buf out = {0};

    kv_config_file_json(kv, &out);
    buf_add_u8(&out, '\0');
    ck_assert_str_eq((const char *)buf_at(&out), text);
    buf_destroy(&out);
}

static void write_file(const char *to, const char *text)
{
    FILE *f = fopen(to, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(what_is_put_is_there_until_deleted)
{
    struct bytes found;

    ck_assert(!kv_config_get(kv, BYTES_LIT("N"), BYTES_LIT("k"), &found));
    ck_assert_int_eq(put("N", "k", "v1"), 0);
    ck_assert_int_eq(put("N", "k", "v2"), 0);
    expect_value("N", "k", "v2");
    ck_assert(kv_config_delete(kv, BYTES_LIT("N"), BYTES_LIT("k")));
    ck_assert(!kv_config_delete(kv, BYTES_LIT("N"), BYTES_LIT("k")));
    ck_assert(!kv_config_get(kv, BYTES_LIT("N"), BYTES_LIT("k"), &found));
}
END_TEST

START_TEST(an_emptied_namespace_is_still_known)
{
    struct buf out = {0};

    ck_assert(!kv_config_has_namespace(kv, BYTES_LIT("N")));
    ck_assert_int_eq(put("N", "k", "v"), 0);
    kv_config_delete(kv, BYTES_LIT("N"), BYTES_LIT("k"));

    ck_assert(kv_config_has_namespace(kv, BYTES_LIT("N")));
    kv_config_namespace_json(kv, BYTES_LIT("N"), &out);
    ck_assert(bytes_is(buf_bytes(&out), "{\"table\":{}}"));
    expect_file("{\"configTable\":{\"N\":{}}}");
    buf_destroy(&out);
}
END_TEST

START_TEST(the_text_is_in_order_of_names)
{
    expect_file("{\"configTable\":{}}");
    put("N", "b", "2");
    put("N", "a", "1");
    put("M", "\"q\"", "");
    expect_file("{\"configTable\":{\"M\":{\"\\\"q\\\"\":\"\"},\"N\":{\"a\":\"1\",\"b\":\"2\"}}}");
}
END_TEST

START_TEST(names_and_values_are_checked)
{
    char key[KV_NAME_MAX + 2];

    memset(key, 'x', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    ck_assert_int_eq(put("", "k", "v"), KV_INVALID);
    ck_assert_int_eq(put("N", "", "v"), KV_INVALID);
    ck_assert_int_eq(put("N", key, "v"), KV_INVALID);
    ck_assert_str_eq(err.text, "key has 512 bytes, expected 1 to 511");
    ck_assert_int_eq(put("N", "k\xff", "v"), KV_INVALID);
    ck_assert_int_eq(put("N", "k", "\xc0\xaf"), KV_INVALID);
    ck_assert_int_eq(kv_config_put(kv, BYTES_LIT("N"), BYTES_LIT("a\0b"), BYTES_LIT("v"), &err),
                     KV_INVALID);
    expect_file("{\"configTable\":{}}");
}
END_TEST

START_TEST(the_number_of_namespaces_is_bounded)
{
    char ns[16];

    for (int i = 0; i < KV_NAMESPACES_MAX; i++) {
        snprintf(ns, sizeof(ns), "n%d", i);
        ck_assert_int_eq(put(ns, "k", "v"), 0);
    }
    ck_assert_int_eq(put("more", "k", "v"), KV_FULL);
    ck_assert_int_eq(put("n7", "k2", "v"), 0);
}
END_TEST

START_TEST(the_bytes_are_bounded_and_come_back_when_deleted)
{
    static char value[60001];
    char key[16];
    int puts = 0;

    memset(value, 'v', sizeof(value) - 1);
    for (;;) {
        snprintf(key, sizeof(key), "k%05d", puts);
        int r = put("N", key, value);

        if (r == KV_FULL)
            break;
        ck_assert_int_eq(r, 0);
        puts++;
    }
    ck_assert_int_eq(puts, KV_BYTES_MAX / 60006);
    ck_assert_int_eq(put("N", "k00000", value), 0); /* as large as what it replaces */
    ck_assert_int_eq(put("N", "k00000", "small"), 0);
    ck_assert_int_eq(put("N", key, value), 0);
    ck_assert(kv_config_delete(kv, BYTES_LIT("N"), BYTES_LIT("k00001")));
    ck_assert_int_eq(put("N", "another", value), 0);
}
END_TEST

/* ---- the file ---- */

START_TEST(what_was_written_is_read)
{
    struct buf text = {0};

    put("N", "a", "1");
    put("N", "caf\xc3\xa9", "\"\\\n");
    put("Emptied", "k", "v");
    kv_config_delete(kv, BYTES_LIT("Emptied"), BYTES_LIT("k"));
    kv_config_file_json(kv, &text);
    ck_assert_int_eq(file_replace(path, buf_bytes(&text), &err), 0);
    buf_destroy(&text);

    kv_config_free(kv);
    ck_assert_int_eq(kv_config_new(&kv), 0);
    ck_assert_int_eq(kv_config_load(kv, path, &err), 0);
    expect_value("N", "a", "1");
    expect_value("N", "caf\xc3\xa9", "\"\\\n");
    ck_assert(kv_config_has_namespace(kv, BYTES_LIT("Emptied")));
}
END_TEST

START_TEST(no_file_is_an_empty_table)
{
    ck_assert_int_eq(kv_config_load(kv, path, &err), 0);
    expect_file("{\"configTable\":{}}");
}
END_TEST

START_TEST(a_file_of_rocketmq_is_read)
{
    write_file(path, "{\"configTable\":{\"ORDER_TOPIC_CONFIG\":{\"TopicO\":\"broker-a:2\"}}}\n");
    ck_assert_int_eq(kv_config_load(kv, path, &err), 0);
    expect_value(KV_ORDER_TOPICS, "TopicO", "broker-a:2");
}
END_TEST

static const char *const broken[] = {"",
                                     "{",
                                     "[]",
                                     "{\"configTable\":[]}",
                                     "{\"configTable\":{\"N\":3}}",
                                     "{\"configTable\":{\"N\":{\"k\":3}}}",
                                     "{\"configTable\":{\"N\":{\"a\":\"1\",\"\":\"v\"}}}",
                                     "{\"configTable\":{\"\":{}}}"};

START_TEST(a_broken_file_gives_way_to_the_one_before_it)
{
    write_file(path, broken[_i]);
    write_file(backup, "{\"configTable\":{\"N\":{\"k\":\"old\"}}}");
    ck_assert_int_eq(kv_config_load(kv, path, &err), 0);
    expect_file("{\"configTable\":{\"N\":{\"k\":\"old\"}}}");
}
END_TEST

START_TEST(a_broken_file_alone_is_an_error_that_names_it)
{
    write_file(path, broken[_i]);
    ck_assert_int_eq(kv_config_load(kv, path, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_ptr_nonnull(strstr(err.text, "there is no"));
    expect_file("{\"configTable\":{}}");
}
END_TEST

START_TEST(two_broken_files_are_an_error_that_names_both)
{
    write_file(path, "{");
    write_file(backup, "[");
    ck_assert_int_eq(kv_config_load(kv, path, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, backup));
}
END_TEST

START_TEST(a_crash_between_two_renames_leaves_the_backup)
{
    write_file(backup, "{\"configTable\":{\"N\":{\"k\":\"old\"}}}");
    ck_assert_int_eq(kv_config_load(kv, path, &err), 0);
    expect_value("N", "k", "old");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kv_config");
    TCase *c = tcase_create("table and file");
    enum { BROKEN = sizeof(broken) / sizeof(broken[0]) };

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, what_is_put_is_there_until_deleted);
    tcase_add_test(c, an_emptied_namespace_is_still_known);
    tcase_add_test(c, the_text_is_in_order_of_names);
    tcase_add_test(c, names_and_values_are_checked);
    tcase_add_test(c, the_number_of_namespaces_is_bounded);
    tcase_add_test(c, the_bytes_are_bounded_and_come_back_when_deleted);
    tcase_add_test(c, what_was_written_is_read);
    tcase_add_test(c, no_file_is_an_empty_table);
    tcase_add_test(c, a_file_of_rocketmq_is_read);
    tcase_add_loop_test(c, a_broken_file_gives_way_to_the_one_before_it, 0, BROKEN);
    tcase_add_loop_test(c, a_broken_file_alone_is_an_error_that_names_it, 0, BROKEN);
    tcase_add_test(c, two_broken_files_are_an_error_that_names_both);
    tcase_add_test(c, a_crash_between_two_renames_leaves_the_backup);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
