/* Any bytes as the binary header of a frame. */
#include "fuzz_remoting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf written = {0};

    fuzz_one_header(REMOTING_BINARY, bytes_of(data, size), BYTES_LIT("body"), &written);
    buf_destroy(&written);
    return 0;
}
