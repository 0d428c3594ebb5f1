/* log.h - what an operator reads. One line per event on stderr.
 *
 * Under systemd (JOURNAL_STREAM set) lines carry "<level>" prefixes and no time;
 * elsewhere an ISO time (UTC) and the level's name. Any thread may call; a line is one write().
 * Control characters and stray bytes in a line are shown as \xNN, so that names from a peer cannot
 * forge lines; a line over 2 KiB ends in "...". The level and the table of log_warn_limited belong
 * to the process. errno is left as it was.
 * No line per message, queue or connection at the default level (info).
 */
#ifndef TERN_COMMON_LOG_H
#define TERN_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* "error", "warn", "info", "debug"; false when it is none of them. */
bool log_level_parse(const char *name, enum log_level *out);

/* What a line that a program writes to stderr itself begins with, so that the journal files it
 * under `level`: "<3>" for errors when stderr is the journal, else "". */
const char *log_journal_level(enum log_level level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Warns at most once a minute for each `subject` (a peer's address without its port, or a file);
 * what was left out is counted and said with the next line. A bounded table (256 subjects)
 * remembers them; any thread. */
void log_warn_limited(const char *subject, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
