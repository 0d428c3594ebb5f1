/* log.c - one line, one write(2).
 *
 * The text is formatted on the stack, made harmless (a name sent by a peer must not be able to
 * start a line of its own or to steer a terminal) and written at once: no allocation, no stdio
 * lock, no state between two lines apart from the level and the table of log_warn_limited.
 */
#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log_limit.h"

enum {
    TEXT_MAX = 2048, /* of a message, before escapes */
    LINE_SIZE = 2048 /* with prefix and newline; below PIPE_BUF, so lines in a pipe do not mix */
};

static _Atomic int max_level = LOG_LEVEL_INFO;

static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit warn_limit; /* under limit_lock */

static const struct level_info {
    const char *name;
    const char *shown;
    const char *journal;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", "ERROR", "<3>"},
    [LOG_LEVEL_WARN] = {"warn", "WARN ", "<4>"},
    [LOG_LEVEL_INFO] = {"info", "INFO ", "<6>"},
    [LOG_LEVEL_DEBUG] = {"debug", "DEBUG", "<7>"},
};
enum { LEVELS = sizeof(levels) / sizeof(levels[0]) };

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *out)
{
    for (int i = 0; i < LEVELS; i++) {
        if (strcmp(name, levels[i].name) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* systemd names the device and inode of the stream it gave us, so that a service whose stderr was
 * sent elsewhere can tell. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    char *end;

    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    unsigned long long dev = strtoull(stream, &end, 10);
    if (*end != ':')
        return false;
    unsigned long long ino = strtoull(end + 1, &end, 10);
    return *end == '\0' && dev == st.st_dev && ino == st.st_ino;
}

const char *log_journal_level(enum log_level level)
{
    return stderr_is_journal() ? levels[level].journal : "";
}

static size_t put_prefix(char *line, size_t size, enum log_level level)
{
    int n;

    if (stderr_is_journal()) {
        n = snprintf(line, size, "%s", levels[level].journal);
    } else {
        int64_t now_ms = clock_wall_ms();
        time_t seconds = (time_t)(now_ms / 1000);
        struct tm tm = {0};

        gmtime_r(&seconds, &tm);
        n = snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s ", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (int)(now_ms % 1000), levels[level].shown);
    }
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* Length of the character at the front of `text`; 0 when it is no UTF-8 or must not be shown:
 * control characters, and the line and paragraph separators. */
static size_t printable_len(const char *text)
{
    uint32_t point;
    unsigned len = bytes_utf8_at(bytes_of(text, strnlen(text, 4)), &point);

    if (len == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0))
        return 0;
    return point != 0x2028 && point != 0x2029 ? len : 0;
}

/* Copies `text` (NUL-terminated) to line[at..], with what must not be shown as \xNN. Stops before
 * `limit`; *cut says that it had to. Returns the new end. */
static size_t put_text(char *line, size_t at, size_t limit, const char *text, bool *cut)
{
    while (*text) {
        size_t n = printable_len(text);
        size_t need = n ? n : 4;

        if (need > limit - at) {
            *cut = true;
            return at;
        }
        if (n) {
            memcpy(line + at, text, n);
            text += n;
        } else {
            static const char hex[] = "0123456789abcdef";
            unsigned char c = (unsigned char)*text++;
            line[at] = '\\';
            line[at + 1] = 'x';
            line[at + 2] = hex[c >> 4];
            line[at + 3] = hex[c & 15];
        }
        at += need;
    }
    return at;
}

__attribute__((format(printf, 3, 0))) static void log_line(enum log_level level, const char *tail,
                                                           const char *format, va_list args)
{
    char text[TEXT_MAX], line[LINE_SIZE];
    int saved_errno = errno;
    size_t tail_len = strlen(tail);
    size_t room = sizeof(line) - 1 - tail_len; /* newline, and what must follow the text */

    int n = vsnprintf(text, sizeof(text), format, args);
    if (n < 0)
        snprintf(text, sizeof(text), "(a log line that could not be formatted: %s)", format);
    bool cut = n >= (int)sizeof(text);

    size_t at = put_prefix(line, room, level);
    at = put_text(line, at, room - 3, text, &cut);
    if (cut) {
        memcpy(line + at, "...", 3);
        at += 3;
    }
    memcpy(line + at, tail, tail_len);
    at += tail_len;
    line[at++] = '\n';

    /* Nobody is left to be told when this fails. A rest is not written: it would be a second
     * line in the middle of other threads' lines. */
    ssize_t written = TEMP_FAILURE_RETRY(write(STDERR_FILENO, line, at));
    (void)written;
    errno = saved_errno;
}

static bool level_wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

#define LOG_AT(level)                                                                              \
    do {                                                                                           \
        if (level_wanted(level)) {                                                                 \
            va_list args;                                                                          \
            va_start(args, format);                                                                \
            log_line(level, "", format, args);                                                     \
            va_end(args);                                                                          \
        }                                                                                          \
    } while (0)

void log_error(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_ERROR);
}

void log_warn(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_WARN);
}

void log_info(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_INFO);
}

void log_debug(const char *format, ...)
{
    LOG_AT(LOG_LEVEL_DEBUG);
}

void log_warn_limited(const char *subject, const char *format, ...)
{
    char tail[64] = "";
    uint64_t left_out = 0;
    va_list args;

    if (!level_wanted(LOG_LEVEL_WARN))
        return;
    pthread_mutex_lock(&limit_lock);
    bool pass = log_limit_pass(&warn_limit, subject, clock_mono_ms(), &left_out);
    pthread_mutex_unlock(&limit_lock);
    if (!pass)
        return;
    if (left_out > 0)
        snprintf(tail, sizeof(tail), " (%" PRIu64 " more like this were left out)", left_out);
    va_start(args, format);
    log_line(LOG_LEVEL_WARN, tail, format, args);
    va_end(args);
}
