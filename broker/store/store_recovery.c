/* store_recovery.c - from what is found on the disk to a store that can go on.
 *
 * After a clean stop nothing is read but the snapshot of queue ends: the mark says where the log
 * ends, the bytes there agree, and nothing follows. Otherwise the queues are loaded from their
 * files and the log is read from where they are complete: each record gets its entry back, and the
 * first place that is no record is judged.
 *
 *   below the mark        damage: said with its offset, counted, stepped over, never cut
 *   above the mark        the torn tail: kept aside, zeroed
 *   no mark (a directory  damage when a record follows that is no older than the last one before,
 *   that RocketMQ wrote)  or when a later segment begins with one; otherwise the end
 *
 * Without a mark age decides, because RocketMQ leaves old records standing behind the end of a log
 * that it has cut; those are older than what was written before them since.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/recovery.h"
#include "common/clock.h"
#include "common/crc.h"
#include "common/file.h"
#include "common/log.h"
enum {
    TAIL_BYTES = 4096,       /* of the log's end are compared after a clean stop */
    CLOCK_SLACK_MS = 600000, /* a store time further in the future than this is not inherited */
};

/* --- queues --- */

static int queues_empty(const struct store *s)
{
    struct file_list list;
    char path[PATH_MAX];
    int r = store_path(s, path, "consumequeue");

    if (r == 0)
        r = file_list(path, &list);
    if (r < 0)
        return r;
    r = list.count == 0;
    file_list_free(&list);
    return r;
}

void store_forget_extents(struct store *s)
{
    uint32_t count = metadata_topic_count(s->metadata);

    pthread_mutex_lock(&s->append_lock);
    for (uint32_t i = 0; i < count; i++)
        metadata_topic_at(s->metadata, i)->extent_count = 0;
    pthread_mutex_unlock(&s->append_lock);
}

/* Folders of topics that were deleted while the crash came: what is left of them would be taken for
 * the queues of the next topic of that name. Loading has brought back the topics that were made
 * anew, with entries above their floor, before the journal knew of it. */
static int remove_deleted_topics(struct recovery *v)
{
    struct store *s = v->s;
    char dir[PATH_MAX], path[PATH_MAX];
    struct file_list list;
    int r = store_path(s, dir, "consumequeue");

    if (r == 0)
        r = file_list(dir, &list);
    if (r < 0)
        return err_set(v->err, r, "list %s/consumequeue", s->root_dir);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        struct bytes name = bytes_str(list.names[i]);
        if (!topic_name_ok(name) || metadata_topic(s->metadata, name, NULL) ||
            metadata_topic_floor(s->metadata, name) == 0)
            continue;
        log_info("store %s: topic %s is deleted, its queues go too", s->root_dir, list.names[i]);
        if (snprintf(path, sizeof(path), "%s/%s", dir, list.names[i]) >= (int)sizeof(path))
            r = -ENAMETOOLONG;
        else
            r = file_remove_tree(path, 2);
        if (r < 0)
            err_set(v->err, r, "remove %s/%s", dir, list.names[i]);
    }
    file_list_free(&list);
    return r;
}

/* Whether the files have what they had at the checkpoint: where a queue ends, and where it begins,
 * is to be learnt from them and from nothing else. */
static bool digest_fits(const struct recovery *v)
{
    struct queue_digest found = queue_table_digest(v->s->queues, v->from);

    return v->mark.queue_ends == 0 ||
           (v->mark.queue_ends == found.ends &&
            (v->mark.log_min != v->min || v->mark.queue_mins == found.mins));
}

/* Ends them where the record of their last entry ends at or below `believed`. */
static int load_files(struct recovery *v, uint64_t believed)
{
    struct store *s = v->s;
    int r;

    store_forget_extents(s);
    r = queue_table_load(s->queues, s->metadata, v->min, believed, recovery_make_topic, v, v->err);
    return r < 0 ? r : remove_deleted_topics(v);
}

static int empty_table(struct store *s, struct err *err)
{
    s->queues = queue_table_free(s->queues);
    return store_open_queues(s, err);
}

/* The files are as the mark knows them, above the cut too: now they end there, and the mark is to
 * know them so. What it said of them stands on the disk until then, so that a zero which does not
 * get there is noticed by whoever starts next. */
static int cut_queues(struct recovery *v)
{
    struct queue_digest digest;
    int r = empty_table(v->s, v->err);

    if (r == 0)
        r = load_files(v, v->cut_to);
    if (r < 0)
        return r;
    digest = queue_table_digest(v->s->queues, v->cut_to);
    v->mark.queue_ends = digest.ends;
    v->mark.queue_mins = digest.mins;
    v->mark.queues_complete_to = v->from = v->cut_to;
    return 0;
}

static int load_queues(struct recovery *v)
{
    struct store *s = v->s;
    int r, empty = queues_empty(s);
    uint64_t believed;

    if (empty < 0)
        return err_set(v->err, empty, "list %s/consumequeue", s->root_dir);
    if (empty)
        v->whole = true; /* somebody wants them made anew */
    /* Above the checkpoint the files are not believed: an entry may have reached the disk before
     * its record, or torn, or be in memory only, after a sync that failed. The scan makes those
     * anew. */
    believed = v->marked ? v->min : v->limit;
    if (v->marked && !v->whole && v->mark.queues_complete_to > v->min)
        believed = v->mark.queues_complete_to;
    r = load_files(v, believed);
    if (r < 0)
        return r;
    v->from = v->min;
    if (v->marked && !v->whole && v->mark.queues_complete_to > v->min) {
        v->from = v->mark.queues_complete_to;
        if (!digest_fits(v)) {
            v->gap = true;
            return 0;
        }
        if (v->cut && v->from > v->cut_to) {
            r = cut_queues(v);
            if (r < 0)
                return r;
        }
    }
    return recovery_settle_start(v);
}

/* Starts over with an empty table. */
static int load_again(struct recovery *v)
{
    struct store *s = v->s;
    int r;

    log_warn(
        "store %s: consume queues are not what they were at the last checkpoint; the whole log "
        "is read",
        s->root_dir);
    r = empty_table(s, v->err);
    if (r < 0)
        return r;
    v->gap = false;
    v->whole = true;
    v->topic = NULL;
    v->records = 0;
    damage_forget(&s->damage);
    return load_queues(v);
}

/* --- the two ways to start --- */

int store_tail_look(const struct store *s, uint64_t limit, uint64_t end, uint32_t *crc,
                    bool *ends_there)
{
    uint64_t segment = (uint64_t)s->options.segment_bytes;
    uint64_t begin = end - end % segment;
    uint8_t bytes[TAIL_BYTES], next[RECORD_BLANK_BYTES];
    size_t n = end - begin < sizeof(bytes) ? (size_t)(end - begin) : sizeof(bytes);
    int fd, r = 0;

    *crc = 0;
    *ends_there = true;
    if (end > limit)
        return -ENODATA;
    if (begin < limit) {
        fd = log_scan_open_segment(s->commit_log_dir, begin);
        if (fd < 0)
            return fd;
        r = file_read_all(fd, bytes, n, (off_t)(end - begin - n));
        *crc = crc32_of(0, bytes_of(bytes, n));
        if (r == 0 && segment - (end - begin) >= sizeof(next)) {
            r = file_read_all(fd, next, sizeof(next), (off_t)(end - begin));
            *ends_there = load_be64(next) == 0;
        }
        file_close(fd);
    }
    /* Also no record in a segment behind it. */
    if (r == 0 && *ends_there && begin + segment < limit) {
        fd = log_scan_open_segment(s->commit_log_dir, begin + segment);
        if (fd < 0)
            return fd;
        r = file_read_all(fd, next, sizeof(next), 0);
        *ends_there = load_be64(next) == 0;
        file_close(fd);
    }
    return r;
}

/* 1 when the last stop was clean and nobody has touched the directory since: everything is loaded.
 */
static int start_clean(struct recovery *v)
{
    struct store *s = v->s;
    char path[PATH_MAX];
    uint32_t crc;
    bool ends_there;
    int r;

    if (!v->marked || !v->mark.clean || v->mark.queues_complete_to != v->mark.flushed)
        return 0;
    r = store_tail_look(s, commit_log_limit(s->log), v->mark.flushed, &crc, &ends_there);
    if (r < 0)
        return err_set(v->err, r, "read the log of %s before %" PRIu64, s->root_dir,
                       v->mark.flushed);
    if (crc != v->mark.tail_crc || !ends_there)
        return 0; /* RocketMQ was here */
    r = queues_empty(s);
    if (r < 0)
        return err_set(v->err, r, "list %s/consumequeue", s->root_dir);
    if (r == 1 && v->mark.flushed > v->min)
        return 0;
    r = store_path(s, path, "tern/queues");
    if (r < 0)
        return err_set(v->err, r, "open %s/tern/queues", s->root_dir);
    store_forget_extents(s);
    r = queue_table_snapshot_load(s->queues, s->metadata, path, v->mark.flushed, v->err);
    if (r < 0)
        return r;
    if (r > 0)
        return 0;
    v->end = v->mark.flushed;
    r = commit_log_set_end(s->log, v->end, NULL, v->err);
    return r < 0 ? r : 1;
}

/* Pages that the kernel holds for clean may never have reached the disk, when an fsync had failed
 * before the stop: they are written again before anything claims that they are there. */
static int rewrite(struct recovery *v)
{
    uint64_t from =
        v->marked ? v->mark.flushed : v->end - v->end % (uint64_t)v->s->options.segment_bytes;

    if (from < v->min)
        from = v->min;
    return from < v->end ? commit_log_rewrite(v->s->log, from, v->end, v->err) : 0;
}

/* A log of which nothing could be read, though it begins with a good record: of another place. Its
 * file was renamed, and would be given up as a torn tail. */
static int refuse_renamed(struct recovery *v)
{
    struct record record;
    struct bytes b;
    const char *why;
    int r;

    if (v->marked || v->end != v->min || v->min >= v->limit)
        return 0;
    r = log_scan_look(&v->scan, v->min, &b);
    if (r < 0)
        return r;
    if (record_decode(b, &record) != 0 ||
        record_check(&record, bytes_of(b.at, record.total_size), -1, &why) != 0 ||
        record.log_offset == (int64_t)v->min)
        return 0;
    return err_say(v->err, -EBADMSG,
                   "%s/%020" PRIu64 " begins with the record of log offset %" PRId64
                   ": the file is not what its name says; give it back its name, or move it away",
                   v->s->commit_log_dir, v->min, record.log_offset);
}

static int end_cut(struct recovery *v)
{
    int64_t newest_ms;
    int r = store_cut_newest(v->s, v->end, &newest_ms, v->err);

    if (r < 0)
        return r;
    if (newest_ms > v->newest_ms)
        v->newest_ms = newest_ms;
    return store_cut_checkpoint(v->s, v->newest_ms, v->err);
}

static int start_scanning(struct recovery *v)
{
    struct store *s = v->s;
    char aside[PATH_MAX], name[64];
    struct store_tail tail = {0};
    int r = load_queues(v);

    if (r == 0 && !v->gap)
        r = recovery_scan(v);
    if (r == 0 && v->gap) {
        r = load_again(v);
        if (r == 0)
            r = recovery_scan(v);
    }
    if (r == 0)
        r = refuse_renamed(v);
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), "tern/cut-%" PRIu64 "-%" PRId64, v->end, clock_wall_ms());
    r = store_path(s, aside, name);
    if (r < 0)
        return err_set(v->err, r, "name a place for the torn tail of %s", s->root_dir);
    if (v->cut)
        r = store_cut_count(s, v->end, commit_log_limit(s->log), &tail, v->err);
    if (r == 0)
        r = (v->cut ? commit_log_cut : commit_log_set_end)(s->log, v->end, aside, v->err);
    if (r == 0)
        r = rewrite(v);
    if (r == 0)
        r = queue_table_truncate(s->queues, v->end, v->err);
    if (r == 0 && v->cut)
        r = end_cut(v);
    if (r == 0 && tail.records > 0)
        log_warn("store %s: its log was cut at %" PRIu64 ": %" PRIu64 " records of %" PRIu64
                 " bytes are gone, with all that followed from them; they are kept in %s",
                 s->root_dir, v->end, tail.records, tail.bytes, aside);
    return r;
}

static void report(struct recovery *v, const char *how)
{
    struct queue_table_stats queues;
    struct store *s = v->s;

    queue_table_stats(s->queues, &queues);
    s->records_recovered = v->records;
    s->boot_recovery_ms = clock_mono_ms() - v->began_ms;
    log_info("store %s: %s, log from %" PRIu64 " to %" PRIu64 " (%s), %" PRIu64
             " records read from %" PRIu64 " on, %" PRIu64 " queues, %zu topics made, %" PRIu64
             " damaged, %" PRId64 " ms",
             s->root_dir, how, v->min, v->end, v->why, v->records, v->from, queues.queues,
             v->made_count, atomic_load(&s->damage.places), s->boot_recovery_ms);
    if (v->nameless > 0)
        log_warn("store %s: %" PRIu64
                 " records name a topic or a queue that cannot be; they are in "
                 "no queue",
                 s->root_dir, v->nameless);
}

static int read_mark(struct recovery *v)
{
    struct store *s = v->s;
    char path[PATH_MAX];
    int r = store_path(s, path, "tern/flushed");

    if (r == 0)
        r = mark_open(&s->flusher.mark_file, path, &v->mark);
    if (r < 0)
        return err_set(v->err, r, "read %s/tern/flushed", s->root_dir);
    v->marked = r == 0 && !s->options.cut.anew;
    if (v->marked && v->cut && v->mark.flushed > v->cut_to) {
        store_cut_lower(&v->mark, v->cut_to);
        v->lowered = true;
    }
    if (v->marked) {
        v->scan.crc_from = v->mark.crc_from;
        v->scan.crc_to = v->mark.flushed;
    }
    if (v->marked && v->mark.flushed > v->limit) {
        log_error("store %s: tern/flushed knows of %" PRIu64
                  " bytes of log, but the segments in %s "
                  "end at %" PRIu64 ": the newest are missing; going on with what is there",
                  s->root_dir, v->mark.flushed, s->commit_log_dir, v->limit);
        v->marked = false;
    }
    if (v->marked && v->mark.flushed < v->min) {
        log_warn("store %s: the log begins at %" PRIu64
                 ", behind all that tern/flushed knows of; it is "
                 "read as one that others have written",
                 s->root_dir, v->min);
        v->marked = false;
        v->scan.crc_from = v->scan.crc_to = 0;
    }
    if (!v->marked)
        v->mark = (struct mark){0};
    return 0;
}

static int declare_end(struct recovery *v)
{
    int r = store_cut_place(v->s, v->min, v->limit, &v->cut_to, v->err);

    v->cut = true;
    if (v->limit > v->cut_to)
        v->limit = v->cut_to;
    return r;
}

static int64_t inherited_ms(const struct recovery *v)
{
    int64_t now = clock_wall_ms();

    if (v->newest_ms <= now + CLOCK_SLACK_MS)
        return v->newest_ms;
    log_warn("store %s: the newest record was stored %" PRId64
             " s in the future; store times go back "
             "to the clock",
             v->s->root_dir, (v->newest_ms - now) / 1000);
    return now;
}

/* From where on records are known to have CRCs: what the mark knows, unless others came behind it.
 */
static void settle_crcs(const struct recovery *v)
{
    struct store *s = v->s;
    uint64_t from = v->scan.crc_to > 0 ? v->scan.crc_from : v->end;

    if (from < v->bare_end)
        from = v->bare_end;
    s->boot_crc_from = from;
    if (!s->options.record_crc)
        from = MARK_NO_CRC;
    else if (from == MARK_NO_CRC)
        from = v->end;
    atomic_store(&s->crc_from, from);
}

int store_recover(struct store *s, bool *scanned, bool *was_unclean, struct err *err)
{
    struct recovery v = {
        .s = s,
        .err = err,
        .why = "as it was left",
        .min = commit_log_min(s->log),
        .limit = commit_log_limit(s->log),
        .began_ms = clock_mono_ms(),
    };
    const char *how = "clean stop";
    char path[PATH_MAX];
    int r, unclean;

    v.progress_ms = v.began_ms;
    log_scan_init(&v.scan, s->commit_log_dir, (uint64_t)s->options.segment_bytes, err);
    r = store_path(s, path, "abort");
    unclean = r == 0 ? abort_found(path) : r;
    if (unclean < 0)
        return err_set(err, unclean, "look for %s/abort", s->root_dir);
    *was_unclean = unclean == 1;
    if (s->options.cut.on) {
        r = declare_end(&v);
        if (r < 0)
            return r;
    }
    r = read_mark(&v);
    if (r < 0)
        return r;
    v.newest_ms = v.mark.store_ms;
    r = unclean ? 0 : start_clean(&v);
    if (r == 0) {
        how = v.lowered  ? "cut"
              : unclean  ? "stopped without notice"
              : v.marked ? "changed since the last stop"
              : v.limit  ? "not opened by us before"
                         : "new";
        *scanned = true;
        r = start_scanning(&v);
    }
    log_scan_destroy(&v.scan);
    free(v.made);
    if (r < 0)
        return r;
    atomic_store(&s->settled_min, *scanned ? v.min : v.mark.log_min);
    s->boot_end = v.end;
    settle_crcs(&v);
    s->scrub.at = v.min;
    s->scrub.end = *scanned ? v.from : v.end; /* what was read is verified */
    s->last_store_ms = inherited_ms(&v);
    s->flusher.mark = v.mark;
    s->flusher.mark.crc_from = atomic_load(&s->crc_from);
    s->flusher.mark.flushed = v.end;
    s->flusher.mark.queues_complete_to = v.marked && !v.whole ? v.mark.queues_complete_to : v.min;
    if (s->flusher.mark.queues_complete_to > v.end)
        s->flusher.mark.queues_complete_to = v.end;
    if (s->flusher.mark.queues_complete_to != v.mark.queues_complete_to) {
        s->flusher.mark.queue_ends = 0; /* the next checkpoint takes it anew */
        s->flusher.mark.log_min = MARK_NO_MIN;
    }
    s->flusher.mark.store_ms = s->last_store_ms;
    report(&v, how);
    return 0;
}

int store_replay(struct store *s, const struct mark *mark, uint64_t min, uint64_t limit,
                 struct store_replayed *out, struct err *err)
{
    struct recovery v = {
        .s = s,
        .err = err,
        .why = "empty",
        .marked = mark != NULL,
        .whole = true,
        .min = min,
        .limit = limit,
        .from = min,
        .began_ms = clock_mono_ms(),
    };
    int r;

    if (mark)
        v.mark = *mark;
    v.progress_ms = v.began_ms;
    log_scan_init(&v.scan, s->commit_log_dir, (uint64_t)s->options.segment_bytes, err);
    if (mark) {
        v.scan.crc_from = mark->crc_from;
        v.scan.crc_to = mark->flushed;
    }
    store_forget_extents(s);
    r = recovery_scan(&v);
    log_scan_destroy(&v.scan);
    free(v.made);
    *out = (struct store_replayed){
        .end = v.end,
        .why = v.why,
        .records = v.records,
        .nameless = v.nameless,
        .newest_ms = v.newest_ms,
    };
    return r;
}
