/* test_store_read.c - pulls, single records, searches by time: what is found, how much of it, and
 * what is answered when there is nothing. */
#include "store_fixture.h"

#include "broker/store/store_internal.h"

static struct store_found found; /* of the last find() */
static struct file_ops ops;

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
}

static struct store_got find(struct store_get get)
{
    store_find(store, &get, &found);
    return found.got;
}

static struct store_get from(int32_t queue_id, int64_t offset)
{
    return (struct store_get){.queue = store_queue(store, topic, queue_id),
                              .offset = offset,
                              .max_messages = 32,
                              .may_block = true};
}

static void append_to(int32_t queue_id, int64_t count, size_t size)
{
    struct store_position p;

    for (int64_t i = 0; i < count; i++) {
        ck_assert_int_eq(append_sized(queue_id, i * 4 + queue_id, size, &p), 0);
        if (i % 8 == 7)
            store_write(store);
    }
    store_write(store);
}

/* --- which messages --- */

START_TEST(every_offset_has_its_answer)
{
    static const struct {
        int64_t offset;
        enum store_get_status status;
        int64_t next;
        int messages;
    } rows[] = {
        {0, STORE_GET_FOUND, 10, 10},
        {9, STORE_GET_FOUND, 10, 1},
        {10, STORE_GET_AT_END, 10, 0},
        {11, STORE_GET_BEYOND_END, 10, 0},
        {INT64_MAX, STORE_GET_BEYOND_END, 10, 0},
        {-1, STORE_GET_TOO_SMALL, 0, 0},
    };
    struct store_got got;

    open_store();
    append_to(1, 10, 100);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        got = find(from(1, rows[i].offset));
        ck_assert_int_eq(got.status, rows[i].status);
        ck_assert_int_eq(got.next_offset, rows[i].next);
        ck_assert_int_eq(got.messages, rows[i].messages);
        ck_assert_int_eq(got.min, 0);
        ck_assert_int_eq(got.max, 10);
    }
    got = find(from(0, 5));
    ck_assert_int_eq(got.status, STORE_GET_EMPTY);
    ck_assert_int_eq(got.next_offset, 0);
    got = find(from(3, 5));
    ck_assert_int_eq(got.status, STORE_GET_NO_QUEUE);
    ck_assert_int_eq(got.next_offset, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_pull_takes_no_more_than_its_bounds)
{
    struct store_get get;
    struct store_got got;

    open_store();
    append_to(0, 100, 100);
    append_to(1, 40, 16000);
    get = from(0, 0);
    get.max_messages = 1000;
    ck_assert_int_eq(find(get).messages, 32); /* near the head: 32 messages */
    get.max_messages = 5;
    ck_assert_int_eq(find(get).messages, 5);
    ck_assert_int_eq(found.got.next_offset, 5);
    get.max_messages = 0;
    ck_assert_int_eq(find(get).messages, 1); /* the first one always */

    get = from(1, 0);
    got = find(get); /* 262,144 bytes */
    ck_assert_int_eq(got.messages, 262144 / found.entries[0].size);
    ck_assert_uint_le(got.bytes, 262144);

    get.max_bytes = 40000;
    ck_assert_int_eq(find(get).messages, 2);
    get.max_bytes = 10;
    ck_assert_int_eq(find(get).messages, 1);
    get = from(0, 0);
    get.max_bytes = 1 << 20;
    get.max_messages = 70;
    ck_assert_int_eq(find(get).messages, 70);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_pull_from_far_behind_takes_less)
{
    open_store();
    append_to(0, 40, 100);
    append_to(1, 10, 16000);
    append_to(2, 200, 16000);
    ck_assert_int_eq(find(from(0, 0)).messages, 32);
    ck_assert(!found.got.far_behind);
    store->far_bytes = 1000000;
    ck_assert_int_eq(find(from(0, 0)).messages, 8);
    ck_assert(found.got.far_behind);
    ck_assert_int_eq(find(from(1, 0)).messages, 65536 / found.entries[0].size);
    ck_assert_int_eq(find(from(2, 190)).messages, 10);
    ck_assert(!found.got.far_behind);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

struct wanted {
    int64_t code;
    int asked;
};

static bool is_wanted(void *ctx, int64_t tags_code)
{
    struct wanted *w = ctx;

    w->asked++;
    return tags_code == w->code;
}

START_TEST(a_filter_passes_over_what_does_not_match)
{
    struct wanted wanted = {.code = 7};
    struct store_got got;
    struct store_get get;

    open_store();
    for (int i = 0; i < 3000; i++) {
        struct store_position p;
        struct store_message m = message(0, "x", 1);
        m.tags_code = i == 900 || i == 905 || i == 2999 ? 7 : 8;
        ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
        if (i % 64 == 0)
            store_write(store);
    }
    store_write(store);
    get = from(0, 0);
    get.filter = (struct store_filter){is_wanted, &wanted};
    got = find(get); /* 16,000 bytes of entries are looked at */
    ck_assert_int_eq(got.status, STORE_GET_NO_MATCH);
    ck_assert_int_eq(wanted.asked, 800);
    ck_assert_int_eq(got.next_offset, 800);
    get.offset = 800;
    got = find(get);
    ck_assert_int_eq(got.status, STORE_GET_FOUND);
    ck_assert_int_eq(got.messages, 2);
    ck_assert_int_eq(found.first_offset[0], 900);
    ck_assert_int_eq(found.first_offset[1], 905);
    ck_assert_int_eq(got.next_offset, 1600);
    get.offset = 0;
    get.max_messages = 2000; /* or as many entries as messages are wanted */
    ck_assert_int_eq(find(get).next_offset, 2000);
    get.max_messages = 1;
    get.offset = 850;
    ck_assert_int_eq(find(get).messages, 1);
    ck_assert_int_eq(found.got.next_offset, 901);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(messages_whose_segment_is_gone_are_removed)
{
    struct store_got got;
    int64_t first;

    open_store();
    append_to(0, 2000, 100);
    ck_assert_int_eq(close_store(), 0);
    for (uint64_t base = 0; base < 4 * 65536; base += 65536)
        ck_assert_int_eq(unlink(segment_path(base)), 0);
    open_store();
    ck_assert_uint_eq(store_min(store), 4 * 65536);
    got = find(from(0, 800)); /* here some are gone and others not */
    ck_assert_int_eq(got.status, STORE_GET_FOUND);
    ck_assert_int_eq(found.entries[0].log_offset, 4 * 65536);
    first = found.first_offset[0];
    ck_assert_int_eq(store_time_at(store, found.queue, 800), -1);
    ck_assert_int_gt(store_earliest_ms(store), 0);
    got = find(from(0, 0)); /* and here all, as far as one look goes */
    ck_assert_int_eq(got.status, STORE_GET_REMOVED);
    ck_assert_int_eq(got.next_offset, first);
    ck_assert_int_eq(store_range(store, found.queue).min, first);
    ck_assert_int_eq(store_offset_by_time(store, found.queue, 0, STORE_LOWER), first);
    ck_assert_int_eq(store_offset_by_time(store, found.queue, 0, STORE_UPPER), first);
    ck_assert_int_eq(store_offset_by_time(store, found.queue, 0, STORE_NEAREST), first);
    ck_assert_int_eq(store_offset_by_time(store, found.queue, INT64_MAX, STORE_UPPER), 1999);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- their bytes --- */

static _Atomic bool nothing_cached;

static ssize_t cold_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    if (nothing_cached && (flags & RWF_NOWAIT)) {
        errno = EAGAIN;
        return -1;
    }
    return preadv2(fd, iov, n, at, flags);
}

START_TEST(a_fill_that_would_block_adds_nothing)
{
    struct buf out = {0};
    int64_t bad = -1;

    ops.preadv2 = cold_preadv2;
    file_ops_set(&ops);
    open_store();
    append_to(0, 100, 100);
    append_to(1, 100, 16000); /* pushes the first ones out of the memory tail */
    ck_assert_int_eq(close_store(), 0);
    open_store();
    buf_add_str(&out, "head");
    ck_assert_int_eq(find(from(0, 0)).messages, 32);
    nothing_cached = true;
    ck_assert_int_eq(store_fill(store, &found, &out, false, &bad), STORE_WOULD_BLOCK);
    ck_assert(bytes_is(buf_bytes(&out), "head"));
    ck_assert_int_eq(store_fill(store, &found, &out, true, &bad), 0);
    ck_assert_uint_eq(out.len, 4 + found.got.bytes);

    struct store_get get = from(0, 50);
    get.may_block = false;
    ck_assert_int_eq(find(get).status, STORE_GET_WOULD_BLOCK); /* entries are in files too */
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(the_newest_messages_come_from_memory)
{
    struct buf out = {0};
    int64_t bad = -1;

    ops.preadv2 = cold_preadv2;
    file_ops_set(&ops);
    nothing_cached = true;
    open_store();
    append_to(0, 30, 100);
    struct store_get get = from(0, 0);
    get.may_block = false;
    ck_assert_int_eq(find(get).messages, 30);
    ck_assert_int_eq(store_fill(store, &found, &out, false, &bad), 0);
    ck_assert_uint_eq(out.len, found.got.bytes);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static bool no_repair_waits(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats.repairs_waiting == 0;
}

START_TEST(an_entry_that_leads_elsewhere_is_not_followed)
{
    struct buf out = {0};
    int64_t bad = -1;

    open_store();
    append_to(0, 20, 100);
    append_to(1, 20, 100);
    for (int field = 0; field < 4; field++) {
        ck_assert(wait_until(no_repair_waits));
        ck_assert_int_eq(find(from(0, 0)).messages, 20);
        if (field == 0)
            found.entries[7].log_offset += 4;
        else if (field == 1)
            found.entries[7].size -= 1;
        else if (field == 2)
            found.first_offset[7] += 1;
        else
            found.queue = store_queue(store, topic, 1);
        ck_assert_int_eq(store_fill(store, &found, &out, true, &bad), STORE_REPAIRING);
        ck_assert_int_eq(bad, field == 3 ? 0 : field == 2 ? 8 : 7);
        ck_assert_uint_eq(out.len, 0);
    }
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(messages_far_apart_in_the_log_are_put_together)
{
    struct buf out = {0};
    int64_t bad = -1, next = 0;

    open_store();
    append_many(0, 120);
    struct store_get get = from(0, 0);
    ck_assert_int_eq(find(get).messages, 30);
    ck_assert_int_eq(store_fill(store, &found, &out, true, &bad), 0);
    for (struct bytes left = buf_bytes(&out); left.len > 0;) {
        struct record r;
        ck_assert_int_eq(record_decode(left, &r), 0);
        check_number(&r, &next);
        left = bytes_of(left.at + r.total_size, left.len - r.total_size);
    }
    ck_assert_int_eq(next, 120);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- single records --- */

START_TEST(a_record_is_read_only_from_where_it_begins)
{
    struct buf out = {0};
    struct record r;
    struct store_position p, next;

    open_store();
    p = append(0, 0);
    next = append(1, 1);
    store_write(store);
    buf_add_str(&out, "x");
    for (uint64_t at = p.log_offset; at < next.log_end + 100; at++) {
        int expected = at == p.log_offset || at == next.log_offset ? 0 : -ENOENT;
        out.len = 1;
        ck_assert_int_eq(store_read_record(store, at, &out, &r), expected);
        if (expected != 0)
            ck_assert_uint_eq(out.len, 1);
        else
            ck_assert_int_eq(number_in(&r), at == p.log_offset ? 0 : 1);
    }
    ck_assert_int_eq(store_read_record(store, UINT64_MAX, &out, &r), -ENOENT);
    buf_destroy(&out);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(entries_are_given_out_only_inside_the_queue)
{
    struct queue_entry e;
    struct store_position p;

    open_store();
    append(0, 0);
    p = append(0, 4);
    store_write(store);
    uint32_t queue = store_queue(store, topic, 0);
    ck_assert_int_eq(store_entry(store, queue, 1, &e), 0);
    ck_assert_int_eq(e.log_offset, (int64_t)p.log_offset);
    ck_assert_int_eq(e.size, (int32_t)(p.log_end - p.log_offset));
    ck_assert_int_eq(e.tags_code, 2598919);
    ck_assert_int_eq(store_entry(store, queue, 2, &e), -ENOENT);
    ck_assert_int_eq(store_entry(store, queue, -1, &e), -ENOENT);
    ck_assert_int_eq(store_entry(store, QUEUE_NONE, 0, &e), -ENOENT);
    ck_assert_int_eq(store_time_at(store, queue, 1), p.store_ms);
    ck_assert_int_eq(store_time_at(store, queue, 2), -1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- by time --- */

static int64_t times[6]; /* store times of queue 0's messages: two each at three moments */

static void append_at_three_moments(void)
{
    for (int moment = 0; moment < 3; moment++) {
        struct store_position p;
        /* Both in one batch, so that their time is the same; then until the clock has moved by 4.
         */
        struct store_message two[2] = {message(0, "a", 1), message(0, "b", 1)};
        struct store_position both[2];
        two[0].born_host.v6 = moment == 1; /* the store time stands elsewhere then */
        ck_assert_int_eq(store_append(store, two, 2, both, NULL), 0);
        p = both[0];
        times[2 * moment] = times[2 * moment + 1] = p.store_ms;
        while (clock_wall_ms() < p.store_ms + 4)
            ;
    }
    store_write(store);
}

START_TEST(time_finds_the_queue_offset)
{
    open_store();
    append(1, 1);
    append_at_three_moments();
    uint32_t queue = store_queue(store, topic, 0);
    int64_t t0 = times[0], t1 = times[2], t2 = times[4];
    const struct {
        int64_t ms;
        int64_t nearest, lower, upper;
    } rows[] = {
        {0, 0, 0, 0},  {t0 - 1, 0, 0, 0}, {t0, 0, 0, 1}, {t0 + 1, 1, 2, 1}, {t1 - 1, 2, 2, 1},
        {t1, 2, 2, 3}, {t2 - 1, 4, 4, 3}, {t2, 4, 4, 5}, {t2 + 1, 5, 6, 5}, {INT64_MAX, 5, 6, 5},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_int_eq(store_offset_by_time(store, queue, rows[i].ms, STORE_NEAREST),
                         rows[i].nearest);
        ck_assert_int_eq(store_offset_by_time(store, queue, rows[i].ms, STORE_LOWER),
                         rows[i].lower);
        ck_assert_int_eq(store_offset_by_time(store, queue, rows[i].ms, STORE_UPPER),
                         rows[i].upper);
    }
    if ((t1 - t0) % 2 == 0) /* as near to both: the earlier */
        ck_assert_int_eq(store_offset_by_time(store, queue, (t0 + t1) / 2, STORE_NEAREST), 1);
    for (int64_t i = 0; i < 6; i++)
        ck_assert_int_eq(store_time_at(store, queue, i), times[i]);
    ck_assert_int_le(store_earliest_ms(store), t0);
    ck_assert_int_eq(store_offset_by_time(store, QUEUE_NONE, t0, STORE_NEAREST), 0);
    ck_assert_int_eq(store_offset_by_time(store, store_queue(store, topic, 2), t0, STORE_UPPER), 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_search_by_time_steps_over_damage)
{
    struct queue_entry e;

    open_store();
    append_at_three_moments();
    ck_assert_int_eq(store_entry(store, store_queue(store, topic, 0), 2, &e), 0);
    ck_assert_int_eq(close_store(), 0);
    spoil_log((uint64_t)e.log_offset + 4, 0xFF);
    open_store();
    uint32_t queue = store_queue(store, topic, 0);
    if (store_range(store, queue).max == 6) {
        ck_assert_int_eq(store_time_at(store, queue, 2), -1);
        ck_assert_int_eq(store_offset_by_time(store, queue, times[4], STORE_LOWER), 4);
        ck_assert_int_eq(store_offset_by_time(store, queue, times[0], STORE_LOWER), 0);
    }
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static Suite *read_suite(void)
{
    Suite *suite = suite_create("store reading");
    TCase *pulls = tcase_create("pulls"), *single = tcase_create("single"),
          *time = tcase_create("time");
    TCase *cases[] = {pulls, single, time};

    for (int i = 0; i < 3; i++) {
        tcase_add_checked_fixture(cases[i], begin, fixture_end);
        tcase_set_timeout(cases[i], 120);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_test(pulls, every_offset_has_its_answer);
    tcase_add_test(pulls, a_pull_takes_no_more_than_its_bounds);
    tcase_add_test(pulls, a_pull_from_far_behind_takes_less);
    tcase_add_test(pulls, a_filter_passes_over_what_does_not_match);
    tcase_add_test(pulls, messages_whose_segment_is_gone_are_removed);
    tcase_add_test(pulls, a_fill_that_would_block_adds_nothing);
    tcase_add_test(pulls, the_newest_messages_come_from_memory);
    tcase_add_test(pulls, an_entry_that_leads_elsewhere_is_not_followed);
    tcase_add_test(pulls, messages_far_apart_in_the_log_are_put_together);
    tcase_add_test(single, a_record_is_read_only_from_where_it_begins);
    tcase_add_test(single, entries_are_given_out_only_inside_the_queue);
    tcase_add_test(time, time_finds_the_queue_offset);
    tcase_add_test(time, a_search_by_time_steps_over_damage);
    return suite;
}

UNIT_MAIN(read_suite)
