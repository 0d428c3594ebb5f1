/* table.c - see table.h. */
#include "tools/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "tools/show.h"

void table_init(struct table *t, const char *const *headings)
{
    *t = (struct table){.columns = 0};
    while (headings[t->columns]) {
        assert(t->columns < TABLE_COLUMNS_MAX);
        t->headings[t->columns] = headings[t->columns];
        t->columns++;
    }
}

void table_destroy(struct table *t)
{
    buf_destroy(&t->cells);
}

void table_add(struct table *t, const char *cell)
{
    show_text(&t->cells, bytes_str(cell && cell[0] ? cell : "-"), false);
    buf_add_u8(&t->cells, 0);
    t->next = (t->next + 1) % t->columns;
}

void table_addf(struct table *t, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    table_add(t, text);
}

void table_add_i64(struct table *t, int64_t value)
{
    table_addf(t, "%lld", (long long)value);
}

static bool aligned_right(const struct table *t, unsigned column)
{
    return t->headings[column][0] == '>';
}

static const char *heading(const struct table *t, unsigned column)
{
    return t->headings[column] + aligned_right(t, column);
}

static void pad(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_add_u8(out, ' ');
}

static void print_cell(const struct table *t, unsigned column, const size_t *widths,
                       const char *text, struct buf *out)
{
    size_t missing = widths[column] - show_width(bytes_str(text));
    bool last = column + 1 == t->columns;

    if (aligned_right(t, column))
        pad(out, missing);
    buf_add_str(out, text);
    if (!aligned_right(t, column) && !last)
        pad(out, missing);
    buf_add_str(out, last ? "\n" : "  ");
}

void table_print(const struct table *t, struct buf *out)
{
    const char *cells = (const char *)buf_at(&t->cells);
    size_t widths[TABLE_COLUMNS_MAX];
    unsigned column = 0;

    assert(t->next == 0);
    if (t->cells.failed) {
        out->failed = true;
        return;
    }
    for (unsigned i = 0; i < t->columns; i++)
        widths[i] = show_width(bytes_str(heading(t, i)));
    for (size_t at = 0; at < t->cells.len; at += strlen(cells + at) + 1) {
        size_t width = show_width(bytes_str(cells + at));
        if (width > widths[column])
            widths[column] = width;
        column = (column + 1) % t->columns;
    }
    for (unsigned i = 0; i < t->columns; i++)
        print_cell(t, i, widths, heading(t, i), out);
    for (size_t at = 0; at < t->cells.len; at += strlen(cells + at) + 1) {
        print_cell(t, column, widths, cells + at, out);
        column = (column + 1) % t->columns;
    }
}
