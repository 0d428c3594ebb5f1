/* Queue locks of ordered consumers, with a clock of our own. */
#include "broker/locks.h"
#include "store/metadata_fixture.h"
#include "unit.h"

static struct locks *l;
static uint64_t sequence;
#define G BYTES_LIT("group")
#define T BYTES_LIT("topic")

static void set_up(void)
{
    l = locks_new(LOCKS_MAX);
    ck_assert_ptr_nonnull(l);
}

static void tear_down(void)
{
    l = locks_free(l);
}

START_TEST(a_lock_is_held_by_one_client_and_renewed_by_it)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 1001, &sequence));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 50000, &sequence));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 50000 + LOCK_LIFE_MS, &sequence));
}
END_TEST

START_TEST(a_lock_not_renewed_for_its_life_may_be_taken)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 1001 + LOCK_LIFE_MS, &sequence));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("a"), 1002 + LOCK_LIFE_MS, &sequence));
}
END_TEST

START_TEST(queues_topics_and_groups_are_locked_apart)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1, &sequence));
    ck_assert(locks_take(l, G, T, 1, BYTES_LIT("b"), 1, &sequence));
    ck_assert(
        locks_take(l, BYTES_LIT("grou"), BYTES_LIT("ptopic"), 0, BYTES_LIT("b"), 1, &sequence));
    ck_assert(locks_take(l, BYTES_LIT("other"), T, 0, BYTES_LIT("b"), 1, &sequence));
}
END_TEST

START_TEST(only_the_holder_can_release)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1, &sequence));
    locks_release(l, G, T, 0, BYTES_LIT("b"));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 2, &sequence));
    locks_release(l, G, T, 0, BYTES_LIT("a"));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 3, &sequence));
}
END_TEST

START_TEST(names_too_long_and_negative_queues_are_never_granted)
{
    char name[GROUP_NAME_MAX + 2];

    memset(name, 'x', sizeof(name));
    ck_assert(!locks_take(l, bytes_of(name, sizeof(name)), T, 0, BYTES_LIT("a"), 1, &sequence));
    ck_assert(
        !locks_take(l, G, bytes_of(name, TOPIC_NAME_MAX + 1), 0, BYTES_LIT("a"), 1, &sequence));
    ck_assert(!locks_take(l, G, T, -1, BYTES_LIT("a"), 1, &sequence));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT(""), 1, &sequence));
}
END_TEST

START_TEST(thousands_of_locks_come_and_go)
{
    for (int round = 0; round < 3; round++) {
        int64_t at = (int64_t)round * 2 * LOCK_LIFE_MS;

        for (int32_t id = 0; id < 5000; id++)
            ck_assert(locks_take(l, G, T, id + round * 5000, BYTES_LIT("a"), at, &sequence));
    }
}
END_TEST

/* At the bound expired ones give way, however far the next look for them was put off. */
START_TEST(at_the_bound_only_what_has_expired_makes_room)
{
    enum { MOST = 3000 };
    struct locks *few = locks_new(MOST);
    int64_t later = LOCK_LIFE_MS + 2000;

    ck_assert_ptr_nonnull(few);
    for (int32_t id = 0; id < MOST; id++)
        ck_assert(locks_take(few, G, T, id, BYTES_LIT("a"), id < 10 ? 1000 : 2000, &sequence));
    ck_assert(!locks_take(few, G, T, MOST, BYTES_LIT("a"), 2000, &sequence));
    ck_assert(locks_take(few, G, T, 0, BYTES_LIT("a"), 2000, &sequence)); /* renewed */
    ck_assert(!locks_take(few, G, T, MOST, BYTES_LIT("b"), 1000 + LOCK_LIFE_MS, &sequence));
    ck_assert(locks_take(few, G, T, MOST, BYTES_LIT("b"), later, &sequence));
    for (int32_t id = 1; id < 9; id++)
        ck_assert(locks_take(few, G, T, MOST + id, BYTES_LIT("b"), later, &sequence));
    ck_assert(!locks_take(few, G, T, MOST + 9, BYTES_LIT("b"), later, &sequence));
    locks_release(few, G, T, MOST, BYTES_LIT("b"));
    ck_assert(locks_take(few, G, T, MOST + 9, BYTES_LIT("b"), later, &sequence));
    locks_free(few);
}
END_TEST

/* --- with a journal --- */

static void set_up_journal(void)
{
    set_up();
    fixture_begin();
    open_meta();
    ck_assert_int_eq(locks_begin_reign(l, m, 0), 0);
    sequence = 0;
}

static void tear_down_journal(void)
{
    tear_down();
    close_meta();
    fixture_end();
}

/* The broker is killed, or another member takes over, once the journal has it all. */
static void next_reign(int64_t now_ms)
{
    settle();
    l = locks_free(l);
    kill_meta();
    open_meta();
    l = locks_new(LOCKS_MAX);
    ck_assert_int_eq(locks_begin_reign(l, m, now_ms), 0);
}

START_TEST(in_the_first_minute_of_a_reign_only_the_recorded_holder_is_granted)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    next_reign(5000);
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 5001, &sequence));
    ck_assert(locks_take(l, G, T, 1, BYTES_LIT("b"), 5001, &sequence)); /* nobody had it */
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 5000 + LOCK_LIFE_MS, &sequence));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 5000 + LOCK_LIFE_MS, &sequence));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 5001 + LOCK_LIFE_MS, &sequence));
}
END_TEST

START_TEST(a_holder_that_does_not_come_back_loses_it_after_a_minute)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    next_reign(5000);
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 5001 + LOCK_LIFE_MS, &sequence));
    next_reign(9000);
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("a"), 9001, &sequence));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 9001, &sequence));
}
END_TEST

START_TEST(what_was_released_is_free_in_the_next_reign)
{
    m->journal.min_bytes = 1; /* through a snapshot too */
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    ck_assert(locks_take(l, G, T, 1, BYTES_LIT("a"), 1000, &sequence));
    settle();
    locks_release(l, G, T, 0, BYTES_LIT("a"));
    next_reign(5000);
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 5001, &sequence));
    ck_assert(!locks_take(l, G, T, 1, BYTES_LIT("b"), 5001, &sequence));
}
END_TEST

START_TEST(a_new_holder_has_a_sequence_and_a_renewal_repeats_it)
{
    uint64_t renewed = 0;

    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    ck_assert_uint_gt(sequence, 0);
    ck_assert_uint_lt(metadata_durable(m), sequence);
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    settle_and_export();
    renewed = metadata_last(m);
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 2000, &sequence));
    ck_assert_uint_eq(metadata_last(m), renewed); /* nothing to write */
    renewed = 0;
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 3000, &renewed));
    ck_assert_uint_eq(renewed, sequence);
}
END_TEST

START_TEST(a_renewal_alone_makes_no_holder_and_asks_for_the_record)
{
    uint64_t taken = 0;

    ck_assert(!locks_renew(l, G, T, 0, BYTES_LIT("a"), 1, UINT64_MAX));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &taken));
    ck_assert_uint_gt(taken, 0);
    ck_assert(!locks_renew(l, G, T, 0, BYTES_LIT("a"), 2000, taken - 1));
    ck_assert(!locks_renew(l, G, T, 0, BYTES_LIT("b"), 2000, taken));
    ck_assert(!locks_renew(l, G, T, 0, BYTES_LIT("b"), 1001 + LOCK_LIFE_MS, taken));
    ck_assert(locks_renew(l, G, T, 0, BYTES_LIT("a"), 50000, taken));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 50000 + LOCK_LIFE_MS, &sequence));
}
END_TEST

START_TEST(a_lock_that_the_journal_does_not_take_is_not_granted)
{
    atomic_store(&m->started, true);
    atomic_fetch_add(&m->pending, METADATA_PENDING_MAX);
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("a"), 1000, &sequence));
    atomic_fetch_sub(&m->pending, METADATA_PENDING_MAX);
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 1001, &sequence));
    atomic_store(&m->started, false);
}
END_TEST

START_TEST(expired_locks_leave_the_journal_when_they_are_swept)
{
    for (int i = 0; i < 1024; i++)
        ck_assert(locks_take(l, G, T, i, BYTES_LIT("a"), 1000, &sequence));
    ck_assert(locks_take(l, G, T, 5000, BYTES_LIT("a"), 1001 + LOCK_LIFE_MS, &sequence));
    settle();
    ck_assert_uint_eq(atomic_load(&m->locks.count), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("broker/locks");
    TCase *t = tcase_create("locks");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_lock_is_held_by_one_client_and_renewed_by_it);
    tcase_add_test(t, a_lock_not_renewed_for_its_life_may_be_taken);
    tcase_add_test(t, queues_topics_and_groups_are_locked_apart);
    tcase_add_test(t, only_the_holder_can_release);
    tcase_add_test(t, names_too_long_and_negative_queues_are_never_granted);
    tcase_add_test(t, thousands_of_locks_come_and_go);
    tcase_add_test(t, at_the_bound_only_what_has_expired_makes_room);
    suite_add_tcase(s, t);

    t = tcase_create("journal");
    tcase_add_checked_fixture(t, set_up_journal, tear_down_journal);
    tcase_add_test(t, in_the_first_minute_of_a_reign_only_the_recorded_holder_is_granted);
    tcase_add_test(t, a_holder_that_does_not_come_back_loses_it_after_a_minute);
    tcase_add_test(t, what_was_released_is_free_in_the_next_reign);
    tcase_add_test(t, a_new_holder_has_a_sequence_and_a_renewal_repeats_it);
    tcase_add_test(t, a_renewal_alone_makes_no_holder_and_asks_for_the_record);
    tcase_add_test(t, a_lock_that_the_journal_does_not_take_is_not_granted);
    tcase_add_test(t, expired_locks_leave_the_journal_when_they_are_swept);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
