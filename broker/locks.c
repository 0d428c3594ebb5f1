/* locks.c - queue locks of ordered consumers: see locks.h. */
#include "broker/locks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>

#include "broker/heartbeat.h"
#include "broker/replication/replication.h"
#include "common/clock.h"
#include "common/json.h"

enum { SWEEP_AT_LEAST = 1024, SWEEP_PAUSE_MS = 1000 };

struct queue_lock {
    int64_t taken_ms;  /* monotonic; last taken or renewed */
    uint64_t sequence; /* of the journal: its holder is recorded with it */
    char *client_id;
    UT_hash_handle hh;
    size_t key_len;
    char key[]; /* group 0 topic 0 queue id */
};

struct locks {
    pthread_mutex_t lock;
    struct metadata *metadata; /* told of new holders; NULL: before the first reign */
    struct queue_lock *table;
    unsigned most;
    unsigned sweep_at; /* count at which expired ones are looked for */
    int64_t swept_ms;  /* monotonic */
};

enum { KEY_MAX = GROUP_NAME_MAX + TOPIC_NAME_MAX + 2 + 4 };

struct locks *locks_new(unsigned most)
{
    struct locks *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    pthread_mutex_init(&l->lock, NULL);
    l->most = most;
    l->sweep_at = SWEEP_AT_LEAST;
    l->swept_ms = INT64_MIN / 2;
    return l;
}

static void drop(struct locks *l, struct queue_lock *q)
{
    HASH_DELETE(hh, l->table, q);
    free(q->client_id);
    free(q);
}

struct locks *locks_free(struct locks *l)
{
    struct queue_lock *q, *next;

    if (!l)
        return NULL;
    HASH_ITER(hh, l->table, q, next)
    drop(l, q);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

/* 0 when a name is too long, or has a zero byte. */
static size_t make_key(char key[KEY_MAX], struct bytes group, struct bytes topic, int32_t queue_id)
{
    if (group.len == 0 || group.len > GROUP_NAME_MAX || topic.len == 0 ||
        topic.len > TOPIC_NAME_MAX || queue_id < 0 || memchr(group.at, 0, group.len) ||
        memchr(topic.at, 0, topic.len))
        return 0;
    memcpy(key, group.at, group.len);
    key[group.len] = 0;
    memcpy(key + group.len + 1, topic.at, topic.len);
    key[group.len + 1 + topic.len] = 0;
    memcpy(key + group.len + topic.len + 2, &queue_id, sizeof(queue_id));
    return group.len + topic.len + 2 + sizeof(queue_id);
}

/* What the key was made of. */
static void parts_of(const struct queue_lock *q, struct bytes *group, struct bytes *topic,
                     int32_t *queue_id)
{
    *group = bytes_str(q->key);
    *topic = bytes_str(q->key + group->len + 1);
    memcpy(queue_id, q->key + group->len + topic->len + 2, sizeof(*queue_id));
}

/* Tells the journal who holds it now (empty: nobody). 0 or why it cannot be kept. */
static int record(struct locks *l, struct queue_lock *q, struct bytes client_id)
{
    struct bytes group, topic;
    int32_t queue_id;

    if (!l->metadata)
        return 0;
    parts_of(q, &group, &topic, &queue_id);
    return metadata_lock_put(l->metadata, group, topic, queue_id, client_id, clock_wall_ms(),
                             &q->sequence);
}

/* A release that cannot be recorded now keeps others out for LOCK_LIFE_MS of the next reign. */
static void release(struct locks *l, struct queue_lock *q)
{
    (void)record(l, q, (struct bytes){0});
    drop(l, q);
}

static void sweep(struct locks *l, int64_t now_ms)
{
    struct queue_lock *q, *next;

    HASH_ITER(hh, l->table, q, next)
    {
        if (now_ms - q->taken_ms > LOCK_LIFE_MS)
            release(l, q);
    }
    l->sweep_at = HASH_COUNT(l->table) * 2;
    if (l->sweep_at < SWEEP_AT_LEAST)
        l->sweep_at = SWEEP_AT_LEAST;
    l->swept_ms = now_ms;
}

/* At the bound too, but not for every one that is refused there. */
static bool want_sweep(const struct locks *l, int64_t now_ms)
{
    unsigned count = HASH_COUNT(l->table);

    return count >= l->sweep_at || (count >= l->most && now_ms - l->swept_ms >= SWEEP_PAUSE_MS);
}

static struct queue_lock *add(struct locks *l, const char *key, size_t key_len,
                              struct bytes client_id, int64_t now_ms)
{
    struct queue_lock *q;

    if (want_sweep(l, now_ms))
        sweep(l, now_ms);
    if (HASH_COUNT(l->table) >= l->most)
        return NULL;
    q = calloc(1, sizeof(*q) + key_len);
    if (!q)
        return NULL;
    q->client_id = strndup((const char *)client_id.at, client_id.len);
    if (!q->client_id) {
        free(q);
        return NULL;
    }
    memcpy(q->key, key, key_len);
    q->key_len = key_len;
    HASH_ADD_KEYPTR(hh, l->table, q->key, q->key_len, q);
    return q;
}

/* Lock held. Nothing changes unless the journal takes the new holder. */
static struct queue_lock *grant(struct locks *l, struct queue_lock *q, const char *key,
                                size_t key_len, struct bytes client_id, int64_t now_ms)
{
    bool made = !q;
    char *id;

    if (made)
        q = add(l, key, key_len, client_id, now_ms);
    if (!q)
        return NULL;
    id = strndup((const char *)client_id.at, client_id.len);
    if (!id || record(l, q, client_id) < 0) {
        free(id);
        if (made)
            drop(l, q);
        return NULL;
    }
    free(q->client_id);
    q->client_id = id;
    return q;
}

bool locks_take(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                struct bytes client_id, int64_t now_ms, uint64_t *sequence)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, group, topic, queue_id);
    struct queue_lock *q;

    if (key_len == 0 || client_id.len == 0 || client_id.len > CLIENT_ID_MAX)
        return false;
    pthread_mutex_lock(&l->lock);
    HASH_FIND(hh, l->table, key, key_len, q);
    if (!q || (!bytes_is(client_id, q->client_id) && now_ms - q->taken_ms > LOCK_LIFE_MS))
        q = grant(l, q, key, key_len, client_id, now_ms);
    else if (!bytes_is(client_id, q->client_id))
        q = NULL;
    if (q)
        q->taken_ms = now_ms;
    if (q && q->sequence > *sequence)
        *sequence = q->sequence;
    pthread_mutex_unlock(&l->lock);
    return q != NULL;
}

bool locks_renew(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                 struct bytes client_id, int64_t now_ms, uint64_t copied)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, group, topic, queue_id);
    struct queue_lock *q = NULL;

    if (key_len == 0)
        return false;
    pthread_mutex_lock(&l->lock);
    HASH_FIND(hh, l->table, key, key_len, q);
    if (q && (!bytes_is(client_id, q->client_id) || q->sequence > copied))
        q = NULL;
    if (q)
        q->taken_ms = now_ms;
    pthread_mutex_unlock(&l->lock);
    return q != NULL;
}

void locks_release(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                   struct bytes client_id)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, group, topic, queue_id);
    struct queue_lock *q;

    if (key_len == 0)
        return;
    pthread_mutex_lock(&l->lock);
    HASH_FIND(hh, l->table, key, key_len, q);
    if (q && bytes_is(client_id, q->client_id))
        release(l, q);
    pthread_mutex_unlock(&l->lock);
}

/* --- a reign begins --- */

struct reign {
    struct locks *l;
    int64_t now_ms;
    int result;
};

static void take_recorded(void *ctx, struct bytes group, struct bytes topic, int32_t queue_id,
                          struct bytes client_id, int64_t granted_ms)
{
    struct reign *reign = ctx;
    char key[KEY_MAX];
    size_t key_len = make_key(key, group, topic, queue_id);
    struct queue_lock *q = add(reign->l, key, key_len, client_id, reign->now_ms);

    (void)granted_ms; /* it may have been renewed since */
    if (q)
        q->taken_ms = reign->now_ms;
    else
        reign->result = -ENOMEM;
}

int locks_begin_reign(struct locks *l, struct metadata *m, int64_t now_ms)
{
    struct reign reign = {.l = l, .now_ms = now_ms};
    struct queue_lock *q, *next;

    pthread_mutex_lock(&l->lock);
    HASH_ITER(hh, l->table, q, next)
    drop(l, q);
    l->metadata = NULL; /* add() may sweep */
    metadata_each_lock(m, take_recorded, &reign);
    l->metadata = m;
    pthread_mutex_unlock(&l->lock);
    return reign.result;
}

/* --- requests --- */

struct lock_request {
    json_t *root;
    struct bytes client_id, group;
    json_t *queues;
};

/* False after an error reply. */
static bool read_request(struct call *call, struct lock_request *r)
{
    struct err err = {0};

    if (call->frame->body.len > HEARTBEAT_BYTES_MAX) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "the body has %zu bytes, at most %d are allowed",
                   call->frame->body.len, HEARTBEAT_BYTES_MAX);
        return false;
    }
    r->root = json_dialect_load(call->frame->body, &err);
    if (!r->root) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "the body is no JSON: %s", err.text);
        return false;
    }
    r->client_id = json_get_str(r->root, "clientId");
    r->group = json_get_str(r->root, "consumerGroup");
    r->queues = json_object_get(r->root, "mqSet");
    if (r->client_id.len == 0 || r->client_id.len > CLIENT_ID_MAX || !group_name_ok(r->group) ||
        !json_is_array(r->queues)) {
        call_error(call, RESPONSE_SYSTEM_ERROR,
                   "clientId, consumerGroup and mqSet are needed; found clientId=\"%s\", "
                   "consumerGroup=\"%s\"",
                   SAFE(r->client_id), SAFE(r->group));
        json_decref(r->root);
        return false;
    }
    return true;
}

/* The answer; *sequence: of the newest holder in it. */
static void write_granted(struct call *call, const struct lock_request *request,
                          enum lock_leave leave, uint64_t copied, struct buf *out,
                          uint64_t *sequence)
{
    struct locks *locks = call->broker->locks;
    int64_t now = clock_mono_ms();
    struct remoting_writer w;
    struct json_out j;
    json_t *item;
    size_t i;

    reply_begin(&w, out, &call->to, RESPONSE_SUCCESS, bytes_of(NULL, 0), false);
    remoting_body(&w);
    jout_begin(&j, out);
    jout_object(&j);
    jout_key(&j, "lockOKMQSet");
    jout_array(&j);
    json_array_foreach(request->queues, i, item)
    {
        struct json_mq mq;

        if (leave == LOCKS_NONE || !json_mq_of(item, &mq))
            continue;
        if (leave == LOCKS_ANY ? locks_take(locks, request->group, mq.topic, mq.queue_id,
                                            request->client_id, now, sequence)
                               : locks_renew(locks, request->group, mq.topic, mq.queue_id,
                                             request->client_id, now, copied))
            jout_mq(&j, mq.broker_name, mq.queue_id, mq.topic);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
}

enum call_result serve_lock_batch(struct call *call)
{
    struct replication *replication = call->broker->replication;
    enum call_result result = CALL_DONE;
    struct lock_request request;
    struct buf later = {0};
    uint64_t sequence = 0, copied;

    if (replication_is_member(replication) && replication_is_slave(replication))
        return call_error(call, RESPONSE_SYSTEM_ERROR, "this broker is not the master");
    if (!read_request(call, &request))
        return CALL_DONE;
    if (!replication_is_member(replication) || replication_copies(replication) <= 1) {
        write_granted(call, &request, LOCKS_ANY, UINT64_MAX, call->out, &sequence);
    } else {
        enum lock_leave leave = replication_lock_leave(replication, &copied);

        write_granted(call, &request, leave, copied, &later, &sequence);
        if (later.failed)
            result = call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
        else if (sequence > replication_metadata_kept(replication))
            result = call_reply_when_durable(call, sequence, &later);
        else if (!call->to.oneway)
            buf_add(call->out, buf_at(&later), later.len);
        buf_destroy(&later);
    }
    json_decref(request.root);
    return result;
}

enum call_result serve_unlock_batch(struct call *call)
{
    struct lock_request request;
    json_t *item;
    size_t i;

    if (!read_request(call, &request))
        return CALL_DONE;
    json_array_foreach(request.queues, i, item)
    {
        struct json_mq mq;

        if (json_mq_of(item, &mq))
            locks_release(call->broker->locks, request.group, mq.topic, mq.queue_id,
                          request.client_id);
    }
    json_decref(request.root);
    return call_ok(call);
}
