/* test_index.c - the key index follows the log: everything that was confirmed is found by its keys,
 * whatever happened to the files in between. */
#include "store_fixture.h"

#include <inttypes.h>
#include <sys/wait.h>

#include "broker/store/index_internal.h"
#include "broker/store/store_internal.h"
#include "broker/store/store_mark.h"

enum { GROUPS = 7, ALL = INT32_MAX };

static struct file_ops ops;

static void begin(void)
{
    fixture_begin();
    ops = file_ops_system;
    options.index = true;
    options.index_shape = (struct index_shape){.slots = 100, .entries_max = 500};
}

/* --- messages with keys --- */

static struct store_position put_properties(int64_t number, struct bytes properties)
{
    struct store_position position;
    char body[64];

    fill_body(body, sizeof(body), "message", number);
    struct store_message m = message((int32_t)(number % 4), body, sizeof(body));
    m.properties = properties;
    ck_assert_int_eq(store_append(store, &m, 1, &position, NULL), 0);
    return position;
}

/* Message `number`: UNIQ_KEY U<number>, KEYS "k<number> g<number % GROUPS>". */
static struct store_position put_keyed(int64_t number)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "UNIQ_KEY\1U%" PRId64 "\2KEYS\1k%" PRId64 " g%" PRId64,
                     number, number, number % GROUPS);

    return put_properties(number, bytes_of(text, (size_t)n));
}

static void put_many(int64_t first, int64_t count)
{
    struct store_position position = {0};

    for (int64_t i = first; i < first + count; i++) {
        position = put_keyed(i);
        if (i % 50 == 49)
            store_write(store);
    }
    store_write(store);
    ck_assert(wait_confirmed(position.log_end));
}

static int64_t numbers[20000];
static struct store_answer answer;
static _Atomic bool disk_full; /* the index gets no byte written */

/* Numbers of the messages found, in numbers[]; how many. */
static int find_between(const char *key, int max, int64_t begin_ms, int64_t end_ms)
{
    struct store_query q = {.topic = bytes_of(topic->name, topic->name_len),
                            .key = bytes_str(key),
                            .max = max == ALL ? 20000 : max,
                            .begin_ms = begin_ms,
                            .end_ms = end_ms};
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    struct buf out = {0};
    struct bytes left;
    int count = 0;

    do { /* a query waits a second for the index; a slow machine may need more */
        buf_reset(&out);
        ck_assert_int_eq(store_query(store, &q, &out, &answer), 0);
    } while (answer.behind > 0 && !disk_full && clock_mono_ms() < deadline);
    left = buf_bytes(&out);
    while (left.len > 0) {
        struct record r;
        ck_assert_int_eq(record_decode(left, &r), 0);
        numbers[count++] = number_in(&r);
        left = bytes_of(left.at + r.total_size, left.len - r.total_size);
    }
    ck_assert_int_eq(count, answer.messages);
    buf_destroy(&out);
    return count;
}

static int find(const char *key)
{
    return find_between(key, ALL, 0, INT64_MAX);
}

/* Messages first to end-1 are found by each of their keys, others are not. */
static void expect_found(int64_t first, int64_t end)
{
    char key[32];

    for (int64_t i = first; i < end; i++) {
        snprintf(key, sizeof(key), "U%" PRId64, i);
        ck_assert_msg(find(key) == 1 && numbers[0] == i, "%s", key);
        snprintf(key, sizeof(key), "k%" PRId64, i);
        ck_assert_msg(find(key) == 1 && numbers[0] == i, "%s", key);
    }
    for (int64_t g = 0; g < GROUPS; g++) {
        int64_t next = first + (g - first % GROUPS + GROUPS) % GROUPS;
        int n;
        snprintf(key, sizeof(key), "g%" PRId64, g);
        n = find(key);
        for (int i = 0; i < n; i++, next += GROUPS)
            ck_assert_int_eq(numbers[i], next);
        ck_assert_int_ge(next, end);
        ck_assert_int_lt(next, end + GROUPS);
    }
    ck_assert_int_eq(find("U-1"), 0);
}

/* Once nothing is read again from the log any more. */
static bool index_is_whole(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats.index.lag_bytes == 0 && stats.index.repairing_bytes == 0 &&
           stats.index.hidden == 0;
}

static struct index_stats index_now(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    ck_assert(stats.has_index);
    return stats.index;
}

/* --- files --- */

static struct file_list list_files(void)
{
    struct file_list list;

    ck_assert_int_eq(file_list(in_dir("index"), &list), 0);
    return list;
}

static const char *index_path(size_t i)
{
    static char path[700];
    struct file_list list = list_files();

    ck_assert_uint_lt(i, list.count);
    snprintf(path, sizeof(path), "%s/%s", in_dir("index"), list.names[i]);
    file_list_free(&list);
    return path;
}

static size_t file_count(void)
{
    struct file_list list = list_files();
    size_t count = list.count;

    file_list_free(&list);
    return count;
}

static void damage_file(const char *path, off_t at, const void *bytes, size_t n)
{
    int fd = file_open(path, O_RDWR, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(file_write_all(fd, bytes, n, at), 0);
    file_close(fd);
}

/* The next start finds it as a kill -9 would have left it, or a power cut, which takes `lost` too.
 */
static void crash_in_child(int64_t first, int64_t count)
{
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        open_store();
        put_many(first, count);
        find("U0"); /* what is confirmed is in the files now */
        put_many(first + count, 50);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- following --- */

START_TEST(a_confirmed_message_is_found_by_each_of_its_keys)
{
    open_store();
    put_many(0, 600);
    expect_found(0, 600);
    ck_assert_uint_eq(answer.behind, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(files_roll_when_they_are_full_and_the_checkpoint_knows_the_last_full_one)
{
    struct index_file f;
    struct err err;
    int64_t before = 0, full_ms = 0, in_checkpoint;
    uint32_t entries = 0;

    open_store();
    put_many(0, 600);
    ck_assert_int_eq(find("U599"), 1);
    ck_assert_int_eq(close_store(), 0);
    ck_assert_uint_eq(file_count(), 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(index_file_open(&f, index_path(i), &options.index_shape, &err) == 0, "%s",
                      err.text);
        ck_assert_int_ge(f.view.header.begin_offset, before);
        ck_assert_uint_eq(f.view.header.next, i < 3 ? 500 : 1 + 1800 - 3 * 499);
        before = f.view.header.end_offset;
        entries += f.view.header.next - 1;
        if (i == 2)
            full_ms = f.view.header.end_ms;
        index_file_close(&f);
    }
    ck_assert_uint_eq(entries, 1800);
    ck_assert_int_eq(checkpoint_index_ms(in_dir("checkpoint"), &in_checkpoint), 0);
    ck_assert_int_eq(in_checkpoint, full_ms);
}
END_TEST

START_TEST(after_a_clean_stop_nothing_is_indexed_again)
{
    for (int64_t round = 0; round < 4; round++) {
        open_store();
        if (round > 0)
            expect_found(0, 100 * round);
        ck_assert_uint_eq(index_now().entries, 0);
        put_many(100 * round, 100);
        expect_found(0, 100 * round + 100);
        ck_assert_uint_eq(index_now().entries, 300);
        ck_assert_int_eq(close_store(), 0);
    }
    ck_assert_uint_eq(file_count(), 3);
}
END_TEST

START_TEST(records_without_keys_and_rolled_back_ones_are_passed_over)
{
    struct store_position p;
    char body[20] = "x";
    struct store_message m;

    open_store();
    put_properties(1, BYTES_LIT("TAGS\1a"));
    put_properties(2, BYTES_LIT("UNIQ_KEY\1\2KEYS\1 \2TAGS\1a"));
    put_properties(3, BYTES_LIT("KEYS\1  spaced   out "));
    m = message(0, body, sizeof(body));
    m.properties = BYTES_LIT("UNIQ_KEY\1rolled");
    m.sys_flag = RECORD_TRANSACTION_ROLLBACK;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    store_write(store);
    ck_assert(wait_confirmed(p.log_end));
    ck_assert_int_eq(find("spaced"), 1);
    ck_assert_int_eq(find("out"), 1);
    ck_assert_int_eq(find("rolled"), 0);
    ck_assert_uint_eq(index_now().entries, 2);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* "Aa" and "BB" have the same hash in Java. */
START_TEST(strangers_with_the_same_hash_are_not_given)
{
    open_store();
    put_properties(1, BYTES_LIT("KEYS\1Aa Aa"));
    put_properties(2, BYTES_LIT("KEYS\1BB"));
    put_properties(3, BYTES_LIT("UNIQ_KEY\1Aa"));
    store_write(store);
    ck_assert(wait_confirmed(store_end(store)));
    ck_assert_int_eq(find("Aa"), 2);
    ck_assert_int_eq(numbers[0], 1);
    ck_assert_int_eq(numbers[1], 3);
    ck_assert_int_eq(find("BB"), 1);
    ck_assert_int_eq(numbers[0], 2);
    ck_assert_int_eq(find_between("BB", 1, 0, INT64_MAX), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(the_newest_come_when_there_are_more_than_asked_for)
{
    open_store();
    put_many(0, 600);
    ck_assert_int_eq(find_between("g3", 5, 0, INT64_MAX), 5);
    ck_assert(answer.cut);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(numbers[i], 598 - 7 * (4 - i));
    ck_assert_int_eq(find_between("g3", 86, 0, INT64_MAX), 86);
    ck_assert(!answer.cut);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(times_count_to_the_millisecond)
{
    struct store_position p[5];

    open_store();
    for (int i = 0; i < 5; i++) {
        p[i] = put_keyed(7 * i);
        while (clock_wall_ms() <= p[i].store_ms + 2) {
        }
    }
    store_write(store);
    ck_assert(wait_confirmed(p[4].log_end));
    ck_assert_int_eq(find_between("g0", 9, p[1].store_ms, p[3].store_ms), 3);
    ck_assert_int_eq(numbers[0], 7);
    ck_assert_int_eq(find_between("g0", 9, p[1].store_ms + 1, p[3].store_ms - 1), 1);
    ck_assert_int_eq(numbers[0], 14);
    ck_assert_int_eq(find_between("g0", 9, p[4].store_ms + 1, INT64_MAX), 0);
    ck_assert_int_eq(find_between("g0", 9, 0, p[0].store_ms - 1), 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* A limit that another member of the group sets may lie anywhere, inside of a record too. */
START_TEST(nothing_above_confirmed_is_found)
{
    struct store_position p[3];

    open_store();
    for (int64_t i = 0; i < 3; i++)
        p[i] = put_keyed(i);
    store_limit_confirmed(store, p[1].log_end - 1);
    store_write(store);
    ck_assert(wait_confirmed(p[1].log_end - 1));
    ck_assert_int_eq(find("U0"), 1);
    ck_assert_uint_eq(answer.behind, 0);
    ck_assert_int_eq(find("U1"), 0);
    store_limit_confirmed(store, p[1].log_end + 3);
    ck_assert_int_eq(find("U1"), 1);
    ck_assert_int_eq(find("U2"), 0);
    store_limit_confirmed(store, UINT64_MAX);
    ck_assert_int_eq(find("U2"), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(without_an_index_a_search_says_so)
{
    struct store_query q = {.topic = BYTES_LIT("Orders"), .key = BYTES_LIT("k"), .max = 1};
    struct buf out = {0};

    options.index = false;
    open_store();
    ck_assert_int_eq(store_query(store, &q, &out, &answer), -ENOTSUP);
    put_many(0, 10);
    ck_assert_int_eq(close_store(), 0);
    ck_assert(!exists(in_dir("index")));
    options.index = true; /* and from then on, from the beginning of the log */
    open_store();
    expect_found(0, 10);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(an_idle_index_sleeps_and_holds_no_memory)
{
    open_store();
    put_many(0, 100);
    expect_found(0, 100);
    while (atomic_load(&store->index->wake_at) != store_confirmed(store) + 1)
        sched_yield();
    ck_assert_ptr_null(store->index->writer.entries);
    ck_assert_ptr_null(store->index->feed.bytes);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- crashes --- */

START_TEST(nothing_is_lost_by_kill_9)
{
    for (int64_t round = 0; round < 4; round++)
        crash_in_child(200 * round, 150);
    open_store();
    expect_found(0, 800);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    expect_found(0, 800);
    ck_assert_uint_eq(index_now().entries, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* After a power cut any page that was not synced may be old: slots that name entries which are not
 * there, entries that were never written. */
START_TEST(nothing_is_lost_by_a_power_cut)
{
    uint8_t zeroes[100 * 20] = {0}, slots[100 * 4], header[INDEX_HEADER_BYTES];
    int fd;

    open_store();
    put_many(0, 50);
    ck_assert_int_eq(close_store(), 0);
    fd = file_open(index_path(0), O_RDONLY, 0);
    ck_assert_int_eq(file_read_all(fd, header, sizeof(header), 0), 0);
    file_close(fd);
    crash_in_child(50, 50); /* tern/index knows the 150 entries from before */
    ck_assert_uint_eq(file_count(), 1);
    for (uint32_t i = 0; i < 100; i++)
        store_be32(slots + 4 * i, i % 3 == 0 ? 0 : i % 3 == 1 ? 151 + i : UINT32_MAX);
    damage_file(index_path(0), INDEX_HEADER_BYTES, slots, sizeof(slots));
    if (_i == 1) /* the header did not make it either */
        damage_file(index_path(0), 0, header, sizeof(header));
    damage_file(index_path(0), (off_t)index_entry_at(&options.index_shape, 151), zeroes,
                sizeof(zeroes));
    open_store();
    expect_found(0, 150);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* The log was cut where the index had already been: what is written there next is found, what
 * stood there before is not. */
static void copy_folder(const char *from, const char *to)
{
    struct file_list list;
    char a[800], b[800];

    ck_assert_int_eq(file_mkdirs(to), 0);
    ck_assert_int_eq(file_list(from, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct buf content = {0};
        snprintf(a, sizeof(a), "%s/%s", from, list.names[i]);
        snprintf(b, sizeof(b), "%s/%s", to, list.names[i]);
        if (file_load(a, 1 << 24, &content) == 0) {
            int fd = file_open(b, O_WRONLY | O_CREAT | O_TRUNC, 0644);
            ck_assert_int_ge(fd, 0);
            ck_assert_int_eq(file_write_all(fd, buf_at(&content), content.len, 0), 0);
            file_close(fd);
        } /* else a folder */
        buf_destroy(&content);
    }
    file_list_free(&list);
}

START_TEST(entries_above_the_end_of_the_log_go)
{
    struct store_position p = {0};

    open_store();
    put_many(0, 250);
    p = put_keyed(250);
    store_write(store);
    put_many(251, 100);
    expect_found(0, 351);
    copy_folder(in_dir("tern"), in_dir("tern-then"));
    ck_assert_int_eq(close_store(), 0);
    ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    unlink(in_dir("tern/flushed"));
    ck_assert_int_eq(rename(in_dir("tern-then/index"), in_dir("tern/index")), 0);
    spoil_log(p.log_offset + 5, 0xff);
    for (uint64_t at = p.log_offset; at < p.log_end; at++)
        spoil_log(at, 0xff);
    /* Everything behind it goes too, so that this is the end. */
    for (uint64_t begin = p.log_offset; begin < p.log_offset + 200000;) {
        uint64_t segment = 65536, end = (begin / segment + 1) * segment;
        if (!exists(segment_path(begin)))
            break;
        uint8_t *zeroes = calloc(1, end - begin);
        ck_assert_ptr_nonnull(zeroes);
        damage_file(segment_path(begin), (off_t)(begin % segment), zeroes, end - begin);
        free(zeroes);
        begin = end;
    }
    copy_folder(in_dir("index"), in_dir("index-then"));
    open_store();
    ck_assert_uint_eq(store_end(store), p.log_offset);
    copy_folder(in_dir("tern"), in_dir("tern-then"));
    expect_found(0, 250);
    ck_assert_int_eq(find("U250"), 0);
    put_many(1000, 10);
    ck_assert_int_eq(find("U1009"), 1);
    ck_assert_int_eq(close_store(), 0);

    /* The next crash takes what the index has done since, and not the log that it was done for. */
    ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    remove_tree(in_dir("index"));
    copy_folder(in_dir("index-then"), in_dir("index"));
    ck_assert_int_eq(unlink(in_dir("tern/index")), 0);
    ck_assert_int_eq(rename(in_dir("tern-then/index"), in_dir("tern/index")), 0);
    open_store();
    ck_assert_int_eq(find("U249"), 1);
    ck_assert_int_eq(find("U250"), 0);
    ck_assert_int_eq(find("U1000"), 1);
    ck_assert_int_eq(find("U1009"), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- damage --- */

static void lose_newest(void)
{
    unlink(index_path(file_count() - 1));
}
static void lose_middle(void)
{
    unlink(index_path(1));
}
static void lose_oldest(void)
{
    unlink(index_path(0));
}
static void lose_all(void)
{
    remove_tree(in_dir("index"));
}
static void lose_all_and_state(void)
{
    remove_tree(in_dir("index"));
    unlink(in_dir("tern/index"));
}
static void lose_state(void)
{
    unlink(in_dir("tern/index"));
}
static void flip_state(void)
{
    spoil(in_dir("tern/index"), 30, 4);
}
static void shorten_middle(void)
{
    ck_assert_int_eq(truncate(index_path(1), 1000), 0);
}
static void shorten_newest(void)
{
    ck_assert_int_eq(truncate(index_path(file_count() - 1), 39), 0);
}
static void lengthen_middle(void)
{
    ck_assert_int_eq(truncate(index_path(1), 1 << 20), 0);
}
static void flip_header(void)
{
    spoil(index_path(1), 20, 1);
}
static void flip_newest_header(void)
{
    spoil(index_path(file_count() - 1), 38, 0x40);
}
static void shorten_middle_without_state(void)
{
    shorten_middle();
    lose_state();
}
static void shorten_newest_without_state(void)
{
    shorten_newest();
    lose_state();
}
static void lose_oldest_without_state(void)
{
    lose_oldest();
    lose_state();
}
static void strange_file(void)
{
    damage_file(in_dir("tern/index"), 0, "", 0);
    int fd = file_open(in_dir("index/20990101000000000"), O_RDWR | O_CREAT, 0644);
    ck_assert_int_ge(fd, 0);
    file_close(fd);
    fd = file_open(in_dir("index/notes.txt"), O_RDWR | O_CREAT, 0644);
    file_close(fd);
}
static void other_shape(void)
{
    options.index_shape = (struct index_shape){.slots = 64, .entries_max = 700};
}

static void (*const spoilers[])(void) = {
    lose_newest,
    lose_middle,
    lose_oldest,
    lose_all,
    lose_all_and_state,
    lose_state,
    flip_state,
    shorten_middle,
    shorten_newest,
    lengthen_middle,
    flip_header,
    flip_newest_header,
    shorten_middle_without_state,
    shorten_newest_without_state,
    lose_oldest_without_state,
    strange_file,
    other_shape,
};
enum { SPOILERS = sizeof(spoilers) / sizeof(spoilers[0]) };

/* Whatever is missing or wrong is made again from the log while the store runs; a second start
 * finds it done. `crashed`: the stop was not clean either. */
START_TEST(missing_and_broken_files_are_made_again)
{
    bool crashed = _i >= SPOILERS;

    open_store();
    put_many(0, 600);
    ck_assert_int_eq(close_store(), 0);
    if (crashed)
        ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    spoilers[_i % SPOILERS]();
    open_store();
    put_many(600, 20);
    ck_assert(wait_until(index_is_whole));
    expect_found(0, 620);
    ck_assert_int_eq(close_store(), 0);
    if (crashed)
        return;
    open_store();
    expect_found(0, 620);
    ck_assert_uint_eq(index_now().entries, 0);
    ck_assert_uint_eq(index_now().repairing_bytes, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* Lost twice: the second time before it was made again. */
START_TEST(a_stop_in_the_middle_of_a_repair_forgets_nothing)
{
    open_store();
    put_many(0, 600);
    ck_assert_int_eq(close_store(), 0);
    lose_middle();
    lose_oldest();
    for (int i = 0; i < 3; i++) {
        open_store();
        ck_assert_int_eq(close_store(), 0);
    }
    open_store();
    ck_assert(wait_until(index_is_whole));
    expect_found(0, 600);
    ck_assert_int_eq(close_store(), 0);
    ck_assert(!exists(in_dir("tern/index-repair")));
}
END_TEST

/* A bit flips in a file that nobody looks at until a search meets it: that search finds less, the
 * file is put right, and then it finds all. */
START_TEST(damage_that_a_search_meets_is_put_right)
{
    static const struct {
        size_t file;
        uint32_t slot_or_entry;
        bool entry;
    } cases[] = {{1, 0, false}, {3, 0, false}, {1, 499, true}, {3, 100, true}};
    uint32_t garbage = 0xfefefefe;

    open_store();
    put_many(0, 600);
    ck_assert_int_eq(close_store(), 0);
    if (cases[_i].entry)
        damage_file(index_path(cases[_i].file),
                    (off_t)index_entry_at(&options.index_shape, cases[_i].slot_or_entry) + 16,
                    &garbage, 4);
    else
        for (uint32_t slot = 0; slot < 100; slot++)
            damage_file(index_path(cases[_i].file), (off_t)index_slot_at(slot), &garbage, 4);
    open_store();
    for (int64_t i = 0; i < 600; i++) { /* somebody looks */
        char key[32];
        snprintf(key, sizeof(key), "k%" PRId64, i);
        ck_assert_int_le(find(key), 1);
    }
    ck_assert(wait_until(index_is_whole));
    expect_found(0, 600);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(damage_in_the_log_does_not_end_the_index)
{
    struct store_position p[3];

    open_store();
    put_many(0, 50);
    for (int i = 0; i < 3; i++) {
        p[i] = put_keyed(50);
        put_many(51, 100);
    }
    ck_assert_int_eq(close_store(), 0);
    lose_all_and_state();
    spoil_log(p[0].log_offset + 2, 0x40); /* a size that leads nowhere */
    spoil_log(p[1].log_offset + 90, 1);   /* its body */
    spoil_log(p[2].log_offset + 30, 1);   /* where it thinks it is */
    open_store();
    ck_assert_int_eq(find("U50"), 0);
    ck_assert_int_eq(find("U49"), 1);
    ck_assert_int_eq(find("U51"), 3);
    ck_assert_int_eq(find("U150"), 3);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static ssize_t full_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (disk_full) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

static bool index_has_failed(void)
{
    return index_now().failures > 0;
}

START_TEST(a_full_disk_stops_the_index_and_not_the_log)
{
    ops.pwrite = full_pwrite; /* the log itself is written by pwritev, into allocated space */
    file_ops_set(&ops);
    open_store();
    put_many(0, 100);
    ck_assert_int_eq(find("U1"), 1);
    disk_full = true;
    put_many(100, 100);
    ck_assert(wait_until(index_has_failed));
    ck_assert_int_eq(find("U1"), 1);
    ck_assert_int_eq(find("U150"), 0);
    ck_assert_uint_gt(answer.behind, 0);
    disk_full = false;
    ck_assert(wait_until(index_is_whole));
    while (find("U150") == 0 || answer.behind > 0)
        sched_yield();
    expect_found(0, 200);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static bool first_file_is_gone(void)
{
    return file_count() == 3;
}

START_TEST(retention_takes_files_whose_records_are_gone)
{
    struct index_file f;
    struct err err;
    uint64_t second_end;

    open_store();
    put_many(0, 600);
    expect_found(0, 600);
    ck_assert_int_eq(index_file_open(&f, index_path(0), &options.index_shape, &err), 0);
    index_delete_before(store->index, (uint64_t)f.view.header.end_offset);
    index_file_close(&f);
    ck_assert_int_eq(index_file_open(&f, index_path(1), &options.index_shape, &err), 0);
    second_end = (uint64_t)f.view.header.end_offset;
    index_file_close(&f);
    find("U1");
    ck_assert_uint_eq(file_count(), 4); /* its last record is still there */
    index_delete_before(store->index, second_end);
    ck_assert(wait_until(first_file_is_gone));
    index_delete_before(store->index, UINT64_MAX); /* never the newest */
    while (index_now().files > 1)
        sched_yield();
    ck_assert_int_eq(find("U599"), 1);
    ck_assert_int_eq(find("U1"), 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- RocketMQ --- */

static void open_rocketmqs(const char *archive)
{
    static char root[300];
    char command[1024];
    struct err err = {0};

    if (archive) {
        snprintf(command, sizeof(command),
                 "tar -xJf '%s/../../../data/rocketmq-store/%s.tar.xz' -C '%s'", TERN_TEST_VECTORS,
                 archive, dir);
        ck_assert_int_eq(system(command), 0);
    }
    snprintf(root, sizeof(root), "%s/store", dir);
    options.segment_bytes = 131072;
    options.index_shape = (struct index_shape){.slots = 500, .entries_max = 2000};
    struct metadata_options m = {.root_dir = root, .export_interval_ms = 1000};
    options.root_dir = root;
    ck_assert_msg(metadata_open(&metadata, &m, &err) == 0, "%s", err.text);
    options.metadata = metadata;
    ck_assert_msg(store_open(&store, &options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(metadata_start(metadata, &err), 0);
}

/* Every message that RocketMQ's clients were told of is found by the id they have. */
static void expect_sent(int expected)
{
    FILE *f = fopen(in_dir("sent.tsv"), "re");
    char *line = NULL;
    size_t cap = 0;
    int rows = 0;

    ck_assert_ptr_nonnull(f);
    while (getline(&line, &cap, f) > 0) {
        char *field[8] = {NULL}, *save = NULL;
        struct buf out = {0};
        struct record r;
        int n = 0;

        if (strncmp(line, "sent\t", 5) != 0)
            continue;
        for (char *at = strtok_r(line, "\t\n", &save); at && n < 8;
             at = strtok_r(NULL, "\t\n", &save))
            field[n++] = at;
        struct store_query q = {.topic = bytes_str(field[1]),
                                .key = bytes_str(field[4]),
                                .max = 2,
                                .end_ms = INT64_MAX};
        ck_assert_int_eq(store_query(store, &q, &out, &answer), 0);
        ck_assert_int_eq(answer.messages, 1);
        ck_assert_int_eq(record_decode(buf_bytes(&out), &r), 0);
        ck_assert_int_eq(r.queue_offset, atoll(field[3]));
        buf_destroy(&out);
        rows++;
    }
    free(line);
    fclose(f);
    ck_assert_int_eq(rows, expected);
}

static void expect_one_with_key(const char *of, const char *key)
{
    struct store_query q = {
        .topic = bytes_str(of), .key = bytes_str(key), .max = 9, .end_ms = INT64_MAX};
    struct buf out = {0};

    ck_assert_int_eq(store_query(store, &q, &out, &answer), 0);
    ck_assert_int_eq(answer.messages, 1);
    buf_destroy(&out);
}

START_TEST(rocketmqs_index_is_read_and_continued)
{
    static const struct {
        const char *archive;
        int rows;
        bool all_again;
    } from[] = {{"clean49", 1600, false}, {"killed49", 1200, true}};

    open_rocketmqs(from[_i].archive);
    expect_sent(from[_i].rows);
    if (from[_i].all_again) /* RocketMQ itself would not believe the newest file either */
        ck_assert_uint_gt(index_now().entries, 500);
    else
        ck_assert_uint_eq(index_now().entries, 0);
    topic = metadata_topic(metadata, BYTES_LIT("FixOrders"), NULL);
    put_many(100000, 100);
    ck_assert_int_eq(find("U100050"), 1);
    ck_assert_int_eq(find("k100050"), 1);
    expect_one_with_key("FixLog", "key-7");
    ck_assert_int_eq(close_store(), 0);
    open_rocketmqs(NULL);
    expect_sent(from[_i].rows);
    topic = metadata_topic(metadata, BYTES_LIT("FixOrders"), NULL);
    ck_assert_int_eq(find("k100099"), 1);
    ck_assert_uint_eq(index_now().entries, 0);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("index");
    TCase *t = tcase_create("all");

    tcase_add_checked_fixture(t, begin, fixture_end);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_confirmed_message_is_found_by_each_of_its_keys);
    tcase_add_test(t, files_roll_when_they_are_full_and_the_checkpoint_knows_the_last_full_one);
    tcase_add_test(t, after_a_clean_stop_nothing_is_indexed_again);
    tcase_add_test(t, records_without_keys_and_rolled_back_ones_are_passed_over);
    tcase_add_test(t, strangers_with_the_same_hash_are_not_given);
    tcase_add_test(t, the_newest_come_when_there_are_more_than_asked_for);
    tcase_add_test(t, times_count_to_the_millisecond);
    tcase_add_test(t, nothing_above_confirmed_is_found);
    tcase_add_test(t, without_an_index_a_search_says_so);
    tcase_add_test(t, an_idle_index_sleeps_and_holds_no_memory);
    tcase_add_test(t, nothing_is_lost_by_kill_9);
    tcase_add_loop_test(t, nothing_is_lost_by_a_power_cut, 0, 2);
    tcase_add_test(t, entries_above_the_end_of_the_log_go);
    tcase_add_loop_test(t, missing_and_broken_files_are_made_again, 0, 2 * SPOILERS);
    tcase_add_test(t, a_stop_in_the_middle_of_a_repair_forgets_nothing);
    tcase_add_loop_test(t, damage_that_a_search_meets_is_put_right, 0, 4);
    tcase_add_test(t, damage_in_the_log_does_not_end_the_index);
    tcase_add_test(t, a_full_disk_stops_the_index_and_not_the_log);
    tcase_add_test(t, retention_takes_files_whose_records_are_gone);
    tcase_add_loop_test(t, rocketmqs_index_is_read_and_continued, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
