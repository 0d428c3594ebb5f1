/* store_damage.c - places of the log that are known to be damaged.
 *
 * Recovery, the scrub and readers find them. An entry that leads into one is stepped over; without
 * this list each reader would look for its record again.
 */
#include <inttypes.h>

#include "broker/store/store_internal.h"
#include "common/log.h"

enum { LINES = 20 }; /* said at once; then one a minute */

void damage_init(struct damage *d)
{
    pthread_mutex_init(&d->lock, NULL);
}

void damage_destroy(struct damage *d)
{
    pthread_mutex_destroy(&d->lock);
}

void damage_forget(struct damage *d)
{
    pthread_mutex_lock(&d->lock);
    d->count = 0;
    atomic_store(&d->known, 0);
    atomic_store(&d->places, 0);
    pthread_mutex_unlock(&d->lock);
}

/* The first range that ends above `offset`. Lock held. */
static unsigned range_above(const struct damage *d, uint64_t offset)
{
    unsigned low = 0, high = d->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (d->at[middle].to > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* False when all of it was known, or there is no room. Lock held. */
static bool add(struct damage *d, uint64_t from, uint64_t to)
{
    unsigned first = range_above(d, from > 0 ? from - 1 : 0), last = first;

    if (first < d->count && d->at[first].from <= from && d->at[first].to >= to)
        return false;
    for (; last < d->count && d->at[last].from <= to; last++) {
        if (d->at[last].from < from)
            from = d->at[last].from;
        if (d->at[last].to > to)
            to = d->at[last].to;
    }
    if (last == first && d->count == STORE_DAMAGE_MAX)
        return true;
    /* Ranges [first, last) become one. */
    memmove(&d->at[first + 1], &d->at[last], (d->count - last) * sizeof(d->at[0]));
    d->at[first] = (struct damaged_range){from, to};
    d->count = d->count - (last - first) + 1;
    return true;
}

/* Ranges that went with their segments make room. Lock held. */
static void prune(struct damage *d, uint64_t min)
{
    unsigned gone = range_above(d, min);

    memmove(&d->at[0], &d->at[gone], (d->count - gone) * sizeof(d->at[0]));
    d->count -= gone;
}

void store_note_damage(struct store *s, uint64_t from, uint64_t to, const char *why)
{
    struct damage *d = &s->damage;
    uint64_t places = 0;
    bool news;

    pthread_mutex_lock(&d->lock);
    if (d->count == STORE_DAMAGE_MAX)
        prune(d, commit_log_min(s->log));
    news = add(d, from, to);
    atomic_store(&d->known, d->count);
    if (news)
        places = atomic_fetch_add(&d->places, 1) + 1;
    pthread_mutex_unlock(&d->lock);
    if (!news)
        return;
    if (places <= LINES)
        log_error("store %s: damage at log offset %" PRIu64 ": %s; %" PRIu64
                  " bytes are not served%s",
                  s->root_dir, from, why, to - from,
                  places == LINES ? "; further damage gets a line a minute" : "");
    else
        log_warn_limited("damage of the log",
                         "store %s: damage at log offset %" PRIu64 ": %s; %" PRIu64
                         " bytes are not served; place number %" PRIu64,
                         s->root_dir, from, why, to - from, places);
}

bool store_is_damaged(struct store *s, uint64_t from, uint64_t to)
{
    struct damage *d = &s->damage;
    unsigned i;
    bool found;

    if (atomic_load_explicit(&d->known, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&d->lock);
    i = range_above(d, from);
    found = i < d->count && d->at[i].from < to;
    pthread_mutex_unlock(&d->lock);
    return found;
}
