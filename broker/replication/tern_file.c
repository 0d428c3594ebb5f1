/* tern_file.c - see tern_file.h. */
#include "broker/replication/tern_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "common/file.h"

static int path_of(char path[PATH_MAX], const char *root_dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/tern/%s", root_dir, name) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "open %s/tern/%s", root_dir, name);
    return 0;
}

int tern_file_load(const char *root_dir, const char *name, size_t most,
                   int (*parse)(void *out, struct bytes text, struct err *err), void *out,
                   const char *what_to_do, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = {0};
    struct err why = {0};
    int r = path_of(path, root_dir, name, err);

    if (r < 0)
        return r;
    r = file_load(path, most, &text);
    if (r < 0 && r != -EFBIG) {
        err_set(err, r, "read %s", path);
    } else {
        r = r < 0 ? err_say(&why, -EBADMSG, "more than %zu bytes", most)
                  : parse(out, buf_bytes(&text), &why);
        if (r < 0)
            err_say(err, r, "%s is damaged: %s. %s", path, why.text, what_to_do);
    }
    buf_destroy(&text);
    return r;
}

int tern_file_save(const char *root_dir, const char *name, const struct buf *text, struct err *err)
{
    char path[PATH_MAX];
    int r = path_of(path, root_dir, "", err);

    if (r < 0)
        return r;
    r = file_mkdirs(path);
    if (r < 0)
        return err_set(err, r, "make %s", path);
    r = path_of(path, root_dir, name, err);
    if (r < 0)
        return r;
    return text->failed ? err_set(err, -ENOMEM, "write %s", path)
                        : file_replace(path, buf_bytes(text), err);
}

int tern_file_remove(const char *root_dir, const char *name, struct err *err)
{
    char path[PATH_MAX];
    int r = path_of(path, root_dir, name, err);

    if (r < 0)
        return r;
    r = file_unlink(path);
    if (r == 0)
        r = file_sync_parent(path);
    return r == 0 || r == -ENOENT ? 0 : err_set(err, r, "remove %s", path);
}
