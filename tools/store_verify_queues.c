/* store_verify_queues.c - the consume queues: their folders, each record against its entry, and
 * what is left over when the log has been read.
 *
 *   before the first record of the queue in the log   entries of messages that are deleted, fillers
 *   up to the last record                             an entry for each record, and nothing else
 *   behind                                            zeroes
 */
#include "tools/store_verify.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/store/properties.h"
#include "common/file.h"

enum { INNER_BATCH = 0x80, NAME_MAX_SHOWN = PATH_MAX, CHUNK_UNITS = 4096 };
/* Tags codes at and below this are addresses in consumequeue_ext. */
#define EXT_ADDRESS_MAX (-2147483649LL)

/* "consumequeue/<topic>/<id>/<20 digits>" of an entry, and the byte where it stands there. */
static char *entry_name(const struct store_verify *v, const struct ledger_queue *q, int64_t offset,
                        char to[PATH_MAX], int64_t *at)
{
    int64_t bytes = v->layout.queue_file_bytes, byte = offset * QUEUE_ENTRY_BYTES;

    if (bytes <= 0) {
        *at = -1;
        snprintf(to, PATH_MAX, "consumequeue/%s/%d", q->topic->name, q->id);
        return to;
    }
    *at = byte % bytes;
    snprintf(to, PATH_MAX, "consumequeue/%s/%d/%020" PRId64, q->topic->name, q->id, byte - *at);
    return to;
}

static void tally(struct store_verify *v, struct entry_tally *t, const struct ledger_queue *q,
                  int64_t offset, uint64_t count)
{
    char name[PATH_MAX];

    if (t->count == 0) {
        entry_name(v, q, offset, name, &t->at);
        snprintf(t->file, sizeof(t->file), "%.190s", name);
    }
    t->count += count;
}

/* --- folders --- */

static int fail_list(struct store_verify *v, int code, const char *path)
{
    return err_set(v->err, code, "read the folder %s", path);
}

static void take_file(struct store_verify *v, struct ledger_queue *q, const char *shown,
                      const char *path, const char *name, bool newest)
{
    int64_t bytes = v->layout.queue_file_bytes, byte;
    struct stat st;

    if (file_stat(path, &st) < 0)
        return; /* removed meanwhile by a broker that runs */
    if (!S_ISREG(st.st_mode) || bytes == 0 || !queue_file_name_parse(name, bytes, &byte)) {
        q->files_bad = true;
        store_verify_problem(v, shown, -1,
                             "does not belong here: the folder of a queue holds files named by 20 "
                             "digits, multiples of %" PRId64,
                             bytes);
        return;
    }
    if (st.st_size == 0 && newest) {
        store_verify_note(v, shown, -1, "empty, as a crash leaves a file in the making");
        return;
    }
    if (st.st_size != bytes) {
        q->files_bad = true;
        store_verify_problem(v, shown, -1, "has %lld bytes, the others %" PRId64,
                             (long long)st.st_size, bytes);
        if (st.st_size > bytes)
            return;
    }
    if (q->last_byte >= q->first_byte && byte != q->last_byte + bytes) {
        store_verify_problem(v, shown, -1,
                             "the file before it is missing: the queue begins here for the broker");
        q->files_bad = true;
        q->first_byte = byte;
    }
    if (q->last_byte < q->first_byte)
        q->first_byte = byte;
    q->last_byte = byte;
}

static int take_queue(struct store_verify *v, struct ledger_topic *topic, const char *dir,
                      const char *id_name)
{
    char path[PATH_MAX], shown[PATH_MAX];
    struct ledger_queue *q;
    struct file_list files;
    int32_t id;
    int r;

    snprintf(shown, sizeof(shown), "consumequeue/%s/%.64s", topic->name, id_name);
    if (!queue_id_parse(id_name, &id)) {
        store_verify_note(v, shown, -1, "is not named like a queue, the broker passes it over");
        return 0;
    }
    r = file_list(dir, &files);
    if (r == -ENOTDIR || r == -ENOENT) {
        if (r == -ENOTDIR)
            store_verify_note(v, shown, -1, "is no folder, the broker passes it over");
        return 0;
    }
    if (r < 0)
        return fail_list(v, r, dir);
    r = queue_ledger_queue(&v->ledger, topic, id, true, &q);
    if (r < 0)
        err_set(v->err, r, "remember queue %d of topic %s", id, topic->name);
    for (size_t i = 0; i < files.count && r == 0; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", dir, files.names[i]) >= (int)sizeof(path))
            continue;
        snprintf(shown, sizeof(shown), "consumequeue/%s/%d/%.200s", topic->name, id,
                 files.names[i]);
        take_file(v, q, shown, path, files.names[i], i + 1 == files.count);
    }
    file_list_free(&files);
    return r;
}

static int take_topic(struct store_verify *v, const char *root, const char *name)
{
    struct bytes text = bytes_str(name);
    char dir[PATH_MAX], path[PATH_MAX], shown[PATH_MAX];
    struct ledger_topic *topic;
    struct file_list ids;
    int r;

    snprintf(shown, sizeof(shown), "consumequeue/%.200s", name);
    if (!topic_name_ok(text)) {
        store_verify_note(v, shown, -1, "is not named like a topic, the broker passes it over");
        return 0;
    }
    if (snprintf(dir, sizeof(dir), "%s/%s", root, name) >= (int)sizeof(dir))
        return err_set(v->err, -ENAMETOOLONG, "read the folder %s/%s", root, name);
    r = file_list(dir, &ids);
    if (r == -ENOTDIR || r == -ENOENT)
        return 0;
    if (r < 0)
        return fail_list(v, r, dir);
    r = queue_ledger_topic(&v->ledger, text, true, &topic);
    if (r < 0) {
        err_set(v->err, r, "remember topic %s", name);
    } else {
        topic->folder = true;
        if ((v->has_meta && topic->deleted) && v->unclean)
            store_verify_note(v, shown, -1,
                              "the topic is deleted; the next start removes its queues");
        else if (v->has_meta && topic->deleted)
            store_verify_problem(v, shown, -1, "the topic is deleted, and its queues are there");
    }
    for (size_t i = 0; i < ids.count && r == 0; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", dir, ids.names[i]) < (int)sizeof(path))
            r = take_queue(v, topic, path, ids.names[i]);
        store_verify_progress(v, "queue folders", v->ledger.queue_count, 0);
    }
    file_list_free(&ids);
    return r;
}

int store_verify_folders(struct store_verify *v)
{
    char dir[PATH_MAX], ext[PATH_MAX];
    struct file_list topics;
    struct stat st;
    int r;

    if (!store_layout_path(&v->layout, "consumequeue", dir) ||
        !store_layout_path(&v->layout, "consumequeue_ext", ext))
        return err_set(v->err, -ENAMETOOLONG, "read %s/consumequeue", v->layout.root);
    v->ext_queues = file_stat(ext, &st) == 0;
    r = file_list(dir, &topics);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return fail_list(v, r, dir);
    for (size_t i = 0; i < topics.count && r == 0; i++)
        r = take_topic(v, dir, topics.names[i]);
    file_list_free(&topics);
    return r;
}

/* --- runs of entries that deviate --- */

static void run_text(const struct entry_run *run, char *to, size_t size)
{
    const struct queue_entry *f = &run->found, *w = &run->wanted;
    char which[64];

    if (run->last > run->first)
        snprintf(which, sizeof(which), "entries %" PRId64 " to %" PRId64, run->first, run->last);
    else
        snprintf(which, sizeof(which), "entry %" PRId64, run->first);
    if (run->kind == RUN_MISSING)
        snprintf(to, size, "%s missing: the record of the first is at log offset %" PRIu64, which,
                 run->log_offset);
    else
        snprintf(to, size,
                 "%s wrong: the first leads to log offset %" PRId64 " (%d bytes, tags code %" PRId64
                 "), its record is at %" PRId64 " (%d bytes, %" PRId64 ")",
                 which, f->log_offset, f->size, f->tags_code, w->log_offset, w->size, w->tags_code);
}

/* The run is over. `at_end`: no right entry follows. */
static void end_run(struct store_verify *v, struct ledger_queue *q, bool at_end)
{
    struct entry_run *run = &q->run;
    char name[PATH_MAX], text[320];
    int64_t at;

    if (run->kind == RUN_NONE)
        return;
    if (at_end && run->kind == RUN_MISSING && v->unclean && !v->marked) {
        /* Queues end before the log when a broker was killed. */
        tally(v, &v->to_make, q, run->first, (uint64_t)(run->last - run->first + 1));
    } else {
        entry_name(v, q, run->first, name, &at);
        run_text(run, text, sizeof(text));
        store_verify_problem(v, name, at, "%s", text);
    }
    entry_run_clear(run);
}

static void note_run(struct store_verify *v, struct ledger_queue *q, enum run_kind kind,
                     int64_t offset, const struct queue_entry *found,
                     const struct queue_entry *wanted)
{
    if (entry_run_note(&q->run, kind, offset, (uint64_t)wanted->log_offset, found, wanted))
        return;
    end_run(v, q, false);
    (void)entry_run_note(&q->run, kind, offset, (uint64_t)wanted->log_offset, found, wanted);
}

static int read_entry(struct store_verify *v, struct ledger_queue *q, int64_t offset,
                      enum queue_unit *unit, struct queue_entry *entry)
{
    char name[PATH_MAX];
    int64_t at;
    int r;

    *unit = UNIT_EMPTY;
    *entry = (struct queue_entry){0};
    if (!v->has_entries)
        return 0;
    r = entry_reader_at(&v->entries, q, offset, unit, entry);
    if (r == -ENOMEM)
        return err_set(v->err, r, "read queues");
    if (r < 0) {
        entry_name(v, q, offset, name, &at);
        store_verify_problem(v, name, at, "cannot be read: %s", strerror(-r));
    }
    return 0;
}

/* --- before the first record --- */

/* Entries [from, to): of messages that the log no longer has. */
static int check_front(struct store_verify *v, struct ledger_queue *q, int64_t to)
{
    uint64_t oldest = store_layout_min(&v->layout);
    int64_t from = q->first_byte / QUEUE_ENTRY_BYTES, bad_from = -1, bad_to = -1;
    struct queue_entry entry, first = {0};
    enum queue_unit unit, first_unit = UNIT_EMPTY;
    char name[PATH_MAX];
    int64_t at;

    if (q->last_byte < q->first_byte)
        return 0;
    if (q->topic->floor > oldest)
        oldest = q->topic->floor;
    for (int64_t i = from; i < to; i++) {
        int r = read_entry(v, q, i, &unit, &entry);
        if (r < 0)
            return r;
        v->entry_checks++;
        if (unit == UNIT_FILLER || (unit == UNIT_ENTRY && (uint64_t)entry.log_offset < oldest))
            continue;
        if (bad_from < 0) {
            bad_from = i;
            first = entry;
            first_unit = unit;
        }
        bad_to = i;
    }
    if (bad_from < 0)
        return 0;
    entry_name(v, q, bad_from, name, &at);
    if (first_unit == UNIT_EMPTY)
        store_verify_problem(v, name, at,
                             "nothing where entries %" PRId64 " to %" PRId64
                             " should be: the queue's first record in the log is number %" PRId64,
                             bad_from, bad_to, to);
    else
        store_verify_problem(v, name, at,
                             "entry %" PRId64 " (to %" PRId64 ") leads to log offset %" PRId64
                             ", where no record of this queue is",
                             bad_from, bad_to, first.log_offset);
    return 0;
}

/* --- each record --- */

static void record_problem(struct store_verify *v, uint64_t offset, const char *what)
{
    char name[PATH_MAX];

    v->unqueued++;
    store_verify_problem(v, store_layout_segment_name(&v->layout, offset, name),
                         (int64_t)(offset % v->layout.segment_bytes),
                         "the record at log offset %" PRIu64 " %s", offset, what);
}

/* The queue begins again at 0: its topic was deleted and made again. */
static void restart(struct store_verify *v, struct ledger_queue *q, const struct record *r,
                    uint64_t offset)
{
    char name[PATH_MAX];

    entry_run_clear(&q->run);
    /* RocketMQ does not write down that a topic was deleted, we do. */
    if (v->has_meta && properties_find(r->properties, BYTES_LIT(RECORD_CRC_NAME)).len > 0)
        store_verify_problem(v, store_layout_segment_name(&v->layout, offset, name),
                             (int64_t)(offset % v->layout.segment_bytes),
                             "queue %s-%d begins again with the record at log offset %" PRIu64
                             ", and the journal does not know that the topic was deleted",
                             q->topic->name, q->id, offset);
    v->earlier_records += q->records;
    q->topic->earlier += q->records;
    q->records = 0;
    q->begin = q->next = 0;
}

static void jump(struct store_verify *v, struct ledger_queue *q, int64_t to, uint64_t offset)
{
    char name[PATH_MAX];

    end_run(v, q, false);
    store_verify_problem(v, store_layout_segment_name(&v->layout, offset, name),
                         (int64_t)(offset % v->layout.segment_bytes),
                         "messages %" PRId64 " to %" PRId64
                         " of queue %s-%d are not in the log: the record at log offset %" PRIu64
                         " is number %" PRId64 "%s",
                         q->next, to - 1, q->topic->name, q->id, offset, to,
                         v->damaged_bytes > 0 ? " (they may have been in the damaged part)" : "");
    q->next = to;
}

/* Brings q->next to the record's queue offset. 1: go on with its entry; 0: it has none. */
static int place_record(struct store_verify *v, struct ledger_queue *q, const struct record *r,
                        uint64_t offset)
{
    int result = 1;

    if (q->next < 0) {
        if (r->queue_offset > 0 && store_layout_min(&v->layout) == 0)
            record_problem(v, offset, "is the first of its queue and does not have number 0");
        q->begin = q->next = r->queue_offset;
        result = check_front(v, q, r->queue_offset);
        return result < 0 ? result : 1;
    }
    if (r->queue_offset > q->next)
        jump(v, q, r->queue_offset, offset);
    if (r->queue_offset < q->next && r->queue_offset == 0) {
        restart(v, q, r, offset);
    } else if (r->queue_offset < q->next) {
        record_problem(v, offset,
                       "repeats the number of an earlier record of its queue, which stays the one "
                       "that is read");
        result = 0;
    }
    return result;
}

static bool same_entry(const struct store_verify *v, const struct queue_entry *a,
                       const struct queue_entry *b)
{
    return a->log_offset == b->log_offset && a->size == b->size &&
           (a->tags_code == b->tags_code || (v->ext_queues && a->tags_code <= EXT_ADDRESS_MAX));
}

static int check_entry(struct store_verify *v, struct ledger_queue *q, const struct record *r,
                       uint64_t offset)
{
    struct queue_entry found,
        wanted = {
            .log_offset = (int64_t)offset,
            .size = (int32_t)r->total_size,
            .tags_code = delay_levels_tags_code(v->options.delay_ms, v->options.delay_levels, r),
        };
    enum queue_unit unit;
    int code = read_entry(v, q, r->queue_offset, &unit, &found);

    if (code < 0)
        return code;
    v->entry_checks++;
    if (unit == UNIT_ENTRY && same_entry(v, &found, &wanted)) {
        end_run(v, q, false);
    } else if (offset >= v->believed) {
        end_run(v, q, false);
        tally(v, &v->to_make, q, r->queue_offset, 1);
    } else if (unit != UNIT_ENTRY) {
        note_run(v, q, RUN_MISSING, r->queue_offset, NULL, &wanted);
    } else {
        note_run(v, q, found.log_offset > wanted.log_offset ? RUN_LATER : RUN_WRONG,
                 r->queue_offset, &found, &wanted);
    }
    return 0;
}

int store_verify_record(struct store_verify *v, const struct record *r, uint64_t offset)
{
    int32_t type = r->sys_flag & RECORD_TRANSACTION_MASK;
    struct ledger_topic *topic;
    struct ledger_queue *q;
    int code;

    if (!topic_name_ok(r->topic) || r->queue_id < 0 || r->queue_id >= TOPIC_QUEUES_MAX) {
        record_problem(v, offset, "names a topic or a queue that cannot be");
        return 0;
    }
    if (type == RECORD_TRANSACTION_PREPARED || type == RECORD_TRANSACTION_ROLLBACK)
        return 0;
    if (r->sys_flag & INNER_BATCH) {
        v->inner_batches++;
        return 0;
    }
    if (r->queue_offset < 0 || r->queue_offset >= QUEUE_OFFSET_RECORD_MAX) {
        record_problem(v, offset, "has a queue offset that cannot be");
        return 0;
    }
    code = queue_ledger_topic(&v->ledger, r->topic, true, &topic);
    if (code < 0)
        return err_set(v->err, code, "remember the topic of the record at %" PRIu64, offset);
    if (offset < topic->floor) {
        v->deleted_records++;
        return 0;
    }
    code = queue_ledger_queue(&v->ledger, topic, r->queue_id, true, &q);
    if (code < 0)
        return err_set(v->err, code, "remember the queue of the record at %" PRIu64, offset);
    code = place_record(v, q, r, offset);
    if (code > 0) {
        code = check_entry(v, q, r, offset);
        q->next = r->queue_offset + 1;
        q->last_end = offset + r->total_size;
        q->records++;
        topic->records++;
    }
    return code;
}

/* --- behind the last record --- */

struct rest {
    int64_t first, last; /* entries that are there; -1: none */
    int64_t first_log;   /* where the first one leads; -1: it is no entry */
    uint64_t count;
};

/* Units [from, to) of one file, those in holes left out; calls each. */
static int walk_units(struct store_verify *v, struct ledger_queue *q, int64_t from, int64_t to,
                      void (*each)(struct store_verify *v, struct ledger_queue *q, int64_t offset,
                                   const uint8_t *unit, struct rest *rest),
                      struct rest *rest)
{
    static uint8_t units[CHUNK_UNITS * QUEUE_ENTRY_BYTES];
    int64_t bytes = v->layout.queue_file_bytes, per_file = bytes / QUEUE_ENTRY_BYTES;
    int64_t base = from / per_file * per_file;
    off_t at = (off_t)((from - base) * QUEUE_ENTRY_BYTES);
    off_t end = (off_t)((to - base) * QUEUE_ENTRY_BYTES);
    int fd = entry_reader_file(&v->entries, q, base * QUEUE_ENTRY_BYTES), r = 0;
    char name[PATH_MAX];
    int64_t where;

    if (fd == -ENOENT)
        return 0;
    while (fd >= 0 && at < end && r == 0) {
        off_t data = lseek(fd, at, SEEK_DATA);
        size_t n;

        if (data < 0 && errno == ENXIO)
            break;
        if (data > at)
            at = data / QUEUE_ENTRY_BYTES * QUEUE_ENTRY_BYTES;
        if (at >= end)
            break;
        n = end - at < (off_t)sizeof(units) ? (size_t)(end - at) : sizeof(units);
        r = file_read_all(fd, units, n, at);
        if (r == -ENODATA)
            return 0; /* too short, which has been said */
        for (size_t i = 0; r == 0 && i < n; i += QUEUE_ENTRY_BYTES)
            each(v, q, base + (int64_t)(at + (off_t)i) / QUEUE_ENTRY_BYTES, units + i, rest);
        at += (off_t)n;
    }
    if (fd < 0)
        r = fd;
    if (r < 0) {
        entry_name(v, q, base + at / QUEUE_ENTRY_BYTES, name, &where);
        store_verify_problem(v, name, where, "cannot be read: %s", strerror(-r));
    }
    return 0;
}

static bool is_zero(const uint8_t *unit)
{
    static const uint8_t zero[QUEUE_ENTRY_BYTES];

    return memcmp(unit, zero, sizeof(zero)) == 0;
}

static void take_rest(struct rest *rest, int64_t offset, int64_t log_offset)
{
    if (rest->count++ == 0) {
        rest->first = offset;
        rest->first_log = log_offset;
    }
    rest->last = offset;
}

/* Behind the last record everything is zero. */
static void each_behind(struct store_verify *v, struct ledger_queue *q, int64_t offset,
                        const uint8_t *unit, struct rest *rest)
{
    struct queue_entry e;

    (void)q;
    if (is_zero(unit))
        return;
    if (queue_unit_decode(unit, &e) == UNIT_ENTRY && v->options.live &&
        (uint64_t)e.log_offset >= v->limit)
        return;
    take_rest(rest, offset, queue_unit_decode(unit, &e) == UNIT_ENTRY ? e.log_offset : -1);
}

/* A queue without records in the log: its entries lead to messages that are deleted. */
static void each_stale(struct store_verify *v, struct ledger_queue *q, int64_t offset,
                       const uint8_t *unit, struct rest *rest)
{
    uint64_t oldest = store_layout_min(&v->layout);
    struct queue_entry e;
    enum queue_unit kind = queue_unit_decode(unit, &e);

    if (q->topic->floor > oldest)
        oldest = q->topic->floor;
    v->entry_checks++;
    if (is_zero(unit) || kind == UNIT_FILLER)
        return;
    if (kind == UNIT_ENTRY && (uint64_t)e.log_offset < oldest)
        return;
    if (kind == UNIT_ENTRY && v->options.live && (uint64_t)e.log_offset >= v->limit)
        return;
    take_rest(rest, offset, kind == UNIT_ENTRY ? e.log_offset : -1);
}

static void say_rest(struct store_verify *v, struct ledger_queue *q, const struct rest *rest)
{
    char name[PATH_MAX];
    int64_t at;

    if (rest->count == 0)
        return;
    if (v->unclean &&
        (!v->marked || rest->first_log < 0 || (uint64_t)rest->first_log >= v->believed)) {
        tally(v, &v->to_cut, q, rest->first,
              rest->count); /* before their records, which are lost */
        return;
    }
    entry_name(v, q, rest->first, name, &at);
    if (rest->first_log < 0)
        store_verify_problem(v, name, at,
                             "bytes that are no entry where entry %" PRId64
                             " would be, behind the end of the queue",
                             rest->first);
    else
        store_verify_problem(v, name, at,
                             "entry %" PRId64 " (to %" PRId64
                             ") has no record: the first leads to log offset %" PRId64,
                             rest->first, rest->last, rest->first_log);
}

static bool is_lmq(const struct ledger_topic *t)
{
    return bytes_starts(bytes_of(t->name, t->name_len), BYTES_LIT("%LMQ%"));
}

static int end_queue(struct store_verify *v, struct ledger_queue *q)
{
    int64_t per_file = v->layout.queue_file_bytes / QUEUE_ENTRY_BYTES;
    struct rest rest = {.first = -1};
    int64_t from;
    int r = 0;

    end_run(v, q, true);
    if (q->last_byte < q->first_byte || per_file == 0)
        return 0;
    /* A second entry for records of other topics, which we do not make. */
    if (q->next < 0 && is_lmq(q->topic))
        return 0;
    from = q->next < 0 ? q->first_byte / QUEUE_ENTRY_BYTES : q->next;
    if (from < q->first_byte / QUEUE_ENTRY_BYTES)
        from = q->first_byte / QUEUE_ENTRY_BYTES;
    for (int64_t base = from / per_file * per_file;
         base <= q->last_byte / QUEUE_ENTRY_BYTES && r == 0; base += per_file)
        r = walk_units(v, q, from > base ? from : base, base + per_file,
                       q->next < 0 ? each_stale : each_behind, &rest);
    say_rest(v, q, &rest);
    return r;
}

/* All records of a topic that nobody knows and that has no queues: RocketMQ forgets a topic that
 * it deletes. */
static bool is_forgotten(const struct store_verify *v, const struct ledger_topic *t)
{
    return !t->folder && !t->known && !v->has_meta && v->has_topics;
}

int store_verify_queue_ends(struct store_verify *v)
{
    int r = 0;

    for (uint32_t i = 0; i < v->ledger.queue_count && r == 0; i++) {
        struct ledger_queue *q = v->ledger.queues[i];

        if (is_forgotten(v, q->topic)) {
            v->deleted_records += q->records;
            entry_run_clear(&q->run);
            continue;
        }
        r = end_queue(v, q);
        store_verify_progress(v, "ends of queues", i, v->ledger.queue_count);
    }
    return r;
}
