/* test_hostile_files.c - every file of a store is hostile.
 *
 * A small store is built in several states: stopped cleanly, killed before and after a checkpoint,
 * killed with a log that no longer has its front, and without tern/ as if RocketMQ had written it.
 * Then, thousands of times, something happens to its files, and the store that is shipped opens
 * what is left. It may refuse with a sentence that names the file; otherwise it serves every
 * message whose record was not touched, byte for byte as it was, in its place, and no other. What
 * it gives out next collides with nothing.
 *
 * TERN_HOSTILE_SEED repeats one case, TERN_HOSTILE_CASES says how many each test makes. */
#include <signal.h>

#include "broker/store/properties.h"
#include "broker/store/store_internal.h"
#include "broker/store/store_mark.h"
#include "common/log.h"
#include "hostile_image.h"

enum { SEGMENT = 16384, TOPICS = 3, QUEUES = 3, MESSAGES = 240, MESSAGES_MAX = 400 };
static const char *const topic_names[TOPICS] = {"Orders", "Payments", "%RETRY%Clerks"};

/* What was stored: `bytes` is the whole record. */
struct original {
    int topic;
    int32_t queue_id;
    int64_t queue_offset;
    uint64_t log_offset;
    size_t size, checked; /* bytes of the record; of them, those that are compared */
    uint8_t *bytes;
    bool lost; /* the case has touched its record, or what has to be there before it */
    bool served;
};
static struct original originals[MESSAGES_MAX];
static size_t original_count; /* with those that a case has appended */
static size_t built_count;

enum state { CLEAN, KILLED, CHECKPOINTED, FRONTLESS, FOREIGN, STATES };
static const char *const state_names[STATES] = {"clean", "killed", "checkpointed", "frontless",
                                                "foreign"};
static struct image image;   /* of the state at hand */
static struct image earlier; /* of an earlier moment of it, stopped cleanly */
static uint64_t flushed;     /* damage from here on may take what is behind it */
static uint64_t log_end;
static uint64_t log_min;
/* Without tern/ nothing says that a record should have a checksum of its own: one that has lost it
 * passes for one of RocketMQ's, whose properties nobody checks. */
static bool properties_unchecked;

/* --- building --- */

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void build_begin(void)
{
    static struct file_ops ops;
    const char *shm = "/dev/shm";

    if (access(shm, W_OK) == 0)
        setenv("TMPDIR", shm, 1);
    fixture_begin();
    ops = file_ops_system;
    ops.fsync = ops.fdatasync = ops.syncfs = no_sync; /* nobody loses power here */
    file_ops_set(&ops);
    log_set_level(LOG_LEVEL_ERROR);
    options.segment_bytes = SEGMENT;
    options.queue_file_bytes = 400;
    options.message_max = 2048;
    options.tail_bytes = 65536;
    options.queue_memory = 1 << 20;
    options.index = true;
    options.index_shape = (struct index_shape){.slots = 50, .entries_max = 200};
    options.scrub_bytes_s = 0;
}

static struct topic *topic_by(int which)
{
    return metadata_topic(metadata, bytes_str(topic_names[which]), NULL);
}

static void make_topics(void)
{
    struct topic_config config = {.read_queues = QUEUES, .write_queues = QUEUES, .perm = 6};
    struct group_config group = group_config_default();
    uint64_t sequence;

    for (int t = 0; t < TOPICS; t++)
        ck_assert_int_eq(metadata_topic_put(metadata, bytes_str(topic_names[t]), &config, 0,
                                            &sequence, NULL, NULL),
                         0);
    ck_assert_int_eq(metadata_group_put(metadata, BYTES_LIT("Clerks"), &group, &sequence, NULL), 0);
}

static struct store_position append_one(int which, int32_t queue_id, int64_t number)
{
    char body[900], properties[120];
    size_t size = number % 17 == 0 ? sizeof(body) : 20 + (size_t)(number * 37 % 150);
    struct store_position p;
    int n;

    fill_body(body, size, "message", number);
    struct store_message m = message(queue_id, body, size);
    n = snprintf(properties, sizeof(properties), "UNIQ_KEY\1%032lld\2KEYS\1key-%lld\2TAGS\1Tag%lld",
                 (long long)number, (long long)(number % 40), (long long)(number % 5));
    m.properties = bytes_of(properties, (size_t)n);
    m.tags_code = properties_tags_code(bytes_of(properties + n - 4, 4)); /* "TagN" */
    m.topic = topic_by(which);
    ck_assert_int_eq(store_append(store, &m, 1, &p, NULL), 0);
    return p;
}

static void append_messages(int64_t first, int64_t count)
{
    struct store_position p = {0};

    for (int64_t i = first; i < first + count; i++) {
        p = append_one((int)(i % TOPICS), (int32_t)(i / TOPICS % QUEUES), i);
        if (i % 8 == 0)
            store_write(store);
    }
    store_write(store);
    ck_assert(wait_confirmed(p.log_end));
    for (int t = 0; t < TOPICS; t++)
        ck_assert_int_eq(metadata_offset_commit(metadata, bytes_str(topic_names[t]),
                                                BYTES_LIT("Clerks"), 0, first / 9),
                         0);
}

static bool checkpointed(void)
{
    if (atomic_load(&store->flusher.complete_to) == store_end(store))
        return true;
    atomic_store(&store->flusher.checkpoint_asked, true);
    flusher_call(store);
    return false;
}

static bool marked(void)
{
    struct mark_file file;
    struct mark mark = {0};
    int r = mark_open(&file, in_dir("tern/flushed"), &mark);

    mark_close(&file);
    return r == 0 && mark.flushed == store_end(store) &&
           metadata_durable(metadata) == metadata_last(metadata);
}

static void remember_as(int which, const struct record *r, struct bytes whole)
{
    struct original *o = &originals[original_count++];

    ck_assert_uint_le(original_count, MESSAGES_MAX);
    *o = (struct original){.topic = which,
                           .queue_id = r->queue_id,
                           .queue_offset = r->queue_offset,
                           .log_offset = (uint64_t)r->log_offset,
                           .size = whole.len,
                           .checked = whole.len - (properties_unchecked ? r->properties.len : 0)};
    o->bytes = malloc(o->size);
    ck_assert_ptr_nonnull(o->bytes);
    memcpy(o->bytes, whole.at, o->size);
}

static void remember(const struct record *r, void *ctx)
{
    struct buf whole = {0};
    struct record again;

    ck_assert_int_eq(store_read_record(store, (uint64_t)r->log_offset, &whole, &again), 0);
    remember_as(*(int *)ctx, &again, buf_bytes(&whole));
    buf_destroy(&whole);
}

static void forget_appended(void)
{
    while (original_count > built_count)
        free(originals[--original_count].bytes);
}

static void remember_all(void)
{
    built_count = 0;
    forget_appended();
    for (int t = 0; t < TOPICS; t++) {
        for (int32_t q = 0; q < QUEUES; q++)
            read_queue(topic_by(t), q, remember, &t);
    }
    built_count = original_count;
    log_end = store_end(store);
    log_min = store_min(store);
    flushed = log_end;
}

static bool front_is_marked(void)
{
    struct mark_file file;
    struct mark mark = {0};
    int r = mark_open(&file, in_dir("tern/flushed"), &mark);

    mark_close(&file);
    return r == 0 && mark.log_min == store_min(store);
}

static void drop_front(void)
{
    uint64_t base;

    ck_assert(wait_until(checkpointed));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(commit_log_retire(store->log, store_flushed(store), &base), 0);
        while (commit_log_erase(store->log, SIZE_MAX) > 0)
            ;
    }
    retention_sweep(store);
    ck_assert(wait_until(front_is_marked));
}

/* The folder of a store in that state goes into `image`. */
static void build(enum state state)
{
    properties_unchecked = state == FOREIGN;
    build_begin();
    open_store();
    make_topics();
    append_messages(0, MESSAGES / 2);
    ck_assert_int_eq(close_store(), 0);
    image_take(&earlier);
    open_store();
    append_messages(MESSAGES / 2, MESSAGES / 4);
    if (state == FRONTLESS)
        drop_front();
    else if (state == CHECKPOINTED)
        ck_assert(wait_until(checkpointed));
    append_messages(MESSAGES / 4 * 3, MESSAGES / 4);
    ck_assert(wait_until(marked));
    remember_all();
    if (state == CLEAN || state == FOREIGN) {
        ck_assert_int_eq(close_store(), 0);
        if (state == FOREIGN)
            remove_tree(in_dir("tern"));
        image_take(&image);
    } else {
        image_take(&image); /* as kill -9 would leave it */
        close_store();
    }
}

/* --- which messages may be gone --- */

static const struct image_file *as_it_was(const char *name)
{
    return image_find(&image, name);
}

/* Marks the originals that the files of the log no longer hold. */
static void find_lost(void)
{
    uint64_t first_bad = UINT64_MAX;

    for (size_t i = 0; i < original_count; i++)
        originals[i].served = originals[i].lost = false;
    for (uint64_t base = log_min; base < log_end; base += SEGMENT) {
        char name[64];
        struct buf now = {0};

        snprintf(name, sizeof(name), "commitlog/%020llu", (unsigned long long)base);
        const struct image_file *was = as_it_was(name);
        ck_assert_ptr_nonnull(was);
        int r = file_load(in_dir(name), 2 * SEGMENT + 10000, &now);
        for (size_t i = 0; i < original_count; i++) {
            struct original *o = &originals[i];
            if (o->log_offset / SEGMENT * SEGMENT != base)
                continue;
            size_t at = (size_t)(o->log_offset - base);
            if (r < 0 || now.len < at + o->size ||
                memcmp(buf_at(&now) + at, was->bytes + at, o->size) != 0)
                o->lost = true;
        }
        for (size_t at = 0; at < was->size && first_bad == UINT64_MAX; at++) {
            if (base + at >= flushed && base + at < log_end &&
                (r < 0 || at >= now.len || buf_at(&now)[at] != was->bytes[at]))
                first_bad = base + at;
        }
        buf_destroy(&now);
    }
    for (size_t i = 0; i < original_count; i++) {
        struct original *o = &originals[i];
        if (o->log_offset + o->size > first_bad) /* the torn tail begins at the latest there */
            o->lost = true;
    }
}

/* --- reading --- */

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            char expected_[256];                                                                   \
            snprintf(expected_, sizeof(expected_), __VA_ARGS__);                                   \
            ck_abort_msg("%s: %s", case_text, expected_);                                          \
        }                                                                                          \
    } while (0)

/* The newest, since the offset of a message that was cut off with the log is given out again. */
static struct original *original_of(int which, int32_t queue_id, int64_t queue_offset)
{
    for (size_t i = original_count; i-- > 0;) {
        struct original *o = &originals[i];
        if (o->topic == which && o->queue_id == queue_id && o->queue_offset == queue_offset)
            return o;
    }
    return NULL;
}

static bool no_repair_waits(void)
{
    return atomic_load(&store->scrub.waiting) == 0;
}

static void take_records(int which, int32_t queue_id, struct bytes left)
{
    int64_t last = -1;

    while (left.len > 0) {
        struct record r;
        EXPECT(record_decode(left, &r) == 0, "no record was served");
        struct original *o = original_of(which, queue_id, r.queue_offset);
        EXPECT(o != NULL, "%s-%d: an offset %lld was served that never was", topic_names[which],
               queue_id, (long long)r.queue_offset);
        EXPECT(o->size == r.total_size && memcmp(o->bytes, left.at, o->checked) == 0,
               "%s-%d at %lld: another message was served, from %lld instead of %llu",
               topic_names[which], queue_id, (long long)r.queue_offset, (long long)r.log_offset,
               (unsigned long long)o->log_offset);
        EXPECT(r.queue_offset > last, "%s-%d: out of order", topic_names[which], queue_id);
        last = r.queue_offset;
        o->served = true;
        left = bytes_of(left.at + r.total_size, left.len - r.total_size);
    }
}

/* Like a client's loop. */
static void read_hostile(int which, int32_t queue_id)
{
    static struct store_found found;
    struct topic *of = topic_by(which);
    struct buf out = {0};
    struct store_get get = {.max_messages = 32, .may_block = true};
    int64_t bad, waited = 0;

    if (!of)
        return;
    get.queue = store_queue(store, of, queue_id);
    if (get.queue == QUEUE_NONE)
        return;
    for (;;) {
        store_find(store, &get, &found);
        int64_t next = found.got.next_offset;
        int r =
            found.got.status == STORE_GET_FOUND ? store_fill(store, &found, &out, true, &bad) : 0;
        if (found.got.status == STORE_GET_AT_END || found.got.status == STORE_GET_EMPTY)
            break;
        if (found.got.status == STORE_GET_REPAIRING || r == STORE_REPAIRING) {
            EXPECT(++waited < 1000, "%s-%d: a repair at %lld that does not help",
                   topic_names[which], queue_id, (long long)get.offset);
            EXPECT(wait_until(no_repair_waits), "a repair does not end");
            continue;
        }
        EXPECT(r == 0 || r == -EBADMSG, "%s-%d at %lld: %d", topic_names[which], queue_id,
               (long long)get.offset, r);
        if (r == -EBADMSG) {
            while (found.count > 0 && found.first_offset[found.count - 1] >= bad)
                found.count--;
            EXPECT(store_fill(store, &found, &out, true, &next) == 0,
                   "%s-%d: the front of a pull fails, too", topic_names[which], queue_id);
            next = bad + 1;
        }
        EXPECT(next > get.offset, "%s-%d: a pull at %lld goes on at %lld (status %d)",
               topic_names[which], queue_id, (long long)get.offset, (long long)next,
               found.got.status);
        take_records(which, queue_id, buf_bytes(&out));
        buf_reset(&out);
        get.offset = next;
    }
    buf_destroy(&out);
}

static void read_by_log_offset(void)
{
    struct buf out = {0};
    struct record r;

    for (size_t i = 0; i < original_count; i += 7) {
        struct original *o = &originals[i];
        if (!o->lost && store_read_record(store, o->log_offset, &out, &r) == 0)
            EXPECT(out.len == o->size && memcmp(buf_at(&out), o->bytes, o->checked) == 0,
                   "another message stands at %llu", (unsigned long long)o->log_offset);
        buf_reset(&out);
    }
    buf_destroy(&out);
}

static void read_all(void)
{
    for (int t = 0; t < TOPICS; t++) {
        for (int32_t q = 0; q < QUEUES; q++)
            read_hostile(t, q);
    }
    for (size_t i = 0; i < original_count; i++) {
        const struct original *o = &originals[i];
        EXPECT(o->served || o->lost,
               "%s-%d at %lld (log offset %llu): an untouched message is lost",
               topic_names[o->topic], o->queue_id, (long long)o->queue_offset,
               (unsigned long long)o->log_offset);
    }
    read_by_log_offset();
}

/* Keys lead to every message that has them and is still there (`complete`: index files have no
 * checksums), times into the queue. */
static void look_up(bool complete)
{
    struct buf out = {0};
    struct record r;

    for (int64_t number = 3; number < MESSAGES; number += 50) {
        int64_t deadline = clock_mono_ms() + DEADLINE_MS;
        const struct original *o = NULL;
        struct store_answer answer;
        char key[40];
        snprintf(key, sizeof(key), "%032lld", (long long)number);
        struct store_query query = {
            .topic = bytes_str(topic_names[number % TOPICS]),
            .key = bytes_str(key),
            .max = 32,
            .end_ms = INT64_MAX,
        };
        for (size_t i = 0; i < built_count && !o; i++) {
            ck_assert_int_eq(record_decode(bytes_of(originals[i].bytes, originals[i].size), &r), 0);
            if (number_in(&r) == number)
                o = &originals[i];
        }
        do { /* files that were lost are made again behind our back */
            buf_reset(&out);
            EXPECT(store_query(store, &query, &out, &answer) == 0, "a query by key fails");
        } while (answer.messages == 0 && complete && o && o->served && clock_mono_ms() < deadline);
        EXPECT(answer.messages == 1 || !complete || !o || !o->served,
               "%d messages with key %s, which stands at %llu", answer.messages, key,
               (unsigned long long)o->log_offset);
        if (answer.messages > 0 && o)
            EXPECT(out.len >= o->size && memcmp(buf_at(&out), o->bytes, o->checked) == 0,
                   "another message has the key %s", key);
    }
    for (int t = 0; t < TOPICS; t++) {
        uint32_t queue = topic_by(t) ? store_queue(store, topic_by(t), 0) : QUEUE_NONE;
        struct queue_range range = store_range(store, queue);
        for (int how = 0; how < 3; how++) {
            int64_t at =
                store_offset_by_time(store, queue, clock_wall_ms(), (enum store_boundary)how);
            EXPECT(at >= range.min && at <= range.max, "a time leads out of the queue");
        }
    }
    buf_destroy(&out);
}

/* New messages come behind all that were served, and are served like them from now on. */
static void append_some(void)
{
    for (int t = 0; t < TOPICS; t++) {
        if (!topic_by(t))
            continue;
        for (int32_t q = 0; q < QUEUES; q++) {
            struct store_position p = append_one(t, q, 1000 + t * 10 + q);
            struct buf whole = {0};
            struct record r;
            store_write(store);
            EXPECT(wait_confirmed(p.log_end), "an append is not confirmed");
            const struct original *o = original_of(t, q, p.queue_offset);
            EXPECT(!o || !o->served, "%s-%d: offset %lld is given out again", topic_names[t], q,
                   (long long)p.queue_offset);
            EXPECT(store_read_record(store, p.log_offset, &whole, &r) == 0, "it cannot be read");
            remember_as(t, &r, buf_bytes(&whole));
            buf_destroy(&whole);
        }
    }
}

/* --- one case --- */

static void set_case(uint64_t seed, enum state state)
{
    random_state = seed;
    case_text[0] = '\0';
    say("TERN_HOSTILE_SEED=%llu, %s:", (unsigned long long)seed, state_names[state]);
}

static void on_crash(int number)
{
    ssize_t ignored = write(STDOUT_FILENO, case_text, strlen(case_text));

    (void)ignored;
    signal(number, SIG_DFL);
    raise(number);
}

enum verdict { MUST_OPEN, MAY_REFUSE, MUST_REFUSE };

/* Opens what is there; false when that is refused, with a sentence that names the file. */
static bool opens(enum verdict verdict)
{
    struct metadata_options m = {.root_dir = dir, .export_interval_ms = 1000};
    struct err err = {0};
    int r = metadata_open(&metadata, &m, &err);

    if (r == 0) {
        options.metadata = metadata;
        r = store_open(&store, &options, &err);
        if (r < 0)
            metadata_close(metadata);
    }
    if (r < 0) {
        EXPECT(verdict != MUST_OPEN, "refused: %s", err.text);
        EXPECT(strstr(err.text, dir) && strlen(err.text) > strlen(dir) + 10,
               "refused without naming a file: %s", err.text);
        return false;
    }
    ck_assert_int_eq(metadata_start(metadata, &err), 0);
    EXPECT(verdict != MUST_REFUSE, "opened");
    return true;
}

/* Opens what is there and looks at all of it, now and after the next start. */
static void judge(enum verdict verdict, enum kind kind, bool again)
{
    if (getenv("TERN_HOSTILE_SEED"))
        fprintf(stderr, "%s\n", case_text);
    find_lost();
    if (!opens(verdict))
        return;
    read_all();
    if (again) {
        look_up(kind != INDEX);
        append_some();
    }
    EXPECT(close_store() == 0, "the stop was not clean");
    if (!again)
        return;
    say(" (second start)");
    for (size_t i = 0; i < original_count; i++)
        originals[i].served = false;
    (void)opens(MUST_OPEN);
    read_all();
    EXPECT(close_store() == 0, "the stop was not clean");
    forget_appended();
}

/* Names and sizes are told by a sentence, and so is metadata that cannot be read. */
static enum verdict verdict_on(enum kind kind, enum harm harm)
{
    if (kind == LOG && (harm == GROW || harm == STRAY))
        return MUST_REFUSE;
    if (kind == META || kind == CONFIG || (kind == LOG && (harm == CUT_OFF || harm == DELETE)) ||
        (kind == QUEUE && (harm == GROW || harm == STRAY)))
        return MAY_REFUSE;
    return MUST_OPEN;
}

static void one_case(uint64_t seed, enum state state, enum kind kind)
{
    enum harm harm;
    bool again;

    set_case(seed, state);
    harm = (enum harm)random_below(HARMS);
    again = random_below(4) == 0;
    options.scrub_bytes_s =
        random_below(4) == 0 ? 1 << 30 : 0; /* it may come first, or not at all */
    image_put(&image);
    if (!do_harm(&image, &earlier, kind, harm))
        return;
    if (state == CLEAN && random_below(4) == 0) { /* as if it had been killed right after that */
        say(" abort");
        ck_assert_int_eq(abort_create(in_dir("abort")), 0);
    }
    judge(verdict_on(kind, harm), kind, again);
}

static int cases_wanted(void)
{
    const char *text = getenv("TERN_HOSTILE_CASES");
    int cases = 60;

#if defined(__SANITIZE_ADDRESS__)
    cases = 20;
#elif defined(__SANITIZE_THREAD__)
    cases = 4;
#endif
    return getenv("TERN_HOSTILE_SEED") ? 1 : text ? atoi(text) : cases;
}

/* TERN_HOSTILE_SEED=state * KINDS + kind, and six digits. */
enum { SEEDS = 1000000 };

static void run_cases(enum state state, enum kind kind)
{
    const char *text = getenv("TERN_HOSTILE_SEED");
    uint64_t first = ((uint64_t)state * KINDS + (uint64_t)kind) * SEEDS, only = 0;

    if (text)
        only = strtoull(text, NULL, 10);
    if (text && only / SEEDS != first / SEEDS)
        return;
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGABRT, on_crash);
    if (text)
        log_set_level(LOG_LEVEL_INFO);
    image_put(&image);
    set_case(first, state);
    say(" nothing was damaged");
    judge(MUST_OPEN, KINDS, true);
    for (uint64_t i = 0; i < (uint64_t)cases_wanted(); i++)
        one_case(text ? only : first + i, state, kind);
}

#define STATE_TEST(state)                                                                          \
    static void build_##state(void)                                                                \
    {                                                                                              \
        build(state);                                                                              \
    }                                                                                              \
    START_TEST(damage_is_found_or_does_no_harm_##state)                                            \
    {                                                                                              \
        run_cases(state, (enum kind)_i);                                                           \
    }                                                                                              \
    END_TEST

STATE_TEST(CLEAN)
STATE_TEST(KILLED)
STATE_TEST(CHECKPOINTED)
STATE_TEST(FRONTLESS)
STATE_TEST(FOREIGN)

static void end(void)
{
    fixture_end();
}

/* A state is built once, in the process that all its cases are forked from. */
static void add_state(Suite *s, enum state state, void (*prepare)(void), const TTest *test)
{
    TCase *cases = tcase_create(state_names[state]);

    tcase_add_unchecked_fixture(cases, prepare, end);
    tcase_add_loop_test(cases, test, 0, KINDS);
    suite_add_tcase(s, cases);
}

static Suite *suite(void)
{
    Suite *s = suite_create("hostile files");

    add_state(s, CLEAN, build_CLEAN, damage_is_found_or_does_no_harm_CLEAN);
    add_state(s, KILLED, build_KILLED, damage_is_found_or_does_no_harm_KILLED);
    add_state(s, CHECKPOINTED, build_CHECKPOINTED, damage_is_found_or_does_no_harm_CHECKPOINTED);
    add_state(s, FRONTLESS, build_FRONTLESS, damage_is_found_or_does_no_harm_FRONTLESS);
    add_state(s, FOREIGN, build_FOREIGN, damage_is_found_or_does_no_harm_FOREIGN);
    return s;
}

UNIT_MAIN(suite)
