/* Any bytes as two answers of a master, one after the other (the first byte says which table, the
 * second how much of the rest is the first answer). Each is taken in twice: the second time changes
 * nothing. */
#include <assert.h>

#include "broker/store/metadata_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int follow(struct metadata *m, int table, struct bytes body, struct metadata_followed *out)
{
    struct err err = {0};

    switch (table) {
    case 0:
        return metadata_follow_topics(m, body, out, &err);
    case 1:
        return metadata_follow_groups(m, body, out, &err);
    case 2:
        return metadata_follow_offsets(m, body, out, &err);
    default:
        return metadata_follow_delays(m, body, out, &err);
    }
}

static void write(struct metadata *m, struct buf *out)
{
    for (int file = 0; file < METADATA_EXPORTS; file++)
        metadata_json_write(m, (enum metadata_export)file, false, out);
    assert(!out->failed);
}

static void follow_twice(struct metadata *m, int table, struct bytes body)
{
    struct metadata_followed first, second;
    struct buf before = {0}, after = {0};
    int r = follow(m, table, body, &first);

    write(m, &before);
    assert(follow(m, table, body, &second) == r);
    assert(first.taken == second.taken && first.refused == second.refused);
    write(m, &after);
    assert(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
    buf_destroy(&before);
    buf_destroy(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metadata *m;
    struct bytes all;
    size_t first;

    if (size < 2)
        return 0;
    m = metadata_tables_new();
    assert(m);
    all = bytes_of(data + 2, size - 2);
    first = all.len * data[1] / 255;
    follow_twice(m, data[0] % 4, bytes_of(all.at, first));
    follow_twice(m, data[0] % 4, bytes_of(all.at + first, all.len - first));
    metadata_tables_free(m);
    return 0;
}
