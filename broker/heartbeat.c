/* heartbeat.c - see heartbeat.h. */
#include "broker/heartbeat.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/call.h"

const char *const consume_type_names[] = {"CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP",
                                          NULL};
const char *const message_model_names[] = {"BROADCASTING", "CLUSTERING", NULL};
const char *const consume_from_names[] = {
    "CONSUME_FROM_LAST_OFFSET",
    "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",
    "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET",
    "CONSUME_FROM_TIMESTAMP",
    NULL,
};

/* An enum by name or by ordinal; `fallback` when absent; -1 when it is neither. */
static int enum_of(const json_t *object, const char *key, const char *const *names, int fallback)
{
    const json_t *value = json_object_get(object, key);
    struct bytes text;
    int64_t ordinal;

    if (!value || json_is_null(value))
        return fallback;
    text = json_get_str(object, key);
    for (int i = 0; names[i]; i++) {
        if (bytes_is(text, names[i]))
            return i;
    }
    ordinal = json_get_i64(object, key, -1);
    for (int i = 0; names[i]; i++) {
        if (ordinal == i)
            return i;
    }
    return -1;
}

/* codeSet as numbers or as text. Negative: too many, or not numbers. */
static int filter_from_codes(struct tag_filter *filter, const json_t *codes)
{
    int32_t list[FILTER_CODES_MAX];
    size_t count = json_array_size(codes);

    if (count > FILTER_CODES_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(codes, i);

        if (json_is_integer(item))
            list[i] = (int32_t)json_integer_value(item);
        else if (!json_is_string(item) ||
                 !bytes_to_i32(bytes_str(json_string_value(item)), &list[i]))
            return -EINVAL;
    }
    return tag_filter_codes(filter, list, count);
}

/* Every consumer subscribes to the retry topic of its group, also where the group's name is so long
 * that there can be no such topic. */
static bool subscribed_name_ok(struct bytes topic)
{
    struct bytes retry = BYTES_LIT("%RETRY%");

    return topic_name_ok(topic) ||
           (bytes_starts(topic, retry) &&
            group_name_ok(bytes_of(topic.at + retry.len, topic.len - retry.len)));
}

static int read_subscription(const json_t *object, struct client_subscription_data *out)
{
    const json_t *codes = json_object_get(object, "codeSet");

    *out = (struct client_subscription_data){
        .topic = json_get_str(object, "topic"),
        .sub_string = json_get_str(object, "subString"),
        .expression_type = json_get_str(object, "expressionType"),
        .version = json_get_i64(object, "subVersion", 0),
        .class_filter_mode = json_get_bool(object, "classFilterMode", false),
    };
    if (out->expression_type.len == 0)
        out->expression_type = BYTES_LIT("TAG");
    if (!subscribed_name_ok(out->topic))
        return -EINVAL;
    if (out->class_filter_mode || !bytes_is(out->expression_type, "TAG")) {
        tag_filter_all(&out->filter);
        return 0;
    }
    if (json_array_size(codes) == 0 || bytes_is(out->sub_string, "*"))
        return tag_filter_parse(&out->filter, out->sub_string);
    return filter_from_codes(&out->filter, codes);
}

static int read_subscriptions(const json_t *set, struct client_consumer *consumer, struct err *err)
{
    size_t count = json_array_size(set);

    if (count > SUBSCRIPTIONS_MAX)
        return err_say(err, -ENOSPC, "group \"%s\" has %zu subscriptions, at most %d are allowed",
                       SAFE(consumer->group), count, SUBSCRIPTIONS_MAX);
    consumer->subscriptions = calloc(count + 1, sizeof(*consumer->subscriptions));
    if (!consumer->subscriptions)
        return err_say(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(set, i);
        int r = read_subscription(item, &consumer->subscriptions[i]);

        consumer->subscription_count = i + 1;
        if (r == -ENOMEM)
            return err_say(err, r, "out of memory");
        if (r < 0)
            return err_say(err, r, "group \"%s\": the subscription of topic \"%s\" is malformed",
                           SAFE(consumer->group), SAFE(json_get_str(item, "topic")));
    }
    return 0;
}

static int read_consumer(const json_t *object, struct client_consumer *out, struct err *err)
{
    int type = enum_of(object, "consumeType", consume_type_names, CONSUME_PASSIVELY);
    int model = enum_of(object, "messageModel", message_model_names, MODEL_CLUSTERING);
    int from = enum_of(object, "consumeFromWhere", consume_from_names, 0);

    out->group = json_get_str(object, "groupName");
    if (!group_name_ok(out->group))
        return err_say(err, -EINVAL, "groupName \"%s\" is not allowed", SAFE(out->group));
    if (type < 0 || model < 0 || from < 0)
        return err_say(err, -EINVAL, "group \"%s\": %s has an unknown value", SAFE(out->group),
                       type < 0    ? "consumeType"
                       : model < 0 ? "messageModel"
                                   : "consumeFromWhere");
    out->type = (enum consume_type)type;
    out->model = (enum message_model)model;
    out->from_where = from;
    out->unit_mode = json_get_bool(object, "unitMode", false);
    return read_subscriptions(json_object_get(object, "subscriptionDataSet"), out, err);
}

static int read_groups(struct heartbeat *h, struct err *err)
{
    const json_t *consumers = json_object_get(h->root, "consumerDataSet");
    const json_t *producers = json_object_get(h->root, "producerDataSet");
    size_t consumer_count = json_array_size(consumers);
    size_t producer_count = json_array_size(producers);

    if (consumer_count > HEARTBEAT_GROUPS_MAX || producer_count > HEARTBEAT_GROUPS_MAX)
        return err_say(err, -ENOSPC, "a client may be in %d groups", HEARTBEAT_GROUPS_MAX);
    h->consumers = calloc(consumer_count + 1, sizeof(*h->consumers));
    h->producers = calloc(producer_count + 1, sizeof(*h->producers));
    if (!h->consumers || !h->producers)
        return err_say(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < consumer_count; i++) {
        int r;

        h->consumer_count = i + 1;
        r = read_consumer(json_array_get(consumers, i), &h->consumers[i], err);
        if (r < 0)
            return r;
    }
    for (; h->producer_count < producer_count; h->producer_count++) {
        struct bytes group =
            json_get_str(json_array_get(producers, h->producer_count), "groupName");

        if (!group_name_ok(group))
            return err_say(err, -EINVAL, "groupName \"%s\" is not allowed", SAFE(group));
        h->producers[h->producer_count] = group;
    }
    return 0;
}

int heartbeat_parse(struct bytes body, struct heartbeat *out, struct err *err)
{
    int r = 0;

    memset(out, 0, sizeof(*out));
    if (body.len > HEARTBEAT_BYTES_MAX)
        return err_say(err, -EFBIG, "the body has %zu bytes, at most %d are allowed", body.len,
                       HEARTBEAT_BYTES_MAX);
    out->root = json_dialect_load(body, err);
    if (!out->root)
        return err->code < 0 ? err->code : -EINVAL;
    if (!json_is_object(out->root))
        r = err_say(err, -EINVAL, "the body is no JSON object");
    if (r == 0) {
        out->client_id = json_get_str(out->root, "clientID");
        if (out->client_id.len == 0 || out->client_id.len > CLIENT_ID_MAX)
            r = err_say(err, -EINVAL, "clientID \"%s\" is missing or longer than %d bytes",
                        SAFE(out->client_id), CLIENT_ID_MAX);
    }
    if (r == 0)
        r = read_groups(out, err);
    if (r < 0)
        heartbeat_destroy(out);
    return r;
}

void heartbeat_destroy(struct heartbeat *h)
{
    for (size_t i = 0; i < h->consumer_count; i++) {
        struct client_consumer *c = &h->consumers[i];

        for (size_t k = 0; k < c->subscription_count; k++)
            tag_filter_destroy(&c->subscriptions[k].filter);
        free(c->subscriptions);
    }
    free(h->consumers);
    free(h->producers);
    json_decref(h->root);
    memset(h, 0, sizeof(*h));
}
