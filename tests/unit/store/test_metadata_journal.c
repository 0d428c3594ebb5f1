/* test_metadata_journal.c - records, the walk across damage, and the files of tern/meta. */
#include "metadata_fixture.h"

#include "common/crc.h"

/* --- records --- */

static struct metadata_record decode(const struct buf *b)
{
    struct metadata_record r;
    size_t used = 0;

    ck_assert_int_eq(metadata_record_decode(buf_bytes(b), &r, &used), 0);
    ck_assert_uint_eq(used, b->len);
    return r;
}

static struct topic topic_named(const char *name)
{
    struct topic t = {.config = {.read_queues = 8,
                                 .write_queues = 4,
                                 .perm = PERM_READ,
                                 .sys_flag = TOPIC_FLAG_UNIT,
                                 .order = true,
                                 .multi_tag = true},
                      .log_floor = 77};

    t.name_len = (uint8_t)strlen(name);
    strcpy(t.name, name);
    return t;
}

static const struct metadata_at at_3_9 = {3, 9};

START_TEST(topic_records_come_back_as_they_were)
{
    struct topic t = topic_named("%RETRY%a-b_c|d");
    struct metadata_record r;
    struct buf b = {0};

    metadata_put_topic(&b, at_3_9, &t, BYTES_LIT("\"attributes\":{}"));
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_TOPIC_PUT);
    ck_assert_uint_eq(r.at.epoch, 3);
    ck_assert_uint_eq(r.at.sequence, 9);
    ck_assert(bytes_is(r.topic.name, "%RETRY%a-b_c|d"));
    ck_assert_int_eq(r.topic.config.read_queues, 8);
    ck_assert_int_eq(r.topic.config.write_queues, 4);
    ck_assert_int_eq(r.topic.config.perm, PERM_READ);
    ck_assert_int_eq(r.topic.config.sys_flag, TOPIC_FLAG_UNIT);
    ck_assert(r.topic.config.order && r.topic.config.multi_tag);
    ck_assert_uint_eq(r.topic.log_floor, 77);
    ck_assert(bytes_is(r.topic.extra, "\"attributes\":{}"));
    buf_reset(&b);
    t.deleted = true;
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0});
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_TOPIC_DELETE);
    ck_assert(bytes_is(r.topic.name, "%RETRY%a-b_c|d"));
    ck_assert_uint_eq(r.topic.log_floor, 77);
    buf_destroy(&b);
}
END_TEST

START_TEST(group_records_come_back_as_they_were)
{
    struct group_config c = {.consume_enable = true,
                             .consume_broadcast_enable = true,
                             .retry_queues = 3,
                             .retry_max_times = -1,
                             .broker_id = 5,
                             .which_broker_when_slow = INT64_MIN};
    struct metadata_record r;
    struct buf b = {0};

    metadata_put_group(&b, at_3_9, BYTES_LIT("G"), &c, BYTES_LIT("\"x\":1"));
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_GROUP_PUT);
    ck_assert(bytes_is(r.group.name, "G"));
    ck_assert(r.group.config.consume_enable && !r.group.config.consume_from_min_enable);
    ck_assert(r.group.config.consume_broadcast_enable && !r.group.config.notify_ids_changed);
    ck_assert_int_eq(r.group.config.retry_queues, 3);
    ck_assert_int_eq(r.group.config.retry_max_times, -1);
    ck_assert_int_eq(r.group.config.broker_id, 5);
    ck_assert_int_eq(r.group.config.which_broker_when_slow, INT64_MIN);
    ck_assert(bytes_is(r.group.extra, "\"x\":1"));
    buf_reset(&b);
    metadata_put_group_delete(&b, at_3_9, BYTES_LIT("G"));
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_GROUP_DELETE);
    ck_assert(bytes_is(r.group.name, "G"));
    buf_destroy(&b);
}
END_TEST

START_TEST(offset_records_carry_several_queues)
{
    const int64_t offsets[] = {5, -1, 7};
    struct metadata_record r;
    struct buf b = {0};
    uint32_t queue;
    int64_t offset;

    metadata_put_offsets(&b, at_3_9, BYTES_LIT("T"), BYTES_LIT("G"), false, 65533, offsets, 3);
    r = decode(&b);
    ck_assert(!r.offsets.replace);
    ck_assert_uint_eq(metadata_record_pairs(&r), 3);
    metadata_record_pair(&r, 1, &queue, &offset);
    ck_assert_uint_eq(queue, 65534);
    ck_assert_int_eq(offset, -1);
    buf_reset(&b);
    /* One that replaces needs no word for queues without an offset. */
    metadata_put_offsets(&b, at_3_9, BYTES_LIT("T"), BYTES_LIT("G"), true, 0, offsets, 3);
    r = decode(&b);
    ck_assert(r.offsets.replace);
    ck_assert_uint_eq(metadata_record_pairs(&r), 2);
    metadata_record_pair(&r, 1, &queue, &offset);
    ck_assert_uint_eq(queue, 2);
    ck_assert_int_eq(offset, 7);
    buf_destroy(&b);
}
END_TEST

START_TEST(the_largest_records_fit)
{
    static int64_t offsets[METADATA_RECORD_OFFSETS];
    char topic[TOPIC_NAME_MAX + 1], group[GROUP_NAME_MAX + 1];
    char *extra = calloc(1, METADATA_EXTRA_MAX + 1);
    struct metadata_record r;
    struct topic t;
    struct buf b = {0};

    memset(topic, 't', TOPIC_NAME_MAX);
    topic[TOPIC_NAME_MAX] = '\0';
    memset(group, 'g', GROUP_NAME_MAX);
    group[GROUP_NAME_MAX] = '\0';
    memset(extra, 'x', METADATA_EXTRA_MAX);
    metadata_put_offsets(&b, at_3_9, bytes_str(topic), bytes_str(group), true, 0, offsets,
                         METADATA_RECORD_OFFSETS);
    r = decode(&b);
    ck_assert_uint_eq(metadata_record_pairs(&r), METADATA_RECORD_OFFSETS);
    buf_reset(&b);
    t = topic_named(topic);
    metadata_put_topic(&b, at_3_9, &t, bytes_str(extra));
    r = decode(&b);
    ck_assert_uint_eq(r.topic.extra.len, METADATA_EXTRA_MAX);
    buf_destroy(&b);
    free(extra);
}
END_TEST

START_TEST(other_records_come_back_as_they_were)
{
    const struct data_version version = {INT64_MAX, 1795363668937, 4};
    uint8_t hashes[METADATA_HASHES * METADATA_HASH_BYTES];
    struct metadata_record r;
    struct buf b = {0};

    for (size_t i = 0; i < sizeof(hashes); i++)
        hashes[i] = (uint8_t)i;
    metadata_put_delay(&b, at_3_9, 18, 1234);
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_DELAY_PUT);
    ck_assert_int_eq(r.delay.level, 18);
    ck_assert_int_eq(r.delay.offset, 1234);
    buf_reset(&b);
    metadata_put_version(&b, at_3_9, METADATA_GROUPS_VERSION, &version);
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_GROUPS_VERSION);
    ck_assert_int_eq(r.version.counter, INT64_MAX);
    ck_assert_int_eq(r.version.timestamp, 1795363668937);
    ck_assert_int_eq(r.version.state_version, 4);
    buf_reset(&b);
    metadata_put_hash(&b, at_3_9, METADATA_EXPORT_DELAYS, hashes);
    r = decode(&b);
    ck_assert_int_eq(r.hash.file, METADATA_EXPORT_DELAYS);
    ck_assert(bytes_equal(r.hash.hashes, bytes_of(hashes, sizeof(hashes))));
    buf_reset(&b);
    metadata_put_begin(&b, METADATA_SNAPSHOT_FILE, 12);
    r = decode(&b);
    ck_assert_int_eq(r.begin.type, METADATA_SNAPSHOT_FILE);
    ck_assert_uint_eq(r.begin.generation, 12);
    buf_reset(&b);
    metadata_put_end(&b, 99);
    r = decode(&b);
    ck_assert_int_eq(r.kind, METADATA_END);
    ck_assert_uint_eq(r.end, 99);
    buf_destroy(&b);
}
END_TEST

START_TEST(no_cut_or_flipped_record_decodes)
{
    struct topic t = topic_named("Orders");
    struct metadata_record r;
    struct buf b = {0};
    size_t used;

    metadata_put_topic(&b, at_3_9, &t, BYTES_LIT("\"a\":1"));
    for (size_t n = 0; n < b.len; n++)
        ck_assert_int_eq(metadata_record_decode(bytes_of(buf_at(&b), n), &r, &used),
                         METADATA_RECORD_BAD);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        buf_at(&b)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(metadata_record_decode(buf_bytes(&b), &r, &used), METADATA_RECORD_BAD);
        buf_at(&b)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buf_destroy(&b);
}
END_TEST

/* Overwrites bytes of the record in b and makes its checksum right again. */
static void forge(struct buf *b, size_t at, const void *with, size_t n)
{
    uint8_t *p = buf_at(b);

    memcpy(p + at, with, n);
    store_be32(p + 4, crc32_of(crc32_of(0, bytes_of(p, 4)), bytes_of(p + 8, b->len - 8)));
}

static int decode_forged(struct buf *b, size_t at, const void *with, size_t n)
{
    struct metadata_record r;
    size_t used;
    int result;

    forge(b, at, with, n);
    result = metadata_record_decode(buf_bytes(b), &r, &used);
    buf_reset(b);
    return result;
}

/* A checksum that is right proves nothing about what somebody wrote below it. */
START_TEST(hostile_content_is_illegal_whatever_its_checksum)
{
    enum { PAYLOAD = METADATA_RECORD_MIN };
    const int64_t offset = 5;
    struct topic t = topic_named("abcde");
    struct group_config c = group_config_default();
    struct buf b = {0};

    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0});
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 1, "../ab", 5), METADATA_RECORD_ILLEGAL);
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0});
    ck_assert_int_eq(decode_forged(&b, PAYLOAD, "\0", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0});
    ck_assert_int_eq(decode_forged(&b, PAYLOAD, "\xff", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0}); /* read queues: 2^24 */
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 6, "\1", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0}); /* extra's length */
    ck_assert_int_eq(decode_forged(&b, b.len - 1, "\1", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_topic(&b, at_3_9, &t, BYTES_LIT("x"));
    ck_assert_int_eq(decode_forged(&b, b.len - 2, "\0", 1), METADATA_RECORD_ILLEGAL);
    t.deleted = true;
    metadata_put_topic(&b, at_3_9, &t, (struct bytes){0});
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 1, "a/..b", 5), METADATA_RECORD_ILLEGAL);

    metadata_put_group(&b, at_3_9, BYTES_LIT("abc"), &c, (struct bytes){0});
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 1, "a.b", 3), METADATA_RECORD_ILLEGAL);
    metadata_put_group_delete(&b, at_3_9, BYTES_LIT("abc"));
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 1, "a b", 3), METADATA_RECORD_ILLEGAL);

    metadata_put_offsets(&b, at_3_9, BYTES_LIT("t"), BYTES_LIT("g"), false, 0, &offset, 1);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 1, "/", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_offsets(&b, at_3_9, BYTES_LIT("t"), BYTES_LIT("g"), false, 0, &offset, 1);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 3, "\n", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_offsets(&b, at_3_9, BYTES_LIT("t"), BYTES_LIT("g"), false, 0, &offset, 1);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 8, "\2", 1), METADATA_RECORD_ILLEGAL); /* count */
    metadata_put_offsets(&b, at_3_9, BYTES_LIT("t"), BYTES_LIT("g"), false, 0, &offset, 1);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD + 10, "\1", 1), METADATA_RECORD_ILLEGAL); /* id */

    metadata_put_delay(&b, at_3_9, 1, 2);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD, "\0", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_delay(&b, at_3_9, 1, 2);
    ck_assert_int_eq(decode_forged(&b, PAYLOAD, "\x41", 1), METADATA_RECORD_ILLEGAL);
    metadata_put_delay(&b, at_3_9, 1, 2);
    ck_assert_int_eq(decode_forged(&b, 16, "\xff", 1), METADATA_RECORD_ILLEGAL); /* sequence */
    buf_destroy(&b);
}
END_TEST

/* --- the files --- */

static void make_topics(int count)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "T%d", i);
        put_topic(name, i + 1);
        turns(); /* a batch each */
    }
}

/* How many of T0, T1, ... are there, in a row from the first; none may follow. */
static int topics_in_a_row(struct metadata *of)
{
    int row = 0;

    for (int i = 0; i < 64; i++) {
        char name[32];
        int32_t queues;
        snprintf(name, sizeof(name), "T%d", i);
        queues = queues_of(of, name);
        ck_assert(queues == -1 || queues == i + 1);
        if (queues == i + 1 && row == i)
            row++;
        else
            ck_assert_int_eq(queues, -1);
    }
    return row;
}

/* Where the records of a file begin, and its end. */
static int record_starts(const struct buf *file, size_t *starts, int max)
{
    struct metadata_record r;
    size_t at = 0, used;
    int n = 0;

    while (at < file->len) {
        ck_assert_int_lt(n, max - 1);
        starts[n++] = at;
        ck_assert_int_eq(
            metadata_record_decode(bytes_of(buf_at(file) + at, file->len - at), &r, &used), 0);
        at += used;
    }
    starts[n] = at;
    return n;
}

START_TEST(every_truncation_keeps_what_is_whole_and_goes_on)
{
    size_t starts[64];
    struct buf whole;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(6);
    kill_meta();
    whole = content_of(in_dir(JOURNAL_1));
    for (size_t n = whole.len + 1; n-- > 0;) {
        struct stat st;
        struct buf cut;
        int topics;

        put_bytes(in_dir(JOURNAL_1), bytes_of(buf_at(&whole), n));
        open_meta();
        topics = topics_in_a_row(m);
        ck_assert_int_eq(file_stat(in_dir(JOURNAL_1), &st), 0);
        ck_assert_int_eq(st.st_size, m->journal.end);
        if (n == whole.len)
            ck_assert_int_eq(topics, 6);
        put_topic("Next", 9);
        turns();
        kill_meta();
        /* What was appended follows what was whole, and nothing follows that. */
        cut = content_of(in_dir(JOURNAL_1));
        record_starts(&cut, starts, 64);
        buf_destroy(&cut);
        open_meta();
        ck_assert_int_eq(topics_in_a_row(m), topics);
        ck_assert_int_eq(queues_of(m, "Next"), 9);
        ck_assert(!m->journal.damaged);
        kill_meta();
    }
    buf_destroy(&whole);
}
END_TEST

START_TEST(a_torn_tail_is_cut_with_a_line_in_the_log)
{
    struct buf whole;

    open_meta();
    make_topics(2);
    kill_meta();
    whole = content_of(in_dir(JOURNAL_1));
    put_bytes(in_dir(JOURNAL_1), bytes_of(buf_at(&whole), whole.len - 3));
    log_begin();
    open_meta();
    ck_assert(log_has("journal-00000000000000000001: cut at byte "));
    ck_assert_int_eq(log_lines("\n"), 1);
    kill_meta();
    buf_destroy(&whole);
}
END_TEST

/* A file that a power cut left longer than what was written. */
START_TEST(zeroes_behind_the_last_record_are_a_torn_tail)
{
    static const uint8_t zeroes[70000];
    struct buf file;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(2);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    buf_add(&file, zeroes, sizeof(zeroes));
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    open_meta();
    ck_assert_int_eq(topics_in_a_row(m), 2);
    ck_assert(!m->journal.damaged);
    ck_assert_int_eq(m->journal.end, (int64_t)(file.len - sizeof(zeroes)));
    kill_meta();
    buf_destroy(&file);
}
END_TEST

/* Records: begin, then for each topic its version and itself. */
enum { RECORD_OF_T1 = 4 };

START_TEST(damage_in_the_middle_loses_only_what_it_hit)
{
    size_t starts[64];
    char expected[64];
    struct buf file;

    open_meta();
    make_topics(4);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    ck_assert_int_eq(record_starts(&file, starts, 64), 9);
    buf_at(&file)[starts[RECORD_OF_T1] + 30] ^= 1;
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, "T0"), 1);
    ck_assert_int_eq(queues_of(m, "T1"), -1);
    ck_assert_int_eq(queues_of(m, "T2"), 3);
    ck_assert_int_eq(queues_of(m, "T3"), 4);
    snprintf(expected, sizeof(expected),
             "journal-00000000000000000001: bytes %zu to %zu are damaged", starts[RECORD_OF_T1],
             starts[RECORD_OF_T1 + 1]);
    ck_assert_msg(log_has(expected), "%s", expected);
    kill_meta();
    buf_destroy(&file);
}
END_TEST

START_TEST(a_damaged_length_loses_only_its_record)
{
    size_t starts[64];
    struct buf file;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(4);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    record_starts(&file, starts, 64);
    memset(buf_at(&file) + starts[RECORD_OF_T1], 0xff, 4);
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    open_meta();
    ck_assert_int_eq(queues_of(m, "T0"), 1);
    ck_assert_int_eq(queues_of(m, "T1"), -1);
    ck_assert_int_eq(queues_of(m, "T2"), 3);
    kill_meta();
    buf_destroy(&file);
}
END_TEST

START_TEST(damage_leads_to_a_new_generation_and_keeps_the_old_files_aside)
{
    size_t starts[64];
    struct buf file;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(4);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    record_starts(&file, starts, 64);
    buf_at(&file)[starts[RECORD_OF_T1] + 30] ^= 1;
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    open_meta();
    ck_assert(m->journal.damaged);
    turns();
    ck_assert(!m->journal.damaged);
    ck_assert_uint_eq(m->journal.snapshot_generation, 2);
    kill_meta();
    ck_assert(!exists(in_dir(JOURNAL_1)));
    ck_assert(exists(in_dir(JOURNAL_1 ".damaged")));
    log_begin();
    open_meta();
    ck_assert_int_eq(log_lines("\n"), 0);
    ck_assert_int_eq(queues_of(m, "T0"), 1);
    ck_assert_int_eq(queues_of(m, "T1"), -1);
    ck_assert_int_eq(queues_of(m, "T3"), 4);
    kill_meta();
    buf_destroy(&file);
}
END_TEST

/* Somebody who can write the file can write a checksum. */
START_TEST(a_hostile_record_is_left_out_and_reported)
{
    size_t starts[64];
    struct buf file, record = {0};

    open_meta();
    make_topics(4);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    record_starts(&file, starts, 64);
    buf_add(&record, buf_at(&file) + starts[RECORD_OF_T1],
            starts[RECORD_OF_T1 + 1] - starts[RECORD_OF_T1]);
    forge(&record, METADATA_RECORD_MIN + 1, "..", 2);
    memcpy(buf_at(&file) + starts[RECORD_OF_T1], buf_at(&record), record.len);
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    log_begin();
    open_meta();
    ck_assert_int_eq(queues_of(m, ".."), -1);
    ck_assert_int_eq(metadata_topic_count(m), 3);
    ck_assert_int_eq(queues_of(m, "T3"), 4);
    ck_assert(log_has("are damaged"));
    kill_meta();
    buf_destroy(&file);
    buf_destroy(&record);
}
END_TEST

static int apply(void *ctx, const struct metadata_record *r)
{
    return metadata_apply(ctx, r);
}

/* One flipped bit costs at most the record it is in. */
START_TEST(random_bit_flips_lose_one_record_at_most)
{
    enum { TOPICS = 12, FLIPS = 3000 };
    uint64_t random = 20260806;
    size_t starts[64];
    struct buf file;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(TOPICS);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    record_starts(&file, starts, 64);
    for (int i = 0; i < FLIPS; i++) {
        struct metadata_journal journal;
        struct metadata *tables = metadata_tables_new();
        size_t bit = next_random(&random) % (file.len * 8);
        int there = 0;

        buf_at(&file)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        remove_tree(in_dir("tern"));
        ck_assert_int_eq(file_mkdirs(in_dir("tern/meta")), 0);
        put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
        ck_assert_int_eq(metadata_journal_open(&journal, in_dir("tern/meta"), apply, tables, NULL),
                         0);
        for (int n = 0; n < TOPICS; n++) {
            char name[32];
            snprintf(name, sizeof(name), "T%d", n);
            there += queues_of(tables, name) == n + 1;
        }
        ck_assert_int_ge(there, TOPICS - 1);
        ck_assert_int_eq(metadata_topic_count(tables), (uint32_t)there);
        metadata_journal_close(&journal);
        metadata_tables_free(tables);
        buf_at(&file)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buf_destroy(&file);
}
END_TEST

/* Bytes that look like lengths everywhere must not make a start take for ever. */
START_TEST(a_search_without_end_is_given_up_and_nothing_is_cut)
{
    enum { GARBAGE = 2 << 20 };
    struct buf file;
    int64_t size;

    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(3);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    size = (int64_t)file.len + GARBAGE;
    for (int i = 0; i < GARBAGE / 2; i++) /* 00 00 F0 00 00 F0 ... */
        buf_add(&file, i % 3 == 2 ? "\xf0\0" : (i % 3 ? "\0\0" : "\0\xf0"), 2);
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    open_meta();
    ck_assert_int_eq(topics_in_a_row(m), 3);
    ck_assert_uint_eq(m->journal.generation, 2); /* nobody appends behind that */
    put_topic("T3", 4);
    turns();
    kill_meta();
    buf_destroy(&file);
    open_meta();
    ck_assert_int_eq(topics_in_a_row(m), 4);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1 ".damaged"));
    ck_assert_int_eq((int64_t)file.len, size);
    buf_destroy(&file);
}
END_TEST

static void append_forged(size_t at, const char *with, size_t n)
{
    struct buf file = content_of(in_dir(JOURNAL_1)), record = {0};

    metadata_put_delay(&record, at_3_9, 1, 2);
    forge(&record, at, with, n);
    buf_add(&file, buf_at(&record), record.len);
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    buf_destroy(&file);
    buf_destroy(&record);
}

START_TEST(a_kind_of_a_newer_version_is_refused_by_name)
{
    char at[64];
    struct buf file;
    struct err err;

    open_meta();
    make_topics(1);
    kill_meta();
    file = content_of(in_dir(JOURNAL_1));
    snprintf(at, sizeof(at), "a record of kind 77 at byte %zu", file.len);
    append_forged(24, "\x4d", 1);
    ck_assert_int_eq(try_open(&m, dir, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, at) && strstr(err.text, in_dir(JOURNAL_1)) &&
                      strstr(err.text, "newer version"),
                  "%s", err.text);
    /* Nothing was cut or added. */
    struct buf after = content_of(in_dir(JOURNAL_1));
    ck_assert_uint_eq(after.len, file.len + 34);
    buf_destroy(&after);
    buf_destroy(&file);
}
END_TEST

START_TEST(a_newer_format_is_refused_by_name)
{
    struct buf file = {0};
    struct err err;

    ck_assert_int_eq(file_mkdirs(in_dir("tern/meta")), 0);
    metadata_put_begin(&file, METADATA_JOURNAL_FILE, 1);
    forge(&file, METADATA_RECORD_MIN, "\0\0\0\2", 4);
    put_bytes(in_dir(JOURNAL_1), buf_bytes(&file));
    ck_assert_int_eq(try_open(&m, dir, &err), -ENOTSUP);
    ck_assert_msg(strstr(err.text, "has format 2") && strstr(err.text, in_dir(JOURNAL_1)), "%s",
                  err.text);
    buf_destroy(&file);
}
END_TEST

START_TEST(a_file_under_another_name_is_refused)
{
    struct err err;

    open_meta();
    make_topics(1);
    kill_meta();
    put_bytes(in_dir(JOURNAL_1), (struct bytes){0});
    open_meta();
    kill_meta();
    /* Generation 1's content as generation 2's file. */
    ck_assert_int_eq(rename(in_dir(JOURNAL_1), in_dir("tern/meta/journal-00000000000000000002")),
                     0);
    put_bytes(in_dir(JOURNAL_1), (struct bytes){0});
    ck_assert_int_eq(try_open(&m, dir, &err), -EBADMSG);
    ck_assert_msg(strstr(err.text, "journal-00000000000000000002") &&
                      strstr(err.text, "generation 1"),
                  "%s", err.text);
}
END_TEST

static void new_generation(void)
{
    m->journal.min_bytes = 0;
    m->journal.snapshot_bytes = 0;
    put_topic("Trigger", (int32_t)m->journal.generation);
    turns();
    m->journal.min_bytes = METADATA_GENERATION_MIN_BYTES;
}

START_TEST(missing_files_are_refused_by_name)
{
    struct err err;

    open_meta();
    make_topics(3);
    new_generation();
    ck_assert_uint_eq(m->journal.generation, 2);
    put_topic("Last", 1);
    turns();
    kill_meta();
    ck_assert(!exists(in_dir(JOURNAL_1)));
    ck_assert_int_eq(rename(in_dir("tern/meta/snapshot-00000000000000000002"), in_dir("s")), 0);
    ck_assert_int_eq(try_open(&m, dir, &err), -ENOENT);
    ck_assert_msg(strstr(err.text, "snapshot-00000000000000000002 is missing"), "%s", err.text);
    ck_assert_int_eq(rename(in_dir("s"), in_dir("tern/meta/snapshot-00000000000000000002")), 0);
    ck_assert_int_eq(rename(in_dir("tern/meta/journal-00000000000000000002"), in_dir("j")), 0);
    ck_assert_int_eq(try_open(&m, dir, &err), -ENOENT);
    ck_assert_msg(strstr(err.text, "journal-00000000000000000002 is missing"), "%s", err.text);
    ck_assert_int_eq(rename(in_dir("j"), in_dir("tern/meta/journal-00000000000000000002")), 0);
    open_meta();
    ck_assert_int_eq(queues_of(m, "Last"), 1);
    kill_meta();
}
END_TEST

START_TEST(a_cut_snapshot_is_damage_and_the_journal_still_counts)
{
    const char *path = in_dir("tern/meta/snapshot-00000000000000000002");
    char kept[600];
    struct buf file;

    snprintf(kept, sizeof(kept), "%s", path);
    log_set_level(LOG_LEVEL_ERROR);
    open_meta();
    make_topics(3);
    new_generation();
    put_topic("Last", 1);
    turns();
    kill_meta();
    file = content_of(kept);
    put_bytes(kept, bytes_of(buf_at(&file), file.len / 2));
    open_meta();
    ck_assert(m->journal.damaged);
    ck_assert_int_eq(queues_of(m, "T0"), 1);
    ck_assert_int_eq(queues_of(m, "Last"), 1);
    turns();
    ck_assert_uint_eq(m->journal.snapshot_generation, 3);
    kill_meta();
    open_meta();
    ck_assert(!m->journal.damaged);
    ck_assert_int_eq(queues_of(m, "Last"), 1);
    kill_meta();
    buf_destroy(&file);
}
END_TEST

START_TEST(the_higher_epoch_and_sequence_win)
{
    struct metadata *tables = metadata_tables_new();
    struct metadata_record r;
    struct topic t = topic_named("T");
    struct group_config c = group_config_default();
    struct buf b = {0};
    int64_t offset = 5;
    static const struct {
        struct metadata_at at;
        int32_t value, expected;
    } steps[] = {
        {{1, 10}, 10, 10}, {{1, 9}, 9, 10},  {{0, 99}, 8, 10}, {{1, 10}, 7, 7},
        {{1, 11}, 11, 11}, {{2, 1}, 21, 21}, {{1, 50}, 5, 21},
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        buf_reset(&b);
        t.config.read_queues = steps[i].value;
        metadata_put_topic(&b, steps[i].at, &t, (struct bytes){0});
        r = decode(&b);
        ck_assert_int_eq(metadata_apply(tables, &r), 0);
        ck_assert_int_eq(queues_of(tables, "T"), steps[i].expected);
        buf_reset(&b);
        c.retry_max_times = steps[i].value;
        metadata_put_group(&b, steps[i].at, BYTES_LIT("G"), &c, (struct bytes){0});
        r = decode(&b);
        ck_assert_int_eq(metadata_apply(tables, &r), 0);
        ck_assert_int_eq(retries_of(tables, "G"), steps[i].expected);
        buf_reset(&b);
        offset = steps[i].value;
        metadata_put_offsets(&b, steps[i].at, BYTES_LIT("T"), BYTES_LIT("G"), false, 3, &offset, 1);
        r = decode(&b);
        ck_assert_int_eq(metadata_apply(tables, &r), 0);
        ck_assert_int_eq(offset_of(tables, "T", "G", 3), steps[i].expected);
        buf_reset(&b);
        metadata_put_delay(&b, steps[i].at, 2, steps[i].value);
        r = decode(&b);
        ck_assert_int_eq(metadata_apply(tables, &r), 0);
        ck_assert_int_eq(metadata_delay(tables, 2), steps[i].expected);
    }
    ck_assert_uint_eq(metadata_last(tables), 99);
    ck_assert_uint_eq(tables->epoch, 2);
    metadata_tables_free(tables);
    buf_destroy(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("metadata_journal");
    TCase *c = tcase_create("records");

    tcase_add_test(c, topic_records_come_back_as_they_were);
    tcase_add_test(c, group_records_come_back_as_they_were);
    tcase_add_test(c, offset_records_carry_several_queues);
    tcase_add_test(c, the_largest_records_fit);
    tcase_add_test(c, other_records_come_back_as_they_were);
    tcase_add_test(c, no_cut_or_flipped_record_decodes);
    tcase_add_test(c, hostile_content_is_illegal_whatever_its_checksum);
    tcase_add_test(c, the_higher_epoch_and_sequence_win);
    suite_add_tcase(s, c);
    c = tcase_create("files");
    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, fixture_begin, fixture_end);
    tcase_add_test(c, every_truncation_keeps_what_is_whole_and_goes_on);
    tcase_add_test(c, a_torn_tail_is_cut_with_a_line_in_the_log);
    tcase_add_test(c, zeroes_behind_the_last_record_are_a_torn_tail);
    tcase_add_test(c, damage_in_the_middle_loses_only_what_it_hit);
    tcase_add_test(c, a_damaged_length_loses_only_its_record);
    tcase_add_test(c, damage_leads_to_a_new_generation_and_keeps_the_old_files_aside);
    tcase_add_test(c, a_hostile_record_is_left_out_and_reported);
    tcase_add_test(c, random_bit_flips_lose_one_record_at_most);
    tcase_add_test(c, a_search_without_end_is_given_up_and_nothing_is_cut);
    tcase_add_test(c, a_kind_of_a_newer_version_is_refused_by_name);
    tcase_add_test(c, a_newer_format_is_refused_by_name);
    tcase_add_test(c, a_file_under_another_name_is_refused);
    tcase_add_test(c, missing_files_are_refused_by_name);
    tcase_add_test(c, a_cut_snapshot_is_damage_and_the_journal_still_counts);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
