/* Any bytes as a JSON body. What is accepted must survive being written as strict JSON and read
 * again, and a queue that is found in a key must survive being written as a key.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void queue_comes_back(struct bytes key)
{
    struct buf text = {0};
    struct json_out j;
    struct json_mq mq, again;

    if (!json_mq_of_text(key, &mq))
        return;
    assert(mq.topic.len > 0 && mq.topic.len < key.len);
    if (!bytes_is_utf8(key) || memchr(key.at, 0, key.len)) /* the raw input; keys are clean */
        return;
    for (size_t i = 0; i < key.len; i++) {
        if (key.at[i] < 0x20)
            return; /* would get an escape, which a queue's text may not have */
    }
    jout_begin(&j, &text);
    jout_object(&j);
    jout_key_mq(&j, mq.broker_name, mq.queue_id, mq.topic);
    jout_null(&j);
    jout_object_end(&j);
    assert(!text.failed);

    json_t *tree = json_dialect_load(buf_bytes(&text), NULL);
    assert(tree);
    void *member = json_object_iter(tree);
    assert(json_mq_of_text(bytes_str(json_object_iter_key(member)), &again));
    assert(bytes_equal(mq.broker_name, again.broker_name));
    assert(bytes_equal(mq.topic, again.topic));
    assert(mq.queue_id == again.queue_id);
    json_decref(tree);
    buf_destroy(&text);
}

static void walk(json_t *value)
{
    struct json_mq mq;
    const char *key;
    json_t *member;
    size_t i;

    (void)json_mq_of(value, &mq);
    json_array_foreach(value, i, member)
    {
        walk(member); /* JSON_DEPTH_MAX deep at most */
    }
    json_object_foreach(value, key, member)
    {
        (void)json_get_i64(value, key, 0);
        (void)json_get_bool(value, key, false);
        assert(json_get_str(value, key).len == json_string_length(member));
        queue_comes_back(bytes_str(key));
        walk(member);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    json_t *tree = json_dialect_load(bytes_of(data, size), &err);

    queue_comes_back(bytes_of(data, size));
    if (!tree) {
        assert(err.code < 0);
        assert(err.text[0]);
        return 0;
    }
    walk(tree);

    char *strict = json_dumps(tree, JSON_COMPACT);
    assert(strict);
    json_t *again = json_dialect_load(bytes_str(strict), &err);
    assert(again);
    assert(json_equal(tree, again));
    json_decref(again);
    free(strict);
    json_decref(tree);
    return 0;
}
