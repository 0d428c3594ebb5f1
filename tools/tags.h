/* tags.h - the parts of a tag expression, "TagA || TagB". Pure. */
#ifndef TERN_TOOLS_TAGS_H
#define TERN_TOOLS_TAGS_H

#include "common/bytes.h"

/* NULL, "" and "*" mean all messages. */
bool tags_take_all(const char *expression);
/* Walks the tags, without the white space around them; empty ones are left out. Start with *at = 0;
 * false at the end. */
bool tags_next(const char *expression, size_t *at, struct bytes *tag);

#endif
