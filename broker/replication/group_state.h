/* group_state.h - tern/state: what a member of a group must not forget.
 * docs/protocol/tern-store.md.
 *
 * Lines of key=value, the last one a CRC-32 over what stands before it; replaced whole
 * (file_replace: the generation before is kept as .bak). One owner at a time: the start of the
 * broker, then the group's thread.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_STATE_H
#define TERN_BROKER_REPLICATION_GROUP_STATE_H

#include "broker/replication/core.h"
#include "common/buf.h"
#include "common/err.h"

struct group_state {
    struct core_state core;
    /* The log, and all that follows from it, is to be cut at `cut_to` before it is opened; `anew`:
     * emptied, to begin there (a multiple of the segment size). */
    bool cut, anew;
    uint64_t cut_to;
    char boot_id[40]; /* of the system when this was last written */
    bool doubtful;    /* a power cut may have taken what had counted, and nobody has said yet that
                         all is back */
};

/* Pure. -EBADMSG with err naming the line. Everything in *out is within its bounds. */
int group_state_parse(struct group_state *out, struct bytes text, struct err *err);
void group_state_print(const struct group_state *state, struct buf *out);

/* 0; -ENOENT: there is none (a new store); -EBADMSG: damaged, err says what to do (a member that
 * forgot its promises must not guess); -errno. */
int group_state_load(struct group_state *out, const char *root_dir, struct err *err);
/* Durable when it returns 0. */
int group_state_save(const struct group_state *state, const char *root_dir, struct err *err);
/* Of this boot of the system; empty when it cannot be told. */
void group_state_boot_id(char out[40]);

#endif
