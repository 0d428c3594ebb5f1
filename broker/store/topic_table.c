/* topic_table.c - topics by name and by index. Entries are never freed or moved before the end: a
 * deleted topic keeps its place, its name and the log floor that hides its old records, and is used
 * again when the name comes back.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/log.h"

/* Letters of topic and group names; nothing else may become part of a path. */
static const bool name_letters[256] = {
    ['%'] = true, ['-'] = true,         ['0' ... '9'] = true, ['A' ... 'Z'] = true,
    ['_'] = true, ['a' ... 'z'] = true, ['|'] = true,
};

static bool name_ok(struct bytes name, size_t max)
{
    if (name.len == 0 || name.len > max)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (!name_letters[name.at[i]])
            return false;
    }
    return true;
}

bool topic_name_ok(struct bytes name)
{
    return name_ok(name, TOPIC_NAME_MAX);
}

bool group_name_ok(struct bytes name)
{
    return name_ok(name, GROUP_NAME_MAX);
}

bool topic_config_ok(const struct topic_config *config)
{
    const int32_t bits = PERM_INHERIT | PERM_WRITE | PERM_READ | PERM_PRIORITY;

    return config->read_queues >= 0 && config->read_queues <= TOPIC_QUEUES_MAX &&
           config->write_queues >= 0 && config->write_queues <= TOPIC_QUEUES_MAX &&
           (config->perm & ~bits) == 0;
}

static bool config_equal(const struct topic_config *a, const struct topic_config *b)
{
    return a->read_queues == b->read_queues && a->write_queues == b->write_queues &&
           a->perm == b->perm && a->sys_flag == b->sys_flag && a->order == b->order &&
           a->multi_tag == b->multi_tag;
}

int topic_table_init(struct topic_table *t)
{
    pthread_rwlockattr_t attr;
    int r = pthread_rwlockattr_init(&attr);

    STAILQ_INIT(&t->dirty);
    if (r != 0)
        return -r;
    /* Lookups never nest, and a steady stream of them must not keep a change out. */
    r = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (r == 0)
        r = pthread_rwlock_init(&t->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    return -r;
}

void topic_table_destroy(struct topic_table *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        free(t->entries[i]->extra);
        free(t->entries[i]);
    }
    free(t->entries);
    name_table_destroy(&t->names);
    (void)pthread_rwlock_destroy(&t->lock);
}

static bool same_name(const void *item, const void *key)
{
    const struct topic_entry *e = item;
    const struct bytes *name = key;

    return e->topic.name_len == name->len && memcmp(e->topic.name, name->at, name->len) == 0;
}

static struct topic_entry *find(const struct metadata *m, struct bytes name)
{
    if (name.len == 0)
        return NULL;
    return name_table_find(&m->topics.names, name_hash(m->hash_seed, name), same_name, &name);
}

static struct bytes extra_of(const struct topic_entry *e)
{
    return bytes_of(e->extra, e->extra_len);
}

/* --- lookups --- */

struct topic *metadata_topic(struct metadata *m, struct bytes name, struct topic_config *config)
{
    struct topic *found = NULL;
    struct topic_entry *e;

    pthread_rwlock_rdlock(&m->topics.lock);
    e = find(m, name);
    if (e && !e->topic.deleted) {
        found = &e->topic;
        if (config)
            *config = e->topic.config;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    return found;
}

struct topic *metadata_topic_at(struct metadata *m, uint32_t index)
{
    struct topic *found = NULL;

    pthread_rwlock_rdlock(&m->topics.lock);
    if (index < m->topics.count)
        found = &m->topics.entries[index]->topic;
    pthread_rwlock_unlock(&m->topics.lock);
    return found;
}

uint32_t metadata_topic_count(struct metadata *m)
{
    uint32_t count;

    pthread_rwlock_rdlock(&m->topics.lock);
    count = m->topics.count;
    pthread_rwlock_unlock(&m->topics.lock);
    return count;
}

uint64_t metadata_topic_floor(struct metadata *m, struct bytes name)
{
    uint64_t floor = 0;
    const struct topic_entry *e;

    pthread_rwlock_rdlock(&m->topics.lock);
    e = find(m, name);
    if (e)
        floor = e->topic.log_floor;
    pthread_rwlock_unlock(&m->topics.lock);
    return floor;
}

struct data_version metadata_topics_version(struct metadata *m)
{
    struct data_version version;

    pthread_rwlock_rdlock(&m->topics.lock);
    version = m->topics.version;
    pthread_rwlock_unlock(&m->topics.lock);
    return version;
}

void topic_table_each(struct metadata *m, void (*each)(void *ctx, const struct topic_entry *entry),
                      void *ctx, struct data_version *version)
{
    pthread_rwlock_rdlock(&m->topics.lock);
    if (version)
        *version = m->topics.version;
    for (uint32_t i = 0; i < m->topics.count; i++) {
        if (!m->topics.entries[i]->topic.deleted)
            each(ctx, m->topics.entries[i]);
    }
    pthread_rwlock_unlock(&m->topics.lock);
}

struct each_topic {
    void (*each)(void *ctx, const struct topic *t, const struct topic_config *c);
    void *ctx;
};

static void each_public(void *ctx, const struct topic_entry *e)
{
    const struct each_topic *to = ctx;

    to->each(to->ctx, &e->topic, &e->topic.config);
}

void metadata_each_topic(struct metadata *m,
                         void (*each)(void *ctx, const struct topic *t,
                                      const struct topic_config *c),
                         void *ctx, struct data_version *version)
{
    struct each_topic to = {each, ctx};

    topic_table_each(m, each_public, &to, version);
}

/* --- what changed --- */

static void set_mark(const struct topic_table *t, struct topics_mark *mark)
{
    *mark = (struct topics_mark){.version = t->version, .change = t->change};
}

void metadata_topics_mark(struct metadata *m, struct topics_mark *mark)
{
    pthread_rwlock_rdlock(&m->topics.lock);
    set_mark(&m->topics, mark);
    pthread_rwlock_unlock(&m->topics.lock);
}

int metadata_topics_since(struct metadata *m, uint64_t since, topic_visit *visit, void *ctx,
                          struct topics_mark *mark)
{
    const struct topic_table *t = &m->topics;
    int r = 0;

    pthread_rwlock_rdlock(&m->topics.lock);
    set_mark(t, mark);
    if (t->all_changed > since)
        r = METADATA_TOO_MUCH;
    for (const struct topic_entry *e = t->latest; e && e->change > since && r == 0; e = e->earlier)
        r = visit(ctx, &e->topic, &e->topic.config) ? 0 : METADATA_TOO_MUCH;
    pthread_rwlock_unlock(&m->topics.lock);
    return r;
}

bool metadata_topics_page(struct metadata *m, uint32_t *index, uint64_t since, topic_visit *visit,
                          void *ctx)
{
    const struct topic_table *t = &m->topics;
    bool more = false;

    pthread_rwlock_rdlock(&m->topics.lock);
    for (; *index < t->count && !more; ++*index) {
        const struct topic_entry *e = t->entries[*index];

        if (!e->topic.deleted || e->change > since)
            more = !visit(ctx, &e->topic, &e->topic.config);
    }
    more = *index < t->count;
    pthread_rwlock_unlock(&m->topics.lock);
    return more;
}

/* --- changes; write lock held --- */

/* An entry that is deleted until its maker says otherwise. */
static int add_entry(struct metadata *m, struct bytes name, struct topic_entry **out)
{
    struct topic_table *t = &m->topics;
    struct topic_entry *e;
    int r;

    if (t->count >= TOPICS_MAX)
        return -ENOSPC;
    if (t->count == t->room) {
        uint32_t room = t->room ? t->room * 2 : 64;
        struct topic_entry **grown = reallocarray(t->entries, room, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        t->entries = grown;
        t->room = room;
    }
    r = name_table_reserve(&t->names);
    if (r < 0)
        return r;
    e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->hash = name_hash(m->hash_seed, name);
    e->topic.index = t->count;
    e->topic.deleted = true;
    e->topic.name_len = (uint8_t)name.len;
    memcpy(e->topic.name, name.at, name.len);
    name_table_add(&t->names, e->hash, e);
    t->entries[t->count++] = e;
    *out = e;
    return 0;
}

/* 0 or -ENOMEM, nothing changed then. */
static int set_extra(struct topic_entry *e, struct bytes extra)
{
    char *copy = NULL;

    if (extra.len > 0) {
        copy = malloc(extra.len);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, extra.at, extra.len);
    }
    free(e->extra);
    e->extra = copy;
    e->extra_len = (uint32_t)extra.len;
    return 0;
}

static void mark_dirty(struct metadata *m, struct topic_entry *e)
{
    struct topic_table *t = &m->topics;

    if (e->dirty)
        return;
    e->dirty = true;
    STAILQ_INSERT_TAIL(&t->dirty, e, next_dirty);
    atomic_fetch_add(&m->pending, 1);
}

/* One change that may concern several entries: they share its sequence and its version. */
static struct metadata_at begin_change(struct metadata *m)
{
    struct topic_table *t = &m->topics;

    t->version_at = metadata_next_at(m);
    t->version_dirty = true;
    t->last_sequence = t->version_at.sequence;
    t->change++;
    metadata_version_move(&t->version);
    return t->version_at;
}

/* The entry is concerned by the change that has begun: it moves to the front of the changed ones.
 */
static void note_change(struct topic_table *t, struct topic_entry *e, struct metadata_at at)
{
    e->at = at;
    if (t->latest != e) {
        if (e->later)
            e->later->earlier = e->earlier;
        if (e->earlier)
            e->earlier->later = e->later;
        e->earlier = t->latest;
        e->later = NULL;
        if (t->latest)
            t->latest->later = e;
        t->latest = e;
    }
    e->change = t->change;
}

static int put_locked(struct metadata *m, struct bytes name, const struct topic_config *config,
                      const struct bytes *extra, uint64_t log_floor, bool *changed,
                      struct topic **topic)
{
    struct topic_entry *e = find(m, name);
    bool live = e && !e->topic.deleted;
    bool extra_differs = false;
    int r;

    if (extra)
        extra_differs = live ? !bytes_equal(extra_of(e), *extra) : extra->len > 0;
    if (live && !extra_differs && config_equal(&e->topic.config, config)) {
        *topic = &e->topic;
        return 0;
    }
    if (e && e->held != TOPIC_FREE)
        return -EBUSY;
    if (!e || !e->dirty) {
        r = metadata_admit(m);
        if (r < 0)
            return r;
    }
    if (!e) {
        r = add_entry(m, name, &e);
        if (r < 0)
            return r;
    }
    if (extra_differs) {
        r = set_extra(e, *extra);
        if (r < 0)
            return r;
    }
    if (!live && log_floor > e->topic.log_floor)
        e->topic.log_floor = log_floor; /* never lower: records of the deleted one stay hidden */
    e->topic.config = *config;
    e->topic.deleted = false;
    note_change(&m->topics, e, begin_change(m));
    mark_dirty(m, e);
    *changed = true;
    *topic = &e->topic;
    return 0;
}

int topic_table_put(struct metadata *m, struct bytes name, const struct topic_config *config,
                    const struct bytes *extra, uint64_t log_floor, uint64_t *sequence,
                    bool *changed, struct topic **topic)
{
    struct topic *put = NULL;
    bool differs = false;
    int r;

    if (!topic_name_ok(name) || !topic_config_ok(config))
        return -EINVAL;
    pthread_rwlock_wrlock(&m->topics.lock);
    r = put_locked(m, name, config, extra, log_floor, &differs, &put);
    if (r == 0 && sequence)
        *sequence = m->topics.last_sequence;
    pthread_rwlock_unlock(&m->topics.lock);
    if (r < 0)
        return r;
    if (differs)
        metadata_wake(m, &m->work_changes);
    if (changed)
        *changed = differs;
    if (topic)
        *topic = put;
    return 0;
}

int metadata_topic_put(struct metadata *m, struct bytes name, const struct topic_config *config,
                       uint64_t log_floor, uint64_t *sequence, bool *changed, struct topic **topic)
{
    return topic_table_put(m, name, config, NULL, log_floor, sequence, changed, topic);
}

/* Write lock held. */
static int delete_locked(struct metadata *m, struct topic_entry *e, uint64_t log_floor)
{
    int r = e->dirty ? 0 : metadata_admit(m);

    if (r < 0)
        return r;
    (void)set_extra(e, (struct bytes){0});
    e->topic.deleted = true;
    if (log_floor > e->topic.log_floor)
        e->topic.log_floor = log_floor;
    note_change(&m->topics, e, begin_change(m));
    mark_dirty(m, e);
    return 0;
}

/* A deletion up to `covered` was noted: what it is durable with. */
static uint64_t deletion_noted(struct metadata *m, struct bytes name, bool with_offsets,
                               uint64_t covered)
{
    if (with_offsets) {
        offset_table_drop(m, name, (struct bytes){0});
        covered = metadata_next_sequence(m); /* durable there: the drops are, too */
    }
    metadata_wake(m, &m->work_changes);
    return covered;
}

int metadata_topic_delete(struct metadata *m, struct bytes name, uint64_t log_floor,
                          bool with_offsets, uint64_t *sequence)
{
    struct topic_entry *e;
    uint64_t covered = 0;
    int r = -ENOENT;

    pthread_rwlock_wrlock(&m->topics.lock);
    e = find(m, name);
    if (e && !e->topic.deleted) {
        r = delete_locked(m, e, log_floor);
        covered = e->at.sequence;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    if (r < 0)
        return r;
    covered = deletion_noted(m, name, with_offsets, covered);
    if (sequence)
        *sequence = covered;
    return 0;
}

int metadata_topic_hold(struct metadata *m, struct bytes name, uint64_t log_floor,
                        bool with_offsets, uint64_t *sequence, struct topic **topic)
{
    struct topic_entry *e;
    uint64_t covered = 0;
    int r = -ENOENT;

    pthread_rwlock_wrlock(&m->topics.lock);
    e = find(m, name);
    if (e && e->held == TOPIC_AT_WORK)
        r = -EBUSY;
    else if (e && !e->topic.deleted)
        r = delete_locked(m, e, log_floor);
    else if (e && e->held == TOPIC_STANDS)
        r = 0;
    if (r == 0) {
        e->held = TOPIC_AT_WORK;
        covered = e->at.sequence;
        *topic = &e->topic;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    if (r == 0)
        *sequence = deletion_noted(m, name, with_offsets, covered);
    return r;
}

void metadata_topic_raise_floor(struct metadata *m, struct topic *topic, uint64_t log_floor,
                                uint64_t *sequence)
{
    bool raised;

    pthread_rwlock_wrlock(&m->topics.lock);
    raised = log_floor > topic->log_floor;
    if (raised) {
        struct topic_entry *e = m->topics.entries[topic->index];

        topic->log_floor = log_floor;
        note_change(&m->topics, e, begin_change(m));
        mark_dirty(m, e);
        if (e->at.sequence > *sequence)
            *sequence = e->at.sequence;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    if (raised)
        metadata_wake(m, &m->work_changes);
}

void metadata_topic_let_go(struct metadata *m, struct topic *topic, bool dropped)
{
    pthread_rwlock_wrlock(&m->topics.lock);
    m->topics.entries[topic->index]->held = dropped ? TOPIC_FREE : TOPIC_STANDS;
    pthread_rwlock_unlock(&m->topics.lock);
}

int metadata_topics_touch(struct metadata *m)
{
    int r;

    pthread_rwlock_wrlock(&m->topics.lock);
    r = metadata_admit(m);
    if (r == 0) {
        begin_change(m);
        m->topics.all_changed = m->topics.change;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    if (r == 0)
        metadata_wake(m, &m->work_changes);
    return r;
}

void topic_table_lead(struct metadata *m, uint64_t epoch)
{
    struct topic_table *t = &m->topics;

    pthread_rwlock_wrlock(&t->lock);
    begin_change(m);
    if ((int64_t)epoch > t->version.state_version)
        t->version.state_version = (int64_t)epoch;
    t->all_changed = t->change;
    pthread_rwlock_unlock(&t->lock);
}

int metadata_topic_touch(struct metadata *m, struct bytes name, uint64_t *sequence)
{
    struct topic_entry *e;
    int r;

    pthread_rwlock_wrlock(&m->topics.lock);
    e = find(m, name);
    r = e && !e->topic.deleted ? metadata_admit(m) : -ENOENT;
    if (r == 0) {
        begin_change(m);
        note_change(&m->topics, e, e->at); /* as it was for the journal */
        *sequence = m->topics.last_sequence;
    }
    pthread_rwlock_unlock(&m->topics.lock);
    if (r == 0)
        metadata_wake(m, &m->work_changes);
    return r;
}

int metadata_topics_set_order(struct metadata *m, const struct bytes *names, size_t count,
                              bool *changed)
{
    struct topic_table *t = &m->topics;
    struct metadata_at at = {0};
    bool any = false;
    uint8_t *named;
    int r;

    pthread_rwlock_wrlock(&t->lock);
    named = calloc(t->count / 8 + 1, 1);
    r = named ? metadata_admit(m) : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct topic_entry *e = find(m, names[i]);
        if (e)
            named[e->topic.index / 8] |= (uint8_t)(1u << e->topic.index % 8);
    }
    for (uint32_t i = 0; r == 0 && i < t->count; i++) {
        struct topic_entry *e = t->entries[i];
        bool order = named[i / 8] >> i % 8 & 1;
        if (e->topic.deleted || e->topic.config.order == order)
            continue;
        if (!any)
            at = begin_change(m);
        any = true;
        e->topic.config.order = order;
        note_change(t, e, at);
        mark_dirty(m, e);
    }
    pthread_rwlock_unlock(&t->lock);
    free(named);
    if (r < 0)
        return r;
    if (any)
        metadata_wake(m, &m->work_changes);
    if (changed)
        *changed = any;
    return 0;
}

bool topic_table_limit_floors(struct metadata *m, uint64_t log_end)
{
    struct topic_table *t = &m->topics;
    bool any = false;

    pthread_rwlock_wrlock(&t->lock);
    for (uint32_t i = 0; i < t->count; i++) {
        struct topic_entry *e = t->entries[i];

        if (e->topic.log_floor <= log_end)
            continue;
        e->topic.log_floor = log_end;
        /* No new data version: nobody outside sees a floor. */
        e->at = metadata_next_at(m);
        t->last_sequence = e->at.sequence;
        mark_dirty(m, e);
        any = true;
    }
    pthread_rwlock_unlock(&t->lock);
    return any;
}

void topic_table_take_version(struct metadata *m, const struct data_version *theirs)
{
    struct topic_table *t = &m->topics;

    pthread_rwlock_wrlock(&t->lock);
    metadata_version_take(&t->version, theirs);
    begin_change(m);
    t->all_changed = t->change;
    pthread_rwlock_unlock(&t->lock);
    metadata_wake(m, &m->work_changes);
}

/* --- from a master --- */

void topic_table_known(struct metadata *m, struct bytes name, struct topic_known *out)
{
    struct topic_entry *e;

    pthread_rwlock_rdlock(&m->topics.lock);
    e = find(m, name);
    *out = (struct topic_known){
        .topic = e ? &e->topic : NULL,
        .live = e && !e->topic.deleted,
        .log_floor = e ? e->topic.log_floor : 0,
    };
    pthread_rwlock_unlock(&m->topics.lock);
}

static int take_locked(struct metadata *m, const struct metadata_record *r, bool stays,
                       bool *changed)
{
    struct topic_entry *e = find(m, r->topic.name);
    bool deleted = r->kind == METADATA_TOPIC_DELETE && !stays;
    bool put = r->kind == METADATA_TOPIC_PUT;
    bool extra_differs = put && !bytes_equal(e ? extra_of(e) : (struct bytes){0}, r->topic.extra);
    int failed;

    if (e && e->topic.deleted == deleted && e->topic.log_floor == r->topic.log_floor &&
        (!put || (!extra_differs && config_equal(&e->topic.config, &r->topic.config))))
        return 0;
    if (e && e->held != TOPIC_FREE)
        return -EAGAIN;
    failed = e && e->dirty ? 0 : metadata_admit(m);
    if (failed == 0 && !e)
        failed = add_entry(m, r->topic.name, &e);
    if (failed == 0 && (extra_differs || deleted))
        failed = set_extra(e, put ? r->topic.extra : (struct bytes){0});
    if (failed < 0)
        return failed;
    if (put)
        e->topic.config = r->topic.config;
    e->topic.deleted = deleted;
    e->topic.log_floor = r->topic.log_floor;
    note_change(&m->topics, e, begin_change(m));
    mark_dirty(m, e);
    *changed = true;
    return 0;
}

int topic_table_take(struct metadata *m, const struct metadata_record *r, bool stays, bool *changed)
{
    bool differs = false;
    int failed;

    pthread_rwlock_wrlock(&m->topics.lock);
    failed = take_locked(m, r, stays, &differs);
    pthread_rwlock_unlock(&m->topics.lock);
    if (differs)
        metadata_wake(m, &m->work_changes);
    *changed = differs;
    return failed;
}

void topic_table_follow_version(struct metadata *m, const struct data_version *theirs)
{
    struct topic_table *t = &m->topics;
    bool moved;

    pthread_rwlock_wrlock(&t->lock);
    moved = metadata_version_follow(&t->version, theirs);
    if (moved) {
        t->version_at = metadata_next_at(m);
        t->version_dirty = true;
        t->last_sequence = t->version_at.sequence;
        t->change++;
    }
    pthread_rwlock_unlock(&t->lock);
    if (moved)
        metadata_wake(m, &m->work_changes);
}

/* --- the journal's side --- */

int topic_table_apply(struct metadata *m, const struct metadata_record *r)
{
    struct topic_table *t = &m->topics;
    struct topic_entry *e;
    struct bytes extra = {0};
    int failed;

    if (r->kind == METADATA_TOPICS_VERSION) {
        if (!metadata_at_before(r->at, t->version_at)) {
            t->version = r->version;
            t->version_at = r->at;
        }
        return 0;
    }
    e = find(m, r->topic.name);
    if (e && metadata_at_before(r->at, e->at))
        return 0;
    if (!e) {
        failed = add_entry(m, r->topic.name, &e);
        if (failed < 0)
            return failed;
    }
    if (r->kind == METADATA_TOPIC_PUT) {
        extra = r->topic.extra;
        if (!metadata_json_extra_ok(extra)) {
            log_warn("the further members of topic %s are no JSON and are left out", e->topic.name);
            extra = (struct bytes){0};
        }
        e->topic.config = r->topic.config;
    }
    failed = set_extra(e, extra);
    if (failed < 0)
        return failed;
    e->topic.deleted = r->kind == METADATA_TOPIC_DELETE;
    e->topic.log_floor = r->topic.log_floor;
    e->at = r->at;
    return 0;
}

/* Write lock held; there is room for one record. */
static void collect_one(struct metadata *m)
{
    struct topic_table *t = &m->topics;
    struct topic_entry *e = STAILQ_FIRST(&t->dirty);

    /* The version first: a crash between the two then leaves a version without its change, which
     * makes name servers look once more, and not a change that nobody looks for. */
    if (t->version_dirty) {
        metadata_put_version(&m->batch, t->version_at, METADATA_TOPICS_VERSION, &t->version);
        t->version_dirty = false;
        return;
    }
    metadata_put_topic(&m->batch, e->at, &e->topic, extra_of(e));
    STAILQ_REMOVE_HEAD(&t->dirty, next_dirty);
    e->dirty = false;
    atomic_fetch_sub(&m->pending, 1);
}

bool topic_table_collect(struct metadata *m)
{
    struct topic_table *t = &m->topics;
    bool more = true;

    while (more && metadata_batch_has_room(m)) {
        pthread_rwlock_wrlock(&t->lock);
        for (int n = 0; n < METADATA_PIECE; n++) {
            more = t->version_dirty || !STAILQ_EMPTY(&t->dirty);
            if (!more || !metadata_batch_has_room(m))
                break;
            collect_one(m);
        }
        pthread_rwlock_unlock(&t->lock);
    }
    return more;
}

bool topic_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count)
{
    struct topic_table *t = &m->topics;
    bool more;

    pthread_rwlock_rdlock(&t->lock);
    if (*at == 0) {
        metadata_put_version(out, t->version_at, METADATA_TOPICS_VERSION, &t->version);
        ++*count;
    }
    for (int n = 0; n < METADATA_PIECE && *at < t->count; n++, ++*at, ++*count) {
        const struct topic_entry *e = t->entries[*at];
        metadata_put_topic(out, e->at, &e->topic, extra_of(e));
    }
    more = *at < t->count;
    pthread_rwlock_unlock(&t->lock);
    return more;
}
