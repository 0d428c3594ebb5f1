/* group_wire.h - frames between the members of a group: docs/protocol/replication.md, "Between
 * members". Pure: no I/O, no globals; what decodes is within its bounds.
 *
 *   at  size  field
 *    0     4  length   bytes that follow
 *    4     1  type     enum group_frame_type
 *    5     n  payload
 *
 * Integers are big-endian. A DATA frame's log bytes come last, so that they may be sent from a
 * file.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_WIRE_H
#define TERN_BROKER_REPLICATION_GROUP_WIRE_H

#include "broker/replication/core.h"
#include "common/buf.h"

enum {
    GROUP_META_MAX = 512 * 1024, /* records of metadata in one frame */
    GROUP_FRAME_MAX = 1 << 20,   /* a whole frame */
};

enum group_frame_type {
    GROUP_CORE = 1, /* a core_message */
    GROUP_META,     /* records of the metadata journal */
    GROUP_META_ACK,
};

struct group_frame {
    enum group_frame_type type;
    struct core_message message; /* CORE */
    struct bytes log;            /* CORE_DATA with size > 0: message.size bytes, borrowed */
    /* META: `begins`: what follows is a snapshot, then what changes. META and META_ACK: `upto`:
     * the sequence (of the sender of META) that is covered with this frame; 0: none yet. */
    bool begins;
    uint64_t upto;
    struct bytes records; /* borrowed */
};

/* DATA: the frame up to its log bytes, which the caller sends behind it. `from` goes along. */
void group_wire_put_core(struct buf *out, const struct core_message *m);
void group_wire_put_meta(struct buf *out, bool begins, uint64_t upto, struct bytes records);
void group_wire_put_meta_ack(struct buf *out, uint64_t upto);

/* What stands at the front of `in`. 0: *out is filled, *used bytes are spent. GROUP_WIRE_MORE: not
 * whole yet; *used is the size of the whole frame when that is known, else 0. -EBADMSG: *why (a
 * static sentence) says what is wrong, nothing can follow. */
enum { GROUP_WIRE_MORE = 1 };
int group_wire_take(struct bytes in, struct group_frame *out, size_t *used, const char **why);

#endif
