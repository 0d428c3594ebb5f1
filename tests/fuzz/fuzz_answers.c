/* fuzz_answers.c - what ternctl is told by servers: routes, the status of a member, messages. */
#include <assert.h>

#include "common/json.h"
#include "tools/group_view.h"
#include "tools/message.h"
#include "tools/route.h"

static void take_route(struct bytes body, bool cluster)
{
    struct err err = {0};
    struct route route = {0};

    if (route_parse(&route, body, cluster, &err) < 0) {
        assert(err.text[0] != '\0');
        return;
    }
    for (size_t i = 0; i < route.count; i++) {
        const struct route_broker *b = &route.brokers[i];

        assert(b->name && route_broker_named(&route, b->name));
        for (size_t k = 0; k < b->member_count; k++)
            assert(b->members[k].address && (k == 0 || b->members[k - 1].id <= b->members[k].id));
        assert((b->member_count > 0) == (route_reader(b) != NULL));
    }
    route_destroy(&route);
}

static void take_status(struct bytes body)
{
    struct err err = {0};
    struct view view = {.cluster = "C", .broker = "a"};
    json_t *status = json_dialect_load(body, &err);

    if (!status)
        return;
    for (int member = 0; member < 2; member++) {
        struct view_member *m = view_know(&view, member ? "127.0.0.1:2" : "127.0.0.1:1");

        assert(m);
        (void)view_take(&view, m, status);
        assert(m->promise_count <= VIEW_MEMBERS_MAX && m->follower_count <= VIEW_MEMBERS_MAX);
    }
    view_join(&view);
    assert(view.count <= VIEW_MEMBERS_MAX);
    (void)view_leader(&view);
    json_decref(status);
}

static void take_messages(struct bytes body)
{
    struct buf unpacked = {0}, out = {0};

    while (body.len > 0) {
        struct message_view view;
        struct record record;

        if (record_decode(body, &record) != 0 || message_view(&view, &record, &unpacked) < 0)
            break;
        message_text(&view, "a", true, &out);
        message_json(&view, NULL, &out);
        (void)message_has_tag(&view, "TagA || TagB");
        assert(!out.failed && record.total_size > 0 && record.total_size <= body.len);
        body = bytes_of(body.at + record.total_size, body.len - record.total_size);
        buf_reset(&out);
    }
    buf_destroy(&unpacked);
    buf_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes body = bytes_of(data + 1, size - 1);

    if (size == 0)
        return 0;
    switch (data[0]) {
    case 't':
    case 'c':
        take_route(body, data[0] == 'c');
        break;
    case 's':
        take_status(body);
        break;
    default:
        take_messages(body);
    }
    return 0;
}
