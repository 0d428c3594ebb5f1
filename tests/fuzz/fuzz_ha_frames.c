/* Any bytes as what a master sends: the first byte says how they are cut. However they are cut, the
 * same bodies come out at the same offsets, and nothing lies outside of the input. */
#include <assert.h>
#include <stdlib.h>

#include "broker/replication/ha_frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    enum ha_piece_kind last;
    uint64_t next, bytes, sum;
};

static struct result run(const uint8_t *data, size_t size, size_t step, uint64_t first)
{
    struct result result = {.last = HA_MORE};
    struct ha_frames frames;
    struct ha_piece piece;

    ha_frames_init(&frames, first, HA_FRAME_MAX);
    for (size_t at = 0; at < size && result.last == HA_MORE; at += step) {
        struct bytes in = bytes_of(data + at, size - at < step ? size - at : step);

        do {
            result.last = ha_frames_next(&frames, &in, &piece);
            assert(frames.header_len < HA_HEADER_BYTES && frames.body_left <= HA_FRAME_MAX);
            if (result.last == HA_BODY) {
                assert(piece.bytes.len > 0 && piece.offset + piece.bytes.len == frames.next);
                assert(piece.bytes.at >= data + at &&
                       piece.bytes.at + piece.bytes.len <= data + size);
                for (size_t i = 0; i < piece.bytes.len; i++)
                    result.sum = result.sum * 31 + piece.bytes.at[i];
                result.bytes += piece.bytes.len;
            }
        } while (result.last == HA_FRAME || result.last == HA_BODY);
    }
    result.next = frames.next;
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, cut;
    uint64_t first;

    if (size < 1)
        return 0;
    first = data[0] & 0x80 ? HA_ANY_OFFSET : 0;
    whole = run(data + 1, size - 1, size, first);
    cut = run(data + 1, size - 1, (size_t)(data[0] & 0x7f) + 1, first);
    assert(whole.last == cut.last && whole.bytes == cut.bytes && whole.sum == cut.sum);
    assert(whole.next == cut.next);
    return 0;
}
