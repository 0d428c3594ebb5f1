/* index_file.c - see index_file.h. */
#include "broker/store/index_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "common/file.h"

#define INDEX_MS_MAX (INT64_MAX / 2) /* sums of times do not overflow */

bool index_shape_ok(const struct index_shape *shape)
{
    return shape->slots >= 1 && shape->slots <= INDEX_SLOTS_MAX && shape->entries_max >= 2 &&
           shape->entries_max <= INDEX_ENTRIES_MAX;
}

uint64_t index_file_bytes(const struct index_shape *shape)
{
    return index_entry_at(shape, shape->entries_max);
}

/* --- the pieces --- */

void index_header_decode(const uint8_t from[INDEX_HEADER_BYTES], struct index_header *h)
{
    int32_t next = (int32_t)load_be32(from + 36);

    h->begin_ms = (int64_t)load_be64(from);
    h->end_ms = (int64_t)load_be64(from + 8);
    h->begin_offset = (int64_t)load_be64(from + 16);
    h->end_offset = (int64_t)load_be64(from + 24);
    h->used_slots = load_be32(from + 32);
    h->next = next <= 0 ? 1 : (uint32_t)next;
}

void index_header_encode(uint8_t to[INDEX_HEADER_BYTES], const struct index_header *h)
{
    store_be64(to, (uint64_t)h->begin_ms);
    store_be64(to + 8, (uint64_t)h->end_ms);
    store_be64(to + 16, (uint64_t)h->begin_offset);
    store_be64(to + 24, (uint64_t)h->end_offset);
    store_be32(to + 32, h->used_slots);
    store_be32(to + 36, h->next);
}

const char *index_header_check(const struct index_header *h, const struct index_shape *shape)
{
    if (h->next > shape->entries_max)
        return "it counts more entries than it has room for";
    if (h->used_slots > shape->slots)
        return "it counts more slots than it has";
    if (h->begin_offset < 0 || h->end_offset < h->begin_offset)
        return "its log offsets cannot be";
    if (h->begin_ms < 0 || h->begin_ms > INDEX_MS_MAX || h->end_ms < 0 || h->end_ms > INDEX_MS_MAX)
        return "its times cannot be";
    return NULL;
}

void index_entry_decode(const uint8_t from[INDEX_ENTRY_BYTES], struct index_entry *e)
{
    e->hash = load_be32(from);
    e->log_offset = (int64_t)load_be64(from + 4);
    e->seconds = (int32_t)load_be32(from + 12);
    e->previous = load_be32(from + 16);
}

void index_entry_encode(uint8_t to[INDEX_ENTRY_BYTES], const struct index_entry *e)
{
    store_be32(to, e->hash);
    store_be64(to + 4, (uint64_t)e->log_offset);
    store_be32(to + 12, (uint32_t)e->seconds);
    store_be32(to + 16, e->previous);
}

uint32_t index_key_hash(struct bytes topic, struct bytes key)
{
    int32_t hash = bytes_java_hash(topic);

    hash = bytes_java_hash_on(hash, BYTES_LIT("#"));
    hash = bytes_java_hash_on(hash, key);
    /* The one number that has no positive counterpart counts as 0. */
    return hash == INT32_MIN ? 0 : (uint32_t)(hash < 0 ? -hash : hash);
}

int32_t index_seconds(int64_t begin_ms, int64_t store_ms)
{
    int64_t seconds;

    if (begin_ms <= 0 || store_ms < begin_ms)
        return 0;
    seconds = (store_ms - begin_ms) / 1000;
    return seconds > INT32_MAX ? INT32_MAX : (int32_t)seconds;
}

/* --- a view --- */

int index_view_init(struct index_view *v, const struct index_shape *shape, index_read_fn *read,
                    void *ctx, const char **why)
{
    uint8_t bytes[INDEX_HEADER_BYTES];
    int r;

    v->shape = *shape;
    v->read = read;
    v->ctx = ctx;
    v->window_first = v->window_count = 0;
    r = read(ctx, 0, bytes, sizeof(bytes));
    if (r < 0)
        return r;
    index_header_decode(bytes, &v->header);
    *why = index_header_check(&v->header, shape);
    return *why ? -EBADMSG : 0;
}

/* Chains lead down, so the window is read with `number` as its last one; the first of all entries
 * takes those behind it along. */
static int move_window(struct index_view *v, uint32_t number)
{
    uint32_t first = number >= INDEX_WINDOW_ENTRIES ? number - INDEX_WINDOW_ENTRIES + 1 : 1;
    uint32_t count = INDEX_WINDOW_ENTRIES;
    int r;

    if (v->window_count > 0 && number == v->window_first + v->window_count)
        first = number; /* somebody reads them upwards */
    if (count > v->header.next - first)
        count = v->header.next - first;
    v->window_count = 0;
    r = v->read(v->ctx, index_entry_at(&v->shape, first), v->window,
                (size_t)count * INDEX_ENTRY_BYTES);
    if (r < 0)
        return r;
    v->window_first = first;
    v->window_count = count;
    return 0;
}

int index_view_entry(struct index_view *v, uint32_t number, struct index_entry *e)
{
    if (number < 1 || number >= v->header.next)
        return -EBADMSG;
    if (number < v->window_first || number - v->window_first >= v->window_count) {
        int r = move_window(v, number);
        if (r < 0)
            return r;
    }
    index_entry_decode(v->window + (size_t)(number - v->window_first) * INDEX_ENTRY_BYTES, e);
    return 0;
}

const char *index_entry_check(const struct index_view *v, uint32_t number,
                              const struct index_entry *e, int64_t before)
{
    if (e->hash > INT32_MAX)
        return "a hash of more than 31 bits";
    if (e->log_offset < before || e->log_offset > v->header.end_offset)
        return "a log offset out of order";
    if (e->seconds < 0)
        return "a time before the file's first";
    if (e->previous >= number)
        return "a chain that does not lead back";
    return NULL;
}

int index_walk_begin(struct index_walk *w, struct index_view *v, uint32_t hash, int64_t begin_ms,
                     int64_t end_ms)
{
    uint8_t slot[INDEX_SLOT_BYTES];
    int r;

    *w = (struct index_walk){
        .view = v, .hash = hash, .begin_ms = begin_ms, .end_ms = end_ms, .at = 0};
    r = v->read(v->ctx, index_slot_at(hash % v->shape.slots), slot, sizeof(slot));
    if (r < 0)
        return r;
    w->at = load_be32(slot);
    if (w->at < v->header.next)
        return 0;
    w->at = 0;
    return -EBADMSG;
}

int index_walk_next(struct index_walk *w, struct index_entry *e)
{
    struct index_view *v = w->view;

    while (w->at > 0) {
        uint32_t number = w->at;
        int64_t ms;
        int r = index_view_entry(v, number, e);

        w->at = 0;
        if (r < 0)
            return r;
        if (index_entry_check(v, number, e, v->header.begin_offset))
            return -EBADMSG;
        ms = v->header.begin_ms + (number == 1 ? 0 : (int64_t)e->seconds * 1000);
        if (ms + 999 < w->begin_ms)
            return 0;
        w->at = e->previous;
        if (e->hash == w->hash && ms <= w->end_ms)
            return 1;
    }
    return 0;
}

/* --- a file --- */

static int read_fd(void *ctx, uint64_t at, void *to, size_t size)
{
    return file_read_all(*(const int *)ctx, to, size, (off_t)at);
}

int index_file_open(struct index_file *f, const char *path, const struct index_shape *shape,
                    struct err *err)
{
    const char *why = NULL;
    int64_t size = 0;
    int r;

    f->fd = file_open(path, O_RDONLY, 0);
    if (f->fd < 0)
        return err_set(err, f->fd, "open the index file %s", path);
    r = file_size(f->fd, &size);
    if (r == 0 && (uint64_t)size != index_file_bytes(shape))
        r = err_say(err, -EBADMSG,
                    "index file %s has %" PRId64 " bytes, expected %" PRIu64
                    " (maxHashSlotNum=%u, maxIndexNum=%u)",
                    path, size, index_file_bytes(shape), shape->slots, shape->entries_max);
    else if (r == 0)
        r = index_view_init(&f->view, shape, read_fd, &f->fd, &why);
    if (r == 0)
        return 0;
    if (why)
        err_say(err, r, "index file %s: %s", path, why);
    else if (r != -EBADMSG)
        err_set(err, r, "read the index file %s", path);
    index_file_close(f);
    return r;
}

void index_file_close(struct index_file *f)
{
    if (f->fd >= 0)
        file_close(f->fd);
    f->fd = -1;
}
