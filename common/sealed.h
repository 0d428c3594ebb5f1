/* sealed.h - a small file of key=value lines whose last line is a checksum of all before it.
 *
 *     format=1
 *     ...
 *     crc=<CRC-32 of the bytes of all lines above, decimal>
 *
 * Numbers are decimal. Pure.
 */
#ifndef TERN_COMMON_SEALED_H
#define TERN_COMMON_SEALED_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

enum { SEALED_LINE_MAX = 256 };

void sealed_add(struct buf *out, const char *key, uint64_t value);
/* The line with the checksum; `out` holds nothing but the lines above it. */
void sealed_end(struct buf *out);

/* Gives each line above the checksum to `take`, in order, before it is known whether the checksum
 * is right: what was taken counts only when this returns 0. "format" is the first line, and no
 * other. -EBADMSG, with a clause that names the line: no such text, or `take` has said false. */
int sealed_parse(struct bytes text, bool (*take)(void *ctx, struct bytes key, struct bytes value),
                 void *ctx, struct err *err);
/* A decimal number up to `most`; false: it is none. */
bool sealed_number(struct bytes text, uint64_t most, uint64_t *out);

#endif
