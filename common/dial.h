/* dial.h - an outgoing TCP connection to "host:port".
 *
 * Blocking up to a deadline, for threads that may wait; the look-up of a host by name is not
 * bounded by it. No globals.
 */
#ifndef TERN_COMMON_DIAL_H
#define TERN_COMMON_DIAL_H

#include <stdint.h>

#include "common/err.h"

struct dial_address {
    char host[256];
    char port[8];
};
/* "host:port" or "[IPv6 address]:port"; -EINVAL. */
int dial_parse(struct dial_address *out, const char *address, struct err *err);
/* A connected socket, non-blocking, close-on-exec, with TCP_NODELAY; negative with err. `source`
 * (may be NULL) is the numeric address to come from; it is left out where it cannot lead there.
 * deadline_ms is monotonic. */
int dial(const struct dial_address *to, const char *source, int64_t deadline_ms, struct err *err);

#endif
