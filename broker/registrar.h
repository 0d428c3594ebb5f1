/* registrar.h - keeps every name server informed of this broker and its topics.
 *
 * One thread per name server with a blocking connection of its own, so that one that is down or
 * slow delays nobody. Each tells the whole table of topics at start, every registerNameServerPeriod
 * and as soon as a broken connection can be made again; in between, over the same connection, what
 * changed, at once and with the version of the whole table. Changes that come while a registration
 * is under way go together into the next one. A first failure is one log line, the return another.
 * On stop each sends UNREGISTER_BROKER.
 */
#ifndef TERN_BROKER_REGISTRAR_H
#define TERN_BROKER_REGISTRAR_H

#include "broker/call.h"

enum { REGISTRAR_WAIT_MS = 1000 };

struct registrar *registrar_new(struct broker *b);
/* The loop of its timer; before it runs. */
void registrar_watch(struct registrar *r, struct loop *loop);
int registrar_start(struct registrar *r, struct err *err);
/* Unregisters everywhere (bounded time) and ends the threads; what is called afterwards does
 * nothing and waits for nobody. Safe twice. */
void registrar_stop(struct registrar *r);
struct registrar *registrar_free(struct registrar *r); /* stops first; returns NULL */

/* A topic was made or changed, or the permission was: tell all name servers soon. Returns the
 * number of the change. Any thread, never blocks. */
uint64_t registrar_changed(struct registrar *r);
/* The role of this broker has changed: all name servers are told everything again, under the id
 * that belongs to the new one. Any thread, never blocks. */
void registrar_role_changed(struct registrar *r);
/* Calls done(ctx) once every name server that can be reached has change `number`, at the latest
 * after about REGISTRAR_WAIT_MS; at once (on the calling thread) when it is so already or there is
 * none. `done` runs on a registrar thread or that loop otherwise. 0 or -ENOMEM (done is not
 * called). */
int registrar_when(struct registrar *r, uint64_t number, void (*done)(void *ctx), void *ctx);
/* A slave asks all name servers again where its master is: replication_master_told() with what they
 * say, as with each of its registrations. Any thread, also before registrar_start() and after
 * registrar_stop(), when it does nothing. */
void registrar_ask(struct registrar *r);
/* Name servers that hold the last change / that are configured. */
void registrar_status(struct registrar *r, unsigned *current, unsigned *configured);

#endif
