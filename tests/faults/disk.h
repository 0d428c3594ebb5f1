/* disk.h - what a disk was told, in order, and what of it a power cut may leave.
 *
 * A disk is a folder's content at the beginning (an image) and events since: writes, sizes, names,
 * syncs. What the model promises is what POSIX does, and no more:
 *
 *   bytes   a write reaches the disk with a sync of its file or of the file system that begins
 *           after it; until then each unit (512 bytes or 4 KiB) of it by itself, or not. A unit
 * holds what the page cache held after one of the writes to it: never the later without the
 *           earlier. sync_file_range says nothing.
 *   sizes   likewise, apart from the bytes.
 *   names   with a sync of their folder or of the file system; until then each by itself, or the
 *           ones in a folder in order. A rename within a folder is whole; one between two folders
 *           may have happened in one of them.
 *   a sync  that fails leaves the pages clean, with old or new bytes on the disk, and the later
 * ones say nothing about them, until they are written to again. A reader sees the new ones, until
 * memory is short (disk_forget()).
 */
#ifndef TERN_TESTS_FAULTS_DISK_H
#define TERN_TESTS_FAULTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- content of a folder --- */

struct content {
    uint8_t *bytes; /* those from `size` to `room` are 0 */
    size_t size, room;
};
struct image_node {
    bool folder;
    struct content content;
};
struct image_name {
    uint32_t folder, node;
    char *name;
};
struct image {
    struct image_node *nodes; /* the first is the folder itself */
    uint32_t node_count, node_room;
    struct image_name *names;
    uint32_t name_count, name_room;
};
void image_destroy(struct image *image);
/* Makes it below the folder `path`, which is there and empty; sparse, or with every byte written.
 */
void image_write(const struct image *image, const char *path, bool sparse);
void image_read(struct image *image, const char *path);
/* The node at "a/b/c", NULL when there is none. */
const struct image_node *image_find(const struct image *image, const char *path);
/* Removes all that is in the folder. */
void folder_clear(const char *path);

/* --- what happened --- */

struct disk;
#define DISK_ROOT 0u
#define DISK_NOBODY UINT32_MAX

/* Takes the image's content, as it is at `ms`; the image is empty then. NULL: an empty folder. */
struct disk *disk_new(struct image *base, int64_t ms);
struct disk *disk_free(struct disk *disk);
size_t disk_events(const struct disk *disk);

/* The inode of a path below the root ("" is the root), DISK_NOBODY when there is none. *folder and
 * *name, which may be NULL, get where the path's last part belongs. */
uint32_t disk_find(const struct disk *disk, const char *path, uint32_t *folder, const char **name);
bool disk_is_folder(const struct disk *disk, uint32_t inode);
/* The path that an inode has now, "?" when it has none. */
void disk_path(const struct disk *disk, uint32_t inode, char *to, size_t size);
/* When the last of the first `events` events happened (turns_now_ms()). */
int64_t disk_time(const struct disk *disk, size_t events);

uint32_t disk_make(struct disk *disk, uint32_t folder, const char *name, bool is_folder);
void disk_rename(struct disk *disk, uint32_t from, const char *name, uint32_t to,
                 const char *to_name);
void disk_remove(struct disk *disk, uint32_t folder, const char *name);
void disk_write(struct disk *disk, uint32_t inode, uint64_t at, const void *bytes, size_t size);
void disk_zero(struct disk *disk, uint32_t inode, uint64_t at, size_t size); /* the size stays */
void disk_size(struct disk *disk, uint32_t inode, uint64_t size, bool only_grow);
/* DISK_NOBODY: the whole file system. */
void disk_sync(struct disk *disk, uint32_t inode);
void disk_sync_failed(struct disk *disk, uint32_t inode, uint64_t salt);
/* Memory is short: pages that a failed sync has left are read from the disk again. Writes what they
 * hold then to the files below `path`. */
void disk_forget(struct disk *disk, const char *path);

/* --- power cuts --- */

enum cut_kind {
    CUT_NOTHING,     /* of what was not synced is there */
    CUT_EVERYTHING,  /* is there */
    CUT_IN_ORDER,    /* up to some event, of which a part */
    CUT_SOME_UNITS,  /* each by itself */
    CUT_SOME_EVENTS, /* each by itself */
    CUT_SOME_FILES,  /* each with all of it, or nothing */
    CUT_ONE_LOST,    /* one event, or a part of it */
    CUT_ONE_THERE,
    CUT_KINDS,
};
struct cut {
    size_t events; /* happened before it */
    enum cut_kind kind;
    uint64_t seed;    /* says which */
    uint32_t unit;    /* 512 or 4096 */
    unsigned percent; /* of SOME that are there */
    bool names_in_order;
};
void disk_cut(const struct disk *disk, const struct cut *cut, struct image *out);
const char *cut_kind_name(enum cut_kind kind);
/* One line about an event, for whoever looks at a failure. */
void disk_describe(const struct disk *disk, size_t event, char *to, size_t size);
/* Events whose order against others matters most: names and syncs. */
bool disk_is_turning_point(const struct disk *disk, size_t event);

#endif
