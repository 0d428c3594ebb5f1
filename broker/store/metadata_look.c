/* metadata_look.c - see metadata_look.h. */
#include "broker/store/metadata_look.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "broker/store/metadata_internal.h"
#include "common/file.h"
#include "common/json.h"

struct looking {
    const struct metadata_look *look;
    const char *dir;
    char path[PATH_MAX];
    enum metadata_file_type type;
    uint64_t generation;
    bool newest, ended;
    uint64_t records;
    struct err *err;
};

static int read_at(void *ctx, void *to, size_t n, int64_t at)
{
    return file_read_all(*(int *)ctx, to, n, at);
}

static void problem(struct looking *l, int64_t at, bool torn, const char *text)
{
    l->look->problem(l->look->ctx, l->path, at, torn, text);
}

static int take(struct looking *l, const struct metadata_record *r, int64_t at)
{
    l->records++;
    if (r->kind == METADATA_BEGIN) {
        if (r->begin.type != l->type || r->begin.generation != l->generation)
            problem(l, at, false,
                    "its first record belongs to another file: the broker does not start");
        return 0;
    }
    if (r->kind == METADATA_END) {
        l->ended = true;
        if (r->end != l->records - 1)
            problem(l, at, false, "records before its end are missing");
        return 0;
    }
    return l->look->record(l->look->ctx, r);
}

static int walk(struct looking *l, int fd, int64_t size)
{
    struct metadata_scan scan;
    struct metadata_record record;
    char text[128];
    int r = 0;

    metadata_scan_init(&scan, read_at, &fd, size);
    while (r >= 0) {
        int64_t at = scan.at;
        int found = metadata_scan_next(&scan, &record);

        if (found < 0) {
            r = err_set(l->err, found, "read %s from byte %" PRId64, l->path, at);
        } else if (found == 0) {
            r = take(l, &record, at);
        } else if (found == METADATA_SCAN_UNKNOWN) {
            problem(l, at, false, "a record of a newer version: this one does not start on it");
            break;
        } else if (found == METADATA_SCAN_END) {
            break;
        } else {
            bool torn = found == METADATA_SCAN_TORN && l->newest;
            snprintf(text, sizeof(text), "%" PRId64 " bytes are no record%s",
                     scan.at - scan.bad_from, torn ? ", a write that was cut short" : "");
            problem(l, scan.bad_from, torn, text);
            if (found != METADATA_SCAN_DAMAGE)
                break;
        }
    }
    metadata_scan_destroy(&scan);
    return r;
}

static int look_file(struct looking *l, const char *what, uint64_t generation)
{
    int64_t size;
    int fd, r;

    if (snprintf(l->path, sizeof(l->path), "%s/%s-%020" PRIu64, l->dir, what, generation) >=
        (int)sizeof(l->path))
        return err_set(l->err, -ENAMETOOLONG, "open %s", l->dir);
    l->generation = generation;
    l->records = 0;
    l->ended = false;
    fd = file_open(l->path, O_RDONLY, 0);
    if (fd == -ENOENT)
        return METADATA_LOOK_MOVED;
    if (fd < 0)
        return err_set(l->err, fd, "open %s", l->path);
    r = file_size(fd, &size);
    if (r < 0)
        err_set(l->err, r, "look at %s", l->path);
    else
        r = walk(l, fd, size);
    (void)file_close(fd);
    if (r == 0 && l->type == METADATA_SNAPSHOT_FILE && !l->ended)
        problem(l, size, false, "its last record is missing");
    return r;
}

static void missing(struct looking *l, const char *what, uint64_t generation)
{
    (void)snprintf(l->path, sizeof(l->path), "%s/%s-%020" PRIu64, l->dir, what, generation);
    problem(l, -1, false, "missing: the broker does not start without it");
}

static int look_all(struct looking *l, const struct file_list *list)
{
    uint64_t snapshot = 0, newest = 0, next;
    int r = 0;

    for (size_t i = 0; i < list->count; i++) {
        uint64_t s = metadata_generation_of(list->names[i], "snapshot");
        uint64_t g = metadata_generation_of(list->names[i], "journal");
        snapshot = s > snapshot ? s : snapshot;
        newest = g > newest ? g : newest;
    }
    if (snapshot == 0 && newest == 0)
        return METADATA_LOOK_NONE;
    if (snapshot > 0) {
        l->type = METADATA_SNAPSHOT_FILE;
        r = look_file(l, "snapshot", snapshot);
    }
    if (newest < snapshot)
        missing(l, "journal", snapshot);
    next = snapshot ? snapshot : 1;
    l->type = METADATA_JOURNAL_FILE;
    for (size_t i = 0; i < list->count && r == 0; i++) {
        uint64_t generation = metadata_generation_of(list->names[i], "journal");
        if (generation < next)
            continue;
        if (generation > next)
            missing(l, next == 1 ? "snapshot" : "journal", next == 1 ? generation : next);
        l->newest = generation == newest;
        r = look_file(l, "journal", generation);
        next = generation + 1;
    }
    return r;
}

int metadata_look_journal(const char *dir, const struct metadata_look *look, struct err *err)
{
    struct looking l = {.look = look, .dir = dir, .err = err};
    struct file_list list;
    int r = file_list(dir, &list);

    if (r == -ENOENT)
        return METADATA_LOOK_NONE;
    if (r < 0)
        return err_set(err, r, "list %s", dir);
    r = look_all(&l, &list);
    file_list_free(&list);
    return r;
}

/* --- exports --- */

const char *metadata_export_name(enum metadata_export file)
{
    return metadata_export_names[file];
}

static bool blank(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] > ' ')
            return false;
    }
    return true;
}

int metadata_look_export(enum metadata_export file, struct bytes content, struct bytes hashes,
                         enum metadata_verdict *verdict, struct err *wrong)
{
    uint8_t hash[METADATA_HASH_BYTES];
    const char *complaint = NULL;
    unsigned len = 0;
    json_t *root;

    *verdict = METADATA_BLANK;
    if (blank(content))
        return 0;
    if (EVP_Digest(content.at, content.len, hash, &len, EVP_sha256(), NULL) != 1 ||
        len != sizeof(hash))
        return -ENOMEM;
    *verdict = METADATA_OURS;
    for (size_t at = 0; at + sizeof(hash) <= hashes.len; at += sizeof(hash)) {
        if (memcmp(hashes.at + at, hash, sizeof(hash)) == 0)
            return 0;
    }
    root = json_dialect_load(content, wrong);
    if (!root && wrong->code == -ENOMEM)
        return -ENOMEM;
    if (root) {
        complaint = metadata_json_complaint(file, root);
        if (complaint)
            err_say(wrong, -EBADMSG, "%s", complaint);
    }
    *verdict = root && !complaint ? METADATA_FOREIGN : METADATA_BROKEN;
    json_decref(root);
    return 0;
}
