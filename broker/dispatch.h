/* dispatch.h - from a decoded frame to its handler, and the reply back to the connection. */
#ifndef TERN_BROKER_DISPATCH_H
#define TERN_BROKER_DISPATCH_H

#include "broker/call.h"

extern const struct remoting_handler broker_remoting;

/* Carries a request out here that has waited: on the loop of its connection, which call->conn is
 * (NULL only for a oneway request). `out` is set by it. */
void dispatch_run(struct call *call, const struct handler *handler);

#endif
