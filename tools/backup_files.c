/* backup_files.c - the files that follow the log: consume queues, and the key index. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/index_state.h"
#include "common/file.h"
#include "tools/backup.h"

/* --- consume queues --- */

static int make_folder(struct backup *b, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    int r = backup_paths(b, name, from, to);

    if (r == 0)
        r = file_mkdir(to);
    return r < 0 ? err_set(b->err, r, "make %s", to) : 0;
}

/* Below root/name, files `depth` folders down. What goes away meanwhile was deleted: leading files
 * by retention, a topic as a whole. */
static int copy_tree(struct backup *b, const char *name, unsigned depth)
{
    char from[PATH_MAX], to[PATH_MAX], child[PATH_MAX];
    struct file_list list;
    int r = backup_paths(b, name, from, to);

    if (r == 0)
        r = file_list(from, &list);
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r < 0)
        return err_set(b->err, r, "read %s", from);
    r = make_folder(b, name);
    for (size_t i = 0; i < list.count && r == 0; i++) {
        if (snprintf(child, sizeof(child), "%s/%s", name, list.names[i]) >= (int)sizeof(child))
            continue;
        if (depth > 0) {
            r = copy_tree(b, child, depth - 1);
        } else {
            r = backup_copy(b, child, false, -1);
            b->result->queue_files += r == 0;
            if (r == -ENOENT || r == -ESTALE || r == -EINVAL)
                r = 0;
        }
        if (b->options->progress)
            b->options->progress(b->options->ctx, "queue files", b->result->queue_files, 0);
    }
    file_list_free(&list);
    return r;
}

int backup_queues(struct backup *b)
{
    return copy_tree(b, "consumequeue", 2);
}

/* --- the index --- */

/* Entries that tern/index lists were synced before and stay as they are; slots and what came later
 * a start makes anew, when the list says that the stop was not a clean one. */
static int copy_index_files(struct backup *b, const struct index_state *state,
                            struct index_known *files)
{
    char name[64];
    int r = backup_mkdir(b, "index");

    for (uint32_t i = 0; i < state->count && r == 0; i++) {
        index_state_file(state, i, &files[i]);
        snprintf(name, sizeof(name), "index/%017" PRId64, files[i].name);
        r = backup_copy(b, name, false, -1);
        b->result->other_files += r == 0;
        if (r == -ENOENT || r == -ESTALE) /* lost, or deleted with its records: made again */
            r = 0;
    }
    return r;
}

int backup_index(struct backup *b)
{
    struct buf in = {0}, out = {0};
    struct index_known *files = NULL;
    struct index_state state;
    char from[PATH_MAX], to[PATH_MAX];
    int r = backup_paths(b, "tern/index", from, to);

    if (r < 0)
        return r;
    r = file_load(from, INDEX_STATE_MAX, &in);
    if (r != 0 || index_state_parse(buf_bytes(&in), &state) != 0) {
        buf_destroy(&in); /* without it a start makes the index from the log */
        return r == -ENOMEM ? err_set(b->err, r, "read %s", from) : 0;
    }
    files = calloc(state.count + 1, sizeof(*files));
    r = files ? copy_index_files(b, &state, files) : err_set(b->err, -ENOMEM, "copy the index");
    if (r == 0) {
        state.clean = false;
        index_state_put(&out, &state, files);
        r = out.failed ? err_set(b->err, -ENOMEM, "copy the index")
                       : file_replace(to, buf_bytes(&out), b->err);
    }
    free(files);
    buf_destroy(&in);
    buf_destroy(&out);
    return r;
}
