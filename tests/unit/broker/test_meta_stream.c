/* test_meta_stream.c - what a master's journal makes durable reaches the other members: all of it,
 * in order, and nothing before it is durable here; who was away or too slow gets the tables.
 */
#include "broker/replication/core.h"
#include "broker/replication/group_wire.h"
#include "broker/replication/meta_stream.h"
#include "common/json.h"
#include "store/metadata_fixture.h"

/* `m` is the master's. */
static struct metadata *follower;
static struct meta_source *source;
static struct err err;

static struct metadata *open_member(const char *name)
{
    char *root = join(dir, name);
    struct metadata *opened;

    ck_assert(mkdir(root, 0755) == 0 || errno == EEXIST);
    opened = open_at(root);
    free(root);
    return opened;
}

static void begin(void)
{
    fixture_begin();
    m = open_member("master");
    follower = open_member("follower");
    atomic_store(&m->started, true); /* as with a thread: changes are admitted up to a bound */
    atomic_store(&follower->started, true);
    source = meta_source_new(m);
    ck_assert_ptr_nonnull(source);
}

static void end(void)
{
    source = meta_source_free(source);
    ck_assert_int_eq(metadata_close(follower), 0);
    close_meta();
    fixture_end();
}

static void turns_of(struct metadata *of)
{
    for (int i = 0; metadata_turn(of, now) <= now; i++)
        ck_assert_int_lt(i, 100000);
}

/* Everything here and there is on its disk. */
static void settle_both(void)
{
    settle();
    turns_of(follower);
    turns_of(follower);
}

static uint64_t take(struct metadata *to, struct bytes records)
{
    uint64_t sequence = 0;
    int r;

    while ((r = meta_sink_take(to, NULL, records, &sequence, &err)) == -EAGAIN)
        turns_of(to);
    ck_assert_msg(r == 0, "%s", err.text);
    return sequence;
}

/* One frame to `to`; false: there is none. */
static bool carry_one(unsigned peer, struct metadata *to, bool *begins, uint64_t *upto)
{
    struct buf records = {0};
    uint64_t sequence;

    if (!meta_source_next(source, peer, &records, begins, upto)) {
        buf_destroy(&records);
        return false;
    }
    ck_assert(!records.failed);
    ck_assert_uint_le(records.len, GROUP_META_MAX);
    sequence = take(to, buf_bytes(&records));
    buf_destroy(&records);
    turns_of(to);
    now += METADATA_OFFSETS_MS;
    turns_of(to);
    ck_assert_uint_ge(metadata_durable(to), sequence);
    if (*upto > 0)
        meta_source_acked(source, peer, *upto);
    return true;
}

static void carry_to(unsigned peer, struct metadata *to)
{
    uint64_t upto;
    bool begins;

    while (carry_one(peer, to, &begins, &upto))
        continue;
}

static void carry(void)
{
    carry_to(0, follower);
}

static void begin_follower(void)
{
    meta_source_begin(source, 0);
    carry();
}

/* In whatever order: each has a hash of its own. */
static void expect_same(void (*json)(struct metadata *m, struct buf *out))
{
    struct buf mine = {0}, theirs = {0};
    json_t *a, *b;

    json(m, &mine);
    json(follower, &theirs);
    a = json_dialect_load(buf_bytes(&mine), &err);
    b = json_dialect_load(buf_bytes(&theirs), &err);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_msg(json_equal(a, b), "%.900s\n%.900s", json_dumps(a, JSON_COMPACT | JSON_SORT_KEYS),
                  json_dumps(b, JSON_COMPACT | JSON_SORT_KEYS));
    json_decref(a);
    json_decref(b);
    buf_destroy(&mine);
    buf_destroy(&theirs);
}

START_TEST(who_begins_gets_all_tables)
{
    put_topic("T", 3);
    put_group("G", 5);
    commit("T", "G", 2, 70);
    ck_assert_int_eq(metadata_delay_set(m, 4, 9), 0);
    settle();
    begin_follower();
    ck_assert_int_eq(queues_of(follower, "T"), 3);
    ck_assert_int_eq(retries_of(follower, "G"), 5);
    ck_assert_int_eq(offset_of(follower, "T", "G", 2), 70);
    ck_assert_int_eq(metadata_delay(follower, 4), 9);
    ck_assert_uint_eq(meta_source_copied(source, 1), metadata_durable(m));
}
END_TEST

START_TEST(a_change_is_given_when_it_is_durable_and_not_before)
{
    struct buf records = {0};
    uint64_t upto, sequence;
    bool begins;

    begin_follower();
    sequence = put_topic("T", 3);
    ck_assert(!meta_source_next(source, 0, &records, &begins, &upto));
    turns();
    ck_assert_uint_lt(meta_source_copied(source, 1), sequence);
    carry();
    ck_assert_int_eq(queues_of(follower, "T"), 3);
    ck_assert_uint_ge(meta_source_copied(source, 1), sequence);
}
END_TEST

START_TEST(a_copy_counts_when_it_was_acknowledged)
{
    struct buf records = {0};
    uint64_t sequence, upto;
    bool begins;

    meta_source_begin(source, 0);
    meta_source_begin(source, 1);
    carry();
    carry_to(1, follower);
    sequence = put_topic("T", 3);
    turns();
    carry();
    ck_assert_uint_ge(meta_source_copied(source, 1), sequence);
    ck_assert_uint_lt(meta_source_copied(source, 2), sequence);
    while (meta_source_next(source, 1, &records, &begins, &upto))
        continue;
    buf_destroy(&records);
    ck_assert_uint_lt(meta_source_copied(source, 2), sequence);
    meta_source_acked(source, 1, UINT64_MAX); /* nobody was told that */
    ck_assert_uint_lt(meta_source_copied(source, 2), sequence);
    meta_source_acked(source, 1, upto);
    ck_assert_uint_ge(meta_source_copied(source, 2), sequence);
    ck_assert_uint_eq(meta_source_copied(source, 3), 0);
}
END_TEST

START_TEST(deletions_reach_a_follower_with_what_belongs_to_them)
{
    uint64_t sequence;

    put_topic("T", 3);
    put_group("G", 5);
    commit("T", "G", 0, 70);
    commit("U", "G", 0, 70);
    settle();
    begin_follower();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 1000, true, &sequence), 0);
    turns();
    carry();
    ck_assert_int_eq(queues_of(follower, "T"), -1);
    ck_assert_uint_eq(metadata_topic_floor(follower, BYTES_LIT("T")), 1000);
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), -1);
    ck_assert_int_eq(offset_of(follower, "U", "G", 0), 70);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), true, &sequence), 0);
    turns();
    carry();
    ck_assert_int_eq(retries_of(follower, "G"), -1);
    ck_assert_int_eq(offset_of(follower, "U", "G", 0), -1);
}
END_TEST

/* It was away when the topic went; the tables say so by the topic's floor. */
START_TEST(a_topic_deleted_meanwhile_goes_with_its_offsets)
{
    uint64_t sequence;

    put_topic("T", 3);
    commit("T", "G", 0, 70);
    settle();
    begin_follower();
    meta_source_end(source, 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 1000, true, &sequence), 0);
    turns();
    begin_follower();
    ck_assert_int_eq(queues_of(follower, "T"), -1);
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), -1);
}
END_TEST

START_TEST(what_a_snapshot_does_not_name_stays)
{
    struct topic_config config = config_of(2);
    struct group_config group = group_config_default();

    ck_assert_int_eq(metadata_topic_put(follower, BYTES_LIT("OWN"), &config, 0, NULL, NULL, NULL),
                     0);
    ck_assert_int_eq(metadata_group_put(follower, BYTES_LIT("OWN"), &group, NULL, NULL), 0);
    ck_assert_int_eq(metadata_offset_commit(follower, BYTES_LIT("T"), BYTES_LIT("OWN"), 0, 5), 0);
    put_topic("T", 1);
    settle();
    begin_follower();
    ck_assert_int_eq(queues_of(follower, "T"), 1);
    ck_assert_int_eq(queues_of(follower, "OWN"), 2);
    ck_assert_int_eq(retries_of(follower, "OWN"), 16);
    ck_assert_int_eq(offset_of(follower, "T", "OWN", 0), 5);
}
END_TEST

START_TEST(a_later_offset_of_its_own_stays_until_the_master_has_come_up_to_it)
{
    ck_assert_int_eq(metadata_offset_commit(follower, BYTES_LIT("T"), BYTES_LIT("G"), 0, 100), 0);
    commit("T", "G", 0, 50);
    settle();
    begin_follower();
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), 100);
    commit("T", "G", 0, 120);
    settle();
    carry();
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), 120);
    commit("T", "G", 0, 30); /* somebody has set it back there */
    settle();
    carry();
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), 30);
    commit("T", "G", 0, -1);
    settle();
    carry();
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), -1);
}
END_TEST

/* A floor that was limited by a promotion with a shorter log. */
START_TEST(the_floor_is_the_masters_even_when_it_is_lower)
{
    struct topic_config config = config_of(1);

    ck_assert_int_eq(metadata_topic_put(follower, BYTES_LIT("T"), &config, 2000, NULL, NULL, NULL),
                     0);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 900, NULL, NULL, NULL), 0);
    settle();
    begin_follower();
    ck_assert_uint_eq(metadata_topic_floor(follower, BYTES_LIT("T")), 900);
}
END_TEST

START_TEST(versions_follow_the_master_and_never_go_back)
{
    struct data_version before, after;

    for (int i = 1; i <= 20; i++)
        put_topic("T", i);
    settle();
    begin_follower();
    before = metadata_topics_version(follower);
    after = metadata_topics_version(m);
    ck_assert_int_eq(before.counter, after.counter);
    ck_assert_int_eq(before.timestamp, after.timestamp);

    for (int i = 0; i < 50; i++) /* alone for a while */
        ck_assert_int_eq(metadata_topics_touch(follower), 0);
    before = metadata_topics_version(follower);
    put_topic("U", 1);
    settle();
    carry();
    after = metadata_topics_version(follower);
    ck_assert_int_gt(after.counter, before.counter);
    ck_assert_int_eq(queues_of(follower, "U"), 1);
}
END_TEST

START_TEST(what_is_taken_survives_a_kill_of_the_follower)
{
    put_topic("T", 3);
    put_group("G", 5);
    commit("T", "G", 0, 70);
    settle();
    begin_follower();
    metadata_tables_free(follower);
    follower = open_member("follower");
    ck_assert_int_eq(queues_of(follower, "T"), 3);
    ck_assert_int_eq(retries_of(follower, "G"), 5);
    ck_assert_int_eq(offset_of(follower, "T", "G", 0), 70);
}
END_TEST

START_TEST(the_same_again_changes_nothing)
{
    uint64_t before;

    put_topic("T", 3);
    put_group("G", 5);
    settle();
    begin_follower();
    settle_both();
    before = metadata_last(follower);
    begin_follower();
    settle_both();
    ck_assert_uint_eq(metadata_last(follower), before);
}
END_TEST

START_TEST(who_is_too_far_behind_begins_again)
{
    struct buf records = {0};
    uint64_t sequence, upto;
    bool begins;

    begin_follower();
    put_topic("T", 1);
    turns();
    /* Offsets of thousands of queues, again and again: all from the first to the last that have
     * changed go together. */
    for (int queue = 0; queue < 3000; queue++)
        commit("T", "G", queue, queue);
    for (int64_t offset = 1; offset < 250; offset++) {
        commit("T", "G", 0, offset);
        commit("T", "G", 2999, offset);
        settle();
    }
    sequence = put_topic("T", 7);
    turns();
    ck_assert(meta_source_next(source, 0, &records, &begins, &upto));
    ck_assert(begins);
    take(follower, buf_bytes(&records));
    buf_destroy(&records);
    if (upto > 0)
        meta_source_acked(source, 0, upto);
    carry();
    settle_both();
    ck_assert_int_eq(queues_of(follower, "T"), 7);
    ck_assert_uint_ge(meta_source_copied(source, 1), sequence);
    expect_same(metadata_offsets_json);
}
END_TEST

START_TEST(tables_larger_than_a_frame_go_in_pieces)
{
    uint64_t upto;
    int frames = 0;
    bool begins;

    for (int i = 0; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof(name), "G%d", i);
        /* A record has a place for each queue up to the last, also where nothing was committed. */
        for (int queue = 0; queue < 500; queue += queue < 450 ? 50 : 49)
            commit("T", name, queue, i);
    }
    settle();
    meta_source_begin(source, 0);
    while (carry_one(0, follower, &begins, &upto)) {
        ck_assert_int_eq(begins, frames == 0);
        frames++;
    }
    ck_assert_int_gt(frames, 3);
    ck_assert_uint_gt(upto, 0);
    settle_both();
    expect_same(metadata_offsets_json);
}
END_TEST

static void random_change(uint64_t *random)
{
    char topic[32], group[32];
    uint64_t sequence;

    snprintf(topic, sizeof(topic), "T%u", next_random(random) % 12);
    snprintf(group, sizeof(group), "G%u", next_random(random) % 8);
    switch (next_random(random) % 11) {
    case 6:
        snprintf(topic, sizeof(topic), "client%u", next_random(random) % 4);
        ck_assert_int_eq(metadata_lock_put(m, bytes_str(group), BYTES_LIT("T0"),
                                           (int32_t)(next_random(random) % 9),
                                           bytes_str(next_random(random) % 3 ? topic : ""), 1000,
                                           &sequence),
                         0);
        break;
    case 0:
    case 1:
        put_topic(topic, (int32_t)(next_random(random) % 50));
        break;
    case 2:
        put_group(group, (int32_t)(next_random(random) % 50));
        break;
    case 3:
        (void)metadata_topic_delete(m, bytes_str(topic), metadata_last(m), true, &sequence);
        break;
    case 4:
        (void)metadata_group_delete(m, bytes_str(group), next_random(random) % 2, &sequence);
        break;
    case 5:
        ck_assert_int_eq(
            metadata_delay_set(m, 1 + (int)(next_random(random) % 18), next_random(random) % 1000),
            0);
        break;
    default:
        commit(topic, group, (int32_t)(next_random(random) % 9), next_random(random) % 1000);
        break;
    }
}

static void count_lock(void *ctx, struct bytes group, struct bytes topic, int32_t queue_id,
                       struct bytes client, int64_t granted_ms)
{
    uint64_t *sum = ctx;

    *sum += name_hash(name_hash(name_hash((uint64_t)queue_id, group), topic), client) +
            (uint64_t)granted_ms;
}

/* The follower is killed and comes back, is away and begins again, the master's own files are made
 * anew meanwhile: in the end both have the same. Only while it is there groups go: absence says
 * nothing. */
START_TEST(after_any_changes_both_have_the_same)
{
    uint64_t random = (uint64_t)_i + 1, locks = 0, locks_there = 0;

    m->journal.min_bytes = 4096; /* many generations */
    begin_follower();
    for (int step = 0; step < 1500; step++) {
        random_change(&random);
        switch (next_random(&random) % 40) {
        case 0:
            settle();
            carry();
            metadata_tables_free(follower);
            follower = open_member("follower");
            begin_follower();
            break;
        case 1: { /* a link that breaks in the middle */
            uint64_t upto;
            bool begins;

            settle();
            carry();
            put_topic("T0", (int32_t)(step % 100));
            settle();
            meta_source_begin(source, 0);
            random_change(&random);
            (void)carry_one(0, follower, &begins, &upto);
            carry();
            break;
        }
        case 2:
        case 3:
        case 4:
            settle();
            carry();
            break;
        default:
            break;
        }
    }
    settle();
    carry();
    put_topic("LAST", 1 + _i);
    put_group("LAST", 1 + _i);
    settle();
    carry();
    settle_both();
    expect_same(metadata_topics_json);
    expect_same(metadata_groups_json);
    expect_same(metadata_delays_json);
    metadata_each_lock(m, count_lock, &locks);
    metadata_each_lock(follower, count_lock, &locks_there);
    ck_assert_uint_ne(locks, 0);
    ck_assert_uint_eq(locks, locks_there);
    for (int t = 0; t < 12; t++) {
        char topic[32], group[32];

        snprintf(topic, sizeof(topic), "T%d", t);
        ck_assert_uint_eq(metadata_topic_floor(follower, bytes_str(topic)),
                          metadata_topic_floor(m, bytes_str(topic)));
        for (int g = 0; g < 8; g++) {
            snprintf(group, sizeof(group), "G%d", g);
            for (int queue = 0; queue < 9; queue++)
                ck_assert_int_eq(offset_of(follower, topic, group, queue),
                                 offset_of(m, topic, group, queue));
        }
    }
}
END_TEST

START_TEST(bytes_that_are_no_records_are_refused)
{
    struct topic topic = {.config = config_of(2), .name = "GOOD", .name_len = 4};
    struct metadata_lock lock = {BYTES_LIT("G"), BYTES_LIT("T"), TOPIC_QUEUES_MAX,
                                 BYTES_LIT("client"), 1000};
    struct buf records = {0};
    uint64_t sequence;

    metadata_put_topic(&records, (struct metadata_at){0}, &topic, (struct bytes){0});
    buf_add_str(&records, "this is no record of the metadata");
    ck_assert_int_eq(meta_sink_take(follower, NULL, buf_bytes(&records), &sequence, &err),
                     -EBADMSG);
    ck_assert_int_eq(queues_of(follower, "GOOD"), 2);

    buf_reset(&records);
    metadata_put_lock(&records, (struct metadata_at){0}, &lock);
    ck_assert_int_eq(meta_sink_take(follower, NULL, buf_bytes(&records), &sequence, &err),
                     -EBADMSG);

    buf_reset(&records);
    topic.name[0] = 'X';
    metadata_put_topic(&records, (struct metadata_at){0}, &topic, BYTES_LIT("}{"));
    ck_assert_int_eq(meta_sink_take(follower, NULL, buf_bytes(&records), &sequence, &err),
                     -EBADMSG);
    ck_assert_int_eq(queues_of(follower, "XOOD"), -1);
    buf_destroy(&records);
}
END_TEST

START_TEST(the_epoch_of_a_reign_is_kept)
{
    put_topic("T", 1);
    metadata_set_epoch(m, 5);
    put_topic("T", 2);
    settle();
    source = meta_source_free(source);
    metadata_tables_free(m);
    m = open_member("master");
    ck_assert_uint_eq(atomic_load(&m->epoch), 5);
    metadata_set_epoch(m, 3);
    ck_assert_uint_eq(atomic_load(&m->epoch), 5);
    ck_assert_int_eq(queues_of(m, "T"), 2);
}
END_TEST

static Suite *meta_stream_suite(void)
{
    Suite *s = suite_create("meta_stream");
    TCase *tc = tcase_create("meta_stream");

    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_test(tc, who_begins_gets_all_tables);
    tcase_add_test(tc, a_change_is_given_when_it_is_durable_and_not_before);
    tcase_add_test(tc, a_copy_counts_when_it_was_acknowledged);
    tcase_add_test(tc, deletions_reach_a_follower_with_what_belongs_to_them);
    tcase_add_test(tc, a_topic_deleted_meanwhile_goes_with_its_offsets);
    tcase_add_test(tc, what_a_snapshot_does_not_name_stays);
    tcase_add_test(tc, a_later_offset_of_its_own_stays_until_the_master_has_come_up_to_it);
    tcase_add_test(tc, the_floor_is_the_masters_even_when_it_is_lower);
    tcase_add_test(tc, versions_follow_the_master_and_never_go_back);
    tcase_add_test(tc, what_is_taken_survives_a_kill_of_the_follower);
    tcase_add_test(tc, the_same_again_changes_nothing);
    tcase_add_test(tc, who_is_too_far_behind_begins_again);
    tcase_add_test(tc, tables_larger_than_a_frame_go_in_pieces);
    tcase_add_loop_test(tc, after_any_changes_both_have_the_same, 0, 8);
    tcase_add_test(tc, bytes_that_are_no_records_are_refused);
    tcase_add_test(tc, the_epoch_of_a_reign_is_kept);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(meta_stream_suite)
