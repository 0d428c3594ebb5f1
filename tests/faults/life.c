/* life.c - see life.h: the driver. */
#include "life.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/metadata_internal.h"
#include "broker/store/properties.h"
#include "broker/store/store_internal.h"
#include "turns.h"

enum {
    BATCH_MAX = 50,
    BATCH_BODY_MAX = 200,
    RECORD_MOST = 1300, /* of a batch */
    DELAY_LEVELS = 2,
    CONFIRM_TRIES = 400,
    BUSY_MS = 30,
};
static const int64_t delay_ms[DELAY_LEVELS] = {1000, 5000};

const char *life_topic_name(int i)
{
    static const char *const names[LIFE_TOPICS] = {"T0", "T1", "T2", "%RETRY%G0",
                                                   "SCHEDULE_TOPIC_XXXX"};

    return names[i];
}

const char *life_group_name(int i)
{
    static const char *const names[LIFE_GROUPS] = {"G0", "G1", "G2"};

    return names[i];
}

void life_offset_place(int i, int *topic, int *group, int32_t *queue_id)
{
    *topic = i % 3;
    *group = i % LIFE_GROUPS;
    *queue_id = i / 2 * 5;
}

size_t life_now(const struct life *l)
{
    return l->disk ? disk_events(l->disk) : 0;
}

struct life_options life_options_drawn(struct random *r)
{
    bool cuts = random_chance(r, 40);

    static const int64_t segments[] = {8192, 16384, 65536};
    static const int64_t queue_files[] = {400, 2000, 10240};

    return (struct life_options){
        .sync_flush = random_chance(r, 55),
        .segment_bytes = segments[random_below(r, 3)],
        .queue_file_bytes = queue_files[random_below(r, 3)],
        .flush_interval_ms = random_chance(r, 50) ? 10 : 500,
        .queue_memory = random_chance(r, 25) ? 16384 : 1 << 20,
        .body_max = random_chance(r, 30) ? 3000 : 300,
        .journal_bytes = random_chance(r, 60) ? 1500 : 1 << 20,
        .steps = (int)random_in(r, 40, 160),
        .batch_percent = random_chance(r, 30) ? 70 : 15,
        .dense_percent = random_chance(r, 30) ? 80 : 0,
        .index = random_chance(r, 30),
        .keep_bytes = random_chance(r, 25) ? 40000 : 0,
        .restart_percent = (unsigned)random_in(r, 0, cuts ? 8 : 4),
        .cut_percent = cuts ? 60 : 0,
        .topic_percent = random_chance(r, 50) ? 2 : 12,
    };
}

/* --- what stands in a message --- */

void life_body(uint64_t id, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t word = random_of(id, i, 0) | 0x0101010101010101;
        memcpy(to + i, &word, len - i < 8 ? len - i : 8);
    }
}

size_t life_properties(uint64_t id, char *to, size_t size, int delay_level)
{
    int n = snprintf(to, size, "UNIQ_KEY\1%016llX\2TAGS\1Tag%llu", (unsigned long long)id,
                     (unsigned long long)(id % 3));

    if (delay_level > 0)
        n += snprintf(to + n, size - (size_t)n, "\2DELAY\1%d", delay_level);
    if (id % 5 == 0) {
        n += snprintf(to + n, size - (size_t)n, "\2note\1");
        for (uint64_t i = 0; i < id % 700; i++)
            to[n++] = (char)('a' + (id + i) % 26);
    }
    return (size_t)n;
}

/* --- what was promised --- */

static void note_mark(struct life *l)
{
    struct life_mark mark = {.at = life_now(l)};

    if (l->store) {
        mark.confirmed = store_confirmed(l->store);
        mark.flushed = store_flushed(l->store);
    } else if (l->mark_count > 0) {
        mark.confirmed = l->marks[l->mark_count - 1].confirmed;
        mark.flushed = l->marks[l->mark_count - 1].flushed;
    }
    mark.durable = l->metadata ? metadata_durable(l->metadata) : 0;
    if (!l->metadata && l->mark_count > 0)
        mark.durable = l->marks[l->mark_count - 1].durable;
    if (l->mark_count == l->mark_room) {
        l->mark_room = l->mark_room ? l->mark_room * 2 : 64;
        l->marks = reallocarray(l->marks, l->mark_room, sizeof(*l->marks));
        assert(l->marks);
    }
    l->marks[l->mark_count++] = mark;
}

static void on_mark(void *ctx)
{
    struct life *l = ctx;

    if (l->metadata && l->store)
        note_mark(l);
}

struct life_value *life_note_value(struct life *l, struct life_thing *t, int64_t value,
                                   uint64_t sequence)
{
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 16;
        t->values = reallocarray(t->values, (size_t)t->room, sizeof(*t->values));
        assert(t->values);
    }
    t->values[t->count] = (struct life_value){
        .value = value,
        .sequence = sequence,
        .ms = turns_now_ms(),
        .at = life_now(l),
        .noted_at = life_now(l),
        .undone_at = SIZE_MAX,
        .settled_at = SIZE_MAX,
    };
    return &t->values[t->count++];
}

/* --- beginning and end --- */

void life_init(struct life *l, const struct life_options *options, const char *root,
               struct disk *disk, uint64_t seed)
{
    *l = (struct life){.options = *options, .disk = disk, .lock = -1, .next_id = 1};
    l->random.state = seed;
    snprintf(l->root, sizeof(l->root), "%s", root);
    for (int i = 0; i < LIFE_THINGS; i++)
        life_note_value(l, &l->things[i], LIFE_NONE, 0)->settled_at = 0;
}

void life_resume(struct life *l, const struct life *from, size_t events, const char *root,
                 struct disk *disk, uint64_t seed)
{
    struct life_mark mark = life_mark_at(from, events);

    life_init(l, &from->options, root, disk, seed);
    l->plant = from->plant;
    l->next_id = from->next_id + 1000000;
    l->timeless = l->quiet = l->after_cut = true;
    for (int i = 0; i < LIFE_THINGS; i++) {
        const struct life_thing *old = &from->things[i];

        l->things[i].count = 0;
        for (int k = 0; k < old->count && old->values[k].at <= events; k++) {
            struct life_value v = old->values[k],
                              *to = life_note_value(l, &l->things[i], v.value, 0);

            to->sequence = v.noted_at <= events ? v.sequence : UINT64_MAX;
            to->ms = v.ms;
            to->undone_at = v.undone_at <= events ? 0 : SIZE_MAX;
            if (v.undone_at > events && (v.settled_at <= events ||
                                         (!from->timeless && v.sequence == 0 &&
                                          v.ms + LIFE_SECOND_MS <= disk_time(from->disk, events))))
                to->settled_at = 0;
        }
    }
    for (size_t i = 0; i < from->message_count; i++) {
        struct life_message m = from->messages[i];

        if (m.at > events || m.gone_at <= events)
            continue;
        m.at = 0;
        m.gone_at = SIZE_MAX;
        if (l->message_count == l->message_room) {
            l->message_room = l->message_room ? l->message_room * 2 : 256;
            l->messages = reallocarray(l->messages, l->message_room, sizeof(*l->messages));
            assert(l->messages);
        }
        l->messages[l->message_count++] = m;
    }
    for (int i = 0; i < from->cut_count; i++) {
        const struct life_cut *cut = &from->cuts[i];

        if (cut->at <= events && events < cut->done_at) {
            l->cuts[l->cut_count++] = (struct life_cut){.to = cut->to, .done_at = SIZE_MAX};
            l->cutting = true;
        }
    }
    mark.at = 0;
    l->marks = malloc(sizeof(mark));
    assert(l->marks);
    l->marks[0] = mark;
    l->mark_count = l->mark_room = 1;
}

void life_destroy(struct life *l)
{
    for (int i = 0; i < LIFE_THINGS; i++)
        free(l->things[i].values);
    free(l->messages);
    free(l->marks);
}

/* --- starting and stopping --- */

static void give_up(struct life *l)
{
    if (l->metadata)
        (void)metadata_close(l->metadata);
    l->metadata = NULL;
    if (l->lock >= 0)
        store_unlock(l->lock);
    l->lock = -1;
}

/* Never full. */
static int much_space(const char *path, struct file_space *out)
{
    (void)path;
    *out = (struct file_space){
        .total = UINT64_C(1) << 40, .used = UINT64_C(1) << 30, .usable = UINT64_C(1) << 39};
    return 0;
}

static int start(struct life *l, struct err *err)
{
    struct metadata_options m = {
        .root_dir = l->root, .on_durable = on_mark, .ctx = l, .export_interval_ms = 1000};
    struct store_options o = {
        .root_dir = l->root,
        .segment_bytes = l->options.segment_bytes,
        .queue_file_bytes = l->options.queue_file_bytes,
        .sync_flush = l->options.sync_flush,
        .flush_interval_ms = l->options.flush_interval_ms,
        .record_crc = true,
        .message_max = LIFE_BODY_MAX,
        .tail_bytes = 65536,
        .queue_memory = l->options.queue_memory,
        .queue_descriptors = 6,
        .reader_threads = 1,
        .locked = true,
        .store_host = {.ip = {127, 0, 0, 1}, .port = 10911},
        .delay_ms = {delay_ms[0], delay_ms[1]},
        .delay_levels = DELAY_LEVELS,
        .index = l->options.index,
        .index_shape = {.slots = 32, .entries_max = 50},
        .retention = {.rules = {.reserved_ms = INT64_C(1) << 50,
                                .expired_percent = 100,
                                .forced_percent = 100,
                                .refuse_percent = 100,
                                .log_bytes_max = l->options.keep_bytes},
                      .round_ms = 1000,
                      .segment_pause_ms = 10,
                      .queue_pause_ms = 10,
                      .segments_max = 10},
        .space = much_space,
        .on_progress = on_mark,
        .ctx = l,
    };
    int r;

    if (l->cutting) {
        o.cut.on = true;
        o.cut.to = l->cuts[l->cut_count - 1].to;
    }
    *err = (struct err){0};
    l->lock = store_lock(l->root, err);
    if (l->lock < 0)
        return l->lock;
    r = metadata_open(&l->metadata, &m, err);
    if (r < 0) {
        l->metadata = NULL;
        give_up(l);
        return r;
    }
    l->metadata->journal.min_bytes = l->options.journal_bytes;
    o.metadata = l->metadata;
    r = store_open(&l->store, &o, err);
    if (r == 0 && !l->quiet)
        r = metadata_start(l->metadata, err);
    if (r < 0) {
        if (l->store)
            (void)store_close(l->store);
        l->store = NULL;
        give_up(l);
        return r;
    }
    return 0;
}

int life_try_open(struct life *l, struct err *err)
{
    int r;

    if (!l->opening)
        l->opening_at = life_now(l);
    recorder_opening(true);
    r = start(l, err);
    recorder_opening(false);
    l->opening = r < 0;
    if (r < 0)
        return r;
    memset(l->deleting, 0, sizeof(l->deleting));
    l->starts++;
    life_settle(l);
    if (l->cutting)
        l->cuts[l->cut_count - 1].done_at = life_now(l);
    l->cutting = false;
    note_mark(l);
    life_verify(l);
    return 0;
}

void life_open(struct life *l)
{
    struct err err;

    if (life_try_open(l, &err) < 0)
        life_fail("it does not start: %s", err.text);
}

static int close_all(struct life *l)
{
    bool deleting = false;
    int r, m;

    for (int i = 0; i < LIFE_TOPICS; i++)
        deleting |= l->deleting[i];

    l->written_at_end = store_written(l->store);
    r = store_close(l->store);
    if (r == -EBUSY && deleting)
        r = 0; /* the next start has to look which of the two there are */
    l->store = NULL;
    m = metadata_close(l->metadata);
    l->metadata = NULL;
    store_unlock(l->lock);
    l->lock = -1;
    return r < 0 ? r : m;
}

int life_stop(struct life *l)
{
    store_write(l->store);
    return close_all(l);
}

void life_kill(struct life *l)
{
    recorder_dead(true);
    (void)close_all(l);
    recorder_dead(false);
}

/* --- messages --- */

/* As the broker does: a topic that is not there is made, and nobody waits for its journal. */
static struct topic *topic_for_send(struct life *l, int i)
{
    struct bytes name = bytes_str(life_topic_name(i));
    struct topic *topic = metadata_topic(l->metadata, name, NULL);
    struct topic_config config = {
        .read_queues = LIFE_QUEUES, .write_queues = LIFE_QUEUES, .perm = PERM_READ | PERM_WRITE};
    uint64_t sequence = 0;

    if (topic)
        return topic;
    if (l->deleting[i])
        return NULL;
    config.sys_flag = (int32_t)l->next_id++;
    if (metadata_topic_put(l->metadata, name, &config, store_end(l->store), &sequence, NULL,
                           &topic) < 0)
        return NULL;
    life_note_value(l, life_topic(l, i), config.sys_flag, sequence);
    return topic;
}

static void note_message(struct life *l, const struct life_message *m)
{
    if (l->message_count == l->message_room) {
        l->message_room = l->message_room ? l->message_room * 2 : 256;
        l->messages = reallocarray(l->messages, l->message_room, sizeof(*l->messages));
        assert(l->messages);
    }
    l->messages[l->message_count++] = *m;
}

static size_t body_length(struct life *l)
{
    size_t most = (size_t)l->options.segment_bytes - LIFE_PROPERTIES_SIZE - 400;

    if (random_chance(&l->random, 4))
        return 1 + random_below(&l->random, most < LIFE_BODY_MAX ? most : LIFE_BODY_MAX);
    return 1 + random_below(&l->random, l->options.body_max);
}

static enum store_outcome append(struct life *l, int topic, int32_t queue_id, int count)
{
    static uint8_t bodies[LIFE_BODY_MAX];
    static char properties[BATCH_MAX][LIFE_PROPERTIES_SIZE];
    struct store_message messages[BATCH_MAX];
    struct store_position positions[BATCH_MAX];
    struct life_message notes[BATCH_MAX];
    struct topic *to = topic_for_send(l, topic);
    int level = topic == LIFE_TOPICS - 1 ? queue_id + 1 : 0;
    size_t at = life_now(l);
    const char *full;
    int r;

    if (!to)
        return STORE_BUSY;
    for (int i = 0; i < count; i++) {
        struct store_message *m = &messages[i];
        uint64_t id = l->next_id++;
        size_t len = count == 1 ? body_length(l) : 1 + random_below(&l->random, BATCH_BODY_MAX);
        uint8_t *body = bodies + i * BATCH_BODY_MAX;

        life_body(id, body, len);
        *m = (struct store_message){
            .topic = to,
            .queue_id = queue_id,
            .born_ms = 1700000000000,
            .born_host = {.ip = {127, 0, 0, 1}, .port = 40000},
            .body = bytes_of(body, len),
            .delay_level = level,
        };
        m->properties = bytes_of(properties[i],
                                 life_properties(id, properties[i], LIFE_PROPERTIES_SIZE, level));
        m->tags_code = properties_tags_code(properties_find(m->properties, BYTES_LIT("TAGS")));
        if (count == 1 && random_chance(&l->random, 3))
            m->sys_flag = RECORD_TRANSACTION_PREPARED;
        notes[i] = (struct life_message){
            .id = id,
            .topic = topic,
            .made = life_topic(l, topic)->count - 1,
            .queue_id = queue_id,
            .queued = m->sys_flag == 0,
            .tags_code = m->tags_code,
            .body_len = len,
            .at = at,
            .gone_at = SIZE_MAX,
        };
    }
    r = store_append(l->store, messages, (size_t)count, positions, &full);
    for (int i = 0; i < count && r == 0; i++) {
        notes[i].log_offset = positions[i].log_offset;
        notes[i].log_end = positions[i].log_end;
        notes[i].queue_offset = positions[i].queue_offset;
        if (level > 0)
            notes[i].tags_code = positions[i].store_ms + delay_ms[level - 1];
        note_message(l, &notes[i]);
    }
    return (enum store_outcome)r;
}

static enum store_outcome append_somewhere(struct life *l, int topic)
{
    int32_t queues = topic == LIFE_TOPICS - 1 ? DELAY_LEVELS : LIFE_QUEUES;
    int64_t most = l->options.segment_bytes / RECORD_MOST;
    int count = 1;

    if (random_chance(&l->random, l->options.batch_percent))
        count = (int)random_in(&l->random, 2, most < BATCH_MAX ? most : BATCH_MAX);
    if (random_chance(&l->random, l->options.dense_percent)) {
        topic = 0;
        queues = 1;
    }
    return append(l, topic, (int32_t)random_below(&l->random, (uint64_t)queues), count);
}

bool life_append(struct life *l, int count)
{
    for (int i = 0, tries = 0; i < count; tries++) {
        enum store_outcome r = append_somewhere(l, i % LIFE_TOPICS);

        if (r == 0) {
            i++;
        } else if (r == STORE_BUSY && tries < CONFIRM_TRIES) {
            store_write(l->store); /* entries wait for their records to be flushed */
            turns_sleep_ms(BUSY_MS);
        } else {
            return false;
        }
    }
    return true;
}

bool life_confirm(struct life *l)
{
    for (int i = 0; i < CONFIRM_TRIES; i++) {
        store_write(l->store);
        if (store_confirmed(l->store) == store_end(l->store))
            return true;
        if (store_stopped(l->store, NULL))
            return false;
        turns_sleep_ms(BUSY_MS);
    }
    life_fail("nothing is confirmed: confirmed %llu, flushed %llu, written %llu, end %llu",
              (unsigned long long)store_confirmed(l->store),
              (unsigned long long)store_flushed(l->store),
              (unsigned long long)store_written(l->store), (unsigned long long)store_end(l->store));
}

/* --- the other steps --- */

/* Known to be under way before it is done: a power cut may come in between. */
static void delete_topic(struct life *l, int i)
{
    struct life_thing *things[1 + LIFE_OFFSETS] = {life_topic(l, i)};
    int values[1 + LIFE_OFFSETS], count = 1, of, group, r;
    uint64_t sequence = UINT64_MAX;
    int32_t queue_id;

    for (int o = 0; o < LIFE_OFFSETS; o++) {
        life_offset_place(o, &of, &group, &queue_id);
        if (of == i)
            things[count++] = life_offset(l, o);
    }
    for (int k = 0; k < count; k++) {
        life_note_value(l, things[k], LIFE_NONE, sequence);
        values[k] = things[k]->count - 1;
    }
    r = store_delete_topic(l->store, bytes_str(life_topic_name(i)), &sequence);
    if (r < 0 && r != -ETIMEDOUT)
        life_fail("topic %s cannot be deleted: %s", life_topic_name(i), strerror(-r));
    for (int k = 0; k < count; k++)
        things[k]->values[values[k]].sequence = sequence;
    l->deleting[i] = r < 0;
}

void life_change_topic(struct life *l)
{
    int i = (int)random_below(&l->random, LIFE_TOPICS - 1);
    struct bytes name = bytes_str(life_topic_name(i));
    struct topic *topic = metadata_topic(l->metadata, name, NULL);
    struct topic_config config = {
        .read_queues = LIFE_QUEUES, .write_queues = LIFE_QUEUES, .perm = PERM_READ | PERM_WRITE};
    uint64_t sequence = 0;

    if ((topic || l->deleting[i]) && random_chance(&l->random, 60)) {
        delete_topic(l, i);
        return;
    }
    if (!topic && l->deleting[i])
        return;
    config.sys_flag = (int32_t)l->next_id++;
    if (metadata_topic_put(l->metadata, name, &config, store_end(l->store), &sequence, NULL,
                           NULL) == 0)
        life_note_value(l, life_topic(l, i), config.sys_flag, sequence);
}

void life_change_group(struct life *l)
{
    int i = (int)random_below(&l->random, LIFE_GROUPS);
    struct bytes name = bytes_str(life_group_name(i));
    struct group_config config = group_config_default();
    uint64_t sequence = 0;

    if (random_chance(&l->random, 30)) {
        if (metadata_group_delete(l->metadata, name, false, &sequence) == 0)
            life_note_value(l, life_group(l, i), LIFE_NONE, sequence);
        return;
    }
    config.retry_max_times = (int32_t)l->next_id++;
    if (metadata_group_put(l->metadata, name, &config, &sequence, NULL) == 0)
        life_note_value(l, life_group(l, i), config.retry_max_times, sequence);
}

void life_commit_offset(struct life *l)
{
    int i = (int)random_below(&l->random, LIFE_OFFSETS), topic, group;
    int64_t value = (int64_t)l->next_id++;
    int32_t queue_id;

    life_offset_place(i, &topic, &group, &queue_id);
    if (metadata_offset_commit(l->metadata, bytes_str(life_topic_name(topic)),
                               bytes_str(life_group_name(group)), queue_id, value) == 0)
        life_note_value(l, life_offset(l, i), value, 0);
}

void life_move_delay(struct life *l)
{
    int i = (int)random_below(&l->random, LIFE_DELAYS);
    int64_t value = (int64_t)l->next_id++;

    if (metadata_delay_set(l->metadata, i + 1, value) == 0)
        life_note_value(l, life_delay(l, i), value, 0);
}

/* A place that the log may be cut at: where one of its newer messages begins, usually. The segments
 * before stay, whatever retention does until then. */
static bool choose_cut(struct life *l, uint64_t *to)
{
    uint64_t end = store_end(l->store), min = store_min(l->store);
    uint64_t reach = 2 * (uint64_t)l->options.segment_bytes;
    const struct life_message *m;

    if (l->cut_count == LIFE_CUTS || l->message_count == 0 ||
        !random_chance(&l->random, l->options.cut_percent))
        return false;
    if (l->options.keep_bytes > 0 && end > reach)
        min = end - reach > min ? end - reach : min;
    for (int tries = 0; tries < 20; tries++) {
        m = &l->messages[l->message_count - 1 -
                         random_below(&l->random, l->message_count < 60 ? l->message_count : 60)];
        if (m->gone_at != SIZE_MAX || m->log_offset < min || m->log_end > end)
            continue;
        *to = random_chance(&l->random, 80) ? m->log_offset
              : random_chance(&l->random, 50)
                  ? m->log_end
                  : m->log_offset + random_below(&l->random, m->log_end - m->log_offset);
        return true;
    }
    return false;
}

void life_tell_cut(struct life *l, uint64_t to)
{
    struct life_mark *mark;

    note_mark(l);
    mark = &l->marks[l->mark_count - 1];
    if (mark->confirmed > to)
        mark->confirmed = to;
    if (mark->flushed > to)
        mark->flushed = to;
    l->written_at_end = 0; /* settle_log() knows what has to be there */
    l->cuts[l->cut_count++] = (struct life_cut){to, life_now(l), SIZE_MAX};
    l->cutting = l->shortened = true;
}

static void start_again(struct life *l)
{
    struct err err;

    for (int tries = 0; life_try_open(l, &err) < 0; tries++) {
        /* A sync that fails once may keep it from starting; the next try must not. */
        if (!recorder_failed()[0] || tries > 0)
            life_fail("it does not start again: %s", err.text);
    }
}

static void restart(struct life *l)
{
    uint64_t to;
    bool cut = choose_cut(l, &to);

    if (random_chance(&l->random, 50))
        life_kill(l);
    else if (life_stop(l) < 0 && !recorder_failed()[0])
        life_fail("it does not stop cleanly");
    if (recorder_failed()[0] && l->disk && random_chance(&l->random, 50)) {
        l->forgot = true;
        disk_forget(l->disk, l->root);
    }
    if (cut)
        life_tell_cut(l, to);
    start_again(l);
    l->forgot = false;
}

static void step(struct life *l)
{
    unsigned what = (unsigned)random_below(&l->random, 100);

    if (store_stopped(l->store, NULL) || what < l->options.restart_percent) {
        restart(l);
    } else if (what < 4 + l->options.topic_percent) {
        life_change_topic(l);
    } else if (what < 20) {
        switch (random_below(&l->random, 5)) {
        case 0:
            life_change_group(l);
            break;
        case 1:
            life_move_delay(l);
            break;
        default:
            life_commit_offset(l);
        }
    } else if (what < 32) {
        unsigned how_long = (unsigned)random_below(&l->random, 100);
        turns_sleep_ms(how_long < 60   ? random_in(&l->random, 0, 30)
                       : how_long < 94 ? random_in(&l->random, 200, 2500)
                                       : random_in(&l->random, 20000, 70000));
    } else if (what < 50) {
        store_write(l->store);
    } else if (what < 53) {
        (void)life_confirm(l);
    } else {
        int topic = (int)random_below(&l->random, LIFE_TOPICS);
        enum store_outcome r = append_somewhere(l, topic);

        if (r == STORE_BUSY || r == STORE_NO_SPACE)
            turns_sleep_ms(BUSY_MS);
        else if (r == STORE_ILLEGAL)
            life_fail("a message that is fine was refused");
    }
}

void life_run(struct life *l)
{
    start_again(l);
    for (int i = 0; i < l->options.steps; i++)
        step(l);
    if (random_chance(&l->random, 50))
        (void)life_stop(l);
    else
        life_kill(l);
}
