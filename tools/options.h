/* options.h - a command line read by a table of options, and the help text from the same table.
 *
 * Pure: values are stored where the table points, texts borrow from argv, failures come back as a
 * sentence. "--name VALUE", "--name=VALUE", "-n VALUE" and "-nVALUE" are the same; "--" ends the
 * options; options and operands may be mixed.
 */
#ifndef TERN_TOOLS_OPTIONS_H
#define TERN_TOOLS_OPTIONS_H

#include "common/buf.h"
#include "common/err.h"

enum option_kind {
    OPTION_FLAG,   /* bool: set to true */
    OPTION_TEXT,   /* const char *: the last one counts */
    OPTION_NUMBER, /* int64_t within min..max */
    OPTION_MILLIS, /* int64_t in ms, given in seconds ("2", "0.5"); min..max in ms */
    OPTION_LIST,   /* struct option_list: each one counts */
};

enum { OPTION_LIST_MAX = 64 };
struct option_list {
    const char *items[OPTION_LIST_MAX];
    unsigned count;
};

struct option_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *to;
    const char *value; /* what the help calls the value; NULL for a flag */
    const char *help;
    int64_t min, max;
};

/* The operands are gathered at the front of argv, in order; *operands is their number. With
 * `stop_at_operand` reading stops at the first operand, and *operands is the number of arguments
 * from there on. 0, or -EINVAL with err. */
int options_parse(const struct option_spec *specs, size_t count, int argc, char **argv,
                  bool stop_at_operand, int *operands, struct err *err);
/* One aligned line for each option. */
void options_help(const struct option_spec *specs, size_t count, struct buf *out);
/* How far two words are apart: insertions, deletions and changes; for "did you mean". */
unsigned options_distance(const char *a, const char *b);

#endif
