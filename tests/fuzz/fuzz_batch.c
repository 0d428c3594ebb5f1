/* fuzz_batch.c - the body of a batch send: every message lies within the input. */
#include <assert.h>

#include "broker/batch.h"
#include "broker/store/properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader in = reader_of(bytes_of(data, size));
    struct batch_message m;
    size_t sum = 0;
    int r;

    while ((r = batch_next(&in, &m)) == 0) {
        struct properties_known known;

        assert(m.body.len == 0 || (m.body.at >= data && m.body.at + m.body.len <= data + size));
        sum += 22 + m.body.len + m.properties.len;
        properties_scan(m.properties, &known);
    }
    assert(r == BATCH_BAD || sum == size);
    assert(batch_next(&in, &m) != 0);
    return 0;
}
