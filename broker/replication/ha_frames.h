/* ha_frames.h - the master's half of RocketMQ's default replication protocol, taken apart as it
 * arrives. Pure: bytes in, pieces out; no I/O, no allocation.
 *
 * Frame, master to slave; integers are big-endian.
 *
 *   at  size  field
 *    0     8  offset  log offset of the first byte of the body, which must be the next one
 *    8     4  size    bytes of the body, 0: a heartbeat
 *   12     n  body    bytes of the log, cut anywhere
 *
 * A body may be given on before all of it is there, so its size is bounded by what makes sense and
 * not by memory.
 */
#ifndef TERN_BROKER_REPLICATION_HA_FRAMES_H
#define TERN_BROKER_REPLICATION_HA_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"

enum { HA_HEADER_BYTES = 12, HA_FRAME_MAX = 4 << 20 /* RocketMQ's slaves take no more */ };

/* Any offset may come first: the receiver has nothing yet. */
#define HA_ANY_OFFSET UINT64_MAX

struct ha_frames {
    uint64_t next; /* the log offset that must come next; HA_ANY_OFFSET */
    uint32_t size_max;
    uint32_t body_left;
    uint8_t header_len;
    uint8_t header[HA_HEADER_BYTES];
};

/* size_max: at least HA_FRAME_MAX, at most INT32_MAX. */
void ha_frames_init(struct ha_frames *f, uint64_t next, uint32_t size_max);

enum ha_piece_kind {
    HA_MORE,  /* the input is used up */
    HA_FRAME, /* a frame begins: offset and size */
    HA_BODY,  /* a part of its body, at `offset`: bytes, borrowed from the input */
    HA_WRONG_OFFSET,
    HA_WRONG_SIZE, /* offset and size as they came; nothing can follow */
};
struct ha_piece {
    uint64_t offset;
    int32_t size;
    struct bytes bytes;
};
/* Takes one piece off the front of `in`. */
enum ha_piece_kind ha_frames_next(struct ha_frames *f, struct bytes *in, struct ha_piece *piece);

#endif
