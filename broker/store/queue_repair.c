/* queue_repair.c - single entries: looking at one as it stands, putting one right.
 *
 * A queue's ends are known when this runs; only what lies between them may be wrong. Whoever puts
 * an entry knows from the log that it is right.
 */
#include "broker/store/queue_internal.h"

#include <errno.h>

/* Where an offset of a queue is at this moment. */
struct spot {
    struct queue_place place;
    bool inside, in_files;
};

static struct spot spot_of(struct queue_table *t, uint32_t queue, int64_t offset)
{
    const struct queue_state *s = queue_state(t, queue);

    return (struct spot){
        .place = queue_place(t, queue),
        .inside = offset >= s->min && offset < s->next,
        .in_files = offset >= s->min && offset < s->file_end,
    };
}

int queue_table_look(struct queue_table *t, uint32_t queue, int64_t offset,
                     struct queue_entry *entry)
{
    uint8_t unit[QUEUE_ENTRY_BYTES];
    enum queue_unit kind = UNIT_EMPTY;
    struct spot spot;
    int r;

    *entry = (struct queue_entry){0};
    pthread_mutex_lock(t->append_lock);
    spot = spot_of(t, queue, offset);
    if (spot.inside && !spot.in_files)
        kind = queue_unit_decode(queue_memory_at(t, queue_state(t, queue), offset), entry);
    pthread_mutex_unlock(t->append_lock);
    if (!spot.inside)
        return -ENOENT;
    if (spot.in_files) {
        r = queue_units_read(t, &spot.place, offset, unit, 1, true);
        if (r < 0)
            return QUEUE_LOOK_BAD;
        kind = queue_unit_decode(unit, entry);
    }
    return kind == UNIT_ENTRY ? 0 : kind == UNIT_FILLER ? QUEUE_LOOK_NONE : QUEUE_LOOK_BAD;
}

int queue_table_put(struct queue_table *t, uint32_t queue, int64_t offset,
                    const struct queue_entry *entry)
{
    struct queue_state *s = queue_state(t, queue);
    uint8_t unit[QUEUE_ENTRY_BYTES];
    struct spot spot;
    int r = -ENOENT;

    if (entry)
        queue_unit_encode(unit, entry);
    else
        queue_unit_fill(unit);
    pthread_mutex_lock(&t->io_lock); /* the queue's files stay */
    pthread_mutex_lock(t->append_lock);
    spot = spot_of(t, queue, offset);
    pthread_mutex_unlock(t->append_lock);
    if (spot.in_files)
        r = queue_unit_mend(t, &spot.place, offset, unit);
    if (r == 0 && entry) {
        pthread_mutex_lock(t->append_lock);
        if (offset == s->file_end - 1)
            s->file_last_end = queue_entry_end(entry);
        if (offset == s->next - 1)
            s->last_end = queue_entry_end(entry);
        pthread_mutex_unlock(t->append_lock);
    }
    pthread_mutex_unlock(&t->io_lock);
    return r;
}
