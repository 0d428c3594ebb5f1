/* The rules between the broker's settings, and changes while it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker_config.h"
#include "broker/deletion.h"
#include "broker/store/delay_levels.h"
#include "common/file.h"
#include "unit.h"

static struct broker_settings s;
static struct err err;

static void set_up(void)
{
    settings_init(&s);
    memset(&err, 0, sizeof(err));
}

static void set(const char *key_value)
{
    ck_assert_int_ge(config_set(&broker_config_spec, &s.config, &s.origin, key_value, "test", &err),
                     0);
}

static int update(const char *text)
{
    bool permission;

    return settings_update(&s, bytes_str(text), &permission, &err);
}

START_TEST(the_defaults_bind_to_loopback_and_tell_clients_so)
{
    ck_assert_int_eq(settings_finish(&s, true, &err), 0);
    ck_assert_str_eq(s.config.bind_address, "127.0.0.1");
    ck_assert_str_eq(s.config.broker_ip1, "127.0.0.1");
}
END_TEST

START_TEST(an_address_nobody_listens_on_is_refused_with_the_line_to_add)
{
    set("brokerIP1=192.0.2.1");
    ck_assert_int_eq(settings_finish(&s, false, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "bindAddress=0.0.0.0"));
}
END_TEST

/* bindAddress, brokerIP1, and whether clients can come in that way */
static const struct {
    const char *bind, *told;
    bool taken;
} addresses[] = {
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"127.0.0.2", "127.0.0.2", true},
    {"127.0.0.1", "::1", false},
    {"::1", "127.0.0.1", false},
    {"::1", "::1", true},
    {"0.0.0.0", "192.0.2.1", true},
    {"0.0.0.0", "127.0.0.1", true},
    {"0.0.0.0", "2001:db8::1", false},
    {"0.0.0.0", "0.0.0.0", false},
    {"::", "192.0.2.1", true},
    {"::", "2001:db8::1", true},
    {"::", "::", false},
    {"192.0.2.1", "198.51.100.1", true}, /* translated */
    {"192.0.2.1", "127.0.0.1", false},
    {"192.0.2.1", "2001:db8::1", false},
};

START_TEST(clients_are_told_an_address_that_leads_here)
{
    char text[100];

    snprintf(text, sizeof(text), "bindAddress=%s", addresses[_i].bind);
    set(text);
    snprintf(text, sizeof(text), "brokerIP1=%s", addresses[_i].told);
    set(text);
    ck_assert_msg((settings_finish(&s, false, &err) == 0) == addresses[_i].taken,
                  "bindAddress=%s brokerIP1=%s: %s", addresses[_i].bind, addresses[_i].told,
                  err.text);
    if (!addresses[_i].taken)
        ck_assert_ptr_nonnull(strstr(err.text, text));
}
END_TEST

START_TEST(brokerIP1_follows_bindAddress)
{
    set("bindAddress=192.0.2.7");
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
    ck_assert_str_eq(s.config.broker_ip1, "192.0.2.7");
}
END_TEST

START_TEST(ports_that_collide_are_refused)
{
    set("listenPort=9878"); /* its second port is that of name servers */
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
    ck_assert_int_eq(settings_finish(&s, true, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "namesrvListenPort=9876"));
    set("listenPort=9876");
    ck_assert_int_eq(settings_finish(&s, true, &err), -EINVAL);
    set("listenPort=9875");
    ck_assert_int_eq(settings_finish(&s, true, &err), -EINVAL);
    set("namesrvListenPort=0");
    ck_assert_int_eq(settings_finish(&s, true, &err), 0);
    set("haListenPort=9873");
    ck_assert_int_eq(settings_finish(&s, false, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "haListenPort=9873"));
    set("listenPort=2");
    ck_assert_int_eq(settings_finish(&s, false, &err), -EINVAL);
    set("listenPort=0");
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
    set("portFile=/tmp/x");
    set("namesrvPortFile=/tmp/x");
    ck_assert_int_eq(settings_finish(&s, true, &err), -EINVAL);
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
}
END_TEST

START_TEST(addresses_of_name_servers_are_looked_at)
{
    static const char *const good[] = {"", ";", "a:1", "a:1;b:65535;",
                                       "[::1]:9876;;127.0.0.1:9876"};
    static const char *const bad[] = {"a",     "a:",       ":1",      "a:0",      "a:65536",
                                      "a:1;b", "a:1 ;b:2", "a:1,b:2", "::1:9876", "http://a:1"};
    char text[100];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(config_check(&broker_config_spec, "namesrvAddr", good[i], &err) == 0, "%s",
                      err.text);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(config_check(&broker_config_spec, "namesrvAddr", bad[i], &err), -EINVAL);
        snprintf(text, sizeof(text), "\"%s\": expected host:port", bad[i]);
        ck_assert_msg(strstr(err.text, text) != NULL, "%s", err.text);
    }
}
END_TEST

START_TEST(connections_leave_files_to_the_log)
{
    const struct broker_config *c = &s.config;

    ck_assert_int_eq(settings_fit_files(&s, 1 << 20, &err), 0);
    ck_assert_int_eq(c->connections_max, 100000);
    ck_assert_int_eq(c->queue_descriptors, 512);
    for (int64_t files = 4096; files >= SETTINGS_FILES_MIN; files /= 2) {
        ck_assert_int_eq(settings_fit_files(&s, files, &err), 0);
        ck_assert_int_ge(c->connections_max, 10);
        ck_assert_int_ge(c->queue_descriptors, 16);
        ck_assert_int_ge(files - c->connections_max - c->queue_descriptors - 64, files / 16);
    }
    ck_assert_int_eq(settings_fit_files(&s, SETTINGS_FILES_MIN - 1, &err), -EMFILE);
    ck_assert_ptr_nonnull(strstr(err.text, "127"));
}
END_TEST

START_TEST(a_slave_has_an_id_of_its_own_and_knows_who_says_where_its_master_is)
{
    set("brokerRole=SLAVE");
    ck_assert_int_lt(settings_finish(&s, false, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "brokerId"));
    set("brokerId=1");
    ck_assert_int_lt(settings_finish(&s, false, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "namesrvAddr"));
    set("haMasterAddress=127.0.0.1:10912");
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
}
END_TEST

START_TEST(a_master_has_id_0)
{
    set("brokerId=1");
    ck_assert_int_lt(settings_finish(&s, false, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "brokerRole=SLAVE"));
}
END_TEST

/* What is set, and what the refusal names; NULL: it is taken. */
static const struct {
    const char *set[6];
    const char *says;
} groups[] = {
    {{"groupMembers=1@127.0.0.1:10911;2@[::1]:20911", "memberId=1"}, NULL},
    {{"groupMembers=1@a:1;2@b:2;65535@c:3;", "memberId=65535", "brokerRole=SYNC_MASTER"}, NULL},
    {{"groupMembers=1@a:1;2@b:2;3@c:3", "memberId=2", "brokerRole=SYNC_MASTER", "inSyncReplicas=3"},
     NULL},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "brokerRole=SLAVE", "brokerId=2",
      "inSyncReplicas=1"},
     NULL},
    {{"groupMembers=1@a:1;2@b:2"}, "the line memberId=1"},
    {{"memberId=1"}, "the line groupMembers=1@"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=3"}, "memberId=3 is not among"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "brokerRole=SLAVE", "brokerId=2"},
     "the line inSyncReplicas=2"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "brokerRole=SLAVE", "brokerId=1",
      "inSyncReplicas=2"},
     "change to brokerId=2"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "brokerRole=SYNC_MASTER", "inSyncReplicas=3"},
     "3 copies are asked for"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "inSyncReplicas=2"}, "brokerRole=SYNC_MASTER"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "haMasterAddress=a:2"}, "haMasterAddress=a:2"},
    {{"groupMembers=1@a:1;2@b:2", "memberId=2", "listenPort=0"}, "the line listenPort=2"},
};

START_TEST(the_settings_of_a_group_fit_together)
{
    for (size_t i = 0; i < 6 && groups[_i].set[i]; i++)
        set(groups[_i].set[i]);
    ck_assert_msg((settings_finish(&s, false, &err) == 0) == !groups[_i].says, "%s", err.text);
    if (groups[_i].says)
        ck_assert_msg(strstr(err.text, groups[_i].says) != NULL, "%s", err.text);
}
END_TEST

START_TEST(a_list_of_members_is_looked_at)
{
    static const char *const bad[] = {"1@a:1",
                                      "a:1;b:2",
                                      "0@a:1;2@b:2",
                                      "65536@a:1;2@b:2",
                                      "1@a:1;1@b:2",
                                      "1@a:1;2@a:1",
                                      "1@a;2@b:2",
                                      "1@a:0;2@b:2",
                                      "-1@a:1;2@b:2",
                                      "@a:1;2@b:2",
                                      "1@a:1;2@b:2;x",
                                      "1@a:1,2@b:2",
                                      "1@::1:9;2@b:2;;",
                                      "1@;2@b:2",
                                      "1@a:1;2@a:2;3@a:3;4@a:4;5@a:5;6@a:6;7@a:7;8@a:8;9@a:9"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(config_check(&broker_config_spec, "groupMembers", bad[i], &err) == -EINVAL,
                      "%s was taken", bad[i]);
}
END_TEST

START_TEST(switches_that_nothing_stands_behind_cannot_be_on)
{
    set("aclEnable=false");
    ck_assert_int_lt(
        config_set(&broker_config_spec, &s.config, &s.origin, "aclEnable=true", "test", &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "aclEnable"));
}
END_TEST

START_TEST(the_memory_budget_is_shared_out_and_never_exceeded)
{
    const struct broker_config *c = &s.config;

    set("memoryBudgetBytes=134217728");
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
    ck_assert_int_le(c->memory_tail_bytes + c->queue_memory_bytes + c->offloaded_bytes +
                         2 * c->io_threads * c->waiting_bytes_per_loop,
                     134217728);
    ck_assert_int_ge(c->waiting_bytes_per_loop, 16 << 20);

    set("memoryBudgetBytes=0");
    ck_assert_int_eq(settings_finish(&s, false, &err), 0);
    ck_assert_int_ge(c->memory_budget_bytes, 134217728);
}
END_TEST

START_TEST(a_budget_that_does_not_hold_its_parts_is_refused)
{
    set("memoryBudgetBytes=1000");
    ck_assert_int_eq(settings_finish(&s, false, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "memoryBudgetBytes=1000"));
    set("memoryBudgetBytes=200000000");
    set("queueMemoryBytes=150000000");
    ck_assert_int_eq(settings_finish(&s, false, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "queueMemoryBytes=150000000"));
}
END_TEST

START_TEST(delay_levels_are_read_and_bad_ones_refused)
{
    static const char *const bad[] = {
        "1x", "s", "1s  2s", "1s ", " 1s", "-1s", "99999999999999999999s"};
    int64_t ms[64];

    ck_assert_int_eq(delay_levels_parse("1s 2m 3h 4d", ms, 64), 4);
    ck_assert_int_eq(ms[0], 1000);
    ck_assert_int_eq(ms[1], 120000);
    ck_assert_int_eq(ms[2], 3 * 3600000);
    ck_assert_int_eq(ms[3], INT64_C(4) * 86400000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(delay_levels_parse(bad[i], ms, 64) < 0, "\"%s\" was taken", bad[i]);
    ck_assert_int_lt(delay_levels_parse("1s 1s 1s", ms, 2), 0);
}
END_TEST

START_TEST(only_live_keys_change_and_all_or_none)
{
    ck_assert_int_eq(update("autoCreateTopicEnable=false\nbrokerPermission=4\n"), 0);
    ck_assert(!s.config.auto_create_topic_enable);
    ck_assert_int_eq(s.config.broker_permission, 4);

    ck_assert_int_eq(update("brokerPermission=6\nstorePathRootDir=/tmp/x\n"), -EPERM);
    ck_assert_ptr_nonnull(strstr(err.text, "storePathRootDir"));
    ck_assert_int_eq(s.config.broker_permission, 4);

    ck_assert_int_eq(update("brokerPermission=6\nbrokerPermision=6\n"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "brokerPermission"));
    ck_assert_int_eq(s.config.broker_permission, 4);

    ck_assert_int_eq(update("brokerPermission=99\n"), -EINVAL);
    ck_assert_int_eq(s.config.broker_permission, 4);
}
END_TEST

START_TEST(a_change_is_kept_in_the_file_with_the_rest_untouched)
{
    char path[] = "/tmp/tern-config-XXXXXX";
    static const char before[] = "# mine\nbrokerName=b\nbrokerPermission = 6\n";
    struct buf after = {0};
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, before, sizeof(before) - 1), sizeof(before) - 1);
    close(fd);
    strcpy(s.config_file, path);
    ck_assert_int_eq(update("brokerPermission=4\nlongPollingEnable=false\n"), 0);
    ck_assert_int_eq(file_load(path, 4096, &after), 0);
    ck_assert(bytes_is(buf_bytes(&after), "# mine\nbrokerName=b\nbrokerPermission=4\n"
                                          "longPollingEnable=false\n"));
    buf_destroy(&after);
    unlink(path);
    unlink(strcat(strcpy(s.config_file, path), ".bak"));
}
END_TEST

START_TEST(retention_is_what_the_settings_say_at_the_time)
{
    struct store_retention r;

    deletion_settings(&s, &r);
    ck_assert_int_eq(r.rules.reserved_ms, INT64_C(72) * 3600000);
    ck_assert_uint_eq(r.rules.hours, 1 << 4);
    ck_assert_int_eq(r.rules.expired_percent, 75);
    ck_assert_int_eq(r.rules.forced_percent, 85);
    ck_assert_int_eq(r.rules.refuse_percent, 90);
    ck_assert(r.rules.forced);
    ck_assert_int_eq(r.round_ms, 10000);
    ck_assert_int_eq(r.segments_max, 10);

    ck_assert_int_eq(update("deleteWhen=0;23\nfileReservedTime=1000000\ncommitLogBytesMax=7\n"
                            "diskFreeBytesMin=9\ncleanFileForciblyEnable=false\n"),
                     0);
    deletion_settings(&s, &r);
    ck_assert_uint_eq(r.rules.hours, 1 | 1 << 23);
    ck_assert_int_eq(r.rules.reserved_ms, INT64_C(1000000) * 3600000);
    ck_assert_uint_eq(r.rules.log_bytes_max, 7);
    ck_assert_uint_eq(r.rules.free_bytes_min, 9);
    ck_assert(!r.rules.forced);
    ck_assert_int_eq(update("deleteWhen=24\n"), -EINVAL);
    ck_assert_str_eq(s.config.delete_when, "0;23");
}
END_TEST

/* A broker.conf that RocketMQ takes starts. */
START_TEST(ratios_out_of_range_mean_the_nearest_one_inside)
{
    struct store_retention r;

    set("diskMaxUsedSpaceRatio=100");
    set("diskSpaceCleanForciblyRatio=1");
    set("diskSpaceWarningLevelRatio=99");
    ck_assert_int_eq(settings_finish(&s, true, &err), 0);
    deletion_settings(&s, &r);
    ck_assert_int_eq(r.rules.expired_percent, 95);
    ck_assert_int_eq(r.rules.forced_percent, 30);
    ck_assert_int_eq(r.rules.refuse_percent, 99);
}
END_TEST

static Suite *suite(void)
{
    Suite *suite = suite_create("broker/config");
    TCase *t = tcase_create("config");

    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_test(t, the_defaults_bind_to_loopback_and_tell_clients_so);
    tcase_add_test(t, an_address_nobody_listens_on_is_refused_with_the_line_to_add);
    tcase_add_loop_test(t, clients_are_told_an_address_that_leads_here, 0,
                        sizeof(addresses) / sizeof(addresses[0]));
    tcase_add_test(t, connections_leave_files_to_the_log);
    tcase_add_test(t, ports_that_collide_are_refused);
    tcase_add_test(t, addresses_of_name_servers_are_looked_at);
    tcase_add_test(t, brokerIP1_follows_bindAddress);
    tcase_add_test(t, a_slave_has_an_id_of_its_own_and_knows_who_says_where_its_master_is);
    tcase_add_test(t, a_master_has_id_0);
    tcase_add_loop_test(t, the_settings_of_a_group_fit_together, 0,
                        sizeof(groups) / sizeof(groups[0]));
    tcase_add_test(t, a_list_of_members_is_looked_at);
    tcase_add_test(t, switches_that_nothing_stands_behind_cannot_be_on);
    tcase_add_test(t, the_memory_budget_is_shared_out_and_never_exceeded);
    tcase_add_test(t, a_budget_that_does_not_hold_its_parts_is_refused);
    tcase_add_test(t, delay_levels_are_read_and_bad_ones_refused);
    tcase_add_test(t, only_live_keys_change_and_all_or_none);
    tcase_add_test(t, a_change_is_kept_in_the_file_with_the_rest_untouched);
    tcase_add_test(t, retention_is_what_the_settings_say_at_the_time);
    tcase_add_test(t, ratios_out_of_range_mean_the_nearest_one_inside);
    suite_add_tcase(suite, t);
    return suite;
}

UNIT_MAIN(suite)
