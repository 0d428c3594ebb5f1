/* Claims about the bytes of the log: where they go, who may see them, and what happens when the
 * disk says no.
 */
#include "log_fixture.h"

#include "broker/store/record.h"

/* --- allocations, counted: the linker sends them here --- */

static _Atomic uint64_t allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
    allocations++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    allocations++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    allocations++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    allocations++;
    return __real_aligned_alloc(align, n);
}

/* --- appending and rolling --- */

START_TEST(bytes_on_disk_are_the_bytes_appended)
{
    static uint8_t file[SEGMENT];
    uint64_t end = 0;

    open_ready();
    for (size_t size = 1; end + size + 8 <= SEGMENT; size = size * 3 % 1009 + 1) {
        ck_assert_uint_eq(append(size), end);
        end += size;
        if (size % 4 == 0)
            write_log();
    }
    write_log();
    load(segment_path(0), file, SEGMENT, 0);
    is_pattern(file, 0, end);
    is_zero(file + end, SEGMENT - end);
}
END_TEST

START_TEST(record_that_leaves_8_bytes_stays_in_its_segment)
{
    open_ready();
    append_up_to(SEGMENT - 100);
    ck_assert_uint_eq(append(92), SEGMENT - 100);
    ck_assert_uint_eq(commit_log_end(the_log), SEGMENT - 8);
    ck_assert_uint_eq(append(1), SEGMENT);
}
END_TEST

START_TEST(record_that_leaves_7_bytes_goes_to_the_next_segment)
{
    uint8_t blank[100];

    open_ready();
    append_up_to(SEGMENT - 100);
    ck_assert_uint_eq(append(93), SEGMENT);
    ck_assert_uint_eq(commit_log_end(the_log), SEGMENT + 93);
    write_log();
    load(segment_path(0), blank, 100, SEGMENT - 100);
    ck_assert_mem_eq(blank, "\x00\x00\x00\x64\xcb\xd4\x31\x94", 8);
    is_zero(blank + 8, 92);
}
END_TEST

/* The ring has been around before, so the place behind the blank holds old records. */
START_TEST(nothing_of_older_records_reaches_the_disk_behind_a_blank)
{
    static uint8_t rest[10000];

    open_ready();
    for (int i = 0; i < 3; i++) {
        append_up_to((uint64_t)i * SEGMENT + SEGMENT - 8);
        write_log();
    }
    append_up_to(4 * SEGMENT - 10000);
    ck_assert_uint_eq(append(RECORD_MAX), 4 * SEGMENT);
    write_log();
    load(segment_path(3 * SEGMENT), rest, sizeof(rest), SEGMENT - (off_t)sizeof(rest));
    ck_assert_uint_eq(load_be32(rest), sizeof(rest));
    ck_assert_uint_eq(load_be32(rest + 4), RECORD_MAGIC_BLANK);
    is_zero(rest + 8, sizeof(rest) - 8);
}
END_TEST

START_TEST(a_write_over_a_border_is_one_call_for_each_file)
{
    open_ready();
    append_up_to(SEGMENT - 100);
    write_log();
    append(50);
    append(200);
    memset(&disk, 0, sizeof(disk));
    ck_assert_int_eq(commit_log_write(the_log), 1);
    ck_assert_int_eq(disk.pwritev_calls, 2);
    ck_assert_int_eq(commit_log_write(the_log), 0);
    ck_assert_int_eq(disk.pwritev_calls, 2);
}
END_TEST

/* As another thread would: appends, and finds the ticket taken. */
static void append_and_write_meanwhile(void)
{
    append(50);
    ck_assert_int_eq(commit_log_write(the_log), 0);
}

START_TEST(bytes_appended_during_a_write_are_left_to_the_writer)
{
    open_ready();
    append(100);
    disk.during = append_and_write_meanwhile;
    ck_assert_int_eq(commit_log_write(the_log), 1);
    ck_assert_uint_eq(commit_log_written(the_log), 150);
    ck_assert_int_eq(disk.pwritev_calls, 2);
}
END_TEST

START_TEST(reservation_that_is_not_committed_leaves_nothing)
{
    uint64_t offset, old = 3 * SEGMENT - 8;
    uint8_t *at, back[64];

    open_ready();
    for (int i = 0; i < 3; i++) {
        append_up_to((uint64_t)i * SEGMENT + SEGMENT - 8);
        write_log();
    }
    /* Rolls, fills what it got, and thinks better of it. */
    ck_assert_int_eq(reserve(RECORD_MAX, &at, &offset), COMMIT_LOG_NEED_SEGMENT);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(reserve(RECORD_MAX, &at, &offset), 0);
    ck_assert_uint_eq(offset, 3 * SEGMENT);
    memset(at, 0xee, RECORD_MAX);
    ck_assert_uint_eq(commit_log_end(the_log), old);
    ck_assert_int_eq(commit_log_write(the_log), 0);

    /* The ring has lost its oldest bytes to that, and readers must know. */
    ck_assert_int_eq(commit_log_read(the_log, old - TAIL + 100, back, sizeof(back), true), 0);
    is_pattern(back, old - TAIL + 100, sizeof(back));
    ck_assert_uint_eq(append(500), 3 * SEGMENT);
    write_log();
    ck_assert_int_eq(commit_log_read(the_log, 3 * SEGMENT, back, sizeof(back), true), 0);
    is_pattern(back, 3 * SEGMENT, sizeof(back));
}
END_TEST

START_TEST(less_than_reserved_can_be_committed)
{
    uint64_t offset;
    uint8_t *at;

    open_ready();
    ck_assert_int_eq(reserve(1000, &at, &offset), 0);
    memset(at, 1, 1000);
    commit_log_commit(the_log, 10);
    ck_assert_uint_eq(commit_log_end(the_log), 10);
    ck_assert_uint_eq(append(20), 10);
}
END_TEST

START_TEST(full_tail_asks_for_a_write_and_has_room_after_it)
{
    uint64_t offset;
    uint8_t *at;

    open_ready();
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    append_up_to(SEGMENT - 8);
    append_up_to(2 * SEGMENT - 8);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(reserve(100, &at, &offset), COMMIT_LOG_TAIL_FULL);
    ck_assert_int_eq(commit_log_write(the_log), 1);
    ck_assert_int_eq(reserve(100, &at, &offset), 0);
    ck_assert_uint_eq(offset, 2 * SEGMENT);
}
END_TEST

START_TEST(record_larger_than_any_segment_is_refused)
{
    struct commit_log_options o = options();
    uint64_t offset;
    uint8_t *at;

    o.segment_bytes = 4096;
    ck_assert_int_eq(commit_log_open(&the_log, &o, &err), 0);
    ck_assert_int_eq(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(reserve(4089, &at, &offset), -EMSGSIZE);
    ck_assert_int_eq(reserve(4088, &at, &offset), 0);
}
END_TEST

START_TEST(options_that_cannot_work_are_refused)
{
    struct commit_log_options o = options();

    o.tail_bytes = 4 * RECORD_MAX / 2;
    ck_assert_int_eq(commit_log_open(&the_log, &o, &err), -EINVAL);
    o.tail_bytes = 4 * RECORD_MAX + 4096;
    ck_assert_int_eq(commit_log_open(&the_log, &o, &err), -EINVAL);
    o = options();
    o.segment_bytes = 8;
    ck_assert_int_eq(commit_log_open(&the_log, &o, &err), -EINVAL);
    ck_assert_ptr_null(the_log);
}
END_TEST

START_TEST(warm_appends_writes_and_reads_allocate_nothing)
{
    uint8_t back[168];
    uint64_t before;
    int wrong = 0;

    open_ready();
    append(168);
    write_log();
    before = allocations;
    for (int i = 0; i < 100; i++) { /* no assertions here: they allocate */
        uint64_t offset = append(168);
        wrong += commit_log_write(the_log) != 1;
        wrong += commit_log_read(the_log, offset, back, sizeof(back), false) != 0;
        wrong += commit_log_read(the_log, 0, back, sizeof(back), true) != 0;
    }
    wrong += commit_log_flush(the_log) != 1;
    ck_assert_uint_eq(allocations, before);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

/* --- reading --- */

START_TEST(nothing_above_written_is_readable)
{
    uint8_t back[300];

    open_ready();
    append(100);
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 1, true), -ENODATA);
    write_log();
    append(100);
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, true), 0);
    is_pattern(back, 0, 100);
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 101, true), -ENODATA);
    ck_assert_int_eq(commit_log_read(the_log, 100, back, 1, true), -ENODATA);
    ck_assert_int_eq(commit_log_read(the_log, 100, back, 0, true), 0);
    ck_assert_int_eq(commit_log_read(the_log, 101, back, 0, true), -ENODATA);
    ck_assert_int_eq(commit_log_read(the_log, UINT64_MAX, back, 2, true), -ENODATA);
    ck_assert_int_eq(commit_log_read(the_log, 99, back, SIZE_MAX, true), -ENODATA);
}
END_TEST

START_TEST(tail_and_files_read_the_same)
{
    static uint8_t back[3 * SEGMENT], files[3 * SEGMENT];

    open_ready();
    for (int i = 0; i < 3; i++) {
        append_up_to((uint64_t)i * SEGMENT + SEGMENT - 100);
        append(93);
        write_log();
    }
    /* One read over everything: files first, tail at the end, blanks between. */
    ck_assert_int_eq(commit_log_read(the_log, 0, back, sizeof(back), true), 0);
    for (uint64_t i = 0; i < 3; i++)
        load(segment_path(i * SEGMENT), files + i * SEGMENT, SEGMENT, 0);
    ck_assert_mem_eq(back, files, sizeof(back));
    for (uint64_t at = 0; at + 1000 < sizeof(back); at += 777) {
        uint8_t piece[1000];
        int r = commit_log_read(the_log, at, piece, sizeof(piece), false);
        if (r == COMMIT_LOG_WOULD_BLOCK)
            r = commit_log_read(the_log, at, piece, sizeof(piece), true);
        ck_assert_int_eq(r, 0);
        ck_assert_mem_eq(piece, files + at, sizeof(piece));
    }
}
END_TEST

START_TEST(reader_that_may_not_block_hears_when_pages_are_not_in_memory)
{
    uint8_t back[100];

    open_ready();
    for (int i = 0; i < 3; i++) {
        append_up_to((uint64_t)i * SEGMENT + SEGMENT - 8);
        write_log();
    }
    disk.preadv2_result = -EAGAIN;
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, false), COMMIT_LOG_WOULD_BLOCK);
    disk.preadv2_result = 99;
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, false), COMMIT_LOG_WOULD_BLOCK);
    disk.preadv2_result = -EIO;
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, false), -EIO);
    ck_assert_int_eq(disk.preadv2_calls, 3);
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, true), 0);
    is_pattern(back, 0, 100);
    /* The newest bytes need no file. */
    ck_assert_int_eq(commit_log_read(the_log, 3 * SEGMENT - 1000, back, 100, false), 0);
    ck_assert_int_eq(disk.preadv2_calls, 3);
}
END_TEST

START_TEST(file_system_without_nowait_is_read_plainly)
{
    uint8_t back[100];

    open_ready();
    for (int i = 0; i < 3; i++) {
        append_up_to((uint64_t)i * SEGMENT + SEGMENT - 8);
        write_log();
    }
    disk.preadv2_result = -EOPNOTSUPP;
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, false), 0);
    is_pattern(back, 0, 100);
}
END_TEST

/* --- failing disks --- */

START_TEST(short_writes_are_continued)
{
    static uint8_t file[1000];

    open_ready();
    disk.pwritev_most = 7;
    append(1000);
    ck_assert_int_eq(commit_log_write(the_log), 1);
    ck_assert_int_eq(disk.pwritev_calls, 143);
    load(segment_path(0), file, 1000, 0);
    is_pattern(file, 0, 1000);
}
END_TEST

START_TEST(failed_write_stops_the_log_for_good)
{
    uint8_t back[300], *at;
    char reason[160];
    uint64_t offset;

    open_ready();
    append(100);
    write_log();
    ck_assert(!commit_log_stopped(the_log, reason));
    /* Some bytes of the second record arrive, the rest does not. */
    disk.pwritev_most = 60;
    disk.pwritev_fails_at = 4;
    disk.pwritev_errno = ENOSPC;
    append(200);
    ck_assert_int_eq(commit_log_write(the_log), -ENOSPC);
    ck_assert_uint_eq(commit_log_written(the_log), 100);
    ck_assert(commit_log_stopped(the_log, reason));
    ck_assert_str_eq(reason,
                     "write of log offsets 100 to 300 failed at segment 00000000000000000000: "
                     "No space left on device");

    /* The disk is fine again, and that changes nothing. */
    disk.pwritev_fails_at = 0;
    int calls = disk.pwritev_calls;
    ck_assert_int_lt(commit_log_write(the_log), 0);
    ck_assert_int_lt(commit_log_flush(the_log), 0);
    ck_assert_int_lt(commit_log_prepare(the_log), 0);
    ck_assert_int_eq(reserve(10, &at, &offset), COMMIT_LOG_STOPPED);
    ck_assert_int_eq(disk.pwritev_calls, calls);
    ck_assert_int_eq(disk.fdatasync_calls, 0);
    ck_assert_uint_eq(commit_log_flushed(the_log), 0);
    ck_assert_int_eq(commit_log_read(the_log, 0, back, 100, true), 0);
    is_pattern(back, 0, 100);
    ck_assert_int_eq(commit_log_read(the_log, 100, back, 1, true), -ENODATA);
}
END_TEST

START_TEST(write_that_fails_behind_a_border_keeps_what_is_before_it)
{
    open_ready();
    append_up_to(SEGMENT - 100);
    append(200);
    disk.pwritev_fails_at = 2;
    disk.pwritev_errno = EIO;
    ck_assert_int_eq(commit_log_write(the_log), -EIO);
    ck_assert_uint_eq(commit_log_written(the_log), SEGMENT);
}
END_TEST

START_TEST(failed_sync_stops_the_log_and_is_never_tried_again)
{
    char reason[160];

    open_ready();
    append(100);
    write_log();
    ck_assert_int_eq(commit_log_flush(the_log), 1);
    append(100);
    write_log();
    disk.fdatasync_errno = EIO;
    ck_assert_int_eq(commit_log_flush(the_log), -EIO);
    ck_assert_uint_eq(commit_log_flushed(the_log), 100);
    ck_assert(commit_log_stopped(the_log, reason));
    ck_assert_str_eq(reason,
                     "flush of log offsets 100 to 200 failed at segment 00000000000000000000: "
                     "Input/output error");

    disk.fdatasync_errno = 0;
    int calls = disk.fdatasync_calls;
    ck_assert_int_lt(commit_log_flush(the_log), 0);
    ck_assert_int_eq(disk.fdatasync_calls, calls);
    ck_assert_uint_eq(commit_log_flushed(the_log), 100);
    ck_assert_int_lt(commit_log_write(the_log), 0);
}
END_TEST

START_TEST(stopped_log_moves_no_mark)
{
    char reason[160];

    open_ready();
    append(100);
    write_log();
    append(100);
    commit_log_stop(the_log, "the epoch is over");
    commit_log_stop(the_log, "another reason");
    ck_assert_int_lt(commit_log_write(the_log), 0);
    ck_assert_int_lt(commit_log_flush(the_log), 0);
    ck_assert_uint_eq(commit_log_written(the_log), 100);
    ck_assert_uint_eq(commit_log_flushed(the_log), 0);
    ck_assert(commit_log_stopped(the_log, reason));
    ck_assert_str_eq(reason, "the epoch is over");
    ck_assert(commit_log_stopped(the_log, NULL));
}
END_TEST

static void stop_meanwhile(void)
{
    commit_log_stop(the_log, "stopped meanwhile");
}

START_TEST(write_or_sync_that_ends_after_the_stop_does_not_count)
{
    open_ready();
    append(100);
    disk.during = stop_meanwhile;
    ck_assert_int_lt(commit_log_write(the_log), 0);
    ck_assert_uint_eq(commit_log_written(the_log), 0);
    the_log = commit_log_close(the_log);

    open_log();
    set_end(0, NULL);
    append(100);
    write_log();
    disk.during = stop_meanwhile;
    ck_assert_int_lt(commit_log_flush(the_log), 0);
    ck_assert_uint_eq(commit_log_flushed(the_log), 0);
}
END_TEST

START_TEST(flush_syncs_only_the_segments_that_were_written_to)
{
    open_ready();
    append_up_to(SEGMENT - 8);
    append_up_to(SEGMENT + 100);
    write_log();
    memset(&disk, 0, sizeof(disk));
    ck_assert_int_eq(commit_log_flush(the_log), 1);
    ck_assert_int_eq(disk.fdatasync_calls, 2);
    ck_assert_uint_eq(commit_log_flushed(the_log), SEGMENT + 100);
    append(100);
    ck_assert_int_eq(commit_log_flush(the_log), 0); /* not written yet */
    write_log();
    ck_assert_int_eq(commit_log_flush(the_log), 1);
    ck_assert_int_eq(disk.fdatasync_calls, 3);
}
END_TEST

START_TEST(writeback_takes_whole_pages_and_each_once)
{
    open_ready();
    append_up_to(10000);
    write_log();
    commit_log_writeback(the_log);
    ck_assert_int_eq(disk.range_calls, 1);
    ck_assert_uint_eq(disk.range_from, 0);
    ck_assert_uint_eq(disk.range_to, 8192);
    commit_log_writeback(the_log);
    ck_assert_int_eq(disk.range_calls, 1);
    append_up_to(SEGMENT - 8);
    append_up_to(SEGMENT + 5000);
    write_log();
    commit_log_writeback(the_log);
    ck_assert_int_eq(disk.range_calls, 3);
    ck_assert_uint_eq(disk.range_from, 0);
    ck_assert_uint_eq(disk.range_to, 4096);
    ck_assert_int_eq(disk.fdatasync_calls, 0);
}
END_TEST

/* --- threads --- */

enum { APPENDERS = 3, APPENDS = 2000 };
static _Atomic int appending;
static _Atomic int bad_reads, reads;

/* Records are {size, pattern ...}, so that a reader can check any of them by itself. */
static void *appender(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < APPENDS; i++) {
        size_t size = 5 + (seed = seed * 1103515245 + 12345) / 65536 % 600;
        uint64_t offset;
        uint8_t *at;
        int r;

        do {
            pthread_mutex_lock(&append_lock);
            r = commit_log_reserve(the_log, size, &at, &offset);
            if (r == 0) {
                store_be32(at, (uint32_t)size);
                for (size_t k = 4; k < size; k++)
                    at[k] = pattern(offset + k);
                commit_log_commit(the_log, size);
            }
            pthread_mutex_unlock(&append_lock);
            if (r == COMMIT_LOG_NEED_SEGMENT && commit_log_prepare(the_log) < 0)
                abort();
            if (r == COMMIT_LOG_TAIL_FULL && commit_log_write(the_log) < 0)
                abort();
            if (r < 0)
                abort();
        } while (r != 0);
        if (i % 4 == 0 && commit_log_write(the_log) < 0)
            abort();
    }
    if (commit_log_write(the_log) < 0)
        abort();
    appending--;
    return NULL;
}

static void *flusher(void *arg)
{
    (void)arg;
    while (appending > 0 || commit_log_flushed(the_log) < commit_log_end(the_log)) {
        commit_log_writeback(the_log);
        if (commit_log_flush(the_log) < 0)
            abort();
        if (commit_log_flushed(the_log) > commit_log_written(the_log))
            abort();
    }
    return NULL;
}

/* Walks the log from its beginning, again and again, as far as it is written. */
static void *reader(void *arg)
{
    bool may_block = arg != NULL;
    uint8_t record[1024];
    uint64_t at = 0;

    while (appending > 0 || reads == 0) { /* one at least, who comes late too */
        uint64_t written = commit_log_written(the_log);
        uint32_t size;

        if (at + 8 > written) {
            at = 0;
            continue;
        }
        int r = commit_log_read(the_log, at, record, 8, may_block);
        if (r == COMMIT_LOG_WOULD_BLOCK)
            continue;
        size = load_be32(record);
        if (r == 0 && load_be32(record + 4) == RECORD_MAGIC_BLANK) {
            at += size;
            continue;
        }
        if (r < 0 || size < 5 || size > 605) {
            bad_reads++;
            break;
        }
        if (at + size > written) {
            at = 0;
            continue;
        }
        r = commit_log_read(the_log, at, record, size, may_block);
        if (r == COMMIT_LOG_WOULD_BLOCK)
            continue;
        for (uint32_t k = 4; r == 0 && k < size; k++)
            r = record[k] != pattern(at + k);
        if (r != 0)
            bad_reads++;
        reads++;
        at += size;
    }
    return NULL;
}

START_TEST(appenders_readers_and_flusher_agree_on_every_byte)
{
    pthread_t threads[APPENDERS + 3];
    uint64_t at = 0, records = 0;
    uint8_t record[1024];
    int n = 0;

    file_ops_set(NULL); /* the fixture's table is for one thread */
    open_ready();
    appending = APPENDERS;
    for (uintptr_t i = 0; i < APPENDERS; i++)
        ck_assert_int_eq(pthread_create(&threads[n++], NULL, appender, (void *)(i + 1)), 0);
    ck_assert_int_eq(pthread_create(&threads[n++], NULL, flusher, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[n++], NULL, reader, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[n++], NULL, reader, threads), 0);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(bad_reads, 0);
    ck_assert_int_gt(reads, 0);
    ck_assert_uint_eq(commit_log_written(the_log), commit_log_end(the_log));
    ck_assert_uint_eq(commit_log_flushed(the_log), commit_log_end(the_log));

    while (at < commit_log_end(the_log)) {
        uint64_t left = commit_log_end(the_log) - at;
        ck_assert_int_eq(commit_log_read(the_log, at, record, left < 8 ? left : 8, true), 0);
        uint32_t size = load_be32(record);
        if (left >= 8 && load_be32(record + 4) == RECORD_MAGIC_BLANK) {
            at += size;
            ck_assert_uint_eq(at % SEGMENT, 0);
            continue;
        }
        ck_assert_int_eq(commit_log_read(the_log, at, record, size, true), 0);
        is_pattern(record + 4, at + 4, size - 4);
        at += size;
        records++;
    }
    ck_assert_uint_eq(records, APPENDERS * APPENDS);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("commit_log");
    TCase *append_case = tcase_create("append");
    TCase *read_case = tcase_create("read");
    TCase *fail_case = tcase_create("failing disk");
    TCase *threads = tcase_create("threads");
    TCase *const all[] = {append_case, read_case, fail_case, threads};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        tcase_add_checked_fixture(all[i], set_up, tear_down);
        suite_add_tcase(s, all[i]);
    }
    tcase_add_test(append_case, bytes_on_disk_are_the_bytes_appended);
    tcase_add_test(append_case, record_that_leaves_8_bytes_stays_in_its_segment);
    tcase_add_test(append_case, record_that_leaves_7_bytes_goes_to_the_next_segment);
    tcase_add_test(append_case, nothing_of_older_records_reaches_the_disk_behind_a_blank);
    tcase_add_test(append_case, a_write_over_a_border_is_one_call_for_each_file);
    tcase_add_test(append_case, bytes_appended_during_a_write_are_left_to_the_writer);
    tcase_add_test(append_case, reservation_that_is_not_committed_leaves_nothing);
    tcase_add_test(append_case, less_than_reserved_can_be_committed);
    tcase_add_test(append_case, full_tail_asks_for_a_write_and_has_room_after_it);
    tcase_add_test(append_case, record_larger_than_any_segment_is_refused);
    tcase_add_test(append_case, options_that_cannot_work_are_refused);
    tcase_add_test(append_case, warm_appends_writes_and_reads_allocate_nothing);

    tcase_add_test(read_case, nothing_above_written_is_readable);
    tcase_add_test(read_case, tail_and_files_read_the_same);
    tcase_add_test(read_case, reader_that_may_not_block_hears_when_pages_are_not_in_memory);
    tcase_add_test(read_case, file_system_without_nowait_is_read_plainly);

    tcase_add_test(fail_case, short_writes_are_continued);
    tcase_add_test(fail_case, failed_write_stops_the_log_for_good);
    tcase_add_test(fail_case, write_that_fails_behind_a_border_keeps_what_is_before_it);
    tcase_add_test(fail_case, failed_sync_stops_the_log_and_is_never_tried_again);
    tcase_add_test(fail_case, stopped_log_moves_no_mark);
    tcase_add_test(fail_case, write_or_sync_that_ends_after_the_stop_does_not_count);
    tcase_add_test(fail_case, flush_syncs_only_the_segments_that_were_written_to);
    tcase_add_test(fail_case, writeback_takes_whole_pages_and_each_once);

    tcase_add_test(threads, appenders_readers_and_flusher_agree_on_every_byte);
    tcase_set_timeout(threads, 120);
    return s;
}

UNIT_MAIN(suite)
