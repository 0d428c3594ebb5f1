/* The ledger of queues: found again by name, runs of deviations put together; sizes that most files
 * share. */
#include "tools/queue_ledger.h"

#include <errno.h>
#include <stdio.h>

#include "tools/store_layout.h"
#include "unit.h"

static struct queue_ledger l;

START_TEST(queues_are_found_again_by_topic_and_id)
{
    struct ledger_topic *topic, *again;
    struct ledger_queue *queue;
    char name[16];

    queue_ledger_init(&l, 42);
    for (int t = 0; t < 300; t++) {
        snprintf(name, sizeof(name), "T%d", t);
        ck_assert_int_eq(queue_ledger_topic(&l, bytes_str(name), true, &topic), 0);
        for (int id = 0; id < 5; id++) {
            ck_assert_int_eq(queue_ledger_queue(&l, topic, id, true, &queue), 0);
            queue->records = (uint64_t)(t * 10 + id);
        }
    }
    ck_assert_uint_eq(l.topic_count, 300);
    ck_assert_uint_eq(l.queue_count, 1500);
    for (int t = 299; t >= 0; t--) {
        snprintf(name, sizeof(name), "T%d", t);
        ck_assert_int_eq(queue_ledger_topic(&l, bytes_str(name), false, &again), 0);
        ck_assert_str_eq(again->name, name);
        for (int id = 4; id >= 0; id--) {
            ck_assert_int_eq(queue_ledger_queue(&l, again, id, false, &queue), 0);
            ck_assert_uint_eq(queue->records, (uint64_t)(t * 10 + id));
            ck_assert_int_eq(queue->next, -1);
        }
    }
    ck_assert_int_eq(queue_ledger_queue(&l, again, 5, false, &queue), -ENOENT);
    ck_assert_int_eq(queue_ledger_topic(&l, BYTES_LIT("none"), false, &again), -ENOENT);
    queue_ledger_destroy(&l);
}
END_TEST

START_TEST(entries_that_deviate_in_a_row_are_one_run)
{
    struct queue_entry found = {500, 10, 1}, wanted = {400, 10, 1};
    struct entry_run run = {.kind = RUN_NONE};

    ck_assert(entry_run_note(&run, RUN_MISSING, 7, 400, NULL, &wanted));
    ck_assert(entry_run_note(&run, RUN_MISSING, 8, 410, NULL, &wanted));
    ck_assert_int_eq(run.first, 7);
    ck_assert_int_eq(run.last, 8);
    ck_assert_uint_eq(run.log_offset, 400);
    /* a hole, and another kind, end it */
    ck_assert(!entry_run_note(&run, RUN_MISSING, 10, 430, NULL, &wanted));
    ck_assert(!entry_run_note(&run, RUN_WRONG, 9, 420, &found, &wanted));
    entry_run_clear(&run);
    ck_assert(entry_run_note(&run, RUN_WRONG, 9, 420, &found, &wanted));
    ck_assert_int_eq(run.found.log_offset, 500);
}
END_TEST

START_TEST(the_size_of_most_files_wins_and_of_equals_the_larger)
{
    struct size_poll p = {.kinds = 0};

    ck_assert_int_eq(size_poll_winner(&p), 0);
    size_poll_add(&p, 100);
    size_poll_add(&p, 300);
    ck_assert_int_eq(size_poll_winner(&p), 300);
    size_poll_add(&p, 100);
    ck_assert_int_eq(size_poll_winner(&p), 100);
    for (int64_t size = 1000; size < 1100; size++)
        size_poll_add(&p, size); /* more kinds than are told apart */
    ck_assert_int_eq(size_poll_winner(&p), 100);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_ledger");
    TCase *c = tcase_create("queue_ledger");

    tcase_add_test(c, queues_are_found_again_by_topic_and_id);
    tcase_add_test(c, entries_that_deviate_in_a_row_are_one_run);
    tcase_add_test(c, the_size_of_most_files_wins_and_of_equals_the_larger);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
