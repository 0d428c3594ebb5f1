/* moment.c - see moment.h. */
#include "tools/moment.h"

#include <string.h>
#include <time.h>

#include "common/bytes.h"

/* ".5", ".25", ".999" behind the seconds; what follows it. */
static const char *fraction(const char *at, int64_t *ms)
{
    int64_t unit = 100;

    *ms = 0;
    if (*at != '.' || at[1] < '0' || at[1] > '9')
        return at;
    for (at++; *at >= '0' && *at <= '9' && unit > 0; at++, unit /= 10)
        *ms += (*at - '0') * unit;
    return at;
}

bool moment_parse(const char *text, int64_t *ms)
{
    static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
                                          "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

    if (bytes_to_i64(bytes_str(text), ms))
        return *ms >= 0;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, formats[i], &tm);
        int64_t rest = 0;
        bool utc;
        time_t seconds;

        if (end && i < 2)
            end = fraction(end, &rest);
        utc = end && strcmp(end, "Z") == 0;
        if (!end || (*end != '\0' && !utc))
            continue;
        seconds = utc ? timegm(&tm) : mktime(&tm);
        *ms = (int64_t)seconds * 1000 + rest;
        return seconds >= 0;
    }
    return false;
}
