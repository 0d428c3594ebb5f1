/* test_store_recovery.c - what is there again when files are damaged or gone, and from RocketMQ. */
#include <inttypes.h>

#include "store_recovery_fixture.h"

/* --- damage --- */

static struct store_position places[1000];

static void append_known(int64_t count)
{
    open_store();
    for (int64_t i = 0; i < count; i++)
        places[i] = append((int32_t)(i % 4), i);
    store_write(store);
    ck_assert_int_eq(close_store(), 0);
}

static void mark_seen(const struct record *r, void *ctx)
{
    bool *seen = ctx;
    int64_t number = number_in(r);

    ck_assert_int_lt(number, 1000);
    ck_assert(!seen[number]);
    ck_assert_int_eq(r->queue_id, number % 4);
    ck_assert_int_eq(r->queue_offset, number / 4);
    seen[number] = true;
}

/* All of the first `count` messages but those in the list (ended by -1) are there. */
static void expect_all_but(int64_t count, const int64_t *lost)
{
    bool seen[1000] = {false};

    for (int32_t q = 0; q < 4; q++)
        read_queue(topic, q, mark_seen, seen);
    for (; *lost >= 0; lost++) {
        ck_assert(!seen[*lost]);
        seen[*lost] = true;
    }
    for (int64_t i = 0; i < count; i++)
        ck_assert_msg(seen[i], "message %" PRId64 " is lost", i);
}

/* With their queue files gone the whole log is read at the next start. */
static void open_scanning(void)
{
    remove_tree(in_dir("consumequeue"));
    open_store();
}

START_TEST(damage_below_the_mark_is_stepped_over_and_never_cut)
{
    static const struct {
        int64_t number;
        int at;
    } rows[] = {
        {100, 120}, /* body */
        {101, 1},   /* size: far too large */
        {102, 3},   /* size: a little off */
        {103, 4},   /* magic */
        {104, 30},  /* its own offset */
        {105, 16},  /* a field that only the whole checksum covers */
        {106, 200}, /* properties or their checksum */
    };
    struct buf out = {0};
    struct record r;
    uint64_t end;

    append_known(1000);
    end = places[999].log_end;
    spoil_log(places[rows[_i].number].log_offset + (uint64_t)rows[_i].at, 0x11);
    open_scanning();
    ck_assert_uint_eq(store_end(store), end);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_uint_eq(stats_now().records_recovered, 999);
    expect_all_but(1000, (int64_t[]){rows[_i].number, -1});
    ck_assert_int_eq(store_read_record(store, places[rows[_i].number].log_offset, &out, &r),
                     -ENOENT);
    buf_destroy(&out);
    ck_assert_int_eq(count_in_tern("cut-", NULL), 0);
    struct store_position p = append(0, 1000);
    ck_assert_uint_eq(p.log_offset, end);
    ck_assert_int_eq(p.queue_offset, 250);
    store_write(store);
    close_as_crashed();
    open_scanning(); /* damaged as before, and as long */
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_uint_eq(store_end(store), p.log_end);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(damage_at_the_edges_of_segments_is_stepped_over)
{
    int64_t first = 0, last = 0;

    append_known(1000);
    while (places[first].log_offset < 65536)
        first++;
    last = first - 1;
    spoil_log(places[last].log_offset + 4, 0xFF);
    spoil_log(places[first].log_offset + 4, 0xFF);
    spoil_log(places[last].log_end + 4, 0xFF); /* the blank record */
    open_scanning();
    expect_all_but(1000, (int64_t[]){last, first, -1});
    ck_assert_uint_eq(stats_now().damaged_records, 2); /* the blank belongs to the first of them */
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(a_segment_of_zeroes_is_stepped_over)
{
    static const uint8_t zeroes[65536];
    int64_t first = 0, behind = 0;
    int64_t lost[1001];

    append_known(1000);
    while (places[first].log_offset < 65536)
        first++;
    while (places[behind].log_offset < 2 * 65536)
        behind++;
    put_in_log(65536, zeroes, sizeof(zeroes));
    open_scanning();
    for (int64_t i = first; i < behind; i++)
        lost[i - first] = i;
    lost[behind - first] = -1;
    expect_all_but(1000, lost);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(damage_found_while_reading_is_not_served)
{
    struct store_get get = {.max_messages = 32, .may_block = true};
    struct store_found *found = malloc(sizeof(*found));
    struct buf out = {0};
    int64_t bad = -1;

    ck_assert_ptr_nonnull(found);
    options.scrub_bytes_s = 0; /* it may not find it first */
    append_known(200);
    spoil_log(places[40].log_offset + 100, 1); /* body of queue 0's message 10 */
    open_store();                              /* a clean start: nothing was scanned */
    ck_assert_uint_eq(stats_now().records_recovered, 0);
    get.queue = store_queue(store, topic, 0);
    store_find(store, &get, found);
    ck_assert_int_eq(found->got.status, STORE_GET_FOUND);
    buf_add_str(&out, "before");
    ck_assert_int_eq(store_fill(store, found, &out, true, &bad), -EBADMSG);
    ck_assert_int_eq(bad, 10);
    ck_assert_uint_eq(out.len, 6);
    get.offset = 11;
    store_find(store, &get, found);
    ck_assert_int_eq(store_fill(store, found, &out, true, &bad), 0);
    buf_destroy(&out);
    free(found);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* Zeroes the last bytes of a record but one, which makes its checksum something else. */
static void lose_checksum(uint64_t log_end)
{
    uint8_t zeroes[18] = {0};

    put_in_log(log_end - 19, zeroes, sizeof(zeroes));
}

/* In a log that also has records without checksums of their own, a record that has lost it can be
 * told from these: the mark knows from where on all have one. */
START_TEST(a_record_that_lost_its_checksum_is_damage_where_all_have_one)
{
    struct store_position p[3];
    struct buf out = {0};
    struct record r;

    options.scrub_bytes_s = 0;
    options.record_crc = false;
    open_store();
    p[0] = append(0, 0);
    ck_assert_int_eq(close_store(), 0);
    options.record_crc = true;
    open_store();
    p[1] = append(0, 4);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    p[2] = append(0, 8);
    ck_assert_int_eq(close_store(), 0);
    for (int crash = 0; crash < 2; crash++) {
        if (crash)
            ck_assert_int_eq(abort_create(in_dir("abort")), 0);
        open_store();
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(store_read_record(store, p[i].log_offset, &out, &r), 0);
        ck_assert_int_eq(close_store(), 0);
    }
    lose_checksum(p[1].log_end);
    open_store();
    ck_assert_int_eq(store_read_record(store, p[1].log_offset, &out, &r), -ENOENT);
    ck_assert_int_eq(read_queue(topic, 0, NULL, NULL), 2);
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
    remove_tree(in_dir("consumequeue")); /* so that the log is read */
    ck_assert_int_eq(file_mkdir(in_dir("consumequeue")), 0);
    open_store();
    ck_assert_uint_eq(stats_now().damaged_records, 1);
    ck_assert_int_eq(close_store(), 0);
    buf_destroy(&out);
}
END_TEST

static void spoil_something(unsigned *random)
{
    char path[1024], child[1024];
    struct file_list list;
    struct stat st;

    snprintf(path, sizeof(path), "%s", dir);
    while (file_list(path, &list) == 0) {
        if (list.count == 0)
            return;
        int n = snprintf(child, sizeof(child), "%s/%s", path,
                         list.names[(unsigned)rand_r(random) % list.count]);
        file_list_free(&list);
        if (n >= (int)sizeof(child) || strstr(child, "/config") || strstr(child, "/tern/meta"))
            return; /* metadata has tests of its own */
        memcpy(path, child, sizeof(path));
    }
    if (stat(path, &st) != 0 || st.st_size == 0)
        return;
    /* Half of the flips hit the front, where headers are. */
    off_t size = rand_r(random) % 2 && st.st_size > 256 ? 256 : st.st_size;
    spoil(path, rand_r(random) % size, (uint8_t)(1 << rand_r(random) % 8));
}

static bool no_repair_waits(void)
{
    return stats_now().repairs_waiting == 0;
}

/* Reads like a client that takes what it can get. */
static void read_tolerantly(int32_t queue_id)
{
    struct store_found *found = malloc(sizeof(*found));
    struct buf out = {0};
    struct store_get get = {
        .queue = store_queue(store, topic, queue_id), .max_messages = 32, .may_block = true};
    struct queue_range range = store_range(store, get.queue);
    int64_t bad;

    ck_assert_ptr_nonnull(found);
    for (get.offset = range.min; get.offset < range.max;) {
        buf_reset(&out);
        store_find(store, &get, found);
        int64_t next = found->got.next_offset;
        int r =
            found->got.status == STORE_GET_FOUND ? store_fill(store, found, &out, true, &bad) : 0;
        if (found->got.status == STORE_GET_REPAIRING || r == STORE_REPAIRING) {
            ck_assert(wait_until(no_repair_waits));
            continue;
        }
        if (r == -EBADMSG)
            next = bad + 1;
        ck_assert_int_gt(next, get.offset);
        get.offset = next;
    }
    for (int64_t ms = 0; ms < INT64_MAX / 4; ms = ms * 3 + 1)
        store_offset_by_time(store, get.queue, ms, (enum store_boundary)(ms % 3));
    store_earliest_ms(store);
    buf_destroy(&out);
    free(found);
}

START_TEST(no_flipped_bit_crashes_a_start)
{
    unsigned random = (unsigned)_i + 1;
    struct err err;
    int opened = 0;

    append_known(600);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i <= round % 4; i++)
            spoil_something(&random);
        if (round % 2 == 0)
            ck_assert_int_ge(abort_create(in_dir("abort")), 0);
        if (round % 3 == 0)
            remove_tree(in_dir("consumequeue"));
        err = (struct err){0};
        if (try_open(&err) < 0) { /* refused with a sentence is fine */
            ck_assert_uint_gt(strlen(err.text), 0);
            break;
        }
        opened++;
        for (int32_t q = 0; q < 4; q++)
            read_tolerantly(q);
        struct store_position p;
        ck_assert_int_eq(append_sized(round % 4, round, 100, &p), 0);
        store_write(store);
        ck_assert(wait_confirmed(p.log_end));
        close_store();
    }
    ck_assert_int_gt(opened, 0);
}
END_TEST

/* --- queues and topics --- */

START_TEST(deleted_queue_files_are_made_again)
{
    /* After a clean stop and after a crash; all of them, or those of one queue. */
    bool crashed = _i & 1, one = _i & 2;

    open_store();
    append_many(0, 700);
    if (crashed || one)
        close_as_crashed();
    else
        ck_assert_int_eq(close_store(), 0);
    if (one) {
        uint8_t record[1024];
        uint64_t end;
        /* A record above the mark shows that its queue lacks what was before. */
        open_store();
        end = store_end(store);
        close_as_crashed();
        for (int64_t number = 700; number < 704; number++) {
            size_t size = make_record(record, end, number, clock_wall_ms());
            put_in_log(end, record, size);
            end += size;
        }
        remove_tree(in_dir("consumequeue/Orders/2"));
    } else {
        remove_tree(in_dir("consumequeue"));
    }
    open_store();
    ck_assert_uint_ge(stats_now().records_recovered, 700);
    expect_numbers(one ? 704 : 700);
    append_many(one ? 704 : 700, 40);
    ck_assert_int_eq(close_store(), 0);
    open_store();
    expect_numbers(one ? 744 : 740);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

START_TEST(lost_topics_come_back_from_their_messages)
{
    struct topic_config config;
    char body[64];
    struct store_position p;
    struct topic *retry;
    uint64_t sequence;

    open_store();
    append_many(0, 100);
    config = (struct topic_config){.read_queues = 1, .write_queues = 1, .perm = 6};
    ck_assert_int_eq(
        metadata_topic_put(metadata, BYTES_LIT("%RETRY%G"), &config, 0, &sequence, NULL, &retry),
        0);
    fill_body(body, sizeof(body), "message", 5);
    struct store_message m = message(0, body, sizeof(body));
    m.topic = retry;
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    m = message(9, body, sizeof(body)); /* more queues than a topic has by default */
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    store_write(store);
    if (_i & 1)
        close_as_crashed();
    else
        ck_assert_int_eq(close_store(), 0);
    remove_tree(in_dir("config"));
    remove_tree(in_dir("tern/meta"));
    if (_i & 2)
        remove_tree(in_dir("consumequeue"));

    open_store();
    ck_assert_ptr_nonnull(metadata_topic(metadata, BYTES_LIT("Orders"), &config));
    ck_assert_int_eq(config.read_queues, 10);
    ck_assert_int_eq(config.write_queues, 10);
    ck_assert_int_eq(config.perm, 6);
    retry = metadata_topic(metadata, BYTES_LIT("%RETRY%G"), &config);
    ck_assert_ptr_nonnull(retry);
    ck_assert_int_eq(config.read_queues, 1);
    expect_numbers(100);
    ck_assert_int_eq(read_queue(retry, 0, NULL, NULL), 1);
    ck_assert_int_eq(read_queue(topic, 9, NULL, NULL), 1);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

static uint64_t awaited;

static bool metadata_is_durable(void)
{
    return metadata_durable(metadata) >= awaited;
}

START_TEST(deleted_topics_stay_deleted)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};

    open_store();
    append_many(0, 100);
    ck_assert_int_eq(
        metadata_topic_delete(metadata, BYTES_LIT("Orders"), store_end(store), true, &awaited), 0);
    ck_assert(wait_until(metadata_is_durable));
    if (_i & 1) /* else the crash came before the files went */
        ck_assert_int_eq(store_drop_topic(store, topic), 0);
    if (_i & 2) { /* made again, with messages of its own */
        if (!(_i & 1))
            ck_assert_int_eq(store_drop_topic(store, topic), 0);
        ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config,
                                            store_end(store), &awaited, NULL, &topic),
                         0);
        append_many(0, 8);
        ck_assert(wait_until(metadata_is_durable));
    }
    if (close_store() == 0)
        ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    else
        ck_assert(exists(in_dir("abort"))); /* a stop is not clean with the queues still there */
    if (_i & 4)
        remove_tree(in_dir("consumequeue"));

    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct err err = {0};
    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    ck_assert_int_eq(store_open(&store, &options, &err), 0);
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    if (_i & 2) {
        ck_assert_ptr_nonnull(topic);
        expect_numbers(8);
    } else {
        ck_assert_ptr_null(topic);
        ck_assert(!exists(in_dir("consumequeue/Orders")));
    }
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

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
        int fd = file_open(b, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(file_load(a, 1 << 20, &content), 0);
        ck_assert_int_eq(file_write_all(fd, buf_at(&content), content.len, 0), 0);
        file_close(fd);
        buf_destroy(&content);
    }
    file_list_free(&list);
}

static void open_without_topic(void)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct err err = {0};

    ck_assert_int_eq(metadata_open(&metadata, &m, &err), 0);
    options.metadata = metadata;
    ck_assert_int_eq(store_open(&store, &options, &err), 0);
}

/* A send makes a topic anew, and is answered when its message is flushed: the journal may be
 * behind, and when it cannot be written even far behind, with the queues on the disk. */
START_TEST(messages_of_a_topic_made_anew_do_not_need_the_journal)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};

    open_store();
    append_many(0, 100);
    ck_assert_int_eq(
        metadata_topic_delete(metadata, BYTES_LIT("Orders"), store_end(store), true, &awaited), 0);
    ck_assert(wait_until(metadata_is_durable));
    ck_assert_int_eq(store_drop_topic(store, topic), 0);
    ck_assert_int_eq(close_store(), 0);
    copy_folder(in_dir("tern/meta"), in_dir("meta-then"));
    copy_folder(in_dir("config"), in_dir("config-then"));

    open_without_topic();
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("Orders"), &config, store_end(store),
                                        &awaited, NULL, &topic),
                     0);
    append_many(0, 40);
    close_as_crashed();
    if (_i & 1)
        remove_tree(in_dir("consumequeue"));
    remove_tree(in_dir("tern/meta"));
    remove_tree(in_dir("config"));
    copy_folder(in_dir("meta-then"), in_dir("tern/meta"));
    copy_folder(in_dir("config-then"), in_dir("config"));

    open_without_topic();
    topic = metadata_topic(metadata, BYTES_LIT("Orders"), NULL);
    ck_assert_ptr_nonnull(topic);
    expect_numbers(40);
    ck_assert_int_eq(close_store(), 0);
}
END_TEST

/* --- from RocketMQ --- */

static void unpack(const char *archive)
{
    char command[1024];

    snprintf(command, sizeof(command),
             "tar -xJf '%s/../../../data/rocketmq-store/%s.tar.xz' -C '%s'", TERN_TEST_VECTORS,
             archive, dir);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void expect_sent_row(char *row)
{
    char *field[8] = {NULL}, *save = NULL;
    struct buf out = {0};
    struct queue_entry e;
    struct record r;
    int n = 0;

    for (char *at = strtok_r(row, "\t\n", &save); at && n < 8; at = strtok_r(NULL, "\t\n", &save))
        field[n++] = at;
    if (n < 5 || strcmp(field[0], "delay") == 0 || strcmp(field[0], "sql") == 0 ||
        strcmp(field[0], "tx") == 0)
        return;
    struct topic *of = metadata_topic(metadata, bytes_str(field[1]), NULL);
    ck_assert_ptr_nonnull(of);
    uint32_t queue = store_queue(store, of, atoi(field[2]));
    ck_assert_int_eq(store_entry(store, queue, atoll(field[3]), &e), 0);
    ck_assert_int_eq(store_read_record(store, (uint64_t)e.log_offset, &out, &r), 0);
    ck_assert_int_eq(r.queue_id, atoi(field[2]));
    ck_assert_int_eq(r.queue_offset, atoll(field[3]));
    ck_assert_uint_eq(r.total_size, (uint32_t)e.size);
    if (strcmp(field[0], "sent") == 0) {
        struct record_host host;
        int64_t offset;
        ck_assert_int_eq(record_id_parse(bytes_str(field[5]), &host, &offset), 0);
        ck_assert_int_eq(offset, e.log_offset);
        ck_assert(bytes_is(r.body, n > 6 ? field[6] : ""));
        ck_assert_int_eq(host.port, r.store_host.port);
    }
    buf_destroy(&out);
}

static void expect_sent(int expected)
{
    FILE *f = fopen(in_dir("sent.tsv"), "re");
    char *line = NULL;
    size_t cap = 0;
    int rows = 0;

    ck_assert_ptr_nonnull(f);
    while (getline(&line, &cap, f) > 0) {
        rows += strncmp(line, "sent\t", 5) == 0;
        expect_sent_row(line);
    }
    free(line);
    fclose(f);
    ck_assert_int_eq(rows, expected);
}

START_TEST(a_directory_from_rocketmq_opens_with_every_message)
{
    static const struct {
        const char *archive;
        int rows;
    } from[] = {{"clean49", 1600}, {"killed49", 1200}};
    static char root[300];
    struct topic *retry;
    uint64_t end;

    unpack(from[_i].archive);
    snprintf(root, sizeof(root), "%s/store", dir);
    options.segment_bytes = 131072;
    struct metadata_options m = {.root_dir = root, .export_interval_ms = 1000};
    options.root_dir = root;
    for (int round = 0; round < 3; round++) {
        struct err err = {0};
        ck_assert_msg(metadata_open(&metadata, &m, &err) == 0, "%s", err.text);
        options.metadata = metadata;
        ck_assert_msg(store_open(&store, &options, &err) == 0, "%s", err.text);
        ck_assert_int_eq(metadata_start(metadata, &err), 0);
        ck_assert_uint_eq(stats_now().damaged_records, 0);
        if (round == 0)
            ck_assert_uint_gt(stats_now().records_recovered, (uint64_t)from[_i].rows);
        if (round == 1)
            ck_assert_uint_eq(stats_now().records_recovered, 0);
        expect_sent(from[_i].rows);
        retry = metadata_topic(metadata, BYTES_LIT("%RETRY%Fix_G"), NULL);
        ck_assert_ptr_nonnull(retry);
        ck_assert_int_gt(read_queue(retry, 0, NULL, NULL), 0);
        topic = metadata_topic(metadata, BYTES_LIT("FixOrders"), NULL);
        ck_assert_ptr_nonnull(topic);
        end = store_end(store);
        int64_t next = store_range(store, store_queue(store, topic, 2)).max;
        struct store_position p = append(2, 7);
        ck_assert_int_eq(p.queue_offset, next);
        ck_assert_uint_ge(p.log_offset, end);
        store_write(store);
        if (round ==
            1) { /* and once more without what we keep: as if it came from RocketMQ again */
            char path[400];
            ck_assert_int_eq(close_store(), 0);
            snprintf(path, sizeof(path), "%s/tern", root);
            remove_tree(path);
            snprintf(path, sizeof(path), "%s/consumequeue", root);
            remove_tree(path);
        } else {
            ck_assert_int_eq(close_store(), 0);
        }
    }
}
END_TEST

static Suite *recovery_suite(void)
{
    Suite *suite = suite_create("store recovery");
    TCase *damage = tcase_create("damage"), *followers = tcase_create("queues and topics");
    TCase *rocketmq = tcase_create("RocketMQ");
    TCase *cases[] = {damage, followers, rocketmq};

    for (int i = 0; i < 3; i++) {
        tcase_add_checked_fixture(cases[i], fixture_begin, fixture_end);
        tcase_set_timeout(cases[i], 240);
        suite_add_tcase(suite, cases[i]);
    }
    tcase_add_loop_test(damage, damage_below_the_mark_is_stepped_over_and_never_cut, 0, 7);
    tcase_add_test(damage, damage_at_the_edges_of_segments_is_stepped_over);
    tcase_add_test(damage, a_segment_of_zeroes_is_stepped_over);
    tcase_add_test(damage, damage_found_while_reading_is_not_served);
    tcase_add_test(damage, a_record_that_lost_its_checksum_is_damage_where_all_have_one);
    tcase_add_loop_test(damage, no_flipped_bit_crashes_a_start, 0, 8);
    tcase_add_loop_test(followers, deleted_queue_files_are_made_again, 0, 4);
    tcase_add_loop_test(followers, lost_topics_come_back_from_their_messages, 0, 4);
    tcase_add_loop_test(followers, deleted_topics_stay_deleted, 0, 8);
    tcase_add_loop_test(followers, messages_of_a_topic_made_anew_do_not_need_the_journal, 0, 2);
    tcase_add_loop_test(rocketmq, a_directory_from_rocketmq_opens_with_every_message, 0, 2);
    return suite;
}

UNIT_MAIN(recovery_suite)
