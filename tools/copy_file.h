/* copy_file.h - one file copied the cheapest way that is allowed: shared blocks, another name, or
 * its bytes without the holes.
 *
 * Size, permissions and the time of the last write are kept (retention goes by that time). Nothing
 * is synced: the caller syncs the file system once.
 */
#ifndef TERN_TOOLS_COPY_FILE_H
#define TERN_TOOLS_COPY_FILE_H

#include <stdbool.h>
#include <stdint.h>

enum copy_way {
    COPY_REFLINK, /* FICLONE: blocks are shared until one of the two is written to */
    COPY_LINK,    /* a hard link: it is the same file */
    COPY_BYTES,
    COPY_WAYS,
};

struct copy_request {
    const char *from, *to; /* `to` must not exist */
    bool may_link;         /* nobody writes to the file any more */
    bool only_bytes;       /* --copy */
    int64_t upto;          /* bytes from here on are left out and read as zeroes; -1: all of them */
};
struct copy_result {
    enum copy_way way;
    int64_t size; /* of the file */
    int64_t data; /* bytes written for it: 0 when blocks are shared */
};

/* 0; -ENOENT when `from` is not there, -ESTALE when it was emptied while it was read (a deletion);
 * -errno. After a failure `to` is not there. */
int copy_file(const struct copy_request *request, struct copy_result *result);

#endif
