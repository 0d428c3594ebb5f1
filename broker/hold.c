/* hold.c - pulls that wait for a message: see hold.h. */
#include "broker/hold.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>

#include "common/log.h"

struct held;

/* The pulls that wait on one queue, and what was appended to it that is not yet confirmed: ends
 * between first_end and last_end. */
struct held_queue {
    uint32_t queue;
    uint32_t count;
    struct held *first;
    bool noted; /* on the pending list */
    uint64_t first_end, last_end;
    struct held_queue *next; /* on the pending list, or free */
    UT_hash_handle hh;
};

struct held {
    struct pull_request request; /* its filter is ours */
    int64_t seen;                /* queue offset up to which nothing passes the filter */
    int64_t deadline_ms;
    uint32_t heap_at; /* 1 based */
    struct held_queue *on_queue;
    struct held *queue_next, *queue_previous;
    struct conn *conn; /* alive: hold_drop() comes before it is freed */
    struct held *conn_next, *conn_previous;
};

struct note {
    uint32_t queue;
    uint64_t first_end, last_end;
};

struct notes {
    struct note *at;
    uint32_t count, capacity;
};

enum { NOTES_MAX = 65536, FREE_MAX = 4096, ENDED_IN_A_TURN = 4096 /* by time */ };

struct hold {
    struct broker_loop *on;
    struct held_queue *queues; /* uthash by queue; never empty, see hold_new() */
    struct held **heap;        /* by deadline, 1 based */
    uint32_t count, most, heap_capacity;
    struct held *free_held; /* linked by queue_next */
    struct held_queue *free_queues;
    uint32_t free_count, free_queue_count;
    struct loop_timer timer;

    pthread_mutex_t lock; /* leaf: for `coming` and `lost_end` */
    struct notes coming;
    uint64_t lost_end; /* of records whose notes were lost: look at every queue; 0: none */

    struct notes taken;         /* the array that `coming` swaps with */
    struct held_queue *pending; /* noted, not yet looked at or confirmed to the end */
    struct held_queue nobody;   /* QUEUE_NONE */
    bool dismissed;
};

static void on_timer(void *ctx);

struct hold *hold_new(struct broker_loop *on, uint32_t most)
{
    struct hold *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    h->on = on;
    h->most = most;
    pthread_mutex_init(&h->lock, NULL);
    loop_timer_init(&h->timer, on->loop, on_timer, h);
    /* A hash that gets empty gives its table back, and a lonely consumer would have it made anew
     * for every pull. */
    h->nobody.queue = QUEUE_NONE;
    HASH_ADD(hh, h->queues, queue, sizeof(h->nobody.queue), &h->nobody);
    return h;
}

uint32_t hold_waiting(const struct hold *h)
{
    return h->count;
}

/* --- heap by deadline --- */

static void heap_put(struct hold *h, uint32_t at, struct held *p)
{
    h->heap[at] = p;
    p->heap_at = at;
}

static void heap_up(struct hold *h, uint32_t at, struct held *p)
{
    while (at > 1 && h->heap[at / 2]->deadline_ms > p->deadline_ms) {
        heap_put(h, at, h->heap[at / 2]);
        at /= 2;
    }
    heap_put(h, at, p);
}

static void heap_down(struct hold *h, uint32_t at, struct held *p)
{
    for (;;) {
        uint32_t child = at * 2;

        if (child > h->count)
            break;
        if (child < h->count && h->heap[child + 1]->deadline_ms < h->heap[child]->deadline_ms)
            child++;
        if (h->heap[child]->deadline_ms >= p->deadline_ms)
            break;
        heap_put(h, at, h->heap[child]);
        at = child;
    }
    heap_put(h, at, p);
}

static bool heap_add(struct hold *h, struct held *p)
{
    if (h->count + 2 > h->heap_capacity) {
        uint32_t capacity = h->heap_capacity ? h->heap_capacity * 2 : 64;
        struct held **heap = realloc(h->heap, capacity * sizeof(*heap));

        if (!heap)
            return false;
        h->heap = heap;
        h->heap_capacity = capacity;
    }
    h->count++;
    heap_up(h, h->count, p);
    return true;
}

static void heap_remove(struct hold *h, struct held *p)
{
    uint32_t at = p->heap_at;
    struct held *last = h->heap[h->count];

    assert(at >= 1 && at <= h->count && h->heap[at] == p);
    h->count--;
    if (last == p)
        return;
    if (at > 1 && h->heap[at / 2]->deadline_ms > last->deadline_ms)
        heap_up(h, at, last);
    else
        heap_down(h, at, last);
}

static void set_timer(struct hold *h)
{
    if (h->count == 0)
        loop_timer_cancel(&h->timer);
    else if (h->timer.heap_at == 0 || h->timer.due_ms > h->heap[1]->deadline_ms)
        if (loop_timer_set(&h->timer, h->heap[1]->deadline_ms) < 0)
            log_warn_limited("hold", "no memory for the timer of waiting pulls");
}

/* --- taking in and letting go --- */

static struct held_queue *queue_entry(struct hold *h, uint32_t queue)
{
    struct held_queue *q;

    HASH_FIND(hh, h->queues, &queue, sizeof(queue), q);
    if (q)
        return q;
    q = h->free_queues;
    if (q) {
        h->free_queues = q->next;
        h->free_queue_count--;
    } else {
        q = malloc(sizeof(*q));
        if (!q)
            return NULL;
    }
    memset(q, 0, sizeof(*q));
    q->queue = queue;
    HASH_ADD(hh, h->queues, queue, sizeof(q->queue), q);
    return q;
}

static void queue_release(struct hold *h, struct held_queue *q)
{
    HASH_DELETE(hh, h->queues, q);
    if (h->free_queue_count < FREE_MAX) {
        q->next = h->free_queues;
        h->free_queues = q;
        h->free_queue_count++;
    } else {
        free(q);
    }
}

static void held_release(struct hold *h, struct held *p)
{
    tag_filter_destroy(&p->request.filter);
    if (h->free_count < FREE_MAX) {
        p->queue_next = h->free_held;
        h->free_held = p;
        h->free_count++;
    } else {
        free(p);
    }
}

/* Out of all lists; the caller answers and releases it. */
static void unlink_held(struct hold *h, struct held *p)
{
    struct held_queue *q = p->on_queue;

    heap_remove(h, p);
    if (p->queue_previous)
        p->queue_previous->queue_next = p->queue_next;
    else
        q->first = p->queue_next;
    if (p->queue_next)
        p->queue_next->queue_previous = p->queue_previous;
    if (p->conn_previous)
        p->conn_previous->conn_next = p->conn_next;
    else
        conn_set_user(p->conn, p->conn_next);
    if (p->conn_next)
        p->conn_next->conn_previous = p->conn_previous;
    /* The store's bit stays until a message finds nobody here: a consumer comes back at once. */
    if (--q->count == 0 && !q->noted)
        queue_release(h, q);
}

static void let_go(struct hold *h, struct held *p)
{
    unlink_held(h, p);
    pull_answer(h->on, p->conn, &p->request);
    held_release(h, p);
}

static void on_timer(void *ctx)
{
    struct hold *h = ctx;
    int64_t now = loop_now_ms(h->on->loop);

    /* What is left is due again in a millisecond: others have their turn. */
    for (int i = 0; i < ENDED_IN_A_TURN; i++) {
        if (h->count == 0 || h->heap[1]->deadline_ms > now)
            break;
        let_go(h, h->heap[1]);
    }
    set_timer(h);
}

int hold_park(struct hold *h, struct conn *conn, const struct pull_request *request)
{
    struct store *store = h->on->broker->store;
    struct held_queue *q;
    struct held *p;
    uint32_t queue = request->queue;
    uint64_t confirmed, end;

    assert(!request->to.oneway);
    if (h->dismissed)
        return -ESHUTDOWN;
    if (h->count >= h->most)
        return -ENOSPC;
    if (queue == QUEUE_NONE) {
        queue = store_queue_make(store, request->topic, request->queue_id);
        if (queue == QUEUE_NONE)
            return -ENOSPC;
    }
    p = h->free_held;
    if (p) {
        h->free_held = p->queue_next;
        h->free_count--;
    } else {
        p = malloc(sizeof(*p));
        if (!p)
            return -ENOMEM;
    }
    memset(p, 0, sizeof(*p));
    p->request = *request;
    p->request.queue = queue;
    p->seen = request->offset;
    p->conn = conn;
    p->deadline_ms =
        loop_now_ms(h->on->loop) +
        (request->suspend_ms < HOLD_LONGEST_MS ? request->suspend_ms : HOLD_LONGEST_MS);
    if (tag_filter_copy(&p->request.filter, &request->filter) < 0) {
        free(p);
        return -ENOMEM;
    }
    q = queue_entry(h, queue);
    if (!q || !heap_add(h, p)) {
        if (q && q->count == 0 && !q->noted)
            queue_release(h, q);
        held_release(h, p);
        return -ENOMEM;
    }
    p->on_queue = q;
    p->queue_next = q->first;
    if (q->first)
        q->first->queue_previous = p;
    q->first = p;
    q->count++;
    p->conn_next = conn_user(conn);
    if (p->conn_next)
        p->conn_next->conn_previous = p;
    conn_set_user(conn, p);
    set_timer(h);

    store_set_waiting(store, queue, loop_index(h->on->loop), true);
    /* What was appended before the bit was set, by another loop or not yet confirmed, sent no note.
     * `confirmed` is taken first: were it to move between the two looks, each would trust the other
     * to have seen the message. */
    confirmed = store_confirmed(store);
    end = store_end(store);
    if (end > confirmed || store_range(store, queue).max > request->offset)
        hold_note(h, queue, end);
    return 0;
}

void hold_dismiss(struct hold *h)
{
    h->dismissed = true;
    while (h->count > 0)
        let_go(h, h->heap[1]);
    set_timer(h);
}

void hold_drop(struct hold *h, struct conn *conn)
{
    struct held *p;

    while ((p = conn_user(conn)) != NULL) {
        unlink_held(h, p);
        held_release(h, p);
    }
    set_timer(h);
}

/* --- waking --- */

void hold_note(struct hold *h, uint32_t queue, uint64_t log_end)
{
    struct notes *n = &h->coming;

    pthread_mutex_lock(&h->lock);
    if (n->count > 0 && n->at[n->count - 1].queue == queue) {
        struct note *last = &n->at[n->count - 1];

        /* Two threads may come in another order than what they note. */
        if (log_end < last->first_end)
            last->first_end = log_end;
        if (log_end > last->last_end)
            last->last_end = log_end;
    } else {
        if (n->count == n->capacity) {
            uint32_t capacity = n->capacity ? n->capacity * 2 : 256;
            struct note *at = capacity > NOTES_MAX ? NULL : realloc(n->at, capacity * sizeof(*at));

            if (at) {
                n->at = at;
                n->capacity = capacity;
            }
        }
        if (n->count < n->capacity) {
            n->at[n->count++] = (struct note){queue, log_end, log_end};
        } else if (log_end > h->lost_end) {
            h->lost_end = log_end;
        }
    }
    pthread_mutex_unlock(&h->lock);
}

static void pending_add(struct hold *h, struct held_queue *q, uint64_t first_end, uint64_t last_end)
{
    if (!q->noted) {
        q->noted = true;
        q->first_end = first_end;
        q->last_end = last_end;
        q->next = h->pending;
        h->pending = q;
        return;
    }
    if (q->first_end > first_end)
        q->first_end = first_end;
    if (q->last_end < last_end)
        q->last_end = last_end;
}

static void take_notes(struct hold *h)
{
    struct store *store = h->on->broker->store;
    struct notes taken;
    struct held_queue *q, *next;
    uint64_t lost_end;

    pthread_mutex_lock(&h->lock);
    taken = h->coming;
    lost_end = h->lost_end;
    h->coming = h->taken;
    h->coming.count = 0;
    h->lost_end = 0;
    pthread_mutex_unlock(&h->lock);

    for (uint32_t i = 0; i < taken.count; i++) {
        const struct note *note = &taken.at[i];

        HASH_FIND(hh, h->queues, &note->queue, sizeof(note->queue), q);
        if (q && q->count > 0)
            pending_add(h, q, note->first_end, note->last_end);
        else
            store_set_waiting(store, note->queue, loop_index(h->on->loop), false);
    }
    if (lost_end > 0) {
        HASH_ITER(hh, h->queues, q, next)
        {
            if (q != &h->nobody)
                pending_add(h, q, 0, lost_end);
        }
    }
    h->taken = taken;
}

static void wake_queue(struct hold *h, struct held_queue *q)
{
    struct held *p = q->first;

    while (p) {
        struct held *next = p->queue_next;

        if (pull_has_match(h->on->broker, &p->request, &p->seen, &h->on->found))
            let_go(h, p);
        p = next;
    }
}

void hold_wake(struct hold *h)
{
    struct held_queue *q, *keep = NULL;
    uint64_t confirmed;

    take_notes(h);
    if (!h->pending)
        return;
    confirmed = store_confirmed(h->on->broker->store);
    /* Each queue once per turn, however many messages came. */
    q = h->pending;
    h->pending = NULL;
    while (q) {
        struct held_queue *next = q->next;

        if (q->first_end <= confirmed) {
            wake_queue(h, q); /* stays: it is marked as noted */
            q->first_end = confirmed + 1;
        }
        if (q->count > 0 && q->last_end > confirmed) {
            q->next = keep;
            keep = q;
        } else {
            q->noted = false;
            if (q->count == 0)
                queue_release(h, q);
        }
        q = next;
    }
    h->pending = keep;
    set_timer(h);
}

struct hold *hold_free(struct hold *h)
{
    struct held_queue *q, *next;

    if (!h)
        return NULL;
    loop_timer_cancel(&h->timer);
    while (h->count > 0) {
        struct held *p = h->heap[1];

        heap_remove(h, p);
        tag_filter_destroy(&p->request.filter);
        free(p);
    }
    HASH_ITER(hh, h->queues, q, next)
    {
        HASH_DELETE(hh, h->queues, q);
        if (q != &h->nobody)
            free(q);
    }
    while (h->free_held) {
        struct held *p = h->free_held;

        h->free_held = p->queue_next;
        free(p);
    }
    while (h->free_queues) {
        q = h->free_queues;
        h->free_queues = q->next;
        free(q);
    }
    free(h->heap);
    free(h->coming.at);
    free(h->taken.at);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}
