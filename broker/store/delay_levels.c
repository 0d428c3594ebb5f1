/* delay_levels.c - see delay_levels.h. */
#include "broker/store/delay_levels.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/properties.h"

int delay_levels_parse(const char *text, int64_t *ms, int max)
{
    int count = 0;

    while (*text) {
        char *end;
        int64_t unit, number;

        if (count == max || *text < '0' || *text > '9')
            return -EINVAL;
        errno = 0;
        number = strtoll(text, &end, 10);
        switch (*end) {
        case 's':
            unit = 1000;
            break;
        case 'm':
            unit = 60 * 1000;
            break;
        case 'h':
            unit = 3600 * 1000;
            break;
        case 'd':
            unit = 24 * 3600 * 1000;
            break;
        default:
            return -EINVAL;
        }
        if (errno != 0 || number > INT64_C(36500) * 24 * 3600)
            return -EINVAL;
        ms[count++] = number * unit;
        text = end + 1;
        if (*text == ' ' && text[1] != '\0')
            text++;
        else if (*text != '\0')
            return -EINVAL;
    }
    return count;
}

int64_t delay_levels_due(const int64_t *ms, int levels, int64_t store_ms, int32_t level)
{
    assert(level > 0);
    if (levels == 0)
        return store_ms + 1000;
    if (level > levels)
        level = levels;
    return store_ms + ms[level - 1];
}

int64_t delay_levels_tags_code(const int64_t *ms, int levels, const struct record *r)
{
    if (bytes_is(r->topic, SCHEDULE_TOPIC)) {
        struct bytes delay = properties_find(r->properties, BYTES_LIT("DELAY"));
        int32_t level;
        if (bytes_to_i32(delay, &level) && level > 0)
            return delay_levels_due(ms, levels, r->store_ms, level);
    }
    return properties_tags_code(properties_find(r->properties, BYTES_LIT("TAGS")));
}
