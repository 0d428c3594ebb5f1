/* delay.c - the thread of the delay levels: see delay.h and docs/protocol/store.md, "Delay". */
#include "broker/delay.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "broker/send.h"
#include "broker/topics.h"
#include "common/clock.h"
#include "common/log.h"

enum { LEVELS_MAX = 64, BATCH = 256, RETRY_MS = 500 };
#define NEVER UINT64_MAX

struct level {
    struct topic *topic;
    uint32_t queue;
    int64_t cursor; /* next queue offset to look at */
    int64_t due_ms; /* wall time of the next thing to do; INT64_MAX: nothing is there */
    /* The cursor that may be journalled once the log is kept up to an end: neither a power cut nor
     * another master may take back a delivery that the journal believes in. */
    int64_t safe_cursor, journalled;
    uint64_t safe_end, delivered_end;
};

struct delay {
    struct broker *broker;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, called;         /* under lock */
    atomic_uint_fast64_t idle; /* levels without an entry: an arrival there must wake the thread */
    atomic_uint_fast64_t arrived; /* levels that got a message since the thread last looked */
    /* Watermarks at which the thread wants to be called; NEVER: it does not wait for that one. */
    atomic_uint_fast64_t want_confirmed, want_kept;
    uint64_t waits_to; /* the thread's: log end of what may not have been visible yet */
    int levels;
    struct level level[LEVELS_MAX];
    struct store_found found;
    struct buf record, properties;
};

struct delay *delay_new(struct broker *b)
{
    struct delay *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->broker = b;
    d->levels = b->delay_levels;
    atomic_init(&d->want_confirmed, NEVER);
    atomic_init(&d->want_kept, NEVER);
    pthread_mutex_init(&d->lock, NULL);
    clock_cond_init(&d->wake);
    return d;
}

/* Flushed here, and with as many copies as are asked for. */
static uint64_t kept(const struct store *store)
{
    uint64_t flushed = store_flushed(store), confirmed = store_confirmed(store);

    return flushed < confirmed ? flushed : confirmed;
}

static void call_thread(struct delay *d)
{
    pthread_mutex_lock(&d->lock);
    d->called = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

void delay_arrived(struct delay *d, int level)
{
    uint64_t bit = UINT64_C(1) << (level - 1);

    atomic_fetch_or(&d->arrived, bit);
    if (atomic_load(&d->idle) & bit)
        call_thread(d);
}

void delay_progress(struct delay *d)
{
    uint64_t confirmed = atomic_load(&d->want_confirmed);
    uint64_t wanted = atomic_load(&d->want_kept);

    /* Asked first: while the broker is put together or taken apart there is no store to look at. */
    if (confirmed == NEVER && wanted == NEVER)
        return;
    if (store_confirmed(d->broker->store) >= confirmed || kept(d->broker->store) >= wanted)
        call_thread(d);
}

/* Where a due message goes; NULL with a line in the log when nowhere. */
static struct topic *real_topic(struct delay *d, struct bytes name)
{
    struct err err = {0};
    struct topic *topic = metadata_topic(d->broker->metadata, name, NULL);

    if (!topic &&
        (bytes_starts(name, BYTES_LIT("%RETRY%")) || bytes_starts(name, BYTES_LIT("%DLQ%"))))
        topic = topics_make(d->broker, name, 1, PERM_READ | PERM_WRITE, 0, NULL, &err);
    if (!topic)
        log_warn_limited("delay",
                         "a delayed message for topic \"%s\" is dropped: the topic is gone",
                         SAFE(name));
    return topic;
}

/* Puts one due message into its real topic. 0 done or dropped; negative: try again later. */
static int deliver(struct delay *d, struct level *level, int index)
{
    static const char *const without[] = {"__CRC32#", NULL};
    const struct queue_entry *entry = &d->found.entries[index];
    struct broker *b = d->broker;
    struct properties_known known;
    struct store_position position;
    struct store_message message;
    struct record record;
    int32_t queue_id;
    int r;

    buf_reset(&d->record);
    r = store_read_found(b->store, &d->found, index, &d->record, &record);
    if (r == -EBADMSG) {
        log_warn_limited("delay",
                         "the delayed message at log offset %lld is damaged or gone; it is dropped",
                         (long long)entry->log_offset);
        return 0;
    }
    if (r == STORE_REPAIRING)
        return -EAGAIN;
    if (r < 0)
        return r;
    properties_scan(record.properties, &known);
    if (!bytes_to_i32(known.real_queue_id, &queue_id) || queue_id < 0 ||
        queue_id >= TOPIC_QUEUES_MAX || known.real_topic.len == 0) {
        log_warn_limited("delay", "the delayed message at log offset %lld names no real topic",
                         (long long)entry->log_offset);
        return 0;
    }
    message = (struct store_message){
        .topic = real_topic(d, known.real_topic),
        .queue_id = queue_id,
        .flag = record.flag,
        .sys_flag = record.sys_flag & ~(RECORD_BORN_V6 | RECORD_STORE_V6),
        .born_ms = record.born_ms,
        .born_host = record.born_host,
        .reconsume_times = record.reconsume_times,
        .prepared_offset = 0,
        .body = record.body,
        .tags_code = properties_tags_code(known.tags),
    };
    if (!message.topic)
        return 0;
    buf_reset(&d->properties);
    properties_copy(&d->properties, record.properties, without);
    if (d->properties.failed)
        return -ENOMEM;
    message.properties = buf_bytes(&d->properties);
    r = store_append(b->store, &message, 1, &position, NULL);
    if (r == 0) {
        level->delivered_end = position.log_end;
        return 0;
    }
    if (r == STORE_ILLEGAL) {
        log_warn_limited("delay", "a delayed message of topic %s is dropped: it is too large",
                         message.topic->name);
        return 0;
    }
    return -EAGAIN;
}

/* What is due of one level, a batch at most: others want their turn, and the thread may be asked to
 * stop. Sets when to look again. */
static void run_level(struct delay *d, int index)
{
    struct level *level = &d->level[index];
    struct store *store = d->broker->store;
    uint64_t bit = UINT64_C(1) << index;
    int64_t now = clock_wall_ms();
    int64_t farthest = now + d->broker->delay_ms[index];

    if (level->queue == QUEUE_NONE)
        level->queue = store_queue(store, level->topic, index);
    for (;;) {
        struct store_get get = {
            .queue = level->queue,
            .offset = level->cursor,
            .max_messages = BATCH,
            .max_bytes = (size_t)1 << 30,
            .may_block = true,
        };
        const struct store_got *got = &d->found.got;

        store_find(store, &get, &d->found);
        switch (got->status) {
        case STORE_GET_FOUND:
            break;
        case STORE_GET_TOO_SMALL:
            level->cursor = got->min;
            continue;
        case STORE_GET_BEYOND_END:
            level->cursor = got->max;
            continue;
        case STORE_GET_NO_MATCH:
        case STORE_GET_REMOVED:
        case STORE_GET_UNREADABLE:
            if (got->next_offset > level->cursor) {
                level->cursor = got->next_offset;
                continue;
            }
            level->due_ms = now + RETRY_MS;
            return;
        case STORE_GET_REPAIRING:
            level->due_ms = now + RETRY_MS;
            return;
        case STORE_GET_NO_QUEUE:
        case STORE_GET_EMPTY:
        case STORE_GET_AT_END:
        case STORE_GET_WOULD_BLOCK:
            level->due_ms = INT64_MAX;
            if (!(atomic_fetch_or(&d->idle, bit) & bit)) {
                /* Only now does an arrival call us: look once more. */
                if (level->queue == QUEUE_NONE)
                    level->queue = store_queue(store, level->topic, index);
                continue;
            }
            return;
        }
        atomic_fetch_and(&d->idle, ~bit);
        for (int i = 0; i < d->found.count; i++) {
            int64_t due = d->found.entries[i].tags_code;

            if (due > now && due <= farthest) {
                level->due_ms = due;
                return;
            }
            if (deliver(d, level, i) < 0) {
                level->due_ms = now + RETRY_MS;
                return;
            }
            level->cursor = d->found.first_offset[i] + 1;
        }
        level->due_ms = now;
        return;
    }
}

/* Journals the cursors whose deliveries are on the disk; the log end that the others wait for. */
static uint64_t keep_cursors(struct delay *d)
{
    uint64_t safe = kept(d->broker->store);
    uint64_t want = NEVER;

    for (int i = 0; i < d->levels; i++) {
        struct level *level = &d->level[i];

        for (int step = 0; step < 2; step++) {
            if (level->safe_cursor == level->journalled) {
                level->safe_cursor = level->cursor;
                level->safe_end = level->delivered_end;
            }
            if (level->safe_cursor != level->journalled && level->safe_end <= safe &&
                metadata_delay_set(d->broker->metadata, i + 1, level->safe_cursor) == 0)
                level->journalled = level->safe_cursor;
        }
        if (level->safe_cursor != level->journalled && level->safe_end < want)
            want = level->safe_end;
    }
    return want;
}

static void sleep_until(struct delay *d, int64_t wall_ms)
{
    struct timespec until;

    pthread_mutex_lock(&d->lock);
    while (!d->called && !d->stop) {
        int64_t left = wall_ms == INT64_MAX ? INT64_MAX : wall_ms - clock_wall_ms();
        int64_t due;

        if (left <= 0)
            break;
        if (left == INT64_MAX) {
            pthread_cond_wait(&d->wake, &d->lock);
            continue;
        }
        /* The wall clock may step: look again at least once an hour. */
        if (left > 3600 * 1000)
            left = 3600 * 1000;
        due = clock_mono_ms() + left;
        until.tv_sec = (time_t)(due / 1000);
        until.tv_nsec = (long)(due % 1000) * 1000000;
        if (pthread_cond_timedwait(&d->wake, &d->lock, &until) == ETIMEDOUT)
            break;
    }
    d->called = false;
    pthread_mutex_unlock(&d->lock);
}

static bool stopping(struct delay *d)
{
    bool stop;

    pthread_mutex_lock(&d->lock);
    stop = d->stop;
    pthread_mutex_unlock(&d->lock);
    return stop;
}

/* One look at all levels. When to look again, on the clock; the watermarks to be called at are set.
 * False: something came meanwhile, look again at once. */
static bool run_levels(struct delay *d, int64_t *next)
{
    struct store *store = d->broker->store;
    uint64_t arrived = atomic_exchange(&d->arrived, 0), idle = atomic_load(&d->idle);
    uint64_t end = store_end(store); /* of everything that `arrived` tells of */
    uint64_t seen = store_confirmed(store), confirmed, wanted;
    char reason[160];

    *next = INT64_MAX;
    for (int i = 0; i < d->levels; i++) {
        run_level(d, i);
        if (d->level[i].due_ms < *next)
            *next = d->level[i].due_ms;
    }
    store_write(store);
    wanted = keep_cursors(d);
    if (store_stopped(store, reason))
        wanted = NEVER; /* it will not move any more */
    /* What arrived at a level that has run out may not have been visible yet; where it had not
     * before, nobody needs to have told us. */
    if (atomic_load(&d->idle) & (arrived | ~idle))
        d->waits_to = end;
    confirmed = seen < d->waits_to ? d->waits_to : NEVER;
    atomic_store(&d->want_kept, wanted);
    atomic_store(&d->want_confirmed, confirmed);
    /* What moved before these stores called nobody, and so did what arrived before a level was
     * idle. */
    return store_confirmed(store) < confirmed && kept(store) < wanted &&
           !(atomic_load(&d->arrived) & atomic_load(&d->idle));
}

static void *delay_thread(void *arg)
{
    struct delay *d = arg;

    while (!stopping(d)) {
        int64_t next;

        if (run_levels(d, &next))
            sleep_until(d, next);
        atomic_store(&d->want_kept, NEVER);
        atomic_store(&d->want_confirmed, NEVER);
    }
    keep_cursors(d);
    return NULL; /* wants nothing any more */
}

int delay_start(struct delay *d, struct err *err)
{
    struct topic *topic = metadata_topic(d->broker->metadata, BYTES_LIT(DELAY_TOPIC), NULL);
    int r;

    if (!topic)
        return err_say(err, -ENOENT, "the topic %s is missing", DELAY_TOPIC);
    delay_stop(d);
    d->stop = false;
    atomic_store(&d->idle, 0);
    d->waits_to = 0;
    for (int i = 0; i < d->levels; i++) {
        struct level *level = &d->level[i];

        *level = (struct level){.topic = topic, .queue = QUEUE_NONE};
        level->cursor = level->safe_cursor = level->journalled =
            metadata_delay(d->broker->metadata, i + 1);
    }
    r = -pthread_create(&d->thread, NULL, delay_thread, d);
    if (r < 0)
        return err_set(err, r, "start the thread of the delay levels");
    d->started = true;
    return 0;
}

void delay_halt(struct delay *d)
{
    if (!d->started)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

void delay_stop(struct delay *d)
{
    if (!d->started)
        return;
    delay_halt(d);
    pthread_join(d->thread, NULL);
    d->started = false;
}

void delay_settle(struct delay *d)
{
    for (int i = 0; i < d->levels; i++) {
        struct level *level = &d->level[i];

        if (level->cursor != level->journalled &&
            metadata_delay_set(d->broker->metadata, i + 1, level->cursor) == 0)
            level->journalled = level->cursor;
    }
}

struct delay *delay_free(struct delay *d)
{
    if (!d)
        return NULL;
    delay_stop(d);
    buf_destroy(&d->record);
    buf_destroy(&d->properties);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->wake);
    free(d);
    return NULL;
}
