/* err.c - see err.h. A sentence that is too long is cut, never lost. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void err_vformat(struct err *err, int code, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void err_vformat(struct err *err, int code, const char *format, va_list args)
{
    err->code = code;
    if (vsnprintf(err->text, sizeof(err->text), format, args) < 0)
        err->text[0] = 0;
}

int err_set(struct err *err, int code, const char *format, ...)
{
    if (!err)
        return code;

    va_list args;
    va_start(args, format);
    err_vformat(err, code, format, args);
    va_end(args);
    if (code < 0) {
        char room[128];
        size_t len = strlen(err->text);
        /* GNU strerror_r: returns the text, which may or may not be in `room`. */
        snprintf(err->text + len, sizeof(err->text) - len, ": %s",
                 strerror_r(-code, room, sizeof(room)));
    }
    return code;
}

int err_say(struct err *err, int code, const char *format, ...)
{
    if (!err)
        return code;

    va_list args;
    va_start(args, format);
    err_vformat(err, code, format, args);
    va_end(args);
    return code;
}

void err_add(struct err *err, const char *format, ...)
{
    va_list args;
    size_t len;

    if (!err)
        return;
    len = strlen(err->text);
    va_start(args, format);
    if (vsnprintf(err->text + len, sizeof(err->text) - len, format, args) < 0)
        err->text[len] = '\0';
    va_end(args);
}
