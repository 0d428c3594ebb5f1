/* tags.c - see tags.h. */
#include "tools/tags.h"

static struct bytes trim(struct bytes text)
{
    while (text.len && text.at[0] <= ' ') {
        text.at++;
        text.len--;
    }
    while (text.len && text.at[text.len - 1] <= ' ')
        text.len--;
    return text;
}

bool tags_take_all(const char *expression)
{
    struct bytes all = trim(bytes_str(expression));

    return all.len == 0 || bytes_is(all, "*");
}

bool tags_next(const char *expression, size_t *at, struct bytes *tag)
{
    while (expression[*at]) {
        const char *from = expression + *at;
        const char *bar = strstr(from, "||");
        size_t len = bar ? (size_t)(bar - from) : strlen(from);

        *at += len + (bar ? 2 : 0);
        *tag = trim(bytes_of(from, len));
        if (tag->len)
            return true;
    }
    return false;
}
