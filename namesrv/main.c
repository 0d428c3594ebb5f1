/* main.c - tern-namesrv: options, one loop, one name server, and a clean stop. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/notify.h"
#include "common/port_file.h"
#include "common/standard.h"
#include "common/watchdog.h"
#include "namesrv/namesrv.h"
#include "tern_version.h"

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

enum { SETS_MAX = 256 };

static const char usage[] =
    "usage: tern-namesrv [-c FILE] [-o KEY=VALUE]...\n"
    "\n"
    "  -c, --config FILE       read settings from FILE (key=value, RocketMQ's key names)\n"
    "  -o, --option KEY=VALUE  set one key; later ones win over earlier ones and the file\n"
    "      --check             check the configuration and exit\n"
    "      --print-config      print every key, where its value comes from and what it means\n"
    "      --version           print the version\n"
    "      --help              print this\n"
    "\n"
    "Settings people set most: listenPort, bindAddress, kvConfigPath, orderMessageEnable.\n"
    "Exit codes: 0 stopped cleanly, 1 configuration refused, 2 wrong usage, 3 failed.\n";

enum action { RUN, CHECK, PRINT };

struct settings {
    enum action action;
    const char *config_file;    /* NULL: none */
    const char *sets[SETS_MAX]; /* of -o, in order */
    int set_count;
    struct namesrv_options options;
    struct config_origin origin;
};

struct running {
    struct namesrv *ns;
    struct loop *loop;
    struct watchdog watchdog;
};

/* ---- options ---- */

static int wrong_usage(const char *what, const char *arg)
{
    fprintf(stderr, "tern-namesrv: %s%s\ntry: tern-namesrv --help\n", what, arg);
    return EXIT_USAGE;
}

static int refused(const struct err *err)
{
    fprintf(stderr, "%stern-namesrv: %s\n", log_journal_level(LOG_LEVEL_ERROR), err->text);
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
    int r = config_expand_home("kvConfigPath", o->kv_config_path, NAMESRV_PATH_MAX, err);

    if (r == 0)
        r = config_expand_home("configStorePath", o->config_store_path, NAMESRV_PATH_MAX, err);
    return r == 0 ? config_expand_home("portFile", o->port_file, NAMESRV_PATH_MAX, err) : r;
}

/* Applies each -o in order; with a prefix, only those that begin with it. */
static int apply_sets(struct settings *s, const char *prefix, struct err *err)
{
    for (int i = 0; i < s->set_count; i++) {
        int r = 0;

        if (strncmp(s->sets[i], prefix, strlen(prefix)) == 0)
            r = config_set(&namesrv_config_spec, &s->options, &s->origin, s->sets[i], "-o", err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The file, then what requests changed, then -o in order; where the second is must be known first.
 */
static int load_settings(struct settings *s, struct err *err)
{
    struct namesrv_options *o = &s->options;
    int r = 0;

    if (s->config_file)
        r = config_load(&namesrv_config_spec, o, &s->origin, s->config_file, err);
    if (r == 0)
        r = apply_sets(s, "configStorePath=", err);
    if (r == 0)
        r = config_expand_home("configStorePath", o->config_store_path, NAMESRV_PATH_MAX, err);
    if (r < 0)
        return r;
    check_store_path(o, s->config_file);
    r = namesrv_options_load_changed(o, &s->origin, err);
    if (r == 0)
        r = apply_sets(s, "", err);
    if (r == 0)
        r = expand_paths(o, err);
    check_store_path(o, s->config_file);
    if (r == 0 && o->kv_config_path[0] != '\0' &&
        strcmp(o->kv_config_path, o->config_store_path) == 0)
        r = err_say(err, -EINVAL, "kvConfigPath and configStorePath are the same file: %s",
                    o->kv_config_path);
    return r;
}

static int add_set(struct settings *s, const char *text)
{
    if (!strchr(text, '='))
        return wrong_usage("expected KEY=VALUE after -o, found ", text);
    if (s->set_count == SETS_MAX)
        return wrong_usage("too many options: ", text);
    s->sets[s->set_count++] = text;
    return -1;
}

/* -1: go on; else the exit status. */
static int read_arguments(int argc, char **argv, struct settings *s)
{
    enum { CHECK_ONLY = 256, PRINT_CONFIG, VERSION };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"option", required_argument, NULL, 'o'},
        {"check", no_argument, NULL, CHECK_ONLY},
        {"print-config", no_argument, NULL, PRINT_CONFIG},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct err err = {0};
    int c, status = -1;

    while (status < 0 && (c = getopt_long(argc, argv, "c:o:h", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            if (s->config_file)
                return wrong_usage("-c is given twice: ", optarg);
            s->config_file = optarg;
            break;
        case 'o':
            status = add_set(s, optarg);
            break;
        case CHECK_ONLY:
            s->action = CHECK;
            break;
        case PRINT_CONFIG:
            s->action = PRINT;
            break;
        case VERSION:
            printf("tern-namesrv %s\n", TERN_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        default:
            fputs("try: tern-namesrv --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (status >= 0)
        return status;
    if (optind < argc)
        return wrong_usage("unexpected argument ", argv[optind]);
    namesrv_options_init(&s->options, &s->origin);
    return load_settings(s, &err) < 0 ? refused(&err) : -1;
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
    if (e == -EADDRINUSE)
        err_add(err, "; is a name server running here already? listenPort sets another port");
    if (e == -EADDRNOTAVAIL)
        err_add(err, "; bindAddress must be an address of this machine, or 0.0.0.0 for all");
    if (e < 0)
        return e;
    e = loop_on_stop_signals(r->loop, on_stop_signal, r);
    if (e < 0)
        return err_set(err, e, "catch SIGTERM, SIGINT and SIGHUP");
    e = watchdog_start(&r->watchdog, &r->loop, 1, 0);
    if (e < 0)
        return err_set(err, e, "arm the watchdog");
    return port_file_write(port_file, namesrv_port(r->ns), err);
}

static int run(const struct settings *s)
{
    struct running r = {0};
    struct err err = {0};
    int e;

    signal(SIGPIPE, SIG_IGN);
    log_set_level((enum log_level)s->options.log_level);
    notify_open();
    limit_memory();
    standard_raise_files();
    e = start(&r, s, &err);
    if (e == 0) {
        log_info("tern-namesrv %s listens on %s port %u, pid %ld", TERN_VERSION,
                 s->options.bind_address, namesrv_port(r.ns), (long)getpid());
        notify_ready("serves on %s port %u", s->options.bind_address, namesrv_port(r.ns));
        e = loop_run(r.loop);
        notify_stopping();
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
        printf("the configuration is fine\n");
        return EXIT_SUCCESS;
    case PRINT:
        return print_settings(&settings);
    case RUN:
        break;
    }
    return run(&settings);
}
