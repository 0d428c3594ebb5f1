/* properties.c - see properties.h. The text is walked where it lies; only properties_copy() of very
 * many items allocates, to find repeated names without comparing each with each.
 */
#include "broker/store/properties.h"

#include <stdlib.h>

#include "broker/store/record.h"

enum { NAME_END = 1, ITEM_END = 2 };

enum { ITEM_NONE, ITEM_VALID, ITEM_INVALID };

/* The item at *at; *at moves behind it. */
static int next_item(struct bytes properties, size_t *at, struct bytes *name, struct bytes *value)
{
    if (*at >= properties.len)
        return ITEM_NONE;

    const uint8_t *item = properties.at + *at;
    size_t left = properties.len - *at;
    const uint8_t *end = memchr(item, ITEM_END, left);
    size_t len = end ? (size_t)(end - item) : left;
    const uint8_t *mid = len ? memchr(item, NAME_END, len) : NULL;

    *at += end ? len + 1 : len;
    if (!mid || mid == item || mid + 1 == item + len)
        return ITEM_INVALID;
    *name = bytes_of(item, (size_t)(mid - item));
    *value = bytes_of(mid + 1, len - name->len - 1);
    return ITEM_VALID;
}

bool properties_next(struct bytes properties, size_t *at, struct bytes *name, struct bytes *value)
{
    int r;

    do {
        r = next_item(properties, at, name, value);
    } while (r == ITEM_INVALID);
    return r == ITEM_VALID;
}

struct bytes properties_find(struct bytes properties, struct bytes name)
{
    struct bytes found = {0}, n, value;
    size_t at = 0;

    while (properties_next(properties, &at, &n, &value)) {
        if (bytes_equal(n, name))
            found = value;
    }
    return found;
}

bool properties_next_key(struct bytes keys, size_t *at, struct bytes *key)
{
    while (*at < keys.len) {
        const uint8_t *from = keys.at + *at, *end = memchr(from, ' ', keys.len - *at);
        size_t len = end ? (size_t)(end - from) : keys.len - *at;

        *at += len + (end != NULL);
        *key = bytes_of(from, len);
        if (len > 0)
            return true;
    }
    return false;
}

bool properties_has_key(struct bytes keys, struct bytes key)
{
    struct bytes word;
    size_t at = 0;

    while (properties_next_key(keys, &at, &word)) {
        if (bytes_equal(word, key))
            return true;
    }
    return false;
}

#define NAME_IS(name, literal) (memcmp((name).at, literal, sizeof(literal) - 1) == 0)

/* Notes one item. Each case compares as many bytes as its length says. */
static void note_known(struct properties_known *out, struct bytes name, struct bytes value)
{
    switch (name.len) {
    case 4:
        if (NAME_IS(name, "TAGS"))
            out->tags = value;
        else if (NAME_IS(name, "KEYS"))
            out->keys = value;
        else if (NAME_IS(name, "WAIT"))
            out->wait = value;
        break;
    case 5:
        if (NAME_IS(name, "DELAY"))
            out->delay = value;
        break;
    case 6:
        if (NAME_IS(name, "PGROUP"))
            out->producer_group = value;
        break;
    case 7:
        if (NAME_IS(name, "CLUSTER"))
            out->cluster = value;
        break;
    case 8:
        if (NAME_IS(name, "UNIQ_KEY"))
            out->unique_key = value;
        else if (NAME_IS(name, "TRAN_MSG"))
            out->transaction = value;
        else if (NAME_IS(name, "REAL_QID"))
            out->real_queue_id = value;
        else if (NAME_IS(name, RECORD_CRC_NAME))
            out->has_invalid = true;
        break;
    case 10:
        if (NAME_IS(name, "REAL_TOPIC"))
            out->real_topic = value;
        break;
    case 11:
        if (NAME_IS(name, "RETRY_TOPIC"))
            out->retry_topic = value;
        break;
    case 14:
        if (NAME_IS(name, "TIMER_DELAY_MS"))
            out->timer = true;
        break;
    case 15:
        if (NAME_IS(name, "TIMER_DELAY_SEC"))
            out->timer = true;
        break;
    case 16:
        if (NAME_IS(name, "TIMER_DELIVER_MS"))
            out->timer = true;
        break;
    case 17:
        if (NAME_IS(name, "ORIGIN_MESSAGE_ID"))
            out->origin_message_id = value;
        break;
    case 19:
        if (NAME_IS(name, "MAX_RECONSUME_TIMES"))
            out->max_reconsume_times = value;
        break;
    default:
        break;
    }
}

/* Names seen so far, on the stack. The mask spares most names the comparison with all others. */
struct seen_names {
    uint64_t mask;
    size_t count;
    struct bytes name[PROPERTIES_SCAN_NAMES];
};

/* True when the name was there already, or when there are too many to know. */
static bool seen_before(struct seen_names *seen, struct bytes name)
{
    unsigned hash = (unsigned)name.len * 31 + name.at[0] * 7u + name.at[name.len - 1];
    uint64_t bit = UINT64_C(1) << (hash & 63);

    if (seen->mask & bit) {
        for (size_t i = 0; i < seen->count; i++) {
            if (bytes_equal(seen->name[i], name))
                return true;
        }
    }
    if (seen->count == PROPERTIES_SCAN_NAMES)
        return true;
    seen->mask |= bit;
    seen->name[seen->count++] = name;
    return false;
}

void properties_scan(struct bytes properties, struct properties_known *out)
{
    struct seen_names seen;
    struct bytes name, value;
    size_t at = 0;
    int r;

    seen.mask = 0;
    seen.count = 0;
    *out = (struct properties_known){0};
    while ((r = next_item(properties, &at, &name, &value)) != ITEM_NONE) {
        if (r == ITEM_INVALID) {
            out->has_invalid = true;
            continue;
        }
        if (!out->has_invalid && seen_before(&seen, name))
            out->has_invalid = true;
        note_known(out, name, value);
    }
    out->ends_with_separator = properties.len > 0 && properties.at[properties.len - 1] == ITEM_END;
}

struct item {
    struct bytes name, value;
    bool hidden; /* a later one has the same name */
};

static int by_name_then_place(const void *a, const void *b)
{
    const struct item *x = *(struct item *const *)a, *y = *(struct item *const *)b;

    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    int order = memcmp(x->name.at, y->name.at, x->name.len);
    if (order != 0)
        return order;
    return x->name.at < y->name.at ? -1 : x->name.at > y->name.at;
}

static void hide_repeated_few(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t later = i + 1; later < count && !items[i].hidden; later++)
            items[i].hidden = bytes_equal(items[i].name, items[later].name);
    }
}

static int hide_repeated_many(struct item *items, size_t count)
{
    struct item **sorted = calloc(count, sizeof(*sorted));

    if (!sorted)
        return -1;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &items[i];
    qsort(sorted, count, sizeof(struct item *), by_name_then_place);
    for (size_t i = 0; i + 1 < count; i++)
        sorted[i]->hidden = bytes_equal(sorted[i]->name, sorted[i + 1]->name);
    free(sorted);
    return 0;
}

static bool is_left_out(struct bytes name, const char *const *without)
{
    if (bytes_is(name, RECORD_CRC_NAME))
        return true;
    for (; without && *without; without++) {
        if (bytes_is(name, *without))
            return true;
    }
    return false;
}

void properties_copy(struct buf *out, struct bytes properties, const char *const *without)
{
    enum { FEW = 64 };
    struct item few[FEW], *items = few;
    struct bytes name, value;
    size_t count = 0, start = out->len;
    bool failed = false;

    for (size_t at = 0; properties_next(properties, &at, &name, &value);)
        count++;
    if (count > FEW) {
        items = calloc(count, sizeof(*items));
        if (!items) {
            out->failed = true;
            return;
        }
    }
    for (size_t at = 0, i = 0; properties_next(properties, &at, &name, &value); i++)
        items[i] = (struct item){.name = name, .value = value};
    if (count > FEW)
        failed = hide_repeated_many(items, count) < 0;
    else
        hide_repeated_few(items, count);

    for (size_t i = 0; i < count && !failed; i++) {
        if (!items[i].hidden && !is_left_out(items[i].name, without))
            properties_add(out, start, items[i].name, items[i].value);
    }
    if (failed)
        out->failed = true;
    if (items != few)
        free(items);
}

void properties_add(struct buf *out, size_t start, struct bytes name, struct bytes value)
{
    if (out->len > start && buf_at(out)[out->len - 1] != ITEM_END)
        buf_add_u8(out, ITEM_END);
    buf_add(out, name.at, name.len);
    buf_add_u8(out, NAME_END);
    buf_add(out, value.at, value.len);
}
