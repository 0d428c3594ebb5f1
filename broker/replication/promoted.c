/* promoted.c - see promoted.h. */
#include "broker/replication/promoted.h"

#include <errno.h>

#include "broker/replication/tern_file.h"
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

static int parse(void *out, struct bytes text, struct err *err)
{
    return promoted_parse(out, text, err);
}

int promoted_load(uint64_t *epoch, const char *root_dir, struct err *err)
{
    return tern_file_load(root_dir, "promoted", PROMOTED_BYTES_MAX, parse, epoch,
                          "It says that this slave was promoted. Remove it; if this broker is to "
                          "go on as the master, set brokerRole=ASYNC_MASTER (or SYNC_MASTER) and "
                          "brokerId=0 too",
                          err);
}

int promoted_save(uint64_t epoch, const char *root_dir, struct err *err)
{
    struct buf text = {0};
    int r;

    promoted_print(epoch, &text);
    r = tern_file_save(root_dir, "promoted", &text, err);
    buf_destroy(&text);
    return r;
}

int promoted_remove(const char *root_dir, struct err *err)
{
    return tern_file_remove(root_dir, "promoted", err);
}
