/* locks.h - queue locks of ordered consumers: (group, topic, queue id) held by a client id.
 *
 * A lock lives 60 s after it was last taken or renewed, survives reconnects, and is owned by the
 * client id. One mutex inside; any thread. Bounded: LOCKS_MAX; expired ones are dropped, at the
 * bound they are looked for once a second.
 */
#ifndef TERN_BROKER_LOCKS_H
#define TERN_BROKER_LOCKS_H

#include "broker/call.h"

enum { LOCKS_MAX = 1000000, LOCK_LIFE_MS = 60000 };

struct locks *locks_new(unsigned most); /* LOCKS_MAX */
struct locks *locks_free(struct locks *l);
/* True when client holds the lock now (granted or renewed). */
bool locks_take(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                struct bytes client_id, int64_t now_ms);
void locks_release(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                   struct bytes client_id);

enum call_result serve_lock_batch(struct call *call);   /* 41, loop */
enum call_result serve_unlock_batch(struct call *call); /* 42, loop */

#endif
