/* frames.h - send requests encoded once and patched for each message. Pure.
 *
 * What differs from one message to the next has a fixed width and a known place: the opaque, the
 * last 12 digits of each UNIQ_KEY, the born time. So a message costs the load generator one memcpy
 * and a few digits, while the server sees what a client would send.
 */
#ifndef TERN_TOOLS_FRAMES_H
#define TERN_TOOLS_FRAMES_H

#include "common/buf.h"
#include "common/remoting.h"

enum {
    FRAME_OPAQUE_BASE = 1000000000, /* opaques are base + 0 .. FRAME_SLOTS_MAX: always ten digits */
    FRAME_SLOTS_MAX = 1 << 20,
    FRAME_BATCH_MAX = 1024,
    FRAME_BORN_DIGITS = 13,
    FRAME_TOPIC_DIGITS = 6,
    FRAME_TOPICS_MAX = 1000000,
};

struct frame_spec {
    const char *topic;
    bool numbered; /* the topic ends in a number of its own for each frame: frame_topic_name() */
    int32_t queue;
    size_t body_bytes; /* of each message */
    unsigned batch;    /* messages in a frame; 1: a plain send */
    bool oneway;
    uint8_t serialize;
};

struct frame_template {
    struct buf bytes;
    uint8_t serialize;
    unsigned batch;
    size_t opaque_at;
    size_t born_at;
    size_t topic_at; /* of the digits of a numbered topic */
    size_t *ids_at;  /* of the 12 digits; one for each message */
};

/* 0; -EMSGSIZE when the frame would be too large; -ENOMEM. */
int frame_template_make(struct frame_template *t, const struct frame_spec *spec);
void frame_template_destroy(struct frame_template *t); /* safe on zeroes and twice */
/* Adds one frame. `slot` < FRAME_SLOTS_MAX; *next_id counts messages; `born` is the time as 13
 * digits. False: no memory. */
bool frame_add(struct buf *out, const struct frame_template *t, uint32_t slot, uint64_t *next_id,
               const char born[FRAME_BORN_DIGITS]);
/* Gives the frame that was added last topic number `topic`, of a template with numbered topics. */
void frame_set_topic(struct buf *out, const struct frame_template *t, uint32_t topic);
/* The name of a numbered topic: "T_000007". False: too long. */
bool frame_topic_name(char *to, size_t to_size, const char *topic, uint32_t number);
/* ms of the wall clock as 13 digits (years 2001 to 2286). */
void frame_born(char to[FRAME_BORN_DIGITS], int64_t ms);
/* GET_MAX_OFFSET of a queue. */
void frame_add_max_offset(struct buf *out, const char *topic, int32_t queue, uint32_t slot,
                          uint8_t serialize);

#endif
