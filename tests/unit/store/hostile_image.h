/* hostile_image.h - a store folder held in memory, and what can happen to its files.
 *
 * An image is written out, damaged on the disk, opened, and written out again for the next case.
 * Everything that a case does is drawn from one number, so that number is all there is to know to
 * see a case again. */
#ifndef TERN_TESTS_HOSTILE_IMAGE_H
#define TERN_TESTS_HOSTILE_IMAGE_H

#include <stdarg.h>

#include "store_fixture.h"

enum { IMAGE_FILES_MAX = 256, CASE_TEXT = 512 };

struct image_file {
    char name[160]; /* below the store's root */
    uint8_t *bytes;
    size_t size;
};
struct image {
    struct image_file files[IMAGE_FILES_MAX];
    size_t count;
};

/* --- random numbers --- */

static uint64_t random_state;
static char case_text[CASE_TEXT]; /* what this case did, for the line that says what went wrong */

static inline uint32_t random_below(uint32_t bound)
{
    uint64_t z;

    random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = random_state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return bound > 0 ? (uint32_t)(z % bound) : 0;
}

static inline void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void say(const char *format, ...)
{
    size_t len = strlen(case_text);
    va_list args;

    va_start(args, format);
    vsnprintf(case_text + len, sizeof(case_text) - len, format, args);
    va_end(args);
}

/* --- images --- */

static inline void image_add(struct image *image, const char *name)
{
    struct image_file *f = &image->files[image->count++];
    struct buf content = {0};

    ck_assert_uint_le(image->count, IMAGE_FILES_MAX);
    snprintf(f->name, sizeof(f->name), "%s", name);
    ck_assert_int_eq(file_load(in_dir(name), 64 << 20, &content), 0);
    f->size = content.len;
    f->bytes = malloc(content.len + 1);
    ck_assert_ptr_nonnull(f->bytes);
    if (content.len > 0)
        memcpy(f->bytes, buf_at(&content), content.len);
    buf_destroy(&content);
}

static inline void image_walk(struct image *image, const char *folder)
{
    struct file_list list;

    ck_assert_int_eq(file_list(folder[0] ? in_dir(folder) : dir, &list), 0);
    for (size_t i = 0; i < list.count; i++) {
        char name[160];
        struct stat st;
        snprintf(name, sizeof(name), "%s%s%s", folder, folder[0] ? "/" : "", list.names[i]);
        ck_assert_int_eq(file_stat(in_dir(name), &st), 0);
        if (S_ISDIR(st.st_mode))
            image_walk(image, name);
        else if (strcmp(name, "lock") !=
                 0) /* closing it would give up the lock of a running store */
            image_add(image, name);
    }
    file_list_free(&list);
}

/* The folder as it is now. */
static inline void image_take(struct image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->files[i].bytes);
    image->count = 0;
    image_walk(image, "");
}

static inline void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    char path[640];
    int fd;

    snprintf(path, sizeof(path), "%s", in_dir(name));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 && errno == ENOENT) {
        *strrchr(path, '/') = '\0';
        ck_assert_int_eq(file_mkdirs(path), 0);
        fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    }
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static inline void image_put(const struct image *image)
{
    remove_tree(dir);
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < image->count; i++)
        write_file(image->files[i].name, image->files[i].bytes, image->files[i].size);
}

static inline struct image_file *image_find(struct image *image, const char *name)
{
    for (size_t i = 0; i < image->count; i++) {
        if (strcmp(image->files[i].name, name) == 0)
            return &image->files[i];
    }
    return NULL;
}

/* --- kinds of files --- */

enum kind { LOG, QUEUE, MARK, SNAPSHOT, META, CONFIG, INDEX, SMALL, KINDS };
static const char *const kind_names[KINDS] = {"log",  "queue",  "mark",  "snapshot",
                                              "meta", "config", "index", "small"};

static inline enum kind kind_of(const char *name)
{
    if (strncmp(name, "commitlog/", 10) == 0)
        return LOG;
    if (strncmp(name, "consumequeue/", 13) == 0)
        return QUEUE;
    if (strcmp(name, "tern/flushed") == 0)
        return MARK;
    if (strcmp(name, "tern/queues") == 0)
        return SNAPSHOT;
    if (strncmp(name, "tern/meta/", 10) == 0)
        return META;
    if (strncmp(name, "config/", 7) == 0)
        return CONFIG;
    if (strncmp(name, "index/", 6) == 0 || strcmp(name, "tern/index") == 0)
        return INDEX;
    return SMALL; /* abort, checkpoint */
}

/* One of that kind; NULL when there is none. */
static inline struct image_file *pick(struct image *image, enum kind kind)
{
    struct image_file *found = NULL;
    uint32_t seen = 0;

    for (size_t i = 0; i < image->count; i++) {
        if (kind_of(image->files[i].name) == kind && random_below(++seen) == 0)
            found = &image->files[i];
    }
    return found;
}

/* --- what happens to one --- */

enum harm { FLIP, ZERO, GARBAGE, DUPLICATE, SWAP, CUT_OFF, GROW, DELETE, OLDER, STRAY, HARMS };

/* A range in the file; half of them short, a quarter in the front. */
static inline void draw_range(size_t size, size_t *at, size_t *n)
{
    size_t area = random_below(4) == 0 && size > 512 ? 512 : size;

    *at = random_below((uint32_t)area);
    *n = 1 + random_below(random_below(2) ? 32 : (uint32_t)size);
    if (*n > size - *at)
        *n = size - *at;
}

static inline void harm_bytes(struct image *image, struct image_file *f, enum kind kind,
                              enum harm harm, uint8_t *bytes)
{
    size_t at, n, from;

    draw_range(f->size, &at, &n);
    switch (harm) {
    case FLIP:
        n = 1 + random_below(random_below(4) == 0 ? 8 : 1);
        for (size_t i = 0; i < n; i++) {
            draw_range(f->size, &at, &from);
            int bit = (int)random_below(8);
            bytes[at] ^= (uint8_t)(1 << bit);
            say(" flip %zu.%d", at, bit);
        }
        break;
    case ZERO:
        say(" zero %zu+%zu", at, n);
        memset(bytes + at, 0, n);
        break;
    case GARBAGE:
        say(" garbage %zu+%zu", at, n);
        for (size_t i = 0; i < n; i++)
            bytes[at + i] = (uint8_t)random_below(256);
        break;
    case DUPLICATE: {
        const struct image_file *other = random_below(2) ? pick(image, kind) : f;
        from = random_below((uint32_t)other->size);
        if (n > other->size - from)
            n = other->size - from;
        say(" bytes %zu+%zu of %s over %zu", from, n, other->name, at);
        memmove(bytes + at, other->bytes + from, n);
        break;
    }
    default:
        break;
    }
}

/* The files of that kind, or one of them, as they were at an earlier moment. */
static inline bool put_older(struct image *earlier, enum kind kind)
{
    const struct image_file *one = random_below(2) ? pick(earlier, kind) : NULL;
    bool any = false;

    /* What was in queues and log then is a part of what is in them now. */
    if (kind == LOG || kind == QUEUE)
        return false;
    for (size_t i = 0; i < earlier->count; i++) {
        const struct image_file *f = &earlier->files[i];
        if (one ? f != one : kind_of(f->name) != kind)
            continue;
        if (!any)
            say(" older:");
        say(" %s", f->name);
        write_file(f->name, f->bytes, f->size);
        any = true;
    }
    return any;
}

/* A file that has no business there. */
static inline bool put_stray(struct image_file *f)
{
    static const char *const names[] = {"x.tmp", "00000000000000000001", "99999999999999999999",
                                        "-0000000000000000001", "000000000000000000000"};
    char name[200];
    char *end;

    snprintf(name, sizeof(name), "%s", f->name);
    end = strrchr(name, '/');
    if (!end)
        return false;
    snprintf(end + 1, sizeof(name) - (size_t)(end + 1 - name), "%s", names[random_below(5)]);
    say(" stray %s", name);
    write_file(name, f->bytes, f->size);
    return true;
}

/* Damages one file of that kind on the disk. False when there is none that could be. */
static inline bool do_harm(struct image *image, struct image *earlier, enum kind kind,
                           enum harm harm)
{
    struct image_file *f = pick(image, kind), *other;
    uint8_t *bytes;
    size_t size;

    if (harm == OLDER)
        return put_older(earlier, kind);
    if (!f || (f->size == 0 && harm != GROW && harm != DELETE))
        return false;
    say(" %s:", f->name);
    switch (harm) {
    case SWAP:
        other = pick(image, kind);
        if (other == f)
            return false;
        say(" swapped with %s", other->name);
        write_file(f->name, other->bytes, other->size);
        write_file(other->name, f->bytes, f->size);
        return true;
    case CUT_OFF:
        size = random_below((uint32_t)f->size);
        say(" cut off at %zu", size);
        ck_assert_int_eq(truncate(in_dir(f->name), (off_t)size), 0);
        return true;
    case GROW:
        size = f->size + 1 + random_below(5000);
        say(" grown to %zu", size);
        ck_assert_int_eq(truncate(in_dir(f->name), (off_t)size), 0);
        return true;
    case STRAY:
        return put_stray(f);
    case DELETE:
        say(" deleted");
        ck_assert_int_eq(unlink(in_dir(f->name)), 0);
        return true;
    default:
        break;
    }
    bytes = malloc(f->size);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, f->bytes, f->size);
    harm_bytes(image, f, kind, harm, bytes);
    write_file(f->name, bytes, f->size);
    free(bytes);
    return true;
}

#endif
