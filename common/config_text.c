/* config_text.c - the text of Java properties: natural lines to logical lines to keys and values.
 *
 * One deliberate difference: white space at the end of a value is dropped unless it is escaped,
 * since nobody who left a blank behind a port number meant it.
 */
#include <errno.h>

#include "common/config.h"
#include "common/config_text.h"

struct walk {
    struct reader in;
    int line;          /* of the byte at in.at, from 1 */
    struct buf joined; /* a logical line: continued, still escaped */
    struct buf key, value;
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static void skip_blanks(struct walk *w)
{
    while (w->in.at < w->in.end && is_blank(*w->in.at))
        w->in.at++;
}

/* Passes one line end, "\n", "\r" or "\r\n", if there is one. */
static bool take_line_end(struct walk *w)
{
    struct reader *in = &w->in;

    if (in->at == in->end || (*in->at != '\n' && *in->at != '\r'))
        return false;
    in->at += *in->at == '\r' && reader_left(in) > 1 && in->at[1] == '\n' ? 2 : 1;
    w->line++;
    return true;
}

/* Joins the natural lines of one logical line. What a backslash stands before is copied together
 * with it, so that "\\" before a line end is a backslash and no continuation. */
static void join_lines(struct walk *w)
{
    buf_reset(&w->joined);
    while (w->in.at < w->in.end && !take_line_end(w)) {
        uint8_t c = *w->in.at++;
        if (c != '\\') {
            buf_add_u8(&w->joined, c);
        } else if (take_line_end(w)) {
            skip_blanks(w);
        } else if (w->in.at < w->in.end) {
            buf_add_u8(&w->joined, '\\');
            buf_add_u8(&w->joined, *w->in.at++);
        }
    }
}

static size_t key_length(struct bytes line)
{
    size_t i = 0;

    while (i < line.len && line.at[i] != '=' && line.at[i] != ':' && !is_blank(line.at[i]))
        i += line.at[i] == '\\' ? 2 : 1;
    return i < line.len ? i : line.len;
}

/* Without the separator before it and the white space behind it. */
static struct bytes value_part(struct bytes rest)
{
    size_t start = 0, end = 0;

    while (start < rest.len && is_blank(rest.at[start]))
        start++;
    if (start < rest.len && (rest.at[start] == '=' || rest.at[start] == ':'))
        start++;
    while (start < rest.len && is_blank(rest.at[start]))
        start++;
    for (size_t i = start; i < rest.len; i++) {
        if (rest.at[i] == '\\')
            end = ++i + 1;
        else if (!is_blank(rest.at[i]))
            end = i + 1;
    }
    return bytes_of(rest.at + start, end > start ? end - start : 0);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* One \uXXXX at the front of the reader. */
static bool take_unit(struct reader *r, uint32_t *unit)
{
    struct bytes text = reader_take(r, 6);

    if (text.len != 6 || text.at[0] != '\\' || text.at[1] != 'u')
        return false;
    *unit = 0;
    for (size_t i = 2; i < 6; i++) {
        int digit = hex_value(text.at[i]);
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return true;
}

/* Returns NULL, or what was expected. */
static const char *unescape_unicode(struct reader *r, struct buf *out)
{
    uint32_t point, low;
    uint8_t utf8[4];

    if (!take_unit(r, &point))
        return "expected four hexadecimal digits after \\u";
    if (point >= 0xD800 && point < 0xDC00) {
        if (!take_unit(r, &low) || low < 0xDC00 || low > 0xDFFF)
            return "expected the second half of a surrogate pair after \\uD8..";
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    } else if (point >= 0xDC00 && point < 0xE000) {
        return "expected the first half of a surrogate pair before \\uDC..";
    }
    buf_add(out, utf8, bytes_utf8_put(utf8, point));
    return NULL;
}

/* Fills *out with a NUL-terminated string. Returns NULL, or what was expected. */
static const char *unescape(struct bytes raw, struct buf *out)
{
    struct reader r = reader_of(raw);

    buf_reset(out);
    while (r.at < r.end) {
        if (*r.at != '\\') {
            buf_add_u8(out, *r.at++);
        } else if (reader_left(&r) > 1 && r.at[1] == 'u') {
            const char *expected = unescape_unicode(&r, out);
            if (expected)
                return expected;
        } else {
            r.at++;
            uint8_t c = reader_u8(&r);
            buf_add_u8(out, c == 't'   ? '\t'
                            : c == 'n' ? '\n'
                            : c == 'r' ? '\r'
                            : c == 'f' ? '\f'
                                       : c);
        }
    }
    if (out->len > 0 && memchr(buf_at(out), 0, out->len))
        return "expected text without NUL";
    if (!bytes_is_utf8(buf_bytes(out)))
        return "expected UTF-8";
    buf_add_u8(out, 0);
    return NULL;
}

static int walk_error(const char *path, int line, const char *expected, struct err *err)
{
    if (path)
        return err_say(err, -EINVAL, "%s:%d: %s", path, line, expected);
    return err_say(err, -EINVAL, "line %d: %s", line, expected);
}

static int walk_lines(struct walk *w, const char *path, config_each_fn *each, void *ctx,
                      struct err *err)
{
    for (;;) {
        skip_blanks(w);
        if (w->in.at == w->in.end)
            return 0;
        if (take_line_end(w))
            continue;
        if (*w->in.at == '#' || *w->in.at == '!') {
            while (w->in.at < w->in.end && *w->in.at != '\n' && *w->in.at != '\r')
                w->in.at++;
            continue;
        }
        int line = w->line;
        join_lines(w);
        struct bytes joined = buf_bytes(&w->joined);
        if (joined.len == 0 && !w->joined.failed)
            continue; /* continued, and nothing came */
        size_t key_len = key_length(joined);
        const char *expected = unescape(bytes_of(joined.at, key_len), &w->key);
        if (!expected)
            expected = unescape(value_part(bytes_of(joined.at + key_len, joined.len - key_len)),
                                &w->value);
        if (w->joined.failed || w->key.failed || w->value.failed)
            return err_set(err, -ENOMEM, "read %s", path ? path : "properties");
        if (expected)
            return walk_error(path, line, expected, err);
        int r = each(ctx, line, (const char *)buf_at(&w->key), (const char *)buf_at(&w->value));
        if (r != 0)
            return r;
    }
}

int config_walk(struct bytes text, const char *path, config_each_fn *each, void *ctx,
                struct err *err)
{
    struct walk w = {.in = reader_of(text), .line = 1};
    int r;

    if (bytes_starts(text, BYTES_LIT("\xEF\xBB\xBF")))
        w.in.at += 3; /* the mark that some editors put */
    r = walk_lines(&w, path, each, ctx, err);
    buf_destroy(&w.joined);
    buf_destroy(&w.key);
    buf_destroy(&w.value);
    return r;
}

int config_each(struct bytes text, config_each_fn *each, void *ctx, struct err *err)
{
    return config_walk(text, NULL, each, ctx, err);
}

void config_text_add(struct buf *out, const char *value, bool ascii)
{
    struct bytes rest = bytes_str(value);
    bool first = true;

    while (rest.len > 0) {
        uint32_t point;
        unsigned n = bytes_utf8_at(rest, &point);
        uint8_t c = rest.at[0];

        if (n == 0) { /* values are checked when they are set */
            n = 1;
            point = 0xFFFD;
        }
        if (c == '\\')
            buf_add_str(out, "\\\\");
        else if (c == '\t')
            buf_add_str(out, "\\t");
        else if (c == '\n')
            buf_add_str(out, "\\n");
        else if (c == '\r')
            buf_add_str(out, "\\r");
        else if (c == '\f')
            buf_add_str(out, "\\f");
        else if (c == ' ' && (first || rest.len == 1))
            buf_add_str(out, "\\ ");
        else if (c < 0x20 || c == 0x7f || (ascii && point >= 0x80 && point < 0x10000))
            buf_addf(out, "\\u%04X", (unsigned)point);
        else if (ascii && point >= 0x10000)
            buf_addf(out, "\\u%04X\\u%04X", (unsigned)(0xD800 + ((point - 0x10000) >> 10)),
                     (unsigned)(0xDC00 + ((point - 0x10000) & 0x3FF)));
        else
            buf_add(out, rest.at, n);
        first = false;
        rest.at += n;
        rest.len -= n;
    }
}
