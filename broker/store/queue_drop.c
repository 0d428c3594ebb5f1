/* queue_drop.c - the queues of topics that go: forgotten in memory, their folders removed. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "broker/store/queue_internal.h"
#include "common/file.h"
#include "common/log.h"

/* Resets states [first, first + count), not too many under one hold of the lock. */
static void states_reset(struct queue_table *t, uint32_t first, uint32_t count)
{
    while (count > 0) {
        uint32_t part = count < 256 ? count : 256;

        pthread_mutex_lock(t->append_lock);
        for (uint32_t i = 0; i < part; i++) {
            queue_restart(t, first + i, 0);
            queue_state(t, first + i)->flags &= (uint8_t)~STATE_GAP_LOGGED;
        }
        pthread_mutex_unlock(t->append_lock);
        first += part;
        count -= part;
    }
}

/* Removes consumequeue/<topic> with all of its queues. */
static int topic_remove(struct queue_table *t, struct bytes name)
{
    struct file_list queues;
    char path[PATH_MAX];
    int r, first = 0;

    assert(topic_name_ok(name));
    if (snprintf(path, sizeof(path), "%s/%.*s", t->dir, (int)name.len, (const char *)name.at) >=
        (int)sizeof(path))
        return -ENAMETOOLONG;
    r = file_list(path, &queues);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (size_t i = 0; i < queues.count; i++) {
        char folder[PATH_MAX];
        int32_t id;
        if (!bytes_to_i32(bytes_str(queues.names[i]), &id) || id < 0)
            continue;
        r = queue_folder_path(folder, sizeof(folder), t->dir, name, id);
        if (r == 0)
            r = queue_folder_remove(folder);
        if (r < 0 && first == 0)
            first = r;
    }
    file_list_free(&queues);
    r = file_rmdir(path);
    if (r < 0 && r != -ENOENT && first == 0)
        first = r;
    return first;
}

int queue_table_drop_topic(struct queue_table *t, struct topic *topic)
{
    struct queue_extent extents[TOPIC_EXTENTS_MAX];
    int count, r;

    /* Nobody writes this topic's files until they are gone; what is appended meanwhile belongs to
     * the next topic of that name and waits in memory. */
    pthread_mutex_lock(&t->trim_lock);
    pthread_mutex_lock(&t->io_lock);
    pthread_mutex_lock(t->append_lock);
    count = topic->extent_count;
    memcpy(extents, topic->extents, sizeof(extents));
    pthread_mutex_unlock(t->append_lock);
    for (int i = 0; i < count; i++)
        states_reset(t, extents[i].base, extents[i].count);
    for (int i = 0; i < count; i++)
        queue_files_forget(t->files, extents[i].base, extents[i].count);
    r = topic_remove(t, bytes_of(topic->name, topic->name_len));
    pthread_mutex_unlock(&t->io_lock);
    pthread_mutex_unlock(&t->trim_lock);
    if (r < 0) {
        struct err err;
        err_set(&err, r, "remove the queues of topic %s", topic->name);
        log_warn("%s; what is left will not be read", err.text);
    }
    return r;
}

bool queue_table_beyond(struct queue_table *t, struct topic *topic, uint64_t log_offset)
{
    bool beyond = false;

    pthread_mutex_lock(t->append_lock);
    for (int i = 0; i < topic->extent_count && !beyond; i++) {
        for (uint32_t q = 0; q < topic->extents[i].count && !beyond; q++) {
            const struct queue_state *s = queue_state(t, topic->extents[i].base + q);

            beyond = s->next > 0 && s->last_end > log_offset;
        }
    }
    pthread_mutex_unlock(t->append_lock);
    return beyond;
}

/* Removes one queue's folder, and the topic's when it was the last. trim_lock and io_lock held. */
static int queue_remove(struct queue_table *t, const struct topic *topic, int32_t queue_id)
{
    char folder[PATH_MAX];
    int r = queue_folder_path(folder, sizeof(folder), t->dir,
                              bytes_of(topic->name, topic->name_len), queue_id);

    if (r == 0)
        r = queue_folder_remove(folder);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    *strrchr(folder, '/') = '\0';
    (void)file_rmdir(folder);
    return 0;
}

bool queue_table_drop_below(struct queue_table *t, struct topic *topic, uint64_t log_offset)
{
    bool any = false;
    int first = 0;

    pthread_mutex_lock(&t->trim_lock);
    pthread_mutex_lock(&t->io_lock);
    for (int i = 0; i < topic->extent_count; i++) {
        for (uint32_t q = 0; q < topic->extents[i].count; q++) {
            uint32_t queue = topic->extents[i].base + q;
            struct queue_state *s;
            bool goes;
            int r;

            pthread_mutex_lock(t->append_lock);
            s = queue_state(t, queue);
            goes = s->next > 0 && s->last_end <= log_offset;
            if (goes) {
                queue_restart(t, queue, 0);
                s->flags &= (uint8_t)~STATE_GAP_LOGGED;
            }
            pthread_mutex_unlock(t->append_lock);
            if (!goes)
                continue;
            any = true;
            queue_files_forget(t->files, queue, 1);
            r = queue_remove(t, topic, s->queue_id);
            if (r < 0 && first == 0)
                first = r;
        }
    }
    pthread_mutex_unlock(&t->io_lock);
    pthread_mutex_unlock(&t->trim_lock);
    if (first < 0) {
        struct err err;
        err_set(&err, first, "remove the queues of topic %s", topic->name);
        log_warn("%s; what is left will not be read", err.text);
    }
    return any;
}
