/* repair.c - see repair.h. */
#include "tools/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/metadata_look.h"
#include "common/file.h"
#include "tools/log_walk.h"

#define FILE_MAX ((size_t)1 << 30)
#define QUEUE_MEMORY ((size_t)256 << 20)

struct repairing {
    const struct repair *what;
    struct findings *findings;
    struct store_layout layout;
    struct metadata *metadata;
    struct err *err;
    /* of the journal */
    bool has_journal, damaged;
    uint8_t hashes[METADATA_EXPORTS][METADATA_HASHES * METADATA_HASH_BYTES];
    bool has_hashes[METADATA_EXPORTS];
};

static void note(struct repairing *r, const char *text)
{
    if (r->what->note)
        r->what->note(r->what->ctx, text);
}

/* --- where the log may end --- */

int repair_check_cut(const struct store_layout *layout, uint64_t at, struct err *err)
{
    uint64_t min = store_layout_min(layout), limit = store_layout_limit(layout);
    struct mark all = {.flushed = limit,
                       .crc_from = MARK_NO_CRC}; /* so that damage is stepped over */
    struct log_walk w;
    struct record record;
    uint64_t near;
    int what = LOG_WALK_RECORD;

    if (layout->count == 0 || at < min || at > limit)
        return err_say(err, -EINVAL,
                       "--truncate-at %" PRIu64 ": the log has %" PRIu64 " to %" PRIu64, at, min,
                       limit);
    if (at == min || at == limit)
        return 0;
    log_walk_init(&w, layout, &all, at - at % layout->segment_bytes, limit);
    near = w.at;
    while (what != LOG_WALK_END && what >= 0 && w.at < at) {
        near = w.at;
        what = log_walk_next(&w, &record);
        if (what == LOG_WALK_DAMAGE && w.from <= at && at < w.to)
            break; /* within damage, or right before it */
    }
    what = w.at == at || (what == LOG_WALK_DAMAGE && w.from == at) ? 0 : -EINVAL;
    log_walk_destroy(&w);
    if (what < 0)
        return err_say(err, what,
                       "--truncate-at %" PRIu64
                       ": no record begins or ends there; the last before begins at %" PRIu64,
                       at, near);
    return 0;
}

/* --- metadata --- */

static int take_record(void *ctx, const struct metadata_record *m)
{
    struct repairing *r = ctx;

    /* In the order in which they count. */
    if (m->kind == METADATA_EXPORT_HASH) {
        r->has_hashes[m->hash.file] = true;
        memcpy(r->hashes[m->hash.file], m->hash.hashes.at, sizeof(r->hashes[0]));
    }
    return 0;
}

static void take_problem(void *ctx, const char *path, int64_t at, bool torn, const char *text)
{
    struct repairing *r = ctx;

    (void)path;
    (void)at;
    (void)text;
    r->damaged |= !torn;
}

static int verdict_of(struct repairing *r, enum metadata_export file, const char *path,
                      enum metadata_verdict *verdict)
{
    struct bytes hashes =
        r->has_hashes[file] ? bytes_of(r->hashes[file], sizeof(r->hashes[0])) : bytes_of(NULL, 0);
    struct buf content = {0};
    struct err wrong;
    int code = file_load(path, FILE_MAX, &content);

    *verdict = METADATA_BLANK;
    if (code == 0)
        code = metadata_look_export(file, buf_bytes(&content), hashes, verdict, &wrong);
    buf_destroy(&content);
    return code == -ENOENT ? 0 : code;
}

/* The journal has what a broken export had; with a good .bak a start helps itself. */
static int put_aside(struct repairing *r, enum metadata_export file)
{
    char name[96], path[PATH_MAX], bak[PATH_MAX], aside[PATH_MAX], text[320];
    enum metadata_verdict verdict, backup;
    int code;

    snprintf(name, sizeof(name), "config/%s", metadata_export_name(file));
    if (!store_layout_path(&r->layout, name, path) ||
        snprintf(bak, sizeof(bak), "%s.bak", path) >= (int)sizeof(bak) ||
        snprintf(aside, sizeof(aside), "%s.broken", path) >= (int)sizeof(aside))
        return err_set(r->err, -ENAMETOOLONG, "look at %s", name);
    code = verdict_of(r, file, path, &verdict);
    if (code == 0)
        code = verdict_of(r, file, bak, &backup);
    if (code < 0)
        return err_set(r->err, code, "read %s", path);
    if (backup == METADATA_BROKEN) {
        char bak_aside[PATH_MAX];
        snprintf(bak_aside, sizeof(bak_aside), "%.*s.bak.broken", PATH_MAX - 16, path);
        code = file_rename(bak, bak_aside);
    }
    if (code == 0 && verdict == METADATA_BROKEN && backup != METADATA_OURS &&
        backup != METADATA_FOREIGN && r->has_hashes[file]) {
        code = file_rename(path, aside);
        snprintf(text, sizeof(text),
                 "%s could not be read and is now %s.broken; the journal has its content", name,
                 name);
        if (code == 0)
            note(r, text);
    }
    return code < 0 ? err_set(r->err, code, "rename %s", path) : 0;
}

static int open_metadata(struct repairing *r)
{
    struct metadata_look look = {take_record, take_problem, r};
    struct metadata_options options = {.root_dir = r->layout.root};
    char dir[PATH_MAX];
    int code;

    if (!store_layout_path(&r->layout, "tern/meta", dir))
        return err_set(r->err, -ENAMETOOLONG, "open %s/tern/meta", r->layout.root);
    code = metadata_look_journal(dir, &look, r->err);
    if (code < 0)
        return code;
    for (int file = 0; file < METADATA_EXPORTS && code >= 0; file++)
        code = put_aside(r, file);
    if (code < 0)
        return code;
    code = metadata_open(&r->metadata, &options, r->err);
    if (code < 0)
        return code;
    code = metadata_settle(r->metadata);
    if (code < 0)
        return err_set(r->err, code, "write %s", dir);
    if (r->damaged)
        note(r,
             "tern/meta had damage: it was begun anew with what could be read, the damaged files "
             "are kept as *.damaged");
    return 0;
}

/* --- the key index --- */

/* tern/index goes first: without it nobody believes what is left of the files. */
static int drop_index(struct repairing *r)
{
    char path[PATH_MAX], dir[PATH_MAX], text[96];
    struct file_list list;
    uint64_t dropped = 0;
    int64_t number;
    int code;

    if (!store_layout_path(&r->layout, "tern/index", path) ||
        !store_layout_path(&r->layout, "index", dir))
        return err_set(r->err, -ENAMETOOLONG, "remove the index");
    code = file_unlink(path);
    if (code == 0)
        code = file_sync_parent(path);
    if (code < 0 && code != -ENOENT)
        return err_set(r->err, code, "remove %s", path);
    code = file_list(dir, &list);
    if (code < 0)
        return code == -ENOENT ? 0 : err_set(r->err, code, "read %s", dir);
    for (size_t i = 0; i < list.count && code == 0; i++) {
        if (!bytes_to_i64(bytes_str(list.names[i]), &number) ||
            snprintf(path, sizeof(path), "%s/%s", dir, list.names[i]) >= (int)sizeof(path))
            continue;
        code = file_unlink(path);
        dropped += code == 0;
    }
    file_list_free(&list);
    if (code < 0)
        return err_set(r->err, code, "remove %s", path);
    snprintf(text, sizeof(text),
             "%" PRIu64 " index files removed: the broker makes the key index anew while it runs",
             dropped);
    note(r, text);
    return 0;
}

/* --- all of it --- */

static int rebuild(struct repairing *r, struct store_rebuilt *out)
{
    const struct repair *what = r->what;
    int64_t queue_bytes =
        r->layout.queue_file_bytes ? r->layout.queue_file_bytes : what->queue_file_bytes;
    struct store_rebuild request = {
        .store =
            {
                .root_dir = r->layout.root,
                .commit_log_dir = what->log_dir,
                .segment_bytes = (int64_t)r->layout.segment_bytes,
                .queue_file_bytes = queue_bytes - queue_bytes % QUEUE_ENTRY_BYTES,
                .flush_interval_ms = 1000,
                .message_max = 4 << 20,
                .queue_memory = QUEUE_MEMORY,
                .queue_descriptors = 256,
                .reader_threads = 1,
                .locked = true,
                .metadata = r->metadata,
                .delay_levels = what->delay_levels,
            },
        .min = store_layout_min(&r->layout),
        .limit = store_layout_limit(&r->layout),
        .cut = what->cut,
        .cut_at = what->cut_at,
    };

    memcpy(request.store.delay_ms, what->delay_ms, sizeof(request.store.delay_ms));
    return store_rebuild(&request, out, r->err);
}

static int repair_locked(struct repairing *r, struct store_rebuilt *out)
{
    uint64_t problems = r->findings->problems;
    int code = store_layout_read(&r->layout, r->what->root, r->what->log_dir, r->findings, r->err);
    int closed;

    if (code < 0)
        return code;
    if (r->findings->problems > problems)
        return err_say(
            r->err, -EBADMSG,
            "the files of the log are not in order, which is not repaired here: put them "
            "right first");
    if (r->layout.count == 0)
        return err_say(r->err, -ENODATA, "%s has no segments: there is nothing to repair from",
                       r->layout.log_dir);
    if (r->what->cut)
        code = repair_check_cut(&r->layout, r->what->cut_at, r->err);
    if (code == 0)
        code = open_metadata(r);
    if (code == 0)
        code = rebuild(r, out);
    if (code == 0 && r->what->drop_index)
        code = drop_index(r);
    closed = metadata_close(r->metadata);
    if (code == 0 && closed < 0)
        code = err_set(r->err, closed, "write the metadata of %s", r->layout.root);
    return code;
}

int repair_run(const struct repair *what, struct findings *findings, struct store_rebuilt *out,
               struct err *err)
{
    struct repairing *r = calloc(1, sizeof(*r));
    struct stat st;
    int lock, code;

    if (!r)
        return err_set(err, -ENOMEM, "repair %s", what->root);
    *r = (struct repairing){.what = what, .findings = findings, .err = err};
    *out = (struct store_rebuilt){.why = ""};
    code = file_stat(what->root, &st);
    lock = code < 0 ? code : store_lock(what->root, err);
    if (code < 0)
        err_set(err, code, "open %s", what->root);
    if (lock < 0) {
        free(r);
        return lock == -EAGAIN ? -EBUSY : lock;
    }
    code = repair_locked(r, out);
    store_unlock(lock);
    store_layout_destroy(&r->layout);
    free(r);
    return code;
}
