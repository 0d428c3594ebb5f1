/* group_config.h - the settings of a member of a group: groupMembers, memberId, and the rules
 * between them and the others. The text is read here and checked; nothing else reads it. */
#ifndef TERN_BROKER_GROUP_CONFIG_H
#define TERN_BROKER_GROUP_CONFIG_H

#include "broker/broker_config.h"
#include "broker/replication/group.h"

enum { GROUP_MEMBERS_MIN = 2 };

struct group_list {
    struct group_member members[CORE_MEMBERS_MAX];
    unsigned count;
};
/* "1@host:port;2@[::1]:port": 2 to 8 members, ids 1 to 65535, each id and address once. -EINVAL
 * with a clause that says which item is wrong and how. */
int group_list_parse(struct group_list *out, const char *text, struct err *err);

static inline bool group_is_set(const struct broker_config *c)
{
    return c->group_members[0] != '\0';
}

/* Copies of a message, this one included: SYNC_MASTER means two unless inSyncReplicas says
 * otherwise; a slave of a group names them itself. */
unsigned group_config_copies(const struct broker_config *c);

/* The id that name servers are told while another member leads (while this one does: 0). */
int64_t group_config_follower_id(const struct broker_config *c);

/* The rules between the keys of a group. 0, or -EINVAL with the line to add or change. */
int group_config_check(const struct broker_config *c, struct err *err);

#endif
