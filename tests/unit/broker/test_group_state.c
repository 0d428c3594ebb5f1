/* test_group_state.c - tern/state: what a member has promised comes back after any start, or the
 * member does not start. */
#include "broker/replication/group_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/crc.h"
#include "common/file.h"
#include "files.h"
#include "unit.h"

static char root[256];
static struct buf text;
static struct err err;
static struct group_state state;
static struct file_ops ops;

static void setup(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof(root), "%s/tern-state-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    err = (struct err){0};
}

static void teardown(void)
{
    file_ops_set(NULL);
    buf_destroy(&text);
    remove_tree(root);
}

static const char *in_root(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static struct group_state some_state(void)
{
    struct group_state s = {.core = {.version = 9,
                                     .member = 2,
                                     .members = {1, 2, 65535},
                                     .member_count = 3,
                                     .copies = 2,
                                     .promised = 7 << 16 | 1,
                                     .written_term = 5 << 16 | 2,
                                     .epoch_count = 2,
                                     .epochs = {{1 << 20, 0}, {3 << 20 | 1, INT64_MAX}}},
                            .boot_id = "7f3c0f6a-0d4f-4b62-9d30-5e1f6a1b2c3d"};

    return s;
}

static void expect_same(const struct group_state *a, const struct group_state *b)
{
    ck_assert_uint_eq(a->core.version, b->core.version);
    ck_assert_uint_eq(a->core.member, b->core.member);
    ck_assert_uint_eq(a->core.member_count, b->core.member_count);
    ck_assert(memcmp(a->core.members, b->core.members, sizeof(a->core.members)) == 0);
    ck_assert_uint_eq(a->core.copies, b->core.copies);
    ck_assert_uint_eq(a->core.promised, b->core.promised);
    ck_assert_uint_eq(a->core.written_term, b->core.written_term);
    ck_assert_uint_eq(a->core.epoch_count, b->core.epoch_count);
    for (unsigned i = 0; i < a->core.epoch_count; i++) {
        ck_assert_uint_eq(a->core.epochs[i].epoch, b->core.epochs[i].epoch);
        ck_assert_uint_eq(a->core.epochs[i].start, b->core.epochs[i].start);
    }
    ck_assert_int_eq(a->cut, b->cut);
    ck_assert_int_eq(a->anew, b->anew);
    ck_assert_uint_eq(a->cut_to, b->cut_to);
    ck_assert_str_eq(a->boot_id, b->boot_id);
    ck_assert_int_eq(a->doubtful, b->doubtful);
}

/* --- text --- */

static void expect_round_trip(const struct group_state *s)
{
    buf_reset(&text);
    group_state_print(s, &text);
    ck_assert_int_eq(group_state_parse(&state, buf_bytes(&text), &err), 0);
    expect_same(&state, s);
}

START_TEST(all_of_it_comes_back)
{
    struct group_state s = some_state();

    expect_round_trip(&s);
    s.doubtful = true;
    s.cut = true;
    s.cut_to = 123456;
    expect_round_trip(&s);
    s.anew = true;
    s.cut_to = 0;
    expect_round_trip(&s);
    s.boot_id[0] = '\0';
    s.core.epoch_count = CORE_EPOCHS_MAX;
    for (unsigned i = 0; i < CORE_EPOCHS_MAX; i++)
        s.core.epochs[i] = (struct core_epoch){CORE_EPOCH_MAX - CORE_EPOCHS_MAX + i, i / 2};
    s.core.version = UINT64_MAX;
    s.core.promised = s.core.written_term = CORE_TERM_MAX;
    s.core.member_count = CORE_MEMBERS_MAX;
    for (uint16_t i = 0; i < CORE_MEMBERS_MAX; i++)
        s.core.members[i] = i + 1;
    s.core.copies = CORE_MEMBERS_MAX;
    expect_round_trip(&s);
}
END_TEST

START_TEST(no_part_of_it_passes_for_the_whole)
{
    struct group_state s = some_state();

    group_state_print(&s, &text);
    for (size_t len = 0; len < text.len; len++) {
        ck_assert_int_eq(group_state_parse(&state, bytes_of(buf_at(&text), len), &err), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(err.text, "line"));
    }
    buf_add_u8(&text, '\n');
    ck_assert_int_eq(group_state_parse(&state, buf_bytes(&text), &err), -EBADMSG);
}
END_TEST

START_TEST(a_changed_bit_is_found)
{
    struct group_state s = some_state();

    group_state_print(&s, &text);
    for (size_t at = 0; at < text.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf_at(&text)[at] ^= (uint8_t)(1u << bit);
            ck_assert_int_eq(group_state_parse(&state, buf_bytes(&text), &err), -EBADMSG);
            buf_at(&text)[at] ^= (uint8_t)(1u << bit);
        }
    }
}
END_TEST

/* `lines` behind those that must be there, and the checksum that belongs to it all. */
static int parse_lines(const char *lines)
{
    buf_reset(&text);
    buf_add_str(&text, lines);
    buf_addf(&text, "crc=%" PRIu32 "\n", crc32_of(0, buf_bytes(&text)));
    return group_state_parse(&state, buf_bytes(&text), &err);
}

#define GOOD "format=1\nmember=1\nmembers=1\nmembers=2\ncopies=2\n"

START_TEST(values_have_bounds)
{
    static const struct {
        const char *lines, *why;
    } cases[] = {
        {"format=2\n", "line 1 (format) is none that is written there"},
        {"member=1\nformat=1\n", "line 1 (member) is none that is written there"},
        {"format=1\nformat=1\n", "line 2 (format) is none that is written there"},
        {GOOD "surprise=1\n", "line 6 (surprise) is none that is written there"},
        {GOOD "no such line\n", "line 6 is not key=value"},
        {GOOD "\n", "line 6 is not key=value"},
        {GOOD "promised=\n", "line 6 (promised) is none that is written there"},
        {GOOD "promised=-1\n", "line 6 (promised) is none that is written there"},
        {GOOD "promised=1 \n", "line 6 (promised) is none that is written there"},
        {GOOD "version=18446744073709551616\n", "line 6 (version) is none that is written there"},
        {GOOD "promised=8796093022208\n", "line 6 (promised) is none that is written there"},
        {GOOD "writtenTerm=8796093022208\n", "line 6 (writtenTerm) is none that is written there"},
        {GOOD "member=65537\n", "line 6 (member) is none that is written there"},
        {GOOD "members=0\n", "line 6 (members) is none that is written there"},
        {GOOD "members=65536\n", "line 6 (members) is none that is written there"},
        {GOOD "copies=0\n", "line 6 (copies) is none that is written there"},
        {GOOD "copies=257\n", "line 6 (copies) is none that is written there"},
        {GOOD "members=3\nmembers=4\nmembers=5\nmembers=6\nmembers=7\nmembers=8\nmembers=9\n",
         "line 12 (members) is none that is written there"},
        {GOOD "epoch=1\n", "line 6 (epoch) is none that is written there"},
        {GOOD "epoch=1@\n", "line 6 (epoch) is none that is written there"},
        {GOOD "epoch=9223372036854775808@1\n", "line 6 (epoch) is none that is written there"},
        {GOOD "epoch=1@9223372036854775808\n", "line 6 (epoch) is none that is written there"},
        {GOOD "epoch=2@0\nepoch=2@5\n", "line 7 (epoch) is none that is written there"},
        {GOOD "epoch=2@5\nepoch=3@4\n", "line 7 (epoch) is none that is written there"},
        {GOOD "cutAt=9223372036854775808\n", "line 6 (cutAt) is none that is written there"},
        {GOOD "doubtful=2\n", "line 6 (doubtful) is none that is written there"},
        {GOOD "boot=0123456789012345678901234567890123456789\n",
         "line 6 (boot) is none that is written there"},
        {GOOD "members=2\n", "member, members and copies do not fit together"},
        {GOOD "member=3\n", "member, members and copies do not fit together"},
        {GOOD "copies=3\n", "member, members and copies do not fit together"},
        {"format=1\nmember=1\nmembers=1\n", "member, members and copies do not fit together"},
        {"", "nothing stands above the checksum"},
    };

    ck_assert_int_eq(parse_lines(GOOD), 0);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_int_eq(parse_lines(cases[i].lines), -EBADMSG);
        ck_assert_str_eq(err.text, cases[i].why);
    }
}
END_TEST

START_TEST(more_epochs_than_there_can_be_are_refused)
{
    struct buf lines = {0};

    buf_add_str(&lines, GOOD);
    for (unsigned i = 0; i <= CORE_EPOCHS_MAX; i++)
        buf_addf(&lines, "epoch=%u@%u\n", i + 1, i);
    buf_add_u8(&lines, '\0');
    ck_assert_int_eq(parse_lines((const char *)buf_at(&lines)), -EBADMSG);
    ck_assert_str_eq(err.text, "line 70 (epoch) is none that is written there");
    buf_destroy(&lines);
}
END_TEST

/* --- the file --- */

START_TEST(what_was_saved_last_is_loaded)
{
    struct group_state s = some_state();

    ck_assert_int_eq(group_state_load(&state, root, &err), -ENOENT);
    ck_assert_int_eq(group_state_save(&s, root, &err), 0);
    s.core.version++;
    s.core.promised++;
    ck_assert_int_eq(group_state_save(&s, root, &err), 0);
    ck_assert_int_eq(group_state_load(&state, root, &err), 0);
    expect_same(&state, &s);
}
END_TEST

START_TEST(a_damaged_file_stops_the_start_and_the_one_before_does_not_stand_in)
{
    struct group_state s = some_state();
    struct buf bytes = {0};

    ck_assert_int_eq(group_state_save(&s, root, &err), 0);
    ck_assert_int_eq(group_state_save(&s, root, &err), 0);
    ck_assert_int_eq(file_load(in_root("tern/state"), 1 << 20, &bytes), 0);
    buf_at(&bytes)[bytes.len - 2] ^= 1;
    ck_assert_int_eq(file_replace(in_root("tern/state"), buf_bytes(&bytes), &err), 0);
    ck_assert_int_eq(group_state_load(&state, root, &err), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(err.text, in_root("tern/state is damaged: the checksum in line")));
    ck_assert_ptr_nonnull(strstr(err.text, "state.bak"));
    ck_assert_ptr_nonnull(strstr(err.text, "move the whole store away"));
    ck_assert_int_eq(file_replace(in_root("tern/state"), BYTES_LIT(""), &err), 0);
    ck_assert_int_eq(group_state_load(&state, root, &err), -EBADMSG);
    buf_destroy(&bytes);
}
END_TEST

START_TEST(a_file_without_an_end_is_damaged)
{
    static const uint8_t zeroes[1 << 17];

    ck_assert_int_eq(file_mkdirs(in_root("tern")), 0);
    ck_assert_int_eq(file_replace(in_root("tern/state"), bytes_of(zeroes, sizeof(zeroes)), &err),
                     0);
    ck_assert_int_eq(group_state_load(&state, root, &err), -EBADMSG);
}
END_TEST

static int fail_rename_to_state(const char *from, const char *to)
{
    const char *name = strrchr(to, '/');

    if (name && strcmp(name, "/state") == 0) {
        errno = EIO;
        return -1;
    }
    return file_ops_system.rename(from, to);
}

/* As a crash leaves it: the old file has its .bak name, the new one none yet. Nobody was told of
 * what it promises, and what was promised before must not be forgotten. */
START_TEST(an_interrupted_save_leaves_what_was_saved_before)
{
    struct group_state before = some_state(), after = some_state();

    ck_assert_int_eq(group_state_save(&before, root, &err), 0);
    after.core.promised++;
    ops = file_ops_system;
    ops.rename = fail_rename_to_state;
    file_ops_set(&ops);
    ck_assert_int_lt(group_state_save(&after, root, &err), 0);
    ck_assert_int_ne(access(in_root("tern/state"), F_OK), 0);
    ck_assert_int_eq(group_state_load(&state, root, &err), 0);
    expect_same(&state, &before);
    file_ops_set(NULL);
    ck_assert_int_eq(group_state_save(&after, root, &err), 0);
    ck_assert_int_eq(group_state_load(&state, root, &err), 0);
    expect_same(&state, &after);
}
END_TEST

static int fail_fsync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

START_TEST(what_is_not_on_the_disk_is_not_saved)
{
    struct group_state s = some_state();

    ck_assert_int_eq(group_state_save(&s, root, &err), 0);
    ops = file_ops_system;
    ops.fsync = fail_fsync;
    file_ops_set(&ops);
    ck_assert_int_eq(group_state_save(&s, root, &err), -EIO);
}
END_TEST

START_TEST(the_boot_has_an_id_that_fits_into_the_file)
{
    struct group_state s = some_state();
    char again[40];

    group_state_boot_id(s.boot_id);
    group_state_boot_id(again);
    ck_assert_str_eq(s.boot_id, again);
    expect_round_trip(&s);
}
END_TEST

static Suite *group_state_suite(void)
{
    Suite *s = suite_create("group_state");
    TCase *tc = tcase_create("state");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, all_of_it_comes_back);
    tcase_add_test(tc, no_part_of_it_passes_for_the_whole);
    tcase_add_test(tc, a_changed_bit_is_found);
    tcase_add_test(tc, values_have_bounds);
    tcase_add_test(tc, more_epochs_than_there_can_be_are_refused);
    tcase_add_test(tc, what_was_saved_last_is_loaded);
    tcase_add_test(tc, a_damaged_file_stops_the_start_and_the_one_before_does_not_stand_in);
    tcase_add_test(tc, a_file_without_an_end_is_damaged);
    tcase_add_test(tc, an_interrupted_save_leaves_what_was_saved_before);
    tcase_add_test(tc, what_is_not_on_the_disk_is_not_saved);
    tcase_add_test(tc, the_boot_has_an_id_that_fits_into_the_file);
    suite_add_tcase(s, tc);
    return s;
}

UNIT_MAIN(group_state_suite)
