/* message.c - see message.h. */
#include "tools/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <zlib.h>

#include "broker/store/properties.h"
#include "tools/show.h"
#include "tools/tags.h"

enum { COMPRESSION_MASK = 0x700, COMPRESSION_ZLIB = 0x300, CHUNK = 64 * 1024 };

/* 0; 1: not zlib, damaged, or larger than MESSAGE_BODY_MAX; -ENOMEM. */
static int unpack(struct bytes in, struct buf *out)
{
    z_stream z = {.next_in = NULL};
    int r = Z_OK;

    if (in.len > UINT32_MAX || inflateInit(&z) != Z_OK)
        return 1;
    z.next_in =
        (Bytef *)(uintptr_t)in.at; /* zlib's type lacks the const; it does not write there */
    z.avail_in = (uInt)in.len;
    buf_reset(out);
    while (r == Z_OK && out->len < MESSAGE_BODY_MAX) {
        uint8_t *to = buf_reserve(out, CHUNK);

        if (!to) {
            inflateEnd(&z);
            return -ENOMEM;
        }
        z.next_out = to;
        z.avail_out = CHUNK;
        r = inflate(&z, Z_NO_FLUSH);
        out->len += CHUNK - z.avail_out;
        if (r == Z_BUF_ERROR || (r == Z_OK && z.avail_in == 0 && z.avail_out > 0))
            break; /* the stream ends too early */
    }
    inflateEnd(&z);
    return r == Z_STREAM_END ? 0 : 1;
}

int message_view(struct message_view *out, const struct record *record, struct buf *unpacked)
{
    int32_t kind = record->sys_flag & COMPRESSION_MASK;

    *out = (struct message_view){
        .record = *record,
        .tags = properties_find(record->properties, BYTES_LIT("TAGS")),
        .keys = properties_find(record->properties, BYTES_LIT("KEYS")),
        .unique_key = properties_find(record->properties, BYTES_LIT("UNIQ_KEY")),
        .body = record->body,
    };
    record_id_format(out->id, &record->store_host, record->log_offset);
    if (!(record->sys_flag & RECORD_COMPRESSED))
        return 0;
    out->packed = true;
    if (kind != 0 && kind != COMPRESSION_ZLIB)
        return 0;
    int r = unpack(record->body, unpacked);
    if (r < 0)
        return r;
    if (r == 0) {
        out->body = buf_bytes(unpacked);
        out->packed = false;
    }
    return 0;
}

void message_text(const struct message_view *m, const char *broker, bool verbose, struct buf *out)
{
    char time[SHOW_TIME_MAX];

    if (verbose) {
        buf_addf(out, "%s  %s %d @%lld  ", show_time(time, m->record.store_ms), broker,
                 m->record.queue_id, (long long)m->record.queue_offset);
        buf_add_str(out, "tag=");
        show_text(out, m->tags, false);
        buf_add_str(out, " keys=");
        show_text(out, m->keys, false);
        buf_add_str(out, "  ");
    }
    if (m->packed)
        buf_addf(out, "(compressed body of %zu bytes that cannot be unpacked)", m->body.len);
    else
        show_text(out, m->body, true);
    buf_add_u8(out, '\n');
}

static void host_json(struct json_out *j, const char *key, const struct record_host *host)
{
    char ip[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 16];

    inet_ntop(host->v6 ? AF_INET6 : AF_INET, host->ip, ip, sizeof(ip));
    snprintf(text, sizeof(text), host->v6 ? "[%s]:%d" : "%s:%d", ip, host->port);
    jout_kv_str(j, key, text);
}

static void optional(struct json_out *j, const char *key, struct bytes text)
{
    jout_key(j, key);
    if (text.len)
        jout_bytes(j, text);
    else
        jout_null(j);
}

static void properties_json(struct json_out *j, struct bytes properties)
{
    struct bytes name, value;
    size_t at = 0;

    jout_key(j, "properties");
    jout_object(j);
    while (properties_next(properties, &at, &name, &value)) {
        if (bytes_is(name, RECORD_CRC_NAME))
            continue; /* the store's own */
        jout_key_bytes(j, name);
        jout_bytes(j, value);
    }
    jout_object_end(j);
}

void message_members(struct json_out *j, const struct message_view *m, const char *broker,
                     bool place)
{
    const struct record *r = &m->record;

    jout_kv_bytes(j, "topic", r->topic);
    if (broker)
        jout_kv_str(j, "broker", broker);
    if (place) {
        jout_kv_i64(j, "logOffset", r->log_offset);
        jout_kv_i64(j, "size", r->total_size);
        jout_kv_i64(j, "sysFlag", r->sys_flag);
    }
    jout_kv_i64(j, "queue", r->queue_id);
    jout_kv_i64(j, "offset", r->queue_offset);
    jout_kv_bytes(j, "msgId", m->unique_key.len ? m->unique_key : bytes_str(m->id));
    jout_kv_str(j, "offsetMsgId", m->id);
    optional(j, "tag", m->tags);
    optional(j, "keys", m->keys);
    properties_json(j, r->properties);
    jout_kv_i64(j, "bornTimestamp", r->born_ms);
    host_json(j, "bornHost", &r->born_host);
    jout_kv_i64(j, "storeTimestamp", r->store_ms);
    host_json(j, "storeHost", &r->store_host);
    jout_kv_i64(j, "reconsumeTimes", r->reconsume_times);
    jout_kv_i64(j, "flag", r->flag);
    if (!m->packed && bytes_is_utf8(m->body)) {
        jout_kv_bytes(j, "body", m->body);
    } else {
        struct buf text = {0};

        show_base64(&text, m->body);
        jout_kv_bytes(j, m->packed ? "packedBodyBase64" : "bodyBase64", buf_bytes(&text));
        j->out->failed |= text.failed;
        buf_destroy(&text);
    }
}

void message_json(const struct message_view *m, const char *broker, struct buf *out)
{
    struct json_out j;

    jout_begin(&j, out);
    jout_object(&j);
    message_members(&j, m, broker, !broker);
    jout_object_end(&j);
    buf_add_u8(out, '\n');
}

bool message_has_tag(const struct message_view *m, const char *expression)
{
    struct bytes tag;
    size_t at = 0;

    if (tags_take_all(expression))
        return true;
    while (tags_next(expression, &at, &tag)) {
        if (bytes_equal(tag, m->tags))
            return true;
    }
    return false;
}
