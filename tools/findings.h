/* findings.h - what a check of a store has found: problems and notes, as lines or JSON. Pure.
 *
 * A problem is something that is wrong; a note is something that the next start of the broker takes
 * care of by itself, or that is worth knowing. All are counted, only so many of each kind are
 * written. One thread.
 */
#ifndef TERN_TOOLS_FINDINGS_H
#define TERN_TOOLS_FINDINGS_H

#include <stdarg.h>

#include "common/json_out.h"

enum finding { FINDING_PROBLEM, FINDING_NOTE };
enum { FINDINGS_DEFAULT_MAX = 1000 };

struct findings {
    struct buf *out; /* not owned; the caller may empty it between calls */
    bool json;
    struct json_out j;
    uint64_t problems, notes;
    uint64_t most; /* written of each kind */
};

/* Begins the document; with `json` it is {"findings":[...] until findings_end(). */
void findings_begin(struct findings *f, struct buf *out, bool json, uint64_t most);
/* `file` is the path below the store folder (or another), `offset` a byte in it, -1: the whole. */
void findings_add(struct findings *f, enum finding kind, const char *file, int64_t offset,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Ends the list; says how many were left out. In JSON the object stays open for the caller to add a
 * summary (f->j) and to close. */
void findings_end(struct findings *f);

#endif
