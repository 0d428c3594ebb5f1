/* ctl_store_dump.c - ternctl store dump: records of a log as JSON lines. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/log_scan.h"
#include "tools/ctl_store.h"
#include "tools/log_walk.h"
#include "tools/message.h"
#include "tools/moment.h"

enum { WRITE_BYTES = 256 << 10 };

struct dump {
    struct ctl_store s;
    struct store_layout layout;
    struct mark mark;
    bool marked;
    /* what to show; -1, NULL: not asked for */
    int64_t offset, to, queue, max;
    int64_t from_ms;
    const char *time, *topic;
    struct buf unpacked;
    int64_t shown;
    uint64_t damaged;
};

/* Store time of the first record of a segment; INT64_MAX when there is none. */
static int first_ms(struct dump *d, uint64_t base, int64_t *ms, struct err *err)
{
    struct log_scan scan;
    struct record record;
    const char *why;
    int r;

    log_scan_init(&scan, d->layout.log_dir, d->layout.segment_bytes, err);
    r = log_scan_judge(&scan, base, &record, &why);
    *ms = r == LOG_SCAN_RECORD ? record.store_ms : INT64_MAX;
    log_scan_destroy(&scan);
    return r < 0 ? r : 0;
}

/* The last segment that begins before the time; times rise with the log. */
static int segment_of_time(struct dump *d, int64_t ms, uint64_t *from, struct err *err)
{
    size_t low = 0, high = d->layout.count;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        int64_t begins;
        int r = first_ms(d, d->layout.segments[mid].base, &begins, err);

        if (r < 0)
            return r;
        if (begins < ms)
            low = mid;
        else
            high = mid;
    }
    *from = d->layout.count ? d->layout.segments[low].base : 0;
    return 0;
}

/* Where to begin: a record must be there. */
static int begin_at(struct dump *d, uint64_t *from)
{
    struct err *err = &d->s.ctl->err;
    struct log_scan scan;
    struct record record;
    const char *why;
    int r;

    *from = store_layout_min(&d->layout);
    if (d->time)
        return segment_of_time(d, d->from_ms, from, err) < 0 ? CTL_STORE_CANNOT : CTL_GO_ON;
    if (d->offset < 0)
        return CTL_GO_ON;
    *from = (uint64_t)d->offset;
    if (!store_layout_has(&d->layout, *from)) {
        err_say(err, 0, "--offset %" PRId64 ": the log has %" PRIu64 " to %" PRIu64, d->offset,
                store_layout_min(&d->layout), store_layout_limit(&d->layout));
        return CTL_STORE_CANNOT;
    }
    log_scan_init(&scan, d->layout.log_dir, d->layout.segment_bytes, err);
    r = log_scan_judge(&scan, *from, &record, &why);
    if (r == LOG_SCAN_BAD || r == LOG_SCAN_NOTHING)
        err_say(err, 0, "--offset %" PRId64 ": no record begins there (%s)", d->offset, why);
    log_scan_destroy(&scan);
    return r == LOG_SCAN_RECORD || r == LOG_SCAN_BLANK ? CTL_GO_ON : CTL_STORE_CANNOT;
}

static bool wanted(const struct dump *d, const struct record *r)
{
    if (d->time && r->store_ms < d->from_ms)
        return false;
    return (!d->topic || bytes_is(r->topic, d->topic)) && (d->queue < 0 || r->queue_id == d->queue);
}

/* 0 go on, 1 enough, -ENOMEM. */
static int show(struct dump *d, const struct record *record)
{
    struct message_view view;

    if (!wanted(d, record))
        return 0;
    if (message_view(&view, record, &d->unpacked) < 0)
        return -ENOMEM;
    message_json(&view, NULL, &d->s.ctl->out);
    if (d->s.ctl->out.failed)
        return -ENOMEM;
    d->shown++;
    if (d->s.ctl->out.len >= WRITE_BYTES && !ctl_store_flush(&d->s))
        return 1;
    return d->max >= 0 && d->shown >= d->max;
}

static int walk(struct dump *d, uint64_t from)
{
    struct log_walk w;
    struct record record;
    int what = LOG_WALK_RECORD, r = d->max == 0;

    log_walk_init(&w, &d->layout, d->marked ? &d->mark : NULL, from,
                  store_layout_limit(&d->layout));
    while (r == 0 && what != LOG_WALK_END && (d->to < 0 || w.at < (uint64_t)d->to)) {
        what = log_walk_next(&w, &record);
        if (what < 0) {
            r = what;
        } else if (what == LOG_WALK_RECORD) {
            if (d->to < 0 || w.from < (uint64_t)d->to)
                r = show(d, &record);
        } else if (what != LOG_WALK_END) {
            d->damaged += w.to - w.from;
            ctl_note("log offset %" PRIu64 ": %s; %" PRIu64 " bytes are passed over", w.from,
                     what == LOG_WALK_DAMAGE    ? w.why
                     : what == LOG_WALK_MISSING ? "its segment is missing or has a wrong size"
                                                : w.err.text,
                     w.to - w.from);
        }
        ctl_store_progress(&d->s, "the log", w.at - from, store_layout_limit(&d->layout) - from);
    }
    log_walk_destroy(&w);
    return r < 0 ? r : 0;
}

static int dump(struct dump *d, const char *root)
{
    struct err *err = &d->s.ctl->err;
    char path[PATH_MAX];
    uint64_t from = 0;
    int r = store_layout_read(&d->layout, root, d->s.log_dir, NULL, err);

    if (r < 0)
        return CTL_STORE_CANNOT;
    if (d->layout.count == 0)
        return TOOL_DONE;
    d->marked = store_layout_path(&d->layout, "tern/flushed", path) &&
                mark_read(path, &d->mark) == 0 && d->mark.flushed <= store_layout_limit(&d->layout);
    r = begin_at(d, &from);
    if (r != CTL_GO_ON)
        return r;
    if (walk(d, from) < 0) {
        err_say(err, 0, "out of memory");
        return CTL_STORE_CANNOT;
    }
    if (d->damaged == 0)
        return TOOL_DONE;
    return err_say(err, TOOL_REFUSED, "%" PRIu64 " bytes of the log could not be read", d->damaged);
}

int ctl_store_dump(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct dump d = {.s.ctl = ctl, .offset = -1, .to = -1, .queue = -1, .max = -1};
    const struct option_spec specs[] = {
        {.name = "offset",
         .kind = OPTION_NUMBER,
         .to = &d.offset,
         .value = "N",
         .help = "begin with the record at this log offset; default: the first",
         .max = INT64_MAX},
        {.name = "time",
         .kind = OPTION_TEXT,
         .to = &d.time,
         .value = "TIME",
         .help = "begin with what was stored then or later: ms since 1970, or "
                 "2026-01-31[ 23:59[:59]], local time, UTC with a Z at the end"},
        {.name = "to",
         .kind = OPTION_NUMBER,
         .to = &d.to,
         .value = "N",
         .help = "end before this log offset",
         .max = INT64_MAX},
        {.name = "topic",
         .kind = OPTION_TEXT,
         .to = &d.topic,
         .value = "TOPIC",
         .help = "records of this topic only"},
        {.name = "queue",
         .kind = OPTION_NUMBER,
         .to = &d.queue,
         .value = "ID",
         .help = "records of queues with this id only",
         .max = INT32_MAX},
        {.name = "max",
         .kind = OPTION_NUMBER,
         .to = &d.max,
         .value = "N",
         .help = "at most so many",
         .max = INT64_MAX},
        CTL_STORE_OPTIONS(&d.s),
        CTL_STORE_PROGRESS_OPTION(&d.s),
        CTL_OFFLINE_OPTIONS(ctl),
    };
    int operands, r;

    r = ctl_parse_offline(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 1,
                          &operands);
    if (r == CTL_GO_ON)
        r = ctl_store_begin(&d.s);
    if (r != CTL_GO_ON)
        return r;
    if (d.time && d.offset >= 0)
        return err_say(&ctl->err, TOOL_USAGE, "--offset and --time: give one of them");
    if (d.time && !moment_parse(d.time, &d.from_ms))
        return err_say(&ctl->err, TOOL_USAGE,
                       "--time %.60s: ms since 1970, or 2026-01-31[ 23:59[:59]][Z]", d.time);
    r = dump(&d, argv[0]);
    ctl->cannot = r == CTL_STORE_CANNOT;
    store_layout_destroy(&d.layout);
    buf_destroy(&d.unpacked);
    return ctl_store_end(&d.s, r);
}
