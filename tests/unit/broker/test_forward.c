/* A member of a group that does not lead: what it is asked for goes to the master, which is a
 * socket of the test here, or waits until there is one. */
#include "broker_fixture.h"

#include "broker/forward.h"

static struct client client;
static int listening = -1;
static char master_address[64];
static struct client master; /* its end of the broker's connection */

#define MEMBERS "1@127.0.0.1:1;2@127.0.0.1:2"
enum begins { TAKES_MESSAGES, TAKES_NONE };

/* A broker that takes itself for a member; the test says who leads. What waits does so for as long
 * as it takes, unless `key` says how long. */
static void begin_member(const char *members, enum begins begins, const char *key)
{
    begin();
    make_broker("ioThreads=1", "brokerIP1=127.0.0.1", key ? key : "forwardWaitMillis=60000",
                begins == TAKES_NONE ? "brokerRole=SLAVE" : "brokerRole=ASYNC_MASTER",
                begins == TAKES_NONE ? "brokerId=1" : "brokerId=0",
                begins == TAKES_NONE ? "haMasterAddress=127.0.0.1:1" : "brokerId=0", NULL);
    snprintf(settings.config.group_members, sizeof(settings.config.group_members), "%s", members);
    forward_free(broker->forward);
    broker->forward = forward_new(broker);
    ck_assert_ptr_nonnull(broker->forward);
    settings.config.group_members[0] = '\0';
    run();
    client_open(&client);
}

/* Has the port to itself, but does not listen yet. */
static void bind_master(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct timeval wait = {.tv_sec = PATIENCE_S};
    socklen_t len = sizeof(at);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &len), 0);
    setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    snprintf(master_address, sizeof(master_address), "127.0.0.1:%d", ntohs(at.sin_port));
}

static void open_master(void)
{
    bind_master();
    ck_assert_int_eq(listen(listening, 4), 0);
}

static void accept_broker(void)
{
    struct timeval wait = {.tv_sec = PATIENCE_S};

    memset(&master, 0, sizeof(master));
    master.fd = accept(listening, NULL, NULL);
    ck_assert_int_ge(master.fd, 0);
    setsockopt(master.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

static void end_member(void)
{
    client_close(&client);
    if (master.fd > 0)
        client_close(&master);
    if (listening >= 0)
        close(listening);
    end();
}

/* The next request that the master gets, which is of this code. */
static void master_gets(int32_t code)
{
    ck_assert(next_frame(&master));
    ck_assert(!remoting_is_response(&master.frame));
    ck_assert_int_eq(master.frame.code, code);
}

static void master_answers(int32_t code, const char *key, const char *value)
{
    struct reply_to to = {.opaque = master.frame.opaque, .serialize = master.frame.serialize};
    struct remoting_writer w;
    struct buf out = {0};

    reply_begin(&w, &out, &to, code, bytes_str(code ? "a remark" : NULL), true);
    remoting_put_str(&w, key, value);
    remoting_end(&w);
    client_write(&master, buf_bytes(&out));
    buf_destroy(&out);
}

static bool field_is(const struct client *c, const char *key, const char *value)
{
    const struct bytes *field = remoting_field(&c->frame, key);

    return field && bytes_is(*field, value);
}

static void own_address(char text[64])
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof(at);

    ck_assert_int_eq(getsockname(client.fd, (struct sockaddr *)&at, &len), 0);
    snprintf(text, 64, "1 127.0.0.1:%d", ntohs(at.sin_port));
}

static bool waits_one(void *arg)
{
    struct forward_stats stats;

    (void)arg;
    forward_stats(broker->forward, &stats);
    return stats.waiting == 1;
}

START_TEST(a_send_goes_to_the_master_and_its_answer_comes_back)
{
    char own[64];
    int32_t opaque;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    own_address(own);
    for (int i = 0; i < 3; i++) {
        opaque = ask_send(&client, "T", "3", "KEYS\1k", "the body");
        if (i == 0)
            accept_broker();
        master_gets(REQUEST_SEND_MESSAGE_V2);
        ck_assert(field_is(&master, "b", "T") && field_is(&master, "e", "3") &&
                  field_is(&master, "i", "KEYS\1k") && field_is(&master, FORWARD_BORN_HOST, own));
        ck_assert(bytes_is(master.frame.body, "the body"));
        master_answers(i == 1 ? RESPONSE_SYSTEM_BUSY : 0, "queueOffset", "77");
        ck_assert_int_eq(answer(&client, opaque), i == 1 ? RESPONSE_SYSTEM_BUSY : 0);
        ck_assert(field_is(&client, "queueOffset", "77"));
        ck_assert_int_eq(client.frame.field_count, 1);
        ck_assert(bytes_is(client.frame.remark, i == 1 ? "a remark" : ""));
    }
    end_member();
}
END_TEST

START_TEST(locks_and_messages_given_back_go_to_the_master_too)
{
    static const int32_t codes[] = {REQUEST_SEND_MESSAGE, REQUEST_SEND_BATCH_MESSAGE,
                                    REQUEST_CONSUMER_SEND_MSG_BACK, REQUEST_LOCK_BATCH_MQ,
                                    REQUEST_UNLOCK_BATCH_MQ};

    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        int32_t opaque = ask(&client, codes[i], 0, bytes_str("{}"), NULL);

        if (i == 0)
            accept_broker();
        master_gets(codes[i]);
        master_answers(0, "k", "v");
        ck_assert_int_eq(answer(&client, opaque), 0);
    }
    end_member();
}
END_TEST

START_TEST(a_oneway_send_stays_one)
{
    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    ask(&client, REQUEST_SEND_MESSAGE_V2, REMOTING_FLAG_ONEWAY, bytes_str("x"), "b", "T", NULL);
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    ck_assert(remoting_is_oneway(&master.frame));
    master_answers(0, "k", "v");
    nothing_came(&client);
    end_member();
}
END_TEST

START_TEST(an_offset_is_kept_here_and_told_the_master)
{
    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    ck_assert_int_eq(call_broker(&client, REQUEST_UPDATE_CONSUMER_OFFSET, bytes_of(NULL, 0),
                                 "consumerGroup", "G", "topic", "T", "queueId", "0", "commitOffset",
                                 "5", NULL),
                     0);
    accept_broker();
    master_gets(REQUEST_UPDATE_CONSUMER_OFFSET);
    ck_assert(remoting_is_oneway(&master.frame) && field_is(&master, "commitOffset", "5"));
    end_member();
}
END_TEST

START_TEST(a_send_waits_for_a_master)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    opaque = ask_send(&client, "T", "0", NULL, "x");
    wait_until(waits_one, NULL);
    nothing_came(&client);
    open_master();
    forward_master(broker->forward, master_address);
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    master_answers(0, "queueOffset", "1");
    ck_assert_int_eq(answer(&client, opaque), 0);
    end_member();
}
END_TEST

START_TEST(a_send_waits_until_the_master_can_be_reached)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    bind_master();
    forward_master(broker->forward, master_address);
    opaque = ask_send(&client, "T", "0", NULL, "x");
    wait_until(waits_one, NULL);
    nothing_came(&client);
    close(listening);
    open_master();
    forward_master(broker->forward, master_address);
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    master_answers(0, "queueOffset", "1");
    ck_assert_int_eq(answer(&client, opaque), 0);
    end_member();
}
END_TEST

START_TEST(a_send_that_waited_is_stored_here_once_this_member_leads)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_MESSAGES, NULL);
    make_topic(&client, "T", "2");
    opaque = ask_send(&client, "T", "0", NULL, "x");
    wait_until(waits_one, NULL);
    nothing_came(&client);
    forward_leads(broker->forward, true);
    ck_assert_int_eq(answer(&client, opaque), 0);
    ck_assert_int_eq(number(&client, "queueOffset"), 0);
    send_one(&client, "T", "0", NULL, "y");
    end_member();
}
END_TEST

START_TEST(sends_wait_while_a_master_takes_none)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_MESSAGES, NULL);
    forward_leads(broker->forward, true);
    make_topic(&client, "T", "2");
    send_one(&client, "T", "0", NULL, "x");
    store_close_writes(broker->store);
    opaque = ask_send(&client, "T", "0", NULL, "y");
    wait_until(waits_one, NULL);
    nothing_came(&client);
    store_lead(broker->store);
    ck_assert_int_eq(answer(&client, opaque), 0);
    ck_assert_int_eq(number(&client, "queueOffset"), 1);
    end_member();
}
END_TEST

START_TEST(a_send_that_has_waited_long_enough_is_refused)
{
    begin_member(MEMBERS, TAKES_NONE, "forwardWaitMillis=30");
    ck_assert_int_eq(answer(&client, ask_send(&client, "T", "0", NULL, "x")),
                     RESPONSE_SERVICE_NOT_AVAILABLE);
    ck_assert(field_is(&client, "MSG_REGION", "DefaultRegion"));
    end_member();
}
END_TEST

static int32_t ask_marked(const char *mark)
{
    return ask(&client, REQUEST_SEND_MESSAGE_V2, 0, bytes_str("x"), "a", "P", "b", "T", "e", "0",
               FORWARD_BORN_HOST, mark, NULL);
}

START_TEST(nothing_is_passed_on_for_ever)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    opaque = ask_marked("1 1.2.3.4:5");
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    ck_assert(field_is(&master, FORWARD_BORN_HOST, "2 1.2.3.4:5"));
    master_answers(0, "queueOffset", "1");
    ck_assert_int_eq(answer(&client, opaque), 0);
    ck_assert_int_eq(answer(&client, ask_marked("3 1.2.3.4:5")), RESPONSE_SERVICE_NOT_AVAILABLE);
    ck_assert_int_eq(answer(&client, ask_marked("0 1.2.3.4:5")), RESPONSE_SERVICE_NOT_AVAILABLE);
    ck_assert_int_eq(answer(&client, ask_marked("1.2.3.4:5")), RESPONSE_SERVICE_NOT_AVAILABLE);
    end_member();
}
END_TEST

START_TEST(nothing_is_passed_on_under_a_name_that_a_stranger_gives)
{
    begin_member("1@192.0.2.1:1;2@192.0.2.2:2", TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    ck_assert_int_eq(answer(&client, ask_marked("1 1.2.3.4:5")), RESPONSE_SERVICE_NOT_AVAILABLE);
    end_member();
}
END_TEST

START_TEST(an_answer_that_was_lost_with_the_connection_is_not_waited_for)
{
    int32_t opaque;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    open_master();
    forward_master(broker->forward, master_address);
    opaque = ask_send(&client, "T", "0", NULL, "x");
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    client_close(&master);
    ck_assert_int_eq(answer(&client, opaque), RESPONSE_SERVICE_NOT_AVAILABLE);
    /* The next one comes by a new connection. */
    opaque = ask_send(&client, "T", "0", NULL, "y");
    accept_broker();
    master_gets(REQUEST_SEND_MESSAGE_V2);
    ck_assert(bytes_is(master.frame.body, "y"));
    master_answers(0, "queueOffset", "1");
    ck_assert_int_eq(answer(&client, opaque), 0);
    end_member();
}
END_TEST

START_TEST(what_waits_is_bounded)
{
    struct client other;
    int32_t first = 0;

    begin_member(MEMBERS, TAKES_NONE, NULL);
    client_open(&other);
    for (int i = 0; i < FORWARD_REQUESTS_MAX; i++) {
        int32_t opaque = ask_send(&client, "T", "0", NULL, "x");

        first = first ? first : opaque;
    }
    nothing_came(&client);
    ck_assert_int_eq(answer(&other, ask_send(&other, "T", "0", NULL, "x")), RESPONSE_SYSTEM_BUSY);
    ck_assert_ptr_nonnull(memmem(other.frame.remark.at, other.frame.remark.len,
                                 "queue of requests for the master", 32));
    client_close(&other);
    end_member();
}
END_TEST

/* Whether the newest message of T bears 1.2.3.4:5. */
static bool born_elsewhere(void)
{
    static const uint8_t host[] = {1, 2, 3, 4, 0, 0, 0, 5};

    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "0", "*", "0")), 0);
    return memmem(client.frame.body.at, client.frame.body.len, host, sizeof(host)) != NULL;
}

static void send_passed_on(void)
{
    forward_leads(broker->forward, true);
    make_topic(&client, "T", "1");
    ck_assert_int_eq(call_broker(&client, REQUEST_SEND_MESSAGE_V2, bytes_str("x"), "a", "P", "b",
                                 "T", "c", "TBW102", "d", "4", "e", "0", "f", "0", "g", "1", "h",
                                 "0", "j", "0", FORWARD_BORN_HOST, "1 1.2.3.4:5", NULL),
                     0);
}

START_TEST(a_message_bears_the_address_of_its_producer)
{
    begin_member(MEMBERS, TAKES_MESSAGES, NULL);
    send_passed_on();
    ck_assert(born_elsewhere());
    end_member();
}
END_TEST

START_TEST(nobody_but_a_member_speaks_for_another)
{
    begin_member("1@192.0.2.1:1;2@192.0.2.2:2", TAKES_MESSAGES, NULL);
    send_passed_on();
    ck_assert(!born_elsewhere());
    end_member();
}
END_TEST

static Suite *forward_suite(void)
{
    Suite *suite = suite_create("forward");
    TCase *tests = tcase_create("forward");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_send_goes_to_the_master_and_its_answer_comes_back);
    tcase_add_test(tests, locks_and_messages_given_back_go_to_the_master_too);
    tcase_add_test(tests, a_oneway_send_stays_one);
    tcase_add_test(tests, an_offset_is_kept_here_and_told_the_master);
    tcase_add_test(tests, a_send_waits_for_a_master);
    tcase_add_test(tests, a_send_waits_until_the_master_can_be_reached);
    tcase_add_test(tests, a_send_that_waited_is_stored_here_once_this_member_leads);
    tcase_add_test(tests, sends_wait_while_a_master_takes_none);
    tcase_add_test(tests, a_send_that_has_waited_long_enough_is_refused);
    tcase_add_test(tests, nothing_is_passed_on_for_ever);
    tcase_add_test(tests, nothing_is_passed_on_under_a_name_that_a_stranger_gives);
    tcase_add_test(tests, an_answer_that_was_lost_with_the_connection_is_not_waited_for);
    tcase_add_test(tests, what_waits_is_bounded);
    tcase_add_test(tests, a_message_bears_the_address_of_its_producer);
    tcase_add_test(tests, nobody_but_a_member_speaks_for_another);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(forward_suite)
