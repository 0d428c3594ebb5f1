/* batch.h - the body of a batch send. Pure: no allocation, no I/O.
 *
 *   total i32 | magic i32 | body CRC i32 | flag i32 | body length i32 | body | properties length
 * i16 | properties
 *
 * `total` counts from itself. Magic and CRC are not looked at, as RocketMQ does not.
 * Source: docs/protocol/remoting.md, "Send".
 */
#ifndef TERN_BROKER_BATCH_H
#define TERN_BROKER_BATCH_H

#include "common/bytes.h"

struct batch_message {
    struct bytes body, properties; /* borrowed from the input */
    int32_t flag;
};

/* The next message: 0; END; BAD when lengths do not add up (nothing more can be read). */
enum { BATCH_END = 1, BATCH_BAD };
int batch_next(struct reader *in, struct batch_message *out);

#endif
