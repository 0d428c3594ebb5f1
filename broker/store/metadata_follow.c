/* metadata_follow.c - a slave takes its master's tables in: the bodies of requests 21, 201, 43, 45.
 *
 * What the master says of a topic or a group holds. What it does not name is given up, if
 * the caller can: its list is whole. A consumer offset is taken unless a later one was committed
 * here, while the master was away: then it has to come up to that first.
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

static int import(struct metadata *m, enum metadata_export file, struct bytes body, json_t **root,
                  struct metadata_followed *out, struct err *err)
{
    struct metadata_taken taken = {.following = true};
    const char *complaint;
    int r;

    *out = (struct metadata_followed){0};
    *root = json_dialect_load(body, err);
    if (!*root)
        return -EBADMSG;
    complaint = metadata_json_complaint(file, *root);
    if (complaint)
        return err_say(err, -EBADMSG, "%s: %s", what[file], complaint);
    r = metadata_json_import(m, file, *root, &taken);
    out->taken = taken.entries;
    out->refused = taken.refused;
    memcpy(out->first_refused, taken.first_refused, sizeof(out->first_refused));
    return r < 0 ? err_set(err, r, "take in the master's %s", what[file]) : 0;
}

/* --- what the master does not name --- */

struct missing {
    const json_t *named;
    struct buf names; /* each with its length before it */
};

static bool is_named(const json_t *table, struct bytes name)
{
    return json_object_getn(table, (const char *)name.at, name.len) != NULL;
}

static void note_group(void *ctx, struct bytes name, const struct group_config *c)
{
    struct missing *missing = ctx;

    (void)c;
    if (!is_named(missing->named, name)) {
        buf_add_be16(&missing->names, (uint16_t)name.len);
        buf_add(&missing->names, name.at, name.len);
    }
}

static void note_topic(void *ctx, const struct topic *t, const struct topic_config *c)
{
    struct missing *missing = ctx;
    struct bytes name = bytes_of(t->name, t->name_len);

    (void)c;
    if (!is_named(missing->named, name)) {
        buf_add_be16(&missing->names, (uint16_t)name.len);
        buf_add(&missing->names, name.at, name.len);
    }
}

static int let_go(struct metadata *m, enum metadata_export file, const json_t *root,
                  metadata_give_up *give_up, void *ctx, struct metadata_followed *out,
                  struct err *err)
{
    struct missing missing = {
        .named = json_object_get(root, file == METADATA_EXPORT_TOPICS ? "topicConfigTable"
                                                                      : "subscriptionGroupTable"),
    };
    struct bytes left;
    int r = 0;

    if (!json_is_object(missing.named))
        return 0; /* it says nothing */
    if (file == METADATA_EXPORT_TOPICS)
        metadata_each_topic(m, note_topic, &missing, NULL);
    else
        metadata_each_group(m, note_group, &missing, NULL);
    if (missing.names.failed)
        r = err_set(err, -ENOMEM, "compare the master's %s", what[file]);
    for (left = buf_bytes(&missing.names); r == 0 && left.len > 0;) {
        struct bytes name = bytes_of(left.at + 2, load_be16(left.at));

        left = bytes_of(name.at + name.len, left.len - 2 - name.len);
        r = give_up(m, ctx, name);
        if (r == 0)
            out->deleted++;
        else if (r == 1 || r == -ENOENT)
            r = 0;
        else
            err_set(err, r, "give up what the master has no more");
    }
    buf_destroy(&missing.names);
    return r;
}

static int follow(struct metadata *m, enum metadata_export file, struct bytes body,
                  metadata_give_up *give_up, void *ctx, struct metadata_followed *out,
                  struct err *err)
{
    json_t *root = NULL;
    int r = import(m, file, body, &root, out, err);

    if (r == 0 && give_up)
        r = let_go(m, file, root, give_up, ctx, out, err);
    json_decref(root);
    return r;
}

int metadata_follow_topics(struct metadata *m, struct bytes body, metadata_give_up *give_up,
                           void *ctx, struct metadata_followed *out, struct err *err)
{
    return follow(m, METADATA_EXPORT_TOPICS, body, give_up, ctx, out, err);
}

int metadata_follow_groups(struct metadata *m, struct bytes body, metadata_give_up *give_up,
                           void *ctx, struct metadata_followed *out, struct err *err)
{
    return follow(m, METADATA_EXPORT_GROUPS, body, give_up, ctx, out, err);
}

int metadata_follow_offsets(struct metadata *m, struct bytes body, struct metadata_followed *out,
                            struct err *err)
{
    return follow(m, METADATA_EXPORT_OFFSETS, body, NULL, NULL, out, err);
}

int metadata_follow_delays(struct metadata *m, struct bytes body, struct metadata_followed *out,
                           struct err *err)
{
    return follow(m, METADATA_EXPORT_DELAYS, body, NULL, NULL, out, err);
}
