/* metadata_fixture.h - metadata in a temporary folder, driven turn by turn with a clock of its own:
 * what the metadata thread would do when its time comes, a test does by metadata_turn(). */
#ifndef TERN_TESTS_METADATA_FIXTURE_H
#define TERN_TESTS_METADATA_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/store/metadata_internal.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "files.h"
#include "unit.h"

static char dir[256];
static struct metadata *m;
static int64_t now;

#define JOURNAL_1 "tern/meta/journal-00000000000000000001"

enum { EXPORT_MS = 5000 };

static inline const char *in_dir(const char *name)
{
    static char paths[8][600];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline char *join(const char *folder, const char *name)
{
    char *path = NULL;

    ck_assert_int_gt(asprintf(&path, "%s/%s", folder, name), 0);
    return path; /* free it */
}

static inline struct buf content_of(const char *path)
{
    struct buf content = {0};

    ck_assert_msg(file_load(path, 1 << 26, &content) == 0, "%s", path);
    return content;
}

static inline void put_bytes(const char *path, struct bytes content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    ck_assert_msg(fd >= 0, "%s", path);
    ck_assert_int_eq(write(fd, content.at ? (const char *)content.at : "", content.len),
                     (ssize_t)content.len);
    close(fd);
}

static inline void put_text(const char *path, const char *text)
{
    put_bytes(path, bytes_str(text));
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static inline void copy_file(const char *from, const char *to)
{
    struct buf content = content_of(from);

    put_bytes(to, buf_bytes(&content));
    buf_destroy(&content);
}

static inline void copy_tree(const char *from, const char *to)
{
    struct file_list list;

    if (file_list(from, &list) < 0) {
        copy_file(from, to);
        return;
    }
    ck_assert_int_eq(mkdir(to, 0755), 0);
    for (size_t i = 0; i < list.count; i++) {
        char *a = join(from, list.names[i]), *b = join(to, list.names[i]);
        copy_tree(a, b);
        free(a);
        free(b);
    }
    file_list_free(&list);
}

static inline int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static struct file_ops ops; /* what the system does, without waiting for a disk */

static inline void fixture_begin(void)
{
    const char *base = getenv("TMPDIR");

    ops = file_ops_system;
    ops.fsync = ops.fdatasync = no_sync;
    file_ops_set(&ops);

    if (!base) /* no test here needs more of a disk than its calls */
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(dir, sizeof(dir), "%s/tern-metadata-XXXXXX", base);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    now = 1000000;
}

static inline void fixture_end(void)
{
    file_ops_set(NULL);
    remove_tree(dir);
}

static inline int try_open(struct metadata **out, const char *root, struct err *err)
{
    struct metadata_options options = {.root_dir = root, .export_interval_ms = EXPORT_MS};

    *err = (struct err){0};
    return metadata_open(out, &options, err);
}

static inline struct metadata *open_at(const char *root)
{
    struct metadata *opened = NULL;
    struct err err;

    ck_assert_msg(try_open(&opened, root, &err) == 0, "%s", err.text);
    return opened;
}

static inline void open_meta(void)
{
    m = open_at(dir);
}

static inline void close_meta(void)
{
    ck_assert_int_eq(metadata_close(m), 0);
    m = NULL;
}

/* As a kill would: nothing more is written. */
static inline void kill_meta(void)
{
    metadata_tables_free(m);
    m = NULL;
}

static inline void reopen(void)
{
    close_meta();
    open_meta();
}

static inline void kill_and_reopen(void)
{
    kill_meta();
    open_meta();
}

/* What a crash now would leave, opened. */
static inline struct metadata *open_copy(void)
{
    remove_tree(in_dir("copy"));
    ck_assert_int_eq(mkdir(in_dir("copy"), 0755), 0);
    copy_tree(in_dir("tern"), in_dir("copy/tern"));
    copy_tree(in_dir("config"), in_dir("copy/config"));
    return open_at(in_dir("copy"));
}

/* Turns until nothing is due at `now`. */
static inline void turns(void)
{
    for (int i = 0; metadata_turn(m, now) <= now; i++)
        ck_assert_int_lt(i, 100000);
}

/* Long enough for offsets to be collected, not for an export. */
static inline void settle(void)
{
    turns();
    now += METADATA_OFFSETS_MS;
    turns();
}

static inline void settle_and_export(void)
{
    settle();
    now += EXPORT_MS;
    turns();
}

static inline struct topic_config config_of(int32_t queues)
{
    return (struct topic_config){
        .read_queues = queues, .write_queues = queues, .perm = PERM_READ | PERM_WRITE};
}

static inline uint64_t put_topic(const char *name, int32_t queues)
{
    struct topic_config config = config_of(queues);
    uint64_t sequence = 0;

    ck_assert_int_eq(metadata_topic_put(m, bytes_str(name), &config, 0, &sequence, NULL, NULL), 0);
    return sequence;
}

/* Read queues of a topic, -1: there is none. */
static inline int32_t queues_of(struct metadata *of, const char *name)
{
    struct topic_config config;

    return metadata_topic(of, bytes_str(name), &config) ? config.read_queues : -1;
}

static inline uint64_t put_group(const char *name, int32_t retries)
{
    struct group_config config = group_config_default();
    uint64_t sequence = 0;

    config.retry_max_times = retries;
    ck_assert_int_eq(metadata_group_put(m, bytes_str(name), &config, &sequence, NULL), 0);
    return sequence;
}

static inline int32_t retries_of(struct metadata *of, const char *name)
{
    struct group_config config;

    return metadata_group(of, bytes_str(name), &config) ? config.retry_max_times : -1;
}

static inline void commit(const char *topic, const char *group, int32_t queue, int64_t offset)
{
    ck_assert_int_eq(metadata_offset_commit(m, bytes_str(topic), bytes_str(group), queue, offset),
                     0);
}

static inline int64_t offset_of(struct metadata *of, const char *topic, const char *group,
                                int32_t queue)
{
    return metadata_offset(of, bytes_str(topic), bytes_str(group), queue);
}

/* For metadata_each_topic(), metadata_each_group(): sums of read queues, of retries. */
static inline void count_topics(void *ctx, const struct topic *t, const struct topic_config *c)
{
    int *sum = ctx;

    ck_assert_int_gt(t->name_len, 0);
    *sum += c->read_queues;
}

static inline void count_groups(void *ctx, struct bytes name, const struct group_config *c)
{
    int *sum = ctx;

    ck_assert(group_name_ok(name));
    *sum += c->retry_max_times;
}

/* What metadata_each_offset() told, in one line. */
struct seen_offsets {
    char text[256];
};

static inline void see_offsets(void *ctx, struct bytes topic, struct bytes group,
                               const int64_t *offsets, int32_t count)
{
    struct seen_offsets *seen = ctx;
    size_t at = strlen(seen->text);

    snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s@%.*s:%d:%lld;", (int)topic.len,
             (const char *)topic.at, (int)group.len, (const char *)group.at, count,
             (long long)offsets[count - 1]);
}

/* Numbers that are the same in every run. */
static inline uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* stderr into a file, to read what an operator would. */
static inline void log_begin(void)
{
    fflush(stderr);
    ck_assert_ptr_nonnull(freopen(in_dir("log"), "w", stderr));
}

static inline bool log_has(const char *text)
{
    struct buf content = content_of(in_dir("log"));
    bool has;

    buf_add_u8(&content, 0);
    has = strstr((const char *)buf_at(&content), text) != NULL;
    buf_destroy(&content);
    return has;
}

static inline int log_lines(const char *text)
{
    struct buf content = content_of(in_dir("log"));
    int lines = 0;

    buf_add_u8(&content, 0);
    for (const char *at = (const char *)buf_at(&content); (at = strstr(at, text)) != NULL; at++)
        lines++;
    buf_destroy(&content);
    return lines;
}

#endif
