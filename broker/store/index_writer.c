/* index_writer.c - see index_writer.h. */
#include "broker/store/index_writer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/file.h"

enum {
    PAGE = 4096,
    RUN_PAGES = 16, /* neighbouring pages are read and written together */
    BATCH_FIRST = 1024,
    CHUNK_ENTRIES = 13107, /* read at once by a restore: 256 KiB */
};

/* --- files --- */

void index_writer_init(struct index_writer *w, const struct index_shape *shape)
{
    memset(w, 0, sizeof(*w));
    w->fd = -1;
    w->shape = *shape;
}

static int open_at(struct index_writer *w, const char *path, int flags)
{
    size_t len = strlen(path);
    int fd;

    assert(w->fd < 0 && w->count == 0);
    if (len >= sizeof(w->path))
        return -ENAMETOOLONG;
    fd = file_open(path, flags, 0644);
    if (fd < 0)
        return fd;
    memcpy(w->path, path, len + 1);
    w->fd = fd;
    w->torn = false;
    return 0;
}

int index_writer_create(struct index_writer *w, const char *path)
{
    uint8_t header[INDEX_HEADER_BYTES];
    int r = open_at(w, path, O_RDWR | O_CREAT | O_EXCL);

    if (r < 0)
        return r;
    w->header = (struct index_header){.next = 1};
    w->after = w->header;
    index_header_encode(header, &w->header);
    r = file_truncate(w->fd, (off_t)index_file_bytes(&w->shape));
    if (r == 0)
        r = file_write_all(w->fd, header, sizeof(header), 0);
    if (r == 0)
        r = file_sync_parent(path);
    if (r < 0) {
        index_writer_close(w);
        (void)file_unlink(path);
    }
    return r;
}

int index_writer_open(struct index_writer *w, const char *path, const struct index_header *header)
{
    int r = open_at(w, path, O_RDWR);

    if (r < 0)
        return r;
    w->header = w->after = *header;
    /* The slots will be wanted in no order: better read at once. Only a wish. */
    (void)posix_fadvise(w->fd, 0, (off_t)index_slot_at(w->shape.slots), POSIX_FADV_WILLNEED);
    return 0;
}

void index_writer_close(struct index_writer *w)
{
    if (w->fd >= 0)
        file_close(w->fd);
    w->fd = -1;
    w->count = 0;
    index_writer_rest(w);
}

void index_writer_rest(struct index_writer *w)
{
    if (w->count > 0)
        return;
    free(w->entries);
    free(w->slots);
    free(w->order);
    free(w->pages);
    w->entries = NULL;
    w->slots = w->order = w->pages = NULL;
    w->cap = 0;
}

int index_writer_sync(struct index_writer *w)
{
    return file_fdatasync(w->fd);
}

/* --- the batch --- */

static uint32_t page_of(uint32_t slot)
{
    return (uint32_t)(index_slot_at(slot) / PAGE);
}

static int grow(struct index_writer *w)
{
    uint32_t cap = w->cap ? w->cap * 2 : BATCH_FIRST;
    uint8_t *entries = realloc(w->entries, (size_t)cap * INDEX_ENTRY_BYTES);
    uint32_t *slots, *order;

    if (entries)
        w->entries = entries;
    slots = reallocarray(w->slots, cap, sizeof(*slots));
    if (slots)
        w->slots = slots;
    order = reallocarray(w->order, cap, sizeof(*order));
    if (order)
        w->order = order;
    if (!w->pages)
        w->pages = malloc(((size_t)page_of(w->shape.slots - 1) + 2) * sizeof(*w->pages));
    if (!entries || !slots || !order || !w->pages)
        return -ENOMEM;
    w->cap = cap;
    return 0;
}

int index_writer_add(struct index_writer *w, uint32_t hash, int64_t log_offset, int64_t store_ms)
{
    struct index_header *h = &w->after;
    struct index_entry e = {.hash = hash, .log_offset = log_offset};

    if (h->next >= w->shape.entries_max)
        return INDEX_WRITER_FULL;
    if (w->count == INDEX_BATCH_MAX)
        return INDEX_WRITER_PUT_FIRST;
    if (w->count == w->cap) {
        int r = grow(w);
        if (r < 0)
            return r;
    }
    if (h->next == 1) {
        h->begin_ms = store_ms;
        h->begin_offset = log_offset;
    }
    assert(log_offset >= h->begin_offset);
    e.seconds = index_seconds(h->begin_ms, store_ms);
    index_entry_encode(w->entries + (size_t)w->count * INDEX_ENTRY_BYTES, &e);
    w->slots[w->count++] = hash % w->shape.slots;
    h->next++;
    h->end_ms = store_ms;
    h->end_offset = log_offset;
    return 0;
}

/* Numbers of the batch's entries by the page of their slot; within a page they keep their order. */
static void sort_by_page(struct index_writer *w)
{
    uint32_t pages = page_of(w->shape.slots - 1) + 1, sum = 0;

    memset(w->pages, 0, (size_t)pages * sizeof(*w->pages));
    for (uint32_t i = 0; i < w->count; i++)
        w->pages[page_of(w->slots[i])]++;
    for (uint32_t p = 0; p < pages; p++) {
        uint32_t n = w->pages[p];
        w->pages[p] = sum;
        sum += n;
    }
    for (uint32_t i = 0; i < w->count; i++)
        w->order[w->pages[page_of(w->slots[i])]++] = i;
}

/* Entries order[from..] whose slots lie in neighbouring pages: links them and their slots. Returns
 * where the next run begins, or -errno. */
static int64_t put_run(struct index_writer *w, uint32_t from)
{
    uint8_t bytes[RUN_PAGES * PAGE];
    uint32_t first = page_of(w->slots[w->order[from]]), last = first, to = from;
    uint64_t begin, end;
    int r;

    for (; to < w->count; to++) {
        uint32_t page = page_of(w->slots[w->order[to]]);
        if (page > last + 1 || page - first >= RUN_PAGES)
            break;
        last = page;
    }
    begin = (uint64_t)first * PAGE;
    end = ((uint64_t)last + 1) * PAGE;
    if (begin < INDEX_HEADER_BYTES)
        begin = INDEX_HEADER_BYTES;
    if (end > index_slot_at(w->shape.slots))
        end = index_slot_at(w->shape.slots);
    r = file_read_all(w->fd, bytes, (size_t)(end - begin), (off_t)begin);
    if (r < 0)
        return r;
    for (uint32_t i = from; i < to; i++) {
        uint32_t which = w->order[i], number = w->header.next + which;
        uint8_t *slot = bytes + (index_slot_at(w->slots[which]) - begin);
        uint32_t previous = load_be32(slot);

        if (previous == 0 || previous >= number) { /* above: damage, which ends there */
            previous = 0;
            w->after.used_slots += w->after.used_slots < w->shape.slots;
        }
        store_be32(w->entries + (size_t)which * INDEX_ENTRY_BYTES + 16, previous);
        store_be32(slot, number);
    }
    r = file_write_all(w->fd, bytes, (size_t)(end - begin), (off_t)begin);
    return r < 0 ? r : (int64_t)to;
}

static int write_header(struct index_writer *w, const struct index_header *h)
{
    uint8_t bytes[INDEX_HEADER_BYTES];

    index_header_encode(bytes, h);
    return file_write_all(w->fd, bytes, sizeof(bytes), 0);
}

int index_writer_put(struct index_writer *w)
{
    const char *why;
    int r;

    if (w->torn) {
        uint32_t waiting = w->count;
        struct index_header after = w->after;

        w->count = 0;
        r = index_writer_restore(w, w->header.next, UINT64_MAX, &why);
        w->count = waiting;
        w->after = after;
        if (r < 0)
            return r;
    }
    if (w->count == 0)
        return 0;
    sort_by_page(w);
    w->torn = true;
    w->after.used_slots = w->header.used_slots;
    for (uint32_t from = 0; from < w->count;) {
        int64_t next = put_run(w, from);
        if (next < 0)
            return (int)next;
        from = (uint32_t)next;
    }
    r = file_write_all(w->fd, w->entries, (size_t)w->count * INDEX_ENTRY_BYTES,
                       (off_t)index_entry_at(&w->shape, w->header.next));
    if (r == 0)
        r = write_header(w, &w->after);
    if (r < 0)
        return r;
    w->header = w->after;
    w->count = 0;
    w->torn = false;
    return 0;
}

/* --- after a crash --- */

struct restore {
    struct index_writer *w;
    struct index_view view; /* its header is the one that comes out */
    uint8_t *slots;         /* as in the file */
    uint8_t *chunk;
    uint32_t next;
    uint64_t limit;
    int64_t before; /* log offset of the entry before, and its time */
    int32_t last_seconds;
    const char *why;
};

/* One chunk of entries from `first` on. 0: go on; 1: the limit was met; -EBADMSG, -errno. */
static int restore_chunk(struct restore *v, uint32_t first, uint32_t count)
{
    struct index_writer *w = v->w;
    struct index_header *h = &v->view.header;
    bool changed = false;
    uint32_t done = 0;
    int r = file_read_all(w->fd, v->chunk, (size_t)count * INDEX_ENTRY_BYTES,
                          (off_t)index_entry_at(&w->shape, first));

    if (r < 0)
        return r;
    for (; done < count; done++) {
        uint8_t *at = v->chunk + (size_t)done * INDEX_ENTRY_BYTES, *slot;
        uint32_t number = first + done, previous;
        struct index_entry e;

        index_entry_decode(at, &e);
        if (e.log_offset >= 0 && (uint64_t)e.log_offset >= v->limit)
            break;
        slot = v->slots + (size_t)(e.hash % w->shape.slots) * INDEX_SLOT_BYTES;
        previous = load_be32(slot);
        changed |= e.previous != previous;
        e.previous = previous;
        v->why = index_entry_check(&v->view, number, &e, v->before);
        if (v->why)
            return -EBADMSG;
        store_be32(at + 16, previous);
        store_be32(slot, number);
        h->used_slots += previous == 0;
        h->next = number + 1;
        v->before = e.log_offset;
        v->last_seconds = e.seconds;
    }
    if (changed)
        r = file_write_all(w->fd, v->chunk, (size_t)done * INDEX_ENTRY_BYTES,
                           (off_t)index_entry_at(&w->shape, first));
    return r < 0 ? r : done < count;
}

static int restore_all(struct restore *v)
{
    struct index_writer *w = v->w;
    struct index_header *h = &v->view.header;
    int r = 0;

    w->torn = true;
    for (uint32_t first = 1; first < v->next && r == 0; first += CHUNK_ENTRIES) {
        uint32_t count = v->next - first;
        r = restore_chunk(v, first, count < CHUNK_ENTRIES ? count : CHUNK_ENTRIES);
    }
    if (r == 1) { /* later entries are gone: the last that stays says where the file ends */
        h->end_offset = v->before;
        h->end_ms = h->begin_ms + (int64_t)v->last_seconds * 1000 + 999;
    }
    if (r < 0)
        return r;
    r = file_write_all(w->fd, v->slots, (size_t)w->shape.slots * INDEX_SLOT_BYTES,
                       INDEX_HEADER_BYTES);
    if (r == 0)
        r = write_header(w, &v->view.header);
    if (r < 0)
        return r;
    w->header = w->after = v->view.header;
    w->torn = false;
    return 0;
}

int index_writer_restore(struct index_writer *w, uint32_t next, uint64_t limit, const char **why)
{
    struct restore v = {.w = w, .next = next, .limit = limit};
    int r = -ENOMEM;

    assert(w->count == 0 && next <= w->header.next);
    v.view.shape = w->shape;
    v.view.header = w->header;
    v.view.header.used_slots = 0;
    v.view.header.next = 1;
    v.before = w->header.begin_offset;
    v.slots = calloc(w->shape.slots, INDEX_SLOT_BYTES);
    v.chunk = malloc((size_t)CHUNK_ENTRIES * INDEX_ENTRY_BYTES);
    if (v.slots && v.chunk)
        r = restore_all(&v);
    *why = v.why;
    free(v.slots);
    free(v.chunk);
    return r;
}
