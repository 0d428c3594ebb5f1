/* json_text.h - one string as JSON text; the only place that escapes. No I/O, no globals. */
#ifndef TERN_COMMON_JSON_TEXT_H
#define TERN_COMMON_JSON_TEXT_H

#include "common/buf.h"

/* Adds `text` with its quotes. Control characters are escaped as fastjson does it (\n, \u0001),
 * well-formed UTF-8 stays as it is, any other byte becomes U+FFFD. */
void json_text_add(struct buf *out, struct bytes text);
/* Whether `text` is all ASCII that needs no escape, so that its JSON form is itself in quotes. */
bool json_text_is_plain(struct bytes text);

#endif
