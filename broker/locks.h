/* locks.h - queue locks of ordered consumers: (group, topic, queue id) held by a client id.
 *
 * A lock lives 60 s after it was last taken or renewed, survives reconnects, and is owned by the
 * client id. Holders are journalled, renewals are not: who begins to grant, after a start or a
 * promotion, gives each recorded lock to nobody but its holder for those 60 s. In a group a change
 * of holder is answered when as many members have it as a message has copies, and a master without
 * enough members near neither grants nor renews. One mutex inside; any thread. Bounded: LOCKS_MAX;
 * expired ones are dropped, at the bound they are looked for once a second.
 */
#ifndef TERN_BROKER_LOCKS_H
#define TERN_BROKER_LOCKS_H

#include "broker/call.h"

enum { LOCKS_MAX = 1000000, LOCK_LIFE_MS = 60000 };

struct locks *locks_new(unsigned most); /* LOCKS_MAX */
struct locks *locks_free(struct locks *l);
/* From here on this broker grants: what it knew is forgotten, what `m` has recorded counts as taken
 * now, and `m` is told of new holders. 0 or -ENOMEM: not all of the recorded ones are known. */
int locks_begin_reign(struct locks *l, struct metadata *m, int64_t now_ms);
/* True when client holds the lock now (granted or renewed). *sequence rises to that of the metadata
 * journal with which it holds it. */
bool locks_take(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                struct bytes client_id, int64_t now_ms, uint64_t *sequence);
/* Likewise, when client holds it already by a record of the journal up to `copied`. */
bool locks_renew(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                 struct bytes client_id, int64_t now_ms, uint64_t copied);
void locks_release(struct locks *l, struct bytes group, struct bytes topic, int32_t queue_id,
                   struct bytes client_id);

enum call_result serve_lock_batch(struct call *call);   /* 41, loop */
enum call_result serve_unlock_batch(struct call *call); /* 42, loop */

#endif
