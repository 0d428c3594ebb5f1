/* echo_reply.c - see echo_reply.h. */
#include "tools/echo_reply.h"

#include "broker/store/record.h"
#include "common/codes.h"

enum { STORED_OVERHEAD = 91, PORT = 10911 };

struct asked {
    int64_t queue;
    bool batch;
};

/* One walk, as the broker does it; both spellings. */
static struct asked read_fields(const struct remoting_frame *request)
{
    struct asked a = {.queue = 0};

    for (unsigned i = 0; i < request->field_count; i++) {
        const struct remoting_field *f = &request->fields[i];

        if (f->key.len == 1 && f->key.at[0] == 'e')
            bytes_to_i64(f->value, &a.queue);
        else if (f->key.len == 1 && f->key.at[0] == 'm')
            a.batch = bytes_to_bool(f->value);
        else if (bytes_is(f->key, "queueId"))
            bytes_to_i64(f->value, &a.queue);
    }
    return a;
}

static void put_ids(struct echo_state *s, struct remoting_writer *w, struct bytes body)
{
    static const struct record_host host = {.ip = {127, 0, 0, 1}, .port = PORT};
    char ids[33 * 1024 + RECORD_ID_MAX];
    struct reader in = reader_of(body);
    size_t len = 0;

    while (reader_left(&in) > 4 && len + RECORD_ID_MAX < sizeof(ids)) {
        uint32_t total = reader_u32(&in);

        if (total < 4)
            break;
        reader_take(&in, total - 4);
        if (in.bad)
            break;
        if (len)
            ids[len++] = ',';
        len += record_id_format(ids + len, &host, s->log_offset);
        s->log_offset += total + STORED_OVERHEAD;
        s->queue_offset++;
    }
    remoting_put(w, "msgId", bytes_of(ids, len));
}

static void put_id(struct echo_state *s, struct remoting_writer *w, size_t body_len)
{
    static const struct record_host host = {.ip = {127, 0, 0, 1}, .port = PORT};
    char id[RECORD_ID_MAX];
    size_t len = record_id_format(id, &host, s->log_offset);

    s->log_offset += (int64_t)(body_len + STORED_OVERHEAD);
    s->queue_offset++;
    remoting_put(w, "msgId", bytes_of(id, len));
}

static bool is_send(int32_t code)
{
    return code == REQUEST_SEND_MESSAGE || code == REQUEST_SEND_MESSAGE_V2 ||
           code == REQUEST_SEND_BATCH_MESSAGE;
}

void echo_reply(struct echo_state *s, const struct remoting_frame *request, struct buf *out)
{
    struct asked asked = read_fields(request);
    bool send = is_send(request->code), end = request->code == REQUEST_GET_MAX_OFFSET;
    int64_t first = s->queue_offset;
    struct remoting_writer w;
    struct remoting_meta meta = {
        .code = send || end ? RESPONSE_SUCCESS : RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
        .opaque = request->opaque,
        .flag = REMOTING_FLAG_RESPONSE,
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = request->serialize,
        .has_fields = send || end,
    };

    remoting_begin(&w, out, &meta);
    if (send) {
        remoting_put_i64(&w, "queueId", asked.queue);
        remoting_put_bool(&w, "TRACE_ON", true);
        remoting_put_str(&w, "MSG_REGION", "DefaultRegion");
        if (asked.batch)
            put_ids(s, &w, request->body);
        else
            put_id(s, &w, request->body.len);
        remoting_put_i64(&w, "queueOffset", first);
    } else if (end) {
        remoting_put_i64(&w, "offset", s->queue_offset);
    }
    remoting_end(&w);
}
