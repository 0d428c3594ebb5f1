/* broker_fixture.h - a whole broker in a temporary folder, its loops on threads of their own, a
 * disk that can be stopped, and clients that speak to it over loopback. One broker at a time; each
 * test runs in a process of its own. Nothing waits for a time: what must happen is waited for, up
 * to a minute. */
#ifndef TERN_TESTS_BROKER_FIXTURE_H
#define TERN_TESTS_BROKER_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/call.h"
#include "broker/service.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "files.h"
#include "unit.h"

enum { PATIENCE_S = 60 };

static char dir[256];
static struct broker_settings settings;
static struct broker_extra extra;
static struct broker *broker;
static pthread_t broker_thread;
static bool broker_runs;

/* --- the disk --- */

/* Calls on files whose path contains one of these words wait while `held`, but for as many as
 * `pass`, or fail with `error`. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;
    int error; /* errno, 0: none */
    const char *where;
    int waiting, pass;
} disk_sync = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, "", 0, 0},
  disk_write = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, "", 0, 0};
#define DISK(d) (*(__typeof__(disk_sync) *)(d))

static int disk_pass(void *disk, int fd)
{
    int error;

    pthread_mutex_lock(&DISK(disk).lock);
    if ((DISK(disk).held || DISK(disk).error) && file_is_in(fd, DISK(disk).where)) {
        DISK(disk).waiting++;
        pthread_cond_broadcast(&DISK(disk).changed);
        while (DISK(disk).held && DISK(disk).pass == 0)
            pthread_cond_wait(&DISK(disk).changed, &DISK(disk).lock);
        DISK(disk).pass -= DISK(disk).pass > 0;
        DISK(disk).waiting--;
    }
    error = DISK(disk).error && file_is_in(fd, DISK(disk).where) ? DISK(disk).error : 0;
    pthread_mutex_unlock(&DISK(disk).lock);
    if (error)
        errno = error;
    return error ? -1 : 0;
}

static int disk_fdatasync(int fd)
{
    return disk_pass(&disk_sync, fd) < 0 ? -1 : file_ops_system.fdatasync(fd);
}

static ssize_t disk_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    return disk_pass(&disk_write, fd) < 0 ? -1 : file_ops_system.pwritev(fd, iov, n, at);
}

static ssize_t disk_pwrite(int fd, const void *from, size_t n, off_t at)
{
    return disk_pass(&disk_write, fd) < 0 ? -1 : file_ops_system.pwrite(fd, from, n, at);
}

static atomic_bool disk_is_cold; /* nothing can be read without waiting for it */

static ssize_t disk_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    if (atomic_load(&disk_is_cold) && (flags & RWF_NOWAIT)) {
        errno = EAGAIN;
        return -1;
    }
    return file_ops_system.preadv2(fd, iov, n, at, flags);
}

static inline void disk_hold(void *disk, const char *where)
{
    pthread_mutex_lock(&DISK(disk).lock);
    DISK(disk).held = true;
    DISK(disk).where = where;
    pthread_mutex_unlock(&DISK(disk).lock);
}

static inline void disk_fail(void *disk, const char *where, int error)
{
    pthread_mutex_lock(&DISK(disk).lock);
    DISK(disk).where = where;
    DISK(disk).error = error;
    DISK(disk).held = false;
    pthread_cond_broadcast(&DISK(disk).changed);
    pthread_mutex_unlock(&DISK(disk).lock);
}

static inline void disk_release(void *disk)
{
    disk_fail(disk, "", 0);
}

/* One call may go on, who comes after it waits again. */
static inline void disk_let_one_pass(void *disk)
{
    pthread_mutex_lock(&DISK(disk).lock);
    DISK(disk).pass = 1;
    pthread_cond_broadcast(&DISK(disk).changed);
    pthread_mutex_unlock(&DISK(disk).lock);
}

static inline struct timespec patience(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

/* Somebody waits for the disk. */
static inline void disk_wait(void *disk)
{
    struct timespec until = patience();

    pthread_mutex_lock(&DISK(disk).lock);
    while (DISK(disk).waiting == 0)
        ck_assert_int_eq(pthread_cond_timedwait(&DISK(disk).changed, &DISK(disk).lock, &until), 0);
    pthread_mutex_unlock(&DISK(disk).lock);
}

/* --- the broker --- */

static inline void begin(void)
{
    static struct file_ops ops;
    const char *base = getenv("TMPDIR");

    snprintf(dir, sizeof(dir), "%s/tern-broker-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ops = file_ops_system;
    ops.fdatasync = disk_fdatasync;
    ops.pwritev = disk_pwritev;
    ops.pwrite = disk_pwrite;
    ops.preadv2 = disk_preadv2;
    file_ops_set(&ops);
    log_set_level(LOG_LEVEL_ERROR);
}

static inline void set(const char *key_value)
{
    struct err err = {0};

    ck_assert_msg(config_set(&broker_config_spec, &settings.config, &settings.origin, key_value,
                             "test", &err) >= 0,
                  "%s", err.text);
}

/* Puts a broker together; `keys` are more settings, NULL at the end. */
static inline void make_broker(const char *first, ...)
{
    struct err err = {0};
    char path[300];
    va_list keys;

    settings_init(&settings);
    snprintf(path, sizeof(path), "storePathRootDir=%s/store", dir);
    set(path);
    set("listenPort=0");
    set("mappedFileSizeCommitLog=1048576");
    set("mappedFileSizeConsumeQueue=20000");
    set("maxMessageSize=262144");
    set("readerThreads=2");
    va_start(keys, first);
    for (const char *key = first; key; key = va_arg(keys, const char *))
        set(key);
    va_end(keys);
    ck_assert_msg(settings_finish(&settings, false, &err) == 0, "%s", err.text);
    ck_assert_msg(broker_new(&broker, &settings, &extra, &err) == 0, "%s", err.text);
}

static void *run_broker(void *arg)
{
    struct err err = {0};

    (void)arg;
    ck_assert_msg(broker_run(broker, &err) == 0, "%s", err.text);
    return NULL;
}

static inline void run(void)
{
    ck_assert_int_eq(pthread_create(&broker_thread, NULL, run_broker, NULL), 0);
    broker_runs = true;
}
#define start_broker(...)                                                                          \
    do {                                                                                           \
        make_broker(__VA_ARGS__);                                                                  \
        run();                                                                                     \
    } while (0)

/* Returns what the store's stop returned. */
static inline int end_broker(void)
{
    int r;

    if (broker_runs) {
        broker_stop(broker);
        pthread_join(broker_thread, NULL);
        broker_runs = false;
    }
    r = broker_free(broker);
    broker = NULL;
    return r;
}

static inline void end(void)
{
    if (broker)
        ck_assert_int_eq(end_broker(), 0);
    file_ops_set(NULL);
    remove_tree(dir);
}

/* Runs fn(arg) on a loop's thread and waits for it. */
struct on_loop {
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void on_loop_run(struct loop_message *message)
{
    struct on_loop *call = message->p;

    call->fn(call->arg);
    sem_post(&call->done);
}

static inline void on_loop(unsigned index, void (*fn)(void *arg), void *arg)
{
    struct on_loop call = {.fn = fn, .arg = arg};
    struct timespec until = patience();

    sem_init(&call.done, 0, 0);
    ck_assert_int_eq(
        loop_post(broker->loops[index], &(struct loop_message){.run = on_loop_run, .p = &call}), 0);
    while (sem_timedwait(&call.done, &until) < 0)
        ck_assert_int_eq(errno, EINTR);
    sem_destroy(&call.done);
}

/* Looks until `is` holds; for states that nobody announces. */
static inline void wait_until(bool (*is)(void *arg), void *arg)
{
    int64_t deadline = clock_mono_ns() + PATIENCE_S * INT64_C(1000000000);
    struct timespec pause = {.tv_nsec = 1000000};

    while (!is(arg)) {
        ck_assert_int_lt(clock_mono_ns(), deadline);
        nanosleep(&pause, NULL);
    }
}

static inline bool log_has_passed(void *end)
{
    return store_end(broker->store) > *(uint64_t *)end;
}

/* Something has been appended to a log that ended there; nothing need be confirmed. */
static inline void wait_appended(uint64_t end)
{
    wait_until(log_has_passed, &end);
}

/* --- a client --- */

struct client {
    int fd;
    int32_t opaque;
    struct buf in;
    size_t spent;
    struct remoting_frame frame; /* the last one that came */
};

static inline void client_open_port(struct client *c, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval wait = {.tv_sec = PATIENCE_S};
    int on = 1;

    memset(c, 0, sizeof(*c));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(c->fd, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

static inline void client_open(struct client *c)
{
    client_open_port(c, (int)settings.config.listen_port);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_destroy(&c->in);
}

static inline void client_write(struct client *c, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(c->fd, bytes.at, bytes.len, MSG_NOSIGNAL);

        ck_assert_msg(n > 0, "send: %s", strerror(errno));
        bytes.at += n;
        bytes.len -= (size_t)n;
    }
}

/* Adds a request to `out`; fields are names and values in turn, NULL at the end. Its opaque. */
static inline int32_t add_request(struct client *c, struct buf *out, int32_t code, int32_t flag,
                                  struct bytes body, va_list fields)
{
    struct remoting_meta meta = {.code = code,
                                 .opaque = ++c->opaque,
                                 .flag = flag,
                                 .version = REMOTING_VERSION,
                                 .language = REMOTING_JAVA,
                                 .has_fields = true};
    struct remoting_writer w;
    const char *key;

    remoting_begin(&w, out, &meta);
    while ((key = va_arg(fields, const char *)) != NULL)
        remoting_put_str(&w, key, va_arg(fields, const char *));
    remoting_body(&w);
    buf_add(out, body.at, body.len);
    remoting_end(&w);
    ck_assert(!out->failed);
    return c->opaque;
}

static inline int32_t ask(struct client *c, int32_t code, int32_t flag, struct bytes body, ...)
{
    struct buf out = {0};
    va_list fields;

    va_start(fields, body);
    add_request(c, &out, code, flag, body, fields);
    va_end(fields);
    client_write(c, buf_bytes(&out));
    buf_destroy(&out);
    return c->opaque;
}

static inline bool fill_in(struct client *c)
{
    uint8_t *to = buf_reserve(&c->in, 65536);
    ssize_t n;

    ck_assert_ptr_nonnull(to);
    n = recv(c->fd, to, 65536, 0);
    ck_assert_msg(n >= 0 || errno == ECONNRESET, "recv: %s", strerror(errno));
    if (n > 0)
        c->in.len += (size_t)n;
    return n > 0;
}

/* The next frame, into c->frame; false at the end of the connection. */
static inline bool next_frame(struct client *c)
{
    const char *why;
    size_t size = 0;

    buf_consume(&c->in, c->spent);
    c->spent = 0;
    for (;;) {
        int r = remoting_frame_size(buf_bytes(&c->in), &size);

        ck_assert_int_ne(r, REMOTING_BAD);
        if (r == 0 && size <= c->in.len)
            break;
        if (!fill_in(c)) {
            ck_assert_msg(c->in.len == 0, "a frame is cut off");
            return false;
        }
    }
    ck_assert_int_eq(remoting_decode(buf_at(&c->in), size, &c->frame, &why), 0);
    c->spent = size;
    return true;
}

/* The next frame must be the answer to that request. Its code. */
static inline int32_t answer(struct client *c, int32_t opaque)
{
    ck_assert_msg(next_frame(c), "closed before the answer");
    ck_assert_msg(remoting_is_response(&c->frame), "request %d came", c->frame.code);
    ck_assert_int_eq(c->frame.opaque, opaque);
    return c->frame.code;
}

#define call_broker(c, code, body, ...) answer(c, ask(c, code, 0, body, __VA_ARGS__))

/* Nothing has come but the answer to what is asked now (an unknown code: 3). */
static inline void nothing_came(struct client *c)
{
    ck_assert_int_eq(call_broker(c, 9999, bytes_of(NULL, 0), NULL),
                     RESPONSE_REQUEST_CODE_NOT_SUPPORTED);
}

static inline int64_t number(struct client *c, const char *key)
{
    int64_t value = 0;

    ck_assert_msg(remoting_get_i64(&c->frame, key, &value) == 0, "no number %s", key);
    return value;
}

/* --- usual requests --- */

static inline void make_topic(struct client *c, const char *topic, const char *queues)
{
    ck_assert_int_eq(call_broker(c, REQUEST_UPDATE_AND_CREATE_TOPIC, bytes_of(NULL, 0), "topic",
                                 topic, "defaultTopic", "TBW102", "readQueueNums", queues,
                                 "writeQueueNums", queues, "perm", "6", "topicFilterType",
                                 "SINGLE_TAG", "topicSysFlag", "0", "order", "false", NULL),
                     0);
}

static inline int32_t ask_send(struct client *c, const char *topic, const char *queue,
                               const char *properties, const char *body)
{
    return ask(c, REQUEST_SEND_MESSAGE_V2, 0, bytes_str(body), "a", "P", "b", topic, "c", "TBW102",
               "d", "4", "e", queue, "f", "0", "g", "1700000000000", "h", "0", "i", properties, "j",
               "0", NULL);
}

static inline void send_one(struct client *c, const char *topic, const char *queue,
                            const char *properties, const char *body)
{
    ck_assert_int_eq(answer(c, ask_send(c, topic, queue, properties, body)), 0);
}

static inline int32_t ask_pull(struct client *c, const char *topic, const char *queue,
                               const char *offset, const char *subscription, const char *suspend)
{
    return ask(c, REQUEST_PULL_MESSAGE, 0, bytes_of(NULL, 0), "consumerGroup", "G", "topic", topic,
               "queueId", queue, "queueOffset", offset, "maxMsgNums", "32", "sysFlag", "6",
               "commitOffset", "0", "suspendTimeoutMillis", suspend, "subscription", subscription,
               "subVersion", "0", NULL);
}

#endif
