/* group_link.h - the two halves of what a member has with another: a socket it sends on, one it
 * reads from. Frames go in and come out; log bytes leave straight from the store's files.
 *
 * One owner, the group's thread. Nothing blocks.
 */
#ifndef TERN_BROKER_REPLICATION_GROUP_LINK_H
#define TERN_BROKER_REPLICATION_GROUP_LINK_H

#include "broker/replication/group_wire.h"
#include "broker/store/store.h"

enum {
    LINK_READY_BYTES = 64 * 1024, /* more waits: no log bytes now */
    LINK_OUT_MAX = 4 << 20,       /* small frames that a peer does not take: the link is given up */
    LINK_IN_BYTES = GROUP_FRAME_MAX + 256 * 1024,
};

/* --- what is sent --- */
struct link_out {
    int fd; /* -1: none */
    struct buf head;
    uint64_t body_at, body_to; /* bytes of the log that follow `head` */
    struct buf tail;           /* and what follows those */
    bool blocked;              /* the socket takes nothing now */
};
void link_out_init(struct link_out *o);
void link_out_open(struct link_out *o, int fd); /* taken over; what waited is forgotten */
void link_out_close(struct link_out *o);        /* safe twice; keeps nothing */
/* Where the next frame is to be written. */
struct buf *link_out_buf(struct link_out *o);
/* Log bytes [at, to) follow what was written last; only when link_out_is_ready(). */
void link_out_body(struct link_out *o, uint64_t at, uint64_t to);
/* There is a link, and room for log bytes and other large frames. */
bool link_out_is_ready(const struct link_out *o);
static inline bool link_out_waits(const struct link_out *o)
{
    return o->head.len > 0 || o->body_at < o->body_to || o->tail.len > 0;
}
/* 0: all is sent, or the socket is full (blocked). Negative: the link is broken. */
int link_out_send(struct link_out *o, struct store *store);

/* --- what is read --- */
struct link_in {
    int fd; /* -1: none */
    uint8_t *data;
    size_t at, len; /* frames not taken yet stand in [at, len) */
};
void link_in_init(struct link_in *i);
int link_in_open(struct link_in *i, int fd); /* taken over, also on failure: -ENOMEM */
void link_in_close(struct link_in *i);
/* Reads what is there, as far as there is room. Bytes; 0: nothing now, or no room; negative: closed
 * (-ECONNRESET) or broken. */
ssize_t link_in_read(struct link_in *i);
/* The next whole frame: 1, borrowed until link_in_read(); 0: none; -EBADMSG with *why. */
int link_in_take(struct link_in *i, struct group_frame *out, const char **why);

#endif
