/* err.h - a failure that a person will read: a code and one sentence.
 *
 * The sentence names the path, the value found and the value expected.
 * Only paths that end at a person take a struct err (start-up, configuration,
 * recovery, tools); everything else returns 0, -errno or a named outcome.
 */
#ifndef TERN_COMMON_ERR_H
#define TERN_COMMON_ERR_H

struct err {
    int code;       /* the negative value that the failing call returns */
    char text[512]; /* no newline, no full stop at the end */
};

/* Fills err (which may be NULL) and returns `code`. When `code` is a negative errno its
 * description is appended after ": ". */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Likewise without the errno text: the sentence is complete. */
int err_say(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds to the sentence, for the caller that knows what to do about it. err may be NULL. */
void err_add(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
