/* queue_recovery_fixture.h - tables that are loaded again and meet the records of the log, queue
 * files that were changed meanwhile, and a count of what all that asks of the system. */
#ifndef TERN_TESTS_QUEUE_RECOVERY_FIXTURE_H
#define TERN_TESTS_QUEUE_RECOVERY_FIXTURE_H

#include "queue_fixture.h"

static struct file_ops ops;
static int opens, preads, syncs;

static inline int counted_open(const char *path, int flags, mode_t mode)
{
    opens++;
    return file_ops_system.open(path, flags, mode);
}

static inline ssize_t counted_pread(int fd, void *to, size_t n, off_t at)
{
    preads++;
    return file_ops_system.pread(fd, to, n, at);
}

static inline int counted_syncfs(int fd)
{
    syncs++;
    return file_ops_system.syncfs(fd);
}

static inline void begin_with_disk(void)
{
    ops = file_ops_system;
    ops.open = counted_open;
    ops.pread = counted_pread;
    ops.syncfs = counted_syncfs;
    file_ops_set(&ops);
    begin();
}

static inline void load_again(uint64_t log_min, uint64_t to)
{
    reopen_table();
    load(log_min, to);
}

static inline void recover_record(uint32_t queue, int64_t offset, uint64_t log)
{
    struct queue_entry e = entry_at(log, offset);

    ck_assert_int_eq(queue_table_recover(table, queue, offset, &e), 0);
}

/* Writes over bytes of a queue file. */
static inline void scribble(const char *path, long at, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "r+b");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

static inline bool all_zero_from(const char *path, size_t at)
{
    size_t size = 0;
    uint8_t *bytes = slurp(path, &size);
    bool zero = true;

    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(size, (size_t)options.file_bytes);
    for (size_t i = at; i < size; i++)
        zero = zero && bytes[i] == 0;
    free(bytes);
    return zero;
}

#endif
