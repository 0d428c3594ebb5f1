/* ctl_store_repair.c - ternctl store repair: what follows the log, made anew from it. */
#include <errno.h>
#include <inttypes.h>

#include "tools/ctl_store.h"
#include "tools/repair.h"
#include "tools/store_verify.h"

struct repairing_ctl {
    struct ctl_store s;
    struct repair repair;
    struct buf notes; /* lines, each with a NUL */
};

static void note(void *ctx, const char *text)
{
    struct repairing_ctl *r = ctx;

    buf_add(&r->notes, text, strlen(text) + 1);
}

static void add_notes(struct repairing_ctl *r, struct json_out *j)
{
    const char *at = (const char *)buf_at(&r->notes), *end = at + r->notes.len;

    for (; at && at < end; at += strlen(at) + 1) {
        if (j)
            jout_str(j, at);
        else
            buf_addf(&r->s.ctl->out, "%s\n", at);
    }
}

static void print_json(struct repairing_ctl *r, const struct store_rebuilt *b)
{
    struct json_out j;

    jout_begin(&j, &r->s.ctl->out);
    jout_object(&j);
    jout_kv_bool(&j, "dryRun", false);
    jout_kv_i64(&j, "logEnd", (int64_t)b->end);
    jout_kv_str(&j, "logEndWhy", b->why);
    jout_kv_i64(&j, "records", (int64_t)b->records);
    jout_kv_i64(&j, "queues", (int64_t)b->queues);
    jout_kv_i64(&j, "keptQueues", (int64_t)b->kept_queues);
    jout_kv_i64(&j, "damagedPlaces", (int64_t)b->damaged);
    jout_kv_i64(&j, "recordsOfNoQueue", (int64_t)b->nameless);
    jout_key(&j, "flushed");
    if (b->marked)
        jout_i64(&j, (int64_t)b->flushed);
    else
        jout_null(&j);
    jout_kv_bool(&j, "clean", b->clean);
    jout_key(&j, "notes");
    jout_array(&j);
    add_notes(r, &j);
    jout_array_end(&j);
    jout_object_end(&j);
    buf_add_u8(&r->s.ctl->out, '\n');
}

static void print_text(struct repairing_ctl *r, const struct store_rebuilt *b)
{
    struct buf *out = &r->s.ctl->out;

    if (r->repair.cut)
        buf_addf(out, "the log ends at %" PRIu64 " now; what stood behind is kept in tern/cut-*\n",
                 b->end);
    add_notes(r, NULL);
    buf_addf(out,
             "consume queues: %" PRIu64 " made from %" PRIu64 " records of the log, %" PRIu64
             " without records kept\n",
             b->queues, b->records, b->kept_queues);
    if (b->damaged > 0)
        buf_addf(out, "the log is damaged in %" PRIu64 " places, which stay as they are\n",
                 b->damaged);
    if (b->nameless > 0)
        buf_addf(out, "%" PRIu64 " records name a topic or queue that cannot be\n", b->nameless);
    if (b->clean)
        buf_addf(out,
                 "tern/flushed, tern/queues, checkpoint: written, as after a clean stop at %" PRIu64
                 "\n",
                 b->end);
    else if (b->marked)
        buf_addf(
            out,
            "tern/flushed, checkpoint: written; the log is known to be on the disk up to %" PRIu64
            " and ends at %" PRIu64 " (%s): the next start reads it from there on\n",
            b->flushed, b->end, b->why);
    else
        buf_addf(
            out,
            "checkpoint: written; nothing tells how much of the log is on the disk, so there is "
            "no tern/flushed: the next start reads the whole log, which ends at %" PRIu64 " (%s)\n",
            b->end, b->why);
}

static void flush(void *ctx)
{
    struct repairing_ctl *r = ctx;

    (void)ctl_store_flush(&r->s);
}

static void progress(void *ctx, const char *what, uint64_t done, uint64_t of)
{
    struct repairing_ctl *r = ctx;

    ctl_store_progress(&r->s, what, done, of);
}

/* Says what is wrong and what would be done. */
static int dry_run(struct repairing_ctl *r, const char *root)
{
    struct store_verify_options options = {
        .root = root,
        .log_dir = r->s.log_dir,
        .delay_levels = r->s.delay_levels,
        .progress = progress,
        .flush = flush,
        .ctx = r,
    };
    struct store_verify_result result;
    struct store_layout layout;
    struct ctl *ctl = r->s.ctl;
    struct findings findings;
    int code;

    memcpy(options.delay_ms, r->s.delay_ms, sizeof(options.delay_ms));
    if (r->repair.cut) {
        code = store_layout_read(&layout, root, r->s.log_dir, NULL, &ctl->err);
        if (code == 0)
            code = repair_check_cut(&layout, r->repair.cut_at, &ctl->err);
        store_layout_destroy(&layout);
        if (code < 0)
            return CTL_STORE_CANNOT;
    }
    findings_begin(&findings, &ctl->out, ctl->json, FINDINGS_DEFAULT_MAX);
    code = store_verify_run(&options, &findings, &result, &ctl->err);
    findings_end(&findings);
    if (code == 0)
        store_verify_summary(&result, &findings);
    if (ctl->json) {
        jout_kv_bool(&findings.j, "dryRun", true);
        jout_object_end(&findings.j);
        buf_add_u8(&ctl->out, '\n');
    } else if (code == 0) {
        buf_addf(&ctl->out,
                 "would make the consume queues anew from %" PRIu64
                 " records, and write tern/flushed, "
                 "tern/queues and checkpoint; nothing was changed\n",
                 result.records);
        if (r->repair.drop_index)
            buf_add_str(&ctl->out, "would remove the key index, for the broker to make it anew\n");
        if (r->repair.cut)
            buf_addf(&ctl->out,
                     "would end the log at %" PRIu64 " and keep what stands behind, up to %" PRIu64
                     ", in tern/cut-*\n",
                     r->repair.cut_at, result.log_end);
    }
    return code < 0 ? CTL_STORE_CANNOT : TOOL_DONE;
}

static int repair(struct repairing_ctl *r, const char *root)
{
    struct ctl *ctl = r->s.ctl;
    struct store_rebuilt rebuilt;
    struct findings findings;
    int code;

    r->repair.root = root;
    r->repair.log_dir = r->s.log_dir;
    r->repair.delay_levels = r->s.delay_levels;
    memcpy(r->repair.delay_ms, r->s.delay_ms, sizeof(r->repair.delay_ms));
    r->repair.note = note;
    r->repair.ctx = r;
    findings_begin(&findings, &ctl->out, false, FINDINGS_DEFAULT_MAX);
    code = repair_run(&r->repair, &findings, &rebuilt, &ctl->err);
    if (code < 0)
        return code == -EBUSY || code == -EINVAL || code == -ENOENT || code == -EBADMSG
                   ? CTL_STORE_CANNOT
                   : TOOL_REFUSED;
    if (ctl->json)
        print_json(r, &rebuilt);
    else
        print_text(r, &rebuilt);
    return TOOL_DONE;
}

int ctl_store_repair(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct repairing_ctl r = {.s.ctl = ctl, .repair.queue_file_bytes = 6000000};
    int64_t cut_at = -1;
    bool dry = false;
    const struct option_spec specs[] = {
        {.name = "dry-run",
         .kind = OPTION_FLAG,
         .to = &dry,
         .help = "say what is wrong and what would be done, and change nothing"},
        {.name = "truncate-at",
         .kind = OPTION_NUMBER,
         .to = &cut_at,
         .value = "N",
         .help =
             "end the log at this log offset, where a record begins; what stands behind is kept "
             "in tern/cut-*",
         .max = INT64_MAX},
        {.name = "index",
         .kind = OPTION_FLAG,
         .to = &r.repair.drop_index,
         .help = "remove the key index, too: the broker makes it anew from the log while it runs"},
        {.name = "queue-file-bytes",
         .kind = OPTION_NUMBER,
         .to = &r.repair.queue_file_bytes,
         .value = "N",
         .help =
             "mappedFileSizeConsumeQueue, when there is no queue file to learn it from (6000000)",
         .min = QUEUE_ENTRY_BYTES,
         .max = INT32_MAX},
        CTL_STORE_OPTIONS(&r.s),
        CTL_STORE_DELAY_OPTION(&r.s),
        CTL_STORE_PROGRESS_OPTION(&r.s),
        CTL_OFFLINE_OPTIONS(ctl),
    };
    int operands, status;

    status = ctl_parse_offline(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1,
                               1, &operands);
    if (status == CTL_GO_ON)
        status = ctl_store_begin(&r.s);
    if (status != CTL_GO_ON)
        return status;
    r.repair.cut = cut_at >= 0;
    r.repair.cut_at = (uint64_t)cut_at;
    status = dry ? dry_run(&r, argv[0]) : repair(&r, argv[0]);
    ctl->cannot = status == CTL_STORE_CANNOT;
    buf_destroy(&r.notes);
    return ctl_store_end(&r.s, status);
}
