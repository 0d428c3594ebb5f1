/* ternctl.c - the command line of a cluster: finds the command, prints its output and its failure.
 *
 * Commands return an exit status (tools/client.h) and leave one sentence for a failure; they write
 * to stdout only through ctl->out, except send and consume, which print as they go.
 */
#include "tools/ternctl.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/standard.h"
#include "tern_version.h"
#include "tools/ctl_message.h"
#include "tools/moment.h"
#include "tools/show.h"

static const struct command commands[] = {
    {"topic create", "TOPIC", "make a topic on all masters, and wait until it is routed",
     "A topic that is there already stays as it is: the same settings are fine, others are "
     "refused\n"
     "without --update. Options that are not given keep what is there.",
     ctl_topic_create},
    {"topic list", "", "list the topics", NULL, ctl_topic_list},
    {"topic describe", "TOPIC", "settings, brokers, queues and consumer groups of a topic", NULL,
     ctl_topic_describe},
    {"topic delete", "TOPIC", "delete a topic from brokers and name servers",
     "The messages of the topic can no longer be read.", ctl_topic_delete},
    {"route", "TOPIC", "which brokers serve a topic", NULL, ctl_route},
    {"cluster", "", "brokers, their versions, rates and disks",
     "Exit status 3 when a broker that is registered does not answer.", ctl_cluster},
    {"group", "", "members of a replicated group, and who is its master", NULL, ctl_group},
    {"promote", "", "make another member the master, when the master is gone",
     "Collects promises, starts the member with the highest log among those who gave them, and\n"
     "waits until the name servers route to it. Status 1 when too few members can promise.",
     ctl_promote},
    {"drain", "", "let the master hand over to another member, without a failed send",
     "The master takes no messages until the other has everything and is the master; when that "
     "does\n"
     "not happen in time, it takes them again.",
     ctl_drain},
    {"demote", "", "let the master step down; nobody is the master then", NULL, ctl_demote},
    {"send", "TOPIC [MESSAGE]", "send a message, or each line of stdin",
     "Prints where the message lies. For lines from a file or pipe only a summary is printed\n"
     "(--json: one object for each message).",
     ctl_send},
    {"consume", "TOPIC", "print messages as they come",
     "Without --from it goes on where the group has stopped; a new group begins with the first\n"
     "message. It reads all queues of all brokers, beside other consumers of the group, and\n"
     "therefore refuses a group that others consume in (--join overrides). Ctrl-C stores the\n"
     "offsets and leaves with status 0.",
     ctl_consume},
    {"message get", "ID", "a message by its id, and which groups have consumed it",
     "ID is an offset message id, as send prints it, or with --topic the unique key that its "
     "producer\n"
     "gave it.",
     ctl_message_get},
    {"message query", "", "messages with a key, and which groups have consumed them",
     "TIME is " MOMENT_FORMS ".", ctl_message_query},
    {"message at", "TOPIC TIME", "the first message of each queue stored then or later",
     "TIME is " MOMENT_FORMS ".", ctl_message_at},
    {"store verify", "DIR", "check a store folder, offline and without changing it",
     "DIR is the broker's storePathRootDir. Every record of the log, every queue entry and every\n"
     "small file is compared with the others. Exit status: 0 sound, 1 problems, 2 it cannot be\n"
     "checked (not there, or in use by a broker).",
     ctl_store_verify},
    {"store dump", "DIR", "print the records of a store folder as JSON lines",
     "Also of a store that a broker runs on. Places that are no record are passed over with a "
     "note\n"
     "on stderr; the exit status is then 1. Status 2: nothing can be read there.",
     ctl_store_dump},
    {"store repair", "DIR", "make queues and marks of a stopped store anew from its log",
     "Consume queues, tern/flushed, tern/queues and checkpoint come from the log, which is only "
     "read\n"
     "unless --truncate-at is given. Exit status: 0 done, 1 failed on the way (run it again), 2 "
     "it\n"
     "cannot be done (in use, the files of the log are not in order); nothing was changed then.",
     ctl_store_repair},
    {"backup", "DIR", "copy a store folder, also while a broker writes to it",
     "The copy has every message that was acknowledged before it began, topics, groups and "
     "offsets.\n"
     "To restore, start a broker on it. Whole segments share blocks with the store, or are hard\n"
     "links, where the file system can do that and --copy is not given.",
     ctl_backup},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* The commands whose name begins with `only` ("" for all). */
static void usage(const char *only, struct buf *out)
{
    buf_addf(out, "usage: ternctl %sCOMMAND [OPTION]... [OPERAND]...\n\n", only);
    for (int i = 0; i < COMMANDS; i++) {
        char left[64];

        if (strncmp(commands[i].name, only, strlen(only)) != 0)
            continue;
        snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].operands);
        buf_addf(out, "  %-22s %s\n", left, commands[i].summary);
    }
    buf_add_str(
        out, "\n"
             "Every command takes --json, and explains itself with --help; those that ask servers "
             "take\n"
             "-n ADDR[;ADDR] (name servers; default $" CLIENT_NAMES_VARIABLE
             ", else " CLIENT_NAMES_DEFAULT ").\n"
             "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 cannot be reached, "
             "4 not found.\n");
}

void ctl_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    show_note("ternctl", format, args);
    va_end(args);
}

void ctl_table(struct ctl *ctl, struct table *t)
{
    table_print(t, &ctl->out);
    table_destroy(t);
}

static void help(struct ctl *ctl, const struct command *command, const struct option_spec *specs,
                 size_t count)
{
    buf_addf(&ctl->out, "usage: ternctl %s%s%s [OPTION]...\n%s\n\n", command->name,
             command->operands[0] ? " " : "", command->operands, command->summary);
    options_help(specs, count, &ctl->out);
    if (command->notes)
        buf_addf(&ctl->out, "\n%s\n", command->notes);
}

int ctl_parse_offline(struct ctl *ctl, const struct command *command,
                      const struct option_spec *specs, size_t count, int argc, char **argv,
                      int min_operands, int max_operands, int *operands)
{
    int n = 0;

    if (options_parse(specs, count, argc, argv, false, &n, &ctl->err) < 0)
        return TOOL_USAGE;
    if (ctl->help) {
        help(ctl, command, specs, count);
        return TOOL_DONE;
    }
    if (n < min_operands || n > max_operands)
        return err_say(&ctl->err, TOOL_USAGE, "%s: ternctl %s%s%s",
                       n < min_operands ? "something is missing" : "too many arguments",
                       command->name, command->operands[0] ? " " : "", command->operands);
    *operands = n;
    return CTL_GO_ON;
}

int ctl_parse(struct ctl *ctl, const struct command *command, const struct option_spec *specs,
              size_t count, int argc, char **argv, int min_operands, int max_operands,
              int *operands)
{
    int r = ctl_parse_offline(ctl, command, specs, count, argc, argv, min_operands, max_operands,
                              operands);

    if (r != CTL_GO_ON)
        return r;
    r = client_new(&ctl->client, ctl->names, false, &ctl->err);
    return r == TOOL_DONE ? CTL_GO_ON : r;
}

/* Number of words of argv that name the command; 0: they do not. */
static int matches(const struct command *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);

    if (argc < 1 || !bytes_equal(bytes_str(argv[0]), bytes_of(command->name, first)))
        return 0;
    if (!space)
        return 1;
    return argc > 1 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

/* Commands of two words. */
static const struct family {
    const char *word, *prefix, *actions;
} families[] = {
    {"topic", "topic ", "create, list, describe or delete"},
    {"store", "store ", "verify, dump or repair"},
};

static const struct family *family_of(const char *word)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (strcmp(word, families[i].word) == 0)
            return &families[i];
    }
    return NULL;
}

static int unknown_command(struct ctl *ctl, int argc, char **argv)
{
    const struct family *family = family_of(argv[0]);
    char given[128];

    if (family && argc == 1)
        return err_say(&ctl->err, TOOL_USAGE, "%s what? %s", family->word, family->actions);
    snprintf(given, sizeof(given), "%.50s%s%.50s", argv[0], family ? " " : "",
             family ? argv[1] : "");
    for (int i = 0; i < COMMANDS; i++) {
        if (options_distance(given, commands[i].name) <= 2)
            return err_say(&ctl->err, TOOL_USAGE, "unknown command %s; did you mean %s?", given,
                           commands[i].name);
    }
    return err_say(&ctl->err, TOOL_USAGE, "unknown command %s; ternctl --help lists them", given);
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
    bool version = false;
    const struct option_spec specs[] = {
        {.name = "version", .kind = OPTION_FLAG, .to = &version},
        CTL_COMMON_OPTIONS(ctl),
    };
    const struct family *family;
    int rest = 0;

    if (options_parse(specs, sizeof(specs) / sizeof(specs[0]), argc - 1, argv + 1, true, &rest,
                      &ctl->err) < 0)
        return TOOL_USAGE;
    argv++;
    if (version) {
        buf_add_str(&ctl->out, "ternctl " TERN_VERSION "\n");
        return TOOL_DONE;
    }
    if (rest > 0 && strcmp(argv[0], "help") == 0) { /* "help topic create" */
        ctl->help = true;
        argv++;
        rest--;
    }
    for (int i = 0; i < COMMANDS; i++) {
        int words = matches(&commands[i], rest, argv);

        if (words) {
            ctl->command = commands[i].name;
            return commands[i].run(ctl, &commands[i], rest - words, argv + words);
        }
    }
    family = rest > 0 ? family_of(argv[0]) : NULL;
    if (family && (rest == 1 ? ctl->help : is_help(argv[1]))) {
        usage(family->prefix, &ctl->out);
        return TOOL_DONE;
    }
    if (rest > 0)
        return unknown_command(ctl, rest, argv);
    usage("", &ctl->out);
    if (ctl->help)
        return TOOL_DONE;
    fwrite(buf_at(&ctl->out), 1, ctl->out.len, stderr);
    buf_reset(&ctl->out);
    return TOOL_USAGE;
}

/* What was printed counts as done only when it has left, or when its reader wanted no more. */
static int print(struct ctl *ctl, int status)
{
    int r = standard_write(&ctl->out);

    if (r < 0 && r != -EPIPE && status == TOOL_DONE)
        status = err_say(&ctl->err, TOOL_REFUSED, "write to stdout: %s", strerror(-r));
    return status;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.client = NULL};
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (standard_hold() < 0)
        return TOOL_REFUSED;
    status = print(&ctl, run(&ctl, argc, argv));
    if (status != TOOL_DONE && ctl.err.text[0])
        ctl_note("%s", ctl.err.text);
    if (status == TOOL_USAGE && !ctl.cannot && ctl.err.text[0])
        fprintf(stderr, "Try: ternctl %s%s--help\n", ctl.command ? ctl.command : "",
                ctl.command ? " " : "");
    client_free(ctl.client);
    buf_destroy(&ctl.out);
    return status;
}
