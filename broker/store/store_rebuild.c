/* store_rebuild.c - see store_rebuild.h.
 *
 * What may be said of the log's durability is not changed by looking at it: tern/flushed stays
 * where it was. When it is lost, the snapshot of a clean stop still tells, since that was written
 * after the last sync.
 */
#include "broker/store/store_rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/store/log_segments.h"
#include "broker/store/queue_internal.h"
#include "broker/store/store_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

#define NEW_QUEUES "tern/queues.new"
#define OLD_QUEUES "tern/queues.old"
#define SNAPSHOT_MAX ((size_t)512 << 20)

struct rebuild {
    const struct store_rebuild *what;
    struct store_rebuilt *out;
    struct store *s;
    struct mark mark;
    struct mark_file mark_file;
    bool marked;
    bool was_clean; /* no `abort` */
    int64_t newest_ms;
    struct err *err;
};

static int fail(struct rebuild *b, int code, const char *what)
{
    return err_set(b->err, code, "%s of %s", what, b->s->root_dir);
}

/* --- what the folder claims --- */

/* The end that a clean stop wrote into tern/queues; 0 when it cannot be believed. */
static uint64_t snapshot_end(struct rebuild *b)
{
    struct queue_snapshot snapshot;
    struct buf in = {0};
    char path[PATH_MAX];
    uint64_t end = 0;

    if (b->was_clean && store_path(b->s, path, "tern/queues") == 0 &&
        file_load(path, SNAPSHOT_MAX, &in) == 0 &&
        queue_snapshot_parse(buf_bytes(&in), &snapshot) == 0)
        end = snapshot.log_end;
    buf_destroy(&in);
    return end;
}

static int read_claims(struct rebuild *b)
{
    char path[PATH_MAX];
    uint64_t end;
    int r = store_path(b->s, path, "abort");

    if (r == 0)
        r = abort_found(path);
    if (r < 0)
        return fail(b, r, "look for the abort file");
    b->was_clean = r == 0;
    r = store_path(b->s, path, "tern/flushed");
    if (r == 0)
        r = mark_open(&b->mark_file, path, &b->mark);
    if (r < 0)
        return fail(b, r, "read tern/flushed");
    b->marked = r == 0 && b->mark.flushed <= b->what->limit;
    if (b->marked)
        return 0;
    end = snapshot_end(b);
    b->marked = end > 0 && end <= b->what->limit;
    b->mark = (struct mark){.flushed = end, .crc_from = MARK_NO_CRC};
    /* A file without a valid slot is begun anew. */
    mark_close(&b->mark_file);
    r = file_unlink(path);
    return r < 0 && r != -ENOENT ? fail(b, r, "remove tern/flushed") : 0;
}

static int put_mark(struct rebuild *b)
{
    int r = b->marked ? mark_write(&b->mark_file, &b->mark) : 0;

    return r < 0 ? fail(b, r, "write tern/flushed") : 0;
}

/* From here on a start reads the whole log, whatever happens. */
static int leave_clean_state(struct rebuild *b)
{
    char path[PATH_MAX];
    int r = store_path(b->s, path, "abort");

    if (r == 0)
        r = abort_create(path);
    if (r == 0)
        r = store_path(b->s, path, "tern/queues");
    if (r == 0)
        r = file_unlink(path);
    if (r == 0)
        r = file_sync_parent(path);
    if (r < 0 && r != -ENOENT)
        return fail(b, r, "prepare the folder");
    if (b->what->cut && b->mark.flushed > b->what->cut_at)
        b->mark.flushed = b->what->cut_at;
    if (b->what->cut && b->mark.crc_from != MARK_NO_CRC && b->mark.crc_from > b->what->cut_at)
        b->mark.crc_from = b->what->cut_at;
    b->mark.queues_complete_to = b->what->min < b->mark.flushed ? b->what->min : b->mark.flushed;
    b->mark.clean = false;
    b->mark.tail_crc = 0;
    b->mark.queue_ends = 0;
    b->mark.log_min = MARK_NO_MIN;
    return put_mark(b);
}

/* --- the log --- */

static int cut_log(struct rebuild *b)
{
    struct log_segments *segments;
    char aside[PATH_MAX], name[64], spare[PATH_MAX];
    int r;

    if (!b->what->cut)
        return 0;
    r = store_path(b->s, spare, "tern");
    snprintf(name, sizeof(name), "tern/cut-%" PRIu64 "-%" PRId64, b->what->cut_at, clock_wall_ms());
    if (r == 0)
        r = store_path(b->s, aside, name);
    if (r < 0)
        return fail(b, r, "name a place for what is cut off");
    r = log_segments_open(&segments, b->s->commit_log_dir, spare, b->s->options.segment_bytes,
                          b->err);
    if (r < 0)
        return r;
    r = log_segments_cut(segments, b->what->cut_at, aside, true, b->err);
    log_segments_free(segments);
    return r;
}

/* A cut takes the segments behind it along. */
static uint64_t limit_now(const struct rebuild *b)
{
    uint64_t bytes = (uint64_t)b->s->options.segment_bytes;
    uint64_t end = (b->what->cut_at / bytes + 1) * bytes;

    return b->what->cut && end < b->what->limit ? end : b->what->limit;
}

/* --- queues --- */

static int make_table(struct rebuild *b, const char *dir)
{
    const struct store_options *o = &b->s->options;
    struct queue_table_options options = {
        .dir = dir,
        .file_bytes = o->queue_file_bytes,
        .memory_budget = o->queue_memory,
        .descriptors = o->queue_descriptors,
        .append_lock = &b->s->append_lock,
    };

    b->s->queues = queue_table_free(b->s->queues);
    store_forget_extents(b->s);
    return queue_table_new(&b->s->queues, &options, b->err);
}

static uint64_t queues_with_entries(const struct queue_table *t)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < t->count; i++)
        count += queue_state(t, i)->next > 0;
    return count;
}

static int make_queues(struct rebuild *b, const char *dir)
{
    struct store_replayed replayed;
    int r = file_remove_tree(dir, 2); /* left by one that was interrupted */

    if (r == 0)
        r = file_mkdirs(dir);
    if (r < 0)
        return fail(b, r, "make a place for new queues");
    r = make_table(b, dir);
    if (r == 0)
        r = store_replay(b->s, b->marked ? &b->mark : NULL, b->what->min, limit_now(b), &replayed,
                         b->err);
    if (r < 0)
        return r;
    b->out->end = replayed.end;
    b->out->why = replayed.why;
    b->out->records = replayed.records;
    b->out->nameless = replayed.nameless;
    b->out->damaged = atomic_load(&b->s->damage.places);
    b->newest_ms = replayed.newest_ms;
    b->out->queues = queues_with_entries(b->s->queues);
    r = queue_write_everything(b->s->queues);
    return r < 0 ? fail(b, r, "write the queues") : 0;
}

/* --- queues of which the log has no record --- */

static int keep_file(const char *from, const char *to, const char *name)
{
    char old[PATH_MAX], new[PATH_MAX];

    if (snprintf(old, sizeof(old), "%s/%s", from, name) >= (int)sizeof(old) ||
        snprintf(new, sizeof(new), "%s/%s", to, name) >= (int)sizeof(new))
        return -ENAMETOOLONG;
    return link(old, new) < 0 ? -errno : 0;
}

/* One queue's folder; files with a wrong name or size stay where they are. */
static int keep_queue(struct rebuild *b, const char *from, const char *to)
{
    char path[PATH_MAX];
    struct file_list files;
    struct stat st;
    int64_t byte;
    int r = file_list(from, &files);

    if (r < 0)
        return r == -ENOTDIR ? 0 : r;
    if (files.count > 0)
        r = file_mkdirs(to);
    for (size_t i = 0; i < files.count && r == 0; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", from, files.names[i]) < (int)sizeof(path) &&
            queue_file_name_parse(files.names[i], b->s->options.queue_file_bytes, &byte) &&
            file_stat(path, &st) == 0 && st.st_size == b->s->options.queue_file_bytes)
            r = keep_file(from, to, files.names[i]);
    }
    b->out->kept_queues += files.count > 0;
    file_list_free(&files);
    return r;
}

static int keep_topic(struct rebuild *b, const char *old, const char *new, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct file_list ids;
    struct stat st;
    int32_t id;
    int r;

    if (!topic_name_ok(bytes_str(name)) || !metadata_topic(b->s->metadata, bytes_str(name), NULL))
        return 0;
    if (snprintf(from, sizeof(from), "%s/%s", old, name) >= (int)sizeof(from))
        return -ENAMETOOLONG;
    r = file_list(from, &ids);
    if (r < 0)
        return r == -ENOTDIR ? 0 : r;
    for (size_t i = 0; i < ids.count && r == 0; i++) {
        if (!queue_id_parse(ids.names[i], &id))
            continue;
        if (snprintf(from, sizeof(from), "%s/%s/%d", old, name, id) >= (int)sizeof(from) ||
            snprintf(to, sizeof(to), "%s/%s/%d", new, name, id) >= (int)sizeof(to))
            r = -ENAMETOOLONG;
        else if (file_stat(to, &st) == -ENOENT)
            r = keep_queue(b, from, to);
    }
    file_list_free(&ids);
    return r;
}

static int keep_others(struct rebuild *b, const char *old, const char *new)
{
    struct file_list topics;
    int r = file_list(old, &topics);

    if (r == -ENOENT)
        return 0;
    for (size_t i = 0; r == 0 && i < topics.count; i++)
        r = keep_topic(b, old, new, topics.names[i]);
    if (r >= 0)
        file_list_free(&topics);
    return r < 0 ? fail(b, r, "keep queues without records") : 0;
}

/* --- the step --- */

static int sync_root(struct rebuild *b)
{
    int fd = file_open(b->s->root_dir, O_RDONLY | O_DIRECTORY, 0), r;

    if (fd < 0)
        return fail(b, fd, "open the folder");
    r = file_syncfs(fd);
    (void)file_close(fd);
    return r < 0 ? fail(b, r, "sync the file system") : 0;
}

/* The two folders change places; where the file system cannot do that, by two renames, and should a
 * crash come between them, the next repair takes the old ones back first. */
static int exchange(const char *new, const char *now, const char *old)
{
    int r;

    if (renameat2(AT_FDCWD, new, AT_FDCWD, now, RENAME_EXCHANGE) == 0)
        return file_rename(new, old);
    if (errno != EINVAL && errno != ENOSYS && errno != ENOENT)
        return -errno;
    r = file_rename(now, old);
    return r == 0 || r == -ENOENT ? file_rename(new, now) : r;
}

static int take_place(struct rebuild *b, const char *new, const char *now, const char *old)
{
    int r = file_remove_tree(old, 2);

    if (r == 0)
        r = exchange(new, now, old);
    if (r < 0)
        return fail(b, r, "put the new queues in place");
    r = sync_root(b);
    if (r < 0)
        return r;
    r = file_remove_tree(old, 2);
    return r < 0 ? fail(b, r, "remove the old queues") : 0;
}

/* --- marks --- */

static struct topic *make_no_topic(void *ctx, struct bytes name, int32_t queue_id)
{
    (void)ctx;
    (void)name;
    (void)queue_id;
    return NULL;
}

static int64_t index_ms(struct rebuild *b, const char *path)
{
    int64_t ms = 0;

    (void)b;
    return checkpoint_index_ms(path, &ms) < 0 ? 0 : ms;
}

/* Everything is in its place and on the disk: may the folder say that it was stopped cleanly? */
static int state_clean(struct rebuild *b)
{
    char path[PATH_MAX];
    bool ends_there;
    int r;

    r = store_tail_look(b->s, limit_now(b), b->out->end, &b->mark.tail_crc, &ends_there);
    if (r < 0)
        return fail(b, r, "read the end of the log");
    b->out->clean = ends_there && b->marked && b->mark.flushed == b->out->end;
    b->mark.queues_complete_to = b->out->end < b->mark.flushed ? b->out->end : b->mark.flushed;
    b->mark.store_ms = b->newest_ms > b->mark.store_ms ? b->newest_ms : b->mark.store_ms;
    if (b->out->clean) {
        struct queue_digest digest = queue_table_digest(b->s->queues, b->out->end);
        b->mark.queue_ends = digest.ends;
        b->mark.queue_mins = digest.mins;
        b->mark.log_min = b->what->min;
        b->mark.clean = true;
        r = store_path(b->s, path, "tern/queues");
        if (r == 0)
            r = queue_table_snapshot_save(b->s->queues, path, b->out->end);
        if (r < 0)
            return fail(b, r, "write tern/queues");
    } else {
        b->mark.tail_crc = 0;
    }
    return put_mark(b);
}

static int write_state(struct rebuild *b, const char *dir)
{
    char path[PATH_MAX];
    int64_t ms;
    int r = make_table(b, dir);

    if (r == 0)
        r = queue_table_load(b->s->queues, b->s->metadata, b->what->min, b->out->end, make_no_topic,
                             NULL, b->err);
    if (r == 0)
        r = state_clean(b);
    if (r < 0)
        return r;
    /* Without a mark of ours the folder is RocketMQ's: `abort` alone says how it was stopped. */
    ms = b->out->clean || (!b->marked && b->was_clean) ? b->newest_ms : 0;
    r = store_path(b->s, path, "checkpoint");
    if (r == 0)
        r = checkpoint_write(path, ms, ms, index_ms(b, path));
    if (r < 0)
        return fail(b, r, "write the checkpoint");
    if (!b->out->clean && (b->marked || !b->was_clean))
        return 0;
    r = store_path(b->s, path, "abort");
    if (r == 0)
        r = abort_remove(path);
    return r < 0 ? fail(b, r, "remove the abort file") : 0;
}

/* --- all of it --- */

static int rebuild(struct rebuild *b)
{
    char new[PATH_MAX], now[PATH_MAX], old[PATH_MAX];
    struct stat st;
    int r = store_path(b->s, new, NEW_QUEUES);

    if (r == 0)
        r = store_path(b->s, old, OLD_QUEUES);
    if (r == 0)
        r = store_path(b->s, now, "consumequeue");
    if (r < 0)
        return fail(b, r, "name the queues");
    /* A crash was between the two renames. */
    if (file_stat(now, &st) == -ENOENT && file_stat(old, &st) == 0)
        r = file_rename(old, now);
    if (r < 0)
        return fail(b, r, "take back the queues");
    r = read_claims(b);
    if (r == 0)
        r = leave_clean_state(b);
    if (r == 0)
        r = cut_log(b);
    if (r == 0)
        r = make_queues(b, new);
    if (r == 0)
        r = keep_others(b, now, new);
    if (r == 0)
        r = sync_root(b);
    if (r == 0)
        r = take_place(b, new, now, old);
    if (r == 0 && metadata_limit_floors(b->s->metadata, b->out->end) < 0)
        log_warn("store %s: the metadata journal could not be written", b->s->root_dir);
    if (r == 0)
        r = write_state(b, now);
    b->out->marked = b->marked;
    b->out->flushed = b->mark.flushed;
    return r;
}

int store_rebuild(const struct store_rebuild *what, struct store_rebuilt *out, struct err *err)
{
    struct rebuild b = {.what = what, .out = out, .err = err, .mark_file.fd = -1};
    char path[PATH_MAX];
    int r = store_make(&b.s, &what->store, err);

    *out = (struct store_rebuilt){.why = ""};
    if (r < 0)
        return r;
    r = store_path(b.s, path, "tern");
    if (r == 0)
        r = file_mkdir(path);
    if (r < 0)
        err_set(err, r, "make %s", path);
    else
        r = rebuild(&b);
    mark_close(&b.mark_file);
    store_free(b.s);
    return r;
}
