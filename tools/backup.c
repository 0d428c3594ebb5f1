/* backup.c - the order of a backup, the log, and the marks of the copy: see backup.h. */
#include "tools/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/store/store.h"
#include "common/clock.h"
#include "common/file.h"

/* An offset that was committed is in the journal at most a second later. */
enum { COMMITS_MS = 1200, TREE_DEPTH = 4 };

static void progress(struct backup *b, const char *what, uint64_t done, uint64_t of)
{
    if (b->options->progress)
        b->options->progress(b->options->ctx, what, done, of);
}

/* --- paths --- */

int backup_paths(struct backup *b, const char *name, char from[PATH_MAX], char to[PATH_MAX])
{
    if (!store_layout_path(&b->layout, name, from) ||
        snprintf(to, PATH_MAX, "%s/%s", b->partial, name) >= PATH_MAX)
        return err_set(b->err, -ENAMETOOLONG, "copy %s", name);
    return 0;
}

int backup_mkdir(struct backup *b, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = backup_paths(b, name, from, to);

    if (r == 0)
        r = file_mkdirs(to);
    return r < 0 ? err_set(b->err, r, "make %s", to) : 0;
}

static int copy(struct backup *b, const char *from, const char *to, bool may_link, int64_t upto)
{
    struct copy_request request = {from, to, may_link, b->options->only_bytes, upto};
    struct copy_result result;
    int r = copy_file(&request, &result);

    if (r == -ENOENT || r == -ESTALE || r == -EINVAL)
        return r;
    if (r < 0)
        return err_set(b->err, r, "copy %s to %s", from, to);
    b->result->ways[result.way]++;
    b->result->bytes += (uint64_t)result.data;
    return 0;
}

int backup_copy(struct backup *b, const char *name, bool may_link, int64_t upto)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = backup_paths(b, name, from, to);

    return r < 0 ? r : copy(b, from, to, may_link, upto);
}

/* --- the log --- */

/* The end: behind the last valid record at this moment. */
static int find_end(struct backup *b)
{
    uint64_t limit = store_layout_limit(&b->layout);
    struct log_walk walk;
    struct record record;
    int what = LOG_WALK_RECORD;

    log_walk_init(&walk, &b->layout, &b->mark, b->mark.flushed, limit);
    while (what == LOG_WALK_RECORD) {
        what = log_walk_next(&walk, &record);
        if (what == LOG_WALK_RECORD && !record_has_crc(&record))
            b->bare_end = walk.to;
    }
    b->result->log_end = walk.at;
    b->store_ms = walk.newest_ms > b->mark.store_ms ? walk.newest_ms : b->mark.store_ms;
    if (what < 0 || what == LOG_WALK_UNREADABLE)
        err_say(b->err, what < 0 ? what : walk.err.code, "%s",
                what < 0 ? "out of memory" : walk.err.text);
    else if (what != LOG_WALK_END)
        err_say(b->err, -EBADMSG,
                "the log cannot be read behind offset %" PRIu64 ": ternctl store verify says more",
                walk.from);
    log_walk_destroy(&walk);
    return what == LOG_WALK_END ? 0 : b->err->code;
}

/* A segment that retention deleted meanwhile takes those before it along: the log begins later. */
static int begin_later(struct backup *b, uint64_t base)
{
    char path[PATH_MAX];

    for (size_t i = 0; i < b->layout.count && b->layout.segments[i].base < base; i++) {
        if (b->layout.segments[i].base < b->result->log_min)
            continue;
        snprintf(path, sizeof(path), "%.*s/commitlog/%020" PRIu64, PATH_MAX - 64, b->partial,
                 b->layout.segments[i].base);
        int r = file_unlink(path);
        if (r < 0 && r != -ENOENT)
            return err_set(b->err, r, "remove %s", path);
        b->result->segments -= r == 0;
    }
    b->result->log_min = base + b->layout.segment_bytes;
    return 0;
}

static int copy_segment(struct backup *b, uint64_t base)
{
    uint64_t segment_end = base + b->layout.segment_bytes;
    bool sealed = segment_end <= b->mark.flushed, cut = segment_end > b->result->log_end;
    char from[PATH_MAX], to[PATH_MAX];
    int r;

    if (snprintf(from, sizeof(from), "%s/%020" PRIu64, b->layout.log_dir, base) >=
            (int)sizeof(from) ||
        snprintf(to, sizeof(to), "%s/commitlog/%020" PRIu64, b->partial, base) >= (int)sizeof(to))
        return err_set(b->err, -ENAMETOOLONG, "copy segment %020" PRIu64, base);
    r = copy(b, from, to, sealed, cut ? (int64_t)(b->result->log_end - base) : -1);
    if ((r == -ENOENT || r == -ESTALE) && sealed)
        return begin_later(b, base);
    if (r == -ENOENT || r == -ESTALE || r == -EINVAL)
        return err_say(b->err, r, "segment %s went away while it was copied", from);
    b->result->segments += r == 0;
    return r;
}

static int copy_log(struct backup *b)
{
    const struct store_layout *l = &b->layout;
    int r = backup_mkdir(b, "commitlog");

    b->result->log_min = store_layout_min(l);
    for (size_t i = 0; i < l->count && r == 0; i++) {
        uint64_t base = l->segments[i].base;

        if (base >= b->result->log_end && base > b->result->log_min)
            break;
        if (i > 0 && base != l->segments[i - 1].base + l->segment_bytes)
            return err_say(b->err, -EBADMSG,
                           "segment %020" PRIu64
                           " is missing: the store is damaged, see ternctl store verify",
                           l->segments[i - 1].base + l->segment_bytes);
        r = copy_segment(b, base);
        progress(b, "the log", base + l->segment_bytes - store_layout_min(l),
                 b->result->log_end - store_layout_min(l));
    }
    return r;
}

/* --- marks --- */

static int write_marks(struct backup *b)
{
    struct mark mark = b->mark; /* what it knows below `flushed` is as true of the copy */
    struct mark_file file;
    char from[PATH_MAX], to[PATH_MAX];
    struct mark ignored;
    int r = backup_paths(b, "tern/flushed", from, to);

    if (r < 0)
        return r;
    mark.flushed = b->result->log_end;
    mark.store_ms = b->store_ms;
    mark.clean = false;
    mark.tail_crc = 0;
    if (mark.crc_from < b->bare_end)
        mark.crc_from = b->bare_end;
    if (mark.queues_complete_to != b->result->complete_to) {
        mark.queues_complete_to = b->result->complete_to;
        mark.queue_ends = 0;
        mark.log_min = MARK_NO_MIN;
    }
    r = mark_open(&file, to, &ignored);
    if (r == MARK_NONE)
        r = mark_write(&file, &mark);
    mark_close(&file);
    if (r < 0)
        return err_set(b->err, r, "write %s", to);
    r = backup_paths(b, "abort", from, to);
    if (r == 0)
        r = abort_create(to);
    return r < 0 ? err_set(b->err, r, "write %s", to) : 0;
}

/* --- what goes first --- */

static int read_mark(struct backup *b)
{
    char path[PATH_MAX];
    int r = store_layout_path(&b->layout, "tern/flushed", path) ? mark_read(path, &b->mark)
                                                                : -ENAMETOOLONG;

    if (r < 0)
        return err_set(b->err, r, "read %s", path);
    if (r == MARK_NONE)
        return err_say(b->err, -ENODATA,
                       "%s is not there or damaged: no TernMQ broker keeps this store; stop what "
                       "runs on it and copy the folder",
                       path);
    return 0;
}

static void wait_for_commits(struct backup *b, int64_t began_ms)
{
    int64_t left = began_ms + COMMITS_MS - clock_mono_ms();
    struct timespec pause = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};

    if (b->result->running && left > 0)
        nanosleep(&pause, NULL);
}

static int copy_small(struct backup *b)
{
    static const char *const names[] = {"checkpoint", "lock", "tern/namesrv/kvConfig.json"};
    int r = backup_mkdir(b, "tern/namesrv");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && r == 0; i++) {
        r = backup_copy(b, names[i], false, -1);
        b->result->other_files += r == 0;
        if (r == -ENOENT)
            r = 0;
    }
    return r;
}

static int copy_all(struct backup *b, int64_t began_ms)
{
    int r, moved;

    wait_for_commits(b, began_ms);
    r = backup_metadata(b);
    if (r == 0)
        r = copy_small(b);
    if (r == 0)
        r = read_mark(b);
    if (r < 0)
        return r;
    /* Segments may have come since the first look. */
    store_layout_destroy(&b->layout);
    r = store_layout_read(&b->layout, b->options->root, b->options->log_dir, NULL, b->err);
    if (r == 0)
        r = find_end(b);
    if (r == 0)
        r = copy_log(b);
    if (r == 0)
        r = backup_queues(b);
    if (r == 0)
        r = backup_index(b);
    if (r < 0)
        return r;
    b->result->complete_to = b->mark.queues_complete_to;
    moved = backup_topics_moved(b);
    if (moved < 0)
        return moved;
    if (moved) {
        b->result->complete_to = b->result->log_min;
        if (b->options->note)
            b->options->note(b->options->ctx,
                             "a topic was deleted meanwhile: the first start on the copy reads the "
                             "whole log");
    }
    if (b->result->complete_to < b->result->log_min)
        b->result->complete_to = b->result->log_min;
    return write_marks(b);
}

static int settle(struct backup *b)
{
    int fd = file_open(b->partial, O_RDONLY | O_DIRECTORY, 0), r;

    if (fd < 0)
        return err_set(b->err, fd, "open %s", b->partial);
    progress(b, "syncing the copy", 0, 0);
    r = file_syncfs(fd);
    (void)file_close(fd);
    if (r < 0)
        return err_set(b->err, r, "sync the file system of %s", b->partial);
    (void)file_rmdir(b->options->to); /* an empty folder may have been there */
    r = file_rename(b->partial, b->options->to);
    if (r == 0)
        r = file_sync_parent(b->options->to);
    return r < 0 ? err_set(b->err, r, "rename %s to %s", b->partial, b->options->to) : 0;
}

/* A copy inside the folder that is copied would be in the broker's way. */
static bool is_inside(const char *root, const char *to)
{
    char real_root[PATH_MAX], real_to[PATH_MAX], parent[PATH_MAX];
    size_t len = strlen(to);

    while (len > 0 && to[len - 1] == '/')
        len--;
    while (len > 0 && to[len - 1] != '/')
        len--;
    if (len >= sizeof(parent))
        return false;
    snprintf(parent, sizeof(parent), "%.*s", (int)(len ? len : 1), len ? to : ".");
    if (!realpath(root, real_root) || !realpath(parent, real_to))
        return false;
    len = strlen(real_root);
    return strncmp(real_to, real_root, len) == 0 && (real_to[len] == '/' || real_to[len] == '\0');
}

static int check_target(struct backup *b)
{
    struct file_list list;
    struct stat st;
    int r;

    if (is_inside(b->layout.root, b->options->to) || is_inside(b->layout.log_dir, b->options->to))
        return err_say(b->err, -EINVAL, "%s lies inside the store: name a folder beside it",
                       b->options->to);
    r = file_list(b->options->to, &list);
    if (r == 0) {
        r = list.count > 0 ? -ENOTEMPTY : 0;
        file_list_free(&list);
    }
    if (r < 0 && r != -ENOENT)
        return err_set(b->err, r, "back up to %s", b->options->to);
    if (snprintf(b->partial, sizeof(b->partial), "%s.partial", b->options->to) >=
        (int)sizeof(b->partial))
        return err_set(b->err, -ENAMETOOLONG, "back up to %s", b->options->to);
    if (file_stat(b->partial, &st) == 0)
        return err_say(b->err, -EEXIST,
                       "%s is there, from a backup that was interrupted or that runs: remove it "
                       "when none runs",
                       b->partial);
    r = file_mkdirs(b->partial);
    return r < 0 ? err_set(b->err, r, "make %s", b->partial) : 0;
}

int backup_run(const struct backup_options *options, struct backup_result *result, struct err *err)
{
    struct backup b = {.options = options, .result = result, .err = err};
    int64_t began_ms = clock_mono_ms();
    int lock = -1, holder, r;

    *result = (struct backup_result){0};
    r = store_layout_read(&b.layout, options->root, options->log_dir, NULL, err);
    if (r < 0)
        return r;
    r = store_lock_holder(b.layout.root, &holder);
    if (r < 0)
        err_set(err, r, "look at the lock of %s", b.layout.root);
    result->running = r > 0;
    if (r >= 0)
        r = read_mark(&b);
    if (r == 0 && !result->running) { /* nobody shall begin meanwhile */
        lock = store_lock(b.layout.root, err);
        r = lock < 0 ? lock : 0;
    }
    if (r == 0)
        r = check_target(&b);
    if (r == 0) {
        r = copy_all(&b, began_ms);
        if (r == 0)
            r = settle(&b);
        if (r < 0)
            (void)file_remove_tree(b.partial, TREE_DEPTH);
    }
    store_unlock(lock);
    queue_ledger_destroy(&b.topics);
    store_layout_destroy(&b.layout);
    return r;
}
