/* entry_reader.c - see entry_reader.h. Windows give way by a clock: a hand goes round and takes the
 * first that was not used since it came by last. */
#include "tools/entry_reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include "common/file.h"

struct entry_window {
    struct ledger_queue *queue;
    int64_t from; /* queue offset of its first entry */
    int count;    /* 0: no file there */
    bool used;
    uint8_t units[ENTRY_WINDOW * QUEUE_ENTRY_BYTES];
};

struct entry_file {
    const struct ledger_queue *queue; /* NULL: free */
    int64_t first_byte;
    int fd;
};

int entry_reader_init(struct entry_reader *r, const char *dir, int64_t file_bytes)
{
    assert(file_bytes > 0 && file_bytes % QUEUE_ENTRY_BYTES == 0);
    *r = (struct entry_reader){.dir = dir, .file_bytes = file_bytes};
    r->files = calloc(ENTRY_FILES, sizeof(*r->files));
    return r->files ? 0 : -ENOMEM;
}

void entry_reader_destroy(struct entry_reader *r)
{
    for (unsigned i = 0; r->files && i < ENTRY_FILES; i++) {
        if (r->files[i].queue)
            (void)file_close(r->files[i].fd);
    }
    free(r->files);
    free(r->windows);
    *r = (struct entry_reader){.dir = NULL};
}

int entry_reader_file(struct entry_reader *r, const struct ledger_queue *q, int64_t first_byte)
{
    uint64_t hash = name_mix(q->hash ^ (uint64_t)first_byte, 0xD1B54A32D192ED03u);
    struct entry_file *f = &r->files[hash % ENTRY_FILES];
    char folder[PATH_MAX], path[PATH_MAX];
    int fd, n;

    if (f->queue == q && f->first_byte == first_byte)
        return f->fd;
    n = queue_folder_path(folder, sizeof(folder), r->dir,
                          bytes_of(q->topic->name, q->topic->name_len), q->id);
    if (n == 0)
        n = queue_file_path(path, sizeof(path), folder, first_byte);
    if (n < 0)
        return n;
    fd = file_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    if (f->queue)
        (void)file_close(f->fd);
    *f = (struct entry_file){q, first_byte, fd};
    return fd;
}

static struct entry_window *take_window(struct entry_reader *r, uint32_t *index)
{
    if (r->count < ENTRY_WINDOWS && r->count == r->room) {
        uint32_t room = r->room ? r->room * 2 : 64;
        struct entry_window *more;

        if (room > ENTRY_WINDOWS)
            room = ENTRY_WINDOWS;
        more = reallocarray(r->windows, room, sizeof(*more));
        if (more) {
            r->windows = more;
            r->room = room;
        } else if (r->count == 0) {
            return NULL;
        }
    }
    if (r->count < r->room) {
        *index = r->count;
        r->windows[r->count] = (struct entry_window){.queue = NULL};
        return &r->windows[r->count++];
    }
    for (;; r->hand = (r->hand + 1) % r->count) {
        struct entry_window *w = &r->windows[r->hand];
        if (!w->used) {
            *index = r->hand;
            r->hand = (r->hand + 1) % r->count;
            w->queue->window = LEDGER_NO_WINDOW;
            return w;
        }
        w->used = false;
    }
}

static int load(struct entry_reader *r, struct ledger_queue *q, int64_t offset)
{
    int64_t file_units = r->file_bytes / QUEUE_ENTRY_BYTES;
    int64_t in_file = offset % file_units, first_byte = (offset - in_file) * QUEUE_ENTRY_BYTES;
    struct entry_window *w;
    int fd, n;

    if (q->window == LEDGER_NO_WINDOW) {
        uint32_t index;
        w = take_window(r, &index);
        if (!w)
            return -ENOMEM;
        w->queue = q;
        q->window = index;
    }
    w = &r->windows[q->window];
    w->from = offset;
    w->count = 0;
    if (first_byte < q->first_byte || first_byte > q->last_byte)
        return 0;
    fd = entry_reader_file(r, q, first_byte);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return fd;
    n = file_units - in_file < ENTRY_WINDOW ? (int)(file_units - in_file) : ENTRY_WINDOW;
    r->reads++;
    fd = file_read_all(fd, w->units, (size_t)n * QUEUE_ENTRY_BYTES, in_file * QUEUE_ENTRY_BYTES);
    if (fd == -ENODATA)
        return 0; /* a file that is too short, which the look at the folder has said */
    if (fd < 0)
        return fd;
    w->count = n;
    return 0;
}

int entry_reader_at(struct entry_reader *r, struct ledger_queue *q, int64_t offset,
                    enum queue_unit *unit, struct queue_entry *out)
{
    struct entry_window *w = q->window == LEDGER_NO_WINDOW ? NULL : &r->windows[q->window];

    if (!w || offset < w->from || offset >= w->from + (w->count ? w->count : 1)) {
        int code = load(r, q, offset);
        if (code < 0)
            return code;
        w = &r->windows[q->window];
    }
    w->used = true;
    *out = (struct queue_entry){0};
    *unit = w->count == 0
                ? UNIT_EMPTY
                : queue_unit_decode(w->units + (offset - w->from) * QUEUE_ENTRY_BYTES, out);
    return 0;
}
