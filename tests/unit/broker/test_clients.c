/* Who is connected: what a heartbeat changes, who is told of it, who is dropped for silence, and
 * the bounds. The registry by itself with connections that are only numbers, and a broker with real
 * ones. */
#include "broker_fixture.h"
#include "moved_clock.h"

#include "broker/clients.h"

/* --- the registry by itself --- */

static struct clients *registry;

/* A broker whose loops do not run: nobody is at the numbers that stand for connections. */
static void begin_registry(const struct clients_bounds *bounds)
{
    begin();
    make_broker(NULL);
    registry = clients_new(broker, bounds);
    ck_assert_ptr_nonnull(registry);
}

static void end_registry(void)
{
    registry = clients_free(registry);
    end();
}

static struct client_identity identity(conn_id conn)
{
    return (struct client_identity){.conn = conn,
                                    .client_id = BYTES_LIT("id"),
                                    .language = REMOTING_JAVA,
                                    .version = REMOTING_VERSION,
                                    .peer = "127.0.0.1:1"};
}

static int produce(conn_id conn, const char *group)
{
    struct client_identity who = identity(conn);

    return clients_add_producer(registry, &who, bytes_str(group));
}

static bool changed; /* as the last consume() said */

/* Topics and their tags in turn, NULL at the end; all with that version. */
static int consume_version(conn_id conn, const char *group, int64_t version, ...)
{
    struct client_subscription_data subscriptions[8] = {0};
    struct client_consumer consumer = {.group = bytes_str(group),
                                       .type = CONSUME_PASSIVELY,
                                       .model = MODEL_CLUSTERING,
                                       .subscriptions = subscriptions};
    struct client_identity who = identity(conn);
    const char *topic;
    va_list topics;
    int r;

    va_start(topics, version);
    while ((topic = va_arg(topics, const char *)) != NULL) {
        struct client_subscription_data *s = &subscriptions[consumer.subscription_count++];

        s->topic = bytes_str(topic);
        s->sub_string = bytes_str(va_arg(topics, const char *));
        s->expression_type = BYTES_LIT("TAG");
        s->version = version;
        ck_assert_int_eq(tag_filter_parse(&s->filter, s->sub_string), 0);
    }
    va_end(topics);
    changed = false;
    r = clients_add_consumer(registry, &who, &consumer, &changed);
    for (size_t i = 0; i < consumer.subscription_count; i++)
        tag_filter_destroy(&subscriptions[i].filter);
    return r;
}
#define consume(conn, group, ...) consume_version(conn, group, 1, __VA_ARGS__)

static void count_member(void *count, const struct client_member *m)
{
    (void)m;
    ++*(int *)count;
}

static int consumers_of(const char *group)
{
    int count = 0;
    bool found = clients_each_consumer(registry, bytes_str(group), count_member, &count);

    ck_assert_int_eq(found, count > 0);
    return count;
}

static int producers_of(const char *group)
{
    int count = 0;

    clients_each_producer(registry, bytes_str(group), count_member, &count);
    return count;
}

/* The tags of a subscription: does it let this one pass? */
static bool passes(const char *group, const char *topic, const char *tag)
{
    struct client_group_facts facts;
    struct tag_filter filter;
    bool pass;

    ck_assert_int_eq(clients_subscription(registry, bytes_str(group), bytes_str(topic), INT64_MIN,
                                          &filter, &facts),
                     CLIENT_SUBSCRIBED);
    pass = tag_filter_match(&filter, bytes_java_hash(bytes_str(tag)));
    tag_filter_destroy(&filter);
    return pass;
}

START_TEST(a_connection_comes_once_to_each_group_and_leaves_each_for_itself)
{
    begin_registry(NULL);
    ck_assert_int_eq(produce(1, "G"), 0);
    ck_assert_int_eq(produce(1, "G"), 0);
    ck_assert_int_eq(produce(2, "G"), 0);
    ck_assert_int_eq(consume(1, "G", "T", "*", NULL), 0);
    ck_assert(changed);
    ck_assert_int_eq(consume(1, "G", "T", "*", NULL), 0);
    ck_assert(!changed);
    ck_assert_int_eq(consume(1, "H", "T", "*", NULL), 0);
    ck_assert(changed);
    ck_assert_int_eq(producers_of("G"), 2);
    ck_assert_int_eq(consumers_of("G"), 1); /* producers of a name are no consumers of it */
    ck_assert_uint_eq(clients_count(registry), 2);

    ck_assert(!clients_remove_consumer(registry, 2, BYTES_LIT("G")));
    ck_assert(!clients_remove_producer(registry, 3, BYTES_LIT("G")));
    ck_assert(!clients_remove_producer(registry, 1, BYTES_LIT("never seen")));
    ck_assert(clients_remove_consumer(registry, 1, BYTES_LIT("G")));
    ck_assert(!clients_remove_consumer(registry, 1, BYTES_LIT("G")));
    ck_assert(!clients_group_online(registry, BYTES_LIT("G")));
    ck_assert_int_eq(producers_of("G"), 2);
    ck_assert(clients_remove_producer(registry, 1, BYTES_LIT("G")));
    ck_assert(clients_remove_producer(registry, 2, BYTES_LIT("G")));
    ck_assert_int_eq(producers_of("G"), 0);
    ck_assert_uint_eq(clients_count(registry), 1);
    clients_closed(registry, 1);
    clients_closed(registry, 1);
    ck_assert_int_eq(consumers_of("H"), 0);
    ck_assert_uint_eq(clients_count(registry), 0);
    end_registry();
}
END_TEST

START_TEST(one_in_many_groups_and_many_in_one_group_find_their_places)
{
    enum { MANY = 600 };
    char name[16];

    begin_registry(NULL);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "G%d", i);
        ck_assert_int_eq(consume(1, name, "T", "*", NULL), 0);
        ck_assert_int_eq(consume((conn_id)i + 1, "All", "T", "*", NULL), 0);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "G%d", i);
        ck_assert_int_eq(consume(1, name, "T", "*", NULL), 0);
        ck_assert(!changed);
        ck_assert_int_eq(consume((conn_id)i + 1, "All", "T", "*", NULL), 0);
        ck_assert(!changed);
        ck_assert_int_eq(consumers_of(name), 1);
    }
    ck_assert_int_eq(consumers_of("All"), MANY);
    for (int i = 0; i < MANY; i += 2)
        ck_assert(clients_remove_consumer(registry, (conn_id)i + 1, BYTES_LIT("All")));
    ck_assert_int_eq(consumers_of("All"), MANY / 2);
    clients_closed(registry, 1);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "G%d", i);
        ck_assert_int_eq(consumers_of(name), 0);
    }
    ck_assert_int_eq(consumers_of("All"), MANY / 2);
    end_registry();
}
END_TEST

START_TEST(the_last_heartbeat_says_what_a_group_subscribes_to)
{
    struct client_group_facts facts;
    struct tag_filter filter;

    begin_registry(NULL);
    ck_assert_int_eq(consume_version(1, "G", 5, "T", "A", "U", "*", NULL), 0);
    ck_assert(changed);
    ck_assert(passes("G", "T", "A"));
    ck_assert(!passes("G", "T", "B"));
    /* A newer version of the same topics is taken over, and nobody need balance anew. */
    ck_assert_int_eq(consume_version(2, "G", 6, "T", "B", "U", "*", NULL), 0);
    ck_assert_int_eq(consume_version(2, "G", 7, "T", "B", "U", "*", NULL), 0);
    ck_assert(!changed);
    ck_assert(passes("G", "T", "B"));
    /* An older one is not. */
    ck_assert_int_eq(consume_version(1, "G", 5, "T", "A", "U", "*", NULL), 0);
    ck_assert(!changed);
    ck_assert(!passes("G", "T", "A"));
    ck_assert_int_eq(
        clients_subscription(registry, BYTES_LIT("G"), BYTES_LIT("T"), 8, &filter, &facts),
        CLIENT_OLDER);
    ck_assert_int_eq(facts.subscription_version, 7);
    /* A topic more, a topic less. */
    ck_assert_int_eq(consume_version(1, "G", 8, "T", "A", "V", "*", NULL), 0);
    ck_assert(changed);
    ck_assert(!clients_group_subscribes(registry, BYTES_LIT("G"), BYTES_LIT("U")));
    ck_assert(clients_group_subscribes(registry, BYTES_LIT("G"), BYTES_LIT("V")));
    ck_assert_int_eq(
        clients_subscription(registry, BYTES_LIT("G"), BYTES_LIT("U"), 0, &filter, &facts),
        CLIENT_NO_TOPIC);
    ck_assert_int_eq(
        clients_subscription(registry, BYTES_LIT("H"), BYTES_LIT("T"), 0, &filter, &facts),
        CLIENT_NO_GROUP);
    /* What is named twice counts once, in its newest version. */
    ck_assert_int_eq(consume_version(1, "G", 9, "T", "A", "T", "B", NULL), 0);
    ck_assert(passes("G", "T", "A"));
    ck_assert_int_eq(consume_version(1, "G", 9, NULL), 0);
    ck_assert(changed);
    ck_assert(clients_group_online(registry, BYTES_LIT("G")));
    end_registry();
}
END_TEST

START_TEST(a_filter_is_outdated_when_the_subscription_is_another_or_gone)
{
    struct subscription_mark none = {.taken = false}, mark;
    struct client_group_facts facts;
    struct tag_filter filter;

    begin_registry(NULL);
    ck_assert_int_eq(consume_version(1, "G", 1, "T", "A", "U", "*", NULL), 0);
#define TAKE()                                                                                     \
    do {                                                                                           \
        ck_assert_int_eq(                                                                          \
            clients_subscription(registry, BYTES_LIT("G"), BYTES_LIT("T"), 0, &filter, &facts),    \
            CLIENT_SUBSCRIBED);                                                                    \
        tag_filter_destroy(&filter);                                                               \
        mark = facts.mark;                                                                         \
        ck_assert(!clients_changed(registry, &mark));                                              \
    } while (0)
    TAKE();
    /* The same with a newer version, something more, another member. */
    ck_assert_int_eq(consume_version(1, "G", 2, "T", "A", "U", "*", NULL), 0);
    ck_assert_int_eq(consume_version(1, "G", 2, "T", "A", "U", "*", "V", "*", NULL), 0);
    ck_assert_int_eq(consume_version(2, "G", 2, "T", "A", "U", "*", "V", "*", NULL), 0);
    clients_closed(registry, 2);
    ck_assert(!clients_changed(registry, &mark));
    ck_assert_int_eq(consume_version(1, "G", 3, "T", "B", "U", "*", "V", "*", NULL), 0);
    ck_assert(clients_changed(registry, &mark));
    TAKE();
    ck_assert_int_eq(consume_version(1, "G", 4, "T", "a||b||c||d||e||f||g", NULL), 0);
    ck_assert(clients_changed(registry, &mark));
    TAKE();
    ck_assert_int_eq(consume_version(1, "G", 5, "T", "a||b||c||d||e||f||g", NULL), 0);
    ck_assert(!clients_changed(registry, &mark));
    ck_assert_int_eq(consume_version(1, "G", 6, "T", "a||b||c||d||e||f||h", NULL), 0);
    ck_assert(clients_changed(registry, &mark));
    TAKE();
    clients_closed(registry, 1);
    ck_assert_int_eq(consume_version(1, "G", 1, "T", "A", NULL), 0);
    ck_assert(clients_changed(registry, &mark));
    ck_assert(!clients_changed(registry, &none));
    end_registry();
}
END_TEST

START_TEST(the_lowest_version_is_one_too)
{
    begin_registry(NULL);
    ck_assert_int_eq(consume_version(1, "G", INT64_MIN, "T", "A", NULL), 0);
    ck_assert(passes("G", "T", "A"));
    ck_assert_int_eq(consume_version(1, "G", INT64_MIN, "T", "A", NULL), 0);
    ck_assert(!changed);
    ck_assert(passes("G", "T", "A"));
    end_registry();
}
END_TEST

START_TEST(a_group_forgets_its_subscriptions_with_its_last_member)
{
    begin_registry(NULL);
    ck_assert_int_eq(consume_version(1, "G", 100, "T", "A", NULL), 0);
    clients_closed(registry, 1);
    ck_assert_int_eq(consume_version(2, "G", 1, "T", "B", NULL), 0);
    ck_assert(passes("G", "T", "B"));
    end_registry();
}
END_TEST

/* One turn of loop 0, to its end. */
static void take_a_turn(void)
{
    loop_stop(broker->loops[0]);
    ck_assert_int_eq(loop_run(broker->loops[0]), 0);
}

START_TEST(who_moves_to_another_broker_is_not_silent_while_that_one_begins)
{
    begin_registry(NULL);
    ck_assert_int_eq(consume(1, "G", NULL), 0);
    ck_assert_int_eq(consume(2, "G", NULL), 0);
    ck_assert_int_eq(produce(3, "P"), 0);
    take_a_turn();
    clients_part(registry);
    ck_assert_int_eq(end_broker(), 0);
    make_broker(NULL);
    move_clock(CLIENT_SILENCE_MS);
    clients_join(registry, broker);
    clients_move(registry, (struct conn_move[]){{1, 11}, {3, 1}}, 2);
    take_a_turn();
    ck_assert_int_eq(consumers_of("G"), 1);
    ck_assert_uint_eq(clients_count(registry), 2);
    clients_closed(registry, 11);
    ck_assert(!clients_group_online(registry, BYTES_LIT("G")));
    clients_closed(registry, 1);
    ck_assert_uint_eq(clients_count(registry), 0);
    end_registry();
}
END_TEST

/* --- bounds --- */

START_TEST(one_connection_too_many_is_refused_until_another_has_gone)
{
    struct clients_bounds bounds = {
        .connections = 2, .memberships = 9, .subscription_bytes = 1 << 20};

    begin_registry(&bounds);
    ck_assert_int_eq(produce(1, "P"), 0);
    ck_assert_int_eq(consume(2, "G", "T", "*", NULL), 0);
    ck_assert_int_eq(consume(3, "G", "T", "*", NULL), -ENOSPC);
    ck_assert(!changed);
    ck_assert_int_eq(produce(3, "New"), -ENOSPC);
    ck_assert_int_eq(produce(2, "P"), 0); /* who is there may go on */
    ck_assert_int_eq(producers_of("New"), 0);
    ck_assert_uint_eq(clients_count(registry), 2);
    clients_closed(registry, 1);
    ck_assert_int_eq(consume(3, "G", "T", "*", NULL), 0);
    end_registry();
}
END_TEST

START_TEST(one_membership_too_many_is_refused_and_leaves_nothing_behind)
{
    struct clients_bounds bounds = {
        .connections = 9, .memberships = 3, .subscription_bytes = 1 << 20};

    begin_registry(&bounds);
    ck_assert_int_eq(produce(1, "P"), 0);
    ck_assert_int_eq(consume(1, "G", "T", "*", NULL), 0);
    ck_assert_int_eq(consume(2, "G", "T", "*", NULL), 0);
    ck_assert_int_eq(consume(3, "G", "T", "*", NULL), -ENOSPC);
    ck_assert_int_eq(consume(1, "H", "T", "*", NULL), -ENOSPC);
    ck_assert_int_eq(produce(4, "Q"), -ENOSPC);
    ck_assert(!clients_group_online(registry, BYTES_LIT("H")));
    ck_assert_uint_eq(clients_count(registry), 2);
    ck_assert_int_eq(consume(1, "G", "T", "*", NULL), 0);
    ck_assert(clients_remove_consumer(registry, 2, BYTES_LIT("G")));
    ck_assert_int_eq(produce(4, "Q"), 0);
    end_registry();
}
END_TEST

START_TEST(a_connection_is_in_so_many_groups_at_most)
{
    char name[16];

    begin_registry(NULL);
    for (int i = 0; i < CLIENT_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "P%d", i);
        ck_assert_int_eq(produce(1, name), 0);
    }
    ck_assert_int_eq(produce(1, "more"), -ENOSPC);
    ck_assert_int_eq(consume(1, "more", "T", "*", NULL), -ENOSPC);
    ck_assert_int_eq(produce(1, "P7"), 0);
    ck_assert(clients_remove_producer(registry, 1, BYTES_LIT("P7")));
    ck_assert_int_eq(consume(1, "more", "T", "*", NULL), 0);
    end_registry();
}
END_TEST

/* Who cannot be given its subscriptions has not come: the others would leave queues to it. */
START_TEST(subscriptions_are_bounded_by_their_bytes)
{
    struct clients_bounds bounds = {.connections = 9, .memberships = 9, .subscription_bytes = 4096};
    static char tags[3001];

    memset(tags, 'a', sizeof(tags) - 1);
    begin_registry(&bounds);
    ck_assert_int_eq(consume(1, "G", "T", "x", NULL), 0);
    ck_assert_int_eq(consume(2, "H", "T", tags, NULL), 0);
    ck_assert_int_eq(consume(3, "I", "T", tags, NULL), -ENOSPC);
    ck_assert(!changed);
    ck_assert(!clients_group_online(registry, BYTES_LIT("I")));
    /* A member whose newer text finds no room keeps the old one. */
    ck_assert_int_eq(consume_version(1, "G", 2, "T", tags, NULL), -ENOSPC);
    ck_assert(passes("G", "T", "x"));
    ck_assert_int_eq(consumers_of("G"), 1);
    /* What goes makes room for what comes, in one heartbeat too. */
    ck_assert_int_eq(consume(2, "H", "U", tags, NULL), 0);
    ck_assert(changed);
    clients_closed(registry, 2);
    for (int round = 0; round < 100; round++) {
        ck_assert_int_eq(consume(3, "I", "T", tags, NULL), 0);
        ck_assert_int_eq(consume_version(3, "I", 2 + round, "T", tags, NULL), 0);
        clients_closed(registry, 3);
    }
    end_registry();
}
END_TEST

static int consume_topics(conn_id conn, int first, int count)
{
    static struct client_subscription_data subscriptions[SUBSCRIPTIONS_MAX + 1];
    static char names[SUBSCRIPTIONS_MAX + 1][16];
    struct client_consumer consumer = {.group = BYTES_LIT("G"),
                                       .subscriptions = subscriptions,
                                       .subscription_count = (size_t)count};
    struct client_identity who = identity(conn);

    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "T%d", first + i);
        subscriptions[i] = (struct client_subscription_data){.topic = bytes_str(names[i]),
                                                             .expression_type = BYTES_LIT("TAG"),
                                                             .filter = {.all = true}};
    }
    return clients_add_consumer(registry, &who, &consumer, &changed);
}

START_TEST(a_group_may_change_all_its_topics_at_once)
{
    begin_registry(NULL);
    ck_assert_int_eq(consume_topics(1, 0, SUBSCRIPTIONS_MAX), 0);
    ck_assert_int_eq(consume_topics(1, 100000, SUBSCRIPTIONS_MAX), 0);
    ck_assert(changed);
    ck_assert(!clients_group_subscribes(registry, BYTES_LIT("G"), BYTES_LIT("T0")));
    ck_assert(clients_group_subscribes(registry, BYTES_LIT("G"), BYTES_LIT("T100000")));
    ck_assert_int_eq(consume_topics(2, 0, SUBSCRIPTIONS_MAX + 1), -ENOSPC);
    ck_assert_int_eq(consumers_of("G"), 1);
    end_registry();
}
END_TEST

/* --- with a broker --- */

static struct client one, two;

static void begin_clients(const char *more)
{
    begin();
    start_broker("flushDiskType=ASYNC_FLUSH", more, NULL);
    client_open(&one);
    client_open(&two);
}

static void end_clients(void)
{
    client_close(&one);
    client_close(&two);
    end();
}

static void check_notification(struct client *c, const char *group)
{
    const struct bytes *named;

    ck_assert_msg(!remoting_is_response(&c->frame), "code %d came, no request", c->frame.code);
    ck_assert_int_eq(c->frame.code, REQUEST_NOTIFY_CONSUMER_IDS_CHANGED);
    ck_assert(remoting_is_oneway(&c->frame));
    named = remoting_field(&c->frame, "consumerGroup");
    ck_assert_ptr_nonnull(named);
    ck_assert_msg(bytes_is(*named, group), "notified of %.*s, expected %s", (int)named->len,
                  (const char *)named->at, group);
}

static void hears_of(struct client *c, const char *group)
{
    ck_assert_msg(next_frame(c), "closed before it heard of %s", group);
    check_notification(c, group);
}

/* A heartbeat of a consumer of these groups, NULL at the end. How many notifications came before
 * the answer. */
static int beat(struct client *c, const char *id, ...)
{
    struct buf body = {0};
    const char *group;
    int32_t opaque;
    int heard = 0;
    va_list groups;

    buf_addf(&body, "{\"clientID\":\"%s\",\"consumerDataSet\":[", id);
    va_start(groups, id);
    for (int i = 0; (group = va_arg(groups, const char *)) != NULL; i++)
        buf_addf(&body,
                 "%s{\"groupName\":\"%s\",\"subscriptionDataSet\":[{\"topic\":\"T\","
                 "\"subString\":\"*\"}]}",
                 i ? "," : "", group);
    va_end(groups);
    buf_addf(&body, "]}");
    opaque = ask(c, REQUEST_HEART_BEAT, 0, buf_bytes(&body), NULL);
    buf_destroy(&body);
    for (;; heard++) {
        ck_assert_msg(next_frame(c), "closed before the answer");
        if (remoting_is_response(&c->frame))
            break;
    }
    ck_assert_int_eq(c->frame.opaque, opaque);
    ck_assert_int_eq(c->frame.code, 0);
    return heard;
}

/* Who is in a group, in any order: the body of GET_CONSUMER_LIST_BY_GROUP is one of the two. */
static void check_members(struct client *c, const char *group, const char *list,
                          const char *or_list)
{
    char text[200];
    struct bytes body;

    ck_assert_int_eq(call_broker(c, REQUEST_GET_CONSUMER_LIST_BY_GROUP, bytes_of(NULL, 0),
                                 "consumerGroup", group, NULL),
                     0);
    body = c->frame.body;
    snprintf(text, sizeof(text), "{\"consumerIdList\":[%s]}", list);
    if (bytes_is(body, text))
        return;
    snprintf(text, sizeof(text), "{\"consumerIdList\":[%s]}", or_list);
    ck_assert_msg(bytes_is(body, text), "%.*s", (int)body.len, (const char *)body.at);
}

/* Less than the 120 s after which a silent connection is closed too. */
static void pass(int64_t ms)
{
    struct client passer;

    move_clock(ms);
    client_open(&passer);
    nothing_came(&passer);
    client_close(&passer);
}

START_TEST(who_comes_is_told_before_the_answer_and_the_rest_on_any_loop_hears_of_it)
{
    begin_clients("ioThreads=2");
    ck_assert_int_eq(beat(&one, "one", "G", NULL), 1);
    ck_assert_int_eq(beat(&one, "one", "G", NULL), 0);
    ck_assert_int_eq(beat(&two, "two", "G", NULL), 1);
    hears_of(&one, "G");
    nothing_came(&one);
    check_members(&one, "G", "\"one\",\"two\"", "\"two\",\"one\"");
    client_close(&two);
    hears_of(&one, "G");
    nothing_came(&one);
    check_members(&one, "G", "\"one\"", "");
    client_open(&two);
    end_clients();
}
END_TEST

START_TEST(who_is_silent_is_dropped_and_the_rest_hears_of_it)
{
    begin_clients(NULL);
    beat(&one, "one", "G", NULL);
    beat(&two, "two", "G", NULL);
    hears_of(&one, "G");
    for (int i = 0; i < 2; i++) {
        pass(CLIENT_SILENCE_MS / 2 - 15000);
        ck_assert_int_eq(beat(&two, "two", "G", NULL), 0);
        nothing_came(&one); /* its connection is alive, which does not count */
    }
    check_members(&two, "G", "\"one\",\"two\"", "\"two\",\"one\"");
    pass(30000);
    hears_of(&two, "G");
    check_members(&two, "G", "\"two\"", "");
    nothing_came(&one);
    ck_assert_int_eq(beat(&one, "one", "G", NULL), 1);
    hears_of(&two, "G");
    end_clients();
}
END_TEST

static bool nobody_is_there(void *arg)
{
    (void)arg;
    return clients_count(broker->clients) == 0;
}

START_TEST(silence_is_noticed_again_after_all_were_gone)
{
    begin_clients(NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(beat(&one, "one", "G", NULL), 1);
        pass(CLIENT_SILENCE_MS - 20000);
        nothing_came(&one);
        ck_assert_uint_eq(clients_count(broker->clients), 1);
        pass(20000);
        wait_until(nobody_is_there, NULL);
        nothing_came(&one);
    }
    end_clients();
}
END_TEST

/* A client that has given up one of its groups, though nobody was told by 35. */
START_TEST(a_group_that_is_not_named_any_more_is_left)
{
    begin_clients(NULL);
    beat(&two, "two", "Left", NULL);
    beat(&one, "one", "Kept", "Left", NULL);
    hears_of(&two, "Left");
    for (int i = 0; i < 2; i++) {
        pass(CLIENT_SILENCE_MS / 2);
        ck_assert_int_eq(beat(&one, "one", "Kept", NULL), 0);
        if (i == 0)
            ck_assert_int_eq(beat(&two, "two", "Left", NULL), 0);
    }
    hears_of(&two, "Left");
    check_members(&two, "Left", "\"two\"", "");
    check_members(&two, "Kept", "\"one\"", "");
    end_clients();
}
END_TEST

START_TEST(many_who_fall_silent_together_are_told_of_once)
{
    enum { MANY = 20 };
    struct client silent[MANY];
    char id[16];

    begin_clients(NULL);
    beat(&one, "one", "G", "H", NULL);
    for (int i = 0; i < MANY; i++) {
        client_open(&silent[i]);
        snprintf(id, sizeof(id), "s%d", i);
        ck_assert_int_eq(beat(&silent[i], id, "G", "H", NULL), 2);
        hears_of(&one, "G");
        hears_of(&one, "H");
    }
    pass(CLIENT_SILENCE_MS / 2);
    ck_assert_int_eq(beat(&one, "one", "G", "H", NULL), 0);
    pass(CLIENT_SILENCE_MS / 2);
    hears_of(&one, "G");
    hears_of(&one, "H");
    nothing_came(&one);
    check_members(&one, "G", "\"one\"", "");
    for (int i = 0; i < MANY; i++)
        client_close(&silent[i]);
    end_clients();
}
END_TEST

START_TEST(leaving_by_35_tells_those_who_stay_and_a_stranger_tells_nobody)
{
    begin_clients(NULL);
    beat(&one, "one", "G", NULL);
    beat(&two, "two", "G", NULL);
    hears_of(&one, "G");
    ck_assert_int_eq(call_broker(&two, REQUEST_UNREGISTER_CLIENT, bytes_of(NULL, 0), "clientID",
                                 "two", "consumerGroup", "G", NULL),
                     0);
    hears_of(&one, "G");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(call_broker(&two, REQUEST_UNREGISTER_CLIENT, bytes_of(NULL, 0), "clientID",
                                     "one", "consumerGroup", i ? "G" : "unheard of",
                                     "producerGroup", "G", NULL),
                         0);
    nothing_came(&one);
    check_members(&one, "G", "\"one\"", "");
    end_clients();
}
END_TEST

/* A heartbeat with one-way flag registers too; its notification is all that comes. */
START_TEST(a_oneway_heartbeat_counts_and_is_not_answered)
{
    const char *body = "{\"clientID\":\"one\",\"consumerDataSet\":[{\"groupName\":\"G\"}]}";

    begin_clients(NULL);
    ask(&one, REQUEST_HEART_BEAT, REMOTING_FLAG_ONEWAY, bytes_str(body), NULL);
    hears_of(&one, "G");
    nothing_came(&one);
    check_members(&one, "G", "\"one\"", "");
    end_clients();
}
END_TEST

static Suite *clients_suite(void)
{
    Suite *suite = suite_create("clients");
    TCase *tests = tcase_create("registry");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_connection_comes_once_to_each_group_and_leaves_each_for_itself);
    tcase_add_test(tests, one_in_many_groups_and_many_in_one_group_find_their_places);
    tcase_add_test(tests, the_last_heartbeat_says_what_a_group_subscribes_to);
    tcase_add_test(tests, a_filter_is_outdated_when_the_subscription_is_another_or_gone);
    tcase_add_test(tests, the_lowest_version_is_one_too);
    tcase_add_test(tests, a_group_forgets_its_subscriptions_with_its_last_member);
    tcase_add_test(tests, who_moves_to_another_broker_is_not_silent_while_that_one_begins);
    tcase_add_test(tests, one_connection_too_many_is_refused_until_another_has_gone);
    tcase_add_test(tests, one_membership_too_many_is_refused_and_leaves_nothing_behind);
    tcase_add_test(tests, a_connection_is_in_so_many_groups_at_most);
    tcase_add_test(tests, subscriptions_are_bounded_by_their_bytes);
    tcase_add_test(tests, a_group_may_change_all_its_topics_at_once);
    suite_add_tcase(suite, tests);

    tests = tcase_create("broker");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, who_comes_is_told_before_the_answer_and_the_rest_on_any_loop_hears_of_it);
    tcase_add_test(tests, who_is_silent_is_dropped_and_the_rest_hears_of_it);
    tcase_add_test(tests, silence_is_noticed_again_after_all_were_gone);
    tcase_add_test(tests, a_group_that_is_not_named_any_more_is_left);
    tcase_add_test(tests, many_who_fall_silent_together_are_told_of_once);
    tcase_add_test(tests, leaving_by_35_tells_those_who_stay_and_a_stranger_tells_nobody);
    tcase_add_test(tests, a_oneway_heartbeat_counts_and_is_not_answered);
    suite_add_tcase(suite, tests);
    return suite;
}

UNIT_MAIN(clients_suite)
