/* image.c - the content of a folder in memory: made, read, compared by whoever wants to. */
#include "disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_internal.h"

enum { PAGE = 4096 };

void must(bool ok, const char *what, const char *path)
{
    if (ok)
        return;
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    _exit(2);
}

void content_reserve(struct content *c, size_t size)
{
    size_t room = c->room ? c->room : PAGE;

    if (size <= c->room)
        return;
    while (room < size)
        room *= 2;
    c->bytes = realloc(c->bytes, room);
    must(c->bytes != NULL, "no memory for", "a file's content");
    memset(c->bytes + c->room, 0, room - c->room);
    c->room = room;
}

void content_resize(struct content *c, size_t size)
{
    content_reserve(c, size);
    if (size < c->size)
        memset(c->bytes + size, 0, c->size - size);
    c->size = size;
}

void content_copy(struct content *to, const struct content *from)
{
    content_resize(to, 0);
    content_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->bytes, from->bytes, from->size);
}

void content_destroy(struct content *c)
{
    free(c->bytes);
    *c = (struct content){0};
}

uint32_t image_add_node(struct image *image, bool folder)
{
    if (image->node_count == image->node_room) {
        image->node_room = image->node_room ? image->node_room * 2 : 64;
        image->nodes = reallocarray(image->nodes, image->node_room, sizeof(*image->nodes));
        must(image->nodes != NULL, "no memory for", "an image");
    }
    image->nodes[image->node_count] = (struct image_node){.folder = folder};
    return image->node_count++;
}

void image_add_name(struct image *image, uint32_t folder, const char *name, uint32_t node)
{
    if (image->name_count == image->name_room) {
        image->name_room = image->name_room ? image->name_room * 2 : 64;
        image->names = reallocarray(image->names, image->name_room, sizeof(*image->names));
        must(image->names != NULL, "no memory for", "an image");
    }
    image->names[image->name_count++] =
        (struct image_name){.folder = folder, .node = node, .name = strdup(name)};
}

void image_destroy(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++)
        content_destroy(&image->nodes[i].content);
    for (uint32_t i = 0; i < image->name_count; i++)
        free(image->names[i].name);
    free(image->nodes);
    free(image->names);
    *image = (struct image){0};
}

const struct image_node *image_find(const struct image *image, const char *path)
{
    uint32_t at = 0;

    while (*path) {
        size_t len = strcspn(path, "/");
        uint32_t i = 0;

        for (; i < image->name_count; i++) {
            const struct image_name *n = &image->names[i];
            if (n->folder == at && strlen(n->name) == len && memcmp(n->name, path, len) == 0)
                break;
        }
        if (i == image->name_count)
            return NULL;
        at = image->names[i].node;
        path += len;
        if (*path == '/')
            path++;
    }
    return &image->nodes[at];
}

/* --- to the system and back --- */

static bool all_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

static void write_file(const struct content *c, const char *path, bool sparse)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    must(fd >= 0, "create", path);
    must(ftruncate(fd, (off_t)c->size) == 0, "size", path);
    for (size_t at = 0; at < c->size;) {
        size_t n = c->size - at < PAGE ? c->size - at : PAGE;
        size_t from = at;

        if (sparse && all_zero(c->bytes + at, n)) {
            at += n;
            continue;
        }
        do {
            at += n;
            n = c->size - at < PAGE ? c->size - at : PAGE;
        } while (n > 0 && !(sparse && all_zero(c->bytes + at, n)));
        must(pwrite(fd, c->bytes + from, at - from, (off_t)from) == (ssize_t)(at - from), "write",
             path);
    }
    must(close(fd) == 0, "close", path);
}

/* The same file under a second name is linked, as it is on the disk. */
static void write_folder(const struct image *image, uint32_t folder, const char *path, bool sparse,
                         char **paths)
{
    for (uint32_t i = 0; i < image->name_count; i++) {
        const struct image_name *n = &image->names[i];
        const struct image_node *node = &image->nodes[n->node];
        char child[PATH_MAX];

        if (n->folder != folder)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, n->name);
        if (node->folder) {
            must(mkdir(child, 0755) == 0, "make", child);
            write_folder(image, n->node, child, sparse, paths);
        } else if (paths[n->node]) {
            must(link(paths[n->node], child) == 0, "link", child);
        } else {
            write_file(&node->content, child, sparse);
            paths[n->node] = strdup(child);
        }
    }
}

void image_write(const struct image *image, const char *path, bool sparse)
{
    char **paths = calloc(image->node_count + 1, sizeof(*paths));

    must(paths != NULL, "no memory for", path);
    write_folder(image, 0, path, sparse, paths);
    for (uint32_t i = 0; i < image->node_count; i++)
        free(paths[i]);
    free(paths);
}

static void read_file(struct content *c, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    must(fd >= 0 && fstat(fd, &st) == 0, "open", path);
    content_resize(c, (size_t)st.st_size);
    for (size_t at = 0; at < c->size;) {
        ssize_t got = pread(fd, c->bytes + at, c->size - at, (off_t)at);
        must(got > 0, "read", path);
        at += (size_t)got;
    }
    close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static void read_folder(struct image *image, uint32_t folder, const char *path)
{
    struct dirent **list;
    int n = scandir(path, &list, not_dots, by_name);

    must(n >= 0, "list", path);
    for (int i = 0; i < n; i++) {
        char child[PATH_MAX];
        struct stat st;
        uint32_t node;

        snprintf(child, sizeof(child), "%s/%s", path, list[i]->d_name);
        must(lstat(child, &st) == 0, "look at", child);
        node = image_add_node(image, S_ISDIR(st.st_mode));
        image_add_name(image, folder, list[i]->d_name, node);
        if (S_ISDIR(st.st_mode))
            read_folder(image, node, child);
        else
            read_file(&image->nodes[node].content, child);
        free(list[i]);
    }
    free(list);
}

void image_read(struct image *image, const char *path)
{
    *image = (struct image){0};
    image_add_node(image, true);
    read_folder(image, 0, path);
}

void folder_clear(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *d;

    if (!dir)
        return;
    while ((d = readdir(dir)) != NULL) {
        char child[PATH_MAX];

        if (!not_dots(d))
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, d->d_name);
        if (d->d_type == DT_DIR) {
            folder_clear(child);
            rmdir(child);
        } else {
            unlink(child);
        }
    }
    closedir(dir);
}
