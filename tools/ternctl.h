/* ternctl.h - what the commands of ternctl share: one context, one way to read options. */
#ifndef TERN_TOOLS_TERNCTL_H
#define TERN_TOOLS_TERNCTL_H

#include "common/json_out.h"
#include "tools/client.h"
#include "tools/options.h"
#include "tools/table.h"

struct ctl {
    struct client *client;
    const char *command; /* its name, once it is known */
    const char *names;   /* -n; NULL: not given */
    bool json;
    bool help;
    bool cannot;    /* status 2 says that the work cannot be done, not that the usage is wrong */
    struct buf out; /* what goes to stdout when the command is done */
    struct err err; /* printed when the status is not TOOL_DONE */
};

struct command {
    const char *name; /* "topic create" */
    const char *operands;
    const char *summary;
    const char *notes; /* printed below the options; NULL: none */
    /* argv holds what follows the name. Returns an enum tool_status. */
    int (*run)(struct ctl *ctl, const struct command *command, int argc, char **argv);
};

/* The last rows of every table of options. */
#define CTL_COMMON_OPTIONS(ctl)                                                                    \
    {.name = "namesrv",                                                                            \
     .letter = 'n',                                                                                \
     .kind = OPTION_TEXT,                                                                          \
     .to = &(ctl)->names,                                                                          \
     .value = "ADDR[;ADDR]",                                                                       \
     .help = "name servers; default $" CLIENT_NAMES_VARIABLE ", else " CLIENT_NAMES_DEFAULT},      \
        {.name = "json", .kind = OPTION_FLAG, .to = &(ctl)->json, .help = "print JSON"},           \
    {                                                                                              \
        .name = "help", .letter = 'h', .kind = OPTION_FLAG, .to = &(ctl)->help,                    \
        .help = "print this"                                                                       \
    }

/* Likewise for commands that ask no server. */
#define CTL_OFFLINE_OPTIONS(ctl)                                                                   \
    {.name = "json", .kind = OPTION_FLAG, .to = &(ctl)->json, .help = "print JSON"},               \
    {                                                                                              \
        .name = "help", .letter = 'h', .kind = OPTION_FLAG, .to = &(ctl)->help,                    \
        .help = "print this"                                                                       \
    }

/* Reads the options and makes the client. CTL_GO_ON with the operands at the front of argv, or the
 * status to return. */
enum { CTL_GO_ON = -1 };
int ctl_parse(struct ctl *ctl, const struct command *command, const struct option_spec *specs,
              size_t count, int argc, char **argv, int min_operands, int max_operands,
              int *operands);
/* Likewise without a client. */
int ctl_parse_offline(struct ctl *ctl, const struct command *command,
                      const struct option_spec *specs, size_t count, int argc, char **argv,
                      int min_operands, int max_operands, int *operands);
/* A line on stderr that is no failure. */
void ctl_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Asks a broker and reads the JSON of its answer, yours; *out stays NULL for `absent`, a code that
 * only says that there is nothing to tell. `doing` as in client_need(). */
int ctl_ask_json(struct ctl *ctl, const char *broker, const char *address, const char *doing,
                 int32_t code, const struct rpc_field *fields, size_t count, int32_t absent,
                 json_t **out);
/* Prints a table and forgets it. */
void ctl_table(struct ctl *ctl, struct table *t);

int ctl_topic_create(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_topic_list(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_topic_describe(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_topic_delete(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_route(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_cluster(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_group(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_promote(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_drain(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_demote(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_send(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_backup(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_store_dump(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_store_repair(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_store_verify(struct ctl *ctl, const struct command *command, int argc, char **argv);
int ctl_consume(struct ctl *ctl, const struct command *command, int argc, char **argv);

#endif
