/* memory_limit.c - see memory_limit.h. */
#include "common/memory_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"

enum { SMALL_FILE = 64 * 1024 };

/* The number in a file; -1 for "max", anything else, and no file. */
static int64_t number_in(const char *path)
{
    struct buf text = {0};
    int64_t value = -1;

    if (file_load(path, SMALL_FILE, &text) == 0) {
        char *end;

        buf_add_u8(&text, '\0');
        if (!text.failed) {
            long long n = strtoll((const char *)buf_at(&text), &end, 10);

            if (end != (const char *)buf_at(&text) && n > 0 && (*end == '\n' || *end == '\0'))
                value = n;
        }
    }
    buf_destroy(&text);
    return value;
}

static void lower(int64_t *limit, int64_t to)
{
    if (to > 0 && to < *limit)
        *limit = to;
}

/* The files of one group and of all groups above it. */
static void walk_up(const char *mount, const char *group, const char *const *files, int64_t *limit)
{
    char path[4096], file[4200];
    size_t base = strlen(mount);

    if (snprintf(path, sizeof(path), "%s%s", mount, group) >= (int)sizeof(path))
        return;
    for (;;) {
        char *slash;

        for (int i = 0; files[i]; i++) {
            if (snprintf(file, sizeof(file), "%s/%s", path, files[i]) < (int)sizeof(file))
                lower(limit, number_in(file));
        }
        slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < base)
            return;
        *slash = '\0';
    }
}

static bool has_memory(const char *controllers)
{
    const char *at = strstr(controllers, "memory");

    return at && (at == controllers || at[-1] == ',') && (at[6] == '\0' || at[6] == ',');
}

int64_t memory_limit(const char *root)
{
    static const char *const v2[] = {"memory.max", "memory.high", NULL};
    static const char *const v1[] = {"memory.limit_in_bytes", NULL};
    int64_t limit = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    char path[1024], mount[1024];
    struct buf text = {0};
    char *rest, *line;

    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (file_load(path, SMALL_FILE, &text) == 0)
        buf_add_u8(&text, '\0');
    if (text.len > 1 && !text.failed) {
        rest = (char *)buf_at(&text);
        while ((line = strsep(&rest, "\n")) != NULL) {
            /* number:controllers:path; v2 has 0 and no controllers */
            char *controllers = strchr(line, ':');
            char *group = controllers ? strchr(controllers + 1, ':') : NULL;

            if (!group)
                continue;
            *controllers++ = '\0';
            *group++ = '\0';
            if (group[0] == '/' && group[1] == '\0')
                group++;
            if (strstr(group, ".."))
                group = ""; /* outside of our namespace: the root is all that can be seen */
            if (*controllers == '\0') {
                snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
                walk_up(mount, group, v2, &limit);
            } else if (has_memory(controllers)) {
                snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/memory", root);
                walk_up(mount, group, v1, &limit);
                walk_up(mount, "", v1, &limit);
            }
        }
    }
    buf_destroy(&text);
    return limit;
}
