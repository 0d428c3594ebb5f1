/* store_layout.h - the files of a store folder as an offline tool finds them: which segments there
 * are, and how large segments and queue files are meant to be.
 *
 * The broker knows the sizes from its configuration; here they are what most files have. Reads
 * names and sizes only, changes nothing. One thread.
 */
#ifndef TERN_TOOLS_STORE_LAYOUT_H
#define TERN_TOOLS_STORE_LAYOUT_H

#include <limits.h>

#include "common/err.h"
#include "tools/findings.h"

struct layout_segment {
    uint64_t base; /* log offset of its first byte */
};

struct store_layout {
    char root[PATH_MAX];
    char log_dir[PATH_MAX];
    bool own_log_dir;                /* --commit-log: not below the root */
    uint64_t segment_bytes;          /* 0: there is no segment */
    struct layout_segment *segments; /* whole ones, ascending; there may be gaps */
    size_t count;
    int64_t queue_file_bytes; /* 0: there is no queue file */
};

/* Fills *out for the store folder `root` (`log_dir` NULL: its commitlog/). What is wrong with names
 * and sizes goes to `findings` (may be NULL). 0, or -errno with err when this is no store folder or
 * cannot be read. */
int store_layout_read(struct store_layout *out, const char *root, const char *log_dir,
                      struct findings *findings, struct err *err);
void store_layout_destroy(struct store_layout *layout); /* safe on zeroes and twice */

static inline uint64_t store_layout_min(const struct store_layout *l)
{
    return l->count ? l->segments[0].base : 0;
}
/* End of the last segment. */
static inline uint64_t store_layout_limit(const struct store_layout *l)
{
    return l->count ? l->segments[l->count - 1].base + l->segment_bytes : 0;
}
/* Whether the segment that holds `offset` is there. */
bool store_layout_has(const struct store_layout *l, uint64_t offset);

/* "commitlog/<20 digits>" of the segment that holds `offset`, for findings; with a commit log
 * elsewhere its path. */
char *store_layout_segment_name(const struct store_layout *l, uint64_t offset, char to[PATH_MAX]);
/* root/name; false when it is too long. */
bool store_layout_path(const struct store_layout *l, const char *name, char to[PATH_MAX]);

/* The number that most of the files share: at most SIZES_KINDS different ones are told apart. */
enum { SIZES_KINDS = 16 };
struct size_poll {
    int64_t size[SIZES_KINDS];
    uint64_t count[SIZES_KINDS];
    unsigned kinds;
};
void size_poll_add(struct size_poll *p, int64_t size);
int64_t size_poll_winner(const struct size_poll *p); /* of equals the larger; 0 without any */

#endif
