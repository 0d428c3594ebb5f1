/* test_client.c - where name servers are, and which names are refused before anybody is asked. */
#include "tools/client.h"

#include "unit.h"

static struct client *client;
static struct err err;

static void setup(void)
{
    unsetenv(CLIENT_NAMES_VARIABLE);
    client = NULL;
    err = (struct err){0};
}

static void teardown(void)
{
    client = client_free(client);
}

START_TEST(addresses_are_split_and_get_the_usual_port)
{
    ck_assert_int_eq(client_new(&client, "a;b:1;[::1];[::2]:3;;", false, &err), TOOL_DONE);
    ck_assert_uint_eq(client_name_server_count(client), 4);
    ck_assert_str_eq(client_name_server(client, 0), "a:9876");
    ck_assert_str_eq(client_name_server(client, 1), "b:1");
    ck_assert_str_eq(client_name_server(client, 2), "[::1]:9876");
    ck_assert_str_eq(client_name_server(client, 3), "[::2]:3");
}
END_TEST

START_TEST(the_environment_counts_when_nothing_is_given)
{
    ck_assert_int_eq(client_new(&client, NULL, false, &err), TOOL_DONE);
    ck_assert_str_eq(client_name_server(client, 0), "127.0.0.1:9876");
    client = client_free(client);
    setenv(CLIENT_NAMES_VARIABLE, "x:7", 1);
    ck_assert_int_eq(client_new(&client, NULL, false, &err), TOOL_DONE);
    ck_assert_str_eq(client_name_server(client, 0), "x:7");
    client = client_free(client);
    ck_assert_int_eq(client_new(&client, "y:8", false, &err), TOOL_DONE);
    ck_assert_str_eq(client_name_server(client, 0), "y:8");
}
END_TEST

START_TEST(bad_addresses_are_wrong_usage)
{
    static const char *const bad[] = {";", ":9876", "a:0", "a:65536", "a:x", "a:", "::1"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(client_new(&client, bad[i], false, &err) == TOOL_USAGE, "accepted %s",
                      bad[i]);
    ck_assert_int_eq(client_new(&client, "1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17", false, &err),
                     TOOL_USAGE);
}
END_TEST

START_TEST(remote_addresses_can_be_forbidden)
{
    struct rpc_request request = {.code = REQUEST_GET_BROKER_CLUSTER_INFO};
    struct remoting_frame reply;

    /* 192.0.2.0/24 is nobody's: nothing must be sent there, and nothing is waited for */
    ck_assert_int_eq(client_new(&client, "192.0.2.1:9876", true, &err), TOOL_DONE);
    ck_assert_int_eq(client_ask_names(client, &request, &reply, &err), TOOL_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "--allow-remote"));
}
END_TEST

START_TEST(names_follow_the_pattern)
{
    char text[300];

    ck_assert_int_eq(client_check_topic("T1_a-b%c|d", &err), TOOL_DONE);
    ck_assert_int_eq(client_check_topic("", &err), TOOL_USAGE);
    ck_assert_int_eq(client_check_topic("a/b", &err), TOOL_USAGE);
    ck_assert_int_eq(client_check_topic("..", &err), TOOL_USAGE);
    ck_assert_int_eq(client_check_topic("a b", &err), TOOL_USAGE);
    ck_assert_int_eq(client_check_topic("gr\xc3\xbc", &err), TOOL_USAGE);
    memset(text, 'x', sizeof(text));
    text[127] = '\0';
    ck_assert_int_eq(client_check_topic(text, &err), TOOL_DONE);
    text[127] = 'x';
    text[128] = '\0';
    ck_assert_int_eq(client_check_topic(text, &err), TOOL_USAGE);
    ck_assert_int_eq(client_check_group(text, &err), TOOL_DONE);
    text[128] = 'x';
    text[256] = '\0';
    ck_assert_int_eq(client_check_group(text, &err), TOOL_USAGE);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("client");
    TCase *c = tcase_create("client");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, addresses_are_split_and_get_the_usual_port);
    tcase_add_test(c, the_environment_counts_when_nothing_is_given);
    tcase_add_test(c, bad_addresses_are_wrong_usage);
    tcase_add_test(c, remote_addresses_can_be_forbidden);
    tcase_add_test(c, names_follow_the_pattern);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
