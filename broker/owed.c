/* owed.c - see owed.h. Lists by a hash of the id, under a mutex that is held for a few
 * instructions. The id, and not its slot: many answers may still be owed to who has gone when
 * another connection has that slot. */
#include "broker/owed.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum { LISTS_BITS = 8, LISTS = 1 << LISTS_BITS };

struct entry {
    struct entry *next;
    conn_id conn;
    unsigned count;
    bool ended; /* none were left at the end of a turn */
};

struct owed {
    pthread_mutex_t lock;
    bool drains; /* who is owed nothing any more stays for a turn */
    struct entry *lists[LISTS];
};

struct owed *owed_new(void)
{
    struct owed *o = calloc(1, sizeof(*o));

    if (o)
        pthread_mutex_init(&o->lock, NULL);
    return o;
}

struct owed *owed_free(struct owed *o)
{
    if (!o)
        return NULL;
    for (unsigned i = 0; i < LISTS; i++) {
        while (o->lists[i]) {
            struct entry *e = o->lists[i];

            o->lists[i] = e->next;
            free(e);
        }
    }
    pthread_mutex_destroy(&o->lock);
    free(o);
    return NULL;
}

/* Where it stands, or the end of its list. */
static struct entry **find(struct owed *o, conn_id conn)
{
    struct entry **at = &o->lists[conn * UINT64_C(0x9e3779b97f4a7c15) >> (64 - LISTS_BITS)];

    while (*at && (*at)->conn != conn)
        at = &(*at)->next;
    return at;
}

static void take_out(struct entry **at)
{
    struct entry *e = *at;

    *at = e->next;
    free(e);
}

bool owed_begin(struct owed *o, conn_id conn)
{
    struct entry **at, *e;

    pthread_mutex_lock(&o->lock);
    at = find(o, conn);
    if (!*at && (*at = calloc(1, sizeof(**at))) != NULL)
        (*at)->conn = conn;
    e = *at;
    if (e) {
        e->count++;
        e->ended = false;
    }
    pthread_mutex_unlock(&o->lock);
    return e != NULL;
}

void owed_done(struct owed *o, conn_id conn)
{
    struct entry **at;

    pthread_mutex_lock(&o->lock);
    at = find(o, conn);
    assert(*at && (*at)->count > 0);
    if (--(*at)->count == 0 && !o->drains)
        take_out(at);
    pthread_mutex_unlock(&o->lock);
}

static bool is_over(const struct entry *e)
{
    return e->count == 0 && e->ended;
}

void owed_turn(struct owed *o)
{
    pthread_mutex_lock(&o->lock);
    o->drains = true;
    for (unsigned i = 0; i < LISTS; i++) {
        struct entry **at = &o->lists[i];

        while (*at) {
            struct entry *e = *at;

            if (is_over(e)) {
                take_out(at);
                continue;
            }
            e->ended = e->count == 0;
            at = &e->next;
        }
    }
    pthread_mutex_unlock(&o->lock);
}

bool owed_nothing(struct owed *o, conn_id conn)
{
    const struct entry *e;
    bool nothing;

    pthread_mutex_lock(&o->lock);
    e = *find(o, conn);
    nothing = !e || is_over(e);
    pthread_mutex_unlock(&o->lock);
    return nothing;
}

bool owed_nothing_at_all(struct owed *o)
{
    bool nothing = true;

    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < LISTS && nothing; i++) {
        for (const struct entry *e = o->lists[i]; e && nothing; e = e->next)
            nothing = is_over(e);
    }
    pthread_mutex_unlock(&o->lock);
    return nothing;
}
