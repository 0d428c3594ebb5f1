/* Delay levels: when a message comes, in which order, and that it comes once. A level of "0s" is
 * due at once, one of "1h" never while a test runs; which delay a level has may change at a
 * restart, and then what is due later than the new delay allows is due now. */
#include "broker_fixture.h"

#include "broker/delay.h"
#include "broker/store/properties.h"

static struct client client;

static void start_with_levels(const char *levels, const char *more)
{
    char setting[128];

    snprintf(setting, sizeof(setting), "messageDelayLevel=%s", levels);
    start_broker(setting, more, NULL);
    client_open(&client);
}

static void begin_with_levels(const char *levels)
{
    begin();
    start_with_levels(levels, NULL);
    make_topic(&client, "T", "2");
}

/* Nothing is seen before it is on the disk. */
static void begin_under_sync_flush(const char *levels)
{
    begin();
    start_with_levels(levels, "flushDiskType=SYNC_FLUSH");
    make_topic(&client, "T", "2");
}

static void stop(void)
{
    client_close(&client);
    ck_assert_int_eq(end_broker(), 0);
}

static void end_all(void)
{
    client_close(&client);
    end();
}

static void delay(const char *topic, int level, const char *body)
{
    char properties[64];

    snprintf(properties, sizeof(properties), "DELAY\001%d\002TAGS\001A", level);
    send_one(&client, topic, "1", properties, body);
}

/* --- what is where --- */

static uint32_t queue_of(const char *topic, int32_t id)
{
    struct topic *t = metadata_topic(broker->metadata, bytes_str(topic), NULL);

    return t ? store_queue(broker->store, t, id) : QUEUE_NONE;
}

static int64_t count_in(const char *topic, int32_t id)
{
    uint32_t queue = queue_of(topic, id);

    return queue == QUEUE_NONE ? 0 : store_range(broker->store, queue).max;
}

static int64_t at_level(int level)
{
    return count_in(DELAY_TOPIC, level - 1);
}

struct expected {
    const char *topic;
    int32_t queue_id;
    int64_t count;
};

static bool is_there(void *arg)
{
    const struct expected *e = arg;

    return count_in(e->topic, e->queue_id) >= e->count;
}

static void wait_for(const char *topic, int32_t queue_id, int64_t count)
{
    struct expected e = {topic, queue_id, count};

    wait_until(is_there, &e);
}

static bool level_has_come(void *arg)
{
    const struct expected *e = arg;

    return metadata_delay(broker->metadata, e->queue_id) >= e->count;
}

/* The level's progress is on its way to the disk. */
static void wait_for_cursor(int level, int64_t offset)
{
    struct expected e = {.queue_id = level, .count = offset};

    wait_until(level_has_come, &e);
}

/* The record at that place; the bytes are the caller's. */
static void read_at(const char *topic, int32_t queue_id, int64_t offset, struct buf *bytes,
                    struct record *record)
{
    struct queue_entry entry;

    ck_assert_int_eq(store_entry(broker->store, queue_of(topic, queue_id), offset, &entry), 0);
    ck_assert_int_eq(store_read_record(broker->store, (uint64_t)entry.log_offset, bytes, record),
                     0);
}

static bool body_is(const char *topic, int32_t queue_id, int64_t offset, const char *body)
{
    struct buf bytes = {0};
    struct record record;
    bool is;

    read_at(topic, queue_id, offset, &bytes, &record);
    is = bytes_is(record.body, body);
    buf_destroy(&bytes);
    return is;
}

/* A message that is due at once has passed through the level: what was before it had its turn. */
static void pass_through(int level)
{
    int64_t before = count_in("Probe", 1);

    if (before == 0)
        make_topic(&client, "Probe", "2");
    delay("Probe", level, "probe");
    wait_for("Probe", 1, before + 1);
}

/* --- claims --- */

START_TEST(a_message_comes_when_it_is_due_as_it_was_sent)
{
    struct buf there = {0}, before = {0};
    struct record delivered, waiting;

    begin_with_levels("1s 0s");
    delay("T", 1, "one");
    ck_assert_int_eq(at_level(1), 1);
    pass_through(2); /* another level does not wait for it */
    wait_for("T", 1, 1);
    ck_assert_int_eq(count_in("T", 1), 1);
    read_at(DELAY_TOPIC, 0, 0, &before, &waiting);
    read_at("T", 1, 0, &there, &delivered);
    ck_assert_int_ge(delivered.store_ms, waiting.store_ms + 1000);
    ck_assert(bytes_is(delivered.body, "one"));
    ck_assert_int_eq(delivered.born_ms, waiting.born_ms);
    ck_assert_int_eq(delivered.flag, waiting.flag);
    ck_assert_int_eq(delivered.queue_id, 1);
    ck_assert(bytes_is(properties_find(delivered.properties, BYTES_LIT("TAGS")), "A"));
    ck_assert(bytes_is(properties_find(delivered.properties, BYTES_LIT("REAL_TOPIC")), "T"));
    ck_assert_int_eq(count_in("T", 0), 0);
    buf_destroy(&there);
    buf_destroy(&before);
    end_all();
}
END_TEST

START_TEST(a_level_beyond_the_last_is_the_last)
{
    begin_with_levels("0s 1h");
    delay("T", 9, "high");
    ck_assert_int_eq(at_level(2), 1);
    ck_assert(body_is(DELAY_TOPIC, 1, 0, "high"));
    pass_through(1);
    ck_assert_int_eq(count_in("T", 1), 0);
    stop();
    start_with_levels("0s 0s", NULL);
    delay("T", 9, "higher");
    wait_for("T", 1, 2);
    ck_assert_int_eq(at_level(2), 2);
    ck_assert(body_is("T", 1, 0, "high") && body_is("T", 1, 1, "higher"));
    end_all();
}
END_TEST

enum { MANY = 1000 };

static void delay_many(int level)
{
    char body[16];

    for (int i = 0; i < MANY; i++) {
        snprintf(body, sizeof(body), "%d", i);
        delay("T", level, body);
    }
}

static void expect_many_once_and_in_order(void)
{
    char body[16];

    wait_for("T", 1, MANY);
    pass_through(1);
    ck_assert_int_eq(count_in("T", 1), MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(body, sizeof(body), "%d", i);
        ck_assert_msg(body_is("T", 1, i, body), "%s is not at its place", body);
    }
}

START_TEST(a_level_keeps_the_order_while_another_waits)
{
    begin_with_levels("0s 1h");
    delay("T", 2, "later");
    delay_many(1);
    expect_many_once_and_in_order();
    end_all();
}
END_TEST

START_TEST(what_waits_over_a_restart_comes_once_and_in_order)
{
    begin_with_levels("1h");
    delay_many(1);
    ck_assert_int_eq(count_in("T", 1), 0);
    stop();
    start_with_levels("1h", NULL); /* and is not due earlier for that */
    ck_assert_int_eq(at_level(1), MANY);
    stop();
    start_with_levels("0s", NULL);
    expect_many_once_and_in_order();
    end_all();
}
END_TEST

START_TEST(a_clean_stop_in_the_middle_of_a_backlog_delivers_nothing_twice)
{
    int64_t come = 0;

    begin_with_levels("1h");
    delay_many(1);
    for (int i = 0; i < 4; i++) {
        stop();
        start_with_levels("0s", NULL);
        ck_assert_int_ge(count_in("T", 1), come); /* and goes on at once */
        come = count_in("T", 1);
    }
    expect_many_once_and_in_order();
    stop();
    start_with_levels("0s", NULL);
    expect_many_once_and_in_order();
    end_all();
}
END_TEST

START_TEST(what_has_come_is_in_delayOffset_json_after_a_stop)
{
    char path[300], text[4096];
    FILE *file;
    size_t n;

    begin_with_levels("0s 0s 1h");
    delay("T", 1, "a");
    delay("T", 1, "b");
    delay("T", 2, "c");
    delay("T", 3, "later");
    wait_for("T", 1, 3);
    stop();
    snprintf(path, sizeof(path), "%s/store/config/delayOffset.json", dir);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    text[n] = '\0';
    fclose(file);
    ck_assert_msg(strstr(text, "1:2") && strstr(text, "2:1") && !strstr(text, "3:1"), "%s", text);

    start_with_levels("0s 0s 1h", NULL);
    ck_assert_int_eq(metadata_delay(broker->metadata, 1), 2);
    pass_through(1);
    pass_through(2);
    ck_assert_int_eq(count_in("T", 1), 3);
    end_all();
}
END_TEST

/* RocketMQ wrote it while we were away: its word counts. */
START_TEST(a_changed_delayOffset_json_is_where_a_level_goes_on)
{
    char path[300];
    FILE *file;

    begin_with_levels("1h");
    delay("T", 1, "a");
    delay("T", 1, "b");
    delay("T", 1, "c");
    stop();
    snprintf(path, sizeof(path), "%s/store/config/delayOffset.json", dir);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(fprintf(file, "{\n\t\"offsetTable\":{1:2}\n}"), 0);
    ck_assert_int_eq(fclose(file), 0);
    start_with_levels("0s", NULL);
    pass_through(1);
    ck_assert_int_eq(count_in("T", 1), 1);
    ck_assert(body_is("T", 1, 0, "c"));
    end_all();
}
END_TEST

/* A power cut must not take back a delivery that the journal believes in. */
START_TEST(progress_is_not_journalled_before_the_delivery_is_on_the_disk)
{
    begin_with_levels("1s 0s");
    disk_hold(&disk_sync, "commitlog"); /* before it can be due */
    delay("T", 1, "x");
    wait_for("T", 1, 1);
    disk_wait(&disk_sync);
    pass_through(2);
    pass_through(2); /* the thread has looked at its cursors since */
    ck_assert_int_eq(metadata_delay(broker->metadata, 1), 0);
    disk_release(&disk_sync);
    wait_for_cursor(1, 1);
    end_all();
}
END_TEST

START_TEST(under_sync_flush_a_message_is_not_due_before_it_is_on_the_disk)
{
    int32_t opaque;

    begin_under_sync_flush("0s");
    disk_hold(&disk_sync, "commitlog");
    opaque = ask_send(&client, "T", "1", "DELAY\0011", "x");
    disk_wait(&disk_sync);
    ck_assert_int_eq(at_level(1), 0);
    nothing_came(&client);
    ck_assert_uint_eq(queue_of("T", 1), QUEUE_NONE);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    wait_for("T", 1, 1);
    end_all();
}
END_TEST

START_TEST(a_message_whose_topic_is_gone_is_dropped_and_the_level_goes_on)
{
    begin_with_levels("1h");
    make_topic(&client, "Gone", "2");
    delay("T", 1, "a");
    delay("Gone", 1, "b");
    delay("T", 1, "c");
    ck_assert_int_eq(call_broker(&client, REQUEST_DELETE_TOPIC_IN_BROKER, bytes_of(NULL, 0),
                                 "topic", "Gone", NULL),
                     0);
    stop();
    start_with_levels("0s", NULL);
    pass_through(1);
    ck_assert_int_eq(count_in("T", 1), 2);
    ck_assert(body_is("T", 1, 0, "a") && body_is("T", 1, 1, "c"));
    ck_assert_ptr_null(metadata_topic(broker->metadata, BYTES_LIT("Gone"), NULL));
    end_all();
}
END_TEST

/* The level had something to do when it came, and has not when it is to be seen. */
START_TEST(a_message_behind_one_that_is_dropped_comes_when_it_is_on_the_disk)
{
    int32_t opaque;

    begin_under_sync_flush("1s");
    make_topic(&client, "Gone", "2");
    delay("Gone", 1, "a");
    ck_assert_int_eq(call_broker(&client, REQUEST_DELETE_TOPIC_IN_BROKER, bytes_of(NULL, 0),
                                 "topic", "Gone", NULL),
                     0);
    disk_hold(&disk_sync, "commitlog");
    opaque = ask_send(&client, "T", "1", "DELAY\0011", "b");
    wait_for_cursor(1, 1);
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    wait_for("T", 1, 1);
    end_all();
}
END_TEST

/* Another level has its thread called in between. */
START_TEST(a_message_of_a_level_that_had_none_comes_though_another_one_had_its_turn)
{
    uint64_t end;
    int32_t opaque;

    begin_under_sync_flush("1s 0s");
    disk_hold(&disk_sync, "commitlog");
    opaque = ask_send(&client, "T", "1", "DELAY\0011", "a");
    disk_wait(&disk_sync);
    disk_let_one_pass(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    disk_wait(&disk_sync); /* "a" is delivered, and not on the disk */
    end = store_end(broker->store);
    opaque = ask_send(&client, "T", "1", "DELAY\0012", "b");
    wait_appended(end);
    disk_let_one_pass(&disk_sync);
    wait_for_cursor(1, 1);
    disk_wait(&disk_sync); /* "b" is on its way there */
    disk_release(&disk_sync);
    ck_assert_int_eq(answer(&client, opaque), 0);
    wait_for("T", 1, 2);
    end_all();
}
END_TEST

static Suite *delay_suite(void)
{
    Suite *suite = suite_create("delay");
    TCase *tests = tcase_create("delay");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_message_comes_when_it_is_due_as_it_was_sent);
    tcase_add_test(tests, a_level_beyond_the_last_is_the_last);
    tcase_add_test(tests, a_level_keeps_the_order_while_another_waits);
    tcase_add_test(tests, what_waits_over_a_restart_comes_once_and_in_order);
    tcase_add_test(tests, a_clean_stop_in_the_middle_of_a_backlog_delivers_nothing_twice);
    tcase_add_test(tests, what_has_come_is_in_delayOffset_json_after_a_stop);
    tcase_add_test(tests, a_changed_delayOffset_json_is_where_a_level_goes_on);
    tcase_add_test(tests, progress_is_not_journalled_before_the_delivery_is_on_the_disk);
    tcase_add_test(tests, under_sync_flush_a_message_is_not_due_before_it_is_on_the_disk);
    tcase_add_test(tests, a_message_whose_topic_is_gone_is_dropped_and_the_level_goes_on);
    tcase_add_test(tests, a_message_behind_one_that_is_dropped_comes_when_it_is_on_the_disk);
    tcase_add_test(tests, a_message_of_a_level_that_had_none_comes_though_another_one_had_its_turn);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(delay_suite)
