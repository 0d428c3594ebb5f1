/* group_view.h - the members of a replicated group as ternctl sees them: who answers, what each
 * says of itself, and what that means for a promotion. Pure; group_ask.h asks them.
 */
#ifndef TERN_TOOLS_GROUP_VIEW_H
#define TERN_TOOLS_GROUP_VIEW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

enum { VIEW_MEMBERS_MAX = 8, VIEW_ADDRESS_MAX = 300 };

struct view_member {
    int64_t id; /* 0: not known yet, it does not answer */
    char address[VIEW_ADDRESS_MAX];
    bool answers;  /* as a member of a group */
    bool alive;    /* or in any other way */
    bool foreign;  /* it answers, and is a broker of another name */
    bool silent;   /* it does not, and that took a while to find out */
    char why[300]; /* it does not */
    /* A broker of no group: it does not answer as a member. Of the numbers below it has epoch (of
     * its promotion, 0: none), written, flushed and confirmed. */
    bool plain;
    int64_t broker_id; /* as name servers have it, or it says itself; -1: not known */
    int64_t file_id;   /* brokerId of its file */
    struct view_followed {
        char master[VIEW_ADDRESS_MAX], state[32];
        int64_t end, silent_ms; /* of the master, last heard, 0: never; -1: not connected */
    } followed;                 /* state "": it follows nobody */
    char role[16];
    bool doubtful, draining;
    int64_t master; /* that it knows; 0: none */
    uint64_t epoch, last_epoch, promised, asked;
    int64_t written, flushed, confirmed;
    char alarm[200];
    /* Of a round of promises that it asked for: by place among `members`. */
    struct view_promise {
        int64_t id;
        bool promised;
        uint64_t epoch;
        int64_t end;
    } promises[VIEW_MEMBERS_MAX];
    unsigned promise_count;
    struct view_follower {
        int64_t id;
        bool connected, following, near;
        int64_t received;
    } followers[VIEW_MEMBERS_MAX];
    unsigned follower_count;
};

struct view {
    const char *cluster, *broker; /* borrowed */
    struct view_member members[VIEW_MEMBERS_MAX];
    unsigned count;
    int64_t copies, promises_needed;
};

/* The member at that address, a new one when it is not known; NULL: no address, or there are
 * VIEW_MEMBERS_MAX. */
struct view_member *view_know(struct view *v, const char *address);
/* One entry for each id: a name server may know a member by another address than the others. */
void view_join(struct view *v);
struct view_member *view_member(struct view *v, int64_t id);
/* The one that writes, with the highest epoch; NULL. */
struct view_member *view_leader(struct view *v);
/* Another member than `than` answers. */
bool view_has_other(const struct view *v, const struct view_member *than);
/* How many bytes of the leader's log it lacks. Of a follower as the leader says: each member is
 * asked at another time. */
int64_t view_lag(struct view *v, const struct view_member *m);

/* From the JSON of a GROUP_STATUS; false: it is no such answer, or that of a broker of another name
 * (`foreign`, `why`). */
bool view_take(struct view *v, struct view_member *m, const json_t *status);
/* Nobody answers as a member of a group, and some broker that is in none does. */
bool view_is_plain(const struct view *v);
/* It answers, and is no member of the group that others are in: a slave of no group, one of
 * RocketMQ's, or a broker of another name. Nothing that it has or says counts. */
bool view_is_outsider(const struct view_member *m);
/* The slave of no group that has most; NULL: there is none. */
struct view_member *view_plain_best(struct view *v);
/* The broker of no group that is the master; NULL. */
struct view_member *view_plain_master(struct view *v);
/* By the id that name servers have it under; NULL. */
struct view_member *view_broker(struct view *v, int64_t broker_id);
/* Whom to promote: the member that answers, is sure of its log (or, `unclean`, is not), and has the
 * highest (last epoch, end). NULL: nobody. */
struct view_member *view_best(struct view *v, bool unclean);
/* How many promises can be had. */
unsigned view_promises(const struct view *v, bool unclean);
/* What an unclean promotion of `to` may lose, in a few lines; nothing is added when it is nothing.
 */
void view_losses(const struct view *v, const struct view_member *to, struct buf *out);

#endif
