/* test_metadata_json.c - request bodies, RocketMQ's JSON files, and whose word counts when both a
 * file and the journal speak. vectors/metadata/ holds files and bodies of a real RocketMQ 4.9.8. */
#include "metadata_fixture.h"

#include "common/json.h"

#define VECTORS TERN_TEST_VECTORS "/metadata/"

static const char *const names[METADATA_EXPORTS] = {
    "config/topics.json",
    "config/subscriptionGroup.json",
    "config/consumerOffset.json",
    "config/delayOffset.json",
};

static void begin_with_config(void)
{
    fixture_begin();
    ck_assert_int_eq(mkdir(in_dir("config"), 0755), 0);
}

static void import_text(enum metadata_export file, struct bytes text, struct metadata_taken *taken)
{
    struct err err = {0};
    json_t *root = json_dialect_load(text, &err);

    ck_assert_msg(root != NULL, "%s", err.text);
    ck_assert_ptr_null(metadata_json_complaint(file, root));
    *taken = (struct metadata_taken){0};
    ck_assert_int_eq(metadata_json_import(m, file, root, taken), 0);
    json_decref(root);
}

static void import_vector(enum metadata_export file, const char *name, struct metadata_taken *taken)
{
    char path[600];
    struct buf text;

    snprintf(path, sizeof(path), VECTORS "%s", name);
    text = content_of(path);
    import_text(file, buf_bytes(&text), taken);
    buf_destroy(&text);
}

static void expect_written(enum metadata_export file, bool pretty, struct bytes expected)
{
    struct buf out = {0};

    metadata_json_write(m, file, pretty, &out);
    ck_assert(!out.failed);
    ck_assert_msg(bytes_equal(buf_bytes(&out), expected), "\n%.*s\n--- expected\n%.*s",
                  (int)out.len, buf_at(&out), (int)expected.len, (const char *)expected.at);
    buf_destroy(&out);
}

static void expect_vector(enum metadata_export file, bool pretty, const char *name)
{
    char path[600];
    struct buf text;

    snprintf(path, sizeof(path), VECTORS "%s", name);
    text = content_of(path);
    expect_written(file, pretty, buf_bytes(&text));
    buf_destroy(&text);
}

static void tables_begin(void)
{
    m = metadata_tables_new();
    ck_assert_ptr_nonnull(m);
}

static void tables_end(void)
{
    metadata_tables_free(m);
}

/* --- the format --- */

START_TEST(bodies_are_what_rocketmq_sends)
{
    struct metadata_taken taken;

    import_vector(METADATA_EXPORT_TOPICS, "body_21.json", &taken);
    ck_assert_uint_eq(taken.entries, 10);
    ck_assert_uint_eq(taken.refused, 0);
    m->topics.version = (struct data_version){2, 1795364001790, 0};
    expect_vector(METADATA_EXPORT_TOPICS, false, "body_21.json");
    import_vector(METADATA_EXPORT_GROUPS, "body_201.json", &taken);
    ck_assert_uint_eq(taken.entries, 7);
    m->groups.version = (struct data_version){0, 1795363997737, 0};
    expect_vector(METADATA_EXPORT_GROUPS, false, "body_201.json");
}
END_TEST

START_TEST(integer_keys_are_bare_in_bodies)
{
    struct buf out = {0};

    commit("T1", "CG1", 0, 3);
    commit("T1", "CG1", 1, 0);
    commit("T1", "CG1", 3, 9223372036854775807);
    metadata_offsets_json(m, &out);
    ck_assert(bytes_is(buf_bytes(&out),
                       "{\"offsetTable\":{\"T1@CG1\":{0:3,1:0,3:9223372036854775807}}}"));
    buf_reset(&out);
    ck_assert_int_eq(metadata_delay_set(m, 1, 12), 0);
    ck_assert_int_eq(metadata_delay_set(m, 3, 5), 0);
    metadata_delays_json(m, &out);
    ck_assert(bytes_is(buf_bytes(&out), "{\"offsetTable\":{1:12,3:5}}"));
    buf_destroy(&out);
}
END_TEST

START_TEST(empty_tables_are_empty_objects)
{
    expect_written(METADATA_EXPORT_TOPICS, false,
                   BYTES_LIT("{\"dataVersion\":{\"counter\":0,\"timestamp\":0},"
                             "\"topicConfigTable\":{}}"));
    expect_written(METADATA_EXPORT_GROUPS, false,
                   BYTES_LIT("{\"dataVersion\":{\"counter\":0,\"timestamp\":0},"
                             "\"subscriptionGroupTable\":{}}"));
    expect_written(METADATA_EXPORT_OFFSETS, false, BYTES_LIT("{\"offsetTable\":{}}"));
    expect_written(METADATA_EXPORT_OFFSETS, true, BYTES_LIT("{\n\t\"offsetTable\":{}\n}"));
    expect_written(METADATA_EXPORT_DELAYS, false, BYTES_LIT("{\"offsetTable\":{}}"));
}
END_TEST

START_TEST(files_are_what_rocketmq_writes)
{
    struct metadata_taken taken;

    import_vector(METADATA_EXPORT_TOPICS, "topics.json", &taken);
    m->topics.version = (struct data_version){7, 1795360494119, 0};
    expect_vector(METADATA_EXPORT_TOPICS, true, "topics.json");
    import_vector(METADATA_EXPORT_GROUPS, "subscriptionGroup.json", &taken);
    m->groups.version = (struct data_version){2, 1795360474129, 0};
    expect_vector(METADATA_EXPORT_GROUPS, true, "subscriptionGroup.json");
    import_vector(METADATA_EXPORT_DELAYS, "delayOffset.json", &taken);
    expect_vector(METADATA_EXPORT_DELAYS, true, "delayOffset.json");
    commit("FixOrders", "Fix_G", 0, 118);
    commit("FixOrders", "Fix_G", 1, 123);
    expect_written(METADATA_EXPORT_OFFSETS, true,
                   BYTES_LIT("{\n\t\"offsetTable\":{\n\t\t\"FixOrders@Fix_G\":{0:118,1:123\n\t\t}"
                             "\n\t}\n}"));
}
END_TEST

START_TEST(offsets_of_rocketmq_are_read)
{
    struct metadata_taken taken;
    struct buf ours = {0}, theirs = content_of(VECTORS "consumerOffset.json");

    import_text(METADATA_EXPORT_OFFSETS, buf_bytes(&theirs), &taken);
    ck_assert_uint_eq(taken.entries, 12);
    ck_assert_int_eq(offset_of(m, "FixOrders", "Fix_G", 2), 148);
    ck_assert_int_eq(offset_of(m, "%RETRY%Fix_SQL", "Fix_SQL", 0), 0);
    ck_assert_int_eq(offset_of(m, "RMQ_SYS_TRANS_HALF_TOPIC", "CID_RMQ_SYS_TRANS", 0), 14);
    metadata_json_write(m, METADATA_EXPORT_OFFSETS, true, &ours);
    ck_assert_uint_eq(ours.len, theirs.len); /* another order, nothing else */
    buf_destroy(&ours);
    buf_destroy(&theirs);
}
END_TEST

START_TEST(readers_are_lenient_where_java_is)
{
    struct metadata_taken taken;
    struct topic_config topic;
    struct group_config group;

    import_text(
        METADATA_EXPORT_TOPICS,
        BYTES_LIT(" {\"topicConfigTable\":{\"A\":{},\"B\":{\"topicFilterType\":\"MULTI_TAG\","
                  "\"readQueueNums\":\"3\",\"order\":\"true\"},\"C\":{\"topicFilterType\":1,"
                  "\"perm\":null},\"D\":{\"$ref\":\"$.topicConfigTable.C\"}},"
                  "\"unknown\":[1,{}]}\n"),
        &taken);
    ck_assert_uint_eq(taken.entries, 4);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("A"), &topic));
    ck_assert_int_eq(topic.read_queues, 16);
    ck_assert_int_eq(topic.write_queues, 16);
    ck_assert_int_eq(topic.perm, 6);
    ck_assert(!topic.order && !topic.multi_tag);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("B"), &topic));
    ck_assert_int_eq(topic.read_queues, 3);
    ck_assert(topic.order && topic.multi_tag);
    ck_assert_ptr_nonnull(metadata_topic(m, BYTES_LIT("C"), &topic));
    ck_assert(topic.multi_tag && topic.perm == 6);
    ck_assert_int_eq(queues_of(m, "D"), 16);

    import_text(METADATA_EXPORT_GROUPS,
                BYTES_LIT("{\"subscriptionGroupTable\":{\"G\":{\"consumeEnable\":false,"
                          "\"brokerId\":\"7\"}}}"),
                &taken);
    ck_assert(metadata_group(m, BYTES_LIT("G"), &group));
    ck_assert(!group.consume_enable && group.consume_broadcast_enable);
    ck_assert_int_eq(group.broker_id, 7);
    ck_assert_int_eq(group.retry_max_times, 16);

    import_text(METADATA_EXPORT_OFFSETS,
                BYTES_LIT("{\"dataVersion\":{\"counter\":1},"
                          "\"offsetTable\":{\"T@G\":{0:5,\"1\":\"6\",2:-1}}}"),
                &taken);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 5);
    ck_assert_int_eq(offset_of(m, "T", "G", 1), 6);
    ck_assert_int_eq(offset_of(m, "T", "G", 2), -1);
    import_text(METADATA_EXPORT_DELAYS, BYTES_LIT("{\"offsetTable\":{\"2\":7,18:8}}"), &taken);
    ck_assert_int_eq(metadata_delay(m, 2), 7);
    ck_assert_int_eq(metadata_delay(m, 18), 8);
    for (int file = 0; file < METADATA_EXPORTS; file++) {
        import_text(file, BYTES_LIT("{}"), &taken);
        ck_assert_uint_eq(taken.entries + taken.refused, 0);
    }
}
END_TEST

START_TEST(what_cannot_be_is_left_out_and_counted)
{
    struct metadata_taken taken;

    import_text(METADATA_EXPORT_TOPICS,
                BYTES_LIT("{\"topicConfigTable\":{\"../x\":{},\"\":{},\"a/b\":{},\"ok\":{},"
                          "\"n\":{\"readQueueNums\":65537},\"m\":{\"writeQueueNums\":-1},"
                          "\"o\":{\"perm\":99999999999},\"p\":5,\"q\":null,\"r\":[]}}"),
                &taken);
    ck_assert_uint_eq(taken.entries, 1);
    ck_assert_uint_eq(taken.refused, 9);
    ck_assert_str_eq(taken.first_refused, "\"../x\" has a name or number out of range");
    ck_assert_uint_eq(metadata_topic_count(m), 1);
    import_text(METADATA_EXPORT_GROUPS,
                BYTES_LIT("{\"subscriptionGroupTable\":{\"../x\":{},\"g\":{\"retryMaxTimes\":"
                          "2147483648},\"ok\":{}}}"),
                &taken);
    ck_assert_uint_eq(taken.entries, 1);
    ck_assert_uint_eq(taken.refused, 2);
    import_text(
        METADATA_EXPORT_OFFSETS,
        BYTES_LIT("{\"offsetTable\":{\"T\":{0:1},\"T@G@H\":{0:1},\"../T@G\":{0:1},"
                  "\"T@G\":{-1:1,65536:1,\"x\":1,0:\"y\",1:{},2:5},\"T@\":{0:1},\"@\":{0:1}}}"),
        &taken);
    ck_assert_uint_eq(taken.entries, 1);
    ck_assert_uint_eq(taken.refused, 10);
    import_text(METADATA_EXPORT_DELAYS,
                BYTES_LIT("{\"offsetTable\":{0:1,65:1,-1:1,1:-5,\"a\":1,2:\"b\",3:4}}"), &taken);
    ck_assert_uint_eq(taken.entries, 1);
    ck_assert_uint_eq(taken.refused, 6);
}
END_TEST

START_TEST(other_shapes_are_complained_about)
{
    static const struct {
        enum metadata_export file;
        const char *text;
        bool fine;
    } cases[] = {
        {METADATA_EXPORT_TOPICS, "[]", false},
        {METADATA_EXPORT_TOPICS, "{\"topicConfigTable\":[]}", false},
        {METADATA_EXPORT_TOPICS, "{\"topicConfigTable\":null}", true},
        {METADATA_EXPORT_GROUPS, "{\"subscriptionGroupTable\":7}", false},
        {METADATA_EXPORT_OFFSETS, "{\"offsetTable\":\"x\"}", false},
        {METADATA_EXPORT_DELAYS, "{\"offsetTable\":true}", false},
        {METADATA_EXPORT_DELAYS, "{\"other\":true}", true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = json_dialect_load(bytes_str(cases[i].text), NULL);
        ck_assert_ptr_nonnull(root);
        ck_assert_int_eq(metadata_json_complaint(cases[i].file, root) == NULL, cases[i].fine);
        json_decref(root);
    }
}
END_TEST

#define TOPIC_5                                                                                    \
    "{\"topicConfigTable\":{\"F\":{\"attributes\":{\"+message.type\":\"FIFO\"},\"order\":false,"   \
    "\"perm\":6,\"readQueueNums\":8,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"F\","       \
    "\"topicSysFlag\":0,\"writeQueueNums\":8}}}"
#define GROUP_5                                                                                    \
    "{\"subscriptionGroupTable\":{\"G\":{\"consumeMessageOrderly\":true,\"groupName\":\"G\","      \
    "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},\"attributes\":{\"$ref\":\"$.x\"}}}}"

/* A folder of 5.x can go back to 5.x: what means nothing here is carried along. */
START_TEST(members_of_newer_versions_are_carried_along)
{
    struct metadata_taken taken;
    struct buf out = {0};

    import_text(METADATA_EXPORT_TOPICS, BYTES_LIT(TOPIC_5), &taken);
    import_text(METADATA_EXPORT_GROUPS, BYTES_LIT(GROUP_5), &taken);
    put_topic("F", 4); /* a change here leaves them alone */
    m->topics.version = (struct data_version){1, 2, 3};
    expect_written(METADATA_EXPORT_TOPICS, false,
                   BYTES_LIT("{\"dataVersion\":{\"counter\":1,\"stateVersion\":3,\"timestamp\":2},"
                             "\"topicConfigTable\":{\"F\":{\"order\":false,\"perm\":6,"
                             "\"readQueueNums\":4,\"topicFilterType\":\"SINGLE_TAG\","
                             "\"topicName\":\"F\",\"topicSysFlag\":0,\"writeQueueNums\":4,"
                             "\"attributes\":{\"+message.type\":\"FIFO\"}}}}"));
    metadata_groups_json(m, &out);
    buf_add_u8(&out, 0);
    ck_assert_ptr_nonnull(strstr((char *)buf_at(&out),
                                 ",\"consumeMessageOrderly\":true,"
                                 "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"}}"));
    ck_assert_ptr_null(strstr((char *)buf_at(&out), "$ref")); /* would point nowhere */
    buf_destroy(&out);
}
END_TEST

START_TEST(too_much_to_carry_is_left_out)
{
    struct metadata_taken taken;
    struct buf text = {0};

    buf_add_str(&text, "{\"topicConfigTable\":{\"T\":{\"long\":\"");
    for (int i = 0; i < METADATA_EXTRA_MAX; i++)
        buf_add_u8(&text, 'x');
    buf_add_str(&text, "\"}}}");
    import_text(METADATA_EXPORT_TOPICS, buf_bytes(&text), &taken);
    ck_assert_uint_eq(taken.entries, 1);
    ck_assert_uint_eq(taken.refused, 1);
    ck_assert_int_eq(queues_of(m, "T"), 16);
    buf_destroy(&text);
}
END_TEST

START_TEST(only_members_of_an_object_count_as_such)
{
    static const char *const bad[] = {"x", "}",     "\"a\":1}", "\"a\":1},{\"b\":2",
                                      ",", "\"a\"", "[]"};

    ck_assert(metadata_json_extra_ok((struct bytes){0}));
    ck_assert(metadata_json_extra_ok(BYTES_LIT("\"a\":{\"b\":[1,2.5,null]}")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!metadata_json_extra_ok(bytes_str(bad[i])), "%s", bad[i]);
}
END_TEST

START_TEST(the_version_of_a_union_is_beyond_both)
{
    struct metadata_taken taken;

    put_topic("Mine", 1);
    ck_assert_int_eq(metadata_topics_version(m).counter, 1);
    import_text(METADATA_EXPORT_TOPICS,
                BYTES_LIT("{\"dataVersion\":{\"counter\":40,\"timestamp\":5,\"stateVersion\":2},"
                          "\"topicConfigTable\":{\"T\":{}}}"),
                &taken);
    ck_assert_int_gt(metadata_topics_version(m).counter, 40);
    ck_assert_int_eq(metadata_topics_version(m).state_version, 2);
    ck_assert_int_gt(metadata_topics_version(m).timestamp, 5);
    put_group("Mine", 1);
    import_text(METADATA_EXPORT_GROUPS,
                BYTES_LIT("{\"dataVersion\":{\"counter\":9223372036854775807}}"), &taken);
    ck_assert_int_lt(metadata_groups_version(m).counter, 0); /* it wraps, as Java's does */
}
END_TEST

/* --- whose word counts --- */

static void put_vectors(void)
{
    for (int i = 0; i < METADATA_EXPORTS; i++) {
        char path[600];
        snprintf(path, sizeof(path), VECTORS "%s", strrchr(names[i], '/') + 1);
        copy_file(path, in_dir(names[i]));
    }
}

static void expect_vectors(void)
{
    ck_assert_int_eq(queues_of(m, "FixOrders"), 4);
    ck_assert_int_eq(queues_of(m, "BenchmarkTest"), 1024);
    ck_assert_int_eq(retries_of(m, "Fix_SQL"), 16);
    ck_assert_int_eq(offset_of(m, "FixPayments", "Fix_SQL", 3), 140);
    ck_assert_int_eq(metadata_delay(m, 1), 24);
}

START_TEST(a_rocketmq_folder_is_taken_in_and_journalled_first)
{
    put_vectors();
    log_begin();
    open_meta();
    expect_vectors();
    ck_assert_int_eq(log_lines("taken in"), 4);
    ck_assert_int_eq(log_lines("\n"), 4);
    ck_assert(log_has("config/topics.json was not written by this broker: 16 topics taken in"));
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    kill_meta();
    /* The journal has it all, and knows the files. */
    log_begin();
    open_meta();
    expect_vectors();
    ck_assert_int_eq(log_lines("\n"), 0);
    kill_meta();
    remove_tree(in_dir("config"));
    open_meta();
    expect_vectors();
    close_meta();
}
END_TEST

START_TEST(a_file_that_was_taken_in_is_not_taken_in_again)
{
    put_vectors();
    open_meta();
    put_topic("FixOrders", 9);
    commit("FixPayments", "Fix_SQL", 3, 200);
    settle(); /* no export yet */
    kill_meta();
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, "FixOrders"), 9);
    ck_assert_int_eq(offset_of(m, "FixPayments", "Fix_SQL", 3), 200);
    ck_assert_int_eq(log_lines("\n"), 0);
    close_meta();
}
END_TEST

START_TEST(our_own_older_export_changes_nothing)
{
    log_begin();
    open_meta();
    put_topic("T", 1);
    commit("T", "G", 0, 1);
    settle_and_export();
    put_topic("T", 2);
    commit("T", "G", 0, 2);
    settle(); /* durable, not exported */
    kill_and_reopen();
    ck_assert_int_eq(queues_of(m, "T"), 2);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 2);
    /* Not even from the .bak, when the file itself is gone. */
    settle_and_export();
    put_topic("T", 3);
    settle_and_export();
    put_topic("T", 4);
    turns();
    kill_meta();
    ck_assert(exists(in_dir("config/topics.json.bak")));
    ck_assert_int_eq(unlink(in_dir("config/topics.json")), 0);
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 4);
    ck_assert_int_eq(log_lines("\n"), 0);
    settle_and_export(); /* and it is there again */
    ck_assert(exists(in_dir("config/topics.json")));
    close_meta();
}
END_TEST

/* What RocketMQ does to a folder in between. */
START_TEST(a_file_that_somebody_changed_wins)
{
    open_meta();
    put_topic("T", 1);
    put_topic("Kept", 1);
    put_group("G", 5);
    commit("T", "G", 0, 100);
    commit("T", "G", 1, 100);
    ck_assert_int_eq(metadata_delay_set(m, 1, 100), 0);
    ck_assert_int_eq(metadata_delay_set(m, 2, 100), 0);
    close_meta();
    put_text(in_dir(names[0]), "{\"topicConfigTable\":{\"T\":{\"readQueueNums\":3},\"New\":{}}}");
    put_text(in_dir(names[1]), "{\"subscriptionGroupTable\":{\"G\":{\"retryMaxTimes\":2}}}");
    put_text(in_dir(names[2]), "{\"offsetTable\":{\"T@G\":{0:50}}}");
    put_text(in_dir(names[3]), "{\"offsetTable\":{1:60}}");
    log_begin();
    open_meta();
    ck_assert_int_eq(log_lines("taken in"), 4);
    for (int pass = 0; pass < 2; pass++) {
        ck_assert_int_eq(queues_of(m, "T"), 3);
        ck_assert_int_eq(queues_of(m, "New"), 16);
        ck_assert_int_eq(queues_of(m, "Kept"), 1); /* absence never deletes */
        ck_assert_int_eq(retries_of(m, "G"), 2);
        ck_assert_int_eq(offset_of(m, "T", "G", 0), 50);
        ck_assert_int_eq(offset_of(m, "T", "G", 1), 100);
        ck_assert_int_eq(metadata_delay(m, 1), 60);
        ck_assert_int_eq(metadata_delay(m, 2), 100);
        if (pass == 0)
            kill_and_reopen();
    }
    close_meta();
    ck_assert_int_eq(log_lines("taken in"), 4);
}
END_TEST

START_TEST(a_topic_in_a_foreign_file_comes_back_above_its_floor)
{
    open_meta();
    put_topic("T", 1);
    ck_assert_int_eq(metadata_topic_delete(m, BYTES_LIT("T"), 777, false, NULL), 0);
    close_meta();
    put_text(in_dir(names[0]), "{\"topicConfigTable\":{\"T\":{}}}");
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 16);
    ck_assert_uint_eq(metadata_topic_floor(m, BYTES_LIT("T")), 777);
    close_meta();
}
END_TEST

START_TEST(members_of_newer_versions_survive_a_kill)
{
    struct buf text;

    put_text(in_dir(names[0]), TOPIC_5);
    put_text(in_dir(names[1]), GROUP_5);
    open_meta();
    kill_and_reopen();
    settle_and_export();
    close_meta();
    text = content_of(in_dir(names[0]));
    buf_add_u8(&text, 0);
    ck_assert_ptr_nonnull(strstr((char *)buf_at(&text),
                                 "\n\t\t\t\"attributes\":{\"+message.type\":\"FIFO\"}\n\t\t}"));
    buf_destroy(&text);
    text = content_of(in_dir(names[1]));
    buf_add_u8(&text, 0);
    ck_assert_ptr_nonnull(strstr((char *)buf_at(&text), "\"consumeMessageOrderly\":true"));
    buf_destroy(&text);
}
END_TEST

/* --- .bak and broken files --- */

START_TEST(a_backup_counts_when_the_file_is_gone_or_empty)
{
    put_text(in_dir("config/topics.json.bak"), "{\"topicConfigTable\":{\"T\":{}}}");
    put_text(in_dir("config/consumerOffset.json"), " \n");
    put_text(in_dir("config/consumerOffset.json.bak"), "{\"offsetTable\":{\"T@G\":{0:50}}}");
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 16);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 50);
    ck_assert(log_has("config/topics.json.bak was not written by this broker"));
    ck_assert(log_has("config/consumerOffset.json is empty"));
    kill_meta();
    log_begin();
    open_meta();
    ck_assert_int_eq(log_lines("taken in"), 0);
    close_meta();
}
END_TEST

START_TEST(a_broken_file_gives_way_to_a_good_backup)
{
    put_text(in_dir("config/topics.json"), "{\"topicConfigTable\":{\"T\":{}");
    put_text(in_dir("config/topics.json.bak"), "{\"topicConfigTable\":{\"Old\":{}}}");
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, "Old"), 16);
    ck_assert(log_has("config/topics.json cannot be read (malformed JSON at byte 27"));
    ck_assert(log_has("config/topics.json.broken"));
    ck_assert(exists(in_dir("config/topics.json.broken")));
    ck_assert(!exists(in_dir("config/topics.json")));
    settle_and_export();
    ck_assert(exists(in_dir("config/topics.json")));
    close_meta();
}
END_TEST

/* 5.x renames the file to .bak and writes a new one in place: a crash leaves half of it, and ours.
 */
START_TEST(a_broken_file_beside_our_own_backup_changes_nothing)
{
    open_meta();
    put_topic("T", 1);
    settle_and_export();
    put_topic("T", 2);
    turns();
    kill_meta();
    ck_assert_int_eq(rename(in_dir("config/topics.json"), in_dir("config/topics.json.bak")), 0);
    put_text(in_dir("config/topics.json"), "{\"topicConf");
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 2);
    ck_assert_int_eq(log_lines("taken in"), 0);
    ck_assert(log_has("topics.json cannot be read"));
    close_meta();
}
END_TEST

static void expect_refused(const char *name, const char *why)
{
    struct err err;

    ck_assert_int_eq(try_open(&m, dir, &err), -EBADMSG);
    ck_assert_msg(strstr(err.text, in_dir(name)) && strstr(err.text, why) &&
                      strstr(err.text, "restore it, or remove it"),
                  "%s", err.text);
}

START_TEST(a_broken_file_without_a_good_backup_is_refused_by_name_and_place)
{
    open_meta();
    put_topic("T", 1);
    close_meta(); /* the journal has content: still, nobody knows what the file was to say */
    ck_assert_int_eq(unlink(in_dir("config/topics.json")), 0);
    put_text(in_dir("config/topics.json"), "{\"topicConfigTable\":{\"T\":{]}}");
    expect_refused("config/topics.json", "byte 26");
    put_text(in_dir("config/topics.json.bak"), "{");
    expect_refused("config/topics.json", "byte 26");
    put_text(in_dir("config/topics.json"), "{\"topicConfigTable\":[]}");
    expect_refused("config/topics.json", "\"topicConfigTable\" is not an object");
    put_text(in_dir("config/topics.json"), "\"text\"");
    expect_refused("config/topics.json", "byte 0");
    ck_assert_int_eq(unlink(in_dir("config/topics.json")), 0);
    expect_refused("config/topics.json.bak", "byte 1");
    ck_assert_int_eq(unlink(in_dir("config/topics.json.bak")), 0);
    open_meta(); /* as the message says */
    ck_assert_int_eq(queues_of(m, "T"), 1);
    close_meta();
}
END_TEST

START_TEST(a_broken_file_in_a_new_folder_is_refused_and_journals_nothing)
{
    put_text(in_dir("config/topics.json"), "{\"topicConfigTable\":{\"T\":{}}}");
    put_text(in_dir("config/delayOffset.json"), "{\"offsetTable\":{1:}}");
    expect_refused("config/delayOffset.json", "byte 18");
    ck_assert_int_eq(unlink(in_dir("config/delayOffset.json")), 0);
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 16);
    close_meta();
}
END_TEST

START_TEST(hostile_names_in_files_are_left_out_with_a_line)
{
    put_text(in_dir("config/topics.json"),
             "{\"topicConfigTable\":{\"..\":{},\"x/../../y\":{},\"T\":{}}}");
    log_begin();
    open_meta();
    ck_assert_uint_eq(metadata_topic_count(m), 1);
    ck_assert(log_has("topics.json: 1 topics taken in, 2 left out, the first: \"..\""));
    close_meta();
}
END_TEST

/* --- exporting --- */

static int64_t file_identity(const char *name)
{
    struct stat st;

    return file_stat(in_dir(name), &st) == 0 ? (int64_t)st.st_ino
                                             : -1; /* another for each export */
}

START_TEST(exports_come_once_in_their_interval_and_only_when_something_changed)
{
    int64_t first, groups;

    open_meta();
    put_topic("T", 1);
    turns();
    now += EXPORT_MS - 1;
    turns();
    ck_assert(!exists(in_dir("config/topics.json")));
    now += 1;
    turns();
    first = file_identity("config/topics.json");
    ck_assert_int_gt(first, 0);
    ck_assert(!exists(in_dir("config/subscriptionGroup.json")));
    for (int i = 0; i < 10; i++) {
        put_topic("T", 2 + i);
        put_group("G", 2 + i);
        turns();
        ck_assert_int_eq(file_identity("config/topics.json"), first);
        now += EXPORT_MS / 11;
    }
    now += EXPORT_MS;
    turns();
    ck_assert_int_ne(file_identity("config/topics.json"), first);
    first = file_identity("config/topics.json");
    groups = file_identity("config/subscriptionGroup.json");
    ck_assert(exists(in_dir("config/topics.json.bak")));
    put_group("G", 100);
    turns();
    now += 10 * EXPORT_MS;
    turns();
    ck_assert_int_eq(file_identity("config/topics.json"), first);
    ck_assert_int_ne(file_identity("config/subscriptionGroup.json"), groups);
    first = file_identity("config/subscriptionGroup.json");
    close_meta(); /* nothing is dirty */
    ck_assert_int_eq(file_identity("config/subscriptionGroup.json"), first);
}
END_TEST

/* Killed between the journal and the export: nobody changes anything, and still the files follow.
 */
START_TEST(a_clean_stop_after_a_kill_exports_what_the_journal_had)
{
    open_meta();
    put_topic("T", 1);
    settle_and_export();
    put_topic("T", 2);
    turns();
    kill_and_reopen();
    close_meta();
    remove_tree(in_dir("tern"));
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 2);
    close_meta();
}
END_TEST

START_TEST(a_clean_stop_exports_everything)
{
    struct buf text;

    open_meta();
    put_topic("T", 5);
    put_group("G", 6);
    commit("T", "G", 0, 7);
    ck_assert_int_eq(metadata_delay_set(m, 8, 9), 0);
    close_meta();
    for (int i = 0; i < METADATA_EXPORTS; i++)
        ck_assert_msg(exists(in_dir(names[i])), "%s", names[i]);
    text = content_of(in_dir(names[2]));
    ck_assert(
        bytes_is(buf_bytes(&text), "{\n\t\"offsetTable\":{\n\t\t\"T@G\":{0:7\n\t\t}\n\t}\n}"));
    buf_destroy(&text);
    /* A reader of the files alone finds all of it. */
    remove_tree(in_dir("tern"));
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 5);
    ck_assert_int_eq(retries_of(m, "G"), 6);
    ck_assert_int_eq(offset_of(m, "T", "G", 0), 7);
    ck_assert_int_eq(metadata_delay(m, 8), 9);
    close_meta();
}
END_TEST

static int fail_renames; /* 1: the new file to its name; 2: the old one to .bak */

static int failing_rename(const char *from, const char *to)
{
    if ((fail_renames == 1 && strstr(from, ".json.tmp")) ||
        (fail_renames == 2 && strstr(to, ".json.bak"))) {
        errno = EIO;
        return -1;
    }
    return rename(from, to);
}

/* However often an export fails between its hash and its file, the file stays known. */
static void exports_that_fail(int how)
{
    ops.rename = failing_rename;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    settle_and_export();
    fail_renames = how;
    for (int i = 2; i < 12; i++) {
        put_topic("T", i);
        settle_and_export();
    }
    kill_meta();
    log_set_level(LOG_LEVEL_INFO);
    log_begin();
    open_meta();
    ck_assert_int_eq(log_lines("taken in"), 0);
    ck_assert_int_eq(queues_of(m, "T"), 11);
    fail_renames = 0;
    put_topic("T", 12);
    settle_and_export();
    close_meta();
    remove_tree(in_dir("tern"));
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 12);
    close_meta();
}

START_TEST(an_export_that_cannot_take_its_name_stays_ours)
{
    exports_that_fail(1);
}
END_TEST

START_TEST(an_export_that_cannot_keep_the_old_one_stays_ours)
{
    exports_that_fail(2);
}
END_TEST

/* A kill between the two renames leaves only .bak; and each further one an export that was
 * announced and did not come. */
START_TEST(an_export_stays_ours_however_often_the_next_does_not_come)
{
    open_meta();
    put_topic("T", 1);
    settle_and_export();
    kill_meta();
    ck_assert_int_eq(rename(in_dir("config/topics.json"), in_dir("config/topics.json.bak")), 0);
    ops.rename = failing_rename;
    fail_renames = 1;
    for (int queues = 2; queues < 8; queues++) {
        open_meta();
        ck_assert_uint_eq(m->files_taken, 0);
        ck_assert_int_eq(queues_of(m, "T"), queues - 1);
        put_topic("T", queues);
        settle_and_export();
        kill_meta();
    }
}
END_TEST

START_TEST(a_failed_export_is_tried_again_within_a_second)
{
    ops.rename = failing_rename;
    log_begin();
    open_meta();
    put_topic("T", 1);
    fail_renames = 1;
    turns();
    now += EXPORT_MS;
    ck_assert_int_eq(metadata_turn(m, now), now + METADATA_RETRY_MS);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m)); /* the journal is fine */
    now += METADATA_RETRY_MS;
    turns();
    ck_assert_int_eq(log_lines("config/topics.json"),
                     1 + 1); /* one line naming .tmp and the file */
    fail_renames = 0;
    now += METADATA_RETRY_MS;
    turns();
    ck_assert(exists(in_dir("config/topics.json")));
    close_meta();
}
END_TEST

static bool disk_is_full;

static ssize_t full_pwrite(int fd, const void *from, size_t n, off_t at)
{
    if (disk_is_full) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, from, n, at);
}

START_TEST(a_full_disk_at_the_start_keeps_a_foreign_file_foreign)
{
    ops.pwrite = full_pwrite;
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    put_topic("T", 1);
    close_meta();
    put_text(in_dir(names[0]), "{\"topicConfigTable\":{\"T\":{\"readQueueNums\":3}}}");
    disk_is_full = true;
    open_meta(); /* a broker that cannot write can still serve */
    ck_assert_int_eq(queues_of(m, "T"), 3);
    ck_assert_uint_lt(metadata_durable(m), metadata_last(m));
    kill_meta();
    disk_is_full = false;
    open_meta();
    ck_assert_int_eq(queues_of(m, "T"), 3);
    ck_assert_uint_eq(metadata_durable(m), metadata_last(m));
    close_meta();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata_json");
    TCase *c = tcase_create("format");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, tables_begin, tables_end);
    tcase_add_test(c, bodies_are_what_rocketmq_sends);
    tcase_add_test(c, integer_keys_are_bare_in_bodies);
    tcase_add_test(c, empty_tables_are_empty_objects);
    tcase_add_test(c, files_are_what_rocketmq_writes);
    tcase_add_test(c, offsets_of_rocketmq_are_read);
    tcase_add_test(c, readers_are_lenient_where_java_is);
    tcase_add_test(c, what_cannot_be_is_left_out_and_counted);
    tcase_add_test(c, other_shapes_are_complained_about);
    tcase_add_test(c, members_of_newer_versions_are_carried_along);
    tcase_add_test(c, too_much_to_carry_is_left_out);
    tcase_add_test(c, only_members_of_an_object_count_as_such);
    tcase_add_test(c, the_version_of_a_union_is_beyond_both);
    suite_add_tcase(s, c);
    c = tcase_create("files");
    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, begin_with_config, fixture_end);
    tcase_add_test(c, a_rocketmq_folder_is_taken_in_and_journalled_first);
    tcase_add_test(c, a_file_that_was_taken_in_is_not_taken_in_again);
    tcase_add_test(c, our_own_older_export_changes_nothing);
    tcase_add_test(c, a_file_that_somebody_changed_wins);
    tcase_add_test(c, a_topic_in_a_foreign_file_comes_back_above_its_floor);
    tcase_add_test(c, members_of_newer_versions_survive_a_kill);
    tcase_add_test(c, a_backup_counts_when_the_file_is_gone_or_empty);
    tcase_add_test(c, a_broken_file_gives_way_to_a_good_backup);
    tcase_add_test(c, a_broken_file_beside_our_own_backup_changes_nothing);
    tcase_add_test(c, a_broken_file_without_a_good_backup_is_refused_by_name_and_place);
    tcase_add_test(c, a_broken_file_in_a_new_folder_is_refused_and_journals_nothing);
    tcase_add_test(c, hostile_names_in_files_are_left_out_with_a_line);
    tcase_add_test(c, exports_come_once_in_their_interval_and_only_when_something_changed);
    tcase_add_test(c, a_clean_stop_after_a_kill_exports_what_the_journal_had);
    tcase_add_test(c, a_clean_stop_exports_everything);
    tcase_add_test(c, an_export_that_cannot_take_its_name_stays_ours);
    tcase_add_test(c, an_export_that_cannot_keep_the_old_one_stays_ours);
    tcase_add_test(c, an_export_stays_ours_however_often_the_next_does_not_come);
    tcase_add_test(c, a_failed_export_is_tried_again_within_a_second);
    tcase_add_test(c, a_full_disk_at_the_start_keeps_a_foreign_file_foreign);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
