/* queue_files.c - queue files: their names and layout, a bounded cache of their descriptors, and
 * the write-back of entries.
 *
 * A file holds file_units entries and is named by the logical byte (offset * 20) where it begins.
 * It is made sparse at full size, because RocketMQ refuses any other size. When the first entry
 * ever put into a new file is not its first unit, the units before are filled as RocketMQ fills
 * them.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"

/* --- names --- */

int queue_folder_path(char *to, size_t to_size, const char *dir, struct bytes topic,
                      int32_t queue_id)
{
    int n;

    /* Everything that becomes a path has passed the name rule. */
    assert(topic_name_ok(topic) && queue_id >= 0);
    n = snprintf(to, to_size, "%s/%.*s/%d", dir, (int)topic.len, (const char *)topic.at, queue_id);
    return n < 0 || (size_t)n >= to_size ? -ENAMETOOLONG : 0;
}

int queue_file_path(char *to, size_t to_size, const char *folder, int64_t first_byte)
{
    int n = snprintf(to, to_size, "%s/%020lld", folder, (long long)first_byte);

    return n < 0 || (size_t)n >= to_size ? -ENAMETOOLONG : 0;
}

bool queue_file_name_parse(const char *name, int64_t file_bytes, int64_t *first_byte)
{
    int64_t value;

    if (strlen(name) != 20 || name[0] < '0' || name[0] > '9' ||
        !bytes_to_i64(bytes_of(name, 20), &value) || value % file_bytes != 0 ||
        value / QUEUE_ENTRY_BYTES >= QUEUE_OFFSET_FILE_MAX)
        return false;
    *first_byte = value;
    return true;
}

bool queue_id_parse(const char *name, int32_t *out)
{
    size_t len = strlen(name);

    return len <= 5 && name[0] >= '0' && name[0] <= '9' && (name[0] != '0' || len == 1) &&
           bytes_to_i32(bytes_of(name, len), out) && *out < TOPIC_QUEUES_MAX;
}

static int place_path(const struct queue_table *t, const struct queue_place *place, int64_t number,
                      char path[PATH_MAX])
{
    char folder[PATH_MAX];
    int r =
        queue_folder_path(folder, sizeof(folder), t->dir,
                          bytes_of(place->topic->name, place->topic->name_len), place->queue_id);

    return r < 0 ? r : queue_file_path(path, PATH_MAX, folder, number * t->file_bytes);
}

/* --- the cache --- */

#define SLOT_NONE UINT32_MAX

/* The generation in the key makes sure that a descriptor of a removed file, put in late by a
 * reader, is never found by anybody who means the file that was made since. */
struct open_file {
    uint32_t queue, generation;
    int64_t number;
    int fd; /* -1: the slot is free, or its file is being opened */
    unsigned users;
    bool hashed;           /* to be found; else its last user closes it */
    uint32_t chain;        /* next in its bucket, or in the list of free slots */
    uint32_t newer, older; /* by last use, of those that are hashed */
};

struct queue_files {
    pthread_mutex_t lock;
    pthread_cond_t released; /* a slot became free or unused */
    uint32_t slots, buckets, opened;
    uint32_t free_head, newest, oldest;
    struct open_file *files;
    uint32_t *bucket;
};

int queue_files_new(struct queue_files **out, unsigned descriptors)
{
    struct queue_files *f = calloc(1, sizeof(*f));
    int r = -ENOMEM;

    if (!f)
        return -ENOMEM;
    if (descriptors > 1u << 20)
        descriptors = 1u << 20;
    f->slots = descriptors;
    for (f->buckets = 1; f->buckets < 2 * f->slots;)
        f->buckets *= 2;
    f->files = calloc(f->slots, sizeof(*f->files));
    f->bucket = malloc(f->buckets * sizeof(*f->bucket));
    if (!f->files || !f->bucket)
        goto fail;
    r = -pthread_mutex_init(&f->lock, NULL);
    if (r < 0)
        goto fail;
    r = -pthread_cond_init(&f->released, NULL);
    if (r < 0) {
        pthread_mutex_destroy(&f->lock);
        goto fail;
    }
    for (uint32_t i = 0; i < f->slots; i++) {
        f->files[i].fd = -1;
        f->files[i].chain = i + 1 < f->slots ? i + 1 : SLOT_NONE;
    }
    for (uint32_t i = 0; i < f->buckets; i++)
        f->bucket[i] = SLOT_NONE;
    f->newest = f->oldest = SLOT_NONE;
    *out = f;
    return 0;

fail:
    free(f->files);
    free(f->bucket);
    free(f);
    return r;
}

struct queue_files *queue_files_free(struct queue_files *f)
{
    if (!f)
        return NULL;
    for (uint32_t i = 0; i < f->slots; i++) {
        if (f->files[i].fd >= 0)
            (void)file_close(f->files[i].fd);
    }
    pthread_cond_destroy(&f->released);
    pthread_mutex_destroy(&f->lock);
    free(f->files);
    free(f->bucket);
    free(f);
    return NULL;
}

uint64_t queue_files_count(struct queue_files *f)
{
    uint64_t opened;

    pthread_mutex_lock(&f->lock);
    opened = f->opened;
    pthread_mutex_unlock(&f->lock);
    return opened;
}

static uint32_t *bucket_of(struct queue_files *f, uint32_t queue, int64_t number)
{
    uint64_t h = ((uint64_t)queue << 32 ^ (uint64_t)number) * UINT64_C(0x9E3779B97F4A7C15);

    return &f->bucket[(h >> 32) & (f->buckets - 1)];
}

static void age_unlink(struct queue_files *f, struct open_file *o)
{
    if (o->newer != SLOT_NONE)
        f->files[o->newer].older = o->older;
    else
        f->newest = o->older;
    if (o->older != SLOT_NONE)
        f->files[o->older].newer = o->newer;
    else
        f->oldest = o->newer;
}

static void age_newest(struct queue_files *f, struct open_file *o)
{
    uint32_t slot = (uint32_t)(o - f->files);

    o->newer = SLOT_NONE;
    o->older = f->newest;
    if (f->newest != SLOT_NONE)
        f->files[f->newest].newer = slot;
    else
        f->oldest = slot;
    f->newest = slot;
}

static void unhash(struct queue_files *f, struct open_file *o)
{
    uint32_t *link = bucket_of(f, o->queue, o->number);

    while (&f->files[*link] != o)
        link = &f->files[*link].chain;
    *link = o->chain;
    o->hashed = false;
    age_unlink(f, o);
}

static void hash(struct queue_files *f, struct open_file *o)
{
    uint32_t *bucket = bucket_of(f, o->queue, o->number);

    o->chain = *bucket;
    *bucket = (uint32_t)(o - f->files);
    o->hashed = true;
    age_newest(f, o);
}

static void slot_free(struct queue_files *f, struct open_file *o)
{
    o->users = 0;
    o->fd = -1;
    o->chain = f->free_head;
    f->free_head = (uint32_t)(o - f->files);
    pthread_cond_signal(&f->released);
}

/* Closes the file of a slot that nobody finds or uses any more. The lock is held, and let go for
 * the time of the system call. */
static void slot_close(struct queue_files *f, struct open_file *o)
{
    int fd = o->fd;

    o->users = 1; /* still a place taken */
    pthread_mutex_unlock(&f->lock);
    (void)file_close(fd);
    pthread_mutex_lock(&f->lock);
    f->opened--;
    slot_free(f, o);
}

static struct open_file *lookup(struct queue_files *f, const struct queue_place *place,
                                int64_t number)
{
    for (uint32_t i = *bucket_of(f, place->queue, number); i != SLOT_NONE; i = f->files[i].chain) {
        struct open_file *o = &f->files[i];
        if (o->queue == place->queue && o->generation == place->generation && o->number == number)
            return o;
    }
    return NULL;
}

/* The file in the cache with one more user, or an empty slot to open it into (fd -1, one user). The
 * bound on open files is strict: when all slots are in use this waits for one, which takes no
 * longer than a read. NULL when that would be needed and `may_block` is false. */
static struct open_file *slot_get(struct queue_files *f, const struct queue_place *place,
                                  int64_t number, bool may_block)
{
    struct open_file *o;

    pthread_mutex_lock(&f->lock);
    for (;;) {
        o = lookup(f, place, number);
        if (o) {
            o->users++;
            age_unlink(f, o);
            age_newest(f, o);
            break;
        }
        if (!may_block)
            break;
        if (f->free_head != SLOT_NONE) {
            o = &f->files[f->free_head];
            f->free_head = o->chain;
            o->queue = place->queue;
            o->generation = place->generation;
            o->number = number;
            o->users = 1;
            break;
        }
        uint32_t oldest = f->oldest;
        while (oldest != SLOT_NONE && f->files[oldest].users > 0)
            oldest = f->files[oldest].newer;
        if (oldest == SLOT_NONE) {
            pthread_cond_wait(&f->released, &f->lock);
            continue;
        }
        unhash(f, &f->files[oldest]);
        slot_close(f, &f->files[oldest]);
    }
    pthread_mutex_unlock(&f->lock);
    return o;
}

static void slot_put(struct queue_files *f, struct open_file *o)
{
    pthread_mutex_lock(&f->lock);
    assert(o->users > 0);
    if (--o->users == 0) {
        if (!o->hashed)
            slot_close(f, o);
        else
            pthread_cond_signal(&f->released);
    }
    pthread_mutex_unlock(&f->lock);
}

void queue_files_forget(struct queue_files *f, uint32_t first, uint32_t count)
{
    pthread_mutex_lock(&f->lock);
    for (uint32_t i = 0; i < f->slots; i++) {
        struct open_file *o = &f->files[i];
        if (!o->hashed || o->queue < first || o->queue - first >= count)
            continue;
        unhash(f, o);
        if (o->users == 0)
            slot_close(f, o);
    }
    pthread_mutex_unlock(&f->lock);
}

/* --- making files --- */

static int fill_units(int fd, int64_t from, int64_t to)
{
    uint8_t units[READ_UNITS * QUEUE_ENTRY_BYTES];
    int r = 0;

    for (int i = 0; i < READ_UNITS; i++)
        queue_unit_fill(units + (size_t)i * QUEUE_ENTRY_BYTES);
    while (from < to && r == 0) {
        int64_t n = to - from < READ_UNITS ? to - from : READ_UNITS;
        r = file_write_all(fd, units, (size_t)n * QUEUE_ENTRY_BYTES, from * QUEUE_ENTRY_BYTES);
        from += n;
    }
    return r;
}

static int open_or_make(const char *path, const char *dir, const struct queue_place *place)
{
    char folder[PATH_MAX];
    int fd, r;

    fd = file_open(path, O_RDWR | O_CREAT, 0644);
    if (fd != -ENOENT)
        return fd;
    /* No syncs: nobody trusts these files before the whole file system was synced. */
    if (snprintf(folder, sizeof(folder), "%s/%s", dir, place->topic->name) >= (int)sizeof(folder))
        return -ENAMETOOLONG;
    r = file_mkdir(folder);
    if (r < 0)
        return r;
    r = queue_folder_path(folder, sizeof(folder), dir,
                          bytes_of(place->topic->name, place->topic->name_len), place->queue_id);
    if (r == 0)
        r = file_mkdir(folder);
    return r < 0 ? r : file_open(path, O_RDWR | O_CREAT, 0644);
}

/* Gives a new file its size, and fillers up to its unit `first` as far as they stand before the
 * queue's first entry. Other entries before it are lost, and must not look as if they had never
 * been. */
static int begin_file(struct queue_table *t, const struct queue_place *place, int fd,
                      int64_t number, int64_t first)
{
    int64_t fillers = place->min - number * t->file_units;
    int r = file_truncate(fd, t->file_bytes);

    if (fillers > first)
        fillers = first;
    return r < 0 ? r : fill_units(fd, 0, fillers);
}

/* Opens a file for writing; one that is new, or that a crash left empty, is made for an entry at
 * its unit `first`. One that lost its size since the start, entries or not, gets it back: RocketMQ
 * refuses any other. */
static int open_for_write(struct queue_table *t, const struct queue_place *place, const char *path,
                          int64_t number, int64_t first)
{
    int64_t size;
    int fd = open_or_make(path, t->dir, place), r;

    if (fd < 0)
        return fd;
    r = file_size(fd, &size);
    if (r == 0 && size == 0) {
        r = begin_file(t, place, fd, number, first);
        if (r < 0)
            (void)file_unlink(path);
    } else if (r == 0 && size != t->file_bytes) {
        log_warn_limited(path, "%s has %lld bytes, expected %lld: it gets its size back", path,
                         (long long)size, (long long)t->file_bytes);
        r = file_truncate(fd, t->file_bytes);
    }
    if (r < 0) {
        (void)file_close(fd);
        return r;
    }
    return fd;
}

/* The open file that holds the unit at `offset`; give it back with slot_put(). */
static int file_get(struct queue_table *t, const struct queue_place *place, int64_t offset,
                    bool write, bool may_block, struct open_file **out)
{
    int64_t number = offset / t->file_units;
    struct open_file *o = slot_get(t->files, place, number, may_block);
    char path[PATH_MAX];
    int fd;

    if (!o)
        return QUEUE_WOULD_BLOCK;
    if (o->fd < 0) {
        fd = place_path(t, place, number, path);
        if (fd == 0)
            fd = write ? open_for_write(t, place, path, number, offset % t->file_units)
                       : file_open(path, O_RDWR, 0);
        pthread_mutex_lock(&t->files->lock);
        if (fd < 0) {
            slot_free(t->files, o);
            pthread_mutex_unlock(&t->files->lock);
            return fd;
        }
        o->fd = fd;
        t->files->opened++;
        hash(t->files, o);
        pthread_mutex_unlock(&t->files->lock);
    }
    *out = o;
    return 0;
}

/* --- units in files --- */

/* The file lost its size: the units that it still has. */
static int short_read(int fd, uint8_t *to, size_t n, off_t at)
{
    ssize_t got = file_pread(fd, to, n, at);

    if (got < 0)
        return (int)got;
    return got < QUEUE_ENTRY_BYTES ? -EIO : (int)(got / QUEUE_ENTRY_BYTES);
}

int queue_units_read(struct queue_table *t, const struct queue_place *place, int64_t offset,
                     uint8_t *to, int count, bool may_block)
{
    int64_t in_file = offset % t->file_units;
    struct open_file *o;
    struct iovec iov;
    ssize_t got;
    int r;

    if (count > t->file_units - in_file)
        count = (int)(t->file_units - in_file);
    r = file_get(t, place, offset, false, may_block, &o);
    if (r < 0)
        return r;
    iov = (struct iovec){to, (size_t)count * QUEUE_ENTRY_BYTES};
    if (may_block) {
        r = file_read_all(o->fd, to, iov.iov_len, in_file * QUEUE_ENTRY_BYTES);
        if (r == 0)
            r = count;
        else if (r == -ENODATA)
            r = short_read(o->fd, to, iov.iov_len, in_file * QUEUE_ENTRY_BYTES);
    } else {
        got = file_preadv2(o->fd, &iov, 1, in_file * QUEUE_ENTRY_BYTES, RWF_NOWAIT);
        if (got == -EAGAIN || got == -EOPNOTSUPP)
            r = QUEUE_WOULD_BLOCK;
        else if (got < 0)
            r = (int)got;
        else
            r = got < QUEUE_ENTRY_BYTES ? QUEUE_WOULD_BLOCK : (int)(got / QUEUE_ENTRY_BYTES);
    }
    slot_put(t->files, o);
    return r;
}

int queue_units_write(struct queue_table *t, const struct queue_place *place, int64_t offset,
                      struct iovec *pieces, int count)
{
    struct open_file *o;
    int r = file_get(t, place, offset, true, true, &o);

    if (r < 0)
        return r;
    r = file_writev_all(o->fd, pieces, count, offset % t->file_units * QUEUE_ENTRY_BYTES, NULL);
    slot_put(t->files, o);
    return r;
}

int queue_units_fill(struct queue_table *t, const struct queue_place *place, int64_t from,
                     int64_t to)
{
    int r = 0;

    while (from < to && r == 0) {
        int64_t in_file = from % t->file_units;
        int64_t n = to - from < t->file_units - in_file ? to - from : t->file_units - in_file;
        struct open_file *o;

        r = file_get(t, place, from, true, true, &o);
        if (r == 0) {
            r = fill_units(o->fd, in_file, in_file + n);
            slot_put(t->files, o);
        }
        from += n;
    }
    return r;
}

int queue_unit_mend(struct queue_table *t, const struct queue_place *place, int64_t offset,
                    const uint8_t unit[QUEUE_ENTRY_BYTES])
{
    struct open_file *o;
    struct stat st;
    bool whole = false;
    int r = 0;

    for (int tries = 0; r == 0 && !whole && tries < 2; tries++) {
        r = file_get(t, place, offset, true, true, &o);
        if (r < 0)
            return r;
        /* An open file may have been removed, or shortened, by somebody else. */
        if (fstat(o->fd, &st) != 0)
            r = -errno;
        whole = r == 0 && st.st_nlink > 0 && st.st_size == t->file_bytes;
        if (whole)
            r = file_write_all(o->fd, unit, QUEUE_ENTRY_BYTES,
                               offset % t->file_units * QUEUE_ENTRY_BYTES);
        slot_put(t->files, o);
        if (!whole)
            queue_files_forget(t->files, place->queue, 1);
    }
    return r < 0 || whole ? r : -EIO;
}

/* Offsets [*low, *high) that may hold the border: at most READ_UNITS of them are left. */
static int end_narrow(struct queue_table *t, const struct queue_place *place, int64_t *low,
                      int64_t *high, uint64_t limit, bool may_block)
{
    int64_t step = READ_UNITS;
    bool passed = false;

    /* The watermark is near the end as a rule: growing steps back from there until one has passed
     * it, then halves. */
    while (*high - *low > READ_UNITS) {
        uint8_t unit[QUEUE_ENTRY_BYTES];
        struct queue_entry e;
        int64_t at = *low + (*high - *low) / 2;
        int r;

        if (!passed && at < *high - step)
            at = *high - step;
        r = queue_units_read(t, place, at, unit, 1, may_block);
        if (r < 0)
            return r;
        queue_unit_decode(unit, &e);
        if (queue_entry_end(&e) <= limit) {
            *low = at;
            passed = true;
        } else {
            *high = at;
            step *= 2;
        }
    }
    return 0;
}

int queue_files_end(struct queue_table *t, const struct queue_place *place, int64_t low,
                    int64_t high, uint64_t limit, bool may_block, int64_t *end)
{
    uint8_t units[READ_UNITS * QUEUE_ENTRY_BYTES];
    int64_t from = low, at;
    int r = end_narrow(t, place, &from, &high, limit, may_block);

    if (r < 0)
        return r;
    /* Fillers have no record of their own and may have led the search too far. Back to an entry
     * that is at or below the limit; fillers behind it count as it does. */
    *end = at = high;
    while (at > low) {
        int64_t start = at - low > READ_UNITS ? at - READ_UNITS : low;
        int64_t file_start = (at - 1) / t->file_units * t->file_units;
        int n;

        if (start < file_start)
            start = file_start;
        n = (int)(at - start);
        for (int got = 0; got < n; got += r) {
            r = queue_units_read(t, place, start + got, units + (size_t)got * QUEUE_ENTRY_BYTES,
                                 n - got, may_block);
            if (r < 0)
                return r;
        }
        while (n-- > 0) {
            struct queue_entry e;
            at--;
            if (queue_unit_decode(units + (size_t)n * QUEUE_ENTRY_BYTES, &e) != UNIT_ENTRY)
                continue;
            if (queue_entry_end(&e) <= limit)
                return 0;
            *end = at;
        }
    }
    return 0;
}

/* --- removing and zeroing --- */

int queue_folder_remove(const char *folder)
{
    struct file_list files;
    char path[PATH_MAX];
    int64_t byte;
    int r, first = 0;

    r = file_list(folder, &files);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    /* From the last on: what a crash leaves is the front of the queue as it was. */
    for (size_t i = files.count; i-- > 0;) {
        if (!queue_file_name_parse(files.names[i], 1, &byte))
            continue;
        r = queue_file_path(path, sizeof(path), folder, byte);
        if (r == 0)
            r = file_unlink(path);
        if (r < 0 && r != -ENOENT && first == 0)
            first = r;
    }
    file_list_free(&files);
    r = file_rmdir(folder);
    if (r < 0 && r != -ENOENT && first == 0)
        first = r;
    return first;
}

int queue_file_zero(int fd, int64_t at, int64_t end)
{
    static const uint8_t zeroes[65536];
    int r;

    if (at >= end)
        return 0;
    /* Not by cutting the file and stretching it again: a crash in between would leave a size that
     * RocketMQ, and we, refuse. */
    r = file_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, end - at);
    if (r != -EOPNOTSUPP)
        return r;
    for (r = 0; at < end && r == 0; at += (int64_t)sizeof(zeroes)) {
        int64_t n = end - at < (int64_t)sizeof(zeroes) ? end - at : (int64_t)sizeof(zeroes);
        r = file_write_all(fd, zeroes, (size_t)n, at);
    }
    return r;
}
