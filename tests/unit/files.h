/* files.h - what tests do with files behind the back of common/file.h, whose calls they count and
 * fail. */
#ifndef TERN_TESTS_UNIT_FILES_H
#define TERN_TESTS_UNIT_FILES_H

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int files_remove_one(const char *path, const struct stat *st, int type,
                                   struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* A file, or a folder with all that is in it; fine when it is not there. */
static inline void remove_tree(const char *path)
{
    nftw(path, files_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Whether the path of an open file has `part` in it. */
static inline bool file_is_in(int fd, const char *part)
{
    char link[64], path[4096];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    return strstr(path, part) != NULL;
}

#endif
