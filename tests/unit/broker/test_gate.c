/* Replies that wait: for the flush, for the write, for neither when it takes too long; and what the
 * gate says when it is full or the store has stopped. A broker with SYNC_FLUSH on a disk that
 * stands still when it is told to. */
#include "broker_fixture.h"

#include "broker/gate.h"

static struct client client;

/* A flush is never late here, unless `more` says when it is. */
static void begin_sync(const char *more)
{
    begin();
    start_broker("flushDiskType=SYNC_FLUSH", "syncFlushTimeout=600000", more, NULL);
    client_open(&client);
    make_topic(&client, "T", "2");
}

static void end_sync(void)
{
    client_close(&client);
    end();
}

static void look_at_gate(void *count)
{
    *(uint32_t *)count = gate_waiting(broker->on[0].gate);
}

static uint32_t waiting(void)
{
    uint32_t count;

    on_loop(0, look_at_gate, &count);
    return count;
}

START_TEST(a_reply_waits_for_the_flush)
{
    int32_t opaque;

    begin_sync(NULL);
    disk_hold(&disk_sync, "commitlog");
    opaque = ask_send(&client, "T", "0", NULL, "one");
    disk_wait(&disk_sync);
    nothing_came(&client);
    ck_assert_uint_eq(waiting(), 1);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    ck_assert_int_eq(number(&client, "queueOffset"), 0);
    ck_assert_uint_eq(waiting(), 0);
    end_sync();
}
END_TEST

START_TEST(a_message_that_need_not_wait_is_answered_once_it_is_written)
{
    int32_t waits;

    begin_sync(NULL);
    disk_hold(&disk_sync, "commitlog");
    waits = ask_send(&client, "T", "0", NULL, "waits");
    disk_wait(&disk_sync);
    ck_assert_int_eq(answer(&client, ask_send(&client, "T", "1", "WAIT\001false", "does not")), 0);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, waits), 0);
    end_sync();
}
END_TEST

static void add_batch_item(struct buf *body, const char *text)
{
    uint32_t len = (uint32_t)strlen(text);

    buf_add_be32(body, 22 + len);
    buf_add_be32(body, 0);
    buf_add_be32(body, 0);
    buf_add_be32(body, 0);
    buf_add_be32(body, len);
    buf_add_str(body, text);
    buf_add_be16(body, 0);
}

/* More replies, and more message ids of batches, than the rings begin with; the front moves on
 * meanwhile, so that they grow while they are wrapped around. */
START_TEST(the_rings_grow_and_keep_order_and_ids)
{
    enum { BATCHES = 400, ITEMS = 20, SINGLES = 2500 };
    static int32_t opaques[BATCHES + SINGLES];
    struct buf body = {0};
    int64_t last_id = -1;
    int n = 0;

    begin_sync(NULL);
    for (int i = 0; i < ITEMS; i++)
        add_batch_item(&body, "item");
    for (int round = 0; round < 2; round++) {
        disk_hold(&disk_sync, "commitlog");
        n = 0;
        for (int i = 0; i < BATCHES / (round ? 1 : 4); i++)
            opaques[n++] = ask(&client, REQUEST_SEND_BATCH_MESSAGE, 0, buf_bytes(&body), "a", "P",
                               "b", "T", "c", "TBW102", "d", "4", "e", "0", "m", "true", NULL);
        for (int i = 0; i < SINGLES / (round ? 1 : 4); i++)
            opaques[n++] = ask_send(&client, "T", "1", NULL, "single");
        disk_wait(&disk_sync);
        disk_release(&disk_sync);
        for (int i = 0; i < n; i++) {
            const struct bytes *ids;
            size_t at = 0;
            int count = 1;

            ck_assert_int_eq(answer(&client, opaques[i]), 0);
            ids = remoting_field(&client.frame, "msgId");
            ck_assert_ptr_nonnull(ids);
            for (size_t k = 0; k < ids->len; k++)
                count += ids->at[k] == ',';
            ck_assert_int_eq(count, i < BATCHES / (round ? 1 : 4) ? ITEMS : 1);
            for (int k = 0; k < count; k++, at += 33) {
                char digits[17] = {0};
                int64_t id;

                memcpy(digits, ids->at + at + 16, 16);
                id = strtoll(digits, NULL, 16);
                ck_assert_int_gt(id, last_id);
                last_id = id;
            }
        }
    }
    buf_destroy(&body);
    end_sync();
}
END_TEST

START_TEST(a_late_flush_is_told_as_such_with_the_place_of_the_message)
{
    int32_t opaque;

    begin_sync("syncFlushTimeout=20");
    send_one(&client, "T", "0", "WAIT\001false", "zero"); /* its flush may be late too */
    disk_hold(&disk_sync, "commitlog");
    opaque = ask_send(&client, "T", "0", NULL, "one");
    ck_assert_int_eq(answer(&client, opaque), RESPONSE_FLUSH_DISK_TIMEOUT);
    ck_assert_int_eq(number(&client, "queueOffset"), 1);
    ck_assert_int_eq(number(&client, "queueId"), 0);
    ck_assert_ptr_nonnull(remoting_field(&client.frame, "msgId"));
    disk_release(&disk_sync);
    nothing_came(&client);
    end_sync();
}
END_TEST

struct alarm {
    struct loop_timer timer;
    sem_t rung;
};

static void ring(void *arg)
{
    struct alarm *alarm = arg;

    sem_post(&alarm->rung);
}

static void set_alarm(void *arg)
{
    struct alarm *alarm = arg;

    loop_timer_init(&alarm->timer, broker->loops[1], ring, alarm);
    ck_assert_int_eq(loop_timer_set(&alarm->timer, loop_now_ms(broker->loops[1]) + 100), 0);
}

static void look_at_other_gate(void *count)
{
    *(uint32_t *)count = gate_waiting(broker->on[1].gate);
}

/* FLUSH_DISK_TIMEOUT says that the message is stored, so it may not be said of one that another
 * loop has still to write. */
START_TEST(what_is_not_written_is_not_said_to_be_stored)
{
    struct client first, second;
    struct alarm alarm;
    int32_t one, two;
    uint32_t count;

    begin();
    start_broker("flushDiskType=SYNC_FLUSH", "syncFlushTimeout=20", "ioThreads=2", NULL);
    client_open(&first); /* on loop 0 */
    make_topic(&first, "T", "1");
    client_open(&second); /* on loop 1 */
    nothing_came(&second);
    disk_hold(&disk_write, "commitlog");
    one = ask_send(&first, "T", "0", NULL, "one");
    disk_wait(&disk_write);
    two = ask_send(&second, "T", "0", NULL, "two");
    nothing_came(&second);
    /* Timers fire in the order of their times: after this one, that of the gate has fired. */
    sem_init(&alarm.rung, 0, 0);
    on_loop(1, set_alarm, &alarm);
    while (sem_wait(&alarm.rung) < 0)
        ck_assert_int_eq(errno, EINTR);
    on_loop(1, look_at_other_gate, &count);
    ck_assert_uint_eq(count, 1);
    disk_release(&disk_write);
    ck_assert_int_ne(answer(&first, one), RESPONSE_SYSTEM_ERROR);
    answer(&second, two);
    ck_assert(second.frame.code == 0 || second.frame.code == RESPONSE_FLUSH_DISK_TIMEOUT);
    client_close(&first);
    client_close(&second);
    end();
}
END_TEST

START_TEST(when_the_store_has_stopped_what_it_covers_is_answered_and_the_rest_refused)
{
    int32_t covered, waits, later;

    begin_sync(NULL);
    disk_hold(&disk_sync, "commitlog");
    covered = ask_send(&client, "T", "0", "WAIT\001false", "written is enough");
    ck_assert_int_eq(answer(&client, covered), 0);
    waits = ask_send(&client, "T", "0", NULL, "waits");
    disk_wait(&disk_sync);
    disk_fail(&disk_sync, "commitlog", EIO);
    ck_assert_int_eq(answer(&client, waits), RESPONSE_SERVICE_NOT_AVAILABLE);
    ck_assert_ptr_nonnull(remoting_field(&client.frame, "MSG_REGION"));
    ck_assert_uint_gt(client.frame.remark.len, 0);
    later = ask_send(&client, "T", "0", NULL, "later");
    ck_assert_int_eq(answer(&client, later), RESPONSE_SERVICE_NOT_AVAILABLE);
    client_close(&client);
    disk_release(&disk_sync);
    ck_assert_int_lt(end_broker(), 0);
    end();
}
END_TEST

START_TEST(a_full_gate_refuses_by_name_and_takes_again)
{
    struct client filler;
    struct buf out = {0};
    int32_t opaque, first;

    begin_sync(NULL);
    client_open(&filler);
    disk_hold(&disk_sync, "commitlog");
    first = ask_send(&filler, "T", "0", NULL, "x");
    disk_wait(&disk_sync);
    ask_send(&filler, "T", "0", NULL, "x");
    for (int i = 2; i < GATE_MAX; i++)
        ask_send(&filler, "T", "0", NULL, "x");
    nothing_came(&filler);
    ck_assert_uint_eq(waiting(), GATE_MAX);
    opaque = ask_send(&client, "T", "0", NULL, "too much");
    ck_assert_int_eq(answer(&client, opaque), RESPONSE_SYSTEM_BUSY);
    ck_assert_uint_gt(client.frame.remark.len, 0);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&filler, first), 0);
    ck_assert_int_eq(answer(&client, ask_send(&client, "T", "0", NULL, "now it fits")), 0);
    buf_destroy(&out);
    client_close(&filler);
    end_sync();
}
END_TEST

/* The consumer forgets the message when its return is answered. */
START_TEST(a_message_given_back_waits_for_the_flush_too)
{
    int32_t opaque;

    begin_sync(NULL);
    send_one(&client, "T", "0", NULL, "one");
    disk_hold(&disk_sync, "commitlog");
    opaque = ask(&client, REQUEST_CONSUMER_SEND_MSG_BACK, 0, bytes_of(NULL, 0), "offset", "0",
                 "group", "G", "delayLevel", "0", NULL);
    disk_wait(&disk_sync);
    nothing_came(&client);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    end_sync();
}
END_TEST

static bool is_draining(void *arg)
{
    (void)arg;
    return broker_is_draining(broker);
}

START_TEST(a_stop_waits_for_the_replies_that_are_owed)
{
    int32_t send, back, refused;

    begin_sync(NULL);
    send_one(&client, "T", "0", NULL, "zero");
    disk_hold(&disk_sync, "commitlog");
    send = ask_send(&client, "T", "0", NULL, "one");
    disk_wait(&disk_sync);
    back = ask(&client, REQUEST_CONSUMER_SEND_MSG_BACK, 0, bytes_of(NULL, 0), "offset", "0",
               "group", "G", "delayLevel", "0", NULL);
    nothing_came(&client);
    broker_stop(broker);
    wait_until(is_draining, NULL);
    refused = ask_send(&client, "T", "0", NULL, "too late");
    ck_assert_int_eq(answer(&client, refused), RESPONSE_SERVICE_NOT_AVAILABLE);
    ck_assert_ptr_nonnull(remoting_field(&client.frame, "MSG_REGION"));
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, send), 0);
    ck_assert_int_eq(answer(&client, back), 0);
    end_sync();
}
END_TEST

static Suite *gate_suite(void)
{
    Suite *suite = suite_create("gate");
    TCase *tests = tcase_create("gate");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_reply_waits_for_the_flush);
    tcase_add_test(tests, a_message_that_need_not_wait_is_answered_once_it_is_written);
    tcase_add_test(tests, the_rings_grow_and_keep_order_and_ids);
    tcase_add_test(tests, a_late_flush_is_told_as_such_with_the_place_of_the_message);
    tcase_add_test(tests, what_is_not_written_is_not_said_to_be_stored);
    tcase_add_test(tests,
                   when_the_store_has_stopped_what_it_covers_is_answered_and_the_rest_refused);
    tcase_add_test(tests, a_full_gate_refuses_by_name_and_takes_again);
    tcase_add_test(tests, a_message_given_back_waits_for_the_flush_too);
    tcase_add_test(tests, a_stop_waits_for_the_replies_that_are_owed);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(gate_suite)
