/* test_store_follow.c - a slave's store takes another broker's log, and nothing that is not part of
 * it; the veil with a limit from outside. */
#include "store_fixture.h"

#include "broker/store/metadata_record.h"
#include "broker/store/store_internal.h"

enum { MESSAGES = 2000, SEGMENT = 65536 };

static uint8_t *log_bytes; /* the master's, from 0 on */
static uint64_t log_end;
static struct err err;

static void append_numbers(int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        struct store_position p;

        ck_assert_int_eq(append_sized((int32_t)(i % 4), i, 20 + (size_t)(i * 37 % 3000), &p), 0);
        if (i % 16 == 15)
            store_write(store);
    }
    store_write(store);
}

/* Ends the master; its whole segments from `dir` are log_bytes. */
static void take_log(void)
{
    uint64_t at = 0;

    log_end = store_end(store);
    ck_assert(wait_confirmed(log_end));
    ck_assert_int_eq(close_store(), 0);
    free(log_bytes);
    log_bytes = calloc(1, (size_t)log_end + SEGMENT);
    ck_assert_ptr_nonnull(log_bytes);
    for (; at < log_end; at += SEGMENT) {
        char name[64];
        int fd;

        snprintf(name, sizeof(name), "commitlog/%020llu", (unsigned long long)at);
        fd = file_open(in_dir(name), O_RDONLY, 0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_read_all(fd, log_bytes + at, SEGMENT, 0), 0);
        file_close(fd);
    }
    remove_tree(dir);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
}

/* The log of a master with MESSAGES messages in four queues. */
static void make_log(void)
{
    open_store();
    append_numbers(0, MESSAGES);
    take_log();
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void begin(void)
{
    static struct file_ops ops;

    fixture_begin();
    ops = file_ops_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync; /* nobody loses power here */
    file_ops_set(&ops);
    make_log();
    options.follower = true;
}

static void end(void)
{
    free(log_bytes);
    log_bytes = NULL;
    fixture_end();
}

static void open_follower(void)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};

    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    ck_assert_msg(store_open(&store, &options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(metadata_start(metadata, &err), 0);
}

/* Feeds [store_follow_end, to) in pieces of at most `piece` bytes, as a socket would give them. */
static void feed(uint64_t to, size_t piece)
{
    uint64_t have = store_follow_end(store); /* received */
    uint32_t seed = 1;

    while (have < to) {
        uint64_t at = store_follow_end(store);
        size_t taken, more;

        seed = seed * 1103515245u + 12345u;
        more = 1 + (seed >> 8) % piece;
        have = have + more < to ? have + more : to;
        ck_assert_msg(store_follow(store, at, bytes_of(log_bytes + at, have - at), &taken, &err) ==
                          0,
                      "%s", err.text);
        ck_assert_uint_le(store_follow_end(store), have);
        ck_assert_uint_ge(store_follow_end(store), at);
    }
}

static void expect_all(int64_t messages)
{
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_ptr_nonnull(topic);
    ck_assert(wait_confirmed(store_end(store)));
    expect_numbers(messages);
}

static void expect_same_bytes(void)
{
    uint8_t *copy = malloc(SEGMENT);

    ck_assert_ptr_nonnull(copy);
    for (uint64_t at = 0; at < log_end; at += SEGMENT) {
        char name[64];
        int fd;

        snprintf(name, sizeof(name), "commitlog/%020llu", (unsigned long long)at);
        fd = file_open(in_dir(name), O_RDONLY, 0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_read_all(fd, copy, SEGMENT, 0), 0);
        file_close(fd);
        ck_assert_msg(memcmp(copy, log_bytes + at, SEGMENT) == 0, "segment %s differs", name);
    }
    free(copy);
}

/* --- taking --- */

START_TEST(a_log_in_pieces_becomes_the_same_log_with_the_same_queues)
{
    open_follower();
    feed(log_end, 5000);
    ck_assert_uint_eq(store_follow_end(store), log_end);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
    expect_same_bytes();
}
END_TEST

START_TEST(large_pieces_and_single_bytes_are_the_same)
{
    open_follower();
    feed(SEGMENT + 3000, 1);
    feed(log_end, 10 << 20);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
    expect_same_bytes();
}
END_TEST

START_TEST(a_follower_goes_on_after_a_stop_where_it_was)
{
    for (uint64_t to = log_end / 7; to < log_end; to += log_end / 7) {
        open_follower();
        feed(to, 9000);
        ck_assert_int_eq(close_store(), 0);
    }
    open_follower();
    feed(log_end, 9000);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
    expect_same_bytes();
}
END_TEST

START_TEST(a_follower_that_leads_appends_where_the_log_ended)
{
    struct store_position p;
    size_t taken;

    open_follower();
    feed(log_end, 30000);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_int_eq(append_sized(0, MESSAGES, 100, &p), STORE_CLOSED);
    store_lead(store);
    ck_assert_int_eq(store_follow(store, log_end, bytes_of(log_bytes, 100), &taken, &err), -EPERM);
    append_many(MESSAGES, 400);
    expect_all(MESSAGES + 400);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* Where the first segment of the master's log is blank. */
static uint64_t first_blank(void)
{
    uint64_t at = 0;

    while (load_be32(log_bytes + at + 4) != RECORD_MAGIC_BLANK)
        at += load_be32(log_bytes + at);
    return at;
}

/* Another follower has the blank rest of the segment too: a small record must not come there. */
START_TEST(who_followed_a_blank_rest_leads_from_the_next_segment_on)
{
    uint64_t blank = first_blank();
    struct store_position p;
    size_t taken;
    int64_t count = 0;

    open_follower();
    feed(blank, 30000);
    ck_assert_uint_eq(store_follow_end(store), blank);
    ck_assert_int_eq(
        store_follow(store, blank, bytes_of(log_bytes + blank, SEGMENT - blank - 1), &taken, &err),
        0);
    ck_assert_uint_eq(taken, 0);
    ck_assert_int_eq(
        store_follow(store, blank, bytes_of(log_bytes + blank, SEGMENT - blank), &taken, &err), 0);
    ck_assert_uint_eq(taken, SEGMENT - blank);
    ck_assert_uint_eq(store_follow_end(store), SEGMENT);
    ck_assert_uint_eq(store_written(store), SEGMENT);
    store_lead(store);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    for (int32_t q = 0; q < 4; q++)
        count += store_range(store, store_queue(store, topic, q)).max;
    ck_assert_int_eq(append_sized((int32_t)(count % 4), count, 20, &p), 0);
    ck_assert_uint_eq(p.log_offset, SEGMENT);
    store_write(store);
    expect_all(count + 1);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    ck_assert_uint_eq(store_end(store), p.log_end);
    expect_all(count + 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(who_stops_behind_a_blank_rest_goes_on_there)
{
    open_follower();
    feed(SEGMENT, 30000);
    ck_assert_uint_eq(store_follow_end(store), SEGMENT);
    ck_assert_int_eq(close_store(), 0);
    open_follower();
    ck_assert_uint_eq(store_follow_end(store), SEGMENT);
    feed(log_end, 30000);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
    expect_same_bytes();
}
END_TEST

/* A part of a record that has come is not the log's. */
START_TEST(who_leads_in_the_middle_of_a_record_appends_before_it)
{
    struct store_position p;
    uint64_t at;
    size_t taken;

    open_follower();
    feed(log_end / 2, 30000);
    at = store_follow_end(store);
    ck_assert_int_eq(store_follow(store, at,
                                  bytes_of(log_bytes + at, load_be32(log_bytes + at) - 1), &taken,
                                  &err),
                     0);
    ck_assert_uint_eq(taken, 0);
    store_lead(store);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    int64_t next = store_range(store, store_queue(store, topic, 0)).max;
    ck_assert_int_eq(append_sized(0, 4 * next, 100, &p), 0);
    ck_assert_uint_eq(p.log_offset, at);
    ck_assert_int_eq(p.queue_offset, next);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- roles at run time --- */

enum { APPENDERS = 3 };
static _Atomic int64_t accepted; /* one past the last byte that an append was told of */

static void *append_until_closed(void *arg)
{
    int32_t queue = *(int32_t *)arg;
    struct store_position p;
    int r;

    while ((r = append_sized(queue, 0, 100, &p)) == 0 || r == STORE_BUSY) {
        int64_t seen = atomic_load(&accepted);

        if (r == STORE_BUSY)
            continue;
        while (seen < (int64_t)p.log_end &&
               !atomic_compare_exchange_weak(&accepted, &seen, (int64_t)p.log_end))
            ;
        store_write(store);
    }
    ck_assert_int_eq(r, STORE_CLOSED);
    return NULL;
}

static bool all_at_it(void)
{
    return store_end(store) > 40000;
}

START_TEST(after_writes_are_closed_nothing_is_appended_and_all_is_written)
{
    struct store_position p;
    uint64_t closed;

    options.follower = false;
    open_store();
    atomic_store(&accepted, 0);
    for (int round = 0; round < 20; round++) {
        pthread_t threads[APPENDERS];
        int32_t queues[APPENDERS];

        for (int i = 0; i < APPENDERS; i++) {
            queues[i] = i;
            ck_assert_int_eq(pthread_create(&threads[i], NULL, append_until_closed, &queues[i]), 0);
        }
        ck_assert(wait_until(all_at_it));
        ck_assert_int_eq(store_close_writes(store), 0);
        closed = store_written(store);
        ck_assert_uint_eq(store_end(store), closed);
        ck_assert(store_is_follower(store));
        for (int i = 0; i < APPENDERS; i++)
            pthread_join(threads[i], NULL);
        ck_assert_uint_eq(store_end(store), closed);
        ck_assert_uint_eq((uint64_t)atomic_load(&accepted), closed);
        ck_assert_int_eq(append_sized(0, 0, 100, &p), STORE_CLOSED);
        store_lead(store);
    }
    ck_assert_int_eq(append_sized(0, 0, 100, &p), 0);
    ck_assert(p.log_offset == closed ||
              (p.log_offset % SEGMENT == 0 && p.log_offset - closed < SEGMENT));
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(who_has_closed_its_writes_can_follow_and_lead_again)
{
    uint64_t half;

    open_follower();
    feed(log_end / 2, 30000);
    store_lead(store);
    ck_assert_int_eq(store_close_writes(store), 0);
    half = store_follow_end(store);
    ck_assert_uint_eq(store_written(store), half);
    feed(log_end, 30000);
    store_lead(store);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    append_many(MESSAGES, 40);
    ck_assert_int_eq(store_close_writes(store), 0);
    expect_all(MESSAGES + 40);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- where a log begins --- */

START_TEST(an_empty_follower_may_begin_at_any_segment)
{
    uint64_t from = 3 * SEGMENT;

    open_follower();
    ck_assert_int_eq(store_begin_at(store, from + 1, &err), -EINVAL);
    ck_assert_int_eq(store_begin_at(store, from, &err), 0);
    ck_assert_uint_eq(store_follow_end(store), from);
    feed(log_end, 9000);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert(wait_confirmed(log_end));
    for (int32_t q = 0; q < 4; q++) {
        struct queue_range range = store_range(store, store_queue(store, topic, q));

        ck_assert_int_eq(range.max, MESSAGES / 4);
        ck_assert_int_gt(range.min, 0);
        ck_assert_int_eq(read_queue(topic, q, NULL, NULL), range.max - range.min);
    }
    ck_assert_uint_eq(store_min(store), from);
    ck_assert_int_eq(store_begin_at(store, 0, &err), -ENOTEMPTY);
    ck_assert_int_eq(close_store(), 0);

    open_follower();
    ck_assert_uint_eq(store_follow_end(store), log_end);
    ck_assert_uint_eq(store_min(store), from);
    ck_assert_int_eq(store_begin_at(store, 0, &err), -ENOTEMPTY);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static bool all_flushed(void)
{
    return store_flushed(store) == log_end;
}

START_TEST(what_follows_a_begin_is_flushed)
{
    open_follower();
    ck_assert_int_eq(store_begin_at(store, 2 * SEGMENT, &err), 0);
    feed(log_end, 9000);
    ck_assert(wait_until(all_flushed));
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* A heartbeat may be all that an empty slave has heard. */
START_TEST(a_begin_without_a_record_outlives_a_stop)
{
    open_follower();
    ck_assert_int_eq(store_begin_at(store, 2 * SEGMENT, &err), 0);
    ck_assert_int_eq(close_store(), 0);
    open_follower();
    ck_assert_uint_eq(store_follow_end(store), 2 * SEGMENT);
    feed(log_end, 9000);
    ck_assert_uint_eq(store_min(store), 2 * SEGMENT);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- the last record --- */

START_TEST(the_record_before_any_offset_is_found)
{
    uint64_t last = 0, found, at = 0;

    open_follower();
    feed(log_end, 30000);
    while (at < log_end) {
        uint32_t size = load_be32(log_bytes + at);
        bool blank = load_be32(log_bytes + at + 4) == RECORD_MAGIC_BLANK;

        if (at > 0 && at % 7 < 3) {
            ck_assert_int_eq(store_record_before(store, at, &found, &err), 0);
            ck_assert_uint_eq(found, last);
            ck_assert_int_eq(store_record_before(store, at + size - 1, &found, &err), 0);
            ck_assert_uint_eq(found, last);
        }
        if (!blank)
            last = at;
        at += size;
    }
    ck_assert_int_eq(store_record_before(store, UINT64_MAX, &found, &err), 0);
    ck_assert_uint_eq(found, last);
    ck_assert_int_eq(store_record_before(store, load_be32(log_bytes) - 1, &found, &err), -ENOENT);
    ck_assert_int_eq(store_record_before(store, 0, &found, &err), -ENOENT);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- topics that come again --- */

START_TEST(a_topic_that_the_master_made_anew_begins_anew)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    struct queue_range range;

    options.follower = false;
    open_store();
    append_numbers(0, 400);
    ck_assert_int_eq(
        metadata_topic_delete(metadata, BYTES_LIT("Orders"), store_end(store), true, NULL), 0);
    ck_assert_int_eq(store_drop_topic(store, topic), 0);
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, store_end(store),
                                        NULL, NULL, &topic),
                     0);
    append_numbers(0, 40);
    take_log();
    options.follower = true;
    for (int step = 0; step < 2; step++) { /* the second time from the disk */
        open_follower();
        feed(log_end, 9000);
        topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
        ck_assert(wait_confirmed(log_end));
        for (int32_t q = 0; q < 4; q++) {
            range = store_range(store, store_queue(store, topic, q));
            ck_assert_int_eq(range.min, 0);
            ck_assert_int_eq(range.max, 10);
        }
        expect_numbers(40);
        ck_assert_int_eq(close_store(), 0);
    }
}
END_TEST

/* --- refusing --- */

static void refuse(uint64_t at, size_t size, int expected)
{
    uint64_t before = store_follow_end(store);
    size_t taken;

    ck_assert_int_eq(store_follow(store, at, bytes_of(log_bytes + at, size), &taken, &err),
                     expected);
    ck_assert_uint_eq(taken, 0);
    ck_assert_uint_eq(store_follow_end(store), before);
}

START_TEST(bytes_for_another_place_are_refused)
{
    open_follower();
    feed(log_end / 2, 30000);
    uint64_t at = store_follow_end(store);

    refuse(at + 1, 5000, -ERANGE);
    refuse(at - 1, 5000, -ERANGE);
    refuse(0, 5000, -ERANGE);
    feed(log_end, 30000);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_flipped_bit_in_any_byte_of_a_record_is_refused)
{
    open_follower();
    feed(log_end / 2, 30000);
    uint64_t at = store_follow_end(store);
    size_t size = load_be32(log_bytes + at);

    for (size_t i = 0; i < size; i++) {
        size_t taken = 0;

        log_bytes[at + i] ^= 1;
        int r = store_follow(store, at, bytes_of(log_bytes + at, size), &taken, &err);
        /* Half of the sizes are larger: then the rest is waited for. */
        ck_assert_msg(r == -EBADMSG || (r == 0 && i < 4), "byte %zu: %d", i, r);
        ck_assert_uint_eq(taken, 0);
        log_bytes[at + i] ^= 1;
    }
    feed(log_end, 30000);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(what_is_good_before_bad_bytes_is_taken)
{
    open_follower();
    uint64_t second = load_be32(log_bytes);
    size_t taken;

    log_bytes[second + 30] ^= 1;
    ck_assert_int_eq(store_follow(store, 0, bytes_of(log_bytes, 10000), &taken, &err), -EBADMSG);
    ck_assert_uint_eq(taken, second);
    ck_assert_uint_eq(store_follow_end(store), second);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(another_segment_size_is_noticed)
{
    options.segment_bytes = 2 * SEGMENT;
    open_follower();
    int r = 0;

    for (uint64_t have = 0; have < log_end && r == 0; have += 10000) {
        uint64_t at = store_follow_end(store);
        size_t taken;

        if (have > at)
            r = store_follow(store, at, bytes_of(log_bytes + at, have - at), &taken, &err);
    }
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, "mappedFileSizeCommitLog"));
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- a limit from outside --- */

/* Opened with a limit, a store shows nothing above it from the first moment, although its queues'
 * files have more. */
START_TEST(a_follower_opened_with_a_limit_shows_nothing_above_it)
{
    uint64_t limit = 0;
    struct queue_range range;
    struct buf out = {0};

    open_follower();
    feed(log_end, 30000);
    ck_assert_int_eq(close_store(), 0);
    for (int i = 0; i < 401; i++)
        limit += load_be32(log_bytes + limit);
    options.limit_confirmed = true;
    options.confirmed_at_most = limit;
    for (int clean = 1; clean >= 0; clean--) {
        if (!clean)
            ck_assert_int_eq(file_replace(in_dir("abort"), BYTES_LIT(""), &err), 0);
        open_follower();
        ck_assert_uint_eq(store_written(store), log_end);
        ck_assert_uint_eq(store_confirmed(store), limit);
        topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
        range = store_range(store, store_queue(store, topic, 0));
        ck_assert_int_gt(range.max, 90);
        ck_assert_int_le(range.max, 101);
        ck_assert_int_eq(pull(topic, 0, range.max, &out).status, STORE_GET_AT_END);
        ck_assert_int_eq(pull(topic, 0, range.max + 1, &out).status, STORE_GET_BEYOND_END);
        ck_assert_int_eq(read_queue(topic, 0, NULL, NULL), range.max);
        store_limit_confirmed(store, UINT64_MAX);
        expect_all(MESSAGES);
        ck_assert_int_eq(close_store(), 0);
    }
    buf_destroy(&out);
}
END_TEST

START_TEST(nothing_above_the_limit_is_seen_or_written_to_queues)
{
    struct store_position p[2];
    struct queue_range range;

    options.follower = false;
    open_store();
    store_limit_confirmed(store, 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(append_sized(0, i, 100, &p[i]), 0);
    store_write(store);
    ck_assert_uint_eq(store_confirmed(store), 0);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 0)).max, 0);
    store_limit_confirmed(store, p[0].log_end);
    range = store_range(store, store_queue(store, topic, 0));
    ck_assert_int_eq(range.max, 1);
    ck_assert_uint_eq(store_confirmed(store), p[0].log_end);
    store_limit_confirmed(store, UINT64_MAX);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 0)).max, 2);
    ck_assert_int_eq(close_store(), 0);

    /* After a start entries stand in files, above a limit that is set now. */
    open_store();
    store_limit_confirmed(store, p[0].log_end);
    ck_assert_int_eq(store_range(store, store_queue(store, topic, 0)).max, 1);
    ck_assert_int_eq(read_queue(topic, 0, NULL, NULL), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- a topic deleted on the master, by its metadata --- */

static bool beyond(void *ctx, struct topic *of, uint64_t log_floor)
{
    return store_topic_beyond(ctx, of, log_floor);
}

static bool drop(void *ctx, struct topic *of, uint64_t log_floor)
{
    bool any = store_drop_topic_below(ctx, of, log_floor);

    store_topics_went(ctx);
    return any;
}

/* The master's journal says so of Orders. */
static void take_orders(bool deleted, uint64_t log_floor)
{
    const struct metadata_queues queues = {beyond, drop, store};
    struct topic said = {.config = {.read_queues = 6, .write_queues = 6, .perm = 6},
                         .log_floor = log_floor,
                         .deleted = deleted,
                         .name = "Orders",
                         .name_len = 6};
    struct buf records = {0};
    uint64_t sequence;

    metadata_put_topic(&records, (struct metadata_at){0}, &said, (struct bytes){0});
    ck_assert_msg(metadata_take(metadata, buf_bytes(&records), &queues, &sequence, &err) == 0, "%s",
                  err.text);
    buf_destroy(&records);
}

/* 100 messages in queues 0 to 3, deleted, made anew, 10 in each of two queues: in two that had
 * messages before, or in one of them and in one that had none. */
static uint64_t make_log_of_a_deletion(bool fresh)
{
    uint64_t floor, sequence;

    options.follower = false;
    open_store();
    for (int i = 0; i < 100; i++)
        append(i % 4, i);
    store_write(store);
    floor = store_end(store);
    ck_assert_int_eq(store_delete_topic(store, BYTES_LIT("Orders"), &sequence), 0);
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"),
                                        &(struct topic_config){6, 6, 6, 0, false, false}, floor,
                                        &sequence, NULL, &topic),
                     0);
    for (int i = 0; i < 20; i++)
        append(i % 2 ? 5 : fresh ? 4 : 1, i);
    store_write(store);
    take_log();
    options.follower = true;
    return floor;
}

static void expect_queue(int32_t queue_id, int64_t messages)
{
    uint32_t queue;

    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_ptr_nonnull(topic);
    ck_assert(wait_confirmed(store_end(store)));
    queue = store_queue(store, topic, queue_id);
    ck_assert_int_eq(queue == QUEUE_NONE ? 0 : store_range(store, queue).max, messages);
}

static void expect_after_deletion(bool fresh)
{
    for (int again = 0; again < 2; again++) {
        for (int32_t queue = 0; queue < 6; queue++)
            expect_queue(queue, queue == 5 || queue == (fresh ? 4 : 1) ? 10 : 0);
        ck_assert_int_eq(close_store(), 0);
        open_follower();
    }
    ck_assert_int_eq(close_store(), 0);
}

/* The loop's number is the order: before the log comes to it, behind it, or the topic's end first
 * and its beginning behind it. */
START_TEST(a_deletion_comes_before_or_behind_the_log_to_the_same_end)
{
    bool fresh = _i % 2;
    int order = _i / 2;
    uint64_t floor = make_log_of_a_deletion(fresh);

    open_follower();
    feed(order == 3 ? floor / 2 : floor, 3000);
    if (order == 0 || order == 3) {
        take_orders(true, floor);
        ck_assert_ptr_null(metadata_topic(metadata, BYTES_LIT("Orders"), NULL));
        take_orders(false, floor);
    } else if (order == 1) {
        take_orders(false, floor); /* a snapshot names only the topic that is there */
    }
    feed(log_end, 3000);
    if (order == 2) {
        take_orders(true, floor);
        take_orders(false, floor);
    }
    ck_assert_uint_eq(metadata_topic_floor(metadata, BYTES_LIT("Orders")), floor);
    expect_after_deletion(fresh);
}
END_TEST

/* Made by its first message, whose log came before the metadata: nothing of it goes. */
START_TEST(a_floor_below_all_messages_takes_none)
{
    open_follower();
    feed(log_end, 30000);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_int_eq(metadata_offset_commit(metadata, BYTES_LIT("Orders"), BYTES_LIT("G"), 0, 7),
                     0);
    take_orders(false, 1);
    ck_assert_int_eq(metadata_offset(metadata, BYTES_LIT("Orders"), BYTES_LIT("G"), 0), 7);
    expect_all(MESSAGES);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static Suite *follow_suite(void)
{
    Suite *suite = suite_create("store_follow");
    TCase *c = tcase_create("follow");

    tcase_add_checked_fixture(c, begin, end);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_log_in_pieces_becomes_the_same_log_with_the_same_queues);
    tcase_add_test(c, large_pieces_and_single_bytes_are_the_same);
    tcase_add_test(c, a_follower_goes_on_after_a_stop_where_it_was);
    tcase_add_test(c, a_follower_that_leads_appends_where_the_log_ended);
    tcase_add_test(c, who_followed_a_blank_rest_leads_from_the_next_segment_on);
    tcase_add_test(c, who_stops_behind_a_blank_rest_goes_on_there);
    tcase_add_test(c, who_leads_in_the_middle_of_a_record_appends_before_it);
    tcase_add_test(c, after_writes_are_closed_nothing_is_appended_and_all_is_written);
    tcase_add_test(c, who_has_closed_its_writes_can_follow_and_lead_again);
    tcase_add_test(c, a_follower_opened_with_a_limit_shows_nothing_above_it);
    tcase_add_test(c, an_empty_follower_may_begin_at_any_segment);
    tcase_add_test(c, what_follows_a_begin_is_flushed);
    tcase_add_test(c, a_begin_without_a_record_outlives_a_stop);
    tcase_add_test(c, the_record_before_any_offset_is_found);
    tcase_add_test(c, a_topic_that_the_master_made_anew_begins_anew);
    tcase_add_test(c, bytes_for_another_place_are_refused);
    tcase_add_test(c, a_flipped_bit_in_any_byte_of_a_record_is_refused);
    tcase_add_test(c, what_is_good_before_bad_bytes_is_taken);
    tcase_add_test(c, another_segment_size_is_noticed);
    tcase_add_test(c, nothing_above_the_limit_is_seen_or_written_to_queues);
    tcase_add_loop_test(c, a_deletion_comes_before_or_behind_the_log_to_the_same_end, 0, 8);
    tcase_add_test(c, a_floor_below_all_messages_takes_none);
    suite_add_tcase(suite, c);
    return suite;
}

UNIT_MAIN(follow_suite)
