/* Any bytes as a stream of frames, taken apart the way a connection does it. What is accepted must
 * lie within its frame, and must survive being written and read again. */
#include <assert.h>
#include <stdlib.h>

#include "fuzz_remoting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct buf written = {0};
    size_t total;

    while (remoting_frame_size(in, &total) == 0) {
        assert(total >= 8 && total <= REMOTING_FRAME_MAX);
        if (total > in.len)
            break;
        buf_reset(&written);
        fuzz_one_frame(bytes_of(in.at, total), &written);
        in.at += total;
        in.len -= total;
    }
    buf_destroy(&written);
    return 0;
}
