/* runner.h - what the programs of tests/faults share: a folder in memory, workers whose end is a
 * failure and not that of the program, and log lines that are kept until somebody wants them.
 */
#ifndef TERN_TESTS_FAULTS_RUNNER_H
#define TERN_TESTS_FAULTS_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUNNER_TEXT = 2000, RUNNER_FAILURES = 8 };

struct runner {
    uint64_t from, to; /* items: a worker takes each `workers`th group of `group` of them */
    uint64_t group;
    unsigned workers;
    unsigned stop_after; /* failures */
    /* Does items [from, to) of one group; says with runner_item() which one it is at, and with
     * runner_failed() what is wrong with it. */
    void (*run)(void *ctx, uint64_t from, uint64_t to);
    void *ctx;
    bool quiet; /* failures are not printed */
    /* A command that does only this item. */
    void (*command)(void *ctx, uint64_t item, char *to, size_t size);
};
struct runner_result {
    uint64_t passed, failed;
    uint64_t first_failed; /* UINT64_MAX: none */
    char text[RUNNER_TEXT];
};
void runner_run(const struct runner *r, struct runner_result *out);
/* In a worker. What fails before the first item of a group fails all of it. */
void runner_group(uint64_t first);
void runner_item(uint64_t item);
void runner_failed(const char *text) __attribute__((noreturn));
/* Makes a folder, or empties it, below the worker's own in memory, which is where it works: short
 * paths cost least. */
void runner_folder(const char *name);

/* Log lines since the last forget: the newest, as many as there is room for. */
const char *runner_log(void);
void runner_log_forget(void);
void runner_log_show(bool show); /* on stderr, as they come */

#endif
