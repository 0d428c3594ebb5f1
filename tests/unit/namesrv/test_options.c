/* test_options.c - the settings, and the file of those that requests changed. */
#include "namesrv/options.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

static struct namesrv_options options;
static struct config_origin origin;
static struct err err;
static char path[64];

static void setup(void)
{
    int fd;

    err = (struct err){0};
    namesrv_options_init(&options, &origin);
    snprintf(path, sizeof(path), "/tmp/tern-options-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    snprintf(options.config_store_path, sizeof(options.config_store_path), "%s", path);
}

static void teardown(void)
{
    unlink(path);
}

static void stored(const char *text)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

START_TEST(defaults_listen_on_loopback_port_9876)
{
    ck_assert_str_eq(options.bind_address, "127.0.0.1");
    ck_assert_int_eq(options.listen_port, 9876);
    ck_assert_str_eq(options.kv_config_path, "~/namesrv/kvConfig.json");
    ck_assert(!options.order_message_enable);
    ck_assert_str_eq(origin.text[0], "default");
}
END_TEST

START_TEST(keys_of_rocketmq_without_meaning_are_accepted)
{
    static const char *const lines[] = {"clusterTest=true", "serverWorkerThreads=8",
                                        "rocketmqHome=/opt/rocketmq",
                                        "useEpollNativeSelector=true"};

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ck_assert_int_eq(config_set(&namesrv_config_spec, &options, &origin, lines[i], "-o", &err),
                         0);
}
END_TEST

START_TEST(bad_values_are_refused)
{
    static const char *const lines[] = {"listenPort=65536",
                                        "listenPort=x",
                                        "bindAddress=here",
                                        "orderMessageEnable=maybe",
                                        "logLevel=loud",
                                        "listenPrt=1",
                                        "scanNotActiveBrokerInterval=0"};

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ck_assert_msg(config_set(&namesrv_config_spec, &options, &origin, lines[i], "-o", &err) < 0,
                      "%s", lines[i]);
}
END_TEST

START_TEST(what_requests_changed_is_kept_and_nothing_else)
{
    struct buf text = {0};
    const struct config_key *key = config_find(&namesrv_config_spec, "orderMessageEnable");

    config_set(&namesrv_config_spec, &options, &origin, "logLevel=debug", "-o", &err);
    namesrv_options_change(&options, key, "true");
    ck_assert(options.order_message_enable);

    namesrv_options_changed_text(&options, &text);
    buf_add_u8(&text, '\0');
    ck_assert_ptr_nonnull(strstr((const char *)buf_at(&text), "\norderMessageEnable=true\n"));
    ck_assert_ptr_null(strstr((const char *)buf_at(&text), "logLevel"));

    stored((const char *)buf_at(&text));
    buf_destroy(&text);
    namesrv_options_init(&options, &origin);
    snprintf(options.config_store_path, sizeof(options.config_store_path), "%s", path);
    ck_assert_int_eq(namesrv_options_load_changed(&options, &origin, &err), 0);
    ck_assert(options.order_message_enable);
}
END_TEST

START_TEST(the_kept_settings_are_loaded_again)
{
    stored("# comment\norderMessageEnable=true\nscanNotActiveBrokerInterval=1000\n");
    ck_assert_int_eq(namesrv_options_load_changed(&options, &origin, &err), 0);
    ck_assert(options.order_message_enable);
    ck_assert_int_eq(options.scan_interval_ms, 1000);
    ck_assert_int_eq(__builtin_popcount(options.changed), 2);
}
END_TEST

START_TEST(no_file_keeps_the_defaults)
{
    unlink(path);
    ck_assert_int_eq(namesrv_options_load_changed(&options, &origin, &err), 0);
    options.config_store_path[0] = '\0';
    ck_assert_int_eq(namesrv_options_load_changed(&options, &origin, &err), 0);
    ck_assert_int_eq(options.changed, 0);
}
END_TEST

START_TEST(settings_that_requests_cannot_change_do_not_belong_there)
{
    stored("orderMessageEnable=true\nkvConfigPath=/etc/passwd\n");
    ck_assert_int_eq(namesrv_options_load_changed(&options, &origin, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, ":2: kvConfigPath"));
    stored("orderMessageEnable=maybe\n");
    ck_assert_int_lt(namesrv_options_load_changed(&options, &origin, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, ":1"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("options");
    TCase *c = tcase_create("settings");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, defaults_listen_on_loopback_port_9876);
    tcase_add_test(c, keys_of_rocketmq_without_meaning_are_accepted);
    tcase_add_test(c, bad_values_are_refused);
    tcase_add_test(c, what_requests_changed_is_kept_and_nothing_else);
    tcase_add_test(c, the_kept_settings_are_loaded_again);
    tcase_add_test(c, no_file_keeps_the_defaults);
    tcase_add_test(c, settings_that_requests_cannot_change_do_not_belong_there);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
