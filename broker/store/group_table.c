/* group_table.c - consumer groups by name. Entries keep their slot in an array while they live, so
 * that a snapshot can walk them in pieces; a deleted one leaves the table at once and is freed when
 * the journal has its deletion.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/log.h"

struct group_config group_config_default(void)
{
    return (struct group_config){
        .consume_enable = true,
        .consume_from_min_enable = true,
        .consume_broadcast_enable = true,
        .notify_ids_changed = true,
        .retry_queues = 1,
        .retry_max_times = 16,
        .broker_id = 0,
        .which_broker_when_slow = 1,
    };
}

static bool config_equal(const struct group_config *a, const struct group_config *b)
{
    return a->consume_enable == b->consume_enable &&
           a->consume_from_min_enable == b->consume_from_min_enable &&
           a->consume_broadcast_enable == b->consume_broadcast_enable &&
           a->notify_ids_changed == b->notify_ids_changed && a->retry_queues == b->retry_queues &&
           a->retry_max_times == b->retry_max_times && a->broker_id == b->broker_id &&
           a->which_broker_when_slow == b->which_broker_when_slow;
}

int group_table_init(struct group_table *t)
{
    pthread_rwlockattr_t attr;
    int r = pthread_rwlockattr_init(&attr);

    STAILQ_INIT(&t->dirty);
    if (r != 0)
        return -r;
    r = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (r == 0)
        r = pthread_rwlock_init(&t->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    return -r;
}

static void free_entry(struct group_entry *e)
{
    if (e)
        free(e->extra);
    free(e);
}

void group_table_destroy(struct group_table *t)
{
    struct group_entry *e;

    while ((e = STAILQ_FIRST(&t->dirty)) != NULL) {
        STAILQ_REMOVE_HEAD(&t->dirty, next_dirty);
        if (e->deleted)
            free_entry(e);
    }
    for (uint32_t i = 0; i < t->slots; i++)
        free_entry(t->entries[i]);
    free(t->entries);
    free(t->free_slots);
    name_table_destroy(&t->names);
    (void)pthread_rwlock_destroy(&t->lock);
}

static bool same_name(const void *item, const void *key)
{
    const struct group_entry *e = item;
    const struct bytes *name = key;

    return e->name_len == name->len && memcmp(e->name, name->at, name->len) == 0;
}

static struct group_entry *find(const struct metadata *m, struct bytes name)
{
    if (name.len == 0)
        return NULL;
    return name_table_find(&m->groups.names, name_hash(m->hash_seed, name), same_name, &name);
}

static struct bytes name_of(const struct group_entry *e)
{
    return bytes_of(e->name, e->name_len);
}

static struct bytes extra_of(const struct group_entry *e)
{
    return bytes_of(e->extra, e->extra_len);
}

/* --- lookups --- */

bool metadata_group(struct metadata *m, struct bytes name, struct group_config *config)
{
    const struct group_entry *e;

    pthread_rwlock_rdlock(&m->groups.lock);
    e = find(m, name);
    if (e && config)
        *config = e->config;
    pthread_rwlock_unlock(&m->groups.lock);
    return e != NULL;
}

struct data_version metadata_groups_version(struct metadata *m)
{
    struct data_version version;

    pthread_rwlock_rdlock(&m->groups.lock);
    version = m->groups.version;
    pthread_rwlock_unlock(&m->groups.lock);
    return version;
}

void group_table_each(struct metadata *m, void (*each)(void *ctx, const struct group_entry *entry),
                      void *ctx, struct data_version *version)
{
    pthread_rwlock_rdlock(&m->groups.lock);
    if (version)
        *version = m->groups.version;
    for (uint32_t i = 0; i < m->groups.slots; i++) {
        if (m->groups.entries[i])
            each(ctx, m->groups.entries[i]);
    }
    pthread_rwlock_unlock(&m->groups.lock);
}

struct each_group {
    void (*each)(void *ctx, struct bytes name, const struct group_config *c);
    void *ctx;
};

static void each_public(void *ctx, const struct group_entry *e)
{
    const struct each_group *to = ctx;

    to->each(to->ctx, name_of(e), &e->config);
}

void metadata_each_group(struct metadata *m,
                         void (*each)(void *ctx, struct bytes name, const struct group_config *c),
                         void *ctx, struct data_version *version)
{
    struct each_group to = {each, ctx};

    group_table_each(m, each_public, &to, version);
}

/* --- changes; write lock held --- */

/* A slot is taken only by place_entry(). */
static int make_room(struct group_table *t)
{
    struct group_entry **entries;
    uint32_t *free_slots;
    uint32_t room;

    if (t->count >= GROUPS_MAX)
        return -ENOSPC;
    if (t->free_count > 0 || t->slots < t->room)
        return name_table_reserve(&t->names);
    room = t->room ? t->room * 2 : 64;
    entries = reallocarray(t->entries, room, sizeof(*entries));
    if (!entries)
        return -ENOMEM;
    t->entries = entries;
    free_slots = reallocarray(t->free_slots, room, sizeof(*free_slots));
    if (!free_slots)
        return -ENOMEM;
    t->free_slots = free_slots;
    t->room = room;
    return name_table_reserve(&t->names);
}

static int add_entry(struct metadata *m, struct bytes name, struct group_entry **out)
{
    struct group_table *t = &m->groups;
    struct group_entry *e;
    int r = make_room(t);

    if (r < 0)
        return r;
    e = calloc(1, sizeof(*e) + name.len);
    if (!e)
        return -ENOMEM;
    e->hash = name_hash(m->hash_seed, name);
    e->name_len = (uint8_t)name.len;
    memcpy(e->name, name.at, name.len);
    e->slot = t->free_count > 0 ? t->free_slots[--t->free_count] : t->slots++;
    t->entries[e->slot] = e;
    name_table_add(&t->names, e->hash, e);
    t->count++;
    *out = e;
    return 0;
}

static void take_out(struct group_table *t, struct group_entry *e)
{
    name_table_remove(&t->names, e->hash, e);
    t->entries[e->slot] = NULL;
    t->free_slots[t->free_count++] = e->slot;
    t->count--;
}

static int set_extra(struct group_entry *e, struct bytes extra)
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

static struct metadata_at begin_change(struct metadata *m)
{
    struct group_table *t = &m->groups;

    t->version_at = metadata_next_at(m);
    t->version_dirty = true;
    t->last_sequence = t->version_at.sequence;
    metadata_version_move(&t->version);
    return t->version_at;
}

static void change_entry(struct metadata *m, struct group_entry *e)
{
    struct group_table *t = &m->groups;

    e->at = begin_change(m);
    if (e->dirty)
        return;
    e->dirty = true;
    STAILQ_INSERT_TAIL(&t->dirty, e, next_dirty);
    atomic_fetch_add(&m->pending, 1);
}

static int put_locked(struct metadata *m, struct bytes name, const struct group_config *config,
                      const struct bytes *extra, bool *changed)
{
    struct group_entry *e = find(m, name);
    bool made = !e, extra_differs = false;
    int r;

    if (extra)
        extra_differs = e ? !bytes_equal(extra_of(e), *extra) : extra->len > 0;
    if (e && !extra_differs && config_equal(&e->config, config))
        return 0;
    if (!e || !e->dirty) {
        r = metadata_admit(m);
        if (r < 0)
            return r;
    }
    if (made) {
        r = add_entry(m, name, &e);
        if (r < 0)
            return r;
    }
    if (extra_differs) {
        r = set_extra(e, *extra);
        if (r < 0) {
            if (made) {
                take_out(&m->groups, e);
                free_entry(e);
            }
            return r;
        }
    }
    e->config = *config;
    change_entry(m, e);
    *changed = true;
    return 0;
}

int group_table_put(struct metadata *m, struct bytes name, const struct group_config *config,
                    const struct bytes *extra, uint64_t *sequence, bool *changed)
{
    bool differs = false;
    int r;

    if (!group_name_ok(name))
        return -EINVAL;
    pthread_rwlock_wrlock(&m->groups.lock);
    r = put_locked(m, name, config, extra, &differs);
    if (r == 0 && sequence)
        *sequence = m->groups.last_sequence;
    pthread_rwlock_unlock(&m->groups.lock);
    if (r < 0)
        return r;
    if (differs)
        metadata_wake(m, &m->work_changes);
    if (changed)
        *changed = differs;
    return 0;
}

int metadata_group_put(struct metadata *m, struct bytes name, const struct group_config *config,
                       uint64_t *sequence, bool *changed)
{
    return group_table_put(m, name, config, NULL, sequence, changed);
}

int metadata_group_delete(struct metadata *m, struct bytes name, bool with_offsets,
                          uint64_t *sequence)
{
    struct group_entry *e;
    uint64_t covered = 0;
    int r = 0;

    pthread_rwlock_wrlock(&m->groups.lock);
    e = find(m, name);
    if (!e && (!with_offsets || !group_name_ok(name)))
        r = -ENOENT;
    else if (!e || !e->dirty)
        r = metadata_admit(m);
    if (r == 0 && e) {
        take_out(&m->groups, e);
        e->deleted = true;
        change_entry(m, e);
        covered = e->at.sequence;
    }
    pthread_rwlock_unlock(&m->groups.lock);
    if (r < 0)
        return r;
    if (with_offsets) {
        offset_table_drop(m, (struct bytes){0}, name);
        covered = metadata_next_sequence(m);
    }
    metadata_wake(m, &m->work_changes);
    if (sequence)
        *sequence = covered;
    return 0;
}

void group_table_lead(struct metadata *m, uint64_t epoch)
{
    struct group_table *t = &m->groups;

    pthread_rwlock_wrlock(&t->lock);
    begin_change(m);
    if ((int64_t)epoch > t->version.state_version)
        t->version.state_version = (int64_t)epoch;
    pthread_rwlock_unlock(&t->lock);
}

void group_table_take_version(struct metadata *m, const struct data_version *theirs)
{
    pthread_rwlock_wrlock(&m->groups.lock);
    metadata_version_take(&m->groups.version, theirs);
    begin_change(m);
    pthread_rwlock_unlock(&m->groups.lock);
    metadata_wake(m, &m->work_changes);
}

/* --- from a master --- */

int group_table_take(struct metadata *m, const struct metadata_record *r, bool *changed)
{
    int failed;

    *changed = false;
    if (r->kind == METADATA_GROUP_PUT)
        return group_table_put(m, r->group.name, &r->group.config, &r->group.extra, NULL, changed);
    failed = metadata_group_delete(m, r->group.name, false, NULL);
    *changed = failed == 0;
    return failed == -ENOENT ? 0 : failed;
}

void group_table_follow_version(struct metadata *m, const struct data_version *theirs)
{
    struct group_table *t = &m->groups;
    bool moved;

    pthread_rwlock_wrlock(&t->lock);
    moved = metadata_version_follow(&t->version, theirs);
    if (moved) {
        t->version_at = metadata_next_at(m);
        t->version_dirty = true;
        t->last_sequence = t->version_at.sequence;
    }
    pthread_rwlock_unlock(&t->lock);
    if (moved)
        metadata_wake(m, &m->work_changes);
}

/* --- the journal's side --- */

int group_table_apply(struct metadata *m, const struct metadata_record *r)
{
    struct group_table *t = &m->groups;
    struct bytes extra;
    struct group_entry *e;
    int failed;

    if (r->kind == METADATA_GROUPS_VERSION) {
        if (!metadata_at_before(r->at, t->version_at)) {
            t->version = r->version;
            t->version_at = r->at;
        }
        return 0;
    }
    e = find(m, r->group.name);
    if (e && metadata_at_before(r->at, e->at))
        return 0;
    if (r->kind == METADATA_GROUP_DELETE) {
        if (e) {
            take_out(t, e);
            free_entry(e);
        }
        return 0;
    }
    if (!e) {
        failed = add_entry(m, r->group.name, &e);
        if (failed < 0)
            return failed;
    }
    extra = r->group.extra;
    if (!metadata_json_extra_ok(extra)) {
        log_warn("the further members of group %.*s are no JSON and are left out", (int)e->name_len,
                 e->name);
        extra = (struct bytes){0};
    }
    failed = set_extra(e, extra);
    if (failed < 0)
        return failed;
    e->config = r->group.config;
    e->at = r->at;
    return 0;
}

static void collect_one(struct metadata *m)
{
    struct group_table *t = &m->groups;
    struct group_entry *e = STAILQ_FIRST(&t->dirty);

    if (t->version_dirty) { /* first, as for topics */
        metadata_put_version(&m->batch, t->version_at, METADATA_GROUPS_VERSION, &t->version);
        t->version_dirty = false;
        return;
    }
    STAILQ_REMOVE_HEAD(&t->dirty, next_dirty);
    e->dirty = false;
    atomic_fetch_sub(&m->pending, 1);
    if (e->deleted) {
        metadata_put_group_delete(&m->batch, e->at, name_of(e));
        free_entry(e);
    } else {
        metadata_put_group(&m->batch, e->at, name_of(e), &e->config, extra_of(e));
    }
}

bool group_table_collect(struct metadata *m)
{
    struct group_table *t = &m->groups;
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

bool group_table_snapshot(struct metadata *m, uint32_t *at, struct buf *out, uint64_t *count)
{
    struct group_table *t = &m->groups;
    bool more;

    pthread_rwlock_rdlock(&t->lock);
    if (*at == 0) {
        metadata_put_version(out, t->version_at, METADATA_GROUPS_VERSION, &t->version);
        ++*count;
    }
    for (int n = 0; n < METADATA_PIECE && *at < t->slots; n++, ++*at) {
        const struct group_entry *e = t->entries[*at];
        if (!e)
            continue;
        metadata_put_group(out, e->at, name_of(e), &e->config, extra_of(e));
        ++*count;
    }
    more = *at < t->slots;
    pthread_rwlock_unlock(&t->lock);
    return more;
}
