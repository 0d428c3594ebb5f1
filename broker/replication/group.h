/* group.h - a member of a replicated group: carries out what the core (core.h) orders.
 *
 * One thread owns the core and the links to the other members: it reads and writes sockets, saves
 * tern/state, gives log bytes to the store and sends them from it, keeps the quorum. The reasons
 * are in docs/decisions/0013-members-of-a-group.md.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_H
#define TERN_BROKER_REPLICATION_GROUP_H

#include "broker/replication/group_state.h"
#include "broker/replication/quorum.h"
#include "broker/store/store.h"

struct group;

enum { GROUP_ADDRESS_MAX = 300, GROUP_VERSION = 1 };
struct group_member {
    uint16_t id;
    char address[GROUP_ADDRESS_MAX]; /* of its main port */
};

struct group_options {
    const char *cluster, *broker_name, *root_dir;
    const char *source;                            /* address that links come from; NULL: any */
    struct group_member members[CORE_MEMBERS_MAX]; /* this one too */
    unsigned member_count;
    struct core_options times;
    struct quorum_options quorum; /* copies: k */
    struct group_state state;     /* as loaded or made; without a cut: it has been carried out */
    struct store *store;          /* a follower */
    struct metadata *metadata;
    /* All called on the group's thread; must not wait for it. */
    /* Writes are open, the first record is written. `handed`: by a master that lives, and is about
     * to follow. */
    void (*on_lead)(void *ctx, uint64_t epoch, bool handed);
    void (*on_halt)(void *ctx); /* they are not any more: owed replies are to be refused */
    /* This broker was a master, or its log is to be cut: it is to be made anew. Once. */
    void (*on_restart)(void *ctx);
    void (*on_confirmed)(void *ctx);
    void (*on_master)(void *ctx, const char *address); /* main port of the master; "" nobody */
    /* Something of the metadata has more copies, or there are fewer members. */
    void (*on_meta_copied)(void *ctx);
    void *ctx;
};
/* Starts the thread. */
int group_new(struct group **out, const struct group_options *options, struct err *err);
/* Ends the thread, closes all links; safe twice, NULL is fine. Before the metadata and the store
 * are closed. */
void group_stop(struct group *g);
struct group *group_free(struct group *g); /* stops first; returns NULL */

/* --- any thread --- */
void group_progress(struct group *g); /* watermarks of the log or the journal have moved; cheap */
bool group_leads(const struct group *g);
uint64_t group_epoch(const struct group *g); /* of the writer that is known; 0: none */
/* So many copies of everything below exist; enough members are near. Of a leader. */
uint64_t group_acked(const struct group *g);
bool group_enough(const struct group *g);
/* Enough follow, and would say so if there were another master, however much they have. */
bool group_in_touch(const struct group *g);
/* The sequence of the metadata journal that k members have; UINT64_MAX when k is 1. */
uint64_t group_meta_copied(const struct group *g);
/* Somebody (a name server) knows a higher epoch than ours. */
void group_outdated(struct group *g);

/* A greeting was accepted by group_greet(): `fd` (taken over) is what member `from` sends on. */
struct group_greeting {
    const char *cluster, *broker_name; /* as bytes of the request were checked to be text */
    int64_t from, copies, segment_bytes, version, count;
};
/* NULL, or why not: a sentence for the remark and the log. */
const char *group_greet(const struct group *g, const struct group_greeting *greeting);
void group_take_link(struct group *g, uint16_t from, int fd);

/* --- orders of an operator; any thread, carried out soon --- */
/* Asks for promises; `unclean`: goes on with those that can be had. -EALREADY: it leads. */
int group_promote(struct group *g, bool unclean);
/* Hands over to member `to` (0: whoever has most) once that has everything; no writes meanwhile. A
 * hand-over that does not happen within wait_ms is given up, and writes are open again. -EPERM:
 * it does not lead; -ENOENT: `to` is no member that follows. */
int group_hand_over(struct group *g, uint16_t to, int64_t wait_ms);
/* Writes end, and it does not go on by itself. -EPERM: it does not lead. */
int group_step_down(struct group *g);

struct group_member_status {
    struct group_member member;
    bool self, connected, following, near;
    uint64_t received, flushed; /* of one that follows us, or our own */
    int64_t heard_ms;           /* ago; -1: never */
    /* of the last round of promises that we asked for */
    bool promised;
    uint64_t promised_epoch, promised_end;
};
struct group_status {
    enum core_role role;
    bool doubtful, draining;
    uint16_t self, master; /* 0: none known */
    uint64_t promised, epoch, last_epoch, asked;
    uint64_t written, flushed, confirmed, acked;
    unsigned copies, promises_needed;
    bool unclean;
    char alarm[200]; /* the last one, empty: none */
    unsigned epoch_count;
    struct core_epoch epochs[CORE_EPOCHS_MAX];
    unsigned member_count;
    struct group_member_status members[CORE_MEMBERS_MAX];
};
void group_status(struct group *g, struct group_status *out);

#endif
