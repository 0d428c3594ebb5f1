/* Any bytes as one of RocketMQ's four JSON files (the first byte says which). What is taken in is
 * written, in both forms, and taken in by other tables: they must refuse nothing of it and write
 * the same.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_offsets(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                          int32_t count)
{
    struct metadata *other = ctx;

    assert(topic_name_ok(topic) && group_name_ok(group) && count <= TOPIC_QUEUES_MAX);
    for (int32_t i = 0; i < count; i++)
        assert(metadata_offset(other, topic, group, i) == offsets[i]);
}

static void take_written(struct metadata *from, enum metadata_export file, bool pretty)
{
    struct metadata *m = metadata_tables_new();
    struct metadata_taken taken = {0};
    struct buf first = {0}, second = {0};
    struct err err = {0};
    json_t *root;

    metadata_json_write(from, file, pretty, &first);
    root = json_dialect_load(buf_bytes(&first), &err);
    assert(m && !first.failed && root && !metadata_json_complaint(file, root));
    assert(metadata_json_import(m, file, root, &taken) == 0);
    assert(taken.refused == 0);
    json_decref(root);
    m->topics.version = from->topics.version;
    m->groups.version = from->groups.version;
    if (file == METADATA_EXPORT_OFFSETS) { /* in the order of each table's own seed */
        metadata_each_offset(from, (struct bytes){0}, (struct bytes){0}, check_offsets, m);
        metadata_each_offset(m, (struct bytes){0}, (struct bytes){0}, check_offsets, from);
    } else {
        metadata_json_write(m, file, pretty, &second);
        assert(bytes_equal(buf_bytes(&first), buf_bytes(&second)));
    }
    buf_destroy(&first);
    buf_destroy(&second);
    metadata_tables_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct metadata_taken taken = {0};
    enum metadata_export file;
    struct metadata *m;
    json_t *root;

    if (size == 0)
        return 0;
    file = data[0] % METADATA_EXPORTS;
    root = json_dialect_load(bytes_of(data + 1, size - 1), NULL);
    if (!root || metadata_json_complaint(file, root)) {
        json_decref(root);
        return 0;
    }
    m = metadata_tables_new();
    assert(m);
    (void)metadata_json_import(m, file, root, &taken);
    json_decref(root);
    take_written(m, file, false);
    take_written(m, file, true);
    metadata_tables_free(m);
    return 0;
}
