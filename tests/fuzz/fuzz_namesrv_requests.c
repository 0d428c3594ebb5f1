/* fuzz_namesrv_requests.c - a whole name server, asked anything (fuzz_server.h). What it keeps in
 * its files must load again: it is stopped and begun every so often. */
#include <pthread.h>
#include <stdio.h>

#include "../unit/files.h"
#include "common/log.h"
#include "fuzz_server.h"
#include "namesrv/namesrv.h"

enum { INPUTS_OF_A_SERVER = 5000 };

static char dir[256];
static struct namesrv_options options;
static struct namesrv *ns;
static struct loop *loop;
static pthread_t thread;
static unsigned inputs;

static void *run(void *arg)
{
    int r = loop_run(loop);

    (void)arg;
    assert(r == 0);
    return NULL;
}

static void begin(void)
{
    struct loop_options of_loop = {.busy_poll_micros = 0};
    struct err err = {0};

    namesrv_options_init(&options, NULL);
    options.listen_port = 0;
    snprintf(options.kv_config_path, sizeof(options.kv_config_path), "%s/kv.json", dir);
    snprintf(options.config_store_path, sizeof(options.config_store_path), "%s/changed", dir);
    if (namesrv_options_load_changed(&options, NULL, &err) < 0 ||
        loop_new(&loop, &of_loop, &err) < 0 || namesrv_new(&ns, &options, loop, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    assert(pthread_create(&thread, NULL, run, NULL) == 0);
}

static void end(void)
{
    if (!ns)
        return;
    loop_stop(loop);
    pthread_join(thread, NULL);
    namesrv_stop(ns);
    loop = loop_free(loop);
    ns = namesrv_free(ns);
}

static void leave(void)
{
    end();
    remove_tree(dir);
}

static bool may_wait(int32_t code)
{
    (void)code;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (inputs == 0) {
        const char *base = getenv("TMPDIR");

        log_set_level(LOG_LEVEL_ERROR);
        snprintf(dir, sizeof(dir), "%s/tern-fuzz-XXXXXX", base ? base : "/tmp");
        assert(mkdtemp(dir));
        assert(atexit(leave) == 0);
    }
    if (inputs++ % INPUTS_OF_A_SERVER == 0) {
        end();
        begin();
    }
    fuzz_talk(namesrv_port(ns), bytes_of(data, size), may_wait);
    return 0;
}
