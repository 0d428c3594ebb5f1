/* frames.c - see frames.h. */
#include "tools/frames.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/codes.h"

enum { ID_DIGITS = 12 };
/* Cannot be a part of a body (lower case only) or of a topic's name next to it. */
#define ID_ORIGIN "7F00000100015445524E"
#define ID_START "000000000000"
#define BORN_START "1000000000000"
#define OPAQUE_START "1000000000"

static const char item_properties[] = "UNIQ_KEY\001" ID_ORIGIN ID_START "\002WAIT\001true";

static void add_body(struct buf *out, size_t size)
{
    uint32_t state = 12345;

    for (size_t i = 0; i < size; i++) {
        state = state * 1103515245u + 12345u;
        buf_add_u8(out, (uint8_t)('a' + (state >> 16) % 26));
    }
}

static void add_batch(struct buf *out, const struct frame_spec *spec)
{
    size_t properties = sizeof(item_properties) - 1;

    for (unsigned i = 0; i < spec->batch; i++) {
        buf_add_be32(out, (uint32_t)(22 + spec->body_bytes + properties));
        buf_add_be32(out, 0); /* magic and body CRC are not used here */
        buf_add_be32(out, 0);
        buf_add_be32(out, 0);
        buf_add_be32(out, (uint32_t)spec->body_bytes);
        add_body(out, spec->body_bytes);
        buf_add_be16(out, (uint16_t)properties);
        buf_add(out, item_properties, properties);
    }
}

static void encode(struct buf *out, const struct frame_spec *spec, const char *topic)
{
    bool batch = spec->batch > 1;
    struct remoting_writer w;
    struct remoting_meta meta = {
        .code = batch ? REQUEST_SEND_BATCH_MESSAGE : REQUEST_SEND_MESSAGE_V2,
        .opaque = FRAME_OPAQUE_BASE,
        .flag = spec->oneway ? REMOTING_FLAG_ONEWAY : 0,
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = spec->serialize,
        .has_fields = true,
    };

    remoting_begin(&w, out, &meta);
    remoting_put_str(&w, "a", "tern-bench");
    remoting_put_str(&w, "b", topic);
    remoting_put_str(&w, "c", "TBW102");
    remoting_put_i64(&w, "d", 4);
    remoting_put_i64(&w, "e", spec->queue);
    remoting_put_i64(&w, "f", 0);
    remoting_put_str(&w, "g", BORN_START);
    remoting_put_i64(&w, "h", 0);
    if (!batch)
        remoting_put_str(&w, "i", item_properties);
    remoting_put_i64(&w, "j", 0);
    remoting_put_bool(&w, "k", false);
    remoting_put_bool(&w, "m", batch);
    remoting_body(&w);
    if (batch)
        add_batch(out, spec);
    else
        add_body(out, spec->body_bytes);
    remoting_end(&w);
}

/* Where `text` begins at or after `from`, or where it last does; it is there, by construction. */
static size_t place_of(const struct buf *in, size_t from, const char *text, bool last)
{
    const uint8_t *start = buf_at(in);
    const uint8_t *end = start + in->len;
    const uint8_t *found = NULL, *next = start + from;

    do {
        next = memmem(next, (size_t)(end - next), text, strlen(text));
        found = next ? next++ : found;
    } while (last && next);
    assert(found);
    return (size_t)(found - start);
}

/* A topic may look like any of the digits, so they are sought behind it. `topic`: of numbered ones.
 */
static void find_places(struct frame_template *t, const char *topic)
{
    const uint8_t *bytes = buf_at(&t->bytes);
    size_t at = 8 + (load_be32(bytes + 4) & 0xffffff); /* the body */

    t->opaque_at = 13; /* binary: behind lengths, code, language, version */
    if (t->serialize == REMOTING_JSON) {
        t->opaque_at = place_of(&t->bytes, 8, "\"opaque\":", false) + 9;
        assert(memcmp(bytes + t->opaque_at, OPAQUE_START, strlen(OPAQUE_START)) == 0);
    }
    t->born_at = place_of(&t->bytes, 8, BORN_START, true);
    if (topic)
        t->topic_at = place_of(&t->bytes, 8, topic, false) + strlen(topic) - FRAME_TOPIC_DIGITS;
    if (t->batch == 1) {
        t->ids_at[0] = place_of(&t->bytes, 8, ID_ORIGIN ID_START, true) + strlen(ID_ORIGIN);
        return;
    }
    for (unsigned i = 0; i < t->batch; i++) {
        at = place_of(&t->bytes, at, ID_ORIGIN ID_START, false) + strlen(ID_ORIGIN);
        t->ids_at[i] = at;
    }
}

bool frame_topic_name(char *to, size_t to_size, const char *topic, uint32_t number)
{
    int n = snprintf(to, to_size, "%s_%0*u", topic, FRAME_TOPIC_DIGITS, number);

    assert(number < FRAME_TOPICS_MAX);
    return n > 0 && (size_t)n < to_size;
}

int frame_template_make(struct frame_template *t, const struct frame_spec *spec)
{
    char name[256];

    assert(spec->batch >= 1 && spec->batch <= FRAME_BATCH_MAX);
    *t = (struct frame_template){.serialize = spec->serialize, .batch = spec->batch};
    if (spec->body_bytes > REMOTING_FRAME_MAX / spec->batch)
        return -EMSGSIZE;
    if (spec->numbered && !frame_topic_name(name, sizeof(name), spec->topic, 0))
        return -EMSGSIZE;
    encode(&t->bytes, spec, spec->numbered ? name : spec->topic);
    t->ids_at = calloc(spec->batch, sizeof(*t->ids_at));
    if (t->bytes.failed || !t->ids_at) {
        int r = t->ids_at ? -EMSGSIZE : -ENOMEM;

        frame_template_destroy(t);
        return r;
    }
    find_places(t, spec->numbered ? name : NULL);
    return 0;
}

void frame_template_destroy(struct frame_template *t)
{
    buf_destroy(&t->bytes);
    free(t->ids_at);
    *t = (struct frame_template){.batch = 0};
}

static void put_opaque(uint8_t *at, const struct frame_template *t, uint32_t slot)
{
    uint32_t opaque = FRAME_OPAQUE_BASE + slot;

    if (t->serialize == REMOTING_BINARY) {
        store_be32(at, opaque);
        return;
    }
    for (int i = 9; i >= 0; i--) {
        at[i] = (uint8_t)('0' + opaque % 10);
        opaque /= 10;
    }
}

static void put_id(uint8_t *at, uint64_t id)
{
    static const char digits[] = "0123456789ABCDEF";

    for (int i = ID_DIGITS - 1; i >= 0; i--) {
        at[i] = (uint8_t)digits[id & 15];
        id >>= 4;
    }
}

bool frame_add(struct buf *out, const struct frame_template *t, uint32_t slot, uint64_t *next_id,
               const char born[FRAME_BORN_DIGITS])
{
    uint8_t *to = buf_reserve(out, t->bytes.len);

    assert(slot < FRAME_SLOTS_MAX);
    if (!to)
        return false;
    memcpy(to, buf_at(&t->bytes), t->bytes.len);
    out->len += t->bytes.len;
    put_opaque(to + t->opaque_at, t, slot);
    memcpy(to + t->born_at, born, FRAME_BORN_DIGITS);
    for (unsigned i = 0; i < t->batch; i++)
        put_id(to + t->ids_at[i], (*next_id)++);
    return true;
}

void frame_set_topic(struct buf *out, const struct frame_template *t, uint32_t topic)
{
    uint8_t *at = (uint8_t *)buf_at(out) + out->len - t->bytes.len + t->topic_at;

    assert(topic < FRAME_TOPICS_MAX && t->topic_at > 0);
    for (int i = FRAME_TOPIC_DIGITS - 1; i >= 0; i--) {
        at[i] = (uint8_t)('0' + topic % 10);
        topic /= 10;
    }
}

void frame_born(char to[FRAME_BORN_DIGITS], int64_t ms)
{
    for (int i = FRAME_BORN_DIGITS - 1; i >= 0; i--) {
        to[i] = (char)('0' + ms % 10);
        ms /= 10;
    }
}

void frame_add_max_offset(struct buf *out, const char *topic, int32_t queue, uint32_t slot,
                          uint8_t serialize)
{
    struct remoting_writer w;
    struct remoting_meta meta = {
        .code = REQUEST_GET_MAX_OFFSET,
        .opaque = (int32_t)(FRAME_OPAQUE_BASE + slot),
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = serialize,
        .has_fields = true,
    };

    remoting_begin(&w, out, &meta);
    remoting_put_str(&w, "topic", topic);
    remoting_put_i64(&w, "queueId", queue);
    remoting_end(&w);
}
