/* Any bytes as two frames of a master's metadata (the first byte says how much of the rest is the
 * first), with no journal behind the tables: nothing is taken that could not be written, and the
 * same frame again changes nothing. The checksums are made right, or hardly anything would get in.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/replication/meta_stream.h"
#include "broker/store/metadata_internal.h"
#include "common/crc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *at, size_t size)
{
    while (size >= METADATA_RECORD_MIN) {
        size_t length = load_be32(at);

        if (length > size - 8)
            return;
        store_be32(at + 4, crc32_of(crc32_of(0, bytes_of(at, 4)), bytes_of(at + 8, length)));
        at += 8 + length;
        size -= 8 + length;
    }
}

static void write(struct metadata *m, struct buf *out)
{
    for (int file = 0; file < METADATA_EXPORTS; file++)
        metadata_json_write(m, (enum metadata_export)file, false, out);
    assert(!out->failed);
}

static void take_twice(struct metadata *m, struct bytes frame)
{
    struct metadata_cursor cursor = {0};
    struct buf piece = {0};
    uint64_t sequence;
    struct err err;

    (void)meta_sink_take(m, NULL, frame, &sequence, &err);
    assert(sequence == metadata_last(m));
    (void)meta_sink_take(m, NULL, frame, &sequence, &err);
    /* What is in the tables now can be given on. */
    while (metadata_snapshot_piece(m, &cursor, &piece))
        continue;
    assert(!piece.failed);
    for (struct bytes left = buf_bytes(&piece); left.len > 0;) {
        struct metadata_record record;
        size_t used;

        assert(metadata_record_decode(left, &record, &used) == 0);
        left = bytes_of(left.at + used, left.len - used);
    }
    buf_destroy(&piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf text = {0};
    struct metadata *m;
    uint8_t *copy;
    size_t first;

    if (size < 2)
        return 0;
    m = metadata_tables_new();
    copy = malloc(size - 1);
    assert(m && copy);
    memcpy(copy, data + 1, size - 1);
    first = (size - 1) * data[0] / 255;
    seal(copy, first);
    seal(copy + first, size - 1 - first);
    take_twice(m, bytes_of(copy, first));
    take_twice(m, bytes_of(copy + first, size - 1 - first));
    write(m, &text);
    buf_destroy(&text);
    free(copy);
    metadata_tables_free(m);
    return 0;
}
