/* Any bytes as the body of a registration that says it is not compressed. */
#include "fuzz_registration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct registration r;
    struct err err = {0};

    if (registration_decode(bytes_of(data, size), false, &r, &err) == 0)
        use_registration(&r);
    else
        assert(err.text[0] != '\0');
    registration_destroy(&r);
    return 0;
}
