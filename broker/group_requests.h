/* group_requests.h - between members of a group, and what operators ask of one:
 * docs/protocol/replication.md, "Members of a group". Without groupMembers the status, promotion
 * and stepping down are answered by plain_requests.h, and the others refused (1). */
#ifndef TERN_BROKER_GROUP_REQUESTS_H
#define TERN_BROKER_GROUP_REQUESTS_H

#include "broker/call.h"
#include "broker/replication/core.h"

/* "master", "following" ...: as the status says it. */
const char *group_role_name(enum core_role role);

/* The greeting of another member: when it is answered with success the connection becomes a link
 * and leaves the loop. */
enum call_result serve_group_greet(struct call *call); /* 7100, loop */
/* These wait for the group's thread, which may wait for the disk. */
enum call_result serve_group_status(struct call *call);    /* 7101, reader */
enum call_result serve_group_promote(struct call *call);   /* 7102, reader */
enum call_result serve_group_hand_over(struct call *call); /* 7103, reader */
enum call_result serve_group_step_down(struct call *call); /* 7104, reader */

#endif
