/* metadata_take.c - one member's journal for another: what a master gives of it, and how a follower
 * takes it into tables that are in use.
 *
 * Values are absolute, so that a record may come twice, and a snapshot may overlap with what
 * follows it. A follower journals what it takes with sequences of its own. Absence says nothing:
 * what a snapshot does not name stays.
 */
#include <assert.h>
#include <errno.h>

#include "broker/store/metadata_internal.h"
#include "common/log.h"

/* --- giving --- */

void metadata_tap(struct metadata *m, metadata_tapped *tapped, void *ctx)
{
    pthread_mutex_lock(&m->tap_lock);
    assert(!tapped || !m->tap);
    m->tap = tapped;
    m->tap_ctx = ctx;
    pthread_mutex_unlock(&m->tap_lock);
}

void metadata_tap_give(struct metadata *m, struct bytes records, uint64_t durable)
{
    pthread_mutex_lock(&m->tap_lock);
    if (m->tap)
        m->tap(m->tap_ctx, records, durable);
    pthread_mutex_unlock(&m->tap_lock);
}

enum { PIECE_TOPICS, PIECE_GROUPS, PIECE_OFFSETS, PIECE_LOCKS, PIECE_REST, PIECE_DONE };

bool metadata_snapshot_piece(struct metadata *m, struct metadata_cursor *cursor, struct buf *out)
{
    uint64_t count = 0;
    bool more = false;

    switch (cursor->stage) {
    case PIECE_TOPICS:
        more = topic_table_snapshot(m, &cursor->at, out, &count);
        break;
    case PIECE_GROUPS:
        more = group_table_snapshot(m, &cursor->at, out, &count);
        break;
    case PIECE_OFFSETS:
        more = offset_table_snapshot(m, &cursor->at, false, out, &count);
        break;
    case PIECE_LOCKS:
        more = lock_table_snapshot(m, &cursor->at, out, &count);
        break;
    case PIECE_REST:
        delay_table_snapshot(m, false, out, &count);
        break;
    default:
        return false;
    }
    if (!more) {
        cursor->stage++;
        cursor->at = 0;
    }
    return cursor->stage < PIECE_DONE;
}

/* --- taking --- */

/* What one call has seen of a table's version: taken at the end, when the entries are there, so
 * that nobody is told of it too early. */
struct versions {
    bool topics, groups;
    struct data_version of_topics, of_groups;
};

/* The topic was deleted up to this offset, and perhaps made anew: what was before is forgotten. The
 * log may be ahead of this, and the topic's new messages be in its queues already. */
static int take_topic(struct metadata *m, const struct metadata_record *r,
                      const struct metadata_queues *queues)
{
    uint64_t floor = r->topic.log_floor;
    bool deletes = r->kind == METADATA_TOPIC_DELETE, stays = false, changed, dropped = false;
    struct topic_known known;
    int failed;

    if (!metadata_json_extra_ok(deletes ? (struct bytes){0} : r->topic.extra))
        return -EBADMSG;
    topic_table_known(m, r->topic.name, &known);
    if (deletes && known.live && queues)
        stays = queues->beyond(queues->ctx, known.topic, floor);
    failed = topic_table_take(m, r, stays, &changed);
    if (failed < 0)
        return failed;
    if (known.topic && queues && ((deletes && known.live) || floor > known.log_floor))
        dropped = queues->drop(queues->ctx, known.topic, floor);
    if ((deletes && known.live && !stays) || dropped)
        offset_table_drop(m, r->topic.name, (struct bytes){0});
    return 0;
}

static int take_group(struct metadata *m, const struct metadata_record *r)
{
    bool changed;

    if (r->kind == METADATA_GROUP_PUT && !metadata_json_extra_ok(r->group.extra))
        return -EBADMSG;
    return group_table_take(m, r, &changed);
}

static int take_lock(struct metadata *m, const struct metadata_lock *lock)
{
    uint64_t sequence;

    return metadata_lock_put(m, lock->group, lock->topic, (int32_t)lock->queue_id, lock->client,
                             lock->granted_ms, &sequence);
}

static int take_one(struct metadata *m, const struct metadata_record *r,
                    const struct metadata_queues *queues, struct versions *versions)
{
    switch (r->kind) {
    case METADATA_TOPIC_PUT:
    case METADATA_TOPIC_DELETE:
        return take_topic(m, r, queues);
    case METADATA_TOPICS_VERSION:
        versions->topics = true;
        versions->of_topics = r->version;
        return 0;
    case METADATA_GROUP_PUT:
    case METADATA_GROUP_DELETE:
        return take_group(m, r);
    case METADATA_GROUPS_VERSION:
        versions->groups = true;
        versions->of_groups = r->version;
        return 0;
    case METADATA_OFFSETS_PUT:
        return offset_table_take(m, r);
    case METADATA_LOCK_PUT:
        return take_lock(m, &r->lock);
    case METADATA_DELAY_PUT:
        return metadata_delay_set(m, r->delay.level, r->delay.offset);
    case METADATA_EXPORT_HASH:
    case METADATA_BEGIN:
    case METADATA_END:
        return 0; /* of its files, not of what is in them */
    }
    return -EBADMSG;
}

int metadata_take(struct metadata *m, struct bytes records, const struct metadata_queues *queues,
                  uint64_t *sequence, struct err *err)
{
    struct versions versions = {0};
    struct metadata_record record;
    int r = 0;

    while (records.len > 0 && r == 0) {
        size_t used = 0;
        int verdict = metadata_record_decode(records, &record, &used);

        if (verdict == METADATA_RECORD_UNKNOWN)
            r = err_say(err, -EBADMSG, "a record of kind %u, which this version does not know",
                        (unsigned)record.kind);
        else if (verdict != 0)
            r = err_say(err, -EBADMSG, "no record of the metadata journal");
        else
            r = take_one(m, &record, queues, &versions);
        if (r == -EBADMSG && verdict == 0)
            err_say(err, r, "a record of kind %u whose content cannot be", (unsigned)record.kind);
        else if (r < 0 && r != -EBADMSG)
            err_set(err, r, "take in a change of the master");
        records = bytes_of(records.at + used, records.len - used);
    }
    if (versions.topics)
        topic_table_follow_version(m, &versions.of_topics);
    if (versions.groups)
        group_table_follow_version(m, &versions.of_groups);
    *sequence = metadata_last(m);
    return r;
}
