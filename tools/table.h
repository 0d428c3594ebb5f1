/* table.h - rows of text in aligned columns, two spaces apart, under a line of headings. Pure.
 *
 * What servers say goes through show_text() on its way in. An allocation that fails shows in the
 * buf that table_print() writes to.
 */
#ifndef TERN_TOOLS_TABLE_H
#define TERN_TOOLS_TABLE_H

#include "common/buf.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
    const char *headings[TABLE_COLUMNS_MAX]; /* borrowed */
    unsigned columns;
    unsigned next;    /* column of the next cell */
    struct buf cells; /* each with a closing NUL */
};

/* `headings` is NULL-terminated and must outlive the table; one that begins with '>' heads a column
 * aligned to the right. */
void table_init(struct table *t, const char *const *headings);
void table_add(struct table *t, const char *cell); /* NULL: "-" */
void table_addf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_add_i64(struct table *t, int64_t value);
void table_print(const struct table *t, struct buf *out);
void table_destroy(struct table *t);

#endif
