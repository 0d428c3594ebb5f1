/* ctl_send.c - ternctl send: one message, or each line of stdin, spread over the topic's queues.
 *
 * One message at a time, each answered before the next. Only a connection that could not be made is
 * tried elsewhere: a request that got no answer may have been stored, and is not sent twice.
 */
#include "tools/ternctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/store/record.h"
#include "common/clock.h"
#include "common/standard.h"
#include "tools/show.h"
#include "tools/unique_id.h"

enum {
    LINE_MAX_BYTES = 12 << 20, /* a broker's largest maxMessageSize */
    READ_BYTES = 64 * 1024,
    DELAY_LEVELS = 18,
    DEFAULT_QUEUES = 4, /* of a topic that a send makes, as other clients have it */
    PROPERTIES_MAX = 32767,
};
#define PRODUCER_GROUP "ternctl"
#define TEMPLATE_TOPIC "TBW102"

struct place {
    const struct route_broker *broker; /* borrowed from the route */
    int32_t queue;
};

struct sender {
    struct ctl *ctl;
    const char *topic;
    const char *tag, *keys;
    struct option_list properties;
    int64_t queue, delay_level;
    bool each; /* print every message, not only a summary */
    struct route route;
    bool makes_topic; /* the route is the template's */
    struct place *places;
    size_t place_count, next;
    bool *refused; /* by broker of the route: it took no connection for the message under way */
    struct unique_id ids;
    struct buf text; /* properties of the message under way */
    int64_t sent, not_safe;
};

/* ---- where to ---- */

static int collect_places(struct sender *s)
{
    size_t total = 0;

    for (size_t i = 0; i < s->route.count; i++)
        total += (size_t)s->route.brokers[i].write_queues;
    s->places = calloc(total + 1, sizeof(*s->places));
    s->refused = calloc(s->route.count + 1, sizeof(*s->refused));
    if (!s->places || !s->refused)
        return err_say(&s->ctl->err, TOOL_REFUSED, "out of memory");
    /* queue by queue over the brokers, so that neighbours differ in the broker */
    for (int32_t q = 0; s->place_count < total; q++) {
        bool more = false;

        for (size_t i = 0; i < s->route.count; i++) {
            const struct route_broker *b = &s->route.brokers[i];
            int32_t queues = b->write_queues;

            if (s->makes_topic && queues > DEFAULT_QUEUES)
                queues = DEFAULT_QUEUES;
            if (!b->serves || !(b->perm & ROUTE_WRITE) || !route_master(b) || q >= queues)
                continue;
            more = true;
            if (s->queue < 0 || s->queue == q)
                s->places[s->place_count++] = (struct place){b, q};
        }
        if (!more)
            break;
    }
    if (s->place_count > 0)
        return TOOL_DONE;
    if (s->queue >= 0)
        return err_say(&s->ctl->err, TOOL_NOT_FOUND,
                       "topic %s has no queue %lld that can be written to; ternctl route %s shows "
                       "its queues",
                       s->topic, (long long)s->queue, s->topic);
    return err_say(&s->ctl->err, TOOL_REFUSED,
                   "no queue of topic %s can be written to at the moment: no master is registered, "
                   "or it may only be read",
                   s->topic);
}

static int find_places(struct sender *s)
{
    struct err *err = &s->ctl->err;
    struct err missing;
    int r = client_route(s->ctl->client, s->topic, &s->route, err);

    if (r == TOOL_NOT_FOUND) {
        missing = *err;
        r = client_route(s->ctl->client, TEMPLATE_TOPIC, &s->route, err);
        s->makes_topic = r == TOOL_DONE;
        if (r == TOOL_NOT_FOUND)
            *err = missing;
    }
    return r == TOOL_DONE ? collect_places(s) : r;
}

/* ---- what ---- */

static bool reserved(struct bytes name)
{
    static const char *const names[] = {"TAGS",  "KEYS", "UNIQ_KEY",
                                        "DELAY", "WAIT", RECORD_CRC_NAME};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (bytes_is(name, names[i]))
            return true;
    }
    return false;
}

static bool has_separator(struct bytes text)
{
    return memchr(text.at, 1, text.len) || memchr(text.at, 2, text.len);
}

static int check_value(struct sender *s, const char *option, const char *value)
{
    if (!value || (*value && !has_separator(bytes_str(value)) && bytes_is_utf8(bytes_str(value))))
        return TOOL_DONE;
    return err_say(&s->ctl->err, TOOL_USAGE,
                   "--%s: empty, not UTF-8, or with one of the bytes 1 and 2 in it", option);
}

static int check_properties(struct sender *s)
{
    for (unsigned i = 0; i < s->properties.count; i++) {
        const char *item = s->properties.items[i];
        const char *equals = strchr(item, '=');
        struct bytes name = bytes_of(item, equals ? (size_t)(equals - item) : 0);

        if (name.len == 0 || equals[1] == '\0' || has_separator(bytes_str(item)) ||
            !bytes_is_utf8(bytes_str(item)))
            return err_say(&s->ctl->err, TOOL_USAGE,
                           "--property %s: expected NAME=VALUE, neither of them empty", item);
        if (reserved(name))
            return err_say(&s->ctl->err, TOOL_USAGE,
                           "--property %s: this name belongs to the protocol; see --tag, --key and "
                           "--delay-level",
                           item);
    }
    return TOOL_DONE;
}

static void add_property(struct buf *text, struct bytes name, struct bytes value)
{
    if (text->len)
        buf_add_u8(text, 2);
    buf_add(text, name.at, name.len);
    buf_add_u8(text, 1);
    buf_add(text, value.at, value.len);
}

/* With a closing NUL. */
static void build_properties(struct sender *s, const char *id)
{
    char level[8];

    buf_reset(&s->text);
    add_property(&s->text, BYTES_LIT("UNIQ_KEY"), bytes_str(id));
    add_property(&s->text, BYTES_LIT("WAIT"), BYTES_LIT("true"));
    if (s->tag)
        add_property(&s->text, BYTES_LIT("TAGS"), bytes_str(s->tag));
    if (s->keys)
        add_property(&s->text, BYTES_LIT("KEYS"), bytes_str(s->keys));
    if (s->delay_level > 0) {
        snprintf(level, sizeof(level), "%d", (int)s->delay_level);
        add_property(&s->text, BYTES_LIT("DELAY"), bytes_str(level));
    }
    for (unsigned i = 0; i < s->properties.count; i++) {
        const char *item = s->properties.items[i];
        size_t name = strcspn(item, "=");

        add_property(&s->text, bytes_of(item, name), bytes_str(item + name + 1));
    }
    buf_add_u8(&s->text, 0);
}

/* ---- sending ---- */

static void print_sent(struct sender *s, const struct place *place, const char *id,
                       const struct remoting_frame *reply)
{
    int64_t offset = -1;
    int32_t queue = place->queue;
    struct json_out j;

    remoting_get_i64(reply, "queueOffset", &offset);
    remoting_get_i32(reply, "queueId", &queue);
    const struct bytes *offset_id = remoting_field(reply, "msgId");
    if (!s->each && !s->ctl->json)
        return;
    if (!s->ctl->json) {
        buf_addf(&s->ctl->out, "sent to %s queue %d offset %lld, id %s%s\n", place->broker->name,
                 queue, (long long)offset, id, s->delay_level > 0 ? " (delayed)" : "");
        return;
    }
    jout_begin(&j, &s->ctl->out);
    jout_object(&j);
    jout_kv_str(&j, "topic", s->topic);
    jout_kv_str(&j, "broker", place->broker->name);
    jout_kv_i64(&j, "queue", queue);
    jout_kv_i64(&j, "offset", offset);
    jout_kv_str(&j, "msgId", id);
    jout_kv_bytes(&j, "offsetMsgId", offset_id ? *offset_id : BYTES_LIT(""));
    jout_kv_i64(&j, "code", reply->code);
    jout_kv_str(&j, "status", reply->code == RESPONSE_SUCCESS ? "SEND_OK" : show_code(reply->code));
    jout_object_end(&j);
    buf_add_u8(&s->ctl->out, '\n');
}

static bool is_stored(int32_t code)
{
    return code == RESPONSE_SUCCESS || code == RESPONSE_FLUSH_DISK_TIMEOUT ||
           code == RESPONSE_SLAVE_NOT_AVAILABLE || code == RESPONSE_FLUSH_SLAVE_TIMEOUT;
}

/* *connected is false when nothing can have left. */
static int send_to(struct sender *s, const struct place *place, const char *id, struct bytes body,
                   struct remoting_frame *reply, bool *connected)
{
    char queue[16], born[24], whom[192], doing[192];
    const struct rpc_field fields[] = {
        {"a", PRODUCER_GROUP},
        {"b", s->topic},
        {"c", TEMPLATE_TOPIC},
        {"d", "4"},
        {"e", queue},
        {"f", "0"},
        {"g", born},
        {"h", "0"},
        {"i", (const char *)buf_at(&s->text)},
        {"j", "0"},
        {"k", "false"},
        {"m", "false"},
    };
    struct rpc_request request = {.code = REQUEST_SEND_MESSAGE_V2,
                                  .fields = fields,
                                  .field_count = sizeof(fields) / sizeof(fields[0]),
                                  .body = body};
    int r;

    snprintf(queue, sizeof(queue), "%d", place->queue);
    snprintf(born, sizeof(born), "%lld", (long long)clock_wall_ms());
    snprintf(whom, sizeof(whom), "broker %.120s", place->broker->name);
    snprintf(doing, sizeof(doing), "send to topic %s", s->topic);
    r = client_call(s->ctl->client, route_master(place->broker), whom, &request, reply,
                    &s->ctl->err);
    *connected = r != TOOL_UNREACHABLE || !client_was_refused_connection(s->ctl->client);
    if (r != TOOL_DONE)
        return r;
    if (!is_stored(reply->code))
        return client_refused(route_master(place->broker), whom, doing, reply, &s->ctl->err);
    if (reply->code != RESPONSE_SUCCESS && s->not_safe++ == 0)
        ctl_note("message %s is stored, but not as safely as asked for: %s at %s says %s", id, whom,
                 route_master(place->broker), show_code(reply->code));
    return TOOL_DONE;
}

static int send_one(struct sender *s, struct bytes body)
{
    char id[UNIQUE_ID_DIGITS + 1];
    struct remoting_frame reply;
    int r = TOOL_REFUSED;

    unique_id_next(&s->ids, clock_wall_ms(), id);
    build_properties(s, id);
    if (s->text.failed)
        return err_say(&s->ctl->err, TOOL_REFUSED, "out of memory");
    if (s->text.len > PROPERTIES_MAX)
        return err_say(&s->ctl->err, TOOL_USAGE, "the properties have more than %d bytes together",
                       PROPERTIES_MAX);
    memset(s->refused, 0, s->route.count * sizeof(*s->refused));
    for (size_t tries = 0; tries < s->place_count; tries++) {
        const struct place *place = &s->places[s->next];
        bool connected, *refused = &s->refused[place->broker - s->route.brokers];

        s->next = (s->next + 1) % s->place_count;
        if (*refused) /* its other queues are no better */
            continue;
        r = send_to(s, place, id, body, &reply, &connected);
        if (r == TOOL_DONE) {
            if (s->sent++ == 0 && s->makes_topic)
                ctl_note("there was no topic %s; it is made by its first message", s->topic);
            print_sent(s, place, id, &reply);
        }
        if (connected)
            break;
        *refused = true;
    }
    return r;
}

/* ---- stdin ---- */

static int flush_output(struct sender *s)
{
    int r = standard_write(&s->ctl->out);

    if (r == 0)
        return TOOL_DONE;
    return err_say(&s->ctl->err, TOOL_REFUSED, "write to stdout: %s; %lld messages were sent",
                   strerror(-r), (long long)s->sent);
}

static int send_whole_lines(struct sender *s, struct buf *in, bool end)
{
    int r = TOOL_DONE;

    while (in->len && r == TOOL_DONE) {
        const uint8_t *line = buf_at(in);
        const uint8_t *newline = memchr(line, '\n', in->len);
        size_t len = newline ? (size_t)(newline - line) : in->len;

        if (!newline && !end && in->len <= LINE_MAX_BYTES)
            break;
        if (len > LINE_MAX_BYTES)
            return err_say(&s->ctl->err, TOOL_REFUSED, "line %lld has more than %d bytes",
                           (long long)s->sent + 1, LINE_MAX_BYTES);
        r = send_one(s, bytes_of(line, len));
        buf_consume(in, len + (newline ? 1 : 0));
    }
    return r;
}

static int send_lines(struct sender *s)
{
    struct buf in = {0};
    int r = TOOL_DONE;
    bool end = false;

    while (r == TOOL_DONE && !end) {
        uint8_t *to = buf_reserve(&in, READ_BYTES);
        ssize_t n;

        if (!to) {
            r = err_say(&s->ctl->err, TOOL_REFUSED, "out of memory");
            break;
        }
        n = read(STDIN_FILENO, to, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = err_say(&s->ctl->err, TOOL_REFUSED, "read stdin: %s", strerror(errno));
            break;
        }
        end = n == 0;
        in.len += (size_t)n;
        r = send_whole_lines(s, &in, end);
        if (r == TOOL_DONE)
            r = flush_output(s);
    }
    buf_destroy(&in);
    return r;
}

static int send_all(struct sender *s, const char *message)
{
    int64_t start_ms = clock_mono_ms();
    int r;

    if (message)
        return send_one(s, bytes_str(message));
    r = send_lines(s);
    if (!s->each && !s->ctl->json && (r == TOOL_DONE || s->sent))
        buf_addf(&s->ctl->out, "%lld %s sent to topic %s in %.2f s\n", (long long)s->sent,
                 s->sent == 1 ? "message" : "messages", s->topic,
                 (double)(clock_mono_ms() - start_ms) / 1000);
    return r;
}

int ctl_send(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
    struct sender s = {.ctl = ctl, .queue = -1};
    const struct option_spec specs[] = {
        {"tag", 't', OPTION_TEXT, &s.tag, "TAG", "the tag that consumers may select by", 0, 0},
        {"key", 'k', OPTION_TEXT, &s.keys, "KEYS", "key to find it by; several with spaces", 0, 0},
        {"property", 'p', OPTION_LIST, &s.properties, "NAME=VALUE", "a property; may be repeated",
         0, 0},
        {"queue", 0, OPTION_NUMBER, &s.queue, "N", "only to this queue; default: all in turn", 0,
         INT32_MAX},
        {"delay-level", 0, OPTION_NUMBER, &s.delay_level, "N",
         "delivered later: 1 to 18 for 1s 5s 10s 30s 1m 2m ... 10m 20m 30m 1h 2h", 1, DELAY_LEVELS},
        CTL_COMMON_OPTIONS(ctl),
    };
    int n = 0;
    int r = ctl_parse(ctl, command, specs, sizeof(specs) / sizeof(specs[0]), argc, argv, 1, 2, &n);

    if (r != CTL_GO_ON)
        return r;
    s.topic = argv[0];
    s.each = n == 2 || isatty(STDIN_FILENO);
    r = client_check_topic(s.topic, &ctl->err);
    if (r == TOOL_DONE)
        r = check_value(&s, "tag", s.tag);
    if (r == TOOL_DONE)
        r = check_value(&s, "key", s.keys);
    if (r == TOOL_DONE)
        r = check_properties(&s);
    if (r == TOOL_DONE)
        r = find_places(&s);
    if (r == TOOL_DONE) {
        unique_id_init(&s.ids);
        s.next = (size_t)clock_mono_ns() % s.place_count; /* single sends, too, use all queues */
        r = send_all(&s, n == 2 ? argv[1] : NULL);
    }
    if (r == TOOL_DONE && s.not_safe)
        r = err_say(&ctl->err, TOOL_REFUSED,
                    "%lld of %lld messages are stored, but were not "
                    "confirmed as asked for",
                    (long long)s.not_safe, (long long)s.sent);
    free(s.places);
    free(s.refused);
    route_destroy(&s.route);
    buf_destroy(&s.text);
    return r;
}
