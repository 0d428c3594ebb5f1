/* store_recovery_fixture.h - a store that was left as a crash leaves it, and what a test puts
 * behind its back into the log. */
#ifndef TERN_TESTS_STORE_RECOVERY_FIXTURE_H
#define TERN_TESTS_STORE_RECOVERY_FIXTURE_H

#include "broker/store/store_mark.h"
#include "store_fixture.h"

/* A crash seen from the next start: abort is there. The log's end is above what the mark covers or
 * not, as the test made it. */
static inline void close_as_crashed(void)
{
    ck_assert_int_eq(close_store(), 0);
    ck_assert_int_eq(abort_create(in_dir("abort")), 0);
}

static inline struct store_stats stats_now(void)
{
    struct store_stats stats;

    store_stats(store, &stats);
    return stats;
}

/* Names in tern/ that begin with `prefix`; the first is put into `first`. */
static inline int count_in_tern(const char *prefix, char first[256])
{
    struct file_list list;
    int count = 0;

    ck_assert_int_eq(file_list(in_dir("tern"), &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.names[i], prefix, strlen(prefix)) != 0)
            continue;
        if (count++ == 0 && first)
            snprintf(first, 256, "%s", list.names[i]);
    }
    file_list_free(&list);
    return count;
}

/* Puts bytes into the log's file, behind the store's back. */
static inline void put_in_log(uint64_t offset, const void *bytes, size_t n)
{
    int fd = file_open(segment_path(offset), O_RDWR, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(
        file_write_all(fd, bytes, n, (off_t)(offset % (uint64_t)options.segment_bytes)), 0);
    file_close(fd);
}

/* A whole record as it would stand at `offset`: message `number`, the next of its queue. */
static inline size_t make_record(uint8_t *to, uint64_t offset, int64_t number, int64_t store_ms)
{
    char body[100];
    struct record r = {
        .queue_id = (int32_t)(number % 4),
        .topic = BYTES_LIT("Orders"),
        .store_host = options.store_host,
        .born_host = options.store_host,
        .body = bytes_of(body, sizeof(body)),
    };

    fill_body(body, sizeof(body), "message", number);
    record_encode(to, &r, true);
    record_seal(to, load_be32(to), number / 4, (int64_t)offset, store_ms, true);
    return load_be32(to);
}

#endif
