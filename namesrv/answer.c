/* answer.c - what goes back: always in the serialization of the request, never to a one-way one. */
#include "namesrv/namesrv_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "namesrv/registration.h"

enum { REMARK_MAX = 1024 };

static bool begin(struct conn *c, const struct asker *asker, struct remoting_writer *w,
                  int32_t code, bool has_fields, const char *remark)
{
    struct remoting_meta meta = {
        .code = code,
        .opaque = asker->opaque,
        .flag = REMOTING_FLAG_RESPONSE,
        .version = REMOTING_VERSION,
        .language = REMOTING_JAVA,
        .serialize = asker->serialize,
        .has_fields = has_fields,
        .remark = bytes_str(remark),
    };

    if (asker->oneway)
        return false;
    remoting_begin(w, conn_out(c), &meta);
    return true;
}

static void end(struct conn *c, struct remoting_writer *w)
{
    remoting_end(w);
    if (conn_out(c)->failed)
        conn_close(c, "no memory for an answer");
    else
        conn_written(c);
}

struct asker ns_asker(const struct request *rq)
{
    return (struct asker){.conn = conn_id_of(rq->conn),
                          .opaque = rq->frame->opaque,
                          .serialize = rq->frame->serialize,
                          .oneway = remoting_is_oneway(rq->frame)};
}

bool ns_answer_begin(const struct request *rq, struct remoting_writer *w, int32_t code,
                     bool has_fields, const char *remark)
{
    struct asker asker = ns_asker(rq);

    return begin(rq->conn, &asker, w, code, has_fields, remark);
}

struct buf *ns_answer_out(const struct request *rq)
{
    return conn_out(rq->conn);
}

void ns_answer_end(const struct request *rq, struct remoting_writer *w)
{
    end(rq->conn, w);
}

void ns_answer(const struct request *rq, int32_t code, const char *remark_format, ...)
{
    struct remoting_writer w;
    char remark[REMARK_MAX] = "";
    va_list args;

    if (remark_format) {
        va_start(args, remark_format);
        vsnprintf(remark, sizeof(remark), remark_format, args);
        va_end(args);
    }
    if (ns_answer_begin(rq, &w, code, false, remark))
        ns_answer_end(rq, &w);
}

void ns_answer_later(struct namesrv *ns, const struct asker *asker, int32_t code,
                     const char *remark)
{
    struct conn *c = loop_conn(ns->loop, asker->conn);
    struct remoting_writer w;

    if (c && begin(c, asker, &w, code, false, remark))
        end(c, &w);
}

/* ---- fields ---- */

struct bytes ns_take_text(const struct request *rq, const char *field)
{
    const struct bytes *value = remoting_field(rq->frame, field);

    return value ? *value : (struct bytes){0};
}

bool ns_need_text(const struct request *rq, const char *field, struct bytes *out)
{
    *out = ns_take_text(rq, field);
    if (out->len > 0)
        return true;
    ns_answer(rq, RESPONSE_SYSTEM_ERROR, "the header field %s is missing", field);
    return false;
}

bool ns_need_name(const struct request *rq, const char *field, size_t max, struct bytes *out)
{
    if (!ns_need_text(rq, field, out))
        return false;
    if (registration_name_ok(*out, max))
        return true;
    ns_answer(rq, RESPONSE_SYSTEM_ERROR,
              "%s has %zu bytes; expected 1 to %zu bytes of UTF-8 without control characters",
              field, out->len, max);
    return false;
}

bool ns_need_address(const struct request *rq, const char *field, struct bytes *out)
{
    if (!ns_need_text(rq, field, out))
        return false;
    if (registration_address_ok(*out))
        return true;
    ns_answer(rq, RESPONSE_SYSTEM_ERROR, "%s is %.*s, expected host:port", field,
              (int)(out->len < ROUTE_ADDRESS_MAX ? out->len : ROUTE_ADDRESS_MAX),
              (const char *)out->at);
    return false;
}

static bool complain_number(const struct request *rq, const char *field, const char *expected)
{
    struct bytes found = ns_take_text(rq, field);

    ns_answer(rq, RESPONSE_SYSTEM_ERROR, "%s is %.*s, expected %s", field,
              (int)(found.len < 64 ? found.len : 64), (const char *)found.at, expected);
    return false;
}

bool ns_need_i64(const struct request *rq, const char *field, int64_t *out)
{
    struct bytes text;

    if (!ns_need_text(rq, field, &text))
        return false;
    return remoting_get_i64(rq->frame, field, out) == 0 ||
           complain_number(rq, field, "a whole number");
}

bool ns_take_i64(const struct request *rq, const char *field, int64_t min, int64_t max,
                 int64_t *out)
{
    char expected[96];
    int64_t value;
    int r = remoting_get_i64(rq->frame, field, &value);

    if (r == REMOTING_ABSENT)
        return true;
    if (r == 0 && value >= min && value <= max) {
        *out = value;
        return true;
    }
    snprintf(expected, sizeof(expected), "%" PRId64 " to %" PRId64, min, max);
    return complain_number(rq, field, expected);
}
