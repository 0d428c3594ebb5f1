/* Figures in status answers are what happened, not what looks well. */
#include "broker_fixture.h"

#include "common/json.h"

static struct client client;

static void begin_with(const char *key_value)
{
    begin();
    start_broker(key_value, NULL);
    client_open(&client);
    make_topic(&client, "T", "1");
    make_topic(&client, "U", "1");
}

static void end_all(void)
{
    client_close(&client);
    end();
}

static json_t *body_of(struct client *c)
{
    struct err err = {0};
    json_t *tree = json_dialect_load(c->frame.body, &err);

    ck_assert_msg(tree != NULL, "%s", err.text);
    return tree;
}

/* By a connection of its own, so that it may be asked while others wait. The caller's copy. */
static const char *figure(const char *key)
{
    static char text[256];
    struct client c;
    struct bytes value;
    json_t *tree;

    client_open(&c);
    ck_assert_int_eq(call_broker(&c, REQUEST_GET_BROKER_RUNTIME_INFO, bytes_of(NULL, 0), NULL), 0);
    tree = body_of(&c);
    value = json_get_str(json_object_get(tree, "table"), key);
    ck_assert_msg(bytes_to_cstr(value, text, sizeof(text)) && text[0], "no %s", key);
    json_decref(tree);
    client_close(&c);
    return text;
}

static double consume_tps(const char *topic)
{
    double tps;
    json_t *tree;

    ck_assert_int_eq(call_broker(&client, REQUEST_GET_CONSUME_STATS, bytes_of(NULL, 0),
                                 "consumerGroup", "G", "topic", topic, NULL),
                     0);
    tree = body_of(&client);
    ck_assert(json_is_real(json_object_get(tree, "consumeTps")));
    tps = json_real_value(json_object_get(tree, "consumeTps"));
    json_decref(tree);
    return tps;
}

START_TEST(a_groups_rate_is_of_the_messages_it_got)
{
    begin_with(NULL);
    for (int i = 0; i < 3; i++)
        send_one(&client, "T", "0", NULL, "body");
    ck_assert_double_eq(consume_tps("T"), 0);
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "0", "*", "0")), 0);
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "1", "*", "0")), 0);
    /* five messages in the last 50 to 60 seconds, unless this took a minute */
    ck_assert_double_le(consume_tps("T"), 5 / 50.0);
    ck_assert_double_ge(consume_tps("T"), 5 / 60.0);
    ck_assert_double_eq(consume_tps("U"), 0);
    end_all();
}
END_TEST

START_TEST(a_pull_that_waited_counts_for_its_group)
{
    int32_t pull;

    begin_with(NULL);
    pull = ask_pull(&client, "T", "0", "0", "*", "60000");
    {
        struct client sender;

        client_open(&sender);
        send_one(&sender, "T", "0", NULL, "body");
        client_close(&sender);
    }
    ck_assert_int_eq(answer(&client, pull), 0);
    ck_assert_double_ge(consume_tps("T"), 1 / 60.0);
    end_all();
}
END_TEST

static bool is_found_three_times(void *arg)
{
    (void)arg;
    return strstr(figure("getFoundTps"), " 0.005") != NULL; /* 3 in 600 s */
}

START_TEST(pulls_that_find_are_counted_one_by_one)
{
    int32_t pulls[3];

    begin_with(NULL);
    send_one(&client, "T", "0", NULL, "body");
    for (int i = 0; i < 3; i++) /* maybe all in one turn of the loop */
        pulls[i] = ask_pull(&client, "T", "0", "0", "*", "0");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(answer(&client, pulls[i]), 0);
    wait_until(is_found_three_times, NULL);
    end_all();
}
END_TEST

START_TEST(what_consumers_do_not_see_yet_is_behind)
{
    int32_t send;

    begin_with("flushDiskType=SYNC_FLUSH");
    send_one(&client, "T", "0", NULL, "seen");
    ck_assert_str_eq(figure("dispatchBehindBytes"), "0");
    disk_hold(&disk_sync, "commitlog");
    send = ask_send(&client, "T", "0", NULL, "not yet");
    disk_wait(&disk_sync);
    ck_assert_int_gt(atoi(figure("dispatchBehindBytes")), 0);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, send), 0);
    ck_assert_str_eq(figure("dispatchBehindBytes"), "0");
    end_all();
}
END_TEST

/* Keeps a reader thread until it is let go. */
static sem_t let_go, taken;

static void keep_reader(void *ctx)
{
    (void)ctx;
    sem_post(&taken);
    while (sem_wait(&let_go) < 0)
        ck_assert_int_eq(errno, EINTR);
}

static void do_nothing(void *ctx)
{
    (void)ctx;
}

static bool first_job_waits(void *arg)
{
    struct store_stats stats;

    (void)arg;
    store_stats(broker->store, &stats);
    return stats.first_job_waits_ms > 0;
}

static bool no_job_waits(void *arg)
{
    (void)arg;
    return strcmp(figure("queryThreadPoolQueueSize"), "0") == 0;
}

START_TEST(jobs_that_wait_for_a_reader_are_counted)
{
    struct store_stats stats;

    sem_init(&let_go, 0, 0);
    sem_init(&taken, 0, 0);
    begin_with("readerThreads=1");
    ck_assert_int_eq(store_run(broker->store, keep_reader, NULL), 0);
    while (sem_wait(&taken) < 0)
        ck_assert_int_eq(errno, EINTR);
    store_stats(broker->store, &stats);
    ck_assert_uint_eq(stats.jobs_waiting, 0);
    ck_assert_int_eq(stats.first_job_waits_ms, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(store_run(broker->store, do_nothing, NULL), 0);
    store_stats(broker->store, &stats);
    ck_assert_uint_eq(stats.jobs_waiting, 3);
    wait_until(first_job_waits, NULL);
    sem_post(&let_go);
    wait_until(no_job_waits, NULL); /* it is told before they are done */
    ck_assert_int_gt(atoi(figure("queryThreadPoolQueueCapacity")), 0);
    end_all();
}
END_TEST

static Suite *status_suite(void)
{
    Suite *suite = suite_create("status");
    TCase *tests = tcase_create("status");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_groups_rate_is_of_the_messages_it_got);
    tcase_add_test(tests, a_pull_that_waited_counts_for_its_group);
    tcase_add_test(tests, pulls_that_find_are_counted_one_by_one);
    tcase_add_test(tests, what_consumers_do_not_see_yet_is_behind);
    tcase_add_test(tests, jobs_that_wait_for_a_reader_are_counted);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(status_suite)
