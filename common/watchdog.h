/* watchdog.h - signs of life that only living event loops can give.
 *
 * At half of the time that the service manager allows, the first loop asks all others for an
 * answer, and tells the manager when it has got all of them. A loop that hangs keeps the next sign
 * from being sent, whichever loop it is, and the manager ends the process. Without a manager that
 * asks for it (notify.h) nothing is armed, and nobody wakes up.
 */
#ifndef TERN_COMMON_WATCHDOG_H
#define TERN_COMMON_WATCHDOG_H

#include <stdatomic.h>

#include "common/loop.h"

struct watchdog {
    struct loop *const *loops;
    unsigned count;
    unsigned bit;            /* of loop_signal(), on each loop */
    struct loop_timer timer; /* on the first loop, as are the next two */
    int64_t interval_ms;
    bool unsent;         /* all loops live, but the manager could not be told yet */
    atomic_uint awaited; /* loops that have not answered in this round */
};
/* Before the loops run, and after notify_open(). `loops` and *w must outlive them; a single loop
 * needs no `bit`. 0 or -ENOMEM. */
int watchdog_start(struct watchdog *w, struct loop *const *loops, unsigned count, unsigned bit);

#endif
