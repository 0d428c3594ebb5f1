/* port_file.c - see port_file.h. */
#include "common/port_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/file.h"

static int check_folder(const char *path, struct err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (!slash)
        strcpy(folder, ".");
    else if (!bytes_to_cstr(bytes_of(path, len ? len : 1), folder, sizeof(folder)))
        return err_set(err, -ENAMETOOLONG, "write the port to %s", path);
    if (access(folder, W_OK | X_OK) < 0)
        return err_set(err, -errno, "write the port to %s: folder %s", path, folder);
    return 0;
}

int port_file_clear(const char *path, struct err *err)
{
    struct stat st;
    int r;

    if (path[0] == '\0')
        return 0;
    r = lstat(path, &st) < 0 ? -errno : 0;
    if (r == 0 && !S_ISREG(st.st_mode))
        return err_say(err, -EINVAL, "write the port to %s: something else than a file is there",
                       path);
    if (r == 0)
        r = file_unlink(path);
    if (r < 0 && r != -ENOENT)
        return err_set(err, r, "remove the old %s", path);
    return check_folder(path, err);
}

int port_file_write(const char *path, unsigned port, struct err *err)
{
    char text[16];

    if (path[0] == '\0')
        return 0;
    snprintf(text, sizeof(text), "%u\n", port);
    return file_replace(path, bytes_str(text), err);
}
