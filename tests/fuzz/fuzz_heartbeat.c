/* fuzz_heartbeat.c - heartbeat bodies, and the filters that are made of them. */
#include <assert.h>

#include "broker/heartbeat.h"
#include "broker/store/metadata.h"

/* A topic that can be, or the retry topic of a group that can be. */
static bool subscribed_ok(struct bytes topic)
{
    const struct bytes retry = BYTES_LIT("%RETRY%");

    if (topic.len <= TOPIC_NAME_MAX)
        return topic_name_ok(topic);
    return bytes_starts(topic, retry) && topic.len <= retry.len + GROUP_NAME_MAX &&
           group_name_ok(bytes_of(topic.at + retry.len, topic.len - retry.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heartbeat h;
    struct err err = {0};

    if (heartbeat_parse(bytes_of(data, size), &h, &err) < 0) {
        assert(err.text[0] != '\0');
        return 0;
    }
    assert(h.client_id.len > 0 && h.client_id.len <= CLIENT_ID_MAX);
    for (size_t i = 0; i < h.consumer_count; i++) {
        assert(group_name_ok(h.consumers[i].group));
        for (size_t k = 0; k < h.consumers[i].subscription_count; k++) {
            struct client_subscription_data *s = &h.consumers[i].subscriptions[k];
            struct tag_filter copy;

            assert(subscribed_ok(s->topic));
            if (tag_filter_copy(&copy, &s->filter) == 0) {
                assert(tag_filter_match(&copy, 2598919) == tag_filter_match(&s->filter, 2598919));
                tag_filter_destroy(&copy);
            }
        }
    }
    heartbeat_destroy(&h);
    return 0;
}
