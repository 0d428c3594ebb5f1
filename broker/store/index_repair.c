/* index_repair.c - index files that were gone or damaged at a start, made again: each from its own
 * part of the log, in tern/, and moved to its place when it is complete.
 */
#include <errno.h>
#include <inttypes.h>

#include "broker/store/index_internal.h"
#include "common/file.h"
#include "common/log.h"

bool index_repair_wanted(const struct index *x)
{
    for (uint32_t i = 0; i < x->count; i++) {
        if (x->files[i].lost)
            return true;
    }
    return false;
}

static struct index_known *file_named(struct index *x, int64_t name)
{
    for (uint32_t i = 0; i < x->count; i++) {
        if (x->files[i].name == name && x->files[i].lost)
            return &x->files[i];
    }
    return NULL;
}

/* A record whose keys did not all fit has the rest of them in the next file: how many entries of
 * the record at `log_offset` are in this one. */
static uint32_t entries_at_end(struct index *x, const struct index_known *file, int64_t log_offset)
{
    struct index_file f;
    struct index_entry e;
    char path[PATH_MAX];
    uint32_t count = 0, number;

    if (file->lost || file->header.end_offset != log_offset ||
        index_file_path(x, path, file->name) < 0 || index_file_open(&f, path, &x->shape, NULL) < 0)
        return 0;
    for (number = f.view.header.next - 1; number > 0; number--, count++) {
        if (index_view_entry(&f.view, number, &e) < 0 || e.log_offset != log_offset)
            break;
    }
    index_file_close(&f);
    return count;
}

static int begin(struct index *x)
{
    struct index_repair *p = &x->repair;
    const struct index_known *file = x->files;
    char path[PATH_MAX];
    int r = index_tern_path(x, path, "index-repair");

    while (!file->lost)
        file++;
    if (r == 0)
        r = file_unlink(path);
    if (r < 0 && r != -ENOENT)
        return r;
    r = index_writer_create(&p->writer, path);
    if (r < 0)
        return r;
    p->active = true;
    p->ended = false;
    p->name = file->name;
    p->begin_offset = file->header.begin_offset;
    p->end_offset = file->header.end_offset;
    p->skip = file > x->files ? entries_at_end(x, file - 1, p->begin_offset) : 0;
    p->feed.position = (uint64_t)file->header.begin_offset;
    return 0;
}

struct entering {
    struct index_repair *repair;
    const struct record *record;
    uint32_t key; /* number of the next one, in this record */
};

static int enter(void *ctx, uint32_t hash)
{
    struct entering *e = ctx;
    struct index_writer *w = &e->repair->writer;
    int r;

    if (e->key++ < e->repair->skip && e->record->log_offset == e->repair->begin_offset)
        return 0;
    r = index_writer_add(w, hash, e->record->log_offset, e->record->store_ms);

    if (r == INDEX_WRITER_PUT_FIRST) {
        r = index_writer_put(w);
        if (r == 0)
            r = index_writer_add(w, hash, e->record->log_offset, e->record->store_ms);
    }
    return r;
}

static int on_record(void *ctx, const struct record *r)
{
    struct index_repair *p = ctx;
    struct entering e = {p, r, 0};

    if (r->log_offset > p->end_offset) {
        p->ended = true;
        return 1;
    }
    p->error = index_each_key(r, enter, &e);
    if (p->error == INDEX_WRITER_FULL && r->log_offset == p->end_offset)
        p->ended = true; /* the next file has the others */
    return p->error != 0;
}

/* The file is complete: moves it in. `rest`: from this record on another one has to follow. */
static int finish(struct index *x, bool full, uint64_t rest)
{
    struct index_repair *p = &x->repair;
    struct index_known *file = file_named(x, p->name);
    char path[PATH_MAX];
    bool kept = false;
    int r = index_writer_put(&p->writer);

    if (r == 0)
        r = index_writer_sync(&p->writer);
    if (r == 0)
        r = index_file_path(x, path, p->name);
    if (r == 0 && file && p->writer.header.next > 1) {
        r = file_rename(p->writer.path, path);
        if (r == 0)
            r = file_sync_parent(path);
        kept = true;
    }
    if (r < 0)
        return r;
    pthread_rwlock_wrlock(&x->files_lock);
    if (file && kept) {
        struct index_known next = {.name = p->name + 1, .lost = true};
        uint32_t i = (uint32_t)(file - x->files);

        *file = (struct index_known){.name = p->name, .header = p->writer.header};
        next.header = (struct index_header){
            .begin_offset = (int64_t)rest, .end_offset = p->end_offset, .next = 1};
        /* It may stand for several that were lost together. */
        if (full && i + 1 < x->count && next.name < x->files[i + 1].name)
            r = index_files_insert(x, i + 1, &next);
    } else if (file) {
        index_files_remove(x, (uint32_t)(file - x->files));
    }
    pthread_rwlock_unlock(&x->files_lock);
    if (kept)
        log_info("index file %s is there again: %u entries", path, p->writer.header.next - 1);
    index_repair_stop(x);
    return r < 0 ? r : 1;
}

int index_repair_step(struct index *x)
{
    struct index_repair *p = &x->repair;
    uint64_t confirmed = index_confirmed(x);
    int r;

    if (!p->active)
        return begin(x);
    r = index_feed_read(&p->feed, confirmed, on_record, p);
    if (r == INDEX_FEED_STOPPED && !p->ended) {
        if (p->error == INDEX_WRITER_FULL)
            return finish(x, true, p->feed.position);
        r = p->error;
    }
    if (r < 0)
        return r;
    if (p->ended || r == INDEX_FEED_WAIT || p->feed.position >= confirmed)
        return finish(x, false, 0);
    return 0;
}

void index_repair_stop(struct index *x)
{
    struct index_repair *p = &x->repair;
    char path[PATH_MAX];

    if (p->active && index_tern_path(x, path, "index-repair") == 0)
        (void)file_unlink(path);
    p->active = false;
    index_writer_close(&p->writer);
    index_feed_rest(&p->feed);
}
