/* name_table.h - a hash of pointers by name: open addressing, linear probing, no tombstones.
 *
 * Names belong to the items; the caller brings their 64-bit hash, made with name_hash() and a seed
 * that the process keeps to itself, since peers choose names. Not locked: its owner does that.
 */
#ifndef TERN_BROKER_STORE_NAME_TABLE_H
#define TERN_BROKER_STORE_NAME_TABLE_H

#include "common/bytes.h"

struct name_slot {
    uint64_t hash;
    void *item; /* NULL: free */
};
/* Zeroes are an empty table. */
struct name_table {
    struct name_slot *slots;
    size_t size; /* 0 or a power of two */
    size_t used; /* at most 3/4 of size */
};

void name_table_destroy(struct name_table *t); /* the slots only; safe on zeroes and twice */
/* With what stands in them. */
void name_table_free(struct name_table *t, void (*free_item)(void *item));
/* Room for one more, so that the next name_table_add() cannot fail. 0 or -ENOMEM. */
int name_table_reserve(struct name_table *t);
void name_table_add(struct name_table *t, uint64_t hash, void *item);
void name_table_remove(struct name_table *t, uint64_t hash, const void *item); /* must be there */

/* The item of that hash for which same(item, key) holds, or NULL. */
static inline void *name_table_find(const struct name_table *t, uint64_t hash,
                                    bool (*same)(const void *item, const void *key),
                                    const void *key)
{
    if (t->size == 0)
        return NULL;
    for (size_t at = hash & (t->size - 1);; at = (at + 1) & (t->size - 1)) {
        const struct name_slot *slot = &t->slots[at];
        if (!slot->item)
            return NULL;
        if (slot->hash == hash && same(slot->item, key))
            return slot->item;
    }
}

/* Folds the 128-bit product: one multiplication mixes 16 bytes of input into 8. */
static inline uint64_t name_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 product;
    product p = (product)a * b;

    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t name_hash(uint64_t seed, struct bytes name)
{
    const uint64_t odd1 = 0x9E3779B97F4A7C15u, odd2 = 0xD1B54A32D192ED03u;
    uint64_t h = seed ^ name_mix(name.len ^ odd1, odd2), a = 0, b = 0;

    while (name.len > 16) {
        memcpy(&a, name.at, 8);
        memcpy(&b, name.at + 8, 8);
        h = name_mix(a ^ h ^ odd1, b ^ seed ^ odd2);
        name.at += 16;
        name.len -= 16;
    }
    /* The last 0 to 16 bytes; the two loads may overlap, the length has been mixed in. */
    if (name.len >= 8) {
        memcpy(&a, name.at, 8);
        memcpy(&b, name.at + name.len - 8, 8);
    } else if (name.len >= 4) {
        uint32_t low, high;
        memcpy(&low, name.at, 4);
        memcpy(&high, name.at + name.len - 4, 4);
        a = (uint64_t)low << 32 | high;
        b = 0;
    } else if (name.len > 0) {
        a = (uint64_t)name.at[0] << 16 | (uint64_t)name.at[name.len / 2] << 8 |
            name.at[name.len - 1];
        b = 0;
    } else {
        a = b = 0;
    }
    h = name_mix(a ^ h ^ odd1, b ^ seed ^ odd2);
    return name_mix(h ^ odd2, odd1);
}

#endif
