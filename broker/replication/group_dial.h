/* group_dial.h - keeps the links to the other members of a group made: one thread for each, which
 * dials the member's main port, greets it (request 7100) and gives the socket away.
 *
 * A link is made again whenever its owner says that it is lost, at once when it had lasted, later
 * and later (DIAL_RETRY_MAX_MS) otherwise. One line in the log for a first failure, another for the
 * return.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_DIAL_H
#define TERN_BROKER_REPLICATION_GROUP_DIAL_H

#include "broker/replication/group.h"

struct group_dial;

enum { DIAL_RETRY_FIRST_MS = 50, DIAL_RETRY_MAX_MS = 1000 };

struct group_dial_options {
    struct group_member to;
    struct group_greeting greeting; /* ours; strings must outlive the thread */
    int64_t silent_ms; /* bytes that are not taken for twice as long end the connection */
    /* A connected, greeted, non-blocking socket, to be closed by whoever is called. False: it
     * is closed, and lost. The thread's. */
    bool (*on_link)(void *ctx, uint16_t to, int fd);
    void *ctx;
};
int group_dial_new(struct group_dial **out, const struct group_dial_options *options,
                   struct err *err);
/* The link is not there any more. Any thread. */
void group_dial_lost(struct group_dial *d);
/* Ends the thread, also one that waits for the member (rpc_cancel_by()). Safe twice; NULL is fine.
 */
void group_dial_stop(struct group_dial *d);
struct group_dial *group_dial_free(struct group_dial *d); /* stops first; returns NULL */

#endif
