/* store_verify.c - the order of things, and the summary: see store_verify.h. */
#include "tools/store_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>

#include "broker/store/store.h"
#include "common/clock.h"
#include "tools/show.h"

void store_verify_progress(struct store_verify *v, const char *what, uint64_t done, uint64_t of)
{
    if (v->options.progress)
        v->options.progress(v->options.ctx, what, done, of);
}

static int check_lock(struct store_verify *v)
{
    int holder, r = store_lock_holder(v->layout.root, &holder);

    if (r < 0)
        return err_set(v->err, r, "look at the lock of %s", v->layout.root);
    if (r == 0) {
        if (v->options.live)
            v->options.live = false; /* nobody writes: look at all of it */
        return 0;
    }
    if (v->options.live) {
        v->unclean = true; /* what is above the marks is in the making */
        return 0;
    }
    if (holder > 0)
        return err_say(v->err, -EBUSY,
                       "store %s is in use by process %d: stop the broker first, or check what is "
                       "durable now with --live",
                       v->layout.root, holder);
    return err_say(v->err, -EBUSY,
                   "store %s is in use by another process: stop the broker first, or check what is "
                   "durable now with --live",
                   v->layout.root);
}

static int check_mark_there(struct store_verify *v)
{
    if (!v->options.live || v->marked)
        return 0;
    return err_say(v->err, -ENODATA,
                   "store %s has no tern/flushed: what runs on it is not this broker, and a moving "
                   "store cannot be checked without its mark",
                   v->layout.root);
}

static int open_entries(struct store_verify *v, char dir[PATH_MAX])
{
    int r;

    v->has_entries =
        v->layout.queue_file_bytes > 0 && store_layout_path(&v->layout, "consumequeue", dir);
    if (!v->has_entries)
        return 0;
    r = entry_reader_init(&v->entries, dir, v->layout.queue_file_bytes);
    return r < 0 ? err_set(v->err, r, "read the queues") : 0;
}

static void say_tallies(struct store_verify *v)
{
    if (v->to_make.count > 0)
        store_verify_note(v, v->to_make.file, v->to_make.at,
                          "%" PRIu64
                          " entries from here on and in other queues are not there or not "
                          "right, all of the newest records; the next start makes them",
                          v->to_make.count);
    if (v->to_cut.count > 0)
        store_verify_note(v, v->to_cut.file, v->to_cut.at,
                          "%" PRIu64
                          " entries from here on and in other queues stand behind the end "
                          "of the queue; the next start removes them",
                          v->to_cut.count);
    if (v->earlier_records > 0)
        store_verify_note(v, "commitlog", -1,
                          "%" PRIu64 " records are of topics that were deleted and made again",
                          v->earlier_records);
    if (v->deleted_records > 0)
        store_verify_note(v, "commitlog", -1, "%" PRIu64 " records are of topics that were deleted",
                          v->deleted_records);
    if (v->inner_batches > 0)
        store_verify_note(v, "commitlog", -1,
                          "%" PRIu64 " records are inner batches of RocketMQ 5, whose queues are "
                          "not looked at",
                          v->inner_batches);
    if (v->unclean && !v->options.live)
        store_verify_note(v, v->marked ? "tern/flushed" : "abort", -1,
                          "the last stop was not a clean one: the next start reads the log from "
                          "%" PRIu64 " on",
                          v->marked ? v->mark.queues_complete_to : store_layout_min(&v->layout));
}

static int check_all(struct store_verify *v)
{
    char dir[PATH_MAX];
    int r = check_lock(v);

    if (r < 0)
        return r;
    store_verify_mark(v);
    r = check_mark_there(v);
    if (r == 0)
        r = store_verify_meta(v);
    if (r == 0)
        r = open_entries(v, dir);
    if (r == 0)
        r = store_verify_folders(v);
    if (r == 0)
        r = store_verify_index_begin(v);
    if (r == 0)
        r = store_verify_log(v);
    if (r == 0)
        r = store_verify_index_end(v);
    if (r == 0)
        r = store_verify_queue_ends(v);
    if (r == 0)
        r = store_verify_small_files(v);
    if (r == 0)
        say_tallies(v);
    return r;
}

static void fill_result(const struct store_verify *v, struct store_verify_result *out)
{
    *out = (struct store_verify_result){
        .records = v->records,
        .record_bytes = v->record_bytes,
        .log_min = store_layout_min(&v->layout),
        .log_end = v->end,
        .entry_checks = v->entry_checks,
        .index_checks = v->index_checks,
        .queues = v->ledger.queue_count,
        .topics = v->ledger.topic_count,
        .segments = v->layout.count,
        .torn_bytes = v->torn_bytes,
        .to_make = v->to_make.count,
        .to_cut = v->to_cut.count,
        .damaged_bytes = v->damaged_bytes,
        .unclean = v->unclean,
        .marked = v->marked,
        .mark = v->mark,
        .segment_bytes = v->layout.segment_bytes,
        .queue_file_bytes = v->layout.queue_file_bytes,
    };
}

int store_verify_run(const struct store_verify_options *options, struct findings *findings,
                     struct store_verify_result *result, struct err *err)
{
    struct store_verify v = {.options = *options, .findings = findings, .err = err};
    uint64_t seed = 0;
    int r;

    /* Names come from a file that may be hostile: without the seed they cannot be chosen to
     * collide. */
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
        seed = (uint64_t)clock_mono_ns();
    r = store_layout_read(&v.layout, options->root, options->log_dir, findings, err);
    if (r < 0)
        return r;
    queue_ledger_init(&v.ledger, seed);
    r = check_all(&v);
    fill_result(&v, result);
    store_verify_index_free(&v);
    entry_reader_destroy(&v.entries);
    queue_ledger_destroy(&v.ledger);
    store_layout_destroy(&v.layout);
    return r;
}

void store_verify_summary(const struct store_verify_result *r, struct findings *f)
{
    char size[SHOW_SIZE_MAX];

    if (!f->json) {
        buf_addf(f->out,
                 "%s: %" PRIu64 " records in %zu segments (%s, log %" PRIu64 " to %" PRIu64
                 "), %" PRIu32 " queues of %" PRIu32 " topics, %" PRIu64
                 " entries compared, %" PRIu64 " of the index; %" PRIu64 " problems, %" PRIu64
                 " notes\n",
                 f->problems ? "NOT SOUND" : "sound", r->records, r->segments,
                 show_size(size, (double)r->record_bytes), r->log_min, r->log_end, r->queues,
                 r->topics, r->entry_checks, r->index_checks, f->problems, f->notes);
        return;
    }
    jout_key(&f->j, "summary");
    jout_object(&f->j);
    jout_kv_bool(&f->j, "sound", f->problems == 0);
    jout_kv_i64(&f->j, "problems", (int64_t)f->problems);
    jout_kv_i64(&f->j, "notes", (int64_t)f->notes);
    jout_kv_i64(&f->j, "records", (int64_t)r->records);
    jout_kv_i64(&f->j, "recordBytes", (int64_t)r->record_bytes);
    jout_kv_i64(&f->j, "segments", (int64_t)r->segments);
    jout_kv_i64(&f->j, "logMin", (int64_t)r->log_min);
    jout_kv_i64(&f->j, "logEnd", (int64_t)r->log_end);
    jout_kv_i64(&f->j, "queues", r->queues);
    jout_kv_i64(&f->j, "topics", r->topics);
    jout_kv_i64(&f->j, "entriesCompared", (int64_t)r->entry_checks);
    jout_kv_i64(&f->j, "indexEntriesCompared", (int64_t)r->index_checks);
    jout_kv_i64(&f->j, "entriesToMake", (int64_t)r->to_make);
    jout_kv_i64(&f->j, "entriesToRemove", (int64_t)r->to_cut);
    jout_kv_i64(&f->j, "damagedBytes", (int64_t)r->damaged_bytes);
    jout_kv_i64(&f->j, "tornBytes", (int64_t)r->torn_bytes);
    jout_kv_bool(&f->j, "cleanStop", !r->unclean);
    jout_object_end(&f->j);
}
