/* namesrv.c - see namesrv.h: life cycle, dispatch, and the two ways in which a broker is lost. */
#include "namesrv/namesrv_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/log.h"

/* ---- requests ---- */

static void (*handler_of(int32_t code))(const struct request *rq)
{
    switch (code) {
    case REQUEST_PUT_KV_CONFIG:
        return ns_put_kv;
    case REQUEST_GET_KV_CONFIG:
        return ns_get_kv;
    case REQUEST_DELETE_KV_CONFIG:
        return ns_delete_kv;
    case REQUEST_GET_KVLIST_BY_NAMESPACE:
        return ns_kv_list;
    case REQUEST_REGISTER_BROKER:
        return ns_register_broker;
    case REQUEST_UNREGISTER_BROKER:
        return ns_unregister_broker;
    case REQUEST_QUERY_DATA_VERSION:
        return ns_query_data_version;
    case REQUEST_BROKER_HEARTBEAT:
        return ns_broker_heartbeat;
    case REQUEST_REGISTER_TOPIC_IN_NAMESRV:
        return ns_register_topic;
    case REQUEST_GET_ROUTEINFO_BY_TOPIC:
        return ns_route_info;
    case REQUEST_GET_BROKER_CLUSTER_INFO:
        return ns_cluster_info;
    case REQUEST_GET_BROKER_MEMBER_GROUP:
        return ns_member_group;
    case REQUEST_GET_ALL_TOPIC_LIST_FROM_NAMESERVER:
        return ns_all_topics;
    case REQUEST_GET_TOPICS_BY_CLUSTER:
        return ns_topics_by_cluster;
    case REQUEST_GET_SYSTEM_TOPIC_LIST_FROM_NS:
        return ns_system_topics;
    case REQUEST_GET_UNIT_TOPIC_LIST:
        return ns_unit_topics;
    case REQUEST_GET_HAS_UNIT_SUB_TOPIC_LIST:
        return ns_unit_sub_topics;
    case REQUEST_GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST:
        return ns_unit_sub_ununit_topics;
    case REQUEST_WIPE_WRITE_PERM_OF_BROKER:
        return ns_wipe_write_perm;
    case REQUEST_ADD_WRITE_PERM_OF_BROKER:
        return ns_add_write_perm;
    case REQUEST_DELETE_TOPIC_IN_NAMESRV:
        return ns_delete_topic;
    case REQUEST_UPDATE_NAMESRV_CONFIG:
        return ns_update_config;
    case REQUEST_GET_NAMESRV_CONFIG:
        return ns_get_config;
    default:
        return NULL;
    }
}

static void on_request(void *ctx, struct conn *c, struct remoting_frame *frame)
{
    struct request rq = {.ns = ctx, .conn = c, .frame = frame};
    void (*handle)(const struct request *rq) = handler_of(frame->code);

    if (handle)
        handle(&rq);
    else
        ns_answer(&rq, RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
                  "a name server does not know request code %" PRId32, frame->code);
}

/* ---- brokers that are lost ---- */

static void say_gone(const struct route_gone *gone, const char *why)
{
    log_info("broker %s (id %" PRId64 ", %s) is gone: %s", gone->group, gone->id, gone->address,
             why);
}

static void on_closed(void *ctx, struct conn *c)
{
    struct namesrv *ns = ctx;
    struct route_gone gone;

    if (!conn_user(c)) /* no broker spoke on it */
        return;
    while (route_table_take_channel(ns->table, conn_id_of(c), &gone))
        say_gone(&gone, "its connection was closed");
}

static void arm_silence(struct namesrv *ns, int64_t due_ms)
{
    if (loop_timer_set(&ns->silence, due_ms) < 0)
        log_error("no memory for the timer that notices silent brokers; the next registration "
                  "tries again");
}

static void on_silence(void *ctx)
{
    struct namesrv *ns = ctx;
    int64_t now_ms = loop_now_ms(ns->loop);
    struct route_gone gone;
    int64_t next_ms;

    while (route_table_take_silent(ns->table, now_ms, &gone)) {
        struct conn *c = loop_conn(ns->loop, gone.channel);

        say_gone(&gone, "it was silent for too long");
        if (c)
            conn_close(c, NULL);
    }
    /* heartbeats move this on, so it mostly fires once in a while and finds nothing */
    next_ms = route_table_next_silent_ms(ns->table);
    if (next_ms == INT64_MAX)
        return;
    if (next_ms < now_ms + ns->options.scan_interval_ms)
        next_ms = now_ms + ns->options.scan_interval_ms;
    arm_silence(ns, next_ms);
}

void namesrv_broker_spoke(const struct request *rq, const struct route_member *member)
{
    struct namesrv *ns = rq->ns;
    int64_t due_ms = member->seen_ms + member->timeout_ms + 1;

    conn_set_user(rq->conn, ns);
    if (ns->silence.heap_at == 0 || due_ms < ns->silence.due_ms)
        arm_silence(ns, due_ms);
}

/* ---- life ---- */

static const struct remoting_handler handler = {.request = on_request, .closed = on_closed};

static int open_tables(struct namesrv *ns, struct err *err)
{
    uint64_t seed;
    int r;

    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        return err_set(err, -errno, "get random bytes");
    r = route_table_new(&ns->table, seed);
    if (r == 0)
        r = kv_config_new(&ns->kv);
    if (r == 0)
        r = ns_stored_init(&ns->kv_file, ns, ns->options.kv_config_path);
    if (r == 0)
        r = ns_stored_init(&ns->changed_file, ns, ns->options.config_store_path);
    if (r < 0)
        return err_set(err, r, "set up the tables of the name server");
    if (ns->options.kv_config_path[0] == '\0')
        return 0;
    return kv_config_load(ns->kv, ns->options.kv_config_path, err);
}

static int open_listener(struct namesrv *ns, struct err *err)
{
    struct listener_options options = {
        .address = ns->options.bind_address,
        .port = (uint16_t)ns->options.listen_port,
        .loops = &ns->loop,
        .loop_count = 1,
        .remoting = &handler,
        .ctx = ns,
        .connections_max = NAMESRV_CONNECTIONS_MAX,
    };
    int r = listener_new(&ns->listener, &options, err);

    if (r == 0)
        ns->port = listener_port(ns->listener);
    return r;
}

int namesrv_new(struct namesrv **out, const struct namesrv_options *options, struct loop *loop,
                struct err *err)
{
    struct namesrv *ns = calloc(1, sizeof(*ns));
    int r;

    if (!ns)
        return err_set(err, -ENOMEM, "set up the name server");
    ns->options = *options;
    ns->loop = loop;
    loop_timer_init(&ns->silence, loop, on_silence, ns);
    r = open_tables(ns, err);
    if (r == 0)
        r = open_listener(ns, err);
    if (r < 0) {
        namesrv_stop(ns);
        namesrv_free(ns);
        return r;
    }
    *out = ns;
    return 0;
}

uint16_t namesrv_port(const struct namesrv *ns)
{
    return ns->port;
}

void namesrv_stop(struct namesrv *ns)
{
    if (ns->stopped)
        return;
    ns->stopped = true;
    ns->listener = listener_free(ns->listener);
    loop_timer_cancel(&ns->silence);
    ns_stored_stop(&ns->kv_file);
    ns_stored_stop(&ns->changed_file);
}

struct namesrv *namesrv_free(struct namesrv *ns)
{
    if (!ns)
        return NULL;
    ns_stored_destroy(&ns->kv_file);
    ns_stored_destroy(&ns->changed_file);
    kv_config_free(ns->kv);
    route_table_free(ns->table);
    free(ns);
    return NULL;
}

void namesrv_stats(const struct namesrv *ns, struct namesrv_stats *out)
{
    out->groups = route_table_group_count(ns->table);
    out->topics = route_table_topic_count(ns->table);
    out->queues = route_table_queue_count(ns->table);
    out->waiting = ns->kv_file.waiting_count + ns->changed_file.waiting_count;
}
