/* queue_load.c - where queues begin and end, learnt from their files.
 *
 * A file is believed from its front up to the first unit that is no entry, or one whose record does
 * not lie inside the log, or belongs to an earlier topic of the same name. Everything behind is
 * made zero, because RocketMQ, and the next start, would take stale entries for good ones.
 *
 * A file that is missing between others, or too short while others show that the configured size is
 * right, has lost entries: it becomes whole again with nothing in the place of these, and they are
 * made from the log when somebody needs them. Any other size, or name, refuses the start, as
 * RocketMQ does: most likely mappedFileSizeConsumeQueue is not what it was.
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

enum {
    HOLE_FILES_MAX = 16, /* missing files that are made again; beyond them it is another queue */
    FRONT_LOOK = 8,      /* entries before the first one that are looked at, too */
};

struct load {
    struct queue_table *t;
    struct metadata *m;
    uint64_t log_min, log_end;
    struct topic *(*make_topic)(void *ctx, struct bytes name, int32_t queue_id);
    void *ctx;
    int32_t last_id; /* largest queue id of the topic at hand */
    bool cut;
    int right_size; /* files of the configured size: 1 there are, 0 there are none, -1 not looked
                       for */
};

/* --- one queue's folder --- */

/* What load knows about the queue it looks at. Files first .. last (by number from 0) are there;
 * first > last: none. */
struct folder {
    struct load *load;
    const char *path;
    int64_t units, bytes; /* of a file */
    int64_t first, last;
    int fd; /* of file `open`, -1: none */
    int64_t open;
    uint64_t floor, log_min, log_end;
    bool cut; /* something was zeroed, removed or made */
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

/* Whether any file in the folder of a queue has the configured size. */
static bool any_right_in(const char *path, int64_t bytes)
{
    struct file_list files;
    char file[PATH_MAX];
    struct stat st;
    int64_t byte;
    bool found = false;

    if (file_list(path, &files) < 0)
        return false;
    for (size_t i = 0; i < files.count && !found; i++)
        found = queue_file_name_parse(files.names[i], bytes, &byte) &&
                queue_file_path(file, sizeof(file), path, byte) == 0 && file_stat(file, &st) == 0 &&
                st.st_size == bytes;
    file_list_free(&files);
    return found;
}

/* The same of any of the subfolders, `depth` levels down. */
static bool any_right_below(const char *path, int depth, int64_t bytes)
{
    struct file_list folders;
    char folder[PATH_MAX];
    bool found = false;

    if (depth == 0)
        return any_right_in(path, bytes);
    if (file_list(path, &folders) < 0)
        return false;
    for (size_t i = 0; i < folders.count && !found; i++)
        found = snprintf(folder, sizeof(folder), "%s/%s", path, folders.names[i]) <
                    (int)sizeof(folder) &&
                any_right_below(folder, depth - 1, bytes);
    file_list_free(&folders);
    return found;
}

static bool size_is_right(struct load *load)
{
    if (load->right_size < 0)
        load->right_size = any_right_below(load->t->dir, 2, load->t->file_bytes);
    return load->right_size;
}

/* A file gets its size (back); what it lacks reads as no entries. */
static int folder_make_whole(struct folder *f, int64_t number, struct err *err)
{
    char path[PATH_MAX];
    int r = folder_file(f, number, path), fd;

    fd = r < 0 ? r : file_open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return folder_fail(f, fd, "make", number, err);
    r = file_truncate(fd, f->bytes);
    (void)file_close(fd);
    f->cut = true;
    return r < 0 ? folder_fail(f, r, "make", number, err) : 0;
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
    if (S_ISREG(st.st_mode) && st.st_size < f->bytes && size_is_right(f->load)) {
        int r;
        log_warn_limited(
            "queue files without their size",
            "%s/%s has %lld bytes instead of %lld: entries are lost, they are made again "
            "from the log",
            f->path, name, (long long)st.st_size, (long long)f->bytes);
        r = folder_make_whole(f, byte, err);
        if (r < 0)
            return r;
    } else if (!S_ISREG(st.st_mode) || st.st_size != f->bytes)
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

/* A row with a hole of so many files. A wide one parts two queues: what comes after it counts. */
static int folder_fill_holes(struct folder *f, int64_t missing, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    int r = 0;

    for (int64_t number = f->last; number-- > f->first && r == 0;) {
        if (folder_file(f, number, path) == 0 && file_stat(path, &st) == 0)
            continue;
        if (missing > HOLE_FILES_MAX) {
            log_warn_limited("holes in queues",
                             "%s: %lld files before %020lld are missing, the queue begins there",
                             f->path, (long long)missing, (long long)((number + 1) * f->bytes));
            f->first = number + 1;
            return 0;
        }
        log_warn_limited("holes in queues",
                         "%s is missing: its entries are made again from the log", path);
        r = folder_make_whole(f, number, err);
    }
    return r;
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

    if (count != f->last - f->first + 1)
        r = folder_fill_holes(f, f->last - f->first + 1 - count, err);
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

/* Whether the message of that unit is in the log, as far as the unit tells: what is no entry may
 * have been one. */
static bool unit_alive(const uint8_t *unit, uint64_t oldest)
{
    struct queue_entry e;
    enum queue_unit kind = queue_unit_decode(unit, &e);

    return kind == UNIT_EMPTY || (kind == UNIT_ENTRY && (uint64_t)e.log_offset >= oldest);
}

/* The first unit in [low, high) that is alive, when none before it is; *fillers: some were met. */
static int find_border(struct folder *f, int64_t low, int64_t high, uint64_t oldest,
                       int64_t *border, bool *fillers, struct err *err)
{
    bool first = true;

    while (low < high) {
        int64_t at = first ? low : low + (high - low) / 2; /* as a rule the first will do */
        const uint8_t *unit;
        struct queue_entry e;
        int r = folder_read(f, at, 1, &unit, err);

        if (r < 0)
            return r;
        if (queue_unit_decode(unit, &e) == UNIT_FILLER)
            *fillers = true;
        if (unit_alive(unit, oldest))
            high = at;
        else
            low = at + 1;
        first = false;
    }
    *border = low;
    return 0;
}

/* A search that met fillers, which have no record of their own, may have gone too far: back to the
 * first unit that is alive behind the last entry that is not. */
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
            const uint8_t *unit = units + n * QUEUE_ENTRY_BYTES;
            struct queue_entry e;
            if (unit_alive(unit, oldest))
                *min = at + n;
            else if (queue_unit_decode(unit, &e) == UNIT_ENTRY)
                return 0;
        }
    }
    return 0;
}

/* Whether the unit before `min`, which says that its message is gone, says so out of order: its
 * record would lie before that of the entry in front of it. */
static int is_out_of_order(struct folder *f, int64_t min, bool *out, struct err *err)
{
    struct queue_entry last, before;
    const uint8_t *units;
    int r;

    *out = false;
    if (min - 2 < f->first * f->units || (min - 1) % f->units == 0)
        return 0;
    r = folder_read(f, min - 2, 2, &units, err);
    if (r == 0 && queue_unit_decode(units, &before) == UNIT_ENTRY &&
        queue_unit_decode(units + QUEUE_ENTRY_BYTES, &last) == UNIT_ENTRY)
        *out = last.log_offset <= before.log_offset;
    return r;
}

/* The first entry whose message the log still has; `next` when there is none. A unit that is alive
 * right in front of the border says that a wrong one has led the search astray: it is the border
 * then.
 */
static int find_min(struct folder *f, int64_t next, int64_t *min, struct err *err)
{
    uint64_t oldest = f->log_min > f->floor ? f->log_min : f->floor;
    int64_t begin = f->first * f->units, at;
    bool fillers = false, wrong = false;
    int r = find_border(f, begin, next, oldest, min, &fillers, err);

    if (r == 0 && fillers)
        r = back_over_fillers(f, oldest, min, err);
    for (at = *min - 1; r == 0 && at >= begin && *min - at <= FRONT_LOOK; at--) {
        const uint8_t *unit;

        r = folder_read(f, at, 1, &unit, err);
        if (r == 0 && unit_alive(unit, oldest))
            *min = at;
    }
    if (r == 0)
        r = is_out_of_order(f, *min, &wrong, err);
    if (r == 0 && wrong)
        --*min;
    return r;
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

static int load_queue(struct load *load, struct bytes name, struct topic *topic, uint64_t floor,
                      int32_t queue_id, struct err *err)
{
    char path[PATH_MAX];
    struct folder f = {
        .load = load,
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

int queue_table_load(struct queue_table *t, struct metadata *m, uint64_t log_min, uint64_t log_end,
                     struct topic *(*make_topic)(void *ctx, struct bytes name, int32_t queue_id),
                     void *ctx, struct err *err)
{
    struct load load = {t, m, log_min, log_end, make_topic, ctx, 0, false, -1};
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
        r = queue_files_sync(t, err);
    return r;
}
