/* copies_said.c - see copies_said.h. */
#include "broker/replication/copies_said.h"

#include "common/log.h"

void copies_say(struct copies_said *c, const struct quorum *q, const char *members)
{
    unsigned copies = q->options.copies;
    bool enough = q->near + 1 >= copies;

    if (c->enough && !enough) {
        c->lack = true;
        log_warn("too few %s take what is sent (%u, for %u copies of each message): %s", members,
                 q->near, copies,
                 q->options.policy == QUORUM_STRICT
                     ? "sends are refused with 14 (replicaAck=strict)"
                     : "sends are stored here and answered with 11 (replicaAck=rocketmq)");
    } else if (enough && c->lack) {
        c->lack = false;
        log_info("there are %u copies of each message again", copies);
    }
    c->enough = enough;
}
