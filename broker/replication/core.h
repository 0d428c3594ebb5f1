/* core.h - who writes, who follows, where logs part: the replication core as a step function.
 *
 * Events and time go in, orders come out; no I/O, no clock, no allocation, no thread. One broker
 * has one core; the owner calls it from one thread and carries out its orders in order. A whole
 * group runs in one test with simulated time, network and disk. The reasons are in
 * docs/decisions/0010-terms-and-incarnations.md.
 *
 *   member   a permanent id, above 0, unique in the group (tern/state)
 *   term     the right to write, given by promises: counter << 16 | member. It names who asked for
 * it, so that no two are equal epoch    term << 20 | incarnation: each start of the term's master
 * is an epoch of its own. One writer per epoch copies   k: members that must have a message before
 * it is confirmed
 *
 * A term needs the promises of N - k + 1 of the N members: any such set has met any set of k that
 * holds a confirmed message, so that the promiser with the highest (last epoch, end of log) has
 * them all. Offsets are of the log. Times are monotonic ms.
 */
#ifndef TERN_BROKER_REPLICATION_CORE_H
#define TERN_BROKER_REPLICATION_CORE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CORE_MEMBERS_MAX = 8,
    CORE_EPOCHS_MAX = 64,
    CORE_ORDERS_MAX = 64,
    CORE_FRAME_MAX = 1 << 18, /* bytes of log in one piece */
    CORE_INCARNATION_BITS = 20,
    CORE_MEMBER_BITS = 16,
};

static inline uint64_t core_term(uint64_t epoch)
{
    return epoch >> CORE_INCARNATION_BITS;
}
/* Versions of topics and the metadata journal have epochs as signed numbers. */
#define CORE_EPOCH_MAX ((uint64_t)INT64_MAX)
#define CORE_TERM_MAX core_term(CORE_EPOCH_MAX)

/* From `start` on the log was written in `epoch`. Epochs rise, starts do not fall. */
struct core_epoch {
    uint64_t epoch, start;
};

/* What must survive: tern/state. The owner writes it when told, whole and durably. */
struct core_state {
    uint64_t version; /* rises with each change */
    uint16_t member;
    uint16_t members[CORE_MEMBERS_MAX];
    uint8_t member_count, copies;
    uint64_t promised;     /* a term: lower ones are refused */
    uint64_t written_term; /* the last term this member was master of; 0: none */
    uint8_t epoch_count;
    struct core_epoch epochs[CORE_EPOCHS_MAX]; /* of this log; the oldest fall out */
};

enum core_message_type {
    CORE_FOLLOW,      /* I look for a master: my log, my promise */
    CORE_WELCOME,     /* follow me: my log, my epoch */
    CORE_PROMISE_ASK, /* will you refuse all terms below this one? */
    CORE_PROMISE,     /* I do (or `granted` is false: I have promised more), and this is my log */
    CORE_START,       /* you have the highest log of those who promised `term` to me: write */
    CORE_DATA,        /* a piece of the log, or none: alive */
    CORE_REPORT,      /* how far I am */
    CORE_TAKE_OVER,   /* you have all that I have: ask for promises */
};

struct core_message {
    enum core_message_type type;
    uint16_t from;
    uint64_t term;       /* what it is about; FOLLOW, PROMISE: what the sender has promised */
    uint64_t asked;      /* PROMISE: the term that was asked for */
    bool granted;        /* PROMISE; REPORT: the sender does not doubt its log */
    bool again;          /* REPORT: send from `received` on again */
    bool unclean;        /* PROMISE_ASK, START: an operator wants it from doubtful members too */
    uint64_t first;      /* FOLLOW, WELCOME: the sender's log begins here */
    uint64_t epoch;      /* WELCOME, DATA: the writer's. START: unused */
    uint64_t end;        /* FOLLOW, WELCOME, PROMISE: of the sender's log */
    uint64_t last_epoch; /* PROMISE, FOLLOW */
    uint64_t confirmed;  /* WELCOME, DATA */
    uint64_t received, flushed; /* REPORT */
    /* DATA: [offset, offset + size), written in data_epoch, which began at data_start */
    uint64_t offset, size, data_epoch, data_start;
    uint8_t epoch_count; /* WELCOME, FOLLOW: the sender's table */
    struct core_epoch epochs[CORE_EPOCHS_MAX];
};

enum core_order_type {
    CORE_SAVE,     /* make core->state durable, then core_saved(version) */
    CORE_SEND,     /* `message` to `to`; a DATA with size > 0 takes its bytes from the log */
    CORE_APPEND,   /* the bytes that came with the DATA being handled, at its offset */
    CORE_TRUNCATE, /* cut the log and all that follows from it at `offset`, physically and durably,
                      then core_truncated(). `anew`: nothing of it is of use, it begins there. Or:
                      make that durable with the state, and do it before the next core_init().
                      A SAVE that follows is durable only with it: from the order on the core
                      speaks of the log as cut, and begins nothing until it is */
    CORE_OPEN_WRITES,  /* append a record of the epoch's own first, then take sends. `again`: a
                          hand-over was given up, the epoch goes on */
    CORE_CLOSE_WRITES, /* at once. `handing`: to hand over; what is owed may still be answered */
    CORE_CONFIRM,      /* everything below `offset` is confirmed */
    CORE_ALARM,        /* `why`: an operator has to look; empty: not any more */
};

struct core_order {
    enum core_order_type type;
    uint16_t to;
    bool anew, again, handing;
    uint64_t offset, version;
    const char *why;
    struct core_message message;
};

enum core_role {
    CORE_LOOKING, /* for a master */
    CORE_ASKING,  /* for promises */
    CORE_CUTTING, /* knows a master; its own log is being cut to the common point */
    CORE_FOLLOWING,
    CORE_STARTING, /* has a term; its new epoch is being made durable */
    CORE_MASTER,
};

enum { CORE_NEW_COUNTERS = 1 << 18 };
struct core_options {
    bool count_flushed;    /* SYNC_FLUSH: a copy counts when it is flushed, else when written */
    int64_t start_wait_ms; /* a returning master listens so long for another */
    int64_t ask_wait_ms;   /* answers of all members are waited for so long when enough are there */
    int64_t beat_ms;       /* between signs of life */
    int64_t silent_ms;     /* without one the other side is gone */
    /* Random, below CORE_NEW_COUNTERS: so many counters are left out by the first ask for promises
     * of a member without epochs. It may have lost its disk, and with it the terms that it has
     * asked for: a term must not be used for two histories. */
    uint32_t new_counter;
};

struct core_peer {
    uint16_t member;
    bool following; /* in our epoch */
    bool certain;   /* it does not doubt its log: its promise counts */
    uint64_t next;  /* the next byte to send */
    uint64_t received, flushed;
    uint64_t told_confirmed; /* by what it was sent last */
    int64_t heard_ms, sent_ms;
    /* of the promise that is asked for */
    bool promised;
    uint64_t last_epoch, end;
    uint64_t owed; /* a promise that it asked for, to be sent when it is durable; 0: none */
    bool owed_unclean;
    bool looks;   /* it was heard looking for a master since we look for one */
    bool has_log; /* it was heard to have a log, or a promise */
    bool claims;  /* it was heard to claim the first epoch of a new group */
    bool blocked; /* its link takes no log bytes now */
    bool away;    /* there is no link to it */
};

struct core {
    struct core_options options;
    struct core_state state;
    uint64_t saved_version;
    enum core_role role;
    int64_t now_ms, since_ms; /* since_ms: in this role */
    uint64_t first, written, flushed;
    bool doubtful;    /* the log may lack what was here: no promise counts, no copy either */
    uint64_t sure_at; /* the end of the log of the master that was met: with it no doubt is left */
    uint64_t confirmed;
    uint16_t master; /* followed, or 0 */
    int64_t heard_ms, reported_ms;
    uint64_t epoch; /* followed, or written in */
    uint64_t
        epoch_first_end; /* master: confirmed moves from here on; 0: the record is not there yet */
    uint64_t asked;      /* the term that promises are asked for */
    int64_t asked_ms;    /* when last */
    uint64_t highest;    /* the highest term heard of */
    bool unclean;        /* so are the promises that are asked for */
    uint16_t started;    /* looking: this member was told to begin the term `asked`; 0: none */
    bool handing;        /* writes are closed, to hand over */
    bool handed;         /* a master that lives has handed over to us */
    uint16_t handing_to; /* 0: to whoever has everything first */
    int64_t handing_until, handed_ms;
    int64_t heir_ms;     /* handing: when somebody who could take over was last there */
    int64_t disputed_ms; /* master: since when it is known that a higher term was promised */
    uint64_t cut_to;
    bool cut_anew;
    bool said_new;      /* the last alarm is why a new group has not begun */
    bool truncating;    /* ordered, and core_truncated() was not called yet */
    bool dropped;       /* bytes that came while the state was being saved are to come again */
    uint64_t waits_for; /* a version of the state, before the next step of STARTING or CUTTING */
    struct core_peer peers[CORE_MEMBERS_MAX];
    unsigned peer_count;
    struct core_order orders[CORE_ORDERS_MAX];
    unsigned order_count;
};

/* `state` as it was saved; the log is [first, end), all of it on the disk. `doubtful`: an unclean
 * stop may have taken what had been counted here (ASYNC_FLUSH and a power cut), or this member is
 * new: its log says nothing about what others have.
 *
 * A new group: each member has a state without epochs and is doubtful, but for the one that claims
 * the first epoch: promised = written_term = core_first_term(member), not doubtful. The claim is
 * carried out once all others have been heard and none has a log or has promised anything; else it
 * is dropped. Until then its promise counts for nothing, as that of one that doubts: the member
 * may be an old one on a new disk.
 *
 * A member whose log begins anew doubts too, until it has what its master had then. */
static inline uint64_t core_first_term(uint16_t member)
{
    return (uint64_t)1 << CORE_MEMBER_BITS | member;
}
void core_init(struct core *c, const struct core_options *options, const struct core_state *state,
               uint64_t first, uint64_t end, bool doubtful, int64_t now_ms);

/* Events. Each may leave orders in c->orders, to be carried out before the next event. */
void core_tick(struct core *c, int64_t now_ms);
void core_log(struct core *c, uint64_t written, uint64_t flushed);
void core_saved(struct core *c, uint64_t version);
void core_truncated(struct core *c);
/* The epoch's own first record ends here (after OPEN_WRITES). */
void core_opened(struct core *c, uint64_t first_end);
/* Sent to this process, not to one before it (a link ends with the process): who has lost the end
 * of its log is sure of it again by what a master says of its own end. */
void core_receive(struct core *c, const struct core_message *m);
void core_first(struct core *c, uint64_t first); /* the log begins here now */

/* Log bytes. A store may have no room, or take whole records only, so it is given the bytes first:
 * core_takes() says what would become of a DATA; when it TAKES, the owner appends what it can and
 * hands in a DATA of just that (the rest is another one, later). LATER: its epoch must be durable
 * first: core_announce(), then again. NOT: hand it in as it is. */
enum core_taking { CORE_TAKES, CORE_TAKES_LATER, CORE_TAKES_NOT };
enum core_taking core_takes(const struct core *c, const struct core_message *m);
void core_announce(struct core *c, const struct core_message *m);
/* The link to a member takes log bytes now, or not (at first it does). One that is new has lost
 * what was on its way. */
void core_ready(struct core *c, uint16_t member, bool ready);
void core_link_new(struct core *c, uint16_t member);
void core_link_lost(struct core *c, uint16_t member);
/* What came from a member has ended. Is it the master, others are asked for one at once: one that
 * is only started again need not wait to learn that nobody else has taken over. */
void core_link_ended(struct core *c, uint16_t member);
/* Some ready follower lacks bytes: core_ready() again, or core_log(), sends them. */
bool core_has_more(const struct core *c);
/* Something of it has arrived and waits here: it is not silent. */
void core_heard(struct core *c, uint16_t member);
/* This message would end our time as master: no appends from here on, core_log() with the true end,
 * then hand it in. */
bool core_deposes(const struct core *c, const struct core_message *m);

/* An operator's word: ask for promises, and start the best of those who gave them. `unclean`: with
 * those that can be had, doubtful ones too. */
void core_promote(struct core *c, bool unclean);
/* Close writes; when member `to` (0: any) has everything it takes over; else, after wait_ms or once
 * it is gone, writes are open again. Of a master. */
void core_hand_over(struct core *c, uint16_t to, int64_t wait_ms);
/* Not master any more, and not by itself again. */
void core_step_down(struct core *c);
/* A name server knows a higher epoch: likewise until a master is heard of. */
void core_outdated(struct core *c);

/* What a promise says of this log, and whether it counts: the member neither doubts its log nor
 * claims the first epoch of a group that may not be new. */
bool core_is_certain(const struct core *c);
uint64_t core_last_epoch(const struct core *c);
unsigned core_promises_needed(const struct core *c);

#endif
