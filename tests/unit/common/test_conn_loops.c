/* test_conn_loops.c - ids of connections, frames across loops, and listeners. */
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "conn_fixture.h"

/* ---- ids, and the way across loops ---- */

START_TEST(ids_are_never_used_twice)
{
    struct server s;
    enum { OPENED = 300 };
    conn_id ids[OPENED];

    start(&s, 1, &test_protocol);
    for (int i = 0; i < OPENED; i++) {
        int fd = start_client(&s);
        ids[i] = ask_id(fd);
        ck_assert_uint_ne(ids[i], 0);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ids[i], ids[j]);
        close(fd);
        fixture_wait(&s.closed); /* its slot is free again */
    }
    stop(&s);
}
END_TEST

struct lookup {
    struct loop *loop;
    conn_id id;
    struct conn *found;
};

static void look_up(void *arg)
{
    struct lookup *lookup = arg;
    lookup->found = loop_conn(lookup->loop, lookup->id);
}

START_TEST(id_of_a_closed_connection_finds_nothing)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    struct lookup lookup = {s.f.loops[0], ask_id(fd), NULL};
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_nonnull(lookup.found);
    close(fd);
    fixture_wait(&s.closed);
    int next = start_client(&s); /* has the same slot */
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    lookup.id = 0;
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    lookup.id = UINT64_MAX >> 8;
    fixture_on_loop(s.f.loops[0], look_up, &lookup);
    ck_assert_ptr_null(lookup.found);
    close(next);
    stop(&s);
}
END_TEST

START_TEST(connections_are_spread_and_frames_cross_loops)
{
    struct server s;
    int fds[4];
    conn_id ids[4];
    unsigned on[2] = {0, 0};

    start(&s, 2, &test_protocol);
    for (int i = 0; i < 4; i++) {
        fds[i] = start_client(&s);
        ids[i] = ask_id(fds[i]);
        ck_assert_uint_lt(conn_loop_index(ids[i]), 2);
        on[conn_loop_index(ids[i])]++;
    }
    ck_assert_uint_eq(on[0], 2);
    ck_assert_uint_eq(on[1], 2);
    uint8_t *frame = make_frame(FORWARD, 70000, 4);
    for (int round = 0; round < 200; round++) {
        int from = round % 4, to = (round / 4) % 4;
        size_t size = round % 10 ? 60 : 70000;
        store_be32(frame, (uint32_t)size - 4);
        store_be64(frame + 5, ids[to]);
        client_send(fds[from], frame, size);
        expect_echo(fds[to], frame, size);
    }
    /* From a thread that is no loop; and to those that are not there. */
    store_be32(frame, 56);
    ck_assert_int_eq(conn_send(s.f.loops, 2, ids[3], bytes_of(frame, 60)), 0);
    expect_echo(fds[3], frame, 60);
    ck_assert_int_eq(conn_send(s.f.loops, 2, (conn_id)2 << 56 | 1, bytes_of(frame, 60)), -ENOENT);
    ck_assert_int_eq(conn_send(s.f.loops, 2, 0, bytes_of(frame, 60)), -ENOENT);
    close(fds[3]);
    fixture_wait(&s.closed);
    ck_assert_int_eq(conn_send(s.f.loops, 2, ids[3], bytes_of(frame, 60)), 0); /* not known here */
    for (int i = 0; i < 3; i++) {
        round_trip(fds[i]);
        close(fds[i]);
    }
    free(frame);
    stop(&s);
}
END_TEST

START_TEST(frame_for_a_loop_that_has_ended_is_not_taken)
{
    struct fixture f;
    conn_id id = (conn_id)1 << 56 | 1 << 24;

    fixture_loops(&f, 2);
    fixture_run(&f);
    loop_stop(f.loops[1]);
    pthread_join(f.threads[1], NULL);
    /* That thread is gone, this one is not the loop's. */
    ck_assert_int_eq(conn_send(f.loops, 2, id, BYTES_LIT("x")), -ESHUTDOWN);
    f.loops[1] = loop_free(f.loops[1]);
    ck_assert_int_eq(conn_send(f.loops, 2, id, BYTES_LIT("x")), -ENOENT);
    f.count = 1;
    fixture_stop(&f);
}
END_TEST

static void *send_before_it_runs(void *loops)
{
    ck_assert_int_eq(conn_send(loops, 1, 1 << 24, BYTES_LIT("x")), 0);
    return NULL;
}

START_TEST(frame_for_a_loop_that_never_runs_is_freed_with_it)
{
    struct fixture f;
    pthread_t thread;

    fixture_loops(&f, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, send_before_it_runs, f.loops), 0);
    pthread_join(thread, NULL);
    loop_free(f.loops[0]);
}
END_TEST

/* ---- listeners ---- */

START_TEST(surplus_connections_are_closed_and_room_is_used_again)
{
    struct server s;

    start_limited(&s, 1, &test_protocol, /* connections_max */ 2);
    int one = start_client(&s), two = start_client(&s);
    int three = client_open(s.f.port);
    client_expect_end(three);
    close(three);
    close(one);
    fixture_wait(&s.closed);
    int four = start_client(&s);
    round_trip(two);
    round_trip(four);
    close(two);
    close(four);
    stop(&s);
}
END_TEST

START_TEST(connections_outlive_their_listener)
{
    struct server s;

    start(&s, 1, &test_protocol);
    int fd = start_client(&s);
    loop_stop(s.f.loops[0]);
    pthread_join(s.f.threads[0], NULL);
    s.f.listener = listener_free(s.f.listener);
    fixture_run(&s.f);
    round_trip(fd);
    close(fd);
    fixture_wait(&s.closed);
    stop(&s);
}
END_TEST

START_TEST(address_in_use_is_reported_with_address_and_port)
{
    struct fixture f;
    struct err err;
    struct listener *second = NULL;

    fixture_loops(&f, 1);
    fixture_listen(&f, &test_protocol, NULL, NULL, 1);
    struct listener_options options = {.address = "127.0.0.1",
                                       .port = f.port,
                                       .loops = f.loops,
                                       .loop_count = 1,
                                       .protocol = &test_protocol,
                                       .connections_max = 1};
    char port[8];
    snprintf(port, sizeof(port), "%u", f.port);
    ck_assert_int_eq(listener_new(&second, &options, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, "127.0.0.1"));
    ck_assert_ptr_nonnull(strstr(err.text, port));
    options.address = "localhost";
    ck_assert_int_eq(listener_new(&second, &options, &err), -EINVAL);
    listener_free(f.listener);
    loop_free(f.loops[0]);
}
END_TEST

START_TEST(listener_recovers_when_descriptors_are_free_again)
{
    struct server s;
    struct rlimit files;
    int spare[64], spares = 0;

    start(&s, 1, &test_protocol);
    int first = start_client(&s);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    int waiting = -1;
    while ((spare[spares] = dup(first)) >= 0)
        spares++;
    /* One descriptor for the client, none for the server. */
    close(spare[--spares]);
    waiting = client_open(s.f.port);
    round_trip(first);

    /* The listening socket, readable all the while, makes no turns of its own. */
    struct loop_stats before, after;
    struct pollfd nothing = {.fd = first, .events = POLLIN};
    int64_t from_ms = clock_mono_ms();
    loop_stats(s.f.loops[0], &before);
    ck_assert_int_eq(poll(&nothing, 1, 50), 0);
    loop_stats(s.f.loops[0], &after);
    ck_assert_uint_le(after.turns - before.turns, 5 + (clock_mono_ms() - from_ms) / 50);
    while (spares)
        close(spare[--spares]);
    fixture_wait(&s.opened);
    round_trip(waiting);
    close(first);
    close(waiting);
    stop(&s);
}
END_TEST

static Suite *conn_suite(void)
{
    Suite *suite = suite_create("conn_loops");
    TCase *tc = tcase_create("ids and loops");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, ids_are_never_used_twice);
    tcase_add_test(tc, id_of_a_closed_connection_finds_nothing);
    tcase_add_test(tc, connections_are_spread_and_frames_cross_loops);
    tcase_add_test(tc, frame_for_a_loop_that_has_ended_is_not_taken);
    tcase_add_test(tc, frame_for_a_loop_that_never_runs_is_freed_with_it);
    suite_add_tcase(suite, tc);

    tc = tcase_create("listeners");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, surplus_connections_are_closed_and_room_is_used_again);
    tcase_add_test(tc, connections_outlive_their_listener);
    tcase_add_test(tc, address_in_use_is_reported_with_address_and_port);
    tcase_add_test(tc, listener_recovers_when_descriptors_are_free_again);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(conn_suite)
