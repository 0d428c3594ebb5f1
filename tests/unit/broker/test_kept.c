/* A broker that begins again: its clients keep their connections, each with what it had asked for
 * and with what was said of it. */
#include "broker_fixture.h"
#include "moved_clock.h"

#include "broker/clients.h"
#include "broker/forward.h"
#include "broker/kept.h"

#define JOURNAL "tern/meta"
#define NONE bytes_of(NULL, 0)

enum { CLIENTS = 6 };

static struct client clients[CLIENTS];

static void begin_kept(const char *threads)
{
    begin();
    start_broker("flushDiskType=ASYNC_FLUSH", threads, NULL);
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i]);
    make_topic(&clients[0], "T", "1");
}

static void end_kept(void)
{
    for (int i = 0; i < CLIENTS; i++)
        client_close(&clients[i]);
    end();
}

static void broker_ends(void)
{
    pthread_join(broker_thread, NULL);
    broker_runs = false;
    ck_assert(broker_wants_restart(broker));
}

static void make_from_kept(void)
{
    struct err err = {0};

    ck_assert_msg(broker_new(&broker, &settings, &extra, &err) == 0, "%s", err.text);
}

static void make_next(void)
{
    ck_assert_int_eq(broker_free(broker), 0);
    make_from_kept();
}

static void next_broker(void)
{
    make_next();
    run();
}

static bool is_draining(void *arg)
{
    (void)arg;
    return broker_is_draining(broker);
}

static int32_t ask_topic(struct client *c, const char *topic)
{
    return ask(c, REQUEST_UPDATE_AND_CREATE_TOPIC, 0, NONE, "topic", topic, "defaultTopic",
               "TBW102", "readQueueNums", "1", "writeQueueNums", "1", "perm", "6",
               "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false", NULL);
}

START_TEST(nobody_but_who_is_owed_an_answer_for_too_long_loses_a_connection)
{
    begin_kept("ioThreads=2");
    disk_hold(&disk_sync, JOURNAL);
    ask_topic(&clients[0], "New");
    disk_wait(&disk_sync);
    broker_restart(broker);
    wait_until(is_draining, NULL);
    move_clock(60000);
    broker_ends();
    disk_release(&disk_sync);
    next_broker();
    ck_assert(!next_frame(&clients[0]));
    for (int i = 1; i < CLIENTS; i++)
        nothing_came(&clients[i]);
    end_kept();
}
END_TEST

static void count_one(struct conn *c, void *count)
{
    (void)c;
    ++*(unsigned *)count;
}

static void count_open(void *count)
{
    loop_each_conn(broker->loops[0], &broker->port, count_one, count);
}

static void count_closed(void *count)
{
    loop_each_closed_conn(broker->loops[0], &broker->port, count_one, count);
}

static unsigned count_of(void (*each)(void *count))
{
    unsigned count = 0;

    on_loop(0, each, &count);
    return count;
}

static bool one_has_gone(void *arg)
{
    (void)arg;
    return count_of(count_open) == CLIENTS - 1;
}

START_TEST(what_is_owed_to_who_has_gone_is_not_taken_for_the_next_one_in_his_place)
{
    begin_kept("ioThreads=1");
    disk_hold(&disk_sync, JOURNAL);
    ask_topic(&clients[0], "New");
    disk_wait(&disk_sync);
    client_close(&clients[0]);
    wait_until(one_has_gone, NULL);
    client_open(&clients[0]);
    nothing_came(&clients[0]);
    broker_restart(broker);
    wait_until(is_draining, NULL);
    move_clock(60000);
    broker_ends();
    disk_release(&disk_sync);
    next_broker();
    for (int i = 0; i < CLIENTS; i++)
        nothing_came(&clients[i]);
    end_kept();
}
END_TEST

static sem_t readers_held;

static void hold_reader(void *arg)
{
    (void)arg;
    sem_wait(&readers_held);
}

static bool all_are_owed(void *arg)
{
    (void)arg;
    return atomic_load(&broker->owed) == CLIENTS;
}

static bool none_is_owed(void *arg)
{
    (void)arg;
    return atomic_load(&broker->owed) == 0;
}

START_TEST(pulls_that_wait_for_the_disk_are_asked_to_come_again_to_the_next_broker)
{
    int32_t asked[CLIENTS];

    begin_kept("readerThreads=1");
    send_one(&clients[0], "T", "0", NULL, "before");
    broker_restart(broker);
    broker_ends();
    next_broker(); /* the message is not in its memory */

    atomic_store(&disk_is_cold, true);
    sem_init(&readers_held, 0, 0);
    ck_assert_int_eq(store_run(broker->store, hold_reader, NULL), 0);
    for (int i = 0; i < CLIENTS; i++)
        asked[i] = ask_pull(&clients[i], "T", "0", "0", "*", "0");
    wait_until(all_are_owed, NULL);
    stop_clock(); /* nobody is owed an answer for too long */
    broker_restart(broker);
    wait_until(is_draining, NULL);
    sem_post(&readers_held);
    wait_until(none_is_owed, NULL);
    start_clock();
    broker_ends();
    next_broker();
    for (int i = 0; i < CLIENTS; i++) {
        ck_assert_int_eq(answer(&clients[i], asked[i]), RESPONSE_PULL_NOT_FOUND);
        asked[i] = ask_pull(&clients[i], "T", "0", "0", "*", "0");
        ck_assert_int_eq(answer(&clients[i], asked[i]), 0);
    }
    sem_destroy(&readers_held);
    end_kept();
}
END_TEST

static bool one_is_owed(void *arg)
{
    (void)arg;
    return atomic_load(&broker->owed) == 1;
}

START_TEST(what_has_been_given_up_is_not_carried_out_after_all)
{
    begin_kept("readerThreads=1");
    sem_init(&readers_held, 0, 0);
    ck_assert_int_eq(store_run(broker->store, hold_reader, NULL), 0);
    ask_topic(&clients[0], "Late");
    wait_until(one_is_owed, NULL);
    broker_restart(broker);
    wait_until(is_draining, NULL);
    move_clock(60000);
    broker_ends();
    sem_post(&readers_held);
    next_broker();
    ck_assert(!next_frame(&clients[0]));
    ck_assert_ptr_null(metadata_topic(broker->metadata, bytes_str("Late"), NULL));
    ck_assert_ptr_nonnull(metadata_topic(broker->metadata, bytes_str("T"), NULL));
    sem_destroy(&readers_held);
    end_kept();
}
END_TEST

START_TEST(an_answer_that_is_owed_not_too_long_is_given_before_the_connection_moves)
{
    int32_t made;

    begin_kept("ioThreads=2");
    disk_hold(&disk_sync, JOURNAL);
    made = ask_topic(&clients[0], "New");
    disk_wait(&disk_sync);
    stop_clock(); /* and nothing makes it too long */
    broker_restart(broker);
    wait_until(is_draining, NULL);
    disk_release(&disk_sync);
    wait_until(none_is_owed, NULL);
    start_clock();
    broker_ends();
    next_broker();
    ck_assert_int_eq(answer(&clients[0], made), 0);
    for (int i = 0; i < CLIENTS; i++)
        nothing_came(&clients[i]);
    end_kept();
}
END_TEST

static bool one_is_closed(void *arg)
{
    (void)arg;
    return count_of(count_closed) == 1;
}

START_TEST(one_that_asks_no_more_gets_the_rest_of_its_answers)
{
    enum { PULLS = 70, BODY = 200000 }; /* more than sockets take, less than OUTPUT_MAX */
    struct client *c = &clients[0];
    int32_t asked[PULLS], little = 65536;
    char *body = malloc(BODY + 1);

    ck_assert_ptr_nonnull(body);
    memset(body, 'x', BODY);
    body[BODY] = '\0';
    begin_kept("ioThreads=1");
    for (int i = 0; i < 5; i++)
        send_one(c, "T", "0", NULL, body);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    for (int i = 0; i < PULLS; i++)
        asked[i] = ask_pull(c, "T", "0", "0", "*", "0");
    shutdown(c->fd, SHUT_WR);
    wait_until(one_is_closed, NULL);
    broker_restart(broker);
    broker_ends();
    next_broker();
    for (int i = 0; i < PULLS; i++) {
        ck_assert_int_eq(answer(c, asked[i]), 0);
        ck_assert_uint_ge(c->frame.body.len, BODY);
    }
    ck_assert(!next_frame(c));
    free(body);
    end_kept();
}
END_TEST

/* --- requests for the master --- */

/* The broker takes itself for a member of a group that does not lead. */
static void run_as_member(void)
{
    snprintf(settings.config.group_members, sizeof(settings.config.group_members), "%s",
             "1@127.0.0.1:1;2@127.0.0.1:2");
    forward_free(broker->forward);
    broker->forward = forward_new(broker);
    ck_assert_ptr_nonnull(broker->forward);
    settings.config.group_members[0] = '\0';
    run();
}

static void begin_member(const char *threads)
{
    begin();
    make_broker("flushDiskType=ASYNC_FLUSH", "forwardWaitMillis=60000", threads, NULL);
    run_as_member();
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i]);
    make_topic(&clients[0], "T", "1");
}

static void begins_again_as_member(void)
{
    broker_restart(broker);
    broker_ends();
    make_next();
    run_as_member();
}

struct asked {
    unsigned waiting, forwarded;
};

static bool is_so(void *arg)
{
    const struct asked *asked = arg;
    struct forward_stats stats;

    forward_stats(broker->forward, &stats);
    return stats.waiting == asked->waiting && stats.forwarded == asked->forwarded;
}

static void wait_for_requests(unsigned waiting, unsigned forwarded)
{
    wait_until(is_so, &(struct asked){waiting, forwarded});
}

/* A send in pieces: its bytes, and its opaque. */
static int32_t send_as_bytes(struct client *c, struct buf *out)
{
    int real = c->fd, pair[2];
    uint8_t bytes[4096];
    int32_t opaque;
    ssize_t n;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    c->fd = pair[0];
    opaque = ask_send(c, "T", "0", NULL, "in pieces");
    c->fd = real;
    n = recv(pair[1], bytes, sizeof(bytes), 0);
    ck_assert_int_gt(n, 100);
    buf_add(out, bytes, (size_t)n);
    close(pair[0]);
    close(pair[1]);
    return opaque;
}

START_TEST(what_waits_for_a_master_and_what_came_behind_it_is_handled_in_order)
{
    struct client *c = &clients[0];
    int32_t sent[4];
    struct buf last = {0};

    begin_member("ioThreads=2");
    for (int i = 0; i < 3; i++)
        sent[i] = ask_send(c, "T", "0", NULL, "waits");
    wait_for_requests(3, 0);
    sent[3] = send_as_bytes(c, &last);
    client_write(c, bytes_of(last.data, 100));
    for (int i = 0; i < 2; i++) {
        begins_again_as_member();
        wait_for_requests(3, 0);
    }
    client_write(c, bytes_of(last.data + 100, last.len - 100));
    wait_for_requests(4, 0);
    begins_again_as_member();
    wait_for_requests(4, 0);
    forward_leads(broker->forward, true);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(answer(c, sent[i]), 0);
        ck_assert_int_eq(number(c, "queueOffset"), i);
    }
    buf_destroy(&last);
    end_kept();
}
END_TEST

static struct client master; /* its end of the broker's connection */

static int listens(char address[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    snprintf(address, 64, "127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void master_answers(int32_t opaque, const char *value)
{
    struct reply_to to = {.opaque = opaque};
    struct remoting_writer w;
    struct buf out = {0};

    reply_begin(&w, &out, &to, 0, NONE, true);
    remoting_put_str(&w, "queueOffset", value);
    remoting_end(&w);
    client_write(&master, buf_bytes(&out));
    buf_destroy(&out);
}

START_TEST(answers_to_what_was_sent_on_come_to_who_asked_by_way_of_the_next_broker)
{
    static const char *const values[CLIENTS] = {"10", "11", "12", "13", "14", "15"};
    int32_t sent[CLIENTS], there[CLIENTS];
    char address[64];
    int fd = listens(address);

    begin_member("ioThreads=1");
    forward_master(broker->forward, address);
    for (int i = 0; i < CLIENTS; i++) {
        sent[i] = ask_send(&clients[i], "T", "0", NULL, values[i]);
        if (i == 0) {
            memset(&master, 0, sizeof(master));
            master.fd = accept(fd, NULL, NULL);
        }
        ck_assert(next_frame(&master));
        ck_assert(bytes_is(master.frame.body, values[i]));
        there[i] = master.frame.opaque;
    }
    broker_restart(broker);
    broker_ends(); /* waits for none of them */
    client_close(&clients[0]);
    master_answers(there[1], values[1]);
    make_next();
    run_as_member();
    master_answers(there[0], values[0]);
    for (int i = CLIENTS - 1; i > 1; i--)
        master_answers(there[i], values[i]);
    for (int i = 1; i < CLIENTS; i++) {
        ck_assert_int_eq(answer(&clients[i], sent[i]), 0);
        ck_assert(bytes_is(*remoting_field(&clients[i].frame, "queueOffset"), values[i]));
    }
    wait_for_requests(0, 0);
    client_open(&clients[0]);

    /* One more, whose connection is lost before the next broker is there. */
    forward_master(broker->forward, address);
    sent[1] = ask_send(&clients[1], "T", "0", NULL, "lost");
    wait_for_requests(1, 1);
    broker_restart(broker);
    broker_ends();
    close(fd);
    client_close(&master);
    make_next();
    run_as_member();
    ck_assert_int_eq(answer(&clients[1], sent[1]), RESPONSE_SERVICE_NOT_AVAILABLE);
    for (int i = 0; i < CLIENTS; i++)
        nothing_came(&clients[i]);
    end_kept();
}
END_TEST

/* It asks again over another connection. */
START_TEST(what_waits_for_one_whose_connection_has_ended_is_not_sent_on)
{
    int32_t sent;
    char address[64];
    int fd = listens(address);

    begin_member("ioThreads=1");
    disk_hold(&disk_sync, JOURNAL);
    ask_send(&clients[0], "T", "0", NULL, "gone");
    ask_topic(&clients[0], "New");
    sent = ask_send(&clients[1], "T", "0", NULL, "waits");
    disk_wait(&disk_sync);
    wait_for_requests(2, 0);
    broker_restart(broker);
    wait_until(is_draining, NULL);
    move_clock(5000); /* the topic takes too long */
    broker_ends();
    disk_release(&disk_sync);
    make_next();
    run_as_member();
    ck_assert(!next_frame(&clients[0]));
    forward_master(broker->forward, address);
    memset(&master, 0, sizeof(master));
    master.fd = accept(fd, NULL, NULL);
    ck_assert(next_frame(&master));
    ck_assert(bytes_is(master.frame.body, "waits"));
    master_answers(master.frame.opaque, "0");
    ck_assert_int_eq(answer(&clients[1], sent), 0);
    wait_for_requests(0, 1);
    close(fd);
    client_close(&master);
    end_kept();
}
END_TEST

START_TEST(requests_end_with_a_broker_that_is_stopped)
{
    begin_member("ioThreads=2");
    for (int i = 0; i < CLIENTS; i++)
        ask_send(&clients[i], "T", "0", NULL, "waits");
    wait_for_requests(CLIENTS, 0);
    broker_restart(broker);
    broker_ends();
    make_next();
    kept_drop(&settings.kept);
    run_as_member();
    wait_for_requests(0, 0);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert(!next_frame(&clients[i]));
    end_kept();
}
END_TEST

/* --- what is known of clients --- */

static void beat(struct client *c, const char *id)
{
    char body[200];
    int32_t opaque;

    snprintf(body, sizeof(body),
             "{\"clientID\":\"%s\",\"consumerDataSet\":[{\"groupName\":\"G\","
             "\"subscriptionDataSet\":[{\"topic\":\"T\",\"subString\":\"*\"}]}]}",
             id);
    opaque = ask(c, REQUEST_HEART_BEAT, 0, bytes_str(body), NULL);
    do
        ck_assert(next_frame(c));
    while (!remoting_is_response(&c->frame));
    ck_assert_int_eq(c->frame.opaque, opaque);
}

/* An answer behind any number of notifications. How many these were. */
static int notified_before(struct client *c, int32_t opaque)
{
    int count = 0;

    for (;; count++) {
        ck_assert(next_frame(c));
        if (remoting_is_response(&c->frame))
            break;
        ck_assert_int_eq(c->frame.code, REQUEST_NOTIFY_CONSUMER_IDS_CHANGED);
    }
    ck_assert_int_eq(c->frame.opaque, opaque);
    return count;
}

/* How many notifications have come. What another thread has posted comes at the end of a turn, so
 * it may be behind an answer. */
static int has_heard(struct client *c)
{
    int heard = 0;

    for (int i = 0; i < 2; i++)
        heard += notified_before(c, ask(c, 9999, 0, NONE, NULL));
    return heard;
}

static void all_have_heard(void)
{
    for (int i = 0; i < CLIENTS; i++)
        has_heard(&clients[i]);
}

static bool so_many_are_left(void *arg)
{
    unsigned count = *(const unsigned *)arg;

    return clients_count(broker->clients) == count && atomic_load(&broker->connections) == count;
}

START_TEST(clients_of_several_loops_are_known_again_and_hear_of_who_has_gone_meanwhile)
{
    const char *names[CLIENTS] = {"0", "1", "2", "3", "4", "5"};

    begin_kept("ioThreads=4");
    for (int i = 0; i < CLIENTS; i++)
        beat(&clients[i], names[i]);
    all_have_heard();
    for (int round = 0; round < 3; round++) {
        broker_restart(broker);
        broker_ends();
        client_close(&clients[round]);
        next_broker();
        for (int i = round + 1; i < CLIENTS; i++) {
            ck_assert(next_frame(&clients[i]));
            ck_assert_int_eq(clients[i].frame.code, REQUEST_NOTIFY_CONSUMER_IDS_CHANGED);
        }
        wait_until(so_many_are_left, &(unsigned){CLIENTS - 1 - (unsigned)round});
    }
    for (int i = 0; i < 3; i++)
        client_open(&clients[i]);
    end_kept();
}
END_TEST

START_TEST(who_comes_while_loops_end_is_told_of_by_the_next_broker)
{
    begin_kept("ioThreads=2");
    for (int i = 0; i < CLIENTS; i++)
        beat(&clients[i], "id");
    all_have_heard();
    broker_restart(broker);
    broker_ends();
    clients_notify(broker->clients, BYTES_LIT("G")); /* as the loop that is the last would */
    next_broker();
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(has_heard(&clients[i]), 1);
    end_kept();
}
END_TEST

START_TEST(a_broker_that_is_stopped_while_it_is_to_begin_again_closes_what_it_has_kept)
{
    begin_kept("ioThreads=2");
    disk_hold(&disk_sync, JOURNAL);
    ask_topic(&clients[0], "New");
    disk_wait(&disk_sync);
    broker_restart(broker);
    wait_until(is_draining, NULL);
    broker_stop(broker);
    move_clock(60000);
    pthread_join(broker_thread, NULL);
    broker_runs = false;
    ck_assert(!broker_wants_restart(broker));
    disk_release(&disk_sync);
    ck_assert_int_eq(end_broker(), 0);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert(!next_frame(&clients[i]));
    end_kept();
}
END_TEST

/* 0 or -errno. */
static int bind_ha_port(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)settings.config.ha_listen_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    ck_assert_int_ge(fd, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r = bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* A socket of this process has it. Once none has, another program may get it at any time. */
static bool holds_ha_port(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_in at = {0};
        socklen_t len = sizeof(at);

        if (getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.sin_family == AF_INET &&
            ntohs(at.sin_port) == settings.config.ha_listen_port)
            return true;
    }
    return false;
}

static bool slaves_are_taken(void *arg)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)settings.config.ha_listen_port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken;

    (void)arg;
    ck_assert_int_ge(fd, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    taken = connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0;
    close(fd);
    return taken;
}

START_TEST(nobody_gets_the_replication_port_while_a_broker_begins_again)
{
    begin_kept("ioThreads=1");
    for (int i = 0; i < 2; i++) {
        broker_restart(broker);
        broker_ends();
        ck_assert_int_eq(broker_free(broker), 0);
        ck_assert_int_eq(bind_ha_port(), -EADDRINUSE);
        ck_assert(holds_ha_port());
        make_from_kept();
        ck_assert_int_eq(bind_ha_port(), -EADDRINUSE);
        run();
        wait_until(slaves_are_taken, NULL);
    }
    end_kept();
    ck_assert(!holds_ha_port());
}
END_TEST

static Suite *kept_suite(void)
{
    Suite *suite = suite_create("kept");
    TCase *tests = tcase_create("kept");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, nobody_but_who_is_owed_an_answer_for_too_long_loses_a_connection);
    tcase_add_test(tests, what_is_owed_to_who_has_gone_is_not_taken_for_the_next_one_in_his_place);
    tcase_add_test(tests, pulls_that_wait_for_the_disk_are_asked_to_come_again_to_the_next_broker);
    tcase_add_test(tests, what_has_been_given_up_is_not_carried_out_after_all);
    tcase_add_test(tests, an_answer_that_is_owed_not_too_long_is_given_before_the_connection_moves);
    tcase_add_test(tests, one_that_asks_no_more_gets_the_rest_of_its_answers);
    tcase_add_test(tests, what_waits_for_a_master_and_what_came_behind_it_is_handled_in_order);
    tcase_add_test(tests, answers_to_what_was_sent_on_come_to_who_asked_by_way_of_the_next_broker);
    tcase_add_test(tests, what_waits_for_one_whose_connection_has_ended_is_not_sent_on);
    tcase_add_test(tests, requests_end_with_a_broker_that_is_stopped);
    tcase_add_test(tests,
                   clients_of_several_loops_are_known_again_and_hear_of_who_has_gone_meanwhile);
    tcase_add_test(tests, who_comes_while_loops_end_is_told_of_by_the_next_broker);
    tcase_add_test(tests,
                   a_broker_that_is_stopped_while_it_is_to_begin_again_closes_what_it_has_kept);
    tcase_add_test(tests, nobody_gets_the_replication_port_while_a_broker_begins_again);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(kept_suite)
