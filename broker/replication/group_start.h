/* group_start.h - how a member of a group begins: tern/state is loaded, or made for a member that
 * has none; its cut is handed to the store; what has changed is saved once the store is open. One
 * thread, that of the start. */
#ifndef TERN_BROKER_REPLICATION_GROUP_START_H
#define TERN_BROKER_REPLICATION_GROUP_START_H

#include "broker/group_config.h"

struct group_start {
    struct group_list list;
    struct group_state state;
    bool changed; /* to be saved */
};
/* Before the store is opened: loads or makes the state, and says in *store how it is to be opened.
 * `told`: the stateVersion of the topics here, which name servers may have been told by a former
 * group. A new group's epochs are above it.
 * Negative with err, also when groupMembers or the number of copies are others than they were. */
int group_start_prepare(struct group_start *g, const struct broker_config *c, uint64_t told,
                        struct store_options *store, struct err *err);
/* The store is open, and a cut is done: durable when it returns 0. */
int group_start_opened(struct group_start *g, const struct broker_config *c, struct err *err);

#endif
