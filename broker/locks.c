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
    int64_t taken_ms; /* monotonic; last taken or renewed */
    char *client_id;
    UT_hash_handle hh;
    size_t key_len;
    char key[]; /* group 0 topic 0 queue id */
};

struct locks {
    pthread_mutex_t lock;
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

/* 0 when a name is too long. */
static size_t make_key(char key[KEY_MAX], struct bytes group, struct bytes topic, int32_t queue_id)
{
    if (group.len == 0 || group.len > GROUP_NAME_MAX || topic.len == 0 ||
        topic.len > TOPIC_NAME_MAX || queue_id < 0)
        return 0;
    memcpy(key, group.at, group.len);
    key[group.len] = 0;
    memcpy(key + group.len + 1, topic.at, topic.len);
    key[group.len + 1 + topic.len] = 0;
    memcpy(key + group.len + topic.len + 2, &queue_id, sizeof(queue_id));
    return group.len + topic.len + 2 + sizeof(queue_id);
}

static void sweep(struct locks *l, int64_t now_ms)
{
    struct queue_lock *q, *next;

    HASH_ITER(hh, l->table, q, next)
    {
        if (now_ms - q->taken_ms > LOCK_LIFE_MS)
            drop(l, q);
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

bool locks_take(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                struct bytes client_id, int64_t now_ms)
{
    char key[KEY_MAX];
    size_t key_len = make_key(key, group, topic, queue_id);
    struct queue_lock *q;
    bool held = false;

    if (key_len == 0 || client_id.len == 0 || client_id.len > CLIENT_ID_MAX)
        return false;
    pthread_mutex_lock(&l->lock);
    HASH_FIND(hh, l->table, key, key_len, q);
    if (!q) {
        q = add(l, key, key_len, client_id, now_ms);
        held = q != NULL;
    } else if (bytes_is(client_id, q->client_id)) {
        held = true;
    } else if (now_ms - q->taken_ms > LOCK_LIFE_MS) {
        char *id = strndup((const char *)client_id.at, client_id.len);

        if (id) {
            free(q->client_id);
            q->client_id = id;
            held = true;
        }
    }
    if (held)
        q->taken_ms = now_ms;
    pthread_mutex_unlock(&l->lock);
    return held;
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
        drop(l, q);
    pthread_mutex_unlock(&l->lock);
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

enum call_result serve_lock_batch(struct call *call)
{
    int64_t now = clock_mono_ms();
    struct lock_request request;
    struct remoting_writer w;
    struct json_out j;
    json_t *item;
    size_t i;

    if (replication_is_member(call->broker->replication) &&
        replication_is_slave(call->broker->replication))
        return call_error(call, RESPONSE_SYSTEM_ERROR, "this broker is not the master");
    if (!read_request(call, &request))
        return CALL_DONE;
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    jout_object(&j);
    jout_key(&j, "lockOKMQSet");
    jout_array(&j);
    json_array_foreach(request.queues, i, item)
    {
        struct json_mq mq;

        if (json_mq_of(item, &mq) && locks_take(call->broker->locks, request.group, mq.topic,
                                                mq.queue_id, request.client_id, now))
            jout_mq(&j, mq.broker_name, mq.queue_id, mq.topic);
    }
    jout_array_end(&j);
    jout_object_end(&j);
    remoting_end(&w);
    json_decref(request.root);
    return CALL_DONE;
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
