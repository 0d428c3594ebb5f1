/* simulation.h - a whole group of replication cores in simulated time, network and disk, from a
 * seed.
 *
 * A schedule makes members crash (losing what was not synced, or not), cuts and delays and doubles
 * messages, lets clients write wherever writes are open, deletes the oldest records, replaces
 * disks, fills links, and lets an operator promote or hand over to whomever. What is checked all
 * the time: what one member has confirmed at a log offset is what every member confirms there, for
 * ever; an epoch has one writer. At the end all is healed: one master, all logs the same, and
 * everything that was ever confirmed is there.
 *
 * The cores are those of the product; one group at a time, one thread.
 */
#ifndef TERN_TESTS_UNIT_BROKER_SIMULATION_H
#define TERN_TESTS_UNIT_BROKER_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

enum bug {
    NO_BUG,
    SKIPPED_TRUNCATION,
    ACK_BEFORE_FLUSH,
    PROMISE_NOT_DURABLE,
    PROMOTION_BY_CONFIRMED,
    CLAIM_UNHEARD,     /* a member with a new disk begins the history anew */
    HAND_OVER_AT_ONCE, /* the other member is told before it has the last bytes */
};

struct plan {
    unsigned nodes, copies;
    bool flushed;    /* copies count when flushed */
    bool power_cuts; /* else only processes die, and what is written stays. Without `flushed` one
                        member at a time, until it has caught up: more at once may lose what was
                        confirmed, that is what ASYNC_FLUSH means */
    enum bug bug;
};

/* What the schedules since simulation_begin() were worth. */
struct simulated {
    const char *broken; /* what did not hold in the last one */
    int64_t now_ms;     /* when it ended */
    uint64_t confirmed; /* records, in the last one */
    uint64_t crashes, promotions, handed, replaced, anews;
};

/* `talks`: what happens is said on stdout. */
void simulation_begin(const struct plan *plan, bool talks);
/* One schedule; false: something did not hold. */
bool simulation_live(uint64_t seed);
/* A hand-over that nothing disturbs: it ends where it was to, and what was written is there. */
bool simulation_hand_over(uint64_t seed);
struct simulated simulation_seen(void);

#endif
