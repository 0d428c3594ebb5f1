/* replication.h - a broker's part in its group: what the services ask of the copies of the log.
 *
 * Made before the store (whose threads call replication_progress()), started when the store is
 * open, stopped when no reply is owed any more. Every question may be asked from any thread.
 */
#ifndef TERN_BROKER_REPLICATION_REPLICATION_H
#define TERN_BROKER_REPLICATION_REPLICATION_H

#include "broker/broker.h"
#include "broker/replication/group.h"
#include "broker/replication/ha_master.h"
#include "broker/replication/plain_slave.h"

struct replication *replication_new(struct broker *b);
/* This broker takes no messages: it is not the master now. Cheap. Of a member of a group it may
 * change at any time. */
bool replication_is_slave(const struct replication *r);
/* groupMembers is set. */
bool replication_is_member(const struct replication *r);
/* Of a slave of no group that an operator has made the master: the epoch; else 0. */
uint64_t replication_promoted(const struct replication *r);
/* A slave of no group becomes the master, and one that did so a slave again: kept on the disk, then
 * the broker begins again in this process. A promotion that is not `unclean` looks first whether
 * the master lives and what is missing (plain_slave_may_lead()). -EALREADY, -EPERM: it has that
 * role; -EAGAIN: not now; -errno. err is for the operator. May wait for the disk. */
int replication_promote(struct replication *r, bool unclean, struct err *err);
int replication_step_down(struct replication *r, struct err *err);
/* What name servers are to know this broker as: 0 as the master. */
int64_t replication_broker_id(const struct replication *r);
/* A name server knows a newer epoch of the id that we told it. True: this broker led its group by
 * an older one and ceases to. */
bool replication_outdated(struct replication *r);
/* The sequence of the metadata journal up to which it is kept: durable here, and in a group on as
 * many members as a message has copies. */
uint64_t replication_metadata_kept(const struct replication *r);
/* What is durable of the metadata journal has moved: members are told, and topics that came from
 * the master are told to name servers. The metadata thread. */
void replication_metadata_moved(struct replication *r);
/* Of a master that has lost touch with its members: no lock, another one may be the master already.
 * While members that are there take nothing, only to whom the record of the metadata journal up to
 * *copied has it: nobody else would know of a new holder. */
enum lock_leave { LOCKS_NONE, LOCKS_HELD, LOCKS_ANY };
enum lock_leave replication_lock_leave(const struct replication *r, uint64_t *copied);
/* Around store_open(): how the store is to be opened in the role that this broker has, and that it
 * was. The store folder is locked, the metadata are there. */
int replication_prepare(struct replication *r, struct store_options *options, struct err *err);
int replication_opened(struct replication *r, struct err *err);
/* `listen_fd`: bound to the HA port, taken over; a slave listens on it to nobody, a
 * member of a group only once it has been the master. */
int replication_start(struct replication *r, int listen_fd, struct err *err);
/* The role does not change any more. Before the services that it starts and ends are stopped. */
void replication_leave(struct replication *r);
void replication_stop(struct replication *r);
struct replication *replication_free(struct replication *r); /* returns NULL */

/* A name server has said where the master of the group is (main port, HA port); empty: it does not
 * know. Any thread. */
void replication_master_told(struct replication *r, struct bytes main, struct bytes ha);

/* The store's watermarks have moved. */
void replication_progress(struct replication *r);

/* NULL: groupMembers is not set, or it has not started yet. */
struct group *replication_group(const struct replication *r);
/* Main port of the master that a member of a group knows, "" when it knows none. */
void replication_master_of_group(struct replication *r, char *address, size_t size);

/* What a reply for a confirmed message with this end says: success; SLAVE_NOT_AVAILABLE when there
 * were not enough members; FLUSH_SLAVE_TIMEOUT when they took too long. */
int32_t replication_verdict(const struct replication *r, uint64_t log_end);
/* False with replicaAck=strict when too few members are near for a send to get its copies. */
bool replication_takes_sends(const struct replication *r);
/* This is a member of a group, and too few others are near for a send to get its copies. */
bool replication_lacks_members(const struct replication *r);
/* Copies that a message answered with success has, this one included. */
unsigned replication_copies(const struct replication *r);
/* All zero but `acked` and `slowest` when there is no HA port. */
void replication_status(const struct replication *r, struct ha_status *out);
/* Of a slave: false when it is none, or not started. */
bool replication_slave_status(const struct replication *r, struct ha_slave_status *out,
                              int64_t *metadata_age_ms);

#endif
