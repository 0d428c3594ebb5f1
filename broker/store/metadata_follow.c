/* metadata_follow.c - a slave takes its master's tables in: the bodies of requests 21, 201, 43, 45.
 *
 * What the master says of a topic or a group holds. What it does not name stays: a RocketMQ broker
 * whose configuration file is lost names nothing. A consumer offset is taken unless a later one
 * was committed here, while the master was away: then it has to come up to that first.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/store/metadata_internal.h"
#include "common/json.h"

static const char *const what[METADATA_EXPORTS] = {
    [METADATA_EXPORT_TOPICS] = "topics",
    [METADATA_EXPORT_GROUPS] = "groups",
    [METADATA_EXPORT_OFFSETS] = "consumer offsets",
    [METADATA_EXPORT_DELAYS] = "delay offsets",
};

static int follow(struct metadata *m, enum metadata_export file, struct bytes body,
                  struct metadata_followed *out, struct err *err)
{
    struct metadata_taken taken = {.following = true};
    json_t *root = json_dialect_load(body, err);
    const char *complaint;
    int r;

    *out = (struct metadata_followed){0};
    if (!root)
        return -EBADMSG;
    complaint = metadata_json_complaint(file, root);
    if (complaint) {
        r = err_say(err, -EBADMSG, "%s: %s", what[file], complaint);
    } else {
        r = metadata_json_import(m, file, root, &taken);
        out->taken = taken.entries;
        out->refused = taken.refused;
        memcpy(out->first_refused, taken.first_refused, sizeof(out->first_refused));
        if (r < 0)
            err_set(err, r, "take in the master's %s", what[file]);
    }
    json_decref(root);
    return r;
}

int metadata_follow_topics(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err)
{
    return follow(m, METADATA_EXPORT_TOPICS, body, out, err);
}

int metadata_follow_groups(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err)
{
    return follow(m, METADATA_EXPORT_GROUPS, body, out, err);
}

int metadata_follow_offsets(struct metadata *m, struct bytes body, struct metadata_followed *out,
                            struct err *err)
{
    return follow(m, METADATA_EXPORT_OFFSETS, body, out, err);
}

int metadata_follow_delays(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err)
{
    return follow(m, METADATA_EXPORT_DELAYS, body, out, err);
}
