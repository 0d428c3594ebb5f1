/* ctl_store.h - what the commands that work on a store folder share. */
#ifndef TERN_TOOLS_CTL_STORE_H
#define TERN_TOOLS_CTL_STORE_H

#include "broker/store/metadata.h"
#include "tools/ternctl.h"

/* The exit status of commands that cannot do what they were asked to, as opposed to what they
 * found. */
enum { CTL_STORE_CANNOT = 2 };

/* Options of every such command. */
struct ctl_store {
    struct ctl *ctl;
    const char *log_dir;    /* --commit-log */
    const char *delay_text; /* --delay-levels */
    bool show_progress;     /* --progress, or stderr is a terminal */
    int64_t delay_ms[DELAY_LEVELS_MAX];
    int delay_levels;
    int64_t progress_ms; /* of the last line */
    int write_failed;    /* the first failure of stdout */
};

#define CTL_STORE_OPTIONS(s)                                                                       \
    {                                                                                              \
        .name = "commit-log", .kind = OPTION_TEXT, .to = &(s)->log_dir, .value = "DIR",            \
        .help = "folder of the commit log (storePathCommitLog), when it is not DIR/commitlog"      \
    }
#define CTL_STORE_DELAY_OPTION(s)                                                                  \
    {                                                                                              \
        .name = "delay-levels", .kind = OPTION_TEXT, .to = &(s)->delay_text, .value = "LEVELS",    \
        .help = "messageDelayLevel of the broker, when it is not the default"                      \
    }
#define CTL_STORE_PROGRESS_OPTION(s)                                                               \
    {                                                                                              \
        .name = "progress", .kind = OPTION_FLAG, .to = &(s)->show_progress,                        \
        .help = "say now and then on stderr how far it is, as on a terminal"                       \
    }

/* After the options were read: CTL_GO_ON or a status. */
int ctl_store_begin(struct ctl_store *s);
/* A line at most every few seconds. `of` 0: nobody knows. */
void ctl_store_progress(void *ctx, const char *what, uint64_t done, uint64_t of);
/* Writes what is in ctl->out to stdout and empties it; false when that fails, now or before. */
bool ctl_store_flush(struct ctl_store *s);
/* The rest of the output; the status, or a failure when something could not be written. */
int ctl_store_end(struct ctl_store *s, int status);

#endif
