/* Any bytes as the file of a metadata journal; and, after a first byte that is odd, as payloads
 * whose lengths and checksums are made right, which lets the rest be reached. What decodes is
 * applied to tables. A snapshot of them must decode without a gap and give tables that say the
 * same, whose snapshot is the same.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_bytes(void *ctx, void *to, size_t n, int64_t at)
{
    const struct bytes *file = ctx;

    assert(at >= 0 && (uint64_t)at <= file->len && n <= file->len - (size_t)at);
    memcpy(to, file->at + at, n);
    return 0;
}

/* The result of the walk's last step. */
static int apply_all(struct metadata *m, struct bytes file, bool whole)
{
    struct metadata_scan scan;
    struct metadata_record record;
    int64_t last = -1;
    int r;

    metadata_scan_init(&scan, read_bytes, &file, (int64_t)file.len);
    scan.budget = 1 << 20;
    for (;;) {
        assert(scan.at > last && scan.at <= scan.size);
        last = scan.at;
        r = metadata_scan_next(&scan, &record);
        if (r == 0)
            r = metadata_apply(m, &record);
        if (r != 0 && (whole || r != METADATA_SCAN_DAMAGE))
            break;
    }
    metadata_scan_destroy(&scan);
    return r;
}

/* [u8 kind][u8 high, u8 low length][payload]..., as records with sequences 1, 2, ... */
static void seal(struct bytes in, struct buf *out)
{
    struct reader r = reader_of(in);

    for (uint64_t sequence = 1; reader_left(&r) > 3; sequence++) {
        uint8_t kind = reader_u8(&r);
        uint16_t length = reader_u16(&r);
        size_t n = length < reader_left(&r) ? length : reader_left(&r);
        struct bytes payload = reader_take(&r, n);
        size_t begun = metadata_record_begin(out, (struct metadata_at){0, sequence}, kind);

        buf_add(out, payload.at, payload.len < 60000 ? payload.len : 60000);
        metadata_record_end(out, begun);
    }
}

static void snapshot(struct metadata *m, struct buf *out)
{
    uint64_t count = 0;
    uint32_t at = 0;

    while (topic_table_snapshot(m, &at, out, &count))
        ;
    at = 0;
    while (group_table_snapshot(m, &at, out, &count))
        ;
    at = 0;
    while (offset_table_snapshot(m, &at, true, out, &count))
        ;
    delay_table_snapshot(m, true, out, &count);
    metadata_export_snapshot(m, out, &count);
}

static void check_offsets(void *ctx, struct bytes topic, struct bytes group, const int64_t *offsets,
                          int32_t count)
{
    struct metadata *other = ctx;

    assert(topic_name_ok(topic) && group_name_ok(group) && count <= TOPIC_QUEUES_MAX);
    for (int32_t i = 0; i < count; i++)
        assert(metadata_offset(other, topic, group, i) == offsets[i]);
}

static void check_same_json(struct metadata *a, struct metadata *b, enum metadata_export file)
{
    struct buf text_a = {0}, text_b = {0};

    metadata_json_write(a, file, true, &text_a);
    metadata_json_write(b, file, true, &text_b);
    assert(bytes_equal(buf_bytes(&text_a), buf_bytes(&text_b)));
    buf_destroy(&text_a);
    buf_destroy(&text_b);
}

static void try_file(struct bytes file)
{
    struct metadata *a = metadata_tables_new(), *b = metadata_tables_new();
    struct buf of_a = {0};

    assert(a && b);
    (void)apply_all(a, file, false);
    snapshot(a, &of_a);
    assert(apply_all(b, buf_bytes(&of_a), true) == METADATA_SCAN_END);
    for (int i = 0; i < METADATA_EXPORTS; i++) {
        if (i != METADATA_EXPORT_OFFSETS) /* in the order of each table's own seed */
            check_same_json(a, b, i);
    }
    metadata_each_offset(a, (struct bytes){0}, (struct bytes){0}, check_offsets, b);
    metadata_each_offset(b, (struct bytes){0}, (struct bytes){0}, check_offsets, a);
    buf_destroy(&of_a);
    metadata_tables_free(a);
    metadata_tables_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf sealed = {0};

    log_set_level(LOG_LEVEL_ERROR);
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0) {
        try_file(bytes_of(data + 1, size - 1));
        return 0;
    }
    seal(bytes_of(data + 1, size - 1), &sealed);
    try_file(buf_bytes(&sealed));
    buf_destroy(&sealed);
    return 0;
}
