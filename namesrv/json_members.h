/* json_members.h - walks the members of one JSON object without building a tree.
 *
 * A registration may name a hundred thousand topics, and a tree takes a hundred times the text and
 * most of a second. What is walked over here is only balanced, not checked; a value that matters is
 * read by the caller. Takes the same dialect as common/json.h: keys in double or single quotes, or
 * bare. Pure, no allocation.
 */
#ifndef TERN_NAMESRV_JSON_MEMBERS_H
#define TERN_NAMESRV_JSON_MEMBERS_H

#include "common/bytes.h"

struct json_members {
    struct bytes left;
    bool first;
    const char *wrong; /* a static sentence once the text is no object */
};

/* `text` is one object, with white space around it. */
void json_members_begin(struct json_members *m, struct bytes text);

struct json_member {
    struct bytes key;   /* without its quotes */
    bool key_escaped;   /* it holds escapes, which are left as they are */
    struct bytes value; /* as it stands */
};
/* False at the end, and when the text is wrong: then m->wrong is set. Not to be called again. */
bool json_members_next(struct json_members *m, struct json_member *out);

#endif
