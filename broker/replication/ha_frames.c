/* ha_frames.c - see ha_frames.h. */
#include "broker/replication/ha_frames.h"

#include <assert.h>
#include <string.h>

void ha_frames_init(struct ha_frames *f, uint64_t next, uint32_t size_max)
{
    assert(size_max >= HA_FRAME_MAX && size_max <= INT32_MAX);
    *f = (struct ha_frames){.next = next, .size_max = size_max};
}

static struct bytes take(struct bytes *in, size_t n)
{
    struct bytes taken = bytes_of(in->at, n < in->len ? n : in->len);

    *in = bytes_of(in->at + taken.len, in->len - taken.len);
    return taken;
}

/* The header is whole. */
static enum ha_piece_kind begin_frame(struct ha_frames *f, struct ha_piece *piece)
{
    uint64_t size_max = f->size_max;

    f->header_len = 0;
    piece->offset = load_be64(f->header);
    piece->size = (int32_t)load_be32(f->header + 8);
    if (piece->offset > INT64_MAX || (f->next != HA_ANY_OFFSET && piece->offset != f->next))
        return HA_WRONG_OFFSET;
    if (piece->size < 0 || (uint64_t)piece->size > size_max ||
        (uint64_t)piece->size > (uint64_t)INT64_MAX - piece->offset)
        return HA_WRONG_SIZE;
    f->body_left = (uint32_t)piece->size;
    /* A heartbeat to who has nothing yet does not bind what comes then. */
    if (piece->size > 0 || f->next != HA_ANY_OFFSET)
        f->next = piece->offset;
    return HA_FRAME;
}

enum ha_piece_kind ha_frames_next(struct ha_frames *f, struct bytes *in, struct ha_piece *piece)
{
    struct bytes part;

    *piece = (struct ha_piece){0};
    if (in->len == 0)
        return HA_MORE;
    if (f->body_left > 0) {
        piece->bytes = take(in, f->body_left);
        piece->offset = f->next;
        f->body_left -= (uint32_t)piece->bytes.len;
        f->next += piece->bytes.len;
        return HA_BODY;
    }
    part = take(in, (size_t)(HA_HEADER_BYTES - f->header_len));
    memcpy(f->header + f->header_len, part.at, part.len);
    f->header_len += (uint8_t)part.len;
    return f->header_len < HA_HEADER_BYTES ? HA_MORE : begin_frame(f, piece);
}
