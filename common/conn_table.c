/* conn_table.c - what a loop keeps for its connections: their ids, and spare memory.
 *
 * An id is the loop's index (8 bits), the generation of a slot (32), and the slot (24). A slot's
 * generation grows with each use and a slot that has used up its generations is given up, so no id
 * comes twice; generations begin at 1, so none is 0.
 *
 * Spare memory is a short stack of blocks from malloc(), bounded in number and in bytes.
 * Connections take from it when they have output or half a frame and give back when they have not,
 * so that a warm loop allocates nothing and an idle connection owns nothing.
 */
#include "common/loop_internal.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOT_BITS = 24, SLOTS_MAX = 1 << SLOT_BITS, SLOTS_FIRST = 64 };

static bool grow_slots(struct loop *loop)
{
    uint32_t cap = loop->slot_cap ? loop->slot_cap * 2 : SLOTS_FIRST;

    if (cap > SLOTS_MAX)
        return false;
    struct conn_slot *slots = realloc(loop->slots, cap * sizeof(*slots));
    if (!slots)
        return false;
    loop->slots = slots;
    loop->slot_cap = cap;
    return true;
}

conn_id conn_table_add(struct loop *loop, struct conn *c)
{
    uint32_t slot;

    if (loop->slot_free) {
        slot = loop->slot_free - 1;
        loop->slot_free = loop->slots[slot].next_free;
    } else {
        if (loop->slot_count == loop->slot_cap && !grow_slots(loop))
            return 0;
        slot = loop->slot_count++;
        loop->slots[slot].generation = 0;
    }

    struct conn_slot *s = &loop->slots[slot];
    s->conn = c;
    s->generation++;
    s->next_free = 0;
    return (conn_id)loop->index << 56 | (conn_id)s->generation << SLOT_BITS | slot;
}

struct conn *conn_table_find(const struct loop *loop, conn_id id)
{
    uint32_t slot = (uint32_t)id & (SLOTS_MAX - 1);

    if (conn_loop_index(id) != loop->index || slot >= loop->slot_count)
        return NULL;
    const struct conn_slot *s = &loop->slots[slot];
    return s->generation == (uint32_t)(id >> SLOT_BITS) ? s->conn : NULL;
}

void conn_table_remove(struct loop *loop, conn_id id)
{
    uint32_t slot = (uint32_t)id & (SLOTS_MAX - 1);
    struct conn_slot *s = &loop->slots[slot];

    s->conn = NULL;
    if (s->generation == UINT32_MAX)
        return;
    s->next_free = loop->slot_free;
    loop->slot_free = slot + 1;
}

void conn_table_destroy(struct loop *loop)
{
    while (loop->pool_count)
        free(loop->pool[--loop->pool_count].data);
    loop->pool_bytes = 0;
    free(loop->slots);
    loop->slots = NULL;
    loop->slot_count = loop->slot_cap = loop->slot_free = 0;
}

int chunk_take(struct loop *loop, size_t min, struct chunk *out)
{
    if (loop->pool_count) {
        struct chunk spare = loop->pool[--loop->pool_count];
        loop->pool_bytes -= spare.cap;
        if (spare.cap >= min) {
            *out = spare;
            return 0;
        }
        /* Replaced by a larger one, so that the pool grows to what is used. */
        free(spare.data);
    }
    if (min < LOOP_CHUNK_MIN)
        min = LOOP_CHUNK_MIN;
    uint8_t *data = malloc(min);
    if (!data)
        return -ENOMEM;
    *out = (struct chunk){data, min};
    return 0;
}

void chunk_give(struct loop *loop, struct chunk *chunk)
{
    if (chunk->data && chunk->cap <= LOOP_CHUNK_MAX && loop->pool_count < LOOP_POOL_CHUNKS &&
        loop->pool_bytes + chunk->cap <= LOOP_POOL_BYTES) {
        unsigned at = loop->pool_count++;
        /* The larger of the two newest lies on top: whoever needs one takes it and need not grow
         * it. */
        if (at > 0 && loop->pool[at - 1].cap > chunk->cap) {
            loop->pool[at] = loop->pool[at - 1];
            at--;
        }
        loop->pool[at] = *chunk;
        loop->pool_bytes += chunk->cap;
    } else {
        free(chunk->data);
    }
    *chunk = (struct chunk){0};
}
