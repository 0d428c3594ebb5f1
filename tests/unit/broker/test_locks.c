/* Queue locks of ordered consumers, with a clock of our own. */
#include "broker/locks.h"
#include "unit.h"

static struct locks *l;
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
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 1001));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 50000));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 50000 + LOCK_LIFE_MS));
}
END_TEST

START_TEST(a_lock_not_renewed_for_its_life_may_be_taken)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1000));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 1001 + LOCK_LIFE_MS));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("a"), 1002 + LOCK_LIFE_MS));
}
END_TEST

START_TEST(queues_topics_and_groups_are_locked_apart)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1));
    ck_assert(locks_take(l, G, T, 1, BYTES_LIT("b"), 1));
    ck_assert(locks_take(l, BYTES_LIT("grou"), BYTES_LIT("ptopic"), 0, BYTES_LIT("b"), 1));
    ck_assert(locks_take(l, BYTES_LIT("other"), T, 0, BYTES_LIT("b"), 1));
}
END_TEST

START_TEST(only_the_holder_can_release)
{
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("a"), 1));
    locks_release(l, G, T, 0, BYTES_LIT("b"));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT("b"), 2));
    locks_release(l, G, T, 0, BYTES_LIT("a"));
    ck_assert(locks_take(l, G, T, 0, BYTES_LIT("b"), 3));
}
END_TEST

START_TEST(names_too_long_and_negative_queues_are_never_granted)
{
    char name[GROUP_NAME_MAX + 2];

    memset(name, 'x', sizeof(name));
    ck_assert(!locks_take(l, bytes_of(name, sizeof(name)), T, 0, BYTES_LIT("a"), 1));
    ck_assert(!locks_take(l, G, bytes_of(name, TOPIC_NAME_MAX + 1), 0, BYTES_LIT("a"), 1));
    ck_assert(!locks_take(l, G, T, -1, BYTES_LIT("a"), 1));
    ck_assert(!locks_take(l, G, T, 0, BYTES_LIT(""), 1));
}
END_TEST

START_TEST(thousands_of_locks_come_and_go)
{
    for (int round = 0; round < 3; round++) {
        int64_t now = (int64_t)round * 2 * LOCK_LIFE_MS;

        for (int32_t id = 0; id < 5000; id++)
            ck_assert(locks_take(l, G, T, id + round * 5000, BYTES_LIT("a"), now));
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
        ck_assert(locks_take(few, G, T, id, BYTES_LIT("a"), id < 10 ? 1000 : 2000));
    ck_assert(!locks_take(few, G, T, MOST, BYTES_LIT("a"), 2000));
    ck_assert(locks_take(few, G, T, 0, BYTES_LIT("a"), 2000)); /* renewed */
    ck_assert(!locks_take(few, G, T, MOST, BYTES_LIT("b"), 1000 + LOCK_LIFE_MS));
    ck_assert(locks_take(few, G, T, MOST, BYTES_LIT("b"), later));
    for (int32_t id = 1; id < 9; id++)
        ck_assert(locks_take(few, G, T, MOST + id, BYTES_LIT("b"), later));
    ck_assert(!locks_take(few, G, T, MOST + 9, BYTES_LIT("b"), later));
    locks_release(few, G, T, MOST, BYTES_LIT("b"));
    ck_assert(locks_take(few, G, T, MOST + 9, BYTES_LIT("b"), later));
    locks_free(few);
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
    return s;
}

UNIT_MAIN(suite)
