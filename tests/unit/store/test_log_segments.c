/* Claims about the files of the log: making, opening, deleting them, and giving up a tail. */
#include "log_fixture.h"

#include "broker/store/log_segments.h"
#include "common/clock.h"

/* --- segments --- */

START_TEST(segment_is_durable_before_anybody_sees_it)
{
    uint64_t offset;
    uint8_t *at;

    open_log();
    ck_assert_uint_eq(commit_log_limit(the_log), 0);
    ck_assert_int_eq(reserve(100, &at, &offset), COMMIT_LOG_NEED_SEGMENT);
    memset(&disk, 0, sizeof(disk));
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_str_eq(disk.trace, "allocate fsync rename syncdir ");
    ck_assert_uint_eq(commit_log_limit(the_log), SEGMENT);
    ck_assert_int_eq(files_in(log_dir), 1);
    ck_assert_int_eq(files_in(spare_dir), 0);
}
END_TEST

/* A process may have been killed between renaming a segment in and syncing the folder. */
START_TEST(names_of_segments_that_are_there_are_synced_before_they_are_used)
{
    open_ready();
    the_log = commit_log_close(the_log);
    disk.trace[0] = '\0';
    open_log();
    ck_assert_ptr_nonnull(strstr(disk.trace, "syncdir"));
    the_log = commit_log_close(the_log);
    disk.fsync_errno = EIO;
    ck_assert_int_eq(try_open(), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, log_dir));
}
END_TEST

START_TEST(one_segment_is_made_ahead_and_no_more)
{
    open_ready();
    ck_assert_int_eq(commit_log_prepare(the_log), 0); /* the first one has no byte yet */
    ck_assert_uint_eq(commit_log_limit(the_log), SEGMENT);
    append(100);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_uint_eq(commit_log_limit(the_log), 2 * SEGMENT);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_uint_eq(commit_log_limit(the_log), 2 * SEGMENT);
}
END_TEST

START_TEST(full_disk_refuses_a_segment_and_the_log_goes_on)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS, refused;
    uint64_t offset;
    uint8_t *at;

    open_ready();
    append_up_to(SEGMENT - 200);
    disk.fallocate_errno = ENOSPC;
    refused = clock_mono_ms();
    ck_assert_int_eq(commit_log_prepare(the_log), -ENOSPC);
    ck_assert_int_eq(files_in(spare_dir), 0);
    ck_assert_int_eq(files_in(log_dir), 1);
    ck_assert(!commit_log_stopped(the_log, NULL));
    ck_assert_int_eq(reserve(200, &at, &offset), COMMIT_LOG_NEED_SEGMENT);
    ck_assert_uint_eq(append(100), SEGMENT - 200); /* what fits is still taken */
    write_log();

    /* The disk is not asked again at once ... */
    ck_assert_int_eq(commit_log_prepare(the_log), -ENOSPC);
    ck_assert(disk.fallocate_calls == 1 || clock_mono_ms() - refused >= 1000);
    /* ... but soon, and without a restart. */
    disk.fallocate_errno = 0;
    while (commit_log_prepare(the_log) != 0) {
        ck_assert_int_lt(clock_mono_ms(), deadline);
        usleep(5000);
    }
    ck_assert_int_eq(reserve(200, &at, &offset), 0);
    ck_assert_uint_eq(offset, SEGMENT);
}
END_TEST

START_TEST(failed_steps_of_making_a_segment_leave_no_file)
{
    int *const steps[] = {&disk.fallocate_errno, &disk.fsync_errno, &disk.rename_errno};

    open_ready();
    append(100);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        *steps[i] = EIO;
        ck_assert_int_eq(commit_log_prepare(the_log), -EIO);
        *steps[i] = 0;
        ck_assert_int_eq(files_in(log_dir), 1);
        ck_assert_int_eq(files_in(spare_dir), 0);
        ck_assert_uint_eq(commit_log_limit(the_log), SEGMENT);
        the_log = commit_log_close(the_log); /* forgets the second of patience */
        open_log();
        set_end(0, NULL);
        append(100);
    }
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
}
END_TEST

START_TEST(disk_that_cannot_allocate_gets_files_of_full_size)
{
    struct stat st;

    open_log();
    memset(&disk, 0, sizeof(disk));
    disk.fallocate_errno = EOPNOTSUPP;
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_str_eq(disk.trace, "allocate truncate fsync rename syncdir ");
    ck_assert_int_eq(stat(segment_path(0), &st), 0);
    ck_assert_int_eq(st.st_size, SEGMENT);
    append(100);
    write_log();
}
END_TEST

START_TEST(trim_deletes_segments_without_a_byte)
{
    open_ready();
    append(100);
    write_log();
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(files_in(log_dir), 2);
    ck_assert_int_eq(commit_log_trim(the_log), 0);
    ck_assert_int_eq(files_in(log_dir), 1);
    ck_assert_uint_eq(commit_log_limit(the_log), SEGMENT);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_uint_eq(commit_log_limit(the_log), 2 * SEGMENT);
}
END_TEST

START_TEST(trim_keeps_the_only_segment)
{
    open_ready();
    ck_assert_int_eq(commit_log_trim(the_log), 0);
    ck_assert_int_eq(files_in(log_dir), 1);
}
END_TEST

/* --- opening --- */

static void is_refused(const char *path, const char *why)
{
    ck_assert_int_eq(try_open(), -EINVAL);
    ck_assert_ptr_null(the_log);
    ck_assert_msg(strstr(err.text, path) != NULL, "'%s' does not name %s", err.text, path);
    ck_assert_msg(strstr(err.text, why) != NULL, "'%s' does not say %s", err.text, why);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(files_that_are_no_segments_are_refused_by_name)
{
    static const char *const names[] = {
        "readme.txt",           "0000000000000000000",  "000000000000000000000",
        "0000000000000000000x", "09223372036854775808", "99999999999999999999"};
    char path[400];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", log_dir, names[i]);
        put_file(path, "", 0, SEGMENT);
        is_refused(path, "no segment");
    }
    put_file(segment_path(SEGMENT + 1), "", 0, SEGMENT);
    is_refused(segment_path(SEGMENT + 1), "not a multiple of the 32768");
    put_file(segment_path(0), "", 0, SEGMENT - 1);
    is_refused(segment_path(0), "has 32767 bytes");
    put_file(segment_path(SEGMENT), "", 0, 0);
    is_refused(segment_path(SEGMENT), "has 0 bytes");
    put_file(segment_path(0), "", 0, SEGMENT);
    put_file(segment_path(2 * SEGMENT), "", 0, SEGMENT);
    is_refused(segment_path(2 * SEGMENT), "00000000000000032768 is missing");
}
END_TEST

START_TEST(folders_and_leftovers_do_not_keep_the_log_from_opening)
{
    char path[400];

    snprintf(path, sizeof(path), "%s/lost+found", log_dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/segment.new", spare_dir);
    put_file(path, "", 0, SEGMENT / 2);
    put_file(segment_path(SEGMENT), "", 0, SEGMENT);
    put_file(segment_path(2 * SEGMENT), "", 0, SEGMENT);
    /* The name that a crash can leave sorts before the folder's. */
    ck_assert_int_eq(rmdir(strcat(strcpy(path, log_dir), "/lost+found")), 0);
    put_file(segment_path(3 * SEGMENT), "", 0, 0);
    open_log();
    ck_assert_int_eq(files_in(spare_dir), 0);
    ck_assert_int_eq(files_in(log_dir), 2);
    ck_assert_uint_eq(commit_log_min(the_log), SEGMENT);
    ck_assert_uint_eq(commit_log_limit(the_log), 3 * SEGMENT);
}
END_TEST

START_TEST(missing_folders_are_made)
{
    ck_assert_int_eq(rmdir(log_dir), 0);
    ck_assert_int_eq(rmdir(spare_dir), 0);
    open_log();
    ck_assert_int_eq(files_in(log_dir), 0);
    ck_assert_int_eq(files_in(spare_dir), 0);
}
END_TEST

START_TEST(reopened_log_goes_on_where_it_ended)
{
    uint8_t back[100];
    uint64_t end;

    open_ready();
    append_up_to(SEGMENT - 8);
    append_up_to(SEGMENT + 1000);
    write_log();
    end = commit_log_end(the_log);
    the_log = commit_log_close(the_log);

    open_log();
    /* Before recovery has spoken, all can be read. */
    ck_assert_int_eq(commit_log_read(the_log, end - 100, back, 100, true), 0);
    is_pattern(back, end - 100, 100);
    set_end(end, NULL);
    ck_assert_uint_eq(commit_log_end(the_log), end);
    ck_assert_uint_eq(commit_log_written(the_log), end);
    ck_assert_uint_eq(commit_log_flushed(the_log), end);
    ck_assert_uint_eq(commit_log_min(the_log), 0);
    ck_assert_int_eq(commit_log_read(the_log, end - 100, back, 101, true), -ENODATA);
    ck_assert_uint_eq(append(100), end);
    write_log();
    ck_assert_int_eq(commit_log_read(the_log, end - 50, back, 100, true), 0);
    is_pattern(back, end - 50, 100);
}
END_TEST

/* --- giving up a tail --- */

/* Two segments and 1000 bytes, the log closed and open again. */
static void open_long_log(void)
{
    open_ready();
    append_up_to(SEGMENT - 8);
    append_up_to(2 * SEGMENT - 8);
    append_up_to(2 * SEGMENT + 1000);
    write_log();
    the_log = commit_log_close(the_log);
    open_log();
    memset(&disk, 0, sizeof(disk));
}

START_TEST(cut_tail_is_kept_aside_and_zeroed)
{
    static uint8_t file[SEGMENT], kept[SEGMENT + 1000];
    uint64_t end = SEGMENT + 5000;
    char aside[400];
    struct stat st;

    open_long_log();
    snprintf(aside, sizeof(aside), "%s/cut", spare_dir);
    set_end(end, aside);
    ck_assert_int_eq(files_in(log_dir), 2);
    load(segment_path(SEGMENT), file, SEGMENT, 0);
    is_pattern(file, SEGMENT, 5000);
    is_zero(file + 5000, SEGMENT - 5000);

    ck_assert_int_eq(stat(aside, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, 2 * SEGMENT + 1000 - end);
    load(aside, kept, (size_t)st.st_size, 0);
    is_pattern(kept, end, 2 * SEGMENT - 8 - end);
    is_pattern(kept + (2 * SEGMENT - end), 2 * SEGMENT, 1000);

    ck_assert_uint_eq(append(100), end);
    write_log();
    load(segment_path(SEGMENT), file, SEGMENT, 0);
    is_pattern(file, SEGMENT, 5100);
    is_zero(file + 5100, SEGMENT - 5100);
}
END_TEST

/* A backup may share whole segments with the store. */
START_TEST(cut_does_not_reach_the_other_links_of_a_file)
{
    static uint8_t file[SEGMENT], kept[SEGMENT];
    uint64_t end = SEGMENT + 5000;
    char other[400];

    open_long_log();
    snprintf(other, sizeof(other), "%s/backup", root);
    ck_assert_int_eq(link(segment_path(SEGMENT), other), 0);
    load(other, kept, SEGMENT, 0);
    set_end(end, NULL);
    load(segment_path(SEGMENT), file, SEGMENT, 0);
    is_pattern(file, SEGMENT, 5000);
    is_zero(file + 5000, SEGMENT - 5000);
    load(other, file, SEGMENT, 0);
    ck_assert_mem_eq(file, kept, SEGMENT);
    ck_assert_int_eq(files_in(spare_dir), 0);

    ck_assert_uint_eq(append(100), end);
    write_log();
    load(segment_path(SEGMENT), file, SEGMENT, 0);
    is_pattern(file, SEGMENT, 5100);
    load(other, file, SEGMENT, 0);
    ck_assert_mem_eq(file, kept, SEGMENT);
}
END_TEST

START_TEST(copy_is_durable_before_anything_is_taken_away)
{
    char aside[400];

    open_long_log();
    snprintf(aside, sizeof(aside), "%s/cut", spare_dir);
    set_end(SEGMENT + 5000, aside);
    ck_assert_str_eq(disk.trace, "pwrite pwrite fsync syncdir unlink syncdir "
                                 "pwrite fdatasync allocate ");
}
END_TEST

/* A power cut may take any of several names that were not synced. */
START_TEST(segments_behind_the_end_go_one_at_a_time)
{
    open_ready();
    while (commit_log_end(the_log) < 2 * SEGMENT)
        append(RECORD_MAX);
    write_log();
    the_log = commit_log_close(the_log);
    open_log();
    disk.trace[0] = '\0';
    set_end(0, NULL);
    ck_assert_ptr_nonnull(strstr(disk.trace, "unlink syncdir unlink syncdir "));
}
END_TEST

START_TEST(log_is_left_alone_when_the_copy_fails)
{
    static uint8_t file[SEGMENT];
    char aside[400];

    open_long_log();
    snprintf(aside, sizeof(aside), "%s/cut", spare_dir);
    disk.pwrite_errno = ENOSPC;
    ck_assert_int_eq(commit_log_set_end(the_log, SEGMENT + 5000, aside, &err), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(err.text, aside));
    ck_assert_int_eq(files_in(log_dir), 3);
    ck_assert_int_eq(files_in(spare_dir), 0);
    load(segment_path(SEGMENT), file, SEGMENT, 0);
    is_pattern(file, SEGMENT, SEGMENT - 8);
}
END_TEST

START_TEST(older_copies_are_not_written_over)
{
    char aside[400], second[410];
    uint8_t kept[500];

    open_long_log();
    snprintf(aside, sizeof(aside), "%s/cut", spare_dir);
    set_end(2 * SEGMENT + 500, aside);
    snprintf(second, sizeof(second), "%s.1", aside);
    set_end(2 * SEGMENT, aside);
    load(aside, kept, 500, 0);
    is_pattern(kept, 2 * SEGMENT + 500, 500);
    load(second, kept, 500, 0);
    is_pattern(kept, 2 * SEGMENT, 500);
}
END_TEST

START_TEST(tail_of_zeroes_is_neither_kept_nor_written)
{
    char aside[400];

    open_ready();
    append(1000);
    write_log();
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    the_log = commit_log_close(the_log);
    open_log();
    memset(&disk, 0, sizeof(disk));
    snprintf(aside, sizeof(aside), "%s/cut", spare_dir);
    set_end(1000, aside);
    ck_assert_str_eq(disk.trace, "unlink syncdir allocate ");
    ck_assert_int_eq(files_in(spare_dir), 0);
    ck_assert_int_eq(files_in(log_dir), 1);
}
END_TEST

START_TEST(log_can_end_at_a_border)
{
    open_long_log();
    set_end(2 * SEGMENT, NULL); /* its segment stays, emptied */
    ck_assert_int_eq(files_in(log_dir), 3);
    ck_assert_uint_eq(append(10), 2 * SEGMENT);
    the_log = commit_log_close(the_log);
    open_log();
    set_end(3 * SEGMENT, NULL); /* the end of the last one */
    ck_assert_uint_eq(commit_log_limit(the_log), 3 * SEGMENT);
    ck_assert_uint_eq(append(10), 3 * SEGMENT);
}
END_TEST

START_TEST(log_without_segments_begins_where_it_is_told)
{
    open_log();
    ck_assert_int_eq(commit_log_set_end(the_log, 5, NULL, &err), -EINVAL);
    set_end(7 * (uint64_t)SEGMENT, NULL);
    ck_assert_uint_eq(commit_log_min(the_log), 7 * SEGMENT);
    ck_assert_uint_eq(append(10), 7 * SEGMENT);
    ck_assert_int_eq(access(segment_path(7 * (uint64_t)SEGMENT), F_OK), 0);
}
END_TEST

START_TEST(log_cannot_end_outside_of_its_segments)
{
    put_file(segment_path(SEGMENT), "", 0, SEGMENT);
    open_log();
    ck_assert_int_eq(commit_log_set_end(the_log, SEGMENT - 1, NULL, &err), -EINVAL);
    ck_assert_int_eq(commit_log_set_end(the_log, 2 * SEGMENT + 1, NULL, &err), -EINVAL);
    ck_assert_int_eq(files_in(log_dir), 1);
    set_end(SEGMENT, NULL);
}
END_TEST

/* RocketMQ leaves sparse files; without space behind the end, a write could fail, and that is
 * final. */
START_TEST(sparse_last_segment_waits_for_space_instead_of_stopping)
{
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    uint64_t offset;
    uint8_t *at;

    put_file(segment_path(0), "abc", 3, SEGMENT);
    open_log();
    disk.fallocate_errno = ENOSPC;
    set_end(3, NULL);
    ck_assert_uint_eq(commit_log_limit(the_log), 3);
    ck_assert_int_eq(reserve(10, &at, &offset), COMMIT_LOG_NEED_SEGMENT);
    ck_assert_int_eq(commit_log_prepare(the_log), -ENOSPC);
    disk.fallocate_errno = 0;
    while (commit_log_prepare(the_log) != 0) {
        ck_assert_int_lt(clock_mono_ms(), deadline);
        usleep(5000);
    }
    ck_assert_uint_eq(commit_log_limit(the_log), SEGMENT);
    ck_assert_int_eq(files_in(log_dir), 1);
    ck_assert_uint_eq(append(10), 3);
}
END_TEST

START_TEST(rewriting_writes_the_same_bytes_and_syncs_each_file)
{
    static uint8_t before[SEGMENT], after[SEGMENT];

    open_long_log();
    set_end(2 * SEGMENT + 1000, NULL);
    load(segment_path(SEGMENT), before, SEGMENT, 0);
    memset(&disk, 0, sizeof(disk));
    ck_assert_int_eq(commit_log_rewrite(the_log, SEGMENT + 77, 2 * SEGMENT + 500, &err), 0);
    ck_assert_str_eq(disk.trace, "pwrite fdatasync pwrite fdatasync ");
    load(segment_path(SEGMENT), after, SEGMENT, 0);
    ck_assert_mem_eq(after, before, SEGMENT);
    disk.fdatasync_errno = EIO;
    ck_assert_int_eq(commit_log_rewrite(the_log, 0, 10, &err), -EIO);
    ck_assert_ptr_nonnull(strstr(err.text, "from offset 0 to 10"));
}
END_TEST

/* --- retention --- */

/* Three segments with bytes in them, and one made ahead; all is flushed. */
static void fill_three(void)
{
    open_ready();
    append_up_to(SEGMENT - 8);
    append_up_to(2 * SEGMENT - 8);
    append_up_to(2 * SEGMENT + 1000);
    write_log();
    ck_assert_int_eq(commit_log_flush(the_log), 1);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(files_in(log_dir), 4);
    memset(&disk, 0, sizeof(disk));
}

static int retire(uint64_t below)
{
    uint64_t base;
    int r = commit_log_retire(the_log, below, &base);

    if (r == 0)
        ck_assert_uint_eq(base + SEGMENT, commit_log_min(the_log));
    return r;
}

static void erase(uint64_t piece)
{
    int r;

    do {
        r = commit_log_erase(the_log, piece);
        ck_assert_int_ge(r, 0);
    } while (r > 0);
}

START_TEST(only_whole_segments_below_the_bound_are_retired)
{
    fill_three();
    ck_assert_int_eq(retire(SEGMENT - 1), -ENODATA);
    ck_assert_uint_eq(commit_log_min(the_log), 0);
    ck_assert_int_eq(retire(SEGMENT), 0);
    ck_assert_int_eq(retire(UINT64_MAX), -EBUSY); /* one at a time */
    erase(SEGMENT);
    ck_assert_int_eq(retire(UINT64_MAX), 0);
    erase(SEGMENT);
    /* The one that holds the end stays, however the bound is. */
    ck_assert_int_eq(retire(UINT64_MAX), -ENODATA);
    ck_assert_uint_eq(commit_log_min(the_log), 2 * SEGMENT);
    ck_assert_uint_eq(commit_log_space(the_log), 2 * SEGMENT);
}
END_TEST

START_TEST(a_full_last_segment_stays)
{
    open_ready();
    append_up_to(SEGMENT - 8);
    append_up_to(2 * SEGMENT - 8); /* the blank goes in with the next record */
    write_log();
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(retire(UINT64_MAX), 0);
    erase(SEGMENT);
    ck_assert_int_eq(retire(UINT64_MAX), -ENODATA);
}
END_TEST

START_TEST(min_moves_before_the_file_goes)
{
    uint8_t byte;

    fill_three();
    ck_assert_int_eq(retire(SEGMENT), 0);
    ck_assert_uint_eq(commit_log_min(the_log), SEGMENT);
    ck_assert_int_eq(commit_log_read(the_log, SEGMENT - 100, &byte, 1, true), -ENODATA);
    ck_assert_int_eq(commit_log_read(the_log, SEGMENT, &byte, 1, true), 0);
    ck_assert_int_eq(access(segment_path(0), F_OK), 0);
    ck_assert_str_eq(disk.trace, "");
}
END_TEST

START_TEST(name_goes_first_and_the_space_in_pieces)
{
    fill_three();
    ck_assert_int_eq(retire(SEGMENT), 0);
    erase(SEGMENT / 4);
    ck_assert_str_eq(disk.trace, "unlink syncdir truncate truncate truncate ");
    ck_assert_int_eq(access(segment_path(0), F_OK), -1);
    ck_assert_int_eq(files_in(log_dir), 3);
    ck_assert_int_eq(commit_log_erase(the_log, SEGMENT), 0); /* nothing is left to do */
}
END_TEST

/* A backup may share whole segments with the store. */
START_TEST(space_of_a_file_with_other_links_is_not_given_back)
{
    static uint8_t file[SEGMENT];
    char other[400];

    fill_three();
    snprintf(other, sizeof(other), "%s/backup", root);
    ck_assert_int_eq(link(segment_path(0), other), 0);
    ck_assert_int_eq(retire(SEGMENT), 0);
    erase(SEGMENT / 4);
    ck_assert_str_eq(disk.trace, "unlink syncdir ");
    ck_assert_int_eq(access(segment_path(0), F_OK), -1);
    load(other, file, SEGMENT, 0);
    is_pattern(file, 0, SEGMENT - 8);
}
END_TEST

static struct log_segments *held_segments;
static struct log_piece held;
static uint8_t held_bytes[1000];

static void *read_late(void *arg)
{
    (void)arg;
    ck_assert_int_eq(pread(held.fd, held_bytes, sizeof(held_bytes), held.at), sizeof(held_bytes));
    log_segments_let_go(held_segments, &held);
    return NULL;
}

/* Who holds a segment when it is retired reads all of it; only then its space goes. */
START_TEST(reader_of_a_retired_segment_finishes)
{
    pthread_t reader;
    struct err e;
    uint64_t base;

    fill_three();
    the_log = commit_log_close(the_log);
    ck_assert_int_eq(log_segments_open(&held_segments, log_dir, spare_dir, SEGMENT, &e), 0);
    ck_assert_int_eq(log_segments_hold(held_segments, SEGMENT - 2000, SEGMENT, &held), 0);
    ck_assert_int_eq(log_segments_retire(held_segments, SEGMENT, &base), 0);
    ck_assert_int_eq(log_segments_erase(held_segments, 1), 1);
    ck_assert_int_eq(log_segments_erase(held_segments, 1), 1);
    ck_assert_int_eq(access(segment_path(0), F_OK), -1);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_late, NULL), 0);
    ck_assert_int_eq(log_segments_erase(held_segments, SEGMENT), 0); /* waits for the reader */
    pthread_join(reader, NULL);
    is_pattern(held_bytes, SEGMENT - 2000, sizeof(held_bytes));
    held_segments = log_segments_free(held_segments);
}
END_TEST

START_TEST(failed_steps_are_taken_again)
{
    fill_three();
    ck_assert_int_eq(retire(SEGMENT), 0);
    disk.unlink_errno = EIO;
    ck_assert_int_eq(commit_log_erase(the_log, SEGMENT), -EIO);
    ck_assert_int_eq(retire(2 * SEGMENT), -EBUSY);
    disk.unlink_errno = 0;
    disk.fsync_errno = EIO;
    ck_assert_int_eq(commit_log_erase(the_log, SEGMENT), 1);
    ck_assert_int_eq(commit_log_erase(the_log, SEGMENT), -EIO);
    disk.fsync_errno = 0;
    disk.ftruncate_errno = EIO; /* then it goes in one piece */
    erase(SEGMENT / 4);
    ck_assert_int_eq(retire(2 * SEGMENT), 0);
    ck_assert_int_eq(files_in(log_dir), 3);
}
END_TEST

START_TEST(age_is_that_of_the_last_write)
{
    struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000, .tv_nsec = 5000000}};
    int64_t ms;

    open_log();
    ck_assert_int_eq(commit_log_modified(the_log, &ms), -ENODATA);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(utimensat(AT_FDCWD, segment_path(0), times, 0), 0);
    ck_assert_int_eq(commit_log_modified(the_log, &ms), 0);
    ck_assert_int_eq(ms, 1700000000005);
}
END_TEST

/* Whatever step a kill comes after: the files are a whole row. */
START_TEST(log_opens_after_every_step_of_a_deletion)
{
    for (int steps = 0; steps <= 6; steps++) {
        fill_three();
        ck_assert_int_eq(retire(SEGMENT), 0);
        for (int i = 0; i < steps; i++)
            ck_assert_int_ge(commit_log_erase(the_log, SEGMENT / 4), 0);
        the_log = commit_log_close(the_log);
        open_log();
        ck_assert_uint_eq(commit_log_min(the_log), steps == 0 ? 0 : SEGMENT);
        ck_assert_uint_eq(commit_log_limit(the_log), 4 * SEGMENT);
        set_end(2 * SEGMENT + 1000, NULL);
        tear_down();
        set_up();
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("log_segments");
    TCase *segments = tcase_create("segments");
    TCase *open_case = tcase_create("open");
    TCase *cut = tcase_create("cut");
    TCase *retention = tcase_create("retention");
    TCase *const all[] = {segments, open_case, cut, retention};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(s, all[i]);
    }
    tcase_add_test(segments, segment_is_durable_before_anybody_sees_it);
    tcase_add_test(segments, one_segment_is_made_ahead_and_no_more);
    tcase_add_test(segments, full_disk_refuses_a_segment_and_the_log_goes_on);
    tcase_add_test(segments, failed_steps_of_making_a_segment_leave_no_file);
    tcase_add_test(segments, names_of_segments_that_are_there_are_synced_before_they_are_used);
    tcase_add_test(segments, disk_that_cannot_allocate_gets_files_of_full_size);
    tcase_add_test(segments, trim_deletes_segments_without_a_byte);
    tcase_add_test(segments, trim_keeps_the_only_segment);

    tcase_add_test(open_case, files_that_are_no_segments_are_refused_by_name);
    tcase_add_test(open_case, folders_and_leftovers_do_not_keep_the_log_from_opening);
    tcase_add_test(open_case, missing_folders_are_made);
    tcase_add_test(open_case, reopened_log_goes_on_where_it_ended);

    tcase_add_test(cut, cut_tail_is_kept_aside_and_zeroed);
    tcase_add_test(cut, cut_does_not_reach_the_other_links_of_a_file);
    tcase_add_test(cut, copy_is_durable_before_anything_is_taken_away);
    tcase_add_test(cut, segments_behind_the_end_go_one_at_a_time);
    tcase_add_test(cut, log_is_left_alone_when_the_copy_fails);
    tcase_add_test(cut, older_copies_are_not_written_over);
    tcase_add_test(cut, tail_of_zeroes_is_neither_kept_nor_written);
    tcase_add_test(cut, log_can_end_at_a_border);
    tcase_add_test(cut, log_without_segments_begins_where_it_is_told);
    tcase_add_test(cut, log_cannot_end_outside_of_its_segments);
    tcase_add_test(cut, sparse_last_segment_waits_for_space_instead_of_stopping);
    tcase_add_test(cut, rewriting_writes_the_same_bytes_and_syncs_each_file);

    tcase_add_test(retention, only_whole_segments_below_the_bound_are_retired);
    tcase_add_test(retention, a_full_last_segment_stays);
    tcase_add_test(retention, min_moves_before_the_file_goes);
    tcase_add_test(retention, name_goes_first_and_the_space_in_pieces);
    tcase_add_test(retention, space_of_a_file_with_other_links_is_not_given_back);
    tcase_add_test(retention, reader_of_a_retired_segment_finishes);
    tcase_add_test(retention, failed_steps_are_taken_again);
    tcase_add_test(retention, age_is_that_of_the_last_write);
    tcase_add_test(retention, log_opens_after_every_step_of_a_deletion);
    return s;
}

UNIT_MAIN(suite)
