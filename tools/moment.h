/* moment.h - a time as people write it. Pure, but for the time zone. */
#ifndef TERN_TOOLS_MOMENT_H
#define TERN_TOOLS_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#define MOMENT_FORMS "ms since 1970, or 2026-01-31 [23:59[:59[.999]]], with a Z at the end UTC"

/* "1767225600000", "2026-01-31", "2026-01-31 23:59[:59[.999]]", with a T for the space; local time,
 * or UTC with a Z at the end. False: none of these, or before 1970. */
bool moment_parse(const char *text, int64_t *ms);

#endif
