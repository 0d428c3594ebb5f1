/* Any bytes through the stored record's decoder. What decodes must lie inside its input, and must
 * come back from encode byte for byte when it is a V1 record with nothing unusual in it.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct bytes part, const uint8_t *data, size_t size)
{
    assert(part.len <= size);
    assert(part.len == 0 || (part.at >= data && part.at + part.len <= data + size));
}

static void comes_back(const struct record *r, const uint8_t *data)
{
    const char *why = "";
    struct record again;
    uint8_t *copy;

    /* Properties that end in a zero could not be told from torn ones: those are not written. */
    if (r->properties.len > 0 && r->properties.at[r->properties.len - 1] == 0) {
        assert(record_size(r, false) == 0);
        return;
    }
    assert(record_size(r, false) == r->total_size);
    copy = malloc(r->total_size);
    if (!copy)
        return;
    record_encode(copy, r, false);
    record_seal(copy, r->total_size, r->queue_offset, r->log_offset, r->store_ms, false);
    store_be32(copy + 8, r->body_crc); /* encode writes the true one */
    assert(memcmp(copy, data, r->total_size) == 0);
    free(copy);

    /* With a checksum of ours behind it, it passes every check. */
    size_t size = record_size(r, true);
    copy = size ? malloc(size) : NULL;
    if (!copy)
        return;
    record_encode(copy, r, true);
    record_seal(copy, size, 1, 2, 3, true);
    assert(record_decode(bytes_of(copy, size), &again) == 0);
    assert(record_check(&again, bytes_of(copy, size), 2, &why) == 0);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record r;
    struct record_host host;
    const char *why = NULL;
    int64_t offset;

    (void)record_id_parse(bytes_of(data, size), &host, &offset);
    switch (record_decode(bytes_of(data, size), &r)) {
    case 0:
        assert(r.total_size <= size);
        inside(r.body, data, size);
        inside(r.topic, data, size);
        inside(r.properties, data, size);
        if (record_check(&r, bytes_of(data, r.total_size), -1, &why) != 0)
            assert(why);
        if (r.magic == RECORD_MAGIC_V1)
            comes_back(&r, data);
        break;
    case RECORD_BLANK:
        assert(r.total_size >= RECORD_BLANK_BYTES);
        break;
    case RECORD_PARTIAL:
        assert(size < 4 || r.total_size > size || size < 8);
        break;
    case RECORD_BAD:
        break;
    default:
        abort();
    }
    return 0;
}
