/* backup_meta.c - topics, groups, offsets: the metadata journal and its exports.
 *
 * The exports are copied before the journal: a content's hash is journalled before the file is
 * replaced, so the copied journal knows what was copied. A file of which it does not is left out
 * while a broker runs: that broker does not read it either, and the journal has all of it.
 */
#include "tools/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/store/metadata_journal.h"
#include "broker/store/metadata_look.h"
#include "common/file.h"

enum { TRIES = 5 };
#define FILE_MAX ((size_t)1 << 30)

struct looked {
    struct backup *b;
    struct queue_ledger *topics;
    uint8_t hashes[METADATA_EXPORTS][METADATA_HASHES * METADATA_HASH_BYTES];
    struct metadata_at hashes_at[METADATA_EXPORTS];
    bool has_hashes[METADATA_EXPORTS];
    bool bad; /* something cannot be read */
    char what[PATH_MAX + 160];
};

static int take_record(void *ctx, const struct metadata_record *r)
{
    struct looked *l = ctx;
    struct ledger_topic *topic;
    int code;

    if (r->kind == METADATA_EXPORT_HASH &&
        !(l->has_hashes[r->hash.file] && metadata_at_before(r->at, l->hashes_at[r->hash.file]))) {
        l->has_hashes[r->hash.file] = true;
        l->hashes_at[r->hash.file] = r->at;
        memcpy(l->hashes[r->hash.file], r->hash.hashes.at, sizeof(l->hashes[0]));
    }
    if (r->kind != METADATA_TOPIC_PUT && r->kind != METADATA_TOPIC_DELETE)
        return 0;
    code = queue_ledger_topic(l->topics, r->topic.name, true, &topic);
    if (code < 0)
        return err_set(l->b->err, code, "remember the topics");
    topic->known = r->kind == METADATA_TOPIC_PUT;
    if (r->topic.log_floor > topic->floor)
        topic->floor = r->topic.log_floor;
    return 0;
}

static void take_problem(void *ctx, const char *path, int64_t at, bool torn, const char *text)
{
    struct looked *l = ctx;

    if (torn || l->bad) /* the end of what was copied while it was written */
        return;
    l->bad = true;
    snprintf(l->what, sizeof(l->what), "%s at byte %" PRId64 ": %s", path, at, text);
}

static int look(struct looked *l, const char *dir)
{
    struct metadata_look look = {take_record, take_problem, l};

    return metadata_look_journal(dir, &look, l->b->err);
}

/* --- the journal --- */

/* Files of a generation that is over go away: -ENOENT, and all of it is tried again. */
static int copy_journal(struct backup *b)
{
    char dir[PATH_MAX], to[PATH_MAX], name[PATH_MAX];
    struct file_list list;
    int r = backup_paths(b, "tern/meta", dir, to);

    if (r == 0)
        r = file_list(dir, &list);
    if (r == -ENOENT)
        return err_say(b->err, -ENODATA, "%s is missing: there is nothing that knows the topics",
                       dir);
    if (r < 0)
        return err_set(b->err, r, "read %s", dir);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        if (metadata_generation_of(list.names[i], "journal") == 0 &&
            metadata_generation_of(list.names[i], "snapshot") == 0)
            continue;
        snprintf(name, sizeof(name), "tern/meta/%s", list.names[i]);
        r = backup_copy(b, name, false, -1);
    }
    file_list_free(&list);
    return r;
}

static int empty_folder(struct backup *b, const char *name)
{
    char from[PATH_MAX], dir[PATH_MAX], path[PATH_MAX];
    struct file_list list;
    int r = backup_paths(b, name, from, dir);

    if (r == 0)
        r = file_list(dir, &list);
    if (r < 0)
        return err_set(b->err, r, "read %s", dir);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", dir, list.names[i]) < (int)sizeof(path))
            r = file_unlink(path);
    }
    file_list_free(&list);
    return r < 0 ? err_set(b->err, r, "empty %s", dir) : 0;
}

/* --- exports --- */

static int copy_config(struct backup *b)
{
    char dir[PATH_MAX], to[PATH_MAX], name[PATH_MAX];
    struct file_list list;
    int r = backup_paths(b, "config", dir, to);

    if (r == 0)
        r = file_list(dir, &list);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(b->err, r, "read %s", dir);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        size_t len = strlen(list.names[i]);

        if (len > 4 && strcmp(list.names[i] + len - 4, ".tmp") == 0)
            continue;
        snprintf(name, sizeof(name), "config/%s", list.names[i]);
        r = backup_copy(b, name, false, -1);
        if (r == -ENOENT || r == -EINVAL) /* replaced meanwhile; a folder */
            r = 0;
    }
    file_list_free(&list);
    return r;
}

/* 1 when the copied file may stay. */
static int export_ok(struct backup *b, struct looked *l, enum metadata_export file,
                     const char *path, struct buf *content)
{
    struct bytes hashes =
        l->has_hashes[file] ? bytes_of(l->hashes[file], sizeof(l->hashes[0])) : bytes_of(NULL, 0);
    enum metadata_verdict verdict;
    struct err wrong;
    int r;

    buf_reset(content);
    r = file_load(path, FILE_MAX, content);
    if (r == -ENOENT)
        return 1;
    if (r == 0)
        r = metadata_look_export(file, buf_bytes(content), hashes, &verdict, &wrong);
    if (r < 0)
        return err_set(b->err, r, "read %s", path);
    return verdict == METADATA_OURS || verdict == METADATA_BLANK || !b->result->running;
}

/* 1: all are known to the journal; 0: some were not, and were removed. */
static int check_exports(struct backup *b, struct looked *l)
{
    static const char *const suffixes[] = {"", ".bak"};
    char name[64], from[PATH_MAX], path[PATH_MAX];
    struct buf content = {0};
    int all = 1, r = 0;

    for (int i = 0; i < 2 * METADATA_EXPORTS && r >= 0; i++) {
        snprintf(name, sizeof(name), "config/%s%s", metadata_export_name(i / 2), suffixes[i % 2]);
        r = backup_paths(b, name, from, path);
        if (r == 0)
            r = export_ok(b, l, i / 2, path, &content);
        if (r == 0) {
            all = 0;
            r = file_unlink(path);
            if (r < 0)
                err_set(b->err, r, "remove %s", path);
        }
    }
    buf_destroy(&content);
    return r < 0 ? r : all;
}

/* --- all of it --- */

/* 0 done; 1 try again; -errno. */
static int copy_once(struct backup *b, struct looked *l, bool last)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = copy_config(b);

    if (r == 0)
        r = copy_journal(b);
    if (r == -ENOENT || r == -ESTALE)
        return last ? err_say(b->err, -EAGAIN,
                              "the metadata of %s changes faster than it can be copied: try again",
                              b->layout.root)
                    : 1;
    if (r < 0)
        return r;
    r = backup_paths(b, "tern/meta", from, to);
    if (r == 0)
        r = look(l, to);
    if (r < 0)
        return r;
    /* What the look finds is in the files, or was being written as they were copied. */
    if (r > 0 || l->bad)
        return last ? err_say(b->err, -EBADMSG, "the metadata of %s cannot be copied: %.300s",
                              b->layout.root, l->bad ? l->what : "it is incomplete")
                    : 1;
    r = check_exports(b, l);
    if (r < 0)
        return r;
    return r == 1 || last ? 0 : 1;
}

int backup_metadata(struct backup *b)
{
    struct looked l = {.b = b};
    int r = backup_mkdir(b, "config");

    if (r == 0)
        r = backup_mkdir(b, "tern/meta");
    if (r < 0)
        return r;
    for (int i = 1; i <= TRIES; i++) {
        queue_ledger_destroy(&b->topics);
        queue_ledger_init(&b->topics, 0x7465726e);
        l = (struct looked){.b = b, .topics = &b->topics};
        r = copy_once(b, &l, i == TRIES);
        if (r <= 0)
            return r;
        r = empty_folder(b, "tern/meta");
        if (r == 0)
            r = empty_folder(b, "config");
        if (r < 0)
            return r;
    }
    return 0;
}

int backup_topics_moved(struct backup *b)
{
    struct queue_ledger now;
    struct looked l = {.b = b, .topics = &now};
    char dir[PATH_MAX], to[PATH_MAX];
    int r = METADATA_LOOK_MOVED, moved = 0;

    if (backup_paths(b, "tern/meta", dir, to) < 0)
        return -ENAMETOOLONG;
    queue_ledger_init(&now, 0x7465726e);
    for (int i = 0; i < TRIES && r == METADATA_LOOK_MOVED; i++)
        r = look(&l, dir);
    if (r != 0)
        moved = r < 0 ? r : 1; /* nobody knows */
    for (uint32_t i = 0; i < b->topics.topic_count && moved == 0; i++) {
        const struct ledger_topic *before = b->topics.topics[i];
        struct ledger_topic *after;

        if (before->known && (queue_ledger_topic(&now, bytes_of(before->name, before->name_len),
                                                 false, &after) < 0 ||
                              !after->known || after->floor != before->floor))
            moved = 1;
    }
    queue_ledger_destroy(&now);
    return moved;
}
