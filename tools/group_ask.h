/* group_ask.h - asking the members of a replicated group what they are (GROUP_STATUS). */
#ifndef TERN_TOOLS_GROUP_ASK_H
#define TERN_TOOLS_GROUP_ASK_H

#include "tools/group_view.h"
#include "tools/ternctl.h"

/* Finds the members by the name servers and by what they say of each other; `hint` (NULL: none) is
 * "host:port;host:port" of more. TOOL_NOT_FOUND, TOOL_UNREACHABLE: nobody answers. */
int view_find(struct ctl *ctl, const char *cluster, const char *broker, const char *hint,
              struct view *v);
/* Asks one; the others that it names are known then. */
void view_ask(struct ctl *ctl, struct view *v, struct view_member *m);
/* Asks them again, but not those that left the last question unanswered for long: a promotion must
 * not be held up at each look by a host that is gone. */
void view_refresh(struct ctl *ctl, struct view *v);

#endif
