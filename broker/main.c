/* main.c - tern-broker: options, configuration, one broker (and, with --standalone, a name server).
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker_config.h"
#include "broker/service.h"
#include "common/file.h"
#include "common/log.h"
#include "common/notify.h"
#include "common/port_file.h"
#include "common/standard.h"
#include "namesrv/namesrv.h"
#include "tern_version.h"

enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

static const char usage[] =
    "usage: tern-broker [-c FILE] [-n ADDR[;ADDR]...] [-o KEY=VALUE]... [--standalone]\n"
    "\n"
    "  -c, --config FILE       read settings from FILE (key=value, RocketMQ's key names)\n"
    "  -n, --namesrv ADDRS     name servers, host:port separated by ';'\n"
    "  -o, --option KEY=VALUE  set one key; later ones win over earlier ones and the file\n"
    "      --standalone        carry a name server inside this process\n"
    "      --check             check the configuration and exit\n"
    "      --print-config      print every key, where its value comes from and what it means\n"
    "      --version           print the version\n"
    "      --help              print this\n"
    "\n"
    "Without --standalone a name server (tern-namesrv) must run for clients to find the broker.\n"
    "Exit codes: 0 stopped cleanly, 1 configuration refused, 2 wrong usage, 3 failed.\n";

struct options {
    bool standalone, check, print;
    const char *config_file;
    const char *sets[256]; /* in order; "-n" ones as text of their own */
    bool is_namesrv[256];
    int set_count;
};

struct inner_namesrv {
    struct namesrv_options options;
    struct namesrv *namesrv;
    bool told; /* namesrvAddr names it; it comes back with each broker, at the same port */
};

/* 0 go on; 1 done, exit 0; 2 usage. */
static int parse_options(int argc, char **argv, struct options *o)
{
    enum { STANDALONE = 256, CHECK, PRINT, VERSION, HELP };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"namesrv", required_argument, NULL, 'n'},
        {"option", required_argument, NULL, 'o'},
        {"standalone", no_argument, NULL, STANDALONE},
        {"check", no_argument, NULL, CHECK},
        {"print-config", no_argument, NULL, PRINT},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "c:n:o:h", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            if (o->config_file) {
                fprintf(stderr, "tern-broker: -c is given twice: %s\ntry: tern-broker --help\n",
                        optarg);
                return 2;
            }
            o->config_file = optarg;
            break;
        case 'n':
        case 'o':
            if (c == 'o' && !strchr(optarg, '=')) {
                fprintf(stderr,
                        "tern-broker: expected KEY=VALUE after -o, found %s\n"
                        "try: tern-broker --help\n",
                        optarg);
                return 2;
            }
            if (o->set_count == (int)(sizeof(o->sets) / sizeof(o->sets[0]))) {
                fprintf(stderr, "tern-broker: too many options\n");
                return 2;
            }
            o->is_namesrv[o->set_count] = c == 'n';
            o->sets[o->set_count++] = optarg;
            break;
        case STANDALONE:
            o->standalone = true;
            break;
        case CHECK:
            o->check = true;
            break;
        case PRINT:
            o->print = true;
            break;
        case VERSION:
            printf("tern-broker %s\n", TERN_VERSION);
            return 1;
        case HELP:
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            fputs("try: tern-broker --help\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "tern-broker: unexpected argument \"%s\"\ntry: tern-broker --help\n",
                argv[optind]);
        return 2;
    }
    return 0;
}

static int read_settings(struct broker_settings *s, const struct options *o, struct err *err)
{
    int r = 0;

    settings_init(s);
    if (o->config_file) {
        r = config_load(&broker_config_spec, &s->config, &s->origin, o->config_file, err);
        if (r == 0 && !realpath(o->config_file, s->config_file))
            return err_set(err, -errno, "read %s", o->config_file);
    }
    for (int i = 0; i < o->set_count && r == 0; i++) {
        char text[1100];

        if (o->is_namesrv[i]) {
            if (snprintf(text, sizeof(text), "namesrvAddr=%s", o->sets[i]) >= (int)sizeof(text))
                return err_say(err, -EINVAL, "the value of -n is too long");
            r = config_set(&broker_config_spec, &s->config, &s->origin, text, "-n", err);
        } else {
            r = config_set(&broker_config_spec, &s->config, &s->origin, o->sets[i], "-o", err);
        }
        if (r > 0)
            r = 0; /* a RocketMQ key without meaning here: already said */
    }
    if (r == 0)
        r = settings_finish(s, o->standalone, err);
    return r;
}

/* Others may be named too: the broker registers with all of them. */
static int add_name_server(struct broker_config *c, const char *own, struct err *err)
{
    size_t len = strlen(c->namesrv_addr);
    int n = snprintf(c->namesrv_addr + len, sizeof(c->namesrv_addr) - len, "%s%s",
                     len > 0 ? ";" : "", own);

    return n < (int)(sizeof(c->namesrv_addr) - len)
               ? 0
               : err_say(err, -EINVAL, "namesrvAddr is too long");
}

/* The name server inside: on the broker's first loop, its data below the store folder. */
static int start_namesrv(struct broker *b, void *ctx, struct err *err)
{
    struct inner_namesrv *inner = ctx;
    struct broker_config *c = &b->settings->config;
    char own[80];
    int r;

    namesrv_options_init(&inner->options, NULL);
    snprintf(inner->options.bind_address, sizeof(inner->options.bind_address), "%s",
             c->bind_address);
    inner->options.listen_port = c->namesrv_listen_port;
    if (snprintf(inner->options.kv_config_path, sizeof(inner->options.kv_config_path),
                 "%s/tern/namesrv/kvConfig.json",
                 c->store_path_root_dir) >= (int)sizeof(inner->options.kv_config_path))
        return err_say(err, -ENAMETOOLONG, "storePathRootDir is too long");
    r = file_mkdirs(c->store_path_root_dir);
    if (r == 0) {
        char dir[sizeof(c->store_path_root_dir) + 16];

        snprintf(dir, sizeof(dir), "%s/tern/namesrv", c->store_path_root_dir);
        r = file_mkdirs(dir);
    }
    if (r < 0)
        return err_set(err, r, "make %s/tern/namesrv", c->store_path_root_dir);
    inner->options.config_store_path[0] = '\0';
    r = namesrv_new(&inner->namesrv, &inner->options, b->loops[0], err);
    if (r == -EADDRINUSE)
        err_add(err, " (namesrvListenPort of --standalone); with a name server running there "
                     "already, start without --standalone and with -n");
    if (r < 0)
        return r;
    snprintf(own, sizeof(own), strchr(c->bind_address, ':') ? "[%s]:%u" : "%s:%u",
             strcmp(c->bind_address, "0.0.0.0") == 0 ? "127.0.0.1"
             : strcmp(c->bind_address, "::") == 0    ? "::1"
                                                     : c->bind_address,
             (unsigned)namesrv_port(inner->namesrv));
    c->namesrv_listen_port = namesrv_port(inner->namesrv);
    r = inner->told ? 0 : add_name_server(c, own, err);
    if (r < 0)
        return r;
    inner->told = true;
    log_info("name server inside, on %s", own);
    return port_file_write(c->namesrv_port_file, namesrv_port(inner->namesrv), err);
}

static void stop_namesrv(struct broker *b, void *ctx)
{
    struct inner_namesrv *inner = ctx;

    (void)b;
    if (inner->namesrv)
        namesrv_stop(inner->namesrv);
}

static void free_namesrv(struct broker *b, void *ctx)
{
    struct inner_namesrv *inner = ctx;

    (void)b;
    if (inner->namesrv)
        inner->namesrv = namesrv_free(inner->namesrv);
}

/* One broker, from its start to its end. *again: another one of the same settings is wanted. */
static int serve(struct broker_settings *settings, const struct broker_extra *extra, bool *again,
                 struct err *err)
{
    struct broker *broker = NULL;
    int r = broker_new(&broker, settings, extra, err);

    *again = false;
    if (r == 0)
        r = broker_run(broker, err);
    if (r == 0)
        *again = broker_wants_restart(broker);
    /* Until the next one's loops live, nobody else gives signs of it. */
    if (*again)
        notify_alive();
    if (broker && broker_free(broker) < 0 && r == 0) {
        r = -EIO;
        *err = (struct err){0}; /* said already; not what it was used for before */
    }
    if (*again)
        notify_alive();
    return r;
}

int main(int argc, char **argv)
{
    static struct broker_settings settings;
    struct options options = {.standalone = false};
    struct inner_namesrv inner = {.namesrv = NULL};
    struct broker_extra extra = {0};
    bool again = true;
    enum log_level level = LOG_LEVEL_INFO;
    struct err err = {0};
    int r = standard_hold();

    if (r < 0)
        return EXIT_FAILED;
    r = parse_options(argc, argv, &options);
    if (r != 0)
        return r == 1 ? 0 : EXIT_USAGE;
    mallopt(M_ARENA_MAX, 2); /* few threads allocate; arenas would only cost memory */
    r = read_settings(&settings, &options, &err);
    if (r < 0) {
        fprintf(stderr, "%stern-broker: %s\n", log_journal_level(LOG_LEVEL_ERROR), err.text);
        return EXIT_REFUSED;
    }
    if (options.print) {
        struct buf out = {0};

        config_print(&broker_config_spec, &settings.config, &settings.origin, &out);
        r = standard_write(&out);
        buf_destroy(&out);
        if (r < 0)
            fprintf(stderr, "tern-broker: write to stdout: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILED : 0;
    }
    if (options.check) {
        puts("the configuration is fine");
        return 0;
    }
    log_level_parse(settings.config.log_level, &level);
    log_set_level(level);
    signal(SIGPIPE, SIG_IGN); /* sendfile to a connection that has gone knows no MSG_NOSIGNAL */
    notify_open();
    notify_status("recovering the store %s", settings.config.store_path_root_dir);
    log_info("tern-broker %s, pid %d, store %s", TERN_VERSION, (int)getpid(),
             settings.config.store_path_root_dir);
    if (options.standalone)
        extra = (struct broker_extra){start_namesrv, stop_namesrv, free_namesrv, &inner};
    else if (settings.config.namesrv_addr[0] == '\0')
        log_warn(
            "no name server is set (-n HOST:PORT, namesrvAddr or --standalone): clients will not "
            "find this broker");
    r = settings_fit_files(&settings, standard_raise_files(), &err);
    if (r == 0)
        r = port_file_clear(settings.config.port_file, &err);
    if (r == 0 && options.standalone)
        r = port_file_clear(settings.config.namesrv_port_file, &err);
    while (r == 0 && again)
        r = serve(&settings, &extra, &again, &err);
    if (r < 0 && err.text[0] != '\0')
        log_error("%s", err.text);
    if (r < 0)
        return EXIT_FAILED;
    log_info("stopped");
    return 0;
}
