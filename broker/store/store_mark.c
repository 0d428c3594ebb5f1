/* store_mark.c - see store_mark.h. A slot has a page of its own, so that a write that tears can
 * spoil only the slot that it writes. */
#include "broker/store/store_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/crc.h"
#include "common/file.h"

static const uint8_t mark_magic[8] = "TERNMARK";

enum { MARK_VERSION = 2, MARK_CLEAN = 1, MARK_CRC_AT = MARK_SLOT_BYTES - 4 };

void mark_encode(uint8_t to[MARK_SLOT_BYTES], const struct mark *mark)
{
    memset(to, 0, MARK_SLOT_BYTES);
    memcpy(to, mark_magic, sizeof(mark_magic));
    store_be32(to + 8, MARK_VERSION);
    store_be32(to + 12, mark->clean ? MARK_CLEAN : 0);
    store_be64(to + 16, mark->sequence);
    store_be64(to + 24, mark->flushed);
    store_be64(to + 32, mark->queues_complete_to);
    store_be64(to + 40, (uint64_t)mark->store_ms);
    store_be32(to + 48, mark->tail_crc);
    store_be64(to + 56, mark->queue_ends);
    store_be64(to + 64, mark->queue_mins);
    store_be64(to + 72, mark->log_min);
    store_be64(to + 80, mark->crc_from);
    store_be32(to + MARK_CRC_AT, crc32_of(0, bytes_of(to, MARK_CRC_AT)));
}

bool mark_decode(const uint8_t from[MARK_SLOT_BYTES], struct mark *mark)
{
    struct mark m;

    if (memcmp(from, mark_magic, sizeof(mark_magic)) != 0 || load_be32(from + 8) != MARK_VERSION ||
        load_be32(from + MARK_CRC_AT) != crc32_of(0, bytes_of(from, MARK_CRC_AT)))
        return false;
    m.clean = (load_be32(from + 12) & MARK_CLEAN) != 0;
    m.sequence = load_be64(from + 16);
    m.flushed = load_be64(from + 24);
    m.queues_complete_to = load_be64(from + 32);
    m.store_ms = (int64_t)load_be64(from + 40);
    m.tail_crc = load_be32(from + 48);
    m.queue_ends = load_be64(from + 56);
    m.queue_mins = load_be64(from + 64);
    m.log_min = load_be64(from + 72);
    m.crc_from = load_be64(from + 80);
    if (m.flushed > INT64_MAX || m.queues_complete_to > m.flushed || m.store_ms < 0)
        return false;
    *mark = m;
    return true;
}

static int newest_slot(int fd, struct mark *mark)
{
    uint8_t slot[MARK_SLOT_BYTES];
    struct mark m;
    bool found = false;

    for (int i = 0; i < 2; i++) {
        int r = file_read_all(fd, slot, sizeof(slot), (off_t)i * MARK_SLOT_APART);
        if (r == -ENODATA)
            continue; /* shorter than two slots: not ours, or a crash while it was made */
        if (r < 0)
            return r;
        /* By difference, so that a sequence that has wrapped is newer than one that has not. */
        if (mark_decode(slot, &m) && (m.sequence & 1) == (unsigned)i &&
            (!found || (int64_t)(m.sequence - mark->sequence) > 0)) {
            *mark = m;
            found = true;
        }
    }
    return found ? 0 : MARK_NONE;
}

int mark_open(struct mark_file *file, const char *path, struct mark *mark)
{
    int r;

    *file = (struct mark_file){.fd = -1};
    if (strlen(path) >= sizeof(file->path))
        return -ENAMETOOLONG;
    memcpy(file->path, path, strlen(path) + 1);
    file->fd = file_open(path, O_RDWR, 0);
    if (file->fd == -ENOENT)
        return MARK_NONE;
    if (file->fd < 0)
        return file->fd;
    r = newest_slot(file->fd, mark);
    if (r < 0)
        mark_close(file);
    if (r == 0)
        file->sequence = mark->sequence;
    return r;
}

int mark_read(const char *path, struct mark *mark)
{
    int fd = file_open(path, O_RDONLY, 0), r;

    if (fd == -ENOENT)
        return MARK_NONE;
    if (fd < 0)
        return fd;
    r = newest_slot(fd, mark);
    (void)file_close(fd);
    return r;
}

/* A new file with one slot in it, complete before its name counts. */
static int create(struct mark_file *file, const uint8_t slot[MARK_SLOT_BYTES], off_t at)
{
    uint8_t bytes[MARK_FILE_BYTES] = {0};
    int r;

    file->fd = file_open(file->path, O_RDWR | O_CREAT, 0644);
    if (file->fd < 0)
        return file->fd;
    memcpy(bytes + at, slot, MARK_SLOT_BYTES);
    r = file_write_all(file->fd, bytes, sizeof(bytes), 0);
    if (r == 0)
        r = file_fsync(file->fd);
    if (r == 0)
        r = file_sync_parent(file->path);
    if (r < 0)
        mark_close(file);
    return r;
}

int mark_write(struct mark_file *file, const struct mark *mark)
{
    uint8_t slot[MARK_SLOT_BYTES];
    struct mark m = *mark;
    off_t at;
    int r;

    m.sequence = file->sequence + 1;
    mark_encode(slot, &m);
    at = (off_t)(m.sequence & 1) * MARK_SLOT_APART;
    if (file->fd < 0) {
        r = create(file, slot, at);
    } else {
        r = file_write_all(file->fd, slot, sizeof(slot), at);
        if (r == 0)
            r = file_fdatasync(file->fd);
        /* Whoever made the file may not have come to that. */
        if (r == 0 && !file->named)
            r = file_sync_parent(file->path);
    }
    if (r < 0)
        return r;
    file->named = true;
    file->sequence = m.sequence;
    return 0;
}

void mark_close(struct mark_file *file)
{
    if (file->fd >= 0)
        file_close(file->fd);
    file->fd = -1;
}

enum { CHECKPOINT_BYTES = 4096, TIMES_BYTES = 24 };

int checkpoint_write(const char *path, int64_t physical_ms, int64_t logic_ms, int64_t index_ms)
{
    uint8_t page[CHECKPOINT_BYTES] = {0};
    int64_t size;
    int fd, r;

    store_be64(page, (uint64_t)physical_ms);
    store_be64(page + 8, (uint64_t)logic_ms);
    store_be64(page + 16, (uint64_t)index_ms);
    fd = file_open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return fd;
    r = file_size(fd, &size);
    /* Whatever a newer RocketMQ keeps behind the three times stays as it is. */
    if (r == 0)
        r = file_write_all(fd, page, size < CHECKPOINT_BYTES ? sizeof(page) : TIMES_BYTES, 0);
    if (r == 0)
        r = file_fsync(fd);
    file_close(fd);
    if (r == 0 && size == 0)
        r = file_sync_parent(path);
    return r;
}

int checkpoint_index_ms(const char *path, int64_t *index_ms)
{
    uint8_t times[TIMES_BYTES];
    int fd = file_open(path, O_RDONLY, 0), r;

    *index_ms = 0;
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    r = file_read_all(fd, times, sizeof(times), 0);
    file_close(fd);
    if (r == 0)
        *index_ms = (int64_t)load_be64(times + 16);
    return r == -ENODATA ? 0 : r;
}

int abort_found(const char *path)
{
    struct stat st;
    int r = file_stat(path, &st);

    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

int abort_create(const char *path)
{
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    int fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int r;

    if (fd < 0)
        return fd;
    /* The name is what counts; the number is for whoever looks. A full disk has room for no bytes
     * but usually for a name, and reading should go on then. */
    r = file_write_all(fd, pid, (size_t)len, 0);
    file_close(fd);
    if (r < 0 && r != -ENOSPC && r != -EDQUOT)
        return r;
    return file_sync_parent(path);
}

int abort_remove(const char *path)
{
    int r = file_unlink(path);

    if (r < 0 && r != -ENOENT)
        return r;
    return file_sync_parent(path);
}

int lock_take(const char *root_dir, struct err *err)
{
    char path[PATH_MAX];
    int holder = 0;
    int fd;

    if (snprintf(path, sizeof(path), "%s/lock", root_dir) >= (int)sizeof(path))
        return err_set(err, -ENAMETOOLONG, "lock %s", root_dir);
    fd = file_lock(path, &holder);
    if (fd == -EAGAIN && holder > 0)
        return err_say(err, -EAGAIN, "store %s is in use by process %d", root_dir, holder);
    if (fd == -EAGAIN)
        return err_say(err, -EAGAIN, "store %s is in use by another process", root_dir);
    if (fd < 0)
        return err_set(err, fd, "lock %s", path);
    return fd;
}
