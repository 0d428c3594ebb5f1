/* store_verify_index.c - the key index, entry by entry along the log.
 *
 * Entries of all files stand in the order of the log, so that one cursor goes through them beside
 * the pass: each record's keys are the next entries. Slots and chains are made again in memory (4
 * bytes a slot) and compared.
 *
 * How far the index reaches is told by tern/index, and for RocketMQ's by its last file. After an
 * unclean stop the newest file is put right by the next start: of it only the entries that
 * tern/index lists are judged.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/index_keys.h"
#include "common/file.h"
#include "tools/store_verify.h"

enum { SLOTS_CHECKED_MAX = 32 << 20, KEYS_MAX = 4096 };
#define SHAPE_DEFAULT ((struct index_shape){5000000, 20000000})

struct index_name {
    int64_t name;
    bool listed;
    struct index_header header; /* as listed */
};

/* Deviations of one kind within a file: the first, and how many. */
struct index_tally {
    uint64_t count;
    uint64_t log_offset;
    int64_t at; /* byte in the file */
};

struct index_check {
    struct index_shape shape;
    struct index_name *files;
    uint32_t count;
    bool stated, trusted; /* there is a tern/index; after a clean stop */
    uint64_t from, to;    /* records that must have their entries */
    /* the cursor */
    uint32_t at; /* file */
    bool open, skip_slots;
    struct index_file file;
    char shown[64];
    uint32_t number, until; /* next entry; one past the last that is judged */
    int64_t before;         /* log offset of the entry before */
    uint32_t *slots, used;
    bool peeked;
    struct index_entry entry;
    struct index_tally missing, strangers, chains, beyond;
    uint64_t last_record; /* begin of the record before; its entries may be there twice */
    /* the record at hand */
    uint32_t hashes[KEYS_MAX], hash_count;
};

/* --- what is there --- */

static bool parse_name(const char *text, int64_t *name)
{
    return strlen(text) <= 18 && isdigit((unsigned char)text[0]) &&
           bytes_to_i64(bytes_str(text), name);
}

static int by_name(const void *a, const void *b)
{
    const struct index_name *x = a, *y = b;

    return (x->name > y->name) - (x->name < y->name);
}

static int list_files(struct store_verify *v, struct index_check *x)
{
    char dir[PATH_MAX], shown[64];
    struct file_list list;
    int64_t name;
    int r;

    if (!store_layout_path(&v->layout, "index", dir))
        return err_set(v->err, -ENAMETOOLONG, "read %s/index", v->layout.root);
    r = file_list(dir, &list);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return err_set(v->err, r, "read %s", dir);
    x->files = calloc(list.count + 1, sizeof(*x->files));
    for (size_t i = 0; x->files && i < list.count; i++) {
        snprintf(shown, sizeof(shown), "index/%.40s", list.names[i]);
        if (parse_name(list.names[i], &name))
            x->files[x->count++].name = name;
        else
            store_verify_note(v, shown, -1, "is not named like an index file and is passed over");
    }
    file_list_free(&list);
    if (!x->files)
        return err_set(v->err, -ENOMEM, "read %s", dir);
    qsort(x->files, x->count, sizeof(*x->files), by_name);
    return 0;
}

static void take_listed(struct store_verify *v, struct index_check *x,
                        const struct index_state *state)
{
    for (uint32_t i = 0; i < state->count; i++) {
        struct index_known known;
        struct index_name key, *file;
        char shown[64];

        index_state_file(state, i, &known);
        key.name = known.name;
        file = x->count > 0 ? bsearch(&key, x->files, x->count, sizeof(key), by_name) : NULL;
        if (file) {
            file->listed = true;
            file->header = known.header;
            continue;
        }
        snprintf(shown, sizeof(shown), "index/%017" PRId64, known.name);
        store_verify_problem(
            v, shown, -1, "tern/index lists it and it is missing; it is made again from the log");
    }
}

static int read_state(struct store_verify *v, struct index_check *x)
{
    struct index_state state;
    struct buf in = {0};
    char path[PATH_MAX];
    int r;

    if (!store_layout_path(&v->layout, "tern/index", path))
        return 0;
    r = file_load(path, INDEX_STATE_MAX, &in);
    if (r == 0 && index_state_parse(buf_bytes(&in), &state) == 0) {
        x->stated = true;
        x->trusted = state.clean && !v->unclean;
        x->shape = state.shape;
        x->from = state.from;
        x->to = state.position;
        take_listed(v, x, &state);
    } else if (r == 0) {
        store_verify_problem(v, "tern/index", -1,
                             "is damaged (its checksum or its content); the index is made again "
                             "from the log");
    } else if (r != -ENOENT) {
        store_verify_problem(v, "tern/index", -1, "cannot be read: %s", strerror(-r));
    }
    buf_destroy(&in);
    return r == -ENOMEM ? err_set(v->err, r, "read %s", path) : 0;
}

/* Without a list nothing but the size says whether the shape is right. */
static bool shape_fits(struct store_verify *v, struct index_check *x)
{
    char name[64], path[PATH_MAX];
    struct stat st;

    if (v->options.index_shape.slots > 0)
        x->shape = v->options.index_shape;
    else if (!x->stated)
        x->shape = SHAPE_DEFAULT;
    for (uint32_t i = 0; i < x->count; i++) {
        snprintf(name, sizeof(name), "index/%017" PRId64, x->files[i].name);
        if (store_layout_path(&v->layout, name, path) && file_stat(path, &st) == 0 &&
            (uint64_t)st.st_size == index_file_bytes(&x->shape))
            return true;
    }
    if (x->count > 0 && x->stated)
        return true; /* then it is the files that are wrong */
    if (x->count > 0)
        store_verify_note(v, "index", -1,
                          "its files are not of maxHashSlotNum=%" PRIu32 " and maxIndexNum=%" PRIu32
                          " and are not looked at: --index-slots and --index-entries name others",
                          x->shape.slots, x->shape.entries_max);
    return false;
}

/* RocketMQ's index reaches from its first file's first record to its last file's last. */
static void take_reach(struct store_verify *v, struct index_check *x)
{
    struct index_file file;
    struct err wrong;
    char name[64], path[PATH_MAX];

    x->from = UINT64_MAX;
    for (uint32_t i = 0; i < x->count; i++) {
        snprintf(name, sizeof(name), "index/%017" PRId64, x->files[i].name);
        if (!store_layout_path(&v->layout, name, path) ||
            index_file_open(&file, path, &x->shape, &wrong) < 0)
            continue;
        if (file.view.header.next > 1) {
            if (x->from == UINT64_MAX)
                x->from = (uint64_t)file.view.header.begin_offset;
            x->to = (uint64_t)file.view.header.end_offset;
        }
        index_file_close(&file);
    }
}

int store_verify_index_begin(struct store_verify *v)
{
    struct index_check *x;
    int r;

    if (v->options.live)
        return 0; /* its newest file moves, and nothing says how far it may be trusted */
    x = calloc(1, sizeof(*x));
    if (!x)
        return err_set(v->err, -ENOMEM, "check the index");
    v->index = x;
    r = list_files(v, x);
    if (r == 0)
        r = read_state(v, x);
    if (r < 0)
        return r;
    if (!shape_fits(v, x) || x->count == 0) {
        store_verify_index_free(v);
        return 0;
    }
    if (!x->stated)
        take_reach(v, x);
    x->last_record = UINT64_MAX;
    if (x->shape.slots <= SLOTS_CHECKED_MAX) {
        x->slots = calloc(x->shape.slots, sizeof(*x->slots));
        if (!x->slots)
            return err_set(v->err, -ENOMEM, "check the index");
    }
    return 0;
}

void store_verify_index_free(struct store_verify *v)
{
    struct index_check *x = v->index;

    if (!x)
        return;
    if (x->open)
        index_file_close(&x->file);
    free(x->slots);
    free(x->files);
    free(x);
    v->index = NULL;
}

/* --- one file --- */

static void check_slots(struct store_verify *v, struct index_check *x)
{
    uint8_t bytes[4096];
    struct index_tally wrong = {0};
    uint32_t named = 0, meant = 0;

    for (uint32_t slot = 0; slot < x->shape.slots;) {
        uint32_t n = x->shape.slots - slot < sizeof(bytes) / INDEX_SLOT_BYTES
                         ? x->shape.slots - slot
                         : (uint32_t)(sizeof(bytes) / INDEX_SLOT_BYTES);
        int r = x->file.view.read(x->file.view.ctx, index_slot_at(slot), bytes,
                                  (size_t)n * INDEX_SLOT_BYTES);
        if (r < 0) {
            store_verify_problem(v, x->shown, (int64_t)index_slot_at(slot), "cannot be read: %s",
                                 strerror(-r));
            return;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t found = load_be32(bytes + (size_t)i * INDEX_SLOT_BYTES);
            if (found == x->slots[slot + i])
                continue;
            if (wrong.count++ == 0) {
                wrong.at = (int64_t)index_slot_at(slot + i);
                named = found;
                meant = x->slots[slot + i];
            }
        }
        slot += n;
    }
    if (wrong.count > 0)
        store_verify_problem(v, x->shown, wrong.at,
                             "%" PRIu64 " slots are wrong: the first names entry %" PRIu32
                             " and should name %" PRIu32,
                             wrong.count, named, meant);
    else if (x->used != x->file.view.header.used_slots)
        store_verify_problem(v, x->shown, 32,
                             "the header counts %" PRIu32 " used slots, there are %" PRIu32,
                             x->file.view.header.used_slots, x->used);
}

static void say_tallies(struct store_verify *v, struct index_check *x)
{
    if (x->strangers.count > 0)
        store_verify_problem(v, x->shown, x->strangers.at,
                             "%" PRIu64 " entries lead to places where no record with such a key "
                             "is: the first to log offset %" PRIu64,
                             x->strangers.count, x->strangers.log_offset);
    if (x->chains.count > 0)
        store_verify_problem(v, x->shown, x->chains.at,
                             "%" PRIu64 " entries name a wrong entry as the one before them",
                             x->chains.count);
    if (x->beyond.count > 0)
        store_verify_note(v, x->shown, x->beyond.at,
                          "%" PRIu64 " entries lead behind the end of the log, the first to log "
                          "offset %" PRIu64 ": a start takes them out",
                          x->beyond.count, x->beyond.log_offset);
    x->strangers = x->chains = x->beyond = (struct index_tally){0};
}

static void say_missing(struct store_verify *v, struct index_check *x)
{
    if (x->missing.count > 0)
        store_verify_problem(v, x->shown[0] ? x->shown : "index", -1,
                             "%" PRIu64 " records have no entry, or too few: the first is at log "
                             "offset %" PRIu64,
                             x->missing.count, x->missing.log_offset);
    x->missing = (struct index_tally){0};
}

static void end_file(struct store_verify *v, struct index_check *x)
{
    say_tallies(v, x);
    if (x->slots && !x->skip_slots)
        check_slots(v, x);
    say_missing(v, x);
    index_file_close(&x->file);
    x->open = false;
    x->at++;
}

static bool begin_file(struct store_verify *v, struct index_check *x)
{
    struct index_name *f = &x->files[x->at];
    bool newest = x->at + 1 == x->count;
    struct err wrong = {0};
    char path[PATH_MAX];
    int r;

    snprintf(x->shown, sizeof(x->shown), "index/%017" PRId64, f->name);
    if (!store_layout_path(&v->layout, x->shown, path))
        return false;
    r = index_file_open(&x->file, path, &x->shape, &wrong);
    if (r < 0) {
        store_verify_say(v, x->stated && !f->listed && !x->trusted ? FINDING_NOTE : FINDING_PROBLEM,
                         x->shown, r == -EBADMSG ? 0 : -1, "%s; it is made again from the log",
                         wrong.text);
        return false;
    }
    x->open = true;
    x->number = 1;
    x->until = x->file.view.header.next;
    x->skip_slots = false;
    if (x->stated && !x->trusted && (newest || !f->listed)) {
        /* Since the last checkpoint it may have changed, and be half done. */
        x->skip_slots = true;
        x->until = f->listed && f->header.next < x->until ? f->header.next : x->until;
        if (!f->listed)
            x->until = 1;
    }
    x->before = x->file.view.header.begin_offset;
    x->used = 0;
    if (x->slots)
        memset(x->slots, 0, x->shape.slots * sizeof(*x->slots));
    return true;
}

/* --- the cursor --- */

static int64_t entry_byte(const struct index_check *x)
{
    return (int64_t)index_entry_at(&x->shape, x->number);
}

static void tally(struct index_tally *t, int64_t at, uint64_t log_offset)
{
    if (t->count++ == 0) {
        t->at = at;
        t->log_offset = log_offset;
    }
}

/* The entry is done with: it joins its chain. */
static void consume(struct store_verify *v, struct index_check *x)
{
    const struct index_entry *e = &x->entry;

    v->index_checks++;
    if (x->slots) {
        uint32_t *slot = &x->slots[e->hash % x->shape.slots];
        if (e->previous != *slot && !x->skip_slots)
            tally(&x->chains, entry_byte(x) + 16, 0);
        x->used += *slot == 0;
        *slot = x->number;
    }
    x->before = e->log_offset;
    x->number++;
    x->peeked = false;
}

/* The next entry in x->entry: 1; 0: there is none. */
static int peek(struct store_verify *v, struct index_check *x)
{
    while (!x->peeked) {
        const char *why;
        int r;

        if (!x->open) {
            if (x->at >= x->count)
                return 0;
            if (!begin_file(v, x)) {
                x->at++;
                continue;
            }
        }
        if (x->number >= x->until) {
            end_file(v, x);
            continue;
        }
        r = index_view_entry(&x->file.view, x->number, &x->entry);
        why = r < 0 ? strerror(-r)
                    : index_entry_check(&x->file.view, x->number, &x->entry, x->before);
        if (!why) {
            x->peeked = true;
            break;
        }
        store_verify_problem(v, x->shown, entry_byte(x), "entry %" PRIu32 ": %s", x->number, why);
        x->entry.log_offset = x->before;
        if (r < 0)
            x->number = x->until; /* the rest cannot be read */
        else
            consume(v, x);
        x->skip_slots = true;
    }
    return 1;
}

static int add_hash(void *ctx, uint32_t hash)
{
    struct index_check *x = ctx;

    if (x->hash_count < KEYS_MAX)
        x->hashes[x->hash_count++] = hash;
    return 0;
}

/* Entries that lead to places before the record: of deleted messages, twice there, or wrong. */
static void pass_over(struct store_verify *v, struct index_check *x, uint64_t offset)
{
    uint64_t min = store_layout_min(&v->layout);

    while (peek(v, x) && (uint64_t)x->entry.log_offset < offset) {
        uint64_t to = (uint64_t)x->entry.log_offset;

        /* RocketMQ enters the last record again after a crash. */
        if (to >= min && to != x->last_record && v->damaged_bytes == 0)
            tally(&x->strangers, entry_byte(x), to);
        consume(v, x);
    }
}

int store_verify_index_record(struct store_verify *v, const struct record *r, uint64_t offset)
{
    struct index_check *x = v->index;
    uint32_t i = 0;

    pass_over(v, x, offset);
    x->hash_count = 0;
    (void)index_each_key(r, add_hash, x);
    while (i < x->hash_count && peek(v, x) && (uint64_t)x->entry.log_offset == offset) {
        int32_t seconds = index_seconds(x->file.view.header.begin_ms, r->store_ms);

        if (x->entry.hash != x->hashes[i])
            store_verify_problem(v, x->shown, entry_byte(x),
                                 "entry %" PRIu32 " has hash %" PRIu32 ", the key of its record at "
                                 "log offset %" PRIu64 " %" PRIu32,
                                 x->number, x->entry.hash, offset, x->hashes[i]);
        else if (x->number > 1 && x->entry.seconds != seconds)
            store_verify_problem(v, x->shown, entry_byte(x) + 12,
                                 "entry %" PRIu32
                                 " says %d s behind the file's first record, its own "
                                 "is %d s behind",
                                 x->number, x->entry.seconds, seconds);
        consume(v, x);
        i++;
    }
    if (i < x->hash_count && offset >= x->from && offset < x->to)
        tally(&x->missing, -1, offset);
    if (x->hash_count > 0)
        x->last_record = offset;
    return 0;
}

int store_verify_index_end(struct store_verify *v)
{
    struct index_check *x = v->index;

    if (!x)
        return 0;
    while (peek(v, x)) {
        uint64_t to = (uint64_t)x->entry.log_offset;

        if (to >= v->end)
            tally(&x->beyond, entry_byte(x), to);
        else if (to >= store_layout_min(&v->layout) && to != x->last_record && !v->unclean)
            tally(&x->strangers, entry_byte(x), to);
        consume(v, x);
    }
    say_missing(v, x);
    return 0;
}
