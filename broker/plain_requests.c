/* plain_requests.c - see plain_requests.h. */
#include "broker/plain_requests.h"

#include "broker/replication/replication.h"
#include "common/json.h"
#include "common/log.h"

static void put_master(struct json_out *j, const struct ha_slave_status *s, int64_t metadata_age_ms)
{
    jout_key(j, "follows");
    jout_object(j);
    jout_kv_str(j, "master", s->master.main);
    jout_kv_str(j, "ha", s->master.ha);
    jout_kv_str(j, "state", ha_slave_state_names[s->state]);
    jout_kv_i64(j, "masterEnd", (int64_t)s->master_end);
    jout_kv_i64(j, "silentMs", s->silent_ms);
    jout_kv_i64(j, "metadataAgeMs", metadata_age_ms);
    jout_object_end(j);
}

static void put_status(struct json_out *j, struct broker *b)
{
    struct replication *r = b->replication;
    struct ha_slave_status follows;
    int64_t metadata_age_ms;
    bool slave = replication_slave_status(r, &follows, &metadata_age_ms);

    jout_object(j);
    jout_kv_str(j, "cluster", b->settings->config.broker_cluster_name);
    jout_kv_str(j, "broker", b->settings->config.broker_name);
    jout_kv_bool(j, "plain", true);
    /* One that has been told to step down is a slave when it has begun again. */
    jout_kv_str(j, "role", slave ? "slave" : "master");
    jout_kv_i64(j, "brokerId", replication_broker_id(r));
    jout_kv_i64(j, "fileId", b->settings->config.broker_id);
    jout_kv_i64(j, "promoted", (int64_t)replication_promoted(r));
    jout_kv_i64(j, "written", (int64_t)store_end(b->store));
    jout_kv_i64(j, "flushed", (int64_t)store_flushed(b->store));
    jout_kv_i64(j, "confirmed", (int64_t)store_confirmed(b->store));
    jout_kv_i64(j, "copies", replication_copies(r));
    if (slave)
        put_master(j, &follows, metadata_age_ms);
    jout_object_end(j);
}

enum call_result serve_plain_status(struct call *call)
{
    struct remoting_writer w;
    struct json_out j;

    call_begin(call, &w, RESPONSE_SUCCESS, false);
    remoting_body(&w);
    jout_begin(&j, call->out);
    put_status(&j, call->broker);
    remoting_end(&w);
    return CALL_DONE;
}

enum call_result serve_plain_promote(struct call *call, bool unclean)
{
    struct err err = {0};

    if (replication_promote(call->broker->replication, unclean, &err) < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
    log_info("told to become the master%s", unclean ? ", whatever its own does or has" : "");
    return call_ok(call);
}

enum call_result serve_plain_step_down(struct call *call)
{
    struct err err = {0};

    if (replication_step_down(call->broker->replication, &err) < 0)
        return call_error(call, RESPONSE_SYSTEM_ERROR, "%s", err.text);
    log_info("told to step down: this broker is a slave again");
    return call_ok(call);
}
