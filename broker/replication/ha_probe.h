/* ha_probe.h - before a slave follows a log: whether its own is the beginning of it.
 *
 * RocketMQ's default protocol has no terms: a slave that says how much it has is streamed what
 * comes behind that, whatever stands before. So the master is asked first, on its main port, by
 * requests that every RocketMQ broker answers: how far its log goes (28), and for the message that
 * is the last one here (33). Asked after the replication connection was made, so that it is the
 * same process that streams.
 */
#ifndef TERN_BROKER_REPLICATION_HA_PROBE_H
#define TERN_BROKER_REPLICATION_HA_PROBE_H

#include "broker/store/store.h"
#include "common/rpc.h"

/* What a master says of its log. */
struct ha_master_log {
    uint64_t min;
    uint64_t written;   /* what it may have streamed */
    uint64_t confirmed; /* what it serves, at most `written` */
    bool tern;          /* it is one of ours, */
    bool member;        /* and in a group */
};
/* Request 28. 0 or negative with err. */
int ha_ask_log(struct rpc *master, int timeout_ms, struct ha_master_log *out, struct err *err);

struct ha_start {
    uint64_t report; /* the first report */
    uint64_t next;   /* the log offset that must come first; HA_ANY_OFFSET */
};
/* 0: follow from *out on. HA_APART: the logs have parted, or cannot be compared: do not follow;
 * err says so with both offsets and what to do. Negative: could not be asked, or this store could
 * not be read; later again. `whole`: an empty store wants all that the master has, where that is
 * for the slave to say: RocketMQ's masters begin with their last file unless they are told another
 * offset, so the first message is fetched and taken here. Everything in `store` is kept. */
enum { HA_APART = 1 };
int ha_probe(struct store *store, const char *store_dir, struct rpc *master, bool whole,
             int timeout_ms, struct ha_master_log *log, struct ha_start *out, struct err *err);

#endif
