/* fuzz_broker_requests.c - a whole broker, asked anything (fuzz_server.h). Whatever it has stored
 * must open again after a clean stop: it is stopped and begun every so often. */
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>

#include "../unit/files.h"
#include "broker/service.h"
#include "common/log.h"
#include "fuzz_server.h"

enum {
    INPUTS_OF_A_BROKER = 200,
    BROKERS_OF_A_STORE = 4,
};

static char dir[256];
static struct broker_settings settings;
static struct broker_extra extra;
static struct broker *broker;
static pthread_t thread;
static unsigned inputs, brokers;

static void set(const char *key_value)
{
    struct err err = {0};
    int r = config_set(&broker_config_spec, &settings.config, &settings.origin, key_value, "fuzz",
                       &err);

    assert(r >= 0);
}

static void *run(void *arg)
{
    struct err err = {0};
    int r = broker_run(broker, &err);

    (void)arg;
    assert(r == 0);
    return NULL;
}

static void begin(void)
{
    const char *base = getenv("TMPDIR");
    struct err err = {0};
    char path[300];

    if (brokers++ % BROKERS_OF_A_STORE == 0) {
        snprintf(dir, sizeof(dir), "%s/tern-fuzz-XXXXXX", base ? base : "/tmp");
        assert(mkdtemp(dir));
    }
    settings_init(&settings);
    snprintf(path, sizeof(path), "storePathRootDir=%s/store", dir);
    set(path);
    set("bindAddress=127.0.0.1");
    set("listenPort=0");
    set("mappedFileSizeCommitLog=1048576");
    set("mappedFileSizeConsumeQueue=20000");
    set("maxMessageSize=65536");
    set("readerThreads=2");
    if (settings_finish(&settings, false, &err) < 0 ||
        broker_new(&broker, &settings, &extra, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    assert(pthread_create(&thread, NULL, run, NULL) == 0);
}

static void end(void)
{
    int r;

    if (!broker)
        return;
    broker_stop(broker);
    pthread_join(thread, NULL);
    r = broker_free(broker);
    assert(r == 0);
    broker = NULL;
    if (brokers % BROKERS_OF_A_STORE == 0)
        remove_tree(dir);
}

static void leave(void)
{
    end();
    remove_tree(dir);
}

static bool may_wait(int32_t code)
{
    return code == REQUEST_PULL_MESSAGE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (inputs == 0) {
        log_set_level(LOG_LEVEL_ERROR);
        /* The broker ends at exit and needs the library until then. */
        assert(OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) == 1 && atexit(leave) == 0);
    }
    if (inputs++ % INPUTS_OF_A_BROKER == 0) {
        end();
        begin();
    }
    fuzz_talk((uint16_t)settings.config.listen_port, bytes_of(data, size), may_wait);
    return 0;
}
