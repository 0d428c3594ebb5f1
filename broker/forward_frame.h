/* forward_frame.h - frames that are passed on, and what a member says in them. Pure.
 *
 * A frame is written anew in the other side's opaque, all else as it was. The mark is the value of
 * FORWARD_BORN_HOST: "hops ip:port".
 */
#ifndef TERN_BROKER_FORWARD_FRAME_H
#define TERN_BROKER_FORWARD_FRAME_H

#include "broker/store/record.h"
#include "common/remoting.h"

enum {
    FORWARD_HOPS_MAX = 3,   /* the master may change while a request is on its way */
    FORWARD_MARK_TEXT = 64, /* bytes, with the end */
};

/* False: it is none, or says more than FORWARD_HOPS_MAX. */
bool forward_mark_read(struct bytes value, int32_t *hops, struct record_host *host);
void forward_mark_write(char text[FORWARD_MARK_TEXT], int32_t hops, const struct record_host *host);
/* `mark`: in place of what the frame has of it ("": none); NULL: that stays. */
void forward_frame_copy(struct buf *out, const struct remoting_frame *frame, int32_t opaque,
                        int32_t flag, const char *mark);

#endif
