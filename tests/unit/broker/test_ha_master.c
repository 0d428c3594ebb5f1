/* test_ha_master.c - the master's side of the default protocol, with a store and without a broker.
 */
#include "broker/replication/ha_master.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/store/metadata.h"
#include "common/clock.h"
#include "common/log.h"
#include "files.h"
#include "unit.h"

enum { PATIENCE_MS = 60000 };

static char dir[256];
static struct metadata *metadata;
static struct store *store;
static struct topic *topic;
static struct ha_master *master;
static _Atomic(struct ha_master *) told;
static uint16_t port;

static void on_progress(void *ctx)
{
    struct ha_master *m = atomic_load(&told);

    (void)ctx;
    if (m)
        ha_master_progress(m);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void begin(void)
{
    const char *tmp = getenv("TMPDIR");
    struct metadata_options metadata_options = {.root_dir = dir, .export_interval_ms = 1000};
    struct topic_config config = {.read_queues = 1, .write_queues = 1, .perm = 6};
    struct store_options options = {
        .root_dir = dir,
        .segment_bytes = 1 << 26,
        .queue_file_bytes = 1 << 20,
        .flush_interval_ms = 10000,
        .record_crc = true,
        .message_max = 65536,
        .tail_bytes = 1 << 20,
        .queue_memory = 8 << 20,
        .queue_descriptors = 16,
        .reader_threads = 1,
        .store_host = {.ip = {127, 0, 0, 1}, .port = 10911},
        .delay_ms = {1000},
        .delay_levels = 1,
        .on_progress = on_progress,
    };
    struct ha_master_options master_options = {
        .quorum = {.copies = 2, .timeout_ms = 50, .behind_max = 1 << 28},
        .batch_bytes = 32768,
        .heartbeat_ms = 5000,
        .housekeeping_ms = 600000,
        .on_confirmed = nothing,
    };
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct err err = {0};

    log_set_level(LOG_LEVEL_ERROR);
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "%s/tern-ha-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_msg(metadata_open(&metadata, &metadata_options, &err) == 0, "%s", err.text);
    options.metadata = metadata;
    ck_assert_msg(store_open(&store, &options, &err) == 0, "%s", err.text);
    ck_assert_int_eq(metadata_start(metadata, &err), 0);
    ck_assert_int_eq(metadata_topic_put(metadata, BYTES_LIT("T"), &config, 0, NULL, NULL, &topic),
                     0);
    master_options.store = store;
    master_options.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(master_options.listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(master_options.listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(master_options.listen_fd, (struct sockaddr *)&a, &len), 0);
    port = ntohs(a.sin_port);
    ck_assert_msg(ha_master_new(&master, &master_options, &err) == 0, "%s", err.text);
    atomic_store(&told, master);
}

static void end(void)
{
    ha_master_stop(master);
    ck_assert_int_eq(store_close(store), 0);
    ck_assert_int_eq(metadata_close(metadata), 0);
    atomic_store(&told, NULL);
    ha_master_free(master);
    remove_tree(dir);
}

static uint64_t append(void)
{
    struct store_message message = {
        .topic = topic, .born_ms = 1700000000000, .body = BYTES_LIT("some bytes")};
    struct store_position at = {0};

    ck_assert_int_eq(store_append(store, &message, 1, &at, NULL), 0);
    store_write(store);
    return at.log_end;
}

static void say_that_it_has_nothing(int fd)
{
    uint64_t report = 0;

    ck_assert_int_eq(send(fd, &report, sizeof(report), 0), sizeof(report));
}

static int slave(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    say_that_it_has_nothing(fd);
    return fd;
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until = clock_mono_ms() + PATIENCE_MS;                                             \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_mono_ms() < until, "in vain: %s", #condition);                     \
            poll(NULL, 0, 5);                                                                      \
        }                                                                                          \
    } while (0)

/* Its reply leaves at the end of the turn that wrote it, or waits for somebody to look again. */
START_TEST(what_nobody_is_waited_for_is_confirmed_once_it_is_written)
{
    uint64_t to;
    int fd;

    begin();
    fd = slave();
    WAIT_FOR(ha_master_enough(master));
    /* Whether it is silent is judged once for what was written in one moment, and only if it was
     * heard shortly before: more is written until it was. */
    WAIT_FOR((to = append(), say_that_it_has_nothing(fd),
              store_confirmed(store) >= to && !ha_master_enough(master)));
    for (int i = 0; i < 100000; i++) {
        to = append();
        ck_assert_uint_ge(store_confirmed(store), to);
    }
    end();
    close(fd);
}
END_TEST

static Suite *ha_master_suite(void)
{
    Suite *s = suite_create("ha_master");
    TCase *t = tcase_create("quorum");

    tcase_set_timeout(t, 240);
    tcase_add_test(t, what_nobody_is_waited_for_is_confirmed_once_it_is_written);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(ha_master_suite)
