/* standard.h - the descriptors that whoever starts a program leaves it: 0, 1 and 2, which may be
 * closed, and how many there may be.
 *
 * For the main thread of a program.
 */
#ifndef TERN_COMMON_STANDARD_H
#define TERN_COMMON_STANDARD_H

#include <sys/types.h>

#include "common/buf.h"

/* To be called before anything is opened: takes the numbers that are free, so that no socket or
 * file of the store gets one of them and then what is printed or logged. Reading and writing there
 * fail with -EBADF, as if they were still closed. 0 or -errno. */
int standard_hold(void);
/* Writes all of `out` to stdout and empties it, also when that fails. -EPIPE: the reader has gone
 * (SIGPIPE must be ignored); -ENOMEM: `out` has failed; any other -errno. */
int standard_write(struct buf *out);
/* Takes as many open files as the process may have (shells and systemd leave 1024 of them), and
 * returns that number. */
int64_t standard_raise_files(void);

#endif
