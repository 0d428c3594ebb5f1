/* queue_recovery.c - where queues end: learnt from their files, cut with the log, corrected by it.
 *
 * A file is believed from its front up to the first unit that is no entry, or one whose record does
 * not lie inside the log, or belongs to an earlier topic of the same name. Everything behind is
 * made zero, because RocketMQ, and the next start, would take stale entries for good ones. Entries
 * in front that were lost (a page that never reached the disk) are found by queue_table_recover(),
 * which compares instead of only counting.
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

/* --- one queue's folder --- */

/* What load knows about the queue it looks at. Files first .. last (by number from 0) are there;
 * first > last: none. */
struct folder {
    const char *path;
    int64_t units, bytes; /* of a file */
    int64_t first, last;
    int fd; /* of file `open`, -1: none */
    int64_t open;
    uint64_t floor, log_min, log_end;
    bool cut; /* something was zeroed or removed */
    /* The last units read, since most questions are about the same page. */
    int64_t seen_from;
    int seen;
    uint8_t units_seen[READ_UNITS * QUEUE_ENTRY_BYTES];
};

static void folder_close(struct folder *f)
{
    if (f->fd >= 0)
        (void)file_close(f->fd);
    f->fd = -1;
}

static int folder_file(const struct folder *f, int64_t number, char path[PATH_MAX])
{
    return queue_file_path(path, PATH_MAX, f->path, number * f->bytes);
}

static int folder_fail(const struct folder *f, int code, const char *what, int64_t number,
                       struct err *err)
{
    return err_set(err, code, "%s %s/%020lld", what, f->path, (long long)(number * f->bytes));
}

static int folder_open(struct folder *f, int64_t number, struct err *err)
{
    char path[PATH_MAX];
    int r;

    if (f->fd >= 0 && f->open == number)
        return 0;
    folder_close(f);
    r = folder_file(f, number, path);
    if (r == 0)
        r = file_open(path, O_RDWR, 0);
    if (r < 0)
        return folder_fail(f, r, "open", number, err);
    f->fd = r;
    f->open = number;
    return 0;
}

/* `count` units from `offset` on, all in one file, at most READ_UNITS; *at is good until the next
 * call. */
static int folder_read(struct folder *f, int64_t offset, int count, const uint8_t **at,
                       struct err *err)
{
    int64_t number = offset / f->units;
    int r;

    if (offset < f->seen_from || offset + count > f->seen_from + f->seen) {
        f->seen = 0;
        r = folder_open(f, number, err);
        if (r < 0)
            return r;
        r = file_read_all(f->fd, f->units_seen, (size_t)count * QUEUE_ENTRY_BYTES,
                          offset % f->units * QUEUE_ENTRY_BYTES);
        if (r < 0)
            return folder_fail(f, r, "read", number, err);
        f->seen_from = offset;
        f->seen = count;
    }
    *at = f->units_seen + (offset - f->seen_from) * QUEUE_ENTRY_BYTES;
    return 0;
}

static int folder_remove_file(struct folder *f, int64_t number, struct err *err)
{
    char path[PATH_MAX];
    int r = folder_file(f, number, path);

    if (f->open == number)
        folder_close(f);
    if (r == 0)
        r = file_unlink(path);
    f->cut = true;
    f->seen = 0;
    return r < 0 ? folder_fail(f, r, "remove", number, err) : 0;
}

/* Checks one name and size. A file without a byte is removed: nobody has synced it yet, so a power
 * cut has taken its size, or a crash came before it had one. There may be several, and files behind
 * them; what they held is read from the log. */
static int folder_take(struct folder *f, int dir_fd, const char *name, int64_t *count,
                       struct err *err)
{
    struct stat st;
    int64_t byte;

    if (fstatat(dir_fd, name, &st, 0) != 0)
        return err_set(err, -errno, "look at %s/%s", f->path, name);
    if (!queue_file_name_parse(name, f->bytes, &byte))
        return err_say(
            err, -EINVAL,
            "%s/%s does not belong there: a queue folder holds files named by 20 digits, a "
            "multiple of %lld (mappedFileSizeConsumeQueue)",
            f->path, name, (long long)f->bytes);
    byte /= f->bytes;
    if (S_ISREG(st.st_mode) && st.st_size == 0)
        return folder_remove_file(f, byte, err);
    if (!S_ISREG(st.st_mode) || st.st_size != f->bytes)
        return err_say(err, -EINVAL,
                       "%s/%s has %lld bytes, expected %lld (mappedFileSizeConsumeQueue)", f->path,
                       name, (long long)st.st_size, (long long)f->bytes);
    if (byte < f->first)
        f->first = byte;
    if (byte > f->last)
        f->last = byte;
    ++*count;
    return 0;
}

/* Reads the folder without sorting it. 0; -ENOTDIR when it is none. */
static int folder_list(struct folder *f, struct err *err)
{
    int64_t count = 0;
    DIR *dir = opendir(f->path);
    struct dirent *d;
    int r = 0;

    f->first = INT64_MAX;
    f->last = -1;
    if (!dir)
        return errno == ENOTDIR ? -ENOTDIR : err_set(err, -errno, "read the folder %s", f->path);
    while (r == 0 && (errno = 0, d = readdir(dir)) != NULL) {
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            r = folder_take(f, dirfd(dir), d->d_name, &count, err);
    }
    if (r == 0 && errno != 0)
        r = err_set(err, -errno, "read the folder %s", f->path);
    closedir(dir);
    if (r < 0 || count == 0)
        return r;

    /* A row with a hole: what comes after the hole is the queue. */
    if (count != f->last - f->first + 1) {
        int64_t number = f->last;
        char path[PATH_MAX];
        struct stat st;
        while (number > f->first && folder_file(f, number - 1, path) == 0 &&
               file_stat(path, &st) == 0)
            number--;
        log_warn_limited("holes in queues",
                         "%s: the file before %020lld is missing, the queue begins there", f->path,
                         (long long)(number * f->bytes));
        f->first = number;
    }
    return r;
}

/* --- ends of one queue --- */

static bool unit_good(const struct folder *f, const uint8_t *unit)
{
    struct queue_entry e;
    enum queue_unit kind = queue_unit_decode(unit, &e);

    return kind == UNIT_FILLER || (kind == UNIT_ENTRY && (uint64_t)e.log_offset >= f->floor &&
                                   queue_entry_end(&e) <= f->log_end);
}

static bool all_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

/* Asking where a file has data is asking about its layout, like its size: straight to the system.
 */
static int64_t first_hole(int fd, int64_t bytes)
{
    off_t at = lseek(fd, 0, SEEK_HOLE);

    return at < 0 || at > bytes ? bytes : at;
}

/* How many good units file `number` begins with. One read, as a rule: of the page before the first
 * hole; *data_end says where that hole is. */
static int count_good(struct folder *f, int64_t number, int64_t *out, int64_t *data_end,
                      struct err *err)
{
    int64_t base = number * f->units, low, high, good = 0;
    const uint8_t *units = NULL;
    int r = folder_open(f, number, err);

    if (r < 0)
        return r;
    *data_end = first_hole(f->fd, f->bytes);
    high = (*data_end + QUEUE_ENTRY_BYTES - 1) / QUEUE_ENTRY_BYTES;
    low = high > READ_UNITS ? high - READ_UNITS : 0;
    if (high > low)
        r = folder_read(f, base + low, (int)(high - low), &units, err);
    if (r == 0 && low > 0 && !unit_good(f, units)) {
        high = low;
        low = 0;
        while (r == 0 && high - low > READ_UNITS) {
            int64_t middle = low + (high - low) / 2;
            r = folder_read(f, base + middle, 1, &units, err);
            if (r == 0 && unit_good(f, units))
                low = middle;
            else
                high = middle;
        }
        if (r == 0)
            r = folder_read(f, base + low, (int)(high - low), &units, err);
    }
    if (r < 0)
        return r;
    while (good < high - low && unit_good(f, units + good * QUEUE_ENTRY_BYTES))
        good++;
    *out = low + good;
    return 0;
}

/* Is anything but zeroes in file `f->open` from `at` on? Looks at no more than 64 KiB of each of
 * the next two stretches of data: a file that has lost its holes, by being copied, is not read as a
 * whole. */
static int has_more(struct folder *f, int64_t at, bool *more, struct err *err)
{
    uint8_t some[8192];

    *more = false;
    for (int part = 0; part < 2 && !*more; part++) {
        int64_t data = lseek(f->fd, at, SEEK_DATA), end;

        if (data < 0 && errno == ENXIO)
            return 0;
        if (data < 0) /* a file system without this question: all is data */
            data = at;
        end = lseek(f->fd, data, SEEK_HOLE);
        if (end < 0 || end > f->bytes)
            end = f->bytes;
        if (end - data > 65536)
            end = data + 65536;
        for (at = data; at < end && !*more;) {
            size_t n = end - at < (int64_t)sizeof(some) ? (size_t)(end - at) : sizeof(some);
            int r = file_read_all(f->fd, some, n, at);
            if (r < 0)
                return folder_fail(f, r, "read", f->open, err);
            *more = !all_zero(some, n);
            at += (int64_t)n;
        }
    }
    return 0;
}

/* Zeroes file `number` from its unit `good` on, if it is not zero. */
static int cut_file(struct folder *f, int64_t number, int64_t good, int64_t data_end,
                    struct err *err)
{
    int64_t at = good * QUEUE_ENTRY_BYTES, offset = number * f->units + good;
    bool more = false;
    int r = folder_open(f, number, err);

    if (r < 0)
        return r;
    if (offset >= f->seen_from && offset <= f->seen_from + f->seen) {
        /* The rest of the page is at hand. */
        int64_t left = f->seen_from + f->seen - offset;
        more = !all_zero(f->units_seen + (offset - f->seen_from) * QUEUE_ENTRY_BYTES,
                         (size_t)left * QUEUE_ENTRY_BYTES);
        at += left * QUEUE_ENTRY_BYTES;
        if (at > data_end && data_end > good * QUEUE_ENTRY_BYTES)
            at = data_end;
    }
    if (!more && at < f->bytes)
        r = has_more(f, at, &more, err);
    if (r < 0 || !more)
        return r;
    f->cut = true;
    f->seen = 0;
    r = queue_file_zero(f->fd, good * QUEUE_ENTRY_BYTES, f->bytes);
    return r < 0 ? folder_fail(f, r, "zero the end of", number, err) : 0;
}

/* End of the last record among entries [first file's start, next). */
static int find_last_end(struct folder *f, int64_t next, uint64_t *last_end, struct err *err)
{
    int64_t at = next;
    int n = 1; /* as a rule the last one will do */

    *last_end = 0;
    while (at > f->first * f->units) {
        int64_t file_start = (at - 1) / f->units * f->units;
        const uint8_t *units;
        int r;

        if (n > at - file_start)
            n = (int)(at - file_start);
        at -= n;
        r = folder_read(f, at, n, &units, err);
        if (r < 0)
            return r;
        while (n-- > 0) {
            struct queue_entry e;
            if (queue_unit_decode(units + (size_t)n * QUEUE_ENTRY_BYTES, &e) == UNIT_ENTRY) {
                *last_end = queue_entry_end(&e);
                return 0;
            }
        }
        n = READ_UNITS;
    }
    return 0;
}

/* A search that met fillers, which have no record of their own, may have gone too far: back to the
 * first entry at or above `oldest` behind the last one below it. */
static int back_over_fillers(struct folder *f, uint64_t oldest, int64_t *min, struct err *err)
{
    int64_t at = *min, start = f->first * f->units;

    while (at > start) {
        int64_t file_start = (at - 1) / f->units * f->units;
        int64_t n = at - file_start < READ_UNITS ? at - file_start : READ_UNITS;
        const uint8_t *units;
        int r = folder_read(f, at - n, (int)n, &units, err);

        if (r < 0)
            return r;
        at -= n;
        while (n-- > 0) {
            struct queue_entry e;
            if (queue_unit_decode(units + n * QUEUE_ENTRY_BYTES, &e) != UNIT_ENTRY)
                continue;
            if ((uint64_t)e.log_offset < oldest)
                return 0;
            *min = at + n;
        }
    }
    return 0;
}

/* The first entry whose message the log still has; `next` when there is none. */
static int find_min(struct folder *f, int64_t next, int64_t *min, struct err *err)
{
    int64_t low = f->first * f->units, high = next;
    uint64_t oldest = f->log_min > f->floor ? f->log_min : f->floor;
    bool first = true, fillers = false;

    while (low < high) {
        int64_t at = first ? low : low + (high - low) / 2; /* as a rule the first will do */
        const uint8_t *unit;
        struct queue_entry e;
        int r = folder_read(f, at, 1, &unit, err);

        if (r < 0)
            return r;
        if (queue_unit_decode(unit, &e) != UNIT_ENTRY) {
            low = at + 1;
            fillers = true;
        } else if ((uint64_t)e.log_offset >= oldest) {
            high = at;
        } else {
            low = at + 1;
        }
        first = false;
    }
    *min = low;
    return fillers ? back_over_fillers(f, oldest, min, err) : 0;
}

/* Finds the ends, cuts what is behind them. */
static int folder_ends(struct folder *f, struct queue_ends *out, struct err *err)
{
    int64_t good = 0, data_end = 0;
    int r = 0;

    *out = (struct queue_ends){0};
    while (f->last >= f->first) {
        r = count_good(f, f->last, &good, &data_end, err);
        if (r < 0)
            return r;
        if (good > 0 || f->last == f->first)
            break;
        r = folder_remove_file(f, f->last, err);
        if (r < 0)
            return r;
        f->last--;
    }
    if (f->last < f->first)
        return 0;
    out->next = f->last * f->units + good;
    r = find_last_end(f, out->next, &out->last_end, err);
    if (r == 0 && out->last_end == 0 && f->floor > 0) {
        /* All of it was the earlier topic's, whose removal was interrupted. */
        *out = (struct queue_ends){0};
        f->cut = true;
        folder_close(f);
        r = queue_folder_remove(f->path);
        return r < 0 ? err_set(err, r, "remove %s", f->path) : 0;
    }
    if (r == 0 && good < f->units)
        r = cut_file(f, f->last, good, data_end, err);
    if (r == 0)
        r = find_min(f, out->next, &out->min, err);
    return r;
}

/* --- all folders --- */

struct load {
    struct queue_table *t;
    struct metadata *m;
    uint64_t log_min, log_end;
    struct topic *(*make_topic)(void *ctx, struct bytes name, int32_t queue_id);
    void *ctx;
    int32_t last_id; /* largest queue id of the topic at hand */
    bool cut;
};

static int load_queue(struct load *load, struct bytes name, struct topic *topic, uint64_t floor,
                      int32_t queue_id, struct err *err)
{
    char path[PATH_MAX];
    struct folder f = {
        .path = path,
        .units = load->t->file_units,
        .bytes = load->t->file_bytes,
        .fd = -1,
        .open = -1,
        .floor = floor,
        .log_min = load->log_min,
        .log_end = load->log_end,
    };
    struct queue_ends ends = {0};
    int r;

    r = queue_folder_path(path, sizeof(path), load->t->dir, name, queue_id);
    if (r < 0)
        return err_set(err, r, "queue %d of topic %.*s", queue_id, (int)name.len,
                       (const char *)name.at);
    r = folder_list(&f, err);
    if (r == -ENOTDIR) {
        log_warn_limited(load->t->dir, "%s is not a folder, ignored", path);
        return 0;
    }
    if (r == 0)
        r = folder_ends(&f, &ends, err);
    folder_close(&f);
    load->cut |= f.cut;
    if (r < 0 || ends.next == 0)
        return r;

    if (!topic)
        topic = load->make_topic(load->ctx, name, queue_id);
    if (!topic) {
        log_warn_limited(load->t->dir, "%s belongs to no topic that is known, left alone", path);
        return 0;
    }
    r = queue_state_set(load->t, topic, load->last_id, queue_id, &ends);
    if (r < 0)
        return err_set(err, r, "make queue %d of topic %s", queue_id, topic->name);
    return 0;
}

static int load_topic(struct load *load, const char *name, struct err *err)
{
    struct bytes text = bytes_str(name);
    struct topic *topic = NULL;
    char path[PATH_MAX];
    uint64_t floor = 0;
    struct dirent *d;
    int32_t id;
    DIR *dir;
    int r = 0;

    if (!topic_name_ok(text)) {
        log_warn_limited(load->t->dir, "%s/%s is not named like a topic, ignored", load->t->dir,
                         name);
        return 0;
    }
    if (load->m) {
        topic = metadata_topic(load->m, text, NULL);
        floor = topic ? topic->log_floor : metadata_topic_floor(load->m, text);
    }
    if (snprintf(path, sizeof(path), "%s/%s", load->t->dir, name) >= (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "%s/%s", load->t->dir, name);
    dir = opendir(path);
    if (!dir) {
        if (errno != ENOTDIR)
            return err_set(err, -errno, "read the folder %s", path);
        log_warn("%s is not a folder, ignored", path);
        return 0;
    }
    load->last_id = 0;
    while ((d = readdir(dir)) != NULL) {
        if (queue_id_parse(d->d_name, &id) && id > load->last_id)
            load->last_id = id;
    }
    rewinddir(dir);
    while (r == 0 && (errno = 0, d = readdir(dir)) != NULL) {
        if (queue_id_parse(d->d_name, &id))
            r = load_queue(load, text, topic, floor, id, err);
        else if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            log_warn_limited(path, "%s/%s is not named like a queue, ignored", path, d->d_name);
    }
    if (r == 0 && errno != 0)
        r = err_set(err, -errno, "read the folder %s", path);
    closedir(dir);
    return r;
}

/* What was cut must not come back after a power cut. */
static int sync_all(struct queue_table *t, struct err *err)
{
    int fd = file_open(t->dir, O_RDONLY | O_DIRECTORY, 0), r;

    if (fd < 0)
        return err_set(err, fd, "open %s", t->dir);
    r = file_syncfs(fd);
    (void)file_close(fd);
    return r < 0 ? err_set(err, r, "sync the file system of %s", t->dir) : 0;
}

int queue_table_load(struct queue_table *t, struct metadata *m, uint64_t log_min, uint64_t log_end,
                     struct topic *(*make_topic)(void *ctx, struct bytes name, int32_t queue_id),
                     void *ctx, struct err *err)
{
    struct load load = {t, m, log_min, log_end, make_topic, ctx, 0, false};
    struct file_list topics;
    int r = file_list(t->dir, &topics);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(err, r, "read the folder %s", t->dir);
    for (size_t i = 0; i < topics.count && r == 0; i++)
        r = load_topic(&load, topics.names[i], err);
    file_list_free(&topics);
    if (r == 0 && load.cut)
        r = sync_all(t, err);
    return r;
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
    return r == 0 && cut ? sync_all(t, err) : r;
}

/* --- records met by the scan of the log --- */

static bool same_entry(const struct queue_entry *a, const struct queue_entry *b)
{
    return a->log_offset == b->log_offset && a->size == b->size && a->tags_code == b->tags_code;
}

/* The queue's file has an entry for this offset, or should have. 0: it is believed. 1: the queue
 * was cut before it. That is safe, since the scan still has to meet the records of all later
 * entries, and needed when there is nothing (a page was lost) or the entry of a later record
 * (entries are in the order of their records, so it is stale, and so may be those behind it). Of
 * two records with one queue offset the first stays, as in RocketMQ. */
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
    if (r > 0 && queue_unit_decode(unit, &there) == UNIT_ENTRY &&
        (there.log_offset < entry->log_offset || same_entry(&there, entry)))
        return 0;
    log_warn_limited(t->dir,
                     "queue %s/%d: entry %lld is not that of its record, made again from there",
                     place.topic->name, place.queue_id, (long long)offset);
    r = end_before(t, &place, s->min, offset, &last_end);
    if (r < 0 && r != -ENOENT)
        return r;
    if (last_end > (uint64_t)entry->log_offset)
        last_end = 0;
    r = cut_queue(t, queue, offset, last_end);
    return r < 0 ? r : 1;
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
        if (r <= 0)
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
