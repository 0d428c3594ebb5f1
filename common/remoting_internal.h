/* remoting_internal.h - what remoting.c and remoting_json.c share: the JSON half of the codec. */
#ifndef TERN_COMMON_REMOTING_INTERNAL_H
#define TERN_COMMON_REMOTING_INTERNAL_H

#include "common/remoting.h"

/* Reads a JSON header of `len` bytes into *out, whose header members are zero and whose body and
 * serialize are the caller's. `limit` is the end of the frame: up to there bytes may be looked at.
 * NULL, or a static sentence saying what is wrong. */
const char *remoting_json_decode(uint8_t *at, size_t len, const uint8_t *limit,
                                 struct remoting_frame *out);

/* The number of a language by its name; REMOTING_OTHER for an unknown one. */
uint8_t remoting_language_of(struct bytes name);

/* The three parts of a JSON header, for a writer that stands behind the 8 bytes of lengths. */
void remoting_json_begin(struct remoting_writer *w);
void remoting_json_put(struct remoting_writer *w, struct bytes key, struct bytes value);
void remoting_json_close(struct remoting_writer *w);

#endif
