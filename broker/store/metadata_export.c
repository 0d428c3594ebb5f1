/* metadata_export.c - RocketMQ's JSON files: whose they are, taking in foreign ones, writing ours.
 *
 * A file is ours when the SHA-256 of its content is one that the journal knows. The journal gets
 * the hash of a new content before the file does, and keeps those before it: whichever content a
 * crash leaves in the file or in its .bak, it is known. A file that was taken in becomes ours the
 * same way, once everything in it is durable.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"

#define FILE_MAX ((size_t)1 << 30)

static const char *const entry_names[METADATA_EXPORTS] = {
    [METADATA_EXPORT_TOPICS] = "topics",
    [METADATA_EXPORT_GROUPS] = "groups",
    [METADATA_EXPORT_OFFSETS] = "offsets",
    [METADATA_EXPORT_DELAYS] = "delay levels",
};

static int path_of(const struct metadata *m, char to[PATH_MAX], enum metadata_export file,
                   const char *suffix)
{
    int n = snprintf(to, PATH_MAX, "%s/%s%s", m->config_dir, metadata_export_names[file], suffix);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* --- hashes --- */

static int hash_of(struct bytes content, uint8_t to[METADATA_HASH_BYTES])
{
    unsigned len = 0;

    if (EVP_Digest(content.at ? content.at : (const uint8_t *)"", content.len, to, &len,
                   EVP_sha256(), NULL) != 1 ||
        len != METADATA_HASH_BYTES)
        return -ENOMEM;
    return 0;
}

static bool is_ours(const struct export_state *x, const uint8_t hash[METADATA_HASH_BYTES])
{
    for (int i = 0; i < METADATA_HASHES; i++) {
        if (memcmp(x->hashes + i * METADATA_HASH_BYTES, hash, METADATA_HASH_BYTES) == 0)
            return true;
    }
    return false;
}

static bool is_newest(const struct export_state *x, const uint8_t hash[METADATA_HASH_BYTES])
{
    return memcmp(x->hashes, hash, METADATA_HASH_BYTES) == 0;
}

/* What is found in a file stays known whatever is exported next: it becomes the newest. Else a file
 * that several crashes in a row have kept from being replaced would be taken for somebody else's.
 */
static void found_hash(struct export_state *x, const uint8_t hash[METADATA_HASH_BYTES])
{
    int i = 0;

    while (i < METADATA_HASHES - 1 &&
           memcmp(x->hashes + i * METADATA_HASH_BYTES, hash, METADATA_HASH_BYTES) != 0)
        i++;
    memmove(x->hashes + METADATA_HASH_BYTES, x->hashes, (size_t)i * METADATA_HASH_BYTES);
    memcpy(x->hashes, hash, METADATA_HASH_BYTES);
}

static void push_hash(struct export_state *x, const uint8_t hash[METADATA_HASH_BYTES])
{
    if (is_newest(x, hash))
        return;
    memmove(x->hashes + METADATA_HASH_BYTES, x->hashes, sizeof(x->hashes) - METADATA_HASH_BYTES);
    memcpy(x->hashes, hash, METADATA_HASH_BYTES);
}

int metadata_export_apply(struct metadata *m, const struct metadata_record *r)
{
    struct export_state *x = &m->exports[r->hash.file];

    if (metadata_at_before(r->at, x->at))
        return 0;
    x->at = r->at;
    memcpy(x->hashes, r->hash.hashes.at, sizeof(x->hashes));
    return 0;
}

static bool has_hash(const struct export_state *x)
{
    static const uint8_t none[METADATA_HASH_BYTES];

    return !is_newest(x, none);
}

void metadata_export_snapshot(struct metadata *m, struct buf *out, uint64_t *count)
{
    for (int i = 0; i < METADATA_EXPORTS; i++) {
        if (!has_hash(&m->exports[i]))
            continue;
        metadata_put_hash(out, m->exports[i].at, i, m->exports[i].hashes);
        ++*count;
    }
}

/* Puts the hashes of that file into the journal. */
static int record_hashes(struct metadata *m, enum metadata_export file)
{
    struct export_state *x = &m->exports[file];

    x->at = metadata_next_at(m);
    metadata_put_hash(&m->batch, x->at, file, x->hashes);
    return metadata_write_batch(m);
}

/* --- taking in --- */

enum verdict { FILE_ABSENT, FILE_OURS, FILE_FOREIGN, FILE_BROKEN };

struct candidate {
    char path[PATH_MAX];
    enum verdict verdict;
    uint8_t hash[METADATA_HASH_BYTES];
    json_t *root;     /* FOREIGN */
    struct err wrong; /* BROKEN: what */
};

static bool is_blank(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] > ' ')
            return false;
    }
    return true;
}

/* Its content is not ours: can it be used? */
static int parse_foreign(enum metadata_export file, struct bytes content, struct candidate *c,
                         struct err *err)
{
    const char *complaint;

    c->root = json_dialect_load(content, &c->wrong);
    if (!c->root && c->wrong.code == -ENOMEM)
        return err_say(err, -ENOMEM, "%s: %.400s", c->path, c->wrong.text);
    complaint = c->root ? metadata_json_complaint(file, c->root) : NULL;
    if (complaint) {
        err_say(&c->wrong, -EBADMSG, "%s", complaint);
        json_decref(c->root);
        c->root = NULL;
    }
    c->verdict = c->root ? FILE_FOREIGN : FILE_BROKEN;
    return 0;
}

static int examine(struct metadata *m, enum metadata_export file, const char *suffix,
                   struct candidate *c, struct err *err)
{
    struct buf content = {0};
    int r;

    *c = (struct candidate){.verdict = FILE_ABSENT};
    r = path_of(m, c->path, file, suffix);
    if (r < 0)
        return err_set(err, r, "open %s in %s", metadata_export_names[file], m->config_dir);
    r = file_load(c->path, FILE_MAX, &content);
    if (r == -ENOENT) {
        r = 0;
    } else if (r < 0) {
        err_set(err, r, "read %s", c->path);
    } else if (is_blank(buf_bytes(&content))) {
        log_warn("%s is empty and is not used", c->path);
    } else {
        r = hash_of(buf_bytes(&content), c->hash);
        if (r < 0)
            err_set(err, r, "hash %s", c->path);
        else if (is_ours(&m->exports[file], c->hash))
            c->verdict = FILE_OURS;
        else
            r = parse_foreign(file, buf_bytes(&content), c, err);
    }
    buf_destroy(&content);
    return r;
}

static int take_in(struct metadata *m, enum metadata_export file, const struct candidate *c,
                   struct err *err)
{
    struct export_state *x = &m->exports[file];
    struct metadata_taken taken = {0};
    int r = metadata_json_import(m, file, c->root, &taken);

    if (r < 0)
        return err_set(err, r, "take in %s after %" PRIu64 " %s", c->path, taken.entries,
                       entry_names[file]);
    if (taken.refused > 0)
        log_warn("%s: %" PRIu64 " %s taken in, %" PRIu64 " left out, the first: %s", c->path,
                 taken.entries, entry_names[file], taken.refused, taken.first_refused);
    else
        log_info("%s was not written by this broker: %" PRIu64 " %s taken in", c->path,
                 taken.entries, entry_names[file]);
    push_hash(x, c->hash);
    x->taken = true;
    m->files_taken++;
    x->dirty = true;
    return 0;
}

/* The .bak counts when the file itself is absent or broken. */
static int use_backup(struct metadata *m, enum metadata_export file, const struct candidate *main,
                      struct err *err)
{
    struct candidate backup;
    char aside[PATH_MAX];
    int r = examine(m, file, ".bak", &backup, err);

    if (r < 0)
        return r;
    if (backup.verdict == FILE_BROKEN ||
        (main->verdict == FILE_BROKEN && backup.verdict == FILE_ABSENT)) {
        const struct candidate *bad = main->verdict == FILE_BROKEN ? main : &backup;
        return err_say(err, -EBADMSG,
                       "%s was not written by this broker and cannot be read (%.200s), and there "
                       "is no good copy of it: restore it, or remove it to go on with what the "
                       "broker itself knows",
                       bad->path, bad->wrong.text);
    }
    if (backup.verdict == FILE_FOREIGN)
        r = take_in(m, file, &backup, err);
    else if (backup.verdict == FILE_OURS)
        found_hash(&m->exports[file], backup.hash);
    json_decref(backup.root);
    if (r < 0 || main->verdict != FILE_BROKEN)
        return r;
    /* Out of the way: the next export would make it the .bak, in place of the good one. */
    r = path_of(m, aside, file, ".broken");
    if (r == 0)
        r = file_rename(main->path, aside);
    if (r < 0)
        return err_set(err, r, "rename %s to %s", main->path, aside);
    log_warn("%s cannot be read (%s); %s is used instead, the broken file is now %s", main->path,
             main->wrong.text, backup.path, aside);
    m->exports[file].dirty = true;
    return 0;
}

int metadata_import_files(struct metadata *m, struct err *err)
{
    struct candidate *c = malloc(sizeof(*c));
    int r = 0;

    if (!c)
        return err_set(err, -ENOMEM, "read %s", m->config_dir);
    for (int file = 0; file < METADATA_EXPORTS && r == 0; file++) {
        r = examine(m, file, "", c, err);
        if (r < 0)
            break;
        if (c->verdict == FILE_FOREIGN)
            r = take_in(m, file, c, err);
        else if (c->verdict == FILE_OURS)
            found_hash(&m->exports[file], c->hash);
        else
            r = use_backup(m, file, c, err);
        json_decref(c->root);
    }
    free(c);
    return r;
}

int metadata_import_done(struct metadata *m)
{
    for (int file = 0; file < METADATA_EXPORTS; file++) {
        int r;

        if (!m->exports[file].taken)
            continue;
        m->exports[file].taken = false;
        r = record_hashes(m, file);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- writing --- */

static bool file_is(const char *path, const uint8_t hash[METADATA_HASH_BYTES])
{
    uint8_t found[METADATA_HASH_BYTES];
    struct buf content = {0};
    bool same;

    same = file_load(path, FILE_MAX, &content) == 0 && hash_of(buf_bytes(&content), found) == 0 &&
           memcmp(found, hash, METADATA_HASH_BYTES) == 0;
    buf_destroy(&content);
    return same;
}

static int replace_file(struct metadata *m, enum metadata_export file, const char *path,
                        struct bytes content)
{
    struct export_state *x = &m->exports[file];
    uint8_t hash[METADATA_HASH_BYTES], before[sizeof(x->hashes)];
    struct stat there;
    struct err err;
    int r = hash_of(content, hash);

    if (r < 0)
        return r;
    if (is_newest(x, hash) && file_stat(path, &there) == 0)
        return 0;
    memcpy(before, x->hashes, sizeof(before));
    push_hash(x, hash);
    r = record_hashes(m, file);
    if (r == 0) {
        r = file_replace(path, content, &err);
        if (r < 0)
            log_warn_limited(path, "%s; tried again every second", err.text);
    }
    /* Nobody may push out the hash of what the file really holds. */
    if (r < 0 && !file_is(path, hash))
        memcpy(x->hashes, before, sizeof(before));
    return r;
}

static int export_file(struct metadata *m, enum metadata_export file)
{
    struct buf content = {0};
    char path[PATH_MAX];
    int r = path_of(m, path, file, "");

    if (r == 0) {
        metadata_json_write(m, file, true, &content);
        r = content.failed ? -ENOMEM : replace_file(m, file, path, buf_bytes(&content));
        if (r == -ENOMEM)
            log_warn_limited(path, "write %s: %s", path, strerror(-r));
    }
    buf_destroy(&content);
    return r;
}

int metadata_export_files(struct metadata *m)
{
    int first = 0;

    for (int file = 0; file < METADATA_EXPORTS; file++) {
        struct export_state *x = &m->exports[file];
        int r;

        if (!x->dirty || m->failing)
            continue;
        /* Before the tables are read: a change that is collected from now on counts again. */
        x->dirty = false;
        r = export_file(m, file);
        if (r < 0)
            x->dirty = true;
        if (r < 0 && first == 0)
            first = r;
    }
    return m->failing && first == 0 ? -EIO : first;
}
