/* test_registrar.c - what name servers are told, seen from a name server: a socket whose every
 * answer the test gives by hand. */
#include "broker_fixture.h"

#include <fcntl.h>

#include "broker/registrar.h"
#include "broker/registration_body.h"
#include "common/crc.h"
#include "common/json.h"

static struct client client;

/* --- the name server --- */

static int listening = -1;
static struct client ns; /* the broker's connection to it; ns.frame is its last request */
static json_t *body;     /* of that */

static void ns_listen(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {.tv_sec = PATIENCE_S};
    socklen_t len = sizeof(at);

    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(listening, 0);
    ck_assert_int_eq(setsockopt(listening, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(listening, 8), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &len), 0);
    snprintf(settings.config.namesrv_addr, sizeof(settings.config.namesrv_addr), "127.0.0.1:%u",
             ntohs(at.sin_port));
}

static void ns_accept(void)
{
    struct timeval wait = {.tv_sec = PATIENCE_S};

    memset(&ns, 0, sizeof(ns));
    ns.fd = accept(listening, NULL, NULL);
    ck_assert_msg(ns.fd >= 0, "nobody connects: %s", strerror(errno));
    setsockopt(ns.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

static void ns_close(void)
{
    if (ns.fd >= 0)
        client_close(&ns);
    ns.fd = -1;
}

/* The next request of the broker must have that code. */
static void ns_next(int32_t code)
{
    struct err err = {0};

    ck_assert_msg(next_frame(&ns), "the broker hung up");
    ck_assert_int_eq(ns.frame.code, code);
    ck_assert(!remoting_is_response(&ns.frame));
    json_decref(body);
    body = json_dialect_load(ns.frame.body, &err);
    ck_assert_msg(body != NULL, "%s", err.text);
}

/* `remark`, `key` may be NULL. */
static void ns_answer_whole(int32_t code, const char *remark, const char *key, const char *value,
                            const char *answer_body)
{
    struct remoting_meta meta = {.code = code,
                                 .opaque = ns.frame.opaque,
                                 .flag = REMOTING_FLAG_RESPONSE,
                                 .version = REMOTING_VERSION,
                                 .has_fields = true};
    struct remoting_writer w;
    struct buf out = {0};

    if (remark)
        meta.remark = bytes_str(remark);
    remoting_begin(&w, &out, &meta);
    if (key)
        remoting_put_str(&w, key, value);
    remoting_body(&w);
    buf_add_str(&out, answer_body);
    remoting_end(&w);
    ck_assert(!out.failed);
    client_write(&ns, buf_bytes(&out));
    buf_destroy(&out);
}

static void ns_answer_with(int32_t code, const char *remark, const char *key, const char *value)
{
    ns_answer_whole(code, remark, key, value, "");
}

static void ns_ok(void)
{
    ns_answer_with(0, NULL, NULL, NULL);
}

/* --- what a registration says --- */

static json_t *table(void)
{
    json_t *t =
        json_object_get(json_object_get(body, "topicConfigSerializeWrapper"), "topicConfigTable");

    ck_assert(json_is_object(t));
    return t;
}

static bool tells(const char *topic)
{
    return json_object_get(table(), topic) != NULL;
}

static bool tells_all(void)
{
    return tells("SELF_TEST_TOPIC") && tells("TBW102");
}

static int64_t told_queues(const char *topic)
{
    return json_get_i64(json_object_get(table(), topic), "writeQueueNums", -1);
}

static bool removes(const char *topic)
{
    return json_object_get(json_object_get(body, "ternRemovedTopics"), topic) != NULL;
}

static struct data_version version_in(const json_t *v)
{
    ck_assert(json_is_object(v));
    return (struct data_version){.counter = json_get_i64(v, "counter", -1),
                                 .timestamp = json_get_i64(v, "timestamp", -1)};
}

static struct data_version told_version(void)
{
    return version_in(
        json_object_get(json_object_get(body, "topicConfigSerializeWrapper"), "dataVersion"));
}

static bool same_version(struct data_version a, struct data_version b)
{
    return a.counter == b.counter && a.timestamp == b.timestamp;
}

static bool is_current(struct data_version v)
{
    return same_version(v, metadata_topics_version(broker->metadata));
}

static void put(const char *name, int32_t queues)
{
    struct topic_config config = {.read_queues = queues, .write_queues = queues, .perm = 6};
    struct timespec pause = {.tv_nsec = 1000000};
    int r;

    /* the journal may be behind */
    while ((r = metadata_topic_put(broker->metadata, bytes_str(name), &config, 0, NULL, NULL,
                                   NULL)) == -EAGAIN)
        nanosleep(&pause, NULL);
    ck_assert_int_eq(r, 0);
}

static int32_t ask_make(const char *topic, const char *queues)
{
    return ask(&client, REQUEST_UPDATE_AND_CREATE_TOPIC, 0, bytes_of(NULL, 0), "topic", topic,
               "readQueueNums", queues, "writeQueueNums", queues, "perm", "6", NULL);
}

static int32_t ask_delete(const char *topic)
{
    return ask(&client, REQUEST_DELETE_TOPIC_IN_BROKER, 0, bytes_of(NULL, 0), "topic", topic, NULL);
}

/* A broker with its first registration on the way. */
static void begin_broker(void)
{
    begin();
    make_broker(NULL);
    settings.config.register_name_server_period = 3600000;
    settings.config.register_broker_timeout_mills = 10 * 1000 * PATIENCE_S;
    ns_listen();
}

static void begin_registered(void)
{
    begin_broker();
    run();
    client_open(&client);
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ns_ok();
}

static void end_registered(void)
{
    ns_close();
    close(listening);
    json_decref(body);
    body = NULL;
    client_close(&client);
    end();
}

/* --- claims --- */

START_TEST(a_name_server_is_told_everything_first_and_then_what_changes)
{
    const struct bytes *crc;
    char expected[16];
    int32_t asked;

    begin_broker();
    put("Old", 2);
    run();
    client_open(&client);
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    ck_assert_int_eq(told_queues("Old"), 2);
    ck_assert(is_current(told_version()));
    crc = remoting_field(&ns.frame, "bodyCrc32");
    snprintf(expected, sizeof(expected), "%u", crc31_of(ns.frame.body));
    ck_assert(crc && bytes_is(*crc, expected));
    ns_ok();

    asked = ask_make("New", "3");
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 1);
    ck_assert_int_eq(told_queues("New"), 3);
    ck_assert(is_current(told_version()));
    ck_assert_ptr_null(json_object_get(body, "ternRemovedTopics"));
    ns_ok();
    ck_assert_int_eq(answer(&client, asked), 0);
    end_registered();
}
END_TEST

START_TEST(what_changes_during_a_registration_goes_together_into_the_next)
{
    int32_t asked[4];

    begin_registered();
    asked[0] = ask_make("A", "1");
    ns_next(REQUEST_REGISTER_BROKER); /* and no answer yet */
    put("B", 1);
    put("C", 1);
    put("B", 2);
    registrar_changed(broker->registrar);
    registrar_changed(broker->registrar);
    ns_ok();
    ck_assert_int_eq(answer(&client, asked[0]), 0);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 2);
    ck_assert_int_eq(told_queues("B"), 2);
    ck_assert_int_eq(told_queues("C"), 1);
    ck_assert(is_current(told_version()));
    ns_ok();
    end_registered();
}
END_TEST

START_TEST(a_deletion_is_told_by_name)
{
    int32_t asked;

    begin_registered();
    asked = ask_make("T", "1");
    ns_next(REQUEST_REGISTER_BROKER);
    ns_ok();
    ck_assert_int_eq(answer(&client, asked), 0);

    asked = ask_delete("T");
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 0);
    ck_assert(removes("T"));
    ck_assert(is_current(told_version()));
    ns_ok();
    ck_assert_int_eq(answer(&client, asked), 0);

    asked = ask_make("T", "4");
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(!removes("T"));
    ck_assert_int_eq(told_queues("T"), 4);
    ns_ok();
    ck_assert_int_eq(answer(&client, asked), 0);
    end_registered();
}
END_TEST

/* A name server may have lost the topic, by a request of an operator. */
START_TEST(a_topic_made_again_as_it_is_is_told_with_a_new_version)
{
    struct data_version first;
    int32_t asked;

    begin_registered();
    for (int i = 0; i < 2; i++) {
        asked = ask_make("T", "1");
        ns_next(REQUEST_REGISTER_BROKER);
        ck_assert_int_eq(told_queues("T"), 1);
        if (i == 0)
            first = told_version();
        else
            ck_assert_int_gt(told_version().counter, first.counter);
        ns_ok();
        ck_assert_int_eq(answer(&client, asked), 0);
    }
    end_registered();
}
END_TEST

START_TEST(a_new_connection_is_told_everything)
{
    begin_registered();
    ns_close();
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    ns_ok();

    put("T", 1);
    registrar_changed(broker->registrar);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 1);
    ns_close(); /* and that is not answered */
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all() && tells("T"));
    ns_ok();
    end_registered();
}
END_TEST

START_TEST(a_refused_change_is_followed_by_everything)
{
    begin_registered();
    put("T", 1);
    registrar_changed(broker->registrar);
    ns_next(REQUEST_REGISTER_BROKER);
    ns_answer_with(1, "register broker failed", NULL, NULL);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all() && tells("T"));
    ns_ok();
    end_registered();
}
END_TEST

/* What is logged from here on goes into a file; its text so far. */
static int log_fd = -1;

static void catch_log(void)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/log", dir);
    log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(log_fd, 0);
    ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
    log_set_level(LOG_LEVEL_WARN);
}

static const char *logged(void)
{
    static char text[65536];
    ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);

    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

static bool is_up_to_date(void *arg)
{
    unsigned current, configured;

    (void)arg;
    registrar_status(broker->registrar, &current, &configured);
    ck_assert_uint_eq(configured, 1);
    return current == 1;
}

START_TEST(a_success_that_is_none_is_said_with_what_to_do)
{
    unsigned current, configured;
    const char *line;

    begin_broker();
    settings.config.register_name_server_period = 20;
    catch_log();
    run();
    client_open(&client);
    ns_accept();
    for (int i = 0; i < 3; i++) {
        ns_next(REQUEST_REGISTER_BROKER);
        ns_answer_with(0, "not taken: another holds it", NULL, NULL);
    }
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    registrar_status(broker->registrar, &current, &configured);
    ck_assert_uint_eq(current, 0);
    line = strstr(logged(), "not taken: another holds it");
    ck_assert_ptr_nonnull(line);
    ck_assert_ptr_nonnull(strstr(logged(), settings.config.broker_name));
    ck_assert_ptr_nonnull(strstr(line, "Stop the one"));
    ck_assert_ptr_null(strstr(line + 1, "not taken: another holds it")); /* once in a minute */
    ns_ok();
    wait_until(is_up_to_date, NULL);
    end_registered();
    close(log_fd);
}
END_TEST

START_TEST(a_changed_permission_is_told_of_every_topic)
{
    const char *name;
    json_t *topic;
    int32_t asked;

    begin_registered();
    asked = ask(&client, REQUEST_UPDATE_BROKER_CONFIG, 0, BYTES_LIT("brokerPermission=4\n"), NULL);
    ck_assert_int_eq(answer(&client, asked), 0);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    json_object_foreach(table(), name, topic) ck_assert_int_eq(json_get_i64(topic, "perm", -1), 4);
    ck_assert(is_current(told_version()));
    ns_ok();
    end_registered();
}
END_TEST

/* Two name servers with different order tables would keep each other busy without end. */
START_TEST(an_order_table_is_taken_and_brings_no_registration_of_its_own)
{
    int32_t asked;

    begin_broker();
    put("Ordered", 1);
    put("Other", 1);
    run();
    client_open(&client);
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ns_answer_whole(0, NULL, NULL, NULL, "{\"table\":{\"Ordered\":\"broker-a:1\"}}");
    wait_until(is_up_to_date, NULL);
    asked = ask_make("T", "1");
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells("T") && !tells("Other"));
    ck_assert(json_get_bool(json_object_get(table(), "Ordered"), "order", false));
    ck_assert(is_current(told_version()));
    ns_ok();
    ck_assert_int_eq(answer(&client, asked), 0);
    end_registered();
}
END_TEST

START_TEST(everything_is_told_again_each_period)
{
    begin_broker();
    settings.config.register_name_server_period = 20;
    run();
    client_open(&client);
    ns_accept();
    for (int i = 0; i < 3; i++) {
        ns_next(REQUEST_REGISTER_BROKER);
        ck_assert(tells_all());
        ck_assert(is_current(told_version()));
        ns_ok();
    }
    end_registered();
}
END_TEST

START_TEST(without_force_each_period_asks_for_the_version)
{
    struct data_version version;

    begin_broker();
    settings.config.register_name_server_period = 20;
    settings.config.force_register = false;
    run();
    client_open(&client);
    ns_accept();
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    version = told_version();
    ns_ok();
    for (int i = 0; i < 2; i++) {
        ns_next(REQUEST_QUERY_DATA_VERSION);
        ck_assert(same_version(version_in(body), version));
        ns_answer_with(0, NULL, "changed", "false");
    }
    ns_next(REQUEST_QUERY_DATA_VERSION);
    ns_answer_with(0, NULL, "changed", "true");
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    ns_ok();
    end_registered();
}
END_TEST

/* Long names, so that few topics make a large table. */
static const char *large_name(int i)
{
    static char name[TOPIC_NAME_MAX + 1];

    snprintf(name, sizeof(name), "%0*d", TOPIC_NAME_MAX, i);
    return name;
}

/* Receives one table in several bodies; returns how many. */
static int next_large(int topics)
{
    struct data_version versions[16];
    size_t seen = 0;
    int count = 0;

    do {
        ck_assert_int_lt(count, 16);
        ns_next(REQUEST_REGISTER_BROKER);
        ck_assert_uint_lt(ns.frame.body.len, REGISTRATION_BODY_FULL + 65536);
        versions[count] = told_version();
        for (int i = 0; i < count; i++)
            ck_assert(!same_version(versions[i], versions[count]));
        seen += json_object_size(table());
        count++;
        ns_ok();
    } while (!is_current(versions[count - 1]));
    ck_assert_uint_ge(seen, (size_t)topics);
    return count;
}

enum { LARGE = 12000 };

START_TEST(a_table_too_large_for_one_body_comes_in_several)
{
    begin_broker();
    for (int i = 0; i < LARGE; i++)
        put(large_name(i), 1);
    run();
    client_open(&client);
    ns_accept();
    ck_assert_int_gt(next_large(LARGE), 1);
    put("T", 1);
    registrar_changed(broker->registrar);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 1);
    ns_ok();
    end_registered();
}
END_TEST

START_TEST(too_many_changes_for_one_body_bring_everything_and_what_was_deleted)
{
    begin_registered();
    put("Gone", 1);
    registrar_changed(broker->registrar);
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert_uint_eq(json_object_size(table()), 1);
    for (int i = 0; i < LARGE; i++)
        put(large_name(i), 1);
    ck_assert_int_eq(metadata_topic_delete(broker->metadata, BYTES_LIT("Gone"), 0, false, NULL), 0);
    registrar_changed(broker->registrar);
    ns_ok();
    ns_next(REQUEST_REGISTER_BROKER);
    ck_assert(tells_all());
    ck_assert(removes("Gone"));
    ns_ok();
    next_large(0);
    end_registered();
}
END_TEST

START_TEST(a_name_server_that_hangs_is_not_waited_for)
{
    int32_t asked;

    begin_registered();
    asked = ask_make("A", "1");
    ns_next(REQUEST_REGISTER_BROKER); /* never answered */
    ck_assert_int_eq(answer(&client, asked), 0);
    ns_ok();
    end_registered();
}
END_TEST

static Suite *registrar_suite(void)
{
    Suite *suite = suite_create("registrar");
    TCase *tests = tcase_create("registrar");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_name_server_is_told_everything_first_and_then_what_changes);
    tcase_add_test(tests, what_changes_during_a_registration_goes_together_into_the_next);
    tcase_add_test(tests, a_deletion_is_told_by_name);
    tcase_add_test(tests, a_topic_made_again_as_it_is_is_told_with_a_new_version);
    tcase_add_test(tests, a_new_connection_is_told_everything);
    tcase_add_test(tests, a_refused_change_is_followed_by_everything);
    tcase_add_test(tests, a_success_that_is_none_is_said_with_what_to_do);
    tcase_add_test(tests, a_changed_permission_is_told_of_every_topic);
    tcase_add_test(tests, an_order_table_is_taken_and_brings_no_registration_of_its_own);
    tcase_add_test(tests, everything_is_told_again_each_period);
    tcase_add_test(tests, without_force_each_period_asks_for_the_version);
    tcase_add_test(tests, a_table_too_large_for_one_body_comes_in_several);
    tcase_add_test(tests, too_many_changes_for_one_body_bring_everything_and_what_was_deleted);
    tcase_add_test(tests, a_name_server_that_hangs_is_not_waited_for);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(registrar_suite)
