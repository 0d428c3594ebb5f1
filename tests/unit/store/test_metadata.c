/* test_metadata.c - topics, groups, offsets and delay cursors, and when a change is durable. */
#include "metadata_fixture.h"

#define JOURNAL_1 "tern/meta/journal-00000000000000000001"

enum { DEADLINE_S = 60 }; /* for what must happen, however slow the machine is */

static const char *const bad_names[] = {
    "", "../x", "a/b", "a.b", "a b", "a\n", "\xc3\xa9", "a@b", ".", "..", "a\\b", "~", "a$b",
};
enum { BAD_NAMES = sizeof(bad_names) / sizeof(bad_names[0]) };

static struct bytes letters(size_t n)
{
    static char text[512];

    memset(text, 'x', sizeof(text));
    return bytes_of(text, n);
}

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

/* --- names --- */

START_TEST(names_are_letters_digits_and_four_signs)
{
    ck_assert(topic_name_ok(BYTES_LIT("%RETRY%a_b-c|D9")));
    ck_assert(group_name_ok(BYTES_LIT("CID_ONS-HTTP-PROXY")));
    for (int i = 0; i < BAD_NAMES; i++) {
        ck_assert_msg(!topic_name_ok(bytes_str(bad_names[i])), "%s", bad_names[i]);
        ck_assert_msg(!group_name_ok(bytes_str(bad_names[i])), "%s", bad_names[i]);
    }
    ck_assert(!topic_name_ok(bytes_of("a\0b", 3)));
    ck_assert(topic_name_ok(letters(TOPIC_NAME_MAX)));
    ck_assert(!topic_name_ok(letters(TOPIC_NAME_MAX + 1)));
    ck_assert(group_name_ok(letters(GROUP_NAME_MAX)));
    ck_assert(!group_name_ok(letters(GROUP_NAME_MAX + 1)));
}
END_TEST

START_TEST(bad_names_enter_no_table)
{
    struct topic_config topic = config_of(1);
    struct group_config group = group_config_default();

    open_meta();
    for (int i = 0; i < BAD_NAMES; i++) {
        struct bytes bad = bytes_str(bad_names[i]);
        ck_assert_int_eq(metadata_topic_put(m, bad, &topic, 0, NULL, NULL, NULL), -EINVAL);
        ck_assert_int_eq(metadata_group_put(m, bad, &group, NULL, NULL), -EINVAL);
        ck_assert_int_eq(metadata_offset_commit(m, bad, BYTES_LIT("G"), 0, 1), -EINVAL);
        ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), bad, 0, 1), -EINVAL);
        ck_assert_ptr_null(metadata_topic(m, bad, NULL));
        ck_assert(!metadata_group(m, bad, NULL));
        ck_assert_int_eq(metadata_offset(m, bad, bad, 0), -1);
        ck_assert_int_eq(metadata_topic_delete(m, bad, 0, true, NULL), -ENOENT);
        ck_assert_int_eq(metadata_group_delete(m, bad, true, NULL), -ENOENT);
    }
    ck_assert_int_eq(metadata_offset_commit(m, letters(128), BYTES_LIT("G"), 0, 1), -EINVAL);
    ck_assert_int_eq(metadata_offset_commit(m, BYTES_LIT("T"), letters(256), 0, 1), -EINVAL);
    ck_assert_uint_eq(metadata_topic_count(m), 0);
    ck_assert_uint_eq(metadata_last(m), 0);
    close_meta();
}
END_TEST

/* --- topics --- */

START_TEST(a_topic_is_there_until_it_is_deleted)
{
    struct topic_config config = config_of(4), read;
    struct topic *put, *found;
    bool changed = false;

    open_meta();
    config.order = true;
    config.multi_tag = true;
    config.sys_flag = TOPIC_FLAG_UNIT_SUB;
    config.write_queues = 3;
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 99, NULL, &changed, &put), 0);
    ck_assert(changed);
    found = metadata_topic(m, BYTES_LIT("T"), &read);
    ck_assert_ptr_eq(found, put);
    ck_assert_str_eq(found->name, "T");
    ck_assert_uint_eq(found->name_len, 1);
    ck_assert_uint_eq(found->log_floor, 99);
    ck_assert_int_eq(read.read_queues, 4);
    ck_assert_int_eq(read.write_queues, 3);
    ck_assert_int_eq(read.sys_flag, TOPIC_FLAG_UNIT_SUB);
    ck_assert(read.order && read.multi_tag);
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("t"), NULL));
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("TT"), NULL));
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 120, false, NULL), 0);
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("T"), NULL));
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 130, false, NULL), -ENOENT);
    close_meta();
}
END_TEST

START_TEST(queue_counts_and_perm_have_bounds)
{
    static const struct topic_config bad[] = {
        {.read_queues = -1, .write_queues = 1, .perm = 6},
        {.read_queues = 1, .write_queues = TOPIC_QUEUES_MAX + 1, .perm = 6},
        {.read_queues = INT32_MAX, .write_queues = 1, .perm = 6},
        {.read_queues = 1, .write_queues = 1, .perm = 16},
        {.read_queues = 1, .write_queues = 1, .perm = -1},
    };

    open_meta();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &bad[i], 0, NULL, NULL, NULL),
                         -EINVAL);
    put_topic("T", TOPIC_QUEUES_MAX);
    close_meta();
}
END_TEST

START_TEST(who_leads_moves_both_versions_to_its_epoch)
{
    struct data_version topics, groups;
    struct topics_mark mark;

    open_meta();
    put_topic("T", 4);
    topics = metadata_topics_version(m);
    groups = metadata_groups_version(m);
    metadata_topics_mark(m, &mark);
    metadata_lead(m, UINT64_C(9) << 36);
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_topics_version(m).counter, topics.counter + 1);
    ck_assert_int_eq(metadata_groups_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_groups_version(m).counter, groups.counter + 1);
    /* Name servers are to be told all again. */
    ck_assert_int_eq(metadata_topics_since(m, mark.change, NULL, NULL, &mark), METADATA_TOO_MUCH);
    metadata_lead(m, 1);
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(metadata_topics_version(m).state_version, INT64_C(9) << 36);
    ck_assert_int_eq(metadata_groups_version(m).state_version, INT64_C(9) << 36);
    close_meta();
}
END_TEST

START_TEST(only_a_change_moves_the_version)
{
    struct topic_config config = config_of(4);
    struct data_version v0, v1;
    uint64_t first, second;
    bool changed;

    open_meta();
    v0 = metadata_topics_version(m);
    first = put_topic("T", 4);
    v1 = metadata_topics_version(m);
    ck_assert_int_eq(v1.counter, v0.counter + 1);
    ck_assert_int_gt(v1.timestamp, 1600000000000);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, &second, &changed, NULL), 0);
    ck_assert(!changed);
    ck_assert_uint_eq(second, first); /* what is there may not be durable yet */
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter);
    put_topic("T", 5);
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, false, NULL), 0);
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 2);
    ck_assert_int_eq(metadata_groups_version(m).counter, 0);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(metadata_topics_version(m).counter, v1.counter + 2);
    close_meta();
}
END_TEST

START_TEST(a_deleted_topic_leaves_its_floor_and_its_place)
{
    struct topic_config config = config_of(2);
    struct topic *first, *again;

    open_meta();
    put_topic("Other", 1);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 0, NULL, NULL, &first), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Unknown")), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 5000, false, NULL), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 5000);
    ck_assert_uint_eq(metadata_topic_count(m), 2);
    ck_assert(metadata_topic_at(m, first->index)->deleted);
    turns();
    kill_and_reopen();
    ck_assert_ptr_null(metadata_topic(m, BYTES_LIT("T"), NULL));
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 5000);
    first = metadata_topic_at(m, 1);
    ck_assert_str_eq(first->name, "T");
    /* A lower floor would show records of the deleted one again. */
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 70, NULL, NULL, &again), 0);
    ck_assert_ptr_eq(again, first);
    ck_assert_uint_eq(again->log_floor, 5000);
    ck_assert_uint_eq(metadata_topic_count(m), 2);
    ck_assert_ptr_null(metadata_topic_at(m, 2));
    /* The floor of a live topic stays as it is. */
    config.perm = PERM_READ;
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("T"), &config, 9000, NULL, NULL, NULL), 0);
    ck_assert_uint_eq(again->log_floor, 5000);
    close_meta();
}
END_TEST

/* The deletion was synced, the log was not: it ends before the floor, and new records come there.
 */
START_TEST(a_floor_above_the_end_of_the_log_comes_down_to_it)
{
    struct topic_config config = config_of(2);
    struct data_version version;
    struct topic *topic;

    open_meta();
    put_topic("Deleted", 1);
    put_topic("Again", 1);
    put_topic("Below", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Deleted"), 5000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Again"), 5000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Below"), 3000, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_put(m, BYTES_LIT("Again"), &config, 5200, NULL, NULL, &topic),
                     0);
    turns();
    kill_and_reopen();
    version = metadata_topics_version(m);
    ck_assert_int_eq(metadata_limit_floors(m, 5200), 0);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Again")), 5200);
    ck_assert_int_eq(metadata_limit_floors(m, 4000), 0);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m)); /* before anything is appended */
    kill_and_reopen();
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Deleted")), 4000);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Again")), 4000);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Below")), 3000);
    ck_assert_int_eq(queues_of(m, "Again"), 2);
    ck_assert_int_eq(queues_of(m, "Deleted"), -1);
    ck_assert_int_eq(metadata_topics_version(m).counter, version.counter);
    close_meta();
}
END_TEST

static void count_topics(void *ctx, const struct topic *t, const struct topic_config *c)
{
    int *sum = ctx;

    ck_assert_int_gt(t->name_len, 0);
    *sum += c->read_queues;
}

START_TEST(each_topic_gives_the_live_ones_and_their_version)
{
    struct data_version version;
    int sum = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 10);
    put_topic("C", 100);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("B"), 0, false, NULL), 0);
    metadata_each_topic(m, count_topics, &sum, &version);
    ck_assert_int_eq(sum, 101);
    ck_assert_int_eq(version.counter, 4);
    close_meta();
}
END_TEST

/* Names in order of the visit, a deleted one with a minus. */
struct visited {
    char names[256];
    size_t stop_after; /* 0: never */
};

static bool visit(void *ctx, const struct topic *t, const struct topic_config *c)
{
    struct visited *v = ctx;

    ck_assert_ptr_nonnull(c);
    ck_assert_uint_lt(strlen(v->names) + t->name_len + 3, sizeof(v->names));
    if (t->deleted)
        strcat(v->names, "-");
    strcat(v->names, t->name);
    strcat(v->names, " ");
    return v->stop_after == 0 || --v->stop_after > 0;
}

static const char *changed_since(uint64_t since, struct topics_mark *mark)
{
    static struct visited v;

    v = (struct visited){0};
    return metadata_topics_since(m, since, visit, &v, mark) == 0 ? v.names : "too much";
}

START_TEST(what_changed_since_a_mark_is_told_once_and_with_the_version)
{
    const struct bytes ordered[] = {BYTES_LIT("B")};
    struct visited one = {.stop_after = 1};
    struct topics_mark mark, later;
    uint64_t sequence = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    turns();
    kill_and_reopen();
    metadata_topics_mark(m, &mark);
    ck_assert_str_eq(changed_since(mark.change, &later), ""); /* what was there at the start */
    ck_assert_uint_eq(later.change, mark.change);

    put_topic("C", 1);
    put_topic("A", 2);
    put_topic("C", 2);
    put_topic("C", 2); /* no change */
    ck_assert_str_eq(changed_since(mark.change, &later), "C A ");
    ck_assert_int_eq(later.version.counter, metadata_topics_version(m).counter);
    ck_assert_int_eq(later.version.counter, mark.version.counter + 3);
    ck_assert_str_eq(changed_since(later.change, &mark), "");

    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("A"), 0, false, NULL), 0);
    ck_assert_int_eq(metadata_topic_touch(m, BYTES_LIT("B"), &sequence), 0);
    ck_assert_uint_gt(sequence, 0);
    ck_assert_int_eq(metadata_topic_touch(m, BYTES_LIT("A"), &sequence), -ENOENT);
    ck_assert_str_eq(changed_since(mark.change, &later), "B -A ");
    ck_assert_int_eq(later.version.counter, mark.version.counter + 2);
    ck_assert_int_eq(metadata_topics_since(m, mark.change, visit, &one, &later), METADATA_TOO_MUCH);

    metadata_topics_mark(m, &mark);
    ck_assert_int_eq(metadata_topics_set_order(m, ordered, 1, NULL), 0);
    ck_assert_str_eq(changed_since(mark.change, &later), "B ");
    ck_assert_int_eq(metadata_topics_touch(m), 0);
    ck_assert_str_eq(changed_since(mark.change, &later), "too much");
    ck_assert_str_eq(changed_since(later.change, &later), "");
    close_meta();
}
END_TEST

START_TEST(all_topics_are_told_in_pages)
{
    struct visited v = {.stop_after = 2};
    struct topics_mark mark;
    uint32_t index = 0;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("A"), 0, false, NULL), 0);
    metadata_topics_mark(m, &mark);
    put_topic("C", 1);
    put_topic("D", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("C"), 0, false, NULL), 0);

    ck_assert(metadata_topics_page(m, &index, mark.change, visit, &v));
    ck_assert_str_eq(v.names, "B -C ");
    put_topic("E", 1);
    ck_assert(!metadata_topics_page(m, &index, mark.change, visit, &v));
    ck_assert_str_eq(v.names, "B -C D E ");
    v = (struct visited){0};
    index = 0;
    ck_assert(!metadata_topics_page(m, &index, UINT64_MAX, visit, &v));
    ck_assert_str_eq(v.names, "B D E ");
    close_meta();
}
END_TEST

static bool order_of(const char *name)
{
    struct topic_config config;

    ck_assert_ptr_nonnull(metadata_topic(m, bytes_str(name), &config));
    return config.order;
}

START_TEST(an_order_table_says_it_for_all_topics)
{
    const struct bytes a_b[] = {BYTES_LIT("A"), BYTES_LIT("B"), BYTES_LIT("Unknown"),
                                BYTES_LIT("../x")};
    const struct bytes b[] = {BYTES_LIT("B")};
    int64_t version;
    bool changed;

    open_meta();
    put_topic("A", 1);
    put_topic("B", 1);
    put_topic("C", 1);
    version = metadata_topics_version(m).counter;
    ck_assert_int_eq(metadata_topics_set_order(m, a_b, 4, &changed), 0);
    ck_assert(changed && order_of("A") && order_of("B") && !order_of("C"));
    ck_assert_int_eq(metadata_topics_version(m).counter, version + 1);
    ck_assert_int_eq(metadata_topics_set_order(m, a_b, 4, &changed), 0);
    ck_assert(!changed);
    ck_assert_int_eq(metadata_topics_set_order(m, b, 1, &changed), 0);
    ck_assert(changed && !order_of("A") && order_of("B"));
    turns();
    kill_and_reopen();
    ck_assert(!order_of("A") && order_of("B") && !order_of("C"));
    ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), 0);
    ck_assert(!order_of("B"));
    close_meta();
}
END_TEST

/* Enough of them for the tables to grow several times. */
START_TEST(thousands_of_topics_and_groups_are_found)
{
    enum { MANY = 5000 };
    char name[32];

    open_meta();
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "N%d", i);
        put_topic(name, i % 100);
        put_group(name, i);
    }
    for (int i = 0; i < MANY; i += 2) {
        snprintf(name, sizeof(name), "N%d", i);
        ck_assert_int_eq(metadata_group_delete(m, bytes_str(name), false, NULL), 0);
    }
    turns();
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof(name), "N%d", i);
            ck_assert_int_eq(queues_of(m, name), i % 100);
            ck_assert_int_eq(retries_of(m, name), i % 2 ? i : -1);
        }
        if (pass == 0)
            kill_and_reopen();
    }
    close_meta();
}
END_TEST

/* --- groups --- */

static void count_groups(void *ctx, struct bytes name, const struct group_config *c)
{
    int *sum = ctx;

    ck_assert(group_name_ok(name));
    *sum += c->retry_max_times;
}

START_TEST(a_group_is_there_until_it_is_deleted)
{
    struct group_config config = group_config_default(), read;
    uint64_t first, second;
    struct data_version version;
    bool changed;
    int sum = 0;

    open_meta();
    config.consume_enable = false;
    config.which_broker_when_slow = 7;
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &config, &first, &changed), 0);
    ck_assert(changed);
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &config, &second, &changed), 0);
    ck_assert(!changed);
    ck_assert_uint_eq(first, second);
    put_group("H", 3);
    turns();
    kill_and_reopen();
    ck_assert(metadata_group(m, BYTES_LIT("G"), &read));
    ck_assert(!read.consume_enable && read.consume_from_min_enable && read.notify_ids_changed);
    ck_assert_int_eq(read.which_broker_when_slow, 7);
    metadata_each_group(m, count_groups, &sum, &version);
    ck_assert_int_eq(sum, 19);
    ck_assert_int_eq(version.counter, 2);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    ck_assert(!metadata_group(m, BYTES_LIT("G"), NULL));
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), -ENOENT);
    turns();
    kill_and_reopen();
    ck_assert(!metadata_group(m, BYTES_LIT("G"), NULL));
    ck_assert_int_eq(retries_of(m, "H"), 3);
    ck_assert_int_eq(metadata_groups_version(m).counter, 3);
    close_meta();
}
END_TEST

START_TEST(a_group_that_comes_back_before_its_deletion_is_written_stays)
{
    open_meta();
    put_group("G", 1);
    turns();
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    put_group("G", 2);
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    put_group("G", 3);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(retries_of(m, "G"), 3);
    /* Killed with a deletion that nobody wrote: freed all the same. */
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("G"), false, NULL), 0);
    kill_and_reopen();
    ck_assert_int_eq(retries_of(m, "G"), 3);
    close_meta();
}
END_TEST

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

struct seen_offsets {
    char text[256];
};

static void see_offsets(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                        int32_t count)
{
    struct seen_offsets *seen = ctx;
    size_t at = strlen(seen->text);

    snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s@%.*s:%d:%lld;", (int)topic.len,
             (const char *)topic.at, (int)group.len, (const char *)group.at, count,
             (long long)offsets[count - 1]);
}

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

/* --- durable --- */

START_TEST(a_change_is_durable_once_it_is_synced)
{
    uint64_t topic, group;

    open_meta();
    topic = put_topic("T", 1);
    group = put_group("G", 1);
    ck_assert_uint_lt(metadata_durable(m), topic);
    turns();
    ck_assert_uint_ge(metadata_durable(m), group);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    put_topic("Lost", 1);
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    ck_assert_int_eq(retries_of(m, "G"), 1);
    ck_assert_int_eq(queues_of(m, "Lost"), -1);
    close_meta();
}
END_TEST

START_TEST(sequences_go_on_after_a_start)
{
    uint64_t before;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    before = metadata_last(m);
    kill_and_reopen();
    ck_assert_uint_eq(metadata_last(m), before);
    ck_assert_uint_eq(metadata_durable(m), before);
    ck_assert_uint_gt(put_topic("U", 1), before);
    close_meta();
}
END_TEST

START_TEST(offsets_are_collected_within_a_second_the_last_value_once)
{
    uint64_t syncs;
    int64_t bytes;

    open_meta();
    turns();
    syncs = atomic_load(&m->syncs);
    bytes = m->journal.bytes;
    for (int i = 0; i < 10000; i++) {
        commit("T", "G", i % 4, i);
        ck_assert_int_eq(metadata_delay_set(m, 1, i), 0);
    }
    ck_assert_int_le(metadata_turn(m, now), now + 1000);
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs);
    now += METADATA_OFFSETS_MS;
    turns();
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs + 1);
    ck_assert_int_lt(m->journal.bytes - bytes, 150);
    kill_and_reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 3), 9999);
    ck_assert_int_eq(metadata_delay(m, 1), 9999);
    close_meta();
}
END_TEST

START_TEST(nothing_is_due_when_nothing_changed)
{
    uint64_t syncs;

    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle_and_export();
    ck_assert_int_eq(metadata_turn(m, now), INT64_MAX);
    syncs = atomic_load(&m->syncs);
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    now += 100000;
    ck_assert_int_eq(metadata_turn(m, now), INT64_MAX);
    ck_assert_uint_eq(atomic_load(&m->syncs), syncs);
    close_meta();
}
END_TEST

/* --- a disk that fails --- */

static int failing_errno; /* of every write or sync below tern/meta, 0: none */
static int failed_calls;
static off_t last_write_at;

static ssize_t failing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    last_write_at = at;
    if (failing_errno) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

/* A disk that fills up in the middle of a write. */
static ssize_t short_then_failing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (failing_errno && n > 10)
        return pwrite(fd, from, n / 2, at);
    return failing_pwrite(fd, from, n, at);
}

static int failing_sync(int fd)
{
    (void)fd;
    if (failing_errno) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return 0;
}

static void full_disk(ssize_t (*write)(int, const void *, size_t, off_t))
{
    uint64_t sequence, durable;
    int64_t due;

    ops.pwrite = write;
    open_meta();
    put_topic("Before", 1);
    turns();
    durable = metadata_durable(m);
    log_begin();
    failing_errno = ENOSPC;
    sequence = put_topic("T", 2);
    commit("T", "G", 0, 5);
    due = metadata_turn(m, now);
    ck_assert_int_eq(due, now + METADATA_RETRY_MS);
    /* Meanwhile everything else goes on. */
    for (int i = 0; i < 20; i++) {
        now = due;
        due = metadata_turn(m, now);
        ck_assert_int_eq(due, now + METADATA_RETRY_MS);
        commit("T", "G", 0, 100 + i);
        ck_assert_int_eq(queues_of(m, "T"), 2);
        ck_assert_uint_eq(metadata_durable(m), durable);
    }
    ck_assert_int_eq(log_lines("No space left on device"), 1);
    ck_assert(log_has(in_dir(JOURNAL_1)));
    failing_errno = 0;
    now = due;
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    ck_assert(log_has("is written again"));
    settle();
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "Before"), 1);
    ck_assert_int_eq(queues_of(m, "T"), 2);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 119);
    ck_assert(!m->journal.damaged);
    close_meta();
}

START_TEST(a_full_disk_delays_what_is_durable_and_nothing_else)
{
    full_disk(failing_pwrite);
}
END_TEST

START_TEST(a_write_that_stops_halfway_is_written_again)
{
    full_disk(short_then_failing_pwrite);
}
END_TEST

/* After a failed sync the kernel may call the pages clean: only writing them again helps. */
START_TEST(a_failed_sync_writes_the_same_bytes_again)
{
    off_t at;

    ops.fdatasync = failing_sync;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    turns();
    put_topic("U", 1);
    failing_errno = EIO;
    ck_assert_int_eq(metadata_turn(m, now), now + METADATA_RETRY_MS);
    ck_assert_int_eq(failed_calls, 1);
    at = m->journal.end;
    ck_assert_uint_lt(metadata_durable(m), metadata_last(m));
    failing_errno = 0;
    ops.pwrite = failing_pwrite;
    last_write_at = -1;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_int_eq(last_write_at, at);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    close_meta();
}
END_TEST

START_TEST(a_crash_while_the_disk_is_full_loses_nothing_durable)
{
    ops.pwrite = short_then_failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    turns();
    failing_errno = ENOSPC;
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "Lost%d", i);
        put_topic(name, 1);
    }
    turns();
    failing_errno = 0;
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    close_meta();
}
END_TEST

START_TEST(close_says_what_kept_something_from_the_disk)
{
    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    failing_errno = ENOSPC;
    ck_assert_int_eq(metadata_close(m), -ENOSPC);
    failing_errno = 0;
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), -1);
    close_meta();
}
END_TEST

START_TEST(too_many_waiting_changes_are_refused_but_offsets_never)
{
    struct topic_config config = config_of(1);
    struct group_config group = group_config_default();
    char name[32];
    int taken = 0, r = 0;

    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    atomic_store(&m->started, true);
    failing_errno = ENOSPC;
    put_topic("First", 1);
    turns(); /* one batch is on its way and fails */
    while (r == 0 && taken <= METADATA_PENDING_MAX) {
        snprintf(name, sizeof(name), "N%d", taken);
        r = metadata_topic_put(m, bytes_str(name), &config, 0, NULL, NULL, NULL);
        taken += r == 0;
    }
    ck_assert_int_eq(r, -EAGAIN);
    ck_assert_int_eq(taken, METADATA_PENDING_MAX);
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &group, NULL, NULL), -EAGAIN);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("First"), 0, true, NULL), -EAGAIN);
    ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), -EAGAIN);
    ck_assert_int_eq(queues_of(m, name), -1);
    put_topic("N0", 7);    /* waits already */
    put_topic("First", 1); /* changes nothing */
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "G%d", i);
        commit("T", name, 0, 1);
    }
    failing_errno = 0;
    now += METADATA_RETRY_MS;
    settle();
    ck_assert_int_eq(metadata_group_put(m, BYTES_LIT("G"), &group, NULL, NULL), 0);
    atomic_store(&m->started, false);
    turns();
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "N0"), 7);
    ck_assert_int_eq(queues_of(m, "N16383"), 1);
    ck_assert_int_eq(retries_of(m, "G"), 16);
    ck_assert_int_eq(offset_of(m, "T", "G999", 0), 1);
    close_meta();
}
END_TEST

START_TEST(drops_that_wait_behind_a_full_batch_are_not_forgotten)
{
    char name[64];
    uint64_t sequence;

    ops.pwrite = failing_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle();
    failing_errno = ENOSPC;
    for (int i = 0; i < 4000; i++) { /* more than one batch */
        snprintf(name, sizeof(name), "%060d", i);
        put_topic(name, 1);
    }
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 0, true, &sequence), 0);
    ck_assert_int_eq(metadata_turn(m, now), now + METADATA_RETRY_MS);
    failing_errno = 0;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, name), 1);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), -1);
    close_meta();
}
END_TEST

/* --- generations --- */

START_TEST(a_journal_that_grew_gives_way_to_a_snapshot)
{
    struct metadata_stats stats;
    char name[32];

    open_meta();
    put_topic("Gone", 1);
    turns();
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("Gone"), 4242, false, NULL), 0);
    put_group("Gone", 1);
    turns();
    ck_assert_int_eq(metadata_group_delete(m, BYTES_LIT("Gone"), false, NULL), 0);
    ck_assert_int_eq(metadata_delay_set(m, 7, 70), 0);
    for (int i = 0; m->journal.generation == 1; i++) {
        ck_assert_int_lt(i, 100000);
        snprintf(name, sizeof(name), "N%d", i % 10);
        put_topic(name, i % 1000);
        put_group(name, i);
        commit("T", name, i % 8, i);
        settle();
    }
    metadata_stats(m, &stats);
    ck_assert_uint_eq(stats.generation, 2);
    ck_assert_uint_lt(stats.snapshot_bytes, 10000);
    ck_assert_uint_lt(stats.journal_bytes, 10000);
    ck_assert(!exists(in_dir(JOURNAL_1)));
    ck_assert(exists(in_dir("tern/meta/snapshot-00000000000000000002")));
    ck_assert(exists(in_dir("tern/meta/journal-00000000000000000002")));
    put_topic("After", 3);
    turns();
    struct metadata *before = m;
    m = open_copy();
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "N%d", i);
        ck_assert_int_eq(queues_of(m, name), queues_of(before, name));
        ck_assert_int_eq(retries_of(m, name), retries_of(before, name));
        for (int q = 0; q < 8; q++)
            ck_assert_int_eq(offset_of(m, "T", name, q), offset_of(before, "T", name, q));
    }
    ck_assert_int_eq(queues_of(m, "After"), 3);
    ck_assert_int_eq(queues_of(m, "Gone"), -1);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("Gone")), 4242);
    ck_assert_int_eq(retries_of(m, "Gone"), -1);
    ck_assert_int_eq(metadata_delay(m, 7), 70);
    ck_assert_int_eq(metadata_topics_version(m).counter, metadata_topics_version(before).counter);
    ck_assert_int_eq(metadata_groups_version(m).counter, metadata_groups_version(before).counter);
    for (uint32_t i = 0; i < metadata_topic_count(m); i++) /* the same order of topics */
        ck_assert_str_eq(metadata_topic_at(m, i)->name, metadata_topic_at(before, i)->name);
    metadata_tables_free(before);
    close_meta();
}
END_TEST

/* The snapshot is written in pieces; whatever changes between them is in the new journal. */
START_TEST(changes_while_a_snapshot_is_written_are_kept)
{
    enum { MANY = 6000 };
    char name[64];
    int pieces = 0;

    open_meta();
    m->journal.min_bytes = INT64_MAX;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%040d", i);
        put_topic(name, 1);
        put_group(name, 1);
        commit(name, name, 0, 1);
    }
    settle();
    m->journal.min_bytes = 0;
    put_topic("Trigger", 1);
    while (metadata_turn(m, now) <= now) {
        ck_assert_uint_eq(m->journal.generation, 2);
        pieces++;
        m->journal.min_bytes = INT64_MAX;
        /* One of each kind before and behind where the snapshot is. */
        for (int i = pieces; i < MANY; i += MANY / 7) {
            snprintf(name, sizeof(name), "%040d", i);
            put_topic(name, 100 + pieces);
            ck_assert_int_eq(metadata_group_delete(m, bytes_str(name), false, NULL), 0);
            commit(name, name, 0, 100 + pieces);
        }
        snprintf(name, sizeof(name), "New%d", pieces);
        put_group(name, pieces); /* takes a place that became free */
        now += METADATA_OFFSETS_MS;
    }
    ck_assert_int_gt(pieces, 3);
    ck_assert_uint_eq(m->journal.snapshot_generation, 2);
    settle();
    kill_and_reopen();
    for (int p = 1; p <= pieces; p++) {
        for (int i = p; i < MANY; i += MANY / 7) {
            snprintf(name, sizeof(name), "%040d", i);
            ck_assert_int_eq(queues_of(m, name), 100 + p);
            ck_assert_int_eq(retries_of(m, name), -1);
            ck_assert_int_eq(offset_of(m, name, name, 0), 100 + p);
        }
        snprintf(name, sizeof(name), "New%d", p);
        ck_assert_int_eq(retries_of(m, name), p);
    }
    for (int i = pieces + 1; i < MANY / 7; i++) {
        snprintf(name, sizeof(name), "%040d", i);
        ck_assert_int_eq(queues_of(m, name), 1);
        ck_assert_int_eq(retries_of(m, name), 1);
        ck_assert_int_eq(offset_of(m, name, name, 0), 1);
    }
    close_meta();
}
END_TEST

static int refuse_snapshots(const char *path, int flags, mode_t mode)
{
    if (failing_errno && strstr(path, "snapshot-")) {
        failed_calls++;
        errno = failing_errno;
        return -1;
    }
    return open(path, flags, mode);
}

START_TEST(a_snapshot_that_fails_is_tried_again_and_costs_nothing)
{
    ops.open = refuse_snapshots;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    failing_errno = ENOSPC;
    m->journal.min_bytes = 0;
    put_topic("T", 1);
    turns();
    ck_assert_int_eq(failed_calls, 1);
    ck_assert_uint_eq(m->journal.generation, 2); /* the cut was made, once */
    put_topic("U", 2);
    turns();
    ck_assert_int_eq(failed_calls, 1);
    now += METADATA_SNAPSHOT_RETRY_MS;
    turns();
    ck_assert_int_eq(failed_calls, 2);
    ck_assert_uint_eq(m->journal.generation, 2);
    ck_assert(exists(in_dir(JOURNAL_1)));
    failing_errno = 0;
    struct metadata *copy = open_copy(); /* as a crash would find it */
    failing_errno = ENOSPC;
    ck_assert_int_eq(queues_of(copy, "T"), 1);
    ck_assert_int_eq(queues_of(copy, "U"), 2);
    metadata_tables_free(copy);
    failing_errno = 0;
    now += METADATA_SNAPSHOT_RETRY_MS;
    turns();
    ck_assert_uint_eq(m->journal.snapshot_generation, m->journal.generation);
    ck_assert(!exists(in_dir(JOURNAL_1)));
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 1);
    ck_assert_int_eq(queues_of(m, "U"), 2);
    close_meta();
}
END_TEST

/* --- the thread --- */

static pthread_mutex_t durable_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t durable_moved = PTHREAD_COND_INITIALIZER;

static void on_durable(void *ctx)
{
    ck_assert_ptr_eq(ctx, &durable_lock);
    pthread_mutex_lock(&durable_lock);
    pthread_cond_broadcast(&durable_moved);
    pthread_mutex_unlock(&durable_lock);
}

static void wait_until_durable(uint64_t sequence)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_S;
    pthread_mutex_lock(&durable_lock);
    while (metadata_durable(m) < sequence)
        ck_assert_int_eq(pthread_cond_timedwait(&durable_moved, &durable_lock, &deadline), 0);
    pthread_mutex_unlock(&durable_lock);
}

static void open_with_thread(int64_t export_interval_ms, int64_t generation_bytes)
{
    struct metadata_options options = {.root_dir = dir,
                                       .on_durable = on_durable,
                                       .ctx = &durable_lock,
                                       .export_interval_ms = export_interval_ms};
    struct err err = {0};

    ck_assert_msg(metadata_open(&m, &options, &err) == 0, "%s", err.text);
    m->journal.min_bytes = generation_bytes;
    ck_assert_msg(metadata_start(m, &err) == 0, "%s", err.text);
}

START_TEST(the_thread_makes_changes_durable_and_says_so)
{
    uint64_t before;

    open_with_thread(EXPORT_MS, METADATA_GENERATION_MIN_BYTES);
    for (int i = 1; i < 50; i++)
        wait_until_durable(put_topic("T", i));
    wait_until_durable(put_group("G", 4));
    before = metadata_last(m);
    commit("T", "G", 0, 77);
    wait_until_durable(before + 1); /* offsets get a sequence when they are collected */
    struct metadata *copy = open_copy();
    ck_assert_int_eq(queues_of(copy, "T"), 49);
    ck_assert_int_eq(retries_of(copy, "G"), 4);
    ck_assert_int_eq(offset_of(copy, "T", "G", 0), 77);
    metadata_tables_free(copy);
    commit("T", "G", 0, 78);
    reopen();
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 78);
    close_meta();
}
END_TEST

START_TEST(closing_at_once_after_starting_is_fine)
{
    for (int i = 0; i < 20; i++) {
        open_with_thread(0, METADATA_GENERATION_MIN_BYTES);
        put_topic("T", i);
        close_meta();
    }
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 19);
    close_meta();
    ck_assert_int_eq(metadata_close(NULL), 0);
}
END_TEST

enum { WORKERS = 4, ROUNDS = 400 };

static void *work(void *ctx)
{
    int me = (int)(intptr_t)ctx;
    char own[32];

    snprintf(own, sizeof(own), "W%d", me);
    for (int i = 0; i < ROUNDS; i++) {
        struct seen_offsets seen = {{0}};
        struct buf body = {0};
        struct topic_config config = config_of(i);
        struct data_version version;
        uint64_t sequence;
        int sum = 0;

        put_topic("Shared", i);
        put_topic(own, i);
        put_group(own, i);
        commit("Shared", own, i % 8, i);
        commit(own, "Shared", i % 300, i);
        ck_assert_int_eq(metadata_delay_set(m, me + 1, i), 0);
        ck_assert_int_eq(queues_of(m, own), i);
        ck_assert_int_eq(retries_of(m, own), i);
        ck_assert_int_eq(offset_of(m, "Shared", own, i % 8), i);
        ck_assert_ptr_nonnull(metadata_topic_at(m, 0));
        switch (i % 10) {
        case 3:
            ck_assert_int_eq(metadata_topic_delete(m, bytes_str(own), (uint64_t)i, true, NULL), 0);
            break;
        case 5:
            ck_assert_int_eq(metadata_group_delete(m, bytes_str(own), true, &sequence), 0);
            wait_until_durable(sequence);
            break;
        case 7:
            metadata_each_topic(m, count_topics, &sum, &version);
            metadata_each_group(m, count_groups, &sum, &version);
            metadata_each_offset(m, bytes_str(own), (struct bytes){0}, see_offsets, &seen);
            break;
        case 9:
            metadata_topics_json(m, &body);
            metadata_groups_json(m, &body);
            metadata_offsets_json(m, &body);
            metadata_delays_json(m, &body);
            ck_assert(!body.failed && body.len > 0);
            buf_destroy(&body);
            ck_assert_int_eq(metadata_topics_set_order(m, NULL, 0, NULL), 0);
            break;
        default:
            ck_assert_int_eq(
                metadata_topic_put(m, bytes_str(own), &config, 0, &sequence, NULL, NULL), 0);
            break;
        }
    }
    return NULL;
}

START_TEST(several_threads_at_once_lose_nothing)
{
    pthread_t threads[WORKERS];
    char own[32];

    open_with_thread(0, 20000);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    close_meta();
    open_meta();
    ck_assert_uint_gt(m->journal.generation, 1);
    ck_assert_int_eq(queues_of(m, "Shared"), ROUNDS - 1);
    for (int i = 0; i < WORKERS; i++) {
        snprintf(own, sizeof(own), "W%d", i);
        ck_assert_int_eq(queues_of(m, own), ROUNDS - 1);
        ck_assert_int_eq(retries_of(m, own), ROUNDS - 1);
        ck_assert_int_eq(offset_of(m, "Shared", own, (ROUNDS - 1) % 8), ROUNDS - 1);
        ck_assert_int_eq(metadata_delay(m, i + 1), ROUNDS - 1);
    }
    close_meta();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata");
    TCase *c = tcase_create("tables");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, names_are_letters_digits_and_four_signs);
    tcase_add_test(c, bad_names_enter_no_table);
    tcase_add_test(c, a_topic_is_there_until_it_is_deleted);
    tcase_add_test(c, queue_counts_and_perm_have_bounds);
    tcase_add_test(c, who_leads_moves_both_versions_to_its_epoch);
    tcase_add_test(c, only_a_change_moves_the_version);
    tcase_add_test(c, a_deleted_topic_leaves_its_floor_and_its_place);
    tcase_add_test(c, a_floor_above_the_end_of_the_log_comes_down_to_it);
    tcase_add_test(c, each_topic_gives_the_live_ones_and_their_version);
    tcase_add_test(c, what_changed_since_a_mark_is_told_once_and_with_the_version);
    tcase_add_test(c, all_topics_are_told_in_pages);
    tcase_add_test(c, an_order_table_says_it_for_all_topics);
    tcase_add_test(c, thousands_of_topics_and_groups_are_found);
    tcase_add_test(c, a_group_is_there_until_it_is_deleted);
    tcase_add_test(c, a_group_that_comes_back_before_its_deletion_is_written_stays);
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
    c = tcase_create("durable");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, a_change_is_durable_once_it_is_synced);
    tcase_add_test(c, sequences_go_on_after_a_start);
    tcase_add_test(c, offsets_are_collected_within_a_second_the_last_value_once);
    tcase_add_test(c, nothing_is_due_when_nothing_changed);
    tcase_add_test(c, a_full_disk_delays_what_is_durable_and_nothing_else);
    tcase_add_test(c, a_write_that_stops_halfway_is_written_again);
    tcase_add_test(c, a_failed_sync_writes_the_same_bytes_again);
    tcase_add_test(c, a_crash_while_the_disk_is_full_loses_nothing_durable);
    tcase_add_test(c, close_says_what_kept_something_from_the_disk);
    tcase_add_test(c, too_many_waiting_changes_are_refused_but_offsets_never);
    tcase_add_test(c, drops_that_wait_behind_a_full_batch_are_not_forgotten);
    tcase_add_test(c, a_journal_that_grew_gives_way_to_a_snapshot);
    tcase_add_test(c, changes_while_a_snapshot_is_written_are_kept);
    tcase_add_test(c, a_snapshot_that_fails_is_tried_again_and_costs_nothing);
    suite_add_tcase(s, c);
    c = tcase_create("thread");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, the_thread_makes_changes_durable_and_says_so);
    tcase_add_test(c, closing_at_once_after_starting_is_fine);
    tcase_add_test(c, several_threads_at_once_lose_nothing);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
