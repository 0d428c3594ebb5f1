/* ctl_found.c - messages that were found, gathered and printed: see ctl_message.h. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/store/properties.h"
#include "tools/ctl_message.h"
#include "tools/show.h"

static int no_memory(struct ctl *ctl)
{
    return err_say(&ctl->err, TOOL_REFUSED, "out of memory");
}

int found_add(struct ctl *ctl, struct found *f, const char *broker, const char *address,
              struct bytes bytes, size_t *size)
{
    struct record record;

    if (record_decode(bytes, &record) != 0)
        return err_say(&ctl->err, TOOL_REFUSED,
                       "broker %s at %s has sent something that is no stored message", broker,
                       address);
    *size = record.total_size;
    if (f->count == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 16;
        struct found_message *items = reallocarray(f->items, cap, sizeof(*items));

        if (!items)
            return no_memory(ctl);
        f->items = items;
        f->cap = cap;
    }
    f->items[f->count++] = (struct found_message){.broker = broker,
                                                  .address = address,
                                                  .at = f->bytes.len,
                                                  .size = record.total_size,
                                                  .store_ms = record.store_ms};
    buf_add(&f->bytes, bytes.at, record.total_size);
    return f->bytes.failed ? no_memory(ctl) : TOOL_DONE;
}

static int by_time(const void *a, const void *b)
{
    const struct found_message *x = a, *y = b;

    if (x->store_ms != y->store_ms)
        return (x->store_ms > y->store_ms) - (x->store_ms < y->store_ms);
    return (x->at > y->at) - (x->at < y->at);
}

void found_sort(struct found *f)
{
    if (f->count > 1)
        qsort(f->items, f->count, sizeof(*f->items), by_time);
}

void found_destroy(struct found *f)
{
    buf_destroy(&f->bytes);
    free(f->items);
    *f = (struct found){0};
}

int found_view(struct ctl *ctl, const struct found *f, size_t i, struct buf *unpacked,
               struct message_view *view)
{
    const struct found_message *item = &f->items[i];
    struct record record;

    if (record_decode(bytes_of(buf_at(&f->bytes) + item->at, item->size), &record) != 0 ||
        message_view(view, &record, unpacked) < 0)
        return no_memory(ctl);
    return TOOL_DONE;
}

/* --- as lines --- */

static void line(struct ctl *ctl, const char *name, struct bytes value)
{
    buf_addf(&ctl->out, "  %-11s ", name);
    show_text(&ctl->out, value, false);
    buf_add_str(&ctl->out, "\n");
}

static void time_line(struct ctl *ctl, const char *name, int64_t ms, const struct record_host *host)
{
    char time[SHOW_TIME_MAX], ip[INET6_ADDRSTRLEN] = "";

    inet_ntop(host->v6 ? AF_INET6 : AF_INET, host->ip, ip, sizeof(ip));
    buf_addf(&ctl->out, host->v6 ? "  %-11s %s at [%s]:%d\n" : "  %-11s %s at %s:%d\n", name,
             show_time(time, ms), ip, host->port);
}

static void body_line(struct ctl *ctl, const struct message_view *m)
{
    if (m->packed)
        buf_addf(&ctl->out, "  %-11s (compressed, %zu bytes that cannot be unpacked)\n", "body",
                 m->body.len);
    else
        line(ctl, "body", m->body);
}

static void consumed_lines(struct ctl *ctl, const struct consumed *consumed)
{
    if (consumed->count == 0)
        buf_addf(&ctl->out, "  %-11s no group reads this topic\n", "consumed");
    for (size_t i = 0; i < consumed->count; i++) {
        const struct consumed_group *g = &consumed->groups[i];

        buf_addf(&ctl->out, "  %-11s ", "group");
        show_text(&ctl->out, bytes_str(g->name), false);
        buf_addf(&ctl->out, ": %s", consumed_name(g->state));
        if (g->state != CONSUMED_BROADCAST)
            buf_addf(&ctl->out, " (it goes on at %lld)", (long long)g->offset);
        buf_add_str(&ctl->out, "\n");
    }
}

void found_text(struct ctl *ctl, const struct found_message *item, const struct message_view *m,
                const struct consumed *consumed)
{
    const struct record *r = &m->record;
    struct bytes name, value;
    size_t at = 0;

    buf_addf(&ctl->out, "message %s\n", m->id);
    line(ctl, "topic", r->topic);
    buf_addf(&ctl->out, "  %-11s ", "place");
    show_text(&ctl->out, bytes_str(item->broker), false);
    buf_addf(&ctl->out, ", queue %d, offset %lld; %u bytes at log offset %lld\n", r->queue_id,
             (long long)r->queue_offset, r->total_size, (long long)r->log_offset);
    time_line(ctl, "stored", r->store_ms, &r->store_host);
    time_line(ctl, "born", r->born_ms, &r->born_host);
    if (r->reconsume_times != 0)
        buf_addf(&ctl->out, "  %-11s %d\n", "retries", r->reconsume_times);
    while (properties_next(r->properties, &at, &name, &value)) {
        if (bytes_is(name, RECORD_CRC_NAME))
            continue; /* the store's own */
        buf_addf(&ctl->out, "  %-11s ", "property");
        show_text(&ctl->out, name, false);
        buf_add_str(&ctl->out, " = ");
        show_text(&ctl->out, value, false);
        buf_add_str(&ctl->out, "\n");
    }
    body_line(ctl, m);
    if (consumed)
        consumed_lines(ctl, consumed);
}

/* --- as JSON --- */

void found_json(struct json_out *j, const struct found_message *item, const struct message_view *m,
                const struct consumed *consumed)
{
    message_members(j, m, item->broker, true);
    if (!consumed)
        return;
    jout_key(j, "groups");
    jout_array(j);
    for (size_t i = 0; i < consumed->count; i++) {
        const struct consumed_group *g = &consumed->groups[i];

        jout_object(j);
        jout_kv_str(j, "group", g->name);
        jout_kv_str(j, "state", consumed_name(g->state));
        jout_kv_i64(j, "offset", g->offset);
        jout_object_end(j);
    }
    jout_array_end(j);
}

int found_print(struct ctl *ctl, struct found *f, bool groups)
{
    struct buf unpacked = {0};
    struct json_out j;
    int r = TOOL_DONE;

    jout_begin(&j, &ctl->out);
    if (ctl->json) {
        jout_object(&j);
        jout_key(&j, "messages");
        jout_array(&j);
    }
    for (size_t i = 0; i < f->count && r == TOOL_DONE; i++) {
        struct consumed consumed = {.count = 0};
        struct message_view view;

        r = found_view(ctl, f, i, &unpacked, &view);
        if (r == TOOL_DONE && groups)
            r = consumed_ask(ctl, &f->items[i], &view, &consumed);
        if (r == TOOL_DONE && ctl->json) {
            jout_object(&j);
            found_json(&j, &f->items[i], &view, groups ? &consumed : NULL);
            jout_object_end(&j);
        } else if (r == TOOL_DONE) {
            if (i > 0)
                buf_add_str(&ctl->out, "\n");
            found_text(ctl, &f->items[i], &view, groups ? &consumed : NULL);
        }
        consumed_destroy(&consumed);
    }
    if (ctl->json && r == TOOL_DONE) {
        jout_array_end(&j);
        jout_object_end(&j);
        buf_add_str(&ctl->out, "\n");
    }
    if (r != TOOL_DONE)
        buf_reset(&ctl->out);
    buf_destroy(&unpacked);
    return r;
}
