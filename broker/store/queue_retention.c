/* queue_retention.c - queues follow the log's min: where a queue begins, and leading files that
 * hold nothing any more.
 *
 * Looking for the first entry takes no lock over its reads; its result counts only while the queue
 * is the same (generation) and moves min forward only. Removing files is exclusive with dropping
 * the topic, whose next queue of that name would have files by the same names (trim_lock). The last
 * file stays even when all its entries are gone: it says where the queue goes on.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>
#include <limits.h>

#include "common/file.h"

enum {
    FRONT_LOOK = 8,  /* entries before the first one that are looked at, too */
    FRONT_TRIES = 8, /* wrong entries that the search gets over */
};

uint32_t queue_table_count(struct queue_table *t)
{
    uint32_t count;

    pthread_mutex_lock(t->append_lock);
    count = t->count;
    pthread_mutex_unlock(t->append_lock);
    return count;
}

/* What is to be known of a queue before its files are asked. */
struct look {
    struct queue_place place;
    int64_t min, file_end;
    int64_t first; /* the answer, when it is known */
    bool in_files; /* it is not: [min, file_end) has to be searched */
};

/* Append lock held. */
static struct look look_at(const struct queue_table *t, uint32_t queue, uint64_t log_min)
{
    const struct queue_state *s = queue_state(t, queue);
    struct look l = {
        .place = queue_place(t, queue), .min = s->min, .file_end = s->file_end, .first = s->min};

    if (s->min == s->next)
        return l;
    if (s->last_end <= log_min)
        l.first = s->next;
    else if (s->file_end <= s->min || s->file_last_end <= log_min)
        l.first = queue_memory_end(t, s, log_min);
    else
        l.in_files = true;
    return l;
}

/* How many of the entries [from, to) of one file belong to messages that the log still has, or are
 * no entries. */
static int count_alive(struct queue_table *t, const struct queue_place *place, int64_t from,
                       int64_t to, uint64_t log_min)
{
    uint8_t units[FRONT_LOOK * QUEUE_ENTRY_BYTES];
    struct queue_entry e;
    int alive = 0, n = queue_units_read(t, place, from, units, (int)(to - from), true);

    for (int i = 0; i < n; i++) {
        enum queue_unit kind = queue_unit_decode(units + (size_t)i * QUEUE_ENTRY_BYTES, &e);
        alive += kind == UNIT_EMPTY || (kind == UNIT_ENTRY && queue_entry_end(&e) > log_min);
    }
    return n < 0 ? n : alive;
}

/* Records do not span segments, so that one which ends above log_min begins there or above. */
static int search_files(struct queue_table *t, struct look *l, uint64_t log_min)
{
    int64_t high = l->file_end, from;
    int r;

    /* As a rule nothing has to move. */
    r = count_alive(t, &l->place, l->min, l->min + 1, log_min);
    if (r != 0)
        return r < 0 ? r : 0;
    for (int tries = 0; tries < FRONT_TRIES; tries++) {
        r = queue_files_end(t, &l->place, l->min, high, log_min, true, &l->first);
        if (r < 0 || l->first <= l->min + 1)
            return r;
        /* What stands before is gone, too; an entry that is not says that the last one lies. */
        from = (l->first - 2) / t->file_units * t->file_units;
        if (from < l->first - 1 - FRONT_LOOK)
            from = l->first - 1 - FRONT_LOOK;
        if (from < l->min)
            from = l->min;
        r = count_alive(t, &l->place, from, l->first - 1, log_min);
        if (r <= 0)
            return r;
        high = l->first - 1;
    }
    l->first = l->min; /* not to be told: later, when its entries were repaired */
    return 0;
}

int queue_table_settle(struct queue_table *t, uint32_t queue, uint64_t log_min)
{
    struct queue_state *s = queue_state(t, queue);
    struct look l;
    int r = 0;

    pthread_mutex_lock(t->append_lock);
    l = look_at(t, queue, log_min);
    pthread_mutex_unlock(t->append_lock);
    if (l.in_files)
        r = search_files(t, &l, log_min);
    if (r < 0 || l.first <= l.min)
        return r;
    pthread_mutex_lock(t->append_lock);
    if (s->generation == l.place.generation && l.first > s->min)
        s->min = l.first;
    pthread_mutex_unlock(t->append_lock);
    return 0;
}

int queue_table_unread(struct queue_table *t, uint32_t queue, int64_t offset, uint64_t log_min)
{
    uint8_t unit[QUEUE_ENTRY_BYTES];
    struct queue_entry e;
    struct look l;
    int64_t next;
    int r;

    pthread_mutex_lock(t->append_lock);
    l = look_at(t, queue, log_min);
    next = queue_state(t, queue)->next;
    pthread_mutex_unlock(t->append_lock);
    if (offset < l.min)
        offset = l.min;
    if (offset >= next)
        return 0;
    if (!l.in_files || offset >= l.file_end)
        return offset < l.first;
    r = queue_units_read(t, &l.place, offset, unit, 1, true);
    if (r < 0)
        return r;
    return queue_unit_decode(unit, &e) == UNIT_ENTRY && queue_entry_end(&e) <= log_min;
}

/* The files [*first, end) that are there: they stand in a row up to `end`. */
static int first_file(const struct queue_table *t, const char *folder, int64_t end, int64_t *first)
{
    char path[PATH_MAX];
    struct stat st;
    int r = 0;

    for (*first = end; *first > 0; --*first) {
        r = queue_file_path(path, sizeof(path), folder, (*first - 1) * t->file_bytes);
        if (r == 0)
            r = file_stat(path, &st);
        if (r < 0)
            break;
    }
    return r == -ENOENT ? 0 : r;
}

/* Removes files below number `end`, the first one first. How many, or -errno. */
static int remove_files(struct queue_table *t, const struct queue_place *place, int64_t end)
{
    char folder[PATH_MAX], path[PATH_MAX];
    int64_t first;
    int count = 0, r;

    r = queue_folder_path(folder, sizeof(folder), t->dir,
                          bytes_of(place->topic->name, place->topic->name_len), place->queue_id);
    if (r == 0)
        r = first_file(t, folder, end, &first);
    while (r == 0 && first < end) {
        r = queue_file_path(path, sizeof(path), folder, first * t->file_bytes);
        if (r == 0)
            r = file_unlink(path);
        if (r == 0)
            count++;
        first++;
    }
    if (count > 0) /* their space is held as long as they are open */
        queue_files_forget(t->files, place->queue, 1);
    return r < 0 ? r : count;
}

int queue_table_trim(struct queue_table *t, uint32_t queue)
{
    const struct queue_state *s = queue_state(t, queue);
    struct queue_place place;
    int64_t end, last;
    int r = 0;

    pthread_mutex_lock(&t->trim_lock);
    pthread_mutex_lock(t->append_lock);
    place = queue_place(t, queue);
    end = s->min / t->file_units;
    last = s->file_end > 0 ? (s->file_end - 1) / t->file_units : 0;
    pthread_mutex_unlock(t->append_lock);
    if (end > last)
        end = last;
    if (end > 0)
        r = remove_files(t, &place, end);
    pthread_mutex_unlock(&t->trim_lock);
    return r;
}
