/* Answers that wait until a change of topics or groups is in the metadata journal, on a disk that
 * stands still when it is told to. */
#include "broker_fixture.h"
#include "moved_clock.h"

#include "broker/durable.h"

#define JOURNAL "tern/meta"

static struct client client;

static void begin_durable(const char *more)
{
    begin();
    start_broker("flushDiskType=ASYNC_FLUSH", more, NULL);
    client_open(&client);
    make_topic(&client, "T", "1");
}

static void end_durable(void)
{
    client_close(&client);
    end();
}

static int32_t ask_topic_with(struct client *c, int32_t flag, const char *topic, const char *queues)
{
    return ask(c, REQUEST_UPDATE_AND_CREATE_TOPIC, flag, bytes_of(NULL, 0), "topic", topic,
               "defaultTopic", "TBW102", "readQueueNums", queues, "writeQueueNums", queues, "perm",
               "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", NULL);
}

static int32_t ask_topic(struct client *c, const char *topic)
{
    return ask_topic_with(c, 0, topic, "1");
}

static bool nothing_owed(void *arg)
{
    (void)arg;
    return atomic_load(&broker->owed) == 0;
}

struct owed {
    unsigned least;
};

static bool enough_owed(void *arg)
{
    return atomic_load(&broker->owed) >= ((struct owed *)arg)->least;
}

/* So many answers wait, or are on their way to waiting. */
static void wait_owed(unsigned least)
{
    wait_until(enough_owed, &(struct owed){least});
}

START_TEST(an_answer_waits_until_the_change_is_on_the_disk)
{
    int32_t made, deleted, group;

    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    made = ask_topic(&client, "New");
    disk_wait(&disk_sync);
    nothing_came(&client);
    ck_assert_uint_eq(atomic_load(&broker->owed), 1);
    /* The change itself is there: only its answer waits. */
    send_one(&client, "New", "0", NULL, "one");
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, made), 0);
    disk_hold(&disk_sync, JOURNAL);
    deleted =
        ask(&client, REQUEST_DELETE_TOPIC_IN_BROKER, 0, bytes_of(NULL, 0), "topic", "New", NULL);
    disk_wait(&disk_sync);
    nothing_came(&client);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, deleted), 0);
    disk_hold(&disk_sync, JOURNAL);
    group = ask(&client, REQUEST_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, 0,
                bytes_str("{\"groupName\":\"G\"}"), NULL);
    disk_wait(&disk_sync);
    nothing_came(&client);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, group), 0);
    wait_until(nothing_owed, NULL);
    end_durable();
}
END_TEST

/* Who repeats a change learns no sooner that it is safe. */
START_TEST(a_change_that_changes_nothing_waits_for_the_one_before)
{
    struct client other;
    int32_t first, again;

    begin_durable(NULL);
    client_open(&other);
    disk_hold(&disk_sync, JOURNAL);
    first = ask_topic(&client, "New");
    disk_wait(&disk_sync);
    again = ask_topic(&other, "New");
    wait_owed(2);
    nothing_came(&other);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, first), 0);
    ck_assert_int_eq(answer(&other, again), 0);
    client_close(&other);
    end_durable();
}
END_TEST

START_TEST(changes_of_many_clients_are_all_answered_once)
{
    enum { CLIENTS = 4, CHANGES = 100 };
    struct client clients[CLIENTS];
    bool answered[CLIENTS][CHANGES + 1] = {{false}};
    char name[40];

    begin_durable("ioThreads=2");
    for (int c = 0; c < CLIENTS; c++)
        client_open(&clients[c]);
    for (int i = 0; i < CHANGES; i++) {
        for (int c = 0; c < CLIENTS; c++) {
            snprintf(name, sizeof(name), "{\"groupName\":\"G%d-%d\"}", c, i);
            ck_assert_int_eq(ask(&clients[c], REQUEST_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, 0,
                                 bytes_str(name), NULL),
                             i + 1);
        }
    }
    for (int c = 0; c < CLIENTS; c++) {
        for (int i = 0; i < CHANGES; i++) {
            ck_assert(next_frame(&clients[c]));
            ck_assert_int_eq(clients[c].frame.code, 0);
            ck_assert(!answered[c][clients[c].frame.opaque]);
            answered[c][clients[c].frame.opaque] = true;
        }
        nothing_came(&clients[c]);
        client_close(&clients[c]);
    }
    wait_until(nothing_owed, NULL);
    end_durable();
}
END_TEST

START_TEST(a_oneway_change_is_made_and_not_answered)
{
    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    ask_topic_with(&client, REMOTING_FLAG_ONEWAY, "New", "1");
    disk_wait(&disk_sync);
    send_one(&client, "New", "0", NULL, "one");
    disk_release(&disk_sync);
    wait_until(nothing_owed, NULL);
    nothing_came(&client);
    end_durable();
}
END_TEST

START_TEST(who_has_gone_is_waited_for_by_nobody)
{
    struct client leaving;

    begin_durable(NULL);
    client_open(&leaving);
    disk_hold(&disk_sync, JOURNAL);
    ask_topic(&leaving, "New");
    disk_wait(&disk_sync);
    client_close(&leaving);
    disk_release(&disk_sync);
    wait_until(nothing_owed, NULL);
    nothing_came(&client);
    end_durable();
}
END_TEST

/* The journal is tried again every second; nobody is told before that has worked. */
START_TEST(a_failed_sync_is_no_answer)
{
    int32_t made;

    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    made = ask_topic(&client, "New");
    disk_wait(&disk_sync);
    disk_fail(&disk_sync, JOURNAL, EIO);
    nothing_came(&client);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, made), 0);
    nothing_came(&client);
    end_durable();
}
END_TEST

static enum call_result wait_by_hand(struct buf *out, uint64_t sequence)
{
    static struct remoting_frame frame;
    struct call call = {.broker = broker, .frame = &frame, .out = out, .to = {.opaque = 7}};

    return call_ok_when_durable(&call, sequence, false);
}

START_TEST(above_the_bound_a_change_is_said_to_be_made_but_not_waited_for)
{
    struct remoting_frame frame;
    struct buf out = {0};
    uint64_t sequence;
    const char *why;
    int32_t made;

    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    made = ask_topic(&client, "New");
    disk_wait(&disk_sync);
    wait_owed(1);
    sequence = metadata_last(broker->metadata);
    ck_assert_uint_gt(sequence, metadata_durable(broker->metadata));
    for (int i = 1; i < DURABLE_WAITS_MAX; i++)
        ck_assert_int_eq(wait_by_hand(&out, sequence), CALL_LATER);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_int_eq(wait_by_hand(&out, sequence), CALL_DONE);
    ck_assert_int_eq(remoting_decode(buf_at(&out), out.len, &frame, &why), 0);
    ck_assert_int_eq(frame.code, RESPONSE_SYSTEM_BUSY);
    ck_assert_int_eq(frame.opaque, 7);
    ck_assert_uint_eq(atomic_load(&broker->owed), DURABLE_WAITS_MAX);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, made), 0);
    wait_until(nothing_owed, NULL);
    ck_assert_int_eq(wait_by_hand(&out, sequence), CALL_LATER);
    ck_assert_uint_eq(atomic_load(&broker->owed), 0); /* there is nothing left to wait for */
    buf_destroy(&out);
    end_durable();
}
END_TEST

static bool is_draining(void *arg)
{
    (void)arg;
    return broker_is_draining(broker);
}

START_TEST(a_stop_waits_for_the_journal)
{
    int32_t made;

    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    made = ask_topic(&client, "New");
    disk_wait(&disk_sync);
    broker_stop(broker);
    wait_until(is_draining, NULL);
    ck_assert_int_eq(answer(&client, ask_topic(&client, "TooLate")),
                     RESPONSE_SERVICE_NOT_AVAILABLE);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, made), 0);
    end_durable();
}
END_TEST

START_TEST(a_stop_does_not_wait_for_the_journal_for_ever)
{
    begin_durable(NULL);
    disk_hold(&disk_sync, JOURNAL);
    ask_topic(&client, "New");
    disk_wait(&disk_sync);
    broker_stop(broker);
    wait_until(is_draining, NULL);
    nothing_came(&client);
    move_clock(600000);
    pthread_join(broker_thread, NULL);
    broker_runs = false;
    ck_assert_uint_eq(atomic_load(&broker->owed), 1);
    disk_release(&disk_sync);
    ck_assert_int_eq(end_broker(), 0);
    ck_assert(!next_frame(&client));
    end_durable();
}
END_TEST

/* A master that ceases to be one refuses whoever waits; who has made his change and is about to
 * wait is refused too. */
START_TEST(nobody_begins_to_wait_with_a_master_that_is_none_any_more)
{
    begin_durable(NULL);
    durable_refuse(broker->durable);
    ck_assert_int_eq(answer(&client, ask_topic(&client, "A")), RESPONSE_SERVICE_NOT_AVAILABLE);
    wait_until(nothing_owed, NULL);
    durable_lead(broker->durable);
    ck_assert_int_eq(answer(&client, ask_topic(&client, "B")), 0);
    end_durable();
}
END_TEST

static Suite *durable_suite(void)
{
    Suite *suite = suite_create("durable");
    TCase *tests = tcase_create("durable");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, an_answer_waits_until_the_change_is_on_the_disk);
    tcase_add_test(tests, a_change_that_changes_nothing_waits_for_the_one_before);
    tcase_add_test(tests, changes_of_many_clients_are_all_answered_once);
    tcase_add_test(tests, a_oneway_change_is_made_and_not_answered);
    tcase_add_test(tests, who_has_gone_is_waited_for_by_nobody);
    tcase_add_test(tests, a_failed_sync_is_no_answer);
    tcase_add_test(tests, above_the_bound_a_change_is_said_to_be_made_but_not_waited_for);
    tcase_add_test(tests, a_stop_waits_for_the_journal);
    tcase_add_test(tests, a_stop_does_not_wait_for_the_journal_for_ever);
    tcase_add_test(tests, nobody_begins_to_wait_with_a_master_that_is_none_any_more);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(durable_suite)
