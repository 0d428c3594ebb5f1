/* dispatch.h - from a decoded frame to its handler, and the reply back to the connection. */
#ifndef TERN_BROKER_DISPATCH_H
#define TERN_BROKER_DISPATCH_H

#include "broker/call.h"

extern const struct remoting_handler broker_remoting;

#endif
