/* test_metadata_offsets.c - offsets and delay cursors, and what deleting a topic or group does to
 * them. */
#include "metadata_fixture.h"

/* Every allocation of this program goes through here (the linker's --wrap). */
static _Atomic int allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t count, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t count, size_t n);

void *__wrap_malloc(size_t n)
{
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    allocations++;
    return __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations++;
    return __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t count, size_t n)
{
    allocations++;
    return __real_reallocarray(p, count, n);
}

/* --- offsets --- */

START_TEST(offsets_read_back_as_committed)
{
    open_meta();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    commit("T", "G", 0, 10);
    commit("T", "G", 5, 50);
    commit("T", "H", 0, 7);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 10);
    ck_assert_int_eq(offset_of(m, "T", "G", 1), -1);
    ck_assert_int_eq(offset_of(m, "T", "G", 5), 50);
    ck_assert_int_eq(offset_of(m, "T", "G", 6), -1);
    ck_assert_int_eq(offset_of(m, "T", "H", 0), 7);
    ck_assert_int_eq(offset_of(m, "G", "T", 0), -1);
    commit("T", "G", 0, 3); /* backwards */
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 3);
    commit("T", "G", 5, -1);
    ck_assert_int_eq(offset_of(m, "T", "G", 5), -1);
    commit("T", "G", 0, INT64_MIN);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    settle();
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    ck_assert_int_eq(offset_of(m, "T", "G", 5), -1);
    ck_assert_int_eq(offset_of(m, "T", "H", 0), 7);
    close_meta();
}
END_TEST

START_TEST(queue_ids_have_bounds)
{
    static const int32_t bad[] = {-1, INT32_MIN, TOPIC_QUEUES_MAX, INT32_MAX};

    open_meta();
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), BYTES_LIT("G"), bad[i], 1),
                         -EINVAL);
        ck_assert_int_eq(offset_of(m, "T", "G", bad[i]), -1);
    }
    commit("T", "G", TOPIC_QUEUES_MAX - 1, 1);
    ck_assert_int_eq(offset_of(m, "T", "G", TOPIC_QUEUES_MAX - 1), 1);
    close_meta();
}
END_TEST

START_TEST(none_for_a_queue_that_has_none_takes_no_room)
{
    struct metadata_stats stats;

    open_meta();
    commit("T", "G", 60000, -1);
    commit("T", "H", 0, 1);
    commit("T", "H", 60000, -1);
    metadata_stats(m, &stats);
    ck_assert_uint_eq(stats.offset_pairs, 1);
    ck_assert_uint_le(stats.offset_slots, 4);
    close_meta();
}
END_TEST

/* The pull and commit paths; and writing what they changed. */
START_TEST(nothing_is_allocated_once_the_entries_are_there)
{
    int before;

    open_meta();
    put_topic("T", 8);
    for (int32_t q = 0; q < 8; q++)
        commit("T", "G", q, 0);
    ck_assert_int_eq(metadata_delay_set(m, 1, 0), 0);
    settle();
    before = allocations; /* Check's own count, too: no claims until the end */
    for (int i = 1; i <= 10000; i++) {
        struct topic_config config;
        if (!metadata_topic(m, BYTES_LIT("T"), &config) ||
            metadata_offset_commit(m, BYTES_LIT("T"), BYTES_LIT("G"), i % 8, i) != 0 ||
            metadata_offset(m, BYTES_LIT("T"), BYTES_LIT("G"), i % 8) != i ||
            metadata_delay_set(m, 1, i) != 0)
            ck_abort();
    }
    now += METADATA_OFFSETS_MS;
    (void)metadata_turn(m, now);
    now += METADATA_OFFSETS_MS;
    (void)metadata_turn(m, now);
    before = allocations - before;
    ck_assert_int_eq(before, 0);
    ck_assert_int_gt(allocations, 0);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    close_meta();
}
END_TEST

START_TEST(the_table_of_offsets_has_a_bound)
{
    char group[16];
    struct metadata_stats stats;
    int taken = 0;

    open_meta();
    for (int i = 0; i < OFFSETS_MAX / TOPIC_QUEUES_MAX + 10; i++) {
        int r;
        snprintf(group, sizeof(group), "G%d", i);
        r = metadata_offset_commit(m, BYTES_LIT("T"), bytes_str(group), TOPIC_QUEUES_MAX - 1, 1);
        ck_assert(r == 0 || r == -ENOSPC);
        taken += r == 0;
    }
    ck_assert_int_eq(taken, OFFSETS_MAX / TOPIC_QUEUES_MAX);
    commit("T", "G0", 5, 1); /* what has room goes on */
    metadata_stats(m, &stats);
    ck_assert_uint_le(stats.offset_slots, OFFSETS_MAX);
    ck_assert_uint_eq(stats.offset_pairs, taken);
    kill_meta();
}
END_TEST

static void expect_each(const char *topic, const char *group, const char *expected)
{
    struct seen_offsets seen = {{0}};

    metadata_each_offset(m, bytes_str(topic), bytes_str(group), see_offsets, &seen);
    ck_assert_str_eq(seen.text, expected);
}

START_TEST(each_offset_takes_filters)
{
    struct seen_offsets all = {{0}};

    open_meta();
    commit("T", "G", 2, 22);
    commit("T", "H", 0, 5);
    commit("U", "G", 1, 11);
    expect_each("T", "G", "T@G:3:22;");
    expect_each("U", "", "U@G:2:11;");
    expect_each("", "H", "T@H:1:5;");
    expect_each("X", "", "");
    expect_each("U", "H", "");
    metadata_each_offset(m, (struct bytes){0}, (struct bytes){0}, see_offsets, &all);
    ck_assert_uint_eq(strlen(all.text), strlen("T@G:3:22;T@H:1:5;U@G:2:11;"));
    close_meta();
}
END_TEST

START_TEST(deleting_a_topic_or_group_can_drop_its_offsets)
{
    open_meta();
    put_topic("T", 1);
    put_topic("U", 1);
    put_group("G", 1);
    put_group("H", 1);
    commit("T", "G", 0, 1);
    commit("T", "H", 0, 2);
    commit("U", "G", 0, 3);
    commit("U", "H", 0, 4);
    settle();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, NULL), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("U"), 0, false, NULL), 0);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("H"), true, NULL), 0);
    for (int pass = 0; pass < 2; pass++) {
        ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
        ck_assert_int_eq(offset_of(m, "T", "H", 0), -1);
        ck_assert_int_eq(offset_of(m, "U", "G", 0), 3);
        ck_assert_int_eq(offset_of(m, "U", "H", 0), -1);
        if (pass == 0) {
            turns(); /* at once, with the deletion: not a second later */
            kill_and_reopen();
        }
    }
    close_meta();
}
END_TEST

START_TEST(a_deletion_is_durable_only_with_its_drops)
{
    uint64_t sequence;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, &sequence), 0);
    ck_assert_uint_lt(metadata_durable(m), sequence);
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    close_meta();
}
END_TEST

static uint64_t deletion;

static int delete_during_sync(int fd)
{
    (void)fd;
    if (deletion == 0)
        ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, &deletion), 0);
    return 0;
}

/* The metadata thread has looked for drops, and comes to the deletion in the same turn. */
START_TEST(a_deletion_that_comes_during_a_sync_is_durable_only_with_its_drops)
{
    struct metadata *found;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    ops.fdatasync = delete_during_sync;
    put_group("Other", 1);
    metadata_turn(m, now);
    if (metadata_durable(m) >= deletion) {
        found = open_copy();
        ck_assert_int_eq(offset_of(found, "T", "G", 0), -1);
        ck_assert_int_eq(metadata_close(found), 0);
    }
    turns();
    ck_assert_uint_ge(metadata_durable(m), deletion);
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    close_meta();
}
END_TEST

/* Else a crash could leave a topic that is there without its queues, or with two of a kind. */
START_TEST(the_name_of_a_deleted_topic_is_taken_until_its_queues_are_gone)
{
    struct topic_config config = config_of(1);
    struct topic *topic, *again;
    uint64_t sequence;

    open_meta();
    put_topic("T", 1);
    ck_assert_int_eq(metadata_topic_hold(m, BYTES_LIT("U"), 0, true, &sequence, &topic), -ENOENT);
    ck_assert_int_eq(metadata_topic_hold(m, BYTES_LIT("T"), 0, true, &sequence, &topic), 0);
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("T"), NULL));
    ck_assert(!metadata_wait(m, sequence, 0));
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, NULL, NULL, NULL), -EBUSY);
    ck_assert_int_eq(metadata_topic_hold(m, BYTES_LIT("T"), 0, true, &sequence, &again), -EBUSY);
    metadata_topic_let_go(m, topic, false); /* the journal was behind */
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, NULL, NULL, NULL), -EBUSY);
    turns();
    ck_assert_int_eq(metadata_topic_hold(m, BYTES_LIT("T"), 0, true, &sequence, &again), 0);
    ck_assert_ptr_eq(again, topic);
    turns();
    ck_assert(metadata_wait(m, sequence, 0));
    metadata_topic_let_go(m, again, true);
    ck_assert_int_eq(metadata_topic_hold(m, BYTES_LIT("T"), 0, true, &sequence, &again), -ENOENT);
    put_topic("T", 1);
    close_meta();
}
END_TEST

START_TEST(offsets_committed_after_a_drop_stay)
{
    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    commit("T", "G", 1, 1);
    settle();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, NULL), 0);
    commit("T", "G", 1, 9);
    settle();
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    ck_assert_int_eq(offset_of(m, "T", "G", 1), 9);
    close_meta();
}
END_TEST

START_TEST(dropped_pairs_give_their_room_back)
{
    struct metadata_stats stats;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 100, 1);
    settle();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, NULL), 0);
    turns();
    metadata_stats(m, &stats);
    ck_assert_uint_eq(stats.offset_pairs, 0);
    ck_assert_uint_eq(stats.offset_slots, 0);
    close_meta();
}
END_TEST

START_TEST(a_topic_of_65536_queues_keeps_every_offset)
{
    open_meta();
    for (int32_t q = 0; q < TOPIC_QUEUES_MAX; q++)
        commit("T", "G", q, q * 3);
    settle();
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t q = 0; q < TOPIC_QUEUES_MAX; q++)
            ck_assert_int_eq(offset_of(m, "T", "G", q), q * 3);
        if (pass == 0)
            kill_and_reopen();
    }
    /* Dropped and committed again before either is written: the record replaces all of them. */
    put_topic("T", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, NULL), 0);
    for (int32_t q = 0; q < TOPIC_QUEUES_MAX; q += 2)
        commit("T", "G", q, q);
    settle();
    kill_and_reopen();
    for (int32_t q = 0; q < TOPIC_QUEUES_MAX; q++)
        ck_assert_int_eq(offset_of(m, "T", "G", q), q % 2 ? -1 : q);
    close_meta();
}
END_TEST

START_TEST(delay_cursors_read_back_as_set)
{
    open_meta();
    ck_assert_int_eq(metadata_delay(m, 1), 0);
    ck_assert_int_eq(metadata_delay_set(m, 1, 12), 0);
    ck_assert_int_eq(metadata_delay_set(m, DELAY_LEVELS_MAX, 5), 0);
    ck_assert_int_eq(metadata_delay_set(m, 0, 1), -EINVAL);
    ck_assert_int_eq(metadata_delay_set(m, -1, 1), -EINVAL);
    ck_assert_int_eq(metadata_delay_set(m, DELAY_LEVELS_MAX + 1, 1), -EINVAL);
    ck_assert_int_eq(metadata_delay_set(m, 3, -1), -EINVAL);
    ck_assert_int_eq(metadata_delay(m, 0), 0);
    ck_assert_int_eq(metadata_delay(m, DELAY_LEVELS_MAX + 1), 0);
    settle();
    kill_and_reopen();
    ck_assert_int_eq(metadata_delay(m, 1), 12);
    ck_assert_int_eq(metadata_delay(m, DELAY_LEVELS_MAX), 5);
    ck_assert_int_eq(metadata_delay(m, 2), 0);
    close_meta();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata_offsets");
    TCase *c = tcase_create("offsets");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, offsets_read_back_as_committed);
    tcase_add_test(c, queue_ids_have_bounds);
    tcase_add_test(c, none_for_a_queue_that_has_none_takes_no_room);
    tcase_add_test(c, nothing_is_allocated_once_the_entries_are_there);
    tcase_add_test(c, the_table_of_offsets_has_a_bound);
    tcase_add_test(c, each_offset_takes_filters);
    tcase_add_test(c, deleting_a_topic_or_group_can_drop_its_offsets);
    tcase_add_test(c, a_deletion_is_durable_only_with_its_drops);
    tcase_add_test(c, the_name_of_a_deleted_topic_is_taken_until_its_queues_are_gone);
    tcase_add_test(c, a_deletion_that_comes_during_a_sync_is_durable_only_with_its_drops);
    tcase_add_test(c, offsets_committed_after_a_drop_stay);
    tcase_add_test(c, dropped_pairs_give_their_room_back);
    tcase_add_test(c, a_topic_of_65536_queues_keeps_every_offset);
    tcase_add_test(c, delay_cursors_read_back_as_set);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
