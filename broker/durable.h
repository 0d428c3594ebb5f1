/* durable.h - answers that wait until a metadata change is on the disk (in a group: on as many as a
 * message has copies), and with the name servers.
 *
 * The metadata thread releases them in batches; see call_ok_when_durable() in call.h. One mutex
 * inside; any thread. Bounded: DURABLE_WAITS_MAX; above it the request is refused as busy.
 */
#ifndef TERN_BROKER_DURABLE_H
#define TERN_BROKER_DURABLE_H

#include "broker/call.h"

enum { DURABLE_WAITS_MAX = 65536 };

struct durable *durable_new(struct broker *b);
struct durable *durable_free(struct durable *d); /* those still waiting are dropped */
/* This broker is not the master any more: whoever waits is refused; its change may be undone. So is
 * whoever comes to wait, until it leads again. Any thread. */
void durable_refuse(struct durable *d);
void durable_lead(struct durable *d);
/* Before the loop runs: it keeps the time of those who wait for copies, slaveTimeout at most. */
void durable_start(struct durable *d, struct loop *loop);
/* metadata's on_durable: ctx is the struct durable. */
void durable_moved(void *durable);

#endif
