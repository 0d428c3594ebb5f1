/* link.h - one connection with many requests under way, for programs that wait on several.
 *
 * Beside common/rpc.h, which waits for each answer: here frames are written and read as the socket
 * takes and gives them, and the owner polls. Owned by one thread.
 */
#ifndef TERN_TOOLS_LINK_H
#define TERN_TOOLS_LINK_H

#include <sys/types.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/remoting.h"

struct link {
    int fd;         /* -1: closed; zeroes are not a closed link, see link_init() */
    struct buf in;  /* `spent` bytes at its front are done with */
    struct buf out; /* append frames here, then link_flush() */
    size_t spent;
};

/* A connected, non-blocking socket with TCP_NODELAY, or negative with err. With `only_loopback`,
 * -EPERM for any other address, before anything is sent to it. timeout_ms covers connecting, not
 * the look-up of a name. */
int link_dial(const char *address, bool only_loopback, int timeout_ms, struct err *err);

void link_init(struct link *l);
/* Dials. 0 or negative with err. */
int link_open(struct link *l, const char *address, bool only_loopback, int timeout_ms,
              struct err *err);
void link_close(struct link *l); /* also safe when closed */

/* Writes what the socket takes. 0, also when some is left (l->out.len); negative: broken. */
int link_flush(struct link *l);
/* Reads what has come, `chunk` bytes at most. Positive: bytes; 0: nothing yet; negative: broken
 * (-ECONNRESET when the peer has closed). */
ssize_t link_fill(struct link *l, size_t chunk);
/* The next whole frame; it holds until the next call of any of these. */
enum { LINK_PARTIAL = 1 };
int link_next(struct link *l, struct remoting_frame *frame);

#endif
