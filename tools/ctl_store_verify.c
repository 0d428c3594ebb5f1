/* ctl_store_verify.c - ternctl store verify: a store folder checked as a whole, offline. */
#include <errno.h>

#include "tools/ctl_store.h"
#include "tools/store_verify.h"

static void flush(void *ctx)
{
    (void)ctl_store_flush(ctx);
}

int ctl_store_verify(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct ctl_store s = {.ctl = ctl};
    int64_t most = FINDINGS_DEFAULT_MAX, slots = 0, entries = 0;
    bool live = false;
    const struct option_spec specs[] = {
        {.name = "live",
         .kind = OPTION_FLAG,
         .to = &live,
         .help = "check what is durable of a store that a broker runs on"},
        {.name = "max",
         .kind = OPTION_NUMBER,
         .to = &most,
         .value = "N",
         .help = "write at most N problems and N notes (1000); all are counted",
         .min = 0,
         .max = INT64_MAX},
        {.name = "index-slots",
         .kind = OPTION_NUMBER,
         .to = &slots,
         .value = "N",
         .help = "maxHashSlotNum, where tern/index does not tell (5000000)",
         .min = 1,
         .max = INDEX_SLOTS_MAX},
        {.name = "index-entries",
         .kind = OPTION_NUMBER,
         .to = &entries,
         .value = "N",
         .help = "maxIndexNum, likewise (20000000)",
         .min = 2,
         .max = INDEX_ENTRIES_MAX},
        CTL_STORE_OPTIONS(&s),
        CTL_STORE_DELAY_OPTION(&s),
        CTL_STORE_PROGRESS_OPTION(&s),
        CTL_OFFLINE_OPTIONS(ctl),
    };
    struct store_verify_options options;
    struct store_verify_result result;
    struct findings findings;
    int operands, r;

    r = ctl_parse_offline(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1,
                          &operands);
    if (r == CTL_GO_ON)
        r = ctl_store_begin(&s);
    if (r != CTL_GO_ON)
        return r;
    options = (struct store_verify_options){
        .root = argv[0],
        .log_dir = s.log_dir,
        .live = live,
        .delay_levels = s.delay_levels,
        .progress = ctl_store_progress,
        .flush = flush,
        .ctx = &s,
    };
    if (slots > 0 || entries > 0)
        options.index_shape = (struct index_shape){slots > 0 ? (uint32_t)slots : 5000000,
                                                   entries > 0 ? (uint32_t)entries : 20000000};
    memcpy(options.delay_ms, s.delay_ms, sizeof(options.delay_ms));
    findings_begin(&findings, &ctl->out, ctl->json, (uint64_t)most);
    r = store_verify_run(&options, &findings, &result, &ctl->err);
    findings_end(&findings);
    if (r == 0)
        store_verify_summary(&result, &findings);
    else if (ctl->json)
        jout_kv_str(&findings.j, "cannotCheck", ctl->err.text);
    if (ctl->json) {
        jout_object_end(&findings.j);
        buf_add_u8(&ctl->out, '\n');
    }
    ctl->cannot = r < 0;
    if (r < 0)
        return ctl_store_end(&s, CTL_STORE_CANNOT);
    return ctl_store_end(&s, findings.problems > 0 ? TOOL_REFUSED : TOOL_DONE);
}
