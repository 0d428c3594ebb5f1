/* ctl_group.h - what the commands on members of a group (ctl_group.c) and those on brokers of no
 * group (ctl_plain.c) have in common.
 */
#ifndef TERN_TOOLS_CTL_GROUP_H
#define TERN_TOOLS_CTL_GROUP_H

#include "tools/group_ask.h"

enum { GROUP_LOOK_MS = 20, GROUP_TO_UNSET = -1 };

struct group_command {
    const char *cluster, *broker, *members;
    int64_t to, wait_ms;
    bool unclean;
};

/* Steps are seen when they happen; with --json all at the end. */
void group_step(struct ctl *ctl);
/* One request to that broker; TOOL_DONE, or the status with ctl->err. */
int group_call(struct ctl *ctl, const struct view *v, const struct view_member *m,
               const char *doing, int32_t code, const struct rpc_field *fields, size_t count);
/* Until all name servers that answer route to `m`, the master. */
int group_wait_for_routes(struct ctl *ctl, const struct view *v, const struct view_member *m,
                          int64_t until_ms);

/* The commands of the same name, when view_is_plain(). */
void plain_group(struct ctl *ctl, struct view *v);
int plain_promote(struct ctl *ctl, struct view *v, const struct group_command *c);
int plain_demote(struct ctl *ctl, struct view *v, const struct group_command *c);

#endif
