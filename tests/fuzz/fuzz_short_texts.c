/* fuzz_short_texts.c - texts of a few dozen bytes: addresses, members, times, ids, marks of frames
 * that are passed on. What is accepted and can be written must come back the same. */
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "broker/forward_frame.h"
#include "broker/group_config.h"
#include "broker/store/delay_levels.h"
#include "broker/store/record.h"
#include "common/dial.h"
#include "tools/moment.h"

static bool same_host(const struct record_host *a, const struct record_host *b)
{
    return a->v6 == b->v6 && a->port == b->port && memcmp(a->ip, b->ip, a->v6 ? 16 : 4) == 0;
}

static void take_mark(struct bytes text)
{
    struct record_host host, again;
    char mark[FORWARD_MARK_TEXT];
    int32_t hops, hops_again;

    if (!forward_mark_read(text, &hops, &host))
        return;
    assert(hops >= 0 && hops <= FORWARD_HOPS_MAX);
    forward_mark_write(mark, hops, &host);
    assert(forward_mark_read(bytes_str(mark), &hops_again, &again));
    assert(hops == hops_again && same_host(&host, &again));
}

static void take_id(struct bytes text)
{
    struct record_host host, again;
    char id[RECORD_ID_MAX];
    int64_t offset, offset_again;

    if (record_id_parse(text, &host, &offset) < 0)
        return;
    record_id_format(id, &host, offset);
    assert(record_id_parse(bytes_str(id), &again, &offset_again) == 0);
    assert(offset == offset_again && same_host(&host, &again));
}

static void take_address(const char *text)
{
    struct dial_address address;
    struct err err = {0};
    char below[300];

    if (dial_parse(&address, text, &err) < 0) {
        assert(err.text[0] != '\0');
        assert(!dial_below(text, 1, below, sizeof(below)));
        return;
    }
    assert(address.host[0] != '\0' && address.port[0] != '\0');
    if (dial_below(text, 2, below, sizeof(below)))
        assert(dial_parse(&address, below, &err) == 0);
}

static void take_group(const char *text)
{
    struct group_list list;
    struct err err = {0};

    if (group_list_parse(&list, text, &err) < 0) {
        assert(err.text[0] != '\0');
        return;
    }
    assert(list.count >= GROUP_MEMBERS_MIN && list.count <= CORE_MEMBERS_MAX);
    for (unsigned i = 0; i < list.count; i++) {
        for (unsigned k = 0; k < i; k++)
            assert(list.members[i].id != list.members[k].id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[1024];
    int64_t ms, levels[64];
    int count;

    take_mark(bytes_of(data, size));
    take_id(bytes_of(data, size));
    if (!bytes_to_cstr(bytes_of(data, size), text, sizeof(text)))
        return 0;
    take_address(text);
    take_group(text);
    if (moment_parse(text, &ms))
        assert(ms >= 0);
    count = delay_levels_parse(text, levels, 64);
    assert(count <= 64);
    for (int i = 0; i < count; i++)
        assert(levels[i] >= 0);
    return 0;
}
