/* test_group.c - members of a group with their stores, threads and links, in one process: what
 * group.h promises, without a broker around it. A listener stands in for the main port: it takes
 * the greeting and gives the socket away. */
#include "broker/replication/group_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/remoting.h"
#include "files.h"
#include "unit.h"

enum { MEMBERS = 3, PATIENCE_MS = 60000, SEGMENT = 262144 };

struct member {
    unsigned id;
    bool up;
    char dir[300];
    int listen_fd;
    uint16_t port;
    pthread_t listener;
    _Atomic bool stop, deaf; /* deaf: greetings are not answered */
    pthread_mutex_t lock;    /* of `group` for the listener */
    struct group *group;
    struct metadata *metadata;
    struct store *store;
    _Atomic int leads, halts, restarts;
    _Atomic(struct group *) told; /* for the threads of the store and the metadata */
    pthread_t turner;
    _Atomic bool turned;
};

static char base[256];
static struct member members[MEMBERS];
static unsigned count, copies;
static bool go_on;          /* replicaAck=rocketmq */
static uint64_t behind_max; /* 0: whatever it lacks, a member is near */
static bool turns;          /* a thread writes what others append, as loops do with each turn */

/* --- a main port --- */

static void answer(struct member *m, int fd)
{
    uint8_t bytes[4096], reply[512];
    struct remoting_frame frame;
    struct group_greeting greeting = {0};
    char cluster[64], broker[64], text[256];
    const char *why;
    size_t len = 0, total = 0;
    uint32_t n;

    while (len < 8 || remoting_frame_size(bytes_of(bytes, len), &total) != 0 || len < total) {
        ssize_t got = recv(fd, bytes + len, sizeof(bytes) - len, 0);

        if (got <= 0)
            goto refused;
        len += (size_t)got;
    }
    if (atomic_load(&m->deaf) || remoting_decode(bytes, total, &frame, &why) != 0)
        goto refused;
    ck_assert(bytes_to_cstr(*remoting_field(&frame, "clusterName"), cluster, sizeof(cluster)));
    ck_assert(bytes_to_cstr(*remoting_field(&frame, "brokerName"), broker, sizeof(broker)));
    greeting.cluster = cluster;
    greeting.broker_name = broker;
    remoting_get_i64(&frame, "memberId", &greeting.from);
    remoting_get_i64(&frame, "copies", &greeting.copies);
    remoting_get_i64(&frame, "segmentBytes", &greeting.segment_bytes);
    remoting_get_i64(&frame, "version", &greeting.version);
    remoting_get_i64(&frame, "members", &greeting.count);
    n = (uint32_t)snprintf(
        text, sizeof(text),
        "{\"code\":0,\"flag\":1,\"language\":\"C\",\"opaque\":%d,\"version\":409}", frame.opaque);
    store_be32(reply, n + 4);
    store_be32(reply + 4, n);
    memcpy(reply + 8, text, n);
    pthread_mutex_lock(&m->lock);
    why = m->group ? group_greet(m->group, &greeting) : "not there";
    if (!why && send(fd, reply, n + 8, MSG_NOSIGNAL) == (ssize_t)n + 8) {
        group_take_link(m->group, (uint16_t)greeting.from, fd);
        fd = -1;
    }
    pthread_mutex_unlock(&m->lock);
refused:
    if (fd >= 0)
        close(fd);
}

static void *listen_main(void *arg)
{
    struct member *m = arg;

    while (!atomic_load(&m->stop)) {
        int fd = accept(m->listen_fd, NULL, NULL);

        if (fd >= 0)
            answer(m, fd);
    }
    return NULL;
}

static void open_port(struct member *m)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    m->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(m->listen_fd, 0);
    ck_assert_int_eq(bind(m->listen_fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(listen(m->listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(m->listen_fd, (struct sockaddr *)&a, &len), 0);
    m->port = ntohs(a.sin_port);
    pthread_mutex_init(&m->lock, NULL);
    ck_assert_int_eq(pthread_create(&m->listener, NULL, listen_main, m), 0);
}

/* --- a member --- */

static void on_progress(void *ctx)
{
    struct group *g = atomic_load(&((struct member *)ctx)->told);

    if (g)
        group_progress(g);
}

static void on_lead(void *ctx, uint64_t epoch, bool handed)
{
    (void)epoch;
    (void)handed;
    atomic_fetch_add(&((struct member *)ctx)->leads, 1);
}

static void on_halt(void *ctx)
{
    atomic_fetch_add(&((struct member *)ctx)->halts, 1);
}

static void on_restart(void *ctx)
{
    atomic_fetch_add(&((struct member *)ctx)->restarts, 1);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_master(void *ctx, const char *address)
{
    (void)ctx;
    (void)address;
}

static void first_state(struct member *m, struct group_state *state)
{
    *state = (struct group_state){.doubtful = m->id != 1};
    state->core = (struct core_state){.version = 1,
                                      .member = (uint16_t)m->id,
                                      .member_count = (uint8_t)count,
                                      .copies = (uint8_t)copies};
    for (unsigned i = 0; i < count; i++)
        state->core.members[i] = (uint16_t)(i + 1);
    if (m->id == 1)
        state->core.promised = state->core.written_term = core_first_term(1);
}

static void *turn(void *arg)
{
    struct member *m = arg;

    while (!atomic_load(&m->turned))
        store_write(m->store);
    return NULL;
}

static void start(struct member *m)
{
    struct metadata_options metadata = {
        .root_dir = m->dir, .export_interval_ms = 1000, .on_durable = on_progress, .ctx = m};
    struct topic_config one = {.read_queues = 1, .write_queues = 1, .perm = 6};
    struct store_options store = {
        .root_dir = m->dir,
        .segment_bytes = SEGMENT,
        .queue_file_bytes = 20000,
        .flush_interval_ms = 20,
        .record_crc = true,
        .message_max = 65536,
        .tail_bytes = 1 << 20,
        .queue_memory = 8 << 20,
        .queue_descriptors = 16,
        .reader_threads = 1,
        .follower = true,
        .store_host = {.ip = {127, 0, 0, 1}, .port = 10911},
        .delay_ms = {1000},
        .delay_levels = 1,
        .on_progress = on_progress,
        .ctx = m,
    };
    struct group_options options = {
        .cluster = "C",
        .broker_name = "B",
        .root_dir = m->dir,
        .member_count = count,
        /* No claim waits for silence, which a slow machine would make. */
        .times = {.start_wait_ms = 30000, .ask_wait_ms = 200, .beat_ms = 50, .silent_ms = 30000},
        .quorum = {.copies = copies,
                   .policy = go_on ? QUORUM_GO_ON : QUORUM_STRICT,
                   .timeout_ms = 3000,
                   .behind_max = behind_max ? behind_max : 1 << 28},
        .on_lead = on_lead,
        .on_halt = on_halt,
        .on_restart = on_restart,
        .on_confirmed = nothing,
        .on_master = on_master,
        .on_meta_copied = nothing,
        .ctx = m,
    };
    struct err err = {0};
    int r;

    ck_assert_msg(metadata_open(&m->metadata, &metadata, &err) == 0, "%s", err.text);
    store.metadata = m->metadata;
    r = group_state_load(&options.state, m->dir, &err);
    if (r == -ENOENT)
        first_state(m, &options.state);
    else
        ck_assert_msg(r == 0, "%s", err.text);
    store.limit_confirmed = true; /* nothing is, before the group says so */
    store.cut.on = options.state.cut;
    store.cut.anew = options.state.anew;
    store.cut.to = options.state.cut_to;
    ck_assert_msg(store_open(&m->store, &store, &err) == 0, "%s", err.text);
    options.state.cut = options.state.anew = false;
    ck_assert_msg(group_state_save(&options.state, m->dir, &err) == 0, "%s", err.text);
    ck_assert_int_eq(metadata_start(m->metadata, &err), 0);
    ck_assert_int_eq(
        metadata_topic_put(m->metadata, BYTES_LIT("TERN_EPOCH"), &one, 0, NULL, NULL, NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        options.members[i].id = (uint16_t)(i + 1);
        snprintf(options.members[i].address, sizeof(options.members[i].address), "127.0.0.1:%u",
                 (unsigned)members[i].port);
    }
    options.store = m->store;
    options.metadata = m->metadata;
    atomic_store(&m->restarts, 0);
    atomic_store(&m->turned, false);
    if (turns)
        ck_assert_int_eq(pthread_create(&m->turner, NULL, turn, m), 0);
    pthread_mutex_lock(&m->lock);
    ck_assert_msg(group_new(&m->group, &options, &err) == 0, "%s", err.text);
    pthread_mutex_unlock(&m->lock);
    atomic_store(&m->told, m->group);
    m->up = true;
}

static void stop(struct member *m)
{
    struct group *g;

    if (!m->up)
        return;
    pthread_mutex_lock(&m->lock);
    g = m->group;
    m->group = NULL;
    pthread_mutex_unlock(&m->lock);
    group_stop(g);
    atomic_store(&m->turned, true);
    if (turns)
        pthread_join(m->turner, NULL);
    ck_assert_int_eq(store_close(m->store), 0);
    ck_assert_int_eq(metadata_close(m->metadata), 0);
    atomic_store(&m->told, NULL);
    group_free(g);
    m->up = false;
}

/* Carries out what a broker would: a member that asks for it is made anew. */
static void keep(void)
{
    for (unsigned i = 0; i < count; i++) {
        if (members[i].up && atomic_load(&members[i].restarts) > 0) {
            stop(&members[i]);
            start(&members[i]);
        }
    }
}

static void begin(unsigned how_many, unsigned k)
{
    const char *tmp = getenv("TMPDIR");

    log_set_level(getenv("TALK") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    signal(SIGPIPE, SIG_IGN); /* as main() does: sendfile() to a member that is stopped */
    count = how_many;
    copies = k;
    snprintf(base, sizeof(base), "%s/tern-group-XXXXXX", tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(base));
    for (unsigned i = 0; i < count; i++) {
        struct member *m = &members[i];

        memset(m, 0, sizeof(*m));
        m->id = i + 1;
        snprintf(m->dir, sizeof(m->dir), "%s/%u", base, m->id);
        ck_assert_int_eq(file_mkdirs(m->dir), 0);
        open_port(m);
    }
    for (unsigned i = 0; i < count; i++)
        start(&members[i]);
}

static void end(void)
{
    for (unsigned i = 0; i < count; i++)
        stop(&members[i]);
    for (unsigned i = 0; i < count; i++) {
        atomic_store(&members[i].stop, true);
        shutdown(members[i].listen_fd, SHUT_RDWR);
        pthread_join(members[i].listener, NULL);
        close(members[i].listen_fd);
    }
    remove_tree(base);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until = clock_mono_ms() + PATIENCE_MS;                                             \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_mono_ms() < until, "in vain: %s", #condition);                     \
            keep();                                                                                \
            poll(NULL, 0, 5);                                                                      \
        }                                                                                          \
    } while (0)

static struct member *leader(void)
{
    for (unsigned i = 0; i < count; i++) {
        if (members[i].up && group_leads(members[i].group))
            return &members[i];
    }
    return NULL;
}

static uint64_t append(struct member *m, const char *topic_name, const char *body)
{
    struct topic_config config = {.read_queues = 2, .write_queues = 2, .perm = 6};
    struct store_message message = {.born_ms = 1700000000000, .body = bytes_str(body)};
    struct store_position at = {0};

    ck_assert_int_eq(metadata_topic_put(m->metadata, bytes_str(topic_name), &config,
                                        store_end(m->store), NULL, NULL, &message.topic),
                     0);
    ck_assert_int_eq(store_append(m->store, &message, 1, &at, NULL), 0);
    store_write(m->store);
    return at.log_end;
}

static bool all_have(uint64_t end)
{
    for (unsigned i = 0; i < count; i++) {
        if (members[i].up && store_confirmed(members[i].store) < end)
            return false;
    }
    return true;
}

/* Byte for byte. */
static bool same_logs(void)
{
    char command[1200];

    for (unsigned i = 1; i < count; i++) {
        snprintf(command, sizeof(command), "cmp -s %s/commitlog/%020d %s/commitlog/%020d",
                 members[0].dir, 0, members[i].dir, 0);
        if (system(command) != 0)
            return false;
    }
    return true;
}

/* --- promises --- */

START_TEST(what_is_confirmed_is_with_as_many_members)
{
    uint64_t to = 0;

    begin(2, 2);
    WAIT_FOR(leader());
    ck_assert_uint_eq(leader()->id, 1);
    for (int i = 0; i < 2000; i++)
        to = append(leader(), "Orders", "a message of some bytes");
    WAIT_FOR(all_have(to));
    ck_assert_uint_eq(store_written(members[1].store), to);
    ck_assert_uint_ge(group_acked(members[0].group), to);
    WAIT_FOR(metadata_topic(members[1].metadata, BYTES_LIT("Orders"), NULL));
    stop(&members[1]);
    to = append(leader(), "Orders", "nobody else has this");
    WAIT_FOR(!group_enough(members[0].group));
    ck_assert_uint_lt(store_confirmed(members[0].store), to);
    start(&members[1]);
    WAIT_FOR(all_have(to));
    end();
    ck_assert(true);
}
END_TEST

/* It is near by what was written a moment ago, and not by what is written now. */
START_TEST(a_member_that_keeps_up_with_yesterday_holds_nothing_up)
{
    static char body[4096];
    uint64_t to = 0;

    go_on = true;
    behind_max = 1;
    begin(2, 2);
    WAIT_FOR(leader());
    memset(body, 'b', sizeof(body) - 1);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 200; i++)
            to = append(leader(), "Orders", body);
        stop(&members[1]);
        WAIT_FOR(!group_enough(members[0].group));
        to = append(leader(), "Orders", "nobody is waited for");
        WAIT_FOR(store_confirmed(members[0].store) >= to);
        start(&members[1]);
        WAIT_FOR(all_have(to));
    }
    end();
    go_on = false;
    behind_max = 0;
    ck_assert(true);
}
END_TEST

START_TEST(a_promoted_member_goes_on_and_the_old_master_follows_it)
{
    uint64_t to = 0, alone;

    begin(2, 2);
    WAIT_FOR(leader());
    for (int i = 0; i < 500; i++)
        to = append(leader(), "Orders", "with both");
    WAIT_FOR(all_have(to));
    stop(&members[1]);
    alone = append(leader(), "Orders", "a tail that nobody else has");
    ck_assert_uint_gt(alone, to);
    stop(&members[0]);
    start(&members[1]);
    WAIT_FOR(!members[1].up || group_promote(members[1].group, false) == 0);
    WAIT_FOR(leader());
    ck_assert_uint_eq(leader()->id, 2);
    append(leader(), "Orders", "from the new master, another way");
    start(&members[0]);
    to = append(leader(), "Orders", "and more");
    WAIT_FOR(all_have(to) && members[0].up && members[1].up);
    ck_assert_uint_eq(leader()->id, 2);
    ck_assert_uint_eq(store_written(members[0].store), store_written(members[1].store));
    stop(&members[0]);
    stop(&members[1]);
    ck_assert(same_logs());
    end();
}
END_TEST

START_TEST(a_hand_over_leaves_nothing_behind)
{
    uint64_t to = 0;

    begin(3, 2);
    WAIT_FOR(leader());
    for (int i = 0; i < 500; i++)
        to = append(leader(), "Orders", "before");
    WAIT_FOR(all_have(to));
    WAIT_FOR(group_hand_over(members[0].group, 3, PATIENCE_MS) == 0);
    WAIT_FOR(leader() && leader()->id == 3);
    to = append(leader(), "Orders", "after");
    WAIT_FOR(all_have(to));
    end();
}
END_TEST

START_TEST(an_epoch_begins_with_one_record_whoever_writes_it)
{
    uint64_t one = 0;

    for (int i = 0; i < 20; i++) {
        turns = i > 0;
        begin(2, 2);
        WAIT_FOR(leader());
        if (i == 0)
            one = store_end(leader()->store);
        ck_assert_uint_eq(store_end(leader()->store), one);
        end();
    }
}
END_TEST

START_TEST(a_new_member_gets_everything_and_a_master_goes_on_after_a_restart)
{
    uint64_t to = 0;

    begin(2, 1);
    WAIT_FOR(leader());
    for (int i = 0; i < 3000; i++)
        to = append(leader(), "Orders", "what a member that comes later has not seen");
    WAIT_FOR(all_have(to));
    stop(&members[1]);
    remove_tree(members[1].dir);
    ck_assert_int_eq(file_mkdirs(members[1].dir), 0);
    start(&members[1]);
    WAIT_FOR(all_have(to));
    stop(&members[0]);
    start(&members[0]);
    WAIT_FOR(leader());
    ck_assert_uint_eq(leader()->id, 1);
    to = append(leader(), "Orders", "and it goes on");
    WAIT_FOR(all_have(to));
    end();
}
END_TEST

/* Between the two there is nothing to say until one of them asks for promises; each has to see by
 * itself that the other one's process is another. */
static bool have_links(const struct member *a, unsigned b)
{
    struct group_status status;

    group_status(a->group, &status);
    for (unsigned i = 0; i < status.member_count; i++) {
        if (status.members[i].member.id == b)
            return status.members[i].connected;
    }
    return false;
}

START_TEST(a_follower_that_begins_again_has_links_with_other_followers)
{
    begin(3, 2);
    WAIT_FOR(leader() && have_links(&members[1], 3) && have_links(&members[2], 2));
    stop(&members[1]);
    start(&members[1]);
    WAIT_FOR(have_links(&members[1], 3) && have_links(&members[2], 2));
    end();
}
END_TEST

static uint64_t put_topic(struct member *m, unsigned number)
{
    struct topic_config config = {.read_queues = 2, .write_queues = 2, .perm = 6};
    uint64_t sequence = 0;
    char name[20];

    snprintf(name, sizeof(name), "Topic%u", number);
    WAIT_FOR(metadata_topic_put(m->metadata, bytes_str(name), &config, 0, &sequence, NULL, NULL) ==
             0);
    return sequence;
}

/* From here on nothing calls its thread by time. */
static void end_beats(struct member *m)
{
    struct group *g = m->group;

    pthread_mutex_lock(&g->lock);
    g->options.times.beat_ms = INT64_C(100) * PATIENCE_MS;
    g->tick_ms = clock_mono_ms() + g->options.times.beat_ms;
    pthread_mutex_unlock(&g->lock);
    group_wake(g);
}

START_TEST(changes_of_topics_wait_for_no_beat)
{
    begin(2, 2);
    WAIT_FOR(leader() && group_enough(members[0].group));
    end_beats(&members[0]);
    end_beats(&members[1]);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t sequence = put_topic(&members[0], i);

        WAIT_FOR(group_meta_copied(members[0].group) >= sequence);
    }
    end();
    ck_assert(true);
}
END_TEST

static Suite *group_suite(void)
{
    Suite *s = suite_create("group");
    TCase *t = tcase_create("members");

    tcase_set_timeout(t, 240);
    tcase_add_test(t, what_is_confirmed_is_with_as_many_members);
    tcase_add_test(t, a_member_that_keeps_up_with_yesterday_holds_nothing_up);
    tcase_add_test(t, a_promoted_member_goes_on_and_the_old_master_follows_it);
    tcase_add_test(t, a_hand_over_leaves_nothing_behind);
    tcase_add_test(t, an_epoch_begins_with_one_record_whoever_writes_it);
    tcase_add_test(t, a_new_member_gets_everything_and_a_master_goes_on_after_a_restart);
    tcase_add_test(t, a_follower_that_begins_again_has_links_with_other_followers);
    tcase_add_test(t, changes_of_topics_wait_for_no_beat);
    suite_add_tcase(s, t);
    return s;
}
UNIT_MAIN(group_suite)
