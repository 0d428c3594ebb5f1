/* disk_internal.h - what disk.c, disk_cut.c and image.c share. */
#ifndef TERN_TESTS_FAULTS_DISK_INTERNAL_H
#define TERN_TESTS_FAULTS_DISK_INTERNAL_H

#include "disk.h"

/* Ends the program when it is not so: the test itself is broken, or the machine. */
void must(bool ok, const char *what, const char *path);

void content_reserve(struct content *c, size_t size);
void content_resize(struct content *c, size_t size);
void content_copy(struct content *to, const struct content *from);
void content_destroy(struct content *c);
uint32_t image_add_node(struct image *image, bool folder);
void image_add_name(struct image *image, uint32_t folder, const char *name, uint32_t node);

enum event_kind {
    EVENT_MAKE,
    EVENT_RENAME,
    EVENT_REMOVE,
    EVENT_WRITE,
    EVENT_ZERO,
    EVENT_SIZE,
    EVENT_SYNC,
    EVENT_SYNC_FAILED,
    EVENT_FORGET,
};
struct event {
    enum event_kind kind;
    bool only_grow;             /* SIZE */
    uint32_t inode;             /* of syncs DISK_NOBODY: the file system */
    uint32_t folder, to_folder; /* MAKE, RENAME, REMOVE */
    char *name, *to_name;
    uint64_t at, size;
    uint8_t *bytes;
    uint64_t salt; /* SYNC_FAILED: which units it has written */
    int64_t ms;
};
struct inode {
    bool folder;
    struct content base; /* at the beginning */
};
struct disk {
    struct event *events;
    size_t event_count, event_room;
    struct inode *inodes;
    uint32_t inode_count, inode_room;
    /* as of now */
    struct image_name *names;
    uint32_t name_count, name_room;
    /* at the beginning: the first of them are there for good */
    struct image_name *base_names;
    uint32_t base_name_count;
    int64_t base_ms;
};

struct event *disk_add_event(struct disk *disk, enum event_kind kind);

#endif
