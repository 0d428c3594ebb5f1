/* message.h - a stored message as tools print it. Pure.
 *
 * Takes apart what a pull gave (broker/store/record.h), unpacks a zlib body, and writes a line of
 * text or a JSON object.
 */
#ifndef TERN_TOOLS_MESSAGE_H
#define TERN_TOOLS_MESSAGE_H

#include "broker/store/record.h"
#include "common/buf.h"
#include "common/json_out.h"

enum { MESSAGE_BODY_MAX = 64 << 20 }; /* an unpacked body; more is not unpacked */

struct message_view {
    struct record record;
    struct bytes tags, keys, unique_key; /* borrowed from the record */
    struct bytes body;                   /* unpacked; borrowed from the record or from `unpacked` */
    bool packed;                         /* the body is compressed and could not be unpacked */
    char id[RECORD_ID_MAX];              /* offsetMsgId */
};

/* Fills *out from one record; `unpacked` is the place for a compressed body and must live as long
 * as the view. 0, or -ENOMEM. */
int message_view(struct message_view *out, const struct record *record, struct buf *unpacked);
/* The body as one line with its line end; with `verbose`, behind time, place, tag and keys. */
void message_text(const struct message_view *m, const char *broker, bool verbose, struct buf *out);
/* One object with a line end; docs/operations/ternctl.md names its members. Without a broker (NULL)
 * it says where the record lies in the log. */
void message_json(const struct message_view *m, const char *broker, struct buf *out);
/* Its members, into an object that is open; with `place`, where the record lies in the log too. */
void message_members(struct json_out *j, const struct message_view *m, const char *broker,
                     bool place);
/* "TagA || TagB": whether the string (not only its hash) is among them. "*" and NULL take all. */
bool message_has_tag(const struct message_view *m, const char *expression);

#endif
