/* promoted.c - see promoted.h. */
#include "broker/replication/promoted.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "common/file.h"
#include "common/sealed.h"

enum { FORMAT = 1, PROMOTED_BYTES_MAX = 4096 };

void promoted_print(uint64_t epoch, struct buf *out)
{
    sealed_add(out, "format", FORMAT);
    sealed_add(out, "epoch", epoch);
    sealed_end(out);
}

static bool take_line(void *ctx, struct bytes key, struct bytes value)
{
    uint64_t *epoch = ctx, format;

    if (bytes_is(key, "format"))
        return sealed_number(value, FORMAT, &format) && format == FORMAT;
    return bytes_is(key, "epoch") && *epoch == 0 && sealed_number(value, INT64_MAX, epoch) &&
           *epoch > 0;
}

int promoted_parse(uint64_t *epoch, struct bytes text, struct err *err)
{
    int r;

    *epoch = 0;
    r = sealed_parse(text, take_line, epoch, err);
    if (r == 0 && *epoch == 0)
        r = err_say(err, -EBADMSG, "the epoch is missing");
    return r;
}

/* --- the file --- */

static int path_of(char path[PATH_MAX], const char *root_dir, const char *name, struct err *err)
{
    if (snprintf(path, PATH_MAX, "%s/tern%s", root_dir, name) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "open %s/tern%s", root_dir, name);
    return 0;
}

int promoted_load(uint64_t *epoch, const char *root_dir, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = {0};
    struct err why = {0};
    int r = path_of(path, root_dir, "/promoted", err);

    if (r < 0)
        return r;
    r = file_load(path, PROMOTED_BYTES_MAX, &text);
    if (r < 0 && r != -EFBIG) {
        err_set(err, r, "read %s", path);
    } else {
        r = r < 0 ? err_say(&why, -EBADMSG, "more than %d bytes", PROMOTED_BYTES_MAX)
                  : promoted_parse(epoch, buf_bytes(&text), &why);
        if (r < 0)
            err_say(err, r,
                    "%s is damaged: %s. It says that this slave was promoted. Remove it; if this "
                    "broker is to go on as the master, set brokerRole=ASYNC_MASTER (or "
                    "SYNC_MASTER) and brokerId=0 too",
                    path, why.text);
    }
    buf_destroy(&text);
    return r;
}

int promoted_save(uint64_t epoch, const char *root_dir, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = {0};
    int r = path_of(path, root_dir, "", err);

    if (r < 0)
        return r;
    r = file_mkdirs(path);
    if (r < 0)
        return err_set(err, r, "make %s", path);
    r = path_of(path, root_dir, "/promoted", err);
    if (r < 0)
        return r;
    promoted_print(epoch, &text);
    r = text.failed ? err_set(err, -ENOMEM, "write %s", path)
                    : file_replace(path, buf_bytes(&text), err);
    buf_destroy(&text);
    return r;
}

int promoted_remove(const char *root_dir, struct err *err)
{
    char path[PATH_MAX];
    int r = path_of(path, root_dir, "/promoted", err);

    if (r < 0)
        return r;
    r = file_unlink(path);
    if (r == 0)
        r = file_sync_parent(path);
    return r == 0 || r == -ENOENT ? 0 : err_set(err, r, "remove %s", path);
}
