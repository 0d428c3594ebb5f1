/* test_index_file.c - the layout of key index files against what RocketMQ has written, putting
 * entries, and files that lie. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/index_state.h"
#include "broker/store/index_writer.h"
#include "broker/store/properties.h"
#include "broker/store/record.h"
#include "common/crc.h"
#include "common/file.h"
#include "unit.h"

static char dir[256];
static char path[300];
static const struct index_shape small = {.slots = 10, .entries_max = 50};
static struct index_writer writer;

static void set_up(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/tern-index-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/20260102030405006", dir);
    index_writer_init(&writer, &small);
}

static void tear_down(void)
{
    char command[400];

    index_writer_close(&writer);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    ck_assert_int_eq(system(command), 0);
}

static void add(uint32_t hash, int64_t log_offset, int64_t store_ms)
{
    ck_assert_int_eq(index_writer_add(&writer, hash, log_offset, store_ms), 0);
}

/* Log offsets of the entries of a hash, newest first; the walk must end without damage. */
static int walk(struct index_file *f, uint32_t hash, int64_t begin_ms, int64_t end_ms, int64_t *to,
                int cap)
{
    struct index_walk w;
    struct index_entry e;
    int n = 0, r;

    ck_assert_int_eq(index_walk_begin(&w, &f->view, hash, begin_ms, end_ms), 0);
    while ((r = index_walk_next(&w, &e)) == 1) {
        ck_assert_int_lt(n, cap);
        to[n++] = e.log_offset;
    }
    ck_assert_int_eq(r, 0);
    return n;
}

static void open_file(struct index_file *f)
{
    struct err err = {0};

    ck_assert_msg(index_file_open(f, path, &small, &err) == 0, "%s", err.text);
}

static void overwrite(uint64_t at, const void *bytes, size_t n)
{
    int fd = file_open(path, O_RDWR, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(file_write_all(fd, bytes, n, (off_t)at), 0);
    file_close(fd);
}

static void overwrite_be32(uint64_t at, uint32_t value)
{
    uint8_t bytes[4];

    store_be32(bytes, value);
    overwrite(at, bytes, sizeof(bytes));
}

/* --- the layout --- */

/* A file that was put together by hand from the description in the documentation. */
START_TEST(a_file_reads_as_its_layout_says)
{
    uint8_t bytes[40 + 10 * 4 + 50 * 20] = {0};
    struct index_file f;
    int64_t offsets[4];
    int fd;

    store_be64(bytes, 1000000);
    store_be64(bytes + 8, 1007000);
    store_be64(bytes + 16, 500);
    store_be64(bytes + 24, 900);
    store_be32(bytes + 32, 1);
    store_be32(bytes + 36, 3);
    store_be32(bytes + 40 + 4 * 7, 2); /* slot 7: hashes that end in 7 */
    store_be32(bytes + 80 + 20, 17);
    store_be64(bytes + 80 + 24, 500);
    store_be32(bytes + 80 + 40, 27);
    store_be64(bytes + 80 + 44, 900);
    store_be32(bytes + 80 + 52, 7);
    store_be32(bytes + 80 + 56, 1);
    fd = file_open(path, O_RDWR | O_CREAT, 0644);
    ck_assert_int_eq(file_write_all(fd, bytes, sizeof(bytes), 0), 0);
    file_close(fd);

    open_file(&f);
    ck_assert_int_eq(f.view.header.begin_offset, 500);
    ck_assert_int_eq(f.view.header.end_ms, 1007000);
    ck_assert_uint_eq(f.view.header.next, 3);
    ck_assert_int_eq(walk(&f, 27, 0, INT64_MAX, offsets, 4), 1);
    ck_assert_int_eq(offsets[0], 900);
    ck_assert_int_eq(walk(&f, 17, 0, INT64_MAX, offsets, 4), 1);
    ck_assert_int_eq(offsets[0], 500);
    ck_assert_int_eq(walk(&f, 37, 0, INT64_MAX, offsets, 4), 0);
    index_file_close(&f);
}
END_TEST

START_TEST(what_is_put_is_laid_out_like_that)
{
    uint8_t bytes[40 + 10 * 4 + 3 * 20];
    int fd;

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    add(17, 500, 1000000);
    add(27, 900, 1007400);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    fd = file_open(path, O_RDONLY, 0);
    ck_assert_int_eq(file_read_all(fd, bytes, sizeof(bytes), 0), 0);
    file_close(fd);
    ck_assert_uint_eq(load_be64(bytes), 1000000);
    ck_assert_uint_eq(load_be64(bytes + 8), 1007400);
    ck_assert_uint_eq(load_be64(bytes + 16), 500);
    ck_assert_uint_eq(load_be64(bytes + 24), 900);
    ck_assert_uint_eq(load_be32(bytes + 32), 1); /* one slot in use */
    ck_assert_uint_eq(load_be32(bytes + 36), 3);
    ck_assert_uint_eq(load_be32(bytes + 40 + 4 * 7), 2);
    ck_assert_uint_eq(load_be32(bytes + 80 + 40), 27);
    ck_assert_uint_eq(load_be64(bytes + 80 + 44), 900);
    ck_assert_uint_eq(load_be32(bytes + 80 + 52), 7);
    ck_assert_uint_eq(load_be32(bytes + 80 + 56), 1);
}
END_TEST

START_TEST(key_hashes_are_those_of_java)
{
    ck_assert_uint_eq(index_key_hash(BYTES_LIT("a"), BYTES_LIT("b")), 97u * 961 + 35 * 31 + 98);
    ck_assert_uint_eq(index_key_hash(BYTES_LIT("TopicTest"), BYTES_LIT("key-7")),
                      (uint32_t)abs(bytes_java_hash(BYTES_LIT("TopicTest#key-7"))));
    ck_assert_uint_eq(index_key_hash(BYTES_LIT("T"), BYTES_LIT("\xC3\xA9\xF0\x9F\x98\x80")),
                      (uint32_t)abs(bytes_java_hash(BYTES_LIT("T#\xC3\xA9\xF0\x9F\x98\x80"))));
}
END_TEST

/* -2^31 has no absolute value. A key that leads there from "T#": 7 letters from '(' on are 7 digits
 * to the base 31. */
START_TEST(the_hash_without_a_counterpart_counts_as_0)
{
    uint32_t base = (uint32_t)bytes_java_hash(BYTES_LIT("T#"));
    uint32_t zeroes = (uint32_t)bytes_java_hash_on((int32_t)base, BYTES_LIT("((((((("));
    uint32_t rest = 0x80000000u - zeroes, power = 887503681; /* 31^6 */
    uint8_t key[7];

    for (int i = 0; i < 7; i++, power /= 31) {
        key[i] = (uint8_t)('(' + rest / power);
        rest %= power;
    }
    ck_assert_int_eq(bytes_java_hash_on((int32_t)base, bytes_of(key, 7)), INT32_MIN);
    ck_assert_uint_eq(index_key_hash(BYTES_LIT("T"), bytes_of(key, 7)), 0);
}
END_TEST

/* --- putting --- */

/* Three hashes in one slot: each finds its own, newest first, over several batches. */
START_TEST(keys_that_share_a_slot_do_not_mix)
{
    struct index_file f;
    int64_t offsets[20];

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 0; i < 30; i++) {
        add((uint32_t)(3 + 10 * (i % 3)), 100 * i, 1000000 + i);
        if (i % 7 == 0)
            ck_assert_int_eq(index_writer_put(&writer), 0);
    }
    ck_assert_int_eq(index_writer_put(&writer), 0);
    open_file(&f);
    for (uint32_t k = 0; k < 3; k++) {
        ck_assert_int_eq(walk(&f, 3 + 10 * k, 0, INT64_MAX, offsets, 20), 10);
        for (int64_t i = 0; i < 10; i++)
            ck_assert_int_eq(offsets[i], 100 * (27 + (int64_t)k - 3 * i));
    }
    index_file_close(&f);
}
END_TEST

START_TEST(a_search_by_time_is_not_fooled_by_cut_off_seconds)
{
    struct index_file f;
    int64_t offsets[4];

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    add(1, 10, 1000000);
    add(1, 20, 1000900);
    add(1, 30, 1002500);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    open_file(&f);
    /* 1000900 is filed as 1000000: whoever asks from 1000500 on must be told of both. */
    ck_assert_int_eq(walk(&f, 1, 1000500, 1001000, offsets, 4), 2);
    ck_assert_int_eq(offsets[0], 20);
    ck_assert_int_eq(walk(&f, 1, 1002100, INT64_MAX, offsets, 4), 1);
    ck_assert_int_eq(offsets[0], 30);
    ck_assert_int_eq(walk(&f, 1, 0, 1000000, offsets, 4), 2);
    ck_assert_int_eq(walk(&f, 1, 1003500, INT64_MAX, offsets, 4), 0);
    index_file_close(&f);
}
END_TEST

START_TEST(a_full_file_takes_no_more)
{
    struct index_file f;
    int64_t offsets[60];

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 1; i < 50; i++)
        add(5, i, 1000000);
    ck_assert_int_eq(index_writer_add(&writer, 5, 50, 1000000), INDEX_WRITER_FULL);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    ck_assert_int_eq(index_writer_add(&writer, 5, 50, 1000000), INDEX_WRITER_FULL);
    open_file(&f);
    ck_assert_uint_eq(f.view.header.next, 50);
    ck_assert_int_eq(walk(&f, 5, 0, INT64_MAX, offsets, 60), 49);
    index_file_close(&f);
}
END_TEST

START_TEST(a_batch_has_an_end)
{
    const struct index_shape large = {.slots = 5000, .entries_max = 100000};
    struct index_file f;
    struct err err;
    struct index_walk w;
    struct index_entry e;
    int64_t i;
    int n = 0;

    index_writer_init(&writer, &large);
    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (i = 0; i < INDEX_BATCH_MAX; i++)
        add((uint32_t)i * 7919u & INT32_MAX, i, 1000000 + i);
    ck_assert_int_eq(index_writer_add(&writer, 1, i, 2000000), INDEX_WRITER_PUT_FIRST);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    add(7919u, i, 2000000);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    index_writer_rest(&writer);
    ck_assert_ptr_null(writer.entries);
    ck_assert_int_eq(index_file_open(&f, path, &large, &err), 0);
    ck_assert_int_eq(index_walk_begin(&w, &f.view, 7919u, 0, INT64_MAX), 0);
    while (index_walk_next(&w, &e) == 1)
        n++;
    ck_assert_int_eq(n, 2);
    /* All of them can be read in order too, as a check of a file does. */
    for (uint32_t number = 1; number < f.view.header.next; number++) {
        ck_assert_int_eq(index_view_entry(&f.view, number, &e), 0);
        ck_assert_int_eq(e.log_offset, (int64_t)number - 1);
        ck_assert_ptr_null(index_entry_check(&f.view, number, &e, (int64_t)number - 1));
    }
    index_file_close(&f);
}
END_TEST

/* --- after a crash --- */

/* Slots and later entries as no order of writes can have left them: the entries say it all. */
START_TEST(slots_are_made_anew_from_the_entries)
{
    struct index_file f;
    int64_t offsets[20];
    const char *why;

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 0; i < 20; i++)
        add((uint32_t)(i % 2), 100 * i, 1000000 + 1000 * i);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    for (uint32_t slot = 0; slot < 10; slot++)
        overwrite_be32(index_slot_at(slot), 3 + 4 * slot);
    ck_assert_int_eq(index_writer_restore(&writer, 11, UINT64_MAX, &why), 0);
    ck_assert_uint_eq(writer.header.next, 11);
    ck_assert_uint_eq(writer.header.used_slots, 2);
    add(1, 5000, 1030000);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    open_file(&f);
    ck_assert_int_eq(walk(&f, 1, 0, INT64_MAX, offsets, 20), 6);
    ck_assert_int_eq(offsets[0], 5000);
    ck_assert_int_eq(offsets[1], 900);
    ck_assert_int_eq(walk(&f, 0, 0, INT64_MAX, offsets, 20), 5);
    ck_assert_int_eq(offsets[4], 0);
    ck_assert_int_eq(walk(&f, 5, 0, INT64_MAX, offsets, 20), 0);
    index_file_close(&f);
}
END_TEST

START_TEST(entries_of_a_part_of_the_log_that_is_gone_go_too)
{
    struct index_file f;
    int64_t offsets[20];
    const char *why;

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 0; i < 20; i++)
        add(4, 100 * i, 1000000 + 1000 * i);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    ck_assert_int_eq(index_writer_restore(&writer, 21, 750, &why), 0);
    open_file(&f);
    ck_assert_uint_eq(f.view.header.next, 9);
    ck_assert_int_eq(f.view.header.end_offset, 700);
    ck_assert_int_ge(f.view.header.end_ms, 1007000);
    ck_assert_int_eq(walk(&f, 4, 0, INT64_MAX, offsets, 20), 8);
    ck_assert_int_eq(offsets[0], 700);
    index_file_close(&f);
}
END_TEST

START_TEST(entries_that_cannot_be_are_not_restored_from)
{
    const char *why = NULL;

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 0; i < 20; i++)
        add(4, 100 * i, 1000000);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    overwrite_be32(index_entry_at(&small, 7) + 4, 0x7fffffff);
    ck_assert_int_eq(index_writer_restore(&writer, 21, UINT64_MAX, &why), -EBADMSG);
    ck_assert_ptr_nonnull(why);
}
END_TEST

static int writes_left;

static ssize_t failing_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (writes_left-- <= 0) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

/* The disk is full in the middle of a batch, at every place: when there is room again, the file is
 * as if nothing had been. */
START_TEST(a_batch_that_failed_half_way_is_put_whole_later)
{
    const struct index_shape wide = {.slots = 40000, .entries_max = 200};
    struct file_ops ops = file_ops_system;

    ops.pwrite = failing_pwrite;
    for (int fail_at = 0; fail_at < 12; fail_at++) {
        struct index_file f;
        struct err err;

        writes_left = INT32_MAX;
        file_ops_set(&ops);
        index_writer_init(&writer, &wide);
        ck_assert_int_eq(index_writer_create(&writer, path), 0);
        for (int64_t i = 0; i < 100; i++) {
            add((uint32_t)(i % 5 * 9000 + i % 2 * 40000), i, 1000000);
            if (i == 40)
                ck_assert_int_eq(index_writer_put(&writer), 0);
        }
        writes_left = fail_at;
        if (index_writer_put(&writer) < 0) {
            ck_assert_int_eq(index_writer_put(&writer), -ENOSPC);
            writes_left = INT32_MAX;
            ck_assert_int_eq(index_writer_put(&writer), 0);
        } else {
            ck_assert_int_ge(fail_at, 6); /* five pages, the entries */
        }
        ck_assert_int_eq(index_file_open(&f, path, &wide, &err), 0);
        ck_assert_uint_eq(f.view.header.next, 101);
        ck_assert_uint_eq(f.view.header.used_slots, 5);
        for (uint32_t k = 0; k < 10; k++) {
            int64_t offsets[20];
            ck_assert_int_eq(walk(&f, k % 5 * 9000 + k % 2 * 40000, 0, INT64_MAX, offsets, 20), 10);
        }
        index_file_close(&f);
        index_writer_close(&writer);
        file_ops_set(NULL);
        unlink(path);
    }
}
END_TEST

/* --- files that lie --- */

START_TEST(headers_that_cannot_be_are_refused_by_name)
{
    static const struct {
        int at, size;
        int64_t value;
        const char *says;
    } cases[] = {
        {36, 4, 51, "more entries"}, {32, 4, 11, "more slots"},         {16, 8, 901, "log offsets"},
        {16, 8, -1, "log offsets"},  {24, 8, INT64_MIN, "log offsets"}, {0, 8, -5, "times"},
        {8, 8, INT64_MAX, "times"},
    };
    struct err err;
    struct index_file f;
    uint8_t header[INDEX_HEADER_BYTES];

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    add(17, 500, 1000000);
    add(27, 900, 1007400);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    index_header_encode(header, &writer.header);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bad[INDEX_HEADER_BYTES];

        memcpy(bad, header, sizeof(bad));
        if (cases[i].size == 4)
            store_be32(bad + cases[i].at, (uint32_t)cases[i].value);
        else
            store_be64(bad + cases[i].at, (uint64_t)cases[i].value);
        overwrite(0, bad, sizeof(bad));
        ck_assert_int_eq(index_file_open(&f, path, &small, &err), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(err.text, path));
        ck_assert_msg(strstr(err.text, cases[i].says) != NULL, "%s", err.text);
    }
    overwrite(0, header, sizeof(header));
    ck_assert_int_eq(truncate(path, 500), 0);
    ck_assert_int_eq(index_file_open(&f, path, &small, &err), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, "has 500 bytes"));
}
END_TEST

/* A chain that turns in a circle, leads up, leaves the file, or names impossible records: the walk
 * ends there and says so. */
START_TEST(chains_that_lead_nowhere_end)
{
    static const struct {
        uint32_t entry;
        int field; /* byte of the entry */
        uint32_t value;
    } cases[] = {
        {5, 16, 5},         {5, 16, 9},         {5, 16, UINT32_MAX}, {5, 0, 0xffffffff},
        {5, 4, 0x7fffffff}, {5, 4, 0xffffffff}, {5, 12, 0xffffffff},
    };
    struct index_file f;
    struct index_walk w;
    struct index_entry e;

    ck_assert_int_eq(index_writer_create(&writer, path), 0);
    for (int64_t i = 0; i < 9; i++)
        add(3, 100 * i, 1000000);
    ck_assert_int_eq(index_writer_put(&writer), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t at = index_entry_at(&small, cases[i].entry) + (uint64_t)cases[i].field;
        uint8_t before[4];
        int n = 0, r;

        open_file(&f);
        ck_assert_int_eq(file_read_all(f.fd, before, 4, (off_t)at), 0);
        overwrite_be32(at, cases[i].value);
        ck_assert_int_eq(index_walk_begin(&w, &f.view, 3, 0, INT64_MAX), 0);
        while ((r = index_walk_next(&w, &e)) == 1)
            n++;
        ck_assert_int_eq(r, -EBADMSG);
        ck_assert_int_eq(n, 4); /* those above it were fine */
        ck_assert_int_eq(index_walk_next(&w, &e), 0);
        overwrite(at, before, 4);
        index_file_close(&f);
    }
    overwrite_be32(index_slot_at(3), 10);
    open_file(&f);
    ck_assert_int_eq(index_walk_begin(&w, &f.view, 3, 0, INT64_MAX), -EBADMSG);
    ck_assert_int_eq(index_walk_next(&w, &e), 0);
    index_file_close(&f);
}
END_TEST

/* --- tern/index --- */

static struct buf encoded_state(void)
{
    struct index_known files[2] = {
        {.name = 20260102030405006, .header = {1000, 2000, 0, 500, 3, 50}},
        {.name = 20260102030405007, .header = {2000, 3000, 600, 900, 1, 7}},
    };
    struct index_state state = {
        .clean = true, .shape = small, .from = 0, .position = 1000, .count = 2};
    struct buf out = {0};

    index_state_put(&out, &state, files);
    ck_assert(!out.failed);
    return out;
}

START_TEST(the_state_comes_back_as_it_was_written)
{
    struct buf out = encoded_state();
    struct index_state state;
    struct index_known file;

    ck_assert_int_eq(index_state_parse(buf_bytes(&out), &state), 0);
    ck_assert(state.clean);
    ck_assert_uint_eq(state.position, 1000);
    ck_assert_uint_eq(state.count, 2);
    index_state_file(&state, 1, &file);
    ck_assert_int_eq(file.name, 20260102030405007);
    ck_assert_int_eq(file.header.end_offset, 900);
    ck_assert_uint_eq(file.header.next, 7);
    buf_destroy(&out);
}
END_TEST

START_TEST(a_state_with_a_flipped_bit_is_none)
{
    struct buf out = encoded_state();
    struct index_state state;

    for (size_t i = 0; i < out.len * 8; i++) {
        buf_at(&out)[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert_int_eq(index_state_parse(buf_bytes(&out), &state), -EBADMSG);
        buf_at(&out)[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < out.len; n++)
        ck_assert_int_eq(index_state_parse(bytes_of(buf_at(&out), n), &state), -EBADMSG);
    buf_destroy(&out);
}
END_TEST

/* --- what RocketMQ has written --- */

/* Every entry of its files leads to a record that has the key, and every key of every record leads
 * to its entry. */
static const struct index_shape rocketmqs = {.slots = 500, .entries_max = 2000};
static uint8_t *rocketmq_log;
static size_t rocketmq_log_bytes;

static void read_log(const char *root)
{
    struct file_list list;
    char at[600];

    snprintf(at, sizeof(at), "%s/commitlog", root);
    ck_assert_int_eq(file_list(at, &list), 0);
    rocketmq_log = malloc(list.count * 131072);
    ck_assert_ptr_nonnull(rocketmq_log);
    for (size_t i = 0; i < list.count; i++) {
        struct buf segment = {0};
        snprintf(at, sizeof(at), "%s/commitlog/%s", root, list.names[i]);
        ck_assert_int_eq(file_load(at, 131072, &segment), 0);
        memcpy(rocketmq_log + rocketmq_log_bytes, buf_at(&segment), segment.len);
        rocketmq_log_bytes += segment.len;
        buf_destroy(&segment);
    }
    file_list_free(&list);
}

static bool has_key(const struct record *r, uint32_t hash)
{
    struct bytes keys = properties_find(r->properties, BYTES_LIT("KEYS"));
    struct bytes unique = properties_find(r->properties, BYTES_LIT("UNIQ_KEY"));

    if (unique.len > 0 && index_key_hash(r->topic, unique) == hash)
        return true;
    while (keys.len > 0) {
        const uint8_t *end = memchr(keys.at, ' ', keys.len);
        size_t len = end ? (size_t)(end - keys.at) : keys.len;
        if (index_key_hash(r->topic, bytes_of(keys.at, len)) == hash)
            return true;
        len += end != NULL;
        keys = bytes_of(keys.at + len, keys.len - len);
    }
    return false;
}

START_TEST(files_of_rocketmq_lead_to_their_records)
{
    char root[400], at[800];
    struct file_list list;
    int64_t before = 0;
    uint32_t entries = 0;

    snprintf(at, sizeof(at), "tar -xJf '%s/../../../data/rocketmq-store/clean49.tar.xz' -C '%s'",
             TERN_TEST_VECTORS, dir);
    ck_assert_int_eq(system(at), 0);
    snprintf(root, sizeof(root), "%s/store", dir);
    read_log(root);
    snprintf(at, sizeof(at), "%s/index", root);
    ck_assert_int_eq(file_list(at, &list), 0);
    ck_assert_uint_eq(list.count, 2);
    for (size_t i = 0; i < list.count; i++) {
        struct index_file f;
        struct err err;

        snprintf(at, sizeof(at), "%s/index/%s", root, list.names[i]);
        ck_assert_msg(index_file_open(&f, at, &rocketmqs, &err) == 0, "%s", err.text);
        for (uint32_t number = 1; number < f.view.header.next; number++) {
            struct index_entry e, other;
            struct record r;
            struct index_walk w;
            bool found = false;

            ck_assert_int_eq(index_view_entry(&f.view, number, &e), 0);
            ck_assert_ptr_null(index_entry_check(&f.view, number, &e, before));
            before = e.log_offset;
            ck_assert_int_eq(record_decode(bytes_of(rocketmq_log + e.log_offset,
                                                    rocketmq_log_bytes - (size_t)e.log_offset),
                                           &r),
                             0);
            ck_assert(has_key(&r, e.hash));
            if (number > 1)
                ck_assert_int_eq(e.seconds, index_seconds(f.view.header.begin_ms, r.store_ms));
            ck_assert_int_eq(index_walk_begin(&w, &f.view, e.hash, r.store_ms, r.store_ms), 0);
            while (!found && index_walk_next(&w, &other) == 1)
                found = other.log_offset == e.log_offset;
            ck_assert(found);
            entries++;
        }
        index_file_close(&f);
    }
    ck_assert_uint_eq(entries, 1999 + 0x545);
    file_list_free(&list);
    free(rocketmq_log);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("index file");
    TCase *t = tcase_create("all");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_file_reads_as_its_layout_says);
    tcase_add_test(t, what_is_put_is_laid_out_like_that);
    tcase_add_test(t, key_hashes_are_those_of_java);
    tcase_add_test(t, the_hash_without_a_counterpart_counts_as_0);
    tcase_add_test(t, keys_that_share_a_slot_do_not_mix);
    tcase_add_test(t, a_search_by_time_is_not_fooled_by_cut_off_seconds);
    tcase_add_test(t, a_full_file_takes_no_more);
    tcase_add_test(t, a_batch_has_an_end);
    tcase_add_test(t, slots_are_made_anew_from_the_entries);
    tcase_add_test(t, entries_of_a_part_of_the_log_that_is_gone_go_too);
    tcase_add_test(t, entries_that_cannot_be_are_not_restored_from);
    tcase_add_test(t, a_batch_that_failed_half_way_is_put_whole_later);
    tcase_add_test(t, headers_that_cannot_be_are_refused_by_name);
    tcase_add_test(t, chains_that_lead_nowhere_end);
    tcase_add_test(t, the_state_comes_back_as_it_was_written);
    tcase_add_test(t, a_state_with_a_flipped_bit_is_none);
    tcase_add_test(t, files_of_rocketmq_lead_to_their_records);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
