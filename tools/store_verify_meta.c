/* store_verify_meta.c - the metadata journal, and RocketMQ's files under config/. */
#include "tools/store_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/store/metadata_look.h"
#include "common/file.h"
#include "common/json.h"

enum { LOOKS_MAX = 5 };
#define FILE_MAX ((size_t)1 << 30)

/* --- the journal --- */

static void say_problem(void *ctx, const char *path, int64_t at, bool torn, const char *text)
{
    struct store_verify *v = ctx;
    size_t root = strlen(v->layout.root);

    if (strncmp(path, v->layout.root, root) == 0 && path[root] == '/')
        path += root + 1;
    if (torn && v->unclean)
        store_verify_note(v, path, at, "%s; the next start removes it", text);
    else
        store_verify_problem(v, path, at, "%s", text);
}

static int take_topic(struct store_verify *v, const struct metadata_record *r)
{
    struct ledger_topic *topic;
    int code = queue_ledger_topic(&v->ledger, r->topic.name, true, &topic);

    if (code < 0)
        return err_set(v->err, code, "remember topic %.*s", (int)r->topic.name.len,
                       (const char *)r->topic.name.at);
    /* Records come in the order in which they count; a floor only rises. */
    topic->known = r->kind == METADATA_TOPIC_PUT;
    topic->deleted = !topic->known;
    if (r->topic.log_floor > topic->floor)
        topic->floor = r->topic.log_floor;
    return 0;
}

static int take_record(void *ctx, const struct metadata_record *r)
{
    struct store_verify *v = ctx;

    switch (r->kind) {
    case METADATA_TOPIC_PUT:
    case METADATA_TOPIC_DELETE:
        return take_topic(v, r);
    case METADATA_EXPORT_HASH:
        if (v->has_hashes[r->hash.file] && metadata_at_before(r->at, v->hashes_at[r->hash.file]))
            return 0;
        v->has_hashes[r->hash.file] = true;
        v->hashes_at[r->hash.file] = r->at;
        memcpy(v->hashes[r->hash.file], r->hash.hashes.at, sizeof(v->hashes[0]));
        return 0;
    default:
        return 0;
    }
}

static int check_journal(struct store_verify *v)
{
    struct metadata_look look = {take_record, say_problem, v};
    char dir[PATH_MAX];
    int r = METADATA_LOOK_MOVED;

    if (!store_layout_path(&v->layout, "tern/meta", dir))
        return err_set(v->err, -ENAMETOOLONG, "read %s/tern/meta", v->layout.root);
    for (int i = 0; i < LOOKS_MAX && r == METADATA_LOOK_MOVED; i++)
        r = metadata_look_journal(dir, &look, v->err);
    if (r == METADATA_LOOK_MOVED)
        store_verify_problem(v, "tern/meta", -1, "its files change faster than they can be read");
    v->has_meta = r == 0;
    return r < 0 ? r : 0;
}

/* --- config/ --- */

/* 1: there and good or blank; 0: not there; 2: broken. */
static int check_export(struct store_verify *v, enum metadata_export file, const char *suffix,
                        enum metadata_verdict *verdict, struct err *wrong, struct buf *content)
{
    char name[PATH_MAX], path[PATH_MAX];
    struct bytes hashes = v->has_hashes[file] ? bytes_of(v->hashes[file], sizeof(v->hashes[file]))
                                              : bytes_of(NULL, 0);
    int r;

    snprintf(name, sizeof(name), "config/%s%s", metadata_export_name(file), suffix);
    if (!store_layout_path(&v->layout, name, path))
        return err_set(v->err, -ENAMETOOLONG, "read %s", name);
    buf_reset(content);
    r = file_load(path, FILE_MAX, content);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        store_verify_problem(v, name, -1, "cannot be read: %s", strerror(-r));
        *verdict = METADATA_BLANK;
        return 1;
    }
    *wrong = (struct err){0};
    r = metadata_look_export(file, buf_bytes(content), hashes, verdict, wrong);
    if (r < 0)
        return err_set(v->err, r, "read %s", path);
    return *verdict == METADATA_BROKEN ? 2 : 1;
}

static int check_exports(struct store_verify *v, enum metadata_export file, struct buf *content)
{
    enum metadata_verdict verdict = METADATA_BLANK, backup = METADATA_BLANK;
    struct err wrong, ignored;
    char name[64];
    int r = check_export(v, file, "", &verdict, &wrong, content), b;

    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "config/%s", metadata_export_name(file));
    b = check_export(v, file, ".bak", &backup, &ignored, content);
    if (b < 0)
        return b;
    if (r == 2 && b == 1 && backup != METADATA_BLANK)
        store_verify_problem(v, name, -1, "%s; the next start uses %s.bak", wrong.text, name);
    else if (r == 2)
        store_verify_problem(v, name, -1,
                             "%s; there is no good copy of it, so that the broker does not start "
                             "before it is restored or removed",
                             wrong.text);
    else if (r == 1 && verdict == METADATA_FOREIGN && v->has_meta)
        store_verify_note(v, name, -1,
                          "is not as this broker wrote it: what it says wins at the next start");
    else if (r == 1 && verdict == METADATA_BLANK)
        store_verify_note(v, name, -1, "is empty and is not used");
    snprintf(name, sizeof(name), "config/%s.bak", metadata_export_name(file));
    if (b == 2)
        store_verify_problem(v, name, -1, "%s", ignored.text);
    else if (b == 1 && backup == METADATA_FOREIGN && v->has_meta)
        store_verify_note(v, name, -1, "is not as this broker wrote it");
    return 0;
}

static bool is_export(const char *name)
{
    for (int file = 0; file < METADATA_EXPORTS; file++) {
        if (strcmp(name, metadata_export_name(file)) == 0)
            return true;
    }
    return false;
}

/* What RocketMQ keeps there beyond what this broker reads. */
static int check_others(struct store_verify *v, struct buf *content)
{
    char dir[PATH_MAX], path[PATH_MAX], shown[PATH_MAX];
    struct file_list list;
    int r;

    if (!store_layout_path(&v->layout, "config", dir))
        return 0;
    r = file_list(dir, &list);
    if (r < 0)
        return r == -ENOENT ? 0 : err_set(v->err, r, "read %s", dir);
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.names[i];
        size_t len = strlen(name);
        struct err wrong = {0};
        json_t *root;

        if (len < 6 || strcmp(name + len - 5, ".json") != 0 || is_export(name) ||
            snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
            continue;
        buf_reset(content);
        if (file_load(path, FILE_MAX, content) < 0 || content->len == 0)
            continue;
        root = json_dialect_load(buf_bytes(content), &wrong);
        snprintf(shown, sizeof(shown), "config/%.200s", name);
        if (!root)
            store_verify_note(v, shown, -1, "%s (this broker does not read the file)", wrong.text);
        json_decref(root);
    }
    file_list_free(&list);
    return 0;
}

/* Without a journal, the topics that RocketMQ knows. */
static int take_topics_json(struct store_verify *v, struct buf *content)
{
    char path[PATH_MAX];
    struct err wrong;
    const char *key;
    json_t *root, *value;
    int r;

    if (!store_layout_path(&v->layout, "config/topics.json", path))
        return 0;
    buf_reset(content);
    r = file_load(path, FILE_MAX, content);
    root = r == 0 ? json_dialect_load(buf_bytes(content), &wrong) : NULL;
    if (!root)
        return 0;
    v->has_topics = true;
    r = 0;
    json_object_foreach(json_object_get(root, "topicConfigTable"), key, value)
    {
        struct ledger_topic *topic;

        if (r < 0 || !topic_name_ok(bytes_str(key)))
            continue;
        r = queue_ledger_topic(&v->ledger, bytes_str(key), true, &topic);
        if (r == 0)
            topic->known = true;
    }
    json_decref(root);
    return r < 0 ? err_set(v->err, r, "remember the topics of %s", path) : 0;
}

int store_verify_meta(struct store_verify *v)
{
    struct buf content = {0};
    int r = check_journal(v);

    for (int file = 0; file < METADATA_EXPORTS && r == 0; file++)
        r = check_exports(v, file, &content);
    if (r == 0)
        r = check_others(v, &content);
    if (r == 0 && !v->has_meta)
        r = take_topics_json(v, &content);
    buf_destroy(&content);
    return r;
}
