/* test_core_steps.c - single steps of the replication core: what it says to what it hears. Whole
 * groups live in test_replication_core.c. */
#include "broker/replication/core.h"

#include "unit.h"

static const struct core_options times = {
    .start_wait_ms = 300, .ask_wait_ms = 100, .beat_ms = 50, .silent_ms = 400};

/* Which members are sent a message of this type by the orders that are there; they are taken. */
static unsigned sent_to(struct core *c, enum core_message_type type)
{
    unsigned members = 0;

    for (unsigned i = 0; i < c->order_count; i++) {
        if (c->orders[i].type == CORE_SEND && c->orders[i].message.type == type)
            members |= 1u << c->orders[i].to;
    }
    c->order_count = 0;
    return members;
}

/* A link that breaks loses what was on its way: the question, or the answer to it. */
START_TEST(a_promise_that_does_not_come_is_asked_for_again)
{
    const struct core_state state = {
        .version = 1, .member = 3, .members = {1, 2, 3}, .member_count = 3, .copies = 1};
    struct core_message promise = {.type = CORE_PROMISE, .from = 2, .granted = true};
    static struct core c;

    core_init(&c, &times, &state, 0, 0, false, 1000);
    core_promote(&c, false);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 0); /* not durable here yet */
    core_tick(&c, 1060);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 0);
    core_saved(&c, c.state.version);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 1u << 1 | 1u << 2);
    core_tick(&c, 1100);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 0);
    core_tick(&c, 1110);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 1u << 1 | 1u << 2);
    promise.asked = promise.term = c.asked;
    core_receive(&c, &promise);
    core_tick(&c, 1160);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 1u << 1);
    promise.from = 1;
    core_receive(&c, &promise);
    ck_assert_int_eq(c.role, CORE_STARTING);
    core_tick(&c, 1210);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 0);
}
END_TEST

/* There are no sends meanwhile. */
START_TEST(a_hand_over_ends_when_nobody_is_there_to_take_over)
{
    const struct core_state state = {.version = 1,
                                     .member = 1,
                                     .members = {1, 2, 3},
                                     .member_count = 3,
                                     .copies = 2,
                                     .promised = 1 << CORE_MEMBER_BITS | 1,
                                     .written_term = 1 << CORE_MEMBER_BITS | 1,
                                     .epoch_count = 1,
                                     .epochs = {{1ull << 36 | 1ull << 20, 0}}};
    struct core_message report = {.type = CORE_REPORT, .granted = true, .received = 10};
    static struct core c;

    core_init(&c, &times, &state, 0, 10, false, 1000);
    core_tick(&c, 1300);
    core_saved(&c, c.state.version);
    core_log(&c, 20, 20);
    core_opened(&c, 20);
    ck_assert_int_eq(c.role, CORE_MASTER);
    report.epoch = c.epoch;
    for (report.from = 2; report.from <= 3; report.from++)
        core_receive(&c, &report);
    core_hand_over(&c, 2, 30000);
    core_tick(&c, 1390);
    core_link_lost(&c, 2);
    core_tick(&c, 1480); /* it may be back in a moment */
    ck_assert(c.handing);
    core_link_new(&c, 2);
    core_tick(&c, 1500);
    core_link_lost(&c, 2);
    core_tick(&c, 1590);
    ck_assert(c.handing);
    c.order_count = 0;
    core_tick(&c, 1600);
    ck_assert(!c.handing);
    ck_assert_int_eq(c.orders[0].type, CORE_OPEN_WRITES);
    ck_assert(c.orders[0].again);
    ck_assert_int_eq(c.role, CORE_MASTER);
}
END_TEST

/* Both are said as soon as there is a link again, not with the next beat. */
START_TEST(a_new_link_is_told_what_it_has_missed)
{
    const struct core_state state = {
        .version = 1, .member = 3, .members = {1, 2, 3}, .member_count = 3, .copies = 1};
    static struct core c;

    core_init(&c, &times, &state, 0, 0, false, 1000);
    core_promote(&c, false);
    core_saved(&c, c.state.version);
    c.order_count = 0;
    core_link_lost(&c, 2);
    core_link_new(&c, 2);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE_ASK), 1u << 2);

    core_link_lost(&c, 2);
    core_receive(&c, &(struct core_message){.type = CORE_PROMISE_ASK,
                                            .from = 2,
                                            .term = c.asked + (1 << CORE_MEMBER_BITS)});
    core_saved(&c, c.state.version);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE), 0);
    core_link_new(&c, 2);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE), 1u << 2);
    core_link_new(&c, 2);
    ck_assert_uint_eq(sent_to(&c, CORE_PROMISE), 0);
}
END_TEST

/* Its master may be heard before there is a link to it. */
START_TEST(a_follower_reports_as_soon_as_it_can)
{
    const uint64_t epoch = 1ull << 36 | 1ull << 20, term = 1 << CORE_MEMBER_BITS | 1;
    const struct core_state state = {
        .version = 1, .member = 2, .members = {1, 2, 3}, .member_count = 3, .copies = 2};
    static struct core c;

    core_init(&c, &times, &state, 0, 0, true, 1000);
    core_link_lost(&c, 1);
    core_receive(&c, &(struct core_message){.type = CORE_WELCOME,
                                            .from = 1,
                                            .term = term,
                                            .epoch = epoch,
                                            .end = 10,
                                            .epoch_count = 1,
                                            .epochs = {{epoch, 0}}});
    core_saved(&c, c.state.version);
    ck_assert_int_eq(c.role, CORE_FOLLOWING);
    c.order_count = 0;
    core_link_new(&c, 3);
    ck_assert_uint_eq(sent_to(&c, CORE_REPORT), 0);
    core_link_new(&c, 1);
    ck_assert_uint_eq(sent_to(&c, CORE_REPORT), 1u << 1);
}
END_TEST

/* It has all of the master's log, so that a third one, which may hang, is not waited for; and all
 * others hear of the new epoch as soon as it is there. */
START_TEST(who_was_handed_the_lead_begins_when_promises_enough_are_there)
{
    const uint64_t epoch = 1ull << 36 | 1ull << 20, term = 1 << CORE_MEMBER_BITS | 1;
    const struct core_state state = {.version = 1,
                                     .member = 2,
                                     .members = {1, 2, 3},
                                     .member_count = 3,
                                     .copies = 2,
                                     .promised = term,
                                     .epoch_count = 1,
                                     .epochs = {{epoch, 0}}};
    const struct core_message welcome = {.type = CORE_WELCOME,
                                         .from = 1,
                                         .term = term,
                                         .epoch = epoch,
                                         .end = 10,
                                         .epoch_count = 1,
                                         .epochs = {{epoch, 0}}};
    static struct core c;

    for (int handed = 0; handed < 2; handed++) {
        struct core_message promise = {
            .type = CORE_PROMISE, .from = 1, .granted = true, .last_epoch = epoch, .end = 10};

        core_init(&c, &times, &state, 0, 10, false, 1000);
        core_receive(&c, &welcome);
        core_saved(&c, c.state.version);
        ck_assert_int_eq(c.role, CORE_FOLLOWING);
        if (handed)
            core_receive(&c,
                         &(struct core_message){.type = CORE_TAKE_OVER, .from = 1, .term = term});
        else
            core_promote(&c, false);
        core_saved(&c, c.state.version);
        promise.asked = promise.term = c.asked;
        core_receive(&c, &promise);
        ck_assert_int_eq(c.role, handed ? CORE_STARTING : CORE_ASKING);
    }
    core_saved(&c, c.state.version);
    ck_assert_int_eq(c.role, CORE_MASTER);
    c.order_count = 0;
    core_log(&c, 20, 10);
    core_opened(&c, 20);
    ck_assert_uint_eq(sent_to(&c, CORE_WELCOME), 1u << 1 | 1u << 3);
}
END_TEST

START_TEST(the_order_to_begin_a_term_is_repeated_until_it_is_followed)
{
    const struct core_state state = {.version = 1,
                                     .member = 2,
                                     .members = {1, 2},
                                     .member_count = 2,
                                     .copies = 1,
                                     .promised = 1 << CORE_MEMBER_BITS | 1,
                                     .epoch_count = 1,
                                     .epochs = {{1ull << 36 | 1ull << 20, 0}}};
    struct core_message promise = {.type = CORE_PROMISE,
                                   .from = 1,
                                   .granted = true,
                                   .last_epoch = 1ull << 36 | 1ull << 20,
                                   .end = 20};
    static struct core c;

    core_init(&c, &times, &state, 0, 10, false, 1000);
    core_promote(&c, false);
    core_saved(&c, c.state.version);
    promise.asked = promise.term = c.asked;
    core_receive(&c, &promise);
    ck_assert_int_eq(c.role, CORE_LOOKING);
    ck_assert_uint_eq(sent_to(&c, CORE_START), 1u << 1);
    core_tick(&c, 1040);
    ck_assert_uint_eq(sent_to(&c, CORE_START), 0);
    core_tick(&c, 1050);
    ck_assert_uint_eq(sent_to(&c, CORE_START), 1u << 1);
    core_tick(&c, 1400); /* silent_ms: an operator asks again */
    ck_assert_uint_eq(sent_to(&c, CORE_START), 0);

    /* It has promised somebody else meanwhile. */
    core_promote(&c, false);
    core_saved(&c, c.state.version);
    promise.asked = promise.term = c.asked;
    core_receive(&c, &promise);
    ck_assert_uint_eq(sent_to(&c, CORE_START), 1u << 1);
    core_receive(&c, &(struct core_message){.type = CORE_PROMISE_ASK,
                                            .from = 1,
                                            .term = c.asked + (1 << CORE_MEMBER_BITS)});
    core_saved(&c, c.state.version);
    core_tick(&c, 1460);
    ck_assert_uint_eq(sent_to(&c, CORE_START), 0);
}
END_TEST

/* It may have had all of those that are near on a disk that is lost. */
START_TEST(a_member_without_epochs_asks_in_a_term_that_it_has_hardly_had_before)
{
    struct core_options options = times;
    struct core_state state = {
        .version = 1, .member = 2, .members = {1, 2}, .member_count = 2, .copies = 2};
    static struct core c;

    options.new_counter = 5000;
    core_init(&c, &options, &state, 0, 0, true, 1000);
    core_promote(&c, false);
    ck_assert_uint_eq(c.asked, (uint64_t)5001 << CORE_MEMBER_BITS | 2);
    core_promote(&c, false);
    ck_assert_uint_eq(c.asked, (uint64_t)5002 << CORE_MEMBER_BITS | 2);

    state.epochs[state.epoch_count++] = (struct core_epoch){7ull << 36 | 2ull << 20, 0};
    state.promised = 7 << CORE_MEMBER_BITS | 2;
    core_init(&c, &options, &state, 0, 10, false, 1000);
    core_promote(&c, false);
    ck_assert_uint_eq(c.asked, 8 << CORE_MEMBER_BITS | 2);
}
END_TEST

START_TEST(no_term_is_asked_for_when_all_are_used_up)
{
    const uint64_t last = CORE_TERM_MAX >> CORE_MEMBER_BITS;
    struct core_state state = {.version = 1,
                               .member = 2,
                               .members = {1, 2},
                               .member_count = 2,
                               .copies = 2,
                               .promised = (last - 1) << CORE_MEMBER_BITS | 1,
                               .epoch_count = 1,
                               .epochs = {{1ull << 36 | 1ull << 20, 0}}};
    static struct core c;

    core_init(&c, &times, &state, 0, 10, false, 1000);
    core_promote(&c, false);
    ck_assert_uint_eq(c.asked, last << CORE_MEMBER_BITS | 2);
    c.order_count = 0;
    core_promote(&c, false);
    ck_assert_uint_eq(c.asked, last << CORE_MEMBER_BITS | 2);
    ck_assert_uint_eq(c.order_count, 1);
    ck_assert_int_eq(c.orders[0].type, CORE_ALARM);
}
END_TEST

/* The last order of this kind; the orders are taken. */
static struct core_order last_order(struct core *c, enum core_order_type type,
                                    enum core_message_type message)
{
    struct core_order found = {.type = CORE_ALARM};

    for (unsigned i = 0; i < c->order_count; i++) {
        if (c->orders[i].type == type &&
            (type != CORE_SEND || c->orders[i].message.type == message))
            found = c->orders[i];
    }
    c->order_count = 0;
    ck_assert_int_eq(found.type, type);
    return found;
}

/* Its file says that it begins the group, and its disk does not say that there was one. */
START_TEST(a_promise_of_who_claims_the_first_epoch_does_not_count)
{
    const struct core_state state = {.version = 1,
                                     .member = 1,
                                     .members = {1, 2},
                                     .member_count = 2,
                                     .copies = 2,
                                     .promised = core_first_term(1),
                                     .written_term = core_first_term(1)};
    struct core_message ask = {.type = CORE_PROMISE_ASK, .from = 2, .term = 5 << CORE_MEMBER_BITS};
    static struct core c;

    core_init(&c, &times, &state, 0, 0, false, 1000);
    core_promote(&c, false); /* one promise would be enough, but not this one */
    core_saved(&c, c.state.version);
    core_tick(&c, 1399);
    ck_assert_int_eq(c.role, CORE_ASKING);
    c.order_count = 0;
    core_receive(&c, &ask);
    core_saved(&c, c.state.version);
    ck_assert(!last_order(&c, CORE_SEND, CORE_PROMISE).message.granted);
    core_promote(&c, true);
    core_saved(&c, c.state.version);
    core_tick(&c, 1500);
    ck_assert_int_eq(c.role, CORE_STARTING);
}
END_TEST

/* Until it is cut, or the broker is made anew for that, the rest of the log is there to be seen. */
START_TEST(what_is_to_be_cut_is_no_part_of_the_log_any_more)
{
    const struct core_state state = {.version = 1,
                                     .member = 3,
                                     .members = {1, 2, 3},
                                     .member_count = 3,
                                     .copies = 2,
                                     .promised = 2 << CORE_MEMBER_BITS | 3,
                                     .epoch_count = 2,
                                     .epochs = {{100, 0}, {200, 50}}};
    const uint64_t term = 3 << CORE_MEMBER_BITS | 1;
    struct core_message welcome = {.type = CORE_WELCOME,
                                   .from = 1,
                                   .epoch = term << CORE_INCARNATION_BITS,
                                   .end = 40,
                                   .epoch_count = 2,
                                   .epochs = {{100, 0}, {term << CORE_INCARNATION_BITS, 30}}};
    struct core_message ask = {.type = CORE_PROMISE_ASK, .from = 2, .term = term + 7};
    struct core_message start = {.type = CORE_START, .from = 2, .term = ask.term};
    struct core_message promise;
    static struct core c;

    core_init(&c, &times, &state, 0, 80, false, 1000);
    core_receive(&c, &welcome);
    core_saved(&c, c.state.version);
    ck_assert_uint_eq(last_order(&c, CORE_TRUNCATE, 0).offset, 30);
    core_log(&c, 80, 80);
    core_receive(&c, &ask);
    core_saved(&c, c.state.version);
    promise = last_order(&c, CORE_SEND, CORE_PROMISE).message;
    ck_assert(promise.granted);
    ck_assert_uint_eq(promise.last_epoch, 100);
    ck_assert_uint_eq(promise.end, 30);
    core_receive(&c, &start);
    welcome.epoch += (uint64_t)2 << (CORE_INCARNATION_BITS + CORE_MEMBER_BITS);
    core_receive(&c, &welcome);
    ck_assert_int_eq(c.role, CORE_LOOKING); /* the cut comes first */
    core_truncated(&c);
    core_receive(&c, &start);
    ck_assert_int_eq(c.role, CORE_STARTING);
}
END_TEST

/* Both logs may hold the same, and the tables do not say so any more. */
START_TEST(a_log_that_begins_anew_is_doubted_until_all_is_back)
{
    const struct core_state state = {.version = 1,
                                     .member = 3,
                                     .members = {1, 2, 3},
                                     .member_count = 3,
                                     .copies = 2,
                                     .epoch_count = 1,
                                     .epochs = {{100, 0}}};
    const uint64_t epoch = core_first_term(1) << CORE_INCARNATION_BITS;
    const struct core_message welcome = {.type = CORE_WELCOME,
                                         .from = 1,
                                         .epoch = epoch,
                                         .first = 20,
                                         .end = 40,
                                         .epoch_count = 1,
                                         .epochs = {{epoch, 10}}};
    struct core_message data = {.type = CORE_DATA,
                                .from = 1,
                                .epoch = epoch,
                                .offset = 20,
                                .size = 15,
                                .data_epoch = epoch,
                                .data_start = 10};
    struct core_order order;
    static struct core c;

    core_init(&c, &times, &state, 0, 80, false, 1000);
    ck_assert(core_is_certain(&c));
    core_receive(&c, &welcome);
    core_saved(&c, c.state.version);
    order = last_order(&c, CORE_TRUNCATE, 0);
    ck_assert(order.anew);
    ck_assert_uint_eq(order.offset, 20);
    ck_assert(!core_is_certain(&c));
    core_truncated(&c);
    core_saved(&c, c.state.version);
    core_announce(&c, &data);
    core_saved(&c, c.state.version);
    core_receive(&c, &data);
    ck_assert_uint_eq(c.written, 35);
    ck_assert(!core_is_certain(&c));
    data.offset = 35;
    data.size = 5;
    core_receive(&c, &data);
    ck_assert(core_is_certain(&c));
}
END_TEST

/* A follower shows no more than that, and nobody else tells it once the master is gone. */
START_TEST(followers_hear_what_is_confirmed_before_the_next_beat)
{
    const struct core_state state = {
        .version = 1, .member = 1, .members = {1, 2, 3}, .member_count = 3, .copies = 2};
    struct core_message report = {.type = CORE_REPORT, .granted = true, .received = 10};
    struct core_message promise = {.type = CORE_PROMISE, .granted = true};
    struct core_order told;
    static struct core c;

    core_init(&c, &times, &state, 0, 0, false, 1000);
    core_promote(&c, false);
    core_saved(&c, c.state.version);
    promise.asked = promise.term = c.asked;
    for (promise.from = 2; promise.from <= 3; promise.from++)
        core_receive(&c, &promise);
    core_saved(&c, c.state.version);
    core_opened(&c, 10); /* with a first record of its own */
    core_log(&c, 10, 10);
    ck_assert_int_eq(c.role, CORE_MASTER);
    report.epoch = c.epoch;
    report.received = 0;
    for (report.from = 2; report.from <= 3; report.from++)
        core_receive(&c, &report);
    ck_assert_uint_eq(sent_to(&c, CORE_DATA), 1u << 2 | 1u << 3);
    core_tick(&c, 1010);
    ck_assert_uint_eq(sent_to(&c, CORE_DATA), 0);

    report.from = 2;
    report.received = 10;
    core_receive(&c, &report);
    ck_assert_uint_eq(c.confirmed, 10);
    ck_assert_uint_eq(sent_to(&c, CORE_DATA), 0); /* the next bytes may be under way */
    core_tick(&c, 1020);
    told = last_order(&c, CORE_SEND, CORE_DATA);
    ck_assert_uint_eq(told.message.confirmed, 10);
    ck_assert_uint_eq(told.message.size, 0);
    core_tick(&c, 1030);
    ck_assert_uint_eq(sent_to(&c, CORE_DATA), 0);
}
END_TEST

static Suite *steps_suite(void)
{
    Suite *s = suite_create("core_steps");
    TCase *t = tcase_create("steps");

    tcase_add_test(t, a_promise_that_does_not_come_is_asked_for_again);
    tcase_add_test(t, a_hand_over_ends_when_nobody_is_there_to_take_over);
    tcase_add_test(t, a_follower_reports_as_soon_as_it_can);
    tcase_add_test(t, a_new_link_is_told_what_it_has_missed);
    tcase_add_test(t, who_was_handed_the_lead_begins_when_promises_enough_are_there);
    tcase_add_test(t, the_order_to_begin_a_term_is_repeated_until_it_is_followed);
    tcase_add_test(t, a_member_without_epochs_asks_in_a_term_that_it_has_hardly_had_before);
    tcase_add_test(t, no_term_is_asked_for_when_all_are_used_up);
    tcase_add_test(t, a_promise_of_who_claims_the_first_epoch_does_not_count);
    tcase_add_test(t, what_is_to_be_cut_is_no_part_of_the_log_any_more);
    tcase_add_test(t, a_log_that_begins_anew_is_doubted_until_all_is_back);
    tcase_add_test(t, followers_hear_what_is_confirmed_before_the_next_beat);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(steps_suite)
