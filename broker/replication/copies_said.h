/* copies_said.h - the operator hears when members that were there do not suffice any more for the
 * copies that a send waits for, and when they do again. */
#ifndef TERN_BROKER_REPLICATION_COPIES_SAID_H
#define TERN_BROKER_REPLICATION_COPIES_SAID_H

#include "broker/replication/quorum.h"

struct copies_said {
    bool enough, lack; /* there were enough; it was said that there are not */
};
/* After quorum_update(): logs a change since the last call. `members`: "slaves" or what they are
 * called. The owner of the quorum's thread. */
void copies_say(struct copies_said *c, const struct quorum *q, const char *members);

#endif
