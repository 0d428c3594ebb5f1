/* index_put.c - what the index thread makes of records: entries, files, checkpoints.
 *
 * Everything that can fail is tried again: a record that was entered in part is entered again as a
 * whole, a batch that did not make it into its file waits, a file that could not be synced goes and
 * is made again from the log.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/store/index_internal.h"
#include "broker/store/properties.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

enum {
    RETRY_MS = 1000, /* after a failure; twice as long after each further one in a row */
    RETRY_MAX_MS = 32000,
};

/* --- names and lists --- */

int index_file_path(const struct index *x, char to[PATH_MAX], int64_t name)
{
    int n = snprintf(to, PATH_MAX, "%s/index/%017" PRId64, x->root_dir, name);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int index_tern_path(const struct index *x, char to[PATH_MAX], const char *name)
{
    int n = snprintf(to, PATH_MAX, "%s/tern/%s", x->root_dir, name);

    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int index_files_insert(struct index *x, uint32_t i, const struct index_known *file)
{
    assert(i <= x->count);
    if (x->count == x->cap) {
        uint32_t cap = x->cap ? x->cap * 2 : 16;
        struct index_known *files = reallocarray(x->files, cap, sizeof(*files));
        if (!files)
            return -ENOMEM;
        x->files = files;
        x->cap = cap;
    }
    memmove(x->files + i + 1, x->files + i, (x->count - i) * sizeof(*x->files));
    x->files[i] = *file;
    x->count++;
    return 0;
}

void index_files_remove(struct index *x, uint32_t i)
{
    assert(i < x->count);
    memmove(x->files + i, x->files + i + 1, (x->count - i - 1) * sizeof(*x->files));
    x->count--;
}

/* The local time, as RocketMQ has it; later than the newest in any case. */
static int64_t next_name(const struct index *x)
{
    int64_t ms = clock_wall_ms(), name = 0;
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;

    if (localtime_r(&seconds, &t))
        name = (((((t.tm_year + INT64_C(1900)) * 100 + t.tm_mon + 1) * 100 + t.tm_mday) * 100 +
                 t.tm_hour) *
                    100 +
                t.tm_min) *
                   100000 +
               t.tm_sec * 1000 + ms % 1000;
    if (x->count > 0 && name <= x->files[x->count - 1].name)
        name = x->files[x->count - 1].name + 1;
    return name;
}

/* --- failures --- */

int64_t index_failed(struct index *x, const char *what, int r)
{
    char room[128];

    atomic_fetch_add_explicit(&x->failures, 1, memory_order_relaxed);
    log_warn_limited(x->root_dir, "key index of %s: %s failed: %s; it will be tried again",
                     x->root_dir, what, strerror_r(-r, room, sizeof(room)));
    x->pause_ms = x->pause_ms == 0                 ? RETRY_MS
                  : x->pause_ms * 2 < RETRY_MAX_MS ? x->pause_ms * 2
                                                   : RETRY_MAX_MS;
    x->retry_ms = clock_mono_ms() + x->pause_ms;
    return x->retry_ms;
}

/* The newest file is not to be trusted: its part of the log is read again. */
void index_drop_newest(struct index *x, const char *why)
{
    char path[PATH_MAX] = "";
    uint64_t end;

    (void)index_file_path(x, path, x->files[x->count - 1].name);
    log_error("index file %s is removed: %s; what it held is made again from the log", path, why);
    index_writer_close(&x->writer);
    pthread_rwlock_wrlock(&x->files_lock);
    index_files_remove(x, x->count - 1);
    end = x->count > 0 ? (uint64_t)x->files[x->count - 1].header.end_offset : x->from;
    /* A lost one before it is made again in the same way. */
    while (x->count > 0 && x->files[x->count - 1].lost) {
        end = (uint64_t)x->files[x->count - 1].header.begin_offset;
        index_files_remove(x, x->count - 1);
    }
    x->newest_hidden = false;
    pthread_rwlock_unlock(&x->files_lock);
    (void)file_unlink(path);
    x->restore = false;
    x->feed.position = x->reach = end;
    if (x->synced_position > end)
        x->synced_position = end;
    atomic_store(&x->pending, 0);
    atomic_store(&x->position, end);
    atomic_store(&x->put_to, end);
}

/* --- what is on the disk --- */

int index_write_state(struct index *x, bool clean)
{
    struct index_state state = {
        .clean = clean, .shape = x->shape, .from = x->from, .position = x->synced_position};
    struct index_known *listed = malloc((x->count + 1) * sizeof(*listed));
    struct buf out = {0};
    char path[PATH_MAX];
    struct err err = {0};
    int r = listed ? index_tern_path(x, path, "index") : -ENOMEM;

    for (uint32_t i = 0; i < x->count && r == 0; i++) {
        if (x->files[i].lost || x->files[i].header.next > 1)
            listed[state.count++] = x->files[i];
    }
    if (r == 0) {
        index_state_put(&out, &state, listed);
        r = out.failed ? -ENOMEM : file_replace(path, buf_bytes(&out), &err);
    }
    buf_destroy(&out);
    free(listed);
    if (r == 0)
        x->state_open = !clean;
    return r;
}

/* Before the first entry comes on top of what the state lists, it has to say that this can be. */
static int open_state(struct index *x)
{
    int r = x->writer.fd >= 0 ? index_writer_sync(&x->writer) : 0;

    return r < 0 ? r : index_write_state(x, false);
}

void index_put_reached(struct index *x, uint64_t to)
{
    pthread_mutex_lock(&x->lock);
    atomic_store(&x->put_to, to);
    if (x->asked <= to)
        x->asked = 0;
    pthread_cond_broadcast(&x->moved);
    pthread_mutex_unlock(&x->lock);
}

/* The batch goes into the file. */
int index_put(struct index *x)
{
    int r = 0;

    if (x->writer.count > 0) {
        if (!x->state_open)
            r = open_state(x);
        if (r < 0)
            return r;
        pthread_rwlock_wrlock(&x->files_lock);
        r = index_writer_put(&x->writer);
        if (r == 0)
            x->files[x->count - 1].header = x->writer.header;
        pthread_rwlock_unlock(&x->files_lock);
        if (r < 0)
            return r;
        atomic_store_explicit(&x->pending, 0, memory_order_relaxed);
        if (x->checkpoint_ms == 0)
            x->checkpoint_ms = clock_mono_ms();
    }
    index_put_reached(x, x->reach);
    return 0;
}

/* 0; 1: the newest file is gone, and the position with it; -errno. */
static int sync_newest(struct index *x)
{
    char room[128], why[200];
    int r = x->writer.fd >= 0 ? index_writer_sync(&x->writer) : 0;

    if (r == 0) {
        x->synced_position = x->feed.position;
        return 0;
    }
    /* The kernel may call the pages clean now: nobody knows what is on the disk. */
    snprintf(why, sizeof(why), "syncing it failed: %s", strerror_r(-r, room, sizeof(room)));
    index_drop_newest(x, why);
    return 1;
}

int index_checkpoint(struct index *x, bool clean)
{
    int r = index_put(x);

    if (r == 0)
        r = sync_newest(x);
    if (r == 1)
        return clean ? -EIO : 0;
    if (r == 0)
        r = index_write_state(x, clean);
    if (r == 0)
        x->checkpoint_ms = 0;
    return r;
}

/* --- entries --- */

/* The list has an end: the oldest go. */
static void make_room(struct index *x)
{
    char path[PATH_MAX];

    while (x->count >= INDEX_FILES_MAX) {
        if (index_file_path(x, path, x->files[0].name) == 0)
            (void)file_unlink(path);
        log_warn_limited("index files",
                         "more than %d index files: %s is removed, the oldest; a "
                         "larger maxIndexNum makes fewer",
                         INDEX_FILES_MAX, path);
        x->from = (uint64_t)x->files[0].header.end_offset;
        pthread_rwlock_wrlock(&x->files_lock);
        index_files_remove(x, 0);
        pthread_rwlock_unlock(&x->files_lock);
    }
}

int index_open_newest(struct index *x)
{
    const struct index_known *newest = &x->files[x->count - 1];
    char path[PATH_MAX];
    int r = index_file_path(x, path, newest->name);

    return r < 0 ? r : index_writer_open(&x->writer, path, &newest->header);
}

/* The file that the next entry goes to. */
static int open_writer(struct index *x)
{
    struct index_known file = {.header = {.next = 1}};
    char path[PATH_MAX];
    int r;

    if (x->count > 0 && x->files[x->count - 1].header.next < x->shape.entries_max)
        return index_open_newest(x);
    make_room(x);
    file.name = next_name(x);
    if (x->count > 0)
        file.header.begin_offset = file.header.end_offset =
            x->files[x->count - 1].header.end_offset;
    r = index_file_path(x, path, file.name);
    if (r == 0)
        r = index_writer_create(&x->writer, path);
    if (r < 0)
        return r;
    pthread_rwlock_wrlock(&x->files_lock);
    r = index_files_insert(x, x->count, &file);
    pthread_rwlock_unlock(&x->files_lock);
    if (r < 0) {
        index_writer_close(&x->writer);
        (void)file_unlink(path);
    }
    return r;
}

/* The newest file is full. 0; 1: it is gone. */
static int roll(struct index *x)
{
    int r = index_put(x);

    if (r == 0)
        r = sync_newest(x);
    if (r != 0)
        return r;
    atomic_store(&x->flushed_ms, x->writer.header.end_ms);
    index_writer_close(&x->writer);
    r = index_write_state(x, false);
    if (r < 0)
        (void)index_failed(x, "writing tern/index", r); /* an older one is as true */
    return 0;
}

struct entering {
    struct index *x;
    const struct record *record;
};

static int enter(void *ctx, uint32_t hash)
{
    const struct entering *e = ctx;
    struct index *x = e->x;
    struct index_writer *w = &x->writer;
    int r;

    for (;;) {
        r = w->fd < 0 ? open_writer(x) : 0;
        if (r == 0)
            r = index_writer_add(w, hash, e->record->log_offset, e->record->store_ms);
        if (r == INDEX_WRITER_FULL)
            r = roll(x);
        else if (r == INDEX_WRITER_PUT_FIRST)
            r = index_put(x);
        else
            break;
        if (r != 0)
            break;
    }
    if (r == 0) {
        if (w->count == 1)
            x->batch_ms = clock_mono_ms();
        atomic_fetch_add_explicit(&x->entries, 1, memory_order_relaxed);
        atomic_store_explicit(&x->pending, w->count, memory_order_relaxed);
    }
    return r;
}

int index_each_key(const struct record *r, int (*each)(void *ctx, uint32_t hash), void *ctx)
{
    struct bytes unique = {0}, keys = {0}, name, value, key;
    size_t at = 0;
    int result = 0;

    if ((r->sys_flag & RECORD_TRANSACTION_MASK) == RECORD_TRANSACTION_ROLLBACK)
        return 0;
    while (properties_next(r->properties, &at, &name, &value)) {
        if (bytes_equal(name, BYTES_LIT("UNIQ_KEY")))
            unique = value;
        else if (bytes_equal(name, BYTES_LIT("KEYS")))
            keys = value;
    }
    if (unique.len > 0)
        result = each(ctx, index_key_hash(r->topic, unique));
    at = 0;
    while (result == 0 && properties_next_key(keys, &at, &key))
        result = each(ctx, index_key_hash(r->topic, key));
    return result;
}

/* A record that stays half entered is entered again as a whole: who searches is told each once. */
int index_on_record(void *ctx, const struct record *r)
{
    struct index *x = ctx;
    struct entering e = {x, r};

    x->error = index_each_key(r, enter, &e);
    return x->error != 0;
}
