/* registration.c - see registration.h. */
#include "namesrv/registration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "common/json.h"
#include "namesrv/json_members.h"

enum {
    INFLATE_STEP = 65536,
    TOPICS_FIRST = 64,
    NAME_SHOWN = 64,
    /* bounds of the small texts that become trees, which are up to a hundred times larger */
    VERSION_TEXT_MAX = 4096,
    KEY_TEXT_MAX = 6 * ROUTE_TOPIC_MAX,
    FILTER_TEXT_MAX = 65536,
    QUEUES_TEXT_MAX = 1048576,
};

/* ---- what may be a name ---- */

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < 0x20 || text.at[i] == 0x7F)
            return true;
    }
    return false;
}

bool registration_name_ok(struct bytes name, size_t max)
{
    return name.len > 0 && name.len <= max && !has_control(name) && bytes_is_utf8(name);
}

bool registration_address_ok(struct bytes address)
{
    size_t colon = address.len;
    int32_t port;

    if (address.len > ROUTE_ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < address.len; i++) {
        /* some clients split the text of a route instead of parsing it */
        if (address.at[i] <= 0x20 || address.at[i] >= 0x7F ||
            strchr("\"\\,;{}/", address.at[i]) != NULL)
            return false;
        if (address.at[i] == ':')
            colon = i;
    }
    if (colon == 0 || colon + 1 >= address.len)
        return false;
    return bytes_to_i32(bytes_of(address.at + colon + 1, address.len - colon - 1), &port) &&
           address.at[colon + 1] >= '0' && address.at[colon + 1] <= '9' && port >= 1 &&
           port <= 65535;
}

/* The beginning of a name, fit for a sentence. */
static const char *shown(struct bytes name, char text[NAME_SHOWN + 1])
{
    size_t n = name.len < NAME_SHOWN ? name.len : NAME_SHOWN;

    for (size_t i = 0; i < n; i++)
        text[i] = name.at[i] < 0x20 || name.at[i] >= 0x7F ? '?' : (char)name.at[i];
    text[n] = '\0';
    return text;
}

/* ---- parts that both forms share ---- */

static int check_topic(const struct route_topic_config *topic, struct err *err)
{
    char name[NAME_SHOWN + 1];

    if (!registration_name_ok(topic->name, ROUTE_TOPIC_MAX))
        return err_say(err, -EINVAL,
                       "topic name \"%s\" of %zu bytes: expected 1 to %d bytes of UTF-8 without "
                       "control characters",
                       shown(topic->name, name), topic->name.len, ROUTE_TOPIC_MAX);
    if (topic->read_queues < 0 || topic->read_queues > ROUTE_QUEUE_NUMS_MAX)
        return err_say(err, -EINVAL, "topic %s: readQueueNums is %" PRId32 ", expected 0 to %d",
                       shown(topic->name, name), topic->read_queues, ROUTE_QUEUE_NUMS_MAX);
    if (topic->write_queues < 0 || topic->write_queues > ROUTE_QUEUE_NUMS_MAX)
        return err_say(err, -EINVAL, "topic %s: writeQueueNums is %" PRId32 ", expected 0 to %d",
                       shown(topic->name, name), topic->write_queues, ROUTE_QUEUE_NUMS_MAX);
    if (topic->perm < 0 || topic->perm > 15)
        return err_say(err, -EINVAL, "topic %s: perm is %" PRId32 ", expected 0 to 15",
                       shown(topic->name, name), topic->perm);
    return 0;
}

/* Grows by doubling as topics really come, whatever a count in the body claims. */
static int add_topic(struct registration *r, const struct route_topic_config *topic,
                     struct err *err)
{
    int bad = check_topic(topic, err);

    if (bad < 0)
        return bad;
    if (r->topic_count >= ROUTE_TOPICS_MAX)
        return err_say(err, -EINVAL, "more than %d topics in one registration", ROUTE_TOPICS_MAX);
    if (r->topic_count == r->topic_room) {
        size_t room = r->topic_room ? r->topic_room * 2 : TOPICS_FIRST;
        struct route_topic_config *grown = realloc(r->topics, room * sizeof(*grown));

        if (!grown)
            return err_set(err, -ENOMEM, "read the topics of a registration");
        r->topics = grown;
        r->topic_room = room;
    }
    r->topics[r->topic_count++] = *topic;
    return 0;
}

static int read_version(const json_t *object, struct route_version *out, struct err *err)
{
    if (!json_is_object(object))
        return err_say(err, -EINVAL, "dataVersion is not an object");
    out->state = json_get_i64(object, "stateVersion", 0);
    out->counter = json_get_i64(object, "counter", 0);
    out->timestamp = json_get_i64(object, "timestamp", 0);
    return 0;
}

static int read_filters(json_t *list, struct registration *out, struct err *err)
{
    size_t count;

    if (!json_is_array(list))
        return err_say(err, -EINVAL, "filterServerList is not an array");
    out->has_filters = true;
    count = json_array_size(list);
    if (count > ROUTE_FILTERS_MAX)
        return err_say(err, -EINVAL, "filterServerList has %zu entries, expected at most %d", count,
                       ROUTE_FILTERS_MAX);
    if (count == 0)
        return 0;
    out->filters = calloc(count, sizeof(struct bytes));
    if (!out->filters)
        return err_set(err, -ENOMEM, "read the filter servers of a registration");
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        struct bytes text = json_is_string(item)
                                ? bytes_of(json_string_value(item), json_string_length(item))
                                : (struct bytes){0};

        if (!registration_name_ok(text, ROUTE_ADDRESS_MAX))
            return err_say(err, -EINVAL, "filterServerList: entry %zu is not an address", i);
        out->filters[out->filter_count++] = text;
    }
    return 0;
}

/* A queue count or a set of flags: absent is 0; what no int32 holds is out of every range. */
static int32_t read_i32(const json_t *object, const char *key)
{
    int64_t value = json_get_i64(object, key, 0);

    return value < INT32_MIN || value > INT32_MAX ? -1 : (int32_t)value;
}

/* ---- JSON ---- */

/* The name that a key stands for. Plain ones are borrowed from the body; one with escapes needs
 * memory, which `names` keeps. */
static int read_key(const struct json_member *member, struct registration *out, struct bytes *name,
                    struct err *err)
{
    struct buf text = {0};
    json_t *list, *item;

    *name = member->key;
    if (!member->key_escaped)
        return 0;
    if (member->key.len > KEY_TEXT_MAX)
        return err_say(err, -EINVAL, "a topic name of %zu bytes", member->key.len);
    buf_add_str(&text, "[\"");
    buf_add(&text, member->key.at, member->key.len);
    buf_add_str(&text, "\"]");
    list = text.failed ? NULL : json_dialect_load(buf_bytes(&text), err);
    buf_destroy(&text);
    item = json_array_get(list, 0);
    if (!out->names)
        out->names = json_array();
    if (!json_is_string(item) || json_array_append(out->names, item) != 0) {
        json_decref(list);
        return err_say(err, -EINVAL, "a topic name cannot be read");
    }
    json_decref(list);
    *name = bytes_of(json_string_value(item), json_string_length(item));
    return 0;
}

/* A number, or one in quotes; null is 0. */
static bool read_number(struct bytes text, int32_t *out)
{
    *out = 0;
    if (bytes_is(text, "null"))
        return true;
    if (text.len >= 2 && (text.at[0] == '"' || text.at[0] == '\''))
        text = bytes_of(text.at + 1, text.len - 2);
    return bytes_to_i32(text, out);
}

/* Where a number of a TopicConfig belongs; NULL for the members that a route does not need. */
static int32_t *number_of(struct route_topic_config *topic, struct bytes key)
{
    if (bytes_is(key, "readQueueNums"))
        return &topic->read_queues;
    if (bytes_is(key, "writeQueueNums"))
        return &topic->write_queues;
    if (bytes_is(key, "perm"))
        return &topic->perm;
    if (bytes_is(key, "topicSysFlag"))
        return &topic->sys_flag;
    return NULL;
}

static int read_topic(const struct json_member *member, struct registration *out, struct err *err)
{
    struct route_topic_config topic = {0};
    char name[NAME_SHOWN + 1], key[NAME_SHOWN + 1], value[NAME_SHOWN + 1];
    struct json_members settings;
    struct json_member setting;
    int r = read_key(member, out, &topic.name, err);

    if (r < 0 || bytes_is(member->value, "null"))
        return r;
    json_members_begin(&settings, member->value);
    while (json_members_next(&settings, &setting)) {
        int32_t *number = number_of(&topic, setting.key);

        if (number && !read_number(setting.value, number))
            return err_say(err, -EINVAL, "topic %s: %s is %s, expected a whole number",
                           shown(topic.name, name), shown(setting.key, key),
                           shown(setting.value, value));
    }
    if (settings.wrong)
        return err_say(err, -EINVAL, "topic %s: %s", shown(topic.name, name), settings.wrong);
    return add_topic(out, &topic, err);
}

/* Calls each() for the members of an object. */
static int walk(struct bytes text, const char *what,
                int (*each)(const struct json_member *member, struct registration *out,
                            struct err *err),
                struct registration *out, struct err *err)
{
    struct json_members members;
    struct json_member member;

    if (bytes_is(text, "null"))
        return 0;
    json_members_begin(&members, text);
    while (json_members_next(&members, &member)) {
        int r = each(&member, out, err);

        if (r < 0)
            return r;
    }
    return members.wrong ? err_say(err, -EINVAL, "%s: %s", what, members.wrong) : 0;
}

static int read_wrapper_member(const struct json_member *member, struct registration *out,
                               struct err *err)
{
    if (bytes_is(member->key, "dataVersion") && !bytes_is(member->value, "null"))
        return registration_version_decode(member->value, &out->version, err);
    if (bytes_is(member->key, "topicConfigTable"))
        return walk(member->value, "topicConfigTable", read_topic, out, err);
    return 0;
}

static int read_removed(const struct json_member *member, struct registration *out, struct err *err)
{
    char shown_name[NAME_SHOWN + 1];
    struct bytes name;
    int r = read_key(member, out, &name, err);

    if (r < 0)
        return r;
    if (!registration_name_ok(name, ROUTE_TOPIC_MAX))
        return err_say(err, -EINVAL, "ternRemovedTopics: \"%s\" is not the name of a topic",
                       shown(name, shown_name));
    if (out->removed_count >= ROUTE_TOPICS_MAX)
        return err_say(err, -EINVAL, "more than %d removed topics in one registration",
                       ROUTE_TOPICS_MAX);
    if (out->removed_count == out->removed_room) {
        size_t room = out->removed_room ? out->removed_room * 2 : TOPICS_FIRST;
        struct bytes *grown = reallocarray(out->removed, room, sizeof(*grown));

        if (!grown)
            return err_set(err, -ENOMEM, "read the removed topics of a registration");
        out->removed = grown;
        out->removed_room = room;
    }
    out->removed[out->removed_count++] = name;
    return 0;
}

static int read_filter_text(struct bytes text, struct registration *out, struct err *err)
{
    if (bytes_is(text, "null"))
        return 0;
    if (text.len > FILTER_TEXT_MAX)
        return err_say(err, -EINVAL, "filterServerList has %zu bytes, expected at most %d",
                       text.len, FILTER_TEXT_MAX);
    json_decref(out->filter_tree); /* of equal keys the last one counts */
    free(out->filters);
    out->filters = NULL;
    out->filter_count = 0;
    out->filter_tree = json_dialect_load(text, err);
    if (!out->filter_tree)
        return -EINVAL;
    return read_filters(out->filter_tree, out, err);
}

/* A sender before 3.0.11 puts the members of the wrapper here. */
static int read_body_member(const struct json_member *member, struct registration *out,
                            struct err *err)
{
    if (bytes_is(member->key, "filterServerList"))
        return read_filter_text(member->value, out, err);
    if (bytes_is(member->key, "topicConfigSerializeWrapper"))
        return walk(member->value, "topicConfigSerializeWrapper", read_wrapper_member, out, err);
    if (bytes_is(member->key, "ternRemovedTopics"))
        return walk(member->value, "ternRemovedTopics", read_removed, out, err);
    return read_wrapper_member(member, out, err);
}

/* ---- compressed ---- */

static bool is_zlib(struct bytes body)
{
    return body.len >= 2 && body.at[0] == 0x78 && load_be16(body.at) % 31 == 0;
}

/* Takes memory as bytes really come out of the stream, up to the bound. */
static int inflate_body(struct bytes body, struct buf *out, struct err *err)
{
    z_stream z = {0};
    int state = Z_OK;

    if (inflateInit(&z) != Z_OK)
        return err_set(err, -ENOMEM, "inflate a registration");
    /* zlib's older interface has no const; it does not write to its input */
    z.next_in = (Bytef *)(uintptr_t)body.at;
    z.avail_in = (uInt)body.len;
    while (state == Z_OK) {
        if (out->len > REGISTRATION_INFLATED_MAX)
            break;
        z.next_out = buf_reserve(out, INFLATE_STEP);
        if (!z.next_out)
            break;
        z.avail_out = INFLATE_STEP;
        state = inflate(&z, Z_NO_FLUSH);
        out->len += INFLATE_STEP - z.avail_out;
    }
    inflateEnd(&z);
    if (out->failed)
        return err_set(err, -ENOMEM, "inflate a registration");
    if (out->len > REGISTRATION_INFLATED_MAX)
        return err_say(err, -EINVAL, "the compressed body is larger than %d bytes inside",
                       REGISTRATION_INFLATED_MAX);
    if (state != Z_STREAM_END)
        return err_say(err, -EINVAL, "the compressed body is not a whole zlib stream");
    return 0;
}

static struct bytes take_block(struct reader *in)
{
    return reader_take(in, reader_u32(in));
}

/* The next word of a topic's text: up to the next space, or to the end. */
static struct bytes take_word(struct bytes *text)
{
    const uint8_t *space = text->len ? memchr(text->at, ' ', text->len) : NULL;
    size_t len = space ? (size_t)(space - text->at) : text->len;
    struct bytes word = bytes_of(text->at, len);
    size_t used = space ? len + 1 : len;

    text->at += used;
    text->len -= used;
    return word;
}

/* "name readQueues writeQueues perm filterType" and, since 5.0, attributes. */
static int read_topic_text(struct bytes text, struct registration *out, struct err *err)
{
    struct bytes whole = text;
    struct route_topic_config topic = {.name = take_word(&text)};
    char name[NAME_SHOWN + 1];

    if (!bytes_to_i32(take_word(&text), &topic.read_queues) ||
        !bytes_to_i32(take_word(&text), &topic.write_queues) ||
        !bytes_to_i32(take_word(&text), &topic.perm))
        return err_say(err, -EINVAL,
                       "topic \"%s\": expected \"name readQueueNums writeQueueNums perm "
                       "filterType\"",
                       shown(whole, name));
    return add_topic(out, &topic, err);
}

static int decode_inflated(struct registration *out, struct err *err)
{
    struct reader in = reader_of(buf_bytes(&out->inflated));
    struct bytes version = take_block(&in);
    uint32_t count;
    int r;

    if (!in.bad && version.len > 0) {
        r = registration_version_decode(version, &out->version, err);
        if (r < 0)
            return r;
    }
    count = reader_u32(&in);
    for (uint32_t i = 0; i < count && !in.bad; i++) {
        struct bytes text = take_block(&in);

        r = in.bad ? 0 : read_topic_text(text, out, err);
        if (r < 0)
            return r;
    }
    if (!in.bad) {
        struct bytes filters = take_block(&in);

        r = in.bad || filters.len == 0 ? 0 : read_filter_text(filters, out, err);
        if (r < 0)
            return r;
    }
    if (in.bad)
        return err_say(err, -EINVAL, "the compressed body ends too early");
    return 0;
}

/* ---- outside ---- */

int registration_decode(struct bytes body, bool compressed, struct registration *out,
                        struct err *err)
{
    int r;

    *out = (struct registration){0};
    if (body.len == 0)
        return 0;
    /* 5.x brokers compress and say that they did not */
    if (!compressed && !is_zlib(body))
        return walk(body, "the body", read_body_member, out, err);
    r = inflate_body(body, &out->inflated, err);
    if (r < 0)
        return r;
    return decode_inflated(out, err);
}

void registration_destroy(struct registration *r)
{
    free(r->filters);
    free(r->topics);
    free(r->removed);
    json_decref(r->names);
    json_decref(r->filter_tree);
    buf_destroy(&r->inflated);
    *r = (struct registration){0};
}

int registration_version_decode(struct bytes body, struct route_version *out, struct err *err)
{
    json_t *tree;
    int r;

    *out = (struct route_version){0};
    if (body.len == 0)
        return 0;
    if (body.len > VERSION_TEXT_MAX)
        return err_say(err, -EINVAL, "dataVersion has %zu bytes, expected at most %d", body.len,
                       VERSION_TEXT_MAX);
    tree = json_dialect_load(body, err);
    if (!tree)
        return -EINVAL;
    r = read_version(tree, out, err);
    json_decref(tree);
    return r;
}

int registration_queues_decode(struct bytes body, struct bytes topic,
                               int (*each)(void *ctx, const struct route_topic_config *config,
                                           struct bytes group),
                               void *ctx, struct err *err)
{
    json_t *tree, *item;
    size_t i;
    int r = 0;

    if (body.len > QUEUES_TEXT_MAX)
        return err_say(err, -EINVAL, "the body has %zu bytes, expected at most %d", body.len,
                       QUEUES_TEXT_MAX);
    tree = json_dialect_load(body, err);
    if (!tree)
        return -EINVAL;
    if (!json_is_object(tree)) {
        json_decref(tree);
        return err_say(err, -EINVAL, "the body is not a JSON object");
    }
    json_array_foreach(json_object_get(tree, "queueDatas"), i, item)
    {
        struct route_topic_config config = {.name = topic};

        config.read_queues = read_i32(item, "readQueueNums");
        config.write_queues = read_i32(item, "writeQueueNums");
        config.perm = read_i32(item, "perm");
        config.sys_flag = read_i32(item, "topicSysFlag");
        r = check_topic(&config, err);
        if (r == 0)
            r = each(ctx, &config, json_get_str(item, "brokerName"));
        if (r != 0)
            break;
    }
    json_decref(tree);
    return r;
}
