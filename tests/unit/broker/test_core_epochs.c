/* test_core_epochs.c - which epoch wrote what, and where two logs part. */
#include "broker/replication/core_epochs.h"

#include <string.h>

#include "unit.h"

static struct core_state table(unsigned count, const struct core_epoch *epochs)
{
    struct core_state s = {.epoch_count = (uint8_t)count};

    memcpy(s.epochs, epochs, count * sizeof(*epochs));
    return s;
}

#define TABLE(...)                                                                                 \
    table(sizeof((struct core_epoch[]){__VA_ARGS__}) / sizeof(struct core_epoch),                  \
          (struct core_epoch[]){__VA_ARGS__})

enum { NOTHING = -1 };

static int64_t common(const struct core_state *a, uint64_t a_end, const struct core_state *b,
                      uint64_t b_end)
{
    uint64_t at = 0, back = 0;
    bool some = core_epochs_common(a, a_end, b->epochs, b->epoch_count, b_end, &at);

    /* Whoever is asked. */
    ck_assert_int_eq(core_epochs_common(b, b_end, a->epochs, a->epoch_count, a_end, &back), some);
    ck_assert_uint_eq(at, back);
    return some ? (int64_t)at : NOTHING;
}

START_TEST(logs_part_where_one_goes_on_in_another_epoch_or_ends)
{
    struct core_state a = TABLE({1, 0}, {4, 100}, {9, 300});
    struct core_state same = TABLE({1, 0}, {4, 100}, {9, 300});
    struct core_state behind = TABLE({1, 0}, {4, 100});
    struct core_state other = TABLE({1, 0}, {5, 150});
    struct core_state later = TABLE({1, 0}, {4, 120});

    ck_assert_int_eq(common(&a, 400, &same, 350), 350);
    ck_assert_int_eq(common(&a, 400, &behind, 250), 250);
    ck_assert_int_eq(common(&a, 400, &behind, 370), 300);
    ck_assert_int_eq(common(&a, 400, &other, 500), 100);
    ck_assert_int_eq(common(&a, 400, &later, 500), 100); /* no epoch begins twice: the one before */
}
END_TEST

START_TEST(an_epoch_without_a_byte_is_common_up_to_where_it_begins)
{
    struct core_state a = TABLE({1, 0}, {4, 100});
    struct core_state b = TABLE({1, 0}, {4, 100}, {5, 180});

    ck_assert_int_eq(common(&a, 100, &b, 200), 100);
    ck_assert_uint_eq(core_epochs_last(&a, 100), 1);
    ck_assert_uint_eq(core_epochs_last(&a, 101), 4);
    ck_assert_uint_eq(core_epochs_newest(&a), 4);
}
END_TEST

START_TEST(logs_without_a_common_epoch_have_nothing_in_common)
{
    struct core_state a = TABLE({1, 0}), b = TABLE({2, 0}), none = {0};

    ck_assert_int_eq(common(&a, 100, &b, 100), NOTHING);
    ck_assert_int_eq(common(&a, 100, &none, 100), NOTHING);
    ck_assert_int_eq(common(&none, 100, &none, 100), NOTHING); /* older than epochs: who knows */
}
END_TEST

START_TEST(an_entry_without_bytes_makes_room_for_the_next)
{
    struct core_state s = {0};
    uint64_t end = 0;

    core_epochs_add(&s, 3, 0);
    core_epochs_add(&s, 5, 70);
    core_epochs_add(&s, 6, 70);
    ck_assert_uint_eq(s.epoch_count, 2);
    ck_assert_uint_eq(core_epochs_newest(&s), 6);
    ck_assert_uint_eq(core_epochs_at(&s, 69, 90, &end)->epoch, 3);
    ck_assert_uint_eq(end, 70);
    ck_assert_uint_eq(core_epochs_at(&s, 70, 90, &end)->epoch, 6);
    ck_assert_uint_eq(end, 90);
    core_epochs_cut(&s, 70);
    ck_assert_uint_eq(core_epochs_newest(&s), 3);
    core_epochs_cut(&s, 0);
    ck_assert_ptr_null(core_epochs_at(&s, 0, 0, &end));
}
END_TEST

/* Two members whose tables are full at different times still find where they part. */
START_TEST(a_full_table_forgets_names_of_the_oldest_and_no_place)
{
    struct core_state longer = {0}, shorter = {0};
    uint64_t end = 0;
    unsigned last = CORE_EPOCHS_MAX + 10;

    for (unsigned i = 1; i <= last; i++)
        core_epochs_add(&longer, i, (i - 1) * 10);
    ck_assert_uint_eq(longer.epoch_count, CORE_EPOCHS_MAX);
    ck_assert_uint_eq(longer.epochs[0].start, 0);
    ck_assert_uint_eq(longer.epochs[0].epoch, 11);
    ck_assert_uint_eq(core_epochs_at(&longer, 0, 1000, &end)->epoch, 11);
    ck_assert_uint_eq(end, 110);
    for (unsigned i = 1; i <= 20; i++)
        core_epochs_add(&shorter, i, (i - 1) * 10);
    ck_assert_int_eq(common(&longer, 10000, &shorter, 195), 195);
    core_epochs_cut(&shorter, 120);
    ck_assert_int_eq(common(&longer, 10000, &shorter, 119), 119);
    core_epochs_cut(&shorter, 110); /* in an epoch whose name is forgotten, or its start is */
    ck_assert_int_eq(common(&longer, 10000, &shorter, 109), NOTHING);
}
END_TEST

static Suite *epochs_suite(void)
{
    Suite *s = suite_create("core_epochs");
    TCase *t = tcase_create("epochs");

    tcase_add_test(t, logs_part_where_one_goes_on_in_another_epoch_or_ends);
    tcase_add_test(t, an_epoch_without_a_byte_is_common_up_to_where_it_begins);
    tcase_add_test(t, logs_without_a_common_epoch_have_nothing_in_common);
    tcase_add_test(t, an_entry_without_bytes_makes_room_for_the_next);
    tcase_add_test(t, a_full_table_forgets_names_of_the_oldest_and_no_place);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(epochs_suite)
