/* Any bytes as the snapshot of queue ends, as they are and with the checksum made right, which lets
 * the rest be reached. What parses must lie inside its input and keep every promise that the table
 * builds on; walking it must meet exactly the runs that were counted.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/store/queue_internal.h"
#include "common/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_run(const struct queue_snapshot *s, const struct queue_snapshot_run *run)
{
    assert(topic_name_ok(run->topic));
    assert(run->topic.at >= s->body.at && run->topic.at + run->topic.len <= run->ends);
    assert(run->first >= 0 && run->count > 0 && run->first + run->count <= TOPIC_QUEUES_MAX);
    assert(run->ends + (size_t)run->count * 24 <= s->body.at + s->body.len);
    for (int32_t i = 0; i < run->count; i++) {
        const uint8_t *at = run->ends + (size_t)i * 24;
        int64_t min = (int64_t)load_be64(at), next = (int64_t)load_be64(at + 8);
        assert(min >= 0 && min <= next && next < QUEUE_OFFSET_MAX);
        assert(load_be64(at + 16) <= s->log_end);
    }
}

static void parse(struct bytes in)
{
    struct queue_snapshot s;
    struct queue_snapshot_run run;
    uint32_t runs = 0;

    if (queue_snapshot_parse(in, &s) != 0)
        return;
    assert(s.body.at >= in.at && s.body.at + s.body.len <= in.at + in.len);
    for (size_t at = 0; queue_snapshot_next(&s, &at, &run); runs++) {
        assert(at <= s.body.len);
        check_run(&s, &run);
    }
    assert(runs == s.runs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed = malloc(size + 4);

    parse(bytes_of(data, size));
    if (!sealed)
        return 0;
    if (size > 0)
        memcpy(sealed, data, size);
    store_be32(sealed + size, crc32_of(0, bytes_of(data, size)));
    parse(bytes_of(sealed, size + 4));
    free(sealed);
    return 0;
}
