/* queue_recovery.c - queues are cut with the log, and corrected by it.
 *
 * What load (queue_load.c) has believed of the files is compared with each record that the scan of
 * the log meets: entries that were lost in front (a page that never reached the disk) are found
 * here.
 */
#include "broker/store/queue_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"

int queue_files_sync(struct queue_table *t, struct err *err)
{
    int fd = file_open(t->dir, O_RDONLY | O_DIRECTORY, 0), r;

    if (fd < 0)
        return err_set(err, fd, "open %s", t->dir);
    r = file_syncfs(fd);
    (void)file_close(fd);
    return r < 0 ? err_set(err, r, "sync the file system of %s", t->dir) : 0;
}

uint64_t queue_table_max_end(struct queue_table *t)
{
    uint64_t max = 0;

    pthread_mutex_lock(t->append_lock);
    for (uint32_t i = 0; i < t->count; i++) {
        if (queue_state(t, i)->last_end > max)
            max = queue_state(t, i)->last_end;
    }
    pthread_mutex_unlock(t->append_lock);
    return max;
}

/* --- cutting a queue --- */

/* End of the record of the last entry in [min, end) that is no filler; 0 when there is none. */
static int end_before(struct queue_table *t, const struct queue_place *place, int64_t min,
                      int64_t end, uint64_t *out)
{
    *out = 0;
    for (int64_t at = end - 1; at >= min && *out == 0; at--) {
        uint8_t unit[QUEUE_ENTRY_BYTES];
        struct queue_entry e;
        int r = queue_units_read(t, place, at, unit, 1, true);

        if (r < 0)
            return r;
        queue_unit_decode(unit, &e);
        *out = queue_entry_end(&e);
    }
    return 0;
}

/* Removes entries [end, file_end) from the files. A first file stays even when it is empty: its
 * name says where the queue goes on. */
static int cut_files(struct queue_table *t, const struct queue_place *place, int64_t min,
                     int64_t end, int64_t file_end)
{
    int64_t keep = end > min ? (end - 1) / t->file_units : end / t->file_units;
    char folder[PATH_MAX], path[PATH_MAX];
    int fd, r;

    r = queue_folder_path(folder, sizeof(folder), t->dir,
                          bytes_of(place->topic->name, place->topic->name_len), place->queue_id);
    if (r < 0)
        return r;
    for (int64_t number = (file_end - 1) / t->file_units; number > keep; number--) {
        r = queue_file_path(path, sizeof(path), folder, number * t->file_bytes);
        if (r == 0)
            r = file_unlink(path);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    r = queue_file_path(path, sizeof(path), folder, keep * t->file_bytes);
    fd = r < 0 ? r : file_open(path, O_RDWR, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = queue_file_zero(fd, (end - keep * t->file_units) * QUEUE_ENTRY_BYTES, t->file_bytes);
    (void)file_close(fd);
    return r;
}

/* The queue ends at `end`, which is in its files. */
static int cut_queue(struct queue_table *t, uint32_t queue, int64_t end, uint64_t last_end)
{
    struct queue_state *s = queue_state(t, queue);
    struct queue_place place = queue_place(t, queue);
    int r = cut_files(t, &place, s->min, end, s->file_end);

    if (r < 0)
        return r;
    pthread_mutex_lock(t->append_lock);
    queue_memory_cut(t, queue, s->file_end);
    s->generation++;
    s->next = s->file_end = end;
    s->last_end = s->file_last_end = last_end;
    if (s->min > end)
        s->min = end;
    pthread_mutex_unlock(t->append_lock);
    queue_files_forget(t->files, queue, 1);
    return 0;
}

static int truncate_in_files(struct queue_table *t, uint32_t queue, uint64_t log_end,
                             struct err *err)
{
    const struct queue_state *s = queue_state(t, queue);
    struct queue_place place = queue_place(t, queue);
    uint64_t last_end = 0;
    int64_t end;
    int r;

    r = queue_files_end(t, &place, s->min, s->file_end, log_end, true, &end);
    if (r == 0)
        r = end_before(t, &place, s->min, end, &last_end);
    if (r == 0)
        r = cut_queue(t, queue, end, last_end);
    return r < 0 ? err_set(err, r, "cut queue %s/%d to log offset %llu", place.topic->name,
                           place.queue_id, (unsigned long long)log_end)
                 : 0;
}

int queue_table_truncate(struct queue_table *t, uint64_t log_end, struct err *err)
{
    bool cut = false;
    int r = 0;

    pthread_mutex_lock(&t->io_lock);
    for (uint32_t queue = 0; queue < t->count && r == 0; queue++) {
        const struct queue_state *s = queue_state(t, queue);

        if (s->last_end <= log_end)
            continue;
        if (s->file_last_end > log_end) {
            r = truncate_in_files(t, queue, log_end, err);
            cut = true;
        } else {
            pthread_mutex_lock(t->append_lock);
            queue_memory_cut(t, queue, queue_memory_end(t, s, log_end));
            pthread_mutex_unlock(t->append_lock);
        }
    }
    pthread_mutex_unlock(&t->io_lock);
    return r == 0 && cut ? queue_files_sync(t, err) : r;
}

/* --- records met by the scan of the log --- */

static bool same_entry(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->log_offset == b->log_offset && a->size == b->size && a->tags_code == b->tags_code;
}

/* The queue's file has an entry for this offset, or should have. 0: it is believed.
 * QUEUE_OTHER_RECORD: it leads to an earlier record, which the caller looks at. KNOWN_CUT: the
 * queue was cut before it. That is safe, since the scan still has to meet the records of all later
 * entries, and needed when there is nothing (a page was lost) or the entry of a later record
 * (entries are in the order of their records, so it is stale, and so may be those behind it). Of
 * two records with one queue offset the first stays, as in RocketMQ. */
enum { KNOWN_CUT = QUEUE_OTHER_RECORD + 1 };
static int check_known(struct queue_table *t, uint32_t queue, int64_t offset,
                       const struct queue_entry *entry)
{
    const struct queue_state *s = queue_state(t, queue);
    struct queue_place place = queue_place(t, queue);
    /* In front of the first entry that load could find, that one tells who is right. */
    int64_t at = offset < s->min && s->min < s->file_end ? s->min : offset;
    uint8_t unit[QUEUE_ENTRY_BYTES];
    struct queue_entry there = {0};
    uint64_t last_end = 0;
    int r = queue_units_read(t, &place, at, unit, 1, true);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r > 0 && queue_unit_decode(unit, &there) == UNIT_ENTRY && same_entry(&there, entry))
        return 0;
    if (r > 0 && queue_entry_end(&there) > 0 && there.log_offset < entry->log_offset &&
        at >= s->min)
        return at == offset ? QUEUE_OTHER_RECORD : 0;
    log_warn_limited(t->dir,
                     "queue %s/%d: entry %lld is not that of its record, made again from there",
                     place.topic->name, place.queue_id, (long long)offset);
    r = end_before(t, &place, s->min, offset, &last_end);
    if (r < 0 && r != -ENOENT)
        return r;
    if (last_end > (uint64_t)entry->log_offset)
        last_end = 0;
    r = cut_queue(t, queue, offset, last_end);
    return r < 0 ? r : KNOWN_CUT;
}

static int place_remove(struct queue_table *t, const struct queue_place *place)
{
    char path[PATH_MAX];
    int r =
        queue_folder_path(path, sizeof(path), t->dir,
                          bytes_of(place->topic->name, place->topic->name_len), place->queue_id);

    return r < 0 ? r : queue_folder_remove(path);
}

/* The queue goes on at `offset`, above its end. */
static int recover_gap(struct queue_table *t, uint32_t queue, int64_t offset)
{
    struct queue_state *s = queue_state(t, queue);
    struct queue_place place = queue_place(t, queue);
    int64_t next = s->next;
    /* Beyond a file's worth of missing entries it is another queue: what was there is not worth a
     * row of files full of fillers. */
    bool keep = s->min < next && offset - next <= t->file_units;
    int r;

    if (s->min < next && !(s->flags & STATE_GAP_LOGGED)) {
        log_warn_limited("gaps in queues",
                         "queue %s/%d: next record has offset %lld, expected %lld; %s",
                         place.topic->name, place.queue_id, (long long)offset, (long long)next,
                         keep ? "those between are lost" : "the queue begins there");
        s->flags |= STATE_GAP_LOGGED;
    }
    if (keep) {
        r = queue_write_all(t, queue);
        if (r == 0)
            r = queue_units_fill(t, &place, next, offset);
    } else {
        r = place_remove(t, &place);
    }
    if (r < 0)
        return r;
    pthread_mutex_lock(t->append_lock);
    if (keep)
        s->next = s->file_end = offset;
    else
        queue_restart(t, queue, offset);
    pthread_mutex_unlock(t->append_lock);
    if (!keep)
        queue_files_forget(t->files, queue, 1);
    return 0;
}

int queue_table_leap(struct queue_table *t, uint32_t queue, int64_t queue_offset)
{
    if (queue_offset < 0 || queue_offset >= QUEUE_OFFSET_RECORD_MAX)
        return -EINVAL;
    return recover_gap(t, queue, queue_offset);
}

int queue_table_recover(struct queue_table *t, uint32_t queue, int64_t queue_offset,
                        const struct queue_entry *entry)
{
    const struct queue_state *s = queue_state(t, queue);
    int r = 0;

    if (queue_offset < 0 || queue_offset >= QUEUE_OFFSET_RECORD_MAX || entry->log_offset < 0 ||
        entry->size <= 0 || entry->size == QUEUE_FILLER_SIZE)
        return -EINVAL;
    if (queue_offset < s->next) {
        if (queue_offset >= s->file_end)
            return 0; /* this scan has put it there */
        r = check_known(t, queue, queue_offset, entry);
        if (r != KNOWN_CUT)
            return r;
        r = 0;
    }
    if ((uint64_t)entry->log_offset < s->last_end)
        return 0; /* out of order: not believed, as in RocketMQ */
    if (queue_offset > s->next)
        r = recover_gap(t, queue, queue_offset);
    for (int tries = 0; r == 0; tries++) {
        pthread_mutex_lock(t->append_lock);
        r = queue_table_append(t, queue, entry);
        pthread_mutex_unlock(t->append_lock);
        if (r != -ENOSPC || tries > 0)
            break;
        r = queue_write_everything(t); /* the budget is used up: make room */
    }
    return r;
}
