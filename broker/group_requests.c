/* group_requests.c - see group_requests.h. */
#include "broker/group_requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/plain_requests.h"
#include "broker/replication/replication.h"
#include "common/json.h"
#include "common/log.h"

enum { WAIT_DEFAULT_MS = 10000, WAIT_MAX_MS = 600000, NAME_MAX_BYTES = 128 };

const char *group_role_name(enum core_role role)
{
    switch (role) {
    case CORE_LOOKING:
        return "looking";
    case CORE_ASKING:
        return "asking";
    case CORE_CUTTING:
        return "cutting";
    case CORE_FOLLOWING:
        return "following";
    case CORE_STARTING:
        return "starting";
    case CORE_MASTER:
        return "master";
    }
    return "?";
}

/* NULL after the reply. */
static struct group *group_of(struct call *call)
{
    struct group *group = replication_group(call->broker->replication);

    if (!group && replication_is_member(call->broker->replication))
        call_error(call, RESPONSE_SYSTEM_ERROR, "this member of a group has not started yet");
    else if (!group)
        call_error(call, RESPONSE_SYSTEM_ERROR,
                   "this broker is in no group: groupMembers is not set");
    return group;
}

/* --- greetings --- */

struct newcomer {
    struct group *group;
    uint16_t from;
};

static void take_link(void *ctx, int fd)
{
    struct newcomer *n = ctx;

    if (fd >= 0)
        group_take_link(n->group, n->from, fd);
    free(n);
}

static bool need_name(struct call *call, const char *key, char text[NAME_MAX_BYTES])
{
    struct bytes value;

    if (!call_need_str(call, key, &value))
        return false;
    if (bytes_to_cstr(value, text, NAME_MAX_BYTES))
        return true;
    call_error(call, RESPONSE_SYSTEM_ERROR, "header field \"%s\" is no name: \"%s\"", key,
               SAFE(value));
    return false;
}

enum call_result serve_group_greet(struct call *call)
{
    char cluster[NAME_MAX_BYTES], name[NAME_MAX_BYTES], peer[64];
    struct group_greeting greeting = {.cluster = cluster, .broker_name = name};
    struct group *group = group_of(call);
    struct newcomer *newcomer;
    const char *why;

    if (!group || !need_name(call, "clusterName", cluster) ||
        !need_name(call, "brokerName", name) || !call_need_i64(call, "memberId", &greeting.from) ||
        !call_need_i64(call, "copies", &greeting.copies) ||
        !call_need_i64(call, "segmentBytes", &greeting.segment_bytes) ||
        !call_need_i64(call, "version", &greeting.version) ||
        !call_need_i64(call, "members", &greeting.count))
        return CALL_DONE;
    if (call->to.oneway) /* nobody would wait for the answer before it sends */
        return CALL_DONE;
    why = group_greet(group, &greeting);
    if (why) {
        log_warn_limited("greeting", "a greeting of member %lld of group %s from %s is refused: %s",
                         (long long)greeting.from, SAFE(bytes_str(name)),
                         conn_peer_text(call->conn, peer), why);
        return call_error(call, RESPONSE_SYSTEM_ERROR, "%s", why);
    }
    newcomer = malloc(sizeof(*newcomer));
    if (!newcomer)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "out of memory");
    *newcomer = (struct newcomer){group, (uint16_t)greeting.from};
    call_ok(call);
    conn_hand_over(call->conn, take_link, newcomer);
    return CALL_DONE;
}

/* --- operators --- */

static bool is_plain(const struct call *call)
{
    return !replication_is_member(call->broker->replication);
}

static void put_member(struct json_out *j, const struct group_member_status *m)
{
    jout_object(j);
    jout_kv_i64(j, "id", m->member.id);
    jout_kv_str(j, "address", m->member.address);
    jout_kv_bool(j, "self", m->self);
    jout_kv_bool(j, "connected", m->connected);
    jout_kv_bool(j, "following", m->following);
    jout_kv_bool(j, "near", m->near);
    jout_kv_i64(j, "received", (int64_t)m->received);
    jout_kv_i64(j, "flushed", (int64_t)m->flushed);
    jout_kv_i64(j, "heardMs", m->heard_ms);
    jout_kv_bool(j, "promised", m->promised);
    jout_kv_i64(j, "promisedEpoch", (int64_t)m->promised_epoch);
    jout_kv_i64(j, "promisedEnd", (int64_t)m->promised_end);
    jout_object_end(j);
}

static void put_status(struct json_out *j, const struct group_status *s,
                       const struct broker_config *config)
{
    jout_object(j);
    jout_kv_str(j, "cluster", config->broker_cluster_name);
    jout_kv_str(j, "broker", config->broker_name);
    jout_kv_str(j, "role", group_role_name(s->role));
    jout_kv_i64(j, "self", s->self);
    jout_kv_i64(j, "master", s->master);
    jout_kv_bool(j, "doubtful", s->doubtful);
    jout_kv_bool(j, "draining", s->draining);
    jout_kv_i64(j, "promised", (int64_t)s->promised);
    jout_kv_i64(j, "epoch", (int64_t)s->epoch);
    jout_kv_i64(j, "lastEpoch", (int64_t)s->last_epoch);
    jout_kv_i64(j, "asked", (int64_t)s->asked);
    jout_kv_i64(j, "written", (int64_t)s->written);
    jout_kv_i64(j, "flushed", (int64_t)s->flushed);
    jout_kv_i64(j, "confirmed", (int64_t)s->confirmed);
    jout_kv_i64(j, "acked", (int64_t)s->acked); /* -1: one copy is enough */
    jout_kv_i64(j, "copies", s->copies);
    jout_kv_i64(j, "promisesNeeded", s->promises_needed);
    jout_kv_bool(j, "unclean", s->unclean);
    jout_kv_str(j, "alarm", s->alarm);
    jout_key(j, "epochs");
    jout_array(j);
    for (unsigned i = 0; i < s->epoch_count; i++) {
        jout_object(j);
        jout_kv_i64(j, "epoch", (int64_t)s->epochs[i].epoch);
        jout_kv_i64(j, "start", (int64_t)s->epochs[i].start);
        jout_object_end(j);
    }
    jout_array_end(j);
    jout_key(j, "members");
    jout_array(j);
    for (unsigned i = 0; i < s->member_count; i++)
        put_member(j, &s->members[i]);
    jout_array_end(j);
    jout_object_end(j);
}

enum call_result serve_group_status(struct call *call)
{
    struct group_status status;
    struct remoting_writer w;
    struct group *group;
    struct json_out j;

    if (is_plain(call))
        return serve_plain_status(call);
    group = group_of(call);
    if (!group)
        return CALL_DONE;
    group_status(group, &status);
    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    put_status(&j, &status, &call->broker->settings->config);
    remoting_end(&w);
    return CALL_DONE;
}

static enum call_result not_the_master(struct call *call)
{
    char master[GROUP_ADDRESS_MAX];

    replication_master_of_group(call->broker->replication, master, sizeof(master));
    return call_error(call, RESPONSE_SYSTEM_ERROR, "this member is not the master; %s%s",
                      master[0] ? "the master is at " : "it knows of no master", master);
}

enum call_result serve_group_promote(struct call *call)
{
    const struct bytes *unclean = remoting_field(call->frame, "unclean");
    bool is_unclean = unclean && bytes_is(*unclean, "true");
    struct group *group;

    if (unclean && !bytes_is(*unclean, "true") && !bytes_is(*unclean, "false"))
        return call_error(call, RESPONSE_SYSTEM_ERROR,
                          "header field \"unclean\" is \"%s\", expected true or false",
                          SAFE(*unclean));
    if (is_plain(call))
        return serve_plain_promote(call, is_unclean);
    group = group_of(call);
    if (!group)
        return CALL_DONE;
    log_info("told to become the master%s", is_unclean ? ", by whatever promises there are" : "");
    if (group_promote(group, is_unclean) < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "this member is the master already");
    return call_ok(call);
}

enum call_result serve_group_hand_over(struct call *call)
{
    struct group *group = group_of(call);
    int64_t to, wait_ms;
    int r;

    if (!group || !call_opt_i64(call, "to", &to, 0) ||
        !call_opt_i64(call, "waitMillis", &wait_ms, WAIT_DEFAULT_MS))
        return CALL_DONE;
    if (to < 0 || to > UINT16_MAX)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "to is %lld, expected 0 to %d",
                          (long long)to, UINT16_MAX);
    if (wait_ms < 1 || wait_ms > WAIT_MAX_MS)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "waitMillis is %lld, expected 1 to %d",
                          (long long)wait_ms, WAIT_MAX_MS);
    log_info("told to hand over within %lld ms", (long long)wait_ms);
    r = group_hand_over(group, (uint16_t)to, wait_ms);
    if (r == -EPERM)
        return not_the_master(call);
    if (r == -ENOENT && to != 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "%lld is no member that follows this master",
                          (long long)to);
    if (r == -ENOENT)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "no member follows this master");
    if (r < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "not handed over: %s", strerror(-r));
    return call_ok(call);
}

enum call_result serve_group_step_down(struct call *call)
{
    struct group *group;

    if (is_plain(call))
        return serve_plain_step_down(call);
    group = group_of(call);
    if (!group)
        return CALL_DONE;
    if (group_step_down(group) < 0)
        return not_the_master(call);
    log_info("told to step down: this member is not the master any more");
    return call_ok(call);
}
