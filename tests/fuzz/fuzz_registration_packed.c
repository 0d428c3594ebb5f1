/* Any bytes as what a compressed registration holds: they are packed first, since the sum at the
 * end of a zlib stream would stop nearly every mutation.
 */
#include <stdlib.h>
#include <zlib.h>

#include "fuzz_registration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uLongf packed_size = compressBound(size);
    uint8_t *packed = malloc(packed_size);
    struct registration r;
    struct err err = {0};

    if (!packed || compress2(packed, &packed_size, data, size, 1) != Z_OK) {
        free(packed);
        return 0;
    }
    if (registration_decode(bytes_of(packed, packed_size), true, &r, &err) == 0)
        use_registration(&r);
    else
        assert(err.text[0] != '\0');
    registration_destroy(&r);
    free(packed);
    return 0;
}
