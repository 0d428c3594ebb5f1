/* store_cut.c - a log that ends, or begins, where another one says.
 *
 * A member of a group comes back with a tail that the others do not have. Its log is opened as one
 * that ends before that tail: recovery (store_recovery.c) reads no further, the tail is given up as
 * a torn one is (log_cut.c), and everything that follows from the log ends there too. What has
 * nothing in common with the others' goes as a whole.
 *
 * In this order, so that a crash anywhere leaves what the same cut can be made of again:
 *
 *   cut     queues are loaded as tern/flushed knows them, so that what it says of them can be held
 *           against them, and end; the tail is copied, then goes; checkpoint and index follow, then
 *           consumer offsets and delay cursors; tern/flushed is replaced last
 *   anew    segments are moved aside, the last one first; then queues and index go, which the
 *           segments tell of; then as above
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

/* --- beginning anew --- */

enum { SEGMENT_DIGITS = 20 };

static bool is_segment(const char *name)
{
    return strlen(name) == SEGMENT_DIGITS && strspn(name, "0123456789") == SEGMENT_DIGITS;
}

/* How many of the names, which are in order, are segments; they come first or last. */
static size_t segments_in(const struct file_list *list, const char **first, const char **last)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (!is_segment(list->names[i]))
            continue;
        if (count++ == 0)
            *first = list->names[i];
        *last = list->names[i];
    }
    return count;
}

/* The log is empty and begins there: 1 or 0, or -errno. */
static int has_begun(const struct store *s, const char *first)
{
    uint64_t base = strtoull(first, NULL, 10);
    uint8_t front[RECORD_BLANK_BYTES];
    int fd, r;

    if (base != s->options.cut.to)
        return 0;
    fd = log_scan_open_segment(s->commit_log_dir, base);
    if (fd < 0)
        return fd;
    r = file_read_all(fd, front, sizeof(front), 0);
    (void)file_close(fd);
    if (r == -ENODATA)
        return 1; /* an empty file, left by a crash */
    return r < 0 ? r : load_be64(front) == 0;
}

/* The last one first, so that what a crash leaves is a log, a shorter one. */
static int move_segments(const struct store *s, const struct file_list *list, const char *aside)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = file_mkdir(aside);

    if (r == 0)
        r = file_sync_parent(aside);
    for (size_t i = list->count; i-- > 0 && r == 0;) {
        if (!is_segment(list->names[i]))
            continue;
        if (snprintf(from, sizeof(from), "%s/%s", s->commit_log_dir, list->names[i]) >=
                (int)sizeof(from) ||
            snprintf(to, sizeof(to), "%s/%s", aside, list->names[i]) >= (int)sizeof(to))
            r = -ENAMETOOLONG;
        else
            r = file_rename(from, to);
        if (r == 0)
            r = file_sync_dir(aside);
        if (r == 0)
            r = file_sync_dir(s->commit_log_dir);
    }
    return r;
}

static int empty_log(const struct store *s, struct err *err)
{
    const char *first = NULL, *last = NULL;
    struct file_list list;
    char aside[PATH_MAX];
    size_t count;
    int r = file_list(s->commit_log_dir, &list);

    if (r < 0)
        return err_set(err, r, "list %s", s->commit_log_dir);
    count = segments_in(&list, &first, &last);
    r = count == 0 ? 1 : has_begun(s, first);
    if (r < 0)
        err_set(err, r, "read %s/%s", s->commit_log_dir, first);
    if (r == 0 && snprintf(aside, sizeof(aside), "%s/cut-%" PRIu64 "-%" PRId64, s->spare_dir,
                           s->options.cut.to, clock_wall_ms()) >= (int)sizeof(aside))
        r = err_set(err, -ENAMETOOLONG, "name a place for the log of %s", s->root_dir);
    if (r == 0) {
        log_warn("store %s: its log begins anew at offset %" PRIu64
                 "; what there was, %zu segments from %s to %s, is kept in %s",
                 s->root_dir, s->options.cut.to, count, first, last, aside);
        r = move_segments(s, &list, aside);
        if (r < 0)
            err_set(err, r, "move the segments of %s to %s", s->commit_log_dir, aside);
    }
    file_list_free(&list);
    return r < 0 ? r : 0;
}

int store_cut_anew(struct store *s, struct err *err)
{
    static const char *const derived[] = {"consumequeue", "index", "tern/index", "tern/queues"};
    uint64_t to = s->options.cut.to;
    char path[PATH_MAX];
    int fd, r;

    if (to % (uint64_t)s->options.segment_bytes != 0 || to > INT64_MAX)
        return err_say(err, -EINVAL,
                       "a log cannot begin at %" PRIu64 ", which is no multiple of %" PRId64
                       " (mappedFileSizeCommitLog; it must be the same on both sides)",
                       to, s->options.segment_bytes);
    r = empty_log(s, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++) {
        r = store_path(s, path, derived[i]);
        if (r == 0)
            r = file_remove_tree(path, 2);
        if (r < 0)
            return err_set(err, r, "remove %s/%s, which spoke of another log", s->root_dir,
                           derived[i]);
    }
    r = store_path(s, path, "consumequeue");
    if (r == 0)
        r = file_mkdir(path);
    fd = r < 0 ? r : file_open(s->root_dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_set(err, fd, "make %s/consumequeue", s->root_dir);
    r = file_syncfs(fd); /* an old entry must not come back beside a new record */
    (void)file_close(fd);
    return r < 0 ? err_set(err, r, "sync the file system of %s", s->root_dir) : 0;
}

/* --- a tail that goes --- */

void store_cut_lower(struct mark *mark, uint64_t to)
{
    mark->flushed = to;
    if (mark->crc_from != MARK_NO_CRC && mark->crc_from > to)
        mark->crc_from = to;
    mark->clean = false;
    mark->tail_crc = 0;
    mark->store_ms = 0; /* the last record that stays knows it */
}

int store_cut_count(const struct store *s, uint64_t from, uint64_t limit, struct store_tail *out,
                    struct err *err)
{
    struct log_scan scan;
    struct record record;
    const char *why;
    int r = LOG_SCAN_RECORD;

    *out = (struct store_tail){0};
    log_scan_init(&scan, s->commit_log_dir, (uint64_t)s->options.segment_bytes, err);
    for (uint64_t at = from; at < limit && (r == LOG_SCAN_RECORD || r == LOG_SCAN_BLANK);) {
        r = log_scan_judge(&scan, at, &record, &why);
        if (r == LOG_SCAN_BLANK) {
            at = log_scan_segment_end(&scan, at);
        } else if (r == LOG_SCAN_RECORD) {
            at += record.total_size;
            out->records++;
            out->bytes = at - from;
        }
    }
    log_scan_destroy(&scan);
    return r < 0 ? r : 0;
}

/* The last record that ends at or below `limit`: 1 with where it ends and its store time; 0: there
 * is none; -errno. */
static int last_record(struct store *s, uint64_t limit, uint64_t *end, int64_t *ms, struct err *err)
{
    struct log_scan scan;
    struct record record;
    const char *why;
    struct err none;
    uint64_t offset;
    int r = store_record_before(s, limit, &offset, &none);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(err, r, "read the log of %s before %" PRIu64, s->root_dir, limit);
    log_scan_init(&scan, s->commit_log_dir, (uint64_t)s->options.segment_bytes, err);
    r = log_scan_judge(&scan, offset, &record, &why);
    if (r == LOG_SCAN_RECORD) {
        *end = offset + record.total_size;
        *ms = record.store_ms;
    }
    log_scan_destroy(&scan);
    return r < 0 ? r : r == LOG_SCAN_RECORD;
}

int store_cut_place(struct store *s, uint64_t min, uint64_t limit, uint64_t *to, struct err *err)
{
    uint64_t segment, end;
    int64_t ms;
    int r;

    *to = s->options.cut.to;
    if (*to < min)
        return err_say(err, -EINVAL,
                       "the log of %s cannot be cut at %" PRIu64 ": it begins at %" PRIu64,
                       s->root_dir, *to, min);
    segment = *to - *to % (uint64_t)s->options.segment_bytes;
    if (*to >= limit || *to == segment)
        return 0;
    r = last_record(s, *to, &end, &ms, err);
    if (r >= 0)
        *to = r == 1 && end > segment ? end : segment;
    return r < 0 ? r : 0;
}

int store_cut_newest(struct store *s, uint64_t end, int64_t *ms, struct err *err)
{
    uint64_t last;
    int r;

    *ms = 0;
    r = last_record(s, end, &last, ms, err);
    return r < 0 ? r : 0;
}

int store_cut_checkpoint(const struct store *s, int64_t newest_ms, struct err *err)
{
    char path[PATH_MAX];
    int64_t index_ms = 0;
    int r = store_path(s, path, "checkpoint");

    if (r == 0)
        r = checkpoint_index_ms(path, &index_ms);
    if (r == 0)
        r = checkpoint_write(path, newest_ms, newest_ms,
                             index_ms < newest_ms ? index_ms : newest_ms);
    return r < 0 ? err_set(err, r, "write %s/checkpoint", s->root_dir) : 0;
}

/* --- those who stood in the tail --- */

/* One past the last message of a queue; INT64_MAX: the topic is not known. */
static int64_t queue_max(void *ctx, struct bytes name, int32_t queue_id)
{
    struct store *s = ctx;
    struct topic *topic = metadata_topic(s->metadata, name, NULL);
    int64_t max = 0;
    uint32_t queue;

    if (!topic)
        return INT64_MAX;
    pthread_mutex_lock(&s->append_lock);
    queue = queue_table_find(s->queues, topic, queue_id, false);
    if (queue != QUEUE_NONE)
        max = queue_table_next(s->queues, queue);
    pthread_mutex_unlock(&s->append_lock);
    return max;
}

int store_cut_offsets(struct store *s, struct err *err)
{
    int r = metadata_limit_offsets(s->metadata, queue_max, s);

    return r < 0 ? err_set(err, r, "write the metadata journal of %s", s->root_dir) : 0;
}
