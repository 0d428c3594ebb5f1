/* service.h - the life of a broker: put together, run, taken apart.
 *
 *   broker_new()   locks and recovers the store, binds the ports; nothing is served yet
 *   broker_run()   runs the loops (the first on the calling thread) until SIGTERM, SIGINT or
 *                  broker_stop(); then every reply that is owed is given
 *   broker_free()  closes the store cleanly
 *
 * A member of a group may have to begin again with another log: broker_run() returns then, and
 * broker_wants_restart() says that the caller is to make another one of the same settings.
 */
#ifndef TERN_BROKER_SERVICE_H
#define TERN_BROKER_SERVICE_H

#include "broker/broker.h"

struct broker_extra {
    /* Called once the first loop exists and before it runs (--standalone starts its name server
     * there, and says where it is). 0 or negative with err. */
    int (*before_run)(struct broker *b, void *ctx, struct err *err);
    /* The loops have returned, or were never run because something failed before (before_run too).
     */
    void (*after_run)(struct broker *b, void *ctx);
    void (*after_free)(struct broker *b, void *ctx); /* loops are gone */
    void *ctx;
};
/* `settings` has been through settings_finish() and must outlive the broker. */
int broker_new(struct broker **out, struct broker_settings *settings,
               const struct broker_extra *extra, struct err *err);
int broker_run(struct broker *b, struct err *err);
void broker_stop(struct broker *b); /* any thread */
/* 0, or the first failure of the store's clean stop. */
int broker_free(struct broker *b);

#endif
