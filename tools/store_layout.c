/* store_layout.c - see store_layout.h. */
#include "tools/store_layout.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/queue_unit.h"
#include "common/file.h"

enum { QUEUE_FILES_POLLED = 4096, NAME_DIGITS = 20 };

/* --- what most files have --- */

void size_poll_add(struct size_poll *p, int64_t size)
{
    unsigned i = 0;

    while (i < p->kinds && p->size[i] != size)
        i++;
    if (i == SIZES_KINDS)
        return;
    if (i == p->kinds) {
        p->size[i] = size;
        p->count[i] = 0;
        p->kinds++;
    }
    p->count[i]++;
}

int64_t size_poll_winner(const struct size_poll *p)
{
    unsigned best = 0;

    if (p->kinds == 0)
        return 0;
    for (unsigned i = 1; i < p->kinds; i++) {
        if (p->count[i] > p->count[best] ||
            (p->count[i] == p->count[best] && p->size[i] > p->size[best]))
            best = i;
    }
    return p->size[best];
}

/* --- paths --- */

bool store_layout_path(const struct store_layout *l, const char *name, char to[PATH_MAX])
{
    int n = snprintf(to, PATH_MAX, "%s/%s", l->root, name);

    return n >= 0 && n < PATH_MAX;
}

static void log_file_name(const struct store_layout *l, const char *name, char to[PATH_MAX])
{
    /* A name that does not fit is cut: it is only shown. */
    if (l->own_log_dir)
        (void)!snprintf(to, PATH_MAX, "%.*s/%.200s", PATH_MAX - 256, l->log_dir, name);
    else
        (void)!snprintf(to, PATH_MAX, "commitlog/%.200s", name);
}

char *store_layout_segment_name(const struct store_layout *l, uint64_t offset, char to[PATH_MAX])
{
    char name[32];

    snprintf(name, sizeof(name), "%020" PRIu64,
             l->segment_bytes ? offset - offset % l->segment_bytes : offset);
    log_file_name(l, name, to);
    return to;
}

bool store_layout_has(const struct store_layout *l, uint64_t offset)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (offset < l->segments[mid].base)
            high = mid;
        else if (offset - l->segments[mid].base >= l->segment_bytes)
            low = mid + 1;
        else
            return true;
    }
    return false;
}

/* --- segments --- */

struct log_file {
    const char *name; /* borrowed from the list */
    uint64_t base;
    int64_t size;
};

static bool parse_name(const char *name, uint64_t *base)
{
    int64_t value;

    if (strlen(name) != NAME_DIGITS || strspn(name, "0123456789") != NAME_DIGITS ||
        !bytes_to_i64(bytes_str(name), &value))
        return false;
    *base = (uint64_t)value;
    return true;
}

static void say(struct findings *f, enum finding kind, const struct store_layout *l,
                const char *name, const char *text)
{
    char shown[PATH_MAX];

    if (!f)
        return;
    log_file_name(l, name, shown);
    findings_add(f, kind, shown, -1, "%s", text);
}

/* Which of the names are segments: *files of them. */
static int gather(struct store_layout *l, const struct file_list *list, struct log_file *files,
                  size_t *count, struct findings *f, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    uint64_t base;

    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        int r;

        if (snprintf(path, sizeof(path), "%s/%s", l->log_dir, name) >= (int)sizeof(path))
            return err_set(err, -ENAMETOOLONG, "look at %s/%s", l->log_dir, name);
        r = file_stat(path, &st);
        if (r == -ENOENT)
            continue; /* deleted since by a broker that runs */
        if (r < 0)
            return err_set(err, r, "look at %s", path);
        if (S_ISDIR(st.st_mode)) {
            say(f, FINDING_NOTE, l, name, "a folder, which the broker passes over");
        } else if (!S_ISREG(st.st_mode) || !parse_name(name, &base)) {
            say(f, FINDING_PROBLEM, l, name,
                "does not belong here: the broker does not start while the folder holds anything "
                "but segments, named by 20 digits");
        } else {
            files[(*count)++] = (struct log_file){name, base, st.st_size};
        }
    }
    return 0;
}

static void take_segments(struct store_layout *l, const struct log_file *files, size_t count,
                          struct findings *f)
{
    char text[256];

    for (size_t i = 0; i < count; i++) {
        const struct log_file *file = &files[i];
        uint64_t next = store_layout_limit(l);

        if (file->base % l->segment_bytes != 0) {
            snprintf(text, sizeof(text),
                     "its name is no multiple of %" PRIu64 ", the bytes of a segment",
                     l->segment_bytes);
            say(f, FINDING_PROBLEM, l, file->name, text);
        } else if (file->size == 0 && i + 1 == count && i > 0) {
            say(f, FINDING_NOTE, l, file->name,
                "empty, as a crash leaves a segment in the making; the next start removes it");
        } else if ((uint64_t)file->size != l->segment_bytes) {
            snprintf(text, sizeof(text),
                     "has %" PRId64 " bytes, the others %" PRIu64
                     "; its records are not looked at, and the broker does not start",
                     file->size, l->segment_bytes);
            say(f, FINDING_PROBLEM, l, file->name, text);
        } else {
            if (l->count > 0 && file->base != next) {
                snprintf(text, sizeof(text),
                         "does not follow the segment before it: %020" PRIu64
                         " is missing, and the broker does not start",
                         next);
                say(f, FINDING_PROBLEM, l, file->name, text);
            }
            l->segments[l->count++].base = file->base;
        }
    }
}

static int read_segments(struct store_layout *l, struct findings *f, struct err *err)
{
    struct size_poll sizes = {.kinds = 0};
    struct log_file *files = NULL;
    struct file_list list;
    size_t count = 0;
    int r = file_list(l->log_dir, &list);

    if (r < 0)
        return err_set(err, r, "read the commit log's folder %s", l->log_dir);
    files = calloc(list.count + 1, sizeof(*files));
    l->segments = calloc(list.count + 1, sizeof(*l->segments));
    if (!files || !l->segments)
        r = err_set(err, -ENOMEM, "read the folder %s", l->log_dir);
    if (r == 0)
        r = gather(l, &list, files, &count, f, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (files[i].size > 0)
            size_poll_add(&sizes, files[i].size);
    }
    l->segment_bytes = (uint64_t)size_poll_winner(&sizes);
    if (r == 0 && l->segment_bytes > 0)
        take_segments(l, files, count, f);
    free(files);
    file_list_free(&list);
    return r;
}

/* --- queue files --- */

static int poll_folder(const char *dir, unsigned depth, struct size_poll *sizes, unsigned *left)
{
    char path[PATH_MAX];
    struct file_list list;
    struct stat st;
    int r = file_list(dir, &list);

    if (r < 0)
        return r == -ENOENT || r == -ENOTDIR ? 0 : r;
    for (size_t i = 0; i<list.count && * left> 0 && r == 0; i++) {
        if (snprintf(path, sizeof(path), "%s/%s", dir, list.names[i]) >= (int)sizeof(path))
            continue;
        if (depth > 0) {
            r = poll_folder(path, depth - 1, sizes, left);
        } else if (file_stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            --*left;
            if (st.st_size > 0 && st.st_size % QUEUE_ENTRY_BYTES == 0)
                size_poll_add(sizes, st.st_size);
        }
    }
    file_list_free(&list);
    return r;
}

static int poll_queues(struct store_layout *l, struct err *err)
{
    struct size_poll sizes = {.kinds = 0};
    unsigned left = QUEUE_FILES_POLLED;
    char dir[PATH_MAX];
    int r = store_layout_path(l, "consumequeue", dir) ? poll_folder(dir, 2, &sizes, &left)
                                                      : -ENAMETOOLONG;

    if (r < 0)
        return err_set(err, r, "read %s/consumequeue", l->root);
    l->queue_file_bytes = size_poll_winner(&sizes);
    return 0;
}

int store_layout_read(struct store_layout *out, const char *root, const char *log_dir,
                      struct findings *findings, struct err *err)
{
    struct store_layout l = {.own_log_dir = log_dir != NULL};
    size_t len = strlen(root);
    struct stat st;
    int r;

    while (len > 1 && root[len - 1] == '/')
        len--;
    if (len >= sizeof(l.root) ||
        (log_dir ? snprintf(l.log_dir, PATH_MAX, "%s", log_dir)
                 : snprintf(l.log_dir, PATH_MAX, "%.*s/commitlog", (int)len, root)) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "open %s", root);
    memcpy(l.root, root, len);
    r = file_stat(l.root, &st);
    if (r == 0 && !S_ISDIR(st.st_mode))
        r = -ENOTDIR;
    if (r == -ENOENT)
        return err_say(err, r,
                       "%s is not there; these commands read the store folder itself "
                       "(storePathRootDir), so they run on the broker's machine",
                       l.root);
    if (r < 0)
        return err_set(err, r, "open %s", l.root);
    r = file_stat(l.log_dir, &st);
    if (r == -ENOENT)
        return err_say(err, r,
                       "%s is no store folder: there is no %s (--commit-log DIR names another)",
                       l.root, l.log_dir);
    if (r < 0)
        return err_set(err, r, "open %s", l.log_dir);
    r = read_segments(&l, findings, err);
    if (r == 0)
        r = poll_queues(&l, err);
    if (r < 0) {
        store_layout_destroy(&l);
        return r;
    }
    *out = l;
    return 0;
}

void store_layout_destroy(struct store_layout *layout)
{
    free(layout->segments);
    layout->segments = NULL;
    layout->count = 0;
}
