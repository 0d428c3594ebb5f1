/* call.c - answering one request: see call.h. */
#include "broker/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/registrar.h"
#include "common/log.h"

enum call_result call_answer_i64(struct call *call, const char *name, int64_t value)
{
    struct remoting_writer w;

    call_begin(call, &w, RESPONSE_SUCCESS, true);
    remoting_put_i64(&w, name, value);
    remoting_end(&w);
    return CALL_DONE;
}

void reply_begin(struct remoting_writer *w, struct buf *out, const struct reply_to *to,
                 int32_t code, struct bytes remark, bool with_fields)
{
    struct remoting_meta meta = {
        .code = code,
        .opaque = to->opaque,
        .flag = REMOTING_FLAG_RESPONSE,
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = to->serialize,
        .has_fields = with_fields,
        .remark = remark,
    };

    remoting_begin(w, out, &meta);
}

void call_begin(struct call *call, struct remoting_writer *w, int32_t code, bool with_fields)
{
    reply_begin(w, call->out, &call->to, code, bytes_of(NULL, 0), with_fields);
}

enum call_result call_ok(struct call *call)
{
    return call_body(call, bytes_of(NULL, 0));
}

enum call_result call_body(struct call *call, struct bytes body)
{
    struct remoting_writer w;

    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    buf_add(call->out, body.at, body.len);
    remoting_end(&w);
    return CALL_DONE;
}

__attribute__((format(printf, 4, 0))) static void
write_error(struct call *call, int32_t code, bool with_fields, const char *format, va_list args)
{
    char remark[640];
    struct remoting_writer w;

    vsnprintf(remark, sizeof(remark), format, args);
    reply_begin(&w, call->out, &call->to, code, bytes_str(remark), with_fields);
    remoting_end(&w);
}

enum call_result call_error(struct call *call, int32_t code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_error(call, code, false, format, args);
    va_end(args);
    return CALL_DONE;
}

enum call_result call_refuse(struct call *call, int32_t code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_error(call, code, true, format, args);
    va_end(args);
    return CALL_DONE;
}

struct safe_text safe_text_of(struct bytes b)
{
    struct safe_text s;
    size_t at = 0;

    for (size_t i = 0; i < b.len; i++) {
        if (at + 8 > sizeof(s.text)) {
            memcpy(s.text + at, "...", 3);
            at += 3;
            break;
        }
        if (b.at[i] >= 0x20 && b.at[i] < 0x7f)
            s.text[at++] = (char)b.at[i];
        else
            at += (size_t)snprintf(s.text + at, 5, "\\x%02x", b.at[i]);
    }
    s.text[at] = '\0';
    return s;
}

bool call_need_str(struct call *call, const char *key, struct bytes *out)
{
    const struct bytes *value = remoting_field(call->frame, key);

    if (!value || value->len == 0) {
        call_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is missing", key);
        return false;
    }
    *out = *value;
    return true;
}

static bool field_number(struct call *call, const char *key, int result)
{
    const struct bytes *value;

    if (result == 0)
        return true;
    value = remoting_field(call->frame, key);
    if (result == REMOTING_ABSENT || !value)
        call_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is missing", key);
    else
        call_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is not a number: \"%s\"", key,
                   SAFE(*value));
    return false;
}

bool call_need_i32(struct call *call, const char *key, int32_t *out)
{
    return field_number(call, key, remoting_get_i32(call->frame, key, out));
}

bool call_need_i64(struct call *call, const char *key, int64_t *out)
{
    return field_number(call, key, remoting_get_i64(call->frame, key, out));
}

bool call_opt_i64(struct call *call, const char *key, int64_t *out, int64_t fallback)
{
    int result = remoting_get_i64(call->frame, key, out);

    if (result == REMOTING_ABSENT) {
        *out = fallback;
        return true;
    }
    return field_number(call, key, result);
}

void broker_send(struct broker *b, conn_id conn, struct bytes frame)
{
    int r = conn_send(b->loops, b->loop_count, conn, frame);

    if (r < 0 && r != -ENOENT && r != -ESHUTDOWN)
        log_warn_limited("mailbox", "could not pass a frame to its connection: %s", strerror(-r));
}

void call_peer_host(const struct call *call, struct record_host *host)
{
    *host = (struct record_host){.v6 = false};
    if (call->peer.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&call->peer;

        memcpy(host->ip, &in->sin_addr, 4);
        host->port = ntohs(in->sin_port);
    } else if (call->peer.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&call->peer;

        host->port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            memcpy(host->ip, in6->sin6_addr.s6_addr + 12, 4);
        } else {
            host->v6 = true;
            memcpy(host->ip, &in6->sin6_addr, 16);
        }
    }
}
