/* forward_frame.c - see forward_frame.h. */
#include "broker/forward_frame.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/forward.h"
#include "common/dial.h"

/* "hops ip:port" */
bool forward_mark_read(struct bytes value, int32_t *hops, struct record_host *host)
{
    struct dial_address a;
    char text[FORWARD_MARK_TEXT];
    char *address;

    *host = (struct record_host){.v6 = false};
    if (!bytes_to_cstr(value, text, sizeof(text)) || (address = strchr(text, ' ')) == NULL ||
        !bytes_to_i32(bytes_of(text, (size_t)(address - text)), hops) || *hops < 1 ||
        *hops > FORWARD_HOPS_MAX || dial_parse(&a, address + 1, NULL) < 0)
        return false;
    host->port = atoi(a.port);
    host->v6 = inet_pton(AF_INET, a.host, host->ip) != 1;
    return !host->v6 || inet_pton(AF_INET6, a.host, host->ip) == 1;
}

void forward_mark_write(char text[FORWARD_MARK_TEXT], int32_t hops, const struct record_host *host)
{
    char ip[INET6_ADDRSTRLEN] = "";

    inet_ntop(host->v6 ? AF_INET6 : AF_INET, host->ip, ip, sizeof(ip));
    snprintf(text, FORWARD_MARK_TEXT, host->v6 ? "%d [%s]:%d" : "%d %s:%d", (int)hops, ip,
             (int)host->port);
}

void forward_frame_copy(struct buf *out, const struct remoting_frame *frame, int32_t opaque,
                        int32_t flag, const char *mark)
{
    struct remoting_meta meta = {
        .code = frame->code,
        .opaque = opaque,
        .flag = flag,
        .version = frame->version,
        .language = frame->language,
        .serialize = frame->serialize,
        .has_fields = frame->field_count > 0,
        .remark = frame->remark,
    };
    struct remoting_writer w;

    remoting_begin(&w, out, &meta);
    for (unsigned i = 0; i < frame->field_count; i++) {
        if (frame->fields[i].key.len > 0 &&
            !(mark && bytes_is(frame->fields[i].key, FORWARD_BORN_HOST)))
            remoting_put_named(&w, frame->fields[i].key, frame->fields[i].value);
    }
    remoting_put_str(&w, FORWARD_BORN_HOST, mark && mark[0] != '\0' ? mark : NULL);
    remoting_body(&w);
    buf_add(out, frame->body.at, frame->body.len);
    remoting_end(&w);
}
