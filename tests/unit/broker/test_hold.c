/* Pulls that wait: who is woken by a message and when, what a deadline does, who is forgotten, and
 * what happens at the bounds. */
#include "broker_fixture.h"
#include "moved_clock.h"

#include "broker/hold.h"

static struct client client;

static void begin_hold(const char *more)
{
    begin();
    start_broker("flushDiskType=ASYNC_FLUSH", more, NULL);
    client_open(&client);
    make_topic(&client, "T", "4");
}

static void end_hold(void)
{
    client_close(&client);
    end();
}

struct count {
    unsigned loop;
    uint32_t waiting;
};

static void look_at_hold(void *arg)
{
    struct count *count = arg;

    count->waiting = hold_waiting(broker->on[count->loop].hold);
}

static uint32_t waiting_on(unsigned loop)
{
    struct count count = {.loop = loop};

    on_loop(loop, look_at_hold, &count);
    return count.waiting;
}

/* A pull that is held by the time this returns. */
static int32_t park(struct client *c, const char *queue, const char *subscription,
                    const char *suspend)
{
    int32_t opaque = ask_pull(c, "T", queue, "0", subscription, suspend);

    nothing_came(c);
    return opaque;
}

/* The message that all other answers of a test are compared with. */
static void check_found(struct client *c, int64_t next)
{
    ck_assert_int_eq(c->frame.code, 0);
    ck_assert_int_eq(number(c, "nextBeginOffset"), next);
    ck_assert_uint_gt(c->frame.body.len, 0);
}

static void check_nothing_new(struct client *c, int64_t next)
{
    ck_assert_int_eq(c->frame.code, RESPONSE_PULL_NOT_FOUND);
    ck_assert_int_eq(number(c, "nextBeginOffset"), next);
    ck_assert_uint_eq(c->frame.body.len, 0);
}

/* The next answer is one of these, which is crossed out. */
static void answer_of(struct client *c, int32_t *opaques, int count)
{
    ck_assert_msg(next_frame(c), "closed before the answer");
    for (int i = 0; i < count; i++) {
        if (opaques[i] == c->frame.opaque) {
            opaques[i] = 0;
            return;
        }
    }
    ck_abort_msg("an answer to %d came, again or unasked", c->frame.opaque);
}

/* --- messages --- */

START_TEST(a_message_wakes_all_pulls_of_its_queue_whose_filter_it_passes)
{
    struct client sender;
    int32_t woken[4], other_tag, other_queue;

    begin_hold(NULL);
    client_open(&sender);
    woken[0] = park(&client, "1", "*", "600000");
    other_tag = park(&client, "1", "TagB", "600000");
    woken[1] = park(&client, "1", "TagA", "600000");
    other_queue = park(&client, "2", "*", "600000");
    /* More tags than lie in the filter itself. */
    woken[2] = park(&client, "1", "a||b||c||d||e||f||g||TagA", "600000");
    woken[3] = park(&client, "1", "TagA", "600000");
    ck_assert_uint_eq(waiting_on(0), 6);
    send_one(&sender, "T", "1", "TAGS\001TagA", "one");
    for (int i = 0; i < 4; i++) {
        answer_of(&client, woken, 4);
        check_found(&client, 1);
    }
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 2);
    /* What did not pass is not looked at again: the answer goes on behind it. */
    send_one(&sender, "T", "1", "TAGS\001TagB", "two");
    ck_assert_int_eq(answer(&client, other_tag), 0);
    check_found(&client, 2);
    send_one(&sender, "T", "2", NULL, "three");
    ck_assert_int_eq(answer(&client, other_queue), 0);
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 0);
    client_close(&sender);
    end_hold();
}
END_TEST

START_TEST(a_pull_that_meets_a_message_does_not_wait)
{
    begin_hold(NULL);
    send_one(&client, "T", "0", NULL, "one");
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "0", "*", "600000")), 0);
    check_found(&client, 1);
    /* Nor one that has more to hear than "nothing new". */
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "0", "TagA", "600000")),
                     RESPONSE_PULL_RETRY_IMMEDIATELY);
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "7", "*", "600000")),
                     RESPONSE_PULL_OFFSET_MOVED);
    /* Nor one that does not want to. */
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "1", "*", "0")),
                     RESPONSE_PULL_NOT_FOUND);
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "1", "*", "-5")),
                     RESPONSE_PULL_NOT_FOUND);
    ck_assert_uint_eq(waiting_on(0), 0);
    end_hold();
}
END_TEST

/* The veil: nobody is woken for what a crash could take back; those who came before the message and
 * those who came after it see it at the same time. */
START_TEST(a_message_wakes_nobody_before_it_is_confirmed)
{
    struct client sender, late;
    int32_t early, after, sent, sent_first, first;

    begin();
    start_broker("flushDiskType=SYNC_FLUSH", "syncFlushTimeout=600000", NULL);
    client_open(&client);
    client_open(&sender);
    client_open(&late);
    make_topic(&client, "T", "4");
    disk_hold(&disk_sync, "commitlog");
    early = park(&client, "0", "*", "600000");
    sent = ask_send(&sender, "T", "0", NULL, "one");
    disk_wait(&disk_sync);
    sent_first = ask_send(&sender, "T", "1", NULL, "two");
    nothing_came(&sender);
    after = park(&late, "0", "*", "600000");
    first = park(&late, "1", "*", "600000"); /* nobody had waited there when its message came */
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 3);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&sender, sent), 0);
    ck_assert_int_eq(answer(&sender, sent_first), 0);
    ck_assert_int_eq(answer(&client, early), 0);
    check_found(&client, 1);
    for (int i = 0; i < 2; i++) {
        answer_of(&late, (int32_t[]){after, first}, 2);
        check_found(&late, 1);
    }
    nothing_came(&late);
    client_close(&sender);
    client_close(&late);
    end_hold();
}
END_TEST

START_TEST(a_message_taken_in_by_one_loop_wakes_pulls_of_another)
{
    struct client other;

    begin_hold("ioThreads=2");
    client_open(&other); /* on loop 1 */
    for (int i = 0; i < 500; i++) {
        struct client *puller = i % 2 ? &client : &other, *sender = i % 2 ? &other : &client;
        char offset[12];
        int32_t pull;

        snprintf(offset, sizeof(offset), "%d", i);
        pull = ask_pull(puller, "T", "0", offset, "*", "600000");
        if (i % 3 == 0) /* sometimes it is there before the message, sometimes they race */
            nothing_came(puller);
        send_one(sender, "T", "0", NULL, "x");
        ck_assert_int_eq(answer(puller, pull), 0);
        check_found(puller, i + 1);
    }
    ck_assert_uint_eq(waiting_on(0), 0);
    ck_assert_uint_eq(waiting_on(1), 0);
    client_close(&other);
    end_hold();
}
END_TEST

static uint32_t queue_of(int32_t queue_id)
{
    struct topic *topic = metadata_topic(broker->metadata, BYTES_LIT("T"), NULL);

    ck_assert_ptr_nonnull(topic);
    return store_queue_make(broker->store, topic, queue_id);
}

/* Another client, on a loop of its own, sends what wakes a pull that waits on loop 0. */
static struct client waker;

static int32_t begin_two_loops(const char *flush, const char *offset)
{
    int32_t pull;

    begin();
    start_broker(flush, "syncFlushTimeout=600000", "ioThreads=2", NULL);
    client_open(&client);
    client_open(&waker);
    make_topic(&client, "T", "4");
    for (int i = 0; i < atoi(offset); i++)
        send_one(&client, "T", "0", NULL, "before");
    pull = ask_pull(&client, "T", "0", offset, "*", "600000");
    nothing_came(&client);
    return pull;
}

static void end_woken(int32_t pull, int64_t next)
{
    ck_assert_int_eq(answer(&client, pull), 0);
    check_found(&client, next);
    client_close(&waker);
    end_hold();
}

/* Notes of other queues come while the loop is busy: as many as it can keep. */
static void leave_no_room(void)
{
    uint32_t queues[2] = {queue_of(1), queue_of(2)};

    for (int i = 0; i < 70000; i++)
        hold_note(broker->on[0].hold, queues[i % 2], 0);
}

static void lose_a_note(void *arg)
{
    (void)arg;
    leave_no_room();
    send_one(&waker, "T", "0", NULL, "one");
}

START_TEST(a_message_whose_note_finds_no_room_is_not_overlooked)
{
    int32_t pull = begin_two_loops("flushDiskType=ASYNC_FLUSH", "0");

    on_loop(0, lose_a_note, NULL);
    end_woken(pull, 1);
}
END_TEST

/* An append is about to publish its message: its note, the only one that it sends, finds no room.
 */
static void lose_an_early_note(void *arg)
{
    (void)arg;
    leave_no_room();
    store_set_waiting(broker->store, queue_of(0), 0, false);
    hold_note(broker->on[0].hold, queue_of(0), store_end(broker->store) + 1);
}

START_TEST(a_message_whose_note_was_lost_before_it_was_in_the_log_is_not_overlooked)
{
    int32_t pull = begin_two_loops("flushDiskType=ASYNC_FLUSH", "0");

    on_loop(0, lose_an_early_note, NULL);
    nothing_came(&client); /* and the loop has looked at its notes */
    send_one(&waker, "T", "0", NULL, "one");
    end_woken(pull, 1);
}
END_TEST

/* While the loop is busy another one takes a message in; then comes the note of somebody who had
 * read the end of the log before that. */
static void be_overtaken(void *arg)
{
    uint64_t end = store_end(broker->store);

    *(int32_t *)arg = ask_send(&waker, "T", "0", NULL, "two");
    wait_appended(end);
    hold_note(broker->on[0].hold, queue_of(0), end);
}

START_TEST(notes_that_come_in_another_order_wake_as_well)
{
    int32_t pull = begin_two_loops("flushDiskType=SYNC_FLUSH", "1"), sent;

    disk_hold(&disk_sync, "commitlog");
    on_loop(0, be_overtaken, &sent);
    nothing_came(&client); /* and the loop has looked at its notes */
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&waker, sent), 0);
    end_woken(pull, 2);
}
END_TEST

static void subscribe(struct client *c, const char *tag, const char *version)
{
    struct buf body = {0};
    int32_t opaque;

    buf_addf(
        &body,
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"G\",\"subscriptionDataSet\":"
        "[{\"topic\":\"T\",\"subString\":\"%s\",\"subVersion\":%s}]}]}",
        tag, version);
    opaque = ask(c, REQUEST_HEART_BEAT, 0, buf_bytes(&body), NULL);
    buf_destroy(&body);
    do
        ck_assert(next_frame(c));
    while (!remoting_is_response(&c->frame)); /* it is told of its own coming first */
    ck_assert_int_eq(c->frame.opaque, opaque);
    ck_assert_int_eq(c->frame.code, 0);
}

/* By the subscription of the group. */
static int32_t ask_registered(struct client *c, const char *offset)
{
    return ask(c, REQUEST_PULL_MESSAGE, 0, bytes_of(NULL, 0), "consumerGroup", "G", "topic", "T",
               "queueId", "0", "queueOffset", offset, "maxMsgNums", "32", "sysFlag", "2",
               "commitOffset", "0", "suspendTimeoutMillis", "600000", "subVersion", "1", NULL);
}

/* Whoever waits with a filter that is no longer the group's must not be led past what the new one
 * lets pass. */
START_TEST(a_pull_asks_again_when_its_subscription_has_changed_meanwhile)
{
    struct client sender;
    int32_t pull;

    begin_hold(NULL);
    client_open(&sender);
    subscribe(&client, "TagA", "1");
    pull = ask_registered(&client, "0");
    send_one(&sender, "T", "0", "TAGS\001TagB", "passes the new one");
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 1);
    subscribe(&client, "TagB", "2");
    send_one(&sender, "T", "0", "TAGS\001TagC", "passes neither");
    ck_assert_int_eq(answer(&client, pull), RESPONSE_PULL_NOT_FOUND);
    check_nothing_new(&client, 0);
    ck_assert_int_eq(answer(&client, ask_registered(&client, "0")), 0);
    check_found(&client, 2);
    /* A new version of the same changes nothing. */
    pull = ask_registered(&client, "2");
    subscribe(&client, "TagB", "3");
    send_one(&sender, "T", "0", "TAGS\001TagC", "passes neither");
    nothing_came(&client);
    send_one(&sender, "T", "0", "TAGS\001TagB", "passes");
    ck_assert_int_eq(answer(&client, pull), 0);
    check_found(&client, 4);
    client_close(&sender);
    end_hold();
}
END_TEST

START_TEST(a_topic_made_again_wakes_those_who_waited_on_the_old_one)
{
    int32_t pull;

    begin_hold(NULL);
    send_one(&client, "T", "0", NULL, "old");
    pull = park(&client, "1", "*", "600000");
    ck_assert_int_eq(
        call_broker(&client, REQUEST_DELETE_TOPIC_IN_BROKER, bytes_of(NULL, 0), "topic", "T", NULL),
        0);
    make_topic(&client, "T", "4");
    send_one(&client, "T", "0", NULL, "not for it");
    nothing_came(&client);
    ask_send(&client, "T", "1", NULL, "new");
    /* The send's answer and the pull's, in the order of the turn. */
    for (int i = 0; i < 2; i++) {
        ck_assert(next_frame(&client));
        ck_assert_int_eq(client.frame.code, 0);
        if (client.frame.opaque == pull)
            check_found(&client, 1);
    }
    ck_assert_uint_eq(waiting_on(0), 0);
    end_hold();
}
END_TEST

/* --- time --- */

/* Time passes and the loop sees it; somebody new asks, since the others may be answered now. Less
 * than the 120 s after which a silent connection is closed. */
static void pass(int64_t ms)
{
    struct client passer;

    move_clock(ms);
    client_open(&passer);
    nothing_came(&passer);
    client_close(&passer);
}

START_TEST(a_pull_waits_as_long_as_it_asked_and_is_answered_once)
{
    int32_t pull;

    begin_hold(NULL);
    pull = park(&client, "0", "*", "100000");
    pass(50000);
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 1);
    pass(50000);
    ck_assert_int_eq(answer(&client, pull), RESPONSE_PULL_NOT_FOUND);
    check_nothing_new(&client, 0);
    send_one(&client, "T", "0", NULL, "one");
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), 0);
    end_hold();
}
END_TEST

START_TEST(nobody_waits_longer_than_the_longest_time)
{
    int32_t pull;

    begin_hold(NULL);
    pull = park(&client, "0", "*", "9223372036854775807");
    for (int64_t passed = 0; passed < HOLD_LONGEST_MS; passed += 60000) {
        nothing_came(&client);
        ck_assert_uint_eq(waiting_on(0), 1);
        pass(60000);
    }
    ck_assert_int_eq(answer(&client, pull), RESPONSE_PULL_NOT_FOUND);
    end_hold();
}
END_TEST

START_TEST(without_long_polling_the_short_time_counts)
{
    int32_t pull;

    begin();
    start_broker("longPollingEnable=false", "shortPollingTimeMills=60000", NULL);
    client_open(&client);
    make_topic(&client, "T", "4");
    pull = park(&client, "0", "*", "1");
    ck_assert_uint_eq(waiting_on(0), 1);
    pass(60000);
    ck_assert_int_eq(answer(&client, pull), RESPONSE_PULL_NOT_FOUND);
    end_hold();
}
END_TEST

/* Pulls come in any order of their times, and some are woken before. */
START_TEST(pulls_end_in_the_order_of_their_times)
{
    enum { PULLS = 401 };
    static int32_t opaques[PULLS];
    char suspend[24];

    begin_hold(NULL);
    for (int i = 0; i < PULLS; i++) {
        int rank = i * 399 % PULLS;

        snprintf(suspend, sizeof(suspend), "%d", 60000 + rank * 100);
        opaques[rank] = ask_pull(&client, "T", rank % 3 == 1 ? "1" : "0", "0", "*", suspend);
    }
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), PULLS);
    {
        struct client sender;

        client_open(&sender);
        send_one(&sender, "T", "1", NULL, "one");
        client_close(&sender);
    }
    for (int i = 0; i < (PULLS + 1) / 3; i++) {
        ck_assert(next_frame(&client));
        check_found(&client, 1);
    }
    nothing_came(&client);
    pass(60000 + PULLS * 100);
    for (int rank = 0; rank < PULLS; rank++) {
        if (rank % 3 == 1)
            continue;
        ck_assert_int_eq(answer(&client, opaques[rank]), RESPONSE_PULL_NOT_FOUND);
    }
    ck_assert_uint_eq(waiting_on(0), 0);
    end_hold();
}
END_TEST

/* Its last look had moved beyond what its filter let not pass. */
START_TEST(what_did_not_pass_the_filter_is_skipped_when_the_time_is_over)
{
    int32_t pull;

    begin_hold(NULL);
    pull = park(&client, "0", "TagA", "100000");
    for (int i = 0; i < 3; i++)
        send_one(&client, "T", "0", "TAGS\001TagB", "x");
    ck_assert_uint_eq(waiting_on(0), 1);
    pass(100000);
    ck_assert_int_eq(answer(&client, pull), RESPONSE_PULL_RETRY_IMMEDIATELY);
    ck_assert_int_eq(number(&client, "nextBeginOffset"), 3);
    end_hold();
}
END_TEST

/* --- connections --- */

static bool one_waits(void *arg)
{
    (void)arg;
    return waiting_on(0) == 1;
}

START_TEST(pulls_of_a_closed_connection_are_forgotten_and_nobody_elses)
{
    struct client leaving;
    int32_t stays;

    begin_hold(NULL);
    client_open(&leaving);
    park(&leaving, "0", "*", "600000");
    stays = park(&client, "0", "a||b||c||d||e||f||g||h", "100000");
    park(&leaving, "0", "a||b||c||d||e||f||g||h", "90000");
    park(&leaving, "1", "*", "600000");
    ck_assert_uint_eq(waiting_on(0), 4);
    client_close(&leaving);
    wait_until(one_waits, NULL);
    send_one(&client, "T", "1", NULL, "nobody is there");
    pass(100000);
    ck_assert_int_eq(answer(&client, stays), RESPONSE_PULL_NOT_FOUND);
    end_hold();
}
END_TEST

/* Many pulls on one connection, woken by one large message in one turn, would bring its size times
 * their number: what goes beyond the bound of a connection's output asks again. */
START_TEST(pulls_that_end_on_a_full_connection_are_asked_to_come_again)
{
    enum { PULLS = 200, BODY = 250000, OUTPUT_MAX = 16 << 20 };
    static char body[BODY + 1];
    static int32_t opaques[PULLS];
    struct client sender;
    int found = 0, again = 0;

    begin_hold(NULL);
    client_open(&sender);
    memset(body, 'x', BODY);
    for (int i = 0; i < PULLS; i++)
        opaques[i] = ask_pull(&client, "T", "0", "0", "*", "600000");
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), PULLS);
    send_one(&sender, "T", "0", NULL, body);
    for (int i = 0; i < PULLS; i++) {
        answer_of(&client, opaques, PULLS);
        if (client.frame.code == 0) {
            check_found(&client, 1);
            found++;
        } else {
            check_nothing_new(&client, 0);
            ck_assert_int_eq(number(&client, "maxOffset"), 1);
            again++;
        }
    }
    ck_assert_int_le(found, OUTPUT_MAX / BODY + 1);
    ck_assert_int_gt(found, 1);
    ck_assert_int_eq(found + again, PULLS);
    nothing_came(&client);
    ck_assert_int_eq(answer(&client, ask_pull(&client, "T", "0", "0", "*", "600000")), 0);
    check_found(&client, 1);
    client_close(&sender);
    end_hold();
}
END_TEST

/* --- bounds and the end --- */

static void keep_conn(struct conn *c, void *arg)
{
    *(struct conn **)arg = c;
}

struct by_hand {
    struct pull_request request;
    int result;
};

static struct pull_request request_by_hand(void)
{
    return (struct pull_request){
        .to = {.opaque = 77777},
        .topic = metadata_topic(broker->metadata, BYTES_LIT("T"), NULL),
        .queue = queue_of(0),
        .max_messages = 32,
        .suspend_ms = HOLD_LONGEST_MS,
        .filter = {.all = true},
    };
}

static bool none_waits(void *arg)
{
    (void)arg;
    return waiting_on(0) == 0;
}

START_TEST(above_the_bound_a_pull_is_answered_at_once)
{
    enum { MOST = 1000 };
    struct client other;

    begin();
    make_broker(NULL);
    broker->on[0].hold = hold_free(broker->on[0].hold);
    broker->on[0].hold = hold_new(&broker->on[0], MOST);
    run();
    client_open(&client);
    make_topic(&client, "T", "4");
    for (int i = 0; i < MOST; i++)
        ask_pull(&client, "T", "0", "0", "*", "600000");
    nothing_came(&client);
    ck_assert_uint_eq(waiting_on(0), MOST);
    client_open(&other);
    ck_assert_int_eq(answer(&other, ask_pull(&other, "T", "0", "0", "*", "600000")),
                     RESPONSE_PULL_NOT_FOUND);
    check_nothing_new(&other, 0);
    client_close(&client);
    wait_until(none_waits, NULL);
    park(&other, "0", "*", "600000");
    ck_assert_uint_eq(waiting_on(0), 1);
    client_close(&other);
    end();
}
END_TEST

static bool nothing_owed(void *arg)
{
    (void)arg;
    return atomic_load(&broker->owed) == 0;
}

static void offload_by_hand(void *arg)
{
    struct by_hand *by_hand = arg;
    struct conn *c = NULL;

    loop_each_conn(broker->loops[0], &broker->port, keep_conn, &c);
    ck_assert_ptr_nonnull(c);
    by_hand->request.to.conn = conn_id_of(c);
    by_hand->result = pull_offload(broker, &by_hand->request, true);
}

/* A reader thread that comes to the end of the queue gives the pull back to its loop. */
START_TEST(a_pull_that_went_to_a_reader_waits_on_its_loop_after_all)
{
    struct by_hand by_hand;

    begin_hold(NULL);
    by_hand.request = request_by_hand();
    ck_assert_int_eq(
        tag_filter_parse(&by_hand.request.filter, BYTES_LIT("a||b||c||d||e||f||g||TagA")), 0);
    on_loop(0, offload_by_hand, &by_hand);
    ck_assert_int_eq(by_hand.result, 0);
    wait_until(one_waits, NULL);
    wait_until(nothing_owed, NULL);
    {
        struct client sender;

        client_open(&sender);
        send_one(&sender, "T", "0", "TAGS\001TagA", "one");
        client_close(&sender);
    }
    ck_assert_int_eq(answer(&client, 77777), 0);
    check_found(&client, 1);
    on_loop(0, offload_by_hand, &by_hand); /* and one that finds a message answers it */
    ck_assert_int_eq(answer(&client, 77777), 0);
    check_found(&client, 1);
    tag_filter_destroy(&by_hand.request.filter);
    end_hold();
}
END_TEST

START_TEST(a_stop_answers_all_that_wait)
{
    struct client other;
    int32_t first, second, third;

    begin_hold("ioThreads=2");
    client_open(&other); /* on loop 1 */
    first = park(&client, "0", "*", "600000");
    second = park(&client, "1", "*", "600000");
    third = park(&other, "0", "*", "600000");
    broker_stop(broker);
    for (int i = 0; i < 2; i++) {
        ck_assert(next_frame(&client));
        ck_assert(client.frame.opaque == first || client.frame.opaque == second);
        check_nothing_new(&client, 0);
        first = client.frame.opaque == first ? 0 : first;
    }
    ck_assert_int_eq(answer(&other, third), RESPONSE_PULL_NOT_FOUND);
    ck_assert_int_eq(end_broker(), 0);
    ck_assert(!next_frame(&client));
    ck_assert(!next_frame(&other));
    client_close(&other);
    end_hold();
}
END_TEST

static Suite *hold_suite(void)
{
    Suite *suite = suite_create("hold");
    TCase *tests = tcase_create("hold");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_message_wakes_all_pulls_of_its_queue_whose_filter_it_passes);
    tcase_add_test(tests, a_pull_that_meets_a_message_does_not_wait);
    tcase_add_test(tests, a_message_wakes_nobody_before_it_is_confirmed);
    tcase_add_test(tests, a_message_taken_in_by_one_loop_wakes_pulls_of_another);
    tcase_add_test(tests, a_message_whose_note_finds_no_room_is_not_overlooked);
    tcase_add_test(tests, a_message_whose_note_was_lost_before_it_was_in_the_log_is_not_overlooked);
    tcase_add_test(tests, notes_that_come_in_another_order_wake_as_well);
    tcase_add_test(tests, a_pull_asks_again_when_its_subscription_has_changed_meanwhile);
    tcase_add_test(tests, a_topic_made_again_wakes_those_who_waited_on_the_old_one);
    tcase_add_test(tests, a_pull_waits_as_long_as_it_asked_and_is_answered_once);
    tcase_add_test(tests, nobody_waits_longer_than_the_longest_time);
    tcase_add_test(tests, without_long_polling_the_short_time_counts);
    tcase_add_test(tests, pulls_end_in_the_order_of_their_times);
    tcase_add_test(tests, what_did_not_pass_the_filter_is_skipped_when_the_time_is_over);
    tcase_add_test(tests, pulls_of_a_closed_connection_are_forgotten_and_nobody_elses);
    tcase_add_test(tests, pulls_that_end_on_a_full_connection_are_asked_to_come_again);
    tcase_add_test(tests, above_the_bound_a_pull_is_answered_at_once);
    tcase_add_test(tests, a_pull_that_went_to_a_reader_waits_on_its_loop_after_all);
    tcase_add_test(tests, a_stop_answers_all_that_wait);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(hold_suite)
