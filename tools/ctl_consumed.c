/* ctl_consumed.c - which groups have consumed a message: see ctl_message.h.
 *
 * A group has consumed what lies before its offset in the queue, unless its subscription leaves the
 * message out. Only a group that is online tells its subscription.
 */
#include <stdlib.h>

#include "common/json.h"
#include "tools/ctl_message.h"

const char *consumed_name(enum consumed_state state)
{
    static const char *const names[] = {"consumed", "passed over", "not yet", "broadcast"};

    return names[state];
}

void consumed_destroy(struct consumed *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->groups[i].name);
    free(c->groups);
    *c = (struct consumed){0};
}

static int by_name(const void *a, const void *b)
{
    const struct consumed_group *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* What the group's subscription says; nothing when it is offline. */
static int ask_subscription(struct ctl *ctl, const struct found_message *item,
                            const struct message_view *m, struct consumed_group *g)
{
    const struct rpc_field fields[] = {{"consumerGroup", g->name}};
    const char *model, *expression, *kind;
    json_t *root, *subscription;
    char topic[RECORD_TOPIC_MAX + 1];
    int r = ctl_ask_json(ctl, item->broker, item->address, "read the subscription of a group",
                         REQUEST_GET_CONSUMER_CONNECTION_LIST, fields, 1,
                         RESPONSE_CONSUMER_NOT_ONLINE, &root);

    if (r != TOOL_DONE || !root)
        return r;
    model = json_string_value(json_object_get(root, "messageModel"));
    if (model && strcmp(model, "BROADCASTING") == 0)
        g->state = CONSUMED_BROADCAST;
    subscription = NULL;
    if (bytes_to_cstr(m->record.topic, topic, sizeof(topic)))
        subscription = json_object_get(json_object_get(root, "subscriptionTable"), topic);
    expression = json_string_value(json_object_get(subscription, "subString"));
    kind = json_string_value(json_object_get(subscription, "expressionType"));
    if (g->state == CONSUMED && expression && (!kind || strcmp(kind, "TAG") == 0) &&
        !message_has_tag(m, expression))
        g->state = CONSUMED_PASSED_OVER;
    json_decref(root);
    return TOOL_DONE;
}

static int ask_group(struct ctl *ctl, const struct found_message *item,
                     const struct message_view *m, struct consumed_group *g)
{
    char topic[RECORD_TOPIC_MAX + 1] = "";
    const struct rpc_field fields[] = {{"consumerGroup", g->name}, {"topic", topic}};
    const char *key;
    json_t *root, *value;
    int r;

    (void)bytes_to_cstr(m->record.topic, topic, sizeof(topic));
    r = ctl_ask_json(ctl, item->broker, item->address, "read how far a group is",
                     REQUEST_GET_CONSUME_STATS, fields, 2, RESPONSE_SYSTEM_ERROR, &root);
    if (r != TOOL_DONE)
        return r;
    json_object_foreach(json_object_get(root, "offsetTable"), key, value)
    {
        struct json_mq mq;

        if (json_mq_of_text(bytes_str(key), &mq) && mq.queue_id == m->record.queue_id &&
            bytes_equal(mq.topic, m->record.topic))
            g->offset = json_get_i64(value, "consumerOffset", 0);
    }
    json_decref(root);
    g->state = g->offset > m->record.queue_offset ? CONSUMED : CONSUMED_NOT_YET;
    return ask_subscription(ctl, item, m, g);
}

int consumed_ask(struct ctl *ctl, const struct found_message *item, const struct message_view *m,
                 struct consumed *out)
{
    char topic[RECORD_TOPIC_MAX + 1] = "";
    const struct rpc_field fields[] = {{"topic", topic}};
    json_t *root, *list;
    int r;

    *out = (struct consumed){0};
    (void)bytes_to_cstr(m->record.topic, topic, sizeof(topic));
    r = ctl_ask_json(ctl, item->broker, item->address, "list the groups",
                     REQUEST_QUERY_TOPIC_CONSUME_BY_WHO, fields, 1, RESPONSE_TOPIC_NOT_EXIST,
                     &root);
    if (r != TOOL_DONE || !root)
        return r;
    list = json_object_get(root, "groupList");
    out->groups = calloc(json_array_size(list) + 1, sizeof(*out->groups));
    if (!out->groups)
        r = err_say(&ctl->err, TOOL_REFUSED, "out of memory");
    for (size_t i = 0; r == TOOL_DONE && i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        struct consumed_group *g = &out->groups[out->count];

        if (!name)
            continue;
        g->name = strdup(name);
        if (!g->name) {
            r = err_say(&ctl->err, TOOL_REFUSED, "out of memory");
            break;
        }
        out->count++;
        r = ask_group(ctl, item, m, g);
    }
    json_decref(root);
    if (out->count > 1)
        qsort(out->groups, out->count, sizeof(*out->groups), by_name);
    return r;
}
