/* log_segments.c - see log_segments.h. */
#include "broker/store/log_segments.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum {
    NAME_DIGITS = 20,
    RETRY_MS = 1000, /* a disk that had no room is asked again after this */
};

int log_segments_path(const struct log_segments *s, uint64_t base, char to[PATH_MAX])
{
    int n = snprintf(to, PATH_MAX, "%s/%020" PRIu64, s->dir, base);

    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* --- the table --- */

static int reserve_place(struct log_segments *s)
{
    struct log_segment **more;
    size_t cap;

    if (s->count < s->cap)
        return 0;
    cap = s->cap ? s->cap * 2 : 16;
    more = calloc(cap, sizeof(struct log_segment *));
    if (!more)
        return -ENOMEM;
    pthread_mutex_lock(&s->lock);
    if (s->count > 0)
        memcpy(more, s->at, s->count * sizeof(struct log_segment *));
    struct log_segment **old = s->at;
    s->at = more;
    s->cap = cap;
    pthread_mutex_unlock(&s->lock);
    free(old);
    return 0;
}

/* The place is there: reserve_place() came first. */
static void add(struct log_segments *s, struct log_segment *segment)
{
    pthread_mutex_lock(&s->lock);
    assert(s->count < s->cap);
    if (s->count == 0) {
        s->first = segment->base;
        atomic_store_explicit(&s->min, s->first, memory_order_release);
    }
    assert(segment->base == s->first + s->count * s->bytes);
    s->at[s->count++] = segment;
    pthread_mutex_unlock(&s->lock);
}

static void unuse(struct log_segments *s, struct log_segment *segment)
{
    bool last;

    pthread_mutex_lock(&s->lock);
    last = --segment->users == 0;
    if (segment == s->retired && segment->users == 1)
        pthread_cond_signal(&s->unused);
    pthread_mutex_unlock(&s->lock);
    if (last) {
        file_close(segment->fd);
        free(segment);
    }
}

int log_segments_hold(struct log_segments *s, uint64_t from, uint64_t to, struct log_piece *out)
{
    struct log_segment *segment = NULL;
    uint64_t at, left;

    pthread_mutex_lock(&s->lock);
    if (from >= s->first && (from - s->first) / s->bytes < s->count) {
        segment = s->at[(from - s->first) / s->bytes];
        segment->users++;
    }
    pthread_mutex_unlock(&s->lock);
    if (!segment)
        return -ENODATA;
    at = from - segment->base;
    left = s->bytes - at;
    *out = (struct log_piece){
        .segment = segment,
        .fd = segment->fd,
        .at = (off_t)at,
        .bytes = to - from < left ? to - from : left,
    };
    return 0;
}

void log_segments_let_go(struct log_segments *s, struct log_piece *piece)
{
    unuse(s, piece->segment);
    piece->segment = NULL;
}

/* --- opening --- */

static bool parse_name(const char *name, uint64_t *base)
{
    uint64_t v = 0;

    if (strlen(name) != NAME_DIGITS)
        return false;
    for (const char *p = name; *p; p++) {
        if (*p < '0' || *p > '9' || v > INT64_MAX / 10)
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *base = v;
    return true;
}

static int open_segment(struct log_segments *s, const char *path, uint64_t base, struct err *err)
{
    struct log_segment *segment;
    int fd, r = reserve_place(s);

    if (r < 0)
        return err_set(err, r, "open %s", path);
    fd = file_open(path, O_RDWR, 0);
    if (fd < 0)
        return err_set(err, fd, "open %s", path);
    segment = malloc(sizeof(*segment));
    if (!segment) {
        file_close(fd);
        return err_set(err, -ENOMEM, "open %s", path);
    }
    *segment = (struct log_segment){.base = base, .fd = fd, .users = 1};
    add(s, segment);
    return 0;
}

/* A crash between creating a file and giving it its size: nothing is lost with it. */
static int remove_empty(struct log_segments *s, const char *path, struct err *err)
{
    int r = file_unlink(path);

    if (r == 0)
        r = file_sync_dir(s->dir);
    if (r < 0)
        return err_set(err, r, "remove the empty %s", path);
    log_warn("removed %s, an empty last segment that a crash has left", path);
    return 0;
}

static int open_named(struct log_segments *s, const char *name, bool last, struct err *err)
{
    char path[PATH_MAX];
    uint64_t base, next;
    struct stat st;
    int r;

    if (snprintf(path, sizeof(path), "%s/%s", s->dir, name) >= (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "open %s/%s", s->dir, name);
    r = file_stat(path, &st);
    if (r < 0)
        return err_set(err, r, "look at %s", path);
    if (S_ISDIR(st.st_mode))
        return 0;
    if (!S_ISREG(st.st_mode) || !parse_name(name, &base) || base > INT64_MAX - s->bytes)
        return err_say(err, -EINVAL,
                       "%s is no segment of the commit log: the folder may hold only files named "
                       "by a log offset in 20 digits",
                       path);
    if (base % s->bytes != 0)
        return err_say(err, -EINVAL,
                       "%s cannot be a segment: its name is not a multiple of the %" PRIu64
                       " bytes of a segment (mappedFileSizeCommitLog)",
                       path, s->bytes);
    if (st.st_size == 0 && last && (s->count > 0 || base == 0))
        return remove_empty(s, path, err);
    if ((uint64_t)st.st_size != s->bytes)
        return err_say(err, -EINVAL,
                       "%s has %lld bytes, and a segment has %" PRIu64 " (mappedFileSizeCommitLog)",
                       path, (long long)st.st_size, s->bytes);
    next = s->first + s->count * s->bytes;
    if (s->count > 0 && base != next)
        return err_say(err, -EINVAL,
                       "%s does not follow the segment before it: %020" PRIu64 " is missing", path,
                       next);
    return open_segment(s, path, base, err);
}

static int open_all(struct log_segments *s, struct err *err)
{
    struct file_list list;
    int r = file_list(s->dir, &list);

    if (r < 0)
        return err_set(err, r, "read the folder %s", s->dir);
    for (size_t i = 0; i < list.count && r == 0; i++)
        r = open_named(s, list.names[i], i + 1 == list.count, err);
    file_list_free(&list);
    return r;
}

static int prepare_folders(struct log_segments *s, const char *spare_dir, struct err *err)
{
    int r = file_mkdirs(s->dir);

    if (r < 0)
        return err_set(err, r, "make the folder %s", s->dir);
    r = file_mkdirs(spare_dir);
    if (r < 0)
        return err_set(err, r, "make the folder %s", spare_dir);
    r = file_unlink(s->spare); /* left by a crash */
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "remove %s", s->spare);
    return 0;
}

int log_segments_open(struct log_segments **out, const char *dir, const char *spare_dir,
                      int64_t bytes, struct err *err)
{
    struct log_segments *s = calloc(1, sizeof(*s));
    int r = -ENOMEM;

    if (!s)
        return err_set(err, r, "open the commit log %s", dir);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->making, NULL);
    pthread_cond_init(&s->unused, NULL);
    s->bytes = (uint64_t)bytes;
    s->dir = strdup(dir);
    if (asprintf(&s->spare, "%s/segment.new", spare_dir) < 0)
        s->spare = NULL;
    if (!s->dir || !s->spare)
        err_set(err, r, "open the commit log %s", dir);
    else
        r = prepare_folders(s, spare_dir, err);
    if (r == 0)
        r = open_all(s, err);
    if (r == 0) {
        /* A process that was killed between a rename and its sync has left a name that the next
         * power cut may take, with all that is written to the segment until then. */
        r = file_sync_dir(dir);
        if (r < 0)
            err_set(err, r, "sync the folder %s", dir);
    }
    if (r < 0) {
        log_segments_free(s);
        return r;
    }
    atomic_store(&s->limit, s->first + s->count * s->bytes);
    *out = s;
    return 0;
}

struct log_segments *log_segments_free(struct log_segments *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        assert(s->at[i]->users == 1);
        unuse(s, s->at[i]);
    }
    if (s->retired)
        unuse(s, s->retired); /* a name that is still there is found by the next start */
    pthread_cond_destroy(&s->unused);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->making);
    free(s->at);
    free(s->dir);
    free(s->spare);
    free(s);
    return NULL;
}

/* --- making --- */

/* Under `making`, or in recovery. */
static int allocate(struct log_segments *s, int fd, off_t at, uint64_t n)
{
    int r = file_fallocate(fd, 0, at, (off_t)n);

    if (r != -EOPNOTSUPP)
        return r;
    if (!s->told_sparse)
        log_warn("the disk of %s cannot allocate space ahead: when it is full, the log stops until "
                 "a restart instead of refusing writes for a while",
                 s->dir);
    s->told_sparse = true;
    return file_truncate(fd, (off_t)s->bytes);
}

int log_segments_allocate(struct log_segments *s, uint64_t from)
{
    struct log_piece piece;
    uint64_t to = from - from % s->bytes + s->bytes;
    int r = log_segments_hold(s, from, to, &piece);

    if (r < 0)
        return r;
    r = allocate(s, piece.fd, piece.at, piece.bytes);
    log_segments_let_go(s, &piece);
    atomic_store_explicit(&s->limit, r < 0 ? from : to, memory_order_release);
    return r;
}

/* A file of full size, durable, in the folder; returns its descriptor. */
static int make_file(struct log_segments *s, const char *path)
{
    int fd = file_open(s->spare, O_RDWR | O_CREAT | O_TRUNC, 0644);
    int r;

    if (fd < 0)
        return fd;
    r = allocate(s, fd, 0, s->bytes);
    if (r == 0)
        r = file_fsync(fd);
    if (r == 0)
        r = file_rename(s->spare, path);
    if (r < 0) {
        (void)file_unlink(s->spare);
        file_close(fd);
        return r;
    }
    r = file_sync_dir(s->dir);
    if (r < 0) {
        (void)file_unlink(path);
        file_close(fd);
        return r;
    }
    return fd;
}

static int make_segment(struct log_segments *s, uint64_t base)
{
    struct log_segment *segment;
    char path[PATH_MAX];
    int fd, r;

    if (base > INT64_MAX - s->bytes)
        return -EFBIG;
    r = log_segments_path(s, base, path);
    if (r == 0)
        r = reserve_place(s);
    if (r < 0)
        return r;
    segment = malloc(sizeof(*segment));
    if (!segment)
        return -ENOMEM;
    fd = make_file(s, path);
    if (fd < 0) {
        free(segment);
        return fd;
    }
    *segment = (struct log_segment){.base = base, .fd = fd, .users = 1};
    add(s, segment);
    atomic_store_explicit(&s->limit, base + s->bytes, memory_order_release);
    return 0;
}

static int extend(struct log_segments *s, uint64_t end)
{
    /* Only this thread changes the table now. */
    uint64_t next = s->first + s->count * s->bytes;
    uint64_t limit = atomic_load(&s->limit);

    if (limit < next)
        return log_segments_allocate(s, limit);
    if (s->count > 0 && next - s->bytes >= end)
        return 0;
    return make_segment(s, next);
}

int log_segments_extend(struct log_segments *s, uint64_t end)
{
    int64_t now;
    int r;

    pthread_mutex_lock(&s->making);
    now = clock_mono_ms();
    if (s->failed < 0 && now - s->failed_ms < RETRY_MS) {
        r = s->failed;
    } else {
        r = extend(s, end);
        s->failed = r;
        s->failed_ms = now;
    }
    pthread_mutex_unlock(&s->making);
    return r;
}

/* --- deleting --- */

int log_segments_drop(struct log_segments *s, size_t keep, struct err *err)
{
    int r;

    while (s->count > keep) {
        struct log_segment *segment = s->at[s->count - 1];
        char path[PATH_MAX];

        /* One at a time: of several names a power cut may take any, and a segment that is missing
         * between others keeps the log from opening. */
        r = log_segments_path(s, segment->base, path);
        if (r == 0)
            r = file_unlink(path);
        if (r == 0)
            r = file_sync_dir(s->dir);
        if (r < 0)
            return err_set(err, r, "remove the segment %s/%020" PRIu64, s->dir, segment->base);
        pthread_mutex_lock(&s->lock);
        s->count--;
        if (atomic_load(&s->limit) > segment->base)
            atomic_store_explicit(&s->limit, segment->base, memory_order_release);
        pthread_mutex_unlock(&s->lock);
        unuse(s, segment);
    }
    return 0;
}

int log_segments_trim(struct log_segments *s, uint64_t end)
{
    size_t keep;
    int r;

    pthread_mutex_lock(&s->making);
    keep = s->count;
    while (keep > 1 && s->at[keep - 1]->base >= end)
        keep--;
    r = log_segments_drop(s, keep, NULL);
    pthread_mutex_unlock(&s->making);
    return r;
}

/* --- retention --- */

int log_segments_retire(struct log_segments *s, uint64_t below, uint64_t *base)
{
    int r = -ENODATA;

    pthread_mutex_lock(&s->making);
    pthread_mutex_lock(&s->lock);
    if (s->retired) {
        r = -EBUSY;
    } else if (s->count > 1 && below >= s->bytes && s->first <= below - s->bytes) {
        *base = s->first;
        s->retired = s->at[0];
        s->count--;
        memmove(s->at, s->at + 1, s->count * sizeof(struct log_segment *));
        s->first += s->bytes;
        atomic_store_explicit(&s->min, s->first, memory_order_release);
        r = 0;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->making);
    if (r == 0) {
        s->erase = ERASE_NAME;
        s->erase_left = s->bytes;
    }
    return r;
}

static int erase_name(struct log_segments *s, uint64_t base)
{
    char path[PATH_MAX];
    int r = log_segments_path(s, base, path);

    if (r == 0)
        r = file_unlink(path);
    return r == -ENOENT ? 0 : r; /* somebody was faster */
}

/* The file has no name here any more: what is left of it after a crash, the system frees. One that
 * has a name elsewhere is somebody's backup, and stays whole. */
static void erase_space(struct log_segments *s, struct log_segment *segment, uint64_t piece)
{
    struct stat st;

    pthread_mutex_lock(&s->lock);
    while (segment->users > 1)
        pthread_cond_wait(&s->unused, &s->lock); /* takes no longer than a read */
    pthread_mutex_unlock(&s->lock);
    s->erase_left -= piece < s->erase_left ? piece : s->erase_left;
    if (s->erase_left > 0 && fstat(segment->fd, &st) == 0 && st.st_nlink > 0)
        s->erase_left = 0;
    if (s->erase_left > 0 && file_truncate(segment->fd, (off_t)s->erase_left) < 0)
        s->erase_left = 0; /* closing frees all of it */
}

int log_segments_erase(struct log_segments *s, uint64_t piece)
{
    struct log_segment *segment;
    int r;

    pthread_mutex_lock(&s->lock);
    segment = s->retired;
    pthread_mutex_unlock(&s->lock);
    if (!segment)
        return 0;
    switch (s->erase) {
    case ERASE_NAME:
        r = erase_name(s, segment->base);
        break;
    case ERASE_SYNC:
        /* No segment behind it may go before, or a power cut could leave a hole in the row. */
        r = file_sync_dir(s->dir);
        break;
    default:
        erase_space(s, segment, piece);
        if (s->erase_left > 0)
            return 1;
        pthread_mutex_lock(&s->lock);
        s->retired = NULL;
        pthread_mutex_unlock(&s->lock);
        unuse(s, segment);
        return 0;
    }
    if (r < 0)
        return r;
    s->erase++;
    return 1;
}

int log_segments_modified(struct log_segments *s, int64_t *ms)
{
    struct log_piece piece;
    struct stat st;
    int r = log_segments_hold(s, atomic_load(&s->min), UINT64_MAX, &piece);

    if (r < 0)
        return r;
    r = fstat(piece.fd, &st) < 0 ? -errno : 0;
    log_segments_let_go(s, &piece);
    if (r == 0)
        *ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return r;
}

uint64_t log_segments_space(struct log_segments *s)
{
    uint64_t space;

    pthread_mutex_lock(&s->lock);
    space = s->count * s->bytes;
    pthread_mutex_unlock(&s->lock);
    return space;
}
