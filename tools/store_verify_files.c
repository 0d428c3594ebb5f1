/* store_verify_files.c - the small files that say how the last stop was and how far things are:
 * abort, tern/flushed, checkpoint, tern/queues. */
#include "tools/store_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "broker/store/queue_snapshot.h"
#include "common/crc.h"
#include "common/file.h"

enum {
    CHECKPOINT_BYTES = 4096,
    TAIL_BYTES = 4096,
    SNAPSHOT_QUEUES_SHOWN = 10,
};
#define SNAPSHOT_MAX ((size_t)512 << 20)

/* --- abort and tern/flushed, before the pass --- */

static bool all_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

/* Each slot by itself: the one that does not count may be damaged too. */
static void check_slots(struct store_verify *v, const char *path)
{
    uint8_t bytes[MARK_FILE_BYTES];
    int fd = file_open(path, O_RDONLY, 0), r;
    struct mark mark;
    int64_t size = 0;

    if (fd < 0)
        return;
    r = file_size(fd, &size);
    if (r == 0 && size == sizeof(bytes))
        r = file_read_all(fd, bytes, sizeof(bytes), 0);
    (void)file_close(fd);
    if (r < 0 || size != sizeof(bytes)) {
        store_verify_problem(v, "tern/flushed", -1, "has %" PRId64 " bytes and should have %d",
                             size, MARK_FILE_BYTES);
        return;
    }
    for (int i = 0; i < 2; i++) {
        const uint8_t *slot = bytes + (ptrdiff_t)i * MARK_SLOT_APART;
        if (mark_decode(slot, &mark) || all_zero(slot, MARK_SLOT_BYTES))
            continue;
        if ((v->has_abort || v->options.live) && v->marked)
            store_verify_note(v, "tern/flushed", (int64_t)i * MARK_SLOT_APART,
                              "a write that was cut short; the other slot counts");
        else
            store_verify_problem(v, "tern/flushed", (int64_t)i * MARK_SLOT_APART,
                                 v->marked ? "this slot is damaged; the other one counts"
                                           : "this slot is damaged: without a mark the next start "
                                             "reads the whole log by RocketMQ's rules");
    }
}

void store_verify_mark(struct store_verify *v)
{
    char path[PATH_MAX];
    struct stat st;

    if (store_layout_path(&v->layout, "abort", path) && file_stat(path, &st) == 0)
        v->has_abort = v->unclean = true;
    if (!store_layout_path(&v->layout, "tern/flushed", path))
        return;
    v->marked = mark_read(path, &v->mark) == 0;
    /* `abort` goes after the clean mark was written: without both, RocketMQ has stopped here, or
     * the mark is damaged. */
    if (v->marked && !v->mark.clean)
        v->unclean = true;
    check_slots(v, path);
    v->limit = store_layout_limit(&v->layout);
    if (v->marked && v->mark.flushed > v->limit) {
        store_verify_problem(v, "tern/flushed", -1,
                             "knows of %" PRIu64 " bytes of log, but the segments end at %" PRIu64
                             ": the newest are missing",
                             v->mark.flushed, v->limit);
        v->marked = false;
    }
    if (v->options.live && v->marked)
        v->limit = v->mark.flushed;
    v->believed = UINT64_MAX;
    if (v->unclean && v->marked)
        v->believed = v->mark.queues_complete_to;
}

/* --- checkpoint --- */

static void check_checkpoint(struct store_verify *v)
{
    static const char *const names[] = {"of the log", "of the queues", "of the index"};
    uint8_t bytes[24];
    char path[PATH_MAX];
    int64_t size;
    int fd, r;

    if (!store_layout_path(&v->layout, "checkpoint", path))
        return;
    fd = file_open(path, O_RDONLY, 0);
    if (fd == -ENOENT)
        return; /* before the first one */
    r = fd < 0 ? fd : file_size(fd, &size);
    if (r == 0 && size != CHECKPOINT_BYTES)
        store_verify_problem(v, "checkpoint", -1, "has %" PRId64 " bytes and should have %d", size,
                             CHECKPOINT_BYTES);
    if (r == 0)
        r = file_read_all(fd, bytes, sizeof(bytes), 0);
    if (fd >= 0)
        (void)file_close(fd);
    if (r == -ENODATA)
        return; /* too short: said */
    if (r < 0) {
        store_verify_problem(v, "checkpoint", -1, "cannot be read: %s", strerror(-r));
        return;
    }
    for (int i = 0; i < 3; i++) {
        int64_t ms = (int64_t)load_be64(bytes + (ptrdiff_t)i * 8);
        /* A live store has newer records than were looked at. */
        if (ms < 0 || (v->records > 0 && ms > v->newest_ms && !v->options.live))
            store_verify_say(v, v->unclean && ms >= 0 ? FINDING_NOTE : FINDING_PROBLEM,
                             "checkpoint", (int64_t)i * 8,
                             "the time %s, %" PRId64 ", is later than that of the last record, "
                             "%" PRId64 ": RocketMQ's recovery would begin too late",
                             names[i], ms, v->newest_ms);
    }
}

/* --- tern/flushed against the log --- */

static void check_mark(struct store_verify *v)
{
    if (!v->marked)
        return;
    if (v->mark_crossed)
        store_verify_problem(v, "tern/flushed", -1,
                             "log offset %" PRIu64 " lies within the record at %" PRIu64,
                             v->mark.flushed, v->mark_crossed - 1);
    if (v->complete_crossed && v->mark.queues_complete_to != v->mark.flushed)
        store_verify_problem(v, "tern/flushed", -1,
                             "the queues' log offset %" PRIu64
                             " lies within the record at %" PRIu64,
                             v->mark.queues_complete_to, v->complete_crossed - 1);
    if (v->mark.clean && v->end > v->mark.flushed)
        store_verify_note(v, "tern/flushed", -1,
                          "the log goes on behind %" PRIu64
                          ", where our last clean stop was: another broker has run here since",
                          v->mark.flushed);
}

static void check_tail_crc(struct store_verify *v)
{
    uint64_t segment = v->layout.segment_bytes, end = v->mark.flushed, begin, n;
    uint8_t bytes[TAIL_BYTES];
    int fd, r;

    if (!v->marked || !v->mark.clean || segment == 0)
        return;
    begin = end - end % segment;
    n = end - begin < TAIL_BYTES ? end - begin : TAIL_BYTES;
    if (n == 0 || !store_layout_has(&v->layout, begin))
        return;
    fd = log_scan_open_segment(v->layout.log_dir, begin);
    r = fd < 0 ? fd : file_read_all(fd, bytes, (size_t)n, (off_t)(end - begin - n));
    if (fd >= 0)
        (void)file_close(fd);
    if (r == 0 && crc32_of(0, bytes_of(bytes, (size_t)n)) != v->mark.tail_crc)
        store_verify_problem(v, "tern/flushed", -1,
                             "the last %" PRIu64 " bytes of the log before %" PRIu64
                             " are not those of the last clean stop",
                             n, end);
}

/* --- tern/queues --- */

static void check_ends(struct store_verify *v, const struct queue_snapshot_run *run,
                       uint64_t *wrong)
{
    for (int32_t i = 0; i < run->count; i++) {
        struct queue_ends ends = queue_snapshot_ends(run, i);
        struct ledger_topic *topic;
        struct ledger_queue *q;

        if (queue_ledger_topic(&v->ledger, run->topic, false, &topic) < 0 ||
            queue_ledger_queue(&v->ledger, topic, run->first + i, false, &q) < 0 || q->next < 0)
            continue; /* without records in the log there is nothing to compare with */
        if (ends.next == q->next && ends.last_end == q->last_end)
            continue;
        if (++*wrong <= SNAPSHOT_QUEUES_SHOWN)
            store_verify_problem(v, "tern/queues", -1,
                                 "queue %s-%d ends at %" PRId64 " (log offset %" PRIu64
                                 ") here, and at %" PRId64 " (%" PRIu64 ") by the log",
                                 topic->name, q->id, ends.next, ends.last_end, q->next,
                                 q->last_end);
    }
}

static int check_snapshot(struct store_verify *v)
{
    struct queue_snapshot snapshot;
    struct queue_snapshot_run run;
    struct buf in = {0};
    char path[PATH_MAX];
    uint64_t wrong = 0;
    int r;

    if (!store_layout_path(&v->layout, "tern/queues", path))
        return 0;
    r = file_load(path, SNAPSHOT_MAX, &in);
    if (r == -ENOMEM)
        err_set(v->err, r, "read %s", path);
    else if (r < 0 && r != -ENOENT)
        store_verify_problem(v, "tern/queues", -1, "cannot be read: %s", strerror(-r));
    else if (r == 0 && queue_snapshot_parse(buf_bytes(&in), &snapshot) != 0)
        store_verify_problem(v, "tern/queues", -1,
                             "is damaged (its checksum or its content): the next start reads the "
                             "folders of the queues instead");
    else if (r == 0 &&
             (!v->marked || snapshot.log_end != v->mark.flushed ||
              snapshot.file_bytes != v->layout.queue_file_bytes) &&
             v->ledger.queue_count > 0)
        store_verify_note(v, "tern/queues", -1,
                          "is of another state of the store; the next start does not use it");
    else if (r == 0)
        for (size_t at = 0; queue_snapshot_next(&snapshot, &at, &run);)
            check_ends(v, &run, &wrong);
    if (wrong > SNAPSHOT_QUEUES_SHOWN)
        store_verify_problem(v, "tern/queues", -1, "%" PRIu64 " queues in all end elsewhere",
                             wrong);
    buf_destroy(&in);
    return r == -ENOMEM ? r : 0;
}

int store_verify_small_files(struct store_verify *v)
{
    check_mark(v);
    check_tail_crc(v);
    check_checkpoint(v);
    return v->options.live ? 0 : check_snapshot(v);
}
