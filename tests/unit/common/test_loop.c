/* test_loop.c - turns, timers, and how other threads reach a loop. */
#include "unit.h"

#include <limits.h>
#include <signal.h>

#include "common/clock.h"
#include "common/loop_internal.h"
#include "loop_fixture.h"

static struct loop *new_loop(unsigned busy_poll_micros)
{
    struct loop *loop = NULL;
    struct loop_options options = {.busy_poll_micros = busy_poll_micros};

    ck_assert_int_eq(loop_new(&loop, &options, NULL), 0);
    return loop;
}

static void stop_loop(void *loop)
{
    loop_stop(loop);
}

/* ---- messages ---- */

struct count {
    struct loop *loop;
    unsigned seen;
    unsigned until;
};

static void count_message(struct loop_message *message)
{
    struct count *count = message->ctx;

    ck_assert(loop_is_current(count->loop));
    ck_assert_uint_eq(message->a, count->seen);
    if (++count->seen == count->until)
        loop_stop(count->loop);
}

START_TEST(full_mailbox_takes_nothing_and_loses_nothing)
{
    struct loop *loop = new_loop(0);
    struct count count = {.loop = loop, .until = LOOP_MAILBOX_MAX};
    struct loop_message message = {.run = count_message, .ctx = &count};

    for (message.a = 0; message.a < LOOP_MAILBOX_MAX; message.a++)
        ck_assert_int_eq(loop_post(loop, &message), 0);
    ck_assert_int_eq(loop_post(loop, &message), -EAGAIN);
    ck_assert_int_eq(loop_run(loop), 0);
    ck_assert_uint_eq(count.seen, LOOP_MAILBOX_MAX);

    struct loop_stats stats;
    loop_stats(loop, &stats);
    ck_assert_uint_eq(stats.messages, LOOP_MAILBOX_MAX);
    ck_assert_uint_eq(stats.mailbox_high, LOOP_MAILBOX_MAX);
    ck_assert_uint_eq(stats.mailbox_full, 1);
    loop_free(loop);
}
END_TEST

START_TEST(mailbox_is_closed_once_the_loop_has_run)
{
    struct loop *loop = new_loop(0);
    struct count count = {.loop = loop, .until = UINT_MAX};
    struct loop_message message = {.run = count_message, .ctx = &count};

    ck_assert_int_eq(loop_post(loop, &message), 0);
    loop_stop(loop);
    ck_assert_int_eq(loop_run(loop), 0);
    ck_assert_uint_eq(count.seen, 1); /* stopped already, the last turn still took it */
    ck_assert_int_eq(loop_post(loop, &message), -ESHUTDOWN);
    loop_free(loop);
}
END_TEST

static void post_again(struct loop_message *message)
{
    struct loop *loop = message->ctx;

    if (message->a == 0) {
        loop_stop(loop);
        return;
    }
    message->a--;
    ck_assert_int_eq(loop_post(loop, message), 0);
}

START_TEST(message_to_ones_own_loop_needs_no_other_event)
{
    struct loop *loop = new_loop(0);
    struct loop_message message = {.run = post_again, .ctx = loop, .a = 100};

    ck_assert_int_eq(loop_post(loop, &message), 0);
    ck_assert_int_eq(loop_run(loop), 0);
    loop_free(loop);
}
END_TEST

/* A thread sends one message (or signal) at a time and waits for its effect, so the loop falls
 * asleep over and over just while the next one is coming; the pause between two grows and shrinks
 * to meet every moment of that. A lost wakeup hangs the test; a second thread would only paper over
 * it, but gives the sanitizers more to see. */
enum { HAMMER_ROUNDS = 40000, HAMMER_PAUSES = 256, HAMMER_SPINS = 2000 };

struct hammer {
    struct loop *loop;
    unsigned bit;
    bool signals;
    atomic_uint answered;
};

static void hammer_answer(struct loop_message *message)
{
    struct hammer *h = message->ctx;
    atomic_fetch_add(&h->answered, 1);
}

static void hammer_signalled(void *ctx)
{
    struct hammer *h = ctx;
    atomic_fetch_add(&h->answered, 1);
}

static void *hammer_run(void *arg)
{
    struct hammer *h = arg;
    struct loop_message message = {.run = hammer_answer, .ctx = h};

    for (unsigned i = 0; i < HAMMER_ROUNDS; i++) {
        for (volatile unsigned pause = i % HAMMER_PAUSES; pause; pause--)
            ;
        if (h->signals)
            loop_signal(h->loop, h->bit);
        else
            ck_assert_int_eq(loop_post(h->loop, &message), 0);
        for (unsigned spins = 0; atomic_load(&h->answered) <= i; spins++) {
            if (spins > HAMMER_SPINS)
                sched_yield();
        }
    }
    return NULL;
}

static void hammer(bool signals, unsigned count, unsigned busy_poll_micros)
{
    struct loop *loop = new_loop(busy_poll_micros);
    struct hammer h[2] = {{.loop = loop, .bit = 0}, {.loop = loop, .bit = 31}};
    pthread_t runner, threads[2];

    for (unsigned i = 0; i < count; i++) {
        h[i].signals = signals;
        loop_on_signal(loop, h[i].bit, hammer_signalled, &h[i]);
    }
    ck_assert_int_eq(pthread_create(&runner, NULL, fixture_thread, loop), 0);
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer_run, &h[i]), 0);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_eq(atomic_load(&h[i].answered), HAMMER_ROUNDS);
    }
    loop_stop(loop);
    pthread_join(runner, NULL);
    loop_free(loop);
}

START_TEST(no_message_is_left_behind_by_a_loop_that_falls_asleep)
{
    hammer(/* signals */ false, /* threads */ 1, /* busy_poll_micros */ 0);
    hammer(false, 2, 0);
}
END_TEST

START_TEST(no_signal_is_left_behind_by_a_loop_that_falls_asleep)
{
    hammer(true, 1, 0);
    hammer(true, 2, 0);
}
END_TEST

START_TEST(no_message_is_left_behind_by_a_loop_that_polls)
{
    hammer(false, 1, 50);
    hammer(true, 2, 50);
}
END_TEST

/* Many threads, no waiting: each one's messages arrive in the order it sent them. */
enum { FLOOD_THREADS = 4, FLOOD_MESSAGES = 50000 };

struct flood {
    struct loop *loop;
    uint64_t next[FLOOD_THREADS];
    uint64_t total;
};

struct flooder {
    struct flood *flood;
    unsigned number;
};

static void flood_message(struct loop_message *message)
{
    struct flood *flood = message->ctx;

    ck_assert_uint_eq(message->b, flood->next[message->a]);
    flood->next[message->a]++;
    if (++flood->total == FLOOD_THREADS * FLOOD_MESSAGES)
        loop_stop(flood->loop);
}

static void *flood_run(void *arg)
{
    struct flooder *flooder = arg;
    struct loop_message message = {
        .run = flood_message, .ctx = flooder->flood, .a = flooder->number};

    while (message.b < FLOOD_MESSAGES) {
        if (loop_post(flooder->flood->loop, &message) == 0)
            message.b++;
        else
            sched_yield();
    }
    return NULL;
}

START_TEST(messages_of_one_thread_keep_their_order)
{
    struct flood flood = {.loop = new_loop(50)};
    struct flooder flooders[FLOOD_THREADS];
    pthread_t threads[FLOOD_THREADS];

    for (unsigned i = 0; i < FLOOD_THREADS; i++) {
        flooders[i] = (struct flooder){&flood, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, flood_run, &flooders[i]), 0);
    }
    ck_assert_int_eq(loop_run(flood.loop), 0);
    for (unsigned i = 0; i < FLOOD_THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(flood.total, FLOOD_THREADS * FLOOD_MESSAGES);
    loop_free(flood.loop);
}
END_TEST

static void *stop_from_outside(void *loop)
{
    loop_stop(loop);
    return NULL;
}

START_TEST(stop_from_another_thread_ends_a_sleep)
{
    for (int i = 0; i < 200; i++) {
        struct loop *loop = new_loop(0);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, stop_from_outside, loop), 0);
        ck_assert_int_eq(loop_run(loop), 0);
        pthread_join(thread, NULL);
        loop_free(loop);
    }
}
END_TEST

/* ---- timers ---- */

enum { TIMERS = 200 };

struct timed {
    struct loop_timer timer;
    struct timed_test *test;
};

struct timed_test {
    struct loop *loop;
    struct timed timers[TIMERS];
    int64_t last_ms;
    unsigned fired, expected;
};

static void timed_fired(void *ctx)
{
    struct timed *t = ctx;
    struct timed_test *test = t->test;

    ck_assert_uint_eq(t->timer.heap_at, 0);
    ck_assert_int_ge(t->timer.due_ms, test->last_ms);
    ck_assert_int_ge(loop_now_ms(test->loop), t->timer.due_ms);
    test->last_ms = t->timer.due_ms;
    if (++test->fired == test->expected)
        loop_stop(test->loop);
}

START_TEST(timers_fire_in_order_and_not_before_their_time)
{
    struct timed_test test = {.loop = new_loop(0)};
    int64_t now_ms = loop_now_ms(test.loop);
    unsigned random = 12345;

    for (unsigned i = 0; i < TIMERS; i++) {
        struct timed *t = &test.timers[i];
        t->test = &test;
        loop_timer_init(&t->timer, test.loop, timed_fired, t);
        random = random * 1103515245 + 12345;
        ck_assert_int_eq(loop_timer_set(&t->timer, now_ms + (random >> 16) % 30), 0);
    }
    /* Some are moved, some taken back, one of them twice. */
    for (unsigned i = 0; i < TIMERS; i += 3) {
        random = random * 1103515245 + 12345;
        ck_assert_int_eq(loop_timer_set(&test.timers[i].timer, now_ms + (random >> 16) % 30), 0);
    }
    for (unsigned i = 0; i < TIMERS; i += 4)
        loop_timer_cancel(&test.timers[i].timer);
    loop_timer_cancel(&test.timers[0].timer);
    test.expected = TIMERS - TIMERS / 4;
    ck_assert_int_eq(loop_run(test.loop), 0);
    ck_assert_uint_eq(test.fired, test.expected);
    loop_free(test.loop);
}
END_TEST

struct chain {
    struct loop *loop;
    struct loop_timer again;
    struct loop_timer other;
    unsigned rounds;
};

static void chain_again(void *ctx)
{
    struct chain *chain = ctx;

    if (++chain->rounds == 5)
        loop_timer_set(&chain->other, loop_now_ms(chain->loop) + 1);
    loop_timer_set(&chain->again, 0); /* long past: must not keep the other one waiting */
}

static void chain_end(void *ctx)
{
    struct chain *chain = ctx;

    loop_timer_cancel(&chain->again);
    loop_stop(chain->loop);
}

START_TEST(timer_that_sets_itself_for_the_past_starves_nobody)
{
    struct chain chain = {.loop = new_loop(0)};

    loop_timer_init(&chain.again, chain.loop, chain_again, &chain);
    loop_timer_init(&chain.other, chain.loop, chain_end, &chain);
    ck_assert_int_eq(loop_timer_set(&chain.again, loop_now_ms(chain.loop)), 0);
    ck_assert_int_eq(loop_run(chain.loop), 0);
    ck_assert_uint_ge(chain.rounds, 5);
    loop_free(chain.loop);
}
END_TEST

struct cancelling {
    struct loop_timer first;
    struct loop_timer second;
    struct loop_timer last;
    bool second_fired;
};

static void cancel_second(void *ctx)
{
    struct cancelling *c = ctx;
    loop_timer_cancel(&c->second);
}

static void second_fired(void *ctx)
{
    struct cancelling *c = ctx;
    c->second_fired = true;
}

START_TEST(timer_cancelled_by_another_of_the_same_turn_does_not_fire)
{
    struct loop *loop = new_loop(0);
    struct cancelling c = {0};

    loop_timer_init(&c.first, loop, cancel_second, &c);
    loop_timer_init(&c.second, loop, second_fired, &c);
    loop_timer_init(&c.last, loop, stop_loop, loop);
    ck_assert_int_eq(loop_timer_set(&c.first, 1), 0);
    ck_assert_int_eq(loop_timer_set(&c.second, 2), 0);
    ck_assert_int_eq(loop_timer_set(&c.last, 3), 0);
    ck_assert_int_eq(loop_run(loop), 0);
    ck_assert(!c.second_fired);
    loop_free(loop);
}
END_TEST

/* ---- turns ---- */

struct hooks {
    struct loop *loop;
    char order[64];
    unsigned turns;
};

static void hook_a(void *ctx)
{
    struct hooks *h = ctx;
    strcat(h->order, "a");
}

static void hook_b(void *ctx)
{
    struct hooks *h = ctx;

    strcat(h->order, "b");
    if (++h->turns < 4)
        loop_again(h->loop); /* nothing else would end the sleep */
    else
        loop_stop(h->loop);
}

static void note_message(struct loop_message *message)
{
    struct hooks *h = message->ctx;
    strcat(h->order, "m");
}

static void note_signal(void *ctx)
{
    struct hooks *h = ctx;
    strcat(h->order, "s");
}

START_TEST(hooks_end_each_turn_in_order_after_messages_and_signals)
{
    struct hooks h = {.loop = new_loop(0)};
    struct loop_message message = {.run = note_message, .ctx = &h};

    ck_assert_int_eq(loop_on_turn_end(h.loop, hook_a, &h), 0);
    ck_assert_int_eq(loop_on_turn_end(h.loop, hook_b, &h), 0);
    loop_on_signal(h.loop, 3, note_signal, &h);
    loop_signal(h.loop, 3);
    loop_signal(h.loop, 3);
    ck_assert_int_eq(loop_post(h.loop, &message), 0);
    ck_assert_int_eq(loop_run(h.loop), 0);
    ck_assert_str_eq(h.order, "msabababab"
                              "ab"); /* the last turn of all follows the stop */
    loop_free(h.loop);
}
END_TEST

static void no_hook(void *ctx)
{
    (void)ctx;
}

START_TEST(ninth_hook_is_refused)
{
    struct loop *loop = new_loop(0);

    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(loop_on_turn_end(loop, no_hook, NULL), 0);
    ck_assert_int_eq(loop_on_turn_end(loop, no_hook, NULL), -ENOSPC);
    loop_free(loop);
}
END_TEST

static void raise_term(struct loop_message *message)
{
    (void)message;
    ck_assert_int_eq(raise(SIGTERM), 0);
}

START_TEST(stop_signal_is_heard_on_the_loop)
{
    struct loop *loop = new_loop(0);
    struct loop_message message = {.run = raise_term};

    ck_assert_int_eq(loop_on_stop_signals(loop, stop_loop, loop), 0);
    ck_assert_int_eq(loop_post(loop, &message), 0);
    ck_assert_int_eq(loop_run(loop), 0);
    loop_free(loop);
}
END_TEST

/* A broker that begins again with another log must not sleep through it. */
START_TEST(stop_signal_between_two_loops_is_heard_by_the_next)
{
    struct loop *loop = new_loop(0);

    ck_assert_int_eq(loop_on_stop_signals(loop, no_hook, NULL), 0);
    loop_free(loop);
    ck_assert_int_eq(raise(SIGTERM), 0);
    loop = new_loop(0);
    ck_assert_int_eq(loop_on_stop_signals(loop, stop_loop, loop), 0);
    ck_assert_int_eq(loop_run(loop), 0);
    loop_free(loop);
}
END_TEST

/* ---- a turn that ends while the loop waits for work ---- */

struct ending {
    struct loop *loop;
    bool asked;
    unsigned turns;
    sem_t answered, next;
};

static void count_endings(void *ctx)
{
    struct ending *e = ctx;

    if (!e->asked)
        return;
    if (e->turns++ == 0)
        loop_again(e->loop);
    else
        sem_post(&e->next);
}

static ssize_t end_turn(struct conn *c, uint8_t *data, size_t len, size_t *want, const char **why)
{
    struct ending *e = conn_ctx(c);

    (void)want;
    (void)why;
    if (memchr(data, 'e', len)) {
        e->asked = true;
        loop_took_input(e->loop, LOOP_TURN_BYTES); /* as if that much had come */
    }
    sem_post(&e->answered);
    return (ssize_t)len;
}

START_TEST(another_turn_comes_when_one_that_ended_within_a_poll_asks_for_it)
{
    /* The timer of its idle time ends no sleep while this test waits. */
    static const struct conn_protocol protocol = {
        .input = end_turn, .input_max = 1024, .output_max = 1024, .idle_ms = 600 * 1000};
    /* A second: it still polls when the last byte comes. */
    struct ending e = {.loop = new_loop(1000000)};
    struct fixture f = {.loops = {e.loop}, .count = 1};
    int fd;

    sem_init(&e.answered, 0, 0);
    sem_init(&e.next, 0, 0);
    ck_assert_int_eq(loop_on_turn_end(e.loop, count_endings, &e), 0);
    fixture_listen(&f, &protocol, NULL, &e, 10);
    fixture_run(&f);
    fd = client_open(f.port);
    for (int i = 0; i < 10; i++) {
        client_send(fd, i < 9 ? "p" : "e", 1);
        fixture_wait(&e.answered);
    }
    fixture_wait(&e.next);
    close(fd);
    fixture_stop(&f);
}
END_TEST

static Suite *loop_suite(void)
{
    Suite *suite = suite_create("loop");
    TCase *tc = tcase_create("threads");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, full_mailbox_takes_nothing_and_loses_nothing);
    tcase_add_test(tc, mailbox_is_closed_once_the_loop_has_run);
    tcase_add_test(tc, message_to_ones_own_loop_needs_no_other_event);
    tcase_add_test(tc, no_message_is_left_behind_by_a_loop_that_falls_asleep);
    tcase_add_test(tc, no_signal_is_left_behind_by_a_loop_that_falls_asleep);
    tcase_add_test(tc, no_message_is_left_behind_by_a_loop_that_polls);
    tcase_add_test(tc, messages_of_one_thread_keep_their_order);
    tcase_add_test(tc, stop_from_another_thread_ends_a_sleep);
    suite_add_tcase(suite, tc);

    tc = tcase_create("timers");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, timers_fire_in_order_and_not_before_their_time);
    tcase_add_test(tc, timer_that_sets_itself_for_the_past_starves_nobody);
    tcase_add_test(tc, timer_cancelled_by_another_of_the_same_turn_does_not_fire);
    suite_add_tcase(suite, tc);

    tc = tcase_create("turns");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, hooks_end_each_turn_in_order_after_messages_and_signals);
    tcase_add_test(tc, ninth_hook_is_refused);
    tcase_add_test(tc, another_turn_comes_when_one_that_ended_within_a_poll_asks_for_it);
    tcase_add_test(tc, stop_signal_is_heard_on_the_loop);
    tcase_add_test(tc, stop_signal_between_two_loops_is_heard_by_the_next);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(loop_suite)
