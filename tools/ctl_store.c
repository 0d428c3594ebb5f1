/* ctl_store.c - see ctl_store.h. */
#include "tools/ctl_store.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "broker/store/delay_levels.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/standard.h"

enum { PROGRESS_MS = 2000 };

int ctl_store_begin(struct ctl_store *s)
{
    const char *text = s->delay_text ? s->delay_text : DELAY_LEVELS_DEFAULT;

    s->delay_levels = delay_levels_parse(text, s->delay_ms, DELAY_LEVELS_MAX);
    if (s->delay_levels < 0)
        return err_say(&s->ctl->err, TOOL_USAGE,
                       "--delay-levels \"%.100s\": up to %d items like 1s 5m 2h 1d, separated by "
                       "one space each",
                       text, DELAY_LEVELS_MAX);
    s->show_progress |= isatty(STDERR_FILENO) != 0;
    s->progress_ms = clock_mono_ms();
    log_set_level(LOG_LEVEL_WARN);
    return CTL_GO_ON;
}

void ctl_store_progress(void *ctx, const char *what, uint64_t done, uint64_t of)
{
    struct ctl_store *s = ctx;
    int64_t now;

    if (!s->show_progress)
        return;
    now = clock_mono_ms();
    if (now - s->progress_ms < PROGRESS_MS)
        return;
    s->progress_ms = now;
    if (of == 0)
        ctl_note("%s: %" PRIu64, what, done);
    else if (of >= UINT64_C(16) << 20)
        ctl_note("%s: %" PRIu64 " of %" PRIu64 " MiB", what, done >> 20, of >> 20);
    else
        ctl_note("%s: %" PRIu64 " of %" PRIu64, what, done, of);
}

bool ctl_store_flush(struct ctl_store *s)
{
    int r = standard_write(&s->ctl->out);

    if (r < 0 && s->write_failed == 0)
        s->write_failed = r;
    return r == 0;
}

int ctl_store_end(struct ctl_store *s, int status)
{
    (void)ctl_store_flush(s);
    if (s->write_failed == 0 || s->write_failed == -EPIPE || status != TOOL_DONE)
        return status;
    return err_say(&s->ctl->err, TOOL_REFUSED, "write to stdout: %s", strerror(-s->write_failed));
}
