/* Any bytes as the text of properties: walking, scanning and copying agree with one another. */
#include <assert.h>

#include "broker/store/properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const without[] = {"WAIT", NULL};
    struct bytes text = bytes_of(data, size), name, value;
    struct properties_known known, again;
    struct buf copy = {0}, second = {0};
    size_t at = 0, items = 0;

    while (properties_next(text, &at, &name, &value)) {
        assert(name.len > 0 && value.len > 0);
        assert(name.at >= data && value.at + value.len <= data + size);
        assert(at <= size);
        items++;
    }
    properties_scan(text, &known);
    assert(bytes_equal(known.tags, properties_find(text, BYTES_LIT("TAGS"))));
    assert(bytes_equal(known.delay, properties_find(text, BYTES_LIT("DELAY"))));

    properties_copy(&copy, text, NULL);
    assert(!copy.failed && copy.len <= size);
    if (!known.has_invalid) {
        text.len -= known.ends_with_separator ? 1 : 0;
        assert(bytes_equal(buf_bytes(&copy), text));
    }
    /* A copy has nothing to leave out, and says the same. */
    properties_scan(buf_bytes(&copy), &again);
    assert(!again.has_invalid || items > PROPERTIES_SCAN_NAMES);
    assert(!again.ends_with_separator);
    assert(bytes_equal(known.tags, again.tags) && bytes_equal(known.wait, again.wait));
    properties_copy(&second, buf_bytes(&copy), NULL);
    assert(bytes_equal(buf_bytes(&second), buf_bytes(&copy)));

    buf_reset(&second);
    properties_copy(&second, buf_bytes(&copy), without);
    assert(properties_find(buf_bytes(&second), BYTES_LIT("WAIT")).len == 0);
    buf_destroy(&copy);
    buf_destroy(&second);
    return 0;
}
