/* disk.c - see disk.h. Writes down what happens, and knows which names there are now. */
#include "disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_internal.h"
#include "turns.h"

static uint32_t add_inode(struct disk *d, bool folder)
{
    if (d->inode_count == d->inode_room) {
        d->inode_room = d->inode_room ? d->inode_room * 2 : 64;
        d->inodes = reallocarray(d->inodes, d->inode_room, sizeof(*d->inodes));
        must(d->inodes != NULL, "no memory for", "inodes");
    }
    d->inodes[d->inode_count] = (struct inode){.folder = folder};
    return d->inode_count++;
}

struct event *disk_add_event(struct disk *d, enum event_kind kind)
{
    if (d->event_count == d->event_room) {
        d->event_room = d->event_room ? d->event_room * 2 : 1024;
        d->events = reallocarray(d->events, d->event_room, sizeof(*d->events));
        must(d->events != NULL, "no memory for", "events");
    }
    d->events[d->event_count] = (struct event){.kind = kind, .ms = turns_now_ms()};
    return &d->events[d->event_count++];
}

static void set_name(struct disk *d, uint32_t folder, const char *name, uint32_t inode)
{
    for (uint32_t i = 0; i < d->name_count; i++) {
        if (d->names[i].folder == folder && strcmp(d->names[i].name, name) == 0) {
            d->names[i].node = inode;
            return;
        }
    }
    if (d->name_count == d->name_room) {
        d->name_room = d->name_room ? d->name_room * 2 : 64;
        d->names = reallocarray(d->names, d->name_room, sizeof(*d->names));
        must(d->names != NULL, "no memory for", "names");
    }
    d->names[d->name_count++] = (struct image_name){folder, inode, strdup(name)};
}

static void drop_name(struct disk *d, uint32_t folder, const char *name)
{
    for (uint32_t i = 0; i < d->name_count; i++) {
        if (d->names[i].folder != folder || strcmp(d->names[i].name, name) != 0)
            continue;
        free(d->names[i].name);
        d->names[i] = d->names[--d->name_count];
        return;
    }
    must(false, "no such name:", name);
}

struct disk *disk_new(struct image *base, int64_t ms)
{
    struct disk *d = calloc(1, sizeof(*d));

    must(d != NULL, "no memory for", "a disk");
    d->base_ms = ms;
    if (!base || base->node_count == 0) {
        add_inode(d, true);
        return d;
    }
    for (uint32_t i = 0; i < base->node_count; i++) {
        uint32_t inode = add_inode(d, base->nodes[i].folder);
        d->inodes[inode].base = base->nodes[i].content;
        base->nodes[i].content = (struct content){0};
    }
    d->base_names = base->names;
    d->base_name_count = base->name_count;
    for (uint32_t i = 0; i < base->name_count; i++)
        set_name(d, base->names[i].folder, base->names[i].name, base->names[i].node);
    base->names = NULL;
    base->name_count = base->name_room = 0;
    image_destroy(base);
    return d;
}

struct disk *disk_free(struct disk *d)
{
    if (!d)
        return NULL;
    for (size_t i = 0; i < d->event_count; i++) {
        free(d->events[i].name);
        free(d->events[i].to_name);
        free(d->events[i].bytes);
    }
    for (uint32_t i = 0; i < d->inode_count; i++)
        content_destroy(&d->inodes[i].base);
    for (uint32_t i = 0; i < d->name_count; i++)
        free(d->names[i].name);
    for (uint32_t i = 0; i < d->base_name_count; i++)
        free(d->base_names[i].name);
    free(d->events);
    free(d->inodes);
    free(d->names);
    free(d->base_names);
    free(d);
    return NULL;
}

size_t disk_events(const struct disk *d)
{
    return d->event_count;
}

bool disk_is_folder(const struct disk *d, uint32_t inode)
{
    return d->inodes[inode].folder;
}

int64_t disk_time(const struct disk *d, size_t events)
{
    return events > 0 ? d->events[events - 1].ms : d->base_ms;
}

void disk_path(const struct disk *d, uint32_t inode, char *to, size_t size)
{
    char parent[256];

    if (inode == DISK_ROOT) {
        snprintf(to, size, ".");
        return;
    }
    for (uint32_t i = 0; i < d->name_count; i++) {
        const struct image_name *n = &d->names[i];
        if (n->node != inode)
            continue;
        if (n->folder == DISK_ROOT) {
            snprintf(to, size, "%s", n->name);
        } else {
            disk_path(d, n->folder, parent, sizeof(parent));
            snprintf(to, size, "%s/%s", parent, n->name);
        }
        return;
    }
    snprintf(to, size, "?");
}

static uint32_t find_name(const struct disk *d, uint32_t folder, const char *name, size_t len)
{
    for (uint32_t i = 0; i < d->name_count; i++) {
        const struct image_name *n = &d->names[i];
        if (n->folder == folder && strlen(n->name) == len && memcmp(n->name, name, len) == 0)
            return n->node;
    }
    return DISK_NOBODY;
}

uint32_t disk_find(const struct disk *d, const char *path, uint32_t *folder, const char **name)
{
    uint32_t at = DISK_ROOT;

    while (*path == '/')
        path++;
    while (*path) {
        size_t len = strcspn(path, "/");
        const char *next = path + len;

        while (*next == '/')
            next++;
        if (!*next && folder)
            *folder = at;
        if (!*next && name)
            *name = path;
        at = find_name(d, at, path, len);
        if (at == DISK_NOBODY && *next) {
            if (folder)
                *folder = DISK_NOBODY;
            return DISK_NOBODY;
        }
        path = next;
    }
    return at;
}

/* --- what happens --- */

uint32_t disk_make(struct disk *d, uint32_t folder, const char *name, bool is_folder)
{
    uint32_t inode = add_inode(d, is_folder);
    struct event *e = disk_add_event(d, EVENT_MAKE);

    e->inode = inode;
    e->folder = folder;
    e->name = strdup(name);
    set_name(d, folder, name, inode);
    return inode;
}

void disk_rename(struct disk *d, uint32_t from, const char *name, uint32_t to, const char *to_name)
{
    uint32_t inode = find_name(d, from, name, strlen(name));
    struct event *e = disk_add_event(d, EVENT_RENAME);

    assert(inode != DISK_NOBODY);
    e->inode = inode;
    e->folder = from;
    e->to_folder = to;
    e->name = strdup(name);
    e->to_name = strdup(to_name);
    drop_name(d, from, e->name);
    set_name(d, to, e->to_name, inode);
}

void disk_remove(struct disk *d, uint32_t folder, const char *name)
{
    struct event *e = disk_add_event(d, EVENT_REMOVE);

    e->inode = find_name(d, folder, name, strlen(name));
    e->folder = folder;
    e->name = strdup(name);
    drop_name(d, folder, e->name);
}

void disk_write(struct disk *d, uint32_t inode, uint64_t at, const void *bytes, size_t size)
{
    struct event *e = disk_add_event(d, EVENT_WRITE);

    e->inode = inode;
    e->at = at;
    e->size = size;
    e->bytes = malloc(size ? size : 1);
    must(e->bytes != NULL, "no memory for", "a write");
    memcpy(e->bytes, bytes, size);
}

void disk_zero(struct disk *d, uint32_t inode, uint64_t at, size_t size)
{
    struct event *e = disk_add_event(d, EVENT_ZERO);

    e->inode = inode;
    e->at = at;
    e->size = size;
}

void disk_size(struct disk *d, uint32_t inode, uint64_t size, bool only_grow)
{
    struct event *e = disk_add_event(d, EVENT_SIZE);

    e->inode = inode;
    e->size = size;
    e->only_grow = only_grow;
}

void disk_sync(struct disk *d, uint32_t inode)
{
    disk_add_event(d, EVENT_SYNC)->inode = inode;
}

void disk_sync_failed(struct disk *d, uint32_t inode, uint64_t salt)
{
    struct event *e = disk_add_event(d, EVENT_SYNC_FAILED);

    e->inode = inode;
    e->salt = salt;
}

/* --- for people --- */

bool disk_is_turning_point(const struct disk *d, size_t event)
{
    enum event_kind kind = d->events[event].kind;

    return kind != EVENT_WRITE && kind != EVENT_ZERO && kind != EVENT_SIZE;
}

static const char *name_of(const struct disk *d, uint32_t inode, size_t before)
{
    if (inode == DISK_ROOT)
        return ".";
    for (size_t i = before; i-- > 0;) {
        const struct event *e = &d->events[i];
        if (e->inode == inode && e->kind == EVENT_MAKE)
            return e->name;
        if (e->inode == inode && e->kind == EVENT_RENAME)
            return e->to_name;
    }
    for (uint32_t i = 0; i < d->base_name_count; i++) {
        if (d->base_names[i].node == inode)
            return d->base_names[i].name;
    }
    return "?";
}

void disk_describe(const struct disk *d, size_t event, char *to, size_t size)
{
    const struct event *e = &d->events[event];
    const char *of = e->inode == DISK_NOBODY ? "everything" : name_of(d, e->inode, event);

    switch (e->kind) {
    case EVENT_MAKE:
        snprintf(to, size, "make %s/%s", name_of(d, e->folder, event), e->name);
        break;
    case EVENT_RENAME:
        snprintf(to, size, "rename %s/%s to %s/%s", name_of(d, e->folder, event), e->name,
                 name_of(d, e->to_folder, event), e->to_name);
        break;
    case EVENT_REMOVE:
        snprintf(to, size, "remove %s/%s", name_of(d, e->folder, event), e->name);
        break;
    case EVENT_WRITE:
    case EVENT_ZERO:
        snprintf(to, size, "%s %s [%llu, %llu)", e->kind == EVENT_ZERO ? "zero" : "write", of,
                 (unsigned long long)e->at, (unsigned long long)(e->at + e->size));
        break;
    case EVENT_SIZE:
        snprintf(to, size, "size %s %llu%s", of, (unsigned long long)e->size,
                 e->only_grow ? " at least" : "");
        break;
    case EVENT_SYNC:
        snprintf(to, size, "sync %s", of);
        break;
    case EVENT_SYNC_FAILED:
        snprintf(to, size, "sync %s fails", of);
        break;
    case EVENT_FORGET:
        snprintf(to, size, "memory is short");
        break;
    }
}
