/* kept.h - what one broker of this process leaves to the next when it begins again (service.h):
 * its listening sockets, the replication port, the connections of its clients, and what is known of
 * these (clients.h).
 *
 * A client notices nothing but a pause. Who connects in between waits in the backlog; who is
 * connected waits with its next request in the socket, and requests that wait for a master, or for
 * its answer (forward.h), go on too. Nothing is repeated: a connection that is still owed any other
 * answer when the broker ends is closed.
 */
#ifndef TERN_BROKER_KEPT_H
#define TERN_BROKER_KEPT_H

#include "broker/replication/core.h"
#include "common/conn.h"

struct broker;
struct broker_loop;
struct clients;
struct forward_kept;

enum { KEPT_MAIN, KEPT_VIP, KEPT_LISTENERS, KEPT_HA = KEPT_LISTENERS, KEPT_SOCKETS };

struct kept {
    int sockets[KEPT_SOCKETS]; /* listening, or (KEPT_HA) bound at least; -1: none */
    /* Of each loop, touched by its thread only while it runs. */
    struct kept_loop {
        struct kept_connection {
            struct conn_kept conn;
            conn_id id; /* that it had */
            bool main_port;
        } * at;
        size_t count, cap;
        struct forward_kept *requests; /* NULL: none */
    } loops[LOOP_MAX];
    struct clients *clients; /* NULL: none */
    /* Where the members of the group were found, in the order of groupMembers (forward.h): requests
     * that one of them has passed on are met before their names are looked up. Family 0: nowhere.
     */
    struct sockaddr_storage members[CORE_MEMBERS_MAX];
};

void kept_init(struct kept *k);
/* Closes all that nobody has taken. */
void kept_drop(struct kept *k);

/* --- the broker that ends --- */
/* Before its listeners are freed; thread of loop 0. */
void kept_take_listeners(struct kept *k, struct broker *b);
/* Clients of this loop are not listened to any more; may be repeated, for those that have come
 * since. Then, when nobody is owed an answer, its connections are taken. Thread of the loop. */
void kept_rest(const struct broker_loop *on);
void kept_take_connections(struct kept *k, struct broker_loop *on);
/* The loops are gone. */
void kept_take_clients(struct kept *k, struct broker *b);

/* --- the broker that begins --- */
/* NULL: there are none, or no memory for new ones. */
struct clients *kept_give_clients(struct kept *k, struct broker *b);
/* Before its loops run. Those that cannot be gone on with are closed. */
void kept_give_connections(struct kept *k, struct broker *b);

#endif
