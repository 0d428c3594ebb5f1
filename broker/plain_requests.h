/* plain_requests.h - what operators ask of a broker of no group by the requests for members of one:
 * docs/protocol/replication.md, "Orders to a broker of no group". */
#ifndef TERN_BROKER_PLAIN_REQUESTS_H
#define TERN_BROKER_PLAIN_REQUESTS_H

#include "broker/call.h"

/* On a reader: orders wait for the disk. */
enum call_result serve_plain_status(struct call *call);
enum call_result serve_plain_promote(struct call *call, bool unclean);
enum call_result serve_plain_step_down(struct call *call);

#endif
