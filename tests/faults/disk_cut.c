/* disk_cut.c - from what a disk was told to what a power cut may leave of it. Goes through the
 * events up to the cut, settling what syncs settle; of what is pending then the cut chooses. */
#include "disk.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_internal.h"
#include "random.h"

enum { PAGE = 4096, SIZE_KEY = UINT32_MAX, NAME_KEY = UINT32_MAX - 1 };

struct file {
    struct content disk;
    /* What readers see before the pending events; the same as `disk` unless a sync has failed. */
    struct content memory;
    bool apart, was_apart;
    uint32_t *pending; /* events */
    uint32_t count, room;
};

enum { SETTLED_FROM = 1, SETTLED_TO = 2 };
struct pending_name {
    uint32_t event, folder;
    bool to; /* the second half of a rename to another folder */
};

struct replay {
    const struct disk *d;
    struct file *files;
    uint8_t *names; /* of each event: what of it is settled */
    struct pending_name *pending;
    uint32_t count, room;
};

/* Does the disk have that part of that event? `key`: inode or folder, and unit. */
struct chooser {
    const struct cut *cut; /* NULL: a sync that fails, `salt` chooses */
    uint64_t salt;
    size_t target;
};

static uint64_t key_of(uint32_t inode, uint32_t unit)
{
    return (uint64_t)inode << 32 | unit;
}

static bool coin(uint64_t seed, uint64_t a, uint64_t b, unsigned percent)
{
    return random_of(seed, a, b) % 100 < percent;
}

static bool chosen(const struct chooser *c, size_t event, uint64_t key)
{
    const struct cut *cut = c->cut;
    bool part;

    if (!cut)
        return coin(c->salt, 0, key, 25) && coin(c->salt, event + 1, 0, 70);
    part = (cut->seed & 1) && coin(cut->seed, 0, key, 50);
    switch (cut->kind) {
    case CUT_NOTHING:
        return false;
    case CUT_IN_ORDER:
        return event < c->target || (event == c->target && part);
    case CUT_SOME_UNITS:
        return coin(cut->seed, event + 1, key, cut->percent);
    case CUT_SOME_EVENTS:
        return coin(cut->seed, event + 1, 0, cut->percent);
    case CUT_SOME_FILES:
        return coin(cut->seed, 0, key >> 32, cut->percent);
    case CUT_ONE_LOST:
        return event != c->target || part;
    case CUT_ONE_THERE:
        return event == c->target && !part;
    default:
        return true;
    }
}

/* --- bytes --- */

static void apply(struct content *c, const struct event *e)
{
    switch (e->kind) {
    case EVENT_WRITE:
        if (c->size < e->at + e->size)
            content_resize(c, e->at + e->size);
        if (e->size > 0)
            memcpy(c->bytes + e->at, e->bytes, e->size);
        break;
    case EVENT_ZERO:
        if (e->at < c->size)
            memset(c->bytes + e->at, 0, e->size < c->size - e->at ? e->size : c->size - e->at);
        break;
    default:
        if (!e->only_grow || e->size > c->size)
            content_resize(c, e->size);
        break;
    }
}

/* Bytes that the event changes: a file that gets shorter loses its end. */
static void range_of(const struct event *e, size_t size_before, uint64_t *from, uint64_t *to)
{
    *from = e->at;
    *to = e->at + e->size;
    if (e->kind == EVENT_SIZE) {
        *from = e->size;
        *to = !e->only_grow && e->size < size_before ? size_before : e->size;
    }
}

static size_t size_after(const struct event *e, size_t size)
{
    if (e->kind == EVENT_WRITE)
        return size < e->at + e->size ? e->at + e->size : size;
    if (e->kind == EVENT_SIZE && (!e->only_grow || e->size > size))
        return e->size;
    return size;
}

/* The file as the chooser leaves it. */
static void choose(const struct replay *r, uint32_t inode, const struct chooser *by, uint32_t unit,
                   struct content *out)
{
    const struct file *f = &r->files[inode];
    const struct content *base = f->apart ? &f->memory : &f->disk;
    size_t size = base->size, most = size, final_size = f->disk.size;
    struct content work = {0};
    uint32_t *last;

    content_copy(out, &f->disk);
    if (f->count == 0)
        return;
    for (uint32_t i = 0; i < f->count; i++) {
        size = size_after(&r->d->events[f->pending[i]], size);
        most = size > most ? size : most;
    }
    last = calloc(most / unit + 1, sizeof(*last));
    must(last != NULL, "no memory for", "units");
    /* Of each unit: the last write that has it. Earlier ones are in it. */
    size = base->size;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct event *e = &r->d->events[f->pending[i]];
        size_t before = size;
        uint64_t from, to;

        range_of(e, size, &from, &to);
        size = size_after(e, size);
        if (size != before && chosen(by, f->pending[i], key_of(inode, SIZE_KEY)))
            final_size = size;
        for (uint64_t u = from / unit; from < to && u <= (to - 1) / unit; u++) {
            if (chosen(by, f->pending[i], key_of(inode, (uint32_t)u)))
                last[u] = i + 1;
        }
    }
    content_copy(&work, base);
    content_reserve(&work, most);
    content_reserve(out, most);
    size = base->size;
    for (uint32_t i = 0; i < f->count; i++) {
        const struct event *e = &r->d->events[f->pending[i]];
        uint64_t from, to;

        range_of(e, size, &from, &to);
        size = size_after(e, size);
        apply(&work, e);
        for (uint64_t u = from / unit; from < to && u <= (to - 1) / unit; u++) {
            size_t at = u * unit, n = most - at < unit ? most - at : unit;
            if (last[u] == i + 1)
                memcpy(out->bytes + at, work.bytes + at, n);
        }
    }
    if (final_size > out->size)
        out->size = final_size; /* the bytes are in place */
    else
        content_resize(out, final_size);
    if (out->room > out->size)
        memset(out->bytes + out->size, 0, out->room - out->size);
    content_destroy(&work);
    free(last);
}

/* --- going through the events --- */

static void file_sync(struct replay *r, struct file *f)
{
    size_t size;

    if (!f->apart) {
        for (uint32_t i = 0; i < f->count; i++)
            apply(&f->disk, &r->d->events[f->pending[i]]);
        f->count = 0;
        return;
    }
    /* Only pages that are dirty are written, but these as a whole. */
    for (uint32_t i = 0; i < f->count; i++)
        apply(&f->memory, &r->d->events[f->pending[i]]);
    size = f->memory.size;
    if (f->count > 0)
        content_resize(&f->disk, size);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct event *e = &r->d->events[f->pending[i]];
        uint64_t from = e->kind == EVENT_SIZE ? 0 : e->at / PAGE * PAGE;
        uint64_t to = e->kind == EVENT_SIZE ? 0 : (e->at + e->size + PAGE - 1) / PAGE * PAGE;

        if (to > size)
            to = size;
        if (from < to)
            memcpy(f->disk.bytes + from, f->memory.bytes + from, to - from);
    }
    f->count = 0;
}

static void file_sync_failed(struct replay *r, uint32_t inode, uint64_t salt)
{
    struct chooser by = {.salt = salt};
    struct file *f = &r->files[inode];
    struct content left = {0};

    if (f->count == 0)
        return;
    choose(r, inode, &by, PAGE, &left);
    if (!f->apart)
        content_copy(&f->memory, &f->disk);
    f->apart = f->was_apart = true;
    for (uint32_t i = 0; i < f->count; i++)
        apply(&f->memory, &r->d->events[f->pending[i]]);
    f->count = 0;
    content_destroy(&f->disk);
    f->disk = left;
}

static void file_forget(struct replay *r, struct file *f)
{
    struct content dirty = {0};

    if (!f->apart)
        return;
    content_copy(&dirty, &f->disk);
    /* A file with a dirty page stays in memory, and with it its size. */
    if (f->count > 0)
        content_resize(&dirty, f->memory.size);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct event *e = &r->d->events[f->pending[i]];
        uint64_t from = e->at / PAGE * PAGE, to = (e->at + e->size + PAGE - 1) / PAGE * PAGE;

        if (to > f->memory.size)
            to = f->memory.size;
        if (e->kind != EVENT_SIZE && from < to)
            memcpy(dirty.bytes + from, f->memory.bytes + from, to - from);
    }
    content_destroy(&f->memory);
    f->memory = dirty;
    f->apart = f->count > 0;
}

static void names_sync(struct replay *r, uint32_t folder)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < r->count; i++) {
        struct pending_name p = r->pending[i];

        if (folder != DISK_NOBODY && p.folder != folder)
            r->pending[left++] = p;
        else
            r->names[p.event] |= p.to ? SETTLED_TO : SETTLED_FROM;
    }
    r->count = left;
}

static void add_pending_name(struct replay *r, uint32_t event, uint32_t folder, bool to)
{
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->pending = reallocarray(r->pending, r->room, sizeof(*r->pending));
        must(r->pending != NULL, "no memory for", "names");
    }
    r->pending[r->count++] = (struct pending_name){event, folder, to};
}

static void add_pending(struct file *f, uint32_t event)
{
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 16;
        f->pending = reallocarray(f->pending, f->room, sizeof(*f->pending));
        must(f->pending != NULL, "no memory for", "events");
    }
    f->pending[f->count++] = event;
}

static void sync_event(struct replay *r, const struct event *e)
{
    bool all = e->inode == DISK_NOBODY, failed = e->kind == EVENT_SYNC_FAILED;

    for (uint32_t i = all ? 0 : e->inode; i < (all ? r->d->inode_count : e->inode + 1); i++) {
        if (r->d->inodes[i].folder)
            continue;
        if (failed)
            file_sync_failed(r, i, e->salt);
        else
            file_sync(r, &r->files[i]);
    }
    /* Names are in the journal of a file system: when that fails, nothing goes on. */
    if (!failed && (all || r->d->inodes[e->inode].folder))
        names_sync(r, e->inode);
}

static void replay(struct replay *r, const struct disk *d, size_t events)
{
    *r = (struct replay){.d = d};
    r->files = calloc(d->inode_count + 1, sizeof(*r->files));
    r->names = calloc(events + 1, 1);
    must(r->files && r->names, "no memory for", "a replay");
    for (uint32_t i = 0; i < d->inode_count; i++) {
        if (d->inodes[i].base.size > 0)
            content_copy(&r->files[i].disk, &d->inodes[i].base);
    }
    for (uint32_t i = 0; i < events; i++) {
        const struct event *e = &d->events[i];

        switch (e->kind) {
        case EVENT_MAKE:
        case EVENT_REMOVE:
            add_pending_name(r, i, e->folder, false);
            break;
        case EVENT_RENAME:
            add_pending_name(r, i, e->folder, false);
            if (e->to_folder != e->folder)
                add_pending_name(r, i, e->to_folder, true);
            break;
        case EVENT_WRITE:
        case EVENT_ZERO:
        case EVENT_SIZE:
            add_pending(&r->files[e->inode], i);
            break;
        case EVENT_SYNC:
        case EVENT_SYNC_FAILED:
            sync_event(r, e);
            break;
        case EVENT_FORGET:
            for (uint32_t k = 0; k < d->inode_count; k++)
                file_forget(r, &r->files[k]);
            break;
        }
    }
}

static void replay_end(struct replay *r)
{
    for (uint32_t i = 0; i < r->d->inode_count; i++) {
        content_destroy(&r->files[i].disk);
        content_destroy(&r->files[i].memory);
        free(r->files[i].pending);
    }
    free(r->files);
    free(r->names);
    free(r->pending);
}

/* --- names that are left --- */

struct names {
    struct image_name *at;
    uint32_t count, room;
};

static void names_set(struct names *n, uint32_t folder, char *name, uint32_t inode)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->at[i].folder == folder && strcmp(n->at[i].name, name) == 0) {
            n->at[i].node = inode;
            return;
        }
    }
    if (n->count == n->room) {
        n->room = n->room ? n->room * 2 : 64;
        n->at = reallocarray(n->at, n->room, sizeof(*n->at));
        must(n->at != NULL, "no memory for", "names");
    }
    n->at[n->count++] = (struct image_name){folder, inode, name};
}

/* Only when it means that file: what the name stands for may have come later. */
static void names_drop(struct names *n, uint32_t folder, const char *name, uint32_t inode)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->at[i].folder == folder && n->at[i].node == inode &&
            strcmp(n->at[i].name, name) == 0) {
            n->at[i] = n->at[--n->count];
            return;
        }
    }
}

static void names_apply(struct names *n, const struct event *e, bool from, bool to)
{
    if (e->kind == EVENT_MAKE && from)
        names_set(n, e->folder, e->name, e->inode);
    if (e->kind == EVENT_REMOVE && from)
        names_drop(n, e->folder, e->name, e->inode);
    if (e->kind != EVENT_RENAME)
        return;
    if (from)
        names_drop(n, e->folder, e->name, e->inode);
    if (e->to_folder == e->folder ? from : to)
        names_set(n, e->to_folder, e->to_name, e->inode);
}

/* What the cut leaves of half an event; in order: nothing behind the first that is lost. */
static bool name_chosen(const struct replay *r, const struct chooser *by, bool *stopped,
                        uint32_t event, uint32_t folder, bool to)
{
    uint8_t settled = r->names[event];
    bool there;

    if (settled & (to ? SETTLED_TO : SETTLED_FROM))
        return true;
    there = chosen(by, event, key_of(folder, NAME_KEY));
    if (by->cut->names_in_order && stopped[folder])
        there = false;
    stopped[folder] |= !there;
    return there;
}

static void names_left(const struct replay *r, const struct chooser *by, size_t events,
                       struct names *out)
{
    const struct disk *d = r->d;
    bool *stopped = calloc(d->inode_count + 1, sizeof(*stopped));

    must(stopped != NULL, "no memory for", "names");
    for (uint32_t i = 0; i < d->base_name_count; i++)
        names_set(out, d->base_names[i].folder, d->base_names[i].name, d->base_names[i].node);
    for (uint32_t i = 0; i < events; i++) {
        const struct event *e = &d->events[i];
        bool from, to = false;

        if (e->kind != EVENT_MAKE && e->kind != EVENT_REMOVE && e->kind != EVENT_RENAME)
            continue;
        from = name_chosen(r, by, stopped, i, e->folder, false);
        if (e->kind == EVENT_RENAME && e->to_folder != e->folder)
            to = name_chosen(r, by, stopped, i, e->to_folder, true);
        names_apply(out, e, from, to);
    }
    free(stopped);
}

/* --- the cut --- */

static size_t choose_target(const struct replay *r, const struct cut *cut)
{
    size_t count = r->count, at;

    for (uint32_t i = 0; i < r->d->inode_count; i++)
        count += r->files[i].count;
    if (count == 0)
        return SIZE_MAX;
    at = random_of(cut->seed, 1, 2) % count;
    if (at < r->count)
        return r->pending[at].event;
    at -= r->count;
    for (uint32_t i = 0;; i++) {
        if (at < r->files[i].count)
            return r->files[i].pending[at];
        at -= r->files[i].count;
    }
}

/* Adds what stands below `folder`; an inode has one node, whatever its names. */
static void add_folder(const struct replay *r, const struct chooser *by, const struct names *names,
                       uint32_t folder, uint32_t node, uint32_t *nodes, struct image *out)
{
    for (uint32_t i = 0; i < names->count; i++) {
        const struct image_name *n = &names->at[i];
        bool is_folder;

        if (n->folder != folder)
            continue;
        is_folder = r->d->inodes[n->node].folder;
        if (nodes[n->node] == DISK_NOBODY || is_folder) {
            nodes[n->node] = image_add_node(out, is_folder);
            if (is_folder)
                add_folder(r, by, names, n->node, nodes[n->node], nodes, out);
            else
                choose(r, n->node, by, by->cut->unit, &out->nodes[nodes[n->node]].content);
        }
        image_add_name(out, node, n->name, nodes[n->node]);
    }
}

void disk_cut(const struct disk *d, const struct cut *cut, struct image *out)
{
    uint32_t *nodes = malloc((d->inode_count + 1) * sizeof(*nodes));
    struct chooser by = {.cut = cut};
    struct names names = {0};
    struct replay r;

    must(nodes != NULL, "no memory for", "an image");
    memset(nodes, 0xFF, (d->inode_count + 1) * sizeof(*nodes));
    replay(&r, d, cut->events);
    by.target = choose_target(&r, cut);
    names_left(&r, &by, cut->events, &names);
    *out = (struct image){0};
    image_add_node(out, true);
    add_folder(&r, &by, &names, DISK_ROOT, 0, nodes, out);
    replay_end(&r);
    free(names.at);
    free(nodes);
}

const char *cut_kind_name(enum cut_kind kind)
{
    static const char *const names[CUT_KINDS] = {
        [CUT_NOTHING] = "nothing that was not synced is there",
        [CUT_EVERYTHING] = "everything is there",
        [CUT_IN_ORDER] = "everything up to one event",
        [CUT_SOME_UNITS] = "some units are there",
        [CUT_SOME_EVENTS] = "some events are there",
        [CUT_SOME_FILES] = "some files are there",
        [CUT_ONE_LOST] = "one event is lost",
        [CUT_ONE_THERE] = "one event is there",
    };

    return names[kind];
}

/* --- memory is short --- */

static void put_back(const struct content *c, const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    must(fd >= 0 && ftruncate(fd, (off_t)c->size) == 0, "open", path);
    must(pwrite(fd, c->bytes, c->size, 0) == (ssize_t)c->size, "write", path);
    close(fd);
}

static void put_back_below(struct replay *r, uint32_t folder, const char *path)
{
    for (uint32_t i = 0; i < r->d->name_count; i++) {
        const struct image_name *n = &r->d->names[i];
        struct file *f = &r->files[n->node];
        char child[PATH_MAX];

        if (n->folder != folder)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, n->name);
        if (r->d->inodes[n->node].folder) {
            put_back_below(r, n->node, child);
        } else if (f->was_apart) {
            struct content *c = f->apart ? &f->memory : &f->disk;
            for (uint32_t k = 0; k < f->count; k++)
                apply(c, &r->d->events[f->pending[k]]);
            put_back(c, child);
        }
    }
}

void disk_forget(struct disk *d, const char *path)
{
    struct replay r;

    disk_add_event(d, EVENT_FORGET)->inode = DISK_NOBODY;
    replay(&r, d, d->event_count);
    put_back_below(&r, DISK_ROOT, path);
    replay_end(&r);
}
