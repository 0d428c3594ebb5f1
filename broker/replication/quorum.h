/* quorum.h - how many copies there are, and what that lets be confirmed. Pure: no I/O, no clock.
 *
 * A message is safe when `copies` members have it, this one included. Members are counted by
 * identity, however many connections they have: of several the one that has acknowledged least
 * counts, since an old one may be that of a process that is gone; and none that is silent beside
 * one that is not.
 *
 * QUORUM_GO_ON (replicaAck=rocketmq): when too few members are near, nobody waits for them; what
 * has waited for timeout_ms goes on without them. Such messages are answered with another status
 * than success. A member that is heard of and took nothing at all for so long, while messages
 * waited for it, is silent: its disk is full, and each further message would wait as long. It is
 * near again when it takes within timeout_ms what is written. One that is not heard of may be at
 * the other end of a cable that is cut, where there is another master perhaps: messages that go on
 * without it are gone then, so they are few. QUORUM_STRICT: nothing goes on without the copies.
 *
 * One owner at a time; the owner locks. Times are monotonic ms, offsets are of the log.
 */
#ifndef TERN_BROKER_REPLICATION_QUORUM_H
#define TERN_BROKER_REPLICATION_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

enum {
    QUORUM_MEMBERS_MAX = 32,
    QUORUM_IDENTITY_MAX = 64,
    QUORUM_SAMPLES = 512,
    QUORUM_SAMPLE_MS = 10
};

enum quorum_policy { QUORUM_GO_ON, QUORUM_STRICT };

struct quorum_options {
    unsigned copies; /* 1: nobody is waited for */
    enum quorum_policy policy;
    int64_t timeout_ms;
    uint64_t behind_max; /* a member that lacks so many bytes or more is not near */
};

struct quorum_connection {
    char identity[QUORUM_IDENTITY_MAX];
    bool used, reported;
    bool silent;
    uint64_t acked;
    int64_t moved_ms, heard_ms; /* when it last took something; was last heard of */
    /* Silent: what it has to take, and since when. */
    uint64_t target;
    int64_t target_ms;
};

struct quorum {
    struct quorum_options options;
    struct quorum_connection connections[QUORUM_MEMBERS_MAX];
    uint64_t written; /* as last told */
    uint64_t acked;   /* so many copies exist of everything below; never falls */
    uint64_t limit;   /* what may be confirmed; never falls while it is finite */
    unsigned near;    /* members that were near at the last update */
    bool open;        /* too few members are near: `limit` does not count */
    /* What was written when, of what is above `limit`. */
    struct quorum_sample {
        int64_t ms;
        uint64_t written;
    } samples[QUORUM_SAMPLES];
    unsigned sample_first, sample_count;
};

/* The log ends at `written`, all of which counts as confirmed (it was, or nobody was told). */
void quorum_init(struct quorum *q, const struct quorum_options *options, uint64_t written);
/* A connection; -1 when there are too many. */
int quorum_connect(struct quorum *q, const char *identity, int64_t now_ms);
void quorum_disconnect(struct quorum *q, int connection);
/* The member has everything below `acked`, or said so when it was last heard of. The owner has
 * checked that it is not above the log's end. */
void quorum_report(struct quorum *q, int connection, uint64_t acked, int64_t heard_ms);
bool quorum_is_silent(const struct quorum *q, int connection);
/* Nobody is waited for, and the next update may change that: it is told what is held as confirmed
 * from then on (store_hold_confirmed()), since what was seen may not be taken back. */
bool quorum_may_close(const struct quorum *q);
/* Takes in what has happened. Returns when to call again at the latest; INT64_MAX: when something
 * happens. */
int64_t quorum_update(struct quorum *q, int64_t now_ms, uint64_t written);
/* What confirmed may be: UINT64_MAX when nobody is waited for. */
uint64_t quorum_limit(const struct quorum *q);
/* Members with a connection that is near now: connected, not silent, and not too far behind. */
unsigned quorum_near(const struct quorum *q);

#endif
