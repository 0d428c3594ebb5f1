/* name_table.c - growing, adding and removing; the search is in the header, on the hot path. */
#include "broker/store/name_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { SIZE_FIRST = 16 };

void name_table_destroy(struct name_table *t)
{
    free(t->slots);
    *t = (struct name_table){0};
}

void name_table_free(struct name_table *t, void (*free_item)(void *item))
{
    for (size_t n = 0; n < t->size; n++) {
        if (t->slots[n].item)
            free_item(t->slots[n].item);
    }
    name_table_destroy(t);
}

static void put(struct name_slot *slots, size_t size, uint64_t hash, void *item)
{
    size_t at = hash & (size - 1);

    while (slots[at].item)
        at = (at + 1) & (size - 1);
    slots[at] = (struct name_slot){.hash = hash, .item = item};
}

int name_table_reserve(struct name_table *t)
{
    size_t size = t->size ? t->size * 2 : SIZE_FIRST;
    struct name_slot *slots;

    if (t->used < t->size / 4 * 3)
        return 0;
    slots = calloc(size, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < t->size; i++) {
        if (t->slots[i].item)
            put(slots, size, t->slots[i].hash, t->slots[i].item);
    }
    free(t->slots);
    t->slots = slots;
    t->size = size;
    return 0;
}

void name_table_add(struct name_table *t, uint64_t hash, void *item)
{
    assert(t->used < t->size / 4 * 3);
    put(t->slots, t->size, hash, item);
    t->used++;
}

void name_table_remove(struct name_table *t, uint64_t hash, const void *item)
{
    size_t mask = t->size - 1;
    size_t hole = hash & mask;

    while (t->slots[hole].item != item) {
        assert(t->slots[hole].item != NULL);
        hole = (hole + 1) & mask;
    }
    /* Whatever stands behind the hole and could not be found across it moves into it. */
    for (size_t at = (hole + 1) & mask; t->slots[at].item; at = (at + 1) & mask) {
        size_t home = t->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        t->slots[hole] = t->slots[at];
        hole = at;
    }
    t->slots[hole] = (struct name_slot){0};
    t->used--;
}
