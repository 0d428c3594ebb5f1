/* log_tail.c - see log_tail.h. */
#include "broker/store/log_tail.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* The same pages at `at` and again behind. The place is ours: a mapping without access holds it. */
static int map_twice(uint8_t *at, size_t bytes, int fd)
{
    for (int i = 0; i < 2; i++) {
        if (mmap(at + (size_t)i * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 0) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

static int map_ring(uint8_t **out, size_t bytes)
{
    uint8_t *at;
    int fd, r;

    if (bytes > SIZE_MAX / 2)
        return -EINVAL;
    fd = memfd_create("tern-log-tail", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = ftruncate(fd, (off_t)bytes) == 0 ? 0 : -errno;
    if (r == 0) {
        at = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        r = at == MAP_FAILED ? -errno : 0;
        if (r == 0) {
            r = map_twice(at, bytes, fd);
            if (r == 0)
                *out = at;
            else
                munmap(at, 2 * bytes);
        }
    }
    close(fd); /* the mappings keep the memory */
    return r;
}

int log_tail_init(struct log_tail *t, size_t bytes, struct err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *ring = NULL;
    int r;

    if (bytes < page || (bytes & (bytes - 1)) != 0)
        return err_say(err, -EINVAL,
                       "the memory tail of the log has %zu bytes, not a power of two of at least "
                       "%zu",
                       bytes, page);
    r = map_ring(&ring, bytes);
    if (r < 0)
        return err_set(err, r, "map %zu bytes for the memory tail of the log", bytes);
    *t = (struct log_tail){.ring = ring, .bytes = bytes};
    return 0;
}

void log_tail_destroy(struct log_tail *t)
{
    if (t->ring)
        munmap(t->ring, 2 * t->bytes);
    *t = (struct log_tail){0};
}

void log_tail_restart(struct log_tail *t, uint64_t offset)
{
    t->low = t->high = offset;
}

void log_tail_give(struct log_tail *t, uint64_t to)
{
    if (to <= t->high)
        return;
    t->high = to;
    if (to - t->low > t->bytes)
        t->low = to - t->bytes;
}
