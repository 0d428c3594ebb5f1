/* show.h - values as people and scripts read them. Pure, but for show_note(); text is added to a
 * buf. */
#ifndef TERN_TOOLS_SHOW_H
#define TERN_TOOLS_SHOW_H

#include <stdarg.h>

#include "common/buf.h"

/* Printable text stays as it is; line ends become \n and \r, every other control character (those
 * of U+0080 to U+009F too) and every byte that is not UTF-8 becomes \xNN, so that nothing in a
 * message can steer a terminal. Tabs stay with `keep_tabs`, else they become \t. */
void show_text(struct buf *out, struct bytes text, bool keep_tabs);
/* A sentence on stderr, "PROGRAM: ...", in which nothing that came from a peer can steer a terminal
 * or begin a line. */
void show_note(const char *program, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Columns that a terminal needs for shown text: its code points. */
size_t show_width(struct bytes text);
void show_base64(struct buf *out, struct bytes data);
/* Local time with milliseconds, "2026-01-31 23:59:59.999"; "-" for 0 and below. */
enum { SHOW_TIME_MAX = 40 };
char *show_time(char to[SHOW_TIME_MAX], int64_t ms);
/* "1.2 KiB", "3.4 GiB" */
enum { SHOW_SIZE_MAX = 24 };
char *show_size(char to[SHOW_SIZE_MAX], double size_bytes);
/* Permission bits of topics and brokers: "RW", "R", "W"; "-" for none. */
const char *show_perm(int64_t perm);
/* What a negative errno means, to stand within a sentence: "connection refused". */
enum { SHOW_ERRNO_MAX = 96 };
char *show_errno(char to[SHOW_ERRNO_MAX], int code);
/* The name of a response code ("TOPIC_NOT_EXIST"), or "unknown". */
const char *show_code(int32_t code);

#endif
