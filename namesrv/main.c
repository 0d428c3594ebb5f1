/* main.c - tern-namesrv: options, one loop, one name server, and a clean stop. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/port_file.h"
#include "common/standard.h"
#include "namesrv/namesrv.h"
#include "tern_version.h"

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

static const char usage[] =
    "usage: tern-namesrv [-c FILE] [-o key=value]... [--check | --print-config]\n"
    "       tern-namesrv --version | --help\n"
    "\n"
    "  -c FILE         configuration in RocketMQ's key=value format\n"
    "  -o key=value    one setting; comes after the file, the last one wins\n"
    "  --check         check the configuration and exit: 0 when it is good, 1 when not\n"
    "  --print-config  print every setting, where it came from and what it means\n"
    "\n"
    "Settings people set most: listenPort, bindAddress, kvConfigPath, orderMessageEnable.\n"
    "Exit status: 0 stopped or checked, 1 configuration refused, 2 usage, 3 anything else.\n";

enum action { RUN, CHECK, PRINT };

struct settings {
    enum action action;
    struct namesrv_options options;
    struct config_origin origin;
};

struct running {
    struct namesrv *ns;
    struct loop *loop;
};

/* ---- options ---- */

static int wrong_usage(const char *what, const char *arg)
{
    fprintf(stderr, "tern-namesrv: %s%s\n%s", what, arg, usage);
    return EXIT_USAGE;
}

static int refused(const struct err *err)
{
    fprintf(stderr, "tern-namesrv: %s\n", err->text);
    return EXIT_REFUSED;
}

/* The file that requests change must not be the one that people write. */
static void check_store_path(struct namesrv_options *o, const char *file)
{
    struct stat stored, given;

    if (!file || o->config_store_path[0] == '\0' || stat(o->config_store_path, &stored) != 0 ||
        stat(file, &given) != 0 || stored.st_dev != given.st_dev || stored.st_ino != given.st_ino)
        return;
    log_warn("configStorePath names the configuration file itself, which is never rewritten: "
             "changes by request hold until the next start");
    o->config_store_path[0] = '\0';
}

static int expand_paths(struct namesrv_options *o, struct err *err)
{
    const char *home = getenv("HOME");

    if (!home)
        home = "";
    if (!namesrv_expand_home(o->kv_config_path, home) ||
        !namesrv_expand_home(o->config_store_path, home) ||
        !namesrv_expand_home(o->port_file, home))
        return err_say(err, -ENAMETOOLONG, "a path below the home folder %s is too long", home);
    return 0;
}

/* Applies each -o in order; with a prefix, only those that begin with it. */
static int apply_arguments(struct settings *s, char *const *args, const char *prefix,
                           struct err *err)
{
    for (char *const *arg = args; *arg; arg++) {
        if (strcmp(*arg, "-c") == 0) {
            arg++;
        } else if (strcmp(*arg, "-o") == 0) {
            arg++;
            if (strncmp(*arg, prefix, strlen(prefix)) != 0)
                continue;
            int r = config_set(&namesrv_config_spec, &s->options, &s->origin, *arg, "-o", err);

            if (r < 0)
                return r;
        }
    }
    return expand_paths(&s->options, err);
}

/* The file, then what requests changed, then -o in order; where the second is must be known first.
 */
static int load_settings(struct settings *s, const char *file, char *const *args, struct err *err)
{
    int r = file ? config_load(&namesrv_config_spec, &s->options, &s->origin, file, err) : 0;

    if (r == 0)
        r = apply_arguments(s, args, "configStorePath=", err);
    if (r < 0)
        return r;
    check_store_path(&s->options, file);
    r = namesrv_options_load_changed(&s->options, &s->origin, err);
    if (r == 0)
        r = apply_arguments(s, args, "", err);
    check_store_path(&s->options, file);
    return r;
}

/* -1: go on; else the exit status. */
static int read_arguments(int argc, char **argv, struct settings *s)
{
    const char *file = NULL;
    struct err err = {0};

    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];

        if (strcmp(arg, "-c") == 0 || strcmp(arg, "-o") == 0) {
            if (i + 1 == argc)
                return wrong_usage("an argument is missing after ", arg);
            if (arg[1] == 'c')
                file = argv[i + 1];
            else if (!strchr(argv[i + 1], '='))
                return wrong_usage("expected key=value after -o, found ", argv[i + 1]);
            i++;
        } else if (strcmp(arg, "--check") == 0) {
            s->action = CHECK;
        } else if (strcmp(arg, "--print-config") == 0) {
            s->action = PRINT;
        } else if (strcmp(arg, "--version") == 0) {
            printf("tern-namesrv %s\n", TERN_VERSION);
            return EXIT_SUCCESS;
        } else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        } else {
            return wrong_usage("unknown argument ", arg);
        }
    }
    namesrv_options_init(&s->options, &s->origin);
    if (load_settings(s, file, argv + 1, &err) < 0)
        return refused(&err);
    return -1;
}

static int print_settings(const struct settings *s)
{
    struct buf text = {0};
    int r;

    config_print(&namesrv_config_spec, &s->options, &s->origin, &text);
    r = standard_write(&text);
    buf_destroy(&text);
    if (r < 0)
        fprintf(stderr, "tern-namesrv: write to stdout: %s\n", strerror(-r));
    return r < 0 ? EXIT_FAILED : EXIT_SUCCESS;
}

/* ---- running ---- */

/* One thread serves everything, so one arena is enough, and what a large registration took goes
 * back to the system. */
static void limit_memory(void)
{
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void on_stop_signal(void *ctx)
{
    struct running *r = ctx;

    namesrv_stop(r->ns);
    loop_stop(r->loop);
}

static int start(struct running *r, const struct settings *s, struct err *err)
{
    struct loop_options loop_options = {.index = 0};
    const char *port_file = s->options.port_file;
    int e = port_file_clear(port_file, err);

    if (e == 0)
        e = loop_new(&r->loop, &loop_options, err);
    if (e == 0)
        e = namesrv_new(&r->ns, &s->options, r->loop, err);
    if (e < 0)
        return e;
    e = loop_on_stop_signals(r->loop, on_stop_signal, r);
    if (e < 0)
        return err_set(err, e, "catch SIGTERM, SIGINT and SIGHUP");
    return port_file_write(port_file, namesrv_port(r->ns), err);
}

static int run(const struct settings *s)
{
    struct running r = {0};
    struct err err = {0};
    int e;

    signal(SIGPIPE, SIG_IGN);
    log_set_level((enum log_level)s->options.log_level);
    limit_memory();
    raise_descriptors();
    e = start(&r, s, &err);
    if (e == 0) {
        log_info("tern-namesrv %s listens on %s port %u, pid %ld", TERN_VERSION,
                 s->options.bind_address, namesrv_port(r.ns), (long)getpid());
        e = loop_run(r.loop);
        if (e < 0)
            err_set(&err, e, "wait for events");
    }
    if (r.ns)
        namesrv_stop(r.ns);
    loop_free(r.loop);
    namesrv_free(r.ns);
    if (e < 0) {
        log_error("%s", err.text);
        return EXIT_FAILED;
    }
    log_info("tern-namesrv stopped");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    int status;

    if (standard_hold() < 0)
        return EXIT_FAILED;
    status = read_arguments(argc, argv, &settings);
    if (status >= 0)
        return status;
    switch (settings.action) {
    case CHECK:
        printf("the configuration is good\n");
        return EXIT_SUCCESS;
    case PRINT:
        return print_settings(&settings);
    case RUN:
        break;
    }
    return run(&settings);
}
