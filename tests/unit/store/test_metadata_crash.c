/* test_metadata_crash.c - a life of changes, generations and exports, cut off after every call that
 * reaches the disk, in two ways:
 *
 *   kill       the folder as it is: everything written is there
 *   power cut  only what was synced is there: contents by fsync and fdatasync of the file, names by
 *              fsync of the folder; once with the names removed since, once without. A sync that
 *              failed has cleaned the pages: only what is written after it can be synced again.
 *
 * What is opened from either must hold, for each topic, group, offset and cursor, a value that is
 * at least as new as the newest durable one, and that was really set. The moves come from a seed.
 */
#include "metadata_fixture.h"

#include <sys/stat.h>

enum { TOPICS = 5, GROUPS = 3, PAIRS = 6, LEVELS = 2 };
enum { THINGS = TOPICS + GROUPS + PAIRS + LEVELS };
enum { HISTORY = 400, NOTHING = -1 };

/* All values that a thing has had, the first is "nothing". */
struct thing {
    int64_t values[HISTORY];
    uint64_t sequences[HISTORY]; /* topics and groups */
    int count;
    int settled; /* offsets and cursors: at least this one is durable */
};
static struct thing things[THINGS];
static int64_t versions_durable; /* of topics: a durable counter */
static uint64_t version_sequence;

static struct metadata *checked; /* what was opened from a crash */

static const char *topic_name(int i)
{
    static const char *const names[TOPICS] = {"T0", "T1", "%RETRY%G0", "T3", "T4"};

    return names[i];
}

static const char *group_name(int i)
{
    static const char *const names[GROUPS] = {"G0", "G1", "G2"};

    return names[i];
}

static struct thing *topic_thing(int i)
{
    return &things[i];
}

static struct thing *group_thing(int i)
{
    return &things[TOPICS + i];
}

static struct thing *pair_thing(int i)
{
    return &things[TOPICS + GROUPS + i];
}

static struct thing *level_thing(int i)
{
    return &things[TOPICS + GROUPS + PAIRS + i];
}

static void note(struct thing *t, int64_t value, uint64_t sequence)
{
    ck_assert_int_lt(t->count, HISTORY);
    t->values[t->count] = value;
    t->sequences[t->count] = sequence;
    t->count++;
}

/* The newest entry of a thing that is surely durable. */
static int durable_entry(const struct thing *t, uint64_t durable)
{
    int newest = t->settled;

    for (int i = newest; i < t->count; i++) {
        if (t->sequences[i] != 0 && t->sequences[i] <= durable)
            newest = i;
    }
    return newest;
}

static void expect_value(const struct thing *t, int64_t found, uint64_t durable, const char *where)
{
    for (int i = durable_entry(t, durable); i < t->count; i++) {
        if (t->values[i] == found)
            return;
    }
    ck_abort_msg("%s: thing %d has %lld, durable is %lld, the last is %lld", where,
                 (int)(t - things), (long long)found,
                 (long long)t->values[durable_entry(t, durable)],
                 (long long)t->values[t->count - 1]);
}

static void check_opened(const char *where)
{
    uint64_t durable = metadata_durable(m);
    uint32_t known = 0;

    for (int i = 0; i < TOPICS; i++) {
        expect_value(topic_thing(i), queues_of(checked, topic_name(i)), durable, where);
        for (uint32_t n = 0; n < metadata_topic_count(checked); n++)
            known += strcmp(metadata_topic_at(checked, n)->name, topic_name(i)) == 0;
    }
    ck_assert_uint_eq(known, metadata_topic_count(checked)); /* and nothing else */
    for (int i = 0; i < GROUPS; i++)
        expect_value(group_thing(i), retries_of(checked, group_name(i)), durable, where);
    for (int i = 0; i < PAIRS; i++)
        expect_value(pair_thing(i), offset_of(checked, topic_name(i / 2), group_name(i % 3), i * 3),
                     durable, where);
    for (int i = 0; i < LEVELS; i++)
        expect_value(level_thing(i),
                     metadata_delay(checked, i + 1) ? metadata_delay(checked, i + 1) : NOTHING,
                     durable, where);
    if (version_sequence <= durable)
        ck_assert_int_ge(metadata_topics_version(checked).counter, versions_durable);
    ck_assert(!checked->journal.damaged);
}

/* --- the disk --- */

static bool watching;   /* the calls are of the life */
static bool checking;   /* and each is followed by crashes */
static bool syncs_fail; /* of files */
static bool snapshots_refused;
static int crashes;

enum { INODES = 4096, NAMES = 64 };
static struct inode {
    ino_t number;
    bool written; /* since the last sync, good or bad */
    struct buf synced;
} inodes[INODES];
static int inode_count;

/* Names that are in a folder for good. */
static struct folder {
    char path[300];
    int count;
    struct {
        char name[64];
        int inode;
    } names[NAMES];
} folders[2]; /* tern/meta, config */

static int inode_of(const struct stat *st)
{
    for (int i = inode_count - 1; i >= 0; i--) { /* numbers are used again: the youngest */
        if (inodes[i].number == st->st_ino)
            return i;
    }
    return -1;
}

static void forget_number(ino_t number)
{
    for (int i = 0; i < inode_count; i++) {
        if (inodes[i].number == number)
            inodes[i].number = 0;
    }
}

static void make_inode(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_lt(inode_count, INODES);
    forget_number(st.st_ino);
    inodes[inode_count++] = (struct inode){.number = st.st_ino};
}

static void sync_folder(struct folder *f)
{
    struct file_list list;

    ck_assert_int_eq(file_list(f->path, &list), 0);
    f->count = 0;
    for (size_t i = 0; i < list.count; i++) {
        char *path = join(f->path, list.names[i]);
        struct stat st;

        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_int_lt(f->count, NAMES);
        snprintf(f->names[f->count].name, 64, "%s", list.names[i]);
        f->names[f->count++].inode = inode_of(&st);
        free(path);
    }
    file_list_free(&list);
}

static void note_write(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_ge(inode_of(&st), 0);
    inodes[inode_of(&st)].written = true;
}

/* false: it fails. */
static bool note_sync(int fd)
{
    char link[64], path[300] = {0};
    struct stat st;
    int i;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ck_assert_int_gt(readlink(link, path, sizeof(path) - 1), 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    if (S_ISDIR(st.st_mode)) {
        for (i = 0; i < 2; i++) {
            if (strcmp(folders[i].path, path) == 0)
                sync_folder(&folders[i]);
        }
        return true;
    }
    i = inode_of(&st);
    ck_assert_int_ge(i, 0);
    if (!syncs_fail && inodes[i].written) {
        buf_destroy(&inodes[i].synced);
        inodes[i].synced = content_of(link); /* the descriptor itself may be for writing only */
    }
    inodes[i].written = false;
    return !syncs_fail;
}

static void power_cut_image(const char *to, bool with_removed)
{
    ck_assert_int_eq(mkdir(to, 0755), 0);
    for (int f = 0; f < 2; f++) {
        char *folder = join(to, f == 0 ? "tern/meta" : "config");

        ck_assert_int_eq(file_mkdirs(folder), 0);
        for (int i = 0; i < folders[f].count; i++) {
            char *path = join(folder, folders[f].names[i].name);
            char *now_at = join(folders[f].path, folders[f].names[i].name);
            int inode = folders[f].names[i].inode;
            if (with_removed || exists(now_at))
                put_bytes(path, inode < 0 ? (struct bytes){0} : buf_bytes(&inodes[inode].synced));
            free(path);
            free(now_at);
        }
        free(folder);
    }
}

/* Opens what is there, looks, and lives on for a moment. */
static void check_image(const char *root, const char *where)
{
    int32_t queues;

    checked = open_at(root);
    check_opened(where);
    ck_assert_msg(checked->files_taken == 0, "%s: a file of ours counted as foreign", where);
    if (crashes % 7 == 0) {
        struct topic_config config = config_of(1000);
        ck_assert_int_eq(
            metadata_topic_put(checked, BYTES_LIT("After"), &config, 0, NULL, NULL, NULL), 0);
        ck_assert_int_eq(metadata_close(checked), 0);
        checked = open_at(root);
        queues = queues_of(checked, "After");
        ck_assert_int_eq(queues, 1000);
    }
    metadata_tables_free(checked);
}

static void crash(const char *call)
{
    int result = errno; /* of the call that has just been made */
    char *image;

    if (!watching || !checking)
        return;
    watching = false;
    crashes++;
    image = join(dir, "image");
    ck_assert_int_eq(mkdir(image, 0755), 0);
    if (exists(in_dir("live/tern")))
        copy_tree(in_dir("live/tern"), in_dir("image/tern"));
    if (exists(in_dir("live/config")))
        copy_tree(in_dir("live/config"), in_dir("image/config"));
    check_image(image, call);
    remove_tree(image);
    for (int with_removed = 0; with_removed < 2; with_removed++) {
        power_cut_image(image, with_removed);
        check_image(image, call);
        remove_tree(image);
    }
    free(image);
    watching = true;
    errno = result;
}

static int crash_open(const char *path, int flags, mode_t mode)
{
    bool there = access(path, F_OK) == 0;
    int fd;

    if (watching && snapshots_refused && strstr(path, "/snapshot-")) {
        errno = EIO;
        return -1;
    }
    fd = open(path, flags, mode);
    if (watching && fd >= 0 && !there)
        make_inode(fd);
    if (flags & (O_CREAT | O_TRUNC))
        crash("open");
    return fd;
}

static ssize_t crash_pwrite(int fd, const void *from, size_t n, off_t at)
{
    ssize_t put = pwrite(fd, from, n / 2, at);

    ck_assert_int_eq(put, (ssize_t)(n / 2));
    if (watching)
        note_write(fd);
    crash("half a pwrite");
    put = pwrite(fd, from, n, at);
    crash("pwrite");
    return put;
}

static int crash_fsync(int fd)
{
    if (watching && !note_sync(fd)) {
        errno = EIO;
        return -1;
    }
    crash("fsync");
    return 0;
}

static int crash_ftruncate(int fd, off_t n)
{
    int r = ftruncate(fd, n);

    if (watching)
        note_write(fd);
    crash("ftruncate");
    return r;
}

static int crash_rename(const char *from, const char *to)
{
    int r = rename(from, to);

    crash("rename");
    return r;
}

static int crash_unlink(const char *path)
{
    int r = unlink(path);

    crash("unlink");
    return r;
}

/* --- the life --- */

static void move(uint64_t *random)
{
    int i = (int)(next_random(random) % 100);
    int64_t value = 1 + next_random(random) % 1000;
    uint64_t sequence = 0;

    switch (next_random(random) % 12) {
    case 0:
    case 1:
    case 2:
        i %= TOPICS;
        note(topic_thing(i), value, put_topic(topic_name(i), (int32_t)value));
        version_sequence = metadata_last(m);
        versions_durable = metadata_topics_version(m).counter;
        break;
    case 3:
        i %= TOPICS;
        if (metadata_topic_delete(m, bytes_str(topic_name(i)), 5, true, &sequence) < 0)
            break;
        note(topic_thing(i), NOTHING, sequence);
        for (int p = 0; p < PAIRS; p++) {
            if (p / 2 == i)
                note(pair_thing(p), NOTHING, sequence);
        }
        break;
    case 4:
    case 5:
        i %= GROUPS;
        note(group_thing(i), value, put_group(group_name(i), (int32_t)value));
        break;
    case 6:
        i %= GROUPS;
        if (metadata_group_delete(m, bytes_str(group_name(i)), false, &sequence) == 0)
            note(group_thing(i), NOTHING, sequence);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        i %= PAIRS;
        note(pair_thing(i), value, 0);
        commit(topic_name(i / 2), group_name(i % 3), i * 3, value);
        break;
    default:
        i %= LEVELS;
        note(level_thing(i), value, 0);
        ck_assert_int_eq(metadata_delay_set(m, i + 1, value), 0);
        break;
    }
}

/* Turns that make everything durable. */
static void settle_all(void)
{
    settle();
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    for (int i = 0; i < THINGS; i++)
        things[i].settled = things[i].count - 1;
}

static void begin_life(void)
{
    struct metadata *opened;

    log_set_level(LOG_LEVEL_ERROR);
    for (int i = 0; i < THINGS; i++)
        note(&things[i], NOTHING, 0);
    ops.open = crash_open;
    ops.pwrite = crash_pwrite;
    ops.fsync = ops.fdatasync = crash_fsync;
    ops.ftruncate = crash_ftruncate;
    ops.rename = crash_rename;
    ops.unlink = crash_unlink;
    snprintf(folders[0].path, sizeof(folders[0].path), "%s/live/tern/meta", dir);
    snprintf(folders[1].path, sizeof(folders[1].path), "%s/live/config", dir);
    ck_assert_int_eq(file_mkdirs(folders[0].path), 0);
    ck_assert_int_eq(file_mkdirs(folders[1].path), 0);
    m = metadata_tables_new();
    watching = true;
    opened = open_at(in_dir("live"));
    watching = false;
    kill_meta(); /* stood for what is known while the real one opened */
    m = opened;
    watching = true;
}

static void end_life(void)
{
    watching = false;
    for (int i = 0; i < inode_count; i++)
        buf_destroy(&inodes[i].synced);
}

static void live(uint64_t seed, int64_t generation_bytes, bool refusals)
{
    uint64_t random = seed, generation;

    checking = true;
    begin_life();
    m->journal.min_bytes = generation_bytes;
    for (int round = 0; round < 30; round++) {
        for (int i = next_random(&random) % 6; i >= 0; i--)
            move(&random);
        now += next_random(&random) % 700;
        snapshots_refused = refusals && next_random(&random) % 3 != 0;
        if (refusals)
            m->snapshot_retry_at = 0;
        switch (next_random(&random) % 4) {
        case 0:
            settle_all();
            break;
        case 1:
            now += EXPORT_MS;
            turns();
            break;
        case 2:
            turns();
            break;
        default:
            (void)metadata_turn(m, now); /* may leave a snapshot half written */
            break;
        }
    }
    snapshots_refused = false;
    settle_all();
    generation = m->journal.generation;
    ck_assert_int_eq(metadata_close(m), 0);
    watching = false;
    m = open_at(in_dir("live"));
    checked = m;
    check_opened("the end");
    close_meta();
    ck_assert_int_gt(crashes, 200);
    if (generation_bytes < 2000)
        ck_assert_uint_gt(generation, 3);
    end_life();
}

START_TEST(no_crash_loses_what_was_durable)
{
    live(1000 + (uint64_t)_i, INT64_MAX, false);
}
END_TEST

START_TEST(no_crash_in_a_change_of_generation_loses_what_was_durable)
{
    live(2000 + (uint64_t)_i, 300, false);
}
END_TEST

START_TEST(no_crash_while_a_snapshot_cannot_be_written_loses_what_was_durable)
{
    live(3000 + (uint64_t)_i, 300, true);
}
END_TEST

static int32_t queues_after_a_power_cut(const char *name)
{
    struct metadata *opened;
    int32_t queues;

    watching = false;
    power_cut_image(in_dir("image"), true);
    opened = open_at(in_dir("image"));
    queues = queues_of(opened, name);
    metadata_tables_free(opened);
    remove_tree(in_dir("image"));
    watching = true;
    return queues;
}

START_TEST(a_failed_sync_makes_nothing_durable)
{
    uint64_t sequence;

    begin_life();
    put_topic("T", 1);
    turns();
    ck_assert_int_eq(queues_after_a_power_cut("T"), 1);
    syncs_fail = true;
    sequence = put_topic("T", 2);
    turns();
    ck_assert_uint_lt(metadata_durable(m), sequence);
    ck_assert_int_eq(queues_after_a_power_cut("T"), 1);
    syncs_fail = false;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_uint_ge(metadata_durable(m), sequence);
    ck_assert_int_eq(queues_after_a_power_cut("T"), 2);
    kill_meta();
    end_life();
}
END_TEST

/* What an earlier process wrote and could not sync is read back, and so it must be made durable. */
START_TEST(what_is_read_at_a_start_is_durable_after_it)
{
    begin_life();
    put_topic("T", 1);
    turns();
    syncs_fail = true;
    put_topic("T", 2);
    turns();
    kill_meta();
    syncs_fail = false;
    m = open_at(in_dir("live"));
    ck_assert_int_eq(queues_of(m, "T"), 2);
    ck_assert_int_eq(queues_after_a_power_cut("T"), 2);
    kill_meta();
    end_life();
}
END_TEST

/* What reaches the disk is simulated, so that thousands of syncs need none. */
static void begin_in_memory(void)
{
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    fixture_begin();
}

static Suite *suite(void)
{
    Suite *s = suite_create("metadata_crash");
    TCase *c = tcase_create("crash");

    tcase_set_timeout(c, 600);
    tcase_add_checked_fixture(c, begin_in_memory, fixture_end);
    tcase_add_loop_test(c, no_crash_loses_what_was_durable, 0, 2);
    tcase_add_loop_test(c, no_crash_in_a_change_of_generation_loses_what_was_durable, 0, 3);
    tcase_add_loop_test(c, no_crash_while_a_snapshot_cannot_be_written_loses_what_was_durable, 0,
                        2);
    tcase_add_test(c, a_failed_sync_makes_nothing_durable);
    tcase_add_test(c, what_is_read_at_a_start_is_durable_after_it);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
