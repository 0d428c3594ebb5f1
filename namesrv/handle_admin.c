/* handle_admin.c - what operators change: write permission, topics, and the configuration. */
#include "namesrv/namesrv_internal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/log.h"

static void answer_count(const struct request *rq, const char *field, size_t count)
{
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, true, NULL))
        return;
    remoting_put_i64(&w, field, (int64_t)count);
    ns_answer_end(rq, &w);
}

void ns_wipe_write_perm(const struct request *rq)
{
    struct bytes group;

    if (ns_need_text(rq, "brokerName", &group))
        answer_count(rq, "wipeTopicCount", route_table_wipe_write_perm(rq->ns->table, group));
}

void ns_add_write_perm(const struct request *rq)
{
    struct bytes group;

    if (ns_need_text(rq, "brokerName", &group))
        answer_count(rq, "addTopicCount", route_table_add_write_perm(rq->ns->table, group));
}

void ns_delete_topic(const struct request *rq)
{
    struct bytes topic;

    if (!ns_need_text(rq, "topic", &topic))
        return;
    route_table_delete_topic(rq->ns->table, topic, ns_take_text(rq, "clusterName"));
    ns_answer(rq, RESPONSE_SUCCESS, NULL);
}

/* ---- configuration ---- */

/* RocketMQ's keys that name a path, without being keys of ours. */
static bool names_a_path(const char *name)
{
    return strcmp(name, "rocketmqHome") == 0;
}

static bool is_black_listed(const struct namesrv *ns, const char *name)
{
    const char *list = ns->options.config_black_list;
    size_t name_len = strlen(name);

    while (*list) {
        size_t len = strcspn(list, ";");

        if (len == name_len && memcmp(list, name, len) == 0)
            return true;
        list += len;
        list += strspn(list, ";");
    }
    return false;
}

struct change {
    const struct request *rq;
    struct err err;
    int32_t code;
    bool apply;
    bool changed;
    char unknown[128]; /* the first key that is not known */
};

static int refuse(struct change *change, int32_t code)
{
    change->code = code;
    return -1;
}

/* Twice through the body: once to check it all, once to make the changes. */
static int visit_change(void *ctx, int line, const char *name, const char *value)
{
    struct change *change = ctx;
    struct namesrv *ns = change->rq->ns;
    const struct config_key *key = config_find(&namesrv_config_spec, name);
    int r;

    (void)line;
    if (names_a_path(name) || (key && !(key->flags & CONFIG_LIVE)) || is_black_listed(ns, name)) {
        err_say(&change->err, -EPERM, "%.100s cannot be changed by a request", name);
        return refuse(change, RESPONSE_NO_PERMISSION);
    }
    r = config_check(&namesrv_config_spec, name, value, &change->err);
    if (r == -ENOENT) {
        if (!change->unknown[0])
            strncpy(change->unknown, name, sizeof(change->unknown) - 1);
        return 0;
    }
    if (r < 0)
        return refuse(change, RESPONSE_SYSTEM_ERROR);
    if (!key || !change->apply)
        return 0;
    namesrv_options_change(&ns->options, key, value);
    change->changed = true;
    if (key->offset == offsetof(struct namesrv_options, log_level))
        log_set_level((enum log_level)ns->options.log_level); /* the process has one */
    log_info("%s=%s, by request", name, value);
    return 0;
}

void ns_update_config(const struct request *rq)
{
    struct namesrv *ns = rq->ns;
    struct change change = {.rq = rq, .code = RESPONSE_SYSTEM_ERROR};
    struct buf text = {0};

    if (!ns_stored_has_room(&ns->changed_file, rq))
        return;
    if (config_each(rq->frame->body, visit_change, &change, &change.err) != 0) {
        ns_answer(rq, change.code, "%s", change.err.text);
        return;
    }
    change.apply = true;
    config_each(rq->frame->body, visit_change, &change, &change.err);
    if (!change.changed) {
        ns_answer(rq, RESPONSE_SUCCESS,
                  change.unknown[0] ? "%s is not known and was ignored" : NULL, change.unknown);
        return;
    }
    if (ns->changed_file.saver)
        namesrv_options_changed_text(&ns->options, &text);
    ns_stored_answer(&ns->changed_file, rq, &text);
}

void ns_get_config(const struct request *rq)
{
    struct remoting_writer w;

    if (!ns_answer_begin(rq, &w, RESPONSE_SUCCESS, false, NULL))
        return;
    remoting_body(&w);
    config_properties(&namesrv_config_spec, &rq->ns->options, ns_answer_out(rq));
    ns_answer_end(rq, &w);
}
