/* test_store_scrub.c - queue entries that are wrong are put right from the log, readers wait for
 * that; and what an earlier process wrote is verified in the background. */
#include <signal.h>

#include "broker/store/store_internal.h"
#include "store_fixture.h"

static struct file_ops ops;
static _Atomic bool queues_full; /* no queue file takes a byte */

static ssize_t full_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (atomic_load(&queues_full) && file_is_in(fd, "/consumequeue/")) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync; /* nobody loses power here */
    ops.pwrite = full_pwrite;
    file_ops_set(&ops);
    options.scrub_bytes_s = 0;
}

static struct store_stats stats_now(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats;
}

static bool no_repair_waits(void)
{
    return stats_now().repairs_waiting == 0;
}

static bool scrubbed(void)
{
    return stats_now().scrubbed_to == stats_now().scrub_end;
}

enum { COUNT = 800, UNITS = 100, ENTRY = QUEUE_ENTRY_BYTES };

/* COUNT messages, 200 in each of 4 queues, whose files hold 100 entries; stopped. */
static void build(void)
{
    open_store();
    append_many(0, COUNT);
    ck_assert_int_eq(close_store(), 0);
}

static const char *queue_file(int queue_id, int number)
{
    char name[128];

    snprintf(name, sizeof(name), "consumequeue/Orders/%d/%020d", queue_id, number * UNITS * ENTRY);
    return in_dir(name);
}

static void put_bytes(const char *path, off_t at, const void *bytes, size_t n)
{
    int fd = open(path, O_RDWR);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
    close(fd);
}

static struct buf load_file(const char *path)
{
    struct buf content = {0};

    ck_assert_int_eq(file_load(path, 1 << 20, &content), 0);
    return content;
}

/* All files of the queues as they are; compare_files() looks whether they are that again. */
static struct buf kept[4][2];
static void keep_files(void)
{
    for (int q = 0; q < 4; q++) {
        for (int n = 0; n < 2; n++)
            kept[q][n] = load_file(queue_file(q, n));
    }
}
static void compare_files(void)
{
    for (int q = 0; q < 4; q++) {
        for (int n = 0; n < 2; n++) {
            struct buf now = load_file(queue_file(q, n));
            ck_assert_msg(bytes_equal(buf_bytes(&now), buf_bytes(&kept[q][n])),
                          "file %d of queue %d", n, q);
            buf_destroy(&now);
            buf_destroy(&kept[q][n]);
        }
    }
}

/* Reads a queue as consumers do: the numbers from `first` on, each where it belongs. */
static void expect_whole(int32_t queue_id)
{
    struct buf out = {0};
    int64_t offset = 0, waits = 0;

    while (offset < COUNT / 4) {
        struct store_got got = pull(topic, queue_id, offset, &out);
        if (got.status == STORE_GET_REPAIRING) {
            ck_assert_int_lt(++waits, 100);
            ck_assert(wait_until(no_repair_waits));
            continue;
        }
        ck_assert_int_eq(got.status, STORE_GET_FOUND);
        for (struct bytes left = buf_bytes(&out); left.len > 0; offset++) {
            struct record r;
            ck_assert_int_eq(record_decode(left, &r), 0);
            ck_assert_int_eq(r.queue_offset, offset);
            ck_assert_int_eq(number_in(&r), offset * 4 + queue_id);
            left = bytes_of(left.at + r.total_size, left.len - r.total_size);
        }
        ck_assert_int_eq(got.next_offset, offset);
        buf_reset(&out);
    }
    buf_destroy(&out);
}

/* Ways to spoil queue 1's files. */
static void flip_offset(void)
{
    spoil(queue_file(1, 0), 37 * ENTRY + 6, 0x10);
}
static void flip_size(void)
{
    spoil(queue_file(1, 0), 37 * ENTRY + 11, 0x40);
}
static void flip_tags(void)
{
    spoil(queue_file(1, 0), 37 * ENTRY + 19, 0x01);
}
static void make_negative(void)
{
    spoil(queue_file(1, 0), 37 * ENTRY, 0x80);
}
static void make_filler(void)
{
    static const uint8_t filler[ENTRY] = {[8] = 0x7F, 0xFF, 0xFF, 0xFF};
    put_bytes(queue_file(1, 0), 37 * ENTRY, filler, sizeof(filler));
}
static void zero_page(void)
{
    static const uint8_t zeroes[60 * ENTRY];
    put_bytes(queue_file(1, 1), 20 * ENTRY, zeroes, sizeof(zeroes));
}
static void zero_all(void)
{
    static const uint8_t zeroes[UNITS * ENTRY];
    put_bytes(queue_file(1, 0), 0, zeroes, sizeof(zeroes));
    put_bytes(queue_file(1, 1), 0, zeroes, sizeof(zeroes));
}
static void cut_short(void)
{
    ck_assert_int_eq(truncate(queue_file(1, 1), 777), 0);
}
static void remove_first(void)
{
    ck_assert_int_eq(unlink(queue_file(1, 0)), 0);
}
static void remove_last(void)
{
    ck_assert_int_eq(unlink(queue_file(1, 1)), 0);
}
static void remove_folder(void)
{
    remove_tree(in_dir("consumequeue/Orders/1"));
}
static void remove_topic(void)
{
    remove_tree(in_dir("consumequeue/Orders"));
    ck_assert_int_eq(file_mkdir(in_dir("consumequeue/Orders")), 0); /* else the whole log is read */
}
static void swap_files(void)
{
    ck_assert_int_eq(rename(queue_file(1, 0), in_dir("aside")), 0);
    ck_assert_int_eq(rename(queue_file(2, 1), queue_file(1, 0)), 0);
    ck_assert_int_eq(rename(in_dir("aside"), queue_file(2, 1)), 0);
}
static void (*const spoilers[])(void) = {
    flip_offset,  flip_size,   flip_tags,     make_negative, zero_page,  zero_all,   cut_short,
    remove_first, remove_last, remove_folder, remove_topic,  swap_files, make_filler};
enum { SPOILERS = sizeof(spoilers) / sizeof(spoilers[0]), FILLER = SPOILERS - 1 };

/* A filler says that there is nothing, so a reader steps over it. */
START_TEST(a_wrong_entry_is_repaired_when_a_reader_meets_it)
{
    build();
    spoilers[_i]();
    open_store(); /* a clean start: nothing of this is looked at */
    ck_assert_uint_eq(stats_now().records_recovered, 0);
    for (int32_t q = 0; q < 4; q++)
        expect_whole(q);
    ck_assert_uint_gt(stats_now().entries_mended, 0);
    ck_assert_uint_eq(stats_now().entries_given_up, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(the_scrub_repairs_what_nobody_reads)
{
    build();
    keep_files();
    spoilers[_i]();
    options.scrub_bytes_s = 1 << 30;
    open_store();
    ck_assert(wait_until(scrubbed));
    ck_assert_uint_gt(stats_now().scrub_problems, 0);
    ck_assert_uint_gt(stats_now().entries_mended, 0);
    ck_assert_uint_eq(stats_now().damaged_records, 0);
    compare_files();
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* The same after a crash, when queues are learnt from what is left of them. */
START_TEST(a_start_after_a_crash_gets_all_of_it_back)
{
    build();
    spoilers[_i]();
    ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    options.scrub_bytes_s = 1 << 30;
    open_store();
    ck_assert(wait_until(scrubbed));
    for (int32_t q = 0; q < 4; q++)
        expect_whole(q);
    struct store_position p = append(1, 4001);
    ck_assert_int_eq(p.queue_offset, COUNT / 4);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(derived_files_that_are_all_gone_come_back_whole)
{
    static const char *const names[] = {"checkpoint", "abort"};
    struct store_position p;

    build();
    keep_files();
    remove_tree(in_dir("consumequeue"));
    remove_tree(in_dir("index"));
    remove_tree(in_dir("tern"));
    remove_tree(in_dir("config"));
    for (size_t i = 0; i < 2; i++)
        unlink(in_dir(names[i]));
    open_store();
    for (int32_t q = 0; q < 4; q++)
        expect_whole(q);
    ck_assert_int_eq(close_store(), 0);
    compare_files();
    open_store();
    p = append(2, 4002);
    ck_assert_int_eq(p.queue_offset, COUNT / 4);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- those who wait --- */

static _Atomic int calls;
static _Atomic uint32_t called_queue;

static void on_waited(void *ctx, uint32_t loops, uint32_t queue, uint64_t log_end)
{
    (void)ctx;
    ck_assert_uint_eq(loops, 1u << 3);
    ck_assert_uint_le(log_end, store_confirmed(store));
    atomic_store(&called_queue, queue);
    atomic_fetch_add(&calls, 1);
}

static bool was_called(void)
{
    return atomic_load(&calls) > 0;
}

START_TEST(readers_wait_before_a_wrong_entry_and_are_called_when_it_is_right)
{
    struct buf out = {0};
    struct store_got got;
    uint32_t queue;

    build();
    flip_offset();
    queues_full = true; /* the repair cannot end */
    open_store();
    queue = store_queue(store, topic, 1);
    store_on_waited(store, on_waited, NULL);
    store_set_waiting(store, queue, 3, true);
    ck_assert_int_eq(pull(topic, 1, 37, &out).status, STORE_GET_REPAIRING);
    got = pull(topic, 1, 37, &out); /* and is waited for, as at the end of the queue */
    ck_assert_int_eq(got.status, STORE_GET_REPAIRING);
    ck_assert_int_eq(got.next_offset, 37);
    ck_assert_uint_eq(out.len, 0);
    got = pull(topic, 1, 30, &out); /* what is before it is served */
    ck_assert_int_eq(got.status, STORE_GET_FOUND);
    ck_assert_int_eq(got.messages, 7);
    ck_assert_int_eq(got.next_offset, 37);
    buf_reset(&out);
    got = pull(topic, 1, 38, &out); /* nobody gets past it */
    ck_assert_int_eq(got.status, STORE_GET_REPAIRING);
    got = pull(topic, 2, 37, &out); /* other queues are not concerned */
    ck_assert_int_eq(got.status, STORE_GET_FOUND);
    buf_reset(&out);
    ck_assert_uint_eq(stats_now().repairs_waiting, 1);
    ck_assert_int_eq(calls, 0);
    queues_full = false; /* within about a second it is tried again */
    ck_assert(wait_until(was_called));
    ck_assert_uint_eq(called_queue, queue);
    got = pull(topic, 1, 37, &out);
    ck_assert_int_eq(got.status, STORE_GET_FOUND);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(more_queues_than_can_wait_are_repaired_in_turn)
{
    struct topic_config config = {.read_queues = 100, .write_queues = 100, .perm = 6};
    struct store_position p = {0};
    struct buf out = {0};
    uint64_t sequence;

    open_store();
    ck_assert_int_eq(
        metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, 0, &sequence, NULL, &topic), 0);
    for (int32_t q = 0; q < 100; q++)
        p = append(q, q);
    store_write(store);
    ck_assert(wait_confirmed(p.log_end));
    ck_assert_int_eq(close_store(), 0);
    remove_tree(in_dir("consumequeue/Orders"));
    ck_assert_int_eq(file_mkdir(in_dir("consumequeue/Orders")), 0);
    queues_full = true;
    open_store();
    for (int32_t q = 0; q < 100; q++)
        ck_assert_int_eq(pull(topic, q, 0, &out).status, STORE_GET_REPAIRING);
    ck_assert_uint_eq(stats_now().repairs_waiting, STORE_REPAIRS_MAX);
    queues_full = false;
    for (int32_t q = 0; q < 100; q++) {
        while (pull(topic, q, 0, &out).status == STORE_GET_REPAIRING)
            ck_assert(wait_until(no_repair_waits));
    }
    ck_assert_uint_eq(stats_now().entries_mended, 100);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_store_with_a_repair_that_cannot_end_stops_at_once)
{
    struct buf out = {0};

    build();
    flip_offset();
    queues_full = true;
    open_store();
    ck_assert_int_eq(pull(topic, 1, 37, &out).status, STORE_GET_REPAIRING);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- what has no record --- */

START_TEST(an_entry_without_a_record_is_given_up_and_stays_so)
{
    struct buf out = {0};
    struct queue_entry e;
    struct store_got got;

    build();
    open_store();
    ck_assert_int_eq(store_entry(store, store_queue(store, topic, 1), 37, &e), 0);
    ck_assert_int_eq(close_store(), 0);
    spoil_log((uint64_t)e.log_offset + 23, 0x20); /* its queue offset */
    flip_offset();                                /* and nothing leads there any more */
    for (int starts = 0; starts < 2; starts++) {
        open_store();
        got = pull(topic, 1, 37, &out);
        if (starts == 0) {
            ck_assert_int_eq(got.status, STORE_GET_REPAIRING);
            ck_assert(wait_until(no_repair_waits));
            ck_assert_uint_eq(stats_now().entries_given_up, 1);
            ck_assert_uint_eq(stats_now().damaged_records, 1);
            got = pull(topic, 1, 37, &out);
        }
        ck_assert_int_eq(got.status, STORE_GET_FOUND);
        struct record r;
        ck_assert_int_eq(record_decode(buf_bytes(&out), &r), 0);
        ck_assert_int_eq(r.queue_offset, 38);
        buf_reset(&out);
        ck_assert_int_eq(read_queue(topic, 1, NULL, NULL), COUNT / 4 - 1);
        ck_assert_uint_eq(stats_now().entries_given_up, starts == 0);
        ck_assert_int_eq(close_store(), 0);
    }
    buf_destroy(&out);
}
END_TEST

/* It may be read again when whatever was wrong with the disk is not any more. */
START_TEST(an_entry_that_leads_into_damage_is_kept)
{
    struct queue_entry e, again;
    struct buf out = {0};

    build();
    open_store();
    ck_assert_int_eq(store_entry(store, store_queue(store, topic, 1), 37, &e), 0);
    ck_assert_int_eq(close_store(), 0);
    spoil_log((uint64_t)e.log_offset + 23, 0x20);
    open_store();
    ck_assert_int_eq(pull(topic, 1, 37, &out).status, STORE_GET_REPAIRING);
    ck_assert(wait_until(no_repair_waits));
    ck_assert_int_eq(read_queue(topic, 1, NULL, NULL), COUNT / 4 - 1);
    ck_assert_uint_eq(stats_now().entries_given_up, 0);
    ck_assert_int_eq(close_store(), 0);
    spoil_log((uint64_t)e.log_offset + 23, 0x20); /* whole again */
    open_store();
    ck_assert_int_eq(store_entry(store, store_queue(store, topic, 1), 37, &again), 0);
    ck_assert_int_eq(again.log_offset, e.log_offset);
    expect_whole(1);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- the scrub --- */

START_TEST(the_scrub_finds_damage_that_nobody_reads)
{
    struct store_position p[3];

    open_store();
    for (int i = 0; i < 3; i++) {
        append_many(i * 100, 100);
        p[i] = append(0, 1000 + i * 4);
    }
    ck_assert_int_eq(close_store(), 0);
    spoil_log(p[0].log_offset + 100, 1);
    spoil_log(p[1].log_offset + 16, 1); /* a flag: only the record's own checksum has it */
    spoil_log(p[2].log_offset + 3, 8);  /* the size */
    options.scrub_bytes_s = 1 << 30;
    open_store();
    ck_assert_uint_eq(stats_now().scrub_end, store_end(store));
    ck_assert(wait_until(scrubbed));
    ck_assert_uint_eq(stats_now().scrub_problems, 3);
    ck_assert_uint_eq(stats_now().damaged_records, 3);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(the_scrub_keeps_to_its_rate)
{
    build();
    options.scrub_bytes_s = 1; /* the first step is made at once, the next after a day */
    open_store();
    ck_assert_uint_gt(stats_now().scrub_end, 2 * 65536);
    while (stats_now().scrubbed_to == 0)
        sched_yield();
    ck_assert_uint_le(stats_now().scrubbed_to, 65536 + 400);
    ck_assert(!scrubbed());
    ck_assert_int_eq(close_store(), 0); /* which does not wait for it */
}
END_TEST

START_TEST(what_a_start_has_read_is_not_scrubbed_again)
{
    build();
    spoil_log(1000, 1);
    remove_tree(in_dir("tern"));
    options.scrub_bytes_s = 1;
    open_store();
    ck_assert(scrubbed());
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_uint_eq(stats_now().scrub_problems, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- the list of damaged places --- */

START_TEST(damaged_places_are_joined_and_found)
{
    uint64_t end;

    build();
    open_store();
    end = store_end(store);
    store_note_damage(store, 100, 200, "test");
    store_note_damage(store, 300, 400, "test");
    store_note_damage(store, 100, 200, "test"); /* known */
    ck_assert_uint_eq(stats_now().damaged_records, 2);
    ck_assert(!store_is_damaged(store, 0, 100));
    ck_assert(store_is_damaged(store, 0, 101));
    ck_assert(store_is_damaged(store, 199, 200));
    ck_assert(!store_is_damaged(store, 200, 300));
    ck_assert(store_is_damaged(store, 200, 301));
    ck_assert(!store_is_damaged(store, 400, end));
    store_note_damage(store, 200, 300, "test"); /* between: all one */
    ck_assert_uint_eq(store->damage.count, 1);
    ck_assert(store_is_damaged(store, 250, 251));
    store_note_damage(store, 50, 500, "test"); /* around */
    ck_assert_uint_eq(store->damage.count, 1);
    ck_assert(store_is_damaged(store, 60, 61));
    for (uint64_t i = 0; i < STORE_DAMAGE_MAX + 10; i++) /* more are counted, not remembered */
        store_note_damage(store, 1000 + i * 2, 1001 + i * 2, "test");
    ck_assert_uint_eq(store->damage.count, STORE_DAMAGE_MAX);
    ck_assert(store_is_damaged(store, 1000, 1001));
    ck_assert(!store_is_damaged(store, 1001, 1002));
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static Suite *scrub_suite(void)
{
    Suite *suite = suite_create("store scrub");
    TCase *repairs = tcase_create("repairs"), *scrub = tcase_create("scrub");

    tcase_add_checked_fixture(repairs, begin, fixture_end);
    tcase_add_checked_fixture(scrub, begin, fixture_end);
    suite_add_tcase(suite, repairs);
    suite_add_tcase(suite, scrub);
    tcase_add_loop_test(repairs, a_wrong_entry_is_repaired_when_a_reader_meets_it, 0, FILLER);
    tcase_add_loop_test(repairs, the_scrub_repairs_what_nobody_reads, 0, SPOILERS);
    tcase_add_loop_test(repairs, a_start_after_a_crash_gets_all_of_it_back, 0, SPOILERS);
    tcase_add_test(repairs, derived_files_that_are_all_gone_come_back_whole);
    tcase_add_test(repairs, readers_wait_before_a_wrong_entry_and_are_called_when_it_is_right);
    tcase_add_test(repairs, more_queues_than_can_wait_are_repaired_in_turn);
    tcase_add_test(repairs, a_store_with_a_repair_that_cannot_end_stops_at_once);
    tcase_add_test(repairs, an_entry_without_a_record_is_given_up_and_stays_so);
    tcase_add_test(repairs, an_entry_that_leads_into_damage_is_kept);
    tcase_add_test(scrub, the_scrub_finds_damage_that_nobody_reads);
    tcase_add_test(scrub, the_scrub_keeps_to_its_rate);
    tcase_add_test(scrub, what_a_start_has_read_is_not_scrubbed_again);
    tcase_add_test(scrub, damaged_places_are_joined_and_found);
    return suite;
}

UNIT_MAIN(scrub_suite)
