/* index_find.c - looking for a key in the index files, newest first. */
#include <errno.h>

#include "broker/store/index_internal.h"
#include "common/file.h"
#include "common/log.h"

struct search {
    const struct index_key *key;
    uint32_t hash;
    struct index_cursor *at;
    uint64_t *log_offsets;
    int cap, count;
};

static int walk_from(struct search *s, struct index_walk *w, struct index_view *view)
{
    if (s->at->number == 0)
        return index_walk_begin(w, view, s->hash, s->key->begin_ms, s->key->end_ms);
    *w = (struct index_walk){.view = view,
                             .hash = s->hash,
                             .begin_ms = s->key->begin_ms,
                             .end_ms = s->key->end_ms,
                             .at = s->at->number < view->header.next ? s->at->number : 0};
    return 0;
}

/* 1: there is no room for more, the cursor says where to go on; 0: the file is done; -errno. */
static int search_file(struct search *s, struct index_view *view)
{
    struct index_walk walk;
    struct index_entry e;
    int r = walk_from(s, &walk, view);

    while (r == 0) {
        uint32_t here = walk.at;

        r = index_walk_next(&walk, &e);
        if (r <= 0)
            return r;
        r = 0;
        if (e.log_offset == s->at->last)
            continue; /* two keys of one record that are the same */
        if (s->count == s->cap) {
            s->at->number = here;
            return 1;
        }
        s->at->last = e.log_offset;
        s->log_offsets[s->count++] = (uint64_t)e.log_offset;
    }
    return r;
}

/* The same, for a file of the list. */
static int search_listed(struct index *x, struct search *s, const struct index_known *file)
{
    struct index_file f;
    char path[PATH_MAX], room[128];
    struct err err = {0};
    int r = index_file_path(x, path, file->name);

    if (r == 0)
        r = index_file_open(&f, path, &x->shape, &err);
    if (r < 0) {
        log_warn_limited(path, "%s: it is put right from the log", err.text);
        index_suspect(x, file->name);
        return 0;
    }
    r = search_file(s, &f.view);
    index_file_close(&f);
    if (r == 0 || r == 1)
        return r;
    log_warn_limited(path, "index file %s is damaged (%s): it is put right from the log", path,
                     r == -EBADMSG ? "its content" : strerror_r(-r, room, sizeof(room)));
    index_suspect(x, file->name);
    return 0;
}

int index_find(struct index *x, const struct index_key *key, struct index_cursor *at,
               uint64_t *log_offsets, int cap)
{
    struct search s = {.key = key,
                       .hash = index_key_hash(key->topic, key->key),
                       .at = at,
                       .log_offsets = log_offsets,
                       .cap = cap};

    pthread_rwlock_rdlock(&x->files_lock);
    for (uint32_t i = x->count; i > 0; i--) {
        const struct index_known *file = &x->files[i - 1];
        const struct index_header *h = &file->header;

        if (file->name > at->file)
            continue;
        if (file->name < at->file) {
            at->file = file->name;
            at->number = 0;
        }
        if (file->lost || (i == x->count && x->newest_hidden) || h->next <= 1 ||
            h->begin_ms > key->end_ms || h->end_ms < key->begin_ms)
            continue;
        if (search_listed(x, &s, file) == 1)
            goto out;
    }
    at->file = INT64_MIN; /* nothing is left */
out:
    pthread_rwlock_unlock(&x->files_lock);
    return s.count;
}
