/* Any bytes as the JSON header of a frame, without and with a body: the parser may look at the body
 * but must not depend on it. */
#include <assert.h>
#include <stdlib.h>

#include "fuzz_remoting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t quotes[80] = {[0 ... 79] = '"'};
    struct bytes header = bytes_of(data, size), body = bytes_of(quotes, sizeof(quotes));
    struct buf alone = {0}, followed = {0};
    int result = fuzz_one_header(REMOTING_JSON, header, bytes_of(NULL, 0), &alone);

    assert(fuzz_one_header(REMOTING_JSON, header, body, &followed) == result);
    if (result == 0) {
        assert(!alone.failed && !followed.failed && alone.len == followed.len - body.len);
        assert(memcmp(alone.data + 8, followed.data + 8, alone.len - 8) == 0);
    }
    buf_destroy(&alone);
    buf_destroy(&followed);
    return 0;
}
