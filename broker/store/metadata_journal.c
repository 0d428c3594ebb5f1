/* metadata_journal.c - the files of tern/meta: opened and checked, appended to, begun anew.
 *
 * What a reader found in the page cache may never have reached the disk when an earlier process saw
 * its sync fail, so the newest journal is written again in place at every start.
 */
#include "broker/store/metadata_journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/log.h"

enum {
    DIGITS = 20,
    COPY_BYTES = 256 * 1024,
    DAMAGE_LINES = 8, /* in the log for one file; the rest is counted */
};

static void path_of(const struct metadata_journal *j, char to[PATH_MAX], const char *what,
                    uint64_t generation, const char *suffix)
{
    /* open has checked that the longest of them fits */
    (void)snprintf(to, PATH_MAX, "%s/%s-%020" PRIu64 "%s", j->dir, what, generation, suffix);
}

uint64_t metadata_generation_of(const char *name, const char *what)
{
    size_t len = strlen(what);
    int64_t generation;

    if (strncmp(name, what, len) != 0 || name[len] != '-' ||
        strspn(name + len + 1, "0123456789") != DIGITS || name[len + 1 + DIGITS] != '\0' ||
        !bytes_to_i64(bytes_str(name + len + 1), &generation))
        return 0;
    return (uint64_t)generation;
}

void metadata_journal_path(const struct metadata_journal *j, char *to, size_t size)
{
    (void)snprintf(to, size, "%s/journal-%020" PRIu64, j->dir, j->generation);
}

/* --- appending --- */

int metadata_journal_append(struct metadata_journal *j, struct bytes records)
{
    int r;

    /* Nothing counts before the sync, and a retry writes all of it again from the same place: after
     * a failed sync the kernel may call dirty pages clean. */
    r = file_write_all(j->fd, records.at, records.len, j->end);
    if (r == 0)
        r = file_fdatasync(j->fd);
    if (r < 0)
        return r;
    j->end += (int64_t)records.len;
    j->bytes += (int64_t)records.len;
    return 0;
}

static int write_begin(int fd, enum metadata_file_type type, uint64_t generation, int64_t *end)
{
    struct buf head = {0};
    int r;

    metadata_put_begin(&head, type, generation);
    r = head.failed ? -ENOMEM : file_write_all(fd, head.data, head.len, 0);
    *end = (int64_t)head.len;
    buf_destroy(&head);
    return r;
}

/* Makes journal-<generation> and turns to it. On failure everything is as before. */
static int begin_journal(struct metadata_journal *j, uint64_t generation)
{
    char path[PATH_MAX];
    int64_t end = 0;
    int fd, r;

    path_of(j, path, "journal", generation, "");
    /* O_TRUNC: one that an earlier try could not remove has no records. */
    fd = file_open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return fd;
    r = write_begin(fd, METADATA_JOURNAL_FILE, generation, &end);
    if (r == 0)
        r = file_fdatasync(fd);
    if (r == 0)
        r = file_sync_dir(j->dir);
    if (r < 0) {
        (void)file_close(fd);
        (void)file_unlink(path);
        return r;
    }
    if (j->fd >= 0)
        (void)file_close(j->fd); /* all of it has been synced */
    j->fd = fd;
    j->generation = generation;
    j->end = end;
    j->bytes += end;
    return 0;
}

/* --- a new generation --- */

bool metadata_journal_due(const struct metadata_journal *j)
{
    int64_t limit = 2 * j->snapshot_bytes;

    if (limit < j->min_bytes)
        limit = j->min_bytes;
    return j->damaged || j->bytes > limit;
}

static bool snapshot_is_behind(const struct metadata_journal *j)
{
    uint64_t first = j->snapshot_generation ? j->snapshot_generation : 1;

    return j->generation > first;
}

int metadata_journal_cut(struct metadata_journal *j)
{
    return snapshot_is_behind(j) ? 0 : begin_journal(j, j->generation + 1);
}

int metadata_snapshot_begin(struct metadata_journal *j)
{
    char path[PATH_MAX];
    int r;

    assert(j->snapshot_fd < 0);
    path_of(j, path, "snapshot", j->generation, ".tmp");
    j->snapshot_fd = file_open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (j->snapshot_fd < 0) {
        r = j->snapshot_fd;
        j->snapshot_fd = -1;
        return r;
    }
    j->snapshot_records = 1;
    return write_begin(j->snapshot_fd, METADATA_SNAPSHOT_FILE, j->generation, &j->snapshot_end);
}

int metadata_snapshot_add(struct metadata_journal *j, struct bytes records, uint64_t count)
{
    int r = file_write_all(j->snapshot_fd, records.at, records.len, j->snapshot_end);

    if (r < 0)
        return r;
    /* The disk starts now, so that the sync at the end finds little left to do. */
    (void)file_sync_range(j->snapshot_fd, j->snapshot_end, (off_t)records.len,
                          SYNC_FILE_RANGE_WRITE);
    j->snapshot_end += (int64_t)records.len;
    j->snapshot_records += count;
    return 0;
}

void metadata_snapshot_abort(struct metadata_journal *j)
{
    char path[PATH_MAX];

    if (j->snapshot_fd < 0)
        return;
    (void)file_close(j->snapshot_fd);
    j->snapshot_fd = -1;
    path_of(j, path, "snapshot", j->generation, ".tmp");
    (void)file_unlink(path);
}

/* Removes what belongs to generations before the snapshot's; damaged ones are kept under another
 * name, for somebody who may want to look. A failure leaves them to the next start. */
static void remove_older(struct metadata_journal *j)
{
    struct file_list list;
    bool removed = false;
    int r = file_list(j->dir, &list);

    if (r < 0) {
        log_warn_limited(j->dir, "list %s: %s", j->dir, strerror(-r));
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        uint64_t journal = metadata_generation_of(list.names[i], "journal");
        uint64_t snapshot = metadata_generation_of(list.names[i], "snapshot");
        uint64_t generation = journal ? journal : snapshot;
        char path[PATH_MAX], aside[PATH_MAX];

        if (generation == 0 || generation >= j->snapshot_generation)
            continue;
        path_of(j, path, journal ? "journal" : "snapshot", generation, "");
        path_of(j, aside, journal ? "journal" : "snapshot", generation, ".damaged");
        r = j->damaged ? file_rename(path, aside) : file_unlink(path);
        if (r < 0)
            log_warn_limited(path, "remove %s: %s", path, strerror(-r));
        removed = true;
    }
    file_list_free(&list);
    if (removed)
        (void)file_sync_dir(j->dir);
}

int metadata_snapshot_commit(struct metadata_journal *j)
{
    char tmp[PATH_MAX], path[PATH_MAX];
    struct buf tail = {0};
    int64_t size;
    int r, closed;

    metadata_put_end(&tail, j->snapshot_records);
    r = tail.failed ? -ENOMEM : metadata_snapshot_add(j, buf_bytes(&tail), 1);
    buf_destroy(&tail);
    if (r == 0)
        r = file_fsync(j->snapshot_fd);
    if (r < 0)
        return r;
    size = j->snapshot_end;
    closed = file_close(j->snapshot_fd);
    j->snapshot_fd = -1;
    path_of(j, tmp, "snapshot", j->generation, ".tmp");
    path_of(j, path, "snapshot", j->generation, "");
    r = closed < 0 ? closed : file_rename(tmp, path);
    if (r == 0)
        r = file_sync_dir(j->dir);
    if (r < 0)
        return r; /* the older files stay, and with them everything */
    j->snapshot_generation = j->generation;
    j->snapshot_bytes = size;
    j->bytes = j->end;
    remove_older(j);
    j->damaged = false;
    return 0;
}

/* --- opening --- */

struct loading {
    struct metadata_journal *j;
    int (*apply)(void *ctx, const struct metadata_record *r);
    void *ctx;
    struct err *err;
    /* the file at hand */
    char path[PATH_MAX];
    int fd;
    enum metadata_file_type type;
    uint64_t generation;
    bool newest; /* the journal that will be appended to */
    bool ended;  /* the snapshot's last record was there */
    bool lost;
    uint64_t records, bad_stretches;
    int64_t end;
};

static int read_at(void *ctx, void *to, size_t n, int64_t at)
{
    return file_read_all(*(int *)ctx, to, n, at);
}

static void note_damage(struct loading *l, const struct metadata_scan *s)
{
    l->j->damaged = true;
    if (l->bad_stretches++ < DAMAGE_LINES)
        log_warn("%s: bytes %" PRId64 " to %" PRId64 " are damaged; what they held is lost, the "
                 "records behind them are used",
                 l->path, s->bad_from, s->at);
}

static int take_record(struct loading *l, const struct metadata_record *r, int64_t at)
{
    l->records++;
    if (r->kind == METADATA_BEGIN) {
        if (r->begin.type != l->type || r->begin.generation != l->generation)
            return err_say(l->err, -EBADMSG,
                           "%s says that it is %s of generation %" PRIu64
                           "; its name and its content do not belong together",
                           l->path,
                           r->begin.type == METADATA_JOURNAL_FILE ? "the journal" : "the snapshot",
                           r->begin.generation);
        return 0;
    }
    if (r->kind == METADATA_END) {
        l->ended = true;
        if (r->end != l->records - 1) {
            l->j->damaged = true;
            log_warn("%s: %" PRIu64 " records of %" PRIu64 " could be read", l->path,
                     l->records - 1, r->end);
        }
        return 0;
    }
    int applied = l->apply(l->ctx, r);
    if (applied < 0)
        return err_set(l->err, applied, "take in the record at byte %" PRId64 " of %s", at,
                       l->path);
    return 0;
}

static int refuse_unknown(const struct loading *l, const struct metadata_record *r, int64_t at)
{
    if (r->kind == METADATA_BEGIN)
        return err_say(l->err, -ENOTSUP,
                       "%s has format %" PRIu32 ", this version reads format %d: it was written by "
                       "a newer version, start that one",
                       l->path, r->begin.format, METADATA_FORMAT);
    return err_say(l->err, -ENOTSUP,
                   "%s has a record of kind %u at byte %" PRId64 ", this version knows kinds up to "
                   "%d: it was written by a newer version, start that one",
                   l->path, (unsigned)r->kind, at, METADATA_KIND_LAST);
}

static int scan_file(struct loading *l, struct metadata_scan *s)
{
    struct metadata_record record;

    for (;;) {
        int64_t at = s->at;
        int r = metadata_scan_next(s, &record);

        if (r < 0)
            return err_set(l->err, r, "read %s from byte %" PRId64, l->path, at);
        switch (r) {
        case 0:
            r = take_record(l, &record, at);
            if (r < 0)
                return r;
            break;
        case METADATA_SCAN_END:
            l->end = s->size;
            return 0;
        case METADATA_SCAN_DAMAGE:
            note_damage(l, s);
            break;
        case METADATA_SCAN_TORN:
            l->end = s->bad_from;
            if (!l->newest)
                note_damage(l, s);
            return 0;
        case METADATA_SCAN_LOST:
            note_damage(l, s);
            l->lost = true;
            l->end = s->size;
            return 0;
        case METADATA_SCAN_UNKNOWN:
            return refuse_unknown(l, &record, at);
        }
    }
}

/* Reads one file; l->fd stays open. */
static int load_file(struct loading *l, int64_t *size)
{
    struct metadata_scan scan;
    int r;

    l->ended = l->lost = false;
    l->records = l->bad_stretches = 0;
    l->fd = file_open(l->path, l->newest ? O_RDWR : O_RDONLY, 0);
    if (l->fd < 0)
        return err_set(l->err, l->fd, "open %s", l->path);
    r = file_size(l->fd, size);
    if (r < 0)
        return err_set(l->err, r, "look at %s", l->path);
    metadata_scan_init(&scan, read_at, &l->fd, *size);
    r = scan_file(l, &scan);
    metadata_scan_destroy(&scan);
    if (r < 0)
        return r;
    if (l->bad_stretches > DAMAGE_LINES)
        log_warn("%s: %" PRIu64 " damaged places in all", l->path, l->bad_stretches);
    if (l->type == METADATA_SNAPSHOT_FILE && !l->ended) {
        l->j->damaged = true;
        log_warn("%s lacks its last record: what followed byte %" PRId64 " is lost", l->path,
                 l->end);
    }
    return 0;
}

static int write_again(int fd, int64_t end)
{
    uint8_t *copy = malloc(COPY_BYTES);
    int r = 0;

    if (!copy)
        return -ENOMEM;
    for (int64_t at = 0; at < end && r == 0;) {
        size_t n = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        r = file_read_all(fd, copy, n, at);
        if (r == 0)
            r = file_write_all(fd, copy, n, at);
        at += (int64_t)n;
    }
    free(copy);
    return r < 0 ? r : file_fdatasync(fd);
}

/* The newest journal becomes what appends go to: its torn tail cut, the rest surely on the disk. */
static int settle_newest(struct loading *l, int64_t size)
{
    struct metadata_journal *j = l->j;
    int r;

    if (l->end < size) {
        log_warn("%s: cut at byte %" PRId64 ", the last %" PRId64
                 " bytes are a write that a crash interrupted",
                 l->path, l->end, size - l->end);
        r = file_truncate(l->fd, l->end);
        if (r == 0)
            r = file_fsync(l->fd);
        if (r < 0)
            return err_set(l->err, r, "cut %s at byte %" PRId64, l->path, l->end);
    }
    if (l->end == 0) {
        r = write_begin(l->fd, METADATA_JOURNAL_FILE, l->generation, &l->end);
        if (r == 0)
            r = file_fdatasync(l->fd);
        if (r < 0)
            return err_set(l->err, r, "begin %s", l->path);
    } else {
        r = write_again(l->fd, l->end);
        /* A disk without room must not keep a broker from serving what it has. */
        if (r == -ENOSPC || r == -EDQUOT)
            log_warn("%s could not be written again: %s", l->path, strerror(-r));
        else if (r < 0)
            return err_set(l->err, r, "write %s again", l->path);
    }
    j->fd = l->fd;
    l->fd = -1;
    j->generation = l->generation;
    j->end = l->end;
    j->bytes += l->end;
    if (l->bad_stretches == 0)
        return 0;
    /* Nothing is appended behind damage: the next start could fail to find it there. */
    r = begin_journal(j, j->generation + 1);
    if (r < 0 && l->lost)
        return err_set(l->err, r, "begin a new journal in %s", j->dir);
    return 0;
}

static int load_snapshot(struct loading *l, uint64_t generation)
{
    int64_t size;
    int r;

    l->type = METADATA_SNAPSHOT_FILE;
    l->generation = generation;
    l->newest = false;
    path_of(l->j, l->path, "snapshot", generation, "");
    r = load_file(l, &size);
    if (l->fd >= 0)
        (void)file_close(l->fd);
    l->fd = -1;
    if (r < 0)
        return r;
    l->j->snapshot_generation = generation;
    l->j->snapshot_bytes = size;
    return 0;
}

static int load_journal(struct loading *l, uint64_t generation, bool newest)
{
    int64_t size;
    int r;

    l->type = METADATA_JOURNAL_FILE;
    l->generation = generation;
    l->newest = newest;
    path_of(l->j, l->path, "journal", generation, "");
    r = load_file(l, &size);
    if (r == 0 && newest)
        r = settle_newest(l, size);
    else if (r == 0)
        l->j->bytes += size;
    if (l->fd >= 0)
        (void)file_close(l->fd);
    l->fd = -1;
    return r;
}

static int missing(struct loading *l, const char *what, uint64_t generation)
{
    path_of(l->j, l->path, what, generation, "");
    return err_say(l->err, -ENOENT,
                   "%s is missing, without it topics, groups and offsets would be lost: restore "
                   "it, or move the whole folder away to start from the JSON files in config/",
                   l->path);
}

/* Newest snapshot, then every journal from its generation on, without a gap. */
static int load_all(struct loading *l, const struct file_list *list)
{
    uint64_t snapshot = 0, next, newest = 0;
    int r;

    for (size_t i = 0; i < list->count; i++) {
        uint64_t s = metadata_generation_of(list->names[i], "snapshot");
        uint64_t g = metadata_generation_of(list->names[i], "journal");
        snapshot = s > snapshot ? s : snapshot;
        newest = g > newest ? g : newest;
    }
    if (snapshot == 0 && newest == 0) {
        /* Who made the folder may have been killed before he synced where it stands. */
        r = file_sync_parent(l->j->dir);
        if (r == 0)
            r = begin_journal(l->j, 1);
        path_of(l->j, l->path, "journal", 1, "");
        return r < 0 ? err_set(l->err, r, "begin %s", l->path) : 0;
    }
    if (newest < snapshot)
        return missing(l, "journal", snapshot);
    if (snapshot != 0) {
        r = load_snapshot(l, snapshot);
        if (r < 0)
            return r;
    }
    next = snapshot ? snapshot : 1;
    for (size_t i = 0; i < list->count; i++) {
        uint64_t generation = metadata_generation_of(list->names[i], "journal");
        if (generation < next || generation == 0)
            continue;
        if (generation > next)
            return next == 1 ? missing(l, "snapshot", generation) : missing(l, "journal", next);
        r = load_journal(l, generation, generation == newest);
        if (r < 0)
            return r;
        next = generation + 1;
    }
    return 0;
}

static int clean_folder(struct metadata_journal *j, const struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        size_t len = strlen(name);
        char path[PATH_MAX];

        if (strncmp(name, "snapshot-", 9) != 0 || len < 4 || strcmp(name + len - 4, ".tmp") != 0)
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", j->dir, name) < (int)sizeof(path))
            (void)file_unlink(path);
    }
    /* Before anything older goes: the name of the newest snapshot must be there to stay. */
    return file_sync_dir(j->dir);
}

int metadata_journal_open(struct metadata_journal *j, const char *dir,
                          int (*apply)(void *ctx, const struct metadata_record *r), void *ctx,
                          struct err *err)
{
    struct loading l = {.j = j, .apply = apply, .ctx = ctx, .err = err, .fd = -1};
    struct file_list list = {0};
    int r;

    *j = (struct metadata_journal){
        .fd = -1, .snapshot_fd = -1, .min_bytes = METADATA_GENERATION_MIN_BYTES};
    if (strlen(dir) + sizeof("/snapshot-.damaged") + DIGITS > PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "open %s", dir);
    j->dir = strdup(dir);
    if (!j->dir)
        return err_set(err, -ENOMEM, "open %s", dir);
    r = file_mkdirs(dir);
    if (r < 0) {
        err_set(err, r, "make %s", dir);
        goto fail;
    }
    r = file_list(dir, &list);
    if (r < 0) {
        err_set(err, r, "list %s", dir);
        goto fail;
    }
    r = load_all(&l, &list);
    if (r < 0)
        goto fail;
    r = clean_folder(j, &list);
    if (r < 0) {
        err_set(err, r, "sync %s", dir);
        goto fail;
    }
    if (j->snapshot_generation != 0 && !j->damaged)
        remove_older(j);
    file_list_free(&list);
    return 0;

fail:
    file_list_free(&list);
    metadata_journal_close(j);
    return r;
}

void metadata_journal_close(struct metadata_journal *j)
{
    if (!j->dir)
        return;
    metadata_snapshot_abort(j);
    if (j->fd >= 0)
        (void)file_close(j->fd);
    free(j->dir);
    *j = (struct metadata_journal){.fd = -1, .snapshot_fd = -1};
}
