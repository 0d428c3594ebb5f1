/* index_load.c - what a start makes of the index files and of tern/index.
 *
 *   as listed                          believed
 *   the newest, not cleanly stopped    its entries up to the number listed, which were synced; the
 *                                      slots are made anew from them, later entries from the log
 *   listed, but gone or changed        made again from the log
 *   not listed                         ours since the last checkpoint: removed, made again; after a
 *                                      clean stop of ours: RocketMQ's
 *   no tern/index, RocketMQ's          after its clean stop all, after a crash those that it had
 *                                      synced, which its checkpoint tells
 *
 * Only headers are read here. What this decides to make again is made by the thread.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/index_internal.h"
#include "broker/store/log_scan.h"
#include "common/file.h"
#include "common/log.h"

struct found {
    struct index_known file;
    bool good;
};

struct load {
    struct index *x;
    struct found *found; /* by name */
    uint32_t count;
    struct buf state_bytes;
    struct index_state state;
    bool listed; /* there is a state, for files of this shape */
    bool newest_lost;
    struct err *err;
};

/* --- what is there --- */

static bool name_of(const char *text, int64_t *name)
{
    return strlen(text) <= 18 && isdigit((unsigned char)text[0]) &&
           bytes_to_i64(bytes_str(text), name);
}

static int drop(struct load *l, struct found *f, const char *why)
{
    char path[PATH_MAX];
    int r = index_file_path(l->x, path, f->file.name);

    f->good = false;
    log_warn("index file %s is removed: %s; what it held is made again from the log", path, why);
    if (r == 0)
        r = file_unlink(path);
    if (r < 0 && r != -ENOENT)
        return err_set(l->err, r, "remove the index file %s", path);
    return 0;
}

static int look_at(struct load *l, struct found *f)
{
    struct index_file file;
    char path[PATH_MAX];
    struct err why = {0};
    int r = index_file_path(l->x, path, f->file.name);

    if (r < 0)
        return err_set(l->err, r, "name the index file %s", path);
    r = index_file_open(&file, path, &l->x->shape, &why);
    if (r == 0) {
        f->file.header = file.view.header;
        f->good = true;
        index_file_close(&file);
        return 0;
    }
    if (r != -EBADMSG && r != -ENODATA && r != -EIO)
        return err_say(l->err, r, "%s", why.text);
    return drop(l, f, why.text);
}

static int list_files(struct load *l)
{
    char dir[PATH_MAX];
    struct file_list list;
    int r;

    if (snprintf(dir, sizeof(dir), "%s/index", l->x->root_dir) >= (int)sizeof(dir))
        return err_set(l->err, -ENAMETOOLONG, "list %s/index", l->x->root_dir);
    r = file_mkdir(dir);
    if (r == 0)
        r = file_list(dir, &list);
    if (r < 0)
        return err_set(l->err, r, "list %s", dir);
    l->found = calloc(list.count + 1, sizeof(*l->found));
    if (!l->found)
        r = err_set(l->err, -ENOMEM, "list %s", dir);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        struct found f = {0};
        /* Names sort as text; so do the numbers, since all of RocketMQ's have 17 digits. */
        if (!name_of(list.names[i], &f.file.name) ||
            (l->count > 0 && f.file.name <= l->found[l->count - 1].file.name))
            continue;
        r = look_at(l, &f);
        l->found[l->count++] = f;
    }
    file_list_free(&list);
    return r;
}

static int read_state(struct load *l)
{
    struct index *x = l->x;
    char path[PATH_MAX];
    int r = index_tern_path(x, path, "index");

    if (r == 0)
        r = file_load(path, INDEX_STATE_MAX, &l->state_bytes);
    if (r == -ENOENT)
        return 0;
    if (r < 0 && r != -EFBIG)
        return err_set(l->err, r, "read %s", path);
    if (r == 0)
        r = index_state_parse(buf_bytes(&l->state_bytes), &l->state);
    if (r < 0) {
        log_warn("%s cannot be read: the index files are believed as far as their own headers go",
                 path);
        return 0;
    }
    /* Files of another shape were removed for their size. */
    l->listed = l->state.shape.slots == x->shape.slots &&
                l->state.shape.entries_max == x->shape.entries_max;
    return 0;
}

/* --- what counts --- */

static struct found *find(struct load *l, int64_t name)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->found[i].file.name == name)
            return &l->found[i];
    }
    return NULL;
}

static bool same_header(const struct index_header *a, const struct index_header *b)
{
    return a->begin_ms == b->begin_ms && a->end_ms == b->end_ms &&
           a->begin_offset == b->begin_offset && a->end_offset == b->end_offset &&
           a->used_slots == b->used_slots && a->next == b->next;
}

/* Whether `now` can be what `before` has become by further entries. */
static bool has_grown(const struct index_header *before, const struct index_header *now)
{
    return now->next >= before->next && now->begin_ms == before->begin_ms &&
           now->begin_offset == before->begin_offset && now->end_offset >= before->end_offset;
}

static int take(struct load *l, const struct index_known *file)
{
    int r = index_files_insert(l->x, l->x->count, file);

    return r < 0 ? err_set(l->err, r, "load the index of %s", l->x->root_dir) : 0;
}

/* A file is to be made again whose records begin in [from, to]. */
static int take_lost(struct load *l, int64_t name, int64_t from, int64_t to)
{
    struct index *x = l->x;
    struct index_known file = {.name = name, .lost = true};

    if (to < (int64_t)commit_log_min(x->options.log))
        return 0;
    if (x->count > 0 && x->files[x->count - 1].name >= name)
        return 0; /* no place between the names, so hardly one between the files */
    file.header = (struct index_header){.begin_offset = from, .end_offset = to, .next = 1};
    return take(l, &file);
}

/* Where the record that begins at `offset` ends; `offset` when none does. */
static uint64_t end_of_record(const struct index *x, uint64_t offset)
{
    struct log_scan scan;
    struct record record;
    const char *why;
    uint64_t end = offset;

    if (offset < commit_log_min(x->options.log) || offset >= commit_log_end(x->options.log))
        return offset;
    log_scan_init(&scan, x->commit_log_dir, (uint64_t)commit_log_segment_bytes(x->options.log),
                  NULL);
    if (log_scan_judge(&scan, offset, &record, &why) == LOG_SCAN_RECORD)
        end += record.total_size;
    log_scan_destroy(&scan);
    return end;
}

/* The newest file that stays says how far the index reaches; `whole`: all keys of its last record
 * are in it. Lost files behind it need no place in the list: their part of the log follows. */
static void reach_of_files(struct index *x, bool whole)
{
    uint64_t end;

    while (x->count > 0 && x->files[x->count - 1].lost)
        index_files_remove(x, x->count - 1);
    if (x->count == 0) {
        x->synced_position = x->from;
        return;
    }
    end = (uint64_t)x->files[x->count - 1].header.end_offset;
    x->synced_position = whole ? end_of_record(x, end) : end;
}

static int remove_empty(struct load *l, struct found *f)
{
    char path[PATH_MAX];
    int r = index_file_path(l->x, path, f->file.name);

    f->good = false;
    if (r == 0)
        r = file_unlink(path);
    return r < 0 ? err_set(l->err, r, "remove the index file %s", path) : 0;
}

/* Files that RocketMQ has written, from found[i] on. After a crash of its it believes only those
 * that end no later than its checkpoint says. `whole`: nothing is missing between the last file in
 * the list and these. */
static int take_rocketmqs(struct load *l, uint32_t i, bool whole)
{
    struct index *x = l->x;
    bool crashed = false;
    int64_t lost_name = 0;
    int r = 0;

    for (; i < l->count && r == 0; i++) {
        struct found *f = &l->found[i];
        const struct index_header *h = &f->file.header, *before = NULL;
        int64_t before_end = (int64_t)x->from;

        if (x->count > 0) {
            before = &x->files[x->count - 1].header;
            before_end = before->end_offset;
        }
        if (!f->good) {
            if (whole)
                lost_name = f->file.name;
            whole = false; /* removed, a part of the log is not in a file */
            continue;
        }
        if (h->next == 1) {
            r = remove_empty(l, f);
            continue;
        }
        crashed |= x->options.unclean && h->end_ms > x->options.rocketmq_ms;
        if (crashed || h->begin_offset < before_end) {
            r = drop(l, f,
                     crashed ? "a crash came before it was complete"
                             : "it overlaps the one before");
            whole = false;
            continue;
        }
        if (!whole || (!before && h->begin_offset > before_end))
            r = take_lost(l, lost_name ? lost_name : f->file.name - 1, before_end, h->begin_offset);
        if (r == 0)
            r = take(l, &f->file);
        whole = true;
        lost_name = 0;
    }
    if (r == 0)
        reach_of_files(x, whole);
    return r;
}

/* One file of the list. *next: the first of found[] that comes after it. */
static int take_one_listed(struct load *l, uint32_t i, uint32_t *next)
{
    struct index *x = l->x;
    bool newest = i + 1 == l->state.count;
    struct index_known file;
    struct found *f;
    int r = 0;

    index_state_file(&l->state, i, &file);
    f = find(l, file.name);
    if (f)
        *next = (uint32_t)(f - l->found) + 1;
    if (f && f->good && same_header(&f->file.header, &file.header)) {
        x->restore = newest && !l->state.clean;
        return take(l, &file);
    }
    if (newest && f && f->good && has_grown(&file.header, &f->file.header)) {
        if (l->state.clean) { /* by RocketMQ */
            --*next;
            return 0;
        }
        x->restore = true;
        return take(l, &file);
    }
    if (f && f->good)
        r = drop(l, f, "it is not as it was left");
    else if (!f && file.header.end_offset >= (int64_t)commit_log_min(x->options.log))
        log_warn("index file %s/index/%017" PRId64
                 " is gone; what it held is made again from the log",
                 x->root_dir, file.name);
    if (r == 0 && !newest)
        return take_lost(l, file.name, file.header.begin_offset, file.header.end_offset);
    l->newest_lost = true;
    reach_of_files(x, false);
    return r;
}

static int take_listed(struct load *l)
{
    struct index *x = l->x;
    uint32_t next = 0;
    int r = 0;

    x->from = l->state.from;
    x->synced_position = l->state.position;
    for (uint32_t i = 0; i < l->state.count && r == 0; i++)
        r = take_one_listed(l, i, &next);
    for (uint32_t i = 0; i < next && r == 0; i++) {
        const struct found *f = &l->found[i];
        bool listed = false;
        for (uint32_t k = 0; k < x->count && !listed; k++)
            listed = x->files[k].name == f->file.name;
        if (f->good && !listed)
            r = drop(l, &l->found[i], "it is none of ours");
    }
    if (r == 0 && l->state.clean)
        return next < l->count ? take_rocketmqs(l, next, !l->newest_lost) : 0;
    for (; next < l->count && r == 0; next++) {
        if (l->found[next].good)
            r = drop(l, &l->found[next], "it is newer than the last checkpoint of the index");
    }
    return r;
}

/* --- against the log --- */

/* What stands on the disk speaks of a part of the log that is gone, and other records come to stand
 * there: before they do, it must not claim them. The newest file is not listed until it is restored
 * and synced; should that not happen, it is made again from the log. */
static void claim_less(struct index *x, uint64_t end)
{
    uint32_t count = x->count;
    uint64_t position = x->synced_position, from = x->from;
    int r;

    if (count > 0 && (uint64_t)x->files[count - 1].header.end_offset >= end) {
        x->count--;
        if ((uint64_t)x->files[count - 1].header.begin_offset < position)
            x->synced_position = (uint64_t)x->files[count - 1].header.begin_offset;
    }
    if (x->from > x->synced_position)
        x->from = x->synced_position;
    r = index_write_state(x, false);
    if (r < 0) {
        (void)index_failed(x, "taking back what it says of the end of the log", r);
        x->retry_ms = 0;
        x->state_open = false; /* again before the first entry */
    }
    x->count = count;
    x->synced_position = position;
    x->from = from;
}

/* The log may have been cut below what is indexed (a power cut took what was not flushed). */
static int fit_to_log(struct load *l)
{
    struct index *x = l->x;
    uint64_t min = commit_log_min(x->options.log), end = commit_log_end(x->options.log);
    bool cut = x->synced_position > end;
    int r = 0;

    while (x->count > 0 && r == 0 &&
           (x->files[x->count - 1].lost ||
            (uint64_t)x->files[x->count - 1].header.begin_offset >= end)) {
        struct found gone = {.file = x->files[x->count - 1]};
        if (!gone.file.lost)
            r = drop(l, &gone, "it speaks of a part of the log that is gone");
        index_files_remove(x, x->count - 1);
        x->restore = false;
        reach_of_files(x, false);
    }
    if (x->count > 0 && (uint64_t)x->files[x->count - 1].header.end_offset >= end) {
        x->restore = true;
        x->restore_limit = end;
    }
    if (x->restore)
        x->restore_next = x->files[x->count - 1].header.next;
    if (x->synced_position > end)
        x->synced_position = end;
    if (x->synced_position < min)
        x->synced_position = min;
    if (x->from > x->synced_position)
        x->from = x->synced_position;
    if (r == 0 && cut)
        claim_less(x, end);
    return r;
}

int index_load(struct index *x, struct err *err)
{
    struct load l = {.x = x, .err = err};
    int r;

    x->restore_limit = UINT64_MAX;
    x->from = commit_log_min(x->options.log);
    r = list_files(&l);
    if (r == 0)
        r = read_state(&l);
    if (r == 0)
        r = l.listed ? take_listed(&l) : take_rocketmqs(&l, 0, true);
    if (r == 0)
        r = fit_to_log(&l);
    buf_destroy(&l.state_bytes);
    free(l.found);
    return r;
}
