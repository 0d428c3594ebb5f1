/* ctl_backup.c - ternctl backup: a consistent copy of a store folder. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "tools/backup.h"
#include "tools/ctl_store.h"
#include "tools/show.h"

static void note(void *ctx, const char *text)
{
    (void)ctx;
    ctl_note("%s", text);
}

/* DIR.backup-20260131-235959 */
static bool default_target(const char *root, char to[PATH_MAX])
{
    time_t now = time(NULL);
    size_t len = strlen(root);
    char when[32];
    struct tm tm;
    int n;

    while (len > 1 && root[len - 1] == '/')
        len--;
    if (!localtime_r(&now, &tm) || strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm) == 0)
        return false;
    n = snprintf(to, PATH_MAX, "%.*s.backup-%s", (int)len, root, when);
    return n > 0 && n < PATH_MAX;
}

static void print_json(struct buf *out, const char *to, const struct backup_result *r)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    jout_kv_str(&j, "to", to);
    jout_kv_i64(&j, "logMin", (int64_t)r->log_min);
    jout_kv_i64(&j, "logEnd", (int64_t)r->log_end);
    jout_kv_i64(&j, "queuesCompleteTo", (int64_t)r->complete_to);
    jout_kv_i64(&j, "segments", (int64_t)r->segments);
    jout_kv_i64(&j, "queueFiles", (int64_t)r->queue_files);
    jout_kv_i64(&j, "sharedBlocks", (int64_t)r->ways[COPY_REFLINK]);
    jout_kv_i64(&j, "hardLinks", (int64_t)r->ways[COPY_LINK]);
    jout_kv_i64(&j, "copied", (int64_t)r->ways[COPY_BYTES]);
    jout_kv_i64(&j, "copiedBytes", (int64_t)r->bytes);
    jout_kv_bool(&j, "running", r->running);
    jout_object_end(&j);
    buf_add_u8(out, '\n');
}

static void print_text(struct buf *out, const char *to, const struct backup_result *r)
{
    char size[SHOW_SIZE_MAX];

    show_text(out, bytes_str(to), false);
    buf_addf(out,
             ": log %" PRIu64 " to %" PRIu64 " in %" PRIu64 " segments, %" PRIu64
             " queue files; %" PRIu64 " files share blocks with the store, %" PRIu64
             " are hard links, %" PRIu64 " were copied (%s)\n",
             r->log_min, r->log_end, r->segments, r->queue_files, r->ways[COPY_REFLINK],
             r->ways[COPY_LINK], r->ways[COPY_BYTES], show_size(size, (double)r->bytes));
}

int ctl_backup(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct ctl_store s = {.ctl = ctl};
    const char *to = NULL;
    char target[PATH_MAX];
    bool only_bytes = false;
    const struct option_spec specs[] = {
        {.name = "to",
         .kind = OPTION_TEXT,
         .to = &to,
         .value = "DEST",
         .help = "folder to make; default: DIR.backup-<time> beside it"},
        {.name = "copy",
         .kind = OPTION_FLAG,
         .to = &only_bytes,
         .help = "copy all bytes: no shared blocks, no hard links"},
        CTL_STORE_OPTIONS(&s),
        CTL_STORE_PROGRESS_OPTION(&s),
        CTL_OFFLINE_OPTIONS(ctl),
    };
    struct backup_options options;
    struct backup_result result;
    int operands, r;

    r = ctl_parse_offline(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1,
                          &operands);
    if (r == CTL_GO_ON)
        r = ctl_store_begin(&s);
    if (r != CTL_GO_ON)
        return r;
    if (!to && !default_target(argv[0], target))
        return err_say(&ctl->err, TOOL_USAGE, "no name for the copy: give one with --to");
    options = (struct backup_options){
        .root = argv[0],
        .log_dir = s.log_dir,
        .to = to ? to : target,
        .only_bytes = only_bytes,
        .progress = ctl_store_progress,
        .note = note,
        .ctx = &s,
    };
    r = backup_run(&options, &result, &ctl->err);
    if (r < 0)
        return TOOL_REFUSED;
    if (ctl->json)
        print_json(&ctl->out, options.to, &result);
    else
        print_text(&ctl->out, options.to, &result);
    return ctl_store_end(&s, TOOL_DONE);
}
