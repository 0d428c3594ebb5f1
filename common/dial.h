/* dial.h - an outgoing TCP connection to "host:port".
 *
 * Blocking up to a deadline, for threads that may wait; the look-up of a host by name is not
 * bounded by it. No globals.
 */
#ifndef TERN_COMMON_DIAL_H
#define TERN_COMMON_DIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/err.h"

struct dial_address {
    char host[256];
    char port[8];
};
/* "host:port" or "[IPv6 address]:port"; -EINVAL. */
int dial_parse(struct dial_address *out, const char *address, struct err *err);
/* The address of the port so many below; false: there is none, it is no address, or does not fit.
 */
bool dial_below(const char *address, int below, char *out, size_t size);
struct dial_options {
    const char *source;  /* numeric address to come from, NULL: any; left out where it cannot lead
                            there */
    bool only_loopback;  /* -EPERM for any other address, before anything is sent to it */
    int64_t deadline_ms; /* monotonic */
    int cancel_fd;       /* given up (-ECANCELED) when it is readable; 0: none */
};
/* A descriptor to cancel by, here and with rpc_cancel_by(); the caller closes it. Negative with
 * err. */
int dial_cancel_new(struct err *err);
void dial_cancel(int cancel_fd); /* for good; any thread */
/* A connected socket, non-blocking, close-on-exec, with TCP_NODELAY; negative with err. */
int dial(const struct dial_address *to, const struct dial_options *options, struct err *err);
/* Binds a socket that is to connect `to` an address; does nothing where `source` cannot lead there:
 * from a loopback address only loopback can be reached, and the other way round. */
void dial_come_from(int fd, const char *source, const struct sockaddr *to);
/* Waits until the socket has one of the poll() `events`: 0, -ETIMEDOUT or -errno. `cancel_fd`: as
 * above. */
int dial_wait(int fd, short events, int64_t deadline_ms, int cancel_fd);

#endif
