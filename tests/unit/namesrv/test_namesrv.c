/* test_namesrv.c - a whole name server on a loop, asked over TCP.
 * vectors/conversation_*.txt were recorded at a RocketMQ 4.9.8 name server; ours must give the same
 * answers, byte for byte. */
#include "namesrv/namesrv.h"

#include <stdio.h>

#include "common/codes.h"
#include "common/crc.h"
#include "common/file.h"
#include "common/log.h"
#include "common/loop_fixture.h"
#include "common/rpc.h"
#include "unit.h"

enum { WAIT_MS = 60000 };

static struct fixture f;
static struct namesrv *ns;
static struct namesrv_options options;
static char dir[64];

static void start(void)
{
    struct err err;

    fixture_loops(&f, 1);
    ck_assert_msg(namesrv_new(&ns, &options, f.loops[0], &err) == 0, "%s", err.text);
    fixture_run(&f);
}

static void stop_on_loop(void *arg)
{
    namesrv_stop(arg);
}

static void stop(void)
{
    fixture_on_loop(f.loops[0], stop_on_loop, ns);
    fixture_stop(&f);
    ns = namesrv_free(ns);
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/tern-namesrv-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    log_set_level(LOG_LEVEL_ERROR);
    namesrv_options_init(&options, NULL);
    options.listen_port = 0;
    snprintf(options.kv_config_path, sizeof(options.kv_config_path), "%s/kv.json", dir);
    start();
}

static void teardown(void)
{
    char command[128];

    stop();
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* ---- asking ---- */

static struct rpc *client_of(const struct namesrv *server)
{
    char address[32];
    struct rpc *client;
    struct err err;

    snprintf(address, sizeof(address), "127.0.0.1:%u", namesrv_port(server));
    ck_assert_msg(rpc_new(&client, address, &err) == 0, "%s", err.text);
    return client;
}

static struct remoting_frame reply; /* of the last ask() */

#define FIELDS(...) ((const struct rpc_field[]){__VA_ARGS__, {NULL, NULL}})

static int32_t ask_as(struct rpc *client, uint8_t serialize, int32_t code,
                      const struct rpc_field *fields, const char *body)
{
    struct rpc_request request = {
        .code = code, .serialize = serialize, .fields = fields, .body = bytes_str(body)};
    struct err err;

    while (fields && fields[request.field_count].key)
        request.field_count++;
    ck_assert_msg(rpc_call(client, &request, WAIT_MS, &reply, &err) == 0, "%s", err.text);
    ck_assert_int_eq(reply.serialize, serialize);
    return reply.code;
}

static int32_t ask(struct rpc *client, int32_t code, const struct rpc_field *fields,
                   const char *body)
{
    return ask_as(client, REMOTING_JSON, code, fields, body);
}

static void expect_body(const char *text)
{
    ck_assert_msg(bytes_is(reply.body, text), "%.*s", (int)reply.body.len,
                  (const char *)reply.body.at);
}

static void expect_field(const char *key, const char *text)
{
    const struct bytes *value = remoting_field(&reply, key);

    ck_assert_msg(value && bytes_is(*value, text), "%s", key);
}

static void expect_remark(const char *part)
{
    char remark[1024];

    ck_assert(bytes_to_cstr(reply.remark, remark, sizeof(remark)));
    ck_assert_msg(strstr(remark, part) != NULL, "\"%s\" says nothing of \"%s\"", remark, part);
}

#define BODY_T                                                                                     \
    "{\"filterServerList\":[],\"topicConfigSerializeWrapper\":{\"dataVersion\":{\"counter\":1,"    \
    "\"timestamp\":100},\"topicConfigTable\":{\"T\":{\"perm\":6,\"readQueueNums\":4,"              \
    "\"writeQueueNums\":4}}}}"

#define BROKER(id, address)                                                                        \
    {"brokerName", "a"}, {"brokerAddr", address}, {"clusterName", "C"},                            \
        {"haServerAddr", "127.0.0.1:10912"},                                                       \
    {                                                                                              \
        "brokerId", id                                                                             \
    }

static void join_master(struct rpc *client)
{
    ck_assert_int_eq(
        ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:10911")), BODY_T), 0);
}

static int32_t route_of_t(struct rpc *client)
{
    return ask(client, REQUEST_GET_ROUTEINFO_BY_TOPIC, FIELDS({"topic", "T"}), NULL);
}

/* Until the topic has no route any more, or the deadline of the test. */
static void wait_for_no_route(struct rpc *client)
{
    struct timespec pause = {.tv_nsec = 2000000};

    while (route_of_t(client) != RESPONSE_TOPIC_NOT_EXIST)
        nanosleep(&pause, NULL);
}

/* ---- recorded conversations ---- */

static size_t unhex(const char *text, uint8_t *out, size_t room)
{
    size_t n = 0;
    unsigned byte;

    while (n < room && sscanf(text + 2 * n, "%2x", &byte) == 1)
        out[n++] = (uint8_t)byte;
    return n;
}

static const char *const conversations[] = {"conversation_master_slave.txt",
                                            "conversation_compressed.txt"};

START_TEST(answers_are_those_of_rocketmq_to_the_byte)
{
    static char line[65536];
    static uint8_t frame[32768], answer[32768];
    int fd = client_open(namesrv_port(ns));
    char path[512];
    FILE *file;
    size_t exchanged = 0;

    snprintf(path, sizeof(path), "%s/%s", TERN_TEST_VECTORS, conversations[_i]);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file)) {
        size_t len = line[0] == '>' || line[0] == '<' ? unhex(line + 2, frame, sizeof(frame)) : 0;

        if (line[0] == '>') {
            client_send(fd, frame, len);
        } else if (line[0] == '<') {
            client_receive(fd, answer, len);
            ck_assert_msg(memcmp(answer, frame, len) == 0, "answer %zu\nis  %.*s\nnot %.*s",
                          exchanged, (int)len - 8, (const char *)answer + 8, (int)len - 8,
                          (const char *)frame + 8);
            exchanged++;
        }
    }
    fclose(file);
    close(fd);
    ck_assert_uint_ge(exchanged, 5);
}
END_TEST

/* ---- registration ---- */

START_TEST(every_required_field_is_named_when_it_is_missing)
{
    static const struct {
        int32_t code;
        const char *fields[6];
    } requests[] = {
        {REQUEST_REGISTER_BROKER,
         {"brokerName", "brokerAddr", "clusterName", "haServerAddr", "brokerId"}},
        {REQUEST_UNREGISTER_BROKER, {"brokerName", "brokerAddr", "clusterName", "brokerId"}},
        {REQUEST_QUERY_DATA_VERSION, {"brokerName", "brokerAddr", "clusterName", "brokerId"}},
        {REQUEST_BROKER_HEARTBEAT, {"brokerName", "brokerAddr", "clusterName"}},
        {REQUEST_GET_BROKER_MEMBER_GROUP, {"brokerName", "clusterName"}},
        {REQUEST_REGISTER_TOPIC_IN_NAMESRV, {"topic"}},
        {REQUEST_GET_ROUTEINFO_BY_TOPIC, {"topic"}},
        {REQUEST_GET_TOPICS_BY_CLUSTER, {"cluster"}},
        {REQUEST_PUT_KV_CONFIG, {"namespace", "key", "value"}},
        {REQUEST_GET_KV_CONFIG, {"namespace", "key"}},
        {REQUEST_DELETE_KV_CONFIG, {"namespace", "key"}},
        {REQUEST_GET_KVLIST_BY_NAMESPACE, {"namespace"}},
        {REQUEST_WIPE_WRITE_PERM_OF_BROKER, {"brokerName"}},
        {REQUEST_ADD_WRITE_PERM_OF_BROKER, {"brokerName"}},
        {REQUEST_DELETE_TOPIC_IN_NAMESRV, {"topic"}},
    };
    struct rpc *client = client_of(ns);

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        for (size_t missing = 0; requests[i].fields[missing]; missing++) {
            struct rpc_field fields[7] = {{NULL, NULL}};
            size_t n = 0;

            for (size_t k = 0; requests[i].fields[k]; k++) {
                if (k != missing)
                    fields[n++] = (struct rpc_field){
                        requests[i].fields[k],
                        strcmp(requests[i].fields[k], "brokerId") == 0 ? "0" : "127.0.0.1:1"};
            }
            for (uint8_t serialize = 0; serialize < 2; serialize++) {
                ck_assert_int_eq(ask_as(client, serialize, requests[i].code, fields, NULL),
                                 RESPONSE_SYSTEM_ERROR);
                expect_remark(requests[i].fields[missing]);
            }
        }
    }
    rpc_free(client);
}
END_TEST

START_TEST(bad_values_are_named)
{
    struct rpc *client = client_of(ns);

    ck_assert_int_eq(
        ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("x", "127.0.0.1:10911")), BODY_T),
        RESPONSE_SYSTEM_ERROR);
    expect_remark("brokerId is x");
    ck_assert_int_eq(
        ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("-1", "127.0.0.1:10911")), BODY_T),
        RESPONSE_SYSTEM_ERROR);
    expect_remark("brokerId is -1");
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("0", "nowhere")), BODY_T),
                     RESPONSE_SYSTEM_ERROR);
    expect_remark("brokerAddr is nowhere");
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER,
                         FIELDS(BROKER("0", "127.0.0.1:10911"), {"heartbeatTimeoutMillis", "0"}),
                         BODY_T),
                     RESPONSE_SYSTEM_ERROR);
    expect_remark("heartbeatTimeoutMillis is 0");
    ck_assert_int_eq(
        ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:10911")), "{\"x\""),
        RESPONSE_SYSTEM_ERROR);
    expect_remark("body of the registration");
    ck_assert_int_eq(route_of_t(client), RESPONSE_TOPIC_NOT_EXIST);
    rpc_free(client);
}
END_TEST

START_TEST(the_crc_of_the_body_is_checked_when_it_is_given)
{
    struct rpc *client = client_of(ns);
    char crc[16];

    snprintf(crc, sizeof(crc), "%u", crc31_of(bytes_str(BODY_T)));
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER,
                         FIELDS(BROKER("0", "127.0.0.1:10911"), {"bodyCrc32", "12345"}), BODY_T),
                     RESPONSE_SYSTEM_ERROR);
    expect_remark("bodyCrc32 does not match");
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER,
                         FIELDS(BROKER("0", "127.0.0.1:10911"), {"bodyCrc32", "0"}), BODY_T),
                     0);
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER,
                         FIELDS(BROKER("0", "127.0.0.1:10911"), {"bodyCrc32", crc}), BODY_T),
                     0);
    rpc_free(client);
}
END_TEST

START_TEST(both_serializations_are_mirrored)
{
    struct rpc *client = client_of(ns);

    for (uint8_t serialize = 0; serialize < 2; serialize++) {
        ck_assert_int_eq(ask_as(client, serialize, REQUEST_REGISTER_BROKER,
                                FIELDS(BROKER("0", "127.0.0.1:10911")), BODY_T),
                         0);
        ck_assert_int_eq(ask_as(client, serialize, REQUEST_REGISTER_BROKER,
                                FIELDS(BROKER("1", "127.0.0.1:10921")), NULL),
                         0);
        expect_field("masterAddr", "127.0.0.1:10911");
        expect_field("haServerAddr", "127.0.0.1:10912");
        ck_assert_int_eq(ask_as(client, serialize, 31000, NULL, NULL),
                         RESPONSE_REQUEST_CODE_NOT_SUPPORTED);
        expect_remark("31000");
    }
    rpc_free(client);
}
END_TEST

START_TEST(a_one_way_request_is_done_and_not_answered)
{
    struct rpc *client = client_of(ns);
    static const int32_t unanswered[] = {REQUEST_GET_ROUTEINFO_BY_TOPIC, REQUEST_REGISTER_BROKER,
                                         31000};
    struct rpc_request request = {.code = REQUEST_REGISTER_BROKER,
                                  .oneway = true,
                                  .fields = FIELDS(BROKER("0", "127.0.0.1:10911")),
                                  .field_count = 5,
                                  .body = bytes_str(BODY_T)};
    struct err err;

    ck_assert_int_eq(rpc_call(client, &request, WAIT_MS, &reply, &err), 0);
    request.field_count = 0; /* a failure and an unknown code are not answered either */
    for (size_t i = 0; i < 3; i++) {
        request.code = unanswered[i];
        ck_assert_int_eq(rpc_call(client, &request, WAIT_MS, &reply, &err), 0);
    }
    /* the next answer is that of the next question */
    ck_assert_int_eq(route_of_t(client), 0);
    rpc_free(client);
}
END_TEST

START_TEST(the_data_version_tells_whether_to_register)
{
    struct rpc *client = client_of(ns);
    const struct rpc_field *broker = FIELDS(BROKER("0", "127.0.0.1:10911"));

    ck_assert_int_eq(
        ask(client, REQUEST_QUERY_DATA_VERSION, broker, "{\"counter\":1,\"timestamp\":100}"), 0);
    expect_field("changed", "true");
    expect_body("");
    join_master(client);
    ck_assert_int_eq(
        ask(client, REQUEST_QUERY_DATA_VERSION, broker, "{\"counter\":1,\"timestamp\":100}"), 0);
    expect_field("changed", "false");
    expect_body("{\"counter\":1,\"timestamp\":100}");
    ck_assert_int_eq(ask(client, REQUEST_QUERY_DATA_VERSION, broker,
                         "{\"counter\":1,\"stateVersion\":2,\"timestamp\":100}"),
                     0);
    expect_field("changed", "true");
    expect_body("{\"counter\":1,\"timestamp\":100}");
    ck_assert_int_eq(ask(client, REQUEST_QUERY_DATA_VERSION, FIELDS(BROKER("1", "127.0.0.1:10911")),
                         "{\"counter\":1,\"timestamp\":100}"),
                     0);
    expect_field("changed", "true"); /* registered under another id */
    ck_assert_int_eq(ask(client, REQUEST_QUERY_DATA_VERSION, broker, "nonsense"),
                     RESPONSE_SYSTEM_ERROR);
    rpc_free(client);
}
END_TEST

START_TEST(unregistering_is_by_address)
{
    struct rpc *client = client_of(ns);

    join_master(client);
    ck_assert_int_eq(
        ask(client, REQUEST_UNREGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:20911")), NULL), 0);
    ck_assert_int_eq(route_of_t(client), 0);
    ck_assert_int_eq(
        ask(client, REQUEST_UNREGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:10911")), NULL), 0);
    ck_assert_int_eq(route_of_t(client), RESPONSE_TOPIC_NOT_EXIST);
    rpc_free(client);
}
END_TEST

START_TEST(a_lower_state_version_is_told_that_it_lost)
{
    struct rpc *client = client_of(ns);

    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:10911")),
                         "{\"dataVersion\":{\"stateVersion\":9}}"),
                     0);
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:20911")),
                         "{\"dataVersion\":{\"stateVersion\":8}}"),
                     0);
    expect_remark("higher stateVersion");
    ck_assert_int_eq(ask(client, REQUEST_GET_BROKER_MEMBER_GROUP,
                         FIELDS({"brokerName", "a"}, {"clusterName", "C"}), NULL),
                     0);
    expect_body("{\"brokerMemberGroup\":{\"brokerAddrs\":{0:\"127.0.0.1:10911\"},"
                "\"brokerName\":\"a\",\"cluster\":\"C\"}}");
    rpc_free(client);
}
END_TEST

START_TEST(a_topic_can_be_registered_for_known_brokers)
{
    struct rpc *client = client_of(ns);

    join_master(client);
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_TOPIC_IN_NAMESRV, FIELDS({"topic", "New"}),
                         "{\"queueDatas\":[{\"brokerName\":\"nobody\",\"perm\":6}]}"),
                     0);
    ck_assert_int_eq(ask(client, REQUEST_GET_ROUTEINFO_BY_TOPIC, FIELDS({"topic", "New"}), NULL),
                     RESPONSE_TOPIC_NOT_EXIST);
    ck_assert_int_eq(ask(client, REQUEST_REGISTER_TOPIC_IN_NAMESRV, FIELDS({"topic", "New"}),
                         "{\"queueDatas\":[{\"brokerName\":\"a\",\"perm\":6,"
                         "\"readQueueNums\":2,\"writeQueueNums\":2}]}"),
                     0);
    ck_assert_int_eq(ask(client, REQUEST_GET_ROUTEINFO_BY_TOPIC, FIELDS({"topic", "New"}), NULL),
                     0);
    rpc_free(client);
}
END_TEST

/* ---- losing brokers ---- */

START_TEST(a_closed_connection_removes_its_broker_at_once)
{
    struct rpc *broker = client_of(ns), *client = client_of(ns);

    join_master(broker);
    ck_assert_int_eq(route_of_t(client), 0);
    rpc_free(broker);
    wait_for_no_route(client);
    rpc_free(client);
}
END_TEST

START_TEST(a_broker_that_came_back_survives_its_old_connection)
{
    struct rpc *before = client_of(ns), *now = client_of(ns), *client = client_of(ns);

    join_master(before);
    join_master(now);
    rpc_free(before);
    /* the close is seen before or between these */
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(route_of_t(client), 0);
    rpc_free(now);
    wait_for_no_route(client);
    rpc_free(client);
}
END_TEST

START_TEST(a_silent_broker_is_removed_and_disconnected)
{
    struct rpc *client = client_of(ns);
    int fd;
    struct buf out = {0};
    struct remoting_writer w;
    struct remoting_meta meta = {.code = REQUEST_REGISTER_BROKER,
                                 .flag = REMOTING_FLAG_ONEWAY,
                                 .version = REMOTING_VERSION,
                                 .has_fields = true};
    const struct rpc_field *fields =
        FIELDS(BROKER("0", "127.0.0.1:10911"), {"heartbeatTimeoutMillis", "1"});

    fd = client_open(namesrv_port(ns));
    remoting_begin(&w, &out, &meta);
    for (size_t i = 0; fields[i].key; i++)
        remoting_put_str(&w, fields[i].key, fields[i].value);
    remoting_body(&w);
    buf_add_str(&out, BODY_T);
    remoting_end(&w);
    client_send(fd, buf_at(&out), out.len);

    client_expect_end(fd);
    ck_assert_int_eq(route_of_t(client), RESPONSE_TOPIC_NOT_EXIST);
    close(fd);
    buf_destroy(&out);
    rpc_free(client);
}
END_TEST

START_TEST(a_heartbeat_is_success_even_for_a_stranger)
{
    struct rpc *client = client_of(ns);
    const struct rpc_field *broker =
        FIELDS({"brokerName", "a"}, {"brokerAddr", "127.0.0.1:10911"}, {"clusterName", "C"});

    ck_assert_int_eq(ask(client, REQUEST_BROKER_HEARTBEAT, broker, NULL), 0);
    join_master(client);
    ck_assert_int_eq(ask(client, REQUEST_BROKER_HEARTBEAT, broker, NULL), 0);
    rpc_free(client);
}
END_TEST

/* ---- KV and configuration ---- */

START_TEST(kv_changes_outlive_the_name_server)
{
    struct rpc *client = client_of(ns);

    ck_assert_int_eq(
        ask(client, REQUEST_GET_KV_CONFIG, FIELDS({"namespace", "N"}, {"key", "k"}), NULL),
        RESPONSE_QUERY_NOT_FOUND);
    ck_assert_int_eq(ask(client, REQUEST_GET_KVLIST_BY_NAMESPACE, FIELDS({"namespace", "N"}), NULL),
                     RESPONSE_QUERY_NOT_FOUND);
    for (uint8_t serialize = 0; serialize < 2; serialize++)
        ck_assert_int_eq(ask_as(client, serialize, REQUEST_PUT_KV_CONFIG,
                                FIELDS({"namespace", "N"}, {"key", "k"}, {"value", "v"}), NULL),
                         0);
    ck_assert_int_eq(ask(client, REQUEST_PUT_KV_CONFIG,
                         FIELDS({"namespace", "N"}, {"key", "gone"}, {"value", "v"}), NULL),
                     0);
    ck_assert_int_eq(
        ask(client, REQUEST_DELETE_KV_CONFIG, FIELDS({"namespace", "N"}, {"key", "gone"}), NULL),
        0);
    rpc_free(client);
    stop();
    start();
    client = client_of(ns);
    ck_assert_int_eq(
        ask(client, REQUEST_GET_KV_CONFIG, FIELDS({"namespace", "N"}, {"key", "k"}), NULL), 0);
    expect_field("value", "v");
    ck_assert_int_eq(ask(client, REQUEST_GET_KVLIST_BY_NAMESPACE, FIELDS({"namespace", "N"}), NULL),
                     0);
    expect_body("{\"table\":{\"k\":\"v\"}}");
    rpc_free(client);
}
END_TEST

START_TEST(a_change_that_cannot_be_kept_is_in_effect_and_said)
{
    struct rpc *client;

    stop();
    snprintf(options.kv_config_path, sizeof(options.kv_config_path), "/proc/no/kv.json");
    snprintf(options.config_store_path, sizeof(options.config_store_path), "/proc/no/changed");
    start();
    client = client_of(ns);
    ck_assert_int_eq(ask(client, REQUEST_PUT_KV_CONFIG,
                         FIELDS({"namespace", "N"}, {"key", "k"}, {"value", "v"}), NULL),
                     RESPONSE_SYSTEM_ERROR);
    expect_remark("not kept");
    ck_assert_int_eq(
        ask(client, REQUEST_GET_KV_CONFIG, FIELDS({"namespace", "N"}, {"key", "k"}), NULL), 0);
    ck_assert_int_eq(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, "orderMessageEnable=true"),
                     RESPONSE_SYSTEM_ERROR);
    expect_remark("not kept");
    rpc_free(client);
}
END_TEST

START_TEST(changed_settings_outlive_the_name_server)
{
    struct rpc *client;
    struct err err;

    stop();
    snprintf(options.config_store_path, sizeof(options.config_store_path), "%s/changed", dir);
    start();
    client = client_of(ns);
    ck_assert_int_eq(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, "orderMessageEnable=true"),
                     0);
    rpc_free(client);
    ck_assert_int_eq(namesrv_options_load_changed(&options, NULL, &err), 0);
    ck_assert(options.order_message_enable);
}
END_TEST

START_TEST(order_topics_reach_brokers_and_clients)
{
    struct rpc *client = client_of(ns);

    join_master(client);
    expect_body("");
    ck_assert_int_eq(
        ask(client, REQUEST_PUT_KV_CONFIG,
            FIELDS({"namespace", "ORDER_TOPIC_CONFIG"}, {"key", "T"}, {"value", "a:4"}), NULL),
        0);
    join_master(client);
    expect_body("{\"table\":{\"T\":\"a:4\"}}");
    ck_assert_int_eq(route_of_t(client), 0);
    ck_assert_ptr_null(memmem(reply.body.at, reply.body.len, "orderTopicConf", 14));
    ck_assert_int_eq(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, "orderMessageEnable=true\n"),
                     0);
    ck_assert_int_eq(route_of_t(client), 0);
    ck_assert_ptr_nonnull(memmem(reply.body.at, reply.body.len, "\"orderTopicConf\":\"a:4\"", 22));
    rpc_free(client);
}
END_TEST

START_TEST(the_dialect_follows_the_asker)
{
    struct rpc *client = client_of(ns); /* says that it is 4.9.8 */

    join_master(client);
    ck_assert_int_eq(route_of_t(client), 0);
    ck_assert_ptr_nonnull(memmem(reply.body.at, reply.body.len, "{\"0\":", 5));
    rpc_free(client);

    static const struct {
        int32_t version;
        const char *standard;
        const char *expected;
    } cases[] = {{400, NULL, "{0:"},
                 {401, NULL, "{\"0\":"},
                 {0, "true", "{\"0\":"},
                 {0, "false", "{0:"},
                 {0, NULL, "{0:"}};
    struct buf out = {0};
    client = client_of(ns);
    join_master(client);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct remoting_meta meta = {.code = REQUEST_GET_ROUTEINFO_BY_TOPIC,
                                     .version = cases[i].version,
                                     .has_fields = true};
        struct remoting_writer w;
        uint8_t size[4], answer[4096];
        int fd = client_open(namesrv_port(ns));

        buf_reset(&out);
        remoting_begin(&w, &out, &meta);
        remoting_put_str(&w, "topic", "T");
        if (cases[i].standard)
            remoting_put_str(&w, "acceptStandardJsonOnly", cases[i].standard);
        remoting_end(&w);
        client_send(fd, buf_at(&out), out.len);
        client_receive(fd, size, 4);
        ck_assert_uint_lt(load_be32(size), sizeof(answer));
        client_receive(fd, answer, load_be32(size));
        ck_assert_msg(
            memmem(answer, load_be32(size), cases[i].expected, strlen(cases[i].expected)) != NULL,
            "case %zu", i);
        close(fd);
    }
    buf_destroy(&out);
    rpc_free(client);
}
END_TEST

START_TEST(requests_may_change_only_what_is_allowed)
{
    static const struct {
        const char *body;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"kvConfigPath=/etc/passwd", RESPONSE_NO_PERMISSION, "kvConfigPath"},
        {"configStorePath=/etc/passwd", RESPONSE_NO_PERMISSION, "configStorePath"},
        {"rocketmqHome=/", RESPONSE_NO_PERMISSION, "rocketmqHome"},
        {"portFile=/etc/passwd", RESPONSE_NO_PERMISSION, "portFile"},
        {"configBlackList=", RESPONSE_NO_PERMISSION, "configBlackList"},
        {"listenPort=1", RESPONSE_NO_PERMISSION, "listenPort"},
        {"orderMessageEnable=true\nkvConfigPath=x", RESPONSE_NO_PERMISSION, "kvConfigPath"},
        {"orderMessageEnable=maybe", RESPONSE_SYSTEM_ERROR, "orderMessageEnable"},
        {"orderMessageEnable=\\u12", RESPONSE_SYSTEM_ERROR, ""},
        {"clusterTest=true", 0, ""},
        {"noSuchKey=1", 0, "noSuchKey"},
        {"", 0, ""},
        {"enableAllTopicList=false", 0, ""},
    };
    struct rpc *client = client_of(ns);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, cases[i].body) ==
                          cases[i].code,
                      "%s", cases[i].body);
        expect_remark(cases[i].remark);
    }
    /* the refused ones changed nothing, not even in part */
    ck_assert_int_eq(ask(client, REQUEST_GET_NAMESRV_CONFIG, NULL, NULL), 0);
    ck_assert_ptr_nonnull(memmem(reply.body.at, reply.body.len, "orderMessageEnable=false\n", 25));
    ck_assert_int_eq(ask(client, REQUEST_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL, NULL),
                     RESPONSE_SYSTEM_ERROR);
    rpc_free(client);
}
END_TEST

START_TEST(the_black_list_of_the_operator_counts)
{
    struct rpc *client;

    stop();
    snprintf(options.config_black_list, sizeof(options.config_black_list),
             "logLevel;orderMessageEnable");
    start();
    client = client_of(ns);
    ck_assert_int_eq(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, "orderMessageEnable=true"),
                     RESPONSE_NO_PERMISSION);
    ck_assert_int_eq(ask(client, REQUEST_UPDATE_NAMESRV_CONFIG, NULL, "supportActingMaster=true"),
                     0);
    rpc_free(client);
}
END_TEST

START_TEST(write_permission_is_taken_and_given)
{
    struct rpc *client = client_of(ns);

    join_master(client);
    ck_assert_int_eq(
        ask(client, REQUEST_WIPE_WRITE_PERM_OF_BROKER, FIELDS({"brokerName", "a"}), NULL), 0);
    expect_field("wipeTopicCount", "1");
    route_of_t(client);
    ck_assert_ptr_nonnull(memmem(reply.body.at, reply.body.len, "\"perm\":4", 8));
    ck_assert_int_eq(
        ask(client, REQUEST_ADD_WRITE_PERM_OF_BROKER, FIELDS({"brokerName", "a"}), NULL), 0);
    expect_field("addTopicCount", "1");
    route_of_t(client);
    ck_assert_ptr_nonnull(memmem(reply.body.at, reply.body.len, "\"perm\":6", 8));
    ck_assert_int_eq(ask(client, REQUEST_DELETE_TOPIC_IN_NAMESRV,
                         FIELDS({"topic", "T"}, {"clusterName", "C"}), NULL),
                     0);
    ck_assert_int_eq(route_of_t(client), RESPONSE_TOPIC_NOT_EXIST);
    rpc_free(client);
}
END_TEST

START_TEST(lists_are_answered)
{
    struct rpc *client = client_of(ns);

    join_master(client);
    ck_assert_int_eq(ask(client, REQUEST_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL, NULL), 0);
    expect_body("{\"topicList\":[\"T\"]}");
    ck_assert_int_eq(ask(client, REQUEST_GET_TOPICS_BY_CLUSTER, FIELDS({"cluster", "C"}), NULL), 0);
    expect_body("{\"topicList\":[\"T\"]}");
    ck_assert_int_eq(ask(client, REQUEST_GET_TOPICS_BY_CLUSTER, FIELDS({"cluster", "D"}), NULL), 0);
    expect_body("{\"topicList\":[]}");
    ck_assert_int_eq(ask(client, REQUEST_GET_SYSTEM_TOPIC_LIST_FROM_NS, NULL, NULL), 0);
    expect_body("{\"brokerAddr\":\"127.0.0.1:10911\",\"topicList\":[\"C\",\"a\"]}");
    for (int32_t code = 311; code <= 313; code++) {
        ck_assert_int_eq(ask(client, code, NULL, NULL), 0);
        expect_body("{\"topicList\":[]}");
    }
    ck_assert_int_eq(ask(client, REQUEST_GET_BROKER_CLUSTER_INFO, NULL, NULL), 0);
    expect_body("{\"brokerAddrTable\":{\"a\":{\"brokerAddrs\":{0:\"127.0.0.1:10911\"},"
                "\"brokerName\":\"a\",\"cluster\":\"C\"}},\"clusterAddrTable\":{\"C\":[\"a\"]}}");
    rpc_free(client);
}
END_TEST

/* ---- life ---- */

START_TEST(two_on_one_loop_know_nothing_of_one_another)
{
    struct fixture both;
    struct namesrv *one, *two;
    struct namesrv_options other = options;
    struct rpc *to_one, *to_two;
    struct err err;

    other.kv_config_path[0] = '\0';
    fixture_loops(&both, 1);
    ck_assert_int_eq(namesrv_new(&one, &other, both.loops[0], &err), 0);
    ck_assert_int_eq(namesrv_new(&two, &other, both.loops[0], &err), 0);
    fixture_run(&both);
    to_one = client_of(one);
    to_two = client_of(two);

    join_master(to_one);
    ck_assert_int_eq(route_of_t(to_one), 0);
    ck_assert_int_eq(route_of_t(to_two), RESPONSE_TOPIC_NOT_EXIST);
    join_master(to_two);
    ck_assert_int_eq(
        ask(to_one, REQUEST_UNREGISTER_BROKER, FIELDS(BROKER("0", "127.0.0.1:10911")), NULL), 0);
    ck_assert_int_eq(route_of_t(to_two), 0);

    rpc_free(to_one);
    rpc_free(to_two);
    fixture_on_loop(both.loops[0], stop_on_loop, one);
    fixture_on_loop(both.loops[0], stop_on_loop, two);
    fixture_stop(&both);
    namesrv_free(one);
    namesrv_free(two);
}
END_TEST

START_TEST(a_port_in_use_is_an_error_that_names_it)
{
    struct namesrv_options other = options;
    struct namesrv *second = NULL;
    char port[16];
    struct err err;

    other.listen_port = namesrv_port(ns);
    snprintf(port, sizeof(port), "%u", namesrv_port(ns));
    ck_assert_int_lt(namesrv_new(&second, &other, f.loops[0], &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, port));
    ck_assert_ptr_null(second);
}
END_TEST

START_TEST(a_broken_kv_file_stops_the_start)
{
    struct namesrv_options other = options;
    struct namesrv *second = NULL;
    struct err err;

    snprintf(other.kv_config_path, sizeof(other.kv_config_path), "%s/broken.json", dir);
    ck_assert_int_eq(file_replace(other.kv_config_path, BYTES_LIT("{"), &err), 0);
    ck_assert_int_lt(namesrv_new(&second, &other, f.loops[0], &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, "broken.json"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("namesrv");
    TCase *c = tcase_create("over TCP");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, answers_are_those_of_rocketmq_to_the_byte, 0, 2);
    tcase_add_test(c, every_required_field_is_named_when_it_is_missing);
    tcase_add_test(c, bad_values_are_named);
    tcase_add_test(c, the_crc_of_the_body_is_checked_when_it_is_given);
    tcase_add_test(c, both_serializations_are_mirrored);
    tcase_add_test(c, a_one_way_request_is_done_and_not_answered);
    tcase_add_test(c, the_data_version_tells_whether_to_register);
    tcase_add_test(c, unregistering_is_by_address);
    tcase_add_test(c, a_lower_state_version_is_told_that_it_lost);
    tcase_add_test(c, a_topic_can_be_registered_for_known_brokers);
    tcase_add_test(c, a_closed_connection_removes_its_broker_at_once);
    tcase_add_test(c, a_broker_that_came_back_survives_its_old_connection);
    tcase_add_test(c, a_silent_broker_is_removed_and_disconnected);
    tcase_add_test(c, a_heartbeat_is_success_even_for_a_stranger);
    tcase_add_test(c, kv_changes_outlive_the_name_server);
    tcase_add_test(c, a_change_that_cannot_be_kept_is_in_effect_and_said);
    tcase_add_test(c, changed_settings_outlive_the_name_server);
    tcase_add_test(c, order_topics_reach_brokers_and_clients);
    tcase_add_test(c, the_dialect_follows_the_asker);
    tcase_add_test(c, requests_may_change_only_what_is_allowed);
    tcase_add_test(c, the_black_list_of_the_operator_counts);
    tcase_add_test(c, write_permission_is_taken_and_given);
    tcase_add_test(c, lists_are_answered);
    tcase_add_test(c, two_on_one_loop_know_nothing_of_one_another);
    tcase_add_test(c, a_port_in_use_is_an_error_that_names_it);
    tcase_add_test(c, a_broken_kv_file_stops_the_start);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
