/* Entries of more queues than there are windows and open files: the right ones all the same. */
#include "tools/entry_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "common/file.h"
#include "unit.h"

enum { FILE_ENTRIES = 100, TOPICS = 3 };
static char dir[] = "/tmp/tern-entries-XXXXXX";
static struct queue_ledger ledger;
static struct entry_reader reader;

/* The entry `offset` of queue `id`. */
static struct queue_entry entry_of(int32_t id, int64_t offset)
{
    return (struct queue_entry){id * 100000 + offset, 10, id};
}

static struct ledger_queue *queue_of(int32_t id)
{
    struct ledger_topic *topic;
    struct ledger_queue *queue;
    char name[16];

    snprintf(name, sizeof(name), "T%d", id % TOPICS);
    ck_assert_int_eq(queue_ledger_topic(&ledger, bytes_str(name), true, &topic), 0);
    ck_assert_int_eq(queue_ledger_queue(&ledger, topic, id, true, &queue), 0);
    return queue;
}

static void write_file(int32_t id, int64_t number)
{
    uint8_t bytes[FILE_ENTRIES * QUEUE_ENTRY_BYTES];
    char folder[PATH_MAX], path[PATH_MAX];
    struct ledger_queue *q = queue_of(id);
    int fd;

    for (int64_t i = 0; i < FILE_ENTRIES; i++) {
        struct queue_entry e = entry_of(id, number * FILE_ENTRIES + i);
        queue_unit_encode(bytes + i * QUEUE_ENTRY_BYTES, &e);
    }
    ck_assert_int_eq(queue_folder_path(folder, sizeof(folder), dir,
                                       bytes_of(q->topic->name, q->topic->name_len), id),
                     0);
    ck_assert_int_eq(file_mkdirs(folder), 0);
    ck_assert_int_eq(
        queue_file_path(path, sizeof(path), folder, number * FILE_ENTRIES * QUEUE_ENTRY_BYTES), 0);
    fd = file_open(path, O_WRONLY | O_CREAT, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(file_write_all(fd, bytes, sizeof(bytes), 0), 0);
    file_close(fd);
    if (q->last_byte < 0)
        q->first_byte = number * FILE_ENTRIES * QUEUE_ENTRY_BYTES;
    q->last_byte = number * FILE_ENTRIES * QUEUE_ENTRY_BYTES;
}

static void set_up(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    queue_ledger_init(&ledger, 1);
    ck_assert_int_eq(entry_reader_init(&reader, dir, FILE_ENTRIES * QUEUE_ENTRY_BYTES), 0);
}

static void tear_down(void)
{
    char command[64];

    entry_reader_destroy(&reader);
    queue_ledger_destroy(&ledger);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static void expect_entry(int32_t id, int64_t offset)
{
    struct queue_entry want = entry_of(id, offset), e;
    enum queue_unit unit;

    ck_assert_int_eq(entry_reader_at(&reader, queue_of(id), offset, &unit, &e), 0);
    ck_assert_int_eq(unit, UNIT_ENTRY);
    ck_assert_int_eq(e.log_offset, want.log_offset);
    ck_assert_int_eq(e.tags_code, want.tags_code);
}

START_TEST(entries_in_order_cost_one_read_for_each_window)
{
    write_file(1, 0);
    write_file(1, 1);
    for (int64_t offset = 0; offset < 2 * FILE_ENTRIES; offset++)
        expect_entry(1, offset);
    ck_assert_uint_eq(reader.reads, 4); /* 64, 36, 64, 36 */
}
END_TEST

START_TEST(where_no_file_is_there_is_no_entry)
{
    struct queue_entry e;
    enum queue_unit unit;

    write_file(1, 3);
    ck_assert_int_eq(entry_reader_at(&reader, queue_of(1), 0, &unit, &e), 0);
    ck_assert_int_eq(unit, UNIT_EMPTY);
    ck_assert_int_eq(entry_reader_at(&reader, queue_of(1), 4 * FILE_ENTRIES, &unit, &e), 0);
    ck_assert_int_eq(unit, UNIT_EMPTY);
    ck_assert_int_eq(entry_reader_at(&reader, queue_of(2), 5, &unit, &e), 0);
    ck_assert_int_eq(unit, UNIT_EMPTY);
    expect_entry(1, 3 * FILE_ENTRIES);
}
END_TEST

START_TEST(more_queues_than_open_files_take_turns)
{
    enum { QUEUES = ENTRY_FILES + 100 };

    for (int32_t id = 0; id < QUEUES; id++)
        write_file(id, 0);
    for (int64_t offset = 0; offset < 3; offset++) {
        for (int32_t id = 0; id < QUEUES; id++)
            expect_entry(id, offset);
    }
    ck_assert_uint_eq(reader.reads, QUEUES);
}
END_TEST

START_TEST(windows_have_a_bound)
{
    struct queue_entry e;
    enum queue_unit unit;

    write_file(0, 0);
    expect_entry(0, 0);
    for (int32_t id = 1; id <= ENTRY_WINDOWS + 10; id++)
        ck_assert_int_eq(entry_reader_at(&reader, queue_of(id), 0, &unit, &e), 0);
    ck_assert_uint_eq(reader.count, ENTRY_WINDOWS);
    expect_entry(0, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("entry_reader");
    TCase *c = tcase_create("entry_reader");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, entries_in_order_cost_one_read_for_each_window);
    tcase_add_test(c, where_no_file_is_there_is_no_entry);
    tcase_add_test(c, more_queues_than_open_files_take_turns);
    tcase_add_test(c, windows_have_a_bound);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
