/* filter.c - TAG subscriptions: see filter.h. */
#include "broker/filter.h"

#include <errno.h>
#include <stdlib.h>

void tag_filter_all(struct tag_filter *f)
{
    *f = (struct tag_filter){.all = true};
}

void tag_filter_destroy(struct tag_filter *f)
{
    free(f->many);
    *f = (struct tag_filter){.all = false};
}

static int compare_codes(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;

    return x < y ? -1 : x > y;
}

int tag_filter_codes(struct tag_filter *f, const int32_t *codes, size_t count)
{
    *f = (struct tag_filter){.all = false};
    if (count > FILTER_CODES_MAX)
        return -EINVAL;
    if (count <= FILTER_CODES_INLINE) {
        if (count > 0)
            memcpy(f->few, codes, count * sizeof(*codes));
    } else {
        f->many = malloc(count * sizeof(*codes));
        if (!f->many)
            return -ENOMEM;
        memcpy(f->many, codes, count * sizeof(*codes));
        qsort(f->many, count, sizeof(*codes), compare_codes);
    }
    f->count = (uint16_t)count;
    return 0;
}

static struct bytes trim(struct bytes b)
{
    while (b.len > 0 && b.at[0] <= ' ') {
        b.at++;
        b.len--;
    }
    while (b.len > 0 && b.at[b.len - 1] <= ' ')
        b.len--;
    return b;
}

void tag_filter_each_tag(struct bytes expression, void (*each)(void *ctx, struct bytes tag),
                         void *ctx)
{
    while (expression.len > 0) {
        const uint8_t *bar = memmem(expression.at, expression.len, "||", 2);
        size_t len = bar ? (size_t)(bar - expression.at) : expression.len;
        struct bytes tag = trim(bytes_of(expression.at, len));

        if (tag.len > 0)
            each(ctx, tag);
        if (!bar)
            break;
        expression.at += len + 2;
        expression.len -= len + 2;
    }
}

struct code_list {
    int32_t codes[FILTER_CODES_MAX];
    size_t count;
    bool too_many;
};

static void add_code(void *ctx, struct bytes tag)
{
    struct code_list *list = ctx;

    if (list->count == FILTER_CODES_MAX)
        list->too_many = true;
    else
        list->codes[list->count++] = bytes_java_hash(tag);
}

int tag_filter_parse(struct tag_filter *f, struct bytes expression)
{
    struct code_list list;

    if (expression.len == 0 || bytes_is(expression, "*")) {
        tag_filter_all(f);
        return 0;
    }
    list.count = 0;
    list.too_many = false;
    tag_filter_each_tag(expression, add_code, &list);
    if (list.too_many)
        return -EINVAL;
    return tag_filter_codes(f, list.codes, list.count);
}

int tag_filter_copy(struct tag_filter *to, const struct tag_filter *from)
{
    if (from->all || from->count <= FILTER_CODES_INLINE) {
        *to = *from;
        to->many = NULL;
        return 0;
    }
    return tag_filter_codes(to, from->many, from->count);
}

bool tag_filter_equal(const struct tag_filter *a, const struct tag_filter *b)
{
    if (a->all || b->all || a->count != b->count)
        return a->all == b->all && a->count == b->count;
    return a->count == 0 || memcmp(a->many ? a->many : a->few, b->many ? b->many : b->few,
                                   a->count * sizeof(*a->few)) == 0;
}

bool tag_filter_match(void *filter, int64_t tags_code)
{
    const struct tag_filter *f = filter;
    int32_t code = (int32_t)tags_code;

    if (f->all)
        return true;
    if (f->many)
        return bsearch(&code, f->many, f->count, sizeof(code), compare_codes) != NULL;
    for (unsigned i = 0; i < f->count; i++) {
        if (f->few[i] == code)
            return true;
    }
    return false;
}
