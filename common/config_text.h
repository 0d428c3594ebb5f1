/* config_text.h - inside of config: properties text, apart from what the keys mean. Pure. */
#ifndef TERN_COMMON_CONFIG_TEXT_H
#define TERN_COMMON_CONFIG_TEXT_H

#include "common/config.h"

/* config_each, with "PATH:LINE: " instead of "line LINE: " before errors (path NULL: the latter).
 */
int config_walk(struct bytes text, const char *path, config_each_fn *each, void *ctx,
                struct err *err);
/* Adds a value in such a form that reading the text gives it back; `ascii`: also to a reader that
 * takes the bytes for Latin-1, as Java does. */
void config_text_add(struct buf *out, const char *value, bool ascii);

#endif
