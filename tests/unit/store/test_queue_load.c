/* test_queue_load.c - ends of queues as a start finds them: in RocketMQ's files and ours, after
 * crashes, and when their topic was deleted. */
#include "broker/store/queue_internal.h"
#include "queue_recovery_fixture.h"

/* --- files that RocketMQ wrote --- */

/* Puts the files of the vector below consumequeue/. */
static void unpack_vector(void)
{
    FILE *f = fopen(TERN_TEST_VECTORS "/queue_files.txt", "r");
    char line[8192], topic[128], name[32], hex[4096], path[600];
    int queue_id, size, files = 0;

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f)) {
        if (line[0] == '#')
            continue;
        ck_assert_int_eq(
            sscanf(line, "%127s %d %31s %d %4095s", topic, &queue_id, name, &size, hex), 5);
        ck_assert_int_eq(size, FILE_BYTES);
        uint8_t bytes[FILE_BYTES] = {0};
        for (size_t i = 0; 2 * i < strlen(hex); i++) {
            unsigned byte;
            ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
            bytes[i] = (uint8_t)byte;
        }
        snprintf(path, sizeof(path), "%s/%s/%d", queues_dir, topic, queue_id);
        ck_assert_int_eq(file_mkdirs(path), 0);
        spill(queue_file(topic, queue_id, strtoll(name, NULL, 10)), bytes, FILE_BYTES);
        files++;
    }
    fclose(f);
    ck_assert_int_eq(files, 11);
    name_topic(&topics[0], "FixOrders");
    name_topic(&topics[1], "SCHEDULE_TOPIC_XXXX");
    name_topic(&topics[2], "%RETRY%Fix_G");
}

/* Numbers of messages, and places of some, as the clients of that broker were told them. */
START_TEST(queues_of_rocketmq_are_loaded)
{
    struct queue_entry e;

    unpack_vector();
    load(0, 698761);
    expect_range(queue_of(0, 0), UINT64_MAX, 0, 118);
    expect_range(queue_of(0, 1), UINT64_MAX, 0, 123);
    expect_range(queue_of(0, 2), UINT64_MAX, 0, 148);
    expect_range(queue_of(0, 3), UINT64_MAX, 0, 135);
    expect_range(queue_of(1, 0), UINT64_MAX, 0, 24);
    expect_range(queue_of(1, 17), UINT64_MAX, 0, 2);
    expect_range(queue_of(1, 5), UINT64_MAX, 0, 0);
    expect_range(queue_of(2, 0), UINT64_MAX, 0, 22);
    ck_assert_uint_eq(queue_table_max_end(table), 682642);
    ck_assert_int_eq(syncs, 0); /* nothing was cut */

    ck_assert_int_eq(queue_table_read(table, queue_of(0, 1), 0, &e, 1, UINT64_MAX, true), 1);
    ck_assert_int_eq(e.log_offset, 0x17A);
    ck_assert_int_eq(e.size, 0x309 - 0x17A);
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 3), 99, &e, 1, UINT64_MAX, true), 1);
    ck_assert_int_eq(e.log_offset, 0x6E2BC);
    /* "TagB".hashCode() */
    ck_assert_int_eq(queue_table_read(table, queue_of(0, 3), 0, &e, 1, UINT64_MAX, true), 1);
    ck_assert_int_eq(e.tags_code, 2598920);
    /* In the schedule topic it is a time. */
    ck_assert_int_eq(queue_table_read(table, queue_of(1, 17), 0, &e, 1, UINT64_MAX, true), 1);
    ck_assert_int_eq(e.tags_code, INT64_C(0x1a204409fb3));
}
END_TEST

START_TEST(appends_go_on_in_the_files_of_rocketmq)
{
    uint32_t queue;

    unpack_vector();
    load(0, 698761);
    log_end = 698761;
    queue = queue_of(0, 0);
    append_to(queue, 100);
    write_all();
    expect_entries(queue, 118, 218, 698761);
    expect_on_disk("FixOrders", 0, 118, 698761);
    expect_on_disk("FixOrders", 0, 217, 698761 + 99 * RECORD);
    ck_assert_int_eq(count_on_disk("FixOrders", 0, 0), 218);
}
END_TEST

START_TEST(entries_of_records_that_the_log_lacks_are_cut_on_disk)
{
    unpack_vector();
    load(0, 449055); /* the record of FixOrders/0, entry 91, ends somewhere above */
    for (int id = 0; id < 4; id++) {
        uint32_t queue = queue_of(0, id);
        int64_t next = next_of(queue);
        struct queue_entry last = on_disk("FixOrders", id, next - 1);
        ck_assert_int_gt(next, 80);
        ck_assert_int_le(last.log_offset + last.size, 449055);
        ck_assert_int_eq(on_disk("FixOrders", id, next).size, 0);
    }
    ck_assert_int_eq(syncs, 1);
    ck_assert_uint_le(queue_table_max_end(table), 449055);
}
END_TEST

/* RocketMQ's fillers look like entries; a queue begins behind them. */
START_TEST(fillers_are_never_served)
{
    uint8_t filler[20] = {0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF};
    uint32_t queue = queue_of(0, 0);
    struct queue_entry e = {1, 1, 1};

    append_to(queue, 60);
    write_all();
    for (int i = 0; i < 35; i++)
        scribble(queue_file("Topic0", 0, 0), i * 20, filler, sizeof(filler));
    load_again(0, log_end);
    queue = queue_of(0, 0);
    expect_range(queue, UINT64_MAX, 35, 60);
    ck_assert_int_eq(queue_table_read(table, queue, 34, &e, 1, UINT64_MAX, true), 0);
    expect_entries(queue, 35, 60, 35 * RECORD);
}
END_TEST

/* --- ends from files --- */

START_TEST(ends_are_found_again)
{
    static const int64_t counts[] = {1, 2, 99, 100, 101, 199, 200, 203, 204, 205, 999, 1000};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        append_to(queue_of(0, (int32_t)i), counts[i]);
    write_all();
    load_again(0, log_end);
    uint64_t log = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint32_t queue = queue_of(0, (int32_t)i);
        expect_range(queue, UINT64_MAX, 0, counts[i]);
        expect_entries(queue, 0, counts[i], log);
        log += (uint64_t)counts[i] * RECORD;
        expect_range(queue, log - 1, 0, counts[i] - 1);
    }
    ck_assert_uint_eq(queue_table_max_end(table), log_end);
    ck_assert_int_eq(syncs, 0);
}
END_TEST

/* A copied file has no holes that show where its data ends. */
START_TEST(ends_are_found_without_holes)
{
    static const int64_t counts[] = {1, 203, 204, 205, 2999, 3000};

    options.file_bytes = 60000;
    reopen_table();
    for (int i = 0; i < 6; i++)
        append_to(queue_of(0, i), counts[i]);
    write_all();
    for (int i = 0; i < 6; i++) {
        size_t size = 0;
        uint8_t *bytes = slurp(queue_file("Topic0", i, 0), &size);
        spill(queue_file("Topic0", i, 0), bytes, size);
        free(bytes);
    }
    load_again(0, log_end);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(next_of(queue_of(0, i)), counts[i]);
}
END_TEST

START_TEST(load_asks_little_of_each_file)
{
    enum { QUEUES = 1000 };

    options.file_bytes = 6000000;
    reopen_table();
    for (int32_t id = 0; id < QUEUES; id++)
        append_to(queue_of(0, id), 150);
    write_all();
    reopen_table();
    opens = preads = 0;
    load(0, log_end);
    ck_assert_uint_eq(stats_now().queues, QUEUES);
    ck_assert_int_le(opens, QUEUES + 10);
    ck_assert_int_le(preads, QUEUES + 10);
    ck_assert_int_eq(next_of(queue_of(0, QUEUES - 1)), 150);
}
END_TEST

/* RocketMQ leaves old bytes behind a tail that was cut; taken for entries they would point
 * anywhere. */
START_TEST(stale_bytes_behind_the_end_are_zeroed)
{
    const char *path;
    uint8_t stale[20 * 20];

    append_to(queue_of(0, 0), 70);
    write_all();
    path = queue_file("Topic0", 0, 0);
    memset(stale, 0, sizeof(stale));
    stale[sizeof(stale) - 1] = 1;
    scribble(path, 70 * 20, stale, sizeof(stale));
    load_again(0, log_end);
    ck_assert_int_eq(next_of(queue_of(0, 0)), 70);
    ck_assert(all_zero_from(path, 70 * 20));
    ck_assert_int_eq(syncs, 1);
    expect_entries(queue_of(0, 0), 0, 70, 0);
}
END_TEST

START_TEST(stale_bytes_in_a_later_page_are_zeroed_too)
{
    const char *path;

    options.file_bytes = 600000;
    reopen_table();
    append_to(queue_of(0, 0), 70);
    write_all();
    path = queue_file("Topic0", 0, 0);
    scribble(path, 200000, "\0\0\0\0", 4); /* data, but nothing in it */
    scribble(path, 400000, "stale", 5);
    load_again(0, log_end);
    ck_assert_int_eq(next_of(queue_of(0, 0)), 70);
    ck_assert(all_zero_from(path, 70 * 20));
    expect_entries(queue_of(0, 0), 0, 70, 0);
}
END_TEST

START_TEST(files_without_an_entry_go_unless_they_are_the_first)
{
    append_to(queue_of(0, 0), 2 * UNITS + 30);
    write_all();
    load_again(0, UNITS * RECORD);
    ck_assert_int_eq(next_of(queue_of(0, 0)), UNITS);
    ck_assert(exists(queue_file("Topic0", 0, 0)));
    ck_assert(!exists(queue_file("Topic0", 0, FILE_BYTES)));
    ck_assert(!exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
}
END_TEST

/* Offsets that were given out are not given out again. */
START_TEST(queue_whose_entries_are_all_cut_goes_on_where_it_began)
{
    append_to(queue_of(0, 0), 2 * UNITS + 30);
    write_all();
    ck_assert_int_eq(unlink(queue_file("Topic0", 0, 0)), 0);
    load_again(0, UNITS * RECORD);
    expect_range(queue_of(0, 0), UINT64_MAX, UNITS, UNITS);
    ck_assert(all_zero_from(queue_file("Topic0", 0, FILE_BYTES), 0));
    ck_assert(!exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
    load_again(0, UNITS * RECORD);
    ck_assert_int_eq(next_of(queue_of(0, 0)), UNITS);
}
END_TEST

START_TEST(queue_begins_with_the_first_message_that_the_log_still_has)
{
    append_to(queue_of(0, 0), 2 * UNITS + 30);
    write_all();
    for (int64_t first = 0; first <= 2 * UNITS + 30; first += 23) {
        load_again((uint64_t)first * RECORD, log_end);
        expect_range(queue_of(0, 0), UINT64_MAX, first, 2 * UNITS + 30);
    }
    load_again((uint64_t)77 * RECORD - 1, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 77, 2 * UNITS + 30);
    load_again(log_end, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 2 * UNITS + 30, 2 * UNITS + 30);
}
END_TEST

START_TEST(file_of_another_size_is_named)
{
    struct err err = {0};

    append_to(queue_of(0, 3), UNITS + 1);
    write_all();
    ck_assert_int_eq(truncate(queue_file("Topic0", 3, FILE_BYTES), FILE_BYTES + 20), 0);
    reopen_table();
    ck_assert_int_eq(try_load(0, log_end, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "/Topic0/3/00000000000000002000 has 2020 bytes"));
    ck_assert_ptr_nonnull(strstr(err.text, "expected 2000"));
}
END_TEST

/* As when mappedFileSizeConsumeQueue is not what the files were made with. */
START_TEST(files_that_are_all_too_short_are_named)
{
    struct err err = {0};

    append_to(queue_of(0, 3), UNITS);
    write_all();
    ck_assert_int_eq(truncate(queue_file("Topic0", 3, 0), FILE_BYTES - 20), 0);
    reopen_table();
    ck_assert_int_eq(try_load(0, log_end, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "/Topic0/3/00000000000000000000 has 1980 bytes"));
}
END_TEST

START_TEST(file_that_lost_its_end_while_others_did_not_is_made_whole)
{
    struct queue_entry e;
    size_t size;

    append_to(queue_of(0, 3), 2 * UNITS + 5);
    write_all();
    ck_assert_int_eq(truncate(queue_file("Topic0", 3, FILE_BYTES), 10 * QUEUE_ENTRY_BYTES), 0);
    load_again(0, log_end);
    expect_range(queue_of(0, 3), UINT64_MAX, 0, 2 * UNITS + 5);
    free(slurp(queue_file("Topic0", 3, FILE_BYTES), &size));
    ck_assert_uint_eq(size, FILE_BYTES);
    ck_assert_int_eq(queue_table_look(table, queue_of(0, 3), UNITS + 9, &e), 0);
    ck_assert_int_eq(queue_table_look(table, queue_of(0, 3), UNITS + 10, &e), QUEUE_LOOK_BAD);
}
END_TEST

START_TEST(file_with_another_name_is_named)
{
    static const char *const names[] = {"x", "0000000000000000200", "00000000000000002001",
                                        "-0000000000000002000", "99999999999999999999"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct err err = {0};
        char path[600];
        append_to(queue_of(0, 3), 1);
        write_all();
        snprintf(path, sizeof(path), "%s/Topic0/3/%s", queues_dir, names[i]);
        spill(path, "", 0);
        reopen_table();
        ck_assert_int_eq(try_load(0, log_end, &err), -EINVAL);
        ck_assert_ptr_nonnull(strstr(err.text, names[i]));
        ck_assert_int_eq(unlink(path), 0);
    }
}
END_TEST

/* Made but not stretched when the crash came. */
START_TEST(empty_last_file_is_removed)
{
    append_to(queue_of(0, 0), UNITS);
    write_all();
    spill(queue_file("Topic0", 0, FILE_BYTES), "", 0);
    load_again(0, log_end);
    ck_assert_int_eq(next_of(queue_of(0, 0)), UNITS);
    ck_assert(!exists(queue_file("Topic0", 0, FILE_BYTES)));
    append_to(queue_of(0, 0), 1);
    write_all();
    expect_entries(queue_of(0, 0), 0, UNITS + 1, 0);
}
END_TEST

/* A power cut before the checkpoint may take the sizes of several, in any order. */
START_TEST(files_that_have_lost_their_sizes_are_removed)
{
    append_to(queue_of(0, 0), 4 * UNITS);
    append_to(queue_of(0, 1), 4 * UNITS);
    write_all();
    spill(queue_file("Topic0", 0, FILE_BYTES), "", 0);
    spill(queue_file("Topic0", 0, 2 * FILE_BYTES), "", 0);
    spill(queue_file("Topic0", 0, 3 * FILE_BYTES), "", 0);
    spill(queue_file("Topic0", 1, 0), "", 0);
    spill(queue_file("Topic0", 1, 2 * FILE_BYTES), "", 0);
    load_again(0, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 0, UNITS);
    expect_range(queue_of(0, 1), UINT64_MAX, UNITS,
                 4 * UNITS); /* what is between can be made again */
    ck_assert(!exists(queue_file("Topic0", 0, 2 * FILE_BYTES)));
    ck_assert(!exists(queue_file("Topic0", 1, 0)));
}
END_TEST

/* Files made since the last checkpoint: a power cut may take one in the middle, and the scan meets
 * the records of all of them. What the checkpoint had stays, wherever it ends. */
START_TEST(what_stands_in_front_of_a_missing_file_stays)
{
    int64_t checkpoint = _i * (UNITS + 7), count = 4 * UNITS;
    uint32_t queue;

    append_to(queue_of(0, 0), count);
    write_all();
    ck_assert_int_eq(unlink(queue_file("Topic0", 0, 2 * FILE_BYTES)), 0);
    load_again(0, (uint64_t)checkpoint * RECORD);
    queue = queue_of(0, 0);
    expect_range(queue, UINT64_MAX, 0, checkpoint);
    for (int64_t i = checkpoint; i < count; i++)
        recover_record(queue, i, (uint64_t)i * RECORD);
    write_all();
    expect_range(queue, UINT64_MAX, 0, count);
    expect_entries(queue, 0, count, 0);
}
END_TEST

START_TEST(file_that_is_missing_between_others_is_made_again_without_entries)
{
    struct queue_entry e;

    append_to(queue_of(0, 0), 4 * UNITS + 10);
    write_all();
    ck_assert_int_eq(unlink(queue_file("Topic0", 0, FILE_BYTES)), 0);
    load_again(0, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 0, 4 * UNITS + 10);
    for (int64_t at = UNITS; at < 2 * UNITS; at++)
        ck_assert_int_eq(queue_table_look(table, queue_of(0, 0), at, &e), QUEUE_LOOK_BAD);
    ck_assert_int_eq(queue_table_look(table, queue_of(0, 0), 2 * UNITS, &e), 0);
}
END_TEST

START_TEST(queue_begins_behind_a_wide_hole)
{
    append_to(queue_of(0, 0), 20 * UNITS + 10);
    write_all();
    for (int file = 1; file < 18; file++)
        ck_assert_int_eq(unlink(queue_file("Topic0", 0, file * FILE_BYTES)), 0);
    load_again(0, log_end);
    expect_range(queue_of(0, 0), UINT64_MAX, 18 * UNITS, 20 * UNITS + 10);
    ck_assert(exists(queue_file("Topic0", 0, 0)));
}
END_TEST

/* A wrong entry may not hide those before it, which the log still has. */
START_TEST(wrong_entry_does_not_move_where_the_queue_begins)
{
    for (int64_t wrong = 0; wrong < 3 * UNITS; wrong++) {
        uint8_t unit[QUEUE_ENTRY_BYTES] = {0};
        struct queue_entry e = entry_at(5 * RECORD, 5); /* of a record that the log has no more */
        int64_t first = 121;

        remove_tree(in_root("consumequeue"));
        log_end = 0;
        reopen_table();
        append_to(queue_of(0, 0), 3 * UNITS);
        write_all();
        if (wrong % 2)
            queue_unit_encode(unit, &e);
        scribble(queue_file("Topic0", 0, wrong / UNITS * FILE_BYTES), wrong % UNITS * 20, unit, 20);
        load_again(first * RECORD, log_end);
        struct queue_range range = queue_table_range(table, queue_of(0, 0), UINT64_MAX);
        ck_assert_int_le(range.min, first);
    }
}
END_TEST

START_TEST(what_is_not_a_queue_is_left_alone)
{
    static const char *const paths[] = {
        "consumequeue/Topic0/x",  "consumequeue/Topic0/01", "consumequeue/Topic0/65536",
        "consumequeue/Topic0/-1", "consumequeue/To.pic/0",  "consumequeue/Topic0/2147483648"};

    append_to(queue_of(0, 0), 1);
    write_all();
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ck_assert_int_eq(file_mkdirs(in_root(paths[i])), 0);
    spill(in_root("consumequeue/file"), "x", 1);
    spill(in_root("consumequeue/Topic0/7"), "x", 1);
    load_again(0, log_end);
    ck_assert_uint_le(stats_now().queues, 8);
    ck_assert_int_eq(next_of(queue_of(0, 0)), 1);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        ck_assert(exists(in_root(paths[i])));
    ck_assert(exists(in_root("consumequeue/file")));
}
END_TEST

START_TEST(queues_of_a_topic_that_nobody_knows_are_left_alone)
{
    name_topic(&topics[3], "Unknown");
    append_to(queue_of(3, 1), 10);
    append_to(queue_of(0, 0), 5);
    write_all();
    name_topic(&topics[3], "Topic3");
    made_count = 0;
    load_again(0, log_end);
    ck_assert_int_eq(made_count, 1);
    ck_assert_str_eq(made_names[0], "Topic0");
    ck_assert_uint_eq(stats_now().queues, 1);
    ck_assert_int_eq(count_on_disk("Unknown", 1, 0), 10);
}
END_TEST

/* --- topics that were deleted --- */

static struct metadata *metadata;

static struct topic *put_topic(const char *name, uint64_t log_floor)
{
    struct topic_config config = {.read_queues = 4, .write_queues = 4, .perm = 6};
    struct topic *topic = NULL;

    ck_assert_int_eq(
        metadata_topic_put(metadata, bytes_str(name), &config, log_floor, NULL, NULL, &topic), 0);
    return topic;
}

static void open_metadata(void)
{
    struct metadata_options m = {.root_dir = root, .export_interval_ms = 1000};
    struct err err = {0};

    ck_assert_msg(metadata_open(&metadata, &m, &err) == 0, "%s", err.text);
}

static void load_known(void)
{
    struct err err = {0};

    for (uint32_t i = 0; i < metadata_topic_count(metadata); i++)
        metadata_topic_at(metadata, i)->extent_count = 0;
    reopen_table();
    made_count = 0;
    ck_assert_msg(queue_table_load(table, metadata, 0, log_end, make_topic, NULL, &err) == 0, "%s",
                  err.text);
}

static uint32_t queue_in(struct topic *topic, int32_t queue_id)
{
    uint32_t queue;

    pthread_mutex_lock(&append_lock);
    queue = queue_table_find(table, topic, queue_id, true);
    pthread_mutex_unlock(&append_lock);
    return queue;
}

START_TEST(topics_that_are_known_get_their_queues)
{
    struct topic *topic;

    open_metadata();
    topic = put_topic("Topic1", 0);
    append_to(queue_in(topic, 2), 30);
    append_to(queue_of(0, 0), 20);
    write_all();
    load_known();
    expect_range(queue_in(topic, 2), UINT64_MAX, 0, 30);
    ck_assert_int_eq(made_count, 1);
    ck_assert_str_eq(made_names[0], "Topic0");
    ck_assert_int_eq(metadata_close(metadata), 0);
}
END_TEST

/* The crash came between the deletion and the removal of the files. */
START_TEST(entries_of_an_earlier_topic_of_that_name_are_gone)
{
    struct topic *topic;

    open_metadata();
    topic = put_topic("Again", 0);
    append_to(queue_in(topic, 0), 150);
    append_to(queue_in(topic, 1), 60);
    write_all();
    ck_assert_int_eq(metadata_topic_delete(metadata, BYTES_LIT("Again"), log_end, true, NULL), 0);
    topic = put_topic("Again", log_end);
    ck_assert_uint_eq(topic->log_floor, log_end);
    load_known();
    expect_range(queue_in(topic, 0), UINT64_MAX, 0, 0);
    expect_range(queue_in(topic, 1), UINT64_MAX, 0, 0);
    ck_assert(!exists(in_root("consumequeue/Again/0")));
    ck_assert_int_eq(metadata_close(metadata), 0);
}
END_TEST

/* The removal failed, and the new topic's entries went over the old ones. */
START_TEST(entries_of_an_earlier_topic_behind_new_ones_are_cut)
{
    struct queue_entry stale = entry_at(0, 20);
    struct topic *topic;
    uint64_t floor;

    open_metadata();
    log_end = floor = 50000;
    topic = put_topic("Again", floor);
    append_to(queue_in(topic, 0), 20);
    write_all();
    for (int i = 20; i < 70; i++) {
        uint8_t unit[20];
        queue_unit_encode(unit, &stale);
        scribble(queue_file("Again", 0, 0), i * 20, unit, sizeof(unit));
    }
    load_known();
    expect_range(queue_in(topic, 0), UINT64_MAX, 0, 20);
    expect_entries(queue_in(topic, 0), 0, 20, floor);
    ck_assert(all_zero_from(queue_file("Again", 0, 0), 20 * 20));
    ck_assert_int_eq(metadata_close(metadata), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("queue_load");
    TCase *c = tcase_create("queue_load");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin_with_disk, end);
    tcase_add_test(c, queues_of_rocketmq_are_loaded);
    tcase_add_test(c, appends_go_on_in_the_files_of_rocketmq);
    tcase_add_test(c, entries_of_records_that_the_log_lacks_are_cut_on_disk);
    tcase_add_test(c, fillers_are_never_served);
    tcase_add_test(c, ends_are_found_again);
    tcase_add_test(c, ends_are_found_without_holes);
    tcase_add_test(c, load_asks_little_of_each_file);
    tcase_add_test(c, stale_bytes_behind_the_end_are_zeroed);
    tcase_add_test(c, stale_bytes_in_a_later_page_are_zeroed_too);
    tcase_add_test(c, files_without_an_entry_go_unless_they_are_the_first);
    tcase_add_test(c, queue_whose_entries_are_all_cut_goes_on_where_it_began);
    tcase_add_test(c, queue_begins_with_the_first_message_that_the_log_still_has);
    tcase_add_test(c, file_of_another_size_is_named);
    tcase_add_test(c, files_that_are_all_too_short_are_named);
    tcase_add_test(c, file_that_lost_its_end_while_others_did_not_is_made_whole);
    tcase_add_test(c, file_with_another_name_is_named);
    tcase_add_test(c, empty_last_file_is_removed);
    tcase_add_loop_test(c, what_stands_in_front_of_a_missing_file_stays, 0, 2);
    tcase_add_test(c, files_that_have_lost_their_sizes_are_removed);
    tcase_add_test(c, file_that_is_missing_between_others_is_made_again_without_entries);
    tcase_add_test(c, queue_begins_behind_a_wide_hole);
    tcase_add_test(c, wrong_entry_does_not_move_where_the_queue_begins);
    tcase_add_test(c, what_is_not_a_queue_is_left_alone);
    tcase_add_test(c, queues_of_a_topic_that_nobody_knows_are_left_alone);
    tcase_add_test(c, topics_that_are_known_get_their_queues);
    tcase_add_test(c, entries_of_an_earlier_topic_of_that_name_are_gone);
    tcase_add_test(c, entries_of_an_earlier_topic_behind_new_ones_are_cut);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
